"""Registration bodies in their three forms, recorded and made."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.errors import RemoteProtocolError
from gantry.model import DataVersion, TopicConfig
from gantry.protocol.remoting import FrameDecoder, decode_frame
from gantry.protocol.remoting.body.register_broker_body import (
    RegisterBrokerBody,
    body_crc32,
    decode_register_broker_body,
    encode_register_broker_body,
)
from gantry.protocol.remoting.body.topic_config import TopicConfigWrapper
from tests.golden import frame_bytes, frame_index


def recorded_bodies(name: str) -> list[tuple[str, bytes, int, int]]:
    found = []
    for line in frame_index(name):
        if line["requestCode"] == 103 and line["kind"] == "req":
            decoder = FrameDecoder()
            decoder.receive_data(frame_bytes(name, line))
            frame = decoder.next_frame()
            assert frame is not None
            command = decode_frame(frame)
            found.append((line["file"], command.body, command.version, int(line["extFields"]["bodyCrc32"])))
    return found


@pytest.mark.parametrize("name", ["json", "rocketmq", "controller"])
def test_recorded_registrations_are_read_and_their_checksums_agree(name: str) -> None:
    bodies = recorded_bodies(name)
    assert len(bodies) >= 2
    for file, body, version, crc in bodies:
        assert body_crc32(body) == crc, file
        decoded = decode_register_broker_body(body, version=version)
        wrapper = decoded.topic_config_serialize_wrapper
        assert wrapper.topic_config_table, file
        assert all(key == config.topic_name for key, config in wrapper.topic_config_table.items()), file
        again = decode_register_broker_body(encode_register_broker_body(decoded), version=version)
        assert again == decoded, file


NAMES = st.text(st.sampled_from("abzAZ09_-%|"), min_size=1, max_size=12)
CONFIGS = st.builds(
    TopicConfig,
    topic_name=NAMES,
    read_queue_nums=st.integers(0, 1024),
    write_queue_nums=st.integers(0, 1024),
    perm=st.integers(0, 7),
    topic_filter_type=st.sampled_from(["SINGLE_TAG", "MULTI_TAG"]),
    attributes=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)


@given(
    st.lists(CONFIGS, max_size=5),
    st.builds(DataVersion, st.integers(0, 9), st.integers(0, 2**62), st.integers(0, 2**31)),
    st.lists(st.text(max_size=12), max_size=3),
    st.booleans(),
)
def test_every_body_comes_back_in_both_forms(
    configs: list[TopicConfig], version: DataVersion, filter_servers: list[str], static: bool
) -> None:
    wrapper = TopicConfigWrapper({config.topic_name: config for config in configs}, version)
    if static:
        wrapper.topic_queue_mapping_info_map = {"s": {"bname": "b", "topic": "s", "currIdMap": {0: 1}}}
    body = RegisterBrokerBody(wrapper, filter_servers)
    for compressed in (False, True):
        data = encode_register_broker_body(body, compressed=compressed)
        assert decode_register_broker_body(data, version=513) == body


def test_brokers_of_4_x_send_no_mapping_block_and_no_attributes() -> None:
    def block(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    head = block(b'{"counter":1,"timestamp":2}') + (1).to_bytes(4, "big")
    for line, attributes in (
        (b"orders 4 8 6 SINGLE_TAG", {}),
        (b"orders 4 8 6 SINGLE_TAG ", {}),
        (b"orders 4 8 6 SINGLE_TAG {bad", {}),
        (b'orders 4 8 6 SINGLE_TAG {"a b":"c d"}', {"a b": "c d"}),
    ):
        data = zlib.compress(head + block(line) + block(b"[]"))
        for version in (399, 513):
            decoded = decode_register_broker_body(data, version=version)
            assert decoded.topic_config_serialize_wrapper.topic_config_table == {
                "orders": TopicConfig("orders", 4, 8, 6, attributes=attributes)
            }


def test_a_small_body_that_inflates_without_end_is_cut_off() -> None:
    bomb = zlib.compress(bytes(4 * 1024 * 1024))
    assert len(bomb) < 8_192
    with pytest.raises(RemoteProtocolError, match="inflates to more than 65536 bytes"):
        decode_register_broker_body(bomb, version=513, inflated_bytes_max=65_536)


@given(st.binary(max_size=200), st.booleans())
def test_whatever_arrives_it_is_a_body_or_a_protocol_error(data: bytes, compressed: bool) -> None:
    for version in (0, 399, 513):
        with contextlib.suppress(RemoteProtocolError):
            decode_register_broker_body(zlib.compress(data) if compressed else data, version=version)


def test_a_cut_stream_is_an_error_at_every_length() -> None:
    whole = encode_register_broker_body(RegisterBrokerBody(TopicConfigWrapper({"t": TopicConfig("t")}), ["f"]), compressed=True)
    for length in range(3, len(whole)):
        with pytest.raises(RemoteProtocolError):
            decode_register_broker_body(whole[:length], version=513)
