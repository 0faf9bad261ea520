// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the executor reaches through its callbacks: memory, ports, control and
 * debug registers, segments, vector registers.
 *
 * Memory is tried as RAM first; where there is none, it is I/O, offered to the
 * in-kernel devices and then to user space. How an instruction that needs user
 * space is executed again without doing anything twice: exec.h. kvm_run is
 * never trusted: sizes and addresses stay in struct mezz_emul_vcpu.
 *
 * Known hacks: a locked access to RAM that is not naturally aligned is not
 * atomic. One to I/O memory is a read and a write.
 */
#include <linux/mm.h>
#include <linux/string.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "cpu/cpu.h"
#include "emulate/emulate.h"
#include "emulate/exec_int.h"
#include "emulate/glue.h"
#include "host/host.h"
#include "irq/irq.h"
#include "mmu/mmu.h"

#define DR7_GD	BIT_ULL(13)

static struct mezz_emul_vcpu *state(struct mezz_emul *e)
{
	return container_of(e, struct mezz_emul_vcpu, e);
}

/* --- addresses --- */

/* The part of an access that lies in one page. */
struct part {
	u64 gpa;
	unsigned int len;
};

/*
 * The CPU has already translated the memory operand on which it faulted. Only
 * for instructions that have no other, nor a stack or a descriptor to look at.
 */
static bool only_operand(const struct mezz_insn *i)
{
	return (i->op <= MEZZ_OP_CMOVCC && i->op != MEZZ_OP_MOV_SREG) ||
	       (i->op >= MEZZ_OP_VMOV && i->op <= MEZZ_OP_VMOVH);
}

static bool faulted_there(const struct mezz_emul_vcpu *s, u64 la, unsigned int len, bool write)
{
	unsigned int first = offset_in_page(la), at = offset_in_page(s->gpa);

	return s->gpa != MEZZ_NO_GPA && (s->gpa_write || !write) && first <= at &&
	       at < first + len && first + len <= PAGE_SIZE && only_operand(&s->e.insn);
}

static int translate(struct mezz_emul_vcpu *s, u64 la, u32 access, u64 *gpa)
{
	u32 how = access & MEZZ_EMUL_WRITE ? MEZZ_WALK_WRITE : 0;
	struct mezz_emul *e = &s->e;
	struct mezz_walk w;

	emul_walk_init(s->v, &w);
	if (!(access & MEZZ_EMUL_SYSTEM)) {
		w.ac = e->rflags & FL_AC;
		if (e->cpl == 3)
			how |= MEZZ_WALK_USER;
	}
	switch (mezz_walk(&w, la, how)) {
	case MEZZ_WALK_OK:
		*gpa = w.gpa;
		return MEZZ_EMUL_OK;
	case MEZZ_WALK_FAULT:
		return mezz_emul_raise_pf(e, w.err, la);
	case MEZZ_WALK_AGAIN:
		return MEZZ_EMUL_AGAIN;
	default:
		return MEZZ_EMUL_UNKNOWN;
	}
}

/* Both pages of an access are translated before anything is accessed. */
static int translate_range(struct mezz_emul_vcpu *s, u64 la, unsigned int len, u32 access,
			   struct part p[2])
{
	u64 next;
	int rc;

	p[0].len = min_t(unsigned int, len, PAGE_SIZE - offset_in_page(la));
	p[1].len = len - p[0].len;
	if (faulted_there(s, la, len, access & MEZZ_EMUL_WRITE)) {
		p[0].gpa = (s->gpa & PAGE_MASK) | offset_in_page(la);
		return MEZZ_EMUL_OK;
	}
	rc = translate(s, la, access, &p[0].gpa);
	if (rc || !p[1].len)
		return rc;
	next = la + p[0].len;
	if (s->e.insn.mode != MEZZ_MODE_LONG64)
		next = (u32)next;
	return translate(s, next, access, &p[1].gpa);
}

/* --- I/O memory --- */

static int complete_mmio_read(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;
	struct emul_io *io = &s->log[s->nlog];

	if (s->busy && s->nlog < EMUL_MAX_IO) {
		memcpy(io->data, v->run->mmio.data, io->len);
		s->nlog++;
	}
	return emul_continue(v);
}

