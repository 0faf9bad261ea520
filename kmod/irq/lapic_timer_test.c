// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the LAPIC's timer. It runs on the host's clock, so what is
 * compared is bounded by times that the test itself has read.
 */
#include <linux/delay.h>
#include <asm/msr-index.h>
#include "lapic_timer.c"
#include "../test/machine.h"

#define LVTT	MEZZ_TEST_APIC(0x320)
#define TMICT	MEZZ_TEST_APIC(0x380)
#define TMCCT	MEZZ_TEST_APIC(0x390)
#define TDCR	MEZZ_TEST_APIC(0x3e0)

static void timer_divide(struct kunit *test)
{
	static const u8 by[8] = { 2, 4, 8, 16, 32, 64, 128, 1 };
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	unsigned int i;

	for (i = 0; i < 8; i++) {
		mezz_machine_write(&m->v[0], TDCR, (i & 3) | (i & 4) << 1);
		KUNIT_EXPECT_EQ(test, m->v[0].lapic->divide, by[i]);
	}
}

static void timer_counts_down(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];
	u32 start = 4000000000u, count;
	ktime_t before, after;

	mezz_machine_write(v, LVTT, 0x40);
	mezz_machine_write(v, TDCR, 1);
	before = ktime_get();
	mezz_machine_write(v, TMICT, start);
	usleep_range(200, 1000);
	count = mezz_machine_read(v, TMCCT);
	after = ktime_get();
	KUNIT_EXPECT_LE(test, count, start - 200000 / 4);
	KUNIT_EXPECT_GE(test, (u64)count, start - ktime_to_ns(after - before) / 4 - 1);
	/* another divider goes on from the same count */
	mezz_machine_write(v, TDCR, 0xa);
	KUNIT_EXPECT_LE(test, mezz_machine_read(v, TMCCT), count);
	KUNIT_EXPECT_GT(test, mezz_machine_read(v, TMCCT), count - start / 2);
	mezz_machine_write(v, TMICT, 0);
	KUNIT_EXPECT_EQ(test, mezz_machine_read(v, TMCCT), 0u);
	KUNIT_EXPECT_FALSE(test, hrtimer_active(&v->lapic->timer));
}

static void timer_one_shot(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];

	mezz_machine_write(v, LVTT, 0x40);
	/* divided by 2: 8 s, which no slow box takes for the next line; then 1 ms */
	mezz_machine_write(v, TMICT, 4000000000u);
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), -1);
	mezz_machine_write(v, TMICT, 500000);
	msleep(20);
	KUNIT_EXPECT_TRUE(test, v->requests & BIT(MEZZ_REQ_EVENT));
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), 0x40);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x40);
	mezz_lapic_eoi(v);
	msleep(20);
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), -1);
}

static void timer_periodic(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];
	unsigned int i;

	mezz_machine_write(v, LVTT, 0x40 | LVT_TIMER_PERIODIC);
	mezz_machine_write(v, TMICT, 500000);
	for (i = 0; i < 3; i++) {
		msleep(20);
		KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), 0x40);
		KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x40);
		mezz_lapic_eoi(v);
	}
	/* faster than the host is willing: stretched, and the count still right */
	mezz_machine_write(v, TMICT, 100);
	KUNIT_EXPECT_EQ(test, v->lapic->period, (u64)MEZZ_MIN_PERIOD_NS);
	KUNIT_EXPECT_LE(test, mezz_machine_read(v, TMCCT), 100u);
}

static void timer_masked(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];

	mezz_machine_write(v, LVTT, 0x40 | LVT_MASKED);
	mezz_machine_write(v, TMICT, 1000);
	msleep(20);
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), -1);
	KUNIT_EXPECT_EQ(test, mezz_machine_read(v, TMCCT), 0u);
	mezz_machine_write(v, LVTT, 0x40);
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), -1);
}

static void timer_deadline(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];

	/* not in this mode */
	mezz_lapic_wrmsr(v, MSR_IA32_TSC_DEADLINE, rdtsc());
	KUNIT_EXPECT_EQ(test, mezz_lapic_get_tscdeadline(v), 0ull);
	mezz_machine_write(v, TMICT, 4000000000u);
	mezz_machine_write(v, LVTT, 0x40 | LVT_TIMER_DEADLINE);
	KUNIT_EXPECT_EQ(test, v->lapic->tmict, 0u);
	KUNIT_EXPECT_FALSE(test, hrtimer_active(&v->lapic->timer));
	mezz_machine_write(v, TMICT, 1000);
	KUNIT_EXPECT_EQ(test, v->lapic->tmict, 0u);
	/* passed already */
	mezz_lapic_wrmsr(v, MSR_IA32_TSC_DEADLINE, rdtsc());
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), 0x40);
	KUNIT_EXPECT_EQ(test, mezz_lapic_get_tscdeadline(v), 0ull);
	mezz_irq_ack(v);
	mezz_lapic_eoi(v);
	/* far away, then disarmed */
	mezz_lapic_wrmsr(v, MSR_IA32_TSC_DEADLINE, ~0ull >> 1);
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), -1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_get_tscdeadline(v), ~0ull >> 1);
	KUNIT_EXPECT_TRUE(test, hrtimer_active(&v->lapic->timer));
	mezz_lapic_wrmsr(v, MSR_IA32_TSC_DEADLINE, 0);
	KUNIT_EXPECT_FALSE(test, hrtimer_active(&v->lapic->timer));
	/* a change of mode disarms */
	mezz_lapic_wrmsr(v, MSR_IA32_TSC_DEADLINE, ~0ull >> 1);
	mezz_machine_write(v, LVTT, 0x40);
	KUNIT_EXPECT_FALSE(test, hrtimer_active(&v->lapic->timer));
	KUNIT_EXPECT_EQ(test, v->lapic->deadline, 0ull);
}

static void timer_ticks(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_lapic *l = m->v[0].lapic;

	/* rounded up, and never wrapped; the guest's TSC is scaled */
	m->v[0].tsc_ratio = 1;
	m->v[0].tsc_khz = 3000000;
	KUNIT_EXPECT_GE(test, ticks_to_ns(l, 3000), 1000ull);
	KUNIT_EXPECT_LE(test, ticks_to_ns(l, 3000), 1003ull);
	KUNIT_EXPECT_GT(test, ticks_to_ns(l, ~0ull), NSEC_PER_SEC);
	m->v[0].tsc_khz = 1000;
	KUNIT_EXPECT_GE(test, ticks_to_ns(l, 5), 5000ull);
	KUNIT_EXPECT_LE(test, ticks_to_ns(l, 5), 5010ull);
}

static struct kunit_case timer_cases[] = {
	KUNIT_CASE(timer_divide),
	KUNIT_CASE(timer_counts_down),
	KUNIT_CASE(timer_one_shot),
	KUNIT_CASE(timer_periodic),
	KUNIT_CASE(timer_masked),
	KUNIT_CASE(timer_deadline),
	KUNIT_CASE(timer_ticks),
	{}
};

static struct kunit_suite timer_suite = {
	.name = "mezz_lapic_timer",
	.exit = mezz_machine_exit,
	.test_cases = timer_cases,
};

kunit_test_suite(timer_suite);
