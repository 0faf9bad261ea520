/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: slots, second-stage tables, the MMU notifier, dirty tracking.
 *
 * Goals, in this order: guest memory stays ordinary process memory (nothing is
 * pinned, nothing is cached as a page reference); a fault is short; faults of
 * different vCPUs run side by side; what the notifier drops is gone from all
 * vCPUs when the notifier returns.
 *
 * Locking: mmu.lock read: install entries and permissions (cmpxchg), hang in
 * tables; mmu.lock write: clear or weaken entries, take tables out. The notifier
 * takes it for writing, a fault for reading with IRQs off, and never across
 * mezz_flush_all(): that waits for CPUs which may wait for the lock. So between
 * an entry's end and the flush somebody else may find it absent while TLBs still
 * hold it. Whoever looks for entries to drop or weaken while such a flush is
 * outstanding (unflushed) therefore flushes, too, whether it finds one or not.
 *
 * Faults against invalidations: a fault reads the host's page table and
 * installs its entry under one mmu.lock read section, with no invalidation of
 * that address under way (inval_count, inval_start, inval_end). An
 * invalidation that begins later waits for the lock and then finds the entry;
 * one that ended earlier has changed the host's page table before the fault
 * looked. So nothing has to be sampled and compared, and no page is held.
 *
 * Dirtiness: a second-stage entry is writable only while the host's entry is
 * writable and dirty (a write fault sets that bit, see host/mm.c). Whenever the
 * host cleans or write-protects an entry it tells the notifier first, which
 * drops ours. So the host's accounting of dirty pages is never bypassed.
 *
 * More permission in an entry needs no TLB flush: a CPU that faults on a cached
 * translation walks the tables again (APM 2, "Nested Paging"; SDM 3,
 * "Invalidation of cached information: EPT violations").
 */
#ifndef MEZZ_MMU_H
#define MEZZ_MMU_H

#include <linux/atomic.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/kvm.h>

struct kvm_enable_cap;
struct page;
struct mezz_vm;
struct mezz_vcpu;

#define MEZZ_MAX_SLOTS	512	/* ids 0..511 for user space */

/**
 * struct mezz_slot - one KVM_SET_USER_MEMORY_REGION
 * @gfn: first guest frame
 * @npages: 4 KiB pages
 * @hva: user virtual address of the first page, in vm->mm
 * @id: slot number
 * @flags: KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY
 * @dirty: bitmap, one bit a page, when logging; else NULL
 */
struct mezz_slot {
	u64 gfn;
	u64 npages;
	unsigned long hva;
	u32 id;
	u32 flags;
	unsigned long *dirty;
};

/**
 * struct mezz_slots - all slots of a VM, replaced as a whole (SRCU)
 * @generation: changes with every replacement; caches compare it
 * @n: how many
 * @hint: index of the last one found; a guess that anybody may overwrite
 * @slot: sorted by gfn, disjoint
 */
struct mezz_slots {
	u64 generation;
	unsigned int n;
	unsigned int hint;
	struct mezz_slot *slot[];
};

/**
 * struct mezz_pt_format - what a second-stage entry looks like; pure data
 * @present: entry is present when any of these bits is set
 * @table: bits of an entry that points to a table
 * @leaf: bits of every leaf (memory type, accessed, user)
 * @large: bit of a leaf above level 1
 * @read: bits that permit reading
 * @write: bits that permit writing
 * @exec: bits that permit execution when set (EPT), or 0
 * @nx: bits that forbid execution (NPT), or 0
 * @accessed: accessed bit set by hardware, or 0
 * @dirty: dirty bit set by hardware, or 0
 * @addr: mask of the physical address
 * @uncached: bits of a leaf that are the opposite of @leaf's for memory that the
 *	host does not map write-back
 * @logs: the CPU can log writes that set @dirty (mezz_engine.log_writes)
 */
struct mezz_pt_format {
	u64 present, table, leaf, large, read, write, exec, nx, accessed, dirty, addr;
	u64 uncached;
	bool logs;
};

/**
 * struct mezz_mmu - second-stage tables of a VM
 * @lock: see top of file
 * @root: kernel virtual address of the top table page
 * @root_hpa: its host physical address, with the encryption bit if the host
 *	sets it
 * @inval_count: invalidations under way; with @lock
 * @inval_start: first HVA of those
 * @inval_end: last HVA + 1 of those
 * @inval_seq: invalidations that have ended; with @lock, read without it as a hint
 * @inval_wait: a fault that met an invalidation sleeps here for the next end of
 *	one: whoever invalidates may need the CPU that the fault would spin on
 * @unflushed: how many have taken entries, or bits of them, out and not flushed yet;
 *	increased with @lock held for writing
 * @leaving: a slot that is in vm->slots no more but whose entries may still
 *	exist, or be in TLBs, so the notifier has to look at it too; with @lock
 * @nr_pages: what KVM_SET_NR_MMU_PAGES said; limits nothing
 * @manual_protect: KVM_DIRTY_LOG_* bits of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
 *	written with vm->slots_lock
 * @logging: how many slots log; written with vm->slots_lock
 */
