// SPDX-License-Identifier: GPL-2.0-only
/*
 * An uncompressed kernel, or any other ELF file with a PVH note, entered in
 * protected mode without paging.
 *
 * References: Xen, docs/misc/pvh.pandoc, "x86/HVM direct boot ABI".
 * Known hacks: none. The file is not trusted: every offset in it is checked.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "boot.h"
#include "machine.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define PVH_MAGIC		 0x336ec578
#define PVH_CMDLINE_MAX		 2047
#define PVH_INITRD_HIGHEST	 0x7fffffffULL
#define MAX_SEGMENTS		 64
#define MAX_NOTES		 65536

#define CR0_PE			 (1U << 0)
#define CR0_ET			 (1U << 4)
#define RFLAGS_FIXED		 0x02

struct pvh_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memmap;
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct pvh_module {
	uint64_t gpa;
	uint64_t bytes;
	uint64_t cmdline;
	uint64_t reserved;
};

struct pvh_memory {
	uint64_t gpa;
	uint64_t bytes;
	uint32_t type;
	uint32_t reserved;
};

_Static_assert(sizeof(struct pvh_start_info) == 56, "hvm_start_info of version 1");
_Static_assert(sizeof(struct pvh_module) == 32, "hvm_modlist_entry");
_Static_assert(sizeof(struct pvh_memory) == 24, "hvm_memmap_table_entry");

/* All that the kernel is told, in one piece of memory. */
struct pvh_area {
	struct pvh_start_info info;
	struct pvh_module module;
	struct pvh_memory memory[BOOT_MAX_RANGES];
};

/* Looks for the entry point in one segment of notes; 0: not there. */
static uint32_t find_entry(const uint8_t *notes, uint64_t bytes)
{
	uint64_t at = 0;

	while (bytes - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		uint64_t name, desc;
		uint32_t entry;

		memcpy(&n, notes + at, sizeof(n));
		name = at + sizeof(n);
		desc = name + ALIGN_UP((uint64_t)n.n_namesz, 4ULL);
		at = desc + ALIGN_UP((uint64_t)n.n_descsz, 4ULL);
		if (at > bytes)
			break;
		if (n.n_type != XEN_ELFNOTE_PHYS32_ENTRY || n.n_namesz != 4 ||
		    memcmp(notes + name, "Xen", 4) || n.n_descsz < sizeof(entry))
			continue;
		memcpy(&entry, notes + desc, sizeof(entry));
		return entry;
	}
	return 0;
}

static uint32_t read_notes(struct boot_image *b, const Elf64_Phdr *ph)
{
	uint64_t bytes = MIN(ph->p_filesz, (uint64_t)MAX_NOTES);
	uint8_t *notes = xcalloc(1, bytes + 1);
	uint32_t entry;

	if (pread_full(b->fd, notes, bytes, ph->p_offset) < 0)
		die("%s: cannot read its notes: %s", b->path, strerror(errno));
	entry = find_entry(notes, bytes);
	free(notes);
	return entry;
}

static void load_segment(struct boot_image *b, const Elf64_Phdr *ph)
{
	if (ph->p_filesz > ph->p_memsz || ph->p_paddr < GPA_HIGH_RAM ||
	    !guest_ptr(b->m, ph->p_paddr, ph->p_memsz))
		die("%s: has a segment at 0x%llx that does not fit; give more --memory", b->path,
		    (unsigned long long)ph->p_paddr);
	boot_read(b, ph->p_paddr, ph->p_offset, ph->p_filesz);
	b->kernel_end = MAX(b->kernel_end, ph->p_paddr + ph->p_memsz);
}

/* Loads all segments and returns the PVH entry point. */
static uint32_t load_segments(struct boot_image *b)
{
	Elf64_Phdr ph[MAX_SEGMENTS];
	Elf64_Ehdr eh;
	uint32_t entry = 0;

	if (pread_full(b->fd, &eh, sizeof(eh), 0) < 0 || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64)
		die("%s: neither a bzImage nor a 64-bit x86 ELF file", b->path);
	if (eh.e_phentsize != sizeof(ph[0]) || !eh.e_phnum || eh.e_phnum > MAX_SEGMENTS ||
	    pread_full(b->fd, ph, eh.e_phnum * sizeof(ph[0]), eh.e_phoff) < 0)
		die("%s: its ELF program headers make no sense", b->path);
	for (unsigned int i = 0; i < eh.e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD)
			load_segment(b, &ph[i]);
		else if (ph[i].p_type == PT_NOTE && !entry)
			entry = read_notes(b, &ph[i]);
	}
	if (!entry)
		die("%s: has no PVH entry point; use the bzImage, or build with CONFIG_PVH=y",
		    b->path);
	return entry;
}

static void fill_start_info(struct boot_image *b)
{
	struct pvh_area *area = guest_ptr(b->m, GPA_BOOT_PARAMS, sizeof(*area));

	memset(area, 0, sizeof(*area));
	area->info.magic = PVH_MAGIC;
	area->info.version = 1;
	area->info.cmdline = GPA_CMDLINE;
	area->info.rsdp = b->rsdp;
	area->info.memmap = GPA_BOOT_PARAMS + offsetof(struct pvh_area, memory);
	area->info.memmap_entries = b->nranges;
	if (b->initrd_bytes) {
		area->info.nr_modules = 1;
		area->info.modlist = GPA_BOOT_PARAMS + offsetof(struct pvh_area, module);
		area->module.gpa = b->initrd_gpa;
		area->module.bytes = b->initrd_bytes;
	}
	for (unsigned int i = 0; i < b->nranges; i++)
		area->memory[i] = (struct pvh_memory){ .gpa = b->ranges[i].gpa,
						       .bytes = b->ranges[i].bytes,
						       .type = b->ranges[i].type };
}

static void set_registers(struct machine *m, uint32_t entry)
{
	const struct kvm_segment code = { .selector = 0x8,
					  .limit = 0xffffffff,
					  .type = 0xb,
					  .present = 1,
					  .s = 1,
					  .db = 1,
					  .g = 1 };
	const struct kvm_segment data = { .selector = 0x10,
					  .limit = 0xffffffff,
					  .type = 0x3,
					  .present = 1,
					  .s = 1,
					  .db = 1,
					  .g = 1 };
	const struct kvm_segment task = {
		.selector = 0x18, .limit = 0x67, .type = 0xb, .present = 1
	};
	struct kvm_regs regs = { .rip = entry, .rbx = GPA_BOOT_PARAMS, .rflags = RFLAGS_FIXED };
	struct kvm_sregs sregs;
	int fd = m->vcpus[0].fd;

	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		die("KVM_GET_SREGS: %s", strerror(errno));
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	sregs.tr = task;
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr3 = 0;
	sregs.cr4 = 0;
	sregs.efer = 0;
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0)
		die("KVM_SET_SREGS: %s", strerror(errno));
	if (ioctl(fd, KVM_SET_REGS, &regs) < 0)
		die("KVM_SET_REGS: %s", strerror(errno));
}

void boot_elf(struct boot_image *b)
{
	uint32_t entry = load_segments(b);

	boot_place_cmdline(b, PVH_CMDLINE_MAX);
	boot_place_initrd(b, PVH_INITRD_HIGHEST);
	fill_start_info(b);
	set_registers(b->m, entry);
}
