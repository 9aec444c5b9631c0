"""A client's world without sockets: virtual clock, seeded randomness, fake name server and brokers."""

from __future__ import annotations

import pytest

from gantry.client import Doors
from gantry.runtime.system_disk import SystemDisk
from gantry.testing import MemoryNet, SeededRng, VirtualClock
from tests.unit.client.fake_cluster import FakeCluster


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def cluster(clock: VirtualClock) -> FakeCluster:
    return FakeCluster(clock)


@pytest.fixture
def doors(clock: VirtualClock) -> Doors:
    return Doors(net=MemoryNet(clock), clock=clock, rng=SeededRng(7), disk=SystemDisk())
