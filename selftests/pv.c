// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest that knows where it is can use: kvmclock, PV EOI, IPIs and kicks
 * by hypercall, steal time, TLB flushes that wait for a vCPU's next run, and calls that
 * are user space's.
 */
#include <sched.h>
#include "test.h"

#define LIMIT		  20000000ull

#define FEATURE_CLOCK2	  3
#define FEATURE_STEAL	  5
#define FEATURE_EOI	  6
#define FEATURE_UNHALT	  7
#define FEATURE_TLB_FLUSH 9
#define FEATURE_SEND_IPI  11
#define MSR_WALL	  0x4b564d00
#define MSR_CLOCK	  0x4b564d01
#define MSR_STEAL	  0x4b564d03
#define MSR_EOI		  0x4b564d04
#define HC_KICK		  5
#define HC_SEND_IPI	  10
#define HC_YIELD	  11

static volatile uint32_t ready, stop;
static uint64_t hypercall_page; /* of the guest: the driver may patch it */

static void need(unsigned int feature, const char *name)
{
	if (!(dev_cpuid_reg(0x40000001, 0, 'a') >> feature & 1))
		test_skip("no %s", name);
}

static struct vcpu *add(struct vm *vm, unsigned int id, void (*fn)(uint64_t), uint64_t arg)
{
	struct vcpu *v = vm_add_guest(vm, id, fn, arg);

	if (!hypercall_page) {
		hypercall_page = vm_alloc(vm, 1);
		memcpy(vm_ptr(vm, hypercall_page), "\x0f\x01\xd9\xc3", 4);
	}
	return v;
}

static int64_t hypercall(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	int64_t r;

	asm volatile("call *%1"
		     : "=a"(r)
		     : "r"(hypercall_page), "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d)
		     : "memory");
	return r;
}

/* --- kvmclock --- */

struct time_info {
	volatile uint32_t version;
	uint32_t pad;
	volatile uint64_t tsc, system;
	volatile uint32_t mul;
	volatile int8_t shift;
	volatile uint8_t flags;
	uint8_t pad2[2];
};

static struct time_info infos[MAX_VCPUS] __attribute__((aligned(64)));
static struct {
	volatile uint32_t version, sec, nsec;
} wall __attribute__((aligned(16)));

static uint64_t read_clock(struct time_info *t)
{
	uint32_t version;
	uint64_t ns;

	do {
		version = t->version & ~1u;
		asm volatile("" : : : "memory");
		uint64_t delta = g_rdtsc() - t->tsc;

		delta = t->shift < 0 ? delta >> -t->shift : delta << t->shift;
		ns = t->system + (uint64_t)(((unsigned __int128)delta * t->mul) >> 32);
		asm volatile("" : : : "memory");
	} while (version != t->version);
	return ns;
}

static volatile uint64_t clock_ns;

static void clock_guest(uint64_t arg)
{
	struct time_info *t = &infos[0];
	uint64_t last;

	(void)arg;
	g_wrmsr(MSR_WALL, (uintptr_t)&wall);
	G_CHECK(wall.sec > 1600000000u);
	G_CHECK_EQ(wall.version & 1, 0);
	g_wrmsr(MSR_CLOCK, (uintptr_t)t | 1);
	g_outb(0x80, 0); /* an exit at the latest */
	G_CHECK(t->version != 0 && !(t->version & 1));
	G_CHECK(t->mul != 0);
	last = read_clock(t);
	for (unsigned int i = 0; i < 5000; i++) {
		uint64_t now = read_clock(t);

		if (now < last) {
			g_fail(__FILE__, __LINE__, "the clock goes backwards", now, last);
			break;
		}
		last = now;
		if (i % 500 == 0)
			g_outb(0x80, 0);
	}
	for (unsigned int i = 0; i < 3; i++) {
		clock_ns = read_clock(t);
		g_sync(1);
	}
	g_wrmsr(MSR_CLOCK, 0);
	G_CHECK_EQ(g_rdmsr(MSR_CLOCK), 0);
	uint32_t version = t->version;

	g_outb(0x80, 0);
	G_CHECK_EQ(t->version, version);
}

static bool any_port(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_IO;
}

