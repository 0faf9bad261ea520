/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * void native_entry(struct native_state *s): load everything from *s, jump to
 * s->rip, come back through native_back with everything stored to *s.
 * rdi: s. Callee-saved registers are kept on the stack, rsp in native_host_sp.
 */
	.bss
	.p2align 3
native_host_sp:
	.skip 8
native_state_ptr:
	.skip 8
	.globl native_target
native_target:
	.skip 8
native_scratch:
	.skip 8

	.text
	.globl native_entry
native_entry:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, native_host_sp(%rip)
	mov %rdi, native_state_ptr(%rip)
	mov 136(%rdi), %rax
	mov %rax, native_target(%rip)
	cmpb $0, native_has_avx(%rip)
	je 1f
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovdqu 144+32*\n(%rdi), %ymm\n
	.endr
	jmp 2f
1:
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movdqu 144+32*\n(%rdi), %xmm\n
	.endr
2:
	pushq 128(%rdi)
	popfq
	mov 0(%rdi), %rax
	mov 8(%rdi), %rcx
	mov 16(%rdi), %rdx
	mov 24(%rdi), %rbx
	mov 32(%rdi), %rsp
	mov 40(%rdi), %rbp
	mov 48(%rdi), %rsi
	mov 64(%rdi), %r8
	mov 72(%rdi), %r9
	mov 80(%rdi), %r10
	mov 88(%rdi), %r11
	mov 96(%rdi), %r12
	mov 104(%rdi), %r13
	mov 112(%rdi), %r14
	mov 120(%rdi), %r15
	mov 56(%rdi), %rdi
	jmp *native_target(%rip)

	.globl native_back
native_back:
	mov %rdi, native_scratch(%rip)
	mov native_state_ptr(%rip), %rdi
	mov %rax, 0(%rdi)
	mov %rcx, 8(%rdi)
	mov %rdx, 16(%rdi)
	mov %rbx, 24(%rdi)
	mov %rsp, 32(%rdi)
	mov %rbp, 40(%rdi)
	mov %rsi, 48(%rdi)
	mov %r8, 64(%rdi)
	mov %r9, 72(%rdi)
	mov %r10, 80(%rdi)
	mov %r11, 88(%rdi)
	mov %r12, 96(%rdi)
	mov %r13, 104(%rdi)
	mov %r14, 112(%rdi)
	mov %r15, 120(%rdi)
	mov native_scratch(%rip), %rax
	mov %rax, 56(%rdi)
	mov native_host_sp(%rip), %rsp
	pushfq
	popq 128(%rdi)
	pushq $2
	popfq
	cmpb $0, native_has_avx(%rip)
	je 1f
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovdqu %ymm\n, 144+32*\n(%rdi)
	.endr
	vzeroupper
	jmp 2f
1:
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movdqu %xmm\n, 144+32*\n(%rdi)
	.endr
2:
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.section .note.GNU-stack, "", @progbits
