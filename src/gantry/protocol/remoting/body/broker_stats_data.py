"""Answer to VIEW_BROKER_STATS_DATA."""

from __future__ import annotations

import msgspec


class BrokerStatsItem(msgspec.Struct, rename="camel"):
    """Units: sum in whatever is counted, tps per second, avgpt per call."""

    sum: int = 0
    tps: float = 0.0
    avgpt: float = 0.0


class BrokerStatsData(msgspec.Struct, rename="camel"):
    stats_minute: BrokerStatsItem = msgspec.field(default_factory=BrokerStatsItem)
    stats_hour: BrokerStatsItem = msgspec.field(default_factory=BrokerStatsItem)
    stats_day: BrokerStatsItem = msgspec.field(default_factory=BrokerStatsItem)
