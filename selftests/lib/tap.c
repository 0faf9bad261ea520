// SPDX-License-Identifier: GPL-2.0-only
/*
 * main() of every test program: options, one process for each test, and results
 * in the Test Anything Protocol, version 13, as kselftest reads it.
 *
 * Exit status: 0 all passed (or some skipped), 1 something failed, 4 all skipped.
 */
#include <cpuid.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "test.h"

#define EXIT_SKIP 4

extern const struct test_case __start_test_cases[], __stop_test_cases[];

static const char *device;
static bool failed;
static char *skip_reason; /* shared with the process of a test */
#define REASON_MAX 256

static void say(const char *prefix, const char *format, va_list list)
{
	char text[1024];

	vsnprintf(text, sizeof(text), format, list);
	printf("# %s%s\n", prefix, text);
	fflush(stdout);
}

void test_fail(const char *file, int line, const char *format, ...)
{
	char where[128];
	va_list list;

	snprintf(where, sizeof(where), "%s:%d: ", file, line);
	va_start(list, format);
	say(where, format, list);
	va_end(list);
	failed = true;
}

void test_note(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	say("", format, list);
	va_end(list);
}

void test_skip(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(skip_reason, REASON_MAX, format, list);
	va_end(list);
	exit(failed ? 1 : EXIT_SKIP);
}

void test_end(void)
{
	exit(failed);
}

int dev_open(void)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	REQUIRE(fd >= 0, "%s: %s", device, strerror(errno));
	return fd;
}

bool dev_is_kvm(void)
{
	struct stat mezz, used;

	if (stat("/dev/mezz", &mezz) || stat(device, &used))
		return true;
	return mezz.st_rdev != used.st_rdev && access("/sys/module/kvm", F_OK) == 0;
}

int dev_cap(unsigned long cap)
{
	int fd = dev_open();
	int value = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	close(fd);
	return value;
}

/*
 * Out of time: says where the vCPUs are, which takes their mutexes; the second
 * alarm is for those that do not come out of the kernel.
 */
static void out_of_time(int number)
{
	signal(number, SIG_DFL);
	alarm(3);
	test_fail("time", 0, "the test needs too long");
	vcpus_print("out of time");
	_exit(1);
}

/* $MEZZ_PATIENCE: so many times longer, on a kernel that checks everything. */
static void set_alarm(unsigned int seconds)
{
	struct sigaction action = { .sa_handler = out_of_time, .sa_flags = SA_NODEFER };
	const char *patience = getenv("MEZZ_PATIENCE");

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds * (patience ? atoi(patience) : 1));
}

/* Runs one test in a child. Returns its exit status, 128 + n for signal n. */
static int run_case(const struct test_case *test)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child < 0)
		return 1;
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		set_alarm(test->seconds);
		test->fn();
		exit(failed);
	}
	if (waitpid(child, &status, 0) != child)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/*
 * $MEZZ_AFTER: only the tests behind this one, which has taken the whole machine with it.
 */
static const struct test_case *first_case(void)
{
	const char *after = getenv("MEZZ_AFTER");
	const struct test_case *test = __start_test_cases;

	if (!after)
		return test;
	while (test < __stop_test_cases && strcmp(test->name, after))
		test++;
	return test < __stop_test_cases ? test + 1 : __start_test_cases;
}

static bool chosen(const struct test_case *test, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++) {
		if (strstr(test->name, *names))
			return true;
	}
	return false;
}

/*
 * In-tree KVM turns SVM on for the first VM and off after the last. QEMU's
 * emulated CPUs now and then stand still for a minute when that happens often,
 * so a VM that is never used lives as long as the program.
 */
static void keep_svm_on(void)
{
	int dev;

	if (!dev_is_kvm() || !cpu_is_qemu())
		return;
	dev = dev_open();
	fcntl(ioctl(dev, KVM_CREATE_VM, 0), F_SETFD, FD_CLOEXEC);
	close(dev);
}

static int run_all(char **names)
{
	const struct test_case *first = first_case(), *test;
	unsigned int planned = 0, number = 0, bad = 0, skipped = 0;

	for (test = first; test < __stop_test_cases; test++)
		planned += chosen(test, names);
	printf("TAP version 13\n1..%u\n", planned);
	keep_svm_on();
	for (test = first; test < __stop_test_cases; test++) {
		uint64_t start = now_ns();
		int status;

		if (!chosen(test, names))
			continue;
		status = run_case(test);
		number++;
		if (status > 128)
			printf("# ended by signal %d (%s)\n", status - 128,
			       strsignal(status - 128));
		if (status == EXIT_SKIP) {
			printf("ok %u %s # SKIP %s\n", number, test->name, skip_reason);
			skipped++;
		} else {
			printf("%s %u %s\n", status ? "not ok" : "ok", number, test->name);
			bad += status != 0;
		}
		if (now_ns() - start > 3000000000ull)
			printf("# %s took %u ms\n", test->name,
			       (unsigned int)((now_ns() - start) / 1000000));
		fflush(stdout);
	}
	printf("# Totals: pass:%u fail:%u skip:%u\n", planned - bad - skipped, bad, skipped);
	return bad ? 1 : skipped == planned && planned ? EXIT_SKIP : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int c;

	setlinebuf(stdout);
	skip_reason = mmap(NULL, REASON_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			   0);
	device = getenv("MEZZ_DEVICE");
	if (!device)
		device = access("/dev/mezz", F_OK) ? "/dev/kvm" : "/dev/mezz";
	while ((c = getopt_long(argc, argv, "d:lh", options, NULL)) != -1) {
		if (c == 'd') {
			device = optarg;
		} else if (c == 'l') {
			for (const struct test_case *t = __start_test_cases; t < __stop_test_cases;
			     t++)
				puts(t->name);
			return 0;
		} else {
			fprintf(stderr, "usage: %s [--device PATH] [--list] [NAME...]\n", argv[0]);
			return c == 'h' ? 0 : 2;
		}
	}
	return run_all(argv + optind);
}

bool cpu_is_qemu(void)
{
	uint32_t eax = 0x40000000, ebx, ecx, edx;

	asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
	return ebx == 0x54474354 && ecx == 0x43544743 && edx == 0x47435447; /* TCGTCGTCGTCG */
}

bool cpu_is_bochs(void)
{
	char version[6] = "";
	int fd = open("/sys/class/dmi/id/bios_version", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, version, 5) != 5)
		version[0] = 0;
	close(fd);
	return !strcmp(version, "Bochs");
}

bool cpu_has_vmx(void)
{
	unsigned int eax, ebx, ecx, edx;

	return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & 1 << 5);
}

int vmx_parameter(const char *name)
{
	char path[128], value = 0;
	int fd;

	if (!cpu_has_vmx())
		return 0;
	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s",
		 dev_is_kvm() ? "kvm_intel" : "mezz", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, &value, 1) != 1)
		value = 0;
	close(fd);
	return value;
}