TEST(kvmclock)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	struct kvm_clock_data c;
	struct vcpu *v;

	need(FEATURE_CLOCK2, "kvmclock");
	v = add(vm, 0, clock_guest, 0);
	v->on_exit = any_port;
	CHECK_EQ(vcpu_run_sync(v), 1);
	vm_ioctl(vm, KVM_GET_CLOCK, &c);
	CHECK(c.clock >= clock_ns && c.clock < clock_ns + 5000000000ull,
	      "guest %llu, KVM_GET_CLOCK %llu", (unsigned long long)clock_ns,
	      (unsigned long long)c.clock);
	/* 100 ms, with an error of a few percent */
	uint64_t before = clock_ns, start = now_ns();

	sleep_ms(100);
	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK(clock_ns - before < (now_ns() - start) + 100000000, "100 ms were %llu ns",
	      (unsigned long long)(clock_ns - before));
	CHECK(clock_ns - before > 90000000, "100 ms were %llu ns",
	      (unsigned long long)(clock_ns - before));
	/* Paused: the guest is told, once. */
	c.flags = 0;
	c.clock = 1ull << 45;
	vm_ioctl(vm, KVM_SET_CLOCK, &c);
	CHECK_OK(ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0));
	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK(clock_ns >= 1ull << 45 && clock_ns < (1ull << 45) + 5000000000ull, "clock is %llu",
	      (unsigned long long)clock_ns);
	CHECK_EQ(infos[0].flags & 2, 2);
	vcpu_run(v);
	CHECK_ERR(ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0), EINVAL); /* it is off */
}

static volatile uint64_t newest;
static volatile uint32_t stable = 1;

static void clocks_guest(uint64_t n)
{
	struct time_info *t = &infos[g_cpu()->id];

	g_wrmsr(MSR_CLOCK, (uintptr_t)t | 1);
	g_outb(0x80, 0);
	if (!(t->flags & 1))
		stable = 0;
	g_atomic_inc(&ready);
	G_CHECK(g_spin_until(&ready, 3, LIMIT));
	for (uint64_t i = 0; i < n; i++) {
		uint64_t seen = __atomic_load_n(&newest, __ATOMIC_SEQ_CST), now = read_clock(t);

		if (now < seen && stable && (t->flags & 1)) {
			g_fail(__FILE__, __LINE__, "clocks differ", now, seen);
			return;
		}
		while (seen < now &&
		       !__atomic_compare_exchange_n(&newest, &seen, now, 0, __ATOMIC_SEQ_CST,
						    __ATOMIC_SEQ_CST))
			;
	}
}

TEST(kvmclock_of_several)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	need(FEATURE_CLOCK2, "kvmclock");
	for (unsigned int i = 0; i < 3; i++)
		add(vm, i, clocks_guest, 10000)->on_exit = any_port;
	for (unsigned int i = 0; i < 3; i++)
		vcpu_start(vm->vcpus[i]);
	for (unsigned int i = 0; i < 3; i++)
		vcpu_join(vm->vcpus[i]);
	test_note("the clock is %s", stable ? "stable" : "not stable");
}

/* --- PV EOI --- */

static volatile uint32_t eoi_flag __attribute__((aligned(4)));
static volatile uint64_t skipped;

static void on_pv_eoi(struct guest_regs *r)
{
	uint32_t was;

	(void)r;
	asm volatile("btrl $0, %0; setc %b1" : "+m"(eoi_flag), "=q"(was) : : "cc");
	if (was & 1)
		skipped++;
	else
		g_wrmsr(MSR_X2APIC(APIC_EOI), 0);
}

static void eoi_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	c->handler[0x50] = c->handler[0x60] = on_pv_eoi;
	g_x2apic_enable();
	g_wrmsr(MSR_EOI, (uintptr_t)&eoi_flag | 1);
	g_sti();
	for (unsigned int i = 1; i <= 200; i++) {
		g_wrmsr(0x83f, 0x50);
		G_CHECK(g_wait_for(&c->irqs[0x50], i, LIMIT));
		/* A lower vector behind it: not lost, whoever does the EOI */
		if (i % 10 == 0) {
			g_cli();
			g_wrmsr(0x83f, 0x50);
			g_wrmsr(0x83f, 0x60);
			g_sti();
			G_CHECK(g_wait_for(&c->irqs[0x60], i / 10, LIMIT));
			G_CHECK(g_wait_for(&c->irqs[0x50], i + 1, LIMIT));
			c->irqs[0x50]--;
		}
	}
	g_cli();
	g_outb(0x80, 0);
	/* Nothing is in service in the end. */
	for (unsigned int i = 0; i < 8; i++)
		G_CHECK_EQ(g_rdmsr(MSR_X2APIC(APIC_ISR) + i), 0);
	g_wrmsr(MSR_EOI, 0);
	g_sti();
	uint64_t n = skipped;

	g_wrmsr(0x83f, 0x50);
	G_CHECK(g_wait_for(&c->irqs[0x50], 201, LIMIT));
	G_CHECK_EQ(skipped, n);
}

