"""QUERY_TOPIC_CONSUME_BY_WHO (300): groups that read a topic, connected now or by their offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gantry.protocol.remoting.body.group_list import GroupList
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_topic_consume_by_who import QueryTopicConsumeByWhoRequestHeader

from .json_reply import json_reply

if TYPE_CHECKING:
    from gantry.runtime.remoting_server import RequestContext

    from ..context import BrokerContext


class QueryTopicConsumeByWhoProcessor:
    """Source: AdminBrokerProcessor.queryTopicConsumeByWho (5.3)."""

    def __init__(self, broker: BrokerContext) -> None:
        self._broker = broker

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: QueryTopicConsumeByWhoRequestHeader
    ) -> RemotingCommand:
        groups = self._broker.consumers.groups_listening_to(header.topic)
        groups |= self._broker.offsets.groups_of(header.topic)
        return json_reply(request, GroupList(sorted(groups)))
