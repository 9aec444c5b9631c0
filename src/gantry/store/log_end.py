"""The end of the log: found by a walk at a start, cut there, and on the disk for certain."""

from __future__ import annotations

import logging

from gantry.errors import StoreDamaged
from gantry.protocol.message.record import RecordView
from gantry.runtime.disk import Disk

from .checkpoint import LogPoint
from .commit_log import CommitLog
from .config import DamagePolicy, StoreConfig, StorePaths
from .log_scan import LogScan, ScanBlock, last_nonzero, next_record
from .results import RecoveryReport

log = logging.getLogger(__name__)

_ZERO_CHUNK = 1 << 20
_COPY_CHUNK = 1 << 20


class LogEnd:
    """Steps 1 and 2 of a recovery (`recovery.py`). Blocking; what it finds and does is noted in `report`.

    `point` is the last good record that find() walked over.
    """

    def __init__(self, config: StoreConfig, paths: StorePaths, disk: Disk, log_: CommitLog, report: RecoveryReport) -> None:
        self._config = config
        self._paths = paths
        self._disk = disk
        self._log = log_
        self._report = report
        self.point = LogPoint(0, -1, 0, 0)

    def find(self, start: int, synced: int) -> int:
        """Walks the log; returns where it ends. Bad bytes below `synced` stop the start, or are fenced by configuration."""
        end = start
        while True:
            scan = LogScan(self._log, start, check_crc=self._config.check_crc_on_recover, torn_above=self._torn_above(synced))
            for block in scan:
                self._note_last(block)
            end = scan.end.offset
            if end >= synced:
                return end
            if self._config.damage_policy is DamagePolicy.STOP:
                raise StoreDamaged(damage_text(self._log, end, synced))
            following = next_record(self._log, end + 1, self._log.files_end)
            stop = following if following is not None else max(synced, end)
            self._report.side_file = self._keep_aside(end, stop)
            self._report.fenced.append((end, stop))
            log.error("commit log [%d, %d) is damaged and fenced; a copy is in %s", end, stop, self._report.side_file)
            if following is None:
                # The damage reaches the end: writing goes on behind it, offsets below S are never given out again.
                return -(-stop // self._log.file_size) * self._log.file_size
            start = following

    def cut(self, end: int) -> None:
        """Makes sure that nothing behind the log's end can be taken for a record, now or at any later start."""
        tail = last_nonzero(self._log, end)
        if tail > end:
            self._report.cut_bytes = tail - end
            if next_record(self._log, end, tail) is not None:
                self._report.side_file = self._keep_aside(end, tail)
            log.warning(
                "commit log is cut at %d, %d bytes behind it are dropped%s",
                end,
                tail - end,
                f" (kept in {self._report.side_file})" if self._report.side_file else "",
            )
        size = self._log.file_size
        keep = max(1, -(-(end - self._log.files[0].start) // size)) if self._log.files else 0
        for item in reversed(self._log.files[keep:]):
            item.file.close()
            self._disk.unlink(item.path)
            self._disk.sync_dir(item.path[: item.path.rindex("/")])
        del self._log.files[keep:]
        if tail > end:
            last = self._log.files[-1]
            stop = min(tail, last.start + size)
            file = last.file.handle()
            for position in range(end, stop, _ZERO_CHUNK):
                file.pwrite(bytes(min(_ZERO_CHUNK, stop - position)), position - last.start)
            if stop > end:
                file.sync()

    def write_again(self, start: int, end: int) -> None:
        """Puts [start, end) on the disk for certain: it may be in the page cache only, even marked clean by a failed sync."""
        position = start
        while position < end:
            item = self._log.find_file(position)
            if item is None:
                break
            stop = min(end, item.start + self._log.file_size)
            file = item.file.handle()
            while position < stop:
                length = min(_COPY_CHUNK, stop - position)
                file.pwrite(file.pread(length, position - item.start), position - item.start)
                position += length
            file.sync()
        for directory in self._config.commit_log_paths:
            self._disk.sync_dir(directory)

    def _torn_above(self, synced: int) -> int | None:
        """From where on a record may have been torn by a power cut; None after a clean stop."""
        return None if self._report.clean_stop else synced

    def _note_last(self, block: ScanBlock) -> None:
        view = RecordView(block.data, block.starts[-1])
        offset = block.base + view.start
        self.point = LogPoint(offset + view.size, offset, view.size, view.store_timestamp)

    def _keep_aside(self, start: int, stop: int) -> str:
        """Copies a range of the log to a side file and returns its path."""
        self._disk.make_dirs(self._paths.damaged)
        path = f"{self._paths.damaged}/{start:020d}-{stop:020d}"
        target = self._disk.open(path, create=True)
        try:
            position = start
            while position < stop:
                item = self._log.find_file(position)
                if item is None:
                    break
                length = min(_COPY_CHUNK, stop - position, item.start + self._log.file_size - position)
                target.pwrite(item.file.handle().pread(length, position - item.start), position - start)
                position += length
            target.sync()
        finally:
            target.close()
        self._disk.sync_dir(self._paths.damaged)
        return path


def damage_text(log_: CommitLog, offset: int, synced: int) -> str:
    item = log_.find_file(offset)
    place = item.path if item is not None else "no file"
    return (
        f"the commit log is damaged at physical offset {offset} in {place}, and everything below {synced} was synced; "
        "the store is not opened. Restore the file from a replica or backup, or set the damage policy to fence the range."
    )
