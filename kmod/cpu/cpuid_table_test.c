// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the CPUID policy: tables built for hosts that exist only here.
 */
#include <kunit/test.h>
#include "cpuid_table.c"

/* A host that has every bit, 32 basic and 34 extended leaves. */
static void host_raw(u32 function, u32 index, u32 *r)
{
	r[CPUID_R_EAX] = ~0u;
	r[CPUID_R_EBX] = ~0u;
	r[CPUID_R_ECX] = ~0u;
	r[CPUID_R_EDX] = ~0u;
	switch (function) {
	case 0:
		r[CPUID_R_EAX] = 0x20;
		break;
	case 4:
	case 0x8000001d:
		r[CPUID_R_EAX] = index < 3 ? 1 : 0;
		break;
	case 7:
		r[CPUID_R_EAX] = 2;
		break;
	case 0xd:
		/* YMM at 576, then 64 bytes each, aligned from 6 on */
		r[CPUID_R_EAX] = index == 2 ? 256 : 72;
		r[CPUID_R_EBX] = index == 2 ? 576 : 832 + (index - 3) * 128;
		r[CPUID_R_ECX] = index >= 6 ? 2 : 0;
		break;
	case 0x80000000:
		r[CPUID_R_EAX] = 0x80000022;
		break;
	}
}

static u32 all_on[MEZZ_CPUID_WORDS], some_on[MEZZ_CPUID_WORDS];

static const struct mezz_cpuid_host rich = {
	.raw = host_raw, .caps = all_on, .xcr0 = 0xe7, .pv_features = 0x1234,
	.spec_ctrl = true, .ibpb = true, .tsc_aux = true, .lfence = true, .null_seg = true,
};

static struct mezz_cpuid_table *build(struct kunit *test, const struct mezz_cpuid_host *h)
{
	struct mezz_cpuid_table *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	memset(all_on, 0xff, sizeof(all_on));
	mezz_cpuid_build(t, h);
	return t;
}

static const struct kvm_cpuid_entry2 *leaf(struct kunit *test, struct mezz_cpuid_table *t,
					   u32 function, u32 index)
{
	struct kvm_cpuid_entry2 *e = mezz_cpuid_scan(t->e, t->n, function, index);

	KUNIT_ASSERT_NOT_NULL(test, e);
	return e;
}

static void cpuid_limits(struct kunit *test)
{
	struct mezz_cpuid_table *t = build(test, &rich);

	KUNIT_EXPECT_EQ(test, leaf(test, t, 0, 0)->eax, LAST_BASIC);
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0x80000000, 0)->eax, LAST_EXTENDED);
	KUNIT_EXPECT_EQ(test, leaf(test, t, 7, 0)->eax, 1u);
	KUNIT_EXPECT_NULL(test, mezz_cpuid_scan(t->e, t->n, 0x20, 0));
	KUNIT_EXPECT_NULL(test, mezz_cpuid_scan(t->e, t->n, 0x80000022, 0));
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0x40000000, 0)->eax, 0x40000001u);
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0x40000000, 0)->ebx, 0x4b4d564bu);
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0x40000001, 0)->eax, 0x1234u);
	/* caches until one says that there is no other */
	KUNIT_EXPECT_EQ(test, leaf(test, t, 4, 3)->eax, 0u);
	KUNIT_EXPECT_NULL(test, mezz_cpuid_scan(t->e, t->n, 4, 4));
}

static void cpuid_never_offered(struct kunit *test)
{
	struct mezz_cpuid_table *t = build(test, &rich);
	u32 w[MEZZ_CPUID_WORDS];

	mezz_cpuid_features(t->e, t->n, w);
	KUNIT_EXPECT_FALSE(test, w[CPUID_1_ECX] & (F(VMX) | F(MWAIT) | F(TSC_DEADLINE_TIMER)));
	KUNIT_EXPECT_FALSE(test, w[CPUID_8000_0001_ECX] & F(SVM));
	KUNIT_EXPECT_FALSE(test, w[CPUID_7_0_EBX] & (F(SGX) | F(HLE) | F(RTM) | F(MPX)));
	KUNIT_EXPECT_FALSE(test, w[CPUID_7_ECX] & (F(PKU) | F(OSPKE) | F(LA57)));
	KUNIT_EXPECT_FALSE(test, w[CPUID_7_EDX] & (F(AMX_TILE) | F(IBT)));
	/* performance counters */
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0xa, 0)->eax, 0u);
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0x80000008, 0)->eax >> 8 & 0xff, 48u);
}

