"""Arbitrary delivery times and recall, with official clients; the same against the official broker."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest

from . import accounting
from .bench import Bench
from .cluster import Cluster
from .driver import Crew, eventually

LATE_MS_MAX = 3_000
"""The promise is one second; a test machine may be busy, and the consumer's pull takes its time."""


@pytest.fixture
def recalling(cluster: Cluster, crews: dict[str, Crew]) -> Iterator[Bench]:
    """The only official client of these that recalls."""
    with Bench(cluster, crews["java-5.5.0"]) as one:
        yield one


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def timers(mark: str, kind: str, count: int, first_ms: int) -> list[dict[str, Any]]:
    """`count` messages with their own times; `due_ms` is when the test expects each, by its own clock."""
    messages = []
    for n in range(count):
        wait_ms = first_ms + n * 700
        due_ms = now_ms() + wait_ms
        number = {"delay_ms": wait_ms, "delay_sec": -(-wait_ms // 1000), "deliver_ms": due_ms}[kind]
        if kind == "delay_sec":
            due_ms = now_ms() + number * 1000
        messages.append({"body": f"{mark}-{kind}-{n}", "timer": kind, "time": number, "due_ms": due_ms})
    return messages


def sent(bench: Bench, messages: list[dict[str, Any]], sender: Any) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = sender.send([{k: v for k, v in each.items() if k != "due_ms"} for each in messages])
    assert [each.get("error") for each in results if each.get("status") != "SEND_OK"] == []
    return results


def test_messages_come_at_their_time_and_once(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    name = bench.consumer(bench.drivers[1])
    messages = [each for kind in ("delay_ms", "delay_sec", "deliver_ms") for each in timers("t", kind, 6, 2_000)]
    sent(bench, messages, sender)
    sender.send([{"body": "at once"}, {"body": "past", "timer": "deliver_ms", "time": now_ms() - 5_000}])
    eventually(lambda: {"at once", "past"} <= {each.body for each in bench.consumed(name)}, 5, "what is due came not at once")

    count = len(messages) + 2
    eventually(lambda: len(bench.consumed(name)) >= count, 25, lambda: f"{len(bench.consumed(name))} of {count}")
    due = {str(each["body"]): int(each["due_ms"]) for each in messages}
    for each in bench.consumed(name):
        assert each.topic == bench.topic
        if each.body in due:
            late_ms = each.began // 1000 - due[each.body]
            assert 0 <= late_ms < LATE_MS_MAX, f"{each.body} came {late_ms} ms after its time"
    accounting.check(accounting.repeated(bench.consumed(name)))


def test_a_recalled_message_never_comes(recalling: Bench) -> None:
    bench = recalling
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    name = bench.consumer(bench.drivers[1])
    messages = timers("r", "delay_ms", 8, 4_000)
    results = sent(bench, messages, sender)
    handles = [str(each["recall_handle"]) for each in results]
    for each, handle in zip(results, handles, strict=True):
        version, topic, broker, at_ms, key = base64.urlsafe_b64decode(handle).decode().split(" ")
        assert (version, topic, broker, key) == ("v1", bench.topic, bench.cluster.broker.name, each["msg_id"])
        assert int(at_ms) % 1000 == 1
    answers = recall(bench, sender, [(bench.topic, handle) for handle in handles[::2]])
    assert [each["msg_id"] for each in answers] == [each["msg_id"] for each in results[::2]]

    kept = [str(each["body"]) for each in messages[1::2]]
    eventually(lambda: len(bench.consumed(name)) >= len(kept), 20, lambda: f"{len(bench.consumed(name))} of {len(kept)}")
    time.sleep(1.5)  # the last one recalled was due before the last one kept; this is what "never" costs
    assert sorted(each.body for each in bench.consumed(name)) == sorted(kept)


def test_bad_times_and_handles_are_refused_alike(recalling: Bench) -> None:
    bench = recalling
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    refused = sender.send(
        [
            {"body": "far", "timer": "delay_sec", "time": 3 * 24 * 3600 + 60},
            {"body": "far", "timer": "deliver_ms", "time": now_ms() + 10 * 24 * 3_600_000},
        ]
    )
    assert [(each.get("code"), "bigger than the max delay 259200000ms" in each["error"]) for each in refused] == [
        (13, True)
    ] * 2

    (kept,) = sender.send([{"body": "kept", "timer": "delay_sec", "time": 60}])
    _, topic, broker, at_ms, key = base64.urlsafe_b64decode(kept["recall_handle"]).decode().split(" ")

    def handle(*parts: str) -> str:
        return base64.urlsafe_b64encode(" ".join(parts).encode()).decode()

    cases = [
        (bench.topic, handle("v1", topic, "another", at_ms, key), "broker service not available"),
        (bench.topic, handle("v1", "another", broker, at_ms, key), "topic not match"),
        (bench.topic, handle("v1", topic, broker, str(now_ms() - 1000), key), "timestamp invalid"),
        (bench.topic, handle("v1", topic, broker, "soon", key), "timestamp invalid"),
        (bench.topic, handle("v1", topic, broker, str(now_ms() + 4 * 24 * 3_600_000), key), "timestamp invalid"),
        (bench.topic, handle("v2", topic, broker, at_ms, key), "invalid"),
        (bench.topic, "no handle at all", "invalid"),
    ]
    for (to, bad, remark), answer in zip(cases, recall(bench, sender, [case[:2] for case in cases]), strict=True):
        assert remark in answer.get("error", ""), (to, bad, answer)


def recall(bench: Bench, sender: Any, handles: list[tuple[str, str]]) -> list[dict[str, Any]]:
    wanted = [{"topic": topic, "handle": handle} for topic, handle in handles]
    answer = bench.ask(sender.driver, "recall", name=sender.name, messages=wanted)
    results: list[dict[str, Any]] = answer["results"]
    return results
