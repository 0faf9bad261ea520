# SPDX-License-Identifier: GPL-2.0-only
"""The cases of lab/qemu-tests.

A case is a function that takes a pc.Lab; its first line of documentation says what has
to hold. Those marked short are part of "make check", the others of "make check-long".
"""
import hashlib
import itertools
import time

from .pc import Failed, Skip, capability, check, not_on_kvm

CASES = []
KVM_CAP_DIRTY_LOG_RING = 192
NO_IRQCHIP = "it refuses MSR 0x4b564d06, which QEMU then sets to 0, and QEMU ends"


class Case:
    """One row of the table."""

    def __init__(self, run, short):
        self.run = run
        self.short = short
        self.name = run.__name__.replace('_', '-')
        self.what = run.__doc__.strip().splitlines()[0]


def case(function):
    CASES.append(Case(function, False))
    return function


def short_case(function):
    CASES.append(Case(function, True))
    return function


# --- machine types, interrupt controllers, CPUs ---

def healthy(machine, cpus=1):
    """The guest works: CPUs, clock, timers."""
    check(int(machine.sh('nproc')) == cpus, f'not {cpus} CPUs')
    source = machine.sh('cat /sys/devices/system/clocksource/clocksource0/current_clocksource').strip()
    check(source == 'kvm-clock', f'clock source {source}')
    machine.sh('sleep 0.2')
    # In-tree KVM offers an XSAVE area in a box that Linux finds inconsistent.
    bad = machine.sh(r"dmesg | grep -E 'BUG:|Oops|lockup|unchecked MSR|WARNING: CPU' | "
                     'grep -v fpu__init_system_xstate || true').strip()
    check(not bad, f"the guest's kernel complains: {bad}")


@short_case
def machine_pc(lab):
    """-machine pc, the full irqchip in the kernel."""
    machine = lab.boot()
    healthy(machine)
    machine.power_off()


@case
def machine_q35(lab):
    """-machine q35, the full irqchip in the kernel."""
    machine = lab.boot(machine='q35,kernel-irqchip=on')
    healthy(machine)
    machine.power_off()


@case
def machine_q35_split(lab):
    """-machine q35 with a split irqchip and two CPUs."""
    machine = lab.boot(machine='q35,kernel-irqchip=split', cpus=2)
    healthy(machine, 2)
    machine.power_off()


@case
def machine_pc_split(lab):
    """-machine pc with a split irqchip: PIC and IOAPIC are QEMU's."""
    machine = lab.boot(machine='pc,kernel-irqchip=split')
    healthy(machine)
    machine.power_off()


@short_case
def machine_irqchip_off(lab):
    """No irqchip in the kernel: LAPIC, IOAPIC and PIC are QEMU's."""
    not_on_kvm(NO_IRQCHIP)
    machine = lab.boot(machine='pc,kernel-irqchip=off')
    machine.sh('sleep 0.2')
    machine.power_off()


@case
def machine_microvm(lab):
    """-machine microvm, which has virtio-mmio and a split irqchip."""
    path = lab.disk('disk')
    machine = lab.boot('-drive', f'file={path},format=raw,if=none,id=d', '-device', 'virtio-blk-device,drive=d',
                       machine='microvm,acpi=on')
    healthy(machine)
    machine.sh('load virtio_mmio virtio_blk')
    block_device(machine, 'vda')
    # Not the guest's own reboot: until QEMU resets it, Linux tries other ways, and at
    # last jumps into the firmware on a CPU that was not reset. It ends anywhere, on
    # in-tree KVM as often as on ours: every few reboots one is an internal error.
    machine.qmp('system_reset')
    machine.wait_ready()
    machine.power_off()


@case
def cpu_qemu64(lab):
    """-cpu qemu64 instead of the host's CPU."""
    machine = lab.boot(cpu='qemu64')
    healthy(machine)
    machine.power_off()


@case
def cpu_max_no_kvm(lab):
    """A guest that is not told it runs under KVM."""
    machine = lab.boot(cpu='host,kvm=off')
    source = machine.sh('cat /sys/devices/system/clocksource/clocksource0/current_clocksource').strip()
    check(source != 'kvm-clock', 'it knows')
    machine.power_off()


def smp(lab, cpus, **options):
    machine = lab.boot(cpus=cpus, **options)
    healthy(machine, cpus)
    machine.sh('; '.join(f'taskset {1 << cpu:x} memwork 2 40 >/tmp/{cpu} &' for cpu in range(cpus)).replace('&;', '&'))
    machine.sh('wait')
    good = machine.sh('grep -l "memwork: ok" /tmp/[0-9]*').split()
    check(len(good) == cpus, f'only {good} were right')
    machine.power_off()


@case
def smp_2(lab):
    """Two CPUs that work in parallel."""
    smp(lab, 2)


# --- the screen ---

