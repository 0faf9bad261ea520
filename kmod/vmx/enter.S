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
#include "vmcs.h"

/* enum mezz_state; checked against it in run.c */
#define R(n)	((n) * 8)
#define RAX	0
#define RCX	1
#define RDX	2
#define RBX	3
#define RBP	5
#define RSI	6
#define RDI	7

	.text

/* All from the base RDI, which is the last. MOV leaves flags alone. */
.macro LOAD_GUEST
	mov	R(RAX)(%rdi), %rax
	mov	R(RCX)(%rdi), %rcx
	mov	R(RDX)(%rdi), %rdx
	mov	R(RBX)(%rdi), %rbx
	mov	R(RBP)(%rdi), %rbp
	mov	R(RSI)(%rdi), %rsi
	.irp	n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	R(\n)(%rdi), %r\n
	.endr
	mov	R(RDI)(%rdi), %rdi
.endm

/* All but RAX, which is the base. */
.macro SAVE_GUEST
	mov	%rcx, R(RCX)(%rax)
	mov	%rdx, R(RDX)(%rax)
	mov	%rbx, R(RBX)(%rax)
	mov	%rbp, R(RBP)(%rax)
	mov	%rsi, R(RSI)(%rax)
	mov	%rdi, R(RDI)(%rax)
	.irp	n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	%r\n, R(\n)(%rax)
	.endr
.endm

SYM_FUNC_START(vmx_switch)
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
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
.Ldone:	/* No guest value may be used by speculation; callee-saved ones are popped. */
	.irp	n, ecx, edx, esi, edi, r8d, r9d, r10d, r11d
	xor	%\n, %\n
	.endr
	MEZZ_FILL_RSB %rax		/* no return predicted by the guest */
	MEZZ_CLEAR_BRANCH_HISTORY	/* nor an indirect branch; takes RAX, RCX */
	mov	%ebx, %eax
	add	$8, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	RET

.Loff:	mov	$2, %ebx
	jmp	.Ldone
	_ASM_EXTABLE(.Lrsp, .Loff)
	_ASM_EXTABLE(.Lrip, .Loff)
	_ASM_EXTABLE(.Lresume, .Loff)
	_ASM_EXTABLE(.Llaunch, .Loff)
SYM_FUNC_END(vmx_switch)
