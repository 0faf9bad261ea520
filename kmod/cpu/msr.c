// SPDX-License-Identifier: GPL-2.0-only
/*
 * RDMSR and WRMSR: who keeps an MSR, and what it accepts.
 *
 * The hot ones (x2APIC, TSC deadline, PAT, SPEC_CTRL) come first. The rest is in
 * groups: what is kept here, MTRRs (mtrr.c), machine check (mce.c), PV (pv/), what is
 * switched lazily (lazy.c), what the engine's control block holds, and last a table of
 * those that guests probe on one CPU model or another and that are there without
 * meaning.
 *
 * Known hacks: no SMM, so SMBASE does not exist and SMI_COUNT only remembers.
 * CPUID faulting is not offered (PLATFORM_INFO bit 31).
 */
#include <linux/string.h>
#include <asm/apicdef.h>
#include <asm/cpufeatures.h>
#include <asm/kvm_para.h>
#include <asm/msr-index.h>
#include <asm/tsc.h>

#include "../irq/irq.h"
#include "../pv/pv.h"
#include "internal.h"
#include "lazy.h"

#define MISC_ENABLE_NO_PMU	(MSR_IA32_MISC_ENABLE_BTS_UNAVAIL | \
				 MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL)
/* Flush filter, IGNNE emulation, TLB cache: nothing here has them. */
#define HWCR_IGNORED		(BIT_ULL(3) | BIT_ULL(6) | BIT_ULL(8))
#define HWCR_VALID		BIT_ULL(18)	/* McStatusWrEn */
#define PLATFORM_INFO_CPUID_FAULT BIT_ULL(31)

#define PV_MSR_FIRST		0x4b564d00u
#define PV_MSR_LAST		0x4b564dffu
#define MTRR_VAR_FIRST		0x200u
#define MTRR_VAR_LAST		(MTRR_VAR_FIRST + 2 * MEZZ_VAR_MTRRS - 1)
#define MCE_LAST		(MSR_IA32_MC0_CTL + 4 * MEZZ_MCE_BANKS - 1)

/* What an access came to. */
enum { DONE = 0, FAULT = MEZZ_MSR_INVALID, NOT_MINE = MEZZ_MSR_UNKNOWN };

/* --- MSRs without meaning --- */

/* A range of MSRs that read as a constant. */
struct inert {
	u32 first, last;
	u64 value;
	bool write;	/* writes are accepted and lost; else only @value, from user space */
};

static const struct inert inert[] = {
	{ MSR_IA32_PLATFORM_ID, MSR_IA32_PLATFORM_ID },
	{ MSR_IA32_EBL_CR_POWERON, MSR_IA32_EBL_CR_POWERON },
	/* Ratio of core to bus clock: a guest may divide by it. */
	{ MSR_EBC_FREQUENCY_ID, MSR_EBC_FREQUENCY_ID, 1 << 24 },
	{ MSR_IA32_UCODE_WRITE, MSR_IA32_UCODE_WRITE, 0, true },
	{ MSR_P6_PERFCTR0, MSR_P6_PERFCTR1, 0, true },
	{ MSR_FSB_FREQ, MSR_FSB_FREQ, 3 },
	{ MSR_IA32_BBL_CR_CTL3, MSR_IA32_BBL_CR_CTL3, 0xbe702111, true },
	{ MSR_P6_EVNTSEL0, MSR_P6_EVNTSEL1, 0, true },
	/* Clock ratio and voltage of an old core, as guests expect them. */
	{ MSR_IA32_PERF_STATUS, MSR_IA32_PERF_STATUS, 1000 | 4ull << 40 },
	{ MSR_IA32_PERF_CTL, MSR_IA32_PERF_CTL },
	/* No last-branch recording. */
	{ MSR_IA32_LASTBRANCHFROMIP, MSR_IA32_LASTINTTOIP },
	{ MSR_RAPL_POWER_UNIT, MSR_RAPL_POWER_UNIT },
	{ MSR_PKG_ENERGY_STATUS, MSR_PKG_ENERGY_STATUS },
	{ MSR_DRAM_ENERGY_STATUS, MSR_DRAM_ENERGY_STATUS },
	{ MSR_PP0_ENERGY_STATUS, MSR_PP0_ENERGY_STATUS },
	{ MSR_PP1_ENERGY_STATUS, MSR_PP1_ENERGY_STATUS },
	{ MSR_K7_EVNTSEL0, MSR_K7_PERFCTR3, 0, true },
	{ MSR_AMD64_SYSCFG, MSR_AMD64_SYSCFG },
	{ MSR_K7_CLK_CTL, MSR_K7_CLK_CTL, 0x20000000, true },
	{ MSR_AMD64_NB_CFG, MSR_AMD64_NB_CFG, 0, true },
	{ MSR_AMD64_PATCH_LOADER, MSR_AMD64_PATCH_LOADER, 0, true },
	{ MSR_K8_INT_PENDING_MSG, MSR_K8_INT_PENDING_MSG },
	{ MSR_FAM10H_MMIO_CONF_BASE, MSR_FAM10H_MMIO_CONF_BASE },
	{ MSR_K8_TSEG_ADDR, MSR_K8_TSEG_MASK },
	{ MSR_VM_CR, MSR_VM_CR },
	{ MSR_VM_HSAVE_PA, MSR_VM_HSAVE_PA },
	{ MSR_F15H_PERF_CTL, MSR_F15H_PERF_CTR5, 0, true },
	{ MSR_AMD64_DC_CFG, MSR_AMD64_TW_CFG, 0, true },
	{ MSR_AMD64_BU_CFG2, MSR_AMD64_BU_CFG2, 0, true },
	{ MSR_F15H_EX_CFG, MSR_F15H_EX_CFG, 0, true },
};