/* One read of at most 8 bytes, from the log or from its device. */
static int io_read(struct mezz_emul_vcpu *s, u64 gpa, void *buf, unsigned int len)
{
	struct mezz_vcpu *v = s->v;
	struct kvm_run *run = v->run;
	struct emul_io *io;

	if (s->nread == EMUL_MAX_IO)
		return MEZZ_EMUL_UNKNOWN;
	io = &s->log[s->nread];
	/* The guest may have changed its page tables meanwhile. */
	if (s->nread < s->nlog && (io->gpa != gpa || io->len != len))
		s->nlog = s->nread;
	if (s->nread == s->nlog) {
		io->gpa = gpa;
		io->len = len;
		if (!mezz_mmio_read(v, gpa, len, io->data)) {
			run->exit_reason = KVM_EXIT_MMIO;
			run->mmio.phys_addr = gpa;
			run->mmio.len = len;
			run->mmio.is_write = 0;
			v->complete = complete_mmio_read;
			return MEZZ_EMUL_EXIT;
		}
		s->nlog++;
	}
	s->nread++;
	s->e.io = true;
	memcpy(buf, io->data, len);
	return MEZZ_EMUL_OK;
}

static int read_part(struct mezz_emul_vcpu *s, const struct part *p, void *buf)
{
	unsigned int done, n;
	int r = -EFAULT;

	/* A fault on a read, or here on a write, says that there is no RAM. */
	if (s->gpa_write || (s->gpa ^ p->gpa) & PAGE_MASK)
		r = mezz_guest_read(s->v, p->gpa, buf, p->len);
	if (r != -EFAULT)
		return r ? MEZZ_EMUL_AGAIN : MEZZ_EMUL_OK;
	for (done = 0; done < p->len; done += n) {
		n = min(p->len - done, 8u);
		r = io_read(s, p->gpa + done, buf + done, n);
		if (r)
			return r;
	}
	return MEZZ_EMUL_OK;
}

static int queue_write(struct mezz_emul_vcpu *s, u64 gpa, const void *buf, unsigned int len)
{
	struct emul_io *io;
	unsigned int n;

	for (; len; len -= n, gpa += n, buf += n) {
		if (s->nwrite == EMUL_MAX_IO)
			return MEZZ_EMUL_UNKNOWN;
		n = min(len, 8u);
		io = &s->write[s->nwrite++];
		io->gpa = gpa;
		io->len = n;
		memcpy(io->data, buf, n);
	}
	s->e.io = true;
	return MEZZ_EMUL_OK;
}

static int write_part(struct mezz_emul_vcpu *s, const struct part *p, const void *buf)
{
	int r = mezz_guest_write(s->v, p->gpa, buf, p->len);

	if (r == -EFAULT)
		return queue_write(s, p->gpa, buf, p->len);
	return r ? MEZZ_EMUL_AGAIN : MEZZ_EMUL_OK;
}

/* --- memory callbacks --- */

static int cb_read(struct mezz_emul *e, u64 la, void *buf, unsigned int len, u32 access)
{
	struct mezz_emul_vcpu *s = state(e);
	struct part p[2];
	int rc = translate_range(s, la, len, access, p);

	if (!rc)
		rc = read_part(s, &p[0], buf);
	if (!rc && p[1].len)
		rc = read_part(s, &p[1], buf + p[0].len);
	return rc;
}

static int cb_write(struct mezz_emul *e, u64 la, const void *buf, unsigned int len)
{
	struct mezz_emul_vcpu *s = state(e);
	struct part p[2];
	int rc = translate_range(s, la, len, MEZZ_EMUL_WRITE, p);

	if (!rc)
		rc = write_part(s, &p[0], buf);
	if (!rc && p[1].len)
		rc = write_part(s, &p[1], buf + p[0].len);
	return rc;
}

