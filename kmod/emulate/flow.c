// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executor: the stack, near branches and the flag instructions. Far transfers are
 * in far.c.
 */
#include "exec_int.h"

unsigned int emul_stack_size(struct mezz_emul *e)
{
	struct mezz_emul_seg ss;

	if (emul_long(e))
		return 8;
	e->ops->get_seg(e, MEZZ_SEG_SS, &ss);
	return ss.db && !emul_real(e) ? 4 : 2;
}

void emul_set_sp(struct mezz_emul *e, u64 sp)
{
	emul_set_reg(e, MEZZ_GPR_SP, sp, emul_stack_size(e));
}

int emul_push(struct mezz_emul *e, u64 *sp, unsigned int size, u64 val)
{
	u64 mask = emul_mask(emul_stack_size(e)), off = (*sp - size) & mask;
	int rc = emul_write_at(e, MEZZ_SEG_SS, off, size, val);

	if (!rc)
		*sp = off;
	return rc;
}

int emul_pop(struct mezz_emul *e, u64 *sp, unsigned int size, u64 *val)
{
	u64 mask = emul_mask(emul_stack_size(e)), off = *sp & mask;
	int rc = emul_read_at(e, MEZZ_SEG_SS, off, size, val);

	if (!rc)
		*sp = (off + size) & mask;
	return rc;
}

/* POP to its operand, whose address uses the incremented stack pointer. */
static int do_pop(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 old = e->r[MEZZ_GPR_SP], sp = old, val;
	u16 written = e->written;
	int rc = emul_pop(e, &sp, size, &val);

	if (rc)
		return rc;
	emul_set_sp(e, sp);
	rc = emul_set_dst(e, size, val);
	if (rc) {
		e->r[MEZZ_GPR_SP] = old;
		e->written = written;
	}
	return rc;
}

/* IOPL rules of PUSHF, POPF, CLI and STI in virtual-8086 mode. */
static int check_vm86(struct mezz_emul *e)
{
	if (e->insn.mode != MEZZ_MODE_VM86 || (e->rflags & FL_IOPL) == FL_IOPL)
		return MEZZ_EMUL_OK;
	return e->cr4 & C4_VME ? MEZZ_EMUL_UNKNOWN : emul_gp(e);
}

static int do_popf(struct mezz_emul *e)
{
	u64 sp = e->r[MEZZ_GPR_SP], val;
	u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT;
	unsigned int size = e->insn.opsize;
	int rc = check_vm86(e);

	if (!rc)
		rc = emul_pop(e, &sp, size, &val);
	if (rc)
		return rc;
	if (size > 2)
		mask |= FL_AC | FL_ID;
	if (e->cpl == 0)
		mask |= FL_IOPL | FL_IF;
	else if (e->cpl <= (e->rflags & FL_IOPL) >> 12)
		mask |= FL_IF;
	emul_set_sp(e, sp);
	e->rflags = (e->rflags & ~mask) | (val & mask);
	return MEZZ_EMUL_OK;
}

static int do_leave(struct mezz_emul *e)
{
	u64 sp = e->r[MEZZ_GPR_BP], bp;
	int rc = emul_pop(e, &sp, e->insn.opsize, &bp);

	if (rc)
		return rc;
	emul_set_sp(e, sp);
	emul_set_reg(e, MEZZ_GPR_BP, bp, e->insn.opsize);
	return MEZZ_EMUL_OK;
}

int emul_op_stack(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize;
	u64 sp = e->r[MEZZ_GPR_SP], val;
	int rc;

	switch (e->insn.op) {
	case MEZZ_OP_PUSH:
		rc = emul_get_dst(e, size, &val);
		break;
	case MEZZ_OP_PUSHF:
		val = e->rflags & ~(FL_VM | FL_RF);
		rc = check_vm86(e);
		break;
	case MEZZ_OP_POP:
		return do_pop(e);
	case MEZZ_OP_POPF:
		return do_popf(e);
	default:
		return do_leave(e);
	}
	if (!rc)
		rc = emul_push(e, &sp, size, val);
	if (!rc)
		emul_set_sp(e, sp);
	return rc;
}

int emul_op_pusha(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize, n;
	u64 sp = e->r[MEZZ_GPR_SP];
	int rc;

	for (n = 0; n < 8; n++) {
		rc = emul_push(e, &sp, size, e->r[n]);
		if (rc)
			return rc;
	}
	emul_set_sp(e, sp);
	return MEZZ_EMUL_OK;
}

int emul_op_popa(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize, n;
	u64 sp = e->r[MEZZ_GPR_SP], val[8];
	int rc;

	for (n = 8; n-- > 0;) {
		rc = emul_pop(e, &sp, size, &val[n]);
		if (rc)
			return rc;
	}
	for (n = 0; n < 8; n++)
		if (n != MEZZ_GPR_SP)
			emul_set_reg(e, n, val[n], size);
	emul_set_sp(e, sp);
	return MEZZ_EMUL_OK;
}

