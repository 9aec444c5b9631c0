"""Answers about clients and consumption."""

from __future__ import annotations

from typing import Any

import msgspec

from gantry.model.heartbeat import SubscriptionData
from gantry.model.message import MessageQueue
from gantry.protocol import json_dialect


class ConsumerListBody(msgspec.Struct, rename="camel"):
    """Answer to GET_CONSUMER_LIST_BY_GROUP."""

    consumer_id_list: list[str] = msgspec.field(default_factory=list)


class Connection(msgspec.Struct, rename="camel"):
    client_id: str = ""
    client_addr: str = ""
    language: str = "OTHER"
    version: int = 0


class MemberSubscription(msgspec.Struct, rename="camel"):
    """What some members of a group listen to alike. `subscriptions` holds topic, expression type and expression each."""

    client_ids: list[str] = msgspec.field(default_factory=list)
    message_model: str = ""
    subscriptions: list[tuple[str, str, str]] = msgspec.field(default_factory=list)


class ConsumerConnection(msgspec.Struct, rename="camel"):
    """Answer to GET_CONSUMER_CONNECTION_LIST. `member_subscriptions` is ours: official tools pass over it, and official
    brokers do not say it."""

    connection_set: list[Connection] = msgspec.field(default_factory=list)
    subscription_table: dict[str, SubscriptionData] = msgspec.field(default_factory=dict)
    consume_type: str | None = None
    message_model: str | None = None
    consume_from_where: str | None = None
    member_subscriptions: list[MemberSubscription] | None = None


class ProducerConnection(msgspec.Struct, rename="camel"):
    connection_set: list[Connection] = msgspec.field(default_factory=list)


class TopicOffset(msgspec.Struct, rename="camel"):
    """Units: offsets in queue entries, time in ms."""

    min_offset: int = 0
    max_offset: int = 0
    last_update_timestamp: int = 0


class TopicStatsTable(msgspec.Struct, rename="camel"):
    """Queue -> TopicOffset. Keys are objects on the wire, so reading goes through `from_json`."""

    offset_table: dict[MessageQueue, TopicOffset] = msgspec.field(default_factory=dict)
    topic_put_tps: float = 0.0


class OffsetWrapper(msgspec.Struct, rename="camel"):
    broker_offset: int = 0
    consumer_offset: int = 0
    pull_offset: int = 0
    last_timestamp: int = 0


class ConsumeStats(msgspec.Struct, rename="camel"):
    """Queue -> how far a group is."""

    offset_table: dict[MessageQueue, OffsetWrapper] = msgspec.field(default_factory=dict)
    consume_tps: float = 0.0


class ResetOffsetBody(msgspec.Struct, rename="camel"):
    """Queue -> offset to go on at."""

    offset_table: dict[MessageQueue, int] = msgspec.field(default_factory=dict)


QUEUE_TABLE_VALUES_MAX = 100_000
"""Values of such a body, five per queue: a client sends it, and one byte may ask for a value."""


def decode_queue_table(body: bytes, member: str) -> dict[MessageQueue, Any]:
    """A map keyed by queues inside a body, whichever way its keys were written; keys that are no queue are left out.

    Raises: RemoteProtocolError when it is no JSON, or may have more than QUEUE_TABLE_VALUES_MAX values.
    """
    json_dialect.check_values(body, QUEUE_TABLE_VALUES_MAX)
    value = json_dialect.decode(body)
    table = value.get(member) if isinstance(value, dict) else None
    if isinstance(table, list):
        # The form that C++ clients are sent and send: a list of entries with the queue's members beside the offset.
        return {
            MessageQueue(str(item["topic"]), str(item["brokerName"]), int(item["queueId"])): item.get("offset")
            for item in table
            if isinstance(item, dict) and {"topic", "brokerName", "queueId"} <= item.keys()
        }
    if not isinstance(table, dict):
        return {}
    queues = ((json_dialect.message_queue_key(key), item) for key, item in table.items())
    return {queue: item for queue, item in queues if queue is not None}
