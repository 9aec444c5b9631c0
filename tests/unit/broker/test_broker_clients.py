"""Heartbeats, leaving, consumer lists, locks, assignments: what clients ask of a broker about each other."""

from __future__ import annotations

import pytest

from gantry.model import MessageQueue
from gantry.protocol import json_dialect
from gantry.protocol.remoting.codes import LanguageCode, RequestCode, ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_consumer_connection_list import GetConsumerConnectionListRequestHeader
from gantry.protocol.remoting.header.get_consumer_list_by_group import GetConsumerListByGroupRequestHeader
from gantry.protocol.remoting.header.get_producer_connection_list import GetProducerConnectionListRequestHeader
from gantry.protocol.remoting.header.query_subscription_by_consumer import QuerySubscriptionByConsumerRequestHeader
from gantry.protocol.remoting.header.query_topic_consume_by_who import QueryTopicConsumeByWhoRequestHeader
from gantry.protocol.remoting.header.unregister_client import UnregisterClientRequestHeader
from gantry.testing import settle
from tests.unit.broker.admin_rig import AdminRig

G = "group-a"


async def ids(rig: AdminRig, group: str = G) -> list[str]:
    answer = await rig.ask_json(GetConsumerListByGroupRequestHeader(consumer_group=group))
    found: list[str] = answer["consumerIdList"]
    return found


async def test_heartbeat_makes_group_and_retry_topic_and_says_v2_is_understood() -> None:
    async with AdminRig() as rig:
        answer = await rig.peer("c1").beat(consumers={G: ["T"]}, producers=("p",))
        assert answer.code == 0
        assert answer.ext_fields == {"IS_SUPPORT_HEART_BEAT_V2": "true", "IS_SUB_CHANGE": "true"}
        assert rig.context.subscriptions.contains(G)
        retry = rig.context.topics.select("%RETRY%" + G)
        assert retry is not None
        assert (retry.read_queue_nums, retry.perm) == (1, 6)
        assert await ids(rig) == ["c1"]


async def test_unit_mode_marks_the_retry_topic() -> None:
    body = json_dialect.encode(
        {"clientID": "c1", "consumerDataSet": [{"groupName": G, "unitMode": True, "subscriptionDataSet": []}]}
    )
    async with AdminRig() as rig:
        await rig.ask(RemotingCommand.request(RequestCode.HEART_BEAT, body))
        retry = rig.context.topics.select("%RETRY%" + G)
        assert retry is not None
        assert retry.topic_sys_flag == 2


async def test_group_that_may_not_be_made_is_left_out_and_the_others_register() -> None:
    async with AdminRig(auto_create_subscription_group=False) as rig:
        answer = await rig.peer("c1").beat(consumers={G: ["T"]}, producers=("p",))
        assert answer.code == 0
        assert rig.context.consumers.group_info(G) is None
        assert rig.context.producers.group_online("p")


async def test_join_and_leave_are_announced_to_the_others_at_once() -> None:
    async with AdminRig() as rig:
        first, second = rig.peer("c1"), rig.peer("c2")
        await first.beat(consumers={G: ["T"]})
        first.asked.clear()
        await second.beat(consumers={G: ["T"]})
        assert [request.code for request in first.asked] == [RequestCode.NOTIFY_CONSUMER_IDS_CHANGED]
        assert first.asked[0].is_oneway
        first.asked.clear()
        await second.ask(
            RemotingCommand.request(UnregisterClientRequestHeader(client_id="c2", consumer_group=G, producer_group=None))
        )
        assert [request.code for request in first.asked] == [RequestCode.NOTIFY_CONSUMER_IDS_CHANGED]
        assert await ids(rig) == ["c1"]


async def test_dropped_connection_leaves_its_groups_at_once() -> None:
    async with AdminRig() as rig:
        first, second = rig.peer("c1"), rig.peer("c2")
        await first.beat(consumers={G: ["T"]})
        await second.beat(consumers={G: ["T"]}, producers=("p",))
        first.asked.clear()
        await second.leave()
        assert await ids(rig) == ["c1"]
        assert [request.code for request in first.asked] == [RequestCode.NOTIFY_CONSUMER_IDS_CHANGED]
        assert not rig.context.producers.group_online("p")


async def test_group_configured_without_notices_hears_none() -> None:
    async with AdminRig() as rig:
        body = {"groupName": G, "notifyConsumerIdsChangedEnable": False}
        await rig.ask_json(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, body)
        first, second = rig.peer("c1"), rig.peer("c2")
        await first.beat(consumers={G: ["T"]})
        await second.beat(consumers={G: ["T"]})
        assert first.asked == []


