"""Header of DELETE_TOPIC_IN_NAMESRV (216)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class DeleteTopicFromNamesrvRequestHeader(RequestHeader, code=RequestCode.DELETE_TOPIC_IN_NAMESRV):
    """Forget a topic's route, in one cluster or all."""

    topic: str = wire("topic")
    cluster_name: str | None = wire("clusterName", default=None)
