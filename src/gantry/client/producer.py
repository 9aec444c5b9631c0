"""Producer: sends messages to topics."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from gantry.errors import BrokerError, ClientError, RemoteProtocolError, RemotingError, RemotingTimeout
from gantry.model import Message, MessageExt, MessageQueue
from gantry.model.topic_validator import TRACE_TOPIC, validate_group
from gantry.protocol.message.recall_handle import decode_recall_handle
from gantry.protocol.remoting import ResponseCode
from gantry.protocol.remoting.header.recall_message import RecallMessageRequestHeader

from .client_base import ClientBase
from .client_instance import ClientInstance
from .doors import Doors
from .message_encoding import EncodedSend, MessageEncoder
from .message_trace import MessageTraces
from .queue_selectors import QueueSelector, by_message_group
from .remoting import Remoting
from .request_reply import as_request
from .results import SendResult, SendStatus

logger = logging.getLogger(__name__)

RETRY_CODES = frozenset(
    {
        ResponseCode.TOPIC_NOT_EXIST,
        ResponseCode.SERVICE_NOT_AVAILABLE,
        ResponseCode.SYSTEM_ERROR,
        ResponseCode.SYSTEM_BUSY,
        ResponseCode.NO_PERMISSION,
        ResponseCode.NO_BUYER_ID,
        ResponseCode.NOT_IN_CURRENT_UNIT,
    }
)
"""Answers after which another broker may do better. Source: DefaultMQProducer.retryResponseCodes (5.3)."""


@dataclass(frozen=True, slots=True)
class ProducerOptions:
    """Settings of a producer; the defaults are the official ones.

    Units: timeout_ms covers one send with all its attempts; sizes in body bytes; retry_count is attempts after the first.
    trace tells of each message that was sent, in trace_topic; a broker has it with traceTopicEnable.
    """

    timeout_ms: int = 3000
    retry_count: int = 2
    retry_when_not_stored_ok: bool = False
    default_topic_queue_nums: int = 4
    compress_over_bytes: int = 4096
    compress_level: int = 5
    message_bytes_max: int = 4 * 1024 * 1024
    trace: bool = False
    trace_topic: str = TRACE_TOPIC


class Producer(ClientBase):
    """Sends messages; one producer serves any number of topics and tasks.

        async with Producer("orders", name_servers="127.0.0.1:9876") as producer:
            result = await producer.send(Message.of("Orders", b"one coffee", tags="drinks"))

    send() returns when the broker answered that the message is stored. When it raises after a time-out the message may be
    stored all the same: consumers must live with a message that comes twice, by its key.
    Messages to one queue keep their order when each send is awaited before the next.
    """

    def __init__(
        self,
        group: str = "gantry-producer",
        *,
        name_servers: str | None = None,
        options: ProducerOptions | None = None,
        instance_name: str | None = None,
        doors: Doors | None = None,
        remoting: Remoting | None = None,
    ) -> None:
        """Nothing is contacted yet. name_servers: `host:9876;host2:9876`, by default from the environment (NAMESRV_ADDR).

        Raises: ConfigError without a name server address; ClientError for a group name that is not allowed.
        """
        remark = validate_group(group)
        if remark is not None:
            raise ClientError(f"producer group: {remark}")
        self.group = group
        self.options = options or ProducerOptions()
        super().__init__(name_servers=name_servers, instance_name=instance_name, doors=doors, remoting=remoting)
        self._encoder: MessageEncoder | None = None
        self._traces: MessageTraces | None = None

    async def start(self) -> None:
        """Start the background work (routes, heartbeats). The first send to a topic learns its route."""
        if self._instance is not None:
            return
        instance = self._new_instance()
        instance.add_producer(self.group)
        await instance.start()
        self._encoder = MessageEncoder(group=self.group, options=self.options, ip=instance.ip, doors=self._doors)
        self._instance = instance
        if self.options.trace:
            self._traces = MessageTraces(self.group, self.options.trace_topic, self._doors.clock, self.send)
            self._traces.start()

    async def stop(self) -> None:
        """Tell the brokers and close the connections. Sends that are under way fail."""
        traces, self._traces = self._traces, None
        if traces is not None:
            await traces.stop()
        instance, self._instance = self._instance, None
        if instance is not None:
            await instance.remove_producer(self.group)
            await instance.stop()

    @property
    def client_id(self) -> str:
        return self._running()[0].client_id

    async def send(
        self,
        message: Message,
        *,
        queue: MessageQueue | None = None,
        selector: QueueSelector | None = None,
        timeout_ms: int | None = None,
    ) -> SendResult:
        """Send one message and wait until it is stored.

        queue, selector or the message's group fix where it goes, and then there is one attempt only; otherwise queues take
        turns, and a broker that fails is passed over by the next attempt. The message gets its unique id (UNIQ_KEY) here.
        Raises: ClientError (no route, message not allowed), BrokerError (refused), RemotingError (no answer).
        """
        encoded = self._running()[1].encode(message)
        return await self._deliver(message.topic, encoded, message, queue, selector or _by_group([message]), timeout_ms)

    async def send_batch(
        self,
        messages: Sequence[Message],
        *,
        queue: MessageQueue | None = None,
        timeout_ms: int | None = None,
    ) -> SendResult:
        """Send several messages of one topic to one queue in one request; all are stored or none.

        Returns: one result; message_id and offset_message_id are the members' ids joined by commas, in order.
        Raises: as send(); ClientError for messages that cannot travel together (topics or groups differ, delay, retry topic,
                too large).
        """
        encoded = self._running()[1].encode_batch(messages)
        selector = _by_group(messages) if queue is None else None
        return await self._deliver(messages[0].topic, encoded, messages[0], queue, selector, timeout_ms)

    async def send_oneway(
        self,
        message: Message,
        *,
        queue: MessageQueue | None = None,
        selector: QueueSelector | None = None,
    ) -> None:
        """Send without an answer: fast, and nobody learns of a loss. Returns when the request is on its way."""
        instance, encoder = self._running()
        encoded = encoder.encode(message)
        target = await self._choose(message.topic, message, queue, selector or _by_group([message]), frozenset())
        await instance.brokers.send_oneway(instance.master_address(target.broker_name), encoded.command(target))

    async def request(
        self,
        message: Message,
        *,
        queue: MessageQueue | None = None,
        selector: QueueSelector | None = None,
        timeout_ms: int | None = None,
    ) -> MessageExt:
        """Send a message and wait for the reply of whoever consumes it (`reply_to` makes it, any official client as well).

        timeout_ms covers all of it: the send, the consumer's work, the way back.
        Raises: as send(); RemotingTimeout when no reply came: the message may have been consumed all the same.
        """
        instance, encoder = self._running()
        clock = self._doors.clock
        timeout = self.options.timeout_ms if timeout_ms is None else timeout_ms
        deadline = clock.monotonic_ms() + timeout
        correlation_id = self._doors.rng.token(16).hex()
        asked = as_request(message, correlation_id=correlation_id, client_id=self.client_id, timeout_ms=timeout)
        encoded = encoder.encode(asked)
        await instance.publish_info(message.topic, default_queue_count=self.options.default_topic_queue_nums)
        await instance.make_known()
        instance.replies.expect(correlation_id)
        try:
            left_ms = max(1, deadline - clock.monotonic_ms())
            await self._deliver(message.topic, encoded, asked, queue, selector or _by_group([message]), left_ms)
            return await instance.replies.wait(correlation_id, deadline - clock.monotonic_ms())
        finally:
            instance.replies.forget(correlation_id)

    async def recall(self, topic: str, recall_handle: str, *, timeout_ms: int | None = None) -> str:
        """Take back a message that waits for its delivery time, by the `recall_handle` of its SendResult.

        Returns: the message's unique id. When it returns before the delivery time, the message will not be delivered.
        Raises: ClientError for a handle that is none; BrokerError (refused: too late, or recalling is off), RemotingError.
        """
        instance, _ = self._running()
        try:
            handle = decode_recall_handle(recall_handle)
        except RemoteProtocolError as error:
            raise ClientError(str(error)) from None
        await instance.publish_info(topic, default_queue_count=self.options.default_topic_queue_nums)
        message_id = await instance.brokers.recall(
            instance.master_address(handle.broker_name),
            RecallMessageRequestHeader(producer_group=self.group, topic=topic, recall_handle=recall_handle),
            timeout_ms=self.options.timeout_ms if timeout_ms is None else timeout_ms,
        )
        if self._traces is not None:
            self._traces.recalled(topic, message_id)
        return message_id

    async def queues(self, topic: str) -> Sequence[MessageQueue]:
        """The queues this producer may write to, sorted."""
        instance, _ = self._running()
        return (await instance.publish_info(topic, default_queue_count=self.options.default_topic_queue_nums)).queues

    async def _deliver(
        self,
        topic: str,
        encoded: EncodedSend,
        message: Message,
        queue: MessageQueue | None,
        selector: QueueSelector | None,
        timeout_ms: int | None,
    ) -> SendResult:
        instance, _ = self._running()
        clock = self._doors.clock
        deadline = clock.monotonic_ms() + (self.options.timeout_ms if timeout_ms is None else timeout_ms)
        fixed = queue is not None or selector is not None
        attempts = 1 if fixed else 1 + self.options.retry_count
        failed_brokers: set[str] = set()
        failure: Exception | None = None
        weak: SendResult | None = None  # stored, but not as safely as asked
        began_ms = clock.now_ms()
        for attempt in range(attempts):
            target = await self._choose(topic, message, queue, selector, frozenset(failed_brokers))
            left_ms = deadline - clock.monotonic_ms()
            if left_ms <= 0:
                break
            last = attempt == attempts - 1
            try:
                address = instance.master_address(target.broker_name)
                result = await instance.brokers.send(
                    address,
                    encoded.command(target),
                    target,
                    encoded.message_id,
                    timeout_ms=left_ms,
                )
            except BrokerError as error:
                if error.response_code not in RETRY_CODES or last:
                    raise
                failure = error
            except (RemotingError, ClientError) as error:
                if last:
                    raise
                failure = error
            else:
                if self._traces is not None:
                    self._traces.sent(message, encoded.message_id, result, address=address, began_ms=began_ms)
                if result.status is SendStatus.SEND_OK or not self.options.retry_when_not_stored_ok or last:
                    return result
                weak = result
            logger.info("send to %s failed, trying another queue: %s", target, weak or failure)
            failed_brokers.add(target.broker_name)
        if weak is not None:
            return weak
        raise failure or RemotingTimeout(f"no time was left to send to topic {topic}: finding its route took all of timeout_ms")

    async def _choose(
        self,
        topic: str,
        message: Message,
        queue: MessageQueue | None,
        selector: QueueSelector | None,
        avoid: frozenset[str],
    ) -> MessageQueue:
        instance, _ = self._running()
        info = await instance.publish_info(topic, default_queue_count=self.options.default_topic_queue_nums)
        if queue is not None:
            if queue.topic != topic:
                raise ClientError(f"message of topic {topic} cannot go to a queue of topic {queue.topic}")
            return queue
        if selector is None:
            return info.choose(avoid)
        chosen = selector(info.queues, message)
        if chosen not in info.queues:
            raise ClientError(f"the queue selector returned {chosen!r}, which is none of the {len(info.queues)} queues given")
        return chosen

    def _running(self) -> tuple[ClientInstance, MessageEncoder]:
        if self._instance is None or self._encoder is None:
            raise ClientError(
                f"producer {self.group} is not started; use 'async with Producer(...)' or await start() before the first send"
            )
        return self._instance, self._encoder


def _by_group(messages: Sequence[Message]) -> QueueSelector | None:
    """Raises: ClientError when they belong to several groups, or only some of them to one."""
    groups = {message.message_group for message in messages}
    if len(groups) > 1:
        shown = ", ".join(sorted(repr(group) for group in groups))
        raise ClientError(f"messages of the groups {shown} cannot travel together: each group has a queue of its own")
    group = groups.pop()
    return by_message_group(group) if group else None
