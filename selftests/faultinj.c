// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every ioctl that allocates, with its first, second, third... allocation or copy
 * failing, until none is left to fail: each time it says ENOMEM or EFAULT, or
 * manages without, and works when it is called again. What it leaks or oopses over
 * is in the kernel's log.
 *
 * Needs a kernel with fault injection: lab/kernel.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include "test.h"

#define MOST 2000 /* faults in one ioctl: more means that it never ends */

static int fail_nth;
static bool slabs; /* allocations from slabs fail too, so every call feels something */

/* Injection also where the allocation may wait, in single pages, and silent. */
static void configure(void)
{
	static const char *const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
		{ "fail_usercopy/verbose", "0" },
	};
	unsigned int done = 0;

	slabs = !access("/sys/kernel/debug/failslab", F_OK);

	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	if (fail_nth < 0)
		test_skip("this kernel injects no faults");
	for (unsigned int i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		char path[100];
		int fd;

		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		fd = open(path, O_WRONLY);
		if (fd < 0)
			continue;
		done += write(fd, settings[i][1], strlen(settings[i][1])) > 0;
		close(fd);
	}
	if (!done)
		test_skip("this kernel injects no faults");
}

static void arm(unsigned int n)
{
	char text[12];
	int len = snprintf(text, sizeof(text), "%u", n);

	REQUIRE(pwrite(fail_nth, text, len, 0) == len, "fail-nth: %s", strerror(errno));
}

/*
 * Switches it off; has the fault been injected? One that has not may still hit the
 * calls in here, which copy, too; then it is over.
 */
static bool disarm(void)
{
	char text[12] = "";
	ssize_t r = pread(fail_nth, text, sizeof(text) - 1, 0);

	if (r < 0 && errno == EFAULT)
		return false;
	REQUIRE(r > 0, "fail-nth: %s", strerror(errno));
	REQUIRE(pwrite(fail_nth, "0", 1, 0) == 1 || errno == EFAULT, "fail-nth: %s",
		strerror(errno));
	return atoi(text) == 0;
}

/* An ioctl with what it needs before, and what undoes it. */
struct call {
	const char *name;
	struct vm *vm;
	int fd;
	unsigned long request;
	void *arg;
	unsigned long value; /* instead of @arg */
	void (*undo)(struct call *c, int result);
};

static void walk(struct call *c)
{
	unsigned int n, failed = 0;

	for (n = 1; n < MOST; n++) {
		unsigned long arg = c->arg ? (unsigned long)c->arg : c->value;
		bool injected;
		int r, error;

		arm(n);
		r = ioctl(c->fd, c->request, arg);
		error = errno;
		injected = disarm();
		if (r < 0 && injected && (error == ENOMEM || error == EFAULT)) {
			failed++;
			continue;
		}
		CHECK(r >= 0, "%s, fault %u: %s", c->name, n, strerrorname_np(error));
		if (r >= 0 && c->undo)
			c->undo(c, r);
		if (!injected)
			break;
	}
	CHECK(n < MOST, "%s: no end", c->name);
	CHECK(failed || !slabs, "%s: none of %u faults was felt", c->name, n - 1);
	test_note("%s: %u faults, %u felt", c->name, n - 1, failed);
}

static void undo_close(struct call *c, int result)
{
	(void)c;
	close(result);
}

TEST_SECONDS(create_vm, 100)
{
	struct call c = { .name = "KVM_CREATE_VM", .request = KVM_CREATE_VM, .undo = undo_close };

	configure();
	c.fd = dev_open();
	walk(&c);
}

TEST_SECONDS(supported_cpuid, 100)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 e[256];
	} table = { .head.nent = 256 };
	struct call c = { .name = "KVM_GET_SUPPORTED_CPUID",
			  .request = KVM_GET_SUPPORTED_CPUID,
			  .arg = &table };

	configure();
	c.fd = dev_open();
	walk(&c);
}

