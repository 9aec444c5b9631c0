"""Transactions over one store that two brokers open in turn: what either leaves open the other asks for and ends.

Producer and consumer are the official Java client, which lives through all the turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from . import accounting
from .bench import Bench
from .cluster import AnyBroker, Cluster, GantryBroker, OfficialBroker
from .driver import Crew, eventually
from .test_transactions import WARM, checks, parked, producer, send

LEAVES_OPEN = {"transactionCheckInterval": 3_600_000, "transactionTimeOut": 1_000, "transactionOpBatchInterval": 300}
"""This broker asks nobody: everything without an end is left to the next."""
ASKS = {"transactionCheckInterval": 1_000, "transactionTimeOut": 1_000, "transactionOpBatchInterval": 300}
OPS_TOLD_S = 1.5
"""After so long without an end, the op queue is told of all of them."""


class Exchange:
    def __init__(self, cluster: Cluster, crew: Crew, folder: Path) -> None:
        self.cluster = cluster
        self.crew = crew
        self.folder = folder
        self.turns = 0

    @contextmanager
    def turn(self, kind: type[AnyBroker], settings: dict[str, int], *, crash: bool) -> Iterator[None]:
        """Opens the store with one broker, and at the end stops or kills it."""
        self.turns += 1
        broker = kind(
            self.folder / f"{kind.__name__}-{self.turns}",
            self.cluster.namesrv.address,
            port=self.cluster.broker.port,
            store=self.folder / "store",
            settings=settings,
        )
        broker.start()
        try:
            yield
        finally:
            if crash:
                broker.kill()
            else:
                broker.stop()


@pytest.fixture
def exchange(lone_namesrv: Cluster, crews: dict[str, Crew], tmp_path: Path) -> Exchange:
    return Exchange(lone_namesrv, crews["java-5.5.0"], tmp_path)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize(
    ("first", "second"),
    [(GantryBroker, OfficialBroker), (OfficialBroker, GantryBroker)],
    ids=["ours-then-official", "official-then-ours"],
)
def test_pending_halves_are_continued_by_the_other_broker(
    exchange: Exchange, first: type[AnyBroker], second: type[AnyBroker], crash: bool
) -> None:
    """The second broker asks for what the first left open, and for nothing that ended; the first finds all of it done."""
    with Bench(exchange.cluster, exchange.crew) as bench:
        with exchange.turn(first, LEAVES_OPEN, crash=crash):
            bench.producer(bench.drivers[0]).create_topic()
            name = producer(bench, bench.drivers[0])
            ended = [f"commit:{n}" for n in range(30)], [f"rollback:{n}" for n in range(10)]
            open_ = [f"unknown/commit:{n}" for n in range(30)], [f"unknown/rollback:{n}" for n in range(10)]
            send(bench, bench.drivers[0], name, *ended[0], *open_[0], *ended[1], *open_[1])
            time.sleep(OPS_TOLD_S)
        with exchange.turn(second, ASKS, crash=crash):
            # The client's heartbeat finds the broker again by itself.
            consumer = bench.consumer(bench.drivers[1])
            wanted = {WARM, *ended[0], *open_[0]}
            eventually(
                lambda: wanted <= {each.body for each in bench.consumed(consumer)},
                60,
                lambda: f"{len(wanted - {each.body for each in bench.consumed(consumer)})} of {len(wanted)} missing",
            )
            eventually(lambda: all(checks(bench, body) for body in open_[1]), 20, "rollbacks were not asked for")
            time.sleep(3)
            assert [body for body in (*ended[0], *ended[1]) if checks(bench, body)] == [], "asked for what had ended"
            assert {each.body for each in bench.consumed(consumer)} == wanted
            if second is GantryBroker:
                # Asked twice where the answer took longer than a round; delivered once all the same.
                accounting.check(accounting.repeated(bench.consumed(consumer)))
            time.sleep(OPS_TOLD_S)
            asked = {body: len(checks(bench, body)) for part in open_ for body in part}
        with exchange.turn(first, ASKS, crash=crash):
            send(bench, bench.drivers[0], name, "unknown/commit:last")
            eventually(lambda: checks(bench, "unknown/commit:last"), 60, "the first broker does not check any more")
            time.sleep(3)
            assert {body: len(checks(bench, body)) for part in open_ for body in part} == asked, "asked again for what ended"
            assert {each.body for each in bench.consumed(consumer)} == {*wanted, "unknown/commit:last"}


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("first", "second"),
    [(GantryBroker, OfficialBroker), (OfficialBroker, GantryBroker)],
    ids=["ours-then-official", "official-then-ours"],
)
def test_checks_are_counted_on_by_the_other_broker(exchange: Exchange, first: type[AnyBroker], second: type[AnyBroker]) -> None:
    with Bench(exchange.cluster, exchange.crew) as bench:
        body = f"unknown:{bench.mark}"
        with exchange.turn(first, ASKS, crash=False):
            bench.producer(bench.drivers[0]).create_topic()
            name = producer(bench, bench.drivers[0])
            send(bench, bench.drivers[0], name, body)
            eventually(lambda: len(checks(bench, body)) >= 4, 40, lambda: f"{len(checks(bench, body))} checks")
        with exchange.turn(second, ASKS, crash=False):
            eventually(lambda: body in parked(bench), 60, lambda: f"{len(checks(bench, body))} checks", poll_s=0.5)
            time.sleep(2)
            # Either broker counts a round in which no producer was connected yet, and asks nobody then.
            times = [int(each.times or 0) for each in checks(bench, body)]
            assert times == sorted(set(times))
            assert (times[0], times[-1]) == (1, 15)
            assert len(times) >= 6
            assert parked(bench).count(body) == 1
