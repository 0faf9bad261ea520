// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty ring: what a guest writes is reported once, again after a reset, and a full
 * ring stops the guest.
 */
#include "test.h"

#define ENTRIES	  (ring_bytes / sizeof(struct kvm_dirty_gfn))
#define LOG_GPA	  0x40000000ull
#define LOG_PAGES 1200u

static struct kvm_dirty_gfn *ring;
static unsigned int next;
static uint64_t ring_bytes;

static int enable(struct vm *vm, uint64_t bytes)
{
	return vm_try_cap(vm, KVM_CAP_DIRTY_LOG_RING, bytes);
}

/* The smallest ring: where the CPU logs writes, KVM keeps 512 more entries in reserve. */
static void enable_smallest(struct vm *vm)
{
	ring_bytes = PAGE;
	while (enable(vm, ring_bytes)) {
		ring_bytes *= 2;
		REQUIRE(ring_bytes <= 4 * PAGE, "no small ring: %s", strerror(errno));
	}
}

/* A VM with rings, a slot that logs, and a vCPU at @fn. */
static struct vcpu *ring_guest(void (*fn)(uint64_t), uint64_t arg)
{
	struct vm *vm;
	struct vcpu *v;

	if (dev_cap(KVM_CAP_DIRTY_LOG_RING) <= 0)
		test_skip("no KVM_CAP_DIRTY_LOG_RING");
	vm = vm_new(0);
	enable_smallest(vm);
	v = vcpu_new(vm, 0);
	vm_slot(vm, SLOT_FREE, KVM_MEM_LOG_DIRTY_PAGES, LOG_GPA, LOG_PAGES * PAGE,
		host_pages(LOG_PAGES * PAGE));
	vcpu_long_mode(v, fn, arg);
	ring = mmap(NULL, ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd,
		    KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	REQUIRE(ring != MAP_FAILED, "the ring cannot be mapped");
	next = 0;
	return v;
}

/* Collects what is in the ring into @pages (a byte each). How many entries. */
static unsigned int collect(uint8_t *pages)
{
	unsigned int n = 0;

	for (;; n++, next++) {
		struct kvm_dirty_gfn *e = &ring[next % ENTRIES];

		if (__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
			return n;
		CHECK_EQ(e->slot, SLOT_FREE);
		REQUIRE(e->offset < LOG_PAGES, "offset %llu", (unsigned long long)e->offset);
		pages[e->offset]++;
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
	}
}

static void write_guest(uint64_t arg)
{
	volatile uint8_t *p = (void *)LOG_GPA;

	(void)arg;
	for (int round = 0; round < 3; round++) {
		p[3 * PAGE] = 1;
		p[7 * PAGE] = 1;
		p[3 * PAGE + 8] = 2;
		g_sync(round);
	}
}

/* Twice written, once reported; nothing before a reset; all again after it. */
TEST(reported_once)
{
	struct vcpu *v = ring_guest(write_guest, 0);
	uint8_t pages[LOG_PAGES] = {};

	CHECK_EQ(vcpu_run_sync(v), 0);
	CHECK_EQ(collect(pages), 2);
	CHECK_EQ(pages[3], 1);
	CHECK_EQ(pages[7], 1);
	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(collect(pages), 0);
	CHECK_EQ(ioctl(v->vm->fd, KVM_RESET_DIRTY_RINGS, 0), 2);
	CHECK_EQ(ioctl(v->vm->fd, KVM_RESET_DIRTY_RINGS, 0), 0);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(collect(pages), 2);
	CHECK_EQ(pages[3], 2);
	CHECK_EQ(pages[7], 2);
	/* A slot that is gone by the time of the reset */
	vm_slot(v->vm, SLOT_FREE, 0, LOG_GPA, 0, NULL);
	CHECK_EQ(ioctl(v->vm->fd, KVM_RESET_DIRTY_RINGS, 0), 2);
	vcpu_run(v);
}

static void fill_guest(uint64_t arg)
{
	volatile uint8_t *p = (void *)LOG_GPA;

	(void)arg;
	for (unsigned int i = 0; i < LOG_PAGES; i++)
		p[i * PAGE] = 1;
}

/* More pages than entries: the guest waits for the collector, and none is lost. */
TEST(full)
{
	struct vcpu *v = ring_guest(fill_guest, 0);
	uint8_t pages[LOG_PAGES] = {};
	unsigned int stops = 0, n;

	for (; ioctl(v->fd, KVM_RUN, 0) == 0; stops++) {
		if (v->run->exit_reason != KVM_EXIT_DIRTY_RING_FULL)
			break;
		/* It does not go on as long as the ring is full. */
		CHECK_OK(ioctl(v->fd, KVM_RUN, 0));
		CHECK_EQ(v->run->exit_reason, KVM_EXIT_DIRTY_RING_FULL);
		n = collect(pages);
		CHECK(n > 0 && n <= ENTRIES, "%u entries", n);
		CHECK_EQ(ioctl(v->vm->fd, KVM_RESET_DIRTY_RINGS, 0), n);
	}
	CHECK(stops > 0, "the ring was never full");
	collect(pages);
	/* The write that met the full ring is repeated, and its page reported again. */
	for (unsigned int i = 0; i < LOG_PAGES; i++)
		CHECK(pages[i] == 1 || pages[i] == 2, "page %u: %u times", i, pages[i]);
}

TEST(arguments)
{
	struct vcpu *v = ring_guest(fill_guest, 0);
	struct kvm_dirty_log log = { .slot = SLOT_FREE, .dirty_bitmap = host_pages(PAGE) };
	struct vm *vm = vm_new_bare(0);
	uint64_t at = KVM_DIRTY_LOG_PAGE_OFFSET * PAGE;

	CHECK_ERR(ioctl(v->vm->fd, KVM_GET_DIRTY_LOG, &log), ENXIO);
	CHECK_ERR(enable(v->vm, ring_bytes), EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, v->fd, at) == MAP_FAILED, "private");
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, v->fd, at) == MAP_FAILED,
	      "executable");
	CHECK_ERR(ioctl(vm->fd, KVM_RESET_DIRTY_RINGS, 0), EINVAL);
	CHECK_ERR(enable(vm, 0), EINVAL);
	CHECK_ERR(enable(vm, 2048), EINVAL);
	CHECK_ERR(enable(vm, 4096 + 16), EINVAL);
	CHECK_ERR(enable(vm, 2ull * dev_cap(KVM_CAP_DIRTY_LOG_RING)), E2BIG);
	vcpu_new_bare(vm, 0);
	CHECK_ERR(enable(vm, ring_bytes), EINVAL);
}

