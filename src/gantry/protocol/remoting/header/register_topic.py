"""Header of REGISTER_TOPIC_IN_NAMESRV (217)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class RegisterTopicRequestHeader(RequestHeader, code=RequestCode.REGISTER_TOPIC_IN_NAMESRV):
    """Add a topic's route by hand."""

    topic: str = wire("topic")
