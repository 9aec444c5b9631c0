"""The store's door: append, read, keep safe. See `MessageStore`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from gantry.errors import DiskError, DiskFull
from gantry.model import StoreMessage
from gantry.protocol.disk.consume_queue_unit import UNIT_SIZE, decode_unit
from gantry.protocol.message.record import RecordView
from gantry.runtime.clock import Clock, TimerHandle
from gantry.runtime.disk import Disk, DiskLock
from gantry.runtime.replace import make_dirs_synced
from gantry.runtime.rng import Rng

from .append import AppendPlan, ArrivalListener, PlanRules
from .appender import Appender
from .checkpoint import CheckpointWriter
from .cleanup import CleanupService
from .commit_log import CommitLog
from .config import StoreConfig, StorePaths
from .consume_queue import ConsumeQueue
from .delay_levels import DelayLevels
from .disk_state import DiskState
from .files_ahead import FilesAhead
from .flush import FlushService
from .index_service import IndexService
from .log_scan import LogScan, read_record
from .open_file import OpenFileCache
from .own_state import QueueOffsets
from .queue_table import QueueTable
from .reader import Reader, RecordFilter, TagsFilter
from .recovery import Recovery
from .results import GetResult, PutResult, QueryResult, RecoveryReport
from .stats import StoreStats
from .status import BoundaryType, PutStatus
from .steps import Steps, complete, run_steps

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_RETRY_SPACE_MS = 1000
_SYNC = "sync"


class MessageStore:
    """Messages of one broker on one directory, in the official formats.

    Appending is four synchronous calls with nothing between them, one plan at a time:
        plan = new_plan(); plan.add(message) ...     pure: places and offsets
        write(plan)                                  the bytes are in the page cache: survive a killed process
        commit(plan)                                 the records are part of the store; or abort(plan): everything as before
        durable(plan)                                a future for whoever must wait for the disk (SYNC_FLUSH), else None
    put() does all of it for one message.

    What readers see ends at the safe offset: under SYNC_FLUSH the synced end of the log, otherwise its end. max_offset, get,
    searches and `on_arrive` all stop there. Order of writes: log, sync of the log, queues, index, synced-offset file,
    checkpoint; recovery reads in that order. Owned by one event loop.

    Reads return their result at once while the page cache has the data, otherwise an awaitable of it: callers test with
    `isinstance(result, Awaitable)` or use the `async` ones.
    """

    def __init__(
        self,
        config: StoreConfig,
        *,
        disk: Disk,
        clock: Clock,
        rng: Rng,
        on_arrive: ArrivalListener | None = None,
    ) -> None:
        self.config = config
        self.paths = StorePaths(config.store_path_root_dir)
        self.delay_levels = DelayLevels(config.message_delay_level)
        self.stats = StoreStats(clock)
        self.state = DiskState()
        self.recovery_report: RecoveryReport | None = None
        self._disk = disk
        self._clock = clock
        self._rng = rng
        self._files = OpenFileCache(disk, config.open_queue_files_max)
        self._log = CommitLog(config, self.paths, disk)
        self._queues = QueueTable(config, self.paths, self._files)
        self._index = IndexService(config, self.paths, disk)
        self._reader = Reader(config, self._log, self._queues, self._index)
        self._flush = FlushService(
            config, self._log, disk, clock, on_flushed=lambda: self.appender.on_flushed(), on_failure=self._on_failure
        )
        self._checkpoint = CheckpointWriter(
            config,
            self.paths,
            disk,
            clock,
            log_=self._log,
            queues=self._queues,
            index=self._index,
            flush=self._flush,
            state=self.state,
            on_failure=self._on_failure,
            on_tick=self.stats.sample,
        )
        self._cleanup = CleanupService(
            config,
            self.paths,
            disk,
            clock,
            log_=self._log,
            queues=self._queues,
            index=self._index,
            state=self.state,
            checkpoint=self._checkpoint,
        )
        self._files_ahead = FilesAhead(
            self._log,
            disk,
            clock,
            self.state,
            window_bytes=config.prefault_window_bytes,
            spawn=self._spawn,
            on_full=self._on_full,
            on_failure=self._on_failure,
        )
        self.appender = Appender(
            config,
            clock,
            log_=self._log,
            rules=PlanRules(config.mapped_file_size_commit_log, self._queues.find_or_create, self.delay_levels),
            index=self._index,
            flush=self._flush,
            checkpoint=self._checkpoint,
            files_ahead=self._files_ahead,
            state=self.state,
            stats=self.stats,
            on_full=self._on_full,
            on_failure=self._on_failure,
            on_arrive=on_arrive,
        )
        """What new_plan() and the like do, for the hot path."""
        self._sync_flush = config.is_sync_flush
        self._queues.before_removal = self.appender.settle
        self._lock: DiskLock | None = None
        self._retry: TimerHandle | None = None
        self._started = False
        self._loaded = False
        self._background: set[asyncio.Task[None]] = set()

    # --- life

    async def load(self) -> None:
        """Takes the lock and recovers; afterwards reads work.

        Raises: StoreLocked when another process has the directory, StoreDamaged when bytes below the synced offset are not
                what was written, DiskError.
        """
        self._lock = await self._disk.run(self._take_lock)
        try:
            recovery = Recovery(
                self.config,
                self.paths,
                self._disk,
                log_=self._log,
                queues=self._queues,
                index=self._index,
                delay_levels=self.delay_levels,
                now_ms=self._clock.now_ms(),
            )
            self.recovery_report = await self._disk.run(recovery.run)
        except BaseException:
            self._lock.release()
            self._lock = None
            raise
        self._checkpoint.deleted_topics = recovery.deleted_topics
        self._checkpoint.adopt(recovery.checkpoint, recovery.saved, recovery.point)
        self._loaded = True
        log.info("message store recover end, and the max phy offset = %d", self._log.wrote_offset)

    async def start(self) -> None:
        """Marks the store as in use (abort file) and begins flushing, checkpoints and retention."""
        await self._disk.run(self._write_abort_file)
        self._started = True
        self._flush.start()
        self._checkpoint.start()
        await self._cleanup.start()
        self._files_ahead.start()

    async def shutdown(self) -> None:
        """Everything on the disk, abort file removed, lock released; a restart then has nothing to do again."""
        self.appender.settle()
        self.state.shut_down = True
        if self._retry is not None:
            self._retry.cancel()
        for task in list(self._background):
            await task
        await self._cleanup.stop()
        clean = True
        if self._loaded:
            clean = await self._flush.flush()
        await self._checkpoint.stop()
        clean = clean and self.state.failure is None
        if clean and self._loaded:
            clean = await self._checkpoint.run(final=True)
        await self._flush.stop()
        if clean and self._started:
            await self._disk.run(self._remove_abort_file)
        elif self._started:
            log.warning("the store was not brought down cleanly; the abort file stays and the next start recovers")
        self._log.close()
        self._index.close()
        self._files.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._started = self._loaded = False

    def _take_lock(self) -> DiskLock:
        make_dirs_synced(self._disk, self.paths.root)
        return self._disk.lock(self.paths.lock)

    def _write_abort_file(self) -> None:
        path = self.paths.abort
        if self._disk.exists(path):
            self._disk.unlink(path)
        file = self._disk.open(path, create=True)
        try:
            file.pwrite(str(os.getpid()).encode(), 0)
            file.sync()
        finally:
            file.close()
        self._disk.sync_dir(self.paths.root)

    def _remove_abort_file(self) -> None:
        if self._disk.exists(self.paths.abort):
            self._disk.unlink(self.paths.abort)
        self._disk.sync_dir(self.paths.root)

    # --- appending

    def new_plan(self) -> AppendPlan:
        """A plan at the log's end. One is open at a time: commit or abort it before the next.

        Raises: StoreReadOnly when the store takes no messages (see writable_reason).
        """
        return self.appender.new_plan()

    def settle(self) -> None:
        """The plan that somebody may have open is over when this returns."""
        self.appender.settle()

    def new_rescue_plan(self) -> AppendPlan:
        """As new_plan(), also while the disk counts as too full: for what must be appended before room can be made."""
        over_ratio, self.state.over_ratio = self.state.over_ratio, None
        try:
            return self.appender.new_plan()
        finally:
            self.state.over_ratio = over_ratio

    def write(self, plan: AppendPlan) -> None:
        """Puts the plan's bytes into the log: one Disk call for each file they touch.

        Raises: DiskFull (the plan is to be aborted; writing resumes when space is back), DiskFault (the store is read-only
                from now on).
        """
        self.appender.write(plan)

    def commit(self, plan: AppendPlan) -> None:
        """Makes the written records real: queue entries, index entries, offsets; wakes whoever waits for them once safe."""
        self.appender.commit(plan)

    def abort(self, plan: AppendPlan) -> None:
        """Forgets the plan: offsets, queues and index are as before, and what was written cannot come back after a crash."""
        self.appender.abort(plan)

    def durable(self, plan: AppendPlan) -> asyncio.Future[PutStatus] | None:
        """When the plan's records are as safe as SYNC_FLUSH promises; None when nobody has to wait for that."""
        return self.appender.durable(plan)

    async def put(self, message: StoreMessage) -> PutResult:
        """Appends one message and waits as its mode asks. Never raises for what has an official status."""
        return await self.appender.put([message], batch=False)

    async def put_batch(self, messages: Iterable[StoreMessage]) -> PutResult:
        """Appends messages of one batch, all or none."""
        return await self.appender.put(list(messages), batch=True)

    # --- reactions

    def _on_failure(self, error: DiskError) -> None:
        if isinstance(error, DiskFull) and not error.op.startswith(_SYNC):
            self._on_full(error)
            return
        # A failed sync is final whatever its reason: the pages it was to bring to the disk may be gone.
        if self.state.failure is None:
            self.state.failure = error
            log.error("the store is read-only from now on: %s", error)

    def _on_full(self, error: DiskFull) -> None:
        if self.state.full_reason is None:
            self.state.full_reason = f"the disk is full: {error}"
            log.error("the disk is full, messages are refused until there is space: %s", error)
        if self._retry is None and not self.state.shut_down:
            self._retry = self._clock.call_later(_RETRY_SPACE_MS, self._retry_space)

    def _retry_space(self) -> None:
        """After a full disk: try again what failed; when it works the store takes messages again."""
        self._retry = None
        self._spawn(self._try_space())

    async def _try_space(self) -> None:
        if self.state.full_reason is None or self.state.failure is not None:
            return
        self.state.full_reason = None
        await self._files_ahead.allocate(needed=True)
        if self.state.full_reason is None:
            await self._checkpoint.run()
        if self.state.full_reason is None:
            log.info("there is space on the disk again, the store takes messages")

    def _spawn(self, work: Awaitable[object]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception:
                log.exception("background work of the store failed")

        task = asyncio.get_running_loop().create_task(guarded())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # --- reading

    def get(
        self,
        topic: str,
        queue_id: int,
        offset: int,
        max_count: int,
        max_bytes: int = 128 << 20,
        filter: TagsFilter | None = None,
        record_filter: RecordFilter | None = None,
    ) -> GetResult | Awaitable[GetResult]:
        """Messages of a queue from `offset` on; `filter` sees each entry's tagsCode, `record_filter` the record behind it.

        Returns: the result, or an awaitable of it when it must be read from the disk. Views are whole stored records.
        Raises:  RecordCorrupt (now or from the awaitable) when a record on the disk is not what was written: it is neither
                 delivered nor skipped.
        """
        result = self._now(self._reader.get_steps(topic, queue_id, offset, max_count, max_bytes, filter, record_filter))
        if isinstance(result, GetResult):
            self.stats.count_get(len(result.views))
            if result.cold_bytes and self.config.cold_data_scan_enable:
                result.cold_bytes = 0  # the page cache had all of it
            return result
        return self._count_later(result)

    async def _count_later(self, reading: Awaitable[GetResult]) -> GetResult:
        result = await reading
        self.stats.count_get(len(result.views))
        return result

    async def first_offset(self, topic: str, queue_id: int) -> int:
        """First offset whose message is still there; 0 for an unknown queue."""
        queue = self._queues.find(topic, queue_id)
        if queue is None:
            return 0
        return await complete(self._disk, self._reader.min_offset_steps(queue))

    def min_offset(self, topic: str, queue_id: int) -> int:
        """`first_offset` without waiting for the disk: while the queue's files are looked up, the one known before."""
        queue = self._queues.find(topic, queue_id)
        if queue is None:
            return 0
        if queue.checked_physical_min != self._log.min_offset:
            self._correct_min(queue)
        return min(queue.min_offset, queue.visible_offset)

    def max_offset(self, topic: str, queue_id: int) -> int:
        """Offset after the newest message that readers may see; 0 for an unknown queue."""
        queue = self._queues.find(topic, queue_id)
        return queue.visible_offset if queue is not None else 0

    async def search_offset_by_time(
        self, topic: str, queue_id: int, timestamp: int, boundary: BoundaryType = BoundaryType.LOWER
    ) -> int:
        """See Reader.search_by_time_steps; 0 for an unknown queue. Units: ms."""
        queue = self._queues.find(topic, queue_id)
        if queue is None:
            return 0
        return await complete(self._disk, self._reader.search_by_time_steps(queue, timestamp, boundary))

    async def earliest_store_time(self, topic: str, queue_id: int) -> int:
        """storeTimestamp of the queue's first message; -1 when it has none."""
        queue = self._queues.find(topic, queue_id)
        if queue is None:
            return -1
        first = await complete(self._disk, self._reader.min_offset_steps(queue))
        return await complete(self._disk, self._reader.store_time_steps(queue, first))

    async def store_time_at(self, topic: str, queue_id: int, offset: int) -> int:
        """storeTimestamp of the message at a queue offset; -1 when it is not there."""
        queue = self._queues.find(topic, queue_id)
        if queue is None:
            return -1
        return await complete(self._disk, self._reader.store_time_steps(queue, offset))

    async def message_at(self, physical_offset: int) -> bytes | memoryview | None:
        """The whole stored record that begins at this physical offset; None when none does."""
        return await complete(self._disk, self._reader.record_at_steps(physical_offset, self.safe_offset))

    def record(self, physical_offset: int, size: int) -> bytes | memoryview | Awaitable[bytes | memoryview | None] | None:
        """The record that is known to lie there; None when the log does not hold it any more.

        Raises: RecordCorrupt (now or from the awaitable) when something else is there.
        """
        return self._now(self._log.record_steps(physical_offset, size))

    async def scan_records(self, start: int, visit: Callable[[RecordView], object]) -> None:
        """Shows every record from a place on where one begins, in the order of the log, to `visit`, which runs off the loop."""

        def scan() -> None:
            for block in LogScan(self._log, max(start, self._log.min_offset), check_crc=False, upto=self._log.wrote_offset):
                for at in block.starts:
                    visit(RecordView(block.data, at))

        await self._disk.run(scan)

    def log_start_by_time(self, before_ms: int) -> int:
        """Where the newest file of the log begins whose first record was stored before a time; else the oldest. Blocking."""
        for item in reversed(self._log.files):
            first = read_record(self._log, item.start)
            if first is not None and first.store_timestamp < before_ms:
                return item.start
        return self._log.min_offset

    async def query_by_key(self, topic: str, key: str, max_count: int, begin: int, end: int) -> QueryResult:
        """Records of the topic that carry the key, stored within [begin, end] ms; at most maxMsgsNumBatch."""
        return await complete(self._disk, self._reader.query_steps(topic, key, max_count, begin, end, self.safe_offset))

    async def index_offsets(self, topic: str, key: str, max_count: int) -> list[int]:
        """Physical offsets of records that may carry the key, newest first; hashes may collide."""
        return await complete(self._disk, self._reader.index_steps(topic, key, max_count))

    async def earliest_message_time(self) -> int:
        """storeTimestamp of the log's first record; -1 when it is empty."""
        size = await complete(self._disk, self._log.size_steps(self._log.min_offset))
        return await complete(self._disk, self._log.store_time_steps(self._log.min_offset, size)) if size else -1

    def physical_offset_at(self, topic: str, queue_id: int, offset: int) -> int | Awaitable[int]:
        """Physical offset of the message at a queue offset; -1 when it is not there."""
        queue = self._queues.find(topic, queue_id)
        if queue is None or not 0 <= offset < queue.visible_offset:
            return -1
        return self._now(_physical_offset_steps(queue, self._files, offset))

    def is_cold(self, topic: str, queue_id: int, offset: int) -> bool:
        """The message at a queue offset lies outside the hot area; also when the entry itself is in no cache."""
        queue = self._queues.find(topic, queue_id)
        if queue is None or not 0 <= offset < queue.visible_offset:
            return False
        steps = _physical_offset_steps(queue, self._files, offset)
        try:
            step = next(steps)
            while True:
                data = step.file.handle().pread_nowait(step.length, step.position)
                if data is None:
                    steps.close()
                    return True
                step = steps.send(data)
        except StopIteration as stop:
            physical_offset: int = stop.value
            return physical_offset >= 0 and self._log.wrote_offset - physical_offset > self.config.hot_area_bytes

    async def queue_entries(self, topic: str, queue_id: int, offset: int, count: int) -> list[tuple[int, int, int]] | None:
        """Physical offset, size and tagsCode of up to `count` entries from `offset` on, as far as readers may see;
        None for an unknown queue."""
        queue = self._queues.find(topic, queue_id)
        if queue is None:
            return None
        entries: list[tuple[int, int, int]] = []
        end = min(offset + count, queue.visible_offset)
        while offset < end:
            data = await complete(self._disk, queue.unit_steps(self._files, offset, end - offset))
            if not data:
                break
            entries += [decode_unit(data[at : at + UNIT_SIZE]) for at in range(0, len(data), UNIT_SIZE)]
            offset += len(data) // UNIT_SIZE
        return entries

    def is_in_memory(self, topic: str, queue_id: int, offset: int) -> bool:
        """The message at this queue offset lies within the newest 40 % of the machine's memory; False when unknown."""
        queue = self._queues.find(topic, queue_id)
        if queue is None or not 0 <= offset < queue.visible_offset:
            return False
        physical = self.physical_offset_at(topic, queue_id, offset)
        if isinstance(physical, int):
            return physical >= 0 and self._reader.is_in_memory(physical)
        # The entry itself is not in the page cache, so neither is what it points to; the read ends by itself.
        self._spawn(physical)
        return False

    def watch(self, topic: str, queue_id: int, watched: bool) -> None:
        """Whether `on_arrive` is told of messages of this queue; the queue need not be there yet."""
        self._queues.watch(topic, queue_id, watched)

    @property
    def reader(self) -> Reader:
        """For the engine of the hot path."""
        return self._reader

    @property
    def commit_log(self) -> CommitLog:
        """The log, for the engine of the hot path."""
        return self._log

    @property
    def queue_table(self) -> QueueTable:
        """The queues, for the engine of the hot path; others ask by topic and queue id."""
        return self._queues

    def queue_ids(self, topic: str) -> list[int]:
        return self._queues.queue_ids(topic)

    def topics(self) -> list[str]:
        """Topics that have a queue in the store."""
        return sorted(self._queues.topics)

    @property
    def min_physical_offset(self) -> int:
        return self._log.min_offset

    @property
    def max_physical_offset(self) -> int:
        return self._log.wrote_offset

    @property
    def last_store_timestamp(self) -> int:
        """Of the newest message, wall clock ms; ahead of the clock after that has jumped back."""
        return self._log.last_store_timestamp

    @property
    def flushed_offset(self) -> int:
        """Everything below is on the disk."""
        return self._log.flushed_offset

    @property
    def safe_offset(self) -> int:
        """What readers may see ends here."""
        return self._log.flushed_offset if self._sync_flush else self._log.wrote_offset

    def _now(self, steps: Steps[_T]) -> _T | Awaitable[_T]:
        return run_steps(self._disk, steps)

    def _correct_min(self, queue: ConsumeQueue) -> None:
        steps = queue.min_steps(self._files, self._log.min_offset)
        pending = run_steps(self._disk, steps)
        if isinstance(pending, Awaitable):
            self._spawn(pending)

    # --- administration

    def before_deleting(self, keep: Callable[[int], Awaitable[bool]]) -> None:
        """`keep` is awaited before retention deletes the log below a physical offset: it appends again what must stay, or
        answers False, and nothing is deleted this time."""
        self._cleanup.before_deleting.append(keep)

    def writable_reason(self) -> str | None:
        """Why sends are refused now; None when they are not."""
        return self.state.reason

    async def delete_topics(self, topics: Iterable[str]) -> list[str]:
        """Removes the queues of these topics; returns those that had any. Their records stay until retention takes the files,
        and are not dispatched again: a topic of the same name begins at offset 0.
        """
        async with self._checkpoint.lock:
            self.appender.settle()
            removed = [topic for topic in dict.fromkeys(topics) if topic in self._queues.topics]
            if not removed:
                return []
            end = self._log.wrote_offset
            queues = [queue for topic in removed for queue in self._queues.topics[topic].values()]
            self.appender.leave_out(queues)
            for queue in queues:
                self._checkpoint.forget(queue)
            for topic in removed:
                self._checkpoint.deleted_topics[topic] = end
                self._queues.remove_topic(topic)
            # The tombstone must be on the disk before the files go: a crash in between must not bring half a topic back.
            await self._checkpoint.save_queue_offsets()
            await self._cleanup.remove_queue_directories(queues)
        return removed

    async def clean_unused_topics(self, retain: Iterable[str]) -> list[str]:
        """Removes the queues of all topics but these; system topics and LMQs stay. Returns the removed topics."""
        keep = set(retain)
        unused = [topic for topic in self._queues.topics if topic not in keep and not self._cleanup.is_kept(topic)]
        return await self.delete_topics(unused)

    async def clean_expired_consume_queue(self) -> int:
        """Removes the files of queues whose messages have all expired; their next offsets are remembered."""
        return await self._cleanup.remove_expired_queues()

    def execute_delete_files_manually(self) -> None:
        """The next cleaning runs delete expired files whatever the hour."""
        self._cleanup.request_manual_delete()

    async def clean_files(self) -> int:
        """One run of retention now; returns how many commit log files went."""
        return await self._cleanup.run_once()

    async def flush(self) -> bool:
        """Everything appended before the call is on the disk when this returns True."""
        return await self._flush.flush()

    async def checkpoint(self) -> bool:
        """Log, queues and index on the disk, and the checkpoint saying so."""
        return await self._checkpoint.run()

    def dispatch_behind_bytes(self) -> int:
        """Log that queues and index do not have yet; dispatch is in line, so only bytes not safe yet count."""
        return self._log.wrote_offset - self.safe_offset

    def runtime_info(self) -> dict[str, str]:
        """The store's lines of GET_BROKER_RUNTIME_INFO."""
        info = self.stats.runtime_info()
        info.update(self._cleanup.disk_info())
        info["commitLogMinOffset"] = str(self.min_physical_offset)
        info["commitLogMaxOffset"] = str(self.max_physical_offset)
        info["dispatchBehindBytes"] = str(self.dispatch_behind_bytes())
        info["remainHowManyDataToCommit"] = "0"
        info["remainHowManyDataToFlush"] = str(self._log.wrote_offset - self._log.flushed_offset)
        info["remainTransientStoreBufferNumbs"] = "2147483647"
        info["pageCacheLockTimeMills"] = "0"
        return info

    def queue_offsets(self) -> QueueOffsets:
        """Next offset of every queue, as kept in gantry/queueOffsets.json."""
        return self._checkpoint.queue_offsets()


def _physical_offset_steps(queue: ConsumeQueue, files: OpenFileCache, offset: int) -> Steps[int]:
    unit = yield from queue.unit_at_steps(files, offset)
    return unit[0] if unit is not None else -1
