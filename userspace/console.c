// SPDX-License-Identifier: GPL-2.0-only
/*
 * One thread that carries bytes from stdin to the guest's serial port, hands on
 * output that waits for the end of its line. It outlives machines: a reset
 * attaches the next one.
 *
 * On a terminal every key goes to the guest, except for Ctrl-A, which starts an
 * escape sequence. Anything else on stdin is passed on as it is, and its end
 * simply means that no more input comes.
 *
 * Left to others: the serial port (serial.c), signals (machine.c).
 * Known hacks: a process in the background of its terminal does not touch it,
 * and has no input: it would be stopped by the kernel otherwise.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include "console.h"
#include "machine.h"
#include "platform.h"

#define ESCAPE_KEY     ('A' - '@')
#define INPUT_BYTES    4096
#define FLUSH_DELAY_MS 10

enum { WAKE, INPUT, NUM_FDS };

static struct {
	pthread_t thread;
	pthread_mutex_t lock; /* of machine */
	struct machine *machine;
	int wake_fd;
	atomic_bool stop;
	atomic_bool flush;  /* output waits */
	atomic_bool wanted; /* the guest takes input again */
	bool terminal;
	struct termios saved;
	/* the thread's own */
	bool input_open;
	bool escape; /* the escape key came last */
	uint8_t input[INPUT_BYTES];
	size_t input_used;
} console = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void wake(void)
{
	const uint64_t one = 1;

	(void)!write(console.wake_fd, &one, sizeof(one));
}

static void terminal_restore(void)
{
	if (!console.terminal)
		return;
	msg_raw_terminal(false);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &console.saved);
	console.terminal = false;
}

static void terminal_take(void)
{
	struct termios raw;

	console.input_open = true;
	if (!isatty(STDIN_FILENO))
		return;
	if (tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, &console.saved) < 0) {
		console.input_open = false;
		return;
	}
	raw = console.saved;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) < 0)
		return;
	console.terminal = true;
	atexit(terminal_restore);
	msg_raw_terminal(true);
}

/*
 * Whoever reads stdout may be slow, and then so is the guest; but the guest's end
 * does not wait for it: machine_run() interrupts the vCPU in write() or poll().
 */
static void output(struct machine *m, const uint8_t *bytes, size_t n)
{
	while (n) {
		ssize_t written = write(STDOUT_FILENO, bytes, n);

		if (written >= 0) {
			bytes += written;
			n -= (size_t)written;
		} else if (errno == EAGAIN) {
			struct pollfd wait = { .fd = STDOUT_FILENO, .events = POLLOUT };

			(void)poll(&wait, 1, FLUSH_DELAY_MS);
		} else if (errno != EINTR) {
			return;
		}
		if (n && machine_stopping(m))
			return;
	}
}

static void output_pending(void)
{
	if (!atomic_exchange(&console.flush, true))
		wake();
}

static void input_wanted(void)
{
	atomic_store(&console.wanted, true);
	wake();
}

const struct serial_ops console_serial_ops = {
	.output = output,
	.output_pending = output_pending,
	.input_wanted = input_wanted,
};

static void escape_help(void)
{
	msg_plain(" ");
	msg_plain("Ctrl-A x  end the guest");
	msg_plain("Ctrl-A p  press its power button");
	msg_plain("Ctrl-A r  reset it");
	msg_plain("Ctrl-A b  send a break (Linux: the SysRq key of the serial console)");
	msg_plain("Ctrl-A a  send Ctrl-A");
}

/* Returns true when the key is for the guest. With console.lock held. */
static bool escape_command(struct machine *m, uint8_t key)
{
	switch (key) {
	case 'x':
	case 'X':
		machine_stop(m, OUTCOME_QUIT);
		return false;
	case 'r':
		machine_stop(m, OUTCOME_REBOOT);
		return false;
	case 'p':
		platform_power_button(m->platform);
		return false;
	case 'b':
		serial_break(m->serial);
		return false;
	case 'a':
	case ESCAPE_KEY:
		return true;
	default:
		escape_help();
		return false;
	}
}

/* Takes the escape sequences out of what was typed. With console.lock held. */
static size_t filter_keys(struct machine *m, uint8_t *keys, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t key = keys[i];

		if (console.escape) {
			console.escape = false;
			if (escape_command(m, key))
				keys[kept++] = ESCAPE_KEY;
		} else if (key == ESCAPE_KEY) {
			console.escape = true;
		} else {
			keys[kept++] = key;
		}
	}
	return kept;
}

/* With console.lock held. */
static void read_input(struct machine *m)
{
	uint8_t *free_space = console.input + console.input_used;
	ssize_t n = read(STDIN_FILENO, free_space, INPUT_BYTES - console.input_used);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		console.input_open = false;
		return;
	}
	console.input_used += console.terminal ? filter_keys(m, free_space, (size_t)n) : (size_t)n;
}

/* With console.lock held. */
static void pass_input(struct machine *m)
{
	size_t taken;

	atomic_store(&console.wanted, false);
	if (!console.input_used)
		return;
	taken = serial_input(m->serial, console.input, console.input_used);
	console.input_used -= taken;
	memmove(console.input, console.input + taken, console.input_used);
}

/* What poll() is to wait for; nothing but WAKE without a machine. */
static void prepare(struct pollfd *fds, bool attached)
{
	bool room = console.input_used < INPUT_BYTES;

	fds[WAKE] = (struct pollfd){ .fd = console.wake_fd, .events = POLLIN };
	fds[INPUT] = (struct pollfd){ .fd = attached && room && console.input_open ? STDIN_FILENO
										   : -1,
				      .events = POLLIN };
}

static void serve(const struct pollfd *fds)
{
	struct machine *m;

	pthread_mutex_lock(&console.lock);
	m = console.machine;
	if (m) {
		if (fds[INPUT].revents)
			read_input(m);
		pass_input(m);
	}
	pthread_mutex_unlock(&console.lock);
}

static void flush_output(void)
{
	atomic_store(&console.flush, false);
	pthread_mutex_lock(&console.lock);
	if (console.machine)
		serial_flush(console.machine->serial);
	pthread_mutex_unlock(&console.lock);
}

static bool attached(void)
{
	bool is;

	pthread_mutex_lock(&console.lock);
	is = console.machine;
	pthread_mutex_unlock(&console.lock);
	return is;
}

static void *console_main(void *arg)
{
	(void)pthread_setname_np(pthread_self(), "console");
	while (!atomic_load(&console.stop)) {
		struct pollfd fds[NUM_FDS];
		bool waiting = atomic_load(&console.flush);
		uint64_t count;
		int n;

		prepare(fds, attached());
		n = poll(fds, NUM_FDS, waiting ? FLUSH_DELAY_MS : -1);
		if (n < 0)
			continue;
		if (fds[WAKE].revents)
			(void)!read(console.wake_fd, &count, sizeof(count));
		serve(fds);
		if (waiting && !fds[WAKE].revents)
			flush_output();
	}
	return arg;
}

void console_start(void)
{
	int error;

	console.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (console.wake_fd < 0)
		die("eventfd: %s", strerror(errno));
	terminal_take();
	error = pthread_create(&console.thread, NULL, console_main, NULL);
	if (error)
		die("cannot start the console's thread: %s", strerror(error));
}

void console_attach(struct machine *m)
{
	pthread_mutex_lock(&console.lock);
	console.machine = m;
	pthread_mutex_unlock(&console.lock);
	wake();
}

void console_stop(void)
{
	atomic_store(&console.stop, true);
	wake();
	pthread_join(console.thread, NULL);
	close(console.wake_fd);
	terminal_restore();
}
