"""Header of QUERY_CONSUME_QUEUE (321)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class QueryConsumeQueueRequestHeader(RequestHeader, code=RequestCode.QUERY_CONSUME_QUEUE):
    """Entries of one consume queue."""

    topic: str | None = wire("topic", default=None)
    queue_id: int | None = wire("queueId", default=None, bits=32)
    index: int | None = wire("index", default=None)
    count: int | None = wire("count", default=None, bits=32)
    consumer_group: str | None = wire("consumerGroup", default=None)
