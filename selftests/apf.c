// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asynchronous page faults: a guest touches pages that a userfaultfd holds back. It must
 * hear of it and go on with something else, or at least take its interrupts; and hear of
 * the page when it has come. Also what becomes of it all when the VM ends first.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/userfaultfd.h>
#include "test.h"

#define GPA	  0x40000000ull
#define PAGES	  80u
#define VALUE	  0x1122334455667700ull /* at the start of each page, plus its number */
#define LIMIT	  20000000ull

#define MSR_EN	  0x4b564d02
#define MSR_INT	  0x4b564d06
#define MSR_ACK	  0x4b564d07

#define EN_ON	  1u
#define EN_ALWAYS 2u
#define EN_INT	  8u

#define V_READY	  0x70
#define V_HELLO	  0x71

#define TOKEN_ALL 0xffffffffu

/* As the guest's kernel sees it: struct kvm_vcpu_pv_apf_data */
static volatile struct {
	uint32_t flags, token;
	uint8_t pad[56];
} area __attribute__((aligned(64)));

static volatile uint32_t phase;
/* Tokens in the order in which they came: "not present", and "ready" */
static volatile uint32_t absent[PAGES], ready[PAGES + 1], nr_absent, nr_ready;
static volatile bool hold_ack;

/* --- the guest --- */

static void take_token(void)
{
	if (!hold_ack) {
		area.token = 0;
		g_wrmsr(MSR_ACK, 1);
	}
}

static void on_ready(struct guest_regs *r)
{
	(void)r;
	if (nr_ready <= PAGES)
		ready[nr_ready] = area.token;
	nr_ready++;
	take_token();
	g_apic_write(APIC_EOI, 0);
}

/* A task would be put to sleep; here the access is given up (G_TRY). */
static void on_fault(struct guest_regs *r)
{
	struct guest_cpu *c = g_cpu();

	if (area.flags != 1) {
		g_fail(__FILE__, __LINE__, "a page fault that is one, at", r->rip, G_READ_CR(2));
		g_done();
	}
	G_CHECK_EQ(r->error, 0);
	if (nr_absent < PAGES)
		absent[nr_absent] = (uint32_t)G_READ_CR(2);
	nr_absent++;
	area.flags = 0;
	c->vector = 14;
	r->rip = c->fixup;
	c->fixup = 0;
}

static void start(uint64_t en)
{
	struct guest_cpu *c = g_cpu();

	c->handler[14] = on_fault;
	c->handler[V_READY] = on_ready;
	c->handler[V_HELLO] = g_on_irq_eoi;
	g_apic_enable();
	g_wrmsr(MSR_INT, V_READY);
	if (en)
		g_wrmsr(MSR_EN, (uintptr_t)&area | en);
	g_sti();
	if (!(en & EN_INT))
		return;
	/* All that it might wait for is ready. */
	G_CHECK(g_spin_until(&nr_ready, 1, LIMIT));
	G_CHECK_EQ(ready[0], TOKEN_ALL);
}

static uint64_t touch(uint64_t page)
{
	uint64_t value;

	return G_TRY("mov (%1), %0", "=r"(value) : "r"(GPA + page * PAGE));
}

static uint64_t value_of(uint64_t page)
{
	return G_READ(uint64_t, GPA + page * PAGE);
}

static void one_guest(uint64_t arg)
{
	(void)arg;
	start(EN_ON | EN_ALWAYS | EN_INT);
	G_CHECK_EQ(touch(0), 14);
	G_CHECK_EQ(nr_absent, 1);
	G_CHECK(absent[0] != 0);
	G_CHECK(absent[0] != TOKEN_ALL);
	/* The other task: it runs while the page is missing, and so does another exit. */
	for (unsigned int i = 0; i < 1000; i++)
		g_pause();
	G_CHECK_EQ(nr_ready, 1);
	g_sync(1); /* gives the page */
	G_CHECK(g_spin_until(&nr_ready, 2, LIMIT));
	G_CHECK_EQ(ready[1], absent[0]);
	G_CHECK_EQ(value_of(0), VALUE);
	/* Writing, and waiting for it in HLT */
	G_CHECK_EQ(G_TRY("movb $7, 8(%0)", : "r"(GPA + PAGE)), 14);
	G_CHECK_EQ(nr_absent, 2);
	g_cli();
	phase = 1;
	while (nr_ready < 3)
		g_sti_hlt_cli();
	G_CHECK_EQ(ready[2], absent[1]);
	G_WRITE(uint8_t, GPA + PAGE + 8, 7);
	G_CHECK_EQ(value_of(1), VALUE + 1);
}

