"""Retention: which files go when, and the removal of queues nobody needs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from gantry.errors import DiskError
from gantry.model import names
from gantry.model.topic_validator import is_system_topic
from gantry.protocol.disk.consume_queue_unit import UNIT_SIZE, decode_unit
from gantry.runtime.clock import Clock, TimerHandle
from gantry.runtime.disk import Disk

from .checkpoint import CheckpointWriter
from .commit_log import CommitLog, LogFile
from .config import StoreConfig, StorePaths
from .consume_queue import ConsumeQueue
from .disk_state import DiskState
from .index_service import IndexService
from .queue_table import QueueTable
from .steps import complete

log = logging.getLogger(__name__)

_MANUAL_RUNS = 20
_HOUR_MS = 3_600_000
_YIELD_EVERY = 256


class RetentionView(msgspec.Struct, frozen=True):
    """What the decision sees. Units: ratios as 0.00 to 1.00; times in ms; `modified` oldest file first."""

    now_ms: int
    log_ratio: float
    queue_ratio: float
    manual: bool
    modified: list[int]


class RetentionDecision(msgspec.Struct, frozen=True):
    """How many of the oldest log files go, and why writing is refused (None: it is not)."""

    delete_count: int
    full_reason: str | None
    reason: str


def decide(config: StoreConfig, view: RetentionView) -> RetentionDecision:
    """Retention by the original's rule; pure.

    Files are looked at in a delete hour, above diskMaxUsedSpaceRatio, or on demand; those older than fileReservedTime go, above
    diskSpaceCleanForciblyRatio the oldest go whatever their age. Above diskSpaceWarningLevelRatio writing is refused.
    The caller leaves out the file being written. Source: DefaultMessageStore.CleanCommitLogService (5.3).
    """
    warning = _clamp(config.disk_space_warning_level_ratio, 35, 90)
    forcibly = _clamp(config.disk_space_clean_forcibly_ratio, 30, 85)
    usual = config.disk_max_used_space_ratio / 100
    highest = max(view.log_ratio, view.queue_ratio)
    full_reason = None
    if highest > warning:
        full_reason = f"the disk is {highest:.0%} full, messages are refused above {warning:.0%}"
    at_once = highest > forcibly and config.clean_file_forcibly_enable
    in_hour = time.localtime(view.now_ms / 1000).tm_hour in config.delete_hours
    if not (in_hour or highest > usual or view.manual or highest > forcibly):
        return RetentionDecision(0, full_reason, "")
    reason = "disk usage" if highest > usual else "on demand" if view.manual else "delete hour"
    count = 0
    for modified in view.modified[: config.delete_file_batch_max]:
        if not at_once and view.now_ms - modified < config.file_reserved_time * _HOUR_MS:
            break
        count += 1
    return RetentionDecision(count, full_reason, reason)


def _clamp(percent: int, low: int, high: int) -> float:
    return min(max(percent, low), high) / 100


class CleanupService:
    """Applies the decision every cleanResourceInterval.

    Order of a deletion: next queue offsets saved, the log's minimum moves, queue minimums follow, then files go, oldest first.
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
        state: DiskState,
        checkpoint: CheckpointWriter,
    ) -> None:
        self._config = config
        self._paths = paths
        self._disk = disk
        self._clock = clock
        self._log = log_
        self._queues = queues
        self._index = index
        self._state = state
        self._checkpoint = checkpoint
        self._manual_runs = 0
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._ratios = (0.0, 0.0)
        self._capacity = 0
        self._log_ratios: dict[str, float] = {}
        self.before_deleting: list[Callable[[int], Awaitable[bool]]] = []
        """Asked before the log below a physical offset goes; one that says False: not this time."""

    async def start(self) -> None:
        """Looks at the disk at once, then again and again."""
        await self._measure()
        self._apply_full(decide(self._config, self._view([])))
        self._schedule()

    async def stop(self) -> None:
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await self._task

    def request_manual_delete(self) -> None:
        self._manual_runs = _MANUAL_RUNS

    def is_kept(self, topic: str) -> bool:
        """Topics that are never cleaned for lack of use."""
        return is_system_topic(topic) or names.is_lmq(topic)

    def disk_info(self) -> dict[str, str]:
        info = {
            "commitLogDiskRatio": str(self._ratios[0]),
            "consumeQueueDiskRatio": str(self._ratios[1]),
        }
        for path, ratio in self._log_ratios.items():
            info[f"commitLogDiskRatio_{path}"] = str(ratio)
        return info

    def _schedule(self) -> None:
        self._timer = self._clock.call_later(self._config.clean_resource_interval, self._tick)

    def _tick(self) -> None:
        self._schedule()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._guarded())

    async def _guarded(self) -> None:
        try:
            await self.run_once()
        except Exception:
            log.exception("cleaning the store failed")
        finally:
            self._task = None

    async def run_once(self) -> int:
        """One run; returns how many files of the log went."""
        await self._measure()
        candidates = [item for item in self._log.files if item.start + self._log.file_size <= self._log.wrote_offset]
        # The newest whole file stays: the record that ends at S must remain to be compared with.
        candidates = candidates[: max(len(self._log.files) - 1, 0)]
        modified = await self._disk.run(lambda: [self._disk.mtime_ms(item.path) for item in candidates])
        decision = decide(self._config, self._view(modified))
        if self._manual_runs:
            self._manual_runs -= 1
        self._apply_full(decision)
        if decision.delete_count and self.before_deleting:
            kept_from = candidates[decision.delete_count - 1].start + self._log.file_size
            for keep in self.before_deleting:
                if not await keep(kept_from):
                    log.error("nothing of the log is deleted now: what is still needed of it could not be appended again")
                    return 0
        if decision.delete_count:
            log.info("retention removes %d commit log files (%s)", decision.delete_count, decision.reason)
            await self._delete(decision.delete_count)
        return decision.delete_count

    def _view(self, modified: list[int]) -> RetentionView:
        return RetentionView(self._clock.now_ms(), self._ratios[0], self._ratios[1], self._manual_runs > 0, modified)

    def _apply_full(self, decision: RetentionDecision) -> None:
        before = self._state.over_ratio
        self._state.over_ratio = decision.full_reason
        if decision.full_reason is not None and before is None:
            log.error("%s", decision.full_reason)
        elif decision.full_reason is None and before is not None:
            log.info("there is space on the disk again, the store takes messages")

    async def _measure(self) -> None:
        def measure() -> tuple[dict[str, float], float]:
            ratios = {path: self._disk.usage(path).ratio for path in self._config.commit_log_paths}
            return ratios, self._disk.usage(self._paths.consume_queue).ratio

        try:
            self._log_ratios, queue_ratio = await self._disk.run(measure)
        except DiskError as error:
            log.warning("the disk's usage is unknown: %s", error)
            return
        # With several directories the emptiest one decides: new files can still go there.
        self._ratios = (min(self._log_ratios.values()), queue_ratio)

    async def _delete(self, count: int) -> None:
        async with self._checkpoint.lock:
            await self._checkpoint.save_queue_offsets()
            removed = self._log.detach_first(count)
            await self._correct_minimums()
            await self._unlink_log_files(removed)
            await self._delete_derived()

    async def _unlink_log_files(self, removed: list[LogFile]) -> None:
        for position, item in enumerate(removed):
            if position:
                await self._clock.sleep_ms(self._config.delete_commit_log_files_interval)
            await self._disk.run(self._disk.unlink, item.path)
        for directory in self._config.commit_log_paths:
            await self._disk.run(self._disk.sync_dir, directory)

    async def _correct_minimums(self) -> None:
        for position, queue in enumerate(self._queues):
            await complete(self._disk, queue.min_steps(self._queues.files, self._log.min_offset))
            if position % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _delete_derived(self) -> None:
        """Queue and index files that only point to what is gone."""
        minimum = self._log.min_offset
        for queue in self._queues:
            if len(queue.file_starts) > 1:
                await self._delete_queue_files(queue, minimum)
        for item in self._index.expired_files(minimum):
            self._index.files.remove(item)
            item.file.close()
            await self._disk.run(self._disk.unlink, item.path)

    async def _delete_queue_files(self, queue: ConsumeQueue, minimum: int) -> None:
        starts = list(queue.file_starts)

        def last_units() -> dict[int, int]:
            found: dict[int, int] = {}
            for start in starts[:-1]:
                file = self._disk.open(queue.path_of(start), writable=False)
                try:
                    data = file.pread(UNIT_SIZE, (queue.file_units - 1) * UNIT_SIZE)
                finally:
                    file.close()
                found[start] = decode_unit(data)[0] if len(data) == UNIT_SIZE else -1
                if found[start] >= minimum:
                    # Later files only point further on.
                    found.update(dict.fromkeys(starts[starts.index(start) :], minimum))
                    break
            return found

        for start in queue.expired_files(await self._disk.run(last_units), minimum):
            path = queue.path_of(start)
            queue.file_starts.remove(start)
            self._queues.files.drop(path)
            await self._disk.run(self._disk.unlink, path)

    async def remove_expired_queues(self) -> int:
        """Removes queues without a message left, remembering their next offsets; system topics stay. Returns how many."""
        async with self._checkpoint.lock:
            minimum = self._log.min_offset
            expired = [
                queue
                for queue in self._queues
                if not is_system_topic(queue.topic)
                and not queue.dirty
                and 0 <= queue.last_physical_end <= minimum
                and queue.planned_offset == queue.max_offset
            ]
            for queue in expired:
                self._checkpoint.forget(queue)
                self._queues.remove_expired(queue)
            if expired:
                await self._checkpoint.save_queue_offsets()
                await self.remove_queue_directories(expired)
            return len(expired)

    async def remove_queue_directories(self, queues: list[ConsumeQueue]) -> None:
        await self._disk.run(self._remove_directories, [queue.directory for queue in queues])

    def _remove_directories(self, directories: list[str]) -> None:
        topics: set[str] = set()
        for directory in directories:
            if self._disk.exists(directory):
                for name in self._disk.list_dir(directory):
                    self._disk.unlink(f"{directory}/{name}")
                self._disk.rmdir(directory)
            topics.add(directory[: directory.rindex("/")])
        for topic in topics:
            if self._disk.exists(topic) and not self._disk.list_dir(topic):
                self._disk.rmdir(topic)
        self._disk.sync_dir(self._paths.consume_queue)
