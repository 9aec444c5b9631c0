"""The hot path: one behaviour at two speeds, whatever the bytes and however they are split."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry.model import Message
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand, decode_frame, encode_command
from gantry.protocol.remoting.frame import FrameDecoder
from gantry.testing import settle
from tests.unit.broker.broker_rig import BrokerRig, pull_request, send_request


class RawClient:
    """A connection that sends bytes as it likes and keeps what comes back."""

    def __init__(self) -> None:
        self.decoder = FrameDecoder()
        self.answers: list[RemotingCommand] = []
        self.reads = 0
        self.closed = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        self.decoder.receive_data(data)
        while (frame := self.decoder.next_frame()) is not None:
            self.answers.append(decode_frame(frame))

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


async def raw(rig: BrokerRig) -> RawClient:
    client = RawClient()
    await rig.net.connect("127.0.0.1", rig.config.listen_port, lambda: client, 1000)
    return client


def frames(commands: list[RemotingCommand]) -> bytes:
    for number, command in enumerate(commands):
        command.opaque = number
    return b"".join(encode_command(command) for command in commands)


@pytest.mark.parametrize("step", [1, 7, 64, 1000, 1 << 20])
async def test_any_split_of_the_stream_gives_the_same_messages_and_answers(step: int) -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        client = await raw(rig)
        stream = frames(
            [
                *(send_request("T", b"%d" % n, queue_id=1, serialize_type=n % 2, v1=n % 3 == 0) for n in range(10)),
                send_request("T", batch=[Message(topic="T", body=b"b%d" % n) for n in range(3)], queue_id=1),
                send_request("T", b"rare", queue_id=1, unique_key=None),
                pull_request("T", 1, 0),
                send_request("T", b"last", queue_id=1),
            ]
        )
        for start in range(0, len(stream), step):
            client.transport.write(stream[start : start + step])
            await settle()
        assert sorted(a.opaque for a in client.answers) == list(range(14))
        assert {a.code for a in client.answers} <= {0}
        bodies = [m.body for m in await rig.messages("T", 1)]
        assert sorted(bodies) == sorted([b"%d" % n for n in range(10)] + [b"b0", b"b1", b"b2", b"rare", b"last"])
        assert bodies[:10] == [b"%d" % n for n in range(10)]


async def test_answers_of_one_read_leave_in_one_write() -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        client = await raw(rig)
        client.transport.write(frames([send_request("T", queue_id=1) for _ in range(64)]))
        await settle()
        assert len(client.answers) == 64
        assert client.reads == 1
        assert [int((a.ext_fields or {})["queueOffset"]) for a in client.answers] == list(range(64))


async def test_whole_frames_before_garbage_are_served_and_the_connection_ends() -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        client = await raw(rig)
        client.transport.write(frames([send_request("T", b"kept", queue_id=1)]) + b"GET / HTTP/1.1\r\n\r\n")
        await settle()
        assert client.closed
        assert [a.code for a in client.answers] == [0]
        assert [m.body for m in await rig.messages("T", 1)] == [b"kept"]
        assert (await rig.send("T")).code == 0


async def test_garbage_behind_frames_ends_its_own_connection_only() -> None:
    async with BrokerRig() as rig:
        bad, good = await raw(rig), await raw(rig)
        bad.transport.write(frames([pull_request("missing", 0, 0)]) + b"GET / HTTP/1.1\r\n\r\n")
        await settle()
        assert bad.closed
        good.transport.write(frames([pull_request("missing", 0, 0)]))
        await settle()
        assert not good.closed
        assert len(good.answers) == 1


async def test_failed_write_refuses_all_sends_of_the_read_and_stores_none() -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        end = rig.context.store.max_physical_offset
        client = await raw(rig)
        rig.disk.fail("pwrite", error=28, partial=True)
        client.transport.write(frames([send_request("T", b"%d" % n, queue_id=1) for n in range(5)]))
        await settle()
        assert {a.code for a in client.answers} == {ResponseCode.SERVICE_NOT_AVAILABLE}
        assert len(client.answers) == 5
        assert rig.context.store.max_physical_offset == end
        rig.disk.heal()
        await rig.clock.run_ms(5000)
        answer = await rig.send("T", b"next", queue_id=1)
        assert (answer.ext_fields or {})["queueOffset"] == "0"
        assert [m.body for m in await rig.messages("T", 1)] == [b"next"]


async def test_too_many_waiting_sends_are_answered_busy_before_they_are_stored() -> None:
    async with BrokerRig(flush_disk_type="SYNC_FLUSH", send_wait_count_max=3) as rig:
        await rig.send("T")
        release = asyncio.Event()
        rig.disk.before_run = release.wait
        client = await raw(rig)
        client.transport.write(frames([send_request("T", b"%d" % n, queue_id=1) for n in range(3)]))
        await settle()
        assert client.answers == []
        late = await rig.send("T", b"late", queue_id=1)
        assert late.code == ResponseCode.SYSTEM_BUSY
        release.set()
        await settle()
        assert [a.code for a in client.answers] == [0, 0, 0]
        assert (await rig.send("T", b"now", queue_id=1)).code == 0
        assert [m.body for m in await rig.messages("T", 1)] == [b"0", b"1", b"2", b"now"]


async def test_sends_that_wait_for_nothing_are_not_held_up_by_the_sync() -> None:
    async with BrokerRig(flush_disk_type="SYNC_FLUSH") as rig:
        await rig.send("T")
        release = asyncio.Event()
        rig.disk.before_run = release.wait
        client = await raw(rig)
        client.transport.write(
            frames(
                [
                    send_request("T", b"waits", queue_id=1),
                    send_request("T", b"does not", queue_id=1, properties={"WAIT": "false"}),
                ]
            )
        )
        await settle()
        assert [a.opaque for a in client.answers] == [1]
        # Not on the disk yet, so nobody sees them.
        assert rig.context.store.max_offset("T", 1) == 0
        release.set()
        await settle()
        assert [a.opaque for a in client.answers] == [1, 0]
        assert rig.context.store.max_offset("T", 1) == 2


_NAMES = st.sampled_from(
    [
        "KEYS",
        "TAGS",
        "WAIT",
        "DELAY",
        "TRAN_MSG",
        "TIMER_DELAY_MS",
        "POP_CK",
        "INNER_NUM",
        "CLUSTER",
        "MSG_REGION",
        "TRACE_ON",
        "a",
        "UNIQ_KEY",
    ]
)
_VALUES = st.sampled_from(["true", "false", "1", "-1", "0", "x", "Ж", "TIMER_D", "a b"])
_SENDS = st.fixed_dictionaries(
    {
        "topic": st.sampled_from(["T", "New", "%RETRY%g", "bad name", "SCHEDULE_TOPIC_XXXX", "DefaultCluster"]),
        "body": st.binary(max_size=20),
        "queue_id": st.sampled_from([-1, 0, 1, 3, 4, 99]),
        "properties": st.dictionaries(_NAMES, _VALUES, max_size=4),
        "sys_flag": st.sampled_from([0, 1, 2, 4, 8, 12, 0x40, 0x80, 0x101]),
        "unique_key": st.sampled_from([None, "UNIQUE-1", 'quote"d', "ünique"]),
        "serialize_type": st.sampled_from([0, 1]),
        "v1": st.booleans(),
        "reconsume_times": st.sampled_from([0, 3]),
        "flag": st.sampled_from([0, -1, 7]),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sends=st.lists(_SENDS, min_size=1, max_size=6))
def test_a_broker_without_the_engine_answers_and_stores_the_same(sends: list[dict[str, Any]]) -> None:
    asyncio.run(_compare(sends))


async def _compare(sends: list[dict[str, Any]]) -> None:
    async with BrokerRig() as hot, BrokerRig() as cold:
        cold.controller._server._ingest_factory = None
        for rig in (hot, cold):
            await rig.send("T")
        for send in sends:
            answers = [await rig.ask(send_request(**_copied(send))) for rig in (hot, cold)]
            assert answers[0].code == answers[1].code
            shown = [dict(answer.ext_fields or {}) for answer in answers]
            if send["unique_key"] is None and "UNIQ_KEY" not in send["properties"]:
                for fields in shown:
                    fields.pop("transactionId", None)
            assert shown[0] == shown[1]
            if answers[0].code != 0:
                assert (answers[0].remark or "").split("Producer")[0] == (answers[1].remark or "").split("Producer")[0]
        for topic in hot.context.store.topics():
            for queue_id in hot.context.store.queue_ids(topic):
                left, right = [await _stored(rig, topic, queue_id) for rig in (hot, cold)]
                assert left == right


def _copied(send: dict[str, Any]) -> dict[str, Any]:
    return {**send, "properties": dict(send["properties"])}


async def _stored(rig: BrokerRig, topic: str, queue_id: int) -> list[Any]:
    found = []
    for message in await rig.messages(topic, queue_id):
        properties = dict(message.properties)
        if len(properties.get("UNIQ_KEY", "")) == 32:
            properties["UNIQ_KEY"] = "made by the broker"
        found.append((message.body, message.flag, message.sys_flag, message.queue_offset, message.reconsume_times, properties))
    return found
