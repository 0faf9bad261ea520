// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-mmio: registers, feature negotiation, notifications both ways, and one
 * thread for each device.
 *
 * A notification reaches the thread through an ioeventfd, an interrupt reaches the
 * guest through an irqfd, both without the vCPU's thread; a driver without these
 * gets the same through an exit and KVM_IRQ_LINE.
 *
 * Left to others: the queue's contents (vring.c), what requests mean (blk.c, rng.c),
 * the announcement of the devices (acpi.c).
 * References: VIRTIO 1.2, "Virtio Over MMIO".
 * Known hacks: the interrupt is edge-triggered, so that the line needs no
 * lowering; the status register still says why, and the driver clears it before
 * it looks at the queue.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "machine.h"
#include "virtio.h"
#include "vring.h"

#define MMIO_MAGIC    0x74726976 /* "virt" */
#define MMIO_VERSION  2
#define MMIO_VENDOR   0x5a5a454d /* "MEZZ" */
#define CONFIG_OFFSET 0x100

/* Requests to carry out before the driver is told of them. */
#define BATCH 32

struct virtio_dev {
	struct machine *m;
	const struct virtio_ops *ops;
	void *priv;
	const uint8_t *config;
	size_t config_bytes;
	uint64_t features; /* offered */
	unsigned int index;
	int kick_fd;
	int irq_fd; /* -1: no irqfds */
	pthread_t thread;
	atomic_bool stop;
	atomic_uint interrupt_status;
	/*
	 * The thread holds the lock while it works on the queue; so a reset waits
	 * for the request that is being carried out.
	 */
	pthread_mutex_t lock;
	atomic_uint status;
	uint64_t driver_features;
	uint32_t device_features_sel;
	uint32_t driver_features_sel;
	uint32_t queue_sel;
	bool queue_ready;
	struct vring_area area;
	struct vring_state vring;
	struct virtio_request request;
};

uint64_t virtio_gpa(const struct virtio_dev *dev)
{
	return GPA_VIRTIO + dev->index * GPA_VIRTIO_STRIDE;
}

/* The lines that no PC device claims: first those that only an IOAPIC has. */
unsigned int virtio_gsi(const struct virtio_dev *dev)
{
	static const uint8_t gsis[MEZZ_MAX_VIRTIO] = { 16, 17, 18, 19, 20, 21, 22, 23,
						       5,  6,  7,  10, 11, 12, 14, 15 };

	return gsis[dev->index];
}

static void kick(struct virtio_dev *dev)
{
	const uint64_t one = 1;

	(void)!write(dev->kick_fd, &one, sizeof(one));
}

static void interrupt(struct virtio_dev *dev, unsigned int why)
{
	const uint64_t one = 1;

	atomic_fetch_or(&dev->interrupt_status, why);
	if (dev->irq_fd >= 0) {
		(void)!write(dev->irq_fd, &one, sizeof(one));
	} else {
		machine_irq(dev->m, virtio_gsi(dev), true);
		machine_irq(dev->m, virtio_gsi(dev), false);
	}
}

/* The guest has broken its queue: nothing moves until it resets the device. */
static void broken(struct virtio_dev *dev)
{
	msg("virtio device %u: the guest's queue makes no sense; the device waits for a reset",
	    dev->index);
	dev->queue_ready = false;
	atomic_fetch_or(&dev->status, VIRTIO_CONFIG_S_NEEDS_RESET);
	interrupt(dev, VIRTIO_MMIO_INT_CONFIG);
}

/* Carries out all requests. With the lock held. */
static void serve_queue(struct virtio_dev *dev)
{
	struct vring_state *r = &dev->vring;
	unsigned int done = 0;
	uint16_t head;

	while (dev->queue_ready && atomic_load(&dev->status) & VIRTIO_CONFIG_S_DRIVER_OK &&
	       !atomic_load(&dev->stop)) {
		switch (vring_pop(r, &dev->request, &head)) {
		case VRING_REQUEST:
			vring_push(r, head, dev->ops->handle(dev->priv, &dev->request));
			if (++done % BATCH == 0 && vring_must_interrupt(r))
				interrupt(dev, VIRTIO_MMIO_INT_VRING);
			break;
		case VRING_EMPTY:
			if (vring_must_interrupt(r))
				interrupt(dev, VIRTIO_MMIO_INT_VRING);
			if (vring_wait(r))
				return;
			break;
		case VRING_BROKEN:
			broken(dev);
			return;
		}
	}
}

