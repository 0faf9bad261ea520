// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC's registers, and what a vCPU asks before it enters the guest.
 *
 * Leaves to others: the timer (lapic_timer.c), sending and receiving messages
 * (lapic_msg.c), creation and the state ioctls (lapic_state.c), hardware that does
 * what is done here (lapic_hw.c): then TPR, ISR and IRR are with it until pulled.
 *
 * Known hacks: the APIC ID is the vCPU ID and read-only, as on current
 * processors. Accesses to the register page while the APIC is off or in
 * x2APIC mode read as ones and write nothing, as on in-tree KVM, rather than
 * reaching whatever is on the bus below, until user space disables that quirk.
 */
#include <asm/apicdef.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include "../cpu/cpu.h"
#include "../pv/pv.h"
#include "lapic.h"

#define BASE_ADDR	GENMASK_ULL(51, 12)
#define BASE_RESERVED	0x2ffull	/* bits 0-7 and 9 */

/* SDM 3, "Interrupt Command Register (ICR) in x2APIC Mode" */
#define X2APIC_ICR_RESERVED	(GENMASK_ULL(31, 20) | GENMASK_ULL(17, 16) | BIT_ULL(13))

/* What the guest may write into each LVT entry (SDM 3, "Local Vector Table"). */
u32 lapic_lvt_mask(struct mezz_lapic *l, enum mezz_lvt which)
{
	static const u32 mask[NR_LVT] = {
		[LVT_TIMER] = 0x310ff,
		[LVT_THERMAL] = 0x117ff,
		[LVT_PERF] = 0x117ff,
		[LVT_LINT0] = 0x1f7ff,
		[LVT_LINT1] = 0x1f7ff,
		[LVT_ERROR] = 0x110ff,
		[LVT_CMCI] = 0x117ff,
	};

	if (which == LVT_TIMER && mezz_guest_has(l->v, X86_FEATURE_TSC_DEADLINE_TIMER))
		return mask[which] | LVT_TIMER_MODE;
	return mask[which];
}

static u32 lapic_version(struct mezz_lapic *l)
{
	u32 version = 0x14 | (l->cmci ? LVT_CMCI : LVT_ERROR) << 16;

	/* Our IOAPIC has no EOI register; one in user space may have. */
	if (mezz_irqchip_split(l->v->vm) && mezz_guest_has(l->v, X86_FEATURE_X2APIC))
		version |= VERSION_NO_EOI_BROADCAST;
	return version;
}

void lapic_derive(struct mezz_lapic *l)
{
	u64 base = l->v->apic_base;

	WRITE_ONCE(l->hw_enabled, !!(base & MSR_IA32_APICBASE_ENABLE));
	WRITE_ONCE(l->x2apic, l->hw_enabled && (base & X2APIC_ENABLE));
	WRITE_ONCE(l->enabled, l->hw_enabled && (l->svr & SVR_ENABLED));
	l->page = base & BASE_ADDR;
}

bool lapic_accepts_pic(struct mezz_lapic *l)
{
	u32 lvt = READ_ONCE(l->lvt[LVT_LINT0]);

	if (!READ_ONCE(l->hw_enabled))
		return true;
	return !(lvt & LVT_MASKED) && LVT_DM(lvt) == MEZZ_DM_EXTINT;
}

bool mezz_lapic_takes_pic(struct mezz_vcpu *v)
{
	return !v->lapic || lapic_accepts_pic(v->lapic);
}

/* --- end of interrupt --- */

void lapic_tell_eoi(struct mezz_lapic *l, u8 vector)
{
	struct mezz_irq_vm *irq = l->v->vm->irq;
	bool level = test_bit(vector, l->tmr);

	if (likely(!level && !test_bit(vector, irq->eoi_vec)))
		return;
	if (l->svr & SVR_NO_EOI_BROADCAST)
		level = false;
	if (irq->mode == MEZZ_CHIP_FULL) {
		mezz_ioapic_eoi(l->v, vector, level);
	} else if (level) {
		l->v->ioapic_eoi = vector;
		mezz_request(l->v, MEZZ_REQ_IOAPIC_EOI);
	}
}

