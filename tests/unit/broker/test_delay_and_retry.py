"""Delay levels, messages sent back by consumers, dead letters."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from gantry.model import MessageExt
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.consumer_send_msg_back import ConsumerSendMsgBackRequestHeader
from gantry.testing import MemoryDisk
from tests.unit.broker.broker_rig import GROUP, BrokerRig


@pytest.fixture
async def rig() -> Any:
    async with BrokerRig() as rig:
        await rig.send("T")
        yield rig


async def send_back(rig: BrokerRig, message: MessageExt, delay_level: int = 0, **fields: Any) -> RemotingCommand:
    return await rig.ask(
        ConsumerSendMsgBackRequestHeader(
            offset=message.physical_offset,
            group=fields.pop("group", GROUP),
            delay_level=delay_level,
            origin_msg_id=message.msg_id,
            origin_topic=message.topic,
            unit_mode=False,
            max_reconsume_times=fields.pop("max_reconsume_times", 16),
        ),
        **fields,
    )


@pytest.mark.parametrize(("level", "delay_ms"), [(1, 1000), (3, 10_000), (18, 7_200_000), (19, 7_200_000)])
async def test_delayed_message_comes_at_its_time_and_not_before(rig: BrokerRig, level: int, delay_ms: int) -> None:
    sent_at = rig.clock.now_ms()
    answer = await rig.send("T", b"later", queue_id=1, properties={"DELAY": str(level), "TAGS": "A"})
    assert answer.code == 0
    assert (answer.ext_fields or {})["queueId"] == "1"
    await rig.clock.run_ms(delay_ms - (rig.clock.now_ms() - sent_at) - 1)
    assert await rig.messages("T", 1) == []
    await rig.clock.run_ms(1)
    (message,) = await rig.messages("T", 1)
    assert message.body == b"later"
    assert message.store_timestamp - sent_at == delay_ms
    assert message.properties["REAL_TOPIC"] == "T"
    # The tag works as that of any other message.
    assert (await rig.pull("T", 1, expression="A")).code == 0
    assert (await rig.pull("T", 1, expression="B")).code == ResponseCode.PULL_RETRY_IMMEDIATELY


async def test_many_delayed_messages_of_one_level_keep_their_order(rig: BrokerRig) -> None:
    for n in range(100):
        await rig.send("T", b"%d" % n, queue_id=1, properties={"DELAY": "1"})
        await rig.clock.run_ms(7)
    await rig.clock.run_ms(1000)
    assert [m.body for m in await rig.messages("T", 1)] == [b"%d" % n for n in range(100)]


async def test_due_times_follow_the_wall_clock(rig: BrokerRig) -> None:
    await rig.send("T", b"later", queue_id=1, properties={"DELAY": "5"})
    rig.clock.jump_wall_ms(60_000)
    await rig.clock.run_ms(1000)
    assert len(await rig.messages("T", 1)) == 1


async def test_nothing_comes_early_or_late_when_the_wall_clock_goes_back(rig: BrokerRig) -> None:
    await rig.send("T", b"before", queue_id=1, properties={"DELAY": "5"})
    await rig.clock.run_ms(10_000)
    rig.clock.jump_wall_ms(-3_600_000)
    await rig.send("T", b"just after", queue_id=1, properties={"DELAY": "5"})
    await rig.clock.run_ms(20_000)
    await rig.send("T", b"after", queue_id=1, properties={"DELAY": "5"})
    comes: dict[bytes, int] = {}
    for second in range(30, 120):
        for message in await rig.messages("T", 1):
            comes.setdefault(message.body, second)
        await rig.clock.run_ms(1000)
    assert list(comes) == [b"before", b"just after", b"after"]
    for body, due in ((b"before", 60), (b"just after", 70), (b"after", 90)):
        assert due <= comes[body] <= due + 2, (body, comes)


async def test_two_jumps_back_and_one_forward_add_up(rig: BrokerRig) -> None:
    await rig.send("T", b"first", queue_id=1, properties={"DELAY": "5"})
    await rig.clock.run_ms(5_000)
    rig.clock.jump_wall_ms(-600_000)
    await rig.clock.run_ms(5_000)
    await rig.send("T", b"second", queue_id=1, properties={"DELAY": "5"})
    rig.clock.jump_wall_ms(-600_000)
    await rig.clock.run_ms(48_000)
    assert await rig.messages("T", 1) == []
    await rig.clock.run_ms(4_000)
    assert [message.body for message in await rig.messages("T", 1)] == [b"first"]
    await rig.clock.run_ms(6_000)
    assert len(await rig.messages("T", 1)) == 1
    await rig.clock.run_ms(4_000)
    assert len(await rig.messages("T", 1)) == 2


async def test_a_restart_behind_a_clock_that_jumped_back_brings_nothing_early() -> None:
    """Nobody knows any more when the jump was: time stood still from the store's last one on."""
    async with BrokerRig() as first:
        await first.send("T")
        await first.send("T", b"a minute", queue_id=1, properties={"DELAY": "5"})
        await first.clock.run_ms(40_000)
        await first.send("T", b"another minute", queue_id=1, properties={"DELAY": "5"})
        first.clock.jump_wall_ms(-3_600_000)
        await first.clock.run_ms(5_000)
    async with BrokerRig(first.disk, clock=first.clock) as second:
        comes: dict[bytes, int] = {}
        for seconds in range(70):
            for message in await second.messages("T", 1):
                comes.setdefault(message.body, seconds)
            await second.clock.run_ms(1_000)
        assert 20 - 5 <= comes[b"a minute"] <= 22
        assert 60 - 5 <= comes[b"another minute"] <= 62


