"""Old files go by the original's rule; offsets and minimums follow; full disks refuse and recover; topics are removed."""

from __future__ import annotations

import pytest

from gantry.store import GetStatus, MessageStore, PutStatus, StoreConfig
from gantry.store.cleanup import RetentionView, decide
from gantry.store.fsck import check_store
from gantry.testing import MemoryDisk, VirtualClock, settle
from tests.unit.store.store_world import ROOT, bodies, message, put, read_queue, remove_tree, settled_get, started

HOUR = 3_600_000
NOON = 1_700_000_000_000
ALWAYS = ";".join(str(hour) for hour in range(24))
FILES: dict[str, object] = {
    "mapped_file_size_commit_log": 4096,
    "mapped_file_size_consume_queue": 20 * 4,
    "file_reserved_time": 1,
    "delete_when": ALWAYS,
    "delete_commit_log_files_interval": 0,
}


def view(**changes: object) -> RetentionView:
    values: dict[str, object] = {"now_ms": NOON, "log_ratio": 0.1, "queue_ratio": 0.1, "manual": False, "modified": []}
    return RetentionView(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "changes", "settings", "deleted", "full"),
    [
        ("not the hour", {}, {"delete_when": "99"}, 0, False),
        ("in the hour", {}, {}, 3, False),
        ("on demand", {"manual": True}, {"delete_when": "99"}, 3, False),
        ("above 75 %: the expired ones", {"log_ratio": 0.76}, {"delete_when": "99"}, 3, False),
        ("queues' disk above 75 %", {"queue_ratio": 0.76}, {"delete_when": "99"}, 3, False),
        ("above 85 %: whatever the age", {"log_ratio": 0.86}, {"delete_when": "99"}, 10, False),
        ("above 85 % but not forcibly", {"log_ratio": 0.86}, {"clean_file_forcibly_enable": False}, 3, False),
        ("above 90 %: full", {"log_ratio": 0.91}, {"delete_when": "99"}, 10, True),
        ("batch", {"log_ratio": 0.91}, {"delete_file_batch_max": 2}, 2, True),
    ],
)
def test_what_goes_and_when(
    case: str, changes: dict[str, object], settings: dict[str, object], deleted: int, full: bool
) -> None:
    config = StoreConfig("/s", **{"delete_when": ALWAYS, "file_reserved_time": 72, **settings})  # type: ignore[arg-type]
    ages = [100, 80, 72, 71, 5, 4, 3, 2, 1, 1, 1, 1]
    decision = decide(config, view(modified=[NOON - age * HOUR for age in ages], **changes))
    assert (decision.delete_count, decision.full_reason is not None) == (deleted, full), case


async def aged(disk: MemoryDisk, clock: VirtualClock, count: int = 24) -> MessageStore:
    """A store whose messages are older than its retention."""
    store = await started(disk, clock, **FILES)
    for number in range(count):
        await put(store, message(queue_id=number % 2, body=b"%d" % number * 400, KEYS=f"k{number}"))
    await store.checkpoint()
    clock.jump_wall_ms(2 * HOUR)
    return store


async def clean(store: MessageStore, clock: VirtualClock) -> int:
    """One run of retention; its pauses between deletions pass in virtual time."""
    return await clock.run_until(store.clean_files())


async def test_expired_files_go_and_every_minimum_follows() -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await aged(disk, clock)
    old_end = [store.max_offset("T", queue_id) for queue_id in (0, 1)]
    removed = await clean(store, clock)
    assert removed >= 2
    assert store.min_physical_offset == removed * 4096
    for queue_id in (0, 1):
        first = store.min_offset("T", queue_id)
        assert 0 < first < old_end[queue_id]
        assert (await settled_get(store, "T", queue_id, 0)).status is GetStatus.OFFSET_TOO_SMALL
        views = await read_queue(store, "T", queue_id)
        assert [view.queue_offset for view in views] == list(range(first, old_end[queue_id]))
        assert views[0].physical_offset >= store.min_physical_offset
    names = disk.list_dir(f"{ROOT}/consumequeue/T/0")
    assert int(names[0]) > 0, "the queue's first files only pointed to what is gone"
    assert check_store(disk, ROOT) == []
    await store.shutdown()
    store = await started(disk, clock, **FILES)
    assert [store.max_offset("T", queue_id) for queue_id in (0, 1)] == old_end


async def test_the_first_offset_is_right_while_cold_queue_files_are_looked_up() -> None:
    """Who asks between the deletion and the correction of its queue would be told an offset that pulls refuse."""
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    await (await aged(disk, clock)).shutdown()
    store = await started(disk, clock, **FILES)  # the queues' ends are not in memory any more
    disk.cold = True
    asked: list[tuple[int, int, GetStatus]] = []

    async def ask_once_the_front_is_gone() -> None:
        if store.min_physical_offset and disk.before_run is not None:
            disk.before_run = None
            known, first = store.min_offset("T", 1), await store.first_offset("T", 1)
            asked.append((known, first, (await settled_get(store, "T", 1, first)).status))

    disk.before_run = ask_once_the_front_is_gone
    await clean(store, clock)
    assert asked == [(0, store.min_offset("T", 1), GetStatus.FOUND)]
    assert store.min_offset("T", 1) > 0
    await store.shutdown()


