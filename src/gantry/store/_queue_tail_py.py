"""The end of a consume queue in memory, in pure Python; `QueueTail` in `_append_c.pyx` is its compiled twin."""

from __future__ import annotations

from gantry.protocol.disk.consume_queue_unit import FILLER, UNIT_SIZE, encode_unit


class QueueTail:
    """Offsets of one queue, and its newest entries as they stand in the files.

    The one owner of this state: the append writes it, readers and checkpoints read it. Entries `tail_base` to `max_offset`
    are in memory. `planned_offset` is what the next laid out record gets, `visible_offset` where readers stop; `watched`
    says that somebody waits for what comes.
    Units: offsets in entries of the queue, last_physical_end in bytes of the log.
    """

    __slots__ = (
        "_tail",
        "dirty",
        "last_physical_end",
        "max_offset",
        "planned_offset",
        "tail_base",
        "visible_offset",
        "watched",
    )

    def __init__(self) -> None:
        self.max_offset = 0
        self.planned_offset = 0
        self.visible_offset = 0
        self.last_physical_end = -1
        self.dirty = False
        self.watched = False
        self.tail_base = 0
        self._tail = bytearray()

    def begin_tail_at(self, offset: int) -> None:
        """The queue has no entry in memory, and the next one gets this offset."""
        self.max_offset = self.planned_offset = self.visible_offset = self.tail_base = offset
        self._tail.clear()

    def append(self, physical_offset: int, size: int, tags_code: int) -> None:
        self._tail += encode_unit(physical_offset, size, tags_code)
        self.max_offset += 1
        self.last_physical_end = physical_offset + size
        self.dirty = True

    def append_fillers(self, count: int) -> None:
        """Entries that readers skip."""
        self._tail += FILLER * count
        self.max_offset += count
        self.dirty = True

    def tail_units(self, offset: int, count: int) -> bytes:
        """Up to `count` entries from `offset` on; `offset` is not below `tail_base`."""
        begin = (offset - self.tail_base) * UNIT_SIZE
        return bytes(self._tail[begin : begin + count * UNIT_SIZE])

    def drop_tail_below(self, offset: int) -> None:
        """Forgets entries in memory; the files have them."""
        if offset > self.tail_base:
            del self._tail[: (offset - self.tail_base) * UNIT_SIZE]
            self.tail_base = offset

    @property
    def memory_bytes(self) -> int:
        return len(self._tail)
