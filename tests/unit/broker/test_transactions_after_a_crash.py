"""Transactions over a broker that is killed, or whose machine loses power: what was open stays open, what ended ended once."""

from __future__ import annotations

from typing import Literal

import pytest

from gantry.protocol.remoting.codes import ResponseCode
from tests.unit.broker.transaction_rig import COMMIT, HALF, OPS, PARKED, ROLLBACK, TransactionRig, killed, questions

KINDS: tuple[Literal["all", "none"], ...] = ("all", "none")
"""kill -9 under ASYNC_FLUSH, and a power cut under SYNC_FLUSH."""


def flush(keep: str) -> str:
    return "ASYNC_FLUSH" if keep == "all" else "SYNC_FLUSH"


def counts(rig: TransactionRig) -> dict[str, int]:
    return {topic: count for topic, count in rig.context.transactions.metrics.half_messages.items() if count}


@pytest.mark.parametrize("keep", KINDS)
async def test_a_pending_half_is_asked_for_by_the_next_broker(keep: Literal["all", "none"]) -> None:
    async with TransactionRig(flush_disk_type=flush(keep)) as first:
        await first.send("T")
        sent = await first.half(b"open")
        async with killed(first, keep=keep, flush_disk_type=flush(keep)) as rig:
            producer = await rig.producer()
            assert counts(rig) == {"T": 1}
            await rig.rounds()
            (question,) = questions(producer)
            assert question.message.msg_id == sent.unique_key
            assert (await rig.end(question.place, COMMIT, checked=True)).code == 0
            await rig.rounds(3)
            assert await rig.bodies() == [b"open"]
            assert len(questions(producer)) == 1


@pytest.mark.parametrize("keep", KINDS)
async def test_a_pending_half_is_ended_by_its_sender_after_a_restart(keep: Literal["all", "none"]) -> None:
    async with TransactionRig(flush_disk_type=flush(keep)) as first:
        await first.send("T")
        sent = await first.half(b"open")
        async with killed(first, keep=keep, flush_disk_type=flush(keep)) as rig:
            assert (await rig.end(sent, COMMIT)).code == 0
            assert await rig.bodies() == [b"open"]


@pytest.mark.parametrize("keep", KINDS)
async def test_a_commit_outlives_a_kill_and_is_delivered_once(keep: Literal["all", "none"]) -> None:
    """The kill comes before the op queue is told; the original asks again then, and delivers a second time."""
    async with TransactionRig(flush_disk_type=flush(keep)) as first:
        await first.send("T")
        sent = [await first.half(b"%d" % n) for n in range(10)]
        for one in sent:
            assert (await first.end(one, COMMIT)).code == 0
        assert await first.messages(OPS) == []
        async with killed(first, keep=keep, flush_disk_type=flush(keep)) as rig:
            producer = await rig.producer()
            assert len(await rig.bodies()) == 10
            await rig.rounds(3)
            assert questions(producer) == []
            assert sorted(await rig.bodies()) == [b"%d" % n for n in range(10)]
            assert counts(rig) == {}
            assert b"".join(op.body for op in await rig.messages(OPS)) == b"".join(b"%d," % n for n in range(10))
            # And by a sender who does not know whether it was heard.
            assert (await rig.end(sent[0], COMMIT)).code == 0
            assert (await rig.end(sent[1], ROLLBACK)).code == ResponseCode.ILLEGAL_OPERATION
            assert len(await rig.bodies()) == 10


@pytest.mark.parametrize("keep", KINDS)
async def test_a_rollback_outlives_a_kill(keep: Literal["all", "none"]) -> None:
    async with TransactionRig(flush_disk_type=flush(keep)) as first:
        await first.send("T")
        sent = await first.half(b"no")
        assert (await first.end(sent, ROLLBACK)).code == 0
        async with killed(first, keep=keep, flush_disk_type=flush(keep)) as rig:
            producer = await rig.producer()
            assert (await rig.end(sent, COMMIT)).code == ResponseCode.ILLEGAL_OPERATION
            await rig.rounds(3)
            assert questions(producer) == []
            assert await rig.bodies() == []


@pytest.mark.parametrize("keep", KINDS)
async def test_checks_are_counted_on_over_kills(keep: Literal["all", "none"]) -> None:
    """Each broker is killed right after a round, before its positions are in their file: nothing is asked for twice a round."""
    rig = TransactionRig(flush_disk_type=flush(keep))
    times: list[str] = []
    async with rig:
        await rig.send("T")
        await rig.half(b"open")
        for _ in range(17):
            after = killed(rig, keep=keep, flush_disk_type=flush(keep))
            async with after:
                producer = await after.producer()
                await after.rounds()
                times += [q.message.properties["TRANSACTION_CHECK_TIMES"] for q in questions(producer)]
                rig = killed(after, keep=keep, flush_disk_type=flush(keep))
        assert times == [str(n) for n in range(1, 16)]
        async with rig:
            await rig.rounds(2)
            assert [m.body for m in await rig.messages(PARKED)] == [b"open"]
            assert counts(rig) == {}


async def test_positions_are_never_ahead_of_what_is_on_the_disk() -> None:
    """ASYNC_FLUSH and a power cut: the appended copy is lost, so the half itself must be looked at again."""
    settings = {"flush_interval_commit_log": 1_000_000, "flush_commit_log_thorough_interval": 10_000_000}
    async with TransactionRig(**settings) as first:
        await first.send("T")
        await first.half(b"open")
        await first.context.store.flush()
        await first.rounds(2)
        async with killed(first, keep="none") as rig:
            producer = await rig.producer()
            await rig.rounds(1)
            assert [q.message.body for q in questions(producer)] == [b"open"]


async def test_a_half_that_went_on_elsewhere_is_known_by_its_first_place_after_a_kill() -> None:
    async with TransactionRig() as first:
        await first.send("T")
        committed, rolled_back = await first.half(b"yes"), await first.half(b"no")
        await first.rounds(3)
        async with killed(first) as rig:
            producer = await rig.producer()
            assert (await rig.end(committed, COMMIT)).code == 0
            assert (await rig.end(rolled_back, ROLLBACK)).code == 0
            await rig.rounds(3)
            assert questions(producer) == []
            assert await rig.bodies() == [b"yes"]


async def test_a_clean_stop_leaves_nothing_to_find_again() -> None:
    async with TransactionRig() as first:
        await first.send("T")
        for n in range(3):
            await first.end(await first.half(b"%d" % n), COMMIT)
        await first.half(b"open")
        disk = first.disk
    async with TransactionRig(disk, clock=first.clock) as rig:
        assert [op.body for op in await rig.messages(OPS)] == [b"0,1,2,"]
        assert rig.context.offsets.query("CID_RMQ_SYS_TRANS", HALF, 0) == 3
        assert rig.context.transactions.ledger.position == 3
        await rig.clock.run_ms(1)
        assert counts(rig) == {"T": 1}
        assert rig.context.transactions.metrics.half_messages == {"T": 1}
