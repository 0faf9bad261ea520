// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions that touch MMIO, against the same instructions on RAM, where the
 * CPU executes them: registers, flags and memory must come out alike. MMIO is
 * mmio_ram, which the test program keeps (vcpu_mmio_ram).
 *
 * Each case is a stub: RBX and RSI point to the operand, RDI 64 bytes after it;
 * all else is given by the seed. See CASE.
 */
#include "test.h"

#define FLAGS_ALL   0x8d5u /* OF SF ZF AF PF CF */
#define FLAGS_NO_AF 0x8c5u
#define FLAGS_SHIFT 0x0c5u /* neither AF nor OF: defined for one bit only */
#define FLAGS_CF    0x001u
#define FLAGS_ZF    0x040u
#define FLAGS_NONE  0u

struct emu {
	const char *name;
	void (*stub)(void);
	uint32_t flags;
	uint32_t not_on; /* this driver reports an emulation failure */
} __attribute__((aligned(32)));

enum { NOT_ON_KVM = 1, NOT_ON_MEZZ = 2 };

#define CASE_(id, text, mask, not_on)       \
	asm(".pushsection .text\n"          \
	    "emu_" #id ": " text "\n ret\n" \
	    ".popsection\n");               \
	void emu_##id(void);                \
	static const struct emu case_##id   \
		__attribute__((used, section("emu_cases"))) = { text, emu_##id, mask, not_on };
#define CASE(id, text, mask)	 CASE_(id, text, mask, 0)
#define CASE_NEW(id, text, mask) CASE_(id, text, mask, NOT_ON_KVM)
#define CASE_KVM(id, text, mask) CASE_(id, text, mask, NOT_ON_MEZZ)

extern const struct emu __start_emu_cases[], __stop_emu_cases[];

/* MOV and its kin */
CASE(mov_b_store, "movb %al, (%rbx)", FLAGS_ALL)
CASE(mov_w_store, "movw %ax, 2(%rbx)", FLAGS_ALL)
CASE(mov_l_store, "movl %ecx, 4(%rbx)", FLAGS_ALL)
CASE(mov_q_store, "movq %r8, 8(%rbx)", FLAGS_ALL)
CASE(mov_b_load, "movb (%rbx), %al", FLAGS_ALL)
CASE(mov_h_load, "movb (%rbx), %ah", FLAGS_ALL)
CASE(mov_h_store, "movb %ch, 3(%rbx)", FLAGS_ALL)
CASE(mov_r9b, "movb %r9b, 3(%rbx)", FLAGS_ALL)
CASE(mov_w_load, "movw 2(%rbx), %r9w", FLAGS_ALL)
CASE(mov_l_load, "movl 4(%rbx), %eax", FLAGS_ALL)
CASE(mov_q_load, "movq 8(%rbx), %r10", FLAGS_ALL)
CASE(mov_imm_b, "movb $0x5a, (%rbx)", FLAGS_ALL)
CASE(mov_imm_w, "movw $0x5aa5, (%rbx)", FLAGS_ALL)
CASE(mov_imm_l, "movl $0x12345678, (%rbx)", FLAGS_ALL)
CASE(mov_imm_q, "movq $-2, (%rbx)", FLAGS_ALL)
CASE(movzx_b_w, "movzbw (%rbx), %ax", FLAGS_ALL)
CASE(movzx_b_l, "movzbl (%rbx), %eax", FLAGS_ALL)
CASE(movzx_b_q, "movzbq (%rbx), %r8", FLAGS_ALL)
CASE(movzx_w_l, "movzwl 2(%rbx), %eax", FLAGS_ALL)
CASE(movsx_b_w, "movsbw (%rbx), %ax", FLAGS_ALL)
CASE(movsx_b_l, "movsbl 1(%rbx), %eax", FLAGS_ALL)
CASE(movsx_w_q, "movswq 2(%rbx), %rax", FLAGS_ALL)
CASE(movsxd, "movslq 4(%rbx), %rax", FLAGS_ALL)
CASE(movbe_l, "movbe 4(%rbx), %eax", FLAGS_ALL)
CASE(movbe_s, "movbe %rax, 8(%rbx)", FLAGS_ALL)
CASE(movnti, "movnti %rax, 8(%rbx)", FLAGS_ALL)
CASE(cmov_yes, "cmp %rax, %rax; cmove 8(%rbx), %rcx", FLAGS_ALL)
CASE(cmov_no, "cmp %rax, %rax; cmovnel 8(%rbx), %ecx", FLAGS_ALL)
CASE(setcc, "stc; setc 5(%rbx)", FLAGS_ALL)
CASE(push, "push 8(%rbx); pop %rax", FLAGS_ALL)
CASE(pop, "push %rcx; pop 16(%rbx)", FLAGS_ALL)
CASE(mov_sreg_s, "mov %ds, 6(%rbx)", FLAGS_ALL)

/* Addressing */
CASE(sib, "mov $3, %ecx; movl 8(%rbx,%rcx,4), %eax", FLAGS_ALL)
CASE(sib_neg, "mov $-1, %rcx; movl 16(%rbx,%rcx,8), %eax", FLAGS_ALL)
CASE(sib_no_base, "lea (,%rbx), %rcx; movl 4(,%rcx,1), %eax", FLAGS_ALL)
CASE(disp32, "movl 0x1000-0x1000+12(%rbx), %eax", FLAGS_ALL)
CASE(addr32, "movl 4(%ebx), %eax", FLAGS_ALL)
CASE(r13_base, "mov %rbx, %r13; movl %eax, (%r13)", FLAGS_ALL)
CASE(r12_base, "mov %rbx, %r12; movl %eax, (%r12)", FLAGS_ALL)
CASE(rbp_base, "mov %rbx, %rbp; movl %eax, 4(%rbp)", FLAGS_ALL)

/* Arithmetic, both directions */
CASE(add_m_r, "addb %al, (%rbx)", FLAGS_ALL)
CASE(add_r_m, "addq (%rbx), %rax", FLAGS_ALL)
CASE(add_imm, "addl $0x7fffffff, 4(%rbx)", FLAGS_ALL)
CASE(add_imm8, "addq $-3, 8(%rbx)", FLAGS_ALL)
CASE(adc_m_r, "stc; adcw %ax, (%rbx)", FLAGS_ALL)
CASE(sbb_m_r, "stc; sbbl %eax, (%rbx)", FLAGS_ALL)
CASE(sbb_r_m, "stc; sbbb 3(%rbx), %al", FLAGS_ALL)
CASE(sub_m_r, "subq %rax, (%rbx)", FLAGS_ALL)
CASE(sub_r_m, "subl (%rbx), %ecx", FLAGS_ALL)
CASE(cmp_m_r, "cmpw %ax, (%rbx)", FLAGS_ALL)
CASE(cmp_r_m, "cmpq (%rbx), %rax", FLAGS_ALL)
CASE(cmp_imm, "cmpb $0x80, (%rbx)", FLAGS_ALL)
CASE(and_m_r, "andl %eax, (%rbx)", FLAGS_NO_AF)
CASE(and_r_m, "andb (%rbx), %al", FLAGS_NO_AF)
CASE(or_m_r, "orq %rax, (%rbx)", FLAGS_NO_AF)
CASE(or_imm, "orw $0x8001, (%rbx)", FLAGS_NO_AF)
CASE(xor_m_r, "xorb %cl, 7(%rbx)", FLAGS_NO_AF)
CASE(xor_r_m, "xorl (%rbx), %eax", FLAGS_NO_AF)
CASE(test_m_r, "testl %eax, (%rbx)", FLAGS_NO_AF)
CASE(test_imm, "testb $0x81, (%rbx)", FLAGS_NO_AF)
CASE(inc_b, "incb (%rbx)", FLAGS_ALL)
CASE(inc_q, "stc; incq 8(%rbx)", FLAGS_ALL)
CASE(dec_w, "decw (%rbx)", FLAGS_ALL)
CASE(not_l, "notl (%rbx)", FLAGS_ALL)
CASE(neg_q, "negq (%rbx)", FLAGS_ALL)
CASE(mul_b, "mulb (%rbx)", 0x801)
CASE(mul_q, "mulq (%rbx)", 0x801)
CASE(imul_1, "imull (%rbx)", 0x801)
CASE(imul_2, "imulq (%rbx), %rax", 0x801)
CASE(imul_3, "imull $-77, (%rbx), %eax", 0x801)
CASE(div_l, "xor %edx, %edx; mov $77, %eax; divl 32(%rbx)", FLAGS_NONE)
CASE(idiv_q, "mov $-7, %rax; cqto; idivq 32(%rbx)", FLAGS_NONE)
CASE(shl_1, "shlb (%rbx)", FLAGS_NO_AF)
CASE(shr_i, "shrl $5, (%rbx)", FLAGS_SHIFT)
CASE(sar_cl, "mov $9, %cl; sarq %cl, (%rbx)", FLAGS_SHIFT)
CASE(rol_i, "rolw $3, (%rbx)", FLAGS_CF)
CASE(rcr_1, "stc; rcrl (%rbx)", 0x801)
CASE(shld, "shld $7, %rax, (%rbx)", FLAGS_SHIFT)
CASE(shrd_cl, "mov $3, %cl; shrd %cl, %eax, (%rbx)", FLAGS_SHIFT)

/* Bits */
CASE(bt_imm, "btl $5, (%rbx)", FLAGS_CF)
CASE(bts_imm, "btsw $11, (%rbx)", FLAGS_CF)
CASE(btr_imm, "btrq $40, (%rbx)", FLAGS_CF)
CASE(btc_imm, "btcl $0, (%rbx)", FLAGS_CF)
CASE(bts_far, "mov $77, %rax; bts %rax, (%rbx)", FLAGS_CF)
CASE(bts_neg, "mov $-3, %rax; bts %rax, 16(%rbx)", FLAGS_CF)
CASE(btr_far, "mov $45, %eax; btr %eax, (%rbx)", FLAGS_CF)
CASE(bsf, "bsf (%rbx), %rax", FLAGS_ZF)
CASE(bsr, "bsr (%rbx), %eax", FLAGS_ZF)

/* Atomic */
CASE(xchg_b, "xchgb %al, (%rbx)", FLAGS_ALL)
CASE(xchg_q, "xchgq %rax, (%rbx)", FLAGS_ALL)
CASE(xadd, "lock xaddl %eax, (%rbx)", FLAGS_ALL)
CASE(lock_add, "lock addq %rax, (%rbx)", FLAGS_ALL)
CASE(lock_bts, "lock btsl $9, (%rbx)", FLAGS_CF)
CASE(lock_not, "lock notb (%rbx)", FLAGS_ALL)
CASE(cmpxchg_no, "lock cmpxchgl %ecx, (%rbx)", FLAGS_ALL)
CASE(cmpxchg_yes, "mov 64(%rdi), %rax; mov (%rbx), %rax; cmpxchgq %rcx, (%rbx)", FLAGS_ALL)
CASE(cmpxchg8b,
     "mov (%rbx), %eax; mov 4(%rbx), %edx; push %rbx; mov %rbx, %r14\n"
     "mov $0x77, %ebx; mov $0x88, %ecx; lock cmpxchg8b (%r14); pop %rbx",
     FLAGS_ZF)

/* Strings */
CASE(movsb, "cld; movsb", FLAGS_ALL)
CASE(movsq, "cld; movsq", FLAGS_ALL)
CASE(rep_movsb, "cld; mov $13, %ecx; rep movsb", FLAGS_ALL)
CASE(rep_movsl, "cld; mov $7, %ecx; rep movsl", FLAGS_ALL)
CASE(rep_movsq_down, "std; mov $3, %ecx; add $32, %rsi; add $32, %rdi; rep movsq; cld", FLAGS_ALL)
CASE(stosb, "cld; stosb", FLAGS_ALL)
CASE(rep_stosl, "cld; mov $5, %ecx; rep stosl", FLAGS_ALL)
CASE(rep_stosq, "cld; mov $4, %ecx; rep stosq", FLAGS_ALL)
CASE(lodsb, "cld; lodsb", FLAGS_ALL)
CASE(rep_lodsw, "cld; mov $3, %ecx; rep lodsw", FLAGS_ALL)
CASE(scasb, "cld; mov $60, %ecx; mov 5(%rdi), %al; repne scasb", FLAGS_ALL)
CASE(cmpsb, "cld; mov $20, %ecx; repe cmpsb", FLAGS_ALL)
CASE(rep_zero, "xor %ecx, %ecx; rep stosq", FLAGS_ALL)

/* Vectors */
CASE(movups_load, "movups (%rbx), %xmm1; movups %xmm1, 64(%rbx)", FLAGS_ALL)
CASE(movaps, "movaps 16(%rbx), %xmm2; movaps %xmm2, 48(%rbx)", FLAGS_ALL)
CASE(movdqa, "movdqa 16(%rbx), %xmm9; movdqa %xmm9, 32(%rbx)", FLAGS_ALL)
CASE(movdqu, "movdqu 3(%rbx), %xmm2; movdqu %xmm2, 33(%rbx)", FLAGS_ALL)
CASE(movntps, "movups (%rbx), %xmm0; movntps %xmm0, 16(%rbx)", FLAGS_ALL)
CASE_KVM(movq_mmx, "movq (%rbx), %mm1; movq %mm1, 24(%rbx); emms", FLAGS_ALL)
CASE_NEW(movd, "movd 4(%rbx), %xmm1; movd %xmm1, 12(%rbx)", FLAGS_ALL)
CASE_NEW(movq_xmm, "movq 8(%rbx), %xmm1; movq %xmm1, 24(%rbx)", FLAGS_ALL)
CASE_NEW(movss, "movss 4(%rbx), %xmm1; movss %xmm1, 12(%rbx)", FLAGS_ALL)
CASE_NEW(movsd, "movsd 8(%rbx), %xmm1; movsd %xmm1, 24(%rbx)", FLAGS_ALL)

struct result {
	uint64_t gpr[10]; /* rax rcx rdx rbx rsi rdi r8 r9 r10 rflags */
};

void emu_call(struct result *r, void (*stub)(void));
asm(".pushsection .text\n"
    "emu_call:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "push %rdi\n"
    "mov %rsi, %r15; mov %rdi, %r11\n"
    "mov 0(%r11), %rax; mov 8(%r11), %rcx; mov 16(%r11), %rdx; mov 24(%r11), %rbx\n"
    "mov 32(%r11), %rsi; mov 40(%r11), %rdi; mov 48(%r11), %r8; mov 56(%r11), %r9\n"
    "mov 64(%r11), %r10\n"
    "push $2; popf\n"
    "call *%r15\n"
    "pushf; pop %r15\n"
    "pop %r11\n"
    "mov %rax, 0(%r11); mov %rcx, 8(%r11); mov %rdx, 16(%r11); mov %rbx, 24(%r11)\n"
    "mov %rsi, 32(%r11); mov %rdi, 40(%r11); mov %r8, 48(%r11); mov %r9, 56(%r11)\n"
    "mov %r10, 64(%r11); mov %r15, 72(%r11)\n"
    "cld\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "ret\n"
    ".popsection\n");

#define AREA 256u

static uint8_t ram[AREA] __attribute__((aligned(64)));
static uint8_t start[AREA];
static volatile unsigned int emu_number;
static bool on_kvm;

static void fill(struct result *r, uint8_t *memory, uint64_t base, unsigned int seed)
{
	uint64_t x = 0x9e3779b97f4a7c15 * (seed + 1);

	for (unsigned int i = 0; i < AREA; i++) {
		x = x * 6364136223846793005 + 1442695040888963407;
		start[i] = memory[i] = seed == 1 ? 0xff : seed == 2 ? 0x80 : x >> 56;
	}
	start[32] = memory[32] = 5; /* divisors */
	for (unsigned int i = 33; i < 40; i++)
		start[i] = memory[i] = 0;
	for (unsigned int i = 0; i < 9; i++) {
		x = x * 6364136223846793005 + 1442695040888963407;
		r->gpr[i] = seed == 1 ? 1 : x;
	}
	r->gpr[3] = base + 16;
	r->gpr[4] = base + 16;
	r->gpr[5] = base + 80;
}

static void emulate_guest(uint64_t arg)
{
	const struct emu *e;

	(void)arg;
	for (e = __start_emu_cases; e < __stop_emu_cases; e++) {
		emu_number = e - __start_emu_cases;
		if (e->not_on & (on_kvm ? NOT_ON_KVM : NOT_ON_MEZZ))
			continue;
		for (unsigned int seed = 0; seed < 4; seed++) {
			struct result a, b;
			uint64_t where = (uintptr_t)ram;

			fill(&a, ram, where, seed);
			emu_call(&a, e->stub);
			fill(&b, mmio_ram + PAGE, MMIO_BASE + PAGE, seed);
			emu_call(&b, e->stub);
			for (unsigned int i = 0; i < 9; i++) {
				/* Pointers that the stub has made of others */
				if (a.gpr[i] - where < AREA)
					a.gpr[i] -= where;
				if (b.gpr[i] - (MMIO_BASE + PAGE) < AREA)
					b.gpr[i] -= MMIO_BASE + PAGE;
				if (a.gpr[i] != b.gpr[i])
					g_fail(e->name, i, "register (by number)", b.gpr[i],
					       a.gpr[i]);
			}
			if ((a.gpr[9] ^ b.gpr[9]) & e->flags)
				g_fail(e->name, seed, "flags", b.gpr[9], a.gpr[9]);
			for (unsigned int i = 0; i < AREA; i++) {
				if (ram[i] == mmio_ram[PAGE + i])
					continue;
				g_fail(e->name, i, "memory at (line is the offset)",
				       mmio_ram[PAGE + i], ram[i]);
				break;
			}
		}
	}
}

static void run_emulate(struct vcpu *v)
{
	v->on_exit = vcpu_mmio_ram;
	on_kvm = dev_is_kvm();
	if (!vcpu_run(v))
		test_note("in case %u: %s", emu_number, __start_emu_cases[emu_number].name);
	test_note("%u reads, %u writes", mmio_reads, mmio_writes);
}

TEST(same_as_on_ram)
{
	run_emulate(vm_with_guest(0, emulate_guest, 0));
}

/* SSE does not depend on XCR0, which has been left as reset has it: x87 only. */
static void no_sse_in_xcr0_guest(uint64_t arg)
{
	uint32_t regs[4];
	uint64_t cr4;

	g_cpuid(1, 0, regs);
	if (!(regs[2] & 1u << 26)) /* XSAVE */
		return;
	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" : : "r"(cr4 | 1 << 18)); /* OSXSAVE */
	/* Each value is made between two exits. */
	for (uint64_t i = 1; i < 4; i++) {
		asm volatile("movq %0, %%xmm2; punpcklqdq %%xmm2, %%xmm2; movups %%xmm2, (%1)"
			     :
			     : "r"(i * arg), "r"(MMIO_BASE)
			     : "memory");
		G_CHECK_EQ(*(uint64_t *)mmio_ram, i * arg);
		G_CHECK_EQ(*(uint64_t *)(mmio_ram + 8), i * arg);
	}
}

TEST(no_sse_in_xcr0)
{
	struct vcpu *v = vm_with_guest(0, no_sse_in_xcr0_guest, 0x123456789abcdef);

	v->on_exit = vcpu_mmio_ram;
	vcpu_run(v);
}

/* --- reads and writes are as often as they should be --- */

static void often_guest(uint64_t arg)
{
	volatile uint32_t *p = (uint32_t *)(uintptr_t)MMIO_BASE;

	(void)arg;
	asm volatile("addl $1, %0" : "+m"(*p));
	asm volatile("incl %0" : "+m"(*p));
	asm volatile("cmpl $5, %0" : : "m"(*p) : "cc");
	asm volatile("xchgl %1, %0" : "+m"(*p) : "r"(7));
	asm volatile("movl $1, %0" : "=m"(*p));
}

TEST(once_each)
{
	struct vcpu *v = vm_with_guest(0, often_guest, 0);

	v->on_exit = vcpu_mmio_ram;
	vcpu_run(v);
	CHECK_EQ(mmio_reads, 4);
	CHECK_EQ(mmio_writes, 4);
}

/* --- page crossing --- */

static void crossing_guest(uint64_t page)
{
	for (unsigned int i = 0; i < 2 * PAGE; i++)
		mmio_ram[i] = i * 3;
	/* In MMIO, and from RAM to MMIO: a read-modify-write over the boundary */
	for (unsigned int i = 1; i < 8; i++) {
		volatile uint64_t *p = (uint64_t *)(MMIO_BASE + PAGE - i);
		uint64_t was = *(uint64_t *)(mmio_ram + PAGE - i), is = was + 0x0101010101010101;

		asm volatile("addq %1, %0" : "+m"(*p) : "r"(0x0101010101010101));
		G_CHECK_EQ(*(uint64_t *)(mmio_ram + PAGE - i), is);
		p = (uint64_t *)(page + PAGE - i);
		*p = 0x1122334455667788;
		asm volatile("xorq %1, %0" : "+m"(*p) : "r"(-1ull));
		G_CHECK_EQ(*p, ~0x1122334455667788);
	}
	/* REP MOVS out of RAM over a page boundary into MMIO, and back */
	uint64_t si = page + PAGE - 40, di = MMIO_BASE + 2 * PAGE - 20, n = 9;
	uint64_t from[9];

	for (unsigned int i = 0; i < 9; i++)
		from[i] = i * 0x123456789;
	si = (uintptr_t)from;
	asm volatile("rep movsq" : "+S"(si), "+D"(di), "+c"(n) : : "memory");
	G_CHECK_EQ(n, 0);
	si = MMIO_BASE + 2 * PAGE - 20;
	uint64_t to[9] = {};

	di = (uintptr_t)to;
	n = 9;
	asm volatile("rep movsq" : "+S"(si), "+D"(di), "+c"(n) : : "memory");
	for (unsigned int i = 0; i < 9; i++)
		G_CHECK_EQ(to[i], from[i]);
}

TEST(page_crossing)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);

	v->on_exit = vcpu_mmio_ram;
	vm_map(vm, GVA_FREE, vm_alloc(vm, 1), PT_P | PT_W);
	vm_map(vm, GVA_FREE + PAGE, MMIO_BASE + PAGE, PT_P | PT_W);
	vcpu_long_mode(v, crossing_guest, GVA_FREE);
	vcpu_run(v);
}

