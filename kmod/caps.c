// SPDX-License-Identifier: GPL-2.0-only
/*
 * Capabilities: KVM_CHECK_EXTENSION and KVM_ENABLE_CAP.
 *
 * Each folder answers for what it implements. A capability that is not
 * complete reads 0. docs/abi.md is the table for people.
 */
#include <linux/uaccess.h>

#include "cpu/cpu.h"
#include "engine.h"
#include "irq/irq.h"
#include "mmu/mmu.h"
#include "ops.h"
#include "pv/pv.h"
#include "vcpu.h"

/* Instructions that may stay with the guest. C-state MSRs and MWAIT always exit. */
#define NO_EXITS	(KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE)

/* Habits of KVM that can be disabled. */
#define QUIRKS		(KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_CD_NW_CLEARED |	\
			 KVM_X86_QUIRK_LAPIC_MMIO_HOLE | KVM_X86_QUIRK_OUT_7E_INC_RIP |	\
			 KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT |				\
			 KVM_X86_QUIRK_FIX_HYPERCALL_INSN |				\
			 KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS)

/* Capabilities of the run loop and of the objects themselves. */
static long own_cap(unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_HLT:
	case KVM_CAP_USER_NMI:
	case KVM_CAP_SET_TSS_ADDR:
	case KVM_CAP_SET_IDENTITY_MAP_ADDR:
	case KVM_CAP_NOP_IO_DELAY:
	case KVM_CAP_SET_BOOT_CPU_ID:
	case KVM_CAP_IMMEDIATE_EXIT:
	case KVM_CAP_ENABLE_CAP:
	case KVM_CAP_ENABLE_CAP_VM:
	case KVM_CAP_CHECK_EXTENSION_VM:
	case KVM_CAP_INTERNAL_ERROR_DATA:
	case KVM_CAP_EXCEPTION_PAYLOAD:
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
	case KVM_CAP_BINARY_STATS_FD:
	case KVM_CAP_DISABLE_QUIRKS:
		return 1;
	case KVM_CAP_NR_VCPUS:
		return min_t(unsigned int, num_online_cpus(), MEZZ_MAX_VCPUS);
	case KVM_CAP_MAX_VCPUS:
		return MEZZ_MAX_VCPUS;
	case KVM_CAP_MAX_VCPU_ID:
		return MEZZ_MAX_VCPU_ID;
	case KVM_CAP_X86_DISABLE_EXITS:
		return NO_EXITS;
	case KVM_CAP_DISABLE_QUIRKS2:
		return QUIRKS;
	default:
		return -1;
	}
}

long mezz_check_extension(struct mezz_vm *vm, unsigned long cap)
{
	long r = own_cap(cap);

	if (r < 0)
		r = mezz_cpu_cap(vm, cap);
	if (r < 0)
		r = mezz_irq_cap(vm, cap);
	if (r < 0)
		r = mezz_mmu_cap(vm, cap);
	if (r < 0)
		r = mezz_pv_cap(vm, cap);
	return r < 0 ? 0 : r;
}

/* Bits that are valid but not offered are ignored, as in-tree KVM does. */
static long disable_exits(struct mezz_vm *vm, u64 exits)
{
	/* What vCPUs are told by CPUID follows from it (as on in-tree KVM since 6.4). */
	if ((exits & ~(u64)KVM_X86_DISABLE_VALID_EXITS) || vm->nr_vcpus)
		return -EINVAL;
	vm->disabled_exits |= exits & NO_EXITS;
	return 0;
}

/*
 * vm->lock held. These, and no others: what was disabled before is enabled again. The older
 * capability ignores what it does not know.
 */
static long disable_quirks(struct mezz_vm *vm, const struct kvm_enable_cap *cap)
{
	if (cap->cap == KVM_CAP_DISABLE_QUIRKS2 && (cap->args[0] & ~(u64)QUIRKS))
		return -EINVAL;
	WRITE_ONCE(vm->disabled_quirks, cap->args[0] & QUIRKS);
	return 0;
}

/* vm->lock held. It can be set once. */
static long limit_vcpu_id(struct mezz_vm *vm, u64 max)
{
	if (max > MEZZ_MAX_VCPU_ID || (vm->max_vcpu_id && vm->max_vcpu_id != max))
		return -EINVAL;
	vm->max_vcpu_id = max;
	return 0;
}

long mezz_vm_enable_cap(struct mezz_vm *vm, void __user *argp)
{
	struct kvm_enable_cap cap;
	long r = 0;

	if (copy_from_user(&cap, argp, sizeof(cap)))
		return -EFAULT;
	if (cap.flags)
		return -EINVAL;
	mutex_lock(&vm->lock);
	switch (cap.cap) {
	case KVM_CAP_EXCEPTION_PAYLOAD:
		vm->exception_payload = cap.args[0];
		break;
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
		vm->triple_fault_event = cap.args[0];
		break;
	case KVM_CAP_DIRTY_LOG_RING:
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		r = mezz_ring_enable(vm, cap.args[0]);
		break;
	case KVM_CAP_X86_DISABLE_EXITS:
		r = disable_exits(vm, cap.args[0]);
		break;
	case KVM_CAP_DISABLE_QUIRKS:
	case KVM_CAP_DISABLE_QUIRKS2:
		r = disable_quirks(vm, &cap);
		break;
	case KVM_CAP_MAX_VCPU_ID:
		r = limit_vcpu_id(vm, cap.args[0]);
		break;
	case KVM_CAP_MSR_PLATFORM_INFO:
		vm->hide_platform_info = !cap.args[0];
		break;
	case KVM_CAP_EXIT_HYPERCALL:
		r = mezz_pv_exit_hypercalls(vm, cap.args[0]);
		break;
	case KVM_CAP_X86_USER_SPACE_MSR:
		r = mezz_msr_user_exits(vm, cap.args[0]);
		break;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		r = mezz_mmu_enable_manual_protect(vm, &cap);
		break;
	case KVM_CAP_SPLIT_IRQCHIP:
		r = vm->nr_vcpus ? -EEXIST : mezz_irq_enable_split(vm, cap.args[0]);
		break;
	case KVM_CAP_X2APIC_API:
		r = mezz_irq_enable_x2apic_api(vm, cap.args[0]);
		break;
	default:
		r = -EINVAL;
	}
	mutex_unlock(&vm->lock);
	return r;
}

long mezz_vcpu_enable_cap(struct mezz_vcpu *v, void __user *argp)
{
	struct kvm_enable_cap cap;

	if (copy_from_user(&cap, argp, sizeof(cap)))
		return -EFAULT;
	if (cap.flags || cap.cap != KVM_CAP_ENFORCE_PV_FEATURE_CPUID)
		return -EINVAL;
	mezz_pv_enforce(v, cap.args[0]);
	return 0;
}
