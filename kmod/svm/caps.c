// SPDX-License-Identifier: GPL-2.0-only
/*
 * Can this machine do it? Probe, module-wide set-up, switching CPUs on and off,
 * and the engine's table of verbs.
 *
 * Required: SVM and nested paging. Everything else is used where it is there.
 *
 * Locking: svm_has and what setup allocates are constant while VMs exist;
 * svm_cpu belongs to its CPU with IRQs off.
 */
#include <linux/cpufeature.h>
#include <linux/gfp.h>
#include <linux/mem_encrypt.h>
#include <linux/smp.h>
#include <asm/cpuid.h>
#include <asm/msr.h>
#include <asm/msr-index.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>
#include <asm/tlbflush.h>

#include "../host/host.h"
#include "../host/spec.h"
#include "svm.h"

#define VM_CR_SVMDIS	BIT(4)

/* CPUID 8000_0001 ECX, 8000_000A EDX: APM3 */
#define CPUID_SVM	BIT(2)
#define SVM_F_NPT	BIT(0)
#define SVM_F_NRIPS	BIT(3)
#define SVM_F_TSC_RATIO	BIT(4)
#define SVM_F_FLUSH_ASID BIT(6)
#define SVM_F_DECODE	BIT(7)
#define SVM_F_PAUSE	BIT(10)
#define SVM_F_PAUSE_TH	BIT(12)
#define SVM_F_V_SPEC	BIT(20)

/* Every port exits: 64 Ki bits and the three after the last port. */
#define IOPM_ORDER	2

struct svm_features svm_has;
DEFINE_PER_CPU(struct svm_cpu, svm_cpu);
u64 svm_iopm_pa;
static struct page *iopm;

/*
 * Nested tables have the format of ordinary ones, and the nested walk is a user
 * access: APM2, "Nested Table Walk". PWT and PCD together select UC.
 */
const struct mezz_pt_format svm_pt_format = {
	.present = _PAGE_PRESENT,
	.table = _PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED,
	.leaf = _PAGE_USER | _PAGE_ACCESSED,
	.large = _PAGE_PSE,
	.read = _PAGE_PRESENT,
	.write = _PAGE_RW,
	.nx = _PAGE_NX,
	.accessed = _PAGE_ACCESSED,
	.dirty = _PAGE_DIRTY,
	.uncached = _PAGE_PCD | _PAGE_PWT,
	.addr = GENMASK_ULL(51, 12),
};

/* --- probe --- */

static void count_owned(void *n)
{
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME)
		atomic_inc(n);
}

static void probe_features(u32 edx)
{
	svm_has.me = sme_me_mask;
	svm_has.nrips = edx & SVM_F_NRIPS;
	svm_has.decode_assists = edx & SVM_F_DECODE;
	svm_has.flush_by_asid = edx & SVM_F_FLUSH_ASID;
	svm_has.pause_filter = edx & SVM_F_PAUSE;
	svm_has.pause_threshold = edx & SVM_F_PAUSE_TH;
	svm_has.tsc_ratio = edx & SVM_F_TSC_RATIO;
	svm_has.xsetbv_unseen = boot_cpu_has(X86_FEATURE_HYPERVISOR);
}

static int svm_probe(struct mezz_host *host, char *why, size_t len)
{
	atomic_t owned = ATOMIC_INIT(0);
	u32 edx;
	u64 vm_cr;

	/* Asked of the CPU: newer kernels hide SVM when the firmware disabled it. */
	if (cpuid_eax(0x80000000) < 0x8000000a || !(cpuid_ecx(0x80000001) & CPUID_SVM)) {
		strscpy(why, "this CPU has no SVM (AMD-V)", len);
		return -ENODEV;
	}
	if (!rdmsrl_safe(MSR_VM_CR, &vm_cr) && (vm_cr & VM_CR_SVMDIS)) {
		strscpy(why, "the firmware has disabled SVM: enable it in the BIOS set-up", len);
		return -EOPNOTSUPP;
	}
	edx = cpuid_edx(0x8000000a);
	svm_has.asids = cpuid_ebx(0x8000000a);
	if (!(edx & SVM_F_NPT) || svm_has.asids < 2) {
		strscpy(why, "this CPU has SVM but no nested paging (NPT)", len);
		return -EOPNOTSUPP;
	}
	on_each_cpu(count_owned, &owned, 1);
	if (atomic_read(&owned)) {
		strscpy(why,
			"kvm_amd holds this CPU: rmmod kvm_amd, or stop what runs on it (VirtualBox...)",
			len);
		return -EBUSY;
	}
	probe_features(edx);

	mezz_fpu_probe(host);
	host->max_asid = svm_has.asids;
	/* The nested walk has as many levels as the host's own. */
	host->pt_levels = __read_cr4() & X86_CR4_LA57 ? 5 : 4;
	host->max_page_level = boot_cpu_has(X86_FEATURE_GBPAGES) ? 3 : 2;
	host->tsc_scaling = svm_has.tsc_ratio;
	host->tsc_frac_bits = 32;
	host->spec_in_block = edx & SVM_F_V_SPEC;
	return 0;
}

