// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events: exceptions, NMIs and interrupts on their way into the guest.
 *
 * The core decides what is delivered and in which order; the engine only
 * writes it into its control block. An event whose delivery was interrupted
 * by an exit comes back from the engine as *injected* and goes first.
 */
#include <linux/kvm.h>
#include <asm/irq_vectors.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "cpu/cpu.h"
#include "host/host.h"
#include "irq/irq.h"
#include "trace.h"
#include "vcpu.h"

/* DR6 bits that are set when inactive; see SDM 3, "Debug Status Register (DR6)". */
#define DR6_ACTIVE_LOW_BITS	0xffff0ff0ull
#define DR6_BS			BIT_ULL(14)
#define DR7_GD			BIT_ULL(13)

enum exc_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

static enum exc_class exc_class(u8 nr)
{
	switch (nr) {
	case PF_VECTOR:
		return PAGE_FAULT;
	case DE_VECTOR:
	case TS_VECTOR:
	case NP_VECTOR:
	case SS_VECTOR:
	case GP_VECTOR:
		return CONTRIBUTORY;
	default:
		return BENIGN;
	}
}

static void set_exception(struct mezz_vcpu *v, u8 nr, bool has_err, u32 err,
			  bool has_payload, u64 payload)
{
	/* Real mode pushes no error codes. */
	v->ev.exc.has_err = has_err && mezz_protected(v);
	v->ev.exc.nr = nr;
	v->ev.exc.err = err;
	v->ev.exc.has_payload = has_payload;
	v->ev.exc.payload = payload;
	v->ev.exc.injected = false;
	v->ev.exc.pending = true;
	mezz_request(v, MEZZ_REQ_EVENT);
}

static void queue(struct mezz_vcpu *v, u8 nr, bool has_err, u32 err,
		  bool has_payload, u64 payload)
{
	enum exc_class first, second;

	if (!v->ev.exc.pending && !v->ev.exc.injected) {
		set_exception(v, nr, has_err, err, has_payload, payload);
		return;
	}
	/* SDM 3, "Interrupt 8 - Double Fault Exception (#DF)" */
	if (v->ev.exc.nr == DF_VECTOR) {
		v->ev.exc.pending = false;
		v->ev.exc.injected = false;
		mezz_request(v, MEZZ_REQ_TRIPLE_FAULT);
		return;
	}
	first = exc_class(v->ev.exc.nr);
	second = exc_class(nr);
	if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
	    (first == PAGE_FAULT && second != BENIGN))
		set_exception(v, DF_VECTOR, true, 0, false, 0);
	else
		/* The first one is lost; the instruction raises it again. */
		set_exception(v, nr, has_err, err, has_payload, payload);
}

void mezz_queue_exception(struct mezz_vcpu *v, u8 nr, bool has_err, u32 err)
{
	queue(v, nr, has_err, err, false, 0);
}

void mezz_queue_ud(struct mezz_vcpu *v)
{
	queue(v, UD_VECTOR, false, 0, false, 0);
}

void mezz_queue_gp(struct mezz_vcpu *v, u32 err)
{
	queue(v, GP_VECTOR, true, err, false, 0);
}

void mezz_queue_pf(struct mezz_vcpu *v, u32 err, u64 cr2)
{
	queue(v, PF_VECTOR, true, err, true, cr2);
}

void mezz_queue_db(struct mezz_vcpu *v, u64 dr6)
{
	queue(v, DB_VECTOR, false, 0, true, dr6);
}

void mezz_singlestep(struct mezz_vcpu *v)
{
	if (v->guest_debug & KVM_GUESTDBG_SINGLESTEP) {
		v->debug_step = true;
		mezz_request(v, MEZZ_REQ_WAKE);
		return;
	}
	mezz_queue_db(v, DR6_BS);
}

