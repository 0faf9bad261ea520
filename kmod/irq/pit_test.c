// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the 8254. It runs on the host's clock; to be exact, a test puts
 * the time at which a counter was loaded into the past.
 */
#include <linux/delay.h>
#include "pit.c"
#include "../test/machine.h"

static struct mezz_machine *pit_machine(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);

	KUNIT_ASSERT_EQ(test, pit_create(&m->vm, KVM_PIT_SPEAKER_DUMMY), 0);
	return m;
}

static void program(struct mezz_machine *m, unsigned int n, unsigned int mode, u16 count)
{
	mezz_machine_out(&m->v[0], PORT_CONTROL, n << 6 | RW_WORD_LOW << 4 | mode << 1);
	mezz_machine_out(&m->v[0], PORT_COUNTER + n, count);
	mezz_machine_out(&m->v[0], PORT_COUNTER + n, count >> 8);
}

/* When age() was called last. */
static ktime_t aged;

/* Let counter @n have been loaded so many ticks ago, and half of one. */
static void age(struct mezz_machine *m, unsigned int n, u64 ticks)
{
	aged = ktime_get();
	m->vm.irq->pit->ch[n].count_load_time =
		ktime_to_ns(aged) - mul_u64_u32_div(2 * ticks + 1, NSEC_PER_SEC / 2,
						    PIT_TICK_RATE);
}

/*
 * Is @val @want, or less by what passed since age()? @by counts a tick. After so
 * long a pause that the counter may have come around, nothing can be said.
 */
static bool near(u32 val, u32 want, u32 by)
{
	u64 passed = mul_u64_u32_div(ktime_to_ns(ktime_get() - aged), PIT_TICK_RATE,
				     NSEC_PER_SEC);

	passed = by * (passed + 1);
	return passed >= want || (val <= want && want - val <= passed);
}

static void pit_modes_count(struct kunit *test)
{
	struct mezz_machine *m = pit_machine(test);
	struct mezz_pit *pit = m->vm.irq->pit;

	program(m, 1, 2, 50000);
	age(m, 1, 10000);
	KUNIT_EXPECT_TRUE(test, near(pit_count(pit, 1), 40000, 1));
	age(m, 1, 50000 + 10000);
	KUNIT_EXPECT_TRUE(test, near(pit_count(pit, 1), 40000, 1));
	/* mode 3 counts by two, twice in a period */
	program(m, 1, 3, 50000);
	age(m, 1, 10000);
	KUNIT_EXPECT_TRUE(test, near(pit_count(pit, 1), 30000, 2));
	KUNIT_EXPECT_EQ(test, pit_count(pit, 1) & 1, 0);
	KUNIT_EXPECT_TRUE(test, pit_out(pit, 1));
	age(m, 1, 30000);
	KUNIT_EXPECT_FALSE(test, pit_out(pit, 1));
	KUNIT_EXPECT_TRUE(test, near(pit_count(pit, 1), 40000, 2));
	/* mode 0 goes on below zero, and its output goes up there */
	program(m, 1, 0, 20000);
	KUNIT_EXPECT_FALSE(test, pit_out(pit, 1));
	age(m, 1, 20000 + 10000);
	KUNIT_EXPECT_TRUE(test, near(pit_count(pit, 1), 0x10000 - 10000, 1));
	KUNIT_EXPECT_TRUE(test, pit_out(pit, 1));
}

static void pit_bcd(struct kunit *test)
{
	struct mezz_machine *m = pit_machine(test);
	struct mezz_pit *pit = m->vm.irq->pit;

	mezz_machine_out(&m->v[0], PORT_CONTROL, 1 << 6 | RW_WORD_LOW << 4 | 2 << 1 | 1);
	mezz_machine_out(&m->v[0], PORT_COUNTER + 1, 0x34);
	mezz_machine_out(&m->v[0], PORT_COUNTER + 1, 0x12);
	KUNIT_EXPECT_EQ(test, pit->ch[1].count, 1234u);
	mezz_machine_out(&m->v[0], PORT_COUNTER + 1, 0);
	mezz_machine_out(&m->v[0], PORT_COUNTER + 1, 0);
	KUNIT_EXPECT_EQ(test, pit->ch[1].count, 10000u);
	pit->ch[1].count_load_time = ktime_to_ns(ktime_get()) + NSEC_PER_SEC;
	KUNIT_EXPECT_EQ(test, pit_count(pit, 1), 0);
	pit->ch[1].count = 1234;
	KUNIT_EXPECT_EQ(test, pit_count(pit, 1), 0x1234);
}

