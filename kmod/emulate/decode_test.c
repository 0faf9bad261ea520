// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the decoder: length, operation, operands and addresses of one
 * instruction of each form, every truncation of it, and what is refused.
 */
#include <kunit/test.h>
#include "decode.c"

#define BYTES(...)	.len = sizeof((u8[]){ __VA_ARGS__ }), .code = { __VA_ARGS__ }
#define R64		MEZZ_MODE_LONG64
#define P32		MEZZ_MODE_PROT32
#define P16		MEZZ_MODE_PROT16
#define NONE		MEZZ_GPR_NONE

struct row {
	u8 mode, len;
	u8 code[MEZZ_MAX_INSN];
	u8 op, opsize, dst, src;
	u8 dst_reg, src_reg;
	u8 base, index, scale, seg;
	u64 disp, imm;
};

#define REG_REG(o, size, d, s)							\
	.op = MEZZ_OP_##o, .opsize = size, .dst = MEZZ_OPND_REG, .src = MEZZ_OPND_REG,	\
	.dst_reg = d, .src_reg = s
#define REG_IMM(o, size, d, i)							\
	.op = MEZZ_OP_##o, .opsize = size, .dst = MEZZ_OPND_REG, .src = MEZZ_OPND_IMM,	\
	.dst_reg = d, .imm = (u64)(i)
#define MEM_REG(o, size, s)							\
	.op = MEZZ_OP_##o, .opsize = size, .dst = MEZZ_OPND_MEM, .src = MEZZ_OPND_REG,	\
	.src_reg = s
#define REG_MEM(o, size, d)							\
	.op = MEZZ_OP_##o, .opsize = size, .dst = MEZZ_OPND_REG, .src = MEZZ_OPND_MEM,	\
	.dst_reg = d
#define MEM_IMM(o, size, i)							\
	.op = MEZZ_OP_##o, .opsize = size, .dst = MEZZ_OPND_MEM, .src = MEZZ_OPND_IMM,	\
	.imm = (u64)(i)
#define AT(b, i, sc, sg, d)							\
	.base = b, .index = i, .scale = sc, .seg = MEZZ_SEG_##sg, .disp = (u64)(d)

