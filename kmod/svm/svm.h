/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AMD SVM: the layout of the control block (VMCB), the engine's own structures
 * and what its files offer each other.
 *
 * References "APM2" are to volume 2 of the AMD64 Architecture Programmer's
 * Manual, by section title; the layout is its appendix "Layout of VMCB".
 *
 * Files, in reading order: caps.c (can this machine do it, switching CPUs on),
 * vmcb.c (life of a control block, what is intercepted), run.c (one world
 * switch; enter.S beside it), state.c (registers, segments, debug registers),
 * exits.c (exit table), events.c (injection, windows), msr.c (MSRs), asid.c
 * (guest translations).
 */
#ifndef MEZZ_SVM_H
#define MEZZ_SVM_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/stddef.h>
#include <linux/types.h>
#include <asm/io.h>
#include "../cpu/msr_map.h"
#include "../vcpu.h"

/* --- control block: control area --- */

/* Intercept words, numbered over all of them: bit n is word n / 32, bit n % 32. */
enum svm_intercept {
	SVM_I_CR_READ = 0,		/* + number of the control register */
	SVM_I_CR_WRITE = 16,
	SVM_I_DR_READ = 32,
	SVM_I_DR_WRITE = 48,
	SVM_I_EXCEPTION = 64,		/* + vector */
	SVM_I_INTR = 96,
	SVM_I_NMI, SVM_I_SMI, SVM_I_INIT, SVM_I_VINTR, SVM_I_CR0_SEL,
	SVM_I_SIDT, SVM_I_SGDT, SVM_I_SLDT, SVM_I_STR,
	SVM_I_LIDT, SVM_I_LGDT, SVM_I_LLDT, SVM_I_LTR,
	SVM_I_RDTSC, SVM_I_RDPMC, SVM_I_PUSHF, SVM_I_POPF, SVM_I_CPUID, SVM_I_RSM,
	SVM_I_IRET, SVM_I_SWINT, SVM_I_INVD, SVM_I_PAUSE, SVM_I_HLT, SVM_I_INVLPG,
	SVM_I_INVLPGA, SVM_I_IOIO, SVM_I_MSR, SVM_I_TASK_SWITCH, SVM_I_FERR_FREEZE,
	SVM_I_SHUTDOWN,
	SVM_I_VMRUN = 128,
	SVM_I_VMMCALL, SVM_I_VMLOAD, SVM_I_VMSAVE, SVM_I_STGI, SVM_I_CLGI,
	SVM_I_SKINIT, SVM_I_RDTSCP, SVM_I_ICEBP, SVM_I_WBINVD, SVM_I_MONITOR,
	SVM_I_MWAIT, SVM_I_MWAIT_ARMED, SVM_I_XSETBV, SVM_I_RDPRU,
	SVM_I_INVLPGB = 160,
	SVM_I_INVLPGB_ILLEGAL, SVM_I_INVPCID, SVM_I_MCOMMIT, SVM_I_TLBSYNC,
	SVM_NR_INTERCEPT_WORDS = 6
};

static_assert(SVM_I_SHUTDOWN == 127 && SVM_I_RDPRU == 142);

/* VMCB clean field: this part of the block is as the CPU last saw it. */
#define SVM_CLEAN_INTERCEPTS	BIT(0)	/* intercepts, TSC offset, pause filter */
#define SVM_CLEAN_IOPM		BIT(1)	/* bases of the permission maps */
#define SVM_CLEAN_ASID		BIT(2)
#define SVM_CLEAN_TPR		BIT(3)	/* int_ctl, int_vector */
#define SVM_CLEAN_NP		BIT(4)	/* nested_cr3, g_pat */
#define SVM_CLEAN_CR		BIT(5)	/* CR0, CR3, CR4, EFER */
#define SVM_CLEAN_DR		BIT(6)	/* DR6, DR7 */
#define SVM_CLEAN_DT		BIT(7)	/* GDTR, IDTR */
#define SVM_CLEAN_SEG		BIT(8)	/* CS, DS, SS, ES, CPL */
#define SVM_CLEAN_CR2		BIT(9)
#define SVM_CLEAN_LBR		BIT(10)
#define SVM_CLEAN_ALL		0x7ffu

