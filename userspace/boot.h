/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Putting a kernel into guest memory, and the boot CPU in front of its first
 * instruction.
 */
#ifndef MEZZ_BOOT_H
#define MEZZ_BOOT_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

#define BOOT_MAX_RANGES 4

/** struct boot_range - a piece of the memory map that the kernel is told */
struct boot_range {
	uint64_t gpa;
	uint64_t bytes;
	uint32_t type; /* BOOT_RAM, BOOT_RESERVED: the same in E820 and PVH */
};

#define BOOT_RAM      1
#define BOOT_RESERVED 2

/** struct boot_image - what the loaders of the two formats share */
struct boot_image {
	struct machine *m;
	const char *path;
	int fd;
	uint64_t file_bytes;
	uint64_t kernel_end; /* GPA behind all that the kernel needs before it has a memory map */
	uint64_t rsdp;
	uint64_t initrd_gpa;
	uint64_t initrd_bytes;
	struct boot_range ranges[BOOT_MAX_RANGES];
	unsigned int nranges;
};

/**
 * boot_load - load kernel and initrd, and set the boot CPU's registers
 * @m: machine, complete with its devices
 *
 * Leaves with a message when a file cannot be used.
 */
void boot_load(struct machine *m);

/**
 * boot_place_initrd - load the initrd as high as it may lie
 * @b: image with kernel_end set
 * @highest: GPA of the last byte it may use
 */
void boot_place_initrd(struct boot_image *b, uint64_t highest);

/**
 * boot_place_cmdline - put the command line at GPA_CMDLINE
 * @b: image
 * @max: longest that the kernel takes, without the zero at its end
 */
void boot_place_cmdline(struct boot_image *b, uint64_t max);

/**
 * boot_read - read from the kernel's file into guest memory
 * @b: image
 * @gpa: where to
 * @offset: in the file
 * @bytes: how many
 */
void boot_read(struct boot_image *b, uint64_t gpa, uint64_t offset, uint64_t bytes);

/**
 * boot_is_bzimage - does the file look like one?
 * @b: image
 */
bool boot_is_bzimage(struct boot_image *b);

/**
 * boot_bzimage - load by the 64-bit Linux boot protocol
 * @b: image
 */
void boot_bzimage(struct boot_image *b);

/**
 * boot_elf - load an ELF file with a PVH entry point
 * @b: image
 */
void boot_elf(struct boot_image *b);

#endif
