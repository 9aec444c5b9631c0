"""Recovery: what a start does before anything is served. The mirror of the order of writes in `checkpoint`.

Theory. Two offsets of our own files say what can be trusted: below D, queues and index are on the disk; below S, the log is.
D <= S <= end of the log. A start after a clean stop finds S at the end and nothing to do. After a crash:

    1  walk the log from D: below S every record must be good, or the start stops (F3); above S the first bad one is the
       end (F2)
    2  cut the log there, durably: a tail that was dropped must never look valid again (valid records behind the cut are
       kept in a side file); what lies above S is written again and synced, for it may only be in the page cache
    3  drop queue entries and index entries that point to D or above; they may be torn
    4  dispatch every record from D again, and more where whole files are missing
    5  sync queues and index, then write S, D and the checkpoint

When our files are absent or do not match the log (a Java broker wrote last) the walk begins where the original's rule
says: after a clean stop at the newest file that the queues reach into, after a crash at the newest file whose first
record is older than the checkpoint's time stamps by 3 s.
Source: CommitLog.recoverNormally, recoverAbnormally (5.3); reliability promises F1, F2, F3, F7.
"""

from __future__ import annotations

import logging
import zlib

from gantry.errors import StoreDamaged
from gantry.protocol.disk.checkpoint_layout import Checkpoint, decode_checkpoint
from gantry.runtime.disk import Disk
from gantry.runtime.replace import load_file

from .checkpoint import LogPoint, write_checkpoint
from .commit_log import CommitLog, LogFile
from .config import DamagePolicy, StoreConfig, StorePaths
from .consume_queue import ConsumeQueue
from .delay_levels import DelayLevels
from .index_service import IndexService
from .log_end import LogEnd, damage_text
from .log_scan import LogScan, read_record
from .own_state import (
    QueueOffsets,
    SyncedState,
    decode_queue_offsets,
    decode_synced_state,
    encode_state,
)
from .queue_loader import QueueLoader
from .queue_table import QueueTable
from .redispatch import Redispatch
from .results import RecoveryReport

log = logging.getLogger(__name__)

_EVERYTHING = 1 << 62


