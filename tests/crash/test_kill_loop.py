"""kill -9 of a broker under load, again and again, at random moments.

Each cycle: start on what the last kill left, read everything back and compare with the history, walk the files and
compare queues and index with the log, then load until at least 1,000 sends were acknowledged and kill. Log, queue and
index files are small, so that each cycle rolls all of them. In every other cycle the kill comes while retention deletes
the oldest files under load; in the others it deletes them after the start.

The official broker goes through the same cycles, fewer of them, without retention (its first look comes a minute after
the start), and only what can be read is compared. Its files keep more of a kill than ours: half a record may stay behind
the end of the log, and its index gets the keys of what it read again a second time.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gantry.runtime.system_disk import SystemDisk
from gantry.store.fsck import check_store
from tests.crash.conftest import need_official_server
from tests.crash.cycles import run_cycles
from tests.crash.history import History
from tests.crash.load import QUEUES, TOPIC, read_queue, send_until_closed
from tests.crash.record import record
from tests.crash.retention import age_all_but_the_newest, wait_for_retention
from tests.interop.cluster import AnyBroker, GantryBroker, OfficialBroker

CYCLES = int(os.environ.get("GANTRY_KILL_CYCLES", "50"))
OFFICIAL_CYCLES = max(CYCLES // 10, 1)  # a start of it takes seconds
ACKNOWLEDGED_MIN = 1_000
BODY_BYTES = 1_100
LOG_FILE_BYTES = 1024 * 1024
SETTINGS = {
    "mappedFileSizeCommitLog": LOG_FILE_BYTES,
    "mappedFileSizeConsumeQueue": 20 * 100,
    "maxHashSlotNum": 200,
    "maxIndexNum": 800,
    "fileReservedTime": 1,
    "deleteWhen": ";".join(f"{hour:02}" for hour in range(24)),
    "flushIntervalConsumeQueue": 20,
    "flushConsumeQueueThoroughInterval": 50,  # a checkpoint each 50 ms: kills come in the middle of them, too
    "cleanResourceInterval": 100,
    "deleteCommitLogFilesInterval": 30,
    "defaultTopicQueueNums": QUEUES,
}


@pytest.mark.slow
@pytest.mark.timeout(max(900, 6 * CYCLES))
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_acknowledged_messages_survive_kill_after_kill(flush: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("GANTRY_SEED", "0")) or random.randrange(1 << 32)
    print(f"seed {seed}")
    broker = GantryBroker(tmp_path, "", settings={**SETTINGS, "flushDiskType": flush})
    loop = KillLoop(broker, seed)
    run_cycles(loop, CYCLES)
    assert loop.compared >= CYCLES * ACKNOWLEDGED_MIN
    if CYCLES >= 10:
        assert loop.retired > 0, "retention never deleted a file"
    if CYCLES >= 40:
        assert loop.cut_short > 0, "no kill came in the middle of a deletion"
    record("kill -9", flush=flush, times=CYCLES, acknowledged=len(loop.history.acknowledged), lost=0, seed=seed)
    print(f"{CYCLES} kills, {len(loop.history.acknowledged)} acknowledged, {len(loop.history.unknown)} unknown, "
          f"{loop.cut_short} kills in the middle of a deletion, seed {seed}")  # fmt: skip


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.timeout(max(900, 60 * OFFICIAL_CYCLES))
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_the_official_broker_in_the_same_cycles(flush: str, tmp_path: Path) -> None:
    need_official_server()
    seed = int(os.environ.get("GANTRY_SEED", "0")) or random.randrange(1 << 32)
    print(f"seed {seed}")
    loop = OfficialKillLoop(OfficialBroker(tmp_path, "", settings={**SETTINGS, "flushDiskType": flush}), seed)
    run_cycles(loop, OFFICIAL_CYCLES)
    assert loop.compared >= OFFICIAL_CYCLES * ACKNOWLEDGED_MIN
    acknowledged = len(loop.history.acknowledged)
    record("kill -9, official broker", flush=flush, times=OFFICIAL_CYCLES, acknowledged=acknowledged, lost=0, seed=seed)


class KillLoop:
    """The cycles of one broker. `before_start` and `before_check` may do damage: for tests of this test."""

    def __init__(
        self,
        broker: AnyBroker,
        seed: int,
        *,
        before_start: Callable[[KillLoop], None] = lambda loop: None,
        before_check: Callable[[KillLoop], None] = lambda loop: None,
    ) -> None:
        self.broker = broker
        self.seed = seed
        self.history = History()
        self.compared = self.retired = self.cut_short = 0
        self._before_start, self._before_check = before_start, before_check
        self._rng = random.Random(seed)
        self._numbers = [0] * (QUEUES * 2)
        self._cycle = 0
        self._newest = newest_files(broker.store)
        self._kept = dict.fromkeys(range(QUEUES), 0)

    def cycle(self) -> None:
        where = f"cycle {self._cycle}, seed {self.seed}"
        before = len(self.history.acknowledged)
        expired = asyncio.run(self._load_and_kill(age=self._cycle % 2 == 1))
        assert len(self.history.acknowledged) - before >= ACKNOWLEDGED_MIN, f"{where}: too little load"
        self._newest = newest_files(self.broker.store)
        left = [path for path in expired if path.exists()]
        self.cut_short += 0 < len(left) < len(expired)
        if not expired:
            left = expired = self.age()
        self._before_start(self)
        self.broker.start()
        if left:
            wait_for_retention(left)
        self.retired += len(expired)
        self._before_check(self)
        self.compared += asyncio.run(self._read_all_and_compare())
        faults = self.check_files()
        assert not faults, f"{where}: " + "; ".join(faults[:5])
        self._cycle += 1

    def age(self) -> list[Path]:
        """Makes the oldest files of the log due to go; returns them."""
        return age_all_but_the_newest(self.broker.store, self._kept)

    def check_files(self) -> list[str]:
        """What is wrong in the store of the running broker."""
        return check_store(SystemDisk(), str(self.broker.store))

    async def _load_and_kill(self, *, age: bool) -> list[Path]:
        """Several senders a queue; the kill comes while all of them are sending, and, with `age`, while retention deletes.

        Returns: the files of the log that retention was given to delete.
        """
        history, expired = self.history, []
        goal = len(history.acknowledged) + ACKNOWLEDGED_MIN + self._rng.randrange(500)
        senders = [
            asyncio.create_task(
                send_until_closed(self.broker.port, sender, sender % QUEUES, self._numbers, history, BODY_BYTES)
            )
            for sender in range(len(self._numbers))
        ]
        limit = time.monotonic() + 60
        while len(history.acknowledged) < goal:
            assert time.monotonic() < limit, f"only {len(history.acknowledged)} of {goal} sends acknowledged"
            await asyncio.sleep(0.002)
        while not_rolled := self._not_rolled():
            # On a busy machine a checkpoint, which is what writes the index, may come late.
            assert time.monotonic() < limit, f"no file of {', '.join(not_rolled)} was rolled"
            await asyncio.sleep(0.01)
        if age:
            expired = self.age()
            while expired and expired[0].exists():
                assert time.monotonic() < limit, f"retention left {expired[0]}, which expired two hours ago"
                await asyncio.sleep(0.001)
        # Files of the log go 30 ms apart, then those of queues and index.
        await asyncio.sleep(self._rng.random() * (0.08 if expired else 0.02))
        await asyncio.to_thread(self.broker.kill)
        await asyncio.gather(*senders)
        return expired

    async def _read_all_and_compare(self) -> int:
        """Reads every queue from its minimum to its end; the number of messages compared."""
        total = 0
        for queue_id in range(QUEUES):
            first, bodies = await read_queue(self.broker.port, queue_id)
            self.history.check_queue(queue_id, first, bodies, kept=self._kept[queue_id], seed=self.seed)
            total += len(bodies)
        return total

    def _not_rolled(self) -> list[str]:
        """Which of log, queues and index have not gone on to another file: a cycle without that tests less than it says."""
        return [kind for kind, name in newest_files(self.broker.store).items() if name <= self._newest[kind]]


class OfficialKillLoop(KillLoop):
    """What the module says about the official broker."""

    def age(self) -> list[Path]:
        return []

    def check_files(self) -> list[str]:
        return []


def newest_files(store: Path) -> dict[str, str]:
    """The name of the newest file of the log, of any queue, and of the index."""
    folders = {
        "log": ["commitlog"],
        "queues": [f"consumequeue/{TOPIC}/{number}" for number in range(QUEUES)],
        "index": ["index"],
    }
    return {
        kind: max((path.name for name in names for path in (store / name).glob("*")), default="")
        for kind, names in folders.items()
    }
