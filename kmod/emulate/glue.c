// SPDX-License-Identifier: GPL-2.0-only
/*
 * Joins the emulator to a vCPU: from an exit to a decoded instruction, and
 * from an executed one back to registers, events and buses.
 *
 * The instruction's bytes are fetched in fetch.c, its memory and device
 * accesses are in access.c. A plain MOV on which the CPU faulted, as drivers
 * use for their doorbells, is settled in simple_mov() without the executor.
 *
 * Known hacks: task switches are not emulated. An instruction that is not
 * known in user mode raises #UD there, as in-tree KVM does; in the guest's
 * kernel it ends in KVM_EXIT_INTERNAL_ERROR.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "cpu/cpu.h"
#include "emulate/emulate.h"
#include "emulate/exec_int.h"
#include "emulate/glue.h"
#include "irq/irq.h"

/* Iterations of a string instruction in one go, outside a section. */
#define REP_MAX		64

#define DR6_BD		BIT_ULL(13)

int mezz_emul_create(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	unsigned int i;

	if (!s)
		return -ENOMEM;
	v->emul = s;
	s->v = v;
	s->pio_buf = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!s->pio_buf)
		return -ENOMEM;
	s->e.ops = &emul_ops;
	s->e.r = v->r;
	s->e.pio_buf = s->pio_buf;
	s->code_mode = -1;
	for (i = 0; i < EMUL_CODE_PAGES; i++)
		s->pages[i].page = ~0ull;
	return 0;
}

void mezz_emul_destroy(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;

	if (!s)
		return;
	v->emul = NULL;
	if (s->pio_buf)
		free_page((unsigned long)s->pio_buf);
	kfree(s);
}

/*
 * User space may read and write back the registers while it answers an access
 * (QEMU does): the instruction goes on then. It ends when RIP has moved.
 */
void mezz_emul_forget(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;

	s->retry = false;
	if (s->busy && mezz_get(v, MEZZ_RIP) != s->rip)
		s->busy = false;
}

/* --- what is not emulated --- */

/* Layout of kvm_run->emulation_failure: flags, bytes, then words for people. */
static int internal_error(struct mezz_vcpu *v)
{
	struct kvm_run *run = v->run;
	unsigned int n = v->emul->code_len;
	u64 info[3];

	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->emulation_failure.flags =
		n ? KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES : 0;
	run->emulation_failure.insn_size = n;
	/* Behind the last byte there are NOPs. */
	memset(run->emulation_failure.insn_bytes, 0x90,
	       sizeof(run->emulation_failure.insn_bytes));
	memcpy(run->emulation_failure.insn_bytes, v->emul->code, n);
	mezz_engine->exit_info(v, &info[0], &info[1], &info[2]);
	/* After flags and the 16 bytes of size and instruction. */
	memcpy(&run->internal.data[3], info, sizeof(info));
	run->emulation_failure.ndata = 3 + ARRAY_SIZE(info);
	return MEZZ_USER;
}

static int fail(struct mezz_vcpu *v)
{
	v->stat[MEZZ_STAT_insn_emulation_fails]++;
	mezz_queue_ud(v);
	return mezz_engine->cpl(v) ? MEZZ_RESUME : internal_error(v);
}

/* An exit in the middle of an event's delivery, on account of its own accesses. */
static int delivery_error(struct mezz_vcpu *v, u64 gpa)
{
	u64 data[4];

	mezz_engine->exit_info(v, &data[0], &data[1], &data[2]);
	data[3] = gpa;
	return mezz_internal_error(v, KVM_INTERNAL_ERROR_DELIVERY_EV, data, ARRAY_SIZE(data));
}

/* --- executing --- */

static int queue_fault(struct mezz_vcpu *v, const struct mezz_emul_fault *f)
{
	if (f->vector == PF_VECTOR)
		mezz_queue_pf(v, f->err, f->cr2);
	else if (f->vector == DB_VECTOR)
		mezz_queue_db(v, DR6_BD);	/* only debug register accesses raise it */
	else
		mezz_queue_exception(v, f->vector, f->has_err, f->err);
	return MEZZ_RESUME;
}

/* What the executor changed in any case: iterations that are complete. */
static void write_back(struct mezz_vcpu *v, const struct mezz_emul *e)
{
	if (e->written & BIT(MEZZ_RSP))
		mezz_set(v, MEZZ_RSP, e->r[MEZZ_RSP]);
	if (e->rflags != mezz_get(v, MEZZ_RFLAGS))
		mezz_set(v, MEZZ_RFLAGS, e->rflags);
}

