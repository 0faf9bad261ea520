// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ABI itself: version, capabilities that agree with each other, what unknown
 * requests and wrong file descriptors get, mappings, statistics.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/eventfd.h>
#include "test.h"

/* Nobody's request */
#define UNKNOWN _IO(KVMIO, 0xfe)

TEST(version)
{
	int dev = dev_open();

	CHECK_EQ(ioctl(dev, KVM_GET_API_VERSION, 0), 12);
	CHECK_ERR(ioctl(dev, KVM_GET_API_VERSION, 1), EINVAL);
	CHECK(ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0) >= 2 * 4096, "vCPU mapping");
	CHECK_ERR(ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 1), EINVAL);
	close(dev);
}

TEST(unknown_requests)
{
	struct vcpu *v = vcpu_new(vm_new_bare(VM_IRQCHIP), 0);
	int dev = dev_open();

	CHECK(ioctl(dev, UNKNOWN, 0) == -1 && (errno == EINVAL || errno == ENOTTY), "%s",
	      strerror(errno));
	CHECK_ERR(ioctl(v->vm->fd, UNKNOWN, 0), ENOTTY);
	CHECK(ioctl(v->fd, UNKNOWN, 0) == -1 && (errno == EINVAL || errno == ENOTTY), "%s",
	      strerror(errno));
	/* Requests of another object, and of no KVM at all */
	CHECK(ioctl(dev, KVM_CREATE_VCPU, 0) == -1, "KVM_CREATE_VCPU on the device");
	CHECK(ioctl(v->vm->fd, KVM_RUN, 0) == -1, "KVM_RUN on a VM");
	CHECK(ioctl(v->fd, KVM_CREATE_VM, 0) == -1, "KVM_CREATE_VM on a vCPU");
	CHECK(ioctl(v->fd, KVM_CREATE_IRQCHIP, 0) == -1, "KVM_CREATE_IRQCHIP on a vCPU");
	CHECK(ioctl(v->fd, 0x5401 /* TCGETS */, 0) == -1 && (errno == EINVAL || errno == ENOTTY),
	      "%s", strerror(errno));
	CHECK_ERR(ioctl(v->vm->fd, 0x5401, 0), ENOTTY);
	for (unsigned int nr = 0; nr < 256; nr++) {
		/* Every number with a bad address: an error or not, but no harm */
		if (nr == 0x80 || nr == 0x41)
			continue; /* RUN, and another vCPU each time */
		ioctl(dev, _IOWR(KVMIO, nr, uint64_t), 8);
		ioctl(v->fd, _IOWR(KVMIO, nr, uint64_t), 8);
		ioctl(v->vm->fd, _IOW(KVMIO, nr, uint64_t), 8);
		ioctl(v->fd, _IOR(KVMIO, nr, uint64_t), -8);
	}
	close(dev);
}

