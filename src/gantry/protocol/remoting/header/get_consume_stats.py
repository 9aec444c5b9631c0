"""Header of GET_CONSUME_STATS (208)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetConsumeStatsRequestHeader(RequestHeader, code=RequestCode.GET_CONSUME_STATS):
    """How far a group is, queue by queue."""

    consumer_group: str = wire("consumerGroup")
    topic: str | None = wire("topic", default=None)
    topic_list: str | None = wire("topicList", default=None)
