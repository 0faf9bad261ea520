// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ACPI tables: RSDP, XSDT, FADT, FACS, DSDT and MADT, where firmware would
 * have left them below 1 MiB.
 *
 * The machine is a PC without PCI: fixed ACPI hardware (power button, PM timer,
 * reset register), 8259 pair, PIT, one IOAPIC, a 16550, an RTC, and
 * virtio-mmio devices. A hardware-reduced FADT would be smaller, but then Linux
 * ignores the 8259 pair and the PIT.
 *
 * Left to others: the hardware that the FADT describes (platform.c), AML (aml.c).
 * References: ACPI specification 6.4, "ACPI Software Programming Model".
 * Known hacks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "acpi.h"
#include "aml.h"
#include "machine.h"
#include "platform.h"
#include "serial.h"
#include "virtio.h"

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address;
	uint32_t length;
	uint64_t xsdt_address;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

/* Generic Address Structure */
struct acpi_gas {
	uint8_t space; /* 1: I/O ports */
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;
	uint64_t address;
} __attribute__((packed));

struct acpi_fadt {
	struct acpi_header h;
	uint32_t firmware_ctrl;
	uint32_t dsdt;
	uint8_t reserved0;
	uint8_t preferred_pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable;
	uint8_t acpi_disable;
	uint8_t s4bios_req;
	uint8_t pstate_cnt;
	uint32_t pm1a_evt_blk;
	uint32_t pm1b_evt_blk;
	uint32_t pm1a_cnt_blk;
	uint32_t pm1b_cnt_blk;
	uint32_t pm2_cnt_blk;
	uint32_t pm_tmr_blk;
	uint32_t gpe0_blk;
	uint32_t gpe1_blk;
	uint8_t pm1_evt_len;
	uint8_t pm1_cnt_len;
	uint8_t pm2_cnt_len;
	uint8_t pm_tmr_len;
	uint8_t gpe0_blk_len;
	uint8_t gpe1_blk_len;
	uint8_t gpe1_base;
	uint8_t cst_cnt;
	uint16_t p_lvl2_lat;
	uint16_t p_lvl3_lat;
	uint16_t flush_size;
	uint16_t flush_stride;
	uint8_t duty_offset;
	uint8_t duty_width;
	uint8_t day_alrm;
	uint8_t mon_alrm;
	uint8_t century;
	uint16_t iapc_boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct acpi_gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_revision;
	uint64_t x_firmware_ctrl;
	uint64_t x_dsdt;
	struct acpi_gas x_pm1a_evt_blk;
	struct acpi_gas x_pm1b_evt_blk;
	struct acpi_gas x_pm1a_cnt_blk;
	struct acpi_gas x_pm1b_cnt_blk;
	struct acpi_gas x_pm2_cnt_blk;
	struct acpi_gas x_pm_tmr_blk;
	struct acpi_gas x_gpe0_blk;
	struct acpi_gas x_gpe1_blk;
	struct acpi_gas sleep_control_reg;
	struct acpi_gas sleep_status_reg;
	uint64_t hypervisor_vendor;
} __attribute__((packed));

_Static_assert(sizeof(struct acpi_header) == 36, "ACPI table header");
_Static_assert(sizeof(struct acpi_rsdp) == 36, "RSDP of revision 2");
_Static_assert(sizeof(struct acpi_fadt) == 276, "FADT of revision 6");

#define FADT_WBINVD	     (1U << 0)
#define FADT_PROC_C1	     (1U << 2)
#define FADT_NO_SLEEP_BUTTON (1U << 5)
#define FADT_NO_FIXED_RTC    (1U << 6)
#define FADT_TMR_VAL_EXT     (1U << 8)
#define FADT_RESET_REG_SUP   (1U << 10)

#define IAPC_LEGACY_DEVICES  (1U << 0)
#define IAPC_VGA_ABSENT	     (1U << 2)
#define IAPC_NO_MSI	     (1U << 3)

#define FACS_LENGTH	     64

struct acpi_madt {
	struct acpi_header h;
	uint32_t lapic_address;
	uint32_t flags;
} __attribute__((packed));

#define MADT_PCAT_COMPAT 1U /* there is an 8259 pair */

struct madt_lapic {
	uint8_t type; /* 0 */
	uint8_t length;
	uint8_t processor_uid;
	uint8_t apic_id;
	uint32_t flags; /* 1: enabled */
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type; /* 1 */
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} __attribute__((packed));

struct madt_override {
	uint8_t type; /* 2 */
	uint8_t length;
	uint8_t bus;
	uint8_t source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));

#define MPS_INTI_CONFORMS    0x0
#define MPS_INTI_ACTIVE_HIGH 0x1
#define MPS_INTI_LEVEL	     0xc

