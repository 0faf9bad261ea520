// SPDX-License-Identifier: GPL-2.0-only
/*
 * Life cycle of what cpu/ keeps for the module and for a vCPU.
 */
#include <linux/slab.h>
#include <asm/apicdef.h>
#include <asm/page.h>
#include <asm/fpu/types.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "internal.h"

int mezz_cpu_setup(void)
{
	int r = mezz_cpuid_setup();

	if (r)
		return r;
	r = mezz_msr_list_setup();
	if (r)
		mezz_cpuid_teardown();
	return r;
}

void mezz_cpu_teardown(void)
{
	mezz_msr_list_teardown();
	mezz_cpuid_teardown();
}

int mezz_cpu_create(struct mezz_vcpu *v)
{
	v->cpu_state = kzalloc(sizeof(*v->cpu_state), GFP_KERNEL_ACCOUNT);
	if (!v->cpu_state)
		return -ENOMEM;
	mezz_cpuid_init(v);
	mezz_msr_init(v);
	return mezz_tsc_init(v);
}

void mezz_cpu_destroy(struct mezz_vcpu *v)
{
	if (!v->cpu_state)
		return;
	mezz_cpuid_destroy(v);
	kfree(v->cpu_state);
	v->cpu_state = NULL;
}

/*
 * SDM 3, "Processor State After Reset" (and INIT). TSC, MTRRs and machine-check
 * banks survive INIT, as XCR0 does; CR0 keeps its cache bits.
 */
void mezz_cpu_reset(struct mezz_vcpu *v, bool init)
{
	u64 cache = X86_CR0_CD | X86_CR0_NW;

	if (init)
		cache &= mezz_get(v, MEZZ_CR0);
	mezz_set(v, MEZZ_CR0, X86_CR0_ET | cache);
	mezz_set(v, MEZZ_CR3, 0);
	mezz_set(v, MEZZ_CR4, 0);
	mezz_set(v, MEZZ_EFER, 0);
	if (!init) {
		v->xcr0 = XFEATURE_MASK_FP;
		mezz_msr_reset(v);
		if (!v->lapic) {
			v->cr8 = 0;
			v->apic_base = APIC_DEFAULT_PHYS_BASE | MSR_IA32_APICBASE_ENABLE;
			if (v->id == v->vm->bsp_id)
				v->apic_base |= MSR_IA32_APICBASE_BSP;
		}
	}
	mezz_cpuid_refresh(v);
}
