// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_IRQFD: a signal to an eventfd becomes an interrupt, without a thread in
 * between.
 *
 * An irqfd is an entry in the eventfd's wait queue whose wake-up function
 * injects at once: all controllers can be reached with interrupts off. One
 * with a resample eventfd holds its line up until the guest acknowledges, then
 * lets go and signals that eventfd, upon which a device that still wants
 * service raises the line again.
 *
 * How one ends: the ioctl, the close of the VM's descriptor and the hang-up of
 * the eventfd race for it. Whoever marks it dead (irqfds_lock) owns it; the
 * others leave it alone. The hang-up comes with the wait queue's lock held and
 * cannot take the irqfd out of it, so it leaves that to a work item.
 *
 * Locking: resampler_lock (mutex) is held by whoever assigns or shuts down, so
 * these never meet. Below it the wait queue's lock, below that irqfds_lock.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "../host/host.h"
#include "internal.h"

/* All of a VM's are looked at with interrupts off: few devices share an old-style line. */
#define MAX_RESAMPLERS	1024

struct mezz_irqfd {
	struct mezz_vm *vm;
	u32 gsi;
	bool dead;			/* irqfds_lock; somebody shuts it down */
	struct eventfd_ctx *eventfd;
	struct eventfd_ctx *resample;	/* NULL: an edge for each signal */
	wait_queue_entry_t wait;
	struct list_head link;		/* irqfds, irqfds_dead or its owner's list */
	struct list_head resample_link;
};

/* Not one of the system's: a work may wait for as long as a guest's page takes. */
static struct workqueue_struct *reap_wq;

int mezz_irq_setup(void)
{
	reap_wq = alloc_workqueue("mezz_irqfd", WQ_UNBOUND, 0);
	return reap_wq ? 0 : -ENOMEM;
}

void mezz_irq_teardown(void)
{
	destroy_workqueue(reap_wq);
}

static void irqfd_inject(struct mezz_irqfd *f)
{
	if (f->resample)
		mezz_set_gsi(f->vm, MEZZ_SRC_RESAMPLE, f->gsi, 1);
	else
		mezz_pulse_gsi(f->vm, f->gsi);
}

/* --- the guest acknowledges --- */

bool mezz_irqfd_has_resampler(struct mezz_vm *vm, u32 gsi)
{
	struct mezz_irq_vm *irq = vm->irq;
	struct mezz_irqfd *f;

	list_for_each_entry_srcu(f, &irq->resamplers, resample_link,
				 srcu_read_lock_held(&vm->srcu) ||
				 lockdep_is_held(&irq->resampler_lock))
		if (f->gsi == gsi)
			return true;
	return false;
}

void mezz_irqfd_acked(struct mezz_vm *vm, u32 gsi)
{
	struct mezz_irqfd *f;
	bool first = true;

	list_for_each_entry_srcu(f, &vm->irq->resamplers, resample_link,
				 srcu_read_lock_held(&vm->srcu)) {
		if (f->gsi != gsi)
			continue;
		/* Once, before anybody is told: a second time could undo a new assertion. */
		if (first)
			mezz_set_gsi(vm, MEZZ_SRC_RESAMPLE, gsi, 0);
		first = false;
		mezz_eventfd_signal(f->resample);
	}
}

/* --- the end of an irqfd --- */

/* Shut down the irqfds on @dead, which the caller owns. resampler_lock held. */
static void irqfd_shutdown(struct mezz_vm *vm, struct list_head *dead)
{
	struct mezz_irqfd *f, *next;
	bool resample = false;
	u64 count;

	list_for_each_entry(f, dead, link) {
		/* Waits for a wake-up that is under way; no other follows. */
		eventfd_ctx_remove_wait_queue(f->eventfd, &f->wait, &count);
		if (!f->resample)
			continue;
		list_del_rcu(&f->resample_link);
		resample = true;
	}
	if (resample)
		mezz_synchronize(vm);
	list_for_each_entry_safe(f, next, dead, link) {
		list_del(&f->link);
		if (f->resample) {
			/* The last of a GSI leaves the line down. */
			if (!mezz_irqfd_has_resampler(vm, f->gsi))
				mezz_set_gsi(vm, MEZZ_SRC_RESAMPLE, f->gsi, 0);
			eventfd_ctx_put(f->resample);
		}
		eventfd_ctx_put(f->eventfd);
		kfree(f);
	}
	if (resample)
		mezz_ioapic_rescan(vm);
}

