// SPDX-License-Identifier: GPL-2.0-only
/*
 * Walk of the guest's own page tables. See walk.h for the rules and the hacks.
 *
 * Terms and checks are those of SDM 3, chapter "Paging"; APM 2, "Page
 * Translation and Protection" agrees.
 */
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include "walk.h"

#define CR0_WP		BIT_ULL(16)
#define CR0_PG		BIT_ULL(31)
#define CR4_PSE		BIT_ULL(4)
#define CR4_PAE		BIT_ULL(5)
#define CR4_LA57	BIT_ULL(12)
#define CR4_SMEP	BIT_ULL(20)
#define CR4_SMAP	BIT_ULL(21)
#define EFER_LONG	BIT_ULL(10)
#define EFER_NXE	BIT_ULL(11)

#define PT_P		BIT_ULL(0)
#define PT_W		BIT_ULL(1)
#define PT_U		BIT_ULL(2)
#define PT_A		BIT_ULL(5)
#define PT_D		BIT_ULL(6)
#define PT_PS		BIT_ULL(7)
#define PT_NX		BIT_ULL(63)

/* Page-fault error code */
#define ERR_P		0x01u
#define ERR_W		0x02u
#define ERR_U		0x04u
#define ERR_RSVD	0x08u
#define ERR_I		0x10u

/* Lost races against other CPUs that set accessed bits. */
#define MAX_TRIES	16

enum paging { LEGACY, PAE, LONG };

static enum paging paging_of(const struct mezz_walk *w)
{
	if (w->efer & EFER_LONG)
		return LONG;
	return w->cr4 & CR4_PAE ? PAE : LEGACY;
}

/* Bits @hi to @lo. */
static u64 bits(unsigned int hi, unsigned int lo)
{
	return (~0ull >> (63 - hi)) & (~0ull << lo);
}

static int fault(struct mezz_walk *w, u32 access, u32 err)
{
	if (access & MEZZ_WALK_WRITE)
		err |= ERR_W;
	if (access & MEZZ_WALK_USER)
		err |= ERR_U;
	/* The I flag exists when something could forbid execution. */
	if ((access & MEZZ_WALK_EXEC) &&
	    ((w->cr4 & CR4_SMEP) || ((w->efer & EFER_NXE) && paging_of(w) != LEGACY)))
		err |= ERR_I;
	w->err = err;
	return MEZZ_WALK_FAULT;
}

/* Physical address bits above what the guest's CPU has. */
static u64 above_maxphyaddr(const struct mezz_walk *w)
{
	return w->maxphyaddr < 52 ? bits(51, w->maxphyaddr) : 0;
}

/* PSE-36 reaches from 32 to 40 address bits. */
static unsigned int clamp_width(unsigned int maxphyaddr)
{
	return maxphyaddr < 32 ? 32 : maxphyaddr > 40 ? 40 : maxphyaddr;
}

/* Reserved bits of a present entry at @level (1: PTE). */
static u64 reserved(const struct mezz_walk *w, enum paging p, unsigned int level, u64 entry)
{
	bool leaf = level > 1 && (entry & PT_PS);
	u64 mask;

	if (p == LEGACY) {
		/* PSE-36: bits 13-20 are address bits 32-39, 21 is reserved. */
		if (!leaf || !(w->cr4 & CR4_PSE))
			return 0;
		return entry & bits(21, 13 - 32 + clamp_width(w->maxphyaddr));
	}
	mask = above_maxphyaddr(w);
	if (!(w->efer & EFER_NXE))
		mask |= PT_NX;
	if (p == PAE) {
		mask |= bits(62, 52);
		/*
		 * Bit 5 is reserved too, but an MMU that reads PDPTEs like
		 * other entries (nested paging) may mark them accessed; QEMU's
		 * does.
		 */
		if (level == 3)
			mask |= PT_NX | bits(8, 6) | bits(2, 1);
		else if (leaf)
			mask |= bits(20, 13);
	} else if (level >= 4) {
		mask |= PT_PS;
	} else if (leaf) {
		mask |= bits(level == 3 ? 29 : 20, 13);
	}
	return entry & mask;
}

/* Is @access forbidden, given what all entries allow together? */
static bool forbidden(const struct mezz_walk *w, u64 allow, bool nx, u32 access)
{
	bool user = access & MEZZ_WALK_USER;

	if (user && !(allow & PT_U))
		return true;
	if ((access & MEZZ_WALK_WRITE) && !(allow & PT_W) && (user || (w->cr0 & CR0_WP)))
		return true;
	if (access & MEZZ_WALK_EXEC)
		return nx || (!user && (allow & PT_U) && (w->cr4 & CR4_SMEP));
	return !user && (allow & PT_U) && (w->cr4 & CR4_SMAP) && !w->ac;
}

