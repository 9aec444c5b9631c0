"""`gantry timer` over official clients: what they sent is listed, cancelled and moved, and what recurs reaches them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from .bench import Bench
from .driver import eventually


def timer(bench: Bench, *words: str) -> list[dict[str, Any]]:
    """Answers of a `gantry timer` command."""
    command = [sys.executable, "-m", "gantry", "timer", *words, "-n", bench.cluster.namesrv_address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


# These requests are ours: the topologies with an official broker have nothing to answer them with.
@pytest.mark.parametrize("cluster", ["gantry"], indirect=True)
@pytest.mark.parametrize("crew", ["java-5.5.0"], indirect=True)
class TestOverOfficialClients:
    def test_what_was_sent_is_listed_cancelled_and_moved(self, bench: Bench) -> None:
        sender = bench.producer(bench.drivers[0])
        sender.create_topic()
        name = bench.consumer(bench.drivers[1])
        now_ms = time.time_ns() // 1_000_000
        messages = [
            {"body": body, "keys": f"key-{body} all", "timer": "deliver_ms", "time": now_ms + wait_ms}
            for body, wait_ms in (("kept", 12_000), ("gone", 12_000), ("soon", 600_000), ("later", 12_000))
        ]
        results = sender.send(messages)
        assert [each.get("status") for each in results] == ["SEND_OK"] * 4
        listed = timer(bench, "list", bench.topic, "--json")
        assert [each["deliverMs"] for each in listed] == sorted(each["deliverMs"] for each in listed)
        assert sorted(each["uniqueKey"] for each in listed) == sorted(each["msg_id"] for each in results)
        assert [each["keys"] for each in timer(bench, "list", bench.topic, "-k", "key-soon", "--json")] == ["key-soon all"]

        (gone,) = timer(bench, "cancel", bench.topic, "-k", "key-gone", "--json")
        assert gone["outcome"] == "cancelled"
        (soon,) = timer(bench, "reschedule", bench.topic, "-k", "key-soon", "--to", "+3s", "--json")
        (later,) = timer(bench, "reschedule", bench.topic, "-i", str(results[3]["msg_id"]), "--to", "+16s", "--json")
        assert (soon["outcome"], later["outcome"]) == ("rescheduled", "rescheduled")
        eventually(lambda: len(bench.consumed(name)) >= 3, 40, lambda: f"{[each.body for each in bench.consumed(name)]}")
        assert [each.body for each in bench.consumed(name)] == ["soon", "kept", "later"]
        began = {each.body: each.began // 1000 for each in bench.consumed(name)}
        assert began["soon"] >= soon["newDeliverMs"] - 1000
        assert began["kept"] >= now_ms + 12_000
        assert began["later"] >= later["newDeliverMs"] - 1000
        assert timer(bench, "list", bench.topic, "--json") == []

    def test_what_recurs_comes_to_an_official_consumer(self, bench: Bench) -> None:
        sender = bench.producer(bench.drivers[0])
        sender.create_topic()
        name = bench.consumer(bench.drivers[1], expression="tick")
        timer(bench, "cron", "create", bench.topic, bench.mark, "*/2 * * * * *", "tack", "--tag", "tick", "-k", "clock")
        (told,) = timer(bench, "cron", "list", bench.topic, "--json")
        assert (told["name"], told["cron"], told["missed"]) == (bench.mark, "*/2 * * * * *", "once")
        eventually(lambda: len(bench.consumed(name)) >= 4, 30, lambda: f"{len(bench.consumed(name))} of 4")
        timer(bench, "cron", "delete", bench.topic, bench.mark)
        assert timer(bench, "cron", "list", bench.topic, "--json") == []
        assert timer(bench, "list", bench.topic, "--json") == []
        consumed = bench.consumed(name)
        assert {each.body for each in consumed} == {"tack"}
        assert len({each.msg_id for each in consumed}) == len(consumed)
