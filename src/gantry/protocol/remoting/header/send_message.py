"""Header of SEND_MESSAGE (10)."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, ResponseHeader, wire


class SendMessageRequestHeader(RequestHeader, code=RequestCode.SEND_MESSAGE):
    """Send one message, long field names."""

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
    batch: bool | None = wire("batch", default=None)
    max_reconsume_times: int | None = wire("maxReconsumeTimes", default=None, bits=32)


class SendMessageResponseHeader(ResponseHeader):
    """Answer to SEND_MESSAGE."""

    msg_id: str = wire("msgId")
    queue_id: int = wire("queueId", bits=32)
    queue_offset: int = wire("queueOffset")
    transaction_id: str | None = wire("transactionId", default=None)
    batch_uniq_id: str | None = wire("batchUniqId", default=None)
    recall_handle: str | None = wire("recallHandle", default=None)
