// SPDX-License-Identifier: GPL-2.0-only
/*
 * QEMU's gdbstub: KVM_SET_GUEST_DEBUG and KVM_EXIT_DEBUG as the debugger's user meets
 * them, from real mode at the reset vector on. The guest is a ROM of 64 KiB instead of
 * a BIOS, and we are the debugger. debug.c has the ABI itself.
 *
 * QEMU's own emulated SVM can only step. In Bochs' vmx box the rest is tested, too;
 * QEMU has to be put there (--file), as lab/check --long does, or all is skipped.
 */
#include <ctype.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "test.h"

#define QEMU	 "/usr/bin/qemu-system-x86_64"
#define ROM_BASE 0xf0000u
#define ROM_SIZE 0x10000u
#define COUNTER	 0x500u /* where the guest writes BX */
#define RBX	 1	/* in the order of gdb's registers */
#define RIP	 16

extern const uint8_t rom[], rom_start[], rom_loop[], rom_write[], rom_written[], rom_again[];

/* The loop is entered at rom_loop; what the labels name is one instruction each. */
asm(".pushsection .rodata\n"
    ".code16\n"
    "rom:\n"
    "rom_start: xor %ax, %ax\n"
    "mov %ax, %ds\n"
    "rom_loop: inc %bx\n"
    "rom_write: mov %bx, 0x500\n"
    "rom_written: mov $0x2e, %al\n"
    "out %al, $0xe9\n"
    "rom_again: jmp rom_loop\n"
    ".org rom + 0xfff0\n"
    ".byte 0xea\n" /* jmp f000:0000 */
    ".word 0, 0xf000\n"
    ".org rom + 0x10000\n"
    ".code64\n"
    ".popsection\n");

static char folder[] = "/tmp/gdbstub.XXXXXX";
static pid_t qemu;
static int gdb = -1;

static const char *path(const char *name)
{
	static char buffer[4][64];
	static unsigned int next;
	char *p = buffer[next++ % 4];

	snprintf(p, sizeof(buffer[0]), "%s/%s", folder, name);
	return p;
}

static void write_rom(void)
{
	FILE *f = fopen(path("rom"), "w");

	REQUIRE(f && fwrite(rom, ROM_SIZE, 1, f) == 1, "no ROM: %s", strerror(errno));
	fclose(f);
}

/* A QEMU that has not begun to run its guest, and the connection to its stub. */
static void start(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char stub[96], port[96];

	if (access(QEMU, X_OK))
		test_skip("no QEMU in this box");
	if (access("/dev/kvm", R_OK | W_OK))
		test_skip("no /dev/kvm");
	REQUIRE(mkdtemp(folder), "no folder: %s", strerror(errno));
	write_rom();
	snprintf(stub, sizeof(stub), "unix:%s,server=on,wait=off", path("gdb"));
	snprintf(port, sizeof(port), "file:%s", path("port"));
	qemu = fork();
	if (!qemu) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(QEMU, QEMU, "-accel", "kvm", "-cpu", "host", "-machine", "pc", "-m", "16",
		      "-nodefaults", "-no-user-config", "-display", "none", "-debugcon", port,
		      "-bios", path("rom"), "-S", "-gdb", stub, NULL);
		_exit(127);
	}
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path("gdb"));
	gdb = socket(AF_UNIX, SOCK_STREAM, 0);
	while (connect(gdb, (struct sockaddr *)&address, sizeof(address))) {
		REQUIRE(!kill(qemu, 0), "QEMU ended");
		sleep_ms(50);
	}
}

static void stop(void)
{
	kill(qemu, SIGKILL);
	unlink(path("rom"));
	unlink(path("gdb"));
	unlink(path("port"));
	rmdir(folder);
}

static char next_char(void)
{
	char c;

	REQUIRE(read(gdb, &c, 1) == 1, "the stub is gone");
	return c;
}

/* Sends one packet and returns the answer to it. */
static const char *ask(const char *packet)
{
	static char answer[8192];
	uint8_t sum = 0;
	size_t n = 0;
	char c;

	for (const char *p = packet; *p; p++)
		sum += *p;
	dprintf(gdb, "$%s#%02x", packet, sum);
	while (next_char() != '$')
		;
	while ((c = next_char()) != '#' && n < sizeof(answer) - 1)
		answer[n++] = c;
	answer[n] = 0;
	next_char();
	next_char();
	REQUIRE(write(gdb, "+", 1) == 1, "the stub is gone");
	return answer;
}

static void ask_ok(const char *packet)
{
	const char *answer = ask(packet);

	REQUIRE(!strcmp(answer, "OK"), "%s: %s", packet, answer);
}

