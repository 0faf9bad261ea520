// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots: KVM_SET_USER_MEMORY_REGION, looking a frame up, and what this
 * folder answers to other ioctls.
 *
 * The array is replaced as a whole. To take a slot away: publish an array
 * without it, wait until nobody uses the old one (mezz_synchronize), zap its
 * entries, flush. From the publication to the flush the notifier finds it as
 * mmu.leaving: otherwise a page that the host frees meanwhile would stay
 * mapped in the guest. A fault that still used the old array has installed its
 * entry before the zap.
 *
 * A move takes the slot away and puts it back at its new place; in between,
 * the guest finds no memory in either.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "engine.h"
#include "mmu/table.h"
#include "vm.h"

/* So that a page number of a slot, and a count of them, fits an int (KVM's ABI). */
#define MAX_PAGES	((1ul << 31) - 1)
/* The smallest KVM_SET_NR_MMU_PAGES that KVM takes. */
#define MIN_MMU_PAGES	64

/* --- lookup; SRCU read side held --- */

static inline bool covers(const struct mezz_slot *slot, u64 gfn)
{
	return gfn - slot->gfn < slot->npages;
}

struct mezz_slot *mezz_slot_find(struct mezz_vm *vm, u64 gfn)
{
	struct mezz_slots *slots = srcu_dereference(vm->slots, &vm->srcu);
	unsigned int low = 0, high = slots->n, mid;
	unsigned int hint = array_index_nospec(READ_ONCE(slots->hint), slots->n);

