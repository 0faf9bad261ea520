/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The work a task must do before it returns to user space (signals,
 * rescheduling, task work), when "user space" is a guest.
 *
 * xfer_to_guest_mode_handle_work() is exported by every kernel since 5.9 that
 * builds KVM, and is shared with other hypervisor drivers.
 */
#ifndef MEZZ_HOST_WORK_H
#define MEZZ_HOST_WORK_H

#include <linux/entry-kvm.h>

/* Context: IRQs off. Is there anything to do before entering the guest? */
static inline bool mezz_work_pending(void)
{
	return __xfer_to_guest_mode_work_pending();
}

int mezz_work_init(void);	/* [P] at load */
void mezz_work_exit(void);

/**
 * mezz_do_work() - do it
 * Context: IRQs on, may sleep.
 * Return: 0, or -EINTR when a signal waits
 */
int mezz_do_work(void);

#endif
