// SPDX-License-Identifier: GPL-2.0-only
/*
 * APIC IDs of 32 bits: IPIs, MSIs, routes and irqfds to vCPUs whose IDs need more than
 * 8, in x2APIC mode; what is a broadcast; how they are started; and KVM_CAP_X2APIC_API.
 */
#include <sys/eventfd.h>
#include "test.h"

#define LIMIT	3000000ull
#define BOOT_AT 0x8000u
#define MSI_GSI 30u

/* Several in cluster 0, the one that 8 bits cannot name, and some far away. */
static const unsigned int ids[] = { 0, 1, 255, 300, 2000, 4090 };
#define CPUS (sizeof(ids) / sizeof(ids[0]))
#define ALL  ((1u << CPUS) - 1)

static volatile uint32_t ready, stop, phase;

static struct guest_cpu *cpu_of(unsigned int i)
{
	return &guest_cpus[ids[i] % MAX_VCPUS];
}

static uint32_t logical_id(uint32_t id)
{
	return (id >> 4) << 16 | 1u << (id & 15);
}

static void need_x2apic(void)
{
	if (!(dev_cpuid_reg(1, 0, 'c') & 1 << 21))
		test_skip("no x2APIC");
}

static void enable_cap(struct vm *vm, uint64_t flags)
{
	vm_enable_cap(vm, KVM_CAP_X2APIC_API, flags);
}

/* --- messages --- */

static void start_apic(void)
{
	struct guest_cpu *c = g_cpu();

	for (unsigned int i = 0x30; i < 0xf0; i++)
		c->handler[i] = g_on_irq_x2eoi;
	g_x2apic_enable();
	G_CHECK_EQ(g_rdmsr(MSR_X2APIC(APIC_ID)), c->id);
	G_CHECK_EQ(g_rdmsr(MSR_X2APIC(APIC_LDR)), logical_id(c->id));
}

static void target_guest(uint64_t arg)
{
	(void)arg;
	start_apic();
	g_atomic_inc(&ready);
	while (!stop)
		g_sti_hlt_cli();
}

static void ipi(uint32_t dest, uint32_t low)
{
	g_wrmsr(MSR_X2APIC(APIC_ICR), (uint64_t)dest << 32 | low);
}

/* Exactly the CPUs of @set get @vector once. */
static void check_got(uint8_t vector, uint32_t set)
{
	for (unsigned int i = 0; i < CPUS; i++) {
		if (set >> i & 1)
			G_CHECK(g_wait_for(&cpu_of(i)->irqs[vector], 1, LIMIT));
	}
	for (unsigned int i = 0; i < 50; i++)
		g_pause();
	for (unsigned int i = 0; i < CPUS; i++) {
		if (cpu_of(i)->irqs[vector] != (set >> i & 1))
			g_fail(__FILE__, vector, "interrupts of a CPU (line is the vector)",
			       (uint64_t)ids[i] << 16 | cpu_of(i)->irqs[vector], set);
	}
}

static void sender_guest(uint64_t arg)
{
	(void)arg;
	start_apic();
	g_sti();
	G_CHECK(g_spin_until(&ready, CPUS - 1, LIMIT));
	for (unsigned int i = 0; i < CPUS; i++) {
		ipi(ids[i], 0x40 + i);
		check_got(0x40 + i, 1u << i);
		ipi(logical_id(ids[i]), 0x800 | (0x50 + i));
		check_got(0x50 + i, 1u << i);
	}
	ipi(0xffff, 0x800 | 0x58); /* all of cluster 0 */
	check_got(0x58, 3);
	ipi(0xffffffff, 0x59);
	check_got(0x59, ALL);
	ipi(0xff, 0x5a); /* an ID like any other */
	check_got(0x5a, 1u << 2);
	ipi(301, 0x5b); /* nobody, here and below */
	ipi(4096 + 300, 0x5b);
	ipi(0x1000000 + 300, 0x5b);
	ipi(0x10000000, 0x800 | 0x5b);
	ipi(logical_id(300) | 0x80000000, 0x800 | 0x5b);
	check_got(0x5b, 0);
	phase = 1;
	/* The host sends, and says when it has had enough. */
	G_CHECK(g_spin_until(&phase, 2, 100 * LIMIT));
	stop = 1;
	ipi(0, 0xc0000 | 0x5c);
}

static int msi(struct vm *vm, uint32_t dest, uint32_t flags, uint32_t data)
{
	struct kvm_msi m = { .address_lo = 0xfee00000 | (dest & 0xff) << 12 | flags,
			     .address_hi = dest & ~0xffu,
			     .data = data };

	return ioctl(vm->fd, KVM_SIGNAL_MSI, &m);
}

