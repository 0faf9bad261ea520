// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_SET_GUEST_DEBUG: single steps, breakpoints in software and hardware; and
 * the guest's own debug registers and trap flag, with and without a debugger.
 */
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include "test.h"

extern char step_code[], step_end[], bp_insn[], watch_insn[], watch_after[];

asm(".pushsection .text\n"
    "step_guest:\n"
    "step_code:\n"
    "nop\n"
    "mov $1, %eax\n"
    "add $2, %eax\n"
    "mov $0, %eax\n"
    "cpuid\n"
    "nop\n"
    "jmp 1f\n"
    "nop\n"
    "1: push %rax\n"
    "pop %rcx\n"
    "bp_insn: mov $5, %edx\n"
    "mov $0x11, %r8d\n"
    "watch_insn: mov %edx, watched(%rip)\n"
    "watch_after: mov watched(%rip), %r9d\n"
    "step_end: ret\n"
    ".popsection\n");

void step_guest(uint64_t arg);
volatile uint32_t watched __attribute__((aligned(8)));

static void set_debug(struct vcpu *v, uint32_t control)
{
	struct kvm_guest_debug d = { .control = control };

	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &d);
}

static void set_breakpoint(struct vcpu *v, uint64_t address, uint64_t dr7)
{
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP };

	d.arch.debugreg[0] = address;
	d.arch.debugreg[7] = dr7;
	vcpu_ioctl(v, KVM_SET_GUEST_DEBUG, &d);
}

/* Lengths of the instructions of step_guest that are executed */
static const uint8_t lengths[] = { 1, 5, 3, 5, 2, 1, 3, 1, 1, 5, 6, 6, 7 };

/*
 * Bochs (2.7) leaves a single step pending when an EPT violation has kept the instruction
 * from being executed; KVM enters the guest with it.
 */
static void need_true_steps(void)
{
	if (dev_is_kvm() && cpu_is_bochs() && access("/sys/module/kvm_intel", F_OK) == 0)
		test_skip("Bochs' VMX, under in-tree KVM, reports steps that were not made");
}

TEST(single_step)
{
	struct vcpu *v = vm_with_guest(0, step_guest, 0);
	uint64_t rip = (uintptr_t)step_code;
	struct kvm_regs r;

	need_true_steps();
	set_debug(v, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
	for (unsigned int i = 0; i < sizeof(lengths); i++) {
		REQUIRE(vcpu_run_raw(v) == KVM_EXIT_DEBUG, "exit %u at step %u",
			v->run->exit_reason, i);
		rip += lengths[i];
		CHECK_EQ(v->run->debug.arch.exception, 1);
		CHECK_EQ(v->run->debug.arch.pc, rip);
		CHECK_EQ(v->run->debug.arch.dr6 & 1 << 14, 1 << 14);
		vcpu_get_regs(v, &r);
		CHECK_EQ(r.rip, rip);
		CHECK_EQ(r.rflags & 0x100, 0); /* the trap flag is not the guest's */
	}
	CHECK_EQ(rip, (uintptr_t)step_end);
	set_debug(v, 0);
	vcpu_run(v);
}

TEST(software_breakpoint)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t page = vm_alloc(vm, 1), at = bp_insn - step_code;
	uint8_t *code = vm_ptr(vm, page), was;
	struct kvm_regs r;

	if (cpu_is_qemu())
		test_skip("QEMU's emulated SVM does not intercept #BP");
	/* Code that reads nothing by RIP: up to the breakpoint */
	memcpy(code, step_code, watch_insn - step_code);
	code[watch_insn - step_code] = 0xc3;
	vcpu_long_mode(v, (void (*)(uint64_t))page, 0);
	was = code[at];
	code[at] = 0xcc;
	set_debug(v, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_DEBUG);
	CHECK_EQ(v->run->debug.arch.exception, 3);
	CHECK_EQ(v->run->debug.arch.pc, page + at);
	vcpu_get_regs(v, &r);
	CHECK_EQ(r.rip, page + at);
	/* As a debugger goes on: the instruction back, a step, the breakpoint again */
	code[at] = was;
	set_debug(v, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_DEBUG);
	CHECK_EQ(v->run->debug.arch.pc, page + at + 5);
	set_debug(v, 0);
	vcpu_run(v);
}

