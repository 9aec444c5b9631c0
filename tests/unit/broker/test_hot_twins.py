"""The compiled engine against the pure one: what it takes itself, it stores and answers byte for byte the same."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace
from typing import Any

import pytest

from gantry._core import ACCEL
from gantry.model import TopicConfig
from gantry.protocol.remoting.command import SERIALIZE_JSON, SERIALIZE_ROCKETMQ, RemotingCommand, encode_command
from gantry.protocol.remoting.frame import FRAME_BYTES_MAX, HEADER_BYTES_MAX
from gantry.testing import settle
from tests.hot_twins import compare, compare_transactions, compiled_engine, rig_with_topics
from tests.unit.broker.broker_rig import GROUP, BrokerRig, pull_request

pytestmark = pytest.mark.skipif(ACCEL != "c", reason="the compiled core is not in use: there is nothing to compare")


@pytest.mark.parametrize("seed", range(6))
async def test_what_the_compiled_engine_takes_is_what_the_pure_one_would_have_done(seed: int) -> None:
    assert (await compare(seed, 150))[0] > 200


async def test_ordinary_sends_are_all_taken() -> None:
    rng = random.Random(1)
    rig = await rig_with_topics()
    try:
        engine = compiled_engine(rig)
        channel: Any = SimpleNamespace(remote_host="10.0.0.7", remote_port=4711)
        from gantry.model import Message
        from gantry.protocol.remoting.command import encode_command
        from tests.unit.broker.broker_rig import send_request

        for kind in (0, 1):
            for v1 in (False, True):
                plan = engine.plan()
                decoder = engine.decoder(FRAME_BYTES_MAX, HEADER_BYTES_MAX)
                single = send_request("T", rng.randbytes(100), queue_id=1, serialize_type=kind, v1=v1, properties={"TAGS": "A"})
                several = send_request(
                    "T", batch=[Message(topic="T", body=b"1"), Message(topic="T", body=b"2")], queue_id=1, serialize_type=kind
                )
                frames = encode_command(single) + encode_command(several)
                assert engine.ingest(plan, decoder, channel, frames) == []
                assert plan.message_count == 3
                rig.context.store.abort(plan.store_plan)
    finally:
        await rig.__aexit__()


@pytest.mark.parametrize("seed", range(4))
async def test_halves_and_their_ends_are_laid_out_alike(seed: int) -> None:
    taken, tried = await compare_transactions(seed, 150)
    assert taken > 0.4 * tried
    assert (await compare_transactions(seed, 120, odd=0.5))[0] > 20


async def test_halves_and_their_ends_roll_to_the_next_file_alike_and_fill_op_messages() -> None:
    assert (await compare_transactions(80, 80, odd=0, mapped_file_size_commit_log=8192, transaction_op_msg_max_size=20))[
        0
    ] > 200
    assert (await compare_transactions(81, 80, odd=0, broker_ip1="::1"))[0] > 200


async def test_senders_and_brokers_with_long_addresses_are_the_same_too() -> None:
    assert (await compare(77, 60, host="2001:db8::1"))[0] > 100
    assert (await compare(78, 60, broker_ip1="::1"))[0] > 100


async def test_records_roll_to_the_next_file_alike() -> None:
    assert (await compare(79, 120, odd=0.02, mapped_file_size_commit_log=8192))[0] > 200


TAGS = ("A", "B", "C", None)


async def filled(rig: BrokerRig, messages: int) -> None:
    rng = random.Random(5)
    await rig.heartbeat("T", "Other", expression="A || B")
    for number in range(messages):
        tag = rng.choice(TAGS)
        await rig.send(
            rng.choice(("T", "Other")),
            b"%d " % number * rng.randrange(1, 40),
            queue_id=rng.randrange(4),
            unique_key=f"KEY{number}",
            properties={"TAGS": tag} if tag else {},
        )


def random_pull(rng: random.Random) -> RemotingCommand:
    command = pull_request(
        rng.choice(("T", "T", "Other", "Missing")),
        rng.choice((0, 1, 2, 3, 7)),
        rng.choice((0, 0, 1, 5, 30, 49, 1000)),
    )
    command.serialize_type = rng.randrange(2)
    fields = command.ext_fields
    assert fields is not None
    fields["maxMsgNums"] = rng.choice(("1", "3", "32", "0", "999"))
    # Never one that waits: 2 would.
    fields["sysFlag"] = rng.choice(("4", "4", "5", "0", "1"))
    fields["commitOffset"] = rng.choice(("0", "7", "99999"))
    fields["subscription"] = rng.choice(("*", "A", "A || C", "", "||", "TAGS <> 'B'"))
    fields["subVersion"] = rng.choice(("0", "1", "2"))
    if rng.random() < 0.2:
        fields["maxMsgBytes"] = rng.choice(("1", "200", "100000"))
    if rng.random() < 0.2:
        fields["expressionType"] = rng.choice(("TAG", "SQL92", "SQL92", ""))
    if rng.random() < 0.1:
        fields[rng.choice(("queueId", "queueOffset", "sysFlag", "maxMsgNums"))] = rng.choice(("-1", "x", "", "01"))
    if rng.random() < 0.05:
        del fields[rng.choice(list(fields))]
    if rng.random() < 0.3:
        fields["consumerGroup"] = rng.choice((GROUP, "others", "bad group"))
    return command


async def exchange(rig: BrokerRig, frames: list[bytes]) -> list[bytes]:
    """One connection a frame, and what came back on it."""
    found = []
    for frame in frames:
        client = Collector()
        await rig.net.connect("127.0.0.1", rig.config.listen_port, lambda client=client: client, 1000)
        client.transport.write(frame)
        await settle()
        found.append(bytes(client.data))
        client.transport.close()
        await settle()
    return found


class Collector:
    def __init__(self) -> None:
        self.data = bytearray()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


@pytest.mark.parametrize("by_property", [False, True], ids=["tags", "properties too"])
@pytest.mark.parametrize("hot_tail_bytes_max", [1 << 20, 0], ids=["newest", "from files"])
async def test_pulls_are_answered_as_the_processor_answers_them(hot_tail_bytes_max: int, by_property: bool) -> None:
    settings = {"hot_tail_bytes_max": hot_tail_bytes_max, "enable_property_filter": by_property}
    async with BrokerRig(**settings) as hot, BrokerRig(**settings) as cold:
        cold.controller._server._ingest_factory = None
        for rig in (hot, cold):
            for name in ("T", "Other"):
                await rig.context.topics.create_if_absent(TopicConfig(topic_name=name, read_queue_nums=4, write_queue_nums=4))
            await filled(rig, 400)
            if not hot_tail_bytes_max:
                await rig.context.store.checkpoint()
                for queue in rig.context.store.queue_table:
                    queue.trim(0)
        for rig in (hot, cold):
            await rig.heartbeat("T", group="others", expression="TAGS = 'A'", expression_type="SQL92")
        rng = random.Random(9)
        engine: Any = hot.controller._turn.engine
        found = 0
        for number in range(700):
            command = random_pull(rng)
            command.opaque = number
            frame = encode_command(command)
            first, second = await exchange(hot, [frame]), await exchange(cold, [frame])
            assert [hide_port(data) for data in first] == [hide_port(data) for data in second], command
            found += b"FOUND" in first[0]
        assert found > 150
        assert engine.pulls_answered > 100
        for name in ("table", "pull_table"):
            assert getattr(hot.context.offsets, name) == getattr(cold.context.offsets, name)
        assert hot.context.stats.totals == cold.context.stats.totals


def hide_port(data: bytes) -> bytes:
    return re.sub(rb"127\.0\.0\.1:\d+", b"peer", data)


@pytest.mark.parametrize("kind", [SERIALIZE_JSON, SERIALIZE_ROCKETMQ])
@pytest.mark.parametrize("expression", ["*", "A || B", None])
async def test_held_pulls_are_answered_as_the_processor_answers_them(kind: int, expression: str | None) -> None:
    """By the engine where it can, and by the processor where the engine is not asked: byte for byte the same."""
    seen: list[Any] = []
    for short in (True, False):
        async with BrokerRig() as rig:
            if not short:
                rig.context.long_polling.short_way = lambda held: None
            await rig.send("T", b"first", properties={"TAGS": "A"})
            await rig.heartbeat("T")
            reader = Collector()
            await rig.net.connect("127.0.0.1", rig.config.listen_port, lambda reader=reader: reader, 1000)
            request = pull_request("T", 0, 1, expression=expression, suspend_ms=15_000, commit=1, sub_version=1)
            request.serialize_type, request.opaque = kind, 77
            reader.transport.write(encode_command(request))
            await settle()
            assert rig.context.long_polling.count == 1
            assert reader.data == b""
            await rig.send("T", b"second", properties={"TAGS": "B"})
            await settle()
            assert b"second" in reader.data
            engine: Any = rig.controller._turn.engine
            assert (engine.pulls_answered == 1) == short, "the engine was asked, or not"
            offsets, stats = rig.context.offsets, rig.context.stats
            seen.append((hide_port(bytes(reader.data)), offsets.table, offsets.pull_table, stats.totals))
    assert seen[0] == seen[1]