static void lapic_do_eoi(struct mezz_lapic *l)
{
	int vector = l->isr_top;

	if (vector < 0)
		return;
	__clear_bit(vector, l->isr);
	l->isr_top = lapic_highest(l->isr);
	lapic_tell_eoi(l, vector);
}

void lapic_sync_pv_eoi(struct mezz_lapic *l)
{
	bool was_set = false;

	if (likely(!l->pv_eoi))
		return;
	if (!mezz_pv_eoi_test_clear(l->v, &was_set)) {
		/* Not there now. Look again where one may sleep. */
		if (l->v->atomic) {
			l->pv_eoi_retry = true;
			mezz_request(l->v, MEZZ_REQ_WAKE);
			return;
		}
		was_set = false;
	}
	l->pv_eoi = false;
	if (!was_set)
		lapic_do_eoi(l);
}

void mezz_lapic_withdraw_pv_eoi(struct mezz_vcpu *v)
{
	if (v->lapic)
		lapic_sync_pv_eoi(v->lapic);
}

void mezz_lapic_eoi(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	lapic_pull(l);
	lapic_sync_pv_eoi(l);
	lapic_do_eoi(l);
	if (lapic_highest(l->irr) >= 0)
		mezz_request(v, MEZZ_REQ_EVENT);
}

/* --- what the run loop asks --- */

/* Highest vector that PPR lets through, or -1; also when the hardware delivers it. */
static int lapic_deliverable(struct mezz_lapic *l)
{
	int irr = lapic_highest(l->irr);

	/* Turned off by SVR it takes nothing new, but holds what it has. */
	if (irr < 0 || !l->hw_enabled || l->loaded)
		return -1;
	lapic_sync_pv_eoi(l);
	/* Is the top still in service? Not known before lapic_accept_pv() has looked. */
	if (unlikely(l->pv_eoi))
		return -1;
	return lapic_above(irr, l->tpr, l->isr_top) ? irr : -1;
}

/* Does the PIC ask for an INTA cycle? A PIC in user space is v->ext_irq. */
static bool lapic_extint_pending(struct mezz_lapic *l)
{
	struct mezz_vm *vm = l->v->vm;

	return vm->irq->mode == MEZZ_CHIP_FULL && mezz_pic_output(vm) && lapic_accepts_pic(l);
}

int mezz_irq_pending(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	if (!l)
		return -1;
	if (READ_ONCE(l->fired))
		lapic_timer_sync(l);
	/*
	 * About to sleep: the guest's memory must not be touched any more when
	 * somebody wakes the vCPU and this is asked again.
	 */
	if (unlikely(l->pv_eoi) && !v->atomic)
		lapic_sync_pv_eoi(l);
	/* The vector is known only after the INTA cycle: any will do here. */
	if (unlikely(lapic_extint_pending(l)))
		return 0;
	return lapic_deliverable(l);
}

int mezz_irq_ack(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;
	int vector, before;

	if (unlikely(lapic_extint_pending(l)))
		return mezz_pic_ack(v->vm);
	vector = lapic_deliverable(l);
	if (vector < 0)
		return -1;
	clear_bit(vector, l->irr);
	__set_bit(vector, l->isr);
	before = l->isr_top;
	l->isr_top = vector;
	/*
	 * The guest may leave EOI to us only if nobody waits for it: nothing
	 * else pending or in service, no IOAPIC to tell. Whoever posts later
	 * makes the guest exit, and lapic_deliverable() takes the offer back.
	 */
	if (before < 0 && mezz_pv_eoi_enabled(v) && lapic_highest(l->irr) < 0 &&
	    !test_bit(vector, l->tmr) && !test_bit(vector, v->vm->irq->eoi_vec))
		l->pv_eoi = mezz_pv_eoi_set(v);
	return vector;
}

