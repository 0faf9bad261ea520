// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the MSR bitmap: which bits an MSR has in it, what the shared one
 * lets through, that a vCPU's own is a copy; and where MSRs are kept.
 */
#include <kunit/test.h>
#include "msr.c"

/* What the engine's other files have: they count, or do the least that is right. */
struct vmx_features vmx_has;

static u64 fields[0x8000];	/* by encoding */

u64 vmx_read_outside(struct vmx_vcpu *vmx, enum vmcs_field field)
{
	return fields[field];
}

void vmx_write_outside(struct vmx_vcpu *vmx, enum vmcs_field field, u64 val)
{
	fields[field] = val;
}

/* So many times the guest's SYSCALL MSRs went into the CPU. */
static unsigned int loads;

void vmx_load_syscall(struct vmx_vcpu *vmx)
{
	vmx->syscall_live = true;
	loads++;
}

void vmx_unload_syscall(struct vmx_vcpu *vmx)
{
	vmx->syscall_live = false;
}

#define READS	1u
#define WRITES	2u

/* What exits, found as the manual says: SDM 3, "MSR-Bitmap Address". */
static unsigned int bits_of(const u8 *map, u32 msr)
{
	unsigned int at = msr & 0x1fff;

	if (msr >= 0xc0000000)
		at += 0x400 * 8;
	return (map[at / 8] >> at % 8 & 1) | (map[0x800 + at / 8] >> at % 8 & 1) << 1;
}

static void bitmap_places(struct kunit *test)
{
	static const u32 msrs[] = { 0, 1, 0x10, 0x1ff8, 0x1fff, 0xc0000000, 0xc0000081,
				    0xc0000102, 0xc0001fff };
	u8 *map = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	unsigned int i, k, other;

	KUNIT_ASSERT_NOT_NULL(test, map);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		for (k = 0; k < 4; k++) {
			memset(map, 0xff, PAGE_SIZE);
			permit(map, msrs[i], k & READS, k & WRITES);
			KUNIT_EXPECT_EQ_MSG(test, bits_of(map, msrs[i]), k, "MSR %x", msrs[i]);
			for (other = 0; other < ARRAY_SIZE(msrs); other++)
				if (other != i)
					KUNIT_EXPECT_EQ(test, bits_of(map, msrs[other]), 3u);
			/* and back */
			permit(map, msrs[i], true, true);
			KUNIT_EXPECT_PTR_EQ(test, memchr_inv(map, 0xff, PAGE_SIZE), (void *)NULL);
		}
	}
	/* one that has no place: nothing may be written */
	permit(map, 0x2000, false, false);
	permit(map, 0x40000000, false, false);
	permit(map, 0xbfffffff, false, false);
	permit(map, 0xc0002000, false, false);
	permit(map, 0xc0010015, false, false);
	permit(map, ~0u, false, false);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(map, 0xff, PAGE_SIZE), (void *)NULL);
}

/* 64 at once, and none beside them. */
static void bitmap_permit64(struct kunit *test)
{
	u8 *map = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	unsigned int msr, want;

	KUNIT_ASSERT_NOT_NULL(test, map);
	memset(map, 0xff, PAGE_SIZE);
	vmx_msr_permit64(map, 0x800, BIT_ULL(0x08) | BIT_ULL(0x3f), BIT_ULL(0x0b) | BIT_ULL(0x3f));
	for (msr = 0; msr < 0x2000; msr++) {
		want = msr == 0x808 ? WRITES : msr == 0x80b ? READS : msr == 0x83f ? 0 : 3;
		KUNIT_EXPECT_EQ_MSG(test, bits_of(map, msr), want, "MSR %x", msr);
	}
	for (msr = 0xc0000000; msr < 0xc0002000; msr++)
		KUNIT_EXPECT_EQ(test, bits_of(map, msr), 3u);
	vmx_msr_permit64(map, 0x800, 0, 0);
	KUNIT_EXPECT_PTR_EQ(test, memchr_inv(map, 0xff, PAGE_SIZE), (void *)NULL);
}

static void bitmap_shared(struct kunit *test)
{
	unsigned int msr, i, open = 0;
	const u8 *map;

	KUNIT_ASSERT_EQ(test, mezz_msr_map_setup(&vmx_msr_map), 0);
	map = page_address(vmx_msr_map.shared);
	for (i = 0; vmx_direct_msrs[i]; i++)
		KUNIT_EXPECT_EQ(test, bits_of(map, vmx_direct_msrs[i]), 0u);
	/* and no other */
	for (msr = 0; msr < 0x2000; msr++)
		open += bits_of(map, msr) != 3;
	for (msr = 0xc0000000; msr < 0xc0002000; msr++)
		open += bits_of(map, msr) != 3;
	KUNIT_EXPECT_EQ(test, open, i);
	mezz_msr_map_free(&vmx_msr_map, &vmx_msr_map.shared);
	KUNIT_EXPECT_NULL(test, vmx_msr_map.shared);
}

