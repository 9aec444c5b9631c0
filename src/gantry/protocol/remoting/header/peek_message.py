"""Header of PEEK_MESSAGE (200052)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class PeekMessageRequestHeader(RequestHeader, code=RequestCode.PEEK_MESSAGE):
    """Look at the messages a pop would take, and take none; queueId -1 means every queue."""

    consumer_group: str = wire("consumerGroup")
    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)
    max_msg_nums: int = wire("maxMsgNums", bits=32)
