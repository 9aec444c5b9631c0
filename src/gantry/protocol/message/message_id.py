"""The offset message id: where a record lies, as text. Brokers answer sends with it, operators view messages by it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from gantry.errors import RemoteProtocolError
from gantry.model import Host

_V4_LENGTH = 32
_V6_LENGTH = 56


@lru_cache(maxsize=1024)
def encode_host(host: Host) -> bytes:
    """Address and port as they stand in records and ids.

    Shape:  ip (4 or 16 bytes) + port i4, big-endian: 8 or 20 bytes.
    Raises: ValueError when the address is no textual IPv4 or IPv6 address.
    """
    return ipaddress.ip_address(host[0]).packed + host[1].to_bytes(4, "big", signed=True)


@lru_cache(maxsize=1024)
def decode_host(data: bytes) -> Host:
    """The inverse of encode_host; `data` is 8 or 20 bytes."""
    return str(ipaddress.ip_address(data[:-4])), int.from_bytes(data[-4:], "big", signed=True)


def offset_msg_id(store_host: Host, physical_offset: int) -> str:
    """Message id made of the broker's address and the record's place.

    Shape:  ip (4/16) + port i4 + physicalOffset i8, upper-case hex: 32 characters for IPv4, 56 for IPv6.
    Source: MessageDecoder.createMessageId (5.3).
    """
    return (encode_host(store_host) + physical_offset.to_bytes(8, "big")).hex().upper()


def decode_offset_msg_id(msg_id: str) -> tuple[Host, int]:
    """Host and physical offset of an offset message id.

    Raises: RemoteProtocolError when it is not 32 or 56 hex digits or the offset is negative.
    """
    if len(msg_id) not in (_V4_LENGTH, _V6_LENGTH):
        raise RemoteProtocolError(f"message id of {len(msg_id)} characters; an offset message id has 32 or 56")
    try:
        data = bytes.fromhex(msg_id)
    except ValueError:
        raise RemoteProtocolError(f"message id {msg_id[:56]!r} is not hexadecimal") from None
    offset = int.from_bytes(data[-8:], "big", signed=True)
    if len(data) * 2 != len(msg_id) or offset < 0:
        raise RemoteProtocolError(f"message id {msg_id[:56]!r} holds no valid physical offset")
    return decode_host(data[:-8]), offset
