// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's CPUs: switching the engine on and off on each of them.
 *
 * The engine is on from the first VM to the last. A CPU that comes up in
 * between is switched on before tasks can run there, one that goes down is
 * switched off when no task is left on it. Reboot and kexec find the engine
 * off; so does firmware in suspend, and what it forgot is set again on resume.
 *
 * Known hacks, and why:
 *  - cpu_emergency_register_virt_callback() has one slot, which is KVM's. Only an
 *    engine that blocks INIT, which starts the CPUs of the capture kernel, takes
 *    it, and only while it has VMs (mezz_engine.crash). If KVM wants it in that time,
 *    the kernel warns and KVM goes without; it could not have the CPUs either.
 *  - Suspend uses a device of our own with noirq callbacks, because
 *    register_syscore_ops() is not exported by every kernel (6.12).
 */
#include <linux/atomic.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/reboot.h>
#include <linux/smp.h>
#include <linux/version.h>
#include <asm/reboot.h>

#include "../cpu/lazy.h"
#include "../engine.h"
#include "host.h"

/*
 * Number of mezz_cpus_get() without put. Written with cpus_lock and the CPU
 * hotplug read lock held, read with either.
 */
static unsigned int cpus_users;
static DEFINE_MUTEX(cpus_lock);
static enum cpuhp_state cpus_hp_state;
/* Reboot has begun: no CPU is switched on any more. */
static bool cpus_down;

/* On the CPU itself, IRQs off. */
static int cpu_on(void)
{
	/* Looked at here, it cannot come too late: cpus_reboot()'s IPI is still to come. */
	if (READ_ONCE(cpus_down))
		return -EBUSY;
	mezz_lazy_cpu_on();
	return mezz_engine->cpu_on();
}

static void cpu_on_ipi(void *failed)
{
	if (cpu_on())
		atomic_inc(failed);
}

static void cpu_off_ipi(void *unused)
{
	mezz_engine->cpu_off();
}

/* Before 6.6 the kernel looks at CR4 by itself. */
static void on_crash(bool on)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	if (!mezz_engine->crash)
		return;
	if (on)
		cpu_emergency_register_virt_callback(mezz_engine->crash);
	else
		cpu_emergency_unregister_virt_callback(mezz_engine->crash);
#endif
}

int mezz_cpus_get(void)
{
	atomic_t failed = ATOMIC_INIT(0);
	int r = 0;

	mutex_lock(&cpus_lock);
	cpus_read_lock();
	if (!cpus_users) {
		on_each_cpu(cpu_on_ipi, &failed, 1);
		if (atomic_read(&failed)) {
			on_each_cpu(cpu_off_ipi, NULL, 1);
			r = -EBUSY;
		}
	}
	if (!r && !cpus_users++)
		on_crash(true);
	cpus_read_unlock();
	mutex_unlock(&cpus_lock);
	return r;
}

void mezz_cpus_put(void)
{
	mutex_lock(&cpus_lock);
	cpus_read_lock();
	if (!--cpus_users) {
		on_crash(false);
		on_each_cpu(cpu_off_ipi, NULL, 1);
	}
	cpus_read_unlock();
	mutex_unlock(&cpus_lock);
}

/*
 * CPU hotplug, on the CPU in question, in its hotplug thread: before the
 * scheduler may place ordinary tasks there, and after it has moved them away.
 */
static int hp_online(unsigned int cpu)
{
	unsigned long flags;
	int r = 0;

	local_irq_save(flags);
	if (cpus_users)
		r = cpu_on();
	local_irq_restore(flags);
	if (r)
		pr_err("mezz: CPU %u stays offline: %s\n", cpu,
		       READ_ONCE(cpus_down) ? "the machine goes down" :
		       "somebody else holds its virtualization");
	return r;
}

static int hp_offline(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	if (cpus_users)
		mezz_engine->cpu_off();
	local_irq_restore(flags);
	return 0;
}

/*
 * Reboot, halt, kexec. Guests may still run; they leave with an error, because
 * the engine's entry code survives being switched off.
 */
