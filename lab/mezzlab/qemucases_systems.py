# SPDX-License-Identifier: GPL-2.0-only
"""Cases of lab/qemu-tests that boot systems other than Linux, and let them work: their own
drivers, page tables and modes of the CPU. iPXE and OVMF are in qemucases_more.py. All long.
"""
import hashlib
import os
import re
import subprocess
import zlib

from .pc import Skip, check
from .qemucases import case

U_BOOT = '/usr/lib/u-boot/qemu-x86/u-boot.rom'
GRUB = '/usr/lib/grub/i386-pc'
GRUB_MODULES = ('biosdisk serial terminal normal echo test cpuid lsmmap ls hashsum gcry_sha256 tar linux').split()
GRUB_CONFIG = 'serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\n'


def ask(machine, line, answer):
    """Types LINE to a boot loader, and waits for a match of ANSWER, which LINE must not be."""
    machine.send(line)
    return machine.console.wait_for(answer)


def random_disk(lab, name, size):
    """A disk with random data: its path, and the data."""
    data = os.urandom(size)
    path = f'{lab.folder}/{name}'
    with open(path, 'wb') as handle:
        handle.write(data)
    return path, data


@case
def u_boot(lab):
    """U-Boot as the firmware: memory, a disk, PCI, the clock, a reset."""
    if not os.path.exists(U_BOOT):
        raise Skip('no package u-boot-qemu')
    path, data = random_disk(lab, 'disk', 1 << 20)
    machine = lab.start('-bios', U_BOOT, '-drive', f'file={path},format=raw,if=ide', kernel=False)
    machine.console.wait_for('Hit any key')
    machine.send('')
    machine.console.wait_for('^=> ')
    filled = zlib.crc32(b'\xef\xbe\xad\xde' * 0x40000)
    ask(machine, 'mw.l 1000000 deadbeef 40000; crc32 1000000 100000', f'==> {filled:08x}')
    ask(machine, 'ide reset', r'Capacity: .*\n(.*\n)*=> ')
    ask(machine, 'ide read 1000000 0 800; crc32 1000000 100000', f'==> {zlib.crc32(data):08x}')
    ask(machine, 'pci', '0x8086 *0x1237')
    spent = float(ask(machine, 'time sleep 2', r'time: ([0-9.]+) seconds').group(1))
    check(1.9 < spent < 4, f'two seconds took {spent}')
    ask(machine, 'reset', '^U-Boot ')
    machine.console.wait_for('Hit any key')
    machine.qmp('quit')
    machine.wait_end()


def grub_disk(lab):
    """A disk that GRUB boots from, without partitions or files."""
    config, core, path = (f'{lab.folder}/{name}' for name in ('grub.cfg', 'core.img', 'grub.img'))
    with open(config, 'w', encoding='ascii') as handle:
        handle.write(GRUB_CONFIG)
    subprocess.run(['grub-mkimage', '-d', GRUB, '-O', 'i386-pc', '-p', '(hd0)', '-c', config, '-o', core,
                    *GRUB_MODULES], check=True)
    with open(path, 'wb') as disk:
        for part in f'{GRUB}/boot.img', core:
            with open(part, 'rb') as handle:
                disk.write(handle.read())
        disk.truncate(4 << 20)
    return path


@case
def grub(lab):
    """GRUB, from a disk: CPUID, the memory map, another disk's files by the BIOS, and it boots Linux."""
    if not os.path.exists(f'{GRUB}/boot.img'):
        raise Skip('no package grub-pc-bin')
    files = f'{lab.folder}/files.tar'
    subprocess.run(['tar', '-cf', files, '-C', lab.guest, 'vmlinuz', 'pc.img'], check=True)
    with open(f'{lab.guest}/vmlinuz', 'rb') as handle:
        wanted = hashlib.sha256(handle.read()).hexdigest()
    machine = lab.start('-drive', f'file={grub_disk(lab)},format=raw,if=ide',
                        '-drive', f'file={files},format=raw,if=ide', kernel=False)
    machine.console.wait_for('grub> ')
    ask(machine, 'if cpuid -l; then echo long mode; fi', '^long mode')
    ask(machine, 'lsmmap', 'base_addr = 0x100000, .* available RAM')
    ask(machine, 'ls', r'\(hd1\)')
    ask(machine, 'sha256sum (hd1)/vmlinuz', wanted)
    ask(machine, 'linux (hd1)/vmlinuz console=ttyS0 quiet panic=-1', '^grub> ')
    ask(machine, 'initrd (hd1)/pc.img', '^grub> ')
    machine.send('boot')
    machine.wait_ready()
    machine.power_off()
