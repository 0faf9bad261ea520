// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load, unload, the device nodes and the choice of an engine.
 *
 * /dev/mezz always exists while the module is loaded. /dev/kvm is taken too
 * when nobody has it, so that programs written for KVM find it.
 */
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/miscdevice.h>
#include <linux/mezz.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <asm/tsc.h>

#include "cpu/cpu.h"
#include "cpu/lazy.h"
#include "engine.h"
#include "host/host.h"
#include "host/work.h"
#include "irq/irq.h"
#include "ops.h"
#include "pv/pv.h"
#include "vm.h"

#ifdef CONFIG_PREEMPT_RT
#error "Guests run in sections with interrupts off, whose locks would sleep under PREEMPT_RT"
#endif

const struct mezz_engine *mezz_engine;
struct mezz_host mezz_host;

/* In the order in which they are asked; the first that can serves. */
static const struct mezz_engine *const engines[] = {
	&mezz_svm_engine,
	&mezz_vmx_engine,
};

static bool take_dev_kvm = true;
module_param_named(dev_kvm, take_dev_kvm, bool, 0444);
MODULE_PARM_DESC(dev_kvm, "also provide /dev/kvm when nobody else does (default: yes)");

static long get_info(void __user *argp)
{
	struct mezz_info info = {
		.size = sizeof(info),
		.max_page_level = mezz_host.max_page_level,
	};
	u32 size;

	if (get_user(size, (u32 __user *)argp))
		return -EFAULT;
	if (size < sizeof(info))
		return -EINVAL;
	strscpy(info.engine, mezz_engine->name, sizeof(info.engine));
	return copy_to_user(argp, &info, sizeof(info)) ? -EFAULT : 0;
}

static long dev_ioctl(struct file *f, unsigned int cmd, unsigned long arg)
{
	long r;

	switch (cmd) {
	case KVM_GET_API_VERSION:
		return arg ? -EINVAL : KVM_API_VERSION;
	case KVM_CREATE_VM:
		return mezz_create_vm(arg);
	case KVM_CHECK_EXTENSION:
		return mezz_check_extension(NULL, arg);
	case KVM_GET_VCPU_MMAP_SIZE:
		return arg ? -EINVAL : MEZZ_VCPU_MMAP_PAGES * PAGE_SIZE;
	case MEZZ_GET_INFO:
		return get_info((void __user *)arg);
	default:
		r = mezz_cpu_sys_ioctl(cmd, arg);
		return r == -ENOIOCTLCMD ? -EINVAL : r;
	}
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = dev_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice mezz_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mezz",
	.fops = &dev_fops,
	.mode = 0660,
};

static struct miscdevice kvm_dev = {
	.minor = KVM_MINOR,
	.name = "kvm",
	.fops = &dev_fops,
	.mode = 0660,
};

static bool have_dev_kvm;

/* The first engine that can serve this machine, or why none can. */
static int choose_engine(void)
{
	char why[ARRAY_SIZE(engines)][160] = {};
	int r[ARRAY_SIZE(engines)], worst = -ENODEV;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(engines); i++) {
		memset(&mezz_host, 0, sizeof(mezz_host));
		r[i] = engines[i]->probe(&mezz_host, why[i], sizeof(why[i]));
		if (!r[i]) {
			mezz_engine = engines[i];
			return 0;
		}
		if (r[i] != -ENODEV)
			worst = r[i];
	}
	/* An engine for another CPU has nothing to say if the right one has. */
	for (i = 0; i < ARRAY_SIZE(engines); i++)
		if (r[i] == worst)
			pr_err("mezz: %s: %s\n", engines[i]->name, why[i]);
	return worst;
}

static int register_devices(void)
{
	int r = misc_register(&mezz_dev);

	if (r)
		return r;
	have_dev_kvm = take_dev_kvm && !misc_register(&kvm_dev);
	if (take_dev_kvm && !have_dev_kvm)
		pr_info("mezz: /dev/kvm belongs to KVM; use /dev/mezz\n");
	return 0;
}

static int __init mezz_init(void)
{
	int r;

	/* Every guest's clocks and timers are scaled from it. */
	if (!tsc_khz) {
		pr_err("mezz: this kernel does not know how fast the TSC is: boot it with tsc_early_khz=KHZ\n");
		return -EOPNOTSUPP;
	}
	r = choose_engine();
	if (r)
		return r;
	mezz_lazy_probe(&mezz_host);
	r = mezz_work_init();
	if (r)
		return r;
	r = mezz_engine->setup();
	if (r)
		goto no_setup;
	r = mezz_cpus_init();
	if (r)
		goto no_cpus;
	r = mezz_cpu_setup();
	if (r)
		goto no_cpu;
	r = mezz_pv_setup();
	if (r)
		goto no_pv;
	r = mezz_irq_setup();
	if (r)
		goto no_irq;
	r = register_devices();
	if (r)
		goto no_devices;
	pr_info("mezz: %s engine ready, /dev/mezz%s\n", mezz_engine->name,
		have_dev_kvm ? " and /dev/kvm" : "");
	return 0;

no_devices:
	mezz_irq_teardown();
no_irq:
	mezz_pv_teardown();
no_pv:
	mezz_cpu_teardown();
no_cpu:
	mezz_cpus_exit();
no_cpus:
	mezz_engine->teardown();
no_setup:
	mezz_work_exit();
	return r;
}

static void __exit mezz_cleanup(void)
{
	if (have_dev_kvm)
		misc_deregister(&kvm_dev);
	misc_deregister(&mezz_dev);
	mezz_irq_teardown();
	mezz_pv_teardown();
	mezz_cpu_teardown();
	mezz_cpus_exit();
	mezz_engine->teardown();
	mezz_work_exit();
}

module_init(mezz_init);
module_exit(mezz_cleanup);

MODULE_DESCRIPTION("Mezzanine: a VMM in the running kernel");
MODULE_LICENSE("GPL");