static const struct row rows[] = {
	/* registers and operand sizes */
	{ R64, BYTES(0x00, 0xc8), REG_REG(ADD, 1, 0, 1) },
	{ R64, BYTES(0x01, 0xc8), REG_REG(ADD, 4, 0, 1) },
	{ R64, BYTES(0x66, 0x01, 0xc8), REG_REG(ADD, 2, 0, 1) },
	{ R64, BYTES(0x48, 0x01, 0xc8), REG_REG(ADD, 8, 0, 1) },
	{ R64, BYTES(0x66, 0x48, 0x01, 0xc8), REG_REG(ADD, 8, 0, 1) },
	{ R64, BYTES(0x45, 0x03, 0xc8), REG_REG(ADD, 4, 9, 8) },
	{ R64, BYTES(0x00, 0xe0), REG_REG(ADD, 1, 0, 16) },
	{ R64, BYTES(0x40, 0x00, 0xe0), REG_REG(ADD, 1, 0, 4) },
	{ P16, BYTES(0x01, 0xc8), REG_REG(ADD, 2, 0, 1) },
	{ P16, BYTES(0x66, 0x01, 0xc8), REG_REG(ADD, 4, 0, 1) },
	/* the last REX counts only in front of the opcode */
	{ R64, BYTES(0x48, 0x66, 0x01, 0xc8), REG_REG(ADD, 2, 0, 1) },
	/* immediates are sign-extended */
	{ R64, BYTES(0x83, 0xe9, 0xff), REG_IMM(SUB, 4, 1, -1) },
	{ R64, BYTES(0x48, 0x81, 0xc1, 0, 0, 0, 0x80), REG_IMM(ADD, 8, 1, (s32)0x80000000) },
	{ R64, BYTES(0x48, 0xb9, 1, 2, 3, 4, 5, 6, 7, 8), REG_IMM(MOV, 8, 1, 0x0807060504030201) },
	{ R64, BYTES(0x66, 0xb9, 1, 2), REG_IMM(MOV, 2, 1, 0x201) },
	{ R64, BYTES(0xc1, 0xe0, 0x1f), REG_IMM(SHL, 4, 0, 0x1f) },
	/* addresses */
	{ R64, BYTES(0x89, 0x0b), MEM_REG(MOV, 4, 1), AT(3, NONE, 0, DS, 0) },
	{ R64, BYTES(0x89, 0x4b, 0x80), MEM_REG(MOV, 4, 1), AT(3, NONE, 0, DS, -128) },
	{ R64, BYTES(0x89, 0x8b, 0, 1, 0, 0), MEM_REG(MOV, 4, 1), AT(3, NONE, 0, DS, 256) },
	{ R64, BYTES(0x89, 0x0d, 0xf0, 0xff, 0xff, 0xff), MEM_REG(MOV, 4, 1),
	  AT(MEZZ_GPR_RIP, NONE, 0, DS, -16) },
	{ R64, BYTES(0x89, 0x0c, 0x25, 0, 0x10, 0, 0), MEM_REG(MOV, 4, 1),
	  AT(NONE, NONE, 0, DS, 0x1000) },
	{ R64, BYTES(0x89, 0x0c, 0x24), MEM_REG(MOV, 4, 1), AT(4, NONE, 0, SS, 0) },
	{ R64, BYTES(0x89, 0x4c, 0x05, 0), MEM_REG(MOV, 4, 1), AT(5, 0, 0, SS, 0) },
	{ R64, BYTES(0x8b, 0x0c, 0xd8), REG_MEM(MOV, 4, 1), AT(0, 3, 3, DS, 0) },
	{ R64, BYTES(0x4a, 0x8b, 0x0c, 0xa0), REG_MEM(MOV, 8, 1), AT(0, 12, 2, DS, 0) },
	{ R64, BYTES(0x65, 0x8b, 0x0b), REG_MEM(MOV, 4, 1), AT(3, NONE, 0, GS, 0) },
	/* ES, CS, SS and DS overrides mean nothing in 64-bit mode */
	{ R64, BYTES(0x2e, 0x8b, 0x0b), REG_MEM(MOV, 4, 1), AT(3, NONE, 0, DS, 0) },
	{ P32, BYTES(0x2e, 0x8b, 0x0b), REG_MEM(MOV, 4, 1), AT(3, NONE, 0, CS, 0) },
	{ P32, BYTES(0x8b, 0x0d, 0, 0x10, 0, 0), REG_MEM(MOV, 4, 1),
	  AT(NONE, NONE, 0, DS, 0x1000) },
	{ P32, BYTES(0x8b, 0x4d, 0x08), REG_MEM(MOV, 4, 1), AT(5, NONE, 0, SS, 8) },
	{ P16, BYTES(0x8b, 0x08), REG_MEM(MOV, 2, 1), AT(3, 6, 0, DS, 0) },
	{ P16, BYTES(0x8b, 0x4a, 0xfe), REG_MEM(MOV, 2, 1), AT(5, 6, 0, SS, -2) },
	{ P16, BYTES(0x8b, 0x0e, 0x34, 0x12), REG_MEM(MOV, 2, 1), AT(NONE, NONE, 0, DS, 0x1234) },
	{ P16, BYTES(0x67, 0x8b, 0x0b), REG_MEM(MOV, 2, 1), AT(3, NONE, 0, DS, 0) },
	{ R64, BYTES(0xa1, 1, 2, 3, 4, 5, 6, 7, 8), REG_MEM(MOV, 4, 0),
	  AT(NONE, NONE, 0, DS, 0x0807060504030201) },
	/* memory and immediates */
	{ R64, BYTES(0xc7, 0x03, 1, 2, 3, 4), MEM_IMM(MOV, 4, 0x04030201), AT(3, NONE, 0, DS, 0) },
	{ R64, BYTES(0xc6, 0x43, 0x10, 0xff), MEM_IMM(MOV, 1, -1), AT(3, NONE, 0, DS, 16) },
	{ R64, BYTES(0x80, 0x0b, 0x40), MEM_IMM(OR, 1, 0x40), AT(3, NONE, 0, DS, 0) },
	{ R64, BYTES(0xf0, 0x0f, 0xba, 0x2b, 0x05), MEM_IMM(BTS, 4, 5), AT(3, NONE, 0, DS, 0) },
	/* two-byte and three-byte maps */
	{ R64, BYTES(0x0f, 0xaf, 0xc8), REG_REG(IMUL2, 4, 1, 0) },
	{ R64, BYTES(0x0f, 0x44, 0xc8), REG_REG(CMOVCC, 4, 1, 0) },
	{ R64, BYTES(0x0f, 0xb6, 0x0b), REG_MEM(MOVZX, 4, 1), AT(3, NONE, 0, DS, 0) },
	{ R64, BYTES(0xf3, 0x0f, 0xb8, 0xc8), REG_REG(POPCNT, 4, 1, 0) },
	{ R64, BYTES(0x0f, 0x38, 0xf0, 0x0b), REG_MEM(MOVBE, 4, 1), AT(3, NONE, 0, DS, 0) },
	{ R64, BYTES(0x0f, 0x38, 0xf1, 0x0b), MEM_REG(MOVBE, 4, 1), AT(3, NONE, 0, DS, 0) },
	{ R64, BYTES(0x0f, 0xb1, 0x0b), MEM_REG(CMPXCHG, 4, 1), AT(3, NONE, 0, DS, 0) },
	{ R64, BYTES(0x0f, 0xc1, 0x0b), MEM_REG(XADD, 4, 1), AT(3, NONE, 0, DS, 0) },
};

