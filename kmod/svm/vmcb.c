// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a control block: creation, reset, which intercepts it has, and the
 * fields that follow the core's state (TSC, TPR, second-stage root).
 *
 * Why these intercepts: what is not the guest's (interrupts, NMI, SMI, INIT,
 * I/O, MSRs), what the core emulates (CPUID, HLT, XSETBV, hypercalls; #UD for
 * those of another vendor), what the
 * guest does not have (SVM itself), and what would let a guest hurt the host:
 * WBINVD and INVD reach all caches, and #DB and #AC can repeat for ever inside
 * one instruction while microcode delivers them. Hardware task switches are left
 * to the hardware, which does them by itself under nested paging.
 *
 * Locking: the vCPU mutex.
 */
#include <linux/cpufeature.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "../cpu/cpu.h"
#include "../cpu/lazy.h"
#include "../host/host.h"
#include "svm.h"

/* PAUSE: exit after this many in a row, no more than so many cycles apart. */
#define PAUSE_COUNT	3000
#define PAUSE_THRESH	128

static const u8 always[] = {
	SVM_I_CR_WRITE + 4,
	SVM_I_EXCEPTION + DB_VECTOR, SVM_I_EXCEPTION + UD_VECTOR,
	SVM_I_EXCEPTION + AC_VECTOR, SVM_I_EXCEPTION + MC_VECTOR,
	SVM_I_INTR, SVM_I_NMI, SVM_I_SMI, SVM_I_INIT, SVM_I_VINTR, SVM_I_CR0_SEL,
	SVM_I_RDPMC, SVM_I_CPUID, SVM_I_INVD, SVM_I_INVLPGA, SVM_I_IOIO, SVM_I_MSR,
	SVM_I_SHUTDOWN,
	SVM_I_VMRUN, SVM_I_VMMCALL, SVM_I_VMLOAD, SVM_I_VMSAVE, SVM_I_STGI,
	SVM_I_CLGI, SVM_I_SKINIT, SVM_I_WBINVD, SVM_I_XSETBV, SVM_I_MONITOR, SVM_I_MWAIT,
};

static void put(u32 *w, unsigned int bit, bool on)
{
	if (on)
		w[bit / 32] |= 1u << bit % 32;
}

void svm_update_intercepts(struct svm_vcpu *svm)
{
	struct mezz_vcpu *v = &svm->v;
	u64 native = v->vm->disabled_exits;
	u32 w[SVM_NR_INTERCEPT_WORDS] = {};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(always); i++)
		put(w, always[i], true);
	put(w, SVM_I_CR_READ + 0, svm->cr0_cdnw);
	put(w, SVM_I_CR_WRITE + 0, svm->cr0_cdnw);
	put(w, SVM_I_CR_READ + 4, svm->vmcb->s.cr4 != v->r[MEZZ_CR4]);
	put(w, SVM_I_CR_WRITE + 8, svm->cr8_write);
	if (!v->lazy.dr_live || v->lazy.dr7_taken)
		w[SVM_I_DR_READ / 32] = ~0u;
	put(w, SVM_I_EXCEPTION + BP_VECTOR, v->guest_debug & KVM_GUESTDBG_USE_SW_BP);
	put(w, SVM_I_IRET, svm->nmi_masked && !svm->iret_pending);
	put(w, SVM_I_RDTSCP, !mezz_guest_has(v, X86_FEATURE_RDTSCP));
	put(w, SVM_I_RDPRU, boot_cpu_has(X86_FEATURE_RDPRU));
	put(w, SVM_I_HLT, !(native & KVM_X86_DISABLE_EXITS_HLT));
	put(w, SVM_I_PAUSE, svm_has.pause_filter && !(native & KVM_X86_DISABLE_EXITS_PAUSE));

	memcpy(svm->vmcb->c.intercept, w, sizeof(w));
	svm_unclean(svm, SVM_CLEAN_INTERCEPTS);
}

void svm_cpuid_changed(struct mezz_vcpu *v)
{
	svm_update_intercepts(to_svm(v));
}

/* --- creation and reset --- */

int svm_vcpu_create(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);
	struct page *page = mezz_control_page(NUMA_NO_NODE, GFP_KERNEL_ACCOUNT);
	struct svm_control *c;

	if (!page)
		return -ENOMEM;
	svm->vmcb = page_address(page);
	svm->vmcb_pa = svm_pa(page);

	c = &svm->vmcb->c;
	c->iopm_pa = svm_iopm_pa;
	c->msrpm_pa = svm_pa(svm_msr_map.shared);
	c->int_ctl = SVM_V_INTR_MASKING | SVM_V_IGN_TPR | 0xf << SVM_V_PRIO_SHIFT;
	c->nested_ctl = SVM_NP_ENABLE;
	if (svm_has.pause_filter) {
		c->pause_count = PAUSE_COUNT;
		c->pause_thresh = svm_has.pause_threshold ? PAUSE_THRESH : 0;
	}
	return 0;
}

void svm_vcpu_destroy(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	mezz_msr_map_free(&svm_msr_map, &svm->msrpm);
	if (svm->vmcb)
		__free_page(virt_to_page(svm->vmcb));
	svm->vmcb = NULL;
}

