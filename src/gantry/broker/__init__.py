"""The broker: accepts, keeps and hands out messages; owns topics, groups and consumer offsets.

Door: `BrokerController` composes everything, `BrokerConfig` holds the settings. Requests come in over
`gantry.runtime.remoting_server`; the common sends are taken by `broker.hot`, everything else by one
processor per request (`processor/table.py`).
"""

from .config import BrokerConfig
from .controller import BrokerController

__all__ = ["BrokerConfig", "BrokerController"]
