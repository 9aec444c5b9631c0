"""Orderly consumption: one listener at a time per queue, in offset order, under a lock that the broker grants.

A failure stops its queue for a while and the same messages come first again, so that nothing overtakes them. After
max_reconsume_times attempts they go to the dead letter topic and the queue goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gantry.errors import MQError
from gantry.model import MessageExt
from gantry.runtime.clock import Clock, wait_for

from .assigned_queue import AssignedQueue
from .consume_concurrently import restore_topic
from .consumer_options import ConsumerOptions
from .listener import Listener, call_listener
from .process_queue import NO_OFFSET
from .tasks import TaskSet

logger = logging.getLogger(__name__)

SUSPEND_MS_MIN = 10
SUSPEND_MS_MAX = 30_000


class ConsumeOrderly:
    """One task per assigned queue; `concurrency` bounds how many of them run a listener at once."""

    def __init__(
        self,
        *,
        listener: Listener,
        options: ConsumerOptions,
        clock: Clock,
        needs_lock: bool,
        give_up: Callable[[AssignedQueue, MessageExt], Awaitable[None]] | None,
        on_progress: Callable[[AssignedQueue, int], None],
    ) -> None:
        """give_up hands one message to the dead letter topic, or raises MQError; without it failures are retried for ever."""
        self._listener = listener
        self._options = options
        self._clock = clock
        self._needs_lock = needs_lock
        self._give_up = give_up
        self._on_progress = on_progress
        self._slots = asyncio.Semaphore(options.concurrency)
        self._tasks = TaskSet()
        self._running: set[AssignedQueue] = set()
        self._stopping = False

    def start(self) -> None:
        """Tasks start with their queues."""

    def submit(self, assigned: AssignedQueue, messages: list[MessageExt]) -> None:
        assigned.arrived.set()

    def queue_taken(self, assigned: AssignedQueue) -> None:
        self._tasks.start(self._work(assigned), name=f"gantry-consume-{assigned.queue.topic}-{assigned.queue.queue_id}")

    async def queue_dropped(self, assigned: AssignedQueue) -> None:
        """Returns when no listener runs on the queue: only then may its lock be given back."""
        assigned.arrived.set()
        await assigned.idle.wait()

    async def stop(self, timeout_ms: int) -> None:
        self._stopping = True
        try:
            await wait_for(self._clock, self._all_idle(), timeout_ms)
        except TimeoutError:
            logger.warning("orderly listeners still run after %d ms and are cancelled", timeout_ms)
        await self._tasks.cancel_all()

    async def _all_idle(self) -> None:
        for assigned in list(self._running):
            await assigned.idle.wait()

    async def _work(self, assigned: AssignedQueue) -> None:
        while not (assigned.dropped or self._stopping):
            if assigned.table.waiting_count == 0:
                assigned.arrived.clear()
                await assigned.arrived.wait()
                continue
            if self._needs_lock and not assigned.holds_lock(self._clock.monotonic_ms()):
                await self._clock.sleep_ms(self._options.suspend_current_queue_ms)
                continue
            async with self._slots:
                if assigned.dropped or self._stopping:
                    return
                suspend_ms = await self._consume_next(assigned)
            if suspend_ms:
                await self._clock.sleep_ms(suspend_ms)

    async def _consume_next(self, assigned: AssignedQueue) -> int:
        """Returns: ms to wait before the next attempt, 0 after success."""
        messages = assigned.table.take(self._options.consume_message_batch_max_size)
        for message in messages:
            restore_topic(message)
        assigned.idle.clear()
        self._running.add(assigned)
        try:
            outcome = await call_listener(
                self._listener, messages, clock=self._clock, timeout_ms=self._options.consume_timeout_ms
            )
            assigned.last_consume_ms = self._clock.now_ms()
            again = [] if outcome.ok else await self._to_try_again(assigned, messages)
            assigned.table.put_back(again)
            offset = assigned.table.finish([message for message in messages if message not in again])
            assigned.room.set()
            # Unlike concurrent consumption, a dropped queue is still committed: its lock is held until we are done.
            if offset != NO_OFFSET:
                self._on_progress(assigned, offset)
            if not again:
                return 0
            suspend_ms = outcome.suspend_ms or self._options.suspend_current_queue_ms
            return min(max(suspend_ms, SUSPEND_MS_MIN), SUSPEND_MS_MAX)
        finally:
            self._running.discard(assigned)
            assigned.idle.set()

    async def _to_try_again(self, assigned: AssignedQueue, messages: list[MessageExt]) -> list[MessageExt]:
        """Count the failed attempt and hand over what has had its last one. Returns: the others."""
        again = []
        for message in messages:
            message.reconsume_times += 1
            if self._give_up is not None and message.reconsume_times > self._options.max_reconsume_times:
                try:
                    await self._give_up(assigned, message)
                    continue
                except MQError as error:
                    logger.warning("message %s cannot be moved to the dead letter topic yet: %s", message.msg_id, error)
            again.append(message)
        return again
