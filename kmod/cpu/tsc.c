// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's TSC: frequency, offset, and keeping the vCPUs of a VM in step.
 *
 * guest TSC = host TSC * ratio + offset. User space that creates or restores a
 * VM writes the vCPUs' TSCs one after the other, meaning the same instant. So,
 * as in-tree KVM does, a write within a second of what the last one would be by
 * now gets that one's offset.
 *
 * While what user space gave the vCPUs differs, the guest's kvmclock is not stable:
 * a guest may read one vCPU's record on another (vm->tsc.in_step, pv/clock.c). What
 * the guest itself writes does not count: it knows.
 *
 * Locking: vm->tsc.lock for the VM's part, and to compare vCPUs.
 */
#include <linux/math64.h>
#include <linux/ktime.h>
#include <linux/uaccess.h>
#include <asm/tsc.h>

#include "../irq/irq.h"
#include "internal.h"

/* A frequency this close to the host's is the host's. */
#define TOLERANCE_PPM	250
/* Integer bits of the ratio that every engine's hardware has. */
#define RATIO_INT_BITS	8

static u64 scale(struct mezz_vcpu *v, u64 host)
{
	if (likely(!v->tsc_ratio))
		return host;
	return mul_u64_u64_shr(host, v->tsc_ratio, mezz_host.tsc_frac_bits);
}

u64 mezz_guest_tsc(struct mezz_vcpu *v, u64 host)
{
	return scale(v, host) + v->tsc_offset;
}

/* Offset or ratio changed: everybody who keeps something derived from them. */
static void changed(struct mezz_vcpu *v)
{
	mezz_engine->update_tsc(v);
	mezz_lapic_tsc_changed(v);
	mezz_request(v, MEZZ_REQ_CLOCK);
}

void mezz_tsc_compare(struct mezz_vm *vm)
{
	struct mezz_tsc_sync *s = &vm->tsc;
	const struct mezz_vcpu *first = vm->vcpus[0], *v;
	unsigned long flags;
	bool same = true, was;
	int i;

	raw_spin_lock_irqsave(&s->lock, flags);
	mezz_for_each_vcpu(i, v, vm)
		same &= READ_ONCE(v->tsc_given) == READ_ONCE(first->tsc_given) &&
			READ_ONCE(v->tsc_ratio) == READ_ONCE(first->tsc_ratio);
	was = s->in_step;
	WRITE_ONCE(s->in_step, same);
	raw_spin_unlock_irqrestore(&s->lock, flags);
	if (same != was)
		mezz_poke_all(vm, MEZZ_REQ_CLOCK);
}

/* By user space. mezz_tsc_compare() follows, once the vCPU is one of its VM's. */
static void give(struct mezz_vcpu *v, u64 offset)
{
	v->tsc_offset = offset;
	WRITE_ONCE(v->tsc_given, offset);
}

static void give_now(struct mezz_vcpu *v, u64 offset)
{
	give(v, offset);
	changed(v);
	mezz_tsc_compare(v->vm);
}

/* --- frequency --- */

/* Can a guest have this frequency? Then its ratio, 0 for 1:1, is in @ratio. */
static int ratio_of(u32 khz, u64 *ratio)
{
	u64 tolerance = (u64)tsc_khz * TOLERANCE_PPM / 1000000;

	*ratio = 0;
	if (khz >= tsc_khz - tolerance && khz <= tsc_khz + tolerance)
		return 0;
	/* The last also keeps the division below from overflowing. */
	if (!mezz_host.tsc_scaling || !khz || !tsc_khz || khz / tsc_khz >> RATIO_INT_BITS)
		return -EINVAL;
	*ratio = mul_u64_u32_div(1ull << mezz_host.tsc_frac_bits, khz, tsc_khz);
	if (!*ratio || *ratio >> mezz_host.tsc_frac_bits >> RATIO_INT_BITS)
		return -EINVAL;
	return 0;
}

static long set_khz(struct mezz_vcpu *v, unsigned long arg)
{
	u32 khz = arg ? arg : tsc_khz;
	u64 ratio;
	long r;

	r = arg > U32_MAX ? -EINVAL : ratio_of(khz, &ratio);
	if (r)
		return r;
	v->tsc_khz = khz;
	WRITE_ONCE(v->tsc_ratio, ratio);
	changed(v);
	mezz_tsc_compare(v->vm);
	return 0;
}

/* --- offset --- */

