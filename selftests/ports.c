// SPDX-License-Identifier: GPL-2.0-only
/*
 * Port I/O: all sizes, the string instructions with and without REP, over page
 * boundaries and into pages that are not there, and who may do it.
 */
#include "test.h"

/* --- ports --- */

static void port_guest(uint64_t arg)
{
	uint64_t rax;

	(void)arg;
	asm volatile("mov $-1, %%rax; outb %%al, $0x80" : : : "rax");
	g_outb(0x1234, 0x56);
	g_outw(0x1234, 0x5678);
	g_outl(0xfffc, 0x9abcdef0);
	rax = 0x1122334455667788;
	asm volatile("inb $0x81, %%al" : "+a"(rax));
	G_CHECK_EQ(rax, 0x11223344556677a1);
	rax = 0x1122334455667788;
	asm volatile("inw %%dx, %%ax" : "+a"(rax) : "d"(0x4322));
	G_CHECK_EQ(rax, 0x112233445566b2a1);
	rax = 0x1122334455667788;
	asm volatile("inl %%dx, %%eax" : "+a"(rax) : "d"(0x4324));
	G_CHECK_EQ(rax, 0xd4c3b2a1);
}

static void expect_port(struct vcpu *v, int in, uint16_t port, uint8_t size, uint32_t data)
{
	uint32_t value = 0;

	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	CHECK_EQ(v->run->io.direction, in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT);
	CHECK_EQ(v->run->io.port, port);
	CHECK_EQ(v->run->io.size, size);
	CHECK_EQ(v->run->io.count, 1);
	if (in) {
		memcpy((uint8_t *)v->run + v->run->io.data_offset, "\xa1\xb2\xc3\xd4", 4);
		return;
	}
	memcpy(&value, (uint8_t *)v->run + v->run->io.data_offset, size);
	CHECK_EQ(value, data);
}

TEST(port_sizes)
{
	struct vcpu *v = vm_with_guest(0, port_guest, 0);

	expect_port(v, 0, 0x80, 1, 0xff);
	expect_port(v, 0, 0x1234, 1, 0x56);
	expect_port(v, 0, 0x1234, 2, 0x5678);
	expect_port(v, 0, 0xfffc, 4, 0x9abcdef0);
	expect_port(v, 1, 0x81, 1, 0);
	expect_port(v, 1, 0x4322, 2, 0);
	expect_port(v, 1, 0x4324, 4, 0);
	vcpu_run(v);
}

static uint64_t port_user(uint64_t arg)
{
	(void)arg;
	g_outb(0x80, 1);
	return 0;
}

static uint64_t port_user_denied(uint64_t arg)
{
	uint32_t eax = 0;

	(void)arg;
	if (G_TRY("outb %%al, $0x80", : "a"(0)) != 13)
		return 1;
	if (G_TRY("inl $0x80, %%eax", "+a"(eax) :) != 13)
		return 2;
	if (G_TRY("outsb", : "d"(0x80), "S"(0)) != 13)
		return 3;
	return 0;
}

/* The TSS has no I/O bitmap: IOPL decides. */
static void port_user_guest(uint64_t arg)
{
	(void)arg;
	g_user(port_user, 0);
	G_CHECK_EQ(g_user_flags(port_user_denied, 0, 2), 0);
}

static bool any_port(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_IO;
}

/* --- string I/O --- */

#define COUNT 600

static struct {
	uint8_t data[16384];
	size_t at, exits, most;
} stream;

static bool stream_port(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *p = (uint8_t *)run + run->io.data_offset;
	size_t n = (size_t)run->io.size * run->io.count;

	if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0x300 || n > PAGE)
		return false;
	if (run->io.direction == KVM_EXIT_IO_OUT)
		memcpy(stream.data + stream.at, p, n);
	else
		memcpy(p, stream.data + stream.at, n);
	stream.at += n;
	stream.exits++;
	stream.most = n > stream.most ? n : stream.most;
	return true;
}

#define REP(insn, rsi, rdi, rcx, flags)                                                   \
	({                                                                                \
		uint64_t si_ = (rsi), di_ = (rdi), cx_ = (rcx);                           \
		uint64_t vec_ = G_TRY(flags insn "; cld", "+S"(si_), "+D"(di_), "+c"(cx_) \
				      : "d"(0x300));                                      \
		rep_rsi = si_, rep_rdi = di_, rep_rcx = cx_;                              \
		vec_;                                                                     \
	})

static uint64_t rep_rsi, rep_rdi, rep_rcx;

static uint8_t pattern(unsigned int i)
{
	return i * 7 + (i >> 8);
}

static void outs_guest(uint64_t arg)
{
	uint8_t *p = (uint8_t *)arg;

	for (unsigned int i = 0; i < 3 * PAGE; i++)
		p[i] = pattern(i);
	G_CHECK_EQ(REP("outsb", arg, 0, 5, ""), NO_FAULT);
	G_CHECK_EQ(rep_rsi, arg + 1);
	G_CHECK_EQ(rep_rcx, 5);
	g_sync(1);
	G_CHECK_EQ(REP("rep outsb", arg, 0, 0, ""), NO_FAULT);
	G_CHECK_EQ(rep_rcx, 0);
	g_sync(0);
	G_CHECK_EQ(REP("rep outsb", arg + PAGE - 100, 0, COUNT, ""), NO_FAULT);
	G_CHECK_EQ(rep_rsi, arg + PAGE - 100 + COUNT);
	g_sync(COUNT);
	G_CHECK_EQ(REP("rep outsw", arg + PAGE - 101, 0, COUNT, ""), NO_FAULT);
	G_CHECK_EQ(rep_rsi, arg + PAGE - 101 + 2 * COUNT);
	g_sync(2 * COUNT);
	G_CHECK_EQ(REP("rep outsl", arg + PAGE - 101, 0, COUNT, ""), NO_FAULT);
	g_sync(4 * COUNT);
	/* Downwards; and into a page that is not there. */
	G_CHECK_EQ(REP("rep outsb", arg + 10, 0, 3, "std; "), NO_FAULT);
	G_CHECK_EQ(rep_rsi, arg + 7);
	g_sync(3);
	G_CHECK_EQ(REP("rep outsl", arg + 3 * PAGE - 10, 0, 8, ""), 14);
	G_CHECK_EQ(rep_rcx, 6);
	G_CHECK_EQ(rep_rsi, arg + 3 * PAGE - 2);
	G_CHECK_EQ(g_cpu()->cr2, arg + 3 * PAGE);
	G_CHECK_EQ(g_cpu()->error, 0);
	asm volatile("cld");
	g_sync(8);
}

