// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-rng: the host's random bytes for a guest that has just started and has
 * none of its own.
 *
 * References: VIRTIO 1.2, "Entropy Device".
 * Known hacks: a request is answered with at most 64 KiB, whatever it asks for;
 * drivers ask for less, and no guest keeps the host's generator busy for long.
 */
#include <errno.h>
#include <sys/random.h>
#include <linux/virtio_ids.h>

#include "machine.h"
#include "virtio.h"

#define REQUEST_BYTES 65536U

static uint32_t rng_handle(void *priv, struct virtio_request *req)
{
	uint32_t done = 0;

	(void)priv;
	for (unsigned int i = 0; i < req->nwritable; i++) {
		uint8_t *p = req->writable[i].iov_base;
		size_t left = MIN(req->writable[i].iov_len, (size_t)(REQUEST_BYTES - done));

		while (left) {
			ssize_t n = getrandom(p, left, 0);

			if (n < 0 && errno != EINTR)
				return done;
			if (n < 0)
				continue;
			p += n;
			left -= (size_t)n;
			done += (uint32_t)n;
		}
	}
	return done;
}

static const struct virtio_ops rng_ops = {
	.device_id = VIRTIO_ID_RNG,
	.handle = rng_handle,
};

void rng_create(struct machine *m)
{
	virtio_create(m, &rng_ops, NULL, 0, NULL, 0);
}
