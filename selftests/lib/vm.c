// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's side of the library: VMs, memory slots, page tables, and vCPUs that
 * start in 64-bit or real mode. Speaks the KVM ABI only. Running them and
 * reading what a guest says is run.c's part.
 *
 * Known hack: the last slot of every VM's start is this program's own image, so
 * guests can be C functions; what they write there is this process's data.
 */
#include <fcntl.h>
#include <time.h>
#include "test.h"

extern char __executable_start[], _end[];

volatile uint32_t guest_is_on_kvm;

/* Page-table entries of the identity map: present, writable, user, 2 MiB */
#define PD_FLAGS (PT_P | PT_W | PT_U | PT_A | PT_D | PT_PS)

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

void *host_pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	REQUIRE(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

struct vm *vm_new_bare(int flags)
{
	struct kvm_pit_config pit = {};
	struct vm *vm = calloc(1, sizeof(*vm));
	int dev = dev_open();

	vm->fd = ioctl(dev, KVM_CREATE_VM, 0);
	REQUIRE(vm->fd >= 0, "KVM_CREATE_VM: %s", strerror(errno));
	vm->vcpu_map_size = ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	close(dev);
	if (flags & (VM_IRQCHIP | VM_PIT))
		REQUIRE(!ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP: %s",
			strerror(errno));
	if (flags & VM_PIT)
		REQUIRE(!ioctl(vm->fd, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2: %s",
			strerror(errno));
	if (flags & VM_SPLIT) {
		struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

		REQUIRE(!ioctl(vm->fd, KVM_ENABLE_CAP, &cap), "split irqchip: %s", strerror(errno));
	}
	return vm;
}

int vm_try_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
		void *hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

void vm_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva)
{
	REQUIRE(!vm_try_slot(vm, slot, flags, gpa, size, hva), "slot %u at %#llx, %#llx bytes: %s",
		slot, (unsigned long long)gpa, (unsigned long long)size, strerror(errno));
}

static void identity_map(struct vm *vm)
{
	uint64_t *pml4 = vm_ptr(vm, GPA_PML4), *pdpt = vm_ptr(vm, GPA_PDPT),
		 *pd = vm_ptr(vm, GPA_PD);

	pml4[0] = GPA_PDPT | PT_P | PT_W | PT_U;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (GPA_PD + i * PAGE) | PT_P | PT_W | PT_U;
	for (uint64_t i = 0; i < 2048; i++)
		pd[i] = i << 21 | PD_FLAGS;
}

static void vector_table(struct vm *vm)
{
	uint64_t *idt = vm_ptr(vm, GPA_IDT);

	for (unsigned int i = 0; i < 256; i++) {
		uint64_t stub = (uintptr_t)guest_vectors + i * 16;
		/* Interrupt gate, reachable by INT n from ring 3; #DF has a stack of its own. */
		uint64_t type = 0xee00 | (i == 8 ? 1 : 0);

		idt[2 * i] = (stub & 0xffff) | SEL_CODE64 << 16 | type << 32 |
			     (stub & 0xffff0000) << 32;
		idt[2 * i + 1] = stub >> 32;
	}
}

struct vm *vm_new(int flags)
{
	struct vm *vm = vm_new_bare(flags);
	uint64_t start = (uintptr_t)__executable_start & ~(PAGE - 1);
	uint64_t end = ((uintptr_t)_end + PAGE - 1) & ~(PAGE - 1);

	guest_is_on_kvm = dev_is_kvm();
	vm->ram_size = RAM_SIZE;
	vm->ram = host_pages(RAM_SIZE);
	vm->pool = POOL_START;
	vm_slot(vm, SLOT_RAM, 0, 0, RAM_SIZE, vm->ram);
	vm_slot(vm, SLOT_IMAGE, 0, start, end - start, (void *)start);
	identity_map(vm);
	vector_table(vm);
	return vm;
}

int vm_try_cap(struct vm *vm, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap enable = { .cap = cap, .args = { arg } };

	return ioctl(vm->fd, KVM_ENABLE_CAP, &enable);
}

void vm_enable_cap(struct vm *vm, uint32_t cap, uint64_t arg)
{
	CHECK_OK(vm_try_cap(vm, cap, arg));
}

void vm_free(struct vm *vm)
{
	while (vm->nr_vcpus)
		vcpu_free(vm->vcpus[vm->nr_vcpus - 1]);
	close(vm->fd);
	if (vm->ram)
		munmap(vm->ram, vm->ram_size);
	free(vm);
}

uint64_t vm_alloc(struct vm *vm, unsigned int pages)
{
	uint64_t gpa = vm->pool;

	REQUIRE(gpa + pages * PAGE <= vm->ram_size, "the guest's memory is used up");
	vm->pool += pages * PAGE;
	return gpa;
}

uint64_t *vm_map(struct vm *vm, uint64_t gva, uint64_t gpa, uint64_t flags)
{
	uint64_t *table = vm_ptr(vm, GPA_PML4);

	for (int shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = &table[gva >> shift & 511];

		if (!(*entry & PT_P))
			*entry = vm_alloc(vm, 1) | PT_P | PT_W | PT_U;
		REQUIRE(!(*entry & PT_PS), "gva %#llx is in the identity map",
			(unsigned long long)gva);
		table = vm_ptr(vm, *entry & 0xffffffffff000);
	}
	table[gva >> 12 & 511] = gpa | flags;
	return &table[gva >> 12 & 511];
}

const struct kvm_cpuid2 *dev_cpuid(void)
{
	static struct kvm_cpuid2 *table;
	int fd;

	if (table)
		return table;
	table = calloc(1, sizeof(*table) + 256 * sizeof(table->entries[0]));
	table->nent = 256;
	fd = dev_open();
	REQUIRE(!ioctl(fd, KVM_GET_SUPPORTED_CPUID, table), "KVM_GET_SUPPORTED_CPUID: %s",
		strerror(errno));
	close(fd);
	return table;
}

struct kvm_cpuid2 *cpuid_copy(void)
{
	const struct kvm_cpuid2 *table = dev_cpuid();
	struct kvm_cpuid2 *copy = calloc(1, sizeof(*copy) + 256 * sizeof(copy->entries[0]));

	memcpy(copy, table, sizeof(*copy) + table->nent * sizeof(copy->entries[0]));
	return copy;
}

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *c, uint32_t function, uint32_t index)
{
	for (unsigned int i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function != function)
			continue;
		if (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index)
			return e;
	}
	return NULL;
}

