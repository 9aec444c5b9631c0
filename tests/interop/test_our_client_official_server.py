"""Our client against an official broker and name server, and against each of them beside one of ours: the same scenarios."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.client_pop_scenarios import POP_SCENARIOS
from tests.client_scenarios import SCENARIOS, TRANSACTION_SETTINGS, World

from .cluster import TOPOLOGIES, Cluster


@pytest.fixture(scope="module", params=["official", "official-namesrv", "official-broker"])
def official_cluster(
    request: pytest.FixtureRequest, toolchain: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder, settings = (
        tmp_path_factory.mktemp(f"our-client-{request.param}"),
        {"enablePropertyFilter": "true", **TRANSACTION_SETTINGS},
    )
    with Cluster(TOPOLOGIES[request.param], folder, settings=settings) as running:
        yield running


@pytest.mark.parametrize("scenario", [*SCENARIOS, *POP_SCENARIOS], ids=lambda scenario: scenario.__name__)
def test_scenario(official_cluster: Cluster, scenario: Callable[[World], Awaitable[None]], tmp_path: Path) -> None:
    async def main() -> None:
        await scenario(World(official_cluster.namesrv_address, tmp_path))

    asyncio.run(main())
