"""Defects of POP in the original, a test each, named after the issue of apache/rocketmq and for the promise that holds here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.errors import StoreError
from gantry.model import message_const
from gantry.model.names import dlq_topic
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.header.ack_message import AckMessageRequestHeader
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


async def test_issue_3787_a_slow_consumer_that_acknowledges_in_time_gets_nothing_twice(rig: PopRig) -> None:
    """There the checkpoint left its buffer after 8.5 s, and acknowledgements that came later missed it."""
    for n in range(1, 32):
        await rig.send("T", b"%d" % n)
    found = await rig.pop()
    assert len(found) == 32
    for one in found:
        await rig.clock.run_ms(INVISIBLE_MS // 33)
        assert (await rig.ack(one)).code == 0
    await rig.clock.run_ms(3 * INVISIBLE_MS)
    assert await rig.pop() == []
    assert await rig.messages(RETRY) == []


async def test_issue_4815_a_failed_message_comes_again_when_its_consumer_says(rig: PopRig) -> None:
    """There a second try took two minutes at least."""
    (one,) = await rig.pop()
    await rig.change(one, 10_000)
    await rig.clock.run_ms(9_999)
    assert await rig.pop() == []
    await rig.clock.run_ms(1)
    assert bodies(await rig.pop()) == [b"0"]


async def test_issue_8332_tries_come_to_an_end(rig: PopRig) -> None:
    """There a message beyond its tries went on for ever, until the client was made to acknowledge it unseen."""
    group = rig.context.subscriptions.find(GROUP)
    assert group is not None
    group.retry_max_times = 3
    for _ in range(4):
        assert bodies(await rig.pop()) == [b"0"]
        await rig.clock.run_ms(INVISIBLE_MS)
    assert await rig.pop() == []
    assert [message.body for message in await rig.messages(dlq_topic(GROUP))] == [b"0"]
    assert rig.context.pop.account.ledger.out_count == 0


async def test_issue_9956_many_changes_at_once_do_not_hold_up_revival(rig: PopRig) -> None:
    """There the revive service was busy for minutes with the checkpoints of such a burst."""
    for n in range(1, 320):
        await rig.send("T", b"%d" % n, queue_id=n % 4)
    found = []
    while batch := await rig.pop():
        found += batch
    assert len(found) == 320
    for _ in range(5):
        for one in found:
            assert (await rig.change(one, 7_000)).code == 0
    await rig.clock.run_ms(6_999)
    assert await rig.messages(RETRY) == []
    await rig.clock.run_ms(1)
    assert len(await rig.messages(RETRY)) == 320


async def test_issue_10276_a_change_to_the_very_same_deadline_keeps_the_message(rig: PopRig) -> None:
    """There both records had one key, and deleting the old one took the new one with it."""
    (one,) = await rig.pop()
    await rig.clock.run_ms(1000)
    assert (await rig.change(one, INVISIBLE_MS - 1000)).code == 0
    await rig.clock.run_ms(INVISIBLE_MS - 1001)
    assert await rig.pop() == []
    await rig.clock.run_ms(1)
    assert bodies(await rig.pop()) == [b"0"]


async def test_issue_10276_a_change_in_the_millisecond_of_the_pop_makes_another_handle(rig: PopRig) -> None:
    (one,) = await rig.pop()
    old = one.handle
    assert (await rig.change(one, INVISIBLE_MS)).code == 0
    one.handle, new = old, one.handle
    assert (await rig.ack(one)).code == 0
    assert rig.context.pop.account.ledger.out_count == 1
    one.handle = new
    assert (await rig.ack(one)).code == 0
    assert rig.context.pop.account.ledger.out_count == 0


async def test_issue_7724_revival_gives_back_that_message_and_no_other(rig: PopRig) -> None:
    """There the next message was given back where the wanted one was gone."""
    for n in range(1, 4):
        await rig.send("T", b"%d" % n)
    found = await rig.pop()
    for index in (0, 2, 3):
        await rig.ack(found[index])
    await rig.clock.run_ms(INVISIBLE_MS)
    assert [message.body for message in await rig.messages(RETRY)] == [b"1"]


async def test_issue_7914_no_message_is_lost_when_some_of_a_pop_are_acknowledged(rig: PopRig) -> None:
    for n in range(1, 100):
        await rig.send("T", b"%d" % n, queue_id=n % 3)
    kept = set()
    while found := await rig.pop():
        for number, one in enumerate(found):
            if number % 3:
                await rig.ack(one)
            else:
                kept.add(one.body)
    await rig.clock.run_ms(INVISIBLE_MS)
    again = set()
    while found := await rig.pop():
        again |= set(bodies(found))
    assert again == kept


async def test_issue_8479_a_topic_made_anew_does_not_inherit_what_was_out(rig: PopRig) -> None:
    """There revival tried offsets of the old topic for ever, or gave back messages of the new one."""
    await rig.pop()
    await rig.context.store.delete_topics(["T"])
    rig.context.pop.forget_topic("T")
    rig.context.offsets.remove_topic("T")
    await rig.send("T", b"new")
    await rig.clock.run_ms(INVISIBLE_MS)
    assert await rig.messages(RETRY) == []
    assert bodies(await rig.pop()) == [b"new"]


async def test_issue_8835_acknowledgements_of_one_pop_may_come_in_pieces(rig: PopRig) -> None:
    for n in range(1, 8):
        await rig.send("T", b"%d" % n)
    found = await rig.pop()
    await rig.batch_ack(found[:-1])
    await rig.clock.run_ms(INVISIBLE_MS - 1)
    await rig.ack(found[-1])
    await rig.clock.run_ms(INVISIBLE_MS)
    assert await rig.messages(RETRY) == []


async def test_issue_9632_a_pop_that_waits_is_woken_by_a_retry_topic_of_the_first_kind(rig: PopRig) -> None:
    await rig.pop(invisible_time=3000)
    waiting = asyncio.ensure_future(rig.ask(rig.pop_request(poll_time=15_000)))
    await rig.clock.run_ms(3000)
    assert waiting.done()
    assert bodies(popped(await waiting, "T")) == [b"0"]


async def test_issue_10736_what_is_acknowledged_while_the_ledger_is_saved_stays_so() -> None:
    """There the store write of a cleanup brought an acknowledged record back."""
    async with PopRig(pop_journal_bytes_max=256) as rig:
        await rig.heartbeat("T")
        for n in range(64):
            await rig.send("T", b"%d" % n)
        for _ in range(2):
            for one in await rig.pop():
                assert (await rig.ack(one)).code == 0
        await settle()
    async with PopRig(rig.disk, clock=rig.clock) as rig:
        await rig.heartbeat("T")
        await rig.clock.run_ms(2 * INVISIBLE_MS)
        assert await rig.pop() == []


async def test_issue_10985_a_failed_read_does_not_lose_the_retry(rig: PopRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the offset of the revive topic had moved on when the read failed."""
    await rig.pop()
    store, fails = rig.context.store, iter(range(3))
    read = store.get

    def get(topic: str, *args: Any) -> Any:
        if topic == "T" and next(fails, None) is not None:
            raise StoreError("the disk does not answer")
        return read(topic, *args)

    monkeypatch.setattr(store, "get", get)
    await rig.clock.run_ms(INVISIBLE_MS + 2_500)
    assert await rig.messages(RETRY) == []
    await rig.clock.run_ms(1_000)
    assert bodies(await rig.pop()) == [b"0"]


