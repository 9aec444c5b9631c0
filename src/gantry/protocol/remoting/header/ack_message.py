"""Header of ACK_MESSAGE (200051)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class AckMessageRequestHeader(RequestHeader, code=RequestCode.ACK_MESSAGE):
    """One popped message is done; `topic` is where it lies, the retry topic for a retried one."""

    consumer_group: str = wire("consumerGroup")
    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)
    extra_info: str = wire("extraInfo")
    offset: int = wire("offset")
