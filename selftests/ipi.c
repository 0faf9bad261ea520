// SPDX-License-Identifier: GPL-2.0-only
/*
 * IPIs between vCPUs: all destination modes and shorthands, NMI, INIT and SIPI,
 * in xAPIC and x2APIC mode; MSIs and the I/O APIC that choose among several.
 */
#include <time.h>
#include "test.h"

#define LIMIT	3000000ull
#define CPUS	4u
#define BOOT_AT 0x8000u

static volatile uint32_t ready, stop, x2;

static void start_apic(void)
{
	struct guest_cpu *c = g_cpu();

	g_touch_irq_tables();
	for (unsigned int i = 0x30; i < 0xf0; i++)
		c->handler[i] = x2 ? g_on_irq_x2eoi : g_on_irq_eoi;
	c->handler[2] = g_on_irq_no_eoi;
	if (x2)
		g_x2apic_enable();
	else
		g_apic_enable();
}

/* All but the first: take interrupts, half of them halted. */
static void target_guest(uint64_t arg)
{
	start_apic();
	if (!x2 && arg) {
		g_apic_write(APIC_DFR, 0xffffffff);
		g_apic_write(APIC_LDR, 1u << (24 + g_cpu()->id));
	} else if (!x2) {
		g_apic_write(APIC_DFR, 0x0fffffff); /* cluster: 2 in each */
		g_apic_write(APIC_LDR, (g_cpu()->id / 2) << 28 | 1u << (24 + g_cpu()->id % 2));
	}
	g_atomic_inc(&ready);
	while (!stop) {
		if (g_cpu()->id & 1)
			g_sti_hlt_cli();
		else
			asm volatile("sti; pause; nop");
	}
}

static void ipi(uint32_t dest, uint32_t low)
{
	if (x2) {
		g_wrmsr(MSR_X2APIC(APIC_ICR), (uint64_t)dest << 32 | low);
		return;
	}
	g_apic_write(APIC_ICR2, dest << 24);
	g_apic_write(APIC_ICR, low);
	while (g_apic_read(APIC_ICR) & 1 << 12)
		g_pause();
}

/* Exactly the CPUs of @set get @vector once. */
static void check_got(uint8_t vector, uint32_t set)
{
	for (unsigned int i = 0; i < CPUS; i++) {
		if (set >> i & 1)
			G_CHECK(g_wait_for(&guest_cpus[i].irqs[vector], 1, LIMIT));
	}
	for (unsigned int i = 0; i < 50; i++)
		g_pause();
	for (unsigned int i = 0; i < CPUS; i++) {
		if (guest_cpus[i].irqs[vector] != (set >> i & 1))
			g_fail(__FILE__, vector, "interrupts of a CPU (line is the vector)",
			       i << 16 | guest_cpus[i].irqs[vector], set);
		guest_cpus[i].irqs[vector] = 0;
	}
}

static void sender_guest(uint64_t logical_flat)
{
	start_apic();
	if (!x2 && logical_flat) {
		g_apic_write(APIC_DFR, 0xffffffff);
		g_apic_write(APIC_LDR, 1u << 24);
	} else if (!x2) {
		g_apic_write(APIC_DFR, 0x0fffffff);
		g_apic_write(APIC_LDR, 1u << 24);
	}
	g_sti();
	G_CHECK(g_spin_until(&ready, CPUS - 1, LIMIT));
	for (unsigned int i = 0; i < CPUS; i++) {
		ipi(i, 0x40 + i);
		check_got(0x40 + i, 1u << i);
	}
	ipi(0, 0x40000 | 0x50);
	check_got(0x50, 1);
	ipi(0, 0x80000 | 0x51);
	check_got(0x51, 15);
	ipi(0, 0xc0000 | 0x52);
	check_got(0x52, 14);
	ipi(x2 ? 0xffffffff : 0xff, 0x53);
	check_got(0x53, 15);
	ipi(0x77, 0x54);
	check_got(0x54, 0);
	/* Logical */
	if (x2 || logical_flat) {
		ipi(0xa, 0x800 | 0x60);
		check_got(0x60, 0xa);
		ipi(0xf, 0x800 | 0x61);
		check_got(0x61, 0xf);
		ipi(0x1, 0x800 | 0x62);
		check_got(0x62, 1);
	} else {
		ipi(0x03, 0x800 | 0x60);
		check_got(0x60, 3);
		ipi(0x12, 0x800 | 0x61);
		check_got(0x61, 8);
		ipi(0x23, 0x800 | 0x62);
		check_got(0x62, 0);
		ipi(0xff, 0x800 | 0x63); /* all clusters */
		check_got(0x63, 15);
	}
	/* NMI, also to those that do not want interrupts */
	ipi(2, 0x400);
	check_got(2, 4);
	ipi(0, 0xc0400);
	check_got(2, 14);
	/* A storm of one-by-one round trips */
	for (unsigned int i = 1; i <= 300; i++) {
		unsigned int to = 1 + i % (CPUS - 1);
		uint64_t before = guest_cpus[to].irqs[0x70];

		ipi(to, 0x70);
		if (!g_wait_for(&guest_cpus[to].irqs[0x70], before + 1, LIMIT)) {
			g_fail(__FILE__, __LINE__, "a lost IPI", i, to);
			break;
		}
	}
	stop = 1;
	ipi(0, 0xc0000 | 0x71);
}

