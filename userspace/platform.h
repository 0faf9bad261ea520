/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few pieces of PC hardware beside the interrupt controllers: ACPI fixed
 * hardware, the ways to reset, a real-time clock.
 */
#ifndef MEZZ_PLATFORM_H
#define MEZZ_PLATFORM_H

struct machine;
struct platform;

/* ACPI fixed hardware: a block of ports, and what is where in it. */
#define PM_PORT	    0x600
#define PM_PORTS    0xc
#define PM_EVT	    0x0 /* status and enable register, two bytes each */
#define PM_CNT	    0x4
#define PM_TMR	    0x8

#define RESET_PORT  0xcf9
#define RESET_VALUE 0x06

#define RTC_PORT    0x70
#define RTC_PORTS   2
#define RTC_CENTURY 0x32

/**
 * platform_create - put the hardware on the machine's ports
 * @m: machine
 */
struct platform *platform_create(struct machine *m);

/**
 * platform_destroy - free it
 * @p: platform; no vCPU runs any more
 */
void platform_destroy(struct platform *p);

/**
 * platform_power_button - press and release the power button
 * @p: platform
 *
 * Any thread. What follows is the guest's decision.
 */
void platform_power_button(struct platform *p);

#endif
