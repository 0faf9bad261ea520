// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the I/O APIC: programmed through its page, heard by LAPICs.
 */
#include "ioapic.c"
#include "../test/machine.h"
#include "lapic.h"

static void reg_write(struct mezz_machine *m, u32 reg, u32 val)
{
	mezz_machine_write(&m->v[0], IOAPIC_BASE, reg);
	mezz_machine_write(&m->v[0], IOAPIC_BASE + IOWIN, val);
}

static u32 reg_read(struct mezz_machine *m, u32 reg)
{
	mezz_machine_write(&m->v[0], IOAPIC_BASE, reg);
	return mezz_machine_read(&m->v[0], IOAPIC_BASE + IOWIN);
}

/* Route @pin to vCPU @dest, physical, fixed; @bits is the entry's low half. */
static void set_rte(struct mezz_machine *m, unsigned int pin, u8 dest, u32 bits)
{
	reg_write(m, REG_TABLE + 2 * pin + 1, (u32)dest << 24);
	reg_write(m, REG_TABLE + 2 * pin, bits);
}

static int raise(struct mezz_machine *m, unsigned int pin, int level)
{
	return mezz_ioapic_set_irq(&m->vm, pin, MEZZ_SRC_USER, level);
}

static bool pending(struct mezz_machine *m, unsigned int cpu, u8 vector)
{
	return test_bit(vector, m->v[cpu].lapic->irr);
}

/* The guest on @cpu takes @vector and ends it. */
static void serve(struct kunit *test, struct mezz_machine *m, unsigned int cpu, u8 vector)
{
	KUNIT_EXPECT_EQ(test, mezz_irq_ack(&m->v[cpu]), vector);
	mezz_lapic_eoi(&m->v[cpu]);
}

static void ioapic_registers(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);

	KUNIT_EXPECT_EQ(test, reg_read(m, REG_VERSION), 0x170011u);
	reg_write(m, REG_ID, 0xff000000);
	KUNIT_EXPECT_EQ(test, reg_read(m, REG_ID), 0x0f000000u);
	KUNIT_EXPECT_EQ(test, reg_read(m, REG_ARBITRATION), 0x0f000000u);
	KUNIT_EXPECT_EQ(test, reg_read(m, REG_TABLE), (u32)RTE_MASKED);
	/* delivery status and remote IRR cannot be written */
	reg_write(m, REG_TABLE + 2 * 23, 0xffffffff);
	KUNIT_EXPECT_EQ(test, reg_read(m, REG_TABLE + 2 * 23), ~(u32)RTE_READONLY);
	KUNIT_EXPECT_EQ(test, reg_read(m, REG_TABLE + 2 * 24), ~0u);
	reg_write(m, REG_TABLE + 2 * 24, 1);
	KUNIT_EXPECT_EQ(test, mezz_machine_read(&m->v[0], IOAPIC_BASE), REG_TABLE + 2u * 24);
}

static void ioapic_edge(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 2, MEZZ_CHIP_FULL);

	set_rte(m, 4, 1, 0x41);
	KUNIT_EXPECT_EQ(test, raise(m, 4, 1), 1);
	KUNIT_EXPECT_TRUE(test, pending(m, 1, 0x41));
	KUNIT_EXPECT_FALSE(test, pending(m, 0, 0x41));
	serve(test, m, 1, 0x41);
	/* no new edge while the line stays up */
	KUNIT_EXPECT_EQ(test, raise(m, 4, 1), 0);
	KUNIT_EXPECT_FALSE(test, pending(m, 1, 0x41));
	raise(m, 4, 0);
	KUNIT_EXPECT_EQ(test, raise(m, 4, 1), 1);
	KUNIT_EXPECT_TRUE(test, pending(m, 1, 0x41));
	KUNIT_EXPECT_FALSE(test, test_bit(0x41, m->v[1].lapic->tmr));
}

