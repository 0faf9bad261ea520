// SPDX-License-Identifier: GPL-2.0-only
/*
 * Second-stage faults.
 *
 * The common one is settled with interrupts off: find the slot, read the
 * host's page table, write one entry. No page reference is taken: what the
 * host's table says cannot change its meaning before the entry is in ours,
 * because both happen under mmu.lock (mmu.h says why that is enough). Only
 * when the host has nothing usable there, or a table page is missing, is the
 * fault repeated where it may sleep; and before it sleeps for a page it looks whether
 * the guest has something else to do (pv/apf.c).
 *
 * Execution is always permitted: the guest's own tables decide about it. Except by large
 * entries, on CPUs that a guest could stop with them (mezz_host.nx_large): there a fault
 * on execution splits the entry, or adds the right.
 */
#include <linux/irqflags.h>
#include <linux/minmax.h>

#include "host/mm.h"
#include "mmu/table.h"
#include "pv/pv.h"
#include "vcpu.h"

/* What try_map() says. */
enum attempt {
	TRY_DONE,
	TRY_NO_TABLE,	/* give a spare page */
	TRY_NO_PAGE,	/* the host must fault the page in */
	TRY_BUSY,	/* an invalidation is under way */
	TRY_BLOCKED,	/* an old entry must go first */
};

#define HOST_WRITTEN	(MEZZ_HOST_WRITE | MEZZ_HOST_DIRTY)

/* Rounds of one sleeping fault; then the guest may fault again. */
#define MAX_ROUNDS	8

/* mmu.lock held. Is something in the host's page of @level at @hva being dropped? */
static bool invalidating(const struct mezz_mmu *mmu, unsigned long hva, unsigned int level)
{
	unsigned long size = PAGE_SIZE << (9 * (level - 1));
	unsigned long start = hva & -size;

	return unlikely(mmu->inval_count) && start < mmu->inval_end &&
	       start + size > mmu->inval_start;
}

/* The largest mapping that host, hardware and the slot's alignment permit. */
static unsigned int best_level(const struct mezz_slot *slot, u64 gfn, unsigned int level)
{
	level = min_t(unsigned int, level, mezz_host.max_page_level);
	if (slot->dirty)
		return 1;
	for (; level > 1; level--) {
		u64 inside = BIT_ULL(9 * (level - 1)) - 1;

		if (!((slot->gfn ^ (slot->hva >> PAGE_SHIFT)) & inside) &&
		    (gfn & ~inside) >= slot->gfn && (gfn | inside) < slot->gfn + slot->npages)
			break;
	}
	return level;
}

/* What an entry has of writing: all after a write fault; @flags: of the host's entry. */
static u64 write_bits(const struct mezz_vm *vm, const struct mezz_slot *slot, u32 flags, bool write)
{
	const struct mezz_pt_format *pt = mezz_engine->pt;

	if (write)
		return pt->write | pt->dirty;
	if ((flags & HOST_WRITTEN) != HOST_WRITTEN || (slot->flags & KVM_MEM_READONLY))
		return 0;
	/* Dirty in the host: writing changes nothing there. In a log it does. */
	if (!slot->dirty)
		return pt->write | pt->dirty;
	return mezz_cpu_logs(vm) ? pt->write : 0;
}

/* Context: IRQs off. */
static enum attempt try_map(struct mezz_vcpu *v, struct mezz_slot *slot, u64 gfn, u32 access,
			    u64 **spare)
{
	bool write = access & MEZZ_ACC_WRITE;
	struct mezz_vm *vm = v->vm;
	const struct mezz_pt_format *pt = mezz_engine->pt;
	unsigned long hva = mezz_slot_hva(slot, gfn);
	struct mezz_mmu *mmu = &vm->mmu;
	enum attempt r = TRY_BUSY;
	struct mezz_host_map map;
	u64 bits;

	read_lock(&mmu->lock);
	if (invalidating(mmu, hva, 1))
		goto out;
	r = TRY_NO_PAGE;
	map = mezz_host_walk(vm->mm, hva, write);
	if (!map.level || (write && !(map.flags & MEZZ_HOST_WRITE)))
		goto out;
	bits = pt->leaf | pt->read | pt->exec;
	if (unlikely(map.flags & MEZZ_HOST_UNCACHED))
		bits ^= pt->uncached;
	bits |= write_bits(vm, slot, map.flags, write);
	if (map.level > 1) {
		r = TRY_BUSY;
		if (invalidating(mmu, hva, map.level))
			goto out;
		map.level = best_level(slot, gfn, map.level);
		if (unlikely(mezz_host.nx_large)) {
			if (access & MEZZ_ACC_EXEC)
				map.level = 1;
			else if (map.level > 1)
				bits &= ~pt->exec;
		}
	}
	switch (mezz_pt_map(vm, gfn, map.level, map.pa, bits, spare)) {
	case MEZZ_MAP_DONE:
		r = TRY_DONE;
		/* Under the lock: reading the log happens before or after. */
		if (write)
			mezz_mark_dirty(v, slot, gfn);
		break;
	case MEZZ_MAP_NO_TABLE:
		r = TRY_NO_TABLE;
		break;
	case MEZZ_MAP_BLOCKED:
		r = TRY_BLOCKED;
	}
out:
	read_unlock(&mmu->lock);
	return r;
}

