"""pytest plugin: fixtures for code that uses Gantry. Installed with the package; nothing is loaded until a fixture is used.

gantry_cluster  a running LocalCluster: real loopback sockets, store in memory (needs pytest-asyncio)
gantry_clock    a VirtualClock
gantry_disk     a MemoryDisk on that clock
gantry_net      a MemoryNet on that clock
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

try:
    import pytest_asyncio
except ImportError:  # the async fixture needs it; a project without it must still be able to run its tests
    pytest_asyncio = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from gantry.testing.cluster import LocalCluster
    from gantry.testing.memory_disk import MemoryDisk
    from gantry.testing.memory_net import MemoryNet
    from gantry.testing.virtual_clock import VirtualClock


@pytest.fixture
def gantry_clock() -> VirtualClock:
    """A clock that stands still until the test moves it."""
    from gantry.testing.virtual_clock import VirtualClock

    return VirtualClock()


@pytest.fixture
def gantry_disk(gantry_clock: VirtualClock) -> MemoryDisk:
    """A disk in memory that can fail, fill up and lose its power."""
    from gantry.testing.memory_disk import MemoryDisk

    return MemoryDisk(clock=gantry_clock)


@pytest.fixture
def gantry_net(gantry_clock: VirtualClock) -> MemoryNet:
    """A network in memory."""
    from gantry.testing.memory_net import MemoryNet

    return MemoryNet(gantry_clock)


if pytest_asyncio is not None:

    @pytest_asyncio.fixture
    async def gantry_cluster() -> AsyncIterator[LocalCluster]:
        """A name server and a broker of this test alone, on free ports, with a store in memory."""
        from gantry.testing.cluster import LocalCluster

        async with LocalCluster() as cluster:
            yield cluster

else:

    @pytest.fixture
    def gantry_cluster() -> None:
        pytest.fail("the fixture gantry_cluster needs pytest-asyncio: pip install 'gantry-mq[test]'")
