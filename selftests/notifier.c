// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's memory management at work under a guest that writes and verifies
 * its memory all the time: what the MMU notifier is for. Whatever the kernel
 * does to pages, the guest must never see an old one.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/userfaultfd.h>
#include "test.h"

#define GPA   0x40000000ull
#define PAGES 512u /* 2 MiB, aligned */
#define SIZE  (PAGES * PAGE)

static volatile uint32_t stop;
static volatile uint64_t rounds;

/*
 * Each page has a counter that must only ever go up by one, and a copy of it.
 * Only the guest writes, so anything else is a page that was lost.
 */
static void counter_guest(uint64_t pages)
{
	g_spin_politely();
	for (uint64_t n = 1; !stop; n++) {
		for (unsigned int i = 0; i < pages; i++) {
			volatile uint64_t *p = (uint64_t *)(GPA + i * PAGE);

			G_CHECK_EQ(p[0], n - 1);
			G_CHECK_EQ(p[511], n - 1);
			p[0] = n;
			p[511] = n;
		}
		rounds = n;
	}
}

/* Whatever it writes may be thrown away: reads must be zero or the last value. */
static void discard_guest(uint64_t pages)
{
	g_spin_politely();
	for (uint64_t n = 1; !stop; n++) {
		for (unsigned int i = 0; i < pages; i++) {
			volatile uint64_t *p = (uint64_t *)(GPA + i * PAGE);
			uint64_t value;

			p[8] = n << 16 | i;
			value = p[8];
			if (value)
				G_CHECK_EQ(value, n << 16 | i);
		}
		rounds = n;
	}
}

static uint8_t *area(void)
{
	uint8_t *p = host_pages(2 * SIZE);

	p = (uint8_t *)(((uintptr_t)p + SIZE - 1) & ~(uintptr_t)(SIZE - 1));
	return p;
}

static struct vcpu *start(void (*fn)(uint64_t), void *memory, unsigned int pages)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);

	vm_slot(vm, SLOT_FREE, 0, GPA, pages * PAGE, memory);
	vcpu_long_mode(v, fn, pages);
	vcpu_start(v);
	return v;
}

static void let_run(unsigned int n)
{
	uint64_t until = rounds + n;

	for (unsigned int i = 0; i < 8000 && rounds < until; i++)
		usleep(1000);
	CHECK(rounds >= until, "the guest stands still in round %llu", (unsigned long long)rounds);
}

static void end(struct vcpu *v)
{
	let_run(2);
	stop = 1;
	vcpu_join(v);
	test_note("%llu rounds", (unsigned long long)rounds);
}

