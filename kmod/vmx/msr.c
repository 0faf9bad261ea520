// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSRs that live in the control structure, or in the CPU during a section; and the
 * MSR bitmap.
 *
 * Left out: last-branch recording and branch-stepping, so DEBUGCTL has no effect;
 * VMX's own MSRs do not exist for the guest, and FEATURE_CONTROL says that they never
 * will.
 *
 * Locking: the vCPU mutex.
 */
#include <linux/string.h>
#include <asm/msr.h>
#include <asm/msr-index.h>

#include "../cpu/cpu.h"
#include "vmx.h"

#define DEBUGCTL_IGNORED (DEBUGCTLMSR_LBR | DEBUGCTLMSR_BTF)

/* Bitmap: SDM 3, "MSR-Bitmap Address"; byte offsets of its quarters. */
#define READ_LOW	0x000
#define READ_HIGH	0x400
#define WRITE_LOW	0x800
#define WRITE_HIGH	0xc00

const u32 vmx_direct_msrs[] = {
	MSR_KERNEL_GS_BASE, MSR_FS_BASE, MSR_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, 0
};

const u32 vmx_msrs[] = { MSR_IA32_FEAT_CTL, 0 };

/* --- bitmap --- */

static void permit(u8 *map, u32 msr, bool intercept_read, bool intercept_write)
{
	unsigned int high, byte = (msr & 0x1fff) / 8;
	u8 bit = 1u << msr % 8;

	if (msr < 0x2000)
		high = 0;
	else if (msr >= 0xc0000000 && msr < 0xc0002000)
		high = READ_HIGH - READ_LOW;
	else
		return;		/* always intercepted */
	map += high + byte;
	map[READ_LOW] = intercept_read ? map[READ_LOW] | bit : map[READ_LOW] & ~bit;
	map[WRITE_LOW] = intercept_write ? map[WRITE_LOW] | bit : map[WRITE_LOW] & ~bit;
}

static_assert(WRITE_HIGH - WRITE_LOW == READ_HIGH - READ_LOW);

void vmx_msr_permit64(u8 *map, u32 first, u64 reads, u64 writes)
{
	*(u64 *)(map + READ_LOW + first / 8) = ~reads;
	*(u64 *)(map + WRITE_LOW + first / 8) = ~writes;
}

struct mezz_msr_map vmx_msr_map = {
	.direct = vmx_direct_msrs,
	.permit = permit,
};

int vmx_msr_intercept(struct mezz_vcpu *v, u32 msr, bool read, bool write)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (mezz_msr_map_own(&vmx_msr_map, &vmx->msr_bitmap))
		return -ENOMEM;
	vmx_write(vmx, VMCS_MSR_BITMAP, page_to_phys(vmx->msr_bitmap));
	permit(page_address(vmx->msr_bitmap), msr, read, write);
	return 0;
}

/* --- values --- */

static void set_pat(struct vmx_vcpu *vmx, u64 pat)
{
	vmx->pat = pat;
	vmx_write(vmx, VMCS_GUEST_PAT, pat);
}

/* The CPU has the guest's while a section is open. */
static u64 get_kernel_gs_base(struct vmx_vcpu *vmx)
{
	if (vmx->v.atomic)
		rdmsrl(MSR_KERNEL_GS_BASE, vmx->kernel_gs_base);
	return vmx->kernel_gs_base;
}

static void set_kernel_gs_base(struct vmx_vcpu *vmx, u64 data)
{
	vmx->kernel_gs_base = data;
	if (vmx->v.atomic)
		wrmsrl(MSR_KERNEL_GS_BASE, data);
}

static void set_syscall(struct vmx_vcpu *vmx, unsigned int which, u64 data)
{
	bool live = vmx->syscall_live;

	if (live)
		vmx_unload_syscall(vmx);
	vmx->syscall[which] = data;
	if (live)
		vmx_load_syscall(vmx);
}

void vmx_msr_reset(struct vmx_vcpu *vmx, bool init)
{
	unsigned int i;

	if (init)
		return;
	for (i = 0; i < VMX_NR_SYSCALL; i++)
		set_syscall(vmx, i, 0);
	vmx->cstar = 0;
	set_kernel_gs_base(vmx, 0);
	vmx_write(vmx, VMCS_GUEST_SYSENTER_CS, 0);
	vmx_write(vmx, VMCS_GUEST_SYSENTER_ESP, 0);
	vmx_write(vmx, VMCS_GUEST_SYSENTER_EIP, 0);
	set_pat(vmx, MEZZ_PAT_RESET);
}

/* Fields of the control structure that are an MSR. */
static const struct {
	u32 msr;
	u16 field;
} fields_of[] = {
	{ MSR_FS_BASE, VMCS_GUEST_FS_BASE }, { MSR_GS_BASE, VMCS_GUEST_GS_BASE },
	{ MSR_IA32_SYSENTER_CS, VMCS_GUEST_SYSENTER_CS },
	{ MSR_IA32_SYSENTER_ESP, VMCS_GUEST_SYSENTER_ESP },
	{ MSR_IA32_SYSENTER_EIP, VMCS_GUEST_SYSENTER_EIP },
};

static int field_of(u32 msr)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(fields_of); i++)
		if (fields_of[i].msr == msr)
			return fields_of[i].field;
	return -1;
}

static int syscall_of(u32 msr)
{
	return msr == MSR_STAR ? VMX_STAR : msr == MSR_LSTAR ? VMX_LSTAR :
	       msr == MSR_SYSCALL_MASK ? VMX_SFMASK : -1;
}

int vmx_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	int n;

	switch (msr) {
	case MSR_IA32_CR_PAT:
		*data = vmx->pat;
		return 0;
	case MSR_KERNEL_GS_BASE:
		*data = get_kernel_gs_base(vmx);
		return 0;
	case MSR_CSTAR:
		*data = vmx->cstar;
		return 0;
	case MSR_IA32_FEAT_CTL:
		*data = FEAT_CTL_LOCKED;
		return 0;
	case MSR_IA32_DEBUGCTLMSR:
		*data = 0;
		return 0;
	default:
		break;
	}
	n = syscall_of(msr);
	if (n >= 0) {
		*data = vmx->syscall[n];
		return 0;
	}
	n = field_of(msr);
	if (n < 0)
		return 1;
	*data = vmx_read(vmx, n);
	return 0;
}

int vmx_set_msr(struct mezz_vcpu *v, u32 msr, u64 data)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	int n;

	switch (msr) {
	case MSR_IA32_CR_PAT:
		set_pat(vmx, data);
		return 0;
	case MSR_KERNEL_GS_BASE:
		set_kernel_gs_base(vmx, data);
		return 0;
	case MSR_CSTAR:
		vmx->cstar = data;
		return 0;
	case MSR_IA32_FEAT_CTL:
		return data == FEAT_CTL_LOCKED ? 0 : 2;
	case MSR_IA32_DEBUGCTLMSR:
		return data & ~(u64)DEBUGCTL_IGNORED ? 2 : 0;
	default:
		break;
	}
	n = syscall_of(msr);
	if (n >= 0) {
		if (n == VMX_SFMASK && data >> 32)
			return 2;
		set_syscall(vmx, n, data);
		return 0;
	}
	n = field_of(msr);
	if (n < 0)
		return 1;
	vmx_write(vmx, n, data);
	return 0;
}