static int retire(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;
	struct mezz_emul *e = &s->e;

	write_back(v, e);
	mezz_set(v, MEZZ_RIP, e->rip);
	if (unlikely(e->insn.op == MEZZ_OP_IRET))
		mezz_engine->set_nmi_mask(v, false);
	if (unlikely(e->shadow || mezz_engine->get_shadow(v)))
		mezz_engine->set_shadow(v, e->shadow);
	if (unlikely(e->trap || (v->guest_debug & KVM_GUESTDBG_SINGLESTEP)))
		mezz_singlestep(v);
	return emul_flush(v);
}

/* Type and descriptor are checked, then everything is dropped (SDM 2, "INVPCID"). */
static int do_invpcid(struct mezz_vcpu *v, struct mezz_emul *e)
{
	u64 desc[2], type = e->r[e->insn.dst_reg], la;
	int rc;

	if (e->cpl)
		return emul_gp(e);
	rc = emul_linear(e, e->insn.seg, emul_offset(e), 16, MEZZ_EMUL_READ, &la);
	if (!rc)
		rc = e->ops->read(e, la, desc, 16, MEZZ_EMUL_READ);
	if (rc)
		return rc;
	if (type > 3 || (type < 2 && desc[0] >> 12) ||
	    (type < 2 && desc[0] && !(e->cr4 & X86_CR4_PCIDE)))
		return emul_gp(e);
	e->ops->invlpg(e, desc[1]);
	return MEZZ_EMUL_OK;
}

/*
 * Instructions that the executor does not have, because to a virtual CPU they
 * are nothing: caches are coherent, waiting may end at any time.
 */
static int exec_other(struct mezz_vcpu *v, struct mezz_emul *e)
{
	const struct mezz_insn *i = &e->insn;
	int rc = MEZZ_EMUL_OK;

	e->written = 0;
	e->shadow = 0;
	e->trap = false;
	switch (i->op) {
	case MEZZ_OP_WBINVD:
	case MEZZ_OP_INVD:
		if (e->cpl)
			rc = emul_gp(e);
		break;
	case MEZZ_OP_MONITOR:
	case MEZZ_OP_MWAIT:
		if (e->cpl || !mezz_mwait_defined(v))
			rc = emul_ud(e);
		break;
	case MEZZ_OP_PAUSE:
		break;
	case MEZZ_OP_INVPCID:
		rc = do_invpcid(v, e);
		break;
	case MEZZ_OP_OTHER:
		/* CLFLUSH, CLFLUSHOPT, and CLWB: 0F AE /7, 66 0F AE /6 */
		if (i->map == 1 && i->opcode == 0xae && i->modrm < 0xc0 &&
		    (i->modrm >> 3 == 7 ||
		     (i->modrm >> 3 == 6 && (i->prefix & MEZZ_PFX_OPSIZE))))
			break;
		return MEZZ_EMUL_UNKNOWN;
	default:
		return MEZZ_EMUL_UNKNOWN;
	}
	if (rc)
		return rc;
	e->trap = e->rflags & FL_TF;
	e->rflags &= ~FL_RF;
	e->rip += i->len;
	if (i->mode != MEZZ_MODE_LONG64)
		e->rip = (u32)e->rip;
	return MEZZ_EMUL_OK;
}

static void load_state(struct mezz_vcpu *v, struct mezz_emul *e)
{
	mezz_get(v, MEZZ_RSP);
	e->rip = mezz_get(v, MEZZ_RIP);
	e->rflags = mezz_get(v, MEZZ_RFLAGS);
	e->cr0 = mezz_get(v, MEZZ_CR0);
	e->cr4 = mezz_get(v, MEZZ_CR4);
	e->efer = mezz_get(v, MEZZ_EFER);
	e->xcr0 = v->xcr0;
	e->cpl = mezz_engine->cpl(v);
	e->rep_max = v->atomic ? 1 : REP_MAX;
}

int emul_execute(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;
	struct mezz_emul *e = &s->e;
	int rc;

	if (unlikely(s->software)) {
		rc = emul_exit_insn(v);
		if (rc != MEZZ_SLOW)
			return rc;
	}
	load_state(v, e);
	s->nread = 0;
	s->nwrite = 0;
	s->done = 0;
	s->out_count = 0;
	s->exit_tpr = false;
	if (e->insn.op <= MEZZ_OP_LAST_EXEC)
		rc = mezz_emul_exec(e);
	else
		rc = exec_other(v, e);
	switch (rc) {
	case MEZZ_EMUL_OK:
		return retire(v);
	case MEZZ_EMUL_FAULT:
		write_back(v, e);
		return queue_fault(v, &e->fault);
	case MEZZ_EMUL_EXIT:
		write_back(v, e);
		s->busy = true;
		s->rip = e->rip;
		return MEZZ_USER;
	case MEZZ_EMUL_AGAIN:
		write_back(v, e);
		s->rip = e->rip;
		s->retry = v->atomic;
		/* Outside a section it was a lost race: the guest tries again. */
		return v->atomic ? MEZZ_SLOW : MEZZ_RESUME;
	default:
		return fail(v);
	}
}

