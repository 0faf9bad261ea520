// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM object: life cycle, its file descriptor, and requests to all vCPUs.
 * Memory is mmu/, interrupt controllers are irq/; their ioctls are theirs.
 */
#include <linux/anon_inodes.h>
#include <linux/cpumask.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/sched/mm.h>
#include <linux/smp.h>
#include <linux/uaccess.h>

#include "cpu/cpu.h"
#include "host/host.h"
#include "irq/irq.h"
#include "ops.h"
#include "pv/pv.h"
#include "vcpu.h"
#include "vm.h"

static atomic_t vm_serial = ATOMIC_INIT(0);

void mezz_poke_all(struct mezz_vm *vm, unsigned int req)
{
	struct mezz_vcpu *v;
	int i;

	mezz_for_each_vcpu(i, v, vm)
		mezz_poke(v, req);
}

/* The IPI is the point: a CPU that took it has left the guest. */
static void ack(void *unused)
{
}

/* Too large for the stack; belongs to whoever has preemption off. */
static DEFINE_PER_CPU(struct cpumask, flush_mask);

void mezz_leave_guests(struct mezz_vm *vm)
{
	struct cpumask *mask;
	struct mezz_vcpu *v;
	int i, cpu, me;

	/* Pairs with smp_store_mb() in run_section(). */
	smp_mb();
	me = get_cpu();
	mask = this_cpu_ptr(&flush_mask);
	cpumask_clear(mask);
	mezz_for_each_vcpu(i, v, vm) {
		cpu = READ_ONCE(v->cpu);
		/* Pairs with the release at the end of run_section(). */
		if (smp_load_acquire(&v->mode) == MEZZ_IN_SECTION && cpu != me)
			__cpumask_set_cpu(cpu, mask);
	}
	if (!cpumask_empty(mask))
		smp_call_function_many(mask, ack, NULL, true);
	put_cpu();
}

void mezz_flush_all(struct mezz_vm *vm)
{
	struct mezz_vcpu *v;
	int i;

	mezz_for_each_vcpu(i, v, vm)
		mezz_request(v, MEZZ_REQ_MEMORY_FLUSH);
	mezz_leave_guests(vm);
	mezz_vm_count(vm, MEZZ_VM_STAT_remote_tlb_flushes, 1);
}

void mezz_synchronize(struct mezz_vm *vm)
{
	/*
	 * A poke alone would not do: a vCPU could leave its section, take the
	 * old read side again and stay in the guest for good.
	 */
	atomic_inc(&vm->writers);
	mezz_poke_all(vm, MEZZ_REQ_WAKE);
	synchronize_srcu_expedited(&vm->srcu);
	if (atomic_dec_and_test(&vm->writers))
		wake_up_all(&vm->writers_gone);
}

static void destroy_vm(struct kref *ref)
{
	struct mezz_vm *vm = container_of(ref, struct mezz_vm, ref);
	int i;

	mezz_irq_vm_stop(vm);
	/* Before the vCPUs: until then the notifier may flush their TLBs. */
	mezz_mmu_destroy(vm);
	for (i = 0; i < vm->nr_vcpus; i++)
		mezz_vcpu_free(vm->vcpus[i]);
	mezz_irq_vm_destroy(vm);
	mezz_pv_vm_destroy(vm);
	mezz_msr_vm_destroy(vm);
	cleanup_srcu_struct(&vm->srcu);
	mmdrop(vm->mm);
	kfree(vm);
	mezz_cpus_put();
}

void mezz_vm_get(struct mezz_vm *vm)
{
	kref_get(&vm->ref);
}

void mezz_vm_put(struct mezz_vm *vm)
{
	kref_put(&vm->ref, destroy_vm);
}

static int init_vm(struct mezz_vm *vm)
{
	int r = init_srcu_struct(&vm->srcu);

	if (r)
		return r;
	r = mezz_pv_vm_init(vm);
	if (r)
		goto no_pv;
	r = mezz_irq_vm_init(vm);
	if (r)
		goto no_irq;
	r = mezz_mmu_init(vm);
	if (r)
		goto no_mmu;
	return 0;

no_mmu:
	mezz_irq_vm_stop(vm);
	mezz_irq_vm_destroy(vm);
no_irq:
	mezz_pv_vm_destroy(vm);
no_pv:
	cleanup_srcu_struct(&vm->srcu);
	return r;
}

/* Where KVM has it: below the firmware, where no RAM is. GPA */
#define DEFAULT_IDENTITY_MAP	0xfffbc000ull

static struct mezz_vm *alloc_vm(void)
{
	struct mezz_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	int r;

