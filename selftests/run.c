// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_RUN as user space sees it: immediate_exit, signals and the signal mask,
 * threads that die inside, several threads on one vCPU.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "test.h"

static volatile uint64_t turns;

static void spin_guest(uint64_t arg)
{
	(void)arg;
	g_spin_politely();
	for (;;)
		turns++;
}

static void out_guest(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		g_outb(0x80, i);
}

static void hlt_guest(uint64_t arg)
{
	(void)arg;
	for (;;)
		g_sti_hlt_cli();
}

static void wake(int number)
{
	(void)number;
}

static void catch (int number)
{
	struct sigaction action = { .sa_handler = wake };

	sigaction(number, &action, NULL);
}

static void wait_for_turns(void)
{
	uint64_t before = turns;

	for (unsigned int i = 0; i < 5000 && turns == before; i++)
		usleep(1000);
	CHECK(turns != before, "the guest does not run");
}

TEST(immediate_exit)
{
	struct vcpu *v = vm_with_guest(0, out_guest, 3);
	struct kvm_regs before, after;

	if (dev_cap(KVM_CAP_IMMEDIATE_EXIT) <= 0)
		test_skip("no KVM_CAP_IMMEDIATE_EXIT");
	v->run->immediate_exit = 1;
	CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
	v->run->immediate_exit = 0;
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	CHECK_EQ(v->run->io.port, 0x80);
	vcpu_get_regs(v, &before);
	/* The port write is completed, and no more. */
	v->run->immediate_exit = 1;
	CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
	CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
	vcpu_get_regs(v, &after);
	CHECK(after.rip > before.rip || *(uint8_t *)before.rip != 0xe6, "RIP stays at the OUT");
	v->run->immediate_exit = 0;
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	CHECK_EQ(*((uint8_t *)v->run + v->run->io.data_offset), 1);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	vcpu_run(v);
}

TEST(bad_arguments)
{
	struct vcpu *v = vm_with_guest(0, out_guest, 1);

	CHECK_ERR(ioctl(v->fd, KVM_RUN, 1), EINVAL);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	vcpu_run(v);
}

/* A guest that never leaves by itself is left by a signal, each time. */
TEST(signal_ends_run)
{
	struct vcpu *v = vm_with_guest(0, spin_guest, 0);
	struct itimerval often = { { 0, 3000 }, { 0, 3000 } };

	catch (SIGPROF);
	setitimer(ITIMER_PROF, &often, NULL);
	for (unsigned int i = 0; i < 100; i++) {
		CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
		CHECK_EQ(v->run->exit_reason, KVM_EXIT_INTR);
	}
	CHECK(turns > 0, "the guest never ran");
}

static volatile bool over;
static unsigned int kicks = 50;

static void *kick(void *arg)
{
	pthread_t *target = arg;

	for (unsigned int i = 0; i < kicks && !over; i++) {
		usleep(2000);
		pthread_kill(*target, SIGUSR1);
	}
	return NULL;
}

TEST(signal_mask)
{
	struct vcpu *v = vm_with_guest(0, spin_guest, 0);
	struct {
		struct kvm_signal_mask head;
		uint8_t set[8];
	} mask = { .head.len = 8 };
	pthread_t self = pthread_self(), thread;
	sigset_t set, pending;
	unsigned int n = 0;

	/* Blocked outside, open inside KVM_RUN: it ends it, and stays pending. */
	catch (SIGUSR1);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	vcpu_ioctl(v, KVM_SET_SIGNAL_MASK, &mask);
	pthread_create(&thread, NULL, kick, &self);
	while (n < 5) {
		CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
		n++;
		sigpending(&pending);
		CHECK(sigismember(&pending, SIGUSR1), "the signal was lost");
		/* As long as it is there, KVM_RUN ends at once. */
		CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
		sigtimedwait(&set, NULL, &(struct timespec){});
	}
	pthread_join(thread, NULL);
	mask.head.len = 4;
	CHECK_ERR(ioctl(v->fd, KVM_SET_SIGNAL_MASK, &mask), EINVAL);
	CHECK_OK(ioctl(v->fd, KVM_SET_SIGNAL_MASK, NULL));
}

/* A halted vCPU wakes for a signal and goes back to sleep. */
TEST(signal_while_halted)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, hlt_guest, 0);
	pthread_t self = pthread_self(), thread;

	catch (SIGUSR1);
	pthread_create(&thread, NULL, kick, &self);
	for (unsigned int i = 0; i < 10; i++)
		CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
	pthread_join(thread, NULL);
}

/* --- immediate_exit from a signal handler: no kick is lost --- */

static struct kvm_run *kicked;