TEST(hardware_breakpoint)
{
	struct vcpu *v = vm_with_guest(0, step_guest, 0);
	struct kvm_debugregs d;

	if (cpu_is_qemu())
		test_skip("QEMU's emulated VMRUN does not arm the breakpoints of DR7");
	set_breakpoint(v, (uintptr_t)bp_insn, 0x402);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_DEBUG);
	CHECK_EQ(v->run->debug.arch.exception, 1);
	CHECK_EQ(v->run->debug.arch.pc, (uintptr_t)bp_insn);
	CHECK_EQ(v->run->debug.arch.dr6 & 0xf, 1);
	/* The guest's own are not touched. */
	vcpu_ioctl(v, KVM_GET_DEBUGREGS, &d);
	CHECK_EQ(d.db[0], 0);
	CHECK_EQ(d.dr7, 0x400);
	/* A write watchpoint, four bytes: after the instruction */
	set_breakpoint(v, (uintptr_t)&watched, 0xd0402);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_DEBUG);
	CHECK_EQ(v->run->debug.arch.pc, (uintptr_t)watch_after);
	CHECK_EQ(v->run->debug.arch.dr6 & 0xf, 1);
	CHECK_EQ(watched, 5);
	set_debug(v, 0);
	vcpu_run(v);
}

/* --- the guest debugs itself --- */

static volatile uint64_t hits, hit_rip, hit_dr6;

static void on_db(struct guest_regs *r)
{
	uint64_t dr6;

	asm volatile("mov %%dr6, %0" : "=r"(dr6));
	hits++;
	hit_rip = r->rip;
	hit_dr6 = dr6;
	asm volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ull));
	r->rflags |= 1 << 16; /* RF */
}

static void own_guest(uint64_t arg)
{
	uint64_t dr7 = 0x402;

	(void)arg;
	g_cpu()->handler[1] = on_db;
	/* A write watchpoint */
	asm volatile("mov %0, %%dr0" : : "r"(&watched));
	asm volatile("mov %0, %%dr7" : : "r"(0xd0402ull));
	watched = 7;
	asm volatile("nop");
	G_CHECK_EQ(hits, 1);
	G_CHECK_EQ(hit_dr6 & 0xf, 1);
	/* It survives exits. */
	g_sync(1);
	watched = 8;
	asm volatile("nop");
	G_CHECK_EQ(hits, 2);
	/* An execution breakpoint on the next instruction of step_guest */
	asm volatile("mov %0, %%dr7" : : "r"(0x400ull));
	asm volatile("mov %0, %%dr0" : : "r"(bp_insn));
	asm volatile("mov %0, %%dr7" : : "r"(dr7));
	asm volatile("call step_guest" : : : "rax", "rbx", "rcx", "rdx", "r8", "r9", "memory");
	G_CHECK_EQ(hits, 3);
	G_CHECK_EQ(hit_rip, (uintptr_t)bp_insn);
	asm volatile("mov %0, %%dr7" : : "r"(0x400ull));
}

/* Not on QEMU's emulated CPU, which has neither. */
static void own_detect_guest(uint64_t arg)
{
	(void)arg;
	g_cpu()->handler[1] = on_db;
	/* General detect: any access to debug registers */
	asm volatile("mov %0, %%dr7" : : "r"(0x2400ull));
	asm volatile("mov %%dr0, %%rax" : : : "rax");
	G_CHECK_EQ(hits, 1);
	G_CHECK_EQ(hit_dr6 >> 13 & 1, 1);
	/* INT1 (ICEBP) */
	asm volatile(".byte 0xf1");
	G_CHECK_EQ(hits, 2);
}

TEST(guest_general_detect)
{
	if (cpu_is_qemu())
		test_skip("QEMU's emulated CPU has neither DR7.GD nor #DB of INT1");
	vcpu_run(vm_with_guest(0, own_detect_guest, 0));
}

TEST(guest_watchpoints)
{
	struct vcpu *v = vm_with_guest(0, own_guest, 0);

	CHECK_EQ(vcpu_run_sync(v), 1);
	vcpu_run(v);
}

