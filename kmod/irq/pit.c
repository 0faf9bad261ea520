// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 8254 timer: counters 0 (interrupt), 1 and 2 (speaker), and port 0x61.
 *
 * A counter does not count: its value is worked out from the time since it was
 * loaded. Only counter 0 has a timer, which pulses GSI 0.
 *
 * Ticks that a guest is too slow to take are not lost unless user space says so
 * (KVM_REINJECT_CONTROL): @pending counts them, and each time the guest
 * acknowledges GSI 0 the next is delivered. A guest that unmasks the pin starts afresh.
 *
 * Known hacks, as on in-tree KVM: a counter is loaded at once, without the null
 * count state, and modes 1 and 5 start then rather than at the first trigger;
 * periods below MEZZ_MIN_PERIOD_NS are stretched; PIT interrupts also go as
 * NMIs to every vCPU whose LVT LINT0 says so, wherever GSI 0 leads (the old
 * NMI watchdog).
 *
 * Locking: pit->lock guards everything here. Interrupts are injected after it
 * has been dropped. The timer's callback takes it, so nobody waits for the
 * callback while he holds it; pit_timer_fn() says how that works out.
 */
#include <linux/bcd.h>
#include <linux/hrtimer.h>
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/uaccess.h>
#include "lapic.h"

#define PORT_COUNTER	0x40		/* 0x40-0x42 */
#define PORT_CONTROL	0x43
#define PORT_SPEAKER	0x61

/* Control word (8254, "Programming the 82C54") */
#define CW_READ_BACK	3		/* bits 7-6 */
#define CW_NO_COUNT	BIT(5)		/* of a read-back command */
#define CW_NO_STATUS	BIT(4)

/* rw_mode, and the byte that comes next: 1, 2, or 3 then 4 */
enum { RW_LATCH, RW_LSB, RW_MSB, RW_WORD_LOW, RW_WORD_HIGH };

/* Port 0x61 */
#define SPEAKER_GATE	BIT(0)
#define SPEAKER_DATA	BIT(1)
#define SPEAKER_REFRESH	BIT(4)
#define SPEAKER_OUT	BIT(5)

#define PIT_GSI		0
#define MODE_UNSET	0xff		/* after power-on */
#define PIT_FLAGS	(KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON)

/**
 * struct mezz_pit - the chip
 * @vm: whose it is
 * @lock: guards all below
 * @ch: the counters; count_load_time is when the present period began
 * @flags: KVM_PIT_FLAGS_*
 * @held: ns that counter 2 had counted when its gate closed
 * @period: of the timer, in ns; 0: it is stopped
 * @periodic: modes 2 and 3
 * @reinject: no tick is lost
 * @acked: the guest is ready for the next tick, if @reinject
 * @pending: ticks that the guest has not acknowledged, if @reinject
 * @timer: of counter 0
 */
struct mezz_pit {
	struct mezz_vm *vm;
	raw_spinlock_t lock;
	struct kvm_pit_channel_state ch[3];
	u32 flags;
	u64 held;
	u64 period;
	bool periodic;
	bool reinject;
	bool acked;
	u32 pending;
	struct hrtimer timer;
};

static struct mezz_pit *pit_of(struct mezz_vm *vm)
{
	/* Pairs with the release in pit_create(). */
	return smp_load_acquire(&vm->irq->pit);
}

/* --- interrupts --- */

/* Through LINT0 of every LAPIC, where it is an NMI. */
static void pit_nmi_watchdog(struct mezz_vm *vm)
{
	struct mezz_vcpu *v;
	u32 lvt;
	int i;

	mezz_for_each_vcpu(i, v, vm) {
		if (!v->lapic || !READ_ONCE(v->lapic->hw_enabled))
			continue;
		lvt = READ_ONCE(v->lapic->lvt[LVT_LINT0]);
		if (!(lvt & LVT_MASKED) && LVT_DM(lvt) == MEZZ_DM_NMI)
			mezz_nmi(v);
	}
}

