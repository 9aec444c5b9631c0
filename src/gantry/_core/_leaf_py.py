"""The leaf loops in pure Python; `_leaf_c.pyx` is their compiled twin, with the same arguments and results."""

from __future__ import annotations

import struct
import zlib
from operator import mul

MAGIC_V1 = 0xDAA320A7
MAGIC_V2 = 0xDAA320AB
MAGIC_BLANK = 0xCBD43194

END_OF_BUFFER = 0
END_BLANK = 1
END_ZERO = 2
END_BAD_MAGIC = 3
END_BAD_SIZE = 4
END_BAD_CRC = 5

_POWER_COUNT = 256
_SHIFTS = [pow(31, exponent, 1 << 32) for exponent in range(_POWER_COUNT + 1)]
_POWERS = _SHIFTS[_POWER_COUNT - 1 :: -1]
"""31 ** 255 down to 31 ** 0: a hash as one sum of products costs a fifth of a loop."""

_HEAD = struct.Struct(">IIi")
_I4 = struct.Struct(">i")


def java_string_hash(text: str) -> int:
    """Java's String.hashCode: h = 31 * h + c over UTF-16 units, as a signed 32-bit integer; "" gives 0."""
    value = 0
    if text.isascii():
        data = text.encode("ascii")
        for start in range(0, len(data), _POWER_COUNT):
            piece = data[start : start + _POWER_COUNT]
            value = (value * _SHIFTS[len(piece)] + sum(map(mul, piece, _POWERS[-len(piece) :]))) & 0xFFFFFFFF
    else:
        units = text.encode("utf-16-be", "surrogatepass")
        for index in range(0, len(units), 2):
            value = (31 * value + (units[index] << 8 | units[index + 1])) & 0xFFFFFFFF
    return value - 0x100000000 if value & 0x80000000 else value


def scan_records(buffer: bytes | bytearray | memoryview, start: int, end: int, check_crc: bool) -> tuple[list[int], int, int]:
    """Walks whole records of a commit log file.

    Returns: starts of the good records in order, where the walk ended (a byte position in `buffer`), and why
             (an END_ constant). A blank record ends the walk at its own start, as do zero bytes (size 0).
    Units:   byte positions in `buffer`; `end` is where readable bytes end.
    """
    starts: list[int] = []
    position = start
    unpack = _HEAD.unpack_from
    view = memoryview(buffer)
    try:
        while end - position >= 8:
            if end - position < 12:
                size, magic = struct.unpack_from(">II", view, position)
                body_crc = 0
            else:
                size, magic, body_crc = unpack(view, position)
            if magic == MAGIC_BLANK:
                return starts, position, END_BLANK
            if size == 0:
                return starts, position, END_ZERO
            if magic != MAGIC_V1 and magic != MAGIC_V2:
                return starts, position, END_BAD_MAGIC
            reason = _check(view, position, size, magic, body_crc, end, check_crc)
            if reason:
                return starts, position, reason
            starts.append(position)
            position += size
        return starts, position, END_OF_BUFFER
    finally:
        view.release()


def _check(view: memoryview, position: int, size: int, magic: int, body_crc: int, end: int, check_crc: bool) -> int:
    """0 when the record at `position` is whole and its lengths add up, else an END_ constant."""
    if size < 91 or size > end - position:
        return END_BAD_SIZE
    (sys_flag,) = _I4.unpack_from(view, position + 36)
    at = position + 84 + (12 if sys_flag & 0x10 else 0) + (12 if sys_flag & 0x20 else 0)
    limit = position + size
    if at + 4 > limit:
        return END_BAD_SIZE
    (body_length,) = _I4.unpack_from(view, at)
    at += 4
    if body_length < 0 or body_length > limit - at:
        return END_BAD_SIZE
    if check_crc and body_length and zlib.crc32(view[at : at + body_length]) & 0x7FFFFFFF != body_crc:
        return END_BAD_CRC
    at += body_length
    if magic == MAGIC_V1:
        if at + 1 > limit:
            return END_BAD_SIZE
        topic_length = view[at]
        at += 1
    else:
        if at + 2 > limit:
            return END_BAD_SIZE
        topic_length = view[at] << 8 | view[at + 1]
        at += 2
    at += topic_length
    if at + 2 > limit:
        return END_BAD_SIZE
    properties_length = view[at] << 8 | view[at + 1]
    if at + 2 + properties_length != limit or properties_length > 0x7FFF:
        return END_BAD_SIZE
    return 0