async def test_client_without_heartbeats_is_closed_after_two_minutes() -> None:
    async with AdminRig(server_channel_max_idle_time_seconds=3600) as rig:
        silent = rig.peer("c1")
        await silent.beat(consumers={G: ["T"]})
        channel = await silent.channel()
        for _ in range(14):
            rig.clock.advance_ms(10_000)
            await settle()
        assert channel.closed
        answer = await rig.ask(GetConsumerListByGroupRequestHeader(consumer_group=G))
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert answer.remark == f"no consumer for this group, {G}"


async def test_second_form_of_heartbeat_keeps_subscriptions_and_reports_changes() -> None:
    async with AdminRig() as rig:
        peer = rig.peer("c1")
        flag = "IS_SUB_CHANGE"
        first = await peer.beat(consumers={G: ["T"]}, heartbeat_fingerprint=7)
        same = await peer.beat(consumers={G: []}, heartbeat_fingerprint=7, without_sub=True)
        assert [(answer.ext_fields or {})[flag] for answer in (first, same)] == ["false", "false"]
        assert rig.context.consumers.find_subscription(G, "T") is not None
        other = await rig.peer("c2").beat(consumers={G: ["U"]}, heartbeat_fingerprint=8)
        assert (other.ext_fields or {})[flag] == "true"


async def test_client_that_leaves_subscriptions_out_after_a_restart_is_asked_for_them() -> None:
    async with AdminRig() as rig:
        answer = await rig.peer("c1").beat(consumers={G: []}, heartbeat_fingerprint=7, without_sub=True)
        assert (answer.ext_fields or {})["IS_SUB_CHANGE"] == "true"


async def test_malformed_heartbeat_is_an_error_answer_and_the_connection_lives() -> None:
    async with AdminRig() as rig:
        peer = rig.peer("c1")
        for body in (b"", b"{", b"[]", b'{"consumerDataSet":7}', b"\xff\xfe"):
            answer = await peer.ask(RemotingCommand.request(RequestCode.HEART_BEAT, body))
            assert answer.code == ResponseCode.SYSTEM_ERROR, body
            assert answer.remark
        assert (await peer.beat(consumers={G: ["T"]})).code == 0


async def test_connections_are_shown_with_language_version_and_subscription() -> None:
    async with AdminRig() as rig:
        peer = rig.peer("c1")
        await peer.beat(consumers={G: ["T"]}, producers=("p",), language=LanguageCode.GO, version=317)
        consumers = await rig.ask_json(GetConsumerConnectionListRequestHeader(consumer_group=G))
        (connection,) = consumers["connectionSet"]
        assert connection["clientId"] == "c1"
        assert connection["language"] == "GO"
        assert connection["version"] == 317
        assert connection["clientAddr"].startswith("127.0.0.1:")
        assert consumers["consumeType"] == "CONSUME_PASSIVELY"
        assert consumers["messageModel"] == "CLUSTERING"
        assert consumers["subscriptionTable"]["T"]["subString"] == "*"
        producers = await rig.ask_json(GetProducerConnectionListRequestHeader(producer_group="p"))
        assert producers["connectionSet"] == [connection]
        everyone = await rig.ask_json(RequestCode.GET_ALL_PRODUCER_INFO)
        (info,) = everyone["data"]["p"]
        assert info["remoteIP"] == "/" + connection["clientAddr"]
        assert info["lastUpdateTimestamp"] == rig.clock.now_ms()


async def test_groups_that_are_not_connected_are_answered_by_their_codes() -> None:
    async with AdminRig() as rig:
        consumer = await rig.ask(GetConsumerConnectionListRequestHeader(consumer_group="none"))
        assert (consumer.code, consumer.remark) == (206, "the consumer group[none] not online")
        producer = await rig.ask(GetProducerConnectionListRequestHeader(producer_group="none"))
        assert (producer.code, producer.remark) == (1, "the producer group[none] not exist")


async def test_who_listens_to_a_topic_by_heartbeat_or_by_offset() -> None:
    async with AdminRig() as rig:
        await rig.peer("c1").beat(consumers={G: ["T"]})
        rig.context.offsets.commit("offline", "T", 0, 5)
        who = await rig.ask_json(QueryTopicConsumeByWhoRequestHeader(topic="T"))
        assert who == {"groupList": [G, "offline"]}
        known = await rig.ask_json(QuerySubscriptionByConsumerRequestHeader(group=G, topic="T"))
        assert known["subscriptionData"]["topic"] == "T"
        unknown = await rig.ask_json(QuerySubscriptionByConsumerRequestHeader(group=G, topic="U"))
        assert unknown == {"group": G, "topic": "U"}


