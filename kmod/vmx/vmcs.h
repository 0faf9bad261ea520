/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Intel VMX: the control structure's fields (VMCS), the bits in them, and the
 * instructions that reach them.
 *
 * References "SDM 3" are to volume 3 of the Intel 64 and IA-32 Architectures
 * Software Developer's Manual, by section title.
 *
 * The instructions are undefined while VMX is off, which a reboot does behind
 * the back of a running guest. They do nothing then (reads give 0), and the next
 * entry says so.
 */
#ifndef MEZZ_VMX_VMCS_H
#define MEZZ_VMX_VMCS_H

#ifdef __ASSEMBLY__
/* enter.S writes these two. */
#define VMCS_HOST_RSP		0x6c14
#define VMCS_HOST_RIP		0x6c16
#else

#include <linux/bits.h>
#include <linux/types.h>
#include <asm/asm.h>

/* SDM 3, appendix "Field Encoding in VMCS" */
enum vmcs_field {
	/* 16 bits */
	VMCS_VPID = 0x0000,
	VMCS_GUEST_SEL = 0x0800,	/* + 2 * enum mezz_seg; so the next three */
	VMCS_GUEST_TR_SEL = 0x080e,
	VMCS_GUEST_APIC_STATUS = 0x0810,
	VMCS_GUEST_PML_INDEX = 0x0812,
	VMCS_HOST_ES_SEL = 0x0c00,
	VMCS_HOST_CS_SEL = 0x0c02,
	VMCS_HOST_SS_SEL = 0x0c04,
	VMCS_HOST_DS_SEL = 0x0c06,
	VMCS_HOST_FS_SEL = 0x0c08,
	VMCS_HOST_GS_SEL = 0x0c0a,
	VMCS_HOST_TR_SEL = 0x0c0c,
	/* 64 bits */
	VMCS_MSR_BITMAP = 0x2004,
	VMCS_PML_ADDRESS = 0x200e,
	VMCS_TSC_OFFSET = 0x2010,
	VMCS_VIRTUAL_APIC = 0x2012,
	VMCS_EPTP = 0x201a,
	VMCS_EOI_EXIT0 = 0x201c,	/* + 2 * number */
	VMCS_XSS_EXIT_BITMAP = 0x202c,
	VMCS_ENCLS_EXIT_BITMAP = 0x202e,
	VMCS_TSC_MULTIPLIER = 0x2032,
	VMCS_GPA = 0x2400,
	VMCS_LINK = 0x2800,
	VMCS_GUEST_DEBUGCTL = 0x2802,
	VMCS_GUEST_PAT = 0x2804,
	VMCS_GUEST_EFER = 0x2806,
	VMCS_GUEST_PDPTE0 = 0x280a,	/* + 2 * number */
	VMCS_HOST_PAT = 0x2c00,
	VMCS_HOST_EFER = 0x2c02,
	/* 32 bits */
	VMCS_PIN = 0x4000,
	VMCS_EXEC = 0x4002,
	VMCS_EXCEPTIONS = 0x4004,
	VMCS_PF_MASK = 0x4006,
	VMCS_PF_MATCH = 0x4008,
	VMCS_CR3_TARGETS = 0x400a,
	VMCS_EXIT_CTL = 0x400c,
	VMCS_EXIT_MSR_STORES = 0x400e,
	VMCS_EXIT_MSR_LOADS = 0x4010,
	VMCS_ENTRY_CTL = 0x4012,
	VMCS_ENTRY_MSR_LOADS = 0x4014,
	VMCS_ENTRY_INTR = 0x4016,
	VMCS_ENTRY_INTR_ERR = 0x4018,
	VMCS_ENTRY_INSN_LEN = 0x401a,
	VMCS_TPR_THRESHOLD = 0x401c,
	VMCS_EXEC2 = 0x401e,
	VMCS_PLE_GAP = 0x4020,
	VMCS_PLE_WINDOW = 0x4022,
	VMCS_INSN_ERROR = 0x4400,
	VMCS_EXIT_REASON = 0x4402,
	VMCS_EXIT_INTR = 0x4404,
	VMCS_EXIT_INTR_ERR = 0x4406,
	VMCS_IDT_INFO = 0x4408,
	VMCS_IDT_ERR = 0x440a,
	VMCS_EXIT_INSN_LEN = 0x440c,
	VMCS_GUEST_LIMIT = 0x4800,
	VMCS_GUEST_GDT_LIMIT = 0x4810,
	VMCS_GUEST_IDT_LIMIT = 0x4812,
	VMCS_GUEST_AR = 0x4814,
	VMCS_GUEST_SS_AR = 0x4818,
	VMCS_GUEST_TR_AR = 0x4822,
	VMCS_GUEST_INTR_STATE = 0x4824,
	VMCS_GUEST_ACTIVITY = 0x4826,
	VMCS_GUEST_SYSENTER_CS = 0x482a,
	VMCS_GUEST_TIMER = 0x482e,
	VMCS_HOST_SYSENTER_CS = 0x4c00,
	/* natural width */
	VMCS_CR0_MASK = 0x6000,
	VMCS_CR4_MASK = 0x6002,
	VMCS_CR0_SHADOW = 0x6004,
	VMCS_CR4_SHADOW = 0x6006,
	VMCS_QUALIFICATION = 0x6400,
	VMCS_GUEST_CR0 = 0x6800,
	VMCS_GUEST_CR3 = 0x6802,
	VMCS_GUEST_CR4 = 0x6804,
	VMCS_GUEST_BASE = 0x6806,
	VMCS_GUEST_FS_BASE = 0x680e,
	VMCS_GUEST_GS_BASE = 0x6810,
	VMCS_GUEST_TR_BASE = 0x6814,
	VMCS_GUEST_GDT_BASE = 0x6816,
	VMCS_GUEST_IDT_BASE = 0x6818,
	VMCS_GUEST_DR7 = 0x681a,
	VMCS_GUEST_RSP = 0x681c,
	VMCS_GUEST_RIP = 0x681e,
	VMCS_GUEST_RFLAGS = 0x6820,
	VMCS_GUEST_PENDING_DB = 0x6822,
	VMCS_GUEST_SYSENTER_ESP = 0x6824,
	VMCS_GUEST_SYSENTER_EIP = 0x6826,
	VMCS_HOST_CR0 = 0x6c00,
	VMCS_HOST_CR3 = 0x6c02,
	VMCS_HOST_CR4 = 0x6c04,
	VMCS_HOST_FS_BASE = 0x6c06,
	VMCS_HOST_GS_BASE = 0x6c08,
	VMCS_HOST_TR_BASE = 0x6c0a,
	VMCS_HOST_GDT_BASE = 0x6c0c,
	VMCS_HOST_IDT_BASE = 0x6c0e,
	VMCS_HOST_SYSENTER_ESP = 0x6c10,
	VMCS_HOST_SYSENTER_EIP = 0x6c12,
	VMCS_HOST_RSP = 0x6c14,
	VMCS_HOST_RIP = 0x6c16,
};

