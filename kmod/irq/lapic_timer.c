// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC's timer: one-shot, periodic and TSC-deadline, over an hrtimer; and
 * TSC-deadline over the engine's timer, where it has one. That one ends the guest by
 * itself, so it saves arming the host's timer and taking its interrupt, which is most of
 * what a deadline costs. It counts in guest mode only: a vCPU that sleeps gets an
 * hrtimer, one that is outside for another reason looks when it comes back.
 *
 * The hrtimer's callback runs in hard interrupt context and only says "fired".
 * The vCPU's own thread does the rest in lapic_timer_sync(): it delivers the
 * interrupt and arms a periodic timer again, so that a guest that does not run
 * costs no interrupts, and so that nothing here needs a lock. A callback that
 * was under way while the guest programmed the timer anew may leave "fired"
 * behind; sync notices because the new time has not come, and arms again.
 *
 * Known hacks: the bus clock is 1 GHz, as on in-tree KVM, whatever the host's
 * is. Periods below MEZZ_MIN_PERIOD_NS are stretched.
 */
#include <linux/math64.h>
#include <asm/tsc.h>
#include "../cpu/cpu.h"
#include "lapic.h"

static enum hrtimer_restart lapic_timer_fn(struct hrtimer *timer)
{
	struct mezz_lapic *l = container_of(timer, struct mezz_lapic, timer);

	WRITE_ONCE(l->fired, 1);
	mezz_poke(l->v, MEZZ_REQ_EVENT);
	return HRTIMER_NORESTART;
}

void lapic_timer_init(struct mezz_lapic *l)
{
	hrtimer_init(&l->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_PINNED_HARD);
	l->timer.function = lapic_timer_fn;
	lapic_timer_divide(l);
}

static bool is_deadline(struct mezz_lapic *l)
{
	return (l->lvt[LVT_TIMER] & LVT_TIMER_MODE) == LVT_TIMER_DEADLINE;
}

static bool is_periodic(struct mezz_lapic *l)
{
	return (l->lvt[LVT_TIMER] & LVT_TIMER_MODE) == LVT_TIMER_PERIODIC;
}

static void disarm_hw(struct mezz_lapic *l)
{
	if (l->hw_timer)
		mezz_engine->set_timer(l->v, 0);
	l->hw_timer = false;
}

void lapic_timer_stop(struct mezz_lapic *l)
{
	disarm_hw(l);
	hrtimer_cancel(&l->timer);
	WRITE_ONCE(l->fired, 0);
	l->expires = 0;
	l->period = 0;
	l->deadline = 0;
}

static void lapic_timer_fire_now(struct mezz_lapic *l)
{
	WRITE_ONCE(l->fired, 1);
	mezz_request(l->v, MEZZ_REQ_EVENT);
}

/* --- TSC deadline --- */

/* Guest TSC ticks to ns, rounded up: early is worse than late. */
static u64 ticks_to_ns(struct mezz_lapic *l, u64 ticks)
{
	u32 khz = mezz_real_khz(l->v);

	if (unlikely(khz != l->tsc_khz)) {
		l->tsc_khz = khz;
		l->tsc_mult = div_u64(1000000ull << 32, khz) + 1;
	}
	/* Beyond 2^40 ms it does not matter any more, but must not wrap. */
	ticks = min(ticks, (u64)khz << 40);
	return mul_u64_u64_shr(ticks, l->tsc_mult, 32) + 1;
}

/* The engine's timer is for a vCPU that runs, and counts the host's ticks. True: it has it. */
static bool arm_hw(struct mezz_lapic *l, u64 now)
{
	struct mezz_vcpu *v = l->v;

	/* Nor "never": engines compare with the host's TSC as signed numbers. */
	if (v->atomic && mezz_engine->set_timer && !v->tsc_ratio && !((l->deadline - now) >> 62) &&
	    mezz_engine->set_timer(v, l->deadline - v->tsc_offset))
		l->hw_timer = true;
	else
		disarm_hw(l);
	return l->hw_timer;
}

