// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exit handlers that every engine shares. An engine decodes what its hardware
 * reports and calls these, or names them in its exit table.
 *
 * Most run with IRQs off inside the section (v->atomic). One that finds it
 * cannot be settled there answers MEZZ_SLOW before it has changed anything,
 * and is called again outside. The SRCU read side is held in both cases.
 */
#include <linux/kconfig.h>
#include <linux/sched.h>
#include <asm/cpu.h>
#include <asm/mce.h>
#include <asm/processor-flags.h>
#include <asm/ptrace.h>
#include <asm/trapnr.h>

#include "cpu/cpu.h"
#include "cpu/lazy.h"
#include "emulate/emulate.h"
#include "host/host.h"
#include "irq/irq.h"
#include "mmu/mmu.h"
#include "pv/pv.h"
#include "trace.h"
#include "vcpu.h"

/* Opcode bytes after the prefixes, first byte lowest. */
#define OP_CPUID	0xa20f
#define OP_RDMSR	0x320f
#define OP_WRMSR	0x300f
#define OP_HLT		0xf4
#define OP_WBINVD	0x090f
#define OP_INVD		0x080f
#define OP_PAUSE	0x90
#define OP_MONITOR	0xc8010f
#define OP_MWAIT	0xc9010f
#define OP_RDPMC	0x330f
#define OP_XSETBV	0xd1010f

/* mezz_insn_len() in a handler: go on with len > 0, or return this. */
static int no_len(int len)
{
	return len ? MEZZ_RESUME : MEZZ_SLOW;
}

static int gp(struct mezz_vcpu *v)
{
	mezz_queue_gp(v, 0);
	return MEZZ_RESUME;
}

static u64 edx_eax(struct mezz_vcpu *v)
{
	return (u32)v->r[MEZZ_RAX] | v->r[MEZZ_RDX] << 32;
}

int mezz_exit_cpuid(struct mezz_vcpu *v)
{
	int len = mezz_insn_len(v, OP_CPUID, 2);
	u32 eax, ebx, ecx, edx;

	if (unlikely(len <= 0))
		return no_len(len);
	eax = v->r[MEZZ_RAX];
	ecx = v->r[MEZZ_RCX];
	mezz_cpuid(v, &eax, &ebx, &ecx, &edx);
	mezz_set_gpr(v, MEZZ_RAX, eax);
	mezz_set_gpr(v, MEZZ_RBX, ebx);
	mezz_set_gpr(v, MEZZ_RCX, ecx);
	mezz_set_gpr(v, MEZZ_RDX, edx);
	mezz_skip(v, len);
	return MEZZ_RESUME;
}

int mezz_exit_hlt(struct mezz_vcpu *v)
{
	int len = mezz_insn_len(v, OP_HLT, 1);

	if (unlikely(len <= 0))
		return no_len(len);
	mezz_skip(v, len);
	if (!v->lapic) {
		v->run->exit_reason = KVM_EXIT_HLT;
		return MEZZ_USER;
	}
	v->mp.mp_state = KVM_MP_STATE_HALTED;
	mezz_request(v, MEZZ_REQ_WAKE);		/* leaves the section, then blocks */
	return MEZZ_RESUME;
}

/* KVM_X86_SET_MSR_FILTER; few VMs have one. */
static int msr_denied(struct mezz_vcpu *v, u32 msr, u32 access)
{
	if (likely(!rcu_access_pointer(v->vm->msr_filter)))
		return 0;
	return mezz_msr_filter_allows(v->vm, msr, access) ? 0 : MEZZ_MSR_FILTERED;
}

int mezz_exit_rdmsr(struct mezz_vcpu *v)
{
	int len = mezz_insn_len(v, OP_RDMSR, 2);
	u32 msr = v->r[MEZZ_RCX];
	u64 data = 0;
	int bad;

	if (unlikely(len <= 0))
		return no_len(len);
	bad = msr_denied(v, msr, KVM_MSR_FILTER_READ);
	if (likely(!bad))
		bad = mezz_get_msr(v, msr, &data, false);
	if (unlikely(bad))
		return mezz_msr_refused(v, bad, len, false, 0);
	mezz_set_gpr(v, MEZZ_RAX, (u32)data);
	mezz_set_gpr(v, MEZZ_RDX, data >> 32);
	mezz_skip(v, len);
	return MEZZ_RESUME;
}

