// SPDX-License-Identifier: GPL-2.0-only
/*
 * Machine checks: the banks, and errors that user space injects
 * (KVM_X86_SETUP_MCE, KVM_X86_SET_MCE).
 *
 * CMCI announces what in-tree KVM announces with it: an uncorrected error that needs no
 * action. Corrected errors are recorded only.
 * References: SDM 3, "Machine-Check Architecture".
 */
#include <linux/nospec.h>
#include <linux/uaccess.h>
#include <asm/mce.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "../irq/irq.h"
#include "internal.h"

#define BANKS_MASK	0xffull
#define EXT_CNT_MASK	0xff0000ull
#define HWCR_MC_STATUS_WR_EN	BIT_ULL(18)

/* Registers of a bank. */
enum { MC_CTL, MC_STATUS, MC_ADDR, MC_MISC };

const u64 mezz_mcg_cap_supported = MCG_CTL_P | MCG_SER_P | MCG_CMCI_P;

void mezz_mce_init(struct mezz_vcpu *v)
{
	v->cpu_state->mcg_cap = MEZZ_MCE_BANKS;
}

/* Where a bank's register is, or NULL. */
static u64 *bank_register(struct mezz_cpu_state *st, u32 msr)
{
	u32 n = msr - MSR_IA32_MC0_CTL, end = 4 * (st->mcg_cap & BANKS_MASK);

	if (n >= end)
		return NULL;
	return &st->mce[array_index_nospec(n, end)];
}

/* The same for the second control register of a bank. */
static u64 *ctl2_register(struct mezz_cpu_state *st, u32 msr)
{
	u32 n = msr - MSR_IA32_MC0_CTL2, end = st->mcg_cap & BANKS_MASK;

	if (n >= end)
		return NULL;
	return &st->mce_ctl2[array_index_nospec(n, end)];
}

int mezz_mce_get(struct mezz_vcpu *v, u32 msr, u64 *data, bool host)
{
	struct mezz_cpu_state *st = v->cpu_state;
	const u64 *p;

	switch (msr) {
	case MSR_IA32_P5_MC_ADDR:
	case MSR_IA32_P5_MC_TYPE:
		*data = 0;
		return 0;
	case MSR_IA32_MCG_CAP:
		/* APM 2, "Machine-Check Global-Capabilities Register": the rest is reserved. */
		*data = st->amd_like && !host ? st->mcg_cap & (MCG_CTL_P | BANKS_MASK) :
						st->mcg_cap;
		return 0;
	case MSR_IA32_MCG_STATUS:
		*data = st->mcg_status;
		return 0;
	case MSR_IA32_MCG_CTL:
		if (!(st->mcg_cap & MCG_CTL_P) && !host)
			return 1;
		*data = st->mcg_ctl;
		return 0;
	}
	p = ctl2_register(st, msr);
	if (p && !(st->mcg_cap & MCG_CMCI_P) && !host)
		return 1;
	if (!p)
		p = bank_register(st, msr);
	if (!p)
		return 1;
	*data = *p;
	return 0;
}

static int set_bank(struct mezz_cpu_state *st, u32 msr, u64 data, bool host)
{
	u64 *p = bank_register(st, msr);

	if (!p)
		return 1;
	/*
	 * All or nothing; Linux clears bit 10 on some old CPUs, other systems
	 * bit 0, for corrected errors that are none.
	 */
	if ((msr & 3) == MC_CTL && data && (data | BIT(10) | BIT(0)) != ~0ull)
		return 1;
	/* APM 2, "Machine-Check Status Register": writable for software tests. */
	if ((msr & 3) == MC_STATUS && data && !host &&
	    !(st->amd_like && (st->hwcr & HWCR_MC_STATUS_WR_EN)))
		return 1;
	*p = data;
	return 0;
}

/* SDM 3, "IA32_MCi_CTL2 MSRs"; without CMCI there are none, and user space may say so. */
static int set_ctl2(const struct mezz_cpu_state *st, u64 *p, u64 data, bool host)
{
	if (!(st->mcg_cap & MCG_CMCI_P) && (data || !host))
		return 1;
	if (data & ~(MCI_CTL2_CMCI_EN | MCI_CTL2_CMCI_THRESHOLD_MASK))
		return 1;
	*p = data;
	return 0;
}

