"""The comparison of a broker's log with the one it went with (C11) can fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gantry.client import Message
from gantry.testing.simulated_cluster import SimulatedBroker, SimulatedCluster

from .former_logs import LOG, FormerLogs
from .trace import Trace


def leave_it(broker: SimulatedBroker) -> None:
    pass


def flip_a_bit(broker: SimulatedBroker) -> None:
    broker.disk.flip_bit(f"{LOG}/{0:020}", 300)


def lose_the_file(broker: SimulatedBroker) -> None:
    broker.disk.unlink(f"{LOG}/{0:020}")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (leave_it, None),
        (flip_a_bit, r"C11: seed 1, broker-a: byte 300 of the log, synced up to \d+, is not what it was"),
        (lose_the_file, "C11: seed 1, broker-a: the file of the log at 0 is gone"),
    ],
)
async def test_damage_is_told(damage: Callable[[SimulatedBroker], None], said: str | None) -> None:
    cluster = SimulatedCluster(seed=1, broker_count=1)
    (broker,) = cluster.brokers
    logs = FormerLogs(Trace(cluster.clock), 1)

    async def scenario() -> None:
        async with cluster.producer() as producer:
            await producer.send(Message.of("T", b"x" * 500))
        logs.goes(broker, power=False)
        damage(broker)
        if said is None:
            logs.comes(broker)
            assert logs.compared > 500
        else:
            with pytest.raises(AssertionError, match=said):
                logs.comes(broker)

    await cluster.run(scenario)
