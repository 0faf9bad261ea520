// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's FPU, in a buffer of our own.
 *
 * A section is one kernel_fpu_begin() .. kernel_fpu_end() block: the first
 * saves the task's registers if they are live and keeps softirqs from using
 * the FPU (irq_fpu_usable() is false until the end), the second leaves them to
 * be reloaded on the way to user space. In between the registers are the
 * guest's. This needs no symbol but those that any driver with vector code
 * needs; the fpu_*guest* family of the kernel is for KVM alone.
 *
 * The buffer has the standard XSAVE format, always for all components in
 * mezz_host.xcr0, whatever the guest's XCR0 says; so XCR0 is the host's while
 * the buffer is loaded or stored, and the guest's (if it differs and the guest
 * can use it) in between. A CPU without XSAVE has the FXSAVE image only.
 *
 * Left out: PKRU (it would apply to the kernel's own accesses inside a
 * section), AMX (its state is dynamic), MPX. Guests see none of them.
 */
#include <linux/bitops.h>
#include <linux/cpufeature.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <asm/asm.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xcr.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>

#include "../vcpu.h"
#include "host.h"

/* Layout of the image: SDM 1, "XSAVE Area". Offsets and sizes in bytes. */
#define FX_SIZE		512
#define FX_MXCSR	24
#define FX_MXCSR_MASK	28
#define FX_XMM		160
#define FX_XMM_SIZE	256
#define HDR_SIZE	64
#define IMAGE_MIN	(FX_SIZE + HDR_SIZE)

#define FCW_INIT	0x37f
#define MXCSR_INIT	0x1f80

/* Components that guests may have. */
#define GUEST_XFEATURES	(XFEATURE_MASK_FP | XFEATURE_MASK_SSE | XFEATURE_MASK_YMM |	\
			 XFEATURE_MASK_AVX512)
#define NR_COMPS	8	/* components 0 to 7 */

/* The start of an image. */
struct image {
	u8 fx[FX_SIZE];
	u64 xstate_bv;
	u64 xcomp_bv;
	u8 reserved[48];
};

static_assert(sizeof(struct image) == IMAGE_MIN);

/**
 * struct mezz_fpu - a guest's FPU state
 * @img: the image, 64-byte aligned, area_size bytes; stale while @live
 * @xcr0: what XCR0 holds while @live
 * @live: the state is in this CPU's registers
 */
struct mezz_fpu {
	struct image *img;
	u64 xcr0;
	bool live;
};

/* Constant after mezz_fpu_probe(). */
static u64 host_xcr0, host_xss;
static u32 mxcsr_mask;
static unsigned int area_size;
static struct {
	u32 off, size;
} comp[NR_COMPS];

/* --- the instructions --- */

static void image_save(struct image *img, u64 mask)
{
	if (host_xcr0)
		asm volatile("xsave64 %0" : "+m" (*img)
			     : "a" ((u32)mask), "d" ((u32)(mask >> 32)) : "memory");
	else
		asm volatile("fxsave64 %0" : "=m" (*img) : : "memory");
}

/* Images are checked, so this does not fault; a fault would leave registers as they are. */
static void image_restore(const struct image *img, u64 mask)
{
	/*
	 * AMD CPUs leave the last instruction and data pointers alone when no
	 * exception is pending: overwrite them with harmless ones.
	 */
	if (static_cpu_has_bug(X86_BUG_FXSAVE_LEAK))
		asm volatile("fnclex\n\temms\n\tfildl %0" : : "m" (mxcsr_mask));
	if (host_xcr0)
		asm volatile("1: xrstor64 %0\n2:\n" _ASM_EXTABLE(1b, 2b)
			     : : "m" (*img), "a" ((u32)mask), "d" ((u32)(mask >> 32))
			     : "memory");
	else
		asm volatile("1: fxrstor64 %0\n2:\n" _ASM_EXTABLE(1b, 2b)
			     : : "m" (*img) : "memory");
}

/* --- set-up --- */

static void probe_mxcsr(void)
{
	struct image *img = (struct image *)get_zeroed_page(GFP_KERNEL);

	/* SDM 1, "Guidelines for Writing to the MXCSR Register" */
	mxcsr_mask = 0xffbf;
	if (!img)
		return;
	kernel_fpu_begin();
	asm volatile("fxsave64 %0" : "=m" (*img) : : "memory");
	kernel_fpu_end();
	if (*(u32 *)(img->fx + FX_MXCSR_MASK))
		mxcsr_mask = *(u32 *)(img->fx + FX_MXCSR_MASK);
	free_page((unsigned long)img);
}

