// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executor: arithmetic, logic, shifts, bit operations and the atomic
 * exchanges, with the flags that the manuals define. Undefined flags keep
 * their value or follow the result, whichever is simpler.
 */
#include "exec_int.h"

bool emul_cond(u64 flags, unsigned int cc)
{
	bool sf = flags & FL_SF, of = flags & FL_OF, r;

	switch (cc >> 1) {
	case 0:
		r = flags & FL_OF;
		break;
	case 1:
		r = flags & FL_CF;
		break;
	case 2:
		r = flags & FL_ZF;
		break;
	case 3:
		r = flags & (FL_CF | FL_ZF);
		break;
	case 4:
		r = sf;
		break;
	case 5:
		r = flags & FL_PF;
		break;
	case 6:
		r = sf != of;
		break;
	default:
		r = (flags & FL_ZF) || sf != of;
		break;
	}
	return r != (cc & 1);
}

u64 emul_flags_szp(u64 res, unsigned int size)
{
	u64 f = 0;

	if (!(res & emul_mask(size)))
		f |= FL_ZF;
	if (res & emul_sign(size))
		f |= FL_SF;
	/* Parity of the low byte: 0x6996 is the parity of each nibble. */
	if (!((0x6996 >> ((res ^ res >> 4) & 15)) & 1))
		f |= FL_PF;
	return f;
}

/* Flags of @res = @a + @b + carry; @carries: the carry out of each bit. */
static u64 flags_arith(u64 res, u64 carries, u64 overflow, unsigned int size)
{
	u64 f = emul_flags_szp(res, size);

	if (carries & emul_sign(size))
		f |= FL_CF;
	if (overflow & emul_sign(size))
		f |= FL_OF;
	if (carries & 8)
		f |= FL_AF;
	return f;
}

u64 emul_alu(unsigned int op, u64 a, u64 b, unsigned int size, u64 *flags)
{
	u64 cin = *flags & FL_CF, res, f;

	switch (op) {
	case MEZZ_OP_ADD:
		cin = 0;
		fallthrough;
	case MEZZ_OP_ADC:
		res = a + b + cin;
		f = flags_arith(res, (a & b) | ((a | b) & ~res), (a ^ res) & (b ^ res), size);
		break;
	case MEZZ_OP_SUB:
	case MEZZ_OP_CMP:
		cin = 0;
		fallthrough;
	case MEZZ_OP_SBB:
		res = a - b - cin;
		f = flags_arith(res, (~a & b) | ((~a | b) & res), (a ^ b) & (a ^ res), size);
		break;
	default:
		if (op == MEZZ_OP_OR)
			res = a | b;
		else if (op == MEZZ_OP_XOR)
			res = a ^ b;
		else
			res = a & b;	/* AND, TEST */
		f = emul_flags_szp(res, size);
		break;
	}
	*flags = (*flags & ~FL_ARITH) | f;
	return res & emul_mask(size);
}

/* Finish a read-modify-write: register destination and flags. */
static int rmw_done(struct mezz_emul *e, int rc, u64 new, u64 flags)
{
	if (rc)
		return rc;
	if (e->insn.dst == MEZZ_OPND_REG)
		emul_set_reg(e, e->insn.dst_reg, new, e->insn.opsize);
	e->rflags = flags;
	return MEZZ_EMUL_OK;
}

static u64 fn_alu(struct mezz_emul *e, u64 old, u64 *flags)
{
	unsigned int size = e->insn.opsize;
	u64 src = e->insn.imm & emul_mask(size);

	if (e->insn.src == MEZZ_OPND_REG)
		src = emul_get_reg(e, e->insn.src_reg, size);
	return emul_alu(e->insn.op, old, src, size, flags);
}

int emul_op_alu(struct mezz_emul *e)
{
	u64 old, new, flags = e->rflags;
	int rc;

	if (e->insn.src == MEZZ_OPND_MEM) {
		rc = emul_get_src(e, e->insn.opsize, &new);
		if (rc)
			return rc;
		old = emul_get_reg(e, e->insn.dst_reg, e->insn.opsize);
		new = emul_alu(e->insn.op, old, new, e->insn.opsize, &flags);
		return rmw_done(e, 0, new, flags);
	}
	rc = emul_rmw(e, fn_alu, 0, false, &old, &new, &flags);
	return rmw_done(e, rc, new, flags);
}

