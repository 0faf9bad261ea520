// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt controllers as a whole: creation, the VM's ioctls by name, what
 * KVM_CHECK_EXTENSION says about them, and their end.
 *
 * A VM has no controllers, or all (KVM_CREATE_IRQCHIP), or only the local APICs
 * (KVM_CAP_SPLIT_IRQCHIP). The choice is made once, before the first vCPU.
 *
 * Locking: the choice is made under vm->lock and published with release: who
 * reads a mode finds what belongs to it.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "internal.h"

#define X2APIC_API	(KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)

/* Pairs with the release in create_chips() and mezz_irq_enable_split(). */
static enum mezz_irqchip_mode irqchip_mode(struct mezz_vm *vm)
{
	/* The mode before what it promises. */
	return smp_load_acquire(&vm->irq->mode);
}

bool mezz_irqchip_full(struct mezz_vm *vm)
{
	return irqchip_mode(vm) == MEZZ_CHIP_FULL;
}

bool mezz_irqchip_split(struct mezz_vm *vm)
{
	return irqchip_mode(vm) == MEZZ_CHIP_SPLIT;
}

/* --- life cycle --- */

int mezz_irq_vm_init(struct mezz_vm *vm)
{
	struct mezz_irq_vm *irq = kzalloc(sizeof(*irq), GFP_KERNEL_ACCOUNT);
	int r;

	if (!irq)
		return -ENOMEM;
	irq->vm = vm;
	vm->irq = irq;
	raw_spin_lock_init(&irq->map_lock);
	raw_spin_lock_init(&irq->ring_lock);
	INIT_LIST_HEAD(&irq->ioeventfds);
	INIT_LIST_HEAD(&irq->zones);
	mezz_irqfd_init(vm);
	r = mezz_bus_init(vm);
	if (r) {
		vm->irq = NULL;
		kfree(irq);
	}
	return r;
}

void mezz_irq_vm_release(struct mezz_vm *vm)
{
	mezz_irqfd_stop(vm);
}

/* Sources of interrupts first, then what they are delivered to. */
void mezz_irq_vm_stop(struct mezz_vm *vm)
{
	mezz_irqfd_stop(vm);
	mezz_pit_stop(vm);
	mezz_ioapic_stop(vm);
	mezz_ioeventfd_stop(vm);
	mezz_coalesced_stop(vm);
}

void mezz_irq_vm_destroy(struct mezz_vm *vm)
{
	mezz_bus_free(vm);
	mezz_pit_free(vm);
	mezz_ioapic_free(vm);
	mezz_pic_free(vm);
	mezz_routing_free(vm);
	kfree(vm->irq);
	vm->irq = NULL;
}

/* vm->lock held, and there is no vCPU yet. */
static int create_chips(struct mezz_vm *vm)
{
	int r = mezz_pic_create(vm);

	if (r)
		return r;
	r = mezz_ioapic_create(vm);
	if (r)
		goto no_ioapic;
	r = mezz_routing_default(vm);
	if (r)
		goto no_routing;
	/* The chips and their routes before the mode that promises them. */
	smp_store_release(&vm->irq->mode, MEZZ_CHIP_FULL);
	return 0;

no_routing:
	mezz_ioapic_free(vm);
no_ioapic:
	mezz_pic_free(vm);
	return r;
}

static long create_irqchip(struct mezz_vm *vm)
{
	long r;

	mutex_lock(&vm->lock);
	if (mezz_irqchip_any(vm))
		r = -EEXIST;
	else if (vm->nr_vcpus)
		r = -EINVAL;
	else
		r = create_chips(vm);
	mutex_unlock(&vm->lock);
	return r;
}

/*
 * How many pins its IOAPIC has matters to user space alone: it is told of every
 * level-triggered EOI.
 */
int mezz_irq_enable_split(struct mezz_vm *vm, u64 pins)
{
	if (pins > MEZZ_MAX_GSI)
		return -EINVAL;
	if (mezz_irqchip_any(vm) || vm->nr_vcpus)
		return -EEXIST;
	/* Pairs with irqchip_mode(). */
	smp_store_release(&vm->irq->mode, MEZZ_CHIP_SPLIT);
	return 0;
}

