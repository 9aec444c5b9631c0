from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gantry.client import Doors, MessageQueue, PullConsumer
from gantry.errors import ClientError, NoRoute
from gantry.protocol.message import encode_properties
from gantry.protocol.remoting import RequestCode
from gantry.testing import VirtualClock
from tests.unit.client.fake_cluster import NAME_SERVER, FakeCluster, drive

ONE, TWO = MessageQueue("T", "broker-a", 0), MessageQueue("T", "broker-b", 0)


@pytest.fixture
async def consumer(doors: Doors, cluster: FakeCluster, clock: VirtualClock) -> AsyncIterator[PullConsumer]:
    cluster.topics["T"] = 1
    consumer = PullConsumer("g", name_servers=NAME_SERVER, doors=doors, remoting=cluster)
    await consumer.start()
    consumer.assign(await drive(clock, consumer.queues("T")))
    yield consumer
    await drive(clock, consumer.stop())


async def test_positions_move_with_polls_and_are_kept_by_commit(
    consumer: PullConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    for body in (b"1", b"2"):
        cluster.put(ONE, body)
    await drive(clock, consumer.seek_to_beginning())
    messages = await drive(clock, consumer.poll())
    assert [message.body for message in messages] == [b"1", b"2"]
    assert await drive(clock, consumer.position(ONE)) == 2
    assert cluster.offsets == {}
    await drive(clock, consumer.commit())
    assert cluster.offsets == {("g", ONE): 2, ("g", TWO): 0}


async def test_poll_ends_in_time_and_does_not_ask_in_a_circle(
    consumer: PullConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    started = clock.monotonic_ms()
    assert await drive(clock, consumer.poll(timeout_ms=1000)) == []
    assert 1000 <= clock.monotonic_ms() - started < 1050
    assert cluster.codes().count(RequestCode.PULL_MESSAGE) < 10


async def test_poll_ends_in_time_even_when_the_broker_holds_longer(
    consumer: PullConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.hold_extra_ms = 5_000
    started = clock.monotonic_ms()
    assert await drive(clock, consumer.poll(timeout_ms=300)) == []
    assert clock.monotonic_ms() - started < 350
    cluster.put(ONE, b"not lost")
    await drive(clock, consumer.seek_to_beginning())
    assert [message.body for message in await drive(clock, consumer.poll())] == [b"not lost"]


async def test_seek_wins_over_the_committed_offset(consumer: PullConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    for i in range(5):
        cluster.put(ONE, b"%d" % i)
    cluster.offsets[("g", ONE)] = 1
    assert await drive(clock, consumer.position(ONE)) == 1
    consumer.seek(ONE, 3)
    assert [message.body for message in await drive(clock, consumer.poll())] == [b"3", b"4"]


async def test_offset_below_what_is_kept_goes_on_at_the_oldest(
    consumer: PullConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.first_offset[ONE] = 10
    cluster.put(ONE, b"oldest")
    consumer.assign([ONE])
    consumer.seek(ONE, 2)
    assert [message.body for message in await drive(clock, consumer.poll())] == [b"oldest"]


async def test_expression_filters_by_tag(doors: Doors, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.topics["T"] = 1
    for tag in "AB":
        cluster.put(ONE, tag.encode(), encode_properties({"TAGS": tag}))
    consumer = PullConsumer("g", name_servers=NAME_SERVER, doors=doors, remoting=cluster, expression="B")
    await consumer.start()
    await drive(clock, consumer.queues("T"))
    consumer.assign([ONE])
    consumer.seek(ONE, 0)
    assert [message.body for message in await drive(clock, consumer.poll())] == [b"B"]
    await drive(clock, consumer.stop())


async def test_misuse_says_what_to_do(consumer: PullConsumer, clock: VirtualClock) -> None:
    with pytest.raises(ClientError, match="not assigned"):
        consumer.seek(MessageQueue("U", "broker-a", 0), 1)
    with pytest.raises(ClientError, match="negative"):
        consumer.seek(ONE, -1)
    consumer.assign([])
    with pytest.raises(ClientError, match=r"assign\("):
        await consumer.poll()
    with pytest.raises(NoRoute, match="topic Missing"):
        await drive(clock, consumer.queues("Missing"))
