"""Official push consumers: 8 queues, three processes of which one is killed, 10,000 messages accounted for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from . import accounting
from .bench import Bench, Sender
from .driver import LOCK_RENEW_MS, eventually

COUNT = 10_000
QUEUES = 8
KILL_AFTER = 3_000
TAKE_OVER_S = 15.0
"""Clients look at their queues by themselves only every 20 s: faster means that the broker told them of the loss."""


def _warm_up(bench: Bench, sender: Sender, names: list[str], nudge: Callable[[], object] | None = None) -> list[str]:
    """Sends one message to each queue again and again until all consumers share them; returns all bodies sent."""
    bodies: list[str] = []
    fair = {2: [4, 4], 3: [2, 3, 3]}[len(names)]

    def shared_among_all() -> bool:
        if nudge is not None:
            nudge()
        batch = [f"warm{len(names)}-{len(bodies) + queue}" for queue in range(QUEUES)]
        bodies.extend(batch)
        results = sender.send([{"body": body, "queue": queue} for queue, body in enumerate(batch)])
        assert {each.get("status") for each in results} == {"SEND_OK"}, results
        try:
            eventually(lambda: set(batch) <= {each.body for each in bench.consumed(*names)}, 1.0, "")
        except AssertionError:
            return False
        owners = [sum(each.body in batch for each in bench.consumed(name)) for name in names]
        return sorted(owners) == fair

    eventually(
        shared_among_all,
        TAKE_OVER_S if nudge is None else 40,
        lambda: f"queues not shared: {[sorted({e.queue for e in bench.consumed(name)}) for name in names]}",
        poll_s=0.2,
    )
    return bodies


def _progress(bench: Bench, names: list[str], total: int) -> Callable[[], str]:
    return lambda: f"{len({e.body for e in bench.consumed(*names)})} of {total} consumed ({bench.crew.kind.id})"


def test_concurrent_consumers_lose_nothing_when_one_of_three_is_killed(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic(queues=QUEUES)
    names = [bench.consumer(driver, consume_ms=1) for driver in bench.drivers]
    sent = _warm_up(bench, sender, names)

    finish = sender.begin_bulk(COUNT, "m-", mode="async", window=64)
    eventually(
        lambda: len(bench.consumed(*names)) >= KILL_AFTER and len(bench.consumed(names[2])) > 200,
        60,
        _progress(bench, names, COUNT),
    )
    bench.kill(bench.drivers[2])
    acks = finish()
    accounting.check(accounting.split_offsets(acks))
    sent += [f"m-{number}" for number, *_ in acks]

    everything = set(sent)
    eventually(
        lambda: everything <= {each.body for each in bench.consumed(*names)},
        TAKE_OVER_S,
        _progress(bench, names, len(sent)),
        poll_s=0.1,
    )
    consumed = bench.consumed(*names)
    accounting.check(
        accounting.missing(everything, consumed),
        accounting.unknown(everything, consumed),
        accounting.unexcused_repeats(consumed),
    )
    killed_queues = {each.queue for each in bench.consumed(names[2]) if each.body.startswith("m-")}
    taken_over = {each.queue for each in bench.consumed(*names[:2])} & killed_queues
    assert taken_over == killed_queues, "the killed consumer's queues were not all taken over: the kill came too late"


def test_orderly_consumers_keep_order_and_single_ownership_when_one_joins_and_is_killed(bench: Bench) -> None:
    """Two consumers, a third that joins while their listeners are busy, and is killed while messages flow."""
    sender = bench.producer(bench.drivers[0])
    sender.create_topic(queues=QUEUES)
    options: dict[str, Any] = {"orderly": True, "consume_ms": 1, "lock_interval_ms": LOCK_RENEW_MS}
    names = [bench.consumer(driver, **options) for driver in bench.drivers[:2]]

    def nudge(count: int = 3) -> None:
        # A consumer that failed to lock a queue tries again only at its next look, by default 20 s later.
        for driver, name in list(zip(bench.drivers, names, strict=False))[:count]:
            driver.call("rebalance", name=name)

    sent = _warm_up(bench, sender, names, nudge)
    # Each queue's owner is inside its listener for 1.5 s when the newcomer asks for its share.
    slow = [f"slow-{queue}" for queue in range(QUEUES)]
    sender.send([{"body": body, "queue": queue} for queue, body in enumerate(slow)])
    sent += slow
    names.append(bench.consumer(bench.drivers[2], **options))
    sent += _warm_up(bench, sender, names, nudge)

    already = len(bench.consumed(*names))
    finish = sender.begin_bulk(COUNT, "m-", mode="ordered", queues=QUEUES)
    eventually(
        lambda: len(bench.consumed(*names)) >= already + 2_000 and len(bench.consumed(names[2])) > 200,
        60,
        _progress(bench, names, COUNT),
    )
    bench.kill(bench.drivers[2])
    acks = finish()
    accounting.check(accounting.split_offsets(acks))
    sent += [f"m-{number}" for number, *_ in acks]
    everything = set(sent)

    def all_consumed() -> bool:
        nudge(2)
        return everything <= {each.body for each in bench.consumed(*names)}

    eventually(all_consumed, 30, _progress(bench, names, len(sent)), poll_s=0.5)
    consumed = bench.consumed(*names)
    accounting.check(
        accounting.missing(everything, consumed),
        accounting.unknown(everything, consumed),
        accounting.unexcused_repeats(consumed),
        accounting.disorder(consumed),
        accounting.two_owners(consumed),
    )
    # The producer's order is the queue's order: number n went to queue n % 8, each after the one before it.
    for queue in range(QUEUES):
        numbers = [ack[0] for ack in sorted(acks, key=lambda ack: ack[2]) if ack[1] == queue]
        assert numbers == list(range(queue, COUNT, QUEUES))


@pytest.mark.timeout(180)
def test_broadcasting_reaches_every_consumer_also_one_that_was_killed_and_came_back(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic(queues=QUEUES)
    names = [
        bench.consumer(driver, name=f"b{place}-{bench.mark}", broadcasting=True) for place, driver in enumerate(bench.drivers)
    ]
    finish = sender.begin_bulk(COUNT, "m-", mode="async", window=64)
    eventually(lambda: len(bench.consumed(names[2])) >= KILL_AFTER, 60, _progress(bench, names, COUNT))
    bench.kill(bench.drivers[2])
    acks = finish()
    sent = {f"m-{number}" for number, *_ in acks}

    bench.replace()
    bench.consumer(bench.drivers[2], name=names[2], broadcasting=True)
    for name in names:
        eventually(lambda name=name: sent <= {e.body for e in bench.consumed(name)}, 40, _progress(bench, [name], COUNT))
        accounting.check(accounting.unknown(sent, bench.consumed(name)))
    for name in names[:2]:
        accounting.check(accounting.repeated(bench.consumed(name)))
