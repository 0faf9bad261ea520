// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state of a vCPU, set and read back, seen by the guest and made by it; and
 * state that cannot be, which must be refused and change nothing.
 */
#include "test.h"

static void nothing(uint64_t arg)
{
	(void)arg;
}

static struct vcpu *plain(int flags)
{
	return vm_with_guest(flags, nothing, 0);
}

/* --- REGS --- */

extern char regs_stub[], regs_stub_end[];
asm(".pushsection .rodata\n"
    ".globl regs_stub, regs_stub_end\n"
    "regs_stub: inc %rax; inc %rbx; inc %rcx; inc %rdx; inc %rsi; inc %rdi; inc %rbp; inc %rsp\n"
    "inc %r8; inc %r9; inc %r10; inc %r11; inc %r12; inc %r13; inc %r14; inc %r15; hlt\n"
    "regs_stub_end:\n.popsection\n");

TEST(regs)
{
	struct vcpu *v = plain(0);
	uint64_t page = vm_alloc(v->vm, 1);
	struct kvm_regs r, in, out;
	uint64_t *p = (uint64_t *)&in, *q = (uint64_t *)&out;

	vm_code(v->vm, page, regs_stub);
	vcpu_get_regs(v, &r);
	for (unsigned int i = 0; i < 16; i++)
		p[i] = 0x1111111122222222ull * (i + 1) + i;
	in.rip = page;
	in.rflags = 0x2;
	vcpu_set_regs(v, &in);
	vcpu_get_regs(v, &out);
	CHECK(!memcmp(&in, &out, sizeof(in)), "the registers differ");
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_HLT);
	vcpu_get_regs(v, &out);
	for (unsigned int i = 0; i < 16; i++)
		CHECK_EQ(q[i], p[i] + 1);
	CHECK_EQ(out.rip, page + (regs_stub_end - regs_stub));
	/* Bit 1 of RFLAGS is always set. */
	in.rflags = 0;
	vcpu_set_regs(v, &in);
	vcpu_get_regs(v, &out);
	CHECK_EQ(out.rflags, 2);
	CHECK_ERR(ioctl(v->fd, KVM_SET_REGS, NULL), EFAULT);
	CHECK_ERR(ioctl(v->fd, KVM_GET_REGS, NULL), EFAULT);
}

/* --- SREGS --- */

static void check_sregs_refused(struct vcpu *v, const struct kvm_sregs *bad, const char *what)
{
	struct kvm_sregs before, after;
	int r;

	vcpu_get_sregs(v, &before);
	r = ioctl(v->fd, KVM_SET_SREGS, bad);
	CHECK(r == -1 && errno == EINVAL, "%s: %d, %s", what, r, strerror(errno));
	vcpu_get_sregs(v, &after);
	CHECK(!memcmp(&before, &after, sizeof(after)), "%s has changed something", what);
}

