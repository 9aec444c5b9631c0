"""GET_TOPICS_BY_CLUSTER: topics that any broker of a cluster holds."""

from __future__ import annotations

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import TopicList
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_topics_by_cluster import GetTopicsByClusterRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class GetTopicsByClusterProcessor:
    """An empty list for an unknown cluster; 1, remark `disable`, when enableTopicList is off."""

    def __init__(self, names: NamesrvContext) -> None:
        self._config = names.config
        self._routes = names.routes

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: GetTopicsByClusterRequestHeader
    ) -> RemotingCommand:
        if not self._config.enable_topic_list:
            return request.reply(ResponseCode.SYSTEM_ERROR, "disable")
        return request.reply(body=json_dialect.encode(TopicList(self._routes.topics_by_cluster(header.cluster))))
