"""The one log all topics share, and its files."""

from __future__ import annotations

import errno
import logging
from collections.abc import Generator

from gantry.errors import DiskError, DiskFault, RecordCorrupt, StoreDamaged
from gantry.protocol.disk.blank_record import BLANK_SIZE_MIN
from gantry.protocol.disk.file_name import offset_file_name, parse_offset_file_name
from gantry.protocol.message.record import RecordView
from gantry.runtime.disk import Disk, DiskFile

from .append import HotTail, Spans
from .config import StoreConfig, StorePaths
from .open_file import OpenFile
from .steps import ReadStep

log = logging.getLogger(__name__)


class LogFile:
    """One file of the log. Units: `start` is the physical offset of its first byte."""

    __slots__ = ("file", "path", "start")

    def __init__(self, disk: Disk, start: int, path: str, file: DiskFile | None = None) -> None:
        self.start = start
        self.path = path
        self.file = OpenFile(disk, path, writable=True, file=file)


class CommitLog:
    """The one log all topics share.

    write() returns when the bytes are in the page cache: survives a killed process, not a power cut.
    sync_upto() returns when every byte below its bound is on disk; it may run beside write(), off the loop.
    One write at a time. `wrote_offset` moves at advance(), not at write(): what was written and not advanced over is not there.
    A view handed out by the hot tail stays valid as long as it is held.
    Files always have their exact full length: they are allocated in a staging directory and renamed into place.
    """

    def __init__(self, config: StoreConfig, paths: StorePaths, disk: Disk) -> None:
        self._disk = disk
        self._paths = paths
        self._directories = config.commit_log_paths
        self._verify_crc = config.verify_crc_on_read
        self.file_size = config.mapped_file_size_commit_log
        self.files: list[LogFile] = []
        self.hot_tail = HotTail(config.hot_tail_bytes_max)
        self.spans = Spans(_SPANS_MAX)
        self.wrote_offset = 0
        self.flushed_offset = 0
        self.last_store_timestamp = 0
        self.damaged_read_count = 0
        self._staging_number = 0
        self._renames: dict[str, int] = {}
        """How many files each directory got."""
        self._renames_synced: dict[str, int] = {}
        """So many of them are certainly there after a power cut."""
        self._dirty_end = 0
        """Bytes up to here may have been written above `wrote_offset`, for a plan that was not committed yet."""

    # --- files

    def load_files(self) -> None:
        """Finds the files of the log. An empty last file is removed, as the original does.

        Raises: StoreDamaged when a file has another length or one in the middle is missing.
        """
        found: dict[int, str] = {}
        for directory in self._directories:
            self._disk.make_dirs(directory)
            for name in self._disk.list_dir(directory):
                start = parse_offset_file_name(name)
                if start is not None:
                    found[start] = f"{directory}/{name}"
        starts = sorted(found)
        if starts and self._disk.size(found[starts[-1]]) == 0:
            self._disk.unlink(found[starts.pop()])
        for index, start in enumerate(starts):
            path = found[start]
            size = self._disk.size(path)
            if size != self.file_size:
                raise StoreDamaged(
                    f"{path} has {size} bytes, mappedFileSizeCommitLog says {self.file_size}; the store is not opened"
                )
            if start != starts[0] + index * self.file_size:
                raise StoreDamaged(f"the commit log file before {path} is missing; the store is not opened")
            self.files.append(LogFile(self._disk, start, path))
        if self._disk.exists(self._paths.staging):
            for name in self._disk.list_dir(self._paths.staging):
                self._disk.unlink(f"{self._paths.staging}/{name}")

    def path_for(self, start: int) -> str:
        directory = self._directories[start // self.file_size % len(self._directories)]
        return f"{directory}/{offset_file_name(start)}"

    @property
    def min_offset(self) -> int:
        return self.files[0].start if self.files else self.wrote_offset

    @property
    def files_end(self) -> int:
        """Physical offset up to which files exist."""
        return self.files[-1].start + self.file_size if self.files else 0

    def find_file(self, physical_offset: int) -> LogFile | None:
        files = self.files
        if not files:
            return None
        index = (physical_offset - files[0].start) // self.file_size
        return files[index] if 0 <= index < len(files) else None

    def allocate_staged(self, start: int, number: int) -> tuple[str, DiskFile]:
        """Makes a file of full length in the staging directory. Blocking. Raises: DiskFull, DiskFault.

        The files before it are named for certain then: of two new names a power cut may keep the later one only, and such a
        log does not open.
        """
        self.sync_names()
        path = f"{self._paths.staging}/{offset_file_name(start)}.{number}"
        file = self._disk.open(path, create=True, size=self.file_size)
        try:
            # The length must be on the disk before the name is: a file of another length would not open.
            file.sync()
        except DiskError:
            file.close()
            raise
        return path, file

    def next_staging_number(self) -> int:
        self._staging_number += 1
        return self._staging_number

    def install(self, start: int, staged: tuple[str, DiskFile]) -> None:
        """Puts a staged file at the end of the log; one that came too late is discarded."""
        path, file = staged
        expected = self.files_end if self.files else start
        if start != expected:
            file.close()
            self._disk.unlink(path)
            return
        final = self.path_for(start)
        try:
            self._disk.rename(path, final)
        except DiskFault as error:
            file.close()
            self._disk.unlink(path)
            if error.errno != errno.EXDEV:
                raise
            # The log lies on another file system than the root: the file can only be made in its own place.
            file = self._disk.open(final, create=True, size=self.file_size)
            file.sync()
        else:
            # Opened again under its own name, which errors and messages then show.
            file.close()
            file = self._disk.open(final)
        self.files.append(LogFile(self._disk, start, final, file))
        directory = final[: final.rindex("/")]
        self._renames[directory] = self._renames.get(directory, 0) + 1

    def ensure_file(self, start: int) -> None:
        """The file that begins at `start` exists. Creates it at once when it was not made ahead.

        Raises: DiskFull, DiskFault.
        """
        if self.find_file(start) is not None:
            return
        if not self.files:
            start -= start % self.file_size
        log.info("commit log file %s was not made ahead; it is made now", offset_file_name(start))
        self.install(start, self.allocate_staged(start, self.next_staging_number()))

    def detach_first(self, count: int) -> list[LogFile]:
        """Takes the oldest files out of the log; the caller removes them from the disk."""
        taken, self.files = self.files[:count], self.files[count:]
        for item in taken:
            item.file.close()
        return taken

    def close(self) -> None:
        for item in self.files:
            item.file.close()

    # --- writing

    def write(self, start: int, data: bytes) -> None:
        """Writes a range that lies within one file, above everything written so far. Raises: DiskFull, DiskFault."""
        end = start + len(data)
        if end > self._dirty_end:
            self._dirty_end = end
        item = self.find_file(start)
        if item is None:
            self.ensure_file(start)
            item = self.find_file(start)
            assert item is not None
        item.file.handle().pwrite(data, start - item.start)

    def advance(self, start: int, data: bytes) -> None:
        """The written range is part of the log from now on."""
        self.hot_tail.append(start, data)
        self.wrote_offset = start + len(data)

    def erase_above(self) -> None:
        """What was written and is not to be part of the log cannot be taken for a record after a crash.

        Raises: DiskError; then the store must not go on writing.
        """
        # All of it, not only its beginning: a later, shorter record may end where a record of the forgotten plan begins.
        position = self.wrote_offset
        while position < self._dirty_end:
            item = self.find_file(position)
            if item is None:
                break
            end = min(self._dirty_end, item.start + self.file_size)
            item.file.handle().pwrite(bytes(end - position), position - item.start)
            position = end
        self._dirty_end = 0

    # --- syncing

    def sync_upto(self, upto: int) -> None:
        """Blocking; off the loop. Raises: DiskFault: then the range above `flushed_offset` counts as lost."""
        flushed = self.flushed_offset
        for item in list(self.files):
            if item.start < upto and item.start + self.file_size > flushed:
                item.file.handle().sync()
        self.sync_names()

    def sync_names(self) -> None:
        """The files that are there stay there after a power cut. Blocking. Raises: DiskFault."""
        for directory, count in list(self._renames.items()):
            if count > self._renames_synced.get(directory, 0):
                self._disk.sync_dir(directory)
                # The log may have got another file meanwhile, and another thread may have synced that.
                self._renames_synced[directory] = max(count, self._renames_synced.get(directory, 0))

    # --- reading

    def record_steps(
        self, physical_offset: int, size: int, ahead: int = 0
    ) -> Generator[ReadStep, bytes, bytes | memoryview | None]:
        """One record, checked against its place; None when the log does not hold it any more (or not yet).

        `ahead` is the physical offset up to which the file is read with it, for records that are asked for soon.
        Raises: RecordCorrupt when what is there is not that record.
        """
        if physical_offset < self.min_offset or physical_offset + size > self.wrote_offset:
            return None
        hot = self.hot_tail.read(physical_offset, size)
        if hot is not None:
            return hot
        item = self.find_file(physical_offset)
        if item is None or physical_offset + size > item.start + self.file_size:
            return None
        data: bytes | memoryview | None = self.spans.read(physical_offset, size)
        if data is None:
            length = max(min(ahead, self.wrote_offset, item.start + self.file_size) - physical_offset, size)
            read = yield ReadStep(item.file, length, physical_offset - item.start)
            if length > size:
                self.spans.put(physical_offset, read)
            data = memoryview(read)[:size]
        self._check(data, item.path, physical_offset, size)
        return data

    def _check(self, data: bytes | memoryview, path: str, physical_offset: int, size: int) -> None:
        reason = ""
        try:
            view = RecordView(data)
        except Exception as error:
            reason = str(error)
        else:
            if view.size != size or view.physical_offset != physical_offset:
                reason = f"it says physical offset {view.physical_offset} and {view.size} bytes, {size} were expected"
            elif self._verify_crc and not view.crc_matches:
                reason = f"body CRC does not match 0x{view.body_crc:08x}"
        if reason:
            self.damaged_read_count += 1
            raise RecordCorrupt(path=path, physical_offset=physical_offset, reason=reason)

    def size_steps(self, physical_offset: int) -> Generator[ReadStep, bytes, int]:
        """Size of the record that begins at this offset; 0 when there is none."""
        if physical_offset < self.min_offset or physical_offset + BLANK_SIZE_MIN > self.wrote_offset:
            return 0
        head: bytes | memoryview | None = self.hot_tail.read(physical_offset, BLANK_SIZE_MIN)
        if head is None:
            item = self.find_file(physical_offset)
            if item is None:
                return 0
            head = yield ReadStep(item.file, BLANK_SIZE_MIN, physical_offset - item.start)
        size = int.from_bytes(head[:4], "big", signed=True)
        magic = int.from_bytes(head[4:8], "big")
        return size if magic in (0xDAA320A7, 0xDAA320AB) and size > 0 else 0

    def store_time_steps(self, physical_offset: int, size: int) -> Generator[ReadStep, bytes, int]:
        """storeTimestamp of a record, -1 when it is not there any more. Units: ms."""
        hot = self.hot_tail.read(physical_offset, size)
        if hot is not None:
            return RecordView(hot).store_timestamp
        if physical_offset < self.min_offset or physical_offset + size > self.wrote_offset:
            return -1
        item = self.find_file(physical_offset)
        if item is None:
            return -1
        head = yield ReadStep(item.file, min(size, _TIME_HEAD), physical_offset - item.start)
        if len(head) < _TIME_HEAD:
            return -1
        at = 68 if int.from_bytes(head[36:40], "big") & 0x10 else 56
        return int.from_bytes(head[at : at + 8], "big", signed=True)


_SPANS_MAX = 32
_TIME_HEAD = 76
