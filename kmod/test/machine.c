// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine that KUnit suites use, and what stands in for the rest of the
 * module: see machine.h.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include "../cpu/cpu.h"
#include "../mmu/table.h"
#include "../pv/pv.h"
#include "machine.h"

/* --- the engine --- */

static void test_update_cr8(struct mezz_vcpu *v, unsigned int tpr, int irr)
{
}

static void test_apic_mode(struct mezz_vcpu *v, bool on)
{
	machine_of(v->vm)->hw.on = on;
}

static void test_apic_load(struct mezz_vcpu *v, u8 irr, u8 isr)
{
	machine_of(v->vm)->hw.irr = irr;
	machine_of(v->vm)->hw.isr = isr;
	machine_of(v->vm)->hw.loads++;
}

static void test_apic_raise(struct mezz_vcpu *v, u8 irr)
{
	machine_of(v->vm)->hw.irr = max(irr, machine_of(v->vm)->hw.irr);
}

static void test_apic_eoi_exits(struct mezz_vcpu *v, const unsigned long *vectors)
{
	memcpy(machine_of(v->vm)->hw.eoi_exits, vectors, 256 / 8);
}

static void test_get_segment(struct mezz_vcpu *v, unsigned int seg, struct kvm_segment *s)
{
	*s = machine_of(v->vm)->started;
}

static void test_set_segment(struct mezz_vcpu *v, unsigned int seg, const struct kvm_segment *s)
{
	machine_of(v->vm)->started = *s;
}

static void test_fetch(struct mezz_vcpu *v, unsigned int what)
{
}

struct mezz_engine mezz_test_engine = {
	.name = "test",
	.update_cr8 = test_update_cr8,
	.apic_mode = test_apic_mode,
	.apic_load = test_apic_load,
	.apic_raise = test_apic_raise,
	.apic_eoi_exits = test_apic_eoi_exits,
	.get_segment = test_get_segment,
	.set_segment = test_set_segment,
	.fetch = test_fetch,
};

const struct mezz_engine *mezz_engine = &mezz_test_engine;
struct mezz_host mezz_host = { .pt_levels = 4, .max_page_level = 3 };

/* --- vm.c, vcpu.c --- */

void mezz_synchronize(struct mezz_vm *vm)
{
	synchronize_srcu(&vm->srcu);
}

void mezz_flush_all(struct mezz_vm *vm)
{
	machine_of(vm)->flushes++;
}

void mezz_kick(struct mezz_vcpu *v)
{
	machine_of(v->vm)->kicks++;
}

void mezz_poke_all(struct mezz_vm *vm, unsigned int req)
{
	struct mezz_vcpu *v;
	int i;

	mezz_for_each_vcpu(i, v, vm)
		mezz_request(v, req);
}

void mezz_vcpu_reset(struct mezz_vcpu *v, bool init)
{
	mezz_lapic_reset(v, init);
}

/* --- cpu/, pv/ --- */

bool mezz_guest_has(struct mezz_vcpu *v, unsigned int f)
{
	return !machine_of(v->vm)->no_features;
}

unsigned int mezz_guest_maxphyaddr(struct mezz_vcpu *v)
{
	return 40;
}

void mezz_cpuid_refresh(struct mezz_vcpu *v)
{
}

u64 mezz_guest_tsc(struct mezz_vcpu *v, u64 host)
{
	return host + v->tsc_offset;
}

bool mezz_pv_eoi_enabled(struct mezz_vcpu *v)
{
	return machine_of(v->vm)->eoi.on;
}

bool mezz_pv_eoi_set(struct mezz_vcpu *v)
{
	machine_of(v->vm)->eoi.word = true;
	return true;
}

bool mezz_pv_eoi_test_clear(struct mezz_vcpu *v, bool *was_set)
{
	struct mezz_machine *m = machine_of(v->vm);

	if (m->eoi.away)
		return false;
	*was_set = m->eoi.word;
	m->eoi.word = false;
	return true;
}

/* --- irq.c, irqfd.c, ioeventfd.c, coalesced.c --- */

bool mezz_irqchip_full(struct mezz_vm *vm)
{
	return vm->irq->mode == MEZZ_CHIP_FULL;
}

bool mezz_irqchip_split(struct mezz_vm *vm)
{
	return vm->irq->mode == MEZZ_CHIP_SPLIT;
}

void mezz_irqfd_acked(struct mezz_vm *vm, u32 gsi)
{
	machine_of(vm)->acked |= BIT(gsi);
}

bool mezz_irqfd_has_resampler(struct mezz_vm *vm, u32 gsi)
{
	return machine_of(vm)->resampled & BIT(gsi);
}

bool mezz_ioeventfd_write(void *dev, u64 addr, unsigned int len, const void *data)
{
	struct mezz_machine *m = dev;

	if (addr != m->watched || *(const u8 *)data != m->match)
		return false;
	m->signals++;
	return true;
}

