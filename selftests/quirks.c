// SPDX-License-Identifier: GPL-2.0-only
/*
 * Habits of KVM that user space can switch off (KVM_CAP_DISABLE_QUIRKS2): each with the
 * habit and without it.
 */
#include "test.h"

#define QUIRKS                                                                   \
	(KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_CD_NW_CLEARED |           \
	 KVM_X86_QUIRK_LAPIC_MMIO_HOLE | KVM_X86_QUIRK_OUT_7E_INC_RIP |          \
	 KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT | KVM_X86_QUIRK_FIX_HYPERCALL_INSN | \
	 KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS)

#define UD 6u

static void disable(struct vm *vm, uint64_t quirks)
{
	vm_enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, quirks);
}

/* --- LINT0 after a reset --- */

static uint32_t lint0(struct vcpu *v)
{
	struct kvm_lapic_state state;
	uint32_t value;

	vcpu_ioctl(v, KVM_GET_LAPIC, &state);
	memcpy(&value, state.regs + APIC_LVT0, 4);
	return value;
}

TEST(lint0_reenabled)
{
	for (unsigned int off = 0; off < 2; off++) {
		struct vm *vm = vm_new(VM_IRQCHIP);

		disable(vm, off ? KVM_X86_QUIRK_LINT0_REENABLED : 0);
		CHECK_EQ(lint0(vcpu_new(vm, 0)), off ? 0x10000 : 0x700);
		CHECK_EQ(lint0(vcpu_new(vm, 1)), 0x10000);
		vm_free(vm);
	}
}

/* The older capability: it takes whatever it is given, also in place of what was before. */
TEST(old_capability)
{
	const uint64_t some = 1ull << 32 | KVM_X86_QUIRK_LINT0_REENABLED;

	for (unsigned int off = 0; off < 2; off++) {
		struct vm *vm = vm_new(VM_IRQCHIP);

		CHECK_OK(vm_try_cap(vm, KVM_CAP_DISABLE_QUIRKS, off ? 0 : some));
		CHECK_OK(vm_try_cap(vm, KVM_CAP_DISABLE_QUIRKS, off ? some : 0));
		CHECK_EQ(lint0(vcpu_new(vm, 0)), off ? 0x10000 : 0x700);
		vm_free(vm);
	}
}

TEST(capability)
{
	struct vm *vm = vm_new_bare(0);

	CHECK_EQ(dev_cap(KVM_CAP_DISABLE_QUIRKS), 1);
	CHECK_EQ(dev_cap(KVM_CAP_DISABLE_QUIRKS2) & QUIRKS, QUIRKS);
	CHECK_OK(vm_try_cap(vm, KVM_CAP_DISABLE_QUIRKS2, QUIRKS));
	CHECK_OK(vm_try_cap(vm, KVM_CAP_DISABLE_QUIRKS2, 0));
	CHECK_ERR(vm_try_cap(vm, KVM_CAP_DISABLE_QUIRKS2, 1ull << 31), EINVAL);
	CHECK_ERR(vm_try_cap(vm, KVM_CAP_DISABLE_QUIRKS2, 1ull << 32), EINVAL);
}

/* --- CR0.CD and NW --- */

#define CR0_CD (1ull << 30)
#define CR0_NW (1ull << 29)
#define CR0_TS (1ull << 3)
#define READS  20u

static void cd_nw_guest(uint64_t bits)
{
	uint64_t cr0 = G_READ_CR(0) & ~(CR0_CD | CR0_NW);

	G_WRITE_CR(0, cr0 | bits);
	g_sync(1);
	for (unsigned int i = 0; i < READS; i++)
		G_CHECK_EQ(G_READ_CR(0), cr0 | bits);
	g_sync(2);
	/* What changes the others, leaves them. */
	asm volatile("lmsw %w0" : : "r"((uint32_t)cr0 | CR0_TS));
	G_CHECK_EQ(G_READ_CR(0), cr0 | CR0_TS | bits);
	asm volatile("clts");
	G_CHECK_EQ(G_READ_CR(0), cr0 | bits);
	G_WRITE_CR(0, cr0);
	G_CHECK_EQ(G_READ_CR(0), cr0);
}

