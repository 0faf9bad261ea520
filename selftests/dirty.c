// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log under vCPUs that write: nothing gets lost, nothing is made up, with
 * write protection and where the CPU logs by itself (in-tree KVM's name for it: pml).
 *
 * Left to others: the ioctls' arguments and one vCPU in single steps (memory.c), the ring
 * (ring.c).
 */
#include <cpuid.h>
#include <stdlib.h>
#include "test.h"

#define GPA	 0x40000000ull
#define PAGES	 1300u /* more than twice what a CPU logs between two exits */
#define WORDS	 ((PAGES + 63) / 64)
#define VCPUS	 2u
#define ROUNDS	 24u
#define PASSES	 3u
#define QUIET	 ~0u
#define INT_PUSH 0x40

static uint64_t bitmap[WORDS];
static uint8_t *memory;

/* Logs are added up in @sum. */
static void take_log(struct vm *vm, uint64_t *sum)
{
	struct kvm_dirty_log log = { .slot = SLOT_FREE, .dirty_bitmap = bitmap };

	vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log);
	for (unsigned int i = 0; i < WORDS; i++)
		sum[i] |= bitmap[i];
}

static bool has(const uint64_t *bits, unsigned int page)
{
	return bits[page / 64] >> page % 64 & 1;
}

static void log_on(struct vm *vm, bool on)
{
	vm_slot(vm, SLOT_FREE, on ? KVM_MEM_LOG_DIRTY_PAGES : 0, GPA, PAGES * PAGE, memory);
}

static struct vcpu *vm_that_logs(void (*fn)(uint64_t))
{
	struct vcpu *v = vm_with_guest(VM_PLAIN, fn, 0);

	memory = host_pages(PAGES * PAGE);
	log_on(v->vm, true);
	return v;
}

/* --- one vCPU, exactly --- */

static bool odd(unsigned int page)
{
	return page & 1;
}

static bool any(unsigned int page)
{
	(void)page;
	return true;
}

static bool none(unsigned int page)
{
	(void)page;
	return false;
}

static void step_guest(uint64_t arg)
{
	volatile uint8_t *p = (void *)GPA;

	(void)arg;
	for (unsigned int i = 0; i < PAGES; i++)
		(void)p[i * PAGE];
	g_sync(0);
	for (unsigned int round = 1; round < 4; round++) {
		for (unsigned int i = 0; i < PAGES; i++)
			p[i * PAGE] = round;
		g_sync(1);
		for (unsigned int i = 0; i < PAGES; i++)
			(void)p[i * PAGE];
		g_sync(2);
		for (unsigned int i = 1; i < PAGES; i += 2)
			p[i * PAGE + 7] = round;
		g_sync(3);
	}
}

static void check_log(struct vm *vm, bool (*written)(unsigned int page))
{
	uint64_t sum[WORDS] = {};
	unsigned int lost = 0, made_up = 0;

	take_log(vm, sum);
	for (unsigned int i = 0; i < PAGES; i++) {
		lost += written(i) && !has(sum, i);
		made_up += !written(i) && has(sum, i);
	}
	CHECK(!lost && !made_up, "%u pages are lost, %u were not written", lost, made_up);
}

/* Pages are first read, so that some drivers find them mapped already. */
TEST(exact)
{
	static bool (*const written[])(unsigned int page) = { none, any, none, odd };
	struct vcpu *v = vm_that_logs(step_guest);

	memset(memory, 1, PAGES * PAGE);
	CHECK_EQ(vcpu_run_sync(v), 0);
	/* KVM maps them writable, and says that they were written. */
	check_log(v->vm, dev_is_kvm() ? any : none);
	for (unsigned int i = 0; i < 9; i++) {
		unsigned int step = 1 + i % 3;

		CHECK_EQ(vcpu_run_sync(v), step);
		check_log(v->vm, written[step]);
	}
	vcpu_run(v);
}

/* The log is switched off and on: what is written in between is in none. */
TEST(off_and_on)
{
	struct vcpu *v = vm_that_logs(step_guest);

	CHECK_EQ(vcpu_run_sync(v), 0);
	CHECK_EQ(vcpu_run_sync(v), 1);
	log_on(v->vm, false);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(vcpu_run_sync(v), 3);
	log_on(v->vm, true);
	check_log(v->vm, none);
	CHECK_EQ(vcpu_run_sync(v), 1);
	check_log(v->vm, any);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(vcpu_run_sync(v), 3);
	check_log(v->vm, odd);
}

