"""What an official name server was asked and answered, asked again of ours.

The recording keeps only two of equal frames, so what it left out (registrations of topics, of other brokers) is read from the
recorded answer and registered first; then the answers must be equal, byte by byte where the original has an order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gantry.model import DataVersion, TopicConfig
from gantry.namesrv.broker_live import BrokerRegistration
from gantry.protocol import json_dialect
from gantry.protocol.remoting import FrameDecoder, RemotingCommand, decode_frame
from gantry.protocol.remoting.body.route import ClusterInfo, TopicList, decode_route
from gantry.protocol.remoting.codes import RequestCode
from gantry.runtime.remoting_client import RemotingClient
from tests.golden import FRAME_SETS, frame_bytes, frame_index
from tests.unit.namesrv.rig import Rig

HASH_ORDER = (RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER, RequestCode.GET_BROKER_CLUSTER_INFO)


def exchanges(name: str) -> list[tuple[dict[str, Any], RemotingCommand, RemotingCommand]]:
    """Recorded request and answer, in the order of the answers."""
    asked: dict[tuple[int, int], tuple[dict[str, Any], RemotingCommand]] = {}
    found = []
    for line in frame_index(name):
        if line["link"] != "namesrv":
            continue
        decoder = FrameDecoder()
        decoder.receive_data(frame_bytes(name, line))
        frame = decoder.next_frame()
        assert frame is not None
        command = decode_frame(frame)
        key = (line["connection"], line["opaque"])
        if line["kind"] == "req":
            asked[key] = (line, command)
        elif key in asked and asked[key][0]["requestCode"] == line["requestCode"]:
            found.append((*asked.pop(key), command))
    return found


def seed(rig: Rig, topics: dict[str, TopicConfig], *, broker: str, cluster: str, addrs: dict[int, str]) -> None:
    """Registers what the recording left out."""
    known = rig.controller.routes.broker_member_group(broker)
    for broker_id, addr in addrs.items():
        if known.get(broker_id) == addr and not topics:
            continue
        rig.controller.routes.register_broker(
            BrokerRegistration(
                cluster, addr, broker, broker_id, "", DataVersion(9, 9, 9),
                topics or {"a": TopicConfig("a"), "b": TopicConfig("b")},
                enable_acting_master=False,
            ),
            now_ms=rig.clock.monotonic_ms(),
        )  # fmt: skip


def seed_from(rig: Rig, request: RemotingCommand, answer: RemotingCommand) -> None:
    if request.code == RequestCode.GET_ROUTEINFO_BY_TOPIC and answer.code == 0:
        route = decode_route(answer.body)
        topic = (request.ext_fields or {})["topic"]
        (data,), (queues,) = route.broker_datas, route.queue_datas
        config = TopicConfig(topic, queues.read_queue_nums, queues.write_queue_nums, queues.perm)
        seed(rig, {topic: config}, broker=data.broker_name, cluster=data.cluster, addrs=data.broker_addrs)
    elif request.code == RequestCode.GET_BROKER_CLUSTER_INFO:
        info = json_dialect.decode_as(answer.body, ClusterInfo)
        for data in info.broker_addr_table.values():
            seed(rig, {}, broker=data.broker_name, cluster=data.cluster, addrs=data.broker_addrs)
    elif request.code == RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER:
        for topic in json_dialect.decode_as(answer.body, TopicList).topic_list:
            if rig.controller.routes.pickup_topic_route_data(topic) is None:
                seed(
                    rig, {topic: TopicConfig(topic)}, broker="broker-g", cluster="GoldenCluster",
                    addrs={0: "127.0.0.2:30911"},
                )  # fmt: skip


def normal(code: int, body: bytes) -> Any:
    """A body without what a hash table's order decides."""
    value = json_dialect.decode(body) if body else None
    if code == RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER:
        value["topicList"].sort()
    return value


@pytest.mark.parametrize("name", FRAME_SETS)
async def test_recorded_requests_are_answered_as_recorded(name: str, tmp_path: Path) -> None:
    pairs = exchanges(name)
    assert len({line["requestCode"] for line, _, _ in pairs}) >= (11 if name != "controller" else 3)
    async with Rig(tmp_path) as rig:
        if name != "controller":
            # The recorded name server had held an order configuration before.
            await rig.controller.kv_config.put("ORDER_TOPIC_CONFIG", "gone", "x")
            await rig.controller.kv_config.delete("ORDER_TOPIC_CONFIG", "gone")
        clients: dict[int, RemotingClient] = {}
        for line, request, recorded in pairs:
            where = f"{name}/{line['file']}"
            seed_from(rig, request, recorded)
            client = clients.setdefault(line["connection"], rig.client())
            channel = await client.connect("127.0.0.1:9876")
            ours = await channel.invoke(request, 3_000)
            assert ours.code == recorded.code, where
            assert ours.remark == recorded.remark, where
            assert (ours.ext_fields or {}).keys() == (recorded.ext_fields or {}).keys(), where
            assert (ours.ext_fields is None) == (recorded.ext_fields is None), where
            assert ours.serialize_type == request.serialize_type, where
            if request.code in HASH_ORDER:
                assert normal(request.code, ours.body) == normal(request.code, recorded.body), where
                assert (b'{0:"' in ours.body) == (b'{0:"' in recorded.body), where
            else:
                assert ours.body == recorded.body, where
            if request.code == RequestCode.GET_KV_CONFIG:
                assert ours.ext_fields == recorded.ext_fields, where
