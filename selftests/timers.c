// SPDX-License-Identifier: GPL-2.0-only
/*
 * Time: the local APIC's timer in its three modes, the PIT, the time stamp
 * counter, and the clock that KVM_GET_CLOCK and the guest's kvmclock share.
 */
#include "test.h"

#define LIMIT	     30000000ull
#define MSR_TSC	     0x10
#define MSR_TSC_ADJ  0x3b
#define PERIODIC     0x20000
#define TSC_DEADLINE 0x40000
#define MASKED	     0x10000

static volatile uint64_t tsc_per_ms;

static void prepare(void)
{
	g_pic_mask();
	g_apic_enable();
	g_apic_write(APIC_TDCR, 0xb); /* divided by 1 */
	g_cpu()->handler[0x40] = g_on_irq_eoi;
}

static void one_shot_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	prepare();
	/* Polled, with interrupts off */
	g_apic_write(APIC_LVTT, 0x40);
	G_CHECK_EQ(g_apic_read(APIC_TMCCT), 0);
	g_apic_write(APIC_TMICT, 1000000000);
	uint32_t first = g_apic_read(APIC_TMCCT), second = g_apic_read(APIC_TMCCT);

	G_CHECK(first <= 1000000000 && second < first);
	g_apic_write(APIC_TMICT, 0); /* stops it */
	G_CHECK_EQ(g_apic_read(APIC_TMCCT), 0);
	g_apic_write(APIC_TMICT, 2000000); /* 2 ms */
	for (uint64_t limit = LIMIT; limit && !g_apic_bit(APIC_IRR, 0x40); limit--)
		g_pause();
	G_CHECK_EQ(g_apic_bit(APIC_IRR, 0x40), 1);
	G_CHECK_EQ(g_apic_read(APIC_TMCCT), 0);
	g_sti();
	G_CHECK(g_wait_for(&c->irqs[0x40], 1, LIMIT));
	/* Halted */
	for (unsigned int i = 2; i < 12; i++) {
		g_cli();
		g_apic_write(APIC_TMICT, i * 100000);
		g_sti_hlt_cli();
		G_CHECK_EQ(c->irqs[0x40], i);
	}
	/* Already over by the time of HLT */
	g_apic_write(APIC_TMICT, 1);
	for (unsigned int i = 0; i < 100; i++)
		g_pause();
	g_sti_hlt_cli();
	G_CHECK_EQ(c->irqs[0x40], 12);
	/* Masked: it counts, and says nothing. */
	g_apic_write(APIC_LVTT, 0x40 | MASKED);
	g_apic_write(APIC_TMICT, 100000);
	while (g_apic_read(APIC_TMCCT))
		g_pause();
	g_sti();
	g_pause();
	g_cli();
	G_CHECK_EQ(c->irqs[0x40], 12);
	G_CHECK_EQ(g_apic_bit(APIC_IRR, 0x40), 0);
	/* The divider */
	g_apic_write(APIC_TDCR, 0xa); /* 128 */
	g_apic_write(APIC_TMICT, 100000000);
	first = g_apic_read(APIC_TMCCT);
	uint64_t until = g_rdtsc() + tsc_per_ms * 5;

	while (g_rdtsc() < until)
		g_pause();
	second = g_apic_read(APIC_TMCCT);
	/* 5 ms are 39,000 ticks; on a busy machine more pass. */
	G_CHECK(first - second >= 30000);
	G_CHECK(first - second < 4000000);
}

static struct vcpu *with_tsc(int flags, void (*fn)(uint64_t), uint64_t arg)
{
	struct vcpu *v = vm_with_guest(flags, fn, arg);
	int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);

	REQUIRE(khz > 0, "KVM_GET_TSC_KHZ: %s", strerror(errno));
	tsc_per_ms = khz;
	return v;
}

TEST(lapic_one_shot)
{
	vcpu_run(with_tsc(VM_IRQCHIP, one_shot_guest, 0));
}

