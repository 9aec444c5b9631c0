"""Answers that list names and small tables about groups."""

from __future__ import annotations

import msgspec

from gantry.model.heartbeat import SubscriptionData
from gantry.model.message import MessageQueue


class GroupList(msgspec.Struct, rename="camel"):
    """Answer to QUERY_TOPIC_CONSUME_BY_WHO."""

    group_list: list[str] = msgspec.field(default_factory=list)


class QuerySubscriptionBody(msgspec.Struct, rename="camel"):
    """Answer to QUERY_SUBSCRIPTION_BY_CONSUMER."""

    group: str = ""
    topic: str | None = None
    subscription_data: SubscriptionData | None = None


class GroupForbidden(msgspec.Struct, rename="camel"):
    """Answer to UPDATE_AND_GET_GROUP_FORBIDDEN."""

    group: str = ""
    topic: str = ""
    readable: bool = True


class QueryCorrectionOffsetBody(msgspec.Struct, rename="camel"):
    """Queue id -> offset."""

    correction_offsets: dict[int, int] = msgspec.field(default_factory=dict)


class GetConsumerStatusBody(msgspec.Struct, rename="camel"):
    """Client id -> queue -> offset, as the clients see them."""

    consumer_table: dict[str, dict[MessageQueue, int]] = msgspec.field(default_factory=dict)
