// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt controllers in the kernel, one vCPU: PIC, I/O APIC, local APIC,
 * and all ways by which user space raises an interrupt. IPIs between vCPUs are
 * ipi.c's part, timers are timers.c's.
 */
#include <poll.h>
#include <sys/eventfd.h>
#include "test.h"

#define LIMIT 3000000ull

static struct guest_cpu *const cpu0 = &guest_cpus[0];

static void irq_line(struct vm *vm, uint32_t gsi, uint32_t level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	vm_ioctl(vm, KVM_IRQ_LINE, &l);
}

static int irq_line_status(struct vm *vm, uint32_t gsi, uint32_t level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	vm_ioctl(vm, KVM_IRQ_LINE_STATUS, &l);
	return l.status;
}

static void pulse(struct vm *vm, uint32_t gsi)
{
	irq_line(vm, gsi, 1);
	irq_line(vm, gsi, 0);
}

/* --- PIC --- */

static void pic_init(uint8_t mask1, uint8_t mask2)
{
	g_outb(0x20, 0x11);
	g_outb(0x21, 0x40);
	g_outb(0x21, 4);
	g_outb(0x21, 1);
	g_outb(0xa0, 0x11);
	g_outb(0xa1, 0x48);
	g_outb(0xa1, 2);
	g_outb(0xa1, 1);
	g_outb(0x21, mask1);
	g_outb(0xa1, mask2);
}

static void on_pic(struct guest_regs *r)
{
	if (r->vector >= 0x48)
		g_outb(0xa0, 0x20);
	g_outb(0x20, 0x20);
}

/* Interrupts on for a moment. The emulated CPU looks for them at an exit at the latest. */
static void take(void)
{
	asm volatile("sti; nop; cpuid; nop; cli" : : "a"(0) : "rbx", "rcx", "rdx", "memory");
}

/* The device behind a level-triggered line is satisfied by the third. */
static void on_pic_level(struct guest_regs *r)
{
	if (g_cpu()->irqs[r->vector] == 4)
		g_sync(8); /* lowers 10 */
	on_pic(r);
}

static void pic_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	for (unsigned int i = 0x40; i < 0x50; i++)
		c->handler[i] = on_pic;
	pic_init(0x00, 0x00);
	G_CHECK_EQ(g_inb(0x21), 0);
	g_sync(1); /* pulses 3 */
	g_outb(0x20, 0x0a);
	G_CHECK_EQ(g_inb(0x20), 1 << 3); /* IRR */
	take();
	G_CHECK_EQ(c->irqs[0x43], 1);
	G_CHECK_EQ(g_inb(0x20), 0);
	g_sync(2); /* pulses 10, through the cascade */
	take();
	G_CHECK_EQ(c->irqs[0x4a], 1);
	/* Masked, it waits. */
	g_outb(0x21, 1 << 3);
	g_sync(3); /* pulses 3 */
	take();
	G_CHECK_EQ(c->irqs[0x43], 1);
	g_outb(0x21, 0);
	take();
	G_CHECK_EQ(c->irqs[0x43], 2);
	/* Priority: a lower one waits for the EOI. */
	c->handler[0x43] = g_on_irq_no_eoi;
	g_sync(4); /* pulses 3, then 5 and 1 */
	take();
	G_CHECK_EQ(c->irqs[0x43], 3);
	g_outb(0x20, 0x0b);
	G_CHECK_EQ(g_inb(0x20), 1 << 3); /* ISR */
	g_sync(5);
	take();
	G_CHECK_EQ(c->irqs[0x41], 1);
	G_CHECK_EQ(c->irqs[0x45], 0);
	g_outb(0x20, 0x63); /* specific EOI */
	take();
	G_CHECK_EQ(c->irqs[0x45], 1);
	/* HLT ends by an interrupt that is there already. */
	c->handler[0x43] = on_pic;
	g_sync(6); /* pulses 3 */
	g_sti_hlt_cli();
	G_CHECK_EQ(c->irqs[0x43], 4);
	/* Level triggered (ELCR): again until the line is low. */
	g_outb(0x4d1, 1 << 2);
	G_CHECK_EQ(g_inb(0x4d1), 1 << 2);
	c->handler[0x4a] = on_pic_level;
	g_sync(7); /* raises 10 */
	take();
	G_CHECK_EQ(c->irqs[0x4a], 4);
	/* Spurious: the line falls before the acknowledge. */
	g_outb(0x4d0, 1 << 5);
	g_sync(9); /* raises and lowers 5 */
	take();
	G_CHECK_EQ(c->irqs[0x45], 1);
	g_outb(0x4d0, 0);
	/* Automatic EOI */
	g_outb(0x20, 0x11);
	g_outb(0x21, 0x40);
	g_outb(0x21, 4);
	g_outb(0x21, 3);
	g_outb(0x21, 0);
	c->handler[0x43] = g_on_irq_no_eoi;
	g_sync(10); /* pulses 3 */
	take();
	G_CHECK_EQ(c->irqs[0x43], 5);
	g_outb(0x20, 0x0b);
	G_CHECK_EQ(g_inb(0x20), 0);
}

