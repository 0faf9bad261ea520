// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU modes: each one alone, started in it by KVM_SET_SREGS; then one guest that
 * goes through all of them and back. Guests here are assembler stubs that leave
 * their results in registers and end with HLT, which without an in-kernel
 * interrupt controller is an exit.
 */
#include "test.h"

/* Where the stubs and their tables are in guest memory. */
#define CODE   0x8000u
#define TABLES 0x30000u /* GDT, IDT of 32-bit guests */
#define GPA_PG 0x40000u /* page tables of 32-bit guests */

/* Port that stubs for protected modes write to, to show that OUT works there. */
#define PORT 0x99

asm(".pushsection .rodata\n.code16\n"
    ".globl real, real_end\n"
    "real:\n"
    "mov $0x2000, %ax\n mov %ax, %es\n"
    "movw $0xbeef, %es:0x10\n" /* physical 0x20010 */
    "xor %ax, %ax\n mov %ax, %ds\n"
    "movw $(real_int - real), 0x100\n" /* vector 0x40 */
    "mov %cs, %ax\n mov %ax, 0x102\n"
    "mov $0x11223344, %ecx\n" /* 32-bit operands work */
    "int $0x40\n"
    "mov $0xffff, %ax\n mov %ax, %gs\n"
    "mov %gs:0x10, %si\n" /* physical 0x100000, not 0 */
    "push %ecx\n pop %edi\n"
    "mov $0xff00, %dx\n mov $0x12, %al\n"
    "sub $1, %sp\n add $1, %sp\n"
    "lcall $0x0700, $(real_far - real + 0x1000)\n"
    "hlt\n"
    "real_int: mov $0xcafe, %bx\n iret\n"
    "real_far: mov $0x5151, %bp\n lret\n"
    "real_end:\n"

    /* A sum over AX and flags after each decimal instruction, with many operands. */
    ".macro decimal flags, op:vararg\n"
    "push %bx\n popf\n mov %cx, %ax\n"
    "\\op\n"
    "pushf\n pop %dx\n and $\\flags, %dx\n"
    "rol $5, %ebp\n add %ax, %bp\n rol $7, %ebp\n add %dx, %bp\n"
    ".endm\n"
    ".globl bcd, bcd_end\n"
    "bcd:\n"
    "xor %ebp, %ebp\n mov $0x1200, %cx\n"
    "1: mov $2, %bx\n" /* CF and AF: none, one, the other, both */
    "2:\n"
    "decimal 0xd5, daa\n decimal 0xd5, das\n"
    "decimal 0x11, aaa\n decimal 0x11, aas\n"
    "decimal 0xc4, aam $10\n decimal 0xc4, aad $10\n decimal 0xc4, aam $7\n"
    "xor $1, %bx\n test $1, %bx\n jne 2b\n"
    "xor $0x10, %bx\n test $0x10, %bx\n jne 2b\n"
    "add $0x35, %cx\n cmp $0x2000, %cx\n jb 1b\n"
    "hlt\n"
    "bcd_end:\n"

    ".globl reset, reset_end\n"
    "reset: mov %cs, %bx\n mov $0x7788, %cx\n hlt\n"
    "reset_end:\n"

    ".globl prot16, prot16_end\n"
    "prot16:\n"
    "mov $0xabcd, %ax\n mov %ax, 0x500\n" /* DS has a base */
    "push $0x1234\n pop %bx\n"		  /* 16-bit stack */
    "xor %si, %si\n"
    "mov %si, %ss\n" /* no null SS: #GP */
    "prot16_end:\n"

    ".code32\n"
    ".globl prot32, prot32_end\n"
    "prot32:\n"
    "mov $0x89abcdef, %eax\n mov %eax, 0x500\n"
    "push %eax\n pop %ebx\n"
    "out %al, $0x99\n"
    "mov $0x20, %ecx\n mov %cx, %fs\n" /* loads a descriptor with a base */
    "mov %fs:0x10, %edx\n"
    "sidt 0x510\n sgdt 0x520\n str %di\n"
    "pushf\n orl $0x200000, (%esp)\n popf\n pushf\n pop %esi\n"
    "hlt\n"
    "prot32_end:\n"

    ".globl paged32, paged32_end\n"
    "paged32:\n"
    "mov 0xc0000010, %eax\n" /* a 4 KiB page */
    "mov 0x40400020, %ebx\n" /* a 4 MiB page */
    "movl $0x5a5a5a5a, 0xc0000014\n"
    "movl $0, 0xc0001000\n" /* not writable: #PF */
    "paged32_end:\n"

    ".globl pointers, pointers_end\n"
    "pointers:\n"
    "mov 0xc00001f0, %eax\n hlt\n"
    "mov %cr3, %ebx\n mov %ebx, %cr3\n"
    "mov 0xc00001f0, %ebx\n hlt\n"
    "pointers_end:\n"

    ".globl user32, user32_end\n"
    "user32:\n"
    "mov $0x18, %eax\n ltr %ax\n"
    "mov $0x43, %eax\n mov %ax, %ds\n"
    "push %eax\n push $0x7e00\n push $2\n" /* SS ESP EFLAGS */
    "push $0x3b\n push $(0x8000 + user32_3 - user32)\n"
    "iret\n"
    "user32_3:\n"
    "mov 0xc0000000, %fs\n" /* MMIO */
    "mov %fs:0x10, %ebx\n"
    "hlt\n" /* #GP to the handler */
    "user32_end:\n"

    ".globl vm86, vm86_end\n"
    "vm86:\n"
    "mov $0x18, %eax\n ltr %ax\n" /* QEMU wants the type that LTR loads */
    "mov $0x1111, %ebp\n"
    "push $0\n push $0\n push $0x2000\n push $0x2000\n" /* GS FS DS ES */
    "push $0x3000\n push $0xfff0\n"			/* SS SP */
    "push $0x23002\n"					/* VM, IOPL 3 */
    "push $0x800\n push $(vm86_16 - vm86)\n"
    "iret\n"
    ".code16\n"
    "vm86_16:\n"
    "mov $0x4321, %ax\n mov %ax, 0x30\n" /* physical 0x20030 */
    "push %ax\n pop %bx\n"
    "mov %cs, %cx\n"
    "pushf\n pop %di\n"
    "cli\n sti\n" /* allowed by IOPL */
    "hlt\n"	  /* #GP to the handler */
    "vm86_end:\n"

    /* For all 32-bit guests: vector 13 and 14 come here, with their error code. */
    ".code32\n"
    ".globl handler32, handler32_end\n"
    "handler32:\n"
    "pop %ebp\n"	  /* error code */
    "mov (%esp), %esi\n"  /* EIP */
    "mov 8(%esp), %edi\n" /* EFLAGS */
    "mov %cr2, %edx\n"
    "hlt\n"
    "handler32_end:\n"
    ".code64\n.popsection\n");

