"""When data is on the disk, who waits for it, and what a failed sync means."""

from __future__ import annotations

import asyncio

from gantry.store import PutStatus
from gantry.testing import MemoryDisk, VirtualClock, settle
from tests.unit.store.store_world import bodies, message, put, started

SYNC = {"flush_disk_type": "SYNC_FLUSH"}


async def test_one_sync_serves_everybody_who_waits() -> None:
    store = await started(MemoryDisk(), **SYNC)
    before = store._flush.sync_count
    results = await asyncio.gather(*(store.put(message(queue_id=n % 4)) for n in range(50)))
    assert {result.status for result in results} == {PutStatus.PUT_OK}
    assert store._flush.sync_count - before <= 2
    assert store.flushed_offset == store.max_physical_offset


async def test_readable_means_synced() -> None:
    """Consumers must not see what a power cut takes back: max offset, get and arrival stop at the synced offset."""
    disk = MemoryDisk()
    store = await started(disk, **SYNC)
    arrived: list[int] = []
    store.appender.on_arrive = lambda topic, queue_id, end, *rest: arrived.append(end)
    store.watch("T", 0, True)
    gate = asyncio.Event()
    disk.before_run = gate.wait
    sending = asyncio.ensure_future(store.put(message(KEYS="k")))
    await settle()
    assert not sending.done()
    assert store.max_offset("T", 0) == 0
    assert store.get("T", 0, 0, 1).views == []  # type: ignore[union-attr]
    assert arrived == []
    assert store.safe_offset == 0
    assert await store.message_at(0) is None
    assert not (await store.query_by_key("T", "k", 1, 0, 1 << 60)).records
    gate.set()
    assert (await sending).status is PutStatus.PUT_OK
    assert store.max_offset("T", 0) == 1
    assert arrived == [1]


async def test_a_message_that_does_not_wait_still_triggers_the_sync() -> None:
    store = await started(MemoryDisk(), **SYNC)
    plan = store.new_plan()
    plan.add(message()._replace(wait_store_ok=False))
    store.write(plan)
    store.commit(plan)
    assert store.durable(plan) is None
    await settle()
    assert store.max_offset("T", 0) == 1


async def test_no_ok_after_a_failed_sync() -> None:
    """The failed range counts as lost: its sends get FLUSH_DISK_TIMEOUT, later ones are refused, no sync is tried again."""
    disk = MemoryDisk()
    store = await started(disk, **SYNC)
    await put(store, message(body=b"safe"))
    disk.fail("sync", path_part="commitlog")
    first, second = await asyncio.gather(store.put(message()), store.put(message()))
    assert {first.status, second.status} == {PutStatus.FLUSH_DISK_TIMEOUT}
    syncs = disk.counts["sync"]
    later = await store.put(message())
    assert later.status is PutStatus.SERVICE_NOT_AVAILABLE
    assert "read-only" in (store.writable_reason() or "")
    await settle()
    assert disk.counts["sync"] == syncs
    assert await bodies(store) == [b"safe"]
    assert store.max_offset("T", 0) == 1


async def test_a_failed_sync_is_not_forgotten_by_a_restart_that_serves_what_was_lost() -> None:
    disk = MemoryDisk()
    store = await started(disk, **SYNC)
    await put(store, message(body=b"safe"))
    disk.fail("sync", path_part="commitlog")
    await store.put(message(body=b"weak"))
    await store.shutdown()
    assert disk.exists("/store/abort")
    disk.crash(keep="none")
    store = await started(disk, **SYNC)
    assert await bodies(store) == [b"safe"]


async def test_a_slow_sync_times_out_with_the_weak_status() -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await started(disk, clock, **SYNC)
    gate = asyncio.Event()
    disk.before_run = gate.wait
    sending = asyncio.ensure_future(store.put(message()))
    await clock.run_ms(4999)
    assert not sending.done()
    await clock.run_ms(1)
    assert (await sending).status is PutStatus.FLUSH_DISK_TIMEOUT
    gate.set()
    await settle()
    # The disk got there in the end: the message is readable, and later ones are taken.
    assert store.max_offset("T", 0) == 1
    assert await put(store, message()) == 1


async def test_timed_flush_waits_for_four_pages_or_ten_seconds() -> None:
    clock = VirtualClock()
    store = await started(MemoryDisk(clock=clock), clock)
    await put(store, message(body=b"x" * 100))
    await clock.run_ms(9_000)
    assert store.flushed_offset == 0
    await clock.run_ms(1_000)
    assert store.flushed_offset == store.max_physical_offset
    await put(store, message(body=b"x" * 9000))
    await put(store, message(body=b"x" * 9000))
    await clock.run_ms(500)
    assert store.flushed_offset == store.max_physical_offset
    await store.shutdown()


async def test_async_flush_answers_at_once_and_turns_read_only_when_its_sync_fails() -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await started(disk, clock)
    disk.fail("sync", path_part="commitlog")
    assert await put(store, message()) == 0
    await clock.run_ms(10_000)
    assert (await store.put(message())).status is PutStatus.SERVICE_NOT_AVAILABLE
    assert await bodies(store) == [b"body"]
    await store.shutdown()


async def test_a_failed_sync_of_a_queue_file_makes_the_store_read_only() -> None:
    disk = MemoryDisk()
    store = await started(disk)
    await put(store, message())
    disk.fail("sync", path_part="consumequeue")
    assert not await store.checkpoint()
    assert (await store.put(message())).status is PutStatus.SERVICE_NOT_AVAILABLE
    await store.shutdown()
    disk.heal()
    disk.crash(keep="none")
    store = await started(disk)
    assert store.max_offset("T", 0) == 1


async def test_a_clean_stop_leaves_nothing_to_do() -> None:
    disk = MemoryDisk()
    store = await started(disk)
    for number in range(30):
        await put(store, message(queue_id=number % 3, KEYS=f"k{number}"))
    await store.shutdown()
    assert not disk.exists("/store/abort")
    disk.crash(keep="none")
    store = await started(disk)
    report = store.recovery_report
    assert report is not None
    assert (report.clean_stop, report.dispatched_count, report.cut_bytes) == (True, 0, 0)
    assert report.scanned_from == report.end == store.max_physical_offset
    assert [store.max_offset("T", queue_id) for queue_id in range(3)] == [10, 10, 10]
