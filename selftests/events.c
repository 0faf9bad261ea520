// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events on their way into the guest: exceptions and double faults, NMIs and
 * their mask, interrupt shadows, interrupts that user space injects, state
 * get and set, and deliveries that a second-stage fault interrupts.
 */
#include "test.h"

#define LIMIT 3000000ull

static struct guest_cpu *const cpu0 = &guest_cpus[0];

static void count(struct guest_regs *r)
{
	(void)r;
}

/* --- exceptions --- */

static void exceptions_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();
	uint64_t value;

	(void)arg;
	G_CHECK_EQ(G_TRY("div %1", "=a"(value) : "r"(0), "a"(1), "d"(0)), 0);
	G_CHECK_EQ(G_TRY("int3", :), 3);
	G_CHECK_EQ(G_TRY("ud2", :), 6);
	G_CHECK_EQ(G_TRY("mov %w0, %%ss", : "r"(0x1000)), 13);
	G_CHECK_EQ(c->error, 0x1000);
	G_CHECK_EQ(G_TRY("mov %w0, %%ds", : "r"(0x48)), 13); /* a TSS */
	G_CHECK_EQ(c->error, 0x48);
	G_CHECK_EQ(G_TRY("lidt %0", : "m"(*(char *)0x8000000000000000)), 13);
	G_CHECK_EQ(G_TRY("mov (%1), %0", "=r"(value) : "r"(0x900000000000ull)), 13);
	G_CHECK_EQ(G_TRY("mov (%%rbp), %0", "=r"(value) :), NO_FAULT);
	G_CHECK_EQ(G_TRY("mov %0, (%1)", : "r"(1ull), "r"(GVA_FREE)), 14);
	G_CHECK_EQ(c->error, 2);
	G_CHECK_EQ(c->cr2, GVA_FREE);
	G_CHECK_EQ(G_TRY("mov %0, (%1)", : "r"(1ull), "r"(GVA_FREE + PAGE)), 14);
	G_CHECK_EQ(c->error, 3); /* present, read-only */
	G_CHECK_EQ(G_TRY("mov (%1), %0", "=r"(value) : "r"(GVA_FREE + 2 * PAGE)), 14);
	G_CHECK_EQ(c->error & ~1ull, 8); /* reserved bit; QEMU forgets P */
	/* #AC needs ring 3; INT n through a gate, with the address after it */
	c->handler[0x80] = count;
	asm volatile("int $0x80");
	G_CHECK_EQ(c->irqs[0x80], 1);
	G_CHECK_EQ(G_TRY("push %%rax; popf; clc", : "a"(0x40002ull | 1 << 18)), NO_FAULT);
	asm volatile("push $2; popf");
}

static uint64_t ring3(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	G_CHECK_EQ(G_TRY("mov (%1), %0", "=r"(value) : "r"(GVA_FREE + 3 * PAGE)), 14);
	G_CHECK_EQ(g_cpu()->error, 5); /* a supervisor page */
	G_CHECK_EQ(G_TRY("mov %0, (%1)", : "r"(1ull), "r"(GVA_FREE)), 14);
	G_CHECK_EQ(g_cpu()->error, 6);
	G_CHECK_EQ(G_TRY("int $0x20", :), NO_FAULT);
	return 0;
}

static void ring3_guest(uint64_t arg)
{
	g_cpu()->handler[0x20] = count;
	g_user(ring3, arg);
}

static struct vcpu *guest_with_pages(int flags, void (*fn)(uint64_t))
{
	struct vm *vm = vm_new(flags);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t page = vm_alloc(vm, 1);

	vm_map(vm, GVA_FREE + PAGE, page, PT_P | PT_U);
	vm_map(vm, GVA_FREE + 2 * PAGE, page | 1ull << 51, PT_P | PT_W);
	vm_map(vm, GVA_FREE + 3 * PAGE, page, PT_P | PT_W);
	vcpu_long_mode(v, fn, 0);
	return v;
}

