"""Header of CHANGE_MESSAGE_INVISIBLETIME (200053)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class ChangeInvisibleTimeRequestHeader(RequestHeader, code=RequestCode.CHANGE_MESSAGE_INVISIBLETIME):
    """Keep a popped message from others for `invisible_time` ms from now on; the old handle ends."""

    consumer_group: str = wire("consumerGroup")
    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)
    extra_info: str = wire("extraInfo")
    offset: int = wire("offset")
    invisible_time: int = wire("invisibleTime")


class ChangeInvisibleTimeResponseHeader(ResponseHeader):
    """What the new handle is made of."""

    pop_time: int = wire("popTime", default=0)
    invisible_time: int = wire("invisibleTime", default=0)
    revive_qid: int = wire("reviveQid", default=0, bits=32)
