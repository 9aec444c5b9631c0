"""The timer log: entries in the order they came, in files of one length."""

from __future__ import annotations

from collections.abc import Iterator

from gantry.protocol.disk.file_name import offset_file_name, parse_offset_file_name
from gantry.protocol.disk.timer_log_unit import (
    BLANK_SIZE,
    UNIT_SIZE,
    TimerLogUnit,
    decode_timer_unit,
    encode_timer_blank,
    is_timer_blank,
)
from gantry.runtime.disk import Disk, DiskFile
from gantry.runtime.replace import make_dirs_synced

_WINDOW = 16 * 1024
_CHUNK = 1 << 20


class TimerLog:
    """Appends go to memory; write() puts them into the files, sync() onto the disk.

    Reads see what was appended. Files are sparse until used; a full disk is an error of write(), and nothing is lost by it.
    Memory: what was appended since the last write(), and one window for reads.
    """

    def __init__(self, disk: Disk, directory: str, *, file_size: int) -> None:
        self.directory = directory
        self.file_size = file_size
        self.end = 0
        """Position of the next entry. Units: bytes."""
        self._disk = disk
        self._files: dict[int, DiskFile] = {}
        self._pending: list[tuple[int, bytes]] = []
        self._recent: dict[int, TimerLogUnit] = {}
        self._unsynced: set[int] = set()
        self._new_names = False
        self._window = b""
        self._window_start = 0

    @property
    def first(self) -> int:
        """Where the oldest file begins."""
        return min(self._files, default=0)

    @property
    def starts(self) -> list[int]:
        return sorted(self._files)

    # -- life

    def load(self, trusted_end: int | None = None) -> bool:
        """Opens the files; False when they do not follow one another or differ in length. Blocking.

        Where `trusted_end` is known, files that begin there or later are deleted: a crash may have left anything of them.
        """
        if not self._disk.is_dir(self.directory):
            return True
        starts = sorted(
            start for name in self._disk.list_dir(self.directory) if (start := parse_offset_file_name(name)) is not None
        )
        if trusted_end is not None:
            for start in [start for start in starts if start >= trusted_end]:
                self._disk.unlink(self._path(start))
                self._new_names = True
            starts = [start for start in starts if start < trusted_end]
        if not starts:
            return True
        sizes = {self._disk.size(self._path(start)) for start in starts}
        if len(sizes) != 1 or min(sizes) < UNIT_SIZE + BLANK_SIZE:
            return False
        # Files of another length than configured stay as they are, and new ones are made like them.
        self.file_size = sizes.pop()
        if starts[0] % self.file_size or starts[-1] - starts[0] != (len(starts) - 1) * self.file_size:
            return False
        self._files = {start: self._disk.open(self._path(start)) for start in starts}
        self.end = starts[-1] + self.file_size
        return True

    def remove(self) -> None:
        """Gives up all files. Blocking."""
        self.close()
        if self._disk.is_dir(self.directory):
            for name in self._disk.list_dir(self.directory):
                self._disk.unlink(f"{self.directory}/{name}")
        self.end = 0

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._pending.clear()
        self._recent.clear()
        self._unsynced.clear()
        self._window = b""

    def cut(self, end: int) -> None:
        """The log ends here: what lies behind becomes zero, lest anybody takes it for entries. Blocking."""
        for start in [start for start in self.starts if start >= end and start > self.first]:
            self._files.pop(start).close()
            self._disk.unlink(self._path(start))
            self._new_names = True
        for start, file in self._files.items():
            at = max(end - start, 0)
            if at >= self.file_size:
                continue
            while (at := file.data_after(at)) < self.file_size:
                length = min(_CHUNK, self.file_size - at)
                if file.pread(length, at) != bytes(length):
                    file.pwrite(bytes(length), at)
                    self._unsynced.add(start)
                at += length
        self.end = end
        self._window = b""

    # -- writing

    def append(self, unit: TimerLogUnit) -> int:
        """Adds an entry; returns its position."""
        room = self.file_size - self.end % self.file_size
        if room < UNIT_SIZE + BLANK_SIZE:
            self._pending.append((self.end, encode_timer_blank(room)))
            self.end += room
        position = self.end
        self._pending.append((position, unit.encode()))
        self._recent[position] = unit
        self.end += UNIT_SIZE
        return position

    @property
    def pending_count(self) -> int:
        return len(self._pending)

    def write(self) -> None:
        """Puts what was appended into the files. Raises: DiskError; then it stays to be written."""
        while self._pending:
            begin = self._pending[0][0]
            start = begin - begin % self.file_size
            data, taken = bytearray(), 0
            for position, part in self._pending:
                if position >= start + self.file_size:
                    break
                data += part
                taken += 1
            self._file(start).pwrite(bytes(data), begin - start)
            self._unsynced.add(start)
            del self._pending[:taken]
        self._recent.clear()
        if self._window_start + len(self._window) > self.end - _WINDOW:
            self._window = b""

    def sync(self) -> None:
        """What was written is on the disk. Blocking. Raises: DiskError."""
        for start in sorted(self._unsynced):
            if start in self._files:
                self._files[start].sync()
        if self._new_names:
            self._disk.sync_dir(self.directory)
            self._new_names = False
        self._unsynced.clear()

    def remove_before(self, position: int) -> int:
        """Deletes the files that end at or before a position, never the newest. Blocking. Returns how many."""
        gone = [start for start in self.starts[:-1] if start + self.file_size <= position]
        for start in gone:
            self._files.pop(start).close()
            self._disk.unlink(self._path(start))
            self._unsynced.discard(start)
        if gone:
            self._window = b""
            self._disk.sync_dir(self.directory)
        return len(gone)

    # -- reading

    def read(self, position: int) -> TimerLogUnit | None:
        """The entry at a position; None when the log does not hold it. Blocking. Chains lead backwards: so does the window."""
        unit = self._recent.get(position)
        if unit is not None:
            return unit
        if not self.first <= position <= self.end - UNIT_SIZE or not self._files:
            return None
        at = position - self._window_start
        if not 0 <= at <= len(self._window) - UNIT_SIZE:
            start = position - position % self.file_size
            file = self._files.get(start)
            if file is None:
                return None
            begin = max(position + UNIT_SIZE - _WINDOW, start)
            self._window = file.pread(position + UNIT_SIZE - begin, begin - start)
            self._window_start = begin
            at = position - begin
            if at > len(self._window) - UNIT_SIZE:
                return None
        return decode_timer_unit(self._window, at)

    def units(self, begin: int, end: int) -> Iterator[tuple[int, TimerLogUnit]]:
        """Entries of the files in [begin, end), oldest first, up to the first bytes that are none. Blocking."""
        position = begin
        while position < end:
            start = position - position % self.file_size
            file = self._files.get(start)
            if file is None:
                return
            data = file.pread(min(_CHUNK, start + self.file_size - position, end - position), position - start)
            at = 0
            while at + UNIT_SIZE <= len(data):
                unit = decode_timer_unit(data, at)
                if not unit.valid:
                    break
                yield position + at, unit
                at += UNIT_SIZE
            position += at
            rest = start + self.file_size - position
            if rest < UNIT_SIZE + BLANK_SIZE or is_timer_blank(data, at):
                position += rest
            elif not at or at + UNIT_SIZE <= len(data):
                return

    # -- inside

    def _path(self, start: int) -> str:
        return f"{self.directory}/{offset_file_name(start)}"

    def _file(self, start: int) -> DiskFile:
        file = self._files.get(start)
        if file is None:
            make_dirs_synced(self._disk, self.directory)
            file = self._files[start] = self._disk.open_sparse(self._path(start), self.file_size)
            self._new_names = True
        return file
