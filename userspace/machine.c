// SPDX-License-Identifier: GPL-2.0-only
/*
 * One virtual machine: opening the driver, memory, interrupt controllers, and
 * the main thread's wait for the guest's end. See machine.h.
 *
 * A reset makes a new machine: nothing of the old one can be forgotten, and the
 * driver's ways of making and unmaking VMs are walked every time.
 *
 * Left to others: vCPUs (vcpu.c), what is in memory at the start (boot.c), devices.
 * Known hacks: the main thread signals vCPUs again and again until they have
 * left KVM_RUN; without KVM_CAP_IMMEDIATE_EXIT a single signal could be lost
 * between the test of the stop flag and the entry.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define HUGE_PAGE (2 * MIB)

static const char default_device[] = "/dev/mezz";
static const char kvm_device[] = "/dev/kvm";

static void device_open_failed(const char *path, int error)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		die("%s: %s; load the driver (insmod mezz.ko, or modprobe kvm_amd or kvm_intel), "
		    "then see `mezz info`",
		    path, strerror(error));
	case EACCES:
	case EPERM:
		die("%s: %s; run as root, or join the node's group: usermod -aG kvm USER, and log "
		    "in again",
		    path, strerror(error));
	case EBUSY:
		die("%s: %s; another hypervisor module holds the CPU: see `mezz info`", path,
		    strerror(error));
	default:
		die("%s: %s; see `mezz info`", path, strerror(error));
	}
}

static int signal_fd = -1;

/* All the signal has to do is to make KVM_RUN or write() return. */
static void on_kick(int signo)
{
	(void)signo;
}

void machine_take_signals(void)
{
	struct sigaction kick = { .sa_handler = on_kick };
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGUSR1, &kick, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		die("signalfd: %s", strerror(errno));
}

int driver_open(const char *device, const char **chosen)
{
	const char *path = device ? device : default_device;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0 && !device && (errno == ENOENT || errno == ENXIO || errno == ENODEV)) {
		int error = errno;

		fd = open(kvm_device, O_RDWR | O_CLOEXEC);
		if (fd >= 0) {
			msg("%s is absent: using %s", default_device, kvm_device);
			path = kvm_device;
		} else if (errno != ENOENT) {
			path = kvm_device;
		} else {
			errno = error;
		}
	}
	if (fd < 0)
		device_open_failed(path, errno);
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		die("%s: not a KVM-compatible driver (%s)", path, strerror(errno));
	if (version != KVM_API_VERSION)
		die("%s: API version %d, but this program speaks %d", path, version,
		    KVM_API_VERSION);
	*chosen = path;
	return fd;
}

int driver_has(int fd, unsigned int cap)
{
	int n = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	return n > 0 ? n : 0;
}

void *guest_ptr(const struct machine *m, uint64_t gpa, uint64_t bytes)
{
	uint64_t offset = gpa;
	uint64_t size = m->low_size;

	if (gpa >= GPA_ABOVE_4G) {
		offset = gpa - GPA_ABOVE_4G;
		size = m->high_size;
	}
	if (offset > size || bytes > size - offset)
		return NULL;
	return m->ram + (gpa >= GPA_ABOVE_4G ? m->low_size : 0) + offset;
}

static void add_slot(struct machine *m, unsigned int slot, uint64_t gpa, uint8_t *hva,
		     uint64_t bytes)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)hva,
	};

	if (ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		die("the driver refuses %llu bytes of memory at 0x%llx: %s",
		    (unsigned long long)bytes, (unsigned long long)gpa, strerror(errno));
}

/*
 * Guest memory is ordinary, lazily allocated process memory, aligned so that a
 * huge page of the host can be one of the guest's.
 */
