"""The body of a batch send: several messages of one topic, packed.

Shape:  per member: i4 size of the whole member, i4 magic 0, i4 body CRC 0, i4 flag, i4 body length + body,
        i2 properties length + properties; big-endian. Topic, queue and hosts are the request's.
        A broker stores each member with its own properties only; up to 5.3 the original put those of the request behind them.
Source: MessageDecoder.encodeMessages, MessageExtEncoder.encode(MessageExtBatch) (5.5.0).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from gantry.errors import LocalProtocolError, RemoteProtocolError

from .properties import PROPERTIES_SIZE_MAX

_HEAD = struct.Struct(">iiiii")
_I2 = struct.Struct(">h")
_FIXED = _HEAD.size + _I2.size


class BatchElement(NamedTuple):
    """One member of a batch. `properties` is the encoded property string."""

    flag: int
    body: bytes
    properties: bytes


def encode_batch(elements: Iterable[BatchElement]) -> bytes:
    """The batch body of these members. Raises: LocalProtocolError when properties exceed 32,767 bytes."""
    parts: list[bytes] = []
    for flag, body, properties in elements:
        if len(properties) > PROPERTIES_SIZE_MAX:
            raise LocalProtocolError(f"properties of {len(properties)} bytes exceed the limit of {PROPERTIES_SIZE_MAX}")
        size = _FIXED + len(body) + len(properties)
        parts += (_HEAD.pack(size, 0, 0, flag, len(body)), body, _I2.pack(len(properties)), properties)
    return b"".join(parts)


def decode_batch(body: bytes, *, count_max: int | None = None) -> list[BatchElement]:
    """The members of a batch body, in order.

    Raises: RemoteProtocolError when lengths do not add up, or there are more members than `count_max`.
    """
    elements: list[BatchElement] = []
    position, end = 0, len(body)
    while position < end:
        if count_max is not None and len(elements) >= count_max:
            raise RemoteProtocolError(f"batch of more than {count_max} messages")
        if end - position < _FIXED:
            raise RemoteProtocolError(f"batch member at byte {position} has {end - position} bytes; {_FIXED} are needed")
        size, _magic, _crc, flag, body_length = _HEAD.unpack_from(body, position)
        body_start = position + _HEAD.size
        if body_length < 0 or body_length > end - body_start - _I2.size:
            raise RemoteProtocolError(f"batch member at byte {position} announces a body of {body_length} bytes")
        body_end = body_start + body_length
        (properties_length,) = _I2.unpack_from(body, body_end)
        properties_start = body_end + _I2.size
        if properties_length < 0 or properties_length > end - properties_start:
            raise RemoteProtocolError(f"batch member at byte {position} announces {properties_length} bytes of properties")
        stop = properties_start + properties_length
        if size != stop - position:
            raise RemoteProtocolError(f"batch member at byte {position} says {size} bytes and has {stop - position}")
        elements.append(BatchElement(flag, body[body_start:body_end], body[properties_start:stop]))
        position = stop
    return elements
