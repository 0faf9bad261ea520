/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest's CPU looks like: CPUID, MSRs, control registers, and the
 * ioctls that get and set the state of a vCPU.
 *
 * Everything is called with the vCPU mutex held. [S]: any context of the run
 * loop, does not sleep. [P]: process context.
 */
#ifndef MEZZ_CPU_H
#define MEZZ_CPU_H

#include <linux/types.h>
#include <linux/kvm.h>

struct mezz_vcpu;
struct mezz_vm;

/* SDM 3, "IA32_PAT MSR" */
#define MEZZ_PAT_RESET	0x0007040600070406ull
/* Memory types 2 and 3 do not exist, nor those above 7. */
static inline bool mezz_pat_valid(u64 pat)
{
	const u64 bit0 = 0x0101010101010101ull;

	return !(pat & bit0 * 0xf8) && !((pat >> 1 & bit0) & ~(pat >> 2 & bit0));
}

int mezz_cpu_create(struct mezz_vcpu *v);	/* [P] allocates v->cpu_state */
void mezz_cpu_destroy(struct mezz_vcpu *v);
void mezz_cpu_reset(struct mezz_vcpu *v, bool init);
/* [P] once, after the engine's probe: the supported CPUID table, MSR lists. */
int mezz_cpu_setup(void);
void mezz_cpu_teardown(void);

/* [S] CPUID as the guest executes it: in and out in @eax .. @edx. */
void mezz_cpuid(struct mezz_vcpu *v, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx);
/* [P] What user space lets the guest know of KVM's features, 0 without such a leaf. */
u32 mezz_cpuid_pv_features(struct mezz_vcpu *v);
/* [S] Bits that follow CR4, APIC_BASE, XCR0, MISC_ENABLE changed. */
void mezz_cpuid_refresh(struct mezz_vcpu *v);
/*
 * [S] Does the guest have this feature? @f is X86_FEATURE_* of asm/cpufeatures.h;
 * backed by a bitmap computed at KVM_SET_CPUID2.
 */
bool mezz_guest_has(struct mezz_vcpu *v, unsigned int f);
/* [S] Does the guest have MONITOR and MWAIT, or is it not to notice that it has not? */
bool mezz_mwait_defined(struct mezz_vcpu *v);
/* [S] guest's MAXPHYADDR in bits */
unsigned int mezz_guest_maxphyaddr(struct mezz_vcpu *v);

/*
 * [S] Control registers with the architecture's checks and side effects
 * (EFER.LMA, CPUID refresh, TLB flush). 0, or 1: #GP(0).
 */
int mezz_set_cr0(struct mezz_vcpu *v, u64 val);
int mezz_set_cr3(struct mezz_vcpu *v, u64 val);
int mezz_set_cr4(struct mezz_vcpu *v, u64 val);
int mezz_set_cr8(struct mezz_vcpu *v, u64 val);
u64 mezz_get_cr8(struct mezz_vcpu *v);
int mezz_set_efer(struct mezz_vcpu *v, u64 val, bool host);
int mezz_set_xcr0(struct mezz_vcpu *v, u64 val);
int mezz_set_dr(struct mezz_vcpu *v, unsigned int n, u64 val);	/* 1: #GP, 2: #UD */
int mezz_get_dr(struct mezz_vcpu *v, unsigned int n, u64 *val);

/*
 * [S] A segment's access rights in the order in which a descriptor has them: type, S,
 * DPL, P, AVL, L, D/B, G, in 12 bits. P is clear in one that is unusable; @s is all
 * zero but for what @attrib says.
 */
u16 mezz_seg_pack(const struct kvm_segment *s);
void mezz_seg_unpack(u16 attrib, struct kvm_segment *s);

/* Why an MSR access is refused: each is #GP for the guest, unless user space asked. */
enum mezz_msr_refusal {
	MEZZ_MSR_INVALID = 1,	/* not this value, or not for this guest */
	MEZZ_MSR_UNKNOWN = 2,	/* there is no such MSR */
	MEZZ_MSR_FILTERED = 3,	/* KVM_X86_SET_MSR_FILTER says no */
};

/*
 * [S] RDMSR/WRMSR. @host: by an ioctl, so no guest policy. 0, or enum
 * mezz_msr_refusal; then nothing has changed.
 */
int mezz_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data, bool host);
int mezz_set_msr(struct mezz_vcpu *v, u32 msr, u64 data, bool host);

/* [S] May the guest do this? @access: KVM_MSR_FILTER_READ or _WRITE. SRCU read side. */
bool mezz_msr_filter_allows(struct mezz_vm *vm, u32 msr, u32 access);
/**
 * mezz_msr_filter_apply() - intercept what the VM's filter denies
 * @v: the vCPU
 * Context: [P], SRCU read side held. Return: 0 or -ENOMEM.
 */
int mezz_msr_filter_apply(struct mezz_vcpu *v);
/**
 * mezz_msr_refused() - #GP, or the exit that user space asked for
 * @v: the vCPU; RIP at the instruction
 * @why: enum mezz_msr_refusal
 * @len: length of the instruction
 * @write: WRMSR
 * @data: the value to write
 * Return: MEZZ_RESUME or MEZZ_USER
 */
int mezz_msr_refused(struct mezz_vcpu *v, int why, unsigned int len, bool write, u64 data);
/* KVM_CAP_X86_USER_SPACE_MSR: @reasons are KVM_MSR_EXIT_REASON_*. 0 or -EINVAL. */
long mezz_msr_user_exits(struct mezz_vm *vm, u64 reasons);
void mezz_msr_vm_destroy(struct mezz_vm *vm);

/* [S] The guest's TSC now (or at host TSC @host). */
u64 mezz_guest_tsc(struct mezz_vcpu *v, u64 host);
/* A vCPU was created, or user space has set one's TSC: are they all alike? Any context. */
void mezz_tsc_compare(struct mezz_vm *vm);

/*
 * vCPU ioctls: GET/SET_REGS, SREGS, SREGS2, FPU, XSAVE, XSAVE2, XCRS, MSRS,
 * DEBUGREGS, CPUID, CPUID2, MP_STATE, VCPU_EVENTS, TSC_KHZ, GUEST_DEBUG,
 * TRANSLATE, INTERRUPT, MCE, KVMCLOCK_CTRL, SIGNAL_MASK, DEVICE_ATTR.
 * Return: -ENOIOCTLCMD when @cmd is none of them. [P]
 */
long mezz_cpu_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, unsigned long arg);
/*
 * System ioctls: GET_SUPPORTED_CPUID, GET_EMULATED_CPUID, GET_MSR_INDEX_LIST,
 * GET_MSR_FEATURE_INDEX_LIST, GET_MSRS (feature MSRs), X86_GET_MCE_CAP_SUPPORTED,
 * GET/HAS_DEVICE_ATTR.
 */
long mezz_cpu_sys_ioctl(unsigned int cmd, unsigned long arg);
/* VM ioctls: SET/GET_TSC_KHZ, X86_SET_MSR_FILTER. */
long mezz_cpu_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg);
long mezz_cpu_cap(struct mezz_vm *vm, unsigned long cap);	/* -1: not mine */
/* KVM_CAP_SYNC_REGS: copy between kvm_run->s.regs and the vCPU. [S] */
void mezz_store_sync_regs(struct mezz_vcpu *v);
int mezz_load_sync_regs(struct mezz_vcpu *v);

#endif
