// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executor: far transfers, segment loads, INT and IRET.
 *
 * For guests that run in software for a while: real mode, and protected mode
 * between the setting of CR0.PE and the last load of a segment register, on CPUs
 * that can execute neither as a guest (software.c).
 *
 * In protected mode only what stays at the same privilege level is done: code
 * segments as targets, data segments, LDT and TSS. Gates, task switches, outer
 * returns, virtual-8086 mode and interrupts through an IDT are MEZZ_EMUL_UNKNOWN;
 * so are segment loads in long mode, which hardware never leaves to us.
 */
#include <linux/bits.h>
#include "exec_int.h"

/* A descriptor's bits (SDM 3, "Segment Descriptors"). */
#define DESC_TYPE(d)	((d) >> 40 & 15)
#define DESC_S		BIT_ULL(44)
#define DESC_DPL(d)	((d) >> 45 & 3)
#define DESC_P		BIT_ULL(47)
#define DESC_AVL	BIT_ULL(52)
#define DESC_L		BIT_ULL(53)
#define DESC_DB		BIT_ULL(54)
#define DESC_G		BIT_ULL(55)

#define TYPE_CODE	8u
#define TYPE_CONFORMING	4u
#define TYPE_WRITE	2u	/* code: readable */
#define TYPE_ACCESSED	1u
#define TYPE_LDT	2u
#define TYPE_TSS16	1u
#define TYPE_TSS32	9u
#define TYPE_BUSY	2u

#define SEL_LDT		4u
#define SEL_RPL		3u
#define SEL_ERR(sel)	((sel) & ~SEL_RPL)

/* What IRET in real mode and at CPL 0 takes from the stack. */
#define FL_IRET		(FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF |	\
			 FL_AC | FL_ID)

static bool real_mode(const struct mezz_emul *e)
{
	return e->insn.mode == MEZZ_MODE_REAL;
}

/* The descriptor of @sel, and where it is. */
static int read_desc(struct mezz_emul *e, u16 sel, u64 *la, u64 *d)
{
	struct mezz_emul_seg ldt;
	u64 base;
	u16 limit;

	if (sel & SEL_LDT) {
		e->ops->get_seg(e, MEZZ_SEG_LDTR, &ldt);
		if (!ldt.usable)
			return mezz_emul_raise(e, VEC_GP, SEL_ERR(sel));
		base = ldt.base;
		limit = min(ldt.limit, 0xffffu);
	} else {
		e->ops->get_dt(e, false, &base, &limit);
	}
	if ((sel | 7u) > limit)
		return mezz_emul_raise(e, VEC_GP, SEL_ERR(sel));
	*la = (u32)(base + (sel & ~7u));
	return e->ops->read(e, *la, d, 8, MEZZ_EMUL_READ | MEZZ_EMUL_SYSTEM);
}

static void unpack(struct mezz_emul_seg *s, u16 sel, u64 d)
{
	s->sel = sel;
	s->base = (d >> 16 & 0xffffff) | (d >> 56) << 24;
	s->limit = (d & 0xffff) | (d >> 32 & 0xf0000);
	if (d & DESC_G)
		s->limit = s->limit << 12 | 0xfff;
	s->type = DESC_TYPE(d);
	s->s = d & DESC_S;
	s->dpl = DESC_DPL(d);
	s->usable = true;
	s->avl = d & DESC_AVL;
	s->l = d & DESC_L;
	s->db = d & DESC_DB;
}

