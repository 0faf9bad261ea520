/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The small things every file of the launcher needs: messages, exact reads,
 * sizes in text form.
 *
 * Left to others: nothing here knows of guests or drivers.
 */
#ifndef MEZZ_UTIL_H
#define MEZZ_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a)	 (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)	 ((a) < (b) ? (a) : (b))
#define MAX(a, b)	 ((a) > (b) ? (a) : (b))
#define ALIGN_UP(x, a)	 (((x) + (a)-1) & ~((a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((a)-1))

#define KIB		 (1ULL << 10)
#define MIB		 (1ULL << 20)
#define GIB		 (1ULL << 30)

/*
 * Exit statuses of the program; documented in mezz(1), "EXIT STATUS".
 * A signal that ended the guest gives 128 plus its number.
 */
enum mezz_exit {
	MEZZ_EXIT_OK = 0,
	MEZZ_EXIT_HOST = 1,
	MEZZ_EXIT_USAGE = 2,
	MEZZ_EXIT_REBOOT = 3,
	MEZZ_EXIT_CRASH = 4,
	MEZZ_EXIT_DRIVER = 5,
	MEZZ_EXIT_QUIT = 6,
	MEZZ_EXIT_TIMEOUT = 124,
};

/**
 * msg - print one line on stderr
 * @fmt: printf format, without the "mezz: " in front and the newline at the end
 *
 * Any thread. Returns the line's ending to what the terminal needs while it is
 * in raw mode (see msg_raw_terminal()).
 */
void msg(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * msg_plain - as msg(), without the "mezz: " in front
 * @fmt: printf format
 */
void msg_plain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/**
 * msg_raw_terminal - tell msg() that the terminal needs a carriage return
 * @raw: true while the terminal does no output processing
 */
void msg_raw_terminal(bool raw);

/**
 * die - print one line on stderr and leave with MEZZ_EXIT_HOST
 * @fmt: printf format; the line has to say what the user can do
 *
 * For the time before the guest starts only; the terminal is put back through
 * atexit(3) handlers.
 */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/**
 * xcalloc - calloc(3) that does not return without memory
 * @n: number of objects
 * @size: bytes of each
 */
void *xcalloc(size_t n, size_t size);

/**
 * parse_size - read "512M" or "0x10000"
 * @text: decimal, octal or hexadecimal number with an optional K, M, G or T
 * @bytes: where the result goes
 *
 * Returns false when @text is not a number or does not fit in 64 bits.
 */
bool parse_size(const char *text, uint64_t *bytes);

/**
 * parse_unsigned - read a number between two bounds
 * @text: decimal, octal or hexadecimal
 * @min: smallest value to accept
 * @max: largest value to accept
 * @value: where the result goes
 */
bool parse_unsigned(const char *text, unsigned long min, unsigned long max, unsigned long *value);

/**
 * pread_full - read exactly so many bytes
 * @fd: file
 * @buf: where they go
 * @bytes: how many
 * @offset: in the file
 *
 * Returns 0, or -1 with errno set; the end of the file counts as EIO.
 */
int pread_full(int fd, void *buf, size_t bytes, uint64_t offset);

/**
 * write_all - write all bytes or give up at the first error
 * @fd: file, pipe or terminal
 * @buf: bytes
 * @bytes: how many
 *
 * Waits when @fd is not ready for more. Returns 0, or -1 with errno set.
 */
int write_all(int fd, const void *buf, size_t bytes);

/**
 * now_ns - time since some fixed point, in nanoseconds
 *
 * CLOCK_MONOTONIC.
 */
uint64_t now_ns(void);

#endif
