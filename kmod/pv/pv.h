/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a guest that knows is offered: kvmclock, steal time, PV EOI, PV TLB
 * flush, PV IPI, PV kick, poll control, asynchronous page faults, hypercalls.
 */
#ifndef MEZZ_PV_H
#define MEZZ_PV_H

#include <linux/types.h>
#include <linux/kvm.h>

struct mezz_vcpu;
struct mezz_vm;

int mezz_pv_setup(void);				/* [P] module-wide */
void mezz_pv_teardown(void);
int mezz_pv_vm_init(struct mezz_vm *vm);		/* [P] */
void mezz_pv_vm_destroy(struct mezz_vm *vm);
int mezz_pv_create(struct mezz_vcpu *v);		/* [P] */
void mezz_pv_destroy(struct mezz_vcpu *v);
void mezz_pv_reset(struct mezz_vcpu *v);
/* Slow requests MEZZ_REQ_CLOCK and MEZZ_REQ_STEAL; may sleep, SRCU held. */
void mezz_pv_update_clock(struct mezz_vcpu *v);
void mezz_pv_update_steal(struct mezz_vcpu *v);
/* The vCPU's thread is about to sleep or leave to user space: set preempted. */
void mezz_pv_preempted(struct mezz_vcpu *v);
/* [A] A section opens on another CPU than the last: is the clock still right? */
void mezz_pv_migrated(struct mezz_vcpu *v);
/*
 * Asynchronous page faults: may one be tried now, instead of sleeping for a page? [P]
 */
bool mezz_pv_apf_possible(struct mezz_vcpu *v);
/**
 * mezz_pv_apf_start() - have a page fetched that the host would sleep for
 * @v: the vCPU, for which mezz_pv_apf_possible() holds; SRCU read side held
 * @gfn: guest frame
 * @hva: its address in the process
 * @write: fetch it for writing
 * Context: [P]
 * Return: true: an event for the guest is pending, or MEZZ_REQ_APF_HALT; false: too
 * much is being fetched already
 */
bool mezz_pv_apf_start(struct mezz_vcpu *v, u64 gfn, unsigned long hva, bool write);
/* Slow request MEZZ_REQ_APF_READY; may sleep, SRCU held. */
void mezz_pv_apf_ready(struct mezz_vcpu *v);
/* The guest's CPUID was set: what it offers may be all that is there. [P] */
void mezz_pv_cpuid_changed(struct mezz_vcpu *v);
/* KVM_CAP_ENFORCE_PV_FEATURE_CPUID on or off. [P] */
void mezz_pv_enforce(struct mezz_vcpu *v, bool on);
/* PV MSRs (0x11, 0x12, 0x4b564d00-ff): 0, 1: #GP, 2: not mine. [S] */
int mezz_pv_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data);
int mezz_pv_set_msr(struct mezz_vcpu *v, u32 msr, u64 data, bool host);
/*
 * PV EOI: the word in guest memory. set before an injection that may use it;
 * test_and_clear when the LAPIC looks whether the guest has signalled EOI.
 * May be called in a section: then only non-faulting access, and "no".
 */
bool mezz_pv_eoi_enabled(struct mezz_vcpu *v);
bool mezz_pv_eoi_set(struct mezz_vcpu *v);
bool mezz_pv_eoi_test_clear(struct mezz_vcpu *v, bool *was_set);
/*
 * A hypercall; the handler reads and writes guest registers, skips nothing. Return: enum
 * mezz_next; MEZZ_USER: kvm_run asks user space, mezz_pv_hypercall_answered() comes after it.
 */
int mezz_pv_hypercall(struct mezz_vcpu *v);
/* What user space has left in kvm_run becomes the guest's answer. [P] */
void mezz_pv_hypercall_answered(struct mezz_vcpu *v);
/* vm->lock held. KVM_CAP_EXIT_HYPERCALL with these bits. 0 or -EINVAL */
long mezz_pv_exit_hypercalls(struct mezz_vm *vm, u64 calls);
/* VM ioctls: GET/SET_CLOCK. vCPU: KVMCLOCK_CTRL. */
long mezz_pv_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg);
long mezz_pv_kvmclock_ctrl(struct mezz_vcpu *v);
long mezz_pv_cap(struct mezz_vm *vm, unsigned long cap);	/* -1: not mine */
/* CPUID leaf 0x40000001 EAX: features that are complete. */
u32 mezz_pv_features(void);

#endif
