"""Who is connected: producer groups, consumer groups with their subscriptions, queue locks.

Door: `build_client_manager`; the tables are `ConsumerManager`, `ProducerManager`, `RebalanceLockManager`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .client_channel import ClientChannel, ClientChannelInfo
from .client_manager import ClientManager
from .consumer_group_info import ConsumerGroupInfo
from .consumer_manager import ConsumerManager, GroupChange
from .producer_manager import ProducerManager
from .rebalance_lock_manager import RebalanceLockManager

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock

    from ..config import BrokerConfig

__all__ = [
    "ClientChannel",
    "ClientChannelInfo",
    "ClientManager",
    "ConsumerGroupInfo",
    "ConsumerManager",
    "GroupChange",
    "ProducerManager",
    "RebalanceLockManager",
    "build_client_manager",
]


def build_client_manager(config: BrokerConfig, clock: Clock) -> ClientManager:
    """The client tables of one broker, empty; `start()` begins the scans."""
    return ClientManager(config, clock)
