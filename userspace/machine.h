/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtual machine as the launcher sees it: what the user asked for, guest
 * memory, the vCPU threads, the address map, and how the guest ended.
 *
 * Left to others: what a kernel wants to find in memory (boot.h, acpi.h) and
 * what devices do (bus.h, virtio.h, platform.h).
 */
#ifndef MEZZ_MACHINE_H
#define MEZZ_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <linux/kvm.h>

#include "bus.h"
#include "util.h"

#define MEZZ_MAX_CPUS	64
#define MEZZ_MAX_VIRTIO 16
#define MEZZ_MAX_DISKS	(MEZZ_MAX_VIRTIO - 1)

/*
 * Guest-physical address map. Below 1 MiB: what the boot protocols need, and the
 * ACPI tables where firmware would keep them. The hole from 3 to 4 GiB holds
 * devices; memory that does not fit below it starts at 4 GiB.
 */
#define GPA_GDT		  0x6000ULL
#define GPA_BOOT_PARAMS	  0x7000ULL /* zero page, or the PVH start info */
#define GPA_PAGE_TABLES	  0x9000ULL /* PML4, PDPT, four page directories */
#define GPA_CMDLINE	  0x20000ULL
#define GPA_CMDLINE_SIZE  0x10000ULL
#define GPA_LOW_RAM_END	  0xa0000ULL
#define GPA_ACPI	  0xe0000ULL
#define GPA_ACPI_SIZE	  0x20000ULL
#define GPA_HIGH_RAM	  0x100000ULL
#define GPA_HOLE	  0xc0000000ULL
#define GPA_VIRTIO	  0xd0000000ULL /* one page per device */
#define GPA_VIRTIO_STRIDE 0x1000ULL
#define GPA_IOAPIC	  0xfec00000ULL
#define GPA_LAPIC	  0xfee00000ULL
#define GPA_IDENTITY_MAP  0xfffbc000ULL
#define GPA_TSS		  0xfffbd000ULL
#define GPA_ABOVE_4G	  0x100000000ULL

#define GSI_SERIAL	  4
#define GSI_RTC		  8
#define GSI_SCI		  9

/** enum outcome - how the guest ended, or OUTCOME_NONE while it runs */
enum outcome {
	OUTCOME_NONE,
	OUTCOME_POWEROFF,
	OUTCOME_REBOOT,
	OUTCOME_CRASH,	/* triple fault */
	OUTCOME_DRIVER, /* the driver could not go on */
	OUTCOME_HOST,	/* the host refused something */
	OUTCOME_QUIT,	/* escape sequence on the console */
	OUTCOME_TIMEOUT,
	OUTCOME_SIGNAL, /* plus the signal's number */
};

/** struct disk_config - one --disk option */
struct disk_config {
	const char *path;
	bool read_only;
};

/** struct run_config - everything `mezz run` was asked for */
struct run_config {
	const char *device; /* NULL: /dev/mezz, then /dev/kvm */
	const char *kernel;
	const char *initrd;
	const char *append;
	const char *acpi_dump; /* file to write the ACPI tables to, or NULL */
	struct disk_config disks[MEZZ_MAX_DISKS];
	unsigned int ndisks;
	unsigned int cpus;
	unsigned int timeout; /* seconds, 0: none */
	uint64_t memory;      /* bytes */
	bool no_reboot;
	bool triple_fault_resets;
	bool no_rng;
	bool no_hugepages;
	bool stats;
	bool quiet;
};

/** struct vcpu - one guest CPU and the thread that runs it */
struct vcpu {
	struct machine *m;
	struct kvm_run *run; /* shared with the driver, m->run_size bytes */
	pthread_t thread;
	unsigned int id; /* also the APIC id */
	int fd;
	bool started;
	atomic_bool done;     /* the thread has left its run loop */
	uint64_t exits[64];   /* by KVM_EXIT_*; the last is for all others */
	uint64_t interrupted; /* KVM_RUN came back with EINTR or EAGAIN */
};

