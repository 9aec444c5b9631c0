"""Reading: statuses and next offsets of the official broker, limits, cold data, damage, time and key searches."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from gantry.errors import RecordCorrupt
from gantry.protocol.message import RecordView
from gantry.protocol.message.tags import tags_code
from gantry.store import BoundaryType, GetResult, GetStatus, MessageStore, reader
from gantry.testing import MemoryDisk, VirtualClock
from tests.unit.store.store_world import message, put, settled_get, started

COLD = {"hot_tail_bytes_max": 0, "queue_tail_bytes_max": 0}


async def filled(count: int = 10, **settings: object) -> MessageStore:
    store = await started(MemoryDisk(), **settings)
    for number in range(count):
        await put(store, message(body=b"%d" % number, TAGS="even" if number % 2 == 0 else "odd"))
    return store


@pytest.mark.parametrize(
    ("topic", "queue_id", "offset", "status", "next_offset"),
    [
        ("unknown", 0, 5, GetStatus.NO_MATCHED_LOGIC_QUEUE, 0),
        ("T", 9, 5, GetStatus.NO_MATCHED_LOGIC_QUEUE, 0),
        ("T", 0, -1, GetStatus.OFFSET_TOO_SMALL, 0),
        ("T", 0, 10, GetStatus.OFFSET_OVERFLOW_ONE, 10),
        ("T", 0, 11, GetStatus.OFFSET_OVERFLOW_BADLY, 10),
        ("T", 0, 9, GetStatus.FOUND, 10),
        ("T", 0, 0, GetStatus.FOUND, 4),
    ],
)
async def test_status_and_next_offset(topic: str, queue_id: int, offset: int, status: GetStatus, next_offset: int) -> None:
    store = await filled()
    result = await settled_get(store, topic, queue_id, offset, 4)
    assert (result.status, result.next_begin_offset) == (status, next_offset)


async def test_an_empty_queue_says_so() -> None:
    store = await started(MemoryDisk())
    store.abort(_planned(store))
    assert (await settled_get(store, "T", 0, 3)).status is GetStatus.NO_MESSAGE_IN_QUEUE


def _planned(store: MessageStore):  # type: ignore[no-untyped-def]
    plan = store.new_plan()
    plan.add(message())
    return plan


async def test_the_filter_skips_but_moves_on() -> None:
    store = await filled()
    odd = tags_code("odd")
    result = await settled_get(store, "T", 0, 0, 3, filter=lambda code: code == odd)
    assert [bytes(RecordView(view).body) for view in result.views] == [b"1", b"3", b"5"]
    assert result.next_begin_offset == 6
    nothing = await settled_get(store, "T", 0, 0, 32, filter=lambda code: False)
    assert (nothing.status, nothing.next_begin_offset) == (GetStatus.NO_MATCHED_MESSAGE, 10)


async def test_a_scan_without_matches_is_bounded() -> None:
    store = await filled(50, max_filter_message_size=20 * 20)
    result = await settled_get(store, "T", 0, 0, 8, filter=lambda code: False)
    assert (result.status, result.next_begin_offset) == (GetStatus.NO_MATCHED_MESSAGE, 20)


async def test_limits_of_count_and_bytes_and_the_first_one_always_passes() -> None:
    store = await filled(50)
    size = len((await settled_get(store, "T", 0, 0, 1)).views[0])
    assert (await settled_get(store, "T", 0, 0, 50)).count == 32
    assert (await settled_get(store, "T", 0, 0, 50, max_bytes=size * 3 + 1)).count == 3
    assert (await settled_get(store, "T", 0, 0, 50, max_bytes=1)).count == 1
    old = await filled(50, memory_bytes=1)
    result = await settled_get(old, "T", 0, 0, 50)
    assert result.count == 8
    assert result.suggest_slave


async def test_data_in_the_page_cache_is_read_at_once() -> None:
    store = await filled(40, **COLD)
    await store.checkpoint()
    assert isinstance(store.get("T", 0, 0, 8), GetResult)


async def test_cold_data_is_awaited() -> None:
    disk = MemoryDisk()
    store = await started(disk, **COLD)
    for number in range(60):
        await put(store, message(body=b"%d" % number))
    await store.checkpoint()
    disk.cold = True
    assert not store.is_in_memory("T", 0, 0)
    reading = store.get("T", 0, 0, 8)
    assert isinstance(reading, Awaitable)
    result = await reading
    assert [bytes(RecordView(view).body) for view in result.views] == [b"%d" % number for number in range(8)]


async def test_what_lies_close_to_a_cold_read_is_read_with_it() -> None:
    """A consumer that catches up must not ask the disk for each record."""
    disk = MemoryDisk()
    store = await started(disk, **COLD, mapped_file_size_consume_queue=20_000)
    for number in range(200):
        await put(store, message(queue_id=number % 2, body=b"%d" % number))
    await store.checkpoint()
    disk.cold = True
    first = store.get("T", 0, 0, 32)
    assert isinstance(first, Awaitable)
    assert len((await first).views) == 32
    again = store.get("T", 0, 32, 32)
    assert isinstance(again, GetResult)
    assert [bytes(RecordView(view).body) for view in again.views] == [b"%d" % (2 * number) for number in range(32, 64)]


async def test_a_damaged_record_is_an_error_and_other_queues_go_on() -> None:
    disk = MemoryDisk()
    store = await started(disk, **COLD)
    for number in range(6):
        await put(store, message(queue_id=number % 2, body=b"body-%d" % number))
    first = (await settled_get(store, "T", 0, 1, 1)).views[0]
    position = RecordView(first).physical_offset + 90
    disk.flip_bit("/store/commitlog/00000000000000000000", position)
    with pytest.raises(RecordCorrupt, match="CRC"):
        await settled_get(store, "T", 0, 1, 1)
    assert (await settled_get(store, "T", 1, 0)).count == 3
    assert (await settled_get(store, "T", 0, 2)).count == 1
    assert store._log.damaged_read_count == 1


async def timed() -> tuple[MessageStore, int]:
    """Three messages at t, two at t + 2000, one at t + 4000."""
    clock = VirtualClock()
    store = await started(MemoryDisk(clock=clock), clock)
    begin = clock.now_ms()
    for number in range(6):
        if number in (3, 5):
            clock.jump_wall_ms(2000)
        await put(store, message())
    return store, begin


@pytest.mark.parametrize(
    ("delta", "lower", "upper"),
    [(-1, 0, 0), (0, 0, 2), (1000, 3, 2), (2000, 3, 4), (3000, 5, 4), (4000, 5, 5), (4001, 6, 5)],
)
async def test_search_by_time_takes_the_asked_neighbour(delta: int, lower: int, upper: int) -> None:
    store, begin = await timed()
    assert await store.search_offset_by_time("T", 0, begin + delta, BoundaryType.LOWER) == lower
    assert await store.search_offset_by_time("T", 0, begin + delta, BoundaryType.UPPER) == upper


async def test_store_times() -> None:
    store, begin = await timed()
    assert await store.earliest_store_time("T", 0) == begin
    assert await store.store_time_at("T", 0, 5) == begin + 4000
    assert await store.store_time_at("T", 0, 6) == -1
    assert await store.earliest_store_time("T", 7) == -1
    assert await store.earliest_message_time() == begin
    assert await store.search_offset_by_time("nothing", 0, begin) == 0


async def test_a_record_is_found_by_its_place_and_only_there() -> None:
    store = await filled(3)
    views = (await settled_get(store, "T", 0, 0)).views
    for view in views:
        assert bytes(await store.message_at(RecordView(view).physical_offset) or b"") == bytes(view)
    for place in (-1, 1, 50, store.max_physical_offset, 1 << 40):
        assert await store.message_at(place) is None


@pytest.mark.parametrize("checkpointed", [False, True])
async def test_keys_are_found_and_colliding_ones_are_not(checkpointed: bool) -> None:
    store = await started(MemoryDisk())
    # "Aa" and "BB" have the same Java hash, and so do all texts that end alike after them.
    for key in ("Aa", "BB", "Aa other", "  Aa  "):
        await put(store, message(KEYS=key))
    if checkpointed:
        await store.checkpoint()
    found = (await store.query_by_key("T", "Aa", 32, 0, 1 << 60)).records
    assert [RecordView(record).queue_offset for record in found] == [0, 2, 3]
    found = (await store.query_by_key("T", "BB", 32, 0, 1 << 60)).records
    assert [RecordView(record).queue_offset for record in found] == [1]
    assert not (await store.query_by_key("U", "Aa", 32, 0, 1 << 60)).records


async def test_a_key_search_keeps_to_its_count_and_its_time() -> None:
    store, begin = await timed()
    for _ in range(100):
        await put(store, message(KEYS="k"))
    await store.checkpoint()
    assert len((await store.query_by_key("T", "k", 1000, 0, 1 << 60)).records) == 64
    newest = (await store.query_by_key("T", "k", 3, 0, 1 << 60)).records
    assert [RecordView(record).queue_offset for record in newest] == [103, 104, 105]
    assert not (await store.query_by_key("T", "k", 10, 0, begin)).records
    answer = await store.query_by_key("T", "k", 1, 0, 1 << 60)
    assert answer.index_last_update_timestamp == begin + 4000


async def test_forty_thousand_queues_do_not_need_as_many_descriptors() -> None:
    store = await started(MemoryDisk(), open_queue_files_max=4, queue_tail_bytes_max=0)
    for queue_id in range(50):
        await put(store, message(queue_id=queue_id))
    await store.checkpoint()
    for queue_id in range(50):
        assert (await settled_get(store, "T", queue_id, 0)).count == 1
    assert len(store._files) <= 4


class Picky:
    """A filter over records that lets those of some bodies pass."""

    def __init__(self, *bodies: bytes, tests: int = 1) -> None:
        self.bodies = bodies
        self.tests = tests
        self.looked_at = 0

    def matches_record(self, record: bytes | memoryview) -> bool:
        self.looked_at += 1
        return bytes(RecordView(record).body) in self.bodies


@pytest.mark.parametrize("settings", [{}, COLD], ids=["newest", "from files"])
async def test_a_filter_over_records_skips_but_moves_on(settings: dict[str, object]) -> None:
    store = await filled(**settings)
    result = await settled_get(store, "T", 0, 0, 2, record_filter=Picky(b"2", b"5", b"8"))
    assert [bytes(RecordView(view).body) for view in result.views] == [b"2", b"5"]
    assert (result.status, result.next_begin_offset) == (GetStatus.FOUND, 6)
    odd, picky = tags_code("odd"), Picky(b"2", b"5")
    result = await settled_get(store, "T", 0, 0, 9, filter=lambda code: code == odd, record_filter=picky)
    assert [bytes(RecordView(view).body) for view in result.views] == [b"5"]
    assert picky.looked_at == 5
    result = await settled_get(store, "T", 0, 3, 9, record_filter=Picky(b"x"))
    assert (result.status, result.next_begin_offset, result.views) == (GetStatus.NO_MATCHED_MESSAGE, 10, [])


async def test_a_costly_filter_ends_the_read_where_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    store = await filled()
    monkeypatch.setattr(reader, "_LOOK_TESTS_MAX", 30)
    result = await settled_get(store, "T", 0, 0, 9, record_filter=Picky(b"x", tests=10))
    assert (result.status, result.next_begin_offset) == (GetStatus.NO_MATCHED_MESSAGE, 3)
    result = await settled_get(store, "T", 0, 0, 9, record_filter=Picky(b"0", b"2", b"3", tests=10))
    assert (len(result.views), result.next_begin_offset) == (2, 3)


async def test_what_is_left_out_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    store = await filled()
    size = len((await settled_get(store, "T", 0, 0, 1)).views[0])
    monkeypatch.setattr(reader, "_LOOK_BYTES_MAX", 3 * size + 1)
    result = await settled_get(store, "T", 0, 0, 9, record_filter=Picky(b"1"))
    assert [bytes(RecordView(view).body) for view in result.views] == [b"1"]
    assert result.next_begin_offset == 5