TEST(sregs)
{
	struct vcpu *v = plain(VM_IRQCHIP);
	struct kvm_sregs good, s, out;

	vcpu_get_sregs(v, &good);
	s = good;
	s.cr2 = 0x123456789abc;
	s.cr3 = 0x30000;
	s.cr8 = 7;
	s.gs.base = 0xffff888000000000;
	s.fs.base = 0x7fff00000000;
	s.ds.limit = 0x12345;
	s.ds.g = 0;
	s.idt.base = 0xffffffff81000000;
	s.idt.limit = 0x123;
	s.gdt.base = 0xffff800000000000;
	s.gdt.limit = 0x77;
	s.ldt = (struct kvm_segment){
		.base = 0x1000, .limit = 0xff, .selector = 0x50, .type = 2, .present = 1
	};
	vcpu_set_sregs(v, &s);
	vcpu_get_sregs(v, &out);
	CHECK_EQ(out.cr2, s.cr2);
	CHECK_EQ(out.cr3, s.cr3);
	CHECK_EQ(out.cr8, s.cr8);
	CHECK_EQ(out.gs.base, s.gs.base);
	CHECK_EQ(out.fs.base, s.fs.base);
	CHECK_EQ(out.ds.limit, 0x12345);
	CHECK_EQ(out.ds.g, 0);
	CHECK_EQ(out.idt.base, s.idt.base);
	CHECK_EQ(out.idt.limit, s.idt.limit);
	CHECK_EQ(out.gdt.base, s.gdt.base);
	CHECK_EQ(out.gdt.limit, s.gdt.limit);
	CHECK_EQ(out.ldt.selector << 16 | out.ldt.limit, 0x5000ff);
	CHECK_EQ(out.ldt.base, 0x1000);
	CHECK_EQ(out.efer, good.efer);
	CHECK_EQ(out.apic_base, 0xfee00900);
	CHECK_EQ(out.cs.l << 4 | out.cs.type, 0x1b);
	/* What cannot be */
	s = good;
	s.cr4 |= 1ull << 31;
	check_sregs_refused(v, &s, "a reserved bit of CR4");
	s = good;
	s.cr4 &= ~0x20ull;
	check_sregs_refused(v, &s, "long mode without PAE");
	s = good;
	s.efer &= ~0x400ull;
	check_sregs_refused(v, &s, "LMA without long mode");
	s = good;
	s.efer |= 1 << 1;
	if (!dev_is_kvm()) /* KVM 6.1 does not look */
		check_sregs_refused(v, &s, "a reserved bit of EFER");
	s = good;
	s.cr0 |= 1ull << 40;
	check_sregs_refused(v, &s, "high bits of CR0");
	s = good;
	s.cr0 = (s.cr0 & ~(1ull << 30)) | 1 << 29;
	if (!dev_is_kvm()) /* KVM 6.1 does not look */
		check_sregs_refused(v, &s, "NW without CD");
	s = good;
	s.cr3 |= 1ull << 60;
	check_sregs_refused(v, &s, "a reserved bit of CR3");
	s = good;
	s.apic_base |= 1ull << 60;
	check_sregs_refused(v, &s, "a reserved bit of APIC_BASE");
	vcpu_set_sregs(v, &good);
	CHECK_ERR(ioctl(v->fd, KVM_SET_SREGS, NULL), EFAULT);
}

TEST(sregs_pending_interrupt)
{
	struct vcpu *v = plain(0);
	struct kvm_sregs s;

	vcpu_get_sregs(v, &s);
	s.interrupt_bitmap[1] = 1ull << 5; /* vector 69 */
	vcpu_set_sregs(v, &s);
	vcpu_get_sregs(v, &s);
	CHECK_EQ(s.interrupt_bitmap[1], 1ull << 5);
	guest_cpus[0].handler[69] = NULL;
	struct kvm_regs r;

	vcpu_get_regs(v, &r);
	r.rflags |= 0x200;
	vcpu_set_regs(v, &r);
	vcpu_run(v);
	CHECK_EQ(guest_cpus[0].irqs[69], 1);
}

TEST(sregs2)
{
	struct vcpu *v = plain(0);
	struct kvm_sregs2 s = {}, out = {};

	if (dev_cap(KVM_CAP_SREGS2) <= 0)
		test_skip("no KVM_CAP_SREGS2");
	vcpu_ioctl(v, KVM_GET_SREGS2, &s);
	CHECK_EQ(s.flags, 0); /* no PDPTRs in long mode */
	s.cr3 = 0x30000;
	vcpu_ioctl(v, KVM_SET_SREGS2, &s);
	vcpu_ioctl(v, KVM_GET_SREGS2, &out);
	CHECK_EQ(out.cr3, 0x30000);
	s.flags = 4;
	CHECK_ERR(ioctl(v->fd, KVM_SET_SREGS2, &s), EINVAL);
}

/* --- FPU and XSAVE --- */

