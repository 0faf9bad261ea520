// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pair of 8259A interrupt controllers of a PC, with the ELCR.
 *
 * All that the data sheet has, except single mode, MCS-80 mode and the
 * LTIM bit of ICW1, for which the ELCR is there. The slave's output is wired to
 * IR2 of the master; the master's goes to the vCPUs whose LINT0 lets it through
 * (and nowhere else: the IOAPIC's pin 0 is not its).
 *
 * The state is kept as struct kvm_pic_state, which is what KVM_GET_IRQCHIP
 * returns. Its last_irr holds the lines' levels, for edges to be seen.
 *
 * Locking: pic->lock guards everything here, @output may be read without it.
 * Acknowledge notifications are collected while it is held, and sent after.
 */
#include <linux/bitops.h>
#include <linux/slab.h>
#include "lapic.h"

/* Ports: command and data of each, and the edge/level control registers */
#define PORT_MASTER	0x20
#define PORT_SLAVE	0xa0
#define PORT_ELCR	0x4d0

/* Initialisation command words (8259A, "Programming the 8259A") */
#define ICW1		BIT(4)		/* in the command register: this is ICW1 */
#define ICW1_IC4	BIT(0)
#define ICW4_AEOI	BIT(1)
#define ICW4_SFNM	BIT(4)
#define OCW3		BIT(3)
#define OCW3_RIS	BIT(0)
#define OCW3_RR		BIT(1)
#define OCW3_POLL	BIT(2)
#define OCW3_SMM	BIT(5)
#define OCW3_ESMM	BIT(6)

/* What the data port takes next: kvm_pic_state.init_state */
enum { PIC_READY, PIC_ICW2, PIC_ICW3, PIC_ICW4 };

#define CASCADE_IRQ	2
#define SPURIOUS_IRQ	7

enum { MASTER, SLAVE };

/**
 * struct mezz_pic - both chips
 * @vm: whose they are
 * @lock: guards all below
 * @output: the master's INT pin
 * @chip: MASTER and SLAVE
 * @lines: for each pin, bit n: enum mezz_irq_source n holds it up
 */
struct mezz_pic {
	struct mezz_vm *vm;
	raw_spinlock_t lock;
	bool output;
	struct kvm_pic_state chip[2];
	u8 lines[MEZZ_PIC_PINS];
};

/* --- priorities; lock held from here on --- */

/* Rank of the most urgent interrupt in @mask, 0 is highest; 8: none. */
static unsigned int pic_rank(const struct kvm_pic_state *c, u8 mask)
{
	return mask ? __ffs(ror8(mask, c->priority_add & 7)) : 8;
}

static unsigned int rank_to_irq(const struct kvm_pic_state *c, unsigned int rank)
{
	return (rank + c->priority_add) & 7;
}

/* The interrupt that @c requests, or -1. */
static int pic_pending(const struct mezz_pic *pic, unsigned int which)
{
	const struct kvm_pic_state *c = &pic->chip[which];
	u8 blocking = c->isr;
	unsigned int rank = pic_rank(c, c->irr & ~c->imr);

	/* The slave does its own ordering of what comes through IR2. */
	if (which == MASTER && c->special_fully_nested_mode)
		blocking &= ~BIT(CASCADE_IRQ);
	if (c->special_mask)
		blocking &= ~c->imr;
	return rank < pic_rank(c, blocking) ? rank_to_irq(c, rank) : -1;
}

/* Tell the vCPUs that would take it. */
static void pic_raise(struct mezz_pic *pic)
{
	struct mezz_vcpu *v;
	int i;

	/* One of the two sees it: this the vCPU's LINT0, or who unmasks that the output. */
	smp_mb();
	mezz_for_each_vcpu(i, v, pic->vm)
		if (v->lapic && lapic_accepts_pic(v->lapic))
			mezz_poke(v, MEZZ_REQ_EVENT);
}

/* Something changed: what does the slave say to the master, and the master to the CPU? */
static void pic_update(struct mezz_pic *pic)
{
	struct kvm_pic_state *m = &pic->chip[MASTER];
	bool output, was = pic->output;

	if (pic_pending(pic, SLAVE) >= 0) {
		m->irr |= BIT(CASCADE_IRQ);
		m->last_irr |= BIT(CASCADE_IRQ);
	} else {
		m->irr &= ~BIT(CASCADE_IRQ);
		m->last_irr &= ~BIT(CASCADE_IRQ);
	}
	output = pic_pending(pic, MASTER) >= 0;
	WRITE_ONCE(pic->output, output);
	if (output && !was)
		pic_raise(pic);
}

/* --- lines --- */

/* Return: -1: masked, 0: was pending already, 1: new (or released) */
static int pic_line(struct kvm_pic_state *c, unsigned int irq, bool up)
{
	u8 bit = BIT(irq);
	int r = 1;

	if (up) {
		if ((c->elcr & bit) || !(c->last_irr & bit)) {
			r = !(c->irr & bit);
			c->irr |= bit;
		}
		c->last_irr |= bit;
	} else {
		if (c->elcr & bit)
			c->irr &= ~bit;
		c->last_irr &= ~bit;
	}
	return c->imr & bit ? -1 : r;
}

int mezz_pic_set_irq(struct mezz_vm *vm, unsigned int pin, unsigned int src, int level)
{
	struct mezz_pic *pic = vm->irq->pic;
	unsigned long flags;
	int r;

	raw_spin_lock_irqsave(&pic->lock, flags);
	if (level)
		pic->lines[pin] |= BIT(src);
	else
		pic->lines[pin] &= ~BIT(src);
	r = pic_line(&pic->chip[pin >> 3], pin & 7, pic->lines[pin]);
	pic_update(pic);
	raw_spin_unlock_irqrestore(&pic->lock, flags);
	return r;
}

/* --- acknowledgements --- */

/* Pins of @acked (slave's in the upper half) were served. No lock held. */
static void pic_notify(struct mezz_vm *vm, unsigned long acked)
{
	unsigned int pin;

	for_each_set_bit(pin, &acked, MEZZ_PIC_PINS)
		mezz_notify_ack(vm, pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				pin);
}

static unsigned long pic_pins(unsigned int which, u8 mask)
{
	return (unsigned long)mask << which * 8;
}

/* INTA for @irq of @which. Returns the pins that this ends already (AEOI). */
static unsigned long pic_intack(struct mezz_pic *pic, unsigned int which, unsigned int irq)
{
	struct kvm_pic_state *c = &pic->chip[which];
	u8 bit = BIT(irq);

	if (!(c->elcr & bit))
		c->irr &= ~bit;
	if (!c->auto_eoi) {
		c->isr |= bit;
		return 0;
	}
	if (c->rotate_on_auto_eoi)
		c->priority_add = (irq + 1) & 7;
	return pic_pins(which, bit);
}

bool mezz_pic_output(struct mezz_vm *vm)
{
	return READ_ONCE(vm->irq->pic->output);
}

int mezz_pic_ack(struct mezz_vm *vm)
{
	struct mezz_pic *pic = vm->irq->pic;
	unsigned long flags, acked = 0;
	unsigned int which = MASTER;
	int irq, vector;

	raw_spin_lock_irqsave(&pic->lock, flags);
	irq = pic_pending(pic, MASTER);
	if (irq >= 0)
		acked |= pic_intack(pic, MASTER, irq);
	if (irq == CASCADE_IRQ) {
		which = SLAVE;
		irq = pic_pending(pic, SLAVE);
		if (irq >= 0)
			acked |= pic_intack(pic, SLAVE, irq);
	}
	/* A request that vanished: the lowest one, without an ISR bit. */
	if (irq < 0)
		irq = SPURIOUS_IRQ;
	vector = pic->chip[which].irq_base + irq;
	pic_update(pic);
	raw_spin_unlock_irqrestore(&pic->lock, flags);
	pic_notify(vm, acked);
	return vector;
}

/* --- command and data ports; each returns the pins that it acknowledges --- */

static unsigned long pic_icw1(struct mezz_pic *pic, unsigned int which, u8 val)
{
	struct kvm_pic_state *c = &pic->chip[which];
	u8 gone = c->isr | (c->irr & ~c->elcr);

	c->init4 = val & ICW1_IC4;
	c->last_irr &= c->elcr;
	c->irr &= c->elcr;
	c->imr = 0;
	c->isr = 0;
	c->priority_add = 0;
	c->read_reg_select = 0;
	c->poll = 0;
	c->special_mask = 0;
	c->rotate_on_auto_eoi = 0;
	if (!c->init4) {
		c->special_fully_nested_mode = 0;
		c->auto_eoi = 0;
	}
	c->init_state = PIC_ICW2;
	return pic_pins(which, gone);
}

static unsigned long pic_eoi(struct mezz_pic *pic, unsigned int which, unsigned int irq,
			     bool rotate)
{
	struct kvm_pic_state *c = &pic->chip[which];

	c->isr &= ~BIT(irq);
	if (rotate)
		c->priority_add = (irq + 1) & 7;
	return pic_pins(which, BIT(irq));
}

static unsigned long pic_ocw2(struct mezz_pic *pic, unsigned int which, u8 val)
{
	struct kvm_pic_state *c = &pic->chip[which];
	unsigned int rank;

	switch (val >> 5) {
	case 0:		/* rotate in automatic EOI mode: clear, set */
	case 4:
		c->rotate_on_auto_eoi = val >> 7;
		return 0;
	case 1:		/* non-specific EOI; and rotate */
	case 5:
		/* It does not see what the special mask mode hides. */
		rank = pic_rank(c, c->isr & ~(c->special_mask ? c->imr : 0));
		return rank < 8 ? pic_eoi(pic, which, rank_to_irq(c, rank), val >> 7) : 0;
	case 3:		/* specific EOI; and rotate */
	case 7:
		return pic_eoi(pic, which, val & 7, val >> 7);
	case 6:		/* set priority */
		c->priority_add = (val + 1) & 7;
		return 0;
	}
	return 0;
}

static void pic_ocw3(struct kvm_pic_state *c, u8 val)
{
	if (val & OCW3_POLL)
		c->poll = 1;
	if (val & OCW3_RR)
		c->read_reg_select = val & OCW3_RIS;
	if (val & OCW3_ESMM)
		c->special_mask = !!(val & OCW3_SMM);
}

static unsigned long pic_command(struct mezz_pic *pic, unsigned int which, u8 val)
{
	if (val & ICW1)
		return pic_icw1(pic, which, val);
	if (!(val & OCW3))
		return pic_ocw2(pic, which, val);
	pic_ocw3(&pic->chip[which], val);
	return 0;
}

static void pic_data(struct kvm_pic_state *c, u8 val)
{
	switch (c->init_state) {
	case PIC_ICW2:
		c->irq_base = val & 0xf8;
		c->init_state = PIC_ICW3;
		break;
	case PIC_ICW3:		/* the wiring is what it is */
		c->init_state = c->init4 ? PIC_ICW4 : PIC_READY;
		break;
	case PIC_ICW4:
		c->special_fully_nested_mode = !!(val & ICW4_SFNM);
		c->auto_eoi = !!(val & ICW4_AEOI);
		c->init_state = PIC_READY;
		break;
	default:
		c->imr = val;
	}
}

/* Poll: the read is the INTA cycle, without a vector. */
static u8 pic_poll(struct mezz_pic *pic, unsigned int which, unsigned long *acked)
{
	int irq = pic_pending(pic, which);

	pic->chip[which].poll = 0;
	if (irq >= 0)
		*acked |= pic_intack(pic, which, irq);
	pic_update(pic);
	return irq < 0 ? 0 : 0x80 | irq;
}

static unsigned int port_chip(u64 port)
{
	return port >> 7 & 1 ? SLAVE : MASTER;
}

static void pic_unmasked(struct mezz_vm *vm, unsigned long pins)
{
	int idx = mezz_read_lock(vm);
	unsigned int pin;

	for_each_set_bit(pin, &pins, MEZZ_PIC_PINS)
		if (!mezz_pin_to_gsi(vm, pin < 8 ? KVM_IRQCHIP_PIC_MASTER :
				     KVM_IRQCHIP_PIC_SLAVE, pin))
			mezz_pit_unmasked(vm);
	mezz_read_unlock(vm, idx);
}

static bool pic_write(void *dev, u64 port, unsigned int len, const void *data)
{
	struct mezz_pic *pic = dev;
	unsigned int which = port_chip(port);
	struct kvm_pic_state *c = &pic->chip[which];
	unsigned long flags, acked = 0;
	u8 val = *(const u8 *)data;
	u8 imr;

	/* The chips are on the 8-bit bus. */
	if (len != 1)
		return true;
	raw_spin_lock_irqsave(&pic->lock, flags);
	imr = c->imr;
	if (port & 1)
		pic_data(c, val);
	else
		acked = pic_command(pic, which, val);
	imr &= ~c->imr;
	pic_update(pic);
	raw_spin_unlock_irqrestore(&pic->lock, flags);
	if (imr)
		pic_unmasked(pic->vm, pic_pins(which, imr));
	if (acked)
		pic_notify(pic->vm, acked);
	return true;
}

static bool pic_read(void *dev, u64 port, unsigned int len, void *data)
{
	struct mezz_pic *pic = dev;
	unsigned int which = port_chip(port);
	struct kvm_pic_state *c = &pic->chip[which];
	unsigned long flags, acked = 0;
	u8 val;

	memset(data, 0, len);
	if (len != 1)
		return true;
	raw_spin_lock_irqsave(&pic->lock, flags);
	if (c->poll)
		val = pic_poll(pic, which, &acked);
	else if (port & 1)
		val = c->imr;
	else
		val = c->read_reg_select ? c->isr : c->irr;
	raw_spin_unlock_irqrestore(&pic->lock, flags);
	pic_notify(pic->vm, acked);
	*(u8 *)data = val;
	return true;
}

static bool elcr_write(void *dev, u64 port, unsigned int len, const void *data)
{
	struct mezz_pic *pic = dev;
	struct kvm_pic_state *c = &pic->chip[port & 1];
	unsigned long flags;

	if (len != 1)
		return true;
	raw_spin_lock_irqsave(&pic->lock, flags);
	c->elcr = *(const u8 *)data & c->elcr_mask;
	/* What is level-triggered now is requested while its line is up. */
	c->irr = (c->irr & ~c->elcr) | (c->last_irr & c->elcr);
	pic_update(pic);
	raw_spin_unlock_irqrestore(&pic->lock, flags);
	return true;
}

static bool elcr_read(void *dev, u64 port, unsigned int len, void *data)
{
	struct mezz_pic *pic = dev;

	memset(data, 0, len);
	if (len == 1)
		*(u8 *)data = READ_ONCE(pic->chip[port & 1].elcr);
	return true;
}

static const struct mezz_bus_ops pic_bus_ops = { .write = pic_write, .read = pic_read };
static const struct mezz_bus_ops elcr_bus_ops = { .write = elcr_write, .read = elcr_read };

/* --- KVM_GET_IRQCHIP, KVM_SET_IRQCHIP --- */

void mezz_pic_get(struct mezz_vm *vm, bool slave, struct kvm_pic_state *s)
{
	struct mezz_pic *pic = vm->irq->pic;
	unsigned long flags;

	raw_spin_lock_irqsave(&pic->lock, flags);
	*s = pic->chip[slave];
	raw_spin_unlock_irqrestore(&pic->lock, flags);
}

void mezz_pic_set(struct mezz_vm *vm, bool slave, const struct kvm_pic_state *s)
{
	struct mezz_pic *pic = vm->irq->pic;
	struct kvm_pic_state *c = &pic->chip[slave];
	unsigned long flags;
	u8 elcr_mask;

	raw_spin_lock_irqsave(&pic->lock, flags);
	elcr_mask = c->elcr_mask;
	*c = *s;
	c->elcr_mask = elcr_mask;
	c->elcr &= elcr_mask;
	c->priority_add &= 7;
	c->init_state &= 3;
	pic_update(pic);
	raw_spin_unlock_irqrestore(&pic->lock, flags);
}

/* --- life cycle --- */

int mezz_pic_create(struct mezz_vm *vm)
{
	struct mezz_pic *pic = kzalloc(sizeof(*pic), GFP_KERNEL_ACCOUNT);
	const struct mezz_bus_entry ranges[] = {
		{ .addr = PORT_MASTER, .len = 2, .kind = MEZZ_BUS_DEVICE,
		  .ops = &pic_bus_ops, .dev = pic },
		{ .addr = PORT_SLAVE, .len = 2, .kind = MEZZ_BUS_DEVICE,
		  .ops = &pic_bus_ops, .dev = pic },
		{ .addr = PORT_ELCR, .len = 2, .kind = MEZZ_BUS_DEVICE,
		  .ops = &elcr_bus_ops, .dev = pic },
	};
	int r;

	if (!pic)
		return -ENOMEM;
	pic->vm = vm;
	raw_spin_lock_init(&pic->lock);
	/* Timer, keyboard, cascade, RTC and FPU are always edge-triggered. */
	pic->chip[MASTER].elcr_mask = 0xf8;
	pic->chip[SLAVE].elcr_mask = 0xde;
	mutex_lock(&vm->slots_lock);
	r = mezz_bus_add(vm, MEZZ_BUS_PIO, ranges, ARRAY_SIZE(ranges));
	mutex_unlock(&vm->slots_lock);
	if (r)
		kfree(pic);
	else
		vm->irq->pic = pic;
	return r;
}

void mezz_pic_free(struct mezz_vm *vm)
{
	struct mezz_pic *pic = vm->irq->pic;

	if (!pic)
		return;
	/* KVM_CREATE_IRQCHIP failed half way. At the VM's end the bus is gone. */
	if (!mezz_irqchip_full(vm)) {
		mutex_lock(&vm->slots_lock);
		mezz_bus_remove(vm, MEZZ_BUS_PIO, pic);
		mutex_unlock(&vm->slots_lock);
	}
	vm->irq->pic = NULL;
	kfree(pic);
}
