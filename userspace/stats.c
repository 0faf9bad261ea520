// SPDX-License-Identifier: GPL-2.0-only
/*
 * The summary at the end: why KVM_RUN came back, as counted here, and the
 * driver's own statistics where it has KVM_CAP_BINARY_STATS_FD.
 *
 * The driver names its statistics; nothing here knows a name in advance, save
 * that "exits" is worth a place on the summary's line.
 *
 * Left to others: counting (vcpu.c).
 * References: Linux, Documentation/virt/kvm/api.rst, "KVM_GET_STATS_FD".
 * Known hacks: histograms are shown by their sum.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "machine.h"
#include "stats.h"

#define MAX_STATS    256
#define MAX_NAME     64
#define MAX_HEADER   4096 /* descriptors and values that a sane driver may have */
#define MAX_VALUES   1024
#define EXIT_REASONS ARRAY_SIZE(((struct vcpu *)0)->exits)

struct stat_sum {
	char name[MAX_NAME];
	bool of_vm; /* else of the vCPUs */
	bool cumulative;
	uint64_t value;
};

static struct {
	struct stat_sum driver[MAX_STATS];
	unsigned int ndriver;
	uint64_t exits[EXIT_REASONS];
	uint64_t interrupted;
} sums;

static const char *const exit_names[EXIT_REASONS] = {
	[KVM_EXIT_UNKNOWN] = "unknown",
	[KVM_EXIT_EXCEPTION] = "exception",
	[KVM_EXIT_IO] = "io",
	[KVM_EXIT_HYPERCALL] = "hypercall",
	[KVM_EXIT_DEBUG] = "debug",
	[KVM_EXIT_HLT] = "hlt",
	[KVM_EXIT_MMIO] = "mmio",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "irq window",
	[KVM_EXIT_SHUTDOWN] = "shutdown",
	[KVM_EXIT_FAIL_ENTRY] = "fail entry",
	[KVM_EXIT_INTR] = "intr",
	[KVM_EXIT_SET_TPR] = "set tpr",
	[KVM_EXIT_TPR_ACCESS] = "tpr access",
	[KVM_EXIT_INTERNAL_ERROR] = "internal error",
	[KVM_EXIT_SYSTEM_EVENT] = "system event",
	[KVM_EXIT_IOAPIC_EOI] = "ioapic eoi",
};

static struct stat_sum *find_sum(const char *name, bool of_vm)
{
	struct stat_sum *s;

	for (unsigned int i = 0; i < sums.ndriver; i++) {
		s = &sums.driver[i];
		if (s->of_vm == of_vm && !strcmp(s->name, name))
			return s;
	}
	if (sums.ndriver == MAX_STATS)
		return NULL;
	s = &sums.driver[sums.ndriver++];
	snprintf(s->name, sizeof(s->name), "%.*s", MAX_NAME - 1, name);
	s->of_vm = of_vm;
	return s;
}

static void add_stat(int fd, const struct kvm_stats_header *h, const struct kvm_stats_desc *d,
		     const char *name, bool of_vm)
{
	uint32_t type = d->flags & KVM_STATS_TYPE_MASK;
	uint64_t values[MAX_VALUES];
	uint64_t sum = 0;
	struct stat_sum *s;

	if (!d->size || d->size > MAX_VALUES ||
	    pread_full(fd, values, d->size * sizeof(values[0]), h->data_offset + d->offset) < 0)
		return;
	for (unsigned int i = 0; i < d->size; i++)
		sum += values[i];
	s = find_sum(name, of_vm);
	if (!s)
		return;
	s->cumulative = type != KVM_STATS_TYPE_INSTANT && type != KVM_STATS_TYPE_PEAK;
	if (type == KVM_STATS_TYPE_PEAK)
		s->value = MAX(s->value, sum);
	else
		s->value += sum;
}

