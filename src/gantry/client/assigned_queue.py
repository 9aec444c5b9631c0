"""One queue this consumer reads: its table of messages, its lock, and the loop that pulls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from gantry.errors import BrokerError, ClientError, MQError
from gantry.model import MessageExt, MessageQueue, SubscriptionData, message_const, sys_flag
from gantry.protocol.remoting import ResponseCode
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader
from gantry.runtime.clock import Clock

from .consumer_options import ConsumerOptions
from .process_queue import ProcessQueue
from .results import PullResult, PullStatus
from .subscription import matching

logger = logging.getLogger(__name__)

LOCK_VALID_MS = 30_000
"""How long a granted lock is trusted without renewal; the broker keeps it twice as long. Source: ProcessQueue (5.3)."""

_SUBSCRIPTION_UNKNOWN = frozenset(
    {
        ResponseCode.SUBSCRIPTION_NOT_EXIST,
        ResponseCode.SUBSCRIPTION_NOT_LATEST,
        ResponseCode.FILTER_DATA_NOT_EXIST,
        ResponseCode.FILTER_DATA_NOT_LATEST,
    }
)


class AssignedQueue:
    """State of one queue between take and drop."""

    def __init__(self, queue: MessageQueue, *, next_offset: int) -> None:
        self.queue = queue
        self.next_offset = next_offset
        self.table = ProcessQueue()
        self.room = asyncio.Event()  # set whenever messages have left the table
        self.arrived = asyncio.Event()  # set whenever messages came into it
        self.idle = asyncio.Event()  # set while no listener runs on this queue (orderly)
        self.idle.set()
        self.preferred_broker_id = 0
        self.locked_at_ms: int | None = None
        self.last_pull_ms = 0
        self.last_consume_ms = 0
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def dropped(self) -> bool:
        return self.table.dropped

    def holds_lock(self, now_ms: int) -> bool:
        """now_ms is monotonic."""
        return self.locked_at_ms is not None and now_ms - self.locked_at_ms < LOCK_VALID_MS

    def drop(self) -> None:
        """Stop pulling; listeners that run finish without committing. The calling task is left alone."""
        self.table.dropped = True
        current = asyncio.current_task()
        for task in self.tasks:
            if task is not current:
                task.cancel()


class PullSource(Protocol):
    """Where pulls go. Raises as BrokerApi.pull and ClientInstance.address."""

    async def pull(self, queue: MessageQueue, broker_id: int, header: PullMessageRequestHeader) -> PullResult: ...


class QueuePuller:
    """Pulls assigned queues of one consumer; run() is one task per queue.

    One pull of a queue is under way at a time. The next one starts when the answer is in and the table has room.
    """

    def __init__(
        self,
        *,
        group: str,
        source: PullSource,
        clock: Clock,
        options: ConsumerOptions,
        orderly: bool,
        needs_lock: bool,
        subscription: Callable[[str], SubscriptionData | None],
        committed_offset: Callable[[MessageQueue], int | None],
        on_messages: Callable[[AssignedQueue, list[MessageExt]], None],
        on_offset_moved: Callable[[AssignedQueue, int], Awaitable[None]],
        on_nothing_held: Callable[[AssignedQueue], None],
        on_subscription_unknown: Callable[[], None],
    ) -> None:
        self._group = group
        self._source = source
        self._clock = clock
        self._options = options
        self._orderly = orderly
        self._needs_lock = needs_lock
        self._subscription = subscription
        self._committed_offset = committed_offset
        self._on_messages = on_messages
        self._on_offset_moved = on_offset_moved
        self._on_nothing_held = on_nothing_held
        self._on_subscription_unknown = on_subscription_unknown

    async def run(self, assigned: AssignedQueue) -> None:
        """Until the queue is dropped."""
        while not assigned.dropped:
            await self._wait_for_room(assigned)
            if self._needs_lock and not assigned.holds_lock(self._clock.monotonic_ms()):
                await self._clock.sleep_ms(self._options.suspend_current_queue_ms)
                continue
            subscription = self._subscription(assigned.queue.topic)
            if subscription is None:
                return  # unsubscribed; the next rebalance drops the queue
            try:
                result = await self._pull(assigned, subscription)
            except MQError as error:
                await self._after_failure(assigned, error)
                continue
            if assigned.dropped:
                return
            if not await self._take(assigned, subscription, result):
                return

    async def _wait_for_room(self, assigned: AssignedQueue) -> None:
        while not assigned.table.has_room(self._options.flow, orderly=self._orderly):
            assigned.room.clear()
            await assigned.room.wait()

    async def _pull(self, assigned: AssignedQueue, subscription: SubscriptionData) -> PullResult:
        committed = self._committed_offset(assigned.queue)
        flags = sys_flag.PULL_SUSPEND | (sys_flag.PULL_COMMIT_OFFSET if committed else 0)
        header = PullMessageRequestHeader(
            consumer_group=self._group,
            topic=assigned.queue.topic,
            queue_id=assigned.queue.queue_id,
            queue_offset=assigned.next_offset,
            max_msg_nums=self._options.pull_batch_size,
            sys_flag=flags,
            commit_offset=committed or 0,
            suspend_timeout_millis=self._options.hold_ms,
            sub_version=subscription.sub_version,
            expression_type=subscription.expression_type,
        )
        assigned.last_pull_ms = self._clock.now_ms()
        return await self._source.pull(assigned.queue, assigned.preferred_broker_id, header)

    async def _after_failure(self, assigned: AssignedQueue, error: MQError) -> None:
        if isinstance(error, BrokerError) and error.response_code in _SUBSCRIPTION_UNKNOWN:
            # The broker forgot us, or has not heard of a new expression yet: a heartbeat heals both.
            self._on_subscription_unknown()
        else:
            level = logging.INFO if isinstance(error, ClientError) else logging.WARNING
            logger.log(level, "pull of %s failed, next try in %d ms: %s", assigned.queue, self._options.retry_pull_ms, error)
        assigned.preferred_broker_id = 0
        await self._clock.sleep_ms(self._options.retry_pull_ms)

    async def _take(self, assigned: AssignedQueue, subscription: SubscriptionData, result: PullResult) -> bool:
        """Returns: whether to go on pulling this assignment."""
        if result.status is PullStatus.OFFSET_ILLEGAL:
            logger.warning(
                "offset %d of %s is outside the broker's range, going on at %d",
                assigned.next_offset, assigned.queue, result.next_begin_offset,
            )  # fmt: skip
            await self._on_offset_moved(assigned, result.next_begin_offset)
            return False
        assigned.preferred_broker_id = result.suggest_broker_id
        stuck = result.next_begin_offset == assigned.next_offset
        assigned.next_offset = result.next_begin_offset
        if result.status is PullStatus.FOUND:
            messages = matching(result.messages, subscription)
            for message in messages:
                message.properties[message_const.MIN_OFFSET] = str(result.min_offset)
                message.properties[message_const.MAX_OFFSET] = str(result.max_offset)
            fresh = assigned.table.put(messages)
            if fresh:
                self._on_messages(assigned, fresh)
        if assigned.table.count == 0:
            self._on_nothing_held(assigned)  # all below next_offset is finished or not for us
        if result.status is PullStatus.NO_MATCHED_MSG and stuck:
            # A broker that says "at once" without moving on would make this a busy loop.
            await self._clock.sleep_ms(self._options.retry_pull_ms)
        return True
