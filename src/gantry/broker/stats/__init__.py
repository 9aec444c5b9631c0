"""Counters and rates of one broker. Door: `build_broker_stats`, `BrokerStats`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .broker_stats import BrokerStats
from .stats_item import StatsItem, StatsSnapshot

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock

    from ..config import BrokerConfig
    from ..topic.topic_config_manager import TopicConfigManager

__all__ = ["BrokerStats", "StatsItem", "StatsSnapshot", "build_broker_stats"]


def build_broker_stats(config: BrokerConfig, clock: Clock, topics: TopicConfigManager) -> BrokerStats:
    """The counters of one broker, at zero; `start()` begins the samples.

    Which topics are the system's is asked of `topics`: those named after the broker and the cluster are among them.
    """
    return BrokerStats(
        clock,
        cluster_name=config.broker_cluster_name,
        queue_stats=config.enable_detail_stat,
        is_system_topic=topics.is_system_topic,
    )
