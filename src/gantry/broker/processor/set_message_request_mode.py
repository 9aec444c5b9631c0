"""SET_MESSAGE_REQUEST_MODE (401): an operator says whether a group pulls or pops a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.model.names import is_retry_topic
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.message_request_mode import POP, PULL, MessageRequestModeBody
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class SetMessageRequestModeProcessor:
    """Source: QueryAssignmentProcessor.setMessageRequestMode (5.5)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    async def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        broker = self._broker
        mode = json_dialect.decode_request(request.body, MessageRequestModeBody)
        if is_retry_topic(mode.topic):
            raise BrokerError(ResponseCode.NO_PERMISSION, "retry topic is not allowed to set mode")
        if mode.mode not in (PULL, POP):
            raise BrokerError(ResponseCode.INVALID_PARAMETER, f"mode {mode.mode[:32]!r} is neither PULL nor POP")
        if broker.topics.select(mode.topic) is None:
            raise BrokerError(ResponseCode.TOPIC_NOT_EXIST, f"topic[{mode.topic}] not exist")
        if broker.subscriptions.find(mode.consumer_group) is None:
            raise BrokerError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group does not exist")
        broker.request_modes.set(mode)
        await broker.request_modes.file.flush()
        return request.reply()
