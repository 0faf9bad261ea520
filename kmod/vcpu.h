/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The virtual CPU: its cached state, its requests, its pending events.
 *
 * Locking: everything here belongs to whoever holds v->mutex (KVM_RUN and
 * every other vCPU ioctl), except
 *   requests	atomic bits; mezz_request() from any context
 *   mode, cpu	written by the vCPU's thread, read by mezz_kick() anywhere
 *   wait	rcuwait, woken from any context
 *   nmi_queued	atomic
 *   lapic	has its own rules (irq/lapic.h)
 */
#ifndef MEZZ_VCPU_H
#define MEZZ_VCPU_H

#include <linux/atomic.h>
#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/rcuwait.h>
#include <linux/kvm.h>
#include <asm/tsc.h>
#include "engine.h"
#include "stats.h"
#include "vm.h"

/*
 * Index into mezz_vcpu.r[]. The general registers are in the order in which
 * instructions encode them.
 */
enum mezz_state {
	MEZZ_RAX, MEZZ_RCX, MEZZ_RDX, MEZZ_RBX, MEZZ_RSP, MEZZ_RBP, MEZZ_RSI, MEZZ_RDI,
	MEZZ_R8, MEZZ_R9, MEZZ_R10, MEZZ_R11, MEZZ_R12, MEZZ_R13, MEZZ_R14, MEZZ_R15,
	MEZZ_RIP,
	MEZZ_RFLAGS,
	MEZZ_CR0,		/* as the guest sees them */
	MEZZ_CR2,
	MEZZ_CR3,
	MEZZ_CR4,
	MEZZ_EFER,
	MEZZ_DR6,
	MEZZ_DR7,
	MEZZ_NR_STATE
};

/* The engines' entry assembly has these numbers of its own. */
static_assert(MEZZ_RAX == 0 && MEZZ_RCX == 1 && MEZZ_RDX == 2 && MEZZ_RBX == 3 &&
	      MEZZ_RSP == 4 && MEZZ_RBP == 5 && MEZZ_RSI == 6 && MEZZ_RDI == 7 &&
	      MEZZ_R8 == 8 && MEZZ_R15 == 15);

#define MEZZ_ALL_GPRS	((1u << MEZZ_RIP) - 1)

/* Segment registers, in instruction encoding order, then the two others. */
enum mezz_seg {
	MEZZ_ES, MEZZ_CS, MEZZ_SS, MEZZ_DS, MEZZ_FS, MEZZ_GS, MEZZ_LDTR, MEZZ_TR,
	MEZZ_NR_SEGS
};

/* Bits of mezz_vcpu.requests: work before the next entry. */
enum mezz_request {
	/* settled inside the section (IRQs off) */
	MEZZ_REQ_EVENT,		/* look for interrupts, NMIs, exceptions to deliver */
	MEZZ_REQ_TLB_FLUSH,	/* drop translations of this vCPU's linear addresses */
	MEZZ_REQ_MEMORY_FLUSH,	/* and of guest physical ones: the second stage changed */
	/* settled outside, where one may sleep */
	MEZZ_REQ_SLOW,		/* bits from here on end the section */
	MEZZ_REQ_CLOCK = MEZZ_REQ_SLOW,	/* rewrite the guest's kvmclock page */
	MEZZ_REQ_STEAL,		/* account steal time */
	MEZZ_REQ_TRIPLE_FAULT,	/* KVM_EXIT_SHUTDOWN */
	MEZZ_REQ_IOAPIC_EOI,	/* KVM_EXIT_IOAPIC_EOI, vector in ioapic_eoi */
	MEZZ_REQ_WAKE,		/* leave the guest: mp_state or SIPI changed */
	MEZZ_REQ_RING_FULL,	/* KVM_EXIT_DIRTY_RING_FULL, while it is */
	MEZZ_REQ_MSR_FILTER,	/* intercept what the VM's new filter denies */
	MEZZ_REQ_APF_READY,	/* tell the guest of pages that it waits for */
	MEZZ_REQ_APF_HALT,	/* sleep until there is an interrupt, or such a page */
	MEZZ_REQ_LOG,		/* slots log, or no slot does any more */
	MEZZ_REQ_DEAD,		/* the VM is broken or dying: KVM_RUN gives EIO */
	MEZZ_NR_REQS
};

