/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupt controllers and the buses they hang on: what the rest may call.
 *
 * All device state is guarded by spinlocks taken with IRQs off, so every
 * function here may be called in any context but NMI unless it says [P]
 * (process context, may sleep). That makes device accesses possible inside a
 * section, without leaving the inner loop.
 *
 * Lock order: ioapic/pic lock, then nothing of another device; the LAPIC is
 * lock-free for senders (IRR bits are atomic, then MEZZ_REQ_EVENT and a kick).
 */
#ifndef MEZZ_IRQ_H
#define MEZZ_IRQ_H

#include <linux/types.h>
#include <linux/kvm.h>

struct mezz_vm;
struct mezz_vcpu;

int mezz_irq_setup(void);		/* [P] module-wide; 0 or -ENOMEM */
void mezz_irq_teardown(void);
/* [P] VM life cycle: the buses and the empty routing table always exist. */
int mezz_irq_vm_init(struct mezz_vm *vm);
/* [P] Before vCPUs are freed: irqfds, ioeventfds and timers are gone after it. */
void mezz_irq_vm_stop(struct mezz_vm *vm);
/* [P] Frees the rest, after the vCPUs. */
void mezz_irq_vm_destroy(struct mezz_vm *vm);

/* Does the VM have in-kernel PIC + IOAPIC + LAPIC / only LAPICs (split)? */
bool mezz_irqchip_full(struct mezz_vm *vm);
bool mezz_irqchip_split(struct mezz_vm *vm);
static inline bool mezz_irqchip_any(struct mezz_vm *vm)
{
	return mezz_irqchip_full(vm) || mezz_irqchip_split(vm);
}

/*
 * VM ioctls: CREATE_IRQCHIP, GET/SET_IRQCHIP, IRQ_LINE(_STATUS), CREATE_PIT,
 * CREATE_PIT2, GET/SET_PIT(2), REINJECT_CONTROL, SET_GSI_ROUTING, IRQFD,
 * IOEVENTFD, SIGNAL_MSI, (UN)REGISTER_COALESCED_MMIO.
 * Return: -ENOIOCTLCMD when @cmd is none of them. [P]
 */
long mezz_irq_vm_ioctl(struct mezz_vm *vm, unsigned int cmd, unsigned long arg);
/* vCPU ioctls: GET/SET_LAPIC, SET_VAPIC_ADDR, TPR_ACCESS_REPORTING. [P] */
long mezz_irq_vcpu_ioctl(struct mezz_vcpu *v, unsigned int cmd, unsigned long arg);
/* KVM_CHECK_EXTENSION of this folder; -1: not mine. */
long mezz_irq_cap(struct mezz_vm *vm, unsigned long cap);

/* --- buses; SRCU read side held --- */
/**
 * mezz_mmio_write() - offer an MMIO write to LAPIC, IOAPIC, ioeventfds, rings
 * @v: the vCPU
 * @gpa: guest physical address
 * @len: 1..8 bytes (any for ioeventfd without datamatch)
 * @data: @len bytes
 * Return: true if taken; false: KVM_EXIT_MMIO
 */
bool mezz_mmio_write(struct mezz_vcpu *v, u64 gpa, unsigned int len, const void *data);
bool mezz_mmio_read(struct mezz_vcpu *v, u64 gpa, unsigned int len, void *data);
bool mezz_pio_write(struct mezz_vcpu *v, u16 port, unsigned int len, const void *data);
/* May something on the bus take a write to @port, depending on its data? */
bool mezz_pio_watched(struct mezz_vcpu *v, u16 port);
bool mezz_pio_read(struct mezz_vcpu *v, u16 port, unsigned int len, void *data);

/* --- interrupts for a vCPU; called by event.c on the vCPU's own thread --- */
/* Highest vector that could be delivered now (ExtINT of the PIC included), or -1. */
int mezz_irq_pending(struct mezz_vcpu *v);
/* Acknowledge and return it: IRR to ISR, or the PIC's INTA cycle; -1 if gone. */
int mezz_irq_ack(struct mezz_vcpu *v);
/**
 * mezz_lapic_load() - before an entry: does the hardware act for the LAPIC?
 * @v: the vCPU, with v->vapic and MEZZ_REQ_EVENT taken
 * Then it has all that is pending, and mezz_irq_pending() means the PIC only.
 * Context: [A]; outside a section the registers are taken back.
 */
bool mezz_lapic_load(struct mezz_vcpu *v);
/* Does it take what a PIC in user space has? Also where there is none in the kernel. [S] */
bool mezz_lapic_takes_pic(struct mezz_vcpu *v);
/* Does that hardware have an interrupt which PPR lets through? After mezz_irq_pending(). */
bool mezz_lapic_wakes(struct mezz_vcpu *v);
/* It exited: after an EOI of @vector; for a self-IPI with a vector below 16. [A] */
void mezz_lapic_eoi_exit(struct mezz_vcpu *v, u8 vector);
void mezz_lapic_illegal_ipi(struct mezz_vcpu *v);
/* After mezz_irq_ack: highest IRR vector that TPR masks, or -1 (update_cr8). */
int mezz_lapic_masked_irr(struct mezz_vcpu *v);

