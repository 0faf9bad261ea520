// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots: what is refused, and all that may be done to them under a guest
 * that runs: move, delete, make read-only, log dirty pages.
 */
#include "test.h"

#define GPA 0x40000000ull /* where the slots of these tests are */
#define HOT 64u		  /* pages that the running guest works on */

static const uint32_t log_flag = KVM_MEM_LOG_DIRTY_PAGES, ro_flag = KVM_MEM_READONLY;

/* --- errors --- */

TEST(slot_errors)
{
	struct vm *vm = vm_new(0);
	uint8_t *p = host_pages(16 * PAGE);
	int n = dev_cap(KVM_CAP_NR_MEMSLOTS);

	CHECK(n >= 32, "%d slots", n);
	CHECK_ERR(vm_try_slot(vm, 2, 0, GPA + 1, PAGE, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, 0, GPA, PAGE + 1, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, 0, GPA, PAGE, p + 1), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, 1u << 20, GPA, PAGE, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, n, 0, GPA, PAGE, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 0xffff, 0, GPA, PAGE, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 5u << 16, 0, GPA, PAGE, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, 0, ~(PAGE - 1), 2 * PAGE, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, 0, GPA, 1ull << 63, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, 0, GPA, PAGE, (void *)0x8000000000000000), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, 0, GPA, 0, p), EINVAL); /* there is nothing to delete */
	CHECK_ERR(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, NULL), EFAULT);
	/* Overlaps, whole and in part */
	CHECK_ERR(vm_try_slot(vm, 2, 0, 0, PAGE, p), EEXIST);
	CHECK_ERR(vm_try_slot(vm, 2, 0, RAM_SIZE - PAGE, 2 * PAGE, p), EEXIST);
	vm_slot(vm, 2, 0, GPA, 4 * PAGE, p);
	CHECK_ERR(vm_try_slot(vm, 3, 0, GPA + 3 * PAGE, PAGE, p), EEXIST);
	vm_slot(vm, 3, 0, GPA + 4 * PAGE, PAGE, p);
	/* Neither size nor host address of a slot may change. */
	CHECK_ERR(vm_try_slot(vm, 2, 0, GPA, 2 * PAGE, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, 0, GPA, 4 * PAGE, p + PAGE), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, ro_flag, GPA, 4 * PAGE, p), EINVAL);
	CHECK_ERR(vm_try_slot(vm, 2, 0, GPA + PAGE, 4 * PAGE, p), EEXIST);
	vm_slot(vm, 2, 0, GPA, 4 * PAGE, p); /* the same again */
	vm_slot(vm, 2, log_flag, GPA, 4 * PAGE, p);
	vm_slot(vm, 2, 0, GPA, 4 * PAGE, p);
	vm_slot(vm, 2, 0, GPA - 4 * PAGE, 4 * PAGE, p); /* a move */
	vm_slot(vm, 2, 0, 0, 0, NULL);
	vm_slot(vm, 2, ro_flag, GPA, 2 * PAGE, p);
}

TEST(many_slots)
{
	struct vm *vm = vm_new_bare(0);
	unsigned int n = dev_cap(KVM_CAP_NR_MEMSLOTS);
	uint8_t *p = host_pages(PAGE);

	n = n > 1000 ? 1000 : n;
	/* In a shuffled order; each of them can be found by its dirty log. */
	for (unsigned int i = 0; i < n; i++) {
		unsigned int k = (i * 367) % n;

		vm_slot(vm, k, log_flag, GPA + k * 2 * PAGE, PAGE, p);
	}
	for (unsigned int i = 0; i < n; i += 7) {
		unsigned long bits = 0;
		struct kvm_dirty_log log = { .slot = i, .dirty_bitmap = &bits };

		vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log);
	}
	CHECK_ERR(vm_try_slot(vm, 0, 0, GPA + 2 * PAGE, PAGE, p), EEXIST);
	for (unsigned int i = 0; i < n; i++)
		vm_slot(vm, (i * 211) % n, 0, 0, 0, NULL);
	vm_slot(vm, 0, 0, GPA, PAGE, p);
}

