"""PushConsumer: messages come to a listener as they arrive."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from typing import Any

from gantry.errors import ClientError, MQError, RemotingError
from gantry.model import ConsumerData, Message, MessageExt, MessageQueue, SubscriptionData, message_const
from gantry.model.heartbeat import CONSUME_PASSIVELY, is_tag_type
from gantry.model.names import CLIENT_INNER_PRODUCER_GROUP, is_retry_topic, retry_topic
from gantry.model.topic_validator import validate_group
from gantry.protocol.remoting.header.pull_message import PullMessageRequestHeader

from .assigned_queue import AssignedQueue, QueuePuller
from .client_base import ClientBase
from .client_id import DEFAULT_INSTANCE_NAME
from .client_instance import ClientInstance
from .consume_concurrently import ConsumeConcurrently
from .consume_orderly import ConsumeOrderly
from .consumer_options import ConsumeFromWhere, ConsumerOptions, MessageModel
from .consumer_trace import ConsumerTraces
from .doors import Doors
from .listener import Listener
from .message_encoding import MessageEncoder
from .message_selector import MessageSelector
from .offset_store import LocalOffsetStore, OffsetStore, RemoteOffsetStore
from .producer import ProducerOptions
from .rebalance import plan_rebalance, strategy_named
from .remoting import Remoting
from .results import PullResult
from .running_info import running_info
from .subscription import build_subscription, subscription_to
from .tasks import TaskSet

logger = logging.getLogger(__name__)

LOCK_RENEW_MS = 20_000
REBALANCE_AGAIN_MS_MIN = 1_000
ATTEMPTS_DEFAULT = 16


class PushConsumer(ClientBase):
    """Delivers the messages of the subscribed topics to one listener.

        async def on_messages(messages: list[MessageExt]) -> None:
            for message in messages:
                print(message.topic, message.body)

        consumer = PushConsumer("printers", on_messages, name_servers="127.0.0.1:9876")
        consumer.subscribe("Orders", "drinks || food")
        async with consumer:
            await asyncio.sleep(60)

    Every message is delivered at least once: a listener must live with one that comes again. A listener that raises,
    or returns RECONSUME_LATER, gets its messages again later (concurrent) or first of all (orderly); raising
    RetryLater chooses when. The members of a group must subscribe to the same topics with the same expressions.
    """

    def __init__(
        self,
        group: str,
        listener: Listener,
        *,
        name_servers: str | None = None,
        orderly: bool = False,
        message_model: MessageModel = MessageModel.CLUSTERING,
        options: ConsumerOptions | None = None,
        instance_name: str | None = None,
        doors: Doors | None = None,
        remoting: Remoting | None = None,
        offset_store: OffsetStore | None = None,
    ) -> None:
        """Nothing is contacted yet. name_servers: `host:9876;host2:9876`, by default from the environment (NAMESRV_ADDR).

        offset_store: where to keep offsets instead of the broker (clustering) or a file (broadcasting).
        orderly: one listener at a time per queue, in order; otherwise listeners run side by side.
        Raises: ConfigError without a name server address or for an unknown strategy; ClientError for a bad group name.
        """
        remark = validate_group(group)
        if remark is not None:
            raise ClientError(f"consumer group: {remark}")
        self.group = group
        self.orderly = orderly
        self.message_model = message_model
        self.options = options or ConsumerOptions()
        self._strategy = strategy_named(self.options.allocate_strategy)
        self._listener = listener
        super().__init__(name_servers=name_servers, instance_name=instance_name, doors=doors, remoting=remoting)
        self._clock = self._doors.clock
        self._own_offset_store = offset_store
        self._traces: ConsumerTraces | None = None
        if self.options.trace:
            self._traces = ConsumerTraces(
                group, self.options.trace_topic, name_servers=self._name_servers, doors=self._doors, remoting=remoting
            )
            self._listener = self._traces.listener(listener)
        self._subscriptions: dict[str, SubscriptionData] = {}
        self._assigned: dict[MessageQueue, AssignedQueue] = {}
        self._leaving: set[MessageQueue] = set()
        self._tasks = TaskSet()
        self._rebalance_wanted = asyncio.Event()
        self._started_ms = 0
        self._offsets: OffsetStore
        self._puller: QueuePuller
        self._consume: ConsumeConcurrently | ConsumeOrderly
        self._encoder: MessageEncoder

    # --- what users call

    def subscribe(self, topic: str, expression: str | MessageSelector = "*") -> None:
        """Listen to a topic: `*`, tags joined by `||`, or a MessageSelector. May be called before start() and while running.

        Raises: ClientError for a topic name that is not allowed or an expression that cannot be read.
        """
        self._subscriptions[topic] = subscription_to(topic, expression, sub_version=self._clock.now_ms())
        self._subscriptions_changed()

    def unsubscribe(self, topic: str) -> None:
        """Stop listening to a topic; its queues go to the other members of the group."""
        if self._subscriptions.pop(topic, None) is not None:
            self._subscriptions_changed()

    async def start(self) -> None:
        """Join the group and begin to pull.

        Returns when the routes were asked for and brokers know this consumer; queues arrive with the first rebalance, at once.
        A topic that does not exist yet is waited for.
        Raises: ClientError when nothing is subscribed or no name server answers; BrokerError when a broker takes no
                expressions over properties, or not this one.
        """
        if self._instance is not None:
            return
        if not self._subscriptions:
            raise ClientError(f"consumer group {self.group} subscribes to nothing; call subscribe(topic) before start()")
        clustering = self.message_model is MessageModel.CLUSTERING
        if clustering:
            topic = retry_topic(self.group)
            self._subscriptions[topic] = build_subscription(topic, "*", sub_version=self._clock.now_ms())
        # A broadcasting client finds its offset file by its id, so that must not change with every start.
        instance = self._new_instance(None if clustering else DEFAULT_INSTANCE_NAME)
        self._started_ms = self._clock.now_ms()
        self._build(instance, clustering)
        instance.add_consumer(self)
        try:
            await self._offsets.load()
            for topic in self.topics():
                if not await instance.refresh_route(topic) and not is_retry_topic(topic):
                    logger.warning("topic %s does not exist yet; waiting for it. %s", topic, instance.no_route(topic))
            for subscription in self._subscriptions.values():
                await self._check(instance, subscription)
        except MQError:
            await instance.stop()
            raise
        self._instance = instance
        await instance.start()
        if self._traces is not None:
            await self._traces.start()
        await instance.heartbeat_all()
        self._consume.start()
        self._rebalance_wanted.set()
        self._tasks.start(self._rebalance_loop(), name="gantry-consumer-rebalance")
        self._tasks.start(self._persist_loop(), name="gantry-consumer-offsets")
        if self.orderly and clustering:
            self._tasks.start(self._lock_loop(), name="gantry-consumer-locks")

    async def _check(self, instance: ClientInstance, subscription: SubscriptionData) -> None:
        """Asks one broker of the topic whether it takes the expression; the others are believed to be set alike."""
        if is_tag_type(subscription.expression_type):
            return
        for broker_name in instance.routes.broker_names_of(subscription.topic)[:1]:
            address = instance.address(broker_name)
            try:
                await instance.brokers.check_client_config(address, instance.client_id, self.group, subscription)
            except RemotingError as error:
                # It says the same to the first pull, when it is there again.
                logger.warning("the expression over %s is not checked: %s", subscription.topic, error)

    async def stop(self) -> None:
        """Leave the group: no new message, listeners that run may finish, offsets are committed, locks given back."""
        instance = self._instance
        if instance is None:
            return
        await self._tasks.cancel_all()
        await self._consume.stop(self.options.stop_timeout_ms)
        queues = [*self._assigned, *self._leaving]
        for assigned in self._assigned.values():
            assigned.drop()
        await self._offsets.persist(queues)
        if self._needs_lock:
            await self._unlock(queues)
        self._assigned.clear()
        self._leaving.clear()
        if self._traces is not None:
            await self._traces.stop()
        await instance.remove_consumer(self.group)
        await instance.stop()
        self._instance = None

    @property
    def client_id(self) -> str:
        return self._running().client_id

    def assignment(self) -> list[MessageQueue]:
        """Queues this consumer reads now, sorted."""
        return sorted(self._assigned)

    # --- what the client instance asks

    def consumer_data(self) -> ConsumerData:
        return ConsumerData(
            group_name=self.group,
            consume_type=CONSUME_PASSIVELY,
            message_model=self.message_model.value,
            consume_from_where=self.options.consume_from_where.value,
            subscription_data_set=[self._subscriptions[topic] for topic in sorted(self._subscriptions)],
        )

    def topics(self) -> Iterable[str]:
        return sorted(self._subscriptions)

    def wake_rebalance(self) -> None:
        self._rebalance_wanted.set()

    async def reset_offsets(self, topic: str, offsets: dict[MessageQueue, int]) -> None:
        """Go on elsewhere, as an operator asked."""
        for queue, offset in offsets.items():
            assigned = self._assigned.get(queue)
            if queue.topic == topic and assigned is not None:
                logger.info("offset of %s is reset to %d on request", queue, offset)
                await self._restart_at(assigned, offset)

    def consume_status(self, topic: str) -> dict[MessageQueue, int]:
        offsets = {queue: self._offsets.in_memory(queue) for queue in self._assigned if queue.topic == topic}
        return {queue: offset for queue, offset in offsets.items() if offset is not None}

    def running_info(self) -> dict[str, Any]:
        return running_info(
            assigned=self._assigned,
            subscriptions=[self._subscriptions[topic] for topic in sorted(self._subscriptions)],
            committed=self._offsets.in_memory,
            orderly=self.orderly,
            concurrency=self.options.concurrency,
            name_servers=self._name_servers,
            started_ms=self._started_ms,
            monotonic_ms=self._clock.monotonic_ms(),
        )

    # --- building

    @property
    def _needs_lock(self) -> bool:
        return self.orderly and self.message_model is MessageModel.CLUSTERING

    def _build(self, instance: ClientInstance, clustering: bool) -> None:
        brokers, group = instance.brokers, self.group
        at_broker = clustering and self._own_offset_store is None
        if self._own_offset_store is not None:
            self._offsets = self._own_offset_store
        elif clustering:

            async def query(queue: MessageQueue) -> int | None:
                return await brokers.query_offset(instance.address(queue.broker_name), group, queue)

            async def commit(queue: MessageQueue, offset: int) -> None:
                await brokers.commit_offset(instance.address(queue.broker_name), group, queue, offset)

            self._offsets = RemoteOffsetStore(query=query, commit=commit)
        else:
            root = self.options.offset_dir or os.path.expanduser("~/.rocketmq_offsets")
            path = f"{root}/{instance.client_id}/{group}/offsets.json"
            self._offsets = LocalOffsetStore(disk=self._doors.disk, path=path)
        self._encoder = MessageEncoder(
            group=CLIENT_INNER_PRODUCER_GROUP, options=ProducerOptions(), ip=instance.ip, doors=self._doors
        )
        if self.orderly:
            self._consume = ConsumeOrderly(
                listener=self._listener,
                options=self.options,
                clock=self._clock,
                needs_lock=self._needs_lock,
                give_up=self._resend if clustering and self.options.max_reconsume_times >= 0 else None,
                on_progress=self._progress,
            )
        else:
            self._consume = ConsumeConcurrently(
                listener=self._listener,
                options=self.options,
                clock=self._clock,
                send_back=self._send_back if clustering else None,
                on_progress=self._progress,
            )
        self._puller = QueuePuller(
            group=group,
            source=self,
            clock=self._clock,
            options=self.options,
            orderly=self.orderly,
            needs_lock=self._needs_lock,
            subscription=self._subscriptions.get,
            committed_offset=self._offsets.in_memory if at_broker else lambda queue: None,
            on_messages=self._consume.submit,
            on_offset_moved=self._restart_at,
            on_nothing_held=lambda assigned: self._progress(assigned, assigned.next_offset),
            on_subscription_unknown=instance.request_heartbeat,
        )

    async def pull(self, queue: MessageQueue, broker_id: int, header: PullMessageRequestHeader) -> PullResult:
        instance = self._running()
        return await instance.brokers.pull(
            instance.address(queue.broker_name, broker_id),
            header,
            broker_name=queue.broker_name,
            timeout_ms=self.options.pull_timeout_ms,
        )

    # --- rebalance

    async def _rebalance_loop(self) -> None:
        again_ms = REBALANCE_AGAIN_MS_MIN
        while True:
            await self._rebalance_wanted.wait()
            self._rebalance_wanted.clear()
            balanced = await self._rebalance()
            # What could not be settled (a lock not free yet, a topic not created yet) is tried again soon, then less soon.
            again_ms = REBALANCE_AGAIN_MS_MIN if balanced else min(again_ms * 2, self.options.rebalance_ms)
            timer = self._clock.call_later(self.options.rebalance_ms if balanced else again_ms, self._rebalance_wanted.set)
            try:
                await self._rebalance_wanted.wait()
            finally:
                timer.cancel()

    async def _rebalance(self) -> bool:
        """One round over all topics. Returns: whether every queue that should be read here is."""
        balanced = True
        for topic in sorted(self._subscriptions):
            try:
                wanted = await self._wanted_queues(topic)
            except MQError as error:
                logger.warning("rebalance of %s in group %s is put off: %s", topic, self.group, error)
                wanted = None
            if wanted is None or not await self._apply(topic, wanted):
                balanced = False
        for queue in [queue for queue in self._assigned if queue.topic not in self._subscriptions]:
            await self._give_away(queue)
        return balanced

    async def _wanted_queues(self, topic: str) -> list[MessageQueue] | None:
        """Queues of the topic that belong to this consumer; None when that cannot be told now."""
        instance = self._running()
        queues = instance.routes.subscribe_queues(topic)
        if queues is None:
            if not await instance.refresh_route(topic):
                return None
            queues = instance.routes.subscribe_queues(topic) or []
        if self.message_model is MessageModel.BROADCASTING:
            return queues
        broker_names = instance.routes.broker_names_of(topic)
        if not broker_names:
            return None
        address = instance.address(self._doors.rng.choice(broker_names))
        client_ids = await instance.brokers.consumer_ids(address, self.group)
        if instance.client_id not in client_ids:
            # The broker was restarted or our heartbeat is late. Keep what we have until it knows us again.
            instance.request_heartbeat()
            return None
        return self._strategy(instance.client_id, queues, client_ids)

    async def _apply(self, topic: str, wanted: list[MessageQueue]) -> bool:
        held = [queue for queue in self._assigned if queue.topic == topic]
        plan = plan_rebalance(held, wanted)
        for queue in plan.drop:
            await self._give_away(queue)
        take = [queue for queue in plan.take if queue not in self._leaving]
        complete = len(take) == len(plan.take)
        if self._needs_lock:
            granted = await self._lock(take)
            complete = complete and len(granted) == len(take)
            take = [queue for queue in take if queue in granted]
        if plan.changed:
            logger.info(
                "group %s: %d queues of %s are ours, %d dropped, %d taken",
                self.group,
                len(wanted),
                topic,
                len(plan.drop),
                len(take),
            )
        results = await asyncio.gather(*(self._take(queue) for queue in take))
        return complete and all(results)

    async def _take(self, queue: MessageQueue) -> bool:
        try:
            offset = await self._first_offset(queue)
        except MQError as error:
            logger.warning("queue %s cannot be taken yet: %s", queue, error)
            return False
        if queue in self._assigned:
            return True
        assigned = self._assigned[queue] = AssignedQueue(queue, next_offset=offset)
        if self._needs_lock:
            assigned.locked_at_ms = self._clock.monotonic_ms()
        self._consume.queue_taken(assigned)
        assigned.tasks.append(self._tasks.start(self._puller.run(assigned), name=f"gantry-pull-{queue.topic}-{queue.queue_id}"))
        return True

    async def _first_offset(self, queue: MessageQueue) -> int:
        """Where to begin: the group's offset, else by the setting consume_from_where.

        Source: RebalancePushImpl.computePullFromWhere (5.3).
        """
        kept = await self._offsets.read(queue)
        if kept is not None and kept >= 0:
            return kept
        where = self.options.consume_from_where
        if is_retry_topic(queue.topic) or where is ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET:
            return 0
        instance = self._running()
        address = instance.address(queue.broker_name)
        if where is ConsumeFromWhere.CONSUME_FROM_TIMESTAMP:
            return await instance.brokers.search_offset(address, queue, self.options.consume_timestamp_ms)
        return await instance.brokers.max_offset(address, queue)

    async def _give_away(self, queue: MessageQueue) -> None:
        """Let another consumer have the queue. Its offset is committed first."""
        assigned = self._assigned.pop(queue, None)
        if assigned is None:
            return
        assigned.drop()
        if self._needs_lock:
            # Its listener may run for long; the other queues must not wait for it.
            self._leaving.add(queue)
            self._tasks.start(self._leave_locked(assigned), name=f"gantry-leave-{queue.topic}-{queue.queue_id}")
        else:
            await self._forget(queue)

    async def _leave_locked(self, assigned: AssignedQueue) -> None:
        try:
            await self._consume.queue_dropped(assigned)
            await self._forget(assigned.queue)
            await self._unlock([assigned.queue])
        finally:
            self._leaving.discard(assigned.queue)

    async def _forget(self, queue: MessageQueue) -> None:
        await self._offsets.persist([queue])
        self._offsets.forget(queue)

    async def _restart_at(self, assigned: AssignedQueue, offset: int) -> None:
        """Throw away what is held of a queue and read it anew from offset."""
        assigned.drop()
        if self._assigned.get(assigned.queue) is assigned:
            del self._assigned[assigned.queue]
        self._offsets.update(assigned.queue, offset, increase_only=False)
        await self._forget(assigned.queue)
        self.wake_rebalance()

    # --- progress and failures of messages

    def _progress(self, assigned: AssignedQueue, offset: int) -> None:
        self._offsets.update(assigned.queue, offset, increase_only=True)

    async def _send_back(self, assigned: AssignedQueue, message: MessageExt, delay_level: int) -> None:
        instance = self._running()
        attempts = self.options.max_reconsume_times
        await instance.brokers.send_back(
            instance.address(assigned.queue.broker_name),
            group=self.group,
            physical_offset=message.physical_offset,
            delay_level=delay_level,
            origin_msg_id=message.msg_id,
            origin_topic=message.topic,
            max_reconsume_times=ATTEMPTS_DEFAULT if attempts < 0 else attempts,
        )

    async def _resend(self, assigned: AssignedQueue, message: MessageExt) -> None:
        """Hand a message that had its last attempt to the broker by sending it to the retry topic.

        The broker sees that its attempts are used up, or that the group holds locks, and puts it in the dead letter topic.
        Source: ConsumeMessageOrderlyService.sendMessageBack (5.3).
        """
        instance = self._running()
        properties = dict(message.properties)
        properties.pop(message_const.TRANSACTION_PREPARED, None)
        properties.setdefault(message_const.ORIGIN_MESSAGE_ID, message.msg_id)
        properties[message_const.RETRY_TOPIC] = message.topic
        properties[message_const.RECONSUME_TIME] = str(message.reconsume_times)
        properties[message_const.MAX_RECONSUME_TIMES] = str(self.options.max_reconsume_times)
        properties[message_const.DELAY_TIME_LEVEL] = str(3 + message.reconsume_times)
        topic = retry_topic(self.group)
        encoded = self._encoder.encode(Message(topic=topic, body=message.body, flag=message.flag, properties=properties))
        queue = (await instance.publish_info(topic)).choose()
        await instance.brokers.send(
            instance.master_address(queue.broker_name), encoded.command(queue), queue, encoded.message_id, timeout_ms=5000
        )

    # --- locks

    async def _lock(self, queues: list[MessageQueue]) -> set[MessageQueue]:
        """Ask for the locks, broker by broker. Returns: the queues granted."""
        instance = self._running()

        async def one(broker_name: str, wanted: list[MessageQueue]) -> set[MessageQueue]:
            try:
                address = instance.master_address(broker_name)
                return await instance.brokers.lock(address, self.group, instance.client_id, wanted)
            except MQError as error:
                logger.warning("broker %s grants no locks to group %s now: %s", broker_name, self.group, error)
                return set()

        by_broker = _by_broker(queues)
        granted: set[MessageQueue] = set()
        for result in await asyncio.gather(*(one(name, wanted) for name, wanted in by_broker.items())):
            granted |= result
        return granted & set(queues)

    async def _unlock(self, queues: list[MessageQueue]) -> None:
        instance = self._running()
        for broker_name, held in _by_broker(queues).items():
            try:
                await instance.brokers.unlock(instance.master_address(broker_name), self.group, instance.client_id, held)
            except MQError as error:
                logger.info("locks at %s are not given back, they expire by themselves: %s", broker_name, error)

    async def _lock_loop(self) -> None:
        while True:
            await self._clock.sleep_ms(LOCK_RENEW_MS)
            granted = await self._lock(list(self._assigned))
            now_ms = self._clock.monotonic_ms()
            for queue, assigned in self._assigned.items():
                if queue in granted:
                    assigned.locked_at_ms = now_ms
                elif not assigned.holds_lock(now_ms):
                    logger.warning("the lock of %s is lost; its consumption pauses", queue)

    # --- loops and helpers

    async def _persist_loop(self) -> None:
        while True:
            await self._clock.sleep_ms(self.options.persist_offset_ms)
            await self._offsets.persist(list(self._assigned))

    def _subscriptions_changed(self) -> None:
        if self._instance is not None:
            self._instance.request_heartbeat()
            self.wake_rebalance()

    def _running(self) -> ClientInstance:
        if self._instance is None:
            raise ClientError(f"consumer group {self.group} is not started; use 'async with' or await start()")
        return self._instance


def _by_broker(queues: Iterable[MessageQueue]) -> dict[str, list[MessageQueue]]:
    groups: dict[str, list[MessageQueue]] = {}
    for queue in sorted(queues):
        groups.setdefault(queue.broker_name, []).append(queue)
    return groups
