// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers for user space: general, system, debug, FPU, and KVM_CAP_SYNC_REGS.
 *
 * Setting them drops what was under way: a pending exception, and an instruction
 * half emulated whose RIP is no longer there. Bad values are refused before
 * anything has changed.
 *
 * The PDPTEs of KVM_SET_SREGS2 count where the hardware keeps them (Intel). AMD's
 * reads guest memory at every walk (APM 2, "Nested Paging and ... Legacy PAE Mode"):
 * there they are accepted, and memory decides.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/page.h>
#include <asm/fpu/types.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "../emulate/emulate.h"
#include "../host/host.h"
#include "../irq/irq.h"
#include "../mmu/mmu.h"
#include "internal.h"
#include "lazy.h"

/* --- general registers --- */

static void get_regs(struct mezz_vcpu *v, struct kvm_regs *regs)
{
	regs->rax = v->r[MEZZ_RAX];
	regs->rbx = v->r[MEZZ_RBX];
	regs->rcx = v->r[MEZZ_RCX];
	regs->rdx = v->r[MEZZ_RDX];
	regs->rsi = v->r[MEZZ_RSI];
	regs->rdi = v->r[MEZZ_RDI];
	regs->rbp = v->r[MEZZ_RBP];
	regs->r8 = v->r[MEZZ_R8];
	regs->r9 = v->r[MEZZ_R9];
	regs->r10 = v->r[MEZZ_R10];
	regs->r11 = v->r[MEZZ_R11];
	regs->r12 = v->r[MEZZ_R12];
	regs->r13 = v->r[MEZZ_R13];
	regs->r14 = v->r[MEZZ_R14];
	regs->r15 = v->r[MEZZ_R15];
	regs->rsp = mezz_get(v, MEZZ_RSP);
	regs->rip = mezz_get(v, MEZZ_RIP);
	regs->rflags = mezz_get(v, MEZZ_RFLAGS);
}

static void set_regs(struct mezz_vcpu *v, const struct kvm_regs *regs)
{
	mezz_set_gpr(v, MEZZ_RAX, regs->rax);
	mezz_set_gpr(v, MEZZ_RBX, regs->rbx);
	mezz_set_gpr(v, MEZZ_RCX, regs->rcx);
	mezz_set_gpr(v, MEZZ_RDX, regs->rdx);
	mezz_set_gpr(v, MEZZ_RSI, regs->rsi);
	mezz_set_gpr(v, MEZZ_RDI, regs->rdi);
	mezz_set_gpr(v, MEZZ_RBP, regs->rbp);
	mezz_set_gpr(v, MEZZ_R8, regs->r8);
	mezz_set_gpr(v, MEZZ_R9, regs->r9);
	mezz_set_gpr(v, MEZZ_R10, regs->r10);
	mezz_set_gpr(v, MEZZ_R11, regs->r11);
	mezz_set_gpr(v, MEZZ_R12, regs->r12);
	mezz_set_gpr(v, MEZZ_R13, regs->r13);
	mezz_set_gpr(v, MEZZ_R14, regs->r14);
	mezz_set_gpr(v, MEZZ_R15, regs->r15);
	mezz_set(v, MEZZ_RSP, regs->rsp);
	mezz_set(v, MEZZ_RIP, regs->rip);
	mezz_set(v, MEZZ_RFLAGS, regs->rflags | X86_EFLAGS_FIXED);
	v->ev.exc.pending = false;
	mezz_emul_forget(v);
	mezz_request(v, MEZZ_REQ_EVENT);
}

/* --- system registers --- */

/* struct kvm_sregs2 begins as struct kvm_sregs does, up to the bitmap. */
static_assert(offsetof(struct kvm_sregs, interrupt_bitmap) ==
	      offsetof(struct kvm_sregs2, flags));