TEST(pic)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, pic_guest, 0);
	struct vm *vm = v->vm;

	vcpu_run_sync(v);
	pulse(vm, 3);
	vcpu_run_sync(v);
	pulse(vm, 10);
	vcpu_run_sync(v);
	pulse(vm, 3);
	vcpu_run_sync(v);
	pulse(vm, 3);
	CHECK_EQ(vcpu_run_sync(v), 5);
	pulse(vm, 5);
	pulse(vm, 1);
	CHECK_EQ(vcpu_run_sync(v), 6);
	pulse(vm, 3);
	CHECK_EQ(vcpu_run_sync(v), 7);
	irq_line(vm, 10, 1);
	CHECK_EQ(vcpu_run_sync(v), 8);
	irq_line(vm, 10, 0);
	CHECK_EQ(vcpu_run_sync(v), 9);
	pulse(vm, 5);
	CHECK_EQ(vcpu_run_sync(v), 10);
	pulse(vm, 3);
	vcpu_run(v);
}

/* --- I/O APIC --- */

#define MASKED (1u << 16)
#define LEVEL  (1u << 15)
#define REMOTE (1u << 14)

static void ioapic_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	g_apic_enable();
	for (unsigned int i = 0x30; i < 0xf0; i++)
		c->handler[i] = g_on_irq_eoi;
	G_CHECK_EQ(g_ioapic_read(1) & 0xff00ff, 0x170011);
	for (unsigned int i = 0; i < 24; i++)
		G_CHECK_EQ(g_ioapic_read(0x10 + 2 * i) & MASKED, MASKED);
	g_ioapic_route(5, 0x55, 0);
	G_CHECK_EQ(g_ioapic_read(0x1a), 0x55);
	g_ioapic_write(0, 3u << 24);
	G_CHECK_EQ(g_ioapic_read(0) >> 24 & 15, 3);
	g_sti();
	g_sync(1); /* pulses 5 */
	G_CHECK(g_wait_for(&c->irqs[0x55], 1, LIMIT));
	g_sync(2); /* raises 5 and leaves it */
	G_CHECK(g_wait_for(&c->irqs[0x55], 2, LIMIT));
	g_sync(3); /* raises it again: no edge */
	G_CHECK_EQ(c->irqs[0x55], 2);
	g_sync(4); /* lowers it */
	/* Masked edges are remembered by the line's state: unmasking delivers a held one. */
	g_ioapic_route(5, 0x55 | MASKED, 0);
	g_sync(5); /* pulses 5 */
	G_CHECK_EQ(c->irqs[0x55], 2);
	g_ioapic_route(5, 0x55, 0);
	g_pause();
	G_CHECK(c->irqs[0x55] <= 3);
	/* Level: remote IRR until EOI, then again while the line is high */
	c->handler[0x66] = g_on_irq_no_eoi;
	g_ioapic_route(20, 0x66 | LEVEL, 0);
	g_sync(6); /* raises 20 */
	G_CHECK(g_wait_for(&c->irqs[0x66], 1, LIMIT));
	G_CHECK_EQ(g_ioapic_read(0x10 + 40) & REMOTE, REMOTE);
	G_CHECK_EQ(g_apic_bit(APIC_TMR, 0x66), 1);
	G_CHECK_EQ(g_apic_bit(APIC_ISR, 0x66), 1);
	g_apic_write(APIC_EOI, 0);
	G_CHECK(g_wait_for(&c->irqs[0x66], 2, LIMIT));
	g_sync(7); /* lowers 20 */
	g_apic_write(APIC_EOI, 0);
	G_CHECK_EQ(g_ioapic_read(0x10 + 40) & REMOTE, 0);
	G_CHECK_EQ(c->irqs[0x66], 2);
	G_CHECK_EQ(g_apic_bit(APIC_ISR, 0x66), 0);
	/* Masked and high, then unmasked */
	g_ioapic_route(20, 0x66 | LEVEL | MASKED, 0);
	g_sync(8); /* raises 20 */
	G_CHECK_EQ(c->irqs[0x66], 2);
	g_ioapic_route(20, 0x66 | LEVEL, 0);
	G_CHECK(g_wait_for(&c->irqs[0x66], 3, LIMIT));
	g_sync(9); /* lowers 20 */
	g_apic_write(APIC_EOI, 0);
	G_CHECK_EQ(c->irqs[0x66], 3);
	/* NMI by the I/O APIC */
	c->handler[2] = g_on_irq_no_eoi;
	g_ioapic_route(7, 0x400, 0);
	g_sync(10); /* pulses 7 */
	G_CHECK(g_wait_for(&c->irqs[2], 1, LIMIT));
	/* To a CPU that is not there; and lowest priority, logical, to this one */
	g_ioapic_route(5, 0x55, 0x33);
	uint64_t n = c->irqs[0x55];

	g_sync(11); /* pulses 5 */
	G_CHECK_EQ(c->irqs[0x55], n);
	g_apic_write(APIC_DFR, 0xffffffff);
	g_apic_write(APIC_LDR, 0x04000000);
	g_ioapic_route(5, 0x955, 0x06);
	g_sync(12); /* pulses 5 */
	G_CHECK(g_wait_for(&c->irqs[0x55], n + 1, LIMIT));
}

