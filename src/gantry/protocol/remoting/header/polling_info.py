"""Header of POLLING_INFO (200055)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class PollingInfoRequestHeader(RequestHeader, code=RequestCode.POLLING_INFO):
    """How many pops of a group wait at a queue, or at all of them (-1)."""

    consumer_group: str = wire("consumerGroup")
    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)


class PollingInfoResponseHeader(ResponseHeader):
    """Answer to POLLING_INFO."""

    polling_num: int = wire("pollingNum", default=0, bits=32)
