"""GET_EARLIEST_MSG_STORETIME: when a queue's oldest message was stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_earliest_msg_storetime import (
    GetEarliestMsgStoretimeRequestHeader,
    GetEarliestMsgStoretimeResponseHeader,
)
from gantry.runtime.remoting_server import RequestContext

if TYPE_CHECKING:
    from ..context import BrokerContext


class GetEarliestMsgStoretimeProcessor:
    """-1 when the queue holds none. Source: AdminBrokerProcessor.getEarliestMsgStoretime (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetEarliestMsgStoretimeRequestHeader
    ) -> RemotingCommand:
        timestamp = await self._broker.store.earliest_store_time(header.topic, header.queue_id)
        return request.reply(header=GetEarliestMsgStoretimeResponseHeader(timestamp=timestamp))