/* The next is not told before the last was taken. */
static void many_guest(uint64_t n)
{
	uint64_t seen = 0;

	start(EN_ON | EN_ALWAYS | EN_INT);
	for (uint64_t i = 0; i < n; i++)
		G_CHECK_EQ(touch(i), 14);
	G_CHECK_EQ(nr_absent, n);
	for (uint64_t i = 0; i < n; i++)
		for (uint64_t k = 0; k < i; k++)
			G_CHECK(absent[i] != absent[k]);
	hold_ack = true;
	g_sync(1); /* gives them all, the last one first */
	G_CHECK(g_spin_until(&nr_ready, 2, LIMIT));
	for (unsigned int i = 0; i < 2000; i++)
		g_pause();
	G_CHECK_EQ(nr_ready, 2);
	hold_ack = false;
	take_token();
	G_CHECK(g_spin_until(&nr_ready, (uint32_t)n + 1, LIMIT));
	for (uint64_t i = 0; i < n; i++)
		for (uint64_t k = 1; k <= n; k++)
			seen += ready[k] == absent[i];
	G_CHECK_EQ(seen, n);
	for (uint64_t i = 0; i < n; i++)
		G_CHECK_EQ(value_of(i), VALUE + i);
	G_CHECK_EQ(nr_absent, n);
}

/* It has not asked for it, or not in ring 0: it is halted, but takes interrupts. */
static void halted_guest(uint64_t en)
{
	start(en);
	phase = 1;
	G_CHECK_EQ(value_of(0), VALUE);
	G_CHECK_EQ(nr_absent, 0);
	G_CHECK_EQ(g_cpu()->irqs[V_HELLO], 3);
}

/* More than may be fetched at a time: for the last one the vCPU sleeps. */
static void flood_guest(uint64_t n)
{
	start(EN_ON | EN_ALWAYS | EN_INT);
	for (uint64_t i = 0; i < n - 1; i++)
		G_CHECK_EQ(touch(i), 14);
	phase = 1;
	G_CHECK_EQ(touch(n - 1), NO_FAULT);
	G_CHECK(g_spin_until(&nr_ready, (uint32_t)n, LIMIT));
	G_CHECK_EQ(nr_absent, n - 1);
}

/* With its interrupts off it can only wait. */
static void deaf_guest(uint64_t en)
{
	start(en);
	g_cli();
	phase = 1;
	G_CHECK_EQ(value_of(0), VALUE);
	G_CHECK_EQ(nr_absent, 0);
	G_CHECK_EQ(g_cpu()->irqs[V_HELLO], 0);
	g_sti();
	G_CHECK(g_wait_for(&g_cpu()->irqs[V_HELLO], 1, LIMIT));
}

static void user_guest(uint64_t arg)
{
	(void)arg;
	start(EN_ON | EN_INT);
	G_CHECK_EQ(g_user(touch, 0), 14);
	G_CHECK_EQ(nr_absent, 1);
	g_sync(1);
	G_CHECK(g_spin_until(&nr_ready, 2, LIMIT));
	G_CHECK_EQ(ready[1], absent[0]);
	G_CHECK_EQ(g_user(touch, 0), NO_FAULT);
}

static void off_guest(uint64_t arg)
{
	(void)arg;
	start(EN_ON | EN_ALWAYS | EN_INT);
	G_CHECK_EQ(touch(0), 14);
	g_wrmsr(MSR_EN, 0);
	g_sync(1); /* gives it */
	for (unsigned int i = 0; i < 20000; i++)
		g_pause();
	G_CHECK_EQ(nr_ready, 1);
	G_CHECK_EQ(value_of(0), VALUE);
}