/* The vector with which a segment that may not be loaded is refused; 0: it may. */
static u8 refuse(const struct mezz_emul *e, unsigned int seg, u16 sel, u64 d)
{
	unsigned int type = DESC_TYPE(d), dpl = DESC_DPL(d), rpl = sel & SEL_RPL;
	bool code = type & TYPE_CODE, conforming = code && (type & TYPE_CONFORMING);

	if (!(d & DESC_S))
		return VEC_GP;
	switch (seg) {
	case MEZZ_SEG_CS:
		if (!code || (conforming ? dpl > e->cpl : dpl != e->cpl || rpl > e->cpl))
			return VEC_GP;
		return d & DESC_P ? 0 : VEC_NP;
	case MEZZ_SEG_SS:
		if (code || !(type & TYPE_WRITE) || rpl != e->cpl || dpl != e->cpl)
			return VEC_GP;
		return d & DESC_P ? 0 : VEC_SS;
	default:
		if ((code && !(type & TYPE_WRITE)) ||
		    (!conforming && dpl < max_t(unsigned int, rpl, e->cpl)))
			return VEC_GP;
		return d & DESC_P ? 0 : VEC_NP;
	}
}

/* Set bits of a descriptor's type, in memory, as the CPU does. */
static int mark(struct mezz_emul *e, u64 la, u64 d, u8 bits)
{
	u8 old = d >> 40, new = old | bits;

	if (old == new)
		return MEZZ_EMUL_OK;
	return e->ops->cas(e, la + 5, &old, &new, 1, MEZZ_EMUL_SYSTEM);
}

/*
 * What a load of @sel into @seg would bring. The register itself is left to the
 * caller, for when nothing can fail any more.
 */
static int load(struct mezz_emul *e, unsigned int seg, u16 sel, struct mezz_emul_seg *s)
{
	u64 la, d;
	int rc;
	u8 vec;

	e->ops->get_seg(e, seg, s);
	if (emul_real(e)) {
		s->sel = sel;
		s->base = sel << 4;
		return MEZZ_EMUL_OK;
	}
	if (e->efer & EFER_LONG_ACTIVE)
		return MEZZ_EMUL_UNKNOWN;
	if (!SEL_ERR(sel)) {
		if (seg == MEZZ_SEG_CS || seg == MEZZ_SEG_SS)
			return emul_gp(e);
		s->sel = sel;
		s->usable = false;
		return MEZZ_EMUL_OK;
	}
	rc = read_desc(e, sel, &la, &d);
	if (rc)
		return rc;
	/* A gate or a task. */
	if (seg == MEZZ_SEG_CS && !(d & DESC_S))
		return MEZZ_EMUL_UNKNOWN;
	vec = refuse(e, seg, sel, d);
	if (vec)
		return mezz_emul_raise(e, vec, SEL_ERR(sel));
	rc = mark(e, la, d, TYPE_ACCESSED);
	if (rc)
		return rc;
	if (seg == MEZZ_SEG_CS)
		sel = SEL_ERR(sel) | e->cpl;
	unpack(s, sel, d);
	s->type |= TYPE_ACCESSED;
	return MEZZ_EMUL_OK;
}

/* The memory operand: an offset, then a selector. */
static int far_pointer(struct mezz_emul *e, u64 *off, u64 *sel)
{
	unsigned int size = e->insn.opsize;
	u64 at = emul_offset(e);
	int rc = emul_read_at(e, e->insn.seg, at, size, off);

	return rc ? rc : emul_read_at(e, e->insn.seg, (at + size) & emul_mask(e->insn.adsize),
				      2, sel);
}

/* --- data segments --- */

static int set_data_seg(struct mezz_emul *e, unsigned int seg, u16 sel)
{
	struct mezz_emul_seg s;
	int rc = load(e, seg, sel, &s);

	if (!rc)
		e->ops->set_seg(e, seg, &s);
	return rc;
}