static const struct inert *find_inert(u32 msr)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(inert); i++)
		if (msr >= inert[i].first && msr <= inert[i].last)
			return &inert[i];
	return NULL;
}

/* --- groups --- */

static bool is_mce_ctl2(u32 msr)
{
	return msr - MSR_IA32_MC0_CTL2 < MEZZ_MCE_BANKS;
}

static bool is_mtrr(u32 msr)
{
	return (msr >= MTRR_VAR_FIRST && msr <= MTRR_VAR_LAST) ||
	       (msr >= MSR_MTRRfix64K_00000 && msr <= MSR_MTRRdefType &&
		msr != MSR_IA32_CR_PAT && !is_mce_ctl2(msr)) || msr == MSR_MTRRcap;
}

static bool is_mce(u32 msr)
{
	return (msr >= MSR_IA32_MC0_CTL && msr <= MCE_LAST) || msr <= MSR_IA32_P5_MC_TYPE ||
	       is_mce_ctl2(msr) ||
	       (msr >= MSR_IA32_MCG_CAP && msr <= MSR_IA32_MCG_CTL);
}

static bool is_pv(u32 msr)
{
	return (msr >= PV_MSR_FIRST && msr <= PV_MSR_LAST) ||
	       msr == MSR_KVM_WALL_CLOCK || msr == MSR_KVM_SYSTEM_TIME;
}

/* --- reading --- */

/* MSRs of struct mezz_cpu_state that a guest may always read. */
static const u64 *stored(struct mezz_cpu_state *st, u32 msr)
{
	switch (msr) {
	case MSR_IA32_TSC_ADJUST:
		return &st->tsc_adjust;
	case MSR_IA32_MISC_ENABLE:
		return &st->misc_enable;
	case MSR_SMI_COUNT:
		return &st->smi_count;
	case MSR_IA32_UCODE_REV:
		return &st->ucode_rev;
	case MSR_PLATFORM_INFO:
		return &st->platform_info;
	case MSR_IA32_POWER_CTL:
		return &st->power_ctl;
	case MSR_K7_HWCR:
		return &st->hwcr;
	case MSR_AMD64_DE_CFG:
		return &st->de_cfg;
	default:
		return NULL;
	}
}

