// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of interrupt messages: who is addressed, and what it does to him.
 */
#include "lapic_msg.c"
#include "../test/machine.h"

/* The vCPUs in which @vector is pending, as a mask; forgets it. */
static unsigned int takers(struct mezz_machine *m, u8 vector)
{
	unsigned int i, mask = 0;

	for (i = 0; i < m->vm.nr_vcpus; i++)
		if (test_and_clear_bit(vector, m->v[i].lapic->irr))
			mask |= BIT(i);
	return mask;
}

/* Send vector 0x40 to @dest, and say who got it. */
static unsigned int sent(struct mezz_machine *m, u32 dest, bool logical, bool lowest)
{
	struct mezz_msg msg = {
		.dest = dest, .vector = 0x40, .logical = logical, .assert = true,
		.mode = lowest ? MEZZ_DM_LOWEST : MEZZ_DM_FIXED, .lowest = lowest,
	};

	mezz_msg_deliver(&m->vm, NULL, &msg);
	return takers(m, 0x40);
}

static void set_ldr(struct mezz_machine *m, unsigned int cpu, u8 ldr, u32 dfr)
{
	mezz_machine_write(&m->v[cpu], MEZZ_TEST_APIC(0xe0), dfr);
	mezz_machine_write(&m->v[cpu], MEZZ_TEST_APIC(0xd0), (u32)ldr << 24);
}

static void msg_physical(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 4, MEZZ_CHIP_FULL);
	struct mezz_msg msg = { .dest = 9, .vector = 0x40, .assert = true };

	KUNIT_EXPECT_EQ(test, sent(m, 2, false, false), BIT(2));
	KUNIT_EXPECT_EQ(test, sent(m, 0xff, false, false), 0xfu);
	KUNIT_EXPECT_EQ(test, sent(m, 0xff, false, true), 0xfu);
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &msg), -1);
	msg.dest = 300;
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &msg), -1);
	msg.dest = MEZZ_MAX_VCPU_ID + 1;
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &msg), -1);
	/* addressed, but switched off by software, or altogether */
	msg.dest = 1;
	mezz_machine_write(&m->v[1], MEZZ_TEST_APIC(0xf0), 0xff);
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &msg), 0);
	mezz_lapic_set_base(&m->v[1], 0xfee00000, true);
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &msg), -1);
}

static void msg_flat(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 4, MEZZ_CHIP_FULL);
	unsigned int i;

	for (i = 0; i < 4; i++)
		set_ldr(m, i, BIT(i), ~0u);
	KUNIT_EXPECT_EQ(test, m->vm.irq->map.l.logical, MEZZ_LOGICAL_FLAT);
	KUNIT_EXPECT_EQ(test, sent(m, 0x0a, true, false), 0xau);
	KUNIT_EXPECT_EQ(test, sent(m, 0xf0, true, false), 0u);
	KUNIT_EXPECT_EQ(test, sent(m, 0xff, true, false), 0xfu);
	/* two with one ID: every LAPIC is asked */
	set_ldr(m, 3, 2, ~0u);
	KUNIT_EXPECT_EQ(test, m->vm.irq->map.l.logical, MEZZ_LOGICAL_SLOW);
	KUNIT_EXPECT_EQ(test, sent(m, 2, true, false), 0xau);
	/* several bits in one LDR */
	set_ldr(m, 3, 0x30, ~0u);
	KUNIT_EXPECT_EQ(test, sent(m, 0x20, true, false), 8u);
}

static void msg_cluster(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 4, MEZZ_CHIP_FULL);
	unsigned int i;

	for (i = 0; i < 4; i++)
		set_ldr(m, i, (i / 2) << 4 | BIT(i % 2), 0);
	KUNIT_EXPECT_EQ(test, m->vm.irq->map.l.logical, MEZZ_LOGICAL_CLUSTER);
	KUNIT_EXPECT_EQ(test, sent(m, 0x03, true, false), 3u);
	KUNIT_EXPECT_EQ(test, sent(m, 0x12, true, false), 8u);
	KUNIT_EXPECT_EQ(test, sent(m, 0x23, true, false), 0u);
	/* one of them flat: both models at once */
	set_ldr(m, 0, 0x10, ~0u);
	KUNIT_EXPECT_EQ(test, m->vm.irq->map.l.logical, MEZZ_LOGICAL_SLOW);
	KUNIT_EXPECT_EQ(test, sent(m, 0x11, true, false), 5u);
	KUNIT_EXPECT_EQ(test, sent(m, 0x02, true, false), 2u);
}

