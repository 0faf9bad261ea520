// SPDX-License-Identifier: GPL-2.0-only
/*
 * Paravirtual interfaces: their life cycle, MSRs, CPUID bits and capabilities,
 * and PV EOI. The clock is clock.c, steal time steal.c, asynchronous page faults
 * apf.c, hypercalls hypercall.c. Documentation/virt/kvm/x86/{cpuid,msr}.rst of the
 * kernel define all of it.
 */
#include <linux/sched/stat.h>
#include <linux/slab.h>

#include "cpu/cpu.h"
#include "irq/irq.h"
#include "mmu/mmu.h"
#include "pv/internal.h"
#include "pv/pv.h"

/* Layout checks: guests and user space rely on it. */
static_assert(offsetof(struct kvm_steal_time, preempted) == 16);

int mezz_pv_vm_init(struct mezz_vm *vm)
{
	vm->pv = kzalloc(sizeof(*vm->pv), GFP_KERNEL_ACCOUNT);
	if (!vm->pv)
		return -ENOMEM;
	spin_lock_init(&vm->pv->lock);
	pv_clock_init(vm->pv);
	return 0;
}

void mezz_pv_vm_destroy(struct mezz_vm *vm)
{
	kfree(vm->pv);
	vm->pv = NULL;
}

int mezz_pv_create(struct mezz_vcpu *v)
{
	v->pv = kzalloc(sizeof(*v->pv), GFP_KERNEL_ACCOUNT);
	if (!v->pv)
		return -ENOMEM;
	v->pv->poll_msr = 1;
	v->pv->offered = ~0u;
	pv_apf_init(&v->pv->apf);
	return 0;
}

void mezz_pv_destroy(struct mezz_vcpu *v)
{
	if (v->pv)
		pv_apf_clear(v);
	kfree(v->pv);
	v->pv = NULL;
}

void mezz_pv_reset(struct mezz_vcpu *v)
{
	struct mezz_pv_vcpu new = {
		.poll_msr = 1,
		.offered = v->pv->offered,
		.enforce = v->pv->enforce,
	};

	pv_apf_clear(v);
	*v->pv = new;
	pv_apf_init(&v->pv->apf);
	v->pv_on = false;
}

void mezz_pv_cpuid_changed(struct mezz_vcpu *v)
{
	v->pv->offered = v->pv->enforce ? mezz_cpuid_pv_features(v) : ~0u;
}

void mezz_pv_enforce(struct mezz_vcpu *v, bool on)
{
	v->pv->enforce = on;
	mezz_pv_cpuid_changed(v);
}

/* The feature that an MSR belongs to; 32: no MSR of ours. */
static unsigned int msr_feature(u32 msr)
{
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_SYSTEM_TIME:
		return KVM_FEATURE_CLOCKSOURCE;
	case MSR_KVM_WALL_CLOCK_NEW:
	case MSR_KVM_SYSTEM_TIME_NEW:
		return KVM_FEATURE_CLOCKSOURCE2;
	case MSR_KVM_STEAL_TIME:
		return KVM_FEATURE_STEAL_TIME;
	case MSR_KVM_PV_EOI_EN:
		return KVM_FEATURE_PV_EOI;
	case MSR_KVM_POLL_CONTROL:
		return KVM_FEATURE_POLL_CONTROL;
	case MSR_KVM_ASYNC_PF_EN:
		return KVM_FEATURE_ASYNC_PF;
	case MSR_KVM_ASYNC_PF_INT:
	case MSR_KVM_ASYNC_PF_ACK:
		return KVM_FEATURE_ASYNC_PF_INT;
	default:
		return 32;
	}
}

/* 0, 1: #GP (which also user space gets), 2: not mine. */
static int msr_access(struct mezz_vcpu *v, u32 msr)
{
	unsigned int feature = msr_feature(msr);

	return feature == 32 ? 2 : !pv_offers(v, feature);
}

u32 mezz_pv_features(void)
{
	u32 f = BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_NOP_IO_DELAY) |
		BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_PV_EOI) |
		BIT(KVM_FEATURE_ASYNC_PF) | BIT(KVM_FEATURE_ASYNC_PF_INT) |
		BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SEND_IPI) |
		BIT(KVM_FEATURE_POLL_CONTROL) | BIT(KVM_FEATURE_PV_SCHED_YIELD) |
		BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT);

	/* Steal time carries the flags that a remote TLB flush looks at. */
	if (sched_info_on())
		f |= BIT(KVM_FEATURE_STEAL_TIME) | BIT(KVM_FEATURE_PV_TLB_FLUSH);
	return f;
}