/* A statistic of this driver only. */
static uint64_t faults(struct vcpu *v)
{
	uint64_t value = 0;

	REQUIRE(vcpu_stat(v, "fault_exits", &value), "no such statistic");
	return value;
}

static bool cpu_logs(void)
{
	return vmx_parameter("pml") == 'Y';
}

/* Where the CPU logs, pages that are mapped stay writable; elsewhere each costs a fault. */
TEST(faults_only_without_pml)
{
	struct vcpu *v = vm_that_logs(step_guest);
	uint64_t before;

	if (dev_is_kvm())
		test_skip("in-tree KVM counts faults in another way");
	CHECK_EQ(vcpu_run_sync(v), 0);
	CHECK_EQ(vcpu_run_sync(v), 1);
	check_log(v->vm, any);
	before = faults(v);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(vcpu_run_sync(v), 3);
	check_log(v->vm, odd);
	CHECK_EQ(faults(v) - before, cpu_logs() ? 0 : PAGES / 2);
}

/* Frames of interrupts are written, too: the delivery is broken off, and repeated. */
static void push_guest(uint64_t arg)
{
	(void)arg;
	for (unsigned int round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < PAGES; i++)
			asm volatile("mov %%rsp, %%rbx\n\t"
				     "mov %0, %%rsp\n\t"
				     "int $0x40\n\t"
				     "mov %%rbx, %%rsp"
				     :
				     : "r"(GPA + (i + 1) * PAGE)
				     : "rbx", "memory");
		g_sync(round);
	}
}

TEST(deliveries)
{
	struct vcpu *v = vm_that_logs(push_guest);

	for (unsigned int round = 0; round < 2; round++) {
		CHECK_EQ(vcpu_run_sync(v), round);
		CHECK_EQ(guest_cpus[0].irqs[INT_PUSH], (round + 1) * PAGES);
		check_log(v->vm, any);
	}
}

/* --- several vCPUs, while the log is being taken --- */

static volatile uint32_t go = QUIET, done_with[VCPUS];

/* Is a page written in a round? */
static bool in_round(unsigned int page, unsigned int round)
{
	return (page * 2654435761u + round * 40503u) >> 7 & 1;
}

static void round_guest(uint64_t id)
{
	g_spin_politely();
	for (uint32_t round = 0; round < ROUNDS; round++) {
		while (go != round)
			g_pause();
		for (uint64_t pass = 0; pass < PASSES; pass++) {
			for (unsigned int i = 0; i < PAGES; i++) {
				unsigned int page = id ? PAGES - 1 - i : i;

				if (in_round(page, round))
					G_WRITE(uint64_t, GPA + page * PAGE + id * 8,
						round << 8 | pass);
			}
		}
		/* No exit: whoever takes the log has to fetch what this CPU knows. */
		done_with[id] = round + 1;
	}
}

/* As a migration does it: what was logged is copied. */
static void collect(struct vm *vm, uint64_t (*copy)[VCPUS], uint64_t *sum)
{
	take_log(vm, sum);
	for (unsigned int i = 0; i < PAGES; i++)
		if (has(bitmap, i))
			memcpy(copy[i], memory + i * PAGE, sizeof(copy[i]));
}

static void check_round(uint64_t (*copy)[VCPUS], const uint64_t *sum, unsigned int round)
{
	unsigned int lost = 0, made_up = 0, stale = 0;

	for (unsigned int i = 0; i < PAGES; i++) {
		lost += in_round(i, round) && !has(sum, i);
		made_up += !in_round(i, round) && has(sum, i);
		stale += !!memcmp(copy[i], memory + i * PAGE, sizeof(copy[i]));
	}
	CHECK(!lost, "round %u: %u pages are not in the log", round, lost);
	CHECK(!made_up, "round %u: %u pages were not written", round, made_up);
	CHECK(!stale, "round %u: %u pages were written after the log named them", round, stale);
}

