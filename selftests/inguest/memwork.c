// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program for guests that are saved, restored and migrated: it writes memory all
 * the time, checks what it finds there, and watches that no clock goes back.
 *
 *   memwork MIB [ROUNDS [PAUSE]]
 *
 * ROUNDS is 0 for no end, PAUSE the milliseconds between two rounds.
 * Every page holds, at a place that wanders, the number of the round that wrote it
 * last, and its own number. A page that a migration lost or mixed up is found in the
 * next round. One line a second tells how far it is; "memwork: ok" ends it. It runs in
 * an initrd without libraries, so it is static.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE  4096
#define WORDS (PAGE / sizeof(uint64_t))

static uint64_t now(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int fail(const char *what, uint64_t page, uint64_t want, uint64_t got)
{
	printf("memwork: BAD %s, page %lu: want %lx, got %lx\n", what, page, want, got);
	return 1;
}

int main(int argc, char **argv)
{
	uint64_t pages = (argc > 1 ? strtoul(argv[1], NULL, 0) : 16) << 8;
	uint64_t rounds = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	useconds_t rest_us = argc > 3 ? strtoul(argv[3], NULL, 0) * 1000 : 0;
	uint64_t last = 0, wall = 0, said = 0, round, page;
	uint64_t *mem = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return fail("mmap", pages, 0, 0);
	setlinebuf(stdout);
	for (round = 1; !rounds || round <= rounds; round++) {
		for (page = 0; page < pages; page++) {
			uint64_t *p = mem + page * WORDS;
			uint64_t want = round > 1 ? (round - 1) << 32 | page : 0;
			uint64_t at = (round - 1 + page) % WORDS;

			if (round > 1 && p[at] != want)
				return fail("memory", page, want, p[at]);
			p[(at + 1) % WORDS] = round << 32 | page;
		}
		/* The wall clock may be set; it may not be set back by a migration. */
		if (now(CLOCK_MONOTONIC) < last || now(CLOCK_REALTIME) + 1000000000 < wall)
			return fail("clock", 0, last, now(CLOCK_MONOTONIC));
		last = now(CLOCK_MONOTONIC);
		wall = now(CLOCK_REALTIME);
		if (last - said > 1000000000) {
			printf("memwork: round %lu\n", round);
			said = last;
		}
		if (rest_us)
			usleep(rest_us);
	}
	printf("memwork: ok\n");
	return 0;
}