TEST(exceptions)
{
	vcpu_run(guest_with_pages(0, exceptions_guest));
}

TEST(exceptions_ring3)
{
	vcpu_run(guest_with_pages(0, ring3_guest));
}

static volatile uint64_t df_rip;

static void on_df(struct guest_regs *r)
{
	G_CHECK_EQ(r->error, 0);
	df_rip = r->rip;
	/* Its stack is its own (IST): leave by the frame that was given up. */
	r->rsp = cpu0->kernel_rsp;
	r->rip = cpu0->fixup;
	r->ss = 0;
	r->cs = SEL_CODE64;
	r->rflags = 2;
}

static void df_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	c->handler[8] = on_df;
	/* A #PF whose stack is not there */
	asm volatile("mov %%rsp, %1\n"
		     "lea 1f(%%rip), %%rax\n mov %%rax, %0\n"
		     "mov %2, %%rsp\n"
		     "push %%rax\n"
		     "1:"
		     : "=m"(c->fixup), "=m"(c->kernel_rsp)
		     : "r"(GVA_FREE)
		     : "rax", "memory");
	G_CHECK_EQ(c->irqs[8], 1);
	/* #GP in the delivery of #GP: the gate is not present. */
	G_WRITE(uint16_t, GPA_IDT + 13 * 16 + 4, 0x0e00);
	asm volatile("mov %%rsp, %1\n"
		     "lea 1f(%%rip), %%rax\n mov %%rax, %0\n"
		     "mov %2, %%ax\n mov %%ax, %%ds\n"
		     "1:"
		     : "=m"(c->fixup), "=m"(c->kernel_rsp)
		     : "i"(0x1000)
		     : "rax", "memory");
	G_CHECK_EQ(c->irqs[8], 2);
}

TEST(double_fault)
{
	vcpu_run(vm_with_guest(0, df_guest, 0));
}

/* --- NMI --- */

static volatile uint64_t nmis, nested, depth;

static void on_nmi(struct guest_regs *r)
{
	(void)r;
	nmis++;
	depth++;
	if (depth > 1)
		nested++;
	if (nmis == 1) {
		g_sync(2); /* two more: both wait for IRET, as one or two */
		for (unsigned int i = 0; i < 20; i++)
			g_pause();
		G_CHECK_EQ(nmis, 1);
		/* An exception inside and its IRET end the mask: that is the architecture. */
	}
	depth--;
}

static void nmi_guest(uint64_t arg)
{
	(void)arg;
	g_cpu()->handler[2] = on_nmi;
	g_cli();
	g_sync(1); /* one NMI; IF does not matter */
	G_CHECK(nmis >= 1);
	asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx");
	G_CHECK(nmis >= 2 && nmis <= 3);
	G_CHECK_EQ(nested, 0);
	g_sync(3);
}

TEST(nmi)
{
	for (int flags = 0; flags <= 1; flags++) {
		struct vcpu *v = vm_with_guest(flags ? VM_IRQCHIP : 0, nmi_guest, 0);
		struct kvm_vcpu_events e;

		nmis = nested = depth = 0;
		CHECK_EQ(vcpu_run_sync(v), 1);
		vcpu_ioctl(v, KVM_NMI, 0);
		CHECK_EQ(vcpu_run_sync(v), 2);
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
		CHECK_EQ(e.nmi.masked, 1);
		vcpu_ioctl(v, KVM_NMI, 0);
		vcpu_ioctl(v, KVM_NMI, 0);
		CHECK_EQ(vcpu_run_sync(v), 3);
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
		CHECK_EQ(e.nmi.masked, 0);
		CHECK_EQ(e.nmi.pending, 0);
		vcpu_run(v);
		vm_free(v->vm);
	}
}

static void nmi_hlt_guest(uint64_t arg)
{
	(void)arg;
	g_cpu()->handler[2] = count;
	g_apic_enable();
	g_sync(1);
	g_cli();
	g_hlt(); /* ended by the NMI */
	G_CHECK(g_cpu()->irqs[2] >= 1);
}

