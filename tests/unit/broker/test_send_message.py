"""Sends, through the hot path and through the long one: what is stored, what is answered, what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.model import Message, sys_flag
from gantry.protocol.message.message_id import decode_offset_msg_id
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import SERIALIZE_ROCKETMQ
from tests.unit.broker.broker_rig import BrokerRig, send_request


@pytest.fixture
async def rig() -> Any:
    async with BrokerRig() as rig:
        await rig.send("T")  # makes the topic
        yield rig


def hot_counts(rig: BrokerRig, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the sends that took the long way from now on."""
    from gantry.broker.processor.send_message import SendMessageProcessor

    slow: list[str] = []
    original = SendMessageProcessor._send

    async def counted(self: Any, ctx: Any, request: Any, header: Any) -> Any:
        slow.append(header.topic)
        return await original(self, ctx, request, header)

    monkeypatch.setattr(SendMessageProcessor, "_send", counted)
    return slow


@pytest.mark.parametrize("serialize_type", [0, SERIALIZE_ROCKETMQ])
@pytest.mark.parametrize("v1", [False, True])
async def test_common_send_takes_the_hot_path_and_is_answered_as_the_official_broker_does(
    rig: BrokerRig, monkeypatch: pytest.MonkeyPatch, v1: bool, serialize_type: int
) -> None:
    slow = hot_counts(rig, monkeypatch)
    answer = await rig.send(
        "T", b"body", queue_id=1, v1=v1, serialize_type=serialize_type, properties={"KEYS": "k", "TAGS": "A"}
    )
    assert slow == []
    assert answer.code == 0
    assert answer.remark is None
    assert answer.serialize_type == serialize_type
    fields = answer.ext_fields
    assert fields is not None
    assert fields["queueId"] == "1"
    assert fields["queueOffset"] == "0"
    assert fields["transactionId"] == "AC10000100002A9F4E0E2F2A68AA0001"
    assert fields["MSG_REGION"] == "DefaultRegion"
    assert fields["TRACE_ON"] == "true"
    host, physical_offset = decode_offset_msg_id(fields["msgId"])
    assert host == ("127.0.0.1", rig.config.listen_port)
    (message,) = await rig.messages("T", 1)
    assert message.physical_offset == physical_offset
    assert message.body == b"body"
    assert message.properties == {
        "KEYS": "k",
        "TAGS": "A",
        "UNIQ_KEY": "AC10000100002A9F4E0E2F2A68AA0001",
        "MSG_REGION": "DefaultRegion",
        "TRACE_ON": "true",
        "CLUSTER": "DefaultCluster",
    }
    assert message.born_timestamp == 1_700_000_000_000


