// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a GSI leads: to pins of the interrupt controllers, or to an MSI.
 *
 * The table is indexed by GSI, and an MSI is kept as the message that it will
 * be, so that an interrupt costs one lookup and one delivery in any context.
 * KVM_SET_GSI_ROUTING replaces it as a whole.
 *
 * Known hacks: Hyper-V and Xen routes are refused. An MSI route made before
 * KVM_X2APIC_API_USE_32BIT_IDS whose upper address has bits below the ID ones is used
 * without these; KVM would deliver nothing.
 *
 * Locking: writers hold slots_lock; readers the SRCU read side, also in hard
 * interrupts and in wake-ups of eventfds.
 */
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "internal.h"

#define ROUTE_MSI	0x80

/**
 * struct mezz_gsi - routes of one GSI
 * @to: bit n: pin[n] of chip n (KVM_IRQCHIP_*); or ROUTE_MSI alone
 * @pin: pin of each chip, counted from its own first
 * @address_hi: of an MSI
 * @msg: the message of an MSI
 */
struct mezz_gsi {
	u8 to;
	u8 pin[KVM_NR_IRQCHIPS];
	u32 address_hi;
	struct mezz_msg msg;
};

struct mezz_routing {
	unsigned int n;
	s16 pin_gsi[KVM_NR_IRQCHIPS][MEZZ_IOAPIC_PINS];	/* -1: none */
	struct mezz_gsi gsi[];
};

/* --- delivery --- */

/* In the upper half of an MSI's address are bits 31-8 of the ID, and nothing else. */
#define MSI_HI_ID	GENMASK(31, 8)

/*
 * SDM 3, "Message Address Register Format", "Message Data Register Format".
 * @address_hi: bits 31-8 of the destination
 */
static void msi_to_msg(u32 address, u32 address_hi, u32 data, struct mezz_msg *m)
{
	*m = (struct mezz_msg) {
		.dest = ((address >> 12) & 0xff) | address_hi,
		.logical = address & BIT(2),
		.vector = data,
		.mode = (data >> 8) & 7,
		.level = data & BIT(15),
		.assert = true,
	};
	/* The redirection hint asks for one of the destinations. */
	m->lowest = m->mode == MEZZ_DM_LOWEST || (address & BIT(3));
}

static bool msi_is_valid(struct mezz_vm *vm, u32 address_hi)
{
	return !READ_ONCE(vm->x2apic_ids) || !(address_hi & ~MSI_HI_ID);
}

static int route_set(struct mezz_vm *vm, const struct mezz_gsi *g, unsigned int source, int level)
{
	int ret = -1, r;

	if (g->to & ROUTE_MSI)
		return level ? mezz_msg_deliver(vm, NULL, &g->msg) : -1;
	if (g->to & BIT(KVM_IRQCHIP_IOAPIC))
		ret = mezz_ioapic_set_irq(vm, g->pin[KVM_IRQCHIP_IOAPIC], source, level);
	if (g->to & BIT(KVM_IRQCHIP_PIC_MASTER)) {
		r = mezz_pic_set_irq(vm, g->pin[KVM_IRQCHIP_PIC_MASTER], source, level);
		if (r >= 0)
			ret = max(ret, 0) + r;
	}
	if (g->to & BIT(KVM_IRQCHIP_PIC_SLAVE)) {
		r = mezz_pic_set_irq(vm, g->pin[KVM_IRQCHIP_PIC_SLAVE] + 8, source, level);
		if (r >= 0)
			ret = max(ret, 0) + r;
	}
	return ret;
}

/* Routes of @gsi, or NULL. SRCU read side held. */
static const struct mezz_gsi *route_of(struct mezz_vm *vm, u32 gsi)
{
	const struct mezz_routing *rt = srcu_dereference(vm->irq->routing, &vm->srcu);

	if (!rt || gsi >= rt->n)
		return NULL;
	return &rt->gsi[array_index_nospec(gsi, rt->n)];
}

int mezz_set_gsi(struct mezz_vm *vm, unsigned int source, u32 gsi, int level)
{
	int idx = mezz_read_lock(vm);
	const struct mezz_gsi *g = route_of(vm, gsi);
	int r = g ? route_set(vm, g, source, level) : -1;

	mezz_read_unlock(vm, idx);
	return r;
}

void mezz_pulse_gsi(struct mezz_vm *vm, u32 gsi)
{
	int idx = mezz_read_lock(vm);
	const struct mezz_gsi *g = route_of(vm, gsi);

	if (g) {
		route_set(vm, g, MEZZ_SRC_USER, 1);
		if (!(g->to & ROUTE_MSI))
			route_set(vm, g, MEZZ_SRC_USER, 0);
	}
	mezz_read_unlock(vm, idx);
}

