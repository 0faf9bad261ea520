/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the measurements share. The virtual machine, its vCPUs and the guests'
 * side come from selftests/lib; only its main program is ours.
 *
 * Everything is counted with the time stamp counter, in a box where one tick is
 * one instruction (docs/lab.md): of the host's kernel, of this program and of the
 * guest together. A guest repeats an operation OPS times between two readings,
 * and that REPS times; the smallest reading counts, as it holds no timer tick of
 * the host. The first ones warm caches and page tables up.
 */
#ifndef BENCH_H
#define BENCH_H

#include "test.h"

#define OPS  8
#define REPS 128

/* The smallest reading so far: ticks for OPS operations. Written by guests. */
extern volatile uint64_t bench_best;

static inline void bench_record(uint64_t ticks)
{
	if (ticks < bench_best)
		bench_best = ticks;
}

/* A guest that repeats the statements. */
#define GUEST_LOOP(name, ...)                                   \
	static void name(uint64_t arg)                          \
	{                                                       \
		(void)arg;                                      \
		for (unsigned int rep = 0; rep < REPS; rep++) { \
			uint64_t start = g_rdtsc();             \
			for (unsigned int i = 0; i < OPS; i++)  \
				__VA_ARGS__;                    \
			bench_record(g_rdtsc() - start);        \
		}                                               \
	}

/**
 * struct result - one row of the table
 * @value: instructions, or bytes
 * @exits: VM exits for each operation, in hundredths; 0: not counted
 */
struct result {
	uint64_t value;
	uint64_t exits;
};

/**
 * bench_run - run a guest to its end
 * @v: vCPU that enters a GUEST_LOOP
 * @reason: KVM_EXIT_* that its operations lead to, or 0
 * @on_sync: called for g_sync() of the guest, or NULL
 *
 * Returns what one operation has cost.
 */
struct result bench_run(struct vcpu *v, uint32_t reason, void (*on_sync)(struct vcpu *v));

/* exits.c */
struct result measure_cpuid(void);
struct result measure_hypercall(void);
struct result measure_rdmsr(void);
struct result measure_out(void);
struct result measure_out_eventfd(void);
struct result measure_mmio(void);
struct result measure_mmio_eventfd(void);
struct result measure_hlt(void);
struct result measure_fault(void);

/* dirty.c */
struct result measure_log_write(void);
struct result measure_log_get(void);
struct result measure_log_clean(void);
struct result measure_log_clear(void);
struct result measure_ring_write(void);
struct result measure_ring_reset(void);

/* irq.c */
struct result measure_self_ipi(void);
struct result measure_deadline(void);
struct result measure_deadline_ahead(void);

/* objects.c */
struct result measure_create_vm(void);
struct result measure_create_vcpu(void);
struct result measure_memory(void);

/**
 * measure_boot - from the launcher's start to the guest's first words (boot.c)
 * @argv: the launcher's command line
 */
struct result measure_boot(char **argv);

#endif
