// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the executor: what an instruction does to registers, flags and
 * memory, and which exception it raises. Each row is one form; what a row does
 * not say must not change. selftests/unit/emulate does the same with random
 * operands beside the real CPU, for what user space can execute.
 */
#include <kunit/test.h>
#include "exec.c"

#define BYTES(...)	.len = sizeof((u8[]){ __VA_ARGS__ }), .code = { __VA_ARGS__ }

/* Linear addresses: 4 KiB that can be written, 4 KiB that cannot, I/O behind. */
#define BASE		0x10000ull
#define DATA		(BASE + 0x100)
#define DEST		(BASE + 0x200)
#define STACK		(BASE + 0x800)
#define RO		(BASE + 0x1000)
#define IO		(BASE + 0x2000)
#define END		(BASE + 0x3000)
#define RIP		0x400000ull

/* Which of the outputs a row gives. */
#define AX	BIT(0)
#define CX	BIT(1)
#define DX	BIT(2)
#define BX	BIT(3)
#define SP	BIT(4)
#define SI	BIT(6)
#define DI	BIT(7)
#define MEM	BIT(16)		/* eight bytes at DATA */
#define DST	BIT(17)		/* eight bytes at DEST */
#define STK	BIT(18)		/* eight bytes at STACK - 8 */
#define NEXT	BIT(19)		/* RIP */

struct row {
	u8 len;
	u8 code[MEZZ_MAX_INSN];
	u8 mode;		/* 0: 64-bit */
	u8 cpl;
	u64 ax, bx, cx, dx, mem, fl;	/* before; RSI: DATA, RDI: DEST, RSP: STACK */
	u32 out;
	u64 ax2, bx2, cx2, dx2, sp2, si2, di2, mem2, dst2, stk2, rip2;
	u64 fl2;		/* arithmetic flags, DF and IF after it */
	u64 undef;		/* flags that may be anything */
	u8 rc, vector;
	u32 err;
};

struct machine {
	struct mezz_emul e;
	u64 r[16];
	u8 ram[0x2000];
	u64 cr[9], dr[8];
	u8 vec[16][32];
	u64 io_written, io_count, out_val, invalidated;
	u16 out_port, seg[8];
	bool refuse_io, idt_set;
	u64 dt_base;
	u16 dt_limit;
};

static struct machine *m_of(struct mezz_emul *e)
{
	return container_of(e, struct machine, e);
}

/* 0, a fault, or EXIT for I/O memory. */
static int check(struct mezz_emul *e, u64 la, unsigned int len, bool write)
{
	if (la < BASE || la + len > END)
		return mezz_emul_raise_pf(e, write ? 2 : 0, la < BASE ? la : END);
	if (la + len > IO)
		return MEZZ_EMUL_EXIT;
	if (write && la + len > RO)
		return mezz_emul_raise_pf(e, 3, max(la, RO));
	return MEZZ_EMUL_OK;
}

static int t_read(struct mezz_emul *e, u64 la, void *buf, unsigned int len, u32 access)
{
	int rc = check(e, la, len, access);

	if (rc == MEZZ_EMUL_EXIT) {
		e->io = true;
		memset(buf, 0xa5, len);
		return MEZZ_EMUL_OK;
	}
	if (!rc)
		memcpy(buf, m_of(e)->ram + (la - BASE), len);
	return rc;
}

static int t_write(struct mezz_emul *e, u64 la, const void *buf, unsigned int len)
{
	int rc = check(e, la, len, true);

	if (rc == MEZZ_EMUL_EXIT) {
		e->io = true;
		m_of(e)->io_written = 0;
		memcpy(&m_of(e)->io_written, buf, min(len, 8u));
		m_of(e)->io_count++;
		return MEZZ_EMUL_OK;
	}
	if (!rc)
		memcpy(m_of(e)->ram + (la - BASE), buf, len);
	return rc;
}

static int t_cas(struct mezz_emul *e, u64 la, void *old, const void *new, unsigned int len,
		 u32 access)
{
	int rc = check(e, la, len, true);
	u8 *p = m_of(e)->ram + (la - BASE);

	if (!rc && memcmp(p, old, len))
		memcpy(old, p, len);
	else if (!rc)
		memcpy(p, new, len);
	return rc;
}

static int t_probe(struct mezz_emul *e, u64 la, unsigned int len, u32 access)
{
	return check(e, la, len, access);
}

static int t_pio_in(struct mezz_emul *e, u16 port, unsigned int size, unsigned int count,
		    void *buf)
{
	e->io = true;
	memset(buf, port, size * count);
	return MEZZ_EMUL_OK;
}

static int t_pio_out(struct mezz_emul *e, u16 port, unsigned int size, unsigned int count,
		     const void *buf)
{
	struct machine *m = m_of(e);

	e->io = true;
	m->out_port = port;
	m->out_val = 0;
	memcpy(&m->out_val, buf, size);
	return MEZZ_EMUL_OK;
}

static int t_io_allowed(struct mezz_emul *e, u16 port, unsigned int size)
{
	return m_of(e)->refuse_io ? mezz_emul_raise(e, VEC_GP, 0) : MEZZ_EMUL_OK;
}

static void t_get_seg(struct mezz_emul *e, unsigned int seg, struct mezz_emul_seg *s)
{
	*s = (struct mezz_emul_seg) {
		.limit = e->insn.mode == MEZZ_MODE_PROT32 ? 0x11fff : ~0u,
		.sel = m_of(e)->seg[seg], .type = seg == MEZZ_SEG_CS ? 0xb : 3,
		.usable = true, .db = e->insn.mode == MEZZ_MODE_PROT32,
		.base = seg == MEZZ_SEG_GS ? 0x40 : 0,
	};
}

static void t_set_seg(struct mezz_emul *e, unsigned int seg, const struct mezz_emul_seg *s)
{
	m_of(e)->seg[seg] = s->sel;
}

static int t_read_cr(struct mezz_emul *e, unsigned int n, u64 *val)
{
	*val = m_of(e)->cr[n];
	return MEZZ_EMUL_OK;
}

