// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exit table: exit reason to handler, name and counter. Most handlers are the
 * core's; those here decode what this hardware reports.
 *
 * An NMI of the host that ends the guest has been acknowledged by the exit: the
 * host's handler is called by hand. NMIs are blocked after the exit, as after
 * delivery, until the handler's IRET.
 */
#include <asm/msr.h>
#include <asm/trapnr.h>

#include "../irq/irq.h"
#include "vmx.h"

/* DR6 bits that are set when inactive. */
#define DR6_FIXED	0xffff0ff0ull
/* What the qualification of a debug exception has of DR6: B0-B3, BD, BS, RTM. */
#define DR6_QUALIFIED	0x1600full

static u64 qualification(struct mezz_vcpu *v)
{
	return vmx_read(to_vmx(v), VMCS_QUALIFICATION);
}

static int exit_io(struct mezz_vcpu *v)
{
	u32 q = qualification(v);

	return mezz_exit_io(v, IO_PORT(q), IO_SIZE(q), q & IO_IN, q & IO_STRING,
			    mezz_get(v, MEZZ_RIP) + vmx_insn_len(v));
}

static int exit_ept(struct mezz_vcpu *v)
{
	u32 q = qualification(v);
	u32 access = MEZZ_ACC_READ;

	if (q & EPT_Q_EXEC)
		access = MEZZ_ACC_EXEC;
	else if (q & EPT_Q_WRITE)
		access = MEZZ_ACC_WRITE;
	if ((q & EPT_Q_LINEAR) && !(q & EPT_Q_FINAL))
		access |= MEZZ_ACC_WALK;
	return mezz_exit_fault(v, vmx_read(to_vmx(v), VMCS_GPA), access);
}

static int exit_cr(struct mezz_vcpu *v)
{
	u32 q = qualification(v);
	unsigned int access = CR_ACCESS(q);

	/* CLTS and LMSW are rare. */
	if (access != CR_ACCESS_TO && access != CR_ACCESS_FROM)
		return mezz_exit_emulate(v);
	return mezz_exit_cr(v, q & CR_NUMBER, access == CR_ACCESS_TO, CR_GPR(q));
}

/* The exit comes instead of the exception: DR6 is as it was. */
static int exit_db(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u64 dr6 = qualification(v) & DR6_QUALIFIED;

	if (v->guest_debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP))
		return mezz_debug_exit(v, DB_VECTOR, dr6 | DR6_FIXED);
	/* INT1 is a trap that hardware would have stepped over. */
	if ((vmx->exit_intr & INTR_TYPE) == INTR_TYPE_ICEBP)
		mezz_set_rip(v, mezz_get(v, MEZZ_RIP) + vmx_insn_len(v));
	mezz_queue_db(v, dr6);
	return MEZZ_RESUME;
}

static int exit_exception(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 info = vmx->exit_intr;
	u8 vector = info & INTR_VECTOR;

	if (vector == DB_VECTOR)
		return exit_db(v);
	if (vector == MC_VECTOR)
		return mezz_exit_mc(v);
	return mezz_exit_exception(v, vector, info & INTR_ERR, vmx_read(vmx, VMCS_EXIT_INTR_ERR));
}

static int exit_nmi(struct mezz_vcpu *v)
{
	asm volatile("int $2" : : : "memory");
	return MEZZ_RESUME;
}

static int exit_intr(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (vmx_has.l1d_flush)
		vmx->pre |= VMX_PRE_L1D;
	if (unlikely(vmx->logs))
		vmx_empty_log(vmx);
	return mezz_exit_host_irq(v);
}

/* The guest has run for long enough, or its own timer is due. */
static int exit_timer(struct mezz_vcpu *v)
{
	u64 tsc = to_vmx(v)->timer_tsc;

	if (!tsc || rdtsc() < tsc)
		return exit_intr(v);
	mezz_lapic_timer_expired(v);
	return MEZZ_RESUME;
}

static int exit_intr_window(struct mezz_vcpu *v)
{
	vmx_set_exec(to_vmx(v), EXEC_INTR_WINDOW, false);
	return mezz_exit_irq_window(v);
}

static int exit_nmi_window(struct mezz_vcpu *v)
{
	vmx_set_exec(to_vmx(v), EXEC_NMI_WINDOW, false);
	return mezz_exit_nmi_window(v);
}

/* The guest lowered its TPR, and the exit has told the LAPIC: look again. */
static int exit_tpr(struct mezz_vcpu *v)
{
	mezz_request(v, MEZZ_REQ_EVENT);
	return MEZZ_RESUME;
}

/* Behind the write, which the hardware has done. */
static int exit_eoi(struct mezz_vcpu *v)
{
	mezz_lapic_eoi_exit(v, qualification(v));
	return MEZZ_RESUME;
}

/* With the writes that are let through: a self-IPI that hardware does not send. */
static int exit_apic_write(struct mezz_vcpu *v)
{
	mezz_lapic_illegal_ipi(v);
	return MEZZ_RESUME;
}

