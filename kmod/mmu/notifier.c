// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MMU notifier: the host changes the mappings of the process, and the
 * second stage follows; and the life cycle of all of mmu/.
 *
 * When a callback returns, no vCPU uses what the host is about to take away:
 * KSM, copy on write, swapping, migration, huge pages, mprotect, userfaultfd,
 * MADV_DONTNEED and truncation all come through here. Nothing here waits; where
 * the host may not sleep, taking apart what was dropped does not reschedule.
 *
 * change_pte(), which 6.12 no longer has, is not implemented: its callers wrap
 * it in an invalidation.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>

#include "engine.h"
#include "mmu/table.h"
#include "vm.h"

/* Overlap of a slot with [@start, @end) of the process, in frames. */
static bool overlap(const struct mezz_slot *slot, unsigned long start, unsigned long end,
		    u64 *first, u64 *last)
{
	unsigned long hva_end = slot->hva + (slot->npages << PAGE_SHIFT);

	if (start >= hva_end || end <= slot->hva)
		return false;
	start = max(start, slot->hva);
	end = min(end, hva_end);
	*first = slot->gfn + ((start - slot->hva) >> PAGE_SHIFT);
	*last = slot->gfn + ((end - slot->hva + PAGE_SIZE - 1) >> PAGE_SHIFT);
	return true;
}

/* mmu.lock held for writing, SRCU read side held. */
static void drop(struct mezz_vm *vm, unsigned long start, unsigned long end,
		 struct mezz_zap *zap)
{
	const struct mezz_slots *slots = srcu_dereference(vm->slots, &vm->srcu);
	u64 first, last;
	unsigned int i;

	for (i = 0; i < slots->n; i++)
		if (overlap(slots->slot[i], start, end, &first, &last))
			mezz_pt_zap(vm, first, last, zap);
	if (vm->mmu.leaving && overlap(vm->mmu.leaving, start, end, &first, &last))
		mezz_pt_zap(vm, first, last, zap);
}

static void finish(struct mezz_vm *vm, struct mezz_zap *zap)
{
	if (!zap->flush)
		return;
	mezz_vm_count(vm, MEZZ_VM_STAT_mmu_notifier_unmaps, 1);
	mezz_zap_done(vm, zap);
}

static int range_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct mezz_vm *vm = container_of(mn, struct mezz_vm, notifier);
	struct mezz_mmu *mmu = &vm->mmu;
	int idx = mezz_read_lock(vm);
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);

	zap.atomic = !mmu_notifier_range_blockable(range);
	write_lock(&mmu->lock);
	/* Several at once are kept as one range around them all. */
	if (!mmu->inval_count++) {
		mmu->inval_start = range->start;
		mmu->inval_end = range->end;
	} else {
		mmu->inval_start = min(mmu->inval_start, range->start);
		mmu->inval_end = max(mmu->inval_end, range->end);
	}
	drop(vm, range->start, range->end, &zap);
	write_unlock(&mmu->lock);
	mezz_read_unlock(vm, idx);
	finish(vm, &zap);
	return 0;
}

static void range_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct mezz_vm *vm = container_of(mn, struct mezz_vm, notifier);

	write_lock(&vm->mmu.lock);
	vm->mmu.inval_count--;
	vm->mmu.inval_seq++;
	write_unlock(&vm->mmu.lock);
	/* Full barrier, against the one in prepare_to_wait() of a fault. */
	if (wq_has_sleeper(&vm->mmu.inval_wait))
		wake_up_all(&vm->mmu.inval_wait);
}

/*
 * Without accessed bits: gone is old, and what comes back was young. The host
 * holds the lock of a page table.
 */
static int drop_young(struct mezz_vm *vm, unsigned long start, unsigned long end)
{
	int idx = mezz_read_lock(vm);
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);
	bool young;

	zap.atomic = true;
	write_lock(&vm->mmu.lock);
	drop(vm, start, end, &zap);
	write_unlock(&vm->mmu.lock);
	mezz_read_unlock(vm, idx);
	young = zap.flush;	/* or somebody else's are not flushed: a guess is enough */
	finish(vm, &zap);
	return young;
}

static int age(struct mezz_vm *vm, unsigned long start, unsigned long end, bool clear)
{
	const struct mezz_slots *slots;
	bool young = false;
	u64 first, last;
	unsigned int i;
	int idx;

	if (clear && !mezz_engine->pt->accessed)
		return drop_young(vm, start, end);
	idx = mezz_read_lock(vm);
	slots = srcu_dereference(vm->slots, &vm->srcu);
	read_lock(&vm->mmu.lock);
	for (i = 0; i < slots->n; i++)
		if (overlap(slots->slot[i], start, end, &first, &last))
			young |= mezz_pt_age(vm, first, last, clear);
	read_unlock(&vm->mmu.lock);
	mezz_read_unlock(vm, idx);
	return young;
}

static int clear_young(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long start,
		       unsigned long end)
{
	return age(container_of(mn, struct mezz_vm, notifier), start, end, true);
}

static int test_young(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long address)
{
	return age(container_of(mn, struct mezz_vm, notifier), address, address + PAGE_SIZE, false);
}

/*
 * The process is going away, or the VM. No vCPU runs any more in the former
 * case (current->mm), nor in the latter.
 */
static void release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct mezz_vm *vm = container_of(mn, struct mezz_vm, notifier);
	int idx = mezz_read_lock(vm);
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);

	write_lock(&vm->mmu.lock);
	drop(vm, 0, ULONG_MAX, &zap);
	write_unlock(&vm->mmu.lock);
	mezz_read_unlock(vm, idx);
	finish(vm, &zap);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = range_start,
	.invalidate_range_end = range_end,
	/*
	 * The same for both: a TLB that still says "accessed" costs a page its
	 * next mark and nothing else; the host treats its own TLBs so on x86.
	 */
	.clear_flush_young = clear_young,
	.clear_young = clear_young,
	.test_young = test_young,
	.release = release,
};

int mezz_mmu_init(struct mezz_vm *vm)
{
	int r = mezz_slots_init(vm);

	init_waitqueue_head(&vm->mmu.inval_wait);
	if (r)
		return r;
	r = mezz_pt_init(vm);
	if (r)
		goto no_tables;
	vm->notifier.ops = &notifier_ops;
	r = mmu_notifier_register(&vm->notifier, vm->mm);
	if (r)
		goto no_notifier;
	return 0;

no_notifier:
	mezz_pt_destroy(vm);
no_tables:
	mezz_slots_destroy(vm);
	return r;
}

void mezz_mmu_destroy(struct mezz_vm *vm)
{
	mmu_notifier_unregister(&vm->notifier, vm->mm);
	mezz_pt_destroy(vm);
	mezz_slots_destroy(vm);
}
