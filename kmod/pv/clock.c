// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmclock: nanoseconds since the VM was created, as a function of the guest's
 * TSC that the guest evaluates by itself.
 *
 * With a reliable host TSC the clock is a line through one point (base_tsc,
 * base_ns) that all vCPUs share, so nothing has to be rewritten while the VM
 * runs, and the guest is told that readings of different vCPUs compare, as long
 * as user space has not given them different TSCs. With
 * an unreliable one, every vCPU gets a new point whenever it has changed CPUs
 * or was away, and the guest keeps the order itself.
 *
 * Known hacks: the slope is the host's calibrated TSC frequency, as for the
 * host's raw clock; host time is adjusted by NTP and drifts against it. A host
 * without constant TSC is not followed through frequency changes. Suspend of
 * the host resets its TSC and stops the clock for that long.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/pvclock.h>
#include <asm/tsc.h>

#include "cpu/cpu.h"
#include "mmu/mmu.h"
#include "pv/internal.h"
#include "pv/pv.h"

static_assert(sizeof(struct pvclock_vcpu_time_info) == 32);
static_assert(sizeof(struct pvclock_wall_clock) == 12);
static_assert(sizeof(struct kvm_clock_pairing) == 64);

/* Host TSC and clocks at the same instant, as closely as one can tell. */
struct instant {
	u64 tsc;
	u64 boot, real;		/* ns */
};

static bool host_tsc_stable(void)
{
	return boot_cpu_has(X86_FEATURE_CONSTANT_TSC) && boot_cpu_has(X86_FEATURE_NONSTOP_TSC) &&
	       !check_tsc_unstable();
}

/* The best of some attempts: an NMI or SMI may come between. */
static void sample(struct instant *t)
{
	u64 before, after, boot, real, best = ~0ull;
	unsigned long flags;
	unsigned int i;

	local_irq_save(flags);
	for (i = 0; i < 3; i++) {
		before = rdtsc_ordered();
		boot = ktime_get_boottime_ns();
		real = ktime_get_real_ns();
		after = rdtsc_ordered();
		if (after - before >= best)
			continue;
		best = after - before;
		t->tsc = before + best / 2;
		t->boot = boot;
		t->real = real;
	}
	local_irq_restore(flags);
}

/* ns = (ticks shifted left by @shift) * @mul / 2^32, @mul as large as it gets */
static void clock_scale(u32 khz, u32 *mul, s8 *shift)
{
	u64 hz = (u64)max(khz, 1u) * 1000, ns = NSEC_PER_SEC;
	s8 s = 0;

	for (; ns >= hz; s++)
		hz <<= 1;
	for (; ns * 2 < hz; s--)
		ns <<= 1;
	/* Room for 32 more bits. */
	for (; hz >> 32; hz >>= 1)
		ns >>= 1;
	*mul = div64_u64(ns << 32, hz);
	*shift = s;
}

/* Caller holds p->lock. */
static u64 clock_at(const struct mezz_pv_vm *p, const struct instant *t)
{
	s8 shift;
	u32 mul;

	if (!p->stable)
		return t->boot + p->offset;
	/* Another CPU's base may be a few cycles ahead. */
	if (t->tsc <= p->base_tsc)
		return p->base_ns;
	clock_scale(tsc_khz, &mul, &shift);
	return p->base_ns + pvclock_scale_delta(t->tsc - p->base_tsc, mul, shift);
}

/* From now on the clock continues from @ns. Caller holds p->lock. */
static void clock_restart(struct mezz_pv_vm *p, const struct instant *t, u64 ns)
{
	p->stable = host_tsc_stable();
	p->base_tsc = t->tsc;
	p->base_ns = ns;
	p->offset = ns - t->boot;
}

void pv_clock_init(struct mezz_pv_vm *p)
{
	struct instant t;

	sample(&t);
	clock_restart(p, &t, 0);
}

void pv_clock_check(struct mezz_vm *vm)
{
	struct mezz_pv_vm *p = vm->pv;
	struct instant t;

	if (likely(READ_ONCE(p->stable) <= host_tsc_stable()))
		return;
	sample(&t);
	spin_lock(&p->lock);
	clock_restart(p, &t, clock_at(p, &t));
	spin_unlock(&p->lock);
	mezz_poke_all(vm, MEZZ_REQ_CLOCK);
}

/*
 * Write a record that starts with a version: odd while it changes. Others may
 * be reading it: the guest's vDSO uses the record of its first CPU on all.
 */
static int write_versioned(struct mezz_vcpu *v, u64 gpa, u32 *version, void *rec,
			   unsigned int len)
{
	u32 odd = *version | 1;
	int r;

	*version = odd;
	r = mezz_guest_write(v, gpa, &odd, sizeof(odd));
	/* Nobody sees the new record with the old version... */
	smp_wmb();
	if (!r)
		r = mezz_guest_write(v, gpa, rec, len);
	/* ...nor the new version with the old record. */
	smp_wmb();
	odd++;
	if (!r)
		r = mezz_guest_write(v, gpa, &odd, sizeof(odd));
	return r;
}