static void get_sregs_common(struct mezz_vcpu *v, struct kvm_sregs *s)
{
	const struct mezz_engine *e = mezz_engine;

	e->get_segment(v, MEZZ_CS, &s->cs);
	e->get_segment(v, MEZZ_DS, &s->ds);
	e->get_segment(v, MEZZ_ES, &s->es);
	e->get_segment(v, MEZZ_FS, &s->fs);
	e->get_segment(v, MEZZ_GS, &s->gs);
	e->get_segment(v, MEZZ_SS, &s->ss);
	e->get_segment(v, MEZZ_TR, &s->tr);
	e->get_segment(v, MEZZ_LDTR, &s->ldt);
	e->get_dt(v, true, &s->idt);
	e->get_dt(v, false, &s->gdt);
	s->cr0 = mezz_get(v, MEZZ_CR0);
	s->cr2 = mezz_get(v, MEZZ_CR2);
	s->cr3 = mezz_get(v, MEZZ_CR3);
	s->cr4 = mezz_get(v, MEZZ_CR4);
	s->cr8 = mezz_get_cr8(v);
	s->efer = mezz_get(v, MEZZ_EFER);
	s->apic_base = v->apic_base;
}

static void get_sregs(struct mezz_vcpu *v, struct kvm_sregs *s)
{
	int irq = -1;

	memset(s, 0, sizeof(*s));
	get_sregs_common(v, s);
	if (v->ev.irq.injected && !v->ev.irq.soft)
		irq = v->ev.irq.nr;
	else if (v->ext_irq >= 0)
		irq = v->ext_irq;
	if (irq >= 0)
		s->interrupt_bitmap[irq / 64] |= BIT_ULL(irq % 64);
}

static bool pae_paging(u64 cr0, u64 cr4, u64 efer)
{
	return (cr0 & X86_CR0_PG) && (cr4 & X86_CR4_PAE) && !(efer & EFER_LMA);
}

static void get_sregs2(struct mezz_vcpu *v, struct kvm_sregs2 *s)
{
	int idx;

	memset(s, 0, sizeof(*s));
	get_sregs_common(v, (struct kvm_sregs *)s);
	if (!pae_paging(s->cr0, s->cr4, s->efer))
		return;
	if (mezz_engine->get_pdptes && mezz_engine->get_pdptes(v, s->pdptrs)) {
		s->flags |= KVM_SREGS2_FLAGS_PDPTRS_VALID;
		return;
	}
	idx = mezz_read_lock(v->vm);
	/* SDM 3, "PAE Paging": a 32-byte table at CR3. */
	if (!mezz_guest_read(v, s->cr3 & GENMASK_ULL(31, 5), s->pdptrs, sizeof(s->pdptrs)))
		s->flags |= KVM_SREGS2_FLAGS_PDPTRS_VALID;
	mezz_read_unlock(v->vm, idx);
}

static bool sregs_valid(struct mezz_vcpu *v, const struct kvm_sregs *s)
{
	if ((s->efer & EFER_LME) && (s->cr0 & X86_CR0_PG)) {
		/* SDM 3, "Initializing IA-32e Mode" */
		if (!(s->cr4 & X86_CR4_PAE) || !(s->efer & EFER_LMA))
			return false;
		if (mezz_bad_gpa(v, s->cr3))
			return false;
	} else if ((s->efer & EFER_LMA) || s->cs.l) {
		return false;
	}
	return mezz_cr0_valid(s->cr0) && mezz_cr4_valid(v, s->cr4) && mezz_efer_exists(s->efer);
}