static volatile bool awake;

static void *late_nmi(void *arg)
{
	struct kvm_msi msi = { .address_lo = APIC_BASE, .data = 0x400 };
	struct vcpu *v = arg;

	/* It may be early: then the next one counts. */
	while (!awake) {
		sleep_ms(50);
		CHECK_EQ(ioctl(v->vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	}
	return NULL;
}

TEST(nmi_wakes)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, nmi_hlt_guest, 0);

	vcpu_run_sync(v);
	pthread_create(&v->thread, NULL, late_nmi, v);
	vcpu_run(v);
	awake = true;
	vcpu_join(v);
}

/* --- KVM_INTERRUPT --- */

static bool inject(struct vcpu *v, uint32_t vector)
{
	struct kvm_interrupt irq = { vector };

	return !ioctl(v->fd, KVM_INTERRUPT, &irq);
}

static void window_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	c->handler[0x41] = count;
	c->handler[0x42] = count;
	g_sync(1); /* IF is clear: user space asks for the window */
	for (unsigned int i = 0; i < 10; i++)
		g_pause();
	G_CHECK_EQ(c->irqs[0x41], 0);
	g_sti();
	G_CHECK(g_wait_for(&c->irqs[0x41], 1, LIMIT));
	g_sync(2); /* IF is set: at once */
	G_CHECK(g_wait_for(&c->irqs[0x42], 1, LIMIT));
	g_cli();
	g_sync(3);
}

TEST(interrupt_window)
{
	struct vcpu *v = vm_with_guest(0, window_guest, 0);

	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(v->run->if_flag, 0);
	CHECK_EQ(v->run->ready_for_interrupt_injection, 0);
	v->run->request_interrupt_window = 1;
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(v->run->if_flag, 1);
	CHECK_EQ(v->run->ready_for_interrupt_injection, 1);
	v->run->request_interrupt_window = 0;
	CHECK(inject(v, 0x41), "KVM_INTERRUPT: %s", strerror(errno));
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(v->run->if_flag, 1);
	CHECK_EQ(cpu0->irqs[0x42], 0);
	CHECK(inject(v, 0x42), "KVM_INTERRUPT: %s", strerror(errno));
	CHECK_EQ(vcpu_run_sync(v), 3);
	vcpu_run(v);
	CHECK_EQ(cpu0->irqs[0x41], 1);
	CHECK_EQ(cpu0->irqs[0x42], 1);
}

static void carried_guest(uint64_t times)
{
	struct guest_cpu *c = g_cpu();

	c->handler[0x41] = count;
	g_sti();
	g_sync(1); /* it comes here, or is taken back */
	for (unsigned int i = 0; i < 10; i++)
		g_pause();
	G_CHECK_EQ(c->irqs[0x41], times);
}

/* What a VMM saves when it stops between KVM_INTERRUPT and the delivery, and loads again */
TEST(interrupt_carried)
{
	for (unsigned int times = 0; times < 2; times++) {
		struct vcpu *v = vm_with_guest(0, carried_guest, times);
		struct kvm_vcpu_events e;

		CHECK_EQ(vcpu_run_sync(v), 1);
		vcpu_finish_exit(v);
		CHECK(inject(v, 0x41), "KVM_INTERRUPT: %s", strerror(errno));
		vcpu_finish_exit(v); /* it stops before the delivery */
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
		CHECK_EQ(e.interrupt.injected << 8 | e.interrupt.nr, 0x141);
		e.interrupt.injected = times;
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &e);
		vcpu_run(v);
		vm_free(v->vm);
		cpu0->irqs[0x41] = 0;
		cpu0->handler[0x41] = NULL;
	}
}

static void split_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	c->handler[0x41] = count;
	g_apic_enable();
	g_apic_write(APIC_LVT0, 0x700);
	g_sync(1); /* IF is clear */
	g_sti();
	G_CHECK(g_wait_for(&c->irqs[0x41], 1, LIMIT));
	g_cli();
	g_sync(2);
	g_sti_hlt_cli(); /* one that waits */
	G_CHECK_EQ(c->irqs[0x41], 2);
}

