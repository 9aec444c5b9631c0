"""Groups that read much old data are held back, and nobody else is: official clients on our broker and on the official one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from .bench import Bench
from .cluster import TOPOLOGIES, Cluster, ask
from .driver import Crew, eventually

THRESHOLD = 20_000
SETTINGS = {
    "coldDataFlowControlEnable": "true",
    "accessMessageInMemoryHotRatio": 0,  # the whole log is cold
    "cgColdReadThreshold": THRESHOLD,
}
COUNT = 160
BODY = "x" * 2_000
CLIENT = "java-5.5.0"
PERIOD_S = 5.0
_GET_CONSUMER_LIST_BY_GROUP = 38
_UPDATE_COLD_DATA_FLOW_CTR_CONFIG = 2001
_REMOVE_COLD_DATA_FLOW_CTR_CONFIG = 2002
_GET_COLD_DATA_FLOW_CTR_INFO = 2003


@pytest.fixture(scope="module", params=["gantry", "official-broker"])
def cold_cluster(
    request: pytest.FixtureRequest, toolchain: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp(f"cold-{request.param}")
    with Cluster(TOPOLOGIES[request.param], folder, settings=SETTINGS) as running:
        yield running


@pytest.fixture
def bench(cold_cluster: Cluster, crews: dict[str, Crew]) -> Iterator[Bench]:
    with Bench(cold_cluster, crews[CLIENT]) as one:
        yield one


def info(bench: Bench) -> dict[str, dict[str, object]]:
    code, _, body = ask(bench.cluster.broker.address, _GET_COLD_DATA_FLOW_CTR_INFO, {})
    assert code == 0
    told: dict[str, dict[str, object]] = json.loads(body)
    return told


def fill(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic(queues=1)
    sender.send([{"body": f"{n}:{BODY}"} for n in range(COUNT)])


def test_a_push_consumer_over_its_threshold_is_slowed_and_others_are_not(bench: Bench) -> None:
    fill(bench)
    held, free = f"held-{bench.mark}", f"free-{bench.mark}"
    broker = bench.cluster.broker.address
    assert ask(broker, _UPDATE_COLD_DATA_FLOW_CTR_CONFIG, {}, f"{free}=100000000\n".encode())[0] == 0
    assert info(bench)["configTable"][free] == 100_000_000
    slow = bench.consumer(bench.drivers[1], group=held)
    fast = bench.consumer(bench.drivers[2], group=free)
    eventually(lambda: len(bench.consumed(fast)) >= COUNT, 30, "the group with a threshold of its own was held back, too")
    eventually(lambda: len(bench.consumed(slow)) >= COUNT, 90, "the group that was held back never came to the end")
    took_s = {
        name: (max(each.ended for each in bench.consumed(name)) - min(each.began for each in bench.consumed(name))) / 1e6
        for name in (slow, fast)
    }
    # Five reads of 32 messages, each of which passes the threshold of its period: three whole periods lie between them.
    assert took_s[slow] > 3 * PERIOD_S, "nobody was held back"
    assert took_s[fast] < took_s[slow] / 2
    bodies = [each.body.partition(":")[0] for each in bench.consumed(slow)]
    assert sorted(map(int, bodies)) == list(range(COUNT)), "held back is not left out, and not given twice"
    table = info(bench)["runtimeTable"]
    assert {held, free} <= table.keys()
    reads = table[held]
    assert isinstance(reads, dict)
    assert reads.keys() == {"coldAcc", "createTimeMills", "lastColdReadTimeMills"}
    assert ask(broker, _REMOVE_COLD_DATA_FLOW_CTR_CONFIG, {}, free.encode())[0] == 0
    assert free not in info(bench)["configTable"]


def test_a_pull_consumer_over_its_threshold_waits_for_its_answer(bench: Bench) -> None:
    fill(bench)
    driver = bench.drivers[0]
    name = f"pull-{bench.mark}"
    bench.ask(driver, "pull_start", name=name, group=bench.group, topic=bench.topic, heartbeat_ms=500)
    bench.stop_later(driver, "pull_stop", name)
    members = {"consumerGroup": bench.group}
    place = {"name": name, "topic": bench.topic, "queue": 0}
    # The client learns of the broker when it pulls first. The official broker fails at a group that is over and that it has
    # had no heartbeat of.
    assert bench.ask(driver, "pull", **place, offset=0, max=1)["status"] == "FOUND"
    eventually(lambda: ask(bench.cluster.broker.address, _GET_CONSUMER_LIST_BY_GROUP, members)[0] == 0, 20, "no heartbeat came")
    offset, waited = 0, 0.0
    while offset < COUNT:
        began = time.monotonic()
        pulled = bench.ask(driver, "pull", **place, offset=offset, max=8)
        waited = max(waited, time.monotonic() - began)
        assert pulled["status"] == "FOUND"
        offset = pulled["next"]
        if waited > 2:
            break
    # Ours waits 3 s; the official broker looks after those that wait every 5 s.
    assert 2.9 < waited < 9.9
    assert 8 < offset < COUNT
