// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the PIC pair: programmed through its ports, as a guest does.
 */
#include "pic.c"
#include "../test/machine.h"

enum { CMD0 = 0x20, DATA0 = 0x21, CMD1 = 0xa0, DATA1 = 0xa1 };

/* As Linux does: vectors 0x20 and 0x28, all pins open. */
static struct mezz_machine *pic_machine(struct kunit *test, u8 icw4)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];

	mezz_machine_out(v, CMD0, 0x11);
	mezz_machine_out(v, DATA0, 0x20);
	mezz_machine_out(v, DATA0, 4);
	mezz_machine_out(v, DATA0, icw4);
	mezz_machine_out(v, CMD1, 0x11);
	mezz_machine_out(v, DATA1, 0x28);
	mezz_machine_out(v, DATA1, 2);
	mezz_machine_out(v, DATA1, icw4);
	mezz_machine_out(v, DATA0, 0);
	mezz_machine_out(v, DATA1, 0);
	m->acked = 0;
	return m;
}

static void edge(struct mezz_machine *m, unsigned int pin)
{
	mezz_pic_set_irq(&m->vm, pin, MEZZ_SRC_USER, 1);
	mezz_pic_set_irq(&m->vm, pin, MEZZ_SRC_USER, 0);
}

static void pic_initialisation(struct kunit *test)
{
	struct mezz_machine *m = pic_machine(test, 1);
	struct kvm_pic_state s;

	mezz_pic_get(&m->vm, true, &s);
	KUNIT_EXPECT_EQ(test, s.irq_base, 0x28);
	KUNIT_EXPECT_EQ(test, s.init_state, PIC_READY);
	KUNIT_EXPECT_EQ(test, s.imr, 0);
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	/* ICW1 clears what edges left, the mask and the priorities */
	mezz_machine_out(&m->v[0], DATA0, 0xfb);
	edge(m, 3);
	mezz_machine_out(&m->v[0], CMD0, 0xc3);
	mezz_machine_out(&m->v[0], CMD0, 0x11);
	mezz_pic_get(&m->vm, false, &s);
	KUNIT_EXPECT_EQ(test, s.irr, 0);
	KUNIT_EXPECT_EQ(test, s.imr, 0);
	KUNIT_EXPECT_EQ(test, s.priority_add, 0);
}

static void pic_edge(struct kunit *test)
{
	struct mezz_machine *m = pic_machine(test, 1);

	KUNIT_EXPECT_EQ(test, mezz_pic_set_irq(&m->vm, 4, MEZZ_SRC_USER, 1), 1);
	KUNIT_EXPECT_EQ(test, mezz_pic_set_irq(&m->vm, 4, MEZZ_SRC_USER, 1), 1);
	KUNIT_EXPECT_TRUE(test, mezz_pic_output(&m->vm));
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x24);
	/* still up: no second edge */
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	mezz_machine_out(&m->v[0], CMD0, 0x20);
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	mezz_pic_set_irq(&m->vm, 4, MEZZ_SRC_USER, 0);
	edge(m, 4);
	KUNIT_EXPECT_EQ(test, mezz_pic_set_irq(&m->vm, 4, MEZZ_SRC_USER, 1), 0);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x24);
}

static void pic_level(struct kunit *test)
{
	struct mezz_machine *m = pic_machine(test, 1);
	struct mezz_vcpu *v = &m->v[0];

	mezz_machine_out(v, 0x4d0, 0xff);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, 0x4d0), 0xf8);
	mezz_pic_set_irq(&m->vm, 5, MEZZ_SRC_USER, 1);
	mezz_pic_set_irq(&m->vm, 5, MEZZ_SRC_RESAMPLE, 1);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x25);
	mezz_machine_out(v, CMD0, 0x65);
	KUNIT_EXPECT_TRUE(test, mezz_pic_output(&m->vm));
	/* wired-or: both sources have to let go */
	mezz_pic_set_irq(&m->vm, 5, MEZZ_SRC_USER, 0);
	KUNIT_EXPECT_TRUE(test, mezz_pic_output(&m->vm));
	mezz_pic_set_irq(&m->vm, 5, MEZZ_SRC_RESAMPLE, 0);
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	/* it went before it was acknowledged: spurious */
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x27);
}

static void pic_priorities(struct kunit *test)
{
	struct mezz_machine *m = pic_machine(test, 1);
	struct mezz_vcpu *v = &m->v[0];

	edge(m, 6);
	edge(m, 1);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x21);
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	edge(m, 0);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x20);
	/* non-specific EOIs end 0, then 1, then 6 may come */
	mezz_machine_out(v, CMD0, 0x20);
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	mezz_machine_out(v, CMD0, 0x20);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x26);
	/* rotate: 6 becomes the lowest, 7 the highest */
	mezz_machine_out(v, CMD0, 0xa0);
	edge(m, 0);
	edge(m, 7);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x27);
}

