// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control and debug registers: the architecture's checks and side effects.
 *
 * The engine loads what is marked dirty; here is decided what may be set.
 * Translations of the guest are dropped through MEZZ_REQ_TLB_FLUSH where the
 * manuals say that a write invalidates them (SDM 3, "Operations that Invalidate
 * TLBs and Paging-Structure Caches"), all of them, for simplicity.
 *
 * Known hack: in PAE mode the four PDPTEs are not checked when software here sets a
 * control register. AMD's hardware reads them when it needs them (APM 2, "Nested
 * Paging and ... Legacy PAE Mode"), and faults then; for Intel's the engine takes one
 * with reserved bits for an absent one. MOV to CR3 itself is left to the hardware.
 */
#include <linux/mm.h>
#include <linux/nospec.h>
#include <asm/cpufeatures.h>
#include <asm/fpu/types.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "../host/host.h"
#include "../irq/irq.h"
#include "internal.h"
#include "lazy.h"

#define CR0_KNOWN	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET |	\
			 X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD |	\
			 X86_CR0_PG)
/* Bits that every CPU with virtualization has. */
#define CR4_BASE	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE |	\
			 X86_CR4_PAE | X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE |		\
			 X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)

#define DR6_VOLATILE	0x0000e00full	/* BT BS BD, B3-B0 */
#define DR6_FIXED	0xffff0ff0ull
#define DR7_VOLATILE	0xffff2bffull
#define DR7_FIXED	0x00000400ull

static const struct {
	unsigned int feature;
	u64 bit;
} cr4_features[] = {
	{ X86_FEATURE_XSAVE, X86_CR4_OSXSAVE },
	{ X86_FEATURE_SMEP, X86_CR4_SMEP },
	{ X86_FEATURE_SMAP, X86_CR4_SMAP },
	{ X86_FEATURE_FSGSBASE, X86_CR4_FSGSBASE },
	{ X86_FEATURE_UMIP, X86_CR4_UMIP },
	{ X86_FEATURE_PCID, X86_CR4_PCIDE },
}, efer_features[] = {
	{ X86_FEATURE_LM, EFER_LME | EFER_LMA },
	{ X86_FEATURE_NX, EFER_NX },
	{ X86_FEATURE_FXSR_OPT, EFER_FFXSR },
}, spec_features[] = {
	{ X86_FEATURE_SPEC_CTRL, SPEC_CTRL_IBRS | SPEC_CTRL_STIBP },
	{ X86_FEATURE_AMD_IBRS, SPEC_CTRL_IBRS },
	{ X86_FEATURE_INTEL_STIBP, SPEC_CTRL_STIBP },
	{ X86_FEATURE_AMD_STIBP, SPEC_CTRL_STIBP },
	{ X86_FEATURE_SPEC_CTRL_SSBD, SPEC_CTRL_SSBD },
	{ X86_FEATURE_AMD_SSBD, SPEC_CTRL_SSBD },
};

/* Before CPUID is set, everything that is offered may be used. */
static bool usable(struct mezz_vcpu *v, unsigned int f)
{
	return mezz_supports(f) && (!v->cpu_state->nent || mezz_guest_has(v, f));
}

u64 mezz_spec_ctrl_bits(void)
{
	unsigned int i;
	u64 bits = 0;

	for (i = 0; i < ARRAY_SIZE(spec_features); i++)
		if (mezz_supports(spec_features[i].feature))
			bits |= spec_features[i].bit;
	return bits;
}

void mezz_cr_cpuid_changed(struct mezz_vcpu *v)
{
	struct mezz_cpu_state *st = v->cpu_state;
	unsigned int i;

	st->cr4_ok = CR4_BASE;
	for (i = 0; i < ARRAY_SIZE(cr4_features); i++)
		if (usable(v, cr4_features[i].feature))
			st->cr4_ok |= cr4_features[i].bit;
	st->efer_ok = EFER_SCE;
	for (i = 0; i < ARRAY_SIZE(efer_features); i++)
		if (usable(v, efer_features[i].feature))
			st->efer_ok |= efer_features[i].bit;
	st->spec_ok = 0;
	for (i = 0; i < ARRAY_SIZE(spec_features); i++)
		if (usable(v, spec_features[i].feature))
			st->spec_ok |= spec_features[i].bit;
	st->xcr0_ok = XFEATURE_MASK_FP;
	if (st->leaf_d0)
		st->xcr0_ok |= (st->leaf_d0->eax | (u64)st->leaf_d0->edx << 32) & mezz_host.xcr0;
}

