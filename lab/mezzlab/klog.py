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


def trouble(log):
    """The lines of LOG (str) that are reports of trouble."""
    return [line for line in log.splitlines() if TROUBLE.search(line)]
