// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty ring (KVM_CAP_DIRTY_LOG_RING): each vCPU reports the pages it dirties in a
 * ring that user space maps, instead of in a bitmap to be fetched.
 *
 * A slot keeps its bitmap (dirty.c), which only user space does not see: a page is
 * pushed when its bit turns 1, so that no page fills the ring twice, and
 * KVM_RESET_DIRTY_RINGS clears the bits of what user space has collected and
 * write-protects those pages. User space reads a page after that, so a write that
 * finds the bit still set is seen.
 *
 * A vCPU whose ring is nearly full leaves with KVM_EXIT_DIRTY_RING_FULL. The rest is
 * for what one instruction, or this module on the vCPU's behalf, still writes.
 *
 * Locking: head is the vCPU's, by its mutex; tail is guarded by slots_lock. User space
 * may write anything into the ring: what is read there is checked.
 */
#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/vmalloc.h>

#include "mmu/table.h"
#include "vcpu.h"

#define MAX_ENTRIES	65536u
/* Entries that are kept for after the ring was found full. */
#define RESERVE		64u
/* Entries for which mmu.lock is held at once. */
#define BATCH		64u

static unsigned int used(const struct mezz_ring *r)
{
	return READ_ONCE(r->head) - READ_ONCE(r->tail);
}

bool mezz_ring_full(struct mezz_vcpu *v)
{
	return v->ring.gfns && used(&v->ring) >= v->ring.size - RESERVE;
}

void mezz_ring_push(struct mezz_vcpu *v, const struct mezz_slot *slot, u64 offset)
{
	struct mezz_ring *r = &v->ring;
	u32 head = r->head, n = head - READ_ONCE(r->tail);
	struct kvm_dirty_gfn *e;

	if (unlikely(n + 1 >= r->size - RESERVE)) {
		mezz_request(v, MEZZ_REQ_RING_FULL);
		if (n >= r->size) {
			/* Not to be reached. Better no VM than one whose log has a hole. */
			mezz_request(v, MEZZ_REQ_DEAD);
			return;
		}
	}
	e = &r->gfns[head & (r->size - 1)];
	WRITE_ONCE(e->slot, slot->id);
	WRITE_ONCE(e->offset, offset);
	/* User space acquires the flag. */
	smp_store_release(&e->flags, KVM_DIRTY_GFN_F_DIRTY);
	WRITE_ONCE(r->head, head + 1);
}

int mezz_ring_alloc(struct mezz_vcpu *v)
{
	u32 size = v->vm->ring_size;

	if (!size)
		return 0;
	v->ring.gfns = __vmalloc(size, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	v->ring.size = size / sizeof(struct kvm_dirty_gfn);
	return v->ring.gfns ? 0 : -ENOMEM;
}

void mezz_ring_free(struct mezz_vcpu *v)
{
	vfree(v->ring.gfns);
}

struct page *mezz_ring_page(struct mezz_vcpu *v, unsigned long offset)
{
	if (offset >= v->vm->ring_size >> PAGE_SHIFT)
		return NULL;
	return vmalloc_to_page((char *)v->ring.gfns + (offset << PAGE_SHIFT));
}

long mezz_ring_enable(struct mezz_vm *vm, u64 size)
{
	long r = -EINVAL;

	if (!is_power_of_2(size) || size < PAGE_SIZE)
		return -EINVAL;
	if (size > MAX_ENTRIES * sizeof(struct kvm_dirty_gfn))
		return -E2BIG;
	mutex_lock(&vm->slots_lock);
	/* Slots that log already have no entries to go with their bits. */
	if (!vm->ring_size && !vm->nr_vcpus && !vm->mmu.logging) {
		vm->ring_size = size;
		r = 0;
	}
	mutex_unlock(&vm->slots_lock);
	return r;
}

long mezz_ring_cap(void)
{
	return MAX_ENTRIES * sizeof(struct kvm_dirty_gfn);
}

/* Pages of one word of a slot's bitmap. */
struct pages {
	u32 slot;
	u64 word;
	unsigned long mask;
};

/* mmu.lock held for writing. The pages may be written, and pushed, again. */
static void reset_pages(struct mezz_vm *vm, const struct pages *p, struct mezz_zap *zap)
{
	struct mezz_slot *slot = p->slot < MEZZ_MAX_SLOTS ? mezz_slot_by_id(vm, p->slot) : NULL;
	u64 first = p->word * BITS_PER_LONG;
	unsigned long mask = p->mask;

	/* The slot may have changed since the entries were written. */
	if (!slot || !slot->dirty || first >= slot->npages)
		return;
	if (slot->npages - first < BITS_PER_LONG)
		mask &= BIT(slot->npages - first) - 1;
	atomic_long_andnot(mask, (atomic_long_t *)&slot->dirty[p->word]);
	mezz_pt_weaken_mask(vm, slot->gfn + first, mask, mezz_engine->pt->write, zap);
}

/* At most BATCH entries. Returns how many. */
static unsigned int reset_some(struct mezz_vm *vm, struct mezz_ring *r, struct mezz_zap *zap)
{
	struct pages p = {};
	unsigned int n;

	write_lock(&vm->mmu.lock);
	for (n = 0; n < BATCH && used(r); n++) {
		struct kvm_dirty_gfn *e = &r->gfns[r->tail & (r->size - 1)];
		u64 offset;
		u32 slot;

		/* User space has read the entry before it set the flag. */
		if (!(smp_load_acquire(&e->flags) & KVM_DIRTY_GFN_F_RESET))
			break;
		slot = READ_ONCE(e->slot);
		offset = READ_ONCE(e->offset);
		if (slot != p.slot || offset / BITS_PER_LONG != p.word) {
			reset_pages(vm, &p, zap);
			p = (struct pages) { slot, offset / BITS_PER_LONG };
		}
		p.mask |= BIT(offset % BITS_PER_LONG);
		WRITE_ONCE(e->flags, 0);
		/* The vCPU reuses the entry after this. */
		smp_store_release(&r->tail, r->tail + 1);
	}
	reset_pages(vm, &p, zap);
	write_unlock(&vm->mmu.lock);
	return n;
}

long mezz_ring_reset(struct mezz_vm *vm)
{
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);
	struct mezz_vcpu *v;
	unsigned int n, left;
	long total = 0;
	int i;

	if (!vm->ring_size)
		return -EINVAL;
	mutex_lock(&vm->slots_lock);
	mezz_for_each_vcpu(i, v, vm) {
		/* Once around: a vCPU may fill while this empties. */
		for (left = v->ring.size; left; left -= min(left, n)) {
			n = reset_some(vm, &v->ring, &zap);
			total += n;
			if (n < BATCH)
				break;
			cond_resched();
		}
	}
	mezz_zap_done(vm, &zap);
	mutex_unlock(&vm->slots_lock);
	return total;
}
