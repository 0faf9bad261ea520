// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSR ioctls: the lists of what user space should save, the MSRs that describe
 * the host, and reading and writing in batches.
 *
 * The save list holds what in-tree KVM lists and this module has, and what the
 * engine adds. MTRRs, machine-check banks and IA32_APIC_BASE are not listed
 * there either: clients know them.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/cpufeatures.h>
#include <asm/msr.h>
#include <asm/msr-index.h>
#include <asm/processor.h>
#include <asm/kvm_para.h>

#include "../pv/pv.h"
#include "internal.h"

/* KVM's limit on a batch. */
#define MAX_BATCH	256
#define MAX_LIST	128

/* --- lists --- */

static const u32 always[] = {
	MSR_IA32_TSC, MSR_IA32_TSC_ADJUST, MSR_IA32_TSC_DEADLINE, MSR_IA32_MISC_ENABLE,
	MSR_IA32_MCG_STATUS, MSR_IA32_MCG_CTL, MSR_SMI_COUNT, MSR_PLATFORM_INFO,
	MSR_MISC_FEATURES_ENABLES, MSR_IA32_POWER_CTL, MSR_IA32_UCODE_REV,
	MSR_IA32_ARCH_CAPABILITIES, MSR_K7_HWCR,
	/* held by the engine */
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, MSR_IA32_CR_PAT,
};

static const struct {
	unsigned int feature;	/* KVM_FEATURE_* */
	u32 msr;
} pv_msrs[] = {
	{ KVM_FEATURE_CLOCKSOURCE, MSR_KVM_SYSTEM_TIME },
	{ KVM_FEATURE_CLOCKSOURCE, MSR_KVM_WALL_CLOCK },
	{ KVM_FEATURE_CLOCKSOURCE2, MSR_KVM_SYSTEM_TIME_NEW },
	{ KVM_FEATURE_CLOCKSOURCE2, MSR_KVM_WALL_CLOCK_NEW },
	{ KVM_FEATURE_STEAL_TIME, MSR_KVM_STEAL_TIME },
	{ KVM_FEATURE_PV_EOI, MSR_KVM_PV_EOI_EN },
	{ KVM_FEATURE_POLL_CONTROL, MSR_KVM_POLL_CONTROL },
	{ KVM_FEATURE_ASYNC_PF, MSR_KVM_ASYNC_PF_EN },
	{ KVM_FEATURE_ASYNC_PF_INT, MSR_KVM_ASYNC_PF_INT },
	{ KVM_FEATURE_ASYNC_PF_INT, MSR_KVM_ASYNC_PF_ACK },
};

static u32 *list;
static unsigned int list_n;

static const u32 features[] = {
	MSR_IA32_UCODE_REV, MSR_IA32_ARCH_CAPABILITIES, MSR_AMD64_DE_CFG,
};

static void list_add_msr(u32 msr)
{
	unsigned int i;

	for (i = 0; i < list_n; i++)
		if (list[i] == msr)
			return;
	if (list_n < MAX_LIST)
		list[list_n++] = msr;
}

int mezz_msr_list_setup(void)
{
	const u32 *engine = mezz_engine->msrs;
	unsigned int i;

	list = kcalloc(MAX_LIST, sizeof(*list), GFP_KERNEL);
	if (!list)
		return -ENOMEM;
	list_n = 0;
	for (; engine && *engine; engine++)
		list_add_msr(*engine);
	for (i = 0; i < ARRAY_SIZE(always); i++)
		list_add_msr(always[i]);
	for (i = 0; i < ARRAY_SIZE(pv_msrs); i++)
		if (mezz_pv_features() & BIT(pv_msrs[i].feature))
			list_add_msr(pv_msrs[i].msr);
	if (mezz_host.tsc_aux)
		list_add_msr(MSR_TSC_AUX);
	if (mezz_host.spec_ctrl)
		list_add_msr(MSR_IA32_SPEC_CTRL);
	if (mezz_host.xss)
		list_add_msr(MSR_IA32_XSS);
	return 0;
}

void mezz_msr_list_teardown(void)
{
	kfree(list);
	list = NULL;
}

static long get_list(struct kvm_msr_list __user *argp, const u32 *msrs, unsigned int n)
{
	struct kvm_msr_list head;
	unsigned int room;

	if (copy_from_user(&head, argp, sizeof(head)))
		return -EFAULT;
	room = head.nmsrs;
	/* Told even if there is no room. */
	head.nmsrs = n;
	if (copy_to_user(argp, &head, sizeof(head)))
		return -EFAULT;
	if (room < n)
		return -E2BIG;
	return copy_to_user(argp->indices, msrs, n * sizeof(*msrs)) ? -EFAULT : 0;
}

/* --- MSRs that describe the host --- */

/* Bits of IA32_ARCH_CAPABILITIES that need nothing from us to be true in a guest. */
#define ARCH_CAPS_OFFERED						\
	(ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_RSBA |		\
	 ARCH_CAP_SKIP_VMENTRY_L1DFLUSH | ARCH_CAP_SSB_NO |		\
	 ARCH_CAP_MDS_NO | ARCH_CAP_PSCHANGE_MC_NO | ARCH_CAP_TAA_NO |	\
	 ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO |	\
	 ARCH_CAP_FB_CLEAR | ARCH_CAP_RRSBA | ARCH_CAP_PBRSB_NO)

