// SPDX-License-Identifier: GPL-2.0-only
/*
 * A thousand virtual machines, created, run and destroyed, leave no memory
 * behind. The kernel's own books are the measure: objects of every slab cache,
 * per-CPU memory, vmalloc space, page tables and free pages, before and after.
 * One object or page lost for each VM is far above the noise.
 */
#include <fcntl.h>
#include "test.h"

#define WARM_UP 50
#define VMS	1000
#define CACHES	600

struct cache {
	char name[64];
	long objects;
};

struct books {
	struct cache cache[CACHES];
	unsigned int n;
	long percpu, vmalloc, tables, available; /* KiB */
};

static void guest(uint64_t arg)
{
	g_outb(0x80, arg);
	g_done();
}

static bool settle_port(struct vcpu *v)
{
	return v->run->exit_reason == KVM_EXIT_IO;
}

static void one_vm(unsigned int n)
{
	struct vm *vm = vm_new(n & 1 ? VM_IRQCHIP | VM_PIT : VM_PLAIN);
	struct vcpu *v = vcpu_new(vm, 0);

	v->on_exit = settle_port;
	vcpu_long_mode(v, guest, n);
	REQUIRE(vcpu_run(v), "VM %u did not come to its end", n);
	vm_free(vm);
}

static long meminfo(const char *text, const char *name)
{
	const char *p = strstr(text, name);

	return p ? atol(p + strlen(name)) : 0;
}

static void read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	size_t at = 0;
	ssize_t n;

	REQUIRE(fd >= 0, "%s: %s", path, strerror(errno));
	while (at < size - 1 && (n = read(fd, buf + at, size - 1 - at)) > 0)
		at += n;
	buf[at] = 0;
	close(fd);
}

static void keep_books(struct books *b)
{
	static char buf[256 << 10];
	char *line, *save;
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	/* SRCU and RCU callbacks, and deferred puts of files. */
	sleep_ms(1000);
	REQUIRE(fd >= 0 && write(fd, "3", 1) == 1, "drop_caches: %s", strerror(errno));
	close(fd);
	read_file("/proc/meminfo", buf, sizeof(buf));
	b->percpu = meminfo(buf, "Percpu:");
	b->vmalloc = meminfo(buf, "VmallocUsed:");
	b->tables = meminfo(buf, "PageTables:");
	b->available = meminfo(buf, "MemAvailable:");
	read_file("/proc/slabinfo", buf, sizeof(buf));
	b->n = 0;
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct cache *c = &b->cache[b->n];

		if (b->n < CACHES && sscanf(line, "%63s %ld", c->name, &c->objects) == 2)
			b->n++;
	}
}

static bool has_cache(const struct books *b, const char *name)
{
	for (unsigned int i = 0; i < b->n; i++)
		if (!strcmp(b->cache[i].name, name))
			return true;
	return false;
}

static void compare(const struct books *before, const struct books *after)
{
	unsigned int i, k;

	for (i = 0; i < after->n; i++) {
		for (k = 0; k < before->n; k++)
			if (!strcmp(before->cache[k].name, after->cache[i].name))
				break;
		long was = k < before->n ? before->cache[k].objects : 0;

		CHECK(after->cache[i].objects - was < VMS / 2, "slab %s grew from %ld to %ld",
		      after->cache[i].name, was, after->cache[i].objects);
	}
	CHECK(after->percpu - before->percpu < VMS / 2, "per-CPU memory grew by %ld KiB",
	      after->percpu - before->percpu);
	CHECK(after->vmalloc - before->vmalloc < 2 * VMS, "vmalloc space grew by %ld KiB",
	      after->vmalloc - before->vmalloc);
	CHECK(after->tables - before->tables < 2 * VMS, "page tables grew by %ld KiB",
	      after->tables - before->tables);
	CHECK(before->available - after->available < 3 * VMS, "%ld KiB of memory are gone",
	      before->available - after->available);
	test_note("after %d VMs: per-CPU %+ld, vmalloc %+ld, available %+ld KiB", VMS,
		  after->percpu - before->percpu, after->vmalloc - before->vmalloc,
		  after->available - before->available);
}

static void make_vms(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		one_vm(i);
}

TEST_SECONDS(thousand_vms_leave_nothing, 100)
{
	static struct books before, after;

	make_vms(WARM_UP);
	keep_books(&before);
	if (has_cache(&before, "kmemleak_object"))
		test_skip("KASAN keeps freed memory for a while: lab/leaks finds leaks there");
	make_vms(VMS);
	keep_books(&after);
	/* The host uses memory, too, but seldom a page for each VM twice in a row. */
	if (before.available - after.available >= 3 * VMS) {
		test_note("available %+ld KiB: once more", after.available - before.available);
		before.available = after.available;
		make_vms(VMS);
		keep_books(&after);
	}
	compare(&before, &after);
}
