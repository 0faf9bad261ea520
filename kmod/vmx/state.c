// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest state in the control structure: registers that are not in r[], segments,
 * descriptor tables, debug registers.
 *
 * What the guest sees and what the control structure holds differ in:
 *   CR0.CD, NW	never set in hardware, where VM entries would not load them
 *   CR0.NE	always set in hardware (IA32_VMX_CR0_FIXED0)
 *   CR4.VMXE	always set in hardware, never seen
 *   CR4.MCE	as the host has it, or a machine check would be a shutdown
 *   DR7	a debugger's while it has breakpoints (dr7_taken)
 *   RFLAGS.TF	a debugger's single step (step_tf)
 * Bits of CR0 and CR4 that are the guest's own it changes without an exit; of the
 * others it sees what it wrote last (SDM 3, "Guest/Host Masks and Read Shadows").
 *
 * PAE paging: entries load the four page-directory pointers from the control
 * structure, so they are read from guest memory when a control register was set
 * by software, or are user space's. One with reserved bits is taken for an absent
 * one.
 *
 * Locking: the vCPU mutex.
 */
#include <linux/percpu.h>
#include <linux/string.h>
#include <asm/debugreg.h>
#include <asm/msr-index.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>
#include <asm/tlbflush.h>

#include "../cpu/cpu.h"
#include "../mmu/mmu.h"
#include "vmx.h"

#define CR0_CDNW	((u64)(X86_CR0_CD | X86_CR0_NW))
#define CRS		(BIT(MEZZ_CR0) | BIT(MEZZ_CR3) | BIT(MEZZ_CR4) | BIT(MEZZ_EFER))

/* --- registers --- */

static void fetch_other(struct vmx_vcpu *vmx, unsigned int what)
{
	struct mezz_vcpu *v = &vmx->v;
	u64 val = v->r[what];

	switch (what) {
	case MEZZ_RSP:
		val = vmx_read(vmx, VMCS_GUEST_RSP);
		break;
	case MEZZ_CR0:
		val = vmx_read(vmx, VMCS_GUEST_CR0) & CR0_OWNED;
		val |= vmx->cr0_shadow & ~CR0_OWNED;
		break;
	case MEZZ_CR3:
		val = vmx->flat ? vmx->flat_cr3 : vmx_read(vmx, VMCS_GUEST_CR3);
		break;
	case MEZZ_CR4:
		val = vmx_read(vmx, VMCS_GUEST_CR4) & vmx->cr4_owned;
		val |= vmx->cr4_shadow & ~vmx->cr4_owned;
		break;
	case MEZZ_DR6:
		get_debugreg(val, 6);	/* live, or r[] would have it */
		break;
	case MEZZ_DR7:
		val = v->lazy.dr7_taken ? v->lazy.guest_dr7 : vmx_read(vmx, VMCS_GUEST_DR7);
		break;
	default:
		break;		/* r[] has all the others, always */
	}
	v->r[what] = val;
	v->avail |= 1u << what;
}

/* Nearly every exit wants these two. */
void vmx_fetch(struct mezz_vcpu *v, unsigned int what)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (what == MEZZ_RIP) {
		v->r[MEZZ_RIP] = vmx_read(vmx, VMCS_GUEST_RIP);
		v->avail |= BIT(MEZZ_RIP);
	} else if (what == MEZZ_RFLAGS) {
		v->r[MEZZ_RFLAGS] = vmx_read(vmx, VMCS_GUEST_RFLAGS) &
				    ~(vmx->step_tf ? (u64)X86_EFLAGS_TF : 0);
		v->avail |= BIT(MEZZ_RFLAGS);
	} else {
		fetch_other(vmx, what);
	}
}

bool vmx_pae_paging(struct mezz_vcpu *v)
{
	return mezz_paging(v) && (mezz_get(v, MEZZ_CR4) & X86_CR4_PAE) && !mezz_long_mode(v);
}

