/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * unsigned int vmx_switch(u64 *r, unsigned long *host_rsp, unsigned int launched);
 *
 * One world switch: enters the guest whose general registers are r[] and whose
 * control structure is current on this CPU; returns after its exit with r[]
 * current. RSP, RIP and RFLAGS of the guest are in the control structure.
 *
 *   r		(RDI) struct mezz_vcpu, which begins with r[]
 *   host_rsp	(RSI) what the control structure has as host RSP; updated with it
 *   launched	(EDX) 1: VMRESUME, 0: VMLAUNCH
 *   returns	0: the guest ran; 1: the CPU refused (SDM 3, "Conventions": VMfail);
 *		2: VMX is switched off on this CPU (reboot, kexec)
 *
 * Context: IRQs off. The exit itself loads the host's CR0, CR3, CR4, EFER, PAT,
 * RSP, RIP, all segments and their bases, GDTR, IDTR and the SYSENTER MSRs;
 * RFLAGS become 2. So an exit arrives at the instruction behind VMLAUNCH with CF
 * and ZF clear, and a refusal gets there too, with one of them set and the
 * registers unchanged.
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/segment.h>
#include "../host/spec_asm.h"
#include "../host/switch_asm.h"
#include "vmcs.h"

	.text

SYM_FUNC_START(vmx_switch)
	PUSH_CALLER
	push	%rdi			/* r */

	cmp	%rsp, (%rsi)
	je	.Lsame
	mov	$VMCS_HOST_RSP, %eax
.Lrsp:	vmwrite	%rsp, %rax
	mov	$VMCS_HOST_RIP, %eax
	lea	.Lexit(%rip), %rcx
.Lrip:	vmwrite	%rcx, %rax
	mov	%rsp, (%rsi)
.Lsame:
	bt	$0, %edx		/* CF: VERW below touches ZF only */
	mov	R(RAX)(%rdi), %rax
	LOAD_GUEST
	MEZZ_CLEAR_CPU_BUFFERS_MDS	/* no host data left in buffers */
	jnc	.Llaunch
.Lresume: vmresume
	jmp	.Lexit
.Llaunch: vmlaunch
.Lexit:
	push	%rax
	mov	8(%rsp), %rax		/* r */
	SAVE_GUEST
	pop	R(RAX)(%rax)
	setbe	%bl
	movzbl	%bl, %ebx
.Ldone:
	CLEAR_GUEST
	MEZZ_FILL_RSB %rax		/* no return predicted by the guest */
	MEZZ_CLEAR_BRANCH_HISTORY	/* nor an indirect branch; takes RAX, RCX */
	mov	%ebx, %eax
	add	$8, %rsp
	POP_CALLER
	RET

.Loff:	mov	$2, %ebx
	jmp	.Ldone
	_ASM_EXTABLE(.Lrsp, .Loff)
	_ASM_EXTABLE(.Lrip, .Loff)
	_ASM_EXTABLE(.Lresume, .Loff)
	_ASM_EXTABLE(.Llaunch, .Loff)
SYM_FUNC_END(vmx_switch)
