"""PopConsumer: the program takes messages out for a time, and says of each when it is done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from gantry.errors import BrokerError, ClientError, ConfigError, MQError, RemotingError
from gantry.model import ConsumerData, MessageExt, MessageQueue, SubscriptionData, message_const
from gantry.model.heartbeat import CLUSTERING, CONSUME_POP
from gantry.model.names import normal_topic
from gantry.model.topic_validator import validate_group
from gantry.protocol.message.pop_handle import parse_receipt

from .client_base import ClientBase
from .client_instance import ClientInstance
from .consumer_options import ConsumeFromWhere
from .doors import Doors
from .message_selector import MessageSelector
from .pop_source import Place, PopSource
from .remoting import Remoting
from .results import PopStatus
from .running_info import running_info
from .subscription import matching, subscription_to
from .tasks import TaskSet

logger = logging.getLogger(__name__)

COUNT_MAX = 32
"""Most messages of one pop; brokers refuse more."""
INVISIBLE_MS = 60_000
LOOK_AGAIN_MS = 5_000
"""How long one request waits at a broker: an official one does not wake it for messages that come back."""
PAUSE_MS = 100
"""Least time of a round that found nothing, whatever the brokers say."""
GIVE_BACK_MS = 1_000
DEAD = -1
"""Delay level that sends a message to the dead letter topic."""


class PopConsumer(ClientBase):
    """Takes messages of the subscribed topics, whichever queue they lie in.

        async with PopConsumer("billing", name_servers="127.0.0.1:9876") as consumer:
            consumer.subscribe("Orders", "drinks || food")
            for message in await consumer.receive():
                ...
                await consumer.ack(message)

    A message that was received is kept from the other members of the group for `invisible_ms`. One that is not acknowledged
    in that time comes again, to any member, with `reconsume_times` one higher. There may be more members than queues, and
    nothing is rebalanced. Every message comes at least once. receive() may be called by several tasks at once.
    """

    def __init__(
        self,
        group: str,
        *,
        name_servers: str | None = None,
        invisible_ms: int = INVISIBLE_MS,
        max_reconsume_times: int = 16,
        consume_from_where: ConsumeFromWhere = ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET,
        instance_name: str | None = None,
        doors: Doors | None = None,
        remoting: Remoting | None = None,
    ) -> None:
        """Nothing is contacted yet. A message that has come back more than max_reconsume_times goes to the group's dead letter
        topic instead of to the program; consume_from_where says where a group begins that the broker does not know.

        Raises: ClientError for a group name that is not allowed; ConfigError for a setting that means nothing here.
        """
        remark = validate_group(group)
        if remark is not None:
            raise ClientError(f"consumer group: {remark}")
        if consume_from_where is ConsumeFromWhere.CONSUME_FROM_TIMESTAMP:
            raise ConfigError("a pop begins at the first or at the newest message; for a time use mqadmin resetOffsetByTime")
        if max_reconsume_times < 0:
            raise ConfigError(f"max_reconsume_times is {max_reconsume_times}; it must be at least 0")
        _check_invisible(invisible_ms)
        self.group = group
        self._invisible_ms = invisible_ms
        self._max_reconsume_times = max_reconsume_times
        self._where = consume_from_where
        super().__init__(name_servers=name_servers, instance_name=instance_name, doors=doors, remoting=remoting)
        self._clock = self._doors.clock
        self._subscriptions: dict[str, SubscriptionData] = {}
        self._source = PopSource(group, self._clock, self._subscriptions, consume_from_where)
        self._tasks = TaskSet()
        self._left_over: list[tuple[float, list[MessageExt]]] = []
        """What pops brought whose receive() was cancelled, with the monotonic ms up to which it is worth handing out."""
        self._started_ms = 0

    # --- what users call

    def subscribe(self, topic: str, expression: str | MessageSelector = "*") -> None:
        """Take messages of a topic: `*`, tags joined by `||`, or a MessageSelector. May be called at any time.

        Raises: ClientError for a topic name that is not allowed or an expression that cannot be read.
        """
        self._subscriptions[topic] = subscription_to(topic, expression, sub_version=self._clock.now_ms())
        if self._instance is not None:
            self._instance.request_heartbeat()

    def unsubscribe(self, topic: str) -> None:
        """Take no more of a topic."""
        if self._subscriptions.pop(topic, None) is not None and self._instance is not None:
            self._instance.request_heartbeat()

    async def start(self) -> None:
        """Start the background work. Asks nobody yet."""
        if self._instance is not None:
            return
        instance = self._new_instance()
        instance.add_consumer(self)
        await instance.start()
        self._started_ms = self._clock.now_ms()
        self._instance = instance

    async def stop(self) -> None:
        """Leave the group. Messages nobody has seen are given back; those that were received keep their time."""
        instance = self._instance
        if instance is None:
            return
        await self._tasks.cancel_all()
        left_over, self._left_over = self._left_over, []
        for _, messages in left_over:
            await self._give_back(messages)
        self._instance = None
        await instance.remove_consumer(self.group)
        await instance.stop()

    async def receive(
        self, max_messages: int = COUNT_MAX, *, invisible_ms: int | None = None, timeout_ms: int = 15_000
    ) -> list[MessageExt]:
        """Up to so many messages of one topic at one broker; waits for the first one up to timeout_ms.

        Topics and brokers take turns. invisible_ms: for these messages instead of the consumer's own.
        Returns: an empty list when nothing came in time.
        Raises: ClientError when nothing is subscribed; BrokerError or RemotingError when no broker could be asked.
        """
        if not 1 <= max_messages <= COUNT_MAX:
            raise ClientError(f"max_messages is {max_messages}; one pop brings 1 to {COUNT_MAX}")
        invisible_ms = self._invisible_ms if invisible_ms is None else invisible_ms
        _check_invisible(invisible_ms)
        if not self._subscriptions:
            raise ClientError(f"consumer group {self.group} subscribes to nothing; call subscribe(topic) before receive()")
        instance = self._running()
        deadline = self._clock.monotonic_ms() + timeout_ms
        while True:
            found = self._take_left_over(max_messages)
            if found:
                return found
            began = self._clock.monotonic_ms()
            left_ms = int(deadline - began)
            wait_ms = max(min(left_ms, LOOK_AGAIN_MS), 0)
            places = await self._source.places(instance)
            found = await self._pop_in_turn(places, max_messages, invisible_ms, wait_ms if len(places) == 1 else 0)
            if found or left_ms <= 0:
                return found
            if len(places) > 1:
                await self._source.wait_for_any(instance, places, wait_ms)
            took_ms = self._clock.monotonic_ms() - began
            await self._clock.sleep_ms(max(min(PAUSE_MS - took_ms, left_ms), 0))

    async def ack(self, *messages: MessageExt) -> None:
        """These messages are done. Several of one broker travel in one request.

        Returns when the brokers have noted it; a message whose time was over meanwhile comes again nevertheless.
        Raises: ClientError for a message that was not received here; BrokerError and RemotingError.
        """
        instance = self._running()
        by_broker: dict[str, list[tuple[str, str]]] = {}
        for message in messages:
            topic, handle = self._handle_of(message)
            by_broker.setdefault(parse_receipt(handle).broker_name, []).append((topic, handle))
        for broker_name, handles in by_broker.items():
            address = self._master(broker_name)
            if len(handles) == 1:
                await instance.pops.ack(address, self.group, *handles[0])
            else:
                await instance.pops.batch_ack(address, self.group, handles)

    async def change_invisible_duration(self, message: MessageExt, invisible_ms: int) -> None:
        """Keep a received message for so long from now on: more time for slow work, or less to have it tried again soon.

        The message carries its new handle afterwards. Raises: as ack().
        """
        _check_invisible(invisible_ms)
        topic, handle = self._handle_of(message)
        address = self._master(parse_receipt(handle).broker_name)
        message.properties[message_const.POP_CK] = await self._running().pops.change_invisible_time(
            address, self.group, topic, handle, invisible_ms
        )

    async def to_dead_letters(self, message: MessageExt) -> None:
        """Give a received message up: a copy goes to the group's dead letter topic, and the message is done.

        Raises: as ack().
        """
        topic, handle = self._handle_of(message)
        address = self._master(parse_receipt(handle).broker_name)
        # The copy first: a failure in between gives the message twice, never not at all.
        await self._running().brokers.send_back(
            address,
            group=self.group,
            physical_offset=message.physical_offset,
            delay_level=DEAD,
            origin_msg_id=message.msg_id,
            origin_topic=topic,
            max_reconsume_times=self._max_reconsume_times,
        )
        await self.ack(message)

    # --- pops

    def _master(self, broker_name: str) -> str:
        """Raises: ClientError."""
        return self._running().master_address(broker_name)

    async def _pop_in_turn(self, places: Sequence[Place], count: int, invisible_ms: int, poll_ms: int) -> list[MessageExt]:
        """The messages of the first place that has some. Raises: MQError when no place could be asked."""
        failed: list[MQError] = []
        for place in places:
            try:
                found = await self._pop_and_keep(place, count, invisible_ms, poll_ms)
            except (BrokerError, RemotingError) as error:
                logger.warning("group %s pops nothing of %s at %s: %s", self.group, place.topic, place.broker_name, error)
                failed.append(error)
                continue
            if found:
                return found
        if failed and len(failed) == len(places):
            raise failed[0]
        return []

    async def _pop_and_keep(self, place: Place, count: int, invisible_ms: int, poll_ms: int) -> list[MessageExt]:
        """One pop. It outlives a receive() that is cancelled: its messages would be out for nothing."""
        until = self._clock.monotonic_ms() + poll_ms + invisible_ms / 2
        pop = self._tasks.start(self._pop(place, count, invisible_ms, poll_ms), name=f"gantry-pop-{place.topic}")
        try:
            return await asyncio.shield(pop)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if pop.cancelled() and current is not None and not current.cancelling():
                raise ClientError(f"pop consumer {self.group} was stopped while it waited for messages") from None
            pop.add_done_callback(lambda done: self._keep(until, done))
            raise

    def _keep(self, until: float, pop: asyncio.Task[list[MessageExt]]) -> None:
        if not pop.cancelled() and pop.exception() is None and pop.result():
            self._left_over.append((until, pop.result()))

    def _take_left_over(self, count: int) -> list[MessageExt]:
        while self._left_over:
            until, messages = self._left_over.pop(0)
            if until > self._clock.monotonic_ms() and normal_topic(messages[0].topic, self.group) in self._subscriptions:
                if messages[count:]:
                    self._left_over.insert(0, (until, messages[count:]))
                return messages[:count]
        return []

    async def _pop(self, place: Place, count: int, invisible_ms: int, poll_ms: int) -> list[MessageExt]:
        subscription = self._subscriptions.get(place.topic)
        if subscription is None:
            return []
        result = await self._source.pop(
            self._running(), place, subscription, count=count, invisible_ms=invisible_ms, poll_ms=poll_ms
        )
        if result.status is not PopStatus.FOUND:
            return []
        wanted = matching(result.messages, subscription)
        if len(wanted) < len(result.messages):
            kept = {id(message) for message in wanted}
            # Another tag with the same hash: nobody in the group wants it.
            await self._settle([message for message in result.messages if id(message) not in kept], self.ack)
        dead = [message for message in wanted if message.reconsume_times > self._max_reconsume_times]
        if dead:
            for message in dead:
                await self._settle([message], self.to_dead_letters)
            wanted = [message for message in wanted if message.reconsume_times <= self._max_reconsume_times]
        return wanted

    async def _settle(self, messages: Sequence[MessageExt], how: Any) -> None:
        """What fails here is tried again when the messages come back."""
        try:
            await how(*messages)
        except MQError as error:
            logger.warning("%d messages of group %s wait on: %s", len(messages), self.group, error)

    async def _give_back(self, messages: Sequence[MessageExt]) -> None:
        for message in messages:
            try:
                await self.change_invisible_duration(message, GIVE_BACK_MS)
            except MQError as error:
                logger.info("a message of %s comes back at its own time only: %s", message.topic, error)
                return

    def _handle_of(self, message: MessageExt) -> tuple[str, str]:
        handle = message.properties.get(message_const.POP_CK)
        if handle is None:
            raise ClientError(f"message {message.msg_id} of {message.topic} has no handle; receive() gives one")
        return normal_topic(message.topic, self.group), handle

    def _running(self) -> ClientInstance:
        if self._instance is None:
            raise ClientError(f"pop consumer {self.group} is not started; use 'async with' or await start()")
        return self._instance

    # --- what the client instance asks

    def consumer_data(self) -> ConsumerData:
        return ConsumerData(
            group_name=self.group,
            consume_type=CONSUME_POP,
            message_model=CLUSTERING,
            consume_from_where=self._where.value,
            subscription_data_set=[self._subscriptions[topic] for topic in self.topics()],
        )

    def topics(self) -> list[str]:
        return sorted(self._subscriptions)

    def wake_rebalance(self) -> None:
        """Brokers share messages out; membership changes nothing."""

    async def reset_offsets(self, topic: str, offsets: dict[MessageQueue, int]) -> None:
        """Brokers keep the offsets of pops, and have set them."""

    def consume_status(self, topic: str) -> dict[MessageQueue, int]:
        return {}

    def running_info(self) -> dict[str, Any]:
        info = running_info(
            assigned={},
            subscriptions=[self._subscriptions[topic] for topic in self.topics()],
            committed=lambda queue: None,
            orderly=False,
            concurrency=0,
            name_servers=self._name_servers,
            started_ms=self._started_ms,
            monotonic_ms=self._clock.monotonic_ms(),
        )
        info["properties"]["PROP_CONSUME_TYPE"] = CONSUME_POP
        return info


def _check_invisible(invisible_ms: int) -> None:
    """Raises: ConfigError."""
    if invisible_ms < 1:
        raise ConfigError(f"a message cannot be kept for {invisible_ms} ms; the least is 1")