/* MOV to and from a segment register. */
int emul_op_sreg(struct mezz_emul *e)
{
	struct mezz_emul_seg s;
	u64 sel;
	int rc;

	if (e->insn.src == MEZZ_OPND_SREG) {
		e->ops->get_seg(e, e->insn.src_reg, &s);
		return emul_set_dst(e, e->insn.dst == MEZZ_OPND_MEM ? 2 : e->insn.opsize, s.sel);
	}
	if (e->insn.dst_reg == MEZZ_SEG_CS)
		return emul_ud(e);
	rc = emul_get_src(e, 2, &sel);
	if (!rc)
		rc = set_data_seg(e, e->insn.dst_reg, sel);
	if (!rc && e->insn.dst_reg == MEZZ_SEG_SS)
		e->shadow = MEZZ_EMUL_SHADOW_MOV_SS;
	return rc;
}

/* LES, LDS, LSS, LFS, LGS: an offset, then a selector. */
int emul_op_lseg(struct mezz_emul *e)
{
	static const u8 seg_of[8] = {
		[2] = MEZZ_SEG_SS, [4] = MEZZ_SEG_FS, [5] = MEZZ_SEG_GS
	};
	unsigned int seg = seg_of[e->insn.opcode & 7];
	u64 off, sel;
	int rc;

	if (!e->insn.map)
		seg = e->insn.opcode == 0xc4 ? MEZZ_SEG_ES : MEZZ_SEG_DS;
	rc = far_pointer(e, &off, &sel);
	if (!rc)
		rc = set_data_seg(e, seg, sel);
	if (!rc)
		emul_set_reg(e, e->insn.dst_reg, off, e->insn.opsize);
	return rc;
}

/* PUSH and POP of a segment register; which one is in the opcode. */
int emul_op_stack_sreg(struct mezz_emul *e)
{
	unsigned int seg = e->insn.opcode >> 3 & 7;
	u64 sp = e->r[MEZZ_GPR_SP], val;
	struct mezz_emul_seg s;
	int rc;

	if (e->insn.op == MEZZ_OP_PUSH_SREG) {
		e->ops->get_seg(e, seg, &s);
		rc = emul_push(e, &sp, e->insn.opsize, s.sel);
	} else {
		rc = emul_pop(e, &sp, e->insn.opsize, &val);
		if (!rc)
			rc = set_data_seg(e, seg, val);
		if (!rc && seg == MEZZ_SEG_SS)
			e->shadow = MEZZ_EMUL_SHADOW_MOV_SS;
	}
	if (!rc)
		emul_set_sp(e, sp);
	return rc;
}

/* LLDT and LTR (SDM 2). */
int emul_op_load_system(struct mezz_emul *e)
{
	bool ltr = e->insn.op == MEZZ_OP_LTR;
	unsigned int seg = ltr ? MEZZ_SEG_TR : MEZZ_SEG_LDTR, type;
	struct mezz_emul_seg s;
	u64 sel, la, d;
	int rc;

	if (e->cpl)
		return emul_gp(e);
	if (e->efer & EFER_LONG_ACTIVE)
		return MEZZ_EMUL_UNKNOWN;
	rc = emul_get_dst(e, 2, &sel);
	if (rc)
		return rc;
	e->ops->get_seg(e, seg, &s);
	if (!SEL_ERR(sel)) {
		if (ltr)
			return emul_gp(e);
		s.sel = sel;
		s.usable = false;
		e->ops->set_seg(e, seg, &s);
		return MEZZ_EMUL_OK;
	}
	if (sel & SEL_LDT)
		return mezz_emul_raise(e, VEC_GP, SEL_ERR(sel));
	rc = read_desc(e, sel, &la, &d);
	if (rc)
		return rc;
	type = DESC_TYPE(d);
	if ((d & DESC_S) || (ltr ? type != TYPE_TSS16 && type != TYPE_TSS32 : type != TYPE_LDT))
		return mezz_emul_raise(e, VEC_GP, SEL_ERR(sel));
	if (!(d & DESC_P))
		return mezz_emul_raise(e, VEC_NP, SEL_ERR(sel));
	rc = ltr ? mark(e, la, d, TYPE_BUSY) : MEZZ_EMUL_OK;
	if (rc)
		return rc;
	unpack(&s, sel, d);
	s.type |= ltr ? TYPE_BUSY : 0;
	e->ops->set_seg(e, seg, &s);
	return MEZZ_EMUL_OK;
}

