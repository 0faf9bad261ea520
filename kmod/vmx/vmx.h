/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Intel VMX: the engine's own structures and what its files offer each other.
 *
 * Files, in reading order: vmcs.h (the control structure), caps.c (can this
 * machine do it, switching CPUs on), check/ (the rules of an entry), vmcs.c (life
 * of a control structure, which CPU has it, what exits), run.c (one world switch;
 * enter.S beside it), state.c (registers, segments, debug registers), exits.c (exit
 * table), events.c (injection, windows), msr.c (MSRs), apic.c (an APIC in hardware),
 * log.c (dirty logging).
 *
 * Where a control structure is: it stays current on the CPU that used it last,
 * and moves when its vCPU runs, or is looked at, on another one. Reading and
 * writing fields therefore has two forms: vmread() and vmwrite() inside a
 * section, vmx_read() and vmx_write() in any [S] context.
 */
#ifndef MEZZ_VMX_H
#define MEZZ_VMX_H

#include <linux/build_bug.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/stddef.h>
#include <asm/io.h>
#include <asm/processor-flags.h>
#include "../cpu/lazy.h"
#include "../cpu/msr_map.h"
#include "../host/segments.h"
#include "../vcpu.h"
#include "check/check.h"
#include "vmcs.h"

/* Offset in the virtual-APIC page; the class is in bits 7-4. */
#define VAPIC_TPR		0x80
/* CR0 bits that concern nobody but the guest. */
#define CR0_OWNED	((u64)(X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_WP | X86_CR0_AM))
/* The preemption timer ends an entry after so much time without an exit. */
#define VMX_SLICE_MS		2

/**
 * struct vmx_features - what the CPUs have; constant after probe
 * @caps: their capability MSRs
 * @revision: of the control structure
 * @pin: pin-based controls
 * @exec: primary processor-based controls, before what depends on the vCPU
 * @exec2: secondary ones
 * @exit: exit controls
 * @entry: entry controls, without IA-32e mode
 * @cr0_fixed: CR0 bits that are always 1 in hardware
 * @cr4_fixed: CR4 bits that are always 1 in hardware
 * @eptp: bits of the EPT pointer beside the address
 * @limited: no unrestricted guest: limited.c
 * @timer: what the preemption timer counts down from: VMX_SLICE_MS of guest time
 * @timer_shift: it counts once in 2^n ticks of the TSC
 * @invept_type: the narrowest type of INVEPT
 * @invvpid_type: the narrowest type of INVVPID that drops all of a VPID
 */
struct vmx_features {
	struct vmx_caps caps;
	u32 revision;
	u32 pin, exec, exec2, exit, entry;
	u64 cr0_fixed, cr4_fixed;
	u64 eptp;
	u32 timer;
	bool limited;
	u8 invept_type, invvpid_type, timer_shift;
	bool l1d_flush;		/* the host wants L1D flushed before entries (L1TF) */
};

extern struct vmx_features vmx_has;

/* MSRs that SYSCALL uses, switched for guests in long mode. */
enum { VMX_STAR, VMX_LSTAR, VMX_SFMASK, VMX_NR_SYSCALL };

struct vmx_vcpu;

/**
 * struct vmx_cpu - one host CPU; touched with IRQs off, on that CPU
 * @region: what VMXON wants
 * @vmcss: control structures that this CPU may hold (vmx_vcpu.link)
 * @current_vmcs: whose VMPTRLD was the last, or NULL
 * @tables: the host's
 * @gs_base: per-CPU area
 * @sysenter_esp: the host's
 * @syscall: the host's MSRs
 * @on: switched on by us
 */
struct vmx_cpu {
	struct page *region;
	struct list_head vmcss;
	struct vmx_vcpu *current_vmcs;
	struct mezz_host_tables tables;
	u64 gs_base;
	u64 sysenter_esp;
	u64 syscall[VMX_NR_SYSCALL];
	bool on;
};

DECLARE_PER_CPU(struct vmx_cpu, vmx_cpu);