static void cpuid_always_offered(struct kunit *test)
{
	struct mezz_cpuid_host poor = { .raw = host_raw, .caps = some_on };
	struct mezz_cpuid_table *t = build(test, &poor);
	u32 w[MEZZ_CPUID_WORDS];

	mezz_cpuid_features(t->e, t->n, w);
	KUNIT_EXPECT_EQ(test, w[CPUID_1_ECX], F(X2APIC) | F(HYPERVISOR));
	KUNIT_EXPECT_EQ(test, w[CPUID_7_0_EBX], F(TSC_ADJUST));
	KUNIT_EXPECT_EQ(test, w[CPUID_7_EDX], F(ARCH_CAPABILITIES));
	KUNIT_EXPECT_EQ(test, w[CPUID_1_EDX], 0u);
	KUNIT_EXPECT_EQ(test, w[CPUID_8000_0021_EAX], F_NO_SMM_CTL_MSR);
	/* no XSAVE: the leaf is there, and empty */
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0xd, 0)->eax, 0u);
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0xd, 0)->ebx, 0u);
}

/* What one property of the host takes away. */
static void cpuid_dependencies(struct kunit *test)
{
	struct mezz_cpuid_host h = rich;
	u32 w[MEZZ_CPUID_WORDS];
	struct mezz_cpuid_table *t;

	t = build(test, &h);
	mezz_cpuid_features(t->e, t->n, w);
	KUNIT_EXPECT_TRUE(test, w[CPUID_7_0_EBX] & F(AVX512F));
	KUNIT_EXPECT_TRUE(test, w[CPUID_1_ECX] & F(AVX));
	KUNIT_EXPECT_TRUE(test, w[CPUID_8000_0001_EDX] & F(RDTSCP));
	KUNIT_EXPECT_TRUE(test, w[CPUID_7_EDX] & F(SPEC_CTRL));
	h.xcr0 = 7;
	t = build(test, &h);
	mezz_cpuid_features(t->e, t->n, w);
	KUNIT_EXPECT_FALSE(test, w[CPUID_7_0_EBX] & F(AVX512F));
	KUNIT_EXPECT_TRUE(test, w[CPUID_7_0_EBX] & F(AVX2));
	h.xcr0 = 3;
	t = build(test, &h);
	mezz_cpuid_features(t->e, t->n, w);
	KUNIT_EXPECT_FALSE(test, w[CPUID_7_0_EBX] & F(AVX2));
	KUNIT_EXPECT_FALSE(test, w[CPUID_1_ECX] & (F(AVX) | F(FMA)));
	KUNIT_EXPECT_TRUE(test, w[CPUID_1_ECX] & F(XSAVE));
	h.tsc_aux = false;
	h.spec_ctrl = false;
	t = build(test, &h);
	mezz_cpuid_features(t->e, t->n, w);
	KUNIT_EXPECT_FALSE(test, w[CPUID_8000_0001_EDX] & F(RDTSCP));
	KUNIT_EXPECT_FALSE(test, w[CPUID_7_ECX] & F(RDPID));
	KUNIT_EXPECT_FALSE(test, w[CPUID_7_EDX] & F(SPEC_CTRL));
	KUNIT_EXPECT_FALSE(test, w[CPUID_8000_0008_EBX] & (F(AMD_IBRS) | F(AMD_SSBD)));
	KUNIT_EXPECT_TRUE(test, w[CPUID_8000_0008_EBX] & F(AMD_IBPB));
}

/* A bit that the kernel switched off, or that the engine cannot have in guests. */
static void no_sse3(u32 function, u32 index, u32 *regs)
{
	if (function == 1)
		regs[CPUID_R_ECX] &= ~F(XMM3);
}

static void cpuid_taken_away(struct kunit *test)
{
	struct mezz_cpuid_host h = rich;
	u32 caps[MEZZ_CPUID_WORDS], w[MEZZ_CPUID_WORDS];
	struct mezz_cpuid_table *t;

	memset(caps, 0xff, sizeof(caps));
	caps[CPUID_7_0_EBX] &= ~F(SMAP);
	h.caps = caps;
	h.mask = no_sse3;
	t = build(test, &h);
	mezz_cpuid_features(t->e, t->n, w);
	KUNIT_EXPECT_FALSE(test, w[CPUID_7_0_EBX] & F(SMAP));
	KUNIT_EXPECT_TRUE(test, w[CPUID_7_0_EBX] & F(SMEP));
	KUNIT_EXPECT_FALSE(test, w[CPUID_1_ECX] & F(XMM3));
	KUNIT_EXPECT_TRUE(test, w[CPUID_1_ECX] & F(SSSE3));
}

