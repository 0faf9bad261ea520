// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit test of the walk of the guest's page tables (kmod/emulate/walk.c) in user
 * space: the same cases as its KUnit suite.
 */
#include <errno.h>
#include <string.h>

#include <linux/kernel.h>

#include "../tap.h"
#include "walk.h"

#define note(fmt, ...) printf("# " fmt "\n", ##__VA_ARGS__)

#include "walk_cases.h"

int main(void)
{
	test_modes();
	test_faults();
	test_upper_levels();
	test_reserved();
	test_rest();
	return tap_end();
}
