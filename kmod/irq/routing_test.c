// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of GSI routing: tables as user space writes them, and where an
 * interrupt ends up.
 */
#include "routing.c"
#include "../test/machine.h"
#include "lapic.h"

static struct kvm_irq_routing_entry to_pin(u32 gsi, u32 chip, u32 pin)
{
	return (struct kvm_irq_routing_entry) {
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static struct kvm_irq_routing_entry to_msi(u32 gsi, u32 address, u32 data)
{
	return (struct kvm_irq_routing_entry) {
		.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = address, .data = data },
	};
}

/* What building a table of these says. */
static long built(struct mezz_machine *m, const struct kvm_irq_routing_entry *e, u32 n)
{
	struct mezz_routing *rt = routing_build(&m->vm, e, n);

	if (IS_ERR(rt))
		return PTR_ERR(rt);
	kvfree(rt);
	return 0;
}

static void install(struct kunit *test, struct mezz_machine *m,
		    const struct kvm_irq_routing_entry *e, u32 n)
{
	struct mezz_routing *rt = routing_build(&m->vm, e, n);

	KUNIT_ASSERT_FALSE(test, IS_ERR(rt));
	routing_replace(&m->vm, rt);
}

static void routing_default_table(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	int idx = mezz_read_lock(&m->vm);

	KUNIT_EXPECT_EQ(test, mezz_pin_to_gsi(&m->vm, KVM_IRQCHIP_IOAPIC, 23), 23);
	KUNIT_EXPECT_EQ(test, mezz_pin_to_gsi(&m->vm, KVM_IRQCHIP_PIC_MASTER, 7), 7);
	KUNIT_EXPECT_EQ(test, mezz_pin_to_gsi(&m->vm, KVM_IRQCHIP_PIC_SLAVE, 0), 8);
	KUNIT_EXPECT_EQ(test, mezz_pin_to_gsi(&m->vm, KVM_IRQCHIP_PIC_MASTER, 13), 13);
	KUNIT_EXPECT_PTR_EQ(test, route_of(&m->vm, 24), (const struct mezz_gsi *)NULL);
	mezz_read_unlock(&m->vm, idx);
	KUNIT_EXPECT_EQ(test, mezz_set_gsi(&m->vm, MEZZ_SRC_USER, 24, 1), -1);
}

static void routing_refuses(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct kvm_irq_routing_entry e[2];

	e[0] = to_pin(0, KVM_IRQCHIP_IOAPIC, 24);
	KUNIT_EXPECT_EQ(test, built(m, e, 1), (long)-EINVAL);
	e[0] = to_pin(0, KVM_IRQCHIP_PIC_MASTER, 8);
	KUNIT_EXPECT_EQ(test, built(m, e, 1), (long)-EINVAL);
	e[0] = to_pin(0, 3, 0);
	KUNIT_EXPECT_EQ(test, built(m, e, 1), (long)-EINVAL);
	e[0] = to_pin(MEZZ_MAX_GSI, KVM_IRQCHIP_IOAPIC, 0);
	KUNIT_EXPECT_EQ(test, built(m, e, 1), (long)-EINVAL);
	e[0] = to_pin(1, KVM_IRQCHIP_IOAPIC, 0);
	e[0].flags = 1;
	KUNIT_EXPECT_EQ(test, built(m, e, 1), (long)-EINVAL);
	e[0] = to_msi(1, 0, 0);
	e[0].flags = 2;
	KUNIT_EXPECT_EQ(test, built(m, e, 1), (long)-EINVAL);
	e[0].flags = KVM_MSI_VALID_DEVID;
	KUNIT_EXPECT_EQ(test, built(m, e, 1), 0l);
	e[0].type = KVM_IRQ_ROUTING_HV_SINT;
	KUNIT_EXPECT_EQ(test, built(m, e, 1), (long)-EINVAL);
	/* one pin of each chip, or one MSI */
	e[0] = to_pin(1, KVM_IRQCHIP_IOAPIC, 1);
	e[1] = to_pin(1, KVM_IRQCHIP_IOAPIC, 2);
	KUNIT_EXPECT_EQ(test, built(m, e, 2), (long)-EINVAL);
	e[1] = to_msi(1, 0, 0);
	KUNIT_EXPECT_EQ(test, built(m, e, 2), (long)-EINVAL);
	e[1] = to_pin(1, KVM_IRQCHIP_PIC_MASTER, 1);
	KUNIT_EXPECT_EQ(test, built(m, e, 2), 0l);
	m->vm.irq->mode = MEZZ_CHIP_SPLIT;
	KUNIT_EXPECT_EQ(test, built(m, e, 1), (long)-EINVAL);
	m->vm.irq->mode = MEZZ_CHIP_FULL;
}

static void routing_msi(struct kunit *test)
{
	struct mezz_msg msg;

	msi_to_msg(0xfee05000, 0, 0x0041, &msg);
	KUNIT_EXPECT_EQ(test, msg.dest, 5u);
	KUNIT_EXPECT_EQ(test, msg.vector, 0x41);
	KUNIT_EXPECT_EQ(test, msg.mode, MEZZ_DM_FIXED);
	KUNIT_EXPECT_FALSE(test, msg.logical || msg.level || msg.lowest);
	KUNIT_EXPECT_TRUE(test, msg.assert);
	msi_to_msg(0xfee0f00c, 0, 0xc134, &msg);
	KUNIT_EXPECT_EQ(test, msg.dest, 0xfu);
	KUNIT_EXPECT_EQ(test, msg.mode, MEZZ_DM_LOWEST);
	KUNIT_EXPECT_TRUE(test, msg.logical && msg.level && msg.lowest);
	/* trigger mode and level are bits of their own */
	msi_to_msg(0xfee00000, 0, 0x8034, &msg);
	KUNIT_EXPECT_TRUE(test, msg.level);
	msi_to_msg(0xfee00000, 0, 0x4034, &msg);
	KUNIT_EXPECT_FALSE(test, msg.level);
	/* the redirection hint alone */
	msi_to_msg(0xfee0f008, 0, 0x34, &msg);
	KUNIT_EXPECT_TRUE(test, msg.lowest && !msg.logical);
}

static u32 dest_of(struct mezz_machine *m, u32 gsi)
{
	int idx = mezz_read_lock(&m->vm);
	u32 dest = route_of(&m->vm, gsi)->msg.dest;

	mezz_read_unlock(&m->vm, idx);
	return dest;
}

static void routing_wide_ids(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct kvm_irq_routing_entry e[2] = {
		to_msi(100, 0xfee05000, 0x41),
		to_pin(3, KVM_IRQCHIP_IOAPIC, 20),
	};
	struct mezz_msg msg;

	msi_to_msg(0xfee2c000, 0x100, 0x41, &msg);
	KUNIT_EXPECT_EQ(test, msg.dest, 300u);
	/* As long as user space does not say that it is one, the upper half is none. */
	e[0].u.msi.address_hi = 0x12345601;
	install(test, m, e, 2);
	KUNIT_EXPECT_EQ(test, dest_of(m, 100), 5u);
	mezz_routing_widen(&m->vm);
	KUNIT_EXPECT_EQ(test, dest_of(m, 100), 0x12345605u);
	/* From now on what is no ID is refused. */
	KUNIT_EXPECT_EQ(test, built(m, e, 2), (long)-EINVAL);
	e[0].u.msi.address_hi = 0x700;
	install(test, m, e, 2);
	KUNIT_EXPECT_EQ(test, dest_of(m, 100), 0x705u);
}

static void routing_delivers(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 2, MEZZ_CHIP_FULL);
	struct kvm_irq_routing_entry e[3] = {
		to_msi(100, 0xfee01000, 0x66),
		to_pin(3, KVM_IRQCHIP_PIC_SLAVE, 1),
		to_pin(3, KVM_IRQCHIP_IOAPIC, 20),
	};
	struct kvm_pic_state s;

