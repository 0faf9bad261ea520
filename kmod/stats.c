// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_GET_STATS_FD: a read-only descriptor in KVM's binary statistics format
 * (header, id string, descriptors, data; Documentation/virt/kvm/api.rst,
 * "KVM_GET_STATS_FD"). The data block is read live, without a lock: a vCPU's
 * counter has one writer, a VM's are atomic, and 64-bit loads do not tear.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_types.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ops.h"
#include "vcpu.h"

#define ID_SIZE 48

#define STAT_NAME(n) #n,
static const char *const vcpu_names[] = { MEZZ_VCPU_STATS(STAT_NAME) };
static const char *const vm_names[] = { MEZZ_VM_STATS(STAT_NAME) };

/* struct kvm_stats_desc with a name of known size; some headers give it none. */
struct stats_entry {
	u32 flags;
	s16 exponent;
	u16 size;
	u32 offset;
	u32 bucket_size;
	char name[KVM_STATS_NAME_SIZE];
};

static_assert(offsetof(struct stats_entry, name) == offsetof(struct kvm_stats_desc, name));
static_assert(offsetof(struct stats_entry, offset) == offsetof(struct kvm_stats_desc, offset));

/**
 * struct stats_file - what stands behind a statistics descriptor
 * @vm: referenced
 * @data: the live counters
 * @data_size: bytes of @data
 * @head_size: bytes of @head
 * @head: header, id string and descriptors
 */
struct stats_file {
	struct mezz_vm *vm;
	const u64 *data;
	size_t data_size, head_size;
	u8 head[];
};

/* Copy what of [@off, @off + @len) overlaps [*@pos, *@pos + *@left). */
static int copy_part(char __user **to, size_t *left, loff_t *pos, const void *from,
		     loff_t off, size_t len)
{
	size_t skip, n;

	if (!*left || *pos < off || *pos >= off + (loff_t)len)
		return 0;
	skip = *pos - off;
	n = min(*left, len - skip);
	if (copy_to_user(*to, from + skip, n))
		return -EFAULT;
	*to += n;
	*pos += n;
	*left -= n;
	return 0;
}

static ssize_t stats_read(struct file *f, char __user *to, size_t left, loff_t *ppos)
{
	struct stats_file *s = f->private_data;
	loff_t pos = *ppos;
	size_t want = left;
	int r;

	if (pos < 0)
		return -EINVAL;
	r = copy_part(&to, &left, &pos, s->head, 0, s->head_size);
	if (!r)
		r = copy_part(&to, &left, &pos, s->data, s->head_size, s->data_size);
	if (r)
		return r;
	*ppos = pos;
	return want - left;
}

static int stats_release(struct inode *inode, struct file *f)
{
	struct stats_file *s = f->private_data;

	mezz_vm_put(s->vm);
	kfree(s);
	return 0;
}

static const struct file_operations stats_fops = {
	.owner = THIS_MODULE,
	.read = stats_read,
	.release = stats_release,
	.llseek = noop_llseek,
};

static struct stats_file *build(const char *id, const char *const *names, unsigned int n,
				unsigned int first_instant, unsigned int nr_instant)
{
	size_t head = sizeof(struct kvm_stats_header) + ID_SIZE +
		      n * sizeof(struct stats_entry);
	struct stats_file *s = kzalloc(struct_size(s, head, head), GFP_KERNEL_ACCOUNT);
	struct kvm_stats_header *h;
	struct stats_entry *e;
	unsigned int i;

	if (!s)
		return NULL;
	h = (void *)s->head;
	h->name_size = KVM_STATS_NAME_SIZE;
	h->num_desc = n;
	h->id_offset = sizeof(*h);
	h->desc_offset = h->id_offset + ID_SIZE;
	h->data_offset = head;
	strscpy(s->head + h->id_offset, id, ID_SIZE);
	e = (void *)s->head + h->desc_offset;
	for (i = 0; i < n; i++) {
		e[i].flags = KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10 |
			(i - first_instant < nr_instant ? KVM_STATS_TYPE_INSTANT :
			 KVM_STATS_TYPE_CUMULATIVE);
		e[i].size = 1;
		e[i].offset = i * sizeof(u64);
		strscpy(e[i].name, names[i], KVM_STATS_NAME_SIZE);
	}
	s->head_size = head;
	s->data_size = n * sizeof(u64);
	return s;
}

static int open_stats(struct stats_file *s, struct mezz_vm *vm, const u64 *data,
		      const char *name)
{
	struct file *f;
	int fd;

	if (!s)
		return -ENOMEM;
	s->vm = vm;
	s->data = data;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		kfree(s);
		return fd;
	}
	f = anon_inode_getfile(name, &stats_fops, s, O_RDONLY);
	if (IS_ERR(f)) {
		put_unused_fd(fd);
		kfree(s);
		return PTR_ERR(f);
	}
	/* Released with the file. */
	mezz_vm_get(vm);
	/* Anonymous files do not have it, and pread() is how this is read. */
	f->f_mode |= FMODE_PREAD;
	fd_install(fd, f);
	return fd;
}

int mezz_vm_stats_fd(struct mezz_vm *vm)
{
	char id[ID_SIZE];

	snprintf(id, sizeof(id), "kvm-%u", vm->serial);
	/* Pages in use go up and down: the first four. */
	return open_stats(build(id, vm_names, MEZZ_NR_VM_STATS, 0, 4), vm, vm->stat,
			  "mezz-vm-stats");
}

int mezz_vcpu_stats_fd(struct mezz_vcpu *v)
{
	char id[ID_SIZE];

	snprintf(id, sizeof(id), "kvm-%u/vcpu-%d", v->vm->serial, v->id);
	return open_stats(build(id, vcpu_names, MEZZ_NR_VCPU_STATS, 0, 0), v->vm, v->stat,
			  "mezz-vcpu-stats");
}