/* --- code segments --- */

/* @s was loaded for CS: may execution go on at @off there? */
static int check_target(struct mezz_emul *e, const struct mezz_emul_seg *s, u64 off)
{
	return off > s->limit ? emul_gp(e) : MEZZ_EMUL_OK;
}

static void enter_code(struct mezz_emul *e, const struct mezz_emul_seg *s, u64 off)
{
	e->ops->set_seg(e, MEZZ_SEG_CS, s);
	e->next = off;
}

static int far_target(struct mezz_emul *e, u64 *off, u64 *sel)
{
	if (e->insn.dst != MEZZ_OPND_IMM)
		return far_pointer(e, off, sel);
	*off = e->insn.imm & emul_mask(e->insn.opsize);
	*sel = e->insn.imm2;
	return MEZZ_EMUL_OK;
}

static int do_far(struct mezz_emul *e)
{
	u64 sp = e->r[MEZZ_GPR_SP], off, sel;
	struct mezz_emul_seg cs, s;
	int rc = far_target(e, &off, &sel);

	if (!rc)
		rc = load(e, MEZZ_SEG_CS, sel, &s);
	if (!rc)
		rc = check_target(e, &s, off);
	if (!rc && e->insn.op == MEZZ_OP_CALL_FAR) {
		e->ops->get_seg(e, MEZZ_SEG_CS, &cs);
		rc = emul_push(e, &sp, e->insn.opsize, cs.sel);
		if (!rc)
			rc = emul_push(e, &sp, e->insn.opsize, e->next);
		if (!rc)
			emul_set_sp(e, sp);
	}
	if (!rc)
		enter_code(e, &s, off);
	return rc;
}

/* Pop what RET and IRET have in common. */
static int pop_far(struct mezz_emul *e, u64 *sp, u64 *off, struct mezz_emul_seg *s)
{
	u64 sel;
	int rc = emul_pop(e, sp, e->insn.opsize, off);

	if (!rc)
		rc = emul_pop(e, sp, e->insn.opsize, &sel);
	if (rc)
		return rc;
	/* To an outer level. */
	if (!emul_real(e) && (sel & SEL_RPL) != e->cpl)
		return MEZZ_EMUL_UNKNOWN;
	rc = load(e, MEZZ_SEG_CS, sel, s);
	return rc ? rc : check_target(e, s, *off);
}

static int do_ret_far(struct mezz_emul *e)
{
	u64 sp = e->r[MEZZ_GPR_SP], off;
	struct mezz_emul_seg s;
	int rc = pop_far(e, &sp, &off, &s);

	if (rc)
		return rc;
	emul_set_sp(e, sp + (u16)e->insn.imm);
	enter_code(e, &s, off);
	return MEZZ_EMUL_OK;
}

static int do_iret(struct mezz_emul *e)
{
	u64 sp = e->r[MEZZ_GPR_SP], mask = FL_IRET & emul_mask(e->insn.opsize), off, flags;
	struct mezz_emul_seg s;
	int rc;

	if (e->insn.mode == MEZZ_MODE_VM86 || emul_long(e) || e->cpl ||
	    (!real_mode(e) && (e->rflags & FL_NT)))
		return MEZZ_EMUL_UNKNOWN;
	rc = pop_far(e, &sp, &off, &s);
	if (!rc)
		rc = emul_pop(e, &sp, e->insn.opsize, &flags);
	if (rc)
		return rc;
	if (!real_mode(e) && (flags & FL_VM) && e->insn.opsize > 2)
		return MEZZ_EMUL_UNKNOWN;
	emul_set_sp(e, sp);
	e->rflags = (e->rflags & ~mask) | (flags & mask);
	enter_code(e, &s, off);
	return MEZZ_EMUL_OK;
}

