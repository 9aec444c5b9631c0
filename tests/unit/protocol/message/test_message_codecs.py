"""Message bytes: known values of the official classes, and the odd cases that are kept on purpose."""

from __future__ import annotations

import pytest

from gantry.errors import RemoteProtocolError
from gantry.protocol.disk.blank_record import encode_blank
from gantry.protocol.disk.checkpoint_layout import Checkpoint, decode_checkpoint, encode_checkpoint
from gantry.protocol.disk.file_name import offset_file_name, parse_offset_file_name
from gantry.protocol.disk.index_layout import index_file_size, key_hash, seconds_since
from gantry.protocol.message import (
    UniqueIdMaker,
    decode_batch,
    decode_offset_msg_id,
    decode_properties,
    decode_record,
    tags_code,
)
from gantry.protocol.message.unique_id import month_bounds_ms


@pytest.mark.parametrize(
    ("tag", "code"),
    [("", 0), ("TagA", 2598919), ("*", 42), ("\U0001f600", 1772899), ("polygenelubricants", -2147483648)],
)
def test_tags_code_is_javas_string_hash(tag: str, code: int) -> None:
    assert tags_code(tag) == code


def test_the_smallest_negative_hash_indexes_as_zero() -> None:
    assert key_hash("polygenelubricants") == 0
    assert key_hash("\uffff\uffff#x") >= 0


def test_properties_drop_what_the_official_reader_drops() -> None:
    text = b"A\x011\x02\x01no name\x02noseparator\x02empty\x01\x02B\x012\x02A\x013"
    assert decode_properties(text) == {"A": "3", "B": "2"}
    assert decode_properties(b"") == {}
    assert decode_properties(b"A\x01\xff\x02") == {"A": "\ufffd"}


def test_a_batch_of_too_many_messages_is_refused() -> None:
    empty = bytes.fromhex("00000016") + bytes(18)
    assert len(decode_batch(empty * 3)) == 3
    with pytest.raises(RemoteProtocolError, match="more than 2"):
        decode_batch(empty * 3, count_max=2)


@pytest.mark.parametrize("data", [b"", b"\0" * 90, b"\0" * 200, b"\x7f" * 200])
def test_no_record_is_an_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_record(data)


def test_offset_ids_of_the_official_broker() -> None:
    assert decode_offset_msg_id("7F00000100006D070000000000002D04") == (("127.0.0.1", 27911), 0x2D04)


@pytest.mark.parametrize("text", ["", "7F", "zz" * 16, "7F00000100006D07FFFFFFFFFFFFFFFF", " " * 32])
def test_bad_offset_ids(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_offset_msg_id(text)


def test_unique_ids_hold_address_process_time_and_counter() -> None:
    maker = UniqueIdMaker(ip="10.1.2.3", pid=0x12345, seed=0xAABBCCDD)
    now = 1_700_000_000_000
    begin, end = month_bounds_ms(now)
    assert begin <= now < end
    first, second = maker.next_id(now), maker.next_id(now)
    assert first[:20] == "0A010203" + "2345" + "AABBCCDD"
    assert int(first[20:28], 16) == now - begin
    assert int(second[28:], 16) == int(first[28:], 16) + 1
    assert maker.next_id(end)[20:28] == "00000000"
    assert len(UniqueIdMaker(ip="fd00::1", pid=1, seed=1).next_id(now)) == 56


def test_unique_ids_do_not_repeat_within_a_turn_of_the_counter() -> None:
    maker = UniqueIdMaker(ip="1.1.1.1", pid=1, seed=1)
    assert len({maker.next_id(1_700_000_000_000) for _ in range(65536)}) == 65536


def test_file_names() -> None:
    assert offset_file_name(1 << 30) == "00000000001073741824"
    assert parse_offset_file_name("00000000001073741824") == 1 << 30
    for name in ("1", "0000000000107374182x", "00000000001073741824.tmp", "٠" * 20):
        assert parse_offset_file_name(name) is None


def test_layout_sizes_of_the_official_defaults() -> None:
    assert index_file_size(5_000_000, 20_000_000) == 420_000_040
    assert len(encode_checkpoint(Checkpoint())) == 4096
    assert encode_blank(108288) == bytes.fromhex("0001a700cbd43194")


def test_a_short_checkpoint_means_from_the_start() -> None:
    assert decode_checkpoint(b"") == Checkpoint()
    full = Checkpoint(5000, 4000, 3, 2, 1)
    assert decode_checkpoint(encode_checkpoint(full)) == full
    assert full.recovery_timestamp == 1000


@pytest.mark.parametrize(("begin", "at", "seconds"), [(0, 9999, 0), (1000, 2999, 1), (5000, 1000, 0), (1, 1 << 60, 0x7FFFFFFF)])
def test_index_times_are_clamped_seconds(begin: int, at: int, seconds: int) -> None:
    assert seconds_since(begin, at) == seconds
