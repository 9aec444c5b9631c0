"""GET_ALL_CONSUMER_OFFSET (43): every committed offset, as a slave copies it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetAllConsumerOffsetProcessor:
    """The shape of consumerOffset.json. Source: AdminBrokerProcessor.getAllConsumerOffset (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        return json_reply(request, self._broker.offsets.to_json_value())
