# SPDX-License-Identifier: GPL-2.0-only
"""More cases of lab/qemu-tests, all of them long: firmware and systems that are not
Linux, what is plugged in while the guest runs, the debugger's stub, and the ways to
migrate that qemucases.py leaves out.
"""
import contextlib
import os
import socket
import subprocess
import threading
import time

from . import cache
from .pc import Failed, Skip, check, not_on_kvm
from .qemucases import (LOG, NO_IRQCHIP, POSTCOPY, RING, appears, block_device, case, disk_case, healthy,
                        migration, ping, ring_or_skip, smp)

OVMF = '/usr/share/OVMF/OVMF_CODE_4M.fd'
OVMF_VARS = '/usr/share/OVMF/OVMF_VARS_4M.fd'


# --- CPUs ---

@case
def smp_4(lab):
    """Four CPUs, x2APIC."""
    smp(lab, 4, cpu='host,+x2apic')


@case
def boot_cpu(lab):
    """QEMU's own choice of a boot CPU among four in two sockets."""
    machine = lab.boot('-smp', '4,sockets=2,cores=2', cpus=4)
    healthy(machine, 4)
    machine.power_off()


# --- firmware and systems that are not Linux ---

def ovmf(lab, **options):
    if not os.path.exists(OVMF):
        raise Skip('no package ovmf')
    not_on_kvm("QEMU's emulated CPU aborts (docs/lab.md: CR8)")
    variables = f'{lab.folder}/vars.fd'
    with open(OVMF_VARS, 'rb') as source, open(variables, 'wb') as target:
        target.write(source.read())
    return lab.start('-drive', f'if=pflash,format=raw,readonly=on,file={OVMF}',
                     '-drive', f'if=pflash,format=raw,file={variables}', **options), variables


@case
def ovmf_linux(lab):
    """OVMF from read-only flash boots the guest and keeps its variables."""
    machine, variables = ovmf(lab, machine='q35')
    machine.wait_ready(300)
    healthy(machine)
    machine.sh('test -d /sys/firmware/efi')
    machine.power_off()
    with open(variables, 'rb') as now, open(OVMF_VARS, 'rb') as before:
        check(now.read() != before.read(), 'no variable was written to the flash')


@case
def ovmf_shell(lab):
    """OVMF's shell, a system that is not Linux, answers on the serial line."""
    machine, _ = ovmf(lab, machine='q35', kernel=False)
    console = machine.console
    console.wait_for('Shell>', 300)
    machine.send('ver\r')
    console.wait_for('UEFI .*Shell v')
    machine.send('reset -s\r')
    machine.wait_end()


@case
def ipxe(lab):
    """iPXE, from a network card's ROM, gets an address."""
    machine = lab.start('-netdev', 'user,id=n', '-device', 'e1000,netdev=n', '-boot', 'n',
                        machine='pc,graphics=off', kernel=False)
    machine.console.wait_for('iPXE')
    machine.console.wait_for('net0: 10.0.2.15')


# --- devices, and what is plugged in ---

@case
def virtio_blk_iothread(lab):
    """virtio-blk in a thread of its own: ioeventfd and irqfd."""
    disk_case(lab, 'virtio_pci virtio_blk', 'vda', '-object', 'iothread,id=t',
              '-device', 'virtio-blk-pci,drive=d,iothread=t')


@case
def vhost_net(lab):
    """vhost-net on a tap device: the host's kernel does the work, by irqfd and ioeventfd."""
    for module in 'tun', 'vhost_net':
        if subprocess.run(['modprobe', module], check=False, stderr=subprocess.DEVNULL).returncode:
            raise Skip(f'no module {module}')
    setup = 'ip tuntap add dev mezztap mode tap && ip addr add 192.168.77.1/24 dev mezztap && ip link set mezztap up'
    subprocess.run(['sh', '-c', f'ip link show mezztap >/dev/null 2>&1 || {{ {setup}; }}'], check=True)
    guest = lab.boot('-netdev', 'tap,id=n,ifname=mezztap,script=no,downscript=no,vhost=on,vhostforce=on',
                     '-device', 'virtio-net-pci,netdev=n,romfile=')
    guest.sh('load virtio_pci virtio_net af_packet')
    ping(guest, '192.168.77.2/24', '192.168.77.1')
    guest.power_off()


def echo(listener):
    """Sends back what one client sends, until it has no more."""
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


@case
def vhost_vsock(lab):
    """vhost-vsock: two MiB from the guest's socket to the host's and back."""
    if subprocess.run(['modprobe', 'vhost_vsock'], check=False, stderr=subprocess.DEVNULL).returncode:
        raise Skip('no module vhost_vsock')
    guest = lab.boot('-device', 'vhost-vsock-pci,guest-cid=77')
    guest.sh('load virtio_pci vmw_vsock_virtio_transport')
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listener:
        listener.bind((socket.VMADDR_CID_ANY, 7000))
        listener.listen(1)
        server = threading.Thread(target=echo, args=(listener,), daemon=True)
        server.start()
        check('vsockecho: ok' in guest.sh('vsockecho 7000 2048'), 'not what was sent')
        server.join(10)
        check(not server.is_alive(), 'the guest has closed its socket, the host does not see it')
    taken = guest.sh("awk '/PCI-MSI.*virtio/ { n += $2 } END { print n }' /proc/interrupts")
    check(int(taken) >= 256, f'{taken} interrupts of the device')
    guest.power_off()


