"""Finding where a consume queue ends on the disk, and cleaning what lies behind that."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gantry.protocol.disk.consume_queue_unit import FILLER_SIZE, UNIT_SIZE, decode_unit
from gantry.protocol.disk.file_name import parse_offset_file_name
from gantry.runtime.disk import Disk, DiskFile

from .consume_queue import ConsumeQueue

log = logging.getLogger(__name__)

_CHUNK = 4096

Verify = Callable[[ConsumeQueue, int, int, int], bool]
"""queue, queue offset, physical offset, size: the log has this record there"""


class QueueLoader:
    """Loads queues whose entries below `limit` (a physical offset) count; everything behind them becomes zero again.

    Entries below the limit are dense and on the disk, what follows may be anything that a crash left. `verify` compares an
    entry with the log, so that a torn entry is never taken for a true one.
    """

    def __init__(self, disk: Disk, *, limit: int, verify: Verify | None) -> None:
        self._disk = disk
        self._limit = limit
        self._verify = verify

    def load(self, queue: ConsumeQueue, names: list[str], expected_end: int | None) -> bool:
        """Finds the queue's end. `expected_end` was its end at the last clean stop: when that still holds nothing is verified.

        Returns: False when files are missing or of the wrong length: the queue was emptied and must be made from the log.
        """
        starts = sorted(start for start in map(parse_offset_file_name, names) if start is not None)
        paths = {start: f"{queue.directory}/{name}" for name in names if (start := parse_offset_file_name(name)) is not None}
        if starts and self._disk.size(paths[starts[-1]]) == 0:
            self._disk.unlink(paths[starts.pop()])
        for index, start in enumerate(starts):
            if start != starts[0] + index * queue.file_bytes or self._disk.size(paths[start]) != queue.file_bytes:
                log.warning("%s is not as it should be; the queue is made again from the log", paths[start])
                for path in paths.values():
                    if self._disk.exists(path):
                        self._disk.unlink(path)
                queue.start_at(0)
                return False
        self._find_end(queue, starts, paths, expected_end)
        return True

    def _find_end(self, queue: ConsumeQueue, starts: list[int], paths: dict[int, str], expected_end: int | None) -> None:
        end = starts[0] // UNIT_SIZE if starts else 0
        while starts:
            first = starts[-1] // UNIT_SIZE
            file = self._disk.open(paths[starts[-1]])
            try:
                count = self._count(queue, file, first, expected_end)
                if count or len(starts) == 1:
                    end = first + count
                    self._remember_last(queue, file, count)
                    _clear_after(file, count * UNIT_SIZE)
                    break
            finally:
                file.close()
            self._disk.unlink(paths[starts.pop()])
        queue.start_at(end)
        queue.file_starts = [start // UNIT_SIZE for start in starts]
        queue.min_offset = queue.file_starts[0] if queue.file_starts else end
        queue.checked_physical_min = -1

    def _count(self, queue: ConsumeQueue, file: DiskFile, first: int, expected_end: int | None) -> int:
        """Entries of this file that count."""
        if expected_end is not None and first < expected_end <= first + queue.file_units:
            hint = expected_end - first
            if self._counts(file, hint - 1) and (hint == queue.file_units or not self._counts(file, hint)):
                return hint
        low, high = 0, queue.file_units
        while low < high:
            middle = (low + high) // 2
            if self._counts(file, middle):
                low = middle + 1
            else:
                high = middle
        if self._verify is not None:
            while low and not self._is_true(queue, file, first, low - 1):
                low -= 1
        return low

    def _counts(self, file: DiskFile, number: int) -> bool:
        physical_offset, size, _ = _unit(file, number)
        return size > 0 and 0 <= physical_offset < self._limit

    def _is_true(self, queue: ConsumeQueue, file: DiskFile, first: int, number: int) -> bool:
        physical_offset, size, _ = _unit(file, number)
        assert self._verify is not None
        return size != FILLER_SIZE and self._verify(queue, first + number, physical_offset, size)

    def _remember_last(self, queue: ConsumeQueue, file: DiskFile, count: int) -> None:
        if count:
            physical_offset, size, _ = _unit(file, count - 1)
            if size != FILLER_SIZE:
                queue.last_physical_end = physical_offset + size


def _unit(file: DiskFile, number: int) -> tuple[int, int, int]:
    data = file.pread(UNIT_SIZE, number * UNIT_SIZE)
    if len(data) < UNIT_SIZE:
        return -1, 0, 0
    physical_offset, size, code = decode_unit(data)
    return physical_offset, size, code


def _clear_after(file: DiskFile, position: int) -> None:
    """Zeroes what follows, up to the first chunk that is zero already: holes of a sparse file are not filled."""
    size = file.size
    changed = False
    while position < size:
        length = min(_CHUNK - position % _CHUNK, size - position)
        data = file.pread(length, position)
        if not any(data):
            break
        file.pwrite(bytes(length), position)
        changed = True
        position += length
    if changed:
        file.sync()
