// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the buses: who of those whose ranges overlap gets an access.
 */
#include "bus.c"
#include "../test/machine.h"

/* A device that remembers the last access, and may refuse it. */
struct device {
	u64 addr;
	unsigned int len, hits;
	bool refuse;
};

static bool device_write(void *dev, u64 addr, unsigned int len, const void *data)
{
	struct device *d = dev;

	d->addr = addr;
	d->len = len;
	d->hits++;
	return !d->refuse;
}

static bool device_read(void *dev, u64 addr, unsigned int len, void *data)
{
	memset(data, 0x5a, len);
	return device_write(dev, addr, len, data);
}

static const struct mezz_bus_ops device_ops = { .write = device_write, .read = device_read };

static int add(struct mezz_machine *m, u64 addr, u32 len, void *dev)
{
	struct mezz_bus_entry e = {
		.addr = addr, .len = len, .dev = dev,
		.kind = dev == m ? MEZZ_BUS_IOEVENTFD : MEZZ_BUS_DEVICE, .ops = &device_ops,
	};
	int r;

	mutex_lock(&m->vm.slots_lock);
	r = mezz_bus_add(&m->vm, MEZZ_BUS_MMIO, &e, 1);
	mutex_unlock(&m->vm.slots_lock);
	return r;
}

static bool store(struct mezz_machine *m, u64 addr, unsigned int len, u64 val)
{
	int idx = mezz_read_lock(&m->vm);
	bool taken = mezz_mmio_write(&m->v[0], addr, len, &val);

	mezz_read_unlock(&m->vm, idx);
	return taken;
}

static void bus_ranges(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_NONE);
	struct device a = {}, b = {};
	u64 val = 0;
	int idx;

	KUNIT_ASSERT_EQ(test, add(m, 0x2000, 8, &b), 0);
	KUNIT_ASSERT_EQ(test, add(m, 0x1000, 0x10, &a), 0);
	KUNIT_EXPECT_FALSE(test, store(m, 0xfff, 1, 0));
	KUNIT_EXPECT_TRUE(test, store(m, 0x1000, 4, 0));
	KUNIT_EXPECT_TRUE(test, store(m, 0x100f, 1, 0));
	KUNIT_EXPECT_FALSE(test, store(m, 0x100f, 2, 0));
	KUNIT_EXPECT_FALSE(test, store(m, 0x1010, 1, 0));
	KUNIT_EXPECT_EQ(test, a.hits, 2u);
	KUNIT_EXPECT_TRUE(test, store(m, 0x2000, 8, 0));
	KUNIT_EXPECT_EQ(test, b.len, 8u);
	KUNIT_EXPECT_FALSE(test, store(m, ~0ull, 1, 0));
	idx = mezz_read_lock(&m->vm);
	KUNIT_EXPECT_TRUE(test, mezz_mmio_read(&m->v[0], 0x2004, 4, &val));
	KUNIT_EXPECT_FALSE(test, mezz_mmio_read(&m->v[0], 0x2006, 4, &val));
	mezz_read_unlock(&m->vm, idx);
	KUNIT_EXPECT_EQ(test, val, 0x5a5a5a5aull);
}

/* Does anything listen at a port? */
static void bus_watched(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_NONE);
	struct device d = {};
	struct mezz_bus_entry e = {
		.addr = 0x60, .len = 4, .dev = &d, .kind = MEZZ_BUS_DEVICE, .ops = &device_ops,
	};
	int idx;

	mutex_lock(&m->vm.slots_lock);
	KUNIT_EXPECT_EQ(test, mezz_bus_add(&m->vm, MEZZ_BUS_PIO, &e, 1), 0);
	mutex_unlock(&m->vm.slots_lock);
	idx = mezz_read_lock(&m->vm);
	KUNIT_EXPECT_FALSE(test, mezz_pio_watched(&m->v[0], 0x5f));
	KUNIT_EXPECT_TRUE(test, mezz_pio_watched(&m->v[0], 0x60));
	KUNIT_EXPECT_TRUE(test, mezz_pio_watched(&m->v[0], 0x63));
	KUNIT_EXPECT_FALSE(test, mezz_pio_watched(&m->v[0], 0x64));
	mezz_read_unlock(&m->vm, idx);
}

static void bus_overlap(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_NONE);
	struct device wide = {}, inner = {}, twin = {};

	KUNIT_ASSERT_EQ(test, add(m, 0x1000, 0x1000, &wide), 0);
	KUNIT_ASSERT_EQ(test, add(m, 0x1800, 4, &inner), 0);
	KUNIT_ASSERT_EQ(test, add(m, 0x1800, 4, &twin), 0);
	/* the one that starts last, and of equals the older one */
	KUNIT_EXPECT_TRUE(test, store(m, 0x1800, 4, 0));
	KUNIT_EXPECT_EQ(test, inner.hits, 1u);
	inner.refuse = true;
	KUNIT_EXPECT_TRUE(test, store(m, 0x1800, 4, 0));
	KUNIT_EXPECT_EQ(test, twin.hits, 1u);
	/* behind the inner one the wide one goes on */
	KUNIT_EXPECT_TRUE(test, store(m, 0x1804, 4, 0));
	KUNIT_EXPECT_TRUE(test, store(m, 0x1ffc, 4, 0));
	KUNIT_EXPECT_EQ(test, wide.hits, 2u);
	KUNIT_EXPECT_EQ(test, wide.addr, 0x1ffcull);
}

