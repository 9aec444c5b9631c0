"""One index file: adding entries in an order that a crash cannot break, cutting it back, walking a chain."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from gantry.protocol.disk.index_layout import (
    ENTRY_SIZE,
    HEADER_SIZE,
    SLOT,
    SLOT_SIZE,
    IndexHeader,
    decode_entry,
    encode_entry,
    entry_position,
    index_file_size,
    seconds_since,
    slot_position,
)
from gantry.runtime.disk import Disk, DiskFile

from .open_file import OpenFile
from .pending_keys import KeyBatch, lay_out_index
from .steps import ReadStep

_CHUNK_ENTRIES = 4096
_CHAIN_MAX = 1_000_000
_DIRTY_SLOTS = 1024
_RUN_GAP = 8
_BULK_COUNT_MIN = 256
_SLOTS_PER_KEY = 2500
"""A batch of at least a 2,500th of the slots is written by way of the whole slot table."""


class IndexFile:
    """One index file and its header as of the last completed write.

    Order of writes: entries, sync, slots and header. A slot on the disk therefore never points to an entry that is not
    there, and cutting the file back to an earlier count is exact: each entry knows the one its slot held before it.
    """

    __slots__ = ("_disk", "_half_written", "entry_count_max", "file", "header", "name", "path", "slot_count")

    def __init__(self, disk: Disk, path: str, slot_count: int, entry_count_max: int, header: IndexHeader | None = None) -> None:
        self._disk = disk
        self.path = path
        self.name = path[path.rindex("/") + 1 :]
        self.slot_count = slot_count
        self.entry_count_max = entry_count_max
        self.header = header or IndexHeader()
        self._half_written = False
        self.file = OpenFile(disk, path, writable=True)

    @property
    def size(self) -> int:
        return index_file_size(self.slot_count, self.entry_count_max)

    @property
    def is_full(self) -> bool:
        return self.header.index_count >= self.entry_count_max

    def create(self) -> None:
        """Makes the file, sparse, with its header. Raises: DiskFull, DiskFault."""
        self._disk.open_sparse(self.path, self.size).close()
        self.write_header()
        self.file.handle().sync()
        self._disk.sync_dir(self.path[: self.path.rindex("/")])

    def read_header(self) -> None:
        self.header = IndexHeader.decode(self.file.handle().pread(HEADER_SIZE, 0))

    # --- writing (off the loop)

    def write(self, keys: KeyBatch, first: int = 0) -> int:
        """Adds keys from number `first` of the batch on until the file is full; returns how many fitted.

        Raises: DiskFull, DiskFault (nothing counts as added).
        Source: IndexFile.putKey (5.3): the time of the first entry is counted from the file before, then the header
        begins with it.
        """
        if self._half_written:
            # Slots that the failed try had reached would be taken for what they held before it.
            self.cut_back(self.header)
        header = IndexHeader.decode(self.header.encode())
        count = min(len(keys) - first, self.entry_count_max - header.index_count)
        if count <= 0:
            return 0
        if count >= max(self.slot_count // _SLOTS_PER_KEY, _BULK_COUNT_MIN):
            self._write_many(keys, first, count, header)
        else:
            self._write_few(keys, first, count, header)
        self.header = header
        self._half_written = False
        return count

    def _write_few(self, keys: KeyBatch, first: int, count: int, header: IndexHeader) -> None:
        """One read and one write for each slot."""
        file = self.file.handle()
        pread = file.pread
        first_number = number = header.index_count
        slot_count = self.slot_count
        slots: dict[int, int] = {}
        entries: list[bytes] = []
        for position in range(first, first + count):
            hashed, physical_offset, store_timestamp = keys.key(position)
            slot = hashed % slot_count
            previous = slots.get(slot)
            if previous is None:
                previous = int.from_bytes(pread(SLOT_SIZE, slot_position(slot)), "big", signed=True)
                if previous < 0 or previous >= number:
                    previous = 0
            seconds = seconds_since(header.begin_timestamp, store_timestamp)
            entries.append(encode_entry(hashed, physical_offset, seconds, previous))
            slots[slot] = number
            if number <= 1:
                header.begin_phy_offset = physical_offset
                header.begin_timestamp = store_timestamp
            if not previous:
                header.hash_slot_count += 1
            number += 1
            header.end_phy_offset = physical_offset
            header.end_timestamp = store_timestamp
        header.index_count = number
        self._half_written = True
        file.pwrite(b"".join(entries), entry_position(self.slot_count, first_number))
        file.sync()
        for slot in sorted(slots):
            file.pwrite(SLOT.pack(slots[slot]), slot_position(slot))
        file.pwrite(header.encode(), 0)

    def _write_many(self, keys: KeyBatch, first: int, count: int, header: IndexHeader) -> None:
        """The slot table is read as a whole and written back where it changed; the same bytes, with few system calls.

        20 MB of slots cost about as much as 2,000 slots one by one.
        """
        file = self.file.handle()
        slots = bytearray(file.pread(self.slot_count * SLOT_SIZE, slot_position(0)))
        entries = bytearray(count * ENTRY_SIZE)
        dirty = bytearray(-(-self.slot_count // _DIRTY_SLOTS))
        first_number = number = header.index_count
        view = memoryview(entries)
        done = 0
        if number <= 1:
            header.hash_slot_count += lay_out_index(keys, first, 1, number, header.begin_timestamp, slots, view, dirty)
            _, header.begin_phy_offset, header.begin_timestamp = keys.key(first)
            done = 1
        header.hash_slot_count += lay_out_index(
            keys,
            first + done,
            count - done,
            number + done,
            header.begin_timestamp,
            slots,
            view[done * ENTRY_SIZE :],
            dirty,
        )
        header.index_count = number + count
        _, header.end_phy_offset, header.end_timestamp = keys.key(first + count - 1)
        self._half_written = True
        file.pwrite(entries, entry_position(self.slot_count, first_number))
        file.sync()
        changed = memoryview(slots)
        for begin, end in _runs(dirty):
            piece = changed[begin * _DIRTY_SLOTS * SLOT_SIZE : end * _DIRTY_SLOTS * SLOT_SIZE]
            file.pwrite(piece, slot_position(begin * _DIRTY_SLOTS))
        file.pwrite(header.encode(), 0)

    def write_header(self) -> None:
        self.file.handle().pwrite(self.header.encode(), 0)

    def sync(self) -> None:
        self.file.handle().sync()

    def cut_back(self, header: IndexHeader) -> None:
        """Makes the file what it was when `header` was its header. Blocking.

        Slots that point to later entries get back what those entries say they held before; later entries become zero.
        """
        file = self.file.handle()
        keep = header.index_count
        upper = self._entries_end(file, keep)
        for chunk_end in range(upper, keep, -_CHUNK_ENTRIES):
            chunk_start = max(keep, chunk_end - _CHUNK_ENTRIES)
            data = file.pread((chunk_end - chunk_start) * ENTRY_SIZE, entry_position(self.slot_count, chunk_start))
            for number in range(chunk_end - 1, chunk_start - 1, -1):
                hashed, _, _, previous = decode_entry(data, (number - chunk_start) * ENTRY_SIZE)
                if hashed < 0:
                    continue
                position = slot_position(hashed % self.slot_count)
                (value,) = SLOT.unpack(file.pread(SLOT_SIZE, position))
                if value == number:
                    file.pwrite(SLOT.pack(previous if 0 <= previous < number else 0), position)
        if upper > keep:
            # Slots first: an entry may only vanish when nothing points to it any more.
            file.sync()
            start = entry_position(self.slot_count, keep)
            end = entry_position(self.slot_count, upper)
            for position in range(start, end, 1 << 20):
                file.pwrite(bytes(min(1 << 20, end - position)), position)
        self.header = header
        self.write_header()
        file.sync()
        self._half_written = False

    def _entries_end(self, file: DiskFile, start: int) -> int:
        """Number after the last entry at or above `start` that is not zero; looks on until a whole chunk is zero."""
        end = number = start
        while number < self.entry_count_max:
            count = min(_CHUNK_ENTRIES, self.entry_count_max - number)
            data = file.pread(count * ENTRY_SIZE, entry_position(self.slot_count, number))
            stripped = data.rstrip(b"\0")
            if not stripped:
                break
            number += count
            end = number - count + -(-len(stripped) // ENTRY_SIZE)
        return end

    # --- reading

    def is_time_matched(self, begin: int, end: int) -> bool:
        """The file may hold entries of this time range. Source: IndexFile.isTimeMatched (5.3)."""
        first, last = self.header.begin_timestamp, self.header.end_timestamp
        return (begin < first and end > last) or first <= begin <= last or first <= end <= last

    def chain_steps(self, hashed: int, begin: int, end: int, count_max: int) -> Generator[ReadStep, bytes, list[int]]:
        """Physical offsets of entries with this hash, newest first.

        An entry's time is known to the second below, so `begin` reaches one second further back.
        """
        found: list[int] = []
        raw = yield ReadStep(self.file, SLOT_SIZE, slot_position(hashed % self.slot_count))
        (number,) = SLOT.unpack(raw)
        for _ in range(_CHAIN_MAX):
            if number <= 0 or number >= self.entry_count_max or len(found) >= count_max:
                break
            raw = yield ReadStep(self.file, ENTRY_SIZE, entry_position(self.slot_count, number))
            entry_hash, physical_offset, seconds, previous = decode_entry(raw)
            if seconds < 0:
                break
            time_ms = self.header.begin_timestamp + seconds * 1000
            if entry_hash == hashed and begin <= time_ms + 999 and time_ms <= end:
                found.append(physical_offset)
            if previous >= number or time_ms + 999 < begin:
                break
            number = previous
        return found


def _runs(dirty: bytearray) -> Iterator[tuple[int, int]]:
    """Begin and end of runs of ones; runs with a small gap between them are one."""
    begin = dirty.find(1)
    while begin >= 0:
        end = begin + 1
        while True:
            following = dirty.find(1, end, end + _RUN_GAP + 1)
            if following < 0:
                break
            end = following + 1
        yield begin, end
        begin = dirty.find(1, end)
