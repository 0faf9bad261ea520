# SPDX-License-Identifier: GPL-2.0-only
"""A virtual PC of Debian's QEMU under KVM: the guest's console and QMP.

Everything waits with a limit, so that no case hangs; what was said is kept and shown
when a case fails.
"""
import fcntl
import json
import os
import re
import select
import socket
import subprocess
import time

from . import cache

QEMU = 'qemu-system-x86_64'
KVM_CHECK_EXTENSION = 0xae03
# Of one answer. A box shares the machine with others.
PATIENCE = 120
# So many characters of a console are shown when a case fails: a kernel's last words and its traces.
TAIL = 5000
STAMP = re.compile(r'^\[ *[0-9.]+\] ', re.MULTILINE)
# In a trace of Linux, without its stamps: a vector's handler, and the same one's first
# instructions, which have the interrupts off until it ends, for what it interrupted.
TWICE = re.compile(r'^ asm_(\w+)\+0x\w+/0x\w+\nRIP: 0010:asm_\1\+0x[0-7]/0x\w+\n'
                   r'(?:Code: .*\n)?RSP: \w+:\w+ EFLAGS: (\w+)$', re.MULTILINE)
EFLAGS_IF = 0x200


class Failed(Exception):
    """Something was not as it had to be."""


class Skip(Exception):
    """This cannot be tested here, and why."""


