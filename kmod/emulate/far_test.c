// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of far transfers, segment loads, INT and IRET, in real mode and in
 * protected mode at CPL 0: what arrives in registers, stack and descriptors, and what
 * is refused, with which vector and error code.
 */
#include <kunit/test.h>
#include "far.c"

#define RAM	0x10000u
#define CODE	0x1000u		/* linear address of the instruction */
#define STACK	0x8000u
#define DATA	0x4000u
#define GDT	0x6000u
#define LDT	0x7000u
#define IVT	0x0u

#define REAL	MEZZ_MODE_REAL
#define P16	MEZZ_MODE_PROT16
#define P32	MEZZ_MODE_PROT32

/* Selectors of gdt[] below. */
enum {
	CODE32 = 0x08, DATA32 = 0x10, CODE16 = 0x18, CONF = 0x20, ABSENT_CODE = 0x28,
	ABSENT_DATA = 0x30, RO_DATA = 0x38, USER_DATA = 0x40, TSS = 0x48, BUSY_TSS = 0x50,
	LDT_SEL = 0x58, SHORT_CODE = 0x60, GDT_END = 0x68,
};

#define D(type, s, dpl, p, db, g, limit)						\
	(((limit) & 0xffffull) | (u64)((limit) >> 16 & 15) << 48 | (u64)(type) << 40 |	\
	(u64)(s) << 44 | (u64)(dpl) << 45 | (u64)(p) << 47 | (u64)(db) << 54 | (u64)(g) << 55)

static const u64 gdt[] = {
	0,
	D(0xa, 1, 0, 1, 1, 1, 0xfffff), D(0x2, 1, 0, 1, 1, 1, 0xfffff),
	D(0xa, 1, 0, 1, 0, 0, 0xffff), D(0xe, 1, 0, 1, 1, 1, 0xfffff),
	D(0xa, 1, 0, 0, 1, 1, 0xfffff), D(0x2, 1, 0, 0, 1, 1, 0xfffff),
	D(0x0, 1, 0, 1, 1, 1, 0xfffff), D(0x2, 1, 3, 1, 1, 1, 0xfffff),
	D(0x9, 0, 0, 1, 0, 0, 0x67), D(0xb, 0, 0, 1, 0, 0, 0x67),
	D(0x2, 0, 0, 1, 0, 0, 0x1f) | (u64)LDT << 16, D(0xa, 1, 0, 1, 1, 0, 0x1fff),
};

struct box {
	struct mezz_emul e;
	u64 r[16];
	struct mezz_emul_seg seg[8];
	u8 ram[RAM];
};

static struct box *box_of(struct mezz_emul *e)
{
	return container_of(e, struct box, e);
}

/* The CPU's own accesses are to descriptors, and to nothing else. */
static bool right_kind(u64 la, u32 access)
{
	return !(access & MEZZ_EMUL_SYSTEM) == (la < GDT || la >= STACK - 0x100);
}

static int b_read(struct mezz_emul *e, u64 la, void *buf, unsigned int len, u32 access)
{
	if (!right_kind(la, access))
		return MEZZ_EMUL_UNKNOWN;
	if (la + len > RAM)
		return mezz_emul_raise_pf(e, 0, la);
	memcpy(buf, box_of(e)->ram + la, len);
	return MEZZ_EMUL_OK;
}

static int b_write(struct mezz_emul *e, u64 la, const void *buf, unsigned int len)
{
	if (la + len > RAM)
		return mezz_emul_raise_pf(e, 2, la);
	memcpy(box_of(e)->ram + la, buf, len);
	return MEZZ_EMUL_OK;
}

static int b_cas(struct mezz_emul *e, u64 la, void *old, const void *new, unsigned int len,
		 u32 access)
{
	if (!right_kind(la, access))
		return MEZZ_EMUL_UNKNOWN;
	if (memcmp(box_of(e)->ram + la, old, len))
		memcpy(old, box_of(e)->ram + la, len);
	else
		memcpy(box_of(e)->ram + la, new, len);
	return MEZZ_EMUL_OK;
}

