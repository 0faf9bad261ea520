// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that runs in software for a while, because its CPU is in a state that the
 * hardware cannot execute (mezz_engine.runnable): real mode, and what follows it, on
 * CPUs without unrestricted guest.
 *
 * Instruction by instruction, outside of sections, with the emulator that serves
 * exits; instructions that exit on hardware go to the handlers of those exits. Real
 * mode takes its interrupts and exceptions through the vector table here. In protected
 * mode none can be delivered in software: there they wait for the hardware, and what
 * the instruction itself raises is an internal error.
 *
 * Left out: the FPU (but for vector moves).
 */
#include <asm/msr.h>
#include <asm/trapnr.h>

#include "cpu/cpu.h"
#include "emulate/emulate.h"
#include "emulate/exec_int.h"
#include "emulate/glue.h"
#include "host/work.h"
#include "trace.h"

/* Instructions between two looks at signals and at writers of slots and buses. */
#define SOFTWARE_BATCH	64

static int rdtsc_insn(struct mezz_vcpu *v)
{
	u64 tsc = mezz_guest_tsc(v, rdtsc());

	mezz_set_gpr(v, MEZZ_RAX, (u32)tsc);
	mezz_set_gpr(v, MEZZ_RDX, tsc >> 32);
	mezz_skip(v, v->emul->e.insn.len);
	return MEZZ_RESUME;
}

/* VMCALL and VMMCALL: one of them is undefined on this CPU. */
static int hypercall_insn(struct mezz_vcpu *v)
{
	if (v->emul->e.insn.modrm == mezz_engine->hypercall[2])
		return mezz_exit_hypercall(v);
	return mezz_exit_exception(v, UD_VECTOR, false, 0);
}

/* Instructions that exit where hardware runs the guest. */
static const struct {
	int (*handler)(struct mezz_vcpu *v);
	bool any_cpl;
} exits[MEZZ_NR_OPS] = {
	[MEZZ_OP_HLT] = { mezz_exit_hlt },
	[MEZZ_OP_CPUID] = { mezz_exit_cpuid, true },
	[MEZZ_OP_RDMSR] = { mezz_exit_rdmsr },
	[MEZZ_OP_WRMSR] = { mezz_exit_wrmsr },
	[MEZZ_OP_RDTSC] = { rdtsc_insn, true },
	[MEZZ_OP_RDPMC] = { mezz_exit_rdpmc, true },
	[MEZZ_OP_XSETBV] = { mezz_exit_xsetbv },
	[MEZZ_OP_VMCALL] = { hypercall_insn, true },
	[MEZZ_OP_VMMCALL] = { hypercall_insn, true },
	[MEZZ_OP_VIRT] = { mezz_exit_ud, true },
	[MEZZ_OP_RSM] = { mezz_exit_ud, true },
};

int emul_exit_insn(struct mezz_vcpu *v)
{
	const struct mezz_emul *e = &v->emul->e;

	if (!exits[e->insn.op].handler)
		return MEZZ_SLOW;
	if (!exits[e->insn.op].any_cpl && mezz_engine->cpl(v)) {
		mezz_queue_gp(v, 0);
		return MEZZ_RESUME;
	}
	return exits[e->insn.op].handler(v);
}

void mezz_emul_deliver(struct mezz_vcpu *v, u8 vector)
{
	struct mezz_emul_vcpu *s = v->emul;
	struct mezz_emul *e = &s->e;
	int rc;

	if (mezz_protected(v))
		return;		/* stays injected, until hardware runs the guest */
	if (v->ev.nmi_injected)
		mezz_engine->set_nmi_mask(v, true);
	mezz_get(v, MEZZ_RSP);
	e->rip = mezz_get(v, MEZZ_RIP);
	/* INT n whose delivery was interrupted */
	if (v->ev.insn_len)
		e->rip = (u16)(e->rip + v->ev.insn_len);
	e->rflags = mezz_get(v, MEZZ_RFLAGS);
	e->cr0 = mezz_get(v, MEZZ_CR0);
	e->efer = mezz_get(v, MEZZ_EFER);
	e->cpl = 0;
	s->code_mode = -1;
	/* Nothing of the last instruction's accesses is this delivery's. */
	s->gpa = MEZZ_NO_GPA;
	s->nread = 0;
	s->nlog = 0;
	s->nwrite = 0;
	s->done = 0;
	s->busy = false;
	rc = mezz_emul_interrupt(e, vector);
	v->ev.exc.injected = false;
	v->ev.irq.injected = false;
	v->ev.nmi_injected = false;
	if (rc) {
		/* No table, or no stack: no double fault can be delivered either. */
		mezz_request(v, MEZZ_REQ_TRIPLE_FAULT);
		return;
	}
	mezz_set(v, MEZZ_RSP, e->r[MEZZ_RSP]);
	mezz_set(v, MEZZ_RFLAGS, e->rflags);
	mezz_set(v, MEZZ_RIP, e->rip);
	mezz_engine->set_shadow(v, 0);
}

/*
 * As in a section: what the request says, and windows that would have opened. In protected
 * mode, which is a few instructions long here, only exceptions are looked at: nothing here
 * can deliver the rest, and the request waits for the hardware.
 */
static void events(struct mezz_vcpu *v)
{
	if (mezz_protected(v) && !v->ev.exc.pending && !v->ev.exc.injected)
		return;
	if (!test_and_clear_bit(MEZZ_REQ_EVENT, &v->requests) && !v->window_irq &&
	    !v->ev.nmi_pending)
		return;
	v->window_irq = false;
	mezz_inject_events(v);
}

int mezz_run_software(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;
	int r = MEZZ_RESUME, n;

	s->software = true;
	for (n = 0; n < SOFTWARE_BATCH && r == MEZZ_RESUME; n++) {
		if ((READ_ONCE(v->requests) & MEZZ_REQ_SLOW_MASK) || mezz_work_pending())
			break;
		events(v);
		if (READ_ONCE(v->requests) & MEZZ_REQ_SLOW_MASK)
			break;
		r = mezz_emulate(v, MEZZ_NO_GPA, false);
		if (mezz_engine->runnable(v))
			break;
	}
	s->software = false;
	return r;
}