static void *virtio_main(void *arg)
{
	struct virtio_dev *dev = arg;
	uint64_t count;

	(void)pthread_setname_np(pthread_self(), "virtio");
	while (!atomic_load(&dev->stop)) {
		if (read(dev->kick_fd, &count, sizeof(count)) < 0)
			continue;
		pthread_mutex_lock(&dev->lock);
		serve_queue(dev);
		pthread_mutex_unlock(&dev->lock);
	}
	return NULL;
}

static void reset(struct virtio_dev *dev)
{
	dev->driver_features = 0;
	dev->device_features_sel = 0;
	dev->driver_features_sel = 0;
	dev->queue_sel = 0;
	dev->queue_ready = false;
	memset(&dev->area, 0, sizeof(dev->area));
	memset(&dev->vring, 0, sizeof(dev->vring));
	atomic_store(&dev->interrupt_status, 0);
	atomic_store(&dev->status, 0);
}

static void write_status(struct virtio_dev *dev, uint32_t v)
{
	uint64_t wanted = dev->driver_features;

	if (!v) {
		reset(dev);
		return;
	}
	if (v & VIRTIO_CONFIG_S_FEATURES_OK &&
	    (wanted & ~dev->features || !(wanted & 1ULL << VIRTIO_F_VERSION_1)))
		v &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	v |= atomic_load(&dev->status) & VIRTIO_CONFIG_S_NEEDS_RESET;
	atomic_store(&dev->status, v & 0xff);
	if (v & VIRTIO_CONFIG_S_DRIVER_OK)
		kick(dev);
}

static void write_queue_ready(struct virtio_dev *dev, uint32_t v)
{
	bool event_idx = dev->driver_features & 1ULL << VIRTIO_RING_F_EVENT_IDX;

	if (dev->queue_sel)
		return;
	dev->queue_ready = false;
	memset(&dev->vring, 0, sizeof(dev->vring));
	if (!(v & 1))
		return;
	if (vring_start(&dev->vring, dev->m, &dev->area, event_idx))
		dev->queue_ready = true;
	else
		broken(dev);
}

static void set_half(uint64_t *v, bool high, uint32_t half)
{
	unsigned int shift = high ? 32 : 0;

	*v = (*v & ~(0xffffffffULL << shift)) | (uint64_t)half << shift;
}

/* Where the queue is; the driver says so while it is not ready. */
static void write_queue_area(struct virtio_dev *dev, uint64_t reg, uint32_t v)
{
	if (dev->queue_sel || dev->queue_ready)
		return;
	switch (reg) {
	case VIRTIO_MMIO_QUEUE_NUM:
		dev->area.num = v;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&dev->area.desc, reg == VIRTIO_MMIO_QUEUE_DESC_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&dev->area.avail, reg == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&dev->area.used, reg == VIRTIO_MMIO_QUEUE_USED_HIGH, v);
		break;
	}
}

static void write_register(struct virtio_dev *dev, uint64_t reg, uint32_t v)
{
	switch (reg) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		dev->device_features_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		dev->driver_features_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (dev->driver_features_sel < 2 &&
		    !(atomic_load(&dev->status) & VIRTIO_CONFIG_S_FEATURES_OK))
			set_half(&dev->driver_features, dev->driver_features_sel, v);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		dev->queue_sel = v;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		write_queue_ready(dev, v);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(dev, v);
		break;
	default:
		write_queue_area(dev, reg, v);
		break;
	}
}

static uint32_t read_register(struct virtio_dev *dev, uint64_t reg)
{
	switch (reg) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return dev->ops->device_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return dev->device_features_sel < 2
			       ? (uint32_t)(dev->features >> 32 * dev->device_features_sel)
			       : 0;
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return dev->queue_sel ? 0 : VIRTIO_QUEUE_MAX;
	case VIRTIO_MMIO_QUEUE_READY:
		return !dev->queue_sel && dev->queue_ready;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
		return UINT32_MAX; /* no shared memory */
	default:
		return 0;
	}
}

/* Registers that need no lock, as the guest's interrupt handler uses them. */
static bool access_lockless(struct virtio_dev *dev, uint64_t reg, void *data, bool write)
{
	switch (reg) {
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (write)
			kick(dev);
		else
			bus_put(data, 4, 0);
		return true;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		if (!write)
			bus_put(data, 4, atomic_load(&dev->interrupt_status));
		return true;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		if (write)
			atomic_fetch_and(&dev->interrupt_status, ~(unsigned int)bus_get(data, 4));
		else
			bus_put(data, 4, 0);
		return true;
	case VIRTIO_MMIO_STATUS:
		if (write)
			return false;
		bus_put(data, 4, atomic_load(&dev->status));
		return true;
	}
	return false;
}

