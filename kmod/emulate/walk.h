/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Walk of the guest's own page tables: linear to guest physical address.
 *
 * Pure, like the decoder: memory is reached through two callbacks, so it is
 * also built in user space for tests. What to do with a fault, and caching, is
 * left to the caller.
 *
 * Known hacks: PDPTEs of PAE paging are read from memory, not from the
 * registers that a CPU may keep them in. Protection keys are not offered to
 * guests and not looked at.
 */
#ifndef MEZZ_WALK_H
#define MEZZ_WALK_H

#include <linux/types.h>

/* What the access is; none: a supervisor's read. */
#define MEZZ_WALK_WRITE		1u
#define MEZZ_WALK_EXEC		2u
#define MEZZ_WALK_USER		4u	/* CPL 3, not an implicit system access */

#define MEZZ_WALK_LEVELS	5

enum mezz_walk_rc {
	MEZZ_WALK_OK,
	MEZZ_WALK_FAULT,	/* #PF with mezz_walk.err */
	MEZZ_WALK_AGAIN,	/* needs a context that may sleep */
	MEZZ_WALK_NOMEM,	/* a table lies where there is no memory */
};

/**
 * struct mezz_walk - one translation
 *
 * Set by the caller:
 * @read: read @size (4 or 8) bytes of guest physical memory, naturally
 *	aligned; 0, -EAGAIN, or another errno: no memory there
 * @cas: compare and swap; @old is updated with what was found
 * @ctx: first argument of both
 * @cr0: guest's register, as @cr3, @cr4 and @efer
 * @cr3: see @cr0
 * @cr4: see @cr0
 * @efer: see @cr0
 * @maxphyaddr: guest's physical address width in bits
 * @ac: SMAP is suspended: RFLAGS.AC is set and the access is explicit
 * @update: set accessed and dirty bits
 *
 * Answers:
 * @gpa: guest physical address
 * @err: page-fault error code, with MEZZ_WALK_FAULT
 * @n: number of table entries used, 0 without paging
 * @size: bytes of an entry
 * @at: guest physical addresses of the entries
 * @entry: their values, as they are in memory now
 */
struct mezz_walk {
	int (*read)(void *ctx, u64 gpa, u64 *val, unsigned int size);
	int (*cas)(void *ctx, u64 gpa, u64 *old, u64 new, unsigned int size);
	void *ctx;
	u64 cr0, cr3, cr4, efer;
	u8 maxphyaddr;
	bool ac;
	bool update;

	u64 gpa;
	u32 err;
	u8 n, size;
	u64 at[MEZZ_WALK_LEVELS];
	u64 entry[MEZZ_WALK_LEVELS];
};

/**
 * mezz_walk() - translate @la for @access
 * @w: see there
 * @la: linear address, canonical; the upper half is ignored outside long mode
 * @access: MEZZ_WALK_*
 *
 * Context: whatever the callbacks allow.
 * Return: enum mezz_walk_rc
 */
int mezz_walk(struct mezz_walk *w, u64 la, u32 access);

#endif
