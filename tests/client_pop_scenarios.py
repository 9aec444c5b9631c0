"""What our PopConsumer promises, as scenarios like those of client_scenarios.py."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from gantry.client import ConsumeFromWhere, Message, MessageExt, PopConsumer
from gantry.errors import ClientError
from tests.client_scenarios import FIRST, Seen, World, eventually

REVIVED_S = 35.0
"""The official broker gives back what came due within some seconds; ours at once."""
LONG_MS = 120_000


def popper(world: World, *, invisible_ms: int = LONG_MS, where: ConsumeFromWhere = FIRST, again_max: int = 16) -> PopConsumer:
    return PopConsumer(
        world.group, name_servers=world.name_servers, invisible_ms=invisible_ms, max_reconsume_times=again_max,
        consume_from_where=where,
    )  # fmt: skip


async def send(world: World, *bodies: bytes, tags: str = "") -> None:
    async with world.producer() as producer:
        for body in bodies:
            await producer.send(Message.of(world.topic, body, tags=tags or None))


async def take(consumer: PopConsumer, count: int, within_s: float = REVIVED_S) -> list[MessageExt]:
    """Receives until so many messages have come; nothing is acknowledged."""
    found: list[MessageExt] = []
    until = time.monotonic() + within_s
    while len(found) < count:
        assert time.monotonic() < until, f"{[message.body for message in found]} of {count} came"
        found += await consumer.receive(timeout_ms=1_000)
    return found


async def what_is_acknowledged_never_comes_again(world: World) -> None:
    wanted = Counter(b"%d" % i for i in range(60))
    await send(world, *wanted)
    async with popper(world) as one, popper(world) as other:
        for consumer in (one, other):
            consumer.subscribe(world.topic)
        found = [*await one.receive(16), *await other.receive(8)]
        assert found
        await one.ack(found[0])
        await one.ack(*found[1:])
        rest = await take(other, 60 - len(found))
        await other.ack(*rest)
        found += rest
        assert Counter(message.body for message in found) == wanted
        assert {message.queue_id for message in found} == set(range(8))
        assert all(message.topic == world.topic and message.reconsume_times == 0 for message in found)
        assert await one.receive(timeout_ms=1_500) == []


async def a_message_that_is_not_acknowledged_comes_again(world: World) -> None:
    await send(world, b"slow", b"quick")
    async with popper(world, invisible_ms=3_000) as consumer:
        consumer.subscribe(world.topic)
        first = await take(consumer, 2)
        by_body = {message.body: message for message in first}
        await consumer.ack(by_body[b"quick"])
        began = time.monotonic()
        (again,) = await take(consumer, 1)
        assert (again.body, again.topic, again.reconsume_times) == (b"slow", world.topic, 1)
        # By the broker's clock and ledger; the pop was a moment before `began`.
        assert time.monotonic() - began > 1.0
        assert again.msg_id == by_body[b"slow"].msg_id
        await consumer.ack(again)
        assert await consumer.receive(timeout_ms=4_500) == []


async def the_time_of_a_message_can_be_changed(world: World) -> None:
    await send(world, b"sooner", b"later")
    async with popper(world, invisible_ms=5_000) as consumer:
        consumer.subscribe(world.topic)
        by_body = {message.body: message for message in await take(consumer, 2)}
        handle = by_body[b"later"].properties["POP_CK"]
        await consumer.change_invisible_duration(by_body[b"later"], LONG_MS)
        assert by_body[b"later"].properties["POP_CK"] != handle
        await consumer.change_invisible_duration(by_body[b"sooner"], 1_000)
        (again,) = await take(consumer, 1)
        assert (again.body, again.reconsume_times) == (b"sooner", 1)
        await consumer.ack(again)
        assert await consumer.receive(timeout_ms=6_000) == []
        await consumer.ack(by_body[b"later"])


async def a_popped_message_that_fails_too_often_is_dead(world: World) -> None:
    dead = Seen()
    await send(world, b"bad", b"given up")
    seen: Counter[bytes] = Counter()
    async with popper(world, invisible_ms=1_500, again_max=1) as consumer:
        consumer.subscribe(world.topic)
        for message in await take(consumer, 2):
            seen[message.body] += 1
            if message.body == b"given up":
                await consumer.to_dead_letters(message)
        async with world.consumer(dead, group=f"D{world.group}", topic=f"%DLQ%{world.group}"):
            until = time.monotonic() + 3 * REVIVED_S
            while set(dead.bodies) != {b"bad", b"given up"}:
                assert time.monotonic() < until, (seen, dead.bodies)
                for message in await consumer.receive(timeout_ms=1_000):
                    assert message.reconsume_times == seen[message.body]
                    seen[message.body] += 1
    assert seen == {b"bad": 2, b"given up": 1}
    # Where it lay when it was given up: for one that had come back that is its retry topic.
    origins = {message.body: message.properties["RETRY_TOPIC"] for message in dead.messages}
    assert origins == {b"given up": world.topic, b"bad": f"%RETRY%{world.group}_{world.topic}"}


async def a_waiting_receive_is_woken(world: World) -> None:
    """By one topic, and by the second of two, where it waits at both places without taking anything."""
    other = World(world.name_servers, world.folder)
    await send(world, b"first")
    await send(other, b"first")
    async with popper(world) as consumer:
        for wanted in (world, other):
            consumer.subscribe(wanted.topic)
            await consumer.ack(*await take(consumer, 1))
            waiting = asyncio.create_task(consumer.receive(timeout_ms=20_000))
            # The first rounds of asking are over by then; when not, it finds the message all the same.
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await send(wanted, b"woken")
            (message,) = await waiting
            await consumer.ack(message)
            assert (message.topic, message.body) == (wanted.topic, b"woken")
            assert time.monotonic() - began < 4.0, "it was found by looking again, not by being woken"


async def tags_of_popped_messages_are_filtered(world: World) -> None:
    for tag in ("A", "B", "C"):
        await send(world, *(b"%s%d" % (tag.encode(), i) for i in range(6)), tags=tag)
    async with popper(world) as consumer:
        consumer.subscribe(world.topic, "A || C")
        found = await take(consumer, 12)
        await consumer.ack(*found)
        assert Counter(message.body for message in found) == Counter(b"%s%d" % (t, i) for t in (b"A", b"C") for i in range(6))
        assert await consumer.receive(timeout_ms=1_500) == []


async def what_nobody_has_seen_is_given_back(world: World) -> None:
    """A receive that is cancelled leaves what its pop brings to the next one, and stop() gives back what is left."""
    await send(world, b"first")
    async with popper(world) as other:
        other.subscribe(world.topic)
        leaving = popper(world)
        async with leaving:
            leaving.subscribe(world.topic)
            await leaving.ack(*await take(leaving, 1))
            for kept in (True, False):
                waiting = asyncio.create_task(leaving.receive(timeout_ms=20_000))
                await asyncio.sleep(0.3)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await send(world, b"second" if kept else b"third")
                if kept:
                    await leaving.ack(*await take(leaving, 1))
            await eventually(lambda: bool(leaving._left_over), lambda: "the pop brought nothing")
        (message,) = await take(other, 1)
        assert message.body == b"third"
        await other.ack(message)


async def stop_ends_a_waiting_receive(world: World) -> None:
    await send(world, b"first")
    consumer = popper(world)
    await consumer.start()
    consumer.subscribe(world.topic)
    await consumer.ack(*await take(consumer, 1))
    waiting = asyncio.create_task(consumer.receive(timeout_ms=60_000))
    await asyncio.sleep(0.3)
    await consumer.stop()
    with pytest.raises(ClientError):
        await waiting
    with pytest.raises(ClientError):
        await consumer.receive()


POP_SCENARIOS = [
    what_is_acknowledged_never_comes_again,
    a_message_that_is_not_acknowledged_comes_again,
    the_time_of_a_message_can_be_changed,
    a_popped_message_that_fails_too_often_is_dead,
    a_waiting_receive_is_woken,
    tags_of_popped_messages_are_filtered,
    what_nobody_has_seen_is_given_back,
    stop_ends_a_waiting_receive,
]
