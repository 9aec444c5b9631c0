"""POP consumption over a broker in memory: taking, acknowledging, coming back, waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from gantry.model import message_const
from gantry.model.names import dlq_topic
from gantry.protocol.remoting.codes import RequestCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.notification import NotificationRequestHeader
from gantry.protocol.remoting.header.peek_message import PeekMessageRequestHeader
from gantry.protocol.remoting.header.polling_info import PollingInfoRequestHeader
from gantry.store import reader
from gantry.testing import settle
from tests.unit.broker.broker_rig import GROUP
from tests.unit.broker.pop_rig import INVISIBLE_MS, RETRY, PopRig, popped


@pytest.fixture
async def rig() -> Any:
    async with PopRig() as rig:
        await rig.heartbeat("T")
        await rig.send("T", b"0")
        yield rig


def bodies(found: list[Any]) -> list[bytes]:
    return [one.body for one in found]


async def test_a_popped_message_is_out_and_nobody_else_gets_it(rig: PopRig) -> None:
    assert bodies(await rig.pop()) == [b"0"]
    assert await rig.pop() == []
    assert rig.context.pop.account.ledger.out_count == 1


async def test_the_answer_has_the_official_fields(rig: PopRig) -> None:
    for n in range(1, 4):
        await rig.send("T", b"%d" % n)
    answer = await rig.ask(rig.pop_request(queue_id=0, max_msg_nums=2))
    assert (answer.code, answer.remark) == (0, "FOUND")
    now = str(rig.clock.now_ms())
    assert answer.ext_fields == {
        "popTime": now,
        "invisibleTime": str(INVISIBLE_MS),
        "reviveQid": (answer.ext_fields or {})["reviveQid"],
        "restNum": "2",
        "startOffsetInfo": "0 0 0",
        "msgOffsetInfo": "0 0 0,1",
    }
    nothing = await rig.ask(rig.pop_request(queue_id=1))
    assert (nothing.code, nothing.remark) == (ResponseCode.POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE")


async def test_all_queues_come_in_one_answer(rig: PopRig) -> None:
    for queue_id in range(4):
        await rig.send("T", b"q%d" % queue_id, queue_id=queue_id)
    answer = await rig.ask(rig.pop_request())
    found = popped(answer, "T")
    assert sorted(bodies(found)) == [b"0", b"q0", b"q1", b"q2", b"q3"]
    assert (answer.ext_fields or {})["startOffsetInfo"].count(";") == 3
    for one in found:
        assert (await rig.ack(one)).code == 0
    assert rig.context.pop.account.ledger.out_count == 0
    assert [rig.committed(queue_id) for queue_id in range(4)] == [2, 1, 1, 1]


async def test_the_committed_offset_is_the_lowest_that_is_out(rig: PopRig) -> None:
    for n in range(1, 4):
        await rig.send("T", b"%d" % n)
    found = await rig.pop()
    assert rig.committed() == 0
    for index, committed in ((1, 0), (0, 2), (3, 2), (2, 4)):
        await rig.ack(found[index])
        assert rig.committed() == committed


async def test_what_is_not_acknowledged_comes_back_exactly_at_its_deadline(rig: PopRig) -> None:
    (one,) = await rig.pop()
    await rig.clock.run_ms(INVISIBLE_MS - 1)
    assert await rig.messages(RETRY) == []
    await rig.clock.run_ms(1)
    (again,) = await rig.pop()
    message = again.message
    assert (message.topic, message.body, message.reconsume_times) == ("T", b"0", 1)
    assert message.properties[message_const.FIRST_POP_TIME] == one.handle.split(" ")[1]
    assert again.handle.split(" ")[4] == "1"
    assert again.topic == RETRY
    assert (await rig.ack(again)).code == 0
    await rig.clock.run_ms(10 * INVISIBLE_MS)
    assert await rig.pop() == []
    assert (rig.committed(), rig.committed(topic=RETRY)) == (1, 1)


async def test_what_is_acknowledged_never_comes_back(rig: PopRig) -> None:
    (one,) = await rig.pop()
    assert (await rig.ack(one)).code == 0
    assert (await rig.ack(one)).code == 0
    await rig.clock.run_ms(10 * INVISIBLE_MS)
    assert await rig.pop() == []
    assert await rig.messages(RETRY) == []


async def test_an_acknowledgement_that_comes_too_late_does_not_take_the_second_try(rig: PopRig) -> None:
    (one,) = await rig.pop()
    await rig.clock.run_ms(INVISIBLE_MS)
    assert (await rig.ack(one)).code == 0
    assert bodies(await rig.pop()) == [b"0"]


async def test_batch_ack(rig: PopRig) -> None:
    for n in range(1, 40):
        await rig.send("T", b"%d" % n, queue_id=n % 2)
    found = await rig.pop() + await rig.pop()
    assert len(found) == 40
    batches: dict[tuple[str, ...], list[Any]] = {}
    for one in found:
        fields = one.handle.split(" ")
        batches.setdefault((fields[0], fields[1], fields[6]), []).append(one)
    assert (await rig.batch_ack(*batches.values())).code == 0
    assert rig.context.pop.account.ledger.out_count == 0
    assert (rig.committed(0), rig.committed(1)) == (20, 20)
    assert (await rig.ask(RemotingCommand.request(RequestCode.BATCH_ACK_MESSAGE))).code == ResponseCode.NO_MESSAGE
    assert (await rig.ask(RemotingCommand.request(RequestCode.BATCH_ACK_MESSAGE, b'{"acks":[]}'))).code == 208
    long_names = (
        b'{"acks":[{"consumerGroup":"g","topic":"T","retry":"0","startOffset":0,"queueId":0,"reviveQueueId":1,'
        b'"popTime":1,"invisibleTime":2,"bitSet":"AQ=="}],"brokerName":"b"}'
    )
    assert (await rig.ask(RemotingCommand.request(RequestCode.BATCH_ACK_MESSAGE, long_names))).code == 0


async def test_change_invisible_time_moves_the_deadline_and_ends_the_old_handle(rig: PopRig) -> None:
    (one,) = await rig.pop()
    old = one.handle
    await rig.clock.run_ms(1000)
    assert (await rig.change(one, 5000)).code == 0
    assert one.handle.split(" ")[1:3] == [str(rig.clock.now_ms()), "5000"]
    await rig.clock.run_ms(4999)
    new, one.handle = one.handle, old
    assert (await rig.ack(one)).code == 0
    assert rig.context.pop.account.ledger.out_count == 1
    await rig.clock.run_ms(1)
    assert bodies(await rig.pop()) == [b"0"]
    one.handle = new
    assert (await rig.change(one, 5000)).code == 0


async def test_limits_are_answered_with_the_official_codes(rig: PopRig) -> None:
    (one,) = await rig.pop()
    assert (await rig.ask(rig.pop_request(max_msg_nums=33))).code == ResponseCode.INVALID_PARAMETER
    assert (await rig.ask(rig.pop_request("U"))).code == ResponseCode.TOPIC_NOT_EXIST
    assert (await rig.ask(rig.pop_request(queue_id=99))).code == ResponseCode.INVALID_PARAMETER
    for expression, kind in (("a >", "SQL92"), ("a", "XYZ"), ("||", "TAG")):
        refused = await rig.ask(rig.pop_request(exp=expression, exp_type=kind))
        assert refused.code == ResponseCode.SUBSCRIPTION_PARSE_FAILED
        assert refused.remark == "parse the consumer's subscription failed"
    late = rig.pop_request(born_time=rig.clock.now_ms() - 501)
    assert (await rig.ask(late)).code == ResponseCode.POLLING_TIMEOUT
    rig.config.auto_create_subscription_group = False
    nobody = rig.pop_request(consumer_group="nobody")
    assert (await rig.ask(nobody)).code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST
    one.message.queue_offset = 99
    assert (await rig.ack(one)).code == ResponseCode.NO_MESSAGE
    assert (await rig.change(one, 1)).code == ResponseCode.NO_MESSAGE
    one.message.queue_offset, one.message.queue_id = 0, 99
    assert (await rig.ack(one)).code == ResponseCode.MESSAGE_ILLEGAL
    one.message.queue_id, one.handle = 0, "nonsense"
    assert (await rig.ack(one)).code == ResponseCode.SYSTEM_ERROR
    rig.config.pop_out_count_max = 1
    assert (await rig.ask(rig.pop_request())).code == ResponseCode.POLLING_FULL


async def test_tags_are_filtered_and_what_does_not_match_is_passed(rig: PopRig) -> None:
    for n, tag in enumerate("ABAB"):
        await rig.send("T", b"%s%d" % (tag.encode(), n), queue_id=1, properties={message_const.TAGS: tag})
    assert bodies(await rig.pop(queue_id=1, exp="A", exp_type="TAG")) == [b"A0", b"A2"]
    assert await rig.pop(queue_id=1) == []


SIZES = {"exp": "size > 5", "exp_type": "SQL92"}


async def send_sized(rig: PopRig, *sizes: int) -> None:
    for size in sizes:
        await rig.send("T", b"%d" % size, queue_id=1, properties={"size": str(size)})


async def test_properties_are_filtered_and_what_does_not_match_is_passed(rig: PopRig) -> None:
    await send_sized(rig, 4, 6, 5, 7)
    await rig.send("T", b"none", queue_id=1)
    assert bodies(await rig.pop(queue_id=1, **SIZES)) == [b"6", b"7"]
    assert await rig.pop(queue_id=1) == []


async def test_a_pop_waits_for_a_message_with_the_properties_it_asks_for(rig: PopRig) -> None:
    await rig.pop()
    waiting = asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=20_000, **SIZES)))
    await settle()
    await send_sized(rig, 4, 5)
    await settle()
    assert not waiting.done()
    await send_sized(rig, 6)
    assert bodies(popped(await waiting, "T")) == [b"6"]


async def test_a_message_that_comes_back_still_has_the_properties(rig: PopRig) -> None:
    await send_sized(rig, 4, 6)
    assert bodies(await rig.pop(queue_id=1, invisible_time=3000, **SIZES)) == [b"6"]
    waiting = asyncio.ensure_future(rig.ask(rig.pop_request(queue_id=1, poll_time=20_000, **SIZES)))
    await rig.clock.run_ms(3000)
    assert bodies(popped(await waiting, "T")) == [b"6"]


async def test_a_pop_goes_on_behind_what_a_read_may_leave_out(rig: PopRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_LOOK_TESTS_MAX", 3)
    await send_sized(rig, *[1] * 10, 6)
    answer = await rig.ask(rig.pop_request(queue_id=1, poll_time=20_000, **SIZES))
    assert bodies(popped(answer, "T")) == [b"6"]


async def test_a_new_group_begins_where_its_mode_says(rig: PopRig) -> None:
    rig.config.init_pop_offset_by_check_msg_in_mem = False
    for n in range(1, 4):
        await rig.send("T", b"%d" % n)
    await rig.heartbeat("T", group="newest", client_id="2")
    await rig.heartbeat("T", group="oldest", client_id="3")
    assert bodies(await rig.pop(consumer_group="newest", init_mode=1)) == [b"3"]
    assert bodies(await rig.pop(consumer_group="oldest", init_mode=0)) == [b"0", b"1", b"2", b"3"]


async def test_a_pop_waits_for_a_message(rig: PopRig) -> None:
    await rig.pop()
    waiting = asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=20_000)))
    await settle()
    info = PollingInfoRequestHeader(consumer_group=GROUP, topic="T", queue_id=-1)
    assert (await rig.ask(info)).ext_fields == {"pollingNum": "1"}
    await rig.send("T", b"new", queue_id=2)
    assert bodies(popped(await waiting, "T")) == [b"new"]
    assert (await rig.ask(info)).ext_fields == {"pollingNum": "0"}


async def test_a_pop_that_waits_gets_a_message_that_comes_back(rig: PopRig) -> None:
    await rig.pop(invisible_time=3000)
    waiting = asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=20_000)))
    await rig.clock.run_ms(2999)
    assert not waiting.done()
    await rig.clock.run_ms(1)
    assert bodies(popped(await waiting, "T")) == [b"0"]


async def test_a_pop_that_waits_is_answered_at_its_end(rig: PopRig) -> None:
    await rig.pop()
    waiting = asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=5000)))
    await rig.clock.run_ms(4999)
    assert not waiting.done()
    await rig.clock.run_ms(1)
    assert (await waiting).code == ResponseCode.POLLING_TIMEOUT


async def test_one_arrival_wakes_one_pop_of_each_group(rig: PopRig) -> None:
    await rig.heartbeat("T", group="others", client_id="2")
    await rig.pop()
    await rig.pop(consumer_group="others")
    waiting = [asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=20_000))) for _ in range(2)]
    other = asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=20_000, consumer_group="others")))
    await settle()
    await rig.send("T", b"new")
    await settle()
    assert [task.done() for task in (*waiting, other)] == [True, False, True]
    await rig.clock.run_ms(20_000)
    assert (await waiting[1]).code == ResponseCode.POLLING_TIMEOUT


async def test_too_many_pops_that_wait_are_answered_full() -> None:
    async with PopRig(pop_polling_size=1, max_pop_polling_size=3) as rig:
        await rig.send("T")
        await rig.heartbeat("T")
        await rig.pop()
        waiting = [asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=9000))) for _ in range(2)]
        await settle()
        assert (await rig.ask(rig.pop_request(poll_time=9000))).code == ResponseCode.POLLING_FULL
        await rig.clock.run_ms(9000)
        assert [(await task).code for task in waiting] == [210, 210]


async def test_waiting_pops_cost_little_on_topics_with_many_queues_and_long_expressions() -> None:
    async with PopRig(default_topic_queue_nums=64) as rig:
        await rig.send("T", default_topic_queue_nums=64)
        await rig.heartbeat("T")
        await rig.pop()
        pops = rig.context.pop.pops
        expression = " || ".join(f"tag-{n}" for n in range(5000))
        chars = len(expression)
        waiting = []
        for n in range(8 * 1024 * 1024 // chars + 1):
            request = rig.pop_request(poll_time=9000, exp=expression, exp_type="TAG", consumer_group=f"g{n}")
            waiting.append(asyncio.ensure_future(rig.ask(request)))
            await settle()
        assert [task.done() for task in waiting] == [False] * (len(waiting) - 1) + [True]
        assert (await waiting[-1]).code == ResponseCode.POLLING_FULL
        assert pops.count == len(waiting) - 1
        await rig.clock.run_ms(9000)
        assert {(await task).code for task in waiting[:-1]} == {ResponseCode.POLLING_TIMEOUT}
        assert pops.count == 0


async def test_a_pop_of_one_queue_waits_for_that_queue(rig: PopRig) -> None:
    await rig.pop()
    one = asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=9000, queue_id=1)))
    everything = asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=9000)))
    await settle()
    await rig.send("T", b"2", queue_id=2)
    assert bodies(popped(await everything, "T")) == [b"2"]
    assert not one.done()
    await rig.send("T", b"1", queue_id=1)
    assert bodies(popped(await one, "T")) == [b"1"]


async def test_notification(rig: PopRig) -> None:
    def ask(**fields: Any) -> NotificationRequestHeader:
        values = {"consumer_group": GROUP, "topic": "T", "queue_id": -1, "poll_time": 5000, "born_time": rig.clock.now_ms()}
        return NotificationRequestHeader(**{**values, **fields})

    assert (await rig.ask(ask())).ext_fields == {"hasMsg": "true", "pollingFull": "false"}
    await rig.pop()
    assert (await rig.ask(ask(poll_time=0))).ext_fields == {"hasMsg": "false", "pollingFull": "false"}
    waiting = asyncio.ensure_future(rig.ask(ask()))
    await rig.clock.run_ms(4000)
    await rig.send("T", b"new")
    assert ((await waiting).ext_fields or {})["hasMsg"] == "true"
    await rig.pop()
    waiting = asyncio.ensure_future(rig.ask(ask()))
    await rig.clock.run_ms(5000)
    assert ((await waiting).ext_fields or {})["hasMsg"] == "false"


async def test_peek_takes_nothing(rig: PopRig) -> None:
    request = PeekMessageRequestHeader(consumer_group=GROUP, topic="T", queue_id=-1, max_msg_nums=32)
    for _ in range(2):
        answer = await rig.ask(request)
        assert (answer.code, (answer.ext_fields or {})["restNum"]) == (0, "1")
    await rig.pop()
    assert (await rig.ask(request)).code == ResponseCode.PULL_NOT_FOUND


async def test_beyond_the_groups_limit_a_message_becomes_a_dead_letter(rig: PopRig) -> None:
    group = rig.context.subscriptions.find(GROUP)
    assert group is not None
    group.retry_max_times = 2
    for times in range(3):
        (one,) = await rig.pop()
        assert one.message.reconsume_times == times
        await rig.clock.run_ms(INVISIBLE_MS)
    assert await rig.pop() == []
    (dead,) = await rig.messages(dlq_topic(GROUP))
    assert (dead.body, dead.reconsume_times, dead.properties[message_const.RETRY_TOPIC]) == (b"0", 3, "T")


async def test_retry_topics_of_the_second_kind(rig: PopRig) -> None:
    rig.config.enable_retry_topic_v2 = True
    await rig.pop()
    await rig.clock.run_ms(INVISIBLE_MS)
    for _ in range(200):
        found = await rig.pop()
        if found:
            break
    (again,) = found
    assert again.topic == f"%RETRY%{GROUP}+T"
    assert again.handle.split(" ")[4] == "2"
    assert (await rig.ack(again)).code == 0
    assert rig.context.pop.account.ledger.out_count == 0


async def test_a_group_that_is_set_back_gets_its_messages_again(rig: PopRig) -> None:
    (one,) = await rig.pop()
    await rig.ack(one)
    rig.context.offsets.assign_reset_offset("T", GROUP, 0, 0)
    assert bodies(await rig.pop()) == [b"0"]
    assert await rig.pop() == []


async def test_deleting_a_topic_forgets_what_is_out(rig: PopRig) -> None:
    await rig.pop()
    rig.context.pop.forget_topic("T")
    assert rig.context.pop.account.ledger.out_count == 0
    await rig.clock.run_ms(INVISIBLE_MS)
    assert await rig.messages(RETRY) == []


async def test_the_wall_clock_may_jump(rig: PopRig) -> None:
    await rig.pop()
    rig.clock.jump_wall_ms(-3_600_000)
    await rig.clock.run_ms(INVISIBLE_MS - 1)
    assert await rig.pop() == []
    rig.clock.jump_wall_ms(7_200_000)
    await rig.clock.run_ms(1)
    assert bodies(await rig.pop()) == [b"0"]


async def test_a_restart_keeps_what_is_out_and_what_is_done() -> None:
    async with PopRig() as rig:
        await rig.heartbeat("T")
        for n in range(3):
            await rig.send("T", b"%d" % n)
        found = await rig.pop()
        await rig.ack(found[1])
    async with PopRig(rig.disk, clock=rig.clock) as rig:
        await rig.heartbeat("T")
        assert await rig.pop() == []
        await rig.ack(found[0])
        await rig.clock.run_ms(INVISIBLE_MS)
        assert bodies(await rig.pop()) == [b"2"]


async def test_after_another_broker_wrote_the_offsets_they_count_alone() -> None:
    async with PopRig() as rig:
        await rig.heartbeat("T")
        for n in range(3):
            await rig.send("T", b"%d" % n)
        found = await rig.pop()
        await rig.ack(found[1])
    path = rig.context.offsets.file.path
    rig.disk.replace_file(path, rig.disk.read_file(path) + b"\n")
    async with PopRig(rig.disk, clock=rig.clock) as rig:
        await rig.heartbeat("T")
        assert bodies(await rig.pop()) == [b"0", b"1", b"2"]


async def test_the_fast_port_does_not_pop(rig: PopRig) -> None:
    _, port = rig.controller.fast_address
    for code, offered in ((200050, False), (200052, False), (200054, False), (200051, True), (200151, True)):
        answer = await rig.client.invoke(f"127.0.0.1:{port}", RemotingCommand.request(code), 3000)
        assert (answer.code != ResponseCode.REQUEST_CODE_NOT_SUPPORTED) is offered, code


async def priority_rig(rig: PopRig) -> None:
    topic = rig.context.topics.select("T")
    assert topic is not None
    rig.context.topics.update_all([msgspec.structs.replace(topic, attributes={"message.type": "PRIORITY"})])
    for priority in (0, 2, 1, 9, -1, "high"):
        answer = await rig.send(
            "T", b"p%s" % str(priority).encode(), queue_id=1, properties={"_SYS_MSG_PRIORITY_": str(priority)}
        )
        assert (answer.ext_fields or {})["queueId"] == str({0: 0, 2: 2, 1: 1, 9: 3}.get(priority, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize(("ascending", "wanted"), [(True, [3, 2, 1, 1, 1, 0, 0]), (False, [0, 0, 1, 1, 1, 2, 3])])
async def test_pops_of_a_topic_of_priorities_begin_with_the_most_urgent(ascending: bool, wanted: list[int]) -> None:
    async with PopRig(priority_order_asc=ascending) as rig:
        await rig.heartbeat("T")
        await rig.send("T", b"0")
        await priority_rig(rig)
        assert [(await rig.pop(max_msg_nums=1))[0].queue_id for _ in wanted] == wanted


async def test_a_priority_counts_for_nothing_beside_order_and_delay(rig: PopRig) -> None:
    for other in ({"__SHARDINGKEY": "k"}, {"TRAN_MSG": "true", "PGROUP": "p"}, {"DELAY": "1"}):
        await rig.send("T", b"x", queue_id=1, properties={"_SYS_MSG_PRIORITY_": "3", **other})
    (ordered,) = await rig.messages("T", 1)
    assert "_SYS_MSG_PRIORITY_" not in ordered.properties
    assert await rig.messages("T", 3) == []


@pytest.mark.parametrize("attributes", [{"queue.type": "BatchCQ"}, {"cleanup.policy": "COMPACTION"}])
async def test_topics_that_an_official_broker_keeps_otherwise_are_refused_by_name(
    rig: PopRig, attributes: dict[str, str]
) -> None:
    topic = rig.context.topics.select("T")
    assert topic is not None
    rig.context.topics.update_all([msgspec.structs.replace(topic, attributes=attributes)])
    pulled, popped_, sent = await rig.pull("T"), await rig.ask(rig.pop_request()), await rig.send("T")
    for answer in (pulled, popped_, sent):
        assert answer.code == ResponseCode.NO_PERMISSION
        ((name, value),) = attributes.items()
        assert f"the topic[T] has {name}={value}" in (answer.remark or "")
