// SPDX-License-Identifier: GPL-2.0-only
/*
 * What makes a guest exit, one test for each: CPUID, MSRs, ports, MMIO, HLT,
 * hypercalls, control registers, shutdown, and instructions that nobody can
 * emulate. What MMIO instructions do exactly is emulate.c's part.
 */
#include <signal.h>
#include <sys/time.h>
#include "test.h"

/* --- CPUID --- */

static void cpuid_guest(uint64_t arg)
{
	uint32_t r[4];

	(void)arg;
	g_cpuid(0x4f000000, 5, r);
	G_CHECK_EQ(r[0], 0x11111111);
	G_CHECK_EQ(r[1], 0x22222222);
	G_CHECK_EQ(r[2], 0x33333333);
	G_CHECK_EQ(r[3], 0x44444444);
	g_cpuid(0x4f000001, 0, r);
	G_CHECK_EQ(r[0], 0xa0);
	g_cpuid(0x4f000001, 1, r);
	G_CHECK_EQ(r[0], 0xa1);
	g_cpuid(0x4f000001, 2, r);
	G_CHECK_EQ(r[0] | r[1] | r[2] | r[3], 0);
	g_cpuid(1, 0, r);
	G_CHECK_EQ(r[2] >> 27 & 1, 0); /* OSXSAVE follows CR4 */
	if (r[2] & 1 << 26) {
		G_WRITE_CR(4, G_READ_CR(4) | 1 << 18);
		g_cpuid(1, 0, r);
		G_CHECK_EQ(r[2] >> 27 & 1, 1);
		G_WRITE_CR(4, G_READ_CR(4) & ~(1ull << 18));
		g_cpuid(1, 0, r);
		G_CHECK_EQ(r[2] >> 27 & 1, 0);
	}
	/* Results are 32 bits wide in 64-bit registers. */
	uint64_t rax = ~0ull << 32 | 1, rbx = ~0ull, rcx = ~0ull << 32, rdx = ~0ull;

	asm volatile("cpuid" : "+a"(rax), "+b"(rbx), "+c"(rcx), "+d"(rdx));
	G_CHECK_EQ((rax | rbx | rcx | rdx) >> 32, 0);
}

TEST(cpuid)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	struct kvm_cpuid2 *c = cpuid_copy();

	c->entries[c->nent++] = (struct kvm_cpuid_entry2){ 0x4f000000, 0,	   0,
							   0x11111111, 0x22222222, 0x33333333,
							   0x44444444, {} };
	for (uint32_t i = 0; i < 2; i++)
		c->entries[c->nent++] =
			(struct kvm_cpuid_entry2){ .function = 0x4f000001,
						   .index = i,
						   .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
						   .eax = 0xa0 + i };
	/* Below them, or the leaves are out of range. */
	c->entries[c->nent++] = (struct kvm_cpuid_entry2){ .function = 0x4f000002 };
	vcpu_set_cpuid(v, c);
	vcpu_long_mode(v, cpuid_guest, 0);
	vcpu_run(v);
}

/* --- MSRs --- */

#define MSR_STAR     0xc0000081
#define MSR_LSTAR    0xc0000082
#define MSR_CSTAR    0xc0000083
#define MSR_SFMASK   0xc0000084
#define MSR_FS_BASE  0xc0000100
#define MSR_KGS_BASE 0xc0000102
#define MSR_EFER     0xc0000080
#define MSR_PAT	     0x277
#define MSR_SYSENTER 0x174
#define MSR_MISC_EN  0x1a0
#define MSR_TSC	     0x10

static const struct {
	uint32_t index;
	uint64_t value;
} plain_msrs[] = {
	{ MSR_STAR, 0x0123456789abcdef },
	{ MSR_LSTAR, 0xffffffff81234567 },
	{ MSR_CSTAR, 0xffff888000001000 },
	{ MSR_SFMASK, 0x47700 },
	{ MSR_FS_BASE, 0x7ffff0001000 },
	{ MSR_KGS_BASE, 0xffff888012345678 },
	{ MSR_PAT, 0x0606060606060606 },
	{ MSR_SYSENTER, 0x10 },
	{ 0x175, 0x80001000 },
	{ 0x176, 0x80002000 },
	{ 0x250, 0x0606060606060606 },
	{ 0x200, 0x100006 },
};