@pytest.mark.parametrize("keep", ["none", "all"])
async def test_no_delayed_message_is_lost_by_a_crash_at_any_moment(keep: str) -> None:
    """Flushed before it, delivered or not: after the crash every message comes, at worst twice."""
    for moment_ms in (0, 500, 1000, 1100, 5000, 15_000):
        rig = BrokerRig()
        await rig.controller.start()
        await rig.send("T")
        for n in range(40):
            await rig.send("T", b"%d" % n, queue_id=1, properties={"DELAY": "1" if n % 2 else "2"})
        await rig.context.store.flush()
        await rig.context.topics.file.flush()
        await rig.clock.run_ms(moment_ms)
        disk: MemoryDisk = rig.disk.crashed_copy(keep=keep)  # type: ignore[arg-type]
        await rig.client.close()
        await rig.controller.stop()
        async with BrokerRig(disk, clock=rig.clock) as again:
            await again.clock.run_ms(6000)
            bodies = {m.body for m in await again.messages("T", 1)}
            assert bodies == {b"%d" % n for n in range(40)}, f"crash after {moment_ms} ms"


async def test_a_restart_goes_on_where_delivery_was(rig: BrokerRig) -> None:
    async with BrokerRig() as first:
        await first.send("T")
        await first.send("T", b"one", queue_id=1, properties={"DELAY": "1"})
        await first.send("T", b"two", queue_id=1, properties={"DELAY": "2"})
        await first.clock.run_ms(2000)
        assert [m.body for m in await first.messages("T", 1)] == [b"one"]
    async with BrokerRig(first.disk, clock=first.clock) as second:
        await second.clock.run_ms(10_000)
        assert [m.body for m in await second.messages("T", 1)] == [b"one", b"two"]


async def test_delivery_goes_on_after_a_full_disk(rig: BrokerRig) -> None:
    await rig.send("T", b"later", queue_id=1, properties={"DELAY": "1"})
    rule = rig.disk.fail("pwrite", error=28, times=3)
    await rig.clock.run_ms(1500)
    assert await rig.messages("T", 1) == []
    assert rule.spent or rig.disk.heal() is None
    rig.disk.heal()
    await rig.clock.run_ms(10_000)
    assert [m.body for m in await rig.messages("T", 1)] == [b"later"]


# -- sent back


async def test_a_message_sent_back_comes_again_on_the_retry_topic_later_and_later(rig: BrokerRig) -> None:
    await rig.send("T", b"bad", queue_id=1, properties={"KEYS": "k"})
    (message,) = await rig.messages("T", 1)
    assert (await send_back(rig, message)).code == 0
    await rig.clock.run_ms(9_999)
    assert await rig.messages("%RETRY%" + GROUP) == []
    await rig.clock.run_ms(1)
    (again,) = await rig.messages("%RETRY%" + GROUP)
    assert again.body == b"bad"
    assert again.reconsume_times == 1
    assert again.properties["RETRY_TOPIC"] == "T"
    assert again.properties["ORIGIN_MESSAGE_ID"] == message.offset_msg_id
    assert again.properties["UNIQ_KEY"] == message.properties["UNIQ_KEY"]
    assert again.born_timestamp == message.born_timestamp
    assert (await send_back(rig, again)).code == 0
    await rig.clock.run_ms(29_999)
    assert len(await rig.messages("%RETRY%" + GROUP)) == 1
    await rig.clock.run_ms(1)
    _, third = await rig.messages("%RETRY%" + GROUP)
    assert third.reconsume_times == 2
    assert third.properties["ORIGIN_MESSAGE_ID"] == message.offset_msg_id


