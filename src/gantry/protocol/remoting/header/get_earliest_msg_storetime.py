"""Header of GET_EARLIEST_MSG_STORETIME (32)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class GetEarliestMsgStoretimeRequestHeader(RequestHeader, code=RequestCode.GET_EARLIEST_MSG_STORETIME):
    """Store time of a queue's oldest message."""

    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)


class GetEarliestMsgStoretimeResponseHeader(ResponseHeader):
    """Answer to GET_EARLIEST_MSG_STORETIME."""

    timestamp: int = wire("timestamp")
