"""One queue of one topic: the dense sequence of its entries, in memory at the end and in files before that."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import NamedTuple

from gantry.protocol.disk.consume_queue_unit import (
    FILLER,
    FILLER_SIZE,
    UNIT_SIZE,
    decode_unit,
)
from gantry.protocol.disk.file_name import offset_file_name
from gantry.runtime.disk import Disk

from .append import QueueTail
from .open_file import OpenFileCache
from .steps import ReadStep

log = logging.getLogger(__name__)

_KEEP_UNITS = 512


class QueueWrite(NamedTuple):
    """Entries of one queue that are to go into one of its files. Units: position in bytes within the file.

    `fresh`: no checkpoint has completed with this file, so its name may not be on the disk yet.
    """

    path: str
    position: int
    data: bytes
    fresh: bool


class ConsumeQueue(QueueTail):
    """Queue offsets 0, 1, 2 ... of one topic and queue id, each an entry that says where the message lies.

    append() makes an entry readable at once (up to `visible_offset`, which the store moves when the log is safe); the file
    follows at the next checkpoint (`pending_writes`, `written`). A crash loses entries of the last interval and recovery makes
    them again from the log. Owned by the loop; only the writes themselves happen elsewhere.
    Units: all offsets in entries.
    """

    __slots__ = (
        "checked_physical_min",
        "directory",
        "file_starts",
        "file_units",
        "min_offset",
        "queue_id",
        "read_block",
        "read_block_offset",
        "topic",
        "written_offset",
    )

    def __init__(self, topic: str, queue_id: int, directory: str, file_units: int) -> None:
        super().__init__()
        self.topic = topic
        self.queue_id = queue_id
        self.directory = directory
        self.file_units = file_units
        self.file_starts: list[int] = []
        """First offset of each file on the disk, in order."""
        self.min_offset = 0
        self.written_offset = 0
        self.checked_physical_min = -1
        self.read_block = b""
        """Entries from `read_block_offset` on that were read from a file and may be asked for soon."""
        self.read_block_offset = 0

    def start_at(self, offset: int) -> None:
        """The next entry gets this offset; only for a queue without entries in memory."""
        self.begin_tail_at(offset)
        self.written_offset = offset
        self.read_block = b""

    # --- appending

    def append_at(self, offset: int, physical_offset: int, size: int, tags_code: int) -> bool:
        """Append of a rebuild: an entry that is there already is left alone, a hole is filled with fillers.

        Returns: whether an entry was added.
        """
        if offset < self.max_offset:
            return False
        if offset > self.max_offset:
            self.skip_to(offset)
        self.append(physical_offset, size, tags_code)
        return True

    def skip_to(self, offset: int) -> None:
        if not self.file_starts and not self.memory_bytes:
            # The first entry of a queue whose beginning is gone: files before the one it lies in are not made.
            self.start_at(offset)
            self.min_offset = offset
            return
        self.append_fillers(offset - self.max_offset)

    # --- reading

    def unit_steps(
        self, files: OpenFileCache, offset: int, count: int, ahead: int = 0
    ) -> Generator[ReadStep, bytes, bytes | bytearray | memoryview]:
        """Up to `count` entries from `offset` on, as stored; fewer where a file ends, none where nothing is.

        When a file must be read, `ahead` entries are, and stay in `read_block`.
        """
        if offset >= self.max_offset or count <= 0:
            return b""
        count = min(count, self.max_offset - offset)
        base = self.tail_base
        if offset >= base:
            return self.tail_units(offset, count)
        begin = (offset - self.read_block_offset) * UNIT_SIZE
        if 0 <= begin < len(self.read_block):
            return memoryview(self.read_block)[begin : begin + count * UNIT_SIZE]
        file_start = offset - offset % self.file_units
        if file_start not in self.file_starts:
            return b""
        end = min(file_start + self.file_units, base)
        count = min(max(count, ahead), end - offset)
        path = self.path_of(file_start)
        data = yield ReadStep(files.get(path), count * UNIT_SIZE, (offset - file_start) * UNIT_SIZE)
        data = data[: len(data) // UNIT_SIZE * UNIT_SIZE]
        if ahead and data:
            self.read_block, self.read_block_offset = bytes(data), offset
        return data

    def unit_at_steps(self, files: OpenFileCache, offset: int) -> Generator[ReadStep, bytes, tuple[int, int, int] | None]:
        """The entry at `offset`; None for a filler or nothing."""
        data = yield from self.unit_steps(files, offset, 1)
        if len(data) < UNIT_SIZE:
            return None
        physical_offset, size, code = decode_unit(data)
        if size <= 0 or size == FILLER_SIZE:
            return None
        return physical_offset, size, code

    def min_steps(self, files: OpenFileCache, physical_min: int) -> Generator[ReadStep, bytes, None]:
        """Moves `min_offset` to the first entry whose record the log still has; to `max_offset` when none has.

        Source: ConsumeQueue.correctMinOffset (5.3).
        """
        if physical_min <= self.checked_physical_min:
            return
        low = max(self.min_offset, self.file_starts[0] if self.file_starts else self.tail_base)
        high = self.max_offset
        unit = yield from self.unit_at_steps(files, low)
        if unit is None or unit[0] < physical_min:
            # Entries are in the order of the log, so the first that is still there is found by halving.
            while low < high:
                middle = (low + high) // 2
                unit = yield from self.unit_at_steps(files, middle)
                if unit is None or unit[0] < physical_min:
                    low = middle + 1
                else:
                    high = middle
        if physical_min > self.checked_physical_min:  # or another search, for a newer minimum, was quicker
            self.min_offset = min(low, self.max_offset)
            self.checked_physical_min = physical_min

    # --- files

    def path_of(self, file_start: int) -> str:
        return f"{self.directory}/{offset_file_name(file_start * UNIT_SIZE)}"

    @property
    def file_bytes(self) -> int:
        return self.file_units * UNIT_SIZE

    def pending_writes(self) -> tuple[int, list[QueueWrite]]:
        """What the files lack, and the offset up to which they are complete once it is written."""
        writes: list[QueueWrite] = []
        offset, end = self.written_offset, self.max_offset
        while offset < end:
            file_start = offset - offset % self.file_units
            stop = min(end, file_start + self.file_units)
            data = self.tail_units(offset, stop - offset)
            position = (offset - file_start) * UNIT_SIZE
            if not self.file_starts and not writes and position:
                # A queue that begins above the start of its file: the front is filled with units that readers skip.
                data = FILLER * (offset - file_start) + data
                position = 0
            writes.append(QueueWrite(self.path_of(file_start), position, data, file_start not in self.file_starts))
            offset = stop
        return end, writes

    def written(self, upto: int) -> int:
        """Entries below `upto` are in the files now. Returns: bytes of entries still held in memory."""
        if upto <= self.written_offset:
            return self.memory_bytes
        first = self.written_offset - self.written_offset % self.file_units
        for file_start in range(first, upto, self.file_units):
            if file_start not in self.file_starts:
                self.file_starts.append(file_start)
        self.written_offset = upto
        self.dirty = self.max_offset > upto
        self.trim(_KEEP_UNITS)
        return self.memory_bytes

    def trim(self, keep: int) -> None:
        """Drops entries that the files have from memory, all but the newest `keep`."""
        self.drop_tail_below(min(self.written_offset, self.max_offset - keep))

    def expired_files(self, last_units: dict[int, int], physical_min: int) -> list[int]:
        """Files whose last entry points below the log's minimum; never the newest file.

        `last_units` gives the physical offset of each file's last entry.
        """
        expired: list[int] = []
        for file_start in self.file_starts[:-1]:
            if last_units[file_start] >= physical_min:
                break
            expired.append(file_start)
        return expired


def write_queue_units(disk: Disk, file_bytes: int, writes: list[QueueWrite], *, sync: bool = True) -> None:
    """Puts entries of one queue into its files and syncs them (or leaves that to the caller). Blocking; off the loop.

    Files are sparse until used: a full disk is an error of the write, never a fault of a mapping.
    Raises: DiskFull, DiskFault.
    """
    for path, position, data, fresh in writes:
        directory = path[: path.rindex("/")]
        if fresh:
            disk.make_dirs(directory)
        file = disk.open_sparse(path, file_bytes)
        try:
            file.pwrite(data, position)
            if sync:
                file.sync()
        finally:
            file.close()
        if fresh and sync:
            disk.sync_dir(directory)
            parent = directory[: directory.rindex("/")]
            disk.sync_dir(parent)
            disk.sync_dir(parent[: parent.rindex("/")])
