// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executor: control and debug registers, descriptor-table registers. Privilege is
 * checked here, values by the callbacks.
 */
#include "exec_int.h"

static int check_cpl0(struct mezz_emul *e)
{
	return e->cpl ? emul_gp(e) : MEZZ_EMUL_OK;
}

/* SMSW, SLDT, STR, SGDT, SIDT (SDM 3, "User-Mode Instruction Prevention"). */
static int check_umip(struct mezz_emul *e)
{
	return e->cpl && (e->cr4 & C4_UMIP) ? emul_gp(e) : MEZZ_EMUL_OK;
}

int emul_op_cr(struct mezz_emul *e)
{
	bool to_cr = e->insn.dst == MEZZ_OPND_CREG;
	unsigned int cr = to_cr ? e->insn.dst_reg : e->insn.src_reg;
	unsigned int gpr = to_cr ? e->insn.src_reg : e->insn.dst_reg;
	u64 val;
	int rc;

	if (cr == 1 || (cr > 4 && cr != 8))
		return emul_ud(e);
	rc = check_cpl0(e);
	if (rc)
		return rc;
	if (to_cr)
		return e->ops->write_cr(e, cr, emul_get_reg(e, gpr, e->insn.opsize));
	rc = e->ops->read_cr(e, cr, &val);
	if (!rc)
		emul_set_reg(e, gpr, val, e->insn.opsize);
	return rc;
}

int emul_op_dr(struct mezz_emul *e)
{
	bool to_dr = e->insn.dst == MEZZ_OPND_DREG;
	unsigned int dr = to_dr ? e->insn.dst_reg : e->insn.src_reg;
	unsigned int gpr = to_dr ? e->insn.src_reg : e->insn.dst_reg;
	u64 val;
	int rc;

	if (dr > 7)
		return emul_ud(e);
	rc = check_cpl0(e);
	if (rc)
		return rc;
	if (to_dr)
		return e->ops->write_dr(e, dr, emul_get_reg(e, gpr, e->insn.opsize));
	rc = e->ops->read_dr(e, dr, &val);
	if (!rc)
		emul_set_reg(e, gpr, val, e->insn.opsize);
	return rc;
}

int emul_op_msw(struct mezz_emul *e)
{
	u64 cr0, msw;
	int rc;

	rc = e->insn.op == MEZZ_OP_SMSW ? check_umip(e) : check_cpl0(e);
	if (!rc)
		rc = e->ops->read_cr(e, 0, &cr0);
	if (rc)
		return rc;
	if (e->insn.op == MEZZ_OP_SMSW)
		return emul_set_dst(e, e->insn.dst == MEZZ_OPND_MEM ? 2 : e->insn.opsize, cr0);
	rc = emul_get_dst(e, 2, &msw);
	if (rc)
		return rc;
	/* LMSW sets PE but never clears it (SDM 2, "LMSW"). */
	return e->ops->write_cr(e, 0, (cr0 & ~0xeull) | (msw & 0xf));
}

int emul_op_clts(struct mezz_emul *e)
{
	u64 cr0;
	int rc = check_cpl0(e);

	if (!rc)
		rc = e->ops->read_cr(e, 0, &cr0);
	return rc ? rc : e->ops->write_cr(e, 0, cr0 & ~C0_TS);
}

int emul_op_invlpg(struct mezz_emul *e)
{
	u64 la;
	int rc = check_cpl0(e);

	if (rc)
		return rc;
	mezz_emul_ea(e, &la);
	e->ops->invlpg(e, la);
	return MEZZ_EMUL_OK;
}

/* SGDT, SIDT, LGDT, LIDT: two bytes of limit, then the base. */
int emul_op_dt(struct mezz_emul *e)
{
	bool idt = e->insn.op == MEZZ_OP_LIDT || e->insn.op == MEZZ_OP_SIDT;
	bool store = e->insn.op == MEZZ_OP_SGDT || e->insn.op == MEZZ_OP_SIDT;
	unsigned int size = emul_long(e) ? 10 : 6;
	u64 base = 0, la;
	bool wide, prefix;
	u8 buf[10];
	u16 limit;
	int rc;

	rc = store ? check_umip(e) : check_cpl0(e);
	if (!rc)
		rc = emul_linear(e, e->insn.seg, emul_offset(e), size,
				 store ? MEZZ_EMUL_WRITE : MEZZ_EMUL_READ, &la);
	if (rc)
		return rc;
	if (store) {
		e->ops->get_dt(e, idt, &base, &limit);
		memcpy(buf, &limit, 2);
		memcpy(buf + 2, &base, 8);
		return e->ops->write(e, la, buf, size);
	}
	rc = e->ops->read(e, la, buf, size, MEZZ_EMUL_READ);
	if (rc)
		return rc;
	memcpy(&limit, buf, 2);
	memcpy(&base, buf + 2, size - 2);
	/* A 16-bit operand size loads 24 bits of base. */
	wide = e->insn.mode == MEZZ_MODE_PROT32;
	prefix = e->insn.prefix & MEZZ_PFX_OPSIZE;
	if (!emul_long(e) && wide == prefix)
		base &= 0xffffff;
	return e->ops->set_dt(e, idt, base, limit);
}

int emul_op_sldt(struct mezz_emul *e)
{
	struct mezz_emul_seg s;
	int rc = check_umip(e);

	if (rc)
		return rc;
	e->ops->get_seg(e, e->insn.op == MEZZ_OP_SLDT ? MEZZ_SEG_LDTR : MEZZ_SEG_TR, &s);
	return emul_set_dst(e, e->insn.dst == MEZZ_OPND_MEM ? 2 : e->insn.opsize, s.sel);
}
