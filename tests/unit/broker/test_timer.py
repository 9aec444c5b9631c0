"""Arbitrary delivery times on a whole broker in memory: in time, recalled, refused, over restarts and jumps of the clock."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from gantry.model import MessageExt
from gantry.protocol.disk.timer_checkpoint_layout import decode_timer_checkpoint
from gantry.protocol.remoting.codes import RequestCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.recall_message import RecallMessageRequestHeader
from gantry.testing import MemoryDisk, VirtualClock
from tests.unit.broker.broker_rig import ROOT, BrokerRig
from tests.unit.store.store_world import STORES, copy_into, expected

DAY_MS = 86_400_000


@pytest.fixture
async def rig() -> Any:
    async with BrokerRig() as rig:
        await rig.send("T")
        yield rig


async def bodies(rig: BrokerRig, topic: str = "T", queue_id: int = 1) -> list[bytes]:
    return [message.body for message in await rig.messages(topic, queue_id)]


async def recall(rig: BrokerRig, handle: str, topic: str = "T") -> RemotingCommand:
    return await rig.ask(RecallMessageRequestHeader(producer_group="P", topic=topic, recall_handle=handle))


def handle_of(answer: RemotingCommand) -> str:
    return str((answer.ext_fields or {})["recallHandle"])


def encoded(*parts: object) -> str:
    return base64.urlsafe_b64encode(" ".join(str(part) for part in parts).encode()).decode()


# -- in time


@pytest.mark.parametrize(
    ("name", "value", "due_ms"),
    [
        ("TIMER_DELAY_MS", "5300", 6000),
        ("TIMER_DELAY_MS", "5000", 5000),
        ("TIMER_DELAY_MS", "1", 1000),
        ("TIMER_DELAY_SEC", "7", 7000),
        ("TIMER_DELIVER_MS", "+4001", 5000),
        ("TIMER_DELAY_SEC", "3600", 3_600_000),
    ],
)
async def test_a_message_comes_when_its_slot_is_over(rig: BrokerRig, name: str, value: str, due_ms: int) -> None:
    begun = rig.clock.now_ms()
    assert begun % 1000 == 0
    text = str(begun + int(value)) if value.startswith("+") else value
    answer = await rig.send("T", b"later", queue_id=1, properties={name: text, "TAGS": "A", "KEYS": "k"})
    assert answer.code == 0
    assert (answer.ext_fields or {})["queueId"] == "1"
    await rig.clock.run_ms(due_ms - 1)
    assert await bodies(rig) == []
    await rig.clock.run_ms(1)
    (message,) = await rig.messages("T", 1)
    assert (message.body, message.tags, message.keys) == (b"later", "A", "k")
    assert message.store_timestamp == begun + due_ms
    assert "REAL_TOPIC" not in message.properties
    assert message.properties["TIMER_DEQUEUE_MS"] == str(begun + due_ms)
    await rig.clock.run_ms(10_000)
    assert len(await rig.messages("T", 1)) == 1


@pytest.mark.parametrize("precision_ms", [100, 250])
async def test_a_finer_wheel_is_finer(precision_ms: int) -> None:
    async with BrokerRig(timer_precision_ms=precision_ms) as rig:
        await rig.send("T")
        begun = rig.clock.now_ms()
        await rig.send("T", b"later", queue_id=1, properties={"TIMER_DELAY_MS": "1501"})
        await rig.clock.run_ms(1500)
        assert await bodies(rig) == []
        await rig.clock.run_ms(precision_ms)
        (message,) = await rig.messages("T", 1)
        assert 1501 <= message.store_timestamp - begun < 1501 + precision_ms


async def test_thousands_of_one_slot_all_come_in_order(rig: BrokerRig) -> None:
    for number in range(2_000):
        await rig.send("T", b"%d" % number, queue_id=1, properties={"TIMER_DELAY_SEC": "3"})
    await rig.clock.run_ms(3_000)
    assert await bodies(rig) == [b"%d" % number for number in range(2_000)]


async def test_what_is_due_already_is_an_ordinary_message(rig: BrokerRig) -> None:
    past = str(rig.clock.now_ms() - 1)
    for name, value in [("TIMER_DELIVER_MS", past), ("TIMER_DELAY_SEC", "0"), ("TIMER_DELAY_MS", "-5")]:
        answer = await rig.send("T", name.encode(), queue_id=1, properties={name: value})
        assert answer.code == 0
        assert "recallHandle" not in (answer.ext_fields or {})
    assert len(await bodies(rig)) == 3


async def test_seconds_count_before_ms_before_a_time_and_a_level_before_all(rig: BrokerRig) -> None:
    every = {"TIMER_DELAY_SEC": "9", "TIMER_DELAY_MS": "4000", "TIMER_DELIVER_MS": "1"}
    await rig.send("T", b"9", queue_id=1, properties=every)
    await rig.send("T", b"4", queue_id=1, properties={"TIMER_DELAY_MS": "4000", "TIMER_DELIVER_MS": "1"})
    await rig.send("T", b"level", queue_id=1, properties={**every, "DELAY": "1"})
    await rig.clock.run_ms(1_000)
    assert await bodies(rig) == [b"level"]
    (message,) = await rig.messages("T", 1)
    assert not every.keys() & message.properties.keys()
    await rig.clock.run_ms(3_000)
    assert await bodies(rig) == [b"level", b"4"]
    await rig.clock.run_ms(5_000)
    assert await bodies(rig) == [b"level", b"4", b"9"]


async def test_a_message_that_came_out_of_a_timer_and_is_sent_on_waits_no_second_time(rig: BrokerRig) -> None:
    await rig.send("T", b"on", queue_id=1, properties={"TIMER_DELAY_SEC": "2"})
    await rig.clock.run_ms(2_000)
    (message,) = await rig.messages("T", 1)
    await rig.send("T", b"on", queue_id=2, properties=message.properties)
    assert await bodies(rig, queue_id=2) == [b"on"]


async def test_a_far_message_is_put_back_until_it_is_near(rig: BrokerRig) -> None:
    rig.context.timer.book.roll_window_slots = 10
    begun = rig.clock.now_ms()
    await rig.send("T", b"far", queue_id=1, properties={"TIMER_DELAY_SEC": "60"})
    await rig.clock.run_ms(60_000)
    (message,) = await rig.messages("T", 1)
    assert message.store_timestamp == begun + 60_000
    assert int(message.properties["TIMER_ROLL_TIMES"]) >= 5
    assert rig.context.timer.account.metrics.counts["T"].count == 0


# -- refused


@pytest.mark.parametrize(
    ("properties", "remark"),
    [
        ({"TIMER_DELAY_SEC": "259201"}, "bigger than the max delay 259200000ms"),
        ({"TIMER_DELAY_MS": "soon"}, "timer message illegal"),
        ({"TIMER_DELIVER_MS": "9223372036854775808"}, "timer message illegal"),
        ({"TIMER_DELAY_SEC": "1_0"}, "timer message illegal"),
        ({"TIMER_DELAY_SEC": "\u0663"}, "timer message illegal"),
        ({"TIMER_DELIVER_MS": "5", "TIMER_DEL_UNIQKEY": "k"}, "if set del msg"),
    ],
)
async def test_bad_times_are_refused_and_nothing_is_stored(rig: BrokerRig, properties: dict[str, str], remark: str) -> None:
    answer = await rig.send("T", queue_id=1, properties=properties)
    assert answer.code == ResponseCode.MESSAGE_ILLEGAL
    assert remark in (answer.remark or "")
    await rig.clock.run_ms(10_000)
    assert await bodies(rig) == []
    assert rig.context.store.max_offset("rmq_sys_wheel_timer", 0) == 0


async def test_the_longest_delay_may_be_years() -> None:
    async with BrokerRig(timer_max_delay_sec=5 * 365 * 86_400) as rig:
        await rig.send("T")
        answer = await rig.send("T", queue_id=1, properties={"TIMER_DELAY_SEC": str(4 * 365 * 86_400)})
        assert answer.code == 0


async def test_a_broker_without_a_wheel_says_so() -> None:
    async with BrokerRig(timer_wheel_enable=False) as rig:
        await rig.send("T")
        answer = await rig.send("T", queue_id=1, properties={"TIMER_DELAY_SEC": "5"})
        assert (answer.code, answer.remark) == (1, "accurate timer message is not enabled, timerWheelEnable is false")
        assert (await rig.ask(RemotingCommand.request(RequestCode.GET_TIMER_METRICS))).code == 1


async def test_properties_that_would_not_fit_when_it_fires_are_refused_at_the_door(rig: BrokerRig) -> None:
    answer = await rig.send("T", queue_id=1, properties={"TIMER_DELAY_SEC": "5", "x": "y" * 32_500})
    assert answer.code == ResponseCode.MESSAGE_ILLEGAL
    assert (await rig.send("T", queue_id=1, properties={"TIMER_DELAY_SEC": "5", "x": "y" * 32_000})).code == 0
    await rig.clock.run_ms(5_000)
    assert len(await rig.messages("T", 1)) == 1


async def test_a_full_slot_refuses_some_and_at_twice_as_many_all(rig: BrokerRig) -> None:
    await rig.ask(RemotingCommand.request(RequestCode.GET_BROKER_RUNTIME_INFO))
    rig.config.timer_congest_num_each_slot = 20
    at = str(rig.clock.now_ms() + 10_000)
    codes = [(await rig.send("T", queue_id=1, properties={"TIMER_DELIVER_MS": at})).code for _ in range(400)]
    assert codes[:20] == [0] * 20
    assert 20 < codes.count(0) <= 41
    assert codes[-100:] == [1] * 100
    answer = await rig.send("T", queue_id=1, properties={"TIMER_DELIVER_MS": at})
    assert "under flow control, max num limit is 40" in (answer.remark or "")


async def test_nobody_sends_to_the_timers_topic(rig: BrokerRig) -> None:
    answer = await rig.send("rmq_sys_wheel_timer", properties={"TIMER_OUT_MS": "1", "REAL_TOPIC": "T", "REAL_QID": "1"})
    assert answer.code == ResponseCode.NO_PERMISSION


# -- recalled


async def test_a_recalled_message_does_not_come_and_others_do(rig: BrokerRig) -> None:
    answers = [
        await rig.send("T", b"%d" % n, queue_id=1, properties={"TIMER_DELAY_SEC": "5", "UNIQ_KEY": f"K{n}"}) for n in range(6)
    ]
    for answer in answers[::2]:
        recalled = await recall(rig, handle_of(answer))
        assert recalled.code == 0
        assert (recalled.ext_fields or {})["msgId"] == (answer.ext_fields or {})["transactionId"]
        assert (recalled.ext_fields or {})["MSG_REGION"] == "DefaultRegion"
    assert rig.context.timer.account.metrics.counts["T"].count == 3
    await rig.clock.run_ms(10_000)
    assert await bodies(rig) == [b"1", b"3", b"5"]
    assert rig.context.timer.account.metrics.counts["T"].count == 0


async def test_a_recall_in_the_last_moment_counts(rig: BrokerRig) -> None:
    answer = await rig.send("T", queue_id=1, properties={"TIMER_DELAY_SEC": "5"})
    await rig.clock.run_ms(4_000)
    assert (await recall(rig, handle_of(answer))).code == 0
    await rig.clock.run_ms(5_000)
    assert await bodies(rig) == []


async def test_a_recalled_far_message_is_recalled_over_all_its_rolls(rig: BrokerRig) -> None:
    rig.context.timer.book.roll_window_slots = 10
    first = await rig.send("T", b"a", queue_id=1, properties={"TIMER_DELAY_SEC": "60", "UNIQ_KEY": "A"})
    await rig.send("T", b"b", queue_id=1, properties={"TIMER_DELAY_SEC": "60", "UNIQ_KEY": "B"})
    await rig.clock.run_ms(7_000)
    assert (await recall(rig, handle_of(first))).code == 0
    await rig.clock.run_ms(60_000)
    assert await bodies(rig) == [b"b"]


async def test_the_same_key_in_another_topic_is_not_recalled(rig: BrokerRig) -> None:
    await rig.send("U")
    answer = await rig.send("T", b"t", queue_id=1, properties={"TIMER_DELAY_SEC": "5", "UNIQ_KEY": "K"})
    await rig.send("U", b"u", queue_id=1, properties={"TIMER_DELAY_SEC": "5", "UNIQ_KEY": "K"})
    await recall(rig, handle_of(answer))
    await rig.clock.run_ms(6_000)
    assert await bodies(rig) == []
    assert await bodies(rig, "U") == [b"u"]


@pytest.mark.parametrize("with_topic", [False, True])
async def test_marks_of_either_spelling_are_understood(rig: BrokerRig, with_topic: bool) -> None:
    answer = await rig.send("T", queue_id=1, properties={"TIMER_DELAY_SEC": "5"})
    rig.config.append_topic_for_timer_delete_key = with_topic
    assert (await recall(rig, handle_of(answer))).code == 0
    await rig.clock.run_ms(6_000)
    assert await bodies(rig) == []


async def test_a_producers_own_mark_recalls_too(rig: BrokerRig) -> None:
    at = str(rig.clock.now_ms() + 5_500)
    await rig.send("T", queue_id=1, properties={"TIMER_DELIVER_MS": at, "UNIQ_KEY": "K"})
    answer = await rig.send("T", queue_id=1, properties={"TIMER_DELIVER_MS": at, "TIMER_DEL_UNIQKEY": "K"})
    assert answer.code == 0
    await rig.clock.run_ms(7_000)
    assert await bodies(rig) == []


async def test_recalls_that_cannot_be_are_refused(rig: BrokerRig) -> None:
    at = rig.clock.now_ms() + 5_001
    cases = [
        ("T", "", "recall handle is invalid", ResponseCode.ILLEGAL_OPERATION),
        ("T", "***", "recall handle is invalid", ResponseCode.ILLEGAL_OPERATION),
        ("T", encoded("v2", "T", "broker-a", at, "K"), "recall handle is invalid", ResponseCode.ILLEGAL_OPERATION),
        ("T", encoded("v1", "T", "broker-a", at), "recall handle is invalid", ResponseCode.ILLEGAL_OPERATION),
        ("T", encoded("v1", "U", "broker-a", at, "K"), "recall failed, topic not match", ResponseCode.ILLEGAL_OPERATION),
        ("T", encoded("v1", "T", "broker-b", at, "K"), "recall failed, broker service not available", 29),
        ("T", encoded("v1", "T", "broker-a", "x", "K"), "recall failed, timestamp invalid", ResponseCode.ILLEGAL_OPERATION),
        ("T", encoded("v1", "T", "broker-a", 1, "K"), "recall failed, timestamp invalid", ResponseCode.ILLEGAL_OPERATION),
        ("T", encoded("v1", "T", "broker-a", at + 3 * DAY_MS, "K"), "recall failed, timestamp invalid", 29),
        (
            "No",
            encoded("v1", "No", "broker-a", at, "K"),
            "recall failed, the topic[No] not exist",
            ResponseCode.TOPIC_NOT_EXIST,
        ),
    ]
    for topic, handle, remark, code in cases:
        answer = await recall(rig, handle, topic)
        assert answer.remark == remark, handle
        if code != 29:
            assert answer.code == code
    rig.config.recall_message_enable = False
    answer = await recall(rig, encoded("v1", "T", "broker-a", at, "K"))
    assert (answer.code, answer.remark) == (ResponseCode.NO_PERMISSION, "recall failed, operation is forbidden")


# -- restarts and clocks


async def test_timers_wait_over_a_stop_and_those_due_meanwhile_come_at_once() -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        for seconds in (5, 20, 90):
            await rig.send("T", b"%d" % seconds, queue_id=1, properties={"TIMER_DELAY_SEC": str(seconds)})
        await rig.clock.run_ms(6_000)
        assert await bodies(rig) == [b"5"]
    rig.clock.jump_wall_ms(30_000)
    async with BrokerRig(rig.disk, clock=rig.clock) as again:
        await again.clock.run_ms(1_000)
        assert await bodies(again) == [b"5", b"20"]
        await again.clock.run_ms(60_000)
        assert await bodies(again) == [b"5", b"20", b"90"]


async def test_timers_wait_over_a_stop_of_weeks() -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        for hours in (1, 50, 70):
            await rig.send("T", b"%d" % hours, queue_id=1, properties={"TIMER_DELAY_SEC": str(hours * 3600)})
        await rig.clock.run_ms(3_000)
    rig.clock.jump_wall_ms(40 * DAY_MS)
    async with BrokerRig(rig.disk, clock=rig.clock) as again:
        await again.clock.run_ms(5_000)
        assert sorted(await bodies(again)) == [b"1", b"50", b"70"]
        await again.send("T", b"new", queue_id=1, properties={"TIMER_DELAY_SEC": "10"})
        await again.clock.run_ms(11_000)
        assert sorted(await bodies(again)) == [b"1", b"50", b"70", b"new"]


@pytest.mark.parametrize("back_ms", [1_500, 3_600_000, 20 * DAY_MS])
@pytest.mark.parametrize("restart", [False, True])
async def test_after_the_clock_jumped_back_nothing_is_early_lost_or_doubled(back_ms: int, restart: bool) -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        for seconds in (2, 30):
            await rig.send("T", b"%d" % seconds, queue_id=1, properties={"TIMER_DELAY_SEC": str(seconds)})
        await rig.clock.run_ms(5_000)
        assert await bodies(rig) == [b"2"]
        rig.clock.jump_wall_ms(-back_ms)
        if not restart:
            await _after_the_jump(rig, back_ms)
    if restart:
        async with BrokerRig(rig.disk, clock=rig.clock) as again:
            await _after_the_jump(again, back_ms)


async def _after_the_jump(rig: BrokerRig, back_ms: int) -> None:
    await rig.clock.run_ms(1_000)
    await rig.send("T", b"new", queue_id=1, properties={"TIMER_DELAY_SEC": "3"})
    await rig.clock.run_ms(2_000)
    assert b"new" not in await bodies(rig)
    await rig.clock.run_ms(2_000)
    assert await bodies(rig) == [b"2", b"new"]
    rig.clock.jump_wall_ms(back_ms)
    await rig.clock.run_ms(30_000)
    assert await bodies(rig) == [b"2", b"new", b"30"]


async def test_a_java_brokers_pending_timers_come_here_and_its_recalled_ones_do_not() -> None:
    wanted = expected("timer")
    clock = VirtualClock(wanted["stoppedAtMs"] + 1_000)
    disk = MemoryDisk(clock=clock)
    copy_into(disk, STORES / "timer", ROOT)
    file = disk.open(f"{ROOT}/timerwheel", create=True)
    file.pwrite(gzip.decompress((STORES / "timer" / "timerwheel.gz").read_bytes()), 0)
    file.sync()
    disk.sync_dir(ROOT)
    async with BrokerRig(disk, clock=clock, broker_name="broker-t", mapped_file_size_timer_log=1040) as rig:
        before = {message.msg_id for topic in ("TimerA", "TimerB") for message in await every(rig, topic)}
        assert {each["msgId"] for each in wanted["messages"] if each["state"] == "fired"} <= before
        pending = [each for each in wanted["messages"] if each["state"] == "pending"]
        await rig.clock.run_ms(601_000)
        came = [m for topic in ("TimerA", "TimerB") for m in await every(rig, topic) if m.msg_id not in before]
        assert sorted(m.keys for m in came) == sorted(each["keys"] for each in pending if each["group"] == "minutes")
        assert all(m.store_timestamp >= int(m.properties["TIMER_OUT_MS"]) + 1000 for m in came)
        for _ in range(30):
            clock.jump_wall_ms(DAY_MS // 10)
            await rig.clock.run_ms(5_000)
        came = [m for topic in ("TimerA", "TimerB") for m in await every(rig, topic) if m.msg_id not in before]
        assert sorted(m.keys for m in came) == sorted(each["keys"] for each in pending)
        assert {topic: each.count for topic, each in rig.context.timer.account.metrics.counts.items()} == {
            "TimerA": 0,
            "TimerB": 0,
        }


async def every(rig: BrokerRig, topic: str) -> list[MessageExt]:
    return [message for queue_id in (0, 1) for message in await rig.messages(topic, queue_id)]


# -- what operators see


async def test_operators_see_how_far_the_timer_is(rig: BrokerRig) -> None:
    for number in range(5):
        await rig.send("T", queue_id=1, properties={"TIMER_DELAY_SEC": str(10 + number)})
    await rig.clock.run_ms(2_000)
    answer = await rig.ask(RemotingCommand.request(RequestCode.GET_TIMER_CHECK_POINT))
    check = decode_timer_checkpoint(answer.body)
    assert check is not None
    assert len(answer.body) == 56
    assert (check.last_timer_queue_offset, check.master_timer_queue_offset) == (5, 5)
    assert check.last_read_time_ms == rig.clock.now_ms()
    answer = await rig.ask(RemotingCommand.request(RequestCode.GET_TIMER_METRICS))
    assert json.loads(answer.body)["timingCount"]["T"]["count"] == 5
    info = json.loads((await rig.ask(RemotingCommand.request(RequestCode.GET_BROKER_RUNTIME_INFO))).body)["table"]
    assert (info["timerReadBehind"], info["timerOffsetBehind"], info["timerCongestNum"]) == ("0", "0", "5")
    assert (info["timerEnqueueTps"], info["timerDequeueTps"]) == ("2.5", "0.0")


async def test_entering_and_firing_can_be_stopped(rig: BrokerRig) -> None:
    rig.config.timer_stop_dequeue = True
    await rig.send("T", b"a", queue_id=1, properties={"TIMER_DELAY_SEC": "2"})
    await rig.clock.run_ms(10_000)
    assert await bodies(rig) == []
    rig.config.timer_stop_enqueue = True
    rig.config.timer_stop_dequeue = False
    await rig.send("T", b"b", queue_id=1, properties={"TIMER_DELAY_SEC": "2"})
    await rig.clock.run_ms(10_000)
    assert await bodies(rig) == [b"a"]
    rig.config.timer_stop_enqueue = False
    await rig.clock.run_ms(2_000)
    assert await bodies(rig) == [b"a", b"b"]
