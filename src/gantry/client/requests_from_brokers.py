"""Requests that brokers send to clients over the client's own connection: the table of codes, headers and handlers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gantry.errors import BrokerError
from gantry.model import MessageQueue, message_const
from gantry.protocol import json_dialect
from gantry.protocol.message.properties import find_property
from gantry.protocol.message.record import RecordView
from gantry.protocol.remoting import RemotingCommand, RequestCode, ResponseCode
from gantry.protocol.remoting.header.check_transaction_state import CheckTransactionStateRequestHeader
from gantry.protocol.remoting.header.get_consumer_running_info import GetConsumerRunningInfoRequestHeader
from gantry.protocol.remoting.header.get_consumer_status_from_client import GetConsumerStatusFromClientRequestHeader
from gantry.protocol.remoting.header.notify_consumer_ids_changed import NotifyConsumerIdsChangedRequestHeader
from gantry.protocol.remoting.header.reply_message import ReplyMessageRequestHeader
from gantry.protocol.remoting.header.reset_offset import ResetConsumerClientOffsetRequestHeader

from .request_reply import PendingReplies

logger = logging.getLogger(__name__)

Handler = Callable[[Any, RemotingCommand, Any], "RemotingCommand | Awaitable[RemotingCommand | None] | None"]


class Consumer(Protocol):
    """The part of a consumer that brokers may ask for."""

    def wake_rebalance(self) -> None: ...

    async def reset_offsets(self, topic: str, offsets: dict[MessageQueue, int]) -> None: ...

    def consume_status(self, topic: str) -> dict[MessageQueue, int]: ...

    def running_info(self) -> dict[str, Any]: ...


class TransactionMember(Protocol):
    """The part of a transactional producer that brokers may ask for."""

    def check(self, channel: Any, request: RemotingCommand, header: CheckTransactionStateRequestHeader) -> None: ...


class Members(Protocol):
    def consumer(self, group: str) -> Consumer | None: ...

    def transaction_producer(self, group: str) -> TransactionMember | None: ...


def requests_from_brokers(members: Members, replies: PendingReplies) -> list[tuple[RequestCode, type[Any], Handler]]:
    """Rows for the request table of the remoting client."""

    def consumer_of(group: str) -> Consumer:
        found = members.consumer(group)
        if found is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"this client has no consumer of group {group}")
        return found

    def notify_consumer_ids_changed(
        context: Any, request: RemotingCommand, header: NotifyConsumerIdsChangedRequestHeader
    ) -> None:
        consumer = members.consumer(header.consumer_group)
        if consumer is not None:
            consumer.wake_rebalance()

    async def reset_offset(context: Any, request: RemotingCommand, header: ResetConsumerClientOffsetRequestHeader) -> None:
        consumer = members.consumer(header.group)
        if consumer is not None:
            await consumer.reset_offsets(header.topic, read_reset_body(request.body))

    def consume_status(
        context: Any, request: RemotingCommand, header: GetConsumerStatusFromClientRequestHeader
    ) -> RemotingCommand:
        table = consumer_of(header.group).consume_status(header.topic)
        return request.reply(body=json_dialect.encode({"messageQueueTable": table}))

    def running_info(context: Any, request: RemotingCommand, header: GetConsumerRunningInfoRequestHeader) -> RemotingCommand:
        return request.reply(body=json_dialect.encode(consumer_of(header.consumer_group).running_info()))

    def reply_message(context: Any, request: RemotingCommand, header: ReplyMessageRequestHeader) -> RemotingCommand:
        replies.arrived(header, request.body)
        return request.reply()

    def check_transaction_state(context: Any, request: RemotingCommand, header: CheckTransactionStateRequestHeader) -> None:
        # Which group is meant stands in the message only.
        group = producer_group_of(request.body)
        producer = None if group is None else members.transaction_producer(group)
        if producer is None:
            logger.warning("a broker asks for a transaction of group %s, which has no producer in this client", group)
            return
        producer.check(context.channel, request, header)

    return [
        (RequestCode.CHECK_TRANSACTION_STATE, CheckTransactionStateRequestHeader, check_transaction_state),
        (RequestCode.NOTIFY_CONSUMER_IDS_CHANGED, NotifyConsumerIdsChangedRequestHeader, notify_consumer_ids_changed),
        (RequestCode.RESET_CONSUMER_CLIENT_OFFSET, ResetConsumerClientOffsetRequestHeader, reset_offset),
        (RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT, GetConsumerStatusFromClientRequestHeader, consume_status),
        (RequestCode.GET_CONSUMER_RUNNING_INFO, GetConsumerRunningInfoRequestHeader, running_info),
        (RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT, ReplyMessageRequestHeader, reply_message),
    ]


def producer_group_of(record: bytes) -> str | None:
    """The group of the producer that sent the message of a stored record; None when it does not say."""
    group = find_property(bytes(RecordView(record).properties), message_const.PRODUCER_GROUP.encode())
    return None if group is None else group.decode("utf-8", "replace")


def read_reset_body(body: bytes) -> dict[MessageQueue, int]:
    """Offsets of a reset request, in the form for Java clients (a map keyed by queues) or for C++ ones (a list)."""
    table = json_dialect.decode(body).get("offsetTable") or {}
    if isinstance(table, list):
        return {
            MessageQueue(str(row["topic"]), str(row["brokerName"]), int(row["queueId"])): int(row["offset"]) for row in table
        }
    offsets = {}
    for key, offset in table.items():
        queue = json_dialect.message_queue_key(key)
        if queue is not None:
            offsets[queue] = int(offset)
    return offsets
