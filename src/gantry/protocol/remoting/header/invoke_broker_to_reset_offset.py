"""Header of INVOKE_BROKER_TO_RESET_OFFSET (222)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class InvokeBrokerToResetOffsetRequestHeader(RequestHeader, code=RequestCode.INVOKE_BROKER_TO_RESET_OFFSET):
    """Reset a group's offsets by time or to a number; negative timestamp: the end."""

    group: str = wire("group")
    topic: str = wire("topic")
    queue_id: int | None = wire("queueId", default=None, bits=32)
    offset: int | None = wire("offset", default=None)
    timestamp: int = wire("timestamp")
    is_force: bool = wire("isForce")
