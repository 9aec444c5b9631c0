"""The index over all files: keys waiting in memory, and the files behind them."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator

from gantry.errors import DiskError
from gantry.protocol.disk.index_layout import IndexHeader, key_hash
from gantry.runtime.disk import Disk

from .config import StoreConfig, StorePaths
from .index_file import IndexFile
from .own_state import IndexMark
from .pending_keys import KeyBatch, PendingKeys
from .steps import ReadStep

log = logging.getLogger(__name__)


class IndexService:
    """Finds records by key.

    add() makes a key findable at once, from memory; the files follow at write_pending(), off the loop, at the latest
    with the next checkpoint. One write_pending at a time; add() and searches may run beside it.
    """

    def __init__(self, config: StoreConfig, paths: StorePaths, disk: Disk) -> None:
        self._disk = disk
        self._directory = paths.index
        self._slot_count = config.max_hash_slot_num
        self._entry_count_max = config.max_index_num
        self.files: list[IndexFile] = []
        self.pending = PendingKeys()
        self._undo: tuple[IndexFile | None, IndexHeader, list[IndexFile]] | None = None
        """What a failed write_pending left: the file it began in with its header of before, and the files it made."""

    # --- loading

    def load_files(self) -> None:
        """Opens the files there are. A file of another length was made with other settings and is left out."""
        self._disk.make_dirs(self._directory)
        for name in self._disk.list_dir(self._directory):
            path = f"{self._directory}/{name}"
            if not name.isdigit() or self._disk.is_dir(path):
                continue
            item = IndexFile(self._disk, path, self._slot_count, self._entry_count_max)
            if self._disk.size(path) != item.size:
                log.warning(
                    "%s has %d bytes, maxHashSlotNum and maxIndexNum say %d; it is not used",
                    path,
                    self._disk.size(path),
                    item.size,
                )
                continue
            item.read_header()
            self.files.append(item)
        for position, item in enumerate(self.files):
            if item.header.index_count > self._entry_count_max:
                log.error(
                    "%s says that it has %d entries, it has room for %d; it and those behind it are made again from the log",
                    item.path,
                    item.header.index_count,
                    self._entry_count_max,
                )
                self.remove_from(position)
                break

    def cut_back(self, mark: IndexMark) -> bool:
        """Makes the index what it was when `mark` was taken. Returns False when there is no such file: then nothing is kept."""
        if not mark.name:
            self.remove_from(0)
            return True
        for position, item in enumerate(self.files):
            if item.name == mark.name and mark.index_count <= self._entry_count_max:
                self.remove_from(position + 1)
                item.cut_back(
                    IndexHeader(
                        mark.begin_timestamp,
                        mark.end_timestamp,
                        mark.begin_phy_offset,
                        mark.end_phy_offset,
                        mark.hash_slot_count,
                        mark.index_count,
                    )
                )
                return True
        self.remove_from(0)
        return False

    def remove_from(self, position: int) -> None:
        """Removes the files from this one on."""
        removed = self.files[position:]
        del self.files[position:]
        for item in removed:
            item.file.close()
            self._disk.unlink(item.path)

    def mark(self) -> IndexMark:
        """The newest file as written, for `cut_back` after a crash."""
        if not self.files:
            return IndexMark()
        item = self.files[-1]
        header = item.header
        return IndexMark(
            item.name,
            header.begin_timestamp,
            header.end_timestamp,
            header.begin_phy_offset,
            header.end_phy_offset,
            header.hash_slot_count,
            header.index_count,
        )

    @property
    def covered_offset(self) -> int:
        """Records below this physical offset are in the index for certain; the one at it may be there in part."""
        return self.files[-1].header.end_phy_offset if self.files else 0

    # --- adding

    def add(self, topic: str, keys: list[bytes], physical_offset: int, store_timestamp: int) -> None:
        self.pending.add(topic, keys, physical_offset, store_timestamp)

    def write_pending(self, keys: KeyBatch, now_ms: int, sync: bool) -> list[IndexFile]:
        """Puts keys into the files; returns all files as they are then. Blocking; off the loop.

        The caller drops the keys from `pending` afterwards and takes over the returned list: until then searches
        find them in memory. Raises: DiskFull, DiskFault; the next call undoes first what this one had done.
        """
        self._undo_failed()
        files = list(self.files)
        done = 0
        made: list[IndexFile] = []
        first = files[-1] if files else None
        self._undo = (first, _copy(first.header) if first is not None else IndexHeader(), made)
        while done < len(keys):
            if not files or files[-1].is_full:
                item = self._new_after(files[-1] if files else None, now_ms)
                made.append(item)
                item.create()
                files.append(item)
            done += files[-1].write(keys, done)
            if files[-1].is_full or sync:
                files[-1].sync()
        self._undo = None
        return files

    def _undo_failed(self) -> None:
        if self._undo is None:
            return
        first, header, made = self._undo
        while made:
            item = made[-1]
            item.file.close()
            if self._disk.exists(item.path):
                self._disk.unlink(item.path)
            made.pop()
        if first is not None:
            first.cut_back(_copy(header))
        self._undo = None

    def _new_after(self, last: IndexFile | None, now_ms: int) -> IndexFile:
        name = _file_name(now_ms)
        if last is not None and name <= last.name:
            name = str(int(last.name) + 1)
        item = IndexFile(self._disk, f"{self._directory}/{name}", self._slot_count, self._entry_count_max)
        if last is not None:
            # The new header takes over the old one's end; its first entry's time is counted from there.
            header = last.header
            item.header = IndexHeader(header.end_timestamp, header.end_timestamp, header.end_phy_offset, header.end_phy_offset)
        return item

    # --- searching

    def search_steps(self, topic: str, key: str, count_max: int, begin: int, end: int) -> Generator[ReadStep, bytes, list[int]]:
        """Physical offsets of records that may carry the key, newest first, without doubles; hashes may collide."""
        found = dict.fromkeys(self.pending.search(topic, key.encode(), begin, end, count_max))
        if len(found) >= count_max:
            return list(found)
        hashed = key_hash(f"{topic}#{key}")
        for file in reversed(self.files):
            if file.is_time_matched(begin - 999, end):
                offsets = yield from file.chain_steps(hashed, begin, end, count_max - len(found) + 8)
                found.update(dict.fromkeys(offsets))
            if file.header.begin_timestamp < begin or len(found) >= count_max:
                break
        return list(found)

    @property
    def last_update(self) -> tuple[int, int]:
        """Store time and physical offset of the newest key."""
        newest = self.pending.last
        if newest is not None:
            return newest
        if self.files:
            return self.files[-1].header.end_timestamp, self.files[-1].header.end_phy_offset
        return 0, 0

    # --- retention

    def expired_files(self, physical_min: int) -> list[IndexFile]:
        """Files whose newest entry points below the log's minimum; never the newest file."""
        expired: list[IndexFile] = []
        for item in self.files[:-1]:
            if item.header.end_phy_offset >= physical_min:
                break
            expired.append(item)
        return expired

    def close(self) -> None:
        for item in self.files:
            try:
                item.file.close()
            except DiskError as error:
                log.warning("closing %s: %s", item.path, error)


def _copy(header: IndexHeader) -> IndexHeader:
    return IndexHeader.decode(header.encode())


def _file_name(now_ms: int) -> str:
    """Local time as yyyyMMddHHmmssSSS. Source: UtilAll.timeMillisToHumanString (5.3)."""
    return time.strftime("%Y%m%d%H%M%S", time.localtime(now_ms // 1000)) + f"{now_ms % 1000:03d}"