	if (!vm)
		return ERR_PTR(-ENOMEM);
	vm->mm = current->mm;
	mmgrab(vm->mm);
	kref_init(&vm->ref);
	mutex_init(&vm->lock);
	mutex_init(&vm->slots_lock);
	init_waitqueue_head(&vm->writers_gone);
	vm->serial = atomic_inc_return(&vm_serial);
	vm->tsc_khz = tsc_khz;
	vm->identity_map_addr = DEFAULT_IDENTITY_MAP;
	raw_spin_lock_init(&vm->tsc.lock);
	r = init_vm(vm);
	if (r) {
		mmdrop(vm->mm);
		kfree(vm);
		return ERR_PTR(r);
	}
	return vm;
}

static int vm_release(struct inode *inode, struct file *f)
{
	struct mezz_vm *vm = f->private_data;

	mezz_irq_vm_release(vm);
	mezz_vm_put(vm);
	return 0;
}

static long set_boot_cpu(struct mezz_vm *vm, unsigned long id)
{
	long r = -EBUSY;

	mutex_lock(&vm->lock);
	if (!vm->nr_vcpus) {
		vm->bsp_id = id;
		r = 0;
	}
	mutex_unlock(&vm->lock);
	return r;
}

static long set_identity_map(struct mezz_vm *vm, void __user *argp)
{
	long r = -EINVAL;
	u64 addr;

	if (copy_from_user(&addr, argp, sizeof(addr)))
		return -EFAULT;
	mutex_lock(&vm->lock);
	if (!vm->nr_vcpus) {
		vm->identity_map_addr = addr ? addr : DEFAULT_IDENTITY_MAP;
		r = 0;
	}
	mutex_unlock(&vm->lock);
	return r;
}

/* Ioctls that belong to no folder. */
static long vm_ioctl_own(struct mezz_vm *vm, unsigned int cmd, unsigned long arg)
{
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case KVM_CREATE_VCPU:
		return mezz_vm_create_vcpu(vm, arg);
	case KVM_CHECK_EXTENSION:
		return mezz_check_extension(vm, arg);
	case KVM_ENABLE_CAP:
		return mezz_vm_enable_cap(vm, argp);
	case KVM_SET_TSS_ADDR:
		/* Three pages below 4 GiB, for virtual-8086 mode. Nothing here uses them. */
		if (arg > (unsigned int)(-3 * PAGE_SIZE))
			return -EINVAL;
		return 0;
	case KVM_SET_IDENTITY_MAP_ADDR:
		return set_identity_map(vm, argp);
	case KVM_SET_BOOT_CPU_ID:
		return set_boot_cpu(vm, arg);
	case KVM_GET_STATS_FD:
		return mezz_vm_stats_fd(vm);
	default:
		return -ENOIOCTLCMD;
	}
}

static long vm_ioctl(struct file *f, unsigned int cmd, unsigned long arg)
{
	static long (*const folders[])(struct mezz_vm *vm, unsigned int cmd,
				       unsigned long arg) = {
		vm_ioctl_own, mezz_irq_vm_ioctl, mezz_mmu_vm_ioctl, mezz_cpu_vm_ioctl,
		mezz_pv_vm_ioctl,
	};
	struct mezz_vm *vm = f->private_data;
	unsigned int i;
	long r;

	if (vm->mm != current->mm)
		return -EIO;
	for (i = 0; i < ARRAY_SIZE(folders); i++) {
		r = folders[i](vm, cmd, arg);
		if (r != -ENOIOCTLCMD)
			return r;
	}
	return -ENOTTY;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.release = vm_release,
	.unlocked_ioctl = vm_ioctl,
	.llseek = noop_llseek,
};

/**
 * mezz_create_vm() - KVM_CREATE_VM
 * @type: must be 0
 * Return: a file descriptor; -EINVAL: unknown type; -EBUSY: somebody else
 * holds the CPUs' extension
 */
long mezz_create_vm(unsigned long type)
{
	struct mezz_vm *vm;
	struct file *file;
	int fd, r;

	if (type)
		return -EINVAL;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	r = mezz_cpus_get();
	if (r)
		goto no_fd;
	vm = alloc_vm();
	if (IS_ERR(vm)) {
		r = PTR_ERR(vm);
		mezz_cpus_put();
		goto no_fd;
	}
	file = anon_inode_getfile("mezz-vm", &vm_fops, vm, O_RDWR);
	if (IS_ERR(file)) {
		r = PTR_ERR(file);
		mezz_vm_put(vm);
		goto no_fd;
	}
	fd_install(fd, file);
	return fd;

no_fd:
	put_unused_fd(fd);
	return r;
}
