"""Settings, figures, progress of groups, resets, queries, and requests passed on to consumers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.model import MessageQueue
from gantry.protocol import json_dialect
from gantry.protocol.message.message_id import offset_msg_id
from gantry.protocol.message.record import decode_records
from gantry.protocol.remoting.body.consumer import decode_queue_table
from gantry.protocol.remoting.codes import LanguageCode, RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.clone_group_offset import CloneGroupOffsetRequestHeader
from gantry.protocol.remoting.header.consume_message_directly import ConsumeMessageDirectlyRequestHeader
from gantry.protocol.remoting.header.get_broker_consume_stats import GetBrokerConsumeStatsRequestHeader
from gantry.protocol.remoting.header.get_consume_stats import GetConsumeStatsRequestHeader
from gantry.protocol.remoting.header.get_consumer_running_info import GetConsumerRunningInfoRequestHeader
from gantry.protocol.remoting.header.get_topic_stats_info import GetTopicStatsInfoRequestHeader
from gantry.protocol.remoting.header.invoke_broker_to_get_consumer_status import (
    InvokeBrokerToGetConsumerStatusRequestHeader,
)
from gantry.protocol.remoting.header.invoke_broker_to_reset_offset import InvokeBrokerToResetOffsetRequestHeader
from gantry.protocol.remoting.header.query_consume_queue import QueryConsumeQueueRequestHeader
from gantry.protocol.remoting.header.query_consume_time_span import QueryConsumeTimeSpanRequestHeader
from gantry.protocol.remoting.header.query_correction_offset import QueryCorrectionOffsetRequestHeader
from gantry.protocol.remoting.header.query_message import QueryMessageRequestHeader
from gantry.protocol.remoting.header.query_topics_by_consumer import QueryTopicsByConsumerRequestHeader
from gantry.protocol.remoting.header.view_broker_stats_data import ViewBrokerStatsDataRequestHeader
from gantry.protocol.remoting.header.view_message import ViewMessageRequestHeader
from gantry.runtime.properties import parse_properties
from gantry.testing import MemoryDisk, settle
from tests.unit.broker.admin_rig import AdminRig

G = "group-a"
LONG_MAX = 2**63 - 1
CONFIG_FILE = "/conf/broker.conf"

RUNTIME_KEYS = [
    "brokerActive", "brokerVersionDesc", "startAcceptSendRequestTimeStamp", "msgPutTotalYesterdayMorning",
    "msgPutTotalTodayMorning", "msgPutTotalTodayNow", "msgGetTotalYesterdayMorning", "msgGetTotalTodayMorning",
    "msgGetTotalTodayNow", "dispatchBehindBytes", "pageCacheLockTimeMills", "earliestMessageTimeStamp",
    "consumeQueueDiskRatio", "commitLogDiskRatio", "commitLogDirCapacity", "commitLogMinOffset",
    "commitLogMaxOffset", "timerReadBehind", "timerOffsetBehind", "timerCongestNum", "timerEnqueueTps",
    "timerDequeueTps", "sendThreadPoolQueueSize", "sendThreadPoolQueueCapacity",
    "sendThreadPoolQueueHeadWaitTimeMills", "pullThreadPoolQueueSize", "pullThreadPoolQueueCapacity",
    "pullThreadPoolQueueHeadWaitTimeMills", "litePullThreadPoolQueueSize", "litePullThreadPoolQueueCapacity",
    "litePullThreadPoolQueueHeadWaitTimeMills", "queryThreadPoolQueueSize", "queryThreadPoolQueueCapacity",
    "queryThreadPoolQueueHeadWaitTimeMills", "ackThreadPoolQueueSize", "ackThreadPoolQueueCapacity",
    "ackThreadPoolQueueHeadWaitTimeMills", "EndTransactionQueueSize", "EndTransactionThreadPoolQueueCapacity",
    "remainTransientStoreBufferNumbs", "remainHowManyDataToCommit", "remainHowManyDataToFlush", "bootTimestamp",
    "runtime", "putMessageEntireTimeMax", "putMessageTimesTotal", "putMessageFailedTimes",
    "putMessageSizeTotal", "putMessageDistributeTime", "putMessageAverageSize", "dispatchMaxBuffer",
    "getMessageEntireTimeMax", "putTps", "getFoundTps", "getMissTps", "getTotalTps", "getTransferredTps",
    "putLatency99", "putLatency999",
]  # fmt: skip


async def table(rig: AdminRig, request: Any, member: str = "offsetTable") -> dict[int, Any]:
    """A map keyed by queues, by queue id."""
    answer = await rig.ask(RemotingCommand.request(request))
    assert answer.code == 0, answer
    return {key.queue_id: value for key, value in decode_queue_table(answer.body, member).items()}


class TestSettings:
    @staticmethod
    def disk() -> MemoryDisk:
        disk = MemoryDisk()
        disk.make_dirs("/conf")
        disk.replace_file(CONFIG_FILE, b"# by hand\nfileReservedTime=48\n", keep_backup=False)
        return disk

    @staticmethod
    async def update(rig: AdminRig, text: str | bytes) -> RemotingCommand:
        body = text if isinstance(text, bytes) else text.encode()
        return await rig.ask(RemotingCommand.request(RequestCode.UPDATE_BROKER_CONFIG, body))

    async def test_reloadable_key_changes_at_once_and_is_in_the_file(self) -> None:
        disk = self.disk()
        async with AdminRig(disk, broker_config_path=CONFIG_FILE) as rig:
            assert (await self.update(rig, "fileReservedTime=24\nautoCreateTopicEnable=false\n")).code == 0
            assert rig.config.file_reserved_time == 24
            assert rig.context.store.config.file_reserved_time == 24
            answer = await rig.ask(RemotingCommand.request(RequestCode.GET_BROKER_CONFIG))
            shown = parse_properties(answer.body.decode())
            assert shown["fileReservedTime"] == "24"
            assert shown["brokerName"] == "broker-a"
            assert json_dialect.decode((answer.ext_fields or {})["version"].encode())["counter"] == 1
            assert (await self.update(rig, "fileReservedTime=12")).code == 0
        text = disk.read_file(CONFIG_FILE).decode()
        assert text.startswith("# by hand\nfileReservedTime=48\n")
        assert parse_properties(text) == {"fileReservedTime": "12", "autoCreateTopicEnable": "false"}
        assert text.count("Changed while the broker ran") == 1

    @pytest.mark.parametrize(
        "text",
        [
            "storePathRootDir=/etc/cron.d",
            "storePathCommitLog=/etc",
            "brokerConfigPath=/etc/cron.d/x",
            "configBlackList=",
            "rocketmqHome=-c $@|sh . echo id",
            "filterServerNums=1",
            "configStorePath=/etc/cron.d/x",
            "kvConfigPath=/x",
            "listenPort=1",
            "brokerName=other",
            "messageStorePlugIn=some.Class",
            "fileReservedTime=24\nstorePathRootDir=/etc",
            "fileReservedTime=24\\nstorePathRootDir=/etc",
            "fileReservedTme=24",
        ],
    )
    async def test_paths_classes_and_unknown_keys_are_refused_and_nothing_changes(self, text: str) -> None:
        disk = self.disk()
        async with AdminRig(disk, broker_config_path=CONFIG_FILE) as rig:
            before = rig.config.to_properties()
            answer = await self.update(rig, text)
            assert answer.code in (16, 29)
            assert answer.code == 16 or "fileReservedTime" in (answer.remark or "")
            assert rig.config.to_properties() == before
        assert disk.read_file(CONFIG_FILE) == b"# by hand\nfileReservedTime=48\n"

    @pytest.mark.parametrize("text", ["fileReservedTime=soon", "fileReservedTime=-1", "autoCreateTopicEnable=yes"])
    async def test_values_out_of_bounds_are_refused_with_what_is_allowed(self, text: str) -> None:
        async with AdminRig(self.disk(), broker_config_path=CONFIG_FILE) as rig:
            before = rig.config.to_properties()
            answer = await self.update(rig, text)
            assert answer.code == 29
            assert "expected" in (answer.remark or "")
            assert rig.config.to_properties() == before

    async def test_bytes_that_are_no_properties(self) -> None:
        async with AdminRig() as rig:
            for body in (b"\xff\xfe\x00", b"fileReservedTime=\\u12"):
                answer = await self.update(rig, body)
                assert answer.code == 1
                assert (answer.remark or "").startswith("string2Properties error: ")

    async def test_a_file_that_cannot_be_written_changes_nothing(self) -> None:
        disk = self.disk()
        async with AdminRig(disk, broker_config_path=CONFIG_FILE) as rig:
            disk.fail("pwrite", path_part=CONFIG_FILE)
            answer = await self.update(rig, "fileReservedTime=24")
            assert answer.code == 1
            assert rig.config.file_reserved_time != 24

    async def test_permission_of_the_broker_is_registered_anew(self) -> None:
        async with AdminRig() as rig:
            before = rig.context.topics.data_version.counter
            assert (await self.update(rig, "brokerPermission=4")).code == 0
            assert rig.context.topics.data_version.counter == before + 1


class TestFigures:
    async def test_runtime_table_has_every_key_that_tools_read(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T", 3)
            info = (await rig.ask_json(RequestCode.GET_BROKER_RUNTIME_INFO))["table"]
            missing = set(RUNTIME_KEYS) - set(info)
            assert not missing
            assert f"commitLogDiskRatio_{rig.config.store_path_root_dir}/commitlog" in info
            assert all(isinstance(value, str) for value in info.values())
            assert info["brokerVersionDesc"] == "V5_5_0"
            assert info["msgPutTotalTodayNow"] == "3"
            assert info["earliestMessageTimeStamp"] == str(rig.clock.now_ms())
            for name in ("putTps", "getTransferredTps", "getFoundTps", "getMissTps", "getTotalTps"):
                assert len([float(part) for part in info[name].split(" ")]) == 3, name

    async def test_empty_broker_has_them_too(self) -> None:
        async with AdminRig() as rig:
            info = (await rig.ask_json(RequestCode.GET_BROKER_RUNTIME_INFO))["table"]
            assert set(RUNTIME_KEYS) <= set(info)
            assert info["earliestMessageTimeStamp"] == "-1"

    async def test_delivery_of_delayed_messages_shows_in_it(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T", DELAY="1")
            for _ in range(20):
                rig.clock.advance_ms(100)
                await settle()
            info = (await rig.ask_json(RequestCode.GET_BROKER_RUNTIME_INFO))["table"]
            assert info["scheduleMessageOffset_1"] == "1,1"

    async def test_rates_of_puts_and_gets_follow_the_traffic(self) -> None:
        async with AdminRig() as rig:
            for _ in range(10):
                await rig.store("T", 5)
                rig.clock.advance_ms(1000)
                await settle()
            await rig.pull("T", 0, 0)
            rig.clock.advance_ms(1000)
            await settle()
            info = (await rig.ask_json(RequestCode.GET_BROKER_RUNTIME_INFO))["table"]
            assert float(info["putTps"].split(" ")[1]) == pytest.approx(50 / 11)
            assert float(info["getTransferredTps"].split(" ")[0]) > 0
            body = await rig.ask_json(ViewBrokerStatsDataRequestHeader(stats_name="TOPIC_PUT_NUMS", stats_key="T"))
            assert body["statsMinute"]["sum"] > 0
            assert set(body) == {"statsMinute", "statsHour", "statsDay"}

    async def test_unknown_counter(self) -> None:
        async with AdminRig() as rig:
            answer = await rig.ask(ViewBrokerStatsDataRequestHeader(stats_name="TOPIC_PUT_NUMS", stats_key="none"))
            assert (answer.code, answer.remark) == (1, "The stats <TOPIC_PUT_NUMS> <none> not exist")

    async def test_replication_of_a_master_alone(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T")
            body = await rig.ask_json(RequestCode.GET_BROKER_HA_STATUS)
            assert body["master"] is True
            assert body["haConnectionInfo"] == []
            assert body["masterCommitLogMaxOffset"] == rig.context.store.max_physical_offset

    async def test_system_topics_and_delay_offsets(self) -> None:
        async with AdminRig() as rig:
            topics = (await rig.ask_json(RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_BROKER))["topicList"]
            assert {"TBW102", "SCHEDULE_TOPIC_XXXX", "DefaultCluster", "broker-a", "rmq_sys_wheel_timer"} <= set(topics)
            delays = await rig.ask_json(RequestCode.GET_ALL_DELAY_OFFSET)
            assert set(delays) >= {"dataVersion", "offsetTable"}


class TestProgress:
    async def test_topic_status_by_queue(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T", 3, queue_id=1)
            status = await table(rig, GetTopicStatsInfoRequestHeader(topic="T"))
            assert set(status) == {0, 1, 2, 3}
            assert status[0] == {"lastUpdateTimestamp": 0, "maxOffset": 0, "minOffset": 0}
            assert status[1] == {"lastUpdateTimestamp": rig.clock.now_ms(), "maxOffset": 3, "minOffset": 0}
            unknown = await rig.ask(GetTopicStatsInfoRequestHeader(topic="none"))
            assert (unknown.code, unknown.remark) == (17, "topic[none] not exist")

    async def test_lag_of_a_group(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T", 3)
            stored_ms = rig.clock.now_ms()
            rig.clock.advance_ms(5)
            await rig.store("T", 1)
            rig.context.offsets.commit(G, "T", 0, 3)
            lag = await table(rig, GetConsumeStatsRequestHeader(consumer_group=G, topic="T"))
            assert lag[0] == {"brokerOffset": 4, "consumerOffset": 3, "lastTimestamp": stored_ms, "pullOffset": 3}
            assert lag[1] == {"brokerOffset": 0, "consumerOffset": 0, "lastTimestamp": 0, "pullOffset": 0}

    async def test_lag_speaks_of_the_topics_the_group_listens_to_unless_named(self) -> None:
        async with AdminRig() as rig:
            for topic in ("T", "U"):
                await rig.store(topic)
                rig.context.offsets.commit(G, topic, 0, 1)
            await rig.peer("c1").beat(consumers={G: ["U"]})

            async def topics(**values: Any) -> set[str]:
                answer = await rig.ask(GetConsumeStatsRequestHeader(consumer_group=G, **values))
                return {key.topic for key in decode_queue_table(answer.body, "offsetTable")}

            assert await topics() == {"U"}
            assert await topics(topic="T") == set()
            assert await topics(topic_list="T;U;none") == {"T", "U"}

    async def test_lag_of_all_groups(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T", 3)
            await rig.ask_json(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {"groupName": G})
            rig.context.offsets.commit(G, "T", 0, 1)
            body = await rig.ask_json(GetBrokerConsumeStatsRequestHeader(is_order=False))
            assert body["brokerAddr"] == rig.address
            assert body["totalDiff"] == 2
            groups = {group: stats for item in body["consumeStatsList"] for group, stats in item.items()}
            assert set(groups) == set(rig.context.subscriptions.table)
            assert len(groups[G]) == 1
            ordered = await rig.ask_json(GetBrokerConsumeStatsRequestHeader(is_order=True))
            assert ordered["totalDiff"] == 0

    async def test_time_span_of_a_group(self) -> None:
        async with AdminRig() as rig:
            first_ms = rig.clock.now_ms()
            await rig.store("T")
            rig.clock.advance_ms(1000)
            await rig.store("T")
            last_ms = rig.clock.now_ms()
            rig.clock.advance_ms(500)
            rig.context.offsets.commit(G, "T", 0, 1)
            body = await rig.ask_json(QueryConsumeTimeSpanRequestHeader(topic="T", group=G))
            span = next(item for item in body["consumeTimeSpanSet"] if item["messageQueue"]["queueId"] == 0)
            assert span["minTimeStamp"] == first_ms
            assert span["maxTimeStamp"] == last_ms
            assert span["consumeTimeStamp"] == first_ms
            assert span["delayTime"] == 500
            assert span["minTimeStampStr"].endswith(f":{first_ms % 1000:03d}")
            assert (await rig.ask(QueryConsumeTimeSpanRequestHeader(topic="none", group=G))).code == 17

    async def test_offsets_as_a_slave_copies_them_and_topics_of_a_group(self) -> None:
        async with AdminRig() as rig:
            rig.context.offsets.commit(G, "T", 2, 9)
            body = await rig.ask_json(RequestCode.GET_ALL_CONSUMER_OFFSET)
            assert body["offsetTable"] == {f"T@{G}": {2: 9}}
            topics = await rig.ask_json(QueryTopicsByConsumerRequestHeader(group=G))
            assert topics == {"brokerAddr": rig.address, "topicList": ["T"]}

    async def test_cloned_offsets(self) -> None:
        async with AdminRig() as rig:
            for topic in ("T", "U"):
                await rig.store(topic)
                rig.context.offsets.commit(G, topic, 0, 1)
            await rig.ask_json(CloneGroupOffsetRequestHeader(src_group=G, dest_group="one", topic="T", offline=True))
            assert rig.context.offsets.query("one", "T", 0) == 1
            assert rig.context.offsets.query("one", "U", 0) == -1
            await rig.ask_json(CloneGroupOffsetRequestHeader(src_group=G, dest_group="all", offline=True))
            assert rig.context.offsets.query("all", "U", 0) == 1

    async def test_correction_offsets_compare_and_remove_nothing(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T", 5)
            for group, offset in (("a", 3), ("b", 2), ("slow", 1)):
                rig.context.offsets.commit(group, "T", 0, offset)

            async def ask(compare: str, left_out: str) -> Any:
                header = QueryCorrectionOffsetRequestHeader(topic="T", compare_group=compare, filter_groups=left_out)
                return (await rig.ask_json(header))["correctionOffsets"]

            assert await ask("a", "slow") == {0: 2}
            assert await ask("slow", "slow") == {0: LONG_MAX}
            assert await ask("a", "") == {0: 1}
            assert rig.context.offsets.query("slow", "T", 0) == 1


class TestReset:
    @staticmethod
    def header(**values: Any) -> InvokeBrokerToResetOffsetRequestHeader:
        fields: dict[str, Any] = {"group": G, "topic": "T", "queue_id": -1, "offset": -1, "timestamp": -1, "is_force": True}
        return InvokeBrokerToResetOffsetRequestHeader(**{**fields, **values})

    @staticmethod
    async def prepare(rig: AdminRig) -> int:
        """Five messages, ten milliseconds apart; the group has consumed all. Returns when the first was stored."""
        await rig.ask_json(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {"groupName": G})
        begin = rig.clock.now_ms()
        for _ in range(5):
            await rig.store("T")
            rig.clock.advance_ms(10)
        rig.context.offsets.commit(G, "T", 0, 5)
        return begin

    async def test_parked_offset_reaches_the_next_pull_which_is_told_to_move(self) -> None:
        async with AdminRig() as rig:
            begin = await self.prepare(rig)
            assert await table(rig, self.header(timestamp=begin + 20)) == {0: 2, 1: 0, 2: 0, 3: 0}
            answer = await rig.pull("T", 0, 5, group=G)
            assert answer.code == 21
            assert (answer.ext_fields or {})["nextBeginOffset"] == "2"
            again = await rig.pull("T", 0, 2, group=G)
            assert again.code == 0

    async def test_to_the_end_and_to_one_offset_of_one_queue(self) -> None:
        async with AdminRig() as rig:
            await self.prepare(rig)
            assert (await table(rig, self.header(timestamp=-1)))[0] == 5
            assert await table(rig, self.header(queue_id=0, offset=3, timestamp=0)) == {0: 3}
            assert rig.context.offsets.query(G, "T", 0) == 3

    @pytest.mark.parametrize(
        ("values", "code"),
        [
            ({"topic": "none"}, 17),
            ({"group": "none"}, 26),
            ({"queue_id": 99}, 29),
            ({"queue_id": 0, "offset": 7}, 1),
            ({"queue_id": 0, "offset": -5}, 1),
            ({"queue_id": 0, "offset": LONG_MAX}, 1),
        ],
    )
    async def test_resets_that_cannot_be(self, values: dict[str, Any], code: int) -> None:
        async with AdminRig() as rig:
            await self.prepare(rig)
            answer = await rig.ask(self.header(**values))
            assert answer.code == code
            assert rig.context.offsets.query(G, "T", 0) == 5
            assert not rig.context.offsets.reset_table

    async def test_without_the_server_side_way_consumers_are_told(self) -> None:
        async with AdminRig(use_server_side_reset_offset=False) as rig:
            begin = await self.prepare(rig)
            for queue_id in (1, 2, 3):
                rig.context.offsets.commit(G, "T", queue_id, 0)
            offline = await rig.ask(self.header(timestamp=begin))
            assert offline.code == 206
            java, cpp = rig.peer("c1"), rig.peer("c2")
            await java.beat(consumers={G: ["T"]})
            await cpp.beat(consumers={G: ["T"]}, language=LanguageCode.CPP)
            java.asked.clear()
            cpp.asked.clear()
            answer = await rig.ask(self.header(timestamp=begin + 10))
            assert answer.code == 0
            await settle()
            for peer in (java, cpp):
                (told,) = peer.asked
                assert told.code == RequestCode.RESET_CONSUMER_CLIENT_OFFSET
                assert told.is_oneway
                offsets = decode_queue_table(told.body, "offsetTable")
                assert offsets[MessageQueue("T", "broker-a", 0)] == 1
            assert b'"offsetTable":[' in cpp.asked[0].body
            assert b'"offsetTable":{{' in java.asked[0].body


class TestQueries:
    async def test_by_key_by_unique_key_and_by_place(self) -> None:
        async with AdminRig() as rig:
            answers = [await rig.send("T", f"m{n}".encode(), properties={"KEYS": "k"}, unique_key=f"U{n}") for n in range(3)]
            # The index is written with the next tick of the store.
            for _ in range(3):
                rig.clock.advance_ms(1000)
                await settle()

            def ask(key: str, **values: Any) -> RemotingCommand:
                fields = {"max_num": 32, "begin_timestamp": 0, "end_timestamp": LONG_MAX, **values}
                return RemotingCommand.request(QueryMessageRequestHeader(topic="T", key=key, **fields))

            found = await rig.ask(ask("k"))
            assert found.code == 0
            assert {message.body for message in decode_records(found.body)} == {b"m0", b"m1", b"m2"}
            assert int((found.ext_fields or {})["indexLastUpdatePhyoffset"]) > 0
            two = await rig.ask(ask("k", max_num=2))
            assert len(decode_records(two.body)) == 2
            unique = ask("U1", max_num=0)
            assert unique.ext_fields is not None
            unique.ext_fields["_UNIQUE_KEY_QUERY"] = "true"
            (only,) = decode_records((await rig.ask(unique)).body)
            assert only.body == b"m1"
            none = await rig.ask(ask("no such"))
            assert none.code == 22
            # A key is looked for among keys and a tag among tags, even where the words are the same.
            await rig.send("T", b"tagged", properties={"TAGS": "k"}, unique_key="U9")
            (tagged,) = decode_records((await rig.ask(ask("k", index_type="T"))).body)
            assert tagged.body == b"tagged"
            by_key = decode_records((await rig.ask(ask("k", index_type="K"))).body)
            assert {message.body for message in by_key} == {b"m0", b"m1", b"m2"}
            assert set(none.ext_fields or {}) == {"indexLastUpdatePhyoffset", "indexLastUpdateTimestamp"}
            late = await rig.ask(ask("k", begin_timestamp=LONG_MAX - 1))
            assert late.code == 22
            assert only.offset_msg_id == (answers[1].ext_fields or {})["msgId"]
            viewed = await rig.ask(ViewMessageRequestHeader(offset=only.physical_offset))
            (same,) = decode_records(viewed.body)
            assert same.body == b"m1"

    @pytest.mark.parametrize("offset", [-1, 7, 10**9, LONG_MAX])
    async def test_places_where_no_message_begins(self, offset: int) -> None:
        async with AdminRig() as rig:
            await rig.store("T")
            answer = await rig.ask(ViewMessageRequestHeader(offset=offset))
            assert answer.code == 1
            assert answer.remark == f"can not find message by the offset, {offset}"

    async def test_entries_of_a_queue(self) -> None:
        async with AdminRig() as rig:
            for _ in range(3):
                await rig.store("T", TAGS="A")
            body = await rig.ask_json(QueryConsumeQueueRequestHeader(topic="T", queue_id=0, index=1, count=10))
            assert body["minQueueIndex"] == 0
            assert body["maxQueueIndex"] == 3
            assert len(body["queueData"]) == 2
            assert body["queueData"][0]["tagsCode"] == 65
            assert body["queueData"][0]["physicOffset"] > 0
            beyond = await rig.ask(QueryConsumeQueueRequestHeader(topic="T", queue_id=0, index=3, count=10))
            assert (beyond.code, beyond.remark, beyond.body) == (0, "Index 3 of 0@T is not exist!", b"")
            unknown = await rig.ask(QueryConsumeQueueRequestHeader(topic="none", queue_id=0, index=0, count=10))
            assert (unknown.code, unknown.remark) == (1, "0@none is not exist!")
            grouped = await rig.ask_json(
                QueryConsumeQueueRequestHeader(topic="T", queue_id=0, index=0, count=1, consumer_group=G)
            )
            assert grouped["filterData"] == f"{G}@T is not online!"


class TestCleaning:
    @pytest.mark.parametrize(
        "code",
        [RequestCode.CLEAN_EXPIRED_CONSUMEQUEUE, RequestCode.CLEAN_UNUSED_TOPIC, RequestCode.DELETE_EXPIRED_COMMITLOG],
    )
    async def test_cleaning_takes_nothing_that_is_in_use(self, code: RequestCode) -> None:
        async with AdminRig() as rig:
            await rig.store("T", 3)
            assert (await rig.ask(RemotingCommand.request(code))).code == 0
            assert len(await rig.messages("T")) == 3

    async def test_queues_without_a_topic_go(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T")
            rig.context.topics.delete("T")
            await rig.ask(RemotingCommand.request(RequestCode.CLEAN_UNUSED_TOPIC))
            assert rig.context.store.queue_ids("T") == []


class TestPassedOn:
    """Requests that the broker hands to one of its clients."""

    async def test_running_info_comes_from_the_client(self) -> None:
        async with AdminRig() as rig:
            peer = rig.peer("c1")
            await peer.beat(consumers={G: ["T"]})
            peer.answers[RequestCode.GET_CONSUMER_RUNNING_INFO] = RemotingCommand(0, body=b'{"properties":{}}')
            answer = await rig.ask(GetConsumerRunningInfoRequestHeader(consumer_group=G, client_id="c1", jstack_enable=True))
            assert answer.code == 0
            assert answer.body == b'{"properties":{}}'
            assert (peer.asked[-1].ext_fields or {})["jstackEnable"] == "true"

    async def test_message_travels_to_the_consumer_and_its_verdict_back(self) -> None:
        async with AdminRig() as rig:
            (sent,) = await rig.store("T")
            peer = rig.peer("c1")
            await peer.beat(consumers={G: ["T"]})
            peer.answers[RequestCode.CONSUME_MESSAGE_DIRECTLY] = RemotingCommand(0, body=b'{"consumeResult":"CR_SUCCESS"}')
            header = ConsumeMessageDirectlyRequestHeader(
                consumer_group=G, client_id="c1", topic="T", msg_id=(sent.ext_fields or {})["msgId"]
            )
            answer = await rig.ask(header)
            assert answer.body == b'{"consumeResult":"CR_SUCCESS"}'
            asked = peer.asked[-1]
            (message,) = decode_records(asked.body)
            assert message.topic == "T"
            fields = asked.ext_fields or {}
            assert fields["brokerName"] == "broker-a"
            assert fields["topicSysFlag"] == "0"
            assert fields["groupSysFlag"] == "0"

    async def test_message_ids_that_name_no_message(self) -> None:
        async with AdminRig() as rig:
            for msg_id in ("xyz", "", "AC", offset_msg_id(("127.0.0.1", 10911), 12345)):
                header = ConsumeMessageDirectlyRequestHeader(consumer_group=G, client_id="c1", topic="T", msg_id=msg_id)
                assert (await rig.ask(header)).code == 1

    async def test_clients_that_are_not_there_too_old_or_silent(self) -> None:
        async with AdminRig() as rig:
            header = GetConsumerRunningInfoRequestHeader(consumer_group=G, client_id="c1")
            gone = await rig.ask(header)
            assert (gone.code, gone.remark) == (1, f"The Consumer <{G}> <c1> not online")
            await rig.peer("c1").beat(consumers={G: ["T"]}, version=61)
            old = await rig.ask(header)
            assert old.code == 1
            assert "too low to finish" in (old.remark or "")
            silent = rig.peer("c2")
            await silent.beat(consumers={G: ["T"]})
            asking = rig.ask(GetConsumerRunningInfoRequestHeader(consumer_group=G, client_id="c2"))
            task = asyncio.ensure_future(asking)
            await settle()
            rig.clock.advance_ms(10_000)
            await settle()
            assert (await task).code == 207

    async def test_offsets_as_the_clients_see_them(self) -> None:
        async with AdminRig() as rig:
            header = InvokeBrokerToGetConsumerStatusRequestHeader(topic="T", group=G, client_addr=None)
            assert (await rig.ask(header)).code == 1
            body = json_dialect.encode({"messageQueueTable": {MessageQueue("T", "broker-a", 0): 7}})
            for client_id in ("c1", "c2"):
                peer = rig.peer(client_id)
                await peer.beat(consumers={G: ["T"]})
                peer.answers[RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT] = RemotingCommand(0, body=body)
            answer = await rig.ask_json(header)
            assert set(answer["consumerTable"]) == {"c1", "c2"}
            assert list(answer["consumerTable"]["c1"].values()) == [7]
            named = await rig.ask_json(InvokeBrokerToGetConsumerStatusRequestHeader(topic="T", group=G, client_addr="c2"))
            assert set(named["consumerTable"]) == {"c2"}
