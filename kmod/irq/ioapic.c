// SPDX-License-Identifier: GPL-2.0-only
/*
 * The I/O APIC: 24 pins to interrupt messages.
 *
 * The register set is that of the 82093AA, version 0x11: there is no EOI
 * register, so a level-triggered pin gets its EOI from the LAPICs' broadcast.
 * Who else wants to know of an EOI (the PIT, irqfds) hears of it through
 * mezz_notify_ack(), for edge-triggered pins too: mezz_irq_vm.eoi_vec tells the
 * LAPICs for which vectors they must call.
 *
 * Known hacks, as on in-tree KVM: polarity is ignored, a line is what its
 * sources say; the registers stay at their default address; ExtINT messages go
 * nowhere, because the PIC is wired to LINT0. An RTC interrupt (pin 8) that
 * finds its predecessor still pending is reported as coalesced, because user
 * space paces its clock by that.
 *
 * Locking: ioapic->lock guards everything here. Messages are delivered while it
 * is held; notifications are not sent then.
 */
#include <linux/hrtimer.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include "internal.h"

#define IOAPIC_BASE		0xfec00000ull
#define IOAPIC_LEN		0x100
#define IOAPIC_VERSION		(0x11 | (MEZZ_IOAPIC_PINS - 1) << 16)

/* Offsets in the page, and what IOREGSEL selects (82093AA, "Register Description") */
enum { IOREGSEL = 0x00, IOWIN = 0x10 };
enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_TABLE = 0x10 };

/* Redirection table entry */
#define RTE_VECTOR(e)		((u8)(e))
#define RTE_MODE(e)		(((e) >> 8) & 7)
#define RTE_LOGICAL		BIT_ULL(11)
#define RTE_BUSY		BIT_ULL(12)
#define RTE_REMOTE_IRR		BIT_ULL(14)
#define RTE_LEVEL		BIT_ULL(15)
#define RTE_MASKED		BIT_ULL(16)
#define RTE_DEST(e)		((e) >> 56)
#define RTE_READONLY		(RTE_BUSY | RTE_REMOTE_IRR)

#define RTC_PIN			8

/* A guest that never quiets its device gets a pause after so many interrupts. */
#define STORM_COUNT		10000
#define STORM_PAUSE_NS		(10 * NSEC_PER_MSEC)

/**
 * struct mezz_ioapic - the chip
 * @vm: whose it is
 * @lock: guards all below
 * @id: APIC ID register, its four bits
 * @regsel: IOREGSEL
 * @irr: bit n: the line of pin n is up
 * @sent: bit n: the edge that raised it has been delivered
 * @rte: redirection table
 * @lines: for each pin, bit n: enum mezz_irq_source n holds it up
 * @raised: how often in a row the pin was up again at its EOI
 * @storm: ends the pause of a pin that was so too often
 */
struct mezz_ioapic {
	struct mezz_vm *vm;
	raw_spinlock_t lock;
	u32 id;
	u32 regsel;
	u32 irr;
	u32 sent;
	u64 rte[MEZZ_IOAPIC_PINS];
	u8 lines[MEZZ_IOAPIC_PINS];
	u16 raised[MEZZ_IOAPIC_PINS];
	struct hrtimer storm;
};

/* --- from a pin to the LAPICs; lock held --- */

/* Send @pin's message. As mezz_msg_deliver(); -1 also if it may not be sent now. */
static int ioapic_service(struct mezz_ioapic *io, unsigned int pin)
{
	u64 e = io->rte[pin];
	bool level = e & RTE_LEVEL;
	struct mezz_msg m = {
		.dest = RTE_DEST(e),
		.vector = RTE_VECTOR(e),
		.mode = RTE_MODE(e),
		.logical = e & RTE_LOGICAL,
		.level = level,
		.assert = true,
		.lowest = RTE_MODE(e) == MEZZ_DM_LOWEST,
	};
	int r;

	if ((e & RTE_MASKED) || (level && (e & RTE_REMOTE_IRR)))
		return -1;
	if (!level) {
		io->sent |= BIT(pin);
		if (pin == RTC_PIN && mezz_msg_pending(io->vm, &m))
			return 0;
	}
	r = mezz_msg_deliver(io->vm, NULL, &m);
	if (level && r > 0)
		io->rte[pin] |= RTE_REMOTE_IRR;
	return r;
}