static int t_write_cr(struct mezz_emul *e, unsigned int n, u64 val)
{
	m_of(e)->cr[n] = val;
	return MEZZ_EMUL_OK;
}

static int t_read_dr(struct mezz_emul *e, unsigned int n, u64 *val)
{
	*val = m_of(e)->dr[n];
	return MEZZ_EMUL_OK;
}

static int t_write_dr(struct mezz_emul *e, unsigned int n, u64 val)
{
	m_of(e)->dr[n] = val;
	return MEZZ_EMUL_OK;
}

static void t_get_dt(struct mezz_emul *e, bool idt, u64 *base, u16 *limit)
{
	*base = idt ? 0x1122334455667788 : 0x99aabbccddeeff00;
	*limit = idt ? 0xfff : 0x7f;
}

static int t_set_dt(struct mezz_emul *e, bool idt, u64 base, u16 limit)
{
	m_of(e)->idt_set = idt;
	m_of(e)->dt_base = base;
	m_of(e)->dt_limit = limit;
	return MEZZ_EMUL_OK;
}

static void t_invlpg(struct mezz_emul *e, u64 la)
{
	m_of(e)->invalidated = la;
}

static void t_get_vec(struct mezz_emul *e, unsigned int n, void *buf)
{
	memcpy(buf, m_of(e)->vec[n], 32);
}

static void t_set_vec(struct mezz_emul *e, unsigned int n, const void *buf)
{
	memcpy(m_of(e)->vec[n], buf, 32);
}

static const struct mezz_emul_ops ops = {
	.read = t_read, .write = t_write, .cas = t_cas, .probe = t_probe,
	.pio_in = t_pio_in, .pio_out = t_pio_out, .io_allowed = t_io_allowed,
	.get_seg = t_get_seg, .set_seg = t_set_seg,
	.read_cr = t_read_cr, .write_cr = t_write_cr, .read_dr = t_read_dr, .write_dr = t_write_dr,
	.get_dt = t_get_dt, .set_dt = t_set_dt, .invlpg = t_invlpg,
	.get_vec = t_get_vec, .set_vec = t_set_vec,
};

static u64 ram8(struct machine *m, u64 la)
{
	u64 val;

	memcpy(&val, m->ram + (la - BASE), 8);
	return val;
}

static void set8(struct machine *m, u64 la, u64 val)
{
	memcpy(m->ram + (la - BASE), &val, 8);
}

static struct machine *exec_machine(struct kunit *test)
{
	struct machine *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, m);
	m->e.pio_buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m->e.pio_buf);
	return m;
}

/* Bring the machine to where @row begins, and execute it until it moves on. */
static int exec_row(struct kunit *test, struct machine *m, const struct row *row)
{
	u8 code[MEZZ_MAX_INSN] = {};
	void *page = m->e.pio_buf;
	unsigned int i;
	int rc;

	memset(m->ram, 0, sizeof(m->ram));
	for (i = 0; i < 16; i++)
		m->r[i] = 0x0101010101010101ull * i;
	m->r[0] = row->ax;
	m->r[1] = row->cx;
	m->r[2] = row->dx;
	m->r[3] = row->bx;
	m->r[4] = STACK;
	m->r[6] = DATA;
	m->r[7] = DEST;
	set8(m, DATA, row->mem);
	m->e = (struct mezz_emul) {
		.ops = &ops, .r = m->r, .rip = RIP, .rflags = row->fl | 2, .cpl = row->cpl,
		.cr0 = C0_PE, .cr4 = C4_OSFXSR | C4_OSXSAVE, .xcr0 = 7, .rep_max = 3,
		.pio_buf = page,
	};
	memcpy(code, row->code, row->len);
	rc = mezz_decode(&m->e.insn, code, sizeof(code), row->mode ?: MEZZ_MODE_LONG64);
	KUNIT_ASSERT_EQ(test, rc, MEZZ_DECODE_OK);
	KUNIT_ASSERT_EQ(test, m->e.insn.len, row->len);
	for (i = 0; i < 100; i++) {
		rc = mezz_emul_exec(&m->e);
		if (rc || m->e.rip != RIP)
			break;
	}
	return rc;
}

static void run_rows(struct kunit *test, const struct row *rows, unsigned int n)
{
	static const u8 reg[] = { 0, 1, 2, 3, 4, 6, 7 };
	struct machine *m = exec_machine(test);
	unsigned int k, i;

	for (k = 0; k < n; k++) {
		const struct row *row = &rows[k];
		const u64 before[] = { row->ax, row->cx, row->dx, row->bx, STACK, DATA, DEST };
		const u64 after[] = { row->ax2, row->cx2, row->dx2, row->bx2, row->sp2, row->si2,
				      row->di2 };
		u64 rip = row->rc ? RIP : RIP + row->len;
		int rc = exec_row(test, m, row);

		KUNIT_EXPECT_EQ_MSG(test, rc, row->rc, "row %u", k);
		if (rc == MEZZ_EMUL_FAULT) {
			KUNIT_EXPECT_EQ_MSG(test, m->e.fault.vector, row->vector, "row %u", k);
			KUNIT_EXPECT_EQ_MSG(test, m->e.fault.err, row->err, "row %u", k);
		}
		for (i = 0; i < ARRAY_SIZE(reg); i++)
			KUNIT_EXPECT_EQ_MSG(test, m->r[reg[i]],
					    row->out & BIT(reg[i]) ? after[i] : before[i],
					    "row %u, register %u", k, reg[i]);
		for (i = 8; i < 16; i++)
			KUNIT_EXPECT_EQ_MSG(test, m->r[i], 0x0101010101010101ull * i,
					    "row %u, register %u", k, i);
		KUNIT_EXPECT_EQ_MSG(test, ram8(m, DATA), row->out & MEM ? row->mem2 : row->mem,
				    "row %u, memory", k);
		KUNIT_EXPECT_EQ_MSG(test, ram8(m, DEST), row->out & DST ? row->dst2 : 0,
				    "row %u, destination", k);
		KUNIT_EXPECT_EQ_MSG(test, ram8(m, STACK - 8), row->out & STK ? row->stk2 : 0,
				    "row %u, stack", k);
		KUNIT_EXPECT_EQ_MSG(test, m->e.rip, row->out & NEXT ? row->rip2 : rip,
				    "row %u, RIP", k);
		KUNIT_EXPECT_EQ_MSG(test,
				    m->e.rflags & ~row->undef & (FL_ARITH | FL_DF | FL_IF),
				    (row->rc ? row->fl : row->fl2) & ~row->undef,
				    "row %u, flags", k);
	}
}

