// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instruction fetch: where the code at RIP is, and how long an instruction.
 *
 * Without the hardware's help, every exit for CPUID, RDMSR, HLT and their like
 * comes here, so translations of code pages are cached. The guest changes its
 * page tables without an exit; but a translation is a function of nothing but
 * control registers, slots, and the values of the table entries on its way. A
 * cached one remembers where these entries are and what they held, and counts
 * only while they still hold it: four loads in place of a walk.
 *
 * Known hacks: code segment limits are not checked, the CPU did that. The CPU
 * may have executed through a stale TLB entry; then the opcode differs from
 * what the exit says, the TLB is flushed and the instruction runs again.
 */
#include <linux/mm.h>
#include <linux/srcu.h>
#include <linux/uaccess.h>
#include <asm/processor-flags.h>

#include "cpu/cpu.h"
#include "emulate/emulate.h"
#include "emulate/glue.h"
#include "mmu/mmu.h"

/* emul_code_page.mode: the bits that decide how a fetch is translated. */
#define MODE_CR0	X86_CR0_PG
#define MODE_CR4	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_LA57 | X86_CR4_SMEP)
#define MODE_NXE	BIT(0)	/* neither CR0 nor CR4 use these bits here */
#define MODE_LMA	BIT(1)
#define MODE_USER	BIT(2)

static int walk_read(void *ctx, u64 gpa, u64 *val, unsigned int size)
{
	return mezz_guest_read(ctx, gpa, val, size);
}

static int walk_cmpxchg(void *ctx, u64 gpa, u64 *old, u64 new, unsigned int size)
{
	return mezz_guest_cmpxchg(ctx, gpa, old, &new, size);
}

void emul_walk_init(struct mezz_vcpu *v, struct mezz_walk *w)
{
	w->read = walk_read;
	w->cas = walk_cmpxchg;
	w->ctx = v;
	w->cr0 = mezz_get(v, MEZZ_CR0);
	w->cr3 = mezz_get(v, MEZZ_CR3);
	w->cr4 = mezz_get(v, MEZZ_CR4);
	w->efer = mezz_get(v, MEZZ_EFER);
	w->maxphyaddr = mezz_guest_maxphyaddr(v);
	w->ac = false;
	w->update = true;
}

int mezz_gva_to_gpa(struct mezz_vcpu *v, u64 gva, u64 *gpa)
{
	struct mezz_walk w;

	emul_walk_init(v, &w);
	w.update = false;
	/* A debugger's look: no supervisor is kept from a user's page. */
	w.ac = true;
	if (mezz_walk(&w, gva, 0) != MEZZ_WALK_OK)
		return -EFAULT;
	*gpa = w.gpa;
	return 0;
}

enum mezz_cpu_mode emul_mode(struct mezz_vcpu *v)
{
	unsigned int cs = mezz_engine->cs_mode(v);

	if ((cs & 2) && mezz_long_mode(v))
		return MEZZ_MODE_LONG64;
	if (!mezz_protected(v))
		return MEZZ_MODE_REAL;
	if (mezz_get(v, MEZZ_RFLAGS) & X86_EFLAGS_VM)
		return MEZZ_MODE_VM86;
	return cs & 1 ? MEZZ_MODE_PROT32 : MEZZ_MODE_PROT16;
}

static u64 code_address(struct mezz_vcpu *v, enum mezz_cpu_mode mode)
{
	struct kvm_segment cs;

	if (mode == MEZZ_MODE_LONG64)
		return mezz_get(v, MEZZ_RIP);
	mezz_engine->get_segment(v, MEZZ_CS, &cs);
	return (u32)(cs.base + mezz_get(v, MEZZ_RIP));
}

static __always_inline u64 generation(struct mezz_vcpu *v)
{
	return srcu_dereference(v->vm->slots, &v->vm->srcu)->generation;
}

static __always_inline u32 fetch_mode(struct mezz_vcpu *v)
{
	u64 efer = mezz_get(v, MEZZ_EFER);

	return (mezz_get(v, MEZZ_CR0) & MODE_CR0) | (mezz_get(v, MEZZ_CR4) & MODE_CR4) |
	       (efer & EFER_NX ? MODE_NXE : 0) | (efer & EFER_LMA ? MODE_LMA : 0) |
	       (mezz_engine->cpl(v) == 3 ? MODE_USER : 0);
}

static __always_inline struct emul_code_page *slot_of(struct mezz_vcpu *v, u64 la)
{
	return &v->emul->pages[(la >> PAGE_SHIFT) % EMUL_CODE_PAGES];
}

/* Was @c made for this page, under the registers and slots of now? */
static __always_inline bool matches(struct mezz_vcpu *v, const struct emul_code_page *c, u64 la)
{
	return c->page == la >> PAGE_SHIFT && c->mode == fetch_mode(v) &&
	       c->cr3 == mezz_get(v, MEZZ_CR3) && c->generation == generation(v);
}

