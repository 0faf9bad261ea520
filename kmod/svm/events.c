// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events on their way into the guest: injection, interrupt shadow, windows, the
 * NMI mask, and single-stepping, which both debuggers and NMIs use.
 *
 * NMI mask without hardware help: an NMI was injected, so IRET is intercepted.
 * The intercept comes before IRET is executed; the mask ends when RIP is seen to
 * have moved on, and if another NMI waits the guest is stepped over the IRET.
 *
 * Software interrupts that are delivered again (INT n, INT3, INTO) have RIP
 * moved behind the instruction, for CPUs that do not save the next RIP, and the
 * same value in next_rip, for those that do. RIP moves back if the delivery was
 * interrupted. One that the guest began by itself is not delivered again: RIP is
 * still at the instruction, which is simply executed once more.
 *
 * Known hack: the trap flag of a step is ours, but visible in flags that the
 * guest pushes during that one instruction.
 *
 * Locking: the vCPU mutex.
 */
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "../host/host.h"
#include "svm.h"

static bool is_soft_exception(u8 vector)
{
	return vector == BP_VECTOR || vector == OF_VECTOR;
}

/* --- injection --- */

/* Take RIP back from behind a software interrupt that has not been delivered. */
static void soft_undo(struct svm_vcpu *svm)
{
	if (!svm->soft_injected)
		return;
	svm->soft_injected = false;
	mezz_set(&svm->v, MEZZ_RIP, svm->soft_rip);
}

static void soft_advance(struct svm_vcpu *svm, unsigned int len)
{
	u64 rip = mezz_get(&svm->v, MEZZ_RIP);

	svm->soft_rip = rip;
	svm->soft_injected = true;
	rip += len;
	if (!mezz_64bit(&svm->v))
		rip = (u32)rip;
	svm->vmcb->c.next_rip = rip;
	svm->soft_next = rip;
	mezz_set(&svm->v, MEZZ_RIP, rip);
}

void svm_inject(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector,
		bool has_err, u32 err, unsigned int insn_len)
{
	struct svm_vcpu *svm = to_svm(v);
	u32 inj = SVM_EV_VALID | vector;

	soft_undo(svm);
	/* The step would leave its trap flag in what this event pushes. */
	svm_step_off(svm, SVM_STEP_NMI);
	switch (type) {
	case MEZZ_EV_IRQ:
		inj |= SVM_EV_TYPE_INTR;
		break;
	case MEZZ_EV_NMI:
		inj |= SVM_EV_TYPE_NMI;
		svm_set_nmi_mask(v, true);
		break;
	case MEZZ_EV_SOFT_INT:
		inj |= SVM_EV_TYPE_SOFT;
		soft_advance(svm, insn_len ?: 2);
		break;
	case MEZZ_EV_EXCEPTION:
	case MEZZ_EV_SOFT_EXC:
		inj |= SVM_EV_TYPE_EXC;
		if (is_soft_exception(vector))
			soft_advance(svm, insn_len ?: 1);
		break;
	}
	if (has_err) {
		inj |= SVM_EV_ERR;
		svm->vmcb->c.event_inj_err = err;
	}
	svm->vmcb->c.event_inj = inj;
	svm->post |= SVM_POST_INJECTED;
}

/* v->ev still says "injected": only the control block has to forget. */
void svm_cancel_injection(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	if (!(svm->vmcb->c.event_inj & SVM_EV_VALID))
		return;
	svm->vmcb->c.event_inj = 0;
	svm->post &= ~SVM_POST_INJECTED;
	soft_undo(svm);
	mezz_request(v, MEZZ_REQ_EVENT);
}

void svm_requeue(struct svm_vcpu *svm, u32 info, u32 err)
{
	enum mezz_event_type type;
	u8 vector = info & SVM_EV_VECTOR;
	bool ours = false;

	/* Its handler may have run long since: then RIP is elsewhere. */
	if (svm->soft_injected && mezz_get(&svm->v, MEZZ_RIP) == svm->soft_next)
		ours = (info & SVM_EV_TYPE) == SVM_EV_TYPE_EXC ||
		       (info & SVM_EV_TYPE) == SVM_EV_TYPE_SOFT;
	if (ours)
		soft_undo(svm);
	svm->soft_injected = false;
	switch (info & SVM_EV_TYPE) {
	case SVM_EV_TYPE_INTR:
		type = MEZZ_EV_IRQ;
		break;
	case SVM_EV_TYPE_NMI:
		type = MEZZ_EV_NMI;
		break;
	case SVM_EV_TYPE_EXC:
		if (is_soft_exception(vector) && !ours)
			return;
		type = MEZZ_EV_EXCEPTION;
		break;
	case SVM_EV_TYPE_SOFT:
		if (!ours)
			return;
		type = MEZZ_EV_SOFT_INT;
		break;
	default:
		return;
	}
	mezz_requeue_event(&svm->v, type, vector, info & SVM_EV_ERR, err, svm->v.ev.insn_len);
}