static void fpu_guest(uint64_t arg)
{
	uint64_t x[2], cw = 0;
	double one = 0;

	/* In use already: KVM does not make it so by KVM_SET_FPU. */
	asm volatile("fld1; pcmpeqb %xmm5, %xmm5");
	g_sync(0);
	asm volatile("movups %%xmm5, %0; fstcw %1; fstpl %2" : "=m"(x), "=m"(cw), "=m"(one));
	G_CHECK_EQ(x[0], 0x1111);
	G_CHECK_EQ(x[1], 0x2222);
	G_CHECK_EQ(cw, 0x37f);
	G_CHECK_EQ(*(uint64_t *)&one, 0x3ff0000000000000);
	/* And what it leaves is read by the host; also after other work of the host's FPU. */
	x[0] = arg;
	asm volatile("movups %0, %%xmm9; fninit; fldpi" : : "m"(x));
	g_sync(1);
	asm volatile("movups %%xmm9, %0" : "=m"(x));
	G_CHECK_EQ(x[0], arg);
	G_CHECK_EQ(x[1], 0x2222);
}

TEST(fpu)
{
	struct vcpu *v = vm_with_guest(0, fpu_guest, 0x4444);
	struct kvm_fpu f, out;
	uint64_t *x;

	CHECK_EQ(vcpu_run_sync(v), 0);
	vcpu_ioctl(v, KVM_GET_FPU, &f);
	CHECK_EQ(f.fcw, 0x37f);
	x = (uint64_t *)f.xmm[5];
	x[0] = 0x1111;
	x[1] = 0x2222;
	f.ftwx = 1; /* FXSAVE's short form: register 0 in use */
	f.fsw = 0;
	memcpy(f.fpr[0], "\0\0\0\0\0\0\0\x80\xff\x3f", 10);
	vcpu_ioctl(v, KVM_SET_FPU, &f);
	vcpu_ioctl(v, KVM_GET_FPU, &out);
	CHECK(!memcmp(out.xmm, f.xmm, sizeof(f.xmm)), "XMM differs");
	/* TOP is 0 and one is in use: physical 0, which is ST0. */
	CHECK_EQ(vcpu_run_sync(v), 1);
	vcpu_ioctl(v, KVM_GET_FPU, &out);
	CHECK_EQ(*(uint64_t *)out.xmm[9], 0x4444);
	CHECK_EQ(*(uint16_t *)(out.fpr[0] + 8), 0x4000); /* pi */
	vcpu_run(v);
	CHECK_ERR(ioctl(v->fd, KVM_SET_FPU, NULL), EFAULT);
}

static void avx_guest(uint64_t arg)
{
	static uint64_t y[4] __attribute__((aligned(32)));

	(void)arg;
	G_WRITE_CR(4, G_READ_CR(4) | 1 << 18);
	asm volatile("vmovups %%ymm3, %0" : "=m"(y));
	G_CHECK_EQ(y[0], 0xa1);
	G_CHECK_EQ(y[2], 0xa3);
	y[3] = 0xbb;
	asm volatile("vmovups %0, %%ymm3" : : "m"(y));
	g_sync(1);
	asm volatile("vmovups %%ymm3, %0" : "=m"(y));
	G_CHECK_EQ(y[3], 0xbb);
	G_CHECK_EQ(y[2], 0xa3);
}