static void sum_guest(uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++)
		sum += G_READ(uint64_t, GPA + i * 2 * PAGE);
	G_CHECK_EQ(sum, n * (n - 1) / 2);
	for (uint64_t i = 0; i < n; i++)
		G_WRITE(uint64_t, GPA + i * 2 * PAGE + 8, i);
}

TEST(guest_uses_500_slots)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	unsigned int n = 500;
	uint8_t *p = host_pages(n * PAGE);

	for (uint64_t i = 0; i < n; i++) {
		*(uint64_t *)(p + i * PAGE) = i;
		vm_slot(vm, SLOT_FREE + i, 0, GPA + i * 2 * PAGE, PAGE, p + i * PAGE);
	}
	vcpu_long_mode(v, sum_guest, n);
	vcpu_run(v);
	for (uint64_t i = 0; i < n; i++)
		CHECK_EQ(*(uint64_t *)(p + i * PAGE + 8), i);
}

/* --- one step at a time --- */

static void step_guest(uint64_t arg)
{
	(void)arg;
	for (uint32_t i = 0;; i++) {
		uint64_t value = G_READ(uint64_t, GPA);

		g_sync(value);
		G_WRITE(uint64_t, GPA + 8, i);
		g_sync(i);
	}
}

static struct vcpu *step_vm(void)
{
	struct vcpu *v = vm_with_guest(0, step_guest, 0);

	v->on_exit = vcpu_mmio_ram;
	return v;
}

TEST(move_and_delete)
{
	struct vcpu *v = step_vm();
	uint64_t *a = host_pages(2 * PAGE), *b = host_pages(2 * PAGE);

	a[0] = 0xa;
	a[512] = 0xa2;
	b[0] = 0xb;
	vm_slot(v->vm, 2, 0, GPA, 2 * PAGE, a);
	CHECK_EQ(vcpu_run_sync(v), 0xa);
	CHECK_EQ(vcpu_run_sync(v), 0);
	CHECK_EQ(a[1], 0);
	/* Another host page at the same place */
	vm_slot(v->vm, 2, 0, GPA, 0, NULL);
	vm_slot(v->vm, 2, 0, GPA, 2 * PAGE, b);
	CHECK_EQ(vcpu_run_sync(v), 0xb);
	a[1] = 0x77;
	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(b[1], 1);
	CHECK_EQ(a[1], 0x77);
	/* Moved by a page: its second page is there now. */
	b[512] = 0xb2;
	vm_slot(v->vm, 2, 0, GPA - PAGE, 2 * PAGE, b);
	CHECK_EQ(vcpu_run_sync(v), 0xb2);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(b[513], 2);
	/* Gone: an MMIO exit; and there again */
	vm_slot(v->vm, 2, 0, GPA, 0, NULL);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_MMIO);
	CHECK_EQ(v->run->mmio.phys_addr, GPA);
	CHECK_EQ(v->run->mmio.is_write, 0);
	*(uint64_t *)v->run->mmio.data = 0x1234;
	CHECK_EQ(vcpu_run_sync(v), 0x1234);
	vm_slot(v->vm, 2, 0, GPA, 2 * PAGE, a);
	CHECK_EQ(vcpu_run_sync(v), 3);
	CHECK_EQ(a[1], 3);
	/* Two slots change places. */
	vm_slot(v->vm, 3, 0, GPA + 4 * PAGE, 2 * PAGE, b);
	vm_slot(v->vm, 2, 0, GPA + 8 * PAGE, 2 * PAGE, a);
	vm_slot(v->vm, 3, 0, GPA, 2 * PAGE, b);
	CHECK_EQ(vcpu_run_sync(v), 0xb);
}