/* Go to @target, after the checks (SDM 2, "JMP"). */
static int jump(struct mezz_emul *e, u64 target)
{
	struct mezz_emul_seg cs;

	target &= emul_mask(e->insn.opsize);
	if (emul_long(e)) {
		unsigned int shift = e->cr4 & C4_LA57 ? 7 : 16;

		if ((u64)((s64)(target << shift) >> shift) != target)
			return emul_gp(e);
	} else {
		e->ops->get_seg(e, MEZZ_SEG_CS, &cs);
		if (target > cs.limit)
			return emul_gp(e);
	}
	e->next = target;
	return MEZZ_EMUL_OK;
}

static int do_call(struct mezz_emul *e, u64 target)
{
	u64 sp = e->r[MEZZ_GPR_SP], back = e->next;
	int rc = jump(e, target);

	if (!rc)
		rc = emul_push(e, &sp, e->insn.opsize, back);
	if (!rc)
		emul_set_sp(e, sp);
	return rc;
}

static int do_ret(struct mezz_emul *e)
{
	u64 sp = e->r[MEZZ_GPR_SP], target;
	int rc = emul_pop(e, &sp, e->insn.opsize, &target);

	if (!rc)
		rc = jump(e, target);
	if (!rc)
		emul_set_sp(e, sp + (u16)e->insn.imm);
	return rc;
}

/* LOOP, LOOPE, LOOPNE, JCXZ: does it branch? @cx: the new count. */
static bool loop_taken(const struct mezz_emul *e, u64 *cx)
{
	*cx = emul_get_reg(e, MEZZ_GPR_CX, e->insn.adsize);
	if (e->insn.op == MEZZ_OP_JCXZ)
		return !*cx;
	*cx = (*cx - 1) & emul_mask(e->insn.adsize);
	if (!*cx)
		return false;
	if (e->insn.opcode == 0xe0)
		return !(e->rflags & FL_ZF);
	return e->insn.opcode == 0xe2 || (e->rflags & FL_ZF);
}

int emul_op_branch(struct mezz_emul *e)
{
	u64 target = e->next + e->insn.imm, cx;
	int rc;

	if (e->insn.op == MEZZ_OP_RET)
		return do_ret(e);
	if (e->insn.dst != MEZZ_OPND_IMM) {
		rc = emul_get_dst(e, e->insn.opsize, &target);
		if (rc)
			return rc;
	}
	switch (e->insn.op) {
	case MEZZ_OP_CALL:
		return do_call(e, target);
	case MEZZ_OP_JMP:
		return jump(e, target);
	case MEZZ_OP_JCC:
		return emul_cond(e->rflags, e->insn.opcode & 15) ? jump(e, target) :
								   MEZZ_EMUL_OK;
	default:
		if (loop_taken(e, &cx)) {
			rc = jump(e, target);
			if (rc)
				return rc;
		}
		if (e->insn.op == MEZZ_OP_LOOP)
			emul_set_reg(e, MEZZ_GPR_CX, cx, e->insn.adsize);
		return MEZZ_EMUL_OK;
	}
}

/* CLI and STI (SDM 2, "CLI - Clear Interrupt Flag", decision table). */
static int do_if(struct mezz_emul *e, bool set)
{
	int rc = check_vm86(e);

	if (rc)
		return rc;
	if ((e->cr0 & C0_PE) && e->cpl > (e->rflags & FL_IOPL) >> 12 &&
	    e->insn.mode != MEZZ_MODE_VM86)
		return e->cpl == 3 && (e->cr4 & C4_PVI) ? MEZZ_EMUL_UNKNOWN : emul_gp(e);
	if (set && !(e->rflags & FL_IF))
		e->shadow = MEZZ_EMUL_SHADOW_STI;
	e->rflags = set ? e->rflags | FL_IF : e->rflags & ~FL_IF;
	return MEZZ_EMUL_OK;
}

int emul_op_flag(struct mezz_emul *e)
{
	const u64 low = FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF;

	switch (e->insn.op) {
	case MEZZ_OP_CLI:
		return do_if(e, false);
	case MEZZ_OP_STI:
		return do_if(e, true);
	case MEZZ_OP_LAHF:
		emul_set_reg(e, MEZZ_GPR_HIGH, (e->rflags & low) | 2, 1);
		return MEZZ_EMUL_OK;
	case MEZZ_OP_SAHF:
		e->rflags = (e->rflags & ~low) | (e->r[MEZZ_GPR_AX] >> 8 & low);
		return MEZZ_EMUL_OK;
	}
	switch (e->insn.opcode) {
	case 0xf5:
		e->rflags ^= FL_CF;
		break;
	case 0xf8:
		e->rflags &= ~FL_CF;
		break;
	case 0xf9:
		e->rflags |= FL_CF;
		break;
	case 0xfc:
		e->rflags &= ~FL_DF;
		break;
	default:
		e->rflags |= FL_DF;
		break;
	}
	return MEZZ_EMUL_OK;
}
