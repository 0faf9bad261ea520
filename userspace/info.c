// SPDX-License-Identifier: GPL-2.0-only
/*
 * `mezz info`: which drivers there are, who may use them, what they can do, and
 * what stands in the way, with what to do about it.
 *
 * Left to others: the names of the capabilities (info_caps.c).
 * Known hacks: a CPU whose firmware has disabled virtualization is recognised
 * only by root with the msr driver loaded, and otherwise by the driver's refusal.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <linux/mezz.h>

#include "commands.h"
#include "info_caps.h"
#include "machine.h"

#define MSR_VM_CR	     0xc0010114
#define VM_CR_SVMDIS	     (1ULL << 4)
#define MSR_FEATURE_CONTROL  0x3a
#define FEATURE_CONTROL_LOCK (1ULL << 0)
#define FEATURE_CONTROL_VMX  (1ULL << 2)

#define MAX_ADVICE	     16

static const char *advice[MAX_ADVICE];
static unsigned int nadvice;
static bool cpu_lacks_it;
static bool in_virtual_machine;

/* What to do, printed at the end. */
static void advise(const char *text)
{
	for (unsigned int i = 0; i < nadvice; i++)
		if (!strcmp(advice[i], text))
			return;
	if (nadvice < MAX_ADVICE)
		advice[nadvice++] = text;
}

