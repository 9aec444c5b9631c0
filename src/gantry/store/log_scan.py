"""Walking the log file by file, finding where it ends, and what lies behind its end."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from gantry._core import scan_records
from gantry._core._leaf_py import END_BAD_SIZE, END_BLANK, END_OF_BUFFER, END_ZERO
from gantry.errors import RemoteProtocolError
from gantry.protocol.message.record import MAGIC_V1, MAGIC_V2, RECORD_SIZE_MIN, RecordView

from .commit_log import CommitLog, LogFile
from .torn import is_torn

_CHUNK = 4 << 20
_MAGICS = tuple((magic & 0xFFFFFFFF).to_bytes(4, "big") for magic in (MAGIC_V1, MAGIC_V2))
_REASONS = {END_OF_BUFFER: "the file ends", END_BLANK: "blank record", END_ZERO: "zero bytes"}


class ScanEnd(NamedTuple):
    """Where a walk ended. `at_hole`: at zero bytes or at the end of the files, as an undamaged log does."""

    offset: int
    at_hole: bool
    reason: str


class ScanBlock(NamedTuple):
    """Whole records in one buffer. Units: `starts` are positions in `data`, which begins at physical offset `base`."""

    base: int
    data: bytes
    starts: list[int]


class LogScan:
    """One walk over the log from `start`, a place where a record begins. Blocking.

    Iterating gives blocks of good records; `end` says afterwards where and why it stopped. A record is good when its lengths
    add up, its magic and body CRC are right and it says the physical offset at which it lies. At or above `torn_above` it must
    not be torn either: the CRC does not cover topic and properties (see `is_torn`).
    """

    def __init__(
        self,
        log: CommitLog,
        start: int,
        *,
        check_crc: bool,
        upto: int | None = None,
        torn_above: int | None = None,
    ) -> None:
        self._log = log
        self._start = start
        self._upto = log.files_end if upto is None else upto
        self._check_crc = check_crc
        self._torn_above = torn_above
        self.end = ScanEnd(start, True, "there is no file")

    def __iter__(self) -> Iterator[ScanBlock]:
        position = self._start
        while position < self._upto:
            item = self._log.find_file(position)
            if item is None:
                break
            blank = yield from self._walk_file(item, position)
            if not blank:
                return
            position = item.start + self._log.file_size
            # A roll writes the blank record first: the log may end right behind it.
            self.end = ScanEnd(position, True, "the next file has not begun")

    def _first_wrong(self, data: bytes, starts: list[int], base: int) -> int | None:
        """Index of the first record that says another physical offset than its own (left over from before a cut) or is torn."""
        for index, start in enumerate(starts):
            if int.from_bytes(data[start + 28 : start + 36], "big") != base + start:
                return index
            if self._torn_above is not None and base + start >= self._torn_above:
                view = RecordView(data, start)
                last = index == len(starts) - 1 and not any(data[view.end : view.end + 8])
                if is_torn(view, base + start, last=last):
                    return index
        return None

    def _walk_file(self, item: LogFile, position: int) -> Generator[ScanBlock, None, bool]:
        """Walks one file from a physical offset on; the generator's value says whether a blank record ended it."""
        file_end = min(item.start + self._log.file_size, self._upto)
        length = _CHUNK
        while position < file_end:
            data = item.file.handle().pread(min(length, file_end - position), position - item.start)
            starts, stop, reason = scan_records(data, 0, len(data), self._check_crc)
            wrong = self._first_wrong(data, starts, position)
            if wrong is not None:
                starts, stop = starts[:wrong], starts[wrong]
                reason = -1
            if starts:
                yield ScanBlock(position, data, starts)
            position += stop
            if reason == END_BLANK:
                return True
            cut_by_chunk = position - stop + len(data) < file_end and reason in (END_OF_BUFFER, END_BAD_SIZE)
            if cut_by_chunk:
                # The buffer ended inside a record; read on from its start, with as much as it says it needs.
                size = int.from_bytes(data[stop : stop + 4], "big") if len(data) - stop >= 4 else 0
                if stop or (RECORD_SIZE_MIN <= size <= file_end - position and size > len(data)):
                    length = max(_CHUNK, min(size, file_end - position))
                    continue
            hole = reason in (END_ZERO, END_OF_BUFFER)
            self.end = ScanEnd(position, hole, _REASONS.get(reason, f"bad record (scan code {reason})"))
            return False
        self.end = ScanEnd(position, True, "the file ends")
        return False


def next_record(log: CommitLog, start: int, end: int) -> int | None:
    """Physical offset of the first whole, true record at or after `start` and before `end`; None when there is none."""
    position = start
    while position < end:
        item = log.find_file(position)
        if item is None:
            return None
        file_end = min(item.start + log.file_size, end)
        while position < file_end:
            # Chunks overlap by a record's head, so that a magic number on the border is seen.
            data = item.file.handle().pread(min(_CHUNK, file_end - position), position - item.start)
            found = _candidate(log, item, data, position)
            if found is not None:
                return found
            if position + len(data) >= file_end:
                position = file_end
            else:
                position += max(len(data) - 8, 1)
    return None


def _candidate(log: CommitLog, item: LogFile, data: bytes, base: int) -> int | None:
    best: int | None = None
    for magic in _MAGICS:
        at = data.find(magic, 4)
        while at >= 0 and (best is None or base + at - 4 < best):
            offset = base + at - 4
            if is_record(log, item, offset):
                best = offset
                break
            at = data.find(magic, at + 1)
    return best


def is_record(log: CommitLog, item: LogFile, physical_offset: int) -> bool:
    """A whole record with a right CRC begins here and says so."""
    view = read_record(log, physical_offset)
    return view is not None and view.crc_matches


def read_record(log: CommitLog, physical_offset: int) -> RecordView | None:
    """The record that begins at this physical offset; None when none does. Blocking."""
    item = log.find_file(physical_offset)
    if item is None or physical_offset < 0:
        return None
    position = physical_offset - item.start
    file = item.file.handle()
    size = int.from_bytes(file.pread(4, position), "big", signed=True)
    if not RECORD_SIZE_MIN <= size <= log.file_size - position:
        return None
    try:
        view = RecordView(file.pread(size, position))
    except RemoteProtocolError:
        return None
    return view if view.physical_offset == physical_offset and view.size == size else None


def last_nonzero(log: CommitLog, start: int) -> int:
    """Physical offset after the last byte at or above `start` that is not zero; `start` when all are."""
    for item in reversed(log.files):
        low = max(start, item.start)
        position = item.start + log.file_size
        while position > low:
            begin = max(low, position - _CHUNK)
            if item.file.handle().data_after(begin - item.start) >= position - item.start:
                position = begin  # never written: of a file of 1 GiB that is most
                continue
            data = item.file.handle().pread(position - begin, begin - item.start).rstrip(b"\0")
            if data:
                return begin + len(data)
            position = begin
    return start
