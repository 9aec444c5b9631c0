"""Header of GET_CONSUMER_STATUS_FROM_CLIENT (221)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetConsumerStatusFromClientRequestHeader(RequestHeader, code=RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT):
    """Offsets as a client sees them."""

    topic: str = wire("topic")
    group: str = wire("group")