static void msr_guest(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	for (unsigned int i = 0; i < sizeof(plain_msrs) / sizeof(plain_msrs[0]); i++) {
		G_CHECK_EQ(g_try_wrmsr(plain_msrs[i].index, plain_msrs[i].value), NO_FAULT);
		G_CHECK_EQ(g_try_rdmsr(plain_msrs[i].index, &value), NO_FAULT);
		G_CHECK_EQ(value, plain_msrs[i].value);
	}
	G_CHECK_EQ(g_rdmsr(MSR_EFER), 0xd01);
	g_sync(1);
	/* What must fault, with error code 0, and change nothing */
	G_CHECK_EQ(g_try_rdmsr(0x12345, &value), 13);
	G_CHECK_EQ(g_cpu()->error, 0);
	G_CHECK_EQ(g_try_wrmsr(0x12345, 0), 13);
	G_CHECK_EQ(g_try_rdmsr(0xc0008888, &value), 13);
	G_CHECK_EQ(g_try_rdmsr(0xdeadbeef, &value), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_PAT, 0x0202020202020202), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_EFER, 0xd01 | 1 << 1), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_EFER, 0xc01), 13); /* LME off while paging */
	G_CHECK_EQ(g_try_wrmsr(MSR_APIC_BASE, 1ull << 60), 13);
	G_CHECK_EQ(g_try_wrmsr(0x250, 0x0202020202020202), 13); /* MTRR types */
	G_CHECK_EQ(g_rdmsr(MSR_LSTAR), 0xffffffff81234567);
	G_CHECK_EQ(g_rdmsr(MSR_PAT), 0x0606060606060606);
	G_CHECK_EQ(g_rdmsr(MSR_EFER), 0xd01);
	/* The upper halves of RAX and RDX are cleared, RCX's is ignored. */
	uint64_t rax = ~0ull, rdx = ~0ull;

	asm volatile("rdmsr" : "+a"(rax), "+d"(rdx) : "c"(~0ull << 32 | MSR_STAR));
	G_CHECK_EQ(rax, 0x89abcdef);
	G_CHECK_EQ(rdx, 0x01234567);
}

static uint64_t msr_user(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	G_CHECK_EQ(g_try_rdmsr(MSR_STAR, &value), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_STAR, 0), 13);
	G_CHECK_EQ(G_TRY("hlt", :), 13);
	return 0;
}

static void msr_user_guest(uint64_t arg)
{
	g_user(msr_user, arg);
}

TEST(msr)
{
	struct vcpu *v = vm_with_guest(0, msr_guest, 0);

	CHECK_EQ(vcpu_run_sync(v), 1);
	for (unsigned int i = 0; i < sizeof(plain_msrs) / sizeof(plain_msrs[0]); i++)
		CHECK_EQ(vcpu_get_msr(v, plain_msrs[i].index), plain_msrs[i].value);
	vcpu_run(v);
}

TEST(msr_ring3)
{
	vcpu_run(vm_with_guest(0, msr_user_guest, 0));
}

static void msr_exit_guest(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	G_CHECK_EQ(g_try_rdmsr(0x12345, &value), NO_FAULT);
	G_CHECK_EQ(value, 0x1122334455667788);
	G_CHECK_EQ(g_try_rdmsr(0x12345, &value), 13);
	G_CHECK_EQ(g_try_wrmsr(0x12345, 0x99aabbccddeeff00), NO_FAULT);
	G_CHECK_EQ(g_try_wrmsr(0x12345, 0), 13);
}