static const struct {
	unsigned int cap;
	const char *name;
} qemu_needs[] = {
	{ KVM_CAP_USER_MEMORY, "USER_MEMORY" },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "DESTROY_MEMORY_REGION_WORKS" },
	{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "JOIN_MEMORY_REGIONS_WORKS" },
	{ KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR" },
	{ KVM_CAP_EXT_CPUID, "EXT_CPUID" },
	{ KVM_CAP_MP_STATE, "MP_STATE" },
	{ KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING" },
	{ KVM_CAP_IRQCHIP, "IRQCHIP" },
	{ KVM_CAP_HLT, "HLT" },
	{ KVM_CAP_PIT2, "PIT2" },
	{ KVM_CAP_IRQ_INJECT_STATUS, "IRQ_INJECT_STATUS" },
	{ KVM_CAP_IOEVENTFD, "IOEVENTFD" },
	{ KVM_CAP_IRQFD, "IRQFD" },
	{ KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS" },
	{ KVM_CAP_DEBUGREGS, "DEBUGREGS" },
	{ KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK" },
	{ KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT" },
	{ KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_SPLIT_IRQCHIP, "SPLIT_IRQCHIP" },
	{ KVM_CAP_TSC_DEADLINE_TIMER, "TSC_DEADLINE_TIMER" },
	{ KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI" },
};

TEST(capabilities)
{
	struct vm *vm = vm_new_bare(0);
	int most;

	for (unsigned int i = 0; i < sizeof(qemu_needs) / sizeof(qemu_needs[0]); i++)
		CHECK(dev_cap(qemu_needs[i].cap) > 0, "KVM_CAP_%s is missing", qemu_needs[i].name);
	CHECK_EQ(dev_cap(100000), 0);
	CHECK_EQ(dev_cap(~0ul), 0);
	/* The VM's answers are the device's, unless the VM can do less. */
	for (unsigned int cap = 0; cap < 240; cap++) {
		int dev = dev_cap(cap), here = ioctl(vm->fd, KVM_CHECK_EXTENSION, (long)cap);

		CHECK(dev >= 0, "capability %u: %d", cap, dev);
		if (cap != KVM_CAP_NR_MEMSLOTS && cap != KVM_CAP_XSAVE2)
			CHECK(here <= dev || dev == 0, "capability %u: %d, of the VM %d", cap, dev,
			      here);
	}
	most = dev_cap(KVM_CAP_MAX_VCPUS);
	CHECK(dev_cap(KVM_CAP_NR_VCPUS) <= most, "more are recommended than possible");
	CHECK(dev_cap(KVM_CAP_MAX_VCPU_ID) >= most, "KVM_CAP_MAX_VCPU_ID");
	CHECK(dev_cap(KVM_CAP_MCE) == 0 || dev_cap(KVM_CAP_MCE) >= 10, "MCE banks");
}

TEST(enable_cap)
{
	struct vm *vm = vm_new_bare(0);
	struct kvm_enable_cap cap = { .cap = 100000 };

	CHECK_ERR(ioctl(vm->fd, KVM_ENABLE_CAP, &cap), EINVAL);
	cap.cap = KVM_CAP_SPLIT_IRQCHIP;
	cap.flags = 1;
	CHECK_ERR(ioctl(vm->fd, KVM_ENABLE_CAP, &cap), EINVAL);
	cap.flags = 0;
	cap.args[0] = 100000;
	CHECK_ERR(ioctl(vm->fd, KVM_ENABLE_CAP, &cap), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_ENABLE_CAP, NULL), EFAULT);
	cap.args[0] = 24;
	vm_ioctl(vm, KVM_ENABLE_CAP, &cap);
	CHECK_ERR(ioctl(vm->fd, KVM_ENABLE_CAP, &cap), EEXIST);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), EEXIST);
}

TEST(create_vm)
{
	int dev = dev_open(), read_only, fd;
	char path[64], name[64] = {};

	CHECK_ERR(ioctl(dev, KVM_CREATE_VM, 77l), EINVAL);
	fd = ioctl(dev, KVM_CREATE_VM, 0);
	CHECK(fd >= 0, "KVM_CREATE_VM: %s", strerror(errno));
	CHECK_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(readlink(path, name, 63) > 0 && strstr(name, "-vm"), "its name is %s", name);
	CHECK_OK(ioctl(fd, KVM_SET_TSS_ADDR, 0xfffbd000l));
	CHECK_ERR(ioctl(fd, KVM_SET_TSS_ADDR, 0xfffff000l), EINVAL);
	uint64_t address = 0xfffbc000;

	CHECK_OK(ioctl(fd, KVM_SET_IDENTITY_MAP_ADDR, &address));
	/* libvirt opens the device for reading only. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dev);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(read_only >= 0 && ioctl(read_only, KVM_CREATE_VM, 0) >= 0, "read-only: %s",
	      strerror(errno));
	/* The VM outlives the device's file. */
	close(dev);
	CHECK(ioctl(fd, KVM_CREATE_VCPU, 0) >= 0, "KVM_CREATE_VCPU: %s", strerror(errno));
	close(fd);
}

TEST(mappings)
{
	struct vm *vm = vm_new_bare(0);
	struct vcpu *v = vcpu_new_bare(vm, 0);
	uint64_t size = vm->vcpu_map_size;
	uint8_t *p;

	/* Twice, in part, and too much: a page that is not there is SIGBUS, no more. */
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	REQUIRE(p != MAP_FAILED, "mmap: %s", strerror(errno));
	v->run->immediate_exit = 1;
	CHECK_EQ(((struct kvm_run *)p)->immediate_exit, 1);
	CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
	munmap(p, size);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, v->fd, PAGE);
	CHECK(p != MAP_FAILED, "mmap of the second page: %s", strerror(errno));
	munmap(p, PAGE);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, v->fd, 1000 * PAGE);
	CHECK(p == MAP_FAILED || mincore(p, PAGE, (unsigned char[1]){}) == 0, "far away");
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, vm->fd, 0);
	CHECK(p == MAP_FAILED, "a VM can be mapped");
	/* The mapping outlives the file descriptors. */
	close(v->fd);
	close(vm->fd);
	v->run->immediate_exit = 0;
	CHECK_EQ(v->run->immediate_exit, 0);
}

