"""Header of GET_PRODUCER_CONNECTION_LIST (204)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetProducerConnectionListRequestHeader(RequestHeader, code=RequestCode.GET_PRODUCER_CONNECTION_LIST):
    """Connections of a producer group."""

    producer_group: str = wire("producerGroup")
