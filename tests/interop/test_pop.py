"""POP consumption by the official Java client, against our broker and the official one with the same result.

The push consumer pops when its group's request mode says so (server-side assignment, `QUERY_ASSIGNMENT`); what it leaves to the
broker (single pops, orderly pops, changes of the invisible time) is asked through the lower half of the same client, as the
official proxy does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from . import accounting
from .bench import Bench
from .cluster import TOPOLOGIES, Cluster, ask, has_route, uncommitted
from .conftest import SELECTED
from .driver import Crew, Driver, eventually

QUEUES = 4
COUNT = 2_000
CLIENT = "java-5.5.0"
REVIVED_S = 30.0
"""The official broker gives back what came due within some seconds; ours at once."""

_GET_MAX_OFFSET = 30
_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200
_SET_MESSAGE_REQUEST_MODE = 401
_UPDATE_AND_CREATE_TOPIC = 17
_PEEK_MESSAGE = 200052
_NOTIFICATION = 200054
_POLLING_INFO = 200055


@pytest.fixture(scope="module", params=SELECTED)
def cluster(request: pytest.FixtureRequest, toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Servers of their own: the official broker pops only with its timer wheel, which the other tests do without."""
    folder = tmp_path_factory.mktemp(f"pop-{request.param}")
    with Cluster(TOPOLOGIES[request.param], folder, settings={"timerWheelEnable": "true"}) as running:
        yield running


@pytest.fixture
def bench(cluster: Cluster, crews: dict[str, Crew]) -> Iterator[Bench]:
    with Bench(cluster, crews[CLIENT]) as one:
        yield one


class Popper:
    """Single requests of the POP family by one client process."""

    def __init__(self, bench: Bench, driver: Driver | None = None) -> None:
        self.bench = bench
        self.driver = driver or bench.drivers[0]
        self.name = f"pop{bench.drivers.index(self.driver)}-{bench.mark}"
        bench.ask(self.driver, "pop_start", name=self.name)
        bench.stop_later(self.driver, "pop_stop", self.name)

    def _ask(self, op: str, **members: object) -> dict[str, Any]:
        where = {"name": self.name, "topic": self.bench.topic, "group": self.bench.group}
        return self.bench.ask(self.driver, op, **{**where, **members})

    def pop(self, **members: object) -> list[dict[str, Any]]:
        return self._ask("pop", **members).get("messages") or []

    def ack(self, message: dict[str, Any]) -> str:
        return str(self._ask("pop_ack", handle=message["handle"])["status"])

    def batch_ack(self, messages: list[dict[str, Any]]) -> str:
        return str(self._ask("pop_batch_ack", handles="|".join(each["handle"] for each in messages))["status"])

    def change(self, message: dict[str, Any], invisible_ms: int) -> str:
        answer = self._ask("pop_change", handle=message["handle"], invisible_ms=invisible_ms)
        message["handle"] = answer.get("handle")
        return str(answer["status"])

    def until(self, wanted: int, timeout_s: float = REVIVED_S, **members: object) -> list[dict[str, Any]]:
        """Pops until so many messages have come."""
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found.extend(self.pop(poll_ms=500, **members))
            return len(found) >= wanted

        eventually(enough, timeout_s, lambda: f"{[each['body'] for each in found]} of {wanted} came")
        return found


def filled(bench: Bench, count: int, queues: int = QUEUES, prefix: str = "m-") -> list[str]:
    """A topic with so many messages; returns their bodies."""
    sender = bench.producer(bench.drivers[0])
    sender.create_topic(queues=queues)
    bodies = [f"{prefix}{n}" for n in range(count)]
    results = sender.send([{"body": body, "queue": n % queues} for n, body in enumerate(bodies)])
    assert {each["status"] for each in results} == {"SEND_OK"}
    return bodies


def pop_mode(bench: Bench, group: str = "") -> None:
    """Sets the group's request mode to POP; every queue is shared by all clients."""
    bench.make_group_known(group or bench.group)
    body = {"topic": bench.topic, "consumerGroup": group or bench.group, "mode": "POP", "popShareQueueNum": 0}
    code, _, _ = ask(bench.cluster.broker.address, _SET_MESSAGE_REQUEST_MODE, {}, json.dumps(body).encode())
    assert code == 0


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return sorted(each["body"] for each in messages)


def all_committed(bench: Bench) -> None:
    eventually(
        lambda: uncommitted(bench.cluster.broker.address, bench.group, bench.topic, QUEUES) == 0,
        REVIVED_S,
        lambda: f"{uncommitted(bench.cluster.broker.address, bench.group, bench.topic, QUEUES)} are not committed",
        poll_s=0.2,
    )