/* As after a migration: what it waits for may have come in another place. */
static void moved_guest(uint64_t arg)
{
	(void)arg;
	start(EN_ON | EN_ALWAYS | EN_INT);
	g_sync(1); /* writes the MSRs */
	G_CHECK(g_spin_until(&nr_ready, 2, LIMIT));
	G_CHECK_EQ(ready[1], TOKEN_ALL);
	G_CHECK_EQ(g_rdmsr(MSR_EN), (uintptr_t)&area | EN_ON | EN_INT);
	G_CHECK_EQ(g_rdmsr(MSR_INT), V_READY);
}

static void left_guest(uint64_t n)
{
	start(EN_ON | EN_ALWAYS | EN_INT);
	for (uint64_t i = 0; i < n; i++)
		G_CHECK_EQ(touch(i), 14);
	g_sync(1);
}

static void msr_guest(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	G_CHECK_EQ(g_try_wrmsr(MSR_EN, (uintptr_t)&area | 0x10), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_EN, (uintptr_t)&area | 0x20), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_INT, 0x100), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_INT, 0x80), NO_FAULT);
	G_CHECK_EQ(g_rdmsr(MSR_INT), 0x80);
	/* No memory there; and not told by an interrupt, it is not on, and nobody looks. */
	G_CHECK_EQ(g_try_wrmsr(MSR_EN, 0xe0000000 | EN_ON | EN_INT), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_EN, 0xe0000000 | EN_ON), NO_FAULT);
	G_CHECK_EQ(g_rdmsr(MSR_EN), 0xe0000000 | EN_ON);
	G_CHECK_EQ(g_try_wrmsr(MSR_EN, 0), NO_FAULT);
	G_CHECK_EQ(g_try_rdmsr(MSR_ACK, &value), NO_FAULT);
	G_CHECK_EQ(value, 0);
	G_CHECK_EQ(g_try_wrmsr(MSR_ACK, 1), NO_FAULT);
}

static void none_guest(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	G_CHECK_EQ(g_try_wrmsr(MSR_EN, 0), 13);
	G_CHECK_EQ(g_try_rdmsr(MSR_EN, &value), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_INT, 0x80), 13);
	G_CHECK_EQ(g_try_wrmsr(MSR_ACK, 1), 13);
}

/* --- the host --- */

struct held {
	int fd;
	uint8_t *p;
	struct vcpu *v;
};

/* A guest in whose memory at GPA no page is there until it is given. */
static struct held held_guest(void (*fn)(uint64_t), uint64_t arg)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct held h = { .p = host_pages(PAGES * PAGE) };
	struct uffdio_register reg = { .range = { (uintptr_t)h.p, PAGES * PAGE },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };

	h.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (h.fd < 0)
		test_skip("no userfaultfd: %s", strerror(errno));
	CHECK_OK(ioctl(h.fd, UFFDIO_API, &api));
	CHECK_OK(ioctl(h.fd, UFFDIO_REGISTER, &reg));
	h.v = vm_with_guest(VM_IRQCHIP, fn, arg);
	vm_slot(h.v->vm, SLOT_FREE, 0, GPA, PAGES * PAGE, h.p);
	return h;
}

/* Waits until somebody needs a page of @h; which. */
static unsigned int needed(const struct held *h)
{
	struct pollfd pfd = { .fd = h->fd, .events = POLLIN };
	struct uffd_msg msg;

	for (unsigned int i = 0; i < 1000; i++) {
		if (poll(&pfd, 1, 10) == 1 && read(h->fd, &msg, sizeof(msg)) == sizeof(msg))
			return (unsigned int)((msg.arg.pagefault.address - (uintptr_t)h->p) / PAGE);
	}
	test_fail(__FILE__, __LINE__, "nobody needs a page");
	test_end();
}

static void give(const struct held *h, unsigned int page)
{
	static uint64_t data[512];
	struct uffdio_copy copy = { .dst = (uintptr_t)h->p + page * PAGE,
				    .src = (uintptr_t)data,
				    .len = PAGE };

	data[0] = VALUE + page;
	CHECK_OK(ioctl(h->fd, UFFDIO_COPY, &copy));
}