/* Memory of the guest that is the vCPU's own page: no crash, whatever it does. */
static void strange_guest(uint64_t arg)
{
	for (unsigned int i = 0; i < 4096; i += 8)
		G_WRITE(uint64_t, arg + i, 0xffffffffffffffff);
	for (;;)
		g_pause();
}

static void wake(int number)
{
	(void)number;
}

TEST(kvm_run_as_guest_memory)
{
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = {};
	struct vcpu *v = vm_with_guest(0, strange_guest, 0x40000000);

	vm_slot(v->vm, SLOT_FREE, 0, 0x40000000, PAGE, v->run);
	/* It overwrites immediate_exit, flags, everything. */
	signal(SIGPROF, wake);
	setitimer(ITIMER_PROF, &often, NULL);
	for (unsigned int i = 0; i < 20; i++)
		ioctl(v->fd, KVM_RUN, 0);
	setitimer(ITIMER_PROF, &never, NULL);
	memset((void *)v->run, 0, PAGE);
}

TEST(wrong_files)
{
	struct vm *vm = vm_new_bare(VM_IRQCHIP), *bare = vm_new_bare(0);
	struct kvm_create_device device = { .type = 77 };
	struct kvm_irqfd irqfd = { .fd = -1 };
	int pipes[2];

	CHECK_OK(pipe(pipes));
	CHECK_ERR(ioctl(pipes[0], KVM_CREATE_VCPU, 0), ENOTTY);
	CHECK_ERR(ioctl(vm->fd, KVM_IRQFD, &irqfd), EBADF);
	irqfd.fd = pipes[0];
	CHECK_ERR(ioctl(vm->fd, KVM_IRQFD, &irqfd), EINVAL);
	irqfd.fd = eventfd(0, EFD_CLOEXEC);
	CHECK_ERR(ioctl(bare->fd, KVM_IRQFD, &irqfd), EINVAL); /* no controllers */
	CHECK(ioctl(vm->fd, KVM_CREATE_DEVICE, &device) == -1, "an unknown device is created");
	CHECK_ERR(ioctl(vm->fd, KVM_IRQ_LINE, NULL), EFAULT);
	CHECK_ERR(ioctl(vm->fd, KVM_SIGNAL_MSI, NULL), EFAULT);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, NULL), EFAULT);
	CHECK_ERR(ioctl(vm->fd, KVM_IOEVENTFD, NULL), EFAULT);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_DIRTY_LOG, NULL), EFAULT);
	CHECK_ERR(ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, NULL), EFAULT);
	CHECK_ERR(read(vm->fd, pipes, 4), EINVAL);
	CHECK_ERR(write(vm->fd, pipes, 4), EINVAL);
}

