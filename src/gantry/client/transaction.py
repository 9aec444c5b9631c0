"""TransactionProducer: messages that are seen when, and only when, a local transaction was done."""

from __future__ import annotations

import enum
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gantry.errors import BrokerError, ClientError, MQError, RemotingError
from gantry.model import Message, MessageExt, message_const, sys_flag
from gantry.protocol.message.message_id import decode_offset_msg_id
from gantry.protocol.remoting import RemotingCommand
from gantry.protocol.remoting.header.check_transaction_state import CheckTransactionStateRequestHeader
from gantry.protocol.remoting.header.end_transaction import EndTransactionRequestHeader

from .doors import Doors
from .message_decoding import decode_pulled
from .producer import Producer, ProducerOptions
from .remoting import Remoting
from .results import SendResult, SendStatus
from .tasks import TaskSet

logger = logging.getLogger(__name__)

CHECKS_PENDING_MAX = 2_000
"""Checks under way at a time; of further ones the broker hears nothing, and asks again."""

_NO_TRANSACTION = (
    message_const.DELAY_TIME_LEVEL,
    message_const.TIMER_DELAY_MS,
    message_const.TIMER_DELAY_SEC,
    message_const.TIMER_DELIVER_MS,
)


class TransactionState(enum.Enum):
    """How a local transaction ended. The values are those of the protocol."""

    COMMIT = sys_flag.TRANSACTION_COMMIT
    ROLLBACK = sys_flag.TRANSACTION_ROLLBACK
    UNKNOWN = sys_flag.TRANSACTION_NOT


class TransactionListener(Protocol):
    """What a program says of its transactions. An exception counts as UNKNOWN."""

    async def execute_local_transaction(self, message: Message, argument: Any) -> TransactionState:
        """Do it now; the broker has the message and shows it to nobody."""

    async def check_local_transaction(self, message: MessageExt) -> TransactionState:
        """The broker does not know how it ended: asked of any producer of the group, maybe of another process than the one
        that did it, and more than once."""


@dataclass(frozen=True, slots=True)
class TransactionSendResult:
    """`send` is where the half message lies; `ended`: the broker has confirmed commit or rollback. When it has not, it asks."""

    send: SendResult
    state: TransactionState
    ended: bool


_TRACED_STATES = {
    TransactionState.COMMIT: "COMMIT_MESSAGE",
    TransactionState.ROLLBACK: "ROLLBACK_MESSAGE",
    TransactionState.UNKNOWN: "UNKNOW",
}
"""As the official client spells them."""