#define MEZZ_REQ_SLOW_MASK (~((1ul << MEZZ_REQ_SLOW) - 1))

/* mezz_vcpu.mode */
enum { MEZZ_OUTSIDE, MEZZ_IN_SECTION };

/**
 * struct mezz_events - what waits to be delivered to the guest
 * An exception is *pending* when it was raised by emulation or by user space,
 * and *injected* when its delivery had begun (or was interrupted) and must be
 * repeated. At most one of exc, irq, nmi is injected at a time.
 */
struct mezz_events {
	struct {
		bool pending, injected, has_err, has_payload;
		u8 nr;
		u32 err;
		u64 payload;	/* CR2 or DR6 bits, written at delivery */
	} exc;
	struct {
		bool injected, soft;	/* soft: INT n */
		u8 nr;
	} irq;
	bool nmi_injected;
	u8 insn_len;			/* of INT n, INT3, INTO to repeat */
	unsigned int nmi_pending;	/* 0..2 */
};

/**
 * struct mezz_ring - a vCPU's dirty ring (mmu/ring.c)
 * @gfns: entries, mapped by user space too; NULL without KVM_CAP_DIRTY_LOG_RING
 * @size: how many, a power of two
 * @head: entries written; the vCPU mutex
 * @tail: entries that are free again; vm->slots_lock
 */
struct mezz_ring {
	struct kvm_dirty_gfn *gfns;
	u32 size, head, tail;
};

/**
 * struct mezz_lazy - CPU state that is switched when it is needed (cpu/lazy.h)
 * @spec_ctrl: the guest's SPEC_CTRL
 * @host_spec: the host's, sampled when the section began
 * @switch_spec: world switches have to write them: they differ, or the host's always counts
 * @dr_live: DR0-3 are in the CPU, the guest's or its debugger's
 * @dr7_taken: the DR7 that hardware has is a debugger's
 * @guest_dr7: the guest's, while @dr7_taken
 * @tsc_aux: the guest's MSR_TSC_AUX
 * @use_tsc_aux: the guest has RDTSCP or RDPID
 * @tsc_aux_live: MSR_TSC_AUX is the guest's now
 */
struct mezz_lazy {
	u64 spec_ctrl, host_spec;
	bool switch_spec;
	bool dr_live, dr7_taken;
	bool use_tsc_aux, tsc_aux_live;
	u64 guest_dr7;
	u64 tsc_aux;
};

struct mezz_lapic;
struct mezz_emul_vcpu;
struct mezz_cpu_state;
struct mezz_pv_vcpu;

struct mezz_vcpu {
	/* --- touched on every exit --- */
	u64 r[MEZZ_NR_STATE];
	u32 avail;			/* bit n: r[n] is current */
	u32 dirty;			/* bit n: the engine must load r[n] */
	unsigned long requests;		/* atomic bits, enum mezz_request */
	const struct mezz_exit *exit;	/* of the last exit */
	struct kvm_run *run;
	struct mezz_vm *vm;
	struct mezz_lapic *lapic;	/* NULL without an in-kernel LAPIC */
	u32 *vapic;			/* of an APIC in hardware (irq/lapic_hw.c), or NULL */
	int mode;
	int cpu;			/* valid while mode is MEZZ_IN_SECTION */
	int last_cpu;			/* where the last section was, -1: nowhere */
	bool atomic;			/* IRQs off, in a section */
	bool window_irq;		/* an IRQ window was asked of the engine */
	bool pv_on;			/* the guest has a kvmclock page or steal time (pv/) */
	struct mezz_events ev;
	atomic_t nmi_queued;		/* NMIs from other contexts, not yet in ev */
	int ext_irq;			/* vector of KVM_INTERRUPT, -1: none */
	u64 stat[MEZZ_NR_VCPU_STATS];
	struct mezz_lazy lazy;