int mezz_exit_wrmsr(struct mezz_vcpu *v)
{
	int len = mezz_insn_len(v, OP_WRMSR, 2);

	u32 msr = v->r[MEZZ_RCX];
	int bad;

	if (unlikely(len <= 0))
		return no_len(len);
	bad = msr_denied(v, msr, KVM_MSR_FILTER_WRITE);
	if (likely(!bad))
		bad = mezz_set_msr(v, msr, edx_eax(v), false);
	if (unlikely(bad))
		return mezz_msr_refused(v, bad, len, true, edx_eax(v));
	mezz_skip(v, len);
	return MEZZ_RESUME;
}

int mezz_exit_xsetbv(struct mezz_vcpu *v)
{
	int len = mezz_insn_len(v, OP_XSETBV, 3);

	if (unlikely(len <= 0))
		return no_len(len);
	if (mezz_engine->cpl(v) || (u32)v->r[MEZZ_RCX] || mezz_set_xcr0(v, edx_eax(v)))
		return gp(v);
	if (v->atomic)
		mezz_fpu_xcr0_changed(v);
	mezz_skip(v, len);
	return MEZZ_RESUME;
}

int mezz_exit_skip(struct mezz_vcpu *v, int len)
{
	if (unlikely(len <= 0))
		return no_len(len);
	mezz_skip(v, len);
	return MEZZ_RESUME;
}

/*
 * Guest memory is cached as the host's, which is coherent: there is nothing to
 * write back or to drop.
 */
int mezz_exit_wbinvd(struct mezz_vcpu *v)
{
	return mezz_exit_skip(v, mezz_insn_len(v, OP_WBINVD, 2));
}

int mezz_exit_invd(struct mezz_vcpu *v)
{
	return mezz_exit_skip(v, mezz_insn_len(v, OP_INVD, 2));
}

/* Nothing is monitored, so every MWAIT ends at once. */
static int mwait_or_monitor(struct mezz_vcpu *v, u32 op)
{
	if (unlikely(!mezz_mwait_defined(v)))
		return mezz_exit_ud(v);
	return mezz_exit_skip(v, mezz_insn_len(v, op, 3));
}

int mezz_exit_monitor(struct mezz_vcpu *v)
{
	return mwait_or_monitor(v, OP_MONITOR);
}

int mezz_exit_mwait(struct mezz_vcpu *v)
{
	return mwait_or_monitor(v, OP_MWAIT);
}

/* The guest's own from now on, unless a debugger has them. */
int mezz_exit_dr(struct mezz_vcpu *v)
{
	if (!v->atomic || v->lazy.dr7_taken)
		return mezz_exit_emulate(v);
	mezz_dr_load(v);
	return MEZZ_RESUME;
}

int mezz_exit_pause(struct mezz_vcpu *v)
{
	int len;

	/* The lock's holder may wait for this CPU: let it have it. */
	if (v->atomic)
		return MEZZ_SLOW;
	len = mezz_insn_len(v, OP_PAUSE, 1);
	if (unlikely(len <= 0))
		return no_len(len);
	mezz_skip(v, len);
	schedule();
	return MEZZ_RESUME;
}

int mezz_exit_ud(struct mezz_vcpu *v)
{
	mezz_queue_ud(v);
	return MEZZ_RESUME;
}

/* No PMU is offered, so every counter index is out of range. */
int mezz_exit_rdpmc(struct mezz_vcpu *v)
{
	return gp(v);
}

/*
 * After a shutdown the saved state is undefined (APM 2, "Shutdown Intercept"),
 * so user space finds the vCPU as after INIT.
 */
int mezz_exit_shutdown(struct mezz_vcpu *v)
{
	if (v->atomic)
		return MEZZ_SLOW;
	mezz_vcpu_reset(v, true);
	v->run->exit_reason = KVM_EXIT_SHUTDOWN;
	return MEZZ_USER;
}