static enum mezz_fault fault_in(struct mezz_vcpu *v, u64 gfn, unsigned long hva, bool write)
{
	if (mezz_pv_apf_possible(v)) {
		int r = mezz_host_fault_in_nowait(hva, write);

		if (!r)
			return MEZZ_FAULT_FIXED;
		if (r == -EAGAIN && mezz_pv_apf_start(v, gfn, hva, write))
			return MEZZ_FAULT_LATER;
	}
	switch (mezz_host_fault_in(hva, write)) {
	case 0:
		return MEZZ_FAULT_FIXED;
	case -EINTR:
		return MEZZ_FAULT_SIGNAL;
	default:
		return MEZZ_FAULT_BAD;
	}
}

static void unblock(struct mezz_vm *vm, u64 gfn)
{
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);

	write_lock(&vm->mmu.lock);
	mezz_pt_zap(vm, gfn, gfn + 1, &zap);
	write_unlock(&vm->mmu.lock);
	mezz_zap_done(vm, &zap);
}

/*
 * An invalidation was under way when @seq had ended. Until another has: no
 * longer, as they may overlap without end, nor against a signal.
 */
static void await_invalidation(struct mezz_mmu *mmu, unsigned long seq)
{
	wait_event_interruptible_timeout(mmu->inval_wait, READ_ONCE(mmu->inval_seq) != seq,
					 HZ / 50 + 1);
}

/*
 * Where one may sleep. A fault that stays unsettled is FIXED all the same: the
 * guest repeats it, and the run loop looks for signals in between.
 */
static enum mezz_fault slow_fault(struct mezz_vcpu *v, struct mezz_slot *slot, u64 gfn, u32 access)
{
	bool write = access & MEZZ_ACC_WRITE;
	struct mezz_vm *vm = v->vm;
	enum mezz_fault r = MEZZ_FAULT_FIXED;
	u64 *spare = NULL;
	unsigned long seq;
	enum attempt t;
	int i;

	for (i = 0; i < MAX_ROUNDS && r == MEZZ_FAULT_FIXED; i++) {
		/* Sampled first: an end after the attempt is not missed. */
		seq = READ_ONCE(vm->mmu.inval_seq);
		local_irq_disable();
		t = try_map(v, slot, gfn, access, &spare);
		local_irq_enable();
		if (t == TRY_BUSY)
			await_invalidation(&vm->mmu, seq);
		if (t == TRY_DONE || t == TRY_BUSY)
			break;
		if (t == TRY_NO_PAGE)
			r = fault_in(v, gfn, mezz_slot_hva(slot, gfn), write);
		else if (t == TRY_BLOCKED)
			unblock(vm, gfn);
		else
			spare = mezz_pt_alloc();
		if (t == TRY_NO_TABLE && !spare)
			r = MEZZ_FAULT_BAD;
	}
	if (spare)
		mezz_pt_free(spare);
	return r;
}

/*
 * A page of our own, which no slot has and the notifier never hears of. Nothing but a
 * new root takes it away.
 */
static enum mezz_fault map_identity(struct mezz_vcpu *v, u64 gfn)
{
	const struct mezz_pt_format *pt = mezz_engine->pt;
	enum mezz_map r = MEZZ_MAP_NO_TABLE;
	u64 *spare = NULL;
	int i;

	if (v->atomic)
		return MEZZ_FAULT_AGAIN;
	for (i = 0; i < MAX_ROUNDS && r != MEZZ_MAP_DONE; i++) {
		local_irq_disable();
		read_lock(&v->vm->mmu.lock);
		r = mezz_pt_map(v->vm, gfn, 1, mezz_host.identity_hpa,
				pt->leaf | pt->read, &spare);
		read_unlock(&v->vm->mmu.lock);
		local_irq_enable();
		if (r == MEZZ_MAP_BLOCKED)
			unblock(v->vm, gfn);
		else if (r == MEZZ_MAP_NO_TABLE && !spare)
			spare = mezz_pt_alloc();
	}
	if (spare)
		mezz_pt_free(spare);
	return r == MEZZ_MAP_DONE ? MEZZ_FAULT_FIXED : MEZZ_FAULT_BAD;
}

enum mezz_fault mezz_mmu_fault(struct mezz_vcpu *v, u64 gpa, u32 access)
{
	bool write = access & MEZZ_ACC_WRITE;
	struct mezz_vm *vm = v->vm;
	u64 gfn = gpa >> PAGE_SHIFT;
	struct mezz_slot *slot;
	u64 *spare = NULL;

	if (unlikely(mezz_host.identity_hpa) && !write &&
	    gfn == vm->identity_map_addr >> PAGE_SHIFT)
		return map_identity(v, gfn);
	slot = mezz_slot_find(vm, gfn);
	if (!slot || (write && (slot->flags & KVM_MEM_READONLY)))
		return MEZZ_FAULT_MMIO;
	if (!v->atomic)
		return slow_fault(v, slot, gfn, access);
	return try_map(v, slot, gfn, access, &spare) == TRY_DONE ?
		MEZZ_FAULT_FIXED : MEZZ_FAULT_AGAIN;
}
