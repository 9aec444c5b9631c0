"""What the ledger of popped messages lives through: kills, power cuts, full and failing disks, operators, other consumers."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from gantry.broker.pop.journal import JOURNAL, SNAPSHOT
from gantry.protocol.remoting.codes import ResponseCode
from gantry.testing import MemoryDisk, SeededRng, VirtualClock
from tests.unit.broker.broker_rig import GROUP
from tests.unit.broker.pop_rig import INVISIBLE_MS, RETRY, PopRig

DIRECTORY = "/store/gantry/pop"


def bodies(found: list[Any]) -> list[bytes]:
    return [one.body for one in found]


async def filled(rig: PopRig, count: int = 4) -> None:
    await rig.heartbeat("T")
    for n in range(count):
        await rig.send("T", b"%d" % n)


def killed(rig: PopRig) -> tuple[MemoryDisk, VirtualClock]:
    """What a process that is killed now leaves behind."""
    return rig.disk.crashed_copy(keep="all"), rig.clock


@pytest.fixture
async def rig() -> Any:
    async with PopRig() as rig:
        await filled(rig)
        yield rig


async def test_an_operators_offset_outlives_a_kill_before_anybody_fetched_it(rig: PopRig) -> None:
    for one in await rig.pop():
        await rig.ack(one)
    rig.context.offsets.assign_reset_offset("T", GROUP, 0, 1)
    await rig.context.offsets.file.flush()
    disk, clock = killed(rig)
    async with PopRig(disk, clock=clock) as again:
        await again.heartbeat("T")
        assert bodies(await again.pop()) == [b"1", b"2", b"3"]


async def test_an_operators_offset_ahead_is_kept_while_older_messages_are_out(rig: PopRig) -> None:
    found = await rig.pop(max_msg_nums=2)
    rig.context.offsets.assign_reset_offset("T", GROUP, 0, 4)
    assert await rig.pop() == []
    assert rig.committed() == 4
    await rig.ack(found[0])
    assert rig.committed() == 4
    await rig.clock.run_ms(INVISIBLE_MS)
    assert bodies(await rig.pop()) == [b"1"]


async def test_what_a_pull_consumer_commits_is_not_popped(rig: PopRig) -> None:
    rig.context.offsets.commit(GROUP, "T", 0, 3)
    assert bodies(await rig.pop()) == [b"3"]


async def test_the_journal_ends_in_snapshots_and_stays_short() -> None:
    async with PopRig(pop_journal_bytes_max=300) as rig:
        await filled(rig, 60)
        kept = []
        for _ in range(20):
            first, *others = await rig.pop(max_msg_nums=3)
            kept.append(first.body)
            for one in others:
                await rig.ack(one)
        await rig.clock.run_ms(10)
        names = rig.disk.list_dir(DIRECTORY)
        assert len(names) <= 3
        assert max(int(name[-8:]) for name in names if name.startswith(SNAPSHOT)) >= 3
        sizes = [rig.disk.size(f"{DIRECTORY}/{name}") for name in names if name.startswith(JOURNAL)]
        assert max(sizes) < 4000
        disk, clock = killed(rig)
    async with PopRig(disk, clock=clock, pop_journal_bytes_max=300) as again:
        await again.heartbeat("T")
        assert await again.pop() == []
        await again.clock.run_ms(INVISIBLE_MS)
        assert bodies(await again.pop()) == kept


async def test_a_snapshot_that_is_damaged_only_delivers_again(rig: PopRig) -> None:
    found = await rig.pop()
    await rig.ack(found[0])
    await rig.ack(found[2])
    await rig.context.offsets.file.flush()
    disk, clock = killed(rig)
    (name,) = [name for name in disk.list_dir(DIRECTORY) if name.startswith(SNAPSHOT)]
    disk.flip_bit(f"{DIRECTORY}/{name}", 40)
    async with PopRig(disk, clock=clock) as again:
        await again.heartbeat("T")
        assert bodies(await again.pop()) == [b"1", b"2", b"3"]


async def test_a_full_disk_refuses_and_takes_again_when_there_is_room(rig: PopRig) -> None:
    found = await rig.pop(max_msg_nums=2)
    rig.disk.fail("pwrite", error=errno.ENOSPC, times=1_000_000, path_part="gantry/pop", partial=True)
    assert (await rig.ask(rig.pop_request())).code == ResponseCode.SYSTEM_ERROR
    assert (await rig.ack(found[0])).code == ResponseCode.SERVICE_NOT_AVAILABLE
    assert (await rig.change(found[1], 5)).code == ResponseCode.SERVICE_NOT_AVAILABLE
    assert rig.context.pop.account.ledger.out_count == 2
    rig.disk.heal()
    assert (await rig.ack(found[0])).code == 0
    assert bodies(await rig.pop()) == [b"2", b"3"]
    disk, clock = killed(rig)
    async with PopRig(disk, clock=clock) as again:
        assert again.context.pop.account.ledger.out_count == 3


async def test_a_journal_that_cannot_be_synced_holds_up_no_offsets() -> None:
    async with PopRig(flush_consumer_offset_interval=50) as rig:
        await filled(rig)
        assert await rig.context.store.flush()
        for one in (await rig.pop())[:2]:
            await rig.ack(one)
        rig.disk.fail("sync", error=errno.EIO, times=1_000_000, path_part=JOURNAL)
        await rig.clock.run_ms(200)
        assert not rig.context.offsets.file.pending
        rig.disk.heal()
        disk, clock = rig.disk.crashed_copy(SeededRng(1), "none"), rig.clock
    async with PopRig(disk, clock=clock) as again:
        await again.heartbeat("T")
        assert bodies(await again.pop()) == [b"2", b"3"]


async def test_a_power_cut_that_takes_the_copy_finds_the_original_out() -> None:
    """Given back under ASYNC_FLUSH: the copy in the retry topic is not on the disk yet when the power goes."""
    async with PopRig(flush_consumer_offset_interval=50) as rig:
        await filled(rig)
        await rig.pop(invisible_time=1000)
        # Everything is on the disk; what is given back lies behind that.
        assert await rig.context.store.flush()
        await rig.clock.run_ms(1000)
        assert len(await rig.messages(RETRY)) == 4
        await rig.clock.run_ms(60)
        assert rig.committed() == 0
        disk, clock = rig.disk.crashed_copy(SeededRng(1), "none"), rig.clock
    async with PopRig(disk, clock=clock) as again:
        await again.heartbeat("T")
        await again.clock.run_ms(2000)
        assert sorted(bodies(await again.pop())) == [b"0", b"1", b"2", b"3"]


async def test_too_many_out_stop_a_queue_when_that_is_asked_for(rig: PopRig) -> None:
    rig.config.enable_pop_message_threshold = True
    rig.config.pop_inflight_message_threshold = 1
    found = await rig.pop(max_msg_nums=2)
    assert len(found) == 2
    answer = await rig.ask(rig.pop_request())
    assert (answer.code, (answer.ext_fields or {})["restNum"]) == (ResponseCode.POLLING_TIMEOUT, "2")
    await rig.ack(found[0])
    assert bodies(await rig.pop()) == [b"2", b"3"]


async def test_a_clock_that_was_ahead_when_it_was_popped_delays_by_no_more_than_the_invisible_time(rig: PopRig) -> None:
    await rig.pop()
    disk, clock = killed(rig)
    clock.jump_wall_ms(-86_400_000)
    async with PopRig(disk, clock=clock) as again:
        await again.heartbeat("T")
        await again.clock.run_ms(INVISIBLE_MS - 1)
        assert await again.pop() == []
        await again.clock.run_ms(1)
        assert len(await again.pop()) == 4


async def test_acknowledgements_that_come_together_are_noted_together(rig: PopRig) -> None:
    """One write for all of them, before the first answer; each has its own answer."""
    for n in range(1, 16):
        await rig.send("T", b"%d" % n)
    found = await rig.pop()
    journal = rig.context.pop.account._journal
    writes, note = [], journal.write

    def noted(*ops: Any) -> None:
        writes.append(len(ops))
        note(*ops)

    journal.write = noted  # type: ignore[method-assign]
    again = await asyncio.gather(*(rig.ack(one) for one in [*found, found[0]]))
    assert {answer.code for answer in again} == {0}
    assert len(writes) < len(found) / 2, writes
    assert rig.context.pop.account.ledger.out_count == 0
    assert rig.committed() == len(found) == 19


async def test_acknowledgements_that_come_together_fail_together(rig: PopRig) -> None:
    await rig.send("T", b"1")
    found = await rig.pop()
    rig.disk.fail("pwrite", error=errno.ENOSPC, times=1_000_000, path_part="gantry/pop", partial=True)
    answers = await asyncio.gather(*(rig.ack(one) for one in found))
    assert {answer.code for answer in answers} == {ResponseCode.SERVICE_NOT_AVAILABLE}
    assert rig.context.pop.account.ledger.out_count == len(found)
    rig.disk.heal()
    assert {(await rig.ack(one)).code for one in found} == {0}
    assert rig.context.pop.account.ledger.out_count == 0
