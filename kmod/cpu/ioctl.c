// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of cpu/: their dispatch, the small ones, and the capabilities.
 */
#include <linux/signal.h>
#include <linux/uaccess.h>
#include <asm/trapnr.h>

#include "../emulate/emulate.h"
#include "../host/host.h"
#include "../irq/irq.h"
#include "../pv/pv.h"
#include "internal.h"
#include "lazy.h"

#define GUESTDBG_SUPPORTED	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |		\
				 KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP |	\
				 KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP |	\
				 KVM_GUESTDBG_BLOCKIRQ)

/* --- KVM_GET_MP_STATE, KVM_SET_MP_STATE --- */

static long get_mp_state(struct mezz_vcpu *v, struct kvm_mp_state __user *argp)
{
	struct kvm_mp_state mp;
	int idx;

	/* Both may look into guest memory (PV EOI). */
	idx = mezz_read_lock(v->vm);
	if (v->lapic)
		mezz_lapic_accept_events(v);
	mp = v->mp;
	/* What would wake it is not part of what is saved with this state (PV kick). */
	if (mp.mp_state == KVM_MP_STATE_HALTED && mezz_has_wake_event(v))
		mp.mp_state = KVM_MP_STATE_RUNNABLE;
	mezz_read_unlock(v->vm, idx);
	return copy_to_user(argp, &mp, sizeof(mp)) ? -EFAULT : 0;
}

/*
 * SIPI_RECEIVED is INIT_RECEIVED with a SIPI that waits; its vector came with
 * KVM_SET_VCPU_EVENTS. AP_RESET_HOLD is never reported, so nobody restores it.
 */
static long set_mp_state(struct mezz_vcpu *v, const struct kvm_mp_state __user *argp)
{
	struct kvm_mp_state mp;

	if (copy_from_user(&mp, argp, sizeof(mp)))
		return -EFAULT;
	switch (mp.mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		break;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_HALTED:
	case KVM_MP_STATE_INIT_RECEIVED:
		if (!v->lapic)
			return -EINVAL;
		break;
	case KVM_MP_STATE_SIPI_RECEIVED:
		if (!v->lapic)
			return -EINVAL;
		mp.mp_state = KVM_MP_STATE_INIT_RECEIVED;
		mezz_lapic_raise_sipi(v);
		break;
	default:
		return -EINVAL;
	}
	v->mp = mp;
	mezz_request(v, MEZZ_REQ_EVENT);
	return 0;
}

/* --- KVM_SET_GUEST_DEBUG --- */

static long set_guest_debug(struct mezz_vcpu *v, const struct kvm_guest_debug __user *argp)
{
	struct kvm_guest_debug dbg;

	if (copy_from_user(&dbg, argp, sizeof(dbg)))
		return -EFAULT;
	if (dbg.control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
		if (v->ev.exc.pending || test_bit(MEZZ_REQ_TRIPLE_FAULT, &v->requests))
			return -EBUSY;
		mezz_queue_exception(v, dbg.control & KVM_GUESTDBG_INJECT_DB ? DB_VECTOR :
				     BP_VECTOR, false, 0);
	}
	v->guest_debug = dbg.control & KVM_GUESTDBG_ENABLE ? dbg.control & GUESTDBG_SUPPORTED : 0;
	if (v->guest_debug & KVM_GUESTDBG_USE_HW_BP)
		memcpy(v->guest_debug_dr, dbg.arch.debugreg, sizeof(v->guest_debug_dr));
	mezz_update_debug(v);
	/* What KVM_GUESTDBG_BLOCKIRQ has kept waiting. */
	mezz_request(v, MEZZ_REQ_EVENT);
	return 0;
}

/* --- small ones --- */

static long translate(struct mezz_vcpu *v, struct kvm_translation __user *argp)
{
	struct kvm_translation tr;
	u64 gpa;
	int idx;

	if (copy_from_user(&tr, argp, sizeof(tr)))
		return -EFAULT;
	idx = mezz_read_lock(v->vm);
	tr.valid = !mezz_gva_to_gpa(v, tr.linear_address, &gpa);
	mezz_read_unlock(v->vm, idx);
	tr.physical_address = tr.valid ? gpa : ~0ull;
	tr.writeable = 1;
	tr.usermode = 0;
	return copy_to_user(argp, &tr, sizeof(tr)) ? -EFAULT : 0;
}

static long interrupt(struct mezz_vcpu *v, const struct kvm_interrupt __user *argp)
{
	struct kvm_interrupt irq;

	if (copy_from_user(&irq, argp, sizeof(irq)))
		return -EFAULT;
	if (irq.irq > 255)
		return -EINVAL;
	/* With all controllers in the kernel nobody else may interrupt. */
	if (mezz_irqchip_full(v->vm))
		return -ENXIO;
	if (v->lapic && v->ext_irq >= 0)
		return -EEXIST;
	v->ext_irq = irq.irq;
	mezz_request(v, MEZZ_REQ_EVENT);
	return 0;
}