static void periodic_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();
	uint64_t start;

	(void)arg;
	prepare();
	g_apic_write(APIC_LVTT, 0x40 | PERIODIC);
	start = g_rdtsc();
	g_apic_write(APIC_TMICT, 2000000); /* 2 ms */
	for (unsigned int i = 1; i <= 25; i++) {
		while (c->irqs[0x40] < i)
			g_sti_hlt_cli();
	}
	/* 25 periods are 50 ms; late ones are caught up with. */
	G_CHECK((g_rdtsc() - start) / tsc_per_ms >= 40);
	G_CHECK((g_rdtsc() - start) / tsc_per_ms < 3000);
	/* Into one-shot while it runs: it fires once more at most. */
	g_apic_write(APIC_LVTT, 0x40 | MASKED);
	g_apic_write(APIC_TMICT, 0);
	g_sti();
	/* One that was under way may still arrive. */
	uint64_t n = c->irqs[0x40], until = g_rdtsc() + tsc_per_ms * 10;

	while (g_rdtsc() < until)
		g_pause();
	G_CHECK(c->irqs[0x40] - n <= 1);
	n = c->irqs[0x40];
	until = g_rdtsc() + tsc_per_ms * 10;
	while (g_rdtsc() < until)
		g_pause();
	G_CHECK_EQ(c->irqs[0x40], n);
}

TEST(lapic_periodic)
{
	vcpu_run(with_tsc(VM_IRQCHIP, periodic_guest, 0));
}

static void deadline_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();

	(void)arg;
	prepare();
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + tsc_per_ms); /* not in this mode: ignored */
	G_CHECK_EQ(g_rdmsr(MSR_TSC_DEADLINE), 0);
	g_apic_write(APIC_LVTT, 0x40 | TSC_DEADLINE);
	for (unsigned int i = 1; i <= 20; i++) {
		uint64_t when = g_rdtsc() + tsc_per_ms * (i % 4);

		g_wrmsr(MSR_TSC_DEADLINE, when);
		g_sti_hlt_cli();
		G_CHECK_EQ(c->irqs[0x40], i);
		G_CHECK(g_rdtsc() >= when);
		G_CHECK_EQ(g_rdmsr(MSR_TSC_DEADLINE), 0);
	}
	/* Far away: readable, and 0 disarms it. */
	uint64_t far = g_rdtsc() + tsc_per_ms * 100000;

	g_wrmsr(MSR_TSC_DEADLINE, far);
	G_CHECK_EQ(g_rdmsr(MSR_TSC_DEADLINE), far);
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + tsc_per_ms * 100);
	g_wrmsr(MSR_TSC_DEADLINE, 0);
	g_sti();
	uint64_t until = g_rdtsc() + tsc_per_ms * 150;

	while (g_rdtsc() < until)
		g_pause();
	G_CHECK_EQ(c->irqs[0x40], 20);
	/* Its initial count is not used in this mode. */
	g_apic_write(APIC_TMICT, 1000);
	G_CHECK_EQ(g_apic_read(APIC_TMCCT), 0);
	/* In the past: at once */
	g_wrmsr(MSR_TSC_DEADLINE, 1);
	G_CHECK(g_wait_for(&c->irqs[0x40], 21, LIMIT));
	/* Never early, seen by a spinning CPU */
	for (unsigned int i = 22; i < 42; i++) {
		uint64_t when = g_rdtsc() + tsc_per_ms / 2;

		g_wrmsr(MSR_TSC_DEADLINE, when);
		G_CHECK(g_wait_for(&c->irqs[0x40], i, LIMIT));
		G_CHECK(g_rdtsc() >= when);
	}
}

