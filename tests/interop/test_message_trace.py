"""Message traces: what the official client writes is read here, and what ours writes is read there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from gantry.client import (
    ConsumeFromWhere,
    ConsumerOptions,
    Message,
    MessageExt,
    Producer,
    ProducerOptions,
    PullConsumer,
    PushConsumer,
)
from gantry.protocol.message.trace import Trace, TraceKind, decode_traces

from .bench import Bench
from .driver import CLIENTS, eventually

COUNT = 12
WITHIN_S = 30.0


async def texts(bench: Bench, topic: str) -> list[str]:
    """The bodies of the messages of a topic."""
    async with PullConsumer(f"reader-{bench.mark}", name_servers=bench.cluster.namesrv_address) as reader:
        reader.assign(await reader.queues(topic))
        await reader.seek_to_beginning()
        found: list[str] = []
        while messages := await reader.poll(timeout_ms=500):
            found += [message.body.decode() for message in messages]
        return found


@pytest.mark.parametrize("crew", [kind for kind in CLIENTS if kind != "go"], indirect=True)
def test_the_official_clients_traces_are_read(bench: Bench) -> None:
    topic = f"trace-{bench.mark}"
    plain = bench.producer(bench.drivers[0])
    plain.create_topic(queues=2)
    plain.create_topic(topic=topic, queues=2)
    sender = bench.producer(bench.drivers[0], trace_topic=topic)
    name = bench.consumer(bench.drivers[1], trace_topic=topic)
    results = sender.send([{"body": f"m-{n}", "keys": f"k-{n}"} for n in range(COUNT)])
    eventually(lambda: len(bench.consumed(name)) >= COUNT, 20, lambda: f"{len(bench.consumed(name))} of {COUNT}")
    wanted = {(kind, each["msg_id"]) for each in results for kind in (TraceKind.PUB, TraceKind.SUB_BEFORE, TraceKind.SUB_AFTER)}

    def told() -> list[Trace]:
        return [trace for text in asyncio.run(texts(bench, topic)) for trace in decode_traces(text)]

    eventually(lambda: {(t.kind, t.msg_id) for t in told()} >= wanted, WITHIN_S, "not all traces came", poll_s=0.5)
    sends = [trace for trace in told() if trace.kind is TraceKind.PUB]
    assert {(t.topic, t.keys, t.success) for t in sends} == {(bench.topic, f"k-{n}", True) for n in range(COUNT)}


@pytest.mark.parametrize("crew", ["java-5.5.0"], indirect=True)
def test_our_clients_traces_are_read_by_the_official_one(bench: Bench) -> None:
    topic = f"trace-{bench.mark}"
    plain = bench.producer(bench.drivers[0])
    plain.create_topic(queues=2)
    plain.create_topic(topic=topic, queues=2)

    async def scenario() -> list[str]:
        seen: list[str] = []

        async def listener(messages: list[MessageExt]) -> None:
            seen.extend(message.msg_id for message in messages)

        first = ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET
        servers = bench.cluster.namesrv_address
        producer = Producer("traced", name_servers=servers, options=ProducerOptions(trace=True, trace_topic=topic))
        consumer = PushConsumer(
            bench.group,
            listener,
            name_servers=servers,
            options=ConsumerOptions(consume_from_where=first, trace=True, trace_topic=topic),
        )
        consumer.subscribe(bench.topic)
        async with producer, consumer:
            ids = [(await producer.send(Message.of(bench.topic, b"x", keys="k"))).message_id for _ in range(COUNT)]
            limit = time.monotonic() + WITHIN_S
            while len(seen) < COUNT:
                assert time.monotonic() < limit
                await asyncio.sleep(0.05)
        return ids

    ids = asyncio.run(scenario())
    read: list[dict[str, Any]] = []
    for text in asyncio.run(texts(bench, topic)):
        read += bench.ask(bench.drivers[0], "decode_traces", text=text)["traces"]
    kinds = ("Pub", "SubBefore", "SubAfter")
    assert Counter((each["kind"], each["msg_id"]) for each in read) == Counter((kind, one) for one in ids for kind in kinds)
    assert {(each["keys"], each["success"]) for each in read} == {("k", True)}
    assert {each["group"] for each in read if each["kind"] == "Pub"} == {"traced"}
    assert {each["group"] for each in read if each["kind"] != "Pub"} == {bench.group}
    pairs = {each["kind"]: {e["request_id"] for e in read if e["kind"] == each["kind"]} for each in read}
    assert pairs["SubBefore"] == pairs["SubAfter"]
