// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC in x2APIC mode, where a CPU may act for it: that interrupts, EOIs and
 * TPR writes then do not exit, and that everybody else still sees what they should.
 * All but no_exits demands the same of an APIC that is emulated. The registers as such are
 * irqchip.c's part.
 */
#include <sys/eventfd.h>
#include "test.h"

#define LIMIT	 3000000ull
#define SELF_IPI 0x83f
#define LEVEL	 (1u << 15)
#define TICKS	 200u

static uint32_t x2(uint32_t reg)
{
	return g_rdmsr(MSR_X2APIC(reg));
}

static uint32_t x2_bit(uint32_t reg, uint8_t vector)
{
	return x2(reg + vector / 32 * 16) >> vector % 32 & 1;
}

static void x2_eoi(void)
{
	g_wrmsr(MSR_X2APIC(APIC_EOI), 0);
}

static void self(uint8_t vector)
{
	g_wrmsr(SELF_IPI, vector);
}

static void prepare(void)
{
	struct guest_cpu *c = g_cpu();

	g_touch_irq_tables();
	for (unsigned int i = 0x20; i < 0xf0; i++)
		c->handler[i] = g_on_irq_x2eoi;
	g_x2apic_enable();
}

/* Interrupts on for a moment. */
static void take(void)
{
	asm volatile("sti; nop; cpuid; nop; cli" : : "a"(0) : "rbx", "rcx", "rdx", "memory");
}

/* --- without exits --- */

/* What the driver says of itself, on a CPU for which it matters. */
static bool in_hardware(void)
{
	return vmx_parameter("enable_apicv") == 'Y';
}

static uint64_t exits(struct vcpu *v)
{
	uint64_t value = 0;

	REQUIRE(vcpu_stat(v, "exits", &value), "no such statistic");
	return value;
}

static void ticks_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	prepare();
	g_sti();
	self(0x51); /* until the first exit the page was not loaded */
	G_CHECK(g_wait_for(&c->irqs[0x51], 1, LIMIT));
	g_sync(1);
	for (unsigned int i = 0; i < TICKS; i++) {
		g_wrmsr(MSR_X2APIC(APIC_TPR), 0x60);
		self(0x51);
		G_WRITE_CR(8, i & 1 ? 0 : 4);
		g_pause();
	}
	g_sync(2);
	G_CHECK_EQ(c->irqs[0x51], 1 + TICKS);
	G_CHECK_EQ(x2(APIC_PPR), 0);
}

TEST(no_exits)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, ticks_guest, 0);
	uint64_t before, after;

	if (dev_cap(KVM_CAP_BINARY_STATS_FD) <= 0)
		test_skip("no KVM_CAP_BINARY_STATS_FD");
	CHECK_EQ(vcpu_run_sync(v), 1);
	before = exits(v);
	CHECK_EQ(vcpu_run_sync(v), 2);
	after = exits(v);
	test_note("%llu exits", (unsigned long long)(after - before));
	/* The host's own interrupts are a few, on a slow CPU. */
	if (in_hardware())
		CHECK(after - before < TICKS / 4, "%u self-IPIs cost %llu exits", TICKS,
		      (unsigned long long)(after - before));
	vcpu_run(v);
}

/* --- what user space sees and sets, in the middle of it --- */

static uint32_t state_reg(const struct kvm_lapic_state *s, uint32_t reg)
{
	uint32_t val;

	memcpy(&val, s->regs + reg, 4);
	return val;
}

static uint32_t state_bit(const struct kvm_lapic_state *s, uint32_t reg, uint8_t vector)
{
	return state_reg(s, reg + vector / 32 * 16) >> vector % 32 & 1;
}

static unsigned int state_bits(const struct kvm_lapic_state *s, uint32_t reg)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < 8; i++)
		n += __builtin_popcount(state_reg(s, reg + i * 16));
	return n;
}

/* KVM loses the lower half where TPR is exchanged as a class (AMD's V_TPR). */
static volatile uint32_t tpr_used;

