"""Header of CONSUMER_SEND_MSG_BACK (36)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class ConsumerSendMsgBackRequestHeader(RequestHeader, code=RequestCode.CONSUMER_SEND_MSG_BACK):
    """A consumer gives a message back for a later try. `offset` is the commit log offset."""

    offset: int = wire("offset")
    group: str = wire("group")
    delay_level: int = wire("delayLevel", bits=32)
    origin_msg_id: str | None = wire("originMsgId", default=None)
    origin_topic: str | None = wire("originTopic", default=None)
    unit_mode: bool | None = wire("unitMode", default=None)
    max_reconsume_times: int | None = wire("maxReconsumeTimes", default=None, bits=32)