/* A tick. No lock held. */
static void pit_inject(struct mezz_vm *vm)
{
	mezz_set_gsi(vm, MEZZ_SRC_PIT, PIT_GSI, 1);
	mezz_set_gsi(vm, MEZZ_SRC_PIT, PIT_GSI, 0);
	if (unlikely(READ_ONCE(vm->irq->nmi_wd)))
		pit_nmi_watchdog(vm);
}

/* @n ticks passed. Lock held. Returns whether one is to be injected now. */
static bool pit_count_ticks(struct mezz_pit *pit, u64 n)
{
	if (!pit->reinject)
		return true;
	pit->pending = min_t(u64, pit->pending + n, U32_MAX);
	if (!pit->acked)
		return false;
	pit->acked = false;
	return true;
}

/* Nothing is owed to the guest. Lock held. */
static void pit_forget_ticks(struct mezz_pit *pit)
{
	pit->pending = 0;
	pit->acked = true;
}

void mezz_pit_acked(struct mezz_vm *vm)
{
	struct mezz_pit *pit = pit_of(vm);
	unsigned long flags;
	bool next = false;

	if (!pit)
		return;
	raw_spin_lock_irqsave(&pit->lock, flags);
	if (pit->reinject) {
		if (pit->pending)
			next = --pit->pending;
		pit->acked = !next;
	}
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	if (next)
		pit_inject(vm);
}

void mezz_pit_unmasked(struct mezz_vm *vm)
{
	struct mezz_pit *pit = pit_of(vm);
	unsigned long flags;

	if (!pit)
		return;
	raw_spin_lock_irqsave(&pit->lock, flags);
	if (pit->reinject)
		pit_forget_ticks(pit);
	raw_spin_unlock_irqrestore(&pit->lock, flags);
}

bool mezz_pit_wants_ack(struct mezz_vm *vm)
{
	struct mezz_pit *pit = pit_of(vm);

	return pit && READ_ONCE(pit->reinject);
}

/* --- the timer of counter 0; lock held, but in the callback --- */

/*
 * Whoever stops or starts the timer cannot wait for a callback that is under
 * way on another CPU and wants the lock. When the callback gets it, it finds
 * period 0, or the timer queued anew, and leaves everything as it is. If it was
 * already behind the lock it may queue the old expiry once more after a stop:
 * then it finds period 0 the next time.
 */
static enum hrtimer_restart pit_timer_fn(struct hrtimer *timer)
{
	struct mezz_pit *pit = container_of(timer, struct mezz_pit, timer);
	enum hrtimer_restart restart = HRTIMER_NORESTART;
	unsigned long flags;
	bool inject;
	u64 n = 1;

	raw_spin_lock_irqsave(&pit->lock, flags);
	if (!pit->period || hrtimer_is_queued(timer)) {
		raw_spin_unlock_irqrestore(&pit->lock, flags);
		return HRTIMER_NORESTART;
	}
	if (pit->periodic) {
		n = hrtimer_forward_now(timer, ns_to_ktime(pit->period));
		pit->ch[0].count_load_time = ktime_to_ns(hrtimer_get_expires(timer)) -
					     pit->period;
		restart = HRTIMER_RESTART;
	} else {
		pit->period = 0;
	}
	inject = n && pit_count_ticks(pit, n);
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	if (inject)
		pit_inject(pit->vm);
	return restart;
}

static void pit_timer_stop(struct mezz_pit *pit)
{
	pit->period = 0;
	hrtimer_try_to_cancel(&pit->timer);
}

static void pit_timer_start(struct mezz_pit *pit, u32 count, bool periodic)
{
	u64 ns = mul_u64_u32_div(count, NSEC_PER_SEC, PIT_TICK_RATE);

	if (periodic && ns < MEZZ_MIN_PERIOD_NS)
		ns = MEZZ_MIN_PERIOD_NS;
	pit_forget_ticks(pit);
	pit->period = max(ns, 1ull);
	pit->periodic = periodic;
	hrtimer_start(&pit->timer, ns_to_ktime(pit->ch[0].count_load_time + pit->period),
		      HRTIMER_MODE_ABS_HARD);
}

