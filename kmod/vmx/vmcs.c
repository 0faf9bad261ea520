// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a control structure: creation, reset, on which CPU it is, what
 * exits, and the fields that follow the core's state (TSC, TPR, second-stage
 * root).
 *
 * What exits: what is not the guest's (interrupts, NMI, I/O, MSRs), what the core
 * emulates, and what would let a guest hurt the host: WBINVD reaches all caches,
 * and #DB and #AC can repeat for ever inside one instruction. #UD exits for
 * hypercalls of the other vendor. Instructions that the guest's CPUID does not
 * have are made undefined by leaving their control off. Hardware task switches
 * always exit on this CPU; they are not emulated.
 *
 * TLB: each vCPU has a VPID for as long as it lives. All translations are of the
 * second stage or combined with it, and carry the EPT pointer. INVVPID drops those of
 * one vCPU, when its own page tables are the reason; INVEPT drops all with the EPT
 * pointer, when the second stage is, and when a vCPU comes to a CPU: translations
 * of long ago may be waiting there, also those of a dead vCPU that had its VPID and
 * of a dead VM that had its root page.
 *
 * Locking: the vCPU mutex. vmx_vcpu.cpu and .link change on the CPU in question
 * with IRQs off.
 */
#include <linux/cpufeature.h>
#include <linux/gfp.h>
#include <linux/idr.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <asm/desc.h>
#include <asm/msr.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <asm/special_insns.h>
#include <asm/trapnr.h>

#include "../cpu/cpu.h"
#include "../irq/irq.h"
#include "vmx.h"

/* PAUSE: exit after spinning this long, PAUSEs no further apart than the gap; in cycles. */
#define PLE_GAP		128
#define PLE_WINDOW	4096

/* Bits that concern nobody but the guest, whatever its CPUID says; CR0: vmx.h. */
#define CR4_OWNED	(X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PGE |	\
			 X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)

/* 0 is the host's. */
static DEFINE_IDA(vpids);

/* --- where it is --- */

/* On the CPU that has it, IRQs off. */
static void clear_here(struct vmx_vcpu *vmx, struct vmx_cpu *cpu)
{
	vmclear(vmx->vmcs_pa);
	vmx->launched = false;
	list_del(&vmx->link);
	if (cpu->current_vmcs == vmx)
		cpu->current_vmcs = NULL;
	/* The next CPU sees all of the above: pairs with move_here(). */
	smp_store_release(&vmx->cpu, -1);
}

static void clear_ipi(void *arg)
{
	struct vmx_vcpu *vmx = arg;

	/* Perhaps the CPU was switched off meanwhile. */
	if (vmx->cpu == smp_processor_id())
		clear_here(vmx, this_cpu_ptr(&vmx_cpu));
}

void vmx_clear_all(struct vmx_cpu *cpu)
{
	struct vmx_vcpu *vmx, *next;

	list_for_each_entry_safe(vmx, next, &cpu->vmcss, link)
		clear_here(vmx, cpu);
}

static void move_here(struct vmx_vcpu *vmx, struct vmx_cpu *cpu)
{
	int old;

	/* Pairs with clear_here(). */
	while ((old = smp_load_acquire(&vmx->cpu)) >= 0) {
		/* Two CPUs may want something of each other. */
		local_irq_enable();
		smp_call_function_single(old, clear_ipi, vmx, 1);
		local_irq_disable();
	}
	if (!cpu->on)
		return;
	list_add(&vmx->link, &cpu->vmcss);
	vmx->cpu = smp_processor_id();
	vmptrld(vmx->vmcs_pa);
	cpu->current_vmcs = vmx;
	vmx->flush = true;
	vmwrite(VMCS_HOST_CR0, read_cr0());
	vmwrite(VMCS_HOST_TR_BASE, cpu->tables.tr_base);
	vmwrite(VMCS_HOST_GDT_BASE, cpu->tables.gdt.address);
	vmwrite(VMCS_HOST_GS_BASE, cpu->gs_base);
	vmwrite(VMCS_HOST_SYSENTER_ESP, cpu->sysenter_esp);
}

void vmx_become_current(struct vmx_vcpu *vmx, struct vmx_cpu *cpu)
{
	if (vmx->cpu == smp_processor_id()) {
		vmptrld(vmx->vmcs_pa);
		cpu->current_vmcs = vmx;
	} else {
		move_here(vmx, cpu);
	}
}

