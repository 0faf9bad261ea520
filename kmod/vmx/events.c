// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events on their way into the guest: injection, interrupt shadow, NMI mask,
 * windows.
 *
 * The hardware keeps the NMI mask (virtual NMIs) and has a window for each kind,
 * so nothing is single-stepped. Software interrupts are injected with RIP at the
 * instruction and its length beside them.
 *
 * INT1 whose delivery was interrupted is not injected again: RIP is still at the
 * instruction, which is simply executed once more.
 *
 * Locking: the vCPU mutex.
 */
#include <asm/msr.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "../emulate/emulate.h"
#include "vmx.h"

#define SHADOWS		(STATE_STI | STATE_MOV_SS)

/* --- interruptibility state --- */

static u32 intr_state(struct vmx_vcpu *vmx)
{
	if (!(vmx->have & VMX_HAVE_INTR_STATE)) {
		vmx->intr_state = vmx_read(vmx, VMCS_GUEST_INTR_STATE);
		vmx->have |= VMX_HAVE_INTR_STATE;
	}
	return vmx->intr_state;
}

static void set_intr_state(struct vmx_vcpu *vmx, u32 clear, u32 set)
{
	u32 old = intr_state(vmx), new = (old & ~clear) | set;

	if (old == new)
		return;
	vmx->intr_state = new;
	vmx_write(vmx, VMCS_GUEST_INTR_STATE, new);
}

u32 vmx_get_shadow(struct mezz_vcpu *v)
{
	u32 state = intr_state(to_vmx(v));

	return (state & STATE_STI ? KVM_X86_SHADOW_INT_STI : 0) |
	       (state & STATE_MOV_SS ? KVM_X86_SHADOW_INT_MOV_SS : 0);
}

/* Hardware refuses both at once. */
void vmx_set_shadow(struct mezz_vcpu *v, u32 shadow)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 set = 0;

	if (shadow & KVM_X86_SHADOW_INT_MOV_SS)
		set = STATE_MOV_SS;
	else if (shadow & KVM_X86_SHADOW_INT_STI)
		set = STATE_STI;
	set_intr_state(vmx, SHADOWS, set);
	if (set) {
		vmx->pre |= VMX_PRE_SHADOW;
		vmx_wake(vmx);
	}
}

bool vmx_irq_allowed(struct mezz_vcpu *v)
{
	return (mezz_get(v, MEZZ_RFLAGS) & X86_EFLAGS_IF) && !(intr_state(to_vmx(v)) & SHADOWS);
}

bool vmx_nmi_allowed(struct mezz_vcpu *v)
{
	return !(intr_state(to_vmx(v)) & (STATE_NMI | SHADOWS));
}

bool vmx_get_nmi_mask(struct mezz_vcpu *v)
{
	return intr_state(to_vmx(v)) & STATE_NMI;
}

void vmx_set_nmi_mask(struct mezz_vcpu *v, bool masked)
{
	set_intr_state(to_vmx(v), STATE_NMI, masked ? STATE_NMI : 0);
}

/* --- before an entry --- */

/* Exits behind an instruction, whose step is done. */
static bool trapped(const struct mezz_exit *e)
{
	return e == &vmx_exits[VMX_TPR] || e == &vmx_exits[VMX_EOI] ||
	       e == &vmx_exits[VMX_APIC_WRITE];
}

/* SDM 3, "Checks on Guest Non-Register State" */
static void check_shadow(struct vmx_vcpu *vmx)
{
	u64 flags = mezz_get(&vmx->v, MEZZ_RFLAGS);
	u64 pending;

	if (!(flags & X86_EFLAGS_IF))
		set_intr_state(vmx, STATE_STI, 0);
	if ((flags & X86_EFLAGS_TF) && (intr_state(vmx) & SHADOWS)) {
		pending = vmread(VMCS_GUEST_PENDING_DB);
		vmwrite(VMCS_GUEST_PENDING_DB, pending | PENDING_DB_BS);
	}
}

void vmx_before_entry(struct vmx_vcpu *vmx)
{
	u64 flags;

	if (vmx->pre & VMX_PRE_STEP) {
		flags = mezz_get(&vmx->v, MEZZ_RFLAGS);
		vmx->step_tf = !(flags & X86_EFLAGS_TF);
		vmwrite(VMCS_GUEST_RFLAGS, flags | X86_EFLAGS_TF);
		/* Or the step would end one instruction late. */
		set_intr_state(vmx, SHADOWS, 0);
		if (!trapped(vmx->v.exit))
			vmwrite(VMCS_GUEST_PENDING_DB, 0);
	}
	if (vmx->pre & VMX_PRE_SHADOW)
		check_shadow(vmx);
	if ((vmx->pre & VMX_PRE_TPR) && (vmx->exec & EXEC_TPR_SHADOW))
		vmwrite(VMCS_TPR_THRESHOLD, vmx->tpr_threshold);
	if (vmx->pre & VMX_PRE_L1D)
		wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
	vmx->pre &= VMX_PRE_STEP;
}

/* --- injection --- */

