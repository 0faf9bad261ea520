/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSR permission maps: which MSRs a guest reaches without an exit.
 *
 * Nearly all vCPUs share one map, in which the guest reaches directly what is
 * switched with it anyway; everything else exits. A vCPU for which the core wants
 * something else gets a copy. What the bits mean is the engine's (@permit).
 *
 * Locking: the vCPU mutex for a vCPU's own map; the shared one never changes
 * after setup.
 */
#ifndef MEZZ_CPU_MSR_MAP_H
#define MEZZ_CPU_MSR_MAP_H

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/types.h>

/**
 * struct mezz_msr_map - an engine's shared map and how it is made
 * @order: of its pages
 * @direct: MSRs that need no exit; 0 ends
 * @permit: writes what is intercepted of one MSR into a map
 * @shared: the map, NULL before setup
 */
struct mezz_msr_map {
	unsigned int order;
	const u32 *direct;
	void (*permit)(u8 *map, u32 msr, bool intercept_read, bool intercept_write);
	struct page *shared;
};

/**
 * mezz_msr_map_setup() - make the shared map
 * @m: the engine's map
 * Context: process context, when the module is loaded.
 * Return: 0 or -ENOMEM
 */
static inline int mezz_msr_map_setup(struct mezz_msr_map *m)
{
	const u32 *msr;

	m->shared = alloc_pages(GFP_KERNEL, m->order);
	if (!m->shared)
		return -ENOMEM;
	memset(page_address(m->shared), 0xff, PAGE_SIZE << m->order);
	for (msr = m->direct; *msr; msr++)
		m->permit(page_address(m->shared), *msr, false, false);
	return 0;
}

/**
 * mezz_msr_map_free() - free a map, shared or own
 * @m: the engine's map
 * @map: the one to free, may be NULL; is NULL afterwards
 */
static inline void mezz_msr_map_free(const struct mezz_msr_map *m, struct page **map)
{
	if (*map)
		__free_pages(*map, m->order);
	*map = NULL;
}

/**
 * mezz_msr_map_own() - give a vCPU its own map, equal to the shared one
 * @m: the engine's map
 * @map: the vCPU's; left alone if it has one
 * Context: process context.
 * Return: 0 or -ENOMEM
 */
static inline int mezz_msr_map_own(const struct mezz_msr_map *m, struct page **map)
{
	if (*map)
		return 0;
	*map = alloc_pages(GFP_KERNEL_ACCOUNT, m->order);
	if (!*map)
		return -ENOMEM;
	memcpy(page_address(*map), page_address(m->shared), PAGE_SIZE << m->order);
	return 0;
}

#endif