/* --- acknowledgements --- */

int mezz_pin_to_gsi(struct mezz_vm *vm, unsigned int chip, unsigned int pin)
{
	const struct mezz_routing *rt = srcu_dereference(vm->irq->routing, &vm->srcu);

	if (!rt)
		return -1;
	if (chip != KVM_IRQCHIP_IOAPIC) {
		if (pin >= 8)
			chip = KVM_IRQCHIP_PIC_SLAVE;
		pin &= 7;
	}
	return rt->pin_gsi[chip][pin];
}

bool mezz_pin_has_notifier(struct mezz_vm *vm, unsigned int chip, unsigned int pin)
{
	int idx = mezz_read_lock(vm);
	int gsi = mezz_pin_to_gsi(vm, chip, pin);
	bool r = gsi >= 0 && ((!gsi && mezz_pit_wants_ack(vm)) ||
			      mezz_irqfd_has_resampler(vm, gsi));

	mezz_read_unlock(vm, idx);
	return r;
}

void mezz_notify_ack(struct mezz_vm *vm, unsigned int chip, unsigned int pin)
{
	int idx = mezz_read_lock(vm);
	int gsi = mezz_pin_to_gsi(vm, chip, pin);

	if (gsi >= 0) {
		if (!gsi && mezz_pit_wants_ack(vm))
			mezz_pit_acked(vm);
		mezz_irqfd_acked(vm, gsi);
	}
	mezz_read_unlock(vm, idx);
}

/* --- the table --- */

static struct mezz_routing *routing_alloc(unsigned int n)
{
	struct mezz_routing *rt = kvzalloc(struct_size(rt, gsi, n), GFP_KERNEL_ACCOUNT);

	if (!rt)
		return NULL;
	rt->n = n;
	memset(rt->pin_gsi, 0xff, sizeof(rt->pin_gsi));
	return rt;
}

/* A GSI leads to one pin of each chip at most. */
static int route_add_pin(struct mezz_routing *rt, u32 gsi, u32 chip, u32 pin)
{
	struct mezz_gsi *g = &rt->gsi[gsi];

	if (chip >= KVM_NR_IRQCHIPS || (g->to & (ROUTE_MSI | BIT(chip))))
		return -EINVAL;
	if (pin >= (chip == KVM_IRQCHIP_IOAPIC ? MEZZ_IOAPIC_PINS : MEZZ_PIC_PINS / 2))
		return -EINVAL;
	g->to |= BIT(chip);
	g->pin[chip] = pin;
	rt->pin_gsi[chip][pin] = gsi;
	return 0;
}

static int route_add_msi(struct mezz_vm *vm, struct mezz_gsi *g,
			 const struct kvm_irq_routing_msi *msi)
{
	if (g->to || !msi_is_valid(vm, msi->address_hi))
		return -EINVAL;
	g->to = ROUTE_MSI;
	g->address_hi = msi->address_hi;
	/* The upper half counts from routing_widen() on. */
	msi_to_msg(msi->address_lo, 0, msi->data, &g->msg);
	return 0;
}

static int route_add(struct mezz_vm *vm, struct mezz_routing *rt,
		     const struct kvm_irq_routing_entry *ue)
{
	u32 i = array_index_nospec(ue->gsi, rt->n);

	switch (ue->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		if (ue->flags || !mezz_irqchip_full(vm))
			return -EINVAL;
		return route_add_pin(rt, i, ue->u.irqchip.irqchip, ue->u.irqchip.pin);
	case KVM_IRQ_ROUTING_MSI:
		/* The device ID means nothing here, but may be said. */
		if (ue->flags & ~KVM_MSI_VALID_DEVID)
			return -EINVAL;
		return route_add_msi(vm, &rt->gsi[i], &ue->u.msi);
	}
	return -EINVAL;
}

static struct mezz_routing *routing_build(struct mezz_vm *vm,
					  const struct kvm_irq_routing_entry *ue, u32 nr)
{
	struct mezz_routing *rt;
	u32 i, top = 0;
	int r;

	for (i = 0; i < nr; i++) {
		if (ue[i].gsi >= MEZZ_MAX_GSI)
			return ERR_PTR(-EINVAL);
		top = max(top, ue[i].gsi);
	}
	rt = routing_alloc(top + 1);
	if (!rt)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < nr; i++) {
		r = route_add(vm, rt, &ue[i]);
		if (r) {
			kvfree(rt);
			return ERR_PTR(r);
		}
	}
	return rt;
}

