"""What clients tell of their messages, when, and that nobody waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.client import ConsumeResult, Doors, Message, MessageExt, Producer, ProducerOptions
from gantry.client.message_trace import PENDING_MAX, MessageTraces
from gantry.errors import RemotingTimeout
from gantry.protocol.message.trace import ConsumeReturnType, Trace, TraceKind, TraceMessageType, decode_traces
from gantry.testing import VirtualClock
from tests.unit.client.fake_cluster import NAME_SERVER, FakeCluster, drive

TOPIC = "RMQ_SYS_TRACE_TOPIC"


class Sink:
    """Takes what is sent; fails as long as it is told to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.fails = False

    async def __call__(self, message: Message) -> None:
        if self.fails:
            raise RemotingTimeout("no answer")
        self.messages.append(message)

    @property
    def traces(self) -> list[Trace]:
        return [trace for message in self.messages for trace in decode_traces(message.body.decode())]


async def test_a_producer_tells_of_its_sends_in_one_message_for_many(
    doors: Doors, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.topics.update({"T": 2, TOPIC: 1})
    options = ProducerOptions(trace=True)
    producer = Producer("p", name_servers=NAME_SERVER, doors=doors, remoting=cluster, options=options)
    await producer.start()
    ordered = Message.of("T", b"body", tags="A", keys="k1 k2")
    ordered.properties["__SHARDINGKEY"] = "s"
    results = [await drive(clock, producer.send(ordered))]
    results += [await drive(clock, producer.send(Message.of("T", b"x"))) for _ in range(3)]
    assert cluster.bodies(TOPIC) == [], "traces wait for each other"
    await drive(clock, producer.stop())
    (body,) = cluster.bodies(TOPIC)
    traces = decode_traces(body.decode())
    assert [trace.msg_id for trace in traces] == [result.message_id for result in results]
    first = traces[0]
    assert (first.kind, first.group, first.topic, first.tags, first.keys) == (TraceKind.PUB, "p", "T", "A", "k1 k2")
    assert (first.body_length, first.message_type, first.success) == (4, TraceMessageType.ORDER, True)
    assert first.offset_msg_id == results[0].offset_message_id
    assert traces[1].message_type is TraceMessageType.NORMAL


def message(body: bytes = b"x", **properties: str) -> MessageExt:
    own = {"MSG_REGION": "R", "KEYS": "k", **properties}
    return MessageExt(topic="T", body=body, msg_id="M1", properties=own, reconsume_times=2)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, ConsumeReturnType.SUCCESS),
        (ConsumeResult.SUCCESS, ConsumeReturnType.SUCCESS),
        (ConsumeResult.RECONSUME_LATER, ConsumeReturnType.FAILED),
        (ValueError("no"), ConsumeReturnType.EXCEPTION),
        (asyncio.CancelledError(), ConsumeReturnType.TIME_OUT),
    ],
)
async def test_a_consumption_is_told_before_and_after(clock: VirtualClock, answer: Any, code: ConsumeReturnType) -> None:
    sink = Sink()
    traces = MessageTraces("g", TOPIC, clock, sink)
    traces.start()

    async def inner(messages: list[MessageExt]) -> Any:
        await clock.sleep_ms(30)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    listener: Any = traces.listener(inner, lambda: "REQUEST")
    if isinstance(answer, BaseException):
        with pytest.raises(type(answer)):
            await drive(clock, listener([message(), message(TRACE_ON="false")]))
    else:
        assert await drive(clock, listener([message(), message(TRACE_ON="false")])) is answer
    await drive(clock, traces.stop())
    before, after = sink.traces
    assert (before.kind, before.msg_id, before.region, before.group) == (TraceKind.SUB_BEFORE, "M1", "R", "g")
    assert (before.request_id, before.retry_times, before.keys) == ("REQUEST", 2, "k")
    assert (after.kind, after.msg_id, after.request_id, after.cost_ms) == (TraceKind.SUB_AFTER, "M1", "REQUEST", 15)
    assert (after.context_code, after.success) == (code, code is ConsumeReturnType.SUCCESS)
    assert {key for sent in sink.messages for key in (sent.keys or "").split()} == {"M1", "k"}


async def test_traces_that_nobody_takes_are_dropped_and_nobody_waits(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Sink()
    sink.fails = True
    traces = MessageTraces("g", TOPIC, clock, sink)
    for number in range(PENDING_MAX + 5):
        traces.append(Trace(TraceKind.RECALL, f"M{number}"))
    traces.start()
    await drive(clock, traces.stop())
    assert "traces are lost" in caplog.text
    assert "5 traces are lost, they came faster" in caplog.text


async def test_few_traces_go_after_a_second(clock: VirtualClock) -> None:
    sink = Sink()
    traces = MessageTraces("g", TOPIC, clock, sink)
    traces.start()
    traces.recalled("T", "M1")
    await clock.run_ms(900)
    assert sink.messages == []
    await clock.run_ms(200)
    assert [trace.msg_id for trace in sink.traces] == ["M1"]
    await drive(clock, traces.stop())