static void irqfd_reap(struct work_struct *work)
{
	struct mezz_irq_vm *irq = container_of(work, struct mezz_irq_vm, reap);
	LIST_HEAD(dead);

	mutex_lock(&irq->resampler_lock);
	spin_lock_irq(&irq->irqfds_lock);
	list_splice_init(&irq->irqfds_dead, &dead);
	spin_unlock_irq(&irq->irqfds_lock);
	irqfd_shutdown(irq->vm, &dead);
	mutex_unlock(&irq->resampler_lock);
}

/* The eventfd's last descriptor was closed. Wait queue's lock held, IRQs off. */
static void irqfd_hangup(struct mezz_irqfd *f)
{
	struct mezz_irq_vm *irq = f->vm->irq;
	unsigned long flags;

	spin_lock_irqsave(&irq->irqfds_lock, flags);
	if (!f->dead) {
		f->dead = true;
		list_move_tail(&f->link, &irq->irqfds_dead);
		/* Inside the lock: mezz_irqfd_stop() then finds it queued. */
		queue_work(reap_wq, &irq->reap);
	}
	spin_unlock_irqrestore(&irq->irqfds_lock, flags);
}

/*
 * The wait queue's lock is held, IRQs are off. A dead one may still inject: its
 * owner waits in irqfd_shutdown() and hasn't promised anything yet.
 */
static int irqfd_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct mezz_irqfd *f = container_of(wait, struct mezz_irqfd, wait);
	__poll_t events = key_to_poll(key);
	int taken = 0;
	u64 count;

	if (events & EPOLLIN) {
		/* Consumed here: nobody else is woken, and the counter stays small. */
		eventfd_ctx_do_read(f->eventfd, &count);
		irqfd_inject(f);
		taken = 1;
	}
	if (events & EPOLLHUP)
		irqfd_hangup(f);
	return taken;
}

/* --- KVM_IRQFD --- */

struct irqfd_poll {
	poll_table pt;
	struct mezz_irqfd *f;
};

static void irqfd_queue(struct file *file, wait_queue_head_t *wqh, poll_table *pt)
{
	struct irqfd_poll *p = container_of(pt, struct irqfd_poll, pt);

	add_wait_queue_priority(wqh, &p->f->wait);
}

/* resampler_lock held. */
static bool resamplers_full(struct mezz_irq_vm *irq)
{
	struct list_head *p;
	unsigned int n = 0;

	list_for_each(p, &irq->resamplers)
		n++;
	return n >= MAX_RESAMPLERS;
}

/* Publish @f and hook it into @file's wait queue. resampler_lock held. */
static int irqfd_hook(struct mezz_vm *vm, struct mezz_irqfd *f, struct file *file)
{
	struct mezz_irq_vm *irq = vm->irq;
	struct irqfd_poll p = { .f = f };
	struct mezz_irqfd *other;
	bool busy = false;

	if (f->resample && resamplers_full(irq))
		return -ENOSPC;
	spin_lock_irq(&irq->irqfds_lock);
	list_for_each_entry(other, &irq->irqfds, link)
		busy |= other->eventfd == f->eventfd;
	if (!busy)
		list_add_tail(&f->link, &irq->irqfds);
	spin_unlock_irq(&irq->irqfds_lock);
	if (busy)
		return -EBUSY;
	if (f->resample) {
		list_add_rcu(&f->resample_link, &irq->resamplers);
		mezz_ioapic_rescan(vm);
	}
	init_waitqueue_func_entry(&f->wait, irqfd_wakeup);
	init_poll_funcptr(&p.pt, irqfd_queue);
	/* What was signalled before counts, too. */
	if (vfs_poll(file, &p.pt) & EPOLLIN)
		irqfd_inject(f);
	return 0;
}