/* The host's interrupt is taken here, as soon as interrupts are on. */
int mezz_exit_host_irq(struct mezz_vcpu *v)
{
	if (v->atomic) {
		mezz_lazy_host_dr(v);
		/* What the tick finds here was the guest's time. */
		current->flags |= PF_VCPU;
		local_irq_enable();
		/* STI holds interrupts off for one more instruction. */
		asm volatile("nop");
		local_irq_disable();
		current->flags &= ~PF_VCPU;
		mezz_lazy_guest_dr(v);
	}
	return MEZZ_RESUME;
}

/*
 * The exit comes instead of the host's exception, so the host's handler is called
 * by hand, with registers that say "user mode": the memory in trouble is a
 * process's, and that process can be killed. IRQs are off, as for the exception.
 */
int mezz_exit_mc(struct mezz_vcpu *v)
{
	struct pt_regs regs = {
		.cs = 3,
		.flags = X86_EFLAGS_IF,
	};

	if (IS_ENABLED(CONFIG_X86_MCE) && v->atomic)
		do_machine_check(&regs);
	return MEZZ_RESUME;
}

int mezz_exit_irq_window(struct mezz_vcpu *v)
{
	v->window_irq = false;
	mezz_request(v, MEZZ_REQ_EVENT);
	/* User space waits for the window when it has the interrupt controllers. */
	if (unlikely(v->run->request_interrupt_window))
		mezz_request(v, MEZZ_REQ_WAKE);
	return MEZZ_RESUME;
}

int mezz_exit_nmi_window(struct mezz_vcpu *v)
{
	mezz_request(v, MEZZ_REQ_EVENT);
	return MEZZ_RESUME;
}

int mezz_exit_unknown(struct mezz_vcpu *v)
{
	u64 data[3];

	if (v->atomic)
		return MEZZ_SLOW;
	mezz_engine->exit_info(v, &data[0], &data[1], &data[2]);
	return mezz_internal_error(v, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, data, 3);
}

/* --- port I/O --- */

static u64 size_mask(unsigned int size)
{
	return size == 4 ? ~0u : (1ull << size * 8) - 1;
}

/* IN writes AL, AX or EAX; the latter clears the upper half of RAX. */
static void set_in_data(struct mezz_vcpu *v, unsigned int size, u32 data)
{
	if (size == 4)
		mezz_set_gpr(v, MEZZ_RAX, data);
	else
		mezz_set_gpr(v, MEZZ_RAX, (v->r[MEZZ_RAX] & ~size_mask(size)) |
			     (data & size_mask(size)));
}

/* A POST code's second port; there are clients that want RIP behind such an OUT. */
#define PORT_RIP_BEHIND	0x7e

static int complete_out(struct mezz_vcpu *v)
{
	if (mezz_same_rip(v))
		mezz_skip(v, v->complete_len);
	return MEZZ_RESUME;
}

static int complete_in(struct mezz_vcpu *v)
{
	if (mezz_same_rip(v)) {
		u32 data = 0;

		memcpy(&data, v->pio_data, v->complete_size);
		set_in_data(v, v->complete_size, data);
		mezz_skip(v, v->complete_len);
	}
	return MEZZ_RESUME;
}

int mezz_exit_io(struct mezz_vcpu *v, u16 port, unsigned int size, bool in,
		 bool string, u64 next_rip)
{
	struct kvm_run *run = v->run;
	unsigned int len;
	u32 data = 0;

	if (string || !next_rip)
		return mezz_emulate(v, MEZZ_NO_GPA, false);

	len = next_rip - mezz_get(v, MEZZ_RIP);
	if (in) {
		if (mezz_pio_read(v, port, size, &data)) {
			set_in_data(v, size, data);
			mezz_skip(v, len);
			return MEZZ_RESUME;
		}
		mezz_ask(v, complete_in, len);
	} else {
		data = v->r[MEZZ_RAX] & size_mask(size);
		if (mezz_pio_write(v, port, size, &data)) {
			mezz_skip(v, len);
			return MEZZ_RESUME;
		}
		memcpy(v->pio_data, &data, size);
		if (unlikely(port == PORT_RIP_BEHIND) &&
		    mezz_quirk(v->vm, KVM_X86_QUIRK_OUT_7E_INC_RIP))
			mezz_skip(v, len);
		else
			mezz_ask(v, complete_out, len);
	}
	v->complete_size = size;
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = 1;
	run->io.data_offset = PAGE_SIZE;
	return MEZZ_USER;
}

