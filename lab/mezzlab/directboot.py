# SPDX-License-Identifier: GPL-2.0-only
"""Direct boot of a Linux kernel in Bochs, without a boot loader.

Bochs can load files into guest memory before it starts. With the unpacked
kernel, the initrd and a filled-in zero page in memory, a boot sector that
enters long mode and jumps (bochs-mbr.S) replaces GRUB, the reading of disks
and the decompression: 0.45 G emulated instructions instead of 8.4 G.
"""
import lzma
import os
import struct
import subprocess
import zlib

from . import cache

ZERO_PAGE, CMDLINE, PML4, KERNEL, INITRD = 0x90000, 0x91000, 0x92000, 0x1000000, 0x8000000
DISK_BYTES = 20 * 16 * 63 * 512


def _unpacked(image):
    """The ELF file inside a bzImage with an xz, gzip, lz4 or zstd payload."""
    setup_sectors = (image[0x1f1] or 4) + 1
    offset, length = struct.unpack_from('<II', image, 0x248)
    start = setup_sectors * 512 + offset
    payload = image[start:start + length]
    if payload[:6] == b'\xfd7zXZ\0':
        return lzma.LZMADecompressor().decompress(payload)
    if payload[:2] == b'\x1f\x8b':
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(payload)
    for magic, program in (b'\x02\x21\x4c\x18', 'lz4'), (b'\x28\xb5\x2f\xfd', 'zstd'):
        if payload[:4] == magic:
            # the last four bytes are the kernel's own, and the program complains of them
            return subprocess.run([program, '-dc', '-'], input=payload[:-4], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, check=False).stdout
    raise cache.LabError('cannot unpack a kernel whose payload starts with ' + payload[:6].hex())


def _flat(elf):
    """The entry address of an ELF kernel, and its segments as one block."""
    entry, headers = struct.unpack_from('<QQ', elf, 24)
    segments = []
    for index in range(struct.unpack_from('<H', elf, 56)[0]):
        kind, _, offset, _, physical, size, _, _ = struct.unpack_from('<IIQQQQQQ', elf, headers + 56 * index)
        if kind == 1:
            segments.append((offset, physical, size))
    if min(physical for _, physical, _ in segments) != KERNEL:
        raise cache.LabError('the kernel is not linked at 16 MiB')
    flat = bytearray(max(physical + size for _, physical, size in segments) - KERNEL)
    for offset, physical, size in segments:
        flat[physical - KERNEL:physical - KERNEL + size] = elf[offset:offset + size]
    return entry, flat


def flat_kernel(kernel):
    """The path of KERNEL unpacked, and its entry address; kept in the cache."""
    path = os.path.join(kernel.base, 'vmlinux.flat')
    if not os.path.exists(path + '.entry'):
        with open(kernel.image, 'rb') as handle:
            entry, flat = _flat(_unpacked(handle.read()))
        for name, data in (path, flat), (path + '.entry', str(entry).encode()):
            with open(f'{name}.{os.getpid()}', 'wb') as handle:
                handle.write(data)
            os.rename(f'{name}.{os.getpid()}', name)
    with open(path + '.entry', encoding='ascii') as handle:
        return path, int(handle.read())


def zero_page(kernel, initrd_size, cmdline, memory):
    """What the boot protocol wants in memory: the zero page, the command line,
    and page tables. MEMORY is in bytes."""
    with open(kernel.image, 'rb') as handle:
        image = handle.read(0x1000)
    page = bytearray(0x1000)
    end = 0x202 + image[0x201]
    page[0x1f1:end] = image[0x1f1:end]
    page[0x210] = 0xff                                      # type_of_loader: undefined
    page[0x211] |= 1                                        # LOADED_HIGH
    struct.pack_into('<II', page, 0x218, INITRD, initrd_size)
    struct.pack_into('<I', page, 0x228, CMDLINE)
    page[0x6], page[0x7], page[0xe], page[0xf] = 3, 80, 25, 1   # a text screen
    struct.pack_into('<H', page, 0x10, 16)
    top = memory - 0x10000                                  # Bochs' BIOS puts ACPI there
    e820 = [(0, 0x9f000, 1), (0x9f000, 0x1000, 2), (0xe8000, 0x18000, 2),
            (0x100000, top - 0x100000, 1), (top, 0x10000, 3), (0xfffc0000, 0x40000, 2)]
    page[0x1e8] = len(e820)
    for index, entry in enumerate(e820):
        struct.pack_into('<QQI', page, 0x2d0 + 20 * index, *entry)
    tables = bytearray(0x2000)
    struct.pack_into('<Q', tables, 0, PML4 + 0x1003)
    for index in range(4):
        struct.pack_into('<Q', tables, 0x1000 + 8 * index, PML4 + 0x2003 + index * 0x1000)
    directories = b''.join(struct.pack('<Q', (index << 21) | 0x83) for index in range(2048))
    line = cmdline.encode() + b'\0'
    if len(line) > 0x800:
        raise cache.LabError("the kernel's command line is too long")
    return bytes(page) + line.ljust(0x1000, b'\0') + bytes(tables) + directories


def boot_disk(entry, folder):
    """Writes FOLDER/disk.img with the boot sector that jumps to ENTRY."""
    source = os.path.join(cache.ROOT, 'lab/bochs-mbr.S')
    addresses = [f'-DPML4_AT={PML4:#x}', f'-DZERO_AT={ZERO_PAGE:#x}', f'-DENTRY_AT={entry:#x}']
    subprocess.run(['gcc', '-c', *addresses, '-o', folder + '/mbr.o', source], check=True)
    subprocess.run(['ld', '-Ttext=0x7c00', '--oformat', 'binary', '-o', folder + '/disk.img', folder + '/mbr.o'],
                   check=True)
    os.truncate(folder + '/disk.img', DISK_BYTES)
