// SPDX-License-Identifier: GPL-2.0-only
/*
 * One guest CPU: its registers at power-on, its run loop, and what is said when
 * the driver cannot go on.
 *
 * Left to others: CPUID (cpuid.c), the registers at kernel entry (boot.c), the
 * devices behind ports and MMIO (bus.h).
 * Known hacks: none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine.h"

#define MSR_IA32_MISC_ENABLE		 0x1a0
#define MSR_IA32_MISC_ENABLE_FAST_STRING 1
#define MSR_MTRR_DEF_TYPE		 0x2ff
#define MTRR_ENABLE			 (1 << 11)
#define MTRR_WRITE_BACK			 6

#define APIC_LVT_LINT0			 0x350
#define APIC_LVT_LINT1			 0x360
#define APIC_MODE_EXTINT		 (7 << 8)
#define APIC_MODE_NMI			 (4 << 8)
#define APIC_LVT_MASKED			 (1 << 16)

/*
 * What firmware leaves behind: fast string instructions on, and all memory
 * write-back, without which Linux does not use PAT. A driver without one of
 * them is no reason to stop.
 */
static void set_msrs(struct vcpu *vcpu)
{
	static const struct kvm_msr_entry entries[] = {
		{ .index = MSR_IA32_MISC_ENABLE, .data = MSR_IA32_MISC_ENABLE_FAST_STRING },
		{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_WRITE_BACK },
	};
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs;

	for (unsigned int i = 0; i < ARRAY_SIZE(entries); i++) {
		memset(&msrs, 0, sizeof(msrs));
		msrs.head.nmsrs = 1;
		msrs.entry = entries[i];
		if (ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) != 1 && vcpu->id == 0)
			msg("the driver does not take MSR 0x%x: going on without",
			    entries[i].index);
	}
}

/*
 * Virtual wire mode: the 8259 pair reaches the boot CPU through LINT0, NMI
 * reaches all of them through LINT1 (MultiProcessor Specification, "Virtual Wire
 * Mode").
 */
static void set_lapic(struct vcpu *vcpu)
{
	struct kvm_lapic_state lapic;
	uint32_t lint0 = vcpu->id ? APIC_LVT_MASKED : APIC_MODE_EXTINT;
	uint32_t lint1 = APIC_MODE_NMI;

	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic) < 0)
		die("KVM_GET_LAPIC: %s", strerror(errno));
	memcpy(lapic.regs + APIC_LVT_LINT0, &lint0, sizeof(lint0));
	memcpy(lapic.regs + APIC_LVT_LINT1, &lint1, sizeof(lint1));
	if (ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic) < 0)
		die("KVM_SET_LAPIC: %s", strerror(errno));
}

void vcpu_create(struct machine *m, unsigned int id)
{
	struct vcpu *vcpu = &m->vcpus[id];

	vcpu->m = m;
	vcpu->id = id;
	vcpu->fd = ioctl(m->vm_fd, KVM_CREATE_VCPU, id);
	if (vcpu->fd < 0)
		die("KVM_CREATE_VCPU %u: %s; give fewer --cpus (`mezz info` prints the limit)", id,
		    strerror(errno));
	vcpu->run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die("cannot map vCPU %u: %s", id, strerror(errno));
	cpuid_set(vcpu);
	set_msrs(vcpu);
	set_lapic(vcpu);
}

void vcpu_destroy(struct vcpu *vcpu)
{
	munmap(vcpu->run, vcpu->m->run_size);
	close(vcpu->fd);
}

static void print_segment(const char *name, const struct kvm_segment *s)
{
	msg_plain("  %s %04x base %016llx limit %08x type %x s %u dpl %u p %u db %u l %u g %u",
		  name, s->selector, (unsigned long long)s->base, s->limit, s->type, s->s, s->dpl,
		  s->present, s->db, s->l, s->g);
}

/* Registers, as far as the driver gives them. Own thread of the vCPU only. */
static void print_state(struct vcpu *vcpu)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (!ioctl(vcpu->fd, KVM_GET_REGS, &r)) {
		msg_plain("  rip %016llx rflags %08llx rsp %016llx rbp %016llx", r.rip, r.rflags,
			  r.rsp, r.rbp);
		msg_plain("  rax %016llx rbx %016llx rcx %016llx rdx %016llx", r.rax, r.rbx, r.rcx,
			  r.rdx);
		msg_plain("  rsi %016llx rdi %016llx r8  %016llx r9  %016llx", r.rsi, r.rdi, r.r8,
			  r.r9);
		msg_plain("  r10 %016llx r11 %016llx r12 %016llx r13 %016llx", r.r10, r.r11, r.r12,
			  r.r13);
		msg_plain("  r14 %016llx r15 %016llx", r.r14, r.r15);
	}
	if (!ioctl(vcpu->fd, KVM_GET_SREGS, &s)) {
		print_segment("cs", &s.cs);
		print_segment("ss", &s.ss);
		print_segment("ds", &s.ds);
		print_segment("tr", &s.tr);
		msg_plain("  gdt base %016llx limit %04x idt base %016llx limit %04x", s.gdt.base,
			  s.gdt.limit, s.idt.base, s.idt.limit);
		msg_plain("  cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %08llx apic base "
			  "%08llx",
			  s.cr0, s.cr2, s.cr3, s.cr4, s.efer, s.apic_base);
	}
}