#define CF FL_CF
#define PF FL_PF
#define AF FL_AF
#define ZF FL_ZF
#define SF FL_SF
#define OF FL_OF
#define LOGIC FL_AF		/* undefined after a logical operation */

static const struct row alu[] = {
	{ BYTES(0x04, 0xff), .ax = 0x1101, .out = AX, .ax2 = 0x1100, .fl2 = CF | PF | AF | ZF },
	{ BYTES(0x01, 0xd8), .ax = 0x7fffffff, .bx = 1, .out = AX, .ax2 = 0x80000000,
	  .fl2 = OF | SF | AF | PF },
	{ BYTES(0x48, 0x01, 0xd8), .ax = ~0ull, .bx = 1, .out = AX, .ax2 = 0,
	  .fl2 = CF | PF | AF | ZF },
	/* 32-bit results clear the upper half, 16-bit ones leave the rest alone */
	{ BYTES(0x01, 0xd8), .ax = ~0ull << 32, .bx = 5, .out = AX, .ax2 = 5, .fl2 = PF },
	{ BYTES(0x66, 0x01, 0xd8), .ax = 0x1234ffff, .bx = 1, .out = AX, .ax2 = 0x12340000,
	  .fl2 = CF | PF | AF | ZF },
	{ BYTES(0x00, 0xc4), .ax = 0x0102, .out = AX, .ax2 = 0x0302, .fl2 = PF },
	{ BYTES(0x11, 0xd8), .ax = 1, .bx = 1, .fl = CF, .out = AX, .ax2 = 3, .fl2 = PF },
	{ BYTES(0x19, 0xd8), .ax = 1, .bx = 1, .fl = CF, .out = AX, .ax2 = 0xffffffff,
	  .fl2 = CF | PF | AF | SF },
	{ BYTES(0x29, 0xd8), .ax = 0x80000000, .bx = 1, .out = AX, .ax2 = 0x7fffffff,
	  .fl2 = OF | PF | AF },
	{ BYTES(0x21, 0xd8), .ax = 0xff00, .bx = 0x0ff0, .fl = CF | OF, .out = AX, .ax2 = 0x0f00,
	  .fl2 = PF, .undef = LOGIC },
	{ BYTES(0x09, 0xd8), .ax = 0x80000000, .bx = 1, .out = AX, .ax2 = 0x80000001, .fl2 = SF,
	  .undef = LOGIC },
	{ BYTES(0x31, 0xc0), .ax = 0x1234, .out = AX, .ax2 = 0, .fl2 = ZF | PF, .undef = LOGIC },
	{ BYTES(0x39, 0xd8), .ax = 1, .bx = 2, .fl2 = CF | SF | AF | PF },
	{ BYTES(0x85, 0xd8), .ax = 1, .bx = 2, .fl2 = ZF | PF, .undef = LOGIC },
	{ BYTES(0xff, 0xc0), .ax = 0xffffffff, .fl = CF, .out = AX, .ax2 = 0,
	  .fl2 = CF | ZF | PF | AF },
	{ BYTES(0xff, 0xc8), .ax = 0, .out = AX, .ax2 = 0xffffffff, .fl2 = SF | PF | AF },
	{ BYTES(0xf7, 0xd0), .ax = 1, .fl = CF, .out = AX, .ax2 = 0xfffffffe, .fl2 = CF },
	{ BYTES(0xf7, 0xd8), .ax = 1, .out = AX, .ax2 = 0xffffffff, .fl2 = CF | SF | PF | AF },
	{ BYTES(0xf7, 0xd8), .ax = 0, .out = AX, .ax2 = 0, .fl2 = ZF | PF },
	/* memory operands, with and without LOCK */
	{ BYTES(0x01, 0x06), .ax = 1, .mem = 0xffffffffull, .out = MEM, .mem2 = 0,
	  .fl2 = CF | PF | AF | ZF },
	{ BYTES(0xf0, 0x48, 0x01, 0x06), .ax = 1, .mem = 0xffffffffull, .out = MEM,
	  .mem2 = 0x100000000, .fl2 = PF | AF },
	{ BYTES(0x83, 0x0e, 0xf0), .mem = 0xff0000000full, .out = MEM, .mem2 = 0xffffffffffull,
	  .fl2 = SF | PF, .undef = LOGIC },
	{ BYTES(0x03, 0x06), .ax = 5, .mem = 3, .out = AX, .ax2 = 8, .fl2 = 0 },
};

static void exec_alu(struct kunit *test)
{
	run_rows(test, alu, ARRAY_SIZE(alu));
}

