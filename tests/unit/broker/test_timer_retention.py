"""What retention is about to delete and what still waits in it: appended again first, whatever the disk says."""

from __future__ import annotations

import errno

import pytest

from gantry.testing import MemoryDisk, VirtualClock
from tests.unit.broker.timer_world import Timers, TimerWorld

HOUR_MS = 3_600_000


async def filled(clock: VirtualClock, disk: MemoryDisk, timers: Timers, *, stop_enqueue: bool = False) -> TimerWorld:
    world = await clock.run_until(TimerWorld(disk, clock, timers, roll_window=100).start())
    world.config.timer_stop_enqueue = stop_enqueue
    for number in range(40):
        await clock.run_until(world.send(f"m{number}", 60_000 + number * 100, b"y" * 400))
    await clock.run_until(world.recall("m3"))
    await clock.run_ms(2_000)
    for name in disk.list_dir("/store/commitlog"):
        disk.set_mtime_ms(f"/store/commitlog/{name}", clock.now_ms() - 2 * HOUR_MS)
    return world


async def all_come(clock: VirtualClock, world: TimerWorld, timers: Timers) -> None:
    await clock.run_ms(70_000)
    timers.check(await world.delivered())
    assert world.timer.account.metrics.counts["T"].count == 0
    await clock.run_until(world.stop())


async def test_pending_timers_outlive_their_part_of_the_log() -> None:
    clock, timers = VirtualClock(), Timers()
    disk = MemoryDisk(clock=clock)
    world = await filled(clock, disk, timers)
    before = world.store.min_physical_offset
    assert await clock.run_until(world.store.clean_files()) > 1
    assert world.store.min_physical_offset > before
    assert world.timer.book.moved_below == world.store.min_physical_offset
    await clock.run_ms(31_000)
    assert world.timer.book.log.first > 0, "files of the timer log whose records are gone stay"
    await all_come(clock, world, timers)


async def test_room_is_made_although_the_disk_counts_as_too_full() -> None:
    clock, timers = VirtualClock(), Timers()
    disk = MemoryDisk(clock=clock)
    world = await filled(clock, disk, timers)
    world.store.state.over_ratio = "the disk is 95% full"
    assert await clock.run_until(world.timer.append_again_below(8192))
    assert world.store.state.over_ratio is not None
    world.store.state.over_ratio = None
    await all_come(clock, world, timers)


async def test_what_cannot_be_appended_again_is_not_deleted() -> None:
    clock, timers = VirtualClock(), Timers()
    disk = MemoryDisk(clock=clock)
    world = await filled(clock, disk, timers)
    before = world.store.min_physical_offset
    disk.fail("pwrite", error=errno.ENOSPC, path_part="commitlog", times=1)
    assert await clock.run_until(world.store.clean_files()) == 0
    assert world.store.min_physical_offset == before
    await clock.run_ms(3_000)
    assert await clock.run_until(world.store.clean_files()) > 0
    await all_come(clock, world, timers)


@pytest.mark.parametrize("stop_enqueue", [False, True])
async def test_messages_outside_the_wheel_keep_their_part_of_the_log(stop_enqueue: bool) -> None:
    clock, timers = VirtualClock(), Timers()
    disk = MemoryDisk(clock=clock)
    world = await filled(clock, disk, timers, stop_enqueue=stop_enqueue)
    assert (await clock.run_until(world.store.clean_files()) == 0) == stop_enqueue
    world.config.timer_stop_enqueue = False
    await all_come(clock, world, timers)
