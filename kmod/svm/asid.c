// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address-space identifiers: which guest's translations are in a TLB.
 *
 * Every CPU hands out its ASIDs one after the other. When they are used up, a
 * new generation begins and the TLB is flushed once; a vCPU whose ASID is of an
 * older generation, or of another CPU, takes a new one. So no vCPU ever has to
 * know what happened to translations it left behind on a CPU.
 *
 * Locking: IRQs off on the CPU whose struct svm_cpu is used.
 */
#include "svm.h"

void svm_get_asid(struct svm_vcpu *svm, struct svm_cpu *cpu)
{
	if (cpu->next_asid >= svm_has.asids) {
		cpu->asid_gen++;
		cpu->next_asid = 1;
		svm->vmcb->c.tlb_ctl = SVM_TLB_FLUSH_ALL;
	}
	svm->asid_gen = cpu->asid_gen;
	svm->vmcb->c.asid = cpu->next_asid++;
	svm_unclean(svm, SVM_CLEAN_ASID);
}

void svm_flush_tlb(struct mezz_vcpu *v)
{
	struct svm_vcpu *svm = to_svm(v);

	if (!v->atomic)
		svm->asid_gen = 0;	/* the next section takes a new one */
	else if (!svm_has.flush_by_asid)
		svm_get_asid(svm, this_cpu_ptr(&svm_cpu));
	else if (svm->vmcb->c.tlb_ctl != SVM_TLB_FLUSH_ALL)
		svm->vmcb->c.tlb_ctl = SVM_TLB_FLUSH_ASID;
}

void svm_flush_undone(struct svm_vcpu *svm, struct svm_cpu *cpu)
{
	/* ASIDs of this generation may have old translations: begin another. */
	if (svm->vmcb->c.tlb_ctl == SVM_TLB_FLUSH_ALL)
		cpu->next_asid = svm_has.asids;
	svm->asid_gen = 0;
	svm->vmcb->c.tlb_ctl = SVM_TLB_NOTHING;
}