int emul_op_test(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 a, b;
	int rc = emul_get_dst(e, size, &a);

	if (!rc)
		rc = emul_get_src(e, size, &b);
	if (rc)
		return rc;
	emul_alu(e->insn.op, a, b, size, &e->rflags);
	return MEZZ_EMUL_OK;
}

static u64 fn_unary(struct mezz_emul *e, u64 old, u64 *flags)
{
	unsigned int size = e->insn.opsize;
	u64 f = *flags, res;

	switch (e->insn.op) {
	case MEZZ_OP_NOT:
		return ~old;
	case MEZZ_OP_NEG:
		return emul_alu(MEZZ_OP_SUB, 0, old, size, flags);
	case MEZZ_OP_INC:
		res = emul_alu(MEZZ_OP_ADD, old, 1, size, &f);
		break;
	default:
		res = emul_alu(MEZZ_OP_SUB, old, 1, size, &f);
		break;
	}
	/* INC and DEC leave CF alone. */
	*flags = (f & ~FL_CF) | (*flags & FL_CF);
	return res;
}

int emul_op_unary(struct mezz_emul *e)
{
	u64 old, new, flags;
	int rc = emul_rmw(e, fn_unary, 0, false, &old, &new, &flags);

	return rmw_done(e, rc, new, flags);
}

/* RCL and RCR: rotate through the carry, one bit at a time. */
static u64 rotate_carry(unsigned int op, u64 val, unsigned int count, unsigned int size, u64 *flags)
{
	u64 sign = emul_sign(size), mask = emul_mask(size), out;

	while (count--) {
		u64 cf = *flags & FL_CF;

		if (op == MEZZ_OP_RCL) {
			out = !!(val & sign);
			val = (val << 1 | cf) & mask;
		} else {
			out = val & 1;
			val = val >> 1 | (cf ? sign : 0);
		}
		*flags = (*flags & ~FL_CF) | out;
	}
	return val;
}

/* OF after a rotate: the two bits that the manual compares. */
static u64 rotate_of(unsigned int op, u64 res, unsigned int size, u64 cf)
{
	bool top = res & emul_sign(size), next = res & (emul_sign(size) >> 1);

	if (op == MEZZ_OP_ROL || op == MEZZ_OP_RCL)
		return top != (bool)cf ? FL_OF : 0;
	return top != next ? FL_OF : 0;
}

static u64 shift_rotate(unsigned int op, u64 val, unsigned int count, unsigned int size, u64 *flags)
{
	unsigned int bits = size * 8, n = count % bits;
	u64 res = val, cf;

	switch (op) {
	case MEZZ_OP_ROL:
		if (n)
			res = val << n | val >> (bits - n);
		cf = res & 1;
		break;
	case MEZZ_OP_ROR:
		if (n)
			res = val >> n | val << (bits - n);
		cf = !!(res & emul_sign(size));
		break;
	default:
		n = count % (bits + 1);
		if (size == 8 || size == 4)
			n = count;
		res = rotate_carry(op, val, n, size, flags);
		cf = *flags & FL_CF;
		break;
	}
	*flags = (*flags & ~(FL_CF | FL_OF)) | cf | rotate_of(op, res, size, cf);
	return res;
}

static u64 shift_logic(unsigned int op, u64 val, unsigned int count, unsigned int size, u64 *flags)
{
	unsigned int bits = size * 8;
	u64 sign = emul_sign(size), res, cf, of = 0;

	switch (op) {
	case MEZZ_OP_SHR:
		res = count < 64 ? val >> count : 0;
		cf = count <= bits ? (val >> (count - 1)) & 1 : 0;
		of = val & sign;
		break;
	case MEZZ_OP_SAR:
		res = emul_sext(val, size);
		cf = ((s64)res >> (count - 1)) & 1;
		res = (u64)((s64)res >> count);
		break;
	default:		/* SHL, SAL */
		res = val << count;
		cf = count <= bits ? (val >> (bits - count)) & 1 : 0;
		of = (bool)(res & sign) != (bool)cf;
		break;
	}
	*flags = (*flags & ~FL_ARITH) | cf | (of ? FL_OF : 0) | emul_flags_szp(res, size);
	return res;
}

static u64 fn_shift(struct mezz_emul *e, u64 old, u64 *flags)
{
	unsigned int size = e->insn.opsize, count;
	u64 src = e->insn.src == MEZZ_OPND_REG ? e->r[MEZZ_GPR_CX] : e->insn.imm;

	count = src & (size == 8 ? 63 : 31);
	if (!count)
		return old;
	if (e->insn.op <= MEZZ_OP_RCR)
		return shift_rotate(e->insn.op, old, count, size, flags);
	return shift_logic(e->insn.op, old, count, size, flags);
}

