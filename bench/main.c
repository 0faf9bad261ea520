// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench: what the operations of a guest and of its VMM cost on this driver.
 * Prints a line for each: name, value, exits for each operation, unit, with tabs
 * between them. bench/run makes the table of two drivers.
 *
 * Left to others: the measurements. Stands in for selftests/lib/tap.c, whose
 * functions the library calls.
 * Known hacks: none.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "bench.h"

static const struct row {
	const char *name;
	const char *unit;
	struct result (*measure)(void);
} rows[] = {
	{ "cpuid", "instructions", measure_cpuid },
	{ "hypercall", "instructions", measure_hypercall },
	{ "rdmsr", "instructions", measure_rdmsr },
	{ "out, to user space", "instructions", measure_out },
	{ "out, to an eventfd", "instructions", measure_out_eventfd },
	{ "MMIO write, to user space", "instructions", measure_mmio },
	{ "MMIO write, to an eventfd", "instructions", measure_mmio_eventfd },
	{ "hlt, to user space", "instructions", measure_hlt },
	{ "second-stage fault, 4K", "instructions", measure_fault },
	{ "dirty log: first write", "instructions", measure_log_write },
	{ "dirty log: get, page", "instructions", measure_log_get },
	{ "dirty log: get, clean MiB", "instructions", measure_log_clean },
	{ "dirty log: clear, page", "instructions", measure_log_clear },
	{ "dirty ring: first write", "instructions", measure_ring_write },
	{ "dirty ring: reset, page", "instructions", measure_ring_reset },
	{ "x2APIC self-IPI, taken", "instructions", measure_self_ipi },
	{ "TSC-deadline timer, taken", "instructions", measure_deadline },
	{ "the same, due later", "instructions", measure_deadline_ahead },
	{ "KVM_CREATE_VM", "instructions", measure_create_vm },
	{ "KVM_CREATE_VCPU", "instructions", measure_create_vcpu },
	{ "memory of an idle VM", "bytes", measure_memory },
};

#define NR_ROWS (sizeof(rows) / sizeof(rows[0]))

static const char *device;
static struct result *shared; /* what the process of a measurement has found */

volatile uint64_t bench_best = UINT64_MAX;

void test_note(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
}

void test_fail(const char *file, int line, const char *format, ...)
{
	va_list list;

	fprintf(stderr, "bench: %s:%d: ", file, line);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
}

void test_end(void)
{
	exit(1);
}

int dev_open(void)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	REQUIRE(fd >= 0, "%s: %s", device, strerror(errno));
	return fd;
}

/* Guests do not wait in another way there: both drivers are measured with the same. */
bool dev_is_kvm(void)
{
	return false;
}

/* 0 from a driver that does not count them. */
static uint64_t count_exits(struct vcpu *v)
{
	uint64_t value = 0;

	vcpu_stat(v, "exits", &value);
	return value;
}

struct result bench_run(struct vcpu *v, uint32_t reason, void (*on_sync)(struct vcpu *v))
{
	struct kvm_run *run = v->run;

	for (;;) {
		if (ioctl(v->fd, KVM_RUN, 0)) {
			REQUIRE(errno == EINTR, "KVM_RUN: %s", strerror(errno));
			continue;
		}
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT_DONE)
			break;
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT_SYNC && on_sync) {
			on_sync(v);
			continue;
		}
		if (!reason || run->exit_reason != reason) {
			vcpu_print(v, "unexpected exit");
			test_end();
		}
	}
	REQUIRE(bench_best != UINT64_MAX, "the guest took no reading");
	return (struct result){
		.value = (bench_best + OPS / 2) / OPS,
		.exits = (count_exits(v) * 100 + OPS * REPS / 2) / (OPS * REPS),
	};
}

/* Each in a process of its own: what fails takes nothing with it. */
static int run_row(const char *name, const char *unit, struct result (*measure)(void), char **boot)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		*shared = measure ? measure() : measure_boot(boot);
		exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status) {
		fprintf(stderr, "bench: %s: not measured\n", name);
		return 1;
	}
	printf("%s\t%llu\t%llu.%02llu\t%s\n", name, (unsigned long long)shared->value,
	       (unsigned long long)shared->exits / 100, (unsigned long long)shared->exits % 100,
	       unit);
	return 0;
}

static void usage(FILE *to)
{
	fputs("usage: bench [--device PATH] [--only TEXT] [-- LAUNCHER ARGUMENT...]\n"
	      "Measures on a driver; the last row boots a guest with LAUNCHER.\n"
	      "  --device PATH  driver (default: /dev/mezz, else /dev/kvm)\n"
	      "  --only TEXT    rows whose name contains TEXT\n",
	      to);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "only", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	const char *only = "";
	int failed = 0, c;

	device = access("/dev/mezz", F_OK) ? "/dev/kvm" : "/dev/mezz";
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'd') {
			device = optarg;
		} else if (c == 'o') {
			only = optarg;
		} else {
			usage(c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < NR_ROWS; i++)
		if (strstr(rows[i].name, only))
			failed |= run_row(rows[i].name, rows[i].unit, rows[i].measure, NULL);
	if (optind < argc)
		failed |= run_row("Debian to user space", "instructions", NULL, argv + optind);
	return failed;
}
