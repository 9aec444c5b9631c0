"""The log's end: plans, their writing, and becoming real. Compiled as it stands where the core is (`appender.pxd`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from gantry.errors import DiskError, DiskFull, MessageIllegal, StoreError, StoreReadOnly
from gantry.model import StoreMessage
from gantry.runtime.clock import Clock

from .append import AppendPlan, ArrivalListener, PlanRules
from .results import PutResult
from .status import PutStatus

if TYPE_CHECKING:
    from .checkpoint import CheckpointWriter
    from .commit_log import CommitLog
    from .config import StoreConfig
    from .consume_queue import ConsumeQueue
    from .disk_state import DiskState
    from .files_ahead import FilesAhead
    from .flush import FlushService
    from .index_service import IndexService
    from .stats import StoreStats


class Appender:
    """Four synchronous calls with nothing between them, one plan at a time; `MessageStore` says which.

    `on_full` and `on_failure` hear of writes that failed, before they are raised.
    """

    def __init__(
        self,
        config: StoreConfig,
        clock: Clock,
        *,
        log_: CommitLog,
        rules: PlanRules,
        index: IndexService,
        flush: FlushService,
        checkpoint: CheckpointWriter,
        files_ahead: FilesAhead,
        state: DiskState,
        stats: StoreStats,
        on_full: Callable[[DiskFull], None],
        on_failure: Callable[[DiskError], None],
        on_arrive: ArrivalListener | None,
    ) -> None:
        self.on_arrive = on_arrive
        self.settle_open_plan: Callable[[], None] | None = None
        """Ends the plan that is open, by commit or abort: called when somebody else needs the log's end for himself."""
        self._config = config
        self._clock = clock
        self._log = log_
        self._rules = rules
        self._index = index
        self._flush = flush
        self._checkpoint = checkpoint
        self._files_ahead = files_ahead
        self._state = state
        self._stats = stats
        self._on_full = on_full
        self._on_failure = on_failure
        self._sync_flush = config.is_sync_flush
        self._unsafe: deque[AppendPlan] = deque()
        """Plans whose messages readers may not see yet, oldest first."""
        self._plan: AppendPlan | None = None
        self._look_ahead_at = 0

    def new_plan(self) -> AppendPlan:
        """A plan at the log's end. One is open at a time: commit or abort it before the next.

        Raises: StoreReadOnly when the store takes no messages (see writable_reason).
        """
        reason = self._state.reason
        if reason is not None:
            raise StoreReadOnly(reason)
        if self._plan is not None and not self._plan.done:
            self.settle()
            if not self._plan.done:
                raise StoreError("a plan is open; it must be committed or aborted before the next one")
        now_ms = self._clock.now_ms()
        last = self._log.last_store_timestamp
        config = self._config
        self._plan = AppendPlan(
            self._rules,
            self._log.wrote_offset,
            # The wall clock may jump back; store times never do: searches by time rely on it.
            now_ms if now_ms > last else last,
            config.max_message_size,
            config.index_tags_enable,
        )
        return self._plan

    def settle(self) -> None:
        """A plan that somebody has open is over when this returns."""
        if self.settle_open_plan is not None and self._plan is not None and not self._plan.done:
            self.settle_open_plan()

    def write(self, plan: AppendPlan) -> None:
        """Puts the plan's bytes into the log: one Disk call for each file they touch.

        Raises: DiskFull (the plan is to be aborted; writing resumes when space is back), DiskFault (the store is read-only
                from now on).
        """
        plan.seal()
        try:
            for start, data in plan.ranges:
                self._log.write(start, data)
        except DiskFull as error:
            self._on_full(error)
            raise
        except DiskError as error:
            self._on_failure(error)
            raise

    def commit(self, plan: AppendPlan) -> None:
        """Makes the written records real: queue entries, index entries, offsets; wakes whoever waits for them once safe."""
        plan.done = True
        count = plan.count
        if not count:
            return
        log_, checkpoint, stats = self._log, self._checkpoint, self._stats
        for start, data in plan.ranges:
            log_.advance(start, data)
        timestamp = log_.last_store_timestamp = plan.store_timestamp
        wrote = log_.wrote_offset
        checkpoint.newest = (wrote, plan.last_record, timestamp)
        plan.enter(checkpoint.touched, self._index if self._config.message_index_enable else None)
        stats.put_count += count
        stats.put_size += wrote - plan.start
        if self._sync_flush:
            self._unsafe.append(plan)
            self._flush.trigger(wrote)
        else:
            plan.expose(self.on_arrive)
        if wrote >= self._look_ahead_at:
            self._look_ahead_at = self._files_ahead.look(wrote)

    def abort(self, plan: AppendPlan) -> None:
        """Forgets the plan: offsets, queues and index are as before, and what was written cannot come back after a crash."""
        plan.done = True
        plan.withdraw()
        try:
            self._log.erase_above()
        except DiskError as error:
            self._on_failure(error)

    def durable(self, plan: AppendPlan) -> asyncio.Future[PutStatus] | None:
        """When the plan's records are as safe as SYNC_FLUSH promises; None when nobody has to wait for that."""
        if not self._sync_flush or not plan.must_wait:
            return None
        return self._flush.request(plan.end)

    async def put(self, messages: list[StoreMessage], *, batch: bool) -> PutResult:
        """Appends messages, all or none, and waits as their mode asks. Never raises for what has an official status."""
        try:
            plan = self.new_plan()
        except StoreReadOnly as error:
            return PutResult(PutStatus.SERVICE_NOT_AVAILABLE, remark=str(error))
        try:
            if batch:
                plan.add_batch(messages)
            else:
                plan.add(messages[0])
            self.write(plan)
        except MessageIllegal as error:
            self.abort(plan)
            status = PutStatus.PROPERTIES_SIZE_EXCEEDED if error.properties_too_long else PutStatus.MESSAGE_ILLEGAL
            return PutResult(status, remark=error.remark)
        except DiskError as error:
            self.abort(plan)
            self._stats.put_failed_count += 1
            return PutResult(PutStatus.SERVICE_NOT_AVAILABLE, remark=str(error))
        except BaseException:
            self.abort(plan)
            raise
        self.commit(plan)
        waiting = self.durable(plan)
        return PutResult(PutStatus.PUT_OK if waiting is None else await waiting, plan.records)

    def on_flushed(self) -> None:
        """The log is on the disk further than before: readers see that much more."""
        safe = self._log.flushed_offset
        unsafe = self._unsafe
        while unsafe and unsafe[0].end <= safe:
            unsafe.popleft().expose(self.on_arrive)

    def leave_out(self, queues: Collection[ConsumeQueue]) -> None:
        """These queues are gone: what is not safe yet never appears in them."""
        for plan in self._unsafe:
            plan.leave_out(queues)
