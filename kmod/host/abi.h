/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fields of the KVM ABI that kernel headers spell differently.
 *
 * kvm_run.immediate_exit is immediate_exit__unsafe in the kernel's own view
 * since 6.10, to make its users read it once. The ABI has it at offset 1.
 *
 * kvm_run.hypercall.longmode is a bit of .flags in the kernel's view since 6.4.
 */
#ifndef MEZZ_HOST_ABI_H
#define MEZZ_HOST_ABI_H

#include <linux/build_bug.h>
#include <linux/kvm.h>
#include <linux/stddef.h>

static_assert(offsetof(struct kvm_run, padding1) == 2);

/* User space writes it at any moment, from any thread: read once. */
static inline bool mezz_immediate_exit(const struct kvm_run *run)
{
	return READ_ONCE(((const u8 *)run)[1]);
}

/* Kernel and user space agree in the lowest bit. */
static inline void mezz_put_longmode(struct kvm_run *run, bool longmode)
{
#ifdef KVM_EXIT_HYPERCALL_LONG_MODE
	run->hypercall.flags = longmode ? KVM_EXIT_HYPERCALL_LONG_MODE : 0;
#else
	run->hypercall.longmode = longmode;
#endif
}

#endif
