/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtual machine: memory, vCPUs, interrupt controllers, and its locks.
 *
 * Locks, outermost first:
 *   vm->lock (mutex)		creation of vCPUs and devices, capabilities
 *   v->mutex			one vCPU's state; never two at a time
 *   vm->slots_lock (mutex)	replaces the slot array, buses, routing
 *   vm->srcu			readers of slots, buses, routing: take
 *				mezz_read_lock() around every use of a pointer
 *				obtained from them; allowed in any context but
 *				NMI; handlers called by the run loop hold it
 *   mm->mmap_lock		only below the above
 *   vm->mmu.lock (rwlock)	second-stage tables (mmu/mmu.h)
 *   irq locks (spinlocks, IRQs off)	irq/irq.h
 */
#ifndef MEZZ_VM_H
#define MEZZ_VM_H

#include <linux/atomic.h>
#include <linux/kref.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/wait.h>
#include <linux/kvm.h>
#include "stats.h"
#include "mmu/mmu.h"

#define MEZZ_MAX_VCPUS	64
#define MEZZ_MAX_VCPU_ID 4096	/* exclusive; those from 255 on are for x2APICs */

struct mezz_irq_vm;
struct mezz_msr_filter;
struct mezz_pv_vm;
struct mezz_vcpu;

/**
 * struct mezz_tsc_sync - the last TSC write of user space, to see that the next
 * one means the same time (cpu/tsc.c)
 * @lock: guards the rest; taken with IRQs on or off
 * @ns: host's raw monotonic clock at that write
 * @tsc: what the TSC was then
 * @offset: TSC offset that followed
 * @khz: guest TSC frequency then
 * @in_step: user space gave all vCPUs the same TSC; read without the lock
 */
struct mezz_tsc_sync {
	raw_spinlock_t lock;
	u64 ns, tsc, offset;
	u32 khz;
	bool in_step;
};

struct mezz_vm {
	struct mm_struct *mm;		/* held (mmgrab) */
	struct kref ref;		/* vm fd, vCPU fds, stats fds */
	struct mutex lock;	/* creation of vCPUs and devices, capabilities */
	struct mutex slots_lock;	/* slots, buses, routing: writers */
	struct srcu_struct srcu;
	/*
	 * mezz_synchronize() calls under way. The run loop opens no section
	 * while there are any.
	 */
	atomic_t writers;
	wait_queue_head_t writers_gone;
	struct mezz_slots __rcu *slots;	/* SRCU; see mmu/mmu.h */
	struct mezz_mmu mmu;
	struct mmu_notifier notifier;
	struct mezz_irq_vm *irq;	/* routing, buses, irqchips: irq/irq.h */
	struct mezz_pv_vm *pv;		/* clock */
	struct mezz_vcpu *vcpus[MEZZ_MAX_VCPUS];	/* published with release */
	int nr_vcpus;			/* read with smp_load_acquire */
	u32 bsp_id;			/* KVM_SET_BOOT_CPU_ID */
	u32 tsc_khz;			/* default of new vCPUs */
	struct mezz_tsc_sync tsc;
	struct mezz_msr_filter __rcu *msr_filter;	/* SRCU; cpu/msr_user.c */
	u32 msr_exits;			/* KVM_MSR_EXIT_REASON_* that leave to user space */
	u64 disabled_exits;		/* KVM_X86_DISABLE_EXITS_* */
	u64 disabled_quirks;		/* KVM_X86_QUIRK_*; written under lock */
	u64 exit_hypercalls;		/* bits of those that leave to user space; likewise */
	u32 ring_size;			/* bytes of a vCPU's dirty ring, 0: dirty bitmaps */
	u32 max_vcpu_id;		/* exclusive; KVM_CAP_MAX_VCPU_ID, 0: not set */
	bool hide_platform_info;	/* KVM_CAP_MSR_PLATFORM_INFO disabled */
	bool x2apic_ids;		/* KVM_X2APIC_API_USE_32BIT_IDS enabled */
	bool x2apic_strict;		/* KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK enabled */
	bool exception_payload;		/* KVM_CAP_EXCEPTION_PAYLOAD enabled */
	bool triple_fault_event;	/* KVM_CAP_X86_TRIPLE_FAULT_EVENT enabled */
	u64 identity_map_addr;
	u64 stat[MEZZ_NR_VM_STATS];
	u32 serial;			/* for tracepoints and stats names */
};

static inline int mezz_read_lock(struct mezz_vm *vm)
{
	return srcu_read_lock(&vm->srcu);
}

static inline void mezz_read_unlock(struct mezz_vm *vm, int idx)
{
	srcu_read_unlock(&vm->srcu, idx);
}

static inline int mezz_nr_vcpus(struct mezz_vm *vm)
{
	/* Pairs with the release when a vCPU is published. */
	return smp_load_acquire(&vm->nr_vcpus);
}

/* Add @n to a statistic of the VM's. Any context: several threads count at the same time. */
static inline void mezz_vm_count(struct mezz_vm *vm, enum mezz_vm_stat stat, s64 n)
{
	atomic64_add(n, (atomic64_t *)&vm->stat[stat]);
}

/*
 * Is this KVM_X86_QUIRK_* on? All are, until user space disables them, which it may at any
 * time. It counts from the next event of its kind: a reset of the LAPIC, a write of CR0 or
 * of MISC_ENABLE, an exit. Any context.
 */
static inline bool mezz_quirk(struct mezz_vm *vm, u64 quirk)
{
	return !(READ_ONCE(vm->disabled_quirks) & quirk);
}

#define mezz_for_each_vcpu(i, v, vm)					\
	for ((i) = 0; (i) < mezz_nr_vcpus(vm) && ((v) = (vm)->vcpus[i], true); (i)++)

/* Set @req for every vCPU and kick them all. Any context. */
void mezz_poke_all(struct mezz_vm *vm, unsigned int req);

/**
 * mezz_leave_guests() - each vCPU has left the guest, or its section, since this call
 * @vm: the VM
 * They may be there again. Context: as mezz_flush_all().
 */
void mezz_leave_guests(struct mezz_vm *vm);

/**
 * mezz_flush_all() - no vCPU uses a translation that was dropped before this call
 * @vm: the VM
 * Requests a TLB flush of every vCPU and waits until each that is in a section
 * has left the guest. Context: IRQs on, preemption may be off. Never with a
 * lock held that a section takes with IRQs off (mmu.lock): it would wait for a
 * CPU that waits for the lock.
 */
void mezz_flush_all(struct mezz_vm *vm);

/**
 * mezz_synchronize() - wait until nobody uses what an SRCU pointer replaced
 * @vm: the VM; the new pointer is already assigned
 * The run loop holds the read side for the whole of a section, so vCPUs are
 * poked out of theirs first and open no other before it is over. Use this,
 * never synchronize_srcu() alone.
 * Context: may sleep; neither inside mezz_read_lock() nor in a section.
 */
void mezz_synchronize(struct mezz_vm *vm);

void mezz_vm_get(struct mezz_vm *vm);
void mezz_vm_put(struct mezz_vm *vm);
long mezz_create_vm(unsigned long type);

/* The answer to KVM_CHECK_EXTENSION, @vm NULL on the system fd (caps.c). */
long mezz_check_extension(struct mezz_vm *vm, unsigned long cap);

#endif
