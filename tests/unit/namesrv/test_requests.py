"""Each request of the name server, asked over a connection: codes, remarks, fields, bodies."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from gantry.errors import DiskFull
from gantry.model import DataVersion, QueueData, TopicConfig, TopicRouteData
from gantry.protocol import json_dialect
from gantry.protocol.remoting.body.register_broker_body import (
    RegisterBrokerBody,
    body_crc32,
    encode_register_broker_body,
)
from gantry.protocol.remoting.body.topic_config import TopicConfigWrapper
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.add_write_perm_of_broker import AddWritePermOfBrokerRequestHeader
from gantry.protocol.remoting.header.broker_heartbeat import BrokerHeartbeatRequestHeader
from gantry.protocol.remoting.header.delete_kv_config import DeleteKVConfigRequestHeader
from gantry.protocol.remoting.header.delete_topic_from_namesrv import DeleteTopicFromNamesrvRequestHeader
from gantry.protocol.remoting.header.get_broker_member_group import GetBrokerMemberGroupRequestHeader
from gantry.protocol.remoting.header.get_kv_config import GetKVConfigRequestHeader
from gantry.protocol.remoting.header.get_kv_list_by_namespace import GetKVListByNamespaceRequestHeader
from gantry.protocol.remoting.header.get_route_info import GetRouteInfoRequestHeader
from gantry.protocol.remoting.header.get_topics_by_cluster import GetTopicsByClusterRequestHeader
from gantry.protocol.remoting.header.put_kv_config import PutKVConfigRequestHeader
from gantry.protocol.remoting.header.query_data_version import QueryDataVersionRequestHeader
from gantry.protocol.remoting.header.register_topic import RegisterTopicRequestHeader
from gantry.protocol.remoting.header.unregister_broker import UnregisterBrokerRequestHeader
from gantry.protocol.remoting.header.wipe_write_perm_of_broker import WipeWritePermOfBrokerRequestHeader
from gantry.runtime.properties import parse_properties
from tests.unit.namesrv.rig import Rig, topics


def route_of(topic: str, *, standard: bool | None = None) -> GetRouteInfoRequestHeader:
    return GetRouteInfoRequestHeader(topic=topic, accept_standard_json_only=standard)


def leaving(name: str = "broker-a", broker_id: int = 0) -> UnregisterBrokerRequestHeader:
    return UnregisterBrokerRequestHeader(
        broker_name=name, broker_addr=f"{name}-{broker_id}:10911", cluster_name="C", broker_id=broker_id
    )


# -- registration ------------------------------------------------------------------------------------------------------


async def test_a_master_is_answered_without_fields_a_slave_with_its_master(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        broker = rig.client()
        answer = await rig.register(broker)
        assert (answer.code, answer.remark, answer.ext_fields, answer.body) == (0, None, {}, b"")
        answer = await rig.register(broker, broker_id=1)
        assert answer.ext_fields == {"haServerAddr": "ha-of-broker-a-0:1", "masterAddr": "broker-a-0:10911"}


async def test_the_answer_carries_all_order_configurations(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        broker = rig.client()
        await rig.controller.kv_config.put("ORDER_TOPIC_CONFIG", "orders", "broker-a:4")
        assert (await rig.register(broker)).body == b'{"table":{"orders":"broker-a:4"}}'
        rig.config.return_order_topic_config_to_broker = False
        assert (await rig.register(broker)).body == b""


async def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    body = encode_register_broker_body(
        RegisterBrokerBody(TopicConfigWrapper(topic_config_table=topics("orders", "payments")), [])
    )
    async with Rig(tmp_path) as rig:
        broker = rig.client()
        answer = await rig.register(broker, body=body, body_crc32=body_crc32(body) ^ 1)
        assert (answer.code, answer.remark) == (1, "crc32 not match")
        assert rig.controller.routes.all_topics() == []
        for right in (body_crc32(body), 0, None):
            assert (await rig.register(broker, body=body, body_crc32=right)).code == 0


async def test_a_single_topic_first_is_refused(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        answer = await rig.register(rig.client(), table=topics("orders"))
        assert (answer.code, answer.remark) == (1, "register broker failed")


@pytest.mark.parametrize("announced", [True, False, None])
async def test_compressed_bodies_are_known_by_their_bytes(tmp_path: Path, announced: bool | None) -> None:
    wrapper = TopicConfigWrapper(
        topic_config_table={
            "orders": TopicConfig("orders", 3, 5, 6, attributes={"+message.type": "FIFO"}),
            "x": TopicConfig("x"),
        },
        data_version=DataVersion(1, 2, 3),
        topic_queue_mapping_info_map={"orders": {"bname": "broker-a", "topic": "orders", "currIdMap": {0: 0}}},
    )
    body = encode_register_broker_body(RegisterBrokerBody(wrapper, ["f:1"]), compressed=True)
    async with Rig(tmp_path) as rig:
        answer = await rig.register(rig.client(), body=body, compressed=announced, body_crc32=body_crc32(body))
        assert answer.code == 0
        route = rig.controller.routes.pickup_topic_route_data("orders")
        assert route is not None
        assert route.queue_datas == [QueueData("broker-a", 3, 5, 6, 0)]
        assert route.filter_server_table == {"broker-a-0:10911": ["f:1"]}
        assert route.topic_queue_mapping_by_broker is not None


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"x\x9c", b"x\x9cgarbage", zlib.compress(b"\x7f\xff\xff\xff"), zlib.compress(b"\0\0\0\2{}\xff\xff\xff\xff")],
)
async def test_unreadable_bodies_are_answered_and_change_nothing(tmp_path: Path, body: bytes) -> None:
    async with Rig(tmp_path) as rig:
        answer = await rig.register(rig.client(), body=body)
        assert answer.code == 1
        assert answer.remark is not None
        assert answer.remark.startswith("Failed to decode RegisterBrokerBody: ")
        assert rig.controller.routes.all_brokers() == {}


async def test_brokers_before_3_0_11_send_the_topics_alone(tmp_path: Path) -> None:
    wrapper = TopicConfigWrapper(topic_config_table=topics("orders", "payments"))
    async with Rig(tmp_path) as rig:
        assert (await rig.register(rig.client(), body=json_dialect.encode(wrapper), version=30)).code == 0
        assert sorted(rig.controller.routes.all_topics()) == ["orders", "payments"]


async def test_a_missing_required_field_is_named(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        answer = await rig.ask(RequestCode.REGISTER_BROKER, extra={"brokerName": "b"})
        assert answer.code == 1
        assert "brokerAddr" in str(answer.remark)


async def test_a_broker_that_leaves_and_comes_back_at_once_stays(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        broker = rig.client()
        await rig.register(broker)
        assert (await rig.ask(leaving(), client=broker)).code == 0
        await rig.register(broker)
        await rig.clock.run_ms(100)
        assert rig.controller.routes.broker_member_group("broker-a") == {0: "broker-a-0:10911"}


async def test_unregistration_is_answered_when_queued_and_done_soon_after(tmp_path: Path) -> None:
    async with Rig(tmp_path, unregister_broker_queue_capacity=1) as rig:
        broker = rig.client()
        await rig.register(broker)
        await rig.register(broker, "broker-b")
        assert (await rig.ask(leaving(), client=broker)).code == 0
        full = await rig.ask(leaving("broker-b"), client=broker)
        assert (full.code, full.remark) == (1, None)
        await rig.clock.run_ms(1)
        assert list(rig.controller.routes.all_brokers()) == ["broker-b"]


# -- routes --------------------------------------------------------------------------------------------------------------

STANDARD = (
    b'{"brokerDatas":[{"brokerAddrs":{"0":"broker-a-0:10911","1":"broker-a-1:10911"},"brokerName":"broker-a","cluster":"C",'
    b'"enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,'
    b'"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}'
)


@pytest.mark.parametrize(
    ("version", "standard", "quoted"),
    [(401, None, True), (513, None, True), (400, None, False), (317, False, False), (317, True, True), (0, None, False)],
)
async def test_the_route_is_written_for_its_reader(tmp_path: Path, version: int, standard: bool | None, quoted: bool) -> None:
    async with Rig(tmp_path) as rig:
        broker = rig.client()
        await rig.register(broker)
        await rig.register(broker, broker_id=1)
        answer = await rig.ask(route_of("orders", standard=standard), version=version)
        expected = STANDARD if quoted else STANDARD.replace(b'"0":', b"0:").replace(b'"1":', b"1:")
        assert (answer.code, answer.remark, answer.body) == (0, None, expected)


async def test_the_standard_form_is_ascii(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client(), "bröker")
        assert '"br\\u00F6ker"'.lower().encode() in (await rig.ask(route_of("orders"))).body.lower()
        assert '"bröker"'.encode() in (await rig.ask(route_of("orders"), version=317)).body


async def test_a_missing_topic_is_17_in_the_official_words(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        answer = await rig.ask(route_of("nothing"))
        assert answer.code == 17
        assert answer.remark == (
            "No topic route info in name server for the topic: nothing\n"
            "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
        )


async def test_order_configuration_is_added_only_when_enabled(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client())
        await rig.controller.kv_config.put("ORDER_TOPIC_CONFIG", "orders", "broker-a:4")
        assert b"orderTopicConf" not in (await rig.ask(route_of("orders"))).body
        rig.config.order_message_enable = True
        assert b'"orderTopicConf":"broker-a:4"' in (await rig.ask(route_of("orders"))).body
        assert b"orderTopicConf" not in (await rig.ask(route_of("payments"))).body


async def test_zones_filter_and_answer_in_the_old_form(tmp_path: Path) -> None:
    zone = {"__ZONE_MODE": "true", "__ZONE_NAME": "z1"}
    async with Rig(tmp_path) as rig:
        broker = rig.client()
        await rig.register(broker, extra={"__ZONE_NAME": "z1"})
        await rig.register(broker, "broker-b", extra={"__ZONE_NAME": "z2"})
        body = (await rig.ask(route_of("orders"), extra=zone)).body
        assert b"broker-b" not in body
        assert b'{0:"broker-a-0:10911"}' in body
        assert b'"zoneName":"z1"' in body
        assert b"broker-b" in (await rig.ask(route_of("orders"))).body


async def test_routes_wait_for_brokers_when_asked_to(tmp_path: Path) -> None:
    async with Rig(tmp_path, need_wait_for_service=True) as rig:
        await rig.register(rig.client())
        answer = await rig.ask(route_of("orders"))
        assert (answer.code, answer.remark) == (1, "name server not ready")
        await rig.clock.run_ms(44_999)
        assert (await rig.ask(route_of("orders"))).code == 1
        await rig.clock.run_ms(1)
        assert (await rig.ask(route_of("orders"))).code == 0


async def test_cluster_info_and_member_group_keep_bare_keys(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client())
        assert (await rig.ask(RequestCode.GET_BROKER_CLUSTER_INFO)).body == (
            b'{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"broker-a-0:10911"},"brokerName":"broker-a","cluster":"C",'
            b'"enableActingMaster":false}},"clusterAddrTable":{"C":["broker-a"]}}'
        )
        group = await rig.ask(GetBrokerMemberGroupRequestHeader(cluster_name="C", broker_name="broker-a"))
        assert group.body == (
            b'{"brokerMemberGroup":{"brokerAddrs":{0:"broker-a-0:10911"},"brokerName":"broker-a","cluster":"C"}}'
        )
        group = await rig.ask(GetBrokerMemberGroupRequestHeader(cluster_name="C", broker_name="ghost"))
        assert group.body == b'{"brokerMemberGroup":{"brokerAddrs":{},"brokerName":"ghost","cluster":"C"}}'


# -- liveness and versions -------------------------------------------------------------------------------------------


async def test_data_version_query_compares_answers_and_refreshes(tmp_path: Path) -> None:
    header = QueryDataVersionRequestHeader(
        broker_name="broker-a", broker_addr="broker-a-0:10911", cluster_name="C", broker_id=0
    )
    same = json_dialect.encode(DataVersion(0, 1_000, 1))
    async with Rig(tmp_path) as rig:
        answer = await rig.ask(header, same)
        assert (answer.code, answer.ext_fields, answer.body) == (0, {"changed": "true"}, b"")
        broker = rig.client()
        await rig.register(broker)
        answer = await rig.ask(header, same, client=broker)
        assert (answer.ext_fields, answer.body) == ({"changed": "false"}, same)
        answer = await rig.ask(header, json_dialect.encode(DataVersion(0, 1_000, 2)), client=broker)
        assert (answer.ext_fields, answer.body) == ({"changed": "true"}, same)
        assert (await rig.ask(header, b"", client=broker)).ext_fields == {"changed": "true"}
        assert (await rig.ask(header, b"}", client=broker)).code == 1
        for _ in range(3):
            await rig.clock.run_ms(100_000)
            assert (await rig.ask(header, same, client=broker)).ext_fields == {"changed": "false"}


async def test_heartbeats_keep_a_broker_and_are_nothing_to_strangers(tmp_path: Path) -> None:
    header = BrokerHeartbeatRequestHeader(cluster_name="C", broker_addr="broker-a-0:10911", broker_name="broker-a")
    async with Rig(tmp_path) as rig:
        assert (await rig.ask(header)).code == 0
        broker = rig.client()
        await rig.register(broker)
        for _ in range(3):
            await rig.clock.run_ms(100_000)
            assert (await rig.ask(header, client=broker)).code == 0
        assert list(rig.controller.routes.all_brokers()) == ["broker-a"]


# -- administration ------------------------------------------------------------------------------------------------------


async def test_write_permission_is_wiped_and_given_back(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client())
        answer = await rig.ask(WipeWritePermOfBrokerRequestHeader(broker_name="broker-a"))
        assert answer.ext_fields == {"wipeTopicCount": "2"}
        assert b'"perm":4' in (await rig.ask(route_of("orders"))).body
        answer = await rig.ask(AddWritePermOfBrokerRequestHeader(broker_name="broker-a"))
        assert answer.ext_fields == {"addTopicCount": "2"}
        assert b'"perm":6' in (await rig.ask(route_of("orders"))).body


async def test_topics_are_deleted_and_registered_by_hand(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client())
        assert (await rig.ask(DeleteTopicFromNamesrvRequestHeader(topic="orders", cluster_name="other"))).code == 0
        assert (await rig.ask(route_of("orders"))).code == 0
        assert (await rig.ask(DeleteTopicFromNamesrvRequestHeader(topic="orders", cluster_name=""))).code == 0
        assert (await rig.ask(route_of("orders"))).code == 17
        body = json_dialect.encode(TopicRouteData(queue_datas=[QueueData("broker-a", 2, 2, 6)]))
        assert (await rig.ask(RegisterTopicRequestHeader(topic="orders"), body)).code == 0
        assert b'"readQueueNums":2' in (await rig.ask(route_of("orders"))).body
        ghost = json_dialect.encode(TopicRouteData(queue_datas=[QueueData("ghost", 2, 2, 6)]))
        assert (await rig.ask(RegisterTopicRequestHeader(topic="other"), ghost)).code == 0
        assert (await rig.ask(route_of("other"))).code == 17
        assert (await rig.ask(RegisterTopicRequestHeader(topic="other"))).code == 0
        assert (await rig.ask(RegisterTopicRequestHeader(topic="other"), b"{")).code == 1


async def test_topic_lists_and_their_switches(tmp_path: Path) -> None:
    table = {**topics("u", topic_sys_flag=1), **topics("s", topic_sys_flag=2)}
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client(), table=table)
        asked = {
            RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER: b'{"topicList":["s","u"]}',
            RequestCode.GET_UNIT_TOPIC_LIST: b'{"topicList":["u"]}',
            RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST: b'{"topicList":["s"]}',
            RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST: b'{"topicList":["s"]}',
        }
        by_cluster = GetTopicsByClusterRequestHeader(cluster="C")
        for code, body in asked.items():
            assert (await rig.ask(code)).body == body
        assert (await rig.ask(by_cluster)).body == b'{"topicList":["s","u"]}'
        assert (await rig.ask(RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS)).body == (
            b'{"brokerAddr":"broker-a-0:10911","topicList":["C","broker-a"]}'
        )
        rig.config.enable_topic_list = rig.config.enable_all_topic_list = False
        for request in (*asked, by_cluster):
            answer = await rig.ask(request)
            assert (answer.code, answer.remark, answer.body) == (1, "disable", b"")


async def test_kv_pairs_are_put_read_listed_and_deleted(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        missing = await rig.ask(GetKVConfigRequestHeader(namespace="n", key="k"))
        assert (missing.code, missing.remark) == (22, "No config item, Namespace: n Key: k")
        missing = await rig.ask(GetKVListByNamespaceRequestHeader(namespace="n"))
        assert (missing.code, missing.remark) == (22, "No config item, Namespace: n")
        assert (await rig.ask(PutKVConfigRequestHeader(namespace="n", key="k", value="v"))).code == 0
        assert (await rig.ask(GetKVConfigRequestHeader(namespace="n", key="k"))).ext_fields == {"value": "v"}
        assert (await rig.ask(GetKVListByNamespaceRequestHeader(namespace="n"))).body == b'{"table":{"k":"v"}}'
        for _ in range(2):
            assert (await rig.ask(DeleteKVConfigRequestHeader(namespace="n", key="k"))).code == 0
        assert (await rig.ask(GetKVListByNamespaceRequestHeader(namespace="n"))).body == b'{"table":{}}'


async def test_a_pair_that_could_not_be_saved_is_refused_and_not_shown(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.ask(PutKVConfigRequestHeader(namespace="n", key="k", value="v"))
        rig.disk.fault = DiskFull(path="kvConfig.json", op="pwrite")
        for header in (
            PutKVConfigRequestHeader(namespace="n", key="k", value="w"),
            DeleteKVConfigRequestHeader(namespace="n", key="k"),
        ):
            answer = await rig.ask(header)
            assert answer.code == 1
            assert "persist kvconfig failed, nothing changed" in str(answer.remark)
        assert (await rig.ask(GetKVConfigRequestHeader(namespace="n", key="k"))).ext_fields == {"value": "v"}


# -- settings ----------------------------------------------------------------------------------------------------------


async def test_settings_are_shown_as_properties(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        shown = parse_properties((await rig.ask(RequestCode.GET_NAMESRV_CONFIG)).body.decode())
        assert shown["listenPort"] == "9876"
        assert shown["kvConfigPath"] == rig.config.kv_config_path
        assert shown["orderMessageEnable"] == "false"


async def test_reloadable_settings_change_take_effect_and_are_saved(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        answer = await rig.ask(RequestCode.UPDATE_NAMESRV_CONFIG, b"orderMessageEnable=TRUE\nwaitSecondsForService=7\n")
        assert (answer.code, answer.remark) == (0, None)
        assert (rig.config.order_message_enable, rig.config.wait_seconds_for_service) == (True, 7)
        saved = parse_properties(Path(rig.config.config_store_path).read_text())
        assert (saved["orderMessageEnable"], saved["waitSecondsForService"]) == ("true", "7")
        assert (await rig.ask(RequestCode.UPDATE_NAMESRV_CONFIG)).code == 0


@pytest.mark.parametrize(
    "text",
    [
        "kvConfigPath=/etc/cron.d/x",
        "configStorePath=/etc/cron.d/x",
        "rocketmqHome=-c $@|sh",
        "configBlackList=",
        "listenPort=1",
        "noSuchKey=1",
        "orderMessageEnable=true\nkvConfigPath=/etc/cron.d/x",
        "kvConfig\\u0050ath=/etc/cron.d/x",
        "orderMessageEnable=true\rbindAddress\\:x=1",
    ],
)
async def test_anything_but_reloadable_settings_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    async with Rig(tmp_path) as rig:
        before = rig.config.to_properties()
        answer = await rig.ask(RequestCode.UPDATE_NAMESRV_CONFIG, text.encode())
        assert answer.code == 16
        assert str(answer.remark).startswith("Can not update config in black list.")
        assert rig.config.to_properties() == before
        assert not Path(rig.config.config_store_path).exists()


async def test_values_out_of_bounds_and_unsavable_settings_change_nothing(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        before = rig.config.to_properties()
        for text in (b"waitSecondsForService=-1", b"orderMessageEnable=maybe", b"a\\u00zz=1"):
            assert (await rig.ask(RequestCode.UPDATE_NAMESRV_CONFIG, text)).code == 1
        rig.disk.fault = DiskFull(path="x", op="pwrite")
        answer = await rig.ask(RequestCode.UPDATE_NAMESRV_CONFIG, b"orderMessageEnable=true")
        assert answer.code == 1
        assert "nothing changed" in str(answer.remark)
        assert rig.config.to_properties() == before


async def test_the_operators_own_black_list_is_honoured(tmp_path: Path) -> None:
    async with Rig(tmp_path, config_black_list="orderMessageEnable;x") as rig:
        assert (await rig.ask(RequestCode.UPDATE_NAMESRV_CONFIG, b"orderMessageEnable=true")).code == 16


async def test_unknown_requests_are_answered_in_the_official_words(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        answer = await rig.ask(10)
        assert (answer.code, answer.remark) == (3, " request type 10 not supported")
