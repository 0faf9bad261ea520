// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guests' side of the library: exception and interrupt entry, and the few
 * functions that are too big to be inline. Runs inside guests only, compiled
 * like all guest code without SSE and without a red zone.
 *
 * Known hack: the data of all possible vCPUs are static (about 2 MiB of zeroes
 * that cost nothing until they are used).
 */
#include "test.h"

struct guest_cpu guest_cpus[MAX_VCPUS];

/* One stub of 16 bytes for each vector; those with an error code push none. */
asm(".pushsection .text\n"
    ".balign 16\n"
    ".globl guest_vectors\n"
    "guest_vectors:\n"
    ".set vector, 0\n"
    ".rept 256\n"
    ".balign 16\n"
    ".if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21\n"
    "nop; nop\n"
    ".else\n"
    "pushq $0\n"
    ".endif\n"
    "pushq $vector\n"
    "jmp guest_entry\n"
    ".set vector, vector + 1\n"
    ".endr\n"
    "guest_entry:\n"
    "push %r15; push %r14; push %r13; push %r12; push %r11; push %r10; push %r9; push %r8\n"
    "push %rdi; push %rsi; push %rbp; push %rbx; push %rdx; push %rcx; push %rax\n"
    "cld\n"
    "mov %rsp, %rdi\n"
    "call guest_trap\n"
    "pop %rax; pop %rcx; pop %rdx; pop %rbx; pop %rbp; pop %rsi; pop %rdi; pop %r8\n"
    "pop %r9; pop %r10; pop %r11; pop %r12; pop %r13; pop %r14; pop %r15\n"
    "add $16, %rsp\n"
    "iretq\n"
    ".globl guest_return\n"
    "guest_return:\n"
    "xor %eax, %eax\n"
    "mov $0x7d0, %edx\n"
    "outl %eax, %dx\n"
    "jmp guest_return\n"
    ".popsection\n");

extern char guest_hlt[];

asm(".pushsection .text\n"
    ".globl g_sti_hlt_cli, guest_hlt\n"
    "g_sti_hlt_cli: sti\n"
    "guest_hlt: hlt\n"
    "cli\n"
    "ret\n"
    ".popsection\n");

/*
 * guest_user(): RDI the function, RSI its argument, RDX where RSP is kept, RCX the
 * stack in ring 3, R8 RFLAGS
 */
#define USER_RETURN 0xf0

asm(".pushsection .text\n"
    ".globl guest_user, guest_user_back\n"
    "guest_user:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "mov %rsp, (%rdx)\n"
    "lea user_call(%rip), %rax\n"
    "pushq $0x3b; push %rcx\n"
    "push %r8\n"
    "pushq $0x43; push %rax\n"
    "iretq\n"
    "user_call: mov %rdi, %rax; mov %rsi, %rdi; call *%rax; int $0xf0\n"
    "guest_user_back:\n"
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "ret\n"
    ".popsection\n");

uint64_t guest_user(uint64_t (*fn)(uint64_t), uint64_t arg, uint64_t *rsp, void *stack,
		    uint64_t rflags);
extern char guest_user_back[];

uint64_t g_user_flags(uint64_t (*fn)(uint64_t), uint64_t arg, uint64_t rflags)
{
	struct guest_cpu *cpu = g_cpu();

	return guest_user(fn, arg, &cpu->kernel_rsp, cpu->user_stack + sizeof(cpu->user_stack),
			  rflags);
}

uint64_t g_user(uint64_t (*fn)(uint64_t), uint64_t arg)
{
	return g_user_flags(fn, arg, g_rflags() | 0x3000);
}

void guest_trap(struct guest_regs *r);

void guest_trap(struct guest_regs *r)
{
	struct guest_cpu *cpu = g_cpu();

	if (r->vector >= 32 && r->rip == (uintptr_t)guest_hlt)
		r->rip++;
	if (cpu->handler[r->vector]) {
		cpu->irqs[r->vector]++;
		cpu->handler[r->vector](r);
		return;
	}
	if (r->vector < 32 && cpu->fixup) {
		cpu->vector = r->vector;
		cpu->error = r->error;
		cpu->fault_rip = r->rip;
		if (r->vector == 14)
			cpu->cr2 = G_READ_CR(2);
		r->rip = cpu->fixup;
		cpu->fixup = 0;
		return;
	}
	if (r->vector == USER_RETURN && (r->cs & 3)) {
		r->rip = (uintptr_t)guest_user_back;
		r->cs = SEL_CODE64;
		r->ss = 0;
		r->rsp = cpu->kernel_rsp;
		return;
	}
	if (r->vector >= 32) {
		cpu->irqs[r->vector]++;
		return;
	}
	g_fail("guest", (int)r->vector, "RIP of an unexpected exception (line is its vector)",
	       r->rip, r->vector == 14 ? G_READ_CR(2) : r->error);
	for (;;)
		g_done();
}

void g_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want)
{
	struct guest_cpu *cpu = g_cpu();

	cpu->fail_file = file;
	cpu->fail_line = line;
	cpu->fail_what = what;
	cpu->got = got;
	cpu->want = want;
	g_outl(PORT_FAIL, 0);
}

void g_on_irq_no_eoi(struct guest_regs *r)
{
	(void)r;
}

void g_on_irq_eoi(struct guest_regs *r)
{
	(void)r;
	g_apic_write(APIC_EOI, 0);
}

void g_on_irq_x2eoi(struct guest_regs *r)
{
	(void)r;
	g_wrmsr(MSR_X2APIC(APIC_EOI), 0);
}

bool g_wait_for(volatile uint64_t *counter, uint64_t n, uint64_t limit)
{
	while (*counter < n) {
		if (!limit--)
			return false;
		g_pause();
	}
	return true;
}
