/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs one instruction on the real CPU, with given registers, flags and
 * vector registers, and reports what became of them or which exception it
 * raised. This is the oracle for the executor.
 */
#ifndef NATIVE_H
#define NATIVE_H

#include <linux/types.h>

/* Layout known to native_entry.S. */
struct native_state {
	u64 r[16];
	u64 rflags;
	u64 rip;
	u8 vec[16][32];
};

struct native_result {
	int vector; /* exception number, -1: none */
	u64 err, cr2;
};

#define PAGE 4096ul
/*
 * The arena, in the lower 2 GiB: one page that is not mapped, @RW_PAGES pages
 * of data, one page that is read-only, one that is not mapped.
 */
#define RW_PAGES 4
struct arena {
	u8 *code; /* one executable page */
	u8 *data; /* RW_PAGES pages, then the read-only page */
};

extern struct arena arena;
extern bool native_has_avx;

/* Maps the arena and installs the signal handlers; exits on failure. */
void native_setup(void);
/* Runs the instruction @insn of @len bytes; @s is changed in place. */
struct native_result native_run(struct native_state *s, const u8 *insn, unsigned int len);

#endif