/* --- CR0 and EFER --- */

bool mezz_cr0_valid(u64 cr0)
{
	if (cr0 >> 32)
		return false;
	if ((cr0 & X86_CR0_NW) && !(cr0 & X86_CR0_CD))
		return false;
	return !(cr0 & X86_CR0_PG) || (cr0 & X86_CR0_PE);
}

int mezz_set_cr0(struct mezz_vcpu *v, u64 val)
{
	u64 old = mezz_get(v, MEZZ_CR0), efer = mezz_get(v, MEZZ_EFER);
	u64 cr4 = mezz_get(v, MEZZ_CR4);

	if (!mezz_cr0_valid(val))
		return 1;
	/* Reserved bits are ignored (SDM 3, "Control Registers"). */
	val = (val & CR0_KNOWN) | X86_CR0_ET;

	/* SDM 3, "Initializing IA-32e Mode" */
	if ((val & ~old & X86_CR0_PG) && (efer & EFER_LME) &&
	    (!(cr4 & X86_CR4_PAE) || (mezz_engine->cs_mode(v) & 2)))
		return 1;
	if ((old & ~val & X86_CR0_PG) && (mezz_64bit(v) || (cr4 & X86_CR4_PCIDE)))
		return 1;

	if ((val ^ old) & X86_CR0_PG) {
		if ((val & X86_CR0_PG) && (efer & EFER_LME))
			mezz_set(v, MEZZ_EFER, efer | EFER_LMA);
		else if (efer & EFER_LMA)
			mezz_set(v, MEZZ_EFER, efer & ~EFER_LMA);
	}
	mezz_set(v, MEZZ_CR0, val);
	if ((val ^ old) & (X86_CR0_PG | X86_CR0_WP))
		mezz_request(v, MEZZ_REQ_TLB_FLUSH);
	return 0;
}

bool mezz_efer_exists(u64 efer)
{
	u64 known = EFER_SCE;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(efer_features); i++)
		if (mezz_supports(efer_features[i].feature))
			known |= efer_features[i].bit;
	return !(efer & ~known);
}

int mezz_set_efer(struct mezz_vcpu *v, u64 val, bool host)
{
	u64 old = mezz_get(v, MEZZ_EFER);

	if (!mezz_efer_exists(val))
		return 1;
	if (!host) {
		if (val & ~v->cpu_state->efer_ok)
			return 1;
		if (((val ^ old) & EFER_LME) && mezz_paging(v))
			return 1;
	}
	/* LMA is read-only: it follows LME and CR0.PG. */
	val = (val & ~EFER_LMA) | (old & EFER_LMA);
	mezz_set(v, MEZZ_EFER, val);
	if ((val ^ old) & (EFER_NX | EFER_LME))
		mezz_request(v, MEZZ_REQ_TLB_FLUSH);
	return 0;
}

/* --- CR3, CR4, CR8 --- */

int mezz_set_cr3(struct mezz_vcpu *v, u64 val)
{
	bool flush = true;

	if (mezz_get(v, MEZZ_CR4) & X86_CR4_PCIDE) {
		flush = !(val & X86_CR3_PCID_NOFLUSH);
		val &= ~X86_CR3_PCID_NOFLUSH;
	}
	if (mezz_bad_gpa(v, val))
		return 1;
	mezz_set(v, MEZZ_CR3, val);
	if (flush)
		mezz_request(v, MEZZ_REQ_TLB_FLUSH);
	return 0;
}

bool mezz_cr4_valid(struct mezz_vcpu *v, u64 cr4)
{
	return !(cr4 & ~v->cpu_state->cr4_ok);
}

