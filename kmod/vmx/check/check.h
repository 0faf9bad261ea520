/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Why does a VM entry fail? The checks of SDM 3, "VM Entries", as data, and the
 * control words that pass them, computed from the capability MSRs.
 *
 * Pure: knows nothing of the running machine. Everything is in the snapshot.
 */
#ifndef MEZZ_VMX_CHECK_H
#define MEZZ_VMX_CHECK_H

#include <linux/bits.h>
#include <linux/types.h>
#include "../vmcs.h"

/**
 * struct vmx_caps - what the capability MSRs say
 * @pin: pin-based controls: what must be 1 in the lower half, what may be 1 in the
 *	upper one (SDM 3, appendix "VMX Capability Reporting Facility"); so the next
 * @exec: primary processor-based controls
 * @exec2: secondary ones
 * @exit: exit controls
 * @entry: entry controls
 * @basic: IA32_VMX_BASIC
 * @misc: IA32_VMX_MISC
 * @ept_vpid: IA32_VMX_EPT_VPID_CAP
 * @cr0_fixed0: CR0 bits that must be 1
 * @cr0_fixed1: CR0 bits that may be 1
 * @cr4_fixed0: CR4 bits that must be 1
 * @cr4_fixed1: CR4 bits that may be 1
 * @phys_bits: width of physical addresses
 * @virt_bits: width of linear addresses
 */
struct vmx_caps {
	u64 pin, exec, exec2, exit, entry;
	u64 basic, misc, ept_vpid;
	u64 cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	u8 phys_bits, virt_bits;
};

/* IA32_VMX_BASIC: SDM 3, "Basic VMX Information" */
#define BASIC_REVISION		GENMASK_ULL(30, 0)
#define BASIC_MEM_TYPE(b)	((b) >> 50 & 0xf)
#define BASIC_TRUE_CTLS		BIT_ULL(55)
#define BASIC_ANY_ERROR_CODE	BIT_ULL(56)	/* injected with any exception or none */
#define MEM_TYPE_UC		0
#define MEM_TYPE_WB		6

/* IA32_VMX_MISC */
#define MISC_ACTIVITY(m)	((m) >> 6 & 7)	/* HLT, shutdown, wait for SIPI */
#define MISC_CR3_TARGETS(m)	((m) >> 16 & 0x1ff)
#define MISC_INSN_LEN_0		BIT_ULL(30)

/* IA32_VMX_EPT_VPID_CAP */
#define EPT_CAP_4_LEVELS	BIT_ULL(6)
#define EPT_CAP_5_LEVELS	BIT_ULL(7)
#define EPT_CAP_UC		BIT_ULL(8)
#define EPT_CAP_WB		BIT_ULL(14)
#define EPT_CAP_2M		BIT_ULL(16)
#define EPT_CAP_1G		BIT_ULL(17)
#define EPT_CAP_INVEPT		BIT_ULL(20)
#define EPT_CAP_AD		BIT_ULL(21)
#define EPT_CAP_INVEPT_ONE	BIT_ULL(25)
#define EPT_CAP_INVEPT_ALL	BIT_ULL(26)
#define VPID_CAP_INVVPID	BIT_ULL(32)
#define VPID_CAP_ONE		BIT_ULL(41)
#define VPID_CAP_ALL		BIT_ULL(42)

/* EPT pointer: SDM 3, "Extended-Page-Table Pointer (EPTP)" */
#define EPTP_TYPE(p)		((p) & 7)
#define EPTP_LEVELS_SHIFT	3
#define EPTP_LEVELS(p)		(((p) >> EPTP_LEVELS_SHIFT & 7) + 1)
#define EPTP_AD			BIT_ULL(6)

/*
 * A snapshot has a place for every field: its width, type and index (SDM 3,
 * appendix "Field Encoding in VMCS") with a short index.
 */
#define VMX_SNAPSHOT_FIELDS	512

static inline unsigned int vmx_place(u32 field)
{
	return (field >> 13 & 3) << 7 | (field >> 10 & 3) << 5 | (field >> 1 & 31);
}

static inline u32 vmx_field_at(unsigned int place)
{
	return (place >> 7 & 3) << 13 | (place >> 5 & 3) << 10 | (place & 31) << 1;
}

/**
 * struct vmx_snapshot - a control structure at rest
 * @f: its fields, by vmx_place(); 0 where the CPU has no such field
 * @caps: of the CPU
 * @vtpr: TPR in the virtual-APIC page
 */
struct vmx_snapshot {
	u64 f[VMX_SNAPSHOT_FIELDS];
	const struct vmx_caps *caps;
	u8 vtpr;
};

static inline u64 vmx_snap(const struct vmx_snapshot *s, u32 field)
{
	return s->f[vmx_place(field)];
}

/**
 * vmx_broken_rule() - which rule keeps this state from being entered?
 * @s: what was to be entered
 * @from: number of the first rule to look at
 * Return: number of the rule, negative: none
 */
int vmx_broken_rule(const struct vmx_snapshot *s, unsigned int from);
/* What rule number @n says. */
const char *vmx_rule(unsigned int n);

/**
 * vmx_control_word() - the value of a control field
 * @cap: what must and what may be 1, as in struct vmx_caps
 * @need: bits without which the engine does not work
 * @want: bits that it uses where they exist
 * @ctl: the result
 * Return: the needed bits that the CPU lacks; @ctl is not set if there are any
 */
u32 vmx_control_word(u64 cap, u32 need, u32 want, u32 *ctl);

#endif
