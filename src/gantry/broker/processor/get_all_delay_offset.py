"""GET_ALL_DELAY_OFFSET (45): how far the delivery of each delay level is, as a slave copies it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetAllDelayOffsetProcessor:
    """The shape of delayOffset.json. Source: AdminBrokerProcessor.getAllDelayOffset (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        return json_reply(request, self._broker.schedule.to_json_value())
