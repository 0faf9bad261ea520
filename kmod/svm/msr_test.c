// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the MSR permission map: which bits an MSR has in it, what the
 * shared map lets through, and that a vCPU's own map is a copy.
 */
#include <kunit/test.h>
#include "msr.c"
#include "../test/machine.h"

#define MAP_SIZE	(PAGE_SIZE << MSRPM_ORDER)

/* caps.c */
struct svm_features svm_has;

/* The two bits of an MSR, found as the manual says: APM2, "MSR Intercepts". */
static unsigned int bits_of(const u8 *map, u32 msr)
{
	static const u32 first[] = { 0, 0xc0000000, 0xc0010000 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(first); i++)
		if (msr - first[i] < 0x2000)
			return map[i * 0x800 + (msr - first[i]) / 4] >> (msr % 4 * 2) & 3;
	return ~0u;
}

static void msrpm_places(struct kunit *test)
{
	static const u32 msrs[] = { 0, 0x10, 0x1fff, 0xc0000000, 0xc0000081, 0xc0001fff,
				    0xc0010000, 0xc0010015, 0xc0011fff };
	u8 *map = kunit_kmalloc(test, MAP_SIZE, GFP_KERNEL);
	unsigned int i, k, other;

	KUNIT_ASSERT_NOT_NULL(test, map);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		for (k = 0; k < 4; k++) {
			memset(map, 0xff, MAP_SIZE);
			permit(map, msrs[i], k & 1, k & 2);
			KUNIT_EXPECT_EQ_MSG(test, bits_of(map, msrs[i]), k, "MSR %x", msrs[i]);
			for (other = 0; other < ARRAY_SIZE(msrs); other++)
				if (other != i)
					KUNIT_EXPECT_EQ(test, bits_of(map, msrs[other]), 3u);
		}
	}
	/* one that has no place: nothing may be written */
	memset(map, 0xff, MAP_SIZE);
	permit(map, 0x2000, false, false);
	permit(map, 0x40000000, false, false);
	permit(map, 0xc0002000, false, false);
	permit(map, 0xc0012000, false, false);
	permit(map, ~0u, false, false);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(map, 0xff, MAP_SIZE), (void *)NULL);
}

static void msrpm_shared(struct kunit *test)
{
	unsigned int msr, i, open = 0;
	const u8 *map;

	KUNIT_ASSERT_EQ(test, mezz_msr_map_setup(&svm_msr_map), 0);
	map = page_address(svm_msr_map.shared);
	for (i = 0; svm_direct_msrs[i]; i++)
		KUNIT_EXPECT_EQ(test, bits_of(map, svm_direct_msrs[i]), 0u);
	/* and no other */
	for (msr = 0; msr < 0x2000; msr++)
		open += bits_of(map, msr) != 3;
	for (msr = 0xc0000000; msr < 0xc0002000; msr++)
		open += bits_of(map, msr) != 3;
	for (msr = 0xc0010000; msr < 0xc0012000; msr++)
		open += bits_of(map, msr) != 3;
	KUNIT_EXPECT_EQ(test, open, i);
	mezz_msr_map_free(&svm_msr_map, &svm_msr_map.shared);
}

static void msrpm_own(struct kunit *test)
{
	struct svm_vcpu *svm = kunit_kzalloc(test, sizeof(*svm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, svm);
	svm->vmcb = kunit_kzalloc(test, sizeof(*svm->vmcb), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, svm->vmcb);
	KUNIT_ASSERT_EQ(test, mezz_msr_map_setup(&svm_msr_map), 0);
	svm->vmcb->c.msrpm_pa = svm_pa(svm_msr_map.shared);
	svm_msr_intercept(&svm->v, MSR_TSC_AUX, false, true);
	KUNIT_ASSERT_NOT_NULL(test, svm->msrpm);
	KUNIT_EXPECT_EQ(test, svm->vmcb->c.msrpm_pa, svm_pa(svm->msrpm));
	KUNIT_EXPECT_EQ(test, bits_of(page_address(svm->msrpm), MSR_TSC_AUX), MSRPM_WRITE);
	KUNIT_EXPECT_EQ(test, bits_of(page_address(svm->msrpm), MSR_LSTAR), 0u);
	KUNIT_EXPECT_EQ(test, bits_of(page_address(svm_msr_map.shared), MSR_TSC_AUX), 3u);
	mezz_msr_map_free(&svm_msr_map, &svm->msrpm);
	mezz_msr_map_free(&svm_msr_map, &svm_msr_map.shared);
}

static struct kunit_case msrpm_cases[] = {
	KUNIT_CASE(msrpm_places),
	KUNIT_CASE(msrpm_shared),
	KUNIT_CASE(msrpm_own),
	{}
};

static struct kunit_suite msrpm_suite = {
	.name = "mezz_svm_msr",
	.test_cases = msrpm_cases,
};

kunit_test_suite(msrpm_suite);