/* --- counters; lock held --- */

/* A closed gate stops these; in modes 1 and 5 it is only a trigger. */
static bool gate_stops(const struct kvm_pit_channel_state *c)
{
	return c->mode != 1 && c->mode != 5;
}

/* Ticks since the counter was loaded, or its period began. */
static u64 pit_ticks(struct mezz_pit *pit, unsigned int n)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];
	s64 ns = ktime_to_ns(ktime_get()) - c->count_load_time;

	if (n == 2 && !c->gate && gate_stops(c))
		ns = pit->held;
	return mul_u64_u32_div(max(ns, 0ll), PIT_TICK_RATE, NSEC_PER_SEC);
}

/* The largest count; it is written as 0. */
static u32 pit_max_count(const struct kvm_pit_channel_state *c)
{
	return c->bcd ? 10000 : 0x10000;
}

/* The counting element, as the guest reads it (8254, "Mode Definitions"). */
static u16 pit_count(struct mezz_pit *pit, unsigned int n)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];
	u32 wrap = pit_max_count(c);
	u64 d = pit_ticks(pit, n);
	u32 rest, val;

	switch (c->mode) {
	case 0:
	case 1:
	case 4:
	case 5:
		/* Goes on below zero. */
		div_u64_rem(d, wrap, &rest);
		val = (c->count + wrap - rest) % wrap;
		break;
	case 3:
		/* Twice as fast, twice in a period; an odd count is made even. */
		div_u64_rem(d, c->count, &rest);
		if (rest >= (c->count + 1) / 2)
			rest -= (c->count + 1) / 2;
		val = (c->count & ~1u) - 2 * rest;
		break;
	default:
		div_u64_rem(d, c->count, &rest);
		val = c->count - rest;
	}
	if (!c->bcd)
		return val;
	val %= wrap;
	return bin2bcd(val / 100) << 8 | bin2bcd(val % 100);
}

static bool pit_out(struct mezz_pit *pit, unsigned int n)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];
	u64 d = pit_ticks(pit, n);
	u32 rest;

	switch (c->mode) {
	case 2:
		div_u64_rem(d, c->count, &rest);
		return rest != c->count - 1;
	case 3:
		div_u64_rem(d, c->count, &rest);
		return rest < (c->count + 1) / 2;
	case 4:
	case 5:
		return d != c->count;
	default:
		return d >= c->count;
	}
}

/* Count @count down from now on; binary, not 0. */
static void pit_start(struct mezz_pit *pit, unsigned int n, u32 count)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];

	c->count = count;
	c->count_load_time = ktime_to_ns(ktime_get());
	if (n == 2)
		pit->held = 0;
	if (n)
		return;
	/* The HPET drives the interrupt in the PIT's stead. */
	if (pit->flags & KVM_PIT_FLAGS_HPET_LEGACY) {
		pit_timer_stop(pit);
		return;
	}
	switch (c->mode) {
	case 0:
	case 1:
	case 4:
		pit_timer_start(pit, c->count, false);
		break;
	case 2:
	case 3:
		pit_timer_start(pit, c->count, true);
		break;
	default:
		pit_timer_stop(pit);
	}
}

/* The guest wrote a count. */
static void pit_load(struct mezz_pit *pit, unsigned int n, u16 val)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];
	u32 count = c->bcd ? bcd2bin(val >> 8) * 100 + bcd2bin(val & 0xff) : val;

	pit_start(pit, n, count ?: pit_max_count(c));
}

static void pit_latch_count(struct mezz_pit *pit, unsigned int n)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];

	if (c->count_latched)
		return;
	c->latched_count = pit_count(pit, n);
	c->count_latched = c->rw_mode;
}

