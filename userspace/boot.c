// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the boot protocols share: files, the memory map, command line and
 * initrd. See boot.h.
 *
 * Left to others: the formats themselves (boot_bzimage.c, boot_elf.c).
 * Known hacks: the kernel is read from its file again at each reset; should the
 * file have been replaced meanwhile, the guest boots the new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acpi.h"
#include "boot.h"
#include "machine.h"

static int open_file(const char *path, const char *option, uint64_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("%s: %s; %s takes a file that can be read", path, strerror(errno), option);
	if (!S_ISREG(st.st_mode))
		die("%s: not a regular file", path);
	*bytes = (uint64_t)st.st_size;
	return fd;
}

void boot_read(struct boot_image *b, uint64_t gpa, uint64_t offset, uint64_t bytes)
{
	void *p = guest_ptr(b->m, gpa, bytes);

	if (!p)
		die("%s: does not fit into memory: %llu bytes at 0x%llx; give more --memory",
		    b->path, (unsigned long long)bytes, (unsigned long long)gpa);
	if (offset > b->file_bytes || bytes > b->file_bytes - offset)
		die("%s: shorter than its header says", b->path);
	if (pread_full(b->fd, p, bytes, offset) < 0)
		die("%s: %s", b->path, strerror(errno));
}

void boot_place_initrd(struct boot_image *b, uint64_t highest)
{
	const char *path = b->m->cfg->initrd;
	uint64_t end = MIN(b->m->low_size, highest + 1);
	int fd;

	if (!path)
		return;
	fd = open_file(path, "--initrd", &b->initrd_bytes);
	if (b->initrd_bytes > end || ALIGN_DOWN(end - b->initrd_bytes, 4096ULL) < b->kernel_end)
		die("%s: %llu MiB of initrd do not fit beside the kernel; give more --memory", path,
		    (unsigned long long)(b->initrd_bytes / MIB));
	b->initrd_gpa = ALIGN_DOWN(end - b->initrd_bytes, 4096ULL);
	if (pread_full(fd, guest_ptr(b->m, b->initrd_gpa, b->initrd_bytes), b->initrd_bytes, 0) < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

void boot_place_cmdline(struct boot_image *b, uint64_t max)
{
	const char *cmdline = b->m->cfg->append;
	size_t bytes = strlen(cmdline) + 1;

	if (bytes - 1 > max || bytes > GPA_CMDLINE_SIZE)
		die("--append is longer than the %llu characters that this kernel takes",
		    (unsigned long long)MIN(max, GPA_CMDLINE_SIZE - 1));
	memcpy(guest_ptr(b->m, GPA_CMDLINE, bytes), cmdline, bytes);
}

static void add_range(struct boot_image *b, uint64_t gpa, uint64_t end, uint32_t type)
{
	b->ranges[b->nranges++] =
		(struct boot_range){ .gpa = gpa, .bytes = end - gpa, .type = type };
}

static void make_memory_map(struct boot_image *b)
{
	const struct machine *m = b->m;

	add_range(b, 0, GPA_LOW_RAM_END, BOOT_RAM);
	add_range(b, GPA_ACPI, GPA_ACPI + GPA_ACPI_SIZE, BOOT_RESERVED);
	add_range(b, GPA_HIGH_RAM, m->low_size, BOOT_RAM);
	if (m->high_size)
		add_range(b, GPA_ABOVE_4G, GPA_ABOVE_4G + m->high_size, BOOT_RAM);
}

void boot_load(struct machine *m)
{
	struct boot_image b = { .m = m, .path = m->cfg->kernel };

	b.fd = open_file(b.path, "--kernel", &b.file_bytes);
	b.rsdp = acpi_write_tables(m);
	make_memory_map(&b);
	if (boot_is_bzimage(&b))
		boot_bzimage(&b);
	else
		boot_elf(&b);
	close(b.fd);
}