struct gate {
	uint16_t limit;
	uint32_t base;
} __attribute__((packed));

static uint64_t desc(uint64_t base, uint64_t limit, uint8_t access, uint8_t flags)
{
	return (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)access << 40 |
	       (limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (base >> 24) << 56;
}

static struct kvm_segment seg(uint16_t sel, uint32_t base, uint32_t limit, uint8_t type, int db)
{
	return (struct kvm_segment){ .selector = sel,
				     .base = base,
				     .limit = limit,
				     .type = type,
				     .present = 1,
				     .s = 1,
				     .db = db,
				     .g = limit > 0xfffff };
}

/* Guest descriptors: 8 flat code, 10 flat data, 18 TSS, 20 data at 0x20000, 28 code 64 */
static void tables32(struct vm *vm)
{
	uint64_t *gdt = vm_ptr(vm, TABLES), *idt = vm_ptr(vm, TABLES + 0x800);
	uint32_t *tss = vm_ptr(vm, TABLES + 0x400);

	gdt[1] = desc(0, 0xfffff, 0x9b, 0xc);
	gdt[2] = desc(0, 0xfffff, 0x93, 0xc);
	gdt[3] = desc(TABLES + 0x400, 0x67, 0x89, 0);
	gdt[4] = desc(0x20000, 0xffff, 0x93, 4);
	gdt[5] = desc(0, 0xfffff, 0x9b, 0xa);
	tss[1] = TABLES + 0x3f0; /* ESP0, SS0 */
	tss[2] = 0x10;
	for (unsigned int i = 0; i < 32; i++)
		idt[i] = (0x9000 & 0xffff) | 8 << 16 | 0x8e00ull << 32;
	vm_code(vm, 0x9000, handler32);
}

/* A vCPU in protected mode at CODE: operand size @db, segment base @base */
static struct vcpu *prot_guest(int db, uint32_t base, uint64_t cr0, uint64_t cr4)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	struct kvm_regs regs = { .rip = CODE - base, .rflags = 2, .rsp = 0x7f00 };
	uint32_t limit = db ? ~0u : 0xffff;
	struct kvm_sregs s;

	tables32(vm);
	vcpu_get_sregs(v, &s);
	s.cs = seg(8, base, limit, 11, db);
	s.ds = s.es = s.fs = s.gs = s.ss = seg(0x10, base, limit, 3, db);
	s.tr = seg(0x18, TABLES + 0x400, 0x67, 11, 0);
	s.tr.s = 0;
	s.ldt.unusable = 1;
	s.gdt.base = TABLES;
	s.gdt.limit = 0x2f;
	s.idt.base = TABLES + 0x800;
	s.idt.limit = 0xff;
	s.cr0 = cr0 | 0x31;
	s.cr4 = cr4;
	s.cr3 = GPA_PG;
	vcpu_set_sregs(v, &s);
	vcpu_set_regs(v, &regs);
	return v;
}

