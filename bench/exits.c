// SPDX-License-Identifier: GPL-2.0-only
/*
 * One exit each: instructions, ports, MMIO, a page that is not mapped yet.
 *
 * Left to others: interrupts (irq.c).
 * Known hacks: none.
 */
#include <cpuid.h>
#include <sys/eventfd.h>
#include <linux/kvm_para.h>

#include "bench.h"

#define MSR_PAT	     0x277
#define PORT_USER    0x2f0
#define PORT_EVENTFD 0x2f8
#define MMIO_USER    MMIO_BASE
#define MMIO_EVENTFD (MMIO_BASE + 0x1000)
#define GPA_FAULT    0x20000000u /* a slot of its own, in one page table */
#define FAULT_PAGES  (OPS + 1)

static bool on_amd(void)
{
	unsigned int a, b, c, d;

	__cpuid(0, a, b, c, d);
	return b == signature_AMD_ebx;
}

GUEST_LOOP(guest_cpuid, {
	uint32_t regs[4];

	g_cpuid(0, 0, regs);
})

GUEST_LOOP(guest_rdmsr, g_rdmsr(MSR_PAT))

GUEST_LOOP(guest_vmcall, {
	uint64_t number = KVM_HC_VAPIC_POLL_IRQ;

	asm volatile("vmcall" : "+a"(number) : : "memory");
})

GUEST_LOOP(guest_vmmcall, {
	uint64_t number = KVM_HC_VAPIC_POLL_IRQ;

	asm volatile("vmmcall" : "+a"(number) : : "memory");
})

GUEST_LOOP(guest_out, g_outb(PORT_USER, 0))
GUEST_LOOP(guest_out_eventfd, g_outb(PORT_EVENTFD, 0))
GUEST_LOOP(guest_mmio, G_WRITE(uint32_t, MMIO_USER, 0))
GUEST_LOOP(guest_mmio_eventfd, G_WRITE(uint32_t, MMIO_EVENTFD, 0))
GUEST_LOOP(guest_hlt, g_hlt())

struct result measure_cpuid(void)
{
	return bench_run(vm_with_guest(VM_IRQCHIP, guest_cpuid, 0), 0, NULL);
}

struct result measure_hypercall(void)
{
	void (*guest)(uint64_t) = on_amd() ? guest_vmmcall : guest_vmcall;

	return bench_run(vm_with_guest(VM_IRQCHIP, guest, 0), 0, NULL);
}

struct result measure_rdmsr(void)
{
	return bench_run(vm_with_guest(VM_IRQCHIP, guest_rdmsr, 0), 0, NULL);
}

struct result measure_out(void)
{
	return bench_run(vm_with_guest(VM_IRQCHIP, guest_out, 0), KVM_EXIT_IO, NULL);
}

struct result measure_mmio(void)
{
	return bench_run(vm_with_guest(VM_IRQCHIP, guest_mmio, 0), KVM_EXIT_MMIO, NULL);
}

/* Without an interrupt controller in the kernel, a halt is user space's. */
struct result measure_hlt(void)
{
	return bench_run(vm_with_guest(VM_PLAIN, guest_hlt, 0), KVM_EXIT_HLT, NULL);
}

static struct result measure_eventfd(void (*guest)(uint64_t), struct kvm_ioeventfd where)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, guest, 0);
	uint64_t count = 0;
	struct result result;

	where.fd = eventfd(0, EFD_NONBLOCK);
	vm_ioctl(v->vm, KVM_IOEVENTFD, &where);
	result = bench_run(v, 0, NULL);
	REQUIRE(read(where.fd, &count, sizeof(count)) == sizeof(count) && count == OPS * REPS,
		"the eventfd counts %llu writes", (unsigned long long)count);
	return result;
}

struct result measure_out_eventfd(void)
{
	return measure_eventfd(guest_out_eventfd, (struct kvm_ioeventfd){
							  .addr = PORT_EVENTFD,
							  .len = 1,
							  .flags = KVM_IOEVENTFD_FLAG_PIO,
						  });
}

struct result measure_mmio_eventfd(void)
{
	return measure_eventfd(guest_mmio_eventfd,
			       (struct kvm_ioeventfd){ .addr = MMIO_EVENTFD, .len = 4 });
}

/*
 * The host's page is there, the guest's is not: the slot is made anew before each
 * reading. The first page of it brings the tables in between back.
 */
static void guest_fault(uint64_t arg)
{
	(void)arg;
	for (unsigned int rep = 0; rep < REPS; rep++) {
		uint64_t start;

		g_sync(rep);
		G_WRITE(uint8_t, GPA_FAULT, 1);
		start = g_rdtsc();
		for (unsigned int i = 1; i < FAULT_PAGES; i++)
			G_WRITE(uint8_t, GPA_FAULT + i * PAGE, 1);
		bench_record(g_rdtsc() - start);
	}
}

static void *fault_pages;

static void renew_slot(struct vcpu *v)
{
	vm_slot(v->vm, SLOT_FREE, 0, GPA_FAULT, 0, NULL);
	vm_slot(v->vm, SLOT_FREE, 0, GPA_FAULT, FAULT_PAGES * PAGE, fault_pages);
}

struct result measure_fault(void)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, guest_fault, 0);
	struct result result;

	fault_pages = host_pages(FAULT_PAGES * PAGE);
	madvise(fault_pages, FAULT_PAGES * PAGE, MADV_NOHUGEPAGE);
	memset(fault_pages, 1, FAULT_PAGES * PAGE);
	vm_slot(v->vm, SLOT_FREE, 0, GPA_FAULT, FAULT_PAGES * PAGE, fault_pages);
	result = bench_run(v, 0, renew_slot);
	result.exits = 0; /* most are faults of other slots, after the change of this one */
	return result;
}
