// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asynchronous page faults: the host has to fetch a page that the guest touched (swap,
 * userfaultfd, a file), and the vCPU does not sleep for it. A work item fetches the page
 * and the guest is told that it is not there: a #PF whose CR2 is a token. It runs another
 * task until an interrupt says that the token's page is ready. A guest that has not
 * asked for this, or cannot be told at the moment, is halted instead, so that
 * interrupts reach it meanwhile. Documentation/virt/kvm/x86/msr.rst of the kernel has the
 * guest's side.
 *
 * Nobody ever waits for a work item: a page of a userfaultfd may come late or, before the
 * process has closed it, never. So an item that nobody wants any more is left to itself.
 * It holds the process's memory and this module until it has ended, and no vCPU.
 *
 * Known hack: the halt is no state. A signal ends it, and the guest touches the page again.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "host/mm.h"
#include "irq/irq.h"
#include "mmu/mmu.h"
#include "pv/internal.h"
#include "pv/pv.h"

#define ITEMS_PER_VCPU	64
/* Of all VMs: each may keep a thread. Beyond it faults are settled as ever. */
#define ITEMS_MAX	256

#define TOKEN_ALL	(~0u)
#define EN_GPA		GENMASK_ULL(63, 6)
#define EN_RESERVED	GENMASK_ULL(5, 4)
#define EN_ON		(KVM_ASYNC_PF_ENABLED | KVM_ASYNC_PF_DELIVERY_AS_INT)

/**
 * struct apf_item - a page that is being fetched
 * @work: fetches it
 * @link: in pv_apf.items; the vCPU mutex
 * @v: who waits for it, NULL: nobody; items_lock
 * @done: the work is over and leaves this alone; items_lock
 * @mm: where; held (mmget) until the work is over
 * @hva: the address there
 * @gfn: for which the guest waits
 * @token: by which the guest knows it
 * @write: fetched for writing
 * @told: the guest has the token
 */
struct apf_item {
	struct work_struct work;
	struct list_head link;
	struct mezz_vcpu *v;
	bool done;
	struct mm_struct *mm;
	unsigned long hva;
	u64 gfn;
	u32 token;
	bool write, told;
};

static struct workqueue_struct *items_wq;
static atomic_t items_running = ATOMIC_INIT(0);
/* Whether an item still has a vCPU, and its work an item. IRQs off; a leaf but for kicks. */
static DEFINE_RAW_SPINLOCK(items_lock);

int mezz_pv_setup(void)
{
	items_wq = alloc_workqueue("mezz_apf", WQ_UNBOUND, ITEMS_MAX);
	return items_wq ? 0 : -ENOMEM;
}

void mezz_pv_teardown(void)
{
	destroy_workqueue(items_wq);
}

/* --- the work --- */

static void fetch(struct work_struct *work)
{
	struct apf_item *item = container_of(work, struct apf_item, work);
	struct mm_struct *mm = item->mm;
	unsigned long flags;
	bool wanted;

	if (READ_ONCE(item->v))
		mezz_host_fault_in_remote(mm, item->hva, item->write);
	raw_spin_lock_irqsave(&items_lock, flags);
	wanted = item->v;
	if (wanted) {
		WRITE_ONCE(item->done, true);
		mezz_poke(item->v, MEZZ_REQ_APF_READY);
	}
	raw_spin_unlock_irqrestore(&items_lock, flags);
	/* Wanted, it may be gone by now. */
	if (!wanted)
		kfree(item);
	atomic_dec(&items_running);
	mmput(mm);
	/* Unloading waits for the rest of this function (destroy_workqueue). */
	module_put(THIS_MODULE);
}

/* The vCPU does not wait for @item any more. */
static void drop(struct pv_apf *a, struct apf_item *item)
{
	unsigned long flags;
	bool done;

	list_del(&item->link);
	a->nr_items--;
	raw_spin_lock_irqsave(&items_lock, flags);
	done = item->done;
	WRITE_ONCE(item->v, NULL);
	raw_spin_unlock_irqrestore(&items_lock, flags);
	if (done)
		kfree(item);
}

static struct apf_item *item_new(struct mezz_vcpu *v, u64 gfn, unsigned long hva, bool write)
{
	struct pv_apf *a = &v->pv->apf;
	struct apf_item *item;

	if (a->nr_items == ITEMS_PER_VCPU || !atomic_add_unless(&items_running, 1, ITEMS_MAX))
		return NULL;
	/* Who has to wait for memory may as well wait for the page. */
	item = kzalloc(sizeof(*item), GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT);
	if (!item) {
		atomic_dec(&items_running);
		return NULL;
	}
	INIT_WORK(&item->work, fetch);
	item->v = v;
	item->mm = v->vm->mm;
	mmget(item->mm);
	__module_get(THIS_MODULE);
	item->hva = hva;
	item->gfn = gfn;
	item->write = write;
	/* Never 0, which is no token. */
	if (!(++a->last_id << 12))
		a->last_id = 1;
	item->token = a->last_id << 12 | v->id;
	list_add_tail(&item->link, &a->items);
	a->nr_items++;
	return item;
}

/* --- what the guest is told --- */

static bool apf_on(u64 en_msr)
{
	return (en_msr & EN_ON) == EN_ON;
}

