"""The doors a client reaches the world through: the real ones by default, simulated ones in tests."""

from __future__ import annotations

from dataclasses import dataclass

from gantry.runtime.clock import Clock, SystemClock
from gantry.runtime.disk import Disk
from gantry.runtime.net import AsyncioNet, Net
from gantry.runtime.rng import Rng, SystemRng
from gantry.runtime.system_disk import SystemDisk


@dataclass(frozen=True, slots=True)
class Doors:
    """Network, clock, randomness and disk of one client. Several clients may share one set."""

    net: Net
    clock: Clock
    rng: Rng
    disk: Disk

    @classmethod
    def system(cls) -> Doors:
        """The machine's own."""
        return cls(net=AsyncioNet(), clock=SystemClock(), rng=SystemRng(), disk=SystemDisk())