# Paints the screen in mode 13h, without anything that depends on time: a cross-hatch
# through the A0000 window, byte by byte and by REP STOSW.
PAINT = bytes.fromhex(
    'b81300cd10'        # mov ax, 13h; int 10h
    'b800a08ec0'        # mov ax, 0a000h; mov es, ax
    '31ff'              # xor di, di
    '89f8' '30e0' '26' '8805' '47' '81ffff7f' '75f2'  # 1: mov ax,di; xor al,ah; mov es:[di],al; inc di; cmp; jne
    'b82a2a' 'b90010' 'f3ab'                           # mov ax, 2a2ah; mov cx, 1000h; rep stosw
    'faf4ebfc')         # cli; 2: hlt; jmp 2b


def painted(lab, accel):
    """The hash of the screen after the boot sector ran, on ACCEL."""
    path = f'{lab.folder}/paint'
    with open(path, 'wb') as handle:
        handle.write(PAINT + bytes(510 - len(PAINT)) + b'\x55\xaa' + bytes(1 << 20))
    machine = lab.start('-drive', f'file={path},format=raw,if=ide', '-device', 'VGA', accel=accel,
                        cpu='qemu64', kernel=False)
    shot, before = f'{lab.folder}/{machine.name}.ppm', None
    for _ in range(120):
        machine.qmp('screendump', filename=shot)
        with open(shot, 'rb') as handle:
            picture = handle.read()
        # Many shades (text has few), and nothing changes any more.
        if picture == before and len(set(picture[15:])) > 24:
            break
        before = picture
        time.sleep(0.5)
    else:
        raise Failed(f'{accel}: the screen was not painted')
    machine.qmp('quit')
    machine.wait_end()
    return hashlib.sha256(picture).hexdigest()


@case
def screendump(lab):
    """VGA memory (dirty log): the screen is the one that QEMU's own CPU paints."""
    check(painted(lab, 'kvm') == painted(lab, 'tcg'), 'the pictures differ')


# --- devices ---

def appears(machine, condition):
    """Waits in the guest until test CONDITION holds."""
    machine.sh(f'i=0; until [ {condition} ]; do sleep 0.1; i=$((i+1)); [ $i -lt 300 ] || break; done; [ {condition} ]')


def block_device(machine, name):
    """Writes a disk, past the page cache, and reads it back."""
    appears(machine, f'-b /dev/{name}')
    machine.sh(f'head -c 1000000 /dev/urandom >/tmp/data; dd if=/tmp/data of=/dev/{name} bs=1M 2>/dev/null; sync; '
               'echo 3 >/proc/sys/vm/drop_caches')
    machine.sh(f'head -c 1000000 /dev/{name} | cmp - /tmp/data')


def disk_case(lab, driver, name, *device, machine='pc'):
    guest = lab.boot('-drive', f'file={lab.disk("disk")},format=raw,if=none,id=d', *device, machine=machine)
    guest.sh(f'load {driver}')
    block_device(guest, name)
    guest.power_off()


@short_case
def virtio_blk(lab):
    """virtio-blk with MSI-X."""
    disk_case(lab, 'virtio_pci virtio_blk', 'vda', '-device', 'virtio-blk-pci,drive=d,num-queues=1')


@case
def virtio_scsi(lab):
    """virtio-scsi with a disk."""
    disk_case(lab, 'virtio_pci sd_mod virtio_scsi', 'sda', '-device', 'virtio-scsi-pci', '-device', 'scsi-hd,drive=d')


@case
def nvme(lab):
    """NVMe."""
    disk_case(lab, 'nvme', 'nvme0n1', '-device', 'nvme,drive=d,serial=1', machine='q35')


@case
def ahci(lab):
    """AHCI."""
    disk_case(lab, 'sd_mod ahci', 'sda', '-device', 'ich9-ahci,id=a', '-device', 'ide-hd,drive=d,bus=a.0')


@case
def ide(lab):
    """PIIX IDE: port I/O, and INS and OUTS before DMA."""
    disk_case(lab, 'sd_mod ata_piix', 'sda', '-device', 'ide-hd,drive=d')


def ping(guest, address='10.0.2.15/24', gateway='10.0.2.2'):
    appears(guest, '-e /sys/class/net/eth0')
    guest.sh(f'ip addr add {address} dev eth0 && ip link set eth0 up')
    said = guest.sh(f'ping -c 5 -i 0.2 -w 20 {gateway}')
    check(' 0% packet loss' in said, f'lost packets: {said}')


@short_case
def virtio_net(lab):
    """virtio-net on QEMU's user network."""
    guest = lab.boot('-netdev', 'user,id=n', '-device', 'virtio-net-pci,netdev=n,romfile=')
    guest.sh('load virtio_pci virtio_net af_packet')
    ping(guest)
    guest.power_off()


@case
def e1000(lab):
    """e1000 with a level-triggered interrupt."""
    guest = lab.boot('-netdev', 'user,id=n', '-device', 'e1000,netdev=n,romfile=')
    guest.sh('load e1000 af_packet')
    ping(guest)
    guest.power_off()


@case
def e1000_split(lab):
    """e1000 with a level-triggered interrupt, IOAPIC in QEMU."""
    guest = lab.boot('-netdev', 'user,id=n', '-device', 'e1000,netdev=n,romfile=', machine='pc,kernel-irqchip=split')
    guest.sh('load e1000 af_packet')
    ping(guest)
    guest.power_off()


