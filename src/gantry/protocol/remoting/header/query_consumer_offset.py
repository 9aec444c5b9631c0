"""Header of QUERY_CONSUMER_OFFSET (14)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class QueryConsumerOffsetRequestHeader(RequestHeader, code=RequestCode.QUERY_CONSUMER_OFFSET):
    """Where a group goes on in a queue."""

    consumer_group: str = wire("consumerGroup")
    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)
    set_zero_if_not_found: bool | None = wire("setZeroIfNotFound", default=None)


class QueryConsumerOffsetResponseHeader(ResponseHeader):
    """Answer to QUERY_CONSUMER_OFFSET."""

    offset: int = wire("offset")
