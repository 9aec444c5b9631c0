"""Keys that the index files do not have yet, in pure Python; `_pending_keys_c.pyx` is the compiled twin."""

from __future__ import annotations

from operator import mul

from gantry._core import java_string_hash
from gantry.protocol.disk.index_layout import ENTRY, ENTRY_SIZE, SLOT, SLOT_SIZE, key_hash, seconds_since

_TAIL_SIZE = 12
_TAIL_POWERS = tuple(31**exponent for exponent in range(_TAIL_SIZE - 1, -1, -1))
_TAIL_SHIFT = 31**_TAIL_SIZE
_HASHED_MAX = 4096

Key = tuple[str, bytes, int, int]
"""topic, the part after `topic#` as stored, physical offset, storeTimestamp (ms)"""


class KeyBatch:
    """Some keys in order, as they were when the batch was taken."""

    __slots__ = ("_keys",)

    def __init__(self, keys: list[Key]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, number: int) -> tuple[int, int, int]:
        """Hash, physical offset and storeTimestamp (ms) of one."""
        topic, key, physical_offset, store_timestamp = self._keys[number]
        return key_hash(f"{topic}#{key.decode('utf-8', 'replace')}"), physical_offset, store_timestamp

    def keys(self, first: int, count: int) -> list[Key]:
        return self._keys[first : first + count]


class PendingKeys:
    """Keys in the order of the log. A key can be searched for as soon as it was added.

    Hashes may collide: what a search finds is to be compared with the record. The hash itself is computed late, off the loop.
    """

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: list[Key] = []

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, topic: str, keys: list[bytes], physical_offset: int, store_timestamp: int) -> None:
        for key in keys:
            self._keys.append((topic, key, physical_offset, store_timestamp))

    def add_all(self, keys: list[Key]) -> None:
        self._keys += keys

    def search(self, topic: str, key: bytes, begin: int, end: int, count_max: int) -> list[int]:
        """Physical offsets, newest first, without doubles. Units: times in ms, both ends included."""
        found: dict[int, None] = {}
        for item in reversed(self._keys):
            if item[1] == key and item[0] == topic and begin <= item[3] <= end:
                found[item[2]] = None
                if len(found) >= count_max:
                    break
        return list(found)

    @property
    def last(self) -> tuple[int, int] | None:
        """Store time and physical offset of the newest key."""
        return (self._keys[-1][3], self._keys[-1][2]) if self._keys else None

    def batch(self) -> KeyBatch:
        """All keys as they are now."""
        return KeyBatch(list(self._keys))

    def drop(self, count: int) -> None:
        """The oldest `count` keys are in the files."""
        del self._keys[:count]


def lay_out_index(
    batch: KeyBatch,
    first: int,
    count: int,
    number: int,
    begin_timestamp: int,
    slots: bytearray,
    entries: bytearray | memoryview,
    dirty: bytearray,
) -> int:
    """Entries of keys `first` to `first + count`, numbered from `number` on, into `entries`, and the slots that point to them.

    `slots` is the file's slot table as stored; `dirty` gets a 1 for each 1,024 slots in which one changed.
    `begin_timestamp` is the one that each entry's time is counted from.
    Returns: how many slots were empty before.
    """
    slot_count = len(slots) // SLOT_SIZE
    fresh = position = 0
    seen_timestamp, seconds = -1, 0
    read_slot, write_slot, write_entry = SLOT.unpack_from, SLOT.pack_into, ENTRY.pack_into
    hashed_fronts: dict[tuple[str, bytes], int] = {}
    hashed_keys: dict[tuple[str, bytes], int] = {}
    for topic, key, physical_offset, store_timestamp in batch.keys(first, count):
        # Unique keys of one sender begin alike: the hash goes on from there.
        if len(key) > _TAIL_SIZE and key.isascii():
            front = topic, key[:-_TAIL_SIZE]
            shifted = hashed_fronts.get(front)
            if shifted is None:
                if len(hashed_fronts) >= _HASHED_MAX:
                    hashed_fronts.clear()
                shifted = hashed_fronts[front] = java_string_hash(f"{topic}#{front[1].decode()}") * _TAIL_SHIFT
            hashed = shifted + sum(map(mul, key[-_TAIL_SIZE:], _TAIL_POWERS)) & 0xFFFFFFFF
            if hashed & 0x80000000:
                hashed = 0 if hashed == 0x80000000 else 0x100000000 - hashed
        else:
            # Short ones are mostly tags.
            hashed = hashed_keys.get((topic, key), -1)
            if hashed < 0:
                if len(hashed_keys) >= _HASHED_MAX:
                    hashed_keys.clear()
                hashed = hashed_keys[topic, key] = key_hash(f"{topic}#{key.decode('utf-8', 'replace')}")
        if store_timestamp != seen_timestamp:
            seen_timestamp, seconds = store_timestamp, seconds_since(begin_timestamp, store_timestamp)
        slot = hashed % slot_count
        at = slot * SLOT_SIZE
        (previous,) = read_slot(slots, at)
        if previous <= 0 or previous >= number:
            previous = 0
            fresh += 1
        write_entry(entries, position, hashed, physical_offset, seconds, previous)
        write_slot(slots, at, number)
        dirty[slot >> 10] = 1
        position += ENTRY_SIZE
        number += 1
    return fresh
