from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gantry.client import (
    ConsumeFromWhere,
    ConsumeResult,
    ConsumerOptions,
    Doors,
    FlowLimits,
    MessageExt,
    MessageModel,
    MessageQueue,
    PushConsumer,
    RetryLater,
)
from gantry.client.request_reply import PendingReplies
from gantry.client.requests_from_brokers import read_reset_body, requests_from_brokers
from gantry.errors import ClientError
from gantry.protocol.message import encode_properties
from gantry.protocol.message.compression import compress_zlib
from gantry.protocol.remoting import RemotingCommand, RequestCode
from gantry.testing import VirtualClock
from tests.unit.client.fake_cluster import BROKERS, NAME_SERVER, FakeCluster, drive

QUEUES = [MessageQueue("T", name, i) for name in BROKERS.values() for i in range(4)]


class Seen:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.messages: list[MessageExt] = []

    async def __call__(self, messages: list[MessageExt]) -> None:
        self.messages += messages

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.messages]


MakeConsumer = Callable[..., PushConsumer]


@pytest.fixture
def make(doors: Doors, cluster: FakeCluster) -> MakeConsumer:
    def make_consumer(listener: Any, *, group: str = "g", expression: str = "*", **more: Any) -> PushConsumer:
        more.setdefault("options", ConsumerOptions(consume_from_where=ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET))
        consumer = PushConsumer(group, listener, name_servers=NAME_SERVER, doors=doors, remoting=cluster, **more)
        consumer.subscribe("T", expression)
        return consumer

    cluster.topics["T"] = 4
    return make_consumer


@asynccontextmanager
async def running(clock: VirtualClock, *consumers: PushConsumer, settle_ms: int = 100) -> AsyncIterator[None]:
    for consumer in consumers:
        await drive(clock, consumer.start())
    await clock.run_ms(settle_ms)
    try:
        yield
    finally:
        for consumer in consumers:
            await drive(clock, consumer.stop())


def fill(cluster: FakeCluster, count: int, *, queues: list[MessageQueue] = QUEUES, **properties: str) -> list[bytes]:
    bodies = [f"m{i}".encode() for i in range(count)]
    for i, body in enumerate(bodies):
        cluster.put(queues[i % len(queues)], body, encode_properties(properties))
    return bodies