	/* --- CPU state that is neither in r[] nor in the engine --- */
	u64 dr[4];			/* DR0-3 */
	u64 xcr0, xss;
	u64 tsc_offset;			/* guest TSC = host * ratio + offset */
	u64 tsc_given;			/* what user space made it last */
	u64 tsc_ratio;			/* fixed point, mezz_host.tsc_frac_bits; 0: 1:1 */
	u32 tsc_khz;
	u64 apic_base;			/* IA32_APIC_BASE */
	unsigned int cr8;		/* TPR class when there is no LAPIC */
	struct kvm_mp_state mp;		/* KVM_MP_STATE_* */
	u32 guest_debug;		/* KVM_GUESTDBG_* */
	u64 guest_debug_dr[8];		/* DR0-3, 7 of KVM_SET_GUEST_DEBUG */
	bool debug_step;		/* an emulated step is to be reported */
	bool awaits_page;		/* "halted" for a page that is being fetched */
	struct mezz_fpu *fpu;		/* host/host.h */
	struct mezz_cpu_state *cpu_state;	/* cpu/: CPUID table, MSRs */
	struct mezz_emul_vcpu *emul;	/* emulate/: fetch cache, I/O log */
	struct mezz_pv_vcpu *pv;	/* pv/: clock, steal time, EOI */
	u8 ioapic_eoi;			/* vector for KVM_EXIT_IOAPIC_EOI */

	/* --- bookkeeping --- */
	struct mutex mutex;
	struct pid __rcu *pid;		/* thread of the last KVM_RUN */
	int id;				/* KVM_CREATE_VCPU argument, also APIC ID */
	int idx;			/* in vm->vcpus */
	struct rcuwait wait;
	sigset_t sigset;
	bool sigset_active;
	/*
	 * Set when KVM_RUN returned for an exit that user space answers
	 * (PIO in, MMIO read, MSR, hypercall): called at the next KVM_RUN,
	 * may sleep, returns enum mezz_next or an errno.
	 */
	int (*complete)(struct mezz_vcpu *v);
	u64 complete_rip;		/* RIP at that exit: see mezz_same_rip() */
	unsigned int complete_len;	/* bytes of the instruction */
	unsigned int complete_size;	/* bytes of data; kvm_run is not to be trusted */
	struct mezz_ring ring;
	void *pio_data;			/* second page of the vCPU mapping */
};

/**
 * mezz_get() - read a cached register
 * @v: the vCPU, its mutex held
 * @s: which
 */
static inline u64 mezz_get(struct mezz_vcpu *v, enum mezz_state s)
{
	if (unlikely(!(v->avail & (1u << s))))
		mezz_engine->fetch(v, s);
	return v->r[s];
}

/**
 * mezz_set() - write a cached register; the engine loads it at the next entry
 * @v: the vCPU, its mutex held
 * @s: which
 * @val: value as the guest sees it, already checked
 */
static inline void mezz_set(struct mezz_vcpu *v, enum mezz_state s, u64 val)
{
	v->r[s] = val;
	v->avail |= 1u << s;
	v->dirty |= 1u << s;
}

/**
 * mezz_set_gpr() - write a general register other than RSP
 * @v: the vCPU, its mutex held
 * @s: MEZZ_RAX .. MEZZ_R15, not MEZZ_RSP
 * @val: new value
 * These are current after every exit and loaded at every entry, on every
 * engine, so they need no bookkeeping.
 */
static inline void mezz_set_gpr(struct mezz_vcpu *v, enum mezz_state s, u64 val)
{
	v->r[s] = val;
}

/* How fast the guest's TSC runs, in kHz: a rate within the tolerance is the host's. */
static inline u32 mezz_real_khz(const struct mezz_vcpu *v)
{
	return v->tsc_ratio ? v->tsc_khz : tsc_khz;
}