struct madt_lapic_nmi {
	uint8_t type; /* 4 */
	uint8_t length;
	uint8_t processor_uid; /* 0xff: all */
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

/* Tables are laid one after the other into the area below 1 MiB. */
struct area {
	uint8_t *base;
	size_t used;
};

static void *area_take(struct area *area, size_t bytes, size_t align)
{
	size_t start = ALIGN_UP(area->used, align);

	if (bytes > GPA_ACPI_SIZE - start)
		die("the ACPI tables do not fit: use fewer --cpus or --disk options");
	area->used = start + bytes;
	return area->base + start;
}

static uint64_t area_gpa(const struct area *area, const void *p)
{
	return GPA_ACPI + (uint64_t)((const uint8_t *)p - area->base);
}

static uint8_t checksum(const void *table, size_t bytes)
{
	const uint8_t *p = table;
	uint8_t sum = 0;

	while (bytes--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

static void fill_header(struct acpi_header *h, const char *signature, size_t length,
			uint8_t revision)
{
	memcpy(h->signature, signature, 4);
	h->length = (uint32_t)length;
	h->revision = revision;
	memcpy(h->oem_id, "MEZZ  ", 6);
	memcpy(h->oem_table_id, "MEZZANIN", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "MEZZ", 4);
	h->creator_revision = 1;
	h->checksum = 0;
	h->checksum = checksum(h, length);
}

static void emit_isa_devices(struct aml *a)
{
	aml_begin_device(a, "COM1");
	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_name_integer(a, "_UID", 1);
	aml_begin_resources(a);
	aml_resource_io(a, SERIAL_PORT, SERIAL_PORTS);
	aml_resource_isa_irq(a, GSI_SERIAL);
	aml_end_resources(a);
	aml_end(a);

	aml_begin_device(a, "RTC0");
	aml_name_eisaid(a, "_HID", "PNP0B00");
	aml_begin_resources(a);
	aml_resource_io(a, RTC_PORT, RTC_PORTS);
	aml_resource_isa_irq(a, GSI_RTC);
	aml_end_resources(a);
	aml_end(a);
}

static void emit_virtio_device(struct aml *a, const struct machine *m, unsigned int i)
{
	static const char hex[] = "0123456789ABCDEF";
	const char name[4] = { 'V', 'R', '0', hex[i & 0xf] };

	aml_begin_device(a, name);
	aml_name_string(a, "_HID", "LNRO0005");
	aml_name_integer(a, "_UID", i);
	aml_name_integer(a, "_CCA", 1); /* DMA is cache coherent */
	aml_begin_resources(a);
	aml_resource_memory(a, (uint32_t)virtio_gpa(m->virtio[i]), (uint32_t)GPA_VIRTIO_STRIDE);
	aml_resource_interrupt(a, virtio_gsi(m->virtio[i]));
	aml_end_resources(a);
	aml_end(a);
}

static uint64_t write_dsdt(struct area *area, const struct machine *m)
{
	static const uint8_t s5[] = { ACPI_S5_SLEEP_TYPE, ACPI_S5_SLEEP_TYPE, 0, 0 };
	struct acpi_header *h = area_take(area, sizeof(*h), 16);
	struct aml a = { .buf = area->base + area->used, .size = GPA_ACPI_SIZE - area->used };

	aml_name_package(&a, "_S5_", s5, sizeof(s5));
	aml_begin_scope(&a, "_SB_");
	emit_isa_devices(&a);
	for (unsigned int i = 0; i < m->nvirtio; i++)
		emit_virtio_device(&a, m, i);
	aml_end(&a);
	area_take(area, a.used, 1);
	fill_header(h, "DSDT", sizeof(*h) + a.used, 2);
	return area_gpa(area, h);
}

static uint64_t write_facs(struct area *area)
{
	uint8_t *facs = area_take(area, FACS_LENGTH, 64);
	const uint32_t length = FACS_LENGTH;

	memcpy(facs, "FACS", 4);
	memcpy(facs + 4, &length, sizeof(length));
	facs[32] = 2; /* version */
	return area_gpa(area, facs);
}

static struct acpi_gas io_register(uint64_t port, uint8_t bits)
{
	return (struct acpi_gas){ .space = 1,
				  .bit_width = bits,
				  .access_size = bits == 8    ? 1
						 : bits == 16 ? 2
							      : 3,
				  .address = port };
}

static uint64_t write_fadt(struct area *area, uint64_t dsdt, uint64_t facs)
{
	struct acpi_fadt *f = area_take(area, sizeof(*f), 16);

	f->firmware_ctrl = (uint32_t)facs;
	f->dsdt = (uint32_t)dsdt;
	f->sci_int = GSI_SCI;
	f->pm1a_evt_blk = PM_PORT + PM_EVT;
	f->pm1a_cnt_blk = PM_PORT + PM_CNT;
	f->pm_tmr_blk = PM_PORT + PM_TMR;
	f->pm1_evt_len = 4;
	f->pm1_cnt_len = 2;
	f->pm_tmr_len = 4;
	f->p_lvl2_lat = 101;  /* no C2 */
	f->p_lvl3_lat = 1001; /* no C3 */
	f->century = RTC_CENTURY;
	f->iapc_boot_arch = IAPC_LEGACY_DEVICES | IAPC_VGA_ABSENT | IAPC_NO_MSI;
	f->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC |
		   FADT_TMR_VAL_EXT | FADT_RESET_REG_SUP;
	f->reset_reg = io_register(RESET_PORT, 8);
	f->reset_value = RESET_VALUE;
	f->x_dsdt = dsdt;
	f->x_pm1a_evt_blk = io_register(PM_PORT + PM_EVT, 32);
	f->x_pm1a_cnt_blk = io_register(PM_PORT + PM_CNT, 16);
	f->x_pm_tmr_blk = io_register(PM_PORT + PM_TMR, 32);
	fill_header(&f->h, "FACP", sizeof(*f), 6);
	return area_gpa(area, f);
}

static void madt_add_override(struct area *area, uint8_t source, uint32_t gsi, uint16_t flags)
{
	struct madt_override *o = area_take(area, sizeof(*o), 1);

	*o = (struct madt_override){
		.type = 2, .length = sizeof(*o), .source = source, .gsi = gsi, .flags = flags
	};
}

static uint64_t write_madt(struct area *area, const struct machine *m)
{
	struct acpi_madt *madt = area_take(area, sizeof(*madt), 16);
	struct madt_ioapic *ioapic;
	struct madt_lapic_nmi *nmi;

	madt->lapic_address = (uint32_t)GPA_LAPIC;
	madt->flags = MADT_PCAT_COMPAT;
	for (unsigned int i = 0; i < m->cfg->cpus; i++) {
		struct madt_lapic *lapic = area_take(area, sizeof(*lapic), 1);

		*lapic = (struct madt_lapic){ .type = 0,
					      .length = sizeof(*lapic),
					      .processor_uid = (uint8_t)i,
					      .apic_id = (uint8_t)i,
					      .flags = 1 };
	}
	ioapic = area_take(area, sizeof(*ioapic), 1);
	*ioapic = (struct madt_ioapic){
		.type = 1, .length = sizeof(*ioapic), .id = 0, .address = (uint32_t)GPA_IOAPIC
	};
	madt_add_override(area, 0, 2, MPS_INTI_CONFORMS);
	madt_add_override(area, GSI_SCI, GSI_SCI, MPS_INTI_ACTIVE_HIGH | MPS_INTI_LEVEL);
	nmi = area_take(area, sizeof(*nmi), 1);
	*nmi = (struct madt_lapic_nmi){
		.type = 4, .length = sizeof(*nmi), .processor_uid = 0xff, .lint = 1
	};
	fill_header(&madt->h, "APIC", (size_t)(area->base + area->used - (uint8_t *)madt), 5);
	return area_gpa(area, madt);
}

static uint64_t write_xsdt(struct area *area, uint64_t fadt, uint64_t madt)
{
	const uint64_t tables[] = { fadt, madt };
	struct acpi_header *h = area_take(area, sizeof(*h) + sizeof(tables), 16);

	memcpy(h + 1, tables, sizeof(tables));
	fill_header(h, "XSDT", sizeof(*h) + sizeof(tables), 1);
	return area_gpa(area, h);
}

uint64_t acpi_write_tables(struct machine *m)
{
	struct area area = { .base = guest_ptr(m, GPA_ACPI, GPA_ACPI_SIZE) };
	struct acpi_rsdp *rsdp = area_take(&area, sizeof(*rsdp), 16);
	uint64_t dsdt = write_dsdt(&area, m);
	uint64_t fadt = write_fadt(&area, dsdt, write_facs(&area));
	uint64_t madt = write_madt(&area, m);

	memcpy(rsdp->signature, "RSD PTR ", 8);
	memcpy(rsdp->oem_id, "MEZZ  ", 6);
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt_address = write_xsdt(&area, fadt, madt);
	rsdp->checksum = checksum(rsdp, 20);
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
	return GPA_ACPI;
}

void acpi_dump_tables(const struct machine *m, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	if (fd < 0 || write_all(fd, guest_ptr(m, GPA_ACPI, GPA_ACPI_SIZE), GPA_ACPI_SIZE) < 0 ||
	    close(fd) < 0)
		die("%s: %s; give --dump-acpi a file that can be written", path, strerror(errno));
}
