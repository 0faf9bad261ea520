/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The local APIC of one vCPU, for the lapic*.c files.
 *
 * Who may touch what: everything belongs to the vCPU's own thread (vCPU mutex
 * held), except
 *   irr, tmr	atomic bits, set by anybody (then MEZZ_REQ_EVENT and a kick)
 *   loaded	read by anybody
 *   enabled, hw_enabled, x2apic, ldr, dfr, lvt[LVT_LINT0]
 *		read by senders without a lock: a message that crosses a change
 *		of these goes the one way or the other, as on a real bus
 *   pending, sipi, unhalt, fired
 *		set by anybody, consumed by the vCPU's own thread
 */
#ifndef MEZZ_LAPIC_H
#define MEZZ_LAPIC_H

#include <linux/bitops.h>
#include <linux/hrtimer.h>
#include "internal.h"

/* Register numbers: xAPIC offset >> 4, x2APIC MSR - 0x800. */
enum mezz_apic_reg {
	APR_ID = 0x02, APR_VERSION = 0x03, APR_TPR = 0x08, APR_APR = 0x09, APR_PPR = 0x0a,
	APR_EOI = 0x0b, APR_LDR = 0x0d, APR_DFR = 0x0e, APR_SVR = 0x0f,
	APR_ISR = 0x10, APR_TMR = 0x18, APR_IRR = 0x20, APR_ESR = 0x28, APR_LVT_CMCI = 0x2f,
	APR_ICR = 0x30, APR_ICR2 = 0x31, APR_LVT = 0x32, APR_TMICT = 0x38,
	APR_TMCCT = 0x39, APR_TDCR = 0x3e, APR_SELF_IPI = 0x3f,
};

/* Local vector table, in register order from APR_LVT; only the last is elsewhere. */
enum mezz_lvt {
	LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_CMCI, NR_LVT
};

#define LVT_MASKED		BIT(16)
#define LVT_TIMER_MODE		(3u << 17)
#define LVT_TIMER_PERIODIC	BIT(17)
#define LVT_TIMER_DEADLINE	BIT(18)
#define LVT_DM(x)		(((x) >> 8) & 7)

#define SVR_ENABLED		BIT(8)
#define SVR_NO_EOI_BROADCAST	BIT(12)
#define VERSION_NO_EOI_BROADCAST BIT(24)

#define ESR_SEND_ILLEGAL	BIT(5)
#define ESR_RECV_ILLEGAL	BIT(6)

#define ICR_BUSY		BIT(12)

/* Bits of mezz_lapic.pending. */
enum { LAPIC_INIT, LAPIC_SIPI };

/* One tick of the APIC bus, in ns, before the divide configuration. */
#define LAPIC_BUS_NS		1

struct mezz_lapic {
	struct mezz_vcpu *v;
	u64 page;		/* GPA of the registers, ~0 when they are not there */
	bool enabled;		/* hardware and software: takes fixed interrupts */
	bool hw_enabled;
	bool x2apic;
	bool cmci;		/* LVT_CMCI exists */
	bool pv_eoi;		/* the guest may signal EOI of isr_top in memory */
	bool pv_eoi_retry;	/* its page was not there: look again outside */
	bool virt;		/* the engine runs the guest with a LAPIC in hardware */
	bool loaded;		/* tpr, isr and all but new bits of irr are in v->vapic */
	bool unhalt;		/* KVM_HC_KICK_CPU: the next HLT does not wait */
	u8 sipi;		/* vector of the last SIPI */
	int isr_top;		/* highest vector in service, -1 */
	u32 id;
	u32 tpr;
	u32 svr;
	u32 ldr;
	u32 dfr;
	u32 esr, esr_new;	/* as read; errors since it was written */
	u64 icr;
	u32 lvt[NR_LVT];
	u32 tmict;
	u32 tdcr;
	unsigned long pending;
	unsigned long isr[BITS_TO_LONGS(256)];
	unsigned long eoi_exits[BITS_TO_LONGS(256)];	/* as the engine has them */

	/* timer */
	int fired;		/* the hrtimer ran, or the engine's timer */
	bool hw_timer;		/* the engine ends the guest at the deadline: no hrtimer */
	u32 divide;
	u64 deadline;		/* IA32_TSC_DEADLINE, guest TSC; 0: disarmed */
	u64 period;		/* ns of the count now running, 0: none */
	ktime_t expires;	/* when it reaches zero, 0: not running */
	u64 tsc_mult;		/* ns = ticks * tsc_mult >> 32 */
	u32 tsc_khz;		/* for which tsc_mult holds */
	struct hrtimer timer;

	/* written by senders */
	unsigned long irr[BITS_TO_LONGS(256)] ____cacheline_aligned;
	unsigned long tmr[BITS_TO_LONGS(256)];
};