/* The TSC ratio as hardware wants it: fixed point, mezz_host.tsc_frac_bits. */
static inline u64 mezz_tsc_ratio(const struct mezz_vcpu *v)
{
	return v->tsc_ratio ?: 1ull << mezz_host.tsc_frac_bits;
}

static inline bool mezz_long_mode(struct mezz_vcpu *v)
{
	return mezz_get(v, MEZZ_EFER) & (1ull << 10);	/* EFER.LMA */
}

static inline bool mezz_64bit(struct mezz_vcpu *v)
{
	return mezz_long_mode(v) && (mezz_engine->cs_mode(v) & 2);
}

static inline bool mezz_protected(struct mezz_vcpu *v)
{
	return mezz_get(v, MEZZ_CR0) & 1;
}

static inline bool mezz_paging(struct mezz_vcpu *v)
{
	return mezz_get(v, MEZZ_CR0) & (1ull << 31);
}

/**
 * mezz_set_rip() - move RIP; truncates outside 64-bit mode, ends the interrupt shadow
 * @v: the vCPU, its mutex held
 * @rip: new value
 */
void mezz_set_rip(struct mezz_vcpu *v, u64 rip);

/**
 * mezz_skip() - step over the instruction that caused the exit
 * @v: the vCPU
 * @len: its length in bytes
 * Ends the interrupt shadow and raises #DB when the guest single-steps.
 */
void mezz_skip(struct mezz_vcpu *v, unsigned int len);

/**
 * mezz_ask() - user space answers the instruction that caused the exit
 * @v: the vCPU, its mutex held; kvm_run is filled in
 * @complete: called at the next KVM_RUN, may sleep, returns enum mezz_next or an errno
 * @len: the instruction's length in bytes: v->complete_len
 */
static inline void mezz_ask(struct mezz_vcpu *v, int (*complete)(struct mezz_vcpu *v),
			    unsigned int len)
{
	v->complete = complete;
	v->complete_rip = mezz_get(v, MEZZ_RIP);
	v->complete_len = len;
}

/* User space may have moved RIP (a reset, a debugger): then there is nothing to skip. */
static inline bool mezz_same_rip(struct mezz_vcpu *v)
{
	return mezz_get(v, MEZZ_RIP) == v->complete_rip;
}

/* mezz_insn_len() where the engine does not know it. */
int mezz_insn_len_fetched(struct mezz_vcpu *v, u32 op, unsigned int op_len);

/**
 * mezz_insn_len() - how long is the instruction at RIP?
 * @v: the vCPU
 * @op: opcode bytes it must have after its prefixes, first byte lowest
 *	(CPUID: 0xa20f), checked when the bytes have to be fetched
 * @op_len: how many bytes @op has
 *
 * Context: any; in atomic context only caches are used.
 * Return: length in bytes; 0 when this context cannot tell (answer
 * MEZZ_SLOW); negative when there is nothing to skip any more (a fault was
 * queued, or -ESTALE: other bytes are there): answer MEZZ_RESUME.
 */
static inline int mezz_insn_len(struct mezz_vcpu *v, u32 op, unsigned int op_len)
{
	unsigned int len = mezz_engine->insn_len(v);

	return likely(len) ? len : mezz_insn_len_fetched(v, op, op_len);
}

static inline void mezz_request(struct mezz_vcpu *v, enum mezz_request req)
{
	smp_mb__before_atomic();	/* what the request is about goes first */
	set_bit(req, &v->requests);
}

/**
 * mezz_kick() - make a vCPU notice its requests soon
 * @v: the vCPU
 * Wakes it when it is halted, and makes it leave the guest when it is there.
 * Context: any, also hard IRQ.
 */
void mezz_kick(struct mezz_vcpu *v);

/* Request and kick, the usual pair. */
static inline void mezz_poke(struct mezz_vcpu *v, enum mezz_request req)
{
	mezz_request(v, req);
	mezz_kick(v);
}

