// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts of the local APIC, in x2APIC mode: sent or due, taken, and ended by
 * a write to EOI. Three exits for the IPI, as it is sent with interrupts off (the
 * window in which they come on is an exit); two for the timer.
 *
 * Left to others: exits without interrupts (exits.c).
 * Known hacks: none.
 */
#include "bench.h"

#define VECTOR		   0x51
#define X2APIC_SELF_IPI	   0x83f
#define LVTT_TSC_DEADLINE  (2u << 17)
#define LEAF1_ECX_DEADLINE (1u << 24)

static volatile uint32_t taken;

/* The shortest handler there is; the library's own would count for more. */
asm(".pushsection .text\n"
    ".balign 16\n"
    "irq_stub:\n"
    "push %rax\n push %rcx\n push %rdx\n"
    "incl taken(%rip)\n"
    "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n"
    "wrmsr\n" /* EOI */
    "pop %rdx\n pop %rcx\n pop %rax\n"
    "iretq\n"
    ".popsection\n");

extern char irq_stub[];

static void self_ipi(void)
{
	g_cli();
	g_wrmsr(X2APIC_SELF_IPI, VECTOR);
	g_sti();
	asm volatile("nop; nop");
}

/* Due at once. */
static void deadline(void)
{
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc());
	asm volatile("nop; nop");
}

/* How far away it is when the guest goes on with its work, in ticks. */
#define AHEAD 5000

/* Ticks from here until it was taken, without those that were the guest's own. */
static uint64_t deadline_ahead(void)
{
	uint64_t start = g_rdtsc(), spins = 0;
	uint32_t before = taken;

	g_wrmsr(MSR_TSC_DEADLINE, start + AHEAD);
	asm volatile("1: inc %0; cmp %1, %2; je 1b" : "+r"(spins) : "m"(taken), "r"(before));
	return g_rdtsc() - start - 3 * spins;
}

/* As GUEST_LOOP, but a reading in which an interrupt came late does not count. */
static inline __attribute__((always_inline)) void loop(void (*operation)(void))
{
	for (unsigned int rep = 0; rep < REPS; rep++) {
		uint32_t before = taken;
		uint64_t start = g_rdtsc();

		for (unsigned int i = 0; i < OPS; i++)
			operation();
		start = g_rdtsc() - start;
		if (taken - before == OPS)
			bench_record(start);
	}
}

static void enable(void)
{
	g_touch_irq_tables();
	g_x2apic_enable();
}

static void guest_self_ipi(uint64_t arg)
{
	(void)arg;
	enable();
	loop(self_ipi);
}

static void guest_deadline(uint64_t arg)
{
	(void)arg;
	enable();
	g_wrmsr(MSR_X2APIC(APIC_LVTT), LVTT_TSC_DEADLINE | VECTOR);
	g_sti();
	loop(deadline);
}

static void guest_deadline_ahead(uint64_t arg)
{
	(void)arg;
	enable();
	g_wrmsr(MSR_X2APIC(APIC_LVTT), LVTT_TSC_DEADLINE | VECTOR);
	g_sti();
	for (unsigned int rep = 0; rep < REPS; rep++) {
		uint64_t sum = 0;

		for (unsigned int i = 0; i < OPS; i++)
			sum += deadline_ahead();
		bench_record(sum);
	}
}

static struct result measure_irq(void (*guest)(uint64_t))
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	struct vcpu *v = vcpu_new_bare(vm, 0);
	struct kvm_cpuid2 *cpuid = cpuid_copy();
	uint64_t *gate = (uint64_t *)vm_ptr(vm, GPA_IDT) + 2 * VECTOR;
	uint64_t stub = (uintptr_t)irq_stub;

	/* The driver does not list the timer as supported; user space has to know. */
	cpuid_find(cpuid, 1, 0)->ecx |= LEAF1_ECX_DEADLINE;
	vcpu_set_cpuid(v, cpuid);
	vcpu_long_mode(v, guest, 0);
	gate[0] = (stub & 0xffff) | SEL_CODE64 << 16 | 0x8e00ull << 32 | (stub & 0xffff0000) << 32;
	gate[1] = stub >> 32;
	return bench_run(v, 0, NULL);
}

struct result measure_self_ipi(void)
{
	return measure_irq(guest_self_ipi);
}

struct result measure_deadline(void)
{
	return measure_irq(guest_deadline);
}

struct result measure_deadline_ahead(void)
{
	return measure_irq(guest_deadline_ahead);
}
