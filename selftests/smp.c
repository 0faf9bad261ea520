// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many vCPUs on few CPUs: all that a VM may have, atomic counters, storms of
 * IPIs, TLB shootdown, and state that other vCPUs' threads read meanwhile.
 */
#include <signal.h>
#include "test.h"

#define LIMIT 20000000ull

static volatile uint32_t counter, spinlock, ready, stop;
static volatile uint64_t guarded;
static unsigned int cpus;

static void run_all(struct vm *vm, unsigned int n, void (*fn)(uint64_t), uint64_t arg)
{
	cpus = n;
	for (unsigned int i = 0; i < n; i++)
		vm_add_guest(vm, i, fn, arg);
	for (unsigned int i = 0; i < n; i++)
		vcpu_start(vm->vcpus[i]);
	for (unsigned int i = 0; i < n; i++)
		vcpu_join(vm->vcpus[i]);
}

static void lock(void)
{
	while (__atomic_exchange_n(&spinlock, 1, __ATOMIC_ACQUIRE)) {
		while (spinlock)
			g_pause();
	}
}

static void unlock(void)
{
	__atomic_store_n(&spinlock, 0, __ATOMIC_RELEASE);
}

static void counting_guest(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		g_atomic_inc(&counter);
	for (uint64_t i = 0; i < n / 10; i++) {
		uint64_t value;

		lock();
		value = guarded;
		g_outb(0x80, 0); /* leaves the guest with the lock held */
		guarded = value + 1;
		unlock();
	}
}

static bool any_port(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_IO;
}

TEST(atomic_counters)
{
	struct vm *vm = vm_new(0);

	cpus = 4;
	for (unsigned int i = 0; i < cpus; i++) {
		struct vcpu *v = vcpu_new(vm, i);

		v->on_exit = any_port;
		vcpu_long_mode(v, counting_guest, 2000);
	}
	for (unsigned int i = 0; i < cpus; i++)
		vcpu_start(vm->vcpus[i]);
	for (unsigned int i = 0; i < cpus; i++)
		vcpu_join(vm->vcpus[i]);
	CHECK_EQ(counter, 4 * 2000);
	CHECK_EQ(guarded, 4 * 200);
}

static void hello_guest(uint64_t arg)
{
	uint32_t r[4];

	(void)arg;
	g_cpuid(1, 0, r);
	G_CHECK_EQ(r[1] >> 24, g_cpu()->id);
	g_apic_enable();
	G_CHECK_EQ(g_apic_read(APIC_ID) >> 24, g_cpu()->id);
	g_atomic_inc(&counter);
}

TEST(as_many_as_there_may_be)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	int most = dev_cap(KVM_CAP_MAX_VCPUS);

	CHECK(most >= 64, "%d vCPUs", most);
	run_all(vm, 64, hello_guest, 0);
	CHECK_EQ(counter, 64);
}

TEST(vcpu_ids)
{
	struct vm *vm = vm_new_bare(0);
	int limit = dev_cap(KVM_CAP_MAX_VCPU_ID), most = dev_cap(KVM_CAP_MAX_VCPUS), fd, n = 0;

	CHECK(dev_cap(KVM_CAP_NR_VCPUS) >= 1, "KVM_CAP_NR_VCPUS");
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, (long)limit), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, 0xffffffffl), EINVAL);
	fd = ioctl(vm->fd, KVM_CREATE_VCPU, 7l);
	CHECK(fd >= 0, "KVM_CREATE_VCPU: %s", strerror(errno));
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, 7l), EEXIST);
	/* A closed one is not free again. */
	close(fd);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, 7l), EEXIST);
	if (most > 200)
		return;
	for (n = 1; n < most; n++)
		CHECK_OK(ioctl(vm->fd, KVM_CREATE_VCPU, (long)(n + 10)));
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, (long)(n + 10)), EINVAL);
}

/* --- IPI storm: everybody to everybody --- */

static void storm_guest(uint64_t n)
{
	struct guest_cpu *c = g_cpu();

	c->handler[0x50] = g_on_irq_x2eoi;
	g_x2apic_enable();
	g_atomic_inc(&ready);
	G_CHECK(g_spin_until(&ready, cpus, LIMIT));
	g_sti();
	for (uint64_t i = 0; i < n; i++) {
		unsigned int to = (c->id + 1 + i % (cpus - 1)) % cpus;
		uint64_t before = guest_cpus[to].irqs[0x50];

		g_wrmsr(MSR_X2APIC(APIC_ICR), (uint64_t)to << 32 | 0x50);
		/* Several may meet in one IRR, but one comes after this. */
		if (!g_wait_for(&guest_cpus[to].irqs[0x50], before + 1, LIMIT)) {
			g_fail(__FILE__, __LINE__, "a lost IPI", to, before);
			break;
		}
	}
	g_atomic_inc(&counter);
	/* Halted until all are done: they still want answers. */
	while (counter < cpus) {
		g_cli();
		if (counter < cpus)
			asm volatile("sti; hlt");
	}
	g_cli();
	for (unsigned int i = 0; i < cpus; i++)
		g_wrmsr(MSR_X2APIC(APIC_ICR), (uint64_t)i << 32 | 0x50);
}

