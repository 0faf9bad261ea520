// SPDX-License-Identifier: GPL-2.0-only
/*
 * Can this machine do it? Probe, module-wide set-up, switching CPUs on and off,
 * and the engine's table of verbs.
 *
 * Required: VMX with EPT, virtual NMIs, MSR bitmaps, and loading of PAT and EFER, as
 * every CPU since Nehalem has them. Everything else is used where it is there.
 *
 * A crash: while VMX is on, INIT is blocked and CR4 cannot be written without
 * VMXE, so the capture kernel could not start. Hence vmx_crash().
 *
 * Locking: vmx_has and what setup allocates are constant while VMs exist;
 * vmx_cpu belongs to its CPU with IRQs off.
 */
#include <linux/cpufeature.h>
#include <linux/gfp.h>
#include <linux/smp.h>
#include <asm/bugs.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/msr-index.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>
#include <asm/tlbflush.h>
#include <asm/tsc.h>

#include "../host/host.h"
#include "vmx.h"

/* CPUID 1 ECX */
#define CPUID_VMX		BIT(5)

/* IA32_FEATURE_CONTROL: SDM 3, "Enabling and Entering VMX Operation" */
#define FC_LOCKED		BIT(0)
#define FC_VMX			BIT(2)

struct vmx_features vmx_has;
DEFINE_PER_CPU(struct vmx_cpu, vmx_cpu);

/* --- probe --- */

static void probe_host(struct mezz_host *host)
{
	/* It counts at the rate of one of the TSC's bits: SDM 3, "Miscellaneous Data". */
	vmx_has.timer_shift = vmx_has.caps.misc & 0x1f;
	vmx_has.timer = ((u64)tsc_khz * VMX_SLICE_MS >> vmx_has.timer_shift) + 1;
	vmx_has.limited = !(vmx_has.exec2 & EXEC2_UNRESTRICTED);
	vmx_has.cr0_fixed = vmx_has.caps.cr0_fixed0;
	/* Unrestricted guests may have these two as they like. */
	if (!vmx_has.limited)
		vmx_has.cr0_fixed &= ~(u64)(X86_CR0_PE | X86_CR0_PG);
	vmx_has.cr4_fixed = vmx_has.caps.cr4_fixed0;
	vmx_has.l1d_flush = boot_cpu_has_bug(X86_BUG_L1TF) &&
			    l1tf_mitigation != L1TF_MITIGATION_OFF &&
			    boot_cpu_has(X86_FEATURE_FLUSH_L1D);

	mezz_fpu_probe(host);
	host->max_asid = vmx_has.exec2 & EXEC2_VPID ? 0x10000 : 0;
	host->tsc_scaling = vmx_has.exec2 & EXEC2_TSC_SCALING;
	host->tsc_frac_bits = 48;
	host->partial = vmx_has.limited;
}

static void count_owned(void *n)
{
	if (__read_cr4() & X86_CR4_VMXE)
		atomic_inc(n);
}

static int vmx_probe(struct mezz_host *host, char *why, size_t len)
{
	atomic_t owned = ATOMIC_INIT(0);
	const char *missing = NULL;
	u64 fc;

	/* Asked of the CPU: the kernel hides VMX when the firmware disabled it. */
	if (!(cpuid_ecx(1) & CPUID_VMX)) {
		strscpy(why, "this CPU has no VMX (Intel VT-x)", len);
		return -ENODEV;
	}
	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &fc) || !(fc & FC_LOCKED) || !(fc & FC_VMX)) {
		strscpy(why, "the firmware has disabled VMX: enable it in the BIOS set-up", len);
		return -EOPNOTSUPP;
	}
#ifdef X86_FEATURE_FRED
	if (cpu_feature_enabled(X86_FEATURE_FRED)) {
		strscpy(why, "the host kernel uses FRED: boot it with fred=off", len);
		return -EOPNOTSUPP;
	}
#endif
	on_each_cpu(count_owned, &owned, 1);
	if (atomic_read(&owned)) {
		strscpy(why,
			"kvm_intel holds this CPU: rmmod kvm_intel, or stop what runs on it (VirtualBox...)",
			len);
		return -EBUSY;
	}
	vmx_read_caps(&vmx_has.caps);
	vmx_has.revision = vmx_has.caps.basic & BASIC_REVISION;
	if (!(vmx_has.caps.basic & BASIC_TRUE_CTLS) ||
	    BASIC_MEM_TYPE(vmx_has.caps.basic) != MEM_TYPE_WB)
		missing = "the true control MSRs";
	missing = missing ?: vmx_probe_controls();
	missing = missing ?: vmx_probe_ept(host);
	if (missing) {
		snprintf(why, len, "this CPU's VMX is too old: it lacks %s", missing);
		return -EOPNOTSUPP;
	}
	probe_host(host);
	return 0;
}

/* --- module-wide memory --- */

static void vmx_teardown(void)
{
	mezz_cpu_pages_free(&vmx_cpu.region);
	mezz_msr_map_free(&vmx_msr_map, &vmx_msr_map.shared);
	vmx_limited_teardown();
}

static int vmx_setup(void)
{
	if (mezz_cpu_pages_alloc(&vmx_cpu.region) || mezz_msr_map_setup(&vmx_msr_map) ||
	    (vmx_has.limited && vmx_limited_setup(&mezz_host))) {
		vmx_teardown();
		return -ENOMEM;
	}
	return 0;
}

/* --- CPUs on and off --- */

