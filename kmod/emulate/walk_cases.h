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
	put4(0x1004, 0xffdfe087);
	expect(&w, 0x401234, 0, 0xffffc01234ull, "4 MiB page, all 40 bits");
	put4(0x1004, 0x00c04087);
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

	put8(0x2008, 0x3007);
	put8(0x3008, 0x4007);
	put8(0x4008, 0xff12345007ull);
	expect(&w, LA, MEZZ_WALK_USER, 0xff12345123ull, "40 bits of the page's address");
	w.maxphyaddr = 52;
	put8(0x4008, 0xfffff12345007ull);
	expect(&w, LA, MEZZ_WALK_USER, 0xfffff12345123ull, "52 bits of the page's address");
	put8(0x2008, 0x40000087);
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
	w.ac = true;
	expect_fault(&w, LA, MEZZ_WALK_WRITE, 3, "supervisor writes read-only, WP");
	w.cr0 &= ~WP;
	expect_fault(&w, LA, MEZZ_WALK_USER | MEZZ_WALK_WRITE, 7, "user writes it, no WP");
	expect(&w, LA, MEZZ_WALK_WRITE, 0x5123, "supervisor writes read-only, no WP");
	w = setup_long(0x5003);
	expect_fault(&w, LA, MEZZ_WALK_USER, 5, "user reads supervisor's");
	expect(&w, LA, MEZZ_WALK_EXEC, 0x5123, "supervisor executes its own");
	w = setup_long(0x5007);
	expect_fault(&w, LA, MEZZ_WALK_EXEC, 0x11, "SMEP");
	expect_fault(&w, LA, 0, 1, "SMAP");
	put8(0x4008, 0x5005);
	expect_fault(&w, LA, 0, 1, "SMAP, a page that is read-only");
	put8(0x4008, 0x5003);
	expect(&w, LA, 0, 0x5123, "SMAP, a page of the supervisor's");
	put8(0x4008, 0x5007);
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
	w.cr4 = SMAP;
	expect_fault(&w, LA, MEZZ_WALK_EXEC, 0, "no I flag for SMAP");
	w.cr4 = SMEP;
	expect_fault(&w, LA, MEZZ_WALK_EXEC, 0x10, "I flag with SMEP alone");
	w.cr4 = 0;
	w.efer = NXE;
	expect_fault(&w, LA, MEZZ_WALK_EXEC, 0, "no NX with two levels, so no I flag");
	w.cr4 = PAE;
	put8(0x1008, 0);
	expect_fault(&w, LA, MEZZ_WALK_EXEC, 0x10, "I flag with NX alone");
	w = setup_long(0x5007);
	w.cr4 &= ~SMEP;
	expect(&w, LA, MEZZ_WALK_EXEC, 0x5123, "SMAP does not keep from executing");
	w.cr4 = PAE | SMEP;
	expect(&w, LA, MEZZ_WALK_WRITE, 0x5123, "SMEP does not keep from writing");
}

/* What one entry above the leaf forbids, all forbid. */
static void test_upper_levels(void)
{
	static const u64 at[] = { 0x1008, 0x2008, 0x3008 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		struct mezz_walk w = setup_long(0x5007);
		u64 entry = get8(at[i]);

		put8(at[i], entry & ~2ull);
		expect_fault(&w, LA, MEZZ_WALK_USER | MEZZ_WALK_WRITE, 7,
			     "read-only above the leaf");
		expect(&w, LA, MEZZ_WALK_USER, 0x5123, "read-only above the leaf: reading");
		put8(at[i], entry & ~4ull);
		expect_fault(&w, LA, MEZZ_WALK_USER, 5, "supervisor's above the leaf");
		expect(&w, LA, MEZZ_WALK_EXEC, 0x5123, "supervisor's above the leaf: its own");
		put8(at[i], entry | NX);
		expect_fault(&w, LA, MEZZ_WALK_USER | MEZZ_WALK_EXEC, 0x15, "NX above the leaf");
		put8(at[i], entry | 1ull << 40);
		expect_fault(&w, LA, MEZZ_WALK_USER, 0xd, "beyond MAXPHYADDR above the leaf");
		put8(at[i], entry & ~1ull);
		expect_fault(&w, LA, MEZZ_WALK_USER, 4, "not present above the leaf");
	}
}