/* A CPU without the bug may lack the bit, or the whole MSR. */
static const struct {
	unsigned int bug;
	u64 bit;
} arch_caps_bugs[] = {
	{ X86_BUG_CPU_MELTDOWN, ARCH_CAP_RDCL_NO },
	{ X86_BUG_SPEC_STORE_BYPASS, ARCH_CAP_SSB_NO },
	{ X86_BUG_MDS, ARCH_CAP_MDS_NO },
	{ X86_BUG_ITLB_MULTIHIT, ARCH_CAP_PSCHANGE_MC_NO },
	{ X86_BUG_GDS, ARCH_CAP_GDS_NO },
	{ X86_BUG_RFDS, ARCH_CAP_RFDS_NO },
	{ X86_BUG_ITS, ARCH_CAP_ITS_NO },
};

static u64 arch_caps(void)
{
	u64 caps = 0;
	unsigned int i;

	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES)) {
		rdmsrl(MSR_IA32_ARCH_CAPABILITIES, caps);
		caps &= ARCH_CAPS_OFFERED;
	}
	for (i = 0; i < ARRAY_SIZE(arch_caps_bugs); i++)
		if (!boot_cpu_has_bug(arch_caps_bugs[i].bug))
			caps |= arch_caps_bugs[i].bit;
	return caps;
}

int mezz_msr_feature(u32 msr, u64 *data)
{
	u64 val = 0;

	switch (msr) {
	case MSR_IA32_UCODE_REV:
		/* Not there on some virtual CPUs: then 0. */
		if (rdmsrl_safe(msr, &val))
			val = 0;
		break;
	case MSR_IA32_ARCH_CAPABILITIES:
		val = arch_caps();
		break;
	case MSR_AMD64_DE_CFG:
		if (boot_cpu_has(X86_FEATURE_LFENCE_RDTSC))
			val = MSR_AMD64_DE_CFG_LFENCE_SERIALIZE;
		break;
	default:
		return 1;
	}
	*data = val;
	return 0;
}

/* --- batches --- */

static int get_feature(struct mezz_vcpu *unused, u32 msr, u64 *data)
{
	return mezz_msr_feature(msr, data);
}

static int get_one(struct mezz_vcpu *v, u32 msr, u64 *data)
{
	return mezz_get_msr(v, msr, data, true);
}

static int set_one(struct mezz_vcpu *v, u32 msr, u64 *data)
{
	return mezz_set_msr(v, msr, *data, true);
}

typedef int (*access_fn)(struct mezz_vcpu *v, u32 msr, u64 *data);

/* Returns how many were done: the first that fails ends the batch. */
static unsigned int each(struct mezz_vcpu *v, struct kvm_msr_entry *e, unsigned int nmsrs,
			 access_fn one)
{
	unsigned int n;

	for (n = 0; n < nmsrs; n++) {
		u64 data = e[n].data;

		if (one(v, e[n].index, &data))
			break;
		e[n].data = data;
	}
	return n;
}

/* PV MSRs reach into guest memory. */
static unsigned int each_of_vcpu(struct mezz_vcpu *v, struct kvm_msr_entry *e,
				 unsigned int nmsrs, access_fn one)
{
	int idx = mezz_read_lock(v->vm);
	unsigned int n = each(v, e, nmsrs, one);

	mezz_read_unlock(v->vm, idx);
	return n;
}

static long batch(struct mezz_vcpu *v, struct kvm_msrs __user *argp, access_fn one,
		  bool writeback)
{
	struct kvm_msr_entry *e;
	struct kvm_msrs head;
	unsigned int n;
	size_t size;

	if (copy_from_user(&head, argp, sizeof(head)))
		return -EFAULT;
	if (head.nmsrs >= MAX_BATCH)
		return -E2BIG;
	size = head.nmsrs * sizeof(*e);
	if (!size)
		return 0;
	e = memdup_user(argp->entries, size);
	if (IS_ERR(e))
		return PTR_ERR(e);
	n = v ? each_of_vcpu(v, e, head.nmsrs, one) : each(NULL, e, head.nmsrs, one);
	if (writeback && copy_to_user(argp->entries, e, size)) {
		kfree(e);
		return -EFAULT;
	}
	kfree(e);
	return n;
}

long mezz_msr_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, void __user *argp)
{
	switch (cmd) {
	case KVM_GET_MSRS:
		return batch(v, argp, get_one, true);
	case KVM_SET_MSRS:
		return batch(v, argp, set_one, false);
	default:
		return -ENOIOCTLCMD;
	}
}

long mezz_msr_sys_ioctl(unsigned int cmd, void __user *argp)
{
	switch (cmd) {
	case KVM_GET_MSR_INDEX_LIST:
		return get_list(argp, list, list_n);
	case KVM_GET_MSR_FEATURE_INDEX_LIST:
		return get_list(argp, features, ARRAY_SIZE(features));
	case KVM_GET_MSRS:
		return batch(NULL, argp, get_feature, true);
	default:
		return -ENOIOCTLCMD;
	}
}
