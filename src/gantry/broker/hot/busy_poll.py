"""Keeps the event loop awake for a moment while requests come close upon each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock

_CREDIT_MAX = 8
_CREDIT_NEEDED = 4
_MISS = 4


class BusyPoll:
    """Decides after each turn with sends whether the loop shall look for more at once instead of going to sleep.

    Theory. Falling asleep and being woken costs a server more than what a short request asks of it, on a virtual machine 30 us
    and more each time, and the sender waits for it. So the loop goes round for up to `limit_us` when that is likely to pay:
    each turn that came soon after the one before earns a credit, each late one and each wait in vain takes some away, and
    without enough of them the loop sleeps. An idle broker never polls; one whose requests come further apart than the
    limit polls in vain once in five turns.
    """

    __slots__ = ("_call_soon", "_clock", "_credit", "_ended_ns", "_limit_ns", "_polling")

    def __init__(self, clock: Clock, limit_us: int) -> None:
        self._clock = clock
        self._limit_ns = limit_us * 1000
        self._credit = 0
        self._ended_ns = 0
        self._polling = False
        self._call_soon: Callable[[Callable[[], None]], object] | None = None

    @property
    def polling(self) -> bool:
        return self._polling

    def turn(self, began_ns: int, ended_ns: int) -> None:
        """A turn was carried out. Units: monotonic ns."""
        # While the loop sleeps the way to it is longer, so the gap that still counts as soon is, too.
        if began_ns - self._ended_ns < 3 * self._limit_ns:
            if self._credit < _CREDIT_MAX:
                self._credit += 1
        else:
            self._credit = max(self._credit - 2, 0)
        self._ended_ns = ended_ns
        if self._credit >= _CREDIT_NEEDED and not self._polling:
            self._polling = True
            if self._call_soon is None:
                self._call_soon = asyncio.get_running_loop().call_soon
            self._call_soon(self._poll)

    def _poll(self) -> None:
        if self._clock.monotonic_ns() - self._ended_ns < self._limit_ns:
            assert self._call_soon is not None
            self._call_soon(self._poll)
        else:
            self._polling = False
            self._credit = max(self._credit - _MISS, 0)
