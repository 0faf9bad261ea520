/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The emulator's part of a vCPU: what glue.c, access.c and fetch.c share.
 *
 * Belongs to whoever holds the vCPU mutex.
 */
#ifndef MEZZ_EMUL_GLUE_H
#define MEZZ_EMUL_GLUE_H

#include "../vcpu.h"
#include "exec.h"
#include "walk.h"

/* I/O accesses of one instruction, in pieces of up to 8 bytes in one page. */
#define EMUL_MAX_IO	16

/* Pages of code whose translation is remembered; a power of two. */
#define EMUL_CODE_PAGES	16

struct emul_io {
	u64 gpa;
	u8 data[8];
	u8 len;
};

/**
 * struct emul_code_page - how a page of code was translated
 * @page: linear page number
 * @cr3: with @mode and @generation: what it was translated under
 * @mode: see fetch.c
 * @generation: of the memory slots
 * @hva: user address of the code page
 * @n: entries in @at and @entry
 * @size: bytes of an entry
 * @at: user addresses of the table entries that were used
 * @entry: their values then: while they are still there, so is the translation
 */
struct emul_code_page {
	u64 page;
	u64 cr3;
	u64 generation;
	u32 mode;
	u8 n, size;
	unsigned long hva;
	unsigned long at[MEZZ_WALK_LEVELS];
	u64 entry[MEZZ_WALK_LEVELS];
};

/**
 * struct mezz_emul_vcpu - the emulator's state
 * @e: executor's state; its insn stays valid between calls, see @code
 * @v: the vCPU
 * @gpa: where the second-stage fault was, or MEZZ_NO_GPA
 * @gpa_write: it was a write
 * @busy: user space acts for a half-done instruction
 * @retry: a half-done instruction is to be continued outside the section
 * @software: every instruction is executed here, not only those that exit
 * @exit_tpr: the instruction ends with KVM_EXIT_SET_TPR
 * @rip: of the half-done instruction
 * @nread: I/O reads of the instruction so far, in this execution
 * @nlog: I/O reads that were answered
 * @log: those
 * @nwrite: I/O writes that wait for the end of the instruction
 * @write: those
 * @done: how many of them have been performed
 * @pio_ready: @pio_buf holds what IN or INS reads
 * @out_count: items of OUT or OUTS that wait in @pio_buf
 * @out_size: size of each
 * @out_done: items before these that have gone
 * @out_port: and where they go
 * @pio_buf: one page
 * @code: bytes that e.insn was decoded from
 * @code_len: how many of them are known
 * @code_mode: mode it was decoded for, -1: none
 * @pages: translations of code pages
 */
struct mezz_emul_vcpu {
	struct mezz_emul e;
	struct mezz_vcpu *v;
	u64 gpa;
	bool gpa_write;
	bool busy, retry;
	bool software;
	bool exit_tpr;
	u64 rip;

	u8 nread, nlog, nwrite, done;
	struct emul_io log[EMUL_MAX_IO];
	struct emul_io write[EMUL_MAX_IO];

	bool pio_ready;
	u16 out_count, out_done, out_port;
	u8 out_size;
	void *pio_buf;

	u64 code[2];
	u8 code_len;
	int code_mode;
	struct emul_code_page pages[EMUL_CODE_PAGES];
};

/* --- fetch.c --- */
/* Registers and callbacks of a walk for @v. */
void emul_walk_init(struct mezz_vcpu *v, struct mezz_walk *w);
/* CPU mode for the decoder. */
enum mezz_cpu_mode emul_mode(struct mezz_vcpu *v);
/*
 * Fetch and decode the instruction at RIP into v->emul->e.insn, and its bytes,
 * as far as known, into v->emul->code. Return: enum mezz_decode_rc, -EAGAIN,
 * -EFAULT (no memory there), -EINTR (a fault was queued).
 */
int emul_decode(struct mezz_vcpu *v);

/* --- access.c --- */
extern const struct mezz_emul_ops emul_ops;
/* Perform what waits for the end of the instruction: enum mezz_next. */
int emul_flush(struct mezz_vcpu *v);
/* KVM_EXIT_MMIO for a write: MEZZ_USER. */
int emul_exit_mmio_write(struct mezz_vcpu *v, const struct emul_io *io);

/* --- software.c --- */
/*
 * While the guest runs in software: settle e->insn by the handler of its exit. Return:
 * enum mezz_next; MEZZ_SLOW: not one of those.
 */
int emul_exit_insn(struct mezz_vcpu *v);

/* --- glue.c --- */
/* Execute v->emul->e.insn (again): enum mezz_next. */
int emul_execute(struct mezz_vcpu *v);
/* v->complete after an exit for a read: execute the instruction again. */
int emul_continue(struct mezz_vcpu *v);

#endif