TEST(pv_eoi)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	struct vcpu *v;

	need(FEATURE_EOI, "PV EOI");
	v = add(vm, 0, eoi_guest, 0);
	v->on_exit = any_port;
	vcpu_run(v);
	test_note("%llu EOIs were saved", (unsigned long long)skipped);
}

/* A guest that goes down switches PV EOI off while an interrupt is in service. */
static void on_irq_eoi_off(struct guest_regs *r)
{
	g_wrmsr(MSR_EOI, 0);
	on_pv_eoi(r);
}

static void eoi_off_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	c->handler[0x50] = on_irq_eoi_off;
	g_x2apic_enable();
	for (unsigned int i = 1; i <= 10; i++) {
		g_wrmsr(MSR_EOI, (uintptr_t)&eoi_flag | 1);
		g_sti();
		g_wrmsr(0x83f, 0x50);
		G_CHECK(g_wait_for(&c->irqs[0x50], i, LIMIT));
		g_cli();
		for (unsigned int n = 0; n < 8; n++)
			G_CHECK_EQ(g_rdmsr(MSR_X2APIC(APIC_ISR) + n), 0);
	}
}

TEST(pv_eoi_switched_off)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	struct vcpu *v;

	need(FEATURE_EOI, "PV EOI");
	v = add(vm, 0, eoi_off_guest, 0);
	v->on_exit = any_port;
	vcpu_run(v);
}

static void on_irq_asked(struct guest_regs *r)
{
	g_sync(1);
	on_pv_eoi(r);
}

static void eoi_asked_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	c->handler[0x50] = on_irq_asked;
	g_x2apic_enable();
	g_wrmsr(MSR_EOI, (uintptr_t)&eoi_flag | 1);
	g_sti();
	for (unsigned int i = 1; i <= 5; i++) {
		g_wrmsr(0x83f, 0x50);
		G_CHECK(g_wait_for(&c->irqs[0x50], i, LIMIT));
		for (unsigned int n = 0; n < 8; n++)
			G_CHECK_EQ(g_rdmsr(MSR_X2APIC(APIC_ISR) + n), 0);
	}
}

/* What a halted vCPU would wake for hangs on the guest's word: a state that asks for both. */
TEST(pv_eoi_while_halted)
{
	struct kvm_mp_state halted = { KVM_MP_STATE_HALTED }, mp = { KVM_MP_STATE_RUNNABLE };
	struct vcpu *v;

	need(FEATURE_EOI, "PV EOI");
	v = add(vm_new(VM_IRQCHIP), 0, eoi_asked_guest, 0);
	for (unsigned int i = 0; i < 5; i++) {
		CHECK_EQ(vcpu_run_sync(v), 1);
		vcpu_ioctl(v, KVM_SET_MP_STATE, &halted);
		vcpu_ioctl(v, KVM_GET_MP_STATE, &mp);
		CHECK_EQ(mp.mp_state, KVM_MP_STATE_HALTED);
		mp.mp_state = KVM_MP_STATE_RUNNABLE;
		vcpu_ioctl(v, KVM_SET_MP_STATE, &mp);
	}
	vcpu_run(v);
}

/* --- IPIs by hypercall --- */

static void ipi_target(uint64_t arg)
{
	(void)arg;
	g_cpu()->handler[0x50] = g_on_irq_x2eoi;
	g_cpu()->handler[2] = g_on_irq_x2eoi;
	g_x2apic_enable();
	g_atomic_inc(&ready);
	while (!stop)
		g_sti_hlt_cli();
}