/* tlb_ctl */
#define SVM_TLB_NOTHING		0
#define SVM_TLB_FLUSH_ALL	1	/* every ASID */
#define SVM_TLB_FLUSH_ASID	3	/* this ASID; needs FlushByAsid */

/* int_ctl */
#define SVM_V_TPR		0x0fu
#define SVM_V_IRQ		BIT(8)
#define SVM_V_PRIO_SHIFT	16
#define SVM_V_IGN_TPR		BIT(20)
#define SVM_V_INTR_MASKING	BIT(24)

/* int_state */
#define SVM_SHADOW		BIT(0)	/* interrupt shadow, of STI and of MOV SS alike */

/* nested_ctl */
#define SVM_NP_ENABLE		BIT(0)

/* exit_int_info and event_inj: APM2, "Event Injection" */
#define SVM_EV_VECTOR		0xffu
#define SVM_EV_TYPE		(7u << 8)
#define SVM_EV_TYPE_INTR	(0u << 8)
#define SVM_EV_TYPE_NMI		(2u << 8)
#define SVM_EV_TYPE_EXC		(3u << 8)
#define SVM_EV_TYPE_SOFT	(4u << 8)	/* INT n */
#define SVM_EV_ERR		BIT(11)
#define SVM_EV_VALID		BIT(31)

/* exit_info_1 of MSR */
#define SVM_MSR_WRITE		BIT(0)

/* exit_info_1 of IOIO: APM2, "IOIO Intercept" */
#define SVM_IOIO_IN		BIT(0)
#define SVM_IOIO_STRING		BIT(2)
#define SVM_IOIO_SIZE_SHIFT	4	/* 1, 2, 4: bytes */
#define SVM_IOIO_SIZE		7u
#define SVM_IOIO_PORT_SHIFT	16

/* exit_info_1 of a nested page fault: APM2, "Nested versus Guest Page Faults" */
#define SVM_NPF_WRITE		BIT_ULL(1)
#define SVM_NPF_EXEC		BIT_ULL(4)
#define SVM_NPF_WALK		BIT_ULL(33)

/* exit_info_1 of CR and DR accesses, with decode assists */
#define SVM_CR_IS_MOV		BIT_ULL(63)
#define SVM_CR_GPR		0xfu

struct svm_control {
	u32 intercept[SVM_NR_INTERCEPT_WORDS];
	u32 reserved_018[9];
	u16 pause_thresh;
	u16 pause_count;
	u64 iopm_pa;
	u64 msrpm_pa;
	u64 tsc_offset;
	u32 asid;
	u8 tlb_ctl;
	u8 reserved_05d[3];
	u32 int_ctl;
	u32 int_vector;
	u64 int_state;
	u64 exit_code;
	u64 exit_info_1;
	u64 exit_info_2;
	u32 exit_int_info;
	u32 exit_int_err;
	u64 nested_ctl;
	u64 avic_bar;
	u64 ghcb_pa;
	u32 event_inj;
	u32 event_inj_err;
	u64 nested_cr3;
	u64 lbr_ctl;
	u32 clean;
	u32 reserved_0c4;
	u64 next_rip;
	u8 insn_len;
	u8 insn_bytes[15];
	u8 reserved_0e0[0x400 - 0xe0];
};

static_assert(offsetof(struct svm_control, iopm_pa) == 0x40);
static_assert(offsetof(struct svm_control, int_ctl) == 0x60);
static_assert(offsetof(struct svm_control, exit_int_info) == 0x88);
static_assert(offsetof(struct svm_control, event_inj) == 0xa8);
static_assert(offsetof(struct svm_control, next_rip) == 0xc8);
static_assert(sizeof(struct svm_control) == 0x400);

/* --- control block: state save area --- */

/* Attributes, in the order of mezz_seg_pack(). */
#define SVM_SEG_L		BIT(9)
#define SVM_SEG_DB		BIT(10)