int emul_op_shift(struct mezz_emul *e)
{
	u64 old, new, flags;
	int rc = emul_rmw(e, fn_shift, 0, false, &old, &new, &flags);

	return rmw_done(e, rc, new, flags);
}

static u64 fn_shxd(struct mezz_emul *e, u64 old, u64 *flags)
{
	unsigned int size = e->insn.opsize, bits = size * 8, count;
	u64 src = emul_get_reg(e, e->insn.src_reg, size), res, cf, of;

	count = (e->insn.opcode & 1 ? e->r[MEZZ_GPR_CX] : e->insn.imm) & (size == 8 ? 63 : 31);
	if (!count)
		return old;
	/* 16 bits and more than 16: the source follows, then the destination. */
	if (e->insn.op == MEZZ_OP_SHLD) {
		if (count > bits) {
			cf = (src >> (2 * bits - count)) & 1;
			res = src << (count - bits) | old >> (2 * bits - count);
		} else {
			cf = (old >> (bits - count)) & 1;
			res = count == bits ? src : old << count | src >> (bits - count);
		}
	} else {
		if (count > bits) {
			cf = (src >> (count - bits - 1)) & 1;
			res = src >> (count - bits) | old << (2 * bits - count);
		} else {
			cf = (old >> (count - 1)) & 1;
			res = count == bits ? src : old >> count | src << (bits - count);
		}
	}
	of = (old ^ res) & emul_sign(size) ? FL_OF : 0;
	*flags = (*flags & ~FL_ARITH) | cf | of | emul_flags_szp(res, size);
	return res;
}

int emul_op_shxd(struct mezz_emul *e)
{
	u64 old, new, flags;
	int rc = emul_rmw(e, fn_shxd, 0, false, &old, &new, &flags);

	return rmw_done(e, rc, new, flags);
}

/* CF and OF after a multiplication; the others are undefined. */
static void mul_flags(struct mezz_emul *e, bool overflow)
{
	e->rflags &= ~(FL_CF | FL_OF);
	if (overflow)
		e->rflags |= FL_CF | FL_OF;
}

/* MUL and one-operand IMUL: rDX:rAX = rAX * operand. */
int emul_op_mul(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 a = emul_get_reg(e, MEZZ_GPR_AX, size), b, lo, hi;
	bool is_signed = e->insn.op == MEZZ_OP_IMUL1;
	__uint128_t p;
	int rc = emul_get_dst(e, size, &b);

	if (rc)
		return rc;
	if (is_signed)
		p = (__uint128_t)((__int128)(s64)emul_sext(a, size) *
				  (s64)emul_sext(b, size));
	else
		p = (__uint128_t)a * b;
	lo = (u64)p & emul_mask(size);
	hi = (u64)(p >> (size * 8)) & emul_mask(size);
	if (size == 1) {
		emul_set_reg(e, MEZZ_GPR_AX, (u64)p, 2);
	} else {
		emul_set_reg(e, MEZZ_GPR_AX, lo, size);
		emul_set_reg(e, MEZZ_GPR_DX, hi, size);
	}
	if (is_signed)
		mul_flags(e, hi != (lo & emul_sign(size) ? emul_mask(size) : 0));
	else
		mul_flags(e, hi);
	return MEZZ_EMUL_OK;
}

/* IMUL with two or three operands. */
int emul_op_imul(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 a, b;
	__int128 p;
	int rc = emul_get_src(e, size, &a);

	if (rc)
		return rc;
	if (e->insn.op == MEZZ_OP_IMUL3)
		b = e->insn.imm;
	else
		b = emul_get_reg(e, e->insn.dst_reg, size);
	p = (__int128)(s64)emul_sext(a, size) * (s64)emul_sext(b, size);
	mul_flags(e, p != (s64)emul_sext((u64)p, size));
	return emul_set_dst(e, size, (u64)p);
}

/* 128 by 64 bits, quotient known to fit: the kernel has no such division. */
static u64 divide(u64 hi, u64 lo, u64 by, u64 *rem)
{
	unsigned int n;
	u64 q = 0;

	for (n = 0; n < 64; n++) {
		bool out = hi >> 63;

		hi = hi << 1 | lo >> 63;
		lo <<= 1;
		q <<= 1;
		if (out || hi >= by) {
			hi -= by;
			q |= 1;
		}
	}
	*rem = hi;
	return q;
}

