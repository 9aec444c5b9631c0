"""Header of QUERY_CONSUME_TIME_SPAN (303)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class QueryConsumeTimeSpanRequestHeader(RequestHeader, code=RequestCode.QUERY_CONSUME_TIME_SPAN):
    """Store times around a group's position."""

    topic: str = wire("topic")
    group: str = wire("group")
