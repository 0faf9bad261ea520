/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A machine for the KUnit suites: a VM with vCPUs, LAPICs and interrupt
 * controllers, but without an engine, a file descriptor or guest memory.
 *
 * The suites stand beside the code that they test: X_test.c includes X.c, so that
 * it sees its static functions, and both go into mezz_test.ko, which is built
 * only for kernels with CONFIG_KUNIT. What the cores call in the rest of the
 * module is machine.c's: it counts, or does the least that is right.
 */
#ifndef MEZZ_TEST_MACHINE_H
#define MEZZ_TEST_MACHINE_H

#include <kunit/test.h>
#include "../irq/internal.h"

#define MEZZ_TEST_VCPUS	8

/**
 * struct mezz_machine - one test's machine
 * @vm: the VM
 * @v: its vCPUs, IDs 0 to n - 1
 * @acked: bit n: GSI n was acknowledged (mezz_irqfd_acked)
 * @resampled: bit n: GSI n has a resample eventfd
 * @kicks: calls of mezz_kick
 * @flushes: calls of mezz_flush_all
 * @signals: writes that ioeventfds took
 * @watched: the address at which ioeventfds take a write
 * @match: and its value
 * @no_features: the guest's CPUID has none of the features asked for
 * @started: code segment that a SIPI loaded
 * @eoi: PV EOI: on, the guest's word, and whether that cannot be looked at now
 * @hw: what an APIC in hardware was told last, for tests that give a vCPU a v->vapic
 */
struct mezz_machine {
	struct mezz_vm vm;
	struct mezz_vcpu v[MEZZ_TEST_VCPUS];
	unsigned long acked, resampled;
	unsigned int kicks, flushes, signals;
	u64 watched;
	u8 match;
	bool no_features;
	struct kvm_segment started;
	struct {
		bool on, word, away;
	} eoi;
	struct {
		bool on;
		u8 irr, isr;
		unsigned int loads;
		unsigned long eoi_exits[BITS_TO_LONGS(256)];
	} hw;
};

/* What mezz_engine points to; a test may change its copy of the format. */
extern struct mezz_engine mezz_test_engine;

static inline struct mezz_machine *machine_of(struct mezz_vm *vm)
{
	return container_of(vm, struct mezz_machine, vm);
}

/**
 * mezz_machine_new() - the machine of a test, freed by mezz_machine_exit()
 * @test: the test
 * @n: number of vCPUs
 * @mode: which interrupt controllers it has
 * LAPICs are switched on, in xAPIC mode. Asserts that there is memory.
 */
struct mezz_machine *mezz_machine_new(struct kunit *test, unsigned int n,
				      enum mezz_irqchip_mode mode);
/* The .exit of a suite that uses machines. */
void mezz_machine_exit(struct kunit *test);

/* Accesses as @v's guest makes them. */
void mezz_machine_out(struct mezz_vcpu *v, u16 port, u8 val);
u8 mezz_machine_in(struct mezz_vcpu *v, u16 port);
void mezz_machine_write(struct mezz_vcpu *v, u64 gpa, u32 val);
u32 mezz_machine_read(struct mezz_vcpu *v, u64 gpa);

/* A register of @v's LAPIC, by its offset in the page. */
#define MEZZ_TEST_APIC(offset)	(0xfee00000ull + (offset))

#endif