/* --- hypercalls --- */

static int complete_hypercall(struct mezz_vcpu *v)
{
	if (mezz_same_rip(v)) {
		mezz_pv_hypercall_answered(v);
		mezz_skip(v, v->complete_len);
	}
	return MEZZ_RESUME;
}

/* The instruction has @len bytes. */
static int hypercall(struct mezz_vcpu *v, unsigned int len)
{
	int r = mezz_pv_hypercall(v);

	if (r == MEZZ_USER)
		mezz_ask(v, complete_hypercall, len);
	else if (r != MEZZ_SLOW)
		mezz_skip(v, len);
	return r;
}

int mezz_exit_hypercall(struct mezz_vcpu *v)
{
	const u8 *b = mezz_engine->hypercall;
	int len = mezz_insn_len(v, b[0] | b[1] << 8 | b[2] << 16, 3);

	/*
	 * Meanwhile it may be the other vendor's, written by another vCPU. What was executed
	 * counts: QEMU's emulated CPU can go on executing for ever what it once has read.
	 */
	if (unlikely(len == -ESTALE))
		len = v->atomic ? 0 : mezz_hypercall_len(v, false) ?: -ESTALE;
	if (unlikely(len <= 0))
		return no_len(len);
	return hypercall(v, len);
}

/*
 * A guest that was built for, or migrated from, another vendor's CPU makes
 * hypercalls with an instruction that is undefined here. That one is executed, and
 * next time it exits as a hypercall, where it could be rewritten.
 */
static int undefined(struct mezz_vcpu *v)
{
	int len;

	if (!mezz_quirk(v->vm, KVM_X86_QUIRK_FIX_HYPERCALL_INSN))
		return mezz_exit_ud(v);
	if (v->atomic)
		return MEZZ_SLOW;
	len = mezz_hypercall_len(v, true);
	if (len < 0)
		return MEZZ_RESUME;
	return len ? hypercall(v, len) : mezz_exit_ud(v);
}

/* --- memory --- */

int mezz_exit_fault(struct mezz_vcpu *v, u64 gpa, u32 access)
{
	enum mezz_fault r = mezz_mmu_fault(v, gpa, access);

	trace_mezz_fault(v, gpa, access, r);
	switch (r) {
	case MEZZ_FAULT_FIXED:
	case MEZZ_FAULT_LATER:
		return MEZZ_RESUME;
	case MEZZ_FAULT_AGAIN:
		return MEZZ_SLOW;
	case MEZZ_FAULT_MMIO:
		v->stat[MEZZ_STAT_mmio_exits]++;
		/* The guest's own page tables lie there: let the emulator walk them. */
		if (access & MEZZ_ACC_WALK)
			gpa = MEZZ_NO_GPA;
		return mezz_emulate(v, gpa, access & MEZZ_ACC_WRITE);
	case MEZZ_FAULT_SIGNAL:
		v->run->exit_reason = KVM_EXIT_INTR;
		return -EINTR;
	case MEZZ_FAULT_BAD:
	default:
		return -EFAULT;
	}
}

int mezz_exit_emulate(struct mezz_vcpu *v)
{
	return mezz_emulate(v, MEZZ_NO_GPA, false);
}

/* --- control registers, exceptions --- */

int mezz_exit_cr(struct mezz_vcpu *v, unsigned int cr, bool write, unsigned int gpr)
{
	unsigned int len = mezz_engine->insn_len(v);
	u64 val = 0;
	int bad = 0;

	if (!len)
		return mezz_exit_emulate(v);
	if (write) {
		val = gpr == MEZZ_RSP ? mezz_get(v, MEZZ_RSP) : v->r[gpr];
		if (!mezz_64bit(v))
			val = (u32)val;
		switch (cr) {
		case 0:
			bad = mezz_set_cr0(v, val);
			break;
		case 3:
			bad = mezz_set_cr3(v, val);
			break;
		case 4:
			bad = mezz_set_cr4(v, val);
			break;
		case 8:
			bad = mezz_set_cr8(v, val);
			break;
		default:
			mezz_queue_ud(v);
			return MEZZ_RESUME;
		}
		if (bad)
			return gp(v);
		mezz_skip(v, len);
		/* CR8 went down: a masked interrupt may be deliverable; user
		 * space with its own controllers wants to know.
		 */
		if (cr == 8 && !v->lapic) {
			v->run->exit_reason = KVM_EXIT_SET_TPR;
			return MEZZ_USER;
		}
		return MEZZ_RESUME;
	}
	val = cr == 8 ? mezz_get_cr8(v) : mezz_get(v, cr == 0 ? MEZZ_CR0 :
						  cr == 3 ? MEZZ_CR3 : MEZZ_CR4);
	if (!mezz_64bit(v))
		val = (u32)val;
	mezz_set(v, gpr, val);
	mezz_skip(v, len);
	return MEZZ_RESUME;
}

