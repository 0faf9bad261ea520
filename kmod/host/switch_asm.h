/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Registers in the world switch, for the assembly of every engine that lets
 * hardware run the guest: from r[] of struct mezz_vcpu and back.
 *
 * RAX, RSP, RIP and RFLAGS are left to the engine: what the hardware does with
 * them differs.
 */
#ifndef MEZZ_HOST_SWITCH_ASM_H
#define MEZZ_HOST_SWITCH_ASM_H

/* enum mezz_state; run.c of the engine asserts it. */
#define R(n)	((n) * 8)
#define RAX	0
#define RCX	1
#define RDX	2
#define RBX	3
#define RBP	5
#define RSI	6
#define RDI	7

/* What a C caller wants back; POP_CALLER is the reverse. */
.macro PUSH_CALLER
	push	%rbp
	push	%rbx
	push	%r12
	push	%r13
	push	%r14
	push	%r15
.endm

.macro POP_CALLER
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbx
	pop	%rbp
.endm

/* All but RAX from the base RDI, which is the last. MOV leaves flags alone. */
.macro LOAD_GUEST
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

/* No guest value may be used by speculation; POP_CALLER replaces the others. */
.macro CLEAR_GUEST
	.irp	n, ecx, edx, esi, edi, r8d, r9d, r10d, r11d
	xor	%\n, %\n
	.endr
.endm

#endif