static void run_ipi(bool x2apic, uint64_t flat)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	x2 = x2apic;
	for (unsigned int i = 0; i < CPUS; i++)
		vm_add_guest(vm, i, i ? target_guest : sender_guest, flat);
	for (unsigned int i = 0; i < CPUS; i++)
		vcpu_start(vm->vcpus[i]);
	for (unsigned int i = 0; i < CPUS; i++)
		vcpu_join(vm->vcpus[i]);
}

TEST(xapic_flat)
{
	run_ipi(false, 1);
}

TEST(xapic_cluster)
{
	run_ipi(false, 0);
}

TEST(x2apic)
{
	if (!(dev_cpuid_reg(1, 0, 'c') & 1 << 21))
		test_skip("no x2APIC");
	run_ipi(true, 0);
}

/* --- INIT and SIPI --- */

/* Real mode at BOOT_AT: counts, and halts; the tables are those of reset. */
asm(".pushsection .rodata\n.code16\n"
    ".globl ap, ap_end\n"
    "ap:\n"
    "mov %cs, %ax\n mov %ax, %ds\n"
    "mov %ax, 0x108\n"
    "mov $1, %eax\n cpuid\n shr $24, %ebx\n"
    "mov %bx, 0x10a\n"
    "lock incl 0x100\n"
    "ap_wait:\n"
    "cli\n hlt\n"
    "jmp ap_wait\n"
    "ap_end:\n"
    ".code64\n.popsection\n");

static void boot_guest(uint64_t arg)
{
	volatile uint32_t *count = (uint32_t *)(uintptr_t)(BOOT_AT + 0x100);
	volatile uint16_t *seg = (uint16_t *)(uintptr_t)(BOOT_AT + 0x108);

	(void)arg;
	start_apic();
	for (uint32_t i = 1; i < CPUS; i++) {
		/* A SIPI before INIT does nothing to a CPU that has been started. */
		ipi(i, 0x4500);
		ipi(i, 0x600 | BOOT_AT >> 12);
		G_CHECK(g_spin_until(count, i, LIMIT));
		ipi(i, 0x600 | BOOT_AT >> 12); /* the second one is ignored */
		for (unsigned int k = 0; k < 50; k++)
			g_pause();
		G_CHECK_EQ(*count, i);
		G_CHECK_EQ(seg[0], BOOT_AT >> 4);
		G_CHECK_EQ(seg[1], i);
	}
	/* Again: INIT stops a running CPU, SIPI starts it. */
	ipi(1, 0x4500);
	for (unsigned int k = 0; k < 50; k++)
		g_pause();
	G_CHECK_EQ(*count, CPUS - 1);
	ipi(1, 0x600 | BOOT_AT >> 12);
	G_CHECK(g_spin_until(count, CPUS, LIMIT));
	/* All at once */
	ipi(0, 0xc4500);
	ipi(0, 0xc0600 | BOOT_AT >> 12);
	G_CHECK(g_spin_until(count, 2 * CPUS - 1, LIMIT));
	/* INIT level de-assert is ignored. */
	ipi(0, 0x88500);
	g_sync(1);
}

