/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Instruction decoder: bytes in, struct mezz_insn out.
 *
 * Pure: no state, no allocation, no knowledge of the running kernel, so it is
 * also built in user space for tests. It leaves to exec.h what an instruction
 * does, and to the caller where the bytes come from.
 *
 * Known hacks: EVEX and XOP encodings are not decoded (MEZZ_DECODE_UNKNOWN).
 * Near branches with an operand-size prefix in 64-bit mode are also refused,
 * because vendors disagree about them.
 */
#ifndef MEZZ_DECODE_H
#define MEZZ_DECODE_H

#include <linux/types.h>

#define MEZZ_MAX_INSN	15	/* bytes; SDM 2, "Instruction Format" */

/* Execution mode, as far as decoding cares. Compatibility mode is PROT16/32. */
enum mezz_cpu_mode {
	MEZZ_MODE_REAL,
	MEZZ_MODE_VM86,
	MEZZ_MODE_PROT16,
	MEZZ_MODE_PROT32,
	MEZZ_MODE_LONG64,
};

/* Answers of mezz_decode(). */
enum mezz_decode_rc {
	MEZZ_DECODE_OK,
	MEZZ_DECODE_MORE,	/* truncated: @len bytes do not hold it all */
	MEZZ_DECODE_TOO_LONG,	/* more than 15 bytes: #GP(0) */
	MEZZ_DECODE_UD,		/* architecturally invalid: #UD */
	MEZZ_DECODE_UNKNOWN,	/* not in the tables: nothing is known about it */
};

/* General registers, in encoding order. */
enum mezz_gpr {
	MEZZ_GPR_AX, MEZZ_GPR_CX, MEZZ_GPR_DX, MEZZ_GPR_BX,
	MEZZ_GPR_SP, MEZZ_GPR_BP, MEZZ_GPR_SI, MEZZ_GPR_DI,
	/* 8-15: R8-R15 */
	MEZZ_GPR_HIGH = 16,	/* 16-19: AH, CH, DH, BH */
	MEZZ_GPR_NONE = 0xff,
	MEZZ_GPR_RIP = 0xfe,	/* as a base */
};

/* Segment registers, in encoding order. */
enum mezz_insn_seg {
	MEZZ_SEG_ES, MEZZ_SEG_CS, MEZZ_SEG_SS, MEZZ_SEG_DS, MEZZ_SEG_FS, MEZZ_SEG_GS,
	MEZZ_SEG_LDTR, MEZZ_SEG_TR,
	MEZZ_SEG_NONE = 0xff,
};

/* Where an operand is; mezz_insn.dst and .src. */
enum mezz_opnd {
	MEZZ_OPND_NONE,
	MEZZ_OPND_REG,		/* general register dst_reg or src_reg */
	MEZZ_OPND_MEM,		/* memory operand; MOFFS included */
	MEZZ_OPND_IMM,		/* insn.imm */
	MEZZ_OPND_SREG,		/* segment register */
	MEZZ_OPND_CREG,
	MEZZ_OPND_DREG,
	MEZZ_OPND_VEC,		/* XMM or YMM register */
	MEZZ_OPND_MMX,
};

/* Prefix bits, mezz_insn.prefix. */
#define MEZZ_PFX_OPSIZE	0x01	/* 66 */
#define MEZZ_PFX_ADSIZE	0x02	/* 67 */
#define MEZZ_PFX_LOCK	0x04
#define MEZZ_PFX_REP	0x08	/* F3; excludes REPNE: the last one counts */
#define MEZZ_PFX_REPNE	0x10	/* F2 */
#define MEZZ_PFX_SEG	0x20	/* an override that is not ignored */
#define MEZZ_PFX_VEX	0x40
#define MEZZ_PFX_VEX_L	0x80	/* VEX.L: 256 bits */

/*
 * Operations. Those up to MEZZ_OP_LAST_EXEC have an executor; the others are
 * decoded for their length and operands only.
 */