static void run_to_hlt(struct vcpu *v, struct kvm_regs *r)
{
	int reason = vcpu_run_raw(v);

	if (reason != KVM_EXIT_HLT)
		vcpu_print(v, "no HLT");
	REQUIRE(reason == KVM_EXIT_HLT, "exit %d, expected HLT", reason);
	vcpu_get_regs(v, r);
}

TEST(real_mode)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	struct kvm_regs r;

	*(uint16_t *)vm_ptr(vm, 0x100000) = 0x7777;
	*(uint16_t *)vm_ptr(vm, 0) = 0x5555;
	vm_code(vm, CODE, real);
	vcpu_real_mode(v, CODE);
	run_to_hlt(v, &r);
	CHECK_EQ(*(uint16_t *)vm_ptr(vm, 0x20010), 0xbeef);
	CHECK_EQ(r.rbx & 0xffff, 0xcafe);
	CHECK_EQ(r.rcx, 0x11223344);
	CHECK_EQ(r.rsi & 0xffff, 0x7777);
	CHECK_EQ(r.rdi, 0x11223344);
	CHECK_EQ(r.rbp & 0xffff, 0x5151);
	CHECK_EQ(r.rsp, 0xff00);
}

/*
 * Without unrestricted guest this is the emulator's arithmetic. The sum is what two
 * independent CPUs agree on (QEMU's and Bochs').
 */
TEST(decimal)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	struct kvm_regs r;

	vm_code(vm, CODE, bcd);
	vcpu_real_mode(v, CODE);
	run_to_hlt(v, &r);
	CHECK_EQ(r.rbp, 0x1bd37dbd);
}