/* --- faults of the emulated instruction itself --- */

static uint64_t fault_user(uint64_t page)
{
	uint64_t value;

	/* A supervisor page is on the other side. */
	G_CHECK_EQ(G_TRY("movq (%1), %0", "=r"(value) : "r"(page + PAGE - 4)), 14);
	G_CHECK_EQ(g_cpu()->error, 5);
	G_CHECK_EQ(g_cpu()->cr2, page + PAGE);
	return 0;
}

static void fault_guest(uint64_t page)
{
	struct guest_cpu *c = g_cpu();
	uint64_t value = 0, si, di, n;

	/* The first page is MMIO, the second supervisor RAM, the third absent. */
	g_user(fault_user, page);
	/* MOVS from MMIO to memory that is not there, or read-only */
	si = MMIO_BASE, di = page + 2 * PAGE;
	G_CHECK_EQ(G_TRY("movsq", "+S"(si), "+D"(di) :), 14);
	G_CHECK_EQ(c->error, 2);
	G_CHECK_EQ(c->cr2, page + 2 * PAGE);
	G_CHECK_EQ(si, MMIO_BASE);
	di = page + 3 * PAGE;
	G_CHECK_EQ(G_TRY("movsq", "+S"(si), "+D"(di) :), 14);
	G_CHECK_EQ(c->error, 3);
	/* REP stops where it faults. */
	si = MMIO_BASE, di = page + 2 * PAGE - 32, n = 10;
	G_CHECK_EQ(G_TRY("rep movsq", "+S"(si), "+D"(di), "+c"(n) :), 14);
	G_CHECK_EQ(n, 6);
	G_CHECK_EQ(si, MMIO_BASE + 32);
	G_CHECK_EQ(di, page + 2 * PAGE);
	/* Pushing MMIO to a stack that is not there */
	asm volatile("mov %%rsp, %%r12\n"
		     "lea 1f(%%rip), %%r11; mov %%r11, %%gs:8\n"
		     "xor %%eax, %%eax\n"
		     "pushq (%1)\n"
		     "1: mov %%r12, %%rsp"
		     : "=a"(value)
		     : "r"((uint64_t)MMIO_BASE)
		     : "r11", "r12", "memory");
	/* Non-canonical */
	si = 0x8000000000000000, di = page;
	G_CHECK_EQ(G_TRY("movsq", "+S"(si), "+D"(di) :), 13);
	/* Division by what is in MMIO: zero */
	*(uint64_t *)(mmio_ram + 64) = 0;
	G_CHECK_EQ(G_TRY("divq 64(%1)", "=a"(value) : "r"((uint64_t)MMIO_BASE), "d"(0), "a"(1)), 0);
}

