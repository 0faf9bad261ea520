// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupt messages: from an ICR, an RTE or an MSI to the LAPICs addressed.
 *
 * A destination is looked up in the map of struct mezz_irq_vm, one load for a
 * single target. Only for broadcasts, or when the guest mixes addressing modes or
 * gives two LAPICs one logical ID, is every LAPIC asked (lapic_matches).
 *
 * Known hacks: lowest priority means "one of the targets, chosen by vector",
 * as on current chipsets, not by comparing priorities. SMI messages are lost:
 * there is no SMM.
 */
#include <linux/kvm_para.h>
#include <linux/nospec.h>
#include <linux/rcuwait.h>
#include "lapic.h"

#define XAPIC_ALL	0xffu
#define X2APIC_ALL	0xffffffffu

/* --- the map --- */

/* How @l is addressed logically; SLOW if not at all. */
static unsigned int lapic_logical_mode(struct mezz_lapic *l)
{
	if (READ_ONCE(l->x2apic))
		return MEZZ_LOGICAL_X2APIC;
	return READ_ONCE(l->dfr) >> 28 == 0xf ? MEZZ_LOGICAL_FLAT : MEZZ_LOGICAL_CLUSTER;
}

/* Enter @v into the logical maps. False when the map cannot express it. */
static bool map_add_logical(struct mezz_apic_logical *map, struct mezz_vcpu *v,
			    unsigned int mode)
{
	u8 ldr = READ_ONCE(v->lapic->ldr) >> 24;
	u8 *slot;

	if (mode == MEZZ_LOGICAL_FLAT) {
		if (!is_power_of_2(ldr))
			return !ldr;
		slot = &map->flat[__ffs(ldr)];
	} else {
		if (!is_power_of_2(ldr & 0xf))
			return !(ldr & 0xf);
		slot = &map->cluster[ldr >> 4][__ffs(ldr & 0xf)];
	}
	if (*slot)
		return false;
	*slot = v->idx + 1;
	return true;
}

static void map_build_logical(struct mezz_vm *vm, struct mezz_apic_logical *map)
{
	int mode = -1;
	bool ok = true;
	struct mezz_vcpu *v;
	int i;

	mezz_for_each_vcpu(i, v, vm) {
		struct mezz_lapic *l = v->lapic;
		unsigned int m;

		if (!l || !READ_ONCE(l->hw_enabled))
			continue;
		m = lapic_logical_mode(l);
		if (m != MEZZ_LOGICAL_X2APIC && !READ_ONCE(l->ldr))
			continue;	/* answers to broadcasts only */
		if (mode >= 0 && mode != m)
			ok = false;
		mode = m;
		if (m != MEZZ_LOGICAL_X2APIC && !map_add_logical(map, v, m))
			ok = false;
	}
	map->logical = ok && mode >= 0 ? mode : MEZZ_LOGICAL_SLOW;
}

static void map_copy(u8 *to, const u8 *from, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (to[i] != from[i])
			WRITE_ONCE(to[i], from[i]);
}

void mezz_apic_map_update(struct mezz_vm *vm)
{
	struct mezz_irq_vm *irq = vm->irq;
	struct mezz_apic_logical *map = &irq->map.l;
	struct mezz_apic_logical new;
	unsigned long flags;

	memset(new.flat, 0, sizeof(new.flat));
	memset(new.cluster, 0, sizeof(new.cluster));
	raw_spin_lock_irqsave(&irq->map_lock, flags);
	map_build_logical(vm, &new);
	/* Slow is right at any time: be slow while entries move. */
	if (map->logical != new.logical)
		WRITE_ONCE(map->logical, MEZZ_LOGICAL_SLOW);
	smp_wmb();	/* before the entries */
	map_copy(map->flat, new.flat, sizeof(new.flat));
	map_copy(&map->cluster[0][0], &new.cluster[0][0], sizeof(new.cluster));
	/* After the entries; pairs with the acquire in targets_logical(). */
	smp_store_release(&map->logical, new.logical);
	raw_spin_unlock_irqrestore(&irq->map_lock, flags);
}

void mezz_lapic_published(struct mezz_vcpu *v)
{
	if (!v->lapic)
		return;
	WRITE_ONCE(v->vm->irq->map.phys[v->id], v->idx + 1);
	mezz_apic_map_update(v->vm);
}

/* The LAPIC of map entry @n, NULL if there is none (or not yet). */
static struct mezz_lapic *map_lapic(struct mezz_vm *vm, u8 n)
{
	struct mezz_vcpu *v;

	if (!n)
		return NULL;
	v = READ_ONCE(vm->vcpus[n - 1]);
	return v ? v->lapic : NULL;
}