struct mezz_mmu {
	rwlock_t lock;
	u64 *root;
	u64 root_hpa;
	unsigned long inval_count;
	unsigned long inval_start, inval_end;
	unsigned long inval_seq;
	wait_queue_head_t inval_wait;
	atomic_t unflushed;
	struct mezz_slot *leaving;
	unsigned long nr_pages;
	u64 manual_protect;
	unsigned int logging;
};

/* What mezz_mmu_fault says. */
enum mezz_fault {
	MEZZ_FAULT_FIXED = 0,	/* mapped (or spurious): enter again */
	MEZZ_FAULT_MMIO,	/* no slot, or a write to a read-only one: emulate */
	MEZZ_FAULT_AGAIN,	/* cannot be settled with IRQs off */
	MEZZ_FAULT_BAD,		/* slot without usable memory behind it: -EFAULT */
	MEZZ_FAULT_SIGNAL,	/* a signal is pending: -EINTR */
	MEZZ_FAULT_LATER,	/* the page is on its way, and the guest can do something else */
};

/*
 * VM life cycle. [P] From init to destroy the notifier may call
 * mezz_flush_all(): vCPUs have to be freed after destroy, which also frees the
 * slots.
 */
int mezz_mmu_init(struct mezz_vm *vm);
void mezz_mmu_destroy(struct mezz_vm *vm);

/**
 * mezz_mmu_fault() - settle a second-stage fault
 * @v: the vCPU; SRCU read side held
 * @gpa: faulting guest physical address
 * @access: MEZZ_ACC_* (engine.h)
 * Context: v->atomic tells: then nothing sleeps and the answer may be AGAIN.
 */
enum mezz_fault mezz_mmu_fault(struct mezz_vcpu *v, u64 gpa, u32 access);

/* --- slots; SRCU read side held by the caller --- */
struct mezz_slot *mezz_slot_find(struct mezz_vm *vm, u64 gfn);
/* HVA of a frame, or 0 if no slot (or @write and it is read-only). */
unsigned long mezz_gfn_hva(struct mezz_vm *vm, u64 gfn, bool write);
/* The CPU has logged a write to the page of @gpa. SRCU read side held; any context. */
void mezz_log_write(struct mezz_vcpu *v, u64 gpa);
/* Settles MEZZ_REQ_LOG. [P] 0 or -ENOMEM */
int mezz_log_apply(struct mezz_vcpu *v);

/* --- ring.c: the dirty ring --- */
/* vm->lock held. KVM_CAP_DIRTY_LOG_RING with @size bytes. 0, -EINVAL, -E2BIG */
long mezz_ring_enable(struct mezz_vm *vm, u64 size);
/* [P] A new vCPU's ring, if the VM has rings. 0 or -ENOMEM */
int mezz_ring_alloc(struct mezz_vcpu *v);
void mezz_ring_free(struct mezz_vcpu *v);
/* Page @offset of the ring, for the vCPU's mapping; NULL beyond it. */
struct page *mezz_ring_page(struct mezz_vcpu *v, unsigned long offset);
/* Has the vCPU to wait until user space has emptied its ring? Any context. */
bool mezz_ring_full(struct mezz_vcpu *v);

/**
 * mezz_guest_read() - copy from guest physical memory
 * @v: the vCPU (current->mm must be vm->mm); SRCU read side held
 * @gpa: guest physical address; may cross pages and slots
 * @buf: kernel buffer
 * @len: bytes
 * Context: v->atomic: page faults are not taken, -EAGAIN instead.
 * Return: 0, -EFAULT (no memory there), -EAGAIN
 */
int mezz_guest_read(struct mezz_vcpu *v, u64 gpa, void *buf, unsigned int len);
/* The same for writing; marks pages dirty; read-only slots give -EFAULT. */
int mezz_guest_write(struct mezz_vcpu *v, u64 gpa, const void *buf, unsigned int len);
/**
 * mezz_guest_cmpxchg() - atomic compare and exchange in guest memory
 * @v: the vCPU; SRCU read side held
 * @gpa: naturally aligned
 * @old: expected value, @size bytes; holds the value found on return
 * @new: new value
 * @size: 1, 2, 4, 8 (and 16 where the CPU has CX16)
 * Return: 0 (compare *@old with what you expected), -EFAULT, -EAGAIN
 */
int mezz_guest_cmpxchg(struct mezz_vcpu *v, u64 gpa, void *old, const void *new,
		       unsigned int size);

/*
 * VM ioctls of this folder: SET_USER_MEMORY_REGION, GET_DIRTY_LOG,
 * CLEAR_DIRTY_LOG, RESET_DIRTY_RINGS, SET_NR_MMU_PAGES, GET_NR_MMU_PAGES.
 * Return: -ENOIOCTLCMD when @cmd is none of them.
 */
long mezz_mmu_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg);
/* KVM_CHECK_EXTENSION of this folder; -1: not mine. */
long mezz_mmu_cap(struct mezz_vm *vm, unsigned long cap);
/* KVM_ENABLE_CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2): 0 or -EINVAL. [P] */
long mezz_mmu_enable_manual_protect(struct mezz_vm *vm, const struct kvm_enable_cap *cap);

#endif