async def test_issue_11180_an_offset_that_wraps_acknowledges_nothing(rig: PopRig) -> None:
    (one,) = await rig.pop()
    for offset in (1 << 32, -(1 << 32)):
        request = AckMessageRequestHeader(consumer_group=GROUP, topic="T", queue_id=0, extra_info=one.handle, offset=offset)
        assert (await rig.ask(request)).code == ResponseCode.NO_MESSAGE
    assert rig.context.pop.account.ledger.out_count == 1


async def test_issue_6339_flag_and_properties_survive_revival(rig: PopRig) -> None:
    (one,) = await rig.pop()
    await rig.ack(one)
    await rig.send("T", b"flagged", flag=77, properties={message_const.TAGS: "A", message_const.KEYS: "k", "mine": "yes"})
    await rig.pop()
    await rig.clock.run_ms(INVISIBLE_MS)
    (again,) = await rig.pop()
    assert again.message.flag == 77
    assert {name: again.message.properties[name] for name in ("TAGS", "KEYS", "mine")} == {
        "TAGS": "A", "KEYS": "k", "mine": "yes",
    }  # fmt: skip


async def test_issue_10229_an_operators_offset_reaches_orderly_pops(rig: PopRig) -> None:
    (one,) = await rig.pop(order=True, queue_id=0)
    await rig.ack(one)
    rig.context.offsets.assign_reset_offset("T", GROUP, 0, 0)
    assert bodies(await rig.pop(order=True, queue_id=0)) == [b"0"]


@pytest.mark.parametrize("after_ms", [17_000, 60_000, 240_000, 299_999])
async def test_issue_4153_an_acknowledgement_late_in_a_long_invisible_time_counts(rig: PopRig, after_ms: int) -> None:
    """There it went through a later delay level than the checkpoint, came out behind it, and the message was given back."""
    (one,) = await rig.pop(invisible_time=300_000)
    await rig.clock.run_ms(after_ms)
    assert (await rig.ack(one)).code == 0
    assert rig.committed() == 1
    await rig.clock.run_ms(301_000)
    assert await rig.messages(RETRY) == []
    assert await rig.pop() == []
