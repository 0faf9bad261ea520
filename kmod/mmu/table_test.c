// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the second-stage tables. Every test runs with both kinds of
 * format: one bit that permits writing, and one bit for each right.
 */
#include "table.c"
#include "../test/machine.h"

static const struct mezz_pt_format plain = {
	.present = BIT_ULL(0), .table = 7, .leaf = BIT_ULL(0) | BIT_ULL(2), .large = BIT_ULL(7),
	.read = 0, .write = BIT_ULL(1), .exec = 0, .nx = BIT_ULL(63), .accessed = BIT_ULL(5),
	.dirty = BIT_ULL(6), .addr = GENMASK_ULL(51, 12),
};

static const struct mezz_pt_format rights = {
	.present = 7, .table = 7, .leaf = 6 << 3, .large = BIT_ULL(7),
	.read = BIT_ULL(0), .write = BIT_ULL(1), .exec = BIT_ULL(2), .accessed = BIT_ULL(8),
	.dirty = BIT_ULL(9), .addr = GENMASK_ULL(51, 12),
};

static const struct mezz_pt_format *const formats[] = { &plain, &rights };

static void format_name(const struct mezz_pt_format *const *p, char *desc)
{
	strscpy(desc, *p == &plain ? "plain" : "rights", KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(format, formats, format_name);

static struct mezz_vm *table_vm(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 0, MEZZ_CHIP_NONE);
	const struct mezz_pt_format *const *p = test->param_value;

	mezz_test_engine.pt = *p;
	KUNIT_ASSERT_EQ(test, mezz_pt_init(&m->vm), 0);
	return &m->vm;
}

static void table_exit(struct kunit *test)
{
	struct mezz_machine *m = test->priv;

	if (m && m->vm.mmu.root)
		mezz_pt_destroy(&m->vm);
	mezz_machine_exit(test);
}

static u64 ro(void)
{
	return mezz_engine->pt->leaf | mezz_engine->pt->read;
}

static u64 rw(void)
{
	return ro() | mezz_engine->pt->write;
}

/* Map, with as many new tables as it takes; how many that were, or -1: blocked. */
static int map(struct mezz_vm *vm, u64 gfn, unsigned int level, u64 pa, u64 bits)
{
	int tables = 0;

	for (;;) {
		u64 *spare = mezz_pt_alloc();
		enum mezz_map r = mezz_pt_map(vm, gfn, level, pa, bits, &spare);

		if (spare)
			mezz_pt_free(spare);
		else
			tables++;
		if (r != MEZZ_MAP_NO_TABLE)
			return r == MEZZ_MAP_DONE ? tables : -1;
	}
}

static u64 entry(struct mezz_vm *vm, u64 gfn, unsigned int *level)
{
	return *lookup(vm, gfn, level);
}

static void zap(struct mezz_vm *vm, u64 first, u64 end)
{
	struct mezz_zap z = MEZZ_ZAP_INIT(z);

	mezz_pt_zap(vm, first, end, &z);
	mezz_zap_done(vm, &z);
}

static void table_map_4k(struct kunit *test)
{
	struct mezz_vm *vm = table_vm(test);
	u64 *spare = NULL;
	unsigned int level;

	KUNIT_EXPECT_EQ(test, mezz_pt_map(vm, 0x12345, 1, 0x7000, rw(), &spare),
			MEZZ_MAP_NO_TABLE);
	KUNIT_EXPECT_EQ(test, map(vm, 0x12345, 1, 0x7000, rw()), 3);
	KUNIT_EXPECT_EQ(test, entry(vm, 0x12345, &level), 0x7000 | rw());
	KUNIT_EXPECT_EQ(test, level, 1u);
	/* neighbours: same table, next table, other end of the tree */
	KUNIT_EXPECT_EQ(test, entry(vm, 0x12346, &level), 0ull);
	KUNIT_EXPECT_EQ(test, map(vm, 0x12346, 1, 0x8000, ro()), 0);
	KUNIT_EXPECT_EQ(test, map(vm, 0x12400, 1, 0x9000, ro()), 1);
	KUNIT_EXPECT_EQ(test, map(vm, BIT_ULL(36) - 1, 1, 0xa000, ro()), 3);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_pages_4k], 4ull);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_table_pages], 8ull);
}

