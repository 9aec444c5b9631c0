"""QUERY_SUBSCRIPTION_BY_CONSUMER (345): what a group listens to in a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.group_list import QuerySubscriptionBody
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_subscription_by_consumer import QuerySubscriptionByConsumerRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class QuerySubscriptionByConsumerProcessor:
    """Source: AdminBrokerProcessor.querySubscriptionByConsumer (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: QuerySubscriptionByConsumerRequestHeader
    ) -> RemotingCommand:
        subscription = self._broker.consumers.find_subscription(header.group, header.topic or "")
        body = QuerySubscriptionBody(group=header.group, topic=header.topic, subscription_data=subscription)
        return json_reply(request, body)
