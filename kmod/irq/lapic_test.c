// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the local APIC's registers, priorities and modes.
 */
#include "lapic.c"
#include "../test/machine.h"

static u32 rd(struct mezz_machine *m, u32 offset)
{
	return mezz_machine_read(&m->v[0], MEZZ_TEST_APIC(offset));
}

static void wr(struct mezz_machine *m, u32 offset, u32 val)
{
	mezz_machine_write(&m->v[0], MEZZ_TEST_APIC(offset), val);
}

static void lapic_power_on(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 2, MEZZ_CHIP_FULL);
	unsigned int i;

	mezz_lapic_reset(&m->v[1], false);
	KUNIT_EXPECT_EQ(test, m->v[0].apic_base, 0xfee00900ull);
	KUNIT_EXPECT_EQ(test, m->v[1].apic_base, 0xfee00800ull);
	KUNIT_EXPECT_EQ(test, rd(m, 0x30), 0x50014u);
	KUNIT_EXPECT_EQ(test, rd(m, 0xe0), ~0u);
	KUNIT_EXPECT_EQ(test, rd(m, 0xd0), 0u);
	KUNIT_EXPECT_EQ(test, rd(m, 0x350), 0x700u);
	for (i = 0; i < NR_LVT; i++)
		KUNIT_EXPECT_EQ(test, m->v[1].lapic->lvt[i], (u32)LVT_MASKED);
	KUNIT_EXPECT_EQ(test, m->v[1].lapic->svr, 0xffu);
	KUNIT_EXPECT_FALSE(test, lapic_accept(m->v[1].lapic, 0x40, false, true));
}

static void lapic_register_masks(struct kunit *test)
{
	static const struct { u32 offset, mask; } reg[] = {
		{ 0x80, 0xff }, { 0xd0, 0xff000000 }, { 0x310, 0xff000000 },
		{ 0x320, 0x710ff }, { 0x330, 0x117ff }, { 0x340, 0x117ff },
		{ 0x350, 0x1f7ff }, { 0x360, 0x1f7ff }, { 0x370, 0x110ff }, { 0x3e0, 0xb },
	};
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(reg); i++) {
		wr(m, reg[i].offset, ~0u);
		KUNIT_EXPECT_EQ_MSG(test, rd(m, reg[i].offset), reg[i].mask, "register %x",
				    reg[i].offset);
	}
	wr(m, 0xe0, 0);
	KUNIT_EXPECT_EQ(test, rd(m, 0xe0), 0x0fffffffu);
	wr(m, 0x20, ~0u);	/* ID, version: read-only */
	wr(m, 0x30, ~0u);
	KUNIT_EXPECT_EQ(test, rd(m, 0x20), 0u);
	KUNIT_EXPECT_EQ(test, rd(m, 0x30), 0x50014u);
	m->no_features = true;
	wr(m, 0x320, ~0u);
	KUNIT_EXPECT_EQ(test, rd(m, 0x320), 0x310ffu);
}

static void lapic_access_sizes(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_lapic *l = m->v[0].lapic;
	u64 val = 0x55;

	mezz_lapic_mmio_write(l, 0x80, 1, &val);
	mezz_lapic_mmio_write(l, 0x80, 8, &val);
	mezz_lapic_mmio_write(l, 0x84, 4, &val);
	KUNIT_EXPECT_EQ(test, l->tpr, 0u);
	mezz_lapic_mmio_write(l, 0x80, 4, &val);
	KUNIT_EXPECT_EQ(test, l->tpr, 0x55u);
	mezz_lapic_mmio_read(l, 0x31, 2, &val);
	KUNIT_EXPECT_EQ(test, (u16)val, 0x0500);
	mezz_lapic_mmio_read(l, 0x80, 8, &val);
	KUNIT_EXPECT_EQ(test, val, 0ull);
}

static void lapic_priorities(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];
	struct mezz_lapic *l = v->lapic;

	lapic_accept(l, 0x41, false, true);
	lapic_accept(l, 0x62, false, true);
	lapic_accept(l, 0x6a, false, true);
	wr(m, 0x80, 0x6f);
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), -1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_masked_irr(v), 0x6a);
	wr(m, 0x80, 0x5f);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x6a);
	KUNIT_EXPECT_EQ(test, rd(m, 0xa0), 0x60u);	/* PPR */
	/* the same class has to wait, a higher one has not */
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), -1);
	lapic_accept(l, 0x70, false, true);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x70);
	KUNIT_EXPECT_EQ(test, rd(m, 0x130), (u32)(BIT(10) | BIT(16)));	/* ISR 0x60-0x7f */
	wr(m, 0xb0, 0);
	KUNIT_EXPECT_EQ(test, rd(m, 0xa0), 0x60u);
	wr(m, 0xb0, 0);
	KUNIT_EXPECT_EQ(test, rd(m, 0xa0), 0x5fu);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x62);
	wr(m, 0xb0, 0);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), -1);
	mezz_lapic_set_cr8(v, 3);
	KUNIT_EXPECT_EQ(test, mezz_lapic_get_cr8(v), 3u);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x41);
}

