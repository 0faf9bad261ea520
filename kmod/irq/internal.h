/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of irq/ share with each other and with nobody else.
 *
 * Why raw spinlocks: the devices are reached from a section (interrupts off),
 * from hrtimer callbacks in hard interrupt context and from eventfd wake-ups.
 *
 * Lock order: irqfds_lock is taken below an eventfd's wait-queue lock, so
 * nothing here signals an eventfd while it holds irqfds_lock. resampler_lock
 * is a mutex beside slots_lock, never held together with it. The ioapic, pic
 * and pit locks are leaves with one exception: the ioapic and pic deliver to
 * LAPICs (lock-free) while they are held. Acknowledge notifications are sent
 * after the controller's lock has been dropped, because they inject again.
 */
#ifndef MEZZ_IRQ_INTERNAL_H
#define MEZZ_IRQ_INTERNAL_H

#include <linux/bitmap.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>
#include "../vcpu.h"
#include "../vm.h"
#include "irq.h"

/* Who drives a line: lines are OR-ed per source. */
enum mezz_irq_source {
	MEZZ_SRC_USER,		/* KVM_IRQ_LINE, KVM_IRQFD, MSI */
	MEZZ_SRC_RESAMPLE,	/* irqfds with a resample eventfd */
	MEZZ_SRC_PIT,
};

enum mezz_irqchip_mode { MEZZ_CHIP_NONE, MEZZ_CHIP_SPLIT, MEZZ_CHIP_FULL };

#define MEZZ_IOAPIC_PINS	24
#define MEZZ_PIC_PINS		16
#define MEZZ_MAX_GSI		4096	/* KVM_CAP_IRQ_ROUTING */
#define MEZZ_MAX_ROUTES		4096
/* Shortest period of an emulated timer, in ns: bounds the host's interrupt load. */
#define MEZZ_MIN_PERIOD_NS	200000

struct mezz_lapic;
struct mezz_pic;
struct mezz_ioapic;
struct mezz_pit;
struct mezz_routing;

/* --- messages to LAPICs (lapic_msg.c) --- */

/* Delivery modes (SDM 3, "Interrupt Command Register (ICR)"). */
enum mezz_dm {
	MEZZ_DM_FIXED, MEZZ_DM_LOWEST, MEZZ_DM_SMI, MEZZ_DM_RESERVED,
	MEZZ_DM_NMI, MEZZ_DM_INIT, MEZZ_DM_SIPI, MEZZ_DM_EXTINT,
};

enum mezz_shorthand { MEZZ_SH_NONE, MEZZ_SH_SELF, MEZZ_SH_ALL, MEZZ_SH_OTHERS };

/**
 * struct mezz_msg - an interrupt message, from an ICR, an RTE or an MSI
 * @dest: destination, 8 bits, or 32 when sent by an x2APIC or with
 *	KVM_X2APIC_API_USE_32BIT_IDS
 * @vector: interrupt vector
 * @mode: enum mezz_dm
 * @shorthand: enum mezz_shorthand
 * @logical: @dest is a logical destination
 * @level: level-triggered
 * @assert: clear only for the INIT level de-assert message
 * @lowest: deliver to one of the destinations only
 */
struct mezz_msg {
	u32 dest;
	u8 vector;
	u8 mode;
	u8 shorthand;
	bool logical;
	bool level;
	bool assert;
	bool lowest;
};

/**
 * struct mezz_apic_map - which LAPIC answers to which address
 * Entries are index of the vCPU + 1, 0 is none. Written under map_lock, each
 * entry on its own, and read without a lock: a LAPIC whose address does not
 * change never disappears from the map.
 * @flat: by bit of a flat logical destination
 * @cluster: by cluster and bit of an xAPIC cluster destination
 * @logical: enum mezz_logical_mode
 * @phys: by APIC ID, whatever mode the LAPIC is in: one in xAPIC mode whose ID does
 *	not fit is found by those who can name it
 */
struct mezz_apic_map {
	struct mezz_apic_logical {
		u8 flat[8];
		u8 cluster[16][4];
		u8 logical;
	} l;
	u8 phys[MEZZ_MAX_VCPU_ID];
};

/* How a logical destination is looked up; SLOW asks every LAPIC. */
enum mezz_logical_mode {
	MEZZ_LOGICAL_SLOW, MEZZ_LOGICAL_FLAT, MEZZ_LOGICAL_CLUSTER, MEZZ_LOGICAL_X2APIC
};

/**
 * mezz_msg_deliver() - send a message to the LAPICs that it addresses
 * @vm: the VM
 * @src: the sending LAPIC's vCPU, NULL when it comes from a device
 * @m: the message
 * Context: any but NMI.
 * Return: number of LAPICs that took it, -1 if none was addressed
 */