static void pit_latch_status(struct mezz_pit *pit, unsigned int n)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];

	if (c->status_latched)
		return;
	c->status = pit_out(pit, n) << 7 | (c->rw_mode & 3) << 4 | (c->mode & 7) << 1 |
		    (c->bcd & 1);
	c->status_latched = 1;
}

static void pit_read_back(struct mezz_pit *pit, u8 val)
{
	unsigned int n;

	for (n = 0; n < 3; n++) {
		if (!(val & (2 << n)))
			continue;
		if (!(val & CW_NO_COUNT))
			pit_latch_count(pit, n);
		if (!(val & CW_NO_STATUS))
			pit_latch_status(pit, n);
	}
}

static void pit_control(struct mezz_pit *pit, u8 val)
{
	struct kvm_pit_channel_state *c;
	unsigned int n = val >> 6, rw = (val >> 4) & 3;

	if (n == CW_READ_BACK) {
		pit_read_back(pit, val);
		return;
	}
	if (rw == RW_LATCH) {
		pit_latch_count(pit, n);
		return;
	}
	c = &pit->ch[n];
	c->rw_mode = rw;
	c->read_state = rw;
	c->write_state = rw;
	c->count_latched = 0;
	c->status_latched = 0;
	c->bcd = val & 1;
	c->mode = (val >> 1) & 7;
	/* Modes 2 and 3 have a bit that does not matter. */
	if (c->mode > 5)
		c->mode -= 4;
}

static void pit_write_count(struct mezz_pit *pit, unsigned int n, u8 val)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];

	switch (c->write_state) {
	case RW_MSB:
		pit_load(pit, n, val << 8);
		break;
	case RW_WORD_LOW:
		c->write_latch = val;
		c->write_state = RW_WORD_HIGH;
		break;
	case RW_WORD_HIGH:
		c->write_state = RW_WORD_LOW;
		pit_load(pit, n, c->write_latch | val << 8);
		break;
	default:
		pit_load(pit, n, val);
	}
}

static u8 pit_read_count(struct mezz_pit *pit, unsigned int n)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];
	u8 state;

	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	if (c->count_latched) {
		state = c->count_latched;
		c->count_latched = state == RW_WORD_LOW ? RW_MSB : 0;
		return state == RW_MSB ? c->latched_count >> 8 : c->latched_count;
	}
	state = c->read_state;
	if (state == RW_WORD_LOW)
		c->read_state = RW_WORD_HIGH;
	else if (state == RW_WORD_HIGH)
		c->read_state = RW_WORD_LOW;
	if (state == RW_MSB || state == RW_WORD_HIGH)
		return pit_count(pit, n) >> 8;
	return pit_count(pit, n);
}

/* Only counter 2 has a gate that somebody can close. */
static void pit_set_gate(struct mezz_pit *pit, bool open)
{
	struct kvm_pit_channel_state *c = &pit->ch[2];
	s64 now = ktime_to_ns(ktime_get());

	if (open == !!c->gate)
		return;
	c->gate = open;
	if (!open)
		pit->held = max(now - c->count_load_time, 0ll);
	else if (c->mode == 0 || c->mode == 4)
		c->count_load_time = now - pit->held;	/* goes on */
	else
		c->count_load_time = now;		/* starts again */
}

/* --- ports --- */

static bool pit_port_write(void *dev, u64 port, unsigned int len, const void *data)
{
	struct mezz_pit *pit = dev;
	u8 val = *(const u8 *)data;
	unsigned long flags;

	raw_spin_lock_irqsave(&pit->lock, flags);
	if (port == PORT_CONTROL)
		pit_control(pit, val);
	else
		pit_write_count(pit, port - PORT_COUNTER, val);
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	return true;
}

