// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instruction decoder: interprets the tables of optable.c.
 *
 * Runs on every MMIO exit, so the common case (a few prefixes, one opcode
 * byte, ModRM, displacement) is straight code without a call. What an
 * instruction does is left to exec.c. Hacks: see decode.h.
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include "decode.h"
#include "optable.h"

/* The bytes that are left. */
struct cursor {
	const u8 *p, *end;
};

static __always_inline bool take(struct cursor *c, unsigned int n, const u8 **at)
{
	if (unlikely((size_t)(c->end - c->p) < n))
		return false;
	*at = c->p;
	c->p += n;
	return true;
}

/* Little-endian, sign-extended. */
static __always_inline u64 get_signed(const u8 *p, unsigned int n)
{
	s16 w;
	s32 d;
	u64 q;

	switch (n) {
	case 1:
		return (u64)(s64)(s8)*p;
	case 2:
		memcpy(&w, p, 2);
		return (u64)(s64)w;
	case 4:
		memcpy(&d, p, 4);
		return (u64)(s64)d;
	default:
		memcpy(&q, p, 8);
		return q;
	}
}

/* One legacy prefix byte. */
static void legacy_prefix(struct mezz_insn *insn, u8 b)
{
	static const u8 seg[4] = { MEZZ_SEG_ES, MEZZ_SEG_CS, MEZZ_SEG_SS, MEZZ_SEG_DS };

	switch (b) {
	case 0x66:
		insn->prefix |= MEZZ_PFX_OPSIZE;
		break;
	case 0x67:
		insn->prefix |= MEZZ_PFX_ADSIZE;
		break;
	case 0xf0:
		insn->prefix |= MEZZ_PFX_LOCK;
		break;
	case 0xf2:
		insn->prefix = (insn->prefix & ~MEZZ_PFX_REP) | MEZZ_PFX_REPNE;
		break;
	case 0xf3:
		insn->prefix = (insn->prefix & ~MEZZ_PFX_REPNE) | MEZZ_PFX_REP;
		break;
	case 0x64:
	case 0x65:
		insn->prefix |= MEZZ_PFX_SEG;
		insn->seg = MEZZ_SEG_FS + (b & 1);
		break;
	default:
		/* ES, CS, SS and DS overrides are ignored in 64-bit mode. */
		if (insn->mode == MEZZ_MODE_LONG64)
			break;
		insn->prefix |= MEZZ_PFX_SEG;
		insn->seg = seg[(b >> 3) & 3];
		break;
	}
}

/* 16-bit addressing (SDM 2, "16-Bit Addressing Forms with the ModR/M Byte"). */
static bool modrm_mem16(struct mezz_insn *insn, struct cursor *c, unsigned int mod)
{
	static const u8 base[8] = {
		MEZZ_GPR_BX, MEZZ_GPR_BX, MEZZ_GPR_BP, MEZZ_GPR_BP,
		MEZZ_GPR_SI, MEZZ_GPR_DI, MEZZ_GPR_BP, MEZZ_GPR_BX,
	};
	unsigned int rm = insn->modrm & 7;
	const u8 *at;

	if (mod == 0 && rm == 6) {
		if (!take(c, 2, &at))
			return false;
		insn->disp = get_signed(at, 2);
		return true;
	}
	insn->base = base[rm];
	if (rm < 4)
		insn->index = rm & 1 ? MEZZ_GPR_DI : MEZZ_GPR_SI;
	if (mod) {
		if (!take(c, mod, &at))
			return false;
		insn->disp = get_signed(at, mod);
	}
	if (insn->base == MEZZ_GPR_BP && !(insn->prefix & MEZZ_PFX_SEG))
		insn->seg = MEZZ_SEG_SS;
	return true;
}

/* 32- and 64-bit addressing. */
static __always_inline bool modrm_mem(struct mezz_insn *insn, struct cursor *c, unsigned int mod)
{
	static const u8 disp_len[3] = { 0, 1, 4 };
	unsigned int n = disp_len[mod];
	unsigned int rm = insn->modrm & 7;
	const u8 *at;

	if (rm == 4) {
		unsigned int sib, index;

		if (!take(c, 1, &at))
			return false;
		sib = *at;
		rm = sib & 7;
		index = ((sib >> 3) & 7) | (insn->rex & 2) << 2;
		insn->scale = sib >> 6;
		if (index != 4)
			insn->index = index;
		if (rm == 5 && mod == 0)
			n = 4;
		else
			insn->base = rm | (insn->rex & 1) << 3;
	} else if (rm == 5 && mod == 0) {
		n = 4;
		if (insn->mode == MEZZ_MODE_LONG64)
			insn->base = MEZZ_GPR_RIP;
	} else {
		insn->base = rm | (insn->rex & 1) << 3;
	}
	if ((insn->base == MEZZ_GPR_SP || insn->base == MEZZ_GPR_BP) &&
	    !(insn->prefix & MEZZ_PFX_SEG))
		insn->seg = MEZZ_SEG_SS;
	if (n) {
		if (!take(c, n, &at))
			return false;
		insn->disp = get_signed(at, n);
	}
	return true;
}

