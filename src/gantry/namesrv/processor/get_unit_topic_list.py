"""GET_UNIT_TOPIC_LIST: topics that belong to a unit."""

from __future__ import annotations

from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext
from .topic_list_reply import topic_list_reply


class GetUnitTopicListProcessor:
    """1, remark `disable`, when enableTopicList is off."""

    def __init__(self, names: NamesrvContext) -> None:
        self._config = names.config
        self._routes = names.routes

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        return topic_list_reply(request, self._config.enable_topic_list, self._routes.unit_topics)