/* The PIC in user space, the local APIC in the kernel */
TEST(interrupt_split)
{
	struct vcpu *v = vm_with_guest(VM_SPLIT, split_guest, 0);

	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(v->run->ready_for_interrupt_injection, 0);
	v->run->request_interrupt_window = 1;
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IRQ_WINDOW_OPEN);
	CHECK_EQ(v->run->ready_for_interrupt_injection, 1);
	v->run->request_interrupt_window = 0;
	CHECK(inject(v, 0x41), "KVM_INTERRUPT: %s", strerror(errno));
	CHECK_ERR(inject(v, 0x42) ? 0 : -1, EEXIST);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK(inject(v, 0x41), "KVM_INTERRUPT: %s", strerror(errno));
	vcpu_run(v);
}

static void masked_split_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	c->handler[0x41] = count;
	g_apic_enable();
	g_apic_write(APIC_LVT0, 0x10700);
	g_sti();
	g_sync(1);
	g_sync(2); /* the window is asked for */
	g_apic_write(APIC_LVT0, 0x700);
	G_CHECK(g_wait_for(&c->irqs[0x41], 1, LIMIT));
	g_cli();
}

/* The local APIC lets nothing of the PIC's pass: no window, and the guest goes on. */
TEST(interrupt_split_masked)
{
	struct vcpu *v = vm_with_guest(VM_SPLIT, masked_split_guest, 0);

	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(v->run->ready_for_interrupt_injection, 0);
	v->run->request_interrupt_window = 1;
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(v->run->ready_for_interrupt_injection, 0);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IRQ_WINDOW_OPEN);
	v->run->request_interrupt_window = 0;
	CHECK(inject(v, 0x41), "KVM_INTERRUPT: %s", strerror(errno));
	vcpu_run(v);
}

TEST(interrupt_errors)
{
	struct vcpu *plain = vm_with_guest(0, window_guest, 0);
	struct vcpu *chip = vm_with_guest(VM_IRQCHIP, window_guest, 0);
	struct kvm_interrupt irq = { 256 };

	CHECK_ERR(ioctl(plain->fd, KVM_INTERRUPT, &irq), EINVAL);
	CHECK_ERR(ioctl(plain->fd, KVM_INTERRUPT, NULL), EFAULT);
	irq.irq = 0x41;
	CHECK_ERR(ioctl(chip->fd, KVM_INTERRUPT, &irq), ENXIO);
}

/* --- interrupt shadows --- */

static volatile uint64_t shadow_rip;

static void on_shadow(struct guest_regs *r)
{
	shadow_rip = r->rip;
}

extern char after_sti[], after_ss[];

/*
 * An interrupt of the host right behind the STI ends the shadow where the CPU does
 * not load it at its VM entry (QEMU 7.2's VMRUN). That is rare: hence several tries.
 */
#define SHADOW_TRIES 10

static void shadow_guest(uint64_t arg)
{
	unsigned int kept = 0;

	(void)arg;
	g_cpu()->handler[0x41] = on_shadow;
	for (unsigned int i = 1; i <= SHADOW_TRIES; i++) {
		g_sync(1); /* pends 0x41 by the window */
		/* CPUID exits within the shadow; the interrupt comes after it at the earliest. */
		asm volatile("sti\n cpuid\n after_sti: nop; nop; cpuid; nop; cli"
			     :
			     : "a"(0)
			     : "rbx", "rcx", "rdx", "memory");
		G_CHECK_EQ(g_cpu()->irqs[0x41], i);
		kept += shadow_rip >= (uintptr_t)after_sti;
	}
	G_CHECK(kept >= SHADOW_TRIES - 2);
}

