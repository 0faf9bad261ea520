// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executor against the real CPU: random instructions of every kind that can
 * run in user space, with random operands, are executed twice, and registers,
 * defined flags, vector registers, memory and exceptions are compared.
 *
 * Usage: emulate [rounds [seed]]. Instructions that need privilege, other
 * modes or I/O are tested in guests: selftests/emulate.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "exec.h"
#include "exec_int.h"
#include "native.h"
#include "../tap.h"

static u64 rng;

static u64 rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * 0x2545f4914f6cdd1dull;
}

/* A value that is interesting more often than chance makes it. */
static u64 rnd_value(void)
{
	static const u64 edge[] = { 0,
				    1,
				    0x7f,
				    0x80,
				    0xff,
				    0x7fff,
				    0x8000,
				    0xffff,
				    0x7fffffff,
				    0x80000000,
				    0xffffffff,
				    0x7fffffffffffffff,
				    0x8000000000000000,
				    ~0ull };

	switch (rnd() % 4) {
	case 0:
		return edge[rnd() % (sizeof(edge) / sizeof(edge[0]))];
	case 1:
		return rnd() & 0xff;
	default:
		return rnd();
	}
}

/* What kind of instruction a group generates. */
struct group {
	const char *name;
	u8 map;		/* 0, 1, 2 */
	u8 first, last; /* opcodes */
	u8 regs;	/* mask of ModRM.reg values, 0: all */
	u8 pfx;		/* mandatory prefix, 0: random 66 */
	bool rep, vex, lock;
};

static const struct group groups[] = {
	{ "alu", 0, 0x00, 0x3d, 0, 0, .lock = true },
	{ "alu immediate", 0, 0x80, 0x83, 0, 0, .lock = true },
	{ "test, xchg, mov", 0, 0x84, 0x8b, 0, 0, .lock = true },
	{ "movsxd", 0, 0x63, 0x63 },
	{ "lea", 0, 0x8d, 0x8d },
	{ "pop", 0, 0x8f, 0x8f, 0x01 },
	{ "xchg, nop, cbw, cwd", 0, 0x90, 0x99 },
	{ "push, pop register", 0, 0x50, 0x5f },
	{ "push, imul immediate", 0, 0x68, 0x6b },
	{ "pushf", 0, 0x9c, 0x9c },
	{ "sahf, lahf", 0, 0x9e, 0x9f },
	{ "movs, cmps", 0, 0xa4, 0xa7, .rep = true },
	{ "test immediate, stos, lods, scas", 0, 0xa8, 0xaf, .rep = true },
	{ "mov immediate", 0, 0xb0, 0xbf },
	{ "shift by immediate", 0, 0xc0, 0xc1 },
	{ "mov immediate to memory", 0, 0xc6, 0xc7, 0x01 },
	{ "leave", 0, 0xc9, 0xc9 },
	{ "shift", 0, 0xd0, 0xd3 },
	{ "flags", 0, 0xf5, 0xf5 },
	{ "clc, stc", 0, 0xf8, 0xf9 },
	{ "cld, std", 0, 0xfc, 0xfd },
	{ "test, not, neg, mul, div", 0, 0xf6, 0xf7, 0, 0, .lock = true },
	{ "inc, dec byte", 0, 0xfe, 0xfe, 0x03, 0, .lock = true },
	{ "inc, dec, push", 0, 0xff, 0xff, 0x43, 0, .lock = true },
	{ "nop", 1, 0x1f, 0x1f },
	{ "cmovcc", 1, 0x40, 0x4f },
	{ "setcc", 1, 0x90, 0x9f },
	{ "bt, shld", 1, 0xa3, 0xa5 },
	{ "bts, shrd", 1, 0xab, 0xad, 0, 0, .lock = true },
	{ "imul, cmpxchg", 1, 0xaf, 0xb1, 0, 0, .lock = true },
	{ "btr", 1, 0xb3, 0xb3, 0, 0, .lock = true },
	{ "movzx", 1, 0xb6, 0xb7 },
	{ "popcnt", 1, 0xb8, 0xb8, 0, 0xf3 },
	{ "bt immediate", 1, 0xba, 0xba, 0xf0, 0, .lock = true },
	{ "btc, bsf, bsr, movsx", 1, 0xbb, 0xbf },
	{ "xadd", 1, 0xc0, 0xc1, 0, 0, .lock = true },
	{ "movnti", 1, 0xc3, 0xc3 },
	{ "cmpxchg8b, 16b", 1, 0xc7, 0xc7, 0x02, 0, .lock = true },
	{ "bswap", 1, 0xc8, 0xcf },
	{ "movbe", 2, 0xf0, 0xf1 },
	{ "sse moves", 1, 0x10, 0x17 },
	{ "sse aligned moves", 1, 0x28, 0x2b },
	{ "movd, movdqa, movdqu", 1, 0x6e, 0x6f, 0, 0x66 },
	{ "movdqu", 1, 0x6f, 0x6f, 0, 0xf3 },
	{ "movq load", 1, 0x7e, 0x7e, 0, 0xf3 },
	{ "movd store", 1, 0x7e, 0x7f, 0, 0x66 },
	{ "movdqu store", 1, 0x7f, 0x7f, 0, 0xf3 },
	{ "movq store", 1, 0xd6, 0xd6, 0, 0x66 },
	{ "movntdq", 1, 0xe7, 0xe7, 0, 0x66 },
	{ "lddqu", 1, 0xf0, 0xf0, 0, 0xf2 },
	{ "movntdqa", 2, 0x2a, 0x2a, 0, 0x66 },
	{ "avx moves", 1, 0x10, 0x17, .vex = true },
	{ "avx aligned moves", 1, 0x28, 0x2b, .vex = true },
	{ "vmovd, vmovdqa, vmovdqu", 1, 0x6e, 0x6f, .vex = true },
	{ "vmovd, vmovdqu store", 1, 0x7e, 0x7f, .vex = true },
	{ "vmovq store", 1, 0xd6, 0xd6, .vex = true },
	{ "vmovntdq", 1, 0xe7, 0xe7, .vex = true },
	{ "vlddqu", 1, 0xf0, 0xf0, .vex = true },
};

