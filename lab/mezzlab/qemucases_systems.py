# SPDX-License-Identifier: GPL-2.0-only
"""Cases of lab/qemu-tests that boot whole systems and let them work: those that are not
Linux, with drivers, page tables and modes of the CPU of their own, and a Debian from its
packages. iPXE and OVMF are in qemucases_more.py. All long.
"""
import hashlib
import os
import re
import subprocess
import zlib

from .pc import Failed, Skip, check
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


@case
def memtest(lab):
    """memtest86+, in long mode with paging of its own: six kinds of test, no error."""
    image = f'{lab.guest}/memtest.bin'
    if not os.path.exists(image):
        raise Skip('lab/install --long was not there before lab/guest')
    machine = lab.start('-kernel', image, '-append', 'console=ttyS0,115200', '-device', 'VGA', memory=12,
                        kernel=False)
    console = machine.console
    console.wait_for(r'#6 ', 600)
    console.wait_for(r'Errors: *\d', 60)
    # The screen is repeated in pieces: the counter of errors comes each time.
    counted = re.findall(r'Errors: *(\d+)', console.text)
    if set(counted) != {'0'}:
        raise Failed(f'memory errors: {counted[-1]}')
    machine.qmp('quit')
    machine.wait_end()


@case
def xen(lab):
    """Xen, with Linux as its first domain: segments, rings and a timer that few others use so."""
    image = f'{lab.guest}/xen'
    if not os.path.exists(image):
        raise Skip('lab/install --long was not there before lab/guest')
    # No SMAP: QEMU 7.2 takes the stack of an IRET in ring 3 for the supervisor's.
    machine = lab.start('-no-reboot', '-kernel', image, '-append', 'com1=115200,8n1 console=com1 dom0_mem=512M',
                        '-initrd', f'{lab.guest}/vmlinuz console=hvc0 quiet panic=-1,{lab.guest}/pc.img',
                        cpu='host,-smap', memory=1024, kernel=False)
    machine.wait_ready(900)
    check(machine.sh('cat /sys/hypervisor/type').strip() == 'xen', 'not on Xen')
    machine.sh('sleep 0.2; memwork 16 3', 300)
    machine.power_off()


@case
def debian(lab):
    """Debian 12 from its packages, with systemd: a login, gcc, stress-ng, power-off, a clean disk."""
    if not os.path.exists(f'{lab.guest}/debian.img'):
        raise Skip('no debian.img: lab/debian builds it')
    path, raw = f'{lab.folder}/debian.qcow2', f'{lab.folder}/debian.raw'
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b',
                    os.path.realpath(f'{lab.guest}/debian.img'), path], check=True)
    machine = lab.start('-drive', f'file={path},format=qcow2,if=virtio', '-kernel', f'{lab.guest}/vmlinuz',
                        '-initrd', f'{lab.guest}/initrd.img', '-append', 'console=ttyS0 root=/dev/vda quiet',
                        memory=512, kernel=False)
    machine.console.wait_for('mezz login: ', 1500)
    machine.send('root')
    machine.console.wait_for('# ', 300)
    # From here on like guest-pc-init; the quotes keep the echo from being taken for the answer.
    machine.send('stty -echo; exec sh -c \'echo @"ready" 1; while read -r line; do eval "$line"; '
                 'echo "@done $?"; done\'')
    machine.wait_ready()
    failed = machine.sh('systemctl list-units --failed --plain --no-legend').strip()
    check(not failed, f'services that failed: {failed}')
    machine.sh('gcc -O2 -Wall -Werror -static -o /root/memwork /root/memwork.c', 600)
    check('memwork: ok' in machine.sh('/root/memwork 16 3', 300), 'the program that the guest compiled')
    said = machine.sh('stress-ng --verify --cpu 1 --vm 1 --vm-bytes 16M --hdd 1 --hdd-bytes 4M --timeout 20 2>&1', 900)
    check('successful run completed' in said, f'stress-ng: {said}')
    machine.send('systemctl poweroff')
    machine.wait_end(600)
    subprocess.run(['qemu-img', 'convert', '-O', 'raw', path, raw], check=True)
    done = subprocess.run(['e2fsck', '-fn', raw], capture_output=True, text=True, check=False)
    check(done.returncode == 0 and 'recovery' not in done.stdout + done.stderr, f'e2fsck: {done.stdout}')