int mezz_lapic_masked_irr(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;
	int irr;

	if (!l)
		return -1;
	irr = lapic_highest(l->irr);
	return irr >= 0 && (irr & 0xf0) <= (int)(l->tpr & 0xf0) ? irr : -1;
}

/* --- local interrupts --- */

void lapic_local(struct mezz_lapic *l, enum mezz_lvt which)
{
	u32 lvt = l->lvt[which];
	unsigned int mode = MEZZ_DM_FIXED;

	if (!l->hw_enabled || (lvt & LVT_MASKED))
		return;
	if (which != LVT_TIMER && which != LVT_ERROR)
		mode = LVT_DM(lvt);
	if (mode == MEZZ_DM_NMI) {
		mezz_nmi(l->v);
	} else if (mode == MEZZ_DM_FIXED) {
		if ((lvt & 0xff) >= 16)
			lapic_accept(l, lvt, false, true);
		else if (which != LVT_ERROR)
			lapic_error(l, ESR_RECV_ILLEGAL);
	}
}

void mezz_lapic_cmci(struct mezz_vcpu *v)
{
	if (v->lapic)
		lapic_local(v->lapic, LVT_CMCI);
}

void mezz_lapic_set_cmci(struct mezz_vcpu *v, bool has)
{
	if (v->lapic)
		v->lapic->cmci = has;
}

void lapic_error(struct mezz_lapic *l, u32 bits)
{
	if (!(~l->esr_new & bits))
		return;
	l->esr_new |= bits;
	lapic_local(l, LVT_ERROR);
}

bool mezz_lapic_enabled(struct mezz_vcpu *v)
{
	return v->lapic && v->lapic->enabled;
}

void mezz_lapic_self_irq(struct mezz_vcpu *v, u8 vector)
{
	lapic_accept(v->lapic, vector, false, true);
}

/* --- registers --- */

/* 32 bits of a 256-bit map. */
static u32 map_word(const unsigned long *map, unsigned int n)
{
	return READ_ONCE(map[n / 2]) >> (n % 2 * 32);
}

bool lapic_read(struct mezz_lapic *l, u32 reg, u32 *val)
{
	switch (reg) {
	case APR_ID:
		*val = l->x2apic ? l->id : l->id << 24;
		return true;
	case APR_VERSION:
		*val = lapic_version(l);
		return true;
	case APR_TPR:
		lapic_pull(l);
		*val = l->tpr;
		return true;
	case APR_APR:
		*val = 0;
		return !l->x2apic;
	case APR_PPR:
		lapic_pull(l);
		lapic_sync_pv_eoi(l);
		*val = lapic_ppr(l);
		return true;
	case APR_LDR:
		*val = l->ldr;
		return true;
	case APR_DFR:
		*val = l->dfr;
		return !l->x2apic;
	case APR_SVR:
		*val = l->svr;
		return true;
	case APR_ISR ... APR_ISR + 7:
		lapic_pull(l);
		lapic_sync_pv_eoi(l);
		*val = map_word(l->isr, reg - APR_ISR);
		return true;
	case APR_TMR ... APR_TMR + 7:
		*val = map_word(l->tmr, reg - APR_TMR);
		return true;
	case APR_IRR ... APR_IRR + 7:
		lapic_pull(l);
		*val = map_word(l->irr, reg - APR_IRR);
		return true;
	case APR_ESR:
		*val = l->esr;
		return true;
	case APR_ICR:
		*val = l->icr;
		return true;
	case APR_ICR2:
		*val = l->icr >> 32;
		return !l->x2apic;
	case APR_LVT ... APR_LVT + LVT_ERROR:
		*val = l->lvt[reg - APR_LVT];
		return true;
	case APR_LVT_CMCI:
		*val = l->lvt[LVT_CMCI];
		return l->cmci;
	case APR_TMICT:
		*val = l->tmict;
		return true;
	case APR_TMCCT:
		*val = lapic_timer_count(l);
		return true;
	case APR_TDCR:
		*val = l->tdcr;
		return true;
	}
	return false;
}

