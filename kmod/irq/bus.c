// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MMIO and the port bus: who takes an access?
 *
 * Lookups run in a section, with interrupts off, on every access that the
 * guest makes to a device, so a bus is one sorted array, found by bisection.
 * Ranges may overlap: the search goes backwards from the last range that
 * starts at or below the address, until no earlier one reaches it.
 *
 * The local APIC is not on the bus, because its page differs between vCPUs.
 *
 * Locking: writers hold slots_lock; readers the SRCU read side.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include "lapic.h"

/* First address behind @e; one byte where the length doesn't matter. */
static u64 entry_end(const struct mezz_bus_entry *e)
{
	u64 end = e->addr + (e->len ? e->len : 1);

	return end < e->addr ? U64_MAX : end;
}

/* How many entries start at or below @addr. */
static __always_inline unsigned int bus_upper(const struct mezz_bus *bus, u64 addr)
{
	unsigned int lo = 0, hi = bus->n;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (bus->e[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* --- readers --- */

/* A device wants the whole access to lie in its range. */
static bool contains(const struct mezz_bus_entry *e, u64 addr, unsigned int len)
{
	u64 offset = addr - e->addr;

	return offset < e->len && len <= e->len - offset;
}

static __always_inline bool bus_write(struct mezz_vm *vm, enum mezz_bus_id id, u64 addr,
				      unsigned int len, const void *data)
{
	const struct mezz_bus *bus = srcu_dereference(vm->irq->bus[id], &vm->srcu);
	unsigned int i = bus_upper(bus, addr);

	while (i--) {
		const struct mezz_bus_entry *e = &bus->e[i];

		if (e->reach <= addr)
			break;
		switch (READ_ONCE(e->kind)) {
		case MEZZ_BUS_IOEVENTFD:
			if (mezz_ioeventfd_write(e->dev, addr, len, data))
				return true;
			break;
		case MEZZ_BUS_DEVICE:
			if (contains(e, addr, len) && e->ops->write(e->dev, addr, len, data))
				return true;
			break;
		case MEZZ_BUS_COALESCED:
			if (mezz_coalesced_write(e->dev, addr, len, data))
				return true;
			break;
		}
	}
	return false;
}

static __always_inline bool bus_read(struct mezz_vm *vm, enum mezz_bus_id id, u64 addr,
				     unsigned int len, void *data)
{
	const struct mezz_bus *bus = srcu_dereference(vm->irq->bus[id], &vm->srcu);
	unsigned int i = bus_upper(bus, addr);

	while (i--) {
		const struct mezz_bus_entry *e = &bus->e[i];

		if (e->reach <= addr)
			break;
		if (READ_ONCE(e->kind) == MEZZ_BUS_DEVICE && contains(e, addr, len) &&
		    e->ops->read(e->dev, addr, len, data))
			return true;
	}
	return false;
}

static __always_inline bool is_lapic_page(const struct mezz_lapic *l, u64 gpa)
{
	return l && !((gpa ^ l->page) >> PAGE_SHIFT);
}

bool mezz_mmio_write(struct mezz_vcpu *v, u64 gpa, unsigned int len, const void *data)
{
	if (is_lapic_page(v->lapic, gpa) &&
	    mezz_lapic_mmio_write(v->lapic, offset_in_page(gpa), len, data))
		return true;
	return bus_write(v->vm, MEZZ_BUS_MMIO, gpa, len, data);
}

bool mezz_mmio_read(struct mezz_vcpu *v, u64 gpa, unsigned int len, void *data)
{
	if (is_lapic_page(v->lapic, gpa) &&
	    mezz_lapic_mmio_read(v->lapic, offset_in_page(gpa), len, data))
		return true;
	return bus_read(v->vm, MEZZ_BUS_MMIO, gpa, len, data);
}

bool mezz_pio_write(struct mezz_vcpu *v, u16 port, unsigned int len, const void *data)
{
	return bus_write(v->vm, MEZZ_BUS_PIO, port, len, data);
}

bool mezz_pio_watched(struct mezz_vcpu *v, u16 port)
{
	struct mezz_vm *vm = v->vm;
	const struct mezz_bus *bus = srcu_dereference(vm->irq->bus[MEZZ_BUS_PIO], &vm->srcu);
	unsigned int i = bus_upper(bus, port);

	return i && bus->e[i - 1].reach > port;
}

bool mezz_pio_read(struct mezz_vcpu *v, u16 port, unsigned int len, void *data)
{
	return bus_read(v->vm, MEZZ_BUS_PIO, port, len, data);
}

/* --- writers --- */

static struct mezz_bus *bus_of(struct mezz_vm *vm, enum mezz_bus_id id)
{
	return rcu_dereference_protected(vm->irq->bus[id], lockdep_is_held(&vm->slots_lock));
}

static struct mezz_bus *bus_alloc(unsigned int n)
{
	struct mezz_bus *bus = kvmalloc(struct_size(bus, e, n), GFP_KERNEL_ACCOUNT);

	if (bus)
		bus->n = 0;
	return bus;
}

static void bus_insert(struct mezz_bus *bus, const struct mezz_bus_entry *new)
{
	unsigned int i = bus->n++;

	/* Before its equals: the search, going backwards, finds older ones first. */
	for (; i && bus->e[i - 1].addr >= new->addr; i--)
		bus->e[i] = bus->e[i - 1];
	bus->e[i] = *new;
}

/* Copy what is still registered; returns how many are not ioeventfds. */
static unsigned int bus_copy(struct mezz_bus *to, const struct mezz_bus *from)
{
	unsigned int i, others = 0;

	for (i = 0; i < from->n; i++) {
		if (from->e[i].kind == MEZZ_BUS_GONE)
			continue;
		others += from->e[i].kind != MEZZ_BUS_IOEVENTFD;
		to->e[to->n++] = from->e[i];
	}
	return others;
}

static void bus_set_reach(struct mezz_bus *bus)
{
	unsigned int i;
	u64 reach = 0;

	for (i = 0; i < bus->n; i++) {
		reach = max(reach, entry_end(&bus->e[i]));
		bus->e[i].reach = reach;
	}
}

int mezz_bus_add(struct mezz_vm *vm, enum mezz_bus_id id, const struct mezz_bus_entry *e,
		 unsigned int n)
{
	struct mezz_bus *old = bus_of(vm, id);
	struct mezz_bus *new = bus_alloc(old->n + n);
	unsigned int i;

	if (!new)
		return -ENOMEM;
	if (bus_copy(new, old) + n > MEZZ_BUS_MAX) {
		kvfree(new);
		return -ENOSPC;
	}
	for (i = 0; i < n; i++)
		bus_insert(new, &e[i]);
	bus_set_reach(new);
	rcu_assign_pointer(vm->irq->bus[id], new);
	mezz_synchronize(vm);
	kvfree(old);
	return 0;
}

/* In place, so that it cannot fail. */
void mezz_bus_remove(struct mezz_vm *vm, enum mezz_bus_id id, void *dev)
{
	struct mezz_bus *bus = bus_of(vm, id);
	unsigned int i;

	for (i = 0; i < bus->n; i++)
		if (bus->e[i].dev == dev)
			WRITE_ONCE(bus->e[i].kind, MEZZ_BUS_GONE);
	mezz_synchronize(vm);
}

int mezz_bus_init(struct mezz_vm *vm)
{
	unsigned int id;

	for (id = 0; id < MEZZ_NR_BUSES; id++) {
		struct mezz_bus *bus = bus_alloc(0);

		if (!bus) {
			mezz_bus_free(vm);
			return -ENOMEM;
		}
		RCU_INIT_POINTER(vm->irq->bus[id], bus);
	}
	return 0;
}

void mezz_bus_free(struct mezz_vm *vm)
{
	unsigned int id;

	for (id = 0; id < MEZZ_NR_BUSES; id++)
		kvfree(rcu_dereference_protected(vm->irq->bus[id], true));
}