static long set_signal_mask(struct mezz_vcpu *v, const struct kvm_signal_mask __user *argp)
{
	struct kvm_signal_mask head;
	sigset_t set;

	if (!argp) {
		v->sigset_active = false;
		return 0;
	}
	if (copy_from_user(&head, argp, sizeof(head)))
		return -EFAULT;
	if (head.len != sizeof(set))
		return -EINVAL;
	if (copy_from_user(&set, argp->sigset, sizeof(set)))
		return -EFAULT;
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));
	v->sigset = set;
	v->sigset_active = true;
	return 0;
}

long mezz_cpu_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, unsigned long arg)
{
	static long (*const parts[])(struct mezz_vcpu *v, unsigned int cmd, void __user *argp) = {
		mezz_regs_ioctl, mezz_msr_vcpu_ioctl, mezz_cpuid_vcpu_ioctl, mezz_mce_ioctl,
	};
	void __user *argp = (void __user *)arg;
	unsigned int i;
	long r;

	switch (cmd) {
	case KVM_GET_MP_STATE:
		return get_mp_state(v, argp);
	case KVM_SET_MP_STATE:
		return set_mp_state(v, argp);
	case KVM_SET_GUEST_DEBUG:
		return set_guest_debug(v, argp);
	case KVM_TRANSLATE:
		return translate(v, argp);
	case KVM_INTERRUPT:
		return interrupt(v, argp);
	case KVM_SET_SIGNAL_MASK:
		return set_signal_mask(v, argp);
	case KVM_KVMCLOCK_CTRL:
		return mezz_pv_kvmclock_ctrl(v);
	}
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		r = parts[i](v, cmd, argp);
		if (r != -ENOIOCTLCMD)
			return r;
	}
	return mezz_tsc_vcpu_ioctl(v, cmd, arg);
}

/* --- system and VM --- */

static long device_attr(unsigned int cmd, const struct kvm_device_attr __user *argp)
{
	struct kvm_device_attr attr;

	if (copy_from_user(&attr, argp, sizeof(attr)))
		return -EFAULT;
	if (attr.group || attr.attr != KVM_X86_XCOMP_GUEST_SUPP)
		return -ENXIO;
	if (cmd == KVM_HAS_DEVICE_ATTR)
		return 0;
	return put_user(mezz_host.xcr0, (u64 __user *)(unsigned long)attr.addr);
}

long mezz_cpu_sys_ioctl(unsigned int cmd, unsigned long arg)
{
	void __user *argp = (void __user *)arg;
	long r;

	switch (cmd) {
	case KVM_X86_GET_MCE_CAP_SUPPORTED:
		return copy_to_user(argp, &mezz_mcg_cap_supported,
				    sizeof(mezz_mcg_cap_supported)) ? -EFAULT : 0;
	case KVM_GET_DEVICE_ATTR:
	case KVM_HAS_DEVICE_ATTR:
		return device_attr(cmd, argp);
	}
	r = mezz_cpuid_sys_ioctl(cmd, argp);
	return r == -ENOIOCTLCMD ? mezz_msr_sys_ioctl(cmd, argp) : r;
}

long mezz_cpu_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg)
{
	long r = mezz_msr_vm_ioctl(vm, cmd, (void __user *)arg);

	return r == -ENOIOCTLCMD ? mezz_tsc_vm_ioctl(vm, cmd, arg) : r;
}

long mezz_cpu_cap(struct mezz_vm *vm, unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_EXT_CPUID:
	case KVM_CAP_GET_MSR_FEATURES:
	case KVM_CAP_DEBUGREGS:
	case KVM_CAP_VCPU_EVENTS:
	case KVM_CAP_MP_STATE:
	case KVM_CAP_SET_GUEST_DEBUG:
	case KVM_CAP_X86_ROBUST_SINGLESTEP:
	case KVM_CAP_GET_TSC_KHZ:
	case KVM_CAP_TSC_DEADLINE_TIMER:
	case KVM_CAP_SREGS2:
	case KVM_CAP_SYS_ATTRIBUTES:
	case KVM_CAP_VCPU_ATTRIBUTES:
	case KVM_CAP_X86_USER_SPACE_MSR:
	case KVM_CAP_X86_MSR_FILTER:
	case KVM_CAP_MSR_PLATFORM_INFO:
		return 1;
	case KVM_CAP_XSAVE:
	case KVM_CAP_XCRS:
		return !!mezz_host.xcr0;
	case KVM_CAP_XSAVE2:
		return mezz_fpu_xsave_size();
	case KVM_CAP_SET_GUEST_DEBUG2:
		return GUESTDBG_SUPPORTED;
	case KVM_CAP_TSC_CONTROL:
	case KVM_CAP_VM_TSC_CONTROL:
		return mezz_host.tsc_scaling;
	case KVM_CAP_MCE:
		return MEZZ_MCE_BANKS;
	case KVM_CAP_SYNC_REGS:
		return KVM_SYNC_X86_VALID_FIELDS;
	default:
		return -1;
	}
}
