// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes that end in an eventfd or in the coalescing ring rather than in an exit.
 */
#include <sys/eventfd.h>
#include "test.h"

#define PORT 0x600

static uint64_t take(int fd)
{
	uint64_t value = 0;

	return read(fd, &value, 8) == 8 ? value : 0;
}

static int event(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	REQUIRE(fd >= 0, "eventfd: %s", strerror(errno));
	return fd;
}

static int ioeventfd(struct vm *vm, int fd, uint64_t addr, uint32_t len, uint32_t flags,
		     uint64_t match)
{
	struct kvm_ioeventfd e = {
		.datamatch = match, .addr = addr, .len = len, .fd = fd, .flags = flags
	};

	return ioctl(vm->fd, KVM_IOEVENTFD, &e);
}

enum {
	PIO = KVM_IOEVENTFD_FLAG_PIO,
	MATCH = KVM_IOEVENTFD_FLAG_DATAMATCH,
	OFF = KVM_IOEVENTFD_FLAG_DEASSIGN,
};

static unsigned int exits;

static bool count_exit(struct vcpu *v)
{
	exits++;
	if (v->run->exit_reason == KVM_EXIT_MMIO)
		return v->run->mmio.is_write;
	return v->run->exit_reason == KVM_EXIT_IO;
}

static void port_guest(uint64_t arg)
{
	(void)arg;
	g_outb(PORT, 1);
	g_sync(1);
	g_outb(PORT, 2);
	g_outw(PORT, 1);
	g_outl(PORT, 1);
	g_sync(2);
	for (unsigned int i = 0; i < 100; i++)
		g_outb(PORT, 1);
	g_sync(3);
	g_outw(PORT + 2, 0xabcd);
	g_outw(PORT + 2, 0xabcc);
	g_sync(4);
	g_outl(PORT + 8, 7);
	g_outb(PORT + 8, 7);
	g_outw(PORT + 8, 9);
	g_sync(5);
	uint8_t text[] = { 1, 2, 1 };
	uint64_t si = (uintptr_t)text, n = 3;

	asm volatile("rep outsb" : "+S"(si), "+c"(n) : "d"(PORT) : "memory");
	g_sync(6);
	g_inb(PORT); /* reads are not its business */
	g_sync(7);
	g_outb(PORT, 1);
}

