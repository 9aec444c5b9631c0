"""Header of QUERY_TOPIC_CONSUME_BY_WHO (300)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class QueryTopicConsumeByWhoRequestHeader(RequestHeader, code=RequestCode.QUERY_TOPIC_CONSUME_BY_WHO):
    """Groups that read a topic."""

    topic: str = wire("topic")
