/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPU state that no control block switches, or none has to, and that is alike on
 * every vendor's CPU: SPEC_CTRL and the prediction barrier between guests, TSC_AUX,
 * DR0-3. It is switched when a section needs it, and only if it differs.
 *
 * Locking: struct mezz_lazy (vcpu.h) belongs to the holder of the vCPU mutex.
 * Contexts as in engine.h: [A] inside a section, IRQs off; [S] vCPU mutex held.
 */
#ifndef MEZZ_CPU_LAZY_H
#define MEZZ_CPU_LAZY_H

#include <linux/percpu.h>
#include <asm/debugreg.h>
#include <asm/nospec-branch.h>
#include "../host/spec.h"
#include "../vcpu.h"

/**
 * struct mezz_lazy_cpu - what one host CPU has
 * @last: whose guest ran here last; only compared, cleared by any CPU when it dies
 * @tsc_aux: the host's MSR_TSC_AUX
 */
struct mezz_lazy_cpu {
	struct mezz_vcpu *last;
	u64 tsc_aux;
};

DECLARE_PER_CPU(struct mezz_lazy_cpu, mezz_lazy_cpu);

/* [P] Once, after the engine's probe: fills mezz_host. */
void mezz_lazy_probe(struct mezz_host *host);
/* On the CPU itself, IRQs off, before the engine is switched on there. */
void mezz_lazy_cpu_on(void);
/* [P] The vCPU dies: another one at this address must not be taken for it. */
void mezz_lazy_forget(struct mezz_vcpu *v);
/* [S] Power-on or INIT values. */
void mezz_lazy_reset(struct mezz_vcpu *v, bool init);

/* --- debug registers --- */

#define MEZZ_DR7_ENABLES	0xffu

/* DR7 that hardware has for the guest; outside sections and when they begin. */
static inline u64 mezz_hw_dr7(const struct mezz_vcpu *v)
{
	return unlikely(v->lazy.dr7_taken) ? mezz_debugger_dr7(v) : v->r[MEZZ_DR7];
}

/**
 * mezz_dr_load() - put DR0-3, the guest's or its debugger's, into the CPU
 * @v: the vCPU
 * When the section begins with breakpoints enabled, or when the guest touches a debug
 * register; from then on such accesses do not exit, unless a debugger has them.
 * Context: [A]
 */
void mezz_dr_load(struct mezz_vcpu *v);
/* The opposite: mezz_lazy_host_dr(). [A] */
void mezz_dr_unload(struct mezz_vcpu *v);
/* [S] guest_debug, DR7 or the debugger's registers changed, by other than the guest. */
void mezz_update_debug(struct mezz_vcpu *v);

/* --- section begin and end --- */

/* The rest of these two. */
void mezz_lazy_new_guest(struct mezz_vcpu *v);
void mezz_lazy_load_tsc_aux(struct mezz_vcpu *v);
void mezz_lazy_unload_tsc_aux(struct mezz_vcpu *v);

/* [A] The guest's SPEC_CTRL, or the host's, may have changed. */
static __always_inline void mezz_lazy_spec(struct mezz_vcpu *v)
{
	if (!mezz_host.switch_spec)
		return;
	v->lazy.host_spec = this_cpu_read(x86_spec_ctrl_current);
	v->lazy.switch_spec = v->lazy.host_spec != v->lazy.spec_ctrl || mezz_spec_ctrl_always();
}

/* [A] The guest's breakpoints into the CPU, if it has any enabled. */
static __always_inline void mezz_lazy_guest_dr(struct mezz_vcpu *v)
{
	if (unlikely(mezz_hw_dr7(v) & MEZZ_DR7_ENABLES))
		mezz_dr_load(v);
}

/*
 * [A] The host's debug registers into the CPU: when the section ends, and for the
 * host's interrupts inside of it. One of them may be perf's IPI, which puts a
 * breakpoint beside the others and switches them all on.
 */
static __always_inline void mezz_lazy_host_dr(struct mezz_vcpu *v)
{
	if (unlikely(v->lazy.dr_live))
		mezz_dr_unload(v);
	/* An exit disables all breakpoints in the host's DR7. */
	if (unlikely(hw_breakpoint_active()))
		hw_breakpoint_restore();
}

/**
 * mezz_lazy_load() - the section begins
 * @v: the vCPU
 * Context: [A], as the first thing that mezz_engine.load does with the guest's state:
 * the barrier keeps one guest's branches from being predicted by another's.
 */
static __always_inline void mezz_lazy_load(struct mezz_vcpu *v)
{
	if (unlikely(this_cpu_read(mezz_lazy_cpu.last) != v))
		mezz_lazy_new_guest(v);
	if (v->lazy.use_tsc_aux && v->lazy.tsc_aux != this_cpu_read(mezz_lazy_cpu.tsc_aux))
		mezz_lazy_load_tsc_aux(v);
	mezz_lazy_spec(v);
	mezz_lazy_guest_dr(v);
}

/* The section ends. [A], before the engine forgets what the guest left in the CPU. */
static __always_inline void mezz_lazy_unload(struct mezz_vcpu *v)
{
	mezz_lazy_host_dr(v);
	if (v->lazy.tsc_aux_live)
		mezz_lazy_unload_tsc_aux(v);
}

/* --- MSRs: SPEC_CTRL, PRED_CMD, TSC_AUX --- */

/*
 * [S] Their values are checked already against what the guest has. 0, or as
 * mezz_engine.get_msr says: 1: not mine, 2: #GP.
 */
int mezz_lazy_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data);
int mezz_lazy_set_msr(struct mezz_vcpu *v, u32 msr, u64 data);

#endif