/* Exactly the vCPUs of @set have taken @vector @n times. */
static void got(uint8_t vector, uint32_t set, unsigned int n)
{
	for (unsigned int i = 0; i < CPUS; i++) {
		for (unsigned int t = 0; t < 3000 && cpu_of(i)->irqs[vector] < n && set >> i & 1;
		     t++)
			usleep(1000);
	}
	usleep(2000);
	for (unsigned int i = 0; i < CPUS; i++) {
		uint64_t want = set >> i & 1 ? n : 0;

		CHECK(cpu_of(i)->irqs[vector] == want, "vector %#x: vCPU %u has %u, not %u", vector,
		      ids[i], (unsigned int)cpu_of(i)->irqs[vector], (unsigned int)want);
	}
}

static int route(struct vm *vm, uint32_t hi, uint8_t vector)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e;
	} table = { .head.nr = 1, .e = { .gsi = MSI_GSI, .type = KVM_IRQ_ROUTING_MSI } };

	table.e.u.msi.address_lo = 0xfee00000 | (2000 & 0xff) << 12;
	table.e.u.msi.address_hi = hi;
	table.e.u.msi.data = vector;
	return ioctl(vm->fd, KVM_SET_GSI_ROUTING, &table);
}

/* KVM_CAP_X2APIC_API is not enabled yet: IDs have 8 bits, and 0xff is all. */
static void send_narrow(struct vm *vm)
{
	CHECK_EQ(msi(vm, 0x100, 0, 0x70), 1);
	got(0x70, 1, 1);
	CHECK(msi(vm, 0xff, 0, 0x71) > 0, "no broadcast");
	got(0x71, ALL, 1);
}

static void send_wide(struct vm *vm)
{
	for (unsigned int i = 0; i < CPUS; i++) {
		CHECK_EQ(msi(vm, ids[i], 0, 0x80 + i), 1);
		got(0x80 + i, 1u << i, 1);
		CHECK_EQ(msi(vm, logical_id(ids[i]), 4, 0x90 + i), 1);
		got(0x90 + i, 1u << i, 1);
	}
	CHECK(msi(vm, 0xffffffff, 0, 0xa0) > 0, "no broadcast");
	got(0xa0, ALL, 1);
}

static void send_strict(struct vm *vm)
{
	CHECK_EQ(msi(vm, 0xff, 0, 0xa1), 1);
	got(0xa1, 1u << 2, 1);
	CHECK_EQ(msi(vm, 0xff, 4, 0xa2), 2); /* CPUs 0 to 7 */
	got(0xa2, 3, 1);
	CHECK(msi(vm, 301, 0, 0xa3) <= 0, "an MSI to nobody");
	got(0xa3, 0, 0);
}

static void send_by_route(struct vm *vm, int event)
{
	uint64_t one = 1;
	struct kvm_msi low = { .address_lo = 0xfee00000, .address_hi = 1, .data = 0xa9 };

	/* Made before the VM had wide IDs */
	CHECK_EQ(write(event, &one, 8), 8);
	got(0xa8, 1u << 4, 1);
	CHECK_OK(route(vm, 2000 & ~0xff, 0xaa));
	CHECK_EQ(write(event, &one, 8), 8);
	got(0xaa, 1u << 4, 1);
	/* Bits that belong to no ID */
	CHECK_ERR(ioctl(vm->fd, KVM_SIGNAL_MSI, &low), EINVAL);
	CHECK_ERR(route(vm, 0x701, 0xab), EINVAL);
	CHECK_EQ(write(event, &one, 8), 8);
	got(0xaa, 1u << 4, 2);
}

TEST(messages)
{
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0), .gsi = MSI_GSI };
	struct vm *vm;

	need_x2apic();
	vm = vm_new(VM_SPLIT);
	for (unsigned int i = 0; i < CPUS; i++)
		vm_add_guest(vm, ids[i], i ? target_guest : sender_guest, 0);
	CHECK_OK(route(vm, 2000 & ~0xff, 0xa8));
	vm_ioctl(vm, KVM_IRQFD, &irqfd);
	for (unsigned int i = 0; i < CPUS; i++)
		vcpu_start(vm->vcpus[i]);
	for (unsigned int i = 0; i < 10000 && !phase; i++)
		usleep(1000);
	REQUIRE(phase == 1, "the guest does not come up");
	send_narrow(vm);
	enable_cap(vm, KVM_X2APIC_API_USE_32BIT_IDS);
	send_by_route(vm, irqfd.fd);
	enable_cap(vm, KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
	send_wide(vm);
	send_strict(vm);
	phase = 2;
	for (unsigned int i = 0; i < CPUS; i++)
		vcpu_join(vm->vcpus[i]);
}

