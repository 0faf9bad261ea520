# SPDX-License-Identifier: GPL-2.0-only
"""Finds reports of trouble in a kernel log.

A box whose kernel complained has failed, whatever its command returned.
"""
import re

# What kernels print when they, or a driver, did something wrong. Warnings about
# the emulated machine itself (missing tables, old firmware) are not in here.
TROUBLE = re.compile(r'''
    WARNING:\ (CPU:|possible|suspicious|bad\ unlock|inconsistent|Nested\ lock|held\ lock|stack)
  | \bBUG:\ | kernel\ BUG\ at | \bOops\b | general\ protection\ fault
  | [Uu]nable\ to\ handle | Kernel\ panic | Internal\ error:
  | \bKASAN: | \bKCSAN: | \bKFENCE: | \bUBSAN: | kmemleak:\ [0-9]+\ new
  | rcu.*(self-detected\ stall|detected\ stalls|detected\ expedited\ stalls)
  | blocked\ for\ more\ than | (soft|hard)\ (lockup|LOCKUP) | Watchdog\ detected
  | scheduling\ while\ atomic | sleeping\ function\ called\ from\ invalid
  | Bad\ (page\ state|rss-counter) | unchecked\ MSR\ access | bad:\ scheduling
  | (list_add|list_del)\ corruption | refcount_t: | double\ fault | stack\ guard\ page
  | INFO:\ (possible|suspicious|lockdep|inconsistent|trying)
  | Out\ of\ memory: | Call\ Trace: | trap\ invalid\ opcode .*\ in\ .*ko
''', re.VERBOSE)


# What init writes to the kernel's log when it starts. Complaints before that are
# the kernel's about the emulated machine, and no driver of ours can cause them.
BEGIN = 'mezz-init: begin'
# The last line before a kernel stops its other CPUs, after all drivers were told. What a CPU
# says that is stopped halfway (6.1: set_task_cpu() warns of a wake-up in its tick) is not theirs.
END = 'reboot: Restarting system'
TEST = 'mezz-test: begin '


def _copies(log):
    """LOG holds copies of the kernel's log, each after a line of dashes (no one
    of them is complete when the kernel died); each from where the box was up to where it was told to stop."""
    parts = [part.partition(BEGIN) for part in log.split('---- ')]
    return [rest.partition(END)[0] for _, found, rest in parts if found]


def _reports(text):
    return [line for line in text.splitlines() if TROUBLE.search(line)]


def trouble(log):
    """The lines of LOG (str) that are reports of trouble since the box was up."""
    return list(dict.fromkeys(line for copy in _copies(log) for line in _reports(copy)))


def by_test(log):
    """The same by the test that ran: a dictionary. Whoever runs tests writes "mezz-test: begin NAME" to
    the kernel's log. Trouble between tests is the previous one's; before the first, None's."""
    current, accused, troubles = None, {}, set(trouble(log))
    for line in log.splitlines():
        if TEST in line:
            current = line.split(TEST)[1].strip()
        elif line in troubles:
            accused.setdefault(current, []).append(line)
    return accused


def worth_showing(log):
    """The copy of LOG that tells most; all of it when the box never was up."""
    return max(_copies(log), key=lambda copy: (len(_reports(copy)), len(copy)), default=log)
