"""PullConsumer: the program asks for messages when it wants them, from queues it chose itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from gantry.errors import ClientError, ConfigError
from gantry.model import ConsumerData, MessageExt, MessageQueue, SubscriptionData, sys_flag
from gantry.model.heartbeat import CLUSTERING, CONSUME_ACTIVELY, CONSUME_FROM_LAST_OFFSET
from gantry.model.topic_validator import validate_group
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader
from gantry.runtime.clock import wait_for

from .client_base import ClientBase
from .client_instance import ClientInstance
from .doors import Doors
from .message_selector import MessageSelector
from .remoting import Remoting
from .results import PullResult, PullStatus
from .running_info import running_info
from .subscription import build_subscription, matching


class _Answer(NamedTuple):
    """What a queue answered to a pull at an offset."""

    queue: MessageQueue
    offset: int
    subscription: SubscriptionData
    result: PullResult


class PullConsumer(ClientBase):
    """Reads assigned queues from positions the caller controls; commits only what it is told to.

        async with PullConsumer("audit", name_servers="127.0.0.1:9876") as consumer:
            consumer.assign(await consumer.queues("Orders"))
            await consumer.seek_to_beginning()
            for message in await consumer.poll():
                ...
            await consumer.commit()

    One poll at a time. No rebalance: two programs that assign the same queue both get its messages.
    """

    def __init__(
        self,
        group: str,
        *,
        name_servers: str | None = None,
        expression: str | MessageSelector = "*",
        batch_size: int = 32,
        instance_name: str | None = None,
        doors: Doors | None = None,
        remoting: Remoting | None = None,
    ) -> None:
        """expression filters as in PushConsumer.subscribe; batch_size is the most messages one poll returns.

        Raises: ClientError for a group name that is not allowed or an expression that cannot be read.
        """
        remark = validate_group(group)
        if remark is not None:
            raise ClientError(f"consumer group: {remark}")
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
        self.group = group
        build_subscription("", expression, sub_version=0)  # now, and not with the first poll
        self._expression = expression
        self._batch_size = batch_size
        super().__init__(name_servers=name_servers, instance_name=instance_name, doors=doors, remoting=remoting)
        self._positions: dict[MessageQueue, int] = {}
        self._turn = 0
        self._started_ms = 0

    async def start(self) -> None:
        """Start the background work. Asks nobody yet."""
        if self._instance is not None:
            return
        instance = self._new_instance()
        instance.add_consumer(self)
        await instance.start()
        self._started_ms = self._doors.clock.now_ms()
        self._instance = instance

    async def stop(self) -> None:
        """Leave the group and close the connections. Positions that were not committed are forgotten."""
        instance, self._instance = self._instance, None
        if instance is not None:
            await instance.remove_consumer(self.group)
            await instance.stop()

    async def queues(self, topic: str) -> list[MessageQueue]:
        """All readable queues of a topic, sorted. Raises: NoRoute."""
        instance = self._running()
        await instance.refresh_route(topic)
        queues = instance.routes.subscribe_queues(topic)
        if queues is None:
            raise instance.no_route(topic)
        return queues

    def assign(self, queues: Iterable[MessageQueue]) -> None:
        """Replace the assigned queues; those that stay keep their position, new ones begin at the committed offset."""
        wanted = set(queues)
        self._positions = {queue: self._positions.get(queue, -1) for queue in sorted(wanted)}
        if self._instance is not None:
            self._instance.request_heartbeat()

    def assignment(self) -> list[MessageQueue]:
        return list(self._positions)

    def seek(self, queue: MessageQueue, offset: int) -> None:
        """The next poll of the queue begins at offset. Raises: ClientError when the queue is not assigned."""
        self._check_assigned(queue)
        if offset < 0:
            raise ClientError(f"offset {offset} for {queue} is negative; offsets begin at 0")
        self._positions[queue] = offset

    async def seek_to_beginning(self, queues: Sequence[MessageQueue] | None = None) -> None:
        """To the oldest message still kept, of these queues or of all assigned ones."""
        instance = self._running()
        for queue in self.assignment() if queues is None else queues:
            self.seek(queue, max(0, await instance.brokers.min_offset(instance.address(queue.broker_name), queue)))

    async def seek_to_end(self, queues: Sequence[MessageQueue] | None = None) -> None:
        """Behind the newest message: only what is sent from now on."""
        instance = self._running()
        for queue in self.assignment() if queues is None else queues:
            self.seek(queue, await instance.brokers.max_offset(instance.address(queue.broker_name), queue))

    async def seek_to_time(self, queue: MessageQueue, timestamp_ms: int) -> None:
        """To the first message stored at or after the time (ms since 1970 UTC)."""
        instance = self._running()
        self.seek(queue, await instance.brokers.search_offset(instance.address(queue.broker_name), queue, timestamp_ms))

    async def position(self, queue: MessageQueue) -> int:
        """Offset of the next message poll() takes from the queue."""
        self._check_assigned(queue)
        if self._positions[queue] < 0:
            instance = self._running()
            address = instance.address(queue.broker_name)
            committed = await instance.brokers.query_offset(address, self.group, queue)
            if committed is None:
                committed = await instance.brokers.max_offset(address, queue)
            self._positions[queue] = committed
        return self._positions[queue]

    async def poll(self, *, timeout_ms: int = 3000) -> list[MessageExt]:
        """Messages of one assigned queue, in order, and the position moves behind them.

        Queues take turns. The first round asks every queue without waiting; when all are empty all of them are waited on for
        the time left, so that an idle program does not ask in a circle.
        Returns: an empty list when nothing came in time.
        Raises: ClientError when nothing is assigned; BrokerError and RemotingError from the broker.
        """
        queues = self.assignment()
        if not queues:
            raise ClientError("no queue is assigned; call assign(await consumer.queues(topic)) before poll()")
        clock = self._doors.clock
        deadline = clock.monotonic_ms() + timeout_ms
        while True:
            for _ in queues:
                queue = queues[self._turn % len(queues)]
                self._turn += 1
                messages = self._take(await self._pull(queue, hold_ms=0))
                if messages:
                    return messages
            left_ms = deadline - clock.monotonic_ms()
            if left_ms <= 0:
                return []
            first = self._turn % len(queues)
            messages = await self._wait_for_any([*queues[first:], *queues[:first]], left_ms)
            self._turn += 1
            if messages or clock.monotonic_ms() >= deadline:
                return messages

    async def _wait_for_any(self, queues: Sequence[MessageQueue], hold_ms: int) -> list[MessageExt]:
        """The messages of the queue that has some first; what another one has by then is asked for again."""
        pulls = [asyncio.create_task(self._pull(queue, hold_ms=hold_ms)) for queue in queues]
        try:
            await asyncio.wait(pulls, return_when=asyncio.FIRST_COMPLETED)
            answers = [pull.result() for pull in pulls if pull.done()]
        finally:
            for pull in pulls:
                pull.cancel()
            await asyncio.gather(*pulls, return_exceptions=True)
        for answer in answers:
            messages = self._take(answer)
            if messages:
                return messages
        return []

    async def commit(self, queues: Sequence[MessageQueue] | None = None) -> None:
        """Keep the positions at the brokers: a later start of the group goes on there."""
        instance = self._running()
        for queue in self.assignment() if queues is None else queues:
            self._check_assigned(queue)
            position = self._positions[queue]
            if position >= 0:
                await instance.brokers.commit_offset(instance.address(queue.broker_name), self.group, queue, position)

    async def _pull(self, queue: MessageQueue, *, hold_ms: int) -> _Answer | None:
        """What one queue has; None when nothing came in the time it was to be held. The position stays: see `_take`."""
        instance = self._running()
        offset = await self.position(queue)
        subscription = self._subscription(queue.topic)
        header = PullMessageRequestHeader(
            consumer_group=self.group,
            topic=queue.topic,
            queue_id=queue.queue_id,
            queue_offset=offset,
            max_msg_nums=self._batch_size,
            # The expression travels with each pull: assigned queues need no agreement within the group.
            sys_flag=sys_flag.PULL_SUBSCRIPTION | (sys_flag.PULL_SUSPEND if hold_ms else 0),
            commit_offset=0,
            suspend_timeout_millis=hold_ms,
            subscription=subscription.sub_string,
            sub_version=subscription.sub_version,
            expression_type=subscription.expression_type,
        )
        pull = instance.brokers.pull(
            instance.address(queue.broker_name), header, broker_name=queue.broker_name, timeout_ms=hold_ms + 10_000
        )
        result: PullResult
        if hold_ms:
            try:
                result = await wait_for(self._doors.clock, pull, hold_ms)
            except TimeoutError:
                # Brokers look after held pulls every few seconds only. Nothing is lost: the position has not moved.
                return None
        else:
            result = await pull
        return _Answer(queue, offset, subscription, result)

    def _take(self, answer: _Answer | None) -> list[MessageExt]:
        """The messages of an answer; the position moves behind them."""
        if answer is None:
            return []
        result = answer.result
        if self._positions.get(answer.queue) == answer.offset:  # a seek during the pull wins
            self._positions[answer.queue] = result.next_begin_offset
        return matching(result.messages, answer.subscription) if result.status is PullStatus.FOUND else []

    def _subscription(self, topic: str) -> SubscriptionData:
        return build_subscription(topic, self._expression, sub_version=self._started_ms)

    def _check_assigned(self, queue: MessageQueue) -> None:
        if queue not in self._positions:
            raise ClientError(f"queue {queue} is not assigned; assign() it first")

    def _running(self) -> ClientInstance:
        if self._instance is None:
            raise ClientError(f"pull consumer {self.group} is not started; use 'async with' or await start()")
        return self._instance

    # --- what the client instance asks

    def consumer_data(self) -> ConsumerData:
        return ConsumerData(
            group_name=self.group,
            consume_type=CONSUME_ACTIVELY,
            message_model=CLUSTERING,
            consume_from_where=CONSUME_FROM_LAST_OFFSET,
            subscription_data_set=[self._subscription(topic) for topic in self.topics()],
        )

    def topics(self) -> list[str]:
        return sorted({queue.topic for queue in self._positions})

    def wake_rebalance(self) -> None:
        """Assigned queues are the caller's choice; membership changes nothing."""

    async def reset_offsets(self, topic: str, offsets: dict[MessageQueue, int]) -> None:
        for queue, offset in offsets.items():
            if queue in self._positions:
                self._positions[queue] = offset

    def consume_status(self, topic: str) -> dict[MessageQueue, int]:
        return {queue: offset for queue, offset in self._positions.items() if queue.topic == topic and offset >= 0}

    def running_info(self) -> dict[str, Any]:
        info = running_info(
            assigned={},
            subscriptions=[self._subscription(topic) for topic in self.topics()],
            committed=lambda queue: None,
            orderly=False,
            concurrency=0,
            name_servers=self._name_servers,
            started_ms=self._started_ms,
            monotonic_ms=self._doors.clock.monotonic_ms(),
        )
        info["properties"]["PROP_CONSUME_TYPE"] = CONSUME_ACTIVELY
        return info
