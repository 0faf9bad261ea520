/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instruction executor: carries out what decode.h decoded.
 *
 * Pure, like the decoder: all it touches is struct mezz_emul and what the
 * callbacks offer. It leaves to them translation, buses, control registers
 * and everything that may have to wait.
 *
 * Restart model. An instruction is executed from its start as often as it
 * takes: a callback that needs user space answers MEZZ_EMUL_EXIT, one that may
 * not sleep answers MEZZ_EMUL_AGAIN, and the caller executes the instruction
 * again later. So that nothing happens twice:
 *  - registers and flags change only after the last callback that can fail;
 *  - the callbacks remember the I/O reads of the instruction and answer them
 *    from that log the next time;
 *  - the callbacks queue I/O writes, and perform them when mezz_emul_exec()
 *    has returned MEZZ_EMUL_OK, in order;
 *  - writes to ordinary memory are repeated with the same data; a
 *    read-modify-write has exactly one, and it is the last access.
 * One call executes at most one iteration of a string instruction that touches
 * I/O (mezz_emul.io), and at most rep_max iterations otherwise.
 *
 * Known hacks: far transfers, IRET and INT in protected mode are done only as far
 * as boot code needs them (far.c). #AC is checked before the access, after a probe.
 */
#ifndef MEZZ_EXEC_H
#define MEZZ_EXEC_H

#include <linux/types.h>
#include "decode.h"

enum mezz_emul_rc {
	MEZZ_EMUL_OK,
	MEZZ_EMUL_FAULT,	/* mezz_emul.fault is to be delivered */
	MEZZ_EMUL_EXIT,		/* user space has to act, then execute again */
	MEZZ_EMUL_AGAIN,	/* needs a context that may sleep */
	MEZZ_EMUL_UNKNOWN,	/* cannot be emulated */
};

/* mezz_emul.shadow */
#define MEZZ_EMUL_SHADOW_MOV_SS	1	/* values of KVM_X86_SHADOW_INT_* */
#define MEZZ_EMUL_SHADOW_STI	2

/* Access kinds for the memory callbacks. */
#define MEZZ_EMUL_READ	0
#define MEZZ_EMUL_WRITE	1	/* also the read half of a read-modify-write */
#define MEZZ_EMUL_SYSTEM	2	/* to a system table: a supervisor's at any CPL */

/**
 * struct mezz_emul_seg - a segment register
 * @base: linear base
 * @limit: in bytes, scaled
 * @sel: selector
 * @type: four type bits of the descriptor
 * @dpl: its privilege level
 * @usable: present and not null
 * @s: code or data, not a system segment
 * @avl: for software
 * @l: 64-bit code
 * @db: D or B bit
 */
struct mezz_emul_seg {
	u64 base;
	u32 limit;
	u16 sel;
	u8 type, dpl;
	bool usable, s, avl, l, db;
};

/**
 * struct mezz_emul_fault - an exception to deliver
 * @vector: exception number
 * @has_err: it has an error code (outside real mode)
 * @err: error code
 * @cr2: faulting linear address, #PF only
 */
struct mezz_emul_fault {
	u8 vector;
	bool has_err;
	u32 err;
	u64 cr2;
};

struct mezz_emul;

/**
 * struct mezz_emul_ops - what the executor needs; addresses are linear
 *
 * All return enum mezz_emul_rc unless said otherwise. A fault is described in
 * e->fault. The memory callbacks translate, check paging permissions for
 * e->cpl (without regard to it for MEZZ_EMUL_SYSTEM: SDM 3, "Determination of
 * Access Rights"), and may be given ranges that cross pages; 1 <= len <= 4096.
 *
 * @read: @access MEZZ_EMUL_WRITE when the instruction will also write there
 * @write: RAM at once, I/O queued
 * @cas: compare and swap; returns with *@old what was found (compare it with what
 *	was expected); @len 1, 2, 4, 8 or 16; @access MEZZ_EMUL_SYSTEM or 0. On I/O a
 *	queued write of @new.
 * @probe: would this access fault? MEZZ_EMUL_EXIT: no, but (part of) it is I/O
 * @pio_in: @count items of @size bytes from @port into @buf
 * @pio_out: the same to @port, queued like writes
 * @io_allowed: I/O permission bitmap of the TSS
 * @get_seg: a segment register; cannot fail
 * @set_seg: load one; all checks are made
 * @read_cr: CR0, CR2, CR3, CR4, CR8
 * @write_cr: the same, with all architectural checks
 * @read_dr: DR0-DR7
 * @write_dr: the same
 * @get_dt: GDTR (@idt false) or IDTR
 * @set_dt: the same
 * @invlpg: drop the translation of an address
 * @get_vec: YMM register @n, 32 bytes
 * @set_vec: the same
 */
