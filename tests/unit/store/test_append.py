"""Appending: plan, write, commit, abort; the log's layout; what enters queues and index."""

from __future__ import annotations

import pytest

from gantry.errors import MessageIllegal, StoreError
from gantry.model import StoreMessage, sys_flag
from gantry.protocol.message import RecordView, encode_properties
from gantry.protocol.message.message_id import decode_offset_msg_id
from gantry.protocol.message.record import MAGIC_V2
from gantry.protocol.message.tags import tags_code
from gantry.store import PutStatus
from gantry.store.inspect import iterate_log
from gantry.testing import MemoryDisk, SeededRng, VirtualClock
from tests.unit.store.store_world import HOST, ROOT, bodies, message, put, read_queue, started

FIRST_FILE = f"{ROOT}/commitlog/{0:020d}"


async def test_offsets_are_dense_and_the_record_reads_back() -> None:
    store = await started(MemoryDisk())
    assert [await put(store, message(body=b"%d" % n)) for n in range(5)] == [0, 1, 2, 3, 4]
    assert [await put(store, message(queue_id=3)) for _ in range(2)] == [0, 1]
    views = await read_queue(store, "T")
    assert [bytes(view.body) for view in views] == [b"0", b"1", b"2", b"3", b"4"]
    assert views[1].physical_offset == views[0].size
    assert views[0].store_host == HOST
    assert views[0].born_host == ("10.0.0.1", 5)
    assert store.queue_ids("T") == [0, 3]


async def test_a_plan_is_not_there_until_it_is_committed() -> None:
    store = await started(MemoryDisk())
    plan = store.new_plan()
    record = plan.add(message())
    assert (record.queue_offset, record.physical_offset) == (0, 0)
    store.write(plan)
    assert store.max_offset("T", 0) == 0
    assert store.max_physical_offset == 0
    store.commit(plan)
    assert store.max_offset("T", 0) == 1
    assert store.max_physical_offset == record.size


async def test_an_aborted_plan_leaves_everything_as_it_was() -> None:
    disk = MemoryDisk()
    store = await started(disk)
    await put(store, message(body=b"kept"))
    end = store.max_physical_offset
    plan = store.new_plan()
    plan.add(message(body=b"dropped", KEYS="gone"))
    plan.add(message(queue_id=1))
    store.write(plan)
    store.abort(plan)
    assert store.max_physical_offset == end
    assert store.max_offset("T", 0) == 1
    assert not (await store.query_by_key("T", "gone", 10, 0, 1 << 60)).records
    # What was written cannot be taken for a record after a crash either.
    assert [item.physical_offset for item in iterate_log(disk, FIRST_FILE)] == [0]
    assert await put(store, message(body=b"next")) == 1
    assert await bodies(store) == [b"kept", b"next"]


async def test_the_rest_of_an_aborted_plan_never_follows_a_later_record() -> None:
    """The second record of the forgotten plan begins exactly where a later record, as long as its first one, ends."""
    disk = MemoryDisk()
    store = await started(disk)
    plan = store.new_plan()
    plan.add(message(body=b"gone 1"))
    plan.add(message(body=b"gone 2"))
    store.write(plan)
    store.abort(plan)
    await put(store, message(body=b"kept 1"))
    disk.crash(keep="all")
    store = await started(disk)
    assert await bodies(store) == [b"kept 1"]


async def test_a_refused_message_was_never_stored_even_after_a_crash() -> None:
    """Answered 14, so it must be in no log: half of its write reached the file before the error."""
    disk = MemoryDisk()
    store = await started(disk)
    await put(store, message(body=b"kept"))
    disk.fail("pwrite", path_part="commitlog", partial=True)
    plan = store.new_plan()
    plan.add(message(body=b"refused"))
    plan.add(message(body=b"z" * 2000))
    with pytest.raises(StoreError):
        store.write(plan)
    store.abort(plan)
    disk.crash(keep="all")
    store = await started(disk)
    assert await bodies(store) == [b"kept"]


async def test_one_plan_at_a_time() -> None:
    store = await started(MemoryDisk())
    plan = store.new_plan()
    with pytest.raises(StoreError, match="a plan is open"):
        store.new_plan()
    store.abort(plan)
    store.abort(store.new_plan())


