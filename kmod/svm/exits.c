// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exit table: exit code to handler, name and counter. Most handlers are the
 * core's; those here decode what this hardware reports.
 */
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "svm.h"

/* Opcode bytes, first byte lowest. */
#define OP_WBINVD	0x090f
#define OP_INVD		0x080f

/* DR6: what a debugger's breakpoints and steps set. */
#define DR6_BP		0xfull
#define DR6_BD		BIT_ULL(13)
#define DR6_BS		BIT_ULL(14)

static u32 exit_code(struct mezz_vcpu *v)
{
	return to_svm(v)->vmcb->c.exit_code;
}

static int exit_io(struct mezz_vcpu *v)
{
	const struct svm_control *c = &to_svm(v)->vmcb->c;
	u32 info = c->exit_info_1;

	return mezz_exit_io(v, info >> SVM_IOIO_PORT_SHIFT,
			    info >> SVM_IOIO_SIZE_SHIFT & SVM_IOIO_SIZE,
			    info & SVM_IOIO_IN, info & SVM_IOIO_STRING, c->exit_info_2);
}

static int exit_npf(struct mezz_vcpu *v)
{
	const struct svm_control *c = &to_svm(v)->vmcb->c;
	u64 info = c->exit_info_1;
	u32 access = MEZZ_ACC_READ;

	if (info & SVM_NPF_EXEC)
		access = MEZZ_ACC_EXEC;
	else if (info & SVM_NPF_WRITE)
		access = MEZZ_ACC_WRITE;
	if (info & SVM_NPF_WALK)
		access |= MEZZ_ACC_WALK;
	return mezz_exit_fault(v, c->exit_info_2, access);
}

static int exit_cr(struct mezz_vcpu *v)
{
	u64 info = to_svm(v)->vmcb->c.exit_info_1;
	u32 code = exit_code(v);

	if (!svm_has.decode_assists || !(info & SVM_CR_IS_MOV))
		return mezz_exit_emulate(v);
	if (code == SVM_EXIT_OF(CR0_SEL))
		code = SVM_EXIT_CR_WRITE + 0;
	return mezz_exit_cr(v, code & 0xf, code & SVM_EXIT_CR_WRITE, info & SVM_CR_GPR);
}

static int exit_exception(struct mezz_vcpu *v)
{
	u8 vector = exit_code(v) - SVM_EXIT_EXCEPTION;

	return mezz_exit_exception(v, vector, vector == AC_VECTOR,
				   to_svm(v)->vmcb->c.exit_info_1);
}

/*
 * DR6 in the control block is as the guest's handler would see it (APM2, "#DB
 * (Debug)"). What is not the guest's own is taken out again.
 */
static int exit_db(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	u64 dr6 = mezz_get(v, MEZZ_DR6);

	if (svm->step & SVM_STEP_NMI) {
		svm_step_off(svm, SVM_STEP_NMI);
		mezz_exit_nmi_window(v);
		if (!svm->step && !(v->r[MEZZ_RFLAGS] & X86_EFLAGS_TF)) {
			dr6 &= ~DR6_BS;
			mezz_set(v, MEZZ_DR6, dr6);
			if (!(dr6 & (DR6_BP | DR6_BD)))
				return MEZZ_RESUME;
		}
	}
	if (v->guest_debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP)) {
		mezz_set(v, MEZZ_DR6, dr6 & ~(DR6_BS | DR6_BP));
		return mezz_debug_exit(v, DB_VECTOR, dr6);
	}
	return exit_exception(v);
}

static int exit_vintr(struct mezz_vcpu *v)
{
	svm_close_irq_window(to_svm(v));
	return mezz_exit_irq_window(v);
}

static int exit_iret(struct mezz_vcpu *v)
{
	svm_iret_seen(to_svm(v));
	return MEZZ_RESUME;
}

/* QEMU's emulated CPU says WBINVD for INVD too. There is nothing to do for either. */
static int exit_wbinvd(struct mezz_vcpu *v)
{
	int len = mezz_insn_len(v, OP_WBINVD, 2);

	if (unlikely(len == -ESTALE))
		len = mezz_insn_len(v, OP_INVD, 2);
	return mezz_exit_skip(v, len);
}

static int exit_cpuid(struct mezz_vcpu *v)
{
	/* Its sizes depend on XCR0. */
	if (unlikely((u32)v->r[MEZZ_RAX] == 0xd))
		svm_sync_xcr0(to_svm(v));
	return mezz_exit_cpuid(v);
}