static void await_phase(uint32_t n)
{
	for (unsigned int i = 0; i < 10000 && phase != n; i++)
		usleep(1000);
	REQUIRE(phase == n, "the guest does not come to phase %u", n);
}

static void hello(struct vcpu *v)
{
	struct kvm_msi m = { .address_lo = 0xfee00000, .data = V_HELLO };

	CHECK(ioctl(v->vm->fd, KVM_SIGNAL_MSI, &m) > 0, "an interrupt is lost");
}

TEST(capability)
{
	CHECK_EQ(dev_cap(KVM_CAP_ASYNC_PF), 1);
	CHECK_EQ(dev_cap(KVM_CAP_ASYNC_PF_INT), 1);
	CHECK_EQ(dev_cpuid_reg(0x40000001, 0, 'a') >> 4 & 1, 1);
	CHECK_EQ(dev_cpuid_reg(0x40000001, 0, 'a') >> 14 & 1, 1);
}

TEST(other_task)
{
	struct held h = held_guest(one_guest, 0);

	CHECK_EQ(vcpu_run_sync(h.v), 1);
	CHECK_EQ(needed(&h), 0);
	give(&h, 0);
	vcpu_start(h.v);
	await_phase(1);
	CHECK_EQ(needed(&h), 1);
	usleep(20000);
	give(&h, 1);
	vcpu_join(h.v);
}

TEST(many)
{
	const unsigned int n = 20;
	struct held h = held_guest(many_guest, n);

	CHECK_EQ(vcpu_run_sync(h.v), 1);
	for (unsigned int i = 0; i < n; i++)
		needed(&h);
	for (unsigned int i = n; i--;)
		give(&h, i);
	vcpu_run(h.v);
}

TEST(too_many)
{
	const unsigned int n = 65;
	struct held h = held_guest(flood_guest, n);

	vcpu_start(h.v);
	for (unsigned int i = 0; i < n; i++)
		needed(&h);
	CHECK_EQ(phase, 1);
	for (unsigned int i = 0; i < n; i++)
		give(&h, i);
	vcpu_join(h.v);
}

static void halted(uint64_t en)
{
	struct held h = held_guest(halted_guest, en);

	vcpu_start(h.v);
	await_phase(1);
	CHECK_EQ(needed(&h), 0);
	for (unsigned int i = 1; i <= 3; i++) {
		hello(h.v);
		for (unsigned int t = 0; t < 3000 && guest_cpus[0].irqs[V_HELLO] < i; t++)
			usleep(1000);
		CHECK_EQ(guest_cpus[0].irqs[V_HELLO], i);
	}
	give(&h, 0);
	vcpu_join(h.v);
}

TEST(halted_without)
{
	halted(0);
}

TEST(halted_in_ring_0)
{
	halted(EN_ON | EN_INT);
}

TEST(interrupts_off)
{
	struct held h = held_guest(deaf_guest, EN_ON | EN_ALWAYS | EN_INT);

	vcpu_start(h.v);
	await_phase(1);
	CHECK_EQ(needed(&h), 0);
	hello(h.v);
	usleep(20000);
	CHECK_EQ(guest_cpus[0].irqs[V_HELLO], 0);
	give(&h, 0);
	vcpu_join(h.v);
}

TEST(ring_3)
{
	struct held h = held_guest(user_guest, 0);

	CHECK_EQ(vcpu_run_sync(h.v), 1);
	CHECK_EQ(needed(&h), 0);
	give(&h, 0);
	vcpu_run(h.v);
}

TEST(switched_off)
{
	struct held h;

	if (dev_is_kvm())
		test_skip("in-tree KVM waits for the page");
	h = held_guest(off_guest, 0);
	CHECK_EQ(vcpu_run_sync(h.v), 1);
	give(&h, 0);
	vcpu_run(h.v);
}

TEST(migrated)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, moved_guest, 0);

	CHECK_EQ(vcpu_run_sync(v), 1);
	CHECK_EQ(vcpu_set_msr(v, MSR_EN, (uintptr_t)&area | EN_ON | EN_INT), 1);
	CHECK_EQ(vcpu_set_msr(v, MSR_INT, V_READY), 1);
	vcpu_run(v);
}

