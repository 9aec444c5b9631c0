"""The route table at work: gives it the time, empties its queue, closes silent brokers, spreads notices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gantry.errors import MQError
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.notify_min_broker_id_change import NotifyMinBrokerIdChangeRequestHeader
from gantry.runtime.clock import Clock, TimerHandle
from gantry.runtime.remoting_client import RemotingClient

from .broker_live import BrokerRegistration, BrokerUnregistration, MinBrokerIdChange, RegisterBrokerResult
from .route_info_manager import RouteInfoManager
from .unregistration_queue import UnregistrationQueue

log = logging.getLogger(__name__)

NOTICES_UNDER_WAY_MAX = 1_000


class RouteService:
    """The one place that changes brokers in the route table.

    Brokers leave through the queue and in batches, but never overtake: whatever waits in the queue is done before the
    next registration, so that a broker which leaves and comes back at once stays.
    """

    def __init__(self, routes: RouteInfoManager, queue: UnregistrationQueue, clock: Clock, client: RemotingClient) -> None:
        self._routes = routes
        self._queue = queue
        self._clock = clock
        self._client = client
        self._drain_timer: TimerHandle | None = None
        self._notices: set[asyncio.Task[None]] = set()

    def register(self, registration: BrokerRegistration) -> RegisterBrokerResult:
        self.drain()
        result = self._routes.register_broker(registration, now_ms=self._clock.monotonic_ms())
        if result.min_broker_id_change is not None:
            self._notify(result.min_broker_id_change)
        return result

    def submit_unregistration(self, unregistration: BrokerUnregistration) -> bool:
        """Returns: False when the queue is full."""
        if not self._queue.submit(unregistration):
            return False
        if self._drain_timer is None:
            # The next turn of the loop: what arrives together is done together.
            self._drain_timer = self._clock.call_later(0, self.drain)
        return True

    def drain(self) -> None:
        """Unregisters all that wait."""
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None
        if len(self._queue):
            for change in self._routes.unregister_brokers(self._queue.drain()):
                self._notify(change)

    def channel_closed(self, channel_id: int) -> None:
        """A connection ended: its brokers leave at once."""
        for unregistration in self._routes.on_channel_destroy(channel_id):
            log.info("the broker's channel destroyed, unregister it at once: %s", unregistration)
            self._must_leave(unregistration)

    def heartbeat(self, cluster_name: str, broker_addr: str) -> None:
        self._routes.update_broker_info_update_timestamp(cluster_name, broker_addr, now_ms=self._clock.monotonic_ms())

    def scan_not_active_broker(self, close_channel: Callable[[int, str], None]) -> None:
        """Takes out the brokers that fell silent, and closes their connections."""
        for expired in self._routes.scan_not_active_broker(now_ms=self._clock.monotonic_ms()):
            log.warning("The broker channel expired, %s %dms", expired.unregistration.addr_info, expired.heartbeat_timeout_ms)
            self._must_leave(expired.unregistration)
            if expired.channel_id is not None:
                close_channel(expired.channel_id, f"its broker was silent for {expired.heartbeat_timeout_ms} ms")

    def close(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None
        for task in self._notices:
            task.cancel()

    def _must_leave(self, unregistration: BrokerUnregistration) -> None:
        # Nobody waits for an answer that could say "later": a full queue is emptied now.
        if not self.submit_unregistration(unregistration):
            self.drain()
            self.submit_unregistration(unregistration)

    def _notify(self, change: MinBrokerIdChange) -> None:
        log.info(
            "min broker id of %s changed to %d, notify %s, offline broker addr %s",
            change.broker_name,
            change.min_broker_id,
            list(change.notify),
            change.offline_broker_addr,
        )
        header = NotifyMinBrokerIdChangeRequestHeader(
            min_broker_id=change.min_broker_id,
            broker_name=change.broker_name,
            min_broker_addr=change.min_broker_addr,
            offline_broker_addr=change.offline_broker_addr,
            ha_broker_addr=change.ha_broker_addr,
        )
        for addr in change.notify:
            if len(self._notices) >= NOTICES_UNDER_WAY_MAX:
                log.warning("%d notices are under way already; %s is not told", len(self._notices), addr)
                continue
            task = asyncio.ensure_future(self._tell(addr, RemotingCommand.request(header)))
            self._notices.add(task)
            task.add_done_callback(self._notices.discard)

    async def _tell(self, addr: str, request: RemotingCommand) -> None:
        try:
            await self._client.invoke_oneway(addr, request)
        except MQError as error:
            # The broker also learns it by asking for its member group; the notice only makes it faster.
            log.warning("notice of the smallest broker id to %s failed: %s", addr, error)
