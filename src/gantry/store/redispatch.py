"""Queue and index entries made again from the log, for records that lack them."""

from __future__ import annotations

import logging

from gantry._core import ACCEL
from gantry.errors import StoreDamaged
from gantry.model import sys_flag
from gantry.protocol.disk.index_layout import ENTRY_SIZE, decode_entry, entry_position
from gantry.protocol.message.record import RECORD_SIZE_MIN, RecordView
from gantry.runtime.disk import Disk

from .append import is_storable_topic
from .bulk_dispatch import BulkDispatch
from .commit_log import CommitLog
from .config import DamagePolicy, StoreConfig
from .consume_queue import ConsumeQueue, write_queue_units
from .delay_levels import DelayLevels
from .dispatch import enters_queue, index_keys, queue_tags_code
from .index_service import IndexService
from .log_scan import LogScan
from .queue_table import QueueTable
from .results import RecoveryReport

log = logging.getLogger(__name__)

_EVERYTHING = 1 << 62
_INDEX_WRITE_COUNT = 500_000 if ACCEL == "c" else 50_000
_QUEUE_WRITE_COUNT = 500_000


class Redispatch:
    """Step 4 of a recovery (`recovery.py`), and the writing of what it made. Blocking; counts go to `report`.

    `touched` are queues with entries that their files lack.
    """

    def __init__(
        self,
        config: StoreConfig,
        disk: Disk,
        log_: CommitLog,
        *,
        queues: QueueTable,
        index: IndexService,
        delay_levels: DelayLevels,
        deleted_topics: dict[str, int],
        report: RecoveryReport,
        now_ms: int,
    ) -> None:
        self._config = config
        self._disk = disk
        self._log = log_
        self._queues = queues
        self._index = index
        self._delay_levels = delay_levels
        self._deleted_topics = deleted_topics
        self._report = report
        self._now_ms = now_ms
        self.touched: dict[ConsumeQueue, None] = {}

    def run(self, start: int, end: int) -> bool:
        """Gives every record of [start, end) its queue and index entries where they lack them."""
        covered, skip_keys = self._index_coverage()
        if self._report.clean_stop:
            # Who stopped cleanly had indexed its last record whole, by its own rule of what a key is.
            skip_keys = _EVERYTHING
        indexing = self._config.message_index_enable
        written = 0
        bulk = BulkDispatch(
            self._queues,
            self.touched,
            self._deleted_topics,
            self._index.pending if indexing else None,
            covered=covered,
            with_tags=self._config.index_tags_enable,
        )
        for first, last in self._good_ranges(start, end):
            for block in LogScan(self._log, first, check_crc=False, upto=last):
                at = 0
                while at < len(block.starts):
                    at, count = bulk.run(block.data, block.base, block.starts, at)
                    self._report.dispatched_count += count
                    if at < len(block.starts):
                        position = block.starts[at]
                        view = RecordView(block.data, position)
                        self._dispatch_one(view, block.base + position, covered, skip_keys, indexing)
                        at += 1
                # A rebuild of everything must not hold it all in memory.
                if len(self._index.pending) >= _INDEX_WRITE_COUNT:
                    self.write_index()
                if self._report.dispatched_count - written >= _QUEUE_WRITE_COUNT:
                    written = self._report.dispatched_count
                    self.write_queues()
        return self._report.dispatched_count > 0

    def may_follow(self, queue: ConsumeQueue, offset: int, physical_offset: int, what: str) -> bool:
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

    def write_queues(self) -> None:
        for queue in self.touched:
            upto, writes = queue.pending_writes()
            # After a crash the names of files that are there may be in the page cache only.
            writes = [write._replace(fresh=True) for write in writes]
            write_queue_units(self._disk, queue.file_bytes, writes)
            queue.written(upto)
            queue.trim(0)

    def write_index(self) -> None:
        keys = self._index.pending.batch()
        self._index.files = self._index.write_pending(keys, self._now_ms, True)
        self._index.pending.drop(len(keys))

    def _dispatch_one(self, view: RecordView, physical_offset: int, covered: int, skip_keys: int, indexing: bool) -> None:
        topic = view.topic
        if not is_storable_topic(topic):
            log.error("the record at %d has the topic %r, which can name no queue; it is left out", physical_offset, topic[:64])
            return
        properties = view.properties
        kind = view.sys_flag & sys_flag.TRANSACTION_MASK
        added = False
        # A deleted topic's records get no queue entries again; in the index they stay until the log drops them.
        if enters_queue(kind) and physical_offset >= self._deleted_topics.get(topic, -1):
            queue = self._queues.find_or_create(topic, view.queue_id)
            if view.queue_offset >= queue.max_offset and self.may_follow(
                queue, view.queue_offset, physical_offset, f"the record at physical offset {physical_offset}"
            ):
                code = queue_tags_code(topic, properties, view.store_timestamp, self._delay_levels)
                queue.append_at(view.queue_offset, physical_offset, view.size, code)
                self.touched[queue] = None
                added = True
        if indexing and physical_offset >= covered:
            keys = index_keys(properties, kind, self._config.index_tags_enable)
            if physical_offset == covered:
                keys = keys[skip_keys:]
            if keys:
                self._index.add(topic, keys, physical_offset, view.store_timestamp)
                added = True
        self._report.dispatched_count += added

    def _good_ranges(self, start: int, end: int) -> list[tuple[int, int]]:
        """[start, end) without what was fenced."""
        ranges: list[tuple[int, int]] = []
        for low, high in self._report.fenced:
            if high <= start:
                continue
            if low > start:
                ranges.append((start, low))
            start = max(start, high)
        if start < end:
            ranges.append((start, end))
        return ranges

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