/* @pdpte: NULL: as memory has them */
static int set_sregs_common(struct mezz_vcpu *v, const struct kvm_sregs *s, const u64 *pdpte)
{
	const struct mezz_engine *e = mezz_engine;

	if (!sregs_valid(v, s))
		return -EINVAL;
	if (mezz_lapic_set_base(v, s->apic_base, true))
		return -EINVAL;
	e->set_dt(v, true, &s->idt);
	e->set_dt(v, false, &s->gdt);
	mezz_set(v, MEZZ_CR2, s->cr2);
	mezz_set(v, MEZZ_CR3, s->cr3);
	mezz_set_cr8(v, s->cr8);
	mezz_set(v, MEZZ_EFER, s->efer);
	mezz_set(v, MEZZ_CR0, s->cr0 | X86_CR0_ET);
	mezz_set(v, MEZZ_CR4, s->cr4);
	if (e->set_pdptes)
		e->set_pdptes(v, pdpte);
	mezz_cpuid_refresh(v);
	/* The engine may look at the mode: after the control registers. */
	e->set_segment(v, MEZZ_CS, &s->cs);
	e->set_segment(v, MEZZ_DS, &s->ds);
	e->set_segment(v, MEZZ_ES, &s->es);
	e->set_segment(v, MEZZ_FS, &s->fs);
	e->set_segment(v, MEZZ_GS, &s->gs);
	e->set_segment(v, MEZZ_SS, &s->ss);
	e->set_segment(v, MEZZ_TR, &s->tr);
	e->set_segment(v, MEZZ_LDTR, &s->ldt);
	mezz_emul_forget(v);
	mezz_request(v, MEZZ_REQ_TLB_FLUSH);
	mezz_request(v, MEZZ_REQ_EVENT);
	/* Old clients reset the boot CPU without waking it. */
	if (v->id == v->vm->bsp_id && mezz_get(v, MEZZ_RIP) == 0xfff0 &&
	    s->cs.selector == 0xf000 && s->cs.base == 0xffff0000 && !(s->cr0 & X86_CR0_PE))
		v->mp.mp_state = KVM_MP_STATE_RUNNABLE;
	return 0;
}

static int set_sregs(struct mezz_vcpu *v, const struct kvm_sregs *s)
{
	unsigned int i;
	int r = set_sregs_common(v, s, NULL);

	if (r)
		return r;
	for (i = 0; i < ARRAY_SIZE(s->interrupt_bitmap); i++) {
		if (!s->interrupt_bitmap[i])
			continue;
		v->ev.irq.injected = true;
		v->ev.irq.soft = false;
		v->ev.irq.nr = i * 64 + __ffs64(s->interrupt_bitmap[i]);
		v->ext_irq = -1;
		break;
	}
	return 0;
}

