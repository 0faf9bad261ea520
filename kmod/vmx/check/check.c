// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules of SDM 3, "Checks on VMX Controls and Host-State Area" and "Checking
 * and Loading Guest State", one row each, in the manual's order; and the control
 * words that pass the first of them.
 *
 * Most rules are "these bits of this field have this value, if those bits of that
 * field have that one", so they are data; a function decides the others. Left out:
 * what this engine never sets (I/O bitmaps, posted interrupts, MSR lists, shadow
 * control structures, SMM) and what cannot be otherwise in a 64-bit host. A CPU may
 * know more rules than are here; then none is named.
 */
#include <linux/kernel.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "../../cpu/cpu.h"
#include "../../vcpu.h"
#include "check.h"

#define F(name)		vmx_snap(s, VMCS_##name)
#define AR(seg)		((u32)vmx_snap(s, VMCS_GUEST_AR + 2 * (seg)))
#define SEL(seg)	vmx_snap(s, VMCS_GUEST_SEL + 2 * (seg))
#define DPL(seg)	(AR(seg) >> SEG_AR_DPL_SHIFT & 3)

/* Sets of segments */
#define DATA_SEGS	(BIT(MEZZ_DS) | BIT(MEZZ_ES) | BIT(MEZZ_FS) | BIT(MEZZ_GS))
#define CODE_DATA_SEGS	(DATA_SEGS | BIT(MEZZ_CS) | BIT(MEZZ_SS))
#define LOW_SEGS	(BIT(MEZZ_CS) | BIT(MEZZ_SS) | BIT(MEZZ_DS) | BIT(MEZZ_ES))

#define SEL_RPL		3u
#define SEL_TI		4u
#define AR_TYPE_CODE	BIT(3)
#define AR_RESERVED	(GENMASK(11, 8) | GENMASK(31, 17))
#define AR_DPL		(3u << SEG_AR_DPL_SHIFT)
#define V86_AR		0xf3u	/* present, DPL 3, writable data */
#define EFER_RESERVED	(~(u64)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX))
#define EPTP_RESERVED	GENMASK(11, 8)
#define HIGH_HALF	GENMASK_ULL(63, 32)
#define DEBUGCTL_RESERVED (GENMASK_ULL(63, 16) | GENMASK(5, 3))
#define RFLAGS_RESERVED	(GENMASK_ULL(63, 22) | BIT(15) | BIT(5) | BIT(3))
#define STATE_RESERVED	GENMASK(31, 5)
#define PENDING_RESERVED (GENMASK_ULL(63, 17) | BIT(15) | BIT(13) | GENMASK(11, 4))
#define PDPTE_RESERVED	(GENMASK_ULL(8, 5) | GENMASK_ULL(2, 1))
#define INTR_RESERVED	GENMASK(30, 12)
#define INTR_TYPE_RESERVED BIT(8)
#define INTR_TYPE_OTHER	(7u << 8)
#define ACTIVITY_HLT	1

/* --- helpers --- */

static u64 beyond_phys(const struct vmx_snapshot *s)
{
	return GENMASK_ULL(63, s->caps->phys_bits);
}

static bool canonical(const struct vmx_snapshot *s, u64 addr)
{
	unsigned int shift = 64 - s->caps->virt_bits;

	return (u64)((s64)(addr << shift) >> shift) == addr;
}

static bool unrestricted(const struct vmx_snapshot *s)
{
	return F(EXEC2) & EXEC2_UNRESTRICTED;
}

static bool v86(const struct vmx_snapshot *s)
{
	return F(GUEST_RFLAGS) & X86_EFLAGS_VM;
}

static bool long_code(const struct vmx_snapshot *s)
{
	return (F(ENTRY_CTL) & ENTRY_IA32E) && (AR(MEZZ_CS) & SEG_AR_L);
}

/* Type of the event to be injected, or -1 */
static int injected(const struct vmx_snapshot *s)
{
	return F(ENTRY_INTR) & INTR_VALID ? (int)(F(ENTRY_INTR) & INTR_TYPE) : -1;
}

/* --- rules that are not data: true, if violated --- */

static bool cr3_targets(const struct vmx_snapshot *s)
{
	return F(CR3_TARGETS) > MISC_CR3_TARGETS(s->caps->misc);
}

/* With virtual-interrupt delivery there is none. */
static bool has_threshold(const struct vmx_snapshot *s)
{
	return (F(EXEC) & EXEC_TPR_SHADOW) && !(F(EXEC2) & EXEC2_VID);
}