/* --- module-wide memory --- */

static void svm_teardown(void)
{
	if (iopm)
		__free_pages(iopm, IOPM_ORDER);
	iopm = NULL;
	mezz_msr_map_free(&svm_msr_map, &svm_msr_map.shared);
	mezz_cpu_pages_free(&svm_cpu.hsave);
	mezz_cpu_pages_free(&svm_cpu.host);
}

static int svm_setup(void)
{
	if (mezz_cpu_pages_alloc(&svm_cpu.hsave) || mezz_cpu_pages_alloc(&svm_cpu.host) ||
	    mezz_msr_map_setup(&svm_msr_map))
		goto fail;
	iopm = alloc_pages(GFP_KERNEL, IOPM_ORDER);
	if (!iopm)
		goto fail;
	memset(page_address(iopm), 0xff, PAGE_SIZE << IOPM_ORDER);
	svm_iopm_pa = svm_pa(iopm);
	return 0;

fail:
	svm_teardown();
	return -ENOMEM;
}

/* --- CPUs on and off --- */

static int svm_cpu_on(void)
{
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);
	u64 efer, vm_cr;

	if (c->on)
		return 0;
	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME)
		return -EBUSY;
	if (!rdmsrl_safe(MSR_VM_CR, &vm_cr) && (vm_cr & VM_CR_SVMDIS))
		return -EBUSY;
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, svm_pa(c->hsave));
	c->host_pa = svm_pa(c->host);
	/* Whatever the TLB holds: the first ASID begins a generation with a flush. */
	c->asid_gen++;
	c->next_asid = svm_has.asids;
	c->tsc_ratio = 0;	/* unknown */
	mezz_reduce_speculation(true);
	c->on = true;
	return 0;
}

static void svm_cpu_off(void)
{
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);
	u64 efer;

	if (!c->on)
		return;
	c->on = false;
	if (svm_has.tsc_ratio)
		wrmsr(MSR_AMD64_TSC_RATIO, 0, 1);	/* 1:1 */
	mezz_reduce_speculation(false);
	wrmsrl(MSR_VM_HSAVE_PA, 0);
	rdmsrl(MSR_EFER, efer);
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
}

const struct mezz_engine mezz_svm_engine = {
	.name = "svm",
	.vcpu_size = sizeof(struct svm_vcpu),
	.pt = &svm_pt_format,
	.probe = svm_probe,
	.setup = svm_setup,
	.teardown = svm_teardown,
	.cpu_on = svm_cpu_on,
	.cpu_off = svm_cpu_off,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,
	.vcpu_reset = svm_vcpu_reset,
	.cpuid_changed = svm_cpuid_changed,
	.load = svm_load,
	.unload = svm_unload,
	.enter = svm_enter,
	.fetch = svm_fetch,
	.get_segment = svm_get_segment,
	.set_segment = svm_set_segment,
	.get_dt = svm_get_dt,
	.set_dt = svm_set_dt,
	.cpl = svm_cpl,
	.cs_mode = svm_cs_mode,
	.insn_len = svm_insn_len,
	.insn_bytes = svm_insn_bytes,
	.inject = svm_inject,
	.cancel_injection = svm_cancel_injection,
	.get_shadow = svm_get_shadow,
	.set_shadow = svm_set_shadow,
	.irq_allowed = svm_irq_allowed,
	.nmi_allowed = svm_nmi_allowed,
	.get_nmi_mask = svm_get_nmi_mask,
	.set_nmi_mask = svm_set_nmi_mask,
	.open_irq_window = svm_open_irq_window,
	.open_nmi_window = svm_open_nmi_window,
	.update_cr8 = svm_update_cr8,
	.get_msr = svm_get_msr,
	.set_msr = svm_set_msr,
	.msr_intercept = svm_msr_intercept,
	.update_debug = svm_update_debug,
	.own_dr = svm_own_dr,
	.update_spec = svm_update_spec,
	.update_tsc = svm_update_tsc,
	.flush_tlb = svm_flush_tlb,
	.flush_memory = svm_flush_tlb,
	.set_root = svm_set_root,
	.exit_info = svm_exit_info,
	.dump = svm_dump,
	.direct_msrs = svm_direct_msrs,
	.msrs = svm_msrs,
	.hypercall = { 0x0f, 0x01, 0xd9 },	/* VMMCALL */
};
