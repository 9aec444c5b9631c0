"""Our client against our own servers, in one process, over real sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gantry.client import ConsumeFromWhere, ConsumerOptions, Message, Producer, PushConsumer
from gantry.testing.cluster import LocalCluster
from tests.client_pop_scenarios import POP_SCENARIOS
from tests.client_scenarios import SCENARIOS, TRANSACTION_SETTINGS, Seen, World, eventually

SETTINGS = {
    "defaultTopicQueueNums": "8",
    "messageDelayLevel": "1s 1s 1s 1s 1s 2s 2s 3s 3s 4s 4s 5s 5s 6s 6s 7s 7s 8s",
    **{key: str(value) for key, value in TRANSACTION_SETTINGS.items()},
    "enablePropertyFilter": "true",
}


@pytest.mark.parametrize("scenario", [*SCENARIOS, *POP_SCENARIOS], ids=lambda scenario: scenario.__name__)
async def test_scenario(scenario: Callable[[World], Awaitable[None]], tmp_path: Path) -> None:
    async with LocalCluster(broker=SETTINGS) as cluster:
        await scenario(World(cluster.name_servers, tmp_path))


async def test_clients_survive_a_restart_of_the_broker() -> None:
    seen = Seen()
    async with LocalCluster(broker=SETTINGS) as cluster:
        options = ConsumerOptions(
            consume_from_where=ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, retry_pull_ms=200, rebalance_ms=1000
        )
        consumer = PushConsumer("g", seen, name_servers=cluster.name_servers, options=options)
        consumer.subscribe("T")
        async with Producer("p", name_servers=cluster.name_servers) as producer:
            await producer.send(Message.of("T", b"before"))
            async with consumer:
                await eventually(lambda: seen.bodies[b"before"] == 1, lambda: seen.bodies)
                await cluster.restart_broker()
                await producer.send(Message.of("T", b"after"))
                await eventually(lambda: b"after" in seen.bodies, lambda: seen.bodies)


async def test_fixture_of_the_pytest_plugin(gantry_cluster: LocalCluster) -> None:
    async with Producer("p", name_servers=gantry_cluster.name_servers) as producer:
        result = await producer.send(Message.of("T", b"x"))
    assert result.queue_offset == 0