/* Set the accessed bits, and the dirty bit of the last entry for a write. */
static int update(struct mezz_walk *w, enum paging p, u32 access, bool *lost)
{
	unsigned int i;
	u64 new, old;
	int r;

	for (i = 0; i < w->n; i++) {
		/* A PDPTE of PAE paging has no such bit. */
		if (p == PAE && i == 0)
			continue;
		new = w->entry[i] | PT_A;
		if (i == w->n - 1u && (access & MEZZ_WALK_WRITE))
			new |= PT_D;
		if (likely(new == w->entry[i]))
			continue;
		old = w->entry[i];
		r = w->cas(w->ctx, w->at[i], &old, new, w->size);
		if (r == -EAGAIN)
			return MEZZ_WALK_AGAIN;
		/* A table in read-only memory keeps its bits. */
		if (r)
			continue;
		if (old != w->entry[i]) {
			*lost = true;
			return MEZZ_WALK_OK;
		}
		w->entry[i] = new;
	}
	return MEZZ_WALK_OK;
}

static void first_table(const struct mezz_walk *w, enum paging p, u64 *table, unsigned int *level)
{
	switch (p) {
	case LONG:
		*level = w->cr4 & CR4_LA57 ? 5 : 4;
		*table = w->cr3 & bits(51, 12);
		break;
	case PAE:
		*level = 3;
		*table = w->cr3 & bits(31, 5);
		break;
	default:
		*level = 2;
		*table = w->cr3 & bits(31, 12);
		break;
	}
}

/* From the last entry to the address. */
static u64 leaf_gpa(enum paging p, u64 entry, unsigned int shift, u64 la)
{
	u64 inside = (1ull << shift) - 1;

	if (p == LEGACY && shift == 22)
		return (entry & bits(31, 22)) | (entry & bits(20, 13)) << 19 | (la & inside);
	return (entry & bits(51, 12) & ~inside) | (la & inside);
}

static int walk_once(struct mezz_walk *w, enum paging p, u64 la, u32 access, bool *lost)
{
	unsigned int width = p == LEGACY ? 10 : 9, level, shift, index;
	u64 allow = PT_W | PT_U, entry, table;
	bool nx = false;
	int r;

	w->n = 0;
	w->size = p == LEGACY ? 4 : 8;
	first_table(w, p, &table, &level);
	for (;; level--) {
		shift = 12 + width * (level - 1);
		index = (la >> shift) & ((1u << width) - 1);
		/* The top table of PAE has four entries. */
		if (p == PAE && level == 3)
			index &= 3;
		w->at[w->n] = table + index * w->size;
		entry = 0;
		r = w->read(w->ctx, w->at[w->n], &entry, w->size);
		if (unlikely(r))
			return r == -EAGAIN ? MEZZ_WALK_AGAIN : MEZZ_WALK_NOMEM;
		w->entry[w->n++] = entry;
		if (!(entry & PT_P))
			return fault(w, access, 0);
		if (unlikely(reserved(w, p, level, entry)))
			return fault(w, access, ERR_P | ERR_RSVD);
		if (p != PAE || level < 3) {
			allow &= entry;
			nx |= p != LEGACY && (entry & PT_NX);
		}
		if (level == 1)
			break;
		if ((entry & PT_PS) && (p != LEGACY || (w->cr4 & CR4_PSE)))
			break;
		table = entry & bits(51, 12);
	}
	if (forbidden(w, allow, nx, access))
		return fault(w, access, ERR_P);
	w->gpa = leaf_gpa(p, entry, shift, la);
	return w->update ? update(w, p, access, lost) : MEZZ_WALK_OK;
}

int mezz_walk(struct mezz_walk *w, u64 la, u32 access)
{
	enum paging p = paging_of(w);
	unsigned int tries;
	bool lost;
	int r;

	if (p != LONG)
		la = (u32)la;
	if (!(w->cr0 & CR0_PG)) {
		w->n = 0;
		w->size = 8;
		w->gpa = la;
		return MEZZ_WALK_OK;
	}
	for (tries = 0; tries < MAX_TRIES; tries++) {
		lost = false;
		r = walk_once(w, p, la, access, &lost);
		if (!lost)
			return r;
	}
	return MEZZ_WALK_AGAIN;
}
