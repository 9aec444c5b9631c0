"""The timer stopped at every single operation that changes the disk: power cut, process death, torn write; then it goes on.

The life is the same each time: messages of all distances, some recalled, some put back on the way; log and timer log roll,
retention takes the oldest files while timers wait in them, a restart in the middle. After each stop: none early, none lost,
none recalled, one copy of each.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from gantry.testing import MemoryDisk, SeededRng, VirtualClock
from tests.unit.broker.timer_world import Timers, TimerWorld, attempt, end_all

ROUNDS = 2
SENDS = 14
DELAYS_MS = (700, 1_500, 3_000, 5_200, 12_000, 26_000, 41_000, 63_000)
HOUR_MS = 3_600_000
NIGHT = os.environ.get("GANTRY_STOP_SEEDS", "0") != "0"
"""Then at every step; otherwise at every seventh or eleventh."""


async def live(disk: MemoryDisk, clock: VirtualClock, timers: Timers, delivered: dict[str, dict[str, str]], flush: str) -> None:
    number = 0
    for run in range(ROUNDS):
        world = await TimerWorld(disk, clock, timers, flush=flush, flush_ms=700).start()
        for index in range(SENDS):
            number += 1
            key = f"m{number}" + "x" * (number % 2)
            await world.send(key, DELAYS_MS[(number * 5) % len(DELAYS_MS)] + number * 13, b"y" * 400)
            if index % 5 == 4:
                await world.recall(f"m{number}" + "x" * (number % 2))
            await clock.sleep_ms(350)
        await note(world, delivered)
        if run:
            for path in disk.list_dir("/store/commitlog"):
                disk.set_mtime_ms(f"/store/commitlog/{path}", clock.now_ms() - 2 * HOUR_MS)
            assert await world.store.clean_files() > 0
            await clock.sleep_ms(5_000)
            await note(world, delivered)
        await world.stop()


async def note(world: TimerWorld, delivered: dict[str, dict[str, str]]) -> None:
    """Retention may take what has been delivered; here is what was seen of it."""
    for each in await world.delivered():
        delivered[each["UNIQ_KEY"] + each["TIMER_DEQUEUE_MS"]] = each


async def finish(
    disk: MemoryDisk, clock: VirtualClock, timers: Timers, delivered: dict[str, dict[str, str]], flush: str, lose: bool
) -> None:
    world = await clock.run_until(TimerWorld(disk, clock, timers, flush=flush).start())
    await note(world, delivered)
    await clock.run_ms(75_000)
    await note(world, delivered)
    timers.check(list(delivered.values()), may_lose=lose)
    assert {each.count for each in world.timer.account.metrics.counts.values()} <= {0}
    await clock.run_until(world.stop())


async def until_cut(step: int | None, flush: str) -> tuple[MemoryDisk, VirtualClock, Timers, dict[str, dict[str, str]]]:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    timers, delivered = Timers(), dict[str, dict[str, str]]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    if step is not None:
        disk.cut_power_at(step, torn=step % 2 == 0)
    await attempt(clock, disk, live(disk, clock, timers, delivered, flush))
    await end_all()
    return disk, clock, timers, delivered


async def test_the_whole_life_without_a_stop() -> None:
    disk, clock, timers, delivered = await until_cut(None, "SYNC_FLUSH")
    assert any(timed.recall == "accepted" for timed in timers.sent.values())
    await finish(disk, clock, timers, delivered, "SYNC_FLUSH", lose=False)
    assert any("TIMER_ROLL_TIMES" in each for each in delivered.values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("kept", "stride"), [("all", 11), ("none", 11), ("subset", 7)])
@pytest.mark.parametrize("flush", ["SYNC_FLUSH", "ASYNC_FLUSH"])
@pytest.mark.timeout(400)
async def test_timers_survive_a_stop_at_every_step(flush: str, kept: str, stride: int) -> None:
    disk, *_ = await until_cut(None, flush)
    steps = disk.step_count
    assert steps > 300
    if NIGHT:
        stride = 1
    for step in range(1 + len(kept) % stride, steps + 1, stride):
        disk, clock, timers, delivered = await until_cut(step, flush)
        disk.crash(SeededRng(step), kept)  # type: ignore[arg-type]
        try:
            await finish(disk, clock, timers, delivered, flush, lose=flush == "ASYNC_FLUSH" and kept != "all")
        except BaseException as error:
            raise AssertionError(f"{flush}, stopped at step {step} of {steps}, kept {kept}") from error
