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

import msgspec

from gantry._core import ACCEL
from gantry.errors import StoreDamaged
from gantry.model import sys_flag
from gantry.protocol.disk.checkpoint_layout import Checkpoint, decode_checkpoint
from gantry.protocol.disk.index_layout import ENTRY_SIZE, decode_entry, entry_position
from gantry.protocol.message.record import RECORD_SIZE_MIN, RecordView
from gantry.runtime.disk import Disk
from gantry.runtime.replace import load_file

from .append import is_storable_topic
from .bulk_dispatch import BulkDispatch
from .checkpoint import LogPoint, write_checkpoint
from .commit_log import CommitLog, LogFile
from .config import DamagePolicy, StoreConfig, StorePaths
from .consume_queue import ConsumeQueue, write_queue_units
from .delay_levels import DelayLevels
from .dispatch import enters_queue, index_keys, queue_tags_code
from .index_service import IndexService
from .log_scan import LogScan, ScanBlock, last_nonzero, next_record, read_record
from .own_state import (
    QueueOffsets,
    SyncedState,
    decode_queue_offsets,
    decode_synced_state,
    encode_state,
)
from .queue_loader import QueueLoader
from .queue_table import QueueTable

log = logging.getLogger(__name__)

_ZERO_CHUNK = 1 << 20
_COPY_CHUNK = 1 << 20
_EVERYTHING = 1 << 62
_INDEX_WRITE_COUNT = 500_000 if ACCEL == "c" else 50_000
_QUEUE_WRITE_COUNT = 500_000