int mezz_msg_deliver(struct mezz_vm *vm, struct mezz_vcpu *src, const struct mezz_msg *m);
/* Is @m's vector pending in any LAPIC that a device's message @m addresses? */
bool mezz_msg_pending(struct mezz_vm *vm, const struct mezz_msg *m);
/* Rebuild the logical part of the map; a LAPIC's mode, LDR or DFR changed. */
void mezz_apic_map_update(struct mezz_vm *vm);

/* --- buses (bus.c) --- */
enum mezz_bus_kind {
	MEZZ_BUS_IOEVENTFD, MEZZ_BUS_COALESCED, MEZZ_BUS_DEVICE,
	MEZZ_BUS_GONE,		/* unregistered; dropped by the next mezz_bus_add() */
};

enum mezz_bus_id { MEZZ_BUS_MMIO, MEZZ_BUS_PIO, MEZZ_NR_BUSES };

/**
 * struct mezz_bus_ops - an emulated device on a bus
 * Both return true when the access was taken. Context: IRQs may be off.
 */
struct mezz_bus_ops {
	bool (*write)(void *dev, u64 addr, unsigned int len, const void *data);
	bool (*read)(void *dev, u64 addr, unsigned int len, void *data);
};

/**
 * struct mezz_bus_entry - one registered range
 * @addr: first address
 * @len: bytes; 0 is an ioeventfd that takes an access of any length at @addr
 * @reach: end of the furthest-reaching entry up to and including this one
 * @kind: enum mezz_bus_kind
 * @ops: handlers if @kind is MEZZ_BUS_DEVICE
 * @dev: what @kind says
 */
struct mezz_bus_entry {
	u64 addr;
	u64 reach;
	u32 len;
	u32 kind;
	const struct mezz_bus_ops *ops;
	void *dev;
};

/*
 * Sorted by address, then latest registration first; replaced as a whole under
 * SRCU, except that an entry's kind may become MEZZ_BUS_GONE in place.
 */
struct mezz_bus {
	unsigned int n;
	struct mezz_bus_entry e[];
};

/* Limit of KVM's buses, ioeventfds not counted: a client sees the same -ENOSPC. */
#define MEZZ_BUS_MAX	1000

/**
 * mezz_bus_add() - register ranges
 * @vm: the VM; slots_lock held
 * @bus: which
 * @e: the ranges; .reach is computed
 * @n: how many
 * An access goes to the range that contains it and starts last; of those that
 * start at one address, to the one registered first that takes it.
 * Context: [P], not inside mezz_read_lock().
 * Return: 0, -ENOMEM, -ENOSPC
 */
int mezz_bus_add(struct mezz_vm *vm, enum mezz_bus_id bus, const struct mezz_bus_entry *e,
		 unsigned int n);
/* Unregister every range of @dev and wait until no one uses it. slots_lock held. [P] */
void mezz_bus_remove(struct mezz_vm *vm, enum mezz_bus_id bus, void *dev);
/* Life cycle: empty buses; without readers. [P] */
int mezz_bus_init(struct mezz_vm *vm);
void mezz_bus_free(struct mezz_vm *vm);

/* --- the parts of a VM --- */
struct mezz_irq_vm {
	enum mezz_irqchip_mode mode;	/* release: set after the chips exist */
	raw_spinlock_t map_lock;
	struct mezz_apic_map map;
	struct mezz_routing __rcu *routing;	/* NULL: no route */
	struct mezz_bus __rcu *bus[MEZZ_NR_BUSES];
	struct mezz_pic *pic;
	struct mezz_ioapic *ioapic;
	struct mezz_pit *pit;		/* release */
	int nmi_wd;			/* a LAPIC has had LVT0 in NMI mode */
	/* Vectors whose EOI the IOAPIC wants although they are edge-triggered. */
	DECLARE_BITMAP(eoi_vec, 256);

	spinlock_t irqfds_lock;		/* irqfds, irqfds_dead, which of them are dead */
	struct list_head irqfds;
	struct list_head irqfds_dead;	/* hung up, wait for reap */
	struct work_struct reap;
	struct mutex resampler_lock;	/* who assigns or shuts down irqfds */
	struct list_head resamplers;	/* irqfds with a resample eventfd; readers: SRCU */
	struct list_head ioeventfds;	/* slots_lock */
	struct list_head zones;		/* slots_lock */
	raw_spinlock_t ring_lock;
	struct page *ring;		/* cmpxchg: allocated on first use */
	struct mezz_vm *vm;
};

