"""Syncing the log: group commit for SYNC_FLUSH, the timed rules for ASYNC_FLUSH. One sync at a time, off the loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from gantry.errors import DiskError
from gantry.runtime.clock import Clock, TimerHandle
from gantry.runtime.disk import Disk

from .commit_log import CommitLog
from .config import StoreConfig
from .status import PutStatus

log = logging.getLogger(__name__)

_PAGE = 4096


class FlushService:
    """Moves the log's flushed offset.

    request(end) resolves to PUT_OK once everything below `end` is on the disk, to FLUSH_DISK_TIMEOUT when the sync failed or
    took longer than syncFlushTimeout. One sync serves everybody who waits when it begins; what comes meanwhile is served by the
    next. A failed sync is final: nobody waiting gets PUT_OK, `on_failure` is told, no sync is tried again.
    """

    def __init__(
        self,
        config: StoreConfig,
        log_: CommitLog,
        disk: Disk,
        clock: Clock,
        *,
        on_flushed: Callable[[], None],
        on_failure: Callable[[DiskError], None],
    ) -> None:
        self._config = config
        self._log = log_
        self._disk = disk
        self._clock = clock
        self._on_flushed = on_flushed
        self._on_failure = on_failure
        self._waiters: deque[tuple[int, int, asyncio.Future[PutStatus]]] = deque()
        self._wanted = 0
        self._task: asyncio.Task[None] | None = None
        self._deadline: TimerHandle | None = None
        self._interval: TimerHandle | None = None
        self._last_thorough_ms = 0
        self.sync_count = 0
        self.failed: DiskError | None = None

    def start(self) -> None:
        """Begins the timed flush of ASYNC_FLUSH."""
        self._last_thorough_ms = self._clock.monotonic_ms()
        self._schedule()

    def request(self, end: int) -> asyncio.Future[PutStatus]:
        """Wait for the log to be on the disk up to `end`."""
        future: asyncio.Future[PutStatus] = asyncio.get_running_loop().create_future()
        if self.failed is not None:
            future.set_result(PutStatus.FLUSH_DISK_TIMEOUT)
            return future
        if end <= self._log.flushed_offset:
            future.set_result(PutStatus.PUT_OK)
            return future
        deadline = self._clock.monotonic_ms() + self._config.sync_flush_timeout
        self._waiters.append((end, deadline, future))
        if self._deadline is None:
            self._deadline = self._clock.call_later(self._config.sync_flush_timeout, self._expire)
        self.trigger(end)
        return future

    def trigger(self, end: int) -> None:
        """Have the log synced up to `end`, with nobody waiting for it."""
        if end > self._wanted:
            self._wanted = end
        if self._task is None and self.failed is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def flush(self) -> bool:
        """Everything written before the call is on the disk when this returns True."""
        end = self._log.wrote_offset
        while self._log.flushed_offset < end and self.failed is None:
            self.trigger(end)
            task = self._task
            if task is not None:
                await asyncio.shield(task)
        return self.failed is None

    async def stop(self) -> None:
        """Ends the timers and waits for the sync under way."""
        for handle in (self._interval, self._deadline):
            if handle is not None:
                handle.cancel()
        self._interval = self._deadline = None
        if self._task is not None:
            await self._task
        self._settle(PutStatus.FLUSH_DISK_TIMEOUT, None)

    async def _run(self) -> None:
        try:
            # Sends that arrive in this turn of the loop share the sync that follows it.
            await asyncio.sleep(0)
            while self._wanted > self._log.flushed_offset and self.failed is None:
                target = self._log.wrote_offset
                self.sync_count += 1
                try:
                    await self._disk.run(self._log.sync_upto, target)
                except DiskError as error:
                    self.failed = error
                    log.error("sync of the commit log failed, the store takes no more messages: %s", error)
                    self._on_failure(error)
                    self._settle(PutStatus.FLUSH_DISK_TIMEOUT, None)
                    return
                self._log.flushed_offset = target
                self._on_flushed()
                self._settle(PutStatus.PUT_OK, target)
        finally:
            self._task = None

    def _settle(self, status: PutStatus, upto: int | None) -> None:
        waiters = self._waiters
        while waiters and (upto is None or waiters[0][0] <= upto):
            future = waiters.popleft()[2]
            if not future.done():
                future.set_result(status)
        if not waiters and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        now = self._clock.monotonic_ms()
        waiters = self._waiters
        while waiters and waiters[0][1] <= now:
            future = waiters.popleft()[2]
            if not future.done():
                future.set_result(PutStatus.FLUSH_DISK_TIMEOUT)
        if waiters:
            self._deadline = self._clock.call_later(max(waiters[0][1] - now, 1), self._expire)

    def _schedule(self) -> None:
        self._interval = self._clock.call_later(self._config.flush_interval_commit_log, self._tick)

    def _tick(self) -> None:
        now = self._clock.monotonic_ms()
        dirty = self._log.wrote_offset - self._log.flushed_offset
        thorough = now - self._last_thorough_ms >= self._config.flush_commit_log_thorough_interval
        if thorough:
            self._last_thorough_ms = now
        if dirty and (thorough or dirty >= self._config.flush_commit_log_least_pages * _PAGE):
            self.trigger(self._log.wrote_offset)
        self._schedule()
