# SPDX-License-Identifier: GPL-2.0-only
"""The svm box: QEMU's emulator, an AMD EPYC with SVM and nested paging.

The whole file system of this machine is visible inside (9p, read-only, with a
writable overlay in memory), so every installed program can be used there.
What happens inside is init-qemu's part; here QEMU is started and its output is
carried to the caller.

Known hack: a box with several CPUs has one more than was asked for, CPU 0, which
the command may not use. QEMU (7.2 at least: cpu_clear_ignne()) lets every FXRSTOR
and XRSTOR of any CPU change, without a lock, the word of CPU 0's state that says
whether addresses are translated by nested tables; a VMRUN or #VMEXIT of CPU 0 at
that moment can get lost in part, and a guest or the box dies.
"""
import hashlib
import os
import selectors
import shlex
import subprocess
import sys
import termios
import time

from . import cache
from .initrd import Archive, module_name, plain_module

MODULES = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay']
# With several CPUs a kernel now and then dies at boot of an INT3 that it has put into
# its own code for a moment: QEMU runs it from a translation that is out of date.
BOOT_TRIES = 3
PORTS = ['ctl', 'log', 'out', 'err']
# Messages more urgent than "notice" go to the serial line as well: when the
# kernel dies they are all that is left. Without HPET the alarm that init-qemu sets is the
# clock's own, and not the HPET's polling 64 times a second.
CMDLINE = 'console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off ' \
          'watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=60 hpet=disable'
# Debug kernels have few clocks to compare that of the CPUs with, and busy boxes.
DEBUG_CMDLINE = 'tsc=reliable'


def _cpus(options):
    """How many QEMU has, and the list of those for the command ('': all)."""
    if options.cpus == 1:
        return 1, ''
    return options.cpus + 1, f'1-{options.cpus}'


def _base_initrd(kernel):
    """The part of the initrd that depends on the kernel only; kept in the cache."""
    init = os.path.join(cache.ROOT, 'lab/init-qemu')
    with open(init, 'rb') as handle:
        key = hashlib.sha256(handle.read() + repr(MODULES).encode()).hexdigest()[:16]
    path = os.path.join(kernel.base, f'initrd-qemu-{key}')
    if not os.path.exists(path):
        files = kernel.module_files(MODULES)
        archive = Archive()
        for name in ['proc', 'sys', 'dev', 'host', 'rw', 'root', 'bin']:
            archive.directory(name)
        archive.node('dev/console', 5, 1)
        archive.file('bin/busybox', cache.busybox())
        archive.file('init', init)
        archive.data('modules/list', ''.join(module_name(file) + '\n' for file in files))
        for file in files:
            archive.data('modules/' + module_name(file), plain_module(file))
        with open(f'{path}.{os.getpid()}', 'wb') as handle:
            handle.write(archive.bytes())
        os.rename(f'{path}.{os.getpid()}', path)
    return path


def _run_initrd(kernel, options, command):
    """The part for this run: the command and what init-qemu has to know."""
    tty = ''
    if options.tty:
        size = os.get_terminal_size() if sys.stdin.isatty() else os.terminal_size((80, 24))
        tty = f'rows {size.lines} cols {size.columns}'
    config = {
        'driver': options.driver, 'ko': kernel.mezz, 'args': options.module_args,
        'modules': kernel.modules, 'kver': kernel.version, 'out': 'yes' if options.out else '', 'tty': tty,
        'cpus': _cpus(options)[1],
    }
    archive = Archive()
    archive.data('mezz/config', ''.join(f'{name}={shlex.quote(value)}\n' for name, value in config.items()))
    archive.data('mezz/command', command)
    return archive.bytes()


def _arguments(kernel, options, run_dir, write_ends):
    count = options.count
    args = ['qemu-system-x86_64', '-accel', 'tcg,thread=' + ('single' if count else 'multi')]
    if count:
        args += ['-icount', 'shift=0,sleep=off']
    args += ['-cpu', options.cpu or 'EPYC,+svm,+npt', '-smp', str(_cpus(options)[0]), '-m', str(options.mem),
             '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
             '-kernel', kernel.image, '-initrd', run_dir + '/initrd',
             '-append', ' '.join([CMDLINE, *([DEBUG_CMDLINE] if kernel.debug else []), options.append]).strip(),
             '-serial', f'file:{run_dir}/console',
             '-virtfs', 'local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap',
             '-device', 'virtio-serial-pci']
    if options.out:
        args += ['-virtfs', f'local,path={os.path.realpath(options.out).replace(",", ",,")},mount_tag=out,'
                            'security_model=none,multidevs=remap']
    for number, name in enumerate(PORTS, 1):
        args += ['-add-fd', f'fd={write_ends[name]},set={number}',
                 '-chardev', f'file,id={name},append=on,path=/dev/fdset/{number}',
                 '-device', f'virtserialport,chardev={name},name={name}']
    if options.tty:
        args += ['-chardev', 'stdio,id=tty,signal=off', '-device', 'virtconsole,chardev=tty']
    return args