static void row(const char *key, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void row(const char *key, const char *fmt, ...)
{
	va_list ap;

	printf("  %-22s", key);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* First line of a small file, or false. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(line, (int)size, f);

	if (f)
		fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = '\0';
	return ok;
}

static bool read_msr(uint32_t msr, uint64_t *value)
{
	int fd = open("/dev/cpu/0/msr", O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && !pread_full(fd, value, sizeof(*value), msr);

	if (fd >= 0)
		close(fd);
	return ok;
}

static void show_svm(void)
{
	unsigned int eax, ebx, ecx, edx;
	uint64_t vm_cr;

	if (!__get_cpuid(0x8000000a, &eax, &ebx, &ecx, &edx))
		return;
	row("AMD SVM", "yes, revision %u, %u address space ids", eax & 0xff, ebx);
	row("SVM features", "%s%s%s%s%s%s%s", edx & 1 ? "nested-paging " : "",
	    edx & 1 << 1 ? "lbr " : "", edx & 1 << 3 ? "nrips " : "",
	    edx & 1 << 5 ? "vmcb-clean " : "", edx & 1 << 6 ? "flush-by-asid " : "",
	    edx & 1 << 7 ? "decode-assists " : "", edx & 1 << 10 ? "pause-filter" : "");
	if (!(edx & 1))
		advise("this CPU has SVM without nested paging, which the drivers need");
	if (read_msr(MSR_VM_CR, &vm_cr) && vm_cr & VM_CR_SVMDIS) {
		row("firmware", "has disabled SVM");
		advise("enable SVM (\"AMD-V\", \"SVM Mode\") in the firmware's setup");
	}
}

static void show_vmx(void)
{
	uint64_t control;

	row("Intel VMX", "yes");
	if (!read_msr(MSR_FEATURE_CONTROL, &control))
		return;
	if (control & FEATURE_CONTROL_LOCK && !(control & FEATURE_CONTROL_VMX)) {
		row("firmware", "has disabled VMX");
		advise("enable VMX (\"Intel Virtualization Technology\") in the firmware's setup");
	}
}

static void show_cpu(void)
{
	unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
	char brand[49] = "";
	bool vmx, svm, hypervisor;

	puts("CPU");
	for (unsigned int i = 0; i < 3; i++) {
		unsigned int *words = (unsigned int *)(void *)(brand + 16 * i);

		if (!__get_cpuid(0x80000002 + i, &words[0], &words[1], &words[2], &words[3]))
			break;
	}
	__get_cpuid(1, &eax, &ebx, &ecx, &edx);
	vmx = ecx & 1 << 5;
	hypervisor = ecx & 1U << 31;
	svm = __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) && ecx & 1 << 2;
	row("name", "%s", brand);
	row("CPUs online", "%ld", sysconf(_SC_NPROCESSORS_ONLN));
	row("in a virtual machine", "%s", hypervisor ? "yes" : "no");
	if (svm)
		show_svm();
	if (vmx)
		show_vmx();
	if (svm || vmx)
		return;
	row("virtualization", "none (neither SVM nor VMX in CPUID)");
	cpu_lacks_it = true;
	in_virtual_machine = hypervisor;
}

/* Only when no driver can make a VM all the same. */
static void advise_about_cpu(void)
{
	if (!cpu_lacks_it)
		return;
	if (in_virtual_machine)
		advise("this machine is virtual: its host has to offer it nested virtualization");
	else
		advise("this CPU cannot virtualize, or the firmware hides that it can: look for "
		       "SVM or VT-x in the firmware's setup");
}

static void show_module(const char *name, const char *what)
{
	char path[128], value[32];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	if (access(path, F_OK))
		return;
	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", name);
	if (read_line(path, value, sizeof(value)))
		row(name, "loaded, %s users; %s", value, what);
	else
		row(name, "built into the kernel; %s", what);
}

static void show_kernel(void)
{
	struct utsname u;
	char line[128];

	puts("kernel");
	uname(&u);
	row("release", "%s %s", u.release, u.machine);
	show_module("mezz", "Mezzanine");
	show_module("kvm_amd", "in-tree KVM holds SVM");
	show_module("kvm_intel", "in-tree KVM holds VMX");
	show_module("vboxdrv", "VirtualBox");
	if (access("/sys/module/mezz", F_OK))
		row("mezz", "not loaded");
	if (!access("/sys/module/kvm_amd", F_OK) && access("/sys/module/mezz", F_OK))
		advise("to use Mezzanine: end all KVM guests, modprobe -r kvm_amd, insmod mezz.ko");
	if (!access("/sys/module/kvm_intel", F_OK) && access("/sys/module/mezz", F_OK))
		advise("to use Mezzanine: end all KVM guests, modprobe -r kvm_intel, insmod "
		       "mezz.ko");
	if (read_line("/sys/kernel/security/lockdown", line, sizeof(line)))
		row("lockdown", "%s", line);
	if (strstr(line, "[integrity]") || strstr(line, "[confidentiality]"))
		advise("the kernel is locked down: sign mezz.ko with a key that it trusts (see "
		       "mokutil(1)), or turn Secure Boot off");
	if (read_line("/proc/sys/kernel/modules_disabled", line, sizeof(line)) && line[0] == '1') {
		row("modules_disabled", "1");
		advise("the kernel loads no more modules until the next boot: "
		       "kernel.modules_disabled is 1");
	}
}

/* Name of a user or group, straight from its file: a static program has no NSS. */
static void name_of(const char *file, unsigned int id, char *name, size_t size)
{
	FILE *f = fopen(file, "re");
	char line[1024];

	snprintf(name, size, "%u", id);
	while (f && fgets(line, sizeof(line), f)) {
		char *first = strchr(line, ':');
		char *second = first ? strchr(first + 1, ':') : NULL;

		if (second && strtoul(second + 1, NULL, 10) == id && second[1] != ':') {
			*first = '\0';
			snprintf(name, size, "%.*s", (int)size - 1, line);
			break;
		}
	}
	if (f)
		fclose(f);
}

static void show_node(const struct stat *st)
{
	char user[33], group[33];

	name_of("/etc/passwd", st->st_uid, user, sizeof(user));
	name_of("/etc/group", st->st_gid, group, sizeof(group));
	row("node", "%u:%u, mode %04o, owner %s:%s", major(st->st_rdev), minor(st->st_rdev),
	    st->st_mode & 07777U, user, group);
}

/* Which driver has registered the node's number: /proc/misc says. */
static void show_owner(const struct stat *st)
{
	FILE *f = fopen("/proc/misc", "re");
	unsigned int number;
	char name[64];

	while (f && fscanf(f, "%u %63s", &number, name) == 2) {
		if (number != minor(st->st_rdev))
			continue;
		row("registered by", "%s%s", name,
		    strcmp(name, "kvm") || access("/sys/module/kvm", F_OK) == 0
			    ? ""
			    : " (Mezzanine: in-tree KVM is not loaded)");
	}
	if (f)
		fclose(f);
}

/* What Mezzanine alone has an answer to. Returns true when it is Mezzanine. */
static bool show_engine(int fd)
{
	static const char *const sizes[] = { "?", "4 KiB", "2 MiB", "1 GiB" };
	struct mezz_info info = { .size = sizeof(info) };

	if (ioctl(fd, MEZZ_GET_INFO, &info) < 0)
		return false;
	row("engine", "%.*s, pages up to %s", (int)sizeof(info.engine), info.engine,
	    sizes[info.max_page_level < ARRAY_SIZE(sizes) ? info.max_page_level : 0]);
	return true;
}

static void show_limits(int fd)
{
	row("vCPUs", "%d recommended, %d at most", driver_has(fd, KVM_CAP_NR_VCPUS),
	    driver_has(fd, KVM_CAP_MAX_VCPUS));
	row("memory slots", "%d", driver_has(fd, KVM_CAP_NR_MEMSLOTS));
	row("vCPU mapping", "%d bytes", ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0));
}

