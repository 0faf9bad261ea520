// SPDX-License-Identifier: GPL-2.0-only
/*
 * bzImage, entered in long mode with a zero page.
 *
 * References: Linux, Documentation/x86/boot.rst, "64-bit Boot Protocol".
 * Known hacks: none.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <asm/bootparam.h>

#include "boot.h"
#include "machine.h"

#define HEADER_MAGIC	    0x53726448 /* "HdrS" */
#define HEADER_END_BASE	    0x202      /* the header's length counts from here */
#define BOOT_FLAG	    0xaa55
#define PROTOCOL_64_BIT	    0x020c /* first with xloadflags */
#define LOADER_UNDEFINED    0xff
#define DEFAULT_SETUP_SECTS 4
#define ENTRY_64	    0x200 /* behind the start of the loaded kernel */

#define BOOT_CS		    0x10
#define BOOT_DS		    0x18

#define CR0_PE		    (1U << 0)
#define CR0_ET		    (1U << 4)
#define CR0_PG		    (1U << 31)
#define CR4_PAE		    (1U << 5)
#define EFER_LME	    (1U << 8)
#define EFER_LMA	    (1U << 10)

#define PTE_PRESENT	    0x01
#define PTE_WRITABLE	    0x02
#define PTE_LARGE	    0x80

#define RFLAGS_FIXED	    0x02

_Static_assert(sizeof(struct boot_params) == 4096, "zero page");

bool boot_is_bzimage(struct boot_image *b)
{
	struct setup_header hdr;

	return b->file_bytes > 4096 &&
	       !pread_full(b->fd, &hdr, sizeof(hdr), offsetof(struct boot_params, hdr)) &&
	       hdr.boot_flag == BOOT_FLAG && hdr.header == HEADER_MAGIC;
}

/* Copy as much of the header as the file says it has. */
static void read_header(struct boot_image *b, struct setup_header *hdr)
{
	uint8_t sector[4096];
	size_t start = offsetof(struct boot_params, hdr);
	size_t end;

	if (pread_full(b->fd, sector, sizeof(sector), 0) < 0)
		die("%s: %s", b->path, strerror(errno));
	end = HEADER_END_BASE + sector[HEADER_END_BASE - 1];
	memset(hdr, 0, sizeof(*hdr));
	memcpy(hdr, sector + start, MIN(end - start, sizeof(*hdr)));
	if (hdr->version < PROTOCOL_64_BIT || !(hdr->xloadflags & XLF_KERNEL_64))
		die("%s: not a 64-bit kernel with boot protocol 2.12 or later", b->path);
	if (!hdr->setup_sects)
		hdr->setup_sects = DEFAULT_SETUP_SECTS;
}

/* One to one for the first 4 GiB, with 2 MiB pages. */
static void make_page_tables(struct machine *m)
{
	uint64_t *tables = guest_ptr(m, GPA_PAGE_TABLES, 6 * 4096);
	uint64_t *pml4 = tables, *pdpt = tables + 512, *pd = tables + 1024;

	pml4[0] = (GPA_PAGE_TABLES + 4096) | PTE_PRESENT | PTE_WRITABLE;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (GPA_PAGE_TABLES + 4096 * (2 + i)) | PTE_PRESENT | PTE_WRITABLE;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pd[i] = i * 2 * MIB | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
}

static void set_registers(struct machine *m, uint64_t entry)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	const struct kvm_segment code = { .selector = BOOT_CS,
					  .limit = 0xffffffff,
					  .type = 0xb,
					  .present = 1,
					  .s = 1,
					  .l = 1,
					  .g = 1 };
	const struct kvm_segment data = { .selector = BOOT_DS,
					  .limit = 0xffffffff,
					  .type = 0x3,
					  .present = 1,
					  .s = 1,
					  .db = 1,
					  .g = 1 };
	struct kvm_regs regs = { .rip = entry, .rsi = GPA_BOOT_PARAMS, .rflags = RFLAGS_FIXED };
	struct kvm_sregs sregs;
	int fd = m->vcpus[0].fd;

	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		die("KVM_GET_SREGS: %s", strerror(errno));
	memcpy(guest_ptr(m, GPA_GDT, sizeof(gdt)), gdt, sizeof(gdt));
	sregs.gdt.base = GPA_GDT;
	sregs.gdt.limit = sizeof(gdt) - 1;
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
	sregs.cr3 = GPA_PAGE_TABLES;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0)
		die("KVM_SET_SREGS: %s", strerror(errno));
	if (ioctl(fd, KVM_SET_REGS, &regs) < 0)
		die("KVM_SET_REGS: %s", strerror(errno));
}

void boot_bzimage(struct boot_image *b)
{
	struct machine *m = b->m;
	struct boot_params *bp = guest_ptr(m, GPA_BOOT_PARAMS, sizeof(*bp));
	struct setup_header *hdr = &bp->hdr;
	uint64_t offset, gpa;

	memset(bp, 0, sizeof(*bp));
	read_header(b, hdr);
	offset = (hdr->setup_sects + 1ULL) * 512;
	gpa = hdr->pref_address;
	b->kernel_end = gpa + hdr->init_size;
	if (gpa < GPA_HIGH_RAM || b->kernel_end > m->low_size)
		die("%s: needs %llu MiB of memory to start; give more --memory", b->path,
		    (unsigned long long)(ALIGN_UP(b->kernel_end, MIB) / MIB));
	if (offset >= b->file_bytes)
		die("%s: shorter than its header says", b->path);
	boot_read(b, gpa, offset, b->file_bytes - offset);
	boot_place_cmdline(b, hdr->cmdline_size);
	boot_place_initrd(b, hdr->initrd_addr_max);
	hdr->type_of_loader = LOADER_UNDEFINED;
	hdr->cmd_line_ptr = (uint32_t)GPA_CMDLINE;
	hdr->ramdisk_image = (uint32_t)b->initrd_gpa;
	hdr->ramdisk_size = (uint32_t)b->initrd_bytes;
	bp->acpi_rsdp_addr = b->rsdp;
	for (unsigned int i = 0; i < b->nranges; i++)
		bp->e820_table[i] = (struct boot_e820_entry){ .addr = b->ranges[i].gpa,
							      .size = b->ranges[i].bytes,
							      .type = b->ranges[i].type };
	bp->e820_entries = (uint8_t)b->nranges;
	make_page_tables(m);
	set_registers(m, gpa + ENTRY_64);
}
