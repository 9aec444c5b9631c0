"""Header of CONSUME_MESSAGE_DIRECTLY (309)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class ConsumeMessageDirectlyRequestHeader(RequestHeader, code=RequestCode.CONSUME_MESSAGE_DIRECTLY):
    """Let one client consume one message now."""

    consumer_group: str = wire("consumerGroup")
    client_id: str | None = wire("clientId", default=None)
    msg_id: str | None = wire("msgId", default=None)
    broker_name: str | None = wire("brokerName", default=None)
    topic: str | None = wire("topic", default=None)
    topic_sys_flag: int | None = wire("topicSysFlag", default=None, bits=32)
    group_sys_flag: int | None = wire("groupSysFlag", default=None, bits=32)
