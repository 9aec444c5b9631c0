"""For all messages: encoding and decoding are inverse, and bad bytes are a declared error, never another one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.errors import LocalProtocolError, RemoteProtocolError
from gantry.model import StoreMessage
from gantry.protocol.message import (
    BatchElement,
    decode_batch,
    decode_offset_msg_id,
    decode_properties,
    decode_record,
    decode_records,
    encode_batch,
    encode_properties,
    encode_record,
    find_property,
    offset_msg_id,
)

i4 = st.integers(-(1 << 31), (1 << 31) - 1)
i8 = st.integers(-(1 << 63), (1 << 63) - 1)
ports = st.integers(0, 65535)
hosts = st.one_of(st.tuples(st.ip_addresses(v=4).map(str), ports), st.tuples(st.ip_addresses(v=6).map(str), ports))
words = st.text(st.characters(exclude_characters="\x01\x02", exclude_categories=("Cs",)), min_size=1, max_size=20)
property_maps = st.dictionaries(words, words, max_size=6)
messages = st.builds(
    StoreMessage,
    topic=st.text("abcXYZ_-%|019", min_size=1, max_size=200),
    queue_id=i4,
    body=st.binary(max_size=300),
    properties=property_maps.map(encode_properties),
    flag=i4,
    sys_flag=st.integers(0, 0xFFF),
    born_timestamp=i8,
    born_host=hosts,
    store_host=hosts,
    reconsume_times=i4,
    prepared_transaction_offset=i8,
)


@given(messages, i8, st.integers(0, (1 << 63) - 1), i8)
def test_records_round_trip(message: StoreMessage, queue_offset: int, physical_offset: int, at: int) -> None:
    data = encode_record(message, queue_offset=queue_offset, physical_offset=physical_offset, store_timestamp=at)
    found = decode_record(data, check_crc=True)
    assert found.store_size == len(data)
    assert (found.topic, found.body, found.queue_id, found.flag) == (
        message.topic,
        message.body,
        message.queue_id,
        message.flag,
    )
    assert (found.queue_offset, found.physical_offset, found.store_timestamp) == (queue_offset, physical_offset, at)
    assert (found.born_host, found.store_host, found.born_timestamp) == (
        message.born_host,
        message.store_host,
        message.born_timestamp,
    )
    assert found.properties == decode_properties(message.properties)
    assert (found.reconsume_times, found.prepared_transaction_offset) == (
        message.reconsume_times,
        message.prepared_transaction_offset,
    )
    assert found.sys_flag & ~0x30 == message.sys_flag & ~0x30
    assert [item.topic for item in decode_records(data * 3)] == [message.topic] * 3


@given(messages, st.data())
def test_damaged_records_are_a_protocol_error_or_a_record(message: StoreMessage, data: st.DataObject) -> None:
    whole = bytearray(encode_record(message, queue_offset=1, physical_offset=2, store_timestamp=3))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for damaged in (bytes(whole), bytes(whole[:cut])):
        with contextlib.suppress(RemoteProtocolError):
            decode_record(damaged, check_crc=True)


@given(st.lists(st.builds(BatchElement, i4, st.binary(max_size=100), st.binary(max_size=100))))
def test_batches_round_trip(elements: list[BatchElement]) -> None:
    assert decode_batch(encode_batch(elements)) == elements


@given(st.binary(max_size=200))
def test_any_batch_body_is_members_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert encode_batch(decode_batch(data)) or not data


@given(property_maps)
def test_properties_round_trip(properties: dict[str, str]) -> None:
    data = encode_properties(properties)
    assert decode_properties(data) == properties
    assert decode_properties(data.removesuffix(b"\x02")) == properties
    for name, value in properties.items():
        assert find_property(data, name.encode()) == value.encode()


@given(st.lists(st.sampled_from(["A", "B", "AB", "", "v", "\x01", "\x02"]), max_size=14).map("".join))
def test_the_quick_look_up_agrees_with_the_map(text: str) -> None:
    data = text.encode()
    known = decode_properties(data)
    for name in ("A", "B", "AB", "v"):
        found = find_property(data, name.encode())
        assert (found.decode() if found is not None else None) == known.get(name)


@given(hosts, st.integers(0, (1 << 63) - 1))
def test_offset_ids_round_trip(host: tuple[str, int], offset: int) -> None:
    text = offset_msg_id(host, offset)
    assert len(text) in (32, 56)
    assert decode_offset_msg_id(text) == (host, offset)


@given(st.text(max_size=60))
def test_any_text_is_an_offset_id_or_a_protocol_error(text: str) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_offset_msg_id(text)


@pytest.mark.parametrize("bad", [{"a\x01": "b"}, {"a": "b\x02"}, {"a": "\x01"}])
def test_separators_in_properties_are_refused(bad: dict[str, str]) -> None:
    with pytest.raises(LocalProtocolError):
        encode_properties(bad)