struct svm_seg {
	u16 selector;
	u16 attrib;
	u32 limit;
	u64 base;
};

struct svm_save {
	struct svm_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 reserved_0a0[43];
	u8 cpl;
	u32 reserved_0cc;
	u64 efer;
	u8 reserved_0d8[112];
	u64 cr4, cr3, cr0;
	u64 dr7, dr6;
	u64 rflags, rip;
	u8 reserved_180[88];
	u64 rsp;
	u64 s_cet, ssp, isst;
	u64 rax;
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 cr2;
	u8 reserved_248[32];
	u64 g_pat;
	u64 dbgctl, br_from, br_to, excp_from, excp_to;
	u8 reserved_298[72];
	u64 spec_ctrl;
	u8 reserved_2e8[0xc00 - 0x2e8];
};

static_assert(sizeof(struct svm_seg) == 16);
static_assert(offsetof(struct svm_save, cpl) == 0xcb);
static_assert(offsetof(struct svm_save, cr4) == 0x148);
static_assert(offsetof(struct svm_save, rsp) == 0x1d8);
static_assert(offsetof(struct svm_save, rax) == 0x1f8);
static_assert(offsetof(struct svm_save, cr2) == 0x240);
static_assert(offsetof(struct svm_save, g_pat) == 0x268);
static_assert(offsetof(struct svm_save, spec_ctrl) == 0x2e0);

struct svm_vmcb {
	struct svm_control c;
	struct svm_save s;
};

static_assert(sizeof(struct svm_vmcb) == 4096);

/* --- exit codes: APM2, appendix "SVM Intercept Exit Codes" --- */
enum svm_exit {
	SVM_EXIT_CR_READ = 0x00,
	SVM_EXIT_CR_WRITE = 0x10,
	SVM_EXIT_DR_READ = 0x20,
	SVM_EXIT_DR_WRITE = 0x30,
	SVM_EXIT_EXCEPTION = 0x40,
	SVM_EXIT_INTR = 0x60,		/* from here as the intercepts, from SVM_I_INTR */
	SVM_EXIT_MSR = 0x7c,
	SVM_EXIT_NPF = 0x400,
	SVM_EXIT_NR = 0xa5,		/* rows of the exit table, NPF has its own */
};

/* VMRUN refused the control block. */
#define SVM_EXIT_INVALID	0xffffffffu

/* The exit code that an intercept from SVM_I_INTR on causes. */
#define SVM_EXIT_OF(i)		(SVM_EXIT_INTR + SVM_I_##i - SVM_I_INTR)

/* --- the engine's structures --- */

/**
 * struct svm_features - what the CPUs have; constant after probe
 * @asids: number of ASIDs; 0 is the host's
 * @me: C-bit for physical addresses that hardware walks, 0 without SME
 */
struct svm_features {
	u32 asids;
	u64 me;
	bool nrips;
	bool decode_assists;
	bool flush_by_asid;
	bool pause_filter;
	bool pause_threshold;
	bool tsc_ratio;
	bool xsetbv_unseen;	/* perhaps an emulator that does not intercept XSETBV */
};

extern struct svm_features svm_has;

/**
 * struct svm_cpu - one host CPU; touched with IRQs off, on that CPU
 * @hsave: page where VMRUN keeps host state
 * @host: page of @host_pa
 * @host_pa: control block for VMSAVE and VMLOAD of the host, physical address
 * @asid_gen: generation of the ASIDs in use, never 0
 * @next_asid: first one not handed out in this generation
 * @tsc_ratio: what MSR_AMD64_TSC_RATIO holds
 * @on: switched on by us
 */
struct svm_cpu {
	struct page *hsave;
	struct page *host;
	u64 host_pa;
	u64 asid_gen;
	u32 next_asid;
	u64 tsc_ratio;
	bool on;
};

DECLARE_PER_CPU(struct svm_cpu, svm_cpu);

