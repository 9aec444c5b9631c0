"""GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305): topics that belong to the system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.model.topic_validator import SYSTEM_TOPICS
from gantry.protocol.remoting.body.route import TopicList
from gantry.protocol.remoting.command import RemotingCommand

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class GetSystemTopicListFromBrokerProcessor:
    """The official names and those of this broker's boot. Source: AdminBrokerProcessor.getSystemTopicListFromBroker (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        return json_reply(request, TopicList(sorted(SYSTEM_TOPICS | self._broker.topics.system_topics)))
