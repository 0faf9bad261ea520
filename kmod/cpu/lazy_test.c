// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of what is switched lazily: it uses the debug registers and TSC_AUX of
 * the CPU that it runs on, and leaves them as they were.
 */
#include <kunit/test.h>
#include <linux/preempt.h>
#include "lazy.c"
#include "cpu.h"
#include "../test/machine.h"

/* What the engine was told. */
static struct {
	int owned;	/* own_dr(true) less own_dr(false) */
	unsigned int debug, spec;
} told;

static void own_dr(struct mezz_vcpu *v, bool own)
{
	told.owned += own ? 1 : -1;
}

static void update_debug(struct mezz_vcpu *v)
{
	told.debug++;
}

static void update_spec(struct mezz_vcpu *v)
{
	told.spec++;
}

static struct mezz_vcpu *new_vcpu(struct kunit *test)
{
	struct mezz_vcpu *v = kunit_kzalloc(test, sizeof(*v), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, v);
	return v;
}

static void spec_ctrl(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);
	u64 data;

	mezz_host.spec_ctrl = false;
	KUNIT_EXPECT_EQ(test, mezz_lazy_get_msr(v, MSR_IA32_SPEC_CTRL, &data), 1);
	KUNIT_EXPECT_EQ(test, mezz_lazy_set_msr(v, MSR_IA32_SPEC_CTRL, 0), 1);
	mezz_host.spec_ctrl = true;
	KUNIT_EXPECT_EQ(test, mezz_lazy_set_msr(v, MSR_IA32_SPEC_CTRL, SPEC_CTRL_SSBD), 0);
	KUNIT_EXPECT_EQ(test, mezz_lazy_get_msr(v, MSR_IA32_SPEC_CTRL, &data), 0);
	KUNIT_EXPECT_EQ(test, data, (u64)SPEC_CTRL_SSBD);
	KUNIT_EXPECT_EQ(test, mezz_lazy_set_msr(v, MSR_IA32_SPEC_CTRL, BIT(3)), 2);
	KUNIT_EXPECT_EQ(test, v->lazy.spec_ctrl, (u64)SPEC_CTRL_SSBD);
	KUNIT_EXPECT_EQ(test, told.spec, 0u);
	/* The engine's control block has it. */
	mezz_host.spec_in_block = true;
	KUNIT_EXPECT_EQ(test, mezz_lazy_set_msr(v, MSR_IA32_SPEC_CTRL, SPEC_CTRL_IBRS), 0);
	KUNIT_EXPECT_EQ(test, told.spec, 1u);
	mezz_lazy_reset(v, true);
	KUNIT_EXPECT_EQ(test, v->lazy.spec_ctrl, 0ull);
}

/* Written around world switches if it differs from the host's, and only then. */
static void spec_switched(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);
	u64 host;

	preempt_disable();
	host = this_cpu_read(x86_spec_ctrl_current);
	v->lazy.spec_ctrl = host ^ 1;
	mezz_host.switch_spec = false;
	mezz_lazy_spec(v);
	KUNIT_EXPECT_FALSE(test, v->lazy.switch_spec);
	mezz_host.switch_spec = true;
	mezz_lazy_spec(v);
	KUNIT_EXPECT_TRUE(test, v->lazy.switch_spec);
	KUNIT_EXPECT_EQ(test, v->lazy.host_spec, host);
	v->lazy.spec_ctrl = host;
	mezz_lazy_spec(v);
	KUNIT_EXPECT_FALSE(test, v->lazy.switch_spec);
	preempt_enable();
}

static void tsc_aux(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);
	u64 host, data;

	KUNIT_EXPECT_EQ(test, mezz_lazy_set_msr(v, MSR_TSC_AUX, 0x100000002ull), 0);
	KUNIT_EXPECT_EQ(test, mezz_lazy_get_msr(v, MSR_TSC_AUX, &data), 0);
	KUNIT_EXPECT_EQ(test, data, 2ull);
	mezz_lazy_reset(v, true);
	KUNIT_EXPECT_EQ(test, v->lazy.tsc_aux, 2ull);
	mezz_lazy_reset(v, false);
	KUNIT_EXPECT_EQ(test, v->lazy.tsc_aux, 0ull);
	if (!boot_cpu_has(X86_FEATURE_RDTSCP))
		kunit_skip(test, "this CPU has no TSC_AUX");
	preempt_disable();
	mezz_host.tsc_aux = true;
	mezz_lazy_cpu_on();
	host = __rdmsr(MSR_TSC_AUX);
	v->lazy.use_tsc_aux = true;
	/* the same as the host's: left alone */
	v->lazy.tsc_aux = host;
	mezz_lazy_load_tsc_aux(v);
	KUNIT_EXPECT_FALSE(test, v->lazy.tsc_aux_live);
	v->lazy.tsc_aux = host + 1;
	mezz_lazy_load_tsc_aux(v);
	KUNIT_EXPECT_TRUE(test, v->lazy.tsc_aux_live);
	KUNIT_EXPECT_EQ(test, __rdmsr(MSR_TSC_AUX), host + 1);
	/* the guest writes what the host has: it must not see the old one */
	v->atomic = true;
	mezz_lazy_set_msr(v, MSR_TSC_AUX, host);
	KUNIT_EXPECT_EQ(test, __rdmsr(MSR_TSC_AUX), host);
	mezz_lazy_set_msr(v, MSR_TSC_AUX, host + 2);
	mezz_lazy_unload(v);
	KUNIT_EXPECT_EQ(test, __rdmsr(MSR_TSC_AUX), host);
	KUNIT_EXPECT_FALSE(test, v->lazy.tsc_aux_live);
	preempt_enable();
}

