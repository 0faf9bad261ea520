// SPDX-License-Identifier: GPL-2.0-only
/*
 * Coalesced MMIO and port writes: a ring in which writes to dull registers wait
 * until user space has another reason to look.
 *
 * The ring is page KVM_COALESCED_MMIO_PAGE_OFFSET of every vCPU's mapping, one
 * for the VM, and user space writes to all of it. So the indices are read once
 * and checked, and what the kernel writes is never read back. When the ring is
 * full (or nonsense) the write becomes an ordinary exit.
 *
 * Locking: zones belong to slots_lock, the ring's tail to ring_lock.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "internal.h"

struct mezz_zone {
	struct mezz_vm *vm;
	u64 addr;
	u32 size;
	bool pio;
	struct list_head link;
};

static bool zone_contains(const struct mezz_zone *z, u64 addr, u64 len)
{
	return addr >= z->addr && len <= z->size && addr - z->addr <= z->size - len;
}

static bool ring_put(struct kvm_coalesced_mmio_ring *ring, u64 addr, unsigned int len,
		     const void *data, bool pio)
{
	u32 last = READ_ONCE(ring->last);
	struct kvm_coalesced_mmio *slot;
	u32 next;

	if (last >= KVM_COALESCED_MMIO_MAX)
		return false;
	next = last + 1 == KVM_COALESCED_MMIO_MAX ? 0 : last + 1;
	if (next == READ_ONCE(ring->first))
		return false;
	slot = &ring->coalesced_mmio[last];
	slot->phys_addr = addr;
	slot->len = len;
	slot->pio = pio;
	memcpy(slot->data, data, len);
	/* The entry before the index that shows it. */
	smp_store_release(&ring->last, next);
	return true;
}

bool mezz_coalesced_write(void *dev, u64 addr, unsigned int len, const void *data)
{
	const struct mezz_zone *z = dev;
	struct mezz_irq_vm *irq = z->vm->irq;
	unsigned long flags;
	bool r;

	if (!zone_contains(z, addr, len) ||
	    len > sizeof_field(struct kvm_coalesced_mmio, data))
		return false;
	raw_spin_lock_irqsave(&irq->ring_lock, flags);
	r = ring_put(page_address(irq->ring), addr, len, data, z->pio);
	raw_spin_unlock_irqrestore(&irq->ring_lock, flags);
	return r;
}

struct page *mezz_coalesced_page(struct mezz_vm *vm)
{
	struct mezz_irq_vm *irq = vm->irq;
	struct page *page = READ_ONCE(irq->ring);
	struct page *other;

	if (page)
		return page;
	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page)
		return NULL;
	other = cmpxchg(&irq->ring, NULL, page);
	if (!other)
		return page;
	__free_page(page);
	return other;
}

static enum mezz_bus_id zone_bus(const struct mezz_zone *z)
{
	return z->pio ? MEZZ_BUS_PIO : MEZZ_BUS_MMIO;
}

static long zone_add(struct mezz_vm *vm, const struct kvm_coalesced_mmio_zone *a)
{
	struct mezz_zone *z = kzalloc(sizeof(*z), GFP_KERNEL_ACCOUNT);
	struct mezz_bus_entry e = {
		.addr = a->addr, .len = a->size, .kind = MEZZ_BUS_COALESCED, .dev = z,
	};
	long r = -ENOMEM;

	if (!z)
		return -ENOMEM;
	z->vm = vm;
	z->addr = a->addr;
	z->size = a->size;
	z->pio = a->pio;
	mutex_lock(&vm->slots_lock);
	if (mezz_coalesced_page(vm))
		r = mezz_bus_add(vm, zone_bus(z), &e, 1);
	if (!r)
		list_add_tail(&z->link, &vm->irq->zones);
	mutex_unlock(&vm->slots_lock);
	if (r)
		kfree(z);
	return r;
}

/* Every zone that covers @a goes; that there is none is no error. */
static void zone_remove(struct mezz_vm *vm, const struct kvm_coalesced_mmio_zone *a)
{
	struct mezz_zone *z, *next;

	mutex_lock(&vm->slots_lock);
	list_for_each_entry_safe(z, next, &vm->irq->zones, link) {
		if (z->pio != !!a->pio || !zone_contains(z, a->addr, a->size))
			continue;
		mezz_bus_remove(vm, zone_bus(z), z);
		list_del(&z->link);
		kfree(z);
	}
	mutex_unlock(&vm->slots_lock);
}

long mezz_coalesced_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg)
{
	struct kvm_coalesced_mmio_zone a;

	if (copy_from_user(&a, (void __user *)arg, sizeof(a)))
		return -EFAULT;
	if (a.pio > 1)
		return -EINVAL;
	if (cmd == KVM_REGISTER_COALESCED_MMIO)
		return zone_add(vm, &a);
	zone_remove(vm, &a);
	return 0;
}

/* No vCPU runs any more, and nobody maps the ring. */
void mezz_coalesced_stop(struct mezz_vm *vm)
{
	struct mezz_irq_vm *irq = vm->irq;
	struct mezz_zone *z, *next;

	list_for_each_entry_safe(z, next, &irq->zones, link) {
		list_del(&z->link);
		kfree(z);
	}
	if (irq->ring)
		__free_page(irq->ring);
	irq->ring = NULL;
}
