// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executor: string instructions, and IN and OUT with and without them.
 *
 * One call does one iteration, or many when repeated and only ordinary memory
 * is touched. INS and OUTS move as many items as one page holds at a time, so
 * that user space sees one exit with a count.
 */
#include "exec_int.h"

/* The longest run of INS or OUTS, bytes. */
#define IO_RUN	1024u

static bool repeated(const struct mezz_emul *e)
{
	return e->insn.prefix & (MEZZ_PFX_REP | MEZZ_PFX_REPNE);
}

/* Move rSI or rDI over @n items. */
static void advance(struct mezz_emul *e, unsigned int reg, unsigned int size, u64 n)
{
	u64 delta = n * size;

	if (e->rflags & FL_DF)
		delta = -delta;
	emul_set_reg(e, reg, e->r[reg] + delta, e->insn.adsize);
}

static void count_down(struct mezz_emul *e, u64 n)
{
	if (repeated(e))
		emul_set_reg(e, MEZZ_GPR_CX, e->r[MEZZ_GPR_CX] - n, e->insn.adsize);
}

static u64 src_off(const struct mezz_emul *e)
{
	return emul_get_reg(e, MEZZ_GPR_SI, e->insn.adsize);
}

static u64 dst_off(const struct mezz_emul *e)
{
	return emul_get_reg(e, MEZZ_GPR_DI, e->insn.adsize);
}

/* May this port be accessed (SDM 1, "I/O Privilege Level")? */
static int check_port(struct mezz_emul *e, u16 port, unsigned int size)
{
	if (!(e->cr0 & C0_PE))
		return MEZZ_EMUL_OK;
	if (e->insn.mode != MEZZ_MODE_VM86 && e->cpl <= (e->rflags & FL_IOPL) >> 12)
		return MEZZ_EMUL_OK;
	return e->ops->io_allowed(e, port, size);
}

static unsigned int io_size(const struct mezz_emul *e)
{
	return min_t(unsigned int, e->insn.opsize, 4);
}

/*
 * How many items one run may have: those left, those that fit into the page of
 * @la and into the buffer, one when the direction is down or @off would wrap.
 */
static unsigned int run_length(const struct mezz_emul *e, u64 la, u64 off, unsigned int size)
{
	u64 left = emul_get_reg(e, MEZZ_GPR_CX, e->insn.adsize);
	u64 room = (4096 - (la & 4095)) / size;
	u64 wrap = emul_mask(e->insn.adsize) - off;

	if (!repeated(e) || (e->rflags & (FL_DF | FL_TF)))
		return 1;
	room = min_t(u64, room, IO_RUN / size);
	if (wrap / size < room)
		return 1;
	return max_t(u64, 1, min_t(u64, room, left));
}

/* Address of a run of I/O items, and how many it can have. */
static int io_run(struct mezz_emul *e, unsigned int seg, u64 off, u32 access, u64 *la,
		  unsigned int *n)
{
	unsigned int size = io_size(e);
	int rc = emul_linear(e, seg, off, size, access, la);

	if (rc)
		return rc;
	*n = run_length(e, *la, off, size);
	if (*n > 1 && emul_linear(e, seg, off, *n * size, access, la))
		*n = 1;
	rc = e->ops->probe(e, *la, *n * size, access);
	if (rc != MEZZ_EMUL_EXIT)
		return rc;
	*n = 1;
	return MEZZ_EMUL_OK;
}

static int do_ins(struct mezz_emul *e, u64 *done)
{
	unsigned int size = io_size(e), n;
	u16 port = e->r[MEZZ_GPR_DX];
	u64 la;
	int rc = check_port(e, port, size);

	if (rc)
		return rc;
	/* A fault of the destination comes before the port is read. */
	rc = io_run(e, MEZZ_SEG_ES, dst_off(e), MEZZ_EMUL_WRITE, &la, &n);
	if (rc)
		return rc;
	rc = e->ops->pio_in(e, port, size, n, e->pio_buf);
	if (rc)
		return rc;
	rc = e->ops->write(e, la, e->pio_buf, n * size);
	if (rc)
		return rc;
	advance(e, MEZZ_GPR_DI, size, n);
	*done = n;
	return MEZZ_EMUL_OK;
}

static int do_outs(struct mezz_emul *e, u64 *done)
{
	unsigned int size = io_size(e), n;
	u16 port = e->r[MEZZ_GPR_DX];
	u64 la;
	int rc = check_port(e, port, size);

	if (rc)
		return rc;
	rc = io_run(e, e->insn.seg, src_off(e), MEZZ_EMUL_READ, &la, &n);
	if (rc)
		return rc;
	rc = e->ops->read(e, la, e->pio_buf, n * size, MEZZ_EMUL_READ);
	if (rc)
		return rc;
	rc = e->ops->pio_out(e, port, size, n, e->pio_buf);
	if (rc)
		return rc;
	advance(e, MEZZ_GPR_SI, size, n);
	*done = n;
	return MEZZ_EMUL_OK;
}

