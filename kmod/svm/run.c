// SPDX-License-Identifier: GPL-2.0-only
/*
 * One world switch (svm_enter), and what is switched once per section: the
 * host's FS, GS, TR, LDTR and system-call MSRs (saved by VMSAVE here, swapped
 * in enter.S), TSC_AUX, TSC ratio, SPEC_CTRL, debug registers, ASID.
 *
 * Every instruction of svm_enter() is paid on every exit. What rarely changes
 * waits behind one test: dirty registers other than RAX, RIP, RFLAGS
 * (svm_flush), follow-up work (svm->post), interrupted deliveries.
 *
 * Known hacks:
 *  - SPEC_CTRL is written in C around svm_switch(). The one RET in between is
 *    covered by what enter.S does to return predictions.
 *  - #VMEXIT disables all breakpoints in the host's DR7 (APM2, "#VMEXIT"). They
 *    come back when the section ends, so breakpoints on code of interrupt
 *    handlers are missed inside a section.
 *  - QEMU's emulated CPU (7.2) does not intercept XSETBV. Where there may be one,
 *    XCR0 is compared with what it should be when the section ends.
 */
#include <linux/cpufeature.h>
#include <linux/ratelimit.h>
#include <asm/asm.h>
#include <asm/debugreg.h>
#include <asm/fpu/xcr.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>

#include "../cpu/cpu.h"
#include "../host/host.h"
#include "../irq/irq.h"
#include "svm.h"

/* enter.S has these numbers of its own. */
static_assert(MEZZ_RAX == 0 && MEZZ_RCX == 1 && MEZZ_RDX == 2 && MEZZ_RBX == 3 &&
	      MEZZ_RSP == 4 && MEZZ_RBP == 5 && MEZZ_RSI == 6 && MEZZ_RDI == 7 &&
	      MEZZ_R8 == 8 && MEZZ_R15 == 15);

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

/* The ratio 1:1; 32 fraction bits. */
#define TSC_RATIO_ONE		BIT_ULL(32)

/* --- section begin and end --- */

void svm_load_tsc_ratio(struct svm_vcpu *svm)
{
	u64 ratio = svm->v.tsc_ratio ?: TSC_RATIO_ONE;

	if (!svm_has.tsc_ratio || this_cpu_read(svm_cpu.tsc_ratio) == ratio)
		return;
	wrmsrl(MSR_AMD64_TSC_RATIO, ratio);
	this_cpu_write(svm_cpu.tsc_ratio, ratio);
}

void svm_load_tsc_aux(struct svm_vcpu *svm)
{
	if (!svm->use_tsc_aux ||
	    (!svm->tsc_aux_live && svm->tsc_aux == this_cpu_read(svm_cpu.tsc_aux)))
		return;
	wrmsrl(MSR_TSC_AUX, svm->tsc_aux);
	svm->tsc_aux_live = true;
}

void svm_spec_changed(struct svm_vcpu *svm)
{
	if (!svm_has.spec_ctrl || svm_has.v_spec_ctrl)
		return;
	svm->host_spec = this_cpu_read(x86_spec_ctrl_current);
	svm->switch_spec = svm->host_spec != svm->spec_ctrl;
}

/* Another guest ran here, or this one elsewhere. */
static void new_here(struct svm_vcpu *svm, struct svm_cpu *cpu)
{
	if (svm->cpu != svm->v.cpu) {
		svm->cpu = svm->v.cpu;
		svm->asid_gen = 0;
		/* What a CPU keeps of a control block is its own affair. */
		svm->vmcb->c.clean = 0;
	}
	if (READ_ONCE(cpu->last) != &svm->v) {
		WRITE_ONCE(cpu->last, &svm->v);
		if (svm_has.ibpb)
			wrmsrl(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
	}
}

void svm_load(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpu);

	svm->host_pa = cpu->host_pa;
	/* Undefined when a reboot has switched SVM off: svm_switch() sees it too. */
	asm volatile("1: vmsave %%rax\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : : "a" (cpu->host_pa) : "memory");
	if (unlikely(READ_ONCE(cpu->last) != v || svm->cpu != v->cpu))
		new_here(svm, cpu);
	if (unlikely(svm->asid_gen != cpu->asid_gen))
		svm_get_asid(svm, cpu);
	svm_load_tsc_ratio(svm);
	svm_load_tsc_aux(svm);
	svm_spec_changed(svm);
	if (unlikely(svm->vmcb->s.dr7 & DR_GLOBAL_ENABLE_MASK) ||
	    unlikely(svm->vmcb->s.dr7 & DR_LOCAL_ENABLE_MASK))
		svm_dr_load(svm);
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

	svm_sync_xcr0(svm);
	if (unlikely(svm->vmcb->c.event_inj & SVM_EV_VALID))
		svm_cancel_injection(v);
	if (unlikely(svm->vmcb->c.tlb_ctl))
		svm_flush_undone(svm, this_cpu_ptr(&svm_cpu));
	if (unlikely(svm->dr_live))
		svm_dr_unload(svm);
	if (unlikely(hw_breakpoint_active()))
		hw_breakpoint_restore();
	if (svm->tsc_aux_live) {
		wrmsrl(MSR_TSC_AUX, this_cpu_read(svm_cpu.tsc_aux));
		svm->tsc_aux_live = false;
	}
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
static int odd_exit(struct svm_vcpu *svm, u32 code)
{
	static DEFINE_RATELIMIT_STATE(dumps, 10 * HZ, 2);
	struct kvm_run *run = svm->v.run;

	svm->v.exit = &svm_exit_other;
	if (code != SVM_EXIT_INVALID)
		return MEZZ_RESUME;
	if (__ratelimit(&dumps))
		svm_dump(&svm->v);
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = code;
	run->fail_entry.cpu = svm->v.cpu;
	return MEZZ_USER;
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

	if (unlikely(svm->switch_spec))
		wrmsrl(MSR_IA32_SPEC_CTRL, svm->spec_ctrl);
	off = svm_switch(v->r, svm->vmcb_pa, svm->host_pa);
	if (unlikely(svm->switch_spec))
		wrmsrl(MSR_IA32_SPEC_CTRL, svm->host_spec);
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
		return odd_exit(svm, code);
	}
	v->exit = e;
	return MEZZ_RESUME;
}