static __always_inline u8 byte_reg(const struct mezz_insn *insn, unsigned int size, u8 reg)
{
	if (size == 1 && !insn->rex && reg >= 4)
		return reg + MEZZ_GPR_HIGH - 4;
	return reg;
}

/* Turn an operand specification into kind and register. */
static __always_inline bool operand(struct mezz_insn *insn, unsigned int spec, u8 *kind, u8 *reg)
{
	unsigned int r = ((insn->modrm >> 3) & 7) | (insn->rex & 4) << 1;
	unsigned int b = (insn->modrm & 7) | (insn->rex & 1) << 3;
	bool mem = insn->modrm < 0xc0;

	switch (spec) {
	case SPEC_NONE:
		break;
	case SPEC_E:
		if (mem) {
			*kind = MEZZ_OPND_MEM;
			break;
		}
		*kind = MEZZ_OPND_REG;
		*reg = byte_reg(insn, insn->msize, b);
		break;
	case SPEC_G:
		*kind = MEZZ_OPND_REG;
		*reg = byte_reg(insn, insn->opsize, r);
		break;
	case SPEC_I:
		*kind = MEZZ_OPND_IMM;
		break;
	case SPEC_M:
		*kind = MEZZ_OPND_MEM;
		return mem;
	case SPEC_O:
		*kind = MEZZ_OPND_MEM;
		break;
	case SPEC_A:
		*kind = MEZZ_OPND_REG;
		break;
	case SPEC_R:
		*kind = MEZZ_OPND_REG;
		*reg = b;
		break;
	case SPEC_Z:
		*kind = MEZZ_OPND_REG;
		*reg = byte_reg(insn, insn->opsize, (insn->opcode & 7) | (insn->rex & 1) << 3);
		break;
	case SPEC_1:
		*kind = MEZZ_OPND_IMM;
		insn->imm = 1;
		break;
	case SPEC_CL:
		*kind = MEZZ_OPND_REG;
		*reg = MEZZ_GPR_CX;
		break;
	case SPEC_DX:
		*kind = MEZZ_OPND_REG;
		*reg = MEZZ_GPR_DX;
		break;
	case SPEC_S:
		*kind = MEZZ_OPND_SREG;
		*reg = r & 7;
		return (r & 7) < 6;
	case SPEC_C:
	case SPEC_D:
		*kind = spec == SPEC_C ? MEZZ_OPND_CREG : MEZZ_OPND_DREG;
		*reg = r;
		break;
	case SPEC_W:
		*kind = mem ? MEZZ_OPND_MEM : MEZZ_OPND_VEC;
		*reg = b;
		break;
	case SPEC_V:
		*kind = MEZZ_OPND_VEC;
		*reg = r;
		break;
	default:
		return false;
	}
	return true;
}

static __always_inline void sizes(struct mezz_insn *insn, u32 flags)
{
	bool opsz = insn->prefix & MEZZ_PFX_OPSIZE;
	unsigned int size, m;

	if (flags & OF_BYTE) {
		size = 1;
	} else if (insn->mode == MEZZ_MODE_LONG64) {
		if ((insn->rex & 8) || (flags & OF_D64W))
			size = 8;
		else if (flags & (OF_D64 | OF_BRANCH))
			size = opsz ? 2 : 8;
		else
			size = opsz && !(flags & OF_VEC) ? 2 : 4;
	} else if (flags & (OF_VEC | OF_D64W)) {
		size = 4;
	} else {
		size = (insn->mode == MEZZ_MODE_PROT32) != opsz ? 4 : 2;
	}
	insn->opsize = size;
	m = OF_MSIZE_LOG(flags);
	insn->msize = m ? 1u << (m - 1) : size;
}