class Recovery:
    """One start's recovery; run() is blocking and leaves log, queues and index ready for use."""

    def __init__(
        self,
        config: StoreConfig,
        paths: StorePaths,
        disk: Disk,
        *,
        log_: CommitLog,
        queues: QueueTable,
        index: IndexService,
        delay_levels: DelayLevels,
        now_ms: int,
    ) -> None:
        self._config = config
        self._paths = paths
        self._disk = disk
        self._log = log_
        self._queues = queues
        self._index = index
        self.report = RecoveryReport()
        self.checkpoint = Checkpoint()
        self.saved = SyncedState()
        self.point = LogPoint(0, -1, 0, 0)
        self.deleted_topics: dict[str, int] = {}
        self._offsets = QueueOffsets()
        self._log_end = LogEnd(config, paths, disk, log_, self.report)
        self._redispatch = Redispatch(
            config,
            disk,
            log_,
            queues=queues,
            index=index,
            delay_levels=delay_levels,
            deleted_topics=self.deleted_topics,
            report=self.report,
            now_ms=now_ms,
        )

    def run(self) -> RecoveryReport:
        """Raises: StoreDamaged, DiskError."""
        self._make_directories()
        report = self.report
        report.clean_stop = not self._disk.exists(self._paths.abort)
        self._read_metadata()
        self._log.load_files()
        state = self._matching_state()
        report.own_state_matched = state is not None
        if self._log.files:
            self._recover(state)
        else:
            self._begin_empty(state)
        self._log.last_store_timestamp = max(
            self.point.store_timestamp,
            self.checkpoint.physic_msg_timestamp,
            state.last_store_timestamp if state is not None else 0,
        )
        for queue in self._queues:
            queue.planned_offset = queue.visible_offset = queue.max_offset
        log.info(
            "recovered the store: last shutdown %s, log [%d, %d), scanned from %d, dispatched %d records again",
            "normally" if report.clean_stop else "abnormally",
            self._log.min_offset,
            self._log.wrote_offset,
            report.scanned_from,
            report.dispatched_count,
        )
        return report

    # --- what is there

    def _make_directories(self) -> None:
        paths = self._paths
        for directory in (paths.root, paths.own, paths.staging, paths.consume_queue, paths.index):
            if not self._disk.exists(directory):
                self._disk.make_dirs(directory)
                self._disk.sync_dir(directory[: directory.rindex("/")])

    def _read_metadata(self) -> None:
        if self._disk.exists(self._paths.checkpoint):
            self.checkpoint = decode_checkpoint(self._disk.read_file(self._paths.checkpoint))
        try:
            offsets = load_file(self._disk, self._paths.queue_offsets, decode_queue_offsets)
        except ValueError as error:
            raise StoreDamaged(
                f"{self._paths.queue_offsets} cannot be read ({error}); queue offsets might be used twice. "
                "Restore it, or remove it to accept that."
            ) from error
        self._offsets = offsets or QueueOffsets()
        self.deleted_topics.update(self._offsets.deleted_topics)

    def _matching_state(self) -> SyncedState | None:
        """Our synced-offset file, when the log still is the one it speaks of."""
        try:
            state = load_file(self._disk, self._paths.synced_offset, decode_synced_state)
        except ValueError as error:
            log.warning("the synced offset is unknown, the log is scanned by the original's rule: %s", error)
            return None
        if state is None:
            return None
        self.saved = state
        if not state.has_record:
            return state if state.synced_offset == 0 else None
        if not self._log.files:
            return state
        if state.synced_offset > self._log.files_end and self._config.damage_policy is DamagePolicy.STOP:
            # Other brokers remove the oldest files, never the newest.
            raise StoreDamaged(
                f"the files of the commit log end at {self._log.files_end}, and everything below {state.synced_offset} was "
                "synced; the store is not opened. Restore the missing files from a replica or backup, or set the damage "
                "policy to fence the range."
            )
        item = self._log.find_file(state.last_record_offset)
        if item is None or state.synced_offset > self._log.files_end:
            log.warning(
                "the synced offset %d lies outside the log [%d, %d); the log is scanned by the original's rule",
                state.synced_offset,
                self._log.min_offset,
                self._log.files_end,
            )
            return None
        data = item.file.handle().pread(state.last_record_size, state.last_record_offset - item.start)
        if zlib.crc32(data) == state.last_record_crc:
            return state
        self._refuse_damage_at_synced_end(state, item)
        log.warning(
            "the record at %d is not the one synced last (another broker wrote this store); "
            "the log is scanned by the original's rule",
            state.last_record_offset,
        )
        return None

    def _refuse_damage_at_synced_end(self, state: SyncedState, item: LogFile) -> None:
        """The record before S is not what was written: damage, unless good records of another broker lie there.

        No broker takes a good record back. So if the records of the file do not even reach that place, its end is lost; and a
        record there of the same length and store time is ours, changed where no checksum of its own covers it.
        """
        if self._config.damage_policy is DamagePolicy.FENCE:
            return
        scan = LogScan(self._log, item.start, check_crc=True, upto=item.start + self._log.file_size)
        for _ in scan:
            pass
        if scan.end.offset <= state.last_record_offset:
            raise StoreDamaged(damage_text(self._log, scan.end.offset, state.synced_offset))
        view = read_record(self._log, state.last_record_offset)
        if (
            view is not None
            and view.size == state.last_record_size
            and view.physical_offset == state.last_record_offset
            and view.store_timestamp == state.last_store_timestamp
        ):
            raise StoreDamaged(damage_text(self._log, state.last_record_offset, state.synced_offset))

    # --- an empty log

    def _begin_empty(self, state: SyncedState | None) -> None:
        """No file of the log: a new store, or a lost one."""
        if self.saved.synced_offset and self._config.damage_policy is DamagePolicy.STOP:
            raise StoreDamaged(
                f"the commit log is gone, {self.saved.synced_offset} bytes of it were synced; restore it, "
                f"or remove {self._paths.own} and consumequeue to begin anew"
            )
        size = self._log.file_size
        start = -(-self.saved.synced_offset // size) * size
        self._log.wrote_offset = self._log.flushed_offset = start
        self.report.end = self.report.scanned_from = start
        self._index.load_files()
        self._index.remove_from(0)
        for topic, queue_id, names in self._queue_directories():
            # Entries without a log point nowhere; their offsets go on.
            queue = self._queues.find_or_create(topic, queue_id)
            QueueLoader(self._disk, limit=_EVERYTHING, verify=None).load(queue, names, None)
            queue.min_offset = queue.max_offset
        self._restore_offsets()
        self.point = LogPoint(start, -1, 0, self.saved.last_store_timestamp)
        if state is None or self._redispatch.touched:
            # From now on a crash finds our own files: without them it would be taken for a store of the original.
            self._save(start)

    # --- a log with files

    def _recover(self, state: SyncedState | None) -> None:
        directories = self._queue_directories()
        if state is not None:
            scan_start = max(min(state.dispatched_offset, state.synced_offset), self._log.min_offset)
            synced = state.synced_offset
        else:
            scan_start = self._original_start(directories)
            synced = 0
        self.report.scanned_from = scan_start
        end = self._log_end.find(scan_start, synced)
        self.point = self._log_end.point
        self._log.wrote_offset = self._log.flushed_offset = self.report.end = end
        if self.point.record_offset < 0 and state is not None and state.has_record and state.synced_offset == end:
            # Nothing was scanned: the record before the end is the one known from the last time.
            self.point = LogPoint(end, state.last_record_offset, state.last_record_size, state.last_store_timestamp)
        if not self._is_settled(state, end):
            self._log_end.cut(end)
            self._log_end.write_again(max(synced, scan_start), end)
        dispatch_from = self._load_queues(directories, state, scan_start, end)
        index_from = self._load_index(state)
        # What was dispatched last may lie below a log that has lost its beginning: there is nothing to walk there.
        changed = self._redispatch.run(max(min(dispatch_from, index_from), self._log.min_offset), end)
        self._restore_offsets()
        if changed or self._redispatch.touched or not self._is_settled(state, end):
            self._save(end)

    def _is_settled(self, state: SyncedState | None, end: int) -> bool:
        """A clean stop of ours: nothing was written behind S, nothing is to be looked for there."""
        return (
            state is not None
            and self.report.clean_stop
            and end == state.synced_offset == state.dispatched_offset
            and not self.report.fenced
        )

    def _original_start(self, directories: list[tuple[str, int, list[str]]]) -> int:
        """Where the original would begin its walk."""
        files = self._log.files
        if self.report.clean_stop:
            reached = self._reached_by_queues(directories)
            for item in reversed(files):
                first = read_record(self._log, item.start)
                if first is not None and first.physical_offset <= reached:
                    return item.start
            return files[0].start
        limit = self.checkpoint.recovery_timestamp
        for item in reversed(files):
            first = read_record(self._log, item.start)
            if first is not None and 0 < first.store_timestamp <= limit:
                return item.start
        return files[0].start

    def _reached_by_queues(self, directories: list[tuple[str, int, list[str]]]) -> int:
        reached = -1
        probe = QueueTable(self._config, self._paths, self._queues.files)
        for topic, queue_id, names in directories:
            queue = probe.find_or_create(topic, queue_id)
            QueueLoader(self._disk, limit=_EVERYTHING, verify=None).load(queue, names, None)
            reached = max(reached, queue.last_physical_end)
        return reached

    # --- queues and index

    def _queue_directories(self) -> list[tuple[str, int, list[str]]]:
        """Topic, queue id and file names of every queue on the disk."""
        found: list[tuple[str, int, list[str]]] = []
        root = self._paths.consume_queue
        for topic in self._disk.list_dir(root):
            directory = f"{root}/{topic}"
            if not self._disk.is_dir(directory):
                continue
            for name in self._disk.list_dir(directory):
                if name.isdigit() and self._disk.is_dir(f"{directory}/{name}"):
                    found.append((topic, int(name), self._disk.list_dir(f"{directory}/{name}")))
        return found

    def _load_queues(
        self,
        directories: list[tuple[str, int, list[str]]],
        state: SyncedState | None,
        scan_start: int,
        end: int,
    ) -> int:
        """Loads every queue up to what can be trusted. Returns: physical offset from which records are to be dispatched."""
        if self.report.clean_stop:
            limit, dispatch_from = end, scan_start
        else:
            limit = dispatch_from = min(scan_start if state is None else state.dispatched_offset, end)
        loader = QueueLoader(self._disk, limit=limit, verify=self._log_has)
        # Without a single queue the files are gone, unless every topic was deleted.
        whole = bool(directories or self.deleted_topics) or dispatch_from <= self._log.min_offset
        for topic, queue_id, names in directories:
            if self.deleted_topics.get(topic, -1) >= end:
                # The topic was deleted and nothing came after; a crash left its files.
                self._remove_directory(f"{self._paths.consume_queue}/{topic}/{queue_id}", names)
                continue
            self._queues.expired.get(topic, {}).pop(queue_id, None)
            queue = self._queues.find_or_create(topic, queue_id)
            expected = self._offsets.queues.get(topic, {}).get(queue_id) if self.report.clean_stop else None
            whole &= loader.load(queue, names, expected)
            if expected is not None and queue.max_offset < expected:
                whole = False
        self._queues.expired = {topic: dict(ids) for topic, ids in self._offsets.expired_queues.items()}
        for topic, next_offsets in self._offsets.queues.items():
            for queue_id, next_offset in next_offsets.items():
                if next_offset and self._queues.find(topic, queue_id) is None and topic not in self.deleted_topics:
                    whole = False
        if not whole:
            log.warning("consume queue files are missing; they are made again from the whole log")
            return self._log.min_offset
        return dispatch_from

    def _log_has(self, queue: ConsumeQueue, offset: int, physical_offset: int, size: int) -> bool:
        if physical_offset < self._log.min_offset:
            # Its record is gone; an entry that old was on the disk long ago.
            return True
        if physical_offset + size > self._log.wrote_offset:
            return False
        view = read_record(self._log, physical_offset)
        return (
            view is not None
            and view.size == size
            and view.queue_offset == offset
            and view.queue_id == queue.queue_id
            and view.topic == queue.topic
        )

    def _load_index(self, state: SyncedState | None) -> int:
        """Loads the index up to what can be trusted. Returns: physical offset from which records are to be indexed."""
        index = self._index
        if not self._config.message_index_enable:
            return _EVERYTHING
        index.load_files()
        end = self._log.wrote_offset
        if state is not None and (not self.report.clean_stop or self._index_lags(state)):
            index.cut_back(state.index)
        elif state is None and not self.report.clean_stop:
            limit = self.checkpoint.index_msg_timestamp
            for position, item in enumerate(index.files):
                if item.header.end_timestamp > limit or item.header.index_count <= 1:
                    index.remove_from(position)
                    break
        for position, item in enumerate(index.files):
            if item.header.index_count > 1 and item.header.end_phy_offset >= end:
                index.remove_from(position)
                break
        if not index.files:
            return self._log.min_offset
        if state is not None and index.mark() == state.index:
            return min(state.dispatched_offset, end)
        return max(index.covered_offset, self._log.min_offset)

    def _index_lags(self, state: SyncedState) -> bool:
        """After a clean stop: index files went missing, so that what is left is not what D speaks of."""
        return all(item.name != state.index.name for item in self._index.files)

    def _restore_offsets(self) -> None:
        """No queue gives out an offset twice, also when its entries are gone."""
        end = max(self._log.wrote_offset, self.saved.synced_offset)
        for topic, next_offsets in self._offsets.queues.items():
            for queue_id, next_offset in next_offsets.items():
                if not next_offset or topic in self.deleted_topics:
                    continue
                queue = self._queues.find_or_create(topic, queue_id)
                if queue.max_offset < next_offset and (
                    not self._log.files or self._redispatch.may_follow(queue, next_offset, end, self._paths.queue_offsets)
                ):
                    queue.skip_to(next_offset)
                    if queue.dirty:
                        self._redispatch.touched[queue] = None

    def _save(self, end: int) -> None:
        """Queues and index to the disk, then the files that say so."""
        self._redispatch.write_queues()
        self._redispatch.write_index()
        point = self.point
        crc = 0
        if point.record_offset >= 0:
            item = self._log.find_file(point.record_offset)
            if item is not None:
                crc = zlib.crc32(item.file.handle().pread(point.record_size, point.record_offset - item.start))
        self.saved = SyncedState(
            synced_offset=end if point.record_offset >= 0 else 0,
            last_record_offset=point.record_offset,
            last_record_size=point.record_size,
            last_record_crc=crc,
            last_store_timestamp=point.store_timestamp,
            dispatched_offset=end if point.record_offset >= 0 else 0,
            hash_slot_num=self._config.max_hash_slot_num,
            index=self._index.mark(),
        )
        expired = {topic: dict(ids) for topic, ids in self._queues.expired.items() if ids}
        offsets = QueueOffsets(self._queues.next_offsets(), expired, dict(self.deleted_topics))
        self._disk.replace_file(self._paths.queue_offsets, encode_state(offsets), keep_backup=True)
        self._disk.replace_file(self._paths.synced_offset, encode_state(self.saved), keep_backup=True)
        if point.store_timestamp:
            self.checkpoint.physic_msg_timestamp = point.store_timestamp
            self.checkpoint.logics_msg_timestamp = point.store_timestamp
        self.checkpoint.index_msg_timestamp = self.saved.index.end_timestamp
        write_checkpoint(self._disk, self._paths.checkpoint, self.checkpoint)

    def _remove_directory(self, directory: str, names: list[str]) -> None:
        for name in names:
            self._disk.unlink(f"{directory}/{name}")
        self._disk.rmdir(directory)