static const struct row shifts[] = {
	{ BYTES(0xd1, 0xe0), .ax = 0xc0000000, .out = AX, .ax2 = 0x80000000, .fl2 = CF | SF | PF,
	  .undef = AF },
	{ BYTES(0xd1, 0xe8), .ax = 0x80000001, .out = AX, .ax2 = 0x40000000, .fl2 = CF | OF | PF,
	  .undef = AF },
	{ BYTES(0xd1, 0xf8), .ax = 0x80000001, .out = AX, .ax2 = 0xc0000000, .fl2 = CF | SF | PF,
	  .undef = AF },
	/* the count is taken modulo 32 or 64, and 0 changes no flag */
	{ BYTES(0xd3, 0xe0), .ax = 3, .cx = 0x20, .fl = CF | ZF, .out = AX, .ax2 = 3,
	  .fl2 = CF | ZF },
	{ BYTES(0x48, 0xd3, 0xe0), .ax = 1, .cx = 0x7f, .out = AX, .ax2 = 1ull << 63,
	  .fl2 = SF | PF, .undef = AF | OF },
	{ BYTES(0xc1, 0xc0, 8), .ax = 0x12345678, .out = AX, .ax2 = 0x34567812, .fl2 = 0,
	  .undef = OF },
	{ BYTES(0xc0, 0xc8, 4), .ax = 0x12, .out = AX, .ax2 = 0x21, .fl2 = 0, .undef = OF },
	{ BYTES(0xd1, 0xd0), .ax = 0x80000000, .fl = CF, .out = AX, .ax2 = 1, .fl2 = CF | OF },
	{ BYTES(0xd1, 0xd8), .ax = 1, .fl = CF, .out = AX, .ax2 = 0x80000000, .fl2 = CF | OF },
	{ BYTES(0x0f, 0xa4, 0xd8, 4), .ax = 0x12345678, .bx = 0xabcdef01, .out = AX,
	  .ax2 = 0x2345678a, .fl2 = CF, .undef = AF | OF },
	{ BYTES(0x0f, 0xac, 0xd8, 4), .ax = 0x12345678, .bx = 0xabcdef01, .out = AX,
	  .ax2 = 0x11234567, .fl2 = CF, .undef = AF | OF },
};

static void exec_shifts(struct kunit *test)
{
	run_rows(test, shifts, ARRAY_SIZE(shifts));
}

#define MULU (SF | ZF | AF | PF)

static const struct row muldiv[] = {
	{ BYTES(0xf7, 0xe3), .ax = 0x80000000, .bx = 4, .dx = 9, .out = AX | DX, .ax2 = 0, .dx2 = 2,
	  .fl2 = CF | OF, .undef = MULU },
	{ BYTES(0xf6, 0xe3), .ax = 0x10, .bx = 0x10, .out = AX, .ax2 = 0x100, .fl2 = CF | OF,
	  .undef = MULU },
	{ BYTES(0xf7, 0xeb), .ax = 0xffffffff, .bx = 2, .out = AX | DX, .ax2 = 0xfffffffe,
	  .dx2 = 0xffffffff, .fl2 = 0, .undef = MULU },
	{ BYTES(0x0f, 0xaf, 0xc3), .ax = 0x10000, .bx = 0x10000, .out = AX, .ax2 = 0,
	  .fl2 = CF | OF, .undef = MULU },
	{ BYTES(0x6b, 0xc3, 0xfe), .bx = 3, .out = AX, .ax2 = 0xfffffffa, .fl2 = 0,
	  .undef = MULU },
	{ BYTES(0xf7, 0xf3), .ax = 7, .bx = 2, .dx = 1, .out = AX | DX, .ax2 = 0x80000003, .dx2 = 1,
	  .undef = FL_ARITH },
	{ BYTES(0xf7, 0xfb), .ax = 0xfffffff9, .dx = 0xffffffff, .bx = 2, .out = AX | DX,
	  .ax2 = 0xfffffffd, .dx2 = 0xffffffff, .undef = FL_ARITH },
	{ BYTES(0xf6, 0xf3), .ax = 0x105, .bx = 0x10, .out = AX, .ax2 = 0x0510,
	  .undef = FL_ARITH },
	/* by zero, and quotients that do not fit */
	{ BYTES(0xf7, 0xf3), .ax = 1, .rc = MEZZ_EMUL_FAULT, .vector = VEC_DE },
	{ BYTES(0xf7, 0xf3), .dx = 2, .bx = 2, .rc = MEZZ_EMUL_FAULT, .vector = VEC_DE },
	{ BYTES(0xf7, 0xfb), .ax = 0x80000000, .dx = 0xffffffff, .bx = 0xffffffff,
	  .rc = MEZZ_EMUL_FAULT, .vector = VEC_DE },
};

static void exec_muldiv(struct kunit *test)
{
	run_rows(test, muldiv, ARRAY_SIZE(muldiv));
}

#define BTU (OF | SF | AF | PF | ZF)

static const struct row bits[] = {
	{ BYTES(0x0f, 0xa3, 0xd8), .ax = 0x20, .bx = 37, .fl2 = CF, .undef = BTU },
	{ BYTES(0x0f, 0xab, 0xd8), .ax = 0, .bx = 3, .out = AX, .ax2 = 8, .fl2 = 0, .undef = BTU },
	{ BYTES(0x0f, 0xba, 0xf0, 3), .ax = 0xf, .out = AX, .ax2 = 7, .fl2 = CF, .undef = BTU },
	{ BYTES(0x0f, 0xba, 0xf8, 3), .ax = 7, .out = AX, .ax2 = 0xf, .fl2 = 0, .undef = BTU },
	/* a register offset reaches beyond the operand */
	{ BYTES(0x0f, 0xab, 0x1e), .bx = 35, .out = MEM, .mem2 = 8ull << 32, .fl2 = 0,
	  .undef = BTU },
	{ BYTES(0x0f, 0xb3, 0x5e, 0x08), .bx = -61ull, .mem = 8, .out = MEM, .mem2 = 0, .fl2 = CF,
	  .undef = BTU },
	{ BYTES(0x0f, 0xbc, 0xc3), .bx = 0x50, .out = AX, .ax2 = 4, .fl2 = 0,
	  .undef = FL_ARITH & ~ZF },
	{ BYTES(0x0f, 0xbd, 0xc3), .bx = 0x50, .out = AX, .ax2 = 6, .fl2 = 0,
	  .undef = FL_ARITH & ~ZF },
	{ BYTES(0x0f, 0xbc, 0xc3), .ax = 9, .fl2 = ZF, .undef = FL_ARITH & ~ZF },
	{ BYTES(0xf3, 0x0f, 0xb8, 0xc3), .bx = 0xff00ff, .fl = CF, .out = AX, .ax2 = 16, .fl2 = 0 },
	{ BYTES(0x0f, 0xc8), .ax = 0x12345678, .out = AX, .ax2 = 0x78563412, .fl2 = 0 },
	{ BYTES(0x0f, 0x94, 0xc0), .ax = 0x1234, .fl = ZF, .out = AX, .ax2 = 0x1201, .fl2 = ZF },
	{ BYTES(0x0f, 0x95, 0x06), .mem = ~0ull, .fl = ZF, .out = MEM, .mem2 = ~0xffull,
	  .fl2 = ZF },
	/* a CMOV that does not move clears the upper half all the same */
	{ BYTES(0x0f, 0x44, 0xc3), .ax = ~0ull, .bx = 1, .out = AX, .ax2 = 0xffffffff, .fl2 = 0 },
	{ BYTES(0x48, 0x0f, 0x4c, 0xc3), .ax = 1, .bx = 2, .fl = SF, .out = AX, .ax2 = 2,
	  .fl2 = SF },
};