/* --- LAPIC --- */
int mezz_lapic_create(struct mezz_vcpu *v);		/* [P] */
void mezz_lapic_destroy(struct mezz_vcpu *v);		/* [P] */
void mezz_lapic_reset(struct mezz_vcpu *v, bool init);
/* IA32_APIC_BASE: 0 or 1 (#GP); keeps v->apic_base and CPUID in step. */
int mezz_lapic_set_base(struct mezz_vcpu *v, u64 base, bool host);
/* x2APIC MSRs 0x800-0x8ff and IA32_TSC_DEADLINE: 0 or 1 (#GP). */
int mezz_lapic_rdmsr(struct mezz_vcpu *v, u32 msr, u64 *data);
int mezz_lapic_wrmsr(struct mezz_vcpu *v, u32 msr, u64 data);
u64 mezz_lapic_get_tscdeadline(struct mezz_vcpu *v);
void mezz_lapic_set_tscdeadline(struct mezz_vcpu *v, u64 tsc);
/* CR8 is the upper four bits of TPR. */
void mezz_lapic_set_cr8(struct mezz_vcpu *v, unsigned int cr8);
unsigned int mezz_lapic_get_cr8(struct mezz_vcpu *v);
void mezz_lapic_eoi(struct mezz_vcpu *v);
/* Has the LAPIC an LVT entry for the machine-check banks, and its interrupt. */
void mezz_lapic_set_cmci(struct mezz_vcpu *v, bool has);
void mezz_lapic_cmci(struct mezz_vcpu *v);
/*
 * Take back the offer to signal an EOI in memory, or take the EOI if it was: before
 * the word moves or goes away.
 */
void mezz_lapic_withdraw_pv_eoi(struct mezz_vcpu *v);
/* Does it take fixed interrupts: is it on, by IA32_APIC_BASE and by SVR? */
bool mezz_lapic_enabled(struct mezz_vcpu *v);
/* An edge-triggered interrupt from the module itself; its own thread, mutex held. */
void mezz_lapic_self_irq(struct mezz_vcpu *v, u8 vector);
/* The guest's TSC offset or ratio changed: re-arm the deadline timer. */
void mezz_lapic_tsc_changed(struct mezz_vcpu *v);
/* The engine's timer (set_timer) ran out. [A] */
void mezz_lapic_timer_expired(struct mezz_vcpu *v);
/* The vCPU is about to sleep: an hrtimer has to wake it. [P] */
void mezz_lapic_timer_sleeps(struct mezz_vcpu *v);
/* Pending INIT/SIPI: called outside the section; may change v->mp. */
void mezz_lapic_accept_events(struct mezz_vcpu *v);
bool mezz_lapic_init_sipi_pending(struct mezz_vcpu *v);
/* The vector of the last SIPI, for the state ioctls; and as if it came again now. */
u8 mezz_lapic_get_sipi(struct mezz_vcpu *v);
void mezz_lapic_set_sipi(struct mezz_vcpu *v, u8 vector);
void mezz_lapic_raise_sipi(struct mezz_vcpu *v);
/* KVM_HC_SEND_IPI: two 64-bit halves of an ID bitmap from @min; count delivered. */
long mezz_pv_send_ipi(struct mezz_vm *vm, u64 low, u64 high, u32 min, u32 icr, bool is64);
/* KVM_HC_KICK_CPU */
void mezz_pv_kick(struct mezz_vm *vm, u32 apic_id);
/* vCPU with this APIC ID, or NULL. */
struct mezz_vcpu *mezz_vcpu_by_apic_id(struct mezz_vm *vm, u32 id);

/*
 * Set @gsi's line as @source (enum mezz_irq_source) drives it. Any context but NMI.
 * Return: < 0: ignored, 0: still pending (coalesced), > 0: how many took it
 */
int mezz_set_gsi(struct mezz_vm *vm, unsigned int source, u32 gsi, int level);

/* The VM's descriptor was closed: irqfds go now, vCPU descriptors may live on. [P] */
void mezz_irq_vm_release(struct mezz_vm *vm);
/* vm->vcpus[] now holds this vCPU: put it into the APIC-ID map. vm->lock held. [P] */
void mezz_lapic_published(struct mezz_vcpu *v);
/* Page 2 of every vCPU mapping, the coalesced ring; NULL: no memory for it. [P] */
struct page *mezz_coalesced_page(struct mezz_vm *vm);
/* KVM_CAP_SPLIT_IRQCHIP with @pins IOAPIC pins; vm->lock held. 0 or an errno. [P] */
int mezz_irq_enable_split(struct mezz_vm *vm, u64 pins);
/* KVM_CAP_X2APIC_API with KVM_X2APIC_API_* @flags, at any time. 0 or -EINVAL. [P] */
int mezz_irq_enable_x2apic_api(struct mezz_vm *vm, u64 flags);

#endif
