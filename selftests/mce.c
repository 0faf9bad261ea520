// SPDX-License-Identifier: GPL-2.0-only
/*
 * Machine checks that user space injects: the banks, #MC, and the interrupt by which an
 * error that needs no action is announced (CMCI).
 */
#include "test.h"

#define MCG_CTL_P	 (1ull << 8)
#define MCG_CMCI_P	 (1ull << 10)
#define MCG_SER_P	 (1ull << 24)

#define MSR_MCG_CAP	 0x179
#define MSR_MCG_STATUS	 0x17a
#define MSR_CTL2(bank)	 (0x280 + (bank))
#define MSR_CTL(bank)	 (0x400 + 4 * (bank))
#define MSR_STATUS(bank) (MSR_CTL(bank) + 1)
#define MSR_ADDR(bank)	 (MSR_CTL(bank) + 2)
#define CTL2_ON		 (1ull << 30)
#define APIC_LVTCMCI	 0x2f0

#define VAL		 (1ull << 63)
#define OVER		 (1ull << 62)
#define UC		 (1ull << 61)
#define EN		 (1ull << 60)
#define ADDR		 (1ull << 58)
#define S		 (1ull << 56)
#define AR		 (1ull << 55)

#define BANK		 2
#define BANKS		 5
#define GP		 13
#define MC		 18
#define VECTOR		 0x61

static struct guest_cpu *const cpu0 = &guest_cpus[0];

static struct vcpu *guest_with(uint64_t cap, void (*fn)(uint64_t), uint64_t arg)
{
	struct vcpu *v = vm_with_guest(VM_IRQCHIP, fn, arg);

	cap |= BANKS;
	vcpu_ioctl(v, KVM_X86_SETUP_MCE, &cap);
	return v;
}

static void inject(struct vcpu *v, uint64_t status, uint64_t mcg_status, uint64_t addr)
{
	struct kvm_x86_mce mce = { .status = VAL | EN | ADDR | status,
				   .addr = addr,
				   .mcg_status = mcg_status,
				   .bank = BANK };

	vcpu_ioctl(v, KVM_X86_SET_MCE, &mce);
}

static uint64_t supported(void)
{
	uint64_t cap = 0;

	CHECK_OK(ioctl(dev_open(), KVM_X86_GET_MCE_CAP_SUPPORTED, &cap));
	return cap;
}

/* --- */

/* @cap: what the guest has */
static void registers_guest(uint64_t cap)
{
	uint64_t value;

	G_CHECK_EQ(g_rdmsr(MSR_MCG_CAP), cap);
	G_CHECK_EQ(g_try_wrmsr(MSR_MCG_CAP, 0), GP);
	g_wrmsr(MSR_CTL(BANK), 0);
	G_CHECK_EQ(g_rdmsr(MSR_CTL(BANK)), 0);
	g_wrmsr(MSR_CTL(BANK), ~0ull);
	G_CHECK_EQ(g_try_wrmsr(MSR_STATUS(BANK), VAL), GP);
	g_wrmsr(MSR_STATUS(BANK), 0);
	G_CHECK_EQ(g_try_rdmsr(MSR_CTL(BANKS), &value), GP);
	/* without CMCI there are none of these */
	G_CHECK_EQ(g_try_rdmsr(MSR_CTL2(BANK), &value), GP);
	G_CHECK_EQ(g_try_wrmsr(MSR_CTL2(BANK), CTL2_ON), GP);
	G_CHECK_EQ(g_apic_read(APIC_LVR) >> 16 & 0xff, 5);
	g_done();
}

TEST(registers)
{
	/* AMD has no names for the flags above MCG_CTL_P. */
	bool amd = dev_cpuid_reg(0, 0, 'c') == 0x444d4163;
	struct vcpu *v = guest_with(MCG_CTL_P | MCG_SER_P, registers_guest,
				    MCG_CTL_P | (amd ? 0 : MCG_SER_P) | BANKS);
	uint64_t bad = 0;

	CHECK_EQ(vcpu_set_msr(v, MSR_CTL2(BANK), CTL2_ON), 0);
	CHECK(vcpu_run(v), "it did not end");
	CHECK_ERR(ioctl(v->fd, KVM_X86_SETUP_MCE, &bad), EINVAL);
	bad = 1ull << 40 | BANKS;
	CHECK_ERR(ioctl(v->fd, KVM_X86_SETUP_MCE, &bad), EINVAL);
	CHECK_ERR(ioctl(v->fd, KVM_X86_SETUP_MCE, NULL), EFAULT);
}

