// SPDX-License-Identifier: GPL-2.0-only
/*
 * The run loop: from KVM_RUN to the guest and back.
 *
 * Two levels. The inner one (run_section) enters the guest again and again
 * with interrupts off for as long as exits can be settled there. The outer one
 * (run_loop) does what may sleep: signals, scheduling, blocking in HLT, faults
 * that need the host's memory manager, and exits to user space.
 *
 * The read side of vm->srcu is held across a section and the slow handler that
 * follows it; whoever replaces something below it pokes the vCPUs out first
 * and keeps them out (mezz_synchronize).
 */
#include <linux/ratelimit.h>
#include <linux/sched/signal.h>
#include <linux/signal.h>
#include <asm/trapnr.h>

#include "cpu/cpu.h"
#include "emulate/emulate.h"
#include "host/abi.h"
#include "host/host.h"
#include "host/spec.h"
#include "host/work.h"
#include "irq/irq.h"
#include "pv/pv.h"
#include "trace.h"
#include "vcpu.h"

/* DR6 after a single step: BS, and the bits that always read 1. */
#define DR6_BS		BIT_ULL(14)
#define DR6_FIXED_1	0xffff0ff0ull

/* The section ended without an exit to settle. Never leaves this file. */
#define SECTION_OVER	3

/*
 * Exits of one section at most. Hardware ends the guest for each interrupt of the
 * host, so this should not be needed; but Bochs (2.7) has none for a guest with
 * IF = 0 that exits again after one or two instructions, and a CPU that never
 * takes interrupts is a high price for trusting an emulator or an erratum.
 */
#define SECTION_EXITS	256

int mezz_internal_error(struct mezz_vcpu *v, u32 suberror, const u64 *data, unsigned int n)
{
	struct kvm_run *run = v->run;

	n = min_t(unsigned int, n, ARRAY_SIZE(run->internal.data));
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = suberror;
	run->internal.ndata = n;
	memcpy(run->internal.data, data, n * sizeof(*data));
	return MEZZ_USER;
}

int mezz_fail_entry(struct mezz_vcpu *v, u64 why)
{
	static DEFINE_RATELIMIT_STATE(dumps, 10 * HZ, 2);
	struct kvm_run *run = v->run;

	if (__ratelimit(&dumps))
		mezz_engine->dump(v);
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = why;
	run->fail_entry.cpu = v->cpu;
	return MEZZ_USER;
}

/* Requests that are settled with IRQs off. MEZZ_RESUME: enter the guest. */
static int section_requests(struct mezz_vcpu *v)
{
	if (READ_ONCE(v->requests) & MEZZ_REQ_SLOW_MASK)
		return SECTION_OVER;
	/* Orders the requests' bits before the data that they announce. */
	smp_mb__after_atomic();
	if (test_and_clear_bit(MEZZ_REQ_MEMORY_FLUSH, &v->requests)) {
		mezz_engine->flush_memory(v);
		v->stat[MEZZ_STAT_tlb_flushes]++;
	}
	if (test_and_clear_bit(MEZZ_REQ_TLB_FLUSH, &v->requests)) {
		mezz_engine->flush_tlb(v);
		v->stat[MEZZ_STAT_tlb_flushes]++;
	}
	if (test_and_clear_bit(MEZZ_REQ_EVENT, &v->requests)) {
		mezz_inject_events(v);
		/* Asked for by this thread meanwhile, so that no IPI follows (PV EOI). */
		if (READ_ONCE(v->requests) & MEZZ_REQ_SLOW_MASK)
			return SECTION_OVER;
	}
	return MEZZ_RESUME;
}

/*
 * One section. Returns what the last handler said, or SECTION_OVER. With
 * MEZZ_SLOW, v->exit->handler must be called (again) outside.
 */
