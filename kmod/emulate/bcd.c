// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executor: decimal arithmetic, which real mode still has (SDM 2, "DAA" and its
 * relatives). Flags that the manual leaves undefined follow the result.
 */
#include "exec_int.h"

static void set_flags(struct mezz_emul *e, u64 flags)
{
	e->rflags = (e->rflags & ~FL_ARITH) | flags |
		    emul_flags_szp(emul_get_reg(e, MEZZ_GPR_AX, 1), 1);
}

/* DAA, DAS: packed, a digit in each half of AL. */
static int packed(struct mezz_emul *e, bool sub)
{
	unsigned int old = emul_get_reg(e, MEZZ_GPR_AX, 1), al = old;
	u64 cf = e->rflags & FL_CF, flags = 0;

	if ((old & 15) > 9 || (e->rflags & FL_AF)) {
		al = sub ? old - 6 : old + 6;
		flags = FL_AF;
		/* What a carry becomes of DAA is settled below. */
		if (sub)
			flags |= cf | (al >> 8 ? FL_CF : 0);
	}
	if (old > 0x99 || cf) {
		al = sub ? al - 0x60 : al + 0x60;
		flags |= FL_CF;
	}
	emul_set_reg(e, MEZZ_GPR_AX, al, 1);
	set_flags(e, flags);
	return MEZZ_EMUL_OK;
}

/* AAA, AAS: a digit in AL, the next one in AH. */
static int unpacked(struct mezz_emul *e, bool sub)
{
	u64 ax = emul_get_reg(e, MEZZ_GPR_AX, 2), flags = 0;

	if ((ax & 15) > 9 || (e->rflags & FL_AF)) {
		ax = sub ? ax - 0x106 : ax + 0x106;
		flags = FL_AF | FL_CF;
	}
	emul_set_reg(e, MEZZ_GPR_AX, ax & 0xff0f, 2);
	set_flags(e, flags);
	return MEZZ_EMUL_OK;
}

int emul_op_bcd(struct mezz_emul *e)
{
	unsigned int base = e->insn.imm & 0xff;
	u64 ax = emul_get_reg(e, MEZZ_GPR_AX, 2);

	switch (e->insn.opcode) {
	case 0x27:
		return packed(e, false);
	case 0x2f:
		return packed(e, true);
	case 0x37:
		return unpacked(e, false);
	case 0x3f:
		return unpacked(e, true);
	case 0xd4:	/* AAM */
		if (!base)
			return mezz_emul_raise(e, VEC_DE, 0);
		ax &= 0xff;
		emul_set_reg(e, MEZZ_GPR_AX, ax / base << 8 | ax % base, 2);
		break;
	default:	/* AAD */
		emul_set_reg(e, MEZZ_GPR_AX, (ax + (ax >> 8) * base) & 0xff, 2);
		break;
	}
	set_flags(e, 0);
	return MEZZ_EMUL_OK;
}
