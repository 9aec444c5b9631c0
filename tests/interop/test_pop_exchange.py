"""One store with popped messages in it, the official broker and ours in turn: nothing lost, and ours goes on exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .bench import Bench
from .cluster import TOPOLOGIES, AnyBroker, Cluster, GantryBroker, OfficialBroker
from .driver import Crew, eventually
from .test_pop import CLIENT, Popper, bodies, filled

INVISIBLE_MS = 40_000
COMES_BACK_S = 30.0


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("first", "second"),
    [(OfficialBroker, GantryBroker), (GantryBroker, OfficialBroker)],
    ids=["official-to-ours", "ours-to-official"],
)
def test_what_is_out_of_one_broker_is_not_lost_with_the_other(
    toolchain: None, crews: dict[str, Crew], tmp_path: Path, first: type[AnyBroker], second: type[AnyBroker]
) -> None:
    cluster = Cluster(TOPOLOGIES["gantry"], tmp_path)
    cluster.namesrv.start()
    opened: list[AnyBroker] = []

    def open_with(kind: type[AnyBroker], place: int) -> AnyBroker:
        broker = kind(
            tmp_path / f"{kind.__name__}-{place}", cluster.namesrv.address, port=cluster.broker.port,
            store=tmp_path / "store", settings={"timerWheelEnable": "true"},
        )  # fmt: skip
        broker.start()
        opened.append(broker)
        return broker

    try:
        broker = open_with(first, 0)
        with Bench(cluster, crews[CLIENT]) as bench:
            sent = filled(bench, 24)
            popper = Popper(bench)
            found = popper.until(24, invisible_ms=INVISIBLE_MS)
            popped_at = time.monotonic()
            acknowledged, left = found[:12], found[12:]
            for message in acknowledged[:6]:
                assert popper.ack(message) == "OK"
            assert popper.batch_ack(acknowledged[6:]) == "OK"
            broker.stop()
            open_with(second, 1)
            again = _take_all(popper, lambda came: set(bodies(left)) <= came)
            if second is GantryBroker:
                assert {each["body"] for each in again} == set(bodies(left)), "acknowledged before, and came again"
                assert min(each["came"] for each in again) >= popped_at + INVISIBLE_MS / 1000 - 1, "came early"
            assert {each["body"] for each in again} <= set(sent)
    finally:
        for broker in opened:
            broker.close()
        cluster.namesrv.close()


def _take_all(popper: Popper, enough: Callable[[set[str]], bool]) -> list[dict[str, object]]:
    """Everything that comes until it is enough, with the time it came at, acknowledged."""
    found: list[dict[str, object]] = []

    def came() -> bool:
        for message in popper.pop(poll_ms=1_000):
            found.append({**message, "came": time.monotonic()})
            popper.ack(message)
        return enough({str(each["body"]) for each in found})

    eventually(came, INVISIBLE_MS / 1000 + COMES_BACK_S, lambda: f"{len(found)} came")
    return found