TEST(reset_state)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint8_t *rom = host_pages(0x10000);
	struct kvm_sregs s;
	struct kvm_regs r;

	vm_slot(vm, SLOT_FREE, KVM_MEM_READONLY, 0xffff0000, 0x10000, rom);
	extern char reset[], reset_end[];
	memcpy(rom + 0xfff0, reset, reset_end - reset);
	vcpu_get_regs(v, &r);
	vcpu_get_sregs(v, &s);
	CHECK_EQ(r.rip, 0xfff0);
	CHECK_EQ(r.rflags, 2);
	CHECK_EQ(s.cs.base, 0xffff0000);
	CHECK_EQ(s.cs.selector, 0xf000);
	CHECK_EQ(s.cr0, 0x60000010);
	CHECK_EQ(s.cr4, 0);
	CHECK_EQ(s.efer, 0);
	CHECK_EQ(s.idt.limit, 0xffff);
	CHECK_EQ(s.gdt.limit, 0xffff);
	CHECK_EQ(s.tr.type & 3, 3); /* busy; KVM says 3 on AMD, 11 on Intel */
	CHECK_EQ(s.ldt.type, 2);
	run_to_hlt(v, &r);
	CHECK_EQ(r.rbx & 0xffff, 0xf000);
	CHECK_EQ(r.rcx & 0xffff, 0x7788);
}

TEST(protected_16)
{
	struct vcpu *v = prot_guest(0, 0x4000, 0, 0);
	struct kvm_regs r;

	vm_code(v->vm, CODE, prot16);
	/* The handler's code segment is flat and 32-bit, its stack stays 16-bit. */
	run_to_hlt(v, &r);
	CHECK_EQ(*(uint16_t *)vm_ptr(v->vm, 0x4500), 0xabcd);
	CHECK_EQ(r.rbx & 0xffff, 0x1234);
	CHECK_EQ(r.rbp, 0); /* error code of #GP */
	extern char prot16[], prot16_end[];
	CHECK_EQ(r.rsi, CODE - 0x4000 + (prot16_end - prot16) - 2);
}

TEST(protected_32)
{
	struct vcpu *v = prot_guest(1, 0, 0, 0);
	struct kvm_sregs s;
	struct kvm_regs r;

	vm_code(v->vm, CODE, prot32);
	*(uint32_t *)vm_ptr(v->vm, 0x20010) = 0x13579bdf;
	REQUIRE(vcpu_run_raw(v) == KVM_EXIT_IO, "exit %u", v->run->exit_reason);
	CHECK_EQ(v->run->io.port, PORT);
	CHECK_EQ(v->run->io.size, 1);
	CHECK_EQ(*((uint8_t *)v->run + v->run->io.data_offset), 0xef);
	run_to_hlt(v, &r);
	CHECK_EQ(*(uint32_t *)vm_ptr(v->vm, 0x500), 0x89abcdef);
	CHECK_EQ(r.rbx, 0x89abcdef);
	CHECK_EQ(r.rdx, 0x13579bdf);
	CHECK_EQ(((struct gate *)vm_ptr(v->vm, 0x510))->base, TABLES + 0x800);
	CHECK_EQ(((struct gate *)vm_ptr(v->vm, 0x520))->limit, 0x2f);
	CHECK_EQ(r.rdi & 0xffff, 0x18);
	CHECK_EQ(r.rsi & 0x200000, 0x200000);
	vcpu_get_sregs(v, &s);
	CHECK_EQ(s.fs.selector, 0x20);
	CHECK_EQ(s.fs.base, 0x20000);
	CHECK_EQ(s.fs.limit, 0xffff);
	CHECK_EQ(s.fs.g, 0);
}

