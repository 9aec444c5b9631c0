"""Keeps the tables of clients true to the connections: closes what is silent, tells groups of their changes."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gantry.errors import RemotingError
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.notify_consumer_ids_changed import NotifyConsumerIdsChangedRequestHeader
from gantry.runtime.clock import Clock, TimerHandle

from .client_channel import ClientChannel
from .consumer_manager import ConsumerManager, GroupChange
from .producer_manager import ProducerManager
from .rebalance_lock_manager import RebalanceLockManager

if TYPE_CHECKING:
    from ..config import BrokerConfig

log = logging.getLogger(__name__)

SCAN_INTERVAL_MS = 10_000


class ClientManager:
    """The rim around the client tables: connections are closed and notices are sent here and nowhere else.

    A connection that ends takes its clients out at once; a client that sends no heartbeat is closed by the scan.
    Source: ClientHousekeepingService, DefaultConsumerIdsChangeListener (5.3).
    """

    def __init__(self, config: BrokerConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self.consumers = ConsumerManager(
            clock,
            channel_expired_ms=config.channel_expired_timeout,
            subscription_expired_ms=config.subscription_expired_timeout,
        )
        self.producers = ProducerManager(clock, channel_expired_ms=config.channel_expired_timeout)
        self.locks = RebalanceLockManager(clock, lock_max_live_ms=config.rebalance_lock_max_live_time)
        self._timer: TimerHandle | None = None

    async def start(self) -> None:
        self._schedule()

    async def shutdown(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_channel_closed(self, channel: ClientChannel) -> None:
        """Takes a connection's clients out of every table and tells the groups that lost a member."""
        self.producers.channel_closed(channel)
        self.announce(self.consumers.channel_closed(channel))

    def announce(self, changes: Iterable[GroupChange]) -> None:
        """Tells the connections of changed groups, so that they rebalance now and not at their next 20 s round."""
        if not self._config.notify_consumer_ids_changed_enable:
            return
        for change in changes:
            for channel in change.channels:
                if channel.closed:
                    continue
                header = NotifyConsumerIdsChangedRequestHeader(consumer_group=change.group)
                try:
                    channel.invoke_oneway(RemotingCommand.request(header))
                except RemotingError as error:
                    # The client finds out by its own rebalance; a broken connection is removed when its end is seen.
                    log.warning("group %s: %s was not told of the change: %s", change.group, channel.remote_address, error)

    def scan(self) -> None:
        """Closes connections without heartbeats for too long and forgets expired locks."""
        silent_consumers, changes = self.consumers.scan_not_active_channel()
        silent_producers = self.producers.scan_not_active_channel()
        for channel in {channel.id: channel for channel in [*silent_consumers, *silent_producers]}.values():
            if not channel.closed:
                channel.close("no heartbeat within the limit")
        self.announce(changes)
        self.locks.scan_expired()

    def _schedule(self) -> None:
        self._timer = self._clock.call_later(SCAN_INTERVAL_MS, self._scan_and_schedule)

    def _scan_and_schedule(self) -> None:
        try:
            self.scan()
        finally:
            self._schedule()