static struct mezz_lapic *lapic_by_id(struct mezz_vm *vm, u32 id)
{
	if (id >= MEZZ_MAX_VCPU_ID)
		return NULL;
	id = array_index_nospec(id, MEZZ_MAX_VCPU_ID);
	return map_lapic(vm, READ_ONCE(vm->irq->map.phys[id]));
}

struct mezz_vcpu *mezz_vcpu_by_apic_id(struct mezz_vm *vm, u32 id)
{
	struct mezz_lapic *l = lapic_by_id(vm, id);

	return l ? l->v : NULL;
}

/* --- one target --- */

static bool lapic_take(struct mezz_lapic *l, struct mezz_vcpu *src, const struct mezz_msg *m)
{
	switch (m->mode) {
	case MEZZ_DM_FIXED:
	case MEZZ_DM_LOWEST:
		if (m->level && !m->assert)
			return false;
		return lapic_accept(l, m->vector, m->level, l->v == src);
	case MEZZ_DM_NMI:
		mezz_nmi(l->v);
		return true;
	case MEZZ_DM_INIT:
		/* The level de-assert message of old only sets arbitration IDs. */
		if (m->level && !m->assert)
			return false;
		/* A SIPI that came before is forgotten. */
		WRITE_ONCE(l->pending, BIT(LAPIC_INIT));
		mezz_poke(l->v, MEZZ_REQ_WAKE);
		return true;
	case MEZZ_DM_SIPI:
		WRITE_ONCE(l->sipi, m->vector);
		smp_mb__before_atomic();	/* the vector before the bit */
		set_bit(LAPIC_SIPI, &l->pending);
		mezz_poke(l->v, MEZZ_REQ_WAKE);
		return true;
	}
	return false;
}

/* --- sets of targets --- */

/* A set of vCPUs by index, as a destination names them. */
static_assert(MEZZ_MAX_VCPUS <= 64);

static bool lapic_matches_logical(struct mezz_lapic *l, u32 dest)
{
	u32 ldr = READ_ONCE(l->ldr);

	if (READ_ONCE(l->x2apic))
		return (ldr >> 16) == (dest >> 16) && (ldr & dest & 0xffff);
	ldr >>= 24;
	if (READ_ONCE(l->dfr) >> 28 == 0xf)
		return ldr & dest;
	return (ldr >> 4) == (dest >> 4) && (ldr & dest & 0xf);
}

/* To all, for some LAPICs at least: each is asked. */
static bool msg_is_broadcast(const struct mezz_msg *m)
{
	return m->dest == XAPIC_ALL || m->dest == X2APIC_ALL;
}

/*
 * What is a broadcast to @l depends on its own mode. Devices have only 8 bits where there
 * is no interrupt remapping, so theirs reaches x2APICs too, unless user space knows better.
 */
static bool lapic_takes_broadcast(struct mezz_lapic *l, struct mezz_vcpu *src, u32 dest)
{
	bool x2apic = READ_ONCE(l->x2apic);

	if (dest == X2APIC_ALL)
		return x2apic;
	return !x2apic || (!src && !READ_ONCE(l->v->vm->x2apic_strict));
}

/* Does @m address @l? The slow way. */
static bool lapic_matches(struct mezz_lapic *l, struct mezz_vcpu *src, const struct mezz_msg *m)
{
	if (!READ_ONCE(l->hw_enabled))
		return false;
	if (msg_is_broadcast(m) && lapic_takes_broadcast(l, src, m->dest))
		return true;
	if (m->logical)
		return lapic_matches_logical(l, m->dest);
	return l->id == m->dest;
}

static u64 targets_slow(struct mezz_vm *vm, struct mezz_vcpu *src, const struct mezz_msg *m)
{
	struct mezz_vcpu *v;
	u64 set = 0;
	int i;

	mezz_for_each_vcpu(i, v, vm)
		if (v->lapic && lapic_matches(v->lapic, src, m))
			set |= 1ull << i;
	return set;
}

/* Entries of @row whose bits are in @mask. */
static u64 targets_row(const u8 *row, unsigned int mask)
{
	u64 set = 0;

	while (mask) {
		u8 n = READ_ONCE(row[__ffs(mask)]);

		if (n)
			set |= 1ull << (n - 1);
		mask &= mask - 1;
	}
	return set;
}

static u64 targets_logical(struct mezz_vm *vm, struct mezz_vcpu *src, const struct mezz_msg *m)
{
	struct mezz_apic_map *map = &vm->irq->map;
	u32 dest = m->dest, cluster;

	/* Pairs with the release in mezz_apic_map_update(). */
	switch (smp_load_acquire(&map->l.logical)) {
	case MEZZ_LOGICAL_FLAT:
		return dest > 0xff ? 0 : targets_row(map->l.flat, dest);
	case MEZZ_LOGICAL_CLUSTER:
		return dest > 0xff ? 0 : targets_row(map->l.cluster[dest >> 4], dest & 0xf);
	case MEZZ_LOGICAL_X2APIC:
		cluster = dest >> 16;
		if (cluster >= MEZZ_MAX_VCPU_ID / 16)
			return 0;
		cluster = array_index_nospec(cluster, MEZZ_MAX_VCPU_ID / 16);
		return targets_row(&map->phys[cluster * 16], dest & 0xffff);
	}
	return targets_slow(vm, src, m);
}

