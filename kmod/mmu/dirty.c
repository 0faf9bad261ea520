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
 * What was cleared is handed out piece by piece, before the flush, too: user space has
 * it when the ioctl returns.
 * A list may name a page whose bit was cleared for another's write: then the next log
 * has it, too.
 *
 * To start: ask the vCPUs to have their CPUs log; publish the slot, which none of them
 * sees before it has (mezz_synchronize); weaken all entries, flush.
 *
 * With KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_GET_DIRTY_LOG only copies, and
 * KVM_CLEAR_DIRTY_LOG clears what user space names.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mmu/table.h"
#include "vcpu.h"

/* Words of the bitmap (of 64 pages each) for which mmu.lock is held at once. */
#define CHUNK	64ul

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
	slot->dirty = kvcalloc(words(slot->npages), sizeof(long), GFP_KERNEL_ACCOUNT);
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
	for (; i + 8 <= end; i += 8)
		/* data_race(): only zero or not matters, and zero may be old. */
		if (data_race(dirty[i] | dirty[i + 1] | dirty[i + 2] | dirty[i + 3] |
			      dirty[i + 4] | dirty[i + 5] | dirty[i + 6] | dirty[i + 7]))
			break;
	while (i < end && !READ_ONCE(dirty[i]))
		i++;
	return i;
}

/*
 * Clear what @mask names in @n words of the bitmap from word @i on, and leave in @mask what
 * of it was set. slots_lock held, so that others only set bits.
 */
static void clear(struct mezz_vm *vm, struct mezz_slot *slot, unsigned long i,
		  unsigned long *mask, unsigned long n, struct mezz_zap *zap)
{
	u64 gfn = slot->gfn + i * BITS_PER_LONG, bits = noticing(vm);
	unsigned long *dirty = slot->dirty + i, k;

	write_lock(&vm->mmu.lock);
	for (k = 0; k < n; k++, gfn += BITS_PER_LONG) {
		mask[k] &= READ_ONCE(dirty[k]);
		if (!mask[k])
			continue;
		atomic_long_andnot(mask[k], (atomic_long_t *)&dirty[k]);
		mezz_pt_weaken_mask(vm, gfn, mask[k], bits, zap);
	}
	write_unlock(&vm->mmu.lock);
	cond_resched();
}

/*
 * Hand the log out. slots_lock held. If user space's memory is bad, all pages that were
 * looked at so far count as dirty again: too many, but nothing is lost.
 */
static long take_log(struct mezz_vm *vm, struct mezz_slot *slot, unsigned long __user *to)
{
	const void *zeros = page_address(ZERO_PAGE(0)), *from;
	unsigned long n = words(slot->npages), i, end, taken[CHUNK];
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);
	long r = 0;

	for (i = 0; i < n; i = end) {
		from = zeros;
		end = next_dirty(slot->dirty, i, min(n, i + PAGE_SIZE / sizeof(long)));
		if (end == i) {
			from = taken;
			end = min(n, i + CHUNK);
			memset(taken, 0xff, (end - i) * sizeof(long));
			clear(vm, slot, i, taken, end - i, &zap);
		}
		if (copy_to_user(to + i, from, (end - i) * sizeof(long))) {
			/* Not atomic: who else sets bits now sets what is set here. */
			bitmap_set(slot->dirty, 0, min_t(u64, slot->npages, end * BITS_PER_LONG));
			r = -EFAULT;
			break;
		}
	}
	mezz_zap_done(vm, &zap);
	return r;
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

	if (IS_ERR(slot))
		return PTR_ERR(slot);
	if (mezz_cpu_logs(vm))
		mezz_leave_guests(vm);
	if (!vm->mmu.manual_protect)
		return take_log(vm, slot, log->dirty_bitmap);
	return copy_to_user(log->dirty_bitmap, slot->dirty, words(slot->npages) * sizeof(long)) ?
		       -EFAULT : 0;
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

/* If user space's memory is bad, what comes before that has been cleared. */
static long clear_log(struct mezz_vm *vm, const struct kvm_clear_dirty_log *log)
{
	struct mezz_slot *slot = find_log(vm, log->slot);
	unsigned long n = words(log->num_pages), i, len, mask[CHUNK];
	const unsigned long __user *from = log->dirty_bitmap;
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);
	long r = 0;

	if (IS_ERR(slot))
		return PTR_ERR(slot);
	/* Whole words, except at the slot's end. */
	if (log->first_page > slot->npages || log->num_pages > slot->npages - log->first_page ||
	    (log->num_pages < slot->npages - log->first_page &&
	     log->num_pages % BITS_PER_LONG))
		return -EINVAL;
	for (i = 0; i < n; i += len) {
		len = min(n - i, CHUNK);
		if (copy_from_user(mask, from + i, len * sizeof(long))) {
			r = -EFAULT;
			break;
		}
		clear(vm, slot, log->first_page / BITS_PER_LONG + i, mask, len, &zap);
	}
	mezz_zap_done(vm, &zap);
	return r;
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
