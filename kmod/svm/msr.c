// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSRs that live in the control block, and the MSR permission map.
 *
 * Left out: last-branch recording is off, so DEBUGCTL has no effect; SVM's own MSRs
 * do not exist for the guest.
 *
 * Locking: the vCPU mutex.
 */
#include <linux/string.h>
#include <asm/msr.h>
#include <asm/msr-index.h>

#include "../cpu/cpu.h"
#include "svm.h"

/* Two bits for each of 3 * 8192 MSRs: APM2, "MSR Intercepts". */
#define MSRPM_ORDER	1
#define MSRPM_READ	1u
#define MSRPM_WRITE	2u

/* DEBUGCTL bits that every CPU with SVM has. */
#define DEBUGCTL_VALID	0x3full

/* Switched by VMLOAD and VMSAVE, any value that the CPU accepts is harmless. */
const u32 svm_direct_msrs[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE,
	MSR_FS_BASE, MSR_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, 0
};

const u32 svm_msrs[] = { MSR_IA32_DEBUGCTLMSR, 0 };

/* --- permission map --- */

static void permit(u8 *map, u32 msr, bool intercept_read, bool intercept_write)
{
	unsigned int bit;
	u8 bits;

	if (msr < 0x2000)
		bit = 0;
	else if (msr >= 0xc0000000 && msr < 0xc0002000)
		bit = 0x4000;
	else if (msr >= 0xc0010000 && msr < 0xc0012000)
		bit = 0x8000;
	else
		return;		/* always intercepted */
	bit += (msr & 0x1fff) * 2;
	bits = (intercept_read ? MSRPM_READ : 0) | (intercept_write ? MSRPM_WRITE : 0);
	map += bit / 8;
	*map = (*map & ~(3u << bit % 8)) | bits << bit % 8;
}

struct mezz_msr_map svm_msr_map = {
	.order = MSRPM_ORDER,
	.direct = svm_direct_msrs,
	.permit = permit,
};

int svm_msr_intercept(struct mezz_vcpu *v, u32 msr, bool read, bool write)
{
	struct svm_vcpu *svm = to_svm(v);

	if (mezz_msr_map_own(&svm_msr_map, &svm->msrpm))
		return -ENOMEM;
	svm->vmcb->c.msrpm_pa = svm_pa(svm->msrpm);
	permit(page_address(svm->msrpm), msr, read, write);
	svm_unclean(svm, SVM_CLEAN_IOPM);
	return 0;
}

/* --- values --- */

void svm_msr_reset(struct svm_vcpu *svm, bool init)
{
	struct svm_save *s = &svm->vmcb->s;

	s->dbgctl = 0;
	if (init)
		return;
	s->star = 0;
	s->lstar = 0;
	s->cstar = 0;
	s->sfmask = 0;
	s->kernel_gs_base = 0;
	s->sysenter_cs = 0;
	s->sysenter_esp = 0;
	s->sysenter_eip = 0;
	s->g_pat = MEZZ_PAT_RESET;
}

/* Where in the control block an MSR is that needs no thought. */
static u64 *plain(struct svm_save *s, u32 msr)
{
	switch (msr) {
	case MSR_STAR:
		return &s->star;
	case MSR_LSTAR:
		return &s->lstar;
	case MSR_CSTAR:
		return &s->cstar;
	case MSR_SYSCALL_MASK:
		return &s->sfmask;
	case MSR_KERNEL_GS_BASE:
		return &s->kernel_gs_base;
	case MSR_FS_BASE:
		return &s->fs.base;
	case MSR_GS_BASE:
		return &s->gs.base;
	case MSR_IA32_SYSENTER_CS:
		return &s->sysenter_cs;
	case MSR_IA32_SYSENTER_ESP:
		return &s->sysenter_esp;
	case MSR_IA32_SYSENTER_EIP:
		return &s->sysenter_eip;
	default:
		return NULL;
	}
}

int svm_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_save *s = &svm->vmcb->s;
	const u64 *p = plain(s, msr);

	if (p) {
		*data = *p;
		return 0;
	}
	switch (msr) {
	case MSR_IA32_CR_PAT:
		*data = s->g_pat;
		return 0;
	case MSR_IA32_DEBUGCTLMSR:
		*data = s->dbgctl;
		return 0;
	default:
		return 1;
	}
}

void svm_update_spec(struct mezz_vcpu *v)
{
	to_svm(v)->vmcb->s.spec_ctrl = v->lazy.spec_ctrl;
}

int svm_set_msr(struct mezz_vcpu *v, u32 msr, u64 data)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_save *s = &svm->vmcb->s;
	u64 *p = plain(s, msr);

	if (p) {
		*p = data;
		return 0;
	}
	switch (msr) {
	case MSR_IA32_CR_PAT:
		s->g_pat = data;
		svm_unclean(svm, SVM_CLEAN_NP);
		return 0;
	case MSR_IA32_DEBUGCTLMSR:
		if (data & ~DEBUGCTL_VALID)
			return 2;
		s->dbgctl = data;
		return 0;
	default:
		return 1;
	}
}
