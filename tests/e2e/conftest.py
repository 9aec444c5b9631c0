"""Servers that the attack tests share: one of each kind per test process, with no name server behind the broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.raw_peer import ProcessCost
from tests.interop.cluster import GantryBroker, GantryNamesrv

Server = GantryNamesrv | GantryBroker


@pytest.fixture(scope="session")
def attacked_namesrv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GantryNamesrv]:
    with GantryNamesrv(tmp_path_factory.mktemp("attacked-namesrv")) as server:
        yield server


@pytest.fixture(scope="session")
def attacked_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GantryBroker]:
    with GantryBroker(tmp_path_factory.mktemp("attacked-broker"), "") as server:
        yield server


@pytest.fixture(params=["namesrv", "broker"])
def attacked(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each of the two; afterwards it must still run, with all its connections but a few gone."""
    server: Server = request.getfixturevalue(f"attacked_{request.param}")
    yield server
    assert server.running, server.tail()


@pytest.fixture
def broker(attacked_broker: GantryBroker) -> Iterator[GantryBroker]:
    """The broker; afterwards it must still run."""
    yield attacked_broker
    assert attacked_broker.running, attacked_broker.tail()


@pytest.fixture
def namesrv(attacked_namesrv: GantryNamesrv) -> Iterator[GantryNamesrv]:
    """The name server; afterwards it must still run."""
    yield attacked_namesrv
    assert attacked_namesrv.running, attacked_namesrv.tail()


@pytest.fixture
def broker_cost(broker: GantryBroker) -> ProcessCost:
    return ProcessCost(broker.pid)