enum mezz_op {
	MEZZ_OP_INVALID,	/* slot that we know nothing about */
	/* the order of ADD..CMP and ROL..SAR is that of the encoding */
	MEZZ_OP_ADD, MEZZ_OP_OR, MEZZ_OP_ADC, MEZZ_OP_SBB,
	MEZZ_OP_AND, MEZZ_OP_SUB, MEZZ_OP_XOR, MEZZ_OP_CMP,
	MEZZ_OP_ROL, MEZZ_OP_ROR, MEZZ_OP_RCL, MEZZ_OP_RCR,
	MEZZ_OP_SHL, MEZZ_OP_SHR, MEZZ_OP_SAL, MEZZ_OP_SAR,
	MEZZ_OP_TEST, MEZZ_OP_NOT, MEZZ_OP_NEG, MEZZ_OP_INC, MEZZ_OP_DEC,
	MEZZ_OP_SHLD, MEZZ_OP_SHRD,
	MEZZ_OP_MUL, MEZZ_OP_IMUL1, MEZZ_OP_IMUL2, MEZZ_OP_IMUL3, MEZZ_OP_DIV, MEZZ_OP_IDIV,
	MEZZ_OP_BT, MEZZ_OP_BTS, MEZZ_OP_BTR, MEZZ_OP_BTC, MEZZ_OP_BSF, MEZZ_OP_BSR,
	MEZZ_OP_POPCNT,
	MEZZ_OP_XCHG, MEZZ_OP_XADD, MEZZ_OP_CMPXCHG, MEZZ_OP_CMPXCHG8B,
	MEZZ_OP_MOV, MEZZ_OP_MOVZX, MEZZ_OP_MOVSX, MEZZ_OP_MOVBE, MEZZ_OP_LEA,
	MEZZ_OP_MOV_SREG, MEZZ_OP_MOV_CR, MEZZ_OP_MOV_DR,
	MEZZ_OP_SETCC, MEZZ_OP_CMOVCC, MEZZ_OP_CBW, MEZZ_OP_CWD, MEZZ_OP_BSWAP,
	MEZZ_OP_MOVS, MEZZ_OP_STOS, MEZZ_OP_LODS, MEZZ_OP_SCAS, MEZZ_OP_CMPS,
	MEZZ_OP_IN, MEZZ_OP_OUT, MEZZ_OP_INS, MEZZ_OP_OUTS,
	MEZZ_OP_PUSH, MEZZ_OP_POP, MEZZ_OP_PUSHF, MEZZ_OP_POPF, MEZZ_OP_PUSHA, MEZZ_OP_POPA,
	MEZZ_OP_LEAVE,
	MEZZ_OP_CALL, MEZZ_OP_JMP, MEZZ_OP_RET, MEZZ_OP_JCC, MEZZ_OP_LOOP, MEZZ_OP_JCXZ,
	MEZZ_OP_NOP, MEZZ_OP_FLAG, MEZZ_OP_CLI, MEZZ_OP_STI, MEZZ_OP_LAHF, MEZZ_OP_SAHF,
	MEZZ_OP_LMSW, MEZZ_OP_SMSW, MEZZ_OP_CLTS, MEZZ_OP_INVLPG,
	MEZZ_OP_LGDT, MEZZ_OP_LIDT, MEZZ_OP_SGDT, MEZZ_OP_SIDT, MEZZ_OP_SLDT, MEZZ_OP_STR,
	MEZZ_OP_VMOV,		/* full width, 8 or 4 bytes, see msize */
	MEZZ_OP_VMOVA,		/* aligned */
	MEZZ_OP_VMOVS,		/* scalar: a load clears the rest, registers merge */
	MEZZ_OP_VMOVQ,		/* MOVD, MOVQ: the rest is cleared */
	MEZZ_OP_VMOVL, MEZZ_OP_VMOVH,	/* low, high half */
	/* the rest is never the operand of a device access */
	MEZZ_OP_MOV_TO_SREG,	/* LES, LDS, LSS, LFS, LGS */
	MEZZ_OP_PUSH_SREG, MEZZ_OP_POP_SREG, MEZZ_OP_LLDT, MEZZ_OP_LTR,
	MEZZ_OP_CALL_FAR, MEZZ_OP_JMP_FAR, MEZZ_OP_RET_FAR, MEZZ_OP_IRET,
	MEZZ_OP_INT3, MEZZ_OP_INT, MEZZ_OP_INTO, MEZZ_OP_ENTER, MEZZ_OP_XLAT,
	MEZZ_OP_BCD,		/* AAA, AAD, AAM, AAS, DAA, DAS */
	MEZZ_OP_LAST_EXEC = MEZZ_OP_BCD,
	MEZZ_OP_OTHER,		/* only the length is known */
	MEZZ_OP_INT1, MEZZ_OP_HLT, MEZZ_OP_CPUID, MEZZ_OP_RDMSR, MEZZ_OP_WRMSR, MEZZ_OP_RDTSC,
	MEZZ_OP_RDTSCP, MEZZ_OP_RDPMC, MEZZ_OP_WBINVD, MEZZ_OP_INVD, MEZZ_OP_PAUSE,
	MEZZ_OP_XGETBV, MEZZ_OP_XSETBV, MEZZ_OP_MONITOR, MEZZ_OP_MWAIT,
	MEZZ_OP_VMCALL, MEZZ_OP_VMMCALL, MEZZ_OP_VIRT,	/* other virtualization instructions */
	MEZZ_OP_SYSCALL, MEZZ_OP_RSM, MEZZ_OP_INVPCID,
	/* prefixes, in the tables only */
	MEZZ_OP_PREFIX,
	MEZZ_NR_OPS
};