/* The offset with which the guest's TSC is @tsc now; in step with the last write. */
static u64 synchronized_offset(struct mezz_vcpu *v, u64 tsc)
{
	struct mezz_tsc_sync *s = &v->vm->tsc;
	u64 second = (u64)v->tsc_khz * 1000;
	u64 offset, now, passed, expected;
	unsigned long flags;
	bool same;

	raw_spin_lock_irqsave(&s->lock, flags);
	now = ktime_get_raw_ns();
	offset = tsc - scale(v, rdtsc());
	passed = mul_u64_u32_div(now - s->ns, v->tsc_khz, 1000000);
	expected = s->tsc + passed;
	/* 0 is what a CPU that comes up writes. */
	same = !tsc || (tsc < expected + second && tsc + second > expected);
	if (same && v->tsc_khz && v->tsc_khz == s->khz) {
		offset = check_tsc_unstable() ? offset + expected - tsc : s->offset;
		tsc = expected;		/* what it is now, whatever was written */
	}
	s->ns = now;
	s->tsc = tsc;
	s->khz = v->tsc_khz;
	s->offset = offset;
	raw_spin_unlock_irqrestore(&s->lock, flags);
	return offset;
}

void mezz_tsc_write(struct mezz_vcpu *v, u64 tsc, bool host)
{
	u64 offset;

	if (host) {
		give_now(v, synchronized_offset(v, tsc));
		return;
	}
	/* SDM 3, "IA32_TSC_ADJUST MSR": it moves along. */
	offset = tsc - scale(v, rdtsc());
	v->cpu_state->tsc_adjust += offset - v->tsc_offset;
	v->tsc_offset = offset;
	changed(v);
}

void mezz_tsc_write_adjust(struct mezz_vcpu *v, u64 adjust, bool host)
{
	struct mezz_cpu_state *st = v->cpu_state;
	u64 delta = adjust - st->tsc_adjust;

	st->tsc_adjust = adjust;
	/* User space restores the TSC itself. */
	if (host || !delta)
		return;
	v->tsc_offset += delta;
	changed(v);
}

int mezz_tsc_init(struct mezz_vcpu *v)
{
	int r = ratio_of(v->tsc_khz, &v->tsc_ratio);

	if (!r)
		give(v, synchronized_offset(v, 0));
	return r;
}

/* --- ioctls --- */

static long offset_attr(struct mezz_vcpu *v, unsigned int cmd, void __user *argp)
{
	struct mezz_tsc_sync *s = &v->vm->tsc;
	struct kvm_device_attr attr;
	u64 __user *uaddr;
	unsigned long flags;
	u64 offset;

	if (copy_from_user(&attr, argp, sizeof(attr)))
		return -EFAULT;
	if (attr.group != KVM_VCPU_TSC_CTRL || attr.attr != KVM_VCPU_TSC_OFFSET)
		return -ENXIO;
	uaddr = (u64 __user *)(unsigned long)attr.addr;
	switch (cmd) {
	case KVM_HAS_DEVICE_ATTR:
		return 0;
	case KVM_GET_DEVICE_ATTR:
		return put_user(v->tsc_offset, uaddr);
	default:
		break;
	}
	if (get_user(offset, uaddr))
		return -EFAULT;
	raw_spin_lock_irqsave(&s->lock, flags);
	s->ns = ktime_get_raw_ns();
	s->tsc = scale(v, rdtsc()) + offset;
	s->khz = v->tsc_khz;
	s->offset = offset;
	raw_spin_unlock_irqrestore(&s->lock, flags);
	give_now(v, offset);
	return 0;
}

long mezz_tsc_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case KVM_SET_TSC_KHZ:
		return set_khz(v, arg);
	case KVM_GET_TSC_KHZ:
		return v->tsc_khz;
	case KVM_HAS_DEVICE_ATTR:
	case KVM_GET_DEVICE_ATTR:
	case KVM_SET_DEVICE_ATTR:
		return offset_attr(v, cmd, (void __user *)arg);
	default:
		return -ENOIOCTLCMD;
	}
}

long mezz_tsc_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg)
{
	u32 khz = arg ? arg : tsc_khz;
	u64 ratio;

	switch (cmd) {
	case KVM_SET_TSC_KHZ:
		if (arg > U32_MAX || ratio_of(khz, &ratio))
			return -EINVAL;
		WRITE_ONCE(vm->tsc_khz, khz);
		return 0;
	case KVM_GET_TSC_KHZ:
		return vm->tsc_khz;
	default:
		return -ENOIOCTLCMD;
	}
}
