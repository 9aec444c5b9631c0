"""QUERY_CONSUME_QUEUE (321): entries of one consume queue, as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.consume_queue import ConsumeQueueData, QueryConsumeQueueBody
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_consume_queue import QueryConsumeQueueRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext

COUNT_MAX = 10_000
"""Entries of one answer; who asks for more is given these."""


class QueryConsumeQueueProcessor:
    """An index outside of the queue is answered with success and a remark, without a body, as the original does.

    Source: AdminBrokerProcessor.queryConsumeQueue (5.5).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: QueryConsumeQueueRequestHeader
    ) -> RemotingCommand:
        store = self._broker.store
        name, queue_id, index = header.topic or "", header.queue_id or 0, header.index or 0
        topic = self._broker.topics.select(name)
        if topic is None or not 0 <= queue_id < max(topic.read_queue_nums, topic.write_queue_nums):
            raise BrokerError(ResponseCode.SYSTEM_ERROR, f"{queue_id}@{name} is not exist!")
        first, end = await store.first_offset(name, queue_id), store.max_offset(name, queue_id)
        if not first <= index < end:
            return request.reply(remark=f"Index {index} of {queue_id}@{name} is not exist!")
        entries = await store.queue_entries(name, queue_id, index, min(header.count or 0, COUNT_MAX))
        body = QueryConsumeQueueBody(
            queue_data=[
                ConsumeQueueData(physic_offset=physical_offset, physic_size=size, tags_code=tags_code)
                for physical_offset, size, tags_code in entries or ()
            ],
            max_queue_index=end,
            min_queue_index=first,
        )
        if header.consumer_group is not None:
            body.subscription_data = self._broker.consumers.find_subscription(header.consumer_group, name)
            if body.subscription_data is None:
                body.filter_data = f"{header.consumer_group}@{name} is not online!"
            else:
                data = self._broker.consumer_filters.find(name, header.consumer_group)
                body.filter_data = json_dialect.encode(data, pretty=True).decode()
        return json_reply(request, body)
