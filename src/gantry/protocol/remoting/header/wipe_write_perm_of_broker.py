"""Header of WIPE_WRITE_PERM_OF_BROKER (205)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class WipeWritePermOfBrokerRequestHeader(RequestHeader, code=RequestCode.WIPE_WRITE_PERM_OF_BROKER):
    """Take the write bit from every topic of a broker name."""

    broker_name: str = wire("brokerName")


class WipeWritePermOfBrokerResponseHeader(ResponseHeader):
    """Answer to WIPE_WRITE_PERM_OF_BROKER."""

    wipe_topic_count: int = wire("wipeTopicCount", bits=32)
