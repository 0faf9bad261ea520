// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules of check.c: a good control structure violates none; with one change
 * (and what the change needs to matter) it violates exactly the one that it should.
 * The last test sees to it that no rule is without a case. Control words too.
 */
#include <kunit/test.h>
#include <linux/string.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "../../vcpu.h"
#include "check.h"

#define SEL(seg)	(VMCS_GUEST_SEL + 2 * MEZZ_##seg)
#define BASE(seg)	(VMCS_GUEST_BASE + 2 * MEZZ_##seg)
#define LIMIT(seg)	(VMCS_GUEST_LIMIT + 2 * MEZZ_##seg)
#define AR(seg)		(VMCS_GUEST_AR + 2 * MEZZ_##seg)

#define AR_CODE64	0xa09bu
#define AR_DATA		0xc093u
#define AR_REAL		0x93u
#define AR_V86		0xf3u
#define NOT_CANONICAL	0x800000000000ull
#define BEYOND		BIT_ULL(40)	/* physical addresses have 40 bits */

#define PIN		(PIN_INTR | PIN_NMI | PIN_VNMI | 0x16)
#define EXEC		(EXEC_HLT | EXEC_TPR_SHADOW | EXEC_MSR_BITMAP | EXEC_SECONDARY)
#define EXEC2		(EXEC2_EPT | EXEC2_VPID | EXEC2_UNRESTRICTED)
#define EXIT		(EXIT_HOST_64 | EXIT_LOAD_PAT | EXIT_LOAD_EFER)
#define ENTRY		(ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER)
#define MAY(bits)	((u64)(bits) << 32)

static const struct vmx_caps all_caps = {
	.pin = MAY(0xff) | 0x16,
	.exec = MAY(~0u & ~1u),
	.exec2 = MAY(~BIT(30)),
	.exit = MAY(~1u),
	.entry = MAY(~1u),
	.misc = 3ull << 16 | 3ull << 6,
	.ept_vpid = EPT_CAP_4_LEVELS | EPT_CAP_WB | EPT_CAP_AD,
	.cr0_fixed0 = X86_CR0_PE | X86_CR0_NE | X86_CR0_PG, .cr0_fixed1 = 0xffffffff,
	.cr4_fixed0 = X86_CR4_VMXE, .cr4_fixed1 = 0x3fffff,
	.phys_bits = 40, .virt_bits = 48,
};

struct change {
	u32 field;
	u64 val;
};

static const struct change host_and_controls[] = {
	{ VMCS_PIN, PIN }, { VMCS_EXEC, EXEC }, { VMCS_EXEC2, EXEC2 }, { VMCS_EXIT_CTL, EXIT },
	{ VMCS_VPID, 1 }, { VMCS_MSR_BITMAP, 0x1000 }, { VMCS_VIRTUAL_APIC, 0x2000 },
	{ VMCS_EPTP, 0x3000 | EPTP_AD | 3 << EPTP_LEVELS_SHIFT | MEM_TYPE_WB },
	{ VMCS_HOST_CR0, 0x80050033 }, { VMCS_HOST_CR3, 0x4000 },
	{ VMCS_HOST_CR4, X86_CR4_VMXE | X86_CR4_PAE }, { VMCS_HOST_CS_SEL, 0x10 },
	{ VMCS_HOST_SS_SEL, 0x18 }, { VMCS_HOST_TR_SEL, 0x40 },
	{ VMCS_HOST_PAT, 0x0007040600070406 }, { VMCS_HOST_EFER, EFER_LME | EFER_LMA | EFER_SCE },
	{ VMCS_HOST_RIP, 0xffffffff81000000 }, { VMCS_HOST_GS_BASE, 0xffff888000000000 },
	{ VMCS_LINK, ~0ull }, { VMCS_GUEST_PAT, 0x0007040600070406 },
	{ VMCS_GUEST_RFLAGS, X86_EFLAGS_FIXED | X86_EFLAGS_IF }, { VMCS_GUEST_DR7, 0x400 },
	{ VMCS_GUEST_CR4, X86_CR4_VMXE | X86_CR4_PAE }, { VMCS_GUEST_IDT_LIMIT, 0xfff },
	{ AR(LDTR), SEG_AR_UNUSABLE }, { AR(TR), 0x8b }, { LIMIT(TR), 0x67 },
};

