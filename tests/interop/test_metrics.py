"""The same traffic on the official broker and on ours, and the metrics of both beside each other.

Names, types and labels must be the same, and so must every value that counts messages. What only one of them has is listed
below with the reason; an entry that is no longer needed fails.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.unit.broker.metrics_page import Labels, MetricsPage

from .bench import Bench
from .cluster import HOST, TOPOLOGIES, Cluster, ask, ask_on, connected, free_port
from .driver import Crew

pytestmark = [pytest.mark.xdist_group("metrics"), pytest.mark.timeout(300)]

ONLY_OFFICIAL = {
    "target_info": "says nothing: the resource has no attributes",
    "rocketmq_pop_revive_in_message": "popped messages are not kept in a revive topic here",
    "rocketmq_pop_revive_lag_milliseconds": "the same",
    "rocketmq_pop_revive_latency_milliseconds": "the same",
    "rocketmq_pop_buffer_scan_time_consume_milliseconds": "there is no buffer to go through",
}
ONLY_OURS: dict[str, str] = {}
NOT_OF_THIS_STORY = {"rocketmq_pop_revive_out_message", "rocketmq_pop_revive_retry_messages"}
"""They come when something comes out of the official revive topic, minutes later."""

SETTLED_S = 40.0
LAGS = ("lag_messages", "inflight_messages", "ready_messages")
COUNTS = (
    "rocketmq_messages_in_total",
    "rocketmq_messages_out_total",
    "rocketmq_message_size_count",
    "rocketmq_message_size_bucket",
    "rocketmq_throughput_in_total",
    "rocketmq_throughput_out_total",
    "rocketmq_message_size_sum",
    "rocketmq_send_to_dlq_messages_total",
    "rocketmq_commit_messages_total",
    "rocketmq_rollback_messages_total",
    "rocketmq_finish_message_latency_milliseconds_count",
    "rocketmq_half_messages",
    "rocketmq_timing_messages",
    "rocketmq_timer_enqueue_total",
    "rocketmq_timer_dequeue_total",
    "rocketmq_delay_message_latency_seconds_count",
    "rocketmq_delay_message_latency_seconds_bucket",
    *(f"rocketmq_consumer_{name}" for name in LAGS),
)
"""Compared series by series, for the topics of the story."""

RPCS = (
    ("send_message_v2", "success", "success"),
    ("send_batch_message", "success", "success"),
    ("end_transaction", "success", "oneway"),
    ("pop_message", "success", "success"),
    ("ack_message", "success", "success"),
    ("update_and_create_topic", "success", "success"),
    ("update_and_create_subscriptiongroup", "success", "success"),
    ("consumer_send_msg_back", "success", "success"),
)
"""Requests that both brokers were sent equally often: code, answer, result."""

TOPICS = ("Plain", "Batched", "Delayed", "Timed", "Tx", "Popped", "Failing", "Slow", "Pulled")
_HEART_BEAT = 34
_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200


def _ids(name: str) -> str:
    return f"Metrics{name}"


def _heartbeat(connection: Any, group: str, kind: str, topic: str) -> None:
    """Holds a group open, as a client of that kind would."""
    subscription = {"topic": topic, "subString": "*", "tagsSet": [], "codeSet": [], "subVersion": 1, "expressionType": "TAG"}
    consumer = {
        "groupName": group, "consumeType": kind, "messageModel": "CLUSTERING", "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
        "subscriptionDataSet": [subscription], "unitMode": False,
    }  # fmt: skip
    body = {"clientID": f"{HOST}@{group}", "producerDataSet": [], "consumerDataSet": [consumer]}
    assert ask_on(connection, _HEART_BEAT, {}, json.dumps(body).encode())[0] == 0


def tell(bench: Bench) -> None:
    """The traffic."""
    driver = bench.drivers[0]
    broker = bench.cluster.broker.address
    sender = bench.producer(driver)
    for topic in TOPICS:
        sender.create_topic(_ids(topic), queues=1)
    for group in ("poppers", "pullers"):
        config = {"groupName": _ids(group), "consumeEnable": True, "retryQueueNums": 1, "retryMaxTimes": 16}
        assert ask(broker, _UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, json.dumps(config).encode())[0] == 0

    sender.send([{"body": "x" * 10} for _ in range(5)] + [{"body": "x" * 3000}], topic=_ids("Plain"))
    sender.send([{"body": "o", "properties": {"__SHARDINGKEY": "k"}} for _ in range(2)], topic=_ids("Plain"))
    sender.send([{"body": f"b{n}"} for n in range(3)], topic=_ids("Batched"), mode="batch")
    sender.send([{"body": "late", "delay": 1}], topic=_ids("Delayed"))
    sender.send([{"body": "soon", "timer": "delay_sec", "time": 2}], topic=_ids("Timed"))
    sender.send([{"body": "much later", "timer": "delay_sec", "time": 7000} for _ in range(2)], topic=_ids("Timed"))

    transactions = f"tx-{bench.mark}"
    bench.ask(driver, "transaction_start", name=transactions, group=_ids("tx"))
    bench.stop_later(driver, "transaction_stop", transactions)
    bodies = ("commit:1", "commit:2", "rollback:1", "unknown:1", "unknown:2", "unknown:3")
    bench.ask(driver, "transaction_send", name=transactions, topic=_ids("Tx"), messages=[{"body": body} for body in bodies])

    sender.send([{"body": f"pop{n}"} for n in range(10)], topic=_ids("Popped"))
    popper = f"pop-{bench.mark}"
    bench.ask(driver, "pop_start", name=popper)
    bench.stop_later(driver, "pop_stop", popper)
    where = {"name": popper, "topic": _ids("Popped"), "group": _ids("poppers")}
    popped = bench.ask(driver, "pop", **where, count=6, invisible_ms=600_000, queue=0)["messages"]
    assert len(popped) == 6
    for message in popped[:2]:
        bench.ask(driver, "pop_ack", **where, handle=message["handle"])

    sender.send([{"body": f"pull{n}"} for n in range(10)], topic=_ids("Pulled"))
    puller = f"pull-{bench.mark}"
    bench.ask(driver, "pull_start", name=puller, group=_ids("pullers"))
    bench.stop_later(driver, "pull_stop", puller)
    place = {"name": puller, "topic": _ids("Pulled"), "queue": 0}
    assert len(bench.ask(driver, "pull", **place, offset=0, max=4)["messages"]) == 4
    bench.ask(driver, "commit", **place, offset=2)

    sender.send([{"body": f"slow{n}"} for n in range(6)], topic=_ids("Slow"))
    bench.consumer(bench.drivers[1], group=_ids("slow"), topic=_ids("Slow"), consume_ms=200_000)
    sender.send([{"body": "bad"}], topic=_ids("Failing"))
    bench.consumer(bench.drivers[1], group=_ids("failing"), topic=_ids("Failing"), script="fail", max_reconsume=0)


def scrape(port: int) -> tuple[MetricsPage, str]:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return MetricsPage(text), text


def of_the_story(page: MetricsPage) -> dict[tuple[str, Labels], float]:
    """What must be the same on both: the counts of the story's topics."""
    names = {_ids(topic) for topic in TOPICS} | {"SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer", "RMQ_SYS_TRANS_HALF_TOPIC"}
    found = {}
    for name in COUNTS:
        for labels, value in page.samples.get(name, {}).items():
            told = dict(labels)
            if told.get("topic") not in names or told.get("consumer_group", "").startswith("CID_"):
                continue
            if "throughput" in name and told.get("topic", "").startswith(("SCHEDULE", "rmq_sys", "RMQ_SYS")):
                continue
            found[name, labels] = value
    for code, answer, result in RPCS:
        labels = {"protocol_type": "remoting", "request_code": code, "response_code": answer, "result": result,
                  "is_long_polling": "false"}  # fmt: skip
        count = page.value("rocketmq_rpc_latency_milliseconds_count", **labels)
        found["rocketmq_rpc_latency_milliseconds_count", frozenset(labels.items())] = -1 if count is None else count
    return found


