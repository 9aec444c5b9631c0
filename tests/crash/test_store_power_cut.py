"""Power cut, process death, torn write and failed sync at every step of a store's life, then recovery.

The load is the same each time and small enough to stop at every single operation that changes the disk: it rolls log,
queue and index files, writes checkpoints, deletes old files and restarts. After each stop the disk keeps everything, nothing or
some of what was not synced; then the store must open, and the history must hold.
"""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import dataclass, field

import pytest

from gantry.errors import StoreError
from gantry.protocol.message import RecordView
from gantry.store import PutStatus
from gantry.store.fsck import check_store
from gantry.testing import MemoryDisk, SeededRng, VirtualClock
from tests.crash.record import record
from tests.unit.store.store_world import ROOT, message, read_queue, started

FIRST_SEED = int(os.environ.get("GANTRY_STOP_FIRST", "100"))
MORE_SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("GANTRY_STOP_SEEDS", "0")))
"""Besides those of every run: for nights."""

QUEUES = 3
ROUNDS = 2
SENDS = 24
RESUMES_WITHIN_MS = 3_000
SMALL_FILES = {
    "mapped_file_size_commit_log": 4096,
    "mapped_file_size_consume_queue": 20 * 8,
    "max_hash_slot_num": 7,
    "max_index_num": 20,
    "prefault_window_bytes": 0,
    "hot_tail_bytes_max": 2048,
    "file_reserved_time": 1,
    "delete_when": ";".join(str(hour) for hour in range(24)),
    "delete_commit_log_files_interval": 0,
    "flush_interval_consume_queue": 5,
    "synced_offset_interval_ms": 5,
    "checkpoint_syncs_max": 1,
}


@dataclass
class History:
    """What senders were told, and the least that readers may find."""

    acknowledged: dict[tuple[int, int], bytes] = field(default_factory=dict)
    sent: set[bytes] = field(default_factory=set)
    seen: dict[tuple[int, int], bytes] = field(default_factory=dict)
    floor: dict[int, int] = field(default_factory=dict)
    """Per queue: offsets below were taken by retention."""


async def live(disk: MemoryDisk, clock: VirtualClock, history: History, flush: str) -> None:
    """One life of the store: two runs with a restart between, checkpoints and retention on the way."""
    number = 0
    for run in range(ROUNDS):
        store = await started(disk, clock, flush_disk_type=flush, **SMALL_FILES)
        for index in range(SENDS):
            number += 1
            body = b"%d" % number * 40
            history.sent.add(body)
            queue_id = index % QUEUES
            result = await store.put(message("T", queue_id, body, KEYS=f"k{number}", UNIQ_KEY=f"u{number}", TAGS="t"))
            if result.status is PutStatus.PUT_OK and result.record is not None:
                place = queue_id, result.record.queue_offset
                assert place not in history.acknowledged, f"queue {queue_id}: offset {place[1]} is given twice"
                history.acknowledged[place] = body
            elif (store.writable_reason() or "").startswith("the disk is full"):
                # F6: writing resumes by itself, and what was refused has used no offset.
                await clock.sleep_ms(RESUMES_WITHIN_MS)
                assert store.writable_reason() is None
            if index % 10 == 9:
                await store.checkpoint()
            if index == SENDS // 2 and run:
                clock.jump_wall_ms(2 * 3_600_000)
                await store.clean_files()
                note_floor(store, history)
            for view in await read_queue(store, "T", queue_id):
                history.seen[view.queue_id, view.queue_offset] = bytes(view.body)
        await store.shutdown()


def note_floor(store: object, history: History) -> None:
    for queue_id in range(QUEUES):
        history.floor[queue_id] = store.min_offset("T", queue_id)  # type: ignore[attr-defined]