/* Immediate of the kind @flags says; false when bytes are missing. */
static __always_inline bool immediate(struct mezz_insn *insn, struct cursor *c, u32 flags)
{
	unsigned int n = insn->opsize;
	u64 second;
	const u8 *at;

	switch (OF_IMM_KIND(flags)) {
	case IMM_NONE:
		return true;
	case IMM_8:
		n = 1;
		break;
	case IMM_16:
		n = 2;
		break;
	case IMM_Z:
		n = min(n, 4u);
		break;
	case IMM_V:
		break;
	case IMM_MOFFS:
		if (!take(c, insn->adsize, &at))
			return false;
		insn->disp = get_signed(at, insn->adsize);
		return true;
	case IMM_16_8:
		n = 2;
		fallthrough;
	case IMM_8_8:
	case IMM_PTR:
		if (OF_IMM_KIND(flags) == IMM_8_8)
			n = 1;
		if (!take(c, n, &at))
			return false;
		insn->imm = get_signed(at, n);
		n = OF_IMM_KIND(flags) == IMM_PTR ? 2 : 1;
		if (!take(c, n, &at))
			return false;
		second = get_signed(at, n);
		insn->imm2 = n == 1 ? (u8)second : (u16)second;
		return true;
	}
	if (!take(c, n, &at))
		return false;
	insn->imm = get_signed(at, n);
	return true;
}

/* Register forms of 0F 01, by ModRM byte from C0. */
static const u8 op_0f01[64] = {
	[0x01] = MEZZ_OP_VMCALL, [0x02] = MEZZ_OP_VIRT, [0x03] = MEZZ_OP_VIRT,
	[0x04] = MEZZ_OP_VIRT, [0x08] = MEZZ_OP_MONITOR, [0x09] = MEZZ_OP_MWAIT,
	[0x0a] = MEZZ_OP_OTHER, [0x0b] = MEZZ_OP_OTHER, [0x10] = MEZZ_OP_XGETBV,
	[0x11] = MEZZ_OP_XSETBV, [0x14] = MEZZ_OP_VIRT, [0x15] = MEZZ_OP_OTHER,
	[0x16] = MEZZ_OP_OTHER, [0x18] = MEZZ_OP_VIRT, [0x19] = MEZZ_OP_VMMCALL,
	[0x1a] = MEZZ_OP_VIRT, [0x1b] = MEZZ_OP_VIRT, [0x1c] = MEZZ_OP_VIRT,
	[0x1d] = MEZZ_OP_VIRT, [0x1e] = MEZZ_OP_VIRT, [0x1f] = MEZZ_OP_VIRT,
	[0x20 ... 0x27] = MEZZ_OP_SMSW, [0x2e] = MEZZ_OP_OTHER, [0x2f] = MEZZ_OP_OTHER,
	[0x30 ... 0x37] = MEZZ_OP_LMSW, [0x38] = MEZZ_OP_OTHER, [0x39] = MEZZ_OP_RDTSCP,
	[0x3a] = MEZZ_OP_MONITOR, [0x3b] = MEZZ_OP_MWAIT, [0x3c] = MEZZ_OP_OTHER,
};

/* VEX, after its first byte: rewrites rex, prefix, opcode map. */
static int vex(struct mezz_insn *insn, struct cursor *c, u8 first, const struct mezz_opcode **e)
{
	static const u8 pp[4] = { 0, MEZZ_PFX_OPSIZE, MEZZ_PFX_REP, MEZZ_PFX_REPNE };
	const u8 *at;
	u8 b;

	if (insn->rex || (insn->prefix & (MEZZ_PFX_OPSIZE | MEZZ_PFX_LOCK | MEZZ_PFX_REP |
					  MEZZ_PFX_REPNE)))
		return MEZZ_DECODE_UD;
	if (!take(c, 1, &at))
		return MEZZ_DECODE_MORE;
	b = *at;
	insn->map = 1;
	insn->rex = (~b >> 5) & 4;
	if (first == 0xc4) {
		insn->map = b & 31;
		insn->rex = (~b >> 5) & 7;
		if (!take(c, 1, &at))
			return MEZZ_DECODE_MORE;
		b = *at;
		insn->rex |= (b >> 4) & 8;
	}
	insn->vvvv = (~b >> 3) & 15;
	if (insn->mode != MEZZ_MODE_LONG64) {
		insn->rex &= 8;
		insn->vvvv &= 7;
	}
	insn->prefix |= MEZZ_PFX_VEX | pp[b & 3] | (b & 4 ? MEZZ_PFX_VEX_L : 0);
	if (!take(c, 1, &at))
		return MEZZ_DECODE_MORE;
	insn->opcode = *at;
	switch (insn->map) {
	case 1:
		*e = &mezz_opcode_0f[insn->opcode];
		return MEZZ_DECODE_OK;
	case 2:
		*e = &mezz_opcode_38[insn->opcode];
		return MEZZ_DECODE_OK;
	case 3:
		*e = &mezz_opcode_3a[insn->opcode];
		return MEZZ_DECODE_OK;
	default:
		return MEZZ_DECODE_UNKNOWN;
	}
}

