"""One entry of a consume queue: where the n-th message of a queue lies in the commit log.

Shape:  i8 physicalOffset, i4 size, i8 tagsCode; 20 bytes, big-endian. The n-th unit of the sequence is queue offset n.
        tagsCode is the tag's hash (0 without a tag), in SCHEDULE_TOPIC_XXXX the delivery time in ms.
        A filler (0, 0x7fffffff, 0) stands for an offset that has no message: readers skip it.
Source: ConsumeQueue (5.3); docs/format/consume_queue.md.
"""

from __future__ import annotations

import struct

UNIT = struct.Struct(">qiq")
UNIT_SIZE = UNIT.size
FILLER_SIZE = 0x7FFFFFFF
FILLER = UNIT.pack(0, FILLER_SIZE, 0)

encode_unit = UNIT.pack
decode_unit = UNIT.unpack_from
iterate_units = UNIT.iter_unpack


def is_filler(physical_offset: int, size: int) -> bool:
    return size == FILLER_SIZE and physical_offset == 0
