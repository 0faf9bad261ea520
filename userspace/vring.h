/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A split virtqueue as its device sees it: memory that the guest owns and may
 * fill with anything. All that is read from it is read once and then checked.
 *
 * Left to others: registers, notifications and threads (virtio.c).
 */
#ifndef MEZZ_VRING_H
#define MEZZ_VRING_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/virtio_ring.h>

#include "virtio.h"

/** struct vring_area - where the driver says that the queue is */
struct vring_area {
	uint64_t desc; /* guest-physical addresses */
	uint64_t avail;
	uint64_t used;
	uint32_t num; /* descriptors */
};

/** struct vring_state - a queue in use; zeroed when not */
struct vring_state {
	const struct machine *m;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t num;
	uint16_t last_avail; /* next entry of avail to look at */
	uint16_t last_used;  /* next entry of used to fill */
	uint16_t signalled;  /* last_used when the driver was interrupted last */
	bool event_idx;	     /* VIRTIO_RING_F_EVENT_IDX was negotiated */
};

enum vring_result { VRING_EMPTY, VRING_REQUEST, VRING_BROKEN };

/**
 * vring_start - begin to use a queue
 * @r: zeroed
 * @m: machine
 * @area: where it is; anything
 * @event_idx: the driver and the device know event indexes
 *
 * Returns false unless it lies in guest memory, aligned, with a size that is a
 * power of two up to VIRTIO_QUEUE_MAX.
 */
bool vring_start(struct vring_state *r, const struct machine *m, const struct vring_area *area,
		 bool event_idx);

/**
 * vring_pop - take the next request
 * @r: queue
 * @req: filled when there is one
 * @head: what to give to vring_push()
 *
 * VRING_BROKEN when the guest has put something there that makes no sense.
 */
enum vring_result vring_pop(struct vring_state *r, struct virtio_request *req, uint16_t *head);

/**
 * vring_push - give a request back
 * @r: queue
 * @head: from vring_pop()
 * @written: bytes put into its writable part
 */
void vring_push(struct vring_state *r, uint16_t head, uint32_t written);

/**
 * vring_must_interrupt - does the driver want to hear of what was pushed?
 * @r: queue
 *
 * Ask once after a number of vring_push(), then interrupt.
 */
bool vring_must_interrupt(struct vring_state *r);

/**
 * vring_wait - ask to be notified of the next request
 * @r: queue that vring_pop() said is empty
 *
 * Returns false when one has come meanwhile.
 */
bool vring_wait(struct vring_state *r);

#endif
