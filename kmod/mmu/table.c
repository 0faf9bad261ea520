// SPDX-License-Identifier: GPL-2.0-only
/*
 * Second-stage page tables: one tree for all vCPUs of a VM.
 *
 * Table pages live from the first fault in their span until all of the span is
 * zapped: then they are unhooked as they are, and taken apart after the flush,
 * outside the lock. So zapping a large range is short, and a span that the
 * host has collapsed into a large page has no table left in the way.
 *
 * Left to others: which frame, which permissions and which level (fault.c);
 * when (notifier.c, dirty.c, slots.c). An entry's layout is data (struct
 * mezz_pt_format).
 */
#include <linux/bits.h>
#include <linux/gfp.h>
#include <linux/mem_encrypt.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "engine.h"
#include "mmu/table.h"
#include "vm.h"

#define INDEX_BITS	9
#define ENTRIES		BIT(INDEX_BITS)

/* Frames below one entry. */
static inline u64 span(unsigned int level)
{
	return BIT_ULL(INDEX_BITS * (level - 1));
}

static inline unsigned int index_of(u64 gfn, unsigned int level)
{
	return (gfn >> (INDEX_BITS * (level - 1))) & (ENTRIES - 1);
}

static inline bool is_table(const struct mezz_pt_format *pt, u64 e, unsigned int level)
{
	return level > 1 && (e & pt->present) && !(e & pt->large);
}

static inline u64 *child(const struct mezz_pt_format *pt, u64 e)
{
	return __va(__sme_clr(e & pt->addr));
}

static void count_leaf(struct mezz_vm *vm, unsigned int level, s64 n)
{
	mezz_vm_count(vm, MEZZ_VM_STAT_pages_4k + level - 1, n);
}

