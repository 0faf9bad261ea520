// SPDX-License-Identifier: GPL-2.0-only
/*
 * A 16550A: registers, receive FIFO, interrupts. Sending takes no time, so the
 * transmitter is always empty.
 *
 * Output is collected up to the end of a line, because a write(2) for each
 * character would cost more than the guest's access itself.
 *
 * Left to others: the terminal (console.c), the port's place in ACPI (acpi.c).
 * References: National Semiconductor PC16550D data sheet, "Registers".
 * Known hacks: the guest is given input only once it has raised RTS and DTR or
 * enabled the receive interrupt: what arrives earlier would be thrown away by the
 * FIFO reset with which drivers begin.
 */
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "serial.h"

#define FIFO_BYTES   16
#define OUTPUT_BYTES 512

enum {
	REG_DATA = 0, /* divisor latch low with LCR_DLAB */
	REG_IER = 1,  /* divisor latch high with LCR_DLAB */
	REG_IIR = 2,  /* FCR when written */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
};

#define IER_RECEIVE  0x01
#define IER_TRANSMIT 0x02
#define IER_LINE     0x04
#define IER_ALL	     0x0f

#define IIR_NONE     0x01
#define IIR_TRANSMIT 0x02
#define IIR_RECEIVE  0x04
#define IIR_LINE     0x06
#define IIR_TIMEOUT  0x0c
#define IIR_FIFO     0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02

#define LCR_DLAB     0x80

#define MCR_DTR	     0x01
#define MCR_RTS	     0x02
#define MCR_OUT1     0x04
#define MCR_OUT2     0x08
#define MCR_LOOP     0x10
#define MCR_ALL	     0x1f

#define LSR_DATA     0x01
#define LSR_OVERRUN  0x02
#define LSR_BREAK    0x10
#define LSR_EMPTY    0x60 /* holding register and transmitter */

#define MSR_CTS	     0x10
#define MSR_DSR	     0x20
#define MSR_RI	     0x40
#define MSR_DCD	     0x80

struct serial {
	struct machine *m;
	const struct serial_ops *ops;
	pthread_mutex_t lock; /* of everything below */
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	uint8_t line_errors; /* LSR_OVERRUN, LSR_BREAK */
	bool fifo_enabled;
	bool transmit_pending; /* the "holding register empty" interrupt */
	bool irq;
	bool input_refused; /* somebody waits for input_wanted */
	uint8_t fifo[FIFO_BYTES];
	unsigned int fifo_used;
	uint8_t output[OUTPUT_BYTES];
	size_t output_used;
};

/* Highest priority first: data sheet, "Interrupt Identification Register". */
static uint8_t pending(const struct serial *s)
{
	if (s->ier & IER_LINE && s->line_errors)
		return IIR_LINE;
	if (s->ier & IER_RECEIVE && s->fifo_used)
		return s->fifo_enabled ? IIR_TIMEOUT : IIR_RECEIVE;
	if (s->ier & IER_TRANSMIT && s->transmit_pending)
		return IIR_TRANSMIT;
	return IIR_NONE;
}

/* OUT2 gates the line on a PC, and the loopback takes it away. */
static void update_irq(struct serial *s)
{
	bool level = pending(s) != IIR_NONE && s->mcr & MCR_OUT2 && !(s->mcr & MCR_LOOP);

	if (level == s->irq)
		return;
	s->irq = level;
	machine_irq(s->m, GSI_SERIAL, level);
}

static bool takes_input(const struct serial *s)
{
	if (s->mcr & MCR_LOOP || s->fifo_used == FIFO_BYTES)
		return false;
	return s->ier & IER_RECEIVE || (s->mcr & (MCR_DTR | MCR_RTS)) == (MCR_DTR | MCR_RTS);
}

static void flush(struct serial *s)
{
	if (s->output_used)
		s->ops->output(s->m, s->output, s->output_used);
	s->output_used = 0;
}

