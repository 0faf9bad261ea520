/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the host kernel leaves to a hypervisor in its mitigations of speculation, in C;
 * the world switch's part is spec_asm.h.
 *
 * Features that a kernel's headers lack did not exist when it was released.
 */
#ifndef MEZZ_HOST_SPEC_H
#define MEZZ_HOST_SPEC_H

#include <linux/cpufeature.h>
#include <linux/percpu.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>

/*
 * A guest ran on this CPU: the barrier against what it taught the branch predictors is
 * due before user space runs here again (VMSCAPE). The kernel issues it then, for
 * whatever process that is. Preemption off.
 */
static __always_inline void mezz_guest_ran(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

/*
 * Legacy IBRS (the host's against Retbleed) restricts only predictions that were made
 * before SPEC_CTRL was written: it has to be written after each exit, with whatever value.
 */
static __always_inline bool mezz_spec_ctrl_always(void)
{
	return cpu_feature_enabled(X86_FEATURE_KERNEL_IBRS);
}

/*
 * SRSO on CPUs on which only guests can mount it: reduced speculation while the engine
 * is on. On the CPU itself, IRQs off.
 */
static inline void mezz_reduce_speculation(bool on)
{
#ifdef X86_FEATURE_SRSO_BP_SPEC_REDUCE
	if (!cpu_feature_enabled(X86_FEATURE_SRSO_BP_SPEC_REDUCE))
		return;
	if (on)
		msr_set_bit(MSR_ZEN4_BP_CFG, MSR_ZEN4_BP_CFG_BP_SPEC_REDUCE_BIT);
	else
		msr_clear_bit(MSR_ZEN4_BP_CFG, MSR_ZEN4_BP_CFG_BP_SPEC_REDUCE_BIT);
#endif
}

#endif
