/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User-space stand-in for the kernel's types, so that the pure cores (decoder,
 * executor, page-table walk...) build as ordinary programs for their tests.
 * Only what those cores use is here.
 */
#ifndef MEZZ_SHIM_TYPES_H
#define MEZZ_SHIM_TYPES_H

#include_next <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#endif
