"""Making, changing, listing and forgetting topics and consumer groups."""

from __future__ import annotations

from typing import Any

import pytest

from gantry.protocol import json_dialect
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.create_topic import CreateTopicRequestHeader
from gantry.protocol.remoting.header.delete_subscription_group import DeleteSubscriptionGroupRequestHeader
from gantry.protocol.remoting.header.delete_topic import DeleteTopicRequestHeader
from gantry.protocol.remoting.header.get_all_subscription_group import GetAllSubscriptionGroupRequestHeader
from gantry.protocol.remoting.header.get_all_topic_config import GetAllTopicConfigRequestHeader
from gantry.protocol.remoting.header.get_subscription_group_config import GetSubscriptionGroupConfigRequestHeader
from gantry.protocol.remoting.header.get_topic_config import GetTopicConfigRequestHeader
from gantry.protocol.remoting.header.update_group_forbidden import UpdateGroupForbiddenRequestHeader
from tests.unit.broker.admin_rig import AdminRig


def create(topic: str, **values: Any) -> CreateTopicRequestHeader:
    fields: dict[str, Any] = {
        "default_topic": "TBW102",
        "read_queue_nums": 8,
        "write_queue_nums": 8,
        "perm": 6,
        "topic_filter_type": "SINGLE_TAG",
    }
    return CreateTopicRequestHeader(topic=topic, **{**fields, **values})


async def test_topic_is_made_changed_and_on_disk_when_answered() -> None:
    async with AdminRig() as rig:
        assert (await rig.ask(create("T", attributes="+message.type=FIFO"))).code == 0
        version = rig.context.topics.data_version.counter
        assert not rig.context.topics.file.pending
        assert (await rig.ask(create("T", perm=4, order=True, attributes="+message.type=DELAY"))).code == 0
        assert rig.context.topics.data_version.counter == version + 1
        disk = rig.disk
    async with AdminRig(disk) as rig:
        shown = await rig.ask_json(GetTopicConfigRequestHeader(topic="T", lo=True))
        assert shown == {
            "attributes": {"message.type": "DELAY"},
            "order": True,
            "perm": 4,
            "readQueueNums": 8,
            "topicFilterType": "SINGLE_TAG",
            "topicName": "T",
            "topicSysFlag": 0,
            "writeQueueNums": 8,
        }


async def test_asking_for_what_is_there_changes_nothing() -> None:
    async with AdminRig() as rig:
        await rig.ask(create("T", attributes="+message.type=FIFO"))
        version = rig.context.topics.data_version.counter
        assert (await rig.ask(create("T", attributes="+message.type=FIFO"))).code == 0
        assert (await rig.ask(create("T", attributes=""))).code == 0
        assert rig.context.topics.data_version.counter == version


@pytest.mark.parametrize(
    ("header", "code", "remark"),
    [
        (create(" "), 29, "The specified topic is blank."),
        (create("a/b"), 29, "illegal characters"),
        (create("../../x"), 29, "illegal characters"),
        (create("x" * 128), 29, "longer than topic max length"),
        (create("SCHEDULE_TOPIC_XXXX"), 29, "is conflict with system topic."),
        (create("rmq_sys_anything"), 29, "is conflict with system topic."),
        (create("DefaultCluster"), 29, "is conflict with system topic."),
        (create("T", topic_filter_type="NO"), 1, "topicFilterType = [NO] value invalid"),
        (create("T", attributes="+message.type=MIXED"), 29, "MIXED message type is not supported."),
        (create("T", attributes="+message.type=NO"), 1, "value is not in set"),
        (create("T", attributes="+no.such=1"), 1, "unsupported key: no.such"),
        (create("T", attributes="message.type=FIFO"), 1, "add/alter attribute format is wrong"),
        (create("T", attributes="-message.type"), 1, "only add attribute is supported while creating topic"),
        (create("T", attributes="+reserve.time=x"), 1, "For input string"),
        (create("T", read_queue_nums=-1), 29, "readQueueNums"),
        (create("T", write_queue_nums=2**31 - 1), 29, "writeQueueNums"),
    ],
)
async def test_topics_that_cannot_be(header: CreateTopicRequestHeader, code: int, remark: str) -> None:
    async with AdminRig() as rig:
        before = set(rig.context.topics.table)
        answer = await rig.ask(header)
        assert answer.code == code
        assert remark in (answer.remark or "")
        assert set(rig.context.topics.table) == before