static void on_service(struct guest_regs *r)
{
	(void)r;
	self(0x93);
	self(0x51);
	self(0x38);
	g_sync(2);
	/* Whatever happened to the state meanwhile */
	G_CHECK_EQ(x2_bit(APIC_ISR, 0xa2), 1);
	G_CHECK_EQ(x2_bit(APIC_IRR, 0x93), 1);
	G_CHECK_EQ(x2(APIC_PPR), 0xa0);
	G_CHECK_EQ(x2(APIC_TPR), tpr_used);
	x2_eoi();
	G_CHECK_EQ(x2_bit(APIC_ISR, 0xa2), 0);
	G_CHECK_EQ(x2(APIC_PPR), tpr_used);
}

static void service_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	prepare();
	c->handler[0xa2] = on_service;
	g_wrmsr(MSR_X2APIC(APIC_TPR), tpr_used);
	G_CHECK_EQ(G_READ_CR(8), 3);
	g_sync(1);
	self(0xa2);
	take();
	G_CHECK_EQ(c->irqs[0xa2], 1);
	take();
	take();
	G_CHECK_EQ(c->irqs[0x93], 1);
	G_CHECK_EQ(c->irqs[0x51], 1);
	G_CHECK_EQ(c->irqs[0x38], 0);
	g_sync(3); /* lets 0x38 through, and sends 0x72 */
	G_CHECK_EQ(x2(APIC_TPR), 0);
	G_CHECK_EQ(G_READ_CR(8), 0);
	take();
	take();
	G_CHECK_EQ(c->irqs[0x38], 1);
	G_CHECK_EQ(c->irqs[0x72], 1);
	g_sync(4);
}

/* User space does nothing meanwhile (0), reads the state (1), writes it back, too (2). */
static void service(unsigned int how)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, service_guest, 0);
	struct kvm_msi m = { .address_lo = 0xfee00000, .data = 0x72 };
	struct kvm_lapic_state s;
	uint32_t tpr = 0;

	tpr_used = dev_is_kvm() ? 0x30 : 0x35;
	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(v->run->cr8, 3);
	if (how) {
		vcpu_ioctl(v, KVM_GET_LAPIC, &s);
		CHECK_EQ(state_reg(&s, APIC_TPR), tpr_used);
		CHECK_EQ(state_reg(&s, APIC_PPR), 0xa0);
		CHECK_EQ(state_bit(&s, APIC_ISR, 0xa2), 1);
		CHECK_EQ(state_bits(&s, APIC_ISR), 1);
		CHECK_EQ(state_bit(&s, APIC_IRR, 0x93), 1);
		CHECK_EQ(state_bit(&s, APIC_IRR, 0x51), 1);
		CHECK_EQ(state_bit(&s, APIC_IRR, 0x38), 1);
		CHECK_EQ(state_bits(&s, APIC_IRR), 3);
	}
	if (how == 2) {
		struct kvm_lapic_state empty = s;

		memset(empty.regs + APIC_ISR, 0, 0x80);
		memset(empty.regs + APIC_IRR, 0, 0x80);
		vcpu_ioctl(v, KVM_SET_LAPIC, &empty);
		vcpu_ioctl(v, KVM_SET_LAPIC, &s);
	}
	CHECK_EQ(vcpu_run_sync(v), 3);
	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	CHECK_EQ(state_bits(&s, APIC_ISR), 0);
	CHECK_EQ(state_bits(&s, APIC_IRR), 1);
	memcpy(s.regs + APIC_TPR, &tpr, 4);
	vcpu_ioctl(v, KVM_SET_LAPIC, &s);
	CHECK_EQ(ioctl(v->vm->fd, KVM_SIGNAL_MSI, &m), 1);
	CHECK_EQ(vcpu_run_sync(v), 4);
	CHECK_EQ(v->run->cr8, 0);
	vcpu_ioctl(v, KVM_GET_LAPIC, &s);
	CHECK_EQ(state_bits(&s, APIC_ISR) + state_bits(&s, APIC_IRR), 0);
	vcpu_run(v);
}

TEST(mid_service)
{
	service(0);
}

TEST(mid_service_read)
{
	service(1);
}

TEST(mid_service_written)
{
	service(2);
}

/* --- IF --- */

static void held_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	g_pic_mask();
	prepare();
	for (unsigned int i = 1; i <= 10; i++) {
		uint64_t start;

		take(); /* IF has been set and is not */
		self(0x51);
		/* Long enough for interrupts of the host */
		for (start = g_rdtsc(); g_rdtsc() - start < arg;)
			g_pause();
		G_CHECK_EQ(c->irqs[0x51], i - 1);
		take();
		G_CHECK_EQ(c->irqs[0x51], i);
	}
}