uint32_t dev_cpuid_reg(uint32_t function, uint32_t index, char reg)
{
	struct kvm_cpuid_entry2 *e = cpuid_find((struct kvm_cpuid2 *)dev_cpuid(), function, index);

	if (!e)
		return 0;
	return reg == 'a' ? e->eax : reg == 'b' ? e->ebx : reg == 'c' ? e->ecx : e->edx;
}

void vcpu_set_cpuid(struct vcpu *v, const struct kvm_cpuid2 *cpuid)
{
	REQUIRE(!ioctl(v->fd, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2: %s", strerror(errno));
}

static struct vcpu *all_vcpus;

void vcpus_print(const char *title)
{
	for (struct vcpu *v = all_vcpus; v; v = v->next)
		vcpu_print(v, title);
}

struct vcpu *vcpu_new_bare(struct vm *vm, unsigned int id)
{
	struct vcpu *v = calloc(1, sizeof(*v));

	v->vm = vm;
	v->id = id;
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	REQUIRE(v->fd >= 0, "KVM_CREATE_VCPU %u: %s", id, strerror(errno));
	v->run = mmap(NULL, vm->vcpu_map_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	REQUIRE(v->run != MAP_FAILED, "mapping vCPU %u: %s", id, strerror(errno));
	v->pio = (uint8_t *)v->run + PAGE;
	REQUIRE(vm->nr_vcpus < MAX_VCPUS, "too many vCPUs for this library");
	vm->vcpus[vm->nr_vcpus++] = v;
	v->next = all_vcpus;
	all_vcpus = v;
	return v;
}

struct vcpu *vcpu_new(struct vm *vm, unsigned int id)
{
	struct vcpu *v = vcpu_new_bare(vm, id);
	struct kvm_cpuid2 *c = cpuid_copy();

	for (unsigned int i = 0; i < c->nent; i++) {
		if (c->entries[i].function == 1)
			c->entries[i].ebx = (c->entries[i].ebx & 0xffffff) | id << 24;
		if (c->entries[i].function == 0xb)
			c->entries[i].edx = id;
	}
	vcpu_set_cpuid(v, c);
	free(c);
	return v;
}

void vcpu_free(struct vcpu *v)
{
	struct vm *vm = v->vm;

	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		if (vm->vcpus[i] != v)
			continue;
		vm->vcpus[i] = vm->vcpus[--vm->nr_vcpus];
		break;
	}
	for (struct vcpu **link = &all_vcpus; *link; link = &(*link)->next) {
		if (*link != v)
			continue;
		*link = v->next;
		break;
	}
	munmap(v->run, vm->vcpu_map_size);
	close(v->fd);
	free(v);
}

void vcpu_get_regs(struct vcpu *v, struct kvm_regs *regs)
{
	REQUIRE(!ioctl(v->fd, KVM_GET_REGS, regs), "KVM_GET_REGS: %s", strerror(errno));
}

void vcpu_set_regs(struct vcpu *v, const struct kvm_regs *regs)
{
	REQUIRE(!ioctl(v->fd, KVM_SET_REGS, regs), "KVM_SET_REGS: %s", strerror(errno));
}

void vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *sregs)
{
	REQUIRE(!ioctl(v->fd, KVM_GET_SREGS, sregs), "KVM_GET_SREGS: %s", strerror(errno));
}

void vcpu_set_sregs(struct vcpu *v, const struct kvm_sregs *sregs)
{
	REQUIRE(!ioctl(v->fd, KVM_SET_SREGS, sregs), "KVM_SET_SREGS: %s", strerror(errno));
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

uint64_t vcpu_get_msr(struct vcpu *v, uint32_t index)
{
	struct one_msr m = { .head.nmsrs = 1, .entry.index = index };
	int n = ioctl(v->fd, KVM_GET_MSRS, &m);

	REQUIRE(n == 1, "KVM_GET_MSRS of %#x returns %d", index, n);
	return m.entry.data;
}

int vcpu_set_msr(struct vcpu *v, uint32_t index, uint64_t value)
{
	struct one_msr m = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

	return ioctl(v->fd, KVM_SET_MSRS, &m);
}

static uint64_t descriptor(uint64_t access, uint64_t flags, uint64_t base, uint64_t limit)
{
	return (limit & 0xffff) | (base & 0xffffff) << 16 | access << 40 |
	       (limit >> 16 & 15) << 48 | flags << 52 | (base >> 24 & 0xff) << 56;
}

static void fill_guest_cpu(struct guest_cpu *cpu, unsigned int id)
{
	uint64_t tss = (uintptr_t)cpu->tss,
		 ist = (uintptr_t)(cpu->df_stack + sizeof(cpu->df_stack));
	uint64_t rsp0 = (uintptr_t)(cpu->stack + sizeof(cpu->stack) / 2);

	cpu->self = cpu;
	cpu->id = id;
	cpu->vector = NO_FAULT;
	cpu->gdt[SEL_CODE64 / 8] = descriptor(0x9b, 0xa, 0, 0xfffff);
	cpu->gdt[SEL_DATA / 8] = descriptor(0x93, 0xc, 0, 0xfffff);
	cpu->gdt[SEL_CODE32 / 8] = descriptor(0x9b, 0xc, 0, 0xfffff);
	cpu->gdt[SEL_CODE16 / 8] = descriptor(0x9b, 0, 0, 0xffff);
	cpu->gdt[SEL_DATA16 / 8] = descriptor(0x93, 0, 0, 0xffff);
	cpu->gdt[SEL_UCODE32 / 8] = descriptor(0xfb, 0xc, 0, 0xfffff);
	cpu->gdt[SEL_UDATA / 8] = descriptor(0xf3, 0xc, 0, 0xfffff);
	cpu->gdt[SEL_UCODE64 / 8] = descriptor(0xfb, 0xa, 0, 0xfffff);
	cpu->gdt[SEL_TSS / 8] = descriptor(0x8b, 0, tss, sizeof(cpu->tss) - 1);
	cpu->gdt[SEL_TSS / 8 + 1] = tss >> 32;
	memcpy(cpu->tss + 4, &rsp0, 8);
	memcpy(cpu->tss + 36, &ist, 8);
	cpu->tss[102] = sizeof(cpu->tss); /* no I/O bitmap */
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, int code64)
{
	return (struct kvm_segment){
		.limit = ~0u,
		.selector = selector,
		.type = type,
		.present = 1,
		.dpl = selector & 3,
		.db = !code64,
		.s = 1,
		.l = code64,
		.g = 1,
	};
}

void vcpu_long_mode(struct vcpu *v, void (*fn)(uint64_t), uint64_t arg)
{
	struct guest_cpu *cpu = &guest_cpus[v->id % MAX_VCPUS];
	uint64_t *stack = (uint64_t *)(cpu->stack + sizeof(cpu->stack)) - 1;
	struct kvm_regs regs = {
		.rip = (uintptr_t)fn, .rdi = arg, .rsp = (uintptr_t)stack, .rflags = 2
	};
	struct kvm_sregs sregs;

	fill_guest_cpu(cpu, v->id);
	*stack = (uintptr_t)guest_return;
	vcpu_get_sregs(v, &sregs);
	sregs.cs = segment(SEL_CODE64, 11, 1);
	sregs.ds = segment(SEL_DATA, 3, 0);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.gs.base = (uintptr_t)cpu;
	sregs.tr = segment(SEL_TSS, 11, 0);
	sregs.tr.base = (uintptr_t)cpu->tss;
	sregs.tr.limit = sizeof(cpu->tss) - 1;
	sregs.tr.s = sregs.tr.g = sregs.tr.db = 0;
	sregs.ldt = (struct kvm_segment){ .unusable = 1, .type = 2 };
	sregs.gdt.base = (uintptr_t)cpu->gdt;
	sregs.gdt.limit = sizeof(cpu->gdt) - 1;
	sregs.idt.base = GPA_IDT;
	sregs.idt.limit = 4095;
	sregs.cr0 = 0x80010033; /* PG WP NE ET MP PE */
	sregs.cr3 = GPA_PML4;
	sregs.cr4 = 0x620;  /* OSXMMEXCPT OSFXSR PAE */
	sregs.efer = 0xd01; /* NX LMA LME SCE */
	vcpu_set_sregs(v, &sregs);
	vcpu_set_regs(v, &regs);
}

struct vcpu *vm_with_guest(int flags, void (*fn)(uint64_t), uint64_t arg)
{
	struct vm *vm = vm_new(flags);
	struct vcpu *v = vcpu_new(vm, 0);

	vcpu_long_mode(v, fn, arg);
	return v;
}

struct vcpu *vm_add_guest(struct vm *vm, unsigned int id, void (*fn)(uint64_t), uint64_t arg)
{
	struct kvm_mp_state run = { KVM_MP_STATE_RUNNABLE };
	struct vcpu *v = vcpu_new(vm, id);

	vcpu_ioctl(v, KVM_SET_MP_STATE, &run);
	vcpu_long_mode(v, fn, arg);
	return v;
}

void vcpu_real_mode(struct vcpu *v, uint64_t base)
{
	struct kvm_regs regs = { .rflags = 2, .rsp = 0xff00 };
	struct kvm_segment s = { .base = base,
				 .selector = (uint16_t)(base >> 4),
				 .limit = 0xffff,
				 .type = 3,
				 .present = 1,
				 .s = 1 };
	struct kvm_sregs sregs;

	vcpu_get_sregs(v, &sregs);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = s;
	s.type = 11;
	sregs.cs = s;
	vcpu_set_sregs(v, &sregs);
	vcpu_set_regs(v, &regs);
}

void vcpu_x2apic(struct vcpu *v)
{
	struct kvm_sregs s;

	vcpu_get_sregs(v, &s);
	s.apic_base |= 0x400;
	vcpu_set_sregs(v, &s);
}

bool vcpu_stat(struct vcpu *v, const char *name, uint64_t *value)
{
	struct {
		struct kvm_stats_desc head;
		char name[64];
	} desc;
	struct kvm_stats_header h;
	int fd = ioctl(v->fd, KVM_GET_STATS_FD, NULL);
	bool found = false;

	if (fd < 0)
		return false;
	REQUIRE(pread(fd, &h, sizeof(h), 0) == sizeof(h) && h.name_size <= sizeof(desc.name),
		"the header of the statistics");
	for (uint32_t i = 0; i < h.num_desc && !found; i++) {
		size_t size = sizeof(desc.head) + h.name_size;

		REQUIRE(pread(fd, &desc, size, h.desc_offset + i * size) == (ssize_t)size,
			"statistic %u", i);
		found = !strncmp(desc.name, name, h.name_size);
	}
	if (found)
		REQUIRE(pread(fd, value, sizeof(*value), h.data_offset + desc.head.offset) ==
				sizeof(*value),
			"the value of %s", name);
	close(fd);
	return found;
}
