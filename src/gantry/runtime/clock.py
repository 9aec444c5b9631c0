"""The clock door: what time it is, and waking up later.

Two times, never mixed: `now_ms` is the wall clock (ms since 1970 UTC; it may jump either way, so it is only ever stored
or shown), the monotonic ones measure how long something took and drive every lease and time-out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class TimerHandle(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """The call will not be made; harmless when it was made already."""


class Clock(Protocol):
    """Wall time, elapsed time, and calls at a later time. Units: as the names say."""

    def now_ms(self) -> int:
        """Wall clock, ms since 1970 UTC."""

    def monotonic_ms(self) -> int:
        """Elapsed time since some fixed point of this process; never goes back."""

    def monotonic_ns(self) -> int:
        """As monotonic_ms, finer."""

    def call_later(self, delay_ms: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call once, on the loop, when `delay_ms` of elapsed time have passed; calls due together keep their order."""

    async def sleep_ms(self, delay_ms: float) -> None:
        """Return when `delay_ms` of elapsed time have passed."""


class SystemClock:
    """The machine's clocks; timers run on the running asyncio loop."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    monotonic_ns = staticmethod(time.monotonic_ns)

    def call_later(self, delay_ms: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        return asyncio.get_running_loop().call_later(max(delay_ms, 0) / 1000, callback, *args)

    async def sleep_ms(self, delay_ms: float) -> None:
        await asyncio.sleep(max(delay_ms, 0) / 1000)


async def wait_for(clock: Clock, awaitable: Awaitable[T], timeout_ms: float) -> T:
    """Await something for at most `timeout_ms` of this clock's time, then cancel it.

    Unlike asyncio.wait_for it runs on the Clock door, so a virtual clock can make it expire without any waiting.
    Raises: TimeoutError when the time is over; otherwise whatever the awaitable raises.
    """
    task = asyncio.ensure_future(awaitable)
    if task.done():
        return task.result()
    expired = False

    def expire() -> None:
        nonlocal expired
        if not task.done():
            expired = True
            task.cancel()

    timer = clock.call_later(timeout_ms, expire)
    try:
        return await task
    except asyncio.CancelledError:
        # Only our own expiry becomes a TimeoutError: a cancellation from outside must travel on.
        current = asyncio.current_task()
        if expired and (current is None or not current.cancelling()):
            raise TimeoutError(f"not done within {timeout_ms:g} ms") from None
        task.cancel()
        raise
    finally:
        timer.cancel()
