"""DELETE_TOPIC_IN_NAMESRV: forget the route of a topic."""

from __future__ import annotations

import logging

from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.delete_topic_from_namesrv import DeleteTopicFromNamesrvRequestHeader
from gantry.runtime.remoting_server import RequestContext

from ..context import NamesrvContext

log = logging.getLogger(__name__)


class DeleteTopicProcessor:
    """0 also for a topic or cluster that is not there; the topic comes back when a broker still registers it."""

    def __init__(self, names: NamesrvContext) -> None:
        self._routes = names.routes

    def __call__(
        self, ctx: RequestContext, request: RemotingCommand, header: DeleteTopicFromNamesrvRequestHeader
    ) -> RemotingCommand:
        client = ctx.channel.remote_address
        log.info("deleteTopic %s, cluster %s, client: %s", header.topic, header.cluster_name, client)
        self._routes.delete_topic(header.topic, header.cluster_name)
        return request.reply()