u64 vmx_read_outside(struct vmx_vcpu *vmx, enum vmcs_field field)
{
	u64 val;

	local_irq_disable();
	preempt_disable();
	vmx_make_current(vmx, this_cpu_ptr(&vmx_cpu));
	val = vmread(field);
	local_irq_enable();
	preempt_enable();
	return val;
}

void vmx_write_outside(struct vmx_vcpu *vmx, enum vmcs_field field, u64 val)
{
	local_irq_disable();
	preempt_disable();
	vmx_make_current(vmx, this_cpu_ptr(&vmx_cpu));
	vmwrite(field, val);
	local_irq_enable();
	preempt_enable();
}

/* --- what exits --- */

void vmx_set_exec(struct vmx_vcpu *vmx, u32 bits, bool on)
{
	u32 exec = on ? vmx->exec | bits : vmx->exec & ~bits;

	if (exec == vmx->exec)
		return;
	vmx->exec = exec;
	vmx_write(vmx, VMCS_EXEC, exec);
}

static u32 exec_controls(struct vmx_vcpu *vmx)
{
	struct mezz_vcpu *v = &vmx->v;
	u64 native = v->vm->disabled_exits;
	u32 exec = vmx_has.exec & ~EXEC_TPR_SHADOW;

	if (v->lapic && (vmx_has.exec & EXEC_TPR_SHADOW))
		exec |= EXEC_TPR_SHADOW;
	else
		exec |= EXEC_CR8_LOAD | EXEC_CR8_STORE;
	if (native & KVM_X86_DISABLE_EXITS_HLT)
		exec &= ~EXEC_HLT;
	if (v->lazy.dr_live && !v->lazy.dr7_taken)
		exec &= ~EXEC_MOV_DR;
	if (vmx->flat)
		exec |= EXEC_CR3_LOAD | EXEC_CR3_STORE;
	return exec | (vmx->exec & (EXEC_INTR_WINDOW | EXEC_NMI_WINDOW));
}

static u32 exec2_controls(struct vmx_vcpu *vmx)
{
	struct mezz_vcpu *v = &vmx->v;
	u32 exec2 = vmx_has.exec2;

	if (!vmx->vpid)
		exec2 &= ~EXEC2_VPID;
	if (!vmx->apic)
		exec2 &= ~EXEC2_APIC;
	if (!v->lazy.use_tsc_aux)
		exec2 &= ~EXEC2_RDTSCP;
	if (!mezz_guest_has(v, X86_FEATURE_INVPCID))
		exec2 &= ~EXEC2_INVPCID;
	if (!mezz_guest_has(v, X86_FEATURE_XSAVES))
		exec2 &= ~EXEC2_XSAVES;
	if (v->vm->disabled_exits & KVM_X86_DISABLE_EXITS_PAUSE)
		exec2 &= ~EXEC2_PLE;
	if (!vmx->logs)
		exec2 &= ~EXEC2_PML;
	return exec2;
}

void vmx_update_controls(struct vmx_vcpu *vmx)
{
	u32 exc = BIT(DB_VECTOR) | BIT(UD_VECTOR) | BIT(AC_VECTOR) | BIT(MC_VECTOR);

	if (vmx->v.guest_debug & KVM_GUESTDBG_USE_SW_BP)
		exc |= BIT(BP_VECTOR);
	vmx_write(vmx, VMCS_EXCEPTIONS, exc);
	vmx->exec = exec_controls(vmx);
	vmx_write(vmx, VMCS_EXEC, vmx->exec);
	vmx_write(vmx, VMCS_EXEC2, exec2_controls(vmx));
}

void vmx_cpuid_changed(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u64 cr4 = mezz_get(v, MEZZ_CR4);

	vmx->cr4_owned = CR4_OWNED;
	if (mezz_guest_has(v, X86_FEATURE_FSGSBASE))
		vmx->cr4_owned |= X86_CR4_FSGSBASE;
	vmx_write(vmx, VMCS_CR4_MASK, ~vmx->cr4_owned);
	mezz_set(v, MEZZ_CR4, cr4);
	vmx_update_controls(vmx);
}

/* --- creation and reset --- */