static void decode_forms(struct kunit *test)
{
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(rows); n++) {
		const struct row *r = &rows[n];
		struct mezz_insn i;
		int rc = mezz_decode(&i, r->code, MEZZ_MAX_INSN, r->mode);

		KUNIT_EXPECT_EQ_MSG(test, rc, MEZZ_DECODE_OK, "row %u", n);
		if (rc)
			continue;
		KUNIT_EXPECT_EQ_MSG(test, i.len, r->len, "row %u", n);
		KUNIT_EXPECT_EQ_MSG(test, i.op, r->op, "row %u", n);
		KUNIT_EXPECT_EQ_MSG(test, i.opsize, r->opsize, "row %u", n);
		KUNIT_EXPECT_EQ_MSG(test, i.dst, r->dst, "row %u", n);
		KUNIT_EXPECT_EQ_MSG(test, i.src, r->src, "row %u", n);
		if (r->dst == MEZZ_OPND_REG)
			KUNIT_EXPECT_EQ_MSG(test, i.dst_reg, r->dst_reg, "row %u", n);
		if (r->src == MEZZ_OPND_REG)
			KUNIT_EXPECT_EQ_MSG(test, i.src_reg, r->src_reg, "row %u", n);
		if (r->src == MEZZ_OPND_IMM)
			KUNIT_EXPECT_EQ_MSG(test, i.imm, r->imm, "row %u", n);
		if (r->dst != MEZZ_OPND_MEM && r->src != MEZZ_OPND_MEM)
			continue;
		KUNIT_EXPECT_EQ_MSG(test, i.base, r->base, "row %u", n);
		KUNIT_EXPECT_EQ_MSG(test, i.index, r->index, "row %u", n);
		KUNIT_EXPECT_EQ_MSG(test, i.seg, r->seg, "row %u", n);
		KUNIT_EXPECT_EQ_MSG(test, i.disp, r->disp, "row %u", n);
		if (r->index != NONE)
			KUNIT_EXPECT_EQ_MSG(test, i.scale, r->scale, "row %u", n);
	}
}

