"""Header of PUSH_REPLY_MESSAGE_TO_CLIENT (326)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire


class ReplyMessageRequestHeader(RequestHeader, code=RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT):
    """The answer to a request message, on its way from the broker to the producer that asked. Hosts are `ip:port`."""

    producer_group: str = wire("producerGroup")
    topic: str = wire("topic")
    default_topic: str = wire("defaultTopic")
    default_topic_queue_nums: int = wire("defaultTopicQueueNums", bits=32)
    queue_id: int = wire("queueId", bits=32)
    sys_flag: int = wire("sysFlag", bits=32)
    born_timestamp: int = wire("bornTimestamp")
    flag: int = wire("flag", bits=32)
    properties: str | None = wire("properties", default=None)
    reconsume_times: int | None = wire("reconsumeTimes", default=None, bits=32)
    unit_mode: bool | None = wire("unitMode", default=None)
    born_host: str = wire("bornHost")
    store_host: str = wire("storeHost")
    store_timestamp: int = wire("storeTimestamp")