/* vmx_vcpu.have: fields that were read since the last exit */
#define VMX_HAVE_INTR_STATE	BIT(0)
#define VMX_HAVE_CS_AR		BIT(1)
#define VMX_HAVE_SS_AR		BIT(2)

/* vmx_vcpu.pre: what vmx_enter() has to look after before it enters */
#define VMX_PRE_SHADOW		BIT(0)	/* a shadow was set by software */
#define VMX_PRE_STEP		BIT(1)	/* single-step for the debugger */
#define VMX_PRE_L1D		BIT(2)	/* host code ran: flush the L1 data cache */
#define VMX_PRE_TPR		BIT(3)	/* write the TPR threshold */

/**
 * struct vmx_vcpu - this engine's virtual CPU
 * @v: the core's part, must be first (enter.S counts on r[] at offset 0)
 * @host_rsp: what the control structure has; enter.S keeps it
 * @host_cr3: so
 * @host_cr4: so
 * @launched: VMRESUME, not VMLAUNCH
 * @injected: an event waits in the control structure
 * @pre: VMX_PRE_*
 * @have: VMX_HAVE_*
 * @software: the last answer of vmx_runnable() was no
 * @flat: the guest has no paging, and pages that map every address to itself
 * @flat_cr3: its CR3 then
 * @tpr: what the virtual-APIC page says, as we know it
 * @vapic: virtual-APIC page, used for its TPR or more (apic.c)
 * @apic: the hardware acts for the LAPIC
 * @logs: the CPU logs writes
 * @log: where to (log.c)
 * @vmcs: the control structure
 * @vmcs_pa: its physical address
 * @link: in vmx_cpu.vmcss of @cpu
 * @cpu: which CPU may hold the control structure, -1: none; set on that CPU
 *	with IRQs off
 *
 * Locking: as struct mezz_vcpu, which it extends: vCPU mutex.
 */
struct vmx_vcpu {
	struct mezz_vcpu v;
	unsigned long host_rsp;
	u64 host_cr3, host_cr4;
	bool launched;
	bool injected;
	bool software, flat;
	bool apic, logs;
	u8 pre;
	u8 have;
	u8 tpr;
	u32 intr_state, cs_ar, ss_ar;	/* see @have */
	u32 exec, entry;		/* controls that change */
	u32 exit_intr;			/* VMCS_EXIT_INTR of an exception's exit */
	u8 *vapic;
	/* --- not touched on every exit --- */
	struct vmx_region *vmcs;
	u64 vmcs_pa;
	struct list_head link;
	int cpu;
	u16 vpid;
	bool flush;			/* translations are stale: at the next load */
	bool syscall_live;		/* MSRs of @syscall are in the CPU */
	bool step_tf;			/* TF in the control structure is not the guest's */
	bool pdpte_ready;		/* pdpte[] is for the next entry */
	u32 tpr_threshold;
	u64 timer_tsc;			/* the guest ends when the host's TSC is there; 0: never */
	u64 eptp;
	u64 cr0_shadow, cr4_shadow, cr4_owned;
	u64 flat_cr3;
	u64 pdpte[4];
	u64 pat;
	u64 syscall[VMX_NR_SYSCALL];
	u64 cstar;			/* never used: SYSCALL is for 64-bit mode only */
	u64 kernel_gs_base;
	/* the host's, sampled when the section began */
	u64 host_kernel_gs_base, host_debugctl;
	struct mezz_host_segs host_segs;
	u64 *log;
	struct page *msr_bitmap;	/* own one, NULL: the shared one */
};

static_assert(offsetof(struct vmx_vcpu, v.r) == 0);

static inline struct vmx_vcpu *to_vmx(struct mezz_vcpu *v)
{
	return container_of(v, struct vmx_vcpu, v);
}

/* enter.S; described there. */
asmlinkage unsigned int vmx_switch(u64 *r, unsigned long *host_rsp, unsigned int launched);

/* check/controls.c */
extern struct mezz_pt_format vmx_pt_format;