static bool all_done(unsigned int round)
{
	for (unsigned int i = 0; i < VCPUS; i++)
		if (done_with[i] != round + 1)
			return false;
	return true;
}

TEST_SECONDS(several_vcpus, 60)
{
	uint64_t(*copy)[VCPUS] = calloc(PAGES, sizeof(*copy));
	struct vm *vm = vm_new(VM_PLAIN);
	unsigned int logs = 0;

	memory = host_pages(PAGES * PAGE);
	log_on(vm, true);
	for (unsigned int i = 0; i < VCPUS; i++)
		vcpu_long_mode(vcpu_new(vm, i), round_guest, i);
	for (unsigned int i = 0; i < VCPUS; i++)
		vcpu_start(vm->vcpus[i]);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t sum[WORDS] = {}, until = now_ns() + 10000000000ull;
		bool last;

		go = round;
		do {
			last = all_done(round);
			collect(vm, copy, sum);
			logs++;
		} while (!last && now_ns() < until);
		REQUIRE(last, "round %u does not end", round);
		check_round(copy, sum, round);
		/* Now and then it starts anew, with all that is there. */
		if (round % 8 == 7) {
			log_on(vm, false);
			log_on(vm, true);
		}
	}
	for (unsigned int i = 0; i < VCPUS; i++)
		vcpu_join(vm->vcpus[i]);
	test_note("%u logs in %u rounds", logs, ROUNDS);
}

/* --- a slot that is moved --- */

#define ELSEWHERE 0x80000000ull
#define MOVES	  16u

static uint64_t place(unsigned int move)
{
	return move & 1 ? ELSEWHERE : GPA;
}

/* Writes all pages twice at each place. */
static void moved_guest(uint64_t arg)
{
	(void)arg;
	g_spin_politely();
	for (uint32_t round = 0; round < 2 * MOVES; round++) {
		/* Without PAUSE: an exit would hand on what only this CPU knows. */
		while (go != round)
			;
		for (unsigned int i = 0; i < PAGES; i++)
			G_WRITE(uint64_t, place(round / 2) + i * PAGE, round);
		done_with[0] = round + 1;
	}
}

static void move_round(uint32_t round)
{
	uint64_t until = now_ns() + 10000000000ull;

	go = round;
	while (done_with[0] != round + 1)
		REQUIRE(now_ns() < until, "round %u does not end", round);
}

/* What was written at the old place is in the log that is taken at the new one. */
TEST(moved)
{
	struct vcpu *v = vm_that_logs(moved_guest);

	vcpu_start(v);
	for (unsigned int move = 0; move < MOVES; move++) {
		uint64_t sum[WORDS] = {};
		unsigned int lost = 0;

		/* First by faults; then they are mapped, and the CPU may log them by itself. */
		move_round(2 * move);
		take_log(v->vm, sum);
		memset(sum, 0, sizeof(sum));
		move_round(2 * move + 1);
		vm_slot(v->vm, SLOT_FREE, KVM_MEM_LOG_DIRTY_PAGES, place(move + 1), PAGES * PAGE,
			memory);
		take_log(v->vm, sum);
		for (unsigned int i = 0; i < PAGES; i++)
			lost += !has(sum, i);
		CHECK(!lost, "move %u: %u pages are not in the log", move, lost);
	}
	vcpu_join(v);
}

/* --- an invalidation while it is switched on --- */

#define LARGE	   0x200000ull
#define OTHER_SLOT (SLOT_FREE + 1)
#define OTHER_GPA  0x3ff00000ull
#define MS	   1000000ull
#define UNMAPS	   "mmu_notifier_unmaps" /* a statistic of this driver only */

static uint64_t big_size;
static volatile uint32_t stop;
static volatile bool under_way;
static unsigned int unflushed;

static void counting_guest(uint64_t arg)
{
	(void)arg;
	g_spin_politely();
	for (uint64_t n = 1; !stop; n++) {
		G_WRITE(uint64_t, GPA, n);
		G_WRITE(uint64_t, OTHER_GPA, n);
	}
}

static void big_log(struct vm *vm, bool on)
{
	vm_slot(vm, SLOT_FREE, on ? KVM_MEM_LOG_DIRTY_PAGES : 0, GPA, big_size, memory);
}

