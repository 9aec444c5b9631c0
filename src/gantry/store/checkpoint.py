"""Checkpoints: queues and index on the disk, then the files that say so."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from gantry.errors import DiskError
from gantry.protocol.disk.checkpoint_layout import Checkpoint, encode_checkpoint
from gantry.runtime.clock import Clock, TimerHandle
from gantry.runtime.disk import Disk

from .commit_log import CommitLog
from .config import StoreConfig, StorePaths
from .consume_queue import ConsumeQueue, QueueWrite, write_queue_units
from .disk_state import DiskState
from .flush import FlushService
from .index_file import IndexFile
from .index_service import IndexService
from .own_state import IndexMark, QueueOffsets, SyncedState, encode_state
from .pending_keys import KeyBatch
from .queue_table import QueueTable

log = logging.getLogger(__name__)

_CANDIDATES_MAX = 64
_YIELD_EVERY = 1_000  # queues, before others have their turn


class LogPoint(NamedTuple):
    """An end of the log between two records, and the record before it. Units: bytes, ms; record_offset -1: no record."""

    end: int
    record_offset: int
    record_size: int
    store_timestamp: int


class CheckpointJob(NamedTuple):
    """What one checkpoint writes: everything that follows from the log below `point.end`."""

    point: LogPoint
    queues: list[tuple[ConsumeQueue, int, list[QueueWrite]]]
    keys: KeyBatch


class CheckpointWriter:
    """Brings queues and index to the disk from time to time, so that a restart has little to dispatch again.

    run() returns True when every queue and index entry of the log as it was at the call is on the disk, and says so in
    `gantry/syncedOffset.json` and `checkpoint`. Order: log synced, queue files, index files, synced-offset file, checkpoint.
    Between checkpoints the synced offset alone is saved once a second. Appends go on meanwhile. `lock` keeps
    checkpoints and the removal of queue files apart.
    """

    def __init__(
        self,
        config: StoreConfig,
        paths: StorePaths,
        disk: Disk,
        clock: Clock,
        *,
        log_: CommitLog,
        queues: QueueTable,
        index: IndexService,
        flush: FlushService,
        state: DiskState,
        on_failure: Callable[[DiskError], None],
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._paths = paths
        self._disk = disk
        self._clock = clock
        self._log = log_
        self._queues = queues
        self._index = index
        self._flush = flush
        self._state = state
        self._on_failure = on_failure
        self._on_tick = on_tick
        self.lock = asyncio.Lock()
        self.touched: list[ConsumeQueue] = []
        """Queues with entries that their files lack."""
        self.deleted_topics: dict[str, int] = {}
        self._last = LogPoint(0, -1, 0, 0)
        self.newest: tuple[int, tuple[int, int], int] | None = None
        """Of the newest commit since `last_point` was asked for: the log's end, place and size of its last record, its time."""
        self._saved = SyncedState()
        self._saved_changes = 0
        self._checkpoint = Checkpoint()
        self._dispatched_timestamp = 0
        self._candidates: deque[LogPoint] = deque(maxlen=_CANDIDATES_MAX)
        self._warm: OrderedDict[ConsumeQueue, int] = OrderedDict()
        self._warm_bytes = 0
        self._last_run_ms = 0
        self._last_save_ms = 0
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None

    def adopt(self, checkpoint: Checkpoint, saved: SyncedState, point: LogPoint) -> None:
        """Begins where recovery ended."""
        self._checkpoint = checkpoint
        self._saved = saved
        self._last, self.newest = point, None
        self._dispatched_timestamp = point.store_timestamp

    @property
    def last_point(self) -> LogPoint:
        """The log as it is now."""
        if self.newest is not None:
            end, record, timestamp = self.newest
            self._last, self.newest = LogPoint(end, *record, timestamp), None
        return self._last

    def start(self) -> None:
        self._last_run_ms = self._last_save_ms = self._clock.monotonic_ms()
        self._schedule()

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await self._task

    def forget(self, queue: ConsumeQueue) -> None:
        """The queue was removed: nothing of it is written any more."""
        if queue in self.touched:
            self.touched.remove(queue)
        self._warm_bytes -= self._warm.pop(queue, 0)

    def queue_offsets(self) -> QueueOffsets:
        minimum = self._log.min_offset
        # A tombstone has done its work once no record of before it is left.
        self.deleted_topics = {topic: end for topic, end in self.deleted_topics.items() if end > minimum}
        expired = {topic: dict(offsets) for topic, offsets in self._queues.expired.items() if offsets}
        return QueueOffsets(self._queues.next_offsets(), expired, dict(self.deleted_topics))

    async def save_queue_offsets(self) -> None:
        """The next offset of every queue, durably; the log is synced first, for an offset must not outlive its record.

        Raises: DiskError.
        """
        changes = self._queues.changes
        data = encode_state(self.queue_offsets())
        if not await self._flush.flush():
            assert self._flush.failed is not None
            raise self._flush.failed
        await self._disk.run(self._replace, self._paths.queue_offsets, data)
        self._saved_changes = changes

    # --- timing

    def _schedule(self) -> None:
        self._timer = self._clock.call_later(self._config.flush_interval_consume_queue, self._tick)

    def _tick(self) -> None:
        self._schedule()
        self._on_tick()
        if self._log.wrote_offset > self._saved.synced_offset and (
            not self._candidates or self._candidates[-1].end < self._log.wrote_offset
        ):
            self._candidates.append(self.last_point)
        if self._task is not None or self._state.failure is not None:
            return
        if self._is_due():
            self._begin(self.run())
        elif self._clock.monotonic_ms() - self._last_save_ms >= self._config.synced_offset_interval_ms:
            self._begin(self._save_synced())

    def _begin(self, work: object) -> None:
        async def guarded() -> None:
            try:
                await work  # type: ignore[misc]
            except Exception:
                log.exception("checkpoint failed")
            finally:
                self._task = None

        self._task = asyncio.get_running_loop().create_task(guarded())

    def _is_due(self) -> bool:
        if not self.touched and not self._index.pending:
            return False
        behind = self._log.wrote_offset - self._saved.dispatched_offset
        return (
            behind >= self._config.checkpoint_bytes
            or len(self._index.pending) >= self._config.index_pending_count_max
            or self._clock.monotonic_ms() - self._last_run_ms >= self._config.flush_consume_queue_thorough_interval
        )

    # --- the work

    async def run(self, *, final: bool = False) -> bool:
        """One checkpoint now; `final` also saves the queues' next offsets. False when the disk would not have it."""
        async with self.lock:
            if self._state.failure is not None:
                return False
            self._last_run_ms = self._clock.monotonic_ms()
            job = await self._collect()
            if not await self._flush.flush():
                self._give_back(job)
                return False
            now_ms = self._clock.now_ms()
            try:
                files = await self._disk.run(self._write, job, now_ms)
            except DiskError as error:
                self._give_back(job)
                self._on_failure(error)
                return False
            await self._take_over(job, files)
            try:
                await self._disk.run(self._save, job.point, job.point, self._index.mark(), True)
                if final or self._queues.changes != self._saved_changes:
                    # Queues by name, too: a later start must notice when the files of one are missing.
                    await self.save_queue_offsets()
            except DiskError as error:
                self._on_failure(error)
                return False
            return True

    async def _collect(self) -> CheckpointJob:
        """What is to be written for the log as it is now; sends go on meanwhile where many queues have something."""
        point, keys = self.last_point, self._index.pending.batch()
        touched, self.touched = self.touched, []
        queues = []
        for position, queue in enumerate(touched):
            # A queue that is looked at later may have entries above the point by then: they are written early.
            upto, writes = queue.pending_writes()
            queues.append((queue, upto, writes))
            # An append from now on must put the queue on the list again.
            queue.dirty = False
            if position % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        return CheckpointJob(point, queues, keys)

    def _give_back(self, job: CheckpointJob) -> None:
        known = set(self.touched)
        for queue, _, _ in job.queues:
            queue.dirty = True
            if queue not in known:
                self.touched.append(queue)

    def _write(self, job: CheckpointJob, now_ms: int) -> list[IndexFile]:
        # One sync of the file system instead of one a file, where there are many: 40,000 queues would take seconds.
        together = len(job.queues) > self._config.checkpoint_syncs_max
        for queue, _, writes in job.queues:
            write_queue_units(self._disk, queue.file_bytes, writes, sync=not together)
        if together:
            self._disk.sync_all(self._paths.consume_queue)
        return self._index.write_pending(job.keys, now_ms, True)

    async def _take_over(self, job: CheckpointJob, files: list[IndexFile]) -> None:
        for position, (queue, upto, _) in enumerate(job.queues):
            if position % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
            held = queue.written(upto)
            self._warm_bytes += held - self._warm.pop(queue, 0)
            self._warm[queue] = held
        while self._warm_bytes > self._config.queue_tail_bytes_max and self._warm:
            queue, held = self._warm.popitem(last=False)
            self._warm_bytes -= held
            queue.trim(0)
        self._index.files = files
        self._index.pending.drop(len(job.keys))

    async def _save_synced(self) -> None:
        """Saves the newest candidate that the log's syncs have passed."""
        self._last_save_ms = self._clock.monotonic_ms()
        point: LogPoint | None = None
        while self._candidates and self._candidates[0].end <= self._log.flushed_offset:
            point = self._candidates.popleft()
        if point is None or point.end <= self._saved.synced_offset:
            return
        async with self.lock:
            try:
                await self._disk.run(self._save, point, None, None, False)
            except DiskError as error:
                self._on_failure(error)

    def _save(self, synced: LogPoint, dispatched: LogPoint | None, mark: IndexMark | None, checkpoint: bool) -> None:
        """Blocking. Writes the synced-offset file and, after it, the checkpoint."""
        saved = self._saved
        state = SyncedState(
            synced_offset=synced.end,
            last_record_offset=synced.record_offset,
            last_record_size=synced.record_size,
            last_record_crc=self._record_crc(synced),
            last_store_timestamp=synced.store_timestamp,
            dispatched_offset=dispatched.end if dispatched is not None else saved.dispatched_offset,
            hash_slot_num=self._config.max_hash_slot_num,
            index=mark if mark is not None else saved.index,
        )
        self._replace(self._paths.synced_offset, encode_state(state))
        self._saved = state
        if checkpoint:
            self._checkpoint.physic_msg_timestamp = synced.store_timestamp
            self._checkpoint.logics_msg_timestamp = synced.store_timestamp
            if mark is not None:
                self._checkpoint.index_msg_timestamp = mark.end_timestamp
            write_checkpoint(self._disk, self._paths.checkpoint, self._checkpoint)

    def _record_crc(self, point: LogPoint) -> int:
        if point.record_offset < 0:
            return 0
        item = self._log.find_file(point.record_offset)
        if item is None:
            return 0
        return zlib.crc32(item.file.handle().pread(point.record_size, point.record_offset - item.start))

    def _replace(self, path: str, data: bytes) -> None:
        self._disk.replace_file(path, data, keep_backup=True)


def write_checkpoint(disk: Disk, path: str, checkpoint: Checkpoint) -> None:
    """Puts the checkpoint into its file, in place as the original does: its fields share one sector. Blocking."""
    file = disk.open(path, create=True)
    try:
        file.pwrite(encode_checkpoint(checkpoint), 0)
        file.sync()
    finally:
        file.close()
