"""A broker that stops and comes back: committed offsets hold, connected clients go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from . import accounting
from .bench import Bench, Sender
from .cluster import Cluster
from .driver import Crew, eventually

FIRST, SECOND, THIRD = 200, 200, 100


@pytest.fixture
def benches(cluster: Cluster, crews: dict[str, Crew]) -> Iterator[list[Bench]]:
    """One bench for each official client: a restart is dear, so all of them live through the same one."""
    with ExitStack() as stack:
        yield [stack.enter_context(Bench(cluster, crew)) for crew in crews.values()]


@pytest.mark.timeout(180)
def test_after_a_restart_groups_resume_at_their_committed_offset(benches: list[Bench], cluster: Cluster) -> None:
    """The group `resumed` reads the first part, leaves, and after the restart gets exactly what came later.

    The group `live` stays connected through the restart and gets everything.
    """
    senders = [bench.producer(bench.drivers[0], retries=3) for bench in benches]
    live, resumed = [], []
    for bench, sender in zip(benches, senders, strict=True):
        sender.create_topic()
        live.append(bench.consumer(bench.drivers[1], group=f"{bench.group}-live"))
        resumed.append(bench.consumer(bench.drivers[2], group=f"{bench.group}-resumed", name=f"before-{bench.mark}"))
    _send_all(senders, "first", FIRST)
    for bench, *names in zip(benches, live, resumed, strict=True):
        for name in names:
            _all_consumed(bench, name, _bodies("first", FIRST))
    for bench, name in zip(benches, resumed, strict=True):
        bench.drivers[2].call("consumer_stop", name=name)
    _send_all(senders, "second", SECOND)

    cluster.broker.restart()

    back = [
        bench.consumer(bench.drivers[2], group=f"{bench.group}-resumed", name=f"after-{bench.mark}") for bench in benches
    ]
    _send_all(senders, "third", THIRD)
    later = _bodies("second", SECOND) + _bodies("third", THIRD)
    for bench, returned, stayed in zip(benches, back, live, strict=True):
        _all_consumed(bench, returned, later)
        accounting.check(accounting.unknown(later, bench.consumed(returned)), accounting.repeated(bench.consumed(returned)))
        _all_consumed(bench, stayed, _bodies("first", FIRST) + later)
        accounting.check(accounting.repeated(bench.consumed(stayed)))


def _bodies(part: str, count: int) -> list[str]:
    return [f"{part}-{n}" for n in range(count)]


def _send_all(senders: list[Sender], part: str, count: int) -> None:
    finishers = [sender.begin_bulk(count, f"{part}-", mode="async", window=16) for sender in senders]
    for finish in finishers:
        accounting.check(accounting.split_offsets(finish()))


def _all_consumed(bench: Bench, name: str, bodies: list[str]) -> None:
    wanted = set(bodies)
    eventually(
        lambda: wanted <= {each.body for each in bench.consumed(name)},
        45,
        lambda: f"{name} ({bench.crew.kind.id}) lacks "
        f"{len(wanted - {each.body for each in bench.consumed(name)})} of {len(wanted)}",
    )
