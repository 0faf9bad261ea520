// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into Bochs 2.7, which loads a RAM image with one read() through the
 * pointer of one 128 KiB block, although its guest memory is allocated block by
 * block at first touch. Reads of at most 128 KiB put each into its own block;
 * the caller already copes with short reads.
 */
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK_SIZE (128 * 1024)

ssize_t read(int fd, void *buffer, size_t count)
{
	return syscall(SYS_read, fd, buffer, count < BLOCK_SIZE ? count : BLOCK_SIZE);
}
