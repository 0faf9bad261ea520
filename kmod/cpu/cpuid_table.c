// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPUID policy: what KVM_GET_SUPPORTED_CPUID offers to guests.
 *
 * A feature is offered when the CPU has it, the host kernel left it on, it is
 * in the list below, and the engine does not take it away. The list holds what
 * works in a guest by itself, as every guest register is switched, and what
 * this module emulates.
 *
 * Pure: the host comes in as struct mezz_cpuid_host; nothing here asks the
 * running kernel. Only the numbering of feature words is the kernel's.
 *
 * Not offered: nested virtualization, PMU, SGX, MPX, PKU, LA57, TSX, AMX, CET,
 * MWAIT. TSC-deadline mode is announced by KVM_CAP_TSC_DEADLINE_TIMER, as the
 * ABI has it. Unlike in-tree KVM the HYPERVISOR bit is in the table, so that
 * user space which passes the table on makes a guest that knows where it is.
 */
#include <linux/align.h>
#include <linux/kernel.h>
#include <linux/mm_types.h>
#include <linux/string.h>
#include <uapi/asm/kvm_para.h>
#include <asm/cpufeatures.h>
#include <asm/page.h>
#include <asm/fpu/types.h>

#include "internal.h"

#define F(name)		BIT(X86_FEATURE_##name & 31)
/* Bits without a name in every kernel's cpufeatures.h. */
#define F_NO_NESTED_DATA_BP	BIT(0)	/* 0x80000021 EAX */
#define F_LFENCE_SERIALIZING	BIT(2)
#define F_NULL_SEL_CLR_BASE	BIT(6)
#define F_NO_SMM_CTL_MSR	BIT(9)

#define LAST_BASIC	0x1fu
#define LAST_EXTENDED	0x80000021u
#define INVARIANT_TSC	BIT(8)		/* 0x80000007 EDX */
#define ARAT		BIT(2)		/* 6 EAX: the APIC timer never stops */

/* Where a feature word is. */
static const struct {
	u32 function;
	u8 index, reg;
} word_at[MEZZ_CPUID_WORDS] = {
	[CPUID_1_EDX] = { 1, 0, CPUID_R_EDX },
	[CPUID_1_ECX] = { 1, 0, CPUID_R_ECX },
	[CPUID_7_0_EBX] = { 7, 0, CPUID_R_EBX },
	[CPUID_7_ECX] = { 7, 0, CPUID_R_ECX },
	[CPUID_7_EDX] = { 7, 0, CPUID_R_EDX },
	[CPUID_7_1_EAX] = { 7, 1, CPUID_R_EAX },
	[CPUID_D_1_EAX] = { 0xd, 1, CPUID_R_EAX },
	[CPUID_8000_0001_EDX] = { 0x80000001, 0, CPUID_R_EDX },
	[CPUID_8000_0001_ECX] = { 0x80000001, 0, CPUID_R_ECX },
	[CPUID_8000_0007_EBX] = { 0x80000007, 0, CPUID_R_EBX },
	[CPUID_8000_0008_EBX] = { 0x80000008, 0, CPUID_R_EBX },
	[CPUID_8000_000A_EDX] = { 0x8000000a, 0, CPUID_R_EDX },
	[CPUID_8000_001F_EAX] = { 0x8000001f, 0, CPUID_R_EAX },
	[CPUID_8000_0021_EAX] = { 0x80000021, 0, CPUID_R_EAX },
};