/* All statistics of one VM or vCPU; a driver that has none is no error. */
static void collect_driver(int vm_or_vcpu, bool of_vm)
{
	int fd = ioctl(vm_or_vcpu, KVM_GET_STATS_FD, NULL);
	struct kvm_stats_header h;
	size_t stride;

	if (fd < 0)
		return;
	if (pread_full(fd, &h, sizeof(h), 0) < 0 || !h.name_size || h.name_size > MAX_HEADER ||
	    h.num_desc > MAX_STATS) {
		msg("cannot make sense of the driver's statistics");
		close(fd);
		return;
	}
	stride = sizeof(struct kvm_stats_desc) + h.name_size;
	for (uint32_t i = 0; i < h.num_desc; i++) {
		uint8_t bytes[sizeof(struct kvm_stats_desc) + MAX_HEADER];
		struct kvm_stats_desc d;
		char *name = (char *)bytes + sizeof(d);

		if (pread_full(fd, bytes, stride, h.desc_offset + i * stride) < 0)
			break;
		memcpy(&d, bytes, sizeof(d));
		name[h.name_size - 1] = '\0';
		add_stat(fd, &h, &d, name, of_vm);
	}
	close(fd);
}

void stats_collect(struct machine *m)
{
	bool driver_counts = driver_has(m->sys_fd, KVM_CAP_BINARY_STATS_FD);

	if (driver_counts)
		collect_driver(m->vm_fd, true);
	for (unsigned int i = 0; i < m->cfg->cpus; i++) {
		const struct vcpu *vcpu = &m->vcpus[i];

		for (unsigned int reason = 0; reason < EXIT_REASONS; reason++)
			sums.exits[reason] += vcpu->exits[reason];
		sums.interrupted += vcpu->interrupted;
		if (driver_counts)
			collect_driver(vcpu->fd, false);
	}
}

/* The most frequent come first. */
static int by_value(const void *a, const void *b)
{
	const struct stat_sum *x = a, *y = b;

	if (x->of_vm != y->of_vm)
		return x->of_vm - y->of_vm;
	return x->value < y->value ? 1 : x->value > y->value ? -1 : strcmp(x->name, y->name);
}

static void print_driver(void)
{
	qsort(sums.driver, sums.ndriver, sizeof(sums.driver[0]), by_value);
	msg_plain("  %-32s %14s", "driver's count", "sum");
	for (unsigned int i = 0; i < sums.ndriver; i++) {
		const struct stat_sum *s = &sums.driver[i];

		if (s->value)
			msg_plain("  %-32s %14" PRIu64 "%s", s->name, s->value,
				  s->of_vm ? "  (VM)" : "");
	}
}

void stats_print(bool all)
{
	struct stat_sum *exits = NULL;
	uint64_t to_user = 0;
	char line[512] = "";
	size_t used = 0;

	for (unsigned int i = 0; i < sums.ndriver; i++)
		if (!sums.driver[i].of_vm && !strcmp(sums.driver[i].name, "exits"))
			exits = &sums.driver[i];
	for (unsigned int i = 0; i < EXIT_REASONS; i++) {
		if (!sums.exits[i])
			continue;
		to_user += sums.exits[i];
		used += (size_t)snprintf(line + used, sizeof(line) - used, ", %" PRIu64 " %s",
					 sums.exits[i], exit_names[i] ? exit_names[i] : "other");
		used = MIN(used, sizeof(line) - 1);
	}
	if (exits)
		msg("%" PRIu64 " exits, %" PRIu64 " of them to user space%s", exits->value, to_user,
		    line);
	else
		msg("%" PRIu64 " exits to user space%s", to_user, line);
	if (!all)
		return;
	if (sums.interrupted)
		msg_plain("  KVM_RUN interrupted by a signal: %" PRIu64, sums.interrupted);
	if (sums.ndriver)
		print_driver();
	else
		msg_plain("  the driver keeps no statistics (KVM_CAP_BINARY_STATS_FD)");
}
