"""Header of DELETE_TOPIC_IN_BROKER (215)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class DeleteTopicRequestHeader(RequestHeader, code=RequestCode.DELETE_TOPIC_IN_BROKER):
    """Delete a topic on this broker."""

    topic: str = wire("topic")