async def test_every_message_reaches_the_listener_and_is_committed(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    bodies = fill(cluster, 80)
    seen = Seen()
    async with running(clock, make(seen)):
        more = fill(cluster, 8)
        await clock.run_ms(20)
        assert sorted(seen.bodies) == sorted(bodies + more), "held pulls are answered at once"
        await clock.run_ms(5_100)
        assert all(cluster.offsets[("g", queue)] == 11 for queue in QUEUES), "committed every five seconds"


async def test_restart_goes_on_at_the_committed_offset(make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    fill(cluster, 16)
    async with running(clock, make(Seen())):
        pass
    more = fill(cluster, 8)
    seen = Seen()
    async with running(clock, make(seen)):
        assert sorted(seen.bodies) == sorted(more), "stop() committed, so nothing comes twice"


async def test_group_shares_the_queues_and_takes_over_from_who_leaves(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    first, second, third = Seen(), Seen(), Seen()
    one, two, three = make(first), make(second), make(third)
    async with running(clock, one, two):
        await drive(clock, three.start())
        for consumer in (one, two, three):
            consumer.wake_rebalance()
        await clock.run_ms(2_000)
        shares = [consumer.assignment() for consumer in (one, two, three)]
        topic_queues = [queue for share in shares for queue in share if queue.topic == "T"]
        assert sorted(topic_queues) == QUEUES, "every queue has exactly one reader"
        bodies = fill(cluster, 24)
        await clock.run_ms(50)
        assert sorted(first.bodies + second.bodies + third.bodies) == sorted(bodies)
        assert first.bodies
        assert second.bodies
        assert third.bodies
        await drive(clock, three.stop())
        await clock.run_ms(20_100)
        assert sorted(q for c in (one, two) for q in c.assignment() if q.topic == "T") == QUEUES


async def test_member_list_without_us_keeps_our_queues_until_the_broker_knows_us_again(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    consumer = make(Seen())
    async with running(clock, consumer):
        held = consumer.assignment()
        cluster.members["g"] = ["somebody-else"]
        heartbeats = len(cluster.heartbeats)
        consumer.wake_rebalance()
        await clock.run_ms(50)
        assert consumer.assignment() == held
        assert len(cluster.heartbeats) > heartbeats


async def test_tag_filter_is_checked_again_because_hashes_collide(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    queue = QUEUES[0]
    for tag in ("Aa", "BB", "C"):  # "Aa" and "BB" have one Java hash
        cluster.put(queue, tag.encode(), encode_properties({"TAGS": tag}))
    seen = Seen()
    consumer = make(seen, expression="Aa || C")
    async with running(clock, consumer):
        assert seen.bodies == [b"Aa", b"C"]
        data = cluster.heartbeats[-1][1].consumer_data_set[0].subscription_data_set[1]
        assert (data.topic, data.sub_string, data.code_set) == ("T", "Aa || C", [67, 2112])
    assert cluster.offsets[("g", queue)] == 3, "messages that are not for us are passed over, not left behind"


async def test_failed_message_is_given_back_and_counts_as_finished(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    async def listener(messages: list[MessageExt]) -> ConsumeResult | None:
        if messages[0].body == b"m0":
            raise ValueError("cannot eat this")
        if messages[0].body == b"m1":
            return ConsumeResult.RECONSUME_LATER
        if messages[0].body == b"m2":
            raise RetryLater(delay_level=5)
        return None

    fill(cluster, 4, queues=QUEUES[:1])
    async with running(clock, make(listener)):
        assert sorted(header.delay_level for header in cluster.sent_back) == [0, 0, 5]
        assert {header.group for header in cluster.sent_back} == {"g"}
        assert {header.max_reconsume_times for header in cluster.sent_back} == {16}
        assert {header.origin_topic for header in cluster.sent_back} == {"T"}
        assert len({header.offset for header in cluster.sent_back}) == 3
    assert cluster.offsets[("g", QUEUES[0])] == 4


async def test_message_that_cannot_be_given_back_is_tried_here_again(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    for address in BROKERS:
        cluster.refuse[(address, RequestCode.CONSUMER_SEND_MSG_BACK)] = (1, "no")
    attempts: list[int] = []

    async def listener(messages: list[MessageExt]) -> None:
        attempts.append(messages[0].reconsume_times)
        if len(attempts) < 3:
            raise ValueError("not yet")

    fill(cluster, 1)
    async with running(clock, make(listener)):
        await clock.run_ms(5_200)
        assert ("g", QUEUES[0]) not in cluster.offsets or cluster.offsets[("g", QUEUES[0])] == 0
        await clock.run_ms(5_200)
    assert attempts == [0, 1, 2]
    assert cluster.offsets[("g", QUEUES[0])] == 1


async def test_listener_that_hangs_is_cancelled_and_its_message_given_back(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    async def listener(messages: list[MessageExt]) -> None:
        await asyncio.Event().wait()

    fill(cluster, 1)
    async with running(clock, make(listener, options=ConsumerOptions(
        consume_from_where=ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, consume_timeout_ms=500,
    ))):  # fmt: skip
        await clock.run_ms(600)
        assert len(cluster.sent_back) == 1


async def test_retried_message_shows_its_own_topic(make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    seen = Seen()
    async with running(clock, make(seen)):
        await clock.run_ms(2_000)  # the retry topic appears with the first heartbeat
        cluster.put(MessageQueue("%RETRY%g", "broker-a", 0), b"again", encode_properties({"RETRY_TOPIC": "T"}))
        await clock.run_ms(50)
        assert [(message.topic, message.body) for message in seen.messages] == [("T", b"again")]


async def test_compressed_body_arrives_as_it_was_sent(make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    from gantry.model import StoreMessage

    body = b"long " * 2000
    cluster._append(
        QUEUES[0],
        StoreMessage(topic="T", queue_id=0, body=compress_zlib(body), sys_flag=0x301, store_host=("10.0.0.2", 10911)),
    )
    seen = Seen()
    async with running(clock, make(seen)):
        assert seen.bodies == [body]
        assert seen.messages[0].sys_flag == 0
        assert seen.messages[0].broker_name == "broker-a"
        assert seen.messages[0].msg_id == seen.messages[0].offset_msg_id


async def test_full_table_stops_pulling_until_listeners_catch_up(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    gate = asyncio.Event()
    seen = Seen()

    async def listener(messages: list[MessageExt]) -> None:
        await gate.wait()
        await seen(messages)

    fill(cluster, 200, queues=QUEUES[:1])
    options = ConsumerOptions(
        consume_from_where=ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, flow=FlowLimits(count_max=50), pull_batch_size=32
    )
    async with running(clock, make(listener, options=options)):
        await clock.run_ms(1_000)
        pulled = [c for _, c in cluster.requests if c.code == RequestCode.PULL_MESSAGE and c.field("queueOffset") != "0"]
        assert max(int(c.field("queueOffset") or 0) for c in pulled) == 32, "64 messages are held, the limit is 50"
        gate.set()
        await clock.run_ms(1_000)
        assert len(seen.messages) == 200


async def test_illegal_offset_goes_on_where_the_broker_says(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    queue = QUEUES[0]
    cluster.first_offset[queue] = 100
    cluster.put(queue, b"oldest kept")
    cluster.offsets[("g", queue)] = 3
    seen = Seen()
    async with running(clock, make(seen)):
        await clock.run_ms(100)
        assert seen.bodies == [b"oldest kept"]
    assert cluster.offsets[("g", queue)] == 101


async def test_new_group_starts_as_the_setting_says(make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    fill(cluster, 8)
    last, first = Seen(), Seen()
    from_last = ConsumerOptions(consume_from_where=ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET)
    async with running(clock, make(last, group="last", options=from_last), make(first, group="first")):
        assert last.bodies == []
        assert len(first.bodies) == 8
        cluster.put(QUEUES[0], b"new")
        await clock.run_ms(20)
        assert last.bodies == [b"new"]


async def test_broker_that_forgot_us_gets_a_heartbeat_at_once(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    async with running(clock, make(Seen())):
        before = len(cluster.heartbeats)
        for address in BROKERS:
            cluster.refuse[(address, RequestCode.PULL_MESSAGE)] = (24, "the consumer's subscription not exist")
        fill(cluster, 8)
        await clock.run_ms(50)
        assert len(cluster.heartbeats) > before


# --- orderly


async def test_orderly_keeps_the_order_of_each_queue_and_a_failure_stops_only_its_own(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    order: dict[int, list[bytes]] = {0: [], 1: []}
    failures = 2

    async def listener(messages: list[MessageExt]) -> ConsumeResult | None:
        nonlocal failures
        message = messages[0]
        await clock.sleep_ms(1)
        if message.queue_id == 0 and message.body == b"m4" and failures:
            failures -= 1
            assert message.reconsume_times == 1 - failures
            return ConsumeResult.RECONSUME_LATER
        order[message.queue_id].append(message.body)
        return None

    fill(cluster, 20, queues=QUEUES[:2])
    async with running(clock, make(listener, orderly=True)):
        await clock.run_ms(200)
        assert order[0] == [b"m0", b"m2"], "nothing overtakes the failed message"
        assert len(order[1]) == 10
        await clock.run_ms(3_000)
        assert order[0] == [f"m{i}".encode() for i in range(0, 20, 2)]
    assert cluster.offsets[("g", QUEUES[0])] == 10
    assert cluster.locks == {}, "stop() gives the locks back"


async def test_orderly_queue_is_read_only_under_its_lock(make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.locks[QUEUES[0]] = "another-client"
    seen = Seen()
    consumer = make(seen, orderly=True)
    async with running(clock, consumer):
        bodies = fill(cluster, 8)
        await clock.run_ms(5_000)
        assert QUEUES[0] not in consumer.assignment()
        assert sorted(seen.bodies) == sorted(bodies[1:])
        del cluster.locks[QUEUES[0]]
        await clock.run_ms(20_500)
        assert sorted(seen.bodies) == sorted(bodies)


async def test_orderly_consumption_pauses_when_the_lock_is_lost(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    seen = Seen()
    async with running(clock, make(seen, orderly=True)):
        for queue in QUEUES:
            cluster.locks[queue] = "another-client"
        await clock.run_ms(45_000)
        fill(cluster, 8)
        await clock.run_ms(5_000)
        assert seen.bodies == []


async def test_orderly_message_goes_to_the_retry_topic_after_its_last_attempt(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    attempts: list[bytes] = []

    async def listener(messages: list[MessageExt]) -> None:
        attempts.append(messages[0].body)
        if messages[0].body == b"m0":
            raise ValueError("never")

    options = ConsumerOptions(
        consume_from_where=ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, max_reconsume_times=2, suspend_current_queue_ms=100
    )
    for queue in QUEUES:
        cluster.offsets[("g", queue)] = 0
    fill(cluster, 2, queues=QUEUES[:1])
    async with running(clock, make(listener, orderly=True, options=options)):
        await clock.run_ms(500)
    assert attempts == [b"m0", b"m0", b"m0", b"m1"]
    sends = [c for _, c in cluster.requests if c.code == RequestCode.SEND_MESSAGE_V2]
    assert [(c.field("b"), c.field("j"), c.field("l")) for c in sends] == [("%RETRY%g", "3", "2")]
    assert cluster.bodies("%DLQ%g") == [b"m0"]
    assert "RECONSUME_TIME" not in (sends[0].field("i") or "")


# --- broadcasting


async def test_broadcasting_gives_every_member_every_message_and_keeps_offsets_here(
    make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock, tmp_path: Path
) -> None:
    options = ConsumerOptions(consume_from_where=ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, offset_dir=str(tmp_path))

    def member(listener: Seen, name: str) -> PushConsumer:
        return make(listener, message_model=MessageModel.BROADCASTING, options=options, instance_name=name)

    bodies = fill(cluster, 16)
    one, two = Seen(), Seen()
    async with running(clock, member(one, "one"), member(two, "two")):
        assert sorted(one.bodies) == sorted(two.bodies) == sorted(bodies)
    assert cluster.offsets == {}
    more = fill(cluster, 4)
    again = Seen()
    async with running(clock, member(again, "one")):
        assert sorted(again.bodies) == sorted(more)
    assert len(list(tmp_path.glob("*@one/g/offsets.json"))) == 1


# --- requests from brokers, misuse


async def test_reset_offset_restarts_the_queue_there(make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    fill(cluster, 5, queues=QUEUES[:1])
    seen = Seen()
    consumer = make(seen)
    async with running(clock, consumer):
        assert len(seen.bodies) == 5
        await drive(clock, consumer.reset_offsets("T", {QUEUES[0]: 3}))
        await clock.run_ms(100)
        assert seen.bodies[5:] == [b"m3", b"m4"]


async def test_notification_makes_the_consumer_rebalance(make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    consumer = make(Seen())

    class Consumers:
        def consumer(self, group: str) -> PushConsumer | None:
            return consumer if group == "g" else None

    table = requests_from_brokers(Consumers(), PendingReplies(VirtualClock()))
    rows = {code: (header, handler) for code, header, handler in table}
    header_type, handler = rows[RequestCode.NOTIFY_CONSUMER_IDS_CHANGED]
    async with running(clock, consumer):
        asked = cluster.codes().count(RequestCode.GET_CONSUMER_LIST_BY_GROUP)
        request = RemotingCommand(RequestCode.NOTIFY_CONSUMER_IDS_CHANGED, ext_fields={"consumerGroup": "g"})
        handler(None, request, header_type.decode(request.ext_fields))
        await clock.run_ms(20)
        assert cluster.codes().count(RequestCode.GET_CONSUMER_LIST_BY_GROUP) > asked
        info = consumer.running_info()
        assert sorted(info["mqTable"]) == consumer.assignment()


@pytest.mark.parametrize(
    "body",
    [
        b'{"offsetTable":{{"brokerName":"broker-a","queueId":2,"topic":"T"}:7}}',
        b'{"offsetTable":[{"brokerName":"broker-a","offset":7,"queueId":2,"topic":"T"}]}',
    ],
)
def test_reset_body_is_read_in_both_forms(body: bytes) -> None:
    assert read_reset_body(body) == {MessageQueue("T", "broker-a", 2): 7}


async def test_start_without_subscription_says_what_is_missing(doors: Doors, cluster: FakeCluster) -> None:
    consumer = PushConsumer("g", Seen(), name_servers=NAME_SERVER, doors=doors, remoting=cluster)
    with pytest.raises(ClientError, match="subscribe"):
        await consumer.start()


async def test_start_fails_when_no_name_server_answers(make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.down.add(NAME_SERVER)
    with pytest.raises(ClientError, match="no name server answered"):
        await drive(clock, make(Seen()).start())


async def test_topic_created_later_is_found(make: MakeConsumer, cluster: FakeCluster, clock: VirtualClock) -> None:
    del cluster.topics["T"]
    seen = Seen()
    async with running(clock, make(seen)):
        cluster.topics["T"] = 4
        fill(cluster, 8)
        await clock.run_ms(21_000)
        assert len(seen.bodies) == 8
