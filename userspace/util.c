// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages, exact reads, sizes in text form: see util.h.
 *
 * Left to others: the terminal itself (console.c).
 * Known hacks: none.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

static atomic_bool raw_terminal;

void msg_raw_terminal(bool raw)
{
	atomic_store(&raw_terminal, raw);
}

static void vmsg(const char *head, const char *fmt, va_list ap)
{
	char line[1024];
	size_t used = (size_t)snprintf(line, sizeof(line), "%s", head);
	int n = vsnprintf(line + used, sizeof(line) - used - 2, fmt, ap);

	if (n > 0)
		used = MIN(used + (size_t)n, sizeof(line) - 3);
	if (atomic_load(&raw_terminal))
		line[used++] = '\r';
	line[used++] = '\n';
	(void)write_all(STDERR_FILENO, line, used);
}

void msg(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vmsg("mezz: ", fmt, ap);
	va_end(ap);
}

void msg_plain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vmsg("", fmt, ap);
	va_end(ap);
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vmsg("mezz: ", fmt, ap);
	va_end(ap);
	exit(MEZZ_EXIT_HOST);
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("out of memory for %zu objects of %zu bytes", n, size);
	return p;
}

bool parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	unsigned int shift = 0;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*bytes = strtoull(text, &end, 0);
	if (errno)
		return false;
	if (*end) {
		char upper = *end >= 'a' ? (char)(*end - 'a' + 'A') : *end;
		const char *suffix = strchr(suffixes, upper);

		if (!suffix)
			return false;
		shift = 10 * (unsigned int)(suffix - suffixes + 1);
		end++;
		if (end[0] == 'i' && end[1] == 'B')
			end += 2;
		else if (end[0] == 'B')
			end++;
		if (*end)
			return false;
	}
	if (*bytes > UINT64_MAX >> shift)
		return false;
	*bytes <<= shift;
	return true;
}

bool parse_unsigned(const char *text, unsigned long min, unsigned long max, unsigned long *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoul(text, &end, 0);
	return !errno && !*end && *value >= min && *value <= max;
}

int pread_full(int fd, void *buf, size_t bytes, uint64_t offset)
{
	char *p = buf;

	while (bytes) {
		ssize_t n = pread(fd, p, bytes, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (!n)
				errno = EIO;
			return -1;
		}
		p += n;
		bytes -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int write_all(int fd, const void *buf, size_t bytes)
{
	const char *p = buf;

	while (bytes) {
		ssize_t n = write(fd, p, bytes);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd wait = { .fd = fd, .events = POLLOUT };

			(void)poll(&wait, 1, -1);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}