TEST(lapic_tsc_deadline)
{
	struct kvm_cpuid2 *c = cpuid_copy();
	struct vcpu *v;

	if (dev_cap(KVM_CAP_TSC_DEADLINE_TIMER) <= 0)
		test_skip("no TSC-deadline timer");
	v = with_tsc(VM_IRQCHIP, deadline_guest, 0);
	cpuid_find(c, 1, 0)->ecx |= 1 << 24;
	vcpu_set_cpuid(v, c);
	vcpu_run(v);
}

static void far_deadline_guest(uint64_t when)
{
	struct guest_cpu *c = g_cpu();

	prepare();
	g_apic_write(APIC_LVTT, 0x40 | TSC_DEADLINE);
	g_sti();
	g_wrmsr(MSR_TSC_DEADLINE, when);
	g_sync(1); /* It goes on. */
	uint64_t until = g_rdtsc() + tsc_per_ms * 20;

	while (g_rdtsc() < until)
		g_pause();
	G_CHECK_EQ(c->irqs[0x40], 0);
	G_CHECK_EQ(g_rdmsr(MSR_TSC_DEADLINE), when);
	/* Nor is it in the way of one that comes. */
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + tsc_per_ms);
	G_CHECK(g_wait_for(&c->irqs[0x40], 1, LIMIT));
}

/* So far away that a sum with the offset, or a difference, does not fit any more. */
TEST(lapic_tsc_deadline_far)
{
	static const uint64_t deadlines[] = { ~0ull, 1ull << 63, (1ull << 63) - 1, 1ull << 62 };

	if (dev_cap(KVM_CAP_TSC_DEADLINE_TIMER) <= 0)
		test_skip("no TSC-deadline timer");
	for (unsigned int i = 0; i < 4; i++) {
		struct kvm_cpuid2 *c = cpuid_copy();
		struct vcpu *v = with_tsc(VM_IRQCHIP, far_deadline_guest, deadlines[i]);

		cpuid_find(c, 1, 0)->ecx |= 1 << 24;
		vcpu_set_cpuid(v, c);
		guest_cpus[0].irqs[0x40] = 0;
		CHECK_EQ(vcpu_run_sync(v), 1);
		vcpu_run(v);
		vm_free(v->vm);
	}
}

/* --- PIT --- */

static void pit_program(uint8_t mode, uint16_t value)
{
	g_outb(0x43, 0x30 | mode << 1);
	g_outb(0x40, value);
	g_outb(0x40, value >> 8);
}

static uint16_t pit_count(void)
{
	g_outb(0x43, 0);
	uint16_t low = g_inb(0x40);

	return low | g_inb(0x40) << 8;
}

static void pit_guest(uint64_t arg)
{
	struct guest_cpu *c = g_cpu();
	uint64_t start;

	prepare();
	g_ioapic_route(0, 0x40, 0);
	/* One shot (mode 0), 5 ms */
	start = g_rdtsc();
	pit_program(0, 5966);
	uint16_t first = pit_count();

	/* Below zero it goes on with 65,535: a slow host may be that late. */
	G_CHECK(first <= 5966 || (g_rdtsc() - start) / tsc_per_ms >= 4);
	g_sti_hlt_cli();
	G_CHECK_EQ(c->irqs[0x40], 1);
	/* Periodic (mode 2 and 3), 2 ms: the number is right in the end */
	for (uint8_t mode = 2; mode <= 3; mode++) {
		uint64_t n = c->irqs[0x40];

		start = g_rdtsc();
		pit_program(mode, 2386);
		while (c->irqs[0x40] < n + 20)
			g_sti_hlt_cli();
		G_CHECK((g_rdtsc() - start) / tsc_per_ms >= 30);
		G_CHECK((g_rdtsc() - start) / tsc_per_ms < 3000);
		for (unsigned int i = 0; i < 50; i++)
			G_CHECK(pit_count() <= 2386);
	}
	/* Reinjection: ticks that no one took are made up for. */
	uint64_t n = c->irqs[0x40];

	start = g_rdtsc();
	pit_program(2, 2386);
	while ((g_rdtsc() - start) / tsc_per_ms < 60)
		g_pause(); /* with interrupts off */
	while ((g_rdtsc() - start) / tsc_per_ms < 100)
		asm volatile("sti; nop; cpuid; nop; cli" : : "a"(0) : "rbx", "rcx", "rdx");
	if (!arg) /* KVM in the lab makes up for one in ten only */
		G_CHECK(c->irqs[0x40] - n >= 25);
	pit_program(0, 0);
	/* Read back: status and count of channel 0, latched */
	g_outb(0x43, 0xc2);
	uint8_t status = g_inb(0x40);

	G_CHECK_EQ(status & 0x3e, 0x30);
	/* The speaker's channel through port 61h */
	g_outb(0x61, 1);
	g_outb(0x43, 0xb0);
	g_outb(0x42, 0x53);
	g_outb(0x42, 0x07);
	for (uint64_t limit = LIMIT; limit && !(g_inb(0x61) & 0x20); limit--)
		g_pause();
	G_CHECK_EQ(g_inb(0x61) & 0x21, 0x21);
}

