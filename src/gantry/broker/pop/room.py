"""The parts of POP consumption, built and run together."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING

from gantry.model import topic_validator

from ..long_polling import PopHold
from .account import PopAccount
from .checkpoints import REVIVE_GROUP, pending_of, read_checkpoints
from .keep import PopKeeper
from .order_info_manager import OrderInfoManager
from .revive import PopReviveService
from .take import PopTaker

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk
    from gantry.store import MessageStore

    from ..config import BrokerConfig
    from ..metrics import MetricsCounters
    from ..offset.consumer_offset_manager import ConsumerOffsetManager
    from ..stats.broker_stats import BrokerStats
    from ..subscription.subscription_group_manager import SubscriptionGroupManager
    from ..topic.topic_config_manager import TopicConfigManager

log = logging.getLogger(__name__)


class PopRoom:
    """What processors reach of POP consumption. load() comes after the offsets are loaded and before they are saved again."""

    def __init__(
        self,
        config: BrokerConfig,
        disk: Disk,
        clock: Clock,
        store: MessageStore,
        topics: TopicConfigManager,
        groups: SubscriptionGroupManager,
        offsets: ConsumerOffsetManager,
        stats: BrokerStats,
        metrics: MetricsCounters,
        *,
        own_directory: str,
        config_directory: str,
        checksum_dir: str,
        watch: Callable[[str, int, bool], None],
    ) -> None:
        self._config = config
        self._disk = disk
        self._store = store
        self._offsets = offsets
        self._timer_check_path = posixpath.join(config_directory, "timercheck")
        self.account = PopAccount(
            disk, clock, store, offsets, directory=own_directory, journal_bytes_max=config.pop_journal_bytes_max
        )
        self.order_infos = OrderInfoManager(disk, clock, self.account, directory=config_directory, checksum_dir=checksum_dir)
        self._stats = stats
        self._metrics = metrics
        self.revive = PopReviveService(config, clock, store, self.account, topics, groups, offsets, on_stored=self._given_back)
        self.keeper = PopKeeper(config, clock, store, self.account, self.revive)
        self.taker = PopTaker(config, store, self.account, self.order_infos, offsets, on_taken=self._taken)
        self.pops = PopHold(clock, count_max=config.max_pop_polling_size, count_per_key_max=config.pop_polling_size)
        self.notifications = PopHold(clock, count_max=config.max_pop_polling_size, count_per_key_max=config.pop_polling_size)
        self.taker.on_free = self.pops.wake_one
        for hold in self.holds:
            hold.on_watch = watch
        self.order_infos.on_free = self.queue_is_free

    @property
    def holds(self) -> tuple[PopHold, PopHold]:
        return self.pops, self.notifications

    async def load(self) -> None:
        """Reads ledger and order information, and begins a journal. Raises: StoreDamaged, DiskError."""
        await self.account.load()
        if self.account.foreign:
            await self._take_over()
        self.order_infos.load()
        await self.account.begin()

    async def _take_over(self) -> None:
        """What another broker had handed out is out here, too, until its deadline."""
        config, store, offsets = self._config, self._store, self._offsets
        topic = topic_validator.REVIVE_TOPIC_PREFIX + config.broker_cluster_name
        messages = await read_checkpoints(
            store,
            self._disk,
            cluster=config.broker_cluster_name,
            committed=offsets.offsets_of(REVIVE_GROUP, topic) or {},
            timer_check_path=self._timer_check_path,
        )
        taken = self.account.take_over(pending_of(messages, config.broker_name))
        if messages:
            log.info("%d checkpoint records of another broker: %d messages wait for their deadline", len(messages), taken)
        # They are in the ledger now: that broker, should it come back, need not go through them again.
        for queue_id in store.queue_ids(topic):
            last = store.max_offset(topic, queue_id) - 1
            if last > offsets.query(REVIVE_GROUP, topic, queue_id):
                offsets.commit(REVIVE_GROUP, topic, queue_id, last)

    def _taken(self, group: str, topic: str, queue_id: int, count: int, size: int, asked_topic: str) -> None:
        self._stats.group_get(group, topic, queue_id, count, size)
        self._metrics.popped(group, asked_topic, count, size, is_retry=topic != asked_topic)

    def _given_back(self, topic: str, queue_id: int, count: int, size: int, group: str, origin: str) -> None:
        self._stats.topic_put(topic, queue_id, count, size)
        self._metrics.pop_retried(group, origin)

    async def start(self) -> None:
        await self.revive.start()

    async def shutdown(self) -> None:
        await self.revive.shutdown()
        self.order_infos.shutdown()

    async def close(self) -> None:
        """Ends the files; offsets and order information are saved by then."""
        await self.account.close()

    def message_arrived(self, topic: str, queue_id: int, tags_code: int, properties: bytes) -> None:
        for hold in self.holds:
            hold.message_arrived(topic, queue_id, tags_code, properties)

    def queue_is_free(self, topic: str, group: str, queue_id: int) -> None:
        """An orderly pop may have the queue again."""
        for hold in self.holds:
            hold.wake_one(topic, group, queue_id)

    def channel_closed(self, channel_id: int) -> None:
        for hold in self.holds:
            hold.channel_closed(channel_id)

    def answer_held(self) -> None:
        """Everybody who waits is answered as if the time were over."""
        for hold in self.holds:
            hold.close()

    def forget_topic(self, topic: str) -> None:
        """Raises: StoreError."""
        self.account.drop_topic(topic)
        self.order_infos.forget(lambda name, group: name == topic)

    def forget_group(self, group: str) -> None:
        """Raises: StoreError."""
        self.account.drop_group(group)
        self.order_infos.forget(lambda topic, name: name == group)
