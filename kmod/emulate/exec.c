// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executor: dispatch, operands, segmentation, and the instructions that only
 * move data between general registers and memory.
 *
 * Everything else is in alu.c, string.c, flow.c, far.c, vector.c and system.c. The
 * rules of the game are in exec.h.
 */
#include "exec_int.h"

int mezz_emul_raise(struct mezz_emul *e, u8 vector, u32 err)
{
	bool has = (vector >= VEC_NP && vector <= VEC_GP) || vector == VEC_AC;

	e->fault.vector = vector;
	/* No error codes in real mode (SDM 3, "Real-Address Mode Exceptions"). */
	e->fault.has_err = has && (e->cr0 & C0_PE);
	e->fault.err = e->fault.has_err ? err : 0;
	e->fault.cr2 = 0;
	return MEZZ_EMUL_FAULT;
}

int mezz_emul_raise_pf(struct mezz_emul *e, u32 err, u64 cr2)
{
	e->fault.vector = VEC_PF;
	e->fault.has_err = true;
	e->fault.err = err;
	e->fault.cr2 = cr2;
	return MEZZ_EMUL_FAULT;
}

u64 emul_offset(const struct mezz_emul *e)
{
	const struct mezz_insn *i = &e->insn;
	u64 off = i->disp;

	if (i->base == MEZZ_GPR_RIP)
		off += e->rip + i->len;
	else if (i->base != MEZZ_GPR_NONE)
		off += e->r[i->base];
	if (i->index != MEZZ_GPR_NONE)
		off += e->r[i->index] << i->scale;
	return off & emul_mask(i->adsize);
}

void mezz_emul_ea(struct mezz_emul *e, u64 *la)
{
	struct mezz_emul_seg s;
	u64 off = emul_offset(e);

	if (emul_long(e) && e->insn.seg < MEZZ_SEG_FS) {
		*la = off;
		return;
	}
	e->ops->get_seg(e, e->insn.seg, &s);
	*la = s.base + off;
	if (!emul_long(e))
		*la = (u32)*la;
}

static bool canonical(const struct mezz_emul *e, u64 la)
{
	unsigned int shift = e->cr4 & C4_LA57 ? 7 : 16;

	return (u64)((s64)(la << shift) >> shift) == la;
}

/* Type and limit of a segment (SDM 3, "Limit Checking", "Type Checking"). */
static bool seg_allows(const struct mezz_emul *e, const struct mezz_emul_seg *s, u64 off,
		       unsigned int size, u32 access)
{
	u64 last = off + size - 1;

	if (!emul_real(e)) {
		bool code = s->type & 8;

		if (!s->usable)
			return false;
		if (access & MEZZ_EMUL_WRITE) {
			if (code || !(s->type & 2))
				return false;
		} else if (code && !(s->type & 2)) {
			return false;
		}
		if (!code && (s->type & 4))
			return off > s->limit && last <= (s->db ? 0xffffffffull : 0xffffull);
	}
	return last <= s->limit;
}

int emul_linear(struct mezz_emul *e, unsigned int seg, u64 off, unsigned int size, u32 access,
		u64 *la)
{
	struct mezz_emul_seg s;
	int rc;

	if (emul_long(e)) {
		*la = off;
		if (unlikely(seg >= MEZZ_SEG_FS)) {
			e->ops->get_seg(e, seg, &s);
			*la += s.base;
		}
		if (unlikely(!canonical(e, *la) || !canonical(e, *la + size - 1)))
			return mezz_emul_raise(e, seg == MEZZ_SEG_SS ? VEC_SS : VEC_GP, 0);
	} else {
		e->ops->get_seg(e, seg, &s);
		if (!seg_allows(e, &s, off, size, access))
			return mezz_emul_raise(e, seg == MEZZ_SEG_SS ? VEC_SS : VEC_GP, 0);
		*la = (u32)(s.base + off);
	}
	if (unlikely(e->rflags & FL_AC) && (e->cr0 & C0_AM) && e->cpl == 3 &&
	    (*la & (min(size, 8u) - 1)) && (size & (size - 1)) == 0) {
		rc = e->ops->probe(e, *la, size, access);
		if (rc != MEZZ_EMUL_OK && rc != MEZZ_EMUL_EXIT)
			return rc;
		return mezz_emul_raise(e, VEC_AC, 0);
	}
	return MEZZ_EMUL_OK;
}

