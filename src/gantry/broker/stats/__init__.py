"""Counters and rates of one broker. Door: `build_broker_stats`, `BrokerStats`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .broker_stats import BrokerStats
from .stats_item import StatsItem, StatsSnapshot

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock

    from ..config import BrokerConfig

__all__ = ["BrokerStats", "StatsItem", "StatsSnapshot", "build_broker_stats"]


def build_broker_stats(config: BrokerConfig, clock: Clock) -> BrokerStats:
    """The counters of one broker, at zero; `start()` begins the samples."""
    return BrokerStats(clock, cluster_name=config.broker_cluster_name, queue_stats=config.enable_detail_stat)
