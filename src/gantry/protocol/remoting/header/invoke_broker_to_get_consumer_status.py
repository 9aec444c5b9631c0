"""Header of INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class InvokeBrokerToGetConsumerStatusRequestHeader(RequestHeader, code=RequestCode.INVOKE_BROKER_TO_GET_CONSUMER_STATUS):
    """Offsets as all clients of a group see them."""

    topic: str = wire("topic")
    group: str = wire("group")
    client_addr: str | None = wire("clientAddr", default=None)
