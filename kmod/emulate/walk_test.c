// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the walk of the guest's page tables; its cases are shared with
 * user space.
 */
#include <kunit/test.h>
#include "walk.c"

static struct kunit *current_test;

#define tap(ok, fmt, ...)						\
({									\
	bool ok_ = ok;							\
									\
	KUNIT_EXPECT_TRUE_MSG(current_test, ok_, fmt, ##__VA_ARGS__);	\
	ok_;								\
})
#define note(fmt, ...)	kunit_info(current_test, fmt, ##__VA_ARGS__)

#include "walk_cases.h"

static void walk_modes(struct kunit *test)
{
	test_modes();
}

static void walk_faults(struct kunit *test)
{
	test_faults();
}

static void walk_upper_levels(struct kunit *test)
{
	test_upper_levels();
}

static void walk_reserved(struct kunit *test)
{
	test_reserved();
}

static void walk_rest(struct kunit *test)
{
	test_rest();
}

static int walk_init(struct kunit *test)
{
	current_test = test;
	return 0;
}

static struct kunit_case walk_cases[] = {
	KUNIT_CASE(walk_modes),
	KUNIT_CASE(walk_faults),
	KUNIT_CASE(walk_upper_levels),
	KUNIT_CASE(walk_reserved),
	KUNIT_CASE(walk_rest),
	{}
};

static struct kunit_suite walk_suite = {
	.name = "mezz_walk",
	.init = walk_init,
	.test_cases = walk_cases,
};

kunit_test_suite(walk_suite);
