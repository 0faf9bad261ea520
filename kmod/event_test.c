// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of event delivery: what goes first, what becomes a double fault, what an
 * interrupted delivery leaves behind. The engine only writes down what it is told.
 */
#include <kunit/test.h>

/* Tracepoints are mezz.ko's. */
#define MEZZ_TRACE_H
#define trace_mezz_inject(v, type, vector, err)	do { } while (0)

#include "event.c"
#include "test/machine.h"

/* What the engine was told, and what it answers. */
static struct {
	unsigned int n;		/* events injected */
	enum mezz_event_type type;
	u8 vector;
	bool has_err;
	u32 err;
	unsigned int insn_len;
	unsigned int irq_windows, nmi_windows;
	bool no_irq, no_nmi;	/* interrupts are off, NMIs are masked */
	u32 shadow;
} told;

static struct mezz_engine engine_before;

static void test_inject(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector,
			bool has_err, u32 err, unsigned int insn_len)
{
	told.n++;
	told.type = type;
	told.vector = vector;
	told.has_err = has_err;
	told.err = err;
	told.insn_len = insn_len;
}

static bool test_irq_allowed(struct mezz_vcpu *v)
{
	return !told.no_irq;
}

static bool test_nmi_allowed(struct mezz_vcpu *v)
{
	return !told.no_nmi;
}

static bool test_get_nmi_mask(struct mezz_vcpu *v)
{
	return told.no_nmi;
}

static void test_set_nmi_mask(struct mezz_vcpu *v, bool masked)
{
	told.no_nmi = masked;
}

static u32 test_get_shadow(struct mezz_vcpu *v)
{
	return told.shadow;
}

static void test_set_shadow(struct mezz_vcpu *v, u32 shadow)
{
	told.shadow = shadow;
}

static void test_irq_window(struct mezz_vcpu *v)
{
	told.irq_windows++;
}

static void test_nmi_window(struct mezz_vcpu *v)
{
	told.nmi_windows++;
}

/* A vCPU in protected mode whose LAPIC is on. */
static struct mezz_vcpu *new_vcpu(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_SPLIT);
	struct mezz_vcpu *v = &m->v[0];

	v->run = kunit_kzalloc(test, sizeof(*v->run), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, v->run);
	v->avail = ~0u;
	v->r[MEZZ_CR0] = X86_CR0_PE;
	return v;
}

/* One entry. Return: whether an event went in that the engine calls @type, @vector. */
static bool enters_with(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector)
{
	told.n = 0;
	mezz_inject_events(v);
	return told.n == 1 && told.type == type && told.vector == vector;
}

static bool enters_without(struct mezz_vcpu *v)
{
	told.n = 0;
	mezz_inject_events(v);
	return !told.n;
}

static void exceptions(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);

	mezz_queue_gp(v, 0x18);
	KUNIT_EXPECT_TRUE(test, test_bit(MEZZ_REQ_EVENT, &v->requests));
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_EXCEPTION, GP_VECTOR));
	KUNIT_EXPECT_TRUE(test, told.has_err);
	KUNIT_EXPECT_EQ(test, told.err, 0x18u);
	KUNIT_EXPECT_TRUE(test, v->r[MEZZ_RFLAGS] & X86_EFLAGS_RF);
	mezz_event_delivered(v);
	KUNIT_EXPECT_TRUE(test, enters_without(v));
	/* Real mode pushes no error code. */
	v->r[MEZZ_CR0] = 0;
	mezz_queue_gp(v, 0x18);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_EXCEPTION, GP_VECTOR));
	KUNIT_EXPECT_FALSE(test, told.has_err);
}

/* CR2 and DR6 change with the delivery, not before. */
static void payloads(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);

	mezz_queue_pf(v, 2, 0x1234000);
	KUNIT_EXPECT_EQ(test, v->r[MEZZ_CR2], 0ull);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_EXCEPTION, PF_VECTOR));
	KUNIT_EXPECT_EQ(test, v->r[MEZZ_CR2], 0x1234000ull);
	mezz_event_delivered(v);

	v->r[MEZZ_RFLAGS] = 0;
	v->r[MEZZ_DR6] = 0xffff0ff0 | 8 | DR6_BS;
	v->r[MEZZ_DR7] = DR7_GD | 0x400;
	mezz_queue_db(v, 1);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_EXCEPTION, DB_VECTOR));
	/* B3 goes, BS stays; a trap does not set RF. */
	KUNIT_EXPECT_EQ(test, v->r[MEZZ_DR6], 0xffff0ff0ull | 1 | DR6_BS);
	KUNIT_EXPECT_EQ(test, v->r[MEZZ_DR7], 0x400ull);
	KUNIT_EXPECT_EQ(test, v->r[MEZZ_RFLAGS], 0ull);
}

