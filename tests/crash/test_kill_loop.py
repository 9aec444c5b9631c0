"""kill -9 of a broker under load, again and again, at random moments.

Each cycle: start on what the last kill left, read everything back and compare with the history, walk the files and
compare queues and index with the log, then load until at least 1,000 sends were acknowledged and kill. Log, queue and
index files are small, so that each cycle rolls, and retention deletes the oldest files all the while.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from gantry.runtime.system_disk import SystemDisk
from gantry.store.fsck import check_store
from tests.crash.history import History
from tests.crash.load import QUEUES, read_queue, send_until_closed
from tests.interop.cluster import GantryBroker

CYCLES = int(os.environ.get("GANTRY_KILL_CYCLES", "50"))
ACKNOWLEDGED_MIN = 1_000
BODY_BYTES = 700
LOG_FILE_BYTES = 1024 * 1024
LOG_FILES_KEPT = 6
SETTINGS = {
    "mappedFileSizeCommitLog": LOG_FILE_BYTES,
    "mappedFileSizeConsumeQueue": 20 * 300,
    "maxHashSlotNum": 200,
    "maxIndexNum": 800,
    "fileReservedTime": 1,
    "deleteWhen": ";".join(f"{hour:02}" for hour in range(24)),
    "cleanResourceInterval": 100,
    "deleteCommitLogFilesInterval": 1,
    "defaultTopicQueueNums": QUEUES,
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_acknowledged_messages_survive_kill_after_kill(flush: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("GANTRY_SEED", "0")) or random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    history = History()
    numbers = [0] * (QUEUES * 2)
    broker = GantryBroker(tmp_path, "", settings={**SETTINGS, "flushDiskType": flush})
    compared = retired = 0
    try:
        broker.start()
        for cycle in range(CYCLES):
            before = len(history.acknowledged)
            asyncio.run(load_and_kill(broker, history, numbers, rng))
            assert len(history.acknowledged) - before >= ACKNOWLEDGED_MIN, f"cycle {cycle}, seed {seed}: too little load"
            files = log_files(broker.store)
            age_all_but_the_newest(files)
            broker.start()
            if len(files) > LOG_FILES_KEPT:
                wait_for_retention(broker.store, files[0].name)
                retired += 1
            compared += asyncio.run(read_all_and_compare(broker.port, history, seed))
            faults = check_store(SystemDisk(), str(broker.store))
            assert not faults, f"cycle {cycle}, seed {seed}: " + "; ".join(faults[:5])
    finally:
        if broker.running:
            broker.kill()
    assert compared >= CYCLES * ACKNOWLEDGED_MIN
    assert retired > 0 or CYCLES < 10, "retention never deleted a file"
    print(f"{CYCLES} kills, {len(history.acknowledged)} acknowledged, {len(history.unknown)} unknown, seed {seed}")


async def load_and_kill(broker: GantryBroker, history: History, numbers: list[int], rng: random.Random) -> None:
    """Several senders a queue; the kill comes while all of them are sending."""
    goal = len(history.acknowledged) + ACKNOWLEDGED_MIN + rng.randrange(500)
    senders = [
        asyncio.create_task(send_until_closed(broker.port, sender, sender % QUEUES, numbers, history, BODY_BYTES))
        for sender in range(len(numbers))
    ]
    limit = time.monotonic() + 60
    while len(history.acknowledged) < goal:
        assert time.monotonic() < limit, f"only {len(history.acknowledged)} of {goal} sends acknowledged"
        await asyncio.sleep(0.002)
    await asyncio.sleep(rng.random() * 0.02)
    await asyncio.to_thread(broker.kill)
    await asyncio.gather(*senders)


async def read_all_and_compare(port: int, history: History, seed: int) -> int:
    """Reads every queue from its minimum to its end; the number of messages compared."""
    total = 0
    for queue_id in range(QUEUES):
        first, bodies = await read_queue(port, queue_id)
        history.check_queue(queue_id, first, bodies, seed=seed)
        total += len(bodies)
    return total


def log_files(store: Path) -> list[Path]:
    return sorted((store / "commitlog").iterdir())


def age_all_but_the_newest(files: list[Path]) -> None:
    """Makes retention's rule (fileReservedTime, one hour) hold for all log files but the newest ones."""
    two_hours_ago = time.time() - 2 * 3600
    for path in files[:-LOG_FILES_KEPT]:
        os.utime(path, (two_hours_ago, two_hours_ago))


def wait_for_retention(store: Path, expired: str) -> None:
    """Returns when the oldest file is gone: the broker deletes while this loop looks."""
    limit = time.monotonic() + 30
    while (store / "commitlog" / expired).exists():
        assert time.monotonic() < limit, f"retention left {expired}, which expired two hours ago"
        time.sleep(0.02)