static void show_missing(int fd)
{
	bool complete = true;

	for (unsigned int i = 0; i < info_nneeded; i++) {
		if (driver_has(fd, info_needed[i].cap))
			continue;
		row("missing", "%s: %s", info_cap_name(info_needed[i].cap), info_needed[i].why);
		complete = false;
	}
	row("mezz run", "%s", complete ? "has all it needs and uses" : "see what is missing");
}

static void show_caps(int fd, bool all)
{
	puts("  capabilities");
	for (unsigned int i = 0; i < info_ncaps; i++) {
		int n = driver_has(fd, info_caps[i].cap);

		if (n || all)
			printf("    %3u %-32s %d\n", info_caps[i].cap, info_caps[i].name, n);
	}
}

/* Can a VM be made? That is when a driver finds out whether it gets the CPU. */
static bool show_vm(int fd)
{
	int vm = ioctl(fd, KVM_CREATE_VM, 0);

	if (vm >= 0) {
		row("making a VM", "works");
		close(vm);
		return true;
	}
	row("making a VM", "%s", strerror(errno));
	if (errno == EBUSY)
		advise("another hypervisor module holds the CPU: end its guests and unload it");
	else if (errno == ENOMEM)
		advise("the host has no memory for another VM");
	else
		advise("the driver cannot make a VM: dmesg tells why");
	return false;
}

static void explain_open_error(const char *path)
{
	row("open", "%s", strerror(errno));
	if (errno == EACCES || errno == EPERM)
		advise("you may not open the driver's node: become root, or usermod -aG kvm USER "
		       "and log in again");
	else if (errno == ENODEV || errno == ENXIO)
		advise("there is a node without a driver behind it: load the module");
	else if (!strcmp(path, "/dev/mezz"))
		advise("to get /dev/mezz: make, then insmod mezz.ko as root");
}

/* Returns true when guests can be run with it. */
static bool show_driver(const char *path, bool all)
{
	static bool shown_mezzanine;
	struct stat st;
	int fd, version;
	bool usable, mezzanine;

	printf("%s\n", path);
	if (stat(path, &st) < 0) {
		explain_open_error(path);
		return false;
	}
	show_node(&st);
	show_owner(&st);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		explain_open_error(path);
		return false;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		row("API version", "%d, not %d: not a KVM-compatible driver", version,
		    KVM_API_VERSION);
		close(fd);
		return false;
	}
	row("API version", "%d", version);
	mezzanine = show_engine(fd);
	usable = show_vm(fd);
	if (mezzanine && shown_mezzanine) {
		row("the rest", "as above: the same driver");
		close(fd);
		return usable;
	}
	shown_mezzanine |= mezzanine;
	show_limits(fd);
	show_missing(fd);
	show_caps(fd, all);
	close(fd);
	return usable;
}

static void print_help(void)
{
	puts("Usage: mezz info [OPTION]...\n"
	     "Tell what this machine and its drivers can do, and why not.\n"
	     "\n"
	     "  --device PATH    look at this driver only (/dev/mezz and /dev/kvm)\n"
	     "  --all            list the capabilities that are absent too\n"
	     "  -h, --help       print this\n"
	     "\n"
	     "Status: 0 when a guest can be run, 1 when not, 2 usage.");
}

static const struct option options[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "all", no_argument, NULL, 'a' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

int command_info(int argc, char **argv)
{
	static char name[] = "mezz info";
	const char *device = NULL;
	bool all = false, usable = false;
	int id;

	optind = 1;
	argv[0] = name; /* getopt's messages begin with it */
	while ((id = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (id == 'h') {
			print_help();
			return MEZZ_EXIT_OK;
		}
		if (id == '?') { /* getopt has said what is wrong */
			fputs("Try 'mezz info --help' for more information.\n", stderr);
			return MEZZ_EXIT_USAGE;
		}
		if (id == 'd')
			device = optarg;
		all |= id == 'a';
	}
	if (optind < argc) {
		msg("unexpected argument '%s' (see `mezz info --help`)", argv[optind]);
		return MEZZ_EXIT_USAGE;
	}
	show_cpu();
	show_kernel();
	if (device) {
		usable = show_driver(device, all);
	} else {
		usable = show_driver("/dev/mezz", all);
		usable |= show_driver("/dev/kvm", all);
	}
	if (!usable)
		advise_about_cpu();
	if (nadvice)
		puts("what to do");
	for (unsigned int i = 0; i < nadvice; i++)
		printf("  - %s\n", advice[i]);
	return usable ? MEZZ_EXIT_OK : MEZZ_EXIT_HOST;
}