TEST(xsave)
{
	static union {
		struct kvm_xsave x;
		uint8_t bytes[8192];
	} area, out;
	struct vcpu *v = vm_with_guest(0, avx_guest, 0);
	int size = ioctl(v->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	struct kvm_xcrs xcrs = {};

	if (dev_cap(KVM_CAP_XSAVE) <= 0 || !(dev_cpuid_reg(1, 0, 'c') >> 28 & 1))
		test_skip("no XSAVE or AVX");
	/* Not by the guest: QEMU 7.2, the lab, does not intercept XSETBV. */
	vcpu_ioctl(v, KVM_GET_XCRS, &xcrs);
	CHECK_EQ(xcrs.nr_xcrs, 1);
	CHECK_EQ(xcrs.xcrs[0].value, 1);
	xcrs.xcrs[0].value = 7;
	vcpu_ioctl(v, KVM_SET_XCRS, &xcrs);
	vcpu_ioctl(v, KVM_GET_XSAVE, &area);
	CHECK_EQ(*(uint16_t *)area.bytes, 0x37f);
	*(uint64_t *)(area.bytes + 160 + 3 * 16) = 0xa1; /* XMM3 */
	*(uint64_t *)(area.bytes + 576 + 3 * 16) = 0xa3; /* the high half of YMM3 */
	*(uint64_t *)(area.bytes + 512) = 7;
	vcpu_ioctl(v, KVM_SET_XSAVE, &area);
	vcpu_ioctl(v, KVM_GET_XSAVE, &out);
	CHECK_EQ(*(uint64_t *)(out.bytes + 512) & 6, 6);
	CHECK_EQ(*(uint64_t *)(out.bytes + 576 + 3 * 16), 0xa3);
	CHECK_EQ(vcpu_run_sync(v), 1);
	vcpu_ioctl(v, KVM_GET_XCRS, &xcrs);
	CHECK_EQ(xcrs.xcrs[0].value, 7);
	if (size >= 4096) {
		CHECK(size <= 8192, "KVM_CAP_XSAVE2 is %d", size);
		vcpu_ioctl(v, KVM_GET_XSAVE2, &out);
	} else {
		vcpu_ioctl(v, KVM_GET_XSAVE, &out);
	}
	CHECK_EQ(*(uint64_t *)(out.bytes + 576 + 3 * 16 + 8), 0xbb);
	vcpu_run(v);
	/* A feature that the host's CPU has not */
	*(uint64_t *)(area.bytes + 512) = 1ull << 62;
	CHECK_ERR(ioctl(v->fd, KVM_SET_XSAVE, &area), EINVAL);
	*(uint64_t *)(area.bytes + 512) = 7;
	*(uint32_t *)(area.bytes + 24) = 0xffff0000; /* MXCSR */
	CHECK_ERR(ioctl(v->fd, KVM_SET_XSAVE, &area), EINVAL);
	xcrs.xcrs[0].value = 6;
	CHECK_ERR(ioctl(v->fd, KVM_SET_XCRS, &xcrs), EINVAL);
	xcrs.xcrs[0].value = 3;
	xcrs.flags = 1;
	CHECK_ERR(ioctl(v->fd, KVM_SET_XCRS, &xcrs), EINVAL);
	xcrs.flags = 0;
	xcrs.nr_xcrs = 17;
	CHECK_ERR(ioctl(v->fd, KVM_SET_XCRS, &xcrs), EINVAL);
	xcrs.nr_xcrs = 1;
	vcpu_ioctl(v, KVM_SET_XCRS, &xcrs);
	vcpu_ioctl(v, KVM_GET_XCRS, &xcrs);
	CHECK_EQ(xcrs.xcrs[0].value, 3);
}

/* --- debug registers --- */

static void dr_guest(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	asm volatile("mov %%dr0, %0" : "=r"(value));
	G_CHECK_EQ(value, 0x1000);
	asm volatile("mov %%dr3, %0" : "=r"(value));
	G_CHECK_EQ(value, 0x4000);
	asm volatile("mov %%dr6, %0" : "=r"(value));
	G_CHECK_EQ(value, 0xffff4ff0);
	asm volatile("mov %%dr7, %0" : "=r"(value));
	G_CHECK_EQ(value, 0x400);
	asm volatile("mov %0, %%dr1" : : "r"(0x7777ull));
	asm volatile("mov %0, %%dr7" : : "r"(0x500ull));
}

TEST(debugregs)
{
	struct vcpu *v = vm_with_guest(0, dr_guest, 0);
	struct kvm_debugregs d = {}, out = {};

	if (dev_cap(KVM_CAP_DEBUGREGS) <= 0)
		test_skip("no KVM_CAP_DEBUGREGS");
	vcpu_ioctl(v, KVM_GET_DEBUGREGS, &d);
	CHECK_EQ(d.dr6, 0xffff0ff0);
	CHECK_EQ(d.dr7, 0x400);
	for (uint64_t i = 0; i < 4; i++)
		d.db[i] = (i + 1) << 12;
	d.dr6 = 0xffff4ff0;
	vcpu_ioctl(v, KVM_SET_DEBUGREGS, &d);
	vcpu_ioctl(v, KVM_GET_DEBUGREGS, &out);
	CHECK(!memcmp(&d, &out, sizeof(d)), "debug registers differ");
	vcpu_run(v);
	vcpu_ioctl(v, KVM_GET_DEBUGREGS, &out);
	CHECK_EQ(out.db[1], 0x7777);
	CHECK_EQ(out.db[2], 0x3000);
	CHECK_EQ(out.dr7, 0x500);
	d.flags = 1;
	CHECK_ERR(ioctl(v->fd, KVM_SET_DEBUGREGS, &d), EINVAL);
	d.flags = 0;
	d.dr6 = 1ull << 32;
	CHECK_ERR(ioctl(v->fd, KVM_SET_DEBUGREGS, &d), EINVAL);
	d.dr6 = 0xffff0ff0;
	d.dr7 = 1ull << 32;
	CHECK_ERR(ioctl(v->fd, KVM_SET_DEBUGREGS, &d), EINVAL);
}

/* --- MSRs --- */

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry e[300];
};