int emul_read_at(struct mezz_emul *e, unsigned int seg, u64 off, unsigned int size, u64 *val)
{
	u64 la;
	int rc = emul_linear(e, seg, off, size, MEZZ_EMUL_READ, &la);

	*val = 0;
	return rc ? rc : e->ops->read(e, la, val, size, MEZZ_EMUL_READ);
}

int emul_write_at(struct mezz_emul *e, unsigned int seg, u64 off, unsigned int size, u64 val)
{
	u64 la;
	int rc = emul_linear(e, seg, off, size, MEZZ_EMUL_WRITE, &la);

	return rc ? rc : e->ops->write(e, la, &val, size);
}

static int get_operand(struct mezz_emul *e, unsigned int kind, unsigned int reg, unsigned int size,
		       u64 *val)
{
	switch (kind) {
	case MEZZ_OPND_REG:
		*val = emul_get_reg(e, reg, size);
		return MEZZ_EMUL_OK;
	case MEZZ_OPND_IMM:
		*val = e->insn.imm & emul_mask(size);
		return MEZZ_EMUL_OK;
	case MEZZ_OPND_MEM:
		return emul_read_at(e, e->insn.seg, emul_offset(e), size, val);
	default:
		return MEZZ_EMUL_UNKNOWN;
	}
}

int emul_get_dst(struct mezz_emul *e, unsigned int size, u64 *val)
{
	return get_operand(e, e->insn.dst, e->insn.dst_reg, size, val);
}

int emul_get_src(struct mezz_emul *e, unsigned int size, u64 *val)
{
	return get_operand(e, e->insn.src, e->insn.src_reg, size, val);
}

int emul_set_dst(struct mezz_emul *e, unsigned int size, u64 val)
{
	if (e->insn.dst == MEZZ_OPND_MEM)
		return emul_write_at(e, e->insn.seg, emul_offset(e), size, val);
	if (e->insn.dst != MEZZ_OPND_REG)
		return MEZZ_EMUL_UNKNOWN;
	emul_set_reg(e, e->insn.dst_reg, val, size);
	return MEZZ_EMUL_OK;
}

int emul_rmw(struct mezz_emul *e, emul_fn f, u64 off, bool lock, u64 *old, u64 *new, u64 *flags)
{
	unsigned int size = e->insn.opsize, tries;
	u64 la, expect, mask = emul_mask(size);
	int rc;

	*flags = e->rflags;
	if (e->insn.dst != MEZZ_OPND_MEM) {
		*old = emul_get_reg(e, e->insn.dst_reg, size);
		*new = f(e, *old, flags) & mask;
		return MEZZ_EMUL_OK;
	}
	off = (emul_offset(e) + off) & emul_mask(e->insn.adsize);
	rc = emul_linear(e, e->insn.seg, off, size, MEZZ_EMUL_WRITE, &la);
	if (rc)
		return rc;
	*old = 0;
	rc = e->ops->read(e, la, old, size, MEZZ_EMUL_WRITE);
	if (rc)
		return rc;
	if (!lock && !(e->insn.prefix & MEZZ_PFX_LOCK)) {
		*new = f(e, *old, flags) & mask;
		return e->ops->write(e, la, new, size);
	}
	/* Bounded: after so many lost races the guest itself tries again. */
	for (tries = 0; tries < 16; tries++) {
		*flags = e->rflags;
		*new = f(e, *old, flags) & mask;
		expect = *old;
		rc = e->ops->cas(e, la, old, new, size, 0);
		if (rc || *old == expect)
			return rc;
	}
	return MEZZ_EMUL_AGAIN;
}

static int op_mov(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 val;
	int rc = emul_get_src(e, size, &val);

	return rc ? rc : emul_set_dst(e, size, val);
}

static int op_movx(struct mezz_emul *e)
{
	unsigned int from = e->insn.msize;
	u64 val;
	int rc = emul_get_src(e, from, &val);

	if (rc)
		return rc;
	if (e->insn.op == MEZZ_OP_MOVSX)
		val = emul_sext(val, from);
	return emul_set_dst(e, e->insn.opsize, val);
}

