"""Route data: which broker holds how many queues of a topic, and under which addresses."""

from __future__ import annotations

from typing import Any

import msgspec

from gantry.model.names import MASTER_ID


class QueueData(msgspec.Struct, rename="camel"):
    """Queues of one topic on one broker name."""

    broker_name: str = ""
    read_queue_nums: int = 0
    write_queue_nums: int = 0
    perm: int = 0
    topic_sys_flag: int = 0


class BrokerData(msgspec.Struct, rename="camel"):
    """Addresses of one broker name: broker id (0 is the master) to `ip:port`."""

    cluster: str = ""
    broker_name: str = ""
    broker_addrs: dict[int, str] = msgspec.field(default_factory=dict)
    zone_name: str | None = None
    enable_acting_master: bool = False

    def master_address(self) -> str | None:
        return self.broker_addrs.get(MASTER_ID)


class TopicRouteData(msgspec.Struct, rename="camel"):
    """Everything a client needs to reach a topic. Source: TopicRouteData (5.3)."""

    order_topic_conf: str | None = None
    queue_datas: list[QueueData] = msgspec.field(default_factory=list)
    broker_datas: list[BrokerData] = msgspec.field(default_factory=list)
    filter_server_table: dict[str, list[str]] = msgspec.field(default_factory=dict)
    topic_queue_mapping_by_broker: dict[str, Any] | None = None