static void write_wall_clock(struct mezz_vcpu *v, u64 gpa, const struct instant *t, u64 now)
{
	struct pvclock_wall_clock w;
	u32 rem;

	if (!gpa || mezz_guest_read(v, gpa, &w, sizeof(w)))
		return;
	/* The time of day at which kvmclock read 0. */
	w.sec = div_u64_rem(t->real - now, NSEC_PER_SEC, &rem);
	w.nsec = rem;
	write_versioned(v, gpa, &w.version, &w, sizeof(w));
}

void mezz_pv_update_clock(struct mezz_vcpu *v)
{
	struct mezz_pv_vm *p = v->vm->pv;
	u64 gpa = v->pv->clock_msr & ~1ull, now, tsc, ns;
	struct pvclock_vcpu_time_info c;
	struct instant t;
	bool stable;

	v->pv->clock_jiffies = jiffies;
	if (!v->pv->write_wall && !(v->pv->clock_msr & KVM_MSR_ENABLED))
		return;
	sample(&t);
	spin_lock(&p->lock);
	stable = p->stable;
	now = clock_at(p, &t);
	tsc = stable ? p->base_tsc : t.tsc;
	ns = stable ? p->base_ns : now;
	spin_unlock(&p->lock);

	if (v->pv->write_wall) {
		v->pv->write_wall = false;
		write_wall_clock(v, READ_ONCE(p->wall_msr), &t, now);
	}
	if (!(v->pv->clock_msr & KVM_MSR_ENABLED))
		return;
	if (mezz_guest_read(v, gpa, &c, sizeof(c)))
		return;
	c.tsc_timestamp = mezz_guest_tsc(v, tsc);
	c.system_time = ns;
	clock_scale(mezz_real_khz(v), &c.tsc_to_system_mul, &c.tsc_shift);
	/* The guest clears this one when it has taken notice. */
	c.flags &= PVCLOCK_GUEST_STOPPED;
	if (v->pv->stopped)
		c.flags |= PVCLOCK_GUEST_STOPPED;
	v->pv->stopped = false;
	if (stable && READ_ONCE(v->vm->tsc.in_step))
		c.flags |= PVCLOCK_TSC_STABLE_BIT;
	write_versioned(v, gpa, &c.version, &c, sizeof(c));
}

void mezz_pv_migrated(struct mezz_vcpu *v)
{
	if (unlikely(!READ_ONCE(v->vm->pv->stable)) && (v->pv->clock_msr & KVM_MSR_ENABLED))
		mezz_request(v, MEZZ_REQ_CLOCK);
}

long mezz_pv_kvmclock_ctrl(struct mezz_vcpu *v)
{
	if (!(v->pv->clock_msr & KVM_MSR_ENABLED))
		return -EINVAL;
	v->pv->stopped = true;
	mezz_request(v, MEZZ_REQ_CLOCK);
	return 0;
}

long pv_clock_pairing(struct mezz_vcpu *v, u64 gpa, u64 type)
{
	struct kvm_clock_pairing c = {};
	struct instant t;
	u32 rem;

	if (type != KVM_CLOCK_PAIRING_WALLCLOCK || !host_tsc_stable())
		return -KVM_EOPNOTSUPP;
	sample(&t);
	c.sec = div_u64_rem(t.real, NSEC_PER_SEC, &rem);
	c.nsec = rem;
	c.tsc = mezz_guest_tsc(v, t.tsc);
	return mezz_guest_write(v, gpa, &c, sizeof(c)) ? -KVM_EFAULT : 0;
}

/* --- KVM_GET_CLOCK, KVM_SET_CLOCK --- */

long pv_get_clock(struct mezz_vm *vm, void __user *argp)
{
	struct kvm_clock_data d = {};
	struct mezz_pv_vm *p = vm->pv;
	struct instant t;

	pv_clock_check(vm);
	sample(&t);
	spin_lock(&p->lock);
	d.clock = clock_at(p, &t);
	if (p->stable)
		d.flags = KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC |
			  (READ_ONCE(vm->tsc.in_step) ? KVM_CLOCK_TSC_STABLE : 0);
	spin_unlock(&p->lock);
	if (d.flags) {
		d.realtime = t.real;
		d.host_tsc = t.tsc;
	}
	return copy_to_user(argp, &d, sizeof(d)) ? -EFAULT : 0;
}

long pv_set_clock(struct mezz_vm *vm, void __user *argp)
{
	struct mezz_pv_vm *p = vm->pv;
	struct kvm_clock_data d;
	struct instant t;

	if (copy_from_user(&d, argp, sizeof(d)))
		return -EFAULT;
	if (d.flags & ~(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC))
		return -EINVAL;
	sample(&t);
	/* Time that went by since the clock was saved; never backwards. */
	if ((d.flags & KVM_CLOCK_REALTIME) && t.real > d.realtime)
		d.clock += t.real - d.realtime;
	spin_lock(&p->lock);
	clock_restart(p, &t, d.clock);
	spin_unlock(&p->lock);
	mezz_poke_all(vm, MEZZ_REQ_CLOCK);
	return 0;
}