static void check_paged32(struct vcpu *v)
{
	struct kvm_regs r;

	*(uint32_t *)vm_ptr(v->vm, 0x100010) = 0x1a2b3c4d;
	*(uint32_t *)vm_ptr(v->vm, 0x400020) = 0x55667788;
	vm_code(v->vm, CODE, paged32);
	run_to_hlt(v, &r);
	CHECK_EQ(r.rax, 0x1a2b3c4d);
	CHECK_EQ(r.rbx, 0x55667788);
	CHECK_EQ(*(uint32_t *)vm_ptr(v->vm, 0x100014), 0x5a5a5a5a);
	CHECK_EQ(r.rdx, 0xc0001000);
	CHECK_EQ(r.rbp, 3); /* present, write */
}

TEST(paging_32)
{
	struct vcpu *v = prot_guest(1, 0, 0x80010000, 0x10); /* PG WP, PSE */
	uint32_t *pd = vm_ptr(v->vm, GPA_PG), *pt = vm_ptr(v->vm, GPA_PG + 0x1000);

	pd[0] = 0x83;			   /* identity, 4 MiB */
	pd[0x101] = 0x400083;		   /* 0x40400000 */
	pd[0x300] = (GPA_PG + 0x1000) | 3; /* 0xc0000000 */
	pt[0] = 0x100003;
	pt[1] = 0x101001;
	check_paged32(v);
	CHECK_EQ(pt[0] & 0x60, 0x60); /* accessed, dirty */
	CHECK_EQ(pd[0x101] & 0x60, 0x20);
}

TEST(paging_pae)
{
	struct vcpu *v = prot_guest(1, 0, 0x80010000, 0x20);
	uint64_t *pdpt, *pd, *pt = vm_ptr(v->vm, GPA_PG + 0x5000);
	struct kvm_sregs s;

	/* The vCPU loads its PDPTEs from memory when CR3 is set. */
	pdpt = vm_ptr(v->vm, GPA_PG);
	pd = vm_ptr(v->vm, GPA_PG + 0x1000);
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (GPA_PG + 0x1000 * (i + 1)) | 1;
	pd[0] = 0x83; /* identity, 2 MiB */
	pd[1] = 0x200083;
	pd[512 + 2] = 0x400083;		     /* 0x40400000 */
	pd[3 * 512] = (GPA_PG + 0x5000) | 3; /* 0xc0000000 */
	pt[0] = 0x100003;
	pt[1] = 0x101001;
	vcpu_get_sregs(v, &s);
	vcpu_set_sregs(v, &s);
	check_paged32(v);
	CHECK_EQ(pt[0] & 0x60, 0x60);
}

/*
 * Page-directory pointers that memory no longer has: Intel's CPUs have loaded them with
 * CR3, AMD's read memory at every walk with second-stage tables.
 */
