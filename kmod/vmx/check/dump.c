// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the log gets of a VM entry that failed: the rules that its control structure
 * violates, by name, and then the control structure.
 *
 * Locking: the vCPU mutex.
 */
#include <linux/kernel.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "../../vm.h"
#include "../vmx.h"

#define SHOW(field)	{ #field, VMCS_##field }

/* Every field, whether the CPU has it or not: asking does no harm. */
static void take_snapshot(struct vmx_vcpu *vmx, struct vmx_snapshot *s)
{
	/* A read that fails overwrites this one (SDM 3, "VM-Instruction Error Numbers"). */
	u64 error = vmx_read(vmx, VMCS_INSN_ERROR);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(s->f); i++)
		s->f[i] = vmx_read(vmx, vmx_field_at(i));
	s->f[vmx_place(VMCS_INSN_ERROR)] = error;
	s->caps = &vmx_has.caps;
	s->vtpr = vmx->vapic[VAPIC_TPR];
}

void vmx_dump(struct mezz_vcpu *v)
{
	static const char segs[MEZZ_NR_SEGS][5] = {
		"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"
	};
	static const struct {
		const char *name;
		enum vmcs_field field;
	} show[] = {
		SHOW(INSN_ERROR), SHOW(EXIT_REASON), SHOW(QUALIFICATION), SHOW(EXIT_INTR),
		SHOW(IDT_INFO), SHOW(ENTRY_INTR), SHOW(ENTRY_INTR_ERR), SHOW(ENTRY_INSN_LEN),
		SHOW(PIN), SHOW(EXEC), SHOW(EXEC2), SHOW(EXIT_CTL), SHOW(ENTRY_CTL),
		SHOW(EXCEPTIONS), SHOW(TPR_THRESHOLD), SHOW(GUEST_APIC_STATUS), SHOW(EPTP),
		SHOW(VPID), SHOW(TSC_OFFSET),
		SHOW(GUEST_CR0), SHOW(CR0_SHADOW), SHOW(GUEST_CR3), SHOW(GUEST_CR4),
		SHOW(CR4_SHADOW), SHOW(GUEST_EFER), SHOW(GUEST_PAT), SHOW(GUEST_DR7),
		SHOW(GUEST_RIP), SHOW(GUEST_RSP), SHOW(GUEST_RFLAGS), SHOW(GUEST_INTR_STATE),
		SHOW(GUEST_ACTIVITY), SHOW(GUEST_PENDING_DB), SHOW(GUEST_DEBUGCTL),
		SHOW(GUEST_GDT_BASE), SHOW(GUEST_GDT_LIMIT), SHOW(GUEST_IDT_BASE),
		SHOW(GUEST_IDT_LIMIT), SHOW(HOST_CR0), SHOW(HOST_CR3), SHOW(HOST_CR4),
		SHOW(HOST_EFER), SHOW(HOST_RSP), SHOW(HOST_RIP), SHOW(HOST_FS_BASE),
		SHOW(HOST_GS_BASE), SHOW(HOST_TR_BASE), SHOW(HOST_GDT_BASE),
	};

	struct vmx_snapshot *s = kmalloc(sizeof(*s), GFP_ATOMIC | __GFP_NOWARN);
	unsigned int i;
	int rule;

	if (!s)
		return;
	take_snapshot(to_vmx(v), s);
	pr_err("mezz: vm %u vcpu %d on CPU %d\n", v->vm->serial, v->id, to_vmx(v)->cpu);
	for (rule = vmx_broken_rule(s, 0); rule >= 0; rule = vmx_broken_rule(s, rule + 1))
		pr_err("mezz: violated rule: %s\n", vmx_rule(rule));
	for (i = 0; i < ARRAY_SIZE(show); i++)
		pr_err("mezz: %-16s %016llx\n", show[i].name, vmx_snap(s, show[i].field));
	for (i = 0; i < MEZZ_NR_SEGS; i++)
		pr_err("mezz: %-4s %04llx attrib %05llx limit %08llx base %016llx\n", segs[i],
		       vmx_snap(s, VMCS_GUEST_SEL + 2 * i), vmx_snap(s, VMCS_GUEST_AR + 2 * i),
		       vmx_snap(s, VMCS_GUEST_LIMIT + 2 * i), vmx_snap(s, VMCS_GUEST_BASE + 2 * i));
	kfree(s);
}
