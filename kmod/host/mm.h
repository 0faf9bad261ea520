/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's memory manager: where a user address is mapped right now, and
 * making it mapped.
 *
 * Why a walk of our own: the second-stage fault path wants to know frame, page
 * size, writability and dirtiness at once, with interrupts off, and needs no
 * page reference (mmu/fault.c says why). Exported functions give a reference
 * and nothing else, and follow_pte() (6.1) became follow_pfnmap_start()
 * (6.12). The page-table accessors that the walk uses are inline functions and
 * macros which <linux/pgtable.h> offers on all of these kernels.
 */
#ifndef MEZZ_HOST_MM_H
#define MEZZ_HOST_MM_H

#include <linux/mm_types.h>
#include <linux/types.h>

/* mezz_host_map.flags */
#define MEZZ_HOST_WRITE		1u	/* a store by user space would not fault */
#define MEZZ_HOST_DIRTY		2u	/* the host already considers the page dirty */
#define MEZZ_HOST_UNCACHED	4u	/* not write-back: device memory */

/**
 * struct mezz_host_map - what the host's page tables say about an address
 * @pa: physical address of the 4 KiB page, with the encryption bit if the host
 *	sets it
 * @level: 1: mapped by a 4 KiB entry, 2: 2 MiB, 3: 1 GiB; 0: not mapped
 * @flags: MEZZ_HOST_*
 */
struct mezz_host_map {
	u64 pa;
	u16 level;
	u16 flags;
};

/**
 * mezz_host_walk() - look an address up in a process's page tables
 * @mm: the process; its page tables must be alive (mm_users > 0)
 * @hva: user virtual address below TASK_SIZE_MAX
 * @write: about to be written: mark a writable entry dirty, as the CPU's MMU
 *	would for a store by user space
 *
 * Context: interrupts off: that is what keeps the tables from being freed, as
 * for get_user_pages_fast(). The answer is stale at once unless the caller
 * excludes MMU-notifier invalidations.
 */
struct mezz_host_map mezz_host_walk(struct mm_struct *mm, unsigned long hva, bool write);

/**
 * mezz_host_fault_in() - make an address of the current process accessible
 * @hva: user virtual address
 * @write: for writing: break COW
 *
 * The page is not held: by the time the caller looks it may be gone again.
 * Context: may sleep; no mmap_lock held.
 * Return: 0; -EINTR: a signal came first (also SIGBUS for a poisoned page,
 * which has been sent); -EFAULT: nothing usable is mapped there; -ENOMEM
 */
int mezz_host_fault_in(unsigned long hva, bool write);

/**
 * mezz_host_fault_in_nowait() - the same, unless something has to be waited for
 * @hva: user virtual address
 * @write: for writing: break COW
 * Context: may sleep for locks and memory, not for I/O, nor for user space.
 * Return: 0; -EAGAIN: would wait for the page; -EFAULT: ask mezz_host_fault_in()
 */
int mezz_host_fault_in_nowait(unsigned long hva, bool write);

/**
 * mezz_host_fault_in_remote() - make an address of another process accessible
 * @mm: the process's memory, held (mmget)
 * @hva: user virtual address
 * @write: for writing
 * Whether it succeeded shows when the page is used.
 * Context: sleeps, on a userfaultfd for as long as that wants; no mmap_lock held.
 */
void mezz_host_fault_in_remote(struct mm_struct *mm, unsigned long hva, bool write);

#endif