static void lapic_write_lvt(struct mezz_lapic *l, enum mezz_lvt which, u32 val)
{
	u32 old = l->lvt[which];

	/* It expired under the old entry. */
	if (which == LVT_TIMER && READ_ONCE(l->fired))
		lapic_timer_sync(l);
	if (!(l->svr & SVR_ENABLED))
		val |= LVT_MASKED;
	val &= lapic_lvt_mask(l, which);
	WRITE_ONCE(l->lvt[which], val);
	if (which == LVT_TIMER)
		lapic_timer_set_lvt(l, old);
	if (which != LVT_LINT0)
		return;
	if (LVT_DM(val) == MEZZ_DM_NMI)
		WRITE_ONCE(l->v->vm->irq->nmi_wd, 1);
	/* The PIC's interrupt may have been waiting for this. */
	mezz_request(l->v, MEZZ_REQ_EVENT);
}

static void lapic_write_svr(struct mezz_lapic *l, u32 val)
{
	bool was = l->enabled;
	u32 mask = 0x3ff;
	int i;

	if (lapic_version(l) & VERSION_NO_EOI_BROADCAST)
		mask |= SVR_NO_EOI_BROADCAST;
	l->svr = val & mask;
	lapic_derive(l);
	if (!(val & SVR_ENABLED)) {
		for (i = 0; i < NR_LVT; i++)
			WRITE_ONCE(l->lvt[i], l->lvt[i] | LVT_MASKED);
		/* Masked it delivers nothing, but a periodic one goes on. */
		if (READ_ONCE(l->fired))
			lapic_timer_sync(l);
	}
	if (l->enabled != was) {
		mezz_apic_map_update(l->v->vm);
		/* What had to wait until it is on. */
		mezz_request(l->v, MEZZ_REQ_APF_READY);
	}
	mezz_request(l->v, MEZZ_REQ_EVENT);
}

static void lapic_write_tpr(struct mezz_lapic *l, u32 tpr)
{
	lapic_pull(l);
	l->tpr = tpr;
	/* The engine hears of it with the event, or now: the guest reads CR8 directly. */
	if (lapic_highest(l->irr) >= 0)
		mezz_request(l->v, MEZZ_REQ_EVENT);
	else
		mezz_engine->update_cr8(l->v, tpr >> 4, -1);
}

/* The registers of the two addressing forms that only xAPIC mode can write. */
static bool lapic_write_xapic(struct mezz_lapic *l, u32 reg, u32 val)
{
	if (l->x2apic)
		return false;
	switch (reg) {
	case APR_LDR:
		WRITE_ONCE(l->ldr, val & 0xff000000);
		mezz_apic_map_update(l->v->vm);
		return true;
	case APR_DFR:
		WRITE_ONCE(l->dfr, val | 0x0fffffff);
		mezz_apic_map_update(l->v->vm);
		return true;
	case APR_ICR2:
		l->icr = (u32)l->icr | (u64)(val & 0xff000000) << 32;
		return true;
	}
	return reg == APR_ID;
}

static bool lapic_write(struct mezz_lapic *l, u32 reg, u32 val)
{
	switch (reg) {
	case APR_EOI:
		mezz_lapic_eoi(l->v);
		return true;
	case APR_TPR:
		lapic_write_tpr(l, val & 0xff);
		return true;
	case APR_ICR:
		lapic_write_icr(l, (l->icr & GENMASK_ULL(63, 32)) | val);
		return true;
	case APR_ID:
	case APR_LDR:
	case APR_DFR:
	case APR_ICR2:
		return lapic_write_xapic(l, reg, val);
	case APR_SVR:
		lapic_write_svr(l, val);
		return true;
	case APR_ESR:
		l->esr = l->esr_new;
		l->esr_new = 0;
		return true;
	case APR_LVT ... APR_LVT + LVT_ERROR:
		lapic_write_lvt(l, reg - APR_LVT, val);
		return true;
	case APR_LVT_CMCI:
		if (l->cmci)
			lapic_write_lvt(l, LVT_CMCI, val);
		return l->cmci;
	case APR_TMICT:
		lapic_timer_set_count(l, val);
		return true;
	case APR_TDCR:
		lapic_timer_set_divide(l, val & 0xb);
		return true;
	}
	return false;
}

