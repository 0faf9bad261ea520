// SPDX-License-Identifier: GPL-2.0-only
/*
 * One world switch (vmx_enter), and what is switched once per section: the MSRs
 * of SYSCALL, KERNEL_GS_BASE, and by the core's cpu/lazy.c the rest.
 *
 * Every instruction of vmx_enter() is paid on every exit. It reads the exit
 * reason and nothing else of the control structure; registers, segments and
 * qualifications are read when somebody asks. It writes RIP, and the host's CR3
 * and CR4 if they changed. Everything else waits behind one test: dirty registers
 * (vmx_flush), work before the entry (vmx->pre), interrupted deliveries.
 *
 * What an exit does to the host beside loading what the control structure says (SDM 3,
 * "Loading Host State") is mended when the section ends: segmentation
 * (host/segments.h), DR7, which becomes 400h, and DEBUGCTL, which becomes 0.
 *
 * The MSR lists of entries and exits stay empty: hardware would walk them at each
 * switch for what a section pays once, and nothing that guests have (no PMU) must
 * change in the same instant as the guest begins.
 *
 * The preemption timer ends what does not exit by itself. An interrupt of the host
 * does so too, but Bochs (2.7) decides whether it will before it knows that it is in
 * a guest, and so by the guest's IF. It starts anew at each entry and costs no
 * instruction, unless the guest's own timer is due earlier: that one is written with
 * each entry (SDM 3, "VMX-Preemption Timer").
 *
 * Known hack: SPEC_CTRL is written in C around vmx_switch(). The one RET in
 * between is covered by what enter.S does to return predictions.
 */
#include <asm/barrier.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/special_insns.h>
#include <asm/tlbflush.h>

#include "../cpu/cpu.h"
#include "../irq/irq.h"
#include "vmx.h"

/* What r[] holds after every exit; DR6 and DR7 too while accesses to them exit. */
#define AVAIL_AFTER_EXIT	((MEZZ_ALL_GPRS & ~BIT(MEZZ_RSP)) | BIT(MEZZ_CR2) |	\
				 BIT(MEZZ_EFER))
#define AVAIL_DR		(BIT(MEZZ_DR6) | BIT(MEZZ_DR7))

/* Registers that vmx_flush() writes; the others are written here. */
#define FLUSHED			(BIT(MEZZ_RSP) | BIT(MEZZ_RFLAGS) | BIT(MEZZ_CR0) |	\
				 BIT(MEZZ_CR3) | BIT(MEZZ_CR4) | BIT(MEZZ_EFER) | AVAIL_DR)

/* Exits that may come in the middle of a delivery, or of IRET. */
#define MAY_INTERRUPT		(BIT_ULL(VMX_EXCEPTION) | BIT_ULL(VMX_TASK_SWITCH) |	\
				 BIT_ULL(VMX_EPT_VIOLATION) | BIT_ULL(VMX_EPT_MISCONFIG) |	\
				 BIT_ULL(VMX_PML_FULL))

/* --- section begin and end --- */

/* The kernel's own accessors are calls with a trace point each; every KVM_RUN has ten. */
static __always_inline void change_msr(u32 msr, u64 from, u64 to)
{
	if (from != to)
		native_wrmsrl(msr, to);
}

static __always_inline void change_syscall(const u64 *from, const u64 *to)
{
	change_msr(MSR_STAR, from[VMX_STAR], to[VMX_STAR]);
	change_msr(MSR_LSTAR, from[VMX_LSTAR], to[VMX_LSTAR]);
	change_msr(MSR_SYSCALL_MASK, from[VMX_SFMASK], to[VMX_SFMASK]);
}

void vmx_load_syscall(struct vmx_vcpu *vmx)
{
	change_syscall(this_cpu_ptr(&vmx_cpu)->syscall, vmx->syscall);
	vmx->syscall_live = true;
}