/* SDM 3, table "Conditions for Generating a Double Fault" */
static void double_faults(struct kunit *test)
{
	static const struct {
		u8 first, second, becomes;
	} pairs[] = {
		{ UD_VECTOR, GP_VECTOR, GP_VECTOR }, { UD_VECTOR, PF_VECTOR, PF_VECTOR },
		{ GP_VECTOR, UD_VECTOR, UD_VECTOR }, { GP_VECTOR, PF_VECTOR, PF_VECTOR },
		{ GP_VECTOR, NP_VECTOR, DF_VECTOR }, { DE_VECTOR, TS_VECTOR, DF_VECTOR },
		{ PF_VECTOR, UD_VECTOR, UD_VECTOR }, { PF_VECTOR, SS_VECTOR, DF_VECTOR },
		{ PF_VECTOR, PF_VECTOR, DF_VECTOR },
	};
	struct mezz_vcpu *v = new_vcpu(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		mezz_queue_exception(v, pairs[i].first, true, 4);
		mezz_queue_exception(v, pairs[i].second, true, 4);
		KUNIT_EXPECT_TRUE_MSG(test,
				      enters_with(v, MEZZ_EV_EXCEPTION, pairs[i].becomes),
				      "%u, %u", pairs[i].first, pairs[i].second);
		KUNIT_EXPECT_EQ(test, told.err, pairs[i].becomes == DF_VECTOR ? 0u : 4u);
		mezz_event_delivered(v);
	}
	KUNIT_EXPECT_FALSE(test, test_bit(MEZZ_REQ_TRIPLE_FAULT, &v->requests));
	/* One more, while #DF is being delivered. */
	mezz_queue_exception(v, DF_VECTOR, true, 0);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_EXCEPTION, DF_VECTOR));
	mezz_queue_ud(v);
	KUNIT_EXPECT_TRUE(test, test_bit(MEZZ_REQ_TRIPLE_FAULT, &v->requests));
	KUNIT_EXPECT_TRUE(test, enters_without(v));
}

/* Exception, then NMI, then interrupt; what cannot go in has a window opened for it. */
static void order(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);

	v->ext_irq = 0x30;
	mezz_nmi(v);
	mezz_queue_ud(v);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_EXCEPTION, UD_VECTOR));
	KUNIT_EXPECT_EQ(test, told.nmi_windows, 1u);
	KUNIT_EXPECT_EQ(test, told.irq_windows, 1u);
	mezz_event_delivered(v);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_NMI, NMI_VECTOR));
	KUNIT_EXPECT_EQ(test, told.nmi_windows, 1u);
	KUNIT_EXPECT_EQ(test, told.irq_windows, 2u);
	mezz_event_delivered(v);
	told.no_irq = true;
	KUNIT_EXPECT_FALSE(test, mezz_has_wake_event(v));
	KUNIT_EXPECT_TRUE(test, enters_without(v));
	KUNIT_EXPECT_EQ(test, told.irq_windows, 3u);
	told.no_irq = false;
	KUNIT_EXPECT_TRUE(test, mezz_has_wake_event(v));
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_IRQ, 0x30));
	KUNIT_EXPECT_EQ(test, v->ext_irq, -1);
	mezz_event_delivered(v);
	KUNIT_EXPECT_TRUE(test, enters_without(v));
	KUNIT_EXPECT_EQ(test, told.irq_windows, 3u);
}

/* However many are sent, two are kept, and one while they are masked. */
static void nmis(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);
	unsigned int i;

	for (i = 0; i < 5; i++)
		mezz_nmi(v);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_NMI, NMI_VECTOR));
	mezz_event_delivered(v);
	told.no_nmi = true;
	for (i = 0; i < 5; i++)
		mezz_nmi(v);
	KUNIT_EXPECT_FALSE(test, mezz_has_wake_event(v));
	KUNIT_EXPECT_TRUE(test, enters_without(v));
	KUNIT_EXPECT_EQ(test, v->ev.nmi_pending, 1u);
	told.no_nmi = false;
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_NMI, NMI_VECTOR));
	mezz_event_delivered(v);
	KUNIT_EXPECT_TRUE(test, enters_without(v));
}

/* What an exit interrupted goes first, as what it was. */
static void requeued(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);

	mezz_requeue_event(v, MEZZ_EV_EXCEPTION, PF_VECTOR, true, 6, 0);
	KUNIT_EXPECT_TRUE(test, test_bit(MEZZ_REQ_EVENT, &v->requests));
	v->r[MEZZ_CR2] = 0x5000;
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_EXCEPTION, PF_VECTOR));
	KUNIT_EXPECT_EQ(test, told.err, 6u);
	/* Its payload was delivered the first time. */
	KUNIT_EXPECT_EQ(test, v->r[MEZZ_CR2], 0x5000ull);
	mezz_event_delivered(v);

	mezz_requeue_event(v, MEZZ_EV_SOFT_INT, 0x80, false, 0, 2);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_SOFT_INT, 0x80));
	KUNIT_EXPECT_EQ(test, told.insn_len, 2u);
	mezz_event_delivered(v);

	mezz_requeue_event(v, MEZZ_EV_SOFT_EXC, BP_VECTOR, false, 9, 1);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_SOFT_EXC, BP_VECTOR));
	KUNIT_EXPECT_FALSE(test, told.has_err);
	KUNIT_EXPECT_EQ(test, told.err, 0u);
	mezz_event_delivered(v);

	mezz_nmi(v);
	v->ext_irq = 0x31;
	mezz_requeue_event(v, MEZZ_EV_IRQ, 0x90, false, 0, 0);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_IRQ, 0x90));
	KUNIT_EXPECT_EQ(test, told.insn_len, 0u);
	mezz_event_delivered(v);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_NMI, NMI_VECTOR));
	/* An NMI again, whose delivery was interrupted: not one more. */
	mezz_event_delivered(v);
	mezz_requeue_event(v, MEZZ_EV_NMI, NMI_VECTOR, false, 0, 0);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_NMI, NMI_VECTOR));
	mezz_event_delivered(v);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_IRQ, 0x31));
}