/** struct machine - one boot of the guest: made for it, and thrown away at its end */
struct machine {
	const struct run_config *cfg;
	struct bus pio;
	struct bus mmio;
	struct vcpu vcpus[MEZZ_MAX_CPUS];
	struct virtio_dev *virtio[MEZZ_MAX_VIRTIO];
	unsigned int nvirtio;
	struct serial *serial;
	struct platform *platform;
	uint8_t *ram;	   /* GPA 0; what is above 4 GiB follows directly */
	uint64_t low_size; /* bytes below GPA_HOLE */
	uint64_t high_size;
	void *ram_map; /* what mmap() returned for ram, which is aligned inside it */
	size_t ram_map_size;
	size_t run_size;
	int sys_fd;
	int vm_fd;
	bool has_ioeventfd;
	bool has_irqfd;
	int ended_fd; /* eventfd, written when outcome leaves OUTCOME_NONE */
	atomic_int outcome;
};

/**
 * machine_take_signals - from now on, SIGINT and its like end the guest in good order
 *
 * Once, before the program starts its first thread.
 */
void machine_take_signals(void);

/**
 * machine_create - make a VM with memory, interrupt controllers and vCPUs
 * @cfg: what the user asked for
 * @sys_fd: the open driver, see driver_open()
 *
 * Leaves with a message when the driver refuses something it must have.
 */
struct machine *machine_create(const struct run_config *cfg, int sys_fd);

/**
 * machine_run - start every vCPU and wait for the guest's end
 * @m: machine whose memory and BSP registers are ready
 *
 * Main thread. When it returns no vCPU runs any more.
 */
enum outcome machine_run(struct machine *m);

/**
 * machine_destroy - give back everything machine_create() took
 * @m: machine without running vCPUs and without devices
 */
void machine_destroy(struct machine *m);

/**
 * machine_stop - end the guest
 * @m: machine
 * @outcome: why; the first caller's reason stays
 *
 * Any thread, and a vCPU's own run loop. Does not wait.
 */
void machine_stop(struct machine *m, int outcome);

/**
 * machine_stopping - has machine_stop() been called?
 * @m: machine
 */
static inline bool machine_stopping(struct machine *m)
{
	return atomic_load_explicit(&m->outcome, memory_order_acquire) != OUTCOME_NONE;
}

/**
 * guest_ptr - where a range of guest-physical memory is in this process
 * @m: machine
 * @gpa: guest-physical address, of any value
 * @bytes: length of the range, of any value
 *
 * Returns NULL unless all of the range lies in one piece of guest memory. The
 * guest can write there at any moment: read once, then check.
 */
void *guest_ptr(const struct machine *m, uint64_t gpa, uint64_t bytes);

/**
 * machine_irq - set the level of an interrupt line
 * @m: machine
 * @gsi: line
 * @level: up or down
 *
 * Any thread.
 */
void machine_irq(struct machine *m, unsigned int gsi, bool level);

/**
 * driver_open - open /dev/mezz or whatever was asked for, and check its version
 * @device: path, or NULL for the default
 * @chosen: the path that was opened
 *
 * Leaves with a message that says what to do when there is none.
 */
int driver_open(const char *device, const char **chosen);

/**
 * driver_has - KVM_CHECK_EXTENSION
 * @fd: driver or VM
 * @cap: KVM_CAP_*
 *
 * Returns the driver's answer, 0 for "no" and for an error.
 */
int driver_has(int fd, unsigned int cap);

/* vcpu.c */

/**
 * vcpu_create - make one vCPU with its CPUID, MSRs and local APIC set up
 * @m: machine with interrupt controllers
 * @id: number, also the APIC id
 */
void vcpu_create(struct machine *m, unsigned int id);

/**
 * vcpu_main - run one vCPU until machine_stop()
 * @arg: its struct vcpu
 *
 * Thread function.
 */
void *vcpu_main(void *arg);

/**
 * vcpu_destroy - give back what vcpu_create() took
 * @vcpu: without a thread
 */
void vcpu_destroy(struct vcpu *vcpu);

/* cpuid.c */

/**
 * cpuid_set - give a vCPU the driver's CPUID with its own place in the topology
 * @vcpu: vCPU
 *
 * One package, one thread per core.
 */
void cpuid_set(struct vcpu *vcpu);

#endif