static void table_map_large(struct kunit *test)
{
	struct mezz_vm *vm = table_vm(test);
	u64 large = mezz_engine->pt->large;
	unsigned int level;

	KUNIT_EXPECT_EQ(test, map(vm, 0x40212, 2, 0x80000000, rw()), 2);
	KUNIT_EXPECT_EQ(test, entry(vm, 0x403ff, &level), 0x80000000 | rw() | large);
	KUNIT_EXPECT_EQ(test, level, 2u);
	KUNIT_EXPECT_EQ(test, map(vm, 0x80000, 3, 0x40000000, ro()), 0);
	KUNIT_EXPECT_EQ(test, entry(vm, 0xbffff, &level), 0x40000000 | ro() | large);
	KUNIT_EXPECT_EQ(test, level, 3u);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_pages_2m], 1ull);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_pages_1g], 1ull);
	/* a page inside of a large one is blocked, a large one over a table goes below it */
	KUNIT_EXPECT_EQ(test, map(vm, 0x40212, 1, 0x5000, rw()), -1);
	KUNIT_EXPECT_EQ(test, map(vm, 0x600, 1, 0x5000, rw()), 2);
	KUNIT_EXPECT_EQ(test, map(vm, 0x601, 2, 0x6000, rw()), 0);
	KUNIT_EXPECT_EQ(test, entry(vm, 0x601, &level), 0x6000 | rw());
}

static void table_permissions(struct kunit *test)
{
	struct mezz_vm *vm = table_vm(test);
	unsigned int level;

	map(vm, 5, 1, 0x7000, ro());
	KUNIT_EXPECT_EQ(test, map(vm, 5, 1, 0x7000, rw()), 0);
	KUNIT_EXPECT_EQ(test, entry(vm, 5, &level), 0x7000 | rw());
	/* they are added, never taken away */
	KUNIT_EXPECT_EQ(test, map(vm, 5, 1, 0x7000, ro()), 0);
	KUNIT_EXPECT_EQ(test, entry(vm, 5, &level), 0x7000 | rw());
	/* another frame has to be zapped first */
	KUNIT_EXPECT_EQ(test, map(vm, 5, 1, 0x8000, rw()), -1);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_pages_4k], 1ull);
	/* what hardware set stays */
	*lookup(vm, 6, &level) = 0x9000 | ro() | mezz_engine->pt->accessed;
	KUNIT_EXPECT_EQ(test, map(vm, 6, 1, 0x9000, rw()), 0);
	KUNIT_EXPECT_EQ(test, entry(vm, 6, &level), 0x9000 | rw() | mezz_engine->pt->accessed);
	/* it was entered behind the counter's back */
	vm->stat[MEZZ_VM_STAT_pages_4k]++;
}

static void table_zap(struct kunit *test)
{
	struct mezz_vm *vm = table_vm(test);
	struct mezz_machine *m = machine_of(vm);
	unsigned int i, level;

	for (i = 0; i < 2048; i += 16)
		map(vm, i, 1, 0x100000 + i * PAGE_SIZE, rw());
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_table_pages], 7ull);
	/* within one table */
	zap(vm, 16, 32);
	KUNIT_EXPECT_EQ(test, entry(vm, 16, &level), 0ull);
	KUNIT_EXPECT_NE(test, entry(vm, 0, &level), 0ull);
	KUNIT_EXPECT_NE(test, entry(vm, 32, &level), 0ull);
	KUNIT_EXPECT_EQ(test, m->flushes, 1u);
	/* half a table, two tables, half a table */
	zap(vm, 256, 1792);
	KUNIT_EXPECT_NE(test, entry(vm, 240, &level), 0ull);
	KUNIT_EXPECT_EQ(test, entry(vm, 256, &level), 0ull);
	KUNIT_EXPECT_EQ(test, entry(vm, 512, &level), 0ull);
	KUNIT_EXPECT_EQ(test, level, 2u);
	KUNIT_EXPECT_EQ(test, entry(vm, 1776, &level), 0ull);
	KUNIT_EXPECT_NE(test, entry(vm, 1792, &level), 0ull);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_table_pages], 5ull);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_pages_4k], 15ull + 16);
	/* nothing there: no flush */
	m->flushes = 0;
	zap(vm, 0x100000, 0x200000);
	KUNIT_EXPECT_EQ(test, m->flushes, 0u);
	zap(vm, 0, BIT_ULL(36));
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_pages_4k], 0ull);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_table_pages], 1ull);
}