static bool tpr_reserved(const struct vmx_snapshot *s)
{
	return has_threshold(s) && (F(TPR_THRESHOLD) & ~0xfull);
}

static bool tpr_threshold(const struct vmx_snapshot *s)
{
	return has_threshold(s) && !(F(EXEC2) & EXEC2_APIC_ACCESS) &&
	       (F(TPR_THRESHOLD) & 0xf) > s->vtpr >> 4;
}

static bool ept_type(const struct vmx_snapshot *s)
{
	u64 cap = s->caps->ept_vpid, type = EPTP_TYPE(F(EPTP));

	return (F(EXEC2) & EXEC2_EPT) && !(type == MEM_TYPE_WB && (cap & EPT_CAP_WB)) &&
	       !(type == MEM_TYPE_UC && (cap & EPT_CAP_UC));
}

static bool ept_levels(const struct vmx_snapshot *s)
{
	u64 cap = s->caps->ept_vpid;
	unsigned int levels = EPTP_LEVELS(F(EPTP));

	return (F(EXEC2) & EXEC2_EPT) && !(levels == 4 && (cap & EPT_CAP_4_LEVELS)) &&
	       !(levels == 5 && (cap & EPT_CAP_5_LEVELS));
}

static bool ept_ad(const struct vmx_snapshot *s)
{
	return (F(EXEC2) & EXEC2_EPT) && (F(EPTP) & EPTP_AD) &&
	       !(s->caps->ept_vpid & EPT_CAP_AD);
}

static bool intr_vector(const struct vmx_snapshot *s)
{
	unsigned int vector = F(ENTRY_INTR) & INTR_VECTOR;

	return (injected(s) == INTR_TYPE_NMI && vector != 2) ||
	       (injected(s) == INTR_TYPE_EXC && vector > 31);
}

static bool intr_error(const struct vmx_snapshot *s)
{
	unsigned int vector = F(ENTRY_INTR) & INTR_VECTOR;
	bool real = unrestricted(s) && !(F(GUEST_CR0) & X86_CR0_PE);
	bool has = F(ENTRY_INTR) & INTR_ERR;

	if (injected(s) < 0)
		return false;
	if (injected(s) != INTR_TYPE_EXC || real)
		return has;
	return !(s->caps->basic & BASIC_ANY_ERROR_CODE) &&
	       has != (vector < 32 && (EXC_WITH_ERROR >> vector & 1));
}

static bool intr_insn_len(const struct vmx_snapshot *s)
{
	u64 len = F(ENTRY_INSN_LEN);

	if (injected(s) < (int)INTR_TYPE_SOFT || injected(s) > (int)INTR_TYPE_SOFT_EXC)
		return false;
	return len > 15 || (!len && !(s->caps->misc & MISC_INSN_LEN_0));
}

/* CD and NW are as they like; so are PE and PG of unrestricted guests. */
static bool guest_cr0(const struct vmx_snapshot *s)
{
	u64 cr0 = F(GUEST_CR0), free = X86_CR0_CD | X86_CR0_NW;
	u64 must = s->caps->cr0_fixed0 & ~free;

	if (unrestricted(s))
		must &= ~(u64)(X86_CR0_PE | X86_CR0_PG);
	return (must & ~cr0) || (cr0 & ~(s->caps->cr0_fixed1 | free));
}

static bool ss_rpl(const struct vmx_snapshot *s)
{
	return !v86(s) && !unrestricted(s) && ((SEL(MEZZ_SS) ^ SEL(MEZZ_CS)) & SEL_RPL);
}

static bool v86_base(const struct vmx_snapshot *s)
{
	unsigned int seg;

	for (seg = MEZZ_ES; seg <= MEZZ_GS && v86(s); seg++)
		if (vmx_snap(s, VMCS_GUEST_BASE + 2 * seg) != SEL(seg) << 4)
			return true;
	return false;
}

static bool cs_type(const struct vmx_snapshot *s)
{
	unsigned int type = AR(MEZZ_CS) & SEG_AR_TYPE;

	return !v86(s) && (type & 9) != 9 && !(type == 3 && unrestricted(s));
}

static bool cs_dpl(const struct vmx_snapshot *s)
{
	unsigned int type = AR(MEZZ_CS) & SEG_AR_TYPE, dpl = DPL(MEZZ_CS);

	if (v86(s))
		return false;
	if (type == 3)
		return dpl;
	/* Bit 2: conforming */
	return type & 4 ? dpl > DPL(MEZZ_SS) : dpl != DPL(MEZZ_SS);
}

