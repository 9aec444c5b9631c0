"""Pulls, waits and heartbeats with SQL92 expressions, and the file that remembers who filters by what."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gantry.broker.consumer_filter import consumer_filter_manager, retry_filter
from gantry.broker.long_polling import arrival
from gantry.model.names import retry_topic
from gantry.protocol import json_dialect
from gantry.protocol.filter.bloom import BloomFilter, murmur3_128_low
from gantry.protocol.filter.sql92 import TESTS_MAX
from gantry.protocol.message.record import decode_records
from gantry.protocol.remoting.codes import RequestCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.query_consume_queue import QueryConsumeQueueRequestHeader
from gantry.testing import MemoryDisk, VirtualClock, settle
from tests.unit.broker.broker_rig import GROUP, BrokerRig

SQL = "SQL92"
FILE = "/store/config/consumerFilter.json"


@pytest.fixture
async def rig() -> Any:
    async with BrokerRig(enable_property_filter=True) as rig:
        for number in range(10):
            await rig.send("T", b"%d" % number, properties={"size": str(number), "colour": ("red", "blue")[number % 2]})
        yield rig


def bodies(answer: RemotingCommand) -> list[bytes]:
    return [message.body for message in decode_records(answer.body)]


def next_offset(answer: RemotingCommand) -> int:
    assert answer.ext_fields is not None
    return int(answer.ext_fields["nextBeginOffset"])


async def pull(rig: BrokerRig, expression: str | None, **values: Any) -> RemotingCommand:
    return await rig.pull("T", expression=expression, expression_type=SQL, **values)


# -- the pull's own expression


async def test_only_matching_messages_come_and_the_offset_passes_the_others(rig: BrokerRig) -> None:
    answer = await pull(rig, "colour = 'red' AND size BETWEEN 3 AND 7")
    assert answer.code == 0
    assert bodies(answer) == [b"4", b"6"]
    assert next_offset(answer) == 10
    answer = await pull(rig, "size >= 3", count=2)
    assert bodies(answer) == [b"3", b"4"]
    assert next_offset(answer) == 5


async def test_nothing_that_matches_is_asked_again_at_once(rig: BrokerRig) -> None:
    answer = await pull(rig, "size > 100", suspend_ms=15_000)
    assert (answer.code, answer.remark) == (ResponseCode.PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE")
    assert next_offset(answer) == 10


@pytest.mark.parametrize(
    ("expression", "kind", "told"),
    [("size >", SQL, "character 7"), ("", SQL, "can't be null"), ("size > 3", "XYZ", "XYZ"), ("(" * 60_000, SQL, "32768")],
)
async def test_an_expression_that_cannot_be_read_is_refused(rig: BrokerRig, expression: str, kind: str, told: str) -> None:
    answer = await rig.pull("T", expression=expression, expression_type=kind)
    assert answer.code == ResponseCode.SUBSCRIPTION_PARSE_FAILED
    assert answer.remark is not None
    assert answer.remark.startswith("parse the consumer's subscription failed")
    assert told in answer.remark


async def test_without_the_setting_no_expression_over_properties_is_taken() -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        for expression in ("size > 3", "size >"):
            answer = await pull(rig, expression)
            assert answer.code == ResponseCode.SYSTEM_ERROR
            assert answer.remark == "The broker does not support consumer to filter message by SQL92"
        await rig.heartbeat("T", expression="size > 3", expression_type=SQL)
        answer = await pull(rig, None)
        assert answer.remark == "The broker does not support consumer to filter message by SQL92"


async def test_a_costly_expression_ends_the_read_early_and_loses_nothing(rig: BrokerRig) -> None:
    for number in range(200):
        await rig.send("T", b"-", properties={"size": str(number % 10)})
    expression = " OR ".join(["size = 99"] * (TESTS_MAX - 1)) + " OR size = 7"
    offset, found, pulls = 0, 0, 0
    while offset < 210:
        answer = await pull(rig, expression, offset=offset)
        assert answer.code in (0, ResponseCode.PULL_RETRY_IMMEDIATELY)
        found += len(bodies(answer)) if answer.code == 0 else 0
        assert offset < next_offset(answer) <= offset + 50
        offset, pulls = next_offset(answer), pulls + 1
    assert found == 21
    assert pulls >= 4


# -- the group's expression


async def test_the_heartbeats_expression_filters(rig: BrokerRig) -> None:
    await rig.heartbeat("T", expression="size < 2", expression_type=SQL)
    assert bodies(await pull(rig, None, sub_version=1)) == [b"0", b"1"]
    await rig.heartbeat("T", expression="size > 8", expression_type=SQL, sub_version=2)
    assert bodies(await pull(rig, None, sub_version=2)) == [b"9"]
    # One of an older version, by a client that has not heard of the change, does not come back.
    await rig.heartbeat("T", expression="size < 2", expression_type=SQL, sub_version=1)
    assert bodies(await pull(rig, None)) == [b"9"]


async def test_the_official_codes_for_filters_that_are_missing_or_old(rig: BrokerRig) -> None:
    await rig.heartbeat("T", expression="size <", expression_type=SQL)
    answer = await pull(rig, None, sub_version=1)
    assert answer.code == ResponseCode.FILTER_DATA_NOT_EXIST
    assert answer.remark == "The broker's consumer filter data is not exist!Your expression may be wrong!"
    await rig.heartbeat("T", expression="x", expression_type="XYZ", group="g2")
    assert (await pull(rig, None, group="g2")).code == ResponseCode.FILTER_DATA_NOT_EXIST
    await rig.heartbeat("T", expression="size < 2", expression_type=SQL, sub_version=5)
    data = rig.context.consumer_filters.find("T", GROUP)
    assert data is not None
    data.client_version = 4
    answer = await pull(rig, None, sub_version=5)
    assert answer.code == ResponseCode.FILTER_DATA_NOT_LATEST
    assert answer.remark == "the consumer's consumer filter data not latest"
    assert (await pull(rig, None, sub_version=6)).code == ResponseCode.SUBSCRIPTION_NOT_LATEST


async def test_a_tag_subscription_takes_the_place_of_an_expression(rig: BrokerRig) -> None:
    await rig.heartbeat("T", expression="size < 2", expression_type=SQL)
    await rig.heartbeat("T", expression="*", sub_version=2)
    assert len(bodies(await rig.pull("T", expression=None, sub_version=2))) == 10


async def test_check_client_config_reads_the_expression(rig: BrokerRig) -> None:
    async def check(expression: str | None, kind: str = SQL) -> RemotingCommand:
        subscription = {"topic": "T", "subString": expression, "expressionType": kind}
        body = {"clientId": "c", "group": GROUP, "subscriptionData": subscription}
        return await rig.ask(RemotingCommand.request(RequestCode.CHECK_CLIENT_CONFIG, json_dialect.encode(body)))

    assert (await check("size > 5")).code == 0
    assert (await check("A || B", "TAG")).code == 0
    answer = await check("size > ")
    assert answer.code == ResponseCode.SUBSCRIPTION_PARSE_FAILED
    assert answer.remark is not None
    assert "character 8" in answer.remark
    assert (await check(None)).code == ResponseCode.SUBSCRIPTION_PARSE_FAILED
    assert (await check("a", "XYZ")).code == ResponseCode.SUBSCRIPTION_PARSE_FAILED


async def test_query_consume_queue_tells_the_filter(rig: BrokerRig) -> None:
    await rig.heartbeat("T", expression="size < 2", expression_type=SQL)
    answer = await rig.ask(QueryConsumeQueueRequestHeader(topic="T", queue_id=0, index=0, count=1, consumer_group=GROUP))
    body = json_dialect.decode(answer.body)
    told = json.loads(body["filterData"])
    assert told["expression"] == "size < 2"
    assert told["dead"] is False
    assert told["bloomFilterData"]["bitNum"] == 112
    assert body["subscriptionData"]["expressionType"] == SQL


# -- waiting


async def held(rig: BrokerRig, expression: str | None, **values: Any) -> asyncio.Task[RemotingCommand]:
    before = rig.context.long_polling.count
    task = asyncio.ensure_future(pull(rig, expression, offset=10, suspend_ms=15_000, **values))
    await settle()
    assert rig.context.long_polling.count == before + 1
    return task


@pytest.mark.parametrize("own", [True, False], ids=["own expression", "the group's"])
async def test_only_a_matching_message_ends_the_wait(rig: BrokerRig, own: bool) -> None:
    await rig.heartbeat("T", expression="size > 5", expression_type=SQL)
    task = await held(rig, "size > 5" if own else None)
    for value in ("1", "x", "5"):
        await rig.send("T", b"no", properties={"size": value})
    await settle()
    assert not task.done()
    await rig.send("T", b"yes", properties={"size": "6"})
    await settle()
    assert bodies(task.result()) == [b"yes"]
    assert next_offset(task.result()) == 14


async def test_a_wait_that_ends_after_others_messages_says_where_to_go_on(rig: BrokerRig) -> None:
    task = await held(rig, "size > 5")
    await rig.send("T", b"no", properties={"size": "1"})
    await rig.clock.run_ms(15_200)
    assert task.result().code == ResponseCode.PULL_RETRY_IMMEDIATELY
    assert next_offset(task.result()) == 11


async def test_each_expression_is_asked_once_however_many_wait(rig: BrokerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    from gantry.protocol.filter.sql92 import SqlFilter

    asked: list[str] = []
    real = SqlFilter.matches
    monkeypatch.setattr(SqlFilter, "matches", lambda self, properties: asked.append(self.expression) or real(self, properties))
    tasks = [await held(rig, f"size > {5 + number % 2}") for number in range(6)]
    await rig.send("T", b"no", properties={"size": "1"})
    await settle()
    assert sorted(asked) == ["size > 5", "size > 6"]
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()


async def test_costly_expressions_are_woken_unasked(rig: BrokerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "ARRIVAL_TESTS_MAX", 3)
    tasks = [await held(rig, f"size > 5 AND size < {number}") for number in range(20, 24)]
    await rig.send("T", b"no", properties={"size": "1"})
    await settle()
    # They read, found nothing, and are told where to go on.
    done = [task for task in tasks if task.done()]
    assert len(done) == 3
    assert {task.result().code for task in done} == {ResponseCode.PULL_RETRY_IMMEDIATELY}
    for task in tasks:
        task.cancel()


# -- retried messages


async def test_the_retry_topic_is_filtered_by_the_topic_a_message_came_from(rig: BrokerRig) -> None:
    await rig.heartbeat("T", expression="size > 5", expression_type=SQL)
    found = retry_filter(rig.context.consumer_filters, GROUP).record
    assert found is not None
    assert found.matches({"RETRY_TOPIC": "T", "size": "6"})
    assert not found.matches({"RETRY_TOPIC": "T", "size": "5"})
    assert found.matches({"RETRY_TOPIC": "Other", "size": "5"})
    assert found.matches({"size": "5"})


@pytest.mark.parametrize("supported", [True, False])
async def test_filter_support_retry(supported: bool) -> None:
    async with BrokerRig(enable_property_filter=True, filter_support_retry=supported) as rig:
        await rig.heartbeat("T", expression="size > 5", expression_type=SQL)
        topic = retry_topic(GROUP)
        for value in ("5", "6"):
            await rig.send(topic, value.encode(), properties={"size": value, "RETRY_TOPIC": "T"})
        answer = await rig.pull(topic, expression="size < 6", expression_type=SQL)
        assert bodies(answer) == ([b"6"] if supported else [b"5"])


# -- who is known, and the file


async def test_a_group_that_is_gone_is_dead_then_forgotten() -> None:
    async with BrokerRig(enable_property_filter=True, filter_data_clean_time_span=60_000) as rig:
        await rig.heartbeat("T", "U", expression="size > 5", expression_type=SQL)
        filters = rig.context.consumer_filters
        await rig.heartbeat("T", expression="size > 5", expression_type=SQL)
        gone, there = filters.find("U", GROUP), filters.find("T", GROUP)
        assert gone is not None
        assert there is not None
        assert (gone.dead, there.dead) == (True, False)
        await rig.client.close()
        await settle()
        assert there.dead
        assert there.dead_time == rig.clock.now_ms()
        await rig.clock.run_ms(50_000)
        assert filters.find("T", GROUP) is there
        await rig.clock.run_ms(20_000)
        assert filters.table == {}


async def test_filters_survive_a_restart_in_the_official_layout() -> None:
    disk, clock = MemoryDisk(), VirtualClock()
    async with BrokerRig(disk, clock=clock, enable_property_filter=True) as rig:
        await rig.heartbeat("SqlTopic", group="sql-group", expression="size > 5", expression_type=SQL, sub_version=7)
        await clock.run_ms(6_000)
        written = json.loads(bytes(disk.read_file(FILE)))
    data = written["filterDataByTopic"]["SqlTopic"]
    assert data["topic"] == "SqlTopic"
    born = data["groupFilterData"]["sql-group"]["bornTime"]
    assert data["groupFilterData"]["sql-group"] == {
        # The positions are those an official 5.5.0 broker wrote for this group and topic.
        "bloomFilterData": {"bitNum": 112, "bitPos": [28, 71, 29]},
        "bornTime": born,
        "clientVersion": 7,
        "consumerGroup": "sql-group",
        "dead": False,
        "deadTime": 0,
        "expression": "size > 5",
        "expressionType": "SQL92",
        "topic": "SqlTopic",
    }
    async with BrokerRig(disk, clock=clock, enable_property_filter=True) as rig:
        found = rig.context.consumer_filters.find("SqlTopic", "sql-group")
        assert found is not None
        assert found.dead
        assert found.born_time == born
        await rig.heartbeat("SqlTopic", group="sql-group", expression="size > 5", expression_type=SQL, sub_version=7)
        assert not found.dead
        assert rig.context.consumer_filters.find("SqlTopic", "sql-group") is found


async def test_an_official_file_is_read() -> None:
    disk = MemoryDisk()
    disk.make_dirs("/store/config")
    entry = {
        "bloomFilterData": {"bitNum": 8, "bitPos": [1]},
        "bornTime": 5, "clientVersion": 3, "consumerGroup": GROUP, "dead": False, "deadTime": 0,
        "expression": "size > 8", "expressionType": SQL, "topic": "T",
    }  # fmt: skip
    broken = {**entry, "consumerGroup": "broken", "expression": "size >"}
    table = {"filterDataByTopic": {"T": {"groupFilterData": {GROUP: entry, "broken": broken}, "topic": "T"}}}
    disk.replace_file(FILE, json.dumps(table).encode())
    async with BrokerRig(disk, enable_property_filter=True) as rig:
        filters = rig.context.consumer_filters
        found = filters.find("T", GROUP)
        assert found is not None
        compiled = filters.compiled(found)
        assert compiled is not None
        assert compiled.matches({"size": "9"})
        wrong = filters.find("T", "broken")
        assert wrong is not None
        assert filters.compiled(wrong) is None
        assert filters.find("T", "broken") is None


async def test_the_dead_make_room_for_the_living_and_then_nobody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_filter_manager, "FILTER_COUNT_MAX", 2)
    async with BrokerRig(enable_property_filter=True) as rig:
        filters = rig.context.consumer_filters
        await rig.heartbeat("T", "U", expression="a > 1", expression_type=SQL)
        await rig.heartbeat("T", expression="a > 1", expression_type=SQL)
        await rig.heartbeat("T", group="g2", expression="a > 1", expression_type=SQL)
        assert filters.find("U", GROUP) is None
        assert filters.find("T", "g2") is not None
        await rig.heartbeat("T", group="g3", expression="a > 1", expression_type=SQL)
        assert filters.find("T", "g3") is None


def test_murmur3() -> None:
    """Values of the reference implementation."""
    assert murmur3_128_low(b"") == 0
    assert murmur3_128_low(b"hello") == 0xCBD8A7B341BD9B02
    assert murmur3_128_low(b"The quick brown fox jumps over the lazy dog") == 0xE34BBC7BBC071B6C
    filter = BloomFilter(20, 32)
    assert (filter.hashes, filter.bits) == (3, 112)
    assert filter.is_valid(filter.generate("x#y"))
    assert not BloomFilter(10, 32).is_valid(filter.generate("x#y"))