void vmx_set_pdptes(struct mezz_vcpu *v, const u64 *pdpte)
{
	u64 reserved = 0x1e6 | GENMASK_ULL(63, mezz_guest_maxphyaddr(v));
	struct vmx_vcpu *vmx = to_vmx(v);
	unsigned int i;

	vmx->pdpte_ready = pdpte;
	if (!pdpte)
		return;
	for (i = 0; i < ARRAY_SIZE(vmx->pdpte); i++)
		vmx->pdpte[i] = pdpte[i] & reserved ? 0 : pdpte[i];
}

bool vmx_get_pdptes(struct mezz_vcpu *v, u64 *pdpte)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	unsigned int i;

	if (!vmx->pdpte_ready && (v->dirty & CRS))
		return false;
	for (i = 0; i < ARRAY_SIZE(vmx->pdpte); i++)
		pdpte[i] = vmx->pdpte_ready ? vmx->pdpte[i] :
			   vmx_read(vmx, VMCS_GUEST_PDPTE0 + 2 * i);
	return true;
}

/* 0, or -EAGAIN: not with IRQs off */
int vmx_read_pdptes(struct mezz_vcpu *v)
{
	u64 pdpte[4];
	int r;

	r = mezz_guest_read(v, mezz_get(v, MEZZ_CR3) & 0xffffffe0u, pdpte, sizeof(pdpte));
	if (r == -EAGAIN)
		return r;
	if (r)
		memset(pdpte, 0, sizeof(pdpte));
	vmx_set_pdptes(v, pdpte);
	return 0;
}

static bool flush_pdptes(struct vmx_vcpu *vmx)
{
	unsigned int i;

	if (!vmx->pdpte_ready && vmx_read_pdptes(&vmx->v))
		return false;
	vmx->pdpte_ready = false;
	for (i = 0; i < ARRAY_SIZE(vmx->pdpte); i++)
		vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, vmx->pdpte[i]);
	return true;
}

static void flush_cr(struct vmx_vcpu *vmx, u32 dirty)
{
	const u64 *r = vmx->v.r;
	u64 val;

	if (unlikely(vmx_has.limited) && (dirty & BIT(MEZZ_CR0)))
		dirty |= vmx_flush_flat(vmx);
	if (dirty & BIT(MEZZ_CR0)) {
		vmx->cr0_shadow = r[MEZZ_CR0];
		vmwrite(VMCS_CR0_SHADOW, r[MEZZ_CR0]);
		vmwrite(VMCS_GUEST_CR0, (r[MEZZ_CR0] & ~CR0_CDNW) | vmx_has.cr0_fixed);
	}
	if (dirty & BIT(MEZZ_CR3))
		vmwrite(VMCS_GUEST_CR3,
			vmx->flat ? vmx_flat_cr3(vmx, r[MEZZ_CR3]) : r[MEZZ_CR3]);
	if (dirty & BIT(MEZZ_CR4)) {
		vmx->cr4_shadow = r[MEZZ_CR4];
		vmwrite(VMCS_CR4_SHADOW, r[MEZZ_CR4]);
		val = r[MEZZ_CR4] | vmx_has.cr4_fixed | (__read_cr4() & X86_CR4_MCE);
		vmwrite(VMCS_GUEST_CR4, vmx->flat ? vmx_flat_cr4(val) : val);
	}
	if (dirty & BIT(MEZZ_EFER)) {
		u32 entry = vmx_has.entry;

		if (r[MEZZ_EFER] & EFER_LMA)
			entry |= ENTRY_IA32E;
		if (entry != vmx->entry) {
			vmx->entry = entry;
			vmwrite(VMCS_ENTRY_CTL, entry);
		}
		/* With CR0.PG set LME must be what LMA is. */
		vmwrite(VMCS_GUEST_EFER,
			vmx->flat ? r[MEZZ_EFER] & ~(u64)EFER_LME : r[MEZZ_EFER]);
		if ((entry & ENTRY_IA32E) && !vmx->syscall_live)
			vmx_load_syscall(vmx);
	}
}

