"""The power goes at every write while timers are cancelled, moved and sent by cron: what was acknowledged holds."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from gantry.protocol.remoting.header.cancel_timers import CancelTimersRequestHeader
from gantry.protocol.remoting.header.create_recurring_timer import CreateRecurringTimerRequestHeader
from gantry.protocol.remoting.header.delete_recurring_timer import DeleteRecurringTimerRequestHeader
from gantry.protocol.remoting.header.reschedule_timers import RescheduleTimersRequestHeader
from gantry.testing import MemoryDisk, SeededRng, VirtualClock
from tests.unit.broker.broker_rig import BrokerRig
from tests.unit.broker.timer_world import attempt, end_all

STRIDE = int(os.environ.get("GANTRY_STOP_STRIDE", "0"))
"""1 cuts at every write."""
BODY_BYTES = 1_500
QUIET = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@dataclass
class World:
    """One broker after another on a disk whose power goes once."""

    cut_at: int
    keep: str
    clock: VirtualClock = field(default_factory=VirtualClock)
    was_cut: bool = False
    steps_done: int = 0

    def __post_init__(self) -> None:
        self.disk = MemoryDisk(clock=self.clock)
        self.rng = SeededRng(self.cut_at)

    async def start(self) -> BrokerRig:
        """A broker; starts again when the power goes while it starts."""
        while True:
            self.rig = BrokerRig(self.disk, clock=self.clock, flush_disk_type="SYNC_FLUSH")
            await attempt(self.clock, self.disk, self.rig.controller.start())
            if not await self.after_cut():
                return self.rig

    async def after_cut(self) -> bool:
        """Whether the power went; then the disk is as a cut leaves it, and no process lives."""
        if not self.disk.is_off:
            return False
        await end_all()
        self.was_cut = True
        self.disk.crash(self.rng, self.keep)
        self.disk.cut_power_at(1 << 60)
        return True

    async def do(self, work: Any) -> bool:
        """Whether it was done, and acknowledged, before the power went; afterwards a broker runs in any case."""
        done = []

        async def noted() -> None:
            await work
            done.append(True)

        await attempt(self.clock, self.disk, noted())
        if await self.after_cut():
            await self.start()
        return bool(done)

    async def wait(self, delay_ms: int) -> None:
        """Time passes, on a broker that runs, wherever in between the power goes."""
        until_ms = self.clock.now_ms() + delay_ms
        while self.clock.now_ms() < until_ms:
            await self.do(self.clock.sleep_ms(until_ms - self.clock.now_ms()))


async def acknowledged(rig: BrokerRig, header: Any, body: bytes = b"") -> None:
    answer = await rig.ask(header, body)
    assert answer.code == 0, answer.remark


async def send(rig: BrokerRig, name: str, delay_ms: int) -> None:
    due_ms = rig.clock.now_ms() + delay_ms
    properties = {"UNIQ_KEY": f"ID-{name}", "KEYS": name, "TIMER_DELIVER_MS": str(due_ms)}
    # So long that a message and the mark behind it lie in several sectors.
    answer = await rig.send("T", name.encode().ljust(BODY_BYTES), queue_id=0, properties=properties)
    assert answer.code == 0, answer.remark


async def changing(cut_at: int, keep: str) -> World:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    world = World(cut_at, keep)
    await world.start()
    sent = {name: await world.do(send(world.rig, name, 8_000)) for name in ("kept", "gone", "moved", "later")}
    assert all(sent.values())
    world.disk.cut_power_at(world.disk.step_count + cut_at, torn=keep == "all")
    before = world.disk.step_count
    target = world.clock.now_ms() + 30_000
    cancelled = await world.do(acknowledged(world.rig, CancelTimersRequestHeader(topic="T", key="gone")))
    moved = await world.do(acknowledged(world.rig, RescheduleTimersRequestHeader(topic="T", key="moved", deliver_ms=target)))
    await world.wait(2_000)
    later = await world.do(acknowledged(world.rig, RescheduleTimersRequestHeader(topic="T", key="later", deliver_ms=target)))
    if world.was_cut and not later:
        # Whoever had no answer asks again, and then one is left.
        later = await world.do(
            acknowledged(world.rig, RescheduleTimersRequestHeader(topic="T", key="later", deliver_ms=target))
        )
    await world.wait(45_000)
    world.steps_done = world.disk.step_count - before
    messages = [each for each in await world.clock.run_until(world.rig.messages("T")) if each.body]
    copies = Counter(each.body.decode().strip() for each in messages)
    assert copies["kept"] == 1
    assert copies["gone"] == 0 if cancelled else copies["gone"] in (0, 1)
    assert copies["moved"] == 1 if moved else copies["moved"] in (1, 2)
    assert later
    assert copies["later"] == 1
    for each in messages:
        if each.body.startswith(b"later") or (each.body.startswith(b"moved") and moved):
            assert each.store_timestamp >= target
    await world.clock.run_until(world.rig.controller.stop())
    await end_all()
    return world


async def by_cron(cut_at: int, keep: str) -> World:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    world = World(cut_at, keep)
    await world.start()
    await world.do(send(world.rig, "first", 0))
    world.disk.cut_power_at(world.disk.step_count + cut_at, torn=keep == "all")
    before = world.disk.step_count
    header = CreateRecurringTimerRequestHeader(name="job", topic="T", cron="*/10 * * * * *", queue_id=0)
    begin_ms = world.clock.now_ms()
    created = await world.do(acknowledged(world.rig, header, b"tick"))
    await world.wait(35_000)
    await world.wait(30_000)
    end_ms = world.clock.now_ms()
    deleted = False
    if created:
        deleted = await world.do(acknowledged(world.rig, DeleteRecurringTimerRequestHeader(name="job")))
        await world.wait(30_000)
    world.steps_done = world.disk.step_count - before
    messages = [each for each in await world.clock.run_until(world.rig.messages("T")) if each.body == b"tick"]
    came = Counter(int(each.properties["CRON_TIME_MS"]) for each in messages)
    assert set(came.values()) <= {1}, came
    if created:
        wanted = set(range(begin_ms - begin_ms % 10_000 + 10_000, end_ms - 1_000, 10_000))
        assert wanted <= came.keys(), sorted(wanted - came.keys())
    if deleted:
        assert max(came) <= end_ms
    await world.clock.run_until(world.rig.controller.stop())
    await end_all()
    return world


async def count_steps(scenario: Any) -> int:
    world: World = await scenario(1 << 40, "all")
    assert not world.was_cut
    return world.steps_done


@QUIET
@pytest.mark.parametrize("keep", ["all", "subset"])
@pytest.mark.parametrize("scenario", [changing, by_cron])
def test_what_was_acknowledged_holds_wherever_the_power_goes(scenario: Any, keep: str) -> None:
    steps = asyncio.run(count_steps(scenario))
    assert steps > 20
    for cut_at in range(1, steps, STRIDE or max(steps // 12, 1) | 1):
        world = asyncio.run(scenario(cut_at, keep))
        assert world.was_cut, f"step {cut_at} of {steps} was never done"
