// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page-modification logging (SDM 3, "Page-Modification Logging"): a write that sets a
 * dirty bit of the second stage puts its address into a page of the vCPU's, from the
 * last entry to the first, and exits when there is no place left.
 *
 * The page is emptied then, before an interrupt of the host is taken, and when the
 * section ends; so others that make a vCPU leave the guest find nothing in it. What
 * they do so for is told in mmu/dirty.c.
 *
 * Known hack: the addresses are those of pages, but Bochs' (2.7) are those of bytes.
 * The core looks at the frame number only.
 */
#include <linux/gfp.h>
#include <linux/mm.h>

#include "vmx.h"

#define LAST	(PAGE_SIZE / sizeof(u64) - 1)

void vmx_empty_log(struct vmx_vcpu *vmx)
{
	/* Where the next address goes: beyond 0 if there is no place. */
	u16 next = vmread(VMCS_GUEST_PML_INDEX);
	unsigned int end = next > LAST ? 0 : next + 1, i;

	if (next == LAST)
		return;
	for (i = LAST + 1; i > end; i--)
		mezz_log_write(&vmx->v, vmx->log[i - 1]);
	vmwrite(VMCS_GUEST_PML_INDEX, LAST);
}

int vmx_exit_log_full(struct mezz_vcpu *v)
{
	vmx_empty_log(to_vmx(v));
	return MEZZ_RESUME;
}

int vmx_log_writes(struct mezz_vcpu *v, bool on)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	if (on && !vmx->log) {
		vmx->log = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!vmx->log)
			return -ENOMEM;
		vmx_write(vmx, VMCS_PML_ADDRESS, virt_to_phys(vmx->log));
		vmx_write(vmx, VMCS_GUEST_PML_INDEX, LAST);
	}
	vmx->logs = on;
	vmx_update_controls(vmx);
	return 0;
}