static u64 swap_bytes(u64 val, unsigned int size)
{
	return __builtin_bswap64(val) >> (64 - size * 8);
}

static int op_movbe(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 val;
	int rc = emul_get_src(e, size, &val);

	return rc ? rc : emul_set_dst(e, size, swap_bytes(val, size));
}

static int op_bswap(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;

	/* The 16-bit form is undefined. */
	if (size == 2)
		return MEZZ_EMUL_UNKNOWN;
	return emul_set_dst(e, size, swap_bytes(emul_get_reg(e, e->insn.dst_reg, size), size));
}

static int op_lea(struct mezz_emul *e)
{
	return emul_set_dst(e, e->insn.opsize, emul_offset(e));
}

static int op_setcc(struct mezz_emul *e)
{
	return emul_set_dst(e, 1, emul_cond(e->rflags, e->insn.opcode & 15));
}

static int op_cmovcc(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 val;
	int rc = emul_get_src(e, size, &val);

	if (rc)
		return rc;
	/* The load happens anyway, and a 32-bit move clears the upper half. */
	if (!emul_cond(e->rflags, e->insn.opcode & 15))
		val = emul_get_reg(e, e->insn.dst_reg, size);
	return emul_set_dst(e, size, val);
}

static int op_cbw(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;

	emul_set_reg(e, MEZZ_GPR_AX, emul_sext(e->r[MEZZ_GPR_AX], size / 2), size);
	return MEZZ_EMUL_OK;
}

static int op_cwd(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	bool neg = e->r[MEZZ_GPR_AX] & emul_sign(size);

	emul_set_reg(e, MEZZ_GPR_DX, neg ? ~0ull : 0, size);
	return MEZZ_EMUL_OK;
}

static int op_nop(struct mezz_emul *e)
{
	(void)e;
	return MEZZ_EMUL_OK;
}

