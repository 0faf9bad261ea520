# SPDX-License-Identifier: GPL-2.0-only
"""libvirt's daemons in a box, virsh, and a domain's console.

The box has no init system: the few daemons that libvirt needs are started by hand, and
the device nodes get the owner that dist/60-mezz.rules gives them on a whole system.
"""
import fcntl
import grp
import itertools
import os
import pty
import subprocess
import termios
import time

from . import cache, pc
from .pc import Failed

SECONDS = 120
# libvirtd asks every QEMU on the machine what it can do, with and without KVM.
START_SECONDS = 400
LOG = '/var/log/libvirt/libvirtd.log'


def virsh(*arguments, seconds=SECONDS):
    """What "virsh ARGUMENTS..." prints; it must succeed."""
    argv = ['virsh', '-q', '-c', 'qemu:///system', *arguments]
    return run(argv, seconds)


def run(argv, seconds=SECONDS):
    """What ARGV prints; it must succeed."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f'{" ".join(argv)}: no end after {seconds} seconds') from None
    if done.returncode:
        raise Failed(f'{" ".join(argv)}: status {done.returncode}: {done.stderr.strip()} {done.stdout.strip()}')
    return done.stdout


def state(name):
    return virsh('domstate', name).strip()


def wait_state(name, wanted, seconds=SECONDS):
    """Waits until domain NAME is in the state WANTED."""
    deadline = time.monotonic() + seconds
    while state(name) != wanted:
        if time.monotonic() > deadline:
            raise Failed(f'{name} is {state(name)}, not {wanted}')
        time.sleep(0.3)


class Daemons:
    """dbus-daemon, virtlogd and libvirtd. Whoever made it ends them with close()."""

    def __init__(self):
        self.processes = []
        for node in '/dev/kvm', '/dev/mezz', '/dev/vhost-net':
            if os.path.exists(node):
                os.chown(node, 0, grp.getgrnam('kvm').gr_gid)
                os.chmod(node, 0o660)
        for folder in '/run/dbus', '/run/libvirt', '/var/log/libvirt':
            os.makedirs(folder, exist_ok=True)
        run(['dbus-uuidgen', '--ensure'])
        self._start('dbus-daemon', '--system', '--nofork', '--nopidfile')
        with open('/etc/libvirt/libvirtd.conf', 'a', encoding='utf-8') as handle:
            handle.write(f'\nlog_outputs="3:file:{LOG}"\n')
        self._start('/usr/sbin/virtlogd')
        self._start('/usr/sbin/libvirtd')

    def _start(self, *argv):
        # pylint: disable-next=consider-using-with # close() ends it
        self.processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                               stderr=subprocess.DEVNULL, preexec_fn=cache.die_with_parent))

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            if any(process.poll() is not None for process in self.processes):
                raise Failed('a daemon ended')
            try:
                return virsh('uri', seconds=START_SECONDS)
            except Failed:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()


class Console(pc.Shell):
    """`virsh console`, on a terminal of its own."""

    def __init__(self, name):
        self.name = name
        ours, theirs = pty.openpty()
        attributes = termios.tcgetattr(theirs)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)

        def own_terminal():
            cache.die_with_parent()
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        # pylint: disable-next=consider-using-with # close() ends it
        self.process = subprocess.Popen(['virsh', '-q', '-c', 'qemu:///system', 'console', '--force', name],
                                        stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=own_terminal)
        os.close(theirs)
        self.descriptor = ours
        self.console = pc.Stream(f'console of {name}', ours)

    def _last_words(self, error):
        return Failed(f'{error}\n{self.console.text[-pc.TAIL:]}')

    def send(self, line):
        os.write(self.descriptor, line.encode() + b'\n')

    def wait_shell(self, seconds=SECONDS):
        """Until the guest's shell answers; what was said before may have got lost.

        QEMU 7.2 does not look for more input when the guest's driver empties a full FIFO
        (serial.c, UART_FCR_RFR) that was typed into too early; any command wakes it up.
        """
        deadline = time.monotonic() + seconds
        for number in itertools.count():
            self.send(f'echo @alive{number}')
            try:
                self.console.wait_for(f'^@alive{number}$', 3)
                self.console.wait_for('^@done 0$', 10)
                return self
            except Failed as error:
                if time.monotonic() > deadline:
                    raise self._last_words(error) from None
                virsh('qemu-monitor-command', self.name, '--hmp', 'info status')

    def __enter__(self):
        try:
            return self.wait_shell()
        except Failed:
            self.close()
            raise

    def __exit__(self, kind, error, trace):
        self.close()
        if isinstance(error, Failed):
            raise self._last_words(error) from None

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.descriptor)