/* Arm a timer for what is left until the deadline. */
static void lapic_deadline_arm(struct mezz_lapic *l)
{
	u64 now = mezz_guest_tsc(l->v, rdtsc());
	bool due = l->deadline <= now;

	if (due) {
		disarm_hw(l);
	} else if (!arm_hw(l, now)) {
		hrtimer_start(&l->timer, ns_to_ktime(ticks_to_ns(l, l->deadline - now)),
			      HRTIMER_MODE_REL_PINNED_HARD);
		return;
	}
	if (hrtimer_is_queued(&l->timer))
		hrtimer_try_to_cancel(&l->timer);
	if (due)
		lapic_timer_fire_now(l);
}

void mezz_lapic_set_tscdeadline(struct mezz_vcpu *v, u64 tsc)
{
	struct mezz_lapic *l = v->lapic;

	if (!l || !is_deadline(l) || !l->hw_enabled)
		return;
	l->deadline = tsc;
	WRITE_ONCE(l->fired, 0);
	if (tsc) {
		lapic_deadline_arm(l);
	} else {
		disarm_hw(l);
		hrtimer_try_to_cancel(&l->timer);
	}
}

u64 mezz_lapic_get_tscdeadline(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	if (!l || !is_deadline(l) || !l->hw_enabled)
		return 0;
	if (READ_ONCE(l->fired) || l->hw_timer)
		lapic_timer_sync(l);
	return l->deadline;
}

void mezz_lapic_timer_expired(struct mezz_vcpu *v)
{
	/* Or it would end each entry until somebody looks what has expired. */
	disarm_hw(v->lapic);
	lapic_timer_fire_now(v->lapic);
}

void mezz_lapic_timer_sleeps(struct mezz_vcpu *v)
{
	if (v->lapic && v->lapic->hw_timer)
		lapic_deadline_arm(v->lapic);
}

void mezz_lapic_tsc_changed(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	if (l && l->deadline)
		lapic_deadline_arm(l);
}

/* --- the count registers --- */

void lapic_timer_divide(struct mezz_lapic *l)
{
	u32 t = (l->tdcr & 3) | (l->tdcr & 8) >> 1;

	/* 0: by 2, 1: by 4 ... 6: by 128, 7: by 1 */
	l->divide = 1u << ((t + 1) & 7);
}

static u64 count_to_ns(struct mezz_lapic *l, u32 count)
{
	return (u64)count * LAPIC_BUS_NS * l->divide;
}

static void lapic_timer_limit(struct mezz_lapic *l)
{
	if (is_periodic(l) && l->period && l->period < MEZZ_MIN_PERIOD_NS)
		l->period = MEZZ_MIN_PERIOD_NS;
}

/* Count @ns down, then (periodic) l->period again and again. */
static void lapic_count_arm(struct mezz_lapic *l, u64 ns)
{
	l->expires = ktime_add_ns(ktime_get(), ns);
	hrtimer_start(&l->timer, l->expires, HRTIMER_MODE_ABS_PINNED_HARD);
}

/* Load the counter; it reaches zero for the first time in @first_ns if not 0. */
static void lapic_count_start(struct mezz_lapic *l, u64 first_ns)
{
	WRITE_ONCE(l->fired, 0);
	l->expires = 0;
	l->period = count_to_ns(l, l->tmict);
	if (!l->period) {
		hrtimer_try_to_cancel(&l->timer);
		return;
	}
	lapic_timer_limit(l);
	lapic_count_arm(l, first_ns ? min(first_ns, l->period) : l->period);
}

void lapic_timer_set_count(struct mezz_lapic *l, u32 count)
{
	/* SDM 3, "TSC-Deadline Mode": writes are ignored. */
	if (is_deadline(l))
		return;
	l->tmict = count;
	lapic_count_start(l, 0);
}

