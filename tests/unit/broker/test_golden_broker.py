"""What an official broker was asked and answered, asked again of ours.

The recording keeps only two of equal frames, so what lies behind an answer (topics, groups, offsets, connected clients,
messages) is read from that answer and put in place first. Compared are code, remark of a refusal, names of the header
fields, serialization, and the shape of the body: names and kinds of members, one entry standing for all of a map or list.
Sends, pulls and transactions have tests of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gantry.model import ConsumerData, HeartbeatData, ProducerData, StoreMessage, SubscriptionGroupConfig, TopicConfig
from gantry.protocol import json_dialect
from gantry.protocol.message.properties import encode_properties
from gantry.protocol.message.record import decode_records
from gantry.protocol.remoting import FrameDecoder, RemotingCommand, decode_frame
from gantry.protocol.remoting.body.heartbeat import encode_heartbeat
from gantry.protocol.remoting.codes import LanguageCode, RequestCode
from gantry.testing import settle
from tests.golden import frame_bytes, frame_index
from tests.unit.broker.admin_rig import AdminRig, Peer

NOT_HERE = {10, 11, 15, 36, 37, 310, 320, 324, 325, 361, 370, 200050, 200051, 200052, 200053}
"""The data path, and what this version does not offer."""

MAPS = {
    "offsetTable", "subscriptionTable", "topicConfigTable", "subscriptionGroupTable", "data", "attributes",
    "forbiddenTable", "topicQueueMappingDetailMap", "topicQueueMappingInfoMap",
}  # fmt: skip
"""Members whose keys are data, not names."""


@dataclass
class Exchange:
    """A recorded request and its answer; `passed_on` is what the client answered when the broker asked it in between."""

    file: str
    request: RemotingCommand
    answer: RemotingCommand
    passed_on: RemotingCommand | None = None

    @property
    def fields(self) -> dict[str, str]:
        return self.request.ext_fields or {}

    @property
    def request_body(self) -> Any:
        return json_dialect.decode(self.request.body) if self.request.body else None

    @property
    def answer_body(self) -> Any:
        return json_dialect.decode(self.answer.body) if self.answer.body else None


def exchanges(name: str) -> Iterator[Exchange]:
    asked: dict[tuple[int, int], Exchange] = {}
    from_clients: dict[int, RemotingCommand] = {}
    for line in frame_index(name):
        if line["link"] != "broker" or line["requestCode"] in NOT_HERE:
            continue
        decoder = FrameDecoder()
        decoder.receive_data(frame_bytes(name, line))
        frame = decoder.next_frame()
        assert frame is not None
        command = decode_frame(frame)
        key = (line["connection"], line["opaque"])
        if line["sender"] == "client" and line["kind"] == "req":
            asked[key] = Exchange(line["file"], command, command)
        elif line["sender"] == "client" and line["kind"] == "res":
            from_clients[line["requestCode"]] = command
        elif line["sender"] == "server" and line["kind"] == "res" and key in asked:
            found = asked.pop(key)
            if found.request.code == line["requestCode"]:
                found.answer = command
                found.passed_on = from_clients.get(line["requestCode"])
                yield found


EXCHANGES = [(name, exchange) for name in ("json", "rocketmq") for exchange in exchanges(name)]


class Stage:
    """Puts in place what an answer speaks of."""

    def __init__(self, rig: AdminRig, exchange: Exchange) -> None:
        self.rig = rig
        self.broker = rig.context
        self.exchange = exchange

    async def set(self) -> None:
        code = self.exchange.request.code
        prepare = getattr(self, RequestCode(code).name.lower(), None) if code in set(RequestCode) else None
        if prepare is not None:
            await prepare()

    # -- pieces

    def topic(self, name: str, queue_nums: int = 4) -> None:
        if name and not self.broker.topics.contains(name):
            self.broker.topics.update(TopicConfig(name, queue_nums, queue_nums))

    def group(self, name: str) -> None:
        if not self.broker.subscriptions.contains(name):
            self.broker.subscriptions.update(SubscriptionGroupConfig(group_name=name))

    async def client(self, client_id: str, consumer: ConsumerData | None, *producer_groups: str) -> Peer:
        peer = self.rig.peer(client_id)
        data = HeartbeatData(
            client_id=client_id,
            producer_data_set=[ProducerData(group) for group in producer_groups],
            consumer_data_set=[] if consumer is None else [consumer],
        )
        command = RemotingCommand(RequestCode.HEART_BEAT, language=LanguageCode.JAVA, version=479, body=encode_heartbeat(data))
        assert (await peer.ask(command)).code == 0
        return peer

    async def message(self, topic: str, properties: dict[str, str], body: bytes) -> int:
        """Physical offset of a message now stored."""
        self.topic(topic)
        message = StoreMessage(
            topic, 0, body, encode_properties(properties),
            born_timestamp=self.rig.clock.now_ms(), born_host=("127.0.0.1", 1), store_host=self.broker.store_host,
        )  # fmt: skip
        result = await self.broker.store.put(message)
        assert result.record is not None
        for _ in range(3):
            self.rig.clock.advance_ms(1000)
            await settle()
        return result.record.physical_offset

    # -- by request

    async def update_and_create_topic(self) -> None: ...

    async def query_consumer_offset(self) -> None:
        fields = self.exchange.fields
        self.topic(fields["topic"])
        self.group(fields["consumerGroup"])
        if self.exchange.answer.code == 0:
            offset = int((self.exchange.answer.ext_fields or {})["offset"])
            self.broker.offsets.commit(fields["consumerGroup"], fields["topic"], int(fields["queueId"]), offset)

    async def query_message(self) -> None:
        begin = int(self.exchange.fields["beginTimestamp"])
        self.rig.clock.jump_wall_ms(max(begin + 1 - self.rig.clock.now_ms(), 0))
        for record in decode_records(self.exchange.answer.body) if self.exchange.answer.body else ():
            await self.message(record.topic, record.properties, record.body)

    async def view_message_by_id(self) -> None:
        (record,) = decode_records(self.exchange.answer.body)
        self.exchange.fields["offset"] = str(await self.message(record.topic, record.properties, record.body))

    async def get_consumer_list_by_group(self) -> None:
        group = self.exchange.fields["consumerGroup"]
        for client_id in self.exchange.answer_body["consumerIdList"]:
            await self.client(client_id, ConsumerData(group_name=group))

    async def get_consume_stats(self) -> None:
        group = self.exchange.fields["consumerGroup"]
        self.offsets(group, self.exchange.answer_body)

    def offsets(self, group: str, stats: dict[str, Any]) -> None:
        queues = list(stats["offsetTable"].items())
        for queue, wrapper in queues:
            self.topic(queue.topic, sum(1 for other, _ in queues if other.topic == queue.topic))
            self.broker.offsets.commit(group, queue.topic, queue.queue_id, wrapper["consumerOffset"])

    async def get_broker_consume_stats(self) -> None:
        for item in self.exchange.answer_body["consumeStatsList"]:
            for group, listed in item.items():
                self.group(group)
                for stats in listed:
                    self.offsets(group, stats)

    async def get_topic_config(self) -> None:
        if self.exchange.answer.code == 0:
            self.broker.topics.update(json_dialect.decode_as(self.exchange.answer.body, TopicConfig))

    async def invoke_broker_to_reset_offset(self) -> None:
        self.topic(self.exchange.fields["topic"], len(self.exchange.answer_body["offsetTable"]))
        self.group(self.exchange.fields["group"])

    async def set_message_request_mode(self) -> None:
        self.topic(self.exchange.request_body["topic"])
        self.group(self.exchange.request_body["consumerGroup"])

    async def query_assignment(self) -> None:
        body = self.exchange.request_body
        assignments = self.exchange.answer_body["messageQueueAssignments"]
        self.topic(body["topic"], max(len(assignments), 1))
        await self.client(body["clientId"], ConsumerData(group_name=body["consumerGroup"]))
        if not assignments:
            # Another client, first in the order of ids, has the only queue.
            await self.client("0", ConsumerData(group_name=body["consumerGroup"]))
        elif assignments[0]["mode"] == "POP":
            mode = {"topic": body["topic"], "consumerGroup": body["consumerGroup"], "mode": "POP", "popShareQueueNum": 8}
            await self.rig.ask_json(RequestCode.SET_MESSAGE_REQUEST_MODE, mode)

    async def get_consumer_connection_list(self) -> None:
        if self.exchange.answer.code != 0:
            return
        body = self.exchange.answer_body
        value = {**body, "groupName": self.exchange.fields["consumerGroup"]}
        value["subscriptionDataSet"] = list(body["subscriptionTable"].values())
        for connection in body["connectionSet"]:
            await self.client(connection["clientId"], json_dialect.convert(value, ConsumerData))

    async def get_all_producer_info(self) -> None:
        for group, infos in self.exchange.answer_body["data"].items():
            for info in infos:
                await self.client(info["clientId"], None, group)

    async def query_topic_consume_by_who(self) -> None:
        for group in self.exchange.answer_body["groupList"]:
            self.broker.offsets.commit(group, self.exchange.fields["topic"], 0, 1)

    async def get_topic_stats_info(self) -> None:
        self.topic(self.exchange.fields["topic"], len(self.exchange.answer_body["offsetTable"]))

    async def query_consume_queue(self) -> None:
        self.topic(self.exchange.fields["topic"])

    async def consume_message_directly(self) -> None:
        fields = self.exchange.fields
        topic, group = fields["topic"], fields["consumerGroup"]
        peer = await self.client(fields["clientId"], ConsumerData(group_name=group))
        assert self.exchange.passed_on is not None
        peer.answers[RequestCode.CONSUME_MESSAGE_DIRECTLY] = self.exchange.passed_on
        await self.message(topic, {"TAGS": "T"}, b"x")
        (answer,) = await self.rig.store(topic)
        fields["msgId"] = (answer.ext_fields or {})["msgId"]


def shape(value: Any, name: str = "") -> Any:
    """Names and kinds of a body's members; one entry stands for all of a map or list, none for an empty one."""
    if isinstance(value, dict) and name in MAPS:
        return {type(key).__name__: shape(item) for key, item in list(value.items())[:1]}
    if isinstance(value, dict):
        return {str(key): shape(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item, "data" if name == "consumeStatsList" else "") for item in value[:1]]
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, (int, float)) else "text"


