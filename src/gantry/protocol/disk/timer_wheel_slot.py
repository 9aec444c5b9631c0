"""The time wheel: for each moment the chain of timer log entries that are due then.

Shape:  slots of 32 bytes, big-endian: i8 time / precision, i8 firstPos, i8 lastPos, i4 num, i4 magic.
        A time's slot is the one at (time / precision) modulo the number of slots; it holds that time only if its first field
        says so. firstPos and lastPos are positions in the timer log; num counts messages less recall marks; magic is 0.
        The file has 2 x 7 x 24 x 3600 slots whatever the precision.
Source: Slot, TimerWheel (5.5); docs/format/timer.md.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

SLOT = struct.Struct(">qqqii")
SLOT_SIZE = SLOT.size
WHEEL_SLOTS = 2 * 7 * 24 * 3600
WHEEL_FILE_SIZE = WHEEL_SLOTS * SLOT_SIZE


class WheelSlot(NamedTuple):
    """One slot. Units: `tick` is the time divided by the precision; positions in bytes of the timer log."""

    tick: int
    first_position: int
    last_position: int
    message_count: int
    magic: int = 0

    def encode(self) -> bytes:
        return SLOT.pack(*self)


def decode_slot(data: bytes | bytearray | memoryview, at: int = 0) -> WheelSlot:
    return WheelSlot._make(SLOT.unpack_from(data, at))
