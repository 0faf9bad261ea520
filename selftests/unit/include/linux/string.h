/* SPDX-License-Identifier: GPL-2.0-only */
/* User-space stand-in for <linux/string.h>; see types.h. */
#include <string.h>
