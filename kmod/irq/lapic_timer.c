// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC's timer: one-shot, periodic and TSC-deadline, over an hrtimer.
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

void lapic_timer_stop(struct mezz_lapic *l)
{
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

/* Guest TSC ticks to ns. */
static u64 ticks_to_ns(struct mezz_lapic *l, u64 ticks)
{
	u32 khz = l->v->tsc_khz ?: tsc_khz;

	if (unlikely(khz != l->tsc_khz)) {
		l->tsc_khz = khz;
		l->tsc_mult = div_u64(1000000ull << 32, khz ?: 1);
	}
	/* Beyond a few years it does not matter any more, but must not wrap. */
	return mul_u64_u64_shr(min_t(u64, ticks, 1ull << 56), l->tsc_mult, 32);
}

/* Arm the hrtimer for what is left until the deadline. */
static void lapic_deadline_arm(struct mezz_lapic *l)
{
	u64 now = mezz_guest_tsc(l->v, rdtsc());
	u64 ns;

	if (unlikely(l->deadline <= now)) {
		if (hrtimer_is_queued(&l->timer))
			hrtimer_try_to_cancel(&l->timer);
		lapic_timer_fire_now(l);
		return;
	}
	ns = ticks_to_ns(l, l->deadline - now);
	hrtimer_start(&l->timer, ns_to_ktime(min_t(u64, ns, KTIME_MAX / 2)),
		      HRTIMER_MODE_REL_PINNED_HARD);
}

void mezz_lapic_set_tscdeadline(struct mezz_vcpu *v, u64 tsc)
{
	struct mezz_lapic *l = v->lapic;

	if (!l || !is_deadline(l) || !l->hw_enabled)
		return;
	l->deadline = tsc;
	WRITE_ONCE(l->fired, 0);
	if (tsc)
		lapic_deadline_arm(l);
	else
		hrtimer_try_to_cancel(&l->timer);
}

u64 mezz_lapic_get_tscdeadline(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	if (!l || !is_deadline(l) || !l->hw_enabled)
		return 0;
	if (READ_ONCE(l->fired))
		lapic_timer_sync(l);
	return l->deadline;
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

static void lapic_count_start(struct mezz_lapic *l, u64 first_ns)
{
	hrtimer_cancel(&l->timer);
	WRITE_ONCE(l->fired, 0);
	l->expires = 0;
	l->period = count_to_ns(l, l->tmict);
	if (!l->period)
		return;
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
	s64 left;
	u64 rest;

	if (!l->tmict || !l->period || !l->expires)
		return 0;
	left = ktime_sub(l->expires, ktime_get());
	if (left > 0)
		div64_u64_rem(left, l->period, &rest);
	else if (!is_periodic(l))
		return 0;
	else
		div64_u64_rem(-left, l->period, &rest), rest = l->period - rest;
	return div_u64(rest, LAPIC_BUS_NS * l->divide);
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

void lapic_timer_sync(struct mezz_lapic *l)
{
	WRITE_ONCE(l->fired, 0);
	if (is_deadline(l)) {
		if (!l->deadline)
			return;
		/* A leftover, or the clocks differ by more than a microsecond. */
		if (mezz_guest_tsc(l->v, rdtsc()) + (l->tsc_khz >> 10) < l->deadline) {
			lapic_deadline_arm(l);
			return;
		}
		l->deadline = 0;
		lapic_local(l, LVT_TIMER);
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
	u64 deadline = l->deadline;

	hrtimer_cancel(&l->timer);
	WRITE_ONCE(l->fired, 0);
	l->expires = 0;
	lapic_timer_divide(l);
	if (!is_deadline(l)) {
		l->deadline = 0;
		lapic_count_start(l, count_to_ns(l, count));
		return;
	}
	l->period = 0;
	l->deadline = deadline;
	if (deadline)
		lapic_deadline_arm(l);
}

void mezz_lapic_migrate(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	if (l && hrtimer_try_to_cancel(&l->timer) == 1)
		hrtimer_start_expires(&l->timer, HRTIMER_MODE_ABS_PINNED_HARD);
}