TEST(held_back)
{
	if (in_hardware() && cpu_is_bochs())
		test_skip("Bochs delivers it when an interrupt of the host comes");
	vcpu_run(vm_with_guest(VM_IRQCHIP, held_guest, 200000));
}

/* --- modes --- */

static void modes_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	prepare();
	/* Switched off by SVR it holds what it has, and takes nothing new. */
	self(0x61);
	g_wrmsr(MSR_X2APIC(APIC_SVR), 0xff);
	self(0x62);
	G_CHECK_EQ(x2_bit(APIC_IRR, 0x61), 1);
	G_CHECK_EQ(x2_bit(APIC_IRR, 0x62), 0);
	g_wrmsr(MSR_X2APIC(APIC_SVR), 0x1ff);
	take();
	take();
	G_CHECK_EQ(c->irqs[0x61], 1);
	G_CHECK_EQ(c->irqs[0x62], 0);
	/* The same in service */
	c->handler[0x63] = g_on_irq_no_eoi;
	self(0x63);
	take();
	g_wrmsr(MSR_X2APIC(APIC_SVR), 0xff);
	G_CHECK_EQ(x2_bit(APIC_ISR, 0x63), 1);
	g_wrmsr(MSR_X2APIC(APIC_SVR), 0x1ff);
	self(0x64);
	take();
	G_CHECK_EQ(c->irqs[0x64], 0);
	x2_eoi();
	take();
	G_CHECK_EQ(c->irqs[0x64], 1);
	/* HLT ends by what IF held back, and by what comes later. */
	self(0x65);
	g_sti_hlt_cli();
	G_CHECK_EQ(c->irqs[0x65], 1);
	g_wrmsr(MSR_X2APIC(APIC_LVTT), 0x66);
	g_wrmsr(MSR_X2APIC(APIC_TMICT), 3000000);
	self(0x67);
	g_wrmsr(MSR_X2APIC(APIC_TPR), 0x60); /* but not by this one and the timer */
	g_wrmsr(MSR_X2APIC(APIC_ICR), 0x71);
	g_sti_hlt_cli();
	G_CHECK_EQ(c->irqs[0x71], 1);
	G_CHECK_EQ(c->irqs[0x66] + c->irqs[0x67], 0);
	g_wrmsr(MSR_X2APIC(APIC_TPR), 0);
	g_sti();
	G_CHECK(g_wait_for(&c->irqs[0x66], 1, LIMIT));
	G_CHECK_EQ(c->irqs[0x67], 1);
	g_cli();
	/* Through off to xAPIC mode, and back */
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) & ~0xc00ull);
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) | 0x800);
	g_apic_enable();
	c->handler[0x45] = g_on_irq_no_eoi;
	g_apic_write(APIC_ICR, 0x40045);
	take();
	G_CHECK_EQ(c->irqs[0x45], 1);
	g_x2apic_enable();
	G_CHECK_EQ(x2_bit(APIC_ISR, 0x45), 1);
	self(0x46);
	take();
	G_CHECK_EQ(c->irqs[0x46], 0);
	x2_eoi();
	take();
	G_CHECK_EQ(c->irqs[0x46], 1);
}

TEST(mode_changes)
{
	vcpu_run(vm_with_guest(VM_IRQCHIP, modes_guest, 0));
}

static void illegal_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	prepare();
	/* A vector that is none: an error, with its interrupt */
	g_wrmsr(MSR_X2APIC(APIC_LVTERR), 0x81);
	self(0x07);
	take();
	G_CHECK_EQ(c->irqs[0x81], 1);
	g_wrmsr(MSR_X2APIC(APIC_ESR), 0);
	G_CHECK_EQ(x2(APIC_ESR), 1 << 5);
	G_CHECK_EQ(g_try_wrmsr(SELF_IPI, 0x145), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_X2APIC(APIC_TPR), 0x100), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_X2APIC(APIC_EOI), 1), 13);
}

TEST(illegal_writes)
{
	if (dev_is_kvm())
		test_skip("in-tree KVM has no such errors");
	vcpu_run(vm_with_guest(VM_IRQCHIP, illegal_guest, 0));
}

/* --- who listens to an EOI --- */