TEST(msr_to_user_space)
{
	struct vcpu *v;

	if (dev_cap(KVM_CAP_X86_USER_SPACE_MSR) <= 0)
		test_skip("no KVM_CAP_X86_USER_SPACE_MSR");
	v = vm_with_guest(0, msr_exit_guest, 0);
	vm_enable_cap(v->vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_UNKNOWN);
	for (int i = 0; i < 4; i++) {
		int reason = vcpu_run_raw(v);

		CHECK_EQ(reason, i < 2 ? KVM_EXIT_X86_RDMSR : KVM_EXIT_X86_WRMSR);
		CHECK_EQ(v->run->msr.index, 0x12345);
		CHECK_EQ(v->run->msr.reason, KVM_MSR_EXIT_REASON_UNKNOWN);
		if (i == 0)
			v->run->msr.data = 0x1122334455667788;
		if (i == 2)
			CHECK_EQ(v->run->msr.data, 0x99aabbccddeeff00);
		v->run->msr.error = i & 1;
	}
	vcpu_run(v);
}

static void msr_filter_guest(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	/* SYSENTER_CS: reads denied, writes allowed; ESP: the other way round */
	G_CHECK_EQ(g_try_rdmsr(0x174, &value), 13);
	G_CHECK_EQ(g_try_wrmsr(0x174, 8), NO_FAULT);
	G_CHECK_EQ(g_try_rdmsr(0x175, &value), NO_FAULT);
	G_CHECK_EQ(g_try_wrmsr(0x175, 8), 13);
	G_CHECK_EQ(g_try_rdmsr(MSR_LSTAR, &value), 13);
	g_sync(1);
	G_CHECK_EQ(g_try_rdmsr(0x174, &value), NO_FAULT);
	G_CHECK_EQ(g_try_rdmsr(MSR_LSTAR, &value), NO_FAULT);
}

TEST(msr_filter)
{
	uint8_t read = 2, write = 1, none = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges = { { KVM_MSR_FILTER_READ, 2, 0x174, &read },
			    { KVM_MSR_FILTER_WRITE, 2, 0x174, &write },
			    { KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 1, MSR_LSTAR, &none } },
	};
	struct kvm_msr_filter off = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW };
	struct vcpu *v;

	if (dev_cap(KVM_CAP_X86_MSR_FILTER) <= 0)
		test_skip("no KVM_CAP_X86_MSR_FILTER");
	v = vm_with_guest(0, msr_filter_guest, 0);
	vm_ioctl(v->vm, KVM_X86_SET_MSR_FILTER, &filter);
	CHECK_EQ(vcpu_run_sync(v), 1);
	vm_ioctl(v->vm, KVM_X86_SET_MSR_FILTER, &off);
	vcpu_run(v);
	filter.flags = 0x80;
	CHECK_ERR(ioctl(v->vm->fd, KVM_X86_SET_MSR_FILTER, &filter), EINVAL);
	filter = (struct kvm_msr_filter){ .flags = KVM_MSR_FILTER_DEFAULT_DENY };
	CHECK_ERR(ioctl(v->vm->fd, KVM_X86_SET_MSR_FILTER, &filter), EINVAL);
}

static void msr_filter_exit_guest(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	G_CHECK_EQ(g_try_rdmsr(MSR_LSTAR, &value), NO_FAULT);
	G_CHECK_EQ(value, 0x1234);
	G_CHECK_EQ(g_try_wrmsr(0x277, 0x0202020202020202), 13);
	/* What no range names is denied, but for the x2APIC's registers. */
	G_CHECK_EQ(g_try_rdmsr(MSR_EFER, &value), 13);
}