int mezz_mce_set(struct mezz_vcpu *v, u32 msr, u64 data, bool host)
{
	struct mezz_cpu_state *st = v->cpu_state;
	u64 *ctl2;

	switch (msr) {
	case MSR_IA32_P5_MC_ADDR:
	case MSR_IA32_P5_MC_TYPE:
	case MSR_IA32_MCG_CAP:
		return 1;
	case MSR_IA32_MCG_STATUS:
		st->mcg_status = data;
		return 0;
	case MSR_IA32_MCG_CTL:
		if (!(st->mcg_cap & MCG_CTL_P) && (data || !host))
			return 1;
		if (data && data != ~0ull)
			return 1;
		st->mcg_ctl = data;
		return 0;
	default:
		ctl2 = ctl2_register(st, msr);
		return ctl2 ? set_ctl2(st, ctl2, data, host) : set_bank(st, msr, data, host);
	}
}

/* --- ioctls --- */

static long setup_mce(struct mezz_vcpu *v, void __user *argp)
{
	struct mezz_cpu_state *st = v->cpu_state;
	unsigned int i, banks;
	u64 cap;

	if (copy_from_user(&cap, argp, sizeof(cap)))
		return -EFAULT;
	banks = cap & BANKS_MASK;
	if (!banks || banks > MEZZ_MCE_BANKS)
		return -EINVAL;
	if (cap & ~(mezz_mcg_cap_supported | BANKS_MASK | EXT_CNT_MASK))
		return -EINVAL;
	st->mcg_cap = cap;
	if (cap & MCG_CTL_P)
		st->mcg_ctl = ~0ull;
	for (i = 0; i < banks; i++)
		st->mce[4 * i + MC_CTL] = ~0ull;
	memset(st->mce_ctl2, 0, sizeof(st->mce_ctl2));
	mezz_lapic_set_cmci(v, cap & MCG_CMCI_P);
	return 0;
}

static void record(u64 *bank, const struct kvm_x86_mce *mce, u64 more)
{
	bank[MC_ADDR] = mce->addr;
	bank[MC_MISC] = mce->misc;
	bank[MC_STATUS] = mce->status | more;
}

/* Uncorrected, but no action is needed: no exception. */
static bool no_action(const struct kvm_x86_mce *mce)
{
	return !mce->mcg_status && (mce->status & MCI_STATUS_UC) &&
	       !(mce->status & (MCI_STATUS_PCC | MCI_STATUS_S | MCI_STATUS_AR));
}

/* SDM 3, "Machine-Check Error Reporting": a second error within the first shuts down. */
static void uncorrected(struct mezz_vcpu *v, u64 *bank, const struct kvm_x86_mce *mce, u64 over)
{
	struct mezz_cpu_state *st = v->cpu_state;

	/* Masked as a whole, or in this bank. */
	if ((st->mcg_cap & MCG_CTL_P) && st->mcg_ctl != ~0ull)
		return;
	if (bank[MC_CTL] != ~0ull)
		return;
	if ((st->mcg_status & MCG_STATUS_MCIP) || !(mezz_get(v, MEZZ_CR4) & X86_CR4_MCE)) {
		mezz_request(v, MEZZ_REQ_TRIPLE_FAULT);
		return;
	}
	record(bank, mce, over);
	st->mcg_status = mce->mcg_status;
	mezz_queue_exception(v, MC_VECTOR, false, 0);
}

static long set_mce(struct mezz_vcpu *v, void __user *argp)
{
	struct mezz_cpu_state *st = v->cpu_state;
	unsigned int banks = st->mcg_cap & BANKS_MASK;
	struct kvm_x86_mce mce;
	u64 *bank, over;

	if (copy_from_user(&mce, argp, sizeof(mce)))
		return -EFAULT;
	if (mce.bank >= banks || !(mce.status & MCI_STATUS_VAL))
		return -EINVAL;
	bank = &st->mce[4 * array_index_nospec(mce.bank, banks)];
	over = bank[MC_STATUS] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0;
	if (no_action(&mce)) {
		record(bank, &mce, 0);
		st->mcg_status = mce.mcg_status;
		if ((st->mcg_cap & MCG_CMCI_P) &&
		    (st->mce_ctl2[array_index_nospec(mce.bank, banks)] & MCI_CTL2_CMCI_EN))
			mezz_lapic_cmci(v);
	} else if (mce.status & MCI_STATUS_UC) {
		uncorrected(v, bank, &mce, over);
	} else if (!over || !(bank[MC_STATUS] & MCI_STATUS_UC)) {
		record(bank, &mce, over);
	} else {
		/* A corrected error does not overwrite an uncorrected one. */
		bank[MC_STATUS] |= MCI_STATUS_OVER;
	}
	return 0;
}

long mezz_mce_ioctl(struct mezz_vcpu *v, unsigned int cmd, void __user *argp)
{
	switch (cmd) {
	case KVM_X86_SETUP_MCE:
		return setup_mce(v, argp);
	case KVM_X86_SET_MCE:
		return set_mce(v, argp);
	default:
		return -ENOIOCTLCMD;
	}
}
