"""Compares queues and index with the log: they must be exactly what the log implies. Nothing here writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gantry.errors import DiskFault
from gantry.model import sys_flag
from gantry.protocol.disk.file_name import parse_offset_file_name
from gantry.protocol.disk.index_layout import key_hash
from gantry.runtime.disk import Disk, is_not_found
from gantry.runtime.replace import load_file

from .config import DEFAULT_DELAY_LEVELS, StorePaths
from .delay_levels import DelayLevels
from .dispatch import enters_queue, index_keys, queue_tags_code
from .inspect import (
    IndexItem,
    LogItem,
    QueueItem,
    index_slot_count,
    iterate_index,
    iterate_log,
    iterate_queue,
    read_index_slots,
    read_synced_state,
)
from .own_state import QueueOffsets, decode_queue_offsets

_FAULTS_MAX = 1000

Entry = tuple[int, int, int]


def check_store(
    disk: Disk,
    root: str,
    *,
    commit_log_paths: list[str] | None = None,
    delay_levels: str = DEFAULT_DELAY_LEVELS,
    slot_count: int | None = None,
    index_tags: bool = True,
    index: bool = True,
) -> list[str]:
    """What is wrong with a store directory, a sentence each; empty when queues and index equal what the log implies.

    The store may be in use by a broker: entries above its last checkpoint may be missing then, but never be wrong. A file
    that retention removes meanwhile counts as removed before. `index` says whether the broker makes one.
    """
    log_paths = commit_log_paths or [f"{root}/commitlog"]
    return _Check(disk, root, log_paths, DelayLevels(delay_levels), slot_count, index_tags, index).run()


class _Check:
    def __init__(
        self,
        disk: Disk,
        root: str,
        log_paths: list[str],
        delay_levels: DelayLevels,
        slot_count: int | None,
        index_tags: bool,
        index: bool,
    ) -> None:
        self._disk = disk
        self._paths = StorePaths(root)
        self._log_paths = log_paths
        self._delay_levels = delay_levels
        self._slot_count = slot_count
        self._index_tags = index_tags
        self._index = index
        self._faults: list[str] = []
        self._minimum = 0
        self._end = 0
        self._dispatched = 0
        self._queues: dict[tuple[str, int], dict[int, Entry]] = defaultdict(dict)
        self._keys: list[tuple[int, int]] = []

    def run(self) -> list[str]:
        state = read_synced_state(self._disk, self._paths.synced_offset)
        offsets = load_file(self._disk, self._paths.queue_offsets, decode_queue_offsets) or QueueOffsets()
        self._read_log(offsets)
        self._dispatched = state.dispatched_offset if state is not None else self._end
        if state is not None and state.synced_offset > self._end:
            self._fault(f"the log ends at {self._end}, but everything below {state.synced_offset} was synced")
        self._check_dense()
        self._check_queues(offsets)
        if self._index:
            self._check_index()
        return self._faults

    def _fault(self, text: str) -> None:
        if len(self._faults) < _FAULTS_MAX:
            self._faults.append(text)

    # --- the log

    def _log_files(self) -> dict[int, str]:
        """Physical offsets at which files of the log begin, and their paths."""
        files: dict[int, str] = {}
        for directory in self._log_paths:
            for name in self._disk.list_dir(directory):
                start = parse_offset_file_name(name)
                if start is not None:
                    files[start] = f"{directory}/{name}"
        return files

    def _read_log(self, offsets: QueueOffsets) -> None:
        files = self._log_files()
        starts = sorted(files)
        self._minimum = self._end = starts[0] if starts else 0
        for position, start in enumerate(starts):
            if start != self._end:
                self._fault(f"{files[start]} begins at {start}, the file before it ends at {self._end}")
            try:
                size = self._disk.size(files[start])
                rolled = self._read_log_file(files[start], offsets)
            except DiskFault as error:
                if not is_not_found(error):
                    raise
                # Retention goes from the front: what was read before is gone, too.
                self._minimum = self._end = starts[position + 1] if position + 1 < len(starts) else start
                self._queues.clear()
                self._keys.clear()
                continue
            if not rolled:
                return
            self._end = start + size

    def _read_log_file(self, path: str, offsets: QueueOffsets) -> bool:
        """Returns whether a blank record ends the file."""
        for item in iterate_log(self._disk, path):
            if item.blank:
                return True
            if item.problem or item.record is None:
                self._fault(f"{path} at {item.physical_offset}: {item.problem}")
                return False
            self._end = item.physical_offset + item.size
            self._imply(item, offsets)
        return False

    def _gone_below(self) -> int:
        """Where the log begins by now: retention may have removed files since it was read."""
        return max(self._minimum, min(self._log_files(), default=self._minimum))

    def _imply(self, item: LogItem, offsets: QueueOffsets) -> None:
        """Notes what queues and index must have for this record."""
        view = item.record
        assert view is not None
        topic = view.topic
        kind = view.sys_flag & sys_flag.TRANSACTION_MASK
        properties = view.properties
        if enters_queue(kind) and item.physical_offset >= offsets.deleted_topics.get(topic, -1):
            entries = self._queues[topic, view.queue_id]
            if view.queue_offset in entries:
                self._fault(f"{topic}-{view.queue_id}: offset {view.queue_offset} is used twice in the log")
            code = queue_tags_code(topic, properties, view.store_timestamp, self._delay_levels)
            entries[view.queue_offset] = (item.physical_offset, item.size, code)
        for key in index_keys(properties, kind, self._index_tags):
            self._keys.append((item.physical_offset, key_hash(f"{topic}#{key.decode('utf-8', 'replace')}")))

    def _check_dense(self) -> None:
        for (topic, queue_id), entries in self._queues.items():
            first, last = min(entries), max(entries)
            if last - first + 1 != len(entries):
                self._fault(f"{topic}-{queue_id}: the log has {len(entries)} messages for offsets {first} to {last}")

    # --- queues

    def _check_queues(self, offsets: QueueOffsets) -> None:
        seen: set[tuple[str, int]] = set()
        root = self._paths.consume_queue
        for topic in self._disk.list_dir(root) if self._disk.exists(root) else []:
            for name in self._disk.list_dir(f"{root}/{topic}"):
                key = (topic, int(name))
                seen.add(key)
                self._check_queue(key, list(self._queue_items(f"{root}/{topic}/{name}")))
        for key, entries in self._queues.items():
            if key not in seen and any(entry[0] < self._dispatched for entry in entries.values()):
                self._fault(f"{key[0]}-{key[1]}: the log has messages of this queue, its files are missing")

    def _queue_items(self, directory: str) -> Iterator[QueueItem]:
        for name in self._disk.list_dir(directory):
            if parse_offset_file_name(name) is None:
                self._fault(f"{directory}/{name} is no file of a queue")
                continue
            try:
                yield from iterate_queue(self._disk, f"{directory}/{name}")
            except DiskFault as error:
                if not is_not_found(error):
                    raise

    def _check_queue(self, key: tuple[str, int], items: list[QueueItem]) -> None:
        expected = self._queues.get(key, {})
        place = f"{key[0]}-{key[1]}"
        found: dict[int, Entry] = {}
        previous: int | None = None
        for item in items:
            if previous is not None and item.queue_offset != previous + 1:
                self._fault(f"{place}: entries {previous + 1} to {item.queue_offset - 1} are empty")
            previous = item.queue_offset
            if item.filler or item.physical_offset < self._minimum:
                continue
            found[item.queue_offset] = (item.physical_offset, item.size, item.tags_code)
        for offset, entry in found.items():
            if expected.get(offset) != entry and entry[0] < self._end:
                self._fault(f"{place}: entry {offset} is {entry}, the log says {expected.get(offset)}")
        missing = [(offset, entry) for offset, entry in expected.items() if offset not in found and entry[0] < self._dispatched]
        gone = self._gone_below() if missing else 0
        for offset, entry in missing:
            if entry[0] >= gone:
                self._fault(f"{place}: entry {offset} is missing, the log has it at {entry[0]}")

    # --- index

    def _check_index(self) -> None:
        root = self._paths.index
        names = [name for name in self._disk.list_dir(root) if name.isdigit()] if self._disk.exists(root) else []
        found: list[tuple[int, int]] = []
        for name in names:
            path = f"{root}/{name}"
            try:
                slots = self._slot_count or index_slot_count(self._disk, path)
                if slots is None:
                    self._fault(f"{path}: its number of hash slots is unknown")
                    return
                items = list(iterate_index(self._disk, path, slot_count=slots))
                self._check_chains(path, items, read_index_slots(self._disk, path, slots))
            except DiskFault as error:
                if not is_not_found(error):
                    raise
                continue
            found += [(item.physical_offset, item.key_hash) for item in items]
        # A file of the index goes when the log has none of its records: what is left has all keys of the first record.
        minimum = self._gone_below()
        actual = [entry for entry in found if entry[0] >= minimum]
        expected = [entry for entry in self._keys if entry[0] >= minimum]
        if actual != expected[: len(actual)]:
            at = next(i for i, entry in enumerate(actual) if i >= len(expected) or entry != expected[i])
            wanted = expected[at] if at < len(expected) else None
            self._fault(f"index: entry {at} is {actual[at]}, the log says {wanted}")
        missing = [entry for entry in expected[len(actual) :] if entry[0] < self._dispatched]
        if missing:
            self._fault(f"index: {len(missing)} keys are missing, the first is of the record at {missing[0][0]}")

    def _check_chains(self, path: str, items: list[IndexItem], slots: list[int]) -> None:
        newest: dict[int, int] = {}
        for item in items:
            slot = item.key_hash % len(slots)
            if item.previous != newest.get(slot, 0):
                self._fault(f"{path}: entry {item.number} follows {item.previous}, it should follow {newest.get(slot, 0)}")
            newest[slot] = item.number
        for slot, number in enumerate(slots):
            if number != newest.get(slot, 0):
                self._fault(f"{path}: slot {slot} points to {number}, it should point to {newest.get(slot, 0)}")