static volatile uint64_t steps;

static void on_step(struct guest_regs *r)
{
	(void)r;
	steps++;
	asm volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ull));
}

static void trap_flag_guest(uint64_t expected)
{
	g_cpu()->handler[1] = on_step;
	/* Over instructions that exit and are emulated: CPUID, OUT, MMIO */
	asm volatile("pushf; orl $0x100, (%%rsp); popf\n"
		     "nop\n"
		     "cpuid\n"
		     "xor %%eax, %%eax\n"
		     "out %%al, $0x80\n"
		     "mov %%eax, (%%rsi)\n"
		     "nop\n"
		     "pushf; andl $~0x100, (%%rsp); popf"
		     :
		     : "a"(0), "S"((uint64_t)MMIO_BASE)
		     : "rbx", "rcx", "rdx", "memory", "cc");
	/* NOP CPUID XOR OUT MOV NOP PUSHF AND POPF: each once */
	G_CHECK_EQ(steps, expected);
}

extern char stepped_sti_end[];

static void on_first_step(struct guest_regs *r)
{
	on_db(r);
	r->rflags &= ~0x100ull;
	G_CHECK_EQ(r->rflags & 0x200, 0x200);
}

static void sti_guest(uint64_t late)
{
	g_cpu()->handler[1] = on_first_step;
	for (unsigned int i = 1; i <= 3; i++) {
		/* POPF is not stepped, STI is: within its own shadow. */
		asm volatile("pushf; orl $0x100, (%%rsp); popf\n"
			     "sti\n"
			     "stepped_sti_end: nop\n"
			     "cpuid\n"
			     "cli"
			     :
			     : "a"(0)
			     : "rbx", "rcx", "rdx", "memory", "cc");
		G_CHECK_EQ(hits, i);
		G_CHECK_EQ(hit_rip, (uintptr_t)stepped_sti_end + late);
		G_CHECK_EQ(hit_dr6 & 1 << 14, 1 << 14);
	}
}

TEST(guest_steps_sti)
{
	need_true_steps();
	/* QEMU's CPU has the shadow keep the step off, too: it is that of the NOP. */
	vcpu_run(vm_with_guest(0, sti_guest, cpu_is_qemu()));
}

static bool any(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_IO || v->run->exit_reason == KVM_EXIT_MMIO;
}

TEST(guest_trap_flag)
{
	/* KVM loses the one after an MMIO write that goes to user space. */
	struct vcpu *v = vm_with_guest(0, trap_flag_guest, dev_is_kvm() ? 8 : 9);

	need_true_steps();
	v->on_exit = any;
	vcpu_run(v);
}

static void inject_guest(uint64_t arg)
{
	g_cpu()->handler[arg] = on_step;
	g_sync(1);
	asm volatile("nop");
	G_CHECK_EQ(steps, 1);
}

static void inject(uint64_t vector, uint32_t control)
{
	struct vcpu *v = vm_with_guest(0, inject_guest, vector);

	CHECK_EQ(vcpu_run_sync(v), 1);
	set_debug(v, KVM_GUESTDBG_ENABLE | control);
	vcpu_run(v);
}

#define BLOCKED_VECTOR 0x71

static void on_nmi(struct guest_regs *r)
{
	(void)r;
}

static void block_irq_guest(uint64_t arg)
{
	(void)arg;
	g_cpu()->handler[2] = on_nmi;
	g_cpu()->handler[BLOCKED_VECTOR] = g_on_irq_x2eoi;
	g_x2apic_enable();
	g_wrmsr(MSR_X2APIC(0x3f0), BLOCKED_VECTOR); /* to itself */
	g_sync(1);
	g_sti();
	asm volatile("nop; cpuid; nop" : : "a"(0) : "rbx", "rcx", "rdx", "memory");
	g_sync(2);
	G_CHECK(g_wait_for(&g_cpu()->irqs[BLOCKED_VECTOR], 1, 3000000));
	g_done();
}

static volatile bool unwatched;

