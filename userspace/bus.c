// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address lookup for ports and MMIO: see bus.h.
 *
 * A machine has a handful of regions, so the lookup is a walk through an array.
 *
 * Known hacks: none.
 */
#include <string.h>

#include "bus.h"
#include "util.h"

void bus_add(struct bus *bus, uint64_t base, uint64_t bytes, bus_fn fn, void *dev)
{
	if (bus->nregions == ARRAY_SIZE(bus->regions))
		die("too many devices: take away some --disk options");
	bus->regions[bus->nregions++] =
		(struct bus_region){ .base = base, .bytes = bytes, .fn = fn, .dev = dev };
}

void bus_access(struct bus *bus, uint64_t addr, void *data, unsigned int size, bool write)
{
	for (unsigned int i = 0; i < bus->nregions; i++) {
		const struct bus_region *r = &bus->regions[i];

		if (addr >= r->base && addr - r->base < r->bytes) {
			r->fn(r->dev, addr - r->base, data, size, write);
			return;
		}
	}
	if (!write)
		memset(data, 0xff, size);
}

uint64_t bus_get(const void *data, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, data, MIN(size, sizeof(value)));
	return value;
}

void bus_put(void *data, unsigned int size, uint64_t value)
{
	memset(data, 0, size);
	memcpy(data, &value, MIN(size, sizeof(value)));
}