/* A filter that is older than the vCPU, and that asks user space. */
TEST(msr_filter_exit)
{
	uint8_t none = 0, all = 1;
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR,
				      .args = { KVM_MSR_EXIT_REASON_FILTER |
						KVM_MSR_EXIT_REASON_INVAL } };
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_DENY,
		.ranges = { { KVM_MSR_FILTER_READ, 1, MSR_LSTAR, &none },
			    { KVM_MSR_FILTER_WRITE, 1, 0x277, &all } },
	};
	static const struct {
		unsigned int exit, index, reason, error;
	} expected[] = {
		{ KVM_EXIT_X86_RDMSR, MSR_LSTAR, KVM_MSR_EXIT_REASON_FILTER, 0 },
		{ KVM_EXIT_X86_WRMSR, 0x277, KVM_MSR_EXIT_REASON_INVAL, 1 },
		{ KVM_EXIT_X86_RDMSR, MSR_EFER, KVM_MSR_EXIT_REASON_FILTER, 1 },
	};
	struct vm *vm;
	struct vcpu *v;

	if (dev_cap(KVM_CAP_X86_MSR_FILTER) <= 0)
		test_skip("no KVM_CAP_X86_MSR_FILTER");
	vm = vm_new(0);
	vm_ioctl(vm, KVM_X86_SET_MSR_FILTER, &filter);
	vm_ioctl(vm, KVM_ENABLE_CAP, &cap);
	v = vcpu_new(vm, 0);
	vcpu_long_mode(v, msr_filter_exit_guest, 0);
	for (unsigned int i = 0; i < 3; i++) {
		CHECK_EQ(vcpu_run_raw(v), expected[i].exit);
		CHECK_EQ(v->run->msr.index, expected[i].index);
		CHECK_EQ(v->run->msr.reason, expected[i].reason);
		v->run->msr.data = 0x1234;
		v->run->msr.error = expected[i].error;
	}
	vcpu_run(v);
	cap.args[0] = 0x80;
	CHECK_ERR(ioctl(vm->fd, KVM_ENABLE_CAP, &cap), EINVAL);
	filter.ranges[0].flags = 0;
	CHECK_ERR(ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), EINVAL);
	filter.ranges[0].flags = 4;
	CHECK_ERR(ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), EINVAL);
	filter.ranges[0].flags = KVM_MSR_FILTER_READ;
	filter.ranges[0].nmsrs = KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8 + 1;
	CHECK_ERR(ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), EINVAL);
	filter.ranges[0].nmsrs = 1;
	filter.ranges[0].bitmap = NULL;
	CHECK_ERR(ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter), EFAULT);
}

/* --- exits that are switched off --- */

static void native_hlt_guest(uint64_t arg)
{
	(void)arg;
	g_spin_politely();
	asm volatile("1: hlt\n   jmp 1b");
}

static void nothing(int number)
{
	(void)number;
}

/* A guest that keeps its HLT leaves only by a signal, once it is told so. */
TEST(hlt_without_exit)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS, .args = { 0x10 } };
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } };
	struct sigaction act = { .sa_handler = nothing };
	struct vm *vm;
	struct vcpu *v = vm_with_guest(0, native_hlt_guest, 0);

	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_HLT);
	if (!(dev_cap(KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT))
		test_skip("no KVM_X86_DISABLE_EXITS_HLT");
	vm = vm_new(0);
	CHECK_ERR(ioctl(vm->fd, KVM_ENABLE_CAP, &cap), EINVAL);
	cap.args[0] = KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE;
	/* Once there are vCPUs it is too late, but for KVM before 6.4. */
	if (!dev_is_kvm())
		CHECK_ERR(ioctl(v->vm->fd, KVM_ENABLE_CAP, &cap), EINVAL);
	vm_ioctl(vm, KVM_ENABLE_CAP, &cap);
	v = vcpu_new(vm, 0);
	vcpu_long_mode(v, native_hlt_guest, 0);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 3; i++)
		CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
}

static void deaf_hlt_guest(uint64_t arg)
{
	(void)arg;
	asm volatile("1: hlt\n   jmp 1b");
}

static void woken_guest(uint64_t arg)
{
	G_CHECK_EQ(arg, 55);
}

