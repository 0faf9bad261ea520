/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's side of every test program: results (TAP), the virtual machine,
 * its vCPUs and memory. What guests are written with is in guest.h.
 *
 * A program consists of TEST()s. Each runs in a process of its own, so one that
 * fails, hangs or dies takes nothing with it. Programs are static, linked at
 * GUEST_IMAGE, and their own image is a memory slot of the guest at the same
 * address: a guest is a C function of the program, and shares its variables.
 */
#ifndef TEST_H
#define TEST_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>
#include "guest.h"

#define PAGE ((uint64_t)4096)

/* --- results (tap.c) --- */

struct test_case {
	const char *name;
	void (*fn)(void);
	unsigned int seconds;
} __attribute__((aligned(32)));

/*
 * A test case: TEST(name) { ... }. It fails when it needs more than 25 s, or
 * $MEZZ_PATIENCE times that. $MEZZ_AFTER names one that is left out, with all before it.
 */
#define TEST_SECONDS(id, limit)                                                    \
	static void id(void);                                                      \
	static const struct test_case case_##id                                    \
		__attribute__((used, section("test_cases"))) = { #id, id, limit }; \
	static void id(void)
#define TEST(id) TEST_SECONDS(id, 25)

/* Says that the running test failed; it goes on. */
void test_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Ends the running test as failed, if it did; as passed otherwise. */
void test_end(void) __attribute__((noreturn));
/* Ends the running test; the reason names the missing hardware feature. */
void test_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* A line for the person who reads the output. */
void test_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(what, ...)                                            \
	do {                                                        \
		if (!(what))                                        \
			test_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

#define REQUIRE(what, ...)                                          \
	do {                                                        \
		if (!(what)) {                                      \
			test_fail(__FILE__, __LINE__, __VA_ARGS__); \
			test_end();                                 \
		}                                                   \
	} while (0)

#define CHECK_EQ(a, b)                                                                   \
	do {                                                                             \
		uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b);                         \
		if (a_ != b_)                                                            \
			test_fail(__FILE__, __LINE__, "%s is %#llx, expected %#llx", #a, \
				  (unsigned long long)a_, (unsigned long long)b_);       \
	} while (0)

/* A system call that must succeed, and one that must fail with an errno. */
#define CHECK_OK(call)                                                                   \
	do {                                                                             \
		if ((long)(call) < 0)                                                    \
			test_fail(__FILE__, __LINE__, "%s: %s", #call, strerror(errno)); \
	} while (0)

#define CHECK_ERR(call, error)                                                                   \
	do {                                                                                     \
		long r_ = (long)(call);                                                          \
		int e_ = errno;                                                                  \
		if (r_ != -1 || e_ != (error))                                                   \
			test_fail(__FILE__, __LINE__, "%s returns %ld (%s), expected %s", #call, \
				  r_, r_ < 0 ? strerrorname_np(e_) : "no error",                 \
				  strerrorname_np(error));                                       \
	} while (0)

/* --- the driver (tap.c) --- */

/* Opens the device that --device, $MEZZ_DEVICE or the machine names. */
int dev_open(void);
/* Is it in-tree KVM, and not Mezzanine, that is tested? */
bool dev_is_kvm(void);
/* Is the CPU one that QEMU emulates? Its SVM lacks what a test then names. */
bool cpu_is_qemu(void);
/* Is it one that Bochs emulates? */
bool cpu_is_bochs(void);
bool cpu_has_vmx(void);
/*
 * What the driver's module says of one of its parameters for CPUs with VMX: 'Y' or 'N'; 0
 * on another CPU, or if there is none.
 */
int vmx_parameter(const char *name);
/* KVM_CHECK_EXTENSION on the device */
int dev_cap(unsigned long cap);

/* --- the virtual machine (vm.c) --- */

#define RAM_SIZE   (16u << 20) /* of slot 0, at GPA 0 */
#define POOL_START 0x100000u   /* vm_alloc() takes from here */
#define MMIO_BASE  0xd0000000u /* nothing is there: MMIO exits */
#define MAX_VCPUS  64
#define SLOT_RAM   0
#define SLOT_IMAGE 1
#define SLOT_FREE  2 /* first slot a test may use */

enum { VM_PLAIN = 0, VM_IRQCHIP = 1, VM_PIT = 2, VM_SPLIT = 4 };

struct vm;

struct vcpu {
	struct vm *vm;
	int fd;
	unsigned int id;
	struct kvm_run *run;
	uint8_t *pio; /* data of a port exit */
	pthread_t thread;
	bool stop; /* of vcpu_stop_ap() */
	/* Exits that vcpu_run() does not know: true if settled. */
	bool (*on_exit)(struct vcpu *v);
	void *data;	   /* of on_exit */
	struct vcpu *next; /* of all */
};

struct vm {
	int fd;
	uint8_t *ram; /* GPA 0 */
	uint64_t ram_size, pool;
	uint64_t vcpu_map_size;
	struct vcpu *vcpus[MAX_VCPUS];
	unsigned int nr_vcpus;
};

/* A VM with RAM, image and page tables. Fails the test when it cannot be had. */
struct vm *vm_new(int flags);
/* The same without any memory. */
struct vm *vm_new_bare(int flags);
void vm_free(struct vm *vm);
/* Maps @size bytes at @hva to @gpa; size 0 deletes. Returns what ioctl returns. */
int vm_try_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
		void *hva);
void vm_slot(struct vm *vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, void *hva);
/* GPA of fresh pages in slot 0, zeroed. */
uint64_t vm_alloc(struct vm *vm, unsigned int pages);
static inline void *vm_ptr(struct vm *vm, uint64_t gpa)
{
	return vm->ram + gpa;
}

/* Maps one page for the guest, above the identity map (gva >= 512 GiB). */
#define GVA_FREE 0x8000000000ull
#define PT_P	 1ull
#define PT_W	 2ull
#define PT_U	 4ull
#define PT_A	 0x20ull
#define PT_D	 0x40ull
#define PT_PS	 0x80ull
#define PT_NX	 (1ull << 63)
uint64_t *vm_map(struct vm *vm, uint64_t gva, uint64_t gpa, uint64_t flags);

/* KVM_ENABLE_CAP on the VM, with one argument. Returns what ioctl returns. */
int vm_try_cap(struct vm *vm, uint32_t cap, uint64_t arg);
void vm_enable_cap(struct vm *vm, uint32_t cap, uint64_t arg);

/* Anonymous memory of the test, page aligned. */
void *host_pages(size_t bytes);

struct vcpu *vcpu_new_bare(struct vm *vm, unsigned int id); /* KVM_CREATE_VCPU only */
struct vcpu *vcpu_new(struct vm *vm, unsigned int id);	    /* and CPUID as supported */
void vcpu_free(struct vcpu *v);
/* Switches its local APIC from xAPIC to x2APIC mode. */
void vcpu_x2apic(struct vcpu *v);
/* The vCPU's statistic (KVM_GET_STATS_FD) with this name; false: the driver keeps none. */
bool vcpu_stat(struct vcpu *v, const char *name, uint64_t *value);
/* Lets it enter guest function @fn in 64-bit mode. */
void vcpu_long_mode(struct vcpu *v, void (*fn)(uint64_t), uint64_t arg);
/* A VM with one vCPU that enters @fn. */
struct vcpu *vm_with_guest(int flags, void (*fn)(uint64_t), uint64_t arg);
/* One more vCPU that enters @fn, without waiting for INIT and SIPI. */
struct vcpu *vm_add_guest(struct vm *vm, unsigned int id, void (*fn)(uint64_t), uint64_t arg);
/* Code of an assembler stub, from name to name_end, to guest memory. */
#define vm_code(vm, gpa, name)                                    \
	do {                                                      \
		extern char name[], name##_end[];                 \
		memcpy(vm_ptr(vm, gpa), name, name##_end - name); \
	} while (0)
/* Real mode at cs:ip = base >> 4:0, all segments at @base, stack below 0xff00 */
void vcpu_real_mode(struct vcpu *v, uint64_t base);

/* KVM_RUN until something happens that it does not settle; the exit reason. */
int vcpu_run_raw(struct vcpu *v);
/* Completes the exit that user space has answered, and runs nothing of the guest. */
void vcpu_finish_exit(struct vcpu *v);
/*
 * Runs until the guest is done. Guest failures and exits that on_exit does not
 * settle fail the test. Returns false if the guest did not come to its end.
 */
bool vcpu_run(struct vcpu *v);
/* Runs until the guest calls g_sync(n); n. */
uint64_t vcpu_run_sync(struct vcpu *v);
/* Each vCPU in a thread of its own with vcpu_run(); and wait for them. */
void vcpu_start(struct vcpu *v);
void vcpu_join(struct vcpu *v);
/*
 * The same of a vCPU that is to stay in KVM_RUN whatever happens, such as one that waits for
 * INIT and SIPI; SIGUSR1 gets it out.
 */
void vcpu_start_ap(struct vcpu *v);
void vcpu_stop_ap(struct vcpu *v);
/* Is this exit a g_sync()? Then its number is in *n. */
bool vcpu_is_sync(struct vcpu *v, uint64_t *n);
void vcpu_print(struct vcpu *v, const char *title);
/* All vCPUs of all VMs */
void vcpus_print(const char *title);

/*
 * on_exit of guests for whom 16 KiB at MMIO_BASE are to look like RAM: mmio_ram
 * is what is there. It counts the exits.
 */
#define MMIO_RAM_SIZE 0x4000u
extern uint8_t mmio_ram[MMIO_RAM_SIZE];
extern volatile unsigned int mmio_reads, mmio_writes;
bool vcpu_mmio_ram(struct vcpu *v);

void vcpu_get_regs(struct vcpu *v, struct kvm_regs *regs);
void vcpu_set_regs(struct vcpu *v, const struct kvm_regs *regs);
void vcpu_get_sregs(struct vcpu *v, struct kvm_sregs *sregs);
void vcpu_set_sregs(struct vcpu *v, const struct kvm_sregs *sregs);
uint64_t vcpu_get_msr(struct vcpu *v, uint32_t index);
/* Returns how many were set (1 or 0), or -1. */
int vcpu_set_msr(struct vcpu *v, uint32_t index, uint64_t value);
void vcpu_set_cpuid(struct vcpu *v, const struct kvm_cpuid2 *cpuid);
/* CPUID as the driver supports it (shared, to be copied before a change). */
const struct kvm_cpuid2 *dev_cpuid(void);
/* A register of that: function, index, 'a'..'d' */
uint32_t dev_cpuid_reg(uint32_t function, uint32_t index, char reg);
struct kvm_cpuid2 *cpuid_copy(void);
struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid2 *c, uint32_t function, uint32_t index);

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t now_ns(void);
void sleep_ms(unsigned int ms);

#define vm_ioctl(vm, request, arg)  CHECK_OK(ioctl((vm)->fd, request, arg))
#define vcpu_ioctl(v, request, arg) CHECK_OK(ioctl((v)->fd, request, arg))

#endif
