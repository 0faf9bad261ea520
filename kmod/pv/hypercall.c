// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM hypercalls: number in RAX, arguments in RBX, RCX, RDX, RSI, answer in
 * RAX (Documentation/virt/kvm/x86/hypercalls.rst of the kernel).
 */
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/task.h>

#include "host/abi.h"
#include "irq/irq.h"
#include "pv/internal.h"
#include "pv/pv.h"

/* Give the CPU to the vCPU with this APIC ID, which somebody waits for. */
static void yield_to_vcpu(struct mezz_vcpu *v, u32 apic_id)
{
	struct mezz_vcpu *target = mezz_vcpu_by_apic_id(v->vm, apic_id);
	struct task_struct *task;

	/* One that is in a section runs already, or is about to. */
	if (!target || target == v || READ_ONCE(target->mode) == MEZZ_IN_SECTION)
		return;
	rcu_read_lock();
	task = get_pid_task(rcu_dereference(target->pid), PIDTYPE_PID);
	rcu_read_unlock();
	if (!task)
		return;
	yield_to(task, true);
	put_task_struct(task);
}

static int answer(struct mezz_vcpu *v, bool is64, long ret)
{
	mezz_set_gpr(v, MEZZ_RAX, is64 ? ret : (u32)ret);
	return MEZZ_RESUME;
}

/*
 * Which memory a migration may read: the guest's affair and user space's, who also has
 * MSR_KVM_MIGRATION_CONTROL, by a filter.
 */
static int map_gpa_range(struct mezz_vcpu *v, bool is64, u64 gpa, u64 pages, u64 attributes)
{
	u64 gfn = gpa >> PAGE_SHIFT;
	struct kvm_run *run = v->run;

	if (!(READ_ONCE(v->vm->exit_hypercalls) & BIT(KVM_HC_MAP_GPA_RANGE)))
		return answer(v, is64, -KVM_ENOSYS);
	if (!PAGE_ALIGNED(gpa) || !pages || gfn + pages <= gfn)
		return answer(v, is64, -KVM_EINVAL);
	run->exit_reason = KVM_EXIT_HYPERCALL;
	memset(&run->hypercall, 0, sizeof(run->hypercall));
	run->hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	run->hypercall.args[0] = gpa;
	run->hypercall.args[1] = pages;
	run->hypercall.args[2] = attributes;
	mezz_put_longmode(run, is64);
	return MEZZ_USER;
}

void mezz_pv_hypercall_answered(struct mezz_vcpu *v)
{
	answer(v, mezz_64bit(v), READ_ONCE(v->run->hypercall.ret));
}

int mezz_pv_hypercall(struct mezz_vcpu *v)
{
	u64 nr = v->r[MEZZ_RAX], a0 = v->r[MEZZ_RBX], a1 = v->r[MEZZ_RCX];
	u64 a2 = v->r[MEZZ_RDX], a3 = v->r[MEZZ_RSI];
	bool is64 = mezz_64bit(v);

	if (!is64) {
		nr = (u32)nr;
		a0 = (u32)a0;
		a1 = (u32)a1;
		a2 = (u32)a2;
		a3 = (u32)a3;
	}
	if (unlikely(mezz_engine->cpl(v)))
		return answer(v, is64, -KVM_EPERM);
	switch (nr) {
	case KVM_HC_VAPIC_POLL_IRQ:
		return answer(v, is64, 0);
	case KVM_HC_KICK_CPU:
		if (!pv_offers(v, KVM_FEATURE_PV_UNHALT))
			break;
		mezz_pv_kick(v->vm, a1);
		return answer(v, is64, 0);
	case KVM_HC_SEND_IPI:
		if (!pv_offers(v, KVM_FEATURE_PV_SEND_IPI))
			break;
		return answer(v, is64, mezz_pv_send_ipi(v->vm, a0, a1, a2, a3, is64));
	case KVM_HC_SCHED_YIELD:
		if (!pv_offers(v, KVM_FEATURE_PV_SCHED_YIELD))
			break;
		if (v->atomic)
			return MEZZ_SLOW;
		yield_to_vcpu(v, a0);
		return answer(v, is64, 0);
	case KVM_HC_CLOCK_PAIRING:
		if (v->atomic)
			return MEZZ_SLOW;
		return answer(v, is64, pv_clock_pairing(v, a0, a1));
	case KVM_HC_MAP_GPA_RANGE:
		return map_gpa_range(v, is64, a0, a1, a2);
	}
	return answer(v, is64, -KVM_ENOSYS);
}