static u64 probe_xcr0(void)
{
	u64 xcr0;

	if (!boot_cpu_has(X86_FEATURE_XSAVE) || !boot_cpu_has(X86_FEATURE_OSXSAVE))
		return 0;
	host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl(MSR_IA32_XSS, host_xss);
	xcr0 = host_xcr0 & GUEST_XFEATURES;
	/* AVX-512 comes as a whole or not at all. */
	if ((xcr0 & XFEATURE_MASK_AVX512) != XFEATURE_MASK_AVX512)
		xcr0 &= ~XFEATURE_MASK_AVX512;
	return xcr0;
}

void mezz_fpu_probe(struct mezz_host *host)
{
	u32 eax, ebx, ecx, edx;
	unsigned int i;

	host->xcr0 = probe_xcr0();
	host->xss = 0;
	area_size = IMAGE_MIN;
	for (i = 2; i < NR_COMPS; i++) {
		if (!(host->xcr0 & BIT_ULL(i)))
			continue;
		cpuid_count(0xd, i, &eax, &ebx, &ecx, &edx);
		comp[i].off = ebx;
		comp[i].size = eax;
		area_size = max(area_size, ebx + eax);
	}
	probe_mxcsr();
}

unsigned int mezz_fpu_xsave_size(void)
{
	return max(area_size, 4096u);
}

/* --- life cycle --- */

void mezz_fpu_reset(struct mezz_vcpu *v, bool init)
{
	struct image *img = v->fpu->img;

	/* INIT leaves the FPU alone: SDM 3, "Processor State After Reset". */
	if (init)
		return;
	memset(img, 0, area_size);
	*(u16 *)img->fx = FCW_INIT;
	*(u32 *)(img->fx + FX_MXCSR) = MXCSR_INIT;
}

int mezz_fpu_alloc(struct mezz_vcpu *v)
{
	struct mezz_fpu *fpu = kzalloc(sizeof(*fpu), GFP_KERNEL_ACCOUNT);

	if (!fpu)
		return -ENOMEM;
	/* Powers of two are aligned to their size. */
	fpu->img = kzalloc(roundup_pow_of_two(area_size), GFP_KERNEL_ACCOUNT);
	if (!fpu->img) {
		kfree(fpu);
		return -ENOMEM;
	}
	v->fpu = fpu;
	mezz_fpu_reset(v, false);
	return 0;
}

void mezz_fpu_free(struct mezz_vcpu *v)
{
	if (!v->fpu)
		return;
	kfree(v->fpu->img);
	kfree(v->fpu);
	v->fpu = NULL;
}

/* --- switching --- */

/* Without CR4.OSXSAVE a guest can neither read XCR0 nor use what it controls. */
static u64 wanted_xcr0(struct mezz_vcpu *v)
{
	if (!host_xcr0 || !(mezz_get(v, MEZZ_CR4) & X86_CR4_OSXSAVE))
		return host_xcr0;
	return v->xcr0;
}

void mezz_fpu_load(struct mezz_vcpu *v)
{
	struct mezz_fpu *fpu = v->fpu;

	kernel_fpu_begin_mask(0);
	image_restore(fpu->img, mezz_host.xcr0);
	fpu->xcr0 = wanted_xcr0(v);
	if (unlikely(fpu->xcr0 != host_xcr0))
		xsetbv(XCR_XFEATURE_ENABLED_MASK, fpu->xcr0);
	/* XSAVES cannot be intercepted everywhere: show it no supervisor state. */
	if (unlikely(host_xss))
		wrmsrl(MSR_IA32_XSS, 0);
	fpu->live = true;
}

void mezz_fpu_unload(struct mezz_vcpu *v)
{
	struct mezz_fpu *fpu = v->fpu;

	fpu->live = false;
	if (unlikely(host_xss))
		wrmsrl(MSR_IA32_XSS, host_xss);
	if (unlikely(fpu->xcr0 != host_xcr0))
		xsetbv(XCR_XFEATURE_ENABLED_MASK, host_xcr0);
	image_save(fpu->img, mezz_host.xcr0);
	kernel_fpu_end();
}

void mezz_fpu_xcr0_changed(struct mezz_vcpu *v)
{
	struct mezz_fpu *fpu = v->fpu;
	u64 xcr0 = wanted_xcr0(v);

	if (!fpu->live || fpu->xcr0 == xcr0)
		return;
	fpu->xcr0 = xcr0;
	xsetbv(XCR_XFEATURE_ENABLED_MASK, xcr0);
}

/* --- images for user space --- */

int mezz_fpu_get_xsave(struct mezz_vcpu *v, void *buf, unsigned int size)
{
	struct image *img = buf;

	if (size < area_size)
		return -EINVAL;
	memcpy(buf, v->fpu->img, area_size);
	memset(buf + area_size, 0, size - area_size);
	memset(img->fx + FX_XMM + FX_XMM_SIZE, 0, FX_SIZE - FX_XMM - FX_XMM_SIZE);
	*(u32 *)(img->fx + FX_MXCSR_MASK) = mxcsr_mask;
	if (!host_xcr0)
		img->xstate_bv = XFEATURE_MASK_FPSSE;
	return 0;
}

