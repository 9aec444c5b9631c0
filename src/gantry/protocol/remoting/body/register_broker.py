"""Body of REGISTER_BROKER, plain (JSON) and compressed.

Compressed layout, after inflation, integers big-endian:

    length(4) DataVersion JSON
    topic_count(4), per topic: length(4) "name readNums writeNums perm filterType attributesJSON"
    length(4) filterServerList JSON
    mapping_count(4), per entry: length(4) TopicQueueMappingInfo JSON      only from senders of version 5.0.0 on

Source: RegisterBrokerBody, TopicConfig.encode (5.3).
"""

from __future__ import annotations

import contextlib
import zlib
from typing import Any

import msgspec

from gantry.errors import RemoteProtocolError
from gantry.model.data_version import DataVersion
from gantry.model.topic_config import TopicConfig
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.topic_config import TopicConfigWrapper
from gantry.protocol.remoting.codes import V5_0_0

INFLATED_BYTES_MAX = 256 * 1024 * 1024
TOPICS_MAX = 1_000_000


class RegisterBrokerBody(msgspec.Struct, rename="camel"):
    """A broker's topics and its filter servers."""

    topic_config_serialize_wrapper: TopicConfigWrapper = msgspec.field(default_factory=TopicConfigWrapper)
    filter_server_list: list[str] = msgspec.field(default_factory=list)


def body_crc32(body: bytes) -> int:
    """The header's bodyCrc32; 0 in a header means unchecked."""
    return zlib.crc32(body) & 0x7FFFFFFF


def decode_register_broker(body: bytes, *, version: int) -> RegisterBrokerBody:
    """Any form; compression is told by the first byte, because official brokers announce it wrongly. Brokers before
    3.0.11 send the topic wrapper alone.

    Raises: RemoteProtocolError, also when the body inflates beyond INFLATED_BYTES_MAX.
    """
    if not body:
        return RegisterBrokerBody()
    if body[0] != 0x78:
        members = json_dialect.decode(body)
        if isinstance(members, dict) and "topicConfigSerializeWrapper" not in members and "topicConfigTable" in members:
            return RegisterBrokerBody(json_dialect.convert(members, TopicConfigWrapper))
        return json_dialect.convert(members, RegisterBrokerBody)
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, INFLATED_BYTES_MAX)
    except zlib.error as error:
        raise RemoteProtocolError(f"compressed registration does not inflate: {error}") from None
    if not inflater.eof:
        raise RemoteProtocolError(f"compressed registration is cut, or inflates beyond {INFLATED_BYTES_MAX} bytes")
    reader = _Blocks(data)
    wrapper = TopicConfigWrapper(data_version=json_dialect.decode_as(reader.block(), DataVersion))
    for _ in range(reader.count(TOPICS_MAX)):
        config = _decode_topic(reader.block())
        wrapper.topic_config_table[config.topic_name] = config
    filters = json_dialect.decode_as(reader.block(), list[str])
    if version >= V5_0_0 and not reader.at_end():
        for _ in range(reader.count(TOPICS_MAX)):
            info = json_dialect.decode(reader.block())
            if isinstance(info, dict) and isinstance(info.get("topic"), str):
                wrapper.topic_queue_mapping_info_map[info["topic"]] = info
    return RegisterBrokerBody(topic_config_serialize_wrapper=wrapper, filter_server_list=filters)


def encode_register_broker(body: RegisterBrokerBody, *, compressed: bool) -> bytes:
    if not compressed:
        return json_dialect.encode(body)
    wrapper = body.topic_config_serialize_wrapper
    parts = [_block(json_dialect.encode(wrapper.data_version)), len(wrapper.topic_config_table).to_bytes(4, "big")]
    parts += [_block(_encode_topic(config)) for config in wrapper.topic_config_table.values()]
    parts.append(_block(json_dialect.encode(body.filter_server_list)))
    parts.append(len(wrapper.topic_queue_mapping_info_map).to_bytes(4, "big"))
    parts += [_block(json_dialect.encode(info)) for info in wrapper.topic_queue_mapping_info_map.values()]
    return zlib.compress(b"".join(parts), 9)


def _block(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _encode_topic(config: TopicConfig) -> bytes:
    attributes = json_dialect.encode(config.attributes).decode()
    return (
        f"{config.topic_name} {config.read_queue_nums} {config.write_queue_nums} {config.perm} "
        f"{config.topic_filter_type} {attributes}"
    ).encode()


def _decode_topic(block: bytes) -> TopicConfig:
    try:
        fields = block.decode().split(" ", 5)
        config = TopicConfig(
            topic_name=fields[0],
            read_queue_nums=int(fields[1]),
            write_queue_nums=int(fields[2]),
            perm=int(fields[3]),
            topic_filter_type=fields[4],
        )
    except (ValueError, IndexError):
        raise RemoteProtocolError(f"compressed registration: topic entry {block[:80]!r} is not readable") from None
    if len(fields) > 5 and fields[5].strip():
        # Attributes that do not parse cost the attributes, not the topic, as with the original.
        attributes: Any = None
        with contextlib.suppress(RemoteProtocolError):
            attributes = json_dialect.decode(fields[5].encode())
        if isinstance(attributes, dict):
            config.attributes = {str(key): str(value) for key, value in attributes.items()}
    return config


class _Blocks:
    """Reads counted blocks; every length is checked against what is there."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def at_end(self) -> bool:
        return self.position >= len(self.data)

    def count(self, limit: int) -> int:
        if len(self.data) - self.position < 4:
            raise RemoteProtocolError("compressed registration ends inside a length")
        number = int.from_bytes(self.data[self.position : self.position + 4], "big", signed=True)
        self.position += 4
        if not 0 <= number <= limit:
            raise RemoteProtocolError(f"compressed registration: length {number} is not between 0 and {limit}")
        return number

    def block(self) -> bytes:
        length = self.count(len(self.data))
        if length > len(self.data) - self.position:
            raise RemoteProtocolError(f"compressed registration ends inside a block of {length} bytes")
        block = self.data[self.position : self.position + length]
        self.position += length
        return block