/* Offered if the host has it. */
static const u32 offered[MEZZ_CPUID_WORDS] = {
	[CPUID_1_EDX] =
		F(FPU) | F(VME) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) | F(MCE) |
		F(CX8) | F(APIC) | F(SEP) | F(MTRR) | F(PGE) | F(MCA) | F(CMOV) | F(PAT) |
		F(PSE36) | F(CLFLUSH) | F(MMX) | F(FXSR) | F(XMM) | F(XMM2) | F(SELFSNOOP),
	[CPUID_1_ECX] =
		F(XMM3) | F(PCLMULQDQ) | F(SSSE3) | F(FMA) | F(CX16) | F(PCID) | F(XMM4_1) |
		F(XMM4_2) | F(MOVBE) | F(POPCNT) | F(AES) | F(XSAVE) | F(AVX) | F(F16C) |
		F(RDRAND),
	[CPUID_7_0_EBX] =
		F(FSGSBASE) | F(BMI1) | F(AVX2) | F(FDP_EXCPTN_ONLY) | F(SMEP) | F(BMI2) |
		F(ERMS) | F(INVPCID) | F(ZERO_FCS_FDS) | F(AVX512F) | F(AVX512DQ) | F(RDSEED) |
		F(ADX) | F(SMAP) | F(AVX512IFMA) | F(CLFLUSHOPT) | F(CLWB) | F(AVX512PF) |
		F(AVX512ER) | F(AVX512CD) | F(SHA_NI) | F(AVX512BW) | F(AVX512VL),
	[CPUID_7_ECX] =
		F(AVX512VBMI) | F(RDPID) | F(AVX512_VPOPCNTDQ) | F(UMIP) | F(AVX512_VBMI2) |
		F(GFNI) | F(VAES) | F(VPCLMULQDQ) | F(AVX512_VNNI) | F(AVX512_BITALG) |
		F(CLDEMOTE) | F(MOVDIRI) | F(MOVDIR64B),
	[CPUID_7_EDX] =
		F(AVX512_4VNNIW) | F(AVX512_4FMAPS) | F(SPEC_CTRL) | F(SPEC_CTRL_SSBD) |
		F(INTEL_STIBP) | F(MD_CLEAR) | F(AVX512_VP2INTERSECT) | F(FSRM) |
		F(SERIALIZE) | F(AVX512_FP16),
	[CPUID_7_1_EAX] =
		F(AVX_VNNI) | F(AVX512_BF16),
	[CPUID_D_1_EAX] =
		F(XSAVEOPT) | F(XSAVEC) | F(XGETBV1) | F(XSAVES),
	[CPUID_8000_0001_ECX] =
		F(LAHF_LM) | F(CMP_LEGACY) | F(CR8_LEGACY) | F(ABM) | F(SSE4A) |
		F(MISALIGNSSE) | F(3DNOWPREFETCH) | F(OSVW) | F(XOP) | F(FMA4) | F(TBM) |
		F(TOPOEXT),
	[CPUID_8000_0001_EDX] =
		F(FPU) | F(VME) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) | F(MCE) |
		F(CX8) | F(APIC) | F(SYSCALL) | F(MTRR) | F(PGE) | F(MCA) | F(CMOV) | F(PAT) |
		F(PSE36) | F(NX) | F(MMXEXT) | F(MMX) | F(FXSR) | F(FXSR_OPT) | F(GBPAGES) |
		F(RDTSCP) | F(LM) | F(3DNOWEXT) | F(3DNOW),
	[CPUID_8000_0008_EBX] =
		F(CLZERO) | F(XSAVEERPTR) | F(WBNOINVD) | F(AMD_IBPB) | F(AMD_IBRS) |
		F(AMD_STIBP) | F(AMD_STIBP_ALWAYS_ON) | F(AMD_SSBD) | F(AMD_SSB_NO),
	[CPUID_8000_0021_EAX] =
		F_NO_NESTED_DATA_BP | F_LFENCE_SERIALIZING | F(VERW_CLEAR) |
		F_NULL_SEL_CLR_BASE | F(SRSO_NO),
};

/* Offered on every host. */
static const u32 emulated[MEZZ_CPUID_WORDS] = {
	[CPUID_1_ECX] = F(X2APIC) | F(HYPERVISOR),
	[CPUID_7_0_EBX] = F(TSC_ADJUST),
	[CPUID_7_EDX] = F(ARCH_CAPABILITIES),
	[CPUID_8000_0021_EAX] = F_NO_SMM_CTL_MSR,
};