long mezz_pv_cap(struct mezz_vm *vm, unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_CLOCKSOURCE:
	case KVM_CAP_KVMCLOCK_CTRL:
	case KVM_CAP_ENFORCE_PV_FEATURE_CPUID:
	case KVM_CAP_ASYNC_PF:
	case KVM_CAP_ASYNC_PF_INT:
		return 1;
	case KVM_CAP_EXIT_HYPERCALL:
		return PV_EXIT_HYPERCALLS;
	case KVM_CAP_ADJUST_CLOCK:
		return KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	default:
		return -1;
	}
}

long mezz_pv_exit_hypercalls(struct mezz_vm *vm, u64 calls)
{
	if (calls & ~(u64)PV_EXIT_HYPERCALLS)
		return -EINVAL;
	WRITE_ONCE(vm->exit_hypercalls, calls);
	return 0;
}

long mezz_pv_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case KVM_GET_CLOCK:
		return pv_get_clock(vm, (void __user *)arg);
	case KVM_SET_CLOCK:
		return pv_set_clock(vm, (void __user *)arg);
	default:
		return -ENOIOCTLCMD;
	}
}

int mezz_pv_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data)
{
	struct mezz_pv_vcpu *p = v->pv;
	int r = msr_access(v, msr);

	if (r)
		return r;
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		*data = READ_ONCE(v->vm->pv->wall_msr);
		return 0;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		*data = p->clock_msr;
		return 0;
	case MSR_KVM_STEAL_TIME:
		*data = p->steal_msr;
		return 0;
	case MSR_KVM_PV_EOI_EN:
		*data = p->eoi_msr;
		return 0;
	case MSR_KVM_POLL_CONTROL:
		*data = p->poll_msr;
		return 0;
	case MSR_KVM_ASYNC_PF_EN:
		*data = p->apf.en_msr;
		return 0;
	case MSR_KVM_ASYNC_PF_INT:
		*data = p->apf.int_msr;
		return 0;
	case MSR_KVM_ASYNC_PF_ACK:
		*data = 0;
		return 0;
	default:
		return 2;
	}
}

int mezz_pv_set_msr(struct mezz_vcpu *v, u32 msr, u64 data, bool host)
{
	struct mezz_pv_vcpu *p = v->pv;
	int r = msr_access(v, msr);

	if (r)
		return r;
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		/* Written before the guest goes on, where one may sleep. */
		WRITE_ONCE(v->vm->pv->wall_msr, data);
		p->write_wall = true;
		mezz_request(v, MEZZ_REQ_CLOCK);
		return 0;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		p->clock_msr = data;
		pv_set_on(v);
		mezz_request(v, MEZZ_REQ_CLOCK);
		return 0;
	case MSR_KVM_STEAL_TIME:
		return pv_steal_set_msr(v, data);
	case MSR_KVM_PV_EOI_EN:
		/* A 32-bit word, naturally aligned. */
		if (data & 2)
			return 1;
		/* The interrupt in service now is ended by whoever reads the old word. */
		mezz_lapic_withdraw_pv_eoi(v);
		p->eoi_msr = data;
		return 0;
	case MSR_KVM_POLL_CONTROL:
		/* We never poll; the guest's choice is only remembered. */
		if (data & ~1ull)
			return 1;
		p->poll_msr = data;
		return 0;
	case MSR_KVM_ASYNC_PF_EN:
		return pv_apf_set_en(v, data);
	case MSR_KVM_ASYNC_PF_INT:
		return pv_apf_set_int(v, data, host);
	case MSR_KVM_ASYNC_PF_ACK:
		pv_apf_ack(v, data);
		return 0;
	default:
		return 2;
	}
}

/* --- PV EOI --- */

bool mezz_pv_eoi_enabled(struct mezz_vcpu *v)
{
	return v->pv->eoi_msr & KVM_MSR_ENABLED;
}

bool mezz_pv_eoi_set(struct mezz_vcpu *v)
{
	u8 val = KVM_PV_EOI_ENABLED;

	v->pv->eoi_gpa = v->pv->eoi_msr & ~3ull;
	return !mezz_guest_write(v, v->pv->eoi_gpa, &val, 1);
}

/* The guest clears the bit in place of an EOI. Only this vCPU touches the word. */
bool mezz_pv_eoi_test_clear(struct mezz_vcpu *v, bool *was_set)
{
	u8 val;

	if (mezz_guest_read(v, v->pv->eoi_gpa, &val, 1))
		return false;
	*was_set = val & KVM_PV_EOI_ENABLED;
	if (!*was_set)
		return true;
	val &= ~KVM_PV_EOI_MASK;
	return !mezz_guest_write(v, v->pv->eoi_gpa, &val, 1);
}
