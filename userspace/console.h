/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The terminal, or whatever stdin and stdout are, at the other end of the guest's
 * serial port.
 */
#ifndef MEZZ_CONSOLE_H
#define MEZZ_CONSOLE_H

#include "serial.h"

struct machine;

/** console_serial_ops - the console as the other end of a serial port */
extern const struct serial_ops console_serial_ops;

/**
 * console_start - take the terminal, start the console's thread
 *
 * Once, by the main thread, before it starts any other.
 */
void console_start(void);

/**
 * console_attach - connect a machine
 * @m: machine with a serial port, or NULL to disconnect the one that is connected
 *
 * Main thread. Once it has returned, the console does not touch the machine that
 * was connected before.
 */
void console_attach(struct machine *m);

/**
 * console_stop - end the thread and give the terminal back
 *
 * Main thread, with no machine attached.
 */
void console_stop(void);

#endif
