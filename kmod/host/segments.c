// SPDX-License-Identifier: GPL-2.0-only
/*
 * The parts of segments.h that are rare.
 */
#include <asm/mmu_context.h> /* load_gs_index(), wherever a kernel has it */

#include "segments.h"

void mezz_host_get_tables(struct mezz_host_tables *t)
{
	const struct ldttss_desc *d;
	unsigned long tr;

	native_store_gdt(&t->gdt);
	store_tr(tr);
	d = (const void *)(t->gdt.address + (tr & ~7ul));
	t->tr_base = d->base0 | d->base1 << 16 | (u64)d->base2 << 24 | (u64)d->base3 << 32;
}

/* The thread may use ports: it needs the bitmap behind its TSS back. */
void mezz_host_reload_tss(void)
{
	invalidate_tss_limit();
}

void mezz_host_reload_selectors(const struct mezz_host_segs *s)
{
	loadsegment(ds, s->ds);
	loadsegment(es, s->es);
	if (s->fs) {
		loadsegment(fs, s->fs);
		wrmsrl(MSR_FS_BASE, s->fs_base);
	}
	if (s->gs)
		load_gs_index(s->gs);
}
