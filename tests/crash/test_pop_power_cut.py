"""Power cut and process death at every step of a broker that serves pops, then a restart.

The life is the same each time: messages are sent, popped, acknowledged one by one and in a batch, changed, left to come
back, popped in order; offsets are saved and the ledger's journal ends several times meanwhile. After each stop: nothing that
was sent is lost, and after a mere death nothing comes again that was acknowledged, and nothing comes early.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from gantry.testing import MemoryDisk, SeededRng, VirtualClock
from tests.crash.record import record
from tests.unit.broker.pop_rig import Popped, PopRig

FIRST_SEED = int(os.environ.get("GANTRY_STOP_FIRST", "100"))
STRIDE = int(os.environ.get("GANTRY_STOP_STRIDE", "3"))
"""1: at every step in each way. Otherwise the ways share the steps among them."""
MORE_SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("GANTRY_STOP_SEEDS", "0")))

INVISIBLE_MS = 300
SETTINGS: dict[str, Any] = {
    "pop_journal_bytes_max": 256,
    "flush_consumer_offset_interval": 70,
    "mapped_file_size_commit_log": 1 << 14,
    "default_topic_queue_nums": 2,
}


@dataclass
class History:
    """What clients were told."""

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    out_until: dict[str, int] = field(default_factory=dict)
    """Body -> until when its last handle keeps it from others."""
    asked: set[str] = field(default_factory=set)
    """Bodies about which a request was sent that may or may not have been served."""


class Client:
    def __init__(self, rig: PopRig, history: History) -> None:
        self.rig = rig
        self.history = history

    async def send(self, topic: str, body: str, queue_id: int) -> None:
        if (await self.rig.send(topic, body.encode(), queue_id=queue_id)).code == 0:
            self.history.sent.add(body)

    async def pop(self, topic: str = "T", invisible_time: int = INVISIBLE_MS, **fields: Any) -> list[Popped]:
        found = await self.rig.pop(topic, invisible_time=invisible_time, **fields)
        for one in found:
            self.history.out_until[one.body.decode()] = self.rig.clock.now_ms() + invisible_time
        return found

    def is_mine(self, one: Popped) -> bool:
        return self.rig.clock.now_ms() < self.history.out_until[one.body.decode()]

    async def ack(self, *batch: Popped, together: bool = False) -> None:
        mine = [one for one in batch if self.is_mine(one)]
        bodies = {one.body.decode() for one in mine}
        self.history.asked |= bodies
        if together and mine:
            codes = {(await self.rig.batch_ack(mine)).code}
        else:
            codes = {(await self.rig.ack(one)).code for one in mine}
        if codes == {0}:
            self.history.acknowledged |= bodies
            self.history.asked -= bodies

    async def change(self, one: Popped, invisible_ms: int) -> None:
        if not self.is_mine(one):
            return
        body = one.body.decode()
        # Until the answer is there either of the two deadlines may be the one that counts.
        self.history.out_until[body] = min(self.history.out_until[body], self.rig.clock.now_ms() + invisible_ms)
        if (await self.rig.change(one, invisible_ms)).code == 0:
            self.history.out_until[body] = self.rig.clock.now_ms() + invisible_ms


async def live(disk: MemoryDisk, clock: VirtualClock, history: History, flush: str) -> None:
    for run in range(2):
        rig = PopRig(disk, clock=clock, flush_disk_type=flush, **SETTINGS)
        await rig.controller.start()
        client = Client(rig, history)
        await rig.heartbeat("T", "O")
        for n in range(6):
            await client.send("T", f"t{run}-{n}", n % 2)
        for n in range(4):
            await client.send("O", f"o{run}-{n}", 0)
        found = await client.pop()
        await client.ack(found[0])
        await client.ack(*[one for one in found[1:] if one.queue_id == found[1].queue_id][:2], together=True)
        await client.change(found[-1], 100)
        in_order = await client.pop("O", queue_id=0, order=True, max_msg_nums=2)
        await client.ack(*in_order[:1])
        await clock.sleep_ms(150)
        again = await client.pop()
        await client.ack(*again)
        await client.ack(*in_order[1:])
        await clock.sleep_ms(400)
        for one in await client.pop():
            await client.ack(one)
        await client.pop("O", queue_id=0, order=True, max_msg_nums=2)
        # Not after a cut: a dead process stops nothing.
        await rig.client.close()
        await rig.controller.stop()


async def verify(disk: MemoryDisk, clock: VirtualClock, history: History, *, kept: str, flush: str) -> None:
    async with PopRig(disk, clock=clock, flush_disk_type=flush, **SETTINGS) as rig:
        await rig.heartbeat("T", "O")
        # The broker goes on; and both topics are there, however early the stop came.
        for topic in ("T", "O"):
            assert (await rig.send(topic, f"after-{topic}".encode())).code == 0
            history.sent.add(f"after-{topic}")
        came: set[str] = set()
        for _ in range(12):
            for topic, fields in (("T", {}), ("O", {"queue_id": 0, "order": True})):
                while found := await rig.pop(topic, invisible_time=60_000, **fields):
                    for one in found:
                        body = one.body.decode()
                        came.add(body)
                        if kept == "all":
                            assert body not in history.acknowledged, f"{body} was acknowledged and came again"
                            until = history.out_until.get(body, 0)
                            assert clock.now_ms() >= until, f"{body} came {until - clock.now_ms()} ms early"
                        assert (await rig.ack(one)).code == 0
            await clock.run_ms(100)
        lost = history.sent - history.acknowledged - history.asked - came
        if kept == "all" or flush == "SYNC_FLUSH":
            assert not lost, f"lost: {sorted(lost)}"
        account = rig.context.pop.account
        assert account.ledger.out_count == 0
        # What was given back is committed once its copy is on the disk.
        assert await rig.context.store.flush()
        account.settle()
        for topic in ("T", "O"):
            for queue_id in range(2):
                end = rig.context.store.max_offset(topic, queue_id)
                assert rig.committed(queue_id, topic) in (end, -1 if end == 0 else end)


async def run_until_cut(step: int, flush: str, *, torn: bool) -> tuple[MemoryDisk, VirtualClock, History, bool]:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    history = History()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    if step:
        disk.cut_power_at(step, torn=torn)
    life = asyncio.ensure_future(live(disk, clock, history, flush))
    for _ in range(100_000):
        await asyncio.sleep(0)
        if life.done() or disk.is_off:
            break
        if not asyncio.get_running_loop()._ready:  # type: ignore[attr-defined]
            clock.advance_ms(1)
    else:
        raise AssertionError("the broker came to a stand")
    for _ in range(20):
        await asyncio.sleep(0)
    cut = disk.is_off
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not cut:
        life.result()
    return disk, clock, history, cut


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "first_seed"), [("all", 3), ("none", 4), ("subset", 5), *(("subset", seed) for seed in MORE_SEEDS)]
)
@pytest.mark.parametrize("flush", ["SYNC_FLUSH", "ASYNC_FLUSH"])
@pytest.mark.timeout(600)
async def test_popped_messages_survive_a_stop_at_every_step(flush: str, kept: str, first_seed: int) -> None:
    disk, _, history, _ = await run_until_cut(0, flush, torn=False)
    steps = disk.step_count
    assert steps > 200
    assert len(history.acknowledged) >= 12
    effective = acknowledged = 0
    for step in range(1 + first_seed % STRIDE, steps + 1, STRIDE):
        seed = step * 31 + first_seed
        disk, clock, history, cut = await run_until_cut(step, flush, torn=step % 2 == 0)
        effective += cut
        acknowledged += len(history.acknowledged)
        disk.crash(SeededRng(seed), kept)  # type: ignore[arg-type]
        try:
            await verify(disk, clock, history, kept=kept, flush=flush)
        except BaseException as error:
            raise AssertionError(f"{flush}, stopped at step {step} of {steps}, kept {kept}, seed {seed}") from error
    assert effective >= steps // STRIDE - 5
    record("simulated stop of pops", flush=flush, times=effective, acknowledged=acknowledged, lost=0, seed=first_seed)