static u64 dr(unsigned int n)
{
	unsigned long val = 0;

	if (n)
		get_debugreg(val, 3);
	else
		get_debugreg(val, 0);
	return val;
}

static void debug_registers(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);

	v->dr[0] = 0x1000;
	v->dr[3] = 0x4000;
	v->r[MEZZ_DR7] = 0x400;
	KUNIT_EXPECT_EQ(test, mezz_hw_dr7(v), 0x400ull);
	preempt_disable();
	mezz_dr_load(v);
	KUNIT_EXPECT_EQ(test, told.owned, 1);
	KUNIT_EXPECT_TRUE(test, v->lazy.dr_live);
	KUNIT_EXPECT_EQ(test, dr(0), 0x1000ull);
	KUNIT_EXPECT_EQ(test, dr(3), 0x4000ull);
	/* the guest writes one */
	set_debugreg(0x5000UL, 3);
	mezz_lazy_unload(v);
	KUNIT_EXPECT_EQ(test, told.owned, 0);
	KUNIT_EXPECT_FALSE(test, v->lazy.dr_live);
	KUNIT_EXPECT_EQ(test, v->dr[0], 0x1000ull);
	KUNIT_EXPECT_EQ(test, v->dr[3], 0x5000ull);
	KUNIT_EXPECT_EQ(test, dr(0), 0ull);
	KUNIT_EXPECT_EQ(test, dr(3), 0ull);
	preempt_enable();
}

/* A debugger's take their place, and the guest's stay what they are. */
static void debuggers_registers(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test);

	v->dr[0] = 0x1000;
	v->r[MEZZ_DR7] = 0x400;
	v->guest_debug = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	v->guest_debug_dr[0] = 0x2000;
	v->guest_debug_dr[7] = 0x2001;	/* general detect, and without the bit that is 1 */
	preempt_disable();
	mezz_update_debug(v);
	KUNIT_EXPECT_EQ(test, told.debug, 1u);
	KUNIT_EXPECT_TRUE(test, v->lazy.dr7_taken);
	KUNIT_EXPECT_FALSE(test, v->lazy.dr_live);
	KUNIT_EXPECT_EQ(test, v->lazy.guest_dr7, 0x400ull);
	KUNIT_EXPECT_EQ(test, mezz_hw_dr7(v), 0x401ull);
	/* in a section: at once */
	v->atomic = true;
	mezz_update_debug(v);
	KUNIT_EXPECT_TRUE(test, v->lazy.dr_live);
	KUNIT_EXPECT_EQ(test, told.owned, 0);
	KUNIT_EXPECT_EQ(test, dr(0), 0x2000ull);
	v->guest_debug = 0;
	mezz_update_debug(v);
	KUNIT_EXPECT_FALSE(test, v->lazy.dr_live);
	KUNIT_EXPECT_FALSE(test, v->lazy.dr7_taken);
	KUNIT_EXPECT_EQ(test, dr(0), 0ull);
	KUNIT_EXPECT_EQ(test, v->dr[0], 0x1000ull);
	preempt_enable();
}

/* A new vCPU at the address of a dead one is another guest. */
static void forgotten(struct kunit *test)
{
	struct mezz_vcpu *v = new_vcpu(test), *other = new_vcpu(test);
	int cpu = get_cpu();

	mezz_lazy_new_guest(v);
	KUNIT_EXPECT_PTR_EQ(test, per_cpu(mezz_lazy_cpu, cpu).last, v);
	mezz_lazy_forget(other);
	KUNIT_EXPECT_PTR_EQ(test, per_cpu(mezz_lazy_cpu, cpu).last, v);
	mezz_lazy_forget(v);
	KUNIT_EXPECT_PTR_EQ(test, per_cpu(mezz_lazy_cpu, cpu).last, (struct mezz_vcpu *)NULL);
	put_cpu();
}

static struct mezz_host host_before;

static int lazy_init(struct kunit *test)
{
	host_before = mezz_host;
	memset(&told, 0, sizeof(told));
	mezz_test_engine.own_dr = own_dr;
	mezz_test_engine.update_debug = update_debug;
	mezz_test_engine.update_spec = update_spec;
	return 0;
}

static void lazy_exit(struct kunit *test)
{
	mezz_host = host_before;
}

/* Here because it is a test of the MSRs that both engines hold. */
static void msr_pat(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, mezz_pat_valid(MEZZ_PAT_RESET));
	KUNIT_EXPECT_TRUE(test, mezz_pat_valid(0x0001040506070000));
	KUNIT_EXPECT_FALSE(test, mezz_pat_valid(0x02));
	KUNIT_EXPECT_FALSE(test, mezz_pat_valid(0x03ull << 56));
	KUNIT_EXPECT_FALSE(test, mezz_pat_valid(0x08));
	KUNIT_EXPECT_FALSE(test, mezz_pat_valid(0x80ull << 32));
}

static struct kunit_case lazy_cases[] = {
	KUNIT_CASE(spec_ctrl),
	KUNIT_CASE(spec_switched),
	KUNIT_CASE(tsc_aux),
	KUNIT_CASE(debug_registers),
	KUNIT_CASE(debuggers_registers),
	KUNIT_CASE(forgotten),
	KUNIT_CASE(msr_pat),
	{}
};

static struct kunit_suite lazy_suite = {
	.name = "mezz_lazy",
	.init = lazy_init,
	.exit = lazy_exit,
	.test_cases = lazy_cases,
};

kunit_test_suite(lazy_suite);