u64 *mezz_pt_alloc(void)
{
	return (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
}

void mezz_pt_free(u64 *table)
{
	free_page((unsigned long)table);
}

int mezz_pt_init(struct mezz_vm *vm)
{
	BUILD_BUG_ON(MEZZ_VM_STAT_pages_2m != MEZZ_VM_STAT_pages_4k + 1);
	BUILD_BUG_ON(MEZZ_VM_STAT_pages_1g != MEZZ_VM_STAT_pages_4k + 2);
	rwlock_init(&vm->mmu.lock);
	vm->mmu.root = mezz_pt_alloc();
	if (!vm->mmu.root)
		return -ENOMEM;
	vm->mmu.root_hpa = __sme_set(__pa(vm->mmu.root));
	mezz_vm_count(vm, MEZZ_VM_STAT_table_pages, 1);
	return 0;
}

/* Take a tree apart that nobody can reach: at most five levels deep. */
static void free_tree(struct mezz_vm *vm, u64 *table, unsigned int level, bool atomic)
{
	const struct mezz_pt_format *pt = mezz_engine->pt;
	unsigned int i, leaves = 0;

	for (i = 0; i < ENTRIES; i++) {
		if (is_table(pt, table[i], level))
			free_tree(vm, child(pt, table[i]), level - 1, atomic);
		else if (table[i] & pt->present)
			leaves++;
	}
	if (leaves)
		count_leaf(vm, level, -(s64)leaves);
	mezz_vm_count(vm, MEZZ_VM_STAT_table_pages, -1);
	mezz_pt_free(table);
	/* A large guest has many: 256 MiB of tables for 128 GiB in 4 KiB pages. */
	if (level == 2 && !atomic)
		cond_resched();
}

void mezz_pt_destroy(struct mezz_vm *vm)
{
	free_tree(vm, vm->mmu.root, mezz_host.pt_levels, false);
	vm->mmu.root = NULL;
}

/* --- reading side: install --- */

/* @e: what the entry was; no table */
static enum mezz_map set_leaf(struct mezz_vm *vm, u64 *ep, u64 e, unsigned int level, u64 pa,
			      u64 bits)
{
	const struct mezz_pt_format *pt = mezz_engine->pt;
	u64 inside = (span(level) << PAGE_SHIFT) - 1;
	u64 perms = pt->read | pt->write | pt->exec;
	u64 want = (pa & ~inside) | bits;

	if (level > 1)
		want |= pt->large;
	for (;;) {
		u64 old = e, new = want;

		if (old & pt->present) {
			/* Another frame is mapped. */
			if ((old ^ want) & pt->addr & ~inside)
				return MEZZ_MAP_BLOCKED;
			if (!(want & ~old & perms))
				return MEZZ_MAP_DONE;
			new |= old;
		}
		/* Against other vCPUs, and against the MMU's accessed and dirty bits. */
		e = cmpxchg(ep, old, new);
		if (likely(e == old)) {
			if (!(old & pt->present))
				count_leaf(vm, level, 1);
			return MEZZ_MAP_DONE;
		}
		/* A table got there first. */
		if (is_table(pt, e, level))
			return MEZZ_MAP_BLOCKED;
	}
}

enum mezz_map mezz_pt_map(struct mezz_vm *vm, u64 gfn, unsigned int level, u64 pa, u64 bits,
			  u64 **spare)
{
	const struct mezz_pt_format *pt = mezz_engine->pt;
	u64 *table = vm->mmu.root;
	unsigned int l;

	for (l = mezz_host.pt_levels; ; l--) {
		u64 *ep = &table[index_of(gfn, l)];
		u64 e = READ_ONCE(*ep);

		if (l <= level && !is_table(pt, e, l))
			return set_leaf(vm, ep, e, l, pa, bits);
		if (!(e & pt->present)) {
			u64 new;

			if (!*spare)
				return MEZZ_MAP_NO_TABLE;
			new = __sme_set(__pa(*spare)) | pt->table;
			e = cmpxchg(ep, 0, new);
			if (!e) {
				e = new;
				*spare = NULL;
				mezz_vm_count(vm, MEZZ_VM_STAT_table_pages, 1);
			}
		}
		if (unlikely(!is_table(pt, e, l)))
			return MEZZ_MAP_BLOCKED;
		table = child(pt, e);
	}
}

/* --- writing side: drop, weaken --- */

/* From here to the end of mezz_zap_done() others have to flush, too. */
static void must_flush(struct mezz_vm *vm, struct mezz_zap *zap)
{
	if (zap->flush)
		return;
	zap->flush = true;
	atomic_inc(&vm->mmu.unflushed);
}

/* What another has taken out is absent, but TLBs may still hold it. */
static void join(struct mezz_vm *vm, struct mezz_zap *zap)
{
	/* Pairs with the release in mezz_zap_done(). */
	if (unlikely(atomic_read_acquire(&vm->mmu.unflushed)))
		must_flush(vm, zap);
}

static void clear_leaf(struct mezz_vm *vm, u64 *ep, unsigned int level, struct mezz_zap *zap)
{
	WRITE_ONCE(*ep, 0);
	count_leaf(vm, level, -1);
	must_flush(vm, zap);
}

/* @base: frame that the first entry of @table translates */
static void zap_table(struct mezz_vm *vm, u64 *table, unsigned int level, u64 base,
		      u64 first, u64 end, struct mezz_zap *zap)
{
	const struct mezz_pt_format *pt = mezz_engine->pt;
	u64 step = span(level), gfn;
	unsigned int i;

	i = first > base ? (first - base) >> (INDEX_BITS * (level - 1)) : 0;
	for (gfn = base + i * step; i < ENTRIES && gfn < end; i++, gfn += step) {
		u64 e = READ_ONCE(table[i]);

		if (!(e & pt->present))
			continue;
		if (!is_table(pt, e, level)) {
			clear_leaf(vm, &table[i], level, zap);
		} else if (first <= gfn && gfn + step <= end) {
			struct page *page = virt_to_page(child(pt, e));

			WRITE_ONCE(table[i], 0);
			set_page_private(page, level - 1);
			list_add(&page->lru, &zap->tables);
			must_flush(vm, zap);
		} else {
			zap_table(vm, child(pt, e), level - 1, gfn, first, end, zap);
		}
	}
}

void mezz_pt_zap(struct mezz_vm *vm, u64 first, u64 end, struct mezz_zap *zap)
{
	join(vm, zap);
	zap_table(vm, vm->mmu.root, mezz_host.pt_levels, 0, first, end, zap);
}

void mezz_zap_done(struct mezz_vm *vm, struct mezz_zap *zap)
{
	struct page *page, *next;

	if (!zap->flush)
		return;
	mezz_flush_all(vm);
	/* Who reads 0 knows that nothing of this is in a TLB. */
	atomic_fetch_sub_release(1, &vm->mmu.unflushed);
	zap->flush = false;
	list_for_each_entry_safe(page, next, &zap->tables, lru) {
		unsigned int level = page_private(page);

		list_del(&page->lru);
		set_page_private(page, 0);
		free_tree(vm, page_address(page), level, zap->atomic);
	}
}

/* The entry where the walk for @gfn ends: a leaf or an absent one. */
static u64 *lookup(struct mezz_vm *vm, u64 gfn, unsigned int *level)
{
	const struct mezz_pt_format *pt = mezz_engine->pt;
	u64 *table = vm->mmu.root;
	unsigned int l;

	for (l = mezz_host.pt_levels; ; l--) {
		u64 *ep = &table[index_of(gfn, l)];
		u64 e = READ_ONCE(*ep);

		if (!is_table(pt, e, l)) {
			*level = l;
			return ep;
		}
		table = child(pt, e);
	}
}

static void weaken(struct mezz_vm *vm, u64 *ep, unsigned int level, u64 bits,
		   struct mezz_zap *zap)
{
	u64 e = READ_ONCE(*ep);

	if (!(e & mezz_engine->pt->present))
		return;
	if (level > 1) {
		clear_leaf(vm, ep, level, zap);
	} else if (e & bits) {
		/* Against the MMU's accessed and dirty bits. */
		atomic64_andnot(bits, (atomic64_t *)ep);
		must_flush(vm, zap);
	}
}

void mezz_pt_weaken(struct mezz_vm *vm, u64 first, u64 end, u64 bits, struct mezz_zap *zap)
{
	unsigned int level;

	join(vm, zap);
	while (first < end) {
		u64 *ep = lookup(vm, first, &level);

		weaken(vm, ep, level, bits, zap);
		first = (first | (span(level) - 1)) + 1;
	}
}

void mezz_pt_weaken_mask(struct mezz_vm *vm, u64 gfn, unsigned long mask, u64 bits,
			 struct mezz_zap *zap)
{
	unsigned int level = 0;
	u64 *ep = NULL, end = 0;

	join(vm, zap);
	for (; mask; mask &= mask - 1) {
		u64 at = gfn + __ffs(mask);

		/* One walk for all of a table. */
		if (at >= end) {
			ep = lookup(vm, at, &level);
			if (level == 1)
				ep -= index_of(at, 1);
			end = (at | (ENTRIES - 1)) + 1;
		}
		weaken(vm, level == 1 ? ep + index_of(at, 1) : ep, level, bits, zap);
	}
}

bool mezz_pt_age(struct mezz_vm *vm, u64 first, u64 end, bool clear)
{
	const struct mezz_pt_format *pt = mezz_engine->pt;
	unsigned int level;
	bool young = false;

	while (first < end) {
		u64 *ep = lookup(vm, first, &level);
		u64 e = READ_ONCE(*ep);

		if ((e & pt->present) && (!pt->accessed || (e & pt->accessed))) {
			if (!clear)
				return true;
			young = true;
			atomic64_andnot(pt->accessed, (atomic64_t *)ep);
		}
		first = (first | (span(level) - 1)) + 1;
	}
	return young;
}