TEST(pit)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct vcpu *v = with_tsc(VM_IRQCHIP, pit_guest, dev_is_kvm());

	vm_ioctl(v->vm, KVM_CREATE_PIT2, &config);
	vcpu_run(v);
}

TEST(pit_state)
{
	struct vm *vm = vm_new_bare(VM_PIT), *without = vm_new_bare(VM_IRQCHIP);
	struct kvm_reinject_control off = { .pit_reinject = 0 };
	struct kvm_pit_config config = {};
	struct kvm_pit_state2 a = {}, b = {};

	vm_ioctl(vm, KVM_GET_PIT2, &a);
	a.channels[0].count = 0x1234;
	a.channels[0].mode = 2;
	a.channels[2].count = 0x4321;
	vm_ioctl(vm, KVM_SET_PIT2, &a);
	vm_ioctl(vm, KVM_GET_PIT2, &b);
	CHECK_EQ(b.channels[0].count, 0x1234);
	CHECK_EQ(b.channels[0].mode, 2);
	CHECK_EQ(b.channels[2].count, 0x4321);
	vm_ioctl(vm, KVM_REINJECT_CONTROL, &off);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_PIT2, &config), EEXIST);
	CHECK_ERR(ioctl(without->fd, KVM_GET_PIT2, &a), ENXIO);
	CHECK_ERR(ioctl(without->fd, KVM_SET_PIT2, &a), ENXIO);
	CHECK_ERR(ioctl(without->fd, KVM_REINJECT_CONTROL, &off), ENXIO);
	vm_free(without);
	/* KVM before 6.14 allows a PIT without an interrupt controller, and never uses it. */
	if (!dev_is_kvm())
		CHECK_ERR(ioctl(vm_new_bare(0)->fd, KVM_CREATE_PIT2, &config), ENOENT);
}

/* --- TSC --- */

static void tsc_guest(uint64_t arg)
{
	uint64_t last = g_rdtsc();

	(void)arg;
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t now = i % 100 ? g_rdtsc() : g_rdmsr(MSR_TSC);

		if (now < last) {
			g_fail(__FILE__, __LINE__, "the TSC goes backwards", now, last);
			break;
		}
		last = now;
	}
	g_sync(1);
	/* The guest sets it. */
	g_wrmsr(MSR_TSC, 1000);
	G_CHECK(g_rdtsc() >= 1000 && g_rdtsc() < 1000 + tsc_per_ms * 2000);
	G_CHECK(g_rdmsr(MSR_TSC) >= 1000);
	g_sync(2);
	G_CHECK(g_rdtsc() >= 1ull << 50);
	g_sync(3);
	uint64_t value;

	if (g_try_rdmsr(MSR_TSC_ADJ, &value) == NO_FAULT) {
		uint64_t before = g_rdtsc();

		g_wrmsr(MSR_TSC_ADJ, value + (1ull << 40));
		G_CHECK(g_rdtsc() >= before + (1ull << 40));
		G_CHECK_EQ(g_rdmsr(MSR_TSC_ADJ), value + (1ull << 40));
	}
}