static int run_section(struct mezz_vcpu *v)
{
	unsigned int left = SECTION_EXITS;
	const struct mezz_exit *e;
	int r;

	preempt_disable();
	mezz_fpu_load(v);
	local_irq_disable();
	v->cpu = smp_processor_id();
	v->atomic = true;
	/* Pairs with the barriers in mezz_kick() and mezz_leave_guests(). */
	smp_store_mb(v->mode, MEZZ_IN_SECTION);
	mezz_engine->load(v);
	if (v->last_cpu != v->cpu)
		mezz_pv_migrated(v);
	v->last_cpu = v->cpu;
	v->stat[MEZZ_STAT_sections]++;

	do {
		if (unlikely(mezz_work_pending())) {
			r = SECTION_OVER;
			break;
		}
		if (READ_ONCE(v->requests)) {
			r = section_requests(v);
			if (unlikely(r != MEZZ_RESUME))
				break;
		}
		trace_mezz_entry(v);
		r = mezz_engine->enter(v);
		e = v->exit;
		v->stat[MEZZ_STAT_exits]++;
		if (unlikely(r != MEZZ_RESUME))
			break;
		v->stat[e->stat]++;
		trace_mezz_exit(v);
		r = e->atomic ? e->handler(v) : MEZZ_SLOW;
		if (unlikely(!--left) && r == MEZZ_RESUME)
			r = SECTION_OVER;
	} while (likely(r == MEZZ_RESUME));

	mezz_engine->unload(v);
	v->atomic = false;
	mezz_guest_ran();
	/* No register of the guest is on this CPU from here on. */
	smp_store_release(&v->mode, MEZZ_OUTSIDE);
	local_irq_enable();
	mezz_fpu_unload(v);
	preempt_enable();
	return r;
}

/* Is there a reason not to sleep in HLT or while waiting for INIT or SIPI? */
static bool must_wake(struct mezz_vcpu *v)
{
	unsigned long asked = READ_ONCE(v->requests) & MEZZ_REQ_SLOW_MASK;

	/* What else is asked for has to wait until it runs, for the first time. */
	if (v->mp.mp_state == KVM_MP_STATE_UNINITIALIZED)
		asked &= BIT(MEZZ_REQ_DEAD);
	if (asked)
		return true;
	if (mezz_lapic_init_sipi_pending(v))
		return true;
	return v->mp.mp_state == KVM_MP_STATE_HALTED && mezz_has_wake_event(v);
}

/* Sleep until something happens. */
static void block(struct mezz_vcpu *v)
{
	prepare_to_rcuwait(&v->wait);
	for (;;) {
		/* Full barrier: the state is visible before the conditions are read. */
		set_current_state(TASK_INTERRUPTIBLE);
		if (must_wake(v) || signal_pending(current))
			break;
		schedule();
	}
	finish_rcuwait(&v->wait);
	v->stat[MEZZ_STAT_halt_wakeups]++;
}

static int intr_exit(struct mezz_vcpu *v)
{
	v->run->exit_reason = KVM_EXIT_INTR;
	v->stat[MEZZ_STAT_signal_exits]++;
	return -EINTR;
}

/* A request that may find no memory: then the next KVM_RUN settles it, or none. */
static int settle(struct mezz_vcpu *v, enum mezz_request req, int (*fn)(struct mezz_vcpu *v))
{
	int r;

	if (!test_and_clear_bit(req, &v->requests))
		return 0;
	r = fn(v);
	if (r)
		mezz_request(v, req);
	return r;
}

/* Requests that may sleep or that leave to user space. SRCU read side held. */
static int slow_requests(struct mezz_vcpu *v)
{
	struct kvm_run *run = v->run;
	int r;

	if (test_bit(MEZZ_REQ_DEAD, &v->requests))
		return -EIO;
	if (test_and_clear_bit(MEZZ_REQ_TRIPLE_FAULT, &v->requests)) {
		run->exit_reason = KVM_EXIT_SHUTDOWN;
		return MEZZ_USER;
	}
	if (test_and_clear_bit(MEZZ_REQ_IOAPIC_EOI, &v->requests)) {
		run->exit_reason = KVM_EXIT_IOAPIC_EOI;
		run->eoi.vector = v->ioapic_eoi;
		return MEZZ_USER;
	}
	if (test_bit(MEZZ_REQ_RING_FULL, &v->requests)) {
		/* Asked again by the next KVM_RUN, until there is room. */
		if (mezz_ring_full(v)) {
			run->exit_reason = KVM_EXIT_DIRTY_RING_FULL;
			return MEZZ_USER;
		}
		clear_bit(MEZZ_REQ_RING_FULL, &v->requests);
	}
	r = settle(v, MEZZ_REQ_MSR_FILTER, mezz_msr_filter_apply);
	r = r ?: settle(v, MEZZ_REQ_LOG, mezz_log_apply);
	if (r)
		return r;
	if (test_and_clear_bit(MEZZ_REQ_CLOCK, &v->requests))
		mezz_pv_update_clock(v);
	if (test_and_clear_bit(MEZZ_REQ_STEAL, &v->requests))
		mezz_pv_update_steal(v);
	if (test_and_clear_bit(MEZZ_REQ_APF_READY, &v->requests))
		mezz_pv_apf_ready(v);
	clear_bit(MEZZ_REQ_WAKE, &v->requests);
	if (unlikely(v->debug_step)) {
		v->debug_step = false;
		return mezz_debug_exit(v, DB_VECTOR, DR6_BS | DR6_FIXED_1);
	}
	return MEZZ_RESUME;
}