TEST(faults)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t page = vm_alloc(vm, 2);

	v->on_exit = vcpu_mmio_ram;
	vm_map(vm, GVA_FREE, MMIO_BASE, PT_P | PT_W | PT_U);
	vm_map(vm, GVA_FREE + PAGE, page, PT_P | PT_W);
	vm_map(vm, GVA_FREE + 3 * PAGE, page + PAGE, PT_P);
	vcpu_long_mode(v, fault_guest, GVA_FREE);
	vcpu_run(v);
}

/* --- MMIO in other modes --- */

asm(".pushsection .rodata\n.code16\n"
    ".globl mmio16, mmio16_end\n"
    "mmio16:\n"
    "mov $0xb800, %ax\n mov %ax, %es\n"
    "mov $0x20, %di\n"
    "movw $0x0741, %es:(%di)\n"
    "mov %es:(%di), %bx\n"
    "mov $4, %cx\n cld\n mov $0x55, %al\n rep stosb\n"
    "addw $1, %es:0x40\n"
    "lock incl %es:(%di)\n"
    "hlt\n"
    "mmio16_end:\n"
    ".code64\n.popsection\n");

static bool low_mmio(struct vcpu *v)
{
	uint64_t at = v->run->mmio.phys_addr - 0xb8000;

	if (v->run->exit_reason != KVM_EXIT_MMIO || at > 0x1000)
		return false;
	if (v->run->mmio.is_write)
		memcpy(mmio_ram + at, v->run->mmio.data, v->run->mmio.len);
	else
		memcpy(v->run->mmio.data, mmio_ram + at, v->run->mmio.len);
	return true;
}

TEST(real_mode)
{
	struct vm *vm = vm_new_bare(0);
	struct vcpu *v = vcpu_new(vm, 0);
	struct kvm_regs r;
	int reason;

	vm->ram_size = 0xa0000;
	vm->ram = host_pages(vm->ram_size);
	vm_slot(vm, 0, 0, 0, vm->ram_size, vm->ram);
	vm_code(vm, 0x8000, mmio16);
	mmio_ram[0x40] = 0xff;
	vcpu_real_mode(v, 0x8000);
	do
		reason = vcpu_run_raw(v);
	while (reason == KVM_EXIT_MMIO && low_mmio(v));
	CHECK_EQ(reason, KVM_EXIT_HLT);
	vcpu_get_regs(v, &r);
	CHECK_EQ(r.rbx & 0xffff, 0x0741);
	CHECK_EQ(r.rdi & 0xffff, 0x24);
	CHECK_EQ(*(uint32_t *)(mmio_ram + 0x20), 0x55555555);
	CHECK_EQ(*(uint16_t *)(mmio_ram + 0x40), 0x100);
	CHECK_EQ(*(uint32_t *)(mmio_ram + 0x24), 1);
}