/*
 * Read @len bytes at @off of the page, if the table entries are what they
 * were. False also when something of this is paged out.
 */
static __always_inline bool read_cached(const struct emul_code_page *c, unsigned int off,
					u8 *buf, unsigned int len)
{
	const u8 __user *code = (const u8 __user *)(c->hva + off);
	/* Pointers: the check of an index is a call, which may not be made in here. */
	const unsigned long *at = c->at;
	const u64 *entry = c->entry;
	unsigned int i;
	u64 now;
	u32 low;

	if (!user_access_begin(code, len))
		return false;
	if (likely(c->size == 8)) {
		for (i = 0; i < c->n; i++) {
			unsafe_get_user(now, (u64 __user *)at[i], differs);
			if (unlikely(now != entry[i]))
				goto differs;
		}
	} else {
		for (i = 0; i < c->n; i++) {
			unsafe_get_user(low, (u32 __user *)at[i], differs);
			if (unlikely(low != entry[i]))
				goto differs;
		}
	}
	if (len == 4) {
		unsafe_get_user(*(u32 *)buf, (u32 __user *)code, differs);
	} else if (len == 16) {
		unsafe_get_user(*(u64 *)buf, (u64 __user *)code, differs);
		unsafe_get_user(*(u64 *)(buf + 8), (u64 __user *)(code + 8), differs);
	} else {
		for (i = 0; i < len; i++)
			unsafe_get_user(buf[i], code + i, differs);
	}
	user_access_end();
	return true;

differs:
	user_access_end();
	return false;
}

/*
 * Remember a walk, which began with the slots of generation @gen. What has no user address
 * (I/O memory) is not remembered.
 */
static void remember(struct mezz_vcpu *v, const struct mezz_walk *w, u64 la, u64 gen)
{
	struct emul_code_page *c = slot_of(v, la);
	unsigned long hva;
	unsigned int i;

	c->page = ~0ull;
	hva = mezz_gfn_hva(v->vm, w->gpa >> PAGE_SHIFT, false);
	if (!hva)
		return;
	c->hva = hva;
	c->n = w->n;
	c->size = w->size;
	for (i = 0; i < w->n; i++) {
		hva = mezz_gfn_hva(v->vm, w->at[i] >> PAGE_SHIFT, false);
		if (!hva)
			return;
		c->at[i] = hva + (w->at[i] & ~PAGE_MASK);
		c->entry[i] = w->entry[i];
	}
	c->mode = fetch_mode(v);
	c->cr3 = w->cr3;
	c->generation = gen;
	c->page = la >> PAGE_SHIFT;
}

static noinline int read_uncached(struct mezz_vcpu *v, u64 la, u8 *buf, unsigned int len)
{
	u64 gen = generation(v);	/* slots may be replaced while they are looked at */
	u32 access = MEZZ_WALK_EXEC;
	struct mezz_walk w;

	v->stat[MEZZ_STAT_fetch_misses]++;
	emul_walk_init(v, &w);
	if (mezz_engine->cpl(v) == 3)
		access |= MEZZ_WALK_USER;
	switch (mezz_walk(&w, la, access)) {
	case MEZZ_WALK_OK:
		break;
	case MEZZ_WALK_FAULT:
		mezz_queue_pf(v, w.err, la);
		return -EINTR;
	case MEZZ_WALK_AGAIN:
		return -EAGAIN;
	default:
		return -EFAULT;
	}
	remember(v, &w, la, gen);
	return mezz_guest_read(v, w.gpa, buf, len);
}

/*
 * @len bytes of code at @la, all in one page. 0, -EAGAIN (only in a section, or
 * after lost races), -EFAULT, -EINTR (fault queued).
 */
static __always_inline int read_code(struct mezz_vcpu *v, u64 la, u8 *buf, unsigned int len)
{
	const struct emul_code_page *c = slot_of(v, la);
	bool done;

	if (likely(matches(v, c, la))) {
		pagefault_disable();
		done = read_cached(c, offset_in_page(la), buf, len);
		pagefault_enable();
		if (likely(done))
			return 0;
	}
	return read_uncached(v, la, buf, len);
}

/*
 * Fetch until the instruction is complete, at most 15 bytes from at most two
 * pages. @buf has 16 bytes; *@len says how many are valid.
 */
static int fetch_decode(struct mezz_vcpu *v, struct mezz_insn *insn, enum mezz_cpu_mode mode,
			u8 *buf, unsigned int *len)
{
	u64 la = code_address(v, mode);
	unsigned int room = PAGE_SIZE - offset_in_page(la);
	int r;

	*len = min(room, 16u);
	r = read_code(v, la, buf, *len);
	if (r)
		return r;
	r = mezz_decode(insn, buf, *len, mode);
	if (likely(r != MEZZ_DECODE_MORE))
		return r;
	la += room;
	if (mode != MEZZ_MODE_LONG64)
		la = (u32)la;
	r = read_code(v, la, buf + room, 16 - room);
	if (r)
		return r;
	*len = 16;
	return mezz_decode(insn, buf, 16, mode);
}

