# SPDX-License-Identifier: GPL-2.0-only
"""The svm2 and vmx boxes: Bochs, an emulator independent of QEMU.

Its memory is filled before it starts (directboot.py), the root file system is
the initrd: busybox, the driver, what we built and the files named. Its time
stamp counter counts instructions, so every run is deterministic.

Known hacks: Bochs insists on a terminal (it gets a pseudo terminal that nobody
looks at) and on its debugger (which is told to continue). Its four serial
lines are files that are read while they grow.
"""
import base64
import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tty

from . import cache, directboot
from .initrd import Archive, module_name, plain_module

MODELS = {'svm2': 'trinity_apu', 'vmx': 'corei7_skylake_x'}
DRIVERS = {'svm2': 'kvm-amd', 'vmx': 'kvm-intel'}
# Bochs' page-modification log has addresses inside pages, at each of which KVM warns.
# Its APIC for guests delivers what it should not (docs/lab.md): where that is said to be used only.
DRIVER_ARGS = {'kvm-intel': 'pml=0', 'mezz': 'enable_apicv=0'}
# Instructions a second, which is what the time stamp counter counts. A debug kernel has to
# be through with a tick of its timer (100 Hz) before the next one.
IPS, DEBUG_IPS, DEBUG_HZ = 15_000_000, 30_000_000, 100
CMDLINE = 'console=ttyS0,115200 loglevel=5 panic=-1 oops=panic mitigations=off nokaslr tsc=reliable ' \
          'cryptomgr.notests rodata=off lsm= audit=0 ' \
          'ipv6.disable=1 no_timer_check watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120'
LINES = ['console', 'out', 'err', 'ctl']

BOCHSRC = '''\
megs: {mem}
cpu: model={model}, count={cpus}, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=1
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
optramimage1: file={dir}/zero, address={zero:#x}
optramimage2: file={flat}, address={kernel:#x}
optramimage3: file={dir}/initrd, address={initrd:#x}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path={dir}/disk.img, mode=flat, cylinders=20, heads=16, spt=63
boot: disk
com1: enabled=1, mode=file, dev={dir}/console
com2: enabled=1, mode=file, dev={dir}/out
com3: enabled=1, mode=file, dev={dir}/err
com4: enabled=1, mode=file, dev={dir}/ctl
log: {dir}/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
clock: sync=none, time0=local
display_library: term
'''


def _libraries(path):
    """The libraries that a dynamically linked program opens."""
    listed = subprocess.run(['ldd', path], capture_output=True, text=True, check=False).stdout
    return re.findall(r'(/\S+) \(0x', listed)


