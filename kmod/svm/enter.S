/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * int svm_switch(u64 *r, u64 vmcb_pa, u64 host_pa);
 *
 * One world switch: enters the guest whose general registers are r[] and whose
 * control block is at vmcb_pa, and returns after its exit with r[] current.
 * RAX, RSP, RIP and RFLAGS of the guest are in the control block, not in r[].
 *
 *   r		(RDI) struct mezz_vcpu, which begins with r[]
 *   vmcb_pa	(RSI) physical address of the guest's control block
 *   host_pa	(RDX) physical address of this CPU's host block: VMSAVE was done
 *   returns	0; 1 when SVM is switched off on this CPU (reboot, kexec)
 *
 * Context: IRQs off. VMRUN itself saves and restores the host's CS, SS, DS, ES,
 * RSP, RIP, RAX, RFLAGS, CR0, CR3, CR4, EFER, GDTR and IDTR. FS, GS, TR, LDTR
 * and the MSRs of system calls are swapped by VMLOAD and VMSAVE; until the
 * VMLOAD after the exit there are no per-CPU variables and no stack switch for
 * exceptions, which is why GIF is 0 all the way.
 *
 * With V_INTR_MASKING, host interrupts end the guest only if RFLAGS.IF was 1 at
 * VMRUN (APM2, "Virtualizing INTR and NMI"); hence STI under GIF = 0, and well
 * before VMRUN, or its shadow could become the guest's.
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/segment.h>
#include "../host/spec_asm.h"

/* enum mezz_state; checked against it in run.c */
#define R(n)	((n) * 8)
#define RCX	1
#define RDX	2
#define RBX	3
#define RBP	5
#define RSI	6
#define RDI	7

	.text

.macro LOAD_GUEST
	mov	R(RCX)(%rdi), %rcx
	mov	R(RDX)(%rdi), %rdx
	mov	R(RBX)(%rdi), %rbx
	mov	R(RBP)(%rdi), %rbp
	mov	R(RSI)(%rdi), %rsi
	mov	R(8)(%rdi), %r8
	mov	R(9)(%rdi), %r9
	mov	R(10)(%rdi), %r10
	mov	R(11)(%rdi), %r11
	mov	R(12)(%rdi), %r12
	mov	R(13)(%rdi), %r13
	mov	R(14)(%rdi), %r14
	mov	R(15)(%rdi), %r15
	mov	R(RDI)(%rdi), %rdi
.endm

/* All but RAX, which is base. */
.macro SAVE_GUEST
	mov	%rcx, R(RCX)(%rax)
	mov	%rdx, R(RDX)(%rax)
	mov	%rbx, R(RBX)(%rax)
	mov	%rbp, R(RBP)(%rax)
	mov	%rsi, R(RSI)(%rax)
	mov	%rdi, R(RDI)(%rax)
	mov	%r8, R(8)(%rax)
	mov	%r9, R(9)(%rax)
	mov	%r10, R(10)(%rax)
	mov	%r11, R(11)(%rax)
	mov	%r12, R(12)(%rax)
	mov	%r13, R(13)(%rax)
	mov	%r14, R(14)(%rax)
	mov	%r15, R(15)(%rax)
.endm

/* No guest value may be used by speculation; callee-saved ones are popped. */
.macro CLEAR_GUEST
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
.endm

SYM_FUNC_START(svm_switch)
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	push	%rdx			/* host_pa */
	push	%rdi			/* r */

.Lclgi:	clgi				/* no interrupt, NMI, SMI, INIT, #MC now */
	sti				/* IF = 1 for VMRUN, held by GIF */
	mov	%rsi, %rax
	vmload	%rax			/* guest FS, GS, TR, LDTR, syscall MSRs */
	LOAD_GUEST
	MEZZ_CLEAR_CPU_BUFFERS		/* no host data left in buffers */
	vmrun	%rax			/* the guest runs here; RAX, RSP come back */
	vmsave	%rax
	mov	8(%rsp), %rax
	vmload	%rax			/* the host's again */
	MEZZ_FILL_RSB %rax		/* no return predicted by the guest */
	pop	%rax			/* r */
	SAVE_GUEST
	CLEAR_GUEST
	MEZZ_UNTRAIN_RET		/* before the first RET; takes RAX, RCX, RDX */
	cli				/* as the caller had it */
	stgi				/* pending NMIs and the like come here */
	xor	%eax, %eax
.Lout:	add	$8, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
	RET

.Loff:	mov	$1, %eax
	add	$8, %rsp
	jmp	.Lout
	_ASM_EXTABLE(.Lclgi, .Loff)
SYM_FUNC_END(svm_switch)
