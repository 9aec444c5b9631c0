"""GET_MIN_OFFSET."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class GetMinOffsetRequestHeader(RequestHeader, code=RequestCode.GET_MIN_OFFSET):
    """The oldest offset still kept in a queue."""

    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)


class GetMinOffsetResponseHeader(ResponseHeader):
    """What comes back."""

    offset: int = wire("offset")
