"""Answer to QUERY_CONSUME_TIME_SPAN."""

from __future__ import annotations

import msgspec

from gantry.model.message import MessageQueue


class QueueTimeSpan(msgspec.Struct, rename="camel"):
    """Store times of one queue's eldest, newest and last consumed message.

    Units: ms since 1970 UTC, `delay_time` ms; the texts are local time, `yyyy-MM-dd HH:mm:ss:SSS`.
    """

    message_queue: MessageQueue
    min_time_stamp: int = 0
    max_time_stamp: int = 0
    consume_time_stamp: int = 0
    delay_time: int = 0
    min_time_stamp_str: str = ""
    max_time_stamp_str: str = ""
    consume_time_stamp_str: str = ""


class QueryConsumeTimeSpanBody(msgspec.Struct, rename="camel"):
    consume_time_span_set: list[QueueTimeSpan] = msgspec.field(default_factory=list)