class TransactionProducer(Producer):
    """Sends messages in transactions, and answers brokers that ask how one ended.

        async with TransactionProducer("orders", Listener(), name_servers="127.0.0.1:9876", topics=["Orders"]) as producer:
            result = await producer.send_in_transaction(Message.of("Orders", b"one coffee"), order)

    Brokers ask whatever producer of the group is connected: a program that only ever restarts to answer names its `topics`,
    whose brokers then know it from the start. Without them a producer is known to the brokers it has sent to.
    Ordinary sends work as with any producer. Source: TransactionMQProducer (5.5).
    """

    def __init__(
        self,
        group: str,
        listener: TransactionListener,
        *,
        topics: Sequence[str] = (),
        name_servers: str | None = None,
        options: ProducerOptions | None = None,
        instance_name: str | None = None,
        doors: Doors | None = None,
        remoting: Remoting | None = None,
    ) -> None:
        """Raises: as Producer()."""
        super().__init__(
            group,
            name_servers=name_servers,
            options=options,
            instance_name=instance_name,
            doors=doors,
            remoting=remoting,
        )
        self._listener = listener
        self._topics = tuple(topics)
        self._checks = TaskSet()

    async def start(self) -> None:
        """As Producer.start(), and the brokers of `topics` know this producer when it returns. Raises: as send() for a topic
        that has no route."""
        if self._instance is not None:
            return
        await super().start()
        instance, _ = self._running()
        instance.add_transaction_producer(self.group, self)
        try:
            for topic in self._topics:
                await instance.publish_info(topic, default_queue_count=self.options.default_topic_queue_nums)
            if self._topics:
                await instance.heartbeat_all()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Checks that are being answered are given up: the broker asks another producer."""
        if self._instance is not None:
            self._instance.remove_transaction_producer(self.group)
        await self._checks.cancel_all()
        await super().stop()

    async def send_in_transaction(
        self, message: Message, argument: Any = None, *, timeout_ms: int | None = None
    ) -> TransactionSendResult:
        """Store the message half, do the local transaction, and tell the broker how it ended.

        A message that is stored less safely than its broker promises is rolled back, and nothing is done locally.
        Raises: as send(), and nothing is done locally then; ClientError for a message with a delay.
        """
        instance, _ = self._running()
        if any(name in message.properties for name in _NO_TRANSACTION):
            raise ClientError("a message in a transaction cannot be delayed: it is there when it is committed")
        marks = {message_const.TRANSACTION_PREPARED: "true", message_const.PRODUCER_GROUP: self.group}
        half = replace(message, properties={**message.properties, **marks})
        result = await self.send(half, timeout_ms=timeout_ms)
        message.properties[message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX] = result.message_id
        if result.status is SendStatus.SEND_OK:
            state, remark = await self._local(message, argument)
        else:
            state, remark = TransactionState.ROLLBACK, f"stored with {result.status.value}"
        _, physical_offset = decode_offset_msg_id(result.offset_message_id)
        header = EndTransactionRequestHeader(
            topic=message.topic,
            producer_group=self.group,
            tran_state_table_offset=result.queue_offset,
            commit_log_offset=physical_offset,
            commit_or_rollback=state.value,
            from_transaction_check=False,
            msg_id=result.message_id,
            transaction_id=result.transaction_id or result.message_id,
        )
        ended = False
        try:
            address = instance.master_address(result.queue.broker_name)
            ended = await instance.brokers.end_transaction(address, header, result.queue.broker_name, remark=remark)
            self._trace_end(message, header, address=address, state=state)
        except (BrokerError, RemotingError, ClientError) as error:
            logger.warning("the end of transaction %s was not taken, the broker will ask: %s", result.message_id, error)
        return TransactionSendResult(result, state, ended)

    async def _local(self, message: Message, argument: Any) -> tuple[TransactionState, str | None]:
        try:
            return await self._listener.execute_local_transaction(message, argument), None
        except Exception as error:
            logger.exception("the local transaction of %s failed; how it ended is unknown", message.topic)
            return TransactionState.UNKNOWN, f"executeLocalTransaction exception: {type(error).__name__}"

    # -- asked by a broker

    def check(self, channel: Any, request: RemotingCommand, header: CheckTransactionStateRequestHeader) -> None:
        """A broker asks; the answer goes back on its connection, when the listener has one."""
        if len(self._checks) >= CHECKS_PENDING_MAX:
            logger.warning("%d checks are under way, this one is left to a later round", CHECKS_PENDING_MAX)
            return
        broker_name = request.field("bname") or ""
        (message,) = decode_pulled(request.body, broker_name=broker_name)
        self._checks.start(self._answer(channel, message, header, broker_name), name="gantry-transaction-check")

    async def _answer(
        self, channel: Any, message: MessageExt, header: CheckTransactionStateRequestHeader, broker_name: str
    ) -> None:
        remark = None
        try:
            state = await self._listener.check_local_transaction(message)
        except Exception as error:
            logger.exception("the check of transaction %s failed; how it ended is unknown", message.msg_id)
            state, remark = TransactionState.UNKNOWN, f"checkLocalTransaction exception: {type(error).__name__}"
        answer = EndTransactionRequestHeader(
            topic=message.topic,
            producer_group=self.group,
            tran_state_table_offset=header.tran_state_table_offset,
            commit_log_offset=header.commit_log_offset,
            commit_or_rollback=state.value,
            from_transaction_check=True,
            msg_id=message.msg_id,
            transaction_id=header.transaction_id or message.msg_id,
        )
        command = RemotingCommand.request(answer)
        command.remark = remark
        command.ext_fields = {**(command.ext_fields or {}), "bname": broker_name}
        try:
            channel.invoke_oneway(command)
            self._trace_end(message, answer, address=channel.remote_address, state=state)
        except MQError as error:
            logger.warning("the answer to a check of %s was not sent, the broker will ask again: %s", message.msg_id, error)

    def _trace_end(
        self, message: Message, header: EndTransactionRequestHeader, *, address: str, state: TransactionState
    ) -> None:
        if self._traces is not None:
            self._traces.ended(
                message,
                header.msg_id,
                address=address,
                transaction_id=header.transaction_id or header.msg_id,
                state=_TRACED_STATES[state],
                checked=bool(header.from_transaction_check),
            )
