// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log of a slot: which pages were written since somebody looked.
 *
 * While a slot logs it is mapped by 4 KiB entries. Who notices the first write to a
 * clean page (mezz_cpu_logs)?
 *  - A fault: an entry is writable only after a write fault, which sets the page's
 *    bit under the same mmu.lock.
 *  - The CPU: an entry is writable at once, but its dirty bit is clear. Whoever sets
 *    that sets the page's bit, too: a write fault as above; a CPU by way of its vCPU's
 *    own list, which is emptied into the log (mezz_log_write) before that CPU takes an
 *    interrupt of the host's, and when the section ends.
 * Writes by this module set the bit after the data (mezz_mark_dirty).
 *
 * To take the log:
 *  1. If the CPU logs: make all vCPUs leave the guest, which empties their lists. What
 *     was written before the ioctl is now in the bitmap.
 *  2. Under the lock: clear bits, and weaken the entries of these pages, and of no
 *     others: make them read-only, or clear their dirty bits. So each entry that is
 *     writable, or dirty, still has its bit in the bitmap or its page in a list.
 *  3. Flush. A write through a stale TLB entry before that belongs to the log being
 *     taken, whose pages user space reads later. The next one is noticed.
 *  4. Hand out what was cleared.
 * A list may name a page whose bit was cleared for another's write: then the next log
 * has it, too.
 *
 * To start: ask the vCPUs to have their CPUs log; publish the slot, which none of them
 * sees before it has (mezz_synchronize); weaken all entries, flush.
 *
 * With KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_GET_DIRTY_LOG only copies, and
 * KVM_CLEAR_DIRTY_LOG clears what user space names.
 *
 * The bitmap has a second half, in which the log being handed out is kept.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mmu/table.h"
#include "vcpu.h"

/* Words of the bitmap (of 64 pages each) for which mmu.lock is held at once. */
#define CHUNK	256ul

static unsigned long words(u64 npages)
{
	return BITS_TO_LONGS(npages);
}

/* Without these bits in a page's entry, the next write to it is noticed. */
static u64 noticing(const struct mezz_vm *vm)
{
	return mezz_cpu_logs(vm) ? mezz_engine->pt->dirty : mezz_engine->pt->write;
}

/* One slot more, or one less. */
static void count_slots(struct mezz_vm *vm, int n)
{
	bool before = vm->mmu.logging;
	struct mezz_vcpu *v;
	int i;

	WRITE_ONCE(vm->mmu.logging, vm->mmu.logging + n);
	if (before == !!vm->mmu.logging)
		return;
	mezz_for_each_vcpu(i, v, vm)
		mezz_request(v, MEZZ_REQ_LOG);
}

int mezz_log_apply(struct mezz_vcpu *v)
{
	struct mezz_vm *vm = v->vm;

	if (!mezz_engine->pt->logs)
		return 0;
	return mezz_engine->log_writes(v, mezz_cpu_logs(vm) && READ_ONCE(vm->mmu.logging));
}

int mezz_dirty_alloc(struct mezz_vm *vm, struct mezz_slot *slot)
{
	slot->dirty = kvcalloc(words(slot->npages), 2 * sizeof(long), GFP_KERNEL_ACCOUNT);
	if (!slot->dirty)
		return -ENOMEM;
	if (!vm->ring_size && (vm->mmu.manual_protect & KVM_DIRTY_LOG_INITIALLY_SET))
		bitmap_set(slot->dirty, 0, slot->npages);
	count_slots(vm, 1);
	return 0;
}

void mezz_dirty_free(struct mezz_vm *vm, struct mezz_slot *slot)
{
	if (!slot->dirty)
		return;
	count_slots(vm, -1);
	kvfree(slot->dirty);
	slot->dirty = NULL;
}

void mezz_mark_dirty(struct mezz_vcpu *v, struct mezz_slot *slot, u64 gfn)
{
	/* A locked operation even if it is set: the data goes first. */
	if (slot->dirty && !test_and_set_bit(gfn - slot->gfn, slot->dirty) && v->ring.gfns)
		mezz_ring_push(v, slot, gfn);
}

void mezz_log_write(struct mezz_vcpu *v, u64 gpa)
{
	u64 gfn = gpa >> PAGE_SHIFT;
	struct mezz_slot *slot = mezz_slot_find(v->vm, gfn);

	if (slot)
		mezz_mark_dirty(v, slot, gfn);
}

/* Large mappings go; they come back as 4 KiB ones. */
void mezz_dirty_start(struct mezz_vm *vm, struct mezz_slot *slot)
{
	u64 gfn, end = slot->gfn + slot->npages;
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);

	for (gfn = slot->gfn; gfn < end; gfn += CHUNK * BITS_PER_LONG) {
		write_lock(&vm->mmu.lock);
		mezz_pt_weaken(vm, gfn, min(end, gfn + CHUNK * BITS_PER_LONG),
			       noticing(vm), &zap);
		write_unlock(&vm->mmu.lock);
		cond_resched();
	}
	mezz_zap_done(vm, &zap);
}

/*
 * The first word from @i on that has bits, or @end. Without the lock: a bit that is set
 * later belongs to the next log.
 */
