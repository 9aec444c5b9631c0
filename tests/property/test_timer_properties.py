"""For all sequences of sends, recalls, waits, stops, kills, power cuts, clock jumps: the timer equals a table of messages."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry.testing import MemoryDisk, SeededRng, VirtualClock, settle
from tests.unit.broker.timer_world import Timers, TimerWorld, attempt, end_all

DELAYS_MS = st.one_of(st.integers(1, 6_000), st.integers(1, 70_000))
sends = st.tuples(st.just("send"), DELAYS_MS)
recalls = st.tuples(st.just("recall"), st.integers(0, 40))
waits = st.tuples(st.just("wait"), st.integers(1, 9_000))
jumps = st.tuples(st.just("jump"), st.sampled_from([-200_000, -30_000, -1_500, -300, 2_500, 40_000, 900_000]))
stops = st.tuples(st.sampled_from(["restart", "kill", "lose the wheel", "checkpoint"]), st.just(0))
cuts = st.tuples(st.just("cut"), st.integers(1, 60))
"""Power goes at the n-th write, sync or rename from here."""

operations = st.lists(st.one_of(sends, sends, sends, sends, recalls, waits, waits, jumps, stops, cuts), max_size=40)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@given(operations, st.sampled_from(["SYNC_FLUSH", "ASYNC_FLUSH"]), st.integers(0, 1 << 16))
@settings(max_examples=int(os.environ.get("TIMER_EXAMPLES", "60")), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_timer_equals_a_table(steps: list[tuple[str, int]], flush: str, seed: int) -> None:
    asyncio.run(_compare(steps, flush, seed))


async def _compare(steps: list[tuple[str, int]], flush: str, seed: int) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    rng = SeededRng(seed)
    timers = Timers()
    world = await clock.run_until(TimerWorld(disk, clock, timers, flush=flush).start())
    may_lose = False
    for number, (what, value) in enumerate(steps):
        match what:
            case "send":
                await attempt(
                    clock, disk, world.send(f"{number}".rjust(1 + number % 3, "k"), value, b"x" * (number * 37 % 300))
                )
            case "recall":
                keys = list(timers.sent)
                if keys:
                    await attempt(clock, disk, world.recall(keys[value % len(keys)]))
            case "wait":
                await attempt(clock, disk, clock.sleep_ms(value))
            case "jump":
                await settle()
                clock.jump_wall_ms(value)
            case "cut":
                disk.cut_power_at(disk.step_count + value, torn=bool(value % 2))
            case "checkpoint":
                await attempt(clock, disk, world.store.checkpoint())
            case "kill":
                await end_all()
                disk.crash(keep="all")
                world = await again(disk, clock, timers, flush)
            case _:
                if not disk.is_off:
                    await attempt(clock, disk, world.stop())
                if not disk.is_off:
                    if what == "lose the wheel":
                        disk.unlink("/store/timerwheel") if disk.exists("/store/timerwheel") else None
                    world = await again(disk, clock, timers, flush)
        if disk.is_off:
            await end_all()
            disk.crash(rng, rng.choice(["all", "none", "subset"]))
            may_lose = may_lose or flush == "ASYNC_FLUSH"
            world = await again(disk, clock, timers, flush)
    disk.cut_power_at(1 << 60)
    last = max((timed.due_ms for timed in timers.sent.values()), default=0)
    clock.jump_wall_ms(max(last - clock.now_ms() - 3_000, 0))
    await clock.run_ms(last - clock.now_ms() + 4_000 if last > clock.now_ms() else 4_000)
    timers.check([each for each in await world.delivered() if "TIMER_DEQUEUE_MS" in each], may_lose=may_lose)
    counts = {topic: each.count for topic, each in world.timer.account.metrics.counts.items()}
    assert set(counts.values()) <= {0}, counts
    await clock.run_until(world.stop())


async def again(disk: MemoryDisk, clock: VirtualClock, timers: Timers, flush: str) -> TimerWorld:
    """Starts; the power may go while it does."""
    while True:
        world = TimerWorld(disk, clock, timers, flush=flush)
        await attempt(clock, disk, world.start())
        if not disk.is_off:
            return world
        await end_all()
        disk.crash(keep="all")