async def verify(disk: MemoryDisk, clock: VirtualClock, history: History, *, kept: str, flush: str) -> int:
    """Opens what is left and compares. Retention may have begun before the stop, so the floor is read from the store.

    Returns: how many acknowledged messages are gone with the end of their queue, which only ASYNC_FLUSH may lose.
    """
    store = await started(disk, clock, flush_disk_type=flush, **SMALL_FILES)
    try:
        found: dict[tuple[int, int], bytes] = {}
        for queue_id in range(QUEUES):
            views = await read_queue(store, "T", queue_id)
            offsets = [view.queue_offset for view in views]
            first, end = store.min_offset("T", queue_id), store.max_offset("T", queue_id)
            assert offsets == list(range(first, end)), f"queue {queue_id} is not dense: {offsets}, [{first}, {end})"
            assert 0 <= first <= end
            found.update({(queue_id, view.queue_offset): bytes(view.body) for view in views})
        for key, body in found.items():
            assert body in history.sent
            # O1: an offset once readable names the same bytes for ever.
            if flush == "SYNC_FLUSH" or kept == "all":
                assert history.seen.get(key, body) == body
        if flush == "SYNC_FLUSH" or kept == "all":
            for (queue_id, offset), body in history.acknowledged.items():
                if offset >= store.min_offset("T", queue_id):
                    assert found.get((queue_id, offset)) == body, f"acknowledged {queue_id}-{offset} is gone"
            for queue_id in range(QUEUES):
                known = [offset for queue, offset in history.acknowledged if queue == queue_id]
                assert store.max_offset("T", queue_id) > max(known, default=-1)
        lost = sum(offset >= store.max_offset("T", queue_id) for queue_id, offset in history.acknowledged)
        for (queue_id, offset), body in list(found.items())[-3:]:
            text = b"k" + body[: len(body) // 40]
            hits = (await store.query_by_key("T", text.decode(), 10, 0, 1 << 60)).records
            assert any((view := RecordView(hit)).queue_id == queue_id and view.queue_offset == offset for hit in hits)
        # The store goes on, and a number that was used is not used again.
        result = await store.put(message("T", 0, b"after"))
        assert result.status is PutStatus.PUT_OK
        assert result.record is not None
        assert (0, result.record.queue_offset) not in found
    finally:
        await store.shutdown()
    assert check_store(disk, ROOT) == []
    return lost


async def run_until_cut(step: int, flush: str, *, torn: bool) -> tuple[MemoryDisk, VirtualClock, History, bool]:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    history = History()
    # Background tasks that meet the cut are nobody's to await.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    disk.cut_power_at(step, torn=torn)
    life = asyncio.ensure_future(live(disk, clock, history, flush))
    await drive(life, disk, clock)
    cut = disk.is_off
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        # Who met the cut has said so already; the others only end.
        await asyncio.gather(task, return_exceptions=True)
    if not cut:
        life.result()
    return disk, clock, history, cut


async def drive(life: asyncio.Future[None], disk: MemoryDisk, clock: VirtualClock) -> None:
    """Lets time pass until the life ends, or the power is off and everything came to rest."""
    for _ in range(100_000):
        await asyncio.sleep(0)
        clock.advance_ms(1)
        if life.done() or disk.is_off:
            break
    else:
        raise AssertionError("the life of the store came to a stand")
    for _ in range(20):
        await asyncio.sleep(0)


async def total_steps(flush: str) -> int:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    life = asyncio.ensure_future(live(disk, clock, History(), flush))
    await drive(life, disk, clock)
    life.result()
    return disk.step_count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "first_seed"),
    [("all", 3), ("none", 4), ("subset", 6), ("subset", 11), ("subset", 22), *(("subset", seed) for seed in MORE_SEEDS)],
)
@pytest.mark.parametrize("flush", ["SYNC_FLUSH", "ASYNC_FLUSH"])
@pytest.mark.timeout(400)
async def test_acknowledged_message_survives_a_stop_at_every_step(flush: str, kept: str, first_seed: int) -> None:
    """With one seed a step, which decides the sectors that are kept; five stops at each step, over 5,000 in all."""
    steps = await total_steps(flush)
    assert steps > 200
    effective = acknowledged = lost = 0
    for step in range(1, steps + 1):
        seed = step * 31 + first_seed
        disk, clock, history, cut = await run_until_cut(step, flush, torn=step % 2 == 0)
        effective += cut
        disk.crash(SeededRng(seed), kept)  # type: ignore[arg-type]
        acknowledged += len(history.acknowledged)
        try:
            lost += await verify(disk, clock, history, kept=kept, flush=flush)
        except BaseException as error:
            raise AssertionError(f"{flush}, stopped at step {step} of {steps}, kept {kept}, seed {seed}") from error
    assert effective >= steps - 5
    record("simulated stop", flush=flush, times=effective, acknowledged=acknowledged, lost=lost, seed=first_seed)


@pytest.mark.parametrize(
    "op", ["pwrite", "sync", "rename", "sync_dir", "sync_all", "create", "allocate", "unlink", "truncate", "link"]
)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.timeout(400)
async def test_no_ok_is_a_lie_when_the_nth_operation_fails(op: str, error: int) -> None:
    """Each operation of each kind fails once; whatever was answered with OK is there after the power cut that follows."""
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    life = asyncio.ensure_future(live(disk, clock, History(), "SYNC_FLUSH"))
    await drive(life, disk, clock)
    count = disk.counts[op]
    assert count > 0
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    acknowledged = 0
    for nth in range(1, count + 1):
        clock = VirtualClock()
        disk = MemoryDisk(clock=clock)
        history = History()
        rule = disk.fail(op, error=error, nth=nth, partial=op == "pwrite" and nth % 2 == 0)
        life = asyncio.ensure_future(live(disk, clock, history, "SYNC_FLUSH"))
        await drive(life, disk, clock)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        # A start or stop may say that it cannot; nothing but a store's own error is an answer.
        if life.exception() is not None and not isinstance(life.exception(), StoreError):
            raise AssertionError(f"{op} number {nth} of {count}, errno {error}") from life.exception()
        disk.heal()
        disk.crash(SeededRng(nth), "none")
        try:
            await verify(disk, clock, history, kept="none", flush="SYNC_FLUSH")
        except BaseException as problem:
            raise AssertionError(f"{op} number {nth} of {count}, errno {error}") from problem
        assert rule.spent, f"{op} number {nth} of {count} did not fail: nothing was tested"
        acknowledged += len(history.acknowledged)
    record("simulated disk error, power cut", flush="SYNC_FLUSH", times=count, acknowledged=acknowledged, lost=0, seed=error)