/* Of no use without the registers that an XCR0 component holds. */
static const u32 need_ymm[MEZZ_CPUID_WORDS] = {
	[CPUID_1_ECX] = F(AVX) | F(FMA) | F(F16C),
	[CPUID_7_0_EBX] = F(AVX2),
	[CPUID_7_ECX] = F(VAES) | F(VPCLMULQDQ),
	[CPUID_7_1_EAX] = F(AVX_VNNI),
	[CPUID_8000_0001_ECX] = F(XOP) | F(FMA4),
};

static const u32 need_avx512[MEZZ_CPUID_WORDS] = {
	[CPUID_7_0_EBX] = F(AVX512F) | F(AVX512DQ) | F(AVX512IFMA) | F(AVX512PF) |
			  F(AVX512ER) | F(AVX512CD) | F(AVX512BW) | F(AVX512VL),
	[CPUID_7_ECX] = F(AVX512VBMI) | F(AVX512_VPOPCNTDQ) | F(AVX512_VBMI2) |
			F(AVX512_VNNI) | F(AVX512_BITALG),
	[CPUID_7_EDX] = F(AVX512_4VNNIW) | F(AVX512_4FMAPS) | F(AVX512_VP2INTERSECT) |
			F(AVX512_FP16),
	[CPUID_7_1_EAX] = F(AVX512_BF16),
};

static const u32 need_xsave[MEZZ_CPUID_WORDS] = {
	[CPUID_1_ECX] = F(XSAVE),
	[CPUID_D_1_EAX] = ~0u,
};

static const u32 need_spec_ctrl[MEZZ_CPUID_WORDS] = {
	[CPUID_7_EDX] = F(SPEC_CTRL) | F(SPEC_CTRL_SSBD) | F(INTEL_STIBP),
	[CPUID_8000_0008_EBX] = F(AMD_IBRS) | F(AMD_STIBP) | F(AMD_STIBP_ALWAYS_ON) | F(AMD_SSBD),
};

static const u32 need_ibpb[MEZZ_CPUID_WORDS] = {
	[CPUID_7_EDX] = F(SPEC_CTRL),
	[CPUID_8000_0008_EBX] = F(AMD_IBPB),
};

static const u32 need_tsc_aux[MEZZ_CPUID_WORDS] = {
	[CPUID_7_ECX] = F(RDPID),
	[CPUID_8000_0001_EDX] = F(RDTSCP),
};

/* --- XSAVE image --- */

/* Size, place in the standard image, and alignment in the compacted one. */
static struct {
	u32 size, offset;
	bool align;
} xstate[64];

#define XSTATE_LEGACY	(512 + 64)

static void build_xstate(const struct mezz_cpuid_host *h)
{
	unsigned int i;
	u32 r[4];

	for (i = 2; i < ARRAY_SIZE(xstate) - 1; i++) {
		xstate[i].size = 0;
		if (!((h->xcr0 | h->xss) & BIT_ULL(i)))
			continue;
		h->raw(0xd, i, r);
		xstate[i].size = r[CPUID_R_EAX];
		xstate[i].offset = r[CPUID_R_EBX];
		xstate[i].align = r[CPUID_R_ECX] & 2;
	}
}

u32 mezz_xstate_size(u64 components, bool compacted)
{
	u32 size = XSTATE_LEGACY, offset;
	unsigned int i;

	for (i = 2; i < ARRAY_SIZE(xstate) - 1; i++) {
		if (!(components & BIT_ULL(i)))
			continue;
		if (!compacted)
			offset = xstate[i].offset;
		else
			offset = xstate[i].align ? ALIGN(size, 64) : size;
		size = max(size, offset + xstate[i].size);
	}
	return size;
}

/* --- lists of entries --- */

struct kvm_cpuid_entry2 *mezz_cpuid_scan(struct kvm_cpuid_entry2 *e, unsigned int n,
					 u32 function, u32 index)
{
	const struct kvm_cpuid_entry2 *end = e + n;

	for (; e < end; e++) {
		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	}
	return NULL;
}

