"""Header of RESET_CONSUMER_CLIENT_OFFSET (220)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class ResetConsumerClientOffsetRequestHeader(RequestHeader, code=RequestCode.RESET_CONSUMER_CLIENT_OFFSET):
    """Tell a client to go on elsewhere."""

    topic: str = wire("topic")
    group: str = wire("group")
    timestamp: int = wire("timestamp")
    is_force: bool = wire("isForce")