TEST(ioapic)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, ioapic_guest, 0);
	struct vm *vm = v->vm;

	vcpu_run_sync(v);
	pulse(vm, 5);
	vcpu_run_sync(v);
	CHECK(irq_line_status(vm, 5, 1) > 0, "the interrupt was not delivered");
	vcpu_run_sync(v);
	irq_line(vm, 5, 1);
	vcpu_run_sync(v);
	irq_line(vm, 5, 0);
	CHECK_EQ(vcpu_run_sync(v), 5);
	pulse(vm, 5);
	vcpu_run_sync(v);
	irq_line(vm, 20, 1);
	CHECK_EQ(vcpu_run_sync(v), 7);
	irq_line(vm, 20, 0);
	vcpu_run_sync(v);
	irq_line(vm, 20, 1);
	vcpu_run_sync(v);
	irq_line(vm, 20, 0);
	CHECK_EQ(vcpu_run_sync(v), 10);
	pulse(vm, 7);
	vcpu_run_sync(v);
	pulse(vm, 5);
	vcpu_run_sync(v);
	pulse(vm, 5);
	vcpu_run(v);
}

static void coalesce_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	g_apic_enable();
	c->handler[0x55] = g_on_irq_eoi;
	g_ioapic_route(5, 0x55, 0);
	g_sync(1);
	g_sti();
	G_CHECK(g_wait_for(&c->irqs[0x55], 1, LIMIT));
	g_sync(2);
	G_CHECK_EQ(c->irqs[0x55], 1);
}

TEST(coalesced_status)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, coalesce_guest, 0);
	struct kvm_irq_level bad = { .irq = 5000, .level = 1 };
	int r;

	if (dev_cap(KVM_CAP_IRQ_INJECT_STATUS) <= 0)
		test_skip("no KVM_CAP_IRQ_INJECT_STATUS");
	vcpu_run_sync(v);
	CHECK(irq_line_status(v->vm, 5, 1) > 0, "first edge");
	irq_line(v->vm, 5, 0);
	/* Still in IRR: the second edge is lost, which may be said. */
	CHECK(irq_line_status(v->vm, 5, 1) >= 0, "second edge");
	irq_line(v->vm, 5, 0);
	vcpu_run_sync(v);
	CHECK_EQ(irq_line_status(v->vm, 5, 0), 1);
	vcpu_run(v);
	/* A GSI without a route is ignored. */
	r = ioctl(v->vm->fd, KVM_IRQ_LINE_STATUS, &bad);
	CHECK(r == 0 && (int)bad.status <= 0, "GSI 5000: %d, status %d", r, bad.status);
}

/* --- local APIC --- */

