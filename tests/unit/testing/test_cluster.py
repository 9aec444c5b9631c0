"""The clusters that tests run: real sockets, and a simulated world."""

from __future__ import annotations

import asyncio

import pytest

from gantry.client import Message, Producer, SendStatus
from gantry.model import MessageExt
from gantry.testing import MemoryDisk, MemoryNet, VirtualClock
from gantry.testing.cluster import LocalCluster
from gantry.testing.simulated_cluster import SimulatedCluster


async def _round_trip(cluster: SimulatedCluster, count: int = 20) -> list[bytes]:
    """Send, and receive with a push consumer; returns the bodies received, sorted."""
    got: list[bytes] = []
    whole = asyncio.Event()

    def listen(messages: list[MessageExt]) -> None:
        got.extend(message.body for message in messages)
        if len(got) >= count:
            whole.set()

    async with cluster.producer() as producer:
        for number in range(count):
            result = await producer.send(Message.of("Orders", b"%03d" % number))
            assert result.status is SendStatus.SEND_OK
    consumer = cluster.push_consumer(listen)
    consumer.subscribe("Orders")
    async with consumer:
        await whole.wait()
    return sorted(got)


async def test_the_fixture_is_a_cluster_any_client_can_use(gantry_cluster: LocalCluster) -> None:
    async with Producer("p", name_servers=gantry_cluster.name_servers) as producer:
        result = await producer.send(Message.of("Orders", b"hello"))
    assert result.status is SendStatus.SEND_OK


async def test_a_simulated_cluster_needs_no_time() -> None:
    cluster = SimulatedCluster(seed=1)

    async def scenario() -> list[bytes]:
        await cluster.clock.sleep_ms(600_000)
        return await _round_trip(cluster)

    before = cluster.clock.monotonic_ms()
    assert await cluster.run(scenario) == [b"%03d" % number for number in range(20)]
    assert cluster.clock.monotonic_ms() - before >= 600_000
    assert cluster.net.connection_count == 0


async def test_the_same_seed_takes_the_same_steps() -> None:
    async def trace(seed: int) -> tuple[int, int, list[tuple[str, str]]]:
        cluster = SimulatedCluster(seed=seed)
        disk = cluster.brokers[0].disk
        disk.trace = []
        await cluster.run(lambda: _round_trip(cluster, 5))
        return cluster.clock.monotonic_ns(), disk.step_count, disk.trace

    assert await trace(5) == await trace(5)


async def test_several_servers() -> None:
    cluster = SimulatedCluster(seed=2, name_server_count=2, broker_count=2)

    async def scenario() -> set[str]:
        brokers = set()
        async with cluster.producer() as producer:
            for _ in range(40):
                result = await producer.send(Message.of("Orders", b"x"))
                brokers.add(result.queue.broker_name)
        return brokers

    assert await cluster.run(scenario) == {"broker-a", "broker-b"}
    assert cluster.name_servers.count(";") == 1


async def test_a_restarted_broker_has_its_messages() -> None:
    cluster = SimulatedCluster(seed=3)

    async def scenario() -> list[bytes]:
        async with cluster.producer() as producer:
            await producer.send(Message.of("Orders", b"before"))
        address = cluster.brokers[0].address
        await cluster.brokers[0].restart()
        assert cluster.brokers[0].address == address
        return await _bodies(cluster, 1)

    assert await cluster.run(scenario) == [b"before"]


@pytest.mark.parametrize(("flush", "keep"), [("ASYNC_FLUSH", "all"), ("SYNC_FLUSH", "none"), ("SYNC_FLUSH", "subset")])
@pytest.mark.parametrize("seed", range(3))
async def test_acknowledged_messages_survive_the_crash_their_mode_promises(flush: str, keep: str, seed: int) -> None:
    cluster = SimulatedCluster(seed=seed, broker={"flushDiskType": flush})

    async def scenario() -> list[bytes]:
        broker = cluster.brokers[0]
        async with cluster.producer() as producer:
            for number in range(10):
                result = await producer.send(Message.of("Orders", b"%d" % number))
                assert result.status is SendStatus.SEND_OK
            await cluster.crash(broker, keep)  # type: ignore[arg-type]
            assert not broker.running
            await broker.start()
        return await _bodies(cluster, 10)

    assert await cluster.run(scenario) == sorted(b"%d" % number for number in range(10))


async def test_what_a_power_cut_takes_is_gone() -> None:
    """The other side of the test above: a crash that took nothing would prove nothing."""
    cluster = SimulatedCluster(seed=4)

    async def scenario() -> int:
        broker = cluster.brokers[0]
        async with cluster.producer() as producer:
            await producer.send(Message.of("Orders", b"acknowledged, not synced"))
        await cluster.crash(broker, "none")
        await broker.start()
        return broker.controller.context.store.max_physical_offset

    assert await cluster.run(scenario) == 0


async def test_a_failing_scenario_names_its_seed() -> None:
    cluster = SimulatedCluster(seed=99)

    async def scenario() -> None:
        raise ValueError("found")

    with pytest.raises(ValueError, match="found") as caught:
        await cluster.run(scenario)
    assert "seed 99" in caught.value.__notes__
    assert not cluster.brokers[0].running


async def test_a_start_that_fails_stops_what_was_started() -> None:
    cluster = SimulatedCluster(seed=1, broker_count=2)
    disk = cluster.brokers[1].disk
    disk.fail("lock", times=100)

    async def scenario() -> None:
        raise AssertionError("not reached")

    with pytest.raises(Exception, match="lock of"):
        await cluster.run(scenario)
    assert not cluster.brokers[0].running
    assert cluster.net.connection_count == 0


def test_the_fixtures_share_one_clock(gantry_clock: VirtualClock, gantry_disk: MemoryDisk, gantry_net: MemoryNet) -> None:
    gantry_disk.open("/a", create=True).pwrite(b"1", 0)
    assert gantry_disk.mtime_ms("/a") == gantry_clock.now_ms()
    gantry_net.set_latency_ms(1)


async def _bodies(cluster: SimulatedCluster, count: int) -> list[bytes]:
    bodies: list[bytes] = []
    async with cluster.pull_consumer() as consumer:
        consumer.assign(await consumer.queues("Orders"))
        await consumer.seek_to_beginning()
        while len(bodies) < count:
            messages = await consumer.poll()
            assert messages, f"only {len(bodies)} of {count} messages are there"
            bodies += [message.body for message in messages]
    return sorted(bodies)