static int set_sregs2(struct mezz_vcpu *v, const struct kvm_sregs2 *s)
{
	bool pdptes = s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;

	if (s->flags & ~(u64)KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return -EINVAL;
	if (pdptes && !pae_paging(s->cr0, s->cr4, s->efer))
		return -EINVAL;
	return set_sregs_common(v, (const struct kvm_sregs *)s, pdptes ? s->pdptrs : NULL);
}

/* --- KVM_CAP_SYNC_REGS --- */

void mezz_store_sync_regs(struct mezz_vcpu *v)
{
	struct kvm_run *run = v->run;
	u64 which = READ_ONCE(run->kvm_valid_regs);

	if (which & KVM_SYNC_X86_REGS)
		get_regs(v, &run->s.regs.regs);
	if (which & KVM_SYNC_X86_SREGS)
		get_sregs(v, &run->s.regs.sregs);
	if (which & KVM_SYNC_X86_EVENTS)
		mezz_get_events(v, &run->s.regs.events);
}

/* User space can write kvm_run at any moment: check and use one copy. */
int mezz_load_sync_regs(struct mezz_vcpu *v)
{
	struct kvm_run *run = v->run;
	u64 which = READ_ONCE(run->kvm_dirty_regs);
	union {
		struct kvm_regs regs;
		struct kvm_sregs sregs;
		struct kvm_vcpu_events events;
	} copy;

	if (which & KVM_SYNC_X86_REGS) {
		memcpy(&copy.regs, &run->s.regs.regs, sizeof(copy.regs));
		set_regs(v, &copy.regs);
		run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_REGS;
	}
	if (which & KVM_SYNC_X86_SREGS) {
		memcpy(&copy.sregs, &run->s.regs.sregs, sizeof(copy.sregs));
		if (set_sregs(v, &copy.sregs))
			return -EINVAL;
		run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_SREGS;
	}
	if (which & KVM_SYNC_X86_EVENTS) {
		memcpy(&copy.events, &run->s.regs.events, sizeof(copy.events));
		if (mezz_set_events(v, &copy.events))
			return -EINVAL;
		run->kvm_dirty_regs &= ~(u64)KVM_SYNC_X86_EVENTS;
	}
	return 0;
}

/* --- FPU --- */

/* Layout of FXSAVE: SDM 1, "FXSAVE Area". */
struct fxregs {
	u16 fcw, fsw;
	u8 ftw, reserved;
	u16 fop;
	u64 rip, rdp;
	u32 mxcsr, mxcsr_mask;
	u8 st[8][16];
	u8 xmm[16][16];
	u8 rest[96];
} __aligned(16);
static_assert(sizeof(struct fxregs) == 512);

static void get_fpu(struct mezz_vcpu *v, struct kvm_fpu *fpu)
{
	struct fxregs fx;

	mezz_fpu_get_fxregs(v, &fx);
	memset(fpu, 0, sizeof(*fpu));
	memcpy(fpu->fpr, fx.st, sizeof(fpu->fpr));
	fpu->fcw = fx.fcw;
	fpu->fsw = fx.fsw;
	fpu->ftwx = fx.ftw;
	fpu->last_opcode = fx.fop;
	fpu->last_ip = fx.rip;
	fpu->last_dp = fx.rdp;
	memcpy(fpu->xmm, fx.xmm, sizeof(fpu->xmm));
	fpu->mxcsr = fx.mxcsr;
}

/* MXCSR is not set: in-tree KVM never did, and clients leave it 0. */
static void set_fpu(struct mezz_vcpu *v, const struct kvm_fpu *fpu)
{
	struct fxregs fx;

	mezz_fpu_get_fxregs(v, &fx);
	memcpy(fx.st, fpu->fpr, sizeof(fx.st));
	fx.fcw = fpu->fcw;
	fx.fsw = fpu->fsw;
	fx.ftw = fpu->ftwx;
	fx.fop = fpu->last_opcode;
	fx.rip = fpu->last_ip;
	fx.rdp = fpu->last_dp;
	memcpy(fx.xmm, fpu->xmm, sizeof(fx.xmm));
	mezz_fpu_set_fxregs(v, &fx);
}

static long get_xsave(struct mezz_vcpu *v, void __user *argp, unsigned int size)
{
	void *buf = kzalloc(size, GFP_KERNEL);
	long r;

	if (!buf)
		return -ENOMEM;
	r = mezz_fpu_get_xsave(v, buf, size);
	if (!r && copy_to_user(argp, buf, size))
		r = -EFAULT;
	kfree(buf);
	return r;
}

static long set_xsave(struct mezz_vcpu *v, const void __user *argp)
{
	unsigned int size = mezz_fpu_xsave_size();
	void *buf = memdup_user(argp, size);
	long r;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	r = mezz_fpu_set_xsave(v, buf, size);
	kfree(buf);
	return r;
}

static void get_xcrs(struct mezz_vcpu *v, struct kvm_xcrs *x)
{
	memset(x, 0, sizeof(*x));
	if (!mezz_host.xcr0)
		return;
	x->nr_xcrs = 1;
	x->xcrs[0].value = v->xcr0;
}

static long set_xcrs(struct mezz_vcpu *v, const struct kvm_xcrs *x)
{
	unsigned int i;

	if (!mezz_host.xcr0 || x->nr_xcrs > KVM_MAX_XCRS || x->flags)
		return -EINVAL;
	for (i = 0; i < x->nr_xcrs; i++)
		if (!x->xcrs[i].xcr)
			return mezz_set_xcr0(v, x->xcrs[i].value) ? -EINVAL : 0;
	return 0;
}

/* --- segments --- */

u16 mezz_seg_pack(const struct kvm_segment *s)
{
	return (s->type & 15) | (s->s ? BIT(4) : 0) | (s->dpl & 3) << 5 |
	       (s->present && !s->unusable ? BIT(7) : 0) | (s->avl ? BIT(8) : 0) |
	       (s->l ? BIT(9) : 0) | (s->db ? BIT(10) : 0) | (s->g ? BIT(11) : 0);
}

void mezz_seg_unpack(u16 attrib, struct kvm_segment *s)
{
	*s = (struct kvm_segment){
		.type = attrib & 15,
		.s = attrib >> 4 & 1,
		.dpl = attrib >> 5 & 3,
		.present = attrib >> 7 & 1,
		.avl = attrib >> 8 & 1,
		.l = attrib >> 9 & 1,
		.db = attrib >> 10 & 1,
		.g = attrib >> 11 & 1,
		.unusable = !(attrib >> 7 & 1),
	};
}

/* --- debug registers --- */

static void get_debugregs(struct mezz_vcpu *v, struct kvm_debugregs *d)
{
	memset(d, 0, sizeof(*d));
	memcpy(d->db, v->dr, sizeof(d->db));
	d->dr6 = mezz_get(v, MEZZ_DR6);
	d->dr7 = mezz_get(v, MEZZ_DR7);
}

static long set_debugregs(struct mezz_vcpu *v, const struct kvm_debugregs *d)
{
	if (d->flags || d->dr6 >> 32 || d->dr7 >> 32)
		return -EINVAL;
	memcpy(v->dr, d->db, sizeof(v->dr));
	mezz_set(v, MEZZ_DR6, d->dr6);
	mezz_set(v, MEZZ_DR7, d->dr7);
	mezz_update_debug(v);
	return 0;
}

/* --- ioctls --- */

/* Everything that is a fixed-size structure. */
union state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_sregs2 sregs2;
	struct kvm_fpu fpu;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
};

