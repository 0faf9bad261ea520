// SPDX-License-Identifier: GPL-2.0-only
/*
 * VM entries that the CPU refuses, because user space set a state that the ABI
 * accepts and hardware does not: user space hears of it, the kernel's log names
 * the rule that was violated, and the vCPU and the machine go on.
 *
 * Needs VMX; SVM has next to no checks of segments.
 */
#include <cpuid.h>
#include <fcntl.h>
#include "test.h"

#define REASON_BAD_GUEST 0x80000021ull
#define TYPE_DATA	 1 /* read-only data: not what CS may be */

static void done(uint64_t arg)
{
	(void)arg;
	g_done();
}

static void need_vmx(void)
{
	if (!cpu_has_vmx())
		test_skip("the CPU is not one with VMX");
	if (vmx_parameter("unrestricted_guest") == 'N')
		test_skip("no unrestricted guest: such a state runs in software");
}

/* Reads the kernel's log from where @fd is; is @text in it? */
static bool log_has(int fd, const char *text)
{
	char line[1024];
	ssize_t n;

	while ((n = read(fd, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		line[n < 0 ? 0 : n] = 0;
		if (strstr(line, text))
			return true;
	}
	return false;
}

TEST(bad_code_segment)
{
	struct kvm_sregs good, bad;
	struct kvm_regs regs;
	struct vcpu *v;
	int log;

	need_vmx();
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	REQUIRE(log >= 0, "/dev/kmsg: %s", strerror(errno));
	lseek(log, 0, SEEK_END);
	v = vm_with_guest(0, done, 0);
	vcpu_get_sregs(v, &good);
	vcpu_get_regs(v, &regs);
	bad = good;
	bad.cs.type = TYPE_DATA;
	vcpu_set_sregs(v, &bad);
	CHECK_EQ(vcpu_run_raw(v), KVM_EXIT_FAIL_ENTRY);
	CHECK_EQ(v->run->fail_entry.hardware_entry_failure_reason, REASON_BAD_GUEST);
	CHECK_EQ(v->run->fail_entry.cpu, 0);
	if (!dev_is_kvm()) /* names no rules */
		CHECK(log_has(log, "violated rule: guest CS: type"), "the log names no rule");
	/* Nothing of the guest has run, and the state is still there to be mended. */
	vcpu_get_sregs(v, &bad);
	CHECK_EQ(bad.cr3, good.cr3);
	CHECK_EQ(bad.cs.type, TYPE_DATA);
	vcpu_set_sregs(v, &good);
	vcpu_set_regs(v, &regs);
	CHECK(vcpu_run(v), "the vCPU does not run any more");
}

/* One that refused does not disturb another. */
TEST(beside_another)
{
	struct vcpu *v, *w;
	struct kvm_sregs s;

	need_vmx();
	v = vm_with_guest(0, done, 0);
	w = vm_with_guest(0, done, 0);
	vcpu_get_sregs(v, &s);
	s.cs.type = TYPE_DATA;
	vcpu_set_sregs(v, &s);
	for (unsigned int i = 0; i < 100; i++)
		REQUIRE(vcpu_run_raw(v) == KVM_EXIT_FAIL_ENTRY, "exit %u", v->run->exit_reason);
	CHECK(vcpu_run(w), "the other VM does not run");
}
