// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI fixed hardware (power button, sleep control, PM timer), three ways to
 * reset (0xcf9, keyboard controller, port 0x92), and a real-time clock.
 *
 * Left to others: the tables that announce it (acpi.c); PIT, 8259 pair, IOAPIC
 * and port 0x61, which the driver emulates.
 * References: ACPI specification 6.4, "ACPI Hardware Specification"; the RTC is
 * the MC146818 of every PC.
 * Known hacks: the RTC is read only and never interrupts; of the ACPI events only
 * the power button ever happens; the keyboard controller knows no command but
 * "pulse the reset line".
 */
#include <stdlib.h>
#include <time.h>

#include "acpi.h"
#include "machine.h"
#include "platform.h"

#define PM_TIMER_HZ	   3579545ULL

#define PM1_STS_PWRBTN	   (1U << 8)
#define PM1_EN_KNOWN	   0x0721 /* timer, global, power and sleep button, RTC */
#define PM1_CNT_SCI_EN	   (1U << 0)
#define PM1_CNT_SLP_TYP(v) ((v) >> 10 & 7)
#define PM1_CNT_SLP_EN	   (1U << 13)

#define RESET_CF9_FULL	   0x04 /* "reset CPU" bit of port 0xcf9 */

#define KBD_PORT	   0x64
#define KBD_PULSE	   0xf0 /* command 0xf0-0xff: pulse output lines whose bit is 0 */
#define KBD_LINE_RESET	   0x01
#define FAST_RESET_PORT	   0x92
#define FAST_RESET_BIT	   0x01

struct platform {
	struct machine *m;
	pthread_mutex_t lock; /* of everything below */
	uint16_t pm1_status;
	uint16_t pm1_enable;
	uint16_t pm1_control;
	uint8_t rtc_index;
	bool sci;
};

/* With the lock held. */
static void update_sci(struct platform *p)
{
	bool level = p->pm1_status & p->pm1_enable;

	if (level == p->sci)
		return;
	p->sci = level;
	machine_irq(p->m, GSI_SCI, level);
}

static uint32_t pm_timer(void)
{
	uint64_t ns = now_ns();

	return (uint32_t)(ns / 1000000000ULL * PM_TIMER_HZ +
			  ns % 1000000000ULL * PM_TIMER_HZ / 1000000000ULL);
}

static void pm_write_control(struct platform *p, uint16_t v)
{
	p->pm1_control = (uint16_t)(v & ~PM1_CNT_SLP_EN);
	if (v & PM1_CNT_SLP_EN && PM1_CNT_SLP_TYP(v) == ACPI_S5_SLEEP_TYPE)
		machine_stop(p->m, OUTCOME_POWEROFF);
}

static void pm_write(struct platform *p, uint64_t offset, uint64_t v, unsigned int size)
{
	switch (offset) {
	case PM_EVT:
		p->pm1_status &= (uint16_t)~v; /* write 1 to clear */
		if (size == 4)
			p->pm1_enable = (uint16_t)(v >> 16 & PM1_EN_KNOWN);
		break;
	case PM_EVT + 2:
		p->pm1_enable = (uint16_t)(v & PM1_EN_KNOWN);
		break;
	case PM_CNT:
		pm_write_control(p, (uint16_t)v);
		break;
	}
	update_sci(p);
}

static uint32_t pm_read(struct platform *p, uint64_t offset)
{
	switch (offset) {
	case PM_EVT:
		return p->pm1_status | (uint32_t)p->pm1_enable << 16;
	case PM_EVT + 2:
		return p->pm1_enable;
	case PM_CNT:
		return p->pm1_control | PM1_CNT_SCI_EN;
	default:
		return 0;
	}
}

static void pm_access(void *dev, uint64_t offset, void *data, unsigned int size, bool write)
{
	struct platform *p = dev;

	if (offset == PM_TMR) { /* read only, and read often: no lock */
		if (!write)
			bus_put(data, size, pm_timer());
		return;
	}
	pthread_mutex_lock(&p->lock);
	if (write)
		pm_write(p, offset, bus_get(data, size), size);
	else
		bus_put(data, size, pm_read(p, offset));
	pthread_mutex_unlock(&p->lock);
}