static int cpus_reboot(struct notifier_block *nb, unsigned long event, void *data)
{
	WRITE_ONCE(cpus_down, true);
	on_each_cpu(cpu_off_ipi, NULL, 1);
	return NOTIFY_OK;
}

static struct notifier_block cpus_reboot_nb = {
	.notifier_call = cpus_reboot,
};

/*
 * Suspend: user space is frozen and the other CPUs go through hotplug, so this
 * is about the CPU that suspends. On the way up they may all be there again.
 */
static int cpus_suspend(struct device *dev)
{
	if (cpus_users)
		on_each_cpu(cpu_off_ipi, NULL, 1);
	return 0;
}

static int cpus_resume(struct device *dev)
{
	atomic_t failed = ATOMIC_INIT(0);

	if (cpus_users)
		on_each_cpu(cpu_on_ipi, &failed, 1);
	if (atomic_read(&failed))
		pr_err("mezz: cannot switch virtualization on after suspend\n");
	return 0;
}

static const struct dev_pm_ops cpus_pm = {
	NOIRQ_SYSTEM_SLEEP_PM_OPS(cpus_suspend, cpus_resume)
};

static struct platform_driver cpus_driver = {
	.driver = { .name = "mezz", .pm = &cpus_pm },
};

static struct platform_device *cpus_device;

static int cpus_init_pm(void)
{
	int r = platform_driver_register(&cpus_driver);

	if (r)
		return r;
	cpus_device = platform_device_register_simple("mezz", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(cpus_device)) {
		platform_driver_unregister(&cpus_driver);
		return PTR_ERR(cpus_device);
	}
	return 0;
}

int mezz_cpus_init(void)
{
	int r = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "virt/mezz:online",
					  hp_online, hp_offline);

	if (r < 0)
		return r;
	cpus_hp_state = r;
	r = cpus_init_pm();
	if (r)
		goto out_hp;
	r = register_reboot_notifier(&cpus_reboot_nb);
	if (r)
		goto out_pm;
	return 0;

out_pm:
	platform_device_unregister(cpus_device);
	platform_driver_unregister(&cpus_driver);
out_hp:
	cpuhp_remove_state_nocalls(cpus_hp_state);
	return r;
}

void mezz_cpus_exit(void)
{
	unregister_reboot_notifier(&cpus_reboot_nb);
	platform_device_unregister(cpus_device);
	platform_driver_unregister(&cpus_driver);
	cpuhp_remove_state_nocalls(cpus_hp_state);
}

struct page *mezz_control_page(int node, gfp_t gfp)
{
	struct page *page, *unfit, *next;
	LIST_HEAD(unfits);

	/* Held meanwhile, or the next would be the same one. */
	while ((page = alloc_pages_node(node, gfp | __GFP_ZERO, 0)) &&
	       IS_ALIGNED(page_to_pfn(page), PTRS_PER_PMD))
		list_add(&page->lru, &unfits);
	list_for_each_entry_safe(unfit, next, &unfits, lru) {
		list_del(&unfit->lru);
		__free_page(unfit);
	}
	return page;
}

int mezz_cpu_pages_alloc(void __percpu *pages)
{
	struct page *page;
	int cpu;

	for_each_possible_cpu(cpu) {
		page = mezz_control_page(cpu_to_node(cpu), GFP_KERNEL);
		if (!page)
			return -ENOMEM;
		*(struct page **)per_cpu_ptr(pages, cpu) = page;
	}
	return 0;
}

void mezz_cpu_pages_free(void __percpu *pages)
{
	struct page **page;
	int cpu;

	for_each_possible_cpu(cpu) {
		page = per_cpu_ptr(pages, cpu);
		if (*page)
			__free_page(*page);
		*page = NULL;
	}
}

/*
 * The reschedule IPI: its handler looks at flags that are not set and returns.
 * Called through smp_ops, which is exported by both; smp_send_reschedule() has
 * been a macro around a tracepoint since 6.4.
 */
void mezz_kick_cpu(int cpu)
{
	void (*send)(int cpu) = smp_ops.smp_send_reschedule;

	send(cpu);
}

/* The count became implicit in 6.8. */
void mezz_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}
