// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which controls the engine uses: one table of what it needs and what it wants, and by
 * which module parameters one does without; and what it uses of EPT. What a CPU grants of
 * the controls is computed by vmx_control_word() (check.c).
 *
 * Locking: during probe only.
 */
#include <linux/module.h>
#include <linux/stddef.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/msr-index.h>
#include <asm/processor.h>

#include "../vmx.h"

/* EPT entries: SDM 3, "The Extended Page Table Mechanism (EPT)" */
#define EPT_READ		BIT_ULL(0)
#define EPT_WRITE		BIT_ULL(1)
#define EPT_EXEC		BIT_ULL(2)
#define EPT_TYPE_WB		(6ull << 3)	/* UC is 0 */
#define EPT_IGNORE_PAT		BIT_ULL(6)
#define EPT_LARGE		BIT_ULL(7)
#define EPT_ACCESSED		BIT_ULL(8)
#define EPT_DIRTY		BIT_ULL(9)

void vmx_read_caps(struct vmx_caps *caps)
{
	const struct { u32 msr; u64 *val; } msrs[] = {
		{ MSR_IA32_VMX_BASIC, &caps->basic },
		{ MSR_IA32_VMX_MISC, &caps->misc },
		{ MSR_IA32_VMX_TRUE_PINBASED_CTLS, &caps->pin },
		{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, &caps->exec },
		{ MSR_IA32_VMX_PROCBASED_CTLS2, &caps->exec2 },
		{ MSR_IA32_VMX_TRUE_EXIT_CTLS, &caps->exit },
		{ MSR_IA32_VMX_TRUE_ENTRY_CTLS, &caps->entry },
		{ MSR_IA32_VMX_EPT_VPID_CAP, &caps->ept_vpid },
		{ MSR_IA32_VMX_CR0_FIXED0, &caps->cr0_fixed0 },
		{ MSR_IA32_VMX_CR0_FIXED1, &caps->cr0_fixed1 },
		{ MSR_IA32_VMX_CR4_FIXED0, &caps->cr4_fixed0 },
		{ MSR_IA32_VMX_CR4_FIXED1, &caps->cr4_fixed1 },
	};
	unsigned int i;

	/* What an old CPU does not have stays 0, and so lacks what is needed. */
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		rdmsrl_safe(msrs[i].msr, msrs[i].val);
	caps->phys_bits = boot_cpu_data.x86_phys_bits;
	caps->virt_bits = boot_cpu_data.x86_virt_bits;
}

/* The control words: what is needed, what is wanted. */
static const struct {
	size_t cap;
	u32 need, want;
	u32 *ctl;
	const char *name;
} controls[] = {
	{ offsetof(struct vmx_caps, pin),
	  PIN_INTR | PIN_NMI | PIN_VNMI,
	  PIN_TIMER, &vmx_has.pin, "virtual NMIs" },
	{ offsetof(struct vmx_caps, exec),
	  EXEC_TSC_OFFSET | EXEC_HLT | EXEC_MWAIT | EXEC_RDPMC | EXEC_MOV_DR | EXEC_IO |
	  EXEC_MSR_BITMAP | EXEC_MONITOR | EXEC_SECONDARY,
	  EXEC_TPR_SHADOW, &vmx_has.exec, "MSR bitmaps or secondary controls" },
	{ offsetof(struct vmx_caps, exec2),
	  EXEC2_EPT | EXEC2_WBINVD,
	  EXEC2_UNRESTRICTED | EXEC2_VPID | EXEC2_RDTSCP | EXEC2_INVPCID | EXEC2_PLE |
	  EXEC2_XSAVES | EXEC2_TSC_SCALING | EXEC2_ENCLS | EXEC2_APIC | EXEC2_PML,
	  &vmx_has.exec2, "EPT" },
	{ offsetof(struct vmx_caps, exit),
	  EXIT_SAVE_DEBUG | EXIT_HOST_64 | EXIT_LOAD_PAT | EXIT_LOAD_EFER,
	  0, &vmx_has.exit, "loading of PAT and EFER" },
	{ offsetof(struct vmx_caps, entry),
	  ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER,
	  0, &vmx_has.entry, "loading of PAT and EFER" },
};

/*
 * What can be done without, by the names that in-tree KVM has for it. After the
 * module is loaded they say what is used.
 */
bool vmx_use_ad = true, vmx_use_pml = true, vmx_nx_large;
static bool use_unrestricted = true, use_vpid = true;
static bool use_tpr_shadow = true, use_timer = true, use_apicv = true;

module_param_named(eptad, vmx_use_ad, bool, 0444);
MODULE_PARM_DESC(eptad, "VMX: accessed and dirty bits of EPT (default: if the CPU has them)");
module_param_named(unrestricted_guest, use_unrestricted, bool, 0444);
MODULE_PARM_DESC(unrestricted_guest, "VMX: real mode in hardware (default: if the CPU can)");
module_param_named(vpid, use_vpid, bool, 0444);
MODULE_PARM_DESC(vpid, "VMX: VPIDs, translations that survive exits (default: so)");
module_param_named(flexpriority, use_tpr_shadow, bool, 0444);
MODULE_PARM_DESC(flexpriority, "VMX: CR8 without exits (default: so)");
module_param_named(enable_apicv, use_apicv, bool, 0444);
MODULE_PARM_DESC(enable_apicv, "VMX: an x2APIC in hardware (default: if the CPU has it)");
module_param_named(preemption_timer, use_timer, bool, 0444);
MODULE_PARM_DESC(preemption_timer, "VMX: guests that never exit are stopped (default: so)");
module_param_named(pml, vmx_use_pml, bool, 0444);
MODULE_PARM_DESC(pml, "VMX: dirty logging by the CPU (default: if it can, and with eptad)");