@pytest.mark.timeout(180)
def test_push_consumers_share_a_topic_by_popping(bench: Bench) -> None:
    sender = bench.producer(bench.drivers[0])
    sender.create_topic(queues=QUEUES)
    pop_mode(bench)
    names = [bench.consumer(driver, pop=True, batch=16) for driver in bench.drivers]
    acks = sender.begin_bulk(COUNT, "m-", mode="async", window=32)()
    sent = {f"m-{number}" for number, *_ in acks}
    eventually(
        lambda: sent <= {each.body for each in bench.consumed(*names)},
        60,
        lambda: f"{len(bench.consumed(*names))} of {COUNT} consumed",
        poll_s=0.1,
    )
    all_committed(bench)
    consumed = bench.consumed(*names)
    accounting.check(accounting.unknown(sent, consumed))
    assert len(consumed) == len({each.body for each in consumed}), "a message that was acknowledged came again"


@pytest.mark.timeout(180)
def test_a_failed_consumption_is_tried_again(bench: Bench) -> None:
    sent = filled(bench, 8)
    pop_mode(bench)
    name = bench.consumer(bench.drivers[1], pop=True, script="fail_first")
    # The client asks for ten seconds before a second try.
    eventually(
        lambda: {each.body for each in bench.consumed(name) if each.reconsume == 1} == set(sent),
        60,
        lambda: f"{[(each.body, each.reconsume) for each in bench.consumed(name)]}",
        poll_s=0.2,
    )
    consumed = bench.consumed(name)
    firsts = {each.body: each.began for each in consumed if each.reconsume == 0}
    for each in consumed:
        assert each.topic == bench.topic
        if each.reconsume == 1:
            assert each.began - firsts[each.body] >= 10_000_000, "tried again before its time"
    assert len(consumed) == 2 * len(sent)


@pytest.mark.timeout(120)
def test_pop_ack_and_what_is_left(bench: Bench) -> None:
    sent = filled(bench, 12)
    popper = Popper(bench)
    found = popper.until(12, invisible_ms=8_000)
    popped_at = time.monotonic()
    assert bodies(found) == sorted(sent)
    assert {each["reconsume"] for each in found} == {0}
    for message in found[:5]:
        assert popper.ack(message) == "OK"
    assert popper.pop() == []
    again = popper.until(7)
    assert time.monotonic() - popped_at >= 7.9
    assert bodies(again) == bodies(found[5:])
    assert {each["reconsume"] for each in again} == {1}
    assert {each["first_pop"] for each in again} == {each["handle"].split(" ")[1] for each in found[5:]}
    assert {each["handle"].split(" ")[4] for each in again} == {"1"}
    for message in again:
        assert popper.ack(message) == "OK"
    assert popper.pop(poll_ms=3_000) == []


@pytest.mark.timeout(120)
def test_batch_ack(bench: Bench) -> None:
    sent = filled(bench, 20)
    popper = Popper(bench)
    found = popper.until(20, invisible_ms=5_000)
    assert bodies(found) == sorted(sent)
    assert popper.batch_ack(found[:17]) == "OK"
    again = popper.until(3)
    assert bodies(again) == bodies(found[17:])


@pytest.mark.timeout(120)
def test_change_invisible_time(bench: Bench) -> None:
    filled(bench, 2, queues=1)
    popper = Popper(bench)
    first, second = popper.until(2, invisible_ms=60_000)
    began = time.monotonic()
    assert popper.change(first, 5_000) == "OK"
    (again,) = popper.until(1)
    assert time.monotonic() - began >= 4.9
    assert again["body"] == first["body"]
    assert popper.change(second, 3_000) == "OK"
    assert popper.ack(second) == "OK"
    assert popper.ack(again) == "OK"
    assert popper.pop(poll_ms=6_000) == []


@pytest.mark.timeout(120)
def test_orderly_pops(bench: Bench) -> None:
    filled(bench, 4, queues=1)
    popper = Popper(bench)
    found = popper.pop(order=True, queue=0, count=2, invisible_ms=5_000, attempt="a")
    assert [each["body"] for each in found] == ["m-0", "m-1"]
    assert found[0]["handle"].split(" ")[3] == "999"
    assert popper.pop(order=True, queue=0, count=2, attempt="b") == []
    same = popper.pop(order=True, queue=0, count=2, invisible_ms=5_000, attempt="a")
    assert [each["body"] for each in same] == ["m-0", "m-1"]
    assert popper.ack(same[0]) == "OK"
    assert popper.pop(order=True, queue=0, count=2, attempt="b") == []
    again = popper.until(1, order=True, queue=0, count=1, attempt="c", invisible_ms=10_000)
    assert [(each["body"], each["reconsume"]) for each in again] == [("m-1", 1)]
    assert popper.change(again[0], 1_000) == "OK"
    following = popper.until(3, order=True, queue=0, count=3, attempt="d")
    assert [(each["body"], each["reconsume"]) for each in following] == [("m-1", 2), ("m-2", 0), ("m-3", 0)]
    for message in following:
        assert popper.ack(message) == "OK"
    assert popper.pop(order=True, queue=0) == []
    assert uncommitted(bench.cluster.broker.address, bench.group, bench.topic, 1) == 0


