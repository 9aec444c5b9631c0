"""The name server: brokers register here, clients ask for routes. Name servers never talk to each other."""

from .config import NamesrvConfig
from .controller import NamesrvController
from .kv_config_manager import KVConfigManager
from .route_info_manager import RouteInfoManager

__all__ = ["KVConfigManager", "NamesrvConfig", "NamesrvController", "RouteInfoManager"]