static const struct change long_mode[] = {
	{ VMCS_ENTRY_CTL, ENTRY | ENTRY_IA32E }, { VMCS_GUEST_CR0, 0x80000031 },
	{ VMCS_GUEST_EFER, EFER_LME | EFER_LMA }, { AR(CS), AR_CODE64 }, { SEL(CS), 8 },
	{ AR(SS), AR_DATA }, { AR(DS), AR_DATA }, { AR(ES), AR_DATA }, { AR(FS), AR_DATA },
	{ AR(GS), AR_DATA }, { LIMIT(CS), ~0u }, { LIMIT(SS), ~0u }, { LIMIT(DS), ~0u },
	{ LIMIT(ES), ~0u }, { LIMIT(FS), ~0u }, { LIMIT(GS), ~0u },
	{ VMCS_GUEST_RIP, 0xffffffff81000000 },
};

/* PAE paging, 32 bits */
static const struct change protected_mode[] = {
	{ VMCS_ENTRY_CTL, ENTRY }, { VMCS_GUEST_EFER, 0 }, { AR(CS), 0xc09b },
	{ VMCS_GUEST_RIP, 0x1000 },
};

static const struct change real_mode[] = {
	{ VMCS_ENTRY_CTL, ENTRY }, { VMCS_GUEST_EFER, 0 }, { VMCS_GUEST_CR0, X86_CR0_NE },
	{ VMCS_GUEST_RIP, 0x1000 }, { AR(CS), AR_REAL }, { AR(SS), AR_REAL },
	{ AR(DS), AR_REAL }, { AR(ES), AR_REAL }, { AR(FS), AR_REAL }, { AR(GS), AR_REAL },
	{ LIMIT(CS), 0xffff }, { LIMIT(SS), 0xffff }, { LIMIT(DS), 0xffff },
	{ LIMIT(ES), 0xffff }, { LIMIT(FS), 0xffff }, { LIMIT(GS), 0xffff }, { SEL(CS), 0 },
};

static const struct change v86_mode[] = {
	{ VMCS_GUEST_CR0, 0x80000031 }, { VMCS_GUEST_RFLAGS, 0x20202 }, { AR(CS), AR_V86 },
	{ AR(SS), AR_V86 }, { AR(DS), AR_V86 }, { AR(ES), AR_V86 }, { AR(FS), AR_V86 },
	{ AR(GS), AR_V86 },
};

enum base { LONG, PAE, REAL, V86 };

struct rule_case {
	const char *rule;	/* part of its text; NULL: none is violated */
	u32 field;
	u64 val;
	struct change with[3];
	u64 no_ept_cap;		/* capabilities that the CPU lacks */
	enum base base;
};

static void apply(struct vmx_snapshot *s, const struct change *c, unsigned int n)
{
	while (n--) {
		s->f[vmx_place(c->field)] = c->val;
		c++;
	}
}

static void make(struct vmx_snapshot *s, enum base base)
{
	memset(s, 0, sizeof(*s));
	s->caps = &all_caps;
	apply(s, host_and_controls, ARRAY_SIZE(host_and_controls));
	apply(s, long_mode, ARRAY_SIZE(long_mode));
	if (base == PAE)
		apply(s, protected_mode, ARRAY_SIZE(protected_mode));
	if (base == REAL || base == V86)
		apply(s, real_mode, ARRAY_SIZE(real_mode));
	if (base == V86)
		apply(s, v86_mode, ARRAY_SIZE(v86_mode));
}

