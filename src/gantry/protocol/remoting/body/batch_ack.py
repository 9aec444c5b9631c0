"""Body of BATCH_ACK_MESSAGE (200151)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import msgspec

from gantry.errors import RemoteProtocolError

BIT_SET_BYTES_MAX = 1 << 16
"""Offsets that one entry may name lie within half a million of its start."""


class BatchAckEntry(msgspec.Struct):
    """Messages of one pop of one queue that are done.

    Shape: `b` is base64 of a bit set, least significant bit of the first byte first; bit k is the offset `so` + k.
           `r` is the retry flag of `pop_handle`, `rq` the revive queue, `pt` and `it` pop time and invisible time in ms.
    Source: BatchAck (5.3); long names are read, too.
    """

    c: str = ""
    t: str = ""
    r: str = "0"
    so: int = 0
    q: int = 0
    rq: int = 0
    pt: int = 0
    it: int = 0
    b: str = ""

    def offsets(self) -> Iterator[int]:
        """Raises: RemoteProtocolError when the bit set is none, or beyond its bound."""
        try:
            bits = base64.b64decode(self.b, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RemoteProtocolError(f"a batch ack carries no bit set: {error}") from None
        if len(bits) > BIT_SET_BYTES_MAX:
            raise RemoteProtocolError(f"a batch ack carries a bit set of {len(bits)} bytes, more than {BIT_SET_BYTES_MAX}")
        value = int.from_bytes(bits, "little")
        if not value & (value + 1):
            # All of them from the first one on, as most pops are acknowledged.
            yield from range(self.so, self.so + value.bit_length())
            return
        for at, byte in enumerate(bits):
            while byte:
                low = byte & -byte
                yield self.so + at * 8 + low.bit_length() - 1
                byte ^= low


class BatchAckRequestBody(msgspec.Struct, rename="camel"):
    broker_name: str | None = None
    acks: list[BatchAckEntry] | None = None


LONG_NAMES = {
    "consumerGroup": "c",
    "topic": "t",
    "retry": "r",
    "startOffset": "so",
    "queueId": "q",
    "reviveQueueId": "rq",
    "popTime": "pt",
    "invisibleTime": "it",
    "bitSet": "b",
}
"""Member names that older clients write."""


def encode_bit_set(start: int, offsets: list[int]) -> str:
    """The bit set of offsets, none of them below `start`."""
    value = 0
    for offset in offsets:
        value |= 1 << (offset - start)
    return base64.b64encode(value.to_bytes((value.bit_length() + 7) // 8, "little")).decode()
