"""Request and reply over topics, both ends with an official client."""

from __future__ import annotations

import pytest

from .bench import Bench
from .driver import CLIENTS, DriverError


# The Go driver has no such operation.
@pytest.mark.parametrize("crew", [kind for kind in CLIENTS if kind != "go"], indirect=True)
def test_a_request_gets_its_reply(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    bench.consumer(bench.drivers[1], script="reply", compress_over=2_000)
    calls = [
        bench.drivers[0].begin("request", name=sender.name, topic=bench.topic, body=f"q-{n}", **bench.where) for n in range(10)
    ]
    answers = [call.result() for call in calls]
    assert [each["body"] for each in answers] == [f"re: q-{n}" for n in range(10)]
    assert {each["topic"] for each in answers} == {"DefaultCluster_REPLY_TOPIC"}
    assert all(int(each["pushed"]) > 0 for each in answers)
    large = "compressed " * 1_000
    assert bench.ask(bench.drivers[0], "request", name=sender.name, topic=bench.topic, body=large)["body"] == f"re: {large}"


@pytest.mark.parametrize("crew", [kind for kind in CLIENTS if kind != "go"], indirect=True)
def test_a_request_that_nobody_answers_ends_in_time(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic()
    with pytest.raises(DriverError, match="RequestTimeoutException"):
        bench.ask(bench.drivers[0], "request", name=sender.name, topic=bench.topic, body="q", timeout_ms=500)