def fits(ours: Any, recorded: Any) -> bool:
    """Same names and kinds; where the recorded broker had an empty map or list, anything may stand, and the reverse."""
    if isinstance(ours, dict) and isinstance(recorded, dict):
        if not ours or not recorded:
            return True
        return ours.keys() == recorded.keys() and all(fits(ours[key], recorded[key]) for key in ours)
    if isinstance(ours, list) and isinstance(recorded, list):
        return not ours or not recorded or fits(ours[0], recorded[0])
    return bool(ours == recorded)


def name_of(case: tuple[str, Exchange]) -> str:
    return f"{case[0]}-{case[1].file}"


def test_the_recording_is_there() -> None:
    codes = {exchange.request.code for _, exchange in EXCHANGES}
    assert len(codes) >= 35
    assert len(EXCHANGES) >= 60


@pytest.mark.parametrize("case", EXCHANGES, ids=name_of)
async def test_recorded_requests_are_answered_as_recorded(case: tuple[str, Exchange]) -> None:
    _, exchange = case
    request, recorded = exchange.request, exchange.answer
    if request.code == RequestCode.CHECK_CLIENT_CONFIG:
        # The recorded broker evaluated SQL92; this one says that it does not.
        recorded = RemotingCommand(
            1, flag=1, remark="The broker does not support consumer to filter message by SQL92",
            serialize_type=recorded.serialize_type,
        )  # fmt: skip
    async with AdminRig(broker_name="broker-g", broker_cluster_name="GoldenCluster") as rig:
        await Stage(rig, exchange).set()
        channel = await rig.peer().channel()
        ours = await channel.invoke(request, 3_000)
        assert ours.code == recorded.code, ours
        if recorded.code != 0 or recorded.code == RequestCode.QUERY_CONSUME_QUEUE:
            assert ours.remark == recorded.remark
        assert ours.serialize_type == request.serialize_type
        # Fields that came after the recorded version.
        newer = {"totalTopicNum", "totalGroupNum"}
        assert set(ours.ext_fields or {}) - newer == set(recorded.ext_fields or {}) - newer
        if request.code in (RequestCode.QUERY_MESSAGE, RequestCode.VIEW_MESSAGE_BY_ID):
            have = [(m.topic, m.body, m.properties) for m in decode_records(ours.body)]
            want = [(m.topic, m.body, m.properties) for m in decode_records(recorded.body)]
            assert sorted(have, key=repr) == sorted(want, key=repr)
        elif recorded.body:
            have_body, want_body = json_dialect.decode(ours.body), json_dialect.decode(recorded.body)
            assert fits(shape(have_body), shape(want_body)), (have_body, want_body)
            if request.code in (RequestCode.GET_TOPIC_CONFIG, RequestCode.CONSUME_MESSAGE_DIRECTLY):
                assert ours.body == recorded.body
        else:
            assert not ours.body