/* Not even an interrupt ends this guest's HLT; what user space makes of the vCPU does. */
TEST(hlt_without_exit_left)
{
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = {};
	struct sigaction act = { .sa_handler = nothing };
	struct kvm_regs r;
	struct vm *vm;
	struct vcpu *v;

	if (!(dev_cap(KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT))
		test_skip("no KVM_X86_DISABLE_EXITS_HLT");
	if (dev_is_kvm() && cpu_has_vmx())
		test_skip("in-tree KVM leaves it halted");
	vm = vm_new(0);
	vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT);
	v = vcpu_new(vm, 0);
	vcpu_long_mode(v, deaf_hlt_guest, 0);
	vcpu_get_regs(v, &r);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 3; i++)
		CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
	setitimer(ITIMER_REAL, &never, NULL);
	r.rip = (uintptr_t)woken_guest;
	r.rdi = 55;
	vcpu_set_regs(v, &r);
	vcpu_run(v);
}

#define FEATURE_UNHALT 7

static void unhalt_guest(uint64_t expected)
{
	uint32_t r[4];

	g_cpuid(0x40000001, 0, r);
	G_CHECK_EQ(r[0] >> FEATURE_UNHALT & 1, expected);
}

/* A HLT that does not exit is not ended by a kick, which therefore is not offered. */
TEST(hlt_without_exit_no_kick)
{
	struct kvm_cpuid2 *c = cpuid_copy();

	if (!(dev_cap(KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT))
		test_skip("no KVM_X86_DISABLE_EXITS_HLT");
	cpuid_find(c, 0x40000001, 0)->eax |= 1 << FEATURE_UNHALT;
	for (unsigned int native = 0; native < 2; native++) {
		struct vm *vm = vm_new(VM_IRQCHIP);
		struct vcpu *v;

		if (native)
			vm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT);
		v = vcpu_new(vm, 0);
		vcpu_set_cpuid(v, c);
		vcpu_long_mode(v, unhalt_guest, !native);
		vcpu_run(v);
	}
}

static void platform_info_guest(uint64_t arg)
{
	uint64_t value;

	G_CHECK_EQ(g_try_rdmsr(0xce, &value), arg ? NO_FAULT : 13);
}

TEST(platform_info)
{
	struct vcpu *v;

	CHECK_EQ(dev_cap(KVM_CAP_MSR_PLATFORM_INFO), 1);
	vcpu_run(vm_with_guest(0, platform_info_guest, 1));
	v = vm_with_guest(0, platform_info_guest, 0);
	vm_enable_cap(v->vm, KVM_CAP_MSR_PLATFORM_INFO, 0);
	vcpu_run(v);
}

/* --- MMIO --- */

static void mmio_guest(uint64_t arg)
{
	uint64_t m = MMIO_BASE;

	(void)arg;
	G_WRITE(uint8_t, m + 1, 0x12);
	G_WRITE(uint16_t, m + 2, 0x3456);
	G_WRITE(uint32_t, m + 4, 0x789abcde);
	G_WRITE(uint64_t, m + 8, 0x0123456789abcdef);
	G_CHECK_EQ(G_READ(uint8_t, m), 0xf0);
	G_CHECK_EQ(G_READ(uint16_t, m), 0xf1f0);
	G_CHECK_EQ(G_READ(uint32_t, m), 0xf3f2f1f0);
	G_CHECK_EQ(G_READ(uint64_t, m), 0xf7f6f5f4f3f2f1f0);
}

static void expect_mmio(struct vcpu *v, int write, uint64_t at, uint32_t len, uint64_t data)
{
	uint64_t value = 0;

	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_MMIO);
	CHECK_EQ(v->run->mmio.is_write, write);
	CHECK_EQ(v->run->mmio.phys_addr, MMIO_BASE + at);
	CHECK_EQ(v->run->mmio.len, len);
	memcpy(&value, v->run->mmio.data, len <= 8 ? len : 8);
	if (write)
		CHECK_EQ(value, data);
	else
		memcpy(v->run->mmio.data, "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7", 8);
}

TEST(mmio_sizes)
{
	struct vcpu *v = vm_with_guest(0, mmio_guest, 0);

	expect_mmio(v, 1, 1, 1, 0x12);
	expect_mmio(v, 1, 2, 2, 0x3456);
	expect_mmio(v, 1, 4, 4, 0x789abcde);
	expect_mmio(v, 1, 8, 8, 0x0123456789abcdef);
	for (unsigned int i = 0; i < 4; i++)
		expect_mmio(v, 0, 0, 1u << i, 0);
	vcpu_run(v);
}

