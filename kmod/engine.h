/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one seam: what an engine (SVM, VMX, software) offers to the core.
 *
 * The core (main.c, vm.c, vcpu.c, run.c, exits.c and the folders mmu/, irq/,
 * cpu/, emulate/, pv/) knows no vendor. It drives a virtual CPU through the
 * verbs below and finds its state in struct mezz_vcpu, whose r[] array is a
 * cache with an avail and a dirty bit for each entry. An engine embeds
 * struct mezz_vcpu as the first member of its own structure.
 *
 * How a virtual CPU runs: the core opens a *section* (preemption off, the
 * guest's FPU and lazily switched registers live on this CPU), and inside it
 * enters the guest again and again with interrupts off. An exit whose handler
 * is marked atomic is settled there; everything else ends the section, and
 * the handler runs where it may sleep. Nothing of the guest stays on the CPU
 * outside a section, so the scheduler needs no hook.
 */
#ifndef MEZZ_ENGINE_H
#define MEZZ_ENGINE_H

#include <linux/types.h>
#include <linux/kvm.h>
#include "stats.h"

struct mezz_vcpu;
struct mezz_vm;
struct mezz_pt_format;

/*
 * What an exit handler says. Negative values are errnos that KVM_RUN returns.
 */
enum mezz_next {
	MEZZ_USER = 0,		/* kvm_run is filled in: return to user space */
	MEZZ_RESUME = 1,	/* settled: enter the guest again */
	MEZZ_SLOW = 2,		/* only if v->atomic: call me again where I may sleep */
};

/**
 * struct mezz_exit - one row of an engine's exit table
 * @handler: settles the exit; returns enum mezz_next or a negative errno.
 *	With @atomic set it is called first with v->atomic true (interrupts and
 *	preemption off) and may answer MEZZ_SLOW to be called again in a
 *	sleepable context; it must have changed nothing by then.
 * @name: shown by tracepoints
 * @stat: the counter that is incremented
 * @atomic: @handler may be called with interrupts off
 */
struct mezz_exit {
	int (*handler)(struct mezz_vcpu *v);
	const char *name;
	enum mezz_vcpu_stat stat;
	bool atomic;
};

/* A row whose handler may be called with interrupts off; one whose handler may not. */
#define MEZZ_EXIT(fn, label, counter) {						\
	.handler = fn, .name = label, .stat = MEZZ_STAT_##counter, .atomic = true, }
#define MEZZ_SLOW_EXIT(fn, label, counter) {					\
	.handler = fn, .name = label, .stat = MEZZ_STAT_##counter, }

/* What kind of event mezz_engine.inject delivers. */
enum mezz_event_type {
	MEZZ_EV_IRQ,		/* external interrupt, already acknowledged */
	MEZZ_EV_NMI,
	MEZZ_EV_EXCEPTION,	/* fault, trap or abort */
	MEZZ_EV_SOFT_INT,	/* INT n, being delivered again */
	MEZZ_EV_SOFT_EXC,	/* INT3, INTO, being delivered again */
};

/**
 * struct mezz_host - what the engine and the host CPU can do; filled by probe
 * @max_asid: number of address-space identifiers (ASID, VPID), 0 if none
 * @pt_levels: levels of the second-stage table (4 or 5)
 * @max_page_level: 1: 4 KiB, 2: 2 MiB, 3: 1 GiB second-stage mappings
 * @xcr0: XCR0 bits that guests may use, 0 when there is no XSAVE
 * @xss: IA32_XSS bits that guests may use
 * @tsc_scaling: guest TSC frequency may differ from the host's
 * @tsc_frac_bits: fraction bits of the TSC ratio
 * @partial: some states of a guest run in software: ask mezz_engine.runnable()
 * @identity_hpa: host physical address of a page that every VM has, read-only, at
 *	vm->identity_map_addr; 0: none
 * @spec_in_block: the control block switches SPEC_CTRL
 * @spec_ctrl: MSR_IA32_SPEC_CTRL exists; this and the next two by mezz_lazy_probe()
 * @switch_spec: the engine has to write it around world switches
 * @tsc_aux: MSR_TSC_AUX exists
 * @nx_large: mappings above 4 KiB must not permit execution: a guest that changes its own
 *	page size could stop the host with them (iTLB multihit)
 */
struct mezz_host {
	u32 max_asid;
	u8 pt_levels;
	u8 max_page_level;
	u64 xcr0;
	u64 xss;
	bool tsc_scaling;
	u8 tsc_frac_bits;
	bool partial;
	u64 identity_hpa;
	bool spec_in_block, spec_ctrl, switch_spec;
	bool tsc_aux;
	bool nx_large;
};

/**
 * struct mezz_engine - the verbs; all are mandatory unless marked optional
 *
 * Contexts: [P] process context, may sleep. [S] inside or outside a section,
 * called with the vCPU mutex held; must not sleep. [A] interrupts off, vCPU's
 * section is open on this CPU.
 */
struct mezz_engine {
	const char *name;
	/* sizeof the engine's own struct; struct mezz_vcpu comes first */
	size_t vcpu_size;
	/* Format of second-stage table entries. */
	const struct mezz_pt_format *pt;

	/*
	 * [P] Can this machine do it? 0, -ENODEV (no such CPU), -EBUSY (somebody
	 * else holds it), -EOPNOTSUPP (firmware or a missing feature). On error
	 * @why says in one sentence what is wrong and what to do.
	 */
	int (*probe)(struct mezz_host *host, char *why, size_t len);
	int (*setup)(void);		/* [P] module-wide allocations */
	void (*teardown)(void);		/* [P] */
	/*
	 * On the CPU itself, IRQs off: make it able to enter guests. -EBUSY if
	 * somebody else owns the extension there. cpu_off also runs on reboot,
	 * kexec and crash, and must be harmless when cpu_on has not run.
	 */
	int (*cpu_on)(void);
	void (*cpu_off)(void);
	/*
	 * Optional: cpu_off when the kernel crashes, in NMI context on each CPU, for
	 * engines whose CPUs no other kernel could start: touches nothing but the CPU.
	 */
	void (*crash)(void);

	int (*vcpu_create)(struct mezz_vcpu *v);	/* [P] */
	void (*vcpu_destroy)(struct mezz_vcpu *v);	/* [P] */
	/* [S] Engine-held state to power-on (@init false) or INIT values. */
	void (*vcpu_reset)(struct mezz_vcpu *v, bool init);
	/* [S] v's CPUID changed: recompute intercepts and permission maps. */
	void (*cpuid_changed)(struct mezz_vcpu *v);

	/*
	 * [A] Section begin and end: CPU state that lives there in between. The
	 * core has done FPU and XCR0; mezz_lazy_load() and mezz_lazy_unload(), called
	 * from these, do TSC_AUX, debug registers, SPEC_CTRL. @load also notices that
	 * the vCPU changed CPUs (v->last_cpu).
	 */
	void (*load)(struct mezz_vcpu *v);
	void (*unload)(struct mezz_vcpu *v);
	/*
	 * [A] One world switch. Writes back dirty state first. Sets v->avail to
	 * what is current, v->exit to the row of the exit table, and puts an
	 * interrupted delivery back (v->ev.injected). Returns MEZZ_RESUME,
	 * MEZZ_USER with kvm_run filled (KVM_EXIT_FAIL_ENTRY), or -EIO: the engine
	 * was switched off on this CPU (reboot).
	 */
	int (*enter)(struct mezz_vcpu *v);

	/* [S] Bring v->r[what] up to date. */
	void (*fetch)(struct mezz_vcpu *v, unsigned int what);
	/* [S] @seg: enum mezz_seg */
	void (*get_segment)(struct mezz_vcpu *v, unsigned int seg, struct kvm_segment *s);
	void (*set_segment)(struct mezz_vcpu *v, unsigned int seg, const struct kvm_segment *s);
	void (*get_dt)(struct mezz_vcpu *v, bool idt, struct kvm_dtable *dt);
	void (*set_dt)(struct mezz_vcpu *v, bool idt, const struct kvm_dtable *dt);
	/*
	 * [S] The four page-directory pointers of PAE paging. @get: false, they are
	 * what memory has at CR3. @set: for the next entry, after CR3 was set; NULL:
	 * what memory has. Both NULL where hardware reads them at every walk.
	 */
	bool (*get_pdptes)(struct mezz_vcpu *v, u64 *pdpte);
	void (*set_pdptes)(struct mezz_vcpu *v, const u64 *pdpte);
	unsigned int (*cpl)(struct mezz_vcpu *v);	/* [S] 0-3 */
	/* [S] CS.L and CS.D in bits 1 and 0: cheap, for the execution mode. */
	unsigned int (*cs_mode)(struct mezz_vcpu *v);

	/*
	 * [S] Length in bytes of the instruction that caused this exit, from the
	 * hardware; 0 when the hardware does not say (then the core fetches).
	 */
	unsigned int (*insn_len)(struct mezz_vcpu *v);
	/*
	 * [S] Instruction bytes the hardware saved (decode assists), at most 15
	 * into @buf; returns how many, 0 if none.
	 */
	unsigned int (*insn_bytes)(struct mezz_vcpu *v, u8 *buf);

	/*
	 * [S] Optional, with mezz_host.partial: can hardware execute the guest in the
	 * state that it is in? Asked before each section. False: the emulator executes
	 * it, outside of sections; inject() is then called there, too.
	 */
	bool (*runnable)(struct mezz_vcpu *v);
	/* [A] Deliver at the next entry. @err is valid if @has_err. */
	void (*inject)(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector,
		       bool has_err, u32 err, unsigned int insn_len);
	/* [S] Take back what inject queued but no entry delivered (into v->ev). */
	void (*cancel_injection)(struct mezz_vcpu *v);
	/* [S] Interrupt shadow: bit 0 STI, bit 1 MOV SS (KVM_X86_SHADOW_INT_*) */
	u32 (*get_shadow)(struct mezz_vcpu *v);
	void (*set_shadow)(struct mezz_vcpu *v, u32 shadow);
	bool (*irq_allowed)(struct mezz_vcpu *v);	/* [S] IF, shadow */
	bool (*nmi_allowed)(struct mezz_vcpu *v);	/* [S] mask, shadow */
	bool (*get_nmi_mask)(struct mezz_vcpu *v);	/* [S] */
	void (*set_nmi_mask)(struct mezz_vcpu *v, bool masked);
	/* [A] Exit as soon as the guest could take an interrupt / an NMI. */
	void (*open_irq_window)(struct mezz_vcpu *v);
	void (*open_nmi_window)(struct mezz_vcpu *v);
	/*
	 * [S] The LAPIC's TPR class (CR8) or the highest pending vector's class
	 * changed; @tpr 0-15; @irr highest pending vector that TPR masks, or -1.
	 */
	void (*update_cr8)(struct mezz_vcpu *v, unsigned int tpr, int irr);

	/*
	 * An APIC in hardware, which works on v->vapic; all optional, set with it at
	 * creation. The core's part is irq/lapic_hw.c.
	 */
	/*
	 * [A] It takes over an x2APIC, or does so no more: the guest takes interrupts from
	 * IRR, writes TPR, EOI and SELF IPI, and reads TPR, PPR, ISR and IRR without exits.
	 */
	void (*apic_mode)(struct mezz_vcpu *v, bool on);
	/* [A] The page was written: highest vectors in IRR and in service, 0: none. */
	void (*apic_load)(struct mezz_vcpu *v, u8 irr, u8 isr);
	/* [A] Vectors were added to IRR in the page, of which @irr is the highest. */
	void (*apic_raise)(struct mezz_vcpu *v, u8 irr);
	/* [A] Exit after EOIs of these 256 vectors; at first, of none. */
	void (*apic_eoi_exits)(struct mezz_vcpu *v, const unsigned long *vectors);

	/*
	 * [S] MSRs that live in the engine's control block. 0: done, 1: not
	 * mine, 2: #GP. The core has already checked what the architecture
	 * checks on every vendor.
	 */
	int (*get_msr)(struct mezz_vcpu *v, u32 msr, u64 *data);
	int (*set_msr)(struct mezz_vcpu *v, u32 msr, u64 data);
	/*
	 * [P] Intercept @msr, one of direct_msrs, or let the guest access it. 0, or
	 * -ENOMEM: nothing has changed.
	 */
	int (*msr_intercept)(struct mezz_vcpu *v, u32 msr, bool read, bool write);
	/* [S] guest_debug, DR7 or the exception bitmap's inputs changed: mezz_update_debug(). */
	void (*update_debug)(struct mezz_vcpu *v);
	/*
	 * [A] The guest has its own DR0-3 in the CPU, so that accesses to debug registers
	 * do not exit, or @own false: no more. Engines whose hardware does not switch DR6
	 * load it.
	 */
	void (*own_dr)(struct mezz_vcpu *v, bool own);
	/* [S] v->lazy.spec_ctrl changed; only with mezz_host.spec_in_block. */
	void (*update_spec)(struct mezz_vcpu *v);
	/* [S] v->tsc_offset or v->tsc_ratio changed. */
	void (*update_tsc)(struct mezz_vcpu *v);
	/*
	 * [A] Optional: end the guest when the host's TSC is @tsc, again and again until
	 * told otherwise, and say mezz_lapic_timer_expired(); 0: no more. True: it will.
	 */
	bool (*set_timer)(struct mezz_vcpu *v, u64 tsc);

	/* [A] Drop all translations of this vCPU's linear addresses on this CPU. */
	void (*flush_tlb)(struct mezz_vcpu *v);
	/* [A] Drop these and those of guest physical addresses. */
	void (*flush_memory)(struct mezz_vcpu *v);
	/* [S] The second-stage root changed to host physical address @root. */
	void (*set_root)(struct mezz_vcpu *v, u64 root);
	/*
	 * [S] For tracepoints and error reports: raw exit code and the two
	 * qualifying words.
	 */
	void (*exit_info)(struct mezz_vcpu *v, u64 *code, u64 *info1, u64 *info2);
	/*
	 * [P] Optional, with mezz_pt_format.logs: from the next entry on, the CPU logs
	 * writes that set a dirty bit, or no more. mezz_log_write() hears of each before
	 * interrupts are on again in the section, or it is over. 0 or -ENOMEM
	 */
	int (*log_writes)(struct mezz_vcpu *v, bool on);
	/* [P] Print the control block to the kernel log, rate-limited by the caller. */
	void (*dump)(struct mezz_vcpu *v);
	/* [S] Optional: take away what this CPU cannot give to guests, of what the core offers. */
	void (*cpuid_mask)(u32 function, u32 index, u32 *regs);
	/* MSRs that guests access directly unless msr_intercept says no; 0 ends. */
	const u32 *direct_msrs;
	/* MSRs of this vendor to list in KVM_GET_MSR_INDEX_LIST; 0 ends. */
	const u32 *msrs;
	/* This CPU's hypercall instruction. The vendors' differ in the last byte alone. */
	u8 hypercall[3];
};

/* The engine chosen when the module was loaded, never changes afterwards. */
extern const struct mezz_engine *mezz_engine;
extern struct mezz_host mezz_host;

extern const struct mezz_engine mezz_svm_engine;
extern const struct mezz_engine mezz_vmx_engine;

/*
 * Exit handlers of the core (exits.c) for the engines' tables. All are atomic
 * unless said otherwise, take no arguments beyond the vCPU and advance RIP.
 */
int mezz_exit_cpuid(struct mezz_vcpu *v);
int mezz_exit_hlt(struct mezz_vcpu *v);
int mezz_exit_rdmsr(struct mezz_vcpu *v);
int mezz_exit_wrmsr(struct mezz_vcpu *v);
int mezz_exit_hypercall(struct mezz_vcpu *v);
int mezz_exit_xsetbv(struct mezz_vcpu *v);
int mezz_exit_wbinvd(struct mezz_vcpu *v);	/* caches are coherent: nothing to do */
int mezz_exit_invd(struct mezz_vcpu *v);
int mezz_exit_monitor(struct mezz_vcpu *v);
int mezz_exit_mwait(struct mezz_vcpu *v);
int mezz_exit_pause(struct mezz_vcpu *v);
int mezz_exit_dr(struct mezz_vcpu *v);		/* MOV to or from a debug register */
int mezz_exit_ud(struct mezz_vcpu *v);		/* instruction not offered: #UD */
int mezz_exit_rdpmc(struct mezz_vcpu *v);
int mezz_exit_shutdown(struct mezz_vcpu *v);	/* triple fault */
int mezz_exit_host_irq(struct mezz_vcpu *v);	/* host interrupt or NMI: nothing left to do */
int mezz_exit_mc(struct mezz_vcpu *v);		/* machine check of the host */
int mezz_exit_irq_window(struct mezz_vcpu *v);
int mezz_exit_nmi_window(struct mezz_vcpu *v);
int mezz_exit_unknown(struct mezz_vcpu *v);	/* KVM_EXIT_INTERNAL_ERROR, not atomic */

/**
 * mezz_exit_skip() - an instruction that has no effect here
 * @v: the vCPU
 * @len: what mezz_insn_len() said of it
 */
int mezz_exit_skip(struct mezz_vcpu *v, int len);

/**
 * mezz_exit_io() - IN or OUT, also string forms
 * @v: the vCPU
 * @port: I/O port
 * @size: 1, 2 or 4 bytes
 * @in: IN/INS rather than OUT/OUTS
 * @string: INS/OUTS: emulated from the instruction bytes
 * @next_rip: RIP after the instruction, 0 if unknown
 */
int mezz_exit_io(struct mezz_vcpu *v, u16 port, unsigned int size, bool in,
		 bool string, u64 next_rip);

/* Access that a second-stage fault reports to mezz_exit_fault. */
#define MEZZ_ACC_READ	1u
#define MEZZ_ACC_WRITE	2u
#define MEZZ_ACC_EXEC	4u
/* The fault came from the walk of the guest's own page tables. */
#define MEZZ_ACC_WALK	8u

/**
 * mezz_exit_fault() - second-stage (NPT, EPT) fault
 * @v: the vCPU
 * @gpa: faulting guest physical address
 * @access: MEZZ_ACC_*
 */
int mezz_exit_fault(struct mezz_vcpu *v, u64 gpa, u32 access);

/**
 * mezz_exit_cr() - MOV to or from a control register
 * @v: the vCPU
 * @cr: 0, 2, 3, 4 or 8
 * @write: MOV to CR
 * @gpr: general register (enum mezz_state RAX..R15)
 * Return: RIP has been advanced with MEZZ_RESUME unless a fault was queued.
 */
int mezz_exit_cr(struct mezz_vcpu *v, unsigned int cr, bool write, unsigned int gpr);

/**
 * mezz_exit_emulate() - let the emulator execute the instruction at RIP
 * For CR and DR accesses, LMSW and descriptor-table instructions that arrive
 * without decode information. May answer MEZZ_SLOW.
 */
int mezz_exit_emulate(struct mezz_vcpu *v);

/**
 * mezz_exit_exception() - an intercepted exception
 * @v: the vCPU
 * @vector: exception vector (DB, BP, UD, AC, GP...)
 * @has_err: @err is valid
 * @err: error code
 * Guest debugging gets KVM_EXIT_DEBUG; otherwise it is queued for the guest.
 */
int mezz_exit_exception(struct mezz_vcpu *v, u8 vector, bool has_err, u32 err);

/**
 * mezz_debug_exit() - KVM_EXIT_DEBUG
 * @v: the vCPU
 * @vector: DB or BP
 * @dr6: debug status to report
 * Return: MEZZ_USER
 */
int mezz_debug_exit(struct mezz_vcpu *v, u8 vector, u64 dr6);

#endif
