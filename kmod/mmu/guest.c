// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory for the module itself: emulator, PV areas, local APIC.
 *
 * Guest memory is process memory, and whoever calls this runs in the process,
 * so an access is one to a user address: the CPU's own MMU checks it, breaks
 * copy on write and marks pages dirty. In a section nothing may fault: what is
 * not mapped there is -EAGAIN.
 *
 * Known hack: raw_copy_from_user() and raw_copy_to_user() are meant for wrappers
 * that check the user's range and the kernel's object. KVM_SET_USER_MEMORY_REGION
 * has checked the former, and the latter is a caller's buffer of fixed size.
 */
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/uaccess.h>
#include <asm/asm.h>
#include <asm/cpufeature.h>

#include "mmu/table.h"
#include "vcpu.h"

static __always_inline void faults_off(const struct mezz_vcpu *v)
{
	if (v->atomic)
		pagefault_disable();
}

static __always_inline void faults_on(const struct mezz_vcpu *v)
{
	if (v->atomic)
		pagefault_enable();
}

/* What a failed access means. */
static inline int failed(const struct mezz_vcpu *v)
{
	return v->atomic ? -EAGAIN : -EFAULT;
}

/* NULL: no memory there, or it may not be written. */
static __always_inline void __user *user_ptr(struct mezz_vm *vm, u64 gpa, bool write,
					     struct mezz_slot **slot)
{
	u64 gfn = gpa >> PAGE_SHIFT;

	*slot = mezz_slot_find(vm, gfn);
	if (!*slot || (write && ((*slot)->flags & KVM_MEM_READONLY)))
		return NULL;
	return (void __user *)(mezz_slot_hva(*slot, gfn) + (gpa & ~PAGE_MASK));
}

/* Bytes up to the end of the page. */
static __always_inline unsigned int in_page(u64 gpa, unsigned int len)
{
	return min_t(unsigned int, len, PAGE_SIZE - (gpa & ~PAGE_MASK));
}

#define GET_ONE(type)							\
do {									\
	__uaccess_begin();						\
	unsafe_get_user(*(type *)buf, (const type __user *)from, fault);	\
	__uaccess_end();						\
} while (0)

#define PUT_ONE(type)							\
do {									\
	const type *src = buf;						\
									\
	__uaccess_begin();						\
	unsafe_put_user(*src, (type __user *)to, fault);		\
	__uaccess_end();						\
} while (0)

/* true: it faulted */
static __always_inline bool copy_in(void *buf, const void __user *from, unsigned int n)
{
	switch (n) {
	case 1:
		GET_ONE(u8);
		return false;
	case 2:
		GET_ONE(u16);
		return false;
	case 4:
		GET_ONE(u32);
		return false;
	case 8:
		GET_ONE(u64);
		return false;
	default:
		return raw_copy_from_user(buf, from, n);
	}
fault:
	__uaccess_end();
	return true;
}

static __always_inline bool copy_out(void __user *to, const void *buf, unsigned int n)
{
	switch (n) {
	case 1:
		PUT_ONE(u8);
		return false;
	case 2:
		PUT_ONE(u16);
		return false;
	case 4:
		PUT_ONE(u32);
		return false;
	case 8:
		PUT_ONE(u64);
		return false;
	default:
		return raw_copy_to_user(to, buf, n);
	}
fault:
	__uaccess_end();
	return true;
}

int mezz_guest_read(struct mezz_vcpu *v, u64 gpa, void *buf, unsigned int len)
{
	do {
		unsigned int n = in_page(gpa, len);
		const void __user *from;
		struct mezz_slot *slot;
		bool bad;

		from = user_ptr(v->vm, gpa, false, &slot);
		if (unlikely(!from))
			return -EFAULT;
		faults_off(v);
		bad = copy_in(buf, from, n);
		faults_on(v);
		if (unlikely(bad))
			return failed(v);
		gpa += n;
		buf += n;
		len -= n;
	} while (unlikely(len));
	return 0;
}

int mezz_guest_write(struct mezz_vcpu *v, u64 gpa, const void *buf, unsigned int len)
{
	do {
		unsigned int n = in_page(gpa, len);
		struct mezz_slot *slot;
		void __user *to;
		bool bad;

		to = user_ptr(v->vm, gpa, true, &slot);
		if (unlikely(!to))
			return -EFAULT;
		faults_off(v);
		bad = copy_out(to, buf, n);
		faults_on(v);
		if (unlikely(bad))
			return failed(v);
		mezz_mark_dirty(v, slot, gpa >> PAGE_SHIFT);
		gpa += n;
		buf += n;
		len -= n;
	} while (unlikely(len));
	return 0;
}

/* User access is open. */
#define CMPXCHG_ONE(type)						\
do {									\
	type __user *to = p;						\
	const type *want = new;						\
	type *found = old, expect = *found;				\
									\
	(void)unsafe_try_cmpxchg_user(to, &expect, *want, fault);	\
	*found = expect;						\
} while (0)

/* The kernel's macros stop at 8 bytes. true: it faulted */
static __always_inline bool cmpxchg_16(void __user *p, u64 *old, const u64 *new)
{
	struct { u64 lo, hi; } *mem = (void __force *)p;
	int bad = 1;

	asm volatile("1:	lock cmpxchg16b %[mem]\n"
		     "	movl $0, %[bad]\n"
		     "2:\n"
		     _ASM_EXTABLE_UA(1b, 2b)
		     : [mem] "+m" (*mem), "+a" (old[0]), "+d" (old[1]), [bad] "+r" (bad)
		     : "b" (new[0]), "c" (new[1])
		     : "memory", "cc");
	return bad;
}

/* true: it faulted */
static bool user_cmpxchg(void __user *p, void *old, const void *new, unsigned int size)
{
	bool bad = false;

	if (!user_access_begin(p, size))
		return true;
	switch (size) {
	case 1:
		CMPXCHG_ONE(u8);
		break;
	case 2:
		CMPXCHG_ONE(u16);
		break;
	case 4:
		CMPXCHG_ONE(u32);
		break;
	case 8:
		CMPXCHG_ONE(u64);
		break;
	default:
		bad = cmpxchg_16(p, old, new);
	}
	user_access_end();
	return bad;
fault:
	user_access_end();
	return true;
}

int mezz_guest_cmpxchg(struct mezz_vcpu *v, u64 gpa, void *old, const void *new,
		       unsigned int size)
{
	struct mezz_slot *slot;
	void __user *p;
	bool bad;

	if (size > (boot_cpu_has(X86_FEATURE_CX16) ? 16 : 8) || !is_power_of_2(size) ||
	    (gpa & (size - 1)))
		return -EFAULT;
	p = user_ptr(v->vm, gpa, true, &slot);
	if (!p)
		return -EFAULT;
	faults_off(v);
	bad = user_cmpxchg(p, old, new, size);
	faults_on(v);
	if (bad)
		return failed(v);
	mezz_mark_dirty(v, slot, gpa >> PAGE_SHIFT);
	return 0;
}
