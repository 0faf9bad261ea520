// SPDX-License-Identifier: GPL-2.0-only
/*
 * One world switch (svm_enter), and what is switched once per section: the
 * host's FS, GS, TR, LDTR and system-call MSRs (saved by VMSAVE here, swapped
 * in enter.S), TSC ratio, ASID; the core's cpu/lazy.c has the rest.
 *
 * Every instruction of svm_enter() is paid on every exit. What rarely changes
 * waits behind one test: dirty registers other than RAX, RIP, RFLAGS
 * (svm_flush), follow-up work (svm->post), interrupted deliveries.
 *
 * Known hacks:
 *  - SPEC_CTRL is written in C around svm_switch(). The one RET in between is
 *    covered by what enter.S does to return predictions.
 *  - QEMU's emulated CPU (7.2) does not intercept XSETBV. Where there may be one,
 *    XCR0 is compared with what it should be when the section ends.
 */
#include <linux/cpufeature.h>
#include <asm/asm.h>
#include <asm/fpu/xcr.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>

#include "../cpu/cpu.h"
#include "../cpu/lazy.h"
#include "../host/host.h"
#include "../irq/irq.h"
#include "svm.h"

/*
 * What r[] holds after every exit. CR4 and EFER cannot change without an exit;
 * CR0 and CR3 are wanted by nearly every exit whose instruction must be looked
 * at; the others are fetched when somebody asks.
 */
#define AVAIL_AFTER_EXIT	((MEZZ_ALL_GPRS & ~BIT(MEZZ_RSP)) | BIT(MEZZ_RIP) |	\
				 BIT(MEZZ_RFLAGS) | BIT(MEZZ_CR0) | BIT(MEZZ_CR3) |	\
				 BIT(MEZZ_CR4) | BIT(MEZZ_EFER))

/* Registers that svm_flush() writes; the others are written on every entry. */
#define FLUSHED			(BIT(MEZZ_RSP) | BIT(MEZZ_CR0) | BIT(MEZZ_CR2) |	\
				 BIT(MEZZ_CR3) | BIT(MEZZ_CR4) | BIT(MEZZ_EFER) |	\
				 BIT(MEZZ_DR6) | BIT(MEZZ_DR7))

/* --- section begin and end --- */

void svm_load_tsc_ratio(struct svm_vcpu *svm)
{
	u64 ratio = mezz_tsc_ratio(&svm->v);

	if (!svm_has.tsc_ratio || this_cpu_read(svm_cpu.tsc_ratio) == ratio)
		return;
	wrmsrl(MSR_AMD64_TSC_RATIO, ratio);
	this_cpu_write(svm_cpu.tsc_ratio, ratio);
}

/* It ran elsewhere, or never. */
static void new_here(struct svm_vcpu *svm)
{
	svm->asid_gen = 0;
	/* What a CPU keeps of a control block is its own affair. */
	svm->vmcb->c.clean = 0;
}

void svm_load(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpu);

	svm->host_pa = cpu->host_pa;
	/* Undefined when a reboot has switched SVM off: svm_switch() sees it too. */
	asm volatile("1: vmsave %%rax\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : : "a" (cpu->host_pa) : "memory");
	if (unlikely(v->last_cpu != v->cpu))
		new_here(svm);
	if (unlikely(svm->asid_gen != cpu->asid_gen))
		svm_get_asid(svm, cpu);
	if (svm_has.tsc_ratio)
		svm_load_tsc_ratio(svm);
	mezz_lazy_load(v);
}

void svm_sync_xcr0(struct svm_vcpu *svm)
{
	struct mezz_vcpu *v = &svm->v;
	u64 xcr0;

	if (!svm_has.xsetbv_unseen || !(v->r[MEZZ_CR4] & X86_CR4_OSXSAVE))
		return;
	xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (likely(xcr0 == v->xcr0))
		return;
	if (mezz_set_xcr0(v, xcr0))
		xsetbv(XCR_XFEATURE_ENABLED_MASK, v->xcr0);	/* what it may not have */
	else
		mezz_fpu_xcr0_changed(v);
}

void svm_unload(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	if (svm_has.xsetbv_unseen)
		svm_sync_xcr0(svm);
	if (unlikely(svm->vmcb->c.event_inj & SVM_EV_VALID))
		svm_cancel_injection(v);
	if (unlikely(svm->vmcb->c.tlb_ctl))
		svm_flush_undone(svm, this_cpu_ptr(&svm_cpu));
	mezz_lazy_unload(v);
}

/* --- entry and exit --- */

/* The guest wrote CR8, which was not intercepted. */
static void sync_tpr(struct svm_vcpu *svm)
{
	svm->tpr = svm->vmcb->c.int_ctl & SVM_V_TPR;
	if (svm->v.lapic)
		mezz_lapic_set_cr8(&svm->v, svm->tpr);
	else
		svm->v.cr8 = svm->tpr;
}

/* An exit without a row in the table. */
static int odd_exit(struct mezz_vcpu *v, u32 code)
{
	v->exit = &svm_exit_other;
	return code == SVM_EXIT_INVALID ? mezz_fail_entry(v, code) : MEZZ_RESUME;
}

int svm_enter(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_vmcb *b = svm->vmcb;
	const struct mezz_exit *e;
	u32 code;
	int off;

	b->s.rax = v->r[MEZZ_RAX];
	b->s.rip = v->r[MEZZ_RIP];
	b->s.rflags = v->r[MEZZ_RFLAGS] | svm->force_flags;
	if (unlikely(v->dirty & FLUSHED))
		svm_flush(svm);
	v->dirty = 0;

	if (unlikely(v->lazy.switch_spec))
		wrmsrl(MSR_IA32_SPEC_CTRL, v->lazy.spec_ctrl);
	off = svm_switch(v->r, svm->vmcb_pa, svm->host_pa);
	if (unlikely(v->lazy.switch_spec))
		wrmsrl(MSR_IA32_SPEC_CTRL, v->lazy.host_spec);
	if (unlikely(off))
		return -EIO;

	b->c.clean = SVM_CLEAN_ALL;
	b->c.tlb_ctl = SVM_TLB_NOTHING;
	if (unlikely(svm->post))
		svm_after_exit(svm);	/* needs the old RFLAGS in r[] */
	v->r[MEZZ_RAX] = b->s.rax;
	v->r[MEZZ_RIP] = b->s.rip;
	v->r[MEZZ_RFLAGS] = b->s.rflags;
	v->r[MEZZ_CR0] = b->s.cr0 | svm->cr0_cdnw;
	v->r[MEZZ_CR3] = b->s.cr3;
	v->avail = AVAIL_AFTER_EXIT;
	if (unlikely((b->c.int_ctl & SVM_V_TPR) != svm->tpr))
		sync_tpr(svm);
	if (unlikely(b->c.exit_int_info & SVM_EV_VALID))
		svm_requeue(svm, b->c.exit_int_info, b->c.exit_int_err);

	code = b->c.exit_code;
	if (likely(code < SVM_EXIT_NR && svm_exits[code].handler)) {
		e = &svm_exits[code];
		if (code == SVM_EXIT_MSR && (b->c.exit_info_1 & SVM_MSR_WRITE))
			e = &svm_exit_wrmsr;
	} else if (likely(code == SVM_EXIT_NPF)) {
		e = &svm_exit_npf;
	} else {
		return odd_exit(v, code);
	}
	v->exit = e;
	return MEZZ_RESUME;
}