/* --- the two ways to the registers --- */

bool mezz_lapic_mmio_write(struct mezz_lapic *l, u32 offset, unsigned int len, const void *data)
{
	u32 val;

	if (unlikely(!l->hw_enabled || l->x2apic))
		return mezz_quirk(l->v->vm, KVM_X86_QUIRK_LAPIC_MMIO_HOLE);
	/* "must be accessed using 32-bit aligned loads and stores": else lost */
	if (len != 4 || (offset & 0xf))
		return true;
	memcpy(&val, data, 4);
	lapic_write(l, offset >> 4, val);
	return true;
}

bool mezz_lapic_mmio_read(struct mezz_lapic *l, u32 offset, unsigned int len, void *data)
{
	unsigned int byte = offset & 0xf;
	u32 val = 0;

	if (unlikely(!l->hw_enabled || l->x2apic)) {
		memset(data, 0xff, len);
		return mezz_quirk(l->v->vm, KVM_X86_QUIRK_LAPIC_MMIO_HOLE);
	}
	memset(data, 0, len);
	if (byte + len > 4 || !lapic_read(l, offset >> 4, &val))
		return true;
	val >>= byte * 8;
	memcpy(data, &val, len);
	return true;
}

int mezz_lapic_rdmsr(struct mezz_vcpu *v, u32 msr, u64 *data)
{
	struct mezz_lapic *l = v->lapic;
	u32 reg = msr - APIC_BASE_MSR;
	u32 val;

	if (msr == MSR_IA32_TSC_DEADLINE) {
		*data = mezz_lapic_get_tscdeadline(v);
		return 0;
	}
	if (!l || !l->x2apic)
		return 1;
	if (reg == APR_ICR) {
		*data = l->icr;
		return 0;
	}
	if (!lapic_read(l, reg, &val))
		return 1;
	*data = val;
	return 0;
}

int mezz_lapic_wrmsr(struct mezz_vcpu *v, u32 msr, u64 data)
{
	struct mezz_lapic *l = v->lapic;
	u32 reg = msr - APIC_BASE_MSR;

	if (msr == MSR_IA32_TSC_DEADLINE) {
		mezz_lapic_set_tscdeadline(v, data);
		return 0;
	}
	if (!l || !l->x2apic)
		return 1;
	switch (reg) {
	case APR_EOI:
	case APR_ESR:
		if (data)
			return 1;
		break;
	case APR_ICR:
		if (data & X2APIC_ICR_RESERVED)
			return 1;
		lapic_write_icr(l, data);
		return 0;
	case APR_SELF_IPI:
		if (data & ~0xffull)
			return 1;
		if (data >= 16)
			lapic_accept(l, data, false, true);
		else
			lapic_error(l, ESR_SEND_ILLEGAL);
		return 0;
	case APR_TPR:
		if (data & ~0xffull)
			return 1;
		break;
	}
	if (data >> 32)
		return 1;
	return lapic_write(l, reg, data) ? 0 : 1;
}

void mezz_lapic_set_cr8(struct mezz_vcpu *v, unsigned int cr8)
{
	lapic_write_tpr(v->lapic, (cr8 & 0xf) << 4);
}

unsigned int mezz_lapic_get_cr8(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	return (unlikely(l->loaded) ? lapic_hw_tpr(l) : l->tpr) >> 4;
}

/* --- IA32_APIC_BASE and reset --- */

static u32 x2apic_ldr(u32 id)
{
	return (id >> 4) << 16 | 1u << (id & 0xf);
}