int emul_op_far(struct mezz_emul *e)
{
	switch (e->insn.op) {
	case MEZZ_OP_RET_FAR:
		return do_ret_far(e);
	case MEZZ_OP_IRET:
		return do_iret(e);
	default:
		return do_far(e);
	}
}

/* --- interrupts of real mode --- */

/* SDM 3, "Real-Address Mode Interrupt and Exception Handling" */
static int interrupt(struct mezz_emul *e, u8 vector, u64 back)
{
	u64 sp = e->r[MEZZ_GPR_SP], base;
	struct mezz_emul_seg s;
	u16 limit, entry[2];
	int rc;

	e->ops->get_dt(e, true, &base, &limit);
	if (vector * 4 + 3 > limit)
		return emul_gp(e);
	rc = e->ops->read(e, (u32)(base + vector * 4), entry, sizeof(entry), MEZZ_EMUL_READ);
	if (!rc)
		rc = emul_push(e, &sp, 2, e->rflags);
	if (rc)
		return rc;
	e->ops->get_seg(e, MEZZ_SEG_CS, &s);
	rc = emul_push(e, &sp, 2, s.sel);
	if (!rc)
		rc = emul_push(e, &sp, 2, back);
	if (rc)
		return rc;
	emul_set_sp(e, sp);
	e->rflags &= ~(FL_IF | FL_TF | FL_RF | FL_AC);
	s.sel = entry[1];
	s.base = entry[1] << 4;
	enter_code(e, &s, entry[0]);
	return MEZZ_EMUL_OK;
}

/* INT n, INT3, INTO */
int emul_op_int(struct mezz_emul *e)
{
	if (e->insn.op == MEZZ_OP_INTO && !(e->rflags & FL_OF))
		return MEZZ_EMUL_OK;
	if (!real_mode(e))
		return MEZZ_EMUL_UNKNOWN;
	return interrupt(e, e->insn.op == MEZZ_OP_INT ? e->insn.imm :
			    e->insn.op == MEZZ_OP_INT3 ? VEC_BP : VEC_OF, e->next);
}

int mezz_emul_interrupt(struct mezz_emul *e, u8 vector)
{
	int rc;

	e->written = 0;
	e->insn.mode = MEZZ_MODE_REAL;
	rc = interrupt(e, vector, e->rip);
	if (!rc)
		e->rip = e->next;
	return rc;
}

/* --- of the rest, what boot code has --- */

/* SDM 2, "ENTER" */
int emul_op_enter(struct mezz_emul *e)
{
	unsigned int size = e->insn.opsize, level = e->insn.imm2 & 31, i;
	u64 sp = e->r[MEZZ_GPR_SP], bp = e->r[MEZZ_GPR_BP], frame, val;
	int rc = emul_push(e, &sp, size, emul_get_reg(e, MEZZ_GPR_BP, size));

	frame = sp;
	for (i = 1; i < level && !rc; i++) {
		bp -= size;
		rc = emul_read_at(e, MEZZ_SEG_SS, bp & emul_mask(emul_stack_size(e)), size, &val);
		if (!rc)
			rc = emul_push(e, &sp, size, val);
	}
	if (level && !rc)
		rc = emul_push(e, &sp, size, frame);
	if (rc)
		return rc;
	emul_set_reg(e, MEZZ_GPR_BP, frame, size);
	emul_set_sp(e, sp - (u16)e->insn.imm);
	return MEZZ_EMUL_OK;
}

int emul_op_xlat(struct mezz_emul *e)
{
	u64 off = (e->r[MEZZ_GPR_BX] + (u8)e->r[MEZZ_GPR_AX]) & emul_mask(e->insn.adsize), val;
	int rc = emul_read_at(e, e->insn.seg, off, 1, &val);

	if (!rc)
		emul_set_reg(e, MEZZ_GPR_AX, val, 1);
	return rc;
}
