/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters of a VM and of a vCPU, named once: the enum, the names that
 * KVM_GET_STATS_FD shows and the storage come from these lists.
 */
#ifndef MEZZ_STATS_H
#define MEZZ_STATS_H

#include <linux/types.h>

/* name as user space sees it; a vCPU's are cumulative counts of events, written by it alone */
#define MEZZ_VCPU_STATS(X)	\
	X(exits)		\
	X(io_exits)		\
	X(mmio_exits)		\
	X(fault_exits)		\
	X(cpuid_exits)		\
	X(rdmsr_exits)		\
	X(wrmsr_exits)		\
	X(hypercalls)		\
	X(halt_exits)		\
	X(irq_exits)		\
	X(nmi_exits)		\
	X(irq_window_exits)	\
	X(nmi_window_exits)	\
	X(exception_exits)	\
	X(cr_exits)		\
	X(dr_exits)		\
	X(pause_exits)		\
	X(shutdown_exits)	\
	X(other_exits)		\
	X(user_exits)		\
	X(sections)		\
	X(irq_injections)	\
	X(nmi_injections)	\
	X(exception_injections)	\
	X(insn_emulations)	\
	X(insn_emulation_fails)	\
	X(fetch_misses)		\
	X(tlb_flushes)		\
	X(signal_exits)		\
	X(halt_wakeups)

/* The first four are how many there are. By any thread: atomic64_t. */
#define MEZZ_VM_STATS(X)	\
	X(pages_4k)		\
	X(pages_2m)		\
	X(pages_1g)		\
	X(table_pages)		\
	X(mmu_notifier_unmaps)	\
	X(remote_tlb_flushes)

#define MEZZ_STAT_ENUM(n) MEZZ_STAT_##n,
enum mezz_vcpu_stat { MEZZ_VCPU_STATS(MEZZ_STAT_ENUM) MEZZ_NR_VCPU_STATS };
#define MEZZ_VM_STAT_ENUM(n) MEZZ_VM_STAT_##n,
enum mezz_vm_stat { MEZZ_VM_STATS(MEZZ_VM_STAT_ENUM) MEZZ_NR_VM_STATS };

#endif
