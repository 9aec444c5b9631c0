"""Header of SEARCH_OFFSET_BY_TIMESTAMP (29)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class SearchOffsetRequestHeader(RequestHeader, code=RequestCode.SEARCH_OFFSET_BY_TIMESTAMP):
    """The offset whose message was stored at a time; boundaryType is lower or upper."""

    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)
    timestamp: int = wire("timestamp")
    boundary_type: str | None = wire("boundaryType", default=None)


class SearchOffsetResponseHeader(ResponseHeader):
    """Answer to SEARCH_OFFSET_BY_TIMESTAMP."""

    offset: int = wire("offset")