/*
 * The guest reads what it wrote. Where hardware has the bits, which AMD's can, no read
 * exits.
 */
TEST(cd_nw_cleared)
{
	for (unsigned int off = 0; off < 2; off++) {
		struct vcpu *v = vm_with_guest(0, cd_nw_guest, CR0_CD | CR0_NW);
		uint64_t before = 0, after = 0;

		disable(v->vm, off ? KVM_X86_QUIRK_CD_NW_CLEARED : 0);
		CHECK_EQ(vcpu_run_sync(v), 1);
		REQUIRE(vcpu_stat(v, "exits", &before), "no statistic of exits");
		CHECK_EQ(vcpu_run_sync(v), 2);
		REQUIRE(vcpu_stat(v, "exits", &after), "no statistic of exits");
		test_note("%u reads of CR0, quirk %s: %llu exits", READS, off ? "off" : "on",
			  (unsigned long long)(after - before));
		if (cpu_has_vmx() || off)
			CHECK(after - before < READS, "reads of CR0 exit");
		else
			CHECK(after - before >= READS, "reads of CR0 do not exit");
		vcpu_run(v);
		vm_free(v->vm);
	}
}

/* --- where the APIC's registers would be --- */

static uint64_t hole_exits, hole_written;

static bool hole_exit(struct vcpu *v)
{
	uint32_t value;

	if (v->run->exit_reason != KVM_EXIT_MMIO || v->run->mmio.phys_addr >> 12 != APIC_BASE >> 12)
		return false;
	hole_exits++;
	if (v->run->mmio.is_write) {
		memcpy(&value, v->run->mmio.data, 4);
		hole_written = v->run->mmio.phys_addr << 32 | value;
	} else {
		value = 0x12345678;
		memcpy(v->run->mmio.data, &value, 4);
	}
	return true;
}

static void hole_guest(uint64_t user_space)
{
	uint32_t want = user_space ? 0x12345678 : ~0u;

	/* xAPIC: the registers are there. */
	G_CHECK_EQ(g_apic_read(APIC_LVR) & 0xf0, 0x10);
	g_x2apic_enable();
	G_CHECK_EQ(g_apic_read(APIC_LVR), want);
	g_apic_write(APIC_TPR, 0x50);
	G_CHECK_EQ(g_rdmsr(MSR_X2APIC(APIC_TPR)), 0);
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) & ~0xc00ull);
	G_CHECK_EQ(g_apic_read(APIC_TPR), want);
}

TEST(lapic_mmio_hole)
{
	for (unsigned int off = 0; off < 2; off++) {
		struct vm *vm = vm_new(VM_IRQCHIP);
		struct vcpu *v = vcpu_new(vm, 0);

		if (!(dev_cpuid_reg(1, 0, 'c') & 1 << 21))
			test_skip("no x2APIC");
		disable(vm, off ? KVM_X86_QUIRK_LAPIC_MMIO_HOLE : 0);
		v->on_exit = hole_exit;
		vcpu_long_mode(v, hole_guest, off);
		hole_exits = 0;
		vcpu_run(v);
		CHECK_EQ(hole_exits, off ? 3 : 0);
		if (off)
			CHECK_EQ(hole_written, (uint64_t)(APIC_BASE + APIC_TPR) << 32 | 0x50);
		vm_free(vm);
	}
}

/* --- OUT to port 0x7e --- */

static void out_guest(uint64_t port)
{
	g_outb((uint16_t)port, 0x5a);
	g_outb((uint16_t)port, 0x5b);
}

/* Where RIP is at the exit, and that the guest goes on behind the instruction. */
static void check_out(uint16_t port, uint64_t disabled, bool behind)
{
	struct vcpu *v = vm_with_guest(0, out_guest, port);
	const uint8_t *code;
	struct kvm_regs r;

	disable(v->vm, disabled);
	for (unsigned int i = 0; i < 2; i++) {
		REQUIRE(vcpu_run_raw(v) == KVM_EXIT_IO, "exit %u", v->run->exit_reason);
		CHECK_EQ(v->run->io.port, port);
		CHECK_EQ(v->pio[0], 0x5a + i);
		vcpu_get_regs(v, &r);
		code = (const uint8_t *)(uintptr_t)r.rip;
		CHECK_EQ(code[behind ? -1 : 0], 0xee); /* OUT DX, AL */
	}
	vcpu_run(v);
	vm_free(v->vm);
}

