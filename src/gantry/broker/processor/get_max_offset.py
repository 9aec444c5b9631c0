"""GET_MAX_OFFSET: the offset the queue's next message will get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_max_offset import GetMaxOffsetRequestHeader, GetMaxOffsetResponseHeader
from gantry.runtime.remoting_server import RequestContext

if TYPE_CHECKING:
    from ..context import BrokerContext


class GetMaxOffsetProcessor:
    """A queue that was never written answers 0. Source: AdminBrokerProcessor (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: GetMaxOffsetRequestHeader) -> RemotingCommand:
        return request.reply(
            header=GetMaxOffsetResponseHeader(offset=self._broker.store.max_offset(header.topic, header.queue_id))
        )
