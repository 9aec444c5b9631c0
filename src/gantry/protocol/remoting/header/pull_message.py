"""Header of PULL_MESSAGE (11)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class PullMessageRequestHeader(RequestHeader, code=RequestCode.PULL_MESSAGE):
    """Read messages of one queue from an offset on; LITE_PULL_MESSAGE carries the same."""

    consumer_group: str = wire("consumerGroup")
    topic: str = wire("topic")
    queue_id: int = wire("queueId", bits=32)
    queue_offset: int = wire("queueOffset")
    max_msg_nums: int = wire("maxMsgNums", bits=32)
    sys_flag: int = wire("sysFlag", bits=32)
    commit_offset: int = wire("commitOffset")
    suspend_timeout_millis: int = wire("suspendTimeoutMillis")
    subscription: str | None = wire("subscription", default=None)
    sub_version: int = wire("subVersion")
    expression_type: str | None = wire("expressionType", default=None)
    max_msg_bytes: int | None = wire("maxMsgBytes", default=None, bits=32)
    request_source: int | None = wire("requestSource", default=None, bits=32)
    proxy_forward_client_id: str | None = wire("proxyFrowardClientId", default=None)


class PullMessageResponseHeader(ResponseHeader):
    """Answer to PULL_MESSAGE."""

    suggest_which_broker_id: int = wire("suggestWhichBrokerId")
    next_begin_offset: int = wire("nextBeginOffset")
    min_offset: int = wire("minOffset")
    max_offset: int = wire("maxOffset")
    offset_delta: int | None = wire("offsetDelta", default=None)
    topic_sys_flag: int | None = wire("topicSysFlag", default=None, bits=32)
    group_sys_flag: int | None = wire("groupSysFlag", default=None, bits=32)
    forbidden_type: int | None = wire("forbiddenType", default=None, bits=32)