TEST(out_7e_inc_rip)
{
	check_out(0x7e, 0, true);
	check_out(0x7e, QUIRKS & ~KVM_X86_QUIRK_OUT_7E_INC_RIP, true);
	check_out(0x7e, KVM_X86_QUIRK_OUT_7E_INC_RIP, false);
	check_out(0x7f, 0, false);
}

/* --- MONITOR and MWAIT --- */

#define MSR_MISC_ENABLE 0x1a0
#define MISC_MWAIT	(1ull << 18)
#define ECX_SSE3	(1u << 0)
#define ECX_MWAIT	(1u << 3)

static uint64_t try_monitor(void)
{
	static uint64_t line;

	return G_TRY("monitor", : "a"(&line), "c"(0), "d"(0));
}

static uint64_t try_mwait(void)
{
	return G_TRY("mwait", : "a"(0), "c"(0));
}

static uint32_t cpuid_ecx(void)
{
	uint32_t r[4];

	g_cpuid(1, 0, r);
	return r[2];
}

/* A struct vcpu whose CPUID has not these bits of leaf 1, ECX. */
static struct vcpu *vcpu_without(uint32_t ecx, void (*fn)(uint64_t), uint64_t arg)
{
	struct vcpu *v = vcpu_new_bare(vm_new(0), 0);
	struct kvm_cpuid2 *c = cpuid_copy();

	cpuid_find(c, 1, 0)->ecx &= ~ecx;
	vcpu_set_cpuid(v, c);
	free(c);
	vcpu_long_mode(v, fn, arg);
	return v;
}

static void mwait_guest(uint64_t arg)
{
	(void)arg;
	/* As if they were there. */
	G_CHECK_EQ(try_monitor(), NO_FAULT);
	G_CHECK_EQ(try_mwait(), NO_FAULT);
	g_sync(1);
	G_CHECK_EQ(try_monitor(), UD);
	G_CHECK_EQ(try_mwait(), UD);
	g_sync(2);
	G_CHECK_EQ(try_monitor(), NO_FAULT);
	G_CHECK_EQ(try_mwait(), NO_FAULT);
}

TEST(mwait_never_ud)
{
	struct vcpu *v = vcpu_without(ECX_MWAIT, mwait_guest, 0);

	CHECK_EQ(vcpu_run_sync(v), 1);
	disable(v->vm, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS);
	CHECK_EQ(vcpu_run_sync(v), 2);
	disable(v->vm, 0);
	vcpu_run(v);
}

static void misc_enable_guest(uint64_t arg)
{
	uint64_t misc = g_rdmsr(MSR_MISC_ENABLE);

	(void)arg;
	G_CHECK_EQ(misc & MISC_MWAIT, 0);
	G_CHECK_EQ(cpuid_ecx() & ECX_MWAIT, 0);
	/* CPUID is user space's. */
	g_wrmsr(MSR_MISC_ENABLE, misc | MISC_MWAIT);
	G_CHECK_EQ(cpuid_ecx() & ECX_MWAIT, 0);
	g_wrmsr(MSR_MISC_ENABLE, misc);
	g_sync(1);
	/* It follows the MSR, and so do the instructions. */
	for (unsigned int i = 0; i < 3; i++) {
		g_wrmsr(MSR_MISC_ENABLE, misc | MISC_MWAIT);
		G_CHECK_EQ(cpuid_ecx() & ECX_MWAIT, ECX_MWAIT);
		G_CHECK_EQ(try_monitor(), NO_FAULT);
		G_CHECK_EQ(try_mwait(), NO_FAULT);
		g_wrmsr(MSR_MISC_ENABLE, misc);
		G_CHECK_EQ(cpuid_ecx() & ECX_MWAIT, 0);
		G_CHECK_EQ(try_monitor(), UD);
		G_CHECK_EQ(try_mwait(), UD);
	}
	g_sync(2);
	G_CHECK_EQ(cpuid_ecx() & ECX_MWAIT, ECX_MWAIT);
	G_CHECK_EQ(try_mwait(), NO_FAULT);
}