/* VMCS_PIN */
#define PIN_INTR		BIT(0)
#define PIN_NMI			BIT(3)
#define PIN_VNMI		BIT(5)
#define PIN_TIMER		BIT(6)

/* VMCS_EXEC */
#define EXEC_INTR_WINDOW	BIT(2)
#define EXEC_TSC_OFFSET		BIT(3)
#define EXEC_HLT		BIT(7)
#define EXEC_MWAIT		BIT(10)
#define EXEC_RDPMC		BIT(11)
#define EXEC_CR3_LOAD		BIT(15)
#define EXEC_CR3_STORE		BIT(16)
#define EXEC_CR8_LOAD		BIT(19)
#define EXEC_CR8_STORE		BIT(20)
#define EXEC_TPR_SHADOW		BIT(21)
#define EXEC_NMI_WINDOW		BIT(22)
#define EXEC_MOV_DR		BIT(23)
#define EXEC_IO			BIT(24)
#define EXEC_MSR_BITMAP		BIT(28)
#define EXEC_MONITOR		BIT(29)
#define EXEC_SECONDARY		BIT(31)

/* VMCS_EXEC2 */
#define EXEC2_APIC_ACCESS	BIT(0)
#define EXEC2_EPT		BIT(1)
#define EXEC2_RDTSCP		BIT(3)
#define EXEC2_X2APIC		BIT(4)
#define EXEC2_VPID		BIT(5)
#define EXEC2_WBINVD		BIT(6)
#define EXEC2_UNRESTRICTED	BIT(7)
#define EXEC2_APIC_REGS		BIT(8)
#define EXEC2_VID		BIT(9)
#define EXEC2_APIC		(EXEC2_X2APIC | EXEC2_APIC_REGS | EXEC2_VID)
#define EXEC2_PLE		BIT(10)
#define EXEC2_INVPCID		BIT(12)
#define EXEC2_ENCLS		BIT(15)
#define EXEC2_PML		BIT(17)
#define EXEC2_XSAVES		BIT(20)
#define EXEC2_TSC_SCALING	BIT(25)

