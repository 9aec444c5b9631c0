"""What the name server keeps and says about one broker process: plain values of the route table.

Units: times are monotonic milliseconds, as the caller of the route table gives them (never the wall clock: a clock
       that jumps two minutes ahead must not drop every broker).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from gantry.model import DataVersion, TopicConfig

DEFAULT_HEARTBEAT_TIMEOUT_MS = 120_000


class BrokerAddrInfo(NamedTuple):
    """Key of a broker process: the same address may serve in two clusters. Source: BrokerAddrInfo (5.3)."""

    cluster_name: str
    broker_addr: str


class BrokerLiveInfo(msgspec.Struct):
    """A registered broker process: when it was last heard, over which connection, with which tables."""

    broker_name: str
    broker_id: int
    last_update_ms: int
    heartbeat_timeout_ms: int
    data_version: DataVersion
    channel_id: int | None
    ha_server_addr: str

    def expired(self, now_ms: int) -> bool:
        return self.last_update_ms + self.heartbeat_timeout_ms < now_ms


class BrokerRegistration(msgspec.Struct, frozen=True):
    """One REGISTER_BROKER request, decoded.

    `heartbeat_timeout_ms` None means the default of 120 s. `enable_acting_master` None means a broker that does not
    know acting masters (4.x): its slaves then never publish topics. `filter_servers` None leaves the list as it is.
    `topic_queue_mapping_infos` (static topics) are kept and handed out as they came.
    """

    cluster_name: str
    broker_addr: str
    broker_name: str
    broker_id: int
    ha_server_addr: str
    data_version: DataVersion
    topics: dict[str, TopicConfig]
    zone_name: str | None = None
    heartbeat_timeout_ms: int | None = None
    enable_acting_master: bool | None = None
    topic_queue_mapping_infos: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    filter_servers: list[str] | None = None
    channel_id: int | None = None

    @property
    def addr_info(self) -> BrokerAddrInfo:
        return BrokerAddrInfo(self.cluster_name, self.broker_addr)


class BrokerUnregistration(msgspec.Struct, frozen=True):
    """One broker process to take out of the tables, because it asked, its connection closed, or it fell silent."""

    cluster_name: str
    broker_addr: str
    broker_name: str
    broker_id: int

    @property
    def addr_info(self) -> BrokerAddrInfo:
        return BrokerAddrInfo(self.cluster_name, self.broker_addr)


class ExpiredBroker(msgspec.Struct, frozen=True):
    """A broker that fell silent: its connection is to be closed, then it is to be unregistered."""

    unregistration: BrokerUnregistration
    channel_id: int | None
    heartbeat_timeout_ms: int


class MinBrokerIdChange(msgspec.Struct, frozen=True):
    """The smallest live id of a broker name changed; the addresses in `notify` are to be told (code 905)."""

    broker_name: str
    min_broker_id: int
    min_broker_addr: str
    offline_broker_addr: str | None
    ha_broker_addr: str | None
    notify: tuple[str, ...]


class RegisterBrokerResult(msgspec.Struct, frozen=True):
    """What a registration led to.

    `accepted` is False only for an increment (exactly one topic) of a broker that never registered in full.
    The addresses are set for a slave whose master is alive.
    """

    accepted: bool = True
    ha_server_addr: str | None = None
    master_addr: str | None = None
    min_broker_id_change: MinBrokerIdChange | None = None