static void bus_ioeventfds(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_NONE);
	struct device d = {};

	m->match = 7;
	m->watched = 0x1000;
	KUNIT_ASSERT_EQ(test, add(m, 0x1000, 0, m), 0);
	KUNIT_ASSERT_EQ(test, add(m, 0x1000, 8, &d), 0);
	KUNIT_EXPECT_TRUE(test, store(m, 0x1000, 2, 7));
	KUNIT_EXPECT_EQ(test, m->signals, 1u);
	KUNIT_EXPECT_TRUE(test, store(m, 0x1000, 2, 8));
	KUNIT_EXPECT_EQ(test, d.hits, 1u);
	KUNIT_EXPECT_TRUE(test, store(m, 0x1004, 2, 7));
	KUNIT_EXPECT_EQ(test, m->signals, 1u);
}

static void bus_removal(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_NONE);
	struct device a = {}, b = {};

	KUNIT_ASSERT_EQ(test, add(m, 0x1000, 8, &a), 0);
	KUNIT_ASSERT_EQ(test, add(m, 0x1004, 8, &a), 0);
	KUNIT_ASSERT_EQ(test, add(m, 0x3000, 8, &b), 0);
	mutex_lock(&m->vm.slots_lock);
	mezz_bus_remove(&m->vm, MEZZ_BUS_MMIO, &a);
	mutex_unlock(&m->vm.slots_lock);
	KUNIT_EXPECT_FALSE(test, store(m, 0x1000, 4, 0));
	KUNIT_EXPECT_FALSE(test, store(m, 0x1008, 4, 0));
	KUNIT_EXPECT_TRUE(test, store(m, 0x3000, 4, 0));
	/* what is gone is dropped when something comes */
	KUNIT_ASSERT_EQ(test, add(m, 0x4000, 8, &b), 0);
	KUNIT_EXPECT_EQ(test, rcu_access_pointer(m->vm.irq->bus[MEZZ_BUS_MMIO])->n, 2u);
	KUNIT_EXPECT_EQ(test, a.hits, 0u);
}

static void bus_limit(struct kunit *test)
{
	struct mezz_machine *m = mezz_machine_new(test, 1, MEZZ_CHIP_NONE);
	struct mezz_bus_entry *e = kunit_kcalloc(test, MEZZ_BUS_MAX, sizeof(*e), GFP_KERNEL);
	struct device d = {};
	unsigned int i;
	int r;

	KUNIT_ASSERT_NOT_NULL(test, e);
	for (i = 0; i < MEZZ_BUS_MAX; i++)
		e[i] = (struct mezz_bus_entry) {
			.addr = 0x10000 + 16 * i, .len = 8, .dev = &d,
			.kind = MEZZ_BUS_DEVICE, .ops = &device_ops,
		};
	/* ioeventfds do not count, but come too late as all do */
	mutex_lock(&m->vm.slots_lock);
	r = mezz_bus_add(&m->vm, MEZZ_BUS_MMIO, e, MEZZ_BUS_MAX - 1);
	mutex_unlock(&m->vm.slots_lock);
	KUNIT_EXPECT_EQ(test, r, 0);
	KUNIT_EXPECT_EQ(test, add(m, 0x1000, 8, m), 0);
	KUNIT_EXPECT_EQ(test, add(m, 0x2000, 8, m), 0);
	KUNIT_EXPECT_EQ(test, add(m, e[MEZZ_BUS_MAX - 1].addr, 8, &d), 0);
	KUNIT_EXPECT_EQ(test, add(m, 0x1000, 8, &d), -ENOSPC);
	KUNIT_EXPECT_EQ(test, add(m, 0x1000, 8, m), -ENOSPC);
	for (i = 0; i < MEZZ_BUS_MAX; i += 111)
		KUNIT_EXPECT_TRUE(test, store(m, 0x10000 + 16 * i, 8, 0));
	KUNIT_EXPECT_EQ(test, d.hits, 10u);
}

static struct kunit_case bus_cases[] = {
	KUNIT_CASE(bus_ranges),
	KUNIT_CASE(bus_watched),
	KUNIT_CASE(bus_overlap),
	KUNIT_CASE(bus_ioeventfds),
	KUNIT_CASE(bus_removal),
	KUNIT_CASE(bus_limit),
	{}
};

static struct kunit_suite bus_suite = {
	.name = "mezz_bus",
	.exit = mezz_machine_exit,
	.test_cases = bus_cases,
};

kunit_test_suite(bus_suite);
