"""Transactions of official producers: on our broker, and the same on the official one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import accounting, artifacts
from .bench import Bench
from .cluster import JVM_SMALL, TOPOLOGIES, Cluster, ask
from .driver import Checked, Crew, Driver, eventually

SETTINGS = {"transactionTimeOut": 1_000, "transactionCheckInterval": 1_000, "transactionOpBatchInterval": 500}
"""A round each second, where the default is half a minute; the limit of fifteen checks stays."""
CHECK_MAX = 15
WARM = "commit:warm"
_GET_PRODUCER_CONNECTION_LIST = 204
PARKED = "TRANS_CHECK_MAX_TIME_TOPIC"


@pytest.fixture(scope="module", params=["gantry", "official-broker"])
def checking_cluster(
    request: pytest.FixtureRequest, toolchain: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp(f"transactions-{request.param}")
    with Cluster(TOPOLOGIES[request.param], folder, settings=SETTINGS) as running:
        yield running


@pytest.fixture
def bench(checking_cluster: Cluster, crew: Crew) -> Iterator[Bench]:
    with Bench(checking_cluster, crew) as one:
        yield one


@pytest.fixture
def lively_bench(checking_cluster: Cluster, crews: dict[str, Crew]) -> Iterator[Bench]:
    """With a client whose heartbeat comes in time: in 35 s, as with the Go client, all fifteen checks here are over."""
    with Bench(checking_cluster, crews["java-5.5.0"]) as one:
        yield one


def producer(bench: Bench, driver: Driver, **options: object) -> str:
    """A started transactional producer of the bench's group."""
    name = f"t-{bench.mark}-{time.monotonic_ns()}"
    group = f"T-{bench.mark}"
    bench.ask(driver, "transaction_start", name=name, group=group, **options)
    bench.stop_later(driver, "transaction_stop", name)
    # A client sends heartbeats to the brokers of topics it has used; only then a broker can ask it.
    send(bench, driver, name, WARM)
    timeout_s = bench.crew.kind.heartbeat_s + 10
    eventually(lambda: is_connected(bench, group, name), timeout_s, f"{name} is not known to the broker", poll_s=0.2)
    return name


def is_connected(bench: Bench, group: str, name: str) -> bool:
    code, _, body = ask(bench.cluster.broker.address, _GET_PRODUCER_CONNECTION_LIST, {"producerGroup": group})
    return code == 0 and name.encode() in body


def send(bench: Bench, driver: Driver, name: str, *messages: dict[str, object] | str) -> list[dict[str, Any]]:
    listed = [{"body": message} if isinstance(message, str) else message for message in messages]
    answer = bench.ask(driver, "transaction_send", name=name, topic=bench.topic, messages=listed)
    results: list[dict[str, Any]] = answer["results"]
    assert [each["error"] for each in results if each.get("status") != "SEND_OK"] == []
    return results


def checks(bench: Bench, body: str) -> list[Checked]:
    """The questions asked for one message, whichever producer got them."""
    return [
        each for driver in bench.everyone for each in list(driver.checked) if (each.topic, each.body) == (bench.topic, body)
    ]


def parked(bench: Bench) -> list[str]:
    return [str(each["body"]) for each in parked_messages(bench)]


def parked_messages(bench: Bench) -> list[dict[str, Any]]:
    """What was set aside, oldest first; none while nobody knows the topic."""
    driver, reader = bench.drivers[0], f"parked-{bench.mark}-{time.monotonic_ns()}"
    found: list[dict[str, Any]] = []
    try:
        bench.ask(driver, "pull_start", name=reader, group=f"reader-{bench.mark}", topic=PARKED)
        try:
            while (pulled := bench.ask(driver, "pull", name=reader, topic=PARKED, queue=0, offset=len(found), max=32))[
                "messages"
            ]:
                found += pulled["messages"]
        finally:
            driver.call("pull_stop", name=reader)
    except RuntimeError:
        pass
    return found


def bodies(bench: Bench, consumer: str) -> list[str]:
    """What was consumed, each once: the original may ask again for what is committed already, and deliver it twice."""
    found = sorted(each.body for each in bench.consumed(consumer) if each.body != WARM)
    return found if is_ours(bench) else sorted(set(found))