static unsigned int some(void)
{
	static uint32_t seed = 12345;

	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

TEST(dontneed)
{
	uint8_t *p = area();
	struct vcpu *v = start(discard_guest, p, PAGES);

	for (unsigned int i = 0; i < 300; i++) {
		unsigned int at = some() % PAGES, n = 1 + some() % (PAGES - at);

		CHECK_OK(madvise(p + at * PAGE, n * PAGE, MADV_DONTNEED));
		if (i % 10 == 0)
			let_run(1);
	}
	end(v);
}

TEST(dontneed_is_seen)
{
	struct vcpu *v;
	uint8_t *p = area();

	/* After it returned, the guest has no way to the old page. */
	v = start(discard_guest, p, 16);
	for (unsigned int i = 0; i < 50; i++)
		let_run(1);
	stop = 1;
	vcpu_join(v);
	CHECK(*(uint64_t *)(p + 64), "nothing was written");
	CHECK_OK(madvise(p, SIZE, MADV_DONTNEED));
	CHECK_EQ(*(uint64_t *)(p + 64), 0);
	stop = 0;
	rounds = 0;
	vcpu_long_mode(v, counter_guest, 16);
	vcpu_start(v);
	end(v);
	CHECK_EQ(*(uint64_t *)p, rounds);
}

TEST(mprotect_storm)
{
	uint8_t *p = area();
	struct vcpu *v = start(counter_guest, p, PAGES);

	for (unsigned int i = 0; i < 200; i++) {
		/* Read-only and back; a write in between would be an error of KVM_RUN. */
		unsigned int at = some() % PAGES;

		CHECK_OK(mprotect(p + at * PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
		CHECK_OK(mprotect(p + at * PAGE, PAGE, PROT_READ | PROT_WRITE));
		if (i % 20 == 0)
			let_run(1);
	}
	end(v);
}

static volatile bool faulted;

static void *efault_thread(void *arg)
{
	struct vcpu *v = arg;

	while (!stop) {
		int r = ioctl(v->fd, KVM_RUN, 0);

		if (r < 0 && errno == EFAULT) {
			faulted = true;
			usleep(100);
		} else if (r < 0 && errno != EINTR && errno != EAGAIN) {
			test_fail(__FILE__, __LINE__, "KVM_RUN: %s", strerror(errno));
			break;
		}
	}
	return NULL;
}

TEST(mprotect_none)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint8_t *p = area();

	vm_slot(vm, SLOT_FREE, 0, GPA, SIZE, p);
	vcpu_long_mode(v, counter_guest, PAGES);
	pthread_create(&v->thread, NULL, efault_thread, v);
	for (unsigned int i = 0; i < 20; i++) {
		faulted = false;
		CHECK_OK(mprotect(p + 100 * PAGE, 50 * PAGE, i & 1 ? PROT_NONE : PROT_READ));
		for (unsigned int k = 0; k < 3000 && !faulted; k++)
			usleep(1000);
		CHECK(faulted, "the guest goes on writing");
		CHECK_OK(mprotect(p + 100 * PAGE, 50 * PAGE, PROT_READ | PROT_WRITE));
		let_run(2);
	}
	stop = 1;
	vcpu_join(v);
}

TEST(fork_and_cow)
{
	uint8_t *p = area();
	struct vcpu *v = start(counter_guest, p, PAGES);

	for (unsigned int i = 0; i < 15; i++) {
		pid_t child = fork();
		int status;

		if (!child) {
			/* The child's copy stands still. */
			uint64_t first = *(volatile uint64_t *)(p + 5 * PAGE);

			usleep(20000);
			_exit(*(volatile uint64_t *)(p + 5 * PAGE) != first);
		}
		REQUIRE(child > 0, "fork: %s", strerror(errno));
		let_run(1);
		CHECK(waitpid(child, &status, 0) == child && !status,
		      "the guest wrote to the child's memory");
		let_run(1);
	}
	end(v);
}

TEST(mremap_away_and_back)
{
	uint8_t *p = area(), *other = area();
	struct vcpu *v = start(counter_guest, p, 64);

	let_run(1);
	stop = 1;
	vcpu_join(v);
	/* The pages move away; what is there then is others. */
	REQUIRE(mremap(p, 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other) == other,
		"mremap: %s", strerror(errno));
	REQUIRE(mmap(p, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		     -1, 0) == p,
		"mmap: %s", strerror(errno));
	CHECK_EQ(*(uint64_t *)other, rounds);
	uint64_t old = rounds;

	stop = 0;
	rounds = 0;
	vcpu_long_mode(v, counter_guest, 64);
	vcpu_start(v);
	end(v);
	CHECK_EQ(*(uint64_t *)other, old);
	CHECK_EQ(*(uint64_t *)p, rounds);
}

TEST(pageout)
{
	uint8_t *p = area();
	struct vcpu *v;
	int r;

	v = start(counter_guest, p, PAGES);
	for (unsigned int i = 0; i < 50; i++) {
		unsigned int at = some() % PAGES;

		r = madvise(p + at * PAGE, (PAGES - at) * PAGE, i & 1 ? MADV_COLD : MADV_PAGEOUT);
		CHECK(!r, "madvise: %s", strerror(errno));
		if (i % 5 == 0)
			let_run(1);
	}
	end(v);
}

TEST(file_pageout)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	struct vcpu *v;
	uint8_t *p;

	if (fd < 0)
		fd = memfd_create("pages", 0);
	CHECK_OK(ftruncate(fd, SIZE));
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(p != MAP_FAILED, "mmap: %s", strerror(errno));
	v = start(counter_guest, p, PAGES);
	for (unsigned int i = 0; i < 30; i++) {
		CHECK_OK(madvise(p, SIZE, i & 1 ? MADV_DONTNEED : MADV_PAGEOUT));
		msync(p, SIZE, MS_SYNC);
		if (i % 5 == 0)
			let_run(1);
	}
	end(v);
	uint64_t value;

	CHECK_EQ(pread(fd, &value, 8, 7 * PAGE), 8);
	CHECK_EQ(value, rounds);
}

TEST(truncate_file)
{
	int fd = memfd_create("pages", 0);
	struct vcpu *v;
	uint8_t *p;

	CHECK_OK(ftruncate(fd, SIZE));
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(p != MAP_FAILED, "mmap: %s", strerror(errno));
	v = start(discard_guest, p, PAGES);
	for (unsigned int i = 0; i < 100; i++) {
		unsigned int at = some() % PAGES, n = 1 + some() % (PAGES - at);

		CHECK_OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at * PAGE,
				   n * PAGE));
		if (i % 10 == 0)
			let_run(1);
	}
	end(v);
}

