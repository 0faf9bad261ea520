// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_IOEVENTFD: a guest's write to a register becomes a signal to an eventfd.
 *
 * The signal is given inside the section, with interrupts off. That is what
 * eventfd_signal() is made for (its wait-queue lock is taken with irqsave, and
 * custom wake-up functions are called below it anyhow), and it is never given
 * from the wake-up of another eventfd, which current->in_eventfd would refuse:
 * the writer is a vCPU's own thread.
 *
 * Locking: the list belongs to slots_lock; the objects live until no reader of
 * the bus can hold them.
 */
#include <linux/eventfd.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "../host/host.h"
#include "internal.h"

#define ASSIGN_FLAGS	(KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO)

struct mezz_ioeventfd {
	u64 addr;
	u64 datamatch;
	u32 len;		/* 0: any */
	bool wildcard;		/* any data */
	u8 bus;			/* enum mezz_bus_id */
	struct eventfd_ctx *eventfd;
	struct list_head link;
};

static __always_inline u64 value_of(const void *data, unsigned int len)
{
	switch (len) {
	case 1:
		return *(const u8 *)data;
	case 2:
		return *(const u16 *)data;
	case 4:
		return *(const u32 *)data;
	default:
		return *(const u64 *)data;
	}
}

bool mezz_ioeventfd_write(void *dev, u64 addr, unsigned int len, const void *data)
{
	const struct mezz_ioeventfd *p = dev;

	if (addr != p->addr)
		return false;
	if (p->len) {
		if (len != p->len)
			return false;
		if (!p->wildcard && value_of(data, len) != p->datamatch)
			return false;
	}
	mezz_eventfd_signal(p->eventfd);
	return true;
}

/* Could one access signal both? */
static bool collide(const struct mezz_ioeventfd *a, const struct mezz_ioeventfd *b)
{
	if (a->bus != b->bus || a->addr != b->addr)
		return false;
	if (!a->len || !b->len)
		return true;
	return a->len == b->len &&
	       (a->wildcard || b->wildcard || a->datamatch == b->datamatch);
}

static int check_args(const struct kvm_ioeventfd *a)
{
	switch (a->len) {
	case 0:
		if (a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH)
			return -EINVAL;
		break;
	case 1:
	case 2:
	case 4:
	case 8:
		break;
	default:
		return -EINVAL;
	}
	if (a->addr + a->len < a->addr)
		return -EINVAL;
	return a->flags & ~ASSIGN_FLAGS ? -EINVAL : 0;
}

static int ioeventfd_register(struct mezz_vm *vm, struct mezz_ioeventfd *p)
{
	struct mezz_bus_entry e = {
		.addr = p->addr, .len = p->len, .kind = MEZZ_BUS_IOEVENTFD, .dev = p,
	};
	struct mezz_ioeventfd *other;
	int r;

	list_for_each_entry(other, &vm->irq->ioeventfds, link)
		if (collide(p, other))
			return -EEXIST;
	r = mezz_bus_add(vm, p->bus, &e, 1);
	if (!r)
		list_add_tail(&p->link, &vm->irq->ioeventfds);
	return r;
}

static void ioeventfd_fill(struct mezz_ioeventfd *p, const struct kvm_ioeventfd *a,
			   struct eventfd_ctx *eventfd)
{
	p->addr = a->addr;
	p->len = a->len;
	p->wildcard = !(a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
	p->datamatch = p->wildcard ? 0 : a->datamatch;
	p->bus = a->flags & KVM_IOEVENTFD_FLAG_PIO ? MEZZ_BUS_PIO : MEZZ_BUS_MMIO;
	p->eventfd = eventfd;
}

static long ioeventfd_assign(struct mezz_vm *vm, const struct kvm_ioeventfd *a)
{
	struct eventfd_ctx *eventfd;
	struct mezz_ioeventfd *p;
	long r = check_args(a);

	if (r)
		return r;
	eventfd = eventfd_ctx_fdget(a->fd);
	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	if (!p) {
		eventfd_ctx_put(eventfd);
		return -ENOMEM;
	}
	ioeventfd_fill(p, a, eventfd);
	mutex_lock(&vm->slots_lock);
	r = ioeventfd_register(vm, p);
	mutex_unlock(&vm->slots_lock);
	if (r) {
		eventfd_ctx_put(eventfd);
		kfree(p);
	}
	return r;
}

static struct mezz_ioeventfd *ioeventfd_find(struct mezz_vm *vm, const struct mezz_ioeventfd *key)
{
	struct mezz_ioeventfd *p;

	list_for_each_entry(p, &vm->irq->ioeventfds, link)
		if (p->bus == key->bus && p->eventfd == key->eventfd && p->addr == key->addr &&
		    p->len == key->len && p->wildcard == key->wildcard &&
		    p->datamatch == key->datamatch)
			return p;
	return NULL;
}

/* After this nobody signals the eventfd on the guest's behalf. */
static long ioeventfd_deassign(struct mezz_vm *vm, const struct kvm_ioeventfd *a)
{
	struct mezz_ioeventfd key, *p;
	struct eventfd_ctx *eventfd;

	if (a->flags & KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY)
		return -EINVAL;
	eventfd = eventfd_ctx_fdget(a->fd);
	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	ioeventfd_fill(&key, a, eventfd);
	mutex_lock(&vm->slots_lock);
	p = ioeventfd_find(vm, &key);
	if (p) {
		list_del(&p->link);
		mezz_bus_remove(vm, p->bus, p);
	}
	mutex_unlock(&vm->slots_lock);
	eventfd_ctx_put(eventfd);
	if (!p)
		return -ENOENT;
	eventfd_ctx_put(p->eventfd);
	kfree(p);
	return 0;
}

long mezz_ioeventfd_ioctl(struct mezz_vm *vm, unsigned long arg)
{
	struct kvm_ioeventfd a;

	if (copy_from_user(&a, (void __user *)arg, sizeof(a)))
		return -EFAULT;
	if (a.flags & KVM_IOEVENTFD_FLAG_DEASSIGN)
		return ioeventfd_deassign(vm, &a);
	return ioeventfd_assign(vm, &a);
}

/* No vCPU runs any more: the buses still name what is freed here, to nobody. */
void mezz_ioeventfd_stop(struct mezz_vm *vm)
{
	struct mezz_ioeventfd *p, *next;

	list_for_each_entry_safe(p, next, &vm->irq->ioeventfds, link) {
		list_del(&p->link);
		eventfd_ctx_put(p->eventfd);
		kfree(p);
	}
}