static void b_get_seg(struct mezz_emul *e, unsigned int seg, struct mezz_emul_seg *s)
{
	*s = box_of(e)->seg[seg];
}

static void b_set_seg(struct mezz_emul *e, unsigned int seg, const struct mezz_emul_seg *s)
{
	box_of(e)->seg[seg] = *s;
}

static void b_get_dt(struct mezz_emul *e, bool idt, u64 *base, u16 *limit)
{
	*base = idt ? IVT : GDT;
	*limit = idt ? 0x1ff : GDT_END - 1;
}

static const struct mezz_emul_ops ops = {
	.read = b_read, .write = b_write, .cas = b_cas,
	.get_seg = b_get_seg, .set_seg = b_set_seg, .get_dt = b_get_dt,
};

static u64 word(struct box *b, unsigned int la, unsigned int size)
{
	u64 val = 0;

	memcpy(&val, b->ram + la, size);
	return val;
}

static void put(struct box *b, unsigned int la, u64 val, unsigned int size)
{
	memcpy(b->ram + la, &val, size);
}

/* A machine in @mode. In real mode CS is 0x100, so that IP is 0 at CODE. */
static void prepare(struct box *b, u8 mode)
{
	unsigned int i;

	memset(b, 0, sizeof(*b));
	for (i = 0; i < ARRAY_SIZE(b->seg); i++)
		b->seg[i] = (struct mezz_emul_seg) {
			.limit = 0xffff, .type = i == MEZZ_SEG_CS ? 0xb : 3,
			.usable = true, .s = true, .db = mode == P32,
		};
	if (mode == REAL) {
		b->seg[MEZZ_SEG_CS].sel = CODE >> 4;
		b->seg[MEZZ_SEG_CS].base = CODE;
	} else {
		b->seg[MEZZ_SEG_CS].sel = CODE32;
	}
	memcpy(b->ram + GDT, gdt, sizeof(gdt));
	b->r[MEZZ_GPR_SP] = STACK;
	b->r[MEZZ_GPR_SI] = DATA;
	b->e = (struct mezz_emul) {
		.ops = &ops, .r = b->r, .rip = mode == REAL ? 0 : CODE, .rflags = 2,
		.cr0 = mode == REAL ? 0 : C0_PE, .rep_max = 1,
	};
}

static struct box *new_box(struct kunit *test)
{
	struct box *b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, b);
	return b;
}

/* Execute one instruction. */
static int run(struct kunit *test, struct box *b, u8 mode, const u8 *code, unsigned int len)
{
	u8 bytes[MEZZ_MAX_INSN] = {};

	memcpy(bytes, code, len);
	KUNIT_ASSERT_EQ(test, mezz_decode(&b->e.insn, bytes, sizeof(bytes), mode), MEZZ_DECODE_OK);
	KUNIT_ASSERT_EQ(test, b->e.insn.len, len);
	return mezz_emul_exec(&b->e);
}

#define RUN(mode, ...) run(test, b, mode, (const u8[]){ __VA_ARGS__ },		\
			   sizeof((const u8[]){ __VA_ARGS__ }))

/* @rc: what came of it; a fault with @vec and @err, and nothing changed. */
static void expect_fault(struct kunit *test, struct box *b, int rc, u8 vec, u32 err)
{
	KUNIT_EXPECT_EQ(test, rc, MEZZ_EMUL_FAULT);
	KUNIT_EXPECT_EQ(test, b->e.fault.vector, vec);
	KUNIT_EXPECT_EQ(test, b->e.fault.err, err);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_SP], (u64)STACK);
}

static void expect_cs_ip(struct kunit *test, struct box *b, u16 sel, u64 base, u64 ip)
{
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_CS].sel, sel);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_CS].base, base);
	KUNIT_EXPECT_EQ(test, b->e.rip, ip);
}