static long migrate(void **pages, unsigned int n, int *status)
{
	int nodes[PAGES] = {};

	return syscall(SYS_move_pages, 0, n, pages, nodes, status, 2 /* MPOL_MF_MOVE */);
}

TEST(compaction_and_migration)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY);
	uint8_t *p = area();
	struct vcpu *v;
	static void *pages[PAGES];
	static int status[PAGES];

	/* One node only: compaction is what moves pages here. Small ones, spread. */
	madvise(p, SIZE, MADV_NOHUGEPAGE);
	v = start(counter_guest, p, PAGES);
	for (unsigned int i = 0; i < PAGES; i++)
		pages[i] = p + i * PAGE;
	for (unsigned int i = 0; i < 6; i++) {
		if (fd >= 0)
			CHECK_EQ(write(fd, "1", 1), 1);
		migrate(pages, PAGES, status);
		let_run(1);
	}
	end(v);
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

TEST(transparent_huge_pages)
{
	uint8_t *p = area();
	struct vcpu *v;

	if (!write_text("/sys/kernel/mm/transparent_hugepage/enabled", "always"))
		test_skip("no transparent huge pages");
	write_text("/sys/kernel/mm/transparent_hugepage/defrag", "always");
	write_text("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "10");
	write_text("/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan", "4096");
	madvise(p, SIZE, MADV_HUGEPAGE);
	v = start(counter_guest, p, PAGES);
	for (unsigned int i = 0; i < 40; i++) {
		/* Split it, and let it be collapsed again. */
		CHECK_OK(mprotect(p + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
		CHECK_OK(mprotect(p + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE));
		if (i & 1)
			madvise(p, SIZE, 25 /* MADV_COLLAPSE */);
		if (i % 4 == 0)
			CHECK_OK(madvise(p, 8 * PAGE, MADV_PAGEOUT));
		let_run(1);
	}
	end(v);
}

TEST(hugetlb)
{
	struct vcpu *v;
	uint8_t *p;

	if (!write_text("/proc/sys/vm/nr_hugepages", "2"))
		test_skip("no huge pages can be reserved");
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1,
		 0);
	if (p == MAP_FAILED)
		test_skip("no huge page: %s", strerror(errno));
	v = start(discard_guest, p, PAGES);
	for (unsigned int i = 0; i < 20; i++) {
		CHECK_OK(madvise(p, SIZE, MADV_DONTNEED));
		let_run(1);
	}
	end(v);
	munmap(p, SIZE);
	write_text("/proc/sys/vm/nr_hugepages", "0");
}

TEST(ksm)
{
	uint8_t *p = area(), *twin = area();
	uint64_t end_ns;
	struct vcpu *v;

	if (access("/sys/kernel/mm/ksm/run", W_OK))
		test_skip("no KSM");
	write_text("/sys/kernel/mm/ksm/sleep_millisecs", "1");
	write_text("/sys/kernel/mm/ksm/pages_to_scan", "2000");
	CHECK_OK(madvise(p, SIZE, MADV_MERGEABLE));
	CHECK_OK(madvise(twin, SIZE, MADV_MERGEABLE));
	memset(twin, 0, SIZE);
	memset(p, 0, SIZE);
	CHECK(write_text("/sys/kernel/mm/ksm/run", "1"), "KSM does not run");
	sleep_ms(300);
	v = start(counter_guest, p, PAGES);
	end_ns = now_ns() + 8000000000ull; /* for the slowest of machines */
	for (unsigned int i = 0; i < 100 && now_ns() < end_ns; i++) {
		/* The same as the guest's, as far as that is possible: it merges. */
		memcpy(twin, p, SIZE);
		usleep(5000);
	}
	end(v);
	write_text("/sys/kernel/mm/ksm/run", "2");
	for (unsigned int i = 0; i < PAGES; i += 37)
		CHECK_EQ(*(uint64_t *)(p + i * PAGE), rounds);
}

/* --- userfaultfd: pages appear when another thread says so --- */

struct server {
	int fd;
	uint8_t *p;
	volatile unsigned int served;
};

static void *serve(void *arg)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));
	struct server *s = arg;
	struct pollfd poll_fd = { .fd = s->fd, .events = POLLIN };

	while (!stop) {
		struct uffd_msg m;

		if (poll(&poll_fd, 1, 50) <= 0 || read(s->fd, &m, sizeof(m)) != sizeof(m))
			continue;
		struct uffdio_copy copy = { .dst = m.arg.pagefault.address & ~(PAGE - 1),
					    .src = (uintptr_t)page,
					    .len = PAGE };
		unsigned int n = (copy.dst - (uintptr_t)s->p) / PAGE;

		*(uint64_t *)page = 1000 + n;
		if (n % 16 == 0)
			usleep(1000);
		ioctl(s->fd, UFFDIO_COPY, &copy);
		s->served++;
	}
	return NULL;
}

