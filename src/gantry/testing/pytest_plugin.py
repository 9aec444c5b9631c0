"""pytest plugin: fixtures for code that uses Gantry. Installed with the package; nothing is loaded until a fixture is used."""

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