static void far_real_transfers(struct kunit *test)
{
	struct box *b = new_box(test);

	prepare(b, REAL);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xea, 0x34, 0x12, 0x00, 0x20), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, 0x2000, 0x20000, 0x1234);

	prepare(b, REAL);
	put(b, DATA, 0x30005678, 4);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xff, 0x2c), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, 0x3000, 0x30000, 0x5678);

	prepare(b, REAL);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0x9a, 0x10, 0x00, 0x00, 0x02), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, 0x200, 0x2000, 0x10);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_SP], STACK - 4ull);
	KUNIT_EXPECT_EQ(test, word(b, STACK - 4, 4), 0x01000005ull);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xcb), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, CODE >> 4, CODE, 5);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_SP], (u64)STACK);

	/* with four-byte operands, and a RET that drops arguments */
	prepare(b, REAL);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0x66, 0x9a, 0x10, 0, 0, 0, 0, 2), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, word(b, STACK - 8, 8), 0x10000000008ull);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0x66, 0xca, 4, 0), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, CODE >> 4, CODE, 8);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_SP], STACK + 4ull);

	/* beyond the limit, which real mode keeps */
	prepare(b, REAL);
	expect_fault(test, b, RUN(REAL, 0x66, 0xea, 0, 0, 1, 0, 0, 2), VEC_GP, 0);
}

static void far_real_interrupts(struct kunit *test)
{
	struct box *b = new_box(test);

	prepare(b, REAL);
	put(b, IVT + 0x10 * 4, 0x02000040, 4);
	b->e.rflags = FL_IF | FL_TF | FL_CF | 2;
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xcd, 0x10), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, 0x200, 0x2000, 0x40);
	KUNIT_EXPECT_EQ(test, b->e.rflags, FL_CF | 2ull);
	KUNIT_EXPECT_FALSE(test, b->e.trap);
	KUNIT_EXPECT_EQ(test, word(b, STACK - 6, 6), 0x030301000002ull);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xcf), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, CODE >> 4, CODE, 2);
	KUNIT_EXPECT_EQ(test, b->e.rflags, FL_IF | FL_TF | FL_CF | 2ull);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_SP], (u64)STACK);

	/* INT3; INTO with and without overflow; a table that is too short */
	prepare(b, REAL);
	put(b, IVT + 3 * 4, 0x02000040, 4);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xcc), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, 0x200, 0x2000, 0x40);
	prepare(b, REAL);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xce), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, CODE >> 4, CODE, 1);
	put(b, IVT + 4 * 4, 0x02000050, 4);
	b->e.rflags |= FL_OF;
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xce), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, 0x200, 0x2000, 0x50);
	prepare(b, REAL);
	expect_fault(test, b, RUN(REAL, 0xcd, 0x80), VEC_GP, 0);

	/* an event from outside returns to the instruction that waits */
	prepare(b, REAL);
	put(b, IVT + 8 * 4, 0x02000060, 4);
	KUNIT_EXPECT_EQ(test, mezz_emul_interrupt(&b->e, 8), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, 0x200, 0x2000, 0x60);
	KUNIT_EXPECT_EQ(test, word(b, STACK - 6, 4), 0x01000000ull);
}

static void far_real_segments(struct kunit *test)
{
	static const struct { u8 push, pop, seg; } one[] = {
		{ 0x06, 0x07, MEZZ_SEG_ES }, { 0x16, 0x17, MEZZ_SEG_SS },
		{ 0x1e, 0x1f, MEZZ_SEG_DS },
	};
	struct box *b = new_box(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(one); i++) {
		prepare(b, REAL);
		b->seg[one[i].seg].sel = 0x123;
		KUNIT_EXPECT_EQ(test, RUN(REAL, one[i].push), MEZZ_EMUL_OK);
		KUNIT_EXPECT_EQ(test, word(b, STACK - 2, 2), 0x123ull);
		put(b, STACK - 2, 0x456, 2);
		KUNIT_EXPECT_EQ(test, RUN(REAL, one[i].pop), MEZZ_EMUL_OK);
		KUNIT_EXPECT_EQ(test, b->seg[one[i].seg].sel, 0x456);
		KUNIT_EXPECT_EQ(test, b->seg[one[i].seg].base, 0x4560ull);
		/* limit and attributes stay what they were */
		KUNIT_EXPECT_EQ(test, b->seg[one[i].seg].limit, 0xffffu);
		KUNIT_EXPECT_EQ(test, b->e.shadow,
				one[i].seg == MEZZ_SEG_SS ? MEZZ_EMUL_SHADOW_MOV_SS : 0);
	}
	prepare(b, REAL);
	b->seg[MEZZ_SEG_GS].sel = 0x77;
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0x0f, 0xa8), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0x0f, 0xa1), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_FS].sel, 0x77);

	/* LES, LDS, LSS, LFS, LGS */
	prepare(b, REAL);
	put(b, DATA, 0x45671234, 4);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xc4, 0x1c), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_BX], 0x1234ull);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_ES].sel, 0x4567);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0x0f, 0xb2, 0x1c), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_SS].sel, 0x4567);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0x0f, 0xb4, 0x1c), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_FS].sel, 0x4567);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0x0f, 0xb5, 0x1c), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_GS].sel, 0x4567);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xc5, 0x1c), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_DS].base, 0x45670ull);
}