static void exec_bits(struct kunit *test)
{
	run_rows(test, bits, ARRAY_SIZE(bits));
}

#define OLD .mode = MEZZ_MODE_PROT32

static const struct row decimal[] = {
	{ BYTES(0x27), OLD, .ax = 0x19a, .out = AX, .ax2 = 0x100, .fl2 = CF | AF | ZF | PF,
	  .undef = OF },
	{ BYTES(0x27), OLD, .ax = 0x0b, .out = AX, .ax2 = 0x11, .fl2 = AF | PF, .undef = OF },
	{ BYTES(0x27), OLD, .ax = 0x12, .fl = CF | AF, .out = AX, .ax2 = 0x78, .fl2 = CF | AF | PF,
	  .undef = OF },
	{ BYTES(0x2f), OLD, .ax = 0xff, .fl = CF | AF, .out = AX, .ax2 = 0x99,
	  .fl2 = CF | AF | SF | PF, .undef = OF },
	/* a borrow, though AL is not above 99 */
	{ BYTES(0x2f), OLD, .ax = 0x03, .fl = AF, .out = AX, .ax2 = 0xfd, .fl2 = CF | AF | SF,
	  .undef = OF },
	{ BYTES(0x37), OLD, .ax = 0x0f, .out = AX, .ax2 = 0x105, .fl2 = CF | AF,
	  .undef = OF | SF | ZF | PF },
	{ BYTES(0x37), OLD, .ax = 0x71ff, .out = AX, .ax2 = 0x7305, .fl2 = CF | AF,
	  .undef = OF | SF | ZF | PF },
	{ BYTES(0x3f), OLD, .ax = 0x205, .fl = AF, .out = AX, .ax2 = 0x0f, .fl2 = CF | AF,
	  .undef = OF | SF | ZF | PF },
	{ BYTES(0xd4, 10), OLD, .ax = 0xff3f, .out = AX, .ax2 = 0x603, .fl2 = PF,
	  .undef = OF | AF | CF },
	{ BYTES(0xd4, 0), OLD, .ax = 1, .rc = MEZZ_EMUL_FAULT, .vector = VEC_DE },
	{ BYTES(0xd5, 10), OLD, .ax = 0x603, .out = AX, .ax2 = 0x3f, .fl2 = PF,
	  .undef = OF | AF | CF },
	{ BYTES(0xd5, 16), OLD, .ax = 0xff01, .out = AX, .ax2 = 0xf1, .fl2 = SF,
	  .undef = OF | AF | CF },
};

static void exec_decimal(struct kunit *test)
{
	run_rows(test, decimal, ARRAY_SIZE(decimal));
}

static const struct row moves[] = {
	{ BYTES(0x8a, 0x26), .ax = 0x11223344, .mem = 0x99, .out = AX, .ax2 = 0x11229944 },
	{ BYTES(0x48, 0x8b, 0x06), .mem = 0x1122334455667788, .out = AX,
	  .ax2 = 0x1122334455667788 },
	{ BYTES(0x66, 0x89, 0x06), .ax = 0xabcd1234, .mem = ~0ull, .out = MEM,
	  .mem2 = 0xffffffffffff1234 },
	{ BYTES(0xc7, 0x46, 0x04, 0xff, 0, 0, 0), .mem = 1, .out = MEM, .mem2 = 0xff00000001 },
	{ BYTES(0x48, 0xc7, 0x06, 0xff, 0xff, 0xff, 0xff), .out = MEM, .mem2 = ~0ull },
	{ BYTES(0x0f, 0xb6, 0x06), .ax = ~0ull, .mem = 0xf0, .out = AX, .ax2 = 0xf0 },
	{ BYTES(0x0f, 0xbe, 0x06), .mem = 0xf0, .out = AX, .ax2 = 0xfffffff0 },
	{ BYTES(0x48, 0x0f, 0xbf, 0x06), .mem = 0x8000, .out = AX, .ax2 = 0xffffffffffff8000 },
	{ BYTES(0x48, 0x63, 0x06), .mem = 0x80000000, .out = AX, .ax2 = 0xffffffff80000000 },
	{ BYTES(0x8d, 0x44, 0xcb, 0x10), .bx = 0x100, .cx = 2, .out = AX, .ax2 = 0x120 },
	{ BYTES(0x48, 0x98), .ax = 0x80000000, .out = AX, .ax2 = 0xffffffff80000000 },
	{ BYTES(0x99), .ax = 0x80000000, .out = DX, .dx2 = 0xffffffff },
	{ BYTES(0x48, 0x87, 0x06), .ax = 1, .mem = 2, .out = AX | MEM, .ax2 = 2, .mem2 = 1 },
	{ BYTES(0x0f, 0xc1, 0x06), .ax = 1, .mem = 2, .out = AX | MEM, .ax2 = 2, .mem2 = 3,
	  .fl2 = PF },
	{ BYTES(0x0f, 0xb1, 0x1e), .ax = 5, .bx = 7, .mem = 5, .out = MEM, .mem2 = 7,
	  .fl2 = ZF | PF },
	{ BYTES(0x0f, 0xb1, 0x1e), .ax = 4, .bx = 7, .mem = 5, .out = AX, .ax2 = 5,
	  .fl2 = CF | AF | SF | PF },
	{ BYTES(0x0f, 0xc7, 0x0e), .ax = 1, .dx = 2, .bx = 3, .cx = 4, .mem = 0x200000001,
	  .out = MEM, .mem2 = 0x400000003, .fl2 = ZF },
	{ BYTES(0x0f, 0xc7, 0x0e), .ax = 1, .dx = 2, .mem = 0x500000006, .fl = ZF, .out = AX | DX,
	  .ax2 = 6, .dx2 = 5, .fl2 = 0 },
	{ BYTES(0x0f, 0x38, 0xf0, 0x06), .mem = 0x12345678, .out = AX, .ax2 = 0x78563412 },
	{ BYTES(0x0f, 0x38, 0xf1, 0x06), .ax = 0x12345678, .out = MEM, .mem2 = 0x78563412 },
	{ BYTES(0x9f), .ax = 0, .fl = SF | CF, .out = AX, .ax2 = 0x8300, .fl2 = SF | CF },
	{ BYTES(0x9e), .ax = 0xff00, .fl = OF, .fl2 = OF | SF | ZF | AF | PF | CF },
};

