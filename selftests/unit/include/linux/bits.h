/* SPDX-License-Identifier: GPL-2.0-only */
/* User-space stand-in for <linux/bits.h>; see types.h. */
#include <linux/kernel.h>