async def test_attributes_that_may_not_change_stay() -> None:
    async with AdminRig() as rig:
        await rig.ask(create("T", attributes="+queue.type=SimpleCQ"))
        answer = await rig.ask(create("T", attributes="+queue.type=BatchCQ"))
        assert answer.code == 1
        assert answer.remark == "attempt to update an unchangeable attribute. key: queue.type"
        removed = await rig.ask(create("T", attributes="-message.type"))
        assert removed.remark == "attempt to delete a nonexistent key: message.type"


async def test_many_topics_at_once_are_all_or_none() -> None:
    def body(*names: str) -> bytes:
        topics = [{"topicName": name, "readQueueNums": 2, "writeQueueNums": 2, "perm": 6} for name in names]
        return json_dialect.encode({"topicConfigList": topics})

    async with AdminRig() as rig:
        code = RequestCode.UPDATE_AND_CREATE_TOPIC_LIST
        assert (await rig.ask(RemotingCommand.request(code, body("A", "B")))).code == 0
        assert (await rig.ask(RemotingCommand.request(code, body("C", "bad/name")))).code == 29
        assert (await rig.ask(RemotingCommand.request(code, body("A", "D")))).code == 0
        assert {"A", "B", "D"} <= set(rig.context.topics.table)
        assert "C" not in rig.context.topics.table


async def test_deleted_topic_takes_queues_offsets_and_pop_retries_with_it() -> None:
    async with AdminRig() as rig:
        await rig.store("T", 3)
        rig.context.offsets.commit("g", "T", 0, 2)
        await rig.ask(create("%RETRY%g_T", read_queue_nums=1, write_queue_nums=1))
        await rig.ask(create("%RETRY%h_T", read_queue_nums=1, write_queue_nums=1))
        assert (await rig.ask(DeleteTopicRequestHeader(topic="T"))).code == 0
        assert rig.context.topics.select("T") is None
        assert rig.context.topics.select("%RETRY%g_T") is None
        assert rig.context.topics.select("%RETRY%h_T") is not None
        assert rig.context.offsets.query("g", "T", 0) == -1
        assert rig.context.store.queue_ids("T") == []
        assert (await rig.ask(GetTopicConfigRequestHeader(topic="T"))).code == 17
        assert (await rig.ask(DeleteTopicRequestHeader(topic="T"))).code == 0


async def test_system_topics_are_not_deleted() -> None:
    async with AdminRig() as rig:
        for topic in ("TBW102", "SCHEDULE_TOPIC_XXXX", "broker-a"):
            assert (await rig.ask(DeleteTopicRequestHeader(topic=topic))).code == 29
        assert (await rig.ask(DeleteTopicRequestHeader(topic=" "))).remark == "The specified topic is blank."


async def test_all_topics_whole_and_by_pages() -> None:
    async with AdminRig() as rig:
        answer = await rig.ask(GetAllTopicConfigRequestHeader())
        whole = json_dialect.decode(answer.body)
        total = len(rig.context.topics.table)
        assert (answer.ext_fields or {})["totalTopicNum"] == str(total)
        assert set(whole["topicConfigTable"]) == set(rig.context.topics.table)
        assert whole["topicQueueMappingDetailMap"] == {}
        version = json_dialect.encode(rig.context.topics.data_version).decode()
        names: list[str] = []
        while len(names) < total:
            page = await rig.ask_json(
                GetAllTopicConfigRequestHeader(topic_seq=len(names), data_version=version, max_topic_num=5)
            )
            names += page["topicConfigTable"]
        assert names == sorted(rig.context.topics.table)
        stale = await rig.ask_json(GetAllTopicConfigRequestHeader(topic_seq=10, data_version='{"counter":-1}', max_topic_num=5))
        assert list(stale["topicConfigTable"]) == names[:5]


