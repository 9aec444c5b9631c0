"""GET_ALL_TOPIC_LIST_FROM_NAMESERVER: every topic with a route."""

from __future__ import annotations

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import TopicList
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class GetAllTopicListProcessor:
    """1, remark `disable`, when enableAllTopicList is off."""

    def __init__(self, names: NamesrvContext) -> None:
        self._config = names.config
        self._routes = names.routes

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        if not self._config.enable_all_topic_list:
            return request.reply(ResponseCode.SYSTEM_ERROR, "disable")
        return request.reply(body=json_dialect.encode(TopicList(self._routes.all_topics())))