static int cb_cmpxchg(struct mezz_emul *e, u64 la, void *old, const void *new, unsigned int len,
		      u32 access)
{
	struct mezz_emul_vcpu *s = state(e);
	struct part p[2];
	int rc = translate_range(s, la, len, access | MEZZ_EMUL_WRITE, p), r;

	if (rc)
		return rc;
	if (la & (len - 1)) {
		/* @old is what was read in this execution. */
		rc = write_part(s, &p[0], new);
		if (!rc && p[1].len)
			rc = write_part(s, &p[1], new + p[0].len);
		return rc;
	}
	r = mezz_guest_cmpxchg(s->v, p[0].gpa, old, new, len);
	if (r == -EFAULT)
		return queue_write(s, p[0].gpa, new, len);
	return r ? MEZZ_EMUL_AGAIN : MEZZ_EMUL_OK;
}

static int cb_probe(struct mezz_emul *e, u64 la, unsigned int len, u32 access)
{
	struct mezz_emul_vcpu *s = state(e);
	bool write = access & MEZZ_EMUL_WRITE;
	struct part p[2];
	int rc = translate_range(s, la, len, access, p);

	if (rc)
		return rc;
	if (!mezz_gfn_hva(s->v->vm, p[0].gpa >> PAGE_SHIFT, write) ||
	    (p[1].len && !mezz_gfn_hva(s->v->vm, p[1].gpa >> PAGE_SHIFT, write)))
		return MEZZ_EMUL_EXIT;
	return MEZZ_EMUL_OK;
}

/* --- ports --- */

static int complete_pio_in(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;

	if (s->busy) {
		memcpy(s->pio_buf, v->pio_data, v->complete_size);
		s->pio_ready = true;
	}
	return emul_continue(v);
}

static void exit_io(struct mezz_vcpu *v, u16 port, unsigned int size, unsigned int count,
		    bool in)
{
	struct kvm_run *run = v->run;

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = count;
	run->io.data_offset = PAGE_SIZE;
}

static int cb_pio_in(struct mezz_emul *e, u16 port, unsigned int size, unsigned int count,
		     void *buf)
{
	struct mezz_emul_vcpu *s = state(e);
	struct mezz_vcpu *v = s->v;
	unsigned int i;

	e->io = true;
	if (!s->pio_ready) {
		for (i = 0; i < count; i++)
			if (!mezz_pio_read(v, port, size, s->pio_buf + i * size))
				break;
		if (!i) {
			exit_io(v, port, size, count, true);
			v->complete = complete_pio_in;
			v->complete_size = size * count;
			return MEZZ_EMUL_EXIT;
		}
		/* A device that takes some and not others: as an empty bus. */
		memset(s->pio_buf + i * size, 0xff, (count - i) * size);
		s->pio_ready = true;
	}
	if (buf != s->pio_buf)
		memcpy(buf, s->pio_buf, size * count);
	return MEZZ_EMUL_OK;
}

static int cb_pio_out(struct mezz_emul *e, u16 port, unsigned int size, unsigned int count,
		      const void *buf)
{
	struct mezz_emul_vcpu *s = state(e);

	if (buf != s->pio_buf)
		memcpy(s->pio_buf, buf, size * count);
	s->out_port = port;
	s->out_size = size;
	s->out_count = count;
	s->out_done = 0;
	e->io = true;
	return MEZZ_EMUL_OK;
}

static int read_system(struct mezz_emul_vcpu *s, u64 la, void *buf, unsigned int len)
{
	struct part p[2];
	int rc = translate_range(s, la, len, MEZZ_EMUL_READ | MEZZ_EMUL_SYSTEM, p), r;

	if (rc)
		return rc;
	r = mezz_guest_read(s->v, p[0].gpa, buf, p[0].len);
	if (!r && p[1].len)
		r = mezz_guest_read(s->v, p[1].gpa, buf + p[0].len, p[1].len);
	if (!r)
		return MEZZ_EMUL_OK;
	return r == -EAGAIN ? MEZZ_EMUL_AGAIN : MEZZ_EMUL_UNKNOWN;
}