static void bitmap_own(struct kunit *test)
{
	struct vmx_vcpu *vmx = kunit_kzalloc(test, sizeof(*vmx), GFP_KERNEL);
	struct page *own;

	KUNIT_ASSERT_NOT_NULL(test, vmx);
	KUNIT_ASSERT_EQ(test, mezz_msr_map_setup(&vmx_msr_map), 0);
	KUNIT_EXPECT_EQ(test, vmx_msr_intercept(&vmx->v, MSR_IA32_SPEC_CTRL, false, true), 0);
	own = vmx->msr_bitmap;
	KUNIT_ASSERT_NOT_NULL(test, own);
	KUNIT_EXPECT_PTR_NE(test, own, vmx_msr_map.shared);
	KUNIT_EXPECT_EQ(test, fields[VMCS_MSR_BITMAP], (u64)page_to_phys(own));
	KUNIT_EXPECT_EQ(test, bits_of(page_address(own), MSR_IA32_SPEC_CTRL), WRITES);
	KUNIT_EXPECT_EQ(test, bits_of(page_address(own), MSR_KERNEL_GS_BASE), 0u);
	KUNIT_EXPECT_EQ(test, bits_of(page_address(own), MSR_LSTAR), 3u);
	KUNIT_EXPECT_EQ(test, bits_of(page_address(vmx_msr_map.shared), MSR_IA32_SPEC_CTRL), 3u);
	/* the second time, the same map */
	KUNIT_EXPECT_EQ(test, vmx_msr_intercept(&vmx->v, MSR_KERNEL_GS_BASE, true, true), 0);
	KUNIT_EXPECT_PTR_EQ(test, vmx->msr_bitmap, own);
	KUNIT_EXPECT_EQ(test, bits_of(page_address(own), MSR_IA32_SPEC_CTRL), WRITES);
	KUNIT_EXPECT_EQ(test, bits_of(page_address(own), MSR_KERNEL_GS_BASE), 3u);
	mezz_msr_map_free(&vmx_msr_map, &vmx->msr_bitmap);
	mezz_msr_map_free(&vmx_msr_map, &vmx_msr_map.shared);
}

/* What is written is read, and each MSR is kept in a place of its own. */
static void msr_values(struct kunit *test)
{
	static const u32 msrs[] = { MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK,
				    MSR_KERNEL_GS_BASE, MSR_FS_BASE, MSR_GS_BASE,
				    MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP,
				    MSR_IA32_SYSENTER_EIP, MSR_IA32_CR_PAT };
	struct vmx_vcpu *vmx = kunit_kzalloc(test, sizeof(*vmx), GFP_KERNEL);
	unsigned int i;
	u64 data;

	KUNIT_ASSERT_NOT_NULL(test, vmx);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		KUNIT_EXPECT_EQ(test, vmx_set_msr(&vmx->v, msrs[i], 0x1000 + i), 0);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		KUNIT_EXPECT_EQ(test, vmx_get_msr(&vmx->v, msrs[i], &data), 0);
		KUNIT_EXPECT_EQ_MSG(test, data, 0x1000ull + i, "MSR %x", msrs[i]);
	}
	KUNIT_EXPECT_EQ(test, fields[VMCS_GUEST_PAT], vmx->pat);
	/* nobody's; locked */
	KUNIT_EXPECT_EQ(test, vmx_get_msr(&vmx->v, 0x12345, &data), 1);
	KUNIT_EXPECT_EQ(test, vmx_set_msr(&vmx->v, 0x12345, 0), 1);
	KUNIT_EXPECT_EQ(test, vmx_set_msr(&vmx->v, MSR_IA32_FEAT_CTL, FEAT_CTL_LOCKED), 0);
	KUNIT_EXPECT_EQ(test, vmx_set_msr(&vmx->v, MSR_IA32_FEAT_CTL, 5), 2);
	KUNIT_EXPECT_EQ(test, vmx_set_msr(&vmx->v, MSR_IA32_DEBUGCTLMSR, BIT(6)), 2);
	/* not in the CPU, so nothing was loaded; when it is, it is loaded anew */
	KUNIT_EXPECT_EQ(test, loads, 0u);
	vmx->syscall_live = true;
	vmx_set_msr(&vmx->v, MSR_LSTAR, 1);
	KUNIT_EXPECT_EQ(test, loads, 1u);
	KUNIT_EXPECT_TRUE(test, vmx->syscall_live);
}

static int msr_init(struct kunit *test)
{
	memset(&vmx_has, 0, sizeof(vmx_has));
	memset(fields, 0, sizeof(fields));
	loads = 0;
	return 0;
}

static struct kunit_case msr_cases[] = {
	KUNIT_CASE(bitmap_places),
	KUNIT_CASE(bitmap_permit64),
	KUNIT_CASE(bitmap_shared),
	KUNIT_CASE(bitmap_own),
	KUNIT_CASE(msr_values),
	{}
};

static struct kunit_suite msr_suite = {
	.name = "mezz_vmx_msr",
	.init = msr_init,
	.test_cases = msr_cases,
};

kunit_test_suite(msr_suite);
