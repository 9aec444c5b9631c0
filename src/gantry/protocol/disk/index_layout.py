"""The index file: from a key to the records that carry it.

Shape:  header 40 B | hash slots, i4 each | entries, 20 B each; big-endian.
        header: i8 beginTimestamp, i8 endTimestamp, i8 beginPhyOffset, i8 endPhyOffset, i4 hashSlotCount, i4 indexCount
        slot:   number of the newest entry with this hash remainder, 0 for none
        entry:  i4 keyHash, i8 phyOffset, i4 seconds since the header's beginTimestamp, i4 number of the entry before it
        Entry 0 is never used; indexCount is the number of the next entry, 1 in an empty file.
Source: IndexHeader, IndexFile (5.3); docs/format/index_file.md.
"""

from __future__ import annotations

import struct

import msgspec

from gantry._core import java_string_hash

HEADER = struct.Struct(">qqqqii")
HEADER_SIZE = HEADER.size
ENTRY = struct.Struct(">iqii")
ENTRY_SIZE = ENTRY.size
SLOT = struct.Struct(">i")
SLOT_SIZE = SLOT.size
SECONDS_MAX = 0x7FFFFFFF

encode_entry = ENTRY.pack
decode_entry = ENTRY.unpack_from


class IndexHeader(msgspec.Struct):
    begin_timestamp: int = 0
    end_timestamp: int = 0
    begin_phy_offset: int = 0
    end_phy_offset: int = 0
    hash_slot_count: int = 0
    index_count: int = 1

    def encode(self) -> bytes:
        return HEADER.pack(
            self.begin_timestamp,
            self.end_timestamp,
            self.begin_phy_offset,
            self.end_phy_offset,
            self.hash_slot_count,
            self.index_count,
        )

    @classmethod
    def decode(cls, data: bytes) -> IndexHeader:
        """The header of an index file; an indexCount of 0 (a file just created by Java) reads as 1."""
        header = cls(*HEADER.unpack_from(data))
        header.index_count = max(header.index_count, 1)
        return header


def index_file_size(slot_count: int, entry_count: int) -> int:
    """Whole length in bytes of an index file."""
    return HEADER_SIZE + slot_count * SLOT_SIZE + entry_count * ENTRY_SIZE


def slot_position(slot: int) -> int:
    return HEADER_SIZE + slot * SLOT_SIZE


def entry_position(slot_count: int, number: int) -> int:
    return HEADER_SIZE + slot_count * SLOT_SIZE + number * ENTRY_SIZE


def key_hash(index_key: str) -> int:
    """Hash of `topic#key` as stored: the absolute value of Java's hash; Integer.MIN_VALUE gives 0."""
    value = abs(java_string_hash(index_key))
    return 0 if value > SECONDS_MAX else value


def seconds_since(begin_timestamp: int, store_timestamp: int) -> int:
    """The entry's time field: whole seconds, within [0, Integer.MAX]; 0 in a file that has no begin yet."""
    if begin_timestamp <= 0 or store_timestamp <= begin_timestamp:
        return 0
    return min((store_timestamp - begin_timestamp) // 1000, SECONDS_MAX)