	if (likely(hint < high && covers(slots->slot[hint], gfn)))
		return slots->slot[hint];
	while (low < high) {
		mid = (low + high) / 2;
		if (covers(slots->slot[mid], gfn)) {
			WRITE_ONCE(slots->hint, mid);
			return slots->slot[mid];
		}
		if (gfn < slots->slot[mid]->gfn)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

unsigned long mezz_gfn_hva(struct mezz_vm *vm, u64 gfn, bool write)
{
	struct mezz_slot *slot = mezz_slot_find(vm, gfn);

	if (!slot || (write && (slot->flags & KVM_MEM_READONLY)))
		return 0;
	return mezz_slot_hva(slot, gfn);
}

/* --- the array; slots_lock held --- */

static struct mezz_slots *current_slots(struct mezz_vm *vm)
{
	return rcu_dereference_protected(vm->slots, lockdep_is_held(&vm->slots_lock));
}

struct mezz_slot *mezz_slot_by_id(struct mezz_vm *vm, u32 id)
{
	struct mezz_slots *slots = current_slots(vm);
	unsigned int i;

	for (i = 0; i < slots->n; i++)
		if (slots->slot[i]->id == id)
			return slots->slot[i];
	return NULL;
}

static struct mezz_slots *alloc_slots(unsigned int n)
{
	struct mezz_slots *slots;

	return kzalloc(struct_size(slots, slot, n), GFP_KERNEL_ACCOUNT);
}

/* A copy of @from without @out and with @in; both may be NULL. */
static struct mezz_slots *edit(const struct mezz_slots *from, const struct mezz_slot *out,
			       struct mezz_slot *in)
{
	struct mezz_slots *to = alloc_slots(from->n + 1);
	unsigned int i, n = 0;

	if (!to)
		return NULL;
	to->generation = from->generation + 1;
	for (i = 0; i < from->n; i++) {
		struct mezz_slot *slot = from->slot[i];

		if (slot == out)
			continue;
		if (in && in->gfn < slot->gfn) {
			to->slot[n++] = in;
			in = NULL;
		}
		to->slot[n++] = slot;
	}
	if (in)
		to->slot[n++] = in;
	to->n = n;
	return to;
}

/* Returns when nobody uses the old array and what only it contained. */
static void publish(struct mezz_vm *vm, struct mezz_slots *slots, struct mezz_slot *leaving)
{
	struct mezz_slots *old = current_slots(vm);

	write_lock(&vm->mmu.lock);
	vm->mmu.leaving = leaving;
	rcu_assign_pointer(vm->slots, slots);
	write_unlock(&vm->mmu.lock);
	mezz_synchronize(vm);
	kfree(old);
}

static void zap_slot(struct mezz_vm *vm, const struct mezz_slot *slot)
{
	struct mezz_zap zap = MEZZ_ZAP_INIT(zap);

	write_lock(&vm->mmu.lock);
	mezz_pt_zap(vm, slot->gfn, slot->gfn + slot->npages, &zap);
	write_unlock(&vm->mmu.lock);
	mezz_zap_done(vm, &zap);
	write_lock(&vm->mmu.lock);
	vm->mmu.leaving = NULL;
	write_unlock(&vm->mmu.lock);
}

/* --- the four changes: 0 or -ENOMEM --- */

static int create_slot(struct mezz_vm *vm, struct mezz_slot *slot)
{
	struct mezz_slots *slots = edit(current_slots(vm), NULL, slot);

	if (!slots)
		return -ENOMEM;
	publish(vm, slots, NULL);
	return 0;
}

static int delete_slot(struct mezz_vm *vm, struct mezz_slot *old)
{
	struct mezz_slots *slots = edit(current_slots(vm), old, NULL);

	if (!slots)
		return -ENOMEM;
	publish(vm, slots, old);
	zap_slot(vm, old);
	mezz_dirty_free(vm, old);
	kfree(old);
	return 0;
}

static int move_slot(struct mezz_vm *vm, struct mezz_slot *old, struct mezz_slot *slot)
{
	struct mezz_slots *without = edit(current_slots(vm), old, NULL);
	struct mezz_slots *with = without ? edit(without, NULL, slot) : NULL;

	if (!with) {
		kfree(without);
		return -ENOMEM;
	}
	publish(vm, without, old);
	/* What the CPUs logged last had no slot any more (mezz_log_write): it may be any page. */
	if (slot->dirty && mezz_cpu_logs(vm))
		bitmap_set(slot->dirty, 0, slot->npages);
	zap_slot(vm, old);
	publish(vm, with, NULL);
	return 0;
}

/* Logging was switched on or off. */
static int reflag_slot(struct mezz_vm *vm, struct mezz_slot *old, struct mezz_slot *slot)
{
	struct mezz_slots *slots = edit(current_slots(vm), old, slot);

	if (!slots)
		return -ENOMEM;
	publish(vm, slots, NULL);
	if (slot->dirty)
		mezz_dirty_start(vm, slot);
	else
		zap_slot(vm, slot);	/* large mappings may come back */
	return 0;
}

/* --- KVM_SET_USER_MEMORY_REGION --- */

/* What does not depend on the other slots. 0 or -EINVAL */
static int check_region(const struct kvm_userspace_memory_region *m)
{
	unsigned int bits = min_t(unsigned int, boot_cpu_data.x86_phys_bits,
				  PAGE_SHIFT + 9 * mezz_host.pt_levels);
	u64 end = m->guest_phys_addr + m->memory_size;

	if (m->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	if ((m->memory_size | m->guest_phys_addr | m->userspace_addr) & ~PAGE_MASK)
		return -EINVAL;
	if (m->userspace_addr != untagged_addr(m->userspace_addr) ||
	    !access_ok((void __user *)(unsigned long)m->userspace_addr, m->memory_size))
		return -EINVAL;
	/* The upper half of the number is an address space: there is one. */
	if (m->slot >= MEZZ_MAX_SLOTS)
		return -EINVAL;
	if (end < m->guest_phys_addr || m->memory_size >> PAGE_SHIFT > MAX_PAGES)
		return -EINVAL;
	if (m->memory_size && (end - 1) >> bits)
		return -EINVAL;
	return 0;
}

static bool overlaps(struct mezz_vm *vm, const struct mezz_slot *slot, const struct mezz_slot *old)
{
	struct mezz_slots *slots = current_slots(vm);
	unsigned int i;

	for (i = 0; i < slots->n; i++) {
		const struct mezz_slot *s = slots->slot[i];

		if (s != old && slot->gfn < s->gfn + s->npages && s->gfn < slot->gfn + slot->npages)
			return true;
	}
	return false;
}

/* @slot is published and becomes part of the VM, or an errno is returned. */
static int apply(struct mezz_vm *vm, struct mezz_slot *old, struct mezz_slot *slot)
{
	bool log = slot->flags & KVM_MEM_LOG_DIRTY_PAGES;
	int r;

	if ((!old || old->gfn != slot->gfn) && overlaps(vm, slot, old))
		return -EEXIST;
	if (log && old && old->dirty) {
		slot->dirty = old->dirty;
	} else if (log) {
		r = mezz_dirty_alloc(vm, slot);
		if (r)
			return r;
	}
	if (!old)
		r = create_slot(vm, slot);
	else if (old->gfn != slot->gfn)
		r = move_slot(vm, old, slot);
	else
		r = reflag_slot(vm, old, slot);
	if (r && !(old && old->dirty == slot->dirty))
		mezz_dirty_free(vm, slot);
	return r;
}

/* slots_lock held; @m has been checked. */
static int set_region(struct mezz_vm *vm, const struct kvm_userspace_memory_region *m)
{
	struct mezz_slot *old = mezz_slot_by_id(vm, m->slot), *slot;
	u64 npages = m->memory_size >> PAGE_SHIFT;
	int r;

	if (!npages)
		return old ? delete_slot(vm, old) : -EINVAL;
	if (old) {
		if (npages != old->npages || m->userspace_addr != old->hva ||
		    (m->flags ^ old->flags) & KVM_MEM_READONLY)
			return -EINVAL;
		if (m->guest_phys_addr >> PAGE_SHIFT == old->gfn && m->flags == old->flags)
			return 0;
	}
	slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);
	if (!slot)
		return -ENOMEM;
	slot->gfn = m->guest_phys_addr >> PAGE_SHIFT;
	slot->npages = npages;
	slot->hva = m->userspace_addr;
	slot->id = m->slot;
	slot->flags = m->flags;
	r = apply(vm, old, slot);
	if (r) {
		kfree(slot);
		return r;
	}
	if (old) {
		if (old->dirty != slot->dirty)
			mezz_dirty_free(vm, old);
		kfree(old);
	}
	return 0;
}

static long set_user_memory_region(struct mezz_vm *vm, void __user *argp)
{
	struct kvm_userspace_memory_region m;
	int r;

	if (copy_from_user(&m, argp, sizeof(m)))
		return -EFAULT;
	r = check_region(&m);
	if (r)
		return r;
	mutex_lock(&vm->slots_lock);
	r = set_region(vm, &m);
	mutex_unlock(&vm->slots_lock);
	return r;
}

/* --- life cycle, dispatch --- */

int mezz_slots_init(struct mezz_vm *vm)
{
	struct mezz_slots *slots = alloc_slots(0);

	if (!slots)
		return -ENOMEM;
	RCU_INIT_POINTER(vm->slots, slots);
	return 0;
}

/* Nobody else has the VM any more. */
void mezz_slots_destroy(struct mezz_vm *vm)
{
	struct mezz_slots *slots = rcu_dereference_protected(vm->slots, true);
	unsigned int i;

	RCU_INIT_POINTER(vm->slots, NULL);
	for (i = 0; i < slots->n; i++) {
		mezz_dirty_free(vm, slots->slot[i]);
		kfree(slots->slot[i]);
	}
	kfree(slots);
}

/*
 * Deprecated: second-stage tables are bounded by the guest's memory and
 * charged to the process's memory control group. The number is kept.
 */
static long set_nr_mmu_pages(struct mezz_vm *vm, unsigned long n)
{
	if (n < MIN_MMU_PAGES)
		return -EINVAL;
	WRITE_ONCE(vm->mmu.nr_pages, n);
	return 0;
}

long mezz_mmu_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg)
{
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case KVM_SET_USER_MEMORY_REGION:
		return set_user_memory_region(vm, argp);
	case KVM_GET_DIRTY_LOG:
		return mezz_get_dirty_log(vm, argp);
	case KVM_CLEAR_DIRTY_LOG:
		return mezz_clear_dirty_log(vm, argp);
	case KVM_RESET_DIRTY_RINGS:
		return mezz_ring_reset(vm);
	case KVM_SET_NR_MMU_PAGES:
		return set_nr_mmu_pages(vm, arg);
	case KVM_GET_NR_MMU_PAGES:
		return READ_ONCE(vm->mmu.nr_pages);
	default:
		return -ENOIOCTLCMD;
	}
}

long mezz_mmu_cap(struct mezz_vm *vm, unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_USER_MEMORY:
	case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
	case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
	case KVM_CAP_SYNC_MMU:
	case KVM_CAP_READONLY_MEM:
	case KVM_CAP_MMU_SHADOW_CACHE_CONTROL:
		return 1;
	case KVM_CAP_NR_MEMSLOTS:
		return MEZZ_MAX_SLOTS;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
	case KVM_CAP_DIRTY_LOG_RING:
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		return mezz_ring_cap();
	default:
		return -1;
	}
}