static void exec_moves(struct kunit *test)
{
	run_rows(test, moves, ARRAY_SIZE(moves));
}

static const struct row strings[] = {
	{ BYTES(0xa4), .mem = 0x1122, .out = SI | DI | DST, .si2 = DATA + 1, .di2 = DEST + 1,
	  .dst2 = 0x22 },
	{ BYTES(0xf3, 0x48, 0xa5), .mem = 0x55, .cx = 1, .out = SI | DI | CX | DST,
	  .si2 = DATA + 8, .di2 = DEST + 8, .dst2 = 0x55 },
	{ BYTES(0xf3, 0xa4), .mem = 0x1122334455667788, .cx = 8, .out = SI | DI | CX | DST,
	  .si2 = DATA + 8, .di2 = DEST + 8, .dst2 = 0x1122334455667788 },
	{ BYTES(0xf3, 0xa4), .mem = 0x11, .cx = 0 },
	{ BYTES(0xa4), .mem = 0x22, .fl = FL_DF, .out = SI | DI | DST, .si2 = DATA - 1,
	  .di2 = DEST - 1, .dst2 = 0x22, .fl2 = FL_DF },
	{ BYTES(0xf3, 0xab), .ax = 0x12345678, .cx = 2, .out = DI | CX | DST, .di2 = DEST + 8,
	  .dst2 = 0x1234567812345678 },
	{ BYTES(0xac), .ax = 0x1100, .mem = 0x99, .out = AX | SI, .ax2 = 0x1199,
	  .si2 = DATA + 1 },
	/* REPNE SCASB stops behind the byte that it looks for, here the first zero */
	{ BYTES(0xf2, 0xae), .ax = 0, .cx = 5, .out = CX | DI, .cx2 = 4, .di2 = DEST + 1,
	  .fl2 = ZF | PF },
	{ BYTES(0xf3, 0xa6), .mem = 0x0100, .cx = 9, .out = CX | SI | DI, .cx2 = 7,
	  .si2 = DATA + 2, .di2 = DEST + 2, .fl2 = 0 },
};

static void exec_strings(struct kunit *test)
{
	run_rows(test, strings, ARRAY_SIZE(strings));
}

static const struct row stack[] = {
	{ BYTES(0x50), .ax = 0x1122334455667788, .out = SP | STK, .sp2 = STACK - 8,
	  .stk2 = 0x1122334455667788 },
	{ BYTES(0x66, 0x50), .ax = 0x1234, .out = SP | STK, .sp2 = STACK - 2,
	  .stk2 = 0x1234ull << 48 },
	{ BYTES(0x6a, 0xff), .out = SP | STK, .sp2 = STACK - 8, .stk2 = ~0ull },
	{ BYTES(0xff, 0x36), .mem = 77, .out = SP | STK, .sp2 = STACK - 8, .stk2 = 77 },
	{ BYTES(0x54), .out = SP | STK, .sp2 = STACK - 8, .stk2 = STACK },
	{ BYTES(0x58), .ax = 1, .out = AX | SP, .ax2 = 0, .sp2 = STACK + 8 },
	{ BYTES(0x8f, 0x06), .mem = 1, .out = MEM | SP, .mem2 = 0, .sp2 = STACK + 8 },
	{ BYTES(0x9c), .fl = CF | FL_IF, .out = SP | STK, .sp2 = STACK - 8, .stk2 = 0x203,
	  .fl2 = CF | FL_IF },
	{ BYTES(0xe8, 0x10, 0, 0, 0), .out = SP | STK | NEXT, .sp2 = STACK - 8, .stk2 = RIP + 5,
	  .rip2 = RIP + 0x15 },
	{ BYTES(0xff, 0x16), .mem = 0x500000, .out = SP | STK | NEXT, .sp2 = STACK - 8,
	  .stk2 = RIP + 2, .rip2 = 0x500000 },
	{ BYTES(0xc3), .out = SP | NEXT, .sp2 = STACK + 8, .rip2 = 0 },
	{ BYTES(0xc2, 0x10, 0), .out = SP | NEXT, .sp2 = STACK + 0x18, .rip2 = 0 },
};

static void exec_stack(struct kunit *test)
{
	run_rows(test, stack, ARRAY_SIZE(stack));
}

static const struct row branches[] = {
	{ BYTES(0xeb, 0x02), .out = NEXT, .rip2 = RIP + 4 },
	{ BYTES(0xe9, 0, 0x10, 0, 0), .out = NEXT, .rip2 = RIP + 0x1005 },
	{ BYTES(0xff, 0xe0), .ax = 0x7000, .out = NEXT, .rip2 = 0x7000 },
	{ BYTES(0xff, 0xe0), .ax = 1ull << 50, .rc = MEZZ_EMUL_FAULT, .vector = VEC_GP },
	{ BYTES(0x74, 0x10), .fl = ZF, .out = NEXT, .rip2 = RIP + 0x12, .fl2 = ZF },
	{ BYTES(0x74, 0x10) },
	{ BYTES(0x7f, 0x10), .fl = SF | OF, .out = NEXT, .rip2 = RIP + 0x12, .fl2 = SF | OF },
	{ BYTES(0x0f, 0x86, 0, 1, 0, 0), .fl = CF, .out = NEXT, .rip2 = RIP + 0x106, .fl2 = CF },
	{ BYTES(0xe2, 0x10), .cx = 2, .out = CX | NEXT, .cx2 = 1, .rip2 = RIP + 0x12 },
	{ BYTES(0xe2, 0x10), .cx = 1, .out = CX, .cx2 = 0 },
	{ BYTES(0xe1, 0x10), .cx = 2, .out = CX, .cx2 = 1 },
	{ BYTES(0xe3, 0x10), .out = NEXT, .rip2 = RIP + 0x12 },
	{ BYTES(0x67, 0xe3, 0x10), .cx = 1ull << 32, .out = NEXT, .rip2 = RIP + 0x13 },
};

