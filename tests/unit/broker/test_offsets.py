"""Committed offsets: queries, commits, files; the ends of queues; searches by time."""

from __future__ import annotations

from typing import Any

import pytest

from gantry.protocol import json_dialect
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_earliest_msg_storetime import GetEarliestMsgStoretimeRequestHeader
from gantry.protocol.remoting.header.get_max_offset import GetMaxOffsetRequestHeader
from gantry.protocol.remoting.header.get_min_offset import GetMinOffsetRequestHeader
from gantry.protocol.remoting.header.search_offset import SearchOffsetRequestHeader
from gantry.protocol.remoting.header.update_consumer_offset import UpdateConsumerOffsetRequestHeader
from gantry.testing import MemoryDisk
from tests.unit.broker.broker_rig import GROUP, ROOT, BrokerRig

FILE = f"{ROOT}/config/consumerOffset.json"


@pytest.fixture
async def rig() -> Any:
    async with BrokerRig() as rig:
        for _ in range(10):
            await rig.send("T")
            await rig.clock.run_ms(100)
        await rig.heartbeat("T")
        yield rig


async def commit(rig: BrokerRig, offset: int, *, group: str = GROUP, topic: str = "T", queue_id: int = 0) -> RemotingCommand:
    return await rig.ask(
        UpdateConsumerOffsetRequestHeader(consumer_group=group, topic=topic, queue_id=queue_id, commit_offset=offset)
    )


async def test_committed_offset_is_answered(rig: BrokerRig) -> None:
    assert (await commit(rig, 7)).code == 0
    assert (await rig.query_offset("T")).ext_fields == {"offset": "7"}
    assert (await commit(rig, 3)).code == 0
    assert (await rig.query_offset("T")).ext_fields == {"offset": "3"}


@pytest.mark.parametrize(
    ("values", "code", "remark"),
    [
        ({"group": "nobody"}, ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "Group nobody not exist!"),
        ({"topic": "nobody"}, ResponseCode.TOPIC_NOT_EXIST, "Topic nobody not exist!"),
        ({"queue_id": -1}, ResponseCode.INVALID_PARAMETER, "must not be negative"),
        ({"offset": -5}, ResponseCode.INVALID_PARAMETER, "must not be negative"),
    ],
)
async def test_bad_commits_are_refused(rig: BrokerRig, values: dict[str, Any], code: int, remark: str) -> None:
    answer = await commit(rig, values.pop("offset", 1), **values)
    assert answer.code == code
    assert remark in (answer.remark or "")


async def test_commit_above_the_queue_is_brought_down_to_its_end(rig: BrokerRig) -> None:
    assert (await commit(rig, (1 << 63) - 1)).code == 0
    assert (await rig.query_offset("T")).ext_fields == {"offset": "10"}


async def test_commits_are_ignored_while_a_reset_waits(rig: BrokerRig) -> None:
    rig.context.offsets.assign_reset_offset("T", GROUP, 0, 2)
    answer = await commit(rig, 9)
    assert (answer.code, answer.remark) == (0, "Offset has been previously reset")
    assert (await rig.query_offset("T")).ext_fields == {"offset": "2"}


async def test_new_group_starts_at_zero_while_the_first_message_is_in_memory(rig: BrokerRig) -> None:
    assert (await rig.query_offset("T", group="new")).ext_fields == {"offset": "0"}
    explicit = await rig.query_offset("T", group="new", set_zero_if_not_found=False)
    assert explicit.code == ResponseCode.QUERY_NOT_FOUND


async def test_new_group_on_an_empty_queue_is_left_to_the_client(rig: BrokerRig) -> None:
    answer = await rig.query_offset("T", 3, group="new")
    assert answer.code == ResponseCode.QUERY_NOT_FOUND
    assert answer.remark == "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"


async def test_offsets_are_in_the_file_after_their_interval_and_after_a_stop(rig: BrokerRig) -> None:
    await commit(rig, 4)
    assert not rig.disk.exists(FILE)
    await rig.clock.run_ms(5100)
    value = json_dialect.decode(rig.disk.read_file(FILE))
    assert value["offsetTable"] == {f"T@{GROUP}": {0: 4}}
    assert value["groupTopicMap"] == {GROUP: ["T"]}
    await commit(rig, 6)
    await rig.controller.stop()
    async with BrokerRig(rig.disk, clock=rig.clock) as again:
        assert (await again.query_offset("T")).ext_fields == {"offset": "6"}


