/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Speculation barriers of the world switch, for assembly: what the host
 * kernel's settings (mitigations=, spectre_v2=, retbleed=...) ask for at entry
 * and exit, patched in by the kernel's alternatives, so they cost nothing where
 * they are off.
 *
 * The kernel's own macros for KVM use symbols that only KVM may get (the IBPB
 * routine, the VERW operand). Here VERW has an operand of its own and IBPB is
 * written out. The untraining routines are exported to everybody, because
 * return thunks need them.
 *
 * Features that a kernel's headers lack did not exist when it was released.
 */
#ifndef MEZZ_HOST_SPEC_ASM_H
#define MEZZ_HOST_SPEC_ASM_H

#include <linux/stringify.h>
#include <asm/alternative.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>
#include <asm/unwind_hints.h>

.macro MEZZ_VERW feature:req
	ALTERNATIVE "jmp .Lno_verw_\@", "", \feature
	verw	.Lverw_sel_\@(%rip)
.Lno_verw_\@:
	.pushsection .rodata
	.balign 2
.Lverw_sel_\@:
	.word	__KERNEL_DS
	.popsection
.endm

/* Before entry: data in microarchitectural buffers (TSA). Clobbers ZF. */
.macro MEZZ_CLEAR_CPU_BUFFERS
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM
	MEZZ_VERW X86_FEATURE_CLEAR_CPU_BUF_VM
#endif
.endm

/* The same where guests are treated as user space is (MDS, TAA, RFDS). */
.macro MEZZ_CLEAR_CPU_BUFFERS_MDS
#ifdef X86_FEATURE_CLEAR_CPU_BUF
	MEZZ_VERW X86_FEATURE_CLEAR_CPU_BUF
#endif
.endm

/* After exit: return predictions left by the guest. Clobbers \reg, flags. */
.macro MEZZ_FILL_RSB reg:req
#ifdef X86_FEATURE_RSB_VMEXIT_LITE
	FILL_RETURN_BUFFER \reg, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, \
			   X86_FEATURE_RSB_VMEXIT_LITE
#else
	FILL_RETURN_BUFFER \reg, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT
#endif
.endm

/* After exit: branch history left by the guest (BHI). Clobbers RAX, RCX, flags. */
.macro MEZZ_CLEAR_BRANCH_HISTORY
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	ALTERNATIVE "", "call clear_bhb_loop", X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
#endif
.endm

.macro MEZZ_IBPB feature:req
	ALTERNATIVE "jmp .Lno_ibpb_\@", "", \feature
	mov	$MSR_IA32_PRED_CMD, %ecx
	mov	$PRED_CMD_IBPB, %eax
	xor	%edx, %edx
	wrmsr
#ifdef X86_BUG_IBPB_NO_RET
	/* There it leaves the predictions of returns. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_BUG_IBPB_NO_RET
#endif
.Lno_ibpb_\@:
.endm

/*
 * After exit, before the first RET: branch predictions for returns (Retbleed,
 * SRSO). Clobbers RAX, RCX, RDX, flags.
 */
.macro MEZZ_UNTRAIN_RET
#if defined(CONFIG_CPU_UNRET_ENTRY) || defined(CONFIG_MITIGATION_UNRET_ENTRY) || \
	defined(CONFIG_CPU_SRSO) || defined(CONFIG_MITIGATION_SRSO)
	ALTERNATIVE_2 "", "call entry_untrain_ret", X86_FEATURE_UNRET, \
		      "call srso_alias_untrain_ret", X86_FEATURE_SRSO_ALIAS
#endif
	MEZZ_IBPB X86_FEATURE_ENTRY_IBPB
#ifdef X86_FEATURE_IBPB_ON_VMEXIT
	MEZZ_IBPB X86_FEATURE_IBPB_ON_VMEXIT
#endif
.endm

/* Before entry: the quotient of the host's last division. Clobbers RAX, RCX, RDX, flags. */
.macro MEZZ_CLEAR_DIVIDER
#ifdef X86_BUG_DIV0
	ALTERNATIVE "", __stringify(xor %eax, %eax; xor %edx, %edx; lea 1(%rax), %ecx; div %ecx), \
		    X86_BUG_DIV0
#endif
.endm

#endif
