/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cases of the walk of the guest's page tables (walk.c): one address in each
 * paging mode, and every reason for a fault. They are built twice, into the KUnit
 * suite and into a program of user space, each of which defines before:
 *
 * tap(ok, fmt, ...)	judges one result, and returns it
 * note(fmt, ...)	explains a bad one
 */
#ifndef MEZZ_WALK_CASES_H
#define MEZZ_WALK_CASES_H

#define MEM  0x8000
#define PG   BIT_ULL(31)
#define WP   BIT_ULL(16)
#define PSE  BIT_ULL(4)
#define PAE  BIT_ULL(5)
#define LA57 BIT_ULL(12)
#define SMEP BIT_ULL(20)
#define SMAP BIT_ULL(21)
#define LMA  BIT_ULL(10)
#define NXE  BIT_ULL(11)
#define NX   BIT_ULL(63)

static unsigned char mem[MEM];
static int races; /* so many exchanges find the dirty bit set by others */

static int mem_read(void *ctx, u64 gpa, u64 *val, unsigned int size)
{
	(void)ctx;
	if (gpa + size > MEM)
		return gpa >> 12 == 0xdead ? -EAGAIN : -EFAULT;
	memcpy(val, mem + gpa, size);
	return 0;
}

static int mem_cmpxchg(void *ctx, u64 gpa, u64 *old, u64 new, unsigned int size)
{
	u64 now = 0;

	mem_read(ctx, gpa, &now, size);
	if (races > 0) {
		races--;
		now |= 1ull << 9;
		memcpy(mem + gpa, &now, size);
	}
	if (now == *old)
		memcpy(mem + gpa, &new, size);
	*old = now;
	return 0;
}

static void put8(u64 gpa, u64 val)
{
	memcpy(mem + gpa, &val, 8);
}

static void put4(u64 gpa, u32 val)
{
	memcpy(mem + gpa, &val, 4);
}

static u64 get8(u64 gpa)
{
	u64 val;

	memcpy(&val, mem + gpa, 8);
	return val;
}

static struct mezz_walk setup(u64 cr4, u64 efer)
{
	struct mezz_walk w = {
		.read = mem_read,
		.cas = mem_cmpxchg,
		.cr0 = PG | WP | 1,
		.cr3 = 0x1000,
		.cr4 = cr4,
		.efer = efer,
		.maxphyaddr = 40,
		.update = true,
	};

	races = 0;
	memset(mem, 0, MEM);
	return w;
}

/* Four levels, for LA: one entry of each level is index 1. */
#define LA 0x8040201123ull

static struct mezz_walk setup_long(u64 leaf)
{
	struct mezz_walk w = setup(PAE | SMEP | SMAP, LMA | NXE);

	put8(0x1008, 0x2007);
	put8(0x2008, 0x3007);
	put8(0x3008, 0x4007);
	put8(0x4008, leaf);
	return w;
}

static void expect(struct mezz_walk *w, u64 la, u32 access, u64 gpa, const char *what)
{
	int rc = mezz_walk(w, la, access);

	if (!tap(rc == MEZZ_WALK_OK && w->gpa == gpa, "%s", what))
		note("rc %d gpa %llx err %x", rc, (unsigned long long)w->gpa, w->err);
}

static void expect_fault(struct mezz_walk *w, u64 la, u32 access, u32 err, const char *what)
{
	int rc = mezz_walk(w, la, access);

	if (!tap(rc == MEZZ_WALK_FAULT && w->err == err, "%s", what))
		note("rc %d gpa %llx err %x", rc, (unsigned long long)w->gpa, w->err);
}

static void test_modes(void)
{
	struct mezz_walk w = setup(0, 0);

	w.cr0 = 1;
	expect(&w, 0x123456789ull, 0, 0x23456789, "no paging: 32 bits of the address");

	w = setup(0, 0);
	put4(0x1004, 0x2007);
	put4(0x2004, 0x5067);
	expect(&w, 0x401234, 0, 0x5234, "two levels");
	put4(0x1004, 0x2087);
	expect(&w, 0x401234, 0, 0x5234, "two levels: PS is ignored without CR4.PSE");
	w.cr4 = PSE;
	put4(0x1004, 0x00c04087);
	expect(&w, 0x401234, 0, 0x200c01234ull, "4 MiB page, PSE-36");
	w.maxphyaddr = 32;
	expect_fault(&w, 0x401234, 0, 9, "PSE-36 beyond MAXPHYADDR");

	w = setup(PAE, 0);
	w.cr3 = 0x1020;
	put8(0x1020 + 8, 0x2001);
	put8(0x2000, 0x3007);
	put8(0x3008, 0x5067);
	expect(&w, 0x40001234, MEZZ_WALK_WRITE | MEZZ_WALK_USER, 0x5234, "PAE");
	tap(get8(0x1028) == 0x2001, "PAE: no accessed bit in the PDPTE");
	put8(0x2000, 0x200087);
	expect(&w, 0x40001234, 0, 0x201234, "PAE, 2 MiB page");
	put8(0x1028, 0x2007);
	expect_fault(&w, 0x40001234, 0, 9, "PAE: reserved bits of the PDPTE");

	w = setup_long(0x5007);
	expect(&w, LA, MEZZ_WALK_USER, 0x5123, "four levels");
	tap(get8(0x1008) == 0x2027 && get8(0x4008) == 0x5027 && w.n == 4 && w.size == 8 &&
	    w.at[3] == 0x4008 && w.entry[3] == 0x5027,
	    "accessed bits, entries reported");
	expect(&w, LA, MEZZ_WALK_USER | MEZZ_WALK_WRITE, 0x5123, "the same, writing");
	tap(get8(0x1008) == 0x2027 && get8(0x4008) == 0x5067, "dirty bit in the leaf alone");
	put8(0x3008, 0x401087);
	expect(&w, LA, MEZZ_WALK_USER, 0x401123, "2 MiB page with PAT bit");
	put8(0x2008, 0x40000087);
	expect(&w, LA, MEZZ_WALK_USER, 0x40201123, "1 GiB page");

	w.cr4 |= LA57;
	w.cr3 = 0x6000;
	put8(0x6000, 0x1007);
	expect(&w, LA, MEZZ_WALK_USER, 0x40201123, "five levels");
}