/* Write CR2 or DR6 at the moment of delivery, not before. */
static void deliver_payload(struct mezz_vcpu *v)
{
	u64 dr6;

	if (!v->ev.exc.has_payload)
		return;
	v->ev.exc.has_payload = false;
	switch (v->ev.exc.nr) {
	case PF_VECTOR:
		mezz_set(v, MEZZ_CR2, v->ev.exc.payload);
		break;
	case DB_VECTOR:
		/*
		 * B0-B3 are replaced, BD BS BT accumulate, RTM is active low. User space's
		 * payload may have more, with which loading DR6 would fault.
		 */
		dr6 = mezz_get(v, MEZZ_DR6) & ~0xfull;
		mezz_set(v, MEZZ_DR6, dr6 | DR6_ACTIVE_LOW_BITS |
			 ((u32)v->ev.exc.payload & ~DR6_ACTIVE_LOW_BITS));
		mezz_set(v, MEZZ_DR7, mezz_get(v, MEZZ_DR7) & ~DR7_GD);
		break;
	}
	v->ev.exc.payload = 0;
}

static void inject(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector,
		   bool has_err, u32 err)
{
	trace_mezz_inject(v, type, vector, err);
	mezz_engine->inject(v, type, vector, has_err, err, v->ev.insn_len);
}

/* Something whose delivery had begun. Return: true if there was one. */
static bool reinject(struct mezz_vcpu *v)
{
	if (v->ev.exc.injected) {
		bool soft = v->ev.exc.nr == BP_VECTOR || v->ev.exc.nr == OF_VECTOR;

		inject(v, soft && v->ev.insn_len ? MEZZ_EV_SOFT_EXC : MEZZ_EV_EXCEPTION,
		       v->ev.exc.nr, v->ev.exc.has_err, v->ev.exc.err);
	} else if (v->ev.nmi_injected) {
		inject(v, MEZZ_EV_NMI, NMI_VECTOR, false, 0);
	} else if (v->ev.irq.injected) {
		inject(v, v->ev.irq.soft ? MEZZ_EV_SOFT_INT : MEZZ_EV_IRQ, v->ev.irq.nr,
		       false, 0);
	} else {
		return false;
	}
	return true;
}

static bool inject_exception(struct mezz_vcpu *v)
{
	u8 nr = v->ev.exc.nr;

	if (!v->ev.exc.pending)
		return false;
	/* Faults save RF set, so that the handler's IRET does not trap again. */
	if (nr != DB_VECTOR && nr != BP_VECTOR && nr != OF_VECTOR && nr != DF_VECTOR)
		mezz_set(v, MEZZ_RFLAGS, mezz_get(v, MEZZ_RFLAGS) | X86_EFLAGS_RF);
	deliver_payload(v);
	v->ev.exc.pending = false;
	v->ev.exc.injected = true;
	v->ev.insn_len = 0;
	v->stat[MEZZ_STAT_exception_injections]++;
	inject(v, MEZZ_EV_EXCEPTION, nr, v->ev.exc.has_err, v->ev.exc.err);
	return true;
}

/* NMIs that other contexts sent: at most two are kept, one while masked. */
static void collect_nmis(struct mezz_vcpu *v)
{
	unsigned int limit = 2;

	if (!atomic_read(&v->nmi_queued))
		return;
	if (mezz_engine->get_nmi_mask(v) || v->ev.nmi_injected)
		limit = 1;
	v->ev.nmi_pending += atomic_xchg(&v->nmi_queued, 0);
	v->ev.nmi_pending = min(v->ev.nmi_pending, limit);
}

/* User space's controller has one for it, and the local APIC lets it pass. */
static bool ext_irq_waits(struct mezz_vcpu *v)
{
	return v->ext_irq >= 0 && mezz_lapic_takes_pic(v);
}

static bool irq_waits(struct mezz_vcpu *v)
{
	return ext_irq_waits(v) || (v->lapic && mezz_irq_pending(v) >= 0);
}

static bool inject_irq(struct mezz_vcpu *v)
{
	int vector;

	if (ext_irq_waits(v)) {
		vector = v->ext_irq;
		v->ext_irq = -1;
	} else {
		vector = mezz_irq_ack(v);
		if (vector < 0)
			return false;
	}
	v->ev.irq.injected = true;
	v->ev.irq.soft = false;
	v->ev.irq.nr = vector;
	v->ev.insn_len = 0;
	v->stat[MEZZ_STAT_irq_injections]++;
	inject(v, MEZZ_EV_IRQ, vector, false, 0);
	return true;
}

