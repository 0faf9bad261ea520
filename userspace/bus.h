/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who answers at a port or at an MMIO address.
 *
 * Left to others: everything the devices do. Regions are added before the first
 * vCPU runs and stay, so that lookups need no lock.
 */
#ifndef MEZZ_BUS_H
#define MEZZ_BUS_H

#include <stdbool.h>
#include <stdint.h>

#define BUS_MAX_REGIONS 32

/**
 * typedef bus_fn - one access to a device's region
 * @dev: what bus_add() was given
 * @offset: bytes from the start of the region
 * @data: @size bytes, little endian; for a read, to be filled
 * @size: 1, 2, 4 or 8; the access may reach past the end of the region
 * @write: direction
 *
 * Called by any vCPU thread, by several at once: devices lock for themselves.
 */
typedef void (*bus_fn)(void *dev, uint64_t offset, void *data, unsigned int size, bool write);

/** struct bus_region - one device's addresses */
struct bus_region {
	uint64_t base;
	uint64_t bytes;
	bus_fn fn;
	void *dev;
};

/** struct bus - the ports, or the MMIO addresses, of a machine */
struct bus {
	struct bus_region regions[BUS_MAX_REGIONS];
	unsigned int nregions;
};

/**
 * bus_add - put a device at an address
 * @bus: ports or MMIO
 * @base: first address
 * @bytes: how many
 * @fn: called for every access
 * @dev: handed to @fn
 */
void bus_add(struct bus *bus, uint64_t base, uint64_t bytes, bus_fn fn, void *dev);

/**
 * bus_access - carry out one access of the guest
 * @bus: ports or MMIO
 * @addr: address
 * @data: @size bytes
 * @size: 1, 2, 4 or 8
 * @write: direction
 *
 * Where nobody answers, reads give all ones and writes are dropped, as on the
 * ISA bus.
 */
void bus_access(struct bus *bus, uint64_t addr, void *data, unsigned int size, bool write);

/**
 * bus_get - the value of a write, as a number
 * @data: bytes of the access
 * @size: how many
 */
uint64_t bus_get(const void *data, unsigned int size);

/**
 * bus_put - the answer to a read
 * @data: bytes of the access
 * @size: how many; the value is cut or zero-extended
 * @value: answer
 */
void bus_put(void *data, unsigned int size, uint64_t value);

#endif