static void flush_dr(struct mezz_vcpu *v, u32 dirty)
{
	if ((dirty & BIT(MEZZ_DR6)) && v->lazy.dr_live && !v->lazy.dr7_taken)
		set_debugreg(v->r[MEZZ_DR6], 6);
	if (dirty & BIT(MEZZ_DR7)) {
		if (v->lazy.dr7_taken)
			v->lazy.guest_dr7 = v->r[MEZZ_DR7];
		else
			vmwrite(VMCS_GUEST_DR7, v->r[MEZZ_DR7]);
		if (!v->lazy.dr_live && (mezz_hw_dr7(v) & MEZZ_DR7_ENABLES))
			mezz_dr_load(v);
	}
}

bool vmx_flush(struct vmx_vcpu *vmx)
{
	u32 dirty = vmx->v.dirty;

	if (dirty & CRS) {
		if (unlikely(vmx_has.limited) && !vmx_runnable(&vmx->v))
			return false;
		if (unlikely(vmx_pae_paging(&vmx->v)) && !flush_pdptes(vmx))
			return false;
		flush_cr(vmx, dirty);
	}
	if (dirty & BIT(MEZZ_RSP))
		vmwrite(VMCS_GUEST_RSP, vmx->v.r[MEZZ_RSP]);
	if (dirty & BIT(MEZZ_RFLAGS)) {
		vmwrite(VMCS_GUEST_RFLAGS, vmx->v.r[MEZZ_RFLAGS]);
		vmx->step_tf = false;
	}
	if (dirty & (BIT(MEZZ_DR6) | BIT(MEZZ_DR7)))
		flush_dr(&vmx->v, dirty);
	vmx_wake(vmx);
	return true;
}

/* --- segments --- */

static u32 seg_ar(struct vmx_vcpu *vmx, unsigned int seg)
{
	return vmx_read(vmx, VMCS_GUEST_AR + 2 * seg);
}

static u32 cs_ar(struct vmx_vcpu *vmx)
{
	if (!(vmx->have & VMX_HAVE_CS_AR)) {
		vmx->cs_ar = seg_ar(vmx, MEZZ_CS);
		vmx->have |= VMX_HAVE_CS_AR;
	}
	return vmx->cs_ar;
}

static u32 ss_ar(struct vmx_vcpu *vmx)
{
	if (!(vmx->have & VMX_HAVE_SS_AR)) {
		vmx->ss_ar = seg_ar(vmx, MEZZ_SS);
		vmx->have |= VMX_HAVE_SS_AR;
	}
	return vmx->ss_ar;
}

void vmx_get_segment(struct mezz_vcpu *v, unsigned int seg, struct kvm_segment *s)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 ar = seg == MEZZ_CS ? cs_ar(vmx) : seg == MEZZ_SS ? ss_ar(vmx) : seg_ar(vmx, seg);

	mezz_seg_unpack((ar & 0xff) | (ar >> 4 & 0xf00), s);
	s->base = vmx_read(vmx, VMCS_GUEST_BASE + 2 * seg);
	s->limit = vmx_read(vmx, VMCS_GUEST_LIMIT + 2 * seg);
	s->selector = vmx_read(vmx, VMCS_GUEST_SEL + 2 * seg);
	s->unusable = !!(ar & SEG_AR_UNUSABLE);
	s->present = !s->unusable;
}

/*
 * What SDM 3, "Checks on Guest Segment Registers", insists on and the ABI does not
 * is mended: accessed and busy bits, G that fits the limit, a usable TR.
 */