/* Destinations get the bits that have no place in 32 bits of address. slots_lock held. */
static void routing_widen(struct mezz_routing *rt)
{
	unsigned int i;

	for (i = 0; i < rt->n; i++) {
		struct mezz_gsi *g = &rt->gsi[i];

		if (g->to & ROUTE_MSI)
			WRITE_ONCE(g->msg.dest, (g->msg.dest & 0xff) | (g->address_hi & MSI_HI_ID));
	}
}

/* When it returns, nothing is delivered by the old table any more. */
static void routing_replace(struct mezz_vm *vm, struct mezz_routing *new)
{
	struct mezz_irq_vm *irq = vm->irq;
	struct mezz_routing *old;

	mutex_lock(&vm->slots_lock);
	if (vm->x2apic_ids)
		routing_widen(new);
	old = rcu_dereference_protected(irq->routing, lockdep_is_held(&vm->slots_lock));
	rcu_assign_pointer(irq->routing, new);
	if (mezz_irqchip_full(vm))
		mezz_ioapic_rescan(vm);
	mutex_unlock(&vm->slots_lock);
	mezz_synchronize(vm);
	kvfree(old);
}

void mezz_routing_widen(struct mezz_vm *vm)
{
	struct mezz_routing *rt;

	mutex_lock(&vm->slots_lock);
	WRITE_ONCE(vm->x2apic_ids, true);
	rt = rcu_dereference_protected(vm->irq->routing, lockdep_is_held(&vm->slots_lock));
	if (rt)
		routing_widen(rt);
	mutex_unlock(&vm->slots_lock);
}

/* GSI n is pin n of the IOAPIC, and of the PICs where they have one. */
int mezz_routing_default(struct mezz_vm *vm)
{
	struct mezz_routing *rt = routing_alloc(MEZZ_IOAPIC_PINS);
	u32 i;

	if (!rt)
		return -ENOMEM;
	for (i = 0; i < MEZZ_IOAPIC_PINS; i++)
		route_add_pin(rt, i, KVM_IRQCHIP_IOAPIC, i);
	for (i = 0; i < MEZZ_PIC_PINS; i++)
		route_add_pin(rt, i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
			      i % 8);
	routing_replace(vm, rt);
	return 0;
}

void mezz_routing_free(struct mezz_vm *vm)
{
	kvfree(rcu_dereference_protected(vm->irq->routing, true));
}

/* --- ioctls --- */

long mezz_routing_ioctl(struct mezz_vm *vm, unsigned long arg)
{
	struct kvm_irq_routing __user *p = (void __user *)arg;
	struct kvm_irq_routing_entry *ue = NULL;
	struct kvm_irq_routing head;
	struct mezz_routing *rt;

	if (copy_from_user(&head, p, sizeof(head)))
		return -EFAULT;
	if (!mezz_irqchip_any(vm) || head.nr > MEZZ_MAX_ROUTES || head.flags)
		return -EINVAL;
	if (head.nr) {
		ue = vmemdup_user(p->entries, array_size(sizeof(*ue), head.nr));
		if (IS_ERR(ue))
			return PTR_ERR(ue);
	}
	rt = routing_build(vm, ue, head.nr);
	kvfree(ue);
	if (IS_ERR(rt))
		return PTR_ERR(rt);
	routing_replace(vm, rt);
	return 0;
}

/* Returns how many LAPICs took it, 0 if none would, -1 (as KVM) if none was addressed. */
long mezz_signal_msi(struct mezz_vm *vm, unsigned long arg)
{
	struct kvm_msi msi;
	struct mezz_msg m;

	if (copy_from_user(&msi, (void __user *)arg, sizeof(msi)))
		return -EFAULT;
	if (!mezz_irqchip_any(vm) || (msi.flags & ~KVM_MSI_VALID_DEVID) ||
	    !msi_is_valid(vm, msi.address_hi))
		return -EINVAL;
	msi_to_msg(msi.address_lo, READ_ONCE(vm->x2apic_ids) ? msi.address_hi & MSI_HI_ID : 0,
		   msi.data, &m);
	return mezz_msg_deliver(vm, NULL, &m);
}

long mezz_irq_line(struct mezz_vm *vm, unsigned int cmd, unsigned long arg)
{
	void __user *p = (void __user *)arg;
	struct kvm_irq_level line;

	if (copy_from_user(&line, p, sizeof(line)))
		return -EFAULT;
	if (!mezz_irqchip_any(vm))
		return -ENXIO;
	line.status = mezz_set_gsi(vm, MEZZ_SRC_USER, line.irq, !!line.level);
	if (cmd == KVM_IRQ_LINE_STATUS && copy_to_user(p, &line, sizeof(line)))
		return -EFAULT;
	return 0;
}