static void init_sipi(bool x2apic)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	x2 = x2apic;
	vm_code(vm, BOOT_AT, ap);
	for (unsigned int i = 0; i < CPUS; i++) {
		struct vcpu *v = vcpu_new(vm, i);
		struct kvm_mp_state mp;

		vcpu_ioctl(v, KVM_GET_MP_STATE, &mp);
		CHECK_EQ(mp.mp_state, i ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE);
		if (i && x2)
			vcpu_x2apic(v);
	}
	vcpu_long_mode(vm->vcpus[0], boot_guest, 0);
	for (unsigned int i = 1; i < CPUS; i++)
		vcpu_start_ap(vm->vcpus[i]);
	vcpu_run_sync(vm->vcpus[0]);
	for (unsigned int i = 1; i < CPUS; i++) {
		struct kvm_mp_state mp;
		struct kvm_sregs s;

		vcpu_stop_ap(vm->vcpus[i]);
		vcpu_ioctl(vm->vcpus[i], KVM_GET_MP_STATE, &mp);
		CHECK_EQ(mp.mp_state, KVM_MP_STATE_HALTED);
		vcpu_get_sregs(vm->vcpus[i], &s);
		CHECK_EQ(s.cs.selector, BOOT_AT >> 4);
		CHECK_EQ(s.cs.base, BOOT_AT);
		CHECK_EQ(s.cr0 & 0x80000001, 0);
	}
	vcpu_run(vm->vcpus[0]);
}

TEST(init_sipi_xapic)
{
	init_sipi(false);
}

TEST(init_sipi_x2apic)
{
	if (!(dev_cpuid_reg(1, 0, 'c') & 1 << 21))
		test_skip("no x2APIC");
	init_sipi(true);
}

static void native_guest(uint64_t arg)
{
	volatile uint32_t *count = (uint32_t *)(uintptr_t)(BOOT_AT + 0x100);

	(void)arg;
	start_apic();
	for (uint32_t i = 1; i <= 3; i++) {
		ipi(1, 0x4500);
		ipi(1, 0x600 | BOOT_AT >> 12);
		if (!g_spin_until(count, i, LIMIT)) {
			g_fail(__FILE__, __LINE__, "starts of the halted CPU", *count, i);
			break;
		}
		/* It is on its way to the next HLT. */
		for (unsigned int k = 0; k < 1000; k++)
			g_pause();
	}
	g_sync(1);
}

/* INIT and SIPI to a CPU whose HLT does not exit: it is in the guest, with interrupts off. */
TEST(init_sipi_native_hlt)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	struct kvm_sregs s;

	if (!(dev_cap(KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT))
		test_skip("no KVM_X86_DISABLE_EXITS_HLT");
	if (dev_is_kvm() && cpu_is_bochs())
		test_skip("in-tree KVM never gets Bochs' CPU back from such a guest");
	vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT);
	vm_code(vm, BOOT_AT, ap);
	vcpu_long_mode(vcpu_new(vm, 0), native_guest, 0);
	vcpu_start_ap(vcpu_new(vm, 1));
	vcpu_run_sync(vm->vcpus[0]);
	vcpu_stop_ap(vm->vcpus[1]);
	vcpu_get_sregs(vm->vcpus[1], &s);
	CHECK_EQ(s.cs.selector, BOOT_AT >> 4);
	CHECK_EQ(s.cr0 & 0x80000001, 0);
	vcpu_run(vm->vcpus[0]);
}

/* An AP that waits for INIT does not run, whatever is sent to it. */
static void sleeper_guest(uint64_t arg)
{
	(void)arg;
	start_apic();
	ipi(1, 0x40);
	ipi(1, 0x400);
	ipi(1, 0x600 | BOOT_AT >> 12); /* SIPI without INIT */
	g_sync(1);
}