async def test_locks_are_granted_renewed_refused_and_given_back() -> None:
    def body(client_id: str, *queue_ids: int) -> dict[str, object]:
        queues = [MessageQueue("T", "broker-a", queue_id) for queue_id in queue_ids]
        return {"consumerGroup": G, "clientId": client_id, "mqSet": queues, "onlyThisBroker": False}

    async with AdminRig() as rig:
        granted = await rig.ask_json(RequestCode.LOCK_BATCH_MQ, body("c1", 0, 1))
        assert granted == {
            "lockOKMQSet": [{"brokerName": "broker-a", "queueId": queue_id, "topic": "T"} for queue_id in (0, 1)]
        }
        refused = await rig.ask_json(RequestCode.LOCK_BATCH_MQ, body("c2", 1, 2))
        assert [queue["queueId"] for queue in refused["lockOKMQSet"]] == [2]
        await rig.ask_json(RequestCode.UNLOCK_BATCH_MQ, body("c1", 1))
        again = await rig.ask_json(RequestCode.LOCK_BATCH_MQ, body("c2", 1))
        assert [queue["queueId"] for queue in again["lockOKMQSet"]] == [1]


async def test_tag_subscriptions_are_allowed_and_others_are_not_offered() -> None:
    async with AdminRig() as rig:
        for kind in ("TAG", None):
            body = {"clientId": "c", "group": G, "subscriptionData": {"topic": "T", "expressionType": kind}}
            await rig.ask_json(RequestCode.CHECK_CLIENT_CONFIG, body)
        body = {"clientId": "c", "group": G, "subscriptionData": {"topic": "T", "expressionType": "SQL92"}}
        answer = await rig.ask(RemotingCommand.request(RequestCode.CHECK_CLIENT_CONFIG, json_dialect.encode(body)))
        assert answer.code == 1
        assert answer.remark == "The broker does not support consumer to filter message by SQL92"


class TestAssignment:
    @staticmethod
    async def assigned(rig: AdminRig, client_id: str, topic: str = "T", strategy: str = "AVG") -> list[int] | None:
        body = {
            "clientId": client_id,
            "consumerGroup": G,
            "messageModel": "CLUSTERING",
            "strategyName": strategy,
            "topic": topic,
        }
        answer = await rig.ask_json(RequestCode.QUERY_ASSIGNMENT, body)
        found = answer.get("messageQueueAssignments")
        if found is None:
            return None
        return [item["messageQueue"]["queueId"] for item in found]

    async def test_members_share_the_queues_without_gap_or_overlap(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T")
            for client_id in ("c2", "c1", "c3"):
                await rig.peer(client_id).beat(consumers={G: ["T"]})
            for strategy in ("AVG", "AVG_BY_CIRCLE"):
                shares = [await self.assigned(rig, client_id, strategy=strategy) for client_id in ("c1", "c2", "c3")]
                assert sorted(queue for share in shares for queue in share or ()) == [0, 1, 2, 3]
            assert await self.assigned(rig, "stranger") == []

    async def test_broker_that_cannot_tell_says_so(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T")
            assert await self.assigned(rig, "c1") is None
            await rig.peer("c1").beat(consumers={G: ["T"]})
            assert await self.assigned(rig, "c1", strategy="NO_SUCH") is None
            assert await self.assigned(rig, "c1", topic="unknown") is None

    async def test_mode_is_kept_and_told_and_survives_a_restart(self) -> None:
        async with AdminRig() as rig:
            await rig.store("T")
            await rig.peer("c1").beat(consumers={G: ["T"]})
            mode = {"consumerGroup": G, "mode": "POP", "popShareQueueNum": 0, "topic": "T"}
            await rig.ask_json(RequestCode.SET_MESSAGE_REQUEST_MODE, mode)
            body = {"clientId": "c1", "consumerGroup": G, "strategyName": "AVG", "topic": "T"}
            answer = await rig.ask_json(RequestCode.QUERY_ASSIGNMENT, body)
            (only,) = answer["messageQueueAssignments"]
            assert only["mode"] == "POP"
            assert only["messageQueue"]["queueId"] == -1
            disk = rig.disk
        async with AdminRig(disk) as rig:
            table = await rig.ask_json(RequestCode.GET_ALL_MESSAGE_REQUEST_MODE)
            assert table == {"messageRequestModeMap": {"T": {G: mode}}}

    @pytest.mark.parametrize(
        ("topic", "mode", "code"),
        [("%RETRY%g", "PULL", 16), ("unknown", "PULL", 17), ("T", "PUSH", 29)],
    )
    async def test_modes_that_cannot_be(self, topic: str, mode: str, code: int) -> None:
        async with AdminRig() as rig:
            await rig.store("T")
            body = json_dialect.encode({"consumerGroup": G, "mode": mode, "popShareQueueNum": 0, "topic": topic})
            answer = await rig.ask(RemotingCommand.request(RequestCode.SET_MESSAGE_REQUEST_MODE, body))
            assert answer.code == code
