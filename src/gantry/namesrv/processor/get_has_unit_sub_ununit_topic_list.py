"""GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST: topics outside all units that consumers of a unit subscribe to."""

from __future__ import annotations

from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.route import TopicList
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext


class GetHasUnitSubUnUnitTopicListProcessor:
    """1, remark `disable`, when enableTopicList is off."""

    def __init__(self, names: NamesrvContext) -> None:
        self._config = names.config
        self._routes = names.routes

    def __call__(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        if not self._config.enable_topic_list:
            return request.reply(ResponseCode.SYSTEM_ERROR, "disable")
        return request.reply(body=json_dialect.encode(TopicList(self._routes.has_unit_sub_ununit_topics())))