static void lapic_requests(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];

	KUNIT_EXPECT_TRUE(test, lapic_accept(v->lapic, 0x99, false, false));
	KUNIT_EXPECT_EQ(test, m->kicks, 1u);
	KUNIT_EXPECT_EQ(test, v->requests, BIT(MEZZ_REQ_EVENT));
	/* pending already: taken, but nobody is told again */
	KUNIT_EXPECT_TRUE(test, lapic_accept(v->lapic, 0x99, false, false));
	KUNIT_EXPECT_EQ(test, m->kicks, 1u);
	lapic_accept(v->lapic, 0x98, false, true);
	KUNIT_EXPECT_EQ(test, m->kicks, 1u);
}

static void lapic_software_disable(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];

	wr(m, 0x320, 0x20);
	lapic_accept(v->lapic, 0x99, false, true);
	wr(m, 0xf0, 0xff);
	KUNIT_EXPECT_TRUE(test, rd(m, 0x320) & LVT_MASKED);
	wr(m, 0x320, 0x20);
	KUNIT_EXPECT_TRUE(test, rd(m, 0x320) & LVT_MASKED);
	KUNIT_EXPECT_FALSE(test, lapic_accept(v->lapic, 0x98, false, true));
	/* what it has it keeps */
	KUNIT_EXPECT_EQ(test, mezz_irq_pending(v), 0x99);
}

static void lapic_errors(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);

	wr(m, 0x370, 0x33);
	wr(m, 0x300, 0x0f | BIT(18));		/* self-IPI, vector 15 */
	KUNIT_EXPECT_EQ(test, rd(m, 0x280), 0u);
	wr(m, 0x280, 0);
	KUNIT_EXPECT_EQ(test, rd(m, 0x280), (u32)ESR_SEND_ILLEGAL);
	wr(m, 0x280, 0);
	KUNIT_EXPECT_EQ(test, rd(m, 0x280), 0u);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(&m->v[0]), 0x33);
	/* an illegal vector in LVT_ERROR itself must not recurse */
	wr(m, 0x370, 3);
	lapic_error(m->v[0].lapic, ESR_RECV_ILLEGAL);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(&m->v[0]), -1);
}

static void lapic_local_modes(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_lapic *l = m->v[0].lapic;

	wr(m, 0x360, MEZZ_DM_NMI << 8);
	lapic_local(l, LVT_LINT1);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->v[0].nmi_queued), 1);
	wr(m, 0x360, MEZZ_DM_NMI << 8 | LVT_MASKED);
	lapic_local(l, LVT_LINT1);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->v[0].nmi_queued), 1);
	wr(m, 0x350, 0x44);
	lapic_local(l, LVT_LINT0);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(&m->v[0]), 0x44);
	KUNIT_EXPECT_EQ(test, m->vm.irq->nmi_wd, 0);
	wr(m, 0x350, MEZZ_DM_NMI << 8);
	KUNIT_EXPECT_EQ(test, m->vm.irq->nmi_wd, 1);
}

static void lapic_cmci(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);

	wr(m, 0x2f0, 0x55);
	KUNIT_EXPECT_EQ(test, rd(m, 0x2f0), 0u);
	mezz_lapic_cmci(&m->v[0]);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(&m->v[0]), -1);
	mezz_lapic_set_cmci(&m->v[0], true);
	KUNIT_EXPECT_EQ(test, rd(m, 0x30), 0x60014u);
	KUNIT_EXPECT_EQ(test, rd(m, 0x2f0), (u32)LVT_MASKED);
	wr(m, 0x2f0, 0x55);
	mezz_lapic_cmci(&m->v[0]);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(&m->v[0]), 0x55);
}

static void lapic_base_msr(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[0];
	u64 val;

	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00901, false), 1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00b00, false), 1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, BIT_ULL(40) | 0x800, false), 1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00400, false), 1);
	/* moved: the old page is no register page any more */
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee10900, false), 0);
	KUNIT_EXPECT_EQ(test, rd(m, 0x30), ~0u);
	KUNIT_EXPECT_EQ(test, mezz_machine_read(v, 0xfee10030), 0x50014u);
	KUNIT_EXPECT_EQ(test, mezz_lapic_rdmsr(v, 0x803, &val), 1);
	/* off: ones; x2APIC cannot follow at once */
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00100, false), 0);
	KUNIT_EXPECT_EQ(test, rd(m, 0x30), ~0u);
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00d00, false), 1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00d00, true), 0);
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00900, false), 1);
	m->no_features = true;
	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00d00, false), 1);
}

