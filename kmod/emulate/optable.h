/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Opcode tables: what decode.c needs to know about each opcode, as data.
 * Private to the decoder; optable.c has the contents.
 */
#ifndef MEZZ_OPTABLE_H
#define MEZZ_OPTABLE_H

#include <linux/types.h>
#include "decode.h"

/* Operand specifications; letters as in the manuals' opcode maps. */
enum mezz_spec {
	SPEC_NONE,
	SPEC_E,		/* ModRM.rm, register or memory */
	SPEC_M,		/* ModRM.rm, memory only (#UD otherwise) */
	SPEC_G,		/* ModRM.reg */
	SPEC_R,		/* ModRM.rm, register whatever mod says */
	SPEC_Z,		/* low opcode bits */
	SPEC_A,		/* accumulator */
	SPEC_I,		/* immediate */
	SPEC_O,		/* moffs */
	SPEC_1,		/* constant 1 */
	SPEC_CL,
	SPEC_DX,
	SPEC_S,		/* ModRM.reg, segment register */
	SPEC_C,		/* ModRM.reg, control register */
	SPEC_D,		/* ModRM.reg, debug register */
	SPEC_V,		/* ModRM.reg, vector register */
	SPEC_W,		/* ModRM.rm, vector register or memory */
	SPEC_P,		/* ModRM.reg, MMX register */
	SPEC_Q,		/* ModRM.rm, MMX register or memory */
};

/* mezz_opcode.flags */
#define OF_MODRM	0x00000001
#define OF_BYTE		0x00000002	/* operand size is one byte */
#define OF_D64		0x00000004	/* default operand size is 64 bits in 64-bit mode */
#define OF_NO64		0x00000008	/* #UD in 64-bit mode */
#define OF_LOCK		0x00000010	/* LOCK allowed with a memory destination */
#define OF_PROT		0x00000020	/* #UD in real and virtual-8086 mode */
#define OF_GROUP	0x00000040	/* 8 entries at mezz_opcode_sub, by ModRM.reg */
#define OF_BYPFX	0x00000080	/* 4 entries, by none, 66, F3, F2 */
#define OF_BYMOD	0x00000100	/* 2 entries: memory, register */
#define OF_BYMODE	0x00000200	/* 2 entries: not 64-bit, 64-bit */
#define OF_PREFIX	0x00000400	/* legacy prefix */
#define OF_REX		0x00000800	/* REX in 64-bit mode */
#define OF_BRANCH	0x00001000	/* near branch: operand size 64 in 64-bit mode */
#define OF_STRING	0x00002000	/* memory through rSI or rDI */
#define OF_VEX		0x00004000	/* may be VEX-encoded */
#define OF_VEXONLY	0x00008000
#define OF_UD		0x00010000	/* architecturally #UD */
#define OF_SPECIAL	0x00020000	/* decode.c has a case of its own */
#define OF_VEC		0x00040000	/* memory operand: MSIZE, or the vector's length */
#define OF_D64W		0x00080000	/* operand size 64 in 64-bit mode, always (MOV CR) */

/* Immediate kinds, bits 24-27. */
#define OF_IMM(x)	((u32)(x) << 24)
#define OF_IMM_KIND(f)	(((f) >> 24) & 15)
enum {
	IMM_NONE,
	IMM_8,		/* sign-extended */
	IMM_16,
	IMM_Z,		/* 2 or 4 bytes, sign-extended */
	IMM_V,		/* 2, 4 or 8 bytes */
	IMM_16_8,	/* ENTER */
	IMM_PTR,	/* far pointer */
	IMM_MOFFS,	/* address-size offset, becomes the displacement */
	IMM_8_8,	/* EXTRQ, INSERTQ */
};

/* Size of the memory operand where it is not the operand size, bits 28-31. */
#define OF_MSIZE(log)	((u32)((log) + 1) << 28)	/* log2 of bytes */
#define OF_MSIZE_LOG(f)	(((f) >> 28) & 7)		/* + 1; 0: none */

/**
 * struct mezz_opcode - one opcode
 * @op: enum mezz_op
 * @dst: enum mezz_spec
 * @src: enum mezz_spec
 * @sub: index of the first entry in mezz_opcode_sub for OF_GROUP, OF_BY*
 * @flags: OF_*
 */
struct mezz_opcode {
	u8 op, dst, src, sub;
	u32 flags;
};

extern const struct mezz_opcode mezz_opcode_1[256];
extern const struct mezz_opcode mezz_opcode_0f[256];
extern const struct mezz_opcode mezz_opcode_38[256];
extern const struct mezz_opcode mezz_opcode_3a[256];
extern const struct mezz_opcode mezz_opcode_sub[];

#endif
