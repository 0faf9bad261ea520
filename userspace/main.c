// SPDX-License-Identifier: GPL-2.0-only
/*
 * mezz, the launcher: finds the command in the arguments.
 *
 * Reading order of the launcher: main.c, run.c, machine.c, vcpu.c, cpuid.c,
 * boot*.c, acpi.c, aml.c, bus.c, platform.c, serial.c, console.c, virtio.c,
 * vring.c, blk.c, rng.c, stats.c, info.c; util.c when wanted.
 *
 * Left to others: the commands.
 * Known hacks: none.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "util.h"

#ifndef MEZZ_VERSION
#define MEZZ_VERSION "unknown"
#endif

static const struct {
	const char *name;
	int (*fn)(int argc, char **argv);
} commands[] = {
	{ "run", command_run },
	{ "info", command_info },
};

static void print_help(FILE *to)
{
	fputs("Usage: mezz COMMAND [OPTION]...\n"
	      "Run guests on /dev/mezz, or on in-tree KVM.\n"
	      "\n"
	      "  mezz run --kernel FILE [OPTION]...   boot a Linux kernel as a guest\n"
	      "  mezz info [OPTION]...                what this machine and driver can do\n"
	      "\n"
	      "  -h, --help       print this; after a command, its options\n"
	      "  -V, --version    print the version\n"
	      "\n"
	      "The manual is mezz(1).\n",
	      to);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return MEZZ_EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_help(stdout);
		return MEZZ_EXIT_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("mezz " MEZZ_VERSION);
		return MEZZ_EXIT_OK;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].fn(argc - 1, argv + 1);
	msg("there is no command '%s' (see `mezz --help`)", argv[1]);
	return MEZZ_EXIT_USAGE;
}
