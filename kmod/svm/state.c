// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest state in the control block: registers that are not in r[], segments,
 * descriptor tables, debug registers.
 *
 * What the guest sees and what the control block holds differ in:
 *   CR0.CD, NW	never set in hardware, so that guest memory stays cached; kept in
 *		cr0_cdnw, and all of CR0 is intercepted while they are set. User space
 *		can disable that (KVM_X86_QUIRK_CD_NW_CLEARED)
 *   CR4.MCE	as the host has it, or a machine check would be a shutdown; CR4
 *		reads are intercepted while it is not what the guest wrote
 *   EFER.SVME	always set in hardware (APM2, "Canonicalization and Consistency
 *		Checks"), never seen
 *   DR7	a debugger's while it has breakpoints (dr7_taken)
 *
 * Locking: the vCPU mutex.
 */
#include <linux/percpu.h>
#include <linux/string.h>
#include <asm/processor.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/tlbflush.h>

#include "../cpu/cpu.h"
#include "../cpu/lazy.h"
#include "svm.h"

#define CR0_CDNW	((u64)(X86_CR0_CD | X86_CR0_NW))

/* --- registers --- */

void svm_fetch(struct mezz_vcpu *v, unsigned int what)
{
	struct svm_vcpu *svm = to_svm(v);
	const struct svm_save *s = &svm->vmcb->s;

	switch (what) {
	case MEZZ_RSP:
		v->r[what] = s->rsp;
		break;
	case MEZZ_CR0:
		v->r[what] = s->cr0 | svm->cr0_cdnw;
		break;
	case MEZZ_CR2:
		v->r[what] = s->cr2;
		break;
	case MEZZ_CR3:
		v->r[what] = s->cr3;
		break;
	case MEZZ_DR6:
		v->r[what] = s->dr6;
		break;
	case MEZZ_DR7:
		v->r[what] = v->lazy.dr7_taken ? v->lazy.guest_dr7 : s->dr7;
		break;
	default:
		break;		/* r[] has all the others, always */
	}
	v->avail |= 1u << what;
}

static void flush_cr(struct svm_vcpu *svm, u32 dirty)
{
	const u64 *r = svm->v.r;
	struct svm_save *s = &svm->vmcb->s;

	if (dirty & BIT(MEZZ_CR0)) {
		svm->cr0_cdnw = 0;
		if (mezz_quirk(svm->v.vm, KVM_X86_QUIRK_CD_NW_CLEARED))
			svm->cr0_cdnw = r[MEZZ_CR0] & CR0_CDNW;
		s->cr0 = r[MEZZ_CR0] & ~svm->cr0_cdnw;
		/* Hardware does not select a write that clears what it has not. */
		svm_put_intercept(svm, SVM_I_CR_READ + 0, svm->cr0_cdnw);
		svm_put_intercept(svm, SVM_I_CR_WRITE + 0, svm->cr0_cdnw);
	}
	if (dirty & BIT(MEZZ_CR3))
		s->cr3 = r[MEZZ_CR3];
	if (dirty & BIT(MEZZ_CR4)) {
		s->cr4 = r[MEZZ_CR4] | (__read_cr4() & X86_CR4_MCE);
		svm_put_intercept(svm, SVM_I_CR_READ + 4, s->cr4 != r[MEZZ_CR4]);
	}
	if (dirty & BIT(MEZZ_EFER))
		s->efer = r[MEZZ_EFER] | EFER_SVME;
	svm_unclean(svm, SVM_CLEAN_CR);
}

static void flush_dr(struct svm_vcpu *svm, u32 dirty)
{
	const u64 *r = svm->v.r;
	struct svm_save *s = &svm->vmcb->s;

	if (dirty & BIT(MEZZ_DR6))
		s->dr6 = r[MEZZ_DR6];
	if (dirty & BIT(MEZZ_DR7)) {
		if (svm->v.lazy.dr7_taken)
			svm->v.lazy.guest_dr7 = r[MEZZ_DR7];
		else
			s->dr7 = r[MEZZ_DR7];
		if (!svm->v.lazy.dr_live && (s->dr7 & MEZZ_DR7_ENABLES))
			mezz_dr_load(&svm->v);
	}
	svm_unclean(svm, SVM_CLEAN_DR);
}

void svm_flush(struct svm_vcpu *svm)
{
	u32 dirty = svm->v.dirty;

	if (dirty & BIT(MEZZ_RSP))
		svm->vmcb->s.rsp = svm->v.r[MEZZ_RSP];
	if (dirty & BIT(MEZZ_CR2)) {
		svm->vmcb->s.cr2 = svm->v.r[MEZZ_CR2];
		svm_unclean(svm, SVM_CLEAN_CR2);
	}
	if (dirty & (BIT(MEZZ_CR0) | BIT(MEZZ_CR3) | BIT(MEZZ_CR4) | BIT(MEZZ_EFER)))
		flush_cr(svm, dirty);
	if (dirty & (BIT(MEZZ_DR6) | BIT(MEZZ_DR7)))
		flush_dr(svm, dirty);
}

/* --- segments --- */

static struct svm_seg *seg_of(struct mezz_vcpu *v, unsigned int seg)
{
	struct svm_save *s = &to_svm(v)->vmcb->s;

	switch (seg) {
	case MEZZ_ES:
		return &s->es;
	case MEZZ_CS:
		return &s->cs;
	case MEZZ_SS:
		return &s->ss;
	case MEZZ_DS:
		return &s->ds;
	case MEZZ_FS:
		return &s->fs;
	case MEZZ_GS:
		return &s->gs;
	case MEZZ_LDTR:
		return &s->ldtr;
	default:
		return &s->tr;
	}
}

/*
 * The KVM ABI follows the other vendor: a segment is unusable rather than not
 * present, a data segment in use is accessed, a task register is busy.
 */
void svm_get_segment(struct mezz_vcpu *v, unsigned int seg, struct kvm_segment *s)
{
	const struct svm_seg *h = seg_of(v, seg);

	mezz_seg_unpack(h->attrib, s);
	s->base = h->base;
	s->limit = h->limit;
	s->selector = h->selector;
	/* Not every CPU keeps G; the limit is in bytes anyway. */
	s->g = h->limit > 0xfffff;

	switch (seg) {
	case MEZZ_TR:
		s->type |= 2;
		break;
	case MEZZ_SS:
		if (s->unusable)
			s->db = 0;
		/* SYSRET leaves SS.DPL alone. */
		s->dpl = to_svm(v)->vmcb->s.cpl;
		fallthrough;
	case MEZZ_ES:
	case MEZZ_DS:
	case MEZZ_FS:
	case MEZZ_GS:
		if (!s->unusable)
			s->type |= 1;
		break;
	default:
		break;
	}
}

void svm_set_segment(struct mezz_vcpu *v, unsigned int seg, const struct kvm_segment *s)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_seg *h = seg_of(v, seg);

	h->attrib = mezz_seg_pack(s);
	h->base = s->base;
	h->limit = s->limit;
	h->selector = s->selector;
	if (seg == MEZZ_SS)
		svm->vmcb->s.cpl = s->dpl & 3;
	svm_unclean(svm, SVM_CLEAN_SEG);
}

