"""Fixtures of the interop tests: the topologies, the official clients, and the rule about missing tools.

Where Java, Maven or Go is missing a test is skipped with the reason; with GANTRY_REQUIRE_INTEROP=1 that is a failure
(`tests/conftest.py`, for everything marked `interop`). GANTRY_INTEROP_BASELINE=1 adds the topology of two official
servers, on which every scenario must pass: it checks the suite, not us.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import artifacts
from .bench import Bench
from .cluster import TOPOLOGIES, Cluster
from .driver import CLIENTS, Crew

OURS = ("gantry", "official-namesrv", "official-broker")
BASELINE = ("official",) if os.environ.get("GANTRY_INTEROP_BASELINE") == "1" else ()
_only = os.environ.get("GANTRY_INTEROP_TOPOLOGIES")
SELECTED = tuple(_only.split(",")) if _only else OURS + BASELINE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(pytest.mark.interop)
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        topology = parameters.get("cluster")
        if topology is not None:
            # One worker has the whole of a topology, so that its servers start once.
            item.add_marker(pytest.mark.xdist_group(topology))
        if (topology, parameters.get("crew")) == ("gantry", "java-5.5.0"):
            item.add_marker(pytest.mark.smoke)


@pytest.fixture(scope="session")
def toolchain() -> None:
    """Everything the suites run with; skips where a tool is missing."""
    try:
        artifacts.server_jars()
        for version in artifacts.CLIENT_VERSIONS:
            artifacts.java_driver(version)
        artifacts.go_driver()
    except artifacts.MissingTool as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session", params=SELECTED)
def cluster(request: pytest.FixtureRequest, toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running name server and broker; each topology in turn."""
    folder = tmp_path_factory.mktemp(f"cluster-{request.param}")
    with Cluster(TOPOLOGIES[request.param], folder, settings={"enablePropertyFilter": "true"}) as running:
        yield running


@pytest.fixture(scope="session")
def crews(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Crew]]:
    """The client processes of every kind, started when first asked for and shared by all tests."""
    folder = tmp_path_factory.mktemp("clients")
    all_crews = {name: Crew(kind, folder) for name, kind in CLIENTS.items()}
    yield all_crews
    for crew in all_crews.values():
        crew.close()


@pytest.fixture(params=list(CLIENTS))
def crew(request: pytest.FixtureRequest, crews: dict[str, Crew]) -> Crew:
    """Three processes of one official client; each client in turn."""
    return crews[request.param]


@pytest.fixture
def lone_namesrv(toolchain: None, tmp_path: Path) -> Iterator[Cluster]:
    """For brokers that come and go by hand: of the cluster only the name server runs, and the chosen port is used."""
    cluster = Cluster(TOPOLOGIES["gantry"], tmp_path)
    cluster.namesrv.start()
    try:
        yield cluster
    finally:
        cluster.namesrv.close()


@pytest.fixture
def bench(cluster: Cluster, crew: Crew) -> Iterator[Bench]:
    """The cluster seen by one official client, with names nobody used before."""
    with Bench(cluster, crew) as one:
        yield one
