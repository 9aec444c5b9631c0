"""What a processor of the name server may reach."""

from __future__ import annotations

import msgspec

from gantry.runtime.clock import Clock
from gantry.runtime.disk import Disk

from .config import NamesrvConfig
from .kv_config_manager import KVConfigManager
from .route_info_manager import RouteInfoManager
from .route_service import RouteService


class NamesrvContext(msgspec.Struct, frozen=True):
    """The name server's services; made once, before the first connection.

    Questions go to `routes`, changes of brokers to `service`. `started_ms` is monotonic.
    """

    config: NamesrvConfig
    clock: Clock
    disk: Disk
    routes: RouteInfoManager
    service: RouteService
    kv_config: KVConfigManager
    started_ms: int
