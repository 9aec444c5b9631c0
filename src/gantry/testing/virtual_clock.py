"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

_SETTLE_TURNS_MAX = 10_000


class VirtualTimer:
    """A call that is still to come."""

    __slots__ = ("_args", "_callback", "cancelled", "due_ns")

    def __init__(self, due_ns: int, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.due_ns = due_ns
        self.cancelled = False
        self._callback: Callable[..., object] | None = callback
        self._args = args

    def cancel(self) -> None:
        self.cancelled = True
        self._callback = None
        self._args = ()

    def fire(self) -> None:
        callback, args = self._callback, self._args
        if callback is not None:
            callback(*args)


class VirtualClock:
    """Implements the Clock door. Time passes only in advance_ms() and run_ms().

    Timers fire in order of their due time, those due together in the order they were set, and each sees its own due
    time as now. `jump_wall_ms` moves the wall clock alone, as an operator or NTP would.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000, *, monotonic_ms: int = 1_000_000) -> None:
        self._monotonic_ns = monotonic_ms * 1_000_000
        self._wall_offset_ns = now_ms * 1_000_000 - self._monotonic_ns
        self._timers: list[tuple[int, int, VirtualTimer]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return (self._monotonic_ns + self._wall_offset_ns) // 1_000_000

    def monotonic_ms(self) -> int:
        return self._monotonic_ns // 1_000_000

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def call_later(self, delay_ms: float, callback: Callable[..., object], *args: Any) -> VirtualTimer:
        timer = VirtualTimer(self._monotonic_ns + max(int(delay_ms * 1_000_000), 0), callback, args)
        heapq.heappush(self._timers, (timer.due_ns, next(self._order), timer))
        return timer

    async def sleep_ms(self, delay_ms: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_later(delay_ms, _resolve, future)
        try:
            await future
        finally:
            timer.cancel()

    def jump_wall_ms(self, delta_ms: int) -> None:
        """The wall clock jumps, either way; elapsed time does not."""
        self._wall_offset_ns += delta_ms * 1_000_000

    def next_due_ms(self) -> float | None:
        """How long until the next timer, in ms; None when there is none."""
        self._drop_cancelled()
        return (self._timers[0][0] - self._monotonic_ns) / 1_000_000 if self._timers else None

    @property
    def timer_count(self) -> int:
        """Timers that are still to fire."""
        return sum(not timer.cancelled for _, _, timer in self._timers)

    def advance_ms(self, delta_ms: float) -> None:
        """Let time pass and fire what becomes due, without giving the loop a turn; run_ms() does that too."""
        end_ns = self._monotonic_ns + int(delta_ms * 1_000_000)
        while self._fire_next(end_ns):
            pass
        self._monotonic_ns = max(self._monotonic_ns, end_ns)

    async def run_ms(self, delta_ms: float) -> None:
        """Let time pass step by step: what a timer wakes runs to its next wait before the following timer fires."""
        end_ns = self._monotonic_ns + int(delta_ms * 1_000_000)
        await settle()
        while self._fire_next(end_ns):
            await settle()
        self._monotonic_ns = max(self._monotonic_ns, end_ns)
        await settle()

    async def run_until(self, awaitable: Awaitable[T], *, limit_ms: float = 3_600_000) -> T:
        """Let as much time pass as it takes for something to be done, and return its result.

        Raises: TimeoutError when it is not done within `limit_ms` of virtual time; AssertionError when it waits for
        something that no timer will bring about; otherwise whatever the awaitable raises.
        """
        task = asyncio.ensure_future(awaitable)
        end_ns = self._monotonic_ns + int(limit_ms * 1_000_000)
        try:
            while True:
                await settle(until=task)
                if task.done():
                    return task.result()
                if not self._fire_next(end_ns):
                    if self._timers:
                        raise TimeoutError(f"not done within {limit_ms:g} ms of virtual time")
                    raise AssertionError("it waits for something that no timer will bring about")
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _fire_next(self, end_ns: int) -> bool:
        self._drop_cancelled()
        if not self._timers or self._timers[0][0] > end_ns:
            return False
        due_ns, _, timer = heapq.heappop(self._timers)
        self._monotonic_ns = max(self._monotonic_ns, due_ns)
        timer.fire()
        return True

    def _drop_cancelled(self) -> None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)


async def settle(until: asyncio.Future[Any] | None = None) -> None:
    """Return when nothing on the loop is ready to run any more: everybody waits for time, or for input; or when `until`
    is done.

    Raises: AssertionError when the loop never comes to rest (something spins).
    """
    loop = asyncio.get_running_loop()
    ready = getattr(loop, "_ready", None)
    if ready is None:
        # A loop that does not show its queue (uvloop): turns enough for any chain of callbacks a test has.
        for _ in range(200):
            await asyncio.sleep(0)
            if until is not None and until.done():
                break
        return
    for _ in range(_SETTLE_TURNS_MAX):
        await asyncio.sleep(0)
        if not ready or (until is not None and until.done()):
            return
    raise AssertionError("the loop does not come to rest: something is scheduled again in every turn")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