static void mmio_cross_guest(uint64_t arg)
{
	uint64_t m = MMIO_BASE + PAGE, value;

	G_WRITE(uint64_t, m - 3, 0x1122334455667788);
	G_CHECK_EQ(G_READ(uint64_t, m - 3), 0x1122334455667788);
	G_WRITE(uint16_t, m - 1, 0xabcd);
	G_CHECK_EQ(G_READ(uint32_t, m - 2), 0x44abcd77);
	/* From RAM into MMIO, and the other way round */
	G_WRITE(uint64_t, arg + PAGE - 5, 0xfedcba9876543210);
	G_CHECK_EQ(G_READ(uint64_t, arg + PAGE - 5), 0xfedcba9876543210);
	value = G_READ(uint32_t, arg + PAGE - 2);
	G_CHECK_EQ(value, 0xdcba9876);
}

TEST(mmio_page_crossing)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t page = vm_alloc(vm, 1);

	v->on_exit = vcpu_mmio_ram;
	vm_map(vm, GVA_FREE, page, PT_P | PT_W);
	vm_map(vm, GVA_FREE + PAGE, MMIO_BASE + 2 * PAGE, PT_P | PT_W);
	vcpu_long_mode(v, mmio_cross_guest, GVA_FREE);
	vcpu_run(v);
	CHECK_EQ(*(uint64_t *)(vm_ptr(vm, page + PAGE - 8)) >> 24, 0x9876543210);
	CHECK_EQ(*(uint32_t *)(mmio_ram + 2 * PAGE) & 0xffffff, 0xfedcba);
}

/* --- HLT, hypercalls, shutdown --- */

static void hlt_guest(uint64_t arg)
{
	(void)arg;
	g_hlt();
	g_hlt();
}

TEST(hlt)
{
	struct vcpu *v = vm_with_guest(0, hlt_guest, 0);
	struct kvm_regs first, second;

	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_HLT);
	vcpu_get_regs(v, &first);
	CHECK_EQ(*(uint8_t *)(first.rip - 1), 0xf4);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_HLT);
	vcpu_get_regs(v, &second);
	CHECK_EQ(second.rip, first.rip + 1);
	vcpu_run(v);
}

static int64_t hypercall(uint64_t code, uint64_t number)
{
	int64_t result;

	asm volatile("call *%1"
		     : "=a"(result)
		     : "r"(code), "a"(number), "b"(1), "c"(2), "d"(3), "S"(4)
		     : "memory");
	return result;
}

static uint64_t hypercall_user(uint64_t code)
{
	return hypercall(code, 9999);
}

static void hypercall_guest(uint64_t code)
{
	/* Both vendors' instructions reach the hypervisor. */
	for (unsigned int i = 0; i < 2; i++) {
		G_CHECK_EQ(hypercall(code + i * 16, 9999), -1000);
		G_CHECK_EQ(hypercall(code + i * 16, 9999), -1000);
		G_CHECK_EQ(g_user(hypercall_user, code + i * 16), -1);
	}
}

TEST(hypercall_unknown)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t page = vm_alloc(vm, 1);

	memcpy(vm_ptr(vm, page), "\x0f\x01\xd9\xc3", 4);      /* VMMCALL; RET */
	memcpy(vm_ptr(vm, page + 16), "\x0f\x01\xc1\xc3", 4); /* VMCALL; RET */
	vcpu_long_mode(v, hypercall_guest, page);
	vcpu_run(v);
}

static void triple_guest(uint64_t arg)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idt = { 0, 0 };

	(void)arg;
	asm volatile("lidt %0; int3" : : "m"(idt));
}

static void fine_guest(uint64_t arg)
{
	G_CHECK_EQ(arg, 77);
}