TEST(tsc)
{
	struct vcpu *v = with_tsc(VM_IRQCHIP, tsc_guest, 0);
	uint64_t t0, t1, start;

	CHECK_EQ(vcpu_run_sync(v), 1);
	/* Its rate is what KVM_GET_TSC_KHZ says. */
	start = now_ns();
	t0 = vcpu_get_msr(v, MSR_TSC);
	sleep_ms(100);
	t1 = vcpu_get_msr(v, MSR_TSC);
	uint64_t expect = (now_ns() - start) * tsc_per_ms / 1000000;

	/* Where the host's TSC is unstable, KVM's guests have one that stands while they do. */
	CHECK(dev_is_kvm() || ((t1 - t0) > expect / 100 * 90 && (t1 - t0) < expect / 100 * 110),
	      "%llu ticks in %llu ns, at %llu kHz", (unsigned long long)(t1 - t0),
	      (unsigned long long)(now_ns() - start), (unsigned long long)tsc_per_ms);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(vcpu_set_msr(v, MSR_TSC, 1ull << 50), 1);
	CHECK(vcpu_get_msr(v, MSR_TSC) >= 1ull << 50, "TSC is %#llx",
	      (unsigned long long)vcpu_get_msr(v, MSR_TSC));
	CHECK_EQ(vcpu_run_sync(v), 3);
	vcpu_run(v);
}

static volatile uint64_t tsc_seen;

static void scaled_guest(uint64_t arg)
{
	uint64_t when;

	(void)arg;
	for (uint32_t i = 1; i <= 2; i++) {
		tsc_seen = g_rdtsc();
		g_sync(i);
	}
	/* What the local APIC's timer counts is this TSC, too. */
	prepare();
	g_apic_write(APIC_LVTT, 0x40 | TSC_DEADLINE);
	when = g_rdtsc() + tsc_per_ms * 20;
	tsc_seen = g_rdtsc();
	g_sync(3);
	g_wrmsr(MSR_TSC_DEADLINE, when);
	g_sti_hlt_cli();
	G_CHECK(g_rdtsc() >= when);
	G_CHECK_EQ(g_rdmsr(MSR_TSC_DEADLINE), 0);
	tsc_seen = g_rdtsc();
	g_sync(4);
}

/* Runs to sync @n. The host's TSC was between *before and *after when the guest read its own. */
static uint64_t read_both(struct vcpu *v, uint32_t n, uint64_t *before, uint64_t *after)
{
	*before = g_rdtsc();
	CHECK_EQ(vcpu_run_sync(v), n);
	*after = g_rdtsc();
	return tsc_seen;
}