/* Opcode maps behind 0F. */
static int escape(struct mezz_insn *insn, struct cursor *c, const struct mezz_opcode **e)
{
	const u8 *at;

	if (!take(c, 1, &at))
		return MEZZ_DECODE_MORE;
	insn->opcode = *at;
	insn->map = 1;
	if (*at != 0x38 && *at != 0x3a) {
		*e = &mezz_opcode_0f[*at];
		return MEZZ_DECODE_OK;
	}
	insn->map = *at == 0x38 ? 2 : 3;
	if (!take(c, 1, &at))
		return MEZZ_DECODE_MORE;
	insn->opcode = *at;
	*e = insn->map == 2 ? &mezz_opcode_38[*at] : &mezz_opcode_3a[*at];
	return MEZZ_DECODE_OK;
}

/* Resolve groups and alternatives; ModRM is known. */
static void resolve(const struct mezz_insn *insn, struct mezz_opcode *o)
{
	while (o->flags & (OF_GROUP | OF_BYPFX | OF_BYMOD | OF_BYMODE)) {
		const struct mezz_opcode *s = &mezz_opcode_sub[o->sub];

		if (o->flags & OF_GROUP)
			s += (insn->modrm >> 3) & 7;
		else if (o->flags & OF_BYPFX)
			s += insn->prefix & MEZZ_PFX_REPNE ? 3 :
			     insn->prefix & MEZZ_PFX_REP ? 2 :
			     insn->prefix & MEZZ_PFX_OPSIZE ? 1 : 0;
		else if (o->flags & OF_BYMOD)
			s += insn->modrm >= 0xc0;
		else
			s += insn->mode == MEZZ_MODE_LONG64;
		o->op = s->op;
		o->sub = s->sub;
		if (s->dst)
			o->dst = s->dst;
		if (s->src)
			o->src = s->src;
		o->flags = (o->flags & ~(OF_GROUP | OF_BYPFX | OF_BYMOD | OF_BYMODE)) | s->flags;
	}
}

/* Opcodes whose meaning the tables cannot say. */
static void special(struct mezz_insn *insn, struct mezz_opcode *o)
{
	if (insn->map == 0) {
		/* 90: NOP, PAUSE, or XCHG R8 with rAX. */
		if (insn->rex & 1) {
			o->op = MEZZ_OP_XCHG;
			o->dst = SPEC_Z;
			o->src = SPEC_A;
		} else if (insn->prefix & MEZZ_PFX_REP) {
			o->op = MEZZ_OP_PAUSE;
		}
		return;
	}
	/* 0F 01 */
	if (insn->modrm < 0xc0)
		return;
	o->op = op_0f01[insn->modrm & 63];
	o->flags = OF_MODRM;
	o->src = SPEC_NONE;
	o->dst = o->op == MEZZ_OP_SMSW || o->op == MEZZ_OP_LMSW ? SPEC_E : SPEC_NONE;
}

/* Rules that hold once everything is known. */
static __always_inline int check(struct mezz_insn *insn, const struct mezz_opcode *o)
{
	bool real = insn->mode <= MEZZ_MODE_VM86;

	if (unlikely(o->flags & (OF_UD | OF_NO64 | OF_PROT | OF_BRANCH))) {
		if (o->flags & OF_UD)
			return MEZZ_DECODE_UD;
		if ((o->flags & OF_NO64) && insn->mode == MEZZ_MODE_LONG64)
			return MEZZ_DECODE_UD;
		if ((o->flags & OF_PROT) && real)
			return MEZZ_DECODE_UD;
		if ((o->flags & OF_BRANCH) && insn->mode == MEZZ_MODE_LONG64 && insn->opsize == 2)
			return MEZZ_DECODE_UNKNOWN;
	}
	if (o->op == MEZZ_OP_INVALID)
		return MEZZ_DECODE_UNKNOWN;
	if (unlikely(insn->prefix & (MEZZ_PFX_LOCK | MEZZ_PFX_VEX))) {
		if ((insn->prefix & MEZZ_PFX_VEX) && !(o->flags & OF_VEX))
			return MEZZ_DECODE_UNKNOWN;
		/* AMD: LOCK MOV CR0 is MOV CR8 (APM 3, "MOV CRn"). */
		if ((insn->prefix & MEZZ_PFX_LOCK) && o->op == MEZZ_OP_MOV_CR) {
			u8 *cr = insn->dst == MEZZ_OPND_CREG ? &insn->dst_reg : &insn->src_reg;

			if (*cr)
				return MEZZ_DECODE_UD;
			*cr = 8;
		} else if ((insn->prefix & MEZZ_PFX_LOCK) &&
			   (!(o->flags & OF_LOCK) || insn->dst != MEZZ_OPND_MEM)) {
			return MEZZ_DECODE_UD;
		}
	}
	return MEZZ_DECODE_OK;
}