/* VMCS_GUEST_APIC_STATUS: "Guest Interrupt Status" */
#define APIC_STATUS_RVI		0xffu		/* highest vector that is requested */
#define APIC_STATUS_SVI_SHIFT	8		/* in service */

/* VMCS_EXIT_CTL */
#define EXIT_SAVE_DEBUG		BIT(2)
#define EXIT_HOST_64		BIT(9)
#define EXIT_LOAD_PAT		BIT(19)
#define EXIT_LOAD_EFER		BIT(21)

/* VMCS_ENTRY_CTL */
#define ENTRY_LOAD_DEBUG	BIT(2)
#define ENTRY_IA32E		BIT(9)
#define ENTRY_LOAD_PAT		BIT(14)
#define ENTRY_LOAD_EFER		BIT(15)

/* VMCS_ENTRY_INTR, VMCS_EXIT_INTR, VMCS_IDT_INFO */
#define INTR_VECTOR		0xffu
#define INTR_TYPE		(7u << 8)
#define INTR_TYPE_IRQ		(0u << 8)
#define INTR_TYPE_NMI		(2u << 8)
#define INTR_TYPE_EXC		(3u << 8)
#define INTR_TYPE_SOFT		(4u << 8)	/* INT n */
#define INTR_TYPE_ICEBP		(5u << 8)	/* INT1 */
#define INTR_TYPE_SOFT_EXC	(6u << 8)	/* INT3, INTO */
#define INTR_ERR		BIT(11)
#define EXC_WITH_ERROR		0x27d00u	/* vectors of those that push an error code */
#define INTR_NMI_UNBLOCK	BIT(12)		/* exit: IRET had unblocked NMIs */
#define INTR_VALID		BIT(31)

/* VMCS_GUEST_INTR_STATE */
#define STATE_STI		BIT(0)
#define STATE_MOV_SS		BIT(1)
#define STATE_SMI		BIT(2)
#define STATE_NMI		BIT(3)

/* VMCS_GUEST_PENDING_DB */
#define PENDING_DB_BS		BIT_ULL(14)

/* VMCS_GUEST_AR: as in a descriptor, shifted, and one more */
#define SEG_AR_TYPE			0x0fu
#define SEG_AR_S			BIT(4)
#define SEG_AR_DPL_SHIFT		5
#define SEG_AR_P			BIT(7)
#define SEG_AR_AVL			BIT(12)
#define SEG_AR_L			BIT(13)
#define SEG_AR_DB			BIT(14)
#define SEG_AR_G			BIT(15)
#define SEG_AR_UNUSABLE		BIT(16)

/* VMCS_QUALIFICATION of control-register accesses */
#define CR_NUMBER		0xfu
#define CR_ACCESS(q)		((q) >> 4 & 3)
#define CR_ACCESS_TO		0
#define CR_ACCESS_FROM		1
#define CR_GPR(q)		((q) >> 8 & 0xf)

/* VMCS_QUALIFICATION of IN and OUT */
#define IO_SIZE(q)		(((q) & 7) + 1)
#define IO_IN			BIT(3)
#define IO_STRING		BIT(4)
#define IO_PORT(q)		((q) >> 16)

/* VMCS_QUALIFICATION of EPT violations */
#define EPT_Q_WRITE		BIT(1)
#define EPT_Q_EXEC		BIT(2)
#define EPT_Q_LINEAR		BIT(7)		/* a linear address was translated... */
#define EPT_Q_FINAL		BIT(8)		/* ...and this is its translation */
#define EPT_Q_NMI_UNBLOCK	BIT(12)