/* apic_base went from @old to what it is now. */
static void lapic_base_changed(struct mezz_lapic *l, u64 old)
{
	u64 base = l->v->apic_base;

	lapic_derive(l);
	if (l->x2apic)
		WRITE_ONCE(l->ldr, x2apic_ldr(l->id));
	else if (old & X2APIC_ENABLE)
		WRITE_ONCE(l->ldr, 0);
	if ((old ^ base) & (MSR_IA32_APICBASE_ENABLE | X2APIC_ENABLE))
		mezz_apic_map_update(l->v->vm);
	mezz_request(l->v, MEZZ_REQ_EVENT);
}

int mezz_lapic_set_base(struct mezz_vcpu *v, u64 base, bool host)
{
	const u64 modes = MSR_IA32_APICBASE_ENABLE | X2APIC_ENABLE;
	u64 reserved = BASE_RESERVED | ~GENMASK_ULL(mezz_guest_maxphyaddr(v) - 1, 0);
	u64 old = v->apic_base;

	if (!mezz_guest_has(v, X86_FEATURE_X2APIC))
		reserved |= X2APIC_ENABLE;
	if ((base & reserved) || (base & modes) == X2APIC_ENABLE)
		return 1;
	/* SDM 3, "x2APIC State Transitions": not back to xAPIC, not from off. */
	if (!host && (old & modes) == modes && (base & modes) == MSR_IA32_APICBASE_ENABLE)
		return 1;
	if (!host && !(old & modes) && (base & modes) == modes)
		return 1;
	v->apic_base = base;
	if ((old ^ base) & MSR_IA32_APICBASE_ENABLE)
		mezz_cpuid_refresh(v);
	if (v->lapic && old != base)
		lapic_base_changed(v->lapic, old);
	return 0;
}

static void lapic_reset_registers(struct mezz_lapic *l)
{
	int i;

	for (i = 0; i < NR_LVT; i++)
		WRITE_ONCE(l->lvt[i], LVT_MASKED);
	/* Firmware would do this for the BSP: virtual wire. */
	if (l->id == l->v->vm->bsp_id && mezz_quirk(l->v->vm, KVM_X86_QUIRK_LINT0_REENABLED))
		WRITE_ONCE(l->lvt[LVT_LINT0], MEZZ_DM_EXTINT << 8);
	WRITE_ONCE(l->dfr, 0xffffffff);
	WRITE_ONCE(l->ldr, l->x2apic ? x2apic_ldr(l->id) : 0);
	l->svr = 0xff;
	l->tpr = 0;
	l->esr = 0;
	l->esr_new = 0;
	l->icr = 0;
	l->tdcr = 0;
	l->tmict = 0;
	l->isr_top = -1;
	l->pv_eoi = false;
	l->pv_eoi_retry = false;
	memset(l->isr, 0, sizeof(l->isr));
	for (i = 0; i < BITS_TO_LONGS(256); i++) {
		WRITE_ONCE(l->irr[i], 0);
		WRITE_ONCE(l->tmr[i], 0);
	}
	lapic_timer_divide(l);
}

void mezz_lapic_reset(struct mezz_vcpu *v, bool init)
{
	struct mezz_lapic *l = v->lapic;

	/* INIT leaves IA32_APIC_BASE, and so the mode, alone. */
	if (!init) {
		u64 old = v->apic_base;

		v->apic_base = APIC_DEFAULT_PHYS_BASE | MSR_IA32_APICBASE_ENABLE;
		if (v->id == v->vm->bsp_id)
			v->apic_base |= MSR_IA32_APICBASE_BSP;
		if (!(old & MSR_IA32_APICBASE_ENABLE))
			mezz_cpuid_refresh(v);
	}
	if (!l)
		return;
	lapic_timer_stop(l);
	lapic_pull(l);
	lapic_derive(l);
	lapic_reset_registers(l);
	lapic_derive(l);
	mezz_apic_map_update(v->vm);
}