TEST(pae_pointers)
{
	struct vcpu *v = prot_guest(1, 0, 0x80010000, 0x20); /* PG WP, PAE */
	bool kept = cpu_has_vmx();
	struct kvm_sregs2 s, out;
	struct kvm_regs r;
	uint64_t *pdpt, *pd;

	if (dev_cap(KVM_CAP_SREGS2) <= 0)
		test_skip("no KVM_CAP_SREGS2");
	pdpt = vm_ptr(v->vm, GPA_PG);
	pd = vm_ptr(v->vm, GPA_PG + 0x1000);
	pdpt[0] = (GPA_PG + 0x1000) | 1;
	pdpt[3] = (GPA_PG + 0x2000) | 1;
	pd[0] = pd[1024] = 0x83; /* 2 MiB from 0; and at 0xc0000000 for user space's pointer */
	pd[512] = 0x200083;	 /* at 0xc0000000 for memory's */
	vm_code(v->vm, CODE, pointers);
	*(uint32_t *)vm_ptr(v->vm, 0x1f0) = 0x11111111;
	*(uint32_t *)vm_ptr(v->vm, 0x2001f0) = 0x22222222;

	vcpu_ioctl(v, KVM_GET_SREGS2, &s);
	s.flags = 0; /* the tables are there now */
	vcpu_ioctl(v, KVM_SET_SREGS2, &s);
	vcpu_ioctl(v, KVM_GET_SREGS2, &s);
	CHECK_EQ(s.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	CHECK_EQ(s.pdptrs[3], pdpt[3]);
	s.pdptrs[3] = (GPA_PG + 0x3000) | 1;
	vcpu_ioctl(v, KVM_SET_SREGS2, &s);
	vcpu_ioctl(v, KVM_GET_SREGS2, &out);
	CHECK_EQ(out.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	if (kept)
		CHECK_EQ(out.pdptrs[3], s.pdptrs[3]);
	run_to_hlt(v, &r);
	CHECK_EQ(r.rax, kept ? 0x11111111 : 0x22222222);
	vcpu_ioctl(v, KVM_GET_SREGS2, &out);
	CHECK_EQ(out.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	if (kept)
		CHECK_EQ(out.pdptrs[3], s.pdptrs[3]);
	/* The guest loads CR3 anew, and memory counts again. */
	run_to_hlt(v, &r);
	CHECK_EQ(r.rbx, 0x22222222);
	vcpu_ioctl(v, KVM_GET_SREGS2, &out);
	if (kept)
		CHECK_EQ(out.pdptrs[3], pdpt[3]);

	/* Without the flag it is memory that counts. */
	s.flags = 0;
	vcpu_ioctl(v, KVM_SET_SREGS2, &s);
	r.rip = CODE;
	vcpu_set_regs(v, &r);
	run_to_hlt(v, &r);
	CHECK_EQ(r.rax, 0x22222222);
	s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	s.cr0 &= ~0x80000000;
	CHECK_ERR(ioctl(v->fd, KVM_SET_SREGS2, &s), EINVAL);
}

/* The CPU's own accesses to a descriptor are the supervisor's, also at CPL 3. */
TEST(user_loads_segment_from_mmio)
{
	struct vcpu *v = prot_guest(1, 0, 0x80010000, 0); /* PG WP */
	uint32_t *pd = vm_ptr(v->vm, GPA_PG), *pt = vm_ptr(v->vm, GPA_PG + 0x1000);
	uint64_t *gdt = vm_ptr(v->vm, TABLES);
	struct kvm_sregs s;
	struct kvm_regs r;

	vm_code(v->vm, CODE, user32);
	*(uint32_t *)vm_ptr(v->vm, 0x20010) = 0x2468ace0;
	pd[0] = (GPA_PG + 0x1000) | 7;
	pd[0x300] = (GPA_PG + 0x2000) | 7;
	for (unsigned int i = 0; i < 64; i++)
		pt[i] = i << 12 | 3;
	pt[CODE >> 12] |= 4;
	pt[0x20] |= 4;
	pt[1024] = 0xe0000007;
	gdt[6] = desc(0x20000, 0xffff, 0xf2, 4); /* not accessed yet */
	gdt[7] = desc(0, 0xfffff, 0xfb, 0xc);
	gdt[8] = desc(0, 0xfffff, 0xf3, 0xc);
	vcpu_get_sregs(v, &s);
	s.gdt.limit = 0x47;
	vcpu_set_sregs(v, &s);

	REQUIRE(vcpu_run_raw(v) == KVM_EXIT_MMIO, "exit %u", v->run->exit_reason);
	CHECK_EQ(v->run->mmio.phys_addr, 0xe0000000);
	CHECK_EQ(v->run->mmio.len, 2);
	CHECK_EQ(v->run->mmio.is_write, 0);
	memcpy(v->run->mmio.data, &(uint16_t){ 0x33 }, 2);
	run_to_hlt(v, &r);
	CHECK_EQ(r.rbp, 0); /* #GP(0) of HLT; #PF would say 5 */
	CHECK_EQ(r.rbx, 0x2468ace0);
	CHECK_EQ(gdt[6] >> 40 & 0xff, 0xf3);
	vcpu_get_sregs(v, &s);
	CHECK_EQ(s.fs.selector, 0x33);
	CHECK_EQ(s.fs.base, 0x20000);
}

TEST(virtual_8086)
{
	struct vcpu *v = prot_guest(1, 0, 0, 0);
	struct kvm_regs r;

	vm_code(v->vm, CODE, vm86);
	run_to_hlt(v, &r);
	CHECK_EQ(*(uint16_t *)vm_ptr(v->vm, 0x20030), 0x4321);
	CHECK_EQ(r.rbx & 0xffff, 0x4321);
	CHECK_EQ(r.rcx & 0xffff, 0x800);
	CHECK_EQ(r.rbp, 0);		    /* #GP(0) of HLT outside CPL 0 */
	CHECK_EQ(r.rdi & 0x23000, 0x23000); /* VM and IOPL in the pushed flags */
}

/* --- long and compatibility mode --- */

asm(".pushsection .text\n.code32\n"
    ".globl compat32\n"
    "compat32:\n"
    "mov $-1, %eax\n"
    "inc %eax\n" /* one byte in 32-bit code, REX in 64 */
    "mov $0x12345678, %ebx\n"
    "push %ebx\n pop %ecx\n"
    "ljmp $8, $compat_back\n"
    ".code64\n"
    "compat_back: ret\n"
    ".popsection\n");

extern char compat32[];

static volatile uint64_t compat_rcx, compat_rax;

static void compat_guest(uint64_t arg)
{
	uint64_t rax, rcx;

	(void)arg;
	/* A call that the far return turns into compatibility mode. */
	asm volatile("mov %%rsp, %%r12\n"
		     "call 1f\n"
		     "jmp 2f\n"
		     "1: pushq $0x18\n"
		     "lea compat32(%%rip), %%rax\n"
		     "push %%rax\n"
		     "lretq\n"
		     "2: mov %%r12, %%rsp"
		     : "=a"(rax), "=c"(rcx)
		     :
		     : "rbx", "r12", "memory", "cc");
	G_CHECK_EQ(rax, 0);
	G_CHECK_EQ(rcx, 0x12345678);
}

TEST(compatibility)
{
	vcpu_run(vm_with_guest(0, compat_guest, 0));
}

static void long_guest(uint64_t arg)
{
	uint64_t big = 0x123456789abcdef0, out, *high = (uint64_t *)GVA_FREE;

	asm volatile("mov %1, %%r15; bswap %%r15; mov %%r15, %0" : "=r"(out) : "r"(big) : "r15");
	G_CHECK_EQ(out, 0xf0debc9a78563412);
	*high = 5;
	G_CHECK_EQ(*(volatile uint64_t *)arg, 5);
	G_CHECK_EQ(G_TRY("mov %1, %0", "=r"(out) : "m"(*(uint64_t *)0x8000000000000000)), 13);
	G_CHECK_EQ(G_TRY("mov %1, %0", "=r"(out) : "m"(*(uint64_t *)(GVA_FREE + 0x1000))), 14);
	G_CHECK_EQ(g_cpu()->cr2, GVA_FREE + 0x1000);
	G_CHECK_EQ(g_cpu()->error, 0);
	/* No execution from an NX page; the fixup is where the stub returns to. */
	*(uint8_t *)high = 0xc3;
	G_CHECK_EQ(G_TRY("call *%0", : "r"(high)), 14);
	G_CHECK_EQ(g_cpu()->error, 0x11);
	asm volatile("pop %%rax" : : : "rax", "memory");
}

TEST(long_mode)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	uint64_t page = vm_alloc(vm, 1), *pte = vm_map(vm, GVA_FREE, page, PT_P | PT_W | PT_NX);

	vcpu_long_mode(v, long_guest, page);
	vcpu_run(v);
	CHECK_EQ(*pte & (PT_A | PT_D), PT_A | PT_D);
}

/* --- all of them in one guest --- */

asm(".pushsection .rodata\n.code16\n"
    ".globl tour, tour_end\n"
    "tour:\n" /* CS base 0, so that IP is linear */
    "xor %edi, %edi\n"
    "tour_real:\n"
    "lgdtl 0x600\n"
    "mov %cr0, %eax\n or $1, %eax\n mov %eax, %cr0\n"
    "ljmpl $8, $(tour_32 - tour + 0x8000)\n"
    ".code32\n"
    "tour_32:\n"
    "mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %ss\n mov %eax, %es\n"
    "mov $0x21, %al\n out %al, $0x99\n"
    "mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n"
    "mov $0x20000, %eax\n mov %eax, %cr3\n" /* the library's PML4 */
    "mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"
    "mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n"
    "ljmp $0x28, $(tour_64 - tour + 0x8000)\n"
    ".code64\n"
    "tour_64:\n"
    "mov $0x123456789abcdef0, %rbx\n"
    "shr $32, %rbx\n"
    "mov $0x22, %al\n out %al, $0x99\n"
    "mov $0xc0000080, %ecx\n rdmsr\n mov %eax, %esi\n" /* LMA is set */
    "sub $16, %rsp\n"
    "movl $(tour_compat - tour + 0x8000), (%rsp)\n movw $8, 4(%rsp)\n"
    "ljmpl *(%rsp)\n"
    ".code32\n"
    "tour_compat:\n"
    "add $16, %esp\n"
    "mov $0x23, %al\n out %al, $0x99\n"
    "mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n" /* leaves long mode */
    "mov $0xc0000080, %ecx\n rdmsr\n mov %eax, %ebp\n"		/* LMA is clear */
    "and $~0x100, %eax\n wrmsr\n"
    "mov %cr4, %eax\n and $~0x20, %eax\n mov %eax, %cr4\n"
    "mov $0x24, %al\n out %al, $0x99\n"
    "ljmp $0x30, $(tour_16 - tour + 0x8000)\n"
    ".code16\n"
    "tour_16:\n"
    "mov $0x38, %ax\n mov %ax, %ds\n mov %ax, %ss\n mov %ax, %es\n"
    "mov %cr0, %eax\n and $~1, %eax\n mov %eax, %cr0\n"
    "ljmp $0x0, $(tour_back - tour + 0x8000)\n"
    "tour_back:\n"
    "xor %ax, %ax\n mov %ax, %ds\n mov %ax, %ss\n mov %ax, %es\n"
    "mov $0x25, %al\n out %al, $0x99\n"
    "inc %edi\n cmp $20, %edi\n jne tour_real\n"
    "hlt\n"
    "tour_end:\n.code64\n.popsection\n");

TEST(mode_switches)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	struct gate gdtr = { 0x3f, TABLES };
	uint64_t *gdt = vm_ptr(vm, TABLES);
	struct kvm_regs r;

	tables32(vm);
	gdt[6] = desc(0, 0xffff, 0x9b, 0);
	gdt[7] = desc(0, 0xffff, 0x93, 0);
	memcpy(vm_ptr(vm, 0x600), &gdtr, sizeof(gdtr));
	vm_code(vm, CODE, tour);
	vcpu_real_mode(v, 0);
	vcpu_get_regs(v, &r);
	r.rip = CODE;
	r.rsp = 0x7f00;
	vcpu_set_regs(v, &r);
	for (unsigned int i = 0; i < 100; i++) {
		REQUIRE(vcpu_run_raw(v) == KVM_EXIT_IO, "exit %u at step %u", v->run->exit_reason,
			i);
		CHECK_EQ(*((uint8_t *)v->run + v->run->io.data_offset), 0x21 + i % 5);
	}
	run_to_hlt(v, &r);
	CHECK_EQ(r.rbx, 0x12345678);
	CHECK_EQ(r.rsi & 0x500, 0x500);
	CHECK_EQ(r.rbp & 0x500, 0x100);
	CHECK_EQ(r.rdi, 20);
}