/* Exit reasons: SDM 3, appendix "VMX Basic Exit Reasons" */
enum vmx_reason {
	VMX_EXCEPTION = 0,
	VMX_INTR = 1,
	VMX_TRIPLE_FAULT = 2,
	VMX_INIT = 3,
	VMX_SIPI = 4,
	VMX_INTR_WINDOW = 7,
	VMX_NMI_WINDOW = 8,
	VMX_TASK_SWITCH = 9,
	VMX_CPUID = 10,
	VMX_GETSEC = 11,
	VMX_HLT = 12,
	VMX_INVD = 13,
	VMX_RDPMC = 15,
	VMX_VMCALL = 18,
	VMX_VMCLEAR = 19,
	VMX_VMXON = 27,
	VMX_CR = 28,
	VMX_DR = 29,
	VMX_IO = 30,
	VMX_RDMSR = 31,
	VMX_WRMSR = 32,
	VMX_MWAIT = 36,
	VMX_MONITOR = 39,
	VMX_PAUSE = 40,
	VMX_ENTRY_MC = 41,
	VMX_TPR = 43,
	VMX_EOI = 45,
	VMX_EPT_VIOLATION = 48,
	VMX_EPT_MISCONFIG = 49,
	VMX_INVEPT = 50,
	VMX_TIMER = 52,
	VMX_INVVPID = 53,
	VMX_WBINVD = 54,
	VMX_XSETBV = 55,
	VMX_APIC_WRITE = 56,
	VMX_VMFUNC = 59,
	VMX_ENCLS = 60,
	VMX_PML_FULL = 62,
	VMX_NR_REASONS = 64,
};

#define REASON_BASIC		0xffffu
#define REASON_ENTRY_FAILED	BIT(31)

/*
 * The whole region is the CPU's; software writes the revision into it.
 * Bit 31 of the revision would make it a shadow VMCS.
 */
struct vmx_region {
	u32 revision;
	u32 abort;
	u8 opaque[4096 - 8];
};

static_assert(sizeof(struct vmx_region) == 4096);

/* --- instructions --- */

static __always_inline u64 vmread(enum vmcs_field field)
{
	u64 val = 0;

	asm volatile("1:\tvmread %1, %0\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : "+r" (val) : "r" ((u64)field) : "cc");
	return val;
}

static __always_inline void vmwrite(enum vmcs_field field, u64 val)
{
	asm volatile("1:\tvmwrite %0, %1\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : : "r" (val), "r" ((u64)field) : "cc");
}

/* Make a VMCS current, or write one back and forget it; @pa: where the region is. */
static inline void vmptrld(u64 pa)
{
	asm volatile("1:\tvmptrld %0\n2:\n" _ASM_EXTABLE(1b, 2b) : : "m" (pa) : "cc", "memory");
}

static inline void vmclear(u64 pa)
{
	asm volatile("1:\tvmclear %0\n2:\n" _ASM_EXTABLE(1b, 2b) : : "m" (pa) : "cc", "memory");
}

static inline int vmxon(u64 pa)
{
	int bad = 1;

	asm volatile("1:\tvmxon %1\n\tjbe 2f\n\txor %0, %0\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : "+r" (bad) : "m" (pa) : "cc", "memory");
	return bad;
}

static inline void vmxoff(void)
{
	asm volatile("1:\tvmxoff\n2:\n" _ASM_EXTABLE(1b, 2b) : : : "cc", "memory");
}

/* SDM 3, "INVEPT": type 1: of this EPTP, 2: of all */
static inline void invept(u64 type, u64 eptp)
{
	struct {
		u64 eptp, zero;
	} desc = { eptp, 0 };

	asm volatile("1:\tinvept %0, %1\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : : "m" (desc), "r" (type) : "cc", "memory");
}

/* SDM 3, "INVVPID": type 1: all of this VPID, 2: all of all */
static inline void invvpid(u64 type, u64 vpid)
{
	struct {
		u64 vpid, address;
	} desc = { vpid, 0 };

	asm volatile("1:\tinvvpid %0, %1\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : : "m" (desc), "r" (type) : "cc", "memory");
}

#endif /* __ASSEMBLY__ */
#endif