int mezz_set_cr4(struct mezz_vcpu *v, u64 val)
{
	u64 old = mezz_get(v, MEZZ_CR4), changed = val ^ old;

	if (!mezz_cr4_valid(v, val))
		return 1;
	if (mezz_long_mode(v) && !(val & X86_CR4_PAE))
		return 1;
	/* SDM 3, "Process-Context Identifiers (PCIDs)" */
	if ((val & changed & X86_CR4_PCIDE) &&
	    (!mezz_long_mode(v) || (mezz_get(v, MEZZ_CR3) & X86_CR3_PCID_MASK)))
		return 1;
	mezz_set(v, MEZZ_CR4, val);
	if ((changed & (X86_CR4_PGE | X86_CR4_PAE | X86_CR4_PSE)) ||
	    (old & changed & X86_CR4_PCIDE) || (val & changed & (X86_CR4_SMEP | X86_CR4_SMAP)))
		mezz_request(v, MEZZ_REQ_TLB_FLUSH);
	if (changed & X86_CR4_OSXSAVE) {
		mezz_cpuid_refresh(v);
		if (v->atomic)
			mezz_fpu_xcr0_changed(v);
	}
	return 0;
}

int mezz_set_cr8(struct mezz_vcpu *v, u64 val)
{
	if (val & ~0xfull)
		return 1;
	if (v->lapic) {
		mezz_lapic_set_cr8(v, val);
	} else {
		v->cr8 = val;
		/* The guest may read it without an exit. */
		mezz_engine->update_cr8(v, val, -1);
	}
	return 0;
}

u64 mezz_get_cr8(struct mezz_vcpu *v)
{
	return v->lapic ? mezz_lapic_get_cr8(v) : v->cr8;
}

/* --- XCR0 --- */

/* SDM 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features" */
int mezz_set_xcr0(struct mezz_vcpu *v, u64 val)
{
	u64 changed = val ^ v->xcr0;

	if (!(val & XFEATURE_MASK_FP) || (val & ~v->cpu_state->xcr0_ok))
		return 1;
	if ((val & XFEATURE_MASK_YMM) && !(val & XFEATURE_MASK_SSE))
		return 1;
	if ((val & XFEATURE_MASK_AVX512) &&
	    ((val & XFEATURE_MASK_AVX512) != XFEATURE_MASK_AVX512 ||
	     !(val & XFEATURE_MASK_YMM)))
		return 1;
	v->xcr0 = val;
	if (changed & ~XFEATURE_MASK_FPSSE)
		mezz_cpuid_refresh(v);
	return 0;
}

/* --- debug registers --- */

/* DR4 and DR5 are DR6 and DR7, or gone with CR4.DE: SDM 3, "Debug Registers DR4 and DR5". */
static int dr_number(struct mezz_vcpu *v, unsigned int n)
{
	if (n != 4 && n != 5)
		return n;
	return mezz_get(v, MEZZ_CR4) & X86_CR4_DE ? -1 : n + 2;
}

int mezz_set_dr(struct mezz_vcpu *v, unsigned int n, u64 val)
{
	int dr = dr_number(v, n);

	switch (dr) {
	case 0 ... 3:
		/* Accesses exit only while they are not loaded, so this is the copy that counts. */
		v->dr[array_index_nospec(dr, ARRAY_SIZE(v->dr))] = val;
		return 0;
	case 6:
		if (val >> 32)
			return 1;
		mezz_set(v, MEZZ_DR6, (val & DR6_VOLATILE) | DR6_FIXED);
		return 0;
	case 7:
		if (val >> 32)
			return 1;
		mezz_set(v, MEZZ_DR7, (val & DR7_VOLATILE) | DR7_FIXED);
		mezz_update_debug(v);
		return 0;
	default:
		return 2;
	}
}

int mezz_get_dr(struct mezz_vcpu *v, unsigned int n, u64 *val)
{
	int dr = dr_number(v, n);

	switch (dr) {
	case 0 ... 3:
		*val = v->dr[array_index_nospec(dr, ARRAY_SIZE(v->dr))];
		return 0;
	case 6:
		*val = mezz_get(v, MEZZ_DR6);
		return 0;
	case 7:
		*val = mezz_get(v, MEZZ_DR7);
		return 0;
	default:
		return 2;
	}
}