#define CASE(text, f, v, ...)	{ .rule = text, .field = f, .val = v, ##__VA_ARGS__ }
#define WITH(...)		.with = { __VA_ARGS__ }
#define INJECT(type, vector)	(INTR_VALID | (type) | (vector))
#define RESTRICTED		{ VMCS_EXEC2, EXEC2_EPT | EXEC2_VPID }

static const struct rule_case cases[] = {
	CASE(NULL, VMCS_VPID, 7),
	CASE(NULL, VMCS_VPID, 7, .base = PAE),
	CASE(NULL, VMCS_VPID, 7, .base = REAL),
	CASE(NULL, VMCS_VPID, 7, .base = V86),
	CASE(NULL, VMCS_EXEC2, EXEC2_EPT | EXEC2_VPID),
	CASE("pin-based controls", VMCS_PIN, PIN & ~2u),
	CASE("primary controls", VMCS_EXEC, EXEC | 1),
	CASE("secondary controls", VMCS_EXEC2, EXEC2 | BIT(30)),
	CASE("CR3 targets", VMCS_CR3_TARGETS, 4),
	CASE("MSR bitmap", VMCS_MSR_BITMAP, 0x1800),
	CASE("MSR bitmap", VMCS_MSR_BITMAP, BEYOND),
	CASE("virtual-APIC page", VMCS_VIRTUAL_APIC, 0x2001),
	CASE("TPR threshold: reserved", VMCS_TPR_THRESHOLD, 0x10),
	CASE("TPR threshold: above", VMCS_TPR_THRESHOLD, 1),
	CASE(NULL, VMCS_TPR_THRESHOLD, 0x11, WITH({ VMCS_EXEC, EXEC & ~EXEC_TPR_SHADOW })),
	CASE(NULL, VMCS_TPR_THRESHOLD, 0x11, WITH({ VMCS_EXEC2, EXEC2 | EXEC2_APIC })),
	CASE(NULL, VMCS_TPR_THRESHOLD, 1, WITH({ VMCS_EXEC2, EXEC2 | EXEC2_APIC_ACCESS })),
	CASE("without TPR", VMCS_EXEC, EXEC & ~EXEC_TPR_SHADOW,
	     WITH({ VMCS_EXEC2, EXEC2 | EXEC2_X2APIC })),
	CASE("without TPR", VMCS_EXEC, EXEC & ~EXEC_TPR_SHADOW,
	     WITH({ VMCS_EXEC2, EXEC2 | EXEC2_APIC_REGS })),
	CASE("without TPR", VMCS_EXEC, EXEC & ~EXEC_TPR_SHADOW,
	     WITH({ VMCS_EXEC2, EXEC2 | EXEC2_VID })),
	CASE("x2APIC mode beside", VMCS_EXEC2, EXEC2 | EXEC2_X2APIC | EXEC2_APIC_ACCESS),
	CASE(NULL, VMCS_EXEC2, EXEC2 | EXEC2_APIC_REGS | EXEC2_APIC_ACCESS),
	CASE("without interrupt exiting", VMCS_PIN, PIN & ~PIN_INTR,
	     WITH({ VMCS_EXEC2, EXEC2 | EXEC2_VID })),
	CASE(NULL, VMCS_PIN, PIN & ~PIN_INTR),
	CASE("virtual NMIs without", VMCS_PIN, PIN & ~PIN_NMI),
	CASE("NMI-window exiting", VMCS_EXEC, EXEC | EXEC_NMI_WINDOW,
	     WITH({ VMCS_PIN, PIN & ~PIN_VNMI })),
	CASE("VPID: 0", VMCS_VPID, 0),
	CASE("unrestricted guest without", VMCS_EXEC2, EXEC2 & ~EXEC2_EPT),
	CASE("log without EPT", VMCS_EXEC2, EXEC2_PML),
	CASE("EPT pointer: memory type", VMCS_EPTP, 0x3018),
	CASE("EPT pointer: number of levels", VMCS_EPTP, 0x3026),
	CASE("EPT pointer: accessed", VMCS_VPID, 1, .no_ept_cap = EPT_CAP_AD),
	CASE("EPT pointer: reserved", VMCS_EPTP, 0x311e),
	CASE("page-modification log: not", VMCS_PML_ADDRESS, 0x10,
	     WITH({ VMCS_EXEC2, EXEC2 | EXEC2_PML })),
	CASE("TSC multiplier", VMCS_EXEC2, EXEC2 | EXEC2_TSC_SCALING),
	CASE("exit controls", VMCS_EXIT_CTL, EXIT | 1),
	CASE("entry controls", VMCS_ENTRY_CTL, ENTRY | ENTRY_IA32E | 1),
	CASE("reserved type 1", VMCS_ENTRY_INTR, INJECT(1u << 8, 0)),
	CASE("type 7", VMCS_ENTRY_INTR, INJECT(7u << 8, 0)),
	CASE("injection: vector", VMCS_ENTRY_INTR, INJECT(INTR_TYPE_NMI, 3)),
	CASE("injection: vector", VMCS_ENTRY_INTR, INJECT(INTR_TYPE_EXC, 32)),
	CASE("injection: error code", VMCS_ENTRY_INTR, INJECT(INTR_TYPE_EXC | INTR_ERR, 6)),
	CASE("injection: error code", VMCS_ENTRY_INTR, INJECT(INTR_TYPE_EXC, 13)),
	CASE("injection: error code", VMCS_ENTRY_INTR, INJECT(INTR_TYPE_IRQ | INTR_ERR, 32)),
	CASE("injection: error code", VMCS_ENTRY_INTR, INJECT(INTR_TYPE_EXC | INTR_ERR, 13),
	     .base = REAL),
	CASE(NULL, VMCS_ENTRY_INTR, INJECT(INTR_TYPE_EXC | INTR_ERR, 13)),
	CASE("injection: reserved bits", VMCS_ENTRY_INTR, INJECT(INTR_TYPE_IRQ | BIT(20), 32)),
	CASE("injection: upper half", VMCS_ENTRY_INTR_ERR, 0x10000,
	     WITH({ VMCS_ENTRY_INTR, INJECT(INTR_TYPE_EXC | INTR_ERR, 13) })),
	CASE("injection: instruction length", VMCS_ENTRY_INTR, INJECT(INTR_TYPE_SOFT, 0x80)),
	CASE("injection: instruction length", VMCS_ENTRY_INSN_LEN, 16,
	     WITH({ VMCS_ENTRY_INTR, INJECT(INTR_TYPE_SOFT_EXC, 3) })),
	CASE("host CR0", VMCS_HOST_CR0, 0x80050013),
	CASE("host CR4: bits", VMCS_HOST_CR4, X86_CR4_PAE),
	CASE("host CR3", VMCS_HOST_CR3, BEYOND),
	CASE("host SYSENTER_ESP", VMCS_HOST_SYSENTER_ESP, NOT_CANONICAL),
	CASE("host SYSENTER_EIP", VMCS_HOST_SYSENTER_EIP, NOT_CANONICAL),
	CASE("host PAT", VMCS_HOST_PAT, 0x0002040600070406),
	CASE("host EFER: reserved", VMCS_HOST_EFER, EFER_LME | EFER_LMA | 2),
	CASE("host EFER: LME", VMCS_HOST_EFER, EFER_LME),
	CASE("host ES", VMCS_HOST_ES_SEL, 3),
	CASE("host CS: RPL", VMCS_HOST_CS_SEL, 0x14),
	CASE("host SS", VMCS_HOST_SS_SEL, 0x19),
	CASE("host DS", VMCS_HOST_DS_SEL, 3),
	CASE("host FS:", VMCS_HOST_FS_SEL, 4),
	CASE("host GS:", VMCS_HOST_GS_SEL, 1),
	CASE("host TR: RPL", VMCS_HOST_TR_SEL, 0x44),
	CASE("host CS: null", VMCS_HOST_CS_SEL, 0),
	CASE("host TR: null", VMCS_HOST_TR_SEL, 0),
	CASE("host FS base", VMCS_HOST_FS_BASE, NOT_CANONICAL),
	CASE("host GS base", VMCS_HOST_GS_BASE, NOT_CANONICAL),
	CASE("host TR base", VMCS_HOST_TR_BASE, NOT_CANONICAL),
	CASE("host GDTR", VMCS_HOST_GDT_BASE, NOT_CANONICAL),
	CASE("host IDTR", VMCS_HOST_IDT_BASE, NOT_CANONICAL),
	CASE("host address-space size", VMCS_EXIT_CTL, EXIT & ~EXIT_HOST_64),
	CASE("host CR4: no PAE", VMCS_HOST_CR4, X86_CR4_VMXE),
	CASE("host RIP", VMCS_HOST_RIP, NOT_CANONICAL),
	CASE("guest CR0: bits", VMCS_GUEST_CR0, 0x80000011),
	CASE("guest CR0: bits", VMCS_GUEST_CR0, 0x80000031 | BIT_ULL(32)),
	CASE(NULL, VMCS_GUEST_CR0, 0xe0000031),
	CASE("guest CR0: bits", VMCS_GUEST_CR0, 0x31, WITH(RESTRICTED), .base = PAE),
	CASE("PG without PE", VMCS_GUEST_CR0, 0x80000020, .base = REAL),
	CASE("guest CR4: bits", VMCS_GUEST_CR4, X86_CR4_PAE),
	CASE("guest DEBUGCTL", VMCS_GUEST_DEBUGCTL, 8),
	CASE("no PG in IA-32e", VMCS_GUEST_CR0, 0x31),
	CASE("no PAE in IA-32e", VMCS_GUEST_CR4, X86_CR4_VMXE),
	CASE("PCIDE outside", VMCS_GUEST_CR4, X86_CR4_VMXE | X86_CR4_PCIDE, .base = REAL),
	CASE(NULL, VMCS_GUEST_CR4, X86_CR4_VMXE | X86_CR4_PAE | X86_CR4_PCIDE),
	CASE("guest CR3", VMCS_GUEST_CR3, BEYOND),
	CASE("guest DR7", VMCS_GUEST_DR7, BIT_ULL(32)),
	CASE("guest SYSENTER_ESP", VMCS_GUEST_SYSENTER_ESP, NOT_CANONICAL),
	CASE("guest SYSENTER_EIP", VMCS_GUEST_SYSENTER_EIP, NOT_CANONICAL),
	CASE("guest PAT", VMCS_GUEST_PAT, 0x0007040600080406),
	CASE("guest EFER: reserved", VMCS_GUEST_EFER, EFER_LME | EFER_LMA | 2),
	CASE("no LMA in", VMCS_GUEST_EFER, 0),
	CASE("LMA outside", VMCS_GUEST_EFER, EFER_LME | EFER_LMA, .base = PAE),
	CASE("LMA without LME", VMCS_GUEST_EFER, EFER_LMA),
	CASE("LME without LMA", VMCS_GUEST_EFER, EFER_LME, .base = PAE),
	CASE(NULL, VMCS_GUEST_EFER, EFER_LME, .base = REAL),
	CASE("guest TR: TI", SEL(TR), 4),
	CASE("guest LDTR: TI", SEL(LDTR), 4, WITH({ AR(LDTR), 0x82 })),
	CASE(NULL, SEL(LDTR), 4),
	CASE("guest SS: RPL", SEL(CS), 9, WITH(RESTRICTED)),
	CASE("base is not 16 times", BASE(DS), 0x10, .base = V86),
	CASE(NULL, SEL(DS), 1, WITH({ BASE(DS), 0x10 }), .base = V86),
	CASE("guest TR base", BASE(TR), NOT_CANONICAL),
	CASE("guest FS base", BASE(FS), NOT_CANONICAL),
	CASE("guest GS base", BASE(GS), NOT_CANONICAL),
	CASE("guest LDTR base", BASE(LDTR), NOT_CANONICAL, WITH({ AR(LDTR), 0x82 })),
	CASE("upper half of the base", BASE(ES), BIT_ULL(32)),
	CASE("upper half of the base", BASE(CS), BIT_ULL(32)),
	CASE(NULL, BASE(ES), BIT_ULL(32), WITH({ AR(ES), SEG_AR_UNUSABLE })),
	CASE("virtual-8086 mode: limit", LIMIT(GS), 0xfffff, .base = V86),
	CASE("virtual-8086 mode: access", AR(SS), 0x93, .base = V86),
	CASE("guest CS: type", AR(CS), 0xa09a),
	CASE("guest CS: type", AR(CS), AR_REAL, WITH(RESTRICTED,
						     { VMCS_GUEST_CR0, 0x80000031 }),
	     .base = REAL),
	CASE("guest SS: type", AR(SS), 0xc091),
	CASE("not accessed", AR(FS), 0xc092),
	CASE("cannot be read", AR(DS), 0xc099),
	CASE("a system segment", AR(ES), 0xc083),
	CASE("guest CS: DPL", AR(CS), AR_CODE64 | 0x60),
	CASE("guest CS: DPL", AR(CS), 0xa0ff),
	CASE("guest CS: DPL", AR(CS), 0xb3, .base = REAL),
	CASE("guest SS: DPL", AR(SS), 0xf3, .base = REAL),
	CASE("guest SS: DPL", SEL(SS), 3, WITH({ SEL(CS), 0xb }, RESTRICTED)),
	CASE("DPL below RPL", SEL(DS), 3, WITH(RESTRICTED)),
	CASE(NULL, SEL(DS), 3),
	CASE("not present", AR(GS), 0xc013),
	CASE("guest segment: reserved", AR(DS), 0xc193),
	CASE("both L and D", AR(CS), AR_CODE64 | SEG_AR_DB),
	CASE("not of whole pages", LIMIT(DS), 0xfffff000),
	CASE("above 1 MiB", LIMIT(TR), 0x100000),
	CASE("not the type of a busy", AR(TR), 0x89, .base = PAE),
	CASE("not a 64-bit TSS", AR(TR), 0x83),
	CASE(NULL, AR(TR), 0x83, .base = PAE),
	CASE("guest TR: S,", AR(TR), 0x8b | SEG_AR_UNUSABLE),
	CASE("guest LDTR: type", AR(LDTR), 0x83),
	CASE("guest GDTR base", VMCS_GUEST_GDT_BASE, NOT_CANONICAL),
	CASE("guest IDTR base", VMCS_GUEST_IDT_BASE, NOT_CANONICAL),
	CASE("guest GDTR limit", VMCS_GUEST_GDT_LIMIT, 0x10000),
	CASE("guest IDTR limit", VMCS_GUEST_IDT_LIMIT, 0x10000),
	CASE("guest RIP", VMCS_GUEST_RIP, NOT_CANONICAL),
	CASE("guest RIP", VMCS_GUEST_RIP, BIT_ULL(32), .base = PAE),
	CASE("guest RFLAGS: reserved", VMCS_GUEST_RFLAGS, 0x20a),
	CASE("bit 1 clear", VMCS_GUEST_RFLAGS, 0x200),
	CASE("VM in IA-32e mode", VMCS_ENTRY_CTL, ENTRY | ENTRY_IA32E,
	     WITH({ VMCS_GUEST_EFER, EFER_LME | EFER_LMA }), .base = V86),
	CASE("VM in real mode", VMCS_GUEST_CR0, 0x20, .base = V86),
	CASE("injected with IF clear", VMCS_GUEST_RFLAGS, 2,
	     WITH({ VMCS_ENTRY_INTR, INJECT(INTR_TYPE_IRQ, 32) })),
	CASE("activity state: one that", VMCS_GUEST_ACTIVITY, 3),
	CASE("activity state: halted", VMCS_GUEST_ACTIVITY, 1,
	     WITH({ AR(SS), 0xc0f3 }, { AR(CS), AR_CODE64 | 0x60 })),
	CASE("active, blocking by STI", VMCS_GUEST_ACTIVITY, 1,
	     WITH({ VMCS_GUEST_INTR_STATE, STATE_STI })),
	CASE("active, blocking by MOV SS", VMCS_GUEST_ACTIVITY, 1,
	     WITH({ VMCS_GUEST_INTR_STATE, STATE_MOV_SS })),
	CASE("interruptibility: reserved", VMCS_GUEST_INTR_STATE, 0x20),
	CASE("both STI and MOV SS", VMCS_GUEST_INTR_STATE, STATE_STI | STATE_MOV_SS),
	CASE("by STI with IF clear", VMCS_GUEST_INTR_STATE, STATE_STI,
	     WITH({ VMCS_GUEST_RFLAGS, 2 })),
	CASE("interrupt is injected into a shadow", VMCS_GUEST_INTR_STATE, STATE_STI,
	     WITH({ VMCS_ENTRY_INTR, INJECT(INTR_TYPE_IRQ, 32) })),
	CASE("NMI is injected into", VMCS_GUEST_INTR_STATE, STATE_MOV_SS,
	     WITH({ VMCS_ENTRY_INTR, INJECT(INTR_TYPE_NMI, 2) })),
	CASE("while NMIs are blocked", VMCS_GUEST_INTR_STATE, STATE_NMI,
	     WITH({ VMCS_ENTRY_INTR, INJECT(INTR_TYPE_NMI, 2) })),
	CASE("blocking by SMI", VMCS_GUEST_INTR_STATE, STATE_SMI),
	CASE("pending debug: reserved", VMCS_GUEST_PENDING_DB, 0x10),
	CASE("pending debug: BS", VMCS_GUEST_INTR_STATE, STATE_STI,
	     WITH({ VMCS_GUEST_RFLAGS, 0x302 })),
	CASE("pending debug: BS", VMCS_GUEST_PENDING_DB, PENDING_DB_BS,
	     WITH({ VMCS_GUEST_INTR_STATE, STATE_MOV_SS })),
	CASE("link pointer", VMCS_LINK, 0x1000),
	CASE("guest PDPTE", VMCS_GUEST_PDPTE0 + 2, 0x23, .base = PAE),
	CASE(NULL, VMCS_GUEST_PDPTE0 + 2, 0x22, .base = PAE),
};