static void msg_x2apic(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 4, MEZZ_CHIP_FULL);
	struct mezz_lapic *l = m->v[0].lapic;
	unsigned int i;

	for (i = 0; i < 4; i++)
		KUNIT_ASSERT_EQ(test, mezz_lapic_set_base(&m->v[i], 0xfee00c00, true), 0);
	KUNIT_EXPECT_EQ(test, m->vm.irq->map.l.logical, MEZZ_LOGICAL_X2APIC);
	lapic_write_icr(l, 6ull << 32 | BIT(11) | BIT(14) | 0x40);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 6u);
	lapic_write_icr(l, 0x10001ull << 32 | BIT(11) | BIT(14) | 0x40);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 0u);
	/* 32-bit IDs: 0xff is nobody, 0xffffffff everybody */
	lapic_write_icr(l, 0xffull << 32 | BIT(14) | 0x40);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 0u);
	lapic_write_icr(l, 0xffffffffull << 32 | BIT(14) | 0x40);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 0xfu);
}

static void msg_broadcast(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 4, MEZZ_CHIP_FULL);

	/* Two of either kind; what is all depends on who hears it. */
	KUNIT_ASSERT_EQ(test, mezz_lapic_set_base(&m->v[2], 0xfee00c00, true), 0);
	KUNIT_ASSERT_EQ(test, mezz_lapic_set_base(&m->v[3], 0xfee00c00, true), 0);
	KUNIT_EXPECT_EQ(test, sent(m, 0xff, false, false), 0xfu);
	KUNIT_EXPECT_EQ(test, sent(m, 0xffffffff, false, false), 0xcu);
	lapic_write_icr(m->v[0].lapic, 0xffull << 56 | BIT(14) | 0x40);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 3u);
	lapic_write_icr(m->v[2].lapic, 0xffffffffull << 32 | BIT(14) | 0x40);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 0xcu);
	m->vm.x2apic_strict = true;
	KUNIT_EXPECT_EQ(test, sent(m, 0xff, false, false), 3u);
	/* Logically it is vCPUs 0 to 7 of the first cluster. */
	KUNIT_EXPECT_EQ(test, sent(m, 0xff, true, false), 0xfu);
	KUNIT_EXPECT_EQ(test, sent(m, 0x100ff, true, false), 0u);
}

/* An ID that does not fit into 8 bits, also while its owner is still in xAPIC mode. */
static void msg_wide_id(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 2, MEZZ_CHIP_FULL);
	struct mezz_lapic *l = m->v[1].lapic;

	l->id = 0x123;
	m->v[1].id = 0x123;
	m->vm.irq->map.phys[1] = 0;
	mezz_lapic_published(&m->v[1]);
	KUNIT_EXPECT_EQ(test, sent(m, 0x123, false, false), 2u);
	KUNIT_EXPECT_EQ(test, sent(m, 0x23, false, false), 0u);
	KUNIT_EXPECT_EQ(test, mezz_pv_send_ipi(&m->vm, 8, 0, 0x120, 0x40, true), 1l);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 2u);
	KUNIT_ASSERT_EQ(test, mezz_lapic_set_base(&m->v[0], 0xfee00c00, true), 0);
	KUNIT_ASSERT_EQ(test, mezz_lapic_set_base(&m->v[1], 0xfee00c00, true), 0);
	KUNIT_EXPECT_EQ(test, l->ldr, 0x120008u);
	KUNIT_EXPECT_EQ(test, sent(m, 0x120008, true, false), 2u);
	KUNIT_EXPECT_EQ(test, sent(m, 0x12fff7, true, false), 0u);
}

static void msg_shorthands(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 4, MEZZ_CHIP_FULL);
	struct mezz_lapic *l = m->v[1].lapic;

	lapic_write_icr(l, MEZZ_SH_SELF << 18 | BIT(14) | 0x40);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 2u);
	KUNIT_EXPECT_EQ(test, m->kicks, 0u);
	lapic_write_icr(l, MEZZ_SH_ALL << 18 | BIT(14) | 0x40);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 0xfu);
	lapic_write_icr(l, MEZZ_SH_OTHERS << 18 | BIT(14) | 0x40);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 0xdu);
	KUNIT_EXPECT_EQ(test, m->kicks, 6u);
}

