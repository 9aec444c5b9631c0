"""A broker that stops and comes back: committed offsets hold, connected clients go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from . import accounting
from .bench import Bench, Sender
from .cluster import Cluster, uncommitted
from .driver import Crew, eventually

FIRST, SECOND, THIRD = 200, 200, 100
QUEUES = 8


@pytest.fixture
def benches(cluster: Cluster, crews: dict[str, Crew]) -> Iterator[list[Bench]]:
    """One bench for each official client: a restart is dear, so all of them live through the same one."""
    with ExitStack() as stack:
        yield [stack.enter_context(Bench(cluster, crew)) for crew in crews.values()]


@pytest.mark.timeout(180)
def test_after_a_restart_groups_resume_at_their_committed_offset(benches: list[Bench], cluster: Cluster) -> None:
    """The group `resumed` reads the first part, leaves, and after the restart gets exactly what came later.

    The group `live` stays through the restart and gets everything, once the broker knows its subscription again: at the
    client's next heartbeat, every 30 s in the Go client (which cannot be told otherwise: one topology is enough).
    """
    stays = [bench for bench in benches if bench.crew.kind.id != "go" or cluster.topology.id == "gantry"]
    senders = [bench.producer(bench.drivers[0], retries=3) for bench in benches]
    for sender in senders:
        sender.create_topic(queues=QUEUES)
    live = [(bench, bench.consumer(bench.drivers[1], group=f"{bench.group}-live")) for bench in stays]
    before = [(bench, bench.consumer(bench.drivers[2], group=f"{bench.group}-resumed")) for bench in benches]
    _send_all(senders, "first", FIRST)
    for bench, name in live + before:
        _all_consumed(bench, name, _bodies("first", FIRST))
    for bench, name in before:
        # A client that leaves drops listeners at work, and their messages would come again: at least once, but not this test.
        _all_committed(bench, f"{bench.group}-resumed")
        bench.drivers[2].call("consumer_stop", name=name)
    _send_all(senders, "second", SECOND)

    cluster.broker.restart()

    after = [(bench, bench.consumer(bench.drivers[2], group=f"{bench.group}-resumed")) for bench in benches]
    _send_all(senders, "third", THIRD)
    later = _bodies("second", SECOND) + _bodies("third", THIRD)
    for bench, name in after:
        _all_consumed(bench, name, later)
        accounting.check(accounting.unknown(later, bench.consumed(name)), accounting.repeated(bench.consumed(name)))
    for bench, name in live:
        _all_consumed(bench, name, _bodies("first", FIRST) + later)
        accounting.check(accounting.repeated(bench.consumed(name)))


def _bodies(part: str, count: int) -> list[str]:
    return [f"{part}-{n}" for n in range(count)]


def _send_all(senders: list[Sender], part: str, count: int) -> None:
    finishers = [sender.begin_bulk(count, f"{part}-", mode="async", window=16) for sender in senders]
    for finish in finishers:
        accounting.check(accounting.split_offsets(finish()))


def _all_committed(bench: Bench, group: str) -> None:
    """Returns when the client has told the broker of everything it consumed: it does so every 5 s."""
    eventually(
        lambda: uncommitted(bench.cluster.broker.address, group, bench.topic, QUEUES) == 0,
        20,
        f"{group} ({bench.crew.kind.id}) does not commit what it consumed",
    )


def _all_consumed(bench: Bench, name: str, bodies: list[str]) -> None:
    wanted = set(bodies)
    eventually(
        lambda: wanted <= {each.body for each in bench.consumed(name)},
        45,
        lambda: (
            f"{name} ({bench.crew.kind.id}) lacks {len(wanted - {each.body for each in bench.consumed(name)})} of {len(wanted)}"
        ),
    )