/* vmcs.c */
/* Outside sections; IRQs on. */
u64 vmx_read_outside(struct vmx_vcpu *vmx, enum vmcs_field field);
void vmx_write_outside(struct vmx_vcpu *vmx, enum vmcs_field field, u64 val);

static inline u64 vmx_read(struct vmx_vcpu *vmx, enum vmcs_field field)
{
	return likely(vmx->v.atomic) ? vmread(field) : vmx_read_outside(vmx, field);
}

static inline void vmx_write(struct vmx_vcpu *vmx, enum vmcs_field field, u64 val)
{
	if (likely(vmx->v.atomic))
		vmwrite(field, val);
	else
		vmx_write_outside(vmx, field, val);
}

/* The rest of vmx_make_current(). */
void vmx_become_current(struct vmx_vcpu *vmx, struct vmx_cpu *cpu);
/* Make @vmx current on this CPU. IRQs off; they may be on for a moment. */
static inline void vmx_make_current(struct vmx_vcpu *vmx, struct vmx_cpu *cpu)
{
	if (unlikely(cpu->current_vmcs != vmx))
		vmx_become_current(vmx, cpu);
}

/* Write back all control structures this CPU holds. [A] */
void vmx_clear_all(struct vmx_cpu *cpu);
int vmx_vcpu_create(struct mezz_vcpu *v);
void vmx_vcpu_destroy(struct mezz_vcpu *v);
void vmx_vcpu_reset(struct mezz_vcpu *v, bool init);
void vmx_cpuid_changed(struct mezz_vcpu *v);
/* Recompute exception bitmap and the controls that depend on the vCPU. [S] */
void vmx_update_controls(struct vmx_vcpu *vmx);
/* Change bits of VMCS_EXEC. [S] */
void vmx_set_exec(struct vmx_vcpu *vmx, u32 bits, bool on);
void vmx_update_cr8(struct mezz_vcpu *v, unsigned int tpr, int irr);
void vmx_update_tsc(struct mezz_vcpu *v);
void vmx_set_root(struct mezz_vcpu *v, u64 root);
void vmx_flush_tlb(struct mezz_vcpu *v);
void vmx_flush_memory(struct mezz_vcpu *v);
void vmx_exit_info(struct mezz_vcpu *v, u64 *code, u64 *info1, u64 *info2);

/* check/controls.c */
extern bool vmx_use_ad, vmx_use_pml;	/* module parameters; then what is used */
extern bool vmx_nx_large;
void vmx_read_caps(struct vmx_caps *caps);
/* Control words into vmx_has. Return: NULL, or what is missing. */
const char *vmx_probe_controls(void);
/* The same for EPT: into vmx_has, vmx_pt_format and @host. */
const char *vmx_probe_ept(struct mezz_host *host);

/* check/dump.c */
void vmx_dump(struct mezz_vcpu *v);

/* apic.c */
void vmx_apic_mode(struct mezz_vcpu *v, bool on);
void vmx_apic_load(struct mezz_vcpu *v, u8 irr, u8 isr);
void vmx_apic_raise(struct mezz_vcpu *v, u8 irr);
void vmx_apic_eoi_exits(struct mezz_vcpu *v, const unsigned long *vectors);

/* limited.c */
int vmx_limited_setup(struct mezz_host *host);
void vmx_limited_teardown(void);
bool vmx_runnable(struct mezz_vcpu *v);
/* Paging went on or off: control registers to write again, as bits of dirty. [A] */
u32 vmx_flush_flat(struct vmx_vcpu *vmx);
/* What the control structure has for a guest without paging. */
u64 vmx_flat_cr3(struct vmx_vcpu *vmx, u64 cr3);
u64 vmx_flat_cr4(u64 cr4);

/* run.c */
void vmx_load(struct mezz_vcpu *v);
void vmx_unload(struct mezz_vcpu *v);
int vmx_enter(struct mezz_vcpu *v);
/* The guest's SYSCALL MSRs are needed in the CPU, or no more. [A] */
void vmx_load_syscall(struct vmx_vcpu *vmx);
void vmx_unload_syscall(struct vmx_vcpu *vmx);
bool vmx_set_timer(struct mezz_vcpu *v, u64 tsc);