int mezz_irq_enable_x2apic_api(struct mezz_vm *vm, u64 flags)
{
	if (flags & ~(u64)X2APIC_API)
		return -EINVAL;
	if (flags & KVM_X2APIC_API_USE_32BIT_IDS)
		mezz_routing_widen(vm);
	if (flags & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)
		WRITE_ONCE(vm->x2apic_strict, true);
	return 0;
}

/* --- ioctls --- */

static int get_chip(struct mezz_vm *vm, struct kvm_irqchip *chip)
{
	switch (chip->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		mezz_pic_get(vm, chip->chip_id == KVM_IRQCHIP_PIC_SLAVE, &chip->chip.pic);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		mezz_ioapic_get(vm, &chip->chip.ioapic);
		return 0;
	}
	return -EINVAL;
}

static int set_chip(struct mezz_vm *vm, const struct kvm_irqchip *chip)
{
	switch (chip->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		mezz_pic_set(vm, chip->chip_id == KVM_IRQCHIP_PIC_SLAVE, &chip->chip.pic);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		mezz_ioapic_set(vm, &chip->chip.ioapic);
		return 0;
	}
	return -EINVAL;
}

static long irqchip_ioctl(struct mezz_vm *vm, bool set, unsigned long arg)
{
	void __user *p = (void __user *)arg;
	struct kvm_irqchip *chip = memdup_user(p, sizeof(*chip));
	long r;

	if (IS_ERR(chip))
		return PTR_ERR(chip);
	if (!mezz_irqchip_full(vm))
		r = -ENXIO;
	else if (set)
		r = set_chip(vm, chip);
	else
		r = get_chip(vm, chip);
	if (!r && !set && copy_to_user(p, chip, sizeof(*chip)))
		r = -EFAULT;
	kfree(chip);
	return r;
}

long mezz_irq_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case KVM_IRQ_LINE:
	case KVM_IRQ_LINE_STATUS:
		return mezz_irq_line(vm, cmd, arg);
	case KVM_SIGNAL_MSI:
		return mezz_signal_msi(vm, arg);
	case KVM_SET_GSI_ROUTING:
		return mezz_routing_ioctl(vm, arg);
	case KVM_IRQFD:
		return mezz_irqfd_ioctl(vm, arg);
	case KVM_IOEVENTFD:
		return mezz_ioeventfd_ioctl(vm, arg);
	case KVM_REGISTER_COALESCED_MMIO:
	case KVM_UNREGISTER_COALESCED_MMIO:
		return mezz_coalesced_ioctl(vm, cmd, arg);
	case KVM_CREATE_IRQCHIP:
		return create_irqchip(vm);
	case KVM_GET_IRQCHIP:
	case KVM_SET_IRQCHIP:
		return irqchip_ioctl(vm, cmd == KVM_SET_IRQCHIP, arg);
	case KVM_CREATE_PIT:
	case KVM_CREATE_PIT2:
	case KVM_GET_PIT:
	case KVM_SET_PIT:
	case KVM_GET_PIT2:
	case KVM_SET_PIT2:
	case KVM_REINJECT_CONTROL:
		return mezz_pit_ioctl(vm, cmd, arg);
	}
	return -ENOIOCTLCMD;
}

long mezz_irq_cap(struct mezz_vm *vm, unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_IRQCHIP:
	case KVM_CAP_PIT:
	case KVM_CAP_PIT2:
	case KVM_CAP_PIT_STATE2:
	case KVM_CAP_REINJECT_CONTROL:
	case KVM_CAP_IRQ_INJECT_STATUS:
	case KVM_CAP_IRQFD:
	case KVM_CAP_IRQFD_RESAMPLE:
	case KVM_CAP_IOEVENTFD:
	case KVM_CAP_IOEVENTFD_NO_LENGTH:
	case KVM_CAP_IOEVENTFD_ANY_LENGTH:
	case KVM_CAP_SIGNAL_MSI:
	case KVM_CAP_COALESCED_PIO:
	case KVM_CAP_SPLIT_IRQCHIP:
		return 1;
	case KVM_CAP_IRQ_ROUTING:
		return MEZZ_MAX_ROUTES;
	case KVM_CAP_X2APIC_API:
		return X2APIC_API;
	case KVM_CAP_COALESCED_MMIO:
		return KVM_COALESCED_MMIO_PAGE_OFFSET;
	}
	return -1;
}
