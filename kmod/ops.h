/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What main.c, vm.c, vcpu.c, caps.c and stats.c offer each other: the ioctls
 * that belong to no folder.
 */
#ifndef MEZZ_OPS_H
#define MEZZ_OPS_H

#include <linux/kvm.h>

struct mezz_vcpu;
struct mezz_vm;

/* KVM_ENABLE_CAP on a VM or vCPU descriptor (caps.c). [P]: 0 or an errno. */
long mezz_vm_enable_cap(struct mezz_vm *vm, void __user *argp);
long mezz_vcpu_enable_cap(struct mezz_vcpu *v, void __user *argp);

/* KVM_GET_STATS_FD (stats.c): a descriptor in KVM's binary format, or an errno. */
int mezz_vm_stats_fd(struct mezz_vm *vm);
int mezz_vcpu_stats_fd(struct mezz_vcpu *v);

/* Pages of the vCPU mapping: kvm_run, PIO data, coalesced ring. */
#define MEZZ_VCPU_MMAP_PAGES	3

#endif