@case
def balloon(lab):
    """The balloon takes memory and gives it back."""
    guest = lab.boot('-device', 'virtio-balloon-pci', memory=512)
    guest.sh('load virtio_pci virtio_balloon')
    for megabytes in 320, 512:
        guest.qmp('balloon', value=megabytes << 20)
        for _ in range(200):
            if guest.qmp('query-balloon')['actual'] == megabytes << 20:
                break
            time.sleep(0.1)
        else:
            raise Failed(f'the balloon did not get to {megabytes} MiB')
    guest.sh('memwork 200 2')
    guest.power_off()


CGROUPS = '/sys/fs/cgroup'
SWAP = '/dev/nullb0'


def put(path, value):
    with open(path, 'w', encoding='ascii') as handle:
        handle.write(str(value))


@contextlib.contextmanager
def short_of_memory(lab, megabytes):
    """What is started meanwhile has so much memory, and swap that takes half a millisecond."""
    if not os.path.exists(f'{CGROUPS}/cgroup.procs'):
        subprocess.run(['mount', '-t', 'cgroup2', 'cgroup2', CGROUPS], check=True)
    with open(f'{CGROUPS}/cgroup.controllers', encoding='ascii') as handle:
        if 'memory' not in handle.read().split():
            raise Skip('no cgroups that limit memory')
    slow = 'memory_backed=1 gb=1 irqmode=2 completion_nsec=500000'
    if os.path.exists(SWAP) or subprocess.run(['modprobe', 'null_blk', *slow.split()], check=False,
                                              stderr=subprocess.DEVNULL).returncode:
        raise Skip('no module null_blk')
    group = f'{CGROUPS}/mezz-swap'
    try:
        subprocess.run(['sh', '-c', f'mkswap {SWAP} && swapon {SWAP}'], check=True, stdout=subprocess.DEVNULL)
        put(f'{CGROUPS}/cgroup.subtree_control', '+memory')
        os.makedirs(group, exist_ok=True)
        put(f'{group}/memory.max', megabytes << 20)
        put(f'{group}/cgroup.procs', os.getpid())
        yield
    finally:
        put(f'{CGROUPS}/cgroup.procs', os.getpid())
        lab.close()
        subprocess.run(['sh', '-c', f'swapoff {SWAP}; rmmod null_blk; rmdir {group}'], check=False)


@case
def swapped_out(lab):
    """The host swaps: the guest runs another task while it waits for a page, and loses none."""
    with short_of_memory(lab, 160):
        guest = lab.boot(memory=320)
        guest.sh('memwork 90 3 >/tmp/1 & memwork 90 3 >/tmp/2 & wait', 300)
        good = guest.sh('grep -l "memwork: ok" /tmp/[12]').split()
        check(len(good) == 2, f'only {good} were right')
        # "Page ready" comes by this vector.
        told = guest.sh("awk '$1 == \"HYP:\" { print $2 }' /proc/interrupts").split()
        check(told and int(told[0]) > 0, f'the guest never was told of a page: {told}')
        guest.power_off()


@case
def hotplug_pci(lab):
    """A disk is plugged in, used, and pulled out."""
    guest = lab.boot('-drive', f'file={lab.disk("disk")},format=raw,if=none,id=d')
    guest.sh('load virtio_pci virtio_blk')
    guest.qmp('device_add', driver='virtio-blk-pci', drive='d', id='disk')
    block_device(guest, 'vda')
    guest.qmp('device_del', id='disk')
    guest.monitor.event('DEVICE_DELETED')
    guest.sh('test ! -e /dev/vda')
    guest.power_off()


@case
def hotplug_cpu(lab):
    """A vCPU that was not there at boot joins."""
    guest = lab.boot('-smp', '1,maxcpus=2')
    place = [cpu for cpu in guest.qmp('query-hotpluggable-cpus') if 'qom-path' not in cpu][0]
    guest.qmp('device_add', driver=place['type'], id='c', **place['props'])
    appears(guest, '-e /sys/devices/system/cpu/cpu1')
    guest.sh('echo 1 >/sys/devices/system/cpu/cpu1/online')
    healthy(guest, 2)
    guest.sh('taskset 2 memwork 4 20')
    guest.power_off()