void vmx_inject(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector,
		bool has_err, u32 err, unsigned int insn_len)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 info = INTR_VALID | vector;

	if (unlikely(!v->atomic)) {
		mezz_emul_deliver(v, vector);
		return;
	}
	/* A CPU that has halted takes few kinds (SDM 3, "Event Injection"). */
	vmx_wake(vmx);
	switch (type) {
	case MEZZ_EV_IRQ:
		info |= INTR_TYPE_IRQ;
		break;
	case MEZZ_EV_NMI:
		info |= INTR_TYPE_NMI;
		break;
	case MEZZ_EV_SOFT_INT:
		info |= INTR_TYPE_SOFT;
		vmwrite(VMCS_ENTRY_INSN_LEN, insn_len ?: 2);
		break;
	case MEZZ_EV_EXCEPTION:
	case MEZZ_EV_SOFT_EXC:
		if (vector == BP_VECTOR || vector == OF_VECTOR) {
			info |= INTR_TYPE_SOFT_EXC;
			vmwrite(VMCS_ENTRY_INSN_LEN, insn_len ?: 1);
			break;
		}
		info |= INTR_TYPE_EXC;
		/* A step behind STI: the shadow is still there, see check_shadow(). */
		if (vector == DB_VECTOR)
			vmx->pre |= VMX_PRE_SHADOW;
		/* Not ours to choose: SDM 3, "VM-Entry Control Fields". */
		if (vector < 32 && (BIT(vector) & EXC_WITH_ERROR) && mezz_protected(v)) {
			info |= INTR_ERR;
			vmwrite(VMCS_ENTRY_INTR_ERR, has_err ? err & 0x7fff : 0);
		}
		break;
	}
	vmwrite(VMCS_ENTRY_INTR, info);
	vmx->injected = true;
}

/* v->ev still says "injected": only the control structure has to forget. */
void vmx_cancel_injection(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (!vmx->injected)
		return;
	vmx->injected = false;
	vmx_write(vmx, VMCS_ENTRY_INTR, 0);
	mezz_request(v, MEZZ_REQ_EVENT);
}

/* SDM 3, "Information for VM Exits During Event Delivery" */
static void put_back(struct vmx_vcpu *vmx, u32 info)
{
	enum mezz_event_type type;
	unsigned int len = 0;

	switch (info & INTR_TYPE) {
	case INTR_TYPE_IRQ:
		type = MEZZ_EV_IRQ;
		break;
	case INTR_TYPE_NMI:
		/* It masks them when it is delivered. */
		set_intr_state(vmx, STATE_NMI, 0);
		type = MEZZ_EV_NMI;
		break;
	case INTR_TYPE_EXC:
		type = MEZZ_EV_EXCEPTION;
		break;
	case INTR_TYPE_SOFT:
	case INTR_TYPE_SOFT_EXC:
		len = vmread(VMCS_EXIT_INSN_LEN);
		type = (info & INTR_TYPE) == INTR_TYPE_SOFT ? MEZZ_EV_SOFT_INT : MEZZ_EV_SOFT_EXC;
		break;
	default:
		return;
	}
	mezz_requeue_event(&vmx->v, type, info & INTR_VECTOR, info & INTR_ERR,
			   info & INTR_ERR ? vmread(VMCS_IDT_ERR) : 0, len);
}

/*
 * The instruction was not executed, so there is no step to report. Hardware has one
 * here only behind MOV SS, Bochs (2.7) always.
 */
static void drop_step(struct vmx_vcpu *vmx)
{
	u64 pending = vmread(VMCS_GUEST_PENDING_DB);

	if (unlikely(pending & PENDING_DB_BS) && !(intr_state(vmx) & STATE_MOV_SS))
		vmwrite(VMCS_GUEST_PENDING_DB, pending & ~PENDING_DB_BS);
}

void vmx_requeue(struct vmx_vcpu *vmx, u32 reason)
{
	u32 info = vmread(VMCS_IDT_INFO);
	bool unblock = false;

	if (reason == VMX_EXCEPTION) {
		vmx->exit_intr = vmread(VMCS_EXIT_INTR);
		unblock = (vmx->exit_intr & INTR_NMI_UNBLOCK) &&
			  (vmx->exit_intr & INTR_VECTOR) != DF_VECTOR;
	}
	if (unlikely(info & INTR_VALID)) {
		put_back(vmx, info);
		return;
	}
	/* SDM 3, "Resuming Guest Software after Handling an Exception": IRET faulted. */
	if (reason == VMX_EPT_VIOLATION || reason == VMX_PML_FULL) {
		unblock = vmread(VMCS_QUALIFICATION) & EPT_Q_NMI_UNBLOCK;
		drop_step(vmx);
	}
	if (unlikely(unblock))
		set_intr_state(vmx, 0, STATE_NMI);
}

/* --- windows --- */

void vmx_open_irq_window(struct mezz_vcpu *v)
{
	vmx_set_exec(to_vmx(v), EXEC_INTR_WINDOW, true);
}

void vmx_open_nmi_window(struct mezz_vcpu *v)
{
	vmx_set_exec(to_vmx(v), EXEC_NMI_WINDOW, true);
}
