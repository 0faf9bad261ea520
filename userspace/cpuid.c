// SPDX-License-Identifier: GPL-2.0-only
/*
 * What CPUID says: all the driver supports, with each vCPU's own place in a
 * topology of one package with one thread per core.
 *
 * Left to others: what is supported at all is the driver's decision; its
 * paravirtual leaves at 0x40000000 are handed on as they are.
 * Known hacks: none.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "machine.h"

#define MAX_ENTRIES		256
#define SPARE_ENTRIES		12 /* three each for leaves 0xb, 0x1f and the brand string */

#define LEAF1_EBX_APIC_SHIFT	24
#define LEAF1_EBX_LOGICAL_SHIFT 16
#define LEAF1_ECX_TSC_DEADLINE	(1U << 24)
#define LEAF1_ECX_HYPERVISOR	(1U << 31)
#define LEAF1_EDX_HTT		(1U << 28)
#define AMD_ECX_CMP_LEGACY	(1U << 1)

#define BRAND_FIRST		0x80000002
#define BRAND_LAST		0x80000004

#define TOPOLOGY_SMT		(1U << 8)
#define TOPOLOGY_CORE		(2U << 8)

/* Number of bits that hold an APIC id below n. */
static unsigned int bits_for(unsigned int n)
{
	unsigned int bits = 0;

	while (1U << bits < n)
		bits++;
	return bits;
}

static struct kvm_cpuid2 *get_supported(struct machine *m)
{
	struct kvm_cpuid2 *c = xcalloc(1, sizeof(*c) + (MAX_ENTRIES + SPARE_ENTRIES) *
							       sizeof(struct kvm_cpuid_entry2));

	c->nent = MAX_ENTRIES;
	if (ioctl(m->sys_fd, KVM_GET_SUPPORTED_CPUID, c) < 0)
		die("KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	return c;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t function)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == function)
			return &c->entries[i];
	return NULL;
}

static void drop(struct kvm_cpuid2 *c, uint32_t function)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function != function)
			c->entries[kept++] = c->entries[i];
	c->nent = kept;
}

/*
 * Extended topology: a level of threads, a level of cores, and the empty level
 * that ends the list (Intel SDM volume 2, "CPUID", "Extended Topology Enumeration
 * Leaf").
 */
static void set_extended_topology(struct kvm_cpuid2 *c, uint32_t function, unsigned int id,
				  unsigned int cpus)
{
	const struct kvm_cpuid_entry2 levels[] = {
		{ .index = 0, .eax = 0, .ebx = 1, .ecx = 0 | TOPOLOGY_SMT },
		{ .index = 1, .eax = bits_for(cpus), .ebx = cpus, .ecx = 1 | TOPOLOGY_CORE },
		{ .index = 2, .eax = 0, .ebx = 0, .ecx = 2 },
	};

	if (!find(c, function))
		return;
	drop(c, function);
	for (unsigned int i = 0; i < ARRAY_SIZE(levels); i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[c->nent++];

		*e = levels[i];
		e->function = function;
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		e->edx = id;
	}
}

/* Level 1 and 2 caches belong to one core, the others to the package. */
static void set_cache(struct kvm_cpuid_entry2 *e, unsigned int cpus)
{
	unsigned int level = e->eax >> 5 & 7;
	unsigned int sharing = level >= 3 ? cpus - 1 : 0;

	if (!(e->eax & 0x1f))
		return; /* end of the list */
	e->eax = (e->eax & ~(0xfffU << 14)) | sharing << 14;
	if (e->function == 4)
		e->eax = (e->eax & 0x03ffffffU) | (cpus - 1) << 26;
}

static void set_leaf_1(struct machine *m, struct kvm_cpuid_entry2 *e, unsigned int id,
		       unsigned int cpus)
{
	e->ebx = (e->ebx & 0xffffU) | id << LEAF1_EBX_APIC_SHIFT | cpus << LEAF1_EBX_LOGICAL_SHIFT;
	e->ecx |= LEAF1_ECX_HYPERVISOR;
	if (driver_has(m->sys_fd, KVM_CAP_TSC_DEADLINE_TIMER))
		e->ecx |= LEAF1_ECX_TSC_DEADLINE;
	e->edx &= ~LEAF1_EDX_HTT;
	if (cpus > 1)
		e->edx |= LEAF1_EDX_HTT;
}

static bool vendor_is_amd(struct kvm_cpuid2 *c)
{
	const struct kvm_cpuid_entry2 *e = find(c, 0);

	return e && (!memcmp(&e->ebx, "Auth", 4) || !memcmp(&e->ebx, "Hygo", 4));
}

/* Fields with which AMD says what Intel says with the leaves above. */
static void set_amd_entry(struct kvm_cpuid_entry2 *e, unsigned int id, unsigned int cpus)
{
	switch (e->function) {
	case 0x80000001:
		e->ecx &= ~AMD_ECX_CMP_LEGACY;
		if (cpus > 1)
			e->ecx |= AMD_ECX_CMP_LEGACY;
		break;
	case 0x80000008:
		e->ecx = (e->ecx & 0xffff0000U) | bits_for(cpus) << 12 | (cpus - 1);
		break;
	case 0x8000001d:
		set_cache(e, cpus);
		break;
	case 0x8000001e:
		e->eax = id;
		e->ebx = id; /* one thread per core */
		e->ecx = 0;  /* one node */
		break;
	}
}

/*
 * The processor's name. In-tree KVM leaves it to user space, and a driver that
 * gives one is left alone.
 */
static void set_brand(struct kvm_cpuid2 *c)
{
	for (uint32_t function = BRAND_FIRST; function <= BRAND_LAST; function++) {
		struct kvm_cpuid_entry2 *e = find(c, function);

		if (e && (e->eax | e->ebx | e->ecx | e->edx))
			return;
		if (!e) {
			e = &c->entries[c->nent++];
			memset(e, 0, sizeof(*e));
			e->function = function;
		}
		__get_cpuid(function, &e->eax, &e->ebx, &e->ecx, &e->edx);
	}
}

void cpuid_set(struct vcpu *vcpu)
{
	struct machine *m = vcpu->m;
	struct kvm_cpuid2 *c = get_supported(m);
	unsigned int cpus = m->cfg->cpus;
	bool amd = vendor_is_amd(c);

	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 1)
			set_leaf_1(m, e, vcpu->id, cpus);
		else if (e->function == 4)
			set_cache(e, cpus);
		else if (amd)
			set_amd_entry(e, vcpu->id, cpus);
	}
	set_extended_topology(c, 0xb, vcpu->id, cpus);
	set_extended_topology(c, 0x1f, vcpu->id, cpus);
	set_brand(c);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, c) < 0)
		die("KVM_SET_CPUID2: %s", strerror(errno));
	free(c);
}
