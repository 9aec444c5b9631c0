"""Header of NOTIFICATION (200054)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class NotificationRequestHeader(RequestHeader, code=RequestCode.NOTIFICATION):
    """Wait until a pop would find something. Units: `poll_time` ms; `born_time` ms since 1970 by the client's clock."""

    consumer_group: str = wire("consumerGroup")
    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)
    poll_time: int = wire("pollTime")
    born_time: int = wire("bornTime", default=0)
    order: bool = wire("order", default=False)
    attempt_id: str | None = wire("attemptId", default=None)
    exp_type: str | None = wire("expType", default=None)
    exp: str | None = wire("exp", default=None)


class NotificationResponseHeader(ResponseHeader):
    """Answer to NOTIFICATION."""

    has_msg: bool = wire("hasMsg", default=False)
    polling_full: bool = wire("pollingFull", default=False)