static u32 entry_reg(const struct kvm_cpuid_entry2 *e, unsigned int reg)
{
	switch (reg) {
	case CPUID_R_EAX:
		return e->eax;
	case CPUID_R_EBX:
		return e->ebx;
	case CPUID_R_ECX:
		return e->ecx;
	default:
		return e->edx;
	}
}

void mezz_cpuid_features(const struct kvm_cpuid_entry2 *e, unsigned int n, u32 *words)
{
	const struct kvm_cpuid_entry2 *found;
	unsigned int i;

	for (i = 0; i < MEZZ_CPUID_WORDS; i++) {
		words[i] = 0;
		if (!word_at[i].function)
			continue;
		found = mezz_cpuid_scan((struct kvm_cpuid_entry2 *)e, n, word_at[i].function,
					word_at[i].index);
		if (found)
			words[i] = entry_reg(found, word_at[i].reg);
	}
}

/* Sub-leaves are told apart by ECX (SDM 2, "CPUID"; APM 3, "CPUID"). */
static bool is_indexed(u32 function)
{
	switch (function) {
	case 4:
	case 7:
	case 0xb:
	case 0xd:
	case 0xf:
	case 0x10:
	case 0x12:
	case 0x14:
	case 0x17:
	case 0x18:
	case 0x1d:
	case 0x1e:
	case 0x1f:
	case 0x8000001d:
		return true;
	default:
		return false;
	}
}

/* --- building --- */

struct builder {
	struct mezz_cpuid_table *t;
	const struct mezz_cpuid_host *h;
	u32 word[MEZZ_CPUID_WORDS];
	u32 max_basic, max_ext;		/* of the host */
};

static void raw(struct builder *b, u32 function, u32 index, u32 *r)
{
	u32 max = function & BIT(31) ? b->max_ext : b->max_basic;

	memset(r, 0, 4 * sizeof(*r));
	if (function <= max)
		b->h->raw(function, index, r);
}

static void add(struct builder *b, u32 function, u32 index, u32 *r)
{
	struct kvm_cpuid_entry2 *e;

	if (b->t->n == MEZZ_MAX_CPUID)
		return;
	if (b->h->mask)
		b->h->mask(function, index, r);
	e = &b->t->e[b->t->n++];
	memset(e, 0, sizeof(*e));
	e->function = function;
	e->index = index;
	e->flags = is_indexed(function) ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
	e->eax = r[CPUID_R_EAX];
	e->ebx = r[CPUID_R_EBX];
	e->ecx = r[CPUID_R_ECX];
	e->edx = r[CPUID_R_EDX];
}

/*
 * The two vendors have bits of their own for one and the same SPEC_CTRL bit, and
 * guests look at either.
 */
static void share_spec_bits(u32 *w)
{
	u32 *edx = &w[CPUID_7_EDX], *ebx = &w[CPUID_8000_0008_EBX];

	if (*edx & F(SPEC_CTRL))
		*ebx |= F(AMD_IBRS) | F(AMD_IBPB);
	if (*edx & F(INTEL_STIBP))
		*ebx |= F(AMD_STIBP);
	if (*edx & F(SPEC_CTRL_SSBD))
		*ebx |= F(AMD_SSBD);
	if ((*ebx & F(AMD_IBRS)) && (*ebx & F(AMD_IBPB)))
		*edx |= F(SPEC_CTRL);
	if (*ebx & F(AMD_STIBP))
		*edx |= F(INTEL_STIBP);
	if (*ebx & F(AMD_SSBD))
		*edx |= F(SPEC_CTRL_SSBD);
}

