"""QUERY_CONSUME_TIME_SPAN (303): how old what a group consumed last is, queue by queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model.message import MessageQueue
from gantry.protocol.remoting.body.consume_time_span import QueryConsumeTimeSpanBody, QueueTimeSpan
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_consume_time_span import QueryConsumeTimeSpanRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class QueryConsumeTimeSpanProcessor:
    """Source: AdminBrokerProcessor.queryConsumeTimeSpan (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: QueryConsumeTimeSpanRequestHeader
    ) -> RemotingCommand:
        topic = self._broker.topics.select(header.topic)
        if topic is None:
            raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, f"topic[{header.topic}] not exist")
        body = QueryConsumeTimeSpanBody()
        for queue_id in range(topic.write_queue_nums):
            body.consume_time_span_set.append(await self._span(header.topic, header.group, queue_id))
        return json_reply(request, body)

    async def _span(self, topic: str, group: str, queue_id: int) -> QueueTimeSpan:
        broker, store = self._broker, self._broker.store
        eldest = await store.earliest_store_time(topic, queue_id)
        end = store.max_offset(topic, queue_id)
        newest = await store.store_time_at(topic, queue_id, end - 1)
        consumed = broker.offsets.query(group, topic, queue_id)
        last = await store.store_time_at(topic, queue_id, consumed - 1) if consumed > 0 else eldest
        delay = 0
        if consumed < end:
            # A group without an offset is measured from the queue's first message, not from a message -1.
            first = await store.first_offset(topic, queue_id)
            following = await store.store_time_at(topic, queue_id, max(consumed, first, 0))
            delay = broker.clock.now_ms() - following if following > 0 else 0
        return QueueTimeSpan(
            message_queue=MessageQueue(topic, broker.config.broker_name, queue_id),
            min_time_stamp=eldest,
            max_time_stamp=newest,
            consume_time_stamp=last,
            delay_time=delay,
            min_time_stamp_str=local_time(eldest),
            max_time_stamp_str=local_time(newest),
            consume_time_stamp_str=local_time(last),
        )


def local_time(timestamp_ms: int) -> str:
    """`yyyy-MM-dd HH:mm:ss:SSS` in the local zone."""
    seconds, millis = divmod(timestamp_ms, 1000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}:{millis:03d}"
