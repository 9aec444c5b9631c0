"""GET_MIN_OFFSET: the oldest offset still kept in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_min_offset import GetMinOffsetRequestHeader, GetMinOffsetResponseHeader
from gantry.runtime.remoting_server import RequestContext

if TYPE_CHECKING:
    from ..context import BrokerContext


class GetMinOffsetProcessor:
    """A queue that was never written answers 0. Source: AdminBrokerProcessor (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetMinOffsetRequestHeader
    ) -> RemotingCommand:
        first = await self._broker.store.first_offset(header.topic, header.queue_id)
        return request.reply(header=GetMinOffsetResponseHeader(offset=max(first, 0)))
