"""Helpers of the name server's tests: brokers that register with few words."""

from __future__ import annotations

from typing import Any

from gantry.model import DataVersion, TopicConfig
from gantry.namesrv.broker_live import BrokerRegistration, BrokerUnregistration

TWO_TOPICS = ("orders", "payments")


class Policy:
    """The settings the route table reads, all at their defaults."""

    support_acting_master = False
    notify_min_broker_id_changed = False
    delete_topic_with_broker_registration = False


def topics(*names: str, perm: int = 6, queues: int = 4, **values: Any) -> dict[str, TopicConfig]:
    return {name: TopicConfig(name, queues, queues, perm, **values) for name in names}


def registration(
    name: str = "broker-a",
    broker_id: int = 0,
    addr: str | None = None,
    *,
    cluster: str = "C",
    table: dict[str, TopicConfig] | None = None,
    version: DataVersion | None = None,
    acting: bool | None = False,
    **values: Any,
) -> BrokerRegistration:
    values.setdefault("ha_server_addr", f"ha-of-{name}-{broker_id}:1")
    return BrokerRegistration(
        cluster_name=cluster,
        broker_addr=addr or f"{name}-{broker_id}:10911",
        broker_name=name,
        broker_id=broker_id,
        data_version=version or DataVersion(0, 1_000, 1),
        topics=topics(*TWO_TOPICS) if table is None else table,
        enable_acting_master=acting,
        **values,
    )


def unregistration(name: str = "broker-a", broker_id: int = 0, addr: str | None = None) -> BrokerUnregistration:
    return BrokerUnregistration("C", addr or f"{name}-{broker_id}:10911", name, broker_id)