/* Where there are two CPUs, the guest has the second to itself: no exit empties its TLB. */
static void pin(pthread_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(thread, sizeof(set), &set);
}

static void *log_on_thread(void *vm)
{
	big_log(vm, true);
	under_way = false;
	return NULL;
}

static uint64_t vm_stat(struct vm *vm, const char *name)
{
	struct vcpu all = { .fd = vm->fd };
	uint64_t value = 0;

	vcpu_stat(&all, name, &value);
	return value;
}

/* The guest comes to @n. Without sleep: that would give the CPU to the ioctl. */
static bool guest_is_at(volatile uint64_t *at, uint64_t n)
{
	uint64_t until = now_ns() + 8000 * MS;

	while (*at < n)
		if (now_ns() > until)
			return false;
	return true;
}

/* Were the invalidation, and the guest's steps after it, before the ioctl's end? */
static bool invalidate_round(struct vm *vm, volatile uint64_t *other)
{
	uint64_t before, flushes, seen;
	pthread_t thread;
	bool met;

	big_log(vm, false);
	REQUIRE(guest_is_at(other, *other + 2), "the guest stands still");
	before = vm_stat(vm, "pages_2m");
	under_way = true;
	REQUIRE(!pthread_create(&thread, NULL, log_on_thread, vm), "pthread_create fails");
	/* The page is at the slot's beginning, so it is among the first to be looked at. */
	while (under_way && vm_stat(vm, "pages_2m") >= before)
		usleep(100);
	flushes = vm_stat(vm, UNMAPS);
	CHECK_OK(madvise(memory, LARGE, MADV_DONTNEED));
	flushes = vm_stat(vm, UNMAPS) - flushes;
	seen = *other;
	REQUIRE(guest_is_at(other, seen + 2), "the guest stands still");
	met = under_way;
	CHECK(*(volatile uint64_t *)memory >= seen + 2,
	      "after step %llu the guest has written to a page that is the host's again",
	      (unsigned long long)seen);
	REQUIRE(!pthread_join(thread, NULL), "pthread_join fails");
	unflushed += met && !flushes;
	return met;
}

/*
 * To switch a big slot's log on takes long, and ends with the flush. A page of it that is
 * taken away in the meantime is in no table any more, but still in the guest's TLB: it
 * must have left that, too, before the host uses it for something else. Emulated CPUs empty
 * their TLBs at every exit, and the host's own flush makes one: there, only the statistic
 * tells.
 */
TEST(invalidate_while_log_starts)
{
	unsigned int bits, most, unused, rounds = 0, met = 0;
	uint64_t *other = host_pages(PAGE), until;
	struct vcpu *v;

	/* In-tree KVM has two bitmaps for it, and looks only at what is mapped. */
	most = dev_is_kvm() ? 34 : 40;
	__cpuid(0x80000008, bits, unused, unused, unused);
	bits = (bits & 0xff) < most ? bits & 0xff : most;
	big_size = (1ull << bits) - GPA;
	memory = mmap(NULL, big_size + LARGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	REQUIRE(memory != MAP_FAILED, "%u bits of address space: %s", bits, strerror(errno));
	memory = (uint8_t *)(((uintptr_t)memory + LARGE - 1) & ~(LARGE - 1));
	if (madvise(memory, LARGE, MADV_HUGEPAGE))
		test_skip("a kernel without huge pages");
	v = vm_with_guest(VM_PLAIN, counting_guest, 0);
	vm_slot(v->vm, OTHER_SLOT, 0, OTHER_GPA, PAGE, other);
	big_log(v->vm, false);
	pin(pthread_self(), 0);
	vcpu_start(v);
	pin(v->thread, 1);
	for (until = now_ns() + 2500 * MS; rounds < 20 && (!rounds || now_ns() < until); rounds++)
		met += invalidate_round(v->vm, other);
	stop = 1;
	vcpu_join(v);
	/* One may have met the end, when the log was on but the ioctl had not returned. */
	CHECK(unflushed < 2 || dev_is_kvm(), "TLBs were not flushed in %u of %u rounds", unflushed,
	      met);
	test_note("%u rounds, %u of them before the log was on", rounds, met);
}