void vmx_unload_syscall(struct vmx_vcpu *vmx)
{
	change_syscall(vmx->syscall, this_cpu_ptr(&vmx_cpu)->syscall);
	vmx->syscall_live = false;
}

/* A host selector must have neither RPL nor TI (SDM 3, "Checks on Host Segment..."). */
static u16 host_sel(u16 sel)
{
	return sel & 7 ? 0 : sel;
}

static void save_host_segments(struct vmx_vcpu *vmx)
{
	u64 sel = vmx->host_segs.all, base = vmx->host_segs.fs_base;

	mezz_host_get_segs(&vmx->host_segs);
	if (unlikely(sel != vmx->host_segs.all)) {
		vmwrite(VMCS_HOST_DS_SEL, host_sel(vmx->host_segs.ds));
		vmwrite(VMCS_HOST_ES_SEL, host_sel(vmx->host_segs.es));
		vmwrite(VMCS_HOST_FS_SEL, host_sel(vmx->host_segs.fs));
		vmwrite(VMCS_HOST_GS_SEL, host_sel(vmx->host_segs.gs));
	}
	if (base != vmx->host_segs.fs_base)
		vmwrite(VMCS_HOST_FS_BASE, vmx->host_segs.fs_base);
}

void vmx_load(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	struct vmx_cpu *cpu = this_cpu_ptr(&vmx_cpu);

	vmx_make_current(vmx, cpu);
	if (unlikely(vmx->flush)) {
		vmx->flush = false;
		vmx_flush_memory(v);
	}
	if (vmx_has.l1d_flush)
		vmx->pre |= VMX_PRE_L1D;
	save_host_segments(vmx);
	vmx->host_debugctl = __rdmsr(MSR_IA32_DEBUGCTLMSR);
	vmx->host_kernel_gs_base = __rdmsr(MSR_KERNEL_GS_BASE);
	change_msr(MSR_KERNEL_GS_BASE, vmx->host_kernel_gs_base, vmx->kernel_gs_base);
	/* SYSCALL is for 64-bit mode only. */
	if (v->r[MEZZ_EFER] & EFER_LMA)
		vmx_load_syscall(vmx);
	mezz_lazy_load(v);
}

void vmx_unload(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (unlikely(vmx->injected))
		vmx_cancel_injection(v);
	if (unlikely(vmx->logs))
		vmx_empty_log(vmx);
	/* What every exit to user space, or its completion, asks for is dear outside. */
	mezz_get(v, MEZZ_RFLAGS);
	if (!(vmx->have & VMX_HAVE_INTR_STATE))
		vmx_get_shadow(v);
	mezz_lazy_unload(v);
	if (vmx->syscall_live)
		vmx_unload_syscall(vmx);
	vmx->kernel_gs_base = __rdmsr(MSR_KERNEL_GS_BASE);
	mezz_host_put_segs(&vmx->host_segs, &this_cpu_ptr(&vmx_cpu)->tables);
	native_wrmsrl(MSR_KERNEL_GS_BASE, vmx->host_kernel_gs_base);
	if (unlikely(vmx->host_debugctl))
		wrmsrl(MSR_IA32_DEBUGCTLMSR, vmx->host_debugctl);
}

/* --- the guest's timer --- */

bool vmx_set_timer(struct mezz_vcpu *v, u64 tsc)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (!(vmx_has.pin & PIN_TIMER))
		return false;
	vmx->timer_tsc = tsc;
	if (!tsc)
		vmx_write(vmx, VMCS_GUEST_TIMER, vmx_has.timer);
	return true;
}

/* The first count may come at once: one more, so that it is never early. */
static void start_timer(struct vmx_vcpu *vmx)
{
	s64 left = vmx->timer_tsc - rdtsc();
	u64 count = left <= 0 ? 0 : (left >> vmx_has.timer_shift) + 2;

	vmwrite(VMCS_GUEST_TIMER, min_t(u64, count, vmx_has.timer));
}

/* --- entry and exit --- */

