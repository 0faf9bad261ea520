/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of cpu/ share with each other and with nobody else.
 *
 * Reading order: cpuid_table.c (what is offered; pure), cpuid.c (what a guest
 * has), cr.c, msr.c with lazy.c, mtrr.c, mce.c and tsc.c, msr_ioctl.c, state.c,
 * ioctl.c, cpu.c.
 *
 * Locking: struct mezz_cpu_state belongs to the holder of the vCPU mutex. The
 * module-wide tables are constant after mezz_cpu_setup().
 */
#ifndef MEZZ_CPU_INTERNAL_H
#define MEZZ_CPU_INTERNAL_H

#include <linux/bits.h>
#include <asm/cpufeature.h>
#include "../vcpu.h"
#include "cpu.h"

/* KVM's limit for KVM_SET_CPUID2, so that a client sees the same E2BIG. */
#define MEZZ_MAX_CPUID	256
/* Words of feature bits, numbered as in X86_FEATURE_*: enum cpuid_leafs. */
#define MEZZ_CPUID_WORDS	NR_CPUID_WORDS

/* --- cpuid_table.c: pure --- */

enum { CPUID_R_EAX, CPUID_R_EBX, CPUID_R_ECX, CPUID_R_EDX };

/**
 * struct mezz_cpuid_host - everything that decides what guests are offered
 * @raw: CPUID of the host, into four registers
 * @mask: takes away what the engine cannot have in guests, or NULL
 * @caps: feature words with what the host kernel left on
 * @xcr0: XCR0 bits that guests may use
 * @xss: IA32_XSS bits that guests may use
 * @pv_features: EAX of leaf 0x40000001
 * @spec_ctrl: MSR_IA32_SPEC_CTRL exists
 * @ibpb: MSR_IA32_PRED_CMD exists
 * @tsc_aux: MSR_TSC_AUX exists
 * @lfence: LFENCE waits for all earlier instructions
 * @null_seg: loading a null selector clears the segment's base
 */
struct mezz_cpuid_host {
	void (*raw)(u32 function, u32 index, u32 *regs);
	void (*mask)(u32 function, u32 index, u32 *regs);
	const u32 *caps;
	u64 xcr0, xss;
	u32 pv_features;
	bool spec_ctrl, ibpb, tsc_aux, lfence, null_seg;
};

struct mezz_cpuid_table {
	unsigned int n;
	struct kvm_cpuid_entry2 e[MEZZ_MAX_CPUID];
};

/* Fill @t with what KVM_GET_SUPPORTED_CPUID says. */
void mezz_cpuid_build(struct mezz_cpuid_table *t, const struct mezz_cpuid_host *h);
/* Feature words of a list of entries. */
void mezz_cpuid_features(const struct kvm_cpuid_entry2 *e, unsigned int n, u32 *words);
/* First entry for this function and index, or NULL; a linear search. */
struct kvm_cpuid_entry2 *mezz_cpuid_scan(struct kvm_cpuid_entry2 *e, unsigned int n,
					 u32 function, u32 index);
/* Bytes of an XSAVE image with these components; needs mezz_cpuid_build() before. */
u32 mezz_xstate_size(u64 components, bool compacted);

/* --- the state of a vCPU --- */

#define MEZZ_MCE_BANKS	32	/* KVM_CAP_MCE */
#define MEZZ_VAR_MTRRS	8
#define MEZZ_FIX_MTRRS	11

/* First and last position of a function's entries; first > last: none. */
struct mezz_cpuid_range {
	u8 first, last;
};

/**
 * struct mezz_cpu_state - CPUID and the MSRs that are nowhere else
 * @entries: as user space set them, runtime bits kept current (mezz_cpuid_refresh)
 * @range: where in @entries functions 0-63 of the basic, hypervisor and extended
 *	class are
 * @leaf1: entry of leaf 1 in @entries, or NULL; so @leaf_d0, @leaf_d1
 * @feat: feature words of the guest
 * @cr4_ok: CR4 bits the guest may set
 * @efer_ok: EFER bits the guest may set
 * @xcr0_ok: XCR0 bits the guest may set
 * @spec_ok: SPEC_CTRL bits the guest may set, 0: no such MSR
 * @maxphyaddr: physical address bits
 * @amd_like: out-of-range leaves read 0
 */
struct mezz_cpu_state {
	struct kvm_cpuid_entry2 *entries;
	unsigned int nent;
	struct mezz_cpuid_range range[3][64];
	struct kvm_cpuid_entry2 *leaf1, *leaf_d0, *leaf_d1;
	u32 feat[MEZZ_CPUID_WORDS];
	u64 cr4_ok, efer_ok, xcr0_ok, spec_ok;
	u8 maxphyaddr;
	bool amd_like;