static void decode_truncated(struct kunit *test)
{
	unsigned int n, len;

	for (n = 0; n < ARRAY_SIZE(rows); n++) {
		struct mezz_insn i;

		for (len = 0; len < rows[n].len; len++)
			KUNIT_EXPECT_EQ_MSG(test, mezz_decode(&i, rows[n].code, len, rows[n].mode),
					    MEZZ_DECODE_MORE, "row %u, %u bytes", n, len);
	}
}

static void decode_too_long(struct kunit *test)
{
	u8 code[16];
	struct mezz_insn i;

	memset(code, 0x66, sizeof(code));
	KUNIT_EXPECT_EQ(test, mezz_decode(&i, code, 14, R64), MEZZ_DECODE_MORE);
	KUNIT_EXPECT_EQ(test, mezz_decode(&i, code, 15, R64), MEZZ_DECODE_TOO_LONG);
	code[14] = 0x90;
	KUNIT_EXPECT_EQ(test, mezz_decode(&i, code, 15, R64), MEZZ_DECODE_OK);
	KUNIT_EXPECT_EQ(test, i.len, 15);
	/* 13 prefixes and three bytes more */
	code[13] = 0x83;
	code[14] = 0xc0;
	code[15] = 0x01;
	KUNIT_EXPECT_EQ(test, mezz_decode(&i, code, 15, R64), MEZZ_DECODE_TOO_LONG);
}

static void decode_invalid(struct kunit *test)
{
	static const struct {
		u8 mode, code[8];
	} bad[] = {
		{ R64, { 0x06 } },			/* PUSH ES */
		{ R64, { 0x27 } },			/* DAA */
		{ R64, { 0x60 } },			/* PUSHA */
		{ R64, { 0x9a } },			/* CALL far */
		{ R64, { 0xea } },			/* JMP far */
		{ R64, { 0xd6 } },			/* SALC */
		{ R64, { 0x0f, 0x0b } },		/* UD2 */
		{ R64, { 0x8d, 0xc0 } },		/* LEA of a register */
		{ R64, { 0xf0, 0x01, 0xc8 } },		/* LOCK of a register */
		{ R64, { 0xf0, 0x39, 0x0b } },		/* LOCK CMP */
		{ R64, { 0xf0, 0x89, 0x0b } },		/* LOCK MOV */
		{ R64, { 0xfe, 0xd0 } },		/* group 4, /2 */
		{ R64, { 0xff, 0xf8 } },		/* group 5, /7 */
		{ R64, { 0x0f, 0xba, 0xc0, 0x01 } },	/* group 8, /0 */
		{ R64, { 0x0f, 0xc7, 0xc8 } },		/* CMPXCHG8B of a register */
	};
	struct mezz_insn i;
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(bad); n++)
		KUNIT_EXPECT_EQ_MSG(test, mezz_decode(&i, bad[n].code, sizeof(bad[n].code),
						      bad[n].mode),
				    MEZZ_DECODE_UD, "row %u", n);
}

/* Whatever the bytes are: an answer, and a length that lies within them. */
static void decode_anything(struct kunit *test)
{
	u64 x = 0x9e3779b97f4a7c15;
	struct mezz_insn i;
	unsigned int n, k, len;
	u8 code[16];
	int rc;

	for (n = 0; n < 50000; n++) {
		for (k = 0; k < sizeof(code); k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			code[k] = x >> 32;
		}
		len = n % 16;
		rc = mezz_decode(&i, code, len, n % 5);
		KUNIT_ASSERT_GE(test, rc, 0);
		KUNIT_ASSERT_LE(test, rc, MEZZ_DECODE_UNKNOWN);
		if (rc == MEZZ_DECODE_OK)
			KUNIT_ASSERT_TRUE(test, i.len >= 1 && i.len <= len);
	}
}

static struct kunit_case decode_cases[] = {
	KUNIT_CASE(decode_forms),
	KUNIT_CASE(decode_truncated),
	KUNIT_CASE(decode_too_long),
	KUNIT_CASE(decode_invalid),
	KUNIT_CASE(decode_anything),
	{}
};

static struct kunit_suite decode_suite = {
	.name = "mezz_decode",
	.test_cases = decode_cases,
};

kunit_test_suite(decode_suite);