void svm_get_dt(struct mezz_vcpu *v, bool idt, struct kvm_dtable *dt)
{
	const struct svm_save *s = &to_svm(v)->vmcb->s;
	const struct svm_seg *h = idt ? &s->idtr : &s->gdtr;

	memset(dt, 0, sizeof(*dt));
	dt->base = h->base;
	dt->limit = h->limit;
}

void svm_set_dt(struct mezz_vcpu *v, bool idt, const struct kvm_dtable *dt)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_seg *h = idt ? &svm->vmcb->s.idtr : &svm->vmcb->s.gdtr;

	h->base = dt->base;
	h->limit = dt->limit;
	svm_unclean(svm, SVM_CLEAN_DT);
}

unsigned int svm_cpl(struct mezz_vcpu *v)
{
	return to_svm(v)->vmcb->s.cpl;
}

unsigned int svm_cs_mode(struct mezz_vcpu *v)
{
	u16 attrib = to_svm(v)->vmcb->s.cs.attrib;

	return (attrib & SVM_SEG_L ? 2 : 0) | (attrib & SVM_SEG_DB ? 1 : 0);
}

/* --- the instruction that exited --- */

unsigned int svm_insn_len(struct mezz_vcpu *v)
{
	const struct svm_vmcb *b = to_svm(v)->vmcb;
	u64 len;

	if (!svm_has.nrips)
		return 0;
	/* Zero, or left from long ago, for exits that have none. */
	len = b->c.next_rip - b->s.rip;
	return len <= 15 ? len : 0;
}

unsigned int svm_insn_bytes(struct mezz_vcpu *v, u8 *buf)
{
	const struct svm_control *c = &to_svm(v)->vmcb->c;
	unsigned int n;

	/* APM2, "Nested and intercepted #PF": bytes come with these alone. */
	if (!svm_has.decode_assists || (u32)c->exit_code != SVM_EXIT_NPF)
		return 0;
	n = min_t(unsigned int, c->insn_len & 0xf, sizeof(c->insn_bytes));
	memcpy(buf, c->insn_bytes, n);
	return n;
}

/* --- debug registers --- */

/* DR6 and DR7 are switched by hardware. */
void svm_own_dr(struct mezz_vcpu *v, bool own)
{
	struct svm_vcpu *svm = to_svm(v);

	svm->vmcb->c.intercept[SVM_I_DR_READ / 32] = own ? 0 : ~0u;
	svm_unclean(svm, SVM_CLEAN_INTERCEPTS);
}

void svm_update_debug(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	svm->vmcb->s.dr7 = mezz_hw_dr7(v);
	svm_unclean(svm, SVM_CLEAN_DR);
	if (v->guest_debug & KVM_GUESTDBG_SINGLESTEP)
		svm_step_on(svm, SVM_STEP_DEBUG);
	else
		svm_step_off(svm, SVM_STEP_DEBUG);
	svm_update_intercepts(svm);
}
