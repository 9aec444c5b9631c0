"""Reads topics of a simulated cluster from their beginning, whatever happens to its brokers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gantry.client import PullConsumer
from gantry.errors import MQError, NoRoute
from gantry.model import MessageExt, MessageQueue
from gantry.testing.simulated_cluster import SimulatedCluster


async def read_topics(
    cluster: SimulatedCluster,
    name: str,
    topics: Sequence[str],
    *,
    goes_on: Callable[[], bool],
    see: Callable[[MessageExt], None],
    begins: Callable[[], None] = lambda: None,
) -> None:
    """Hands what comes to `see`, as long as `goes_on`. When further queues come to be it begins anew, and says so."""
    reader = cluster.pull_consumer(name)
    await reader.start()
    try:
        known: set[MessageQueue] = set()
        while goes_on():
            try:
                queues = {queue for topic in topics for queue in await _queues(reader, topic)}
                if not queues <= known:
                    reader.assign(sorted(known | queues))
                    await reader.seek_to_beginning()
                    known |= queues
                    begins()
                for message in await reader.poll(timeout_ms=1_000):
                    see(message)
            except MQError:
                await cluster.clock.sleep_ms(500)
    finally:
        await reader.stop()


async def _queues(reader: PullConsumer, topic: str) -> Sequence[MessageQueue]:
    try:
        return await reader.queues(topic)
    except NoRoute:  # nothing was sent to it yet
        return ()
