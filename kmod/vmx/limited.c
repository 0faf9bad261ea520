// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUs without unrestricted guest (before 2010, or masked: unrestricted_guest=0).
 *
 * Their guests run with CR0.PE and CR0.PG set, whatever the guest thinks. So real mode
 * runs in software (emulate/software.c), and a guest without paging gets pages that
 * map every address to itself: a page directory of 4 MiB pages, one for all guests,
 * which the second stage maps read-only at the address that KVM_SET_IDENTITY_MAP_ADDR
 * names. It needs no accessed bits, and there are no EPT dirty bits beside it, with
 * which hardware would read it as if it were written.
 *
 * Code and stack segments must also fit each other by the rules of protected mode (SDM
 * 3, "Checks on Guest Segment Registers"). They don't between the setting of CR0.PE and
 * the jump that follows; that stretch runs in software, too.
 *
 * Locking: the vCPU mutex.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <asm/io.h>
#include <asm/msr-index.h>
#include <asm/pgtable_types.h>
#include <asm/processor-flags.h>

#include "../vm.h"
#include "vmx.h"

/* CR4 bits that change how, or whether, those pages map. */
#define CR4_PAGING	((u64)(X86_CR4_PAE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE |	\
			       X86_CR4_PCIDE))
#define CR3_EXITS	(EXEC_CR3_LOAD | EXEC_CR3_STORE)

#define PDE_FLAT	(_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED |	\
			 _PAGE_DIRTY | _PAGE_PSE)

static u32 *flat_pages;

int vmx_limited_setup(struct mezz_host *host)
{
	unsigned int i;

	flat_pages = (u32 *)__get_free_page(GFP_KERNEL);
	if (!flat_pages)
		return -ENOMEM;
	for (i = 0; i < PAGE_SIZE / sizeof(*flat_pages); i++)
		flat_pages[i] = i << 22 | PDE_FLAT;
	host->identity_hpa = virt_to_phys(flat_pages);
	return 0;
}

void vmx_limited_teardown(void)
{
	free_page((unsigned long)flat_pages);
	flat_pages = NULL;
}

static bool segments_fit(struct mezz_vcpu *v)
{
	struct kvm_segment cs, ss;

	if (!mezz_protected(v))
		return false;
	if (mezz_get(v, MEZZ_RFLAGS) & X86_EFLAGS_VM)
		return true;
	vmx_get_segment(v, MEZZ_CS, &cs);
	vmx_get_segment(v, MEZZ_SS, &ss);
	if (!cs.present || !cs.s || !(cs.type & 8) || ((cs.selector ^ ss.selector) & 3) ||
	    ss.dpl != (ss.selector & 3))
		return false;
	if (cs.type & 4 ? cs.dpl > ss.dpl : cs.dpl != ss.dpl)
		return false;
	return ss.unusable || (ss.s && (ss.type & ~4u) == 3);
}

bool vmx_runnable(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmx->software = vmx_has.limited && !segments_fit(v);
	return !vmx->software;
}

u32 vmx_flush_flat(struct vmx_vcpu *vmx)
{
	struct mezz_vcpu *v = &vmx->v;
	bool flat = !mezz_paging(v);

	if (flat == vmx->flat)
		return 0;
	/* From where they have been until now. */
	mezz_get(v, MEZZ_CR3);
	mezz_get(v, MEZZ_CR4);
	vmx->flat = flat;
	vmx_set_exec(vmx, CR3_EXITS, flat);
	return BIT(MEZZ_CR3) | BIT(MEZZ_CR4) | BIT(MEZZ_EFER);
}

u64 vmx_flat_cr3(struct vmx_vcpu *vmx, u64 cr3)
{
	vmx->flat_cr3 = cr3;
	return vmx->v.vm->identity_map_addr;
}

u64 vmx_flat_cr4(u64 cr4)
{
	return (cr4 & ~CR4_PAGING) | X86_CR4_PSE;
}