static void ipi_sender(uint64_t n)
{
	g_cpu()->handler[0x50] = g_on_irq_x2eoi;
	g_x2apic_enable();
	for (unsigned int i = 1; i < n; i++)
		guest_cpus[i].handler[2] = g_on_irq_no_eoi;
	G_CHECK(g_spin_until(&ready, n - 1, LIMIT));
	for (unsigned int round = 1; round <= 50; round++) {
		int64_t r = hypercall(HC_SEND_IPI, ((1ull << n) - 1) & ~1ull, 0, 0, 0x50);

		G_CHECK(r >= 1 && r < (int64_t)n);
		for (unsigned int i = 1; i < n; i++)
			G_CHECK(g_wait_for(&guest_cpus[i].irqs[0x50], round, LIMIT));
	}
	/* The bitmap's first bit is the lowest ID: only CPU 2; then nobody */
	G_CHECK_EQ(hypercall(HC_SEND_IPI, 1, 0, 2, 0x50), 1);
	G_CHECK(g_wait_for(&guest_cpus[2].irqs[0x50], 51, LIMIT));
	G_CHECK_EQ(guest_cpus[1].irqs[0x50], 50);
	G_CHECK(hypercall(HC_SEND_IPI, 1, 0, 200, 0x50) <= 0);
	/* An NMI */
	G_CHECK_EQ(hypercall(HC_SEND_IPI, 2, 0, 0, 0x400), 1);
	G_CHECK(g_wait_for(&guest_cpus[1].irqs[2], 1, LIMIT));
	stop = 1;
	hypercall(HC_SEND_IPI, ((1ull << n) - 1) & ~1ull, 0, 0, 0x50);
}

TEST(send_ipi)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	need(FEATURE_SEND_IPI, "IPI hypercall");
	for (unsigned int i = 0; i < 4; i++)
		add(vm, i, i ? ipi_target : ipi_sender, 4);
	for (unsigned int i = 0; i < 4; i++)
		vcpu_start(vm->vcpus[i]);
	for (unsigned int i = 0; i < 4; i++)
		vcpu_join(vm->vcpus[i]);
}

/* --- kick: a vCPU that halts with interrupts off --- */

static volatile uint32_t woken, asleep;

static void kicked_guest(uint64_t n)
{
	g_apic_enable(); /* KVM kicks nobody whose APIC is off */
	for (uint64_t i = 1; i <= n; i++) {
		asleep = i;
		g_cli();
		g_hlt();
		woken = i;
		/* Until the kicker has seen it */
		G_CHECK(g_spin_until(&ready, i, LIMIT));
	}
}

static void kicking_guest(uint64_t n)
{
	g_apic_enable();
	for (uint64_t i = 1; i <= n; i++) {
		G_CHECK(g_spin_until(&asleep, i, LIMIT));
		/* A kick that comes before the halt is not lost either. */
		G_CHECK_EQ(hypercall(HC_KICK, 0, 1, 0, 0), 0);
		G_CHECK(g_spin_until(&woken, i, LIMIT));
		ready = i;
	}
	G_CHECK_EQ(hypercall(HC_KICK, 0, 99, 0, 0), 0); /* nobody */
	hypercall(HC_YIELD, 1, 0, 0, 0);
}

TEST(kick)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	need(FEATURE_UNHALT, "kick hypercall");
	add(vm, 0, kicking_guest, 100);
	add(vm, 1, kicked_guest, 100);
	vcpu_start(vm->vcpus[0]);
	vcpu_start(vm->vcpus[1]);
	vcpu_join(vm->vcpus[0]);
	vcpu_join(vm->vcpus[1]);
}

/* --- steal time, and the TLB flush that uses it --- */

struct steal {
	volatile uint64_t steal;
	volatile uint32_t version, flags;
	volatile uint8_t preempted;
	uint8_t pad[47];
};

static struct steal steals[MAX_VCPUS] __attribute__((aligned(64)));

static volatile bool steal_end;

static void steal_guest(uint64_t arg)
{
	struct steal *s = &steals[0];

	(void)arg;

	g_wrmsr(MSR_STEAL, (uintptr_t)s | 1);
	G_CHECK_EQ(g_rdmsr(MSR_STEAL), (uintptr_t)s | 1);
	while (!steal_end) {
		g_sync(1);
		G_CHECK_EQ(s->version & 1, 0);
		/* While it runs it is not preempted. */
		G_CHECK_EQ(s->preempted & 1, 0);
	}
	g_wrmsr(MSR_STEAL, 0);
}

