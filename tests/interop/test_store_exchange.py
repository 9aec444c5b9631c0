"""One store directory, two brokers in turn: what either has written the other reads at the same offsets and continues.

The reader is the official Java client, so the test rests on no code of ours but the broker's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .bench import Bench, Sender
from .cluster import AnyBroker, Cluster, GantryBroker, OfficialBroker
from .driver import Crew, eventually

QUEUES = 4
SMALL_FILES = {
    # Small enough that each turn rolls to new log files, queue files and index files.
    "mappedFileSizeCommitLog": 1024 * 1024,
    "mappedFileSizeConsumeQueue": 20 * 100,
    "maxHashSlotNum": 100,
    "maxIndexNum": 400,
}


class Exchange:
    """The store, the one broker that has it open at a time, and everything acknowledged so far."""

    def __init__(self, cluster: Cluster, crew: Crew, folder: Path) -> None:
        self.cluster = cluster
        self.crew = crew
        self.folder = folder
        self.port = cluster.broker.port
        self.topic = "Exchange"
        self.group = "exchange-readers"
        self.sent: dict[tuple[int, int], dict[str, Any]] = {}
        """What every `(queue, offset)` was acknowledged as: body, key, ids."""
        self.committed: dict[int, int] = {}

    @contextmanager
    def turn(self, kind: type[AnyBroker], *, crash: bool) -> Iterator[Turn]:
        """Opens the store with one broker and at the end stops or kills it."""
        names = self.cluster.namesrv.address
        broker = kind(self.folder / kind.__name__, names, port=self.port, store=self.folder / "store", settings=SMALL_FILES)
        broker.start()
        try:
            with Bench(self.cluster, self.crew) as bench:
                yield Turn(self, bench)
        finally:
            if crash:
                broker.kill()
            else:
                broker.stop()


class Turn:
    """What is done with each broker."""

    def __init__(self, exchange: Exchange, bench: Bench) -> None:
        self.exchange = exchange
        self.bench = bench
        self.reader = f"reader-{bench.mark}"
        bench.ask(bench.drivers[0], "pull_start", name=self.reader, group=exchange.group, topic=exchange.topic)
        bench.stop_later(bench.drivers[0], "pull_stop", self.reader)

    def ask(self, op: str, **members: object) -> dict[str, Any]:
        topic = self.exchange.topic
        return self.bench.ask(self.bench.drivers[0], op, **{"name": self.reader, "topic": topic, **members})

    def write(self, part: str) -> None:
        """Sends about 2.5 MB in every way that leaves its own kind of record, and notes what was acknowledged."""
        exchange = self.exchange
        sender = self.bench.producer(self.bench.drivers[0], compress_over=100_000)
        packing_sender = self.bench.producer(self.bench.drivers[0], compress_over=4_096)
        if not exchange.sent:
            sender.create_topic(exchange.topic, queues=QUEUES)
        plain: list[dict[str, object]] = [
            {"body": f"{part}-{n} " + "x" * (n % 7 * 1500), "queue": n % QUEUES, "keys": f"{part}-{n} {part}"}
            for n in range(480)
        ]
        self._note(plain, self._send(sender, plain))
        packed: list[dict[str, object]] = [
            {"body": f"{part}-packed-{n} " + "y" * 20_000, "queue": 0, "keys": f"{part}-packed-{n}"} for n in range(5)
        ]
        self._note(packed, self._send(packing_sender, packed))
        batch: list[dict[str, object]] = [{"body": f"{part}-batch-{n}", "keys": f"{part}-batch-{n}"} for n in range(10)]
        (result,) = self._send(sender, batch, mode="batch")
        ids = result["offset_msg_id"].split(",")
        members = [
            {**result, "offset": result["offset"] + place, "offset_msg_id": one, "msg_id": None}
            for place, one in enumerate(ids)
        ]
        self._note(batch, members)

    def _send(self, sender: Sender, messages: list[dict[str, object]], mode: str = "sync") -> list[dict[str, Any]]:
        results = sender.send(messages, topic=self.exchange.topic, mode=mode)
        assert [each.get("error") for each in results if each.get("status") != "SEND_OK"] == []
        return results

    def _note(self, messages: list[dict[str, object]], results: list[dict[str, Any]]) -> None:
        for message, result in zip(messages, results, strict=True):
            place = (result["queue"], result["offset"])
            assert place not in self.exchange.sent, f"queue and offset {place} were given twice"
            self.exchange.sent[place] = {**message, **result}

    def read_everything(self) -> None:
        """Every acknowledged message is at its offset with its body and ids, and nothing else is in the queues."""
        sent = self.exchange.sent
        for queue in range(QUEUES):
            expected = {offset: each for (one, offset), each in sent.items() if one == queue}
            assert sorted(expected) == list(range(len(expected))), "acknowledged offsets are not dense"
            eventually(
                lambda queue=queue, count=len(expected): self.ask("offsets", queue=queue)["max"] == count,
                10,
                lambda queue=queue, count=len(expected): f"queue {queue}: {self.ask('offsets', queue=queue)}, not {count}",
            )
            offset = 0
            while offset < len(expected):
                pulled = self.ask("pull", queue=queue, offset=offset, max=32)
                assert pulled["status"] == "FOUND", (queue, offset, pulled)
                for message in pulled["messages"]:
                    wanted = expected[offset]
                    assert (message["offset"], message["body"]) == (offset, wanted["body"])
                    assert message["offset_msg_id"] == wanted["offset_msg_id"]
                    assert message["keys"] == wanted["keys"]
                    offset += 1
                assert pulled["next"] == offset

    def look_up(self) -> None:
        """Some messages of every part are found by key and by id."""
        for place in sorted(self.exchange.sent)[:: len(self.exchange.sent) // 12]:
            wanted = self.exchange.sent[place]
            key = str(wanted["keys"]).split()[0]
            found = eventually(lambda key=key: self._query(key), 10, f"key {key} is not in the index")
            assert [each["body"] for each in found] == [wanted["body"]]
            assert self.ask("view", id=wanted["offset_msg_id"])["message"]["body"] == wanted["body"]

    def _query(self, key: str) -> list[dict[str, Any]]:
        try:
            messages: list[dict[str, Any]] = self.ask("query", key=key)["messages"]
        except RuntimeError:  # the client throws where nothing is found
            return []
        return messages

    def check_committed(self) -> None:
        for queue, offset in self.exchange.committed.items():
            assert self.ask("committed", queue=queue)["offset"] == offset, f"queue {queue}"

    def commit(self) -> None:
        for queue in range(QUEUES):
            offset = sum(one == queue for one, _ in self.exchange.sent) - queue
            self.ask("commit", queue=queue, offset=offset)
            self.exchange.committed[queue] = offset


@pytest.fixture
def exchange(lone_namesrv: Cluster, crews: dict[str, Crew], tmp_path: Path) -> Exchange:
    return Exchange(lone_namesrv, crews["java-5.5.0"], tmp_path)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_a_store_goes_from_our_broker_to_the_official_one_and_back(exchange: Exchange, crash: bool) -> None:
    """Committed offsets are looked at after a clean stop only: a killed broker may lose the last 5 s of them."""
    order: tuple[type[AnyBroker], ...] = (GantryBroker, OfficialBroker, GantryBroker)
    for part, kind in enumerate(order):
        with exchange.turn(kind, crash=crash) as turn:
            if part:
                turn.read_everything()
                turn.look_up()
                if not crash:
                    turn.check_committed()
            turn.write(f"part{part}")
            turn.read_everything()
            turn.look_up()
            turn.commit()
    logs = sorted((exchange.folder / "store" / "commitlog").iterdir())
    assert len(logs) > 3, "the log never rolled: the test has not tried what it is for"