/* What a slot that logs already has noted would be in no ring. */
TEST(enabled_late)
{
	struct vm *vm = vm_new(0);
	void *memory = host_pages(PAGE);

	if (dev_cap(KVM_CAP_DIRTY_LOG_RING) <= 0)
		test_skip("no KVM_CAP_DIRTY_LOG_RING");
	vm_slot(vm, SLOT_FREE, KVM_MEM_LOG_DIRTY_PAGES, LOG_GPA, PAGE, memory);
	if (!dev_is_kvm()) { /* which takes it */
		CHECK_ERR(enable(vm, PAGE), EINVAL);
		vm_slot(vm, SLOT_FREE, 0, LOG_GPA, PAGE, memory);
	}
	enable_smallest(vm);
}

/* Garbage in the ring does no harm. */
TEST(garbage)
{
	struct vcpu *v = ring_guest(write_guest, 0);
	uint64_t *words = (uint64_t *)ring;

	CHECK_EQ(vcpu_run_sync(v), 0);
	for (unsigned int i = 0; i < ring_bytes / 8; i++)
		words[i] = 0x9e3779b97f4a7c15ull * (i + 1) | (i % 2 ? 0 : KVM_DIRTY_GFN_F_RESET);
	CHECK_OK(ioctl(v->vm->fd, KVM_RESET_DIRTY_RINGS, 0));
	if (dev_is_kvm()) /* has reset more entries than it had made: full for ever */
		CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_DIRTY_RING_FULL);
	else
		CHECK_EQ(vcpu_run_sync(v), 1);
}
