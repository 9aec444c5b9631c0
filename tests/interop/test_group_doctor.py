"""`gantry group` over official consumers: what doctor finds, and what reset skips and repeats."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from .bench import Bench
from .cluster import uncommitted
from .driver import CLIENTS, eventually


def examine(bench: Bench, group: str) -> tuple[int, dict[str, Any]]:
    return ask(bench, "doctor", group)


def ask(bench: Bench, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit status and answer of a `gantry group` command."""
    command = [sys.executable, "-m", "gantry", "group", *words, "--json", "-n", bench.cluster.namesrv_address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


# The Go client does not answer what an official broker would have to ask it.
@pytest.mark.parametrize("crew", [kind for kind in CLIENTS if kind != "go"], indirect=True)
def test_members_that_listen_to_different_things_are_found(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    bench.consumer(bench.drivers[1], expression="red || blue")
    bench.consumer(bench.drivers[2], expression="blue||red")
    eventually(lambda: len(examine(bench, bench.group)[1]["members"]) == 2, 20, "the group has not two members", poll_s=0.5)
    status, report = examine(bench, bench.group)
    assert (status, report["healthy"]) == (0, True), report
    (listening,) = report["listening"]
    assert len(listening["clientIds"]) == 2
    assert listening["subscriptions"] == [[bench.topic, "TAG", "blue || red"]]

    bench.consumer(bench.drivers[0], expression="green")
    eventually(lambda: examine(bench, bench.group)[0] == 1, 20, "nothing is found", poll_s=0.5)
    _, report = examine(bench, bench.group)
    problems = [finding["text"] for finding in report["findings"] if finding["severity"] == "problem"]
    assert len(problems) == 1
    assert "listen to different things" in problems[0]
    assert len(report["listening"]) == 2


# Client 4.9.7 sits out ten seconds and a rebalance before it goes on elsewhere, here and with the official broker.
@pytest.mark.parametrize("crew", ["java-5.5.0"], indirect=True)
@pytest.mark.parametrize("connected", [True, False])
def test_a_reset_is_told_before_and_done_as_told(bench: Bench, connected: bool) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic(queues=4)
    sender.send([{"body": f"m-{n}", "queue": n % 4} for n in range(40)])
    first = bench.consumer(bench.drivers[1], name=f"first-{bench.mark}")
    eventually(lambda: len(bench.consumed(first)) >= 40, 20, lambda: f"{len(bench.consumed(first))} of 40")
    address = bench.cluster.broker.address
    eventually(lambda: uncommitted(address, bench.group, bench.topic, 4) == 0, 20, "the offsets are not committed")
    if not connected:
        bench.drivers[1].call("consumer_stop", name=first)

    place = [bench.group, bench.topic, "--to"]
    status, preview = ask(bench, "reset", *place, "earliest", "--preview")
    assert (status, preview["done"], preview["skipped"], preview["repeated"]) == (0, False, 0, 40)
    assert [(each["queueId"], each["from"], each["to"]) for each in preview["queues"]] == [(n, 10, 0) for n in range(4)]
    assert uncommitted(address, bench.group, bench.topic, 4) == 0, "a preview changes nothing"
    _, done = ask(bench, "reset", *place, "earliest", "--yes")
    assert done == {**preview, "done": True}

    again = first if connected else bench.consumer(bench.drivers[2])
    wanted = 80 if connected else 40
    eventually(lambda: len(bench.consumed(again)) >= wanted, 40, lambda: f"{len(bench.consumed(again))} of {wanted}")
    eventually(lambda: uncommitted(address, bench.group, bench.topic, 4) == 0, 20, "the offsets are not committed")
    bench.drivers[1 if connected else 2].call("consumer_stop", name=again)
    sender.send([{"body": f"late-{n}", "queue": n % 4} for n in range(8)])
    _, skip = ask(bench, "reset", *place, "latest", "--yes")
    assert (skip["skipped"], skip["repeated"]) == (8, 0)
    last = bench.consumer(bench.drivers[0], name=f"last-{bench.mark}")
    sender.send([{"body": "after", "queue": 1}])
    eventually(lambda: bench.consumed(last), 20, "nothing comes after the reset")
    assert [each.body for each in bench.consumed(last)] == ["after"]
