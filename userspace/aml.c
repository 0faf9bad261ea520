// SPDX-License-Identifier: GPL-2.0-only
/*
 * The AML emitter: see aml.h.
 *
 * Left to others: what is said with it (acpi.c).
 * Known hacks: every package length is written in its three-byte form, every
 * resource template has a one-byte size; both are legal whatever the contents,
 * and can be filled in when the end is known.
 */
#include <string.h>

#include "aml.h"
#include "util.h"

enum {
	AML_NAME_OP = 0x08,
	AML_BYTE_PREFIX = 0x0a,
	AML_DWORD_PREFIX = 0x0c,
	AML_STRING_PREFIX = 0x0d,
	AML_QWORD_PREFIX = 0x0e,
	AML_SCOPE_OP = 0x10,
	AML_BUFFER_OP = 0x11,
	AML_PACKAGE_OP = 0x12,
	AML_EXT_PREFIX = 0x5b,
	AML_EXT_DEVICE_OP = 0x82,

	RES_IRQ_NO_FLAGS = 0x22,
	RES_IO = 0x47,
	RES_END = 0x79,
	RES_MEMORY32_FIXED = 0x86,
	RES_EXT_IRQ = 0x89,
};

#define PKG_LENGTH_BYTES 3
#define PKG_LENGTH_THREE 0x80 /* two more bytes follow the first */

static void put(struct aml *a, const void *bytes, size_t n)
{
	if (n > a->size - a->used)
		die("the ACPI device table does not fit: use fewer --disk options");
	memcpy(a->buf + a->used, bytes, n);
	a->used += n;
}

static void put8(struct aml *a, uint8_t v)
{
	put(a, &v, 1);
}

static void put16(struct aml *a, uint16_t v)
{
	put(a, &v, 2);
}

static void put32(struct aml *a, uint32_t v)
{
	put(a, &v, 4);
}

static void begin_package(struct aml *a)
{
	static const uint8_t room[PKG_LENGTH_BYTES];

	if (a->depth == AML_MAX_DEPTH)
		die("ACPI device table nested too deeply");
	a->open[a->depth++] = a->used;
	put(a, room, sizeof(room));
}

void aml_end(struct aml *a)
{
	size_t at = a->open[--a->depth];
	size_t length = a->used - at;

	a->buf[at] = (uint8_t)(PKG_LENGTH_THREE | (length & 0xf));
	a->buf[at + 1] = (uint8_t)(length >> 4);
	a->buf[at + 2] = (uint8_t)(length >> 12);
}

static void put_name(struct aml *a, const char *name)
{
	put8(a, AML_NAME_OP);
	put(a, name, 4);
}

void aml_begin_scope(struct aml *a, const char *path)
{
	put8(a, AML_SCOPE_OP);
	begin_package(a);
	put(a, path, strlen(path));
}

void aml_begin_device(struct aml *a, const char *name)
{
	put8(a, AML_EXT_PREFIX);
	put8(a, AML_EXT_DEVICE_OP);
	begin_package(a);
	put(a, name, 4);
}

static void put_integer(struct aml *a, uint64_t value)
{
	if (value <= 1) { /* ZeroOp and OneOp */
		put8(a, (uint8_t)value);
	} else if (value <= UINT8_MAX) {
		put8(a, AML_BYTE_PREFIX);
		put8(a, (uint8_t)value);
	} else if (value <= UINT32_MAX) {
		put8(a, AML_DWORD_PREFIX);
		put32(a, (uint32_t)value);
	} else {
		put8(a, AML_QWORD_PREFIX);
		put(a, &value, sizeof(value));
	}
}

void aml_name_integer(struct aml *a, const char *name, uint64_t value)
{
	put_name(a, name);
	put_integer(a, value);
}

void aml_name_string(struct aml *a, const char *name, const char *value)
{
	put_name(a, name);
	put8(a, AML_STRING_PREFIX);
	put(a, value, strlen(value) + 1);
}

static uint32_t hex_digit(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Compressed EISA id: five bits a letter, four a digit, big endian. */
void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
	uint32_t v = 0;

	for (unsigned int i = 0; i < 3; i++)
		v = v << 5 | (uint32_t)(id[i] - '@');
	for (unsigned int i = 3; i < 7; i++)
		v = v << 4 | hex_digit(id[i]);
	put_name(a, name);
	put8(a, AML_DWORD_PREFIX);
	put32(a, __builtin_bswap32(v));
}

void aml_name_package(struct aml *a, const char *name, const uint8_t *values, unsigned int n)
{
	put_name(a, name);
	put8(a, AML_PACKAGE_OP);
	begin_package(a);
	put8(a, (uint8_t)n);
	for (unsigned int i = 0; i < n; i++)
		put_integer(a, values[i]);
	aml_end(a);
}

/* The two bytes after the package length hold the size of the buffer. */
void aml_begin_resources(struct aml *a)
{
	put_name(a, "_CRS");
	put8(a, AML_BUFFER_OP);
	begin_package(a);
	put8(a, AML_BYTE_PREFIX);
	put8(a, 0);
}

void aml_end_resources(struct aml *a)
{
	size_t start = a->open[a->depth - 1] + PKG_LENGTH_BYTES + 2;

	put8(a, RES_END);
	put8(a, 0); /* no checksum */
	a->buf[start - 1] = (uint8_t)(a->used - start);
	aml_end(a);
}

void aml_resource_io(struct aml *a, uint16_t port, uint8_t bytes)
{
	put8(a, RES_IO);
	put8(a, 1); /* decodes 16 bits */
	put16(a, port);
	put16(a, port);
	put8(a, 1);
	put8(a, bytes);
}

void aml_resource_isa_irq(struct aml *a, unsigned int irq)
{
	put8(a, RES_IRQ_NO_FLAGS);
	put16(a, (uint16_t)(1U << irq));
}

void aml_resource_memory(struct aml *a, uint32_t base, uint32_t bytes)
{
	put8(a, RES_MEMORY32_FIXED);
	put16(a, 9);
	put8(a, 1); /* writable */
	put32(a, base);
	put32(a, bytes);
}

void aml_resource_interrupt(struct aml *a, uint32_t gsi)
{
	put8(a, RES_EXT_IRQ);
	put16(a, 6);
	put8(a, 0x03); /* consumer, edge, active high, exclusive */
	put8(a, 1);
	put32(a, gsi);
}