static volatile bool hogs_end;

static void *hog(void *arg)
{
	while (!hogs_end)
		;
	return arg;
}

TEST(steal_time)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	pthread_t hogs[4];
	uint64_t first = 0;
	struct vcpu *v;

	need(FEATURE_STEAL, "steal time");
	v = add(vm, 0, steal_guest, 0);
	CHECK_EQ(vcpu_set_msr(v, MSR_STEAL, (uintptr_t)&steals[0] | 2), 0); /* a reserved bit */
	for (unsigned int i = 0; i < 4; i++)
		pthread_create(&hogs[i], NULL, hog, NULL);
	/* For 300 rounds, and then until something was stolen. */
	for (unsigned int i = 0; i < 300 || (!first && i < 30000); i++) {
		CHECK_EQ(vcpu_run_sync(v), 1);
		CHECK(steals[0].steal >= first, "steal time shrinks");
		first = steals[0].steal;
		if (i % 100 == 0)
			sleep_ms(20);
	}
	hogs_end = true;
	steal_end = true;
	vcpu_run(v);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(hogs[i], NULL);
	CHECK(first > 0, "no time was stolen beside four busy threads");
	test_note("%llu ms stolen", (unsigned long long)first / 1000000);
}

static uint64_t frames[2];
static volatile uint64_t *pte;

static volatile uint32_t generation, seen, flush_yourself;

#define FLUSHES 20u

static void flush_guest(uint64_t arg)
{
	(void)arg;
	g_wrmsr(MSR_STEAL, (uintptr_t)&steals[0] | 1);
	ready = 1;
	for (uint32_t i = 1; i <= FLUSHES; i++) {
		while (generation != i)
			(void)*(volatile uint64_t *)GVA_FREE;
		if (flush_yourself)
			g_invlpg(GVA_FREE);
		G_CHECK_EQ(*(volatile uint64_t *)GVA_FREE, i & 1);
		seen = i;
	}
	stop = 1;
}

static cpu_set_t allowed;

/* To the @n-th of the CPUs that this program may use. */
static void pin(pthread_t thread, unsigned int n)
{
	unsigned int cpu = 0;
	cpu_set_t set;

	for (;; cpu++)
		if (CPU_ISSET(cpu, &allowed) && !n--)
			break;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(thread, sizeof(set), &set);
}

/*
 * The test is the other vCPU: when this one is not running, it changes the page
 * table and leaves the flush to its next run.
 */
TEST(flush_when_preempted)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	unsigned int left_to_it = 0;
	pthread_t rival;
	struct vcpu *v;

	need(FEATURE_STEAL, "steal time");
	need(FEATURE_TLB_FLUSH, "PV TLB flush");
	if (sched_getaffinity(0, sizeof(allowed), &allowed) || CPU_COUNT(&allowed) < 2)
		test_skip("it takes two CPUs");
	v = add(vm, 0, flush_guest, 0);
	frames[0] = vm_alloc(vm, 1);
	frames[1] = vm_alloc(vm, 1);
	*(uint64_t *)vm_ptr(vm, frames[1]) = 1;
	pte = vm_map(vm, GVA_FREE, frames[0], PT_P | PT_W);
	vcpu_start(v);
	pthread_create(&rival, NULL, hog, NULL);
	pin(v->thread, 0);
	pin(rival, 0);
	pin(pthread_self(), 1);
	while (!ready)
		usleep(1000);
	for (uint32_t i = 1; i <= FLUSHES; i++) {
		uint8_t was = 1;
		uint64_t limit = now_ns() + 500000000;

		while (steals[0].preempted != 1 && now_ns() < limit)
			;
		*pte = frames[i & 1] | PT_P | PT_W;
		flush_yourself = !__atomic_compare_exchange_n(&steals[0].preempted, &was, 3, 0,
							      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		left_to_it += !flush_yourself;
		generation = i;
		for (unsigned int k = 0; k < 5000 && seen != i; k++)
			usleep(1000);
		REQUIRE(seen == i, "the guest stands still");
	}
	vcpu_join(v);
	hogs_end = true;
	pthread_join(rival, NULL);
	test_note("%u of %u flushes were left to the next run", left_to_it, FLUSHES);
	CHECK(left_to_it > 0, "the vCPU never seemed preempted");
}