TEST(sti_shadow)
{
	struct vcpu *v = vm_with_guest(0, shadow_guest, 0);

	for (unsigned int i = 0; i < SHADOW_TRIES; i++) {
		CHECK_EQ(vcpu_run_sync(v), 1);
		v->run->request_interrupt_window = 1;
		CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IRQ_WINDOW_OPEN);
		v->run->request_interrupt_window = 0;
		CHECK(inject(v, 0x41), "KVM_INTERRUPT: %s", strerror(errno));
	}
	vcpu_run(v);
}

static void port_shadow_guest(uint64_t arg)
{
	uint16_t ss = 0;

	(void)arg;
	g_cpu()->handler[0x41] = count;
	/* Exits within the shadow of STI: it is visible, and a port write ends it. */
	asm volatile("sti; outb %%al, $0x90; cli" : : "a"(0) : "memory");
	asm volatile("mov %w0, %%ss; outb %%al, $0x91" : : "r"(ss), "a"(0) : "memory");
}

TEST(shadow_at_exit)
{
	struct vcpu *v = vm_with_guest(0, port_shadow_guest, 0);
	struct kvm_vcpu_events e;

	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	CHECK_EQ(v->run->io.port, 0x90);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
	test_note("shadow in STI; OUT: %u, RFLAGS.IF %u", e.interrupt.shadow, v->run->if_flag);
	CHECK_EQ(v->run->if_flag, 1);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	CHECK_EQ(v->run->io.port, 0x91);
	vcpu_run(v);
}

/* --- KVM_GET/SET_VCPU_EVENTS --- */

static void injected_guest(uint64_t vector)
{
	struct guest_cpu *c = g_cpu();

	c->handler[vector] = count;
	g_sync(1); /* the event is set here */
	asm volatile("nop");
	G_CHECK_EQ(c->irqs[vector], 1);
}

TEST(set_events)
{
	static const uint8_t vectors[] = { 2, 6, 13, 14, 0x61 };

	for (unsigned int i = 0; i < 5; i++) {
		struct vcpu *v = vm_with_guest(0, injected_guest, vectors[i]);
		struct kvm_vcpu_events e;
		struct kvm_regs r;

		CHECK_EQ(vcpu_run_sync(v), 1);
		vcpu_finish_exit(v);
		vcpu_get_regs(v, &r);
		r.rflags |= vectors[i] == 0x61 ? 0x200 : 0;
		vcpu_set_regs(v, &r);
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
		if (vectors[i] == 2) {
			e.nmi.pending = 1;
			e.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
		} else if (vectors[i] == 0x61) {
			e.interrupt.injected = 1;
			e.interrupt.nr = 0x61;
		} else {
			e.exception.injected = 1;
			e.exception.nr = vectors[i];
			e.exception.has_error_code = vectors[i] != 6;
			e.exception.error_code = 0;
		}
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &e);
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
		if (vectors[i] == 2)
			CHECK_EQ(e.nmi.pending, 1);
		else if (vectors[i] == 0x61)
			CHECK_EQ(e.interrupt.injected << 8 | e.interrupt.nr, 0x161);
		else
			CHECK_EQ(e.exception.injected << 8 | e.exception.nr, 0x100 | vectors[i]);
		vcpu_run(v);
		vm_free(v->vm);
		cpu0->irqs[vectors[i]] = 0;
		cpu0->handler[vectors[i]] = NULL;
	}
}

TEST(set_events_errors)
{
	struct vcpu *v = vm_with_guest(0, injected_guest, 6);
	struct kvm_vcpu_events e, good;

	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &good);
	e = good;
	e.flags = 1u << 31;
	CHECK_ERR(ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e), EINVAL);
	e = good;
	e.exception.injected = 1;
	e.exception.nr = 2; /* NMI is no exception */
	CHECK_ERR(ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e), EINVAL);
	e.exception.nr = 32;
	CHECK_ERR(ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e), EINVAL);
	e = good;
	e.flags = KVM_VCPUEVENT_VALID_PAYLOAD; /* not enabled */
	CHECK_ERR(ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e), EINVAL);
	CHECK_ERR(ioctl(v->fd, KVM_SET_VCPU_EVENTS, NULL), EFAULT);
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &good);
}