/* Could an interrupt of user space's be delivered now? */
static bool takes_irq(struct mezz_vcpu *v)
{
	return v->ext_irq < 0 && !v->ev.irq.injected && !v->ev.exc.injected &&
	       !v->ev.exc.pending && mezz_lapic_takes_pic(v) && mezz_engine->irq_allowed(v);
}

/* User space asked to know when the guest can take an interrupt. */
static bool window_is_open(struct mezz_vcpu *v)
{
	return v->run->request_interrupt_window && !mezz_irqchip_full(v->vm) && takes_irq(v);
}

/* Sleep until the vCPU has something to do. SRCU read side dropped and taken again. */
static int doze(struct mezz_vcpu *v, int *idx)
{
	mezz_pv_preempted(v);
	mezz_lapic_timer_sleeps(v);
	mezz_read_unlock(v->vm, *idx);
	block(v);
	*idx = mezz_read_lock(v->vm);
	mezz_request(v, MEZZ_REQ_EVENT);
	/* Before STEAL, which is a reason not to sleep, is asked for. */
	if (signal_pending(current) && !must_wake(v))
		return intr_exit(v);
	mezz_request(v, MEZZ_REQ_STEAL);
	return SECTION_OVER;
}

/*
 * The guest needs a page that is being fetched. It is halted as by HLT, so that its
 * interrupts are taken meanwhile; but it executed none, and nobody else may see one.
 */
static int await_page(struct mezz_vcpu *v, int *idx)
{
	int r;

	/* As for HLT: asked here, where the guest's memory may be looked at. */
	if (mezz_has_wake_event(v)) {
		mezz_request(v, MEZZ_REQ_EVENT);
		return SECTION_OVER;
	}
	v->mp.mp_state = KVM_MP_STATE_HALTED;
	v->awaits_page = true;
	r = doze(v, idx);
	v->awaits_page = false;
	v->mp.mp_state = KVM_MP_STATE_RUNNABLE;
	return r;
}

/*
 * Everything between two sections. MEZZ_RESUME: open the next section.
 * Called and returns with the SRCU read side held; drops it to sleep.
 */
static int between_sections(struct mezz_vcpu *v, int *idx)
{
	int r;

	if (READ_ONCE(v->requests) & MEZZ_REQ_SLOW_MASK) {
		r = slow_requests(v);
		if (r != MEZZ_RESUME)
			return r;
		if (unlikely(test_and_clear_bit(MEZZ_REQ_APF_HALT, &v->requests)))
			return await_page(v, idx);
	}
	if (v->lapic && mezz_lapic_init_sipi_pending(v))
		mezz_lapic_accept_events(v);

	if (v->mp.mp_state != KVM_MP_STATE_RUNNABLE) {
		if (v->mp.mp_state == KVM_MP_STATE_HALTED && mezz_has_wake_event(v)) {
			v->mp.mp_state = KVM_MP_STATE_RUNNABLE;
			mezz_request(v, MEZZ_REQ_EVENT);
			return MEZZ_RESUME;
		}
		return doze(v, idx);
	}
	if (unlikely(v->run->request_interrupt_window) && window_is_open(v)) {
		v->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
		return MEZZ_USER;
	}
	if (unlikely(mezz_work_pending())) {
		mezz_pv_preempted(v);
		mezz_read_unlock(v->vm, *idx);
		r = mezz_do_work();
		*idx = mezz_read_lock(v->vm);
		mezz_request(v, MEZZ_REQ_STEAL);
		return r ? intr_exit(v) : SECTION_OVER;
	}
	return MEZZ_RESUME;
}

/* Let writers of slots, buses and routes have their grace period. */
static int let_writers_in(struct mezz_vcpu *v)
{
	return wait_event_interruptible(v->vm->writers_gone, !atomic_read(&v->vm->writers)) ?
		intr_exit(v) : SECTION_OVER;
}