static void table_zap_large(struct kunit *test)
{
	struct mezz_vm *vm = table_vm(test);
	unsigned int level;

	map(vm, 0x200, 2, 0x200000, rw());
	map(vm, 0x400, 2, 0x400000, rw());
	/* a part of a large page takes all of it */
	zap(vm, 0x3ff, 0x400);
	KUNIT_EXPECT_EQ(test, entry(vm, 0x200, &level), 0ull);
	KUNIT_EXPECT_NE(test, entry(vm, 0x400, &level), 0ull);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_pages_2m], 1ull);
}

static void table_weaken(struct kunit *test)
{
	struct mezz_vm *vm = table_vm(test);
	struct mezz_zap z = MEZZ_ZAP_INIT(z);
	u64 write = mezz_engine->pt->write;
	unsigned int level;

	map(vm, 1, 1, 0x1000, rw());
	map(vm, 2, 1, 0x2000, rw());
	map(vm, 3, 1, 0x3000, ro());
	map(vm, 0x200, 2, 0x200000, rw());
	mezz_pt_weaken(vm, 3, 4, write, &z);
	KUNIT_EXPECT_FALSE(test, z.flush);
	mezz_pt_weaken(vm, 2, 0x210, write, &z);
	KUNIT_EXPECT_TRUE(test, z.flush);
	KUNIT_EXPECT_EQ(test, entry(vm, 1, &level), 0x1000 | rw());
	KUNIT_EXPECT_EQ(test, entry(vm, 2, &level), 0x2000 | ro());
	KUNIT_EXPECT_EQ(test, entry(vm, 3, &level), 0x3000 | ro());
	KUNIT_EXPECT_EQ(test, entry(vm, 0x200, &level), 0ull);
	mezz_zap_done(vm, &z);
}

/* Frames on both sides of a table's end, a large page, and nothing. */
static void table_weaken_mask(struct kunit *test)
{
	struct mezz_vm *vm = table_vm(test);
	struct mezz_zap z = MEZZ_ZAP_INIT(z);
	u64 dirty = mezz_engine->pt->dirty, gfn;
	unsigned int level;

	for (gfn = 0x1e0; gfn < 0x220; gfn++)
		map(vm, gfn, 1, gfn << PAGE_SHIFT, rw() | (gfn == 0x1ff ? 0 : dirty));
	map(vm, 0x400, 2, 0x400000, rw() | dirty);
	mezz_pt_weaken_mask(vm, 0x1ff, BIT(0), dirty, &z);
	KUNIT_EXPECT_FALSE(test, z.flush);
	mezz_pt_weaken_mask(vm, 0x1f0, BIT(0) | BIT(14) | BIT(15) | BIT(16) | BIT(47), dirty, &z);
	KUNIT_EXPECT_TRUE(test, z.flush);
	for (gfn = 0x1e0; gfn < 0x220; gfn++) {
		bool clean = gfn == 0x1f0 || (gfn >= 0x1fe && gfn <= 0x200) || gfn == 0x21f;

		KUNIT_EXPECT_EQ(test, entry(vm, gfn, &level),
				gfn << PAGE_SHIFT | rw() | (clean ? 0 : dirty));
	}
	mezz_zap_done(vm, &z);
	mezz_pt_weaken_mask(vm, 0x220, ~0ul, dirty, &z);
	mezz_pt_weaken_mask(vm, 0x800, ~0ul, dirty, &z);
	KUNIT_EXPECT_FALSE(test, z.flush);
	mezz_pt_weaken_mask(vm, 0x3ff, BIT(0) | BIT(7) | BIT(8), dirty, &z);
	KUNIT_EXPECT_TRUE(test, z.flush);
	KUNIT_EXPECT_EQ(test, entry(vm, 0x400, &level), 0ull);
	KUNIT_EXPECT_EQ(test, vm->stat[MEZZ_VM_STAT_pages_2m], 0ull);
	mezz_zap_done(vm, &z);
}

