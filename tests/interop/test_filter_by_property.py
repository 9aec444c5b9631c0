"""SQL92 filters with official clients: by heartbeat and by pull, refused ones, and over restarts of either broker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import accounting
from .bench import Bench
from .cluster import TOPOLOGIES, Broker, Cluster, GantryBroker, OfficialBroker, ask_on, connected
from .driver import CLIENTS, Crew, DriverError, eventually

PULL_MESSAGE, HEART_BEAT, CHECK_CLIENT_CONFIG, POP_MESSAGE = 11, 34, 46, 200050
GROUP = "property-filters"
JAVA = [kind.id for kind in CLIENTS.values() if kind.queries]
"""The Go client neither asks the broker about an expression nor returns from a pull that finds nothing."""


def sized(numbers: range, prefix: str = "m") -> list[dict[str, object]]:
    """Messages 0, 1, 2 ... red and blue in turn; every fifth has no size."""
    messages: list[dict[str, object]] = []
    for number in numbers:
        properties = {"colour": ("red", "blue")[number % 2], "weight": f"{number}.5"}
        if number % 5:
            properties["size"] = str(number)
        messages.append({"body": f"{prefix}-{number}", "properties": properties})
    return messages


def test_an_expression_selects_on_the_broker_and_loses_nothing(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    sender.send(sized(range(100)))
    expression = "(colour = 'red' AND size BETWEEN 20 AND 80) OR (size IS NULL AND weight > 94.9)"
    some = bench.consumer(bench.drivers[1], group=f"{bench.group}-some", expression=expression, sql=True)
    rest = bench.consumer(bench.drivers[2], group=f"{bench.group}-rest", expression=f"NOT ({expression})", sql=True)
    sender.send(sized(range(100), "later"))
    sender.send([{"body": "later-none"}])

    wanted = [
        f"{prefix}-{n}"
        for prefix in ("m", "later")
        for n in range(100)
        if (n % 2 == 0 and n % 5 and 20 <= n <= 80) or (n % 5 == 0 and n >= 95)
    ]
    # Of what is without a size NOT knows no more than the expression, unless the other half decides.
    others = [f"{prefix}-{n}" for prefix in ("m", "later") for n in range(100) if f"m-{n}" not in wanted and (n % 5 or n % 2)]
    eventually(lambda: len(bench.consumed(some)) >= len(wanted), 20, lambda: f"{len(bench.consumed(some))} of {len(wanted)}")
    eventually(lambda: len(bench.consumed(rest)) >= len(others), 20, lambda: f"{len(bench.consumed(rest))} of {len(others)}")
    for bodies, name in ((wanted, some), (others, rest)):
        accounting.check(
            accounting.missing(bodies, bench.consumed(name)),
            accounting.unknown(bodies, bench.consumed(name)),
            accounting.repeated(bench.consumed(name)),
        )


def test_a_message_that_failed_comes_again_whatever_the_expression(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    bench.make_group_known(bench.group)
    name = bench.consumer(bench.drivers[1], script="fail_first", expression="size > 1", sql=True)
    sender.send(sized(range(4)))
    eventually(lambda: len(bench.consumed(name)) >= 4, 20, lambda: f"{bench.consumed(name)}")
    assert sorted((each.body, each.reconsume) for each in bench.consumed(name)) == [
        (f"m-{n}", tries) for n in (2, 3) for tries in (0, 1)
    ]


@pytest.mark.parametrize("crew", JAVA, indirect=True)
def test_a_pull_brings_its_own_expression(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic(queues=1)
    sender.send([{**message, "queue": 0} for message in sized(range(30))])
    reader = f"reader-{bench.mark}"
    bench.ask(bench.drivers[0], "pull_start", name=reader, group=bench.group, topic=bench.topic, heartbeat_ms=500)
    bench.stop_later(bench.drivers[0], "pull_stop", reader)

    def pull(expression: str, offset: int = 0, count: int = 32) -> tuple[str, int, list[str]]:
        members = {"name": reader, "topic": bench.topic, "queue": 0, "offset": offset, "max": count}
        pulled = bench.ask(bench.drivers[0], "pull", expression=expression, sql=True, **members)
        return pulled["status"], pulled["next"], [message["body"] for message in pulled["messages"]]

    def knows_the_version() -> bool:
        try:
            pull("size > 1")
        except DriverError as error:
            if "does not upgrade to support" not in str(error):
                raise
            return False
        return True

    eventually(knows_the_version, 20, "no heartbeat told the client the broker's version", poll_s=0.2)
    assert pull("size IN ('1', '4', '29')") == ("FOUND", 30, ["m-1", "m-4", "m-29"])
    assert pull("size >= 10", count=2) == ("FOUND", 13, ["m-11", "m-12"])
    assert pull("colour CONTAINS 'lu' AND weight < 4.0") == ("FOUND", 30, ["m-1", "m-3"])
    assert pull("size > 100") == ("NO_MATCHED_MSG", 30, [])
    assert pull("nothing = 'x'", offset=20) == ("NO_MATCHED_MSG", 30, [])
    assert pull("weight > 5") == ("NO_MATCHED_MSG", 30, [])  # 0.5 is no whole number: an error is no match


@pytest.mark.parametrize("crew", JAVA, indirect=True)
def test_a_lite_pull_consumer_waits_with_its_expression(bench: Bench) -> None:
    """It sends the expression with each pull and lets pulls wait at the end of a queue."""
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    sender.send(sized(range(40)))
    reader = f"lite-{bench.mark}"
    expression = "size BETWEEN 5 AND 15 AND colour = 'blue'"
    bench.ask(bench.drivers[1], "lite_start", name=reader, group=bench.group, topic=bench.topic, expression=expression)
    bench.stop_later(bench.drivers[1], "seek_stop", reader)
    found: list[str] = []

    def poll_until(count: int) -> None:
        def polled() -> bool:
            polled = bench.ask(bench.drivers[1], "lite_poll", name=reader, ms=300)["messages"]
            found.extend(message["body"] for message in polled)
            return len(found) >= count

        eventually(polled, 30, lambda: f"{found}")

    poll_until(4)
    sender.send(sized(range(40), "later"))
    poll_until(8)
    assert sorted(found) == sorted(f"{prefix}-{n}" for prefix in ("m", "later") for n in (7, 9, 11, 13))


@pytest.mark.parametrize("crew", JAVA, indirect=True)
@pytest.mark.parametrize(
    "expression", ["size >", "size > 'x'", "size BETWEEN 5 AND 1", "size > 0.0", "size > 5 #", "5", "size = NULL"]
)
def test_an_expression_that_cannot_be_read_is_refused_at_the_start(bench: Bench, expression: str) -> None:
    bench.producer(bench.drivers[0]).create_topic()
    with pytest.raises(DriverError, match="CODE: 23"):
        bench.consumer(bench.drivers[1], expression=expression, sql=True)


@pytest.fixture(scope="module", params=["false", "true"], ids=["not enabled", "enabled"])
def pair(
    request: pytest.FixtureRequest, toolchain: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, GantryBroker, OfficialBroker]]:
    """Our broker and the official one, each alone, with the same setting."""
    folder = tmp_path_factory.mktemp(f"filters-{request.param}")
    settings = {"enablePropertyFilter": request.param}
    with (
        GantryBroker(folder / "ours", "", settings=settings) as ours,
        OfficialBroker(folder / "official", "", settings=settings) as official,
    ):
        yield request.param == "true", ours, official


def check_body(expression: str | None, kind: str | None) -> bytes:
    subscription = {"topic": "TBW102", "subString": expression, "expressionType": kind, "subVersion": 1}
    return json.dumps({"clientId": "c", "group": GROUP, "subscriptionData": subscription}).encode()


def heartbeat_body(expression: str, version: int, group: str) -> bytes:
    subscription = {"topic": "TBW102", "subString": expression, "expressionType": "SQL92", "subVersion": version}
    consumer = {
        "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING", "unitMode": False,
        "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "subscriptionDataSet": [subscription],
    }  # fmt: skip
    return json.dumps({"clientID": "c", "producerDataSet": [], "consumerDataSet": [consumer]}).encode()


def pull_fields(flags: int, expression: str, kind: str, *, version: int = 1, group: str = GROUP) -> dict[str, str]:
    return {
        "consumerGroup": group, "topic": "TBW102", "queueId": "0", "queueOffset": "0", "maxMsgNums": "1",
        "sysFlag": str(flags), "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": expression,
        "subVersion": str(version), "expressionType": kind,
    }  # fmt: skip


def pop_fields(expression: str, kind: str) -> dict[str, str]:
    return {
        "consumerGroup": f"{GROUP}-pop", "topic": "TBW102", "queueId": "-1", "maxMsgNums": "1", "invisibleTime": "60000",
        "pollTime": "0", "bornTime": str(time.time_ns() // 1_000_000), "initMode": "0", "order": "false",
        "exp": expression, "expType": kind,
    }  # fmt: skip


def codes_of(broker: Broker) -> dict[str, int]:
    """Codes of the answers to one list of requests."""
    found = {}
    with connected(broker.address) as connection:
        for expression, kind in (
            ("a > 5", "SQL92"), ("a >", "SQL92"), ("a", "XYZ"), ("a", "TAG"), ("a", ""), ("a", None), (None, "SQL92"),
            ("", "SQL92"),
        ):  # fmt: skip
            found[f"check {kind} {expression}"] = ask_on(connection, CHECK_CLIENT_CONFIG, {}, check_body(expression, kind))[0]
        for flags, expression, kind in (
            (4, "a > 5", "SQL92"), (4, "", "SQL92"), (4, "", "XYZ"), (4, "a", "TAG"), (0, "", "SQL92"),
        ):  # fmt: skip
            fields = pull_fields(flags, expression, kind)
            found[f"pull {flags} {kind} {expression}"] = ask_on(connection, PULL_MESSAGE, fields)[0]
        for expression, kind in (("a > 5", "SQL92"), ("a >", "SQL92"), ("a", "XYZ"), ("a", "TAG")):
            found[f"pop {kind} {expression}"] = ask_on(connection, POP_MESSAGE, pop_fields(expression, kind))[0]
        for step, (expression, version, asked) in enumerate((("a >", 1, 1), ("a > 5", 2, 2), ("a > 5", 2, 3), ("a >", 3, 3))):
            group = f"{GROUP}-{step // 2}"
            ask_on(connection, HEART_BEAT, {}, heartbeat_body(expression, version, group))
            fields = pull_fields(0, "", "SQL92", version=asked, group=group)
            found[f"pull {step} after a heartbeat"] = ask_on(connection, PULL_MESSAGE, fields)[0]
    return found


@pytest.mark.timeout(120)
def test_codes_are_the_official_ones(pair: tuple[bool, GantryBroker, OfficialBroker]) -> None:
    enabled, ours, official = pair
    found, expected = codes_of(ours), codes_of(official)
    assert found == expected
    assert (1 if not enabled else 23) in expected.values()
    assert 27 in expected.values()


@pytest.mark.timeout(180)
def test_either_broker_opens_the_others_filters(crews: dict[str, Crew], toolchain: None, tmp_path: Path) -> None:
    """The group's filter is in consumerFilter.json, and a broker that starts on it takes it for what it is."""
    store = tmp_path / "store"
    file = store / "config" / "consumerFilter.json"
    settings = {"enablePropertyFilter": "true"}
    entries = []
    with (
        Cluster(TOPOLOGIES["gantry"], tmp_path / "names", settings=settings) as cluster,
        Bench(cluster, crews["java-5.5.0"]) as bench,
    ):
        for turn, kind in enumerate((GantryBroker, OfficialBroker, GantryBroker)):
            broker = kind(tmp_path / f"broker-{turn}", cluster.namesrv.address, name="b", store=store, settings=settings)
            with broker:
                if not turn:
                    name = f"filter-{bench.mark}"
                    members = {"name": name, "group": GROUP, "topic": "TBW102", "expression": "a > 5", "sql": True}
                    bench.ask(bench.drivers[1], "consumer_start", **members)
                    eventually(lambda: filters_in(file), 20, "the filter is in no file")
                    bench.drivers[1].call("consumer_stop", name=name)
                    eventually(lambda: filters_in(file)[0]["dead"], 20, "the filter did not die with its group")
                # Polite: it writes what it has.
                broker.stop()
            entries.append(filters_in(file))
    assert entries[0] == entries[1] == entries[2]
    assert [(entry["consumerGroup"], entry["topic"], entry["expression"]) for entry in entries[0]] == [
        (GROUP, "TBW102", "a > 5")
    ]


def filters_in(file: Path) -> list[dict[str, object]]:
    if not file.exists():
        return []
    table = json.loads(file.read_text())["filterDataByTopic"]
    return [entry for topic in table.values() for entry in topic["groupFilterData"].values()]
