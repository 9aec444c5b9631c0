"""Reading at chosen offsets, offsets kept on the broker, and looking messages up: with official clients."""

from __future__ import annotations

import time
from typing import Any

import pytest

from .bench import Bench, Sender
from .driver import CLIENTS, Call, eventually

QUEUE = 3
WITH_QUERIES = [kind.id for kind in CLIENTS.values() if kind.queries]


class Reader:
    """A pull consumer of the official client on one queue."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench = bench
        self.name = f"{name}-{bench.mark}"
        bench.ask(bench.drivers[1], "pull_start", name=self.name, group=bench.group, topic=bench.topic)
        bench.stop_later(bench.drivers[1], "pull_stop", self.name)

    def begin(self, op: str, **members: object) -> Call:
        place = {"name": self.name, "topic": self.bench.topic, "queue": QUEUE}
        return self.bench.drivers[1].begin(op, **{**self.bench.where, **place, **members})

    def ask(self, op: str, **members: object) -> dict[str, Any]:
        return self.begin(op, **members).result()

    def close(self) -> None:
        self.bench.drivers[1].call("pull_stop", name=self.name)


def _fill(bench: Bench, sender: Sender, count: int = 100) -> list[dict[str, Any]]:
    sender.create_topic()
    messages = [{"body": f"pull-{n}", "queue": QUEUE, "keys": f"key{n} pair{n // 2}"} for n in range(count)]
    results = sender.send(messages)
    assert [each["offset"] for each in results] == list(range(count))
    return results


def test_pull_at_any_offset_and_commit(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    _fill(bench, sender)
    reader = Reader(bench, "one")
    eventually(lambda: reader.ask("pull", offset=99)["messages"], 10, "the last message is not readable")

    whole: list[str] = []
    offset = 0
    while offset < 100:
        pulled = reader.ask("pull", offset=offset, max=32)
        assert pulled["status"] == "FOUND"
        assert [each["offset"] for each in pulled["messages"]] == list(range(offset, pulled["next"]))
        whole += [each["body"] for each in pulled["messages"]]
        offset = pulled["next"]
    assert whole == [f"pull-{n}" for n in range(100)]

    middle = reader.ask("pull", offset=40, max=10)
    assert [each["body"] for each in middle["messages"]] == [f"pull-{n}" for n in range(40, 50)]
    assert (middle["next"], middle["min"], middle["max"]) == (50, 0, 100)
    if bench.crew.kind.id != "go":  # it has no pull that does not wait
        end = reader.ask("pull", offset=100)
        assert (end["status"], end["messages"], end["next"]) == ("NO_NEW_MSG", [], 100)
    beyond = reader.ask("pull", offset=150)
    assert (beyond["status"], beyond["next"]) == ("OFFSET_ILLEGAL", 100)

    # A pull at the end waits on the broker until a message comes.
    waiting = reader.begin("pull", offset=100, wait=True)
    assert not waiting.done.wait(0.3)
    began = time.monotonic()
    sender.send([{"body": "wakes", "queue": QUEUE}])
    woken = waiting.result()
    assert (woken["status"], [each["body"] for each in woken["messages"]]) == ("FOUND", ["wakes"])
    assert time.monotonic() - began < 3.0

    reader.ask("commit", offset=60)
    reader.close()
    assert Reader(bench, "two").ask("committed")["offset"] == 60


@pytest.mark.parametrize("crew", WITH_QUERIES, indirect=True)
def test_seek_reads_from_there_and_the_committed_place_is_kept(bench: Bench) -> None:
    _fill(bench, bench.producer(bench.drivers[0]))
    driver = bench.drivers[1]
    name = f"seek-{bench.mark}"
    place = {"topic": bench.topic, "queue": QUEUE, "name": name}
    bench.ask(driver, "seek_start", group=bench.group, **place)
    bench.stop_later(driver, "seek_stop", name)
    for start, count in ((70, 30), (10, 90), (0, 100)):
        answer = bench.ask(driver, "seek", offset=start, count=count, **place)
        bodies = [each["body"] for each in answer["messages"]]
        assert bodies == [f"pull-{n}" for n in range(start, start + count)]
    answer = bench.ask(driver, "seek", offset=55, count=45, commit=True, **place)
    assert answer["committed"] == 100
    assert Reader(bench, "after").ask("committed")["offset"] == 100


@pytest.mark.parametrize("crew", WITH_QUERIES, indirect=True)
def test_offsets_by_time_and_messages_by_id_and_key(bench: Bench) -> None:
    sent = _fill(bench, bench.producer(bench.drivers[0]))
    reader = Reader(bench, "look")
    eventually(lambda: reader.ask("offsets")["max"] == 100, 10, "max offset never became 100")
    some = reader.ask("pull", offset=0, max=32)["messages"]

    assert reader.ask("offsets")["min"] == 0
    moment = some[20]["store_ms"]
    first_then = min(each["offset"] for each in some if each["store_ms"] == moment)
    assert reader.ask("offsets", timestamp=moment)["found"] == first_then
    assert reader.ask("offsets", timestamp=some[0]["store_ms"] - 60_000)["found"] == 0

    for identity in (sent[7]["offset_msg_id"], sent[7]["msg_id"]):
        found = eventually(lambda identity=identity: _view(reader, identity), 10, f"{identity} is not found")
        assert (found["body"], found["offset"], found["keys"]) == ("pull-7", 7, "key7 pair3")

    pair = eventually(lambda: _query(reader, "pair21", 2), 10, "key pair21 is not indexed")
    assert sorted(each["body"] for each in pair) == ["pull-42", "pull-43"]
    assert _query(reader, "no-such-key", 0) == []


def _view(reader: Reader, identity: str) -> dict[str, Any] | None:
    try:
        message: dict[str, Any] | None = reader.ask("view", id=identity)["message"]
    except RuntimeError:  # the client throws while the index has nothing
        return None
    return message


def _query(reader: Reader, key: str, count: int) -> list[dict[str, Any]]:
    try:
        messages: list[dict[str, Any]] = reader.ask("query", key=key)["messages"]
    except RuntimeError:  # the client throws where nothing is found
        return []
    return messages if len(messages) >= count else []
