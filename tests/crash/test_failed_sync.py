"""A sync of the log fails in the running process, and then the power goes: nobody was told OK for what is lost.

The sync fails below the broker, in the C library (a preloaded shim): what the kernel would report after a bad sector. The
broker answers 10 for the sends of that sync and 14 from then on; the power cut shows whether any OK was a lie.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gantry.runtime.system_disk import SystemDisk
from gantry.store.fsck import check_store
from tests.crash.history import History
from tests.crash.load import QUEUES, read_queue, send_until_closed
from tests.crash.loop_disk import LoopDisk, stop_the_machine
from tests.crash.record import record
from tests.interop.cluster import GantryBroker

REFUSED_WITHIN_S = 5
SETTINGS = {
    "mappedFileSizeCommitLog": 1 << 20,
    "flushDiskType": "SYNC_FLUSH",
    "defaultTopicQueueNums": QUEUES,
    "diskMaxUsedSpaceRatio": 95,
}


class ShimmedBroker(GantryBroker):
    """A broker whose n-th sync of the log fails; 0 for none."""

    shim = Path()
    mark = Path()
    fail_at = 0

    def environment(self) -> dict[str, str]:
        own = {"LD_PRELOAD": str(self.shim), "FAIL_SYNC_AT": str(self.fail_at), "FAIL_SYNC_MARK": str(self.mark)}
        return {**super().environment(), **(own if self.fail_at else {})}


async def load_until_refused(broker: ShimmedBroker, disk: LoopDisk, history: History) -> None:
    numbers = [0] * (QUEUES * 2)
    senders = [
        asyncio.create_task(send_until_closed(broker.port, sender, sender % QUEUES, numbers, history, 700))
        for sender in range(len(numbers))
    ]
    limit, failed_at = time.monotonic() + 60, 0.0
    while len(history.refused) < 100:
        failed_at = failed_at or (time.monotonic() if broker.mark.exists() else 0.0)
        assert history.refused or not failed_at or time.monotonic() < failed_at + REFUSED_WITHIN_S, (
            f"nobody is refused although a sync failed {REFUSED_WITHIN_S} s ago"
        )
        assert time.monotonic() < limit, f"{len(history.acknowledged)} acknowledged, {len(history.refused)} refused"
        await asyncio.sleep(0.005)
    acknowledged = len(history.acknowledged)
    await asyncio.sleep(0.1)
    assert len(history.acknowledged) == acknowledged, "the store takes messages after a failed sync"
    await asyncio.to_thread(stop_the_machine, broker, disk)
    await asyncio.gather(*senders)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fail_at", [1, 2, 3, 7, 20, 61, 150])
def test_no_ok_after_a_failed_sync_is_a_lie(fail_at: int, shim: Path, disk: LoopDisk, tmp_path: Path) -> None:
    broker, history = ShimmedBroker(disk.path / "broker", "", settings=SETTINGS), History()
    broker.shim, broker.mark, broker.fail_at = shim, tmp_path / "failed", fail_at
    try:
        broker.start()
        assert not broker.mark.exists(), "it failed in the start: nothing is tested"
        asyncio.run(load_until_refused(broker, disk, history))
        assert broker.mark.exists()
        assert history.weak, "nobody was told that the sync of its message failed"
        disk.unmount()
        disk.mount()
        broker.fail_at = 0
        broker.start()
        for queue_id in range(QUEUES):
            first, bodies = asyncio.run(read_queue(broker.port, queue_id))
            history.check_queue(queue_id, first, bodies, kept=0, seed=fail_at)
        assert check_store(SystemDisk(), str(broker.store)) == []
        acknowledged = len(history.acknowledged)
        record("failed sync, power cut", flush="SYNC_FLUSH", times=1, acknowledged=acknowledged, lost=0, seed=fail_at)
    finally:
        if broker.running:
            broker.kill()