/* --- features that CPUID does not offer are not there --- */

static void hidden_guest(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	G_CHECK_EQ(g_try_wrmsr(MSR_STEAL, 0), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_EOI, 0), 13);
	G_CHECK_EQ(g_try_rdmsr(MSR_CLOCK, &value), 13);
	G_CHECK_EQ(hypercall(HC_SEND_IPI, 1, 0, 0, 0x50), -1000);
}

TEST(hidden)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = { 1 } };
	struct kvm_cpuid2 *c = cpuid_copy();
	struct vcpu *v;

	if (dev_cap(KVM_CAP_ENFORCE_PV_FEATURE_CPUID) <= 0)
		test_skip("no KVM_CAP_ENFORCE_PV_FEATURE_CPUID");
	v = add(vm_new(VM_IRQCHIP), 0, hidden_guest, 0);
	cpuid_find(c, 0x40000001, 0)->eax = 0;
	vcpu_ioctl(v, KVM_ENABLE_CAP, &cap);
	vcpu_set_cpuid(v, c);
	vcpu_run(v);
}

/* --- calls that are user space's --- */

#define HC_MAP_GPA_RANGE      12
#define MSR_MIGRATION_CONTROL 0x4b564d08
#define MIGRATION_READY	      1u

static void exiting_guest(uint64_t arg)
{
	const int64_t inval = -22;

	(void)arg;
	G_CHECK_EQ(hypercall(HC_MAP_GPA_RANGE, 0x1000, 1, 0x10, 0), -1000);
	g_sync(1);
	G_CHECK_EQ(hypercall(HC_MAP_GPA_RANGE, 0x1001, 1, 0x10, 0), inval);
	G_CHECK_EQ(hypercall(HC_MAP_GPA_RANGE, 0x1000, 0, 0x10, 0), inval);
	G_CHECK_EQ(hypercall(HC_MAP_GPA_RANGE, 0x1000, -1, 0x10, 0), inval);
	G_CHECK_EQ(hypercall(HC_MAP_GPA_RANGE, 0x1000, 7, 0x10, 0), 0x1234567890);
	G_CHECK_EQ(hypercall(HC_MAP_GPA_RANGE, 0x2000, 1, 0, 0), inval);
	g_wrmsr(MSR_MIGRATION_CONTROL, MIGRATION_READY);
	G_CHECK_EQ(g_rdmsr(MSR_MIGRATION_CONTROL), MIGRATION_READY);
	g_sync(2);
	G_CHECK_EQ(hypercall(HC_MAP_GPA_RANGE, 0x1000, 1, 0x10, 0), -1000);
}

/* The exit for a call with these arguments, at the instruction; the answer is @ret. */
static void answer_call(struct vcpu *v, uint64_t gpa, uint64_t pages, uint64_t flags, int64_t ret)
{
	struct kvm_regs r;

	REQUIRE(vcpu_run_raw(v) == KVM_EXIT_HYPERCALL, "exit %u", v->run->exit_reason);
	CHECK_EQ(v->run->hypercall.nr, HC_MAP_GPA_RANGE);
	CHECK_EQ(v->run->hypercall.args[0], gpa);
	CHECK_EQ(v->run->hypercall.args[1], pages);
	CHECK_EQ(v->run->hypercall.args[2], flags);
	CHECK_EQ(v->run->hypercall.longmode, 1);
	vcpu_get_regs(v, &r);
	CHECK_EQ(r.rip, hypercall_page);
	v->run->hypercall.ret = (uint64_t)ret;
}

/*
 * What user space offers migration control with: the hypercall leaves, and the MSR by a
 * filter.
 */
