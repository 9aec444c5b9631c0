"""Requests that brokers send to clients over the client's own connection: the table of codes, headers and handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gantry.errors import BrokerError
from gantry.model import MessageQueue
from gantry.protocol import json_dialect
from gantry.protocol.remoting import RemotingCommand, RequestCode, ResponseCode
from gantry.protocol.remoting.header.get_consumer_running_info import GetConsumerRunningInfoRequestHeader
from gantry.protocol.remoting.header.get_consumer_status_from_client import GetConsumerStatusFromClientRequestHeader
from gantry.protocol.remoting.header.notify_consumer_ids_changed import NotifyConsumerIdsChangedRequestHeader
from gantry.protocol.remoting.header.reply_message import ReplyMessageRequestHeader
from gantry.protocol.remoting.header.reset_offset import ResetConsumerClientOffsetRequestHeader

from .request_reply import PendingReplies

Handler = Callable[[Any, RemotingCommand, Any], "RemotingCommand | Awaitable[RemotingCommand | None] | None"]


class Consumer(Protocol):
    """The part of a consumer that brokers may ask for."""

    def wake_rebalance(self) -> None: ...

    async def reset_offsets(self, topic: str, offsets: dict[MessageQueue, int]) -> None: ...

    def consume_status(self, topic: str) -> dict[MessageQueue, int]: ...

    def running_info(self) -> dict[str, Any]: ...


class Consumers(Protocol):
    def consumer(self, group: str) -> Consumer | None: ...


def requests_from_brokers(consumers: Consumers, replies: PendingReplies) -> list[tuple[RequestCode, type[Any], Handler]]:
    """Rows for the request table of the remoting client."""

    def consumer_of(group: str) -> Consumer:
        found = consumers.consumer(group)
        if found is None:
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"this client has no consumer of group {group}")
        return found

    def notify_consumer_ids_changed(
        context: Any, request: RemotingCommand, header: NotifyConsumerIdsChangedRequestHeader
    ) -> None:
        consumer = consumers.consumer(header.consumer_group)
        if consumer is not None:
            consumer.wake_rebalance()

    async def reset_offset(context: Any, request: RemotingCommand, header: ResetConsumerClientOffsetRequestHeader) -> None:
        consumer = consumers.consumer(header.group)
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

    return [
        (RequestCode.NOTIFY_CONSUMER_IDS_CHANGED, NotifyConsumerIdsChangedRequestHeader, notify_consumer_ids_changed),
        (RequestCode.RESET_CONSUMER_CLIENT_OFFSET, ResetConsumerClientOffsetRequestHeader, reset_offset),
        (RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT, GetConsumerStatusFromClientRequestHeader, consume_status),
        (RequestCode.GET_CONSUMER_RUNNING_INFO, GetConsumerRunningInfoRequestHeader, running_info),
        (RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT, ReplyMessageRequestHeader, reply_message),
    ]


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
