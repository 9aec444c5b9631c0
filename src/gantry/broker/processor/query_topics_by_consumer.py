"""QUERY_TOPICS_BY_CONSUMER (343): topics a group has offsets in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.route import TopicList
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_topics_by_consumer import QueryTopicsByConsumerRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class QueryTopicsByConsumerProcessor:
    """Source: AdminBrokerProcessor.queryTopicsByConsumer (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: QueryTopicsByConsumerRequestHeader
    ) -> RemotingCommand:
        topics = self._broker.offsets.topics_of(header.group)
        return json_reply(request, TopicList(sorted(topics), broker_addr=self._broker.address))
