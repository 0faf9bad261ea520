/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An emitter of ACPI Machine Language, as much of it as a flat list of devices
 * needs, so that no compiler for it is needed when the launcher is built.
 *
 * References are to the ACPI specification 6.4, chapter "ACPI Machine Language
 * (AML) Specification", and to "Resource Data Types for ACPI".
 */
#ifndef MEZZ_AML_H
#define MEZZ_AML_H

#include <stddef.h>
#include <stdint.h>

#define AML_MAX_DEPTH 8

/** struct aml - a block of AML that grows; overflow is a bug and ends the program */
struct aml {
	uint8_t *buf;
	size_t size;
	size_t used;
	size_t open[AML_MAX_DEPTH]; /* where the length field of each open package is */
	unsigned int depth;
};

/**
 * aml_begin_scope - open Scope(@path)
 * @a: block
 * @path: one name segment, or a backslash and one
 */
void aml_begin_scope(struct aml *a, const char *path);

/**
 * aml_begin_device - open Device(@name)
 * @a: block
 * @name: four characters
 */
void aml_begin_device(struct aml *a, const char *name);

/**
 * aml_end - close what was opened last
 * @a: block
 */
void aml_end(struct aml *a);

/**
 * aml_name_integer - Name(@name, @value)
 * @a: block
 * @name: four characters
 * @value: integer
 */
void aml_name_integer(struct aml *a, const char *name, uint64_t value);

/**
 * aml_name_string - Name(@name, "@value")
 * @a: block
 * @name: four characters
 * @value: ASCII
 */
void aml_name_string(struct aml *a, const char *name, const char *value);

/**
 * aml_name_eisaid - Name(@name, EISAID("@id"))
 * @a: block
 * @name: four characters
 * @id: three capitals and four hexadecimal digits
 */
void aml_name_eisaid(struct aml *a, const char *name, const char *id);

/**
 * aml_name_package - Name(@name, Package() { ... }) of small integers
 * @a: block
 * @name: four characters
 * @values: elements
 * @n: number of elements
 */
void aml_name_package(struct aml *a, const char *name, const uint8_t *values, unsigned int n);

/**
 * aml_begin_resources - open Name(_CRS, ResourceTemplate() { ... })
 * @a: block
 *
 * Takes resources up to aml_end_resources(); at most 58 bytes of them.
 */
void aml_begin_resources(struct aml *a);

/**
 * aml_resource_io - IO(Decode16, @port, @port, 1, @bytes)
 * @a: block
 * @port: first port
 * @bytes: number of ports
 */
void aml_resource_io(struct aml *a, uint16_t port, uint8_t bytes);

/**
 * aml_resource_isa_irq - IRQNoFlags() {@irq}: edge, active high
 * @a: block
 * @irq: below 16
 */
void aml_resource_isa_irq(struct aml *a, unsigned int irq);

/**
 * aml_resource_memory - Memory32Fixed(ReadWrite, @base, @bytes)
 * @a: block
 * @base: address below 4 GiB
 * @bytes: length
 */
void aml_resource_memory(struct aml *a, uint32_t base, uint32_t bytes);

/**
 * aml_resource_interrupt - Interrupt(ResourceConsumer, Edge, ActiveHigh, Exclusive) {@gsi}
 * @a: block
 * @gsi: global system interrupt
 */
void aml_resource_interrupt(struct aml *a, uint32_t gsi);

/**
 * aml_end_resources - close aml_begin_resources()
 * @a: block
 */
void aml_end_resources(struct aml *a);

#endif