static u64 msg_targets(struct mezz_vm *vm, struct mezz_vcpu *src, const struct mezz_msg *m)
{
	int n = mezz_nr_vcpus(vm);
	u64 all = n == 64 ? ~0ull : (1ull << n) - 1;
	struct mezz_lapic *l;

	if (m->shorthand == MEZZ_SH_ALL)
		return all;
	if (m->shorthand == MEZZ_SH_OTHERS)
		return src ? all & ~(1ull << src->idx) : all;
	if (msg_is_broadcast(m))
		return targets_slow(vm, src, m);
	if (m->logical)
		return targets_logical(vm, src, m);
	l = lapic_by_id(vm, m->dest);
	return l ? 1ull << l->v->idx : 0;
}

/* The one of @set that a lowest-priority message goes to. */
static struct mezz_lapic *pick_lowest(struct mezz_vm *vm, u64 set, u8 vector)
{
	unsigned int n, i;
	u64 on = 0;

	for (; set; set &= set - 1) {
		struct mezz_lapic *l = vm->vcpus[__ffs64(set)]->lapic;

		if (l && READ_ONCE(l->enabled))
			on |= set & -set;
	}
	n = hweight64(on);
	if (!n)
		return NULL;
	for (i = vector % n; i; i--)
		on &= on - 1;
	return vm->vcpus[__ffs64(on)]->lapic;
}

int mezz_msg_deliver(struct mezz_vm *vm, struct mezz_vcpu *src, const struct mezz_msg *m)
{
	struct mezz_lapic *l;
	int taken = -1;
	u64 set;

	/* The common case: one target by its ID. */
	if (likely(!m->shorthand && !m->logical && !msg_is_broadcast(m))) {
		l = lapic_by_id(vm, m->dest);
		if (!l || !READ_ONCE(l->hw_enabled))
			return -1;
		return lapic_take(l, src, m);
	}
	if (m->shorthand == MEZZ_SH_SELF)
		return src ? lapic_take(src->lapic, src, m) : -1;
	set = msg_targets(vm, src, m);
	/* Lowest priority to the physical broadcast address is fixed: to all. */
	if (m->lowest && (m->shorthand || m->logical)) {
		l = pick_lowest(vm, set, m->vector);
		return l ? lapic_take(l, src, m) : -1;
	}
	for (; set; set &= set - 1) {
		l = vm->vcpus[__ffs64(set)]->lapic;
		if (!l || !READ_ONCE(l->hw_enabled))
			continue;
		taken = (taken < 0 ? 0 : taken) + lapic_take(l, src, m);
	}
	return taken;
}

bool mezz_msg_pending(struct mezz_vm *vm, const struct mezz_msg *m)
{
	u64 set;

	for (set = msg_targets(vm, NULL, m); set; set &= set - 1) {
		struct mezz_lapic *l = vm->vcpus[__ffs64(set)]->lapic;

		if (!l || !READ_ONCE(l->enabled))
			continue;
		if (test_bit(m->vector, l->irr) ||
		    (READ_ONCE(l->loaded) && lapic_hw_pending(l, m->vector)))
			return true;
	}
	return false;
}

/* --- the sending side --- */

void lapic_write_icr(struct mezz_lapic *l, u64 icr)
{
	u32 low = icr & ~ICR_BUSY;
	struct mezz_msg m = {
		.dest = l->x2apic ? icr >> 32 : icr >> 56,
		.vector = low,
		.mode = (low >> 8) & 7,
		.shorthand = (low >> 18) & 3,
		.logical = low & BIT(11),
		.level = low & BIT(15),
		.assert = low & BIT(14),
		.lowest = ((low >> 8) & 7) == MEZZ_DM_LOWEST,
	};

	l->icr = (icr & GENMASK_ULL(63, 32)) | low;
	if (unlikely(m.mode <= MEZZ_DM_LOWEST && m.vector < 16)) {
		lapic_error(l, ESR_SEND_ILLEGAL);
		return;
	}
	mezz_msg_deliver(l->v->vm, l->v, &m);
}

