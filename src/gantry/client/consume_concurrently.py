"""Concurrent consumption: messages of all queues go to as many listeners at once as the options allow.

Failed messages are given back to the broker, which delivers them again later (retry topic) or gives up (dead letter topic);
only then do they count as finished here. A message that cannot be given back is tried again locally.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gantry.errors import MQError
from gantry.model import MessageExt, message_const
from gantry.runtime.clock import Clock

from .assigned_queue import AssignedQueue
from .consumer_options import ConsumerOptions
from .listener import Listener, call_listener
from .process_queue import NO_OFFSET
from .tasks import TaskSet

logger = logging.getLogger(__name__)

LOCAL_RETRY_MS = 5_000


class ConsumeConcurrently:
    """Runs listeners for batches that submit() hands in; `concurrency` tasks share one line of batches.

    The line is bounded by the flow limits of the queues: a queue does not pull while its table is full.
    """

    def __init__(
        self,
        *,
        listener: Listener,
        options: ConsumerOptions,
        clock: Clock,
        send_back: Callable[[AssignedQueue, MessageExt, int], Awaitable[None]] | None,
        on_progress: Callable[[AssignedQueue, int], None],
    ) -> None:
        """send_back raises MQError when the broker did not take the message; None in broadcasting: failures are dropped."""
        self._listener = listener
        self._options = options
        self._clock = clock
        self._send_back = send_back
        self._on_progress = on_progress
        self._line: asyncio.Queue[tuple[AssignedQueue, list[MessageExt]]] = asyncio.Queue()
        self._tasks = TaskSet()
        self._active = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._stopping = False

    def start(self) -> None:
        for index in range(self._options.concurrency):
            self._tasks.start(self._work(), name=f"gantry-consume-{index}")

    def submit(self, assigned: AssignedQueue, messages: list[MessageExt]) -> None:
        size = self._options.consume_message_batch_max_size
        for start in range(0, len(messages), size):
            self._line.put_nowait((assigned, messages[start : start + size]))

    def queue_taken(self, assigned: AssignedQueue) -> None:
        """Nothing to prepare per queue."""

    async def queue_dropped(self, assigned: AssignedQueue) -> None:
        """Nothing to wait for: listeners that run finish without committing, and the messages come again elsewhere."""

    async def stop(self, timeout_ms: int) -> None:
        """Start no listener any more, wait for those that run at most timeout_ms, then cancel them."""
        self._stopping = True
        timer = self._clock.call_later(timeout_ms, self._quiet.set)
        await self._quiet.wait()
        timer.cancel()
        await self._tasks.cancel_all()

    async def _work(self) -> None:
        while True:
            assigned, messages = await self._line.get()
            if assigned.dropped or self._stopping:
                continue
            self._active += 1
            self._quiet.clear()
            try:
                await self._consume(assigned, messages)
            finally:
                self._active -= 1
                if self._active == 0:
                    self._quiet.set()

    async def _consume(self, assigned: AssignedQueue, messages: list[MessageExt]) -> None:
        started_ms = self._clock.now_ms()
        for message in messages:
            restore_topic(message)
            message.properties[message_const.CONSUME_START_TIMESTAMP] = str(started_ms)
        outcome = await call_listener(self._listener, messages, clock=self._clock, timeout_ms=self._options.consume_timeout_ms)
        assigned.last_consume_ms = self._clock.now_ms()
        if assigned.dropped:
            return  # the queue has another reader now, which gets these messages too
        finished = messages
        if not outcome.ok:
            finished = await self._give_back(assigned, messages, outcome.delay_level)
        offset = assigned.table.finish(finished)
        assigned.room.set()
        if offset != NO_OFFSET and not assigned.dropped:
            self._on_progress(assigned, offset)

    async def _give_back(self, assigned: AssignedQueue, messages: list[MessageExt], delay_level: int) -> list[MessageExt]:
        """Returns: the messages that need no more care here."""
        if self._send_back is None:
            logger.warning("%d failed message(s) of %s dropped: broadcasting has no retries", len(messages), assigned.queue)
            return messages
        finished, left = [], []
        for message in messages:
            try:
                await self._send_back(assigned, message, delay_level)
                finished.append(message)
            except MQError as error:
                logger.warning("message %s cannot be given back, trying again here: %s", message.msg_id, error)
                message.reconsume_times += 1
                left.append(message)
        if left:
            self._clock.call_later(LOCAL_RETRY_MS, self.submit, assigned, left)
        return finished


def restore_topic(message: MessageExt) -> None:
    """A retried message shows the topic it was sent to, not the retry topic that carried it."""
    origin = message.properties.get(message_const.RETRY_TOPIC)
    if origin and message.topic.startswith("%RETRY%"):
        message.topic = origin