/* Components whose XSTATE_BV bit is clear hold initial values, also in the image. */
static void clear_unused(struct image *img)
{
	unsigned int i;

	if (!(img->xstate_bv & XFEATURE_MASK_FP)) {
		memset(img->fx, 0, FX_MXCSR);
		memset(img->fx + FX_MXCSR_MASK + 4, 0, FX_XMM - FX_MXCSR_MASK - 4);
		*(u16 *)img->fx = FCW_INIT;
	}
	if (!(img->xstate_bv & XFEATURE_MASK_SSE))
		memset(img->fx + FX_XMM, 0, FX_XMM_SIZE);
	for (i = 2; i < NR_COMPS; i++)
		if (!(img->xstate_bv & BIT_ULL(i)))
			memset((u8 *)img + comp[i].off, 0, comp[i].size);
}

int mezz_fpu_set_xsave(struct mezz_vcpu *v, const void *buf, unsigned int size)
{
	const struct image *from = buf;
	struct image *img = v->fpu->img;

	if (size < area_size)
		return -EINVAL;
	if (*(const u32 *)(from->fx + FX_MXCSR) & ~mxcsr_mask)
		return -EINVAL;
	if (!host_xcr0) {
		memcpy(img, from, FX_SIZE);
		return 0;
	}
	/* What makes XRSTOR fault: SDM 1, "Operation of XRSTOR" */
	if ((from->xstate_bv & ~mezz_host.xcr0) || from->xcomp_bv ||
	    memchr_inv(from->reserved, 0, sizeof(from->reserved)))
		return -EINVAL;
	memcpy(img, from, area_size);
	clear_unused(img);
	return 0;
}

void mezz_fpu_get_fxregs(struct mezz_vcpu *v, void *fx512)
{
	memcpy(fx512, v->fpu->img->fx, FX_SIZE);
}

void mezz_fpu_set_fxregs(struct mezz_vcpu *v, const void *fx512)
{
	struct image *img = v->fpu->img;

	memcpy(img->fx, fx512, FX_SIZE);
	*(u32 *)(img->fx + FX_MXCSR) &= mxcsr_mask;
	img->xstate_bv |= mezz_host.xcr0 & XFEATURE_MASK_FPSSE;
}

/* --- vector registers for the emulator --- */

/*
 * The registers into the image, or back. XSAVE and XRSTOR reach what XCR0 enables, but the
 * instruction that is emulated need not have asked XCR0: none of SSE does. It may be
 * another than fpu->xcr0, where a guest can set it unseen.
 */
static void live_image(struct image *img, bool save)
{
	u64 xcr0 = host_xcr0 ? xgetbv(XCR_XFEATURE_ENABLED_MASK) : 0;

	if (xcr0 != host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, host_xcr0);
	if (save)
		image_save(img, mezz_host.xcr0);
	else
		image_restore(img, mezz_host.xcr0);
	if (xcr0 != host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, xcr0);
}

static void *xmm(struct image *img, unsigned int n)
{
	return img->fx + FX_XMM + 16 * n;
}

static void *ymm_high(struct image *img, unsigned int n)
{
	return (u8 *)img + comp[2].off + 16 * n;
}

void mezz_fpu_get_vec(struct mezz_vcpu *v, unsigned int n, void *buf, unsigned int len)
{
	struct mezz_fpu *fpu = v->fpu;
	u8 val[32] = {};

	if (fpu->live)
		live_image(fpu->img, true);
	memcpy(val, xmm(fpu->img, n), 16);
	if (mezz_host.xcr0 & XFEATURE_MASK_YMM)
		memcpy(val + 16, ymm_high(fpu->img, n), 16);
	memcpy(buf, val, min_t(unsigned int, len, sizeof(val)));
}

void mezz_fpu_set_vec(struct mezz_vcpu *v, unsigned int n, const void *buf, unsigned int len)
{
	struct mezz_fpu *fpu = v->fpu;
	struct image *img = fpu->img;

	if (fpu->live)
		live_image(img, true);
	memcpy(xmm(img, n), buf, min_t(unsigned int, len, 16));
	img->xstate_bv |= mezz_host.xcr0 & XFEATURE_MASK_SSE;
	if (len > 16 && (mezz_host.xcr0 & XFEATURE_MASK_YMM)) {
		memcpy(ymm_high(img, n), buf + 16, min_t(unsigned int, len - 16, 16));
		img->xstate_bv |= XFEATURE_MASK_YMM;
	}
	if (fpu->live)
		live_image(img, false);
}
