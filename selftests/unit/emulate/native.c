// SPDX-License-Identifier: GPL-2.0-only
/*
 * Oracle: see native.h. The instruction sits at the start of the code page and
 * is followed by a jump back; an exception is caught as a signal, whose
 * context has vector, error code, CR2 and the registers.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "native.h"

struct arena arena;
bool native_has_avx;

extern u64 native_target;
void native_entry(struct native_state *s);
void native_back(void);

static volatile struct native_result caught;

static void handler(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	greg_t *g = uc->uc_mcontext.gregs;

	(void)si;
	/* Anything outside the code page is a bug of the test itself. */
	if ((u64)g[REG_RIP] - (u64)arena.code >= PAGE) {
		signal(sig, SIG_DFL);
		return;
	}
	caught.vector = g[REG_TRAPNO];
	caught.err = g[REG_ERR];
	caught.cr2 = g[REG_CR2];
	g[REG_RIP] = (greg_t)native_back;
	g[REG_EFL] &= ~0x40500ll;
}

void native_setup(void)
{
	struct sigaction sa = { .sa_sigaction = handler,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	stack_t ss = { .ss_sp = malloc(65536), .ss_size = 65536 };
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	unsigned int i;
	u8 *p;

	native_has_avx = __builtin_cpu_supports("avx");
	sigaltstack(&ss, NULL);
	for (i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaction(sigs[i], &sa, NULL);
	p = mmap(NULL, (RW_PAGES + 5) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		 -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	arena.code = p;
	arena.data = p + 2 * PAGE;
	if (mprotect(arena.code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    mprotect(arena.data, (RW_PAGES + 1) * PAGE, PROT_READ | PROT_WRITE) ||
	    mprotect(arena.data + RW_PAGES * PAGE, PAGE, PROT_READ)) {
		perror("mprotect");
		exit(1);
	}
}

struct native_result native_run(struct native_state *s, const u8 *insn, unsigned int len)
{
	/* jmp *0(%rip); address */
	static const u8 jump[6] = { 0xff, 0x25 };
	u64 back = (u64)native_back;
	struct native_result r;

	memcpy(arena.code, insn, len);
	memcpy(arena.code + len, jump, 6);
	memcpy(arena.code + len + 6, &back, 8);
	s->rip = (u64)arena.code;
	caught.vector = -1;
	caught.err = 0;
	caught.cr2 = 0;
	native_entry(s);
	r.vector = caught.vector;
	r.err = caught.err;
	r.cr2 = caught.cr2;
	return r;
}
