"""Flow control of groups that read old data: who is held back, how, and what operators see of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gantry.broker.cold_data.cold_data_service import HOLD_MS
from gantry.broker.cold_data.thresholds import ADAPTIVE, FORGOTTEN_MS, PERIOD_MS, PidStrategy, Thresholds
from gantry.model.heartbeat import CONSUME_ACTIVELY
from gantry.protocol.message.record import decode_records
from gantry.protocol.remoting.codes import RequestCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from tests.unit.broker.broker_rig import GROUP, BrokerRig, pull_request, small_store

COLD = {"cold_data_flow_control_enable": True, "access_message_in_memory_hot_ratio": 0}
"""The whole log is cold."""

OTHER = "others"


async def filled(rig: BrokerRig, count: int = 40, size: int = 1000) -> None:
    for number in range(count):
        await rig.send("Old", b"%d" % number + b"x" * size, unique_key=f"KEY{number}")


async def ask(rig: BrokerRig, code: int, body: bytes = b"", fields: dict[str, str] | None = None) -> RemotingCommand:
    request = RemotingCommand.request(code)
    request.body, request.ext_fields = body, fields
    return await rig.ask(request)


async def info(rig: BrokerRig) -> dict[str, Any]:
    return json.loads((await ask(rig, RequestCode.GET_COLD_DATA_FLOW_CTR_INFO)).body)  # type: ignore[no-any-return]


async def read(rig: BrokerRig, group: str = GROUP, *, offset: int = 0, count: int = 8) -> RemotingCommand:
    return await rig.ask(pull_request("Old", 0, offset, group=group, count=count))


async def test_a_push_group_over_its_threshold_is_told_to_come_later() -> None:
    async with BrokerRig(cg_cold_read_threshold=5000, **COLD) as rig:
        await filled(rig)
        await rig.heartbeat("Old")
        first = await read(rig)
        assert first.code == 0
        table = (await info(rig))["runtimeTable"]
        assert table[GROUP]["coldAcc"] == len(first.body)
        refused = await read(rig, offset=8)
        assert refused.code == ResponseCode.SYSTEM_BUSY
        assert refused.remark == "This consumer group is reading cold data. It has been flow control"
        # The others, and those at the end of the log, go on; so do sends.
        assert (await read(rig, OTHER)).code == 0
        await rig.send("Old", b"new", unique_key="NEW")
        rig.context.store.config.memory_bytes, rig.context.store.config.access_message_in_memory_hot_ratio = 400, 100
        assert decode_records((await read(rig, offset=40)).body)[0].body == b"new"
        await rig.clock.run_ms(PERIOD_MS)
        assert (await read(rig, offset=8)).code == 0


async def test_a_pull_group_over_its_threshold_waits_and_gets_one_message() -> None:
    async with BrokerRig(cg_cold_read_threshold=5000, **COLD) as rig:
        await filled(rig)
        await rig.heartbeat("Old", consume_type=CONSUME_ACTIVELY)
        assert len(decode_records((await read(rig)).body)) == 8
        waiting = asyncio.ensure_future(read(rig, offset=8))
        await rig.clock.run_ms(HOLD_MS - 100)
        assert not waiting.done()
        assert rig.context.cold_data.parked_count == 1
        await rig.clock.run_ms(200)
        (message,) = decode_records((await waiting).body)
        assert message.queue_offset == 8
        # Held into the next period it gets what it asked for.
        await rig.clock.run_ms(PERIOD_MS)
        assert len(decode_records((await read(rig, offset=9)).body)) == 8


async def test_all_groups_together_have_a_threshold_too() -> None:
    async with BrokerRig(cg_cold_read_threshold=1 << 20, global_cold_read_threshold=12_000, **COLD) as rig:
        await filled(rig)
        for group in (GROUP, OTHER):
            await rig.heartbeat("Old", group=group)
            assert (await read(rig, group)).code == 0
        assert (await read(rig, GROUP, offset=8)).code == ResponseCode.SYSTEM_BUSY
        # Who has not read cold data in this while is not the one to be held back.
        await rig.heartbeat("Old", group="third")
        assert (await read(rig, "third")).code == 0


@pytest.mark.parametrize("settings", [{}, {"cold_data_flow_control_enable": True}])
async def test_nobody_is_held_back_by_default_or_from_what_is_hot(settings: dict[str, Any]) -> None:
    async with BrokerRig(cg_cold_read_threshold=1, global_cold_read_threshold=1, **settings) as rig:
        await filled(rig)
        await rig.heartbeat("Old")
        for offset in (0, 8, 16):
            assert (await read(rig, offset=offset)).code == 0
        assert (await info(rig))["runtimeTable"] == {}


async def test_what_the_page_cache_has_is_not_cold_where_that_is_looked_at() -> None:
    async with BrokerRig(cg_cold_read_threshold=1, cold_data_scan_enable=True, **COLD) as rig:
        await filled(rig)
        await rig.heartbeat("Old")
        for offset in (0, 8, 16):
            assert (await read(rig, offset=offset)).code == 0
        assert (await info(rig))["globalAcc"] == 0


async def test_groups_of_the_system_are_left_alone() -> None:
    async with BrokerRig(cg_cold_read_threshold=1, **COLD) as rig:
        await filled(rig)
        for group in ("TOOLS_CONSUMER", "CID_RMQ_SYS_X"):
            rig.context.cold_data.count(group, 1000)
        assert (await info(rig))["runtimeTable"] == {}


async def test_operators_set_and_remove_thresholds() -> None:
    async with BrokerRig(cg_cold_read_threshold=5000, **COLD) as rig:
        await filled(rig)
        await rig.heartbeat("Old")
        body = f"{GROUP}=20000\nother=7\nbad=lots\nhuge={10**30}\n".encode()
        assert (await ask(rig, RequestCode.UPDATE_COLD_DATA_FLOW_CTR_CONFIG, body)).code == 0
        told = await info(rig)
        assert told["configTable"] == {GROUP: 20000, "other": 7}
        assert (told["cgColdReadThreshold"], told["globalColdReadThreshold"]) == (5000, 100 << 20)
        assert (await read(rig)).code == 0
        assert (await read(rig, offset=8)).code == 0
        assert (await ask(rig, RequestCode.REMOVE_COLD_DATA_FLOW_CTR_CONFIG, GROUP.encode())).code == 0
        assert (await read(rig, offset=16)).code == ResponseCode.SYSTEM_BUSY
        assert (await ask(rig, RequestCode.REMOVE_COLD_DATA_FLOW_CTR_CONFIG, b"nobody")).code == 0
        assert (await ask(rig, RequestCode.UPDATE_COLD_DATA_FLOW_CTR_CONFIG)).code == 0


@pytest.mark.parametrize(
    ("fields", "code", "remark"),
    [
        ({"READ_AHEAD_MODE": "1"}, 0, "set commitlog readahead mode success, mode: 1"),
        ({"READ_AHEAD_MODE": "0"}, 0, "set commitlog readahead mode success, mode: 0"),
        ({"READ_AHEAD_MODE": "2"}, 29, "set commitlog readahead mode param value error"),
        ({"READ_AHEAD_MODE": "x"}, 1, "set commitlog readahead mode failed"),
        ({}, 1, "set commitlog readahead mode failed"),
        (None, 1, "set commitlog readahead mode param error"),
    ],
)
async def test_read_mode(fields: dict[str, str] | None, code: int, remark: str) -> None:
    async with BrokerRig() as rig:
        answer = await ask(rig, RequestCode.SET_COMMITLOG_READ_MODE, fields=fields)
        if fields is None or fields:
            assert (answer.code, answer.remark) == (code, remark)
        assert rig.context.store.config.data_read_ahead_enable is not (code == 0 and remark.endswith("1"))
        await filled(rig)
        assert len(await rig.messages("Old")) == 40


async def test_a_broker_that_stops_answers_the_pulls_it_holds_back() -> None:
    rig = BrokerRig(cg_cold_read_threshold=5000, **COLD)
    await rig.__aenter__()
    await filled(rig)
    await rig.heartbeat("Old", consume_type=CONSUME_ACTIVELY)
    await read(rig)
    waiting = asyncio.ensure_future(read(rig, offset=8))
    await rig.clock.run_ms(100)
    stopping = asyncio.ensure_future(rig.controller.stop())
    await rig.clock.run_ms(5000)
    assert (await waiting).code == 0
    await stopping


def thresholds(**settings: Any) -> Thresholds:
    return Thresholds(small_store(cg_cold_read_threshold=1000, global_cold_read_threshold=10_000, **settings))


def test_a_group_is_forgotten_that_reads_no_cold_data_any_more() -> None:
    table = thresholds()
    table.count("g", 10, now_ms=5, monotonic_ms=0)
    table.end_period(monotonic_ms=FORGOTTEN_MS - 1)
    assert "g" in table.reads
    table.end_period(monotonic_ms=FORGOTTEN_MS)
    assert table.reads == {}


def test_the_simple_strategy_lets_a_busy_group_have_more_and_less_again_when_all_read_too_much() -> None:
    table = thresholds(cold_ctr_strategy_enable=True, use_pid_cold_ctr_strategy=False)
    for period in range(2):
        table.count("g", 5000, now_ms=0, monotonic_ms=period)
        table.end_period(monotonic_ms=period)
    assert table.settings == {"g" + ADAPTIVE: 2250}
    assert table.threshold("g") == 2250
    table.count("g", 20_000, now_ms=0, monotonic_ms=3)
    table.end_period(monotonic_ms=3)
    assert table.settings == {"g" + ADAPTIVE: 1800}
    for period in range(4, 8):
        table.count("g", 20_000, now_ms=0, monotonic_ms=period)
        table.end_period(monotonic_ms=period)
    assert table.settings == {"g" + ADAPTIVE: 1000}, "never below the default"


def test_what_an_operator_has_set_is_not_moved() -> None:
    table = thresholds(cold_ctr_strategy_enable=True, use_pid_cold_ctr_strategy=False)
    table.settings["g"] = 700
    table.count("g", 5000, now_ms=0, monotonic_ms=0)
    table.end_period(monotonic_ms=0)
    assert table.settings == {"g": 700}


def test_without_a_strategy_what_it_had_found_goes() -> None:
    table = thresholds()
    table.settings["g" + ADAPTIVE] = 5
    assert table.threshold("g") == 1000
    table.end_period(monotonic_ms=0)
    assert table.settings == {}


def test_the_pid_strategy_waits_for_ten_periods() -> None:
    strategy = PidStrategy(8000)
    for _ in range(9):
        strategy.collect(0)
        assert strategy.factor() == 0
    strategy.collect(0)
    assert strategy.factor() == pytest.approx(0.5 * 8000 + 0.3 * 80_000)
    for _ in range(10):
        strategy.collect(20_000)
    assert strategy.factor() < 0
    assert strategy.may_decelerate(all_at_limit=False)
    assert not strategy.may_promote()