static bool pit_port_read(void *dev, u64 port, unsigned int len, void *data)
{
	struct mezz_pit *pit = dev;
	unsigned long flags;

	memset(data, 0, len);
	if (port == PORT_CONTROL)
		return true;
	raw_spin_lock_irqsave(&pit->lock, flags);
	*(u8 *)data = pit_read_count(pit, port - PORT_COUNTER);
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	return true;
}

static bool speaker_write(void *dev, u64 port, unsigned int len, const void *data)
{
	struct mezz_pit *pit = dev;
	u8 val = *(const u8 *)data;
	unsigned long flags;

	raw_spin_lock_irqsave(&pit->lock, flags);
	pit->flags &= ~KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	if (val & SPEAKER_DATA)
		pit->flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	pit_set_gate(pit, val & SPEAKER_GATE);
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	return true;
}

static bool speaker_read(void *dev, u64 port, unsigned int len, void *data)
{
	struct mezz_pit *pit = dev;
	unsigned long flags;
	u8 val = 0;

	raw_spin_lock_irqsave(&pit->lock, flags);
	if (pit->ch[2].gate)
		val |= SPEAKER_GATE;
	if (pit->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON)
		val |= SPEAKER_DATA;
	if (pit_out(pit, 2))
		val |= SPEAKER_OUT;
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	/* Memory refresh every 15 us or so: 2^14 ns. */
	if (ktime_to_ns(ktime_get()) & BIT(14))
		val |= SPEAKER_REFRESH;
	memset(data, 0, len);
	*(u8 *)data = val;
	return true;
}

static const struct mezz_bus_ops pit_bus_ops = {
	.write = pit_port_write, .read = pit_port_read,
};

static const struct mezz_bus_ops speaker_bus_ops = {
	.write = speaker_write, .read = speaker_read,
};

/* --- KVM_CREATE_PIT, KVM_CREATE_PIT2 --- */

static int pit_on_bus(struct mezz_pit *pit, bool speaker)
{
	const struct mezz_bus_entry ranges[] = {
		{ .addr = PORT_COUNTER, .len = 4, .kind = MEZZ_BUS_DEVICE,
		  .ops = &pit_bus_ops, .dev = pit },
		{ .addr = PORT_SPEAKER, .len = 1, .kind = MEZZ_BUS_DEVICE,
		  .ops = &speaker_bus_ops, .dev = pit },
	};
	int r;

	mutex_lock(&pit->vm->slots_lock);
	r = mezz_bus_add(pit->vm, MEZZ_BUS_PIO, ranges, speaker ? 2 : 1);
	mutex_unlock(&pit->vm->slots_lock);
	return r;
}

/* vm->lock held */
static int pit_create(struct mezz_vm *vm, u32 flags)
{
	struct mezz_pit *pit;
	unsigned int n;
	int r;

	if (vm->irq->pit)
		return -EEXIST;
	if (!mezz_irqchip_full(vm))
		return -ENOENT;
	pit = kzalloc(sizeof(*pit), GFP_KERNEL_ACCOUNT);
	if (!pit)
		return -ENOMEM;
	pit->vm = vm;
	raw_spin_lock_init(&pit->lock);
	hrtimer_init(&pit->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_HARD);
	pit->timer.function = pit_timer_fn;
	for (n = 0; n < 3; n++) {
		pit->ch[n].mode = MODE_UNSET;
		pit->ch[n].gate = n != 2;
		pit->ch[n].count = 0x10000;
		pit->ch[n].count_load_time = ktime_to_ns(ktime_get());
	}
	pit->reinject = true;
	pit_forget_ticks(pit);
	r = pit_on_bus(pit, flags & KVM_PIT_SPEAKER_DUMMY);
	if (r) {
		kfree(pit);
		return r;
	}
	/* Its ports may be in use already; those need nothing of irq->pit. */
	smp_store_release(&vm->irq->pit, pit);
	mezz_ioapic_rescan(vm);
	return 0;
}