static uint64_t order[8];
static unsigned int order_n;

static void on_order(struct guest_regs *r)
{
	order[order_n++ & 7] = r->vector;
	g_apic_write(APIC_EOI, 0);
}

static void self(uint32_t vector)
{
	g_apic_write(APIC_ICR, 0x40000 | vector);
}

static void lapic_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	for (unsigned int i = 0x20; i < 0xf0; i++)
		c->handler[i] = on_order;
	G_CHECK_EQ(g_apic_read(APIC_ID), 0);
	G_CHECK_EQ(g_apic_read(APIC_LVR) & 0xff, 0x14);
	G_CHECK(g_apic_read(APIC_LVR) >> 16 >= 3);
	G_CHECK_EQ(g_apic_read(APIC_LVTT) & 0x10000, 0x10000);
	g_apic_enable();
	/* In order of priority */
	self(0x31), self(0x51), self(0x41);
	G_CHECK_EQ(g_apic_bit(APIC_IRR, 0x41), 1);
	take();
	take();
	G_CHECK_EQ(order_n, 3);
	G_CHECK_EQ(order[0] << 16 | order[1] << 8 | order[2], 0x514131);
	/* TPR holds back its class and below, by MMIO and by CR8 */
	g_apic_write(APIC_TPR, 0x40);
	G_CHECK_EQ(G_READ_CR(8), 4);
	G_CHECK_EQ(g_apic_read(APIC_PPR), 0x40);
	self(0x4f), self(0x50);
	take();
	G_CHECK_EQ(c->irqs[0x50], 1);
	G_CHECK_EQ(c->irqs[0x4f], 0);
	g_sti();
	G_WRITE_CR(8, 3);
	G_CHECK(g_wait_for(&c->irqs[0x4f], 1, LIMIT));
	g_cli();
	G_CHECK_EQ(g_apic_read(APIC_TPR), 0x30);
	G_WRITE_CR(8, 0);
	/* In service: nothing of its class or below */
	c->handler[0x61] = g_on_irq_no_eoi;
	self(0x61);
	take();
	G_CHECK_EQ(g_apic_read(APIC_PPR), 0x60);
	self(0x6f), self(0x71);
	take();
	G_CHECK_EQ(c->irqs[0x71], 1);
	G_CHECK_EQ(c->irqs[0x6f], 0);
	g_apic_write(APIC_EOI, 0);
	take();
	G_CHECK_EQ(c->irqs[0x6f], 1);
	/* The same vector twice while pending is one, while in service another. */
	c->irqs[0x61] = 0;
	self(0x61), self(0x61);
	take();
	self(0x61);
	take();
	G_CHECK_EQ(c->irqs[0x61], 1);
	g_apic_write(APIC_EOI, 0);
	take();
	G_CHECK_EQ(c->irqs[0x61], 2);
	g_apic_write(APIC_EOI, 0);
	/* Illegal vector: an error, by LVT if it is enabled */
	c->handler[0x81] = g_on_irq_eoi;
	g_apic_write(APIC_LVTERR, 0x81);
	g_apic_write(APIC_ESR, 0);
	G_CHECK_EQ(g_apic_read(APIC_ESR), 0);
	/* NMI to itself */
	c->handler[2] = g_on_irq_no_eoi;
	g_apic_write(APIC_ICR, 0x40400);
	G_CHECK(g_wait_for(&c->irqs[2], 1, LIMIT));
	/* Software disable: LVTs are masked, and IPIs to it are dropped. */
	g_apic_write(APIC_SVR, 0xff);
	G_CHECK_EQ(g_apic_read(APIC_LVTERR) & 0x10000, 0x10000);
	g_apic_write(APIC_SVR, 0x1ff);
	/* HLT ends by an interrupt that IF holds back until STI. */
	uint64_t n = c->irqs[0x31];

	self(0x31);
	g_sti_hlt_cli();
	G_CHECK_EQ(c->irqs[0x31], n + 1);
}

TEST(lapic_xapic)
{
	vcpu_run(vm_with_guest(VM_IRQCHIP, lapic_guest, 0));
}