TEST(device_attributes)
{
	uint64_t value = 0;
	struct kvm_device_attr attr = { .attr = KVM_X86_XCOMP_GUEST_SUPP,
					.addr = (uintptr_t)&value };
	int dev = dev_open();

	if (dev_cap(KVM_CAP_SYS_ATTRIBUTES) <= 0)
		test_skip("no KVM_CAP_SYS_ATTRIBUTES");
	CHECK_OK(ioctl(dev, KVM_HAS_DEVICE_ATTR, &attr));
	CHECK_OK(ioctl(dev, KVM_GET_DEVICE_ATTR, &attr));
	if (dev_cpuid_reg(1, 0, 'c') >> 26 & 1)
		CHECK_EQ(value & 3, 3);
	attr.attr = 77;
	CHECK_ERR(ioctl(dev, KVM_HAS_DEVICE_ATTR, &attr), ENXIO);
	CHECK_ERR(ioctl(dev, KVM_GET_DEVICE_ATTR, &attr), ENXIO);
	attr.group = 77;
	CHECK_ERR(ioctl(dev, KVM_GET_DEVICE_ATTR, &attr), ENXIO);
	close(dev);
}

/* --- statistics --- */

static void exits_guest(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		g_outb(0x80, 0);
}

static bool any_port(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_IO;
}

static uint64_t statistic(int fd, const char *wanted)
{
	struct kvm_stats_header h;
	uint64_t value = ~0ull;

	REQUIRE(pread(fd, &h, sizeof(h), 0) == sizeof(h), "header: %s", strerror(errno));
	for (unsigned int i = 0; i < h.num_desc; i++) {
		uint8_t raw[sizeof(struct kvm_stats_desc) + 256];
		struct kvm_stats_desc *d = (void *)raw;
		size_t size = sizeof(*d) + h.name_size;

		REQUIRE(size <= sizeof(raw), "name_size is %u", h.name_size);
		CHECK_EQ(pread(fd, raw, size, h.desc_offset + i * size), size);
		CHECK(strnlen((char *)d->name, h.name_size) < h.name_size, "an endless name");
		CHECK((d->flags & 0xf) <= KVM_STATS_TYPE_MAX, "%s: type", d->name);
		CHECK(d->size >= 1, "%s: size 0", d->name);
		if (!strcmp((char *)d->name, wanted))
			CHECK_EQ(pread(fd, &value, 8, h.data_offset + d->offset), 8);
	}
	return value;
}

TEST(stats_fd)
{
	struct vcpu *v = vm_with_guest(0, exits_guest, 100);
	int vm_stats, stats;
	uint64_t before;

	if (dev_cap(KVM_CAP_BINARY_STATS_FD) <= 0)
		test_skip("no KVM_CAP_BINARY_STATS_FD");
	vm_stats = ioctl(v->vm->fd, KVM_GET_STATS_FD, 0);
	stats = ioctl(v->fd, KVM_GET_STATS_FD, 0);
	CHECK(vm_stats >= 0 && stats >= 0, "KVM_GET_STATS_FD: %s", strerror(errno));
	v->on_exit = any_port;
	before = statistic(stats, "exits");
	vcpu_run(v);
	CHECK(statistic(stats, "exits") >= before + 100, "%llu exits",
	      (unsigned long long)(statistic(stats, "exits") - before));
	statistic(vm_stats, "remote_tlb_flush");
	char c[64];

	CHECK_EQ(pread(stats, c, 64, 1 << 20), 0); /* after its end */
	/* They outlive vCPU and VM. */
	vm_free(v->vm);
	CHECK(statistic(stats, "exits") != ~0ull, "exits are gone");
	close(stats);
	close(vm_stats);
}
