// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty logging, for each page: the guest's first write to it while its slot logs, and
 * what user space pays to collect it, with each of the three interfaces: the log as it
 * always was, the log that is cleared by hand, the ring.
 *
 * Left to others: faults without logging (exits.c).
 * Known hacks: a program that finds pages dirty more often than they were written would
 * look cheap here; selftests/memory and selftests/ring watch over that.
 */
#include "bench.h"

#define GPA_LOG	  0x20000000u
#define LOG_PAGES 128u /* two words of the log, in one page table */
#define CLEAN_MIB 1024u
#define RING_SIZE 16384u /* more entries than pages, and than any driver's reserve */

static uint64_t bitmap[CLEAN_MIB * 256 / 64];
static volatile bool guest_measures;

/* Everything is clean after each g_sync(). The first page brings the tables in between. */
static void guest_write(uint64_t arg)
{
	(void)arg;
	for (unsigned int rep = 0; rep < REPS; rep++) {
		uint64_t start;
		unsigned int i;

		g_sync(rep);
		G_WRITE(uint8_t, GPA_LOG, 1);
		start = g_rdtsc();
		for (i = 1; i <= OPS; i++)
			G_WRITE(uint8_t, GPA_LOG + i * PAGE, 1);
		start = g_rdtsc() - start;
		/* Not the first one, which finds nothing mapped. */
		if (guest_measures && rep)
			bench_record(start);
		for (; i < LOG_PAGES; i++)
			G_WRITE(uint8_t, GPA_LOG + i * PAGE, 1);
	}
}

static void log_slot(struct vm *vm, uint64_t bytes)
{
	uint8_t *p = host_pages(bytes);

	madvise(p, bytes, MADV_NOHUGEPAGE);
	if (bytes == LOG_PAGES * PAGE)
		memset(p, 1, bytes);
	vm_slot(vm, SLOT_FREE, KVM_MEM_LOG_DIRTY_PAGES, GPA_LOG, bytes, p);
}

/* Ticks of the ioctl */
static uint64_t get_log(struct vm *vm)
{
	struct kvm_dirty_log log = { .slot = SLOT_FREE, .dirty_bitmap = bitmap };
	uint64_t start = g_rdtsc();

	vm_ioctl(vm, KVM_GET_DIRTY_LOG, &log);
	return g_rdtsc() - start;
}

static bool all_dirty(void)
{
	for (unsigned int i = 0; i < LOG_PAGES / 64; i++)
		if (~bitmap[i])
			return false;
	return true;
}

/* A reading of the host's, for all pages. */
static void record_all(uint64_t ticks)
{
	if (!guest_measures)
		bench_record(ticks);
}

static void get_on_sync(struct vcpu *v)
{
	uint64_t ticks = get_log(v->vm);

	if (all_dirty())
		record_all(ticks);
}

static void clear_on_sync(struct vcpu *v)
{
	struct kvm_clear_dirty_log clear = {
		.slot = SLOT_FREE,
		.num_pages = LOG_PAGES,
		.dirty_bitmap = bitmap,
	};
	uint64_t start;

	get_log(v->vm);
	if (!all_dirty())
		return;
	start = g_rdtsc();
	vm_ioctl(v->vm, KVM_CLEAR_DIRTY_LOG, &clear);
	record_all(g_rdtsc() - start);
}

static struct kvm_dirty_gfn *ring;
static unsigned int ring_next;

static void ring_on_sync(struct vcpu *v)
{
	unsigned int n = 0;
	uint64_t start;
	int reset;

	for (;; n++, ring_next++) {
		struct kvm_dirty_gfn *e = &ring[ring_next % (RING_SIZE / sizeof(*e))];

		if (__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
			break;
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
	}
	start = g_rdtsc();
	reset = ioctl(v->vm->fd, KVM_RESET_DIRTY_RINGS, 0);
	start = g_rdtsc() - start;
	REQUIRE(reset == (int)n, "of %u entries %d are reset", n, reset);
	if (n == LOG_PAGES)
		record_all(start);
}

/* @of: OPS, when the guest measures, or LOG_PAGES */
static struct result run(struct vm *vm, unsigned int of, void (*on_sync)(struct vcpu *v))
{
	struct vcpu *v = vcpu_new(vm, 0);

	if (on_sync == ring_on_sync) {
		ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd,
			    KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
		REQUIRE(ring != MAP_FAILED, "the ring cannot be mapped");
	}
	guest_measures = of == OPS;
	log_slot(vm, LOG_PAGES * PAGE);
	vcpu_long_mode(v, guest_write, 0);
	bench_run(v, 0, on_sync);
	return (struct result){ .value = (bench_best + of / 2) / of };
}

struct result measure_log_write(void)
{
	return run(vm_new(VM_IRQCHIP), OPS, get_on_sync);
}

struct result measure_log_get(void)
{
	return run(vm_new(VM_IRQCHIP), LOG_PAGES, get_on_sync);
}

/* Pages that nobody has written cost little, but there are many. */
struct result measure_log_clean(void)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	log_slot(vm, CLEAN_MIB << 20);
	for (unsigned int i = 0; i < REPS; i++)
		bench_record(get_log(vm));
	return (struct result){ .value = (bench_best + CLEAN_MIB / 2) / CLEAN_MIB };
}

struct result measure_log_clear(void)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
	return run(vm, LOG_PAGES, clear_on_sync);
}

static struct vm *ring_vm(void)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	vm_enable_cap(vm, KVM_CAP_DIRTY_LOG_RING, RING_SIZE);
	return vm;
}

struct result measure_ring_write(void)
{
	return run(ring_vm(), OPS, ring_on_sync);
}

struct result measure_ring_reset(void)
{
	return run(ring_vm(), LOG_PAGES, ring_on_sync);
}
