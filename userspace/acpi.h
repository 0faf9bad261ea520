/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ACPI tables that tell a kernel of its CPUs, interrupts and devices.
 */
#ifndef MEZZ_ACPI_H
#define MEZZ_ACPI_H

#include <stdint.h>

struct machine;

#define ACPI_S5_SLEEP_TYPE 5

/**
 * acpi_write_tables - put the tables into guest memory
 * @m: machine with all its devices
 *
 * Returns the guest-physical address of the RSDP.
 */
uint64_t acpi_write_tables(struct machine *m);

/**
 * acpi_dump_tables - write the tables to a file, one after the other
 * @m: machine whose tables are in memory
 * @path: file to make
 *
 * The file starts at the RSDP and can be taken apart with `iasl -d` after
 * cutting; it is meant for looking at what a guest sees.
 */
void acpi_dump_tables(const struct machine *m, const char *path);

#endif