int emul_continue(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;

	if (!s->busy || mezz_get(v, MEZZ_RIP) != s->rip)
		return MEZZ_RESUME;
	s->busy = false;
	return emul_execute(v);
}

/* --- from the exit --- */

/*
 * MOV between a register, or an immediate, and the place of the fault. The CPU
 * has made all checks before it got there. MEZZ_SLOW: not for me.
 */
static int simple_mov(struct mezz_vcpu *v, struct mezz_emul *e)
{
	struct mezz_emul_vcpu *s = v->emul;
	const struct mezz_insn *i = &e->insn;
	unsigned int size = i->opsize;
	u64 la, val = 0;

	if (i->base == MEZZ_GPR_SP || (mezz_get(v, MEZZ_RFLAGS) & X86_EFLAGS_RF))
		return MEZZ_SLOW;
	e->rip = mezz_get(v, MEZZ_RIP);
	mezz_emul_ea(e, &la);
	if (((la ^ s->gpa) & ~PAGE_MASK) || offset_in_page(la) + size > PAGE_SIZE)
		return MEZZ_SLOW;
	if (i->dst == MEZZ_OPND_MEM && s->gpa_write) {
		if (i->src == MEZZ_OPND_IMM)
			val = i->imm;
		else if (i->src == MEZZ_OPND_REG && i->src_reg != MEZZ_GPR_SP)
			val = emul_get_reg(e, i->src_reg, size);
		else
			return MEZZ_SLOW;
		if (!mezz_mmio_write(v, s->gpa, size, &val)) {
			s->write[0].gpa = s->gpa;
			s->write[0].len = size;
			memcpy(s->write[0].data, &val, 8);
			s->nwrite = 0;
			mezz_skip(v, i->len);
			return emul_exit_mmio_write(v, &s->write[0]);
		}
	} else if (i->src == MEZZ_OPND_MEM && i->dst == MEZZ_OPND_REG && !s->gpa_write &&
		   i->dst_reg != MEZZ_GPR_SP) {
		if (!mezz_mmio_read(v, s->gpa, size, &val))
			return MEZZ_SLOW;
		emul_set_reg(e, i->dst_reg, val, size);
	} else {
		return MEZZ_SLOW;
	}
	mezz_skip(v, i->len);
	return MEZZ_RESUME;
}

/* Could this instruction have caused a fault on data? */
static bool touches_memory(const struct mezz_insn *i)
{
	/* MOV to a segment register: its descriptor */
	return i->dst == MEZZ_OPND_MEM || i->src == MEZZ_OPND_MEM || i->op == MEZZ_OP_MOV_SREG ||
	       (i->op >= MEZZ_OP_MOVS && i->op <= MEZZ_OP_RET) || i->op > MEZZ_OP_VMOVH;
}

static int cannot_decode(struct mezz_vcpu *v, int r)
{
	switch (r) {
	case -EAGAIN:
		return v->atomic ? MEZZ_SLOW : MEZZ_RESUME;
	case -EINTR:
		return MEZZ_RESUME;
	case MEZZ_DECODE_UD:
		mezz_queue_ud(v);
		return MEZZ_RESUME;
	case MEZZ_DECODE_TOO_LONG:
		mezz_queue_gp(v, 0);
		return MEZZ_RESUME;
	default:
		return fail(v);
	}
}

int mezz_emulate(struct mezz_vcpu *v, u64 gpa, bool write)
{
	struct mezz_emul_vcpu *s = v->emul;
	bool retry = s->retry && s->rip == mezz_get(v, MEZZ_RIP);
	int r;

	s->retry = false;
	if (unlikely(v->ev.exc.injected || v->ev.irq.injected || v->ev.nmi_injected))
		return delivery_error(v, gpa);
	r = emul_decode(v);
	if (unlikely(r != MEZZ_DECODE_OK))
		return cannot_decode(v, r);
	s->gpa = gpa;
	s->gpa_write = write;
	if (!retry) {
		v->stat[MEZZ_STAT_insn_emulations]++;
		s->busy = false;
		s->nlog = 0;
		s->pio_ready = false;
	}
	if (gpa != MEZZ_NO_GPA) {
		if (s->e.insn.op == MEZZ_OP_MOV) {
			r = simple_mov(v, &s->e);
			if (r != MEZZ_SLOW)
				return r;
		} else if (unlikely(!touches_memory(&s->e.insn))) {
			/* The code has changed since: let the CPU look again. */
			mezz_request(v, MEZZ_REQ_TLB_FLUSH);
			return MEZZ_RESUME;
		}
	}
	return emul_execute(v);
}