static void lapic_x2apic(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 8, MEZZ_CHIP_FULL);
	struct mezz_vcpu *v = &m->v[5];
	u64 val = 0;

	KUNIT_EXPECT_EQ(test, mezz_lapic_set_base(v, 0xfee00c00, false), 0);
	KUNIT_EXPECT_EQ(test, mezz_lapic_rdmsr(v, 0x802, &val), 0);
	KUNIT_EXPECT_EQ(test, val, 5ull);
	KUNIT_EXPECT_EQ(test, mezz_lapic_rdmsr(v, 0x80d, &val), 0);
	KUNIT_EXPECT_EQ(test, val, 0x20ull);
	KUNIT_EXPECT_EQ(test, mezz_lapic_rdmsr(v, 0x80e, &val), 1);	/* DFR */
	KUNIT_EXPECT_EQ(test, mezz_lapic_rdmsr(v, 0x831, &val), 1);	/* ICR2 */
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x80d, 1), 1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x80b, 1), 1);	/* EOI: 0 only */
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x808, 0x100), 1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x808, 0x30), 0);
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x830, BIT(13)), 1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x838, BIT_ULL(32)), 1);
	/* SELF IPI */
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x83f, 0x145), 1);
	KUNIT_EXPECT_EQ(test, mezz_lapic_wrmsr(v, 0x83f, 0x45), 0);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x45);
	/* the page is gone */
	KUNIT_EXPECT_EQ(test, mezz_machine_read(v, MEZZ_TEST_APIC(0x30)), ~0u);
}

static void lapic_split_eoi(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_SPLIT);
	struct mezz_vcpu *v = &m->v[0];

	lapic_accept(v->lapic, 0x55, true, true);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x55);
	v->requests = 0;
	wr(m, 0xb0, 0);
	KUNIT_EXPECT_TRUE(test, v->requests & BIT(MEZZ_REQ_IOAPIC_EOI));
	KUNIT_EXPECT_EQ(test, v->ioapic_eoi, 0x55);
	/* the guest suppressed the broadcast */
	KUNIT_EXPECT_TRUE(test, rd(m, 0x30) & VERSION_NO_EOI_BROADCAST);
	wr(m, 0xf0, 0x11ff);
	lapic_accept(v->lapic, 0x55, true, true);
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x55);
	v->requests = 0;
	wr(m, 0xb0, 0);
	KUNIT_EXPECT_FALSE(test, v->requests & BIT(MEZZ_REQ_IOAPIC_EOI));
}

/*
 * The guest's word cannot be looked at where one may not sleep, and a higher vector
 * waits: it is delivered when it is known what is in service, on top or alone.
 */
static void lapic_pv_eoi_away(struct kunit *test)
{
	unsigned int ended;

	for (ended = 0; ended < 2; ended++) {
		struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
		struct mezz_vcpu *v = &m->v[0];
		struct mezz_lapic *l = v->lapic;

		m->eoi.on = true;
		lapic_accept(l, 0x40, false, true);
		KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x40);
		KUNIT_EXPECT_TRUE(test, l->pv_eoi);
		m->eoi.word = !ended;
		m->eoi.away = true;
		v->atomic = true;
		lapic_accept(l, 0x60, false, true);
		v->requests = 0;
		KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), -1);
		KUNIT_EXPECT_TRUE(test, test_bit(MEZZ_REQ_WAKE, &v->requests));
		KUNIT_EXPECT_TRUE(test, l->pv_eoi_retry);
		m->eoi.away = false;
		v->atomic = false;
		mezz_lapic_accept_events(v);
		KUNIT_EXPECT_TRUE(test, test_bit(MEZZ_REQ_EVENT, &v->requests));
		KUNIT_EXPECT_EQ(test, mezz_irq_ack(v), 0x60);
		KUNIT_EXPECT_TRUE(test, test_bit(0x60, l->isr));
		KUNIT_EXPECT_EQ(test, test_bit(0x40, l->isr), !ended);
		mezz_machine_exit(test);
	}
}

static struct kunit_case lapic_cases[] = {
	KUNIT_CASE(lapic_power_on),
	KUNIT_CASE(lapic_register_masks),
	KUNIT_CASE(lapic_access_sizes),
	KUNIT_CASE(lapic_priorities),
	KUNIT_CASE(lapic_requests),
	KUNIT_CASE(lapic_software_disable),
	KUNIT_CASE(lapic_errors),
	KUNIT_CASE(lapic_local_modes),
	KUNIT_CASE(lapic_cmci),
	KUNIT_CASE(lapic_base_msr),
	KUNIT_CASE(lapic_x2apic),
	KUNIT_CASE(lapic_split_eoi),
	KUNIT_CASE(lapic_pv_eoi_away),
	{}
};

static struct kunit_suite lapic_suite = {
	.name = "mezz_lapic",
	.exit = mezz_machine_exit,
	.test_cases = lapic_cases,
};

kunit_test_suite(lapic_suite);
