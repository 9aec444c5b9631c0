"""SubscriptionGroupConfig: what a broker knows of a consumer group."""

from __future__ import annotations

from typing import Any

import msgspec


class SimpleSubscriptionData(msgspec.Struct, rename="camel", omit_defaults=False):
    """A subscription fixed by an operator instead of by heartbeats."""

    topic: str = ""
    expression_type: str = "TAG"
    expression: str = "*"
    version: int = 0


class SubscriptionGroupConfig(msgspec.Struct, rename="camel"):
    """One consumer group on one broker. Source: SubscriptionGroupConfig (5.3).

    Units: consume_timeout_minute in minutes; retry_max_times counts deliveries after the first.
    """

    group_name: str = ""
    consume_enable: bool = True
    consume_from_min_enable: bool = True
    consume_broadcast_enable: bool = True
    consume_message_orderly: bool = False
    retry_queue_nums: int = 1
    retry_max_times: int = 16
    group_retry_policy: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "CUSTOMIZED"})
    broker_id: int = 0
    which_broker_when_consume_slowly: int = 1
    notify_consumer_ids_changed_enable: bool = True
    group_sys_flag: int = 0
    consume_timeout_minute: int = 15
    subscription_data_set: list[SimpleSubscriptionData] | None = None
    attributes: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def priority_factor(self) -> int:
        """How many of a hundred pops of a topic of priorities look at the most urgent queue first."""
        try:
            return int(self.attributes.get("priority.factor", "100"))
        except ValueError:
            return 100

    def copy(self) -> SubscriptionGroupConfig:
        return msgspec.structs.replace(self, attributes=dict(self.attributes), group_retry_policy=dict(self.group_retry_policy))