async def test_the_file_being_written_never_goes() -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await aged(disk, clock, count=2)
    assert await clean(store, clock) == 0
    assert len(await bodies(store, queue_id=0)) == 1


async def test_a_queue_never_uses_an_offset_twice_although_all_its_messages_expired() -> None:
    """The queue's files are removed, and with them the only other place that knew how far it had come."""
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await started(disk, clock, **FILES)
    for _ in range(5):
        await put(store, message("Old", body=b"x" * 500))
    for number in range(20):
        await put(store, message("New", body=b"%d" % number * 500))
    await store.checkpoint()
    clock.jump_wall_ms(2 * HOUR)
    assert await clean(store, clock) >= 1
    assert store.min_offset("Old", 0) == store.max_offset("Old", 0) == 5
    assert await store.clean_expired_consume_queue() == 1
    assert not disk.exists(f"{ROOT}/consumequeue/Old")
    await store.shutdown()
    disk.crash(keep="none")
    store = await started(disk, clock, **FILES)
    assert await put(store, message("Old", body=b"again")) == 5
    assert await bodies(store, "Old") == [b"again"]
    await store.shutdown()
    remove_tree(disk, f"{ROOT}/consumequeue")
    store = await started(disk, clock, **FILES)
    assert await bodies(store, "Old") == [b"again"]
    assert await put(store, message("Old")) == 6


async def test_writing_stops_above_the_warning_ratio_and_resumes_by_itself() -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await started(disk, clock, **FILES)
    await put(store, message())
    disk.capacity_bytes = disk.used_bytes() + 100
    await clock.run_ms(10_000)
    refused = await store.put(message())
    assert refused.status is PutStatus.SERVICE_NOT_AVAILABLE
    assert "full" in refused.remark
    assert await bodies(store) == [b"body"]
    disk.capacity_bytes = None
    await clock.run_ms(10_000)
    assert await put(store, message()) == 1
    await store.shutdown()


async def test_a_full_disk_is_an_answer_and_writing_resumes_when_there_is_space() -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await started(disk, clock, **{**FILES, "clean_resource_interval": 1 << 30})
    await settle()
    stored = 0
    disk.capacity_bytes = disk.used_bytes() + 4096
    while True:
        result = await store.put(message(body=b"x" * 900))
        await settle()
        if result.status is not PutStatus.PUT_OK:
            break
        stored += 1
        assert stored < 100
    assert result.status is PutStatus.SERVICE_NOT_AVAILABLE
    assert stored >= 4
    assert len(await bodies(store)) == stored
    assert (await store.put(message())).status is PutStatus.SERVICE_NOT_AVAILABLE
    disk.capacity_bytes = None
    await clock.run_ms(3_000)
    assert await put(store, message()) == stored
    await store.shutdown()
    assert check_store(disk, ROOT) == []


async def test_a_full_disk_under_the_queues_is_an_answer_too() -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await started(disk, clock, **{**FILES, "clean_resource_interval": 1 << 30})
    await settle()
    await put(store, message())
    disk.capacity_bytes = disk.used_bytes()
    assert not await store.checkpoint()
    assert (await store.put(message())).status is PutStatus.SERVICE_NOT_AVAILABLE
    assert await bodies(store) == [b"body"]
    disk.capacity_bytes = None
    await clock.run_ms(3_000)
    assert await put(store, message()) == 1
    await store.shutdown()
    assert check_store(disk, ROOT) == []


async def test_a_deleted_topic_is_gone_and_a_new_one_of_the_name_begins_anew() -> None:
    disk = MemoryDisk()
    store = await started(disk)
    for number in range(3):
        await put(store, message(body=b"%d" % number))
    await put(store, message("Other"))
    await store.checkpoint()
    assert await store.delete_topics(["T", "unknown"]) == ["T"]
    assert not disk.exists(f"{ROOT}/consumequeue/T")
    assert store.topics() == ["Other"]
    assert (await settled_get(store, "T", 0, 0)).status is GetStatus.NO_MATCHED_LOGIC_QUEUE
    assert await put(store, message(body=b"new")) == 0
    # Neither a crash nor a whole rebuild brings the old records back, although the log still has them.
    disk.crash(keep="all")
    store = await started(disk)
    assert await bodies(store) == [b"new"]
    await store.shutdown()
    remove_tree(disk, f"{ROOT}/consumequeue")
    store = await started(disk)
    assert await bodies(store) == [b"new"]
    await store.shutdown()
    assert check_store(disk, ROOT) == []


async def test_unused_topics_go_and_system_topics_stay() -> None:
    store = await started(MemoryDisk())
    for topic in ("Used", "Unused", "SCHEDULE_TOPIC_XXXX", "rmq_sys_x", "%LMQ%x"):
        await put(store, message(topic))
    assert await store.clean_unused_topics({"Used"}) == ["Unused"]
    assert store.topics() == ["%LMQ%x", "SCHEDULE_TOPIC_XXXX", "Used", "rmq_sys_x"]


async def test_manual_deletion_runs_outside_the_hour() -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await aged(disk, clock)
    store.config.delete_when = "99"
    assert await clean(store, clock) == 0
    store.execute_delete_files_manually()
    assert await clean(store, clock) >= 1