/* The bytes at RIP, through the guest's own page tables where the driver walks them. */
static void print_code(struct vcpu *vcpu)
{
	struct kvm_translation tr;
	struct kvm_regs r;
	struct kvm_sregs s;
	char text[16 * 3 + 1] = "";
	uint8_t *code;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &r) || ioctl(vcpu->fd, KVM_GET_SREGS, &s))
		return;
	memset(&tr, 0, sizeof(tr));
	tr.linear_address = s.cs.l ? r.rip : s.cs.base + r.rip;
	if (ioctl(vcpu->fd, KVM_TRANSLATE, &tr) || !tr.valid)
		return;
	code = guest_ptr(vcpu->m, tr.physical_address, 16);
	if (!code)
		return;
	for (unsigned int i = 0; i < 16; i++)
		snprintf(text + 3 * i, 4, " %02x", code[i]);
	msg_plain("  code at rip (gpa %llx):%s", (unsigned long long)tr.physical_address, text);
}

static const char *suberror_name(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "emulation failed";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "two exceptions at once";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "exit while delivering an event";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "exit reason that nobody expects";
	default:
		return "unknown suberror";
	}
}

static void print_internal_error(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	uint32_t ndata = MIN(run->internal.ndata, (uint32_t)ARRAY_SIZE(run->internal.data));

	msg("vCPU %u: the driver gave up: internal error %u, %s", vcpu->id, run->internal.suberror,
	    suberror_name(run->internal.suberror));
	for (uint32_t i = 0; i < ndata; i++)
		msg_plain("  data[%u] %016llx", i, (unsigned long long)run->internal.data[i]);
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && ndata >= 1 &&
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)) {
		unsigned int n = MIN(run->emulation_failure.insn_size,
				     (unsigned int)sizeof(run->emulation_failure.insn_bytes));
		char text[15 * 3 + 1] = "";

		for (unsigned int i = 0; i < n; i++)
			snprintf(text + 3 * i, 4, " %02x", run->emulation_failure.insn_bytes[i]);
		msg_plain("  instruction bytes:%s", text);
	}
}

/* An exit after which the guest cannot go on: say all that is known. */
static void fatal_exit(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		print_internal_error(vcpu);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		msg("vCPU %u: the CPU refused to enter the guest: hardware reason 0x%llx, host CPU "
		    "%u",
		    vcpu->id, (unsigned long long)run->fail_entry.hardware_entry_failure_reason,
		    run->fail_entry.cpu);
		break;
	case KVM_EXIT_UNKNOWN:
		msg("vCPU %u: exit unknown to the driver: hardware reason 0x%llx", vcpu->id,
		    (unsigned long long)run->hw.hardware_exit_reason);
		break;
	default:
		msg("vCPU %u: exit reason %u is not one this program handles", vcpu->id,
		    run->exit_reason);
		break;
	}
	print_state(vcpu);
	print_code(vcpu);
	machine_stop(vcpu->m, OUTCOME_DRIVER);
}

static void handle_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		bus_access(&vcpu->m->pio, run->io.port, data, run->io.size,
			   run->io.direction == KVM_EXIT_IO_OUT);
}

static void handle_shutdown(struct vcpu *vcpu)
{
	if (vcpu->m->cfg->triple_fault_resets) {
		machine_stop(vcpu->m, OUTCOME_REBOOT);
		return;
	}
	msg("vCPU %u: triple fault (--triple-fault=reset makes it a reset)", vcpu->id);
	print_state(vcpu);
	machine_stop(vcpu->m, OUTCOME_CRASH);
}

static void handle_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		machine_stop(vcpu->m, OUTCOME_POWEROFF);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		machine_stop(vcpu->m, OUTCOME_REBOOT);
		break;
	case KVM_SYSTEM_EVENT_CRASH:
		msg("vCPU %u: the guest reports that it has crashed", vcpu->id);
		machine_stop(vcpu->m, OUTCOME_CRASH);
		break;
	default:
		fatal_exit(vcpu);
		break;
	}
}

static void handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint32_t slot = MIN(run->exit_reason, (uint32_t)ARRAY_SIZE(vcpu->exits) - 1);

	vcpu->exits[slot]++;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		bus_access(&vcpu->m->mmio, run->mmio.phys_addr, run->mmio.data,
			   MIN(run->mmio.len, (uint32_t)sizeof(run->mmio.data)),
			   run->mmio.is_write);
		break;
	case KVM_EXIT_SHUTDOWN:
		handle_shutdown(vcpu);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		handle_system_event(vcpu);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	default:
		fatal_exit(vcpu);
		break;
	}
}

void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	(void)pthread_setname_np(pthread_self(), name);
	while (!machine_stopping(vcpu->m)) {
		if (!ioctl(vcpu->fd, KVM_RUN, 0)) {
			handle_exit(vcpu);
			continue;
		}
		if (errno == EINTR || errno == EAGAIN) {
			vcpu->interrupted++;
			continue;
		}
		msg("vCPU %u: KVM_RUN: %s%s", vcpu->id, strerror(errno),
		    errno == ENOMEM ? "; the host is out of memory" : "");
		print_state(vcpu);
		machine_stop(vcpu->m, OUTCOME_HOST);
	}
	atomic_store(&vcpu->done, true);
	return NULL;
}
