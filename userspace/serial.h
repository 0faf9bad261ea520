/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The first serial port of a PC, a 16550A.
 */
#ifndef MEZZ_SERIAL_H
#define MEZZ_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct machine;
struct serial;

#define SERIAL_PORT  0x3f8
#define SERIAL_PORTS 8

/** struct serial_ops - the other end of the line; all called with the port's lock held */
struct serial_ops {
	/** @output: bytes the guest has sent; may block */
	void (*output)(struct machine *m, const uint8_t *bytes, size_t n);
	/** @output_pending: bytes wait in the port; call serial_flush() soon */
	void (*output_pending)(void);
	/** @input_wanted: serial_input() would take bytes again */
	void (*input_wanted)(void);
};

/**
 * serial_create - put the port on the machine
 * @m: machine
 * @ops: the other end
 */
struct serial *serial_create(struct machine *m, const struct serial_ops *ops);

/**
 * serial_destroy - hand over the last output and free the port
 * @s: port; no vCPU runs any more
 */
void serial_destroy(struct serial *s);

/**
 * serial_input - send bytes to the guest
 * @s: port
 * @bytes: input
 * @n: how many
 *
 * Any thread. Returns how many the guest's FIFO took; when it is fewer than @n,
 * @input_wanted is called once there is room.
 */
size_t serial_input(struct serial *s, const uint8_t *bytes, size_t n);

/**
 * serial_break - send a break condition to the guest
 * @s: port
 *
 * Any thread.
 */
void serial_break(struct serial *s);

/**
 * serial_flush - hand over output that waits for more
 * @s: port
 *
 * Any thread.
 */
void serial_flush(struct serial *s);

#endif