/* --- events (event.c); all [S]: vCPU mutex held, any context --- */
/**
 * mezz_queue_exception() - raise an exception, combining as hardware does
 * @v: the vCPU
 * @nr: vector
 * @has_err: the vector pushes @err
 * @err: error code
 * A second contributory exception becomes #DF, a third a triple fault
 * (SDM 3, "Interrupt 8 - Double Fault Exception").
 */
void mezz_queue_exception(struct mezz_vcpu *v, u8 nr, bool has_err, u32 err);
void mezz_queue_ud(struct mezz_vcpu *v);
void mezz_queue_gp(struct mezz_vcpu *v, u32 err);
void mezz_queue_pf(struct mezz_vcpu *v, u32 err, u64 cr2);
void mezz_queue_db(struct mezz_vcpu *v, u64 dr6);
/*
 * DR7 of a debugger that has breakpoints (KVM_GUESTDBG_USE_HW_BP): without general detect,
 * which would exit where no breakpoint is, and with the bit that is always 1.
 */
static inline u64 mezz_debugger_dr7(const struct mezz_vcpu *v)
{
	return ((u32)v->guest_debug_dr[7] & ~(1u << 13)) | 0x400;
}

/* RFLAGS.TF was set when an instruction completed: #DB, or the debugger's exit. */
void mezz_singlestep(struct mezz_vcpu *v);
/**
 * mezz_inject_events() - hand what can be delivered to the engine
 * @v: the vCPU; section open, IRQs off
 * May leave requests behind, for a part that has to be settled outside.
 */
void mezz_inject_events(struct mezz_vcpu *v);
/* The queued event was delivered, or its delivery began. [A] */
static inline void mezz_event_delivered(struct mezz_vcpu *v)
{
	v->ev.exc.injected = false;
	v->ev.irq.injected = false;
	v->ev.nmi_injected = false;
}

/**
 * mezz_requeue_event() - an exit interrupted a delivery: it begins anew at the next entry
 * @v: the vCPU
 * @type: of the event
 * @vector: its vector
 * @has_err: an exception that pushes @err
 * @err: error code
 * @insn_len: length in bytes of INT n, INT3, INTO; else 0
 * Context: [A]
 */
void mezz_requeue_event(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector,
			bool has_err, u32 err, unsigned int insn_len);
/* Is anything deliverable that ends HLT? */
bool mezz_has_wake_event(struct mezz_vcpu *v);
/* Queue an NMI from any context. */
void mezz_nmi(struct mezz_vcpu *v);
int mezz_get_events(struct mezz_vcpu *v, struct kvm_vcpu_events *e);
int mezz_set_events(struct mezz_vcpu *v, const struct kvm_vcpu_events *e);

/* --- run.c --- */
long mezz_vcpu_run(struct mezz_vcpu *v);
/**
 * mezz_internal_error() - fill kvm_run for KVM_EXIT_INTERNAL_ERROR
 * @v: the vCPU
 * @suberror: KVM_INTERNAL_ERROR_*
 * @data: words for user space
 * @n: how many, at most 16
 * Return: MEZZ_USER
 */
int mezz_internal_error(struct mezz_vcpu *v, u32 suberror, const u64 *data, unsigned int n);
/**
 * mezz_fail_entry() - the hardware refused to enter: KVM_EXIT_FAIL_ENTRY
 * @v: the vCPU, whose control block goes to the kernel log if it was not full lately
 * @why: what the hardware said
 * Context: [A]. Return: MEZZ_USER
 */
int mezz_fail_entry(struct mezz_vcpu *v, u64 why);

/* --- vcpu.c --- */
int mezz_vm_create_vcpu(struct mezz_vm *vm, unsigned long id);
void mezz_vcpu_free(struct mezz_vcpu *v);
/* Power-on or INIT state of everything. vCPU mutex held or vCPU unpublished. */
void mezz_vcpu_reset(struct mezz_vcpu *v, bool init);

#endif