/* --- INIT and SIPI to vCPUs that are in xAPIC mode, where their IDs do not fit --- */

asm(".pushsection .rodata\n.code16\n"
    ".globl wide_ap, wide_ap_end\n"
    "wide_ap:\n"
    "mov %cs, %ax\n mov %ax, %ds\n"
    "lock incl 0x100\n"
    "1: cli\n hlt\n"
    "jmp 1b\n"
    "wide_ap_end:\n"
    ".code64\n.popsection\n");

static void starter_guest(uint64_t arg)
{
	volatile uint32_t *count = (uint32_t *)(uintptr_t)(BOOT_AT + 0x100);

	(void)arg;
	start_apic();
	for (uint32_t i = 3; i < CPUS; i++) {
		ipi(ids[i], 0x4500);
		ipi(ids[i], 0x600 | BOOT_AT >> 12);
		G_CHECK(g_spin_until(count, i - 2, LIMIT));
	}
	g_sync(1);
}

TEST(start)
{
	struct vm *vm;

	need_x2apic();
	vm = vm_new(VM_IRQCHIP);
	vm_code(vm, BOOT_AT, wide_ap);
	vcpu_long_mode(vcpu_new(vm, 0), starter_guest, 0);
	for (unsigned int i = 3; i < CPUS; i++)
		vcpu_start_ap(vcpu_new(vm, ids[i]));
	vcpu_run_sync(vm->vcpus[0]);
	for (unsigned int i = 1; i < vm->nr_vcpus; i++) {
		struct kvm_sregs s;

		vcpu_stop_ap(vm->vcpus[i]);
		vcpu_get_sregs(vm->vcpus[i], &s);
		CHECK_EQ(s.cs.selector, BOOT_AT >> 4);
	}
}

/* --- the ABI --- */

static uint32_t *lapic_reg(struct kvm_lapic_state *s, unsigned int offset)
{
	return (uint32_t *)(s->regs + offset);
}

TEST(lapic_state)
{
	struct kvm_lapic_state s;
	struct vm *vm;
	struct vcpu *v;

	need_x2apic();
	vm = vm_new(VM_IRQCHIP);
	v = vcpu_new(vm, 300);
	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	CHECK_EQ(*lapic_reg(&s, APIC_ID), 300u << 24);
	vcpu_x2apic(v);
	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	CHECK_EQ(*lapic_reg(&s, APIC_ID), 300u << 24);
	enable_cap(vm, KVM_X2APIC_API_USE_32BIT_IDS);
	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	CHECK_EQ(*lapic_reg(&s, APIC_ID), 300);
	CHECK_EQ(*lapic_reg(&s, APIC_LDR), logical_id(300));
	*lapic_reg(&s, APIC_TPR) = 0x40;
	*lapic_reg(&s, APIC_LDR) = 0;
	vcpu_ioctl(v, KVM_SET_LAPIC, &s);
	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	CHECK_EQ(*lapic_reg(&s, APIC_TPR), 0x40);
	CHECK_EQ(*lapic_reg(&s, APIC_LDR), logical_id(300));
	/* Another's state */
	*lapic_reg(&s, APIC_ID) = 300u << 24;
	*lapic_reg(&s, APIC_TPR) = 0x50;
	CHECK_ERR(ioctl(v->fd, KVM_SET_LAPIC, &s), EINVAL);
	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	CHECK_EQ(*lapic_reg(&s, APIC_TPR), 0x40);
	/* In xAPIC mode the register is as the guest sees it. */
	v = vcpu_new(vm, 5);
	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	CHECK_EQ(*lapic_reg(&s, APIC_ID), 5u << 24);
}

TEST(capability)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	CHECK_EQ(dev_cap(KVM_CAP_X2APIC_API), 3);
	CHECK(dev_cap(KVM_CAP_MAX_VCPU_ID) >= 4096, "vCPU IDs up to %d only",
	      dev_cap(KVM_CAP_MAX_VCPU_ID));
	CHECK_ERR(vm_try_cap(vm, KVM_CAP_X2APIC_API, 4), EINVAL);
	CHECK_ERR(vm_try_cap(vm, KVM_CAP_X2APIC_API, 1ull << 32), EINVAL);
	enable_cap(vm, 0);
	enable_cap(vm, 3);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, dev_cap(KVM_CAP_MAX_VCPU_ID)), EINVAL);
}