static void test_faults(void)
{
	struct mezz_walk w = setup_long(0);

	expect_fault(&w, LA, MEZZ_WALK_USER | MEZZ_WALK_WRITE, 6, "not present");
	tap(get8(0x1008) == 0x2007, "no accessed bit after a fault");
	w = setup_long(0x5005);
	expect_fault(&w, LA, MEZZ_WALK_USER | MEZZ_WALK_WRITE, 7, "user writes read-only");
	expect_fault(&w, LA, MEZZ_WALK_WRITE, 3, "supervisor writes read-only, WP");
	w.ac = true;
	w.cr0 &= ~WP;
	expect(&w, LA, MEZZ_WALK_WRITE, 0x5123, "supervisor writes read-only, no WP");
	w = setup_long(0x5003);
	expect_fault(&w, LA, MEZZ_WALK_USER, 5, "user reads supervisor's");
	expect(&w, LA, MEZZ_WALK_EXEC, 0x5123, "supervisor executes its own");
	w = setup_long(0x5007);
	expect_fault(&w, LA, MEZZ_WALK_EXEC, 0x11, "SMEP");
	expect_fault(&w, LA, 0, 1, "SMAP");
	w.ac = true;
	expect(&w, LA, 0, 0x5123, "SMAP with AC");
	w = setup_long(0x5007 | NX);
	expect_fault(&w, LA, MEZZ_WALK_USER | MEZZ_WALK_EXEC, 0x15, "NX");
	expect(&w, LA, MEZZ_WALK_USER, 0x5123, "NX does not keep from reading");
	w.efer &= ~NXE;
	expect_fault(&w, LA, MEZZ_WALK_USER, 0xd, "NX is reserved without EFER.NXE");
	w = setup_long(0x5007 | 1ull << 40);
	expect_fault(&w, LA, MEZZ_WALK_USER, 0xd, "beyond MAXPHYADDR");
	w = setup_long(0x5007);
	put8(0x1008, 0x2087);
	expect_fault(&w, LA, MEZZ_WALK_USER, 0xd, "PS in a PML4 entry");
	put8(0x1008, 0x2007);
	put8(0x3008, 0x402087);
	expect_fault(&w, LA, MEZZ_WALK_USER, 0xd, "2 MiB page, not aligned");
	w = setup_long(0x5007);
	w.efer = 0;
	w.cr4 = 0;
	expect_fault(&w, LA, MEZZ_WALK_EXEC, 0, "I flag only with NX or SMEP");
}

static void test_rest(void)
{
	struct mezz_walk w = setup_long(0x5007);

	w.update = false;
	expect(&w, LA, MEZZ_WALK_USER | MEZZ_WALK_WRITE, 0x5123, "without update");
	tap(get8(0x1008) == 0x2007 && get8(0x4008) == 0x5007, "nothing was written");
	w.update = true;
	races = 3;
	expect(&w, LA, MEZZ_WALK_USER, 0x5123, "lost races");
	put8(0x4008, 0x5007);
	put8(0x1008, 0x2007);
	races = 1000;
	tap(mezz_walk(&w, LA, MEZZ_WALK_USER) != MEZZ_WALK_FAULT, "races without end");
	races = 0;
	put8(0x3008, 0x10000007);
	tap(mezz_walk(&w, LA, MEZZ_WALK_USER) == MEZZ_WALK_NOMEM, "a table that is not there");
	w = setup_long(0x5007);
	put8(0x2008, 0x3007);
	w.cr3 = 0xdead000;
	tap(mezz_walk(&w, LA, MEZZ_WALK_USER) == MEZZ_WALK_AGAIN, "a table that is paged out");
}

#endif