TEST(msrs)
{
	struct vcpu *v = plain(VM_IRQCHIP);
	static struct msrs m;

	/* The number done, up to the first bad one */
	m.head.nmsrs = 4;
	m.e[0].index = 0x174;
	m.e[0].data = 0x1230;
	m.e[1].index = 0xc0000081;
	m.e[1].data = 0x99;
	m.e[2].index = 0x12345678;
	m.e[3].index = 0x176;
	CHECK_EQ(ioctl(v->fd, KVM_SET_MSRS, &m), 2);
	m.e[0].data = m.e[1].data = 0;
	CHECK_EQ(ioctl(v->fd, KVM_GET_MSRS, &m), 2);
	CHECK_EQ(m.e[0].data, 0x1230);
	CHECK_EQ(m.e[1].data, 0x99);
	m.head.nmsrs = 0;
	CHECK_EQ(ioctl(v->fd, KVM_GET_MSRS, &m), 0);
	m.head.nmsrs = 1000000;
	CHECK_ERR(ioctl(v->fd, KVM_GET_MSRS, &m), E2BIG);
	CHECK_ERR(ioctl(v->fd, KVM_GET_MSRS, NULL), EFAULT);
	CHECK_ERR(ioctl(v->fd, KVM_SET_MSRS, NULL), EFAULT);
	/* Bad values */
	CHECK_EQ(vcpu_set_msr(v, 0xc0000082, 1ull << 63), 0);
	CHECK_EQ(vcpu_set_msr(v, 0xc0000102, 1ull << 63), 0);
	CHECK_EQ(vcpu_set_msr(v, 0x277, 0x0202020202020202), 0);
	CHECK_EQ(vcpu_set_msr(v, 0x1b, 1ull << 60), 0);
	CHECK_EQ(vcpu_set_msr(v, 0x200, 0x02), 0);
	/* QEMU ends when one of these fails. */
	CHECK_EQ(vcpu_set_msr(v, 0x4b564d02, 0), 1);
	CHECK_EQ(vcpu_set_msr(v, 0x4b564d04, 0), 1);
	CHECK_EQ(vcpu_set_msr(v, 0x4b564d03, 0), 1);
}

static void syscall_mask_guest(uint64_t arg)
{
	G_CHECK_EQ(g_rdmsr(arg), 0x47700);
	for (unsigned int i = 32; i < 64; i += 31)
		G_CHECK_EQ(g_try_wrmsr(arg, 1ull << i), 13);
	G_CHECK_EQ(g_rdmsr(arg), 0x47700);
	G_CHECK_EQ(g_try_wrmsr(arg, 0xffffffff), NO_FAULT);
	G_CHECK_EQ(g_rdmsr(arg), 0xffffffff);
}