int emul_decode(struct mezz_vcpu *v)
{
	struct mezz_emul_vcpu *s = v->emul;
	enum mezz_cpu_mode mode = emul_mode(v);
	u64 buf[2] = { 0, 0 };
	unsigned int len;
	u64 la;
	int r;

	len = mezz_engine->insn_bytes(v, (u8 *)buf);
	if (!len) {
		la = code_address(v, mode);
		if (likely(offset_in_page(la) <= PAGE_SIZE - 16)) {
			r = read_code(v, la, (u8 *)buf, 16);
			if (unlikely(r))
				return r;
			len = 16;
		}
	}
	/* The same bytes again, as a driver's doorbell: nothing to decode. */
	if (len >= 15 && buf[0] == s->code[0] && buf[1] == s->code[1] && s->code_mode == mode)
		return MEZZ_DECODE_OK;
	s->code_mode = -1;
	s->code_len = 0;
	r = len ? mezz_decode(&s->e.insn, (u8 *)buf, len, mode) : MEZZ_DECODE_MORE;
	if (r == MEZZ_DECODE_MORE) {
		r = fetch_decode(v, &s->e.insn, mode, (u8 *)buf, &len);
		if (r < 0)
			return r;
	}
	s->code[0] = buf[0];
	s->code[1] = buf[1];
	s->code_len = min(len, 15u);
	if (r == MEZZ_DECODE_OK && len >= 15)
		s->code_mode = mode;
	return r;
}

/* Prefixes, a page boundary, or other bytes than expected. */
static noinline int insn_len_slow(struct mezz_vcpu *v, enum mezz_cpu_mode mode, u32 op,
				  unsigned int op_len)
{
	struct mezz_insn insn;
	unsigned int len;
	u8 buf[16];
	int r;

	r = fetch_decode(v, &insn, mode, buf, &len);
	if (r < 0)
		return r == -EAGAIN && v->atomic ? 0 : r;
	/* The opcode is all there is after the prefixes. */
	if (r == MEZZ_DECODE_OK && insn.len >= op_len &&
	    !memcmp(buf + insn.len - op_len, &op, op_len))
		return insn.len;
	/* The code is not what the CPU executed: let it look again. */
	mezz_request(v, MEZZ_REQ_TLB_FLUSH);
	return -ESTALE;
}

/*
 * The vendors' instructions differ in the last byte alone, so another vCPU that executes
 * this one finds either of them. Nothing is written if the byte is another by now, or
 * cannot be written; that is no harm.
 */
static void rewrite_hypercall(struct mezz_vcpu *v, u64 la, const struct mezz_insn *insn)
{
	const u8 *native = &mezz_engine->hypercall[2];
	u32 access = MEZZ_WALK_WRITE;
	u8 old = insn->modrm;
	struct mezz_walk w;

	if (old == *native)
		return;
	la += insn->len - 1;
	if (insn->mode != MEZZ_MODE_LONG64)
		la = (u32)la;
	if (mezz_engine->cpl(v) == 3)
		access |= MEZZ_WALK_USER;
	emul_walk_init(v, &w);
	if (mezz_walk(&w, la, access) == MEZZ_WALK_OK)
		mezz_guest_cmpxchg(v, w.gpa, &old, native, 1);
}

int mezz_hypercall_len(struct mezz_vcpu *v, bool fix)
{
	enum mezz_cpu_mode mode = emul_mode(v);
	struct mezz_insn insn;
	unsigned int len;
	u8 buf[16];
	int r;

	r = fetch_decode(v, &insn, mode, buf, &len);
	if (r < 0)
		return r;
	if (r != MEZZ_DECODE_OK || (insn.op != MEZZ_OP_VMCALL && insn.op != MEZZ_OP_VMMCALL))
		return 0;
	if (fix)
		rewrite_hypercall(v, code_address(v, mode), &insn);
	return insn.len;
}

int mezz_insn_len_fetched(struct mezz_vcpu *v, u32 op, unsigned int op_len)
{
	enum mezz_cpu_mode mode = emul_mode(v);
	u32 bytes;
	u64 la;
	int r;

	la = code_address(v, mode);
	if (likely(offset_in_page(la) <= PAGE_SIZE - 4)) {
		r = read_code(v, la, (u8 *)&bytes, 4);
		if (unlikely(r))
			return r == -EAGAIN && v->atomic ? 0 : r;
		if (likely(!((bytes ^ op) << (32 - 8 * op_len))))
			return op_len;
	}
	return insn_len_slow(v, mode, op, op_len);
}