static long pit_create_ioctl(struct mezz_vm *vm, unsigned int cmd, void __user *argp)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	long r;

	if (cmd == KVM_CREATE_PIT2 && copy_from_user(&config, argp, sizeof(config)))
		return -EFAULT;
	mutex_lock(&vm->lock);
	r = pit_create(vm, config.flags);
	mutex_unlock(&vm->lock);
	return r;
}

void mezz_pit_stop(struct mezz_vm *vm)
{
	struct mezz_pit *pit = vm->irq->pit;
	unsigned long flags;

	if (!pit)
		return;
	raw_spin_lock_irqsave(&pit->lock, flags);
	pit->period = 0;
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	hrtimer_cancel(&pit->timer);
}

void mezz_pit_free(struct mezz_vm *vm)
{
	kfree(vm->irq->pit);
	vm->irq->pit = NULL;
}

/* --- the other ioctls --- */

static long pit_get(struct mezz_pit *pit, bool two, void __user *argp)
{
	struct kvm_pit_state2 s = { };
	unsigned long flags;
	size_t len = two ? sizeof(s) : sizeof(struct kvm_pit_state);

	static_assert(offsetof(struct kvm_pit_state2, flags) == sizeof(struct kvm_pit_state));
	raw_spin_lock_irqsave(&pit->lock, flags);
	memcpy(s.channels, pit->ch, sizeof(s.channels));
	s.flags = pit->flags;
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	return copy_to_user(argp, &s, len) ? -EFAULT : 0;
}

/* User space may say anything; keep what the code above relies on. */
static void pit_sanitize(struct kvm_pit_channel_state *c)
{
	if (c->mode > 5)
		c->mode = MODE_UNSET;
	c->bcd &= 1;
	c->gate = !!c->gate;
	if (!c->count || c->count > pit_max_count(c))
		c->count = pit_max_count(c);
}

static long pit_set(struct mezz_pit *pit, bool two, void __user *argp)
{
	struct kvm_pit_state2 s = { };
	size_t len = two ? sizeof(s) : sizeof(struct kvm_pit_state);
	unsigned long flags;
	unsigned int n;

	if (copy_from_user(&s, argp, len))
		return -EFAULT;
	raw_spin_lock_irqsave(&pit->lock, flags);
	if (two)
		pit->flags = s.flags & PIT_FLAGS;
	memcpy(pit->ch, s.channels, sizeof(pit->ch));
	for (n = 0; n < 3; n++) {
		pit_sanitize(&pit->ch[n]);
		pit_start(pit, n, pit->ch[n].count);
	}
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	return 0;
}

static long pit_set_reinject(struct mezz_pit *pit, void __user *argp)
{
	struct kvm_reinject_control control;
	unsigned long flags;
	bool on;

	if (copy_from_user(&control, argp, sizeof(control)))
		return -EFAULT;
	on = control.pit_reinject;
	raw_spin_lock_irqsave(&pit->lock, flags);
	if (on && !pit->reinject)
		pit_forget_ticks(pit);
	WRITE_ONCE(pit->reinject, on);
	raw_spin_unlock_irqrestore(&pit->lock, flags);
	mezz_ioapic_rescan(pit->vm);
	return 0;
}

long mezz_pit_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg)
{
	void __user *argp = (void __user *)arg;
	struct mezz_pit *pit = pit_of(vm);

	if (cmd == KVM_CREATE_PIT || cmd == KVM_CREATE_PIT2)
		return pit_create_ioctl(vm, cmd, argp);
	if (!pit)
		return -ENXIO;
	switch (cmd) {
	case KVM_GET_PIT:
	case KVM_GET_PIT2:
		return pit_get(pit, cmd == KVM_GET_PIT2, argp);
	case KVM_SET_PIT:
	case KVM_SET_PIT2:
		return pit_set(pit, cmd == KVM_SET_PIT2, argp);
	case KVM_REINJECT_CONTROL:
		return pit_set_reinject(pit, argp);
	}
	return -ENOIOCTLCMD;
}
