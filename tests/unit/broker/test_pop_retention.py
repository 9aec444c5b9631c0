"""What is out when retention is about to delete the log it lies in: appended again first, and back at its deadline."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from gantry.protocol.remoting.codes import ResponseCode
from tests.unit.broker.pop_rig import INVISIBLE_MS, RETRY, Popped, PopRig

HOUR_MS = 3_600_000
COUNT, OUT = 60, 12
BODY = b"x" * 600


class Aged(PopRig):
    """A broker whose log has small files, all but the last ones out of their time."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, mapped_file_size_commit_log=1 << 13, pop_from_retry_probability=100, **settings)

    async def fill(self) -> list[Popped]:
        """Returns what is out: of each message that lies in the oldest files."""
        await self.heartbeat("T")
        for n in range(COUNT):
            await self.send("T", b"%d " % n + BODY)
        return await self.pop(max_msg_nums=OUT)

    async def clean(self) -> int:
        for name in self.disk.list_dir("/store/commitlog"):
            self.disk.set_mtime_ms(f"/store/commitlog/{name}", self.clock.now_ms() - 100 * HOUR_MS)
        self.context.store.execute_delete_files_manually()
        return int(await self.clock.run_until(self.context.store.clean_files()))

    async def come_back(self, wait_ms: int) -> list[Popped]:
        await self.clock.run_ms(wait_ms)
        return [one for one in await self.pop() if one.message.reconsume_times]


def bodies(found: list[Popped]) -> set[bytes]:
    return {one.body for one in found}


async def test_what_is_out_outlives_its_part_of_the_log_and_keeps_its_deadline() -> None:
    async with Aged() as rig:
        found = await rig.fill()
        for one in found[:2]:
            assert (await rig.ack(one)).code == 0
        assert await rig.clean() > 1
        first = rig.context.store.min_offset("T", 0)
        assert first > OUT
        assert (await rig.ack(found[5])).code == ResponseCode.NO_MESSAGE
        assert await rig.come_back(INVISIBLE_MS - 2_000) == []
        again = await rig.come_back(4_000)
        assert bodies(again) == bodies(found[2:])
        assert {one.message.reconsume_times for one in again} == {1}
        assert {one.message.topic for one in again} == {"T"}
        for one in again:
            assert (await rig.ack(one)).code == 0
        assert bodies(await rig.come_back(3 * INVISIBLE_MS)) & bodies(found) == set()
        assert rig.committed() >= first


async def test_what_lies_above_is_left_alone() -> None:
    async with Aged() as rig:
        await rig.fill()
        while await rig.pop():
            pass
        before = rig.context.pop.account.ledger.out_count
        assert before == COUNT
        assert await rig.clean() > 1
        first = rig.context.store.min_offset("T", 0)
        assert rig.context.pop.account.ledger.out_count == COUNT - first


async def test_without_timers_it_is_given_back_at_once() -> None:
    async with Aged(timer_wheel_enable=False) as rig:
        found = await rig.fill()
        assert await rig.clean() > 1
        assert bodies(await rig.come_back(1)) == bodies(found)


async def test_a_deadline_beyond_the_timers_reach_is_given_back_at_once() -> None:
    async with Aged(timer_max_delay_sec=30) as rig:
        found = await rig.fill()
        assert await rig.clean() > 1
        assert bodies(await rig.come_back(1)) == bodies(found)


async def test_what_cannot_be_appended_again_is_not_deleted() -> None:
    async with Aged() as rig:
        found = await rig.fill()
        before = rig.context.store.min_physical_offset
        rig.disk.fail("pwrite", error=errno.ENOSPC, path_part="commitlog", times=1)
        assert await rig.clean() == 0
        assert rig.context.store.min_physical_offset == before
        assert {(await rig.ack(one)).code for one in found[:3]} == {0}
        await rig.clock.run_ms(3_000)
        assert await rig.clean() > 1
        assert bodies(await rig.come_back(INVISIBLE_MS + 2_000)) == bodies(found[3:])


async def test_messages_of_a_group_that_is_gone_hold_up_nothing() -> None:
    async with Aged() as rig:
        await rig.fill()
        rig.context.subscriptions.delete("consumers")
        assert await rig.clean() > 1
        assert rig.context.pop.account.ledger.moved_count == 0


@pytest.mark.parametrize("keep", ["all", "none"])
async def test_a_crash_after_the_deletion_loses_none(keep: str) -> None:
    async with Aged() as rig:
        found = await rig.fill()
        await rig.context.offsets.file.flush()
        assert await rig.clean() > 1
        disk, clock = rig.disk.crashed_copy(keep=keep), rig.clock
    async with Aged(disk, clock=clock) as again:
        await again.heartbeat("T")
        assert bodies(await again.come_back(INVISIBLE_MS + 2_000)) >= bodies(found)


async def test_retries_are_dead_letters_in_the_end_all_the_same() -> None:
    async with Aged() as rig:
        await rig.heartbeat("T")
        rig.context.subscriptions.find("consumers").retry_max_times = 0
        found = await rig.fill()
        assert await rig.clean() > 1
        await rig.clock.run_ms(INVISIBLE_MS + 2_000)
        dead = await rig.messages("%DLQ%consumers")
        assert {message.body for message in dead} == bodies(found)
        assert await rig.messages(RETRY) == []