def _stripped(data):
    """A kernel module without the symbols that insmod would look up one by one."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        subprocess.run(['strip', '--strip-unneeded', file.name], check=True)
        with open(file.name, 'rb') as stripped:
            return stripped.read()


def _driver_modules(kernel, options):
    if options.driver == 'mezz':
        with open(kernel.mezz, 'rb') as handle:
            return [('mezz.ko', handle.read())]
    names = [DRIVERS[options.box]] if options.driver == 'kvm' else []
    return [(module_name(file), plain_module(file)) for file in kernel.module_files(names)]


def _initrd(kernel, options, command):
    archive = Archive()
    for name in ['proc', 'sys', 'dev', 'root', 'bin', 'tmp', 'run', 'usr/bin']:
        archive.directory(name)
    archive.node('dev/console', 5, 1)
    archive.file('bin/busybox', cache.busybox())
    archive.file('init', os.path.join(cache.ROOT, 'lab/init-bochs'))
    archive.data('mezz/config', ''.join(f'{name}={shlex.quote(value)}\n' for name, value in {
        'driver': options.driver, 'args': options.module_args, 'out': 'yes' if options.out else ''}.items()))
    archive.data('mezz/command', command)
    modules = _driver_modules(kernel, options)
    archive.data('modules/list', ''.join(
        f'{name} {DRIVER_ARGS.get(name.removesuffix(".ko"), "")}\n' for name, _ in modules))
    for name, data in modules:
        archive.data('modules/' + name, _stripped(data))
    archive.directory(os.getcwd())
    built = os.path.join(cache.ROOT, 'userspace/mezz')
    wanted = [os.path.abspath(path) for path in options.file] + [built] * os.path.exists(built)
    for path in dict.fromkeys(wanted):
        archive.tree(path, os.path.realpath(path))
        for library in _libraries(path) if os.path.isfile(path) else []:
            archive.once(library)
    return archive.bytes()


def _speed(kernel):
    """IPS for KERNEL, and its command line: CPUID claims 3.5 GHz, so it has to be told."""
    if kernel.debug:
        # With MWAIT, two CPUs that idle now and then miss their timers for minutes of the box's time.
        ips, more = DEBUG_IPS, f'lpj={DEBUG_IPS // DEBUG_HZ} idle=nomwait'
    else:
        ips, more = IPS, 'lpj=1000000'
    return ips, f'{CMDLINE} tsc_early_khz={ips // 1000} {more}'


def _shim():
    """The preloaded library that bochs-shortread.c explains."""
    source = os.path.join(cache.ROOT, 'lab/bochs-shortread.c')
    path = os.path.join(cache.cache_dir(), 'bochs-shortread.so')
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(source):
        subprocess.run(['gcc', '-O2', '-shared', '-fPIC', '-o', f'{path}.{os.getpid()}', source], check=True)
        os.rename(f'{path}.{os.getpid()}', path)
    return path


class _Tail:
    """A file that grows; more() is what is new."""

    def __init__(self, path):
        self._path, self._file, self.all = path, None, b''

    def more(self):
        if self._file is None:
            if not os.path.exists(self._path):
                return b''
            self._file = open(self._path, 'rb', buffering=0)  # pylint: disable=consider-using-with
        new = self._file.read() or b''
        self.all += new
        return new


def _swallow(terminal):
    """Reads what Bochs writes, so that it never waits for its terminal. As it is a debugger,
    it draws on a second one, which it opens itself and names on the first; that is full
    after some minutes of a blinking cursor, and Bochs would then stand still for ever."""
    said = b''
    try:
        while new := os.read(terminal, 65536):
            said = (said + new)[-1000:]
            named = re.search(rb'connected to screen "(.+?)"', said)
            if named:
                said = b''
                screen = os.open(named[1], os.O_RDWR | os.O_NOCTTY)
                tty.setraw(screen)
                threading.Thread(target=_swallow, args=(screen,), daemon=True).start()
    except OSError:
        pass
    finally:
        os.close(terminal)


def _watch(process, tails, timeout, silence):
    """Carries output until the box is finished. None, or what went wrong."""
    sinks = {'out': sys.stdout.fileno(), 'err': sys.stderr.fileno()}
    heard = time.monotonic()
    deadline, panicked, ended = heard + timeout, None, False
    while True:
        ended = ended or process.poll() is not None
        for name, tail in tails.items():
            new = tail.more()
            if new:
                heard = time.monotonic()
            while new and name in sinks:
                new = new[os.write(sinks[name], new):]
        now = time.monotonic()
        if re.search(rb'^(exit|failed) .*\n', tails['ctl'].all, re.MULTILINE):
            return None
        if ended:
            return 'the box stopped by itself'
        if b'Kernel panic' in tails['console'].all:
            panicked = panicked or now
            if now > panicked + 3:
                return 'the box panicked'
        if now > deadline:
            return f'no end after {timeout} seconds'
        if now > heard + silence:
            return f'no word for {silence} seconds'
        time.sleep(0.02)


def _bring_out(ctl, folder):
    """Unpacks what the command left in $OUT into FOLDER."""
    packed = b''.join(line[4:] for line in ctl.splitlines() if line.startswith(b'out '))
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
        archive.extractall(folder)


def run(kernel, options, command, run_dir):
    """Boots the box and runs COMMAND, as qemu.run() does."""
    flat, entry = directboot.flat_kernel(kernel)
    initrd = _initrd(kernel, options, command)
    memory = options.mem << 20
    if directboot.INITRD + len(initrd) + (32 << 20) > memory:
        raise cache.LabError(f'the files need {len(initrd) >> 20} MiB: give the box more with --mem')
    ips, cmdline = _speed(kernel)
    cmdline = f'{cmdline} {options.append}'.strip()
    with open(run_dir + '/initrd', 'wb') as handle:
        handle.write(initrd)
    with open(run_dir + '/zero', 'wb') as handle:
        handle.write(directboot.zero_page(kernel, len(initrd), cmdline, memory))
    directboot.boot_disk(entry, run_dir)
    with open(run_dir + '/bochsrc', 'w', encoding='ascii') as handle:
        handle.write(BOCHSRC.format(
            mem=options.mem, model=options.cpu or MODELS[options.box], cpus=options.cpus, ips=ips, dir=run_dir,
            flat=flat, zero=directboot.ZERO_PAGE, kernel=directboot.KERNEL, initrd=directboot.INITRD))
    with open(run_dir + '/rc', 'w', encoding='ascii') as handle:
        handle.write('c\n')
    master, slave = pty.openpty()
    with subprocess.Popen(['bochs-bin', '-q', '-f', run_dir + '/bochsrc', '-rc', run_dir + '/rc'],
                          stdin=slave, stdout=slave, stderr=slave, cwd=run_dir, preexec_fn=cache.die_with_parent,
                          env=dict(os.environ, TERM='xterm', LD_PRELOAD=_shim())) as process:
        os.close(slave)
        threading.Thread(target=_swallow, args=(master,), daemon=True).start()
        tails = {name: _Tail(f'{run_dir}/{name}') for name in LINES}
        try:
            wrong = _watch(process, tails, options.timeout, options.silence)
        finally:
            process.kill()
    log = '---- console\n' + tails['console'].all.decode(errors='replace')
    last = (tails['ctl'].all.decode(errors='replace').splitlines() or [''])[-1].split()
    if wrong:
        return wrong, log
    if last[0] == 'failed':
        return ' '.join(last[1:]), log
    if options.out:
        _bring_out(tails['ctl'].all, options.out)
    return int(last[1]), log