static void access_config(struct virtio_dev *dev, uint64_t offset, void *data, unsigned int size,
			  bool write)
{
	if (write)
		return;
	memset(data, 0, size);
	if (offset < dev->config_bytes)
		memcpy(data, dev->config + offset, MIN(size, dev->config_bytes - offset));
}

static void virtio_access(void *arg, uint64_t reg, void *data, unsigned int size, bool write)
{
	struct virtio_dev *dev = arg;

	if (reg >= CONFIG_OFFSET) {
		access_config(dev, reg - CONFIG_OFFSET, data, size, write);
		return;
	}
	if (size != 4 || reg % 4) { /* registers are 32 bits wide (4.2.2.2) */
		if (!write)
			memset(data, 0, size);
		return;
	}
	if (access_lockless(dev, reg, data, write))
		return;
	pthread_mutex_lock(&dev->lock);
	if (write)
		write_register(dev, reg, (uint32_t)bus_get(data, 4));
	else
		bus_put(data, 4, read_register(dev, reg));
	pthread_mutex_unlock(&dev->lock);
}

static void connect_notifications(struct virtio_dev *dev)
{
	struct machine *m = dev->m;

	dev->kick_fd = eventfd(0, EFD_CLOEXEC);
	if (dev->kick_fd < 0)
		die("eventfd: %s", strerror(errno));
	if (m->has_ioeventfd) {
		struct kvm_ioeventfd io = { .addr = virtio_gpa(dev) + VIRTIO_MMIO_QUEUE_NOTIFY,
					    .len = 4,
					    .fd = dev->kick_fd };

		if (ioctl(m->vm_fd, KVM_IOEVENTFD, &io) < 0)
			die("KVM_IOEVENTFD: %s", strerror(errno));
	}
	dev->irq_fd = -1;
	if (m->has_irqfd) {
		struct kvm_irqfd irq = { .gsi = virtio_gsi(dev) };

		dev->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		irq.fd = (uint32_t)dev->irq_fd;
		if (dev->irq_fd < 0)
			die("eventfd: %s", strerror(errno));
		if (ioctl(m->vm_fd, KVM_IRQFD, &irq) < 0)
			die("KVM_IRQFD: %s", strerror(errno));
	}
}

void virtio_create(struct machine *m, const struct virtio_ops *ops, void *priv, uint64_t features,
		   const void *config, size_t config_bytes)
{
	struct virtio_dev *dev = xcalloc(1, sizeof(*dev));
	int error;

	if (m->nvirtio == MEZZ_MAX_VIRTIO)
		die("too many devices: at most %d", MEZZ_MAX_VIRTIO);
	dev->m = m;
	dev->ops = ops;
	dev->priv = priv;
	dev->config = config;
	dev->config_bytes = config_bytes;
	dev->features = features | 1ULL << VIRTIO_F_VERSION_1 |
			1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VIRTIO_RING_F_EVENT_IDX;
	dev->index = m->nvirtio;
	m->virtio[m->nvirtio++] = dev;
	pthread_mutex_init(&dev->lock, NULL);
	connect_notifications(dev);
	bus_add(&m->mmio, virtio_gpa(dev), GPA_VIRTIO_STRIDE, virtio_access, dev);
	error = pthread_create(&dev->thread, NULL, virtio_main, dev);
	if (error)
		die("cannot start a device's thread: %s; raise `ulimit -u`", strerror(error));
}

void virtio_destroy_all(struct machine *m)
{
	for (unsigned int i = 0; i < m->nvirtio; i++) {
		struct virtio_dev *dev = m->virtio[i];

		atomic_store(&dev->stop, true);
		kick(dev);
		pthread_join(dev->thread, NULL);
		close(dev->kick_fd);
		if (dev->irq_fd >= 0)
			close(dev->irq_fd);
		if (dev->ops->destroy)
			dev->ops->destroy(dev->priv);
		pthread_mutex_destroy(&dev->lock);
		free(dev);
	}
	m->nvirtio = 0;
}

size_t iov_bytes(const struct iovec *iov, unsigned int n)
{
	size_t bytes = 0;

	for (unsigned int i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

bool iov_take(struct iovec *iov, unsigned int n, void *buf, size_t bytes)
{
	uint8_t *p = buf;

	if (iov_bytes(iov, n) < bytes)
		return false;
	for (unsigned int i = 0; bytes; i++) {
		size_t part = MIN(iov[i].iov_len, bytes);

		memcpy(p, iov[i].iov_base, part);
		iov[i].iov_base = (uint8_t *)iov[i].iov_base + part;
		iov[i].iov_len -= part;
		p += part;
		bytes -= part;
	}
	return true;
}