u32 lapic_timer_count(struct mezz_lapic *l)
{
	u64 rest;
	s64 left;

	if (!l->tmict || !l->period || !l->expires)
		return 0;
	left = ktime_sub(l->expires, ktime_get());
	if (left <= 0) {
		if (!is_periodic(l))
			return 0;
		/* Expired, but not looked at yet: as if it went on. */
		div64_u64_rem(-left, l->period, &rest);
		left = l->period - rest;
	}
	/* A stretched period is longer than the count. */
	return min_t(u64, div_u64(left, LAPIC_BUS_NS * l->divide), l->tmict);
}

void lapic_timer_set_divide(struct mezz_lapic *l, u32 tdcr)
{
	u32 count = lapic_timer_count(l);
	u32 old = l->divide;

	l->tdcr = tdcr;
	lapic_timer_divide(l);
	if (l->divide != old && l->expires)
		lapic_count_start(l, count_to_ns(l, count ?: 1));
}

void lapic_timer_set_lvt(struct mezz_lapic *l, u32 old)
{
	bool was = (old & LVT_TIMER_MODE) == LVT_TIMER_DEADLINE;

	if (was != is_deadline(l)) {
		/* SDM 3, "TSC-Deadline Mode": a change of mode disarms. */
		lapic_timer_stop(l);
		l->tmict = 0;
	}
	lapic_timer_limit(l);
}

/* A periodic timer goes on from where it should have fired. */
static void lapic_periodic_next(struct mezz_lapic *l)
{
	ktime_t now = ktime_get();
	u64 missed;

	l->expires = ktime_add_ns(l->expires, l->period);
	if (ktime_before(l->expires, now)) {
		missed = div64_u64(ktime_sub(now, l->expires), l->period) + 1;
		l->expires = ktime_add_ns(l->expires, missed * l->period);
	}
	hrtimer_start(&l->timer, l->expires, HRTIMER_MODE_ABS_PINNED_HARD);
}

/* The deadline has not come, by the guest's clock. Return: it has now. */
static bool lapic_deadline_early(struct mezz_lapic *l, u64 left)
{
	/* A leftover, or the clocks differ by more than a microsecond. */
	if (left > l->tsc_khz >> 10) {
		lapic_deadline_arm(l);
		return false;
	}
	while (mezz_guest_tsc(l->v, rdtsc()) < l->deadline)
		cpu_relax();
	return true;
}

static void lapic_deadline_sync(struct mezz_lapic *l)
{
	u64 now;

	if (!l->deadline)
		return;
	now = mezz_guest_tsc(l->v, rdtsc());
	if (unlikely(now < l->deadline) && !lapic_deadline_early(l, l->deadline - now))
		return;
	disarm_hw(l);
	l->deadline = 0;
	lapic_local(l, LVT_TIMER);
}

void lapic_timer_sync(struct mezz_lapic *l)
{
	WRITE_ONCE(l->fired, 0);
	if (is_deadline(l)) {
		lapic_deadline_sync(l);
		return;
	}
	if (!l->expires)
		return;
	if (ktime_before(ktime_get(), l->expires)) {
		hrtimer_start(&l->timer, l->expires, HRTIMER_MODE_ABS_PINNED_HARD);
		return;
	}
	if (is_periodic(l))
		lapic_periodic_next(l);
	else
		l->expires = 0;
	lapic_local(l, LVT_TIMER);
}

void lapic_timer_restore(struct mezz_lapic *l, u32 count)
{
	disarm_hw(l);
	hrtimer_cancel(&l->timer);
	WRITE_ONCE(l->fired, 0);
	l->expires = 0;
	l->period = 0;
	lapic_timer_divide(l);
	if (is_deadline(l)) {
		if (l->deadline)
			lapic_deadline_arm(l);
		return;
	}
	l->deadline = 0;
	/*
	 * A one-shot timer at 0 has expired, and nobody knows whether the guest
	 * got its interrupt: once too often is better than never.
	 */
	if (!count && !is_periodic(l))
		lapic_count_start(l, 1);
	else
		lapic_count_start(l, count_to_ns(l, count));
}