/*
 * Reserved bits, from the figures of SDM 3, "4-Level Paging and 5-Level Paging", "PAE
 * Paging" and "32-Bit Paging", for 40 bits of physical address, in the legacy mode 36.
 */
#define PHYS40 0x000fff0000000000ull

static const struct {
	u64 cr4, efer, at, entry, mask;
	const char *what;
} reserved_cases[] = {
	{ PAE, LMA | NXE, 0x1008, 0x2007, PHYS40 | 0x80, "reserved bits: PML4 entry" },
	{ PAE, LMA | NXE, 0x2008, 0x3007, PHYS40, "reserved bits: PDPT entry" },
	{ PAE, LMA | NXE, 0x2008, 0x40000087, PHYS40 | 0x3fffe000, "reserved bits: 1 GiB page" },
	{ PAE, LMA | NXE, 0x3008, 0x4007, PHYS40, "reserved bits: directory entry" },
	{ PAE, LMA | NXE, 0x3008, 0x400087, PHYS40 | 0x1fe000, "reserved bits: 2 MiB page" },
	{ PAE, LMA | NXE, 0x4008, 0x5007, PHYS40, "reserved bits: 4 KiB page" },
	{ PAE, LMA, 0x4008, 0x5007, PHYS40 | NX, "reserved bits: 4 KiB page, no NX" },
	/* Bit 5 of a PDPTE is let through: see walk.c */
	{ PAE, NXE, 0x1008, 0x3001, 0xffffff00000001c6ull, "reserved bits: PDPTE" },
	{ PAE, NXE, 0x3008, 0x4007, 0x7fffff0000000000ull, "reserved bits: PAE directory" },
	{ PAE, NXE, 0x3008, 0x400087, 0x7fffff00001fe000ull, "reserved bits: PAE 2 MiB page" },
	{ PAE, NXE, 0x4008, 0x5007, 0x7fffff0000000000ull, "reserved bits: PAE page" },
	{ PAE, 0, 0x4008, 0x5007, 0xffffff0000000000ull, "reserved bits: PAE page, no NX" },
	{ PSE, 0, 0x1404, 0x3007, 0, "reserved bits: legacy directory" },
	{ PSE, 0, 0x1404, 0x400087, 0x3e0000, "reserved bits: 4 MiB page" },
	{ 0, 0, 0x1404, 0x3087, 0, "reserved bits: legacy directory, no PSE" },
	{ 0, 0, 0x3804, 0x5007, 0, "reserved bits: legacy page" },
};

/* The tables that an address with index 1 at every level goes through. */
static void fill_tables(const struct mezz_walk *w)
{
	if (!(w->cr4 & PAE)) {
		put4(0x1404, 0x3007);
		put4(0x3804, 0x5007);
		return;
	}
	put8(0x1008, w->efer & LMA ? 0x2007 : 0x3001);
	put8(0x2008, 0x3007);
	put8(0x3008, 0x4007);
	put8(0x4008, 0x5007);
}

static void test_reserved(void)
{
	unsigned int i, bit;

	for (i = 0; i < ARRAY_SIZE(reserved_cases); i++) {
		bool legacy = !(reserved_cases[i].cr4 & PAE), all = true;
		u64 at = reserved_cases[i].at, entry = reserved_cases[i].entry;

		for (bit = 1; bit < (legacy ? 32u : 64u); bit++) {
			struct mezz_walk w = setup(reserved_cases[i].cr4, reserved_cases[i].efer);
			bool faults;
			int rc;

			/* This makes another kind of entry of it. */
			if (bit == 7 && !(reserved_cases[i].mask & 0x80))
				continue;
			if (legacy)
				w.maxphyaddr = 36;
			fill_tables(&w);
			if (legacy)
				put4(at, entry | 1ull << bit);
			else
				put8(at, entry | 1ull << bit);
			rc = mezz_walk(&w, legacy ? 0x40601123 : LA, MEZZ_WALK_USER);
			faults = rc == MEZZ_WALK_FAULT && (w.err & 8);
			if (faults != (reserved_cases[i].mask >> bit & 1)) {
				note("bit %u", bit);
				all = false;
			}
		}
		tap(all, "%s", reserved_cases[i].what);
	}
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
	tap(get8(0x1008) == 0x2227 && get8(0x2008) == 0x3227 && get8(0x4008) == 0x5027,
	    "accessed bits in spite of lost races, and what the other wrote");
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