class RecoveryReport(msgspec.Struct):
    """What a start found and did. Units: bytes, offsets of the log; counts as named."""

    clean_stop: bool = True
    own_state_matched: bool = True
    scanned_from: int = 0
    end: int = 0
    cut_bytes: int = 0
    side_file: str = ""
    fenced: list[tuple[int, int]] = msgspec.field(default_factory=list)
    dispatched_count: int = 0


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
        self._delay_levels = delay_levels
        self._now_ms = now_ms
        self.report = RecoveryReport()
        self.checkpoint = Checkpoint()
        self.saved = SyncedState()
        self.point = LogPoint(0, -1, 0, 0)
        self.deleted_topics: dict[str, int] = {}
        self._offsets = QueueOffsets()
        self._touched: dict[ConsumeQueue, None] = {}

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
        self.deleted_topics = dict(self._offsets.deleted_topics)

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
            raise StoreDamaged(_damage_text(self._log, scan.end.offset, state.synced_offset))
        view = read_record(self._log, state.last_record_offset)
        if (
            view is not None
            and view.size == state.last_record_size
            and view.physical_offset == state.last_record_offset
            and view.store_timestamp == state.last_store_timestamp
        ):
            raise StoreDamaged(_damage_text(self._log, state.last_record_offset, state.synced_offset))

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
        if state is None or self._touched:
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
        end = self._find_end(scan_start, synced)
        self._log.wrote_offset = self._log.flushed_offset = self.report.end = end
        if self.point.record_offset < 0 and state is not None and state.has_record and state.synced_offset == end:
            # Nothing was scanned: the record before the end is the one known from the last time.
            self.point = LogPoint(end, state.last_record_offset, state.last_record_size, state.last_store_timestamp)
        if not self._is_settled(state, end):
            self._cut(end)
            self._write_again(max(synced, scan_start), end)
        dispatch_from = self._load_queues(directories, state, scan_start, end)
        index_from = self._load_index(state)
        # What was dispatched last may lie below a log that has lost its beginning: there is nothing to walk there.
        changed = self._dispatch(max(min(dispatch_from, index_from), self._log.min_offset), end)
        self._restore_offsets()
        if changed or self._touched or not self._is_settled(state, end):
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

    def _find_end(self, start: int, synced: int) -> int:
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
                raise StoreDamaged(_damage_text(self._log, end, synced))
            following = next_record(self._log, end + 1, self._log.files_end)
            stop = following if following is not None else max(synced, end)
            self.report.side_file = self._keep_aside(end, stop)
            self.report.fenced.append((end, stop))
            log.error("commit log [%d, %d) is damaged and fenced; a copy is in %s", end, stop, self.report.side_file)
            if following is None:
                # The damage reaches the end: writing goes on behind it, offsets below S are never given out again.
                return -(-stop // self._log.file_size) * self._log.file_size
            start = following

    def _torn_above(self, synced: int) -> int | None:
        """From where on a record may have been torn by a power cut; None after a clean stop."""
        return None if self.report.clean_stop else synced

    def _note_last(self, block: ScanBlock) -> None:
        view = RecordView(block.data, block.starts[-1])
        offset = block.base + view.start
        self.point = LogPoint(offset + view.size, offset, view.size, view.store_timestamp)

    # --- the cut

    def _cut(self, end: int) -> None:
        """Makes sure that nothing behind the log's end can be taken for a record, now or at any later start."""
        tail = last_nonzero(self._log, end)
        if tail > end:
            self.report.cut_bytes = tail - end
            if next_record(self._log, end, tail) is not None:
                self.report.side_file = self._keep_aside(end, tail)
            log.warning(
                "commit log is cut at %d, %d bytes behind it are dropped%s",
                end,
                tail - end,
                f" (kept in {self.report.side_file})" if self.report.side_file else "",
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

    def _write_again(self, start: int, end: int) -> None:
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

    def _dispatch(self, start: int, end: int) -> bool:
        """Gives every record of [start, end) its queue and index entries where they lack them."""
        covered, skip_keys = self._index_coverage()
        if self.report.clean_stop:
            # Who stopped cleanly had indexed its last record whole, by its own rule of what a key is.
            skip_keys = _EVERYTHING
        indexing = self._config.message_index_enable
        written = 0
        bulk = BulkDispatch(
            self._queues,
            self._touched,
            self.deleted_topics,
            self._index.pending if indexing else None,
            covered=covered,
            with_tags=self._config.index_tags_enable,
        )
        for first, last in self._good_ranges(start, end):
            for block in LogScan(self._log, first, check_crc=False, upto=last):
                at = 0
                while at < len(block.starts):
                    at, count = bulk.run(block.data, block.base, block.starts, at)
                    self.report.dispatched_count += count
                    if at < len(block.starts):
                        position = block.starts[at]
                        view = RecordView(block.data, position)
                        self._dispatch_one(view, block.base + position, covered, skip_keys, indexing)
                        at += 1
                # A rebuild of everything must not hold it all in memory.
                if len(self._index.pending) >= _INDEX_WRITE_COUNT:
                    self._write_index()
                if self.report.dispatched_count - written >= _QUEUE_WRITE_COUNT:
                    written = self.report.dispatched_count
                    self._write_queues()
        return self.report.dispatched_count > 0

    def _good_ranges(self, start: int, end: int) -> list[tuple[int, int]]:
        """[start, end) without what was fenced."""
        ranges: list[tuple[int, int]] = []
        for low, high in self.report.fenced:
            if high <= start:
                continue
            if low > start:
                ranges.append((start, low))
            start = max(start, high)
        if start < end:
            ranges.append((start, end))
        return ranges

    def _dispatch_one(self, view: RecordView, physical_offset: int, covered: int, skip_keys: int, indexing: bool) -> None:
        topic = view.topic
        if not is_storable_topic(topic):
            log.error("the record at %d has the topic %r, which can name no queue; it is left out", physical_offset, topic[:64])
            return
        properties = view.properties
        kind = view.sys_flag & sys_flag.TRANSACTION_MASK
        added = False
        # A deleted topic's records get no queue entries again; in the index they stay until the log drops them.
        if enters_queue(kind) and physical_offset >= self.deleted_topics.get(topic, -1):
            queue = self._queues.find_or_create(topic, view.queue_id)
            if view.queue_offset >= queue.max_offset and self._may_follow(
                queue, view.queue_offset, physical_offset, f"the record at physical offset {physical_offset}"
            ):
                code = queue_tags_code(topic, properties, view.store_timestamp, self._delay_levels)
                queue.append_at(view.queue_offset, physical_offset, view.size, code)
                self._touched[queue] = None
                added = True
        if indexing and physical_offset >= covered:
            keys = index_keys(properties, kind, self._config.index_tags_enable)
            if physical_offset == covered:
                keys = keys[skip_keys:]
            if keys:
                self._index.add(topic, keys, physical_offset, view.store_timestamp)
                added = True
        self.report.dispatched_count += added

    def _may_follow(self, queue: ConsumeQueue, offset: int, physical_offset: int, what: str) -> bool:
        """Whether a queue may go on at `offset`, with fillers for what is missing: their records fit into the log before.

        No checksum covers the queue offset of a record, and a wrong one would have the memory filled with fillers.
        Raises: StoreDamaged, unless damage is fenced: the caller leaves it out then.
        """
        missing, room = offset - queue.max_offset, physical_offset - max(queue.last_physical_end, 0)
        if missing * RECORD_SIZE_MIN <= room:
            return True
        text = (
            f"{what} has offset {offset} of queue {queue.queue_id} of topic {queue.topic}, which ends at {queue.max_offset}: "
            f"{missing} records do not fit into the {room} bytes of the log between"
        )
        if self._config.damage_policy is DamagePolicy.STOP:
            raise StoreDamaged(
                f"{text}; the store is not opened. Restore the file from a replica or backup, or set the damage policy to "
                "fence what is damaged."
            )
        log.error("%s; it is left out", text)
        return False

    def _index_coverage(self) -> tuple[int, int]:
        """Physical offset of the newest indexed record, and how many of its keys are in the index already."""
        files = self._index.files
        if not files:
            return -1, 0
        covered = self._index.covered_offset
        count = 0
        for item in reversed(files):
            number = item.header.index_count - 1
            while number >= 1:
                data = item.file.handle().pread(ENTRY_SIZE, entry_position(item.slot_count, number))
                if decode_entry(data)[1] != covered:
                    return covered, count
                count += 1
                number -= 1
        return covered, count

    def _restore_offsets(self) -> None:
        """No queue gives out an offset twice, also when its entries are gone."""
        end = max(self._log.wrote_offset, self.saved.synced_offset)
        for topic, next_offsets in self._offsets.queues.items():
            for queue_id, next_offset in next_offsets.items():
                if not next_offset or topic in self.deleted_topics:
                    continue
                queue = self._queues.find_or_create(topic, queue_id)
                if queue.max_offset < next_offset and (
                    not self._log.files or self._may_follow(queue, next_offset, end, self._paths.queue_offsets)
                ):
                    queue.skip_to(next_offset)
                    if queue.dirty:
                        self._touched[queue] = None

    def _write_queues(self) -> None:
        for queue in self._touched:
            upto, writes = queue.pending_writes()
            # After a crash the names of files that are there may be in the page cache only.
            writes = [write._replace(fresh=True) for write in writes]
            write_queue_units(self._disk, queue.file_bytes, writes)
            queue.written(upto)
            queue.trim(0)

    def _write_index(self) -> None:
        keys = self._index.pending.batch()
        self._index.files = self._index.write_pending(keys, self._now_ms, True)
        self._index.pending.drop(len(keys))

    def _save(self, end: int) -> None:
        """Queues and index to the disk, then the files that say so."""
        self._write_queues()
        self._write_index()
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


def _damage_text(log_: CommitLog, offset: int, synced: int) -> str:
    item = log_.find_file(offset)
    place = item.path if item is not None else "no file"
    return (
        f"the commit log is damaged at physical offset {offset} in {place}, and everything below {synced} was synced; "
        "the store is not opened. Restore the file from a replica or backup, or set the damage policy to fence the range."
    )