/* Intel's CPUs refuse the upper half. It must not be their fault that tells. */
TEST(syscall_mask)
{
	const uint32_t msr = 0xc0000084;
	struct vcpu *v;

	if (!cpu_has_vmx())
		test_skip("AMD's CPUs take all 64 bits");
	if (dev_is_kvm() && cpu_is_bochs())
		test_skip("in-tree KVM asks the CPU, and Bochs' takes all 64 bits");
	v = vm_with_guest(0, syscall_mask_guest, msr);
	CHECK_EQ(vcpu_set_msr(v, msr, 0x47700), 1);
	CHECK_EQ(vcpu_set_msr(v, msr, 1ull << 32), 0);
	CHECK_EQ(vcpu_set_msr(v, msr, 1ull << 63 | 0x47700), 0);
	CHECK_EQ(vcpu_get_msr(v, msr), 0x47700);
	vcpu_run(v);
	CHECK_EQ(vcpu_get_msr(v, msr), 0xffffffff);
}

TEST(msr_lists)
{
	static struct {
		struct kvm_msr_list head;
		uint32_t index[512];
	} list;
	static struct msrs m;
	struct vcpu *v = plain(VM_IRQCHIP);
	int dev = dev_open();

	list.head.nmsrs = 0;
	CHECK_ERR(ioctl(dev, KVM_GET_MSR_INDEX_LIST, &list), E2BIG);
	CHECK(list.head.nmsrs > 20 && list.head.nmsrs < 512, "%u MSRs", list.head.nmsrs);
	CHECK_OK(ioctl(dev, KVM_GET_MSR_INDEX_LIST, &list));
	/* All of them can be read, and written back. */
	for (unsigned int i = 0; i < list.head.nmsrs; i++) {
		m.head.nmsrs = 1;
		m.e[0].index = list.index[i];
		CHECK(ioctl(v->fd, KVM_GET_MSRS, &m) == 1, "MSR %#x cannot be read", list.index[i]);
		CHECK(ioctl(v->fd, KVM_SET_MSRS, &m) == 1, "MSR %#x = %#llx cannot be written",
		      list.index[i], m.e[0].data);
	}
	list.head.nmsrs = 512;
	CHECK_OK(ioctl(dev, KVM_GET_MSR_FEATURE_INDEX_LIST, &list));
	CHECK(list.head.nmsrs > 0, "no feature MSRs");
	for (unsigned int i = 0; i < list.head.nmsrs; i++) {
		m.head.nmsrs = 1;
		m.e[0].index = list.index[i];
		CHECK(ioctl(dev, KVM_GET_MSRS, &m) == 1, "feature MSR %#x", list.index[i]);
	}
	m.e[0].index = 0x12345678;
	CHECK_EQ(ioctl(dev, KVM_GET_MSRS, &m), 0);
	close(dev);
}

/* --- CPUID --- */

TEST(cpuid)
{
	struct vcpu *v = plain(0);
	struct kvm_cpuid2 *c = cpuid_copy(), *out = cpuid_copy(), *few;
	int dev = dev_open();

	out->nent = 256;
	vcpu_ioctl(v, KVM_GET_CPUID2, out);
	for (unsigned int i = 0; i < c->nent; i++)
		CHECK_EQ(out->entries[i].function, c->entries[i].function);
	few = calloc(1, sizeof(*few) + 2 * sizeof(few->entries[0]));
	few->nent = 2;
	CHECK_ERR(ioctl(v->fd, KVM_GET_CPUID2, few), E2BIG);
	few->nent = 2;
	CHECK_ERR(ioctl(dev, KVM_GET_SUPPORTED_CPUID, few), E2BIG);
	few->nent = 100000;
	CHECK_ERR(ioctl(v->fd, KVM_SET_CPUID2, few), E2BIG);
	CHECK_ERR(ioctl(v->fd, KVM_SET_CPUID2, NULL), EFAULT);
	/* Signature, and nothing that the driver cannot do */
	CHECK_EQ(dev_cpuid_reg(0x40000000, 0, 'b'), 0x4b4d564b);
	CHECK(dev_cpuid_reg(0x40000000, 0, 'a') >= 0x40000001, "highest hypervisor leaf");
	CHECK(!(dev_cpuid_reg(1, 0, 'c') >> 3 & 1), "MONITOR is claimed");
	/* An address width that no page table can have */
	cpuid_find(c, 0x80000008, 0)->eax = 0x3328;
	CHECK_ERR(ioctl(v->fd, KVM_SET_CPUID2, c), EINVAL);
	close(dev);
}

