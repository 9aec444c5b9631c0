"""Header of GET_MIN_OFFSET (31)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class GetMinOffsetRequestHeader(RequestHeader, code=RequestCode.GET_MIN_OFFSET):
    """The oldest offset still kept in a queue."""

    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)


class GetMinOffsetResponseHeader(ResponseHeader):
    """Answer to GET_MIN_OFFSET."""

    offset: int = wire("offset")
