// SPDX-License-Identifier: GPL-2.0-only
/*
 * Creation of a local APIC, and its state in the layout of KVM_GET_LAPIC.
 *
 * The layout is the xAPIC register page. In x2APIC mode the 64-bit ICR is split, and
 * the ID is shifted to bits 24-31 unless user space knows of 32-bit IDs
 * (KVM_X2APIC_API_USE_32BIT_IDS).
 *
 * Known hacks: KVM_TPR_ACCESS_REPORTING and KVM_SET_VAPIC_ADDR are an
 * optimisation for guests without CR8 whose firmware patches them; both are
 * accepted where that has no effect, and KVM_CAP_VAPIC reads 0.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "lapic.h"

int mezz_lapic_create(struct mezz_vcpu *v)
{
	struct mezz_lapic *l;

	if (!mezz_irqchip_any(v->vm))
		return 0;
	l = kzalloc(sizeof(*l), GFP_KERNEL_ACCOUNT);
	if (!l)
		return -ENOMEM;
	l->v = v;
	l->id = v->id;
	l->isr_top = -1;
	lapic_timer_init(l);
	/* The vCPU's reset does the rest; senders find it once it is published. */
	v->lapic = l;
	return 0;
}

/* Never published, or nobody is left who sends. */
void mezz_lapic_destroy(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	if (!l)
		return;
	hrtimer_cancel(&l->timer);
	v->lapic = NULL;
	kfree(l);
}

/* --- KVM_GET_LAPIC, KVM_SET_LAPIC --- */

static void put_reg(struct kvm_lapic_state *s, u32 reg, u32 val)
{
	memcpy(s->regs + reg * 16, &val, 4);
}

static u32 get_reg(const struct kvm_lapic_state *s, u32 reg)
{
	u32 val;

	memcpy(&val, s->regs + reg * 16, 4);
	return val;
}

static void put_map(struct kvm_lapic_state *s, u32 reg, const unsigned long *map)
{
	int i;

	for (i = 0; i < 8; i++)
		put_reg(s, reg + i, READ_ONCE(map[i / 2]) >> (i % 2 * 32));
}

static void get_map(const struct kvm_lapic_state *s, u32 reg, unsigned long *map)
{
	int i;

	for (i = 0; i < 4; i++)
		WRITE_ONCE(map[i], get_reg(s, reg + 2 * i) |
				   (u64)get_reg(s, reg + 2 * i + 1) << 32);
}

static bool wide_id(const struct mezz_lapic *l)
{
	return l->x2apic && READ_ONCE(l->v->vm->x2apic_ids);
}

/* SRCU read side held: the guest's PV EOI word may be looked at. */
static void lapic_get_state(struct mezz_lapic *l, struct kvm_lapic_state *s)
{
	static const u32 plain[] = { APR_VERSION, APR_TPR, APR_PPR, APR_LDR, APR_SVR,
				     APR_ESR, APR_TMICT, APR_TMCCT, APR_TDCR, APR_LVT_CMCI };
	u32 val = 0;
	int i;

	memset(s, 0, sizeof(*s));
	lapic_pull(l);
	lapic_sync_pv_eoi(l);
	if (READ_ONCE(l->fired) || l->hw_timer)
		lapic_timer_sync(l);
	for (i = 0; i < ARRAY_SIZE(plain); i++) {
		if (lapic_read(l, plain[i], &val))
			put_reg(s, plain[i], val);
	}
	put_reg(s, APR_ID, wide_id(l) ? l->id : l->id << 24);
	put_reg(s, APR_DFR, l->dfr);
	put_reg(s, APR_ICR, l->icr);
	put_reg(s, APR_ICR2, l->icr >> 32);
	for (i = 0; i <= LVT_ERROR; i++)
		put_reg(s, APR_LVT + i, l->lvt[i]);
	put_map(s, APR_ISR, l->isr);
	put_map(s, APR_TMR, l->tmr);
	put_map(s, APR_IRR, l->irr);
}