static void create_memory(struct machine *m)
{
	uint64_t size = m->cfg->memory;
	void *map;

	m->low_size = MIN(size, GPA_HOLE);
	m->high_size = size - m->low_size;
	m->ram_map_size = size + HUGE_PAGE;
	map = mmap(NULL, m->ram_map_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		die("cannot reserve %llu MiB of memory: %s; give a smaller --memory",
		    (unsigned long long)(size / MIB), strerror(errno));
	m->ram_map = map;
	m->ram = (uint8_t *)ALIGN_UP((uintptr_t)map, (uintptr_t)HUGE_PAGE);
	if (!m->cfg->no_hugepages)
		(void)madvise(m->ram, size, MADV_HUGEPAGE);
	add_slot(m, 0, 0, m->ram, m->low_size);
	if (m->high_size)
		add_slot(m, 1, GPA_ABOVE_4G, m->ram + m->low_size, m->high_size);
}

/*
 * The PIT's interrupt is wired to pin 2 of the IOAPIC, as on a PC and as the
 * MADT says; all other lines go to the pin of their number.
 */
static void create_routing(struct machine *m)
{
	struct kvm_irq_routing *table = xcalloc(1, sizeof(*table) + 48 * sizeof(table->entries[0]));
	struct kvm_irq_routing_entry *e = table->entries;

	for (unsigned int gsi = 0; gsi < 16; gsi++) {
		if (gsi == 2)
			continue;
		e->gsi = gsi;
		e->type = KVM_IRQ_ROUTING_IRQCHIP;
		e->u.irqchip.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
		e->u.irqchip.pin = gsi % 8;
		e++;
	}
	for (unsigned int gsi = 0; gsi < 24; gsi++) {
		if (gsi == 2)
			continue;
		e->gsi = gsi;
		e->type = KVM_IRQ_ROUTING_IRQCHIP;
		e->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		e->u.irqchip.pin = gsi == 0 ? 2 : gsi;
		e++;
	}
	table->nr = (uint32_t)(e - table->entries);
	if (ioctl(m->vm_fd, KVM_SET_GSI_ROUTING, table) < 0)
		die("KVM_SET_GSI_ROUTING: %s", strerror(errno));
	free(table);
}

static void create_irqchip(struct machine *m)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	if (ioctl(m->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		die("KVM_CREATE_IRQCHIP: %s", strerror(errno));
	if (ioctl(m->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		die("KVM_CREATE_PIT2: %s", strerror(errno));
	create_routing(m);
}

static void create_vm(struct machine *m)
{
	uint64_t identity_map = GPA_IDENTITY_MAP;

	m->vm_fd = ioctl(m->sys_fd, KVM_CREATE_VM, 0);
	if (m->vm_fd < 0 && errno == EBUSY)
		die("KVM_CREATE_VM: %s; another hypervisor module holds the CPU: see `mezz info`",
		    strerror(errno));
	if (m->vm_fd < 0)
		die("KVM_CREATE_VM: %s; see `mezz info` and the kernel log", strerror(errno));
	if (driver_has(m->sys_fd, KVM_CAP_SET_IDENTITY_MAP_ADDR) &&
	    ioctl(m->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
		die("KVM_SET_IDENTITY_MAP_ADDR: %s", strerror(errno));
	if (ioctl(m->vm_fd, KVM_SET_TSS_ADDR, GPA_TSS) < 0)
		die("KVM_SET_TSS_ADDR: %s", strerror(errno));
}

struct machine *machine_create(const struct run_config *cfg, int sys_fd)
{
	struct machine *m = xcalloc(1, sizeof(*m));
	int run_size = ioctl(sys_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (run_size < (int)sizeof(struct kvm_run))
		die("KVM_GET_VCPU_MMAP_SIZE: %s", run_size < 0 ? strerror(errno) : "too small");
	m->cfg = cfg;
	m->sys_fd = sys_fd;
	m->run_size = (size_t)run_size;
	m->ended_fd = eventfd(0, EFD_CLOEXEC);
	if (m->ended_fd < 0)
		die("eventfd: %s", strerror(errno));
	create_vm(m);
	create_memory(m);
	create_irqchip(m);
	m->has_ioeventfd = driver_has(m->sys_fd, KVM_CAP_IOEVENTFD);
	m->has_irqfd = driver_has(m->sys_fd, KVM_CAP_IRQFD);
	for (unsigned int i = 0; i < cfg->cpus; i++)
		vcpu_create(m, i);
	return m;
}

void machine_destroy(struct machine *m)
{
	for (unsigned int i = 0; i < m->cfg->cpus; i++)
		vcpu_destroy(&m->vcpus[i]);
	close(m->vm_fd);
	munmap(m->ram_map, m->ram_map_size);
	close(m->ended_fd);
	free(m);
}

void machine_stop(struct machine *m, int outcome)
{
	const uint64_t one = 1;
	int none = OUTCOME_NONE;

	if (atomic_compare_exchange_strong(&m->outcome, &none, outcome))
		(void)!write(m->ended_fd, &one, sizeof(one));
}

void machine_irq(struct machine *m, unsigned int gsi, bool level)
{
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	if (ioctl(m->vm_fd, KVM_IRQ_LINE, &irq) < 0) {
		msg("KVM_IRQ_LINE of line %u: %s", gsi, strerror(errno));
		machine_stop(m, OUTCOME_HOST);
	}
}

/* Out of KVM_RUN with all of them: see "Known hacks" above. */
static void stop_vcpus(struct machine *m)
{
	const struct timespec pause = { .tv_nsec = 2000000 };

	for (unsigned int i = 0; i < m->cfg->cpus; i++) {
		struct vcpu *vcpu = &m->vcpus[i];

		if (vcpu->started)
			__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
	}
	for (unsigned int i = 0; i < m->cfg->cpus; i++) {
		struct vcpu *vcpu = &m->vcpus[i];

		if (!vcpu->started)
			continue;
		while (!atomic_load(&vcpu->done)) {
			pthread_kill(vcpu->thread, SIGUSR1);
			nanosleep(&pause, NULL);
		}
		pthread_join(vcpu->thread, NULL);
		vcpu->started = false;
	}
}

static void start_vcpus(struct machine *m)
{
	for (unsigned int i = 0; i < m->cfg->cpus; i++) {
		struct vcpu *vcpu = &m->vcpus[i];
		int error = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);

		if (error) {
			msg("cannot start a thread for vCPU %u: %s; raise `ulimit -u`", i,
			    strerror(error));
			machine_stop(m, OUTCOME_HOST);
			return;
		}
		vcpu->started = true;
	}
}

/* Milliseconds until the deadline for poll(2), -1 when there is none. */
static int time_left(uint64_t deadline)
{
	uint64_t now = now_ns();

	if (!deadline)
		return -1;
	return now >= deadline ? 0 : (int)MIN((deadline - now) / 1000000 + 1, 1000000U);
}

enum outcome machine_run(struct machine *m)
{
	uint64_t deadline = m->cfg->timeout ? now_ns() + m->cfg->timeout * 1000000000ULL : 0;
	struct pollfd fds[] = {
		{ .fd = m->ended_fd, .events = POLLIN },
		{ .fd = signal_fd, .events = POLLIN },
	};

	start_vcpus(m);
	while (!machine_stopping(m)) {
		struct signalfd_siginfo info;
		int n = poll(fds, ARRAY_SIZE(fds), time_left(deadline));

		if (n > 0 && fds[1].revents &&
		    read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
			machine_stop(m, OUTCOME_SIGNAL + (int)info.ssi_signo);
		if (deadline && now_ns() >= deadline)
			machine_stop(m, OUTCOME_TIMEOUT);
	}
	stop_vcpus(m);
	return (enum outcome)atomic_load(&m->outcome);
}