@pytest.mark.timeout(120)
def test_what_was_acknowledged_stays_so_across_a_kill(bench: Bench) -> None:
    """Our broker, killed: nothing acknowledged comes again, nothing else is lost, and nothing comes early."""
    sent = filled(bench, 40)
    popper = Popper(bench)
    found = popper.until(40, invisible_ms=15_000)
    popped_at = time.monotonic()
    acknowledged = found[::2]
    for message in acknowledged:
        assert popper.ack(message) == "OK"
    if bench.cluster.broker.kind != "official broker":
        bench.cluster.broker.kill()
        bench.cluster.broker.start()
    again = popper.until(20, 60)
    assert time.monotonic() - popped_at >= 14.9
    assert bodies(again) == bodies(found[1::2])
    assert set(bodies(again)) | set(bodies(acknowledged)) == set(sent)


@pytest.mark.timeout(240)
def test_push_consumers_go_on_when_the_broker_is_killed_under_them(bench: Bench) -> None:
    """Our broker, killed while messages are popped and acknowledged: all are consumed, and few of them twice."""
    sender = bench.producer(bench.drivers[0], retries=10)
    sender.create_topic(queues=QUEUES)
    pop_mode(bench)
    names = [bench.consumer(driver, pop=True, batch=16, invisible_ms=10_000) for driver in bench.drivers]
    acks = sender.begin_bulk(COUNT // 2, "m-", mode="async", window=16)()
    eventually(
        lambda: len(bench.consumed(*names)) >= COUNT // 8, 60, lambda: f"{len(bench.consumed(*names))} consumed", poll_s=0.01
    )
    bench.cluster.broker.kill()
    bench.cluster.broker.start()
    sent = [f"m-{number}" for number, *_ in acks]
    more = [f"after-{n}" for n in range(COUNT // 4)]
    results = sender.send([{"body": body, "queue": n % QUEUES} for n, body in enumerate(more)])
    assert {each["status"] for each in results} == {"SEND_OK"}
    everything = {*sent, *more}
    eventually(
        lambda: everything <= {each.body for each in bench.consumed(*names)},
        90,
        lambda: f"{len({each.body for each in bench.consumed(*names)})} of {len(everything)} consumed",
        poll_s=0.2,
    )
    all_committed(bench)
    consumed = bench.consumed(*names)
    accounting.check(accounting.unknown(everything, consumed))
    # Twice come only those whose acknowledgement was under way when the broker died. (The official broker, not killed, gave
    # 258 of these 1,500 twice on a busy machine: nothing is asked of it.)
    if bench.cluster.broker.kind != "official broker":
        assert len(consumed) - len(everything) <= 16 * len(names) + COUNT // 20


@pytest.mark.timeout(120)
def test_an_orderly_pop_goes_on_after_a_kill(bench: Bench) -> None:
    filled(bench, 6, queues=1)
    popper = Popper(bench)
    found = popper.pop(order=True, queue=0, count=3, invisible_ms=12_000, attempt="a")
    assert [each["body"] for each in found] == ["m-0", "m-1", "m-2"]
    assert popper.ack(found[0]) == "OK"
    popped_at = time.monotonic()
    if bench.cluster.broker.kind != "official broker":
        bench.cluster.broker.kill()
        bench.cluster.broker.start()
        assert popper.pop(order=True, queue=0, count=3, attempt="b") == []
    following = popper.until(3, 60, order=True, queue=0, count=3, attempt="b", invisible_ms=20_000)
    assert time.monotonic() - popped_at >= 11
    assert [(each["body"], each["reconsume"]) for each in following] == [("m-1", 1), ("m-2", 1), ("m-3", 0)]
    assert popper.batch_ack(following) == "OK"
    last = popper.until(2, order=True, queue=0, count=3, attempt="c")
    assert [each["body"] for each in last] == ["m-4", "m-5"]


@pytest.mark.timeout(120)
def test_tries_come_to_an_end(bench: Bench) -> None:
    """Beyond the group's limit: a dead letter here; the official broker gives the message back for ever (decision 0016)."""
    filled(bench, 1, queues=1)
    address = bench.cluster.broker.address
    group = {"groupName": bench.group, "retryMaxTimes": 1, "retryQueueNums": 1, "consumeEnable": True}
    assert ask(address, _UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {}, json.dumps(group).encode())[0] == 0
    popper = Popper(bench)
    for times in range(2):
        (one,) = popper.until(1, invisible_ms=1_000)
        assert one["reconsume"] == times
    dead = {"topic": f"%DLQ%{bench.group}", "queueId": "0"}
    if bench.cluster.broker.kind == "official broker":
        (one,) = popper.until(1)
        assert one["reconsume"] == 2
        assert popper.ack(one) == "OK"
    else:
        eventually(lambda: ask(address, _GET_MAX_OFFSET, dead)[1]["offset"] == "1", 10, "no dead letter")
        assert popper.pop(poll_ms=2_000) == []


def test_raw_answers(bench: Bench) -> None:
    """Codes of what is refused, and the smaller requests, as both brokers answer them."""
    filled(bench, 3, queues=1)
    address = bench.cluster.broker.address
    here = {"consumerGroup": bench.group, "topic": bench.topic, "queueId": "-1"}
    now = str(int(time.time() * 1000))
    pop = {**here, "maxMsgNums": "32", "invisibleTime": "60000", "pollTime": "0", "bornTime": "0", "initMode": "0"}

    code, fields, body = ask(address, _PEEK_MESSAGE, {**here, "maxMsgNums": "32"})
    assert (code, fields["restNum"]) == (0, "3")
    assert body
    assert ask(address, _POLLING_INFO, here)[:2] == (0, {"pollingNum": "0"})
    code, fields, _ = ask(address, _NOTIFICATION, {**here, "pollTime": "0", "bornTime": now})
    assert (code, fields["hasMsg"], fields["pollingFull"]) == (0, "true", "false")

    assert ask(address, 200050, {**pop, "maxMsgNums": "33"})[0] == 29
    assert ask(address, 200050, {**pop, "topic": f"{bench.topic}-no"})[0] == 17
    assert ask(address, 200050, {**pop, "queueId": "1"})[0] == 29
    assert ask(address, 200050, {**pop, "exp": "a >", "expType": "SQL92"})[0] == 23
    assert ask(address, 200050, {**pop, "bornTime": "1"})[0] == 210

    code, fields, body = ask(address, 200050, {**pop, "maxMsgNums": "2"})
    assert code == 0
    assert body
    assert {name: fields[name] for name in ("restNum", "startOffsetInfo", "msgOffsetInfo", "invisibleTime")} == {
        "restNum": "1", "startOffsetInfo": "0 0 0", "msgOffsetInfo": "0 0 0,1", "invisibleTime": "60000",
    }  # fmt: skip
    handle = f"0 {fields['popTime']} 60000 {fields['reviveQid']} 0 {bench.cluster.broker.name} 0 0"
    ack = {"consumerGroup": bench.group, "topic": bench.topic, "queueId": "0", "extraInfo": handle, "offset": "0"}
    assert ask(address, 200051, {**ack, "offset": "99"})[0] == 208
    assert ask(address, 200051, {**ack, "queueId": "9"})[0] == 13
    assert ask(address, 200051, {**ack, "topic": f"{bench.topic}-no"})[0] == 17
    assert ask(address, 200051, {**ack, "extraInfo": "1"})[0] == 1
    assert ask(address, 200051, ack)[0] == 0
    assert ask(address, 200151, {}, b"")[0] == 208
    change = {**ack, "offset": "3", "invisibleTime": "1000"}
    assert ask(address, 200053, change)[0] == 208
    code, fields, _ = ask(address, 200053, {**change, "offset": "1"})
    assert (code, fields["invisibleTime"]) == (0, "1000")


def test_the_most_urgent_messages_are_popped_first(bench: Bench) -> None:
    """The priority of a message is its queue; with another kind of message it counts for nothing."""
    fields = {
        "topic": bench.topic, "defaultTopic": "TBW102", "readQueueNums": "4", "writeQueueNums": "4", "perm": "6",
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false", "attributes": "+message.type=PRIORITY",
    }  # fmt: skip
    code, _, _ = ask(bench.cluster.broker.address, _UPDATE_AND_CREATE_TOPIC, fields)
    assert code == 0
    sender = bench.producer(bench.drivers[0])
    eventually(
        lambda: has_route(bench.cluster.namesrv_address, bench.cluster.broker.address, bench.topic),
        10,
        "the topic has no route",
    )
    urgency = [0, 2, 1, 7, 3, 0]
    results = sender.send([{"body": f"p{n}-{i}", "priority": n} for i, n in enumerate(urgency)])
    assert [each["queue"] for each in results] == [min(n, 3) for n in urgency]
    popper = Popper(bench)
    order = [popper.until(1, count=1)[0]["body"] for _ in urgency]
    assert order == ["p7-3", "p3-4", "p2-1", "p1-2", "p0-0", "p0-5"]