static void receive(struct serial *s, uint8_t byte)
{
	if (s->fifo_used == FIFO_BYTES)
		s->line_errors |= LSR_OVERRUN;
	else
		s->fifo[s->fifo_used++] = byte;
}

static void send(struct serial *s, uint8_t byte)
{
	s->transmit_pending = true;
	if (s->mcr & MCR_LOOP) {
		receive(s, byte);
		return;
	}
	s->output[s->output_used++] = byte;
	if (byte == '\n' || s->output_used == OUTPUT_BYTES)
		flush(s);
	else if (s->output_used == 1)
		s->ops->output_pending();
}

static void write_register(struct serial *s, uint64_t reg, uint8_t v)
{
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = v;
		else
			send(s, v);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB) {
			s->dlm = v;
			break;
		}
		if (v & IER_TRANSMIT && !(s->ier & IER_TRANSMIT))
			s->transmit_pending = true;
		s->ier = v & IER_ALL;
		break;
	case REG_IIR:
		s->fifo_enabled = v & FCR_ENABLE;
		if (v & FCR_CLEAR_RX || !(v & FCR_ENABLE))
			s->fifo_used = 0;
		break;
	case REG_LCR:
		s->lcr = v;
		break;
	case REG_MCR:
		s->mcr = v & MCR_ALL;
		break;
	case REG_SCR:
		s->scr = v;
		break;
	}
}

static uint8_t read_data(struct serial *s)
{
	uint8_t byte = s->fifo[0];

	if (!s->fifo_used)
		return 0;
	s->fifo_used--;
	memmove(s->fifo, s->fifo + 1, s->fifo_used);
	return byte;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t v = pending(s);

	if (v == IIR_TRANSMIT)
		s->transmit_pending = false;
	return v | (s->fifo_enabled ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t v = LSR_EMPTY | s->line_errors | (s->fifo_used ? LSR_DATA : 0);

	s->line_errors = 0;
	return v;
}

/* In loopback, the modem control outputs come back as modem status. */
static uint8_t read_msr(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
			 (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static uint8_t read_register(struct serial *s, uint64_t reg)
{
	switch (reg) {
	case REG_DATA:
		return s->lcr & LCR_DLAB ? s->dll : read_data(s);
	case REG_IER:
		return s->lcr & LCR_DLAB ? s->dlm : s->ier;
	case REG_IIR:
		return read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return read_lsr(s);
	case REG_MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static void serial_access(void *dev, uint64_t offset, void *data, unsigned int size, bool write)
{
	struct serial *s = dev;

	pthread_mutex_lock(&s->lock);
	if (write)
		write_register(s, offset, (uint8_t)bus_get(data, size));
	else
		bus_put(data, size, read_register(s, offset));
	update_irq(s);
	if (s->input_refused && takes_input(s)) {
		s->input_refused = false;
		s->ops->input_wanted();
	}
	pthread_mutex_unlock(&s->lock);
}

size_t serial_input(struct serial *s, const uint8_t *bytes, size_t n)
{
	size_t taken = 0;

	pthread_mutex_lock(&s->lock);
	while (taken < n && takes_input(s))
		receive(s, bytes[taken++]);
	s->input_refused = taken < n;
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
	return taken;
}

void serial_break(struct serial *s)
{
	pthread_mutex_lock(&s->lock);
	s->line_errors |= LSR_BREAK;
	receive(s, 0);
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
}

void serial_flush(struct serial *s)
{
	pthread_mutex_lock(&s->lock);
	flush(s);
	pthread_mutex_unlock(&s->lock);
}

struct serial *serial_create(struct machine *m, const struct serial_ops *ops)
{
	struct serial *s = xcalloc(1, sizeof(*s));

	s->m = m;
	s->ops = ops;
	pthread_mutex_init(&s->lock, NULL);
	bus_add(&m->pio, SERIAL_PORT, SERIAL_PORTS, serial_access, s);
	return s;
}

void serial_destroy(struct serial *s)
{
	flush(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
