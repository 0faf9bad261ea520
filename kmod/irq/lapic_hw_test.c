// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of a LAPIC in hardware: what is loaded, what comes back, and what is
 * asked of the engine. The tests do to the page what hardware would.
 */
#include "lapic_hw.c"
#include "../test/machine.h"

/* vCPU 0 in x2APIC mode, in a section, with such hardware. */
static struct mezz_machine *hw_machine(struct kunit *test, enum mezz_irqchip_mode mode)
{
	struct mezz_machine *m = mezz_machine_new(test, 2, mode);
	struct mezz_vcpu *v = &m->v[0];

	v->vapic = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, v->vapic);
	KUNIT_ASSERT_EQ(test, mezz_lapic_set_base(v, 0xfee00d00, false), 0);
	v->atomic = true;
	v->requests = 0;
	return m;
}

static u64 rd(struct mezz_vcpu *v, u32 msr)
{
	u64 val = ~0ull;

	mezz_lapic_rdmsr(v, msr, &val);
	return val;
}

static void hw_only_x2apic(struct kunit *test)
{
	struct mezz_machine *m = hw_machine(test, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];

	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_TRUE(test, m->hw.on);
	/* off by software, and by hardware */
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x80f, 0xff), 0);
	KUNIT_EXPECT_FALSE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_FALSE(test, m->hw.on);
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x80f, 0x1ff), 0);
	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00100, false), 0);
	KUNIT_EXPECT_FALSE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00900, false), 0);
	KUNIT_EXPECT_FALSE(test, mezz_lapic_load(v));
	/* in software */
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00d00, false), 0);
	v->atomic = false;
	KUNIT_EXPECT_FALSE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_FALSE(test, v->lapic->loaded);
}

static void hw_round_trip(struct kunit *test)
{
	struct mezz_machine *m = hw_machine(test, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];
	struct mezz_lapic *l = v->lapic;

	lapic_accept(l, 0x81, false, true);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x81);
	lapic_accept(l, 0x45, false, true);
	lapic_accept(l, 0x93, false, true);
	mezz_lapic_wrmsr(v, 0x808, 0x32);
	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_EQ(test, m->hw.irr, 0x93);
	KUNIT_EXPECT_EQ(test, m->hw.isr, 0x81);
	KUNIT_EXPECT_EQ(test, v->vapic[0x80 / 4], 0x32u);
	KUNIT_EXPECT_EQ(test, v->vapic[0x140 / 4], (u32)BIT(1));
	KUNIT_EXPECT_EQ(test, v->vapic[0x220 / 4], (u32)BIT(5));
	KUNIT_EXPECT_EQ(test, v->vapic[0x240 / 4], (u32)BIT(0x13));
	KUNIT_EXPECT_EQ(test, lapic_highest(l->irr), -1);
	/* all of it is the hardware's now: nothing to inject, but 0x93 wakes */
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), -1);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), -1);
	KUNIT_EXPECT_TRUE(test, mezz_lapic_wakes(v));
	KUNIT_EXPECT_EQ(test, mezz_lapic_get_cr8(v), 3u);
	/* it delivers 0x93, and the guest writes TPR */
	v->vapic[0x240 / 4] = 0;
	v->vapic[0x140 / 4] |= BIT(0x13);
	v->vapic[0x80 / 4] = 0x57;
	KUNIT_EXPECT_FALSE(test, mezz_lapic_wakes(v));
	KUNIT_EXPECT_EQ(test, mezz_lapic_get_cr8(v), 5u);
	KUNIT_EXPECT_TRUE(test, l->loaded);
	/* somebody looks: it comes back, and whoever sent meanwhile is not lost */
	lapic_accept(l, 0x46, false, true);
	v->requests = 0;
	KUNIT_EXPECT_EQ(test, rd(v, 0x814), (u64)(BIT(1) | BIT(0x13)));
	KUNIT_EXPECT_EQ(test, v->requests, BIT(MEZZ_REQ_EVENT));
	KUNIT_EXPECT_EQ(test, rd(v, 0x822), (u64)(BIT(5) | BIT(6)));
	KUNIT_EXPECT_EQ(test, rd(v, 0x808), 0x57ull);
	KUNIT_EXPECT_EQ(test, rd(v, 0x80a), 0x90ull);
	KUNIT_EXPECT_EQ(test, v->vapic[0x220 / 4], 0u);
	mezz_lapic_eoi(v);
	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_EQ(test, m->hw.isr, 0x81);
	KUNIT_EXPECT_EQ(test, m->hw.irr, 0x46);
	KUNIT_EXPECT_EQ(test, v->vapic[0x220 / 4], (u32)(BIT(5) | BIT(6)));
}

