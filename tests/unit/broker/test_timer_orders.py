"""Listing, cancelling and re-scheduling what waits in the timer, over the wire."""

from __future__ import annotations

from typing import Any

import pytest

from gantry.protocol import json_dialect
from gantry.protocol.message.properties import decode_properties
from gantry.protocol.message.record import RecordView
from gantry.protocol.remoting.body.timers import PendingTimer, TimerChange, TimerChanges, TimersPage
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.header.cancel_timers import CancelTimersRequestHeader
from gantry.protocol.remoting.header.list_timers import ListTimersRequestHeader
from gantry.protocol.remoting.header.reschedule_timers import RescheduleTimersRequestHeader
from tests.unit.broker.broker_rig import BrokerRig

SECOND = 1000
HOUR = 3_600_000


async def timed(rig: BrokerRig, body: str, delay_ms: int, *, keys: str = "", topic: str = "T", **properties: str) -> int:
    """Sends a timer; returns when it is due at the earliest."""
    due_ms = rig.clock.now_ms() + delay_ms
    more = {"KEYS": keys} if keys else {}
    answer = await rig.send(
        topic,
        body.encode(),
        queue_id=0,
        properties={"UNIQ_KEY": f"ID-{body}", "TIMER_DELIVER_MS": str(due_ms), **more, **properties},
    )
    assert answer.code == 0, answer.remark
    return due_ms


async def listed(rig: BrokerRig, topic: str = "T", **fields: Any) -> list[PendingTimer]:
    """All pages."""
    found: list[PendingTimer] = []
    place = None
    while True:
        answer = await rig.ask(ListTimersRequestHeader(topic=topic, place=place, **fields))
        assert answer.code == 0, answer.remark
        page = json_dialect.decode_as(answer.body, TimersPage)
        found += page.timers
        place = page.place
        if place is None:
            return found


def names(timers: list[PendingTimer]) -> list[str]:
    return [each.unique_key.removeprefix("ID-") for each in timers]


async def changed(rig: BrokerRig, header: Any) -> list[TimerChange]:
    answer = await rig.ask(header)
    assert answer.code == 0, answer.remark
    return json_dialect.decode_as(answer.body, TimerChanges).changes


async def bodies(rig: BrokerRig, topic: str = "T") -> list[str]:
    return [each.body.decode() for each in await rig.messages(topic)]


class TestListing:
    async def test_timers_of_a_topic_come_in_the_order_of_their_time(self) -> None:
        async with BrokerRig() as rig:
            due = {name: await timed(rig, name, delay, keys=f"k-{name} all") for name, delay in (("b", 9_000), ("a", 4_000))}
            await timed(rig, "other", 5_000, topic="U")
            await rig.clock.run_ms(1)
            found = await listed(rig)
            assert names(found) == ["a", "b"]
            first = found[0]
            assert (first.topic, first.queue_id, first.keys, first.body_size) == ("T", 0, "k-a all", 1)
            assert 0 <= first.deliver_ms - due["a"] <= SECOND
            assert names(await listed(rig, begin_ms=first.deliver_ms + 1)) == ["b"]
            assert names(await listed(rig, end_ms=found[1].deliver_ms)) == ["a"]
            assert names(await listed(rig, key="all")) == ["a", "b"]
            assert names(await listed(rig, key="k-b")) == ["b"]
            assert names(await listed(rig, unique_key="ID-a")) == ["a"]
            await rig.clock.run_ms(7_000)
            assert names(await listed(rig)) == ["b"]
            assert names(await listed(rig, key="all")) == ["b"]

    async def test_pages_hold_what_was_asked_for_and_one_slot_goes_over_several(self) -> None:
        async with BrokerRig() as rig:
            for number in range(25):
                await timed(rig, f"{number}", 5_000 + number % 2 * 3_000)
            await rig.clock.run_ms(1)
            answer = await rig.ask(ListTimersRequestHeader(topic="T", max_num=4))
            page = json_dialect.decode_as(answer.body, TimersPage)
            assert len(page.timers) == 4
            assert page.place is not None
            found = names(await listed(rig, max_num=4))
            assert sorted(found, key=int) == [str(number) for number in range(25)]
            assert {int(name) % 2 for name in found[:13]} == {0}

    async def test_what_was_cancelled_is_not_listed_though_its_mark_was_on_a_page_before(self) -> None:
        async with BrokerRig() as rig:
            for number in range(6):
                await timed(rig, f"{number}", 5_000)
            await changed(rig, CancelTimersRequestHeader(topic="T", unique_key="ID-1"))
            await rig.clock.run_ms(1)
            assert sorted(names(await listed(rig, max_num=1))) == ["0", "2", "3", "4", "5"]
            assert names(await listed(rig, unique_key="ID-1")) == []

    async def test_a_timer_beyond_the_wheel_is_found_by_its_time(self) -> None:
        async with BrokerRig(timer_roll_window_slot=10) as rig:
            await timed(rig, "far", 60_000, keys="k")
            await timed(rig, "near", 3_000)
            await rig.clock.run_ms(1)
            for _ in range(4):
                found = await listed(rig, begin_ms=rig.clock.now_ms() + 15_000)
                assert names(found) == ["far"] == names(await listed(rig, key="k"))
                await rig.clock.run_ms(10_000)

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"topic": "none"}, ResponseCode.TOPIC_NOT_EXIST),
            ({"topic": "rmq_sys_wheel_timer"}, ResponseCode.NO_PERMISSION),
            ({"topic": "T", "max_num": 0}, ResponseCode.INVALID_PARAMETER),
            ({"topic": "T", "max_num": 1001}, ResponseCode.INVALID_PARAMETER),
            ({"topic": "T", "place": "here"}, ResponseCode.INVALID_PARAMETER),
            ({"topic": "T", "begin_ms": 5, "end_ms": 4}, ResponseCode.INVALID_PARAMETER),
            ({"topic": "T", "key": "a", "unique_key": "b"}, ResponseCode.INVALID_PARAMETER),
            ({"topic": "T", "key": ""}, ResponseCode.INVALID_PARAMETER),
        ],
    )
    async def test_what_cannot_be_answered_is_refused(self, fields: dict[str, Any], code: int) -> None:
        async with BrokerRig() as rig:
            await timed(rig, "x", 5_000)
            assert (await rig.ask(ListTimersRequestHeader(**fields))).code == code

    async def test_without_the_timer_or_the_index_it_says_so(self) -> None:
        async with BrokerRig(timer_wheel_enable=False) as rig:
            await rig.send("T")
            answer = await rig.ask(ListTimersRequestHeader(topic="T"))
            assert (answer.code, "timerWheelEnable" in (answer.remark or "")) == (1, True)
        async with BrokerRig(message_index_enable=False) as rig:
            await timed(rig, "x", 5_000, keys="k")
            await rig.clock.run_ms(1)
            answer = await rig.ask(CancelTimersRequestHeader(topic="T", key="k"))
            assert (answer.code, "messageIndexEnable" in (answer.remark or "")) == (1, True)
            assert names(await listed(rig)) == ["x"]


