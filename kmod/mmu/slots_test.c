// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the slot array: editing it, and finding the slot of a frame.
 */
#include "slots.c"
#include "../test/machine.h"

#define NR	100

/* A machine whose slots lie at frames 10 * i, with a hole behind each. */
static struct mezz_machine *slots_machine(struct kunit *test, unsigned int n)
{
	struct mezz_machine *m = mezz_machine_new(test, 0, MEZZ_CHIP_NONE);
	struct mezz_slots *slots = alloc_slots(0), *next;
	struct mezz_slot *s = kunit_kcalloc(test, NR, sizeof(*s), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, slots);
	KUNIT_ASSERT_NOT_NULL(test, s);
	for (i = 0; i < n; i++) {
		/* in an order that is neither up nor down */
		unsigned int k = i * 37 % n;

		s[k] = (struct mezz_slot) {
			.gfn = 10 * k, .npages = 8, .hva = 0x100000ul * (k + 1), .id = k,
			.flags = k & 1 ? KVM_MEM_READONLY : 0,
		};
		next = edit(slots, NULL, &s[k]);
		kfree(slots);
		KUNIT_ASSERT_NOT_NULL(test, next);
		slots = next;
	}
	RCU_INIT_POINTER(m->vm.slots, slots);
	return m;
}

static void slots_exit(struct kunit *test)
{
	struct mezz_machine *m = test->priv;

	if (m)
		kfree(rcu_dereference_protected(m->vm.slots, true));
	mezz_machine_exit(test);
}

static void slots_edit(struct kunit *test)
{
	struct mezz_machine *m = slots_machine(test, NR);
	struct mezz_slots *s = rcu_dereference_protected(m->vm.slots, true), *t;
	struct mezz_slot moved = { .gfn = 555, .npages = 1 };
	unsigned int i;

	KUNIT_ASSERT_EQ(test, s->n, NR);
	KUNIT_EXPECT_EQ(test, s->generation, (u64)NR);
	for (i = 0; i < NR; i++)
		KUNIT_EXPECT_EQ(test, s->slot[i]->gfn, 10ull * i);
	t = edit(s, s->slot[3], &moved);
	KUNIT_ASSERT_NOT_NULL(test, t);
	KUNIT_EXPECT_EQ(test, t->n, NR);
	KUNIT_EXPECT_EQ(test, t->slot[3]->gfn, 40ull);
	KUNIT_EXPECT_PTR_EQ(test, t->slot[55], &moved);
	kfree(t);
	t = edit(s, s->slot[0], NULL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	KUNIT_EXPECT_EQ(test, t->n, NR - 1);
	kfree(t);
}

static void slots_find(struct kunit *test)
{
	struct mezz_machine *m = slots_machine(test, NR);
	int idx = mezz_read_lock(&m->vm);
	unsigned int i;

	/* forwards and backwards, so that the hint is right and wrong */
	for (i = 0; i < 10 * NR; i++) {
		struct mezz_slot *s = mezz_slot_find(&m->vm, i);

		KUNIT_ASSERT_EQ(test, !!s, i % 10 < 8);
		KUNIT_ASSERT_TRUE(test, !s || s->id == i / 10);
	}
	for (i = 10 * NR; i--;) {
		struct mezz_slot *s = mezz_slot_find(&m->vm, i * 7919ull % (10 * NR));

		KUNIT_ASSERT_TRUE(test, !s || s->id == i * 7919ull % (10 * NR) / 10);
	}
	KUNIT_EXPECT_PTR_EQ(test, mezz_slot_find(&m->vm, ~0ull), (struct mezz_slot *)NULL);
	mezz_read_unlock(&m->vm, idx);
}

static void slots_none(struct kunit *test)
{
	struct mezz_machine *m = slots_machine(test, 0);
	int idx = mezz_read_lock(&m->vm);

	KUNIT_EXPECT_PTR_EQ(test, mezz_slot_find(&m->vm, 0), (struct mezz_slot *)NULL);
	KUNIT_EXPECT_EQ(test, mezz_gfn_hva(&m->vm, 0, false), 0ul);
	mezz_read_unlock(&m->vm, idx);
}

static void slots_hva(struct kunit *test)
{
	struct mezz_machine *m = slots_machine(test, 2);
	int idx = mezz_read_lock(&m->vm);

	KUNIT_EXPECT_EQ(test, mezz_gfn_hva(&m->vm, 7, true), 0x107000ul);
	KUNIT_EXPECT_EQ(test, mezz_gfn_hva(&m->vm, 8, false), 0ul);
	KUNIT_EXPECT_EQ(test, mezz_gfn_hva(&m->vm, 12, false), 0x202000ul);
	KUNIT_EXPECT_EQ(test, mezz_gfn_hva(&m->vm, 12, true), 0ul);
	mezz_read_unlock(&m->vm, idx);
}

static struct kunit_case slots_cases[] = {
	KUNIT_CASE(slots_edit),
	KUNIT_CASE(slots_find),
	KUNIT_CASE(slots_none),
	KUNIT_CASE(slots_hva),
	{}
};

static struct kunit_suite slots_suite = {
	.name = "mezz_slots",
	.exit = slots_exit,
	.test_cases = slots_cases,
};

kunit_test_suite(slots_suite);
