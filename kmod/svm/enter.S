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
#include "../host/switch_asm.h"

	.text

SYM_FUNC_START(svm_switch)
	PUSH_CALLER
	push	%rdx			/* host_pa */
	push	%rdi			/* r */

.Lclgi:	clgi				/* no interrupt, NMI, SMI, INIT, #MC now */
	sti				/* IF = 1 for VMRUN, held by GIF */
	MEZZ_CLEAR_DIVIDER		/* no host data left there; takes RAX, RCX, RDX */
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
	POP_CALLER
	RET

.Loff:	mov	$1, %eax
	add	$8, %rsp
	jmp	.Lout
	_ASM_EXTABLE(.Lclgi, .Loff)
SYM_FUNC_END(svm_switch)
