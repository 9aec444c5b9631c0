"""Body of REGISTER_BROKER: a broker's topics, their version and its filter servers, as JSON or compressed.

Layout of the compressed form, inside one zlib stream, integers big-endian, texts UTF-8:

    length(4) | DataVersion as JSON
    count(4)  | count times: length(4) | `name readNums writeNums perm filterType attributes`
    length(4) | filter server list as JSON
    count(4)  | count times: length(4) | TopicQueueMappingInfo as JSON       only from brokers of 5.0 on

Attributes are JSON without spaces, or missing (4.x). Order flag and topicSysFlag do not travel in this form.
Source: RegisterBrokerBody, TopicConfig.decode (5.3).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import msgspec

from gantry.errors import RemoteProtocolError
from gantry.model import DataVersion, TopicConfig
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.topic_config import TopicConfigWrapper
from gantry.protocol.remoting.codes import V5_0_0

INFLATED_BYTES_MAX = 64 * 1024 * 1024

TOPICS_MAX = 250_000
"""Topics of one registration; each costs some 500 bytes here."""

VALUES_MAX = 100_000
"""Values of a registration that is no standard JSON (a broker with static topics writes bare integer keys)."""

_INT = struct.Struct(">i")


class RegisterBrokerBody(msgspec.Struct, rename="camel"):
    """What a broker says of itself. `filter_server_list` None: nothing was said."""

    topic_config_serialize_wrapper: TopicConfigWrapper = msgspec.field(default_factory=TopicConfigWrapper)
    filter_server_list: list[str] | None = msgspec.field(default_factory=list)


class _AnyForm(msgspec.Struct, rename="camel"):
    """Enough to tell the two JSON forms apart; nothing inside is built."""

    topic_config_serialize_wrapper: msgspec.Raw = msgspec.Raw(b"")
    topic_config_table: msgspec.Raw = msgspec.Raw(b"")


def body_crc32(body: bytes) -> int:
    """Checksum a registration carries in `bodyCrc32` (0 there means unchecked). Shape: 31 bits, never negative."""
    return zlib.crc32(body) & 0x7FFFFFFF


def encode_register_broker_body(body: RegisterBrokerBody, *, compressed: bool = False) -> bytes:
    """The body as brokers send it; the compressed form is always the one of 5.0, with the mapping block."""
    if not compressed:
        return json_dialect.encode(body)
    wrapper = body.topic_config_serialize_wrapper
    parts: list[bytes] = []
    _put_block(parts, json_dialect.encode(wrapper.data_version))
    parts.append(_INT.pack(len(wrapper.topic_config_table)))
    for config in wrapper.topic_config_table.values():
        attributes = json_dialect.encode(config.attributes).decode()
        line = (
            f"{config.topic_name} {config.read_queue_nums} {config.write_queue_nums} {config.perm} "
            f"{config.topic_filter_type} {attributes}"
        )
        _put_block(parts, line.encode())
    _put_block(parts, json_dialect.encode(body.filter_server_list or []))
    parts.append(_INT.pack(len(wrapper.topic_queue_mapping_info_map)))
    for info in wrapper.topic_queue_mapping_info_map.values():
        _put_block(parts, json_dialect.encode(info))
    return zlib.compress(b"".join(parts), 9)


def decode_register_broker_body(
    body: bytes, *, version: int, inflated_bytes_max: int = INFLATED_BYTES_MAX
) -> RegisterBrokerBody:
    """Reads a registration in any of its three forms.

    The form is told by the bytes, not by the header: official brokers send `compressed=false` with a compressed body,
    and brokers before 3.0.11 send the topic wrapper alone. `version` is the sender's. An empty body is a broker
    without topics.
    Raises: RemoteProtocolError for bytes that are no registration, inflate beyond `inflated_bytes_max`, or ask for more
            work than any broker's registration does.
    """
    if not body:
        return RegisterBrokerBody()
    if _is_zlib(body):
        return _decode_compressed(_inflate(body, inflated_bytes_max), version)
    # A topic is two objects, itself and its attributes.
    if body.count(b"{") + body.count(b"[") > 2 * TOPICS_MAX:
        raise RemoteProtocolError(f"registration body of {len(body)} bytes may have more than {TOPICS_MAX} topics")
    standard = json_dialect.decode_standard(body, _AnyForm)
    if standard is not None:
        if not standard.topic_config_serialize_wrapper and standard.topic_config_table:
            whole = json_dialect.decode_standard(body, TopicConfigWrapper)
            if whole is not None:
                return RegisterBrokerBody(whole)
        else:
            found = json_dialect.decode_standard(body, RegisterBrokerBody)
            if found is not None:
                return found
    json_dialect.check_values(body, VALUES_MAX)
    members = json_dialect.decode(body)
    if not isinstance(members, dict):
        raise RemoteProtocolError("registration body is no JSON object")
    if "topicConfigSerializeWrapper" not in members and "topicConfigTable" in members:
        return RegisterBrokerBody(json_dialect.convert(members, TopicConfigWrapper))
    return json_dialect.convert(members, RegisterBrokerBody)


def _is_zlib(body: bytes) -> bool:
    """The two bytes a zlib stream begins with; no JSON text begins with an `x`."""
    return len(body) > 2 and body[0] == 0x78 and int.from_bytes(body[:2], "big") % 31 == 0


def _inflate(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(body, limit)
    except zlib.error as error:
        raise RemoteProtocolError(f"compressed registration body: {error}") from None
    if inflater.unconsumed_tail:
        raise RemoteProtocolError(f"compressed registration body inflates to more than {limit} bytes")
    if not inflater.eof:
        raise RemoteProtocolError("compressed registration body ends before its last block")
    return data


def _decode_compressed(data: bytes, version: int) -> RegisterBrokerBody:
    reader = _BlockReader(data)
    wrapper = TopicConfigWrapper(data_version=json_dialect.decode_as(reader.block(), DataVersion))
    for _ in range(reader.count(TOPICS_MAX)):
        config = _topic_from_line(reader.text())
        wrapper.topic_config_table[config.topic_name] = config
    filter_servers = json_dialect.decode_as(reader.block(), list[str])
    # The block is missing from senders that claim 5.0 and know nothing of static topics.
    if version >= V5_0_0 and reader.more:
        for _ in range(reader.count(TOPICS_MAX)):
            info = json_dialect.decode_as(reader.block(), dict[str, Any])
            wrapper.topic_queue_mapping_info_map[str(info.get("topic"))] = info
    return RegisterBrokerBody(wrapper, filter_servers)


def _topic_from_line(line: str) -> TopicConfig:
    fields = line.split(" ", 5)
    if len(fields) < 5:
        raise RemoteProtocolError(f"topic line {line[:80]!r} has {len(fields)} fields, 5 or 6 are needed")
    try:
        config = TopicConfig(fields[0], int(fields[1]), int(fields[2]), int(fields[3]), fields[4])
    except ValueError:
        raise RemoteProtocolError(f"topic line {line[:80]!r} lacks numbers for its queues and permission") from None
    if len(fields) == 6 and fields[5] not in ("", "{}"):
        try:
            config.attributes = json_dialect.decode_as(fields[5].encode(), dict[str, str])
        except RemoteProtocolError:
            # Attributes that do not parse cost the attributes, not the topic, as with the original.
            config.attributes = {}
    return config


class _BlockReader:
    """Length-prefixed blocks, one after the other; any length that does not fit is an error."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def more(self) -> bool:
        return self._position < len(self._data)

    def count(self, limit: int = INFLATED_BYTES_MAX) -> int:
        if self._position + 4 > len(self._data):
            raise RemoteProtocolError(f"registration body ends at byte {self._position}, inside a length")
        number: int = _INT.unpack_from(self._data, self._position)[0]
        if not 0 <= number <= len(self._data):
            raise RemoteProtocolError(f"registration body has length {number} at byte {self._position}")
        if number > limit:
            raise RemoteProtocolError(f"registration body announces {number} entries, more than {limit}")
        self._position += 4
        return number

    def block(self) -> bytes:
        length = self.count()
        start, end = self._position, self._position + length
        if end > len(self._data):
            raise RemoteProtocolError(f"registration body ends inside a block of {length} bytes at byte {start}")
        self._position = end
        return self._data[start:end]

    def text(self) -> str:
        block = self.block()
        try:
            return block.decode()
        except UnicodeDecodeError:
            raise RemoteProtocolError("registration body has a topic line that is not UTF-8") from None


def _put_block(parts: list[bytes], block: bytes) -> None:
    parts.append(_INT.pack(len(block)))
    parts.append(block)