static void ioapic_level(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);

	set_rte(m, 10, 0, 0x51 | RTE_LEVEL);
	KUNIT_EXPECT_EQ(test, raise(m, 10, 1), 1);
	KUNIT_EXPECT_TRUE(test, test_bit(0x51, m->v[0].lapic->tmr));
	KUNIT_EXPECT_TRUE(test, reg_read(m, REG_TABLE + 20) & RTE_REMOTE_IRR);
	/* one at a time */
	KUNIT_EXPECT_EQ(test, raise(m, 10, 1), -1);
	/* still up at its EOI: again */
	serve(test, m, 0, 0x51);
	KUNIT_EXPECT_TRUE(test, pending(m, 0, 0x51));
	KUNIT_EXPECT_TRUE(test, m->acked & BIT(10));
	raise(m, 10, 0);
	serve(test, m, 0, 0x51);
	KUNIT_EXPECT_FALSE(test, pending(m, 0, 0x51));
	KUNIT_EXPECT_FALSE(test, reg_read(m, REG_TABLE + 20) & RTE_REMOTE_IRR);
}

static void ioapic_masked(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);

	set_rte(m, 5, 0, 0x61 | RTE_LEVEL | RTE_MASKED);
	KUNIT_EXPECT_EQ(test, raise(m, 5, 1), -1);
	KUNIT_EXPECT_FALSE(test, pending(m, 0, 0x61));
	reg_write(m, REG_TABLE + 10, 0x61 | RTE_LEVEL);
	KUNIT_EXPECT_TRUE(test, pending(m, 0, 0x61));
	/* a masked edge is lost */
	set_rte(m, 6, 0, 0x62 | RTE_MASKED);
	raise(m, 6, 1);
	reg_write(m, REG_TABLE + 12, 0x62);
	KUNIT_EXPECT_FALSE(test, pending(m, 0, 0x62));
}

/* Without an EOI register, Linux switches a stuck pin to edge and back. */
static void ioapic_edge_clears_remote_irr(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);

	set_rte(m, 5, 0, 0x61 | RTE_LEVEL);
	raise(m, 5, 1);
	KUNIT_EXPECT_TRUE(test, reg_read(m, REG_TABLE + 10) & RTE_REMOTE_IRR);
	reg_write(m, REG_TABLE + 10, 0x61 | RTE_MASKED);
	KUNIT_EXPECT_FALSE(test, reg_read(m, REG_TABLE + 10) & RTE_REMOTE_IRR);
}

/* That an edge was delivered says nothing of the level that its pin has now. */
static void ioapic_edge_becomes_level(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct kvm_ioapic_state s;

	set_rte(m, 5, 0, 0x61);
	raise(m, 5, 1);
	serve(test, m, 0, 0x61);
	raise(m, 5, 0);
	set_rte(m, 5, 0, 0x61 | RTE_LEVEL);
	raise(m, 5, 1);
	/* while the line is up */
	set_rte(m, 6, 0, 0x62);
	raise(m, 6, 1);
	reg_write(m, REG_TABLE + 12, 0x62 | RTE_LEVEL);
	mezz_ioapic_get(&m->vm, &s);
	KUNIT_EXPECT_EQ(test, s.irr, (u32)(BIT(5) | BIT(6)));
	raise(m, 5, 0);
	raise(m, 6, 0);
	mezz_ioapic_get(&m->vm, &s);
	KUNIT_EXPECT_EQ(test, s.irr, 0u);
}

static void ioapic_modes(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 2, MEZZ_CHIP_FULL);

	set_rte(m, 1, 1, MEZZ_DM_NMI << 8);
	raise(m, 1, 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&m->v[1].nmi_queued), 1);
	set_rte(m, 2, 1, MEZZ_DM_EXTINT << 8 | 0x30);
	KUNIT_EXPECT_EQ(test, raise(m, 2, 1), 0);
	KUNIT_EXPECT_FALSE(test, pending(m, 1, 0x30));
	set_rte(m, 3, 0xff, 0x71);
	KUNIT_EXPECT_EQ(test, raise(m, 3, 1), 2);
	KUNIT_EXPECT_TRUE(test, pending(m, 0, 0x71) && pending(m, 1, 0x71));
}