static void listeners_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	prepare();
	c->handler[0x66] = g_on_irq_no_eoi;
	g_ioapic_route(20, 0x66 | LEVEL, 0);
	g_ioapic_route(21, 0x77, 0);
	g_sti();
	g_sync(1); /* raises 20 */
	G_CHECK(g_wait_for(&c->irqs[0x66], 1, LIMIT));
	G_CHECK_EQ(x2_bit(APIC_TMR, 0x66), 1);
	x2_eoi(); /* the line is still high */
	G_CHECK(g_wait_for(&c->irqs[0x66], 2, LIMIT));
	g_sync(2); /* lowers 20 */
	x2_eoi();
	G_CHECK_EQ(g_ioapic_read(0x10 + 40) & 1 << 14, 0);
	g_sync(3); /* pulses 21, an edge, to which nobody listens */
	G_CHECK(g_wait_for(&c->irqs[0x77], 1, LIMIT));
	for (unsigned int i = 4; i < 7; i++) {
		g_sync(i); /* the same, and somebody does */
		G_CHECK(g_wait_for(&c->irqs[0x77], i - 2, LIMIT));
	}
	g_sync(7);
	G_CHECK_EQ(c->irqs[0x66], 2);
}

static void line(struct vm *vm, uint32_t gsi, uint32_t level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	vm_ioctl(vm, KVM_IRQ_LINE, &l);
}

TEST(eoi_listeners)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, listeners_guest, 0);
	int fd = eventfd(0, EFD_NONBLOCK), resample = eventfd(0, EFD_NONBLOCK);
	struct kvm_irqfd f = {
		.fd = fd, .gsi = 21, .flags = KVM_IRQFD_FLAG_RESAMPLE, .resamplefd = resample
	};
	uint64_t one = 1, value;

	CHECK_EQ(vcpu_run_sync(v), 1);
	line(v->vm, 20, 1);
	CHECK_EQ(vcpu_run_sync(v), 2);
	line(v->vm, 20, 0);
	CHECK_EQ(vcpu_run_sync(v), 3);
	line(v->vm, 21, 1);
	line(v->vm, 21, 0);
	CHECK_EQ(vcpu_run_sync(v), 4);
	vm_ioctl(v->vm, KVM_IRQFD, &f);
	for (unsigned int i = 5; i < 8; i++) {
		CHECK(read(resample, &value, 8) < 0, "resampled before anything happened");
		CHECK_EQ(write(fd, &one, 8), 8);
		sleep_ms(5);
		CHECK_EQ(vcpu_run_sync(v), i);
		CHECK_EQ(read(resample, &value, 8), 8);
	}
	vcpu_run(v);
}

static void split_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	prepare();
	c->handler[0x77] = g_on_irq_no_eoi;
	g_sti();
	g_sync(1); /* sends 0x77, level-triggered */
	G_CHECK(g_wait_for(&c->irqs[0x77], 1, LIMIT));
	x2_eoi();
	g_sync(2); /* sends it as an edge */
	G_CHECK(g_wait_for(&c->irqs[0x77], 2, LIMIT));
	x2_eoi();
	G_CHECK_EQ(x2_bit(APIC_ISR, 0x77), 0);
}

TEST(eoi_split)
{
	struct vcpu *v = vm_with_guest(VM_SPLIT, split_guest, 0);
	struct kvm_msi m = { .address_lo = 0xfee00000, .data = 0xc077 };

	CHECK_EQ(vcpu_run_sync(v), 1);
	/* In-tree KVM tells of the EOI only if a route says that the vector is an IOAPIC's. */
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e;
	} r = {
		.head.nr = 1,
		.e = { .gsi = 5,
		       .type = KVM_IRQ_ROUTING_MSI,
		       .u.msi = { .address_lo = 0xfee00000, .data = 0xc077 } },
	};

	vm_ioctl(v->vm, KVM_SET_GSI_ROUTING, &r);
	CHECK_EQ(ioctl(v->vm->fd, KVM_SIGNAL_MSI, &m), 1);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IOAPIC_EOI);
	CHECK_EQ(v->run->eoi.vector, 0x77);
	CHECK_EQ(vcpu_run_sync(v), 2);
	m.data = 0x77;
	CHECK_EQ(ioctl(v->vm->fd, KVM_SIGNAL_MSI, &m), 1);
	/* In-tree KVM goes by the route. */
	if (dev_is_kvm())
		CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IOAPIC_EOI);
	vcpu_run(v);
}