static int (*const executor[MEZZ_NR_OPS])(struct mezz_emul *e) = {
	[MEZZ_OP_ADD] = emul_op_alu, [MEZZ_OP_OR] = emul_op_alu,
	[MEZZ_OP_ADC] = emul_op_alu, [MEZZ_OP_SBB] = emul_op_alu,
	[MEZZ_OP_AND] = emul_op_alu, [MEZZ_OP_SUB] = emul_op_alu,
	[MEZZ_OP_XOR] = emul_op_alu, [MEZZ_OP_CMP] = emul_op_test,
	[MEZZ_OP_TEST] = emul_op_test,
	[MEZZ_OP_ROL ... MEZZ_OP_SAR] = emul_op_shift,
	[MEZZ_OP_NOT] = emul_op_unary, [MEZZ_OP_NEG] = emul_op_unary,
	[MEZZ_OP_INC] = emul_op_unary, [MEZZ_OP_DEC] = emul_op_unary,
	[MEZZ_OP_SHLD] = emul_op_shxd, [MEZZ_OP_SHRD] = emul_op_shxd,
	[MEZZ_OP_MUL] = emul_op_mul, [MEZZ_OP_IMUL1] = emul_op_mul,
	[MEZZ_OP_IMUL2] = emul_op_imul, [MEZZ_OP_IMUL3] = emul_op_imul,
	[MEZZ_OP_DIV] = emul_op_div, [MEZZ_OP_IDIV] = emul_op_div,
	[MEZZ_OP_BT] = emul_op_bt, [MEZZ_OP_BTS] = emul_op_bt,
	[MEZZ_OP_BTR] = emul_op_bt, [MEZZ_OP_BTC] = emul_op_bt,
	[MEZZ_OP_BSF] = emul_op_scan, [MEZZ_OP_BSR] = emul_op_scan,
	[MEZZ_OP_POPCNT] = emul_op_scan,
	[MEZZ_OP_XCHG] = emul_op_xchg, [MEZZ_OP_XADD] = emul_op_xadd,
	[MEZZ_OP_CMPXCHG] = emul_op_cmpxchg, [MEZZ_OP_CMPXCHG8B] = emul_op_cmpxchg8b,
	[MEZZ_OP_MOV] = op_mov, [MEZZ_OP_MOVZX] = op_movx, [MEZZ_OP_MOVSX] = op_movx,
	[MEZZ_OP_MOVBE] = op_movbe, [MEZZ_OP_LEA] = op_lea,
	[MEZZ_OP_MOV_SREG] = emul_op_sreg, [MEZZ_OP_MOV_CR] = emul_op_cr,
	[MEZZ_OP_MOV_DR] = emul_op_dr,
	[MEZZ_OP_SETCC] = op_setcc, [MEZZ_OP_CMOVCC] = op_cmovcc,
	[MEZZ_OP_CBW] = op_cbw, [MEZZ_OP_CWD] = op_cwd, [MEZZ_OP_BSWAP] = op_bswap,
	[MEZZ_OP_MOVS ... MEZZ_OP_CMPS] = emul_op_string,
	[MEZZ_OP_IN] = emul_op_in, [MEZZ_OP_OUT] = emul_op_out,
	[MEZZ_OP_INS ... MEZZ_OP_OUTS] = emul_op_string,
	[MEZZ_OP_PUSH ... MEZZ_OP_POPF] = emul_op_stack,
	[MEZZ_OP_PUSHA] = emul_op_pusha, [MEZZ_OP_POPA] = emul_op_popa,
	[MEZZ_OP_LEAVE] = emul_op_stack,
	[MEZZ_OP_CALL ... MEZZ_OP_JCXZ] = emul_op_branch,
	[MEZZ_OP_NOP] = op_nop,
	[MEZZ_OP_FLAG ... MEZZ_OP_SAHF] = emul_op_flag,
	[MEZZ_OP_LMSW] = emul_op_msw, [MEZZ_OP_SMSW] = emul_op_msw,
	[MEZZ_OP_CLTS] = emul_op_clts, [MEZZ_OP_INVLPG] = emul_op_invlpg,
	[MEZZ_OP_LGDT ... MEZZ_OP_SIDT] = emul_op_dt,
	[MEZZ_OP_SLDT] = emul_op_sldt, [MEZZ_OP_STR] = emul_op_sldt,
	[MEZZ_OP_VMOV ... MEZZ_OP_VMOVH] = emul_op_vector,
	[MEZZ_OP_MOV_TO_SREG] = emul_op_lseg,
	[MEZZ_OP_PUSH_SREG] = emul_op_stack_sreg, [MEZZ_OP_POP_SREG] = emul_op_stack_sreg,
	[MEZZ_OP_LLDT] = emul_op_load_system, [MEZZ_OP_LTR] = emul_op_load_system,
	[MEZZ_OP_CALL_FAR ... MEZZ_OP_IRET] = emul_op_far,
	[MEZZ_OP_INT3 ... MEZZ_OP_INTO] = emul_op_int,
	[MEZZ_OP_ENTER] = emul_op_enter, [MEZZ_OP_XLAT] = emul_op_xlat,
	[MEZZ_OP_BCD] = emul_op_bcd,
};

/* RIP after the instruction wraps as IP and EIP do. */
static u64 wrap_rip(const struct mezz_emul *e, u64 rip)
{
	switch (e->insn.mode) {
	case MEZZ_MODE_LONG64:
		return rip;
	case MEZZ_MODE_PROT32:
		return (u32)rip;
	default:
		return rip & 0xffff;
	}
}

int mezz_emul_exec(struct mezz_emul *e)
{
	bool tf = e->rflags & FL_TF;
	int rc;

	e->written = 0;
	e->shadow = 0;
	e->trap = false;
	e->io = false;
	if (e->insn.op >= MEZZ_NR_OPS || !executor[e->insn.op])
		return MEZZ_EMUL_UNKNOWN;
	e->next = wrap_rip(e, e->rip + e->insn.len);
	rc = executor[e->insn.op](e);
	if (rc != MEZZ_EMUL_OK)
		return rc;
	if (e->next == e->rip && e->insn.op >= MEZZ_OP_MOVS && e->insn.op <= MEZZ_OP_OUTS)
		e->rflags |= FL_RF;
	else
		e->rflags &= ~FL_RF;
	e->rip = e->next;
	/* INT clears TF, and with it its own trap. */
	e->trap = tf && (e->insn.op < MEZZ_OP_INT3 || e->insn.op > MEZZ_OP_INTO ||
			 (e->rflags & FL_TF));
	return MEZZ_EMUL_OK;
}