static int get_core(struct mezz_vcpu *v, u32 msr, u64 *data, bool host)
{
	struct mezz_cpu_state *st = v->cpu_state;
	const u64 *p = stored(st, msr);

	if (unlikely(v->vm->hide_platform_info) && msr == MSR_PLATFORM_INFO && !host)
		return FAULT;
	if (p) {
		*data = *p;
		return DONE;
	}
	switch (msr) {
	case MSR_IA32_TSC:
		*data = mezz_guest_tsc(v, rdtsc());
		return DONE;
	case MSR_EFER:
		*data = mezz_get(v, MEZZ_EFER);
		return DONE;
	case MSR_IA32_APICBASE:
		*data = v->apic_base;
		return DONE;
	case MSR_MISC_FEATURES_ENABLES:
		*data = 0;
		return DONE;
	case MSR_IA32_XSS:
		*data = v->xss;
		return host || mezz_guest_has(v, X86_FEATURE_XSAVES) ? DONE : FAULT;
	case MSR_IA32_ARCH_CAPABILITIES:
		*data = st->arch_caps;
		return host || mezz_guest_has(v, X86_FEATURE_ARCH_CAPABILITIES) ? DONE : FAULT;
	case MSR_AMD64_OSVW_ID_LENGTH:
		*data = st->osvw_length;
		return host || mezz_guest_has(v, X86_FEATURE_OSVW) ? DONE : FAULT;
	case MSR_AMD64_OSVW_STATUS:
		*data = st->osvw_status;
		return host || mezz_guest_has(v, X86_FEATURE_OSVW) ? DONE : FAULT;
	default:
		return NOT_MINE;
	}
}

static bool has_tsc_aux(struct mezz_vcpu *v)
{
	return mezz_guest_has(v, X86_FEATURE_RDTSCP) || mezz_guest_has(v, X86_FEATURE_RDPID);
}

/* Switched lazily, or held by the engine; which of them a guest has is decided here. */
static int get_engine(struct mezz_vcpu *v, u32 msr, u64 *data, bool host)
{
	int r;

	if (!host && msr == MSR_TSC_AUX && !has_tsc_aux(v))
		return FAULT;
	/* Write-only (SDM 3, "Indirect Branch Prediction Barrier"). */
	if (msr == MSR_IA32_PRED_CMD)
		return FAULT;
	r = mezz_lazy_get_msr(v, msr, data);
	if (r == 1)
		r = mezz_engine->get_msr(v, msr, data);
	return r == 0 ? DONE : r == 1 ? NOT_MINE : FAULT;
}

static noinline int get_rest(struct mezz_vcpu *v, u32 msr, u64 *data, bool host)
{
	const struct inert *in;
	int r;

	if (is_mtrr(msr))
		return mezz_mtrr_get(v, msr, data);
	if (is_mce(msr))
		return mezz_mce_get(v, msr, data, host);
	if (is_pv(msr)) {
		r = mezz_pv_get_msr(v, msr, data);
		return r == DONE ? DONE : FAULT;
	}
	r = get_engine(v, msr, data, host);
	if (r != NOT_MINE)
		return r;
	in = find_inert(msr);
	if (!in)
		return MEZZ_MSR_UNKNOWN;
	*data = in->value;
	return DONE;
}

int mezz_get_msr(struct mezz_vcpu *v, u32 msr, u64 *data, bool host)
{
	int r;

	if (msr - APIC_BASE_MSR <= 0xff || msr == MSR_IA32_TSC_DEADLINE)
		return mezz_lapic_rdmsr(v, msr, data);
	if (msr == MSR_IA32_SPEC_CTRL && !host && !v->cpu_state->spec_ok)
		return FAULT;
	if (msr == MSR_IA32_SPEC_CTRL)
		return mezz_lazy_get_msr(v, msr, data) ? FAULT : DONE;
	if (msr == MSR_IA32_CR_PAT)
		return mezz_engine->get_msr(v, msr, data) ? FAULT : DONE;
	r = get_core(v, msr, data, host);
	return likely(r != NOT_MINE) ? r : get_rest(v, msr, data, host);
}

/* --- writing --- */

static int set_misc_enable(struct mezz_vcpu *v, u64 data, bool host)
{
	struct mezz_cpu_state *st = v->cpu_state;
	u64 changed = st->misc_enable ^ data;
	bool cpuid = (changed & MSR_IA32_MISC_ENABLE_MWAIT) &&
		     !mezz_quirk(v->vm, KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT);

	if (!host) {
		/* SDM 4, "Architectural MSRs": no PMU is a fact, not a choice. */
		if (changed & MISC_ENABLE_NO_PMU)
			return FAULT;
		data &= ~(u64)MSR_IA32_MISC_ENABLE_EMON;
		data |= st->misc_enable & MSR_IA32_MISC_ENABLE_EMON;
	}
	/* Bit 18 turns MONITOR and MWAIT on, and is not there without SSE3. */
	if (cpuid && !mezz_guest_has(v, X86_FEATURE_XMM3))
		return FAULT;
	st->misc_enable = data;
	if (cpuid)
		mezz_cpuid_refresh(v);
	return DONE;
}