static void pic_slave(struct kunit *test)
{
	struct mezz_machine *m = pic_machine(test, 1);
	struct mezz_vcpu *v = &m->v[0];

	edge(m, 12);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x2c);
	mezz_machine_out(v, CMD0, 0x0b);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, CMD0), 4);
	mezz_machine_out(v, CMD1, 0x0b);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, CMD1), 0x10);
	/* higher in the slave, but the master's cascade is in service */
	edge(m, 8);
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	mezz_machine_out(v, CMD0, 0x62);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x28);
	mezz_machine_out(v, CMD1, 0x20);
	KUNIT_EXPECT_EQ(test, m->acked, BIT(8) | BIT(2));
}

static void pic_special_modes(struct kunit *test)
{
	struct mezz_machine *m = pic_machine(test, 0x11);
	struct mezz_vcpu *v = &m->v[0];

	/* special fully nested: a higher one of the slave interrupts it */
	edge(m, 12);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x2c);
	edge(m, 8);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x28);
	/* special mask: what is masked does not block lower ones */
	edge(m, 1);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x21);
	mezz_machine_out(v, DATA0, 2);
	edge(m, 5);
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	mezz_machine_out(v, CMD0, 0x68);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x25);
}

static void pic_auto_eoi(struct kunit *test)
{
	struct mezz_machine *m = pic_machine(test, 3);
	struct mezz_vcpu *v = &m->v[0];

	edge(m, 3);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x23);
	KUNIT_EXPECT_EQ(test, m->acked, BIT(3));
	mezz_machine_out(v, CMD0, 0x0b);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, CMD0), 0);
	/* rotating, the one that was served comes last */
	mezz_machine_out(v, CMD0, 0x80);
	edge(m, 3);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x23);
	edge(m, 3);
	edge(m, 5);
	KUNIT_EXPECT_EQ(test, mezz_pic_ack(&m->vm), 0x25);
}

static void pic_mask_and_poll(struct kunit *test)
{
	struct mezz_machine *m = pic_machine(test, 1);
	struct mezz_vcpu *v = &m->v[0];

	mezz_machine_out(v, DATA0, 0x40);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, DATA0), 0x40);
	KUNIT_EXPECT_EQ(test, mezz_pic_set_irq(&m->vm, 6, MEZZ_SRC_USER, 1), -1);
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	mezz_machine_out(v, CMD0, 0x0a);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, CMD0), 0x40);
	mezz_machine_out(v, DATA0, 0);
	KUNIT_EXPECT_TRUE(test, mezz_pic_output(&m->vm));
	mezz_machine_out(v, CMD0, 0x0c);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, CMD0), 0x86);
	KUNIT_EXPECT_FALSE(test, mezz_pic_output(&m->vm));
	mezz_machine_out(v, CMD0, 0x0c);
	KUNIT_EXPECT_EQ(test, mezz_machine_in(v, CMD0), 0);
}

static void pic_raises_lint0(struct kunit *test)
{
	struct mezz_machine *m = pic_machine(test, 1);

	m->v[0].requests = 0;
	edge(m, 1);
	KUNIT_EXPECT_TRUE(test, m->v[0].requests & BIT(MEZZ_REQ_EVENT));
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(&m->v[0]), 0);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(&m->v[0]), 0x21);
	/* LINT0 masked: nobody hears of it */
	mezz_machine_write(&m->v[0], MEZZ_TEST_APIC(0x350), LVT_MASKED | 0x700);
	mezz_machine_out(&m->v[0], CMD0, 0x20);
	m->v[0].requests = 0;
	edge(m, 1);
	KUNIT_EXPECT_EQ(test, m->v[0].requests, 0);
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(&m->v[0]), -1);
}

static struct kunit_case pic_cases[] = {
	KUNIT_CASE(pic_initialisation),
	KUNIT_CASE(pic_edge),
	KUNIT_CASE(pic_level),
	KUNIT_CASE(pic_priorities),
	KUNIT_CASE(pic_slave),
	KUNIT_CASE(pic_special_modes),
	KUNIT_CASE(pic_auto_eoi),
	KUNIT_CASE(pic_mask_and_poll),
	KUNIT_CASE(pic_raises_lint0),
	{}
};

static struct kunit_suite pic_suite = {
	.name = "mezz_pic",
	.exit = mezz_machine_exit,
	.test_cases = pic_cases,
};

kunit_test_suite(pic_suite);
