"""GET_SYSTEM_TOPIC_LIST_FROM_NS: names that are topics only by accident of registration: clusters and brokers."""

from __future__ import annotations

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import TopicList
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class GetSystemTopicListProcessor:
    """With the address of one broker, which the asker turns to for its system topics."""

    def __init__(self, names: NamesrvContext) -> None:
        self._routes = names.routes

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        topics, broker_addr = self._routes.system_topics()
        return request.reply(body=json_dialect.encode(TopicList(topics, broker_addr)))