/*
 * What one has taken out is not in the tables any more, but in TLBs until it has flushed:
 * others, who find nothing, must not return earlier than that.
 */
static void table_unflushed(struct kunit *test)
{
	struct mezz_vm *vm = table_vm(test);
	struct mezz_machine *m = machine_of(vm);
	struct mezz_zap first = MEZZ_ZAP_INIT(first), zap = MEZZ_ZAP_INIT(zap);
	struct mezz_zap range = MEZZ_ZAP_INIT(range), mask = MEZZ_ZAP_INIT(mask);
	u64 write = mezz_engine->pt->write;
	bool weakened;

	for (weakened = false;; weakened = true) {
		map(vm, 5, 1, 0x5000, rw());
		if (weakened)
			mezz_pt_weaken(vm, 5, 6, write, &first);
		else
			mezz_pt_zap(vm, 5, 6, &first);
		KUNIT_EXPECT_TRUE(test, first.flush);
		mezz_pt_weaken(vm, 5, 6, write, &range);
		KUNIT_EXPECT_TRUE(test, range.flush);
		mezz_pt_weaken_mask(vm, 5, BIT(0), write, &mask);
		KUNIT_EXPECT_TRUE(test, mask.flush);
		mezz_pt_zap(vm, 5, 6, &zap);
		KUNIT_EXPECT_TRUE(test, zap.flush);
		m->flushes = 0;
		/* Not in the order in which they began */
		mezz_zap_done(vm, &zap);
		mezz_zap_done(vm, &first);
		mezz_pt_zap(vm, 5, 6, &zap);
		KUNIT_EXPECT_TRUE(test, zap.flush);
		mezz_zap_done(vm, &range);
		mezz_zap_done(vm, &mask);
		mezz_zap_done(vm, &zap);
		KUNIT_EXPECT_EQ(test, m->flushes, 5u);
		/* All have flushed: nothing is there, and in no TLB. */
		mezz_pt_zap(vm, 5, 6, &zap);
		mezz_pt_weaken(vm, 5, 6, write, &range);
		mezz_pt_weaken_mask(vm, 5, BIT(0), write, &mask);
		KUNIT_EXPECT_FALSE(test, zap.flush || range.flush || mask.flush);
		if (weakened)
			return;
	}
}

static void table_age(struct kunit *test)
{
	struct mezz_vm *vm = table_vm(test);
	u64 accessed = mezz_engine->pt->accessed;
	unsigned int level;

	map(vm, 1, 1, 0x1000, rw());
	map(vm, 0x200, 2, 0x200000, rw() | accessed);
	KUNIT_EXPECT_FALSE(test, mezz_pt_age(vm, 0, 0x200, true));
	KUNIT_EXPECT_TRUE(test, mezz_pt_age(vm, 0, 0x400, false));
	KUNIT_EXPECT_TRUE(test, mezz_pt_age(vm, 0x3ff, 0x400, true));
	KUNIT_EXPECT_FALSE(test, mezz_pt_age(vm, 0, 0x400, true));
	KUNIT_EXPECT_FALSE(test, entry(vm, 0x200, &level) & accessed);
	KUNIT_EXPECT_TRUE(test, entry(vm, 0x200, &level) & mezz_engine->pt->present);
}

static struct kunit_case table_cases[] = {
	KUNIT_CASE_PARAM(table_map_4k, format_gen_params),
	KUNIT_CASE_PARAM(table_map_large, format_gen_params),
	KUNIT_CASE_PARAM(table_permissions, format_gen_params),
	KUNIT_CASE_PARAM(table_zap, format_gen_params),
	KUNIT_CASE_PARAM(table_zap_large, format_gen_params),
	KUNIT_CASE_PARAM(table_weaken, format_gen_params),
	KUNIT_CASE_PARAM(table_weaken_mask, format_gen_params),
	KUNIT_CASE_PARAM(table_unflushed, format_gen_params),
	KUNIT_CASE_PARAM(table_age, format_gen_params),
	{}
};

static struct kunit_suite table_suite = {
	.name = "mezz_table",
	.exit = table_exit,
	.test_cases = table_cases,
};

kunit_test_suite(table_suite);