/* CR8 moves while an interrupt waits for IF. OVMF's interrupt handlers do that. */
static void cr8_window_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	g_pic_mask();
	c->handler[0x51] = g_on_irq_eoi;
	g_apic_enable();
	for (unsigned int i = 1; i <= arg; i++) {
		self(0x51);
		G_WRITE_CR(8, 2);
		G_WRITE_CR(8, 7);
		G_CHECK_EQ(G_READ_CR(8), 7);
		take();
		G_CHECK_EQ(c->irqs[0x51], i - 1);
		G_WRITE_CR(8, 0);
		take();
		G_CHECK_EQ(c->irqs[0x51], i);
	}
}

TEST(lapic_cr8_window)
{
	if (dev_is_kvm() && cpu_is_qemu())
		test_skip("QEMU's emulated CPU, under in-tree KVM, aborts");
	vcpu_run(vm_with_guest(VM_IRQCHIP, cr8_window_guest, 20));
}

static void x2apic_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();
	uint64_t value;

	g_pic_mask();
	for (unsigned int i = 0x20; i < 0xf0; i++)
		c->handler[i] = g_on_irq_x2eoi;
	G_CHECK_EQ(g_try_rdmsr(MSR_X2APIC(APIC_ID), &value), 13); /* not in that mode */
	g_x2apic_enable();
	G_CHECK_EQ(g_rdmsr(MSR_X2APIC(APIC_ID)), 0);
	G_CHECK_EQ(g_rdmsr(MSR_X2APIC(APIC_LDR)), 1);
	g_wrmsr(0x83f, 0x45); /* SELF IPI */
	G_CHECK_EQ(g_rdmsr(MSR_X2APIC(APIC_IRR) + 2), 1 << 5);
	take();
	G_CHECK_EQ(c->irqs[0x45], 1);
	g_wrmsr(MSR_X2APIC(APIC_ICR), 0x46); /* physical, to itself */
	take();
	G_CHECK_EQ(c->irqs[0x46], 1);
	g_wrmsr(MSR_X2APIC(APIC_ICR), 1ull << 32 | 0x847); /* logical */
	take();
	G_CHECK_EQ(c->irqs[0x47], 1);
	g_wrmsr(MSR_X2APIC(APIC_ICR), 7ull << 32 | 0x48); /* nobody */
	take();
	G_CHECK_EQ(c->irqs[0x48], 0);
	g_wrmsr(MSR_X2APIC(APIC_ICR), 0xffffffffull << 32 | 0x49); /* all */
	take();
	G_CHECK_EQ(c->irqs[0x49], 1);
	g_wrmsr(MSR_X2APIC(APIC_TPR), 0x50);
	G_CHECK_EQ(G_READ_CR(8), 5);
	g_wrmsr(MSR_X2APIC(APIC_TPR), 0);
	/* Read-only, write-only, reserved */
	G_CHECK_EQ(g_try_wrmsr(MSR_X2APIC(APIC_ID), 1), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_X2APIC(APIC_LDR), 1), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_X2APIC(APIC_IRR), 1), 13);
	if (!arg) /* KVM does not look at the value */
		G_CHECK_EQ(g_try_wrmsr(MSR_X2APIC(APIC_EOI), 1), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_X2APIC(APIC_ESR), 1), 13);
	G_CHECK_EQ(g_try_rdmsr(MSR_X2APIC(APIC_DFR), &value), 13);
	G_CHECK_EQ(g_try_rdmsr(MSR_X2APIC(APIC_ICR2), &value), 13);
	/* Back to xAPIC only through off */
	G_CHECK_EQ(g_try_wrmsr(MSR_APIC_BASE, (g_rdmsr(MSR_APIC_BASE) & ~0x400ull)), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_APIC_BASE, (g_rdmsr(MSR_APIC_BASE) & ~0xc00ull)), NO_FAULT);
	G_CHECK_EQ(g_try_wrmsr(MSR_APIC_BASE, (g_rdmsr(MSR_APIC_BASE) | 0x400ull)), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_APIC_BASE, (g_rdmsr(MSR_APIC_BASE) | 0x800ull)), NO_FAULT);
	G_CHECK_EQ(g_apic_read(APIC_ID), 0);
}

TEST(lapic_x2apic)
{
	if (!(dev_cpuid_reg(1, 0, 'c') & 1 << 21))
		test_skip("no x2APIC");
	vcpu_run(vm_with_guest(VM_IRQCHIP, x2apic_guest, dev_is_kvm()));
}

/* --- MSIs, routes, irqfd --- */