static unsigned long next_dirty(const unsigned long *dirty, unsigned long i, unsigned long end)
{
	for (; i + 4 <= end; i += 4)
		if (READ_ONCE(dirty[i]) | READ_ONCE(dirty[i + 1]) |
		    READ_ONCE(dirty[i + 2]) | READ_ONCE(dirty[i + 3]))
			break;
	while (i < end && !READ_ONCE(dirty[i]))
		i++;
	return i;
}

/* Take all bits out of the log into its second half. slots_lock held. */
static void take_log(struct mezz_vm *vm, struct mezz_slot *slot)
{
	unsigned long n = words(slot->npages), i, end, *dirty = slot->dirty;
	unsigned long *taken = dirty + n;
	u64 bits = noticing(vm);
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);

	memset(taken, 0, n * sizeof(long));
	for (i = next_dirty(dirty, 0, n); i < n; i = next_dirty(dirty, i, n)) {
		end = min(n, i + CHUNK);
		write_lock(&vm->mmu.lock);
		for (; i < end; i = next_dirty(dirty, i + 1, end)) {
			taken[i] = xchg(&dirty[i], 0);
			mezz_pt_weaken_mask(vm, slot->gfn + i * BITS_PER_LONG, taken[i], bits,
					    &zap);
		}
		write_unlock(&vm->mmu.lock);
		cond_resched();
	}
	mezz_zap_done(vm, &zap);
}

/* The logging slot with number @id. slots_lock held. */
static struct mezz_slot *find_log(struct mezz_vm *vm, u32 id)
{
	struct mezz_slot *slot;

	if (id >= MEZZ_MAX_SLOTS)
		return ERR_PTR(-EINVAL);
	slot = mezz_slot_by_id(vm, id);
	if (!slot || !slot->dirty)
		return ERR_PTR(-ENOENT);
	return slot;
}

static long get_log(struct mezz_vm *vm, const struct kvm_dirty_log *log)
{
	struct mezz_slot *slot = find_log(vm, log->slot);
	unsigned long *from, n;

	if (IS_ERR(slot))
		return PTR_ERR(slot);
	if (mezz_cpu_logs(vm))
		mezz_leave_guests(vm);
	n = words(slot->npages);
	from = slot->dirty;
	if (!vm->mmu.manual_protect) {
		take_log(vm, slot);
		from += n;
	}
	return copy_to_user(log->dirty_bitmap, from, n * sizeof(long)) ? -EFAULT : 0;
}

long mezz_get_dirty_log(struct mezz_vm *vm, void __user *argp)
{
	struct kvm_dirty_log log;
	long r;

	if (copy_from_user(&log, argp, sizeof(log)))
		return -EFAULT;
	if (vm->ring_size)
		return -ENXIO;
	mutex_lock(&vm->slots_lock);
	r = get_log(vm, &log);
	mutex_unlock(&vm->slots_lock);
	return r;
}

static long clear_log(struct mezz_vm *vm, const struct kvm_clear_dirty_log *log)
{
	struct mezz_slot *slot = find_log(vm, log->slot);
	unsigned long n = words(log->num_pages), i, end, *mask, *dirty;
	u64 gfn, bits = noticing(vm);
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);

	if (IS_ERR(slot))
		return PTR_ERR(slot);
	/* Whole words, except at the slot's end. */
	if (log->first_page > slot->npages || log->num_pages > slot->npages - log->first_page ||
	    (log->num_pages < slot->npages - log->first_page &&
	     log->num_pages % BITS_PER_LONG))
		return -EINVAL;
	dirty = slot->dirty + log->first_page / BITS_PER_LONG;
	mask = slot->dirty + words(slot->npages);
	if (copy_from_user(mask, log->dirty_bitmap, n * sizeof(long)))
		return -EFAULT;
	gfn = slot->gfn + log->first_page;
	for (i = 0; i < n; i = end) {
		end = min(n, i + CHUNK);
		write_lock(&vm->mmu.lock);
		for (; i < end; i++, gfn += BITS_PER_LONG) {
			if (!mask[i])
				continue;
			mask[i] &= atomic_long_fetch_andnot(mask[i], (atomic_long_t *)&dirty[i]);
			mezz_pt_weaken_mask(vm, gfn, mask[i], bits, &zap);
		}
		write_unlock(&vm->mmu.lock);
		cond_resched();
	}
	mezz_zap_done(vm, &zap);
	return 0;
}

long mezz_clear_dirty_log(struct mezz_vm *vm, void __user *argp)
{
	struct kvm_clear_dirty_log log;
	long r;

	if (copy_from_user(&log, argp, sizeof(log)))
		return -EFAULT;
	if (vm->ring_size)
		return -ENXIO;
	if (log.slot >= MEZZ_MAX_SLOTS || log.first_page % BITS_PER_LONG)
		return -EINVAL;
	mutex_lock(&vm->slots_lock);
	r = clear_log(vm, &log);
	mutex_unlock(&vm->slots_lock);
	return r;
}

long mezz_mmu_enable_manual_protect(struct mezz_vm *vm, const struct kvm_enable_cap *cap)
{
	u64 allowed = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;

	if (cap->args[0] & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
		allowed |= KVM_DIRTY_LOG_INITIALLY_SET;
	if (cap->args[0] & ~allowed)
		return -EINVAL;
	mutex_lock(&vm->slots_lock);
	vm->mmu.manual_protect = cap->args[0];
	mutex_unlock(&vm->slots_lock);
	return 0;
}
