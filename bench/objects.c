// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making VMs and vCPUs, and what an idle VM takes of the host's memory.
 *
 * Left to others: what happens in them.
 * Known hacks: the counter runs on while the CPU is idle, so a driver that
 * sleeps in an ioctl seems to execute instructions there.
 */
#include "bench.h"

#define TIMES	16
#define NR_IDLE 64

extern char __executable_start[], _end[];

struct result measure_create_vm(void)
{
	int dev = dev_open();

	for (unsigned int i = 0; i < TIMES; i++) {
		uint64_t start = g_rdtsc();
		int fd = ioctl(dev, KVM_CREATE_VM, 0);

		bench_record(g_rdtsc() - start);
		REQUIRE(fd >= 0, "KVM_CREATE_VM: %s", strerror(errno));
		close(fd);
	}
	return (struct result){ .value = bench_best };
}

/* With the interrupt controllers in the kernel, so with a local APIC. */
struct result measure_create_vcpu(void)
{
	struct vm *vm = vm_new_bare(VM_IRQCHIP);

	for (unsigned long id = 0; id < TIMES; id++) {
		uint64_t start = g_rdtsc();
		int fd = ioctl(vm->fd, KVM_CREATE_VCPU, id);

		bench_record(g_rdtsc() - start);
		REQUIRE(fd >= 0, "KVM_CREATE_VCPU: %s", strerror(errno));
	}
	return (struct result){ .value = bench_best };
}

/* Free pages, with those on the lists of the CPUs, which "MemFree" leaves out. */
static uint64_t free_pages(void)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	unsigned long long n;
	uint64_t sum = 0;
	char line[256];

	REQUIRE(f, "/proc/zoneinfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " nr_free_pages %llu", &n) == 1 ||
		    sscanf(line, " count: %llu", &n) == 1)
			sum += n;
	}
	fclose(f);
	return sum;
}

static void guest_nothing(uint64_t arg)
{
	(void)arg;
	bench_record(0); /* somebody has run */
}

/* A VM whose only vCPU has run once. All use the RAM of @model, which is there. */
static struct vm *make_idle(struct vm *model)
{
	struct vm *vm = vm_new_bare(VM_IRQCHIP | VM_PIT);
	uint64_t image = (uintptr_t)__executable_start & ~(PAGE - 1);
	uint64_t end = ((uintptr_t)_end + PAGE - 1) & ~(PAGE - 1);
	struct vcpu *v;

	vm_slot(vm, SLOT_RAM, 0, 0, model->ram_size, model->ram);
	vm_slot(vm, SLOT_IMAGE, 0, image, end - image, (void *)image);
	v = vcpu_new(vm, 0);
	vcpu_long_mode(v, guest_nothing, 0);
	bench_run(v, 0, NULL);
	return vm;
}

/* Once to warm up the allocators, and once more to measure. */
struct result measure_memory(void)
{
	struct vm *model = vm_new(VM_PLAIN);
	uint64_t before = 0, after = 0;

	for (unsigned int round = 0; round < 2; round++) {
		struct vm *idle[NR_IDLE];

		sleep_ms(500); /* what is freed late is free by then */
		before = free_pages();
		for (unsigned int i = 0; i < NR_IDLE; i++)
			idle[i] = make_idle(model);
		after = free_pages();
		for (unsigned int i = 0; i < NR_IDLE; i++)
			vm_free(idle[i]);
	}
	return (struct result){ .value = (before - after) * PAGE / NR_IDLE };
}
