"""Header of GET_TOPIC_STATS_INFO (202)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetTopicStatsInfoRequestHeader(RequestHeader, code=RequestCode.GET_TOPIC_STATS_INFO):
    """Offsets of every queue of a topic."""

    topic: str = wire("topic")
