// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-blk: a file or block device of the host as a disk of the guest.
 *
 * Left to others: the queue and its thread (virtio.c, vring.c).
 * References: VIRTIO 1.2, "Block Device".
 * Known hacks: none. The image is read and written straight from and to guest
 * memory, so a guest that lies about addresses gets EFAULT, never the launcher.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include "machine.h"
#include "virtio.h"

#define SECTOR	     512ULL
#define SECTOR_SHIFT 9
#define SEG_MAX	     (VIRTIO_QUEUE_MAX - 2) /* header and status take one each */
#define MAX_DISCARD  (1U << 22)		    /* sectors in one request: 2 GiB */

struct blk {
	int fd;
	bool read_only;
	bool can_discard;
	uint64_t sectors;
	char serial[VIRTIO_BLK_ID_BYTES + 1];
	struct virtio_blk_config config;
};

/* Does the range lie on the disk? Any values. */
static bool on_disk(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
	return !(bytes % SECTOR) && sector <= blk->sectors &&
	       bytes / SECTOR <= blk->sectors - sector;
}

/* Move past what has been read or written. */
static void advance(struct iovec **iov, unsigned int *n, size_t bytes)
{
	while (*n && bytes >= (*iov)->iov_len) {
		bytes -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (*n) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + bytes;
		(*iov)->iov_len -= bytes;
	}
}