/* Where the 32-bit displacement of an absolute or RIP address was put. */
struct candidate {
	u8 bytes[24];
	unsigned int disp_at;
};

static void random_bytes(const struct group *g, struct candidate *c)
{
	static const u8 vex_pp_l[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	u8 *p = c->bytes, op, modrm;
	unsigned int i;

	for (i = 0; i < sizeof(c->bytes); i++)
		c->bytes[i] = rnd();
	c->disp_at = 0;
	op = g->first + rnd() % (g->last - g->first + 1);
	if (g->vex) {
		bool three = rnd() & 1;
		u8 low = vex_pp_l[rnd() % 8] | (rnd() % 4 ? 0x78 : rnd() & 0x78);

		*p++ = three ? 0xc4 : 0xc5;
		if (three) {
			*p++ = (rnd() & 0xe0) | 1;
			*p++ = low | (rnd() & 0x80);
		} else {
			*p++ = low | (rnd() & 0x80);
		}
		*p++ = op;
	} else {
		if (g->lock && rnd() % 4 == 0)
			*p++ = 0xf0;
		if (g->rep && rnd() % 4)
			*p++ = 0xf2 | (rnd() & 1);
		if (rnd() % 16 == 0)
			*p++ = 0x67;
		if (g->pfx)
			*p++ = g->pfx;
		else if (rnd() % 3 == 0)
			*p++ = 0x66;
		if (rnd() & 1)
			*p++ = 0x40 | (rnd() & 15);
		if (g->map)
			*p++ = 0x0f;
		if (g->map == 2)
			*p++ = 0x38;
		*p++ = op;
	}
	modrm = rnd();
	while (g->regs && !(g->regs >> ((modrm >> 3) & 7) & 1))
		modrm += 8;
	*p++ = modrm;
	if ((modrm & 0xc7) == 5)
		c->disp_at = p - c->bytes;
	else if ((modrm & 0xc7) == 4 && (*p & 7) == 5)
		c->disp_at = p + 1 - c->bytes;
}

/* --- the executor's callbacks, on the arena --- */
static struct native_state emu;

static int check_range(struct mezz_emul *e, u64 la, unsigned int len, bool write)
{
	u64 start = (u64)arena.data, ro = start + RW_PAGES * PAGE, end = ro + PAGE, p;

	for (p = la; p < la + len; p = (p & ~(PAGE - 1)) + PAGE) {
		if (p < start || p >= end)
			return mezz_emul_raise_pf(e, write ? 6 : 4, p);
		if (write && p >= ro)
			return mezz_emul_raise_pf(e, 7, p);
	}
	return MEZZ_EMUL_OK;
}

static int t_read(struct mezz_emul *e, u64 la, void *buf, unsigned int len, u32 access)
{
	int rc = check_range(e, la, len, access);

	if (!rc)
		memcpy(buf, (void *)la, len);
	return rc;
}

static int t_write(struct mezz_emul *e, u64 la, const void *buf, unsigned int len)
{
	int rc = check_range(e, la, len, true);

	if (!rc)
		memcpy((void *)la, buf, len);
	return rc;
}

static int t_cmpxchg(struct mezz_emul *e, u64 la, void *old, const void *new, unsigned int len,
		     u32 access)
{
	int rc = check_range(e, la, len, access | MEZZ_EMUL_WRITE);

	if (rc)
		return rc;
	if (memcmp((void *)la, old, len))
		memcpy(old, (void *)la, len);
	else
		memcpy((void *)la, new, len);
	return MEZZ_EMUL_OK;
}

static int t_probe(struct mezz_emul *e, u64 la, unsigned int len, u32 access)
{
	return check_range(e, la, len, access);
}

static void t_get_vec(struct mezz_emul *e, unsigned int n, void *buf)
{
	(void)e;
	memcpy(buf, emu.vec[n], 32);
}

static void t_set_vec(struct mezz_emul *e, unsigned int n, const void *buf)
{
	(void)e;
	memcpy(emu.vec[n], buf, 32);
}

static const struct mezz_emul_ops ops = {
	.read = t_read,
	.write = t_write,
	.cas = t_cmpxchg,
	.probe = t_probe,
	.get_vec = t_get_vec,
	.set_vec = t_set_vec,
};

/* Flags that the manuals leave undefined after this instruction. */
static u64 undefined_flags(const struct mezz_insn *i, const u64 *r)
{
	unsigned int count =
		(i->src == MEZZ_OPND_IMM || i->op == MEZZ_OP_SHLD || i->op == MEZZ_OP_SHRD) &&
				!(i->op == MEZZ_OP_SHLD || i->op == MEZZ_OP_SHRD ? i->opcode & 1
										 : 0)
			? i->imm
			: r[1];

	count &= i->opsize == 8 ? 63 : 31;
	switch (i->op) {
	case MEZZ_OP_OR:
	case MEZZ_OP_AND:
	case MEZZ_OP_XOR:
	case MEZZ_OP_TEST:
		return FL_AF;
	case MEZZ_OP_ROL ... MEZZ_OP_RCR:
		return count == 1 ? 0 : FL_OF;
	case MEZZ_OP_SHL ... MEZZ_OP_SAR:
	case MEZZ_OP_SHLD:
	case MEZZ_OP_SHRD:
		if (!count)
			return 0;
		return FL_AF | (count == 1 ? 0 : FL_OF) | (count >= i->opsize * 8u ? FL_CF : 0);
	case MEZZ_OP_MUL ... MEZZ_OP_IMUL3:
		return FL_SF | FL_ZF | FL_AF | FL_PF;
	case MEZZ_OP_DIV:
	case MEZZ_OP_IDIV:
		return FL_ARITH;
	case MEZZ_OP_BT ... MEZZ_OP_BTC:
		return FL_OF | FL_SF | FL_AF | FL_PF;
	case MEZZ_OP_BSF:
	case MEZZ_OP_BSR:
		return FL_ARITH & ~FL_ZF;
	default:
		return 0;
	}
}

/* Instructions whose result, not only its flags, is undefined. */
static bool undefined_result(const struct mezz_insn *i, const u64 *r)
{
	unsigned int count = (i->opcode & 1 ? r[1] : i->imm) & 31;

	return (i->op == MEZZ_OP_SHLD || i->op == MEZZ_OP_SHRD) && i->opsize == 2 && count > 16;
}

/* Is it something that may be run here? */
static bool suitable(const struct mezz_insn *i)
{
	if (i->op == MEZZ_OP_INVALID || i->op > MEZZ_OP_VMOVH)
		return false;
	if ((i->op >= MEZZ_OP_LMSW && i->op <= MEZZ_OP_STR) ||
	    (i->op >= MEZZ_OP_MOV_SREG && i->op <= MEZZ_OP_MOV_DR) ||
	    (i->op >= MEZZ_OP_IN && i->op <= MEZZ_OP_OUTS) || i->op == MEZZ_OP_POPF ||
	    (i->op >= MEZZ_OP_CALL && i->op <= MEZZ_OP_JCXZ) || i->op == MEZZ_OP_CLI ||
	    i->op == MEZZ_OP_STI)
		return false;
	/* Vendors differ. */
	if (i->op == MEZZ_OP_BSWAP && i->opsize == 2)
		return false;
	return i->seg < MEZZ_SEG_FS;
}

/* An address in the arena; now and then one where an access may fault. */
static u64 pick_address(void)
{
	u64 base = (u64)arena.data;

	switch (rnd() % 16) {
	case 0:
		return base - 8 + rnd() % 16; /* lower edge */
	case 1:
		return base + RW_PAGES * PAGE - 32 + rnd() % 64; /* read-only page */
	case 2:
		return base + (RW_PAGES + 1) * PAGE - 32 + rnd() % 64; /* upper edge */
	case 3:
	case 4:
		return base + (rnd() % 100 + 20) * 32; /* aligned */
	default:
		return base + PAGE + rnd() % (2 * PAGE);
	}
}

/* Make the memory operand point at @target; false if that can't be done. */
static bool aim(struct candidate *c, struct mezz_insn *i, struct native_state *s, u64 target)
{
	u64 have;
	u32 disp;

	if (i->op == MEZZ_OP_LEA)
		return true;
	if (i->index != MEZZ_GPR_NONE && (i->base == MEZZ_GPR_NONE || i->base == i->index))
		return false;
	if (i->base == MEZZ_GPR_RIP || i->base == MEZZ_GPR_NONE) {
		if (!c->disp_at)
			return false;
		have = i->base == MEZZ_GPR_RIP ? (u64)arena.code + i->len : 0;
		disp = target - have;
		memcpy(c->bytes + c->disp_at, &disp, 4);
		return !mezz_decode(i, c->bytes, 15, MEZZ_MODE_LONG64);
	}
	have = i->disp;
	if (i->index != MEZZ_GPR_NONE)
		have += s->r[i->index] << i->scale;
	s->r[i->base] = target - have;
	return true;
}

/* Registers that the instruction uses besides its operands. */
static bool prepare(struct candidate *c, struct mezz_insn *i, struct native_state *s)
{
	bool mem = i->dst == MEZZ_OPND_MEM || i->src == MEZZ_OPND_MEM;
	unsigned int n;

	for (n = 0; n < 16; n++)
		s->r[n] = rnd_value();
	s->r[4] = (s64)(s->r[4] << 16) >> 16;
	for (n = 0; n < sizeof(s->vec); n++)
		s->vec[n / 32][n % 32] = rnd();
	s->rflags = 2 | FL_IF | (rnd() & (FL_ARITH | FL_DF));
	if (i->op >= MEZZ_OP_DIV && i->op <= MEZZ_OP_IDIV && rnd() % 2)
		s->r[2] = rnd() % 3 ? 0 : ~0ull;
	if (i->op >= MEZZ_OP_BT && i->op <= MEZZ_OP_BTC && i->src == MEZZ_OPND_REG) {
		s->r[i->src_reg] = rnd() % 8192 - 4096;
		if (mem && (i->base == i->src_reg || i->index == i->src_reg))
			return false;
	}
	if (i->op >= MEZZ_OP_MOVS && i->op <= MEZZ_OP_CMPS) {
		s->r[1] = rnd() % 40;
		s->r[6] = pick_address();
		s->r[7] = pick_address();
		if (rnd() & 1)
			memcpy((void *)(arena.data + PAGE), arena.data + 2 * PAGE, PAGE);
	}
	if (i->op >= MEZZ_OP_PUSH && i->op <= MEZZ_OP_LEAVE) {
		s->r[4] = pick_address();
		s->r[5] = pick_address();
		if (mem && (i->base == 4 || i->index == 4))
			return i->disp == (u64)(s64)(s8)i->disp && i->index == MEZZ_GPR_NONE;
	}
	if (mem && !aim(c, i, s, pick_address()))
		return false;
	if (i->op == MEZZ_OP_CMPXCHG && rnd() % 2 && i->dst == MEZZ_OPND_REG)
		s->r[0] = s->r[i->dst_reg];
	return true;
}

static void show(const char *what, const struct candidate *c, const struct mezz_insn *i,
		 const struct native_state *before, const struct native_state *n)
{
	unsigned int k;

	printf("# %s:", what);
	for (k = 0; k < i->len; k++)
		printf(" %02x", c->bytes[k]);
	printf(" (op %u)\n", i->op);
	for (k = 0; k < 16; k++)
		if (n->r[k] != emu.r[k])
			printf("#  r%u before %llx cpu %llx emulator %llx\n", k,
			       (unsigned long long)before->r[k], (unsigned long long)n->r[k],
			       (unsigned long long)emu.r[k]);
	printf("#  flags before %llx cpu %llx emulator %llx rcx %llx\n",
	       (unsigned long long)before->rflags, (unsigned long long)n->rflags,
	       (unsigned long long)emu.rflags, (unsigned long long)before->r[1]);
}

static u8 mem_before[RW_PAGES * PAGE], mem_emu[RW_PAGES * PAGE];

/*
 * With another stack pointer than such a one some hosts kill a program at the next
 * interrupt, because they cannot return to it.
 */
static bool canonical(u64 rsp)
{
	return (u64)((s64)(rsp << 16) >> 16) == rsp;
}

static int run_emulator(struct mezz_emul *e, const struct mezz_insn *i,
			const struct native_state *before)
{
	int rc;

	emu = *before;
	memset(e, 0, sizeof(*e));
	e->ops = &ops;
	e->r = emu.r;
	e->rip = (u64)arena.code;
	e->rflags = before->rflags;
	e->cr0 = C0_PE;
	e->cr4 = C4_OSFXSR | C4_OSXSAVE;
	e->xcr0 = 7;
	e->cpl = 3;
	e->rep_max = 7;
	e->insn = *i;
	do {
		rc = mezz_emul_exec(e);
	} while (rc == MEZZ_EMUL_OK && e->rip == (u64)arena.code);
	emu.rflags = e->rflags & ~FL_RF;
	emu.rip = e->rip;
	return rc;
}

/* One comparison: 1 ran and agreed, 0 was not suitable, -1 differed. */
static int compare(const struct group *g, int *faults)
{
	struct native_state before, cpu;
	struct native_result res;
	struct candidate c;
	struct mezz_emul e;
	struct mezz_insn i;
	u64 undef;
	int rc;

	random_bytes(g, &c);
	rc = mezz_decode(&i, c.bytes, 15, MEZZ_MODE_LONG64);
	if (rc == MEZZ_DECODE_UD) {
		cpu = (struct native_state){ .rflags = 2 };
		res = native_run(&cpu, c.bytes, 15);
		if (res.vector != VEC_UD) {
			i.len = 8;
			show("no #UD on the CPU", &c, &i, &cpu, &cpu);
			return -1;
		}
		return 1;
	}
	if (rc || !suitable(&i) || !prepare(&c, &i, &before))
		return 0;
	if (undefined_result(&i, before.r))
		return 0;
	memcpy(mem_before, arena.data, sizeof(mem_before));
	rc = run_emulator(&e, &i, &before);
	memcpy(mem_emu, arena.data, sizeof(mem_emu));
	memcpy(arena.data, mem_before, sizeof(mem_before));
	if (!canonical(before.r[4]) || !canonical(emu.r[4]))
		return 0;
	cpu = before;
	res = native_run(&cpu, c.bytes, i.len);
	if (rc == MEZZ_EMUL_FAULT) {
		(*faults)++;
		/* Which of the two operands of CMPS faults first is the CPU's choice. */
		if (res.vector != e.fault.vector ||
		    (res.vector == VEC_PF && i.op != MEZZ_OP_CMPS &&
		     (res.err != e.fault.err || res.cr2 != e.fault.cr2))) {
			printf("#  exception cpu %d/%llx/%llx emulator %d/%x/%llx\n", res.vector,
			       (unsigned long long)res.err, (unsigned long long)res.cr2,
			       e.fault.vector, e.fault.err, (unsigned long long)e.fault.cr2);
			show("other exception", &c, &i, &before, &cpu);
			return -1;
		}
	} else if (rc != MEZZ_EMUL_OK || res.vector != -1) {
		printf("#  exception cpu %d, emulator says %d\n", res.vector, rc);
		show("CPU and emulator disagree about a fault", &c, &i, &before, &cpu);
		return -1;
	}
	undef = undefined_flags(&i, before.r);
	if (rc == MEZZ_EMUL_FAULT) {
		undef |= FL_RF | FL_TF | FL_AC | FL_DF;
		/*
		 * A repeated comparison that faults leaves the flags of the last one on
		 * some CPUs, and on others those from before (SDM 2, "REP"). Both can be
		 * taken up again: neither instruction uses them.
		 */
		if ((i.op == MEZZ_OP_SCAS || i.op == MEZZ_OP_CMPS) &&
		    !((cpu.rflags ^ before.rflags) & FL_ARITH))
			undef |= FL_ARITH;
	}
	if ((cpu.rflags ^ emu.rflags) & ~undef & (FL_ARITH | FL_DF | FL_IF)) {
		show("flags differ", &c, &i, &before, &cpu);
		return -1;
	}
	if (memcmp(cpu.r, emu.r, sizeof(cpu.r))) {
		show("registers differ", &c, &i, &before, &cpu);
		return -1;
	}
	if (memcmp(cpu.vec, emu.vec, sizeof(cpu.vec))) {
		show("vector registers differ", &c, &i, &before, &cpu);
		return -1;
	}
	if (memcmp(mem_emu, arena.data, sizeof(mem_emu))) {
		show("memory differs", &c, &i, &before, &cpu);
		return -1;
	}
	return 1;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 4000;
	unsigned int g, k;

	rng = argc > 2 ? strtoull(argv[2], NULL, 0) : 0x9e3779b97f4a7c15ull;
	setvbuf(stdout, NULL, _IOLBF, 0);
	native_setup();
	for (k = 0; k < RW_PAGES * PAGE; k++)
		arena.data[k] = rnd();
	for (g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		int ran = 0, bad = 0, faults = 0, tries, r;

		if (groups[g].vex && !native_has_avx) {
			tap_skip("%s: the CPU has no AVX", groups[g].name);
			continue;
		}
		for (tries = 0; ran < rounds && tries < 20 * rounds && bad < 5; tries++) {
			r = compare(&groups[g], &faults);
			ran += r != 0;
			bad += r < 0;
		}
		tap(!bad && ran == rounds, "%s: %d instructions as on the CPU, %d faults",
		    groups[g].name, ran, faults);
	}
	return tap_end();
}
