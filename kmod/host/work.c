// SPDX-License-Identifier: GPL-2.0-only
/*
 * The task's work before a guest is entered. See work.h.
 *
 * Known hack: when a signal waits, the kernel's function does not only say so,
 * it also notes the exit in the struct kvm_vcpu that it is given. It gets one
 * that nobody reads. Doing the work ourselves is no way out: what runs task
 * work and restartable sequences is not exported.
 */
#include <linux/entry-kvm.h>
#include <linux/kvm_host.h>
#include <linux/slab.h>

#include "work.h"

/* Written by every thread and read by none. */
static struct kvm_vcpu *sink;

int mezz_do_work(void)
{
	return xfer_to_guest_mode_handle_work(sink);
}

int mezz_work_init(void)
{
	sink = kzalloc(sizeof(*sink), GFP_KERNEL);
	if (!sink)
		return -ENOMEM;
	sink->run = (void *)get_zeroed_page(GFP_KERNEL);
	if (sink->run)
		return 0;
	kfree(sink);
	return -ENOMEM;
}

void mezz_work_exit(void)
{
	free_page((unsigned long)sink->run);
	kfree(sink);
}