static int ioapic_line(struct mezz_ioapic *io, unsigned int pin, bool up)
{
	u32 bit = BIT(pin);
	bool was = io->irr & bit;

	if (!up) {
		io->irr &= ~bit;
		return 1;
	}
	io->irr |= bit;
	if (!(io->rte[pin] & RTE_LEVEL)) {
		io->sent &= ~bit;
		/* No edge: the last one was masked, or nobody let go since. */
		if (was)
			return 0;
	}
	return ioapic_service(io, pin);
}

/* A level-triggered pin that is up. */
static bool ioapic_waits(struct mezz_ioapic *io, unsigned int pin)
{
	return (io->rte[pin] & RTE_LEVEL) && (io->irr & BIT(pin));
}

/* --- called by others of irq/ --- */

int mezz_ioapic_set_irq(struct mezz_vm *vm, unsigned int pin, unsigned int src, int level)
{
	struct mezz_ioapic *io = vm->irq->ioapic;
	unsigned long flags;
	int r;

	raw_spin_lock_irqsave(&io->lock, flags);
	if (level)
		io->lines[pin] |= BIT(src);
	else
		io->lines[pin] &= ~BIT(src);
	r = ioapic_line(io, pin, io->lines[pin]);
	raw_spin_unlock_irqrestore(&io->lock, flags);
	return r;
}

/* A pin whose device was served, or not. */
static void ioapic_eoi_pin(struct mezz_ioapic *io, unsigned int pin)
{
	if (!(io->rte[pin] & RTE_LEVEL))
		return;
	io->rte[pin] &= ~RTE_REMOTE_IRR;
	if (!(io->irr & BIT(pin)) || (io->rte[pin] & RTE_MASKED)) {
		io->raised[pin] = 0;
		return;
	}
	if (++io->raised[pin] < STORM_COUNT) {
		ioapic_service(io, pin);
		return;
	}
	io->raised[pin] = 0;
	if (!hrtimer_is_queued(&io->storm))
		hrtimer_start(&io->storm, ns_to_ktime(STORM_PAUSE_NS), HRTIMER_MODE_REL_HARD);
}

void mezz_ioapic_eoi(struct mezz_vcpu *v, u8 vector, bool level)
{
	struct mezz_vm *vm = v->vm;
	struct mezz_ioapic *io = vm->irq->ioapic;
	unsigned long flags, pins = 0;
	unsigned int i;

	raw_spin_lock_irqsave(&io->lock, flags);
	for (i = 0; i < MEZZ_IOAPIC_PINS; i++)
		if (RTE_VECTOR(io->rte[i]) == vector)
			pins |= BIT(i);
	raw_spin_unlock_irqrestore(&io->lock, flags);

	/* Remote IRR stays: what these raise is delivered below. */
	for_each_set_bit(i, &pins, MEZZ_IOAPIC_PINS)
		mezz_notify_ack(vm, KVM_IRQCHIP_IOAPIC, i);
	if (!level)
		return;

	raw_spin_lock_irqsave(&io->lock, flags);
	for_each_set_bit(i, &pins, MEZZ_IOAPIC_PINS)
		ioapic_eoi_pin(io, i);
	raw_spin_unlock_irqrestore(&io->lock, flags);
}

static enum hrtimer_restart ioapic_storm_fn(struct hrtimer *timer)
{
	struct mezz_ioapic *io = container_of(timer, struct mezz_ioapic, storm);
	unsigned long flags;
	unsigned int i;

	raw_spin_lock_irqsave(&io->lock, flags);
	for (i = 0; i < MEZZ_IOAPIC_PINS; i++)
		if (ioapic_waits(io, i))
			ioapic_service(io, i);
	raw_spin_unlock_irqrestore(&io->lock, flags);
	return HRTIMER_NORESTART;
}

void mezz_ioapic_rescan(struct mezz_vm *vm)
{
	struct mezz_irq_vm *irq = vm->irq;
	struct mezz_ioapic *io = irq->ioapic;
	DECLARE_BITMAP(vec, 256);
	unsigned long flags;
	unsigned int i;
	bool changed;

	if (!io)
		return;
	bitmap_zero(vec, 256);
	/* Held throughout, so that the result of the last rescan stays. */
	raw_spin_lock_irqsave(&io->lock, flags);
	for (i = 0; i < MEZZ_IOAPIC_PINS; i++)
		if (!(io->rte[i] & RTE_LEVEL) &&
		    mezz_pin_has_notifier(vm, KVM_IRQCHIP_IOAPIC, i))
			__set_bit(RTE_VECTOR(io->rte[i]), vec);
	changed = !bitmap_equal(irq->eoi_vec, vec, 256);
	for (i = 0; i < BITS_TO_LONGS(256); i++)
		WRITE_ONCE(irq->eoi_vec[i], vec[i]);
	raw_spin_unlock_irqrestore(&io->lock, flags);
	/* Hardware that acts for a LAPIC has to know for which vectors an EOI exits. */
	if (changed)
		mezz_poke_all(vm, MEZZ_REQ_EVENT);
}

