"""GET_EARLIEST_MSG_STORETIME."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class GetEarliestMsgStoretimeRequestHeader(RequestHeader, code=RequestCode.GET_EARLIEST_MSG_STORETIME):
    """Store time of a queue's oldest message."""

    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)


class GetEarliestMsgStoretimeResponseHeader(ResponseHeader):
    """What comes back."""

    timestamp: int = wire("timestamp")