/* log.c */
int vmx_log_writes(struct mezz_vcpu *v, bool on);
/* Tell the core of all that the CPU has logged. [A] */
void vmx_empty_log(struct vmx_vcpu *vmx);
int vmx_exit_log_full(struct mezz_vcpu *v);

/* state.c */
void vmx_fetch(struct mezz_vcpu *v, unsigned int what);
/*
 * Write registers that are dirty into the control structure. [A]
 * Return: false: page-directory pointers must be read where one may sleep, or the
 * guest has to go on in software.
 */
bool vmx_flush(struct vmx_vcpu *vmx);

/* It executes from now on, if it had halted without an exit. */
static inline void vmx_wake(struct vmx_vcpu *vmx)
{
	if (unlikely(vmx->v.vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT))
		vmx_write(vmx, VMCS_GUEST_ACTIVITY, 0);
}

void vmx_get_segment(struct mezz_vcpu *v, unsigned int seg, struct kvm_segment *s);
void vmx_set_segment(struct mezz_vcpu *v, unsigned int seg, const struct kvm_segment *s);
void vmx_get_dt(struct mezz_vcpu *v, bool idt, struct kvm_dtable *dt);
void vmx_set_dt(struct mezz_vcpu *v, bool idt, const struct kvm_dtable *dt);
unsigned int vmx_cpl(struct mezz_vcpu *v);
unsigned int vmx_cs_mode(struct mezz_vcpu *v);
unsigned int vmx_insn_len(struct mezz_vcpu *v);
unsigned int vmx_insn_bytes(struct mezz_vcpu *v, u8 *buf);
void vmx_update_debug(struct mezz_vcpu *v);
void vmx_own_dr(struct mezz_vcpu *v, bool own);
bool vmx_pae_paging(struct mezz_vcpu *v);
int vmx_read_pdptes(struct mezz_vcpu *v);
bool vmx_get_pdptes(struct mezz_vcpu *v, u64 *pdpte);
void vmx_set_pdptes(struct mezz_vcpu *v, const u64 *pdpte);

/* exits.c */
extern const struct mezz_exit vmx_exits[VMX_NR_REASONS];
extern const struct mezz_exit vmx_exit_nmi, vmx_exit_outside, vmx_exit_other;

/* events.c */
void vmx_inject(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector,
		bool has_err, u32 err, unsigned int insn_len);
void vmx_cancel_injection(struct mezz_vcpu *v);
/* After an exit that may have interrupted a delivery: put the event back. [A] */
void vmx_requeue(struct vmx_vcpu *vmx, u32 reason);
/* Before an entry, with vmx->pre set. [A] */
void vmx_before_entry(struct vmx_vcpu *vmx);
u32 vmx_get_shadow(struct mezz_vcpu *v);
void vmx_set_shadow(struct mezz_vcpu *v, u32 shadow);
bool vmx_irq_allowed(struct mezz_vcpu *v);
bool vmx_nmi_allowed(struct mezz_vcpu *v);
bool vmx_get_nmi_mask(struct mezz_vcpu *v);
void vmx_set_nmi_mask(struct mezz_vcpu *v, bool masked);
void vmx_open_irq_window(struct mezz_vcpu *v);
void vmx_open_nmi_window(struct mezz_vcpu *v);

/* msr.c */
extern struct mezz_msr_map vmx_msr_map;
void vmx_msr_reset(struct vmx_vcpu *vmx, bool init);
int vmx_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data);
int vmx_set_msr(struct mezz_vcpu *v, u32 msr, u64 data);
int vmx_msr_intercept(struct mezz_vcpu *v, u32 msr, bool read, bool write);
/* What the guest reads and writes without exit: bit n of each is MSR @first + n. */
void vmx_msr_permit64(u8 *map, u32 first, u64 reads, u64 writes);
extern const u32 vmx_direct_msrs[], vmx_msrs[];

#endif
