"""NamesrvController: one name server, from its settings to its port."""

from __future__ import annotations

import logging

from gantry.errors import ConfigError
from gantry.runtime.channel import Channel
from gantry.runtime.clock import Clock, TimerHandle
from gantry.runtime.disk import Disk
from gantry.runtime.net import Net
from gantry.runtime.remoting_client import RemotingClient
from gantry.runtime.remoting_limits import RemotingLimits
from gantry.runtime.remoting_server import RemotingServer

from .config import NamesrvConfig
from .context import NamesrvContext
from .kv_config_manager import KVConfigManager
from .processor.table import build_request_table
from .route_info_manager import RouteInfoManager
from .route_service import RouteService
from .unregistration_queue import UnregistrationQueue

log = logging.getLogger(__name__)

FIRST_SCAN_MS = 5_000
FIRST_KV_LOG_MS = 60_000
KV_LOG_INTERVAL_MS = 600_000


class NamesrvController:
    """Composes the route table, the KV table and the remoting server.

    start() returns when the port is open; from then on requests are answered. stop() ends everything and may be called
    at any time, also twice. All that brokers registered is forgotten with the process: they come again every 30 s.
    Raises: ConfigError for settings this version does not offer.
    """

    def __init__(self, config: NamesrvConfig, *, net: Net, clock: Clock, disk: Disk) -> None:
        for name, wanted in (
            ("enableControllerInNamesrv", config.enable_controller_in_namesrv),
            ("clusterTest", config.cluster_test),
        ):
            if wanted:
                raise ConfigError(f"{name}=true is not offered by this version; remove it to start the name server")
        self.config = config
        self.routes = RouteInfoManager(config)
        self.kv_config = KVConfigManager(disk, config.kv_config_path)
        self._clock = clock
        limits = RemotingLimits(
            idle_ms=config.server_channel_max_idle_time_seconds * 1_000,
            connections_max=config.connections_max,
            connections_per_address_max=config.connections_per_address_max,
        )
        self._client = RemotingClient(net, clock)
        self._service = RouteService(
            self.routes, UnregistrationQueue(config.unregister_broker_queue_capacity), clock, self._client
        )
        context = NamesrvContext(
            config=config,
            clock=clock,
            disk=disk,
            routes=self.routes,
            service=self._service,
            kv_config=self.kv_config,
            started_ms=clock.monotonic_ms(),
        )
        self._table = build_request_table(context)
        self._server = RemotingServer(net, clock, self._table, limits=limits, on_close=self._channel_closed)
        self._timers: dict[str, TimerHandle] = {}
        self._address: tuple[str, int] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, once started; the real port also where 0 was asked for."""
        if self._address is None:
            raise RuntimeError("the name server is not started")
        return self._address

    def load_every_request(self) -> None:
        """Loads what answers operators now, and not with their first request: that would wait, and all others with it."""
        self._table.complete()

    async def start(self) -> tuple[str, int]:
        """Reads the KV table, opens the port. Raises: ListenError naming the address; ValueError, DiskError for a KV
        file that cannot be read (starting without it would lose it at the next change)."""
        await self.kv_config.load()
        self._address = await self._server.listen(self.config.bind_address, self.config.listen_port)
        self.config.listen_port = self._address[1]
        self._timers["scan"] = self._clock.call_later(FIRST_SCAN_MS, self._scan)
        self._timers["kv"] = self._clock.call_later(FIRST_KV_LOG_MS, self._log_tables)
        return self._address

    async def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await self._server.close()
        self._service.close()
        await self._client.close()

    def _scan(self) -> None:
        self._timers["scan"] = self._clock.call_later(self.config.scan_not_active_broker_interval, self._scan)
        self._service.scan_not_active_broker(self._close_channel)

    def _log_tables(self) -> None:
        self._timers["kv"] = self._clock.call_later(KV_LOG_INTERVAL_MS, self._log_tables)
        log.info("route tables: %s", self.routes.sizes())
        self.kv_config.log_all()

    def _close_channel(self, channel_id: int, reason: str) -> None:
        for channel in self._server.channels:
            if channel.id == channel_id:
                channel.close(reason)

    def _channel_closed(self, channel: Channel) -> None:
        self._service.channel_closed(channel.id)
