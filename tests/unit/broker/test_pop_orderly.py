"""Orderly pops: one pop at a time has a queue until all its messages are done or their time is over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.protocol.remoting.codes import ResponseCode
from gantry.testing import settle
from tests.unit.broker.pop_rig import INVISIBLE_MS, PopRig, popped


@pytest.fixture
async def rig() -> Any:
    async with PopRig() as rig:
        await rig.heartbeat("T")
        for n in range(4):
            await rig.send("T", b"%d" % n)
        yield rig


def bodies(found: list[Any]) -> list[bytes]:
    return [one.body for one in found]


async def pop(rig: PopRig, count: int = 2, **fields: Any) -> list[Any]:
    return await rig.pop(queue_id=0, max_msg_nums=count, order=True, **fields)


async def test_a_queue_is_blocked_until_all_is_acknowledged(rig: PopRig) -> None:
    found = await pop(rig)
    assert bodies(found) == [b"0", b"1"]
    assert found[0].handle.split(" ")[3] == "999"
    assert await pop(rig) == []
    await rig.ack(found[1])
    assert rig.committed() == 0
    assert await pop(rig) == []
    await rig.ack(found[0])
    assert rig.committed() == 2
    assert bodies(await pop(rig)) == [b"2", b"3"]


async def test_what_is_not_acknowledged_comes_again_from_the_same_queue(rig: PopRig) -> None:
    found = await pop(rig)
    await rig.ack(found[0])
    await rig.clock.run_ms(INVISIBLE_MS)
    answer = await rig.ask(rig.pop_request(queue_id=0, max_msg_nums=2, order=True))
    assert bodies(popped(answer, "T")) == [b"1", b"2"]
    assert (answer.ext_fields or {})["orderCountInfo"] == "0 qo0%1 1;0 0 0"


async def test_an_acknowledgement_of_an_earlier_pop_changes_nothing(rig: PopRig) -> None:
    found = await pop(rig)
    await rig.clock.run_ms(INVISIBLE_MS)
    again = await pop(rig)
    assert (await rig.ack(found[0])).code == 0
    assert rig.committed() == 0
    assert (await rig.ack(again[0])).code == 0
    assert rig.committed() == 1


async def test_an_offset_that_is_not_out_is_refused(rig: PopRig) -> None:
    (one, _) = await pop(rig)
    one.message.queue_offset = 3
    assert (await rig.ack(one)).code == ResponseCode.MESSAGE_ILLEGAL


async def test_the_same_attempt_gets_its_messages_again(rig: PopRig) -> None:
    assert bodies(await pop(rig, attempt_id="a")) == [b"0", b"1"]
    assert await pop(rig, attempt_id="b") == []
    assert bodies(await pop(rig, attempt_id="a")) == [b"0", b"1"]


async def test_change_invisible_time_frees_the_queue_earlier(rig: PopRig) -> None:
    found = await pop(rig)
    for one in found:
        assert (await rig.change(one, 1000)).code == 0
        assert one.handle.split(" ")[2] == "1000"
    await rig.clock.run_ms(999)
    assert await pop(rig) == []
    await rig.clock.run_ms(1)
    assert bodies(await pop(rig)) == [b"0", b"1"]


async def test_a_pop_that_waits_gets_the_queue_when_it_is_free(rig: PopRig) -> None:
    found = await pop(rig)
    waiting = asyncio.ensure_future(rig.ask(rig.pop_request(queue_id=0, order=True, poll_time=20_000)))
    await settle()
    for one in found:
        await rig.ack(one)
    assert bodies(popped(await waiting, "T")) == [b"2", b"3"]


async def test_a_pop_that_waits_gets_the_queue_when_its_time_is_over(rig: PopRig) -> None:
    await pop(rig, invisible_time=5000)
    waiting = asyncio.ensure_future(rig.ask(rig.pop_request(queue_id=0, order=True, poll_time=20_000)))
    await rig.clock.run_ms(4999)
    assert not waiting.done()
    await rig.clock.run_ms(1)
    assert bodies(popped(await waiting, "T")) == [b"0", b"1", b"2", b"3"]


async def test_a_restart_keeps_the_order_and_what_was_acknowledged() -> None:
    async with PopRig() as rig:
        await rig.heartbeat("T")
        for n in range(4):
            await rig.send("T", b"%d" % n)
        found = await pop(rig)
        await rig.ack(found[0])
    async with PopRig(rig.disk, clock=rig.clock) as rig:
        await rig.heartbeat("T")
        assert rig.committed() == 1
        assert await pop(rig) == []
        await rig.ack(found[1])
        assert bodies(await pop(rig)) == [b"2", b"3"]


async def test_a_group_that_is_set_back_is_not_blocked(rig: PopRig) -> None:
    for one in await pop(rig):
        await rig.ack(one)
    await pop(rig)
    rig.context.offsets.assign_reset_offset("T", "consumers", 0, 0)
    assert bodies(await pop(rig)) == [b"0", b"1"]