static long get_state(struct mezz_vcpu *v, unsigned int cmd, void __user *argp)
{
	union state s = {};
	long r = 0;

	switch (cmd) {
	case KVM_GET_REGS:
		get_regs(v, &s.regs);
		break;
	case KVM_GET_SREGS:
		get_sregs(v, &s.sregs);
		break;
	case KVM_GET_SREGS2:
		get_sregs2(v, &s.sregs2);
		break;
	case KVM_GET_FPU:
		get_fpu(v, &s.fpu);
		break;
	case KVM_GET_XCRS:
		get_xcrs(v, &s.xcrs);
		break;
	case KVM_GET_DEBUGREGS:
		get_debugregs(v, &s.debugregs);
		break;
	case KVM_GET_VCPU_EVENTS:
		r = mezz_get_events(v, &s.events);
		break;
	}
	if (!r && copy_to_user(argp, &s, _IOC_SIZE(cmd)))
		r = -EFAULT;
	return r;
}

static long set_state(struct mezz_vcpu *v, unsigned int cmd, const void __user *argp)
{
	union state s;

	if (copy_from_user(&s, argp, _IOC_SIZE(cmd)))
		return -EFAULT;
	switch (cmd) {
	case KVM_SET_REGS:
		set_regs(v, &s.regs);
		return 0;
	case KVM_SET_SREGS:
		return set_sregs(v, &s.sregs);
	case KVM_SET_SREGS2:
		return set_sregs2(v, &s.sregs2);
	case KVM_SET_FPU:
		set_fpu(v, &s.fpu);
		return 0;
	case KVM_SET_XCRS:
		return set_xcrs(v, &s.xcrs);
	case KVM_SET_DEBUGREGS:
		return set_debugregs(v, &s.debugregs);
	default:
		return mezz_set_events(v, &s.events);
	}
}

long mezz_regs_ioctl(struct mezz_vcpu *v, unsigned int cmd, void __user *argp)
{
	switch (cmd) {
	case KVM_GET_REGS:
	case KVM_GET_SREGS:
	case KVM_GET_SREGS2:
	case KVM_GET_FPU:
	case KVM_GET_XCRS:
	case KVM_GET_DEBUGREGS:
	case KVM_GET_VCPU_EVENTS:
		return get_state(v, cmd, argp);
	case KVM_SET_REGS:
	case KVM_SET_SREGS:
	case KVM_SET_SREGS2:
	case KVM_SET_FPU:
	case KVM_SET_XCRS:
	case KVM_SET_DEBUGREGS:
	case KVM_SET_VCPU_EVENTS:
		return set_state(v, cmd, argp);
	case KVM_GET_XSAVE:
		return get_xsave(v, argp, sizeof(struct kvm_xsave));
	case KVM_GET_XSAVE2:
		return get_xsave(v, argp, mezz_fpu_xsave_size());
	case KVM_SET_XSAVE:
		return set_xsave(v, argp);
	default:
		return -ENOIOCTLCMD;
	}
}