static void exec_branches(struct kunit *test)
{
	run_rows(test, branches, ARRAY_SIZE(branches));
}

static const struct row flags[] = {
	{ BYTES(0xf8), .fl = CF, .fl2 = 0 },
	{ BYTES(0xf9), .fl2 = CF },
	{ BYTES(0xf5), .fl2 = CF },
	{ BYTES(0xf5), .fl = CF, .fl2 = 0 },
	{ BYTES(0xfd), .fl2 = FL_DF },
	{ BYTES(0xfc), .fl = FL_DF, .fl2 = 0 },
	{ BYTES(0xfa), .fl = FL_IF, .fl2 = 0 },
	{ BYTES(0xfb), .fl2 = FL_IF },
	{ BYTES(0xfb), .cpl = 3, .rc = MEZZ_EMUL_FAULT, .vector = VEC_GP },
	{ BYTES(0xfa), .cpl = 3, .fl = FL_IF, .rc = MEZZ_EMUL_FAULT, .vector = VEC_GP },
	{ BYTES(0x90) },
};

static void exec_flags(struct kunit *test)
{
	run_rows(test, flags, ARRAY_SIZE(flags));
}

/* Nothing may have changed when an instruction faults. */
static const struct row faults[] = {
	/* not mapped, read-only, across the end of what can be written */
	{ BYTES(0x8b, 0x03), .bx = 0x5000, .rc = MEZZ_EMUL_FAULT, .vector = VEC_PF, .err = 0 },
	{ BYTES(0x89, 0x03), .bx = 0x5000, .rc = MEZZ_EMUL_FAULT, .vector = VEC_PF, .err = 2 },
	{ BYTES(0x01, 0x03), .bx = RO, .rc = MEZZ_EMUL_FAULT, .vector = VEC_PF, .err = 3 },
	{ BYTES(0x48, 0x89, 0x03), .bx = RO - 4, .rc = MEZZ_EMUL_FAULT, .vector = VEC_PF,
	  .err = 3 },
	{ BYTES(0x48, 0x87, 0x03), .bx = RO, .rc = MEZZ_EMUL_FAULT, .vector = VEC_PF, .err = 3 },
	{ BYTES(0x0f, 0xb1, 0x03), .bx = RO, .ax = 9, .rc = MEZZ_EMUL_FAULT, .vector = VEC_PF,
	  .err = 3 },
	{ BYTES(0x8f, 0x03), .bx = RO, .rc = MEZZ_EMUL_FAULT, .vector = VEC_PF, .err = 3 },
	{ BYTES(0xff, 0x13), .bx = 0x5000, .rc = MEZZ_EMUL_FAULT, .vector = VEC_PF, .err = 0 },
	/* not canonical: #GP, through the stack pointer #SS */
	{ BYTES(0x8b, 0x03), .bx = 1ull << 63, .rc = MEZZ_EMUL_FAULT, .vector = VEC_GP },
	{ BYTES(0x36, 0x8b, 0x45, 0), .rc = MEZZ_EMUL_FAULT, .vector = VEC_SS },
	{ BYTES(0x8b, 0x04, 0x1c), .bx = 1ull << 62, .rc = MEZZ_EMUL_FAULT, .vector = VEC_SS },
	/* beyond the limit of the segment, outside of 64-bit mode */
	{ BYTES(0x8b, 0x03), .mode = MEZZ_MODE_PROT32, .bx = 0x11ffd, .rc = MEZZ_EMUL_FAULT,
	  .vector = VEC_GP },
	{ BYTES(0x2e, 0x89, 0x03), .mode = MEZZ_MODE_PROT32, .bx = DATA, .rc = MEZZ_EMUL_FAULT,
	  .vector = VEC_GP },
	/* privileged */
	{ BYTES(0x0f, 0x22, 0xc0), .cpl = 3, .rc = MEZZ_EMUL_FAULT, .vector = VEC_GP },
	{ BYTES(0x0f, 0x06), .cpl = 3, .rc = MEZZ_EMUL_FAULT, .vector = VEC_GP },
	{ BYTES(0x0f, 0x01, 0x3e), .cpl = 3, .rc = MEZZ_EMUL_FAULT, .vector = VEC_GP },
	{ BYTES(0x0f, 0x01, 0x16), .cpl = 3, .rc = MEZZ_EMUL_FAULT, .vector = VEC_GP },
	{ BYTES(0x0f, 0x23, 0xc0), .cpl = 3, .rc = MEZZ_EMUL_FAULT, .vector = VEC_GP },
};

static void exec_faults(struct kunit *test)
{
	run_rows(test, faults, ARRAY_SIZE(faults));
}