static bool ss_dpl(const struct vmx_snapshot *s)
{
	if (v86(s))
		return false;
	if (!unrestricted(s) && DPL(MEZZ_SS) != (SEL(MEZZ_SS) & SEL_RPL))
		return true;
	return DPL(MEZZ_SS) && ((AR(MEZZ_CS) & SEG_AR_TYPE) == 3 ||
				!(F(GUEST_CR0) & X86_CR0_PE));
}

static bool data_dpl(const struct vmx_snapshot *s)
{
	unsigned int seg;

	for (seg = MEZZ_ES; seg <= MEZZ_GS && !v86(s) && !unrestricted(s); seg++)
		if ((DATA_SEGS & BIT(seg)) && !(AR(seg) & SEG_AR_UNUSABLE) &&
		    (AR(seg) & SEG_AR_TYPE) < 12 && DPL(seg) < (SEL(seg) & SEL_RPL))
			return true;
	return false;
}

static bool cs_l_and_db(const struct vmx_snapshot *s)
{
	return !v86(s) && long_code(s) && (AR(MEZZ_CS) & SEG_AR_DB);
}

static bool rip(const struct vmx_snapshot *s)
{
	return long_code(s) ? !canonical(s, F(GUEST_RIP)) : F(GUEST_RIP) >> 32;
}

static bool activity(const struct vmx_snapshot *s)
{
	u64 state = F(GUEST_ACTIVITY);

	return state > 3 || (state && !(MISC_ACTIVITY(s->caps->misc) >> (state - 1) & 1));
}

static bool pending_step(const struct vmx_snapshot *s)
{
	bool step = (F(GUEST_RFLAGS) & X86_EFLAGS_TF) && !(F(GUEST_DEBUGCTL) & DEBUGCTLMSR_BTF);

	if (!(F(GUEST_INTR_STATE) & (STATE_STI | STATE_MOV_SS)) &&
	    F(GUEST_ACTIVITY) != ACTIVITY_HLT)
		return false;
	return !(F(GUEST_PENDING_DB) & PENDING_DB_BS) == step;
}

static bool pdptes(const struct vmx_snapshot *s)
{
	unsigned int i;
	u64 pdpte;

	if (!(F(GUEST_CR0) & X86_CR0_PG) || !(F(GUEST_CR4) & X86_CR4_PAE) ||
	    (F(ENTRY_CTL) & ENTRY_IA32E) || !(F(EXEC2) & EXEC2_EPT))
		return false;
	for (i = 0; i < 4; i++) {
		pdpte = vmx_snap(s, VMCS_GUEST_PDPTE0 + 2 * i);
		if ((pdpte & 1) && (pdpte & (PDPTE_RESERVED | beyond_phys(s))))
			return true;
	}
	return false;
}

/* --- the table --- */

enum op {
	ASK,		/* @broken says it */
	BITS,		/* @mask of the field is @val */
	PHYS,		/* physical address, and @mask of it 0 */
	CANONICAL,	/* linear address */
	NOT_ZERO,
	PAT,		/* memory types */
	CONTROL,	/* control bits, against the capability at offset @val */
	FIXED,		/* CR bits, against the two capabilities at offset @val */
};

/*
 * @text: what it says
 * @broken: see ASK
 * @op: what is asked about @field
 * @when: a field; the rule holds only if its bits @when_mask are @when_val
 * @segs: both fields are those of ES, and of these segments each one is meant
 *	that is usable
 * @in_v86: for @segs: in virtual-8086 mode, or outside it
 */