int mezz_debug_exit(struct mezz_vcpu *v, u8 vector, u64 dr6)
{
	struct kvm_debug_exit_arch *d = &v->run->debug.arch;
	struct kvm_segment cs;

	mezz_engine->get_segment(v, MEZZ_CS, &cs);
	v->run->exit_reason = KVM_EXIT_DEBUG;
	d->exception = vector;
	d->pc = cs.base + mezz_get(v, MEZZ_RIP);
	d->dr6 = dr6;
	d->dr7 = v->guest_debug & KVM_GUESTDBG_USE_HW_BP ? v->guest_debug_dr[7] :
		 mezz_get(v, MEZZ_DR7);
	return MEZZ_USER;
}

/*
 * #AC because the host detects split locks (SDM 3, "#AC for Split-locked Accesses")? Not
 * if it is the guest's own, for misaligned data.
 */
static bool is_split_lock(struct mezz_vcpu *v)
{
	return boot_cpu_has(X86_FEATURE_SPLIT_LOCK_DETECT) &&
	       !(mezz_engine->cpl(v) == 3 && (mezz_get(v, MEZZ_CR0) & X86_CR0_AM) &&
		 (mezz_get(v, MEZZ_RFLAGS) & X86_EFLAGS_AC));
}

/* The guest knows nothing of it: what the host does with a process that has one is done. */
static int split_lock(struct mezz_vcpu *v, u32 err)
{
	if (v->atomic)
		return MEZZ_SLOW;
	if (handle_guest_split_lock(mezz_get(v, MEZZ_RIP)))
		return MEZZ_RESUME;
	v->run->exit_reason = KVM_EXIT_EXCEPTION;
	v->run->ex.exception = AC_VECTOR;
	v->run->ex.error_code = err;
	return MEZZ_USER;
}

int mezz_exit_exception(struct mezz_vcpu *v, u8 vector, bool has_err, u32 err)
{
	const u32 db = KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP;

	if (vector == UD_VECTOR)
		return undefined(v);
	if (vector == DB_VECTOR && (v->guest_debug & db))
		return mezz_debug_exit(v, vector, mezz_get(v, MEZZ_DR6));
	if (vector == BP_VECTOR && (v->guest_debug & KVM_GUESTDBG_USE_SW_BP))
		return mezz_debug_exit(v, vector, 0);
	if (vector == AC_VECTOR && unlikely(is_split_lock(v)))
		return split_lock(v, err);
	mezz_queue_exception(v, vector, has_err, err);
	return MEZZ_RESUME;
}

/* --- RIP --- */

void mezz_set_rip(struct mezz_vcpu *v, u64 rip)
{
	mezz_set(v, MEZZ_RIP, mezz_64bit(v) ? rip : (u32)rip);
	if (mezz_engine->get_shadow(v))
		mezz_engine->set_shadow(v, 0);
}

void mezz_skip(struct mezz_vcpu *v, unsigned int len)
{
	u64 rip = mezz_get(v, MEZZ_RIP) + len;

	/* Wraps at 4 GiB outside 64-bit mode; below that there is nothing to ask. */
	if (unlikely(rip >> 32) && !mezz_64bit(v))
		rip = (u32)rip;
	mezz_set(v, MEZZ_RIP, rip);
	if (unlikely(mezz_engine->get_shadow(v)))
		mezz_engine->set_shadow(v, 0);
	if (unlikely((mezz_get(v, MEZZ_RFLAGS) & X86_EFLAGS_TF) ||
		     (v->guest_debug & KVM_GUESTDBG_SINGLESTEP)))
		mezz_singlestep(v);
}
