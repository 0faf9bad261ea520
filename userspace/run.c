// SPDX-License-Identifier: GPL-2.0-only
/*
 * `mezz run`: the options, and the life of a guest from its first boot over its
 * resets to the summary.
 *
 * Left to others: everything a single boot is made of (machine.c, boot.c, devices).
 * Known hacks: none.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "acpi.h"
#include "boot.h"
#include "commands.h"
#include "console.h"
#include "machine.h"
#include "platform.h"
#include "serial.h"
#include "stats.h"
#include "virtio.h"

#define DEFAULT_MEMORY	(512 * MIB)
#define MIN_MEMORY	(2 * MIB)
#define MAX_MEMORY	(1024 * GIB)
#define DEFAULT_CMDLINE "console=ttyS0"

enum option_id {
	OPT_KERNEL = 256,
	OPT_INITRD,
	OPT_APPEND,
	OPT_DISK,
	OPT_CPUS,
	OPT_MEMORY,
	OPT_DEVICE,
	OPT_NO_REBOOT,
	OPT_TRIPLE_FAULT,
	OPT_NO_RNG,
	OPT_NO_HUGEPAGES,
	OPT_TIMEOUT,
	OPT_DUMP_ACPI,
	OPT_STATS,
	OPT_QUIET,
};

static const struct option options[] = {
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "disk", required_argument, NULL, OPT_DISK },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "no-reboot", no_argument, NULL, OPT_NO_REBOOT },
	{ "triple-fault", required_argument, NULL, OPT_TRIPLE_FAULT },
	{ "no-rng", no_argument, NULL, OPT_NO_RNG },
	{ "no-hugepages", no_argument, NULL, OPT_NO_HUGEPAGES },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "dump-acpi", required_argument, NULL, OPT_DUMP_ACPI },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void print_help(void)
{
	puts("Usage: mezz run --kernel FILE [OPTION]...\n"
	     "Boot a Linux kernel as a guest, with its serial console on this terminal.\n"
	     "\n"
	     "  --kernel FILE           bzImage, or ELF file with a PVH note\n"
	     "  --initrd FILE           initial RAM disk\n"
	     "  --append STRING         kernel command line (" DEFAULT_CMDLINE ")\n"
	     "  --disk FILE[,ro]        virtio-blk disk; may be given up to 15 times\n"
	     "  --cpus N                vCPUs, 1 to 64 (1)\n"
	     "  --memory SIZE           memory, with K, M, G or T (512M)\n"
	     "  --device PATH           driver (/dev/mezz, else /dev/kvm)\n"
	     "  --no-reboot             end, with status 3, when the guest resets\n"
	     "  --triple-fault=exit     end, with status 4, at a triple fault (default)\n"
	     "  --triple-fault=reset    reset instead\n"
	     "  --no-rng                no virtio-rng device\n"
	     "  --no-hugepages          do not ask for transparent huge pages\n"
	     "  --timeout SECONDS       end, with status 124, after that time in one boot\n"
	     "  --dump-acpi FILE        write the guest's ACPI tables to FILE\n"
	     "  --stats                 print all statistics at the end\n"
	     "  --quiet                 print no summary at the end\n"
	     "  -h, --help              print this\n"
	     "\n"
	     "On a terminal, Ctrl-A x ends the guest; Ctrl-A ? lists the other keys.\n"
	     "Status: 0 power-off, 1 host error, 2 usage, 3 reset, 4 triple fault,\n"
	     "5 the driver gave up, 6 Ctrl-A x, 124 timeout, 128+N signal N.");
}

static int usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static int usage_error(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	msg("%s (see `mezz run --help`)", line);
	return MEZZ_EXIT_USAGE;
}

/* "FILE" or "FILE,ro". */
static int parse_disk(struct run_config *cfg, char *text)
{
	struct disk_config *disk = &cfg->disks[cfg->ndisks];
	char *comma = strrchr(text, ',');

	if (cfg->ndisks == MEZZ_MAX_DISKS)
		return usage_error("at most %d --disk options", MEZZ_MAX_DISKS);
	if (comma && (!strcmp(comma, ",ro") || !strcmp(comma, ",rw"))) {
		disk->read_only = comma[2] == 'o';
		*comma = '\0';
	}
	if (!*text)
		return usage_error("--disk takes a file name");
	disk->path = text;
	cfg->ndisks++;
	return 0;
}

static int parse_value(struct run_config *cfg, int id, char *value)
{
	unsigned long n;

	switch (id) {
	case OPT_DISK:
		return parse_disk(cfg, value);
	case OPT_CPUS:
		if (!parse_unsigned(value, 1, MEZZ_MAX_CPUS, &n))
			return usage_error("--cpus takes a number from 1 to %d, not '%s'",
					   MEZZ_MAX_CPUS, value);
		cfg->cpus = (unsigned int)n;
		return 0;
	case OPT_MEMORY:
		if (!parse_size(value, &cfg->memory) || cfg->memory < MIN_MEMORY ||
		    cfg->memory > MAX_MEMORY || cfg->memory % 4096)
			return usage_error("--memory takes a size from 2M to 1T in whole pages, "
					   "not '%s'",
					   value);
		return 0;
	case OPT_TIMEOUT:
		if (!parse_unsigned(value, 1, 1000000, &n))
			return usage_error("--timeout takes seconds, not '%s'", value);
		cfg->timeout = (unsigned int)n;
		return 0;
	case OPT_TRIPLE_FAULT:
		cfg->triple_fault_resets = !strcmp(value, "reset");
		if (!cfg->triple_fault_resets && strcmp(value, "exit"))
			return usage_error("--triple-fault takes 'exit' or 'reset', not '%s'",
					   value);
		return 0;
	}
	return 0;
}

