// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest sees of CPUID, and the ioctls that set it.
 *
 * User space may set any entries. They are kept in its order, because the first
 * that matches counts, and found through a table of positions, so that a CPUID
 * exit costs no search. The bits that follow CR4, XCR0 and IA32_APIC_BASE are
 * kept current in the entries (mezz_cpuid_refresh), not computed at the exit.
 * MWAIT follows MISC_ENABLE only when user space has disabled the quirk that it
 * does not.
 *
 * Leaves to others: the policy (cpuid_table.c), what features mean (cr.c, msr.c,
 * the engine).
 */
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/kvm_para.h>
#include <asm/msr-index.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>

#include "../pv/pv.h"
#include "internal.h"

#define F(name)		BIT(X86_FEATURE_##name & 31)

u32 mezz_supported[MEZZ_CPUID_WORDS];
static struct mezz_cpuid_table *supported;

/* --- looking up --- */

static const struct kvm_cpuid_entry2 *find(const struct mezz_cpu_state *st, u32 function,
					   u32 index)
{
	const struct kvm_cpuid_entry2 *e, *last;
	u32 class = function >> 30, low = function & GENMASK(29, 0);
	const struct mezz_cpuid_range *range;

	if (unlikely(class > 2 || low > 63))
		return mezz_cpuid_scan(st->entries, st->nent, function, index);
	class = array_index_nospec(class, 3);
	low = array_index_nospec(low, 64);
	range = &st->range[class][low];
	if (range->first > range->last)
		return NULL;
	e = st->entries + range->first;
	last = st->entries + range->last;
	for (; e <= last; e++) {
		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	}
	return NULL;
}

/*
 * Nothing there. SDM 2, "CPUID": a leaf beyond the highest of its class reads as
 * the highest basic one; APM 3, "CPUID": it reads 0.
 */
static const struct kvm_cpuid_entry2 *find_beyond(const struct mezz_cpu_state *st,
						  u32 *function, u32 index)
{
	const struct kvm_cpuid_entry2 *basic = find(st, 0, 0), *class;
	u32 fn = *function;

	if (!basic || st->amd_like)
		return NULL;
	if (fn >= 0x40000000 && fn <= 0x4fffffff)
		class = find(st, fn & 0xffffff00, 0);
	else if (fn >= 0xc0000000)
		class = find(st, 0xc0000000, 0);
	else
		class = find(st, fn & 0x80000000, 0);
	if (class && fn <= class->eax)
		return NULL;
	*function = basic->eax;
	return find(st, basic->eax, index);
}

/* Topology leaves say the x2APIC ID for every index, and repeat CL. */
static void topology_rest(const struct mezz_cpu_state *st, u32 function, u32 index,
			  u32 *ecx, u32 *edx)
{
	const struct kvm_cpuid_entry2 *e;

	if (function != 0xb && function != 0x1f)
		return;
	e = find(st, function, 1);
	if (!e)
		return;
	*ecx = index & 0xff;
	*edx = e->edx;
}

void mezz_cpuid(struct mezz_vcpu *v, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	const struct mezz_cpu_state *st = v->cpu_state;
	u32 function = *eax, index = *ecx;
	const struct kvm_cpuid_entry2 *e = find(st, function, index);

	if (unlikely(!e)) {
		e = find_beyond(st, &function, index);
		if (!e) {
			*eax = 0;
			*ebx = 0;
			*ecx = 0;
			*edx = 0;
			topology_rest(st, function, index, ecx, edx);
			return;
		}
	}
	*eax = e->eax;
	*ebx = e->ebx;
	*ecx = e->ecx;
	*edx = e->edx;
}

bool mezz_guest_has(struct mezz_vcpu *v, unsigned int f)
{
	return f < MEZZ_CPUID_WORDS * 32 && (v->cpu_state->feat[f / 32] & BIT(f % 32));
}

unsigned int mezz_guest_maxphyaddr(struct mezz_vcpu *v)
{
	return v->cpu_state->maxphyaddr;
}

bool mezz_mwait_defined(struct mezz_vcpu *v)
{
	/* mezz_guest_has() does not follow MISC_ENABLE; the entry does. */
	const struct kvm_cpuid_entry2 *leaf1 = v->cpu_state->leaf1;

	return mezz_quirk(v->vm, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS) ||
	       (leaf1 && (leaf1->ecx & F(MWAIT)));
}

