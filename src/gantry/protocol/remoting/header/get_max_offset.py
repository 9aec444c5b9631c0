"""Header of GET_MAX_OFFSET (30)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class GetMaxOffsetRequestHeader(RequestHeader, code=RequestCode.GET_MAX_OFFSET):
    """The next offset to be written in a queue."""

    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)
    committed: bool | None = wire("committed", default=None)


class GetMaxOffsetResponseHeader(ResponseHeader):
    """Answer to GET_MAX_OFFSET."""

    offset: int = wire("offset")
