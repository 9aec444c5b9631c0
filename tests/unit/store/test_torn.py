"""What a power cut leaves of a record that its CRC does not cover, and that no whole record looks like it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.errors import MessageIllegal, RemoteProtocolError
from gantry.model import StoreMessage
from gantry.protocol.message.record import RecordView, encode_record
from gantry.store import PutStatus
from gantry.store.torn import SECTOR_BYTES, ZERO_RUN_MAX, is_torn, looks_torn
from gantry.testing import MemoryDisk
from tests.unit.store.store_world import HOST, make_store, put, read_queue, started

PROPERTIES = st.lists(
    st.one_of(st.binary(min_size=1, max_size=80), st.integers(1, ZERO_RUN_MAX).map(bytes), st.just(b"k\x01v\x02")), max_size=6
).map(lambda parts: b"".join(parts))


def record(topic: str, body: bytes, properties: bytes, physical_offset: int) -> RecordView:
    item = StoreMessage(topic, 0, body, properties, born_host=HOST, store_host=HOST)
    return RecordView(encode_record(item, queue_offset=0, physical_offset=physical_offset, store_timestamp=1))


@pytest.mark.parametrize("size", [1, 127, 128, 255])
@pytest.mark.parametrize(
    "properties", [b"", b"k\x01v\x02", b"k\x01" + bytes(ZERO_RUN_MAX) + b"\x02", bytes(ZERO_RUN_MAX) + b"v" * 2]
)
def test_no_whole_record_is_torn_wherever_it_lies(size: int, properties: bytes) -> None:
    for physical_offset in range(SECTOR_BYTES):
        view = record("t" * size, b"body", properties, physical_offset)
        assert not is_torn(view, physical_offset, last=True), physical_offset


@given(
    topic=st.sampled_from(["T", "t" * 127, "t" * 128, "t" * 255]),
    body=st.integers(0, 1100).map(bytes),
    properties=PROPERTIES,
    physical_offset=st.integers(0, 4096),
    last=st.booleans(),
)
def test_no_whole_record_is_torn(topic: str, body: bytes, properties: bytes, physical_offset: int, last: bool) -> None:
    view = record(topic, body, properties, physical_offset)
    assert not is_torn(view, physical_offset, last=last) or looks_torn(properties)


@given(
    topic=st.sampled_from(["T", "t" * 128, "t" * 255]),
    body=st.binary(max_size=600),
    properties=st.integers(0, 2000).map(lambda size: b"p" * size),
    physical_offset=st.integers(0, 2048),
    data=st.data(),
)
def test_a_record_that_lost_a_sector_is_told(
    topic: str, body: bytes, properties: bytes, physical_offset: int, data: st.DataObject
) -> None:
    """One that is written beyond its body; what its CRC covers is told by the CRC, the head by its lengths."""
    view = record(topic, body, properties, physical_offset)
    whole = bytes(view.buffer)
    first, last = (physical_offset + view.topic_start) // SECTOR_BYTES, (physical_offset + view.end - 1) // SECTOR_BYTES
    sector = data.draw(st.integers(first, last))
    begin, end = max(sector * SECTOR_BYTES - physical_offset, 0), (sector + 1) * SECTOR_BYTES - physical_offset
    torn = (whole[:begin] + bytes(min(end, len(whole)) - begin) + whole[end:])[: len(whole)]
    if torn == whole:
        return  # only zero bytes stood there: nothing is lost
    try:
        view = RecordView(torn)
    except RemoteProtocolError:
        return
    assert not view.crc_matches or is_torn(view, physical_offset, last=False)


@pytest.mark.parametrize("topic", ["t" * 128, "%RETRY%" + "g" * 240])
async def test_long_topics_survive_a_kill_at_every_place_in_a_sector(topic: str) -> None:
    """The length of such a topic has two bytes, the first of them zero: it may stand alone before a sector's end."""
    disk = MemoryDisk()
    settings = {"mapped_file_size_commit_log": 1 << 21}
    store = await started(disk, **settings)
    sent = [b"x" * size for size in range(1, SECTOR_BYTES + 2)]
    for body in sent:
        await put(store, StoreMessage(topic, 0, body, b"", born_host=HOST, store_host=HOST))
    disk.crash(keep="all")
    store = make_store(disk, **settings)
    await store.load()
    assert [bytes(view.body) for view in await read_queue(store, topic)] == sent


@pytest.mark.parametrize(
    ("properties", "fine"),
    [
        (b"k\x01" + bytes(ZERO_RUN_MAX) + b"\x02", True),
        (b"k\x01" + bytes(ZERO_RUN_MAX + 1) + b"\x02", False),
        (bytes(ZERO_RUN_MAX + 1) + b"v", False),
        (b"k\x01v\0", False),
        (b"k\x01" + b"\0v" * 600 + b"\x02", True),
    ],
)
async def test_what_would_look_torn_is_refused(properties: bytes, fine: bool) -> None:
    store = await started(MemoryDisk(), mapped_file_size_commit_log=1 << 20)
    result = await store.put(StoreMessage("T", 0, b"x", properties, born_host=HOST, store_host=HOST))
    assert result.status is (PutStatus.PUT_OK if fine else PutStatus.MESSAGE_ILLEGAL)
    assert fine or "after a crash the message would be taken for torn; it was not stored" in result.remark
    assert store.max_offset("T", 0) == fine
    plan = store.new_plan()
    with contextlib.nullcontext() if fine else pytest.raises(MessageIllegal):
        plan.add_batch([StoreMessage("T", 0, b"x", properties, born_host=HOST, store_host=HOST)])
    store.abort(plan)