# --- control: reset, stop, machine checks ---

@case
def reset(lab):
    """Reset by the guest and by QEMU: the guest comes up again."""
    guest = lab.boot(cpus=2)
    guest.send('reboot -f')
    guest.wait_ready()
    guest.qmp('system_reset')
    guest.wait_ready()
    healthy(guest, 2)
    guest.power_off()


@case
def stop_cont(lab):
    """stop and cont: the guest goes on; its clock stood still."""
    guest = lab.boot()
    guest.send('memwork 2')
    guest.console.wait_for('memwork: round')
    for _ in range(5):
        guest.qmp('stop')
        time.sleep(1)
        guest.qmp('cont')
    guest.console.wait_for('memwork: round', 30)
    guest.console.wait_for('memwork: round', 30)
    check('BAD' not in guest.console.text, 'memory or clock went wrong')
    guest.qmp('quit')
    guest.wait_end()


@case
def machine_check(lab):
    """An uncorrected machine check that QEMU injects ends the guest, which says why."""
    guest = lab.boot('-no-reboot')
    guest.monitor.human('mce 0 1 0xbd00000000000151 0x7 0x1234000 0x8c')
    guest.console.wait_for('Bank 1: bd00000000000151')
    guest.wait_end()


# --- saved state and migration ---

@short_case
def savevm_loadvm(lab):
    """savevm and loadvm under a guest that writes memory and checks it."""
    guest = lab.boot('-drive', f'file={lab.disk("disk")},format=raw,if=virtio,snapshot=on')
    guest.send('memwork 8')
    guest.console.wait_for('memwork: round')
    guest.monitor.human('savevm one')
    guest.console.wait_for('memwork: round')
    guest.console.wait_for('memwork: round')
    guest.monitor.human('loadvm one')
    guest.console.wait_for('memwork: round')
    guest.console.wait_for('memwork: round')
    check('BAD' not in guest.console.text, 'memory or clock went wrong')
    guest.qmp('quit')
    guest.wait_end()


# Each is set or reset: a QEMU that was the target keeps what it then had.
CAPABILITIES = 'events', 'postcopy-ram', 'auto-converge', 'xbzrle'


def migrate(lab, source, options, capabilities=(), postcopy=False):
    """Moves the guest from SOURCE to a new QEMU; returns that."""
    address = f'unix:{lab.folder}/migrate{len(lab.machines)}'
    target = lab.start('-incoming', 'defer', **options)
    for machine in source, target:
        machine.qmp('migrate-set-capabilities',
                    capabilities=[{'capability': name, 'state': name in capabilities or name == 'events'}
                                  for name in CAPABILITIES])
        machine.qmp('migrate-set-parameters', downtime_limit=2000, max_bandwidth=1 << 30)
    target.qmp('migrate-incoming', uri=address)
    source.qmp('migrate', uri=address)
    if postcopy:
        time.sleep(1)
        source.qmp('migrate-start-postcopy')
    for _ in range(1200):
        status = source.qmp('query-migrate').get('status')
        if status in ('completed', 'failed'):
            break
        time.sleep(0.1)
    check(status == 'completed', f'migration: {status}')
    target.monitor.event('RESUME')
    return target


# Ways of migration: the accelerator of the QEMU that is left, and what migrate() is told.
LOG = 'kvm', {}         # CLEAR_DIRTY_LOG
RING = 'kvm,dirty-ring-size=4096', {}
POSTCOPY = 'kvm', {'capabilities': ('postcopy-ram',), 'postcopy': True}


def ring_or_skip():
    """QEMU 7.2 would use the dirty log without a word."""
    if capability(KVM_CAP_DIRTY_LOG_RING) <= 0:
        raise Skip('no dirty ring')


def migration(lab, *ways, times=1, cpus=1, machine='pc'):
    """Moves a guest that writes memory and checks it so many TIMES, in WAYS by turns (default: LOG)."""
    ways = itertools.cycle(ways or [LOG])
    accel, how = next(ways)
    guest = lab.boot(cpus=cpus, machine=machine, accel=accel)
    guest.send('for i in $(seq $(nproc)); do memwork 8 & done; wait')
    guest.console.wait_for('memwork: round')
    for _ in range(times):
        accel, following = next(ways)
        target = migrate(lab, guest, {'cpus': cpus, 'machine': machine, 'accel': accel}, **how)
        how = following
        guest.qmp('quit')
        guest.wait_end()
        guest = target
        for _ in range(2 * cpus):
            guest.console.wait_for('memwork: round')
        check('BAD' not in guest.console.text, 'memory or clock went wrong')
    guest.qmp('quit')
    guest.wait_end()


@short_case
def migrate_live(lab):
    """Live migration (dirty log with CLEAR_DIRTY_LOG), there and back, under writes."""
    migration(lab, times=2)


@case
def migrate_dirty_ring(lab):
    """Live migration with the dirty ring."""
    ring_or_skip()
    migration(lab, RING)