	install(test, m, e, 3);
	KUNIT_EXPECT_EQ(test, mezz_set_gsi(&m->vm, MEZZ_SRC_USER, 100, 0), -1);
	KUNIT_EXPECT_EQ(test, mezz_set_gsi(&m->vm, MEZZ_SRC_USER, 100, 1), 1);
	KUNIT_EXPECT_TRUE(test, test_bit(0x66, m->v[1].lapic->irr));
	mezz_set_gsi(&m->vm, MEZZ_SRC_USER, 3, 1);
	mezz_pic_get(&m->vm, true, &s);
	KUNIT_EXPECT_EQ(test, s.irr, 2);
	KUNIT_EXPECT_EQ(test, mezz_set_gsi(&m->vm, MEZZ_SRC_USER, 4, 1), -1);
}

static void routing_sources(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct kvm_pic_state s;

	mezz_set_gsi(&m->vm, MEZZ_SRC_USER, 5, 1);
	mezz_set_gsi(&m->vm, MEZZ_SRC_RESAMPLE, 5, 1);
	mezz_set_gsi(&m->vm, MEZZ_SRC_USER, 5, 0);
	mezz_pic_get(&m->vm, false, &s);
	KUNIT_EXPECT_EQ(test, s.last_irr, BIT(5));
	mezz_set_gsi(&m->vm, MEZZ_SRC_RESAMPLE, 5, 0);
	mezz_pic_get(&m->vm, false, &s);
	KUNIT_EXPECT_EQ(test, s.last_irr, 0);
	mezz_pulse_gsi(&m->vm, 6);
	mezz_pic_get(&m->vm, false, &s);
	KUNIT_EXPECT_EQ(test, s.last_irr, 0);
	KUNIT_EXPECT_EQ(test, s.irr, BIT(5) | BIT(6));
}

static void routing_acknowledges(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_FULL);
	struct kvm_irq_routing_entry e = to_pin(40, KVM_IRQCHIP_IOAPIC, 2);

	install(test, m, &e, 1);
	m->resampled = BIT(40);
	KUNIT_EXPECT_TRUE(test, mezz_pin_has_notifier(&m->vm, KVM_IRQCHIP_IOAPIC, 2));
	KUNIT_EXPECT_FALSE(test, mezz_pin_has_notifier(&m->vm, KVM_IRQCHIP_IOAPIC, 3));
	mezz_notify_ack(&m->vm, KVM_IRQCHIP_IOAPIC, 3);
	KUNIT_EXPECT_EQ(test, m->acked, 0ul);
	mezz_notify_ack(&m->vm, KVM_IRQCHIP_IOAPIC, 2);
	KUNIT_EXPECT_EQ(test, m->acked, BIT(40));
}

static struct kunit_case routing_cases[] = {
	KUNIT_CASE(routing_default_table),
	KUNIT_CASE(routing_refuses),
	KUNIT_CASE(routing_msi),
	KUNIT_CASE(routing_wide_ids),
	KUNIT_CASE(routing_delivers),
	KUNIT_CASE(routing_sources),
	KUNIT_CASE(routing_acknowledges),
	{}
};

static struct kunit_suite routing_suite = {
	.name = "mezz_routing",
	.exit = mezz_machine_exit,
	.test_cases = routing_cases,
};

kunit_test_suite(routing_suite);
