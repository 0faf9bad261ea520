/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of pv/ share: the state of the paravirtual interfaces.
 *
 * Locking: struct mezz_pv_vcpu belongs to the vCPU mutex; struct mezz_pv_vm
 * has a spinlock, taken in process context and around nothing that sleeps.
 */
#ifndef MEZZ_PV_INTERNAL_H
#define MEZZ_PV_INTERNAL_H

#include <linux/kvm_para.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include "../vcpu.h"

/**
 * struct mezz_pv_vm - the VM's clock
 * @lock: guards the rest
 * @stable: the clock is a function of the host's TSC alone
 * @base_tsc: with @stable: host TSC at which the clock read @base_ns
 * @base_ns: see @base_tsc
 * @offset: without @stable: clock minus the host's boot-time clock
 * @wall_msr: MSR_KVM_WALL_CLOCK as written last
 */
struct mezz_pv_vm {
	spinlock_t lock;	/* guards the rest */
	bool stable;
	u64 base_tsc, base_ns;
	s64 offset;
	u64 wall_msr;
};

/**
 * struct pv_apf - asynchronous page faults (apf.c)
 * @en_msr: MSR_KVM_ASYNC_PF_EN
 * @int_msr: MSR_KVM_ASYNC_PF_INT
 * @items: pages that are being fetched, or that the guest has not been told of
 * @nr_items: how many
 * @last_id: the upper bits of the last token
 * @wake_all: tell the guest that whatever it waits for is ready
 */
struct pv_apf {
	u64 en_msr, int_msr;
	struct list_head items;
	unsigned int nr_items;
	u32 last_id;
	bool wake_all;
};

/**
 * struct mezz_pv_vcpu - paravirtual interfaces of a vCPU
 * @clock_msr: MSR_KVM_SYSTEM_TIME
 * @steal_msr: MSR_KVM_STEAL_TIME
 * @eoi_msr: MSR_KVM_PV_EOI_EN
 * @poll_msr: MSR_KVM_POLL_CONTROL
 * @write_wall: the guest waits for its wall clock
 * @stopped: tell the guest that it was stopped
 * @preempted: the guest's record may say that this vCPU is not running
 * @last_delay: the thread's time in run queues that was accounted
 * @clock_jiffies: when mezz_pv_update_clock() was called last
 * @offered: KVM_FEATURE_ bits that the guest may use: all, or with @enforce what
 *	its CPUID says
 * @enforce: KVM_CAP_ENFORCE_PV_FEATURE_CPUID; stays over a reset
 * @apf: asynchronous page faults
 */
struct mezz_pv_vcpu {
	u64 clock_msr, steal_msr, eoi_msr, poll_msr;
	u64 eoi_gpa;	/* of the word that the last offer of a PV EOI is in */
	bool write_wall;
	bool stopped;
	bool preempted;
	u64 last_delay;
	unsigned long clock_jiffies;
	u32 offered;
	bool enforce;
	struct pv_apf apf;
};

/* Hypercalls that user space can have for itself: KVM_CAP_EXIT_HYPERCALL */
#define PV_EXIT_HYPERCALLS	BIT(KVM_HC_MAP_GPA_RANGE)

/* May the guest use this KVM_FEATURE_ bit? */
static inline bool pv_offers(struct mezz_vcpu *v, unsigned int feature)
{
	return v->pv->offered & BIT(feature);
}

/* clock.c */
void pv_clock_init(struct mezz_pv_vm *p);
/* The host's TSC may have been found unreliable: leave the stable mode then. */
void pv_clock_check(struct mezz_vm *vm);
/* KVM_HC_CLOCK_PAIRING with its arguments; may sleep. A hypercall's answer. */
long pv_clock_pairing(struct mezz_vcpu *v, u64 gpa, u64 type);
long pv_get_clock(struct mezz_vm *vm, void __user *argp);
long pv_set_clock(struct mezz_vm *vm, void __user *argp);

/* steal.c */
/* 0, or 1: #GP */
int pv_steal_set_msr(struct mezz_vcpu *v, u64 data);

/* apf.c; MSRs: 0, or 1: #GP. SRCU read side held, any context but NMI */
void pv_apf_init(struct pv_apf *a);
/* Forget what is being fetched. */
void pv_apf_clear(struct mezz_vcpu *v);
int pv_apf_set_en(struct mezz_vcpu *v, u64 data);
int pv_apf_set_int(struct mezz_vcpu *v, u64 data, bool host);
void pv_apf_ack(struct mezz_vcpu *v, u64 data);

/* steal_msr or clock_msr has changed. */
static inline void pv_set_on(struct mezz_vcpu *v)
{
	v->pv_on = (v->pv->steal_msr | v->pv->clock_msr) & KVM_MSR_ENABLED;
}

#endif