static void kick_handler(int number)
{
	(void)number;
	kicked->immediate_exit = 1;
}

TEST(no_lost_kick)
{
	struct vcpu *v = vm_with_guest(0, spin_guest, 0);
	struct sigaction action = { .sa_handler = kick_handler };
	pthread_t self = pthread_self(), thread;

	kicked = v->run;
	kicks = ~0u;
	sigaction(SIGUSR1, &action, NULL);
	pthread_create(&thread, NULL, kick, &self);
	for (unsigned int i = 0; i < 40; i++) {
		CHECK_ERR(ioctl(v->fd, KVM_RUN, 0), EINTR);
		v->run->immediate_exit = 0;
	}
	over = true;
	pthread_join(thread, NULL);
}

/* --- threads --- */

static void *share(void *arg)
{
	struct vcpu *v = arg;

	while (!over) {
		int r = ioctl(v->fd, KVM_RUN, 0);

		if (r && errno != EINTR) {
			test_fail(__FILE__, __LINE__, "KVM_RUN: %s", strerror(errno));
			break;
		}
	}
	return NULL;
}

TEST(two_threads_one_vcpu)
{
	struct vcpu *v = vm_with_guest(0, out_guest, ~0ull);
	pthread_t threads[3];

	for (unsigned int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, share, v);
	for (unsigned int i = 0; i < 200; i++) {
		struct kvm_regs r;

		vcpu_get_regs(v, &r);
		vcpu_set_regs(v, &r);
	}
	over = true;
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

static void *one_run(void *arg)
{
	struct vcpu *v = arg;

	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_IO);
	return NULL;
}

/* A vCPU wanders through threads, one after the other. */
TEST(new_thread_each_time)
{
	struct vcpu *v = vm_with_guest(0, out_guest, 60);

	for (unsigned int i = 0; i < 60; i++) {
		pthread_create(&v->thread, NULL, one_run, v);
		vcpu_join(v);
		CHECK_EQ(*((uint8_t *)v->run + v->run->io.data_offset), i & 0xff);
	}
	vcpu_run(v);
}

/* The thread ends (its stack, its signals) while the vCPU lives on. */
static void *cancelled(void *arg)
{
	struct vcpu *v = arg;

	while (!over)
		ioctl(v->fd, KVM_RUN, 0);
	return NULL;
}

TEST(threads_end)
{
	struct vcpu *v = vm_with_guest(0, spin_guest, 0);

	catch (SIGUSR1);
	for (unsigned int i = 0; i < 20; i++) {
		over = false;
		pthread_create(&v->thread, NULL, cancelled, v);
		wait_for_turns();
		over = true;
		pthread_kill(v->thread, SIGUSR1);
		vcpu_join(v);
	}
}

/* --- killed at any moment --- */

static unsigned int some(void)
{
	static uint32_t seed = 4711;

	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void child_body(unsigned int i)
{
	struct vm *vm;
	struct vcpu *v;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	switch (i % 4) {
	case 0:
		v = vm_with_guest(0, spin_guest, 0);
		break;
	case 1:
		v = vm_with_guest(VM_IRQCHIP, hlt_guest, 0);
		break;
	case 2:
		v = vm_with_guest(VM_IRQCHIP | VM_PIT, out_guest, ~0ull);
		break;
	default:
		vm = vm_new(VM_IRQCHIP);
		for (unsigned int k = 0; k < 3; k++) {
			v = vm_add_guest(vm, k, k & 1 ? hlt_guest : spin_guest, 0);
			vcpu_start(v);
		}
		break;
	}
	for (;;)
		ioctl(v->fd, KVM_RUN, 0);
}

TEST(killed)
{
	for (unsigned int i = 0; i < 40; i++) {
		pid_t child = fork();
		int status;

		if (!child) {
			child_body(i);
			_exit(1);
		}
		usleep(some() % 60000);
		kill(child, i & 8 ? SIGTERM : SIGKILL);
		CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status),
		      "status %#x of child %u", status, i);
	}
}

/* Stopped and continued, as job control and debuggers do */
TEST(stopped)
{
	volatile bool *runs = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				   -1, 0);
	pid_t child = fork();
	int status;

	if (!child) {
		struct vcpu *v = vm_with_guest(0, spin_guest, 0);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		*runs = true;
		for (;;)
			ioctl(v->fd, KVM_RUN, 0);
	}
	for (unsigned int i = 0; i < 5000 && !*runs; i++)
		usleep(1000);
	for (unsigned int i = 0; i < 15; i++) {
		usleep(5000);
		kill(child, SIGSTOP);
		CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status), "no stop");
		kill(child, SIGCONT);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}