/**
 * struct mezz_insn - a decoded instruction
 * @op: enum mezz_op
 * @dst: first operand, enum mezz_opnd
 * @src: second operand
 * @dst_reg: register of @dst; 16-19 are AH, CH, DH, BH
 * @src_reg: register of @src
 * @len: length in bytes, prefixes included
 * @opsize: operand size in bytes: 1, 2, 4, 8
 * @msize: bytes that the memory operand has; 0 if it has no fixed size
 * @adsize: address size in bytes: 2, 4, 8
 * @mode: enum mezz_cpu_mode it was decoded for
 * @prefix: MEZZ_PFX_*
 * @rex: REX byte, also what VEX carries of it; 0 if none
 * @seg: segment of the memory operand (string instructions: of the source)
 * @base: base register, MEZZ_GPR_RIP or MEZZ_GPR_NONE
 * @index: index register or MEZZ_GPR_NONE
 * @scale: shift of the index, 0-3
 * @modrm: ModRM byte, valid if the opcode has one
 * @opcode: last opcode byte
 * @map: 0 one-byte, 1 0F, 2 0F38, 3 0F3A
 * @vvvv: VEX.vvvv, decoded
 * @disp: displacement, sign-extended; the whole address for MOFFS
 * @imm: immediate, sign-extended; far pointers: offset; branches: relative
 * @imm2: second immediate: ENTER's level, far selector, SHLD's nothing
 */
struct mezz_insn {
	u8 op, dst, src, dst_reg, src_reg;
	u8 len, opsize, msize, adsize;
	u8 mode, prefix, rex, seg;
	u8 base, index, scale;
	u8 modrm, opcode, map, vvvv;
	u16 imm2;
	u64 disp;
	u64 imm;
};

/**
 * mezz_decode() - decode one instruction
 * @insn: filled in; on failure only the prefixes are meaningful
 * @bytes: code
 * @len: how many bytes there are
 * @mode: execution mode
 *
 * Context: any, does not sleep.
 * Return: enum mezz_decode_rc
 */
int mezz_decode(struct mezz_insn *insn, const u8 *bytes, unsigned int len,
		enum mezz_cpu_mode mode);

#endif