static void quiet_guest(uint64_t arg)
{
	g_sync(arg);
}

TEST(exception_payload)
{
	struct kvm_vcpu_events e;
	struct vcpu *v;

	if (dev_cap(KVM_CAP_EXCEPTION_PAYLOAD) <= 0)
		test_skip("no KVM_CAP_EXCEPTION_PAYLOAD");
	v = vm_with_guest(0, injected_guest, 14);
	vm_enable_cap(v->vm, KVM_CAP_EXCEPTION_PAYLOAD, 1);
	CHECK_EQ(vcpu_run_sync(v), 1);
	vcpu_finish_exit(v);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
	CHECK(e.flags & KVM_VCPUEVENT_VALID_PAYLOAD, "flags are %#x", e.flags);
	e.exception.pending = 1;
	e.exception.nr = 14;
	e.exception.has_error_code = 1;
	e.exception_has_payload = 1;
	e.exception_payload = 0x1234567000;
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &e);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
	CHECK_EQ(e.exception.pending, 1);
	CHECK_EQ(e.exception_payload, 0x1234567000);
	vcpu_run(v);
	struct kvm_sregs s;

	vcpu_get_sregs(v, &s);
	CHECK_EQ(s.cr2, 0x1234567000);
}

static volatile uint64_t db_dr6;

static void on_db(struct guest_regs *r)
{
	uint64_t dr6;

	(void)r;
	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	db_dr6 = dr6;
}

static void db_guest(uint64_t arg)
{
	g_cpu()->handler[1] = on_db;
	/* A breakpoint that is never met, so that the CPU's own debug registers are in use. */
	asm volatile("mov %0, %%dr0" : : "r"(arg));
	asm volatile("mov %0, %%dr7" : : "r"(0x402ull));
	for (unsigned int i = 1; i <= 2; i++) {
		g_sync(1); /* the #DB is set here */
		asm volatile("nop");
		G_CHECK_EQ(g_cpu()->irqs[1], i);
		G_CHECK_EQ(db_dr6, 0xffff4ff0);
		g_sync(2); /* with the guest's debug registers as they are now */
	}
	asm volatile("mov %0, %%dr7" : : "r"(0x400ull));
}

/* DR6 has 32 bits. What a payload has above them would fault where it is loaded. */
TEST(exception_payload_db)
{
	static const uint64_t payloads[] = { 1ull << 32 | 1 << 14, ~0ull << 32 | 1 << 14 };
	struct kvm_debugregs d;
	struct vcpu *v;

	if (dev_cap(KVM_CAP_EXCEPTION_PAYLOAD) <= 0)
		test_skip("no KVM_CAP_EXCEPTION_PAYLOAD");
	if (dev_is_kvm())
		test_skip("in-tree KVM puts all of the payload into DR6");
	v = vm_with_guest(0, db_guest, GVA_FREE);
	vm_enable_cap(v->vm, KVM_CAP_EXCEPTION_PAYLOAD, 1);
	for (unsigned int i = 0; i < 2; i++) {
		struct kvm_vcpu_events e;

		CHECK_EQ(vcpu_run_sync(v), 1);
		vcpu_finish_exit(v);
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
		e.exception.pending = 1;
		e.exception.nr = 1;
		e.exception_has_payload = 1;
		e.exception_payload = payloads[i];
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &e);
		CHECK_EQ(vcpu_run_sync(v), 2);
		vcpu_ioctl(v, KVM_GET_DEBUGREGS, &d);
		CHECK_EQ(d.dr6, 0xffff4ff0);
		vcpu_ioctl(v, KVM_SET_DEBUGREGS, &d);
	}
	vcpu_run(v);
}

/* --- deliveries that a second-stage fault interrupts --- */

/*
 * The stack, then the IDT, lie in a page that the host takes away each time: the
 * delivery faults, and must be done again as it was.
 */
static uint8_t *victim;

