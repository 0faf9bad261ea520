// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executor: SSE and AVX moves, 32 to 256 bits. Arithmetic on vector registers
 * is left out, as are the MMX registers.
 */
#include "exec_int.h"

/* Are vector instructions enabled (SDM 2, "Exception Classifications")? */
static int check_enabled(struct mezz_emul *e)
{
	if (e->insn.prefix & MEZZ_PFX_VEX) {
		if (!(e->cr4 & C4_OSXSAVE) || (e->xcr0 & 6) != 6)
			return emul_ud(e);
	} else if ((e->cr0 & C0_EM) || !(e->cr4 & C4_OSFXSR)) {
		return emul_ud(e);
	}
	if (e->cr0 & C0_TS)
		return mezz_emul_raise(e, VEC_NM, 0);
	return MEZZ_EMUL_OK;
}

static int mem_address(struct mezz_emul *e, unsigned int size, u32 access, u64 *la)
{
	int rc = emul_linear(e, e->insn.seg, emul_offset(e), size, access, la);

	if (!rc && e->insn.op == MEZZ_OP_VMOVA && (*la & (size - 1)))
		return emul_gp(e);
	return rc;
}

/* Store from the vector register to memory. */
static int store(struct mezz_emul *e)
{
	unsigned int size = e->insn.msize;
	u8 v[32];
	u64 la;
	int rc = mem_address(e, size, MEZZ_EMUL_WRITE, &la);

	if (rc)
		return rc;
	e->ops->get_vec(e, e->insn.src_reg, v);
	if (e->insn.op == MEZZ_OP_VMOVH)
		memmove(v, v + 8, 8);
	return e->ops->write(e, la, v, size);
}

/* The bytes of the source operand, at the start of @src. */
static int source(struct mezz_emul *e, u8 *src)
{
	unsigned int size = e->insn.msize;
	u64 la, val;
	int rc;

	memset(src, 0, 32);
	switch (e->insn.src) {
	case MEZZ_OPND_MEM:
		rc = mem_address(e, size, MEZZ_EMUL_READ, &la);
		return rc ? rc : e->ops->read(e, la, src, size, MEZZ_EMUL_READ);
	case MEZZ_OPND_VEC:
		e->ops->get_vec(e, e->insn.src_reg, src);
		/* MOVHLPS takes the high half, MOVLHPS the low one. */
		if (e->insn.op == MEZZ_OP_VMOVL)
			memcpy(src, src + 8, 8);
		return MEZZ_EMUL_OK;
	default:
		val = emul_get_reg(e, e->insn.src_reg, size);
		memcpy(src, &val, 8);
		return MEZZ_EMUL_OK;
	}
}

/* Put @size bytes of @src into the destination vector register. */
static void load(struct mezz_emul *e, const u8 *src, unsigned int size)
{
	bool vex = e->insn.prefix & MEZZ_PFX_VEX;
	u8 v[32], first[32];

	e->ops->get_vec(e, e->insn.dst_reg, v);
	/* What a merging instruction keeps comes from vvvv with VEX. */
	memcpy(first, v, 32);
	if (vex)
		e->ops->get_vec(e, e->insn.vvvv, first);
	switch (e->insn.op) {
	case MEZZ_OP_VMOVL:
		memcpy(v, first, 16);
		memcpy(v, src, 8);
		break;
	case MEZZ_OP_VMOVH:
		memcpy(v, first, 16);
		memcpy(v + 8, src, 8);
		break;
	case MEZZ_OP_VMOVS:
		memcpy(v, first, 16);
		if (e->insn.src == MEZZ_OPND_MEM)
			memset(v, 0, 16);
		memcpy(v, src, size);
		break;
	default:		/* VMOV, VMOVA, VMOVQ */
		memset(v, 0, 16);
		memcpy(v, src, size);
		break;
	}
	if (vex && size < 32)
		memset(v + 16, 0, 16);
	e->ops->set_vec(e, e->insn.dst_reg, v);
}

/* Does this form merge with vvvv? If not, vvvv must be 1111 (0 decoded). */
static bool uses_vvvv(const struct mezz_emul *e)
{
	if (e->insn.dst != MEZZ_OPND_VEC)
		return false;
	if (e->insn.op == MEZZ_OP_VMOVS)
		return e->insn.src == MEZZ_OPND_VEC;
	return e->insn.op == MEZZ_OP_VMOVL || e->insn.op == MEZZ_OP_VMOVH;
}

int emul_op_vector(struct mezz_emul *e)
{
	unsigned int size = e->insn.msize;
	u8 src[32];
	u64 val;
	int rc = check_enabled(e);

	if (rc)
		return rc;
	if (e->insn.prefix & MEZZ_PFX_VEX) {
		bool wide = e->insn.op == MEZZ_OP_VMOV || e->insn.op == MEZZ_OP_VMOVA ||
			    e->insn.op == MEZZ_OP_VMOVS;

		if ((e->insn.vvvv && !uses_vvvv(e)) ||
		    ((e->insn.prefix & MEZZ_PFX_VEX_L) && !wide))
			return emul_ud(e);
	}
	if (e->insn.dst == MEZZ_OPND_MEM)
		return store(e);
	rc = source(e, src);
	if (rc)
		return rc;
	if (e->insn.dst == MEZZ_OPND_REG) {
		memcpy(&val, src, 8);
		emul_set_reg(e, e->insn.dst_reg, val, size);
		return MEZZ_EMUL_OK;
	}
	load(e, src, size);
	return MEZZ_EMUL_OK;
}