/* After the opcode: ModRM, displacement, immediate, operands. */
static __always_inline int body(struct mezz_insn *insn, struct cursor *c,
				const struct mezz_opcode *e)
{
	struct mezz_opcode o = *e;
	const u8 *at;

	if (o.flags & OF_MODRM) {
		if (!take(c, 1, &at))
			return MEZZ_DECODE_MORE;
		insn->modrm = *at;
	}
	if (o.flags & (OF_GROUP | OF_BYPFX | OF_BYMOD | OF_BYMODE))
		resolve(insn, &o);
	if (o.flags & OF_SPECIAL)
		special(insn, &o);
	insn->op = o.op;
	sizes(insn, o.flags);
	if ((o.flags & OF_MODRM) && insn->modrm < 0xc0) {
		bool ok;

		/* MOV CR and DR ignore mod: no address follows. */
		if (o.op == MEZZ_OP_MOV_CR || o.op == MEZZ_OP_MOV_DR)
			ok = true;
		else if (insn->adsize == 2)
			ok = modrm_mem16(insn, c, insn->modrm >> 6);
		else
			ok = modrm_mem(insn, c, insn->modrm >> 6);
		if (!ok)
			return MEZZ_DECODE_MORE;
	}
	if (!immediate(insn, c, o.flags))
		return MEZZ_DECODE_MORE;
	if ((o.flags & OF_VEC) && !OF_MSIZE_LOG(o.flags) && o.dst != SPEC_E && o.src != SPEC_E)
		insn->msize = insn->prefix & MEZZ_PFX_VEX_L ? 32 : 16;
	if (!operand(insn, o.dst, &insn->dst, &insn->dst_reg) ||
	    !operand(insn, o.src, &insn->src, &insn->src_reg))
		return MEZZ_DECODE_UD;
	return check(insn, &o);
}

int mezz_decode(struct mezz_insn *insn, const u8 *bytes, unsigned int len, enum mezz_cpu_mode mode)
{
	struct cursor c = { .p = bytes, .end = bytes + min_t(unsigned int, len, MEZZ_MAX_INSN) };
	const struct mezz_opcode *e;
	const u8 *at;
	int rc = MEZZ_DECODE_MORE;
	u8 b;

	memset(insn, 0, sizeof(*insn));
	insn->mode = mode;
	insn->seg = MEZZ_SEG_DS;
	insn->base = MEZZ_GPR_NONE;
	insn->index = MEZZ_GPR_NONE;

	for (;;) {
		if (!take(&c, 1, &at))
			goto out;
		b = *at;
		e = &mezz_opcode_1[b];
		if (likely(!(e->flags & (OF_PREFIX | OF_REX))))
			break;
		if (e->flags & OF_PREFIX) {
			insn->rex = 0;
			legacy_prefix(insn, b);
		} else if (mode == MEZZ_MODE_LONG64) {
			insn->rex = b;
		} else {
			break;
		}
	}
	if (mode == MEZZ_MODE_LONG64)
		insn->adsize = insn->prefix & MEZZ_PFX_ADSIZE ? 4 : 8;
	else
		insn->adsize = (mode == MEZZ_MODE_PROT32) != !!(insn->prefix & MEZZ_PFX_ADSIZE) ?
			       4 : 2;
	insn->opcode = b;
	if (unlikely(b == 0x0f)) {
		rc = escape(insn, &c, &e);
		if (rc)
			goto out;
	} else if (unlikely((b & 0xfe) == 0xc4)) {
		bool is_vex = mode == MEZZ_MODE_LONG64;

		rc = MEZZ_DECODE_MORE;
		if (c.p == c.end)
			goto out;
		if (mode > MEZZ_MODE_VM86 && *c.p >= 0xc0)
			is_vex = true;
		if (is_vex) {
			rc = vex(insn, &c, b, &e);
			if (rc)
				goto out;
		}
	}
	rc = body(insn, &c, e);
out:
	insn->len = c.p - bytes;
	if (unlikely(rc == MEZZ_DECODE_MORE) && len >= MEZZ_MAX_INSN)
		return MEZZ_DECODE_TOO_LONG;
	return rc;
}