static void pit_byte_order(struct kunit *test)
{
	struct mezz_machine *m = pit_machine(test);
	struct mezz_pit *pit = m->vm.irq->pit;
	struct mezz_vcpu *v = &m->v[0];

	mezz_machine_out(v, PORT_CONTROL, 1 << 6 | RW_MSB << 4 | 2 << 1);
	mezz_machine_out(v, PORT_COUNTER + 1, 0x12);
	KUNIT_EXPECT_EQ(test, pit->ch[1].count, 0x1200u);
	mezz_machine_out(v, PORT_CONTROL, 1 << 6 | RW_LSB << 4 | 2 << 1);
	mezz_machine_out(v, PORT_COUNTER + 1, 0x34);
	KUNIT_EXPECT_EQ(test, pit->ch[1].count, 0x34u);
	program(m, 1, 2, 0);
	KUNIT_EXPECT_EQ(test, pit->ch[1].count, 0x10000u);
}

static void pit_latch(struct kunit *test)
{
	struct mezz_machine *m = pit_machine(test);
	struct mezz_pit *pit = m->vm.irq->pit;
	struct mezz_vcpu *v = &m->v[0];
	u16 first, again;

	program(m, 1, 2, 60000);
	mezz_machine_out(v, PORT_CONTROL, 1 << 6);
	first = pit->ch[1].latched_count;
	usleep_range(100, 1000);
	/* latched once, until it is read */
	mezz_machine_out(v, PORT_CONTROL, 1 << 6);
	again = mezz_machine_in(v, PORT_COUNTER + 1);
	again |= mezz_machine_in(v, PORT_COUNTER + 1) << 8;
	KUNIT_EXPECT_EQ(test, again, first);
	mezz_machine_out(v, PORT_CONTROL, 1 << 6);
	KUNIT_EXPECT_NE(test, pit->ch[1].latched_count, first);
}

static void pit_read_back_status(struct kunit *test)
{
	struct mezz_machine *m = pit_machine(test);
	struct mezz_vcpu *v = &m->v[0];

	program(m, 1, 4, 60000);
	/* status of counter 1, then the count that was latched with it */
	mezz_machine_out(v, PORT_CONTROL, 0xc0 | 2 << 1);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, PORT_COUNTER + 1), 0x80 | 0x30 | 4 << 1);
	KUNIT_EXPECT_EQ(test, m->vm.irq->pit->ch[1].count_latched, RW_WORD_LOW);
	/* the control port is write-only */
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, PORT_CONTROL), 0);
	/* modes 6 and 7 are 2 and 3 */
	program(m, 1, 7, 100);
	KUNIT_EXPECT_EQ(test, m->vm.irq->pit->ch[1].mode, 3);
}

static void pit_gate(struct kunit *test)
{
	struct mezz_machine *m = pit_machine(test);
	struct mezz_pit *pit = m->vm.irq->pit;
	struct mezz_vcpu *v = &m->v[0];
	u16 held;

	mezz_machine_out(v, PORT_SPEAKER, SPEAKER_GATE | SPEAKER_DATA);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, PORT_SPEAKER) & 3, 3);
	program(m, 2, 0, 60000);
	age(m, 2, 1000);
	mezz_machine_out(v, PORT_SPEAKER, 0);
	held = pit_count(pit, 2);
	usleep_range(100, 1000);
	KUNIT_EXPECT_EQ(test, pit_count(pit, 2), held);
	KUNIT_EXPECT_FALSE(test, mezz_machine_in(v, PORT_SPEAKER) & SPEAKER_OUT);
	mezz_machine_out(v, PORT_SPEAKER, SPEAKER_GATE);
	KUNIT_EXPECT_TRUE(test, near(pit_count(pit, 2), held, 1));
	age(m, 2, 60001);
	KUNIT_EXPECT_TRUE(test, mezz_machine_in(v, PORT_SPEAKER) & SPEAKER_OUT);
}

