"""GET_CONSUMER_RUNNING_INFO (307): the inside of a running consumer, asked of the client itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_consumer_running_info import GetConsumerRunningInfoRequestHeader

from .call_consumer import call_consumer

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetConsumerRunningInfoProcessor:
    """Source: AdminBrokerProcessor.getConsumerRunningInfo (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetConsumerRunningInfoRequestHeader
    ) -> RemotingCommand:
        return await call_consumer(self._broker, request, header.consumer_group, header.client_id)