static void describe(const struct rule_case *c, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s, field %04x = %llx", c->rule ?: "none",
		 c->field, c->val);
}

KUNIT_ARRAY_PARAM(rules, cases, describe);

static void test_rule(struct kunit *test)
{
	const struct rule_case *c = test->param_value;
	struct vmx_snapshot *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	struct vmx_caps caps = all_caps;
	unsigned int i;
	int rule;

	KUNIT_ASSERT_NOT_NULL(test, s);
	make(s, c->base);
	rule = vmx_broken_rule(s, 0);
	KUNIT_ASSERT_TRUE_MSG(test, rule < 0, "already: %s", vmx_rule(rule));
	caps.ept_vpid &= ~c->no_ept_cap;
	s->caps = &caps;
	for (i = 0; i < ARRAY_SIZE(c->with); i++)
		if (c->with[i].field)
			apply(s, &c->with[i], 1);
	s->f[vmx_place(c->field)] = c->val;
	rule = vmx_broken_rule(s, 0);
	if (!c->rule) {
		KUNIT_EXPECT_TRUE_MSG(test, rule < 0, "%s", vmx_rule(rule));
		return;
	}
	KUNIT_ASSERT_GE(test, rule, 0);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(vmx_rule(rule), c->rule), "%s", vmx_rule(rule));
	rule = vmx_broken_rule(s, rule + 1);
	KUNIT_EXPECT_TRUE_MSG(test, rule < 0, "also: %s", vmx_rule(rule));
}