/* What exits load that differs between CPUs but never changes on one. */
static void sample_host(struct vmx_cpu *c)
{
	mezz_host_get_tables(&c->tables);
	rdmsrl(MSR_GS_BASE, c->gs_base);
	rdmsrl(MSR_IA32_SYSENTER_ESP, c->sysenter_esp);
	rdmsrl(MSR_STAR, c->syscall[VMX_STAR]);
	rdmsrl(MSR_LSTAR, c->syscall[VMX_LSTAR]);
	rdmsrl(MSR_SYSCALL_MASK, c->syscall[VMX_SFMASK]);
}

static int vmx_cpu_on(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	u64 fc;

	if (c->on)
		return 0;
	if (__read_cr4() & X86_CR4_VMXE)
		return -EBUSY;
	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &fc) || !(fc & FC_LOCKED) || !(fc & FC_VMX))
		return -EBUSY;
	*(u32 *)page_address(c->region) = vmx_has.revision;
	INIT_LIST_HEAD(&c->vmcss);
	cr4_set_bits_irqsoff(X86_CR4_VMXE);
	if (vmxon(page_to_phys(c->region))) {
		cr4_clear_bits_irqsoff(X86_CR4_VMXE);
		return -EBUSY;
	}
	/* Whatever other hypervisors left in the TLB. */
	invept(2, 0);
	c->current_vmcs = NULL;
	sample_host(c);
	c->on = true;
	return 0;
}

static void vmx_cpu_off(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);

	if (!c->on)
		return;
	vmx_clear_all(c);
	c->on = false;
	vmxoff();
	cr4_clear_bits_irqsoff(X86_CR4_VMXE);
}

/* The crash may have interrupted anything, so nothing but the CPU is touched. */
static void vmx_crash(void)
{
	if (!(__read_cr4() & X86_CR4_VMXE))
		return;
	vmxoff();
	cr4_clear_bits_irqsoff(X86_CR4_VMXE);
}

/* --- CPUID --- */

/* Instructions that need a control. */
static void vmx_cpuid_mask(u32 function, u32 index, u32 *regs)
{
	if (function == 0x7 && !index) {
		regs[1] &= vmx_has.exec2 & EXEC2_INVPCID ? ~0u : ~BIT(10);
		regs[2] &= vmx_has.exec2 & EXEC2_RDTSCP ? ~0u : ~BIT(22);	/* RDPID */
	} else if (function == 0xd && index == 1) {
		regs[0] &= vmx_has.exec2 & EXEC2_XSAVES ? ~0u : ~BIT(3);
	} else if (function == 0x80000001) {
		regs[3] &= vmx_has.exec2 & EXEC2_RDTSCP ? ~0u : ~BIT(27);
	}
}

const struct mezz_engine mezz_vmx_engine = {
	.name = "vmx",
	.vcpu_size = sizeof(struct vmx_vcpu),
	.pt = &vmx_pt_format,
	.probe = vmx_probe,
	.setup = vmx_setup,
	.teardown = vmx_teardown,
	.cpu_on = vmx_cpu_on,
	.cpu_off = vmx_cpu_off,
	.crash = vmx_crash,
	.vcpu_create = vmx_vcpu_create,
	.vcpu_destroy = vmx_vcpu_destroy,
	.vcpu_reset = vmx_vcpu_reset,
	.cpuid_changed = vmx_cpuid_changed,
	.load = vmx_load,
	.unload = vmx_unload,
	.enter = vmx_enter,
	.runnable = vmx_runnable,
	.fetch = vmx_fetch,
	.get_segment = vmx_get_segment,
	.set_segment = vmx_set_segment,
	.get_dt = vmx_get_dt,
	.set_dt = vmx_set_dt,
	.get_pdptes = vmx_get_pdptes,
	.set_pdptes = vmx_set_pdptes,
	.cpl = vmx_cpl,
	.cs_mode = vmx_cs_mode,
	.insn_len = vmx_insn_len,
	.insn_bytes = vmx_insn_bytes,
	.inject = vmx_inject,
	.cancel_injection = vmx_cancel_injection,
	.get_shadow = vmx_get_shadow,
	.set_shadow = vmx_set_shadow,
	.irq_allowed = vmx_irq_allowed,
	.nmi_allowed = vmx_nmi_allowed,
	.get_nmi_mask = vmx_get_nmi_mask,
	.set_nmi_mask = vmx_set_nmi_mask,
	.open_irq_window = vmx_open_irq_window,
	.open_nmi_window = vmx_open_nmi_window,
	.update_cr8 = vmx_update_cr8,
	.apic_mode = vmx_apic_mode,
	.apic_load = vmx_apic_load,
	.apic_raise = vmx_apic_raise,
	.apic_eoi_exits = vmx_apic_eoi_exits,
	.get_msr = vmx_get_msr,
	.set_msr = vmx_set_msr,
	.msr_intercept = vmx_msr_intercept,
	.update_debug = vmx_update_debug,
	.own_dr = vmx_own_dr,
	.update_tsc = vmx_update_tsc,
	.set_timer = vmx_set_timer,
	.flush_tlb = vmx_flush_tlb,
	.flush_memory = vmx_flush_memory,
	.set_root = vmx_set_root,
	.exit_info = vmx_exit_info,
	.log_writes = vmx_log_writes,
	.dump = vmx_dump,
	.cpuid_mask = vmx_cpuid_mask,
	.direct_msrs = vmx_direct_msrs,
	.msrs = vmx_msrs,
	.hypercall = { 0x0f, 0x01, 0xc1 },	/* VMCALL */
};