def is_ours(bench: Bench) -> bool:
    return bench.cluster.topology.id == "gantry"


def test_commits_are_seen_and_rollbacks_never(bench: Bench) -> None:
    bench.producer(bench.drivers[0]).create_topic()
    consumer = bench.consumer(bench.drivers[1])
    name = producer(bench, bench.drivers[0])
    committed = [f"commit:{n}" for n in range(40)]
    messages: list[dict[str, object] | str] = [
        each for n, body in enumerate(committed) for each in ({"body": body, "tags": "T", "keys": f"k{n}"}, f"rollback:{n}")
    ]
    results = send(bench, bench.drivers[0], name, *messages)
    assert {each["state"] for each in results} == {"COMMIT_MESSAGE", "ROLLBACK_MESSAGE"}
    assert all(each["transaction_id"] == each["msg_id"] for each in results)
    eventually(lambda: len(bench.consumed(consumer)) >= len(committed), 20, lambda: f"{len(bench.consumed(consumer))} consumed")
    time.sleep(3)  # rounds in which nothing more may come
    accounting.check(accounting.missing(committed, bench.consumed(consumer)))
    assert bodies(bench, consumer) == sorted(committed)
    sent = {each["msg_id"] for each in results[::2]}
    seen = [each for each in bench.consumed(consumer) if each.body != WARM]
    assert {each.msg_id for each in seen} == sent
    assert {(each.tags, each.topic) for each in seen} == {("T", bench.topic)}
    assert [each for body in committed for each in checks(bench, body)] == []


def test_an_unknown_outcome_is_asked_for_and_the_answer_holds(bench: Bench) -> None:
    bench.producer(bench.drivers[0]).create_topic()
    consumer = bench.consumer(bench.drivers[1])
    name = producer(bench, bench.drivers[0])
    asked = {"body": "unknown/commit:later", "tags": "T", "keys": "k"}
    results = send(bench, bench.drivers[0], name, asked, "unknown/rollback:never")
    eventually(lambda: bodies(bench, consumer) == ["unknown/commit:later"], 20, lambda: f"{bench.consumed(consumer)}")
    eventually(lambda: checks(bench, "unknown/rollback:never"), 10, "nobody asked for the other")
    time.sleep(3)
    assert bodies(bench, consumer) == ["unknown/commit:later"]
    one, *again = checks(bench, "unknown/commit:later")
    other, *other_again = checks(bench, "unknown/rollback:never")
    assert not is_ours(bench) or not (again or other_again)
    assert one.transaction_id == results[0]["transaction_id"]
    assert (one.topic, one.queue, one.tags, one.keys, one.times) == (bench.topic, results[0]["queue"], "T", "k", "1")
    assert other.offset != one.offset


def test_another_producer_of_the_group_answers_for_one_that_is_gone(lively_bench: Bench) -> None:
    bench = lively_bench
    bench.producer(bench.drivers[1]).create_topic()
    consumer = bench.consumer(bench.drivers[1])
    name = producer(bench, bench.drivers[0])
    send(bench, bench.drivers[0], name, "unknown/commit:orphan")
    bench.kill(bench.drivers[0])
    producer(bench, bench.drivers[2])
    eventually(lambda: bodies(bench, consumer) == ["unknown/commit:orphan"], 30, lambda: f"{bench.consumed(consumer)}")
    bench.replace()


def test_after_fifteen_checks_it_is_set_aside_and_never_seen(lively_bench: Bench) -> None:
    bench = lively_bench
    bench.producer(bench.drivers[0]).create_topic()
    consumer = bench.consumer(bench.drivers[1])
    name = producer(bench, bench.drivers[0])
    body = f"unknown:{bench.mark}"
    send(bench, bench.drivers[0], name, body)
    eventually(lambda: body in parked(bench), 60, lambda: f"{len(checks(bench, body))} checks", poll_s=0.5)
    time.sleep(3)
    assert [each.times for each in checks(bench, body)] == [str(n) for n in range(1, CHECK_MAX + 1)]
    assert parked(bench).count(body) == 1
    assert bodies(bench, consumer) == []


