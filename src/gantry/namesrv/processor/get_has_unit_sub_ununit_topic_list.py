"""GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST: topics outside all units that consumers of a unit subscribe to."""

from __future__ import annotations

from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext
from .topic_list_reply import topic_list_reply


class GetHasUnitSubUnUnitTopicListProcessor:
    """1, remark `disable`, when enableTopicList is off."""

    def __init__(self, names: NamesrvContext) -> None:
        self._config = names.config
        self._routes = names.routes

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        return topic_list_reply(request, self._config.enable_topic_list, self._routes.has_unit_sub_ununit_topics)