static void exec_io(struct kunit *test)
{
	static const struct row mmio_out = { BYTES(0x89, 0x03), .ax = 0x1234, .bx = IO + 8 };
	static const struct row mmio_in = { BYTES(0x0f, 0xb6, 0x03), .bx = IO };
	static const struct row port_out = { BYTES(0xee), .ax = 0x77, .dx = 0x3f8 };
	static const struct row port_in = { BYTES(0x66, 0xed), .ax = 0x11110000, .dx = 0x70 };
	static const struct row user_in = { BYTES(0xe4, 0x60), .cpl = 3 };
	struct machine *m = exec_machine(test);

	KUNIT_EXPECT_EQ(test, exec_row(test, m, &mmio_out), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->io_written, 0x1234ull);
	KUNIT_EXPECT_EQ(test, m->io_count, 1ull);
	KUNIT_EXPECT_TRUE(test, m->e.io);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &mmio_in), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->r[0], 0xa5ull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &port_out), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->out_port, 0x3f8);
	KUNIT_EXPECT_EQ(test, m->out_val, 0x77ull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &port_in), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->r[0], 0x11117070ull);
	m->refuse_io = true;
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &user_in), MEZZ_EMUL_FAULT);
	KUNIT_EXPECT_EQ(test, m->e.fault.vector, VEC_GP);
	m->refuse_io = false;
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &user_in), MEZZ_EMUL_OK);
}

static void exec_system(struct kunit *test)
{
	static const struct row to_cr0 = { BYTES(0x0f, 0x22, 0xc0), .ax = 0x80000011 };
	static const struct row from_cr4 = { BYTES(0x0f, 0x20, 0xe0) };
	static const struct row to_dr7 = { BYTES(0x0f, 0x23, 0xf8), .ax = 0x401 };
	static const struct row lmsw = { BYTES(0x0f, 0x01, 0xf0), .ax = 0 };
	static const struct row smsw = { BYTES(0x0f, 0x01, 0xe0) };
	static const struct row clts = { BYTES(0x0f, 0x06) };
	static const struct row invlpg = { BYTES(0x0f, 0x01, 0x3e) };
	static const struct row lidt = { BYTES(0x0f, 0x01, 0x1e), .mem = 0x665544332211ff0f };
	static const struct row sgdt = { BYTES(0x0f, 0x01, 0x07) };
	static const struct row lgdt16 = { BYTES(0x66, 0x0f, 0x01, 0x16),
		.mode = MEZZ_MODE_PROT32, .mem = 0x665544332211ff0f };
	static const struct row str = { BYTES(0x0f, 0x00, 0xc8), .ax = ~0ull };
	static const struct row mov_ss = { BYTES(0x8e, 0xd0), .ax = 0x1234,
		.mode = MEZZ_MODE_VM86 };
	struct machine *m = exec_machine(test);

	KUNIT_EXPECT_EQ(test, exec_row(test, m, &to_cr0), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->cr[0], 0x80000011ull);
	m->cr[4] = 0x6f0;
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &from_cr4), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->r[0], 0x6f0ull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &to_dr7), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->dr[7], 0x401ull);
	/* LMSW cannot clear PE */
	m->cr[0] = 0x8000001f;
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &lmsw), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->cr[0], 0x80000011ull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &smsw), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->r[0], 0x80000011ull);
	m->cr[0] |= C0_TS;
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &clts), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->cr[0], 0x80000011ull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &invlpg), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->invalidated, DATA);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &lidt), MEZZ_EMUL_OK);
	KUNIT_EXPECT_TRUE(test, m->idt_set);
	KUNIT_EXPECT_EQ(test, m->dt_base, 0x665544332211ull);
	KUNIT_EXPECT_EQ(test, m->dt_limit, 0xff0f);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &sgdt), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, ram8(m, DEST), 0xbbccddeeff00007full);
	KUNIT_EXPECT_EQ(test, ram8(m, DEST + 8), 0x99aaull);
	/* 24 bits of base with a 16-bit operand */
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &lgdt16), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->dt_base, 0x332211ull);
	m->seg[MEZZ_SEG_TR] = 0x40;
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &str), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->r[0], 0x40ull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &mov_ss), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, m->seg[MEZZ_SEG_SS], 0x1234);
	KUNIT_EXPECT_EQ(test, m->e.shadow, MEZZ_EMUL_SHADOW_MOV_SS);
}

static void exec_vector(struct kunit *test)
{
	static const struct row load = { BYTES(0x0f, 0x10, 0x06), .mem = 0x1122334455667788 };
	static const struct row store = { BYTES(0x0f, 0x11, 0x07) };
	static const struct row movd = { BYTES(0x66, 0x0f, 0x6e, 0xc0), .ax = 0xdeadbeef };
	static const struct row movss = { BYTES(0xf3, 0x0f, 0x10, 0x06), .mem = ~0ull };
	static const struct row aligned = { BYTES(0x0f, 0x28, 0x46, 0x08) };
	struct machine *m = exec_machine(test);

	memset(m->vec[0], 0xcc, 32);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &load), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, *(u64 *)m->vec[0], 0x1122334455667788ull);
	KUNIT_EXPECT_EQ(test, *(u64 *)(m->vec[0] + 8), 0ull);
	/* without VEX the upper half of YMM stays */
	KUNIT_EXPECT_EQ(test, *(u64 *)(m->vec[0] + 16), 0xccccccccccccccccull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &store), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, ram8(m, DEST), 0x1122334455667788ull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &movd), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, *(u64 *)m->vec[0], 0xdeadbeefull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &movss), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, *(u64 *)m->vec[0], 0xffffffffull);
	KUNIT_EXPECT_EQ(test, exec_row(test, m, &aligned), MEZZ_EMUL_FAULT);
	KUNIT_EXPECT_EQ(test, m->e.fault.vector, VEC_GP);
}

static struct kunit_case exec_cases[] = {
	KUNIT_CASE(exec_alu),
	KUNIT_CASE(exec_shifts),
	KUNIT_CASE(exec_muldiv),
	KUNIT_CASE(exec_bits),
	KUNIT_CASE(exec_decimal),
	KUNIT_CASE(exec_moves),
	KUNIT_CASE(exec_strings),
	KUNIT_CASE(exec_stack),
	KUNIT_CASE(exec_branches),
	KUNIT_CASE(exec_flags),
	KUNIT_CASE(exec_faults),
	KUNIT_CASE(exec_io),
	KUNIT_CASE(exec_system),
	KUNIT_CASE(exec_vector),
	{}
};

static struct kunit_suite exec_suite = {
	.name = "mezz_exec",
	.test_cases = exec_cases,
};

kunit_test_suite(exec_suite);