int emul_op_div(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	bool is_signed = e->insn.op == MEZZ_OP_IDIV, neg = false, neg_by = false;
	u64 by, lo, hi, q, rem, limit;
	__uint128_t n;
	int rc = emul_get_dst(e, size, &by);

	if (rc)
		return rc;
	lo = emul_get_reg(e, MEZZ_GPR_AX, size);
	hi = size == 1 ? emul_get_reg(e, MEZZ_GPR_AX, 2) >> 8 :
	     emul_get_reg(e, MEZZ_GPR_DX, size);
	n = (__uint128_t)hi << (size * 8) | lo;
	if (is_signed) {
		neg = hi & emul_sign(size);
		neg_by = by & emul_sign(size);
		if (neg)
			n = -n;
		if (neg_by)
			by = -by & emul_mask(size);
		if (size < 8)
			n &= ((__uint128_t)1 << (size * 16)) - 1;
	}
	hi = (u64)(n >> (size * 8));
	if (!by || hi >= by)
		return mezz_emul_raise(e, VEC_DE, 0);
	q = divide((u64)(n >> 64), (u64)n, by, &rem);
	if (is_signed) {
		limit = emul_sign(size) - (neg == neg_by);
		if (q > limit)
			return mezz_emul_raise(e, VEC_DE, 0);
		if (neg != neg_by)
			q = -q;
		if (neg)
			rem = -rem;
	}
	if (size == 1) {
		emul_set_reg(e, MEZZ_GPR_AX, (q & 0xff) | (rem & 0xff) << 8, 2);
	} else {
		emul_set_reg(e, MEZZ_GPR_AX, q, size);
		emul_set_reg(e, MEZZ_GPR_DX, rem, size);
	}
	return MEZZ_EMUL_OK;
}

/* Bit number within the operand. */
static u64 bit_mask(struct mezz_emul *e)
{
	u64 n = e->insn.src == MEZZ_OPND_REG ? e->r[e->insn.src_reg] : e->insn.imm;

	return 1ull << (n & (e->insn.opsize * 8 - 1));
}

static u64 fn_bt(struct mezz_emul *e, u64 old, u64 *flags)
{
	u64 bit = bit_mask(e);

	*flags = (*flags & ~FL_CF) | (old & bit ? FL_CF : 0);
	switch (e->insn.op) {
	case MEZZ_OP_BTS:
		return old | bit;
	case MEZZ_OP_BTR:
		return old & ~bit;
	default:
		return old ^ bit;
	}
}

int emul_op_bt(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 off = 0, old, new, flags, mask;
	int rc;

	/* A register bit offset is signed and reaches beyond the operand. */
	if (e->insn.dst == MEZZ_OPND_MEM && e->insn.src == MEZZ_OPND_REG) {
		s64 n = (s64)emul_sext(e->r[e->insn.src_reg], size);

		off = (u64)((n >> (size == 8 ? 6 : size == 4 ? 5 : 4)) * size);
	}
	if (e->insn.op != MEZZ_OP_BT) {
		rc = emul_rmw(e, fn_bt, off, false, &old, &new, &flags);
		return rmw_done(e, rc, new, flags);
	}
	if (e->insn.dst == MEZZ_OPND_MEM) {
		off = (emul_offset(e) + off) & emul_mask(e->insn.adsize);
		rc = emul_read_at(e, e->insn.seg, off, size, &old);
	} else {
		rc = emul_get_dst(e, size, &old);
	}
	if (rc)
		return rc;
	mask = bit_mask(e);
	e->rflags = (e->rflags & ~FL_CF) | (old & mask ? FL_CF : 0);
	return MEZZ_EMUL_OK;
}

/* BSF, BSR, POPCNT. */
int emul_op_scan(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 val, res;
	int rc = emul_get_src(e, size, &val);

	if (rc)
		return rc;
	if (e->insn.op == MEZZ_OP_POPCNT) {
		for (res = 0; val; val &= val - 1)
			res++;
		e->rflags = (e->rflags & ~FL_ARITH) | (res ? 0 : FL_ZF);
		return emul_set_dst(e, size, res);
	}
	e->rflags &= ~FL_ZF;
	if (!val) {
		/* The destination is left alone, as both vendors do. */
		e->rflags |= FL_ZF;
		return MEZZ_EMUL_OK;
	}
	res = e->insn.op == MEZZ_OP_BSF ? __builtin_ctzll(val) : 63 - __builtin_clzll(val);
	return emul_set_dst(e, size, res);
}