bool mezz_coalesced_write(void *dev, u64 addr, unsigned int len, const void *data)
{
	return false;
}

/* --- mmu/dirty.c: no slot logs --- */

int mezz_dirty_alloc(struct mezz_vm *vm, struct mezz_slot *slot)
{
	return 0;
}

void mezz_dirty_free(struct mezz_vm *vm, struct mezz_slot *slot)
{
}

void mezz_dirty_start(struct mezz_vm *vm, struct mezz_slot *slot)
{
}

long mezz_get_dirty_log(struct mezz_vm *vm, void __user *argp)
{
	return -ENOENT;
}

long mezz_clear_dirty_log(struct mezz_vm *vm, void __user *argp)
{
	return -ENOENT;
}

long mezz_ring_reset(struct mezz_vm *vm)
{
	return -ENOENT;
}

long mezz_ring_cap(void)
{
	return 0;
}

/* --- the machine --- */

static void add_vcpu(struct kunit *test, struct mezz_machine *m, unsigned int n)
{
	struct mezz_vcpu *v = &m->v[n];

	v->vm = &m->vm;
	v->id = n;
	v->idx = n;
	v->ext_irq = -1;
	v->mp.mp_state = n ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE;
	KUNIT_ASSERT_EQ(test, mezz_lapic_create(v), 0);
	mezz_lapic_reset(v, false);
	m->vm.vcpus[n] = v;
	m->vm.nr_vcpus = n + 1;
	mezz_lapic_published(v);
	/* Software enable, spurious vector 0xff */
	if (v->lapic)
		mezz_machine_write(v, MEZZ_TEST_APIC(0xf0), 0x1ff);
	v->requests = 0;
}

struct mezz_machine *mezz_machine_new(struct kunit *test, unsigned int n,
				      enum mezz_irqchip_mode mode)
{
	struct mezz_machine *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct mezz_irq_vm *irq = kunit_kzalloc(test, sizeof(*irq), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	KUNIT_ASSERT_NOT_NULL(test, irq);
	mutex_init(&m->vm.lock);
	mutex_init(&m->vm.slots_lock);
	KUNIT_ASSERT_EQ(test, init_srcu_struct(&m->vm.srcu), 0);
	irq->vm = &m->vm;
	m->vm.irq = irq;
	raw_spin_lock_init(&irq->map_lock);
	test->priv = m;
	KUNIT_ASSERT_EQ(test, mezz_bus_init(&m->vm), 0);
	if (mode == MEZZ_CHIP_FULL) {
		KUNIT_ASSERT_EQ(test, mezz_pic_create(&m->vm), 0);
		KUNIT_ASSERT_EQ(test, mezz_ioapic_create(&m->vm), 0);
		KUNIT_ASSERT_EQ(test, mezz_routing_default(&m->vm), 0);
	}
	irq->mode = mode;
	for (i = 0; i < n; i++)
		add_vcpu(test, m, i);
	m->kicks = 0;
	return m;
}

void mezz_machine_exit(struct kunit *test)
{
	struct mezz_machine *m = test->priv;
	struct mezz_irq_vm *irq;
	unsigned int i;

	if (!m)
		return;
	test->priv = NULL;
	irq = m->vm.irq;
	mezz_pit_stop(&m->vm);
	mezz_ioapic_stop(&m->vm);
	for (i = 0; i < m->vm.nr_vcpus; i++)
		mezz_lapic_destroy(&m->v[i]);
	mezz_bus_free(&m->vm);
	mezz_pit_free(&m->vm);
	irq->mode = MEZZ_CHIP_FULL;	/* the chips are not on a bus any more */
	mezz_ioapic_free(&m->vm);
	mezz_pic_free(&m->vm);
	mezz_routing_free(&m->vm);
	cleanup_srcu_struct(&m->vm.srcu);
}

void mezz_machine_out(struct mezz_vcpu *v, u16 port, u8 val)
{
	int idx = mezz_read_lock(v->vm);

	mezz_pio_write(v, port, 1, &val);
	mezz_read_unlock(v->vm, idx);
}

u8 mezz_machine_in(struct mezz_vcpu *v, u16 port)
{
	int idx = mezz_read_lock(v->vm);
	u8 val = 0xff;

	mezz_pio_read(v, port, 1, &val);
	mezz_read_unlock(v->vm, idx);
	return val;
}

void mezz_machine_write(struct mezz_vcpu *v, u64 gpa, u32 val)
{
	int idx = mezz_read_lock(v->vm);

	mezz_mmio_write(v, gpa, 4, &val);
	mezz_read_unlock(v->vm, idx);
}

u32 mezz_machine_read(struct mezz_vcpu *v, u64 gpa)
{
	int idx = mezz_read_lock(v->vm);
	u32 val = ~0u;

	mezz_mmio_read(v, gpa, 4, &val);
	mezz_read_unlock(v->vm, idx);
	return val;
}

MODULE_DESCRIPTION("KUnit suites of mezz.ko's pure cores");
MODULE_LICENSE("GPL");