static void hw_new_ones(struct kunit *test)
{
	struct mezz_machine *m = hw_machine(test, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];
	struct mezz_msg msg = { .vector = 0x52, .mode = MEZZ_DM_FIXED };
	unsigned int vector;

	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	for (vector = 16; vector < 256; vector++) {
		lapic_accept(v->lapic, vector, false, true);
		KUNIT_EXPECT_TRUE(test, mezz_lapic_wakes(v));
		KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
		KUNIT_EXPECT_EQ(test, m->hw.irr, vector);
		KUNIT_EXPECT_TRUE(test, v->vapic[0x80 + vector / 32 * 4] & BIT(vector % 32));
	}
	KUNIT_EXPECT_EQ(test, m->hw.loads, 1u);
	/* a device asks whether its last one is still pending */
	KUNIT_EXPECT_TRUE(test, mezz_msg_pending(&m->vm, &msg));
	v->vapic[0x220 / 4] &= ~BIT(0x12);
	KUNIT_EXPECT_FALSE(test, mezz_msg_pending(&m->vm, &msg));
	/* INIT forgets all */
	mezz_lapic_reset(v, true);
	KUNIT_EXPECT_EQ(test, rd(v, 0x827), 0ull);
	KUNIT_EXPECT_FALSE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_EQ(test, lapic_highest(v->lapic->irr), -1);
}

static void hw_eoi_exits(struct kunit *test)
{
	struct mezz_machine *m = hw_machine(test, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];
	struct mezz_msg level = { .vector = 0x66, .level = true, .assert = true };

	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &level), 1);
	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_TRUE(test, test_bit(0x66, m->hw.eoi_exits));
	KUNIT_EXPECT_EQ(test, bitmap_weight(m->hw.eoi_exits, 256), 1);
	/* as an edge, nobody cares */
	level.level = false;
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &level), 1);
	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_TRUE(test, bitmap_empty(m->hw.eoi_exits, 256));
	/* until an edge's pin has somebody who listens: all vCPUs hear of it */
	mezz_machine_write(v, 0xfec00000, 0x10 + 2 * 5);
	mezz_machine_write(v, 0xfec00010, 0x77);
	m->v[1].requests = 0;
	v->requests = 0;
	m->resampled = BIT(5);
	mezz_ioapic_rescan(&m->vm);
	KUNIT_EXPECT_EQ(test, m->v[1].requests, BIT(MEZZ_REQ_EVENT));
	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_TRUE(test, test_bit(0x77, m->hw.eoi_exits));
	mezz_lapic_eoi_exit(v, 0x77);
	KUNIT_EXPECT_EQ(test, m->acked, BIT(5));
	v->requests = 0;
	mezz_ioapic_rescan(&m->vm);
	KUNIT_EXPECT_EQ(test, v->requests, 0ul);
}

static void hw_split_eoi(struct kunit *test)
{
	struct mezz_machine *m = hw_machine(test, MEZZ_CHIP_SPLIT);
	struct mezz_vcpu *v = &m->v[0];

	lapic_accept(v->lapic, 0x55, true, true);
	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_TRUE(test, test_bit(0x55, m->hw.eoi_exits));
	v->requests = 0;
	mezz_lapic_eoi_exit(v, 0x55);
	KUNIT_EXPECT_EQ(test, v->requests, BIT(MEZZ_REQ_IOAPIC_EOI));
	KUNIT_EXPECT_EQ(test, v->ioapic_eoi, 0x55);
	KUNIT_EXPECT_TRUE(test, v->lapic->loaded);
}

static void hw_illegal_ipi(struct kunit *test)
{
	struct mezz_machine *m = hw_machine(test, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];

	mezz_lapic_wrmsr(v, 0x837, 0x33);
	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	mezz_lapic_illegal_ipi(v);
	KUNIT_EXPECT_TRUE(test, mezz_lapic_load(v));
	KUNIT_EXPECT_EQ(test, m->hw.irr, 0x33);
	mezz_lapic_wrmsr(v, 0x828, 0);
	KUNIT_EXPECT_EQ(test, rd(v, 0x828), (u64)ESR_SEND_ILLEGAL);
}

static struct kunit_case hw_cases[] = {
	KUNIT_CASE(hw_only_x2apic),
	KUNIT_CASE(hw_round_trip),
	KUNIT_CASE(hw_new_ones),
	KUNIT_CASE(hw_eoi_exits),
	KUNIT_CASE(hw_split_eoi),
	KUNIT_CASE(hw_illegal_ipi),
	{}
};

static struct kunit_suite hw_suite = {
	.name = "mezz_lapic_hw",
	.exit = mezz_machine_exit,
	.test_cases = hw_cases,
};

kunit_test_suite(hw_suite);