/* --- the end comes first --- */

static long module_users(void)
{
	char line[32] = "";
	FILE *f = fopen("/sys/module/mezz/refcnt", "r");

	if (!f)
		return -1;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	return atol(line);
}

/* Whatever fetches a page uses the module. */
static void await_module(long before)
{
	for (unsigned int t = 0; t < 5000 && module_users() > before; t++)
		usleep(1000);
	CHECK(module_users() <= before, "somebody still fetches a page");
}

/* The VM is closed with pages under way; these come later, and what waited is gone. */
TEST(closed)
{
	const unsigned int n = 10;
	long before = module_users();
	struct held h;

	if (dev_is_kvm())
		test_skip("in-tree KVM waits for the pages");
	h = held_guest(left_guest, n);
	CHECK_EQ(vcpu_run_sync(h.v), 1);
	for (unsigned int i = 0; i < n; i++)
		needed(&h);
	vm_slot(h.v->vm, SLOT_FREE, 0, GPA, 0, h.p);
	vm_free(h.v->vm);
	CHECK(module_users() > before, "nobody fetches the pages");
	for (unsigned int i = 0; i < n; i++)
		give(&h, i);
	await_module(before);
}

/* The process ends, and with it VM and userfaultfd, in the order that the kernel likes. */
TEST(process_ends)
{
	const unsigned int n = 10;
	long before = module_users();
	int status = -1;
	pid_t child;

	if (dev_is_kvm())
		test_skip("in-tree KVM waits for the pages");
	child = fork();
	if (!child) {
		struct held h = held_guest(left_guest, n);

		CHECK_EQ(vcpu_run_sync(h.v), 1);
		for (unsigned int i = 0; i < n; i++)
			needed(&h);
		_exit(nr_absent == n ? 0 : 1);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	await_module(before);
}

/* --- the ABI --- */

TEST(msrs)
{
	struct {
		struct kvm_msr_list head;
		uint32_t index[1024];
	} list = { .head.nmsrs = 1024 };
	const uint32_t msrs[] = { MSR_EN, MSR_INT, MSR_ACK };
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, msr_guest, 0);
	int dev = dev_open();

	CHECK_OK(ioctl(dev, KVM_GET_MSR_INDEX_LIST, &list));
	for (unsigned int i = 0; i < 3; i++) {
		bool found = false;

		for (unsigned int k = 0; k < list.head.nmsrs; k++)
			found |= list.head.indices[k] == msrs[i];
		CHECK(found, "MSR %#x is not listed", msrs[i]);
	}
	close(dev);
	CHECK_EQ(vcpu_set_msr(v, MSR_INT, V_READY), 1);
	CHECK_EQ(vcpu_get_msr(v, MSR_INT), V_READY);
	CHECK_EQ(vcpu_set_msr(v, MSR_EN, (uintptr_t)&area | EN_ON | EN_INT), 1);
	CHECK_EQ(vcpu_get_msr(v, MSR_EN), (uintptr_t)&area | EN_ON | EN_INT);
	CHECK_EQ(vcpu_set_msr(v, MSR_EN, 0x10), 0);
	CHECK_EQ(vcpu_set_msr(v, MSR_EN, 0), 1);
	vcpu_run(v);
	/* Nobody would be interrupted: only 0 */
	v = vm_with_guest(0, none_guest, 0);
	CHECK_EQ(vcpu_set_msr(v, MSR_EN, 0), 1);
	CHECK_EQ(vcpu_set_msr(v, MSR_EN, (uintptr_t)&area | EN_ON | EN_INT), 0);
	CHECK_EQ(vcpu_set_msr(v, MSR_INT, V_READY), 0);
}

TEST(enforced)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, none_guest, 0);
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = { 1 } };
	struct kvm_cpuid2 *c = cpuid_copy();

	cpuid_find(c, 0x40000001, 0)->eax &= ~(1u << 4 | 1u << 14);
	vcpu_set_cpuid(v, c);
	vcpu_ioctl(v, KVM_ENABLE_CAP, &cap);
	vcpu_run(v);
}
