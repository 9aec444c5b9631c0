"""Tag filters, failed consumption up to the dead letters, delayed messages: with official clients."""

from __future__ import annotations

import itertools
import time
from typing import Any

from . import accounting
from .bench import Bench
from .driver import DriverError, eventually

LEVEL_MS = {3: 1_000, 6: 2_000}
"""Two of the delay levels both brokers are configured with (`cluster.DELAY_LEVELS`)."""


def test_a_tag_expression_selects_on_the_broker_and_loses_nothing(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    tags = ["red", "green", "blue", ""]
    messages = [{"body": f"tag-{n}", "tags": tags[n % 4]} if tags[n % 4] else {"body": f"tag-{n}"} for n in range(200)]
    sender.send(messages[:100])
    some = bench.consumer(bench.drivers[1], group=f"{bench.group}-some", expression="red || blue")
    every = bench.consumer(bench.drivers[2], group=f"{bench.group}-every", expression="*")
    sender.send(messages[100:])

    eventually(lambda: len(bench.consumed(every)) >= 200, 20, lambda: f"{len(bench.consumed(every))} of 200")
    eventually(lambda: len(bench.consumed(some)) >= 100, 20, lambda: f"{len(bench.consumed(some))} of 100")
    wanted = [str(message["body"]) for message in messages if message.get("tags") in {"red", "blue"}]
    accounting.check(
        accounting.missing(wanted, bench.consumed(some)),
        accounting.unknown(wanted, bench.consumed(some)),
        accounting.repeated(bench.consumed(some)),
        accounting.repeated(bench.consumed(every)),
    )


def test_a_message_that_always_fails_is_retried_twice_and_becomes_a_dead_letter(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    for group in (bench.group, f"{bench.group}-once"):
        bench.make_group_known(group)
    name = bench.consumer(bench.drivers[1], script="fail", max_reconsume=2)
    once = bench.consumer(bench.drivers[2], group=f"{bench.group}-once", script="fail_first", max_reconsume=2)
    bodies = [f"bad-{n}" for n in range(4)]
    sent = sender.send([{"body": body, "tags": "T", "keys": body} for body in bodies])
    assert [each.get("error") for each in sent if each.get("status") != "SEND_OK"] == []

    dead = eventually(lambda: _dead_letters(bench, len(bodies)), 30, "no dead letters", poll_s=0.5)
    assert sorted(each["body"] for each in dead) == bodies
    assert {each["msg_id"] for each in dead} == {each["msg_id"] for each in sent}
    eventually(lambda: len(bench.consumed(once)) >= 2 * len(bodies), 20, "no second try in the group that accepts it")
    assert sorted((e.body, e.reconsume) for e in bench.consumed(once)) == [(b, n) for b in bodies for n in (0, 1)]
    for body in bodies:
        tries = [each for each in bench.consumed(name) if each.body == body]
        assert [each.reconsume for each in tries] == [0, 1, 2], f"{body}: {tries}"
        assert {each.topic for each in tries} == {bench.topic}
        assert {each.msg_id for each in tries} == {sent[bodies.index(body)]["msg_id"]}
        # Level 3 and then 4 of the configured delays, both one second.
        assert all(later.began - sooner.ended >= 900_000 for sooner, later in itertools.pairwise(tries))


def _dead_letters(bench: Bench, count: int) -> list[dict[str, Any]]:
    """The messages of the group's dead letter topic, once there are `count`; it comes to be with the first of them."""
    topic = f"%DLQ%{bench.group}"
    reader = f"dlq-{bench.mark}-{time.monotonic_ns()}"
    driver = bench.drivers[0]
    try:
        bench.ask(driver, "pull_start", name=reader, group=f"reader-{bench.mark}", topic=topic)
        try:
            pulled = bench.ask(driver, "pull", name=reader, topic=topic, queue=0, offset=0, max=32)
        finally:
            driver.call("pull_stop", name=reader)
    except DriverError:  # nobody knows the topic yet
        return []
    messages: list[dict[str, Any]] = pulled["messages"]
    return messages if len(messages) >= count else []


def test_a_delayed_message_comes_after_its_level_and_soon(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    name = bench.consumer(bench.drivers[1])
    messages = [{"body": f"delay-{level}-{n}", "delay": level} for level in LEVEL_MS for n in range(5)]
    results = sender.send(messages)
    assert [each.get("error") for each in results if each.get("status") != "SEND_OK"] == []
    sender.send([{"body": "at once"}])
    eventually(lambda: len(bench.consumed(name)) >= 11, 20, lambda: f"{len(bench.consumed(name))} of 11 consumed")
    accounting.check(accounting.repeated(bench.consumed(name)))
    for each in bench.consumed(name):
        if each.body == "at once":
            continue
        late_ms = each.began // 1000 - each.born_ms - LEVEL_MS[int(each.body.split("-")[1])]
        assert 0 <= late_ms < 3_000, f"{each.body} came {late_ms} ms after its time"
        assert each.topic == bench.topic