class TestCancelling:
    async def test_all_timers_of_a_key_are_cancelled_and_no_other(self) -> None:
        async with BrokerRig() as rig:
            for name, keys in (("a", "k 1"), ("b", "k"), ("c", "kk"), ("d", "1")):
                await timed(rig, name, 5_000, keys=keys)
            await timed(rig, "e", 5_000, keys="k", topic="U")
            changes = await changed(rig, CancelTimersRequestHeader(topic="T", key="k"))
            assert [(each.timer.unique_key, each.outcome) for each in changes] == [("ID-a", "cancelled"), ("ID-b", "cancelled")]
            again = await rig.ask(CancelTimersRequestHeader(topic="T", key="k"))
            assert again.code == ResponseCode.QUERY_NOT_FOUND
            await rig.clock.run_ms(8_000)
            assert sorted(await bodies(rig)) == ["c", "d"]
            assert await bodies(rig, "U") == ["e"]
            counts = rig.context.timer.account.metrics.counts
            assert {topic: each.count for topic, each in counts.items()} == {"T": 0, "U": 0}

    async def test_more_than_were_meant_is_an_error_and_nothing_is_done(self) -> None:
        async with BrokerRig() as rig:
            for name in ("a", "b", "c"):
                await timed(rig, name, 5_000, keys="k")
            answer = await rig.ask(CancelTimersRequestHeader(topic="T", key="k", max_num=2))
            assert answer.code == ResponseCode.ILLEGAL_OPERATION
            assert "3 timers" in (answer.remark or "")
            await rig.clock.run_ms(8_000)
            assert sorted(await bodies(rig)) == ["a", "b", "c"]

    async def test_what_has_been_delivered_is_not_found(self) -> None:
        async with BrokerRig() as rig:
            await timed(rig, "a", 2_000, keys="k")
            await rig.clock.run_ms(5_000)
            assert (await rig.ask(CancelTimersRequestHeader(topic="T", key="k"))).code == ResponseCode.QUERY_NOT_FOUND

    async def test_it_outlives_a_kill(self) -> None:
        async with BrokerRig() as rig:
            await timed(rig, "a", 5_000, keys="k")
            await timed(rig, "b", 5_000, keys="l")
            await changed(rig, CancelTimersRequestHeader(topic="T", key="k"))
            disk, clock = rig.disk, rig.clock
            disk.crash(keep="all")
        disk.crash(keep="all")
        async with BrokerRig(disk, clock=clock) as rig:
            await rig.clock.run_ms(8_000)
            assert await bodies(rig) == ["b"]

    async def test_where_recalling_is_forbidden_cancelling_is(self) -> None:
        async with BrokerRig(recall_message_enable=False) as rig:
            await timed(rig, "a", 5_000, keys="k")
            assert (await rig.ask(CancelTimersRequestHeader(topic="T", key="k"))).code == ResponseCode.NO_PERMISSION