static long irqfd_create(struct mezz_vm *vm, const struct kvm_irqfd *a, struct file *file)
{
	struct mezz_irqfd *f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	long r;

	if (!f)
		return -ENOMEM;
	f->vm = vm;
	f->gsi = a->gsi;
	f->eventfd = eventfd_ctx_fileget(file);
	if (IS_ERR(f->eventfd)) {
		r = PTR_ERR(f->eventfd);
		goto no_eventfd;
	}
	if (a->flags & KVM_IRQFD_FLAG_RESAMPLE) {
		f->resample = eventfd_ctx_fdget(a->resamplefd);
		if (IS_ERR(f->resample)) {
			r = PTR_ERR(f->resample);
			goto no_resample;
		}
	}
	mutex_lock(&vm->irq->resampler_lock);
	r = irqfd_hook(vm, f, file);
	mutex_unlock(&vm->irq->resampler_lock);
	if (!r)
		return 0;

	if (f->resample)
		eventfd_ctx_put(f->resample);
no_resample:
	eventfd_ctx_put(f->eventfd);
no_eventfd:
	kfree(f);
	return r;
}

static long irqfd_assign(struct mezz_vm *vm, const struct kvm_irqfd *a)
{
	struct file *file;
	long r;

	/* Only our own controllers tell when the guest acknowledges. */
	if (!(a->flags & KVM_IRQFD_FLAG_RESAMPLE ? mezz_irqchip_full(vm) : mezz_irqchip_any(vm)))
		return -EINVAL;
	/* Held to the end, so that no hang-up comes before the irqfd is complete. */
	file = fget(a->fd);
	if (!file)
		return -EBADF;
	r = irqfd_create(vm, a, file);
	fput(file);
	return r;
}

/* After this no signal to the eventfd raises the GSI. */
static long irqfd_deassign(struct mezz_vm *vm, const struct kvm_irqfd *a)
{
	struct mezz_irq_vm *irq = vm->irq;
	struct eventfd_ctx *eventfd = eventfd_ctx_fdget(a->fd);
	struct mezz_irqfd *f, *next;
	LIST_HEAD(dead);

	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	mutex_lock(&irq->resampler_lock);
	spin_lock_irq(&irq->irqfds_lock);
	list_for_each_entry_safe(f, next, &irq->irqfds, link) {
		if (f->eventfd != eventfd || f->gsi != a->gsi)
			continue;
		f->dead = true;
		list_move_tail(&f->link, &dead);
	}
	spin_unlock_irq(&irq->irqfds_lock);
	irqfd_shutdown(vm, &dead);
	mutex_unlock(&irq->resampler_lock);
	eventfd_ctx_put(eventfd);
	return 0;
}

long mezz_irqfd_ioctl(struct mezz_vm *vm, unsigned long arg)
{
	struct kvm_irqfd a;

	if (copy_from_user(&a, (void __user *)arg, sizeof(a)))
		return -EFAULT;
	if (a.flags & ~(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	if (a.flags & KVM_IRQFD_FLAG_DEASSIGN)
		return irqfd_deassign(vm, &a);
	return irqfd_assign(vm, &a);
}

/* --- VM life cycle --- */

void mezz_irqfd_init(struct mezz_vm *vm)
{
	struct mezz_irq_vm *irq = vm->irq;

	spin_lock_init(&irq->irqfds_lock);
	mutex_init(&irq->resampler_lock);
	INIT_LIST_HEAD(&irq->irqfds);
	INIT_LIST_HEAD(&irq->irqfds_dead);
	INIT_LIST_HEAD(&irq->resamplers);
	INIT_WORK(&irq->reap, irqfd_reap);
}

/* Nobody assigns any more: the VM's descriptor is closed. May be called twice. */
void mezz_irqfd_stop(struct mezz_vm *vm)
{
	struct mezz_irq_vm *irq = vm->irq;
	struct mezz_irqfd *f;
	LIST_HEAD(dead);

	mutex_lock(&irq->resampler_lock);
	spin_lock_irq(&irq->irqfds_lock);
	list_for_each_entry(f, &irq->irqfds, link)
		f->dead = true;
	list_splice_init(&irq->irqfds, &dead);
	spin_unlock_irq(&irq->irqfds_lock);
	irqfd_shutdown(vm, &dead);
	mutex_unlock(&irq->resampler_lock);
	/* What hung up before is the work's. */
	flush_work(&irq->reap);
}
