/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The boot sector of a Bochs box. Everything else is in memory already (the
 * kernel unpacked, the initrd, the zero page, page tables that map the first
 * 4 GiB onto themselves): enter long mode, point RSI at the zero page, jump.
 *
 * Given on the command line: PML4_AT, ZERO_AT, ENTRY_AT (physical addresses).
 */
	.code16
	.globl	_start
_start:
	cli
	xorl	%eax, %eax
	movw	%ax, %ds
	inb	$0x92, %al		/* open the A20 gate */
	orb	$2, %al
	outb	%al, $0x92
	lgdtl	gdt_pointer
	movl	$0x20, %eax		/* CR4.PAE */
	movl	%eax, %cr4
	movl	$PML4_AT, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER.LME */
	movl	$0x100, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0x80000011, %eax	/* CR0: PG, ET, PE */
	movl	%eax, %cr0
	ljmpl	$0x10, $long_mode

	.code64
long_mode:
	movl	$0x18, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs
	movq	$ZERO_AT, %rsi
	movq	$0x9000, %rsp
	movq	$ENTRY_AT, %rax
	jmp	*%rax

	.balign	8
gdt:	.quad	0, 0
	.quad	0x00af9a000000ffff	/* 0x10: __BOOT_CS, 64 bit */
	.quad	0x00cf92000000ffff	/* 0x18: __BOOT_DS */
gdt_pointer:
	.word	gdt_pointer - gdt - 1
	.long	gdt
	.org	510
	.word	0xaa55