static void count_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	g_apic_enable();
	for (unsigned int i = 0x30; i < 0xf0; i++)
		c->handler[i] = g_on_irq_eoi;
	g_sti();
	g_sync(0);
	for (;;) {
		for (unsigned int i = 0; i < 200; i++)
			g_pause();
		g_sync(1);
	}
}

/* Runs the guest for a while, and says how often it took @vector since the last time. */
static uint64_t taken(struct vcpu *v, uint8_t vector)
{
	uint64_t n;

	vcpu_run_sync(v);
	vcpu_run_sync(v);
	n = cpu0->irqs[vector];
	cpu0->irqs[vector] = 0;
	return n;
}

static int msi(struct vm *vm, uint64_t address, uint32_t data)
{
	struct kvm_msi m = { .address_lo = address, .address_hi = address >> 32, .data = data };

	return ioctl(vm->fd, KVM_SIGNAL_MSI, &m);
}

TEST(signal_msi)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, count_guest, 0);
	struct kvm_msi flags = { .address_lo = 0xfee00000, .data = 0x77, .flags = 2 };

	vcpu_run_sync(v);
	CHECK_EQ(msi(v->vm, 0xfee00000, 0x77), 1);
	CHECK_EQ(taken(v, 0x77), 1);
	CHECK_EQ(msi(v->vm, 0xfee00000, 0x4078), 1); /* edge, assert */
	CHECK_EQ(taken(v, 0x78), 1);
	CHECK_EQ(msi(v->vm, 0xfeeff000, 0x79), 1); /* everybody */
	CHECK_EQ(taken(v, 0x79), 1);
	CHECK(msi(v->vm, 0xfee05000, 0x7a) <= 0, "an MSI to APIC 5 is delivered");
	CHECK_EQ(taken(v, 0x7a), 0);
	CHECK_ERR(ioctl(v->vm->fd, KVM_SIGNAL_MSI, &flags), EINVAL);
}

struct routes {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry e[8];
};

static struct kvm_irq_routing_entry msi_route(uint32_t gsi, uint32_t data)
{
	return (struct kvm_irq_routing_entry){ .gsi = gsi,
					       .type = KVM_IRQ_ROUTING_MSI,
					       .u.msi = { .address_lo = 0xfee00000,
							  .data = data } };
}