static int parse_option(struct run_config *cfg, int id)
{
	switch (id) {
	case OPT_KERNEL:
		cfg->kernel = optarg;
		return 0;
	case OPT_INITRD:
		cfg->initrd = optarg;
		return 0;
	case OPT_APPEND:
		cfg->append = optarg;
		return 0;
	case OPT_DEVICE:
		cfg->device = optarg;
		return 0;
	case OPT_DUMP_ACPI:
		cfg->acpi_dump = optarg;
		return 0;
	case OPT_NO_REBOOT:
		cfg->no_reboot = true;
		return 0;
	case OPT_NO_RNG:
		cfg->no_rng = true;
		return 0;
	case OPT_NO_HUGEPAGES:
		cfg->no_hugepages = true;
		return 0;
	case OPT_STATS:
		cfg->stats = true;
		return 0;
	case OPT_QUIET:
		cfg->quiet = true;
		return 0;
	default:
		return parse_value(cfg, id, optarg);
	}
}

/* Returns -1 to go on, or the exit status. */
static int parse(struct run_config *cfg, int argc, char **argv)
{
	static char name[] = "mezz run";
	int id, status;

	optind = 1;
	argv[0] = name; /* getopt's messages begin with it */
	while ((id = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (id == 'h') {
			print_help();
			return MEZZ_EXIT_OK;
		}
		if (id == '?') { /* getopt has said what is wrong */
			fputs("Try 'mezz run --help' for more information.\n", stderr);
			return MEZZ_EXIT_USAGE;
		}
		status = parse_option(cfg, id);
		if (status)
			return status;
	}
	if (optind < argc)
		return usage_error("unexpected argument '%s'", argv[optind]);
	if (!cfg->kernel)
		return usage_error("--kernel is missing: give it a bzImage, such as "
				   "/boot/vmlinuz-$(uname -r)");
	return -1;
}

/* One boot of the guest, from power-on to its end. */
static int boot_once(const struct run_config *cfg, int sys_fd, struct blk **disks)
{
	struct machine *m = machine_create(cfg, sys_fd);
	int outcome;

	m->platform = platform_create(m);
	m->serial = serial_create(m, &console_serial_ops);
	for (unsigned int i = 0; i < cfg->ndisks; i++)
		blk_create(m, disks[i]);
	if (!cfg->no_rng)
		rng_create(m);
	boot_load(m);
	if (cfg->acpi_dump)
		acpi_dump_tables(m, cfg->acpi_dump);
	console_attach(m);
	outcome = machine_run(m);
	console_attach(NULL);
	virtio_destroy_all(m);
	serial_destroy(m->serial);
	platform_destroy(m->platform);
	stats_collect(m);
	machine_destroy(m);
	return outcome;
}

static const char *describe(int outcome)
{
	static char text[64];

	switch (outcome) {
	case OUTCOME_POWEROFF:
		return "the guest has powered off";
	case OUTCOME_REBOOT:
		return "the guest has reset";
	case OUTCOME_CRASH:
		return "the guest has crashed";
	case OUTCOME_DRIVER:
		return "the driver could not go on";
	case OUTCOME_HOST:
		return "the host could not go on";
	case OUTCOME_QUIT:
		return "ended from the console";
	case OUTCOME_TIMEOUT:
		return "the time is up";
	default:
		snprintf(text, sizeof(text), "ended by signal %d", outcome - OUTCOME_SIGNAL);
		return text;
	}
}

static int exit_status(int outcome)
{
	switch (outcome) {
	case OUTCOME_POWEROFF:
		return MEZZ_EXIT_OK;
	case OUTCOME_REBOOT:
		return MEZZ_EXIT_REBOOT;
	case OUTCOME_CRASH:
		return MEZZ_EXIT_CRASH;
	case OUTCOME_DRIVER:
		return MEZZ_EXIT_DRIVER;
	case OUTCOME_HOST:
		return MEZZ_EXIT_HOST;
	case OUTCOME_QUIT:
		return MEZZ_EXIT_QUIT;
	case OUTCOME_TIMEOUT:
		return MEZZ_EXIT_TIMEOUT;
	default:
		return 128 + outcome - OUTCOME_SIGNAL;
	}
}

int command_run(int argc, char **argv)
{
	struct run_config cfg = { .cpus = 1, .memory = DEFAULT_MEMORY, .append = DEFAULT_CMDLINE };
	struct blk *disks[MEZZ_MAX_DISKS];
	unsigned int boots = 0;
	const char *device;
	uint64_t start;
	int sys_fd, outcome;
	int status = parse(&cfg, argc, argv);

	if (status >= 0)
		return status;
	sys_fd = driver_open(cfg.device, &device);
	for (unsigned int i = 0; i < cfg.ndisks; i++)
		disks[i] = blk_open(&cfg.disks[i]);
	machine_take_signals();
	console_start();
	start = now_ns();
	do {
		outcome = boot_once(&cfg, sys_fd, disks);
		boots++;
	} while (outcome == OUTCOME_REBOOT && !cfg.no_reboot);
	console_stop();
	for (unsigned int i = 0; i < cfg.ndisks; i++)
		blk_close(disks[i]);
	if (!cfg.quiet) {
		uint64_t ms = (now_ns() - start) / 1000000;

		msg("%s after %llu.%03llu s and %u boot%s, on %s with %u vCPU%s", describe(outcome),
		    (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000), boots,
		    boots == 1 ? "" : "s", device, cfg.cpus, cfg.cpus == 1 ? "" : "s");
		stats_print(cfg.stats);
	}
	return exit_status(outcome);
}