class TestRescheduling:
    async def test_it_comes_once_at_the_new_time_with_all_it_had(self) -> None:
        async with BrokerRig() as rig:
            await timed(rig, "a", 5_000, keys="k x", TAGS="t", colour="red")
            target = rig.clock.now_ms() + 20_000
            (change,) = await changed(rig, RescheduleTimersRequestHeader(topic="T", key="k", deliver_ms=target))
            assert (change.outcome, change.new_unique_key) == ("rescheduled", "ID-a")
            assert change.new_deliver_ms is not None
            assert 0 <= change.new_deliver_ms - target <= SECOND
            await rig.clock.run_ms(1)
            assert [each.deliver_ms for each in await listed(rig)] == [change.new_deliver_ms]
            await rig.clock.run_ms(15_000)
            assert await bodies(rig) == []
            await rig.clock.run_ms(10_000)
            (message,) = await rig.messages("T")
            assert message.body == b"a"
            assert message.store_timestamp >= target
            wanted = {"KEYS": "k x", "TAGS": "t", "colour": "red", "UNIQ_KEY": "ID-a", "TIMER_DELIVER_MS": str(target)}
            assert message.properties.items() >= wanted.items()

    async def test_there_and_back_again(self) -> None:
        async with BrokerRig() as rig:
            first = await timed(rig, "a", 10_000, keys="k")
            for target in (first + 20_000, first, first + 20_000, first):
                (change,) = await changed(rig, RescheduleTimersRequestHeader(topic="T", key="k", deliver_ms=target))
                assert change.outcome == "rescheduled"
                assert len(await listed(rig, key="k")) == 1
            assert change.new_unique_key != "ID-a"
            await rig.clock.run_ms(60_000)
            (message,) = await rig.messages("T")
            assert first <= message.store_timestamp <= first + 2 * SECOND

    async def test_to_the_same_time_is_no_change_and_to_the_past_is_now(self) -> None:
        async with BrokerRig() as rig:
            due = await timed(rig, "a", 10_000, keys="k")
            (change,) = await changed(rig, RescheduleTimersRequestHeader(topic="T", key="k", deliver_ms=due))
            assert change.outcome == "unchanged"
            (change,) = await changed(rig, RescheduleTimersRequestHeader(topic="T", key="k", deliver_ms=0))
            assert change.outcome == "rescheduled"
            assert await bodies(rig) == ["a"]
            await rig.clock.run_ms(20_000)
            assert await bodies(rig) == ["a"]

    async def test_repeated_after_a_crash_in_between_it_leaves_one(self) -> None:
        """What the crash leaves: the new message stored, the mark not."""
        async with BrokerRig() as rig:
            due = await timed(rig, "a", 10_000, keys="k")
            target = due + 30_000
            store = rig.context.store
            write = store.write
            kept = []

            def cut(plan: Any) -> None:
                kept.append(plan)
                write(plan)

            store.write = cut  # type: ignore[method-assign]
            await changed(rig, RescheduleTimersRequestHeader(topic="T", key="k", deliver_ms=target))
            store.write = write  # type: ignore[method-assign]
            _, mark = kept[0].records
            disk, clock = rig.disk, rig.clock
            path = f"{rig.config.store_path_root_dir}/commitlog/{0:020d}"
            disk.crash(keep="all")
            file = disk.open(path)
            file.pwrite(bytes(mark.size), mark.physical_offset)
            file.sync()
            file.close()
        async with BrokerRig(disk, clock=clock) as rig:
            await rig.clock.run_ms(1)
            assert len(await listed(rig, key="k")) == 2
            changes = await changed(rig, RescheduleTimersRequestHeader(topic="T", key="k", deliver_ms=target))
            assert sorted(each.outcome for each in changes) == ["rescheduled", "unchanged"]
            await rig.clock.run_ms(60_000)
            assert await bodies(rig) == ["a"]

    async def test_too_far_is_refused_and_the_timer_stays(self) -> None:
        async with BrokerRig() as rig:
            await timed(rig, "a", 10_000, keys="k")
            far = rig.clock.now_ms() + 4 * 24 * HOUR
            answer = await rig.ask(RescheduleTimersRequestHeader(topic="T", key="k", deliver_ms=far))
            assert answer.code == ResponseCode.MESSAGE_ILLEGAL
            await rig.clock.run_ms(20_000)
            assert await bodies(rig) == ["a"]

    async def test_the_mark_is_the_official_one(self) -> None:
        async with BrokerRig(append_topic_for_timer_delete_key=True) as rig:
            await timed(rig, "a", 10_000, keys="k")
            await changed(rig, CancelTimersRequestHeader(topic="T", key="k"))
            offset = rig.context.store.physical_offset_at("rmq_sys_wheel_timer", 0, 1)
            assert isinstance(offset, int)
            record = await rig.context.store.message_at(offset)
            assert record is not None
            properties = decode_properties(RecordView(record).properties)
            assert properties["TIMER_DEL_UNIQKEY"] == "T+ID-a"
            assert properties["UNIQ_KEY"] == "ID-a"