/* --- bits that change at run time --- */

static void put_bit(u32 *word, u32 bit, bool on)
{
	*word = on ? *word | bit : *word & ~bit;
}

static void refresh(struct mezz_vcpu *v, struct kvm_cpuid_entry2 *leaf1,
		    struct kvm_cpuid_entry2 *leaf_d0, struct kvm_cpuid_entry2 *leaf_d1)
{
	if (leaf1) {
		if (mezz_host.xcr0)
			put_bit(&leaf1->ecx, F(OSXSAVE), mezz_get(v, MEZZ_CR4) & X86_CR4_OSXSAVE);
		put_bit(&leaf1->edx, F(APIC), v->apic_base & MSR_IA32_APICBASE_ENABLE);
		if (!mezz_quirk(v->vm, KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT))
			put_bit(&leaf1->ecx, F(MWAIT),
				v->cpu_state->misc_enable & MSR_IA32_MISC_ENABLE_MWAIT);
	}
	if (leaf_d0)
		leaf_d0->ebx = mezz_xstate_size(v->xcr0, false);
	if (leaf_d1 && (leaf_d1->eax & (F(XSAVES) | F(XSAVEC))))
		leaf_d1->ebx = mezz_xstate_size(v->xcr0 | v->xss, true);
}

void mezz_cpuid_refresh(struct mezz_vcpu *v)
{
	struct mezz_cpu_state *st = v->cpu_state;

	refresh(v, st->leaf1, st->leaf_d0, st->leaf_d1);
}

/* --- setting --- */

static bool is_vendor(const struct kvm_cpuid_entry2 *e, const char *name)
{
	return !memcmp(&e->ebx, name, 4) && !memcmp(&e->edx, name + 4, 4) &&
	       !memcmp(&e->ecx, name + 8, 4);
}

static void build_ranges(struct mezz_cpu_state *st)
{
	struct mezz_cpuid_range *range;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(st->range) * ARRAY_SIZE(st->range[0]); i++)
		st->range[i / 64][i % 64] = (struct mezz_cpuid_range){ .first = 1, .last = 0 };
	for (i = 0; i < st->nent; i++) {
		u32 function = st->entries[i].function;

		if (function >> 30 > 2 || (function & GENMASK(29, 0)) > 63)
			continue;
		range = &st->range[function >> 30][function & 63];
		if (range->first > range->last)
			range->first = i;
		range->last = i;
	}
}

/* SDM 2 and APM 3, "CPUID": 36 bits when the leaf is not there. */
static u8 maxphyaddr(struct mezz_cpu_state *st)
{
	const struct kvm_cpuid_entry2 *max = find(st, 0x80000000, 0);
	const struct kvm_cpuid_entry2 *e = find(st, 0x80000008, 0);

	if (!max || max->eax < 0x80000008 || !e)
		return 36;
	return clamp(e->eax & 0xff, 32u, 52u);
}

/* What follows from the entries. */
static void derive(struct mezz_vcpu *v)
{
	struct mezz_cpu_state *st = v->cpu_state;
	const struct kvm_cpuid_entry2 *e;

	build_ranges(st);
	st->leaf1 = mezz_cpuid_scan(st->entries, st->nent, 1, 0);
	st->leaf_d0 = mezz_cpuid_scan(st->entries, st->nent, 0xd, 0);
	st->leaf_d1 = mezz_cpuid_scan(st->entries, st->nent, 0xd, 1);
	mezz_cpuid_features(st->entries, st->nent, st->feat);
	st->maxphyaddr = maxphyaddr(st);
	e = find(st, 0, 0);
	st->amd_like = e && (is_vendor(e, "AuthenticAMD") || is_vendor(e, "HygonGenuine"));
	v->lazy.use_tsc_aux = mezz_host.tsc_aux && (mezz_guest_has(v, X86_FEATURE_RDTSCP) ||
						    mezz_guest_has(v, X86_FEATURE_RDPID));
	mezz_cr_cpuid_changed(v);
}

void mezz_cpuid_init(struct mezz_vcpu *v)
{
	derive(v);
}

void mezz_cpuid_destroy(struct mezz_vcpu *v)
{
	kvfree(v->cpu_state->entries);
	v->cpu_state->entries = NULL;
}