async def test_a_full_file_ends_with_a_blank_record() -> None:
    disk = MemoryDisk()
    store = await started(disk, mapped_file_size_commit_log=4096)
    for number in range(10):
        await put(store, message(body=b"%d" % number * 900))
    items = list(iterate_log(disk, FIRST_FILE))
    assert items[-1].blank
    assert items[-1].physical_offset + items[-1].size == 4096
    assert len(await bodies(store)) == 10
    sizes = {disk.size(f"{ROOT}/commitlog/{name}") for name in disk.list_dir(f"{ROOT}/commitlog")}
    assert sizes == {4096}


async def test_a_record_that_leaves_no_room_for_a_blank_goes_to_the_next_file() -> None:
    """The rule is size + 8 > remaining: a file never ends without its blank record."""
    store = await started(MemoryDisk(), mapped_file_size_commit_log=4096)
    overhead = 91 + len("T")
    await put(store, message(body=b"a" * (4096 - overhead - 8)))
    plan = store.new_plan()
    assert plan.add(message(body=b"b" * (4096 - overhead - 7 - 4096 + 100))).physical_offset == 4096
    store.abort(plan)
    with pytest.raises(MessageIllegal):
        store.new_plan().add(message(body=b"b" * (4096 - overhead - 7)))


async def test_a_plan_may_span_files() -> None:
    store = await started(MemoryDisk(), mapped_file_size_commit_log=4096)
    plan = store.new_plan()
    for number in range(9):
        plan.add(message(body=b"%d" % number * 1000))
    store.write(plan)
    assert len(plan.ranges) == 3
    store.commit(plan)
    assert len(await bodies(store)) == 9


async def test_limits_are_refused_with_a_reason_and_nothing_is_appended() -> None:
    store = await started(MemoryDisk(), max_message_size=1000)
    too_big = await store.put(message(body=b"x" * 1001))
    assert too_big.status is PutStatus.MESSAGE_ILLEGAL
    assert "maxMessageSize is 1000" in too_big.remark
    long_properties = StoreMessage("T", 0, b"", b"p" * 32768)
    assert (await store.put(long_properties)).status is PutStatus.PROPERTIES_SIZE_EXCEEDED
    assert (await store.put(message(topic="t" * 32768))).status is PutStatus.MESSAGE_ILLEGAL
    batch = await store.put_batch([message(body=b"x" * 600), message(body=b"y" * 600)])
    assert batch.status is PutStatus.MESSAGE_ILLEGAL
    assert store.max_physical_offset == 0


@pytest.mark.parametrize("topic", ["a/b", "..", ".", "", "a\0b", "../../x"])
async def test_a_topic_never_leads_out_of_its_directory(topic: str) -> None:
    store = await started(MemoryDisk())
    assert (await store.put(message(topic=topic))).status is PutStatus.MESSAGE_ILLEGAL
    assert store.topics() == []


async def test_a_batch_is_consecutive_and_all_or_none() -> None:
    store = await started(MemoryDisk())
    result = await store.put_batch([message(body=b"%d" % n) for n in range(3)])
    assert result.status is PutStatus.PUT_OK
    assert [record.queue_offset for record in result.records] == [0, 1, 2]
    refused = await store.put_batch([message(body=b"ok"), message(body=b"x" * 20_000)])
    assert refused.status is PutStatus.MESSAGE_ILLEGAL
    assert refused.records == []
    assert await bodies(store) == [b"0", b"1", b"2"]


async def test_long_topics_are_stored_as_version_two() -> None:
    store = await started(MemoryDisk())
    topic = "%RETRY%" + "g" * 130
    await put(store, message(topic=topic))
    (view,) = await read_queue(store, topic)
    assert view.magic == MAGIC_V2
    assert view.topic == topic


async def test_ipv6_hosts_set_their_flags_and_lengths() -> None:
    store = await started(MemoryDisk())
    item = message()._replace(born_host=("fd00::1", 7), store_host=("fd00::2", 10911))
    result = await store.put(item)
    (view,) = await read_queue(store, "T")
    assert view.sys_flag == sys_flag.BORN_HOST_V6 | sys_flag.STORE_HOST_V6
    assert (view.born_host, view.store_host) == (("fd00::1", 7), ("fd00::2", 10911))
    assert result.record is not None
    assert len(result.record.offset_msg_id) == 56
    assert decode_offset_msg_id(result.record.offset_msg_id) == (("fd00::2", 10911), 0)


