"""The virtual clock, and waiting with a time limit on any clock."""

from __future__ import annotations

import asyncio

import pytest

from gantry.runtime.clock import Clock, SystemClock, wait_for
from gantry.testing import VirtualClock, settle


def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(5_000, monotonic_ms=70)
    assert (clock.now_ms(), clock.monotonic_ms(), clock.monotonic_ns()) == (5_000, 70, 70_000_000)
    clock.advance_ms(1.5)
    clock.advance_ms(1.5)
    assert (clock.now_ms(), clock.monotonic_ms()) == (5_003, 73)


def test_timers_fire_in_order_and_see_their_own_time() -> None:
    clock = VirtualClock(0, monotonic_ms=0)
    seen: list[tuple[str, int]] = []

    def note(name: str) -> None:
        seen.append((name, clock.monotonic_ms()))

    clock.call_later(20, note, "b")
    clock.call_later(10, note, "a")
    clock.call_later(20, note, "c")
    clock.call_later(15, lambda: clock.call_later(5, note, "d"))
    clock.call_later(15, note, "never").cancel()
    clock.call_later(31, note, "later")
    assert clock.timer_count == 5
    assert clock.next_due_ms() == 10
    clock.advance_ms(30)
    assert seen == [("a", 10), ("b", 20), ("c", 20), ("d", 20)]
    assert clock.monotonic_ms() == 30
    assert clock.timer_count == 1


def test_the_wall_clock_jumps_alone() -> None:
    clock = VirtualClock(1_000_000)
    fired: list[int] = []
    clock.call_later(10, fired.append, 1)
    before = clock.monotonic_ms()
    clock.jump_wall_ms(-7_200_000)
    assert clock.now_ms() == 1_000_000 - 7_200_000
    assert clock.monotonic_ms() == before
    assert not fired
    clock.advance_ms(10)
    assert fired == [1]


async def test_run_lets_woken_tasks_go_on_before_the_next_timer() -> None:
    clock = VirtualClock(0)
    seen: list[int] = []

    async def ticker() -> None:
        for _ in range(5):
            await clock.sleep_ms(100)
            seen.append(clock.now_ms())

    task = asyncio.ensure_future(ticker())
    await clock.run_ms(350)
    assert seen == [100, 200, 300]
    await clock.run_ms(150)
    assert task.done()
    assert clock.timer_count == 0


async def test_a_cancelled_sleep_leaves_no_timer() -> None:
    clock = VirtualClock()
    task = asyncio.ensure_future(clock.sleep_ms(100))
    await settle()
    assert clock.timer_count == 1
    task.cancel()
    await settle()
    assert clock.timer_count == 0


async def test_a_spinning_loop_is_found() -> None:
    stop = False

    def spin() -> None:
        if not stop:
            asyncio.get_running_loop().call_soon(spin)

    spin()
    with pytest.raises(AssertionError, match="does not come to rest"):
        await settle()
    stop = True


async def test_wait_for_in_time() -> None:
    clock = VirtualClock()

    async def answer() -> int:
        await clock.sleep_ms(10)
        return 5

    task = asyncio.ensure_future(wait_for(clock, answer(), 100))
    await clock.run_ms(10)
    assert task.result() == 5
    assert clock.timer_count == 0


async def test_wait_for_too_late() -> None:
    clock = VirtualClock()
    cancelled = False

    async def answer() -> None:
        nonlocal cancelled
        try:
            await clock.sleep_ms(1000)
        except asyncio.CancelledError:
            cancelled = True
            raise

    task = asyncio.ensure_future(wait_for(clock, answer(), 100))
    await clock.run_ms(100)
    with pytest.raises(TimeoutError, match="100 ms"):
        task.result()
    assert cancelled
    assert clock.timer_count == 0


async def test_wait_for_cancelled_from_outside() -> None:
    clock = VirtualClock()
    inner = asyncio.ensure_future(clock.sleep_ms(1000))
    task = asyncio.ensure_future(wait_for(clock, inner, 100))
    await settle()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert inner.cancelled()


async def test_wait_for_passes_errors_on() -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await wait_for(VirtualClock(), fail(), 100)


@pytest.mark.parametrize("make", [SystemClock, VirtualClock])
async def test_both_clocks_keep_the_same_promises(make: type[Clock]) -> None:
    clock = make()
    assert clock.now_ms() > 1_600_000_000_000
    seen: list[int] = []
    clock.call_later(10, seen.append, 2)
    clock.call_later(1, seen.append, 1)
    cancelled = clock.call_later(2, seen.append, 3)
    cancelled.cancel()
    cancelled.cancel()
    before = clock.monotonic_ns()
    sleeping = asyncio.ensure_future(clock.sleep_ms(20))
    if isinstance(clock, VirtualClock):
        await clock.run_ms(20)
    await sleeping
    assert seen == [1, 2]
    assert clock.monotonic_ns() - before >= 19_000_000
    assert clock.monotonic_ms() == pytest.approx(clock.monotonic_ns() / 1e6, abs=5)