/* One VM for each try: a vCPU cannot be taken back. */
static void walk_fresh(const char *name, int flags, unsigned long request, void *arg,
		       unsigned long value)
{
	struct call c = { .name = name, .request = request, .arg = arg, .value = value };
	unsigned int n, failed = 0;

	for (n = 1; n < MOST; n++) {
		struct vm *vm = vm_new_bare(flags);
		bool injected;
		int r, error;

		arm(n);
		r = ioctl(vm->fd, c.request, arg ? (unsigned long)arg : value);
		error = errno;
		injected = disarm();
		if (r < 0) {
			CHECK(injected && (error == ENOMEM || error == EFAULT), "%s, fault %u: %s",
			      name, n, strerrorname_np(error));
			failed++;
			/* and it has left nothing in its own way */
			r = ioctl(vm->fd, c.request, arg ? (unsigned long)arg : value);
			CHECK(r >= 0, "%s again after fault %u: %s", name, n,
			      strerrorname_np(errno));
		}
		if (request == KVM_CREATE_VCPU && r >= 0)
			close(r);
		vm_free(vm);
		if (!injected)
			break;
	}
	CHECK(n < MOST, "%s: no end", name);
	CHECK(failed || !slabs, "%s: none of %u faults was felt", name, n - 1);
	test_note("%s: %u faults, %u felt", name, n - 1, failed);
}

TEST_SECONDS(create_vcpu, 100)
{
	configure();
	walk_fresh("KVM_CREATE_VCPU", VM_PLAIN, KVM_CREATE_VCPU, NULL, 0);
	walk_fresh("KVM_CREATE_VCPU with LAPIC", VM_IRQCHIP, KVM_CREATE_VCPU, NULL, 3);
}

TEST_SECONDS(create_chips, 100)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	configure();
	walk_fresh("KVM_CREATE_IRQCHIP", VM_PLAIN, KVM_CREATE_IRQCHIP, NULL, 0);
	walk_fresh("KVM_CREATE_PIT2", VM_IRQCHIP, KVM_CREATE_PIT2, &pit, 0);
}

static void undo_slot(struct call *c, int result)
{
	(void)result;
	CHECK_OK(vm_try_slot(c->vm, SLOT_FREE, 0, 0x40000000, 0, NULL));
}

/* It went although something failed: back, so that it can go again. */
static void undo_delete(struct call *c, int result)
{
	struct kvm_userspace_memory_region region = *(struct kvm_userspace_memory_region *)c->arg;

	(void)result;
	region.memory_size = 64 * PAGE;
	vm_ioctl(c->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

TEST_SECONDS(memory_slots, 100)
{
	struct kvm_userspace_memory_region region = { .slot = SLOT_FREE,
						      .guest_phys_addr = 0x40000000,
						      .memory_size = 64 * PAGE };
	struct call c = { .request = KVM_SET_USER_MEMORY_REGION, .arg = &region };

	configure();
	c.vm = vm_new(VM_PLAIN);
	c.fd = c.vm->fd;
	region.userspace_addr = (uint64_t)host_pages(region.memory_size);
	c.name = "a slot comes";
	c.undo = undo_slot;
	walk(&c);
	c.name = "a slot that logs comes";
	region.flags = KVM_MEM_LOG_DIRTY_PAGES;
	walk(&c);
	/* moving it, there and back */
	vm_ioctl(c.vm, KVM_SET_USER_MEMORY_REGION, &region);
	c.name = "a slot moves";
	c.undo = NULL;
	region.guest_phys_addr = 0x50000000;
	walk(&c);
	c.name = "a slot goes";
	c.undo = undo_delete;
	region.memory_size = 0;
	walk(&c);
}

static void undo_irqfd(struct call *c, int result)
{
	struct kvm_irqfd *fd = c->arg, off = *fd;

	(void)result;
	off.flags = KVM_IRQFD_FLAG_DEASSIGN;
	vm_ioctl(c->vm, KVM_IRQFD, &off);
}

static void undo_ioeventfd(struct call *c, int result)
{
	struct kvm_ioeventfd *fd = c->arg, off = *fd;

	(void)result;
	off.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	vm_ioctl(c->vm, KVM_IOEVENTFD, &off);
}

TEST_SECONDS(eventfds, 100)
{
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0), .gsi = 5 };
	struct kvm_ioeventfd io = { .addr = MMIO_BASE, .len = 4, .fd = eventfd(0, 0) };
	struct call c = { .name = "KVM_IRQFD", .request = KVM_IRQFD, .arg = &irqfd };

	configure();
	c.vm = vm_new(VM_IRQCHIP);
	c.fd = c.vm->fd;
	c.undo = undo_irqfd;
	walk(&c);
	c.name = "KVM_IRQFD with resampling";
	irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
	irqfd.resamplefd = eventfd(0, 0);
	walk(&c);
	c = (struct call){ .name = "KVM_IOEVENTFD",
			   .vm = c.vm,
			   .fd = c.fd,
			   .request = KVM_IOEVENTFD,
			   .arg = &io,
			   .undo = undo_ioeventfd };
	walk(&c);
}