void svm_vcpu_reset(struct mezz_vcpu *v, bool init)
{
	struct svm_vcpu *svm = to_svm(v);
	struct svm_control *c = &svm->vmcb->c;

	svm_msr_reset(svm, init);
	c->event_inj = 0;
	c->int_state = 0;
	c->int_ctl &= ~(SVM_V_TPR | SVM_V_IRQ);
	svm->tpr = 0;
	svm->window = false;
	/* Without a LAPIC user space wants to see every write. */
	svm->cr8_write = !v->lapic;
	svm->nmi_masked = false;
	svm->iret_pending = false;
	svm->soft_injected = false;
	svm->post &= SVM_POST_STEP;
	svm_step_off(svm, SVM_STEP_NMI);
	/* Intercepts too, and DR7; the core resets the registers in r[]. */
	mezz_update_debug(v);
	c->clean = 0;
}

/* --- what follows the core's state --- */

/*
 * While V_IRQ is set every write exits: a CR8 that goes down would make QEMU 7.2's
 * emulated CPU look at V_IRQ without its lock, and abort.
 */
void svm_update_cr8(struct mezz_vcpu *v, unsigned int tpr, int irr)
{
	struct svm_vcpu *svm = to_svm(v);
	bool write = irr >= 0 || !v->lapic || svm->window;

	if (svm->tpr != tpr) {
		svm->tpr = tpr;
		svm->vmcb->c.int_ctl = (svm->vmcb->c.int_ctl & ~SVM_V_TPR) | tpr;
		svm_unclean(svm, SVM_CLEAN_TPR);
	}
	if (svm->cr8_write == write)
		return;
	svm->cr8_write = write;
	svm_put_intercept(svm, SVM_I_CR_WRITE + 8, write);
}

void svm_update_tsc(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	svm->vmcb->c.tsc_offset = v->tsc_offset;
	svm_unclean(svm, SVM_CLEAN_INTERCEPTS);
	if (v->atomic)
		svm_load_tsc_ratio(svm);
}

void svm_set_root(struct mezz_vcpu *v, u64 root)
{
	struct svm_vcpu *svm = to_svm(v);

	svm->vmcb->c.nested_cr3 = root | svm_has.me;
	svm_unclean(svm, SVM_CLEAN_NP);
	svm_flush_tlb(v);
}

/* --- reports --- */

void svm_exit_info(struct mezz_vcpu *v, u64 *code, u64 *info1, u64 *info2)
{
	const struct svm_control *c = &to_svm(v)->vmcb->c;

	*code = (u32)c->exit_code;
	*info1 = c->exit_info_1;
	*info2 = c->exit_info_2;
}

static void dump_seg(const char *name, const struct svm_seg *s)
{
	pr_err("mezz: %-4s %04x attrib %03x limit %08x base %016llx\n", name,
	       s->selector, s->attrib, s->limit, s->base);
}

void svm_dump(struct mezz_vcpu *v)
{
	const struct svm_vmcb *b = to_svm(v)->vmcb;
	const struct svm_control *c = &b->c;
	const struct svm_save *s = &b->s;

	pr_err("mezz: vm %u vcpu %d: exit %llx info %llx %llx on CPU %d\n", v->vm->serial,
	       v->id, c->exit_code, c->exit_info_1, c->exit_info_2, v->cpu);
	pr_err("mezz: intercepts %08x %08x %08x %08x %08x %08x\n", c->intercept[0],
	       c->intercept[1], c->intercept[2], c->intercept[3], c->intercept[4],
	       c->intercept[5]);
	pr_err("mezz: asid %u tlb %u int_ctl %08x vector %02x state %llx clean %08x\n",
	       c->asid, c->tlb_ctl, c->int_ctl, c->int_vector, c->int_state, c->clean);
	pr_err("mezz: exit_int_info %08x error %08x event_inj %08x error %08x\n",
	       c->exit_int_info, c->exit_int_err, c->event_inj, c->event_inj_err);
	pr_err("mezz: iopm %llx msrpm %llx nested %llx cr3 %llx pat %llx\n", c->iopm_pa,
	       c->msrpm_pa, c->nested_ctl, c->nested_cr3, s->g_pat);
	pr_err("mezz: rip %llx rsp %llx rax %llx rflags %llx cpl %u\n", s->rip, s->rsp,
	       s->rax, s->rflags, s->cpl);
	pr_err("mezz: cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx dr6 %llx dr7 %llx\n",
	       s->cr0, s->cr2, s->cr3, s->cr4, s->efer, s->dr6, s->dr7);
	dump_seg("cs", &s->cs);
	dump_seg("ss", &s->ss);
	dump_seg("ds", &s->ds);
	dump_seg("es", &s->es);
	dump_seg("fs", &s->fs);
	dump_seg("gs", &s->gs);
	dump_seg("ldtr", &s->ldtr);
	dump_seg("tr", &s->tr);
	dump_seg("gdtr", &s->gdtr);
	dump_seg("idtr", &s->idtr);
}
