# SPDX-License-Identifier: GPL-2.0-only
"""Where unpacked kernels and tools are found.

lab/install fills the cache; this module only looks things up in it, and says
what to type when something is not there.
"""
import ctypes
import os
import signal
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


class LabError(Exception):
    """Something the caller has to put right before a box can start."""


def cache_dir():
    default = os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'mezz')
    return os.path.realpath(os.environ.get('MEZZ_CACHE') or default)


def is_debug(name):
    """Is the kernel with this name, or version, one that lab/kernel builds?"""
    return '-debug' in name


def for_bochs(name):
    """The flavour of the kernel with this name that Bochs boots fastest; a debug kernel has one only."""
    return name if is_debug(name) or '-cloud' in name else name + '-cloud'


class Kernel:
    """One unpacked Debian kernel: image, modules, and what we built for it."""

    def __init__(self, name):
        path = os.path.join(cache_dir(), 'kernels', name)
        if not os.path.isdir(path):
            raise LabError(f"kernel {name} is not in {os.path.dirname(path)}: run 'lab/install {name}'")
        self.base = os.path.realpath(path)
        self.version = os.path.basename(self.base)
        self.debug = is_debug(self.version)
        self.image = os.path.join(self.base, 'boot', 'vmlinuz-' + self.version)
        self.modules = os.path.join(self.base, 'lib/modules', self.version)
        self.mezz = os.path.join(ROOT, os.environ.get('MEZZ_BUILD', 'build'), self.version, 'mezz.ko')

    def module_files(self, names):
        """The files that loading NAMES takes, dependencies first. Names that
        this kernel has built in cost nothing; names it lacks are an error."""
        files = []
        for name in names:
            done = subprocess.run(['modprobe', '-d', self.base, '-S', self.version, '--show-depends', name],
                                  capture_output=True, text=True, check=False, env=sbin_env())
            if done.returncode:
                raise LabError(f'kernel {self.version} has no module {name}')
            for line in done.stdout.splitlines():
                if line.startswith('insmod ') and line.split()[1] not in files:
                    files.append(line.split()[1])
        return files


def sbin_env():
    """The environment for programs that ordinary users' PATH does not hold."""
    return dict(os.environ, PATH=os.environ.get('PATH', '/usr/bin:/bin') + ':/usr/sbin:/sbin')


def die_with_parent():
    """To be called in a child before exec: no box survives a killed caller."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def busybox():
    path = os.path.join(cache_dir(), 'busybox')
    if not os.path.exists(path):
        raise LabError("no static busybox in the cache: run 'make install-deps'")
    return path