@pytest.mark.parametrize("keep", ["none", "all"])
async def test_a_crash_takes_back_one_interval_of_commits_at_most(rig: BrokerRig, keep: str) -> None:
    await commit(rig, 4)
    await rig.clock.run_ms(5100)
    await commit(rig, 8)
    await rig.context.store.flush()
    disk: MemoryDisk = rig.disk.crashed_copy(keep=keep)  # type: ignore[arg-type]
    async with BrokerRig(disk, clock=rig.clock) as again:
        assert (await again.query_offset("T")).ext_fields == {"offset": "4"}


async def test_offset_above_a_log_that_lost_its_tail_is_brought_down() -> None:
    rig = BrokerRig()
    await rig.controller.start()
    await rig.send("T")
    await rig.context.store.flush()
    for _ in range(5):
        await rig.send("T")
    await rig.heartbeat("T")
    await commit(rig, 6)
    await rig.context.offsets.file.flush()
    disk = rig.disk.crashed_copy(keep="none")
    await rig.client.close()
    await rig.controller.stop()
    async with BrokerRig(disk, clock=rig.clock) as again:
        assert (await again.query_offset("T")).ext_fields == {"offset": "1"}


async def test_file_that_does_not_parse_falls_back_to_its_copy(rig: BrokerRig) -> None:
    await commit(rig, 4)
    await rig.clock.run_ms(5100)
    await commit(rig, 5)
    await rig.clock.run_ms(5100)
    await rig.controller.stop()
    data = rig.disk.read_file(FILE)
    rig.disk.replace_file(FILE, data[: len(data) // 2], keep_backup=False)
    async with BrokerRig(rig.disk, clock=rig.clock) as again:
        assert (await again.query_offset("T")).ext_fields == {"offset": "4"}


async def test_a_start_without_any_readable_table_is_refused(rig: BrokerRig) -> None:
    from gantry.errors import StoreDamaged

    await commit(rig, 4)
    await rig.controller.stop()
    for path in (FILE, FILE + ".bak"):
        rig.disk.replace_file(path, b"{not json", keep_backup=False)
    again = BrokerRig(rig.disk, clock=rig.clock)
    with pytest.raises(StoreDamaged, match="consumerOffset"):
        await again.controller.start()
    # The lock was given back: after repair a start works.
    rig.disk.unlink(FILE)
    rig.disk.unlink(FILE + ".bak")
    async with BrokerRig(rig.disk, clock=rig.clock):
        pass


async def test_failed_write_of_the_file_is_tried_again(rig: BrokerRig) -> None:
    await commit(rig, 4)
    rig.disk.fail("rename", path_part="consumerOffset")
    await rig.clock.run_ms(5100)
    assert not rig.disk.exists(FILE)
    await rig.clock.run_ms(5100)
    assert rig.disk.exists(FILE)


# -- ends of queues and times


async def test_ends_of_queues(rig: BrokerRig) -> None:
    assert (await rig.ask(GetMaxOffsetRequestHeader(topic="T", queue_id=0))).ext_fields == {"offset": "10"}
    assert (await rig.ask(GetMinOffsetRequestHeader(topic="T", queue_id=0))).ext_fields == {"offset": "0"}
    assert (await rig.ask(GetMaxOffsetRequestHeader(topic="T", queue_id=3))).ext_fields == {"offset": "0"}
    assert (await rig.ask(GetMinOffsetRequestHeader(topic="nobody", queue_id=3))).ext_fields == {"offset": "0"}


async def test_earliest_store_time(rig: BrokerRig) -> None:
    first = (await rig.messages("T"))[0]
    answer = await rig.ask(GetEarliestMsgStoretimeRequestHeader(topic="T", queue_id=0))
    assert answer.ext_fields == {"timestamp": str(first.store_timestamp)}
    assert (await rig.ask(GetEarliestMsgStoretimeRequestHeader(topic="T", queue_id=3))).ext_fields == {"timestamp": "-1"}


async def test_search_by_time(rig: BrokerRig) -> None:
    messages = await rig.messages("T")

    async def search(timestamp: int, boundary: str | None = None) -> int:
        answer = await rig.ask(SearchOffsetRequestHeader(topic="T", queue_id=0, timestamp=timestamp, boundary_type=boundary))
        return int((answer.ext_fields or {})["offset"])

    assert await search(messages[4].store_timestamp) == 4
    assert await search(messages[4].store_timestamp + 1) == 5
    assert await search(messages[4].store_timestamp + 1, "upper") == 4
    assert await search(0) == 0
