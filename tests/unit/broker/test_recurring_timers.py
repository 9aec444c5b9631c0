"""Messages by cron expressions: each time once, over stops and crashes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gantry.broker.recurring import Cron, CronIllegal
from gantry.broker.recurring.definition import Definition
from gantry.protocol import json_dialect
from gantry.protocol.message.properties import encode_properties
from gantry.protocol.remoting.body.timers import RecurringTimer, RecurringTimers
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.header.cancel_timers import CancelTimersRequestHeader
from gantry.protocol.remoting.header.create_recurring_timer import CreateRecurringTimerRequestHeader
from gantry.protocol.remoting.header.delete_recurring_timer import DeleteRecurringTimerRequestHeader
from gantry.protocol.remoting.header.list_recurring_timers import ListRecurringTimersRequestHeader
from gantry.testing import MemoryDisk, VirtualClock
from tests.unit.broker.broker_rig import BrokerRig

MINUTE = 60_000


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


class TestCron:
    @pytest.mark.parametrize(
        ("expression", "zone", "after", "following"),
        [
            ("*/15 * * * *", "UTC", "2026-11-28T10:00", ["2026-11-28T10:15", "2026-11-28T10:30"]),
            ("0 9 * * MON-FRI", "Europe/Berlin", "2026-11-27T09:00", ["2026-11-30T09:00", "2026-12-01T09:00"]),
            ("*/20 * * * * *", "UTC", "2026-11-28T10:00:05", ["2026-11-28T10:00:20", "2026-11-28T10:00:40"]),
            ("0 0 L * *", "UTC", "2028-02-01T00:00", ["2028-02-29T00:00", "2028-03-31T00:00"]),
            ("30 2 * * *", "Europe/Berlin", "2026-03-28T02:30", ["2026-03-29T03:00", "2026-03-30T02:30"]),
            ("30 2 * * *", "Europe/Berlin", "2026-10-24T02:30", ["2026-10-25T02:30", "2026-10-26T02:30"]),
        ],
    )
    def test_times(self, expression: str, zone: str, after: str, following: list[str]) -> None:
        cron, time_ms = Cron(expression, zone), at(after, zone)
        for wanted in following:
            found = cron.next_ms(time_ms)
            assert found is not None
            assert (
                datetime.fromtimestamp(found / 1000, ZoneInfo(zone)).replace(tzinfo=None).isoformat()[:19].removesuffix(":00")
                == wanted
            )
            assert found > time_ms
            time_ms = found

    def test_the_last_time_before_is_the_one_that_counting_up_finds(self) -> None:
        for expression in ("* * * * *", "*/7 * * * * *", "0 9 * * *", "0 0 1 * *", "0 0 29 2 *"):
            cron = Cron(expression, "Europe/Berlin")
            upto, after = at("2026-11-28T10:07:03"), at("2026-11-28T09:55:01") if "/" in expression else at("2024-01-01")
            if expression.startswith("* "):
                after = at("2026-11-28T01:00")
            last, following = None, cron.next_ms(after)
            while following is not None and following <= upto:
                last, following = following, cron.next_ms(following)
            assert cron.last_ms(upto, after) == last
            assert cron.last_ms(after, after) is None
            if last is not None:
                assert cron.last_ms(last, after) == last
                assert cron.last_ms(last, last) is None

    @pytest.mark.parametrize(
        ("expression", "zone"),
        [
            ("", "UTC"),
            ("* * * *", "UTC"),
            ("61 * * * *", "UTC"),
            ("*/0 * * * *", "UTC"),
            ("0 0 31 2 *", "UTC"),
            ("1" * 5000 + " * * * *", "UTC"),
            ("* * * * *", ""),
            ("* * * * *", "../../etc/passwd"),
            ("* * * * *", "/etc/localtime"),
            ("* * * * *", "Mars/Olympus"),
        ],
    )
    def test_what_is_none_is_refused(self, expression: str, zone: str) -> None:
        with pytest.raises(CronIllegal):
            Cron(expression, zone)

    def test_unique_ids_tell_timers_and_times_apart(self) -> None:
        def one(name: str, unique_id: str) -> Definition:
            return Definition(name, "T", "* * * * *", "UTC", "once", -1, {}, b"", 0, unique_id)

        ids = ["7F00000100640000000100000000ABCD"[:32].ljust(32, "0"), "7F000001006400000001000000010000"]
        months = [int(datetime(2026 + number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000) for number in range(60)]
        keys = [
            one(name, unique_id).unique_key(due + more)
            for name in ("a", "b")
            for unique_id in ids
            for due in months
            for more in (0, 1000, MINUTE)
        ]
        assert len(set(keys)) == len(keys)
        assert {len(key) for key in keys} == {32}


def create(name: str = "job", cron: str = "* * * * *", **fields: Any) -> CreateRecurringTimerRequestHeader:
    return CreateRecurringTimerRequestHeader(name=name, topic="T", cron=cron, queue_id=0, **fields)


async def created(rig: BrokerRig, header: CreateRecurringTimerRequestHeader, body: bytes = b"tick") -> RecurringTimer:
    answer = await rig.ask(header, body)
    assert answer.code == 0, answer.remark
    return json_dialect.decode_as(answer.body, RecurringTimer)


async def times(rig: BrokerRig) -> list[int]:
    """Of the messages that came by cron."""
    return [int(each.properties["CRON_TIME_MS"]) for each in await rig.messages("T") if "CRON_TIME_MS" in each.properties]


async def recurring(rig: BrokerRig, topic: str | None = None) -> list[RecurringTimer]:
    answer = await rig.ask(ListRecurringTimersRequestHeader(topic=topic))
    return json_dialect.decode_as(answer.body, RecurringTimers).timers


class Stopped(Exception):
    pass


async def killed(rig: BrokerRig) -> tuple[MemoryDisk, VirtualClock]:
    """What a kill leaves: the disk as it is now, whatever the process would still have written."""
    rig.disk.crash(keep="all")
    return rig.disk, rig.clock


class TestRecurring:
    async def test_one_message_comes_each_time_and_not_early(self) -> None:
        async with BrokerRig() as rig:
            await rig.send("T", queue_id=0)
            header = create(properties=encode_properties({"TAGS": "t", "KEYS": "k", "colour": "red"}).decode())
            begin = rig.clock.now_ms()
            told = await created(rig, header)
            assert told.next_ms == begin - begin % MINUTE + MINUTE
            await rig.clock.run_ms(5 * MINUTE)
            found = [each for each in await rig.messages("T") if each.body == b"tick"]
            assert await times(rig) == [told.next_ms + number * MINUTE for number in range(5)]
            for each in found:
                late_ms = each.store_timestamp - int(each.properties["CRON_TIME_MS"])
                assert 0 <= late_ms <= 1000
                wanted = {"TAGS": "t", "KEYS": "k", "colour": "red", "CRON_NAME": "job"}
                assert each.properties.items() >= wanted.items()
            assert len({each.properties["UNIQ_KEY"] for each in found}) == 5

    async def test_listing_and_deleting(self) -> None:
        async with BrokerRig() as rig:
            await rig.send("T", queue_id=0)
            await created(rig, create("a"))
            await created(rig, create("b", "0 0 1 1 *", time_zone="Europe/Berlin", missed="skip"))
            assert [(each.name, each.cron, each.time_zone, each.missed) for each in await recurring(rig, "T")] == [
                ("a", "* * * * *", "UTC", "once"),
                ("b", "0 0 1 1 *", "Europe/Berlin", "skip"),
            ]
            assert await recurring(rig, "U") == []
            await rig.clock.run_ms(MINUTE)
            assert (await rig.ask(DeleteRecurringTimerRequestHeader(name="a"))).code == 0
            assert (await rig.ask(DeleteRecurringTimerRequestHeader(name="a"))).code == ResponseCode.QUERY_NOT_FOUND
            assert [each.name for each in await recurring(rig)] == ["b"]
            before = await times(rig)
            await rig.clock.run_ms(3 * MINUTE)
            assert await times(rig) == before
            again = await created(rig, create("a"))
            await rig.clock.run_ms(MINUTE)
            assert await times(rig) == [*before, again.next_ms]

    async def test_one_time_may_be_cancelled_and_the_next_comes(self) -> None:
        async with BrokerRig() as rig:
            await rig.send("T", queue_id=0)
            told = await created(rig, create(properties=encode_properties({"KEYS": "k"}).decode()))
            assert told.next_ms is not None
            assert (await rig.ask(CancelTimersRequestHeader(topic="T", key="k"))).code == 0
            await rig.clock.run_ms(2 * MINUTE)
            assert await times(rig) == [told.next_ms + MINUTE]

    async def test_a_stop_in_between_neither_loses_nor_doubles(self) -> None:
        disk, clock, first = None, None, 0
        for number in range(4):
            async with BrokerRig(disk, clock=clock) as rig:
                if not number:
                    await rig.send("T", queue_id=0)
                    first = (await created(rig, create())).next_ms or 0
                await rig.clock.run_ms(MINUTE * 3 // 2)
                found = await times(rig)
                disk, clock = rig.disk, rig.clock
        assert found == [first + number * MINUTE for number in range(6)]

    @pytest.mark.parametrize("missed", ["once", "skip"])
    async def test_what_is_missed_comes_once_or_not_at_all(self, missed: str) -> None:
        async with BrokerRig() as rig:
            await rig.send("T", queue_id=0)
            first = (await created(rig, create(missed=missed))).next_ms or 0
            await rig.clock.run_ms(MINUTE * 3 // 2)
            disk, clock = rig.disk, rig.clock
        clock.jump_wall_ms(10 * MINUTE)
        async with BrokerRig(disk, clock=clock) as rig:
            await rig.clock.run_ms(2_000)
            found = await times(rig)
            # The message of the second minute waited in the log, and stands for the ten that were missed.
            assert found == ([first, first + MINUTE] if missed == "once" else [first])
            await rig.clock.run_ms(MINUTE)
            assert len(await times(rig)) == len(found) + 1

    async def test_a_definition_that_is_being_deleted_when_the_broker_is_killed_ends(self) -> None:
        async with BrokerRig() as rig:
            await rig.send("T", queue_id=0)
            await created(rig, create())
            service = rig.context.recurring
            service._table["job"].definition.deleted = True
            service.file.touched()
            await service.file.flush()
            disk, clock = await killed(rig)
        async with BrokerRig(disk, clock=clock) as rig:
            await rig.clock.run_ms(3 * MINUTE)
            assert await times(rig) == []
            assert await recurring(rig) == []
            assert rig.context.recurring._table == {}

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"cron": "nonsense"}, ResponseCode.INVALID_PARAMETER),
            ({"time_zone": "../x"}, ResponseCode.INVALID_PARAMETER),
            ({"missed": "twice"}, ResponseCode.INVALID_PARAMETER),
            ({"name": "a b"}, ResponseCode.INVALID_PARAMETER),
            ({"name": ""}, ResponseCode.INVALID_PARAMETER),
            ({"topic": "none"}, ResponseCode.TOPIC_NOT_EXIST),
            ({"topic": "SCHEDULE_TOPIC_XXXX"}, ResponseCode.NO_PERMISSION),
            ({"queue_id": 99}, ResponseCode.INVALID_PARAMETER),
            ({"properties": "DELAY\x013\x02"}, ResponseCode.MESSAGE_ILLEGAL),
            ({"properties": "CRON_TIME_MS\x013\x02"}, ResponseCode.MESSAGE_ILLEGAL),
        ],
    )
    async def test_what_cannot_be_kept_is_refused(self, fields: dict[str, Any], code: int) -> None:
        async with BrokerRig() as rig:
            await rig.send("T", queue_id=0)
            values = {"name": "job", "topic": "T", "cron": "* * * * *", **fields}
            assert (await rig.ask(CreateRecurringTimerRequestHeader(**values), b"x")).code == code
            assert await recurring(rig) == []

    async def test_a_taken_name_and_a_long_body_are_refused(self) -> None:
        async with BrokerRig() as rig:
            await rig.send("T", queue_id=0)
            await created(rig, create())
            assert (await rig.ask(create(), b"x")).code == ResponseCode.ILLEGAL_OPERATION
            assert (await rig.ask(create("b"), b"x" * 65_537)).code == ResponseCode.MESSAGE_ILLEGAL
