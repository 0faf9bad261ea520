// SPDX-License-Identifier: GPL-2.0-only
/*
 * The vCPU object: creation, its file descriptor and mapping, reset, kicks.
 * Running it is run.c; its state ioctls are cpu/ and irq/.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "cpu/cpu.h"
#include "cpu/lazy.h"
#include "emulate/emulate.h"
#include "host/host.h"
#include "irq/irq.h"
#include "ops.h"
#include "pv/pv.h"
#include "vcpu.h"

void mezz_kick(struct mezz_vcpu *v)
{
	int cpu;

	rcuwait_wake_up(&v->wait);
	/* Pairs with smp_store_mb() in run_section(). */
	smp_mb();
	if (READ_ONCE(v->mode) != MEZZ_IN_SECTION)
		return;
	cpu = READ_ONCE(v->cpu);
	/* On its own CPU the inner loop looks at the requests by itself. */
	if (cpu != raw_smp_processor_id())
		mezz_kick_cpu(cpu);
}

static void reset_segment(struct mezz_vcpu *v, unsigned int seg, u16 selector, u64 base,
			  bool s, u8 type)
{
	const struct kvm_segment k = {
		.selector = selector,
		.base = base,
		.limit = 0xffff,
		.present = 1,
		.s = s,
		.type = type,
	};

	mezz_engine->set_segment(v, seg, &k);
}

/* SDM 3, "Processor State After Reset"; APM 2, "Processor Initialization State" */
static void reset_segments(struct mezz_vcpu *v)
{
	const struct kvm_dtable dt = { .limit = 0xffff };
	unsigned int seg;

	for (seg = MEZZ_ES; seg <= MEZZ_GS; seg++)
		reset_segment(v, seg, 0, 0, true, 3);
	reset_segment(v, MEZZ_CS, 0xf000, 0xffff0000, true, 0xb);
	reset_segment(v, MEZZ_LDTR, 0, 0, false, 2);
	reset_segment(v, MEZZ_TR, 0, 0, false, 0xb);
	mezz_engine->set_dt(v, false, &dt);
	mezz_engine->set_dt(v, true, &dt);
}

void mezz_vcpu_reset(struct mezz_vcpu *v, bool init)
{
	memset(&v->ev, 0, sizeof(v->ev));
	atomic_set(&v->nmi_queued, 0);
	v->ext_irq = -1;
	v->complete = NULL;
	v->debug_step = false;
	memset(v->r, 0, sizeof(u64) * MEZZ_RIP);
	/* A family/model/stepping that resets to 0x600, as every P6 does. */
	v->r[MEZZ_RDX] = 0x600;
	memset(v->dr, 0, sizeof(v->dr));
	mezz_cpu_reset(v, init);
	mezz_fpu_reset(v, init);
	mezz_lazy_reset(v, init);
	mezz_engine->vcpu_reset(v, init);
	reset_segments(v);
	mezz_set(v, MEZZ_RSP, 0);
	mezz_set(v, MEZZ_RIP, 0xfff0);
	mezz_set(v, MEZZ_RFLAGS, X86_EFLAGS_FIXED);
	mezz_set(v, MEZZ_CR2, 0);
	mezz_set(v, MEZZ_DR6, 0xffff0ff0);
	mezz_set(v, MEZZ_DR7, 0x400);
	mezz_emul_forget(v);
	mezz_lapic_reset(v, init);
	mezz_pv_reset(v);
	mezz_request(v, MEZZ_REQ_TLB_FLUSH);
	mezz_request(v, MEZZ_REQ_EVENT);
}

void mezz_vcpu_free(struct mezz_vcpu *v)
{
	mezz_ring_free(v);
	mezz_lapic_destroy(v);
	mezz_pv_destroy(v);
	mezz_emul_destroy(v);
	mezz_engine->vcpu_destroy(v);
	mezz_lazy_forget(v);
	mezz_fpu_free(v);
	mezz_cpu_destroy(v);
	put_pid(rcu_dereference_protected(v->pid, true));
	if (v->pio_data)
		free_page((unsigned long)v->pio_data);
	if (v->run)
		free_page((unsigned long)v->run);
	mutex_destroy(&v->mutex);
	kfree(v);
}