TEST(misc_enable_no_mwait)
{
	struct vcpu *v = vcpu_without(ECX_MWAIT, misc_enable_guest, 0);
	uint64_t misc;

	CHECK_EQ(vcpu_run_sync(v), 1);
	disable(v->vm, KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT | KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS);
	CHECK_EQ(vcpu_run_sync(v), 2);
	misc = vcpu_get_msr(v, MSR_MISC_ENABLE);
	CHECK_EQ(vcpu_set_msr(v, MSR_MISC_ENABLE, misc | MISC_MWAIT), 1);
	vcpu_run(v);
}

static void no_sse3_guest(uint64_t arg)
{
	uint64_t misc = g_rdmsr(MSR_MISC_ENABLE);

	(void)arg;
	G_CHECK_EQ(g_try_wrmsr(MSR_MISC_ENABLE, misc | MISC_MWAIT), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_MISC_ENABLE, misc), NO_FAULT);
}

/* SDM 4, "Architectural MSRs": the bit is not there without SSE3. */
TEST(misc_enable_without_sse3)
{
	struct vcpu *v = vcpu_without(ECX_MWAIT | ECX_SSE3, no_sse3_guest, 0);

	disable(v->vm, KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT);
	CHECK_EQ(vcpu_set_msr(v, MSR_MISC_ENABLE, MISC_MWAIT), 0);
	vcpu_run(v);
}

/* --- the other vendor's hypercall --- */

#define UNKNOWN_CALL 9999u
#define ENOSYS_CALL  ((uint64_t)-1000)
#define EPERM_CALL   ((uint64_t)-1)

static uint8_t native, foreign; /* third byte of the hypercall instructions */

static void find_hypercalls(void)
{
	native = cpu_has_vmx() ? 0xc1 : 0xd9;
	foreign = cpu_has_vmx() ? 0xd9 : 0xc1;
}

/* Code that makes a hypercall, of the other vendor's kind, and jumps to RDX. */
static void put_call(uint8_t *to)
{
	memcpy(to, "\x0f\x01\x00\xff\xe2", 5);
	to[2] = foreign;
}

/* The vector of a fault; in *result the hypercall's answer. */
static uint64_t try_call(uint64_t code, uint64_t *result)
{
	uint64_t rax = UNKNOWN_CALL, back;
	uint64_t vector = G_TRY("lea 9f(%%rip), %%rdx; jmp *%2; 9:", "+a"(rax), "=&d"(back)
				: "r"(code), "b"(1), "c"(2), "S"(4));

	*result = rax;
	return vector;
}

static uint64_t call(uint64_t code)
{
	uint64_t result;

	G_CHECK_EQ(try_call(code, &result), NO_FAULT);
	return result;
}

static void rewritten_guest(uint64_t code)
{
	G_CHECK_EQ(G_READ(uint8_t, code + 2), foreign);
	G_CHECK_EQ(call(code), ENOSYS_CALL);
	G_CHECK_EQ(G_READ(uint8_t, code + 2), native);
	G_CHECK_EQ(call(code), ENOSYS_CALL);
}

/* In one page, and where each of its bytes is the first of the next. */
TEST(hypercall_rewritten)
{
	find_hypercalls();
	for (unsigned int at = 0; at < 3; at++) {
		struct vm *vm = vm_new(0);
		struct vcpu *v = vcpu_new(vm, 0);
		uint64_t pages = vm_alloc(vm, 2), code = pages + PAGE - at;

		put_call(vm_ptr(vm, code));
		vcpu_long_mode(v, rewritten_guest, code);
		vcpu_run(v);
		vm_free(vm);
	}
}