static void open_irq_window(struct mezz_vcpu *v)
{
	v->window_irq = true;
	mezz_engine->open_irq_window(v);
}

void mezz_requeue_event(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector,
			bool has_err, u32 err, unsigned int insn_len)
{
	struct mezz_events *ev = &v->ev;

	ev->insn_len = insn_len;
	switch (type) {
	case MEZZ_EV_NMI:
		ev->nmi_injected = true;
		break;
	case MEZZ_EV_IRQ:
	case MEZZ_EV_SOFT_INT:
		ev->irq.injected = true;
		ev->irq.soft = type == MEZZ_EV_SOFT_INT;
		ev->irq.nr = vector;
		break;
	case MEZZ_EV_EXCEPTION:
	case MEZZ_EV_SOFT_EXC:
		ev->exc.injected = true;
		ev->exc.pending = false;
		ev->exc.has_payload = false;
		ev->exc.nr = vector;
		ev->exc.has_err = has_err;
		ev->exc.err = has_err ? err : 0;
		break;
	}
	mezz_request(v, MEZZ_REQ_EVENT);
}

/* NMIs, then interrupts. @busy: something else goes in already. */
static void inject_external(struct mezz_vcpu *v, bool busy)
{
	collect_nmis(v);
	if (v->ev.nmi_pending && !busy && mezz_engine->nmi_allowed(v)) {
		v->ev.nmi_pending--;
		v->ev.nmi_injected = true;
		v->ev.insn_len = 0;
		v->stat[MEZZ_STAT_nmi_injections]++;
		inject(v, MEZZ_EV_NMI, NMI_VECTOR, false, 0);
		busy = true;
	}
	if (v->ev.nmi_pending)
		mezz_engine->open_nmi_window(v);

	if (irq_waits(v)) {
		if (!busy && mezz_engine->irq_allowed(v))
			inject_irq(v);
		if (irq_waits(v))
			open_irq_window(v);
	}
}

void mezz_inject_events(struct mezz_vcpu *v)
{
	bool busy = reinject(v) || inject_exception(v);
	bool hw = v->vapic && mezz_lapic_load(v);

	/* A debugger that steps may want them to wait. */
	if (likely(!(v->guest_debug & KVM_GUESTDBG_BLOCKIRQ)))
		inject_external(v, busy);
	/* Not one that opens on nothing: between_sections() would ask for it again. */
	if (unlikely(v->run->request_interrupt_window) && !mezz_irqchip_full(v->vm) &&
	    mezz_lapic_takes_pic(v))
		open_irq_window(v);
	/* After the windows, on which the engine's answer may depend. */
	if (v->lapic && !hw)
		mezz_engine->update_cr8(v, mezz_lapic_get_cr8(v), mezz_lapic_masked_irr(v));
}

bool mezz_has_wake_event(struct mezz_vcpu *v)
{
	if (v->ev.exc.pending || v->ev.exc.injected || v->ev.nmi_injected || v->ev.irq.injected)
		return true;
	if ((v->ev.nmi_pending || atomic_read(&v->nmi_queued)) && mezz_engine->nmi_allowed(v))
		return true;
	return (irq_waits(v) || mezz_lapic_wakes(v)) && mezz_engine->irq_allowed(v);
}

void mezz_nmi(struct mezz_vcpu *v)
{
	atomic_inc(&v->nmi_queued);
	mezz_poke(v, MEZZ_REQ_EVENT);
}

#define EVENTS_SETTABLE	(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR | \
			 KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM |	\
			 KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT)