static void build_words(struct builder *b)
{
	const struct mezz_cpuid_host *h = b->h;
	unsigned int i;
	u32 r[4];

	for (i = 0; i < MEZZ_CPUID_WORDS; i++) {
		u32 gone = 0;

		b->word[i] = 0;
		if (!word_at[i].function)
			continue;
		raw(b, word_at[i].function, word_at[i].index, r);
		if (!(h->xcr0 & XFEATURE_MASK_YMM))
			gone |= need_ymm[i];
		if ((h->xcr0 & XFEATURE_MASK_AVX512) != XFEATURE_MASK_AVX512)
			gone |= need_avx512[i];
		if (!h->xcr0)
			gone |= need_xsave[i];
		if (!h->spec_ctrl)
			gone |= need_spec_ctrl[i];
		if (!h->ibpb)
			gone |= need_ibpb[i];
		if (!h->tsc_aux)
			gone |= need_tsc_aux[i];
		b->word[i] = r[word_at[i].reg] & h->caps[i] & offered[i] & ~gone;
		b->word[i] |= emulated[i];
	}
	if (h->lfence)
		b->word[CPUID_8000_0021_EAX] |= F_LFENCE_SERIALIZING;
	if (h->null_seg)
		b->word[CPUID_8000_0021_EAX] |= F_NULL_SEL_CLR_BASE;
	share_spec_bits(b->word);
}

/* Cache descriptions until one says "no more". */
static void add_caches(struct builder *b, u32 function)
{
	unsigned int i;
	u32 r[4];

	for (i = 0; i < 16; i++) {
		u32 type;

		raw(b, function, i, r);
		type = r[CPUID_R_EAX] & 0x1f;
		add(b, function, i, r);
		if (!type)
			break;
	}
}

static void add_leaf7(struct builder *b)
{
	u32 r[4];

	raw(b, 7, 0, r);
	r[CPUID_R_EAX] = min(r[CPUID_R_EAX], 1u);
	r[CPUID_R_EBX] = b->word[CPUID_7_0_EBX];
	r[CPUID_R_ECX] = b->word[CPUID_7_ECX];
	r[CPUID_R_EDX] = b->word[CPUID_7_EDX];
	if (r[CPUID_R_EAX]) {
		add(b, 7, 0, r);
		memset(r, 0, sizeof(r));
		r[CPUID_R_EAX] = b->word[CPUID_7_1_EAX];
		add(b, 7, 1, r);
	} else {
		add(b, 7, 0, r);
	}
}

static void add_xsave(struct builder *b)
{
	u64 xcr0 = b->h->xcr0, xss = b->h->xss;
	u32 r[4] = {};
	unsigned int i;

	if (!xcr0) {
		add(b, 0xd, 0, r);
		return;
	}
	r[CPUID_R_EAX] = xcr0;
	r[CPUID_R_EBX] = mezz_xstate_size(xcr0, false);
	r[CPUID_R_ECX] = r[CPUID_R_EBX];
	r[CPUID_R_EDX] = xcr0 >> 32;
	add(b, 0xd, 0, r);

	r[CPUID_R_EAX] = b->word[CPUID_D_1_EAX];
	r[CPUID_R_EBX] = 0;
	if (r[CPUID_R_EAX] & (F(XSAVES) | F(XSAVEC)))
		r[CPUID_R_EBX] = mezz_xstate_size(xcr0 | xss, true);
	r[CPUID_R_ECX] = xss;
	r[CPUID_R_EDX] = xss >> 32;
	add(b, 0xd, 1, r);

	for (i = 2; i < 63; i++) {
		if (!((xcr0 | xss) & BIT_ULL(i)))
			continue;
		raw(b, 0xd, i, r);
		r[CPUID_R_ECX] &= 3;
		r[CPUID_R_EDX] = 0;
		add(b, 0xd, i, r);
	}
}

static void add_basic(struct builder *b, u32 function)
{
	u32 r[4] = {};

	switch (function) {
	case 0:
		raw(b, 0, 0, r);
		r[CPUID_R_EAX] = min(r[CPUID_R_EAX], LAST_BASIC);
		break;
	case 1:
		raw(b, 1, 0, r);
		/* Brand and CLFLUSH size; APIC ID and their number are user space's. */
		r[CPUID_R_EBX] &= 0xffff;
		r[CPUID_R_ECX] = b->word[CPUID_1_ECX];
		r[CPUID_R_EDX] = b->word[CPUID_1_EDX];
		break;
	case 2:
		raw(b, 2, 0, r);
		break;
	case 4:
		add_caches(b, 4);
		return;
	case 6:
		r[CPUID_R_EAX] = ARAT;
		break;
	case 7:
		add_leaf7(b);
		return;
	case 0xd:
		add_xsave(b);
		return;
	/* 0xa: no PMU. 0xb, 0x1f: topology, 0x15: frequencies are user space's. */
	default:
		break;
	}
	add(b, function, 0, r);
}