/* A guest's TSC runs at @num/@den of the host's rate, to a part in a thousand. */
static void scaled(unsigned int num, unsigned int den)
{
	struct vcpu *v = with_tsc(VM_IRQCHIP, scaled_guest, 0);
	struct kvm_cpuid2 *c = cpuid_copy();
	uint64_t b[4], a[4], t[4], least, most;
	uint64_t khz = tsc_per_ms * num / den;

	cpuid_find(c, 1, 0)->ecx |= 1 << 24;
	vcpu_set_cpuid(v, c);
	CHECK_OK(ioctl(v->fd, KVM_SET_TSC_KHZ, khz));
	CHECK_EQ(ioctl(v->fd, KVM_GET_TSC_KHZ, 0), khz);
	tsc_per_ms = khz;
	t[0] = read_both(v, 1, &b[0], &a[0]);
	sleep_ms(30);
	t[1] = read_both(v, 2, &b[1], &a[1]);
	for (unsigned int i = 0; i < 2; i++) {
		least = (b[1] - a[0]) * num / den;
		most = (a[1] - b[0]) * num / den;
		CHECK(t[1] - t[0] >= least - least / 1000 && t[1] - t[0] <= most + most / 1000,
		      "%u/%u: %llu ticks, between %llu and %llu would be right", num, den,
		      (unsigned long long)(t[1] - t[0]), (unsigned long long)least,
		      (unsigned long long)most);
		/* Once more, as user space reads it. */
		b[1] = g_rdtsc();
		t[1] = vcpu_get_msr(v, MSR_TSC);
		a[1] = g_rdtsc();
	}
	t[2] = read_both(v, 3, &b[2], &a[2]);
	t[3] = read_both(v, 4, &b[3], &a[3]);
	/* The deadline was 20 ms away, in the host's time as well. */
	CHECK(t[3] - t[2] >= khz * 19, "%llu ticks", (unsigned long long)(t[3] - t[2]));
	CHECK((a[3] - b[2]) * num / den >= khz * 19 && (b[3] - a[2]) * num / den < khz * 2000,
	      "%u/%u: the timer took %llu ticks of the host", num, den,
	      (unsigned long long)(a[3] - b[2]));
	/* A TSC that is set goes on from there. */
	CHECK_EQ(vcpu_set_msr(v, MSR_TSC, 1ull << 50), 1);
	b[0] = vcpu_get_msr(v, MSR_TSC);
	CHECK(b[0] >= 1ull << 50 && b[0] < (1ull << 50) + khz * 2000, "the TSC is %#llx",
	      (unsigned long long)b[0]);
}

TEST(tsc_scaling)
{
	if (dev_cap(KVM_CAP_TSC_CONTROL) <= 0)
		test_skip("the CPU does not scale its TSC");
	scaled(1, 2);
	scaled(3, 1);
	scaled(99, 100);
}

/* --- clocks --- */

TEST(vm_clock)
{
	struct vm *vm = vm_new_bare(0);
	struct kvm_clock_data a = {}, b = {}, bad = { .flags = 1u << 20 };

	vm_ioctl(vm, KVM_GET_CLOCK, &a);
	sleep_ms(20);
	vm_ioctl(vm, KVM_GET_CLOCK, &b);
	CHECK(b.clock >= a.clock + 20000000 && b.clock < a.clock + 3000000000ull,
	      "20 ms took %lld ns", (long long)(b.clock - a.clock));
	a.flags = 0;
	a.clock = 1ull << 50;
	vm_ioctl(vm, KVM_SET_CLOCK, &a);
	vm_ioctl(vm, KVM_GET_CLOCK, &b);
	CHECK(b.clock >= 1ull << 50 && b.clock < (1ull << 50) + 3000000000ull, "the clock is %llu",
	      (unsigned long long)b.clock);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_CLOCK, &bad), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_CLOCK, NULL), EFAULT);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_CLOCK, NULL), EFAULT);
}

#define MSR_CLOCK 0x4b564d01

struct time_info {
	uint32_t version, pad;
	uint64_t tsc, system;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

static void clock_guest(uint64_t gpa)
{
	g_wrmsr(MSR_CLOCK, gpa | 1);
	g_sync(1);
}

/* The multiplier and the shift of a guest's kvmclock whose TSC is said to have @khz. */
static uint64_t clock_factor(uint64_t khz)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t gpa = vm_alloc(vm, 1);
	struct time_info *t = vm_ptr(vm, gpa);
	uint64_t factor;

	if (khz)
		CHECK_OK(ioctl(v->fd, KVM_SET_TSC_KHZ, khz));
	vcpu_long_mode(v, clock_guest, gpa);
	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK(t->version && !(t->version & 1), "version %u", t->version);
	CHECK(t->mul != 0, "the clock stands");
	factor = (uint64_t)t->mul << 8 | (uint8_t)t->shift;
	vm_free(vm);
	return factor;
}