/* --- registers --- */

/*
 * Change one half of an entry. Lock held. Returns whether the pin was unmasked
 * by it.
 */
static bool ioapic_set_half(struct mezz_ioapic *io, unsigned int pin, bool high, u32 val)
{
	u64 old = io->rte[pin], e;

	if (high)
		e = (u32)old | (u64)val << 32;
	else
		e = (old & GENMASK_ULL(63, 32)) | (val & ~RTE_READONLY) | (old & RTE_READONLY);
	/* Without an EOI register this is how Linux and Xen end a stuck interrupt. */
	if (!(e & RTE_LEVEL))
		e &= ~RTE_REMOTE_IRR;
	else
		io->sent &= ~BIT(pin);	/* means nothing to a level */
	io->rte[pin] = e;
	return (old & RTE_MASKED) && !(e & RTE_MASKED);
}

/*
 * A level-triggered pin that is up may be delivered now. If an irqfd holds it,
 * its device may have been served while the pin was masked: ask it first.
 */
static void ioapic_entry_changed(struct mezz_ioapic *io, unsigned int pin, bool unmasked)
{
	struct mezz_vm *vm = io->vm;
	unsigned long flags;
	int idx, gsi;
	bool up;

	mezz_ioapic_rescan(vm);
	idx = mezz_read_lock(vm);
	gsi = mezz_pin_to_gsi(vm, KVM_IRQCHIP_IOAPIC, pin);
	if (unmasked && !gsi)
		mezz_pit_unmasked(vm);
	raw_spin_lock_irqsave(&io->lock, flags);
	up = ioapic_waits(io, pin) && !(io->rte[pin] & (RTE_MASKED | RTE_REMOTE_IRR));
	raw_spin_unlock_irqrestore(&io->lock, flags);
	if (up && gsi >= 0)
		mezz_irqfd_acked(vm, gsi);
	mezz_read_unlock(vm, idx);
	if (!up)
		return;
	raw_spin_lock_irqsave(&io->lock, flags);
	if (ioapic_waits(io, pin))
		ioapic_service(io, pin);
	raw_spin_unlock_irqrestore(&io->lock, flags);
}

static void ioapic_write_window(struct mezz_ioapic *io, u32 val)
{
	unsigned long flags;
	unsigned int pin;
	bool unmasked;
	u32 reg;

	raw_spin_lock_irqsave(&io->lock, flags);
	reg = io->regsel;
	if (reg == REG_ID)
		io->id = (val >> 24) & 0xf;
	pin = (reg - REG_TABLE) >> 1;
	if (reg < REG_TABLE || pin >= MEZZ_IOAPIC_PINS) {
		raw_spin_unlock_irqrestore(&io->lock, flags);
		return;
	}
	pin = array_index_nospec(pin, MEZZ_IOAPIC_PINS);
	unmasked = ioapic_set_half(io, pin, reg & 1, val);
	raw_spin_unlock_irqrestore(&io->lock, flags);
	ioapic_entry_changed(io, pin, unmasked);
}

static u32 ioapic_read_window(struct mezz_ioapic *io)
{
	unsigned int pin;

	switch (io->regsel) {
	case REG_ID:
	case REG_ARBITRATION:
		return io->id << 24;
	case REG_VERSION:
		return IOAPIC_VERSION;
	}
	pin = (io->regsel - REG_TABLE) >> 1;
	if (io->regsel < REG_TABLE || pin >= MEZZ_IOAPIC_PINS)
		return ~0u;
	pin = array_index_nospec(pin, MEZZ_IOAPIC_PINS);
	return io->regsel & 1 ? io->rte[pin] >> 32 : io->rte[pin];
}

static bool ioapic_mmio_write(void *dev, u64 addr, unsigned int len, const void *data)
{
	struct mezz_ioapic *io = dev;
	unsigned long flags;
	u32 val = 0;

	memcpy(&val, data, min(len, 4u));
	switch (addr - IOAPIC_BASE) {
	case IOREGSEL:
		raw_spin_lock_irqsave(&io->lock, flags);
		io->regsel = val & 0xff;
		raw_spin_unlock_irqrestore(&io->lock, flags);
		break;
	case IOWIN:
		ioapic_write_window(io, val);
		break;
	}
	return true;
}