class Told:
    def __init__(self, topology: str, folder: Path, crew: Crew) -> None:
        self.port = free_port()
        settings = {"metricsExporterType": "PROM", "metricsPromExporterPort": self.port, "transactionTimeOut": 600_000}
        self.stack = ExitStack()
        self.cluster = self.stack.enter_context(Cluster(TOPOLOGIES[topology], folder, settings=settings))
        self.bench = self.stack.enter_context(Bench(self.cluster, crew))
        tell(self.bench)
        self.members = [self.stack.enter_context(connected(self.cluster.broker.address)) for _ in range(2)]

    def page(self) -> MetricsPage:
        """As it is now. A pull client tells no subscriptions with its heartbeats, and pops were asked by hand: without a
        heartbeat that does, both groups would be shown by neither broker."""
        _heartbeat(self.members[0], _ids("poppers"), "CONSUME_POP", _ids("Popped"))
        _heartbeat(self.members[1], _ids("pullers"), "CONSUME_ACTIVELY", _ids("Pulled"))
        return scrape(self.port)[0]


@pytest.fixture(scope="module")
def both(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Told, Told]]:
    """The official broker and ours, each with the story told to it by clients of its own."""
    from .driver import CLIENTS

    with ExitStack() as stack:
        told = []
        crews = [Crew(CLIENTS["java-5.5.0"], tmp_path_factory.mktemp(f"clients-{name}")) for name in ("official", "gantry")]
        for crew in crews:
            stack.callback(crew.close)
        with ThreadPoolExecutor(2) as pool:
            begun = [
                pool.submit(Told, name, tmp_path_factory.mktemp(name), crew)
                for name, crew in zip(("official", "gantry"), crews, strict=True)
            ]
            for each in begun:
                told.append(each.result())
                stack.callback(told[-1].stack.close)
        yield told[0], told[1]


