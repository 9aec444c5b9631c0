from __future__ import annotations

from typing import Any

import pytest

from gantry.client import Doors, Message, MessageQueue, Producer, ProducerOptions, SendStatus, by_key
from gantry.errors import BrokerError, ClientError, ConfigError, RemotingError, RemotingTimeout
from gantry.model import sys_flag
from gantry.protocol.message import decode_record
from gantry.protocol.remoting import RequestCode, ResponseCode
from gantry.testing import VirtualClock
from tests.unit.client.fake_cluster import BROKERS, NAME_SERVER, FakeCluster, drive

A, B = BROKERS


@pytest.fixture
async def producer(doors: Doors, cluster: FakeCluster, clock: VirtualClock) -> Any:
    producer = Producer("p", name_servers=NAME_SERVER, doors=doors, remoting=cluster)
    await producer.start()
    yield producer
    await drive(clock, producer.stop())


def message(body: bytes = b"hello", **properties: str) -> Message:
    return Message(topic="T", body=body, properties=dict(properties))


async def test_messages_take_turns_over_all_queues(producer: Producer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.topics["T"] = 2
    results = [await drive(clock, producer.send(message())) for _ in range(8)]
    queues = [result.queue for result in results]
    assert len(set(queues)) == 4
    assert queues[:4] == queues[4:]
    assert {result.status for result in results} == {SendStatus.SEND_OK}
    assert len({result.message_id for result in results}) == 8
    assert cluster.codes(NAME_SERVER) == [RequestCode.GET_ROUTEINFO_BY_TOPIC], "the route is asked for once"


async def test_unique_id_travels_and_is_kept_when_sent_again(
    producer: Producer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.topics["T"] = 1
    same = message()
    first = await drive(clock, producer.send(same))
    second = await drive(clock, producer.send(same))
    stored = decode_record(cluster.records[first.queue][0])
    assert stored.properties["UNIQ_KEY"] == first.message_id == second.message_id
    assert len(first.message_id) in (32, 56)


@pytest.mark.parametrize("code", [17, 14, 1, 2, 16, 204, 205])
async def test_refusal_that_another_broker_may_not_share_is_retried_there(
    producer: Producer, cluster: FakeCluster, clock: VirtualClock, code: int
) -> None:
    cluster.topics["T"] = 4
    cluster.refuse[(A, RequestCode.SEND_MESSAGE_V2)] = (code, "not here")
    for _ in range(4):
        assert (await drive(clock, producer.send(message()))).queue.broker_name == "broker-b"


async def test_refusal_of_the_message_itself_is_not_retried(
    producer: Producer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.topics["T"] = 1
    for address in BROKERS:
        cluster.refuse[(address, RequestCode.SEND_MESSAGE_V2)] = (13, "the message is illegal")
    with pytest.raises(BrokerError, match="the message is illegal") as caught:
        await drive(clock, producer.send(message()))
    assert caught.value.response_code == ResponseCode.MESSAGE_ILLEGAL
    assert cluster.codes().count(RequestCode.SEND_MESSAGE_V2) == 1


async def test_dead_broker_is_passed_over(producer: Producer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.topics["T"] = 4
    cluster.down.add(A)
    results = [await drive(clock, producer.send(message())) for _ in range(6)]
    assert {result.queue.broker_name for result in results} == {"broker-b"}


async def test_attempts_end_and_the_last_failure_is_told(producer: Producer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.topics["T"] = 1
    cluster.down.update(BROKERS)
    with pytest.raises(RemotingError, match="is down"):
        await drive(clock, producer.send(message()))
    assert cluster.codes().count(RequestCode.SEND_MESSAGE_V2) == 3


async def test_time_out_covers_all_attempts_together(producer: Producer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.topics["T"] = 1
    cluster.silent.update(BROKERS)
    started = clock.monotonic_ms()
    with pytest.raises(RemotingTimeout):
        await drive(clock, producer.send(message(), timeout_ms=500))
    assert clock.monotonic_ms() - started <= 510


async def test_chosen_queue_and_selector_get_one_attempt(producer: Producer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.topics["T"] = 4
    queue = MessageQueue("T", "broker-b", 2)
    assert (await drive(clock, producer.send(message(), queue=queue))).queue == queue
    chosen = {(await drive(clock, producer.send(message(), selector=by_key("k")))).queue for _ in range(5)}
    assert len(chosen) == 1
    cluster.down.update(BROKERS)
    before = len(cluster.codes())
    with pytest.raises(RemotingError):
        await drive(clock, producer.send(message(), selector=by_key("k")))
    assert len(cluster.codes()) == before + 1


async def test_a_message_group_has_one_queue_and_no_second_choice(
    producer: Producer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.topics["T"] = 4

    def of_group(group: str) -> Message:
        made = message()
        made.message_group = group
        return made

    chosen = {(await drive(clock, producer.send(of_group("g")))).queue for _ in range(5)}
    assert len(chosen) == 1
    assert (await drive(clock, producer.send_batch([of_group("g"), of_group("g")]))).queue in chosen
    await drive(clock, producer.send_oneway(of_group("g")))
    assert len(cluster.records[chosen.pop()]) == 8
    assert len({(await drive(clock, producer.send(of_group(f"g{number}")))).queue for number in range(40)}) > 4
    queue = MessageQueue("T", "broker-b", 2)
    assert (await drive(clock, producer.send(of_group("g"), queue=queue))).queue == queue
    for batch in ([of_group("g"), of_group("h")], [of_group("g"), message()]):
        with pytest.raises(ClientError, match="cannot travel together"):
            await drive(clock, producer.send_batch(batch))
    cluster.down.update(BROKERS)
    before = len(cluster.codes())
    with pytest.raises(RemotingError):
        await drive(clock, producer.send(of_group("g")))
    assert len(cluster.codes()) == before + 1


async def test_selector_must_return_one_of_the_queues(producer: Producer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.topics["T"] = 1
    with pytest.raises(ClientError, match="none of the 2 queues"):
        await drive(clock, producer.send(message(), selector=lambda queues, m: MessageQueue("T", "elsewhere", 0)))


async def test_unknown_topic_is_created_through_the_default_topic(
    producer: Producer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.auto_create = True
    result = await drive(clock, producer.send(message()))
    assert result.queue_offset == 0
    assert cluster.topics["T"] == 4, "no more queues than the producer asked for"
    assert len(await producer.queues("T")) == 8


async def test_no_route_says_who_was_asked_and_what_to_do(
    producer: Producer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    with pytest.raises(ClientError) as caught:
        await drive(clock, producer.send(message()))
    text = str(caught.value)
    assert "topic T" in text
    assert NAME_SERVER in text
    assert "mqadmin updateTopic" in text
    assert "autoCreateTopicEnable" in text


async def test_unreachable_name_server_says_where_it_looked(
    producer: Producer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.down.add(NAME_SERVER)
    with pytest.raises(ClientError, match=r"no name server answered \(10.0.0.1:9876: .*gantry dev"):
        await drive(clock, producer.send(message()))


async def test_second_name_server_answers_when_the_first_does_not(
    doors: Doors, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.topics["T"] = 1
    cluster.down.add("10.0.0.9:9876")
    producer = Producer("p", name_servers=f"10.0.0.9:9876;{NAME_SERVER}", doors=doors, remoting=cluster)
    await producer.start()
    for topic in ("T", "U", "V"):
        cluster.topics[topic] = 1
        await drive(clock, producer.send(Message(topic=topic, body=b"x")))
    assert [to for to, _ in cluster.requests].count("10.0.0.9:9876") <= 1, "the one that answered is asked first next time"
    await drive(clock, producer.stop())


async def test_large_body_is_compressed_and_marked(producer: Producer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.topics["T"] = 1
    small = await drive(clock, producer.send(message(b"a" * 4095)))
    large = await drive(clock, producer.send(message(b"a" * 4096)))
    assert decode_record(cluster.records[small.queue][-1]).sys_flag == 0
    stored = decode_record(cluster.records[large.queue][-1])
    assert stored.sys_flag == sys_flag.COMPRESSED | sys_flag.COMPRESSION_ZLIB
    assert len(stored.body) < 100


async def test_batch_is_one_request_and_every_member_gets_an_id(
    producer: Producer, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.topics["T"] = 1
    result = await drive(clock, producer.send_batch([message(b"1"), message(b"2"), message(b"3")]))
    assert len(set(result.message_id.split(","))) == 3
    assert len(result.offset_message_id.split(",")) == 3
    assert cluster.codes().count(RequestCode.SEND_BATCH_MESSAGE) == 1
    assert cluster.bodies("T") == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "at least one message"),
        ([message(), Message(topic="U", body=b"x")], "one batch, one topic"),
        ([message(), message(DELAY="3")], "delayed messages"),
        ([message(), message(WAIT="false")], "WAIT"),
        ([Message(topic="%RETRY%g", body=b"x")], "retry topic"),
        ([message(b"x" * 2_000_000)] * 3, "split it"),
    ],
)
async def test_messages_that_cannot_travel_together(producer: Producer, messages: list[Message], reason: str) -> None:
    with pytest.raises(ClientError, match=reason):
        await producer.send_batch(messages)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Message(topic="", body=b"x"), "blank"),
        (Message(topic="a b", body=b"x"), "illegal characters"),
        (Message(topic="SCHEDULE_TOPIC_XXXX", body=b"x"), "belongs to the broker"),
        (Message(topic="T", body=b""), "empty body"),
        (Message(topic="T", body=b"x" * (4 * 1024 * 1024 + 1)), "exceeds the limit"),
    ],
)
async def test_message_that_is_not_allowed_never_leaves(
    producer: Producer, cluster: FakeCluster, bad: Message, reason: str
) -> None:
    with pytest.raises(ClientError, match=reason):
        await producer.send(bad)
    assert cluster.requests == []


async def test_oneway_waits_for_no_answer(producer: Producer, cluster: FakeCluster, clock: VirtualClock) -> None:
    cluster.topics["T"] = 1
    await drive(clock, producer.send_oneway(message(b"gone")))
    assert cluster.bodies("T") == [b"gone"]


@pytest.mark.parametrize(("retry", "statuses"), [(False, {"FLUSH_DISK_TIMEOUT", "SEND_OK"}), (True, {"SEND_OK"})])
async def test_message_stored_less_safely_is_a_result(
    doors: Doors, cluster: FakeCluster, clock: VirtualClock, retry: bool, statuses: set[str]
) -> None:
    cluster.topics["T"] = 1
    options = ProducerOptions(retry_when_not_stored_ok=retry)
    producer = Producer("p", name_servers=NAME_SERVER, doors=doors, remoting=cluster, options=options)
    await producer.start()
    cluster.stored_code["broker-a"] = ResponseCode.FLUSH_DISK_TIMEOUT
    queue = MessageQueue("T", "broker-a", 0)
    assert (await drive(clock, producer.send(message(), queue=queue))).status is SendStatus.FLUSH_DISK_TIMEOUT
    found = {(await drive(clock, producer.send(message()))).status.value for _ in range(2)}
    assert found == statuses
    await drive(clock, producer.stop())


async def test_heartbeat_reaches_every_master_and_stop_unregisters(
    doors: Doors, cluster: FakeCluster, clock: VirtualClock
) -> None:
    cluster.topics["T"] = 1
    producer = Producer("p", name_servers=NAME_SERVER, doors=doors, remoting=cluster)
    await producer.start()
    await drive(clock, producer.send(message()))
    await clock.run_ms(10)
    assert sorted(broker for broker, _ in cluster.heartbeats) == ["broker-a", "broker-b"]
    assert cluster.heartbeats[0][1].producer_data_set[0].group_name == "p"
    await clock.run_ms(30_100)
    assert len(cluster.heartbeats) == 4
    await drive(clock, producer.stop())
    assert cluster.unregistered == [cluster.heartbeats[0][1].client_id] * 2


def test_name_server_is_asked_for_by_name(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAMESRV_ADDR", raising=False)
    with pytest.raises(ConfigError, match="NAMESRV_ADDR"):
        Producer("p", doors=doors)
    monkeypatch.setenv("NAMESRV_ADDR", NAME_SERVER)
    Producer("p", doors=doors)


async def test_send_before_start_says_so(doors: Doors, cluster: FakeCluster) -> None:
    producer = Producer("p", name_servers=NAME_SERVER, doors=doors, remoting=cluster)
    with pytest.raises(ClientError, match="is not started"):
        await producer.send(message())
