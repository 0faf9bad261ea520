/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What guests in 64-bit mode are written with. Guests are ordinary functions of
 * the test program: they share its variables, and must not call libc.
 *
 * Memory that the guest sees: GVA = GPA for the first 4 GiB (2 MiB pages, user
 * accessible); slot 0 at 0, the program itself at GUEST_IMAGE.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_IMAGE 0x10000000u

/* Where the tables that the library makes are in slot 0. */
#define GPA_PML4 0x20000u
#define GPA_PDPT 0x21000u
#define GPA_PD	 0x22000u /* four of them */
#define GPA_IDT	 0x26000u

/* Ports by which guests talk to vcpu_run(). */
#define PORT_DONE 0x7d0
#define PORT_FAIL 0x7d1
#define PORT_SYNC 0x7d2

/* Selectors */
#define SEL_CODE64  0x08
#define SEL_DATA    0x10
#define SEL_CODE32  0x18
#define SEL_CODE16  0x20
#define SEL_DATA16  0x28
#define SEL_UCODE32 0x33
#define SEL_UDATA   0x3b
#define SEL_UCODE64 0x43
#define SEL_TSS	    0x48

struct guest_regs {
	uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

#define NO_FAULT (~0ull)

/* One vCPU's own data; GS points to it. The first members are used by assembly. */
struct guest_cpu {
	struct guest_cpu *self;	  /* gs:0 */
	uint64_t fixup;		  /* gs:8: where to go on after a fault */
	volatile uint64_t vector; /* gs:16: of the last fault with a fixup, or NO_FAULT */
	uint64_t id;
	volatile uint64_t error, fault_rip, cr2;
	/* Of the last failure: source, and what was seen and expected. */
	const char *fail_file, *fail_what;
	uint64_t fail_line, got, want;
	volatile uint64_t irqs[256]; /* taken, by vector */
	void (*handler[256])(struct guest_regs *r);
	uint64_t kernel_rsp; /* of g_user() */
	uint64_t gdt[12];
	uint8_t tss[104] __attribute__((aligned(16)));
	uint8_t df_stack[4096] __attribute__((aligned(16)));
	uint8_t user_stack[4096] __attribute__((aligned(16)));
	uint8_t stack[16384] __attribute__((aligned(16)));
};

extern struct guest_cpu guest_cpus[];
extern char guest_vectors[];	/* 256 stubs, 16 bytes each */
extern void guest_return(void); /* where guest functions return to */

static inline struct guest_cpu *g_cpu(void)
{
	struct guest_cpu *cpu;

	asm volatile("mov %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

/* --- ports --- */

static inline void g_outb(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void g_outw(uint16_t port, uint16_t value)
{
	asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void g_outl(uint16_t port, uint32_t value)
{
	asm volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t g_inb(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint16_t g_inw(uint16_t port)
{
	uint16_t value;

	asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t g_inl(uint16_t port)
{
	uint32_t value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* --- to the host --- */

/* Ends the guest; vcpu_run() returns true. */
static inline void g_done(void)
{
	g_outl(PORT_DONE, 0);
}

/* A step the host waits for: vcpu_run_sync() returns n (32 bits). */
static inline void g_sync(uint32_t n)
{
	g_outl(PORT_SYNC, n);
}

void g_fail(const char *file, int line, const char *what, uint64_t got, uint64_t want);

#define G_CHECK_EQ(a, b)                                         \
	do {                                                     \
		uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b); \
		if (a_ != b_)                                    \
			g_fail(__FILE__, __LINE__, #a, a_, b_);  \
	} while (0)
#define G_CHECK(what) G_CHECK_EQ(!!(what), 1)

/* --- faults --- */

/*
 * One instruction that may fault, as inline assembly:
 *	vector = G_TRY("rdmsr", "=a"(lo), "=d"(hi) : "c"(msr));
 * Its value is the vector of the fault or NO_FAULT; g_cpu() has error, CR2 and
 * RIP. Clobbers R11.
 */
#define G_TRY(insn, ...)                                       \
	({                                                     \
		asm volatile("lea 771f(%%rip), %%r11\n\t"      \
			     "mov %%r11, %%gs:8\n\t"           \
			     "movq $-1, %%gs:16\n\t" insn "\n" \
			     "771: movq $0, %%gs:8"            \
			     : __VA_ARGS__                     \
			     : "r11", "cc", "memory");         \
		g_cpu()->vector;                               \
	})

/*
 * Calls @fn in ring 3, with IOPL 3 so that it can use ports. It must return; it
 * may fault (G_TRY).
 */
uint64_t g_user(uint64_t (*fn)(uint64_t), uint64_t arg);
/* The same with other RFLAGS; without IOPL 3 it cannot report failures. */
uint64_t g_user_flags(uint64_t (*fn)(uint64_t), uint64_t arg, uint64_t rflags);

/* --- registers --- */

static inline uint64_t g_rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void g_wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr"
		     :
		     : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr)
		     : "memory");
}

/* The vector that reading or writing the MSR raises, or NO_FAULT */
static inline uint64_t g_try_rdmsr(uint32_t msr, uint64_t *value)
{
	uint32_t lo = 0, hi = 0;
	uint64_t vector = G_TRY("rdmsr", "+a"(lo), "+d"(hi) : "c"(msr));

	*value = (uint64_t)hi << 32 | lo;
	return vector;
}

static inline uint64_t g_try_wrmsr(uint32_t msr, uint64_t value)
{
	return G_TRY("wrmsr", : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr));
}

static inline void g_cpuid(uint32_t function, uint32_t index, uint32_t *regs)
{
	asm volatile("cpuid"
		     : "=a"(regs[0]), "=b"(regs[1]), "=c"(regs[2]), "=d"(regs[3])
		     : "a"(function), "c"(index));
}

static inline uint64_t g_rdtsc(void)
{
	uint32_t lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline uint64_t g_rflags(void)
{
	uint64_t flags;

	asm volatile("pushf; pop %0" : "=r"(flags));
	return flags;
}

#define G_READ_CR(n)                                                         \
	({                                                                   \
		uint64_t cr_;                                                \
		asm volatile("mov %%cr" #n ", %0" : "=r"(cr_) : : "memory"); \
		cr_;                                                         \
	})
#define G_WRITE_CR(n, value) asm volatile("mov %0, %%cr" #n : : "r"((uint64_t)(value)) : "memory")

static inline void g_invlpg(uint64_t gva)
{
	asm volatile("invlpg (%0)" : : "r"(gva) : "memory");
}

static inline void g_hlt(void)
{
	asm volatile("hlt" : : : "memory");
}

static inline void g_sti(void)
{
	asm volatile("sti" : : : "memory");
}

static inline void g_cli(void)
{
	asm volatile("cli" : : : "memory");
}

/*
 * Interrupts on for the halt only; the interrupt ends it. An emulated CPU that
 * does not load the shadow of STI at its VM entry (QEMU 7.2's VMRUN) can take
 * the interrupt before the HLT, which would then wait for ever: guest_trap()
 * steps over the HLT. That the shadow is honoured where the CPU can is
 * for the test of shadows to show, in events.c.
 */
void g_sti_hlt_cli(void);

/*
 * For guests that spin for ever and are sent no interrupt. With interrupts off, as all
 * begin, they must not keep ours from the CPU; in-tree KVM never gets it back where the
 * CPU is one of Bochs' (docs/lab.md).
 */
extern volatile uint32_t guest_is_on_kvm;
static inline void g_spin_politely(void)
{
	if (guest_is_on_kvm)
		g_sti();
}

/* Until *p is @value; false after @limit turns. */
static inline bool g_spin_until(volatile uint32_t *p, uint32_t value, uint64_t limit)
{
	while (*p != value) {
		if (!limit--)
			return false;
		asm volatile("pause" : : : "memory");
	}
	return true;
}

static inline void g_pause(void)
{
	asm volatile("pause" : : : "memory");
}

/* --- memory --- */

#define G_READ(type, address)	      (*(volatile type *)(uintptr_t)(address))
#define G_WRITE(type, address, value) (*(volatile type *)(uintptr_t)(address) = (type)(value))

static inline uint32_t g_atomic_inc(volatile uint32_t *p)
{
	return __atomic_add_fetch(p, 1, __ATOMIC_SEQ_CST);
}

/* No interrupt of the PIC's */
static inline void g_pic_mask(void)
{
	g_outb(0x21, 0xff);
	g_outb(0xa1, 0xff);
}

/* --- local APIC, by MMIO and as x2APIC --- */

#define APIC_BASE	 0xfee00000u
#define APIC_ID		 0x20
#define APIC_LVR	 0x30
#define APIC_TPR	 0x80
#define APIC_PPR	 0xa0
#define APIC_EOI	 0xb0
#define APIC_LDR	 0xd0
#define APIC_DFR	 0xe0
#define APIC_SVR	 0xf0
#define APIC_ISR	 0x100
#define APIC_TMR	 0x180
#define APIC_IRR	 0x200
#define APIC_ESR	 0x280
#define APIC_ICR	 0x300
#define APIC_ICR2	 0x310
#define APIC_LVTT	 0x320
#define APIC_LVTPC	 0x340
#define APIC_LVT0	 0x350
#define APIC_LVT1	 0x360
#define APIC_LVTERR	 0x370
#define APIC_TMICT	 0x380
#define APIC_TMCCT	 0x390
#define APIC_TDCR	 0x3e0
#define MSR_APIC_BASE	 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC(reg)	 (0x800 + ((reg) >> 4))

static inline uint32_t g_apic_read(uint32_t reg)
{
	return G_READ(uint32_t, APIC_BASE + reg);
}

static inline void g_apic_write(uint32_t reg, uint32_t value)
{
	G_WRITE(uint32_t, APIC_BASE + reg, value);
}

static inline void g_apic_enable(void)
{
	g_apic_write(APIC_SVR, 0x1ff);
}

static inline void g_x2apic_enable(void)
{
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) | 0xc00);
	g_wrmsr(MSR_X2APIC(APIC_SVR), 0x1ff);
}

/*
 * Touches the tables that an interrupt takes, by an exception: in Bochs an APIC in hardware
 * cannot be the first to do so (docs/lab.md). In xAPIC mode.
 */
static inline void g_touch_irq_tables(void)
{
	uint64_t value;

	G_CHECK_EQ(g_try_rdmsr(MSR_X2APIC(APIC_ID), &value), 13);
}

static inline uint32_t g_apic_bit(uint32_t reg, uint8_t vector)
{
	return g_apic_read(reg + (vector / 32) * 16) >> (vector % 32) & 1;
}

/* --- I/O APIC --- */

#define IOAPIC_BASE 0xfec00000u

static inline uint32_t g_ioapic_read(uint8_t index)
{
	G_WRITE(uint32_t, IOAPIC_BASE, index);
	return G_READ(uint32_t, IOAPIC_BASE + 0x10);
}

static inline void g_ioapic_write(uint8_t index, uint32_t value)
{
	G_WRITE(uint32_t, IOAPIC_BASE, index);
	G_WRITE(uint32_t, IOAPIC_BASE + 0x10, value);
}

/* Redirection entry: @low with vector, mode, polarity, trigger; destination ID */
static inline void g_ioapic_route(unsigned int pin, uint32_t low, uint8_t dest)
{
	g_ioapic_write(0x11 + 2 * pin, (uint32_t)dest << 24);
	g_ioapic_write(0x10 + 2 * pin, low);
}

/* --- interrupts --- */

/* Handler that counts in irqs[] only; and those that send an EOI as well. */
void g_on_irq_no_eoi(struct guest_regs *r);
void g_on_irq_eoi(struct guest_regs *r);
void g_on_irq_x2eoi(struct guest_regs *r);

/* Spins until *counter is at least n; fails after about @limit turns. */
bool g_wait_for(volatile uint64_t *counter, uint64_t n, uint64_t limit);

#endif