TEST(triple_fault)
{
	struct vcpu *v = vm_with_guest(0, triple_guest, 0);
	struct kvm_sregs s;

	for (unsigned int i = 0; i < 3; i++) {
		struct kvm_vcpu_events none = {};

		CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_SHUTDOWN);
		vcpu_get_sregs(v, &s);
		/* A reset by user space, and it lives again. */
		vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &none);
		vcpu_long_mode(v, fine_guest, 77);
		REQUIRE(vcpu_run(v), "the vCPU does not run after its reset");
		vcpu_long_mode(v, triple_guest, 0);
	}
}

/* --- control registers and other instructions that exit --- */

static void cr_guest(uint64_t arg)
{
	uint64_t cr0 = G_READ_CR(0), cr4 = G_READ_CR(4), value;

	(void)arg;
	asm volatile("mov %%cr0, %0; or $8, %0; mov %0, %%cr0" : "=r"(value)); /* TS */
	G_CHECK_EQ(G_READ_CR(0), cr0 | 8);
	G_CHECK_EQ(G_TRY("fnop", :), 7);
	asm volatile("clts");
	G_CHECK_EQ(G_READ_CR(0), cr0);
	G_CHECK_EQ(G_TRY("fnop", :), NO_FAULT);
	asm volatile("smsw %0" : "=r"(value) : "0"(0ull));
	G_CHECK_EQ((uint32_t)value & 0xffff, cr0 & 0xffff);
	asm volatile("lmsw %w0" : : "r"((uint16_t)(cr0 | 8)));
	G_CHECK_EQ(G_READ_CR(0), cr0 | 8);
	asm volatile("lmsw %w0" : : "r"((uint16_t)(cr0 & ~9ull))); /* never clears PE */
	G_CHECK_EQ(G_READ_CR(0), cr0);
	G_WRITE_CR(8, 5);
	G_CHECK_EQ(G_READ_CR(8), 5);
	G_WRITE_CR(8, 0);
	G_WRITE_CR(4, cr4 | 0x80);
	G_CHECK_EQ(G_READ_CR(4), cr4 | 0x80);
	G_WRITE_CR(4, cr4);
	G_WRITE_CR(3, G_READ_CR(3));
	G_WRITE_CR(2, 0x12345678);
	G_CHECK_EQ(G_READ_CR(2), 0x12345678);
	/* Refused, and nothing changes */
	G_CHECK_EQ(G_TRY("mov %0, %%cr0", : "r"(cr0 & ~1ull)), 13); /* PG without PE */
	G_CHECK_EQ(G_TRY("mov %0, %%cr0",
			 : "r"((cr0 & ~(1ull << 30)) | 1 << 29)),
		   13);						       /* NW, no CD */
	G_CHECK_EQ(G_TRY("mov %0, %%cr4", : "r"(cr4 & ~0x20ull)), 13); /* PAE off */
	G_CHECK_EQ(G_TRY("mov %0, %%cr4", : "r"(cr4 | 1ull << 31)), 13);
	G_CHECK_EQ(G_TRY("mov %0, %%cr8", : "r"(0x10ull)), 13);
	G_CHECK_EQ(G_READ_CR(0), cr0);
	G_CHECK_EQ(G_READ_CR(4), cr4);
	G_CHECK_EQ(G_TRY("wbinvd", :), NO_FAULT);
	G_CHECK_EQ(G_TRY("invd", :), NO_FAULT);
	G_CHECK_EQ(G_TRY("ud2", :), 6);
	G_CHECK_EQ(G_TRY("xsetbv", : "a"(1), "d"(0), "c"(0)), 6); /* OSXSAVE is clear */
	G_CHECK_EQ(G_TRY("vmrun", : "a"(0)), 6);		  /* nor is EFER.SVME */
	g_invlpg(0x1000);
}

/* Without an interrupt controller, user space hears of CR8. */
static bool set_tpr(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_SET_TPR;
}

TEST(control_registers)
{
	struct vcpu *v = vm_with_guest(0, cr_guest, 0);

	v->on_exit = set_tpr;
	vcpu_run(v);
	CHECK_EQ(v->run->cr8, 0);
}

