"""A simulated world for tests, ours and users': virtual clock, memory network, faulty disk, seeded randomness, clusters.

`gantry.testing.cluster` and `gantry.testing.simulated_cluster` are imported by name: they bring in the whole package.
"""

from __future__ import annotations

from .memory_disk import MemoryDisk
from .memory_faults import PowerCut
from .memory_net import MemoryNet
from .ports import free_broker_port, free_ports
from .seeded_rng import SeededRng
from .virtual_clock import VirtualClock, settle

__all__ = [
    "MemoryDisk",
    "MemoryNet",
    "PowerCut",
    "SeededRng",
    "VirtualClock",
    "free_broker_port",
    "free_ports",
    "settle",
]