static u64 fn_xchg(struct mezz_emul *e, u64 old, u64 *flags)
{
	(void)old;
	(void)flags;
	return emul_get_reg(e, e->insn.src_reg, e->insn.opsize);
}

int emul_op_xchg(struct mezz_emul *e)
{
	u64 old, new, flags;
	int rc = emul_rmw(e, fn_xchg, 0, true, &old, &new, &flags);

	if (rc)
		return rc;
	emul_set_reg(e, e->insn.src_reg, old, e->insn.opsize);
	return rmw_done(e, 0, new, flags);
}

static u64 fn_xadd(struct mezz_emul *e, u64 old, u64 *flags)
{
	unsigned int size = e->insn.opsize;

	return emul_alu(MEZZ_OP_ADD, old, emul_get_reg(e, e->insn.src_reg, size), size, flags);
}

int emul_op_xadd(struct mezz_emul *e)
{
	u64 old, new, flags;
	int rc = emul_rmw(e, fn_xadd, 0, false, &old, &new, &flags);

	if (rc)
		return rc;
	emul_set_reg(e, e->insn.src_reg, old, e->insn.opsize);
	return rmw_done(e, 0, new, flags);
}

static u64 fn_cmpxchg(struct mezz_emul *e, u64 old, u64 *flags)
{
	unsigned int size = e->insn.opsize;
	u64 acc = emul_get_reg(e, MEZZ_GPR_AX, size);

	emul_alu(MEZZ_OP_CMP, acc, old, size, flags);
	/* A failed comparison writes the old value back (SDM 2, "CMPXCHG"). */
	return acc == old ? emul_get_reg(e, e->insn.src_reg, size) : old;
}

int emul_op_cmpxchg(struct mezz_emul *e)
{
	u64 old, new, flags;
	int rc = emul_rmw(e, fn_cmpxchg, 0, false, &old, &new, &flags);

	if (rc)
		return rc;
	if (!(flags & FL_ZF))
		emul_set_reg(e, MEZZ_GPR_AX, old, e->insn.opsize);
	else if (e->insn.dst == MEZZ_OPND_REG)
		emul_set_reg(e, e->insn.dst_reg, new, e->insn.opsize);
	e->rflags = flags;
	return MEZZ_EMUL_OK;
}

/* CMPXCHG8B and CMPXCHG16B. */
int emul_op_cmpxchg8b(struct mezz_emul *e)
{
	unsigned int half = e->insn.opsize == 8 ? 8 : 4, size = 2 * half, tries;
	u64 old[2] = { 0, 0 }, new[2], expect[2], la;
	u8 want[16], found[16], repl[16];
	bool equal;
	int rc;

	rc = emul_linear(e, e->insn.seg, emul_offset(e), size, MEZZ_EMUL_WRITE, &la);
	if (rc)
		return rc;
	if (size == 16 && (la & 15))
		return emul_gp(e);
	rc = e->ops->read(e, la, found, size, MEZZ_EMUL_WRITE);
	if (rc)
		return rc;
	expect[0] = emul_get_reg(e, MEZZ_GPR_AX, half);
	expect[1] = emul_get_reg(e, MEZZ_GPR_DX, half);
	for (tries = 0; ; tries++) {
		if (tries == 16)
			return MEZZ_EMUL_AGAIN;
		memcpy(&old[0], found, half);
		memcpy(&old[1], found + half, half);
		equal = old[0] == expect[0] && old[1] == expect[1];
		new[0] = equal ? emul_get_reg(e, MEZZ_GPR_BX, half) : old[0];
		new[1] = equal ? emul_get_reg(e, MEZZ_GPR_CX, half) : old[1];
		memcpy(repl, &new[0], half);
		memcpy(repl + half, &new[1], half);
		memcpy(want, found, size);
		if (e->insn.prefix & MEZZ_PFX_LOCK)
			rc = e->ops->cas(e, la, found, repl, size, 0);
		else
			rc = e->ops->write(e, la, repl, size);
		if (rc)
			return rc;
		if (!memcmp(want, found, size))
			break;
	}
	if (!equal) {
		emul_set_reg(e, MEZZ_GPR_AX, old[0], half);
		emul_set_reg(e, MEZZ_GPR_DX, old[1], half);
	}
	e->rflags = (e->rflags & ~FL_ZF) | (equal ? FL_ZF : 0);
	return MEZZ_EMUL_OK;
}