	u64 tsc_adjust;
	u64 misc_enable;
	u64 smi_count;
	u64 ucode_rev;
	u64 arch_caps;
	u64 platform_info;
	u64 power_ctl;
	u64 hwcr;
	u64 de_cfg;
	u64 osvw_length, osvw_status;

	u64 mtrr_deftype;
	u64 mtrr_fix[MEZZ_FIX_MTRRS];
	u64 mtrr_var[2 * MEZZ_VAR_MTRRS];	/* base, mask, base, ... */

	u64 mcg_cap, mcg_status, mcg_ctl;
	u64 mce[4 * MEZZ_MCE_BANKS];		/* CTL, STATUS, ADDR, MISC of each bank */
	u64 mce_ctl2[MEZZ_MCE_BANKS];
	bool msr_filtered;	/* the permission map once followed a filter */
};

/* Feature words of the supported table. */
extern u32 mezz_supported[MEZZ_CPUID_WORDS];

static inline bool mezz_supports(unsigned int f)
{
	return mezz_supported[f / 32] & BIT(f % 32);
}

/* Physical address with bits that the guest's CPU does not have? */
static inline bool mezz_bad_gpa(struct mezz_vcpu *v, u64 gpa)
{
	return gpa >> v->cpu_state->maxphyaddr;
}

/* Not canonical: 48-bit linear addresses, as LA57 is not offered. */
static inline bool mezz_noncanonical(u64 addr)
{
	return (u64)((s64)(addr << 16) >> 16) != addr;
}

/* --- cpuid.c --- */
int mezz_cpuid_setup(void);
void mezz_cpuid_teardown(void);
/* The vCPU has no CPUID yet. */
void mezz_cpuid_init(struct mezz_vcpu *v);
void mezz_cpuid_destroy(struct mezz_vcpu *v);
long mezz_cpuid_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, void __user *argp);
long mezz_cpuid_sys_ioctl(unsigned int cmd, void __user *argp);

/* --- cr.c --- */
/* CPUID changed: recompute which control register bits the guest may set. */
void mezz_cr_cpuid_changed(struct mezz_vcpu *v);
/* SPEC_CTRL bits that a guest can have on this host. */
u64 mezz_spec_ctrl_bits(void);
bool mezz_cr0_valid(u64 cr0);
bool mezz_cr4_valid(struct mezz_vcpu *v, u64 cr4);
bool mezz_efer_exists(u64 efer);

/* --- msr.c and its parts: 0, or 1: #GP; no check that @msr is in their range --- */
void mezz_msr_init(struct mezz_vcpu *v);
void mezz_msr_reset(struct mezz_vcpu *v);
int mezz_mtrr_get(struct mezz_vcpu *v, u32 msr, u64 *data);
int mezz_mtrr_set(struct mezz_vcpu *v, u32 msr, u64 data);
int mezz_mce_get(struct mezz_vcpu *v, u32 msr, u64 *data, bool host);
int mezz_mce_set(struct mezz_vcpu *v, u32 msr, u64 data, bool host);
void mezz_mce_init(struct mezz_vcpu *v);
long mezz_mce_ioctl(struct mezz_vcpu *v, unsigned int cmd, void __user *argp);
extern const u64 mezz_mcg_cap_supported;

/* --- msr_ioctl.c --- */
int mezz_msr_list_setup(void);
void mezz_msr_list_teardown(void);
/* Value of an MSR that describes the host's features. 0, or 1: it is none. */
int mezz_msr_feature(u32 msr, u64 *data);
/* KVM_X86_SET_MSR_FILTER (msr_user.c). */
long mezz_msr_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, const void __user *argp);
long mezz_msr_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, void __user *argp);
long mezz_msr_sys_ioctl(unsigned int cmd, void __user *argp);

/* --- tsc.c --- */
/* The vCPU is new: its frequency, and a TSC in step with its siblings'. */
int mezz_tsc_init(struct mezz_vcpu *v);
/* WRMSR of IA32_TSC and IA32_TSC_ADJUST. */
void mezz_tsc_write(struct mezz_vcpu *v, u64 tsc, bool host);
void mezz_tsc_write_adjust(struct mezz_vcpu *v, u64 adjust, bool host);
long mezz_tsc_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, unsigned long arg);
long mezz_tsc_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg);

/* --- state.c --- */
long mezz_regs_ioctl(struct mezz_vcpu *v, unsigned int cmd, void __user *argp);

#endif
