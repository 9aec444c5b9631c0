"""The power goes under a broker, on a real file system, again and again: what was synced is there, and nothing else was shown.

Each cycle: start on what the last cut left, load, cut the power while all senders send, mount the disk again (its journal is
replayed), start, read everything back, walk the files, at times let retention delete the oldest ones. Under SYNC_FLUSH
nothing that was acknowledged or that a consumer read may be missing; under ASYNC_FLUSH only the end of a queue may.
"""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest

from gantry.runtime.system_disk import SystemDisk
from gantry.store.fsck import check_store
from tests.crash.cycles import run_cycles
from tests.crash.history import History
from tests.crash.load import QUEUES, read_queue, send_until_closed
from tests.crash.loop_disk import LoopDisk, stop_the_machine
from tests.crash.record import record
from tests.crash.retention import age_all_but_the_newest, wait_for_retention
from tests.interop.cluster import GantryBroker

CUTS = int(os.environ.get("GANTRY_POWER_CUTS", "25"))
ACKNOWLEDGED_MIN = 200
SETTINGS = {
    "mappedFileSizeCommitLog": 1 << 20,
    "mappedFileSizeConsumeQueue": 20 * 100,
    "maxHashSlotNum": 200,
    "maxIndexNum": 800,
    "fileReservedTime": 1,
    "deleteWhen": ";".join(f"{hour:02}" for hour in range(24)),
    "cleanResourceInterval": 100,
    "deleteCommitLogFilesInterval": 30,
    "flushIntervalConsumeQueue": 20,
    "flushConsumeQueueThoroughInterval": 50,
    "defaultTopicQueueNums": QUEUES,
    "diskMaxUsedSpaceRatio": 95,
}


@pytest.mark.slow
@pytest.mark.timeout(max(900, 10 * CUTS))
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_what_was_synced_survives_power_cut_after_power_cut(flush: str, disk: LoopDisk) -> None:
    seed = int(os.environ.get("GANTRY_SEED", "0")) or random.randrange(1 << 32)
    print(f"seed {seed}")
    broker = GantryBroker(disk.path / "broker", "", settings={**SETTINGS, "flushDiskType": flush})
    loop = PowerCutLoop(broker, disk, seed, sync=flush == "SYNC_FLUSH")
    run_cycles(loop, CUTS)
    assert loop.cut_off >= CUTS, "no send was under way when the power went"
    if flush == "ASYNC_FLUSH" and CUTS >= 5:
        assert loop.lost > 0, "no cut lost anything: it was none"
    record("power cut", flush=flush, times=CUTS, acknowledged=loop.acknowledged, lost=loop.lost, seed=seed)
    print(f"{CUTS} power cuts, {loop.acknowledged} acknowledged, {loop.lost} of them lost at the end of a queue, "
          f"{loop.cut_off} sends without an answer, seed {seed}")  # fmt: skip


class PowerCutLoop:
    """The cycles of one broker; with `sync`, none of what was acknowledged or read may be lost."""

    def __init__(self, broker: GantryBroker, disk: LoopDisk, seed: int, *, sync: bool) -> None:
        self.broker = broker
        self.seed = seed
        self.history = History()
        self.acknowledged = self.lost = self.cut_off = 0
        self._disk = disk
        self._sync = sync
        self._rng = random.Random(seed)
        self._numbers = [0] * (QUEUES * 2)
        self._cycle = 0
        self._kept = dict.fromkeys(range(QUEUES), 0)

    def cycle(self) -> None:
        where = f"cycle {self._cycle}, seed {self.seed}"
        before = len(self.history.acknowledged)
        asyncio.run(self._load_and_cut())
        self.acknowledged += len(self.history.acknowledged) - before
        self._disk.unmount()
        self._disk.mount()
        self.broker.start()
        asyncio.run(self._read_all_and_compare())
        faults = check_store(SystemDisk(), str(self.broker.store))
        assert not faults, f"{where}: " + "; ".join(faults[:5])
        if self._cycle % 4 == 3:
            wait_for_retention(age_all_but_the_newest(self.broker.store, self._kept))
        self._cycle += 1

    async def _load_and_cut(self) -> None:
        history = self.history
        goal = len(history.acknowledged) + ACKNOWLEDGED_MIN + self._rng.randrange(300)
        unknown = len(history.unknown)
        senders = [
            asyncio.create_task(send_until_closed(self.broker.port, sender, sender % QUEUES, self._numbers, history, 700))
            for sender in range(len(self._numbers))
        ]
        reader = asyncio.create_task(self._read_meanwhile())
        limit = time.monotonic() + 60
        while len(history.acknowledged) < goal:
            assert time.monotonic() < limit, f"only {len(history.acknowledged)} of {goal} sends acknowledged"
            await asyncio.sleep(0.002)
        await asyncio.sleep(self._rng.random() * 0.06)
        await asyncio.to_thread(stop_the_machine, self.broker, self._disk)
        await asyncio.gather(*senders)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        self.cut_off += len(history.unknown) - unknown + len(history.refused)

    async def _read_meanwhile(self) -> None:
        """A consumer of each queue in turn; what it saw must still be there after the cut, if readable means safe."""
        ends = dict.fromkeys(range(QUEUES), 0)
        for queue_id in range(QUEUES):
            ends[queue_id] = 1 + max((place[1] for place in self.history.seen if place[0] == queue_id), default=-1)
        while True:
            for queue_id in range(QUEUES):
                first, bodies = await read_queue(self.broker.port, queue_id, begin=ends[queue_id])
                for offset, body in enumerate(bodies, first):
                    self.history.seen[queue_id, offset] = body
                ends[queue_id] = first + len(bodies)
            await asyncio.sleep(0.01)

    async def _read_all_and_compare(self) -> None:
        for queue_id in range(QUEUES):
            first, bodies = await read_queue(self.broker.port, queue_id)
            if not self._sync:
                self.lost += self.history.forget_from(queue_id, first + len(bodies))
            self.history.check_queue(queue_id, first, bodies, kept=self._kept[queue_id], seed=self.seed)