static void demand_guest(uint64_t pages)
{
	g_spin_politely();
	for (unsigned int i = 0; i < pages; i++) {
		unsigned int k = (i * 73) % pages;
		volatile uint64_t *p = (uint64_t *)(GPA + k * PAGE);

		if (k & 1)
			p[3] = 5;
		G_CHECK_EQ(p[0], 1000 + k);
	}
	stop = 1;
}

TEST(userfault)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct server s = { .p = area() };
	struct uffdio_register reg = { .range = { (uintptr_t)s.p, SIZE },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	pthread_t thread;
	struct vcpu *v;

	s.fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (s.fd < 0)
		test_skip("no userfaultfd: %s", strerror(errno));
	CHECK_OK(ioctl(s.fd, UFFDIO_API, &api));
	CHECK_OK(ioctl(s.fd, UFFDIO_REGISTER, &reg));
	pthread_create(&thread, NULL, serve, &s);
	v = start(demand_guest, s.p, PAGES);
	vcpu_join(v);
	stop = 1;
	pthread_join(thread, NULL);
	CHECK_EQ(s.served, PAGES);
}

/* --- the process's other mappings are nobody's business --- */

TEST(foreign_unmaps)
{
	uint8_t *p = area();
	struct vcpu *v = start(counter_guest, p, 64);

	for (unsigned int i = 0; i < 300; i++) {
		uint8_t *q = host_pages(32 * PAGE);

		memset(q, 1, 16 * PAGE);
		munmap(q, 32 * PAGE);
		if (i % 30 == 0)
			let_run(1);
	}
	end(v);
}