async def test_group_is_made_changed_shown_and_on_disk() -> None:
    async with AdminRig() as rig:
        body = {"groupName": "g", "retryMaxTimes": 3, "attributes": {"+priority.factor": "7"}}
        await rig.ask_json(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, body)
        await rig.ask_json(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {"groupName": "g", "consumeEnable": False})
        disk = rig.disk
    async with AdminRig(disk) as rig:
        shown = await rig.ask_json(GetSubscriptionGroupConfigRequestHeader(group="g"))
        assert shown["consumeEnable"] is False
        assert shown["retryMaxTimes"] == 16
        assert shown["attributes"] == {"priority.factor": "7"}
        answer = await rig.ask(GetAllSubscriptionGroupRequestHeader())
        whole = json_dialect.decode(answer.body)
        assert (answer.ext_fields or {})["totalGroupNum"] == str(len(rig.context.subscriptions.table))
        assert whole["subscriptionGroupTable"]["g"] == shown
        page = await rig.ask_json(GetAllSubscriptionGroupRequestHeader(group_seq=0, max_group_num=2))
        assert len(page["subscriptionGroupTable"]) == 2


@pytest.mark.parametrize(
    ("group", "code"),
    [
        ({"groupName": "a b"}, 29),
        ({"groupName": ""}, 29),
        ({"groupName": "x" * 121}, 29),
        ({"groupName": "g", "retryQueueNums": -1}, 29),
        ({"groupName": "g", "attributes": {"+no.such": "1"}}, 1),
        ({"groupName": "g", "attributes": {"+priority.factor": "101"}}, 1),
    ],
)
async def test_groups_that_cannot_be(group: dict[str, Any], code: int) -> None:
    async with AdminRig() as rig:
        before = set(rig.context.subscriptions.table)
        one = RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
        assert (await rig.ask(RemotingCommand.request(one, json_dialect.encode(group)))).code == code
        many = RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST
        both = json_dialect.encode({"groupConfigList": [{"groupName": "fine"}, group]})
        assert (await rig.ask(RemotingCommand.request(many, both))).code == code
        assert set(rig.context.subscriptions.table) == before


async def test_many_groups_at_once() -> None:
    async with AdminRig() as rig:
        body = {"groupConfigList": [{"groupName": "g1"}, {"groupName": "g2"}]}
        await rig.ask_json(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, body)
        assert rig.context.subscriptions.contains("g1")
        assert rig.context.subscriptions.contains("g2")


async def test_deleted_group_keeps_its_offsets_unless_asked() -> None:
    async with AdminRig() as rig:
        for group in ("g", "h"):
            await rig.ask_json(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, {"groupName": group})
            rig.context.offsets.commit(group, "T", 0, 5)
        await rig.ask(DeleteSubscriptionGroupRequestHeader(group_name="g", clean_offset=False))
        await rig.ask(DeleteSubscriptionGroupRequestHeader(group_name="h", clean_offset=True))
        assert not rig.context.subscriptions.contains("g")
        assert rig.context.offsets.query("g", "T", 0) == 5
        assert rig.context.offsets.query("h", "T", 0) == -1
        assert (await rig.ask(DeleteSubscriptionGroupRequestHeader(group_name="never"))).code == 0


async def test_unknown_group_is_shown_only_where_groups_make_themselves() -> None:
    async with AdminRig(auto_create_subscription_group=False) as rig:
        answer = await rig.ask(GetSubscriptionGroupConfigRequestHeader(group="none"))
        assert (answer.code, answer.remark) == (26, "No group in this broker")


async def test_reading_is_forbidden_and_allowed_by_topic() -> None:
    async with AdminRig() as rig:

        async def ask(readable: bool | None) -> Any:
            return await rig.ask_json(UpdateGroupForbiddenRequestHeader(group="g", topic="T", readable=readable))

        assert await ask(None) == {"group": "g", "readable": True, "topic": "T"}
        assert (await ask(False))["readable"] is False
        assert (await ask(None))["readable"] is False
        assert (await ask(True))["readable"] is True