/* Would the guest understand a #PF that is none? */
static bool can_tell(struct mezz_vcpu *v)
{
	const struct pv_apf *a = &v->pv->apf;

	return apf_on(a->en_msr) && mezz_paging(v) &&
	       ((a->en_msr & KVM_ASYNC_PF_SEND_ALWAYS) || mezz_engine->cpl(v));
}

static bool tell_not_present(struct mezz_vcpu *v, u32 token)
{
	u32 flags = KVM_PV_REASON_PAGE_NOT_PRESENT;
	u64 gpa = v->pv->apf.en_msr & EN_GPA;

	if (!can_tell(v) ||
	    mezz_guest_write(v, gpa + offsetof(struct kvm_vcpu_pv_apf_data, flags), &flags, 4))
		return false;
	mezz_queue_pf(v, 0, token);
	return true;
}

/* False: the guest has not taken the last one yet. */
static bool tell_ready(struct mezz_vcpu *v, u32 token)
{
	struct pv_apf *a = &v->pv->apf;
	u64 gpa = (a->en_msr & EN_GPA) + offsetof(struct kvm_vcpu_pv_apf_data, token);
	u32 last;

	if (!mezz_lapic_enabled(v) || mezz_guest_read(v, gpa, &last, 4) || last)
		return false;
	if (!mezz_guest_write(v, gpa, &token, 4))
		mezz_lapic_self_irq(v, a->int_msr);
	return true;
}

bool mezz_pv_apf_possible(struct mezz_vcpu *v)
{
	const struct mezz_events *ev = &v->ev;

	/* Something else is on its way; or there is nobody to wake it from the halt. */
	if (!v->lapic || ev->exc.pending || ev->exc.injected || ev->nmi_injected ||
	    ev->irq.injected)
		return false;
	if ((v->vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT) && !can_tell(v))
		return false;
	return mezz_engine->irq_allowed(v);
}

bool mezz_pv_apf_start(struct mezz_vcpu *v, u64 gfn, unsigned long hva, bool write)
{
	struct apf_item *item;

	list_for_each_entry(item, &v->pv->apf.items, link) {
		if (item->gfn != gfn || READ_ONCE(item->done))
			continue;
		/* Touched again, though it was told: there is nothing else to do. */
		mezz_request(v, MEZZ_REQ_APF_HALT);
		return true;
	}
	item = item_new(v, gfn, hva, write);
	if (!item)
		return false;
	item->told = tell_not_present(v, item->token);
	if (!item->told)
		mezz_request(v, MEZZ_REQ_APF_HALT);
	queue_work(items_wq, &item->work);
	return true;
}

void mezz_pv_apf_ready(struct mezz_vcpu *v)
{
	struct pv_apf *a = &v->pv->apf;
	struct apf_item *item, *next;

	clear_bit(MEZZ_REQ_APF_HALT, &v->requests);
	if (a->wake_all && tell_ready(v, TOKEN_ALL))
		a->wake_all = false;
	list_for_each_entry_safe(item, next, &a->items, link)
		if (READ_ONCE(item->done) && (!item->told || tell_ready(v, item->token)))
			drop(a, item);
}

/* --- MSRs, life cycle --- */

void pv_apf_init(struct pv_apf *a)
{
	INIT_LIST_HEAD(&a->items);
}

void pv_apf_clear(struct mezz_vcpu *v)
{
	struct pv_apf *a = &v->pv->apf;
	struct apf_item *item, *next;

	list_for_each_entry_safe(item, next, &a->items, link)
		drop(a, item);
	a->wake_all = false;
	clear_bit(MEZZ_REQ_APF_HALT, &v->requests);
}

int pv_apf_set_en(struct mezz_vcpu *v, u64 data)
{
	struct pv_apf *a = &v->pv->apf;

	if ((data & EN_RESERVED) ||
	    ((data & KVM_ASYNC_PF_DELIVERY_AS_PF_VMEXIT) &&
	     !pv_offers(v, KVM_FEATURE_ASYNC_PF_VMEXIT)) ||
	    ((data & KVM_ASYNC_PF_DELIVERY_AS_INT) && !pv_offers(v, KVM_FEATURE_ASYNC_PF_INT)))
		return 1;
	if (!v->lapic)
		return !!data;
	if (!apf_on(data)) {
		a->en_msr = data;
		pv_apf_clear(v);
		return 0;
	}
	if (!mezz_gfn_hva(v->vm, data >> PAGE_SHIFT, true))
		return 1;
	a->en_msr = data;
	/* Of what the guest waited for before, on another host perhaps, nothing is known. */
	a->wake_all = true;
	mezz_request(v, MEZZ_REQ_APF_READY);
	return 0;
}

int pv_apf_set_int(struct mezz_vcpu *v, u64 data, bool host)
{
	/* QEMU says 0 without asking whether there is a LAPIC. */
	if (!v->lapic)
		return !host || data;
	if (data >> 8)
		return 1;
	v->pv->apf.int_msr = data;
	return 0;
}

void pv_apf_ack(struct mezz_vcpu *v, u64 data)
{
	if (data & 1)
		mezz_request(v, MEZZ_REQ_APF_READY);
}
