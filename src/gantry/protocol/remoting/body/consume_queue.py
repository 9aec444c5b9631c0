"""Answer to QUERY_CONSUME_QUEUE."""

from __future__ import annotations

import msgspec

from gantry.model.heartbeat import SubscriptionData


class ConsumeQueueData(msgspec.Struct, rename="camel"):
    """One entry. Units: physic_offset and physic_size in bytes of the commit log.

    The members about filters speak of the entry's extension, where queues have one.
    """

    physic_offset: int = 0
    physic_size: int = 0
    tags_code: int = 0
    eval: bool = False
    extend_data_json: str | None = None
    bit_map: str | None = None
    msg: str | None = None


class QueryConsumeQueueBody(msgspec.Struct, rename="camel"):
    queue_data: list[ConsumeQueueData] = msgspec.field(default_factory=list)
    max_queue_index: int = 0
    min_queue_index: int = 0
    subscription_data: SubscriptionData | None = None
    filter_data: str | None = None