def test_an_operator_has_what_was_set_aside_checked_again(lively_bench: Bench) -> None:
    bench = lively_bench
    bench.producer(bench.drivers[0]).create_topic()
    name = producer(bench, bench.drivers[0])
    body = f"unknown:again-{bench.mark}"
    send(bench, bench.drivers[0], name, body)
    eventually(lambda: body in parked(bench), 60, lambda: f"{len(checks(bench, body))} checks", poll_s=0.5)
    (message,) = [each for each in parked_messages(bench) if each["body"] == body]
    assert resume_check(bench, message["offset_msg_id"]) == "true"
    eventually(lambda: parked(bench).count(body) == 2, 60, lambda: f"{len(checks(bench, body))} checks", poll_s=0.5)
    assert [each.times for each in checks(bench, body)] == 2 * [str(n) for n in range(1, CHECK_MAX + 1)]
    assert resume_check(bench, message["offset_msg_id"][:-2] + "FF") != "true", "there is no such message"


def resume_check(bench: Bench, message_id: str) -> str:
    """What the official DefaultMQAdminExt says."""
    jars = artifacts.server_jars()
    classes = artifacts.java_classes("resume-check", [Path(__file__).parent / "java" / "admin" / "ResumeCheck.java"], jars)
    words = [artifacts.find_tool("java"), *JVM_SMALL, "-cp", f"{classes}:{jars}/*", "ResumeCheck"]
    told = subprocess.run(
        [*words, bench.cluster.namesrv_address, PARKED, message_id], capture_output=True, text=True, timeout=60, check=False
    )
    return told.stdout.strip().splitlines()[-1] if told.stdout.strip() else ""


def test_nobody_is_asked_within_the_immunity_of_a_message(bench: Bench) -> None:
    bench.producer(bench.drivers[0]).create_topic()
    consumer = bench.consumer(bench.drivers[1])
    name = producer(bench, bench.drivers[0])
    began = time.monotonic()
    send(bench, bench.drivers[0], name, {"body": "unknown/commit:patient", "immunity": "5"})
    eventually(lambda: bodies(bench, consumer) == ["unknown/commit:patient"], 30, lambda: f"{bench.consumed(consumer)}")
    assert time.monotonic() - began > 5
    # Whoever was asked says so on a line of its own, which may be read after that of the consumer.
    eventually(lambda: bool(checks(bench, "unknown/commit:patient")), 10, lambda: "nobody says that he was asked")
    assert len(checks(bench, "unknown/commit:patient")) == 1 or not is_ours(bench)


@pytest.mark.timeout(180)
def test_a_killed_broker_asks_for_what_was_open_when_it_comes_back(lively_bench: Bench) -> None:
    """Committed ones come once on ours; the original may ask again for those of its last batch, and deliver twice."""
    bench = lively_bench
    bench.producer(bench.drivers[0]).create_topic()
    name = producer(bench, bench.drivers[0])
    committed = [f"commit:{n}" for n in range(20)]
    later = [f"unknown/commit:{n}" for n in range(20)]
    send(bench, bench.drivers[0], name, *committed, *[f"rollback:{n}" for n in range(5)])
    # Kept busy until the kill, so that ends and halves are in every state.
    send(
        bench, bench.drivers[0], name, *later, *[f"unknown/rollback:{n}" for n in range(5)], *[f"commit:x{n}" for n in range(5)]
    )
    bench.cluster.broker.kill()
    bench.cluster.broker.start()
    consumer = bench.consumer(bench.drivers[1])
    wanted = {*committed, *later, *[f"commit:x{n}" for n in range(5)]}
    eventually(
        lambda: wanted <= set(bodies(bench, consumer)), 60, lambda: f"missing {sorted(wanted - set(bodies(bench, consumer)))}"
    )
    time.sleep(4)
    assert set(bodies(bench, consumer)) == wanted
    if is_ours(bench):
        accounting.check(accounting.repeated(bench.consumed(consumer)))