/* Once it has run, a guest's CPUID stays; setting the same again is no change. */
static bool same_entries(const struct mezz_cpu_state *st, const struct kvm_cpuid_entry2 *e,
			 unsigned int nent)
{
	unsigned int i;

	if (nent != st->nent)
		return false;
	for (i = 0; i < nent; i++) {
		const struct kvm_cpuid_entry2 *old = &st->entries[i];

		if (memcmp(&e[i], old, offsetof(struct kvm_cpuid_entry2, padding)))
			return false;
	}
	return true;
}

/* The leaves of a hypervisor begin at a multiple of 0x100, with its signature. */
static struct kvm_cpuid_entry2 *pv_features(struct kvm_cpuid_entry2 *e, unsigned int nent)
{
	const struct kvm_cpuid_entry2 *first;
	u32 base;

	for (base = KVM_CPUID_SIGNATURE; base < KVM_CPUID_SIGNATURE + 0x10000; base += 0x100) {
		first = mezz_cpuid_scan(e, nent, base, 0);
		if (first && !memcmp(&first->ebx, KVM_SIGNATURE, 12))
			return mezz_cpuid_scan(e, nent, base + KVM_CPUID_FEATURES -
							KVM_CPUID_SIGNATURE, 0);
	}
	return NULL;
}

u32 mezz_cpuid_pv_features(struct mezz_vcpu *v)
{
	const struct kvm_cpuid_entry2 *e = pv_features(v->cpu_state->entries, v->cpu_state->nent);

	return e ? e->eax : 0;
}

/* A vCPU that halts without an exit could not be kicked: the guest must not count on it. */
static void hide_unhalt(struct mezz_vcpu *v, struct kvm_cpuid_entry2 *e, unsigned int nent)
{
	if (!(v->vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT))
		return;
	e = pv_features(e, nent);
	if (e)
		e->eax &= ~BIT(KVM_FEATURE_PV_UNHALT);
}

/* Takes @e over. */
static long set_entries(struct mezz_vcpu *v, struct kvm_cpuid_entry2 *e, unsigned int nent)
{
	struct mezz_cpu_state *st = v->cpu_state;
	const struct kvm_cpuid_entry2 *sizes = mezz_cpuid_scan(e, nent, 0x80000008, 0);
	u32 vaddr = sizes ? sizes->eax >> 8 & 0xff : 0;
	long r = -EINVAL;

	hide_unhalt(v, e, nent);
	refresh(v, mezz_cpuid_scan(e, nent, 1, 0), mezz_cpuid_scan(e, nent, 0xd, 0),
		mezz_cpuid_scan(e, nent, 0xd, 1));
	if (v->last_cpu != -1) {
		r = same_entries(st, e, nent) ? 0 : -EINVAL;
		goto drop;
	}
	if (vaddr && vaddr != 48 && vaddr != 57)
		goto drop;
	kvfree(st->entries);
	st->entries = e;
	st->nent = nent;
	derive(v);
	mezz_pv_cpuid_changed(v);
	mezz_engine->cpuid_changed(v);
	return 0;

drop:
	kvfree(e);
	return r;
}

static long set_cpuid2(struct mezz_vcpu *v, struct kvm_cpuid2 __user *argp)
{
	struct kvm_cpuid_entry2 *e = NULL;
	struct kvm_cpuid2 head;

	if (copy_from_user(&head, argp, sizeof(head)))
		return -EFAULT;
	if (head.nent > MEZZ_MAX_CPUID)
		return -E2BIG;
	if (head.nent) {
		e = vmemdup_user(argp->entries, head.nent * sizeof(*e));
		if (IS_ERR(e))
			return PTR_ERR(e);
	}
	return set_entries(v, e, head.nent);
}

/* KVM_SET_CPUID: entries without index. */
static long set_cpuid(struct mezz_vcpu *v, struct kvm_cpuid __user *argp)
{
	struct kvm_cpuid_entry2 *e = NULL;
	struct kvm_cpuid_entry *old;
	struct kvm_cpuid head;
	unsigned int i;

	if (copy_from_user(&head, argp, sizeof(head)))
		return -EFAULT;
	if (head.nent > MEZZ_MAX_CPUID)
		return -E2BIG;
	if (!head.nent)
		return set_entries(v, NULL, 0);
	old = vmemdup_user(argp->entries, head.nent * sizeof(*old));
	if (IS_ERR(old))
		return PTR_ERR(old);
	e = kvcalloc(head.nent, sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e) {
		kvfree(old);
		return -ENOMEM;
	}
	for (i = 0; i < head.nent; i++) {
		e[i].function = old[i].function;
		e[i].eax = old[i].eax;
		e[i].ebx = old[i].ebx;
		e[i].ecx = old[i].ecx;
		e[i].edx = old[i].edx;
	}
	kvfree(old);
	return set_entries(v, e, head.nent);
}