void vmx_set_segment(struct mezz_vcpu *v, unsigned int seg, const struct kvm_segment *s)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	struct kvm_segment fit = *s;
	u32 ar;

	if (seg == MEZZ_TR) {
		fit.type |= 3;
		fit.s = 0;
		fit.present = 1;
		fit.unusable = 0;
	} else if (seg != MEZZ_LDTR && s->present && !s->unusable) {
		fit.type |= 1;
	}
	/* Selectors of real mode, still there in protected mode. */
	if (vmx_has.limited && seg != MEZZ_CS && seg != MEZZ_SS && s->type < 12)
		fit.dpl = max_t(u32, s->dpl & 3, s->selector & 3);
	if (s->limit >> 20)
		fit.limit |= 0xfff;
	fit.g = s->limit >> 20 || (s->g && (s->limit & 0xfff) == 0xfff);
	ar = mezz_seg_pack(&fit);
	ar = (ar & 0xff) | (ar & 0xf00) << 4;
	if (!(ar & SEG_AR_P))
		ar |= SEG_AR_UNUSABLE;
	vmx_write(vmx, VMCS_GUEST_AR + 2 * seg, ar);
	vmx_write(vmx, VMCS_GUEST_BASE + 2 * seg, s->base);
	vmx_write(vmx, VMCS_GUEST_LIMIT + 2 * seg, fit.limit);
	vmx_write(vmx, VMCS_GUEST_SEL + 2 * seg, s->selector);
	vmx->have &= ~(VMX_HAVE_CS_AR | VMX_HAVE_SS_AR);
}

void vmx_get_dt(struct mezz_vcpu *v, bool idt, struct kvm_dtable *dt)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	memset(dt, 0, sizeof(*dt));
	dt->base = vmx_read(vmx, idt ? VMCS_GUEST_IDT_BASE : VMCS_GUEST_GDT_BASE);
	dt->limit = vmx_read(vmx, idt ? VMCS_GUEST_IDT_LIMIT : VMCS_GUEST_GDT_LIMIT);
}

void vmx_set_dt(struct mezz_vcpu *v, bool idt, const struct kvm_dtable *dt)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmx_write(vmx, idt ? VMCS_GUEST_IDT_BASE : VMCS_GUEST_GDT_BASE, dt->base);
	vmx_write(vmx, idt ? VMCS_GUEST_IDT_LIMIT : VMCS_GUEST_GDT_LIMIT, dt->limit);
}

/* SS.DPL is the CPL in every mode (SDM 3, "Guest Register State"). */
unsigned int vmx_cpl(struct mezz_vcpu *v)
{
	return ss_ar(to_vmx(v)) >> SEG_AR_DPL_SHIFT & 3;
}

unsigned int vmx_cs_mode(struct mezz_vcpu *v)
{
	u32 ar = cs_ar(to_vmx(v));

	return (ar & SEG_AR_L ? 2 : 0) | (ar & SEG_AR_DB ? 1 : 0);
}

/* --- the instruction that exited --- */

unsigned int vmx_insn_len(struct mezz_vcpu *v)
{
	if (unlikely(to_vmx(v)->software))
		return 0;
	return vmx_read(to_vmx(v), VMCS_EXIT_INSN_LEN) & 0xf;
}

unsigned int vmx_insn_bytes(struct mezz_vcpu *v, u8 *buf)
{
	return 0;
}

/* --- debug registers --- */

/* DR7 is switched by hardware, DR6 is not. */
void vmx_own_dr(struct mezz_vcpu *v, bool own)
{
	if (own)
		set_debugreg(v->r[MEZZ_DR6], 6);
	vmx_set_exec(to_vmx(v), EXEC_MOV_DR, !own);
}

void vmx_update_debug(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmx_write(vmx, VMCS_GUEST_DR7, mezz_hw_dr7(v));
	if (v->guest_debug & KVM_GUESTDBG_SINGLESTEP) {
		vmx->pre |= VMX_PRE_STEP;
	} else {
		vmx->pre &= ~VMX_PRE_STEP;
		if (vmx->step_tf)
			mezz_set(v, MEZZ_RFLAGS, mezz_get(v, MEZZ_RFLAGS));
	}
	vmx_update_controls(vmx);
}