static void pit_interrupts(struct kunit *test)
{
	struct mezz_machine *m = pit_machine(test);
	struct kvm_pic_state s;

	/* 55 ms, once; a pause of the box that is as long says nothing */
	do {
		program(m, 0, 0, 0);
		aged = ktime_get();
		mezz_pic_get(&m->vm, false, &s);
	} while (ktime_get() - aged > 50 * NSEC_PER_MSEC);
	KUNIT_EXPECT_EQ(test, s.irr & 1, 0);
	program(m, 0, 0, 1193);		/* 1 ms */
	msleep(20);
	mezz_pic_get(&m->vm, false, &s);
	KUNIT_EXPECT_EQ(test, s.irr & 1, 1);
	KUNIT_EXPECT_EQ(test, m->vm.irq->pit->period, 0ull);
	/* too fast for the host: stretched */
	program(m, 0, 2, 10);
	KUNIT_EXPECT_EQ(test, m->vm.irq->pit->period, (u64)MEZZ_MIN_PERIOD_NS);
}

static void pit_reinjects(struct kunit *test)
{
	struct mezz_machine *m = pit_machine(test);
	struct mezz_pit *pit = m->vm.irq->pit;

	KUNIT_EXPECT_TRUE(test, pit_count_ticks(pit, 1));
	KUNIT_EXPECT_FALSE(test, pit_count_ticks(pit, 2));
	KUNIT_EXPECT_EQ(test, pit->pending, 3u);
	mezz_pit_acked(&m->vm);
	KUNIT_EXPECT_EQ(test, pit->pending, 2u);
	KUNIT_EXPECT_FALSE(test, pit->acked);
	mezz_pit_acked(&m->vm);
	mezz_pit_acked(&m->vm);
	KUNIT_EXPECT_EQ(test, pit->pending, 0u);
	KUNIT_EXPECT_TRUE(test, pit->acked);
	/* unmasking forgets what is owed; more than 32 bits saturate */
	pit_count_ticks(pit, ~0ull >> 1);
	KUNIT_EXPECT_EQ(test, pit->pending, U32_MAX);
	mezz_pit_unmasked(&m->vm);
	KUNIT_EXPECT_EQ(test, pit->pending, 0u);
	pit->reinject = false;
	KUNIT_EXPECT_TRUE(test, pit_count_ticks(pit, 1) && pit_count_ticks(pit, 1));
	KUNIT_EXPECT_FALSE(test, mezz_pit_wants_ack(&m->vm));
}

static void pit_refuses(struct kunit *test)
{
	struct mezz_machine *m = pit_machine(test);
	struct kvm_pit_channel_state c = { .mode = 9, .bcd = 3, .gate = 5, .count = 20000 };

	KUNIT_EXPECT_EQ(test, pit_create(&m->vm, 0), -EEXIST);
	pit_sanitize(&c);
	KUNIT_EXPECT_EQ(test, c.mode, MODE_UNSET);
	KUNIT_EXPECT_EQ(test, c.bcd, 1);
	KUNIT_EXPECT_EQ(test, c.gate, 1);
	KUNIT_EXPECT_EQ(test, c.count, 10000u);
	c.count = 0;
	c.bcd = 0;
	pit_sanitize(&c);
	KUNIT_EXPECT_EQ(test, c.count, 0x10000u);
}

static struct kunit_case pit_cases[] = {
	KUNIT_CASE(pit_modes_count),
	KUNIT_CASE(pit_bcd),
	KUNIT_CASE(pit_byte_order),
	KUNIT_CASE(pit_latch),
	KUNIT_CASE(pit_read_back_status),
	KUNIT_CASE(pit_gate),
	KUNIT_CASE(pit_interrupts),
	KUNIT_CASE(pit_reinjects),
	KUNIT_CASE(pit_refuses),
	{}
};

static struct kunit_suite pit_suite = {
	.name = "mezz_pit",
	.exit = mezz_machine_exit,
	.test_cases = pit_cases,
};

kunit_test_suite(pit_suite);