static bool ioapic_mmio_read(void *dev, u64 addr, unsigned int len, void *data)
{
	struct mezz_ioapic *io = dev;
	unsigned long flags;
	u32 val = 0;

	raw_spin_lock_irqsave(&io->lock, flags);
	switch (addr - IOAPIC_BASE) {
	case IOREGSEL:
		val = io->regsel;
		break;
	case IOWIN:
		val = ioapic_read_window(io);
		break;
	}
	raw_spin_unlock_irqrestore(&io->lock, flags);
	memset(data, 0, len);
	memcpy(data, &val, min(len, 4u));
	return true;
}

static const struct mezz_bus_ops ioapic_bus_ops = {
	.write = ioapic_mmio_write,
	.read = ioapic_mmio_read,
};

/* --- KVM_GET_IRQCHIP, KVM_SET_IRQCHIP --- */

void mezz_ioapic_get(struct mezz_vm *vm, struct kvm_ioapic_state *s)
{
	struct mezz_ioapic *io = vm->irq->ioapic;
	unsigned long flags;
	unsigned int i;

	memset(s, 0, sizeof(*s));
	s->base_address = IOAPIC_BASE;
	raw_spin_lock_irqsave(&io->lock, flags);
	s->ioregsel = io->regsel;
	s->id = io->id;
	/* Edges that were delivered must not be again after a restore. */
	s->irr = io->irr & ~io->sent;
	for (i = 0; i < MEZZ_IOAPIC_PINS; i++)
		s->redirtbl[i].bits = io->rte[i];
	raw_spin_unlock_irqrestore(&io->lock, flags);
}

void mezz_ioapic_set(struct mezz_vm *vm, const struct kvm_ioapic_state *s)
{
	struct mezz_ioapic *io = vm->irq->ioapic;
	unsigned long flags;
	unsigned int i;

	raw_spin_lock_irqsave(&io->lock, flags);
	io->regsel = s->ioregsel & 0xff;
	io->id = s->id & 0xf;
	io->irr = 0;
	io->sent = 0;
	for (i = 0; i < MEZZ_IOAPIC_PINS; i++) {
		io->rte[i] = s->redirtbl[i].bits;
		io->raised[i] = 0;
	}
	for (i = 0; i < MEZZ_IOAPIC_PINS; i++)
		if (s->irr & BIT(i))
			ioapic_line(io, i, true);
	raw_spin_unlock_irqrestore(&io->lock, flags);
	mezz_ioapic_rescan(vm);
}

/* --- life cycle --- */

int mezz_ioapic_create(struct mezz_vm *vm)
{
	struct mezz_ioapic *io = kzalloc(sizeof(*io), GFP_KERNEL_ACCOUNT);
	struct mezz_bus_entry range = {
		.addr = IOAPIC_BASE, .len = IOAPIC_LEN,
		.kind = MEZZ_BUS_DEVICE, .ops = &ioapic_bus_ops, .dev = io,
	};
	unsigned int i;
	int r;

	static_assert(MEZZ_IOAPIC_PINS == KVM_IOAPIC_NUM_PINS);
	if (!io)
		return -ENOMEM;
	io->vm = vm;
	raw_spin_lock_init(&io->lock);
	for (i = 0; i < MEZZ_IOAPIC_PINS; i++)
		io->rte[i] = RTE_MASKED;
	hrtimer_init(&io->storm, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	io->storm.function = ioapic_storm_fn;
	mutex_lock(&vm->slots_lock);
	r = mezz_bus_add(vm, MEZZ_BUS_MMIO, &range, 1);
	mutex_unlock(&vm->slots_lock);
	if (r)
		kfree(io);
	else
		vm->irq->ioapic = io;
	return r;
}

void mezz_ioapic_stop(struct mezz_vm *vm)
{
	if (vm->irq->ioapic)
		hrtimer_cancel(&vm->irq->ioapic->storm);
}

void mezz_ioapic_free(struct mezz_vm *vm)
{
	struct mezz_ioapic *io = vm->irq->ioapic;

	if (!io)
		return;
	/* KVM_CREATE_IRQCHIP failed half way. At the VM's end the bus is gone. */
	if (!mezz_irqchip_full(vm)) {
		mutex_lock(&vm->slots_lock);
		mezz_bus_remove(vm, MEZZ_BUS_MMIO, io);
		mutex_unlock(&vm->slots_lock);
	}
	vm->irq->ioapic = NULL;
	kfree(io);
}
