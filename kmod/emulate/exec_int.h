/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the executor share: registers, memory operands, flags.
 * Private to exec.c, alu.c, bcd.c, string.c, flow.c, far.c, vector.c and system.c, and for
 * the joints to a vCPU, glue.c and access.c.
 */
#ifndef MEZZ_EXEC_INT_H
#define MEZZ_EXEC_INT_H

#include <linux/kernel.h>
#include <linux/string.h>
#include "exec.h"

/* RFLAGS bits (SDM 1, "EFLAGS Register"). */
#define FL_CF	0x00000001ull
#define FL_PF	0x00000004ull
#define FL_AF	0x00000010ull
#define FL_ZF	0x00000040ull
#define FL_SF	0x00000080ull
#define FL_TF	0x00000100ull
#define FL_IF	0x00000200ull
#define FL_DF	0x00000400ull
#define FL_OF	0x00000800ull
#define FL_IOPL	0x00003000ull
#define FL_NT	0x00004000ull
#define FL_RF	0x00010000ull
#define FL_VM	0x00020000ull
#define FL_AC	0x00040000ull
#define FL_VIF	0x00080000ull
#define FL_VIP	0x00100000ull
#define FL_ID	0x00200000ull
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

/* Control register bits. */
#define C0_PE	0x00000001ull
#define C0_MP	0x00000002ull
#define C0_EM	0x00000004ull
#define C0_TS	0x00000008ull
#define C0_AM	0x00040000ull
#define C4_VME	0x00000001ull
#define C4_PVI	0x00000002ull
#define C4_OSFXSR 0x00000200ull
#define C4_UMIP	0x00000800ull
#define C4_LA57	0x00001000ull
#define C4_OSXSAVE 0x00040000ull

#define EFER_LONG_ACTIVE 0x00000400ull

/* Exception vectors. */
#define VEC_DE	0
#define VEC_BP	3
#define VEC_OF	4
#define VEC_UD	6
#define VEC_NM	7
#define VEC_NP	11
#define VEC_SS	12
#define VEC_GP	13
#define VEC_PF	14
#define VEC_AC	17

