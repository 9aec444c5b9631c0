"""PopConsumer over two brokers in a dictionary, and what it reads and writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gantry.client import Doors, MessageExt, MessageQueue, PopConsumer
from gantry.client.pop_api import batch_entries, give_handles
from gantry.errors import ClientError, ConfigError, LocalProtocolError, RemoteProtocolError, RemotingConnectError
from gantry.model.heartbeat import CONSUME_POP
from gantry.protocol import json_dialect
from gantry.protocol.message import decode_record, pop_handle
from gantry.protocol.remoting import RemotingCommand, RequestCode, ResponseCode
from gantry.protocol.remoting.body.batch_ack import BatchAckRequestBody
from gantry.protocol.remoting.header.ack_message import AckMessageRequestHeader
from gantry.protocol.remoting.header.change_message_invisibletime import (
    ChangeInvisibleTimeRequestHeader,
    ChangeInvisibleTimeResponseHeader,
)
from gantry.protocol.remoting.header.notification import NotificationRequestHeader, NotificationResponseHeader
from gantry.protocol.remoting.header.pop_message import PopMessageRequestHeader, PopMessageResponseHeader
from gantry.testing import VirtualClock
from tests.unit.client.fake_cluster import BROKERS, NAME_SERVER, FakeCluster, drive

A, B = MessageQueue("T", "broker-a", 0), MessageQueue("T", "broker-b", 0)
ADDRESS = {name: address for address, name in BROKERS.items()}


class FakePops(FakeCluster):
    """Gives each message once; waits as asked; notes what is acknowledged and changed."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.popped: dict[MessageQueue, int] = {}
        self.acknowledged: list[tuple[str, int, int]] = []
        self.changed: list[ChangeInvisibleTimeRequestHeader] = []
        self.full = False

    async def invoke(self, address: str, command: RemotingCommand, timeout_ms: float) -> RemotingCommand:
        handler = {
            RequestCode.POP_MESSAGE: self._pop,
            RequestCode.NOTIFICATION: self._notify,
            RequestCode.ACK_MESSAGE: self._ack,
            RequestCode.BATCH_ACK_MESSAGE: self._batch_ack,
            RequestCode.CHANGE_MESSAGE_INVISIBLETIME: self._change,
        }.get(RequestCode(command.code))
        if handler is None or address in self.down or (address, command.code) in self.refuse:
            return await super().invoke(address, command, timeout_ms)
        self.requests.append((address, command))
        await self.clock.sleep_ms(1)
        return await handler(BROKERS[address], command)

    def _there(self, queue: MessageQueue) -> int:
        return len(self.records[queue]) - self.popped.get(queue, 0)

    async def _wait(self, queue: MessageQueue, ms: int) -> None:
        until = self.clock.monotonic_ms() + ms
        while not self._there(queue) and self.clock.monotonic_ms() < until:
            await self.clock.sleep_ms(5)

    async def _pop(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        header = PopMessageRequestHeader.decode(command.ext_fields)
        assert (header.queue_id, command.field("bname")) == (-1, broker)
        queue = MessageQueue(header.topic, broker, 0)
        if self.full:
            return command.reply(ResponseCode.POLLING_FULL, header=PopMessageResponseHeader())
        await self._wait(queue, header.poll_time)
        at = self.popped.get(queue, 0)
        records = self.records[queue][at : at + header.max_msg_nums]
        if not records:
            return command.reply(ResponseCode.POLLING_TIMEOUT, header=PopMessageResponseHeader())
        self.popped[queue] = at + len(records)
        offsets = [decode_record(record).queue_offset for record in records]
        answer = PopMessageResponseHeader(
            pop_time=self.clock.now_ms(),
            invisible_time=header.invisible_time,
            revive_qid=3,
            start_offset_info=pop_handle.start_offset_entry(header.topic, 0, at),
            msg_offset_info=pop_handle.msg_offset_entry(header.topic, 0, offsets),
        )
        return command.reply(0, header=answer, body=b"".join(records))

    async def _notify(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        header = NotificationRequestHeader.decode(command.ext_fields)
        queue = MessageQueue(header.topic, broker, 0)
        await self._wait(queue, header.poll_time)
        return command.reply(0, header=NotificationResponseHeader(has_msg=self._there(queue) > 0))

    async def _ack(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        header = AckMessageRequestHeader.decode(command.ext_fields)
        self.acknowledged.append((broker, header.queue_id, header.offset))
        return command.reply()

    async def _batch_ack(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        body = json_dialect.decode_request(command.body, BatchAckRequestBody)
        assert body.broker_name == broker
        self.acknowledged += [(broker, entry.q, offset) for entry in body.acks or () for offset in entry.offsets()]
        return command.reply()

    async def _change(self, broker: str, command: RemotingCommand) -> RemotingCommand:
        header = ChangeInvisibleTimeRequestHeader.decode(command.ext_fields)
        self.changed.append(header)
        answer = ChangeInvisibleTimeResponseHeader(
            pop_time=self.clock.now_ms(), invisible_time=header.invisible_time, revive_qid=5
        )
        return command.reply(0, header=answer)


@pytest.fixture
def pops(clock: VirtualClock) -> FakePops:
    cluster = FakePops(clock)
    cluster.topics["T"] = 1
    return cluster


@pytest.fixture
async def consumer(doors: Doors, pops: FakePops, clock: VirtualClock) -> AsyncIterator[PopConsumer]:
    consumer = PopConsumer("g", name_servers=NAME_SERVER, doors=doors, remoting=pops)
    await consumer.start()
    consumer.subscribe("T")
    yield consumer
    await drive(clock, consumer.stop())


async def test_messages_of_every_broker_come_and_acks_go_where_they_came_from(
    consumer: PopConsumer, pops: FakePops, clock: VirtualClock
) -> None:
    for queue in (A, B):
        for n in range(3):
            pops.put(queue, b"%d" % n)
    first = await drive(clock, consumer.receive())
    second = await drive(clock, consumer.receive())
    assert sorted((m.broker_name, m.body) for m in first + second) == [
        (name, b"%d" % n) for name in ("broker-a", "broker-b") for n in range(3)
    ]
    assert len({m.broker_name for m in first}) == 1
    await drive(clock, consumer.ack(*first, second[0]))
    assert sorted(pops.acknowledged) == sorted(
        [(first[0].broker_name, 0, n) for n in range(3)] + [(second[0].broker_name, 0, 0)]
    )
    assert pops.codes().count(RequestCode.BATCH_ACK_MESSAGE) == 1
    assert pops.codes().count(RequestCode.ACK_MESSAGE) == 1


async def test_waiting_at_two_brokers_takes_only_what_is_asked_for(
    consumer: PopConsumer, pops: FakePops, clock: VirtualClock
) -> None:
    waiting = asyncio.ensure_future(consumer.receive(1))
    await clock.run_ms(200)
    assert not waiting.done()
    pops.put(A, b"a")
    pops.put(B, b"b")
    (message,) = await drive(clock, waiting, ms=500)
    assert sum(pops.popped.values()) == 1
    (other,) = await drive(clock, consumer.receive(1))
    assert {message.body, other.body} == {b"a", b"b"}


async def test_receive_ends_in_time_and_does_not_ask_in_a_circle(
    consumer: PopConsumer, pops: FakePops, clock: VirtualClock
) -> None:
    pops.full = True
    began = clock.monotonic_ms()
    assert await drive(clock, consumer.receive(timeout_ms=2_000)) == []
    assert 2_000 <= clock.monotonic_ms() - began < 2_200
    assert pops.codes().count(RequestCode.POP_MESSAGE) < 50


async def test_a_broker_that_is_away_does_not_hide_the_other(
    consumer: PopConsumer, pops: FakePops, clock: VirtualClock
) -> None:
    pops.down.add(ADDRESS["broker-a"])
    pops.put(B, b"b")
    assert [m.body for m in await drive(clock, consumer.receive())] == [b"b"]
    pops.down.add(ADDRESS["broker-b"])
    with pytest.raises(RemotingConnectError):
        await drive(clock, consumer.receive())


async def test_a_topic_that_does_not_exist_yet_is_waited_for(
    consumer: PopConsumer, pops: FakePops, clock: VirtualClock
) -> None:
    consumer.unsubscribe("T")
    consumer.subscribe("Later")
    waiting = asyncio.ensure_future(consumer.receive())
    await clock.run_ms(300)
    pops.topics["Later"] = 1
    pops.put(MessageQueue("Later", "broker-b", 0), b"there")
    assert [m.body for m in await drive(clock, waiting, ms=1_000)] == [b"there"]


async def test_messages_whose_tag_only_has_the_same_hash_are_done(
    consumer: PopConsumer, pops: FakePops, clock: VirtualClock
) -> None:
    consumer.subscribe("T", "Aa")  # the same Java hash as BB
    pops.put(A, b"wanted", b"TAGS\x01Aa\x02")
    pops.put(A, b"other", b"TAGS\x01BB\x02")
    assert [m.body for m in await drive(clock, consumer.receive())] == [b"wanted"]
    assert pops.acknowledged == [("broker-a", 0, 1)]


async def test_what_fails_too_often_becomes_a_dead_letter(doors: Doors, pops: FakePops, clock: VirtualClock) -> None:
    consumer = PopConsumer("g", name_servers=NAME_SERVER, doors=doors, remoting=pops, max_reconsume_times=0)
    await consumer.start()
    consumer.subscribe("T")
    for body in (b"again", b"fresh"):
        pops.put(A, body)
    times = decode_record(pops.records[A][0])
    assert times.reconsume_times == 0
    pops.records[A][0] = _with_reconsume_times(pops.records[A][0], 1)
    assert [m.body for m in await drive(clock, consumer.receive())] == [b"fresh"]
    (dead,) = pops.sent_back
    assert (dead.group, dead.delay_level, dead.offset, dead.origin_topic) == ("g", -1, times.physical_offset, "T")
    assert pops.acknowledged == [("broker-a", 0, 0)]
    await drive(clock, consumer.stop())


async def test_a_changed_time_gives_a_new_handle(consumer: PopConsumer, pops: FakePops, clock: VirtualClock) -> None:
    pops.put(A, b"1")
    (message,) = await drive(clock, consumer.receive())
    before = message.properties["POP_CK"]
    await drive(clock, consumer.change_invisible_duration(message, 9_000))
    assert (pops.changed[0].extra_info, pops.changed[0].invisible_time) == (before, 9_000)
    receipt = pop_handle.parse_receipt(message.properties["POP_CK"])
    assert (receipt.invisible_time, receipt.revive_qid, receipt.broker_name, receipt.queue_offset) == (9_000, 5, "broker-a", 0)


async def test_a_cancelled_receive_leaves_its_messages_to_the_next(
    consumer: PopConsumer, pops: FakePops, clock: VirtualClock
) -> None:
    pops.topics["One"] = 1
    consumer.unsubscribe("T")
    consumer.subscribe("One")
    pops.down.add(ADDRESS["broker-b"])
    waiting = asyncio.ensure_future(consumer.receive(8))
    await clock.run_ms(2)
    pops.put(MessageQueue("One", "broker-a", 0), b"kept")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [m.body for m in await drive(clock, consumer.receive())] == [b"kept"]


async def test_brokers_are_told_that_this_group_pops(consumer: PopConsumer, pops: FakePops, clock: VirtualClock) -> None:
    await drive(clock, consumer.receive(timeout_ms=0))
    await clock.run_ms(50)
    (data,) = pops.heartbeats[-1][1].consumer_data_set
    assert (data.group_name, data.consume_type) == ("g", CONSUME_POP)
    assert consumer.running_info()["properties"]["PROP_CONSUME_TYPE"] == CONSUME_POP


async def test_what_makes_no_sense_is_refused(doors: Doors, pops: FakePops) -> None:
    with pytest.raises(ClientError):
        PopConsumer("a b", name_servers=NAME_SERVER)
    for settings in ({"invisible_ms": 0}, {"max_reconsume_times": -1}):
        with pytest.raises(ConfigError):
            PopConsumer("g", name_servers=NAME_SERVER, **settings)
    consumer = PopConsumer("g", name_servers=NAME_SERVER, doors=doors, remoting=pops)
    with pytest.raises(ClientError):
        await consumer.receive()
    await consumer.start()
    for count in (0, 33):
        with pytest.raises(ClientError):
            await consumer.receive(count)
    with pytest.raises(ClientError):
        await consumer.ack(MessageExt(topic="T", body=b""))
    await consumer.stop()


def test_handles_as_the_official_client_makes_them() -> None:
    fresh = MessageExt(topic="T", queue_id=2, queue_offset=12, body=b"")
    again = MessageExt(topic="T", queue_id=0, queue_offset=4, properties={"POP_CK": "inside", "1ST_POP_TIME": "5"}, body=b"")
    retried = MessageExt(topic="%RETRY%g_T", queue_id=0, queue_offset=4, body=b"")
    answer = PopMessageResponseHeader(
        pop_time=1_000, invisible_time=60, revive_qid=7, start_offset_info="0 2 10;1 0 3", msg_offset_info="0 2 12;1 0 4"
    )
    give_handles([fresh, again, retried], answer, "b")
    assert fresh.properties == {"POP_CK": "10 1000 60 7 0 b 2 12", "1ST_POP_TIME": "1000"}
    assert again.properties == {"POP_CK": "inside", "1ST_POP_TIME": "5"}
    assert retried.properties["POP_CK"] == "3 1000 60 7 1 b 0 4"
    assert pop_handle.join_receipt(pop_handle.parse_receipt("3 1000 60 7 1 b 0 4")) == "3 1000 60 7 1 b 0 4"
    for wrong in ("", "1 2 3", "a 1000 60 7 1 b 0 4", "3 1000 60 7 1 b 0"):
        with pytest.raises(LocalProtocolError):
            pop_handle.parse_receipt(wrong)
    with pytest.raises(RemoteProtocolError):
        pop_handle.parse_start_offsets("0 2")


def test_a_batch_ack_has_an_entry_a_pop_and_queue() -> None:
    handles = ["10 1000 60 7 0 b 2 12", "10 1000 60 7 0 b 2 10", "10 1001 60 7 0 b 2 13", "3 1000 60 7 1 b 0 4"]
    entries = batch_entries("g", [("T", handle) for handle in handles])
    assert [(e.q, e.r, e.so, e.pt, list(e.offsets())) for e in entries] == [
        (2, "0", 10, 1000, [10, 12]), (2, "0", 10, 1001, [13]), (0, "1", 3, 1000, [4]),
    ]  # fmt: skip


def _with_reconsume_times(record: bytes, times: int) -> bytes:
    at = 72  # of its four bytes in the record
    assert record[at : at + 4] == bytes(4)
    return record[:at] + times.to_bytes(4, "big") + record[at + 4 :]