/*
 * A rate that is almost the host's is not scaled to (250 ppm are tolerated): the clock has to
 * be made from the TSC that there is.
 */
TEST(clock_of_almost_the_hosts_rate)
{
	uint64_t khz = with_tsc(0, clock_guest, 0) ? tsc_per_ms : 0, factor;

	if (!(dev_cpuid_reg(0x40000001, 0, 'a') >> 3 & 1))
		test_skip("no kvmclock");
	factor = clock_factor(0);
	CHECK_EQ(clock_factor(khz), factor);
	CHECK_EQ(clock_factor(khz + 1), factor);
	CHECK_EQ(clock_factor(khz + khz / 10000), factor);
	CHECK_EQ(clock_factor(khz - khz / 10000), factor);
}

static void stamped_guest(uint64_t gpa)
{
	g_wrmsr(MSR_CLOCK, gpa | 1);
	for (;;)
		g_sync(1);
}

static uint64_t tsc_offset(struct vcpu *v, unsigned int request, uint64_t offset)
{
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					.attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uintptr_t)&offset };

	CHECK_OK(ioctl(v->fd, request, &attr));
	return offset;
}

/* Does every record say that readings of different vCPUs compare; and KVM_GET_CLOCK? */
static void check_stable(struct vm *vm, struct time_info *const t[2], bool stable)
{
	struct kvm_clock_data c;

	/* In-tree KVM notices when the one that was set runs, and tells the other then. */
	for (unsigned int i = 0; i < 4; i++)
		CHECK_EQ(vcpu_run_sync(vm->vcpus[i % 2]), 1);
	for (unsigned int i = 0; i < 2; i++)
		CHECK_EQ(t[i]->flags & 1, stable);
	vm_ioctl(vm, KVM_GET_CLOCK, &c);
	CHECK_EQ(!!(c.flags & KVM_CLOCK_TSC_STABLE), stable);
}

/* A guest reads one vCPU's record on another (the vDSO) if it may: not with different TSCs. */
TEST(clock_of_tscs_apart)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	struct time_info *t[2];
	struct vcpu *v[2];
	uint64_t offset, second, tsc;

	if (!(dev_cpuid_reg(0x40000001, 0, 'a') >> 3 & 1))
		test_skip("no kvmclock");
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t gpa = vm_alloc(vm, 1);

		v[i] = vm_add_guest(vm, i, stamped_guest, gpa);
		t[i] = vm_ptr(vm, gpa);
	}
	CHECK_EQ(vcpu_run_sync(v[0]), 1);
	if (!(t[0]->flags & 1))
		test_skip("the host's TSC is not stable");
	check_stable(vm, t, true);

	second = ioctl(v[0]->fd, KVM_GET_TSC_KHZ, 0) * 1000ull;
	offset = tsc_offset(v[0], KVM_GET_DEVICE_ATTR, 0);
	CHECK_EQ(tsc_offset(v[1], KVM_GET_DEVICE_ATTR, 0), offset);
	tsc_offset(v[1], KVM_SET_DEVICE_ATTR, offset + 10 * second);
	check_stable(vm, t, false);
	for (unsigned int i = 0; i < 2; i++)
		tsc_offset(v[i], KVM_SET_DEVICE_ATTR, offset + 20 * second);
	check_stable(vm, t, true);
	/* As a machine is restored: in step, though each was read a little later... */
	tsc = vcpu_get_msr(v[0], 0x10);
	for (unsigned int i = 0; i < 2; i++)
		CHECK_EQ(vcpu_set_msr(v[i], 0x10, tsc + 100 * second + i * second / 10), 1);
	check_stable(vm, t, true);
	/* ...or much later. */
	for (unsigned int i = 0; i < 2; i++)
		CHECK_EQ(vcpu_set_msr(v[i], 0x10, tsc + (200 + 10 * i) * second), 1);
	check_stable(vm, t, false);
}
