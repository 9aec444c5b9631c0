"""Header of GET_TOPIC_CONFIG (351)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class GetTopicConfigRequestHeader(RequestHeader, code=RequestCode.GET_TOPIC_CONFIG):
    """One topic of this broker."""

    topic: str = wire("topic")
    lo: bool | None = wire("lo", default=None)