/* A fault during the delivery of another, whose delivery was interrupted. */
static void requeued_fault(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);

	mezz_requeue_event(v, MEZZ_EV_EXCEPTION, PF_VECTOR, true, 0, 0);
	mezz_queue_pf(v, 0, 0x7000);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_EXCEPTION, DF_VECTOR));
	mezz_event_delivered(v);
	/* An interrupt's delivery that faults is delivered after the fault. */
	mezz_requeue_event(v, MEZZ_EV_IRQ, 0x90, false, 0, 0);
	mezz_queue_gp(v, 0);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_IRQ, 0x90));
	KUNIT_EXPECT_TRUE(test, v->ev.exc.pending);
}

/* KVM_GET_VCPU_EVENTS to KVM_SET_VCPU_EVENTS of another vCPU loses nothing. */
static void migrated(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);
	struct kvm_vcpu_events e;

	v->vm->exception_payload = true;
	v->vm->triple_fault_event = true;
	mezz_queue_pf(v, 2, 0x6000);
	mezz_nmi(v);
	told.shadow = KVM_X86_SHADOW_INT_STI;
	KUNIT_ASSERT_EQ(test, mezz_get_events(v, &e), 0);
	KUNIT_EXPECT_TRUE(test, e.exception.pending);
	KUNIT_EXPECT_FALSE(test, e.exception.injected);
	KUNIT_EXPECT_EQ(test, e.exception_payload, 0x6000ull);
	KUNIT_EXPECT_TRUE(test, e.nmi.pending);

	memset(&v->ev, 0, sizeof(v->ev));
	told.shadow = 0;
	KUNIT_ASSERT_EQ(test, mezz_set_events(v, &e), 0);
	KUNIT_EXPECT_EQ(test, told.shadow, (u32)KVM_X86_SHADOW_INT_STI);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_EXCEPTION, PF_VECTOR));
	KUNIT_EXPECT_EQ(test, v->r[MEZZ_CR2], 0x6000ull);
	mezz_event_delivered(v);
	KUNIT_EXPECT_TRUE(test, enters_with(v, MEZZ_EV_NMI, NMI_VECTOR));
	mezz_event_delivered(v);

	/* Nonsense is refused and changes nothing. */
	e.exception.nr = 32;
	KUNIT_EXPECT_EQ(test, mezz_set_events(v, &e), -EINVAL);
	e.exception.nr = NMI_VECTOR;
	KUNIT_EXPECT_EQ(test, mezz_set_events(v, &e), -EINVAL);
	KUNIT_EXPECT_TRUE(test, enters_without(v));
}

static struct kunit_case event_cases[] = {
	KUNIT_CASE(exceptions),
	KUNIT_CASE(payloads),
	KUNIT_CASE(double_faults),
	KUNIT_CASE(order),
	KUNIT_CASE(nmis),
	KUNIT_CASE(requeued),
	KUNIT_CASE(requeued_fault),
	KUNIT_CASE(migrated),
	{}
};

static int event_init(struct kunit *test)
{
	engine_before = mezz_test_engine;
	memset(&told, 0, sizeof(told));
	mezz_test_engine.inject = test_inject;
	mezz_test_engine.irq_allowed = test_irq_allowed;
	mezz_test_engine.nmi_allowed = test_nmi_allowed;
	mezz_test_engine.get_nmi_mask = test_get_nmi_mask;
	mezz_test_engine.set_nmi_mask = test_set_nmi_mask;
	mezz_test_engine.get_shadow = test_get_shadow;
	mezz_test_engine.set_shadow = test_set_shadow;
	mezz_test_engine.open_irq_window = test_irq_window;
	mezz_test_engine.open_nmi_window = test_nmi_window;
	return 0;
}

static void event_exit(struct kunit *test)
{
	mezz_machine_exit(test);
	mezz_test_engine = engine_before;
}

static struct kunit_suite event_suite = {
	.name = "mezz_event",
	.init = event_init,
	.exit = event_exit,
	.test_cases = event_cases,
};

kunit_test_suite(event_suite);