TEST(gsi_routing)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, count_guest, 0);
	struct routes r = { .head.nr = 2, .e = { msi_route(30, 0x91), msi_route(31, 0x92) } };

	vcpu_run_sync(v);
	vm_ioctl(v->vm, KVM_SET_GSI_ROUTING, &r);
	irq_line(v->vm, 30, 1);
	CHECK_EQ(taken(v, 0x91), 1);
	irq_line(v->vm, 31, 1);
	irq_line(v->vm, 31, 0); /* an MSI has no level: nothing */
	CHECK_EQ(taken(v, 0x92), 1);
	/* The old routes are gone. */
	r.head.nr = 1;
	r.e[0] = msi_route(31, 0x93);
	vm_ioctl(v->vm, KVM_SET_GSI_ROUTING, &r);
	irq_line(v->vm, 31, 1);
	CHECK_EQ(taken(v, 0x93), 1);
	irq_line(v->vm, 30, 1);
	CHECK_EQ(taken(v, 0x91), 0);
	/* Errors, which change nothing */
	r.head.flags = 1;
	CHECK_ERR(ioctl(v->vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	r.head.flags = 0;
	r.head.nr = 5000;
	CHECK_ERR(ioctl(v->vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	r.head.nr = 1;
	r.e[0].type = 77;
	CHECK_ERR(ioctl(v->vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	r.e[0] = (struct kvm_irq_routing_entry){ .gsi = 3,
						 .type = KVM_IRQ_ROUTING_IRQCHIP,
						 .u.irqchip = { 9, 3 } };
	CHECK_ERR(ioctl(v->vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	r.e[0].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
	r.e[0].u.irqchip.pin = 24;
	CHECK_ERR(ioctl(v->vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	r.e[0] = msi_route(31, 0x93);
	r.e[1] = msi_route(31, 0x94);
	r.head.nr = 2;
	CHECK_ERR(ioctl(v->vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL); /* MSI and another */
	irq_line(v->vm, 31, 1);
	CHECK_EQ(taken(v, 0x93), 1);
	r.head.nr = 0;
	vm_ioctl(v->vm, KVM_SET_GSI_ROUTING, &r);
	irq_line(v->vm, 31, 1);
	CHECK_EQ(taken(v, 0x93), 0);
}

static void kick(int fd)
{
	uint64_t one = 1;

	CHECK_EQ(write(fd, &one, 8), 8);
}

TEST(irqfd)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, count_guest, 0);
	struct routes r = { .head.nr = 2, .e = { msi_route(30, 0x91), msi_route(31, 0x92) } };
	int fd = eventfd(0, EFD_NONBLOCK), other = eventfd(0, EFD_NONBLOCK);
	struct kvm_irqfd f = { .fd = fd, .gsi = 30 };
	uint64_t value;

	vcpu_run_sync(v);
	vm_ioctl(v->vm, KVM_SET_GSI_ROUTING, &r);
	vm_ioctl(v->vm, KVM_IRQFD, &f);
	kick(fd);
	CHECK_EQ(taken(v, 0x91), 1);
	CHECK(read(fd, &value, 8) == -1 && errno == EAGAIN, "the eventfd was not drained");
	/* One with a signal already in it */
	kick(other);
	f = (struct kvm_irqfd){ .fd = other, .gsi = 31 };
	vm_ioctl(v->vm, KVM_IRQFD, &f);
	sleep_ms(20);
	CHECK_EQ(taken(v, 0x92), 1);
	CHECK_ERR(ioctl(v->vm->fd, KVM_IRQFD, &f), EBUSY);
	/* Its route changes with the table. */
	r.e[1] = msi_route(31, 0x95);
	vm_ioctl(v->vm, KVM_SET_GSI_ROUTING, &r);
	kick(other);
	sleep_ms(5);
	CHECK_EQ(taken(v, 0x95), 1);
	f.flags = KVM_IRQFD_FLAG_DEASSIGN;
	vm_ioctl(v->vm, KVM_IRQFD, &f);
	kick(other);
	CHECK_EQ(taken(v, 0x95), 0);
	/* Closing the eventfd removes it. */
	close(fd);
	f = (struct kvm_irqfd){ .fd = 9999, .gsi = 30 };
	CHECK_ERR(ioctl(v->vm->fd, KVM_IRQFD, &f), EBADF);
	f.fd = v->vm->fd;
	CHECK_ERR(ioctl(v->vm->fd, KVM_IRQFD, &f), EINVAL);
	f.fd = other;
	f.flags = 0x80;
	CHECK_ERR(ioctl(v->vm->fd, KVM_IRQFD, &f), EINVAL);
	f = (struct kvm_irqfd){ .fd = other, .gsi = 40 }; /* no route: allowed */
	vm_ioctl(v->vm, KVM_IRQFD, &f);
	kick(other);
	vcpu_run_sync(v);
}

static void resample_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	g_pic_mask();
	g_apic_enable();
	c->handler[0x66] = g_on_irq_eoi;
	g_ioapic_route(20, 0x66 | LEVEL, 0);
	g_sti();
	for (unsigned int i = 1; i <= 3; i++) {
		g_sync(i);
		G_CHECK(g_wait_for(&c->irqs[0x66], i, LIMIT));
	}
	g_sync(4);
	G_CHECK_EQ(c->irqs[0x66], 3);
}

TEST(irqfd_resample)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, resample_guest, 0);
	int fd = eventfd(0, EFD_NONBLOCK), resample = eventfd(0, EFD_NONBLOCK);
	struct kvm_irqfd f = {
		.fd = fd, .gsi = 20, .flags = KVM_IRQFD_FLAG_RESAMPLE, .resamplefd = resample
	};
	uint64_t value;

	if (dev_cap(KVM_CAP_IRQFD_RESAMPLE) <= 0)
		test_skip("no KVM_CAP_IRQFD_RESAMPLE");
	vcpu_run_sync(v);
	vm_ioctl(v->vm, KVM_IRQFD, &f);
	for (unsigned int i = 0; i < 3; i++) {
		CHECK(read(resample, &value, 8) < 0, "resampled before anything happened");
		kick(fd);
		sleep_ms(5);
		vcpu_run_sync(v);
		/* EOI: the line is low again, and user space is told. */
		CHECK_EQ(read(resample, &value, 8), 8);
	}
	vcpu_run(v);
	f.flags = KVM_IRQFD_FLAG_DEASSIGN;
	vm_ioctl(v->vm, KVM_IRQFD, &f);
}