static int pv_send_half(struct mezz_vm *vm, u64 bitmap, u32 min, const struct mezz_msg *m)
{
	int count = 0;

	for (; bitmap; bitmap &= bitmap - 1) {
		u64 id = (u64)min + __ffs64(bitmap);
		struct mezz_lapic *l;

		if (id >= MEZZ_MAX_VCPU_ID)
			break;
		l = lapic_by_id(vm, id);
		if (l && READ_ONCE(l->hw_enabled))
			count += lapic_take(l, NULL, m);
	}
	return count;
}

long mezz_pv_send_ipi(struct mezz_vm *vm, u64 low, u64 high, u32 min, u32 icr, bool is64)
{
	struct mezz_msg m = {
		.vector = icr,
		.mode = (icr >> 8) & 7,
		.level = icr & BIT(15),
		.assert = icr & BIT(14),
	};
	u32 width = is64 ? 64 : 32;
	int count;

	/* Destination mode and shorthand have no meaning here. */
	if (icr & (BIT(11) | 3u << 18))
		return -KVM_EINVAL;
	if (!mezz_irqchip_any(vm))
		return -KVM_EOPNOTSUPP;
	if (!is64) {
		low = (u32)low;
		high = (u32)high;
	}
	count = pv_send_half(vm, low, min, &m);
	if (min + width > min)
		count += pv_send_half(vm, high, min + width, &m);
	return count;
}

void mezz_pv_kick(struct mezz_vm *vm, u32 apic_id)
{
	struct mezz_lapic *l = lapic_by_id(vm, apic_id);

	if (!l)
		return;
	/* Only one that waits needs to hear of it: HLT looks. */
	WRITE_ONCE(l->unhalt, true);
	rcuwait_wake_up(&l->v->wait);
}

/* --- the receiving side of INIT, SIPI and KVM_HC_KICK_CPU --- */

bool mezz_lapic_init_sipi_pending(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	if (!l)
		return false;
	/* A kick is for the HLT that comes; waiting for a page is none. */
	return READ_ONCE(l->pending) || l->pv_eoi_retry ||
	       (READ_ONCE(l->unhalt) && v->mp.mp_state != KVM_MP_STATE_RUNNABLE &&
		!v->awaits_page);
}

/* What accept_events() does beside INIT and SIPI. */
static void lapic_accept_pv(struct mezz_lapic *l)
{
	struct mezz_vcpu *v = l->v;
	bool halted = v->mp.mp_state == KVM_MP_STATE_HALTED;

	if (unlikely(l->pv_eoi_retry)) {
		l->pv_eoi_retry = false;
		if (halted || v->mp.mp_state == KVM_MP_STATE_RUNNABLE)
			lapic_sync_pv_eoi(l);
		mezz_request(v, MEZZ_REQ_EVENT);
	}
	/* A kick that comes before the HLT which it is to end stays. */
	if (READ_ONCE(l->unhalt) && v->mp.mp_state != KVM_MP_STATE_RUNNABLE) {
		WRITE_ONCE(l->unhalt, false);
		if (halted)
			v->mp.mp_state = KVM_MP_STATE_RUNNABLE;
	}
}

static void lapic_start_up(struct mezz_vcpu *v, u8 vector)
{
	struct kvm_segment cs;

	mezz_engine->get_segment(v, MEZZ_CS, &cs);
	cs.selector = vector << 8;
	cs.base = (u64)vector << 12;
	mezz_engine->set_segment(v, MEZZ_CS, &cs);
	mezz_set(v, MEZZ_RIP, 0);
	v->mp.mp_state = KVM_MP_STATE_RUNNABLE;
}

void mezz_lapic_accept_events(struct mezz_vcpu *v)
{
	struct mezz_lapic *l = v->lapic;

	if (!l)
		return;
	lapic_accept_pv(l);
	if (likely(!READ_ONCE(l->pending)))
		return;
	if (test_and_clear_bit(LAPIC_INIT, &l->pending)) {
		mezz_vcpu_reset(v, true);
		v->mp.mp_state = v->id == v->vm->bsp_id ? KVM_MP_STATE_RUNNABLE :
							  KVM_MP_STATE_INIT_RECEIVED;
	}
	if (test_and_clear_bit(LAPIC_SIPI, &l->pending) &&
	    v->mp.mp_state == KVM_MP_STATE_INIT_RECEIVED)
		lapic_start_up(v, READ_ONCE(l->sipi));
}

u8 mezz_lapic_get_sipi(struct mezz_vcpu *v)
{
	return v->lapic ? READ_ONCE(v->lapic->sipi) : 0;
}

void mezz_lapic_set_sipi(struct mezz_vcpu *v, u8 vector)
{
	if (v->lapic)
		WRITE_ONCE(v->lapic->sipi, vector);
}

void mezz_lapic_raise_sipi(struct mezz_vcpu *v)
{
	set_bit(LAPIC_SIPI, &v->lapic->pending);
}
