"""GET_SUBSCRIPTIONGROUP_CONFIG (352): one consumer group of this broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.errors import BrokerError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_subscription_group_config import GetSubscriptionGroupConfigRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetSubscriptionGroupConfigProcessor:
    """Source: AdminBrokerProcessor.getSubscriptionGroup (5.3), which creates an unknown group when it may."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetSubscriptionGroupConfigRequestHeader
    ) -> RemotingCommand:
        config = self._broker.subscriptions.find(header.group)
        if config is None:
            raise BrokerError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker")
        return json_reply(request, config)
