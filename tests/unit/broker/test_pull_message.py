"""Pulls: what is found, what is refused, and how pulls wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.model.heartbeat import BROADCASTING
from gantry.protocol.message.record import decode_records
from gantry.protocol.remoting.codes import RequestCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.testing import settle
from tests.unit.broker.broker_rig import GROUP, BrokerRig, pull_request


@pytest.fixture
async def rig() -> Any:
    async with BrokerRig() as rig:
        await rig.send("T")
        yield rig


def fields(answer: RemotingCommand) -> dict[str, str]:
    assert answer.ext_fields is not None
    return answer.ext_fields


async def test_found_messages_come_with_the_official_header(rig: BrokerRig) -> None:
    for n in range(5):
        await rig.send("T", b"%d" % n, queue_id=1)
    answer = await rig.pull("T", 1, 2)
    assert answer.code == 0
    assert answer.remark == "FOUND"
    assert fields(answer) == {
        "suggestWhichBrokerId": "0",
        "nextBeginOffset": "5",
        "minOffset": "0",
        "maxOffset": "5",
        "topicSysFlag": "0",
        "groupSysFlag": "0",
    }
    assert [m.body for m in decode_records(answer.body)] == [b"2", b"3", b"4"]
    assert [m.queue_offset for m in decode_records(answer.body)] == [2, 3, 4]


async def test_lite_pull_is_a_pull(rig: BrokerRig) -> None:
    assert (await rig.pull("T", lite=True)).code == 0
    rig.config.lite_pull_message_enable = False
    assert (await rig.pull("T", lite=True)).code == ResponseCode.NO_PERMISSION


async def test_count_is_respected(rig: BrokerRig) -> None:
    for n in range(5):
        await rig.send("T", b"%d" % n, queue_id=1)
    assert len(decode_records((await rig.pull("T", 1, 0, count=2)).body)) == 2
    assert len(decode_records((await rig.pull("T", 1, 0, count=0)).body)) == 1


@pytest.mark.parametrize(
    ("offset", "code", "remark", "next_begin"),
    [
        (1, ResponseCode.PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "1"),
        (7, ResponseCode.PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", "1"),
        (-1, ResponseCode.PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", "0"),
    ],
)
async def test_offsets_beside_the_queue(rig: BrokerRig, offset: int, code: int, remark: str, next_begin: str) -> None:
    answer = await rig.pull("T", 0, offset)
    assert (answer.code, answer.remark, fields(answer)["nextBeginOffset"]) == (code, remark, next_begin)


async def test_queue_without_messages(rig: BrokerRig) -> None:
    at_zero = await rig.pull("T", 3, 0)
    assert at_zero.code == ResponseCode.PULL_NOT_FOUND
    beyond = await rig.pull("T", 3, 4)
    assert beyond.code == ResponseCode.PULL_OFFSET_MOVED
    assert fields(beyond)["nextBeginOffset"] == "0"
    assert fields(beyond)["minOffset"] == "0"


async def test_tag_filter_selects_on_the_broker_and_moves_on(rig: BrokerRig) -> None:
    for tag in "ABAC":
        await rig.send("T", tag.encode(), queue_id=1, properties={"TAGS": tag})
    answer = await rig.pull("T", 1, expression="A || C")
    assert [m.body for m in decode_records(answer.body)] == [b"A", b"A", b"C"]
    nothing = await rig.pull("T", 1, expression="Z")
    assert nothing.code == ResponseCode.PULL_RETRY_IMMEDIATELY
    assert nothing.remark == "NO_MATCHED_MESSAGE"
    assert fields(nothing)["nextBeginOffset"] == "4"


# -- refusals


async def test_unknown_topic(rig: BrokerRig) -> None:
    answer = await rig.pull("nobody")
    assert answer.code == ResponseCode.TOPIC_NOT_EXIST
    assert (answer.remark or "").startswith("topic[nobody] not exist, apply first please!")


@pytest.mark.parametrize("queue_id", [-1, 4, 1 << 30])
async def test_unknown_queue(rig: BrokerRig, queue_id: int) -> None:
    answer = await rig.pull("T", queue_id)
    assert answer.code == ResponseCode.INVALID_PARAMETER
    assert (answer.remark or "").startswith(f"queueId[{queue_id}] is illegal, topic:[T] topicConfig.readQueueNums:[4]")


async def test_unknown_group_where_groups_are_not_created() -> None:
    async with BrokerRig(auto_create_subscription_group=False) as rig:
        await rig.send("T")
        assert (await rig.pull("T")).code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST


async def test_what_forbids_reading_is_named(rig: BrokerRig) -> None:
    def forbidden(answer: RemotingCommand) -> str:
        assert answer.code == ResponseCode.NO_PERMISSION
        return fields(answer)["forbiddenType"]

    rig.config.broker_permission = 2
    assert forbidden(await rig.pull("T")) == "1"
    rig.config.broker_permission = 6
    group = rig.context.subscriptions.find(GROUP)
    assert group is not None
    changed = group.copy()
    changed.consume_enable = False
    rig.context.subscriptions.update(changed)
    assert forbidden(await rig.pull("T")) == "2"
    changed = group.copy()
    changed.consume_broadcast_enable = False
    rig.context.subscriptions.update(changed)
    await rig.heartbeat("T", message_model=BROADCASTING)
    assert forbidden(await rig.pull("T", expression=None)) == "4"
    rig.context.subscriptions.update(group)
    rig.context.subscriptions.update_forbidden(GROUP, "T", 2, True)
    assert forbidden(await rig.pull("T", expression=None)) == "5"
    rig.context.subscriptions.update_forbidden(GROUP, "T", 2, False)
    topic = rig.context.topics.select("T")
    assert topic is not None
    unreadable = topic.copy()
    unreadable.perm = 2
    rig.context.topics.update(unreadable)
    assert forbidden(await rig.pull("T")) == "3"


async def test_subscription_is_that_of_the_heartbeat(rig: BrokerRig) -> None:
    assert (await rig.pull("T", expression=None)).code == ResponseCode.SUBSCRIPTION_NOT_EXIST
    await rig.heartbeat("Other")
    assert (await rig.pull("T", expression=None)).code == ResponseCode.SUBSCRIPTION_NOT_EXIST
    await rig.heartbeat("T", expression="A")
    assert (await rig.pull("T", expression=None, sub_version=2)).code == ResponseCode.SUBSCRIPTION_NOT_LATEST
    assert (await rig.pull("T", expression=None, sub_version=1)).code == ResponseCode.PULL_RETRY_IMMEDIATELY
    await rig.send("T", b"a", properties={"TAGS": "A"})
    answer = await rig.pull("T", expression=None, sub_version=1)
    assert [m.body for m in decode_records(answer.body)] == [b"a"]


async def test_expressions_that_do_not_parse_or_are_not_served(rig: BrokerRig) -> None:
    assert (await rig.pull("T", expression=" || ")).code == ResponseCode.SUBSCRIPTION_PARSE_FAILED
    answer = await rig.pull("T", expression="a > 1", expression_type="SQL92")
    assert answer.code == ResponseCode.SYSTEM_ERROR
    assert answer.remark == "The broker does not support consumer to filter message by SQL92"


async def test_pull_family_is_not_on_the_fast_port(rig: BrokerRig) -> None:
    host, port = rig.controller.fast_address
    for code in (RequestCode.PULL_MESSAGE, RequestCode.LITE_PULL_MESSAGE):
        request = pull_request("T", lite=code == RequestCode.LITE_PULL_MESSAGE)
        answer = await rig.client.invoke(f"127.0.0.1:{port}", request, 3000)
        assert answer.code == ResponseCode.REQUEST_CODE_NOT_SUPPORTED
    assert host == "0.0.0.0"


# -- offsets that travel with pulls


async def test_offset_is_committed_with_the_pull_and_never_above_the_queue(rig: BrokerRig) -> None:
    await rig.pull("T", 0, 1, commit=1)
    assert rig.context.offsets.query(GROUP, "T", 0) == 1
    await rig.pull("T", 0, 1, commit=99)
    assert rig.context.offsets.query(GROUP, "T", 0) == 1


async def test_reset_offset_is_handed_out_once_and_commits_wait_for_it(rig: BrokerRig) -> None:
    await rig.send("T")
    await rig.pull("T", 0, 2, commit=2)
    rig.context.offsets.assign_reset_offset("T", GROUP, 0, 0)
    await rig.ask(pull_request("T", 1, 0, commit=0))
    answer = await rig.pull("T", 0, 2, commit=2)
    assert (answer.code, answer.remark) == (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_RESET")
    assert fields(answer)["nextBeginOffset"] == "0"
    assert rig.context.offsets.query(GROUP, "T", 0) == 0
    assert (await rig.pull("T", 0, 0)).code == 0


# -- waiting


async def held(rig: BrokerRig, **values: Any) -> asyncio.Task[RemotingCommand]:
    before = rig.context.long_polling.count
    task = asyncio.ensure_future(rig.pull("T", values.pop("queue_id", 1), values.pop("offset", 0), **values))
    await settle()
    assert rig.context.long_polling.count == before + 1
    assert not task.done()
    return task


async def test_pull_waits_for_the_next_message(rig: BrokerRig) -> None:
    task = await held(rig, suspend_ms=15_000)
    await rig.clock.run_ms(14_000)
    await rig.send("T", b"new", queue_id=1)
    await settle()
    answer = task.result()
    assert [m.body for m in decode_records(answer.body)] == [b"new"]
    assert rig.context.long_polling.count == 0


async def test_pull_is_answered_not_found_when_its_time_is_over(rig: BrokerRig) -> None:
    task = await held(rig, suspend_ms=15_000)
    await rig.clock.run_ms(14_900)
    assert not task.done()
    await rig.clock.run_ms(200)
    answer = task.result()
    assert answer.code == ResponseCode.PULL_NOT_FOUND
    assert fields(answer)["nextBeginOffset"] == "0"
    assert rig.context.long_polling.count == 0
    assert rig.clock.timer_count < 40


async def test_messages_of_other_tags_do_not_wake(rig: BrokerRig) -> None:
    task = await held(rig, suspend_ms=15_000, expression="A")
    await rig.send("T", b"b", queue_id=1, properties={"TAGS": "B"})
    await settle()
    assert not task.done()
    await rig.send("T", b"a", queue_id=1, properties={"TAGS": "A"})
    await settle()
    answer = task.result()
    assert [m.body for m in decode_records(answer.body)] == [b"a"]
    assert fields(answer)["nextBeginOffset"] == "2"


async def test_messages_of_other_queues_do_not_wake(rig: BrokerRig) -> None:
    task = await held(rig, suspend_ms=15_000)
    await rig.send("T", queue_id=2)
    await settle()
    assert not task.done()
    task.cancel()


async def test_short_polling_waits_as_the_broker_says() -> None:
    async with BrokerRig(long_polling_enable=False) as rig:
        await rig.send("T")
        task = await held(rig, suspend_ms=15_000)
        await rig.clock.run_ms(1100)
        assert task.result().code == ResponseCode.PULL_NOT_FOUND


async def test_too_many_waiting_pulls_are_answered_busy() -> None:
    async with BrokerRig(pull_hold_count_max=2) as rig:
        await rig.send("T")
        tasks = [await held(rig, suspend_ms=1000), await held(rig, suspend_ms=1000)]
        answer = await rig.pull("T", 1, 0, suspend_ms=1000)
        assert answer.code == ResponseCode.SYSTEM_BUSY
        await rig.clock.run_ms(1100)
        assert {task.result().code for task in tasks} == {ResponseCode.PULL_NOT_FOUND}


async def test_a_closed_connection_takes_its_waiting_pulls_along(rig: BrokerRig) -> None:
    task = await held(rig, suspend_ms=15_000)
    await rig.client.close()
    await settle()
    assert rig.context.long_polling.count == 0
    with pytest.raises(Exception, match=r"closed|ended"):
        await task


async def test_waiting_pulls_are_answered_when_the_broker_stops() -> None:
    rig = BrokerRig()
    await rig.controller.start()
    await rig.send("T")
    task = await held(rig, suspend_ms=15_000)
    await rig.controller.stop()
    await settle()
    assert task.result().code == ResponseCode.PULL_NOT_FOUND
    await rig.client.close()


async def test_a_waiting_pull_sees_a_topic_that_went(rig: BrokerRig) -> None:
    task = await held(rig, suspend_ms=15_000)
    rig.context.topics.delete("T")
    rig.context.long_polling.wake_queue("T", 1)
    await settle()
    assert task.result().code == ResponseCode.TOPIC_NOT_EXIST


async def test_cold_data_is_read_without_blocking_and_answered(rig: BrokerRig) -> None:
    for n in range(40):
        await rig.send("T", b"x" * 4000, queue_id=1)
        del n
    rig.disk.cold = True
    assert (await rig.pull("T", 1, 0)).code == 0
    task = await held(rig, suspend_ms=5000, offset=40)
    await rig.send("T", b"new", queue_id=1)
    await settle()
    assert [m.body for m in decode_records(task.result().body)] == [b"new"]