TEST_SECONDS(routing_and_zones, 100)
{
	static struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e[300];
	} routes = { .head.nr = 300 };
	struct kvm_coalesced_mmio_zone zone = { .addr = MMIO_BASE, .size = 16 };
	struct call c = { .name = "KVM_SET_GSI_ROUTING",
			  .request = KVM_SET_GSI_ROUTING,
			  .arg = &routes };

	configure();
	c.vm = vm_new(VM_IRQCHIP);
	c.fd = c.vm->fd;
	for (unsigned int i = 0; i < 300; i++) {
		routes.e[i].gsi = i;
		routes.e[i].type = KVM_IRQ_ROUTING_MSI;
	}
	walk(&c);
	c.name = "KVM_REGISTER_COALESCED_MMIO";
	c.request = KVM_REGISTER_COALESCED_MMIO;
	c.arg = &zone;
	walk(&c);
}

TEST_SECONDS(vcpu_state, 100)
{
	static struct kvm_lapic_state lapic;
	static struct kvm_xsave xsave;
	static struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[20];
	} msrs = { .head.nmsrs = 20 };
	struct vcpu *v;
	struct call c = {};
	const struct {
		const char *name;
		unsigned long request;
		void *arg;
	} calls[] = {
		{ "KVM_GET_LAPIC", KVM_GET_LAPIC, &lapic },
		{ "KVM_SET_LAPIC", KVM_SET_LAPIC, &lapic },
		{ "KVM_GET_XSAVE", KVM_GET_XSAVE, &xsave },
		{ "KVM_SET_XSAVE", KVM_SET_XSAVE, &xsave },
		{ "KVM_GET_MSRS", KVM_GET_MSRS, &msrs },
		{ "KVM_SET_CPUID2", KVM_SET_CPUID2, NULL },
	};

	configure();
	v = vcpu_new(vm_new(VM_IRQCHIP), 0);
	for (unsigned int i = 0; i < 20; i++)
		msrs.e[i].index = 0x10;
	for (unsigned int i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		c = (struct call){ .name = calls[i].name,
				   .vm = v->vm,
				   .fd = v->fd,
				   .request = calls[i].request,
				   .arg = calls[i].arg ?: cpuid_copy() };
		walk(&c);
	}
}

static void short_guest(uint64_t arg)
{
	G_CHECK_EQ(arg, 77);
}

/* The guest's first steps: second-stage tables, the emulator, kvm_run. */
TEST_SECONDS(run, 100)
{
	unsigned int n, failed = 0;

	configure();
	for (n = 1; n < MOST; n++) {
		struct vcpu *v = vm_with_guest(VM_PLAIN, short_guest, 77);
		bool injected;
		int r, error;

		arm(n);
		r = ioctl(v->fd, KVM_RUN, 0);
		error = errno;
		injected = disarm();
		if (r < 0) {
			CHECK(injected && (error == ENOMEM || error == EFAULT), "fault %u: %s", n,
			      strerrorname_np(error));
			failed++;
			vcpu_run(v);
		}
		vm_free(v->vm);
		if (!injected)
			break;
	}
	CHECK(n < MOST, "no end");
	test_note("KVM_RUN: %u faults, %u felt", n - 1, failed);
}