/* --- */

static volatile uint64_t mc_addr, mc_status;

static void on_mc(struct guest_regs *r)
{
	(void)r;
	mc_status = g_rdmsr(MSR_STATUS(BANK));
	mc_addr = g_rdmsr(MSR_ADDR(BANK));
	g_wrmsr(MSR_STATUS(BANK), 0);
	g_wrmsr(MSR_MCG_STATUS, 0);
}

static void uncorrected_guest(uint64_t arg)
{
	(void)arg;
	g_cpu()->handler[MC] = on_mc;
	G_WRITE_CR(4, G_READ_CR(4) | 1 << 6);
	g_sync(1);
	G_CHECK_EQ(g_cpu()->irqs[MC], 1);
	G_CHECK_EQ(mc_addr, 0x12345000);
	g_sync(2);
	/* corrected: no exception */
	G_CHECK_EQ(g_cpu()->irqs[MC], 1);
	G_CHECK_EQ(g_rdmsr(MSR_ADDR(BANK)), 0x6000);
	g_done();
}

TEST(uncorrected)
{
	struct vcpu *v = guest_with(MCG_CTL_P | MCG_SER_P, uncorrected_guest, 0);

	CHECK_EQ(vcpu_run_sync(v), 1);
	inject(v, UC | S | AR, 5, 0x12345000);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(mc_status & (VAL | OVER | UC), VAL | UC);
	inject(v, 0, 0, 0x6000);
	CHECK(vcpu_run(v), "it did not end");
}

/* --- */

static void cmci_guest(uint64_t arg)
{
	uint64_t value;

	(void)arg;
	g_cpu()->handler[VECTOR] = g_on_irq_eoi;
	g_apic_enable();
	G_CHECK_EQ(g_apic_read(APIC_LVR) >> 16 & 0xff, 6);
	g_apic_write(APIC_LVTCMCI, VECTOR);
	G_CHECK_EQ(g_apic_read(APIC_LVTCMCI), VECTOR);
	G_CHECK_EQ(g_try_wrmsr(MSR_CTL2(BANK), 1ull << 31), GP);
	G_CHECK_EQ(g_try_rdmsr(MSR_CTL2(BANKS), &value), GP);
	g_wrmsr(MSR_CTL2(BANK), CTL2_ON | 1);
	G_CHECK_EQ(g_rdmsr(MSR_CTL2(BANK)), CTL2_ON | 1);
	g_sti();
	g_sync(1);
	G_CHECK(g_wait_for(&g_cpu()->irqs[VECTOR], 1, 3000000));
	G_CHECK_EQ(g_rdmsr(MSR_ADDR(BANK)), 0x7000);
	g_wrmsr(MSR_CTL2(BANK), 1);
	g_sync(2);
	G_CHECK_EQ(g_cpu()->irqs[VECTOR], 1);
	G_CHECK_EQ(g_rdmsr(MSR_ADDR(BANK)), 0x8000);
	g_done();
}

TEST(cmci)
{
	struct kvm_lapic_state lapic;
	struct vcpu *v;

	if (!(supported() & MCG_CMCI_P))
		test_skip("the driver offers no CMCI");
	v = guest_with(MCG_CTL_P | MCG_CMCI_P, cmci_guest, 0);
	CHECK_EQ(vcpu_run_sync(v), 1);
	inject(v, UC, 0, 0x7000);
	CHECK_EQ(vcpu_run_sync(v), 2);
	CHECK_EQ(cpu0->irqs[VECTOR], 1);
	vcpu_ioctl(v, KVM_GET_LAPIC, &lapic);
	CHECK_EQ(*(uint32_t *)(lapic.regs + APIC_LVTCMCI), VECTOR);
	vcpu_ioctl(v, KVM_SET_LAPIC, &lapic);
	vcpu_ioctl(v, KVM_GET_LAPIC, &lapic);
	CHECK_EQ(*(uint32_t *)(lapic.regs + APIC_LVTCMCI), VECTOR);
	inject(v, UC, 0, 0x8000);
	CHECK(vcpu_run(v), "it did not end");
}
