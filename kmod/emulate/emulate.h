/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the run loop asks of the emulator. The decoder and the executor are
 * pure (decode.h, exec.h); glue.c joins them to a vCPU.
 */
#ifndef MEZZ_EMULATE_H
#define MEZZ_EMULATE_H

#include <linux/types.h>

struct mezz_vcpu;

int mezz_emul_create(struct mezz_vcpu *v);	/* [P] allocates v->emul */
void mezz_emul_destroy(struct mezz_vcpu *v);
/* The vCPU was reset or its registers were set: forget a half-done instruction. */
void mezz_emul_forget(struct mezz_vcpu *v);

/**
 * mezz_emulate() - execute the instruction at RIP
 * @v: the vCPU; SRCU read side held
 * @gpa: guest physical address that the instruction's memory operand touched,
 *	from the second-stage fault; or MEZZ_NO_GPA
 * @write: the faulting access was a write (with @gpa)
 *
 * Advances RIP, queues faults, accesses the buses; fills kvm_run and sets
 * v->complete when user space has to act. What cannot be decoded becomes
 * KVM_EXIT_INTERNAL_ERROR with the instruction bytes.
 * Context: v->atomic: non-sleeping attempt, MEZZ_SLOW if it can't be done so
 * (with no side effect by then).
 * Return: enum mezz_next
 */
#define MEZZ_NO_GPA (~0ull)
int mezz_emulate(struct mezz_vcpu *v, u64 gpa, bool write);

/**
 * mezz_run_software() - execute a guest that mezz_engine.runnable() refuses
 * @v: the vCPU; SRCU read side held
 *
 * A few dozen instructions, or until the hardware can go on.
 * Context: may sleep, outside of sections.
 * Return: enum mezz_next, never MEZZ_SLOW
 */
int mezz_run_software(struct mezz_vcpu *v);

/**
 * mezz_emul_deliver() - an engine's inject(), while the guest runs in software
 * @v: the vCPU; SRCU read side held
 * @vector: what v->ev says is injected; it is delivered in real mode, and stays
 *	injected in protected mode
 * Context: may sleep.
 */
void mezz_emul_deliver(struct mezz_vcpu *v, u8 vector);

/**
 * mezz_hypercall_len() - is the instruction at RIP a hypercall, of any vendor?
 * @v: the vCPU; SRCU read side held
 * @fix: make it this CPU's, if it is the other vendor's. This happens where the guest
 *	itself could write, at its privilege level. (Elsewhere in-tree KVM's guest has a
 *	page fault, which none is prepared for.)
 *
 * Context: may sleep.
 * Return: its length in bytes; 0: it is something else; negative: a fault was
 * queued or the code could not be read: answer MEZZ_RESUME.
 */
int mezz_hypercall_len(struct mezz_vcpu *v, bool fix);

/*
 * Guest virtual to physical for the current mode: for KVM_TRANSLATE and PV.
 * SRCU held. 0 or -EFAULT. Does not set A/D bits, queues no fault.
 */
int mezz_gva_to_gpa(struct mezz_vcpu *v, u64 gva, u64 *gpa);

#endif
