// SPDX-License-Identifier: GPL-2.0-only
/*
 * An x2APIC in hardware: "virtualize x2APIC mode", "APIC-register virtualization" and
 * "virtual-interrupt delivery", used all three or none (SDM 3, "APIC Virtualization and
 * Virtual Interrupts"). The core loads the virtual-APIC page; here are the controls,
 * the MSR bitmap and what is pending beside the page.
 *
 * Hardware reads from the page whichever register the bitmap lets through, so it lets
 * through only what is kept there. It writes TPR, EOI and SELF IPI; a write to another
 * one would reach the host's own APIC.
 *
 * Left out: posted interrupts; who sends an interrupt makes the guest exit.
 *
 * Locking: the vCPU mutex, section open.
 */
#include <asm/apicdef.h>

#include "vmx.h"

/* Bit n: MSR 800h + n */
#define REG(offset)	BIT_ULL((offset) >> 4)
#define REGS_READ	(REG(APIC_TASKPRI) | REG(APIC_PROCPRI) | 0xffull * REG(APIC_ISR) |	\
			 0xffull * REG(APIC_IRR))
#define REGS_WRITTEN	(REG(APIC_TASKPRI) | REG(APIC_EOI) | REG(APIC_SELF_IPI))

void vmx_apic_mode(struct mezz_vcpu *v, bool on)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmx->apic = on;
	vmx_msr_permit64(page_address(vmx->msr_bitmap), APIC_BASE_MSR, on ? REGS_READ : 0,
			 on ? REGS_WRITTEN : 0);
	vmx_update_controls(vmx);
}

void vmx_apic_load(struct mezz_vcpu *v, u8 irr, u8 isr)
{
	vmwrite(VMCS_GUEST_APIC_STATUS, isr << APIC_STATUS_SVI_SHIFT | irr);
}

void vmx_apic_raise(struct mezz_vcpu *v, u8 irr)
{
	u32 status = vmread(VMCS_GUEST_APIC_STATUS);

	if (irr > (status & APIC_STATUS_RVI))
		vmwrite(VMCS_GUEST_APIC_STATUS, (status & ~APIC_STATUS_RVI) | irr);
}

void vmx_apic_eoi_exits(struct mezz_vcpu *v, const unsigned long *vectors)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		vmwrite(VMCS_EOI_EXIT0 + 2 * i, vectors[i]);
}
