/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio over MMIO: the registers of a device, its queue, and the thread that
 * serves it. Each device has one queue; none of those here needs more.
 *
 * Left to others: what a request means (blk.c, rng.c).
 * References: Virtual I/O Device (VIRTIO) Version 1.2.
 */
#ifndef MEZZ_VIRTIO_H
#define MEZZ_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct machine;
struct virtio_dev;

#define VIRTIO_QUEUE_MAX 256 /* descriptors, a power of two */

/**
 * struct virtio_request - one request, its memory found and checked
 * @readable: pieces with what the guest sends, in this process's addresses
 * @nreadable: number of them
 * @writable: pieces for the answer
 * @nwritable: number of them
 *
 * The guest can change the contents at any moment.
 */
struct virtio_request {
	struct iovec readable[VIRTIO_QUEUE_MAX];
	unsigned int nreadable;
	struct iovec writable[VIRTIO_QUEUE_MAX];
	unsigned int nwritable;
};

/** struct virtio_ops - a kind of device */
struct virtio_ops {
	uint32_t device_id; /* VIRTIO_ID_* */
	/**
	 * @handle: carry out a request, in the device's own thread; may change the
	 * vectors. Returns the number of bytes put into @writable.
	 */
	uint32_t (*handle)(void *priv, struct virtio_request *req);
	/** @destroy: free @priv; the thread has ended */
	void (*destroy)(void *priv);
};

/**
 * virtio_create - put a device on the machine and start its thread
 * @m: machine
 * @ops: kind of device
 * @priv: handed to @ops
 * @features: VIRTIO_BLK_F_* or alike, as bits; the transport adds its own
 * @config: device configuration, read only; must live as long as the device
 * @config_bytes: its size
 */
void virtio_create(struct machine *m, const struct virtio_ops *ops, void *priv, uint64_t features,
		   const void *config, size_t config_bytes);

/**
 * virtio_destroy_all - end the threads of all devices and free them
 * @m: machine whose vCPUs do not run any more
 */
void virtio_destroy_all(struct machine *m);

/**
 * virtio_gpa - address of a device's registers
 * @dev: device
 */
uint64_t virtio_gpa(const struct virtio_dev *dev);

/**
 * virtio_gsi - interrupt line of a device
 * @dev: device
 */
unsigned int virtio_gsi(const struct virtio_dev *dev);

/**
 * iov_bytes - how many bytes the pieces have together
 * @iov: pieces
 * @n: number of them
 */
size_t iov_bytes(const struct iovec *iov, unsigned int n);

/**
 * iov_take - copy from the start of the pieces, and shorten them by that
 * @iov: pieces
 * @n: number of them
 * @buf: where the bytes go
 * @bytes: how many
 *
 * Returns false, with the pieces unchanged, when they are shorter.
 */
bool iov_take(struct iovec *iov, unsigned int n, void *buf, size_t bytes);

/* blk.c */
struct disk_config;

/**
 * blk_open - open a disk image
 * @cfg: which, and whether to write to it
 *
 * Once for each disk, however often the guest resets. Leaves with a message when
 * the image cannot be used.
 */
struct blk *blk_open(const struct disk_config *cfg);

/**
 * blk_create - put a disk on the machine
 * @m: machine
 * @blk: from blk_open()
 */
void blk_create(struct machine *m, struct blk *blk);

/**
 * blk_close - write back and close a disk image
 * @blk: from blk_open(), on no machine
 */
void blk_close(struct blk *blk);

/* rng.c */

/**
 * rng_create - put a source of random bytes on the machine
 * @m: machine
 */
void rng_create(struct machine *m);

#endif