static void left_alone_guest(uint64_t code)
{
	uint64_t result;

	G_CHECK_EQ(try_call(code, &result), UD);
	G_CHECK_EQ(G_READ(uint8_t, code + 2), foreign);
	/* The CPU's own is one. */
	G_WRITE(uint8_t, code + 2, native);
	G_CHECK_EQ(try_call(code, &result), NO_FAULT);
	G_CHECK_EQ(result, ENOSYS_CALL);
}

TEST(hypercall_undefined)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t code = vm_alloc(vm, 1);

	find_hypercalls();
	disable(vm, KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
	put_call(vm_ptr(vm, code));
	vcpu_long_mode(v, left_alone_guest, code);
	vcpu_run(v);
}

#define CR0_WP (1ull << 16)

static void not_writable_guest(uint64_t code)
{
	uint64_t result;

	G_WRITE_CR(0, G_READ_CR(0) | CR0_WP);
	for (unsigned int i = 0; i < 2; i++) {
		G_CHECK_EQ(try_call(code, &result), NO_FAULT);
		G_CHECK_EQ(result, ENOSYS_CALL);
	}
	G_CHECK_EQ(g_user(call, code), EPERM_CALL);
	G_CHECK_EQ(G_READ(uint8_t, code + 2), foreign);
}

/* Code that the guest itself cannot write: the hypercall is made all the same. */
static void check_not_writable(struct vm *vm, uint64_t gpa, uint8_t *page, uint64_t flags)
{
	struct vcpu *v = vcpu_new(vm, 0);

	if (dev_is_kvm())
		test_skip("in-tree KVM's guest has a page fault, or an exit for MMIO");
	find_hypercalls();
	put_call(page);
	vm_map(vm, GVA_FREE, gpa, flags);
	vcpu_long_mode(v, not_writable_guest, GVA_FREE);
	vcpu_run(v);
	CHECK_EQ(page[2], foreign);
}

TEST(hypercall_in_readonly_page)
{
	struct vm *vm = vm_new(0);
	uint64_t gpa = vm_alloc(vm, 1);

	check_not_writable(vm, gpa, vm_ptr(vm, gpa), PT_P | PT_U);
}

TEST(hypercall_in_rom)
{
	struct vm *vm = vm_new(0);
	uint8_t *page = host_pages(PAGE);

	vm_slot(vm, SLOT_FREE, KVM_MEM_READONLY, 0xe0000000, PAGE, page);
	check_not_writable(vm, 0xe0000000, page, PT_P | PT_W | PT_U);
}

#define ROUNDS 1000u

static void racing_guest(uint64_t code)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		G_WRITE(uint8_t, code + 2, foreign);
		G_CHECK_EQ(call(code), ENOSYS_CALL);
	}
}

/* Another vCPU may have rewritten it, or written it again, when we come to look. */
TEST(hypercall_race)
{
	struct vm *vm = vm_new(0);
	uint64_t code = vm_alloc(vm, 1);

	find_hypercalls();
	put_call(vm_ptr(vm, code));
	for (unsigned int i = 0; i < 2; i++) {
		struct vcpu *v = vcpu_new(vm, i);

		vcpu_long_mode(v, racing_guest, code);
		vcpu_start(v);
	}
	for (unsigned int i = 0; i < 2; i++)
		vcpu_join(vm->vcpus[i]);
}

asm(".pushsection .rodata\n.code16\n"
    ".globl real, real_end\n"
    "real:\n"
    "mov $9999, %eax\n vmcall\n mov %eax, %esi\n"
    "mov $9999, %eax\n vmmcall\n mov %eax, %edi\n"
    "hlt\n"
    "real_end:\n"
    ".code64\n.popsection\n");

/* On CPUs without unrestricted guest this is executed in software. */
TEST(hypercall_real_mode)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	struct kvm_regs r;

	if (dev_is_kvm())
		test_skip("in-tree KVM forgets the base of CS and rewrites other memory");
	vm_code(vm, 0x8000, real);
	vcpu_real_mode(v, 0x8000);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_HLT);
	vcpu_get_regs(v, &r);
	CHECK_EQ(r.rsi, (uint32_t)ENOSYS_CALL);
	CHECK_EQ(r.rdi, (uint32_t)ENOSYS_CALL);
}