static uint64_t cr_user(uint64_t arg)
{
	uint64_t value, high;

	(void)arg;
	G_CHECK_EQ(G_TRY("mov %%cr0, %0", "=r"(value) :), 13);
	G_CHECK_EQ(G_TRY("mov %0, %%cr3", : "r"(0ull)), 13);
	G_CHECK_EQ(G_TRY("mov %%cr8, %0", "=r"(value) :), 13);
	G_CHECK_EQ(G_TRY("mov %%dr7, %0", "=r"(value) :), 13);
	G_CHECK_EQ(G_TRY("clts", :), 13);
	G_CHECK_EQ(G_TRY("wbinvd", :), 13);
	G_CHECK_EQ(G_TRY("invd", :), 13);
	G_CHECK_EQ(G_TRY("invlpg (%0)", : "r"(0ull)), 13);
	G_CHECK_EQ(G_TRY("lmsw %w0", : "r"(0)), 13);
	G_CHECK_EQ(G_TRY("rdtsc", "=a"(value), "=d"(high) :), NO_FAULT);
	G_CHECK_EQ(G_TRY("pause", :), NO_FAULT);
	return 0;
}

static void cr_user_guest(uint64_t arg)
{
	g_user(cr_user, arg);
	G_WRITE_CR(4, G_READ_CR(4) | 4); /* TSD */
}

TEST(privileged_ring3)
{
	vcpu_run(vm_with_guest(0, cr_user_guest, 0));
}

static void xsetbv_guest(uint64_t arg)
{
	uint32_t lo, hi;

	(void)arg;
	G_WRITE_CR(4, G_READ_CR(4) | 1 << 18);
	G_CHECK_EQ(G_TRY("xsetbv", : "a"(3), "d"(0), "c"(0)), NO_FAULT);
	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	G_CHECK_EQ(lo, 3);
	G_CHECK_EQ(G_TRY("xsetbv", : "a"(2), "d"(0), "c"(0)), 13); /* x87 is always on */
	G_CHECK_EQ(G_TRY("xsetbv", : "a"(5), "d"(0), "c"(0)), 13); /* AVX without SSE */
	G_CHECK_EQ(G_TRY("xsetbv", : "a"(3), "d"(1u << 31), "c"(0)), 13);
	G_CHECK_EQ(G_TRY("xsetbv", : "a"(3), "d"(0), "c"(1)), 13);
	G_CHECK_EQ(G_TRY("xsetbv", : "a"(1), "d"(0), "c"(0)), NO_FAULT);
	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	G_CHECK_EQ(lo, 1);
}

TEST(xsetbv)
{
	if (!(dev_cpuid_reg(1, 0, 'c') & 1 << 26))
		test_skip("no XSAVE");
	vcpu_run(vm_with_guest(0, xsetbv_guest, 0));
}

/* --- what cannot be emulated --- */

static uint64_t undecodable(uint64_t address)
{
	return G_TRY("fadds (%0)", : "r"(address));
}

static void undecodable_guest(uint64_t arg)
{
	/* From ring 3 it is the guest's fault, from ring 0 user space must know. */
	G_CHECK_EQ(g_user(undecodable, arg), 6);
	g_sync(1);
	undecodable(arg);
}

TEST(mmio_not_emulated)
{
	struct vcpu *v = vm_with_guest(0, undecodable_guest, MMIO_BASE);
	struct kvm_vcpu_events none = {};

	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(v->run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
	/* The vCPU can be rescued. */
	vcpu_ioctl(v, KVM_SET_VCPU_EVENTS, &none);
	vcpu_long_mode(v, fine_guest, 77);
	vcpu_run(v);
}

static void jump_to_mmio_guest(uint64_t arg)
{
	asm volatile("jmp *%0" : : "r"(arg));
}

TEST(code_in_mmio)
{
	struct vcpu *v = vm_with_guest(0, jump_to_mmio_guest, MMIO_BASE);

	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(v->run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
}