/*
 * Not an exit of the hardware's: page-directory pointers for the next entry are to be
 * read, or the guest goes on in software.
 */
static int exit_outside(struct mezz_vcpu *v)
{
	if (vmx_pae_paging(v))
		vmx_read_pdptes(v);
	return MEZZ_RESUME;
}

const struct mezz_exit vmx_exits[VMX_NR_REASONS] = {
	[VMX_EXCEPTION] = MEZZ_EXIT(exit_exception, "exception", exception_exits),
	[VMX_INTR] = MEZZ_EXIT(exit_intr, "host-irq", irq_exits),
	[VMX_TRIPLE_FAULT] = MEZZ_SLOW_EXIT(mezz_exit_shutdown, "shutdown", shutdown_exits),
	[VMX_INTR_WINDOW] = MEZZ_EXIT(exit_intr_window, "irq-window", irq_window_exits),
	[VMX_NMI_WINDOW] = MEZZ_EXIT(exit_nmi_window, "nmi-window", nmi_window_exits),
	[VMX_TASK_SWITCH] = MEZZ_SLOW_EXIT(mezz_exit_unknown, "task-switch", other_exits),
	[VMX_TPR] = MEZZ_EXIT(exit_tpr, "tpr", other_exits),
	[VMX_EOI] = MEZZ_EXIT(exit_eoi, "eoi", other_exits),
	[VMX_APIC_WRITE] = MEZZ_EXIT(exit_apic_write, "apic-write", other_exits),

	[VMX_CPUID] = MEZZ_EXIT(mezz_exit_cpuid, "cpuid", cpuid_exits),
	[VMX_HLT] = MEZZ_EXIT(mezz_exit_hlt, "hlt", halt_exits),
	[VMX_PAUSE] = MEZZ_SLOW_EXIT(mezz_exit_pause, "pause", pause_exits),
	[VMX_IO] = MEZZ_EXIT(exit_io, "io", io_exits),
	[VMX_RDMSR] = MEZZ_EXIT(mezz_exit_rdmsr, "rdmsr", rdmsr_exits),
	[VMX_WRMSR] = MEZZ_EXIT(mezz_exit_wrmsr, "wrmsr", wrmsr_exits),
	[VMX_CR] = MEZZ_EXIT(exit_cr, "cr", cr_exits),
	[VMX_DR] = MEZZ_EXIT(mezz_exit_dr, "dr", dr_exits),
	[VMX_RDPMC] = MEZZ_EXIT(mezz_exit_rdpmc, "rdpmc", other_exits),
	[VMX_INVD] = MEZZ_EXIT(mezz_exit_invd, "invd", other_exits),
	[VMX_WBINVD] = MEZZ_EXIT(mezz_exit_wbinvd, "wbinvd", other_exits),
	[VMX_VMCALL] = MEZZ_EXIT(mezz_exit_hypercall, "hypercall", hypercalls),
	[VMX_XSETBV] = MEZZ_EXIT(mezz_exit_xsetbv, "xsetbv", other_exits),
	[VMX_MONITOR] = MEZZ_EXIT(mezz_exit_monitor, "monitor", other_exits),
	[VMX_MWAIT] = MEZZ_EXIT(mezz_exit_mwait, "mwait", other_exits),

	[VMX_TIMER] = MEZZ_EXIT(exit_timer, "timer", irq_exits),

	[VMX_EPT_VIOLATION] = MEZZ_EXIT(exit_ept, "fault", fault_exits),
	[VMX_EPT_MISCONFIG] = MEZZ_SLOW_EXIT(mezz_exit_unknown, "ept-misconfig", other_exits),

	[VMX_PML_FULL] = MEZZ_EXIT(vmx_exit_log_full, "log-full", other_exits),

	/* The guest has none of these. */
	[VMX_GETSEC] = MEZZ_EXIT(mezz_exit_ud, "getsec", other_exits),
	[VMX_VMCLEAR ... VMX_VMXON] = MEZZ_EXIT(mezz_exit_ud, "vmx", other_exits),
	[VMX_INVEPT] = MEZZ_EXIT(mezz_exit_ud, "invept", other_exits),
	[VMX_INVVPID] = MEZZ_EXIT(mezz_exit_ud, "invvpid", other_exits),
	[VMX_VMFUNC] = MEZZ_EXIT(mezz_exit_ud, "vmfunc", other_exits),
	[VMX_ENCLS] = MEZZ_EXIT(mezz_exit_ud, "encls", other_exits),
};

const struct mezz_exit vmx_exit_nmi = MEZZ_EXIT(exit_nmi, "host-nmi", nmi_exits);
const struct mezz_exit vmx_exit_outside = MEZZ_SLOW_EXIT(exit_outside, "outside", other_exits);
const struct mezz_exit vmx_exit_other = MEZZ_SLOW_EXIT(mezz_exit_unknown, "unknown", other_exits);