/* --- MP_STATE, TSC, events, LAPIC --- */

TEST(mp_state)
{
	struct vcpu *v = plain(VM_IRQCHIP), *without = plain(0);
	struct kvm_mp_state mp = {};

	vcpu_ioctl(v, KVM_GET_MP_STATE, &mp);
	CHECK_EQ(mp.mp_state, KVM_MP_STATE_RUNNABLE);
	for (uint32_t i = 0; i <= 4; i++) {
		mp.mp_state = i;
		vcpu_ioctl(v, KVM_SET_MP_STATE, &mp);
		mp.mp_state = 77;
		vcpu_ioctl(v, KVM_GET_MP_STATE, &mp);
		/* SIPI_RECEIVED is turned into a pending SIPI of a CPU in INIT. */
		CHECK(mp.mp_state == i || i == KVM_MP_STATE_SIPI_RECEIVED, "state %u reads as %u",
		      i, mp.mp_state);
	}
	mp.mp_state = 77;
	CHECK_ERR(ioctl(v->fd, KVM_SET_MP_STATE, &mp), EINVAL);
	mp.mp_state = KVM_MP_STATE_HALTED;
	CHECK_ERR(ioctl(without->fd, KVM_SET_MP_STATE, &mp), EINVAL);
	mp.mp_state = KVM_MP_STATE_RUNNABLE;
	vcpu_ioctl(without, KVM_SET_MP_STATE, &mp);
}

TEST(tsc_khz)
{
	struct vcpu *v = plain(0);
	int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);

	CHECK(khz > 1000, "%d kHz", khz);
	CHECK_OK(ioctl(v->fd, KVM_SET_TSC_KHZ, khz));
	CHECK_EQ(ioctl(v->fd, KVM_GET_TSC_KHZ, 0), khz);
	/* Far beyond what scaling can do */
	if (dev_cap(KVM_CAP_TSC_CONTROL) > 0)
		CHECK_ERR(ioctl(v->fd, KVM_SET_TSC_KHZ, 0xffffffffu), EINVAL);
}

TEST(lapic_state)
{
	struct vcpu *v = plain(VM_IRQCHIP), *without = plain(0);
	struct kvm_lapic_state a, b;

	vcpu_ioctl(v, KVM_GET_LAPIC, &a);
	CHECK_EQ(*(uint32_t *)(a.regs + 0x30) & 0xff, 0x14);
	*(uint32_t *)(a.regs + APIC_TPR) = 0x30;
	*(uint32_t *)(a.regs + APIC_SVR) = 0x1ff;
	*(uint32_t *)(a.regs + APIC_LVT0) = 0x10000;
	*(uint32_t *)(a.regs + APIC_IRR + 0x20) = 1 << 3;
	*(uint32_t *)(a.regs + APIC_ISR + 0x10) = 1 << 9;
	vcpu_ioctl(v, KVM_SET_LAPIC, &a);
	vcpu_ioctl(v, KVM_GET_LAPIC, &b);
	CHECK_EQ(*(uint32_t *)(b.regs + APIC_TPR), 0x30);
	CHECK_EQ(*(uint32_t *)(b.regs + APIC_SVR), 0x1ff);
	CHECK_EQ(*(uint32_t *)(b.regs + APIC_LVT0), 0x10000);
	CHECK_EQ(*(uint32_t *)(b.regs + APIC_IRR + 0x20), 1 << 3);
	CHECK_EQ(*(uint32_t *)(b.regs + APIC_ISR + 0x10), 1 << 9);
	CHECK_ERR(ioctl(without->fd, KVM_GET_LAPIC, &b), EINVAL);
	CHECK_ERR(ioctl(without->fd, KVM_SET_LAPIC, &b), EINVAL);
	CHECK_ERR(ioctl(v->fd, KVM_SET_LAPIC, NULL), EFAULT);
}