@pytest.fixture(scope="module")
def pages(both: tuple[Told, Told]) -> tuple[MetricsPage, MetricsPage]:
    """The pages of both once nothing moves any more: counts that are the same twice, and equal if they ever get so."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        theirs, ours = (each.page() for each in both)
        if of_the_story(theirs) == of_the_story(ours) or time.monotonic() > deadline:
            return theirs, ours
        time.sleep(0.5)


def test_every_count_of_the_story_is_the_same(pages: tuple[MetricsPage, MetricsPage]) -> None:
    theirs, ours = map(of_the_story, pages)
    assert len(theirs) > 100, "the story is not on the official page"
    different = {
        f"{name}{dict(sorted(labels))}": (theirs.get((name, labels)), ours.get((name, labels)))
        for name, labels in sorted(theirs.keys() | ours.keys(), key=str)
        if theirs.get((name, labels)) != ours.get((name, labels))
    }
    assert not different, "official, ours:\n" + "\n".join(f"{key}: {values}" for key, values in different.items())


def test_the_counts_are_those_of_the_story(pages: tuple[MetricsPage, MetricsPage]) -> None:
    """Two pages without a count would be equal, too."""
    for page in pages:
        plain = {"topic": _ids("Plain"), "is_system": "false"}
        assert page.value("rocketmq_messages_in_total", message_type="normal", **plain) == 6
        assert page.value("rocketmq_messages_in_total", message_type="fifo", **plain) == 2
        assert page.value("rocketmq_half_messages", topic=_ids("Tx")) == 3
        assert page.value("rocketmq_commit_messages_total", topic=_ids("Tx")) == 2
        assert page.value("rocketmq_rollback_messages_total", topic=_ids("Tx")) == 1
        assert page.sum("rocketmq_send_to_dlq_messages_total", topic=_ids("Failing")) == 1
        lags = {
            group: tuple(
                page.value(f"rocketmq_consumer_{name}", consumer_group=_ids(group), topic=_ids(topic), is_retry="false",
                           is_system="false")
                for name in LAGS
            )
            for group, topic in (("pullers", "Pulled"), ("poppers", "Popped"), ("slow", "Slow"))
        }  # fmt: skip
        assert lags == {"pullers": (8, 2, 6), "poppers": (8, 4, 4), "slow": (6, 6, 0)}


def test_names_types_and_labels_are_the_same(pages: tuple[MetricsPage, MetricsPage]) -> None:
    theirs, ours = pages
    assert {name for name in theirs.types if name not in ONLY_OFFICIAL.keys() | NOT_OF_THIS_STORY} == {
        name for name in ours.types if name not in ONLY_OURS
    }
    assert {name: theirs.types[name] for name in ours.types if name not in ONLY_OURS} == {
        name: kind for name, kind in ours.types.items() if name not in ONLY_OURS
    }
    for name in ours.samples.keys() & theirs.samples.keys():
        shapes = [{frozenset(key for key, _ in labels) for labels in page.samples[name]} for page in (theirs, ours)]
        assert shapes[0] == shapes[1], name
    for name in ours.samples.keys() & theirs.samples.keys():
        if name.endswith("_bucket"):
            bounds = [{dict(labels)["le"] for labels in page.samples[name]} for page in (theirs, ours)]
            assert bounds[0] == bounds[1], name
    assert {key: value for key, value in theirs.common.items() if not key.startswith("otel_scope_s")
            and key != "otel_scope_version"} == ours.common  # fmt: skip


@pytest.mark.parametrize("name", [*ONLY_OFFICIAL, *ONLY_OURS])
def test_what_only_one_has_is_still_so(pages: tuple[MetricsPage, MetricsPage], name: str) -> None:
    theirs, ours = pages
    assert (name in theirs.types) is (name in ONLY_OFFICIAL)
    assert (name in ours.types) is (name in ONLY_OURS)


def test_both_pages_are_read_by_the_same_rules(both: tuple[Told, Told]) -> None:
    for each in both:
        _, text = scrape(each.port)
        assert re.search(r"^# TYPE rocketmq_messages_in_total counter$", text, re.MULTILINE)
        assert re.search(r'^rocketmq_messages_in_total\{.*topic="MetricsPlain".*\} 6\.0', text, re.MULTILINE)