int mezz_get_events(struct mezz_vcpu *v, struct kvm_vcpu_events *e)
{
	memset(e, 0, sizeof(*e));
	collect_nmis(v);
	/*
	 * Without the payload capability user space cannot carry CR2 or DR6
	 * beside the exception, so they are written now.
	 */
	if (!v->vm->exception_payload) {
		deliver_payload(v);
		e->exception.injected = v->ev.exc.injected || v->ev.exc.pending;
	} else {
		e->exception.injected = v->ev.exc.injected;
		e->exception.pending = v->ev.exc.pending;
		e->exception_has_payload = v->ev.exc.has_payload;
		e->exception_payload = v->ev.exc.payload;
		e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	}
	e->exception.nr = v->ev.exc.nr;
	e->exception.has_error_code = v->ev.exc.has_err;
	e->exception.error_code = v->ev.exc.err;

	e->interrupt.injected = v->ev.irq.injected && !v->ev.irq.soft;
	e->interrupt.nr = v->ev.irq.nr;
	/* A vector of KVM_INTERRUPT: its controller holds it for in service. */
	if (!v->lapic && !e->interrupt.injected && v->ext_irq >= 0) {
		e->interrupt.injected = 1;
		e->interrupt.nr = v->ext_irq;
	}
	e->interrupt.shadow = mezz_engine->get_shadow(v);

	e->nmi.injected = v->ev.nmi_injected;
	e->nmi.pending = v->ev.nmi_pending != 0;
	e->nmi.masked = mezz_engine->get_nmi_mask(v);

	e->sipi_vector = mezz_lapic_get_sipi(v);
	e->flags |= KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	if (v->vm->triple_fault_event) {
		e->triple_fault.pending = test_bit(MEZZ_REQ_TRIPLE_FAULT, &v->requests);
		e->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	}
	return 0;
}

static int check_events(struct mezz_vcpu *v, const struct kvm_vcpu_events *e)
{
	bool pending = e->exception.pending && (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD);

	if (e->flags & ~EVENTS_SETTABLE)
		return -EINVAL;
	if ((e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && !v->vm->exception_payload)
		return -EINVAL;
	if (e->exception.injected && pending)
		return -EINVAL;
	if ((e->exception.injected || pending) &&
	    (e->exception.nr > 31 || e->exception.nr == NMI_VECTOR))
		return -EINVAL;
	/* There is no SMM: a guest cannot be in it. */
	if ((e->flags & KVM_VCPUEVENT_VALID_SMM) &&
	    (e->smi.smm || e->smi.pending || e->smi.smm_inside_nmi || e->smi.latched_init))
		return -EINVAL;
	if ((e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) && !v->vm->triple_fault_event)
		return -EINVAL;
	return 0;
}

int mezz_set_events(struct mezz_vcpu *v, const struct kvm_vcpu_events *e)
{
	int r = check_events(v, e);

	if (r)
		return r;
	v->ev.exc.injected = e->exception.injected;
	v->ev.exc.pending = (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) && e->exception.pending;
	v->ev.exc.nr = e->exception.nr;
	v->ev.exc.has_err = e->exception.has_error_code;
	v->ev.exc.err = e->exception.error_code;
	v->ev.exc.has_payload = (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) &&
				e->exception_has_payload;
	v->ev.exc.payload = e->exception_payload;

	v->ev.irq.injected = e->interrupt.injected;
	v->ev.irq.nr = e->interrupt.nr;
	v->ev.irq.soft = e->interrupt.soft;
	/* Without a local APIC it is KVM_INTERRUPT's again, and waits for IF like one. */
	if (!v->lapic) {
		bool hard = e->interrupt.injected && !e->interrupt.soft;

		v->ext_irq = hard ? e->interrupt.nr : -1;
		v->ev.irq.injected &= !hard;
	}
	v->ev.insn_len = 0;
	if (e->flags & KVM_VCPUEVENT_VALID_SHADOW)
		mezz_engine->set_shadow(v, e->interrupt.shadow);

	v->ev.nmi_injected = e->nmi.injected;
	if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING) {
		v->ev.nmi_pending = e->nmi.pending;
		atomic_set(&v->nmi_queued, 0);
	}
	mezz_engine->set_nmi_mask(v, e->nmi.masked);
	if (e->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR)
		mezz_lapic_set_sipi(v, e->sipi_vector);

	if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) {
		if (e->triple_fault.pending)
			mezz_request(v, MEZZ_REQ_TRIPLE_FAULT);
		else
			clear_bit(MEZZ_REQ_TRIPLE_FAULT, &v->requests);
	}
	mezz_request(v, MEZZ_REQ_EVENT);
	return 0;
}