static void own_registers_guest(uint64_t arg)
{
	uint64_t dr[4];

	asm volatile("mov %0, %%dr0; mov %1, %%dr1" : : "r"(arg), "r"(arg + 0x1001));
	asm volatile("mov %0, %%dr2; mov %1, %%dr3" : : "r"(arg + 0x2002), "r"(arg + 0x3003));
	asm volatile("mov %0, %%dr7" : : "r"(0x402ull));
	g_sync(1);
	do {
		asm volatile("mov %%dr0, %0; mov %%dr1, %1" : "=r"(dr[0]), "=r"(dr[1]));
		asm volatile("mov %%dr2, %0; mov %%dr3, %1" : "=r"(dr[2]), "=r"(dr[3]));
		for (unsigned int i = 0; i < 4; i++)
			if (dr[i] != arg + i * 0x1001) {
				g_fail(__FILE__, __LINE__, "a debug register", dr[i], i);
				return;
			}
	} while (!unwatched);
	asm volatile("mov %0, %%dr7" : : "r"(0x400ull));
}

static int watch(pid_t tid, void *address)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_BREAKPOINT,
					.size = sizeof(attr),
					.bp_type = HW_BREAKPOINT_W,
					.bp_addr = (uintptr_t)address,
					.bp_len = HW_BREAKPOINT_LEN_4,
					.exclude_kernel = 1 };

	return syscall(SYS_perf_event_open, &attr, tid, -1, -1, 0);
}

static pid_t watched_thread;

static void *watch_and_not(void *result)
{
	static uint32_t places[2];
	int first = watch(watched_thread, &places[0]), second;

	for (unsigned int i = 0; i < 60 && first >= 0; i++) {
		second = watch(watched_thread, &places[1]);
		usleep(500);
		close(second);
		usleep(500);
	}
	close(first);
	*(int *)result = first;
	unwatched = true;
	return NULL;
}

/*
 * Somebody sets breakpoints for the vCPU's thread while the guest has its own: by interrupts
 * that come while the guest runs. Neither finds the other's.
 */
TEST(breakpoints_of_host_and_guest)
{
	struct vcpu *v = vm_with_guest(0, own_registers_guest, GVA_FREE);
	struct kvm_debugregs d;
	pthread_t thread;
	int result;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		test_skip("one CPU: the interrupts never come while the guest runs");
	CHECK_EQ(vcpu_run_sync(v), 1);
	watched_thread = syscall(SYS_gettid);
	pthread_create(&thread, NULL, watch_and_not, &result);
	vcpu_run(v);
	pthread_join(thread, NULL);
	if (result < 0)
		test_skip("perf has no breakpoints here");
	vcpu_ioctl(v, KVM_GET_DEBUGREGS, &d);
	for (unsigned int i = 0; i < 4; i++)
		CHECK_EQ(d.db[i], GVA_FREE + i * 0x1001ull);
}

TEST(block_irq)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, block_irq_guest, 0);
	volatile uint64_t *irqs = guest_cpus[0].irqs;

	if (!(dev_cap(KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ))
		test_skip("no KVM_GUESTDBG_BLOCKIRQ");
	CHECK_EQ(vcpu_run_sync(v), 1);
	set_debug(v, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_BLOCKIRQ);
	vcpu_ioctl(v, KVM_NMI, 0);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(irqs[BLOCKED_VECTOR], 0);
	CHECK_EQ(irqs[2], 0);
	set_debug(v, 0);
	CHECK(vcpu_run(v), "it did not end");
	CHECK_EQ(irqs[BLOCKED_VECTOR], 1);
	CHECK_EQ(irqs[2], 1);
}

TEST(inject_db)
{
	inject(1, KVM_GUESTDBG_INJECT_DB);
}

TEST(inject_bp)
{
	if (dev_is_kvm() && cpu_is_qemu())
		test_skip("without NRIPS KVM looks for an INT3 to skip");
	inject(3, KVM_GUESTDBG_INJECT_BP);
}

TEST(errors)
{
	struct vcpu *v = vm_with_guest(0, step_guest, 0);

	CHECK_ERR(ioctl(v->fd, KVM_SET_GUEST_DEBUG, NULL), EFAULT);
	set_debug(v, 0);
	vcpu_run(v);
}