static void fault_delivery_guest(uint64_t mode)
{
	struct guest_cpu *c = g_cpu();
	uint64_t value;

	c->handler[0x41] = count;
	c->handler[0x80] = count;
	c->handler[2] = count;
	if (mode) { /* the IDT moves there */
		struct {
			uint16_t limit;
			uint64_t base;
		} __attribute__((packed)) idt = { 4095, mode };

		asm volatile("lidt %0" : : "m"(idt));
	}
	for (unsigned int i = 1; i <= 5; i++) {
		g_sync(1); /* drops the page */
		asm volatile("int $0x80");
		G_CHECK_EQ(c->irqs[0x80], i);
		g_sync(1);
		G_CHECK_EQ(G_TRY("ud2", :), 6);
		g_sync(1);
		G_CHECK_EQ(G_TRY("int3", :), 3);
		g_sync(1);
		G_CHECK_EQ(G_TRY("mov (%1), %0", "=r"(value) : "r"(GVA_FREE)), 14);
		G_CHECK_EQ(c->error, 0);
		G_CHECK_EQ(c->cr2, GVA_FREE);
		g_sync(1);
		G_CHECK_EQ(G_TRY("mov %w0, %%fs", : "r"(0x1000)), 13);
		G_CHECK_EQ(c->error, 0x1000);
		g_sync(2); /* and an NMI */
		G_CHECK_EQ(c->irqs[2], i);
		g_sti();
		g_sync(3); /* and an interrupt */
		G_CHECK(g_wait_for(&c->irqs[0x41], i, LIMIT));
		g_cli();
	}
	g_sync(0);
}

static void drop_while(struct vcpu *v)
{
	for (;;) {
		uint64_t step = vcpu_run_sync(v);

		if (!step)
			break;
		/* Contents survive: the page is backed by a file. */
		CHECK_OK(madvise(victim, PAGE, MADV_DONTNEED));
		if (step == 2)
			vcpu_ioctl(v, KVM_NMI, 0);
		if (step == 3)
			CHECK(inject(v, 0x41), "KVM_INTERRUPT: %s", strerror(errno));
	}
	vcpu_run(v);
}

static uint8_t *shared_page(void)
{
	int fd = memfd_create("victim", 0);
	void *p;

	CHECK_OK(ftruncate(fd, PAGE));
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

TEST(delivery_faults_on_idt)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t gpa = 0x8000000;

	victim = shared_page();
	memcpy(victim, vm_ptr(vm, GPA_IDT), PAGE);
	vm_slot(vm, SLOT_FREE, 0, gpa, PAGE, victim);
	vcpu_long_mode(v, fault_delivery_guest, gpa);
	drop_while(v);
}

TEST(delivery_faults_on_stack)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t gpa = 0x8000000;
	struct kvm_regs r;

	victim = shared_page();
	vm_slot(vm, SLOT_FREE, 0, gpa, PAGE, victim);
	vcpu_long_mode(v, fault_delivery_guest, 0);
	vcpu_get_regs(v, &r);
	r.rsp = gpa + PAGE - 8;
	*(uint64_t *)(victim + PAGE - 8) = (uintptr_t)guest_return;
	vcpu_set_regs(v, &r);
	drop_while(v);
}

/* --- KVM_X86_TRIPLE_FAULT_EVENT --- */

TEST(triple_fault_event)
{
	struct kvm_vcpu_events e;
	struct vcpu *v;

	if (dev_cap(KVM_CAP_X86_TRIPLE_FAULT_EVENT) <= 0)
		test_skip("no KVM_CAP_X86_TRIPLE_FAULT_EVENT");
	v = vm_with_guest(0, quiet_guest, 1);
	vm_enable_cap(v->vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1);
	CHECK_EQ(vcpu_run_sync(v), 1);
	vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
	CHECK(e.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT, "flags are %#x", e.flags);
	CHECK_EQ(e.triple_fault.pending, 0);
	e.triple_fault.pending = 1;
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &e);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_SHUTDOWN);
}