/* Called and returns with the SRCU read side held. */
static long run_loop(struct mezz_vcpu *v, int *idx)
{
	int r;

	do {
		r = between_sections(v, idx);
		/* A poke that is cleared by now came after its writer was counted. */
		if (r == MEZZ_RESUME && unlikely(atomic_read(&v->vm->writers))) {
			mezz_read_unlock(v->vm, *idx);
			r = let_writers_in(v);
			*idx = mezz_read_lock(v->vm);
		}
		if (r == SECTION_OVER)
			continue;
		if (r != MEZZ_RESUME)
			break;
		if (unlikely(mezz_host.partial) && !mezz_engine->runnable(v))
			r = mezz_run_software(v);
		else
			r = run_section(v);
		if (r == MEZZ_SLOW)
			r = v->exit->handler(v);
		if (r == SECTION_OVER || r == MEZZ_RESUME) {
			/*
			 * A slow handler may have waited long: let writers of
			 * slots and buses through before the next section.
			 */
			mezz_read_unlock(v->vm, *idx);
			*idx = mezz_read_lock(v->vm);
		}
	} while (r == MEZZ_RESUME || r == SECTION_OVER);
	return r;
}

/* User space did its part of an exit (PIO in, MMIO read...): use it. SRCU held. */
static long complete_exit(struct mezz_vcpu *v)
{
	int (*complete)(struct mezz_vcpu *v) = v->complete;

	if (!complete)
		return MEZZ_RESUME;
	v->complete = NULL;
	return complete(v);
}

static void sigset_on(struct mezz_vcpu *v)
{
	if (v->sigset_active)
		sigprocmask(SIG_SETMASK, &v->sigset, &current->real_blocked);
}

static void sigset_off(struct mezz_vcpu *v)
{
	if (!v->sigset_active)
		return;
	sigprocmask(SIG_SETMASK, &current->real_blocked, NULL);
	sigemptyset(&current->real_blocked);
}

/* What every exit to user space reports beside its reason. */
static void fill_run(struct mezz_vcpu *v)
{
	struct kvm_run *run = v->run;

	run->if_flag = !!(mezz_get(v, MEZZ_RFLAGS) & X86_EFLAGS_IF);
	run->cr8 = mezz_get_cr8(v);
	run->apic_base = v->apic_base;
	/* In the order of what is cheap to ask: this is paid by every exit to user space. */
	run->ready_for_interrupt_injection = (v->lapic && mezz_irqchip_full(v->vm)) ||
		(run->if_flag && takes_irq(v));
	if (unlikely(run->kvm_valid_regs))
		mezz_store_sync_regs(v);
}

/* A vCPU that waits for INIT/SIPI: KVM_RUN sleeps, then says EAGAIN. */
static long run_uninitialized(struct mezz_vcpu *v)
{
	/* As after an exit: what kvm_run says of the last one stays. */
	if (mezz_immediate_exit(v->run))
		return -EINTR;
	block(v);
	mezz_lapic_accept_events(v);
	clear_bit(MEZZ_REQ_WAKE, &v->requests);
	if (signal_pending(current))
		return intr_exit(v);
	return -EAGAIN;
}

static long start_run(struct mezz_vcpu *v)
{
	struct kvm_run *run = v->run;
	int idx;
	long r;

	if (v->mp.mp_state == KVM_MP_STATE_UNINITIALIZED && v->lapic)
		return run_uninitialized(v);
	if ((run->kvm_valid_regs | run->kvm_dirty_regs) & ~KVM_SYNC_X86_VALID_FIELDS)
		return -EINVAL;
	if (run->kvm_dirty_regs) {
		r = mezz_load_sync_regs(v);
		if (r)
			return r;
	}
	if (!v->lapic && run->cr8 != v->cr8 && mezz_set_cr8(v, run->cr8))
		return -EINVAL;
	idx = mezz_read_lock(v->vm);
	r = complete_exit(v);
	if (r != MEZZ_RESUME)
		goto out;
	/* Completing an exit this way leaves its reason for user space to read. */
	if (mezz_immediate_exit(run)) {
		r = -EINTR;
		goto out;
	}
	if (v->pv_on)
		mezz_request(v, MEZZ_REQ_STEAL);
	/* Asked for anew by every KVM_RUN. */
	if (run->request_interrupt_window)
		mezz_request(v, MEZZ_REQ_EVENT);
	r = run_loop(v, &idx);
out:
	mezz_read_unlock(v->vm, idx);
	return r;
}

/**
 * mezz_vcpu_run() - the KVM_RUN ioctl
 * @v: the vCPU, its mutex held
 * Context: process context of the VM's mm.
 * Return: 0 with kvm_run filled in, or an errno.
 */
long mezz_vcpu_run(struct mezz_vcpu *v)
{
	long r;

	sigset_on(v);
	v->run->flags = 0;
	r = start_run(v);
	if (r == MEZZ_USER)
		v->stat[MEZZ_STAT_user_exits]++;
	if (v->pv_on)
		mezz_pv_preempted(v);
	fill_run(v);
	sigset_off(v);
	return r;
}