static int set_hwcr(struct mezz_cpu_state *st, u64 data)
{
	data &= ~HWCR_IGNORED;
	if (data & ~HWCR_VALID)
		return FAULT;
	st->hwcr = data;
	return DONE;
}

/* A guest may write what is there already: that LFENCE is serializing. */
static int set_de_cfg(struct mezz_cpu_state *st, u64 data, bool host)
{
	u64 valid = 0;

	mezz_msr_feature(MSR_AMD64_DE_CFG, &valid);
	if ((data & ~valid) || (!host && data != st->de_cfg))
		return FAULT;
	st->de_cfg = data;
	return DONE;
}

static int set_xss(struct mezz_vcpu *v, u64 data, bool host)
{
	if (!host && !mezz_guest_has(v, X86_FEATURE_XSAVES))
		return FAULT;
	if (data & ~mezz_host.xss)
		return FAULT;
	v->xss = data;
	mezz_cpuid_refresh(v);
	return DONE;
}

/* OS-visible workarounds: user space says what the host needs. */
static int set_osvw(struct mezz_vcpu *v, u64 *p, u64 data, bool host)
{
	if (!host && !mezz_guest_has(v, X86_FEATURE_OSVW))
		return FAULT;
	*p = data;
	return DONE;
}

/* MSRs that describe the CPU: user space sets them, a guest cannot. */
static int set_described(struct mezz_cpu_state *st, u32 msr, u64 data, bool host)
{
	if (msr == MSR_IA32_UCODE_REV && !host)
		return DONE;	/* writing 0 is how it is read (SDM 3, "Microcode Update") */
	if (!host)
		return FAULT;
	switch (msr) {
	case MSR_IA32_UCODE_REV:
		st->ucode_rev = data;
		return DONE;
	case MSR_IA32_ARCH_CAPABILITIES:
		st->arch_caps = data;
		return DONE;
	case MSR_SMI_COUNT:
		st->smi_count = data;
		return DONE;
	default:
		if (data & PLATFORM_INFO_CPUID_FAULT)
			return FAULT;
		st->platform_info = data;
		return DONE;
	}
}

static int set_core(struct mezz_vcpu *v, u32 msr, u64 data, bool host)
{
	struct mezz_cpu_state *st = v->cpu_state;

	switch (msr) {
	case MSR_IA32_TSC:
		mezz_tsc_write(v, data, host);
		return DONE;
	case MSR_IA32_TSC_ADJUST:
		if (host || mezz_guest_has(v, X86_FEATURE_TSC_ADJUST))
			mezz_tsc_write_adjust(v, data, host);
		return DONE;
	case MSR_EFER:
		return mezz_set_efer(v, data, host);
	case MSR_IA32_APICBASE:
		return mezz_lapic_set_base(v, data, host);
	case MSR_IA32_MISC_ENABLE:
		return set_misc_enable(v, data, host);
	case MSR_IA32_XSS:
		return set_xss(v, data, host);
	case MSR_IA32_UCODE_REV:
	case MSR_IA32_ARCH_CAPABILITIES:
	case MSR_SMI_COUNT:
	case MSR_PLATFORM_INFO:
		return set_described(st, msr, data, host);
	case MSR_MISC_FEATURES_ENABLES:
		return data ? FAULT : DONE;
	case MSR_IA32_POWER_CTL:
		st->power_ctl = data;
		return DONE;
	case MSR_K7_HWCR:
		return set_hwcr(st, data);
	case MSR_AMD64_DE_CFG:
		return set_de_cfg(st, data, host);
	case MSR_AMD64_OSVW_ID_LENGTH:
		return set_osvw(v, &st->osvw_length, data, host);
	case MSR_AMD64_OSVW_STATUS:
		return set_osvw(v, &st->osvw_status, data, host);
	default:
		return NOT_MINE;
	}
}

static bool ibpb_ok(struct mezz_vcpu *v)
{
	return mezz_guest_has(v, X86_FEATURE_SPEC_CTRL) ||
	       mezz_guest_has(v, X86_FEATURE_AMD_IBPB);
}