static void test_every_rule_has_a_case(struct kunit *test)
{
	unsigned int n, i;

	for (n = 0; vmx_rule(n); n++) {
		for (i = 0; i < ARRAY_SIZE(cases); i++)
			if (cases[i].rule && strstr(vmx_rule(n), cases[i].rule))
				break;
		KUNIT_EXPECT_LT_MSG(test, i, (unsigned int)ARRAY_SIZE(cases), "%s", vmx_rule(n));
	}
	KUNIT_EXPECT_GT(test, n, 90u);
}

/* Places are unique for all fields that there are names for. */
static void test_places(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < VMX_SNAPSHOT_FIELDS; i++)
		KUNIT_EXPECT_EQ(test, vmx_place(vmx_field_at(i)), i);
	KUNIT_EXPECT_EQ(test, vmx_field_at(vmx_place(VMCS_TSC_MULTIPLIER)), VMCS_TSC_MULTIPLIER);
	KUNIT_EXPECT_EQ(test, vmx_field_at(vmx_place(VMCS_HOST_RIP)), VMCS_HOST_RIP);
}

static struct kunit_case check_cases[] = {
	KUNIT_CASE_PARAM(test_rule, rules_gen_params),
	KUNIT_CASE(test_every_rule_has_a_case),
	KUNIT_CASE(test_places),
	{}
};

