"""Answers of a name server: routes, cluster tables, topic lists, key-value tables."""

from __future__ import annotations

import msgspec

from gantry.model.route import BrokerData, TopicRouteData
from gantry.protocol import json_dialect
from gantry.protocol.remoting.codes import V4_9_4


class ClusterInfo(msgspec.Struct, rename="camel"):
    """All brokers by name, and their names by cluster."""

    broker_addr_table: dict[str, BrokerData] = msgspec.field(default_factory=dict)
    cluster_addr_table: dict[str, list[str]] = msgspec.field(default_factory=dict)


class BrokerMemberGroup(msgspec.Struct, rename="camel"):
    """Addresses under one broker name."""

    cluster: str = ""
    broker_name: str = ""
    broker_addrs: dict[int, str] = msgspec.field(default_factory=dict)


class BrokerMemberGroupBody(msgspec.Struct, rename="camel"):
    broker_member_group: BrokerMemberGroup = msgspec.field(default_factory=BrokerMemberGroup)


class TopicList(msgspec.Struct, rename="camel"):
    """Topic names; `broker_addr` is filled in answers about system topics only."""

    topic_list: list[str] = msgspec.field(default_factory=list)
    broker_addr: str | None = None


class KVTable(msgspec.Struct, rename="camel"):
    table: dict[str, str] = msgspec.field(default_factory=dict)


def encode_route(route: TopicRouteData, *, version: int, accept_standard_json_only: bool) -> bytes:
    """The route in the form its reader parses.

    Shape: from version 4.9.4 on, or on request, standard JSON (quoted integer keys, ASCII); otherwise the bare keys
           that older Java clients write and the Go client splits by hand. Both without spaces.
    """
    if version >= V4_9_4 or accept_standard_json_only:
        return json_dialect.encode(route, quote_integer_keys=True, ascii_only=True)
    return json_dialect.encode(route)


def decode_route(body: bytes) -> TopicRouteData:
    """Reads a route written by any name server."""
    return json_dialect.decode_as(body, TopicRouteData)
