"""Header of ADD_WRITE_PERM_OF_BROKER (327)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class AddWritePermOfBrokerRequestHeader(RequestHeader, code=RequestCode.ADD_WRITE_PERM_OF_BROKER):
    """Give the write bit back to every topic of a broker name."""

    broker_name: str = wire("brokerName")


class AddWritePermOfBrokerResponseHeader(ResponseHeader):
    """Answer to ADD_WRITE_PERM_OF_BROKER."""

    add_topic_count: int = wire("addTopicCount", bits=32)