/* Bytes in hexadecimal, the lowest first */
static uint64_t little_endian(const char *hex, unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes && isxdigit(hex[2 * i]); i++) {
		char digits[3] = { hex[2 * i], hex[2 * i + 1] };

		value |= strtoull(digits, NULL, 16) << 8 * i;
	}
	return value;
}

static uint64_t reg(unsigned int number)
{
	return little_endian(ask("g") + 16 * number, 8);
}

static uint64_t place(const uint8_t *label)
{
	return label - rom;
}

/* Sets or clears ("Z" or "z") a breakpoint of gdb's kind @kind. */
static void breakpoint(char what, int kind, uint64_t address, unsigned int size)
{
	char packet[64];

	snprintf(packet, sizeof(packet), "%c%d,%llx,%u", what, kind, (unsigned long long)address,
		 size);
	ask_ok(packet);
}

static void needs_breakpoints(void)
{
	if (cpu_is_qemu())
		test_skip("QEMU's emulated SVM neither intercepts #BP nor arms DR7");
}

/* Steps from one of the places to the next. */
static void step_along(const uint8_t *const places[], unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		const char *answer = ask("s");

		CHECK(!strncmp(answer, "T05", 3), "step %u: %s", i, answer);
		CHECK_EQ(reg(RIP), place(places[i]));
	}
}

static void run_to(const uint8_t *label)
{
	breakpoint('Z', 1, ROM_BASE + place(label), 1);
	ask("c");
	breakpoint('z', 1, ROM_BASE + place(label), 1);
	CHECK_EQ(reg(RIP), place(label));
}

TEST_SECONDS(step, 110)
{
	static const uint8_t *const from_reset[] = { rom_start, rom_start + 2, rom_loop,
						     rom_write, rom_written,   rom_written + 2,
						     rom_again, rom_loop,      rom_write };
	static const uint8_t *const in_loop[] = { rom_write, rom_written, rom_written + 2 };

	start();
	CHECK_EQ(reg(RIP), 0xfff0);
	if (cpu_is_qemu()) {
		step_along(from_reset, 9);
	} else {
		/* Bochs 2.7 keeps the step of an instruction that exits: let none do so. */
		run_to(rom_written);
		ask("s");
		run_to(rom_loop);
		step_along(in_loop, 3);
	}
	CHECK_EQ(reg(RBX) & 0xffff, 2);
	stop();
}

/* Breakpoints of @kind are hit once a round, and leave the guest as it was. */
static void stops_at_loop(int kind)
{
	uint64_t at = ROM_BASE + place(rom_loop);

	start();
	for (unsigned int i = 0; i < 5; i++) {
		const char *answer;

		breakpoint('Z', kind, at, 1);
		answer = ask("c");
		CHECK(!strncmp(answer, "T05", 3), "round %u: %s", i, answer);
		CHECK_EQ(reg(RIP), place(rom_loop));
		CHECK_EQ(reg(RBX) & 0xffff, i);
		breakpoint('z', kind, at, 1);
		ask("s");
		CHECK_EQ(reg(RIP), place(rom_write));
	}
	stop();
}

TEST_SECONDS(software_breakpoint, 110)
{
	needs_breakpoints();
	stops_at_loop(0);
}

TEST_SECONDS(hardware_breakpoint, 110)
{
	needs_breakpoints();
	stops_at_loop(1);
}

TEST_SECONDS(watchpoint, 110)
{
	needs_breakpoints();
	start();
	breakpoint('Z', 2, COUNTER, 2);
	for (unsigned int i = 1; i <= 5; i++) {
		const char *answer = ask("c");

		CHECK(strstr(answer, "watch:") && strstr(answer, "500;"), "round %u: %s", i,
		      answer);
		CHECK_EQ(reg(RIP), place(rom_written));
		CHECK_EQ(reg(RBX) & 0xffff, i);
		CHECK_EQ(little_endian(ask("m500,2"), 2), i);
	}
	stop();
}

/* How much the guest has written to its debug port */
static long written(void)
{
	FILE *f = fopen(path("port"), "r");
	long size = 0;

	if (f) {
		fseek(f, 0, SEEK_END);
		size = ftell(f);
		fclose(f);
	}
	return size;
}

/* After steps and a detach nothing of the debugger is left: the guest runs free. */
TEST_SECONDS(detach, 110)
{
	long before;

	start();
	for (unsigned int i = 0; i < 4; i++)
		ask("s");
	ask_ok("D");
	before = written();
	while (written() < before + 1000)
		sleep_ms(20);
	stop();
}