/* Highest bit of a 256-bit map, or -1. */
static inline int lapic_highest(const unsigned long *map)
{
	int i;

	for (i = BITS_TO_LONGS(256) - 1; i >= 0; i--) {
		unsigned long w = READ_ONCE(map[i]);

		if (w)
			return i * BITS_PER_LONG + __fls(w);
	}
	return -1;
}

/* PPR, where @isr_top is in service: SDM 3, "Task and Processor Priorities" */
static inline u32 lapic_priority(u32 tpr, int isr_top)
{
	u32 isr = isr_top < 0 ? 0 : isr_top & 0xf0;

	return (tpr & 0xf0) >= isr ? tpr : isr;
}

/* Does that let @vector through? */
static inline bool lapic_above(int vector, u32 tpr, int isr_top)
{
	return (vector & 0xf0) > (int)(lapic_priority(tpr, isr_top) & 0xf0);
}

static inline u32 lapic_ppr(const struct mezz_lapic *l)
{
	return lapic_priority(l->tpr, l->isr_top);
}

/**
 * lapic_accept() - take a fixed or lowest-priority interrupt
 * @l: the target
 * @vector: 0-255
 * @level: level-triggered
 * @self: the caller is the target's own thread, so that no kick is needed
 * Context: any but NMI.
 * Return: whether the LAPIC is on and took it (also when it was pending already)
 */
static inline bool lapic_accept(struct mezz_lapic *l, u8 vector, bool level, bool self)
{
	if (unlikely(!READ_ONCE(l->enabled)))
		return false;
	if (level)
		set_bit(vector, l->tmr);
	else if (test_bit(vector, l->tmr))
		clear_bit(vector, l->tmr);
	/* Whoever sets the bit tells the vCPU: the second one need not. */
	if (test_and_set_bit(vector, l->irr))
		return true;
	mezz_request(l->v, MEZZ_REQ_EVENT);
	if (!self)
		mezz_kick(l->v);
	return true;
}

/* --- lapic.c --- */
/* False: there are no registers on the page now, and user space wants to know. */
bool mezz_lapic_mmio_write(struct mezz_lapic *l, u32 offset, unsigned int len, const void *data);
bool mezz_lapic_mmio_read(struct mezz_lapic *l, u32 offset, unsigned int len, void *data);
/* Read register @reg (enum mezz_apic_reg); false if there is none in this mode. */
bool lapic_read(struct mezz_lapic *l, u32 reg, u32 *val);
/* Deliver the interrupt of an LVT entry; its own thread. */
void lapic_local(struct mezz_lapic *l, enum mezz_lvt which);
/* Errors are shown in ESR when the guest writes it, and raise LVT_ERROR. */
void lapic_error(struct mezz_lapic *l, u32 bits);
/* Has the guest signalled EOI in memory? Brings isr up to date. */
void lapic_sync_pv_eoi(struct mezz_lapic *l);
/* EOI of @vector: tell the IOAPIC and whoever else listens. SRCU read side held. */
void lapic_tell_eoi(struct mezz_lapic *l, u8 vector);
/* svr, apic_base or both changed: recompute what is derived from them. */
void lapic_derive(struct mezz_lapic *l);
u32 lapic_lvt_mask(struct mezz_lapic *l, enum mezz_lvt which);
/* Does LINT0 let the PIC through? */
bool lapic_accepts_pic(struct mezz_lapic *l);

/* --- lapic_msg.c --- */
void lapic_write_icr(struct mezz_lapic *l, u64 icr);

/* --- lapic_hw.c --- */
void lapic_pull_regs(struct mezz_lapic *l);
/* Before tpr, isr or irr is read or changed here: take them back from the hardware. */
static inline void lapic_pull(struct mezz_lapic *l)
{
	if (unlikely(l->loaded))
		lapic_pull_regs(l);
}

/* With @l loaded: its TPR; is @vector pending in the page? (any thread) */
u32 lapic_hw_tpr(const struct mezz_lapic *l);
bool lapic_hw_pending(const struct mezz_lapic *l, u8 vector);

/* --- lapic_timer.c --- */
void lapic_timer_init(struct mezz_lapic *l);
void lapic_timer_stop(struct mezz_lapic *l);
/* The hrtimer ran: deliver, and go on with a periodic timer. */
void lapic_timer_sync(struct mezz_lapic *l);
void lapic_timer_set_lvt(struct mezz_lapic *l, u32 old);
void lapic_timer_set_count(struct mezz_lapic *l, u32 count);
void lapic_timer_set_divide(struct mezz_lapic *l, u32 tdcr);
u32 lapic_timer_count(struct mezz_lapic *l);
/* Start again from registers that KVM_SET_LAPIC loaded; @count left. */
void lapic_timer_restore(struct mezz_lapic *l, u32 count);
void lapic_timer_divide(struct mezz_lapic *l);

#endif