TEST(ipi_storm)
{
	if (!(dev_cpuid_reg(1, 0, 'c') & 1 << 21))
		test_skip("no x2APIC");
	run_all(vm_new(VM_IRQCHIP), 4, storm_guest, 150);
}

TEST(ipi_storm_16)
{
	if (!(dev_cpuid_reg(1, 0, 'c') & 1 << 21))
		test_skip("no x2APIC");
	run_all(vm_new(VM_IRQCHIP), 16, storm_guest, 20);
}

/* --- TLB shootdown --- */

static volatile uint64_t *pte;
static uint64_t frames[2];
static volatile uint32_t acks, generation;

static void on_shootdown(struct guest_regs *r)
{
	(void)r;
	g_invlpg(GVA_FREE);
	g_wrmsr(MSR_X2APIC(APIC_EOI), 0);
	g_atomic_inc(&acks);
}

static void shootdown_guest(uint64_t rounds)
{
	struct guest_cpu *c = g_cpu();
	volatile uint64_t *p = (uint64_t *)GVA_FREE;

	c->handler[0x60] = on_shootdown;
	g_x2apic_enable();
	g_atomic_inc(&ready);
	G_CHECK(g_spin_until(&ready, cpus, LIMIT));
	g_sti();
	if (c->id) {
		uint32_t seen = 0;

		while (!stop) {
			uint32_t before = generation;
			uint64_t value = *p;

			/* What it reads is of this generation, or of one that begins. */
			if (before == generation && !(before & 1) && value != before / 2 % 2)
				g_fail(__FILE__, __LINE__, "an old translation", value, before);
			seen++;
		}
		return;
	}
	for (uint64_t i = 1; i <= rounds; i++) {
		generation++; /* odd: a change is under way */
		*pte = frames[i % 2] | PT_P | PT_W;
		g_invlpg(GVA_FREE);
		acks = 0;
		g_wrmsr(MSR_X2APIC(APIC_ICR), 0xc0000 | 0x60);
		if (!g_spin_until(&acks, cpus - 1, LIMIT)) {
			g_fail(__FILE__, __LINE__, "answers", acks, cpus - 1);
			break;
		}
		generation++;
	}
	stop = 1;
}

TEST(tlb_shootdown)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	if (!(dev_cpuid_reg(1, 0, 'c') & 1 << 21))
		test_skip("no x2APIC");
	frames[0] = vm_alloc(vm, 1);
	frames[1] = vm_alloc(vm, 1);
	*(uint64_t *)vm_ptr(vm, frames[1]) = 1;
	pte = vm_map(vm, GVA_FREE, frames[0], PT_P | PT_W);
	/* The guest sees its page tables at their GPA. */
	pte = (uint64_t *)((uint8_t *)pte - vm->ram);
	run_all(vm, 4, shootdown_guest, 150);
}

/* --- user space looks and pokes at vCPUs that run --- */

static void busy_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();
	uint64_t n = arg;

	c->handler[0x70] = g_on_irq_eoi;
	g_apic_enable();
	g_sti();
	while (!stop) {
		asm volatile("inc %0; dec %0; inc %0" : "+r"(n));
		if (n % 64 == 0)
			g_apic_write(APIC_ICR, 0x40070);
	}
	g_cli();
}

static void wake(int number)
{
	(void)number;
}

/* A signal ended KVM_RUN. */
static bool was_interrupted(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_INTR;
}

static void *interrupted(void *arg)
{
	return (void *)(uintptr_t)vcpu_run(arg);
}

TEST(ioctls_meanwhile)
{
	struct sigaction action = { .sa_handler = wake };
	struct vm *vm = vm_new(VM_IRQCHIP);

	sigaction(SIGUSR1, &action, NULL);
	for (unsigned int i = 0; i < 3; i++) {
		struct vcpu *v = vm_add_guest(vm, i, busy_guest, 0);

		v->on_exit = was_interrupted;
		pthread_create(&v->thread, NULL, interrupted, v);
	}
	for (unsigned int i = 0; i < 150; i++) {
		struct vcpu *v = vm->vcpus[i % 3];
		struct kvm_regs r;
		struct kvm_sregs s;
		struct kvm_lapic_state l;
		struct kvm_vcpu_events e;
		struct kvm_fpu f;
		struct kvm_msi msi = { .address_lo = APIC_BASE | 0xff000, .data = 0x70 };

		CHECK_OK(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi));
		/* The mutex of a vCPU that runs: it must be kicked out. */
		v->run->immediate_exit = 1;
		pthread_kill(v->thread, SIGUSR1);
		vcpu_get_regs(v, &r);
		vcpu_get_sregs(v, &s);
		vcpu_ioctl(v, KVM_GET_LAPIC, &l);
		vcpu_ioctl(v, KVM_GET_VCPU_EVENTS, &e);
		vcpu_ioctl(v, KVM_GET_FPU, &f);
		vcpu_set_regs(v, &r);
		v->run->immediate_exit = 0;
	}
	stop = 1;
	for (unsigned int i = 0; i < 3; i++)
		vcpu_join(vm->vcpus[i]);
}