static void msg_lowest(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 4, MEZZ_CHIP_FULL);
	unsigned int i;

	for (i = 0; i < 4; i++)
		set_ldr(m, i, BIT(i), ~0u);
	KUNIT_EXPECT_EQ(test, hweight32(sent(m, 0x0f, true, true)), 1u);
	KUNIT_EXPECT_EQ(test, sent(m, 0x04, true, true), 4u);
	/* not to one that is switched off */
	for (i = 0; i < 3; i++)
		mezz_machine_write(&m->v[i], MEZZ_TEST_APIC(0xf0), 0xff);
	KUNIT_EXPECT_EQ(test, sent(m, 0x0f, true, true), 8u);
}

static void msg_init_sipi(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 2, MEZZ_CHIP_FULL);
	struct mezz_lapic *bsp = m->v[0].lapic;
	struct mezz_vcpu *ap = &m->v[1];

	lapic_write_icr(bsp, 1ull << 56 | MEZZ_DM_SIPI << 8 | 0x12);
	lapic_write_icr(bsp, 1ull << 56 | MEZZ_DM_INIT << 8 | BIT(15) | BIT(14));
	/* the SIPI that came first is forgotten, the de-assertion does nothing */
	lapic_write_icr(bsp, 1ull << 56 | MEZZ_DM_INIT << 8 | BIT(15));
	KUNIT_EXPECT_TRUE(test, mezz_lapic_init_sipi_pending(ap));
	mezz_lapic_accept_events(ap);
	KUNIT_EXPECT_EQ(test, ap->mp.mp_state, KVM_MP_STATE_INIT_RECEIVED);
	lapic_write_icr(bsp, 1ull << 56 | MEZZ_DM_SIPI << 8 | 0x9a);
	mezz_lapic_accept_events(ap);
	KUNIT_EXPECT_EQ(test, ap->mp.mp_state, KVM_MP_STATE_RUNNABLE);
	KUNIT_EXPECT_EQ(test, m->started.selector, 0x9a00);
	KUNIT_EXPECT_EQ(test, m->started.base, 0x9a000ull);
	/* it runs: another SIPI is not for it */
	m->started.selector = 0;
	lapic_write_icr(bsp, 1ull << 56 | MEZZ_DM_SIPI << 8 | 0x44);
	mezz_lapic_accept_events(ap);
	KUNIT_EXPECT_EQ(test, m->started.selector, 0);
}

static void msg_nmi_and_lost(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 2, MEZZ_CHIP_FULL);
	struct mezz_msg msg = { .dest = 1, .vector = 0x40, .assert = true };

	msg.mode = MEZZ_DM_NMI;
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &msg), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->v[1].nmi_queued), 1);
	msg.mode = MEZZ_DM_SMI;
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &msg), 0);
	msg.mode = MEZZ_DM_FIXED;
	msg.level = true;
	msg.assert = false;
	KUNIT_EXPECT_EQ(test, mezz_msg_deliver(&m->vm, NULL, &msg), 0);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 0u);
}

static void msg_pv_ipi(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 8, MEZZ_CHIP_FULL);

	KUNIT_EXPECT_EQ(test, mezz_pv_send_ipi(&m->vm, 0x15, 0, 1, 0x40, true), 3l);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 0x2au);
	/* the second half starts at @min + 64, and nobody is there */
	KUNIT_EXPECT_EQ(test, mezz_pv_send_ipi(&m->vm, 0, ~0ull, 200, 0x40, true), 0l);
	KUNIT_EXPECT_EQ(test, mezz_pv_send_ipi(&m->vm, ~0ull, 0, ~0u, 0x40, true), 0l);
	KUNIT_EXPECT_EQ(test, takers(m, 0x40), 0u);
}

static struct kunit_case msg_cases[] = {
	KUNIT_CASE(msg_physical),
	KUNIT_CASE(msg_flat),
	KUNIT_CASE(msg_cluster),
	KUNIT_CASE(msg_x2apic),
	KUNIT_CASE(msg_broadcast),
	KUNIT_CASE(msg_wide_id),
	KUNIT_CASE(msg_shorthands),
	KUNIT_CASE(msg_lowest),
	KUNIT_CASE(msg_init_sipi),
	KUNIT_CASE(msg_nmi_and_lost),
	KUNIT_CASE(msg_pv_ipi),
	{}
};

static struct kunit_suite msg_suite = {
	.name = "mezz_lapic_msg",
	.exit = mezz_machine_exit,
	.test_cases = msg_cases,
};

kunit_test_suite(msg_suite);