static uint64_t three_pages(struct vm *vm, uint64_t first)
{
	/* In the wrong order, so that what is contiguous for the guest is not here. */
	uint64_t gpa = vm_alloc(vm, 3);

	for (unsigned int i = 0; i < 3; i++)
		vm_map(vm, first + i * PAGE, gpa + (2 - i) * PAGE, PT_P | PT_W | PT_U);
	return first;
}

static void check_stream(uint64_t first, uint64_t step, uint64_t bytes)
{
	CHECK_EQ(stream.at, bytes);
	for (uint64_t i = 0; i < bytes && i < stream.at; i++) {
		if (stream.data[i] == pattern(first + i * step))
			continue;
		CHECK(false, "byte %llu is %#x", (unsigned long long)i, stream.data[i]);
		break;
	}
	stream.at = 0;
}

TEST(rep_outs)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);

	v->on_exit = stream_port;
	vcpu_long_mode(v, outs_guest, three_pages(vm, GVA_FREE));
	CHECK_EQ(vcpu_run_sync(v), 1);
	check_stream(0, 1, 1);
	vcpu_run_sync(v);
	check_stream(0, 1, 0);
	vcpu_run_sync(v);
	check_stream(PAGE - 100, 1, COUNT);
	vcpu_run_sync(v);
	check_stream(PAGE - 101, 1, 2 * COUNT);
	vcpu_run_sync(v);
	check_stream(PAGE - 101, 1, 4 * COUNT);
	vcpu_run_sync(v);
	check_stream(10, (uint64_t)-1, 3);
	vcpu_run_sync(v);
	check_stream(3 * PAGE - 10, 1, 8);
	vcpu_run(v);
}

static bool on_kvm;

static void ins_guest(uint64_t arg)
{
	uint8_t *p = (uint8_t *)arg;

	p[0] = p[1] = 0xee;
	G_CHECK_EQ(REP("insb", 0, arg, 5, ""), NO_FAULT);
	G_CHECK_EQ(rep_rdi, arg + 1);
	G_CHECK_EQ(p[0], pattern(0));
	G_CHECK_EQ(p[1], 0xee);
	g_sync(1);
	G_CHECK_EQ(REP("rep insb", 0, arg + PAGE - 100, COUNT, ""), NO_FAULT);
	G_CHECK_EQ(rep_rdi, arg + PAGE - 100 + COUNT);
	G_CHECK_EQ(rep_rcx, 0);
	for (unsigned int i = 0; i < COUNT; i++)
		G_CHECK_EQ(p[PAGE - 100 + i], pattern(i));
	g_sync(COUNT);
	G_CHECK_EQ(REP("rep insl", 0, arg + PAGE - 101, COUNT, ""), NO_FAULT);
	G_CHECK_EQ(rep_rdi, arg + PAGE - 101 + 4 * COUNT);
	for (unsigned int i = 0; i < 4 * COUNT; i++)
		G_CHECK_EQ(p[PAGE - 101 + i], pattern(i));
	g_sync(4 * COUNT);
	G_CHECK_EQ(REP("rep insb", 0, arg + 10, 3, "std; "), NO_FAULT);
	G_CHECK_EQ(rep_rdi, arg + 7);
	G_CHECK_EQ(p[10], pattern(0));
	G_CHECK_EQ(p[8], pattern(2));
	g_sync(3);
	/* Forward to an absent page: what was there before it is written. */
	G_CHECK_EQ(REP("rep insw", 0, arg + 3 * PAGE - 4, 8, ""), 14);
	/* KVM takes bytes for words when it looks for the page's end, and does nothing. */
	G_CHECK_EQ(rep_rcx, on_kvm ? 8 : 6);
	G_CHECK_EQ(g_cpu()->cr2, arg + 3 * PAGE);
	G_CHECK_EQ(g_cpu()->error, 2);
	asm volatile("cld");
	g_sync(0);
}

TEST(rep_ins)
{
	static const unsigned int sizes[] = { 1, COUNT, 4 * COUNT, 3 };
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);

	for (unsigned int i = 0; i < sizeof(stream.data); i++)
		stream.data[i] = pattern(i);
	on_kvm = dev_is_kvm();
	v->on_exit = stream_port;
	vcpu_long_mode(v, ins_guest, three_pages(vm, GVA_FREE));
	for (unsigned int i = 0; i < 4; i++) {
		CHECK_EQ(vcpu_run_sync(v), sizes[i]);
		CHECK_EQ(stream.at, sizes[i]);
		stream.at = 0;
	}
	vcpu_run_sync(v);
	vcpu_run(v);
	test_note("at most %zu bytes in an exit", stream.most);
}

TEST(port_ring3)
{
	struct vcpu *v = vm_with_guest(0, port_user_guest, 0);

	v->on_exit = any_port;
	vcpu_run(v);
}