void platform_power_button(struct platform *p)
{
	pthread_mutex_lock(&p->lock);
	p->pm1_status |= PM1_STS_PWRBTN;
	update_sci(p);
	pthread_mutex_unlock(&p->lock);
}

static void reset_access(void *dev, uint64_t offset, void *data, unsigned int size, bool write)
{
	struct platform *p = dev;

	(void)offset;
	if (!write)
		bus_put(data, size, 0);
	else if (bus_get(data, size) & RESET_CF9_FULL)
		machine_stop(p->m, OUTCOME_REBOOT);
}

static void kbd_access(void *dev, uint64_t offset, void *data, unsigned int size, bool write)
{
	struct platform *p = dev;
	uint64_t v;

	(void)offset;
	if (!write) {
		bus_put(data, size, 0); /* nothing to read, ready for commands */
		return;
	}
	v = bus_get(data, size);
	if ((v & KBD_PULSE) == KBD_PULSE && !(v & KBD_LINE_RESET))
		machine_stop(p->m, OUTCOME_REBOOT);
}

static void fast_reset_access(void *dev, uint64_t offset, void *data, unsigned int size, bool write)
{
	struct platform *p = dev;

	(void)offset;
	if (!write)
		bus_put(data, size, 0x02); /* A20 open */
	else if (bus_get(data, size) & FAST_RESET_BIT)
		machine_stop(p->m, OUTCOME_REBOOT);
}

static uint8_t to_bcd(int v)
{
	return (uint8_t)(v / 10 % 10 << 4 | v % 10);
}

/* UTC in BCD and 24 hours, as register B says; no update is ever in progress. */
static uint8_t rtc_read(uint8_t index)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	switch (index) {
	case 0x00:
		return to_bcd(tm.tm_sec);
	case 0x02:
		return to_bcd(tm.tm_min);
	case 0x04:
		return to_bcd(tm.tm_hour);
	case 0x06:
		return to_bcd(tm.tm_wday + 1);
	case 0x07:
		return to_bcd(tm.tm_mday);
	case 0x08:
		return to_bcd(tm.tm_mon + 1);
	case 0x09:
		return to_bcd(tm.tm_year % 100);
	case RTC_CENTURY:
		return to_bcd((tm.tm_year + 1900) / 100);
	case 0x0a:
		return 0x26; /* 32768 Hz, divider running */
	case 0x0b:
		return 0x02; /* 24 hours, BCD */
	case 0x0d:
		return 0x80; /* battery good */
	default:
		return 0;
	}
}

static void rtc_access(void *dev, uint64_t offset, void *data, unsigned int size, bool write)
{
	struct platform *p = dev;

	pthread_mutex_lock(&p->lock);
	if (write) {
		if (offset == 0)
			p->rtc_index = (uint8_t)(bus_get(data, size) & 0x7f);
	} else {
		bus_put(data, size, offset == 0 ? 0xff : rtc_read(p->rtc_index));
	}
	pthread_mutex_unlock(&p->lock);
}

struct platform *platform_create(struct machine *m)
{
	struct platform *p = xcalloc(1, sizeof(*p));

	p->m = m;
	pthread_mutex_init(&p->lock, NULL);
	bus_add(&m->pio, PM_PORT, PM_PORTS, pm_access, p);
	bus_add(&m->pio, RESET_PORT, 1, reset_access, p);
	bus_add(&m->pio, KBD_PORT, 1, kbd_access, p);
	bus_add(&m->pio, FAST_RESET_PORT, 1, fast_reset_access, p);
	bus_add(&m->pio, RTC_PORT, RTC_PORTS, rtc_access, p);
	return p;
}

void platform_destroy(struct platform *p)
{
	pthread_mutex_destroy(&p->lock);
	free(p);
}
