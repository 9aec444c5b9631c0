"""Our PopConsumer over two brokers of one cluster, an official one and one of ours."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from gantry.client import Message, MessageExt, PopConsumer, Producer, ProducerOptions
from gantry.model.heartbeat import CONSUME_POP
from tests.client_pop_scenarios import FIRST, REVIVED_S

from .cluster import GantryBroker, GantryNamesrv, OfficialBroker, ask
from .driver import eventually

QUEUES = 4
COUNT = 60
INVISIBLE_MS = 5_000

_UPDATE_AND_CREATE_TOPIC = 17
_GET_ROUTEINFO_BY_TOPIC = 105
_GET_CONSUMER_CONNECTION_LIST = 203


def make_topic(broker: OfficialBroker | GantryBroker, topic: str) -> None:
    fields = {
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": str(QUEUES), "writeQueueNums": str(QUEUES), "perm": "6",
        "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
    }  # fmt: skip
    assert ask(broker.address, _UPDATE_AND_CREATE_TOPIC, fields)[0] == 0


async def take(consumer: PopConsumer, wanted: set[bytes], within_s: float = 60.0) -> list[MessageExt]:
    """Receives until these bodies have come; nothing is acknowledged."""
    found: list[MessageExt] = []
    until = time.monotonic() + within_s
    while not wanted <= {message.body for message in found}:
        assert time.monotonic() < until, f"{wanted - {message.body for message in found}} did not come"
        found += await consumer.receive(timeout_ms=1_000)
    return found


@pytest.mark.timeout(300)
def test_pops_go_on_when_one_of_two_brokers_dies(toolchain: None, tmp_path: Path) -> None:
    with (
        GantryNamesrv(tmp_path / "namesrv") as namesrv,
        OfficialBroker(tmp_path / "a", namesrv.address, name="broker-a") as theirs,
        GantryBroker(tmp_path / "b", namesrv.address, name="broker-b") as ours,
    ):
        for broker in (theirs, ours):
            make_topic(broker, "T")
        eventually(lambda: _brokers_of(namesrv.address) == {"broker-a", "broker-b"}, 30, lambda: _brokers_of(namesrv.address))
        asyncio.run(_scenario(namesrv.address, theirs, ours))


async def _scenario(name_servers: str, theirs: OfficialBroker, ours: GantryBroker) -> None:
    sent = {b"%d" % n for n in range(COUNT)}
    options = ProducerOptions(timeout_ms=10_000)
    async with (
        Producer("p", name_servers=name_servers, options=options) as producer,
        PopConsumer("g", name_servers=name_servers, invisible_ms=INVISIBLE_MS, consume_from_where=FIRST) as consumer,
    ):
        consumer.subscribe("T")
        for body in sorted(sent):
            await producer.send(Message.of("T", body))
        found = await take(consumer, sent)
        of_ours = [message for message in found if message.broker_name == "broker-b"]
        assert 0 < len(of_ours) < len(found)
        for broker in (theirs, ours):
            (connection,) = [_connection(broker)]
            assert connection["consumeType"] == CONSUME_POP
        kept, forgotten = of_ours[:-5], of_ours[-5:]
        forgotten_bodies = {message.body for message in forgotten}
        await consumer.ack(*(message for message in found if message.body not in forgotten_bodies))
        assert kept

        await asyncio.to_thread(ours.kill)
        waiting = asyncio.create_task(consumer.receive(timeout_ms=30_000))
        late = set()
        for n in range(8):
            # A producer goes to another queue when one does not answer.
            await producer.send(Message.of("T", b"late %d" % n))
            late.add(b"late %d" % n)
        first = await waiting
        assert first
        got = [*first, *await take(consumer, late - {message.body for message in first})]
        assert {message.broker_name for message in got} == {"broker-a"}
        await consumer.ack(*got)

        await asyncio.to_thread(ours.start)
        again = await take(consumer, forgotten_bodies, REVIVED_S + 60)
        assert {message.body for message in again} == forgotten_bodies, "what was acknowledged came again"
        assert {message.broker_name for message in again} == {"broker-b"}
        await consumer.ack(*again)


def _brokers_of(name_server: str) -> set[str]:
    code, _, body = ask(name_server, _GET_ROUTEINFO_BY_TOPIC, {"topic": "T", "acceptStandardJsonOnly": "true"})
    return {data["brokerName"] for data in json.loads(body)["brokerDatas"]} if code == 0 else set()


def _connection(broker: OfficialBroker | GantryBroker) -> dict[str, object]:
    code, _, body = ask(broker.address, _GET_CONSUMER_CONNECTION_LIST, {"consumerGroup": "g"})
    assert code == 0
    return dict(json.loads(body))