static inline u64 emul_mask(unsigned int size)
{
	return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

static inline u64 emul_sign(unsigned int size)
{
	return 1ull << (size * 8 - 1);
}

/* Sign-extend the low @size bytes. */
static inline u64 emul_sext(u64 val, unsigned int size)
{
	unsigned int shift = 64 - size * 8;

	return (u64)((s64)(val << shift) >> shift);
}

static inline u64 emul_get_reg(const struct mezz_emul *e, unsigned int reg, unsigned int size)
{
	if (reg >= MEZZ_GPR_HIGH)
		return (e->r[reg - MEZZ_GPR_HIGH] >> 8) & 0xff;
	return e->r[reg] & emul_mask(size);
}

/* Write a register as hardware does: 32 bits clear the upper half. */
static inline void emul_set_reg(struct mezz_emul *e, unsigned int reg, u64 val, unsigned int size)
{
	u64 *r;

	if (reg >= MEZZ_GPR_HIGH) {
		reg -= MEZZ_GPR_HIGH;
		e->r[reg] = (e->r[reg] & ~0xff00ull) | (val & 0xff) << 8;
		e->written |= 1u << reg;
		return;
	}
	r = &e->r[reg];
	e->written |= 1u << reg;
	if (size == 8)
		*r = val;
	else if (size == 4)
		*r = (u32)val;
	else
		*r = (*r & ~emul_mask(size)) | (val & emul_mask(size));
}

static inline bool emul_long(const struct mezz_emul *e)
{
	return e->insn.mode == MEZZ_MODE_LONG64;
}

static inline bool emul_real(const struct mezz_emul *e)
{
	return e->insn.mode <= MEZZ_MODE_VM86;
}

/* Shorthands for the exceptions that most instructions raise. */
static inline int emul_ud(struct mezz_emul *e)
{
	return mezz_emul_raise(e, VEC_UD, 0);
}

static inline int emul_gp(struct mezz_emul *e)
{
	return mezz_emul_raise(e, VEC_GP, 0);
}

/* exec.c: addresses and operands; all return enum mezz_emul_rc */
/* Offset of the memory operand within its segment. */
u64 emul_offset(const struct mezz_emul *e);
/* Segmentation: @off in @seg, @size bytes, to a linear address, with checks. */
int emul_linear(struct mezz_emul *e, unsigned int seg, u64 off, unsigned int size, u32 access,
		u64 *la);
int emul_read_at(struct mezz_emul *e, unsigned int seg, u64 off, unsigned int size, u64 *val);
int emul_write_at(struct mezz_emul *e, unsigned int seg, u64 off, unsigned int size, u64 val);
/* Value of the first or second operand, @size bytes, zero-extended. */
int emul_get_dst(struct mezz_emul *e, unsigned int size, u64 *val);
int emul_get_src(struct mezz_emul *e, unsigned int size, u64 *val);
/* Store into the first operand. */
int emul_set_dst(struct mezz_emul *e, unsigned int size, u64 val);

/*
 * Read-modify-write of the first operand: @f computes the new value from the
 * old one and may change *@flags. A memory operand is written here (atomically
 * with LOCK or when @lock is set); a register is left to the caller, who
 * finds the values in @old and @new. @off displaces a memory operand.
 */
typedef u64 (*emul_fn)(struct mezz_emul *e, u64 old, u64 *flags);
int emul_rmw(struct mezz_emul *e, emul_fn f, u64 off, bool lock, u64 *old, u64 *new, u64 *flags);

/* Condition @cc (low four opcode bits) holds? */
bool emul_cond(u64 flags, unsigned int cc);
/* PF, ZF, SF of a result. */
u64 emul_flags_szp(u64 res, unsigned int size);
/* The eight ALU operations; flags in and out. */
u64 emul_alu(unsigned int op, u64 a, u64 b, unsigned int size, u64 *flags);

/* Stack (flow.c). @sp: working copy of the stack pointer. */
unsigned int emul_stack_size(struct mezz_emul *e);	/* width of that, in bytes */
int emul_push(struct mezz_emul *e, u64 *sp, unsigned int size, u64 val);
int emul_pop(struct mezz_emul *e, u64 *sp, unsigned int size, u64 *val);
void emul_set_sp(struct mezz_emul *e, u64 sp);

/* Executors, one for each group of operations. */
int emul_op_alu(struct mezz_emul *e);
int emul_op_shift(struct mezz_emul *e);
int emul_op_test(struct mezz_emul *e);
int emul_op_unary(struct mezz_emul *e);
int emul_op_shxd(struct mezz_emul *e);
int emul_op_mul(struct mezz_emul *e);
int emul_op_imul(struct mezz_emul *e);
int emul_op_div(struct mezz_emul *e);
int emul_op_bt(struct mezz_emul *e);
int emul_op_scan(struct mezz_emul *e);
int emul_op_xchg(struct mezz_emul *e);
int emul_op_xadd(struct mezz_emul *e);
int emul_op_cmpxchg(struct mezz_emul *e);
int emul_op_cmpxchg8b(struct mezz_emul *e);
int emul_op_string(struct mezz_emul *e);
int emul_op_in(struct mezz_emul *e);
int emul_op_out(struct mezz_emul *e);
int emul_op_stack(struct mezz_emul *e);
int emul_op_pusha(struct mezz_emul *e);
int emul_op_popa(struct mezz_emul *e);
int emul_op_branch(struct mezz_emul *e);
int emul_op_flag(struct mezz_emul *e);
int emul_op_vector(struct mezz_emul *e);
int emul_op_sreg(struct mezz_emul *e);
int emul_op_lseg(struct mezz_emul *e);
int emul_op_stack_sreg(struct mezz_emul *e);
int emul_op_load_system(struct mezz_emul *e);
int emul_op_far(struct mezz_emul *e);
int emul_op_int(struct mezz_emul *e);
int emul_op_enter(struct mezz_emul *e);
int emul_op_xlat(struct mezz_emul *e);
int emul_op_bcd(struct mezz_emul *e);
int emul_op_cr(struct mezz_emul *e);
int emul_op_dr(struct mezz_emul *e);
int emul_op_msw(struct mezz_emul *e);
int emul_op_clts(struct mezz_emul *e);
int emul_op_invlpg(struct mezz_emul *e);
int emul_op_dt(struct mezz_emul *e);
int emul_op_sldt(struct mezz_emul *e);

#endif
