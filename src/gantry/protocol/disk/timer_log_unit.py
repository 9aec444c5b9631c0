"""One entry of the timer log: a message that waits, or a mark that recalls one.

Shape:  52 bytes, big-endian: i4 size, i8 prevPos, i4 magic, i8 writeTime, i4 delay, i8 offsetPy, i4 sizePy, i4 topicHash,
        i8 reserved. prevPos is the position of the entry before it in the same slot, -1 for none; writeTime + delay is
        the slot's time; offsetPy and sizePy say where the record lies in the commit log; topicHash is Java's hash of the
        real topic. magic: 1, with 2 (due before its message: it is put back then) and 4 (a recall mark) or-ed in.
        An entry never spans files: where 52 + 16 bytes do not fit a blank ends the file (i4 bytes left, i8 0, i4 0xCBD43194).
Source: TimerLog (5.5); docs/format/timer.md.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

UNIT = struct.Struct(">iqiqiqiiq")
UNIT_SIZE = UNIT.size
BLANK = struct.Struct(">iqi")
BLANK_SIZE = BLANK.size
MAGIC_BLANK = (0xBBCCDDEE ^ (1880681586 + 8)) - (1 << 32)

MAGIC_DEFAULT = 1
MAGIC_ROLL = 1 << 1
MAGIC_DELETE = 1 << 2
_MAGIC_ALL = 0xF
NO_POSITION = -1
DELAY_MS_MAX = 0x7FFFFFFF


class TimerLogUnit(NamedTuple):
    """One entry. Units: times and delay in ms; position in bytes of the timer log, offset and size in bytes of the log."""

    size: int
    previous_position: int
    magic: int
    write_time_ms: int
    delay_ms: int
    physical_offset: int
    record_size: int
    topic_hash: int
    reserved: int = 0

    @property
    def slot_time_ms(self) -> int:
        return self.write_time_ms + self.delay_ms

    @property
    def rolls(self) -> bool:
        """When its slot comes the message is put back into the timer, for it is due later."""
        return bool(self.magic & MAGIC_ROLL)

    @property
    def recalls(self) -> bool:
        """It stands for a mark that recalls another message."""
        return bool(self.magic & MAGIC_DELETE)

    @property
    def valid(self) -> bool:
        return self.size == UNIT_SIZE and 0 < self.magic <= _MAGIC_ALL

    def encode(self) -> bytes:
        return UNIT.pack(*self)


def decode_timer_unit(data: bytes | bytearray | memoryview, at: int = 0) -> TimerLogUnit:
    return TimerLogUnit._make(UNIT.unpack_from(data, at))


def encode_timer_blank(remaining: int) -> bytes:
    """The blank that ends a file with `remaining` bytes left."""
    return BLANK.pack(remaining, 0, MAGIC_BLANK)


def is_timer_blank(data: bytes | bytearray | memoryview, at: int = 0) -> bool:
    return len(data) - at >= BLANK_SIZE and BLANK.unpack_from(data, at)[2] == MAGIC_BLANK