static void cpuid_xsave_sizes(struct kunit *test)
{
	struct mezz_cpuid_host h = rich;
	struct mezz_cpuid_table *t;

	h.xcr0 = 0x67;
	t = build(test, &h);
	KUNIT_EXPECT_EQ(test, mezz_xstate_size(3, false), 576u);
	KUNIT_EXPECT_EQ(test, mezz_xstate_size(7, false), 832u);
	KUNIT_EXPECT_EQ(test, mezz_xstate_size(0x67, false), 832u + 3 * 128 + 72);
	/* compacted: 832 + 72, then component 6 aligned to 64 */
	KUNIT_EXPECT_EQ(test, mezz_xstate_size(0x27, true), 832u + 72);
	KUNIT_EXPECT_EQ(test, mezz_xstate_size(0x67, true), 960u + 72);
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0xd, 0)->ebx, 832u + 3 * 128 + 72);
	KUNIT_EXPECT_EQ(test, leaf(test, t, 0xd, 1)->ebx, 960u + 72);
	KUNIT_EXPECT_NULL(test, mezz_cpuid_scan(t->e, t->n, 0xd, 3));
}

static void cpuid_scanning(struct kunit *test)
{
	struct kvm_cpuid_entry2 e[] = {
		{ .function = 1, .index = 5, .eax = 1 },
		{ .function = 4, .index = 0, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX },
		{ .function = 4, .index = 1, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX },
		{ .function = 1, .eax = 2 },
	};

	/* the first that matches; the index counts only where it is significant */
	KUNIT_EXPECT_PTR_EQ(test, mezz_cpuid_scan(e, 4, 1, 0), &e[0]);
	KUNIT_EXPECT_PTR_EQ(test, mezz_cpuid_scan(e, 4, 4, 1), &e[2]);
	KUNIT_EXPECT_NULL(test, mezz_cpuid_scan(e, 4, 4, 2));
	KUNIT_EXPECT_NULL(test, mezz_cpuid_scan(e, 0, 1, 0));
}

/* SPEC_CTRL has a bit of each vendor: a host that has either shows both. */
static void cpuid_spec_bits(struct kunit *test)
{
	const u32 one = F(SPEC_CTRL) | F(INTEL_STIBP) | F(SPEC_CTRL_SSBD);
	const u32 other = F(AMD_IBRS) | F(AMD_IBPB) | F(AMD_STIBP) | F(AMD_SSBD);
	u32 w[MEZZ_CPUID_WORDS] = {};

	w[CPUID_7_EDX] = F(INTEL_STIBP);
	share_spec_bits(w);
	KUNIT_EXPECT_EQ(test, w[CPUID_8000_0008_EBX], (u32)F(AMD_STIBP));
	KUNIT_EXPECT_EQ(test, w[CPUID_7_EDX], (u32)F(INTEL_STIBP));
	w[CPUID_7_EDX] = one;
	share_spec_bits(w);
	KUNIT_EXPECT_EQ(test, w[CPUID_8000_0008_EBX], other);
	w[CPUID_7_EDX] = 0;
	share_spec_bits(w);
	KUNIT_EXPECT_EQ(test, w[CPUID_7_EDX], one);
	/* IBRS without IBPB is less than the other's bit says */
	w[CPUID_7_EDX] = 0;
	w[CPUID_8000_0008_EBX] = F(AMD_IBRS) | F(AMD_SSBD);
	share_spec_bits(w);
	KUNIT_EXPECT_EQ(test, w[CPUID_7_EDX], (u32)F(SPEC_CTRL_SSBD));
}

static struct kunit_case cpuid_cases[] = {
	KUNIT_CASE(cpuid_limits),
	KUNIT_CASE(cpuid_never_offered),
	KUNIT_CASE(cpuid_always_offered),
	KUNIT_CASE(cpuid_dependencies),
	KUNIT_CASE(cpuid_taken_away),
	KUNIT_CASE(cpuid_xsave_sizes),
	KUNIT_CASE(cpuid_spec_bits),
	KUNIT_CASE(cpuid_scanning),
	{}
};

static struct kunit_suite cpuid_suite = {
	.name = "mezz_cpuid_table",
	.test_cases = cpuid_cases,
};

kunit_test_suite(cpuid_suite);