static void far_enter_xlat(struct kunit *test)
{
	struct box *b = new_box(test);

	prepare(b, REAL);
	b->r[MEZZ_GPR_BP] = 0x9000;
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xc8, 0x10, 0x00, 0x00), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_BP], STACK - 2ull);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_SP], STACK - 0x12ull);
	KUNIT_EXPECT_EQ(test, word(b, STACK - 2, 2), 0x9000ull);

	/* level 2: the outer frame's pointer, then the new one */
	prepare(b, REAL);
	b->r[MEZZ_GPR_BP] = 0x9000;
	put(b, 0x8ffe, 0xabcd, 2);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xc8, 0x04, 0x00, 0x02), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, word(b, STACK - 6, 6), 0x9000abcd7ffeull);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_SP], STACK - 10ull);

	prepare(b, REAL);
	b->r[MEZZ_GPR_BX] = DATA;
	b->r[MEZZ_GPR_AX] = 0x1105;
	put(b, DATA + 5, 0x99, 1);
	KUNIT_EXPECT_EQ(test, RUN(REAL, 0xd7), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->r[MEZZ_GPR_AX], 0x1199ull);
}

/* MOV to DS (or SS, with @ss) of a selector: OK, or a fault. */
static void expect_load(struct kunit *test, struct box *b, bool ss, u16 sel, u8 vec)
{
	int rc;

	prepare(b, P32);
	b->r[MEZZ_GPR_AX] = sel;
	rc = RUN(P32, 0x8e, ss ? 0xd0 : 0xd8);
	if (vec) {
		expect_fault(test, b, rc, vec, sel & ~3);
		return;
	}
	KUNIT_EXPECT_EQ(test, rc, MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->seg[ss ? MEZZ_SEG_SS : MEZZ_SEG_DS].sel, sel);
}

