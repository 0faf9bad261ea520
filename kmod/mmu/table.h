/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Second-stage tables, for the other files of this folder.
 *
 * Who may call what under mmu.lock is said at each function; the lock's rules
 * are in mmu.h. What is taken out of the tables is collected in a struct
 * mezz_zap, and given back when no vCPU can have it in its TLB any more.
 */
#ifndef MEZZ_MMU_TABLE_H
#define MEZZ_MMU_TABLE_H

#include <linux/list.h>
#include <linux/nospec.h>
#include <linux/types.h>
#include <asm/page.h>
#include "engine.h"
#include "vcpu.h"
#include "vm.h"

/**
 * struct mezz_zap - what was taken out of the tables
 * @tables: table pages without a parent, to be freed after the flush
 * @flush: something that TLBs may hold was dropped or weakened; counted in mmu.unflushed
 * @atomic: set by a caller that may not sleep
 */
struct mezz_zap {
	struct list_head tables;
	bool flush;
	bool atomic;
};

#define MEZZ_ZAP_INIT(name)	{ .tables = LIST_HEAD_INIT((name).tables) }

/* What mezz_pt_map says. */
enum mezz_map {
	MEZZ_MAP_DONE,		/* installed, or there already */
	MEZZ_MAP_NO_TABLE,	/* a table page is missing, and no spare one was given */
	MEZZ_MAP_BLOCKED,	/* something else is mapped there: zap it first */
};

int mezz_pt_init(struct mezz_vm *vm);		/* [P] */
void mezz_pt_destroy(struct mezz_vm *vm);	/* [P] no vCPU runs any more */
u64 *mezz_pt_alloc(void);			/* [P] a spare table page, or NULL */
void mezz_pt_free(u64 *table);			/* one that was not used */

/**
 * mezz_pt_map() - install a translation, or add permissions to it
 * @vm: the VM; mmu.lock held for reading
 * @gfn: guest frame
 * @level: highest level to use; a lower one is taken where a table hangs
 * @pa: host physical address of the frame
 * @bits: everything else that belongs into the entry
 * @spare: a page for a missing table; set to NULL when it is used
 */
enum mezz_map mezz_pt_map(struct mezz_vm *vm, u64 gfn, unsigned int level, u64 pa, u64 bits,
			  u64 **spare);

/**
 * mezz_pt_zap() - take the translations of a range out
 * @vm: the VM; mmu.lock held for writing
 * @first: first frame
 * @end: last frame + 1
 * @zap: collects; mezz_zap_done() must follow
 */
void mezz_pt_zap(struct mezz_vm *vm, u64 first, u64 end, struct mezz_zap *zap);

/**
 * mezz_zap_done() - wait until TLBs are clean, then free
 * @vm: the VM; no lock that a section takes, IRQs on
 * @zap: may be empty
 *
 * May reschedule unless @zap->atomic says otherwise.
 */
void mezz_zap_done(struct mezz_vm *vm, struct mezz_zap *zap);

/**
 * mezz_pt_weaken() - take bits out of the 4 KiB translations of a range
 * @vm: the VM; mmu.lock held for writing
 * @first: first frame
 * @end: last frame + 1
 * @bits: without which the next write is noticed; large translations become absent
 * @zap: collects; mezz_zap_done() must follow
 */
void mezz_pt_weaken(struct mezz_vm *vm, u64 first, u64 end, u64 bits, struct mezz_zap *zap);
/* The same for the frames @gfn + n, for each bit n of @mask. */
void mezz_pt_weaken_mask(struct mezz_vm *vm, u64 gfn, unsigned long mask, u64 bits,
			 struct mezz_zap *zap);

/**
 * mezz_pt_age() - was the range accessed?
 * @vm: the VM; mmu.lock held (reading is enough)
 * @first: first frame
 * @end: last frame + 1
 * @clear: forget it; only if the format has accessed bits
 */
bool mezz_pt_age(struct mezz_vm *vm, u64 first, u64 end, bool clear);

/* Frame to user address; clamped, so that a mispredicted lookup stays inside. */
static inline unsigned long mezz_slot_hva(const struct mezz_slot *slot, u64 gfn)
{
	return slot->hva + (array_index_nospec(gfn - slot->gfn, slot->npages) << PAGE_SHIFT);
}

/* Who notices writes to clean pages of slots that log: the CPU, or else a fault? */
static inline bool mezz_cpu_logs(const struct mezz_vm *vm)
{
	return mezz_engine->pt->logs && !vm->ring_size;
}

/* --- dirty.c, for slots.c --- */
/* [P] slots_lock. The bitmap of a slot that is to log, initialized. 0, -ENOMEM */
int mezz_dirty_alloc(struct mezz_vm *vm, struct mezz_slot *slot);
void mezz_dirty_free(struct mezz_vm *vm, struct mezz_slot *slot);
/* [P] slots_lock. @slot has been published: catch writes from now on. */
void mezz_dirty_start(struct mezz_vm *vm, struct mezz_slot *slot);
long mezz_get_dirty_log(struct mezz_vm *vm, void __user *argp);
long mezz_clear_dirty_log(struct mezz_vm *vm, void __user *argp);

/* --- ring.c --- */
/* The vCPU, which has a ring, wrote to a page of @slot whose bit was 0. Any context. */
void mezz_ring_push(struct mezz_vcpu *v, const struct mezz_slot *slot, u64 offset);
long mezz_ring_reset(struct mezz_vm *vm);
long mezz_ring_cap(void);

/*
 * Set the dirty bit of a frame if its slot logs, after writing, and report it in the
 * dirty ring if there is one. The vCPU mutex held; any context.
 */
static inline void mezz_mark_dirty(struct mezz_vcpu *v, struct mezz_slot *slot, u64 gfn)
{
	u64 offset = gfn - slot->gfn;

	/* A locked operation even if it is set: the data goes first. */
	if (slot->dirty && !test_and_set_bit(offset, slot->dirty) && v->ring.gfns)
		mezz_ring_push(v, slot, offset);
}

/* --- slots.c --- */
/* The slot with number @id, or NULL; slots_lock held. */
struct mezz_slot *mezz_slot_by_id(struct mezz_vm *vm, u32 id);
int mezz_slots_init(struct mezz_vm *vm);
void mezz_slots_destroy(struct mezz_vm *vm);

#endif
