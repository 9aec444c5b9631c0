"""What a processor may reach: one typed bundle of the broker's services.

A processor gets the bundle once, when the tables are built, and keeps it. Services are set by `BrokerController`
before the first connection is accepted and never replaced while it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from gantry.protocol.message.unique_id import UniqueIdMaker
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk
    from gantry.runtime.remoting_client import RemotingClient
    from gantry.runtime.rng import Rng
    from gantry.store import MessageStore

    from .client_manager.client_manager import ClientManager
    from .client_manager.consumer_manager import ConsumerManager
    from .client_manager.producer_manager import ProducerManager
    from .client_manager.rebalance_lock_manager import RebalanceLockManager
    from .cold_data import ColdDataService
    from .config import BrokerConfig
    from .config_updates import ConfigUpdates
    from .consumer_filter import ConsumerFilterManager
    from .long_polling.pull_request_hold import PullRequestHold
    from .message_request_mode_manager import MessageRequestModeManager
    from .metrics import MetricsCounters
    from .offset.consumer_offset_manager import ConsumerOffsetManager
    from .outer_api import BrokerOuterAPI
    from .pop import PopRoom
    from .recurring import RecurringTimerService
    from .registration import Registration
    from .replicas import Replicas
    from .schedule.schedule_message_service import ScheduleMessageService
    from .stats.broker_stats import BrokerStats
    from .subscription.subscription_group_manager import SubscriptionGroupManager
    from .timer.timer_message_service import TimerMessageService
    from .topic.topic_config_manager import TopicConfigManager
    from .transaction import TransactionService
    from .waiting_sends import WaitingSends


def _ignore_topics(names: list[str]) -> None:
    pass


def _ignore_change() -> None:
    pass


class BrokerContext(msgspec.Struct):
    """The broker's services, as processors see them.

    `store_host` is the advertised (ip, port) that goes into stored records and offset message ids; `address` is the
    same as text, "ip:port". `started_ms` is the wall clock at the end of the start.
    """

    config: BrokerConfig
    clock: Clock
    rng: Rng
    disk: Disk
    store: MessageStore
    topics: TopicConfigManager
    subscriptions: SubscriptionGroupManager
    offsets: ConsumerOffsetManager
    consumer_filters: ConsumerFilterManager
    consumers: ConsumerManager
    producers: ProducerManager
    locks: RebalanceLockManager
    client_manager: ClientManager
    long_polling: PullRequestHold
    schedule: ScheduleMessageService
    timer: TimerMessageService
    recurring: RecurringTimerService
    stats: BrokerStats
    metrics: MetricsCounters
    outer_api: BrokerOuterAPI
    remoting_client: RemotingClient
    registration: Registration
    replicas: Replicas
    unique_ids: UniqueIdMaker
    waiting_sends: WaitingSends
    cold_data: ColdDataService
    config_updates: ConfigUpdates
    request_modes: MessageRequestModeManager
    transactions: TransactionService
    pop: PopRoom
    address: str
    store_host: tuple[str, int]
    started_ms: int = 0
    on_topic_change: Callable[[list[str]], None] = _ignore_topics
    """Called with the names of topics that were created, changed or removed: registers them with the name servers."""
    config_changed: Callable[[], None] = _ignore_change
    """To be called after settings were changed at run time: hands them on to where they are kept twice."""
