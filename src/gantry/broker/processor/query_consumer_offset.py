"""QUERY_CONSUMER_OFFSET: where a group goes on in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_consumer_offset import (
    QueryConsumerOffsetRequestHeader,
    QueryConsumerOffsetResponseHeader,
)
from gantry.runtime.remoting_server import RequestContext

if TYPE_CHECKING:
    from ..context import BrokerContext


class QueryConsumerOffsetProcessor:
    """A group without an offset starts at 0 while the queue's first message is still in memory, whatever the client's
    consumeFromWhere says; otherwise the client decides (code 22). Source: ConsumerManageProcessor (5.3).
    """

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: QueryConsumerOffsetRequestHeader
    ) -> RemotingCommand:
        broker = self._broker
        offset = broker.offsets.query(header.consumer_group, header.topic, header.queue_id)
        if offset < 0:
            if header.set_zero_if_not_found is False:
                raise BrokerError(ResponseCode.QUERY_NOT_FOUND, "Not found, do not set to zero, maybe this group boot first")
            first = await broker.store.first_offset(header.topic, header.queue_id)
            if first > 0 or not broker.store.is_in_memory(header.topic, header.queue_id, 0):
                raise BrokerError(
                    ResponseCode.QUERY_NOT_FOUND, "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"
                )
            offset = 0
        return request.reply(header=QueryConsumerOffsetResponseHeader(offset=offset))