@case
def hotplug_memory(lab):
    """Memory that was not there at boot joins (a memory slot beside a running guest)."""
    guest = lab.boot('-m', '256,slots=2,maxmem=1G')
    guest.sh('echo online >/sys/devices/system/memory/auto_online_blocks')
    before = int(guest.sh("sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
    guest.qmp('object-add', qom_type='memory-backend-ram', id='m', size=256 << 20)
    guest.qmp('device_add', driver='pc-dimm', id='dimm', memdev='m')
    appears(guest, f"$(sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo) -gt {before + 200000}")
    guest.sh('memwork 300 2')
    guest.power_off()


# --- debugger, faults, NMI ---

def gdb(lab, guest, *commands):
    """Runs gdb's COMMANDS on the guest; returns what gdb said."""
    argv = ['gdb', '-nx', '-batch', '-ex', 'set architecture i386:x86-64', '-ex', f'target remote {lab.folder}/gdb']
    for line in commands:
        argv += ['-ex', line]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=120, check=False)
    check(guest.process.poll() is None, f'QEMU ended\n{done.stdout}')
    return done.stdout


@case
def gdbstub_step(lab):
    """QEMU's gdbstub: registers, memory, single steps; the guest goes on afterwards."""
    guest = lab.boot('-gdb', f'unix:{lab.folder}/gdb,server=on,wait=off', append='nokaslr')
    guest.send('memwork 1 100; echo over')
    said = gdb(lab, guest, *['stepi', 'printf "at %lx\\n", $rip'] * 20, 'x/2i $rip', 'detach')
    places = [line for line in said.splitlines() if line.startswith('at ')]
    check(len(places) == 20 and len(set(places)) > 5, f'it did not step:\n{said}')
    guest.console.wait_for('over')
    guest.console.wait_for('@done')
    guest.power_off()


@case
def triple_fault(lab):
    """A guest that shuts itself down by a triple fault is reset."""
    guest = lab.boot(append='reboot=t')
    guest.send('reboot -f')
    guest.wait_ready()
    guest.power_off()


@case
def nmi(lab):
    """An NMI that QEMU injects arrives."""
    guest = lab.boot()
    guest.qmp('inject-nmi')
    appears(guest, '"$(dmesg | grep \'NMI received\')"')
    guest.power_off()


# --- migration ---

@case
def migrate_smp(lab):
    """Live migration of two CPUs."""
    migration(lab, times=2, cpus=2)


@case
def migrate_split(lab):
    """Live migration with a split irqchip."""
    migration(lab, machine='q35,kernel-irqchip=split')


@case
def migrate_irqchip_off(lab):
    """Live migration without an irqchip in the kernel."""
    not_on_kvm(NO_IRQCHIP)
    migration(lab, machine='pc,kernel-irqchip=off')


@case
def migrate_postcopy(lab):
    """Postcopy: the guest runs before its memory is there (userfaultfd)."""
    migration(lab, POSTCOPY)


@case
def migrate_auto_converge(lab):
    """Live migration that throttles the guest."""
    migration(lab, ('kvm', {'capabilities': ('auto-converge', 'xbzrle')}))


@case
def migrate_many(lab):
    """50 live migrations: with the dirty log, with the dirty ring, postcopy, by turns."""
    ring_or_skip()
    migration(lab, LOG, RING, POSTCOPY, times=50)


def swap(old, new):
    """Unloads driver OLD and loads NEW."""
    for name in ('mezz',) if old == 'mezz' else ('kvm_amd', 'kvm'):
        subprocess.run(['rmmod', name], check=True)
    path = os.path.join(cache.ROOT, os.environ.get('MEZZ_BUILD', 'build'), os.uname().release, 'mezz.ko')
    subprocess.run(['insmod', path] if new == 'mezz' else ['modprobe', 'kvm_amd'], check=True)


def to_file(lab, guest, name):
    path = f'{lab.folder}/{name}'
    # The guest writes faster than a slow box saves: one pass has to do.
    guest.qmp('migrate-set-parameters', downtime_limit=60000, max_bandwidth=1 << 30)
    guest.qmp('migrate', uri=f'exec:cat >{path}')
    for _ in range(1200):
        status = guest.qmp('query-migrate').get('status')
        if status in ('completed', 'failed'):
            break
        time.sleep(0.1)
    check(status == 'completed', f'saving: {status}')
    guest.qmp('quit')
    guest.wait_end()
    return path


@case
def migrate_between_drivers(lab):
    """A guest saved on one driver, ours or in-tree KVM, goes on under the other, and back."""
    drivers = ['mezz', 'kvm'] if os.path.isdir('/sys/module/mezz') else ['kvm', 'mezz']
    options = {'cpu': 'qemu64', 'cpus': 2}
    guest = lab.boot(**options)
    guest.send('for i in $(seq 2); do memwork 8 & done; wait')
    guest.console.wait_for('memwork: round')
    loaded = drivers[0]
    try:
        for new in drivers[1], drivers[0]:
            path = to_file(lab, guest, f'saved.{new}')
            swap(loaded, new)
            loaded = new
            guest = lab.start('-incoming', f'exec:cat {path}', **options)
            for _ in range(4):
                guest.console.wait_for('memwork: round')
            check('BAD' not in guest.console.text, 'memory or clock went wrong')
    finally:
        lab.close()
        if loaded != drivers[0]:
            swap(loaded, drivers[0])
