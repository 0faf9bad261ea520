// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs vCPUs until the guest says something: done, failed, a step for the host.
 * What else leaves the guest goes to the test's own on_exit.
 */
#include <signal.h>
#include "test.h"

int vcpu_run_raw(struct vcpu *v)
{
	int r;

	do
		r = ioctl(v->fd, KVM_RUN, 0);
	while (r < 0 && (errno == EINTR || errno == EAGAIN) &&
	       v->run->exit_reason != KVM_EXIT_INTR);
	if (r < 0 && errno == EINTR)
		return KVM_EXIT_INTR;
	REQUIRE(!r, "KVM_RUN of vCPU %u: %s", v->id, strerror(errno));
	return v->run->exit_reason;
}

void vcpu_finish_exit(struct vcpu *v)
{
	v->run->immediate_exit = 1;
	CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
	v->run->immediate_exit = 0;
}

void vcpu_print(struct vcpu *v, const char *title)
{
	struct kvm_run *run = v->run;
	struct kvm_sregs s = {};
	struct kvm_regs r = {};

	ioctl(v->fd, KVM_GET_REGS, &r);
	ioctl(v->fd, KVM_GET_SREGS, &s);
	test_note(
		"%s: vCPU %u exit %u rip %llx cs %x/%llx rflags %llx cr0 %llx cr3 %llx cr4 %llx efer %llx",
		title, v->id, run->exit_reason, r.rip, s.cs.selector, s.cs.base, r.rflags, s.cr0,
		s.cr3, s.cr4, s.efer);
	test_note("rax %llx rbx %llx rcx %llx rdx %llx rsi %llx rdi %llx rsp %llx cr2 %llx", r.rax,
		  r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, s.cr2);
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		test_note("port %#x %s size %u count %u", run->io.port,
			  run->io.direction ? "out" : "in", run->io.size, run->io.count);
		break;
	case KVM_EXIT_MMIO:
		test_note("MMIO %#llx %s %u bytes", run->mmio.phys_addr,
			  run->mmio.is_write ? "write" : "read", run->mmio.len);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		test_note("reason %#llx", run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		test_note("suberror %u, %u words: %llx %llx %llx %llx", run->internal.suberror,
			  run->internal.ndata, run->internal.data[0], run->internal.data[1],
			  run->internal.data[2], run->internal.data[3]);
		break;
	default:
		break;
	}
}

bool vcpu_is_sync(struct vcpu *v, uint64_t *n)
{
	if (v->run->exit_reason != KVM_EXIT_IO || v->run->io.port != PORT_SYNC)
		return false;
	*n = *(uint32_t *)((uint8_t *)v->run + v->run->io.data_offset);
	return true;
}

static void guest_failed(struct vcpu *v)
{
	struct guest_cpu *cpu = &guest_cpus[v->id % MAX_VCPUS];

	test_fail(cpu->fail_file, (int)cpu->fail_line,
		  "in the guest, vCPU %u: %s is %#llx, expected %#llx", v->id, cpu->fail_what,
		  (unsigned long long)cpu->got, (unsigned long long)cpu->want);
}

/* One step: 1 the guest is done, 0 go on, -1 something unexpected */
static int settle(struct vcpu *v, int reason)
{
	if (reason == KVM_EXIT_IO && v->run->io.direction == KVM_EXIT_IO_OUT) {
		if (v->run->io.port == PORT_DONE)
			return 1;
		if (v->run->io.port == PORT_FAIL) {
			guest_failed(v);
			return 0;
		}
	}
	if (v->on_exit && v->on_exit(v))
		return 0;
	vcpu_print(v, "unexpected exit");
	return -1;
}

bool vcpu_run(struct vcpu *v)
{
	for (;;) {
		int what = settle(v, vcpu_run_raw(v));

		if (what > 0)
			return true;
		if (what < 0) {
			test_fail(__FILE__, __LINE__, "unexpected exit %u", v->run->exit_reason);
			return false;
		}
	}
}

uint64_t vcpu_run_sync(struct vcpu *v)
{
	for (;;) {
		int reason = vcpu_run_raw(v), what;
		uint64_t n;

		if (vcpu_is_sync(v, &n))
			return n;
		what = settle(v, reason);
		REQUIRE(what == 0, "vCPU %u does not come to its next step", v->id);
	}
}

uint8_t mmio_ram[MMIO_RAM_SIZE];
volatile unsigned int mmio_reads, mmio_writes;

bool vcpu_mmio_ram(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	uint64_t at = run->mmio.phys_addr - MMIO_BASE;

	if (run->exit_reason != KVM_EXIT_MMIO || at > MMIO_RAM_SIZE || run->mmio.len > 8 ||
	    at + run->mmio.len > MMIO_RAM_SIZE)
		return false;
	if (run->mmio.is_write) {
		memcpy(mmio_ram + at, run->mmio.data, run->mmio.len);
		mmio_writes++;
	} else {
		memcpy(run->mmio.data, mmio_ram + at, run->mmio.len);
		mmio_reads++;
	}
	return true;
}

static void *run_thread(void *v)
{
	return (void *)(uintptr_t)vcpu_run(v);
}

void vcpu_start(struct vcpu *v)
{
	REQUIRE(!pthread_create(&v->thread, NULL, run_thread, v), "pthread_create fails");
}

void vcpu_join(struct vcpu *v)
{
	REQUIRE(!pthread_join(v->thread, NULL), "pthread_join fails");
}

static void wake(int sig)
{
	(void)sig;
}

static void *ap_thread(void *arg)
{
	struct vcpu *v = arg;

	while (!__atomic_load_n(&v->stop, __ATOMIC_ACQUIRE)) {
		int r = ioctl(v->fd, KVM_RUN, 0);

		if (r < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		test_fail(__FILE__, __LINE__, "vCPU %u: KVM_RUN %d, %s, exit %u", v->id, r,
			  strerror(errno), v->run->exit_reason);
		break;
	}
	return NULL;
}

void vcpu_start_ap(struct vcpu *v)
{
	struct sigaction sa = { .sa_handler = wake };

	sigaction(SIGUSR1, &sa, NULL);
	REQUIRE(!pthread_create(&v->thread, NULL, ap_thread, v), "pthread_create fails");
}

void vcpu_stop_ap(struct vcpu *v)
{
	__atomic_store_n(&v->stop, true, __ATOMIC_RELEASE);
	/* Should the signal come just before KVM_RUN */
	v->run->immediate_exit = 1;
	pthread_kill(v->thread, SIGUSR1);
	vcpu_join(v);
	v->run->immediate_exit = 0;
}