/* Is @data something that this MSR holds, in the architecture's eyes? May change it. */
static bool engine_value_ok(struct mezz_vcpu *v, u32 msr, u64 *data, bool host)
{
	switch (msr) {
	case MSR_FS_BASE:
	case MSR_GS_BASE:
	case MSR_KERNEL_GS_BASE:
	case MSR_LSTAR:
	case MSR_CSTAR:
		return !mezz_noncanonical(*data);
	case MSR_IA32_SYSENTER_ESP:
	case MSR_IA32_SYSENTER_EIP:
		/* Some CPUs fault, some keep 32 bits, all make it canonical in use. */
		*data = (s64)(*data << 16) >> 16;
		return true;
	case MSR_IA32_CR_PAT:
		return mezz_pat_valid(*data);
	case MSR_IA32_SPEC_CTRL:
		if (host)
			return !(*data & ~mezz_spec_ctrl_bits());
		return v->cpu_state->spec_ok && !(*data & ~v->cpu_state->spec_ok);
	case MSR_IA32_PRED_CMD:
		return (host || ibpb_ok(v)) && !(*data & ~(u64)PRED_CMD_IBPB);
	case MSR_TSC_AUX:
		if (!host && !has_tsc_aux(v))
			return false;
		if (v->cpu_state->amd_like)
			*data = (u32)*data;
		return !(*data >> 32);
	default:
		return true;
	}
}

static int set_engine(struct mezz_vcpu *v, u32 msr, u64 data, bool host)
{
	int r;

	if (!engine_value_ok(v, msr, &data, host))
		return FAULT;
	r = mezz_lazy_set_msr(v, msr, data);
	if (r == 1)
		r = mezz_engine->set_msr(v, msr, data);
	return r == 0 ? DONE : r == 1 ? NOT_MINE : FAULT;
}

static noinline int set_rest(struct mezz_vcpu *v, u32 msr, u64 data, bool host)
{
	const struct inert *in;
	int r;

	if (is_mtrr(msr))
		return mezz_mtrr_set(v, msr, data);
	if (is_mce(msr))
		return mezz_mce_set(v, msr, data, host);
	if (is_pv(msr)) {
		r = mezz_pv_set_msr(v, msr, data, host);
		/* User space may switch off what is not there. */
		return r == DONE || (r == NOT_MINE && host && !data) ? DONE : FAULT;
	}
	r = set_engine(v, msr, data, host);
	if (r != NOT_MINE)
		return r;
	in = find_inert(msr);
	if (!in)
		return MEZZ_MSR_UNKNOWN;
	return in->write || (host && data == in->value) ? DONE : FAULT;
}

int mezz_set_msr(struct mezz_vcpu *v, u32 msr, u64 data, bool host)
{
	int r;

	if (msr - APIC_BASE_MSR <= 0xff || msr == MSR_IA32_TSC_DEADLINE)
		return mezz_lapic_wrmsr(v, msr, data);
	if (msr == MSR_IA32_SPEC_CTRL || msr == MSR_IA32_PRED_CMD)
		return set_engine(v, msr, data, host) ? FAULT : DONE;
	r = set_core(v, msr, data, host);
	return likely(r != NOT_MINE) ? r : set_rest(v, msr, data, host);
}

/* --- life --- */

void mezz_msr_init(struct mezz_vcpu *v)
{
	struct mezz_cpu_state *st = v->cpu_state;

	mezz_msr_feature(MSR_IA32_UCODE_REV, &st->ucode_rev);
	mezz_msr_feature(MSR_IA32_ARCH_CAPABILITIES, &st->arch_caps);
	mezz_msr_feature(MSR_AMD64_DE_CFG, &st->de_cfg);
	mezz_mce_init(v);
}

void mezz_msr_reset(struct mezz_vcpu *v)
{
	struct mezz_cpu_state *st = v->cpu_state;

	st->misc_enable = MISC_ENABLE_NO_PMU;
	st->power_ctl = 0;
	st->hwcr = 0;
	memset(st->mtrr_var, 0, sizeof(st->mtrr_var));
	memset(st->mtrr_fix, 0, sizeof(st->mtrr_fix));
	st->mtrr_deftype = 0;
	v->xss = 0;
}