class Stream:
    """Text that arrives at a file descriptor, searched as it comes."""

    def __init__(self, name, descriptor):
        self.name = name
        self.descriptor = descriptor
        self.text = ''      # everything
        self.seen = 0       # up to here wait_for() has used it

    def _more(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
            raise Failed(f'{self.name}: nothing came in time')
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:     # EIO: a terminal whose program has ended
            data = b''
        if not data:
            raise Failed(f'{self.name}: it ended')
        self.text += data.decode(errors='replace').replace('\r', '')

    def _rest(self, seconds=2):
        """Reads what follows a panic: why, and where."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self._more(deadline)
        except Failed:
            pass

    def wait_for(self, pattern, seconds=PATIENCE):
        """Waits until PATTERN appears in what was not used yet. Returns the match."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.compile(pattern, re.MULTILINE).search(self.text, self.seen)
            if found:
                self.seen = found.end()
                return found
            if 'Kernel panic' in self.text:
                self._rest()
                raise Failed(f'waiting for {pattern!r}: the guest panicked')
            try:
                self._more(deadline)
            except Failed as error:
                raise Failed(f'waiting for {pattern!r}: {error}') from None


class Monitor:
    """QMP: commands, and events that are kept until they are asked for."""

    def __init__(self, path, process):
        self.socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + PATIENCE
        while self.socket.connect_ex(path):
            if time.monotonic() > deadline or process.poll() is not None:
                raise Failed('QEMU did not start')
            time.sleep(0.05)
        self.stream = Stream('QMP', self.socket.fileno())
        self.events = []
        self._message()
        self.command('qmp_capabilities')

    def _message(self, seconds=PATIENCE):
        return json.loads(self.stream.wait_for(r'^.*\n', seconds).group())

    def command(self, name, **arguments):
        arguments = {key.replace('_', '-'): value for key, value in arguments.items()}
        self.socket.sendall(json.dumps({'execute': name, 'arguments': arguments}).encode() + b'\n')
        while True:
            message = self._message()
            if 'event' in message:
                self.events.append(message)
            elif 'error' in message:
                raise Failed(f'QMP {name}: {message["error"]["desc"]}')
            else:
                return message['return']

    def human(self, line):
        """A command of the human monitor; what it prints is what went wrong."""
        said = self.command('human-monitor-command', command_line=line)
        if 'rror' in said:
            raise Failed(f'{line}: {said.strip()}')
        return said

    def event(self, name, seconds=PATIENCE):
        """Waits for event NAME (one that came before counts)."""
        deadline = time.monotonic() + seconds
        while True:
            for message in self.events:
                if message['event'] == name:
                    self.events.remove(message)
                    return message
            message = self._message(max(0.1, deadline - time.monotonic()))
            if 'event' in message:
                self.events.append(message)


class Shell:
    """The shell of guest-pc-init at the other end of a console. A subclass has the
    console, a Stream, and send(), which types a line."""

    def sh(self, line, seconds=PATIENCE):
        """Runs LINE in the guest's shell; returns what it printed. It must end with 0."""
        start = self.console.seen
        self.send(line)
        found = self.console.wait_for(r'^@done (\d+)$', seconds)
        said = self.console.text[start:found.start()]
        if found.group(1) != '0':
            raise Failed(f'guest: {line}: status {found.group(1)}: {said.strip()}')
        return said


class Machine(Shell):
    """One QEMU process."""

    def __init__(self, lab, name, arguments):
        self.name = name
        qmp = f'{lab.folder}/{name}.qmp'
        self.errors_path = f'{lab.folder}/{name}.err'
        with open(self.errors_path, 'wb') as errors:
            # pylint: disable-next=consider-using-with # close() ends it
            self.process = subprocess.Popen(
                [QEMU, '-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio',
                 '-qmp', f'unix:{qmp},server=on,wait=off', *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, preexec_fn=cache.die_with_parent)
        self.console = Stream('console', self.process.stdout.fileno())
        try:
            self.monitor = Monitor(qmp, self.process)
        except Failed:
            self.process.kill()
            raise Failed(f'{name}: QEMU did not start\n{self.heard()}') from None
        self.qmp = self.monitor.command

    def wait_ready(self, seconds=PATIENCE):
        return self.console.wait_for(r'@ready [0-9.]+\n', seconds)

    def send(self, line):
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()

    def wait_end(self, seconds=PATIENCE):
        """QEMU has to end by itself, with 0."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f'{self.name}: QEMU did not end') from None
        if status:
            raise Failed(f'{self.name}: QEMU ended with {status}')

    def power_off(self):
        self.send('poweroff -f')
        self.wait_end()

    def heard(self):
        with open(self.errors_path, encoding='utf-8', errors='replace') as handle:
            errors = handle.read()
        return f'--- {self.name}: console (end)\n{self.console.text[-TAIL:]}\n--- {self.name}: QEMU\n{errors[-TAIL:]}\n'

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Lab:
    """What a case works with: the guest's files, a folder, the machines it started."""

    def __init__(self, guest, folder):
        self.guest = guest
        self.folder = folder
        self.machines = []

    def start(self, *arguments, name='', accel='kvm', cpu='host', machine='pc', memory=256, cpus=1, append='',
              kernel=True):
        """Starts QEMU. With KERNEL: the guest's kernel and initrd."""
        arguments = ['-accel', accel, '-cpu', cpu, '-machine', machine, '-m', str(memory), '-smp', str(cpus),
                     *arguments]
        if kernel:
            arguments += ['-kernel', f'{self.guest}/vmlinuz', '-initrd', f'{self.guest}/pc.img',
                          '-append', f'console=ttyS0 quiet panic=-1 {append}'.strip()]
        started = Machine(self, name or f'qemu{len(self.machines)}', arguments)
        self.machines.append(started)
        return started

    def boot(self, *arguments, **options):
        """Starts QEMU and waits for the guest's shell."""
        machine = self.start(*arguments, **options)
        machine.wait_ready()
        return machine

    def disk(self, name, megabytes=16):
        """An empty raw disk."""
        path = f'{self.folder}/{name}'
        with open(path, 'wb') as handle:
            handle.truncate(megabytes << 20)
        return path

    def heard(self):
        return ''.join(machine.heard() for machine in self.machines)

    def interrupted_twice(self):
        """Did a guest die because the box's CPU took an interrupt twice (docs/lab.md)?"""
        traces = (TWICE.search(STAMP.sub('', machine.console.text)) for machine in self.machines)
        return any(trace and not int(trace.group(2), 16) & EFLAGS_IF for trace in traces)

    def close(self):
        for machine in self.machines:
            machine.close()


def check(condition, what):
    """Fails with WHAT unless CONDITION."""
    if not condition:
        raise Failed(what)


def capability(number):
    """What /dev/kvm answers for a capability."""
    descriptor = os.open('/dev/kvm', os.O_RDWR)
    try:
        return fcntl.ioctl(descriptor, KVM_CHECK_EXTENSION, number)
    finally:
        os.close(descriptor)


def not_on_kvm(reason):
    """Skips the case when in-tree KVM is the driver."""
    if not os.path.isdir('/sys/module/mezz'):
        raise Skip(f'in-tree KVM: {reason}')
