# SPDX-License-Identifier: GPL-2.0-only
"""Reads the Test Anything Protocol as kselftest programs print it."""
import re

RESULT = re.compile(r'^(not )?ok\b\s*\d*\s*-?\s*([^#]*)(?:#\s*(SKIP|XFAIL)\b\s*(.*))?', re.IGNORECASE)
PLAN = re.compile(r'^1\.\.(\d+)(?:\s*#\s*SKIP\s*(.*))?', re.IGNORECASE)
NOTE = '# NOTE '        # what a person has to see, even if all passes
KSFT_SKIP = 4
KILLED = 124, 137


class Program:
    """One program's results, fed line by line."""

    def __init__(self, name):
        self.name = name
        self.results = []       # (verdict, description, reason)
        self.plan = None
        self.status = None
        self.output = []

    def line(self, text):
        self.output.append(text)
        plan = PLAN.match(text)
        if plan:
            self.plan = int(plan.group(1))
            if self.plan == 0:
                self.results.append(('skipped', self.name, plan.group(2) or 'no reason given'))
            return
        found = RESULT.match(text)
        if found:
            fail, what, directive, reason = found.groups()
            verdict = 'failed' if fail else 'passed'
            if directive and directive.upper() == 'SKIP':
                verdict = 'skipped'
            self.results.append((verdict, what.strip() or self.name, reason or ''))

    def fail(self, reason):
        self.results.append(('failed', self.name, reason))

    def end(self, status):
        """The program ended with STATUS (None: it never ended)."""
        verdicts = [verdict for verdict, _, _ in self.results]
        self.status = status
        if status is None:
            self.fail('the box ended while it ran')
        elif status == KSFT_SKIP and not verdicts:
            self.results.append(('skipped', self.name, ' '.join(self.output).strip() or 'no reason given'))
        elif status in KILLED:
            self.fail('it took too long, or was killed')
        elif status not in (0, KSFT_SKIP) and 'failed' not in verdicts:
            self.fail(f'it ended with {status}')
        elif not verdicts:
            self.fail('it printed no result')
        elif self.plan and self.plan != len(verdicts):
            self.fail(f'it planned {self.plan} results and gave {len(verdicts)}')