/* svm_vcpu.post: what svm_enter() has to look after when the guest is left. */
#define SVM_POST_INJECTED	BIT(0)	/* an event was injected */
#define SVM_POST_STEP		BIT(1)	/* RFLAGS.TF is ours */
#define SVM_POST_IRET		BIT(2)	/* NMI mask ends when iret_rip is left */

/* svm_vcpu.step: who single-steps the guest */
#define SVM_STEP_DEBUG		BIT(0)	/* KVM_GUESTDBG_SINGLESTEP */
#define SVM_STEP_NMI		BIT(1)	/* waits for the end of IRET or of a shadow */

/**
 * struct svm_vcpu - this engine's virtual CPU
 * @v: the core's part, must be first (enter.S counts on r[] at offset 0)
 * @vmcb: the control block
 * @vmcb_pa: its physical address
 * @host_pa: of the CPU this section runs on
 * @force_flags: RFLAGS bits that the guest runs with beside its own
 * @post: SVM_POST_*
 * @tpr: V_TPR as we know it
 * @window: a virtual interrupt is posted as an IRQ window
 * @asid_gen: generation of the ASID in the control block, 0: none
 *
 * Locking: as struct mezz_vcpu, which it extends: vCPU mutex.
 */
struct svm_vcpu {
	struct mezz_vcpu v;
	struct svm_vmcb *vmcb;
	u64 vmcb_pa;
	u64 host_pa;
	u64 force_flags;
	u32 post;
	u8 tpr;
	bool window;
	/* --- not touched on every exit --- */
	u64 asid_gen;
	u64 cr0_cdnw;		/* CR0.CD and NW, which the guest only thinks it has */
	bool cr8_write;		/* intercepted: a pending interrupt waits for CR8 */
	u8 step;		/* SVM_STEP_* */
	bool nmi_masked;
	bool iret_pending;	/* IRET was seen, it has not been executed */
	u64 iret_rip;
	u64 soft_rip;		/* where an injected INTn, INT3, INTO is */
	u64 soft_next;		/* and what follows it */
	bool soft_injected;
	struct page *msrpm;	/* own permission map, NULL: the shared one */
};

static_assert(offsetof(struct svm_vcpu, v.r) == 0);

static inline struct svm_vcpu *to_svm(struct mezz_vcpu *v)
{
	return container_of(v, struct svm_vcpu, v);
}

static inline void svm_unclean(struct svm_vcpu *svm, u32 what)
{
	svm->vmcb->c.clean &= ~what;
}

static inline void svm_put_intercept(struct svm_vcpu *svm, unsigned int bit, bool on)
{
	u32 *word = &svm->vmcb->c.intercept[bit / 32], mask = 1u << bit % 32;

	*word = on ? *word | mask : *word & ~mask;
	svm_unclean(svm, SVM_CLEAN_INTERCEPTS);
}

/* enter.S; described there. */
asmlinkage int svm_switch(u64 *r, u64 vmcb_pa, u64 host_pa);

/* caps.c */
extern const struct mezz_pt_format svm_pt_format;
/* Physical address as hardware wants it of memory that it reads itself. */
static inline u64 svm_pa(const struct page *page)
{
	return page_to_phys(page) | svm_has.me;
}

/* vmcb.c */
int svm_vcpu_create(struct mezz_vcpu *v);
void svm_vcpu_destroy(struct mezz_vcpu *v);
void svm_vcpu_reset(struct mezz_vcpu *v, bool init);
void svm_cpuid_changed(struct mezz_vcpu *v);
/* Recompute all intercepts from the state they depend on. [S] */
void svm_update_intercepts(struct svm_vcpu *svm);
void svm_update_cr8(struct mezz_vcpu *v, unsigned int tpr, int irr);
void svm_update_tsc(struct mezz_vcpu *v);
void svm_set_root(struct mezz_vcpu *v, u64 root);
void svm_exit_info(struct mezz_vcpu *v, u64 *code, u64 *info1, u64 *info2);
void svm_dump(struct mezz_vcpu *v);
extern u64 svm_iopm_pa;