static struct kunit_suite check_suite = {
	.name = "mezz_vmx_entry_checks",
	.test_cases = check_cases,
};

/* --- control words --- */

static void test_must(struct kunit *test)
{
	u32 ctl = 0;

	KUNIT_EXPECT_EQ(test, vmx_control_word(MAY(0xff) | 0x16, 0, 0, &ctl), 0u);
	KUNIT_EXPECT_EQ(test, ctl, 0x16u);
}

static void test_need(struct kunit *test)
{
	u32 ctl = 0;

	KUNIT_EXPECT_EQ(test, vmx_control_word(MAY(0xff) | 0x16, 0x81, 0, &ctl), 0u);
	KUNIT_EXPECT_EQ(test, ctl, 0x97u);
}

static void test_want(struct kunit *test)
{
	u32 ctl = 0;

	/* One of the two wanted bits is there. */
	KUNIT_EXPECT_EQ(test, vmx_control_word(MAY(0x1f), 1, 0x28, &ctl), 0u);
	KUNIT_EXPECT_EQ(test, ctl, 9u);
}

static void test_lacking(struct kunit *test)
{
	u32 ctl = 0x1234;

	KUNIT_EXPECT_EQ(test, vmx_control_word(MAY(0x0f), 0x31, 0, &ctl), 0x30u);
	KUNIT_EXPECT_EQ(test, ctl, 0x1234u);
}

/* What comes out passes the check of the same capability. */
static void test_agrees(struct kunit *test)
{
	struct vmx_snapshot *s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	u32 ctl;

	KUNIT_ASSERT_NOT_NULL(test, s);
	make(s, LONG);
	KUNIT_EXPECT_EQ(test, vmx_control_word(all_caps.pin, PIN_INTR | PIN_NMI, ~0u, &ctl), 0u);
	s->f[vmx_place(VMCS_PIN)] = ctl;
	KUNIT_EXPECT_LT(test, vmx_broken_rule(s, 0), 0);
}

static struct kunit_case control_cases[] = {
	KUNIT_CASE(test_must),
	KUNIT_CASE(test_need),
	KUNIT_CASE(test_want),
	KUNIT_CASE(test_lacking),
	KUNIT_CASE(test_agrees),
	{}
};

static struct kunit_suite control_suite = {
	.name = "mezz_vmx_control_words",
	.test_cases = control_cases,
};

kunit_test_suites(&check_suite, &control_suite);