TEST(migration_control)
{
	uint8_t none = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = { { KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 1, MSR_MIGRATION_CONTROL,
			      &none } },
	};
	const uint64_t bad = 1u << HC_MAP_GPA_RANGE | 1u << HC_SEND_IPI;
	struct vcpu *v = add(vm_new(VM_IRQCHIP), 0, exiting_guest, 0);

	CHECK_EQ(dev_cap(KVM_CAP_EXIT_HYPERCALL), 1u << HC_MAP_GPA_RANGE);
	CHECK_ERR(vm_try_cap(v->vm, KVM_CAP_EXIT_HYPERCALL, bad), EINVAL);
	CHECK_EQ(vcpu_run_sync(v), 1);
	vm_enable_cap(v->vm, KVM_CAP_EXIT_HYPERCALL, 1u << HC_MAP_GPA_RANGE);
	vm_enable_cap(v->vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER);
	vm_ioctl(v->vm, KVM_X86_SET_MSR_FILTER, &filter);
	answer_call(v, 0x1000, 7, 0x10, 0x1234567890);
	answer_call(v, 0x2000, 1, 0, -22);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_X86_WRMSR);
	CHECK_EQ(v->run->msr.index, MSR_MIGRATION_CONTROL);
	CHECK_EQ(v->run->msr.data, MIGRATION_READY);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_X86_RDMSR);
	v->run->msr.data = MIGRATION_READY;
	CHECK_EQ(vcpu_run_sync(v), 2);
	vm_enable_cap(v->vm, KVM_CAP_EXIT_HYPERCALL, 0);
	vcpu_run(v);
}

asm(".pushsection .rodata\n.code16\n"
    ".globl call16, call16_end\n"
    "call16:\n"
    "mov $0xffffffff, %ebp\n"
    "mov $12, %eax\n mov $0x3000, %ebx\n mov $2, %ecx\n mov $0x11, %edx\n"
    "vmcall\n" /* or what the test puts here */
    "hlt\n"
    "call16_end:\n"
    ".code64\n.popsection\n");

/*
 * From code that is not 64-bit: upper halves of registers count for nothing. The answer is
 * taken also by a KVM_RUN that ends at once.
 */
TEST(call_of_32_bits)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint8_t *code = vm_ptr(vm, 0x8000);
	struct kvm_regs r;

	vm_code(vm, 0x8000, call16);
	/* The CPU's own instruction, before the HLT. */
	while (code[0] != 0x0f || code[1] != 0x01)
		code++;
	code[2] = cpu_has_vmx() ? 0xc1 : 0xd9;
	vm_enable_cap(vm, KVM_CAP_EXIT_HYPERCALL, 1u << HC_MAP_GPA_RANGE);
	vcpu_real_mode(v, 0x8000);
	vcpu_get_regs(v, &r);
	r.rax = r.rbx = r.rcx = r.rdx = 0xeeeeeeee00000000;
	vcpu_set_regs(v, &r);
	REQUIRE(vcpu_run_raw(v) == KVM_EXIT_HYPERCALL, "exit %u", v->run->exit_reason);
	CHECK_EQ(v->run->hypercall.nr, HC_MAP_GPA_RANGE);
	CHECK_EQ(v->run->hypercall.args[0], 0x3000);
	CHECK_EQ(v->run->hypercall.args[1], 2);
	CHECK_EQ(v->run->hypercall.args[2], 0x11);
	CHECK_EQ(v->run->hypercall.longmode, 0);
	v->run->hypercall.ret = 0x5566778899aabbcc;
	vcpu_finish_exit(v);
	vcpu_get_regs(v, &r);
	CHECK_EQ(r.rax, 0x99aabbcc);
	CHECK_EQ(r.rip, code + 3 - (uint8_t *)vm_ptr(vm, 0x8000));
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_HLT);
}

static void moved_guest(uint64_t arg)
{
	(void)arg;
	hypercall(HC_MAP_GPA_RANGE, 0x1000, 1, 0, 0);
	G_CHECK(false); /* not reached */
}

static void elsewhere(uint64_t arg)
{
	G_CHECK_EQ(arg, 77);
}

/* User space resets the vCPU in place of an answer: there is nothing to skip. */
TEST(moved_while_asked)
{
	struct vcpu *v;

	if (dev_is_kvm())
		test_skip("in-tree KVM skips an instruction wherever the vCPU is");
	v = add(vm_new(VM_IRQCHIP), 0, moved_guest, 0);
	vm_enable_cap(v->vm, KVM_CAP_EXIT_HYPERCALL, 1u << HC_MAP_GPA_RANGE);
	answer_call(v, 0x1000, 1, 0, 55);
	vcpu_long_mode(v, elsewhere, 77);
	vcpu_run(v);
}