/* --- routing.c --- */
int mezz_routing_default(struct mezz_vm *vm);
void mezz_routing_free(struct mezz_vm *vm);
long mezz_routing_ioctl(struct mezz_vm *vm, unsigned long arg);
long mezz_signal_msi(struct mezz_vm *vm, unsigned long arg);
long mezz_irq_line(struct mezz_vm *vm, unsigned int cmd, unsigned long arg);
/* KVM_X2APIC_API_USE_32BIT_IDS was enabled: MSI routes made before it have them, too. [P] */
void mezz_routing_widen(struct mezz_vm *vm);
/* Assert and release @gsi as user space's source: an edge. Any context but NMI. */
void mezz_pulse_gsi(struct mezz_vm *vm, u32 gsi);
/*
 * GSI that leads to this pin, or -1. SRCU read side held. For the PICs, here
 * and below, @pin may be counted from the master's or from @chip's own first.
 */
int mezz_pin_to_gsi(struct mezz_vm *vm, unsigned int chip, unsigned int pin);
/*
 * A guest acknowledged @pin of @chip (KVM_IRQCHIP_*). No chip lock held, and
 * never from the wake-up of an eventfd: it signals others.
 */
void mezz_notify_ack(struct mezz_vm *vm, unsigned int chip, unsigned int pin);
/* Does an acknowledgment of this pin interest anybody? */
bool mezz_pin_has_notifier(struct mezz_vm *vm, unsigned int chip, unsigned int pin);

/*
 * --- ioapic.c, pic.c ---
 * create: [P], vm->lock held; takes slots_lock to register with the buses, and
 * leaves nothing behind on error. free: [P], also without such a chip; takes it
 * off the bus when KVM_CREATE_IRQCHIP failed, else the bus is gone already.
 */
int mezz_ioapic_create(struct mezz_vm *vm);
void mezz_ioapic_stop(struct mezz_vm *vm);
void mezz_ioapic_free(struct mezz_vm *vm);
int mezz_ioapic_set_irq(struct mezz_vm *vm, unsigned int pin, unsigned int src, int level);
/* EOI broadcast of @v for @vector; @level as its TMR bit says. */
void mezz_ioapic_eoi(struct mezz_vcpu *v, u8 vector, bool level);
/* Notifiers or routes changed: recompute mezz_irq_vm.eoi_vec. */
void mezz_ioapic_rescan(struct mezz_vm *vm);
void mezz_ioapic_get(struct mezz_vm *vm, struct kvm_ioapic_state *s);
void mezz_ioapic_set(struct mezz_vm *vm, const struct kvm_ioapic_state *s);

int mezz_pic_create(struct mezz_vm *vm);
void mezz_pic_free(struct mezz_vm *vm);
int mezz_pic_set_irq(struct mezz_vm *vm, unsigned int pin, unsigned int src, int level);
bool mezz_pic_output(struct mezz_vm *vm);
int mezz_pic_ack(struct mezz_vm *vm);	/* INTA cycle: a vector */
void mezz_pic_get(struct mezz_vm *vm, bool slave, struct kvm_pic_state *s);
void mezz_pic_set(struct mezz_vm *vm, bool slave, const struct kvm_pic_state *s);

/* --- pit.c; stop and free also without a PIT --- */
long mezz_pit_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg);
void mezz_pit_stop(struct mezz_vm *vm);
void mezz_pit_free(struct mezz_vm *vm);
void mezz_pit_acked(struct mezz_vm *vm);	/* GSI 0 was acknowledged */
void mezz_pit_unmasked(struct mezz_vm *vm);	/* pin of GSI 0 was unmasked */
bool mezz_pit_wants_ack(struct mezz_vm *vm);

/* --- irqfd.c --- */
void mezz_irqfd_init(struct mezz_vm *vm);
void mezz_irqfd_stop(struct mezz_vm *vm);
long mezz_irqfd_ioctl(struct mezz_vm *vm, unsigned long arg);
/* De-assert and signal the resample eventfds of @gsi. SRCU read side held. */
void mezz_irqfd_acked(struct mezz_vm *vm, u32 gsi);
bool mezz_irqfd_has_resampler(struct mezz_vm *vm, u32 gsi);

/* --- ioeventfd.c, coalesced.c --- */
long mezz_ioeventfd_ioctl(struct mezz_vm *vm, unsigned long arg);
void mezz_ioeventfd_stop(struct mezz_vm *vm);
/* Is this write @dev's? Then signal it. */
bool mezz_ioeventfd_write(void *dev, u64 addr, unsigned int len, const void *data);
long mezz_coalesced_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg);
void mezz_coalesced_stop(struct mezz_vm *vm);
bool mezz_coalesced_write(void *dev, u64 addr, unsigned int len, const void *data);

#endif
