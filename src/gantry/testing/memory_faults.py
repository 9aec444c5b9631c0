"""Faults of a MemoryDisk: operations that fail by a rule, and the moment at which its power is cut."""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass

from gantry.runtime.system_file import disk_error

_READING = frozenset(("open", "pread", "list_dir", "stat", "usage", "map", "prefault", "lock"))


class PowerCut(BaseException):
    """The simulated machine has lost its power. No ordinary handler catches it, as no handler would run."""


@dataclass
class FaultRule:
    """Fails operations named `op` whose path contains `path_part`: the `nth` and, by `times`, those that follow."""

    op: str
    errno: int
    nth: int
    times: int
    path_part: str
    partial: bool
    seen_count: int = 0

    @property
    def spent(self) -> bool:
        return self.seen_count >= self.nth + self.times - 1


class FaultGate:
    """What every primitive operation passes: it is counted here, and may fail or find the power cut.

    `torn`: a pwrite that the power cut meets has still reached the page cache by half.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.trace: list[tuple[str, str]] | None = None
        """Set it to a list to record every operation that changes something, as (op, path)."""
        self.torn = False
        self._rules: list[FaultRule] = []
        self._cut_at: int | None = None
        self._off = False
        self._step_count = 0

    @property
    def step_count(self) -> int:
        """Operations so far that change something: the points at which the power can be cut."""
        return self._step_count

    @property
    def is_off(self) -> bool:
        """The power was cut; crash() brings the machine up again."""
        return self._off

    def fail(
        self,
        op: str,
        *,
        error: int = errno.EIO,
        nth: int = 1,
        times: int = 1,
        path_part: str = "",
        partial: bool = False,
    ) -> FaultRule:
        """Let the nth operation of this name from now on fail with an errno, and `times - 1` after it.

        Names: open create allocate pwrite pread sync truncate prefault map rename link unlink rmdir make_dirs list_dir
        stat utime usage sync_dir lock. `partial`: half of the bytes of a pwrite are written before it fails.
        """
        rule = FaultRule(op, error, nth, times, path_part, partial)
        self._rules.append(rule)
        return rule

    def heal(self) -> None:
        """Forget all fault rules."""
        self._rules.clear()

    def cut_power_at(self, step: int, *, torn: bool = False) -> None:
        """Cut the power before the operation that would make step_count equal `step`.

        `torn`: when it is a pwrite, its first half has still reached the page cache.
        """
        self._cut_at = step
        self.torn = torn

    def power_on(self) -> None:
        """After a cut; rules stay."""
        self._off = False
        self._cut_at = None

    def gate(self, op: str, path: str) -> FaultRule | None:
        """Count one operation, and fail it when it is its turn; a rule for a partial pwrite is returned instead."""
        if self._off:
            raise PowerCut
        self.counts[op] += 1
        if op not in _READING:
            if self._cut_at is not None and self._step_count + 1 >= self._cut_at:
                self._off = True
                raise PowerCut
            self._step_count += 1
            if self.trace is not None:
                self.trace.append((op, path))
        for rule in self._rules:
            if rule.op == op and rule.path_part in path and not rule.spent:
                rule.seen_count += 1
                if rule.seen_count >= rule.nth:
                    if rule.partial:
                        return rule
                    raise disk_error(path, op, OSError(rule.errno, os.strerror(rule.errno)))
        return None