/* SDM 1, "I/O Permission Bit Map" */
static int cb_io_allowed(struct mezz_emul *e, u16 port, unsigned int size)
{
	struct mezz_emul_vcpu *s = state(e);
	u16 map, bits, mask = (1u << size) - 1;
	struct kvm_segment tr;
	int rc;

	mezz_engine->get_segment(s->v, MEZZ_TR, &tr);
	/* Only 32- and 64-bit TSSs have one. */
	if (tr.unusable || !tr.present || (tr.type & ~2u) != 9 || tr.limit < 103)
		return mezz_emul_raise(e, VEC_GP, 0);
	rc = read_system(s, tr.base + 102, &map, 2);
	if (rc)
		return rc;
	if (map + port / 8u + 1 > tr.limit)
		return mezz_emul_raise(e, VEC_GP, 0);
	rc = read_system(s, tr.base + map + port / 8, &bits, 2);
	if (rc)
		return rc;
	if (bits >> (port & 7) & mask)
		return mezz_emul_raise(e, VEC_GP, 0);
	return MEZZ_EMUL_OK;
}

/* --- after the instruction --- */

static int complete_flush(struct mezz_vcpu *v)
{
	return emul_flush(v);
}

static int complete_out(struct mezz_vcpu *v);

/*
 * Items that nobody in the kernel takes go to user space: all together, or one by
 * one if an ioeventfd may want some of them.
 */
static int flush_out(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;
	unsigned int size = s->out_size, n;

	for (; s->out_count; s->out_count--, s->out_done++)
		if (!mezz_pio_write(v, s->out_port, size, s->pio_buf + s->out_done * size))
			break;
	if (!s->out_count)
		return MEZZ_RESUME;
	n = mezz_pio_watched(v, s->out_port) ? 1 : s->out_count;
	memcpy(v->pio_data, s->pio_buf + s->out_done * size, n * size);
	exit_io(v, s->out_port, size, n, false);
	s->out_count -= n;
	s->out_done += n;
	if (s->out_count)
		v->complete = complete_out;
	return MEZZ_USER;
}

static int complete_out(struct mezz_vcpu *v)
{
	return flush_out(v);
}

int emul_exit_mmio_write(struct mezz_vcpu *v, const struct emul_io *io)
{
	struct kvm_run *run = v->run;

	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = io->gpa;
	run->mmio.len = io->len;
	run->mmio.is_write = 1;
	memcpy(run->mmio.data, io->data, sizeof(run->mmio.data));
	return MEZZ_USER;
}

int emul_flush(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;
	const struct emul_io *io;

	while (s->done < s->nwrite) {
		io = &s->write[s->done++];
		if (likely(mezz_mmio_write(v, io->gpa, io->len, io->data)))
			continue;
		if (s->done < s->nwrite)
			v->complete = complete_flush;
		return emul_exit_mmio_write(v, io);
	}
	if (s->out_count)
		return flush_out(v);
	if (unlikely(s->exit_tpr)) {
		s->exit_tpr = false;
		v->run->exit_reason = KVM_EXIT_SET_TPR;
		return MEZZ_USER;
	}
	return MEZZ_RESUME;
}

/* --- registers --- */

static void cb_get_seg(struct mezz_emul *e, unsigned int seg, struct mezz_emul_seg *out)
{
	struct kvm_segment k;

	mezz_engine->get_segment(state(e)->v, seg, &k);
	out->base = k.base;
	out->limit = k.limit;
	out->sel = k.selector;
	out->type = k.type;
	out->dpl = k.dpl;
	out->usable = k.present && !k.unusable;
	out->s = k.s;
	out->avl = k.avl;
	out->l = k.l;
	out->db = k.db;
}

static void cb_set_seg(struct mezz_emul *e, unsigned int seg, const struct mezz_emul_seg *in)
{
	const struct kvm_segment k = {
		.base = in->base,
		.limit = in->limit,
		.selector = in->sel,
		.type = in->type,
		.present = in->usable,
		.dpl = in->dpl,
		.db = in->db,
		.s = in->s,
		.l = in->l,
		.g = in->limit >> 20 ? 1 : 0,
		.avl = in->avl,
		.unusable = !in->usable,
	};

	mezz_engine->set_segment(state(e)->v, seg, &k);
}

static int cb_read_cr(struct mezz_emul *e, unsigned int n, u64 *val)
{
	struct mezz_vcpu *v = state(e)->v;

	switch (n) {
	case 0:
		*val = mezz_get(v, MEZZ_CR0);
		break;
	case 2:
		*val = mezz_get(v, MEZZ_CR2);
		break;
	case 3:
		*val = mezz_get(v, MEZZ_CR3);
		break;
	case 4:
		*val = mezz_get(v, MEZZ_CR4);
		break;
	default:
		*val = mezz_get_cr8(v);
		break;
	}
	return MEZZ_EMUL_OK;
}