static void ioapic_rtc_coalesces(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);

	set_rte(m, RTC_PIN, 0, 0x48);
	KUNIT_EXPECT_EQ(test, raise(m, RTC_PIN, 1), 1);
	raise(m, RTC_PIN, 0);
	KUNIT_EXPECT_EQ(test, raise(m, RTC_PIN, 1), 0);
	raise(m, RTC_PIN, 0);
	serve(test, m, 0, 0x48);
	KUNIT_EXPECT_EQ(test, raise(m, RTC_PIN, 1), 1);
}

/* An irqfd wants to hear of an EOI although the pin is edge-triggered. */
static void ioapic_edge_notifies(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);

	m->resampled = BIT(7);
	set_rte(m, 7, 0, 0x77);
	KUNIT_EXPECT_TRUE(test, test_bit(0x77, m->vm.irq->eoi_vec));
	/* of a level-triggered one TMR tells */
	set_rte(m, 7, 0, 0x77 | RTE_LEVEL);
	KUNIT_EXPECT_FALSE(test, test_bit(0x77, m->vm.irq->eoi_vec));
	set_rte(m, 7, 0, 0x77);
	raise(m, 7, 1);
	KUNIT_EXPECT_EQ(test, m->acked, 0ul);
	serve(test, m, 0, 0x77);
	KUNIT_EXPECT_EQ(test, m->acked, BIT(7));
	m->resampled = 0;
	mezz_ioapic_rescan(&m->vm);
	KUNIT_EXPECT_FALSE(test, test_bit(0x77, m->vm.irq->eoi_vec));
}

static void ioapic_state(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct kvm_ioapic_state s;

	set_rte(m, 4, 0, 0x41);
	set_rte(m, 9, 0, 0x49 | RTE_LEVEL);
	raise(m, 4, 1);
	raise(m, 9, 1);
	mezz_ioapic_get(&m->vm, &s);
	/* the edge has been delivered: not again after a restore */
	KUNIT_EXPECT_EQ(test, s.irr, (u32)BIT(9));
	KUNIT_EXPECT_EQ(test, s.redirtbl[9].bits, 0x49 | RTE_LEVEL | RTE_REMOTE_IRR);
	clear_bit(0x41, m->v[0].lapic->irr);
	clear_bit(0x49, m->v[0].lapic->irr);
	s.redirtbl[9].bits &= ~RTE_REMOTE_IRR;
	mezz_ioapic_set(&m->vm, &s);
	KUNIT_EXPECT_FALSE(test, pending(m, 0, 0x41));
	KUNIT_EXPECT_TRUE(test, pending(m, 0, 0x49));
}

/* A device that is never quiet must not keep the guest in its handler. */
static void ioapic_storm(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct mezz_lapic *l = m->v[0].lapic;
	unsigned int i;

	set_rte(m, 3, 0, 0x55 | RTE_LEVEL);
	raise(m, 3, 1);
	for (i = 0; i < STORM_COUNT + 1 && test_bit(0x55, l->irr); i++) {
		mezz_irq_ack(&m->v[0]);
		mezz_lapic_eoi(&m->v[0]);
	}
	KUNIT_EXPECT_EQ(test, i, STORM_COUNT);
	KUNIT_EXPECT_TRUE(test, hrtimer_active(&m->vm.irq->ioapic->storm));
}

static struct kunit_case ioapic_cases[] = {
	KUNIT_CASE(ioapic_registers),
	KUNIT_CASE(ioapic_edge),
	KUNIT_CASE(ioapic_level),
	KUNIT_CASE(ioapic_masked),
	KUNIT_CASE(ioapic_edge_clears_remote_irr),
	KUNIT_CASE(ioapic_edge_becomes_level),
	KUNIT_CASE(ioapic_modes),
	KUNIT_CASE(ioapic_rtc_coalesces),
	KUNIT_CASE(ioapic_edge_notifies),
	KUNIT_CASE(ioapic_state),
	KUNIT_CASE(ioapic_storm),
	{}
};

static struct kunit_suite ioapic_suite = {
	.name = "mezz_ioapic",
	.exit = mezz_machine_exit,
	.test_cases = ioapic_cases,
};

kunit_test_suite(ioapic_suite);