def _pump(process, read_ends, options, received):
    """Carries the ports' bytes until QEMU ends. None, or what went wrong."""
    heard = time.monotonic()
    deadline = heard + options.timeout
    sinks = {'out': sys.stdout.fileno(), 'err': sys.stderr.fileno()}
    with selectors.DefaultSelector() as selector:
        for name, end in read_ends.items():
            selector.register(end, selectors.EVENT_READ, name)
        while selector.get_map():
            now = time.monotonic()
            left = min(deadline, heard + options.silence) - now
            if left <= 0:
                process.kill()
                process.wait()
                if now >= deadline:
                    return f'no end after {options.timeout} seconds'
                return f'no word for {options.silence} seconds'
            for key, _ in selector.select(left):
                heard = time.monotonic()
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fd)
                elif key.data in sinks:
                    while data:
                        data = data[os.write(sinks[key.data], data):]
                else:
                    received[key.data] += data
    process.wait()
    return None


def _text(path):
    if not os.path.exists(path):
        return ''
    with open(path, errors='replace', encoding='utf-8') as handle:
        return handle.read()


def _readable(kmsg):
    """dmesg's form of what was read from /dev/kmsg"""
    lines = []
    for line in kmsg.decode(errors='replace').splitlines():
        head, found, text = line.partition(';')
        if found and not line.startswith(' '):
            stamp = int(head.split(',')[2])
            lines.append(f'[{stamp // 1000000:5d}.{stamp % 1000000:06d}] {text}')
    return '\n'.join(lines) + '\n'


def _boot(kernel, options, command, run_dir):
    """One try of run(). The third value: did the box come as far as the command?"""
    with open(_base_initrd(kernel), 'rb') as base, open(run_dir + '/initrd', 'wb') as both:
        both.write(base.read())
        both.write(_run_initrd(kernel, options, command))
    pipes = {name: os.pipe() for name in PORTS}
    read_ends = {name: pair[0] for name, pair in pipes.items()}
    write_ends = {name: pair[1] for name, pair in pipes.items()}
    received = {'ctl': b'', 'log': b''}
    terminal = termios.tcgetattr(0) if options.tty and sys.stdin.isatty() else None
    with open(run_dir + '/qemu', 'wb') as qemu_says, \
         subprocess.Popen(_arguments(kernel, options, run_dir, write_ends),
                          stdin=None if options.tty else subprocess.DEVNULL,
                          stdout=None if options.tty else qemu_says, stderr=qemu_says,
                          pass_fds=write_ends.values(), preexec_fn=cache.die_with_parent) as process:
        try:
            for end in write_ends.values():
                os.close(end)
            wrong = _pump(process, read_ends, options, received)
        finally:
            process.kill()
            if terminal:
                termios.tcsetattr(0, termios.TCSADRAIN, terminal)
    log = '---- kernel log\n' + _readable(received['log']) + '---- console\n' + _text(run_dir + '/console')
    answer = received['ctl'].decode().split()
    if answer[:1] == ['exit']:
        return int(answer[1]), log, True
    if answer[:1] == ['failed']:
        return ' '.join(answer[1:]), log, True
    if wrong:
        return wrong, log, True
    words = [line for line in _text(run_dir + '/qemu').splitlines() if "doesn't support requested feature" not in line]
    return '\n'.join(['the box stopped by itself', *words]), log, bool(received['log'])


def run(kernel, options, command, run_dir):
    """Boots the box and runs COMMAND (text of a shell script) in it. Returns the
    command's exit status, or a string that says why there is none; and the
    kernel's log."""
    for _ in range(BOOT_TRIES - 1):
        result, log, began = _boot(kernel, options, command, run_dir)
        if began:
            return result, log
        print('lab/box: the box died while it booted; once more', file=sys.stderr, flush=True)
    return _boot(kernel, options, command, run_dir)[:2]
