"""A sync of the log fails in the running process, and then the power goes: nobody was told OK for what is lost.

The sync fails below the broker, in the C library (a preloaded shim): what the kernel would report after a bad sector. The
broker answers 10 for the sends of that sync and 14 from then on; the power cut shows whether any OK was a lie. From a disk that
syncs nothing any more the official broker is asked for the same answers.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gantry.runtime.system_disk import SystemDisk
from gantry.store.fsck import check_store
from tests.crash.conftest import need_official_server
from tests.crash.history import History
from tests.crash.load import QUEUES, read_queue, send_until_closed
from tests.crash.loop_disk import LoopDisk, stop_the_machine
from tests.crash.record import record
from tests.interop.cluster import GantryBroker, OfficialBroker, Server

REFUSED_WITHIN_S = 5
ANSWERS_AFTER = 400
SETTINGS = {
    "mappedFileSizeCommitLog": 1 << 20,
    "flushDiskType": "SYNC_FLUSH",
    "defaultTopicQueueNums": QUEUES,
    "diskMaxUsedSpaceRatio": 95,
}


class Shimmed(Server):
    """The n-th sync of its log fails, 0 for none; with `lasting`, all later ones as well."""

    shim = Path()
    mark = Path()
    fail_at = 0
    lasting = False

    def environment(self) -> dict[str, str]:
        own = {"LD_PRELOAD": str(self.shim), "FAIL_SYNC_AT": str(self.fail_at), "FAIL_SYNC_MARK": str(self.mark)}
        if self.lasting:
            own["FAIL_SYNC_LASTING"] = "1"
        return {**super().environment(), **(own if self.fail_at else {})}


class ShimmedBroker(Shimmed, GantryBroker):
    """Ours."""


class ShimmedOfficialBroker(Shimmed, OfficialBroker):
    """The official one."""


def start_senders(port: int, history: History) -> list[asyncio.Task[None]]:
    numbers = [0] * (QUEUES * 2)
    return [
        asyncio.create_task(send_until_closed(port, sender, sender % QUEUES, numbers, history, 700))
        for sender in range(len(numbers))
    ]


async def load_until_refused(broker: ShimmedBroker, disk: LoopDisk, history: History) -> None:
    senders = start_senders(broker.port, history)
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


def read_back(broker: ShimmedBroker, disk: LoopDisk, history: History) -> None:
    """After the power cut: the disk is back, its syncs work, and the history holds."""
    failed_at, broker.fail_at = broker.fail_at, 0
    disk.unmount()
    disk.mount()
    broker.start()
    for queue_id in range(QUEUES):
        first, bodies = asyncio.run(read_queue(broker.port, queue_id))
        history.check_queue(queue_id, first, bodies, kept=0, seed=failed_at)
    assert check_store(SystemDisk(), str(broker.store)) == []


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
        read_back(broker, disk, history)
        acknowledged = len(history.acknowledged)
        record("failed sync, power cut", flush="SYNC_FLUSH", times=1, acknowledged=acknowledged, lost=0, seed=fail_at)
    finally:
        if broker.running:
            broker.kill()


async def load_beyond_the_failure(broker: ShimmedBroker | ShimmedOfficialBroker, history: History) -> None:
    """Until so many were answered after the first refusal; none of these was OK."""
    senders = start_senders(broker.port, history)
    limit, goal, acknowledged = time.monotonic() + 60, 0, 0
    while not goal or history.answered < goal:
        if not goal and history.refused:
            goal, acknowledged = history.answered + ANSWERS_AFTER, len(history.acknowledged)
        assert time.monotonic() < limit, f"{history.answered} answers, {goal or 'a refusal'} wanted"
        await asyncio.sleep(0.002)
    assert broker.mark.exists(), "it refuses although no sync has failed"
    assert len(history.acknowledged) == acknowledged, "it takes messages after a failed sync"
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["gantry", pytest.param("official", marks=pytest.mark.interop)])
def test_a_disk_that_syncs_no_more(kind: str, shim: Path, disk: LoopDisk, tmp_path: Path) -> None:
    """Both tell the senders of that sync that it failed, and refuse the later ones; ours is then cut off and read again."""
    folder = disk.path / "broker"
    broker: ShimmedBroker | ShimmedOfficialBroker
    if kind == "official":
        need_official_server()
        broker = ShimmedOfficialBroker(folder, "", settings=SETTINGS)
    else:
        broker = ShimmedBroker(folder, "", settings=SETTINGS)
    broker.shim, broker.mark, broker.fail_at, broker.lasting = shim, tmp_path / "failed", 30, True
    history = History()
    try:
        broker.start()
        asyncio.run(load_beyond_the_failure(broker, history))
        assert history.weak, "nobody was told that the sync of its message failed"
        if isinstance(broker, ShimmedBroker):
            stop_the_machine(broker, disk)
            read_back(broker, disk, history)
    finally:
        if broker.running:
            broker.kill()