/*
 * Runs before r[] takes RIP and RFLAGS from the control block, so that r[] still
 * says what they were at entry.
 */
void svm_after_exit(struct svm_vcpu *svm)
{
	struct mezz_vcpu *v = &svm->v;
	struct svm_vmcb *b = svm->vmcb;

	if (svm->post & SVM_POST_INJECTED) {
		svm->post &= ~SVM_POST_INJECTED;
		mezz_event_delivered(v);
		if (!(b->c.exit_int_info & SVM_EV_VALID))
			svm->soft_injected = false;
	}
	if ((svm->post & SVM_POST_STEP) && !(v->r[MEZZ_RFLAGS] & X86_EFLAGS_TF))
		b->s.rflags &= ~(u64)X86_EFLAGS_TF;
	if ((svm->post & SVM_POST_IRET) && b->s.rip != svm->iret_rip) {
		svm_set_nmi_mask(v, false);
		mezz_request(v, MEZZ_REQ_EVENT);
	}
}

/* --- what holds events back --- */

/* Hardware has one shadow for both instructions. */
u32 svm_get_shadow(struct mezz_vcpu *v)
{
	return to_svm(v)->vmcb->c.int_state & SVM_SHADOW ?
		KVM_X86_SHADOW_INT_STI | KVM_X86_SHADOW_INT_MOV_SS : 0;
}

void svm_set_shadow(struct mezz_vcpu *v, u32 shadow)
{
	struct svm_control *c = &to_svm(v)->vmcb->c;

	if (shadow)
		c->int_state |= SVM_SHADOW;
	else
		c->int_state &= ~(u64)SVM_SHADOW;
}

bool svm_irq_allowed(struct mezz_vcpu *v)
{
	return (mezz_get(v, MEZZ_RFLAGS) & X86_EFLAGS_IF) && !svm_get_shadow(v);
}

bool svm_nmi_allowed(struct mezz_vcpu *v)
{
	return !to_svm(v)->nmi_masked && !svm_get_shadow(v);
}

bool svm_get_nmi_mask(struct mezz_vcpu *v)
{
	return to_svm(v)->nmi_masked;
}

void svm_set_nmi_mask(struct mezz_vcpu *v, bool masked)
{
	struct svm_vcpu *svm = to_svm(v);

	svm->nmi_masked = masked;
	svm->iret_pending = false;
	svm->post &= ~SVM_POST_IRET;
	svm_put_intercept(svm, SVM_I_IRET, masked);
}

void svm_iret_seen(struct svm_vcpu *svm)
{
	svm_put_intercept(svm, SVM_I_IRET, false);
	svm->iret_pending = true;
	svm->iret_rip = svm->v.r[MEZZ_RIP];
	svm->post |= SVM_POST_IRET;
	/* If another NMI waits, the NMI window opens now. */
	mezz_request(&svm->v, MEZZ_REQ_EVENT);
}

/* --- windows --- */

/*
 * A virtual interrupt, which is intercepted at the moment when it would be
 * taken (APM2, "Virtual Interrupts"). Its vector is never used.
 */
void svm_open_irq_window(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	if (svm->window)
		return;
	svm->window = true;
	svm->vmcb->c.int_ctl |= SVM_V_IRQ;
	svm_unclean(svm, SVM_CLEAN_TPR);
}

void svm_close_irq_window(struct svm_vcpu *svm)
{
	if (!svm->window)
		return;
	svm->window = false;
	svm->vmcb->c.int_ctl &= ~SVM_V_IRQ;
	svm_unclean(svm, SVM_CLEAN_TPR);
}

void svm_open_nmi_window(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	/* IRET is intercepted and asks again. */
	if (svm->nmi_masked && !svm->iret_pending)
		return;
	if (svm->vmcb->c.event_inj & SVM_EV_VALID) {
		/* Another event goes first: leave as soon as it is delivered. */
		mezz_request(v, MEZZ_REQ_EVENT);
		mezz_kick_cpu(v->cpu);
		return;
	}
	svm_step_on(svm, SVM_STEP_NMI);
}

/* --- single steps --- */

void svm_step_on(struct svm_vcpu *svm, u8 who)
{
	svm->step |= who;
	svm->force_flags = X86_EFLAGS_TF;
	svm->post |= SVM_POST_STEP;
}

void svm_step_off(struct svm_vcpu *svm, u8 who)
{
	svm->step &= ~who;
	if (svm->step)
		return;
	svm->force_flags = 0;
	svm->post &= ~SVM_POST_STEP;
}
