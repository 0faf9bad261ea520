// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs and vCPUs come and go: in numbers, with their files closed in any order,
 * by a process that is not the one that made them, by killed threads. What
 * stays behind is churn.c's business.
 */
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "test.h"

static void short_guest(uint64_t arg)
{
	G_CHECK_EQ(arg, 77);
}

static void spin_guest(uint64_t arg)
{
	(void)arg;
	for (;;)
		g_pause();
}

TEST(one_after_the_other)
{
	for (unsigned int i = 0; i < 100; i++) {
		struct vcpu *v = vm_with_guest(i % 3 ? VM_IRQCHIP : 0, short_guest, 77);

		vcpu_run(v);
		vm_free(v->vm);
	}
}

TEST(fifty_at_once)
{
	static struct vm *vms[50];

	for (unsigned int i = 0; i < 50; i++)
		vms[i] = vm_with_guest(VM_IRQCHIP | VM_PIT, short_guest, 77)->vm;
	for (unsigned int i = 0; i < 50; i++)
		vcpu_run(vms[(i * 37) % 50]->vcpus[0]);
	for (unsigned int i = 0; i < 50; i++)
		vm_free(vms[(i * 61) % 50]);
}

/* The VM's file first: the vCPU keeps the VM alive, and runs. */
TEST(vm_file_first)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, short_guest, 77);

	close(v->vm->fd);
	vcpu_run(v);
	close(v->fd);
	/* The mapping of struct kvm_run is the last. */
	v->run->immediate_exit = 1;
	munmap(v->run, v->vm->vcpu_map_size);
}

TEST(any_order)
{
	for (unsigned int order = 0; order < 24; order++) {
		struct vcpu *v = vm_with_guest(VM_IRQCHIP, short_guest, 77);
		int fds[4] = { v->vm->fd, v->fd, eventfd(0, EFD_NONBLOCK), -1 };
		struct kvm_irqfd irqfd = { .fd = fds[2], .gsi = 5 };
		unsigned int left = order, used = 0;

		vm_ioctl(v->vm, KVM_IRQFD, &irqfd);
		fds[3] = ioctl(v->vm->fd, KVM_GET_STATS_FD, 0);
		if (order & 1)
			vcpu_run(v);
		for (unsigned int n = 4; n > 0; n--) {
			unsigned int pick = left % n, i;

			left /= n;
			for (i = 0; used >> i & 1 || pick--; i++)
				;
			used |= 1u << i;
			if (i == 2) {
				uint64_t one = 1;

				CHECK_EQ(write(fds[2], &one, 8), 8);
			}
			close(fds[i]);
		}
		munmap(v->run, v->vm->vcpu_map_size);
	}
}

TEST(closed_while_running)
{
	for (unsigned int i = 0; i < 20; i++) {
		struct vcpu *v = vm_with_guest(VM_IRQCHIP, spin_guest, 0);
		pid_t child = fork();

		/* The child only holds the files; the parent's go away at once. */
		if (!child) {
			usleep(3000);
			_exit(0);
		}
		close(v->vm->fd);
		CHECK_EQ(waitpid(child, NULL, 0), child);
		munmap(v->run, v->vm->vcpu_map_size);
		close(v->fd);
	}
}

/* A VM belongs to the process that made it: another's ioctls are refused. */
TEST(other_process)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, short_guest, 77);
	pid_t child = fork();
	int status;

	if (!child) {
		struct kvm_regs r;
		int bad = 0;

		bad |= ioctl(v->fd, KVM_RUN, 0) != -1 || errno != EIO;
		bad |= ioctl(v->fd, KVM_GET_REGS, &r) != -1 || errno != EIO;
		bad |= ioctl(v->vm->fd, KVM_CREATE_VCPU, 5l) != -1 || errno != EIO;
		bad |= vm_try_slot(v->vm, 9, 0, 0x40000000, PAGE, host_pages(PAGE)) != -1;
		_exit(bad);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0, "status %#x", status);
	vcpu_run(v);
}

/* Its maker dies; somebody else holds the files a while longer. */
TEST(orphaned)
{
	int pair[2], status;
	pid_t maker;
	char c;

	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	maker = fork();
	if (!maker) {
		struct vcpu *v = vm_with_guest(VM_IRQCHIP, spin_guest, 0);

		if (!fork()) {
			/* The heir */
			struct kvm_regs r;

			close(pair[0]);
			usleep(200000);
			ioctl(v->fd, KVM_GET_REGS, &r);
			ioctl(v->fd, KVM_RUN, 0);
			ioctl(v->vm->fd, KVM_CREATE_VCPU, 3l);
			_exit(write(pair[1], "x", 1) != 1);
		}
		vcpu_start(v);
		usleep(50000);
		kill(getpid(), SIGKILL);
	}
	close(pair[1]);
	CHECK(waitpid(maker, &status, 0) == maker, "no maker");
	CHECK_EQ(read(pair[0], &c, 1), 1);
}

/* execve() gives the process another mm; the files are closed on the way. */
TEST(exec)
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct vcpu *v = vm_with_guest(VM_IRQCHIP, spin_guest, 0);

		vcpu_start(v);
		usleep(20000);
		execl("/bin/true", "true", NULL);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0, "status %#x", status);
}

/* Creation, interrupted by signals and death */
TEST(killed_while_creating)
{
	for (unsigned int i = 0; i < 60; i++) {
		pid_t child = fork();

		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (unsigned int n = 0;; n++) {
				struct vm *vm = vm_new(VM_IRQCHIP | VM_PIT);

				for (unsigned int k = 0; k < 4; k++)
					vcpu_new(vm, k);
				vm_free(vm);
			}
		}
		usleep(1000 + i * 700);
		kill(child, SIGKILL);
		CHECK_EQ(waitpid(child, NULL, 0), child);
	}
}

/* Several threads make and destroy at the same time. */
static void *maker(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < 30; i++) {
		struct vm *vm = vm_new_bare(VM_IRQCHIP);

		/* Without the library: its list of vCPUs is not made for threads. */
		for (long k = 0; k < 3; k++) {
			int fd = ioctl(vm->fd, KVM_CREATE_VCPU, k);

			CHECK(fd >= 0 && !close(fd), "vCPU %ld: %s", k, strerror(errno));
		}
		close(vm->fd);
		free(vm);
	}
	return NULL;
}

TEST(makers)
{
	pthread_t threads[4];

	for (unsigned int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, maker, NULL);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* vCPUs of one VM, made by many threads at once: each ID once */
static struct vm *shared;
static volatile uint32_t made;

static void *add_vcpus(void *arg)
{
	(void)arg;
	for (long i = 0; i < 32; i++) {
		int fd = ioctl(shared->fd, KVM_CREATE_VCPU, i);

		if (fd >= 0)
			__atomic_add_fetch(&made, 1, __ATOMIC_SEQ_CST);
		else if (errno != EEXIST)
			test_fail(__FILE__, __LINE__, "vCPU %ld: %s", i, strerror(errno));
	}
	return NULL;
}

TEST(races_for_ids)
{
	pthread_t threads[4];

	shared = vm_new_bare(VM_IRQCHIP);
	for (unsigned int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, add_vcpus, NULL);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(made, 32);
}
