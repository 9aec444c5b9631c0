"""WIPE_WRITE_PERM_OF_BROKER."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class WipeWritePermOfBrokerRequestHeader(RequestHeader, code=RequestCode.WIPE_WRITE_PERM_OF_BROKER):
    """Take the write bit from every topic of a broker name."""

    broker_name: str = wire("brokerName")


class WipeWritePermOfBrokerResponseHeader(ResponseHeader):
    """What comes back."""

    wipe_topic_count: int = wire("wipeTopicCount", bits=32)