module_param_named(nx_large, vmx_nx_large, bool, 0444);
MODULE_PARM_DESC(nx_large, "VMX: code by 4 KiB pages (default: on CPUs with iTLB multihit)");

static const struct {
	bool *use;
	u32 *ctl, bits;
} optional[] = {
	{ &use_unrestricted, &vmx_has.exec2, EXEC2_UNRESTRICTED },
	{ &use_vpid, &vmx_has.exec2, EXEC2_VPID },
	{ &use_tpr_shadow, &vmx_has.exec, EXEC_TPR_SHADOW },
	{ &use_apicv, &vmx_has.exec2, EXEC2_APIC },
	{ &use_timer, &vmx_has.pin, PIN_TIMER },
	{ &vmx_use_pml, &vmx_has.exec2, EXEC2_PML },
};

const char *vmx_probe_controls(void)
{
	unsigned int i;
	u64 cap;

	for (i = 0; i < ARRAY_SIZE(controls); i++) {
		cap = *(u64 *)((u8 *)&vmx_has.caps + controls[i].cap);
		if (vmx_control_word(cap, controls[i].need, controls[i].want, controls[i].ctl))
			return controls[i].name;
	}
	/* SDM 3, "VM-Execution Control Fields": it has a TPR in the same page. */
	use_apicv &= use_tpr_shadow;
	for (i = 0; i < ARRAY_SIZE(optional); i++) {
		*optional[i].use &= !(optional[i].bits & ~*optional[i].ctl);
		if (!*optional[i].use)
			*optional[i].ctl &= ~optional[i].bits;
	}
	if (vmx_has.exec & (EXEC_CR3_LOAD | EXEC_CR3_STORE))
		return "unintercepted CR3";
	return NULL;
}

/* --- EPT, after the controls --- */

/* Accessed and dirty bits are added by probe. */
struct mezz_pt_format vmx_pt_format = {
	.present = EPT_READ | EPT_WRITE | EPT_EXEC,
	.table = EPT_READ | EPT_WRITE | EPT_EXEC,
	.leaf = EPT_TYPE_WB | EPT_IGNORE_PAT,
	.large = EPT_LARGE,
	.read = EPT_READ,
	.write = EPT_WRITE,
	.exec = EPT_EXEC,
	.uncached = EPT_TYPE_WB,
	.addr = GENMASK_ULL(51, 12),
};

const char *vmx_probe_ept(struct mezz_host *host)
{
	u64 cap = vmx_has.caps.ept_vpid, levels = 4;

	if (!(cap & EPT_CAP_4_LEVELS) || !(cap & EPT_CAP_WB))
		return "EPT with four levels in cacheable memory";
	if (!(cap & EPT_CAP_INVEPT) || !(cap & (EPT_CAP_INVEPT_ONE | EPT_CAP_INVEPT_ALL)))
		return "INVEPT";
	vmx_has.invept_type = cap & EPT_CAP_INVEPT_ONE ? 1 : 2;
	/* A VPID without a way to drop its translations is of no use. */
	use_vpid &= (cap & VPID_CAP_INVVPID) && (cap & (VPID_CAP_ONE | VPID_CAP_ALL));
	if (!use_vpid)
		vmx_has.exec2 &= ~EXEC2_VPID;
	vmx_has.invvpid_type = cap & VPID_CAP_ONE ? 1 : 2;
	if ((cap & EPT_CAP_5_LEVELS) && boot_cpu_data.x86_phys_bits > 48)
		levels = 5;
	vmx_has.eptp = MEM_TYPE_WB | (levels - 1) << EPTP_LEVELS_SHIFT;
	/* Not beside a page directory that is mapped read-only: limited.c. */
	vmx_use_ad &= (vmx_has.exec2 & EXEC2_UNRESTRICTED) && (cap & EPT_CAP_AD);
	if (vmx_use_ad) {
		vmx_has.eptp |= EPTP_AD;
		vmx_pt_format.accessed = EPT_ACCESSED;
		vmx_pt_format.dirty = EPT_DIRTY;
		vmx_pt_format.leaf |= EPT_ACCESSED;
		vmx_pt_format.table |= EPT_ACCESSED;
	}
	vmx_use_pml &= vmx_use_ad;
	vmx_pt_format.logs = vmx_use_pml;
	host->pt_levels = levels;
	vmx_nx_large |= boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT);
	host->nx_large = vmx_nx_large;
	host->max_page_level = !(cap & EPT_CAP_2M) ? 1 : cap & EPT_CAP_1G ? 3 : 2;
	return NULL;
}