TEST(read_only)
{
	struct vcpu *v;
	uint64_t *a = host_pages(PAGE);

	if (dev_cap(KVM_CAP_READONLY_MEM) <= 0)
		test_skip("no KVM_CAP_READONLY_MEM");
	v = step_vm();
	a[0] = 0xa;
	vm_slot(v->vm, 2, ro_flag, GPA, PAGE, a);
	CHECK_EQ(vcpu_run_sync(v), 0xa);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_MMIO);
	CHECK_EQ(v->run->mmio.is_write, 1);
	CHECK_EQ(v->run->mmio.phys_addr, GPA + 8);
	CHECK_EQ(v->run->mmio.len, 8);
	CHECK_EQ(vcpu_run_sync(v), 0);
	CHECK_EQ(a[1], 0);
	/* The host's writes are seen. */
	a[0] = 0xaa;
	CHECK_EQ(vcpu_run_sync(v), 0xaa);
}

/* A mapping of the host that is not there is an error of KVM_RUN, and can be mended. */
TEST(no_host_memory)
{
	struct vcpu *v = step_vm();
	uint64_t *a = host_pages(PAGE);

	vm_slot(v->vm, 2, 0, GPA, PAGE, a);
	CHECK_OK(munmap(a, PAGE));
	CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EFAULT);
	REQUIRE(mmap(a, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		     0) == a,
		"mmap: %s", strerror(errno));
	a[0] = 0xa;
	CHECK_EQ(vcpu_run_sync(v), 0xa);
	CHECK_OK(mprotect(a, PAGE, PROT_READ));
	CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EFAULT);
	CHECK_OK(mprotect(a, PAGE, PROT_READ | PROT_WRITE));
	CHECK_EQ(vcpu_run_sync(v), 0);
	CHECK_EQ(a[1], 0);
}

/* --- dirty log --- */

static void dirty_guest(uint64_t arg)
{
	(void)arg;
	g_sync(0);
	for (;;) {
		G_WRITE(uint8_t, GPA, 1);
		G_WRITE(uint8_t, GPA + 3 * PAGE, 1);
		G_WRITE(uint8_t, GPA + 70 * PAGE + 5, 1);
		(void)G_READ(uint8_t, GPA + 4 * PAGE);
		__atomic_fetch_add((uint32_t *)(GPA + 130 * PAGE), 1, __ATOMIC_SEQ_CST);
		g_sync(1);
		g_sync(2);
	}
}

#define BIG_PAGES (1024u * 64) /* their log is two pages */
/* Strides that grow from one page to some thousands of them */
#define for_each_written(i, first) \
	for (unsigned int i = (first), step = 1; i < BIG_PAGES; i += step, step += step / 4 + 1)

static void many_pages_guest(uint64_t arg)
{
	(void)arg;
	for (unsigned int rep = 0;; rep++) {
		for_each_written (i, rep)
			G_WRITE(uint8_t, GPA + (uint64_t)i * PAGE, 1);
		g_sync(rep);
	}
}

#define DIRTY_PAGES 200u

static uint64_t bitmap[4];

/* A page that was only read is no writable one, which in-tree KVM would log. */
static uint8_t *log_pages(void)
{
	uint8_t *p = host_pages(DIRTY_PAGES * PAGE);

	madvise(p, DIRTY_PAGES * PAGE, MADV_NOHUGEPAGE);
	return p;
}

static void get_log(struct vm *vm)
{
	struct kvm_dirty_log log = { .slot = 2, .dirty_bitmap = bitmap };

	memset(bitmap, 0xcc, sizeof(bitmap));
	vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log);
}

static void check_log(struct vm *vm, uint64_t a, uint64_t b, uint64_t c)
{
	get_log(vm);
	CHECK_EQ(bitmap[0], a);
	CHECK_EQ(bitmap[1], b);
	CHECK_EQ(bitmap[2], c);
	CHECK_EQ(bitmap[3], 0);
}

