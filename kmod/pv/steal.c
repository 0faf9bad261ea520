// SPDX-License-Identifier: GPL-2.0-only
/*
 * Steal time: how long the vCPU's thread waited for a CPU, and whether it is
 * running now. Other vCPUs look at the latter before they spin on a lock or
 * send an IPI for a TLB flush; for a vCPU that is not running they leave a
 * flag, and the flush happens before it runs again.
 *
 * Known hack: a vCPU whose thread the host preempts in the middle of a section
 * is not marked; that is noticed too late to sleep on a fault.
 */
#include <linux/sched.h>
#include <linux/sched/stat.h>

#include "mmu/mmu.h"
#include "pv/internal.h"
#include "pv/pv.h"

static u64 run_delay(void)
{
#ifdef CONFIG_SCHED_INFO
	return current->sched_info.run_delay;
#else
	return 0;
#endif
}

static u64 steal_gpa(const struct mezz_vcpu *v)
{
	return v->pv->steal_msr & KVM_STEAL_VALID_BITS;
}

int pv_steal_set_msr(struct mezz_vcpu *v, u64 data)
{
	if (!sched_info_on() || (data & KVM_STEAL_RESERVED_MASK))
		return 1;
	v->pv->steal_msr = data;
	pv_set_on(v);
	v->pv->last_delay = run_delay();
	/* What the record says is not known. */
	v->pv->preempted = true;
	mezz_request(v, MEZZ_REQ_STEAL);
	return 0;
}

/* Take the flags back; do the flush that somebody left to us. */
static void clear_preempted(struct mezz_vcpu *v, u64 gpa)
{
	u8 old = KVM_VCPU_PREEMPTED, expect, none = 0;

	do {
		expect = old;
		if (mezz_guest_cmpxchg(v, gpa + offsetof(struct kvm_steal_time, preempted),
				       &old, &none, 1))
			return;
	} while (old != expect);
	v->pv->preempted = false;
	if (old & KVM_VCPU_FLUSH_TLB)
		mezz_request(v, MEZZ_REQ_TLB_FLUSH);
}

void mezz_pv_update_steal(struct mezz_vcpu *v)
{
	struct mezz_pv_vcpu *p = v->pv;
	struct {
		u64 steal;
		u32 version;
	} rec;
	u64 gpa = steal_gpa(v), delay;

	pv_clock_check(v->vm);
	/* An unreliable TSC drifts, but not within a tick; CPU changes are seen elsewhere. */
	if (unlikely(!READ_ONCE(v->vm->pv->stable)) && time_after(jiffies, p->clock_jiffies))
		mezz_pv_update_clock(v);
	if (!(p->steal_msr & KVM_MSR_ENABLED))
		return;
	if (p->preempted)
		clear_preempted(v, gpa);
	delay = run_delay();
	if (delay == p->last_delay)
		return;
	if (mezz_guest_read(v, gpa, &rec, 12))
		return;
	/* Another thread's count may be lower: start again from there. */
	if (delay > p->last_delay)
		rec.steal += delay - p->last_delay;
	p->last_delay = delay;
	rec.version |= 1;
	mezz_guest_write(v, gpa + 8, &rec.version, 4);
	/* Readers see an odd version for as long as the time changes. */
	smp_wmb();
	mezz_guest_write(v, gpa, &rec.steal, 8);
	/* As above. */
	smp_wmb();
	rec.version++;
	mezz_guest_write(v, gpa + 8, &rec.version, 4);
}

static noinline void set_preempted(struct mezz_vcpu *v)
{
	u8 flag = KVM_VCPU_PREEMPTED;
	int idx;

	idx = mezz_read_lock(v->vm);
	if (!mezz_guest_write(v, steal_gpa(v) + offsetof(struct kvm_steal_time, preempted),
			      &flag, 1))
		v->pv->preempted = true;
	mezz_read_unlock(v->vm, idx);
}

void mezz_pv_preempted(struct mezz_vcpu *v)
{
	if ((v->pv->steal_msr & KVM_MSR_ENABLED) && !v->pv->preempted)
		set_preempted(v);
}