static long get_cpuid2(struct mezz_vcpu *v, struct kvm_cpuid2 __user *argp)
{
	struct mezz_cpu_state *st = v->cpu_state;
	struct kvm_cpuid2 head;

	if (copy_from_user(&head, argp, sizeof(head)))
		return -EFAULT;
	if (head.nent < st->nent)
		return -E2BIG;
	if (copy_to_user(argp->entries, st->entries, st->nent * sizeof(*st->entries)))
		return -EFAULT;
	head.nent = st->nent;
	return copy_to_user(argp, &head, sizeof(head)) ? -EFAULT : 0;
}

long mezz_cpuid_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, void __user *argp)
{
	switch (cmd) {
	case KVM_SET_CPUID:
		return set_cpuid(v, argp);
	case KVM_SET_CPUID2:
		return set_cpuid2(v, argp);
	case KVM_GET_CPUID2:
		return get_cpuid2(v, argp);
	default:
		return -ENOIOCTLCMD;
	}
}

/* --- what is offered --- */

static void host_cpuid(u32 function, u32 index, u32 *r)
{
	cpuid_count(function, index, &r[CPUID_R_EAX], &r[CPUID_R_EBX], &r[CPUID_R_ECX],
		    &r[CPUID_R_EDX]);
}

int mezz_cpuid_setup(void)
{
	struct mezz_cpuid_host host = {
		.raw = host_cpuid,
		.mask = mezz_engine->cpuid_mask,
		.caps = (const u32 *)boot_cpu_data.x86_capability,
		.xcr0 = mezz_host.xcr0,
		.xss = mezz_host.xss,
		.pv_features = mezz_pv_features(),
		.spec_ctrl = mezz_host.spec_ctrl,
		.ibpb = boot_cpu_has(X86_FEATURE_IBPB),
		.tsc_aux = mezz_host.tsc_aux,
		.lfence = boot_cpu_has(X86_FEATURE_LFENCE_RDTSC),
		.null_seg = !boot_cpu_has_bug(X86_BUG_NULL_SEG),
	};

	supported = kvzalloc(sizeof(*supported), GFP_KERNEL);
	if (!supported)
		return -ENOMEM;
	/* All answers from one CPU. */
	preempt_disable();
	mezz_cpuid_build(supported, &host);
	preempt_enable();
	mezz_cpuid_features(supported->e, supported->n, mezz_supported);
	return 0;
}

void mezz_cpuid_teardown(void)
{
	kvfree(supported);
	supported = NULL;
}

static long get_table(struct kvm_cpuid2 __user *argp, const struct kvm_cpuid_entry2 *e,
		      unsigned int n)
{
	struct kvm_cpuid2 head;

	if (copy_from_user(&head, argp, sizeof(head)))
		return -EFAULT;
	if (head.nent < n)
		return -E2BIG;
	if (copy_to_user(argp->entries, e, n * sizeof(*e)))
		return -EFAULT;
	head.nent = n;
	return copy_to_user(argp, &head, sizeof(head)) ? -EFAULT : 0;
}

/* No feature is offered that exists only by emulation of its instructions. */
static long get_emulated(struct kvm_cpuid2 __user *argp)
{
	static const struct kvm_cpuid_entry2 none = { .function = 0 };
	u32 nent, i, pad[3];

	if (get_user(nent, &argp->nent))
		return -EFAULT;
	for (i = 0; i < min_t(u32, nent, MEZZ_MAX_CPUID); i++) {
		if (copy_from_user(pad, argp->entries[i].padding, sizeof(pad)) ||
		    pad[0] || pad[1] || pad[2])
			return -EINVAL;
	}
	return get_table(argp, &none, 1);
}

long mezz_cpuid_sys_ioctl(unsigned int cmd, void __user *argp)
{
	switch (cmd) {
	case KVM_GET_SUPPORTED_CPUID:
		return get_table(argp, supported->e, supported->n);
	case KVM_GET_EMULATED_CPUID:
		return get_emulated(argp);
	default:
		return -ENOIOCTLCMD;
	}
}