struct mezz_emul_ops {
	int (*read)(struct mezz_emul *e, u64 la, void *buf, unsigned int len, u32 access);
	int (*write)(struct mezz_emul *e, u64 la, const void *buf, unsigned int len);
	int (*cas)(struct mezz_emul *e, u64 la, void *old, const void *new, unsigned int len,
		   u32 access);
	int (*probe)(struct mezz_emul *e, u64 la, unsigned int len, u32 access);
	int (*pio_in)(struct mezz_emul *e, u16 port, unsigned int size, unsigned int count,
		      void *buf);
	int (*pio_out)(struct mezz_emul *e, u16 port, unsigned int size, unsigned int count,
		       const void *buf);
	int (*io_allowed)(struct mezz_emul *e, u16 port, unsigned int size);
	void (*get_seg)(struct mezz_emul *e, unsigned int seg, struct mezz_emul_seg *s);
	void (*set_seg)(struct mezz_emul *e, unsigned int seg, const struct mezz_emul_seg *s);
	int (*read_cr)(struct mezz_emul *e, unsigned int n, u64 *val);
	int (*write_cr)(struct mezz_emul *e, unsigned int n, u64 val);
	int (*read_dr)(struct mezz_emul *e, unsigned int n, u64 *val);
	int (*write_dr)(struct mezz_emul *e, unsigned int n, u64 val);
	void (*get_dt)(struct mezz_emul *e, bool idt, u64 *base, u16 *limit);
	int (*set_dt)(struct mezz_emul *e, bool idt, u64 base, u16 limit);
	void (*invlpg)(struct mezz_emul *e, u64 la);
	void (*get_vec)(struct mezz_emul *e, unsigned int n, void *buf);
	void (*set_vec)(struct mezz_emul *e, unsigned int n, const void *buf);
};

/**
 * struct mezz_emul - one instruction's execution
 *
 * Set by the caller:
 * @ops: callbacks
 * @r: the sixteen general registers, changed when the instruction completes
 * @rip: of the instruction, without CS base; afterwards of the next one
 * @rflags: changed when the instruction completes
 * @cr0: for checks only, like @cr4, @efer and @xcr0
 * @cr4: see @cr0
 * @efer: see @cr0
 * @xcr0: see @cr0
 * @cpl: 0-3
 * @rep_max: iterations of a string instruction in one call, at least 1
 * @pio_buf: one page for the data of string I/O
 * @insn: decoded instruction
 *
 * Set by the callbacks:
 * @io: this call touched I/O (string instructions stop after the iteration)
 *
 * Answers:
 * @fault: with MEZZ_EMUL_FAULT
 * @written: bit n: r[n] was changed
 * @shadow: interrupt shadow that the instruction leaves, MEZZ_EMUL_SHADOW_*
 * @trap: single-step trap due (RFLAGS.TF was set)
 *
 * Private:
 * @next: next RIP
 */
struct mezz_emul {
	const struct mezz_emul_ops *ops;
	u64 *r;
	u64 rip, rflags;
	u64 cr0, cr4, efer, xcr0;
	u8 cpl;
	u16 rep_max;
	void *pio_buf;
	struct mezz_insn insn;

	bool io;

	struct mezz_emul_fault fault;
	u16 written;
	u8 shadow;
	bool trap;

	u64 next;
};

/**
 * mezz_emul_exec() - execute e->insn
 * @e: everything
 *
 * With MEZZ_EMUL_OK the registers are those after the instruction, or after
 * some iterations of a string instruction (then RIP has not moved and RF is
 * set). With anything else they are unchanged, except that completed
 * iterations stay completed.
 *
 * Context: whatever the callbacks allow.
 * Return: enum mezz_emul_rc
 */
int mezz_emul_exec(struct mezz_emul *e);

/**
 * mezz_emul_interrupt() - deliver an event to a guest in real mode
 * @e: registers, rip, rflags; e->insn is spoilt
 * @vector: which
 * Context: whatever the callbacks allow.
 * Return: enum mezz_emul_rc
 */
int mezz_emul_interrupt(struct mezz_emul *e, u8 vector);

/**
 * mezz_emul_ea() - effective and linear address of the memory operand
 * @e: e->insn, registers, rip, ops->get_seg
 * @la: linear address, no checks made
 *
 * For callers that settle simple instructions themselves.
 */
void mezz_emul_ea(struct mezz_emul *e, u64 *la);

/* Raise an exception from a callback; returns MEZZ_EMUL_FAULT. */
int mezz_emul_raise(struct mezz_emul *e, u8 vector, u32 err);
int mezz_emul_raise_pf(struct mezz_emul *e, u32 err, u64 cr2);

#endif