async def test_both_ways_answer_and_store_alike(rig: BrokerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = hot_counts(rig, monkeypatch)
    hot = await rig.send("T", b"b", queue_id=2, properties={"a": "1"})
    assert slow == []
    # An own CLUSTER property makes the frame rare, and is overwritten either way.
    rare = await rig.send("T", b"b", queue_id=2, properties={"a": "1", "CLUSTER": "forged"})
    assert slow == ["T"]
    hot_fields, rare_fields = dict(hot.ext_fields or {}), dict(rare.ext_fields or {})
    assert hot_fields.keys() == rare_fields.keys()
    for name in ("queueId", "transactionId", "MSG_REGION", "TRACE_ON"):
        assert hot_fields[name] == rare_fields[name]
    assert (hot_fields["queueOffset"], rare_fields["queueOffset"]) == ("0", "1")
    first, second = await rig.messages("T", 2)
    assert first.properties == second.properties
    assert first.store_size == second.store_size


async def test_many_frames_in_one_read_are_stored_in_order_and_answered_in_one_write(rig: BrokerRig) -> None:
    answers = await asyncio.gather(*(rig.send("T", str(i).encode(), queue_id=3) for i in range(100)))
    assert [int((a.ext_fields or {})["queueOffset"]) for a in answers] == list(range(100))
    assert [m.body for m in await rig.messages("T", 3)] == [str(i).encode() for i in range(100)]


async def test_oneway_is_stored_and_never_answered(rig: BrokerRig) -> None:
    await rig.client.invoke_oneway(rig.address, send_request("T", b"one", queue_id=1, oneway=True))
    await rig.clock.run_ms(1)
    assert [m.body for m in await rig.messages("T", 1)] == [b"one"]


async def test_batch_members_are_ordinary_messages_with_their_own_properties_only(
    rig: BrokerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = hot_counts(rig, monkeypatch)
    members = [Message(topic="T", body=b"m%d" % i, properties={"KEYS": f"k{i}", "UNIQ_KEY": f"U{i}"}) for i in range(5)]
    answer = await rig.send("T", batch=members, queue_id=1, unique_key="BATCH")
    assert slow == []
    assert answer.code == 0
    ids = (answer.ext_fields or {})["msgId"].split(",")
    assert len(ids) == 5
    stored = await rig.messages("T", 1)
    assert [m.offset_msg_id for m in stored] == ids
    assert [m.body for m in stored] == [b"m0", b"m1", b"m2", b"m3", b"m4"]
    assert [m.properties for m in stored] == [{"KEYS": f"k{i}", "UNIQ_KEY": f"U{i}"} for i in range(5)]
    assert (answer.ext_fields or {})["transactionId"] == "BATCH"
    found = await rig.context.store.query_by_key("T", "U3", 10, 0, 1 << 60)
    assert len(found.records) == 1
    assert not (await rig.context.store.query_by_key("T", "BATCH", 10, 0, 1 << 60)).records


async def test_batch_that_is_malformed_is_refused_as_a_whole(rig: BrokerRig) -> None:
    request = send_request("T", batch=[Message(topic="T", body=b"abc")], queue_id=1)
    request.body = request.body[:-1]
    answer = await rig.ask(request)
    assert answer.code == ResponseCode.MESSAGE_ILLEGAL
    assert await rig.messages("T", 1) == []


@pytest.mark.parametrize("name", ["DELAY", "TRAN_MSG", "TIMER_DELAY_SEC"])
async def test_batch_members_cannot_ask_for_time_or_transaction(rig: BrokerRig, name: str) -> None:
    answer = await rig.send("T", batch=[Message(topic="T", body=b"a", properties={name: "1"})], queue_id=1)
    assert answer.code == ResponseCode.MESSAGE_ILLEGAL
    assert await rig.messages("T", 1) == []


async def test_a_send_that_is_repeated_is_stored_twice_under_its_unique_key(rig: BrokerRig) -> None:
    """Whoever got no answer sends again: at least once, and who reads can tell by the key."""
    key = "AC10000100002A9F4E0E2F2A68AA0077"
    before = len(await rig.messages("T"))
    answers = [await rig.send("T", b"again", unique_key=key) for _ in range(2)]
    assert [answer.code for answer in answers] == [0, 0]
    assert len({(answer.ext_fields or {})["msgId"] for answer in answers}) == 2
    stored = (await rig.messages("T"))[before:]
    assert [(message.body, message.properties["UNIQ_KEY"]) for message in stored] == [(b"again", key)] * 2


async def test_unique_key_is_made_when_the_sender_has_none(rig: BrokerRig) -> None:
    answer = await rig.send("T", queue_id=1, unique_key=None)
    (message,) = await rig.messages("T", 1)
    assert message.properties["UNIQ_KEY"] == (answer.ext_fields or {})["transactionId"]
    assert len(message.properties["UNIQ_KEY"]) == 32


async def test_negative_queue_id_means_any_queue(rig: BrokerRig) -> None:
    for _ in range(20):
        answer = await rig.send("T", queue_id=-1)
        assert 0 <= int((answer.ext_fields or {})["queueId"]) < 4


# -- topics


async def test_unknown_topic_is_created_after_the_default_topic_and_registered_in_its_file(rig: BrokerRig) -> None:
    answer = await rig.send("New", default_topic_queue_nums=16, queue_id=7)
    assert answer.code == 0
    topic = rig.context.topics.select("New")
    assert topic is not None
    assert (topic.read_queue_nums, topic.write_queue_nums, topic.perm) == (8, 8, 6)
    assert b'"New"' in rig.disk.read_file("/store/config/topics.json")


async def test_unknown_topic_is_refused_where_creation_is_off() -> None:
    async with BrokerRig(auto_create_topic_enable=False) as rig:
        answer = await rig.send("New")
        assert answer.code == ResponseCode.TOPIC_NOT_EXIST
        assert (answer.remark or "").startswith("topic[New] not exist, apply first please!")
        assert rig.context.topics.select("New") is None


async def test_unknown_topic_is_refused_where_the_senders_default_topic_gives_no_right(rig: BrokerRig) -> None:
    assert (await rig.send("New", default_topic="T")).code == ResponseCode.TOPIC_NOT_EXIST
    assert (await rig.send("New", default_topic="nobody")).code == ResponseCode.TOPIC_NOT_EXIST


@pytest.mark.parametrize(
    ("topic", "code", "remark"),
    [
        ("a b", ResponseCode.INVALID_PARAMETER, "The specified topic: a b, contains illegal characters"),
        ("x" * 128, ResponseCode.INVALID_PARAMETER, "is longer than topic max length: 127"),
        ("../../x", ResponseCode.INVALID_PARAMETER, "contains illegal characters"),
        ("SCHEDULE_TOPIC_XXXX", ResponseCode.NO_PERMISSION, "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden."),
        ("RMQ_SYS_TRANS_HALF_TOPIC", ResponseCode.NO_PERMISSION, "is forbidden."),
    ],
)
async def test_bad_and_forbidden_topics_are_refused(rig: BrokerRig, topic: str, code: int, remark: str) -> None:
    answer = await rig.send(topic)
    assert answer.code == code
    assert remark in (answer.remark or "")
    assert (answer.ext_fields or {})["MSG_REGION"] == "DefaultRegion"


async def test_unknown_queue_is_refused_with_the_official_remark(rig: BrokerRig) -> None:
    answer = await rig.send("T", queue_id=99)
    assert answer.code == ResponseCode.INVALID_PARAMETER
    assert (answer.remark or "").startswith(
        "request queueId[99] is illegal, TopicConfig [topicName=T, readQueueNums=4, writeQueueNums=4, perm=RW-, "
        "topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, attributes={}] Producer: "
    )


# -- limits


async def test_too_long_body_and_properties_are_refused() -> None:
    async with BrokerRig(max_message_size=1000) as rig:
        await rig.send("T")
        for answer in (
            await rig.send("T", b"x" * 1001, queue_id=1),
            await rig.send("T", queue_id=1, properties={"p": "v" * 32_800}),
        ):
            assert answer.code == ResponseCode.MESSAGE_ILLEGAL
            assert (answer.remark or "").startswith("the message is illegal, maybe msg body or properties length not matched.")
        assert (await rig.send("T", b"x" * 1000, queue_id=1)).code == 0
        assert len(await rig.messages("T", 1)) == 1


async def test_a_refused_send_between_others_of_one_read_does_not_touch_them() -> None:
    async with BrokerRig(max_message_size=1000) as rig:
        await rig.send("T")
        answers = await asyncio.gather(
            rig.send("T", b"a", queue_id=1), rig.send("T", b"x" * 1001, queue_id=1), rig.send("T", b"b", queue_id=1)
        )
        assert [a.code for a in answers] == [0, ResponseCode.MESSAGE_ILLEGAL, 0]
        assert [m.body for m in await rig.messages("T", 1)] == [b"a", b"b"]


# -- what this version refuses


@pytest.mark.parametrize(
    ("fields", "code", "remark"),
    [
        ({"sys_flag": sys_flag.TRANSACTION_PREPARED}, ResponseCode.MESSAGE_ILLEGAL, "TRAN_MSG"),
        ({"properties": {"INNER_NUM": "5"}}, ResponseCode.MESSAGE_ILLEGAL, "inner batch"),
        ({"properties": {"DELAY": "soon"}}, ResponseCode.MESSAGE_ILLEGAL, "is not a number"),
    ],
)
async def test_what_cannot_be_kept_is_refused_and_not_stored(
    rig: BrokerRig, fields: dict[str, Any], code: int, remark: str
) -> None:
    answer = await rig.send("T", queue_id=1, **fields)
    assert answer.code == code
    assert remark in (answer.remark or "")
    assert await rig.messages("T", 1) == []


async def test_sends_before_the_start_time_are_refused() -> None:
    rig = BrokerRig()
    rig.config.start_accept_send_request_time_stamp = rig.clock.now_ms() + 5000
    async with rig:
        answer = await rig.send("T")
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert (answer.remark or "").startswith("broker unable to service, until ")
        await rig.clock.run_ms(5000)
        assert (await rig.send("T")).code == 0


async def test_order_topic_of_an_unwriteable_broker_is_refused(rig: BrokerRig) -> None:
    rig.context.topics.update_order_topics(["T"])
    rig.config.broker_permission = 4
    answer = await rig.send("T")
    assert answer.code == ResponseCode.NO_PERMISSION
    assert answer.remark == "the broker[127.0.0.1] sending message is forbidden"
    # An ordinary topic is steered by the route alone.
    assert (await rig.send("Other")).code == 0


# -- copies


async def test_sync_master_without_slaves_answers_slave_not_available() -> None:
    async with BrokerRig(broker_role="SYNC_MASTER") as rig:
        await rig.send("T")
        answer = await rig.send("T", queue_id=1)
        assert answer.code == ResponseCode.SLAVE_NOT_AVAILABLE
        assert (answer.ext_fields or {})["queueOffset"] == "0"
        # Who waits for nothing is answered at once.
        assert (await rig.send("T", queue_id=1, properties={"WAIT": "false"})).code == 0
        assert len(await rig.messages("T", 1)) == 2


async def test_sync_master_with_one_replica_asked_waits_for_nobody() -> None:
    async with BrokerRig(broker_role="SYNC_MASTER", in_sync_replicas=1) as rig:
        await rig.send("T")
        assert (await rig.send("T")).code == 0


async def test_too_few_copies_refuse_before_anything_is_stored() -> None:
    async with BrokerRig(broker_role="SYNC_MASTER", min_in_sync_replicas=2) as rig:
        answer = await rig.send("T")
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert answer.remark == "in-sync replicas not enough"
        assert rig.context.store.max_physical_offset == 0


# -- sync flush


async def test_sync_flush_answers_after_the_sync_and_hides_the_message_until_then() -> None:
    async with BrokerRig(flush_disk_type="SYNC_FLUSH") as rig:
        await rig.send("T")
        before = rig.context.store.flushed_offset
        answer = await rig.send("T", queue_id=1)
        assert answer.code == 0
        assert rig.context.store.flushed_offset > before
        assert len(await rig.messages("T", 1)) == 1


async def test_failed_sync_is_never_answered_ok() -> None:
    async with BrokerRig(flush_disk_type="SYNC_FLUSH") as rig:
        await rig.send("T")
        rig.disk.fail("sync")
        answer = await rig.send("T", queue_id=1)
        assert answer.code == ResponseCode.FLUSH_DISK_TIMEOUT
        assert (await rig.send("T", queue_id=1)).code == ResponseCode.SERVICE_NOT_AVAILABLE


async def test_full_disk_answers_14_and_recovers_by_itself() -> None:
    async with BrokerRig(mapped_file_size_commit_log=65536) as rig:
        await rig.send("T")
        rig.disk.capacity_bytes = rig.disk.usage("/store").used
        codes = [(await rig.send("T", b"x" * 8000, queue_id=1)).code for _ in range(30)]
        assert ResponseCode.SERVICE_NOT_AVAILABLE in codes
        assert set(codes) == {0, ResponseCode.SERVICE_NOT_AVAILABLE}
        stored = codes.count(0)
        rig.disk.capacity_bytes = None
        await rig.clock.run_ms(15_000)
        assert (await rig.send("T", b"y", queue_id=1)).code == 0
        assert len(await rig.messages("T", 1)) == stored + 1