/* Fields that never change, or only when the vCPU moves. */
static void init_fields(struct vmx_vcpu *vmx)
{
	const struct { enum vmcs_field field; u64 val; } zero_or[] = {
		{ VMCS_PIN, vmx_has.pin },
		{ VMCS_EXIT_CTL, vmx_has.exit },
		{ VMCS_MSR_BITMAP, page_to_phys(vmx->msr_bitmap ?: vmx_msr_map.shared) },
		{ VMCS_LINK, ~0ull }, { VMCS_GUEST_ACTIVITY }, { VMCS_GUEST_DEBUGCTL },
		{ VMCS_PF_MASK }, { VMCS_PF_MATCH }, { VMCS_CR3_TARGETS },
		{ VMCS_EXIT_MSR_STORES }, { VMCS_EXIT_MSR_LOADS }, { VMCS_ENTRY_MSR_LOADS },
		{ VMCS_EOI_EXIT0 }, { VMCS_EOI_EXIT0 + 2 },
		{ VMCS_EOI_EXIT0 + 4 }, { VMCS_EOI_EXIT0 + 6 },
		{ VMCS_CR0_MASK, ~CR0_OWNED },
		{ VMCS_HOST_CS_SEL, __KERNEL_CS }, { VMCS_HOST_SS_SEL, __KERNEL_DS },
		{ VMCS_HOST_TR_SEL, GDT_ENTRY_TSS * 8 },
		{ VMCS_HOST_ES_SEL }, { VMCS_HOST_DS_SEL }, { VMCS_HOST_FS_SEL },
		{ VMCS_HOST_GS_SEL }, { VMCS_HOST_FS_BASE },
	};
	struct desc_ptr idt;
	unsigned int i;
	u64 val;

	for (i = 0; i < ARRAY_SIZE(zero_or); i++)
		vmx_write(vmx, zero_or[i].field, zero_or[i].val);
	if (vmx_has.exec & EXEC_TPR_SHADOW)
		vmx_write(vmx, VMCS_VIRTUAL_APIC, virt_to_phys(vmx->vapic));
	if (vmx->vpid)
		vmx_write(vmx, VMCS_VPID, vmx->vpid);
	if (vmx_has.exec2 & EXEC2_PLE) {
		vmx_write(vmx, VMCS_PLE_GAP, PLE_GAP);
		vmx_write(vmx, VMCS_PLE_WINDOW, PLE_WINDOW);
	}
	if (vmx_has.exec2 & EXEC2_XSAVES)
		vmx_write(vmx, VMCS_XSS_EXIT_BITMAP, 0);
	if (vmx_has.exec2 & EXEC2_ENCLS)
		vmx_write(vmx, VMCS_ENCLS_EXIT_BITMAP, ~0ull);

	if (vmx_has.pin & PIN_TIMER)
		vmx_write(vmx, VMCS_GUEST_TIMER, vmx_has.timer);

	store_idt(&idt);
	vmx_write(vmx, VMCS_HOST_IDT_BASE, idt.address);
	rdmsrl(MSR_EFER, val);
	vmx_write(vmx, VMCS_HOST_EFER, val);
	rdmsrl(MSR_IA32_CR_PAT, val);
	vmx_write(vmx, VMCS_HOST_PAT, val);
	rdmsrl(MSR_IA32_SYSENTER_CS, val);
	vmx_write(vmx, VMCS_HOST_SYSENTER_CS, val);
	rdmsrl(MSR_IA32_SYSENTER_EIP, val);
	vmx_write(vmx, VMCS_HOST_SYSENTER_EIP, val);
}

int vmx_vcpu_create(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	int vpid = 0;

	vmx->cpu = -1;
	vmx->vmcs = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	vmx->vapic = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!vmx->vmcs || !vmx->vapic)
		return -ENOMEM;
	/* The APIC's MSRs come and go in the bitmap: also where one cannot allocate. */
	if ((vmx_has.exec2 & EXEC2_APIC) && mezz_irqchip_any(v->vm)) {
		if (mezz_msr_map_own(&vmx_msr_map, &vmx->msr_bitmap))
			return -ENOMEM;
		v->vapic = (u32 *)vmx->vapic;
	}
	vmx->vmcs->revision = vmx_has.revision;
	vmx->vmcs_pa = virt_to_phys(vmx->vmcs);
	if (vmx_has.exec2 & EXEC2_VPID)
		vpid = ida_alloc_range(&vpids, 1, 0xffff, GFP_KERNEL_ACCOUNT);
	if (vpid == -ENOMEM)
		return vpid;
	/* All taken: this one goes without, and loses its translations at each exit. */
	vmx->vpid = max(vpid, 0);
	/* SDM 3, "Initializing a VMCS": this makes its launch state known. */
	vmclear(vmx->vmcs_pa);
	init_fields(vmx);
	return 0;
}