static void far_protected_data(struct kunit *test)
{
	struct box *b = new_box(test);

	expect_load(test, b, false, DATA32, 0);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_DS].limit, ~0u);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_DS].type, 3);
	KUNIT_EXPECT_TRUE(test, b->seg[MEZZ_SEG_DS].db);
	/* the CPU marks the descriptor as accessed */
	KUNIT_EXPECT_EQ(test, word(b, GDT + DATA32 + 5, 1), 0x93ull);
	expect_load(test, b, false, 0, 0);
	KUNIT_EXPECT_FALSE(test, b->seg[MEZZ_SEG_DS].usable);
	expect_load(test, b, false, 3, 0);
	expect_load(test, b, false, CODE32, 0);
	expect_load(test, b, false, CONF | 3, 0);
	expect_load(test, b, false, USER_DATA | 3, 0);
	expect_load(test, b, false, DATA32 | 1, VEC_GP);
	expect_load(test, b, false, ABSENT_DATA, VEC_NP);
	expect_load(test, b, false, TSS, VEC_GP);
	expect_load(test, b, false, GDT_END, VEC_GP);
	expect_load(test, b, true, DATA32, 0);
	KUNIT_EXPECT_EQ(test, b->e.shadow, MEZZ_EMUL_SHADOW_MOV_SS);
	expect_load(test, b, true, 0, VEC_GP);
	expect_load(test, b, true, RO_DATA, VEC_GP);
	expect_load(test, b, true, CODE32, VEC_GP);
	expect_load(test, b, true, USER_DATA, VEC_GP);
	expect_load(test, b, true, DATA32 | 3, VEC_GP);
	expect_load(test, b, true, ABSENT_DATA, VEC_SS);

	/* through the LDT, once there is one */
	prepare(b, P32);
	b->seg[MEZZ_SEG_LDTR].usable = false;
	b->r[MEZZ_GPR_AX] = 0xc;
	expect_fault(test, b, RUN(P32, 0x8e, 0xd8), VEC_GP, 0xc);
	b->seg[MEZZ_SEG_LDTR] = (struct mezz_emul_seg) {
		.base = LDT, .limit = 0xf, .type = 2, .usable = true
	};
	put(b, LDT + 8, gdt[DATA32 / 8], 8);
	KUNIT_EXPECT_EQ(test, RUN(P32, 0x8e, 0xd8), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_DS].sel, 0xc);

	/* never asked for in long mode */
	prepare(b, P32);
	b->e.efer = EFER_LONG_ACTIVE;
	b->r[MEZZ_GPR_AX] = DATA32;
	KUNIT_EXPECT_EQ(test, RUN(P32, 0x8e, 0xd8), MEZZ_EMUL_UNKNOWN);
	KUNIT_EXPECT_EQ(test, RUN(P32, 0x8e, 0xc8), MEZZ_EMUL_FAULT);	/* to CS: #UD */
	KUNIT_EXPECT_EQ(test, b->e.fault.vector, VEC_UD);
}

/* JMP to @sel:0x2000: OK, unknown, or a fault. */
static void expect_jump(struct kunit *test, struct box *b, u16 sel, int want, u8 vec)
{
	int rc;

	prepare(b, P32);
	rc = RUN(P32, 0xea, 0x00, 0x20, 0x00, 0x00, sel & 0xff, sel >> 8);
	if (want == MEZZ_EMUL_FAULT) {
		expect_fault(test, b, rc, vec, sel & ~3);
		return;
	}
	KUNIT_EXPECT_EQ(test, rc, want);
	if (want == MEZZ_EMUL_OK)
		expect_cs_ip(test, b, sel & ~3, 0, 0x2000);
}

static void far_protected_code(struct kunit *test)
{
	struct box *b = new_box(test);

	expect_jump(test, b, CODE32, MEZZ_EMUL_OK, 0);
	KUNIT_EXPECT_TRUE(test, b->seg[MEZZ_SEG_CS].db);
	KUNIT_EXPECT_EQ(test, word(b, GDT + CODE32 + 5, 1), 0x9bull);
	expect_jump(test, b, CODE16, MEZZ_EMUL_OK, 0);
	KUNIT_EXPECT_FALSE(test, b->seg[MEZZ_SEG_CS].db);
	/* RPL of CS is the CPL, whatever a conforming segment was called by */
	expect_jump(test, b, CONF | 3, MEZZ_EMUL_OK, 0);
	expect_jump(test, b, CODE32 | 3, MEZZ_EMUL_FAULT, VEC_GP);
	expect_jump(test, b, DATA32, MEZZ_EMUL_FAULT, VEC_GP);
	expect_jump(test, b, ABSENT_CODE, MEZZ_EMUL_FAULT, VEC_NP);
	expect_jump(test, b, 0, MEZZ_EMUL_FAULT, VEC_GP);
	expect_jump(test, b, TSS, MEZZ_EMUL_UNKNOWN, 0);
	prepare(b, P32);
	expect_fault(test, b, RUN(P32, 0xea, 0x00, 0x20, 0x00, 0x00, SHORT_CODE, 0), VEC_GP, 0);

	prepare(b, P32);
	KUNIT_EXPECT_EQ(test, RUN(P32, 0x9a, 0, 0x20, 0, 0, CODE16, 0), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, word(b, STACK - 8, 8), (u64)CODE32 << 32 | (CODE + 7));
	KUNIT_EXPECT_EQ(test, RUN(P32, 0xcb), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, CODE32, 0, CODE + 7);
	/* to an outer level, to a task, to virtual-8086 mode: not here */
	put(b, STACK - 8, (u64)(CODE32 | 3) << 32, 8);
	b->r[MEZZ_GPR_SP] = STACK - 8;
	KUNIT_EXPECT_EQ(test, RUN(P32, 0xcb), MEZZ_EMUL_UNKNOWN);
	put(b, STACK - 12, 0x2000 | (u64)CODE32 << 32, 8);
	put(b, STACK - 4, FL_VM, 4);
	b->r[MEZZ_GPR_SP] = STACK - 12;
	KUNIT_EXPECT_EQ(test, RUN(P32, 0xcf), MEZZ_EMUL_UNKNOWN);
	put(b, STACK - 4, FL_IF, 4);
	b->e.rflags = FL_NT | 2;
	KUNIT_EXPECT_EQ(test, RUN(P32, 0xcf), MEZZ_EMUL_UNKNOWN);
	b->e.rflags = 2;
	KUNIT_EXPECT_EQ(test, RUN(P32, 0xcf), MEZZ_EMUL_OK);
	expect_cs_ip(test, b, CODE32, 0, 0x2000);
	KUNIT_EXPECT_EQ(test, b->e.rflags, FL_IF | 2ull);
	KUNIT_EXPECT_EQ(test, RUN(P32, 0xcd, 0x10), MEZZ_EMUL_UNKNOWN);
}