static struct mezz_vcpu *alloc_vcpu(struct mezz_vm *vm, int id)
{
	struct mezz_vcpu *v = kzalloc(mezz_engine->vcpu_size, GFP_KERNEL_ACCOUNT);

	if (!v)
		return NULL;
	v->vm = vm;
	v->id = id;
	v->last_cpu = -1;
	v->cpu = -1;
	v->ext_irq = -1;
	v->tsc_khz = vm->tsc_khz;
	v->avail = MEZZ_ALL_GPRS;
	mutex_init(&v->mutex);
	rcuwait_init(&v->wait);
	v->run = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	v->pio_data = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	return v;
}

/* Build every part; on error mezz_vcpu_free() copes with what is missing. */
static int init_vcpu(struct mezz_vcpu *v)
{
	int r;

	if (!v->run || !v->pio_data)
		return -ENOMEM;
	r = mezz_cpu_create(v);
	if (!r)
		r = mezz_ring_alloc(v);
	if (!r)
		r = mezz_fpu_alloc(v);
	if (!r)
		r = mezz_engine->vcpu_create(v);
	if (!r)
		r = mezz_emul_create(v);
	if (!r)
		r = mezz_pv_create(v);
	if (!r && mezz_irqchip_any(v->vm))
		r = mezz_lapic_create(v);
	if (r)
		return r;
	v->mp.mp_state = v->lapic && v->id != v->vm->bsp_id ?
		KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE;
	mezz_vcpu_reset(v, false);
	mezz_engine->set_root(v, v->vm->mmu.root_hpa);
	mezz_engine->update_tsc(v);
	/* Whoever changes these from here on may not know of this vCPU yet. */
	mezz_request(v, MEZZ_REQ_MSR_FILTER);
	mezz_request(v, MEZZ_REQ_LOG);
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *f)
{
	struct mezz_vcpu *v = f->private_data;

	mezz_vm_put(v->vm);
	return 0;
}

static vm_fault_t vcpu_fault(struct vm_fault *vmf)
{
	struct mezz_vcpu *v = vmf->vma->vm_file->private_data;
	struct page *page;

	switch (vmf->pgoff) {
	case 0:
		page = virt_to_page(v->run);
		break;
	case 1:
		page = virt_to_page(v->pio_data);
		break;
	case KVM_COALESCED_MMIO_PAGE_OFFSET:
		page = mezz_coalesced_page(v->vm);
		break;
	default:
		page = vmf->pgoff < KVM_DIRTY_LOG_PAGE_OFFSET ? NULL :
		       mezz_ring_page(v, vmf->pgoff - KVM_DIRTY_LOG_PAGE_OFFSET);
	}
	if (!page)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct vcpu_vm_ops = {
	.fault = vcpu_fault,
};

static int vcpu_mmap(struct file *f, struct vm_area_struct *vma)
{
	struct mezz_vcpu *v = f->private_data;
	unsigned long ring = KVM_DIRTY_LOG_PAGE_OFFSET;

	/* The ring is for sharing data. */
	if (vma->vm_pgoff + vma_pages(vma) > ring &&
	    vma->vm_pgoff < ring + (v->vm->ring_size >> PAGE_SHIFT) &&
	    ((vma->vm_flags & VM_EXEC) || !(vma->vm_flags & VM_SHARED)))
		return -EINVAL;
	vma->vm_ops = &vcpu_vm_ops;
	return 0;
}

/* Remember which thread runs the vCPU, for boosts and diagnostics. */
static void note_thread(struct mezz_vcpu *v)
{
	struct pid *old = rcu_dereference_protected(v->pid, lockdep_is_held(&v->mutex));
	struct pid *new;

	if (likely(old == task_pid(current)))
		return;
	new = get_task_pid(current, PIDTYPE_PID);
	rcu_assign_pointer(v->pid, new);
	if (old) {
		synchronize_rcu();
		put_pid(old);
	}
}

/* Ioctls that take the mutex themselves or need none. */
static long vcpu_ioctl_unlocked(struct mezz_vcpu *v, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case KVM_NMI:
		mezz_nmi(v);
		return 0;
	case KVM_GET_STATS_FD:
		return mezz_vcpu_stats_fd(v);
	default:
		return -ENOIOCTLCMD;
	}
}

