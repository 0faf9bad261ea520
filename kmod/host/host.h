/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every contact with the host kernel that drifts between versions or could be
 * taken away. Each entry says which kernels need it and why.
 */
#ifndef MEZZ_HOST_H
#define MEZZ_HOST_H

#include <linux/compiler.h>
#include <linux/gfp_types.h>
#include <linux/types.h>
#include <linux/eventfd.h>
#include <linux/smp.h>

struct mezz_vcpu;
struct page;

/* --- FPU (host/fpu.c): kernel_fpu_begin/end and our own XSAVE buffers --- */
struct mezz_fpu;
struct mezz_host;
/* [P] Once, by the engine's probe: fills host->xcr0 and host->xss. */
void mezz_fpu_probe(struct mezz_host *host);
int mezz_fpu_alloc(struct mezz_vcpu *v);	/* [P] v->fpu, in reset state */
void mezz_fpu_free(struct mezz_vcpu *v);
void mezz_fpu_reset(struct mezz_vcpu *v, bool init);
/* Section begin/end; preemption off. Guest FPU and XCR0/XSS are live between. */
void mezz_fpu_load(struct mezz_vcpu *v);
void mezz_fpu_unload(struct mezz_vcpu *v);
/* Guest changed XCR0 or CR4.OSXSAVE while live: load what it sees. IRQs off. */
void mezz_fpu_xcr0_changed(struct mezz_vcpu *v);
/* Standard (non-compacted) XSAVE image; @size bytes; outside sections. */
int mezz_fpu_get_xsave(struct mezz_vcpu *v, void *buf, unsigned int size);
int mezz_fpu_set_xsave(struct mezz_vcpu *v, const void *buf, unsigned int size);
void mezz_fpu_get_fxregs(struct mezz_vcpu *v, void *fx512);
void mezz_fpu_set_fxregs(struct mezz_vcpu *v, const void *fx512);
/* Size in bytes of the standard image for mezz_host.xcr0 (at least 4096: KVM_GET_XSAVE). */
unsigned int mezz_fpu_xsave_size(void);
/* Vector register @n (up to 32 bytes, zero-extended) for the emulator; live or not. */
void mezz_fpu_get_vec(struct mezz_vcpu *v, unsigned int n, void *buf, unsigned int len);
void mezz_fpu_set_vec(struct mezz_vcpu *v, unsigned int n, const void *buf, unsigned int len);

/* --- CPUs (host/cpu.c) --- */
/*
 * [P] Switch the engine on, on every CPU, now and on hotplug; undo it on
 * reboot, kexec and crash. Counted: first VM on, last VM off.
 */
int mezz_cpus_get(void);
void mezz_cpus_put(void);
int mezz_cpus_init(void);
void mezz_cpus_exit(void);
/* Make a CPU leave guest mode: an IPI that does nothing. Any context. */
void mezz_kick_cpu(int cpu);

/**
 * mezz_control_page() - a zeroed page that the CPU works on while a guest runs
 * @node: memory node, or NUMA_NO_NODE
 * @gfp: GFP_KERNEL and the like
 * It never begins at a multiple of 2 MiB: hosts with SEV-SNP would have false RMP faults
 * when they write elsewhere in such a page's 2 MiB (in-tree KVM has the same precaution).
 * Context: as @gfp says.
 * Return: the page, for __free_page(); or NULL
 */
struct page *mezz_control_page(int node, gfp_t gfp);

/**
 * mezz_cpu_pages_alloc() - a zeroed page for each CPU that there can be, on its node
 * @pages: a per-CPU struct page *, NULL on all of them
 * Context: may sleep.
 * Return: 0 or -ENOMEM; then, too, mezz_cpu_pages_free() has to follow
 */
int mezz_cpu_pages_alloc(void __percpu *pages);
/* Also of those that were not allocated. */
void mezz_cpu_pages_free(void __percpu *pages);

/* --- eventfd: eventfd_signal(ctx, n) until 6.7, eventfd_signal(ctx) since --- */
void mezz_eventfd_signal(struct eventfd_ctx *ctx);

/* Mitigations of speculation: host/spec.h, and spec_asm.h for the world switch */

#endif
