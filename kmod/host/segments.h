/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's segmentation, for an engine whose world switch loads it in part only (SDM 3,
 * "Loading Host Segment and Descriptor-Table Registers"): GDTR's and IDTR's limits become
 * 64 KiB, LDTR null, TR's limit that of a TSS without I/O bitmap, DS, ES, FS and GS what
 * a selector can be that has neither RPL nor TI. All but IDTR (its vectors end at 255
 * anyway) is mended when the section ends.
 *
 * Which kernels: all alike; but what they keep of a TSS's limit, and how they read a
 * base, has changed before. It is inline because each exit to user space pays for it.
 */
#ifndef MEZZ_HOST_SEGMENTS_H
#define MEZZ_HOST_SEGMENTS_H

#include <linux/cpufeature.h>
#include <linux/thread_info.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/msr.h>
#include <asm/segment.h>

/**
 * struct mezz_host_tables - what never changes on a CPU
 * @gdt: its GDTR
 * @tr_base: address of its TSS
 */
struct mezz_host_tables {
	struct desc_ptr gdt;
	u64 tr_base;
};

/**
 * struct mezz_host_segs - what belongs to the thread
 * @ds: selectors; @all: four at once
 * @fs_base: where FS points to
 * @ldt: selector
 */
struct mezz_host_segs {
	union {
		struct {
			u16 ds, es, fs, gs;
		};
		u64 all;
	};
	u64 fs_base;
	u16 ldt;
};

/* Fill @t; IRQs off. */
void mezz_host_get_tables(struct mezz_host_tables *t);
/* What mezz_host_put_segs() rarely needs. */
void mezz_host_reload_tss(void);
void mezz_host_reload_selectors(const struct mezz_host_segs *s);

/* Section begin; IRQs off. */
static __always_inline void mezz_host_get_segs(struct mezz_host_segs *s)
{
	savesegment(ds, s->ds);
	savesegment(es, s->es);
	savesegment(fs, s->fs);
	savesegment(gs, s->gs);
	store_ldt(s->ldt);
	if (static_cpu_has(X86_FEATURE_FSGSBASE))
		s->fs_base = rdfsbase();
	else
		s->fs_base = __rdmsr(MSR_FS_BASE);
}

/* Section end; IRQs off. Before KERNEL_GS_BASE is the host's: loading GS spoils it. */
static __always_inline void mezz_host_put_segs(const struct mezz_host_segs *s,
					       const struct mezz_host_tables *t)
{
	native_load_gdt(&t->gdt);
	if (unlikely(test_thread_flag(TIF_IO_BITMAP)))
		mezz_host_reload_tss();
	else
		this_cpu_write(__tss_limit_invalid, true);
	if (unlikely(s->ldt))
		asm volatile("lldt %w0" : : "q" (s->ldt));
	if (unlikely(s->all))
		mezz_host_reload_selectors(s);
}

#endif