const struct mezz_exit svm_exits[SVM_EXIT_NR] = {
	[SVM_EXIT_CR_READ + 0] = MEZZ_EXIT(exit_cr, "cr0-read", cr_exits),
	[SVM_EXIT_CR_READ + 4] = MEZZ_EXIT(exit_cr, "cr4-read", cr_exits),
	[SVM_EXIT_CR_WRITE + 0] = MEZZ_EXIT(exit_cr, "cr0-write", cr_exits),
	[SVM_EXIT_CR_WRITE + 4] = MEZZ_EXIT(exit_cr, "cr4-write", cr_exits),
	[SVM_EXIT_CR_WRITE + 8] = MEZZ_EXIT(exit_cr, "cr8-write", cr_exits),
	[SVM_EXIT_OF(CR0_SEL)] = MEZZ_EXIT(exit_cr, "cr0-write", cr_exits),
	[SVM_EXIT_DR_READ ... SVM_EXIT_DR_READ + 15] =
		MEZZ_EXIT(mezz_exit_dr, "dr-read", dr_exits),
	[SVM_EXIT_DR_WRITE ... SVM_EXIT_DR_WRITE + 15] =
		MEZZ_EXIT(mezz_exit_dr, "dr-write", dr_exits),

	[SVM_EXIT_EXCEPTION + DB_VECTOR] = MEZZ_EXIT(exit_db, "db", exception_exits),
	[SVM_EXIT_EXCEPTION + BP_VECTOR] = MEZZ_EXIT(exit_exception, "bp", exception_exits),
	[SVM_EXIT_EXCEPTION + UD_VECTOR] = MEZZ_EXIT(exit_exception, "ud", exception_exits),
	[SVM_EXIT_EXCEPTION + AC_VECTOR] = MEZZ_EXIT(exit_exception, "ac", exception_exits),
	[SVM_EXIT_EXCEPTION + MC_VECTOR] = MEZZ_EXIT(mezz_exit_mc, "mc", exception_exits),

	[SVM_EXIT_OF(INTR)] = MEZZ_EXIT(mezz_exit_host_irq, "host-irq", irq_exits),
	[SVM_EXIT_OF(NMI)] = MEZZ_EXIT(mezz_exit_host_irq, "host-nmi", nmi_exits),
	[SVM_EXIT_OF(SMI)] = MEZZ_EXIT(mezz_exit_host_irq, "smi", other_exits),
	[SVM_EXIT_OF(INIT)] = MEZZ_EXIT(mezz_exit_host_irq, "init", other_exits),
	[SVM_EXIT_OF(VINTR)] = MEZZ_EXIT(exit_vintr, "irq-window", irq_window_exits),
	[SVM_EXIT_OF(IRET)] = MEZZ_EXIT(exit_iret, "iret", nmi_window_exits),
	[SVM_EXIT_OF(SHUTDOWN)] = MEZZ_SLOW_EXIT(mezz_exit_shutdown, "shutdown", shutdown_exits),

	[SVM_EXIT_OF(CPUID)] = MEZZ_EXIT(exit_cpuid, "cpuid", cpuid_exits),
	[SVM_EXIT_OF(HLT)] = MEZZ_EXIT(mezz_exit_hlt, "hlt", halt_exits),
	[SVM_EXIT_OF(PAUSE)] = MEZZ_SLOW_EXIT(mezz_exit_pause, "pause", pause_exits),
	[SVM_EXIT_OF(IOIO)] = MEZZ_EXIT(exit_io, "io", io_exits),
	[SVM_EXIT_OF(MSR)] = MEZZ_EXIT(mezz_exit_rdmsr, "rdmsr", rdmsr_exits),
	[SVM_EXIT_OF(RDPMC)] = MEZZ_EXIT(mezz_exit_rdpmc, "rdpmc", other_exits),
	[SVM_EXIT_OF(INVD)] = MEZZ_EXIT(mezz_exit_invd, "invd", other_exits),
	[SVM_EXIT_OF(WBINVD)] = MEZZ_EXIT(exit_wbinvd, "wbinvd", other_exits),
	[SVM_EXIT_OF(VMMCALL)] = MEZZ_EXIT(mezz_exit_hypercall, "hypercall", hypercalls),
	[SVM_EXIT_OF(XSETBV)] = MEZZ_EXIT(mezz_exit_xsetbv, "xsetbv", other_exits),
	[SVM_EXIT_OF(MONITOR)] = MEZZ_EXIT(mezz_exit_monitor, "monitor", other_exits),
	[SVM_EXIT_OF(MWAIT)] = MEZZ_EXIT(mezz_exit_mwait, "mwait", other_exits),

	/* The guest has none of these. */
	[SVM_EXIT_OF(INVLPGA)] = MEZZ_EXIT(mezz_exit_ud, "invlpga", other_exits),
	[SVM_EXIT_OF(VMRUN)] = MEZZ_EXIT(mezz_exit_ud, "vmrun", other_exits),
	[SVM_EXIT_OF(VMLOAD)] = MEZZ_EXIT(mezz_exit_ud, "vmload", other_exits),
	[SVM_EXIT_OF(VMSAVE)] = MEZZ_EXIT(mezz_exit_ud, "vmsave", other_exits),
	[SVM_EXIT_OF(STGI)] = MEZZ_EXIT(mezz_exit_ud, "stgi", other_exits),
	[SVM_EXIT_OF(CLGI)] = MEZZ_EXIT(mezz_exit_ud, "clgi", other_exits),
	[SVM_EXIT_OF(SKINIT)] = MEZZ_EXIT(mezz_exit_ud, "skinit", other_exits),
	[SVM_EXIT_OF(RDTSCP)] = MEZZ_EXIT(mezz_exit_ud, "rdtscp", other_exits),
	[SVM_EXIT_OF(RDPRU)] = MEZZ_EXIT(mezz_exit_ud, "rdpru", other_exits),
};

const struct mezz_exit svm_exit_wrmsr = MEZZ_EXIT(mezz_exit_wrmsr, "wrmsr", wrmsr_exits);
const struct mezz_exit svm_exit_npf = MEZZ_EXIT(exit_npf, "fault", fault_exits);
const struct mezz_exit svm_exit_other = MEZZ_SLOW_EXIT(mezz_exit_unknown, "unknown", other_exits);