TEST(ports)
{
	struct vcpu *v = vm_with_guest(0, port_guest, 0);
	struct vm *vm = v->vm;
	int byte = event(), word = event(), any = event();

	v->on_exit = count_exit;
	CHECK_OK(ioeventfd(vm, byte, PORT, 1, PIO | MATCH, 1));
	CHECK_OK(ioeventfd(vm, word, PORT + 2, 2, PIO | MATCH, 0xabcd));
	if (dev_cap(KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0)
		CHECK_OK(ioeventfd(vm, any, PORT + 8, 0, PIO, 0));
	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(take(byte), 1);
	CHECK_EQ(exits, 0);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(take(byte), 0);
	CHECK_EQ(exits, 3); /* another value, other lengths */
	CHECK_EQ(vcpu_run_sync(v), 3);
	CHECK_EQ(take(byte), 100);
	CHECK_EQ(exits, 3);
	CHECK_EQ(vcpu_run_sync(v), 4);
	CHECK_EQ(take(word), 1);
	CHECK_EQ(exits, 4);
	CHECK_EQ(vcpu_run_sync(v), 5);
	CHECK_EQ(take(any), 3);
	CHECK_EQ(exits, 4);
	CHECK_EQ(vcpu_run_sync(v), 6);
	CHECK_EQ(take(byte), 2);
	CHECK_EQ(exits, 5);
	CHECK_EQ(vcpu_run_sync(v), 7);
	CHECK_EQ(take(byte), 0);
	CHECK_EQ(exits, 6);
	CHECK_OK(ioeventfd(vm, byte, PORT, 1, PIO | MATCH | OFF, 1));
	vcpu_run(v);
	CHECK_EQ(take(byte), 0);
	CHECK_EQ(exits, 7);
}

static void mmio_guest(uint64_t arg)
{
	uint64_t m = MMIO_BASE;

	(void)arg;
	G_WRITE(uint32_t, m, 5);
	G_WRITE(uint32_t, m, 6);
	G_WRITE(uint16_t, m, 5);
	g_sync(1);
	G_WRITE(uint64_t, m + 8, 0x1122334455667788);
	G_WRITE(uint64_t, m + 8, 1);
	g_sync(2);
	G_WRITE(uint8_t, m + 0x100, 1);
	G_WRITE(uint16_t, m + 0x100, 1);
	G_WRITE(uint32_t, m + 0x100, 1);
	G_WRITE(uint64_t, m + 0x100, 1);
	g_sync(3);
	for (unsigned int i = 0; i < 100; i++)
		G_WRITE(uint32_t, m, 5);
	g_sync(4);
	/* An XCHG reads, which is no event. */
	asm volatile("movl %0, (%1)" : : "r"(5), "r"(m) : "memory");
}

TEST(mmio)
{
	struct vcpu *v = vm_with_guest(0, mmio_guest, 0);
	struct vm *vm = v->vm;
	int a = event(), b = event(), c = event();

	v->on_exit = count_exit;
	CHECK_OK(ioeventfd(vm, a, MMIO_BASE, 4, MATCH, 5));
	CHECK_OK(ioeventfd(vm, b, MMIO_BASE + 8, 8, MATCH, 0x1122334455667788));
	CHECK_OK(ioeventfd(vm, c, MMIO_BASE + 0x100, 0, 0, 0));
	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(take(a), 1);
	CHECK_EQ(exits, 2);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(take(b), 1);
	CHECK_EQ(exits, 3);
	CHECK_EQ(vcpu_run_sync(v), 3);
	CHECK_EQ(take(c), 4);
	CHECK_EQ(exits, 3);
	CHECK_EQ(vcpu_run_sync(v), 4);
	CHECK_EQ(take(a), 100);
	CHECK_EQ(exits, 3);
	vcpu_run(v);
	CHECK_EQ(take(a), 1);
}

TEST(ioeventfd_errors)
{
	struct vm *vm = vm_new(0);
	int fd = event(), other = event();

	CHECK_ERR(ioeventfd(vm, fd, PORT, 3, PIO, 0), EINVAL);
	CHECK_ERR(ioeventfd(vm, fd, PORT, 16, PIO, 0), EINVAL);
	CHECK_ERR(ioeventfd(vm, fd, ~0ull, 8, 0, 0), EINVAL);
	CHECK_ERR(ioeventfd(vm, fd, PORT, 1, 1u << 20, 0), EINVAL);
	CHECK_ERR(ioeventfd(vm, fd, PORT, 0, PIO | MATCH, 1), EINVAL);
	CHECK_ERR(ioeventfd(vm, 9999, PORT, 1, PIO, 0), EBADF);
	CHECK_ERR(ioeventfd(vm, vm->fd, PORT, 1, PIO, 0), EINVAL);
	CHECK_ERR(ioeventfd(vm, fd, PORT, 1, PIO | OFF, 0), ENOENT);
	CHECK_OK(ioeventfd(vm, fd, PORT, 1, PIO, 0));
	CHECK_ERR(ioeventfd(vm, fd, PORT, 1, PIO, 0), EEXIST);
	CHECK_ERR(ioeventfd(vm, other, PORT, 1, PIO, 0), EEXIST);
	CHECK_ERR(ioeventfd(vm, other, PORT, 1, PIO | MATCH, 5), EEXIST);
	CHECK_ERR(ioeventfd(vm, other, PORT, 1, PIO | OFF, 0), ENOENT);
	CHECK_OK(ioeventfd(vm, fd, PORT, 1, PIO | OFF, 0));
	/* The same address with other values is fine. */
	CHECK_OK(ioeventfd(vm, fd, PORT, 1, PIO | MATCH, 1));
	CHECK_OK(ioeventfd(vm, other, PORT, 1, PIO | MATCH, 2));
	/* Many of them, as QEMU has them; then they all go with the VM. */
	for (unsigned int i = 0; i < 300; i++)
		CHECK_OK(ioeventfd(vm, fd, 0x1000 + 2 * i, 2, PIO | MATCH, i));
	close(fd);
	close(other);
	vm_free(vm);
}

/* Assigned and removed while the guest writes */
static volatile uint32_t stop;

static void writer_guest(uint64_t arg)
{
	(void)arg;
	while (!stop) {
		g_outb(PORT, 1);
		G_WRITE(uint32_t, MMIO_BASE, 5);
	}
}

TEST(while_running)
{
	struct vcpu *v = vm_with_guest(0, writer_guest, 0);
	int fd = event();

	v->on_exit = count_exit;
	vcpu_start(v);
	for (unsigned int i = 0; i < 100; i++) {
		CHECK_OK(ioeventfd(v->vm, fd, PORT, 1, PIO, 0));
		CHECK_OK(ioeventfd(v->vm, fd, MMIO_BASE, 4, 0, 0));
		if (i % 10 == 0)
			usleep(1000);
		CHECK_OK(ioeventfd(v->vm, fd, PORT, 1, PIO | OFF, 0));
		CHECK_OK(ioeventfd(v->vm, fd, MMIO_BASE, 4, OFF, 0));
		/* A busy machine lets the guest run only while we sleep: with and without them. */
		if (i % 10 == 5)
			usleep(1000);
	}
	stop = 1;
	vcpu_join(v);
	CHECK(take(fd) > 0, "no event");
	CHECK(exits > 0, "no exit");
}

/* --- coalesced --- */

static void coalesced_guest(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		G_WRITE(uint32_t, MMIO_BASE + 8 * (i % 4), i);
	G_WRITE(uint8_t, MMIO_BASE + 1, 0xaa);
	g_sync(1);
	for (unsigned int i = 0; i < 5; i++)
		g_outw(PORT, i);
	g_sync(2);
	/* More than the ring has room for: exits, in order after it */
	for (unsigned int i = 0; i < 1000; i++)
		G_WRITE(uint32_t, MMIO_BASE, i);
	g_sync(3);
	G_WRITE(uint32_t, MMIO_BASE, 1);
}

static uint32_t expected;

static void drain(struct kvm_coalesced_mmio_ring *ring, uint32_t max)
{
	while (ring->first != ring->last) {
		CHECK_EQ(*(uint32_t *)ring->coalesced_mmio[ring->first].data, expected);
		expected++;
		ring->first = (ring->first + 1) % max;
	}
}

TEST(coalesced)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = MMIO_BASE, .size = 0x100 };
	struct kvm_coalesced_mmio_zone ports = { .addr = PORT, .size = 2, .pio = 1 };
	int page = dev_cap(KVM_CAP_COALESCED_MMIO);
	uint32_t max = (PAGE - sizeof(struct kvm_coalesced_mmio_ring)) /
		       sizeof(struct kvm_coalesced_mmio);
	struct kvm_coalesced_mmio_ring *ring;
	struct vcpu *v;

	if (page <= 0)
		test_skip("no KVM_CAP_COALESCED_MMIO");
	v = vm_with_guest(0, coalesced_guest, 20);
	ring = (void *)((uint8_t *)v->run + page * PAGE);
	v->on_exit = count_exit;
	vm_ioctl(v->vm, KVM_REGISTER_COALESCED_MMIO, &zone);
	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(exits, 0);
	CHECK_EQ(ring->last - ring->first, 21);
	for (unsigned int i = 0; i < 20; i++) {
		CHECK_EQ(ring->coalesced_mmio[i].phys_addr, MMIO_BASE + 8 * (i % 4));
		CHECK_EQ(ring->coalesced_mmio[i].len, 4);
		CHECK_EQ(*(uint32_t *)ring->coalesced_mmio[i].data, i);
	}
	CHECK_EQ(ring->coalesced_mmio[20].len, 1);
	ring->first = ring->last;
	if (dev_cap(KVM_CAP_COALESCED_PIO) > 0) {
		vm_ioctl(v->vm, KVM_REGISTER_COALESCED_MMIO, &ports);
		CHECK_EQ(vcpu_run_sync(v), 2);
		CHECK_EQ(exits, 0);
		CHECK_EQ(ring->last - ring->first, 5);
		CHECK_EQ(ring->coalesced_mmio[ring->first].pio, 1);
		CHECK_EQ(ring->coalesced_mmio[ring->first].phys_addr, PORT);
		ring->first = ring->last;
	} else {
		CHECK_EQ(vcpu_run_sync(v), 2);
		exits = 0;
	}
	/* The guest's writes come in order, out of the ring or by an exit. */
	for (;;) {
		int reason = vcpu_run_raw(v);
		uint64_t n;

		drain(ring, max);
		if (vcpu_is_sync(v, &n))
			break;
		REQUIRE(reason == KVM_EXIT_MMIO, "exit %d", reason);
		CHECK_EQ(*(uint32_t *)v->run->mmio.data, expected);
		expected++;
		exits++;
	}
	CHECK_EQ(expected, 1000);
	CHECK(exits < 20, "%u exits", exits);
	vm_ioctl(v->vm, KVM_UNREGISTER_COALESCED_MMIO, &zone);
	exits = 0;
	vcpu_run(v);
	CHECK_EQ(exits, 1);
	/* A ring that user space has spoilt harms nobody. */
	ring->first = 0x12345678;
	ring->last = 0xffffffff;
	vm_ioctl(v->vm, KVM_REGISTER_COALESCED_MMIO, &zone);
	vcpu_long_mode(v, coalesced_guest, 4);
	vcpu_run_sync(v);
	zone.pio = 2;
	CHECK_ERR(ioctl(v->vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone), EINVAL);
	CHECK_ERR(ioctl(v->vm->fd, KVM_UNREGISTER_COALESCED_MMIO, &zone), EINVAL);
}
