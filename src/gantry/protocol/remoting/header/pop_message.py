"""Header of POP_MESSAGE (200050); PEEK_MESSAGE answers with the same fields."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire

INIT_MIN, INIT_MAX = 0, 1
"""Where a group begins that has no offset: at the first message, or at the newest. Source: ConsumeInitMode (5.3)."""


class PopMessageRequestHeader(RequestHeader, code=RequestCode.POP_MESSAGE):
    """Take messages of a topic and keep them from others for a while; queueId -1 means every queue.

    Units: `invisible_time`, `poll_time` ms; `born_time` ms since 1970 by the client's clock.
    """

    consumer_group: str = wire("consumerGroup")
    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)
    max_msg_nums: int = wire("maxMsgNums", bits=32)
    invisible_time: int = wire("invisibleTime")
    poll_time: int = wire("pollTime")
    born_time: int = wire("bornTime", default=0)
    init_mode: int = wire("initMode", default=INIT_MIN, bits=32)
    exp_type: str | None = wire("expType", default=None)
    exp: str | None = wire("exp", default=None)
    order: bool = wire("order", default=False)
    attempt_id: str | None = wire("attemptId", default=None)


class PopMessageResponseHeader(ResponseHeader):
    """What the client builds receipt handles of; see `gantry.protocol.message.pop_handle`."""

    pop_time: int = wire("popTime", default=0)
    invisible_time: int = wire("invisibleTime", default=0)
    revive_qid: int = wire("reviveQid", default=0, bits=32)
    rest_num: int = wire("restNum", default=0)
    start_offset_info: str | None = wire("startOffsetInfo", default=None)
    msg_offset_info: str | None = wire("msgOffsetInfo", default=None)
    order_count_info: str | None = wire("orderCountInfo", default=None)
