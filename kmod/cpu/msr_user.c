// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSR accesses of a guest that user space has a say in: the filter of
 * KVM_X86_SET_MSR_FILTER, and the exits that KVM_CAP_X86_USER_SPACE_MSR asks for
 * instead of a #GP.
 *
 * The filter only takes away: what it lets pass is still subject to msr.c. It holds
 * for RDMSR and WRMSR of the guest, never for the ioctls, and never for the x2APIC's
 * registers. MSRs that the engine lets the guest reach directly are intercepted while
 * the filter denies them.
 *
 * Locking: vm->msr_filter is replaced under vm->slots_lock and read under SRCU.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../vm.h"
#include "internal.h"

#define X2APIC_FIRST	0x800u
#define X2APIC_LAST	0x8ffu

#define REASONS		(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | \
			 KVM_MSR_EXIT_REASON_FILTER)

struct filter_range {
	u32 flags, first, n;
	unsigned long *bitmap;	/* bit set: allowed */
};

struct mezz_msr_filter {
	bool default_allow;
	unsigned int n;
	struct filter_range range[KVM_MSR_FILTER_MAX_RANGES];
};

bool mezz_msr_filter_allows(struct mezz_vm *vm, u32 msr, u32 access)
{
	const struct mezz_msr_filter *f = srcu_dereference(vm->msr_filter, &vm->srcu);
	unsigned int i;

	if (!f || (msr >= X2APIC_FIRST && msr <= X2APIC_LAST))
		return true;
	for (i = 0; i < f->n; i++) {
		const struct filter_range *r = &f->range[i];

		if ((r->flags & access) && msr >= r->first && msr - r->first < r->n)
			return test_bit(msr - r->first, r->bitmap);
	}
	return f->default_allow;
}

int mezz_msr_filter_apply(struct mezz_vcpu *v)
{
	const u32 *msr = mezz_engine->direct_msrs;
	int r = 0;

	if (!rcu_access_pointer(v->vm->msr_filter) && !v->cpu_state->msr_filtered)
		return 0;
	v->cpu_state->msr_filtered = true;
	for (; *msr && !r; msr++)
		r = mezz_engine->msr_intercept(v, *msr,
				!mezz_msr_filter_allows(v->vm, *msr, KVM_MSR_FILTER_READ),
				!mezz_msr_filter_allows(v->vm, *msr, KVM_MSR_FILTER_WRITE));
	return r;
}

static void free_filter(struct mezz_msr_filter *f)
{
	unsigned int i;

	if (!f)
		return;
	for (i = 0; i < f->n; i++)
		kfree(f->range[i].bitmap);
	kfree(f);
}

static int add_filter_range(struct mezz_msr_filter *f, const struct kvm_msr_filter_range *u)
{
	struct filter_range *r = &f->range[f->n];
	size_t size = BITS_TO_LONGS((u64)u->nmsrs) * sizeof(long);

	if (!u->nmsrs)
		return 0;
	if (!u->flags || (u->flags & ~(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)))
		return -EINVAL;
	if (size > KVM_MSR_FILTER_MAX_BITMAP_SIZE)
		return -EINVAL;
	r->bitmap = memdup_user((const void __user *)u->bitmap, size);
	if (IS_ERR(r->bitmap))
		return PTR_ERR(r->bitmap);
	r->flags = u->flags;
	r->first = u->base;
	r->n = u->nmsrs;
	f->n++;
	return 0;
}

/* From user space; NULL for a filter that denies nothing because it has no ranges. */
static struct mezz_msr_filter *read_filter(const void __user *argp)
{
	struct mezz_msr_filter *f;
	struct kvm_msr_filter *u;
	unsigned int i;
	int r = 0;

	u = memdup_user(argp, sizeof(*u));
	if (IS_ERR(u))
		return ERR_CAST(u);
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		r = -ENOMEM;
	else if (u->flags & ~KVM_MSR_FILTER_DEFAULT_DENY)
		r = -EINVAL;
	for (i = 0; !r && i < KVM_MSR_FILTER_MAX_RANGES; i++)
		r = add_filter_range(f, &u->ranges[i]);
	/* Denying everything would be a mistake rather than a wish. */
	if (!r && !f->n && u->flags)
		r = -EINVAL;
	if (!r)
		f->default_allow = !u->flags;
	kfree(u);
	if (r || !f->n) {
		free_filter(f);
		return r ? ERR_PTR(r) : NULL;
	}
	return f;
}

static void replace_filter(struct mezz_vm *vm, struct mezz_msr_filter *new)
{
	struct mezz_msr_filter *old;

	mutex_lock(&vm->slots_lock);
	old = rcu_dereference_protected(vm->msr_filter, lockdep_is_held(&vm->slots_lock));
	rcu_assign_pointer(vm->msr_filter, new);
	mezz_poke_all(vm, MEZZ_REQ_MSR_FILTER);
	mezz_synchronize(vm);
	mutex_unlock(&vm->slots_lock);
	free_filter(old);
}

long mezz_msr_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, const void __user *argp)
{
	struct mezz_msr_filter *f;

	if (cmd != KVM_X86_SET_MSR_FILTER)
		return -ENOIOCTLCMD;
	f = read_filter(argp);
	if (IS_ERR(f))
		return PTR_ERR(f);
	replace_filter(vm, f);
	return 0;
}

void mezz_msr_vm_destroy(struct mezz_vm *vm)
{
	free_filter(rcu_dereference_protected(vm->msr_filter, true));
}

long mezz_msr_user_exits(struct mezz_vm *vm, u64 reasons)
{
	if (reasons & ~(u64)REASONS)
		return -EINVAL;
	WRITE_ONCE(vm->msr_exits, reasons);
	return 0;
}

/* --- exits --- */

static int complete_msr(struct mezz_vcpu *v)
{
	struct kvm_run *run = v->run;
	u64 data;

	if (!mezz_same_rip(v))
		return MEZZ_RESUME;
	if (READ_ONCE(run->msr.error)) {
		mezz_queue_gp(v, 0);
		return MEZZ_RESUME;
	}
	if (!v->complete_size) {
		data = READ_ONCE(run->msr.data);
		mezz_set_gpr(v, MEZZ_RAX, (u32)data);
		mezz_set_gpr(v, MEZZ_RDX, data >> 32);
	}
	mezz_skip(v, v->complete_len);
	return MEZZ_RESUME;
}

int mezz_msr_refused(struct mezz_vcpu *v, int why, unsigned int len, bool write, u64 data)
{
	static const u32 reasons[] = {
		[MEZZ_MSR_INVALID] = KVM_MSR_EXIT_REASON_INVAL,
		[MEZZ_MSR_UNKNOWN] = KVM_MSR_EXIT_REASON_UNKNOWN,
		[MEZZ_MSR_FILTERED] = KVM_MSR_EXIT_REASON_FILTER,
	};
	struct kvm_run *run = v->run;

	if (!(READ_ONCE(v->vm->msr_exits) & reasons[why])) {
		mezz_queue_gp(v, 0);
		return MEZZ_RESUME;
	}
	run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
	memset(&run->msr, 0, sizeof(run->msr));
	run->msr.reason = reasons[why];
	run->msr.index = v->r[MEZZ_RCX];
	run->msr.data = data;
	mezz_ask(v, complete_msr, len);
	v->complete_size = write;
	return MEZZ_USER;
}