static int cb_write_cr(struct mezz_emul *e, unsigned int n, u64 val)
{
	struct mezz_vcpu *v = state(e)->v;
	int bad = 0;

	switch (n) {
	case 0:
		bad = mezz_set_cr0(v, val);
		break;
	case 2:
		mezz_set(v, MEZZ_CR2, val);
		break;
	case 3:
		bad = mezz_set_cr3(v, val);
		break;
	case 4:
		bad = mezz_set_cr4(v, val);
		break;
	default:
		bad = mezz_set_cr8(v, val);
		/* User space has the LAPIC: it wants to know. */
		state(e)->exit_tpr = !bad && !v->lapic;
		break;
	}
	return bad ? mezz_emul_raise(e, VEC_GP, 0) : MEZZ_EMUL_OK;
}

/* DR7.GD: the access itself traps (SDM 3, "Debug Control Register (DR7)"). */
static int dr_access(struct mezz_emul *e, int bad)
{
	switch (bad) {
	case 0:
		return MEZZ_EMUL_OK;
	case 1:
		return mezz_emul_raise(e, VEC_GP, 0);
	default:
		return mezz_emul_raise(e, VEC_UD, 0);
	}
}

static int cb_read_dr(struct mezz_emul *e, unsigned int n, u64 *val)
{
	struct mezz_vcpu *v = state(e)->v;

	if (mezz_get(v, MEZZ_DR7) & DR7_GD)
		return mezz_emul_raise(e, DB_VECTOR, 0);
	return dr_access(e, mezz_get_dr(v, n, val));
}

static int cb_write_dr(struct mezz_emul *e, unsigned int n, u64 val)
{
	struct mezz_vcpu *v = state(e)->v;

	if (mezz_get(v, MEZZ_DR7) & DR7_GD)
		return mezz_emul_raise(e, DB_VECTOR, 0);
	return dr_access(e, mezz_set_dr(v, n, val));
}

static void cb_get_dt(struct mezz_emul *e, bool idt, u64 *base, u16 *limit)
{
	struct kvm_dtable dt;

	mezz_engine->get_dt(state(e)->v, idt, &dt);
	*base = dt.base;
	*limit = dt.limit;
}

static int cb_set_dt(struct mezz_emul *e, bool idt, u64 base, u16 limit)
{
	struct kvm_dtable dt = { .base = base, .limit = limit };
	unsigned int shift = e->cr4 & C4_LA57 ? 7 : 16;

	if (e->insn.mode == MEZZ_MODE_LONG64 &&
	    (u64)((s64)(base << shift) >> shift) != base)
		return mezz_emul_raise(e, VEC_GP, 0);
	mezz_engine->set_dt(state(e)->v, idt, &dt);
	return MEZZ_EMUL_OK;
}

static void cb_invlpg(struct mezz_emul *e, u64 la)
{
	(void)la;
	mezz_request(state(e)->v, MEZZ_REQ_TLB_FLUSH);
}

static void cb_get_vec(struct mezz_emul *e, unsigned int n, void *buf)
{
	mezz_fpu_get_vec(state(e)->v, n, buf, 32);
}

static void cb_set_vec(struct mezz_emul *e, unsigned int n, const void *buf)
{
	mezz_fpu_set_vec(state(e)->v, n, buf, 32);
}

const struct mezz_emul_ops emul_ops = {
	.read = cb_read,
	.write = cb_write,
	.cas = cb_cmpxchg,
	.probe = cb_probe,
	.pio_in = cb_pio_in,
	.pio_out = cb_pio_out,
	.io_allowed = cb_io_allowed,
	.get_seg = cb_get_seg,
	.set_seg = cb_set_seg,
	.read_cr = cb_read_cr,
	.write_cr = cb_write_cr,
	.read_dr = cb_read_dr,
	.write_dr = cb_write_dr,
	.get_dt = cb_get_dt,
	.set_dt = cb_set_dt,
	.invlpg = cb_invlpg,
	.get_vec = cb_get_vec,
	.set_vec = cb_set_vec,
};