static long vcpu_ioctl_locked(struct mezz_vcpu *v, unsigned int cmd, unsigned long arg)
{
	long r;

	if (cmd == KVM_ENABLE_CAP)
		return mezz_vcpu_enable_cap(v, (void __user *)arg);
	r = mezz_cpu_vcpu_ioctl(v, cmd, arg);
	if (r == -ENOIOCTLCMD)
		r = mezz_irq_vcpu_ioctl(v, cmd, arg);
	return r == -ENOIOCTLCMD ? -ENOTTY : r;
}

static long vcpu_ioctl(struct file *f, unsigned int cmd, unsigned long arg)
{
	struct mezz_vcpu *v = f->private_data;
	long r;

	if (v->vm->mm != current->mm)
		return -EIO;
	/* Somebody else's ioctl: said before waiting for a running vCPU. */
	if (unlikely(_IOC_TYPE(cmd) != KVMIO))
		return -EINVAL;
	r = vcpu_ioctl_unlocked(v, cmd, arg);
	if (r != -ENOIOCTLCMD)
		return r;
	if (mutex_lock_killable(&v->mutex))
		return -EINTR;
	if (cmd == KVM_RUN) {
		r = -EINVAL;
		if (!arg) {
			note_thread(v);
			r = mezz_vcpu_run(v);
		}
	} else {
		r = vcpu_ioctl_locked(v, cmd, arg);
	}
	mutex_unlock(&v->mutex);
	return r;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.release = vcpu_release,
	.unlocked_ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.llseek = noop_llseek,
};

static bool id_taken(struct mezz_vm *vm, int id)
{
	struct mezz_vcpu *v;
	int i;

	mezz_for_each_vcpu(i, v, vm)
		if (v->id == id)
			return true;
	return false;
}

/* vm->lock held. Publish, and give user space its descriptor. */
static int publish(struct mezz_vm *vm, struct mezz_vcpu *v)
{
	struct file *file;
	char name[16 + 12];
	int fd;

	if (vm->nr_vcpus == MEZZ_MAX_VCPUS)
		return -EINVAL;
	if (id_taken(vm, v->id))
		return -EEXIST;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	mezz_vm_get(vm);
	snprintf(name, sizeof(name), "mezz-vcpu:%d", v->id);
	file = anon_inode_getfile(name, &vcpu_fops, v, O_RDWR);
	if (IS_ERR(file)) {
		mezz_vm_put(vm);
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	v->idx = vm->nr_vcpus;
	vm->vcpus[v->idx] = v;
	/*
	 * From here on mezz_for_each_vcpu() finds it. Before user space can run it: a flush
	 * that overlooked a vCPU would leave it what the host has taken away.
	 */
	smp_store_release(&vm->nr_vcpus, vm->nr_vcpus + 1);
	mezz_lapic_published(v);
	mezz_tsc_compare(vm);
	fd_install(fd, file);
	return fd;
}

/**
 * mezz_vm_create_vcpu() - KVM_CREATE_VCPU
 * @vm: the VM
 * @id: vCPU number, its APIC ID
 * Return: a file descriptor; -EINVAL: bad or too many; -EEXIST: taken
 */
int mezz_vm_create_vcpu(struct mezz_vm *vm, unsigned long id)
{
	struct mezz_vcpu *v;
	int r;

	if (id >= MEZZ_MAX_VCPU_ID)
		return -EINVAL;
	mutex_lock(&vm->lock);
	r = -EINVAL;
	if (vm->nr_vcpus == MEZZ_MAX_VCPUS)
		goto out;
	/* The first vCPU settles the limit. */
	if (!vm->max_vcpu_id)
		vm->max_vcpu_id = MEZZ_MAX_VCPU_ID;
	if (id >= vm->max_vcpu_id)
		goto out;
	r = -EEXIST;
	if (id_taken(vm, id))
		goto out;
	r = -ENOMEM;
	v = alloc_vcpu(vm, id);
	if (!v)
		goto out;
	r = init_vcpu(v);
	if (!r)
		r = publish(vm, v);
	if (r < 0)
		mezz_vcpu_free(v);
out:
	mutex_unlock(&vm->lock);
	return r;
}