async def test_store_time_never_goes_back() -> None:
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await started(disk, clock)
    await put(store, message())
    clock.jump_wall_ms(-3_600_000)
    await put(store, message())
    await store.shutdown()
    store = await started(disk, clock)
    await put(store, message())
    times = [view.store_timestamp for view in await read_queue(store, "T")]
    assert times == sorted(times)
    assert times[0] == times[2]


async def test_prepared_and_rolled_back_records_get_no_queue_entry() -> None:
    store = await started(MemoryDisk())
    prepared = await store.put(message()._replace(sys_flag=sys_flag.TRANSACTION_PREPARED))
    await store.put(message()._replace(sys_flag=sys_flag.TRANSACTION_ROLLBACK))
    assert prepared.record is not None
    assert prepared.record.queue_offset == 0
    assert store.max_offset("T", 0) == 0
    assert await put(store, message()._replace(sys_flag=sys_flag.TRANSACTION_COMMIT)) == 0


async def test_a_rolled_back_record_is_not_indexed() -> None:
    store = await started(MemoryDisk())
    await store.put(message(KEYS="a")._replace(sys_flag=sys_flag.TRANSACTION_ROLLBACK))
    await store.put(message(KEYS="b")._replace(sys_flag=sys_flag.TRANSACTION_PREPARED))
    assert not (await store.query_by_key("T", "a", 10, 0, 1 << 60)).records
    assert len((await store.query_by_key("T", "b", 10, 0, 1 << 60)).records) == 1


async def test_the_entry_of_a_delayed_message_says_when_it_is_due() -> None:
    clock = VirtualClock()
    seen: list[int] = []
    store = await started(MemoryDisk(), clock, message_delay_level="1s 5s 2h")
    store.appender.on_arrive = lambda topic, queue_id, end, code, at, properties: seen.append(code - at)
    store.watch("SCHEDULE_TOPIC_XXXX", 2, True)
    for level in ("1", "3", "99"):
        await put(store, message("SCHEDULE_TOPIC_XXXX", 2, DELAY=level, TAGS="A"))
    await put(store, message("SCHEDULE_TOPIC_XXXX", 2, DELAY="x"))
    assert seen[:3] == [1000, 7_200_000, 7_200_000]
    assert seen[3] == -clock.now_ms()


async def test_arrival_tells_what_a_waiting_consumer_needs() -> None:
    store = await started(MemoryDisk())
    seen: list[tuple[object, ...]] = []
    store.appender.on_arrive = lambda *what: seen.append(what)
    await put(store, message(TAGS="nobody waits"))
    store.watch("T", 0, True)
    await put(store, message(TAGS="TagA", x="1"))
    store.watch("T", 0, False)
    await put(store, message(TAGS="nobody waits any more"))
    ((topic, queue_id, end, code, _, properties),) = seen
    assert (topic, queue_id, end, code) == ("T", 0, 2, tags_code("TagA"))
    assert properties == encode_properties({"TAGS": "TagA", "x": "1"})


async def test_a_queue_can_be_watched_before_its_first_message() -> None:
    store = await started(MemoryDisk())
    seen: list[int] = []
    store.appender.on_arrive = lambda topic, queue_id, end, *rest: seen.append(end)
    store.watch("T", 0, True)
    assert store.topics() == []
    await put(store, message())
    assert seen == [1]


async def test_views_handed_out_stay_valid() -> None:
    store = await started(MemoryDisk(), hot_tail_bytes_max=500)
    await put(store, message(body=b"first"))
    view = store.get("T", 0, 0, 1).views[0]  # type: ignore[union-attr]
    for _ in range(20):
        await put(store, message(body=b"x" * 100))
    assert bytes(RecordView(view).body) == b"first"


async def test_a_power_cut_never_keeps_a_later_file_of_the_log_without_the_one_before() -> None:
    """Whatever came of directory entries that nobody had synced, although the log rolled twice since the last sync."""
    clock = VirtualClock()
    disk = MemoryDisk(clock=clock)
    store = await started(disk, clock, mapped_file_size_commit_log=4096, flush_interval_commit_log=3_600_000)
    for number in range(40):
        await store.put(message(body=b"%d" % number * 200))
    assert store.max_physical_offset > 3 * 4096
    for seed in range(40):
        copy = disk.crashed_copy(SeededRng(seed), "subset")
        again = await started(copy, clock, mapped_file_size_commit_log=4096)
        await again.shutdown()
