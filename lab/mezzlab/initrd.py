# SPDX-License-Identifier: GPL-2.0-only
"""Writes initial RAM disks (cpio, "newc" format), without being root.

Archives are uncompressed, because the emulated CPU would spend longer on
decompressing them than on reading them, and may be concatenated: a part that
depends on the kernel only, and a part for one run.
"""
import lzma
import os
import stat


class Archive:
    """An initrd in the making; bytes() gives the finished archive."""

    def __init__(self):
        self._parts = []
        self._inode = 0
        self._dirs = set()

    def _entry(self, name, mode, data=b'', device=(0, 0)):
        self._inode += 1
        name = name.encode() + b'\0'
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
        head = b'070701' + b''.join(b'%08x' % field for field in fields) + name
        self._parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]

    def directory(self, path):
        """Adds PATH and its parents."""
        path = path.strip('/')
        if not path or path in self._dirs:
            return
        self.directory(os.path.dirname(path))
        self._dirs.add(path)
        self._entry(path, stat.S_IFDIR | 0o755)

    def data(self, path, data, mode=0o755):
        """Adds a file PATH with the content DATA (str or bytes)."""
        path = path.strip('/')
        self.directory(os.path.dirname(path))
        self._entry(path, stat.S_IFREG | mode, data.encode() if isinstance(data, str) else data)

    def file(self, path, source):
        """Adds the file SOURCE of this machine as PATH."""
        with open(source, 'rb') as handle:
            self.data(path, handle.read(), stat.S_IMODE(os.stat(source).st_mode))

    def once(self, path):
        """Adds the file PATH of this machine under its own name, unless it is there."""
        if path not in self._dirs:
            self._dirs.add(path)
            self.file(path, path)

    def link(self, path, target):
        path = path.strip('/')
        self.directory(os.path.dirname(path))
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def node(self, path, major, minor):
        """Adds a character device; the first console needs one."""
        path = path.strip('/')
        self.directory(os.path.dirname(path))
        self._entry(path, stat.S_IFCHR | 0o600, device=(major, minor))

    def tree(self, path, source):
        """Adds the file, folder or symbolic link SOURCE, with what is in it."""
        if os.path.islink(source):
            self.link(path, os.readlink(source))
        elif os.path.isdir(source):
            self.directory(path)
            for name in sorted(os.listdir(source)):
                self.tree(os.path.join(path, name), os.path.join(source, name))
        else:
            self.file(path, source)

    def bytes(self):
        self._entry('TRAILER!!!', 0)
        data = b''.join(self._parts)
        return data + bytes(-len(data) % 512)


def plain_module(path):
    """The content of a kernel module, decompressed."""
    with open(path, 'rb') as handle:
        data = handle.read()
    return lzma.decompress(data) if path.endswith('.xz') else data


def module_name(path):
    """FOO.ko for a path that ends in FOO.ko or FOO.ko.xz"""
    name = os.path.basename(path)
    return name[:-3] if name.endswith('.xz') else name
