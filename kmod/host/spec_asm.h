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

#include <asm/alternative.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>
#include <asm/unwind_hints.h>

/* Before entry: data in microarchitectural buffers (TSA). Clobbers ZF. */
.macro MEZZ_CLEAR_CPU_BUFFERS
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM
	ALTERNATIVE "jmp .Lno_verw_\@", "", X86_FEATURE_CLEAR_CPU_BUF_VM
	verw	.Lverw_sel_\@(%rip)
.Lno_verw_\@:
	.pushsection .rodata
	.balign 2
.Lverw_sel_\@:
	.word	__KERNEL_DS
	.popsection
#endif
.endm

/* After exit: return predictions left by the guest. Clobbers \reg, flags. */
.macro MEZZ_FILL_RSB reg:req
	FILL_RETURN_BUFFER \reg, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT
.endm

.macro MEZZ_IBPB feature:req
	ALTERNATIVE "jmp .Lno_ibpb_\@", "", \feature
	mov	$MSR_IA32_PRED_CMD, %ecx
	mov	$PRED_CMD_IBPB, %eax
	xor	%edx, %edx
	wrmsr
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

#endif
