"""GET_ALL_MESSAGE_REQUEST_MODE (402): which groups pull and which pop, as a slave copies it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.command import RemotingCommand

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetAllMessageRequestModeProcessor:
    """The shape of messageRequestMode.json. Source: AdminBrokerProcessor.getAllMessageRequestMode (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        return json_reply(request, self._broker.request_modes.to_json_value())
