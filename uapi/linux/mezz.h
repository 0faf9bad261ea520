/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What /dev/mezz offers beyond the KVM ABI (docs/abi.md is the table of both).
 */
#ifndef _UAPI_LINUX_MEZZ_H
#define _UAPI_LINUX_MEZZ_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MEZZ_IO			0x7a

/**
 * struct mezz_info - answer to MEZZ_GET_INFO
 * @size: in: bytes that user space provides; out: bytes that were filled in
 * @max_page_level: largest second-stage page: 1: 4 KiB, 2: 2 MiB, 3: 1 GiB
 * @engine: name of the engine in use, zero-terminated
 */
struct mezz_info {
	__u32 size;
	__u32 max_page_level;
	char engine[16];
};

/* On the device. EFAULT, or EINVAL when @size is too small for its own fields. */
#define MEZZ_GET_INFO		_IOWR(MEZZ_IO, 0x00, struct mezz_info)

#endif