/* SRCU read side held. */
static void lapic_set_state(struct mezz_lapic *l, const struct kvm_lapic_state *s)
{
	int i;

	lapic_pull(l);
	/* Clears the word in the guest's memory, which would mislead it. */
	lapic_sync_pv_eoi(l);
	l->tpr = get_reg(s, APR_TPR) & 0xff;
	l->svr = get_reg(s, APR_SVR);
	/* In x2APIC mode the LDR follows from the ID; it has been set. */
	if (!l->x2apic)
		WRITE_ONCE(l->ldr, get_reg(s, APR_LDR) & 0xff000000);
	WRITE_ONCE(l->dfr, get_reg(s, APR_DFR) | 0x0fffffff);
	l->esr = get_reg(s, APR_ESR);
	l->esr_new = 0;
	l->icr = get_reg(s, APR_ICR) | (u64)get_reg(s, APR_ICR2) << 32;
	for (i = 0; i <= LVT_ERROR; i++)
		WRITE_ONCE(l->lvt[i], get_reg(s, APR_LVT + i));
	if (l->cmci)
		WRITE_ONCE(l->lvt[LVT_CMCI], get_reg(s, APR_LVT_CMCI));
	if (LVT_DM(l->lvt[LVT_LINT0]) == MEZZ_DM_NMI)
		WRITE_ONCE(l->v->vm->irq->nmi_wd, 1);
	l->tmict = get_reg(s, APR_TMICT);
	l->tdcr = get_reg(s, APR_TDCR) & 0xb;
	get_map(s, APR_ISR, l->isr);
	get_map(s, APR_TMR, l->tmr);
	get_map(s, APR_IRR, l->irr);
	l->isr_top = lapic_highest(l->isr);
	lapic_derive(l);
	lapic_timer_restore(l, get_reg(s, APR_TMCCT));
	mezz_apic_map_update(l->v->vm);
	mezz_request(l->v, MEZZ_REQ_EVENT);
}

static long lapic_state_ioctl(struct mezz_lapic *l, bool set, void __user *arg)
{
	struct mezz_vm *vm = l->v->vm;
	struct kvm_lapic_state *s;
	long r = 0;
	int idx;

	if (set) {
		s = memdup_user(arg, sizeof(*s));
		if (IS_ERR(s))
			return PTR_ERR(s);
		if (wide_id(l) && get_reg(s, APR_ID) != l->id) {
			kfree(s);
			return -EINVAL;
		}
		idx = mezz_read_lock(vm);
		lapic_set_state(l, s);
		mezz_read_unlock(vm, idx);
	} else {
		s = kmalloc(sizeof(*s), GFP_KERNEL);
		if (!s)
			return -ENOMEM;
		idx = mezz_read_lock(vm);
		lapic_get_state(l, s);
		mezz_read_unlock(vm, idx);
		if (copy_to_user(arg, s, sizeof(*s)))
			r = -EFAULT;
	}
	kfree(s);
	return r;
}

static long tpr_access_ioctl(struct mezz_vcpu *v, void __user *arg)
{
	struct kvm_tpr_access_ctl tac;

	if (copy_from_user(&tac, arg, sizeof(tac)))
		return -EFAULT;
	if (tac.flags)
		return -EINVAL;
	return copy_to_user(arg, &tac, sizeof(tac)) ? -EFAULT : 0;
}

static long vapic_ioctl(struct mezz_vcpu *v, void __user *arg)
{
	struct kvm_vapic_addr va;
	long r = 0;
	int idx;

	if (!v->lapic)
		return -EINVAL;
	if (copy_from_user(&va, arg, sizeof(va)))
		return -EFAULT;
	if (!va.vapic_addr)
		return 0;
	idx = mezz_read_lock(v->vm);
	if (!mezz_gfn_hva(v->vm, va.vapic_addr >> PAGE_SHIFT, true))
		r = -EINVAL;
	mezz_read_unlock(v->vm, idx);
	return r;
}

long mezz_irq_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, unsigned long arg)
{
	void __user *p = (void __user *)arg;

	switch (cmd) {
	case KVM_GET_LAPIC:
	case KVM_SET_LAPIC:
		return v->lapic ? lapic_state_ioctl(v->lapic, cmd == KVM_SET_LAPIC, p) : -EINVAL;
	case KVM_TPR_ACCESS_REPORTING:
		return tpr_access_ioctl(v, p);
	case KVM_SET_VAPIC_ADDR:
		return vapic_ioctl(v, p);
	}
	return -ENOIOCTLCMD;
}
