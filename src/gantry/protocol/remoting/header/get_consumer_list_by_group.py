"""Header of GET_CONSUMER_LIST_BY_GROUP (38)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetConsumerListByGroupRequestHeader(RequestHeader, code=RequestCode.GET_CONSUMER_LIST_BY_GROUP):
    """Client ids of a group."""

    consumer_group: str = wire("consumerGroup")