/* run.c */
void svm_load(struct mezz_vcpu *v);
void svm_unload(struct mezz_vcpu *v);
int svm_enter(struct mezz_vcpu *v);
/* Find out about an XSETBV that did not exit (svm_has.xsetbv_unseen). [A] */
void svm_sync_xcr0(struct svm_vcpu *svm);
/* v->tsc_ratio is needed in the CPU. [A] */
void svm_load_tsc_ratio(struct svm_vcpu *svm);

/* state.c */
void svm_fetch(struct mezz_vcpu *v, unsigned int what);
/* Write RSP, control and debug registers that are dirty into the control block. [A] */
void svm_flush(struct svm_vcpu *svm);
void svm_get_segment(struct mezz_vcpu *v, unsigned int seg, struct kvm_segment *s);
void svm_set_segment(struct mezz_vcpu *v, unsigned int seg, const struct kvm_segment *s);
void svm_get_dt(struct mezz_vcpu *v, bool idt, struct kvm_dtable *dt);
void svm_set_dt(struct mezz_vcpu *v, bool idt, const struct kvm_dtable *dt);
unsigned int svm_cpl(struct mezz_vcpu *v);
unsigned int svm_cs_mode(struct mezz_vcpu *v);
unsigned int svm_insn_len(struct mezz_vcpu *v);
unsigned int svm_insn_bytes(struct mezz_vcpu *v, u8 *buf);
void svm_update_debug(struct mezz_vcpu *v);
void svm_own_dr(struct mezz_vcpu *v, bool own);

/* exits.c */
extern const struct mezz_exit svm_exits[SVM_EXIT_NR];
extern const struct mezz_exit svm_exit_wrmsr, svm_exit_npf, svm_exit_other;

/* events.c */
void svm_inject(struct mezz_vcpu *v, enum mezz_event_type type, u8 vector,
		bool has_err, u32 err, unsigned int insn_len);
void svm_cancel_injection(struct mezz_vcpu *v);
/* After an exit: put the event in @info back into v->ev. [A] */
void svm_requeue(struct svm_vcpu *svm, u32 info, u32 err);
/* After an exit with svm->post set. [A] */
void svm_after_exit(struct svm_vcpu *svm);
u32 svm_get_shadow(struct mezz_vcpu *v);
void svm_set_shadow(struct mezz_vcpu *v, u32 shadow);
bool svm_irq_allowed(struct mezz_vcpu *v);
bool svm_nmi_allowed(struct mezz_vcpu *v);
bool svm_get_nmi_mask(struct mezz_vcpu *v);
void svm_set_nmi_mask(struct mezz_vcpu *v, bool masked);
void svm_open_irq_window(struct mezz_vcpu *v);
void svm_close_irq_window(struct svm_vcpu *svm);
void svm_open_nmi_window(struct mezz_vcpu *v);
/* The guest reached IRET with NMIs masked. [A] */
void svm_iret_seen(struct svm_vcpu *svm);
/* Single-stepping for @who begins or ends. [S] */
void svm_step_on(struct svm_vcpu *svm, u8 who);
void svm_step_off(struct svm_vcpu *svm, u8 who);

/* msr.c */
extern struct mezz_msr_map svm_msr_map;
void svm_msr_reset(struct svm_vcpu *svm, bool init);
int svm_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data);
int svm_set_msr(struct mezz_vcpu *v, u32 msr, u64 data);
int svm_msr_intercept(struct mezz_vcpu *v, u32 msr, bool read, bool write);
void svm_update_spec(struct mezz_vcpu *v);
extern const u32 svm_direct_msrs[], svm_msrs[];

/* asid.c */
void svm_flush_tlb(struct mezz_vcpu *v);
/* Give @svm an ASID that is valid on this CPU. [A] */
void svm_get_asid(struct svm_vcpu *svm, struct svm_cpu *cpu);
/* The section ends and a flush that was asked for has not been done. [A] */
void svm_flush_undone(struct svm_vcpu *svm, struct svm_cpu *cpu);

#endif