static void far_system_segments(struct kunit *test)
{
	struct box *b = new_box(test);

	prepare(b, P32);
	b->r[MEZZ_GPR_AX] = TSS;
	KUNIT_EXPECT_EQ(test, RUN(P32, 0x0f, 0x00, 0xd8), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_TR].sel, TSS);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_TR].type, 0xb);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_TR].limit, 0x67u);
	KUNIT_EXPECT_EQ(test, word(b, GDT + TSS + 5, 1), 0x8bull);
	/* it is busy now */
	expect_fault(test, b, RUN(P32, 0x0f, 0x00, 0xd8), VEC_GP, TSS);
	b->r[MEZZ_GPR_AX] = BUSY_TSS;
	expect_fault(test, b, RUN(P32, 0x0f, 0x00, 0xd8), VEC_GP, BUSY_TSS);
	b->r[MEZZ_GPR_AX] = 0;
	expect_fault(test, b, RUN(P32, 0x0f, 0x00, 0xd8), VEC_GP, 0);
	b->r[MEZZ_GPR_AX] = LDT_SEL;
	KUNIT_EXPECT_EQ(test, RUN(P32, 0x0f, 0x00, 0xd0), MEZZ_EMUL_OK);
	KUNIT_EXPECT_EQ(test, b->seg[MEZZ_SEG_LDTR].base, (u64)LDT);
	b->r[MEZZ_GPR_AX] = DATA32;
	expect_fault(test, b, RUN(P32, 0x0f, 0x00, 0xd0), VEC_GP, DATA32);
	b->r[MEZZ_GPR_AX] = 0;
	KUNIT_EXPECT_EQ(test, RUN(P32, 0x0f, 0x00, 0xd0), MEZZ_EMUL_OK);
	KUNIT_EXPECT_FALSE(test, b->seg[MEZZ_SEG_LDTR].usable);
	b->e.cpl = 3;
	expect_fault(test, b, RUN(P32, 0x0f, 0x00, 0xd0), VEC_GP, 0);
}

static struct kunit_case far_cases[] = {
	KUNIT_CASE(far_real_transfers),
	KUNIT_CASE(far_real_interrupts),
	KUNIT_CASE(far_real_segments),
	KUNIT_CASE(far_enter_xlat),
	KUNIT_CASE(far_protected_data),
	KUNIT_CASE(far_protected_code),
	KUNIT_CASE(far_system_segments),
	{}
};

static struct kunit_suite far_suite = {
	.name = "mezz_far",
	.test_cases = far_cases,
};

kunit_test_suite(far_suite);