static void add_extended(struct builder *b, u32 function)
{
	u32 r[4];

	raw(b, function, 0, r);
	switch (function) {
	case 0x80000000:
		r[CPUID_R_EAX] = min(r[CPUID_R_EAX], LAST_EXTENDED);
		/* A leaf of ours, worth to be seen on CPUs without it. */
		if (r[CPUID_R_EAX] >= 0x8000001d)
			r[CPUID_R_EAX] = LAST_EXTENDED;
		break;
	case 0x80000001:
		r[CPUID_R_EBX] &= ~GENMASK(27, 16);
		r[CPUID_R_ECX] = b->word[CPUID_8000_0001_ECX];
		r[CPUID_R_EDX] = b->word[CPUID_8000_0001_EDX];
		break;
	case 0x80000002 ... 0x80000005:	/* brand string, L1 caches and TLBs */
		break;
	case 0x80000006:
		r[CPUID_R_EDX] &= ~GENMASK(17, 16);
		break;
	case 0x80000007:
		r[CPUID_R_EAX] = 0;
		r[CPUID_R_EBX] = 0;
		r[CPUID_R_ECX] = 0;
		r[CPUID_R_EDX] &= INVARIANT_TSC;
		break;
	case 0x80000008:
		/* 48-bit linear addresses, even if the host has 57. */
		r[CPUID_R_EAX] = (r[CPUID_R_EAX] & 0xff) | 48 << 8;
		r[CPUID_R_EBX] = b->word[CPUID_8000_0008_EBX];
		r[CPUID_R_ECX] &= ~(GENMASK(31, 16) | GENMASK(11, 8));
		r[CPUID_R_EDX] = 0;
		break;
	case 0x80000019:
		r[CPUID_R_ECX] = 0;
		r[CPUID_R_EDX] = 0;
		break;
	case 0x8000001a:
		r[CPUID_R_EAX] &= GENMASK(2, 0);
		r[CPUID_R_EBX] = 0;
		r[CPUID_R_ECX] = 0;
		r[CPUID_R_EDX] = 0;
		break;
	case 0x8000001d:
		add_caches(b, function);
		return;
	case 0x80000021:
		memset(r, 0, sizeof(r));
		r[CPUID_R_EAX] = b->word[CPUID_8000_0021_EAX];
		break;
	default:
		memset(r, 0, sizeof(r));
		break;
	}
	add(b, function, 0, r);
}

static void add_hypervisor(struct builder *b)
{
	u32 r[4] = { KVM_CPUID_FEATURES };

	memcpy(&r[CPUID_R_EBX], KVM_SIGNATURE, 12);
	add(b, KVM_CPUID_SIGNATURE, 0, r);
	memset(r, 0, sizeof(r));
	r[CPUID_R_EAX] = b->h->pv_features;
	add(b, KVM_CPUID_FEATURES, 0, r);
}

void mezz_cpuid_build(struct mezz_cpuid_table *t, const struct mezz_cpuid_host *h)
{
	struct builder b = { .t = t, .h = h };
	u32 r[4], f, limit;

	t->n = 0;
	h->raw(0, 0, r);
	b.max_basic = r[CPUID_R_EAX];
	h->raw(0x80000000, 0, r);
	b.max_ext = r[CPUID_R_EAX];
	build_xstate(h);
	build_words(&b);

	for (f = 0; f <= min(b.max_basic, LAST_BASIC); f++)
		add_basic(&b, f);
	add_extended(&b, 0x80000000);
	limit = t->e[t->n - 1].eax;
	for (f = 0x80000001; f <= limit; f++)
		add_extended(&b, f);
	add_hypervisor(&b);
}