/* The guest wrote CR8, which does not exit. Of an APIC in hardware the core knows. */
static void sync_tpr(struct vmx_vcpu *vmx)
{
	vmx->tpr = vmx->vapic[VAPIC_TPR] >> 4;
	if (!vmx->apic)
		mezz_lapic_set_cr8(&vmx->v, vmx->tpr);
}

/* The CPU did not even try: 1: it says why; 2: VMX is off. */
static int not_entered(struct mezz_vcpu *v, unsigned int what)
{
	v->exit = &vmx_exit_other;
	return what == 2 ? -EIO : mezz_fail_entry(v, vmread(VMCS_INSN_ERROR));
}

/* They may change whenever interrupts are on, by IPIs. */
static void update_host_crs(struct vmx_vcpu *vmx)
{
	u64 cr3 = __read_cr3(), cr4 = __read_cr4();

	if (unlikely(cr3 != vmx->host_cr3)) {
		vmx->host_cr3 = cr3;
		vmwrite(VMCS_HOST_CR3, cr3);
	}
	if (unlikely(cr4 != vmx->host_cr4)) {
		vmx->host_cr4 = cr4;
		vmwrite(VMCS_HOST_CR4, cr4);
	}
}

int vmx_enter(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	unsigned int bad;
	u32 reason;

	if (unlikely(v->dirty & FLUSHED) && unlikely(!vmx_flush(vmx))) {
		v->exit = &vmx_exit_outside;
		return MEZZ_RESUME;
	}
	if (v->dirty & BIT(MEZZ_RIP))
		vmwrite(VMCS_GUEST_RIP, v->r[MEZZ_RIP]);
	update_host_crs(vmx);
	if (unlikely(v->r[MEZZ_CR2] != native_read_cr2()))
		native_write_cr2(v->r[MEZZ_CR2]);
	if (unlikely(vmx->pre))
		vmx_before_entry(vmx);
	if (vmx->timer_tsc)
		start_timer(vmx);
	v->dirty = 0;

	if (unlikely(v->lazy.switch_spec))
		wrmsrl(MSR_IA32_SPEC_CTRL, v->lazy.spec_ctrl);
	bad = vmx_switch(v->r, &vmx->host_rsp, vmx->launched);
	if (unlikely(v->lazy.switch_spec))
		wrmsrl(MSR_IA32_SPEC_CTRL, v->lazy.host_spec);
	barrier_nospec();	/* not past that, should it be mispredicted */
	if (unlikely(bad))
		return not_entered(v, bad);

	v->r[MEZZ_CR2] = native_read_cr2();
	v->avail = AVAIL_AFTER_EXIT;
	if (likely(!v->lazy.dr_live || v->lazy.dr7_taken))
		v->avail |= AVAIL_DR;
	vmx->have = 0;
	reason = vmread(VMCS_EXIT_REASON);
	if (unlikely(reason & REASON_ENTRY_FAILED)) {
		v->exit = &vmx_exit_other;
		if ((reason & REASON_BASIC) == VMX_ENTRY_MC)
			mezz_exit_mc(v);
		return mezz_fail_entry(v, reason);
	}
	vmx->launched = true;
	if (vmx->injected) {
		vmx->injected = false;
		mezz_event_delivered(v);
	}
	if (unlikely(vmx->vapic[VAPIC_TPR] >> 4 != vmx->tpr))
		sync_tpr(vmx);
	reason &= REASON_BASIC;
	if (unlikely(reason >= VMX_NR_REASONS)) {
		v->exit = &vmx_exit_other;
		return MEZZ_RESUME;
	}
	if (BIT_ULL(reason) & MAY_INTERRUPT)
		vmx_requeue(vmx, reason);
	v->exit = vmx_exits[reason].handler ? &vmx_exits[reason] : &vmx_exit_other;
	if (reason == VMX_EXCEPTION && (vmx->exit_intr & INTR_TYPE) == INTR_TYPE_NMI)
		v->exit = &vmx_exit_nmi;
	return MEZZ_RESUME;
}
