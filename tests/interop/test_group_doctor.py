"""`gantry group doctor` over official consumers: what it says of members that agree, and of members that do not."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from .bench import Bench
from .driver import CLIENTS, eventually


def examine(bench: Bench, group: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "gantry", "group", "doctor", group, "--json", "-n", bench.cluster.namesrv_address]
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