TEST(dirty_log)
{
	struct vcpu *v = vm_with_guest(0, dirty_guest, 0);
	uint8_t *p = log_pages();
	struct kvm_dirty_log log = { .slot = 2, .dirty_bitmap = bitmap };

	vm_slot(v->vm, 2, 0, GPA, DIRTY_PAGES * PAGE, p);
	CHECK_ERR(ioctl(v->vm->fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
	vcpu_run_sync(v);
	vcpu_run_sync(v);
	vm_slot(v->vm, 2, log_flag, GPA, DIRTY_PAGES * PAGE, p);
	check_log(v->vm, 0, 0, 0);
	for (unsigned int i = 0; i < 3; i++) {
		CHECK_EQ(vcpu_run_sync(v), 2);
		check_log(v->vm, 0, 0, 0);
		CHECK_EQ(vcpu_run_sync(v), 1);
		check_log(v->vm, 9, 1 << 6, 1 << 2);
		check_log(v->vm, 0, 0, 0);
	}
	/* Off and on again: it starts empty. */
	vcpu_run_sync(v);
	vcpu_run_sync(v);
	vm_slot(v->vm, 2, 0, GPA, DIRTY_PAGES * PAGE, p);
	vm_slot(v->vm, 2, log_flag, GPA, DIRTY_PAGES * PAGE, p);
	check_log(v->vm, 0, 0, 0);
	log.slot = dev_cap(KVM_CAP_NR_MEMSLOTS) - 1;
	CHECK_ERR(ioctl(v->vm->fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
	log.slot = 0xffff;
	CHECK_ERR(ioctl(v->vm->fd, KVM_GET_DIRTY_LOG, &log), EINVAL);
	log.slot = 2;
	log.dirty_bitmap = NULL;
	vcpu_run_sync(v);
	vcpu_run_sync(v);
	CHECK_ERR(ioctl(v->vm->fd, KVM_GET_DIRTY_LOG, &log), EFAULT);
	get_log(v->vm);
	/* In-tree KVM has lost these pages. */
	if (!dev_is_kvm())
		CHECK((bitmap[0] & 9) == 9 && bitmap[1] >> 6 & 1 && bitmap[2] >> 2 & 1,
		      "%#lx, %#lx, %#lx", bitmap[0], bitmap[1], bitmap[2]);
	CHECK_EQ(bitmap[3] >> (DIRTY_PAGES % 64), 0);
}

/* Clean and dirty stretches of all lengths, next to each other */
TEST(dirty_log_of_many_pages)
{
	struct vm *vm = vm_new(0);
	uint64_t *log = (uint64_t *)host_pages(3 * PAGE),
		 *expected = (uint64_t *)host_pages(2 * PAGE);
	struct kvm_dirty_log get = { .slot = 2, .dirty_bitmap = log };
	struct vcpu *v = vcpu_new(vm, 0);

	vm_slot(vm, 2, log_flag, GPA, BIG_PAGES * PAGE, host_pages(BIG_PAGES * PAGE));
	vcpu_long_mode(v, many_pages_guest, 0);
	for (unsigned int rep = 0; rep < 2; rep++) {
		vcpu_run_sync(v);
		memset(log, 0xcc, 3 * PAGE);
		vm_ioctl(vm, KVM_GET_DIRTY_LOG, &get);
		memset(expected, 0, 2 * PAGE);
		for_each_written (i, rep)
			expected[i / 64] |= 1ull << i % 64;
		CHECK_EQ(memcmp(log, expected, 2 * PAGE), 0);
		CHECK_EQ(log[2 * PAGE / 8], 0xccccccccccccccccull);
	}
	/* The second page of the log cannot be written: all is there the next time. */
	vcpu_run_sync(v);
	get.dirty_bitmap = log + PAGE / 8;
	munmap(log + 2 * PAGE / 8, PAGE);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_DIRTY_LOG, &get), EFAULT);
	get.dirty_bitmap = log;
	vm_ioctl(vm, KVM_GET_DIRTY_LOG, &get);
	for_each_written (i, 2)
		CHECK(dev_is_kvm() || log[i / 64] >> i % 64 & 1, "page %u is lost", i);
}

TEST(dirty_log_protect2)
{
	struct kvm_clear_dirty_log clear = { .slot = 2,
					     .num_pages = DIRTY_PAGES,
					     .dirty_bitmap = bitmap };
	struct vcpu *v;
	uint8_t *p = log_pages();

	if (dev_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) <= 0)
		test_skip("no KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	v = vm_with_guest(0, dirty_guest, 0);
	vm_enable_cap(v->vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1);
	vm_slot(v->vm, 2, log_flag, GPA, DIRTY_PAGES * PAGE, p);
	vcpu_run_sync(v);
	vcpu_run_sync(v);
	/* Reading does not clear. */
	check_log(v->vm, 9, 1 << 6, 1 << 2);
	check_log(v->vm, 9, 1 << 6, 1 << 2);
	bitmap[0] = 1;
	bitmap[1] = bitmap[2] = bitmap[3] = 0;
	vm_ioctl(v->vm, KVM_CLEAR_DIRTY_LOG, &clear);
	check_log(v->vm, 8, 1 << 6, 1 << 2);
	/* A part of it: pages 64 to 127 */
	clear.first_page = 64;
	clear.num_pages = 64;
	bitmap[0] = ~0ull;
	vm_ioctl(v->vm, KVM_CLEAR_DIRTY_LOG, &clear);
	check_log(v->vm, 8, 0, 1 << 2);
	vcpu_run_sync(v);
	vcpu_run_sync(v);
	check_log(v->vm, 9, 1 << 6, 1 << 2);
	clear.first_page = 1;
	CHECK_ERR(ioctl(v->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear), EINVAL);
	clear.first_page = 64;
	clear.num_pages = 10; /* neither to the end nor a multiple of 64 */
	CHECK_ERR(ioctl(v->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear), EINVAL);
	clear.num_pages = 640;
	CHECK_ERR(ioctl(v->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear), EINVAL);
	clear.slot = dev_cap(KVM_CAP_NR_MEMSLOTS) - 1;
	CHECK_ERR(ioctl(v->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear), ENOENT);
}

/* --- under a guest that runs --- */

static volatile uint32_t stop;
static volatile uint64_t rounds;

/* Writes all hot pages and reads them back. */
static void worker_guest(uint64_t base)
{
	g_spin_politely();
	for (uint64_t n = 1; !stop; n++) {
		for (unsigned int i = 0; i < HOT; i++)
			G_WRITE(uint64_t, base + i * PAGE + 16, n << 8 | i);
		for (unsigned int i = 0; i < HOT; i++)
			G_CHECK_EQ(G_READ(uint64_t, base + i * PAGE + 16), n << 8 | i);
		rounds = n;
	}
}

static struct vcpu *start_worker(struct vm *vm, void *p)
{
	struct vcpu *v = vcpu_new(vm, 0);

	vm_slot(vm, 2, 0, GPA, HOT * PAGE, p);
	vcpu_long_mode(v, worker_guest, GPA);
	vcpu_start(v);
	return v;
}

/* Waits for the guest to finish a round that begins now. */
static void let_run(void)
{
	uint64_t until = rounds + 2;

	for (unsigned int i = 0; i < 5000 && rounds < until; i++)
		usleep(1000);
	CHECK(rounds >= until, "the guest stands still in round %llu", (unsigned long long)rounds);
}

static void end_worker(struct vcpu *v)
{
	stop = 1;
	vcpu_join(v);
	test_note("%llu rounds", (unsigned long long)rounds);
}

TEST(other_slots_come_and_go)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = start_worker(vm, host_pages(HOT * PAGE));
	uint8_t *p = host_pages(HOT * PAGE);

	for (unsigned int i = 0; i < 200; i++) {
		vm_slot(vm, 3, i & 1 ? log_flag : 0, GPA + (1 + i % 7) * HOT * PAGE, HOT * PAGE, p);
		vm_slot(vm, 3, 0, 0, 0, NULL);
		if (i % 20 == 0)
			let_run();
	}
	end_worker(v);
}

TEST(dirty_log_while_running)
{
	struct vm *vm = vm_new(0);
	uint8_t *p = host_pages(HOT * PAGE), *copy = host_pages(HOT * PAGE);
	struct vcpu *v = start_worker(vm, p);
	uint64_t seen = 0;

	for (unsigned int i = 0; i < 5; i++) {
		vm_slot(vm, 2, log_flag, GPA, HOT * PAGE, p);
		/* As a migration does it: copies must be what the guest wrote in the end. */
		memcpy(copy, p, HOT * PAGE);
		for (unsigned int k = 0; k < 20; k++) {
			get_log(vm);
			seen |= bitmap[0];
			for (unsigned int n = 0; n < HOT; n++) {
				if (bitmap[0] >> n & 1)
					memcpy(copy + n * PAGE, p + n * PAGE, PAGE);
			}
			if (k % 5 == 0)
				let_run();
		}
		if (i == 4)
			break;
		vm_slot(vm, 2, 0, GPA, HOT * PAGE, p);
	}
	end_worker(v);
	CHECK_EQ(seen, ~0ull);
	get_log(vm);
	for (unsigned int n = 0; n < HOT; n++) {
		if (bitmap[0] >> n & 1)
			memcpy(copy + n * PAGE, p + n * PAGE, PAGE);
	}
	for (unsigned int n = 0; n < HOT; n++)
		CHECK(!memcmp(copy + n * PAGE, p + n * PAGE, PAGE), "page %u was not logged", n);
}

/* The hot slot itself goes away: the guest sees MMIO until it is there again. */
static bool hole(struct vcpu *v)
{
	/* Its write is made good, so that what it reads afterwards is right. */
	uint64_t at = v->run->mmio.phys_addr - GPA;

	if (v->run->exit_reason != KVM_EXIT_MMIO || at >= HOT * PAGE)
		return false;
	if (v->run->mmio.is_write)
		memcpy((uint8_t *)v->data + at, v->run->mmio.data, v->run->mmio.len);
	else
		memcpy(v->run->mmio.data, (uint8_t *)v->data + at, v->run->mmio.len);
	return true;
}

TEST(hot_slot_deleted)
{
	struct vm *vm = vm_new(0);
	uint8_t *p = host_pages(HOT * PAGE);
	struct vcpu *v = vcpu_new(vm, 0);

	v->on_exit = hole;
	v->data = p;
	vm_slot(vm, 2, 0, GPA, HOT * PAGE, p);
	vcpu_long_mode(v, worker_guest, GPA);
	vcpu_start(v);
	for (unsigned int i = 0; i < 100; i++) {
		vm_slot(vm, 2, 0, 0, 0, NULL);
		if (i % 10 == 0)
			usleep(2000);
		vm_slot(vm, 2, i & 1 ? log_flag : 0, GPA, HOT * PAGE, p);
		if (i % 10 == 0)
			let_run();
	}
	end_worker(v);
}

TEST(hot_slot_moved)
{
	struct vm *vm = vm_new(0);
	uint8_t *p = host_pages(HOT * PAGE);
	struct vcpu *v = vcpu_new(vm, 0);

	v->on_exit = hole;
	v->data = p;
	vm_slot(vm, 2, 0, GPA, HOT * PAGE, p);
	vcpu_long_mode(v, worker_guest, GPA);
	vcpu_start(v);
	for (unsigned int i = 0; i < 100; i++) {
		vm_slot(vm, 2, 0, GPA + HOT * PAGE, HOT * PAGE, p);
		vm_slot(vm, 2, 0, GPA, HOT * PAGE, p);
		if (i % 10 == 0)
			let_run();
	}
	end_worker(v);
}