async def test_what_was_tried_often_enough_becomes_a_dead_letter_at_once(rig: BrokerRig) -> None:
    await rig.send("T", b"bad", queue_id=1)
    (message,) = await rig.messages("T", 1)
    for tries in range(2):
        assert (await send_back(rig, message, 1, max_reconsume_times=2)).code == 0
        await rig.clock.run_ms(1000)
        message = (await rig.messages("%RETRY%" + GROUP))[tries]
    assert message.reconsume_times == 2
    assert (await send_back(rig, message, 1, max_reconsume_times=2)).code == 0
    (dead,) = await rig.messages("%DLQ%" + GROUP)
    assert dead.body == b"bad"
    assert dead.reconsume_times == 3
    topic = rig.context.topics.select("%DLQ%" + GROUP)
    assert topic is not None
    assert (topic.write_queue_nums, topic.perm) == (1, 6)


async def test_negative_delay_level_means_dead_letter(rig: BrokerRig) -> None:
    await rig.send("T", b"bad", queue_id=1)
    (message,) = await rig.messages("T", 1)
    assert (await send_back(rig, message, -1)).code == 0
    assert [m.body for m in await rig.messages("%DLQ%" + GROUP)] == [b"bad"]


async def test_old_clients_limit_is_ignored_and_the_groups_counts(rig: BrokerRig) -> None:
    await rig.send("T", b"bad", queue_id=1)
    (message,) = await rig.messages("T", 1)
    assert (await send_back(rig, message, 1, max_reconsume_times=0, version=120)).code == 0
    await rig.clock.run_ms(1000)
    assert len(await rig.messages("%RETRY%" + GROUP)) == 1


async def test_send_back_is_refused_when_the_sync_of_its_copy_fails() -> None:
    """The consumer would commit past the message, and a power cut take the copy."""
    async with BrokerRig(flush_disk_type="SYNC_FLUSH") as rig:
        await rig.send("T", b"again", queue_id=1)
        (message,) = await rig.messages("T", 1)
        await send_back(rig, message)  # makes the retry topic
        rig.disk.fail("sync", error=errno.EIO, path_part="commitlog")
        answer = await send_back(rig, message)
        assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "FLUSH_DISK_TIMEOUT")


async def test_send_back_of_what_is_not_there_is_refused(rig: BrokerRig) -> None:
    await rig.send("T", b"bad", queue_id=1)
    (message,) = await rig.messages("T", 1)
    for offset in (-1, 1, 1 << 40):
        message.physical_offset = offset
        answer = await send_back(rig, message)
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert answer.remark == f"look message by offset failed, {offset}"


async def test_unknown_group_is_refused_where_groups_are_not_created() -> None:
    async with BrokerRig(auto_create_subscription_group=False) as rig:
        await rig.send("T", b"bad")
        answer = await rig.ask(ConsumerSendMsgBackRequestHeader(offset=0, group="nobody", delay_level=0))
        assert answer.code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST


async def test_retry_topic_of_a_group_that_wants_none_stores_nothing(rig: BrokerRig) -> None:
    await rig.send("T", b"bad", queue_id=1)
    group = rig.context.subscriptions.find(GROUP)
    assert group is not None
    changed = group.copy()
    changed.retry_queue_nums = 0
    rig.context.subscriptions.update(changed)
    end = rig.context.store.max_physical_offset
    (message,) = await rig.messages("T", 1)
    assert (await send_back(rig, message)).code == 0
    assert rig.context.store.max_physical_offset == end


async def test_retry_by_send_goes_to_the_dead_letters_beyond_its_limit(rig: BrokerRig) -> None:
    await rig.heartbeat("T")
    retry = "%RETRY%" + GROUP
    assert (await rig.send(retry, b"again", reconsume_times=2, max_reconsume_times=2)).code == 0
    assert (await rig.send(retry, b"over", reconsume_times=3, max_reconsume_times=2, properties={"DELAY": "3"})).code == 0
    assert [m.body for m in await rig.messages(retry)] == [b"again"]
    assert [m.body for m in await rig.messages("%DLQ%" + GROUP)] == [b"over"]


async def test_acknowledged_send_back_survives_a_power_cut_under_sync_flush() -> None:
    async with BrokerRig(flush_disk_type="SYNC_FLUSH") as rig:
        await rig.send("T", b"bad")
        (message,) = await rig.messages("T")
        assert (await send_back(rig, message, 1)).code == 0
        await rig.context.topics.file.flush()
        disk = rig.disk.crashed_copy(keep="none")
    async with BrokerRig(disk, clock=rig.clock, flush_disk_type="SYNC_FLUSH") as again:
        await again.clock.run_ms(1000)
        assert [m.body for m in await again.messages("%RETRY%" + GROUP)] == [b"bad"]