static const struct rule {
	const char *text;
	bool (*broken)(const struct vmx_snapshot *s);
	u64 mask, val;
	u32 when_mask, when_val;
	u16 field, when;
	u8 op, segs;
	bool in_v86;
} rules[] = {
#define FN(fn, says)	{ .op = ASK, .text = says, .broken = fn }
#define RULE(what, name, m, v, says, ...) \
	{ .op = what, .field = VMCS_##name, .mask = m, .val = v, .text = says, ##__VA_ARGS__ }
#define IF(name, m, v)	.when = VMCS_##name, .when_mask = m, .when_val = v
#define IF_SET(name, m)	IF(name, m, m)
#define IF_INJECTED(type) IF(ENTRY_INTR, INTR_VALID | INTR_TYPE, INTR_VALID | (type))
#define IF_VALID	IF_SET(ENTRY_INTR, INTR_VALID)
#define CAP(name)	offsetof(struct vmx_caps, name)
	/* "VM-Execution Control Fields" */
	RULE(CONTROL, PIN, 0, CAP(pin), "pin-based controls: bits that the CPU does not allow"),
	RULE(CONTROL, EXEC, 0, CAP(exec), "primary controls: bits that the CPU does not allow"),
	RULE(CONTROL, EXEC2, 0, CAP(exec2), "secondary controls: bits that the CPU does not allow"),
	FN(cr3_targets, "CR3 targets: more than the CPU has"),
	RULE(PHYS, MSR_BITMAP, 0xfff, 0, "MSR bitmap: not a page's physical address",
	     IF_SET(EXEC, EXEC_MSR_BITMAP)),
	RULE(PHYS, VIRTUAL_APIC, 0xfff, 0, "virtual-APIC page: not a page's physical address",
	     IF_SET(EXEC, EXEC_TPR_SHADOW)),
	FN(tpr_reserved, "TPR threshold: reserved bits"),
	FN(tpr_threshold, "TPR threshold: above the TPR in the virtual-APIC page"),
	RULE(BITS, PIN, PIN_NMI, PIN_NMI, "virtual NMIs without NMI exiting",
	     IF_SET(PIN, PIN_VNMI)),
	RULE(BITS, PIN, PIN_VNMI, PIN_VNMI, "NMI-window exiting without virtual NMIs",
	     IF_SET(EXEC, EXEC_NMI_WINDOW)),
	RULE(BITS, EXEC2, EXEC2_APIC, 0, "x2APIC mode, APIC registers or interrupts without TPR",
	     IF(EXEC, EXEC_TPR_SHADOW, 0)),
	RULE(BITS, EXEC2, EXEC2_APIC_ACCESS, 0, "x2APIC mode beside APIC accesses",
	     IF_SET(EXEC2, EXEC2_X2APIC)),
	RULE(BITS, PIN, PIN_INTR, PIN_INTR, "virtual interrupts without interrupt exiting",
	     IF_SET(EXEC2, EXEC2_VID)),
	RULE(NOT_ZERO, VPID, 0, 0, "VPID: 0", IF_SET(EXEC2, EXEC2_VPID)),
	RULE(BITS, EXEC2, EXEC2_EPT, EXEC2_EPT, "unrestricted guest without EPT",
	     IF_SET(EXEC2, EXEC2_UNRESTRICTED)),
	RULE(BITS, EXEC2, EXEC2_EPT, EXEC2_EPT, "page-modification log without EPT",
	     IF_SET(EXEC2, EXEC2_PML)),
	FN(ept_type, "EPT pointer: memory type that the CPU lacks"),
	FN(ept_levels, "EPT pointer: number of levels that the CPU lacks"),
	FN(ept_ad, "EPT pointer: accessed and dirty flags that the CPU lacks"),
	RULE(PHYS, EPTP, EPTP_RESERVED, 0, "EPT pointer: reserved bits, or beyond physical memory",
	     IF_SET(EXEC2, EXEC2_EPT)),
	RULE(PHYS, PML_ADDRESS, 0xfff, 0, "page-modification log: not a page's physical address",
	     IF_SET(EXEC2, EXEC2_PML)),
	RULE(NOT_ZERO, TSC_MULTIPLIER, 0, 0, "TSC multiplier: 0",
	     IF_SET(EXEC2, EXEC2_TSC_SCALING)),
	/* "VM-Exit Control Fields", "VM-Entry Control Fields" */
	RULE(CONTROL, EXIT_CTL, 0, CAP(exit), "exit controls: bits that the CPU does not allow"),
	RULE(CONTROL, ENTRY_CTL, 0, CAP(entry), "entry controls: bits that the CPU does not allow"),
	RULE(BITS, ENTRY_INTR, INTR_VALID, 0, "injection: reserved type 1",
	     IF_INJECTED(INTR_TYPE_RESERVED)),
	RULE(BITS, ENTRY_INTR, INTR_VALID, 0, "injection: type 7 without monitor trap flag",
	     IF_INJECTED(INTR_TYPE_OTHER)),
	FN(intr_vector, "injection: vector that the type does not have"),
	FN(intr_error, "injection: error code present and wrong, or absent and due"),
	RULE(BITS, ENTRY_INTR, INTR_RESERVED, 0, "injection: reserved bits", IF_VALID),
	RULE(BITS, ENTRY_INTR_ERR, GENMASK(31, 16), 0, "injection: upper half of the error code",
	     IF_SET(ENTRY_INTR, INTR_VALID | INTR_ERR)),
	FN(intr_insn_len, "injection: instruction length of a software event"),
	/* "Checks on Host Control Registers, MSRs, and SSP" */
	RULE(FIXED, HOST_CR0, 0, CAP(cr0_fixed0), "host CR0: bits that VMX does not allow"),
	RULE(FIXED, HOST_CR4, 0, CAP(cr4_fixed0), "host CR4: bits that VMX does not allow"),
	RULE(PHYS, HOST_CR3, 0, 0, "host CR3: beyond physical memory"),
	RULE(CANONICAL, HOST_SYSENTER_ESP, 0, 0, "host SYSENTER_ESP: not canonical"),
	RULE(CANONICAL, HOST_SYSENTER_EIP, 0, 0, "host SYSENTER_EIP: not canonical"),
	RULE(PAT, HOST_PAT, 0, 0, "host PAT: reserved memory type",
	     IF_SET(EXIT_CTL, EXIT_LOAD_PAT)),
	RULE(BITS, HOST_EFER, EFER_RESERVED, 0, "host EFER: reserved bits",
	     IF_SET(EXIT_CTL, EXIT_LOAD_EFER)),
	RULE(BITS, HOST_EFER, EFER_LME | EFER_LMA, EFER_LME | EFER_LMA,
	     "host EFER: LME or LMA not set in a 64-bit host", IF_SET(EXIT_CTL, EXIT_LOAD_EFER)),
	/* "Checks on Host Segment and Descriptor-Table Registers" */
	RULE(BITS, HOST_ES_SEL, SEL_TI | SEL_RPL, 0, "host ES: RPL or TI"),
	RULE(BITS, HOST_CS_SEL, SEL_TI | SEL_RPL, 0, "host CS: RPL or TI"),
	RULE(BITS, HOST_SS_SEL, SEL_TI | SEL_RPL, 0, "host SS: RPL or TI"),
	RULE(BITS, HOST_DS_SEL, SEL_TI | SEL_RPL, 0, "host DS: RPL or TI"),
	RULE(BITS, HOST_FS_SEL, SEL_TI | SEL_RPL, 0, "host FS: RPL or TI"),
	RULE(BITS, HOST_GS_SEL, SEL_TI | SEL_RPL, 0, "host GS: RPL or TI"),
	RULE(BITS, HOST_TR_SEL, SEL_TI | SEL_RPL, 0, "host TR: RPL or TI"),
	RULE(NOT_ZERO, HOST_CS_SEL, 0, 0, "host CS: null"),
	RULE(NOT_ZERO, HOST_TR_SEL, 0, 0, "host TR: null"),
	RULE(CANONICAL, HOST_FS_BASE, 0, 0, "host FS base: not canonical"),
	RULE(CANONICAL, HOST_GS_BASE, 0, 0, "host GS base: not canonical"),
	RULE(CANONICAL, HOST_TR_BASE, 0, 0, "host TR base: not canonical"),
	RULE(CANONICAL, HOST_GDT_BASE, 0, 0, "host GDTR base: not canonical"),
	RULE(CANONICAL, HOST_IDT_BASE, 0, 0, "host IDTR base: not canonical"),
	/* "Checks Related to Address-Space Size" */
	RULE(BITS, EXIT_CTL, EXIT_HOST_64, EXIT_HOST_64, "host address-space size: not 64 bits"),
	RULE(BITS, HOST_CR4, X86_CR4_PAE, X86_CR4_PAE, "host CR4: no PAE"),
	RULE(CANONICAL, HOST_RIP, 0, 0, "host RIP: not canonical"),
	/* "Checks on Guest Control Registers, Debug Registers, and MSRs" */
	FN(guest_cr0, "guest CR0: bits that VMX does not allow"),
	RULE(BITS, GUEST_CR0, X86_CR0_PE, X86_CR0_PE, "guest CR0: PG without PE",
	     IF_SET(GUEST_CR0, X86_CR0_PG)),
	RULE(FIXED, GUEST_CR4, 0, CAP(cr4_fixed0), "guest CR4: bits that VMX does not allow"),
	RULE(BITS, GUEST_DEBUGCTL, DEBUGCTL_RESERVED, 0, "guest DEBUGCTL: reserved bits",
	     IF_SET(ENTRY_CTL, ENTRY_LOAD_DEBUG)),
	RULE(BITS, GUEST_CR0, X86_CR0_PG, X86_CR0_PG, "guest CR0: no PG in IA-32e mode",
	     IF_SET(ENTRY_CTL, ENTRY_IA32E)),
	RULE(BITS, GUEST_CR4, X86_CR4_PAE, X86_CR4_PAE, "guest CR4: no PAE in IA-32e mode",
	     IF_SET(ENTRY_CTL, ENTRY_IA32E)),
	RULE(BITS, GUEST_CR4, X86_CR4_PCIDE, 0, "guest CR4: PCIDE outside IA-32e mode",
	     IF(ENTRY_CTL, ENTRY_IA32E, 0)),
	RULE(PHYS, GUEST_CR3, 0, 0, "guest CR3: beyond physical memory"),
	RULE(BITS, GUEST_DR7, HIGH_HALF, 0, "guest DR7: upper half",
	     IF_SET(ENTRY_CTL, ENTRY_LOAD_DEBUG)),
	RULE(CANONICAL, GUEST_SYSENTER_ESP, 0, 0, "guest SYSENTER_ESP: not canonical"),
	RULE(CANONICAL, GUEST_SYSENTER_EIP, 0, 0, "guest SYSENTER_EIP: not canonical"),
	RULE(PAT, GUEST_PAT, 0, 0, "guest PAT: reserved memory type",
	     IF_SET(ENTRY_CTL, ENTRY_LOAD_PAT)),
	RULE(BITS, GUEST_EFER, EFER_RESERVED, 0, "guest EFER: reserved bits",
	     IF_SET(ENTRY_CTL, ENTRY_LOAD_EFER)),
	RULE(BITS, GUEST_EFER, EFER_LMA, EFER_LMA, "guest EFER: no LMA in IA-32e mode",
	     IF_SET(ENTRY_CTL, ENTRY_LOAD_EFER | ENTRY_IA32E)),
	RULE(BITS, GUEST_EFER, EFER_LMA, 0, "guest EFER: LMA outside IA-32e mode",
	     IF(ENTRY_CTL, ENTRY_LOAD_EFER | ENTRY_IA32E, ENTRY_LOAD_EFER)),
	RULE(BITS, GUEST_EFER, EFER_LME, EFER_LME, "guest EFER: LMA without LME",
	     IF_SET(GUEST_EFER, EFER_LMA)),
	RULE(BITS, GUEST_CR0, X86_CR0_PG, 0, "guest EFER: LME without LMA while paging",
	     IF(GUEST_EFER, EFER_LME | EFER_LMA, EFER_LME)),
	/* "Checks on Guest Segment Registers" */
	RULE(BITS, GUEST_TR_SEL, SEL_TI, 0, "guest TR: TI"),
	RULE(BITS, GUEST_SEL, SEL_TI, 0, "guest LDTR: TI", .segs = BIT(MEZZ_LDTR)),
	FN(ss_rpl, "guest SS: RPL is not that of CS"),
	FN(v86_base, "guest segment in virtual-8086 mode: base is not 16 times the selector"),
	RULE(CANONICAL, GUEST_TR_BASE, 0, 0, "guest TR base: not canonical"),
	RULE(CANONICAL, GUEST_FS_BASE, 0, 0, "guest FS base: not canonical"),
	RULE(CANONICAL, GUEST_GS_BASE, 0, 0, "guest GS base: not canonical"),
	RULE(CANONICAL, GUEST_BASE, 0, 0, "guest LDTR base: not canonical",
	     .segs = BIT(MEZZ_LDTR)),
	RULE(BITS, GUEST_BASE, HIGH_HALF, 0, "guest CS, SS, DS or ES: upper half of the base",
	     .segs = LOW_SEGS),
	RULE(BITS, GUEST_LIMIT, ~0ull, 0xffff, "guest segment in virtual-8086 mode: limit",
	     .segs = CODE_DATA_SEGS, .in_v86 = true),
	RULE(BITS, GUEST_AR, ~0ull, V86_AR, "guest segment in virtual-8086 mode: access rights",
	     .segs = CODE_DATA_SEGS, .in_v86 = true),
	FN(cs_type, "guest CS: type"),
	RULE(BITS, GUEST_AR, 0xb, 3, "guest SS: type", .segs = BIT(MEZZ_SS)),
	RULE(BITS, GUEST_AR, 1, 1, "guest DS, ES, FS or GS: not accessed", .segs = DATA_SEGS),
	RULE(BITS, GUEST_AR, 2, 2, "guest DS, ES, FS or GS: code that cannot be read",
	     IF_SET(GUEST_AR, AR_TYPE_CODE), .segs = DATA_SEGS),
	RULE(BITS, GUEST_AR, SEG_AR_S, SEG_AR_S, "guest segment: a system segment",
	     .segs = CODE_DATA_SEGS),
	FN(cs_dpl, "guest CS: DPL does not go with the type or with SS"),
	FN(ss_dpl, "guest SS: DPL is not RPL, or not 0 in real mode or with CS of type 3"),
	FN(data_dpl, "guest DS, ES, FS or GS: DPL below RPL"),
	RULE(BITS, GUEST_AR, SEG_AR_P, SEG_AR_P, "guest segment: not present",
	     .segs = CODE_DATA_SEGS),
	RULE(BITS, GUEST_AR, AR_RESERVED, 0, "guest segment: reserved bits",
	     .segs = CODE_DATA_SEGS),
	FN(cs_l_and_db, "guest CS: both L and D"),
	RULE(BITS, GUEST_LIMIT, 0xfff, 0xfff, "guest segment: G, and a limit not of whole pages",
	     IF_SET(GUEST_AR, SEG_AR_G), .segs = 0xff),
	RULE(BITS, GUEST_LIMIT, GENMASK(31, 20), 0, "guest segment: no G, and a limit above 1 MiB",
	     IF(GUEST_AR, SEG_AR_G, 0), .segs = 0xff),
	RULE(BITS, GUEST_TR_AR, 7, 3, "guest TR: not the type of a busy TSS"),
	RULE(BITS, GUEST_TR_AR, 0xf, 0xb, "guest TR: not a 64-bit TSS in IA-32e mode",
	     IF_SET(ENTRY_CTL, ENTRY_IA32E)),
	RULE(BITS, GUEST_TR_AR, AR_RESERVED | SEG_AR_UNUSABLE | SEG_AR_P | SEG_AR_S, SEG_AR_P,
	     "guest TR: S, not present, unusable or reserved bits"),
	RULE(BITS, GUEST_AR, AR_RESERVED | SEG_AR_P | SEG_AR_S | SEG_AR_TYPE, SEG_AR_P | 2,
	     "guest LDTR: type, S, not present or reserved bits", .segs = BIT(MEZZ_LDTR)),
	/* "Checks on Guest Descriptor-Table Registers" */
	RULE(CANONICAL, GUEST_GDT_BASE, 0, 0, "guest GDTR base: not canonical"),
	RULE(CANONICAL, GUEST_IDT_BASE, 0, 0, "guest IDTR base: not canonical"),
	RULE(BITS, GUEST_GDT_LIMIT, ~0xffffull, 0, "guest GDTR limit: above 64 KiB"),
	RULE(BITS, GUEST_IDT_LIMIT, ~0xffffull, 0, "guest IDTR limit: above 64 KiB"),
	/* "Checks on Guest RIP, RFLAGS, and SSP" */
	FN(rip, "guest RIP: not canonical, or upper half outside 64-bit mode"),
	RULE(BITS, GUEST_RFLAGS, RFLAGS_RESERVED, 0, "guest RFLAGS: reserved bits"),
	RULE(BITS, GUEST_RFLAGS, X86_EFLAGS_FIXED, X86_EFLAGS_FIXED, "guest RFLAGS: bit 1 clear"),
	RULE(BITS, ENTRY_CTL, ENTRY_IA32E, 0, "guest RFLAGS: VM in IA-32e mode",
	     IF_SET(GUEST_RFLAGS, X86_EFLAGS_VM)),
	RULE(BITS, GUEST_CR0, X86_CR0_PE, X86_CR0_PE, "guest RFLAGS: VM in real mode",
	     IF_SET(GUEST_RFLAGS, X86_EFLAGS_VM)),
	RULE(BITS, GUEST_RFLAGS, X86_EFLAGS_IF, X86_EFLAGS_IF,
	     "guest RFLAGS: an interrupt is injected with IF clear",
	     IF_INJECTED(INTR_TYPE_IRQ)),
	/* "Checks on Guest Non-Register State" */
	FN(activity, "activity state: one that the CPU lacks"),
	RULE(BITS, GUEST_SS_AR, AR_DPL, 0, "activity state: halted in ring 1, 2 or 3",
	     IF(GUEST_ACTIVITY, ~0u, ACTIVITY_HLT)),
	RULE(BITS, GUEST_ACTIVITY, ~0ull, 0, "activity state: not active, blocking by STI",
	     IF_SET(GUEST_INTR_STATE, STATE_STI)),
	RULE(BITS, GUEST_ACTIVITY, ~0ull, 0, "activity state: not active, blocking by MOV SS",
	     IF_SET(GUEST_INTR_STATE, STATE_MOV_SS)),
	RULE(BITS, GUEST_INTR_STATE, STATE_RESERVED, 0, "interruptibility: reserved bits"),
	RULE(BITS, GUEST_INTR_STATE, STATE_MOV_SS, 0, "interruptibility: both STI and MOV SS",
	     IF_SET(GUEST_INTR_STATE, STATE_STI)),
	RULE(BITS, GUEST_RFLAGS, X86_EFLAGS_IF, X86_EFLAGS_IF,
	     "interruptibility: blocking by STI with IF clear",
	     IF_SET(GUEST_INTR_STATE, STATE_STI)),
	RULE(BITS, GUEST_INTR_STATE, STATE_STI | STATE_MOV_SS, 0,
	     "interruptibility: an interrupt is injected into a shadow",
	     IF_INJECTED(INTR_TYPE_IRQ)),
	RULE(BITS, GUEST_INTR_STATE, STATE_MOV_SS, 0,
	     "interruptibility: an NMI is injected into a MOV SS shadow",
	     IF_INJECTED(INTR_TYPE_NMI)),
	RULE(BITS, GUEST_INTR_STATE, STATE_NMI, 0,
	     "interruptibility: an NMI is injected while NMIs are blocked",
	     IF_INJECTED(INTR_TYPE_NMI)),
	RULE(BITS, GUEST_INTR_STATE, STATE_SMI, 0, "interruptibility: blocking by SMI"),
	RULE(BITS, GUEST_PENDING_DB, PENDING_RESERVED, 0, "pending debug: reserved bits"),
	FN(pending_step, "pending debug: BS does not go with TF, in a shadow or halted"),
	RULE(BITS, LINK, ~0ull, ~0ull, "link pointer: not all ones"),
	/* "Checks on Guest Page-Directory-Pointer-Table Entries" */
	FN(pdptes, "guest PDPTE: reserved bits"),
};

static u64 cap_at(const struct vmx_snapshot *s, u64 offset)
{
	return *(const u64 *)((const u8 *)s->caps + offset);
}

/* @seg: 0, or what to add to the fields of ES */
static bool violated(const struct vmx_snapshot *s, const struct rule *r, unsigned int seg)
{
	u64 val = vmx_snap(s, r->field + 2 * seg), cap;

	if (r->when && (vmx_snap(s, r->when + (r->segs ? 2 * seg : 0)) & r->when_mask) !=
	    r->when_val)
		return false;
	switch (r->op) {
	case ASK:
		return r->broken(s);
	case BITS:
		return (val & r->mask) != r->val;
	case PHYS:
		return val & (r->mask | beyond_phys(s));
	case CANONICAL:
		return !canonical(s, val);
	case NOT_ZERO:
		return !val;
	case PAT:
		return !mezz_pat_valid(val);
	case CONTROL:
		cap = cap_at(s, r->val);
		return ((u32)cap & ~val) || (val & ~(cap >> 32));
	default:
		return (cap_at(s, r->val) & ~val) || (val & ~cap_at(s, r->val + sizeof(u64)));
	}
}

static bool broken(const struct vmx_snapshot *s, const struct rule *r)
{
	unsigned int seg;

	if (!r->segs)
		return violated(s, r, 0);
	for (seg = MEZZ_ES; seg < MEZZ_NR_SEGS; seg++) {
		if (!(r->segs & BIT(seg)) || (seg <= MEZZ_GS && r->in_v86 != v86(s)))
			continue;
		/* CS is never unusable. */
		if ((seg == MEZZ_CS || r->in_v86 || !(AR(seg) & SEG_AR_UNUSABLE)) &&
		    violated(s, r, seg))
			return true;
	}
	return false;
}

int vmx_broken_rule(const struct vmx_snapshot *s, unsigned int from)
{
	unsigned int n;

	for (n = from; n < ARRAY_SIZE(rules); n++)
		if (broken(s, &rules[n]))
			return n;
	return -1;
}

const char *vmx_rule(unsigned int n)
{
	return n < ARRAY_SIZE(rules) ? rules[n].text : NULL;
}

u32 vmx_control_word(u64 cap, u32 need, u32 want, u32 *ctl)
{
	u32 must = cap, may = cap >> 32;

	if (need & ~may)
		return need & ~may;
	*ctl = must | need | (want & may);
	return 0;
}
