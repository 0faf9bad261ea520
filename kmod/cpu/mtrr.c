// SPDX-License-Identifier: GPL-2.0-only
/*
 * MTRRs: checked and remembered, without effect. Guest memory has the host's
 * memory type, and devices are not mapped.
 */
#include <asm/msr-index.h>

#include "internal.h"

#define DEFTYPE_VALID	0xcffull
#define VAR_BASE	0x200u

static const u32 fixed[MEZZ_FIX_MTRRS] = {
	MSR_MTRRfix64K_00000, MSR_MTRRfix16K_80000, MSR_MTRRfix16K_A0000,
	MSR_MTRRfix4K_C0000, MSR_MTRRfix4K_C8000, MSR_MTRRfix4K_D0000, MSR_MTRRfix4K_D8000,
	MSR_MTRRfix4K_E0000, MSR_MTRRfix4K_E8000, MSR_MTRRfix4K_F0000, MSR_MTRRfix4K_F8000,
};

/* Where @msr is kept, or NULL. */
static u64 *place(struct mezz_cpu_state *st, u32 msr)
{
	unsigned int i;

	if (msr == MSR_MTRRdefType)
		return &st->mtrr_deftype;
	if (msr >= VAR_BASE && msr < VAR_BASE + 2 * MEZZ_VAR_MTRRS)
		return &st->mtrr_var[msr - VAR_BASE];
	for (i = 0; i < MEZZ_FIX_MTRRS; i++)
		if (msr == fixed[i])
			return &st->mtrr_fix[i];
	return NULL;
}

/* SDM 3, "Memory Types That Can Be Encoded in MTRRs": UC WC WT WP WB. */
static bool type_valid(u8 type)
{
	return type < 8 && (BIT(type) & 0x73);
}

static bool valid(struct mezz_vcpu *v, u32 msr, u64 data)
{
	unsigned int i;

	if (msr == MSR_MTRRdefType)
		return !(data & ~DEFTYPE_VALID) && type_valid(data);
	if (msr < VAR_BASE + 2 * MEZZ_VAR_MTRRS) {
		if (mezz_bad_gpa(v, data))
			return false;
		return msr & 1 ? !(data & 0x7ff) : !(data & 0xf00) && type_valid(data);
	}
	for (i = 0; i < 8; i++)
		if (!type_valid(data >> i * 8))
			return false;
	return true;
}

int mezz_mtrr_get(struct mezz_vcpu *v, u32 msr, u64 *data)
{
	const u64 *p;

	if (msr == MSR_MTRRcap) {
		/* Write-combining, fixed ranges, number of variable ones. */
		*data = BIT(10) | BIT(8) | MEZZ_VAR_MTRRS;
		return 0;
	}
	p = place(v->cpu_state, msr);
	if (!p)
		return 1;
	*data = *p;
	return 0;
}

int mezz_mtrr_set(struct mezz_vcpu *v, u32 msr, u64 data)
{
	u64 *p = place(v->cpu_state, msr);

	if (!p || !valid(v, msr, data))
		return 1;
	*p = data;
	return 0;
}
