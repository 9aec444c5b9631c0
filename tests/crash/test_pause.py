"""A broker that is frozen under load and wakes goes on where it was: nobody is cut off, nothing is lost or out of order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from gantry.runtime.system_disk import SystemDisk
from gantry.store.fsck import check_store
from tests.crash.history import History
from tests.crash.load import QUEUES, read_queue, send_until_closed
from tests.interop.cluster import GantryBroker

FROZEN_S = 1.5
PAUSES = 3


async def load_and_freeze(broker: GantryBroker, history: History) -> None:
    """Senders on every queue; the broker is frozen again and again, and killed while they send."""
    numbers = [0] * (QUEUES * 2)
    senders = [
        asyncio.create_task(send_until_closed(broker.port, sender, sender % QUEUES, numbers, history, 500))
        for sender in range(len(numbers))
    ]

    async def more(count: int) -> None:
        goal, limit = len(history.acknowledged) + count, time.monotonic() + 30
        while len(history.acknowledged) < goal:
            assert time.monotonic() < limit, f"only {len(history.acknowledged)} of {goal} sends acknowledged"
            assert not any(sender.done() for sender in senders), "a connection was closed"
            await asyncio.sleep(0.002)

    await more(500)
    for _ in range(PAUSES):
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(0.3)  # what was answered before is read
            frozen = len(history.acknowledged)
            await asyncio.sleep(FROZEN_S)
            assert len(history.acknowledged) == frozen, "it was not frozen"
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        await more(500)
    await asyncio.to_thread(broker.kill)
    await asyncio.gather(*senders)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_a_frozen_broker_goes_on_where_it_was(flush: str, tmp_path: Path) -> None:
    settings = {"mappedFileSizeCommitLog": 1 << 20, "defaultTopicQueueNums": QUEUES, "flushDiskType": flush}
    broker, history = GantryBroker(tmp_path, "", settings=settings), History()
    try:
        broker.start()
        asyncio.run(load_and_freeze(broker, history))
        broker.start()
        for queue_id in range(QUEUES):
            first, bodies = asyncio.run(read_queue(broker.port, queue_id))
            history.check_queue(queue_id, first, bodies, kept=0, seed=0)
        assert check_store(SystemDisk(), str(broker.store)) == []
        assert not history.weak, "a sync that was frozen with its process is no slow sync"
    finally:
        if broker.running:
            broker.kill()