void vmx_vcpu_destroy(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	int cpu;

	if (vmx->vmcs) {
		/* Pairs with clear_here(). */
		cpu = smp_load_acquire(&vmx->cpu);
		if (cpu >= 0)
			smp_call_function_single(cpu, clear_ipi, vmx, 1);
	}
	if (vmx->vpid)
		ida_free(&vpids, vmx->vpid);
	mezz_msr_map_free(&vmx_msr_map, &vmx->msr_bitmap);
	free_page((unsigned long)vmx->vmcs);
	free_page((unsigned long)vmx->vapic);
	free_page((unsigned long)vmx->log);
	vmx->vmcs = NULL;
	vmx->vapic = NULL;
	vmx->log = NULL;
	vmx->vpid = 0;
}

void vmx_vcpu_reset(struct mezz_vcpu *v, bool init)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmx_msr_reset(vmx, init);
	vmx->injected = false;
	vmx_write(vmx, VMCS_ENTRY_INTR, 0);
	vmx_write(vmx, VMCS_GUEST_PENDING_DB, 0);
	vmx->intr_state = 0;
	vmx->have |= VMX_HAVE_INTR_STATE;
	vmx_write(vmx, VMCS_GUEST_INTR_STATE, 0);
	vmx->exec &= ~(EXEC_INTR_WINDOW | EXEC_NMI_WINDOW);
	vmx->pdpte_ready = false;
	vmx->entry = vmx_has.entry;
	vmx_write(vmx, VMCS_ENTRY_CTL, vmx->entry);
	vmx_update_cr8(v, 0, -1);
	/* Controls too, and DR7; the core resets the registers in r[]. */
	mezz_update_debug(v);
	vmx_cpuid_changed(v);
}

/* --- what follows the core's state --- */

/*
 * Without virtual interrupt delivery the threshold must not be above the TPR
 * (SDM 3, "VM-Execution Control Fields").
 */
void vmx_update_cr8(struct mezz_vcpu *v, unsigned int tpr, int irr)
{
	struct vmx_vcpu *vmx = to_vmx(v);
	u32 threshold = irr < 0 ? 0 : min_t(u32, irr >> 4, tpr);

	vmx->tpr = tpr;
	vmx->vapic[VAPIC_TPR] = tpr << 4;
	if (vmx->tpr_threshold == threshold)
		return;
	vmx->tpr_threshold = threshold;
	vmx->pre |= VMX_PRE_TPR;
}

void vmx_update_tsc(struct mezz_vcpu *v)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmx_write(vmx, VMCS_TSC_OFFSET, v->tsc_offset);
	if (vmx_has.exec2 & EXEC2_TSC_SCALING)
		vmx_write(vmx, VMCS_TSC_MULTIPLIER, mezz_tsc_ratio(v));
}

void vmx_set_root(struct mezz_vcpu *v, u64 root)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	vmx->eptp = root | vmx_has.eptp;
	vmx_write(vmx, VMCS_EPTP, vmx->eptp);
	vmx->flush = true;
}

/* Without a VPID each entry drops them (SDM 3, "Caching Translation Information"). */
void vmx_flush_tlb(struct mezz_vcpu *v)
{
	if (to_vmx(v)->vpid)
		invvpid(vmx_has.invvpid_type, to_vmx(v)->vpid);
}

void vmx_flush_memory(struct mezz_vcpu *v)
{
	invept(vmx_has.invept_type, to_vmx(v)->eptp);
}

/* --- reports --- */

void vmx_exit_info(struct mezz_vcpu *v, u64 *code, u64 *info1, u64 *info2)
{
	struct vmx_vcpu *vmx = to_vmx(v);

	*code = vmx_read(vmx, VMCS_EXIT_REASON);
	*info1 = vmx_read(vmx, VMCS_QUALIFICATION);
	*info2 = vmx_read(vmx, VMCS_EXIT_INTR);
}
