"""A simulated world for tests, ours and users': virtual clock, memory network, faulty disk, seeded randomness."""

from __future__ import annotations

from .memory_disk import MemoryDisk, PowerCut
from .memory_net import MemoryNet
from .seeded_rng import SeededRng
from .virtual_clock import VirtualClock, settle

__all__ = ["MemoryDisk", "MemoryNet", "PowerCut", "SeededRng", "VirtualClock", "settle"]
