// SPDX-License-Identifier: GPL-2.0-only
/*
 * A local APIC that the hardware acts for: the guest takes interrupts, signals EOI
 * and writes TPR without an exit.
 *
 * Such hardware works on a page with the registers in the xAPIC's layout, and of them
 * on TPR, PPR, ISR and IRR only. They are loaded into it before an entry and stay
 * there until somebody in the kernel changes one, or the guest goes on without the
 * hardware: then lapic_pull() takes them back, and the next entry loads them again.
 * Meanwhile senders go on setting bits of l->irr: new ones, on their way to the page.
 *
 * Left to others: all other registers, whose accesses exit. Only x2APIC mode is done,
 * because accesses to the xAPIC's page would have to be found in the second stage.
 *
 * Known hacks: an RTC interrupt that is sent while the registers are taken back may
 * not find its predecessor (mezz_msg_pending), and is not reported as coalesced.
 */
#include "lapic.h"

static u32 *hw_reg(const struct mezz_lapic *l, u32 reg)
{
	return l->v->vapic + reg * 4;
}

/* 64 bits of a 256-bit map that begins with register @reg. */
static unsigned long hw_map(const struct mezz_lapic *l, u32 reg, unsigned int n)
{
	const u32 *p = hw_reg(l, reg + 2 * n);

	return READ_ONCE(p[0]) | (unsigned long)READ_ONCE(p[4]) << 32;
}

static void set_hw_map(const struct mezz_lapic *l, u32 reg, unsigned int n, unsigned long val)
{
	u32 *p = hw_reg(l, reg + 2 * n);

	WRITE_ONCE(p[0], val);
	WRITE_ONCE(p[4], val >> 32);
}

static int hw_highest(const struct mezz_lapic *l, u32 reg)
{
	unsigned long map[BITS_TO_LONGS(256)];
	int i;

	for (i = 0; i < ARRAY_SIZE(map); i++)
		map[i] = hw_map(l, reg, i);
	return lapic_highest(map);
}

/* --- questions about what the page has; the registers are loaded --- */

u32 lapic_hw_tpr(const struct mezz_lapic *l)
{
	return READ_ONCE(*hw_reg(l, APR_TPR));
}

bool lapic_hw_pending(const struct mezz_lapic *l, u8 vector)
{
	return READ_ONCE(*hw_reg(l, APR_IRR + vector / 32)) & BIT(vector % 32);
}

bool mezz_lapic_wakes(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;
	int irr;

	if (!l || !l->loaded)
		return false;
	irr = max(lapic_highest(l->irr), hw_highest(l, APR_IRR));
	return irr >= 0 && lapic_above(irr, lapic_hw_tpr(l), hw_highest(l, APR_ISR));
}

/* --- to the page and back --- */

void lapic_pull_regs(struct mezz_lapic *l)
{
	unsigned long irr;
	int i;

	for (i = 0; i < BITS_TO_LONGS(256); i++) {
		l->isr[i] = hw_map(l, APR_ISR, i);
		irr = hw_map(l, APR_IRR, i);
		if (!irr)
			continue;
		atomic_long_or(irr, (atomic_long_t *)&l->irr[i]);
		set_hw_map(l, APR_IRR, i, 0);
	}
	l->isr_top = lapic_highest(l->isr);
	l->tpr = lapic_hw_tpr(l);
	WRITE_ONCE(l->loaded, false);
	mezz_request(l->v, MEZZ_REQ_EVENT);
}

/* What senders have left in l->irr. Return: its highest vector, -1 if there was none. */
static int take_new(struct mezz_lapic *l)
{
	unsigned long new;
	int i, top = -1;

	for (i = 0; i < BITS_TO_LONGS(256); i++) {
		new = READ_ONCE(l->irr[i]);
		if (!new)
			continue;
		set_hw_map(l, APR_IRR, i, hw_map(l, APR_IRR, i) | new);
		/* Always in one of the two. */
		atomic_long_andnot(new, (atomic_long_t *)&l->irr[i]);
		top = i * BITS_PER_LONG + __fls(new);
	}
	return top;
}

/* Vectors whose EOI must exit, because somebody else hears of it. */
static void update_eoi_exits(struct mezz_lapic *l)
{
	const unsigned long *wanted = l->v->vm->irq->eoi_vec;
	unsigned long exits, changed = 0;
	int i;

	for (i = 0; i < BITS_TO_LONGS(256); i++) {
		exits = READ_ONCE(l->tmr[i]) | READ_ONCE(wanted[i]);
		changed |= exits ^ l->eoi_exits[i];
		l->eoi_exits[i] = exits;
	}
	if (changed)
		mezz_engine->apic_eoi_exits(l->v, l->eoi_exits);
}

/* May the hardware act for it now? Switches it on or off. */
static bool hw_mode(struct mezz_lapic *l)
{
	/* Interrupts that a debugger wants to wait are kept here. */
	bool on = l->x2apic && l->enabled && !l->pv_eoi &&
		  !(l->v->guest_debug & KVM_GUESTDBG_BLOCKIRQ);

	if (likely(on == l->virt))
		return on;
	if (!on)
		lapic_pull(l);
	l->virt = on;
	mezz_engine->apic_mode(l->v, on);
	return on;
}

bool mezz_lapic_load(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;
	int i, irr;

	/* Executed in software, the guest has the registers here. */
	if (unlikely(!v->atomic)) {
		lapic_pull(l);
		return false;
	}
	if (READ_ONCE(l->fired))
		lapic_timer_sync(l);
	lapic_sync_pv_eoi(l);
	if (!hw_mode(l))
		return false;
	irr = take_new(l);
	if (likely(l->loaded)) {
		if (irr >= 0)
			mezz_engine->apic_raise(v, irr);
	} else {
		for (i = 0; i < BITS_TO_LONGS(256); i++)
			set_hw_map(l, APR_ISR, i, l->isr[i]);
		WRITE_ONCE(*hw_reg(l, APR_TPR), l->tpr);
		WRITE_ONCE(l->loaded, true);
		mezz_engine->apic_load(v, max(irr, 0), max(l->isr_top, 0));
	}
	update_eoi_exits(l);
	return true;
}

/* --- exits --- */

void mezz_lapic_eoi_exit(struct mezz_vcpu *v, u8 vector)
{
	lapic_tell_eoi(v->lapic, vector);
}

void mezz_lapic_illegal_ipi(struct mezz_vcpu *v)
{
	lapic_error(v->lapic, ESR_SEND_ILLEGAL);
}
