"""GET_COLD_DATA_FLOW_CTR_INFO (2003): who reads cold data, and how much each may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetColdDataFlowCtrInfoProcessor:
    """Source: AdminBrokerProcessor.getColdDataFlowCtrInfo (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        return json_reply(request, self._broker.cold_data.info())
