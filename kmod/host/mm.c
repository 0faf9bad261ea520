// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's memory manager. See mm.h.
 *
 * Drift covered here: get_user_pages_remote() wanted a list of VMAs until 6.5;
 * FOLL_INTERRUPTIBLE exists since 6.2; since 6.6 a caller
 * that wants NUMA-hinting entries to be resolved must say so
 * (FOLL_HONOR_NUMA_FAULT), before that it was the default.
 *
 * Known limit: before 6.2 only a fatal signal ends the wait for a page that
 * user space supplies (userfaultfd).
 */
#include <linux/mem_encrypt.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/version.h>

#include "host/mm.h"

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#define FOLL_GUEST (FOLL_HWPOISON | FOLL_INTERRUPTIBLE | FOLL_HONOR_NUMA_FAULT)
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define FOLL_GUEST (FOLL_HWPOISON | FOLL_INTERRUPTIBLE)
#else
#define FOLL_GUEST FOLL_HWPOISON
#endif

/* Both must be set: a PROT_NONE or NUMA-hinting entry has neither. */
#define USABLE (_PAGE_PRESENT | _PAGE_USER)

/*
 * What the MMU does when it uses a writable entry for a store. Every kernel
 * that runs on this hardware expects these two bits to appear at any time in
 * an entry that permits writing; IOMMUs that share a process's page tables set
 * them in the same way. So no struct page has to be held and dirtied.
 */
static __always_inline bool set_dirty(u64 *entryp, u64 *entry)
{
	const u64 want = _PAGE_DIRTY | _PAGE_ACCESSED;

	if ((*entry & (_PAGE_RW | _PAGE_DIRTY)) != _PAGE_RW)
		return true;
	if (!try_cmpxchg(entryp, entry, *entry | want))
		return false;
	*entry |= want;
	return true;
}

static __always_inline struct mezz_host_map found(void *entryp, u64 entry, unsigned int level,
						  unsigned long hva, bool write)
{
	/* In a large entry, bit 12 is a memory-type bit. */
	u64 cache = level > 1 ? _PAGE_LARGE_CACHE_MASK : _PAGE_CACHE_MASK;
	u64 inside = (PAGE_SIZE << (9 * (level - 1))) - 1;
	struct mezz_host_map map = {
		.pa = (entry & (PTE_PFN_MASK | sme_me_mask) & ~inside) |
		      (hva & inside & PAGE_MASK),
		.level = level,
	};

	/* Changed under our hands: as good as not mapped, the caller asks again. */
	if (unlikely(write && !set_dirty(entryp, &entry)))
		return (struct mezz_host_map) {};
	if (entry & _PAGE_RW)
		map.flags |= MEZZ_HOST_WRITE;
	if (entry & _PAGE_DIRTY)
		map.flags |= MEZZ_HOST_DIRTY;
	if (entry & cache)
		map.flags |= MEZZ_HOST_UNCACHED;
	return map;
}

struct mezz_host_map mezz_host_walk(struct mm_struct *mm, unsigned long hva, bool write)
{
	struct mezz_host_map none = {};
	pgd_t *pgdp = pgd_offset(mm, hva), pgd = READ_ONCE(*pgdp);
	p4d_t *p4dp, p4d;
	pud_t *pudp, pud;
	pmd_t *pmdp, pmd;
	pte_t *ptep, pte;

	if (pgd_none(pgd))
		return none;
	p4dp = p4d_offset_lockless(pgdp, pgd, hva);
	p4d = READ_ONCE(*p4dp);
	if ((p4d_val(p4d) & USABLE) != USABLE)
		return none;
	pudp = pud_offset_lockless(p4dp, p4d, hva);
	pud = READ_ONCE(*pudp);
	if ((pud_val(pud) & USABLE) != USABLE)
		return none;
	if (pud_val(pud) & _PAGE_PSE)
		return found(pudp, pud_val(pud), 3, hva, write);
	pmdp = pmd_offset_lockless(pudp, pud, hva);
	pmd = READ_ONCE(*pmdp);
	if ((pmd_val(pmd) & USABLE) != USABLE)
		return none;
	if (pmd_val(pmd) & _PAGE_PSE)
		return found(pmdp, pmd_val(pmd), 2, hva, write);
	ptep = pte_offset_kernel(&pmd, hva);
	pte = READ_ONCE(*ptep);
	if ((pte_val(pte) & USABLE) != USABLE)
		return none;
	return found(ptep, pte_val(pte), 1, hva, write);
}

/* The page is not wanted, only that it is there. */
static long populate_remote(struct mm_struct *mm, unsigned long hva, unsigned int flags,
			    int *locked)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	return get_user_pages_remote(mm, hva, 1, flags, NULL, locked);
#else
	return get_user_pages_remote(mm, hva, 1, flags, NULL, NULL, locked);
#endif
}

void mezz_host_fault_in_remote(struct mm_struct *mm, unsigned long hva, bool write)
{
	int locked = 1;

	mmap_read_lock(mm);
	populate_remote(mm, hva, write ? FOLL_WRITE : 0, &locked);
	if (locked)
		mmap_read_unlock(mm);
}

int mezz_host_fault_in_nowait(unsigned long hva, bool write)
{
	struct page *page;
	long n = get_user_pages_unlocked(hva, 1, &page, FOLL_GUEST | FOLL_NOWAIT |
					 (write ? FOLL_WRITE : 0));

	if (n == 1) {
		put_page(page);
		return 0;
	}
	return n ? -EFAULT : -EAGAIN;
}

/* Device memory and the like: let its fault handler fill the page table. */
static int fault_in_pfnmap(unsigned long hva, bool write)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	bool unlocked = false;
	int r = -EFAULT;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, hva);
	if (vma && vma->vm_flags & (VM_IO | VM_PFNMAP))
		r = fixup_user_fault(mm, hva, write ? FAULT_FLAG_WRITE : 0, &unlocked);
	mmap_read_unlock(mm);
	return r;
}

int mezz_host_fault_in(unsigned long hva, bool write)
{
	struct page *page;
	long n = get_user_pages_unlocked(hva, 1, &page,
					 FOLL_GUEST | (write ? FOLL_WRITE : 0));

	if (n == 1) {
		put_page(page);
		return 0;
	}
	if (n == -EHWPOISON) {
		send_sig_mceerr(BUS_MCEERR_AR, (void __user *)hva, PAGE_SHIFT, current);
		return -EINTR;
	}
	if (n == -EINTR || n == -ENOMEM)
		return n;
	if (n == -EFAULT)
		return fault_in_pfnmap(hva, write);
	return signal_pending(current) ? -EINTR : -EFAULT;
}