static uint64_t cpu_time(struct vcpu *v)
{
	struct timespec t;
	clockid_t id;

	REQUIRE(!pthread_getcpuclockid(v->thread, &id) && !clock_gettime(id, &t), "no clock");
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* KVM_RUN waits there, and does not return to be called again and again. */
static void check_sleeps(struct vcpu *v)
{
	uint64_t begin = now_ns(), used = cpu_time(v);

	sleep_ms(200);
	used = cpu_time(v) - used;
	begin = now_ns() - begin;
	CHECK(used < begin / 4, "of %llu us, the vCPU runs %llu", (unsigned long long)begin / 1000,
	      (unsigned long long)used / 1000);
}

TEST(uninitialized)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	struct vcpu *v = vcpu_new(vm, 0), *ap = vcpu_new(vm, 1);
	struct kvm_mp_state mp;

	vm_code(vm, BOOT_AT, ap);
	vcpu_start_ap(ap);
	check_sleeps(ap);
	vcpu_long_mode(v, sleeper_guest, 0);
	vcpu_run_sync(v);
	if (dev_is_kvm()) /* for which an NMI is a reason to wake up */
		sleep_ms(50);
	else
		check_sleeps(ap);
	vcpu_stop_ap(ap);
	CHECK_EQ(*(uint32_t *)vm_ptr(vm, BOOT_AT + 0x100), 0);
	vcpu_ioctl(ap, KVM_GET_MP_STATE, &mp);
	CHECK_EQ(mp.mp_state, KVM_MP_STATE_UNINITIALIZED);
}

/* --- who gets it, of several --- */

static volatile uint32_t phase;

static void lowest_guest(uint64_t arg)
{
	(void)arg;
	start_apic();
	g_apic_write(APIC_DFR, 0xffffffff);
	g_apic_write(APIC_LDR, 1u << 24);
	g_sti();
	G_CHECK(g_spin_until(&ready, CPUS - 1, LIMIT));
	phase = 1;
	/* The host sends, and says when it has had enough. */
	G_CHECK(g_spin_until(&phase, 2, 100 * LIMIT));
	stop = 1;
	ipi(0, 0xc0000 | 0x71);
}

static int msi(struct vm *vm, uint32_t address, uint32_t data)
{
	struct kvm_msi m = { .address_lo = address, .data = data };

	return ioctl(vm->fd, KVM_SIGNAL_MSI, &m);
}

static uint64_t total(uint8_t vector)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < CPUS; i++)
		n += guest_cpus[i].irqs[vector];
	return n;
}

static void wait_total(uint8_t vector, uint64_t n)
{
	for (unsigned int i = 0; i < 2000 && total(vector) < n; i++)
		usleep(1000);
	CHECK_EQ(total(vector), n);
}

TEST(msi_destinations)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	uint64_t least = ~0ull;

	for (unsigned int i = 0; i < CPUS; i++)
		vm_add_guest(vm, i, i ? target_guest : lowest_guest, 1);
	for (unsigned int i = 0; i < CPUS; i++)
		vcpu_start(vm->vcpus[i]);
	for (unsigned int i = 0; i < 5000 && !phase; i++)
		usleep(1000);
	REQUIRE(phase == 1, "the guest does not come up");
	for (unsigned int i = 1; i <= 20; i++) {
		/* Lowest priority, logical, all four: exactly one of them */
		CHECK(msi(vm, 0xfee0f00c, 0x190) > 0, "MSI %u is not delivered", i);
		wait_total(0x90, i);
	}
	for (unsigned int i = 0; i < CPUS; i++)
		least = guest_cpus[i].irqs[0x90] < least ? guest_cpus[i].irqs[0x90] : least;
	test_note("lowest priority: each vCPU took %u at least", (unsigned int)least);
	CHECK_EQ(msi(vm, 0xfee03000, 0x91), 1);
	wait_total(0x91, 1);
	CHECK_EQ(guest_cpus[3].irqs[0x91], 1);
	CHECK(msi(vm, 0xfeeff000, 0x92) > 0, "no broadcast");
	wait_total(0x92, CPUS);
	CHECK(msi(vm, 0xfee06004, 0x93) > 0, "logical, two of them");
	wait_total(0x93, 2);
	CHECK_EQ(guest_cpus[1].irqs[0x93] + guest_cpus[2].irqs[0x93], 2);
	phase = 2;
	for (unsigned int i = 0; i < CPUS; i++)
		vcpu_join(vm->vcpus[i]);
}