static uint8_t transfer(struct blk *blk, uint64_t sector, struct iovec *iov, unsigned int n,
			bool write)
{
	uint64_t offset = sector << SECTOR_SHIFT;

	if (!on_disk(blk, sector, iov_bytes(iov, n)))
		return VIRTIO_BLK_S_IOERR;
	if (write && blk->read_only)
		return VIRTIO_BLK_S_IOERR;
	advance(&iov, &n, 0);
	while (n) {
		ssize_t done = write ? pwritev(blk->fd, iov, (int)n, (off_t)offset)
				     : preadv(blk->fd, iov, (int)n, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return VIRTIO_BLK_S_IOERR;
		offset += (uint64_t)done;
		advance(&iov, &n, (size_t)done);
	}
	return VIRTIO_BLK_S_OK;
}

/* Discard and write zeroes: the image loses the blocks, and reads as zero there. */
static uint8_t punch(struct blk *blk, struct virtio_request *req, bool zero)
{
	struct virtio_blk_discard_write_zeroes range;
	int mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
	uint64_t bytes;

	if (!blk->can_discard)
		return VIRTIO_BLK_S_UNSUPP;
	if (iov_bytes(req->readable, req->nreadable) != sizeof(range) ||
	    !iov_take(req->readable, req->nreadable, &range, sizeof(range)))
		return VIRTIO_BLK_S_UNSUPP;
	if (range.flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0U))
		return VIRTIO_BLK_S_UNSUPP;
	bytes = (uint64_t)range.num_sectors << SECTOR_SHIFT;
	if (range.num_sectors > MAX_DISCARD || !on_disk(blk, range.sector, bytes))
		return VIRTIO_BLK_S_IOERR;
	if (!bytes)
		return VIRTIO_BLK_S_OK;
	if (zero && !(range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
		mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE;
	if (!fallocate(blk->fd, mode, (off_t)(range.sector << SECTOR_SHIFT), (off_t)bytes))
		return VIRTIO_BLK_S_OK;
	/* the blocks may stay, but what was to be zero must be */
	return zero || errno != EOPNOTSUPP ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t get_id(struct blk *blk, struct virtio_request *req, uint32_t *written)
{
	size_t left = VIRTIO_BLK_ID_BYTES;
	const char *p = blk->serial;

	for (unsigned int i = 0; i < req->nwritable && left; i++) {
		size_t part = MIN(req->writable[i].iov_len, left);

		memcpy(req->writable[i].iov_base, p, part);
		p += part;
		left -= part;
	}
	*written = (uint32_t)(p - blk->serial);
	return VIRTIO_BLK_S_OK;
}

/*
 * The status byte is the last writable one. Take it away from the vector, and
 * return where it is.
 */
static uint8_t *take_status(struct virtio_request *req)
{
	while (req->nwritable) {
		struct iovec *last = &req->writable[req->nwritable - 1];

		if (last->iov_len) {
			last->iov_len--;
			return (uint8_t *)last->iov_base + last->iov_len;
		}
		req->nwritable--;
	}
	return NULL;
}

static uint32_t blk_handle(void *priv, struct virtio_request *req)
{
	struct blk *blk = priv;
	struct virtio_blk_outhdr header;
	uint8_t *status = take_status(req);
	uint32_t written = 0;

	if (!status)
		return 0;
	if (!iov_take(req->readable, req->nreadable, &header, sizeof(header))) {
		*status = VIRTIO_BLK_S_IOERR;
		return 1;
	}
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
		written = (uint32_t)iov_bytes(req->writable, req->nwritable);
		*status = transfer(blk, header.sector, req->writable, req->nwritable, false);
		break;
	case VIRTIO_BLK_T_OUT:
		*status = transfer(blk, header.sector, req->readable, req->nreadable, true);
		break;
	case VIRTIO_BLK_T_FLUSH:
		*status = fdatasync(blk->fd) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
		break;
	case VIRTIO_BLK_T_GET_ID:
		*status = get_id(blk, req, &written);
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		*status = punch(blk, req, header.type == VIRTIO_BLK_T_WRITE_ZEROES);
		break;
	default:
		*status = VIRTIO_BLK_S_UNSUPP;
		break;
	}
	return written + 1;
}

static const struct virtio_ops blk_ops = {
	.device_id = VIRTIO_ID_BLOCK,
	.handle = blk_handle,
};

static uint64_t image_bytes(int fd, const char *path)
{
	uint64_t bytes;
	struct stat st;

	if (fstat(fd, &st) < 0)
		die("%s: %s", path, strerror(errno));
	if (S_ISREG(st.st_mode))
		return (uint64_t)st.st_size;
	if (!S_ISBLK(st.st_mode))
		die("%s: neither a file nor a block device", path);
	if (ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		die("%s: cannot find its size: %s", path, strerror(errno));
	return bytes;
}

/* Two guests that write to one image destroy it. */
static void lock_image(struct blk *blk, const char *path)
{
	if (flock(blk->fd, (blk->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0 &&
	    errno == EWOULDBLOCK)
		die("%s: in use by another guest; give each its own, or open it with ,ro", path);
}

/* Holes can be made in files where their file system knows of them. */
static bool probe_discard(const struct blk *blk)
{
	struct stat st;

	if (blk->read_only || fstat(blk->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	return !fallocate(blk->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE, st.st_size, 4096) &&
	       !fallocate(blk->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, st.st_size, 4096);
}

static void fill_config(struct blk *blk)
{
	blk->config.capacity = blk->sectors;
	blk->config.seg_max = SEG_MAX;
	blk->config.blk_size = SECTOR;
	if (!blk->can_discard)
		return;
	blk->config.max_discard_sectors = MAX_DISCARD;
	blk->config.max_discard_seg = 1;
	blk->config.discard_sector_alignment = 8;
	blk->config.max_write_zeroes_sectors = MAX_DISCARD;
	blk->config.max_write_zeroes_seg = 1;
	blk->config.write_zeroes_may_unmap = 1;
}

struct blk *blk_open(const struct disk_config *cfg)
{
	struct blk *blk = xcalloc(1, sizeof(*blk));
	static unsigned int number;
	uint64_t bytes;

	blk->read_only = cfg->read_only;
	blk->fd = open(cfg->path, (cfg->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (blk->fd < 0 && !cfg->read_only && (errno == EROFS || errno == EACCES))
		die("%s: %s; open it read-only with --disk %s,ro", cfg->path, strerror(errno),
		    cfg->path);
	if (blk->fd < 0)
		die("%s: %s", cfg->path, strerror(errno));
	lock_image(blk, cfg->path);
	bytes = image_bytes(blk->fd, cfg->path);
	blk->sectors = bytes / SECTOR;
	if (!blk->sectors)
		die("%s: smaller than a sector; make an image with truncate -s 1G %s", cfg->path,
		    cfg->path);
	if (bytes % SECTOR)
		msg("%s: not a multiple of 512 bytes; the guest does not see the rest", cfg->path);
	blk->can_discard = probe_discard(blk);
	snprintf(blk->serial, sizeof(blk->serial), "mezz-disk%u", number++);
	fill_config(blk);
	return blk;
}

void blk_create(struct machine *m, struct blk *blk)
{
	uint64_t features = 1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_BLK_SIZE |
			    1ULL << VIRTIO_BLK_F_FLUSH;

	if (blk->read_only)
		features |= 1ULL << VIRTIO_BLK_F_RO;
	if (blk->can_discard)
		features |= 1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES;
	virtio_create(m, &blk_ops, blk, features, &blk->config, sizeof(blk->config));
}

void blk_close(struct blk *blk)
{
	if (!blk->read_only && fdatasync(blk->fd) < 0 && errno != EINVAL)
		msg("cannot write back a disk image: %s", strerror(errno));
	close(blk->fd);
	free(blk);
}
