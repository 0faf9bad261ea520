// SPDX-License-Identifier: GPL-2.0-only
/*
 * The split virtqueue: see vring.h.
 *
 * References: VIRTIO 1.2, "Split Virtqueues".
 * Known hacks: none.
 */
#include "machine.h"
#include "vring.h"

static uint16_t load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store16(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* The driver's used_event follows its ring, the device's avail_event ours. */
static uint16_t *used_event(const struct vring_state *r)
{
	return &r->avail->ring[r->num];
}

static uint16_t *avail_event(const struct vring_state *r)
{
	return (uint16_t *)(void *)&r->used->ring[r->num];
}

bool vring_start(struct vring_state *r, const struct machine *m, const struct vring_area *area,
		 bool event_idx)
{
	uint32_t num = area->num;

	if (!num || num > VIRTIO_QUEUE_MAX || num & (num - 1))
		return false;
	if (area->desc % 16 || area->avail % 2 || area->used % 4)
		return false;
	r->m = m;
	r->num = (uint16_t)num;
	r->event_idx = event_idx;
	r->desc = guest_ptr(m, area->desc, num * sizeof(*r->desc));
	r->avail = guest_ptr(m, area->avail, sizeof(*r->avail) + (num + 1) * sizeof(uint16_t));
	r->used = guest_ptr(m, area->used,
			    sizeof(*r->used) + num * sizeof(r->used->ring[0]) + sizeof(uint16_t));
	return r->desc && r->avail && r->used;
}

/* One piece of the request; the writable ones come last (2.7.4.2). */
static bool add_piece(const struct vring_state *r, struct virtio_request *req,
		      const struct vring_desc *d)
{
	void *p = guest_ptr(r->m, d->addr, d->len);

	if (!p)
		return false;
	if (d->flags & VRING_DESC_F_WRITE) {
		if (req->nwritable == VIRTIO_QUEUE_MAX)
			return false;
		req->writable[req->nwritable++] = (struct iovec){ .iov_base = p,
								  .iov_len = d->len };
		return true;
	}
	if (req->nwritable || req->nreadable == VIRTIO_QUEUE_MAX)
		return false;
	req->readable[req->nreadable++] = (struct iovec){ .iov_base = p, .iov_len = d->len };
	return true;
}

/*
 * Follow a chain through a table of @num descriptors. As it can have no more
 * links than the table has entries, a loop ends too.
 */
static bool walk(const struct vring_state *r, struct virtio_request *req,
		 const struct vring_desc *table, uint32_t num, uint16_t next, bool indirect)
{
	for (uint32_t links = 0; links < num; links++) {
		struct vring_desc d;

		if (next >= num)
			return false;
		d = *(const volatile struct vring_desc *)&table[next];
		if (d.flags & VRING_DESC_F_INDIRECT) {
			const struct vring_desc *inner = guest_ptr(r->m, d.addr, d.len);

			if (indirect || d.flags & VRING_DESC_F_NEXT || !inner || !d.len ||
			    d.len % sizeof(*inner) || d.addr % sizeof(uint64_t))
				return false;
			return walk(r, req, inner, d.len / (uint32_t)sizeof(*inner), 0, true);
		}
		if (!add_piece(r, req, &d))
			return false;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return true;
		next = d.next;
	}
	return false;
}

enum vring_result vring_pop(struct vring_state *r, struct virtio_request *req, uint16_t *head)
{
	uint16_t waiting = (uint16_t)(load16(&r->avail->idx) - r->last_avail);

	if (!waiting)
		return VRING_EMPTY;
	if (waiting > r->num)
		return VRING_BROKEN;
	*head = load16(&r->avail->ring[r->last_avail % r->num]);
	if (*head >= r->num)
		return VRING_BROKEN;
	req->nreadable = 0;
	req->nwritable = 0;
	if (!walk(r, req, r->desc, r->num, *head, false))
		return VRING_BROKEN;
	r->last_avail++;
	return VRING_REQUEST;
}

void vring_push(struct vring_state *r, uint16_t head, uint32_t written)
{
	struct vring_used_elem *e = &r->used->ring[r->last_used % r->num];

	e->id = head;
	e->len = written;
	store16(&r->used->idx, ++r->last_used);
}

bool vring_must_interrupt(struct vring_state *r)
{
	uint16_t old = r->signalled;

	if (old == r->last_used)
		return false;
	r->signalled = r->last_used;
	/* the new index has to be seen before we look whether anybody cares */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (r->event_idx)
		return vring_need_event(load16(used_event(r)), r->last_used, old);
	return !(load16(&r->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

bool vring_wait(struct vring_state *r)
{
	if (r->event_idx)
		store16(avail_event(r), r->last_avail);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(&r->avail->idx) == r->last_avail;
}