static int do_movs(struct mezz_emul *e, u64 *done)
{
	unsigned int size = e->insn.opsize;
	u64 val;
	int rc = emul_read_at(e, e->insn.seg, src_off(e), size, &val);

	(void)done;
	if (!rc)
		rc = emul_write_at(e, MEZZ_SEG_ES, dst_off(e), size, val);
	if (rc)
		return rc;
	advance(e, MEZZ_GPR_SI, size, 1);
	advance(e, MEZZ_GPR_DI, size, 1);
	return MEZZ_EMUL_OK;
}

static int do_stos(struct mezz_emul *e, u64 *done)
{
	unsigned int size = e->insn.opsize;
	int rc = emul_write_at(e, MEZZ_SEG_ES, dst_off(e), size,
			       emul_get_reg(e, MEZZ_GPR_AX, size));

	(void)done;
	if (rc)
		return rc;
	advance(e, MEZZ_GPR_DI, size, 1);
	return MEZZ_EMUL_OK;
}

static int do_lods(struct mezz_emul *e, u64 *done)
{
	unsigned int size = e->insn.opsize;
	u64 val;
	int rc = emul_read_at(e, e->insn.seg, src_off(e), size, &val);

	(void)done;
	if (rc)
		return rc;
	emul_set_reg(e, MEZZ_GPR_AX, val, size);
	advance(e, MEZZ_GPR_SI, size, 1);
	return MEZZ_EMUL_OK;
}

static int do_scas(struct mezz_emul *e, u64 *done)
{
	unsigned int size = e->insn.opsize;
	u64 val;
	int rc = emul_read_at(e, MEZZ_SEG_ES, dst_off(e), size, &val);

	(void)done;
	if (rc)
		return rc;
	emul_alu(MEZZ_OP_CMP, emul_get_reg(e, MEZZ_GPR_AX, size), val, size, &e->rflags);
	advance(e, MEZZ_GPR_DI, size, 1);
	return MEZZ_EMUL_OK;
}

static int do_cmps(struct mezz_emul *e, u64 *done)
{
	unsigned int size = e->insn.opsize;
	u64 a, b;
	int rc = emul_read_at(e, e->insn.seg, src_off(e), size, &a);

	(void)done;
	if (!rc)
		rc = emul_read_at(e, MEZZ_SEG_ES, dst_off(e), size, &b);
	if (rc)
		return rc;
	emul_alu(MEZZ_OP_CMP, a, b, size, &e->rflags);
	advance(e, MEZZ_GPR_SI, size, 1);
	advance(e, MEZZ_GPR_DI, size, 1);
	return MEZZ_EMUL_OK;
}

/* SCAS and CMPS stop on ZF. */
static bool ended_by_flag(const struct mezz_emul *e)
{
	if (e->insn.op != MEZZ_OP_SCAS && e->insn.op != MEZZ_OP_CMPS)
		return false;
	return !(e->rflags & FL_ZF) == !!(e->insn.prefix & MEZZ_PFX_REP);
}

static int (*const iteration[])(struct mezz_emul *e, u64 *done) = {
	[MEZZ_OP_MOVS - MEZZ_OP_MOVS] = do_movs,
	[MEZZ_OP_STOS - MEZZ_OP_MOVS] = do_stos,
	[MEZZ_OP_LODS - MEZZ_OP_MOVS] = do_lods,
	[MEZZ_OP_SCAS - MEZZ_OP_MOVS] = do_scas,
	[MEZZ_OP_CMPS - MEZZ_OP_MOVS] = do_cmps,
	[MEZZ_OP_INS - MEZZ_OP_MOVS] = do_ins,
	[MEZZ_OP_OUTS - MEZZ_OP_MOVS] = do_outs,
};

int emul_op_string(struct mezz_emul *e)
{
	unsigned int budget = e->rep_max;
	u64 done;
	int rc;

	if (repeated(e) && !emul_get_reg(e, MEZZ_GPR_CX, e->insn.adsize))
		return MEZZ_EMUL_OK;
	for (;;) {
		done = 1;
		rc = iteration[e->insn.op - MEZZ_OP_MOVS](e, &done);
		if (rc)
			return rc;
		count_down(e, done);
		if (!repeated(e) || !emul_get_reg(e, MEZZ_GPR_CX, e->insn.adsize) ||
		    ended_by_flag(e))
			return MEZZ_EMUL_OK;
		if (e->io || --budget == 0 || (e->rflags & FL_TF)) {
			e->next = e->rip;
			return MEZZ_EMUL_OK;
		}
	}
}

static u16 port_of(const struct mezz_emul *e, unsigned int kind)
{
	return kind == MEZZ_OPND_IMM ? (u8)e->insn.imm : (u16)e->r[MEZZ_GPR_DX];
}

int emul_op_in(struct mezz_emul *e)
{
	unsigned int size = io_size(e);
	u16 port = port_of(e, e->insn.src);
	u32 val = 0;
	int rc = check_port(e, port, size);

	if (!rc)
		rc = e->ops->pio_in(e, port, size, 1, &val);
	if (rc)
		return rc;
	emul_set_reg(e, MEZZ_GPR_AX, val, size);
	return MEZZ_EMUL_OK;
}

int emul_op_out(struct mezz_emul *e)
{
	unsigned int size = io_size(e);
	u16 port = port_of(e, e->insn.dst);
	u32 val = (u32)e->r[MEZZ_GPR_AX];
	int rc = check_port(e, port, size);

	return rc ? rc : e->ops->pio_out(e, port, size, 1, &val);
}
