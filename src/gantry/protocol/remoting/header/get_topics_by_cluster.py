"""Header of GET_TOPICS_BY_CLUSTER (224)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetTopicsByClusterRequestHeader(RequestHeader, code=RequestCode.GET_TOPICS_BY_CLUSTER):
    """Topics of one cluster."""

    cluster: str = wire("cluster")
