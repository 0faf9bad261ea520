// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU state that is switched lazily and alike on every vendor's CPU: see lazy.h.
 *
 * DR0-3: as long as no breakpoint is enabled the CPU's are the host's, and every
 * access to a debug register exits; at the first one they are loaded and the exits
 * go, for the rest of the section. DR7, and DR6 where hardware does not switch it,
 * is the engine's affair (mezz_engine.own_dr).
 *
 * TSC_AUX is loaded if the guest has an instruction that reads it and its value is
 * not the host's. SPEC_CTRL is written around each world switch, by the engine, if
 * the two differ (or host/spec.h says always) and no control block does it
 * (mezz_host.switch_spec).
 */
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/msr-index.h>

#include "lazy.h"

#define SPEC_CTRL_VALID	((u64)(SPEC_CTRL_IBRS | SPEC_CTRL_STIBP | SPEC_CTRL_SSBD))

DEFINE_PER_CPU(struct mezz_lazy_cpu, mezz_lazy_cpu);

void mezz_lazy_probe(struct mezz_host *host)
{
	host->spec_ctrl = boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL);
	host->switch_spec = host->spec_ctrl && !host->spec_in_block;
	host->tsc_aux = boot_cpu_has(X86_FEATURE_RDTSCP) || boot_cpu_has(X86_FEATURE_RDPID);
}

void mezz_lazy_cpu_on(void)
{
	this_cpu_write(mezz_lazy_cpu.last, NULL);
	if (mezz_host.tsc_aux)
		this_cpu_write(mezz_lazy_cpu.tsc_aux, __rdmsr(MSR_TSC_AUX));
}

void mezz_lazy_forget(struct mezz_vcpu *v)
{
	int cpu;

	for_each_possible_cpu(cpu)
		cmpxchg(&per_cpu(mezz_lazy_cpu, cpu).last, v, NULL);
}

void mezz_lazy_reset(struct mezz_vcpu *v, bool init)
{
	mezz_lazy_set_msr(v, MSR_IA32_SPEC_CTRL, 0);
	if (!init)
		mezz_lazy_set_msr(v, MSR_TSC_AUX, 0);
}

/* --- section begin and end --- */

void mezz_lazy_new_guest(struct mezz_vcpu *v)
{
	this_cpu_write(mezz_lazy_cpu.last, v);
	if (boot_cpu_has(X86_FEATURE_USE_IBPB))
		wrmsrl(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
}

void mezz_lazy_load_tsc_aux(struct mezz_vcpu *v)
{
	struct mezz_lazy *l = &v->lazy;

	if (!l->use_tsc_aux ||
	    (!l->tsc_aux_live && l->tsc_aux == this_cpu_read(mezz_lazy_cpu.tsc_aux)))
		return;
	wrmsrl(MSR_TSC_AUX, l->tsc_aux);
	l->tsc_aux_live = true;
}

void mezz_lazy_unload_tsc_aux(struct mezz_vcpu *v)
{
	wrmsrl(MSR_TSC_AUX, this_cpu_read(mezz_lazy_cpu.tsc_aux));
	v->lazy.tsc_aux_live = false;
}

/* --- debug registers --- */

void mezz_dr_load(struct mezz_vcpu *v)
{
	const u64 *dr = v->lazy.dr7_taken ? v->guest_debug_dr : v->dr;

	if (hw_breakpoint_active())
		set_debugreg(0UL, 7);	/* mezz_lazy_unload() restores it */
	set_debugreg(dr[0], 0);
	set_debugreg(dr[1], 1);
	set_debugreg(dr[2], 2);
	set_debugreg(dr[3], 3);
	v->lazy.dr_live = true;
	if (!v->lazy.dr7_taken)
		mezz_engine->own_dr(v, true);
}

void mezz_dr_unload(struct mezz_vcpu *v)
{
	if (!v->lazy.dr7_taken) {
		get_debugreg(v->dr[0], 0);
		get_debugreg(v->dr[1], 1);
		get_debugreg(v->dr[2], 2);
		get_debugreg(v->dr[3], 3);
		mezz_engine->own_dr(v, false);
		/* r[] has these two whenever they are not live. */
		mezz_get(v, MEZZ_DR6);
		mezz_get(v, MEZZ_DR7);
	}
	set_debugreg(0UL, 0);
	set_debugreg(0UL, 1);
	set_debugreg(0UL, 2);
	set_debugreg(0UL, 3);
	set_debugreg(DR6_RESERVED, 6);
	v->lazy.dr_live = false;
}

void mezz_update_debug(struct mezz_vcpu *v)
{
	if (v->lazy.dr_live)
		mezz_dr_unload(v);
	v->lazy.guest_dr7 = mezz_get(v, MEZZ_DR7);
	v->lazy.dr7_taken = v->guest_debug & KVM_GUESTDBG_USE_HW_BP;
	mezz_engine->update_debug(v);
	if (v->atomic && (mezz_hw_dr7(v) & MEZZ_DR7_ENABLES))
		mezz_dr_load(v);
}

/* --- MSRs --- */

int mezz_lazy_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data)
{
	switch (msr) {
	case MSR_IA32_SPEC_CTRL:
		*data = v->lazy.spec_ctrl;
		return mezz_host.spec_ctrl ? 0 : 1;
	case MSR_TSC_AUX:
		*data = v->lazy.tsc_aux;
		return 0;
	default:
		return 1;
	}
}

static int set_spec_ctrl(struct mezz_vcpu *v, u64 data)
{
	if (data & ~SPEC_CTRL_VALID)
		return 2;
	v->lazy.spec_ctrl = data;
	if (v->atomic)
		mezz_lazy_spec(v);
	if (mezz_host.spec_in_block)
		mezz_engine->update_spec(v);
	return 0;
}

int mezz_lazy_set_msr(struct mezz_vcpu *v, u32 msr, u64 data)
{
	switch (msr) {
	case MSR_IA32_SPEC_CTRL:
		return mezz_host.spec_ctrl ? set_spec_ctrl(v, data) : 1;
	case MSR_IA32_PRED_CMD:
		if (!boot_cpu_has(X86_FEATURE_IBPB))
			return 1;
		if (data)
			wrmsrl(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
		return 0;
	case MSR_TSC_AUX:
		v->lazy.tsc_aux = (u32)data;
		if (v->atomic)
			mezz_lazy_load_tsc_aux(v);
		return 0;
	default:
		return 1;
	}
}