TEST(irqchip_state)
{
	struct vm *vm = vm_new_bare(VM_IRQCHIP), *without = vm_new_bare(0);
	struct kvm_irqchip a = {}, b = {};

	a.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	vm_ioctl(vm, KVM_GET_IRQCHIP, &a);
	a.chip.pic.imr = 0x5a;
	a.chip.pic.irq_base = 0x70;
	vm_ioctl(vm, KVM_SET_IRQCHIP, &a);
	b.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	vm_ioctl(vm, KVM_GET_IRQCHIP, &b);
	CHECK_EQ(b.chip.pic.imr, 0x5a);
	CHECK_EQ(b.chip.pic.irq_base, 0x70);
	b.chip_id = KVM_IRQCHIP_IOAPIC;
	vm_ioctl(vm, KVM_GET_IRQCHIP, &b);
	CHECK_EQ(b.chip.ioapic.base_address, 0xfec00000);
	b.chip.ioapic.redirtbl[7].bits = 0x0300000000018077;
	b.chip.ioapic.id = 5;
	vm_ioctl(vm, KVM_SET_IRQCHIP, &b);
	memset(&b.chip, 0, sizeof(b.chip));
	vm_ioctl(vm, KVM_GET_IRQCHIP, &b);
	CHECK_EQ(b.chip.ioapic.redirtbl[7].bits, 0x0300000000018077);
	CHECK_EQ(b.chip.ioapic.id, 5);
	b.chip_id = 3;
	CHECK_ERR(ioctl(vm->fd, KVM_GET_IRQCHIP, &b), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_IRQCHIP, &b), EINVAL);
	b.chip_id = 0;
	CHECK_ERR(ioctl(without->fd, KVM_GET_IRQCHIP, &b), ENXIO);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), EEXIST);
	CHECK_OK(ioctl(without->fd, KVM_CREATE_VCPU, 0));
	CHECK_ERR(ioctl(without->fd, KVM_CREATE_IRQCHIP, 0), EINVAL); /* too late */
}

/* --- SYNC_REGS, TRANSLATE --- */

static void sync_guest(uint64_t arg)
{
	for (;;) {
		uint64_t rbx = arg;

		asm volatile("out %%eax, $0x55" : "+b"(rbx) : "a"(0));
		arg = rbx + 1;
	}
}

TEST(sync_regs)
{
	struct vcpu *v = vm_with_guest(0, sync_guest, 5);
	struct kvm_sync_regs *s = &v->run->s.regs;
	int cap = dev_cap(KVM_CAP_SYNC_REGS);

	if (cap <= 0)
		test_skip("no KVM_CAP_SYNC_REGS");
	CHECK_EQ(cap & 7, 7);
	v->run->kvm_valid_regs = 7;
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	CHECK_EQ(s->regs.rbx, 5);
	CHECK_EQ(s->sregs.cr3, GPA_PML4);
	s->regs.rbx = 0x70;
	v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	CHECK_EQ(v->run->kvm_dirty_regs, 0);
	CHECK_EQ(s->regs.rbx, 0x71);
	s->regs.rbx = 0x80; /* not dirty: ignored */
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	CHECK_EQ(s->regs.rbx, 0x72);
	v->run->kvm_valid_regs = 1u << 20;
	CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINVAL);
	v->run->kvm_valid_regs = 0;
	v->run->kvm_dirty_regs = 1u << 20;
	CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINVAL);
	v->run->kvm_dirty_regs = 0;
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
}

TEST(translate)
{
	struct vcpu *v = plain(0);
	struct kvm_translation t = { .linear_address = GVA_FREE + 0x123 };
	uint64_t page = vm_alloc(v->vm, 1);

	vcpu_ioctl(v, KVM_TRANSLATE, &t);
	CHECK_EQ(t.valid, 0);
	vm_map(v->vm, GVA_FREE, page, PT_P);
	vcpu_ioctl(v, KVM_TRANSLATE, &t);
	CHECK_EQ(t.valid, 1);
	CHECK_EQ(t.physical_address, page + 0x123);
	t.linear_address = 0x345678;
	vcpu_ioctl(v, KVM_TRANSLATE, &t);
	CHECK_EQ(t.physical_address, 0x345678);
}
