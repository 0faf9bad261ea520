// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything that it takes to boot a Debian kernel to its user space: launcher,
 * driver, host and guest together, without the time in which the CPU idles.
 *
 * Left to others: the guest (lab/guest), and the launcher.
 * Known hacks: idle time comes in hundredths of a second, so the result is good
 * to some 10 million instructions, and right on a machine with one CPU only.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "bench.h"

#define FIRST_WORDS "guest: user space reached"
#define TICKS_PER_S 1000000000ull /* lab/box --count */

/* Since the machine's start, in ticks. */
static uint64_t idle_ticks(void)
{
	unsigned long long s, hundredths;
	FILE *f = fopen("/proc/uptime", "re");

	REQUIRE(f && fscanf(f, "%*s %llu.%llu", &s, &hundredths) == 2, "/proc/uptime");
	fclose(f);
	return s * TICKS_PER_S + hundredths * (TICKS_PER_S / 100);
}

static pid_t start_launcher(char **argv, int out)
{
	pid_t child = fork();

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(out, STDOUT_FILENO);
	execv(argv[0], argv);
	test_note("bench: %s: %s", argv[0], strerror(errno));
	_exit(127);
}

struct result measure_boot(char **argv)
{
	uint64_t start, idle;
	char line[1024];
	bool there = false;
	int ends[2];
	pid_t child;
	FILE *said;

	REQUIRE(!pipe(ends), "pipe: %s", strerror(errno));
	idle = idle_ticks();
	start = g_rdtsc();
	child = start_launcher(argv, ends[1]);
	REQUIRE(child > 0, "fork: %s", strerror(errno));
	close(ends[1]);
	said = fdopen(ends[0], "r");
	while (!there && fgets(line, sizeof(line), said))
		there = strstr(line, FIRST_WORDS);
	start = g_rdtsc() - start;
	idle = idle_ticks() - idle;
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
	REQUIRE(there, "the guest did not come to its user space");
	return (struct result){ .value = start - idle };
}
