"""Topics of a broker, their file, and how name servers hear of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.errors import DiskFull
from gantry.model import TopicConfig
from gantry.namesrv import NamesrvConfig, NamesrvController
from gantry.protocol import json_dialect
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_route_info import GetRouteInfoRequestHeader
from gantry.protocol.remoting.header.put_kv_config import PutKVConfigRequestHeader
from gantry.testing import MemoryDisk, MemoryNet, VirtualClock, settle
from tests.unit.broker.broker_rig import ROOT, BrokerRig

FILE = f"{ROOT}/config/topics.json"


class World:
    """Name servers and a broker on one net."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.net = MemoryNet(self.clock)
        self.name_servers: list[NamesrvController] = []
        self.brokers: list[BrokerRig] = []

    async def name_server(self, port: int) -> str:
        config = NamesrvConfig(
            listen_port=port, bind_address="127.0.0.1", kv_config_path="/ns/kv.json", config_store_path="/ns/ns.properties"
        )
        server = NamesrvController(config, net=self.net, clock=self.clock, disk=MemoryDisk(clock=self.clock))
        await server.start()
        self.name_servers.append(server)
        return f"127.0.0.1:{port}"

    async def broker(self, addresses: str, **settings: Any) -> BrokerRig:
        rig = BrokerRig(clock=self.clock, net=self.net, namesrv_addr=addresses, **settings)
        self.brokers.append(rig)
        await rig.controller.start()
        return rig

    async def route(self, rig: BrokerRig, address: str, topic: str) -> RemotingCommand:
        return await rig.client.invoke(address, RemotingCommand.request(GetRouteInfoRequestHeader(topic=topic)), 3000)


@pytest.fixture
async def world() -> Any:
    world = World()
    yield world
    for rig in world.brokers:
        await rig.client.close()
        await rig.controller.stop()
    for server in world.name_servers:
        await server.stop()
    await settle()


async def test_boot_topics_are_those_of_the_official_broker() -> None:
    async with BrokerRig() as rig:
        table = rig.context.topics.table
        shape = {name: (t.read_queue_nums, t.write_queue_nums, t.perm) for name, t in table.items()}
    assert shape == {
        "SELF_TEST_TOPIC": (1, 1, 6),
        "TBW102": (8, 8, 7),
        "BenchmarkTest": (1024, 1024, 6),
        "DefaultCluster": (16, 16, 7),
        "broker-a": (1, 1, 7),
        "OFFSET_MOVED_EVENT": (1, 1, 6),
        "SCHEDULE_TOPIC_XXXX": (18, 18, 6),
        "DefaultCluster_REPLY_TOPIC": (1, 1, 6),
        "rmq_sys_REVIVE_LOG_DefaultCluster": (8, 8, 6),
        "rmq_sys_SYNC_BROKER_MEMBER_broker-a": (1, 1, 1),
        "RMQ_SYS_TRANS_HALF_TOPIC": (1, 1, 6),
        "RMQ_SYS_TRANS_OP_HALF_TOPIC": (1, 1, 6),
        "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC": (1, 1, 6),
        "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC": (1, 1, 6),
        "rmq_sys_wheel_timer": (1, 1, 6),
    }


async def test_switches_change_the_boot_topics() -> None:
    settings = {
        "auto_create_topic_enable": False,
        "cluster_topic_enable": False,
        "broker_topic_enable": False,
        "trace_topic_enable": True,
        "timer_wheel_enable": False,
    }
    async with BrokerRig(**settings) as rig:
        table = rig.context.topics.table
        assert "TBW102" not in table
        assert (table["DefaultCluster"].perm, table["broker-a"].perm) == (1, 1)
        assert table["RMQ_SYS_TRACE_TOPIC"].perm == 6
        assert "rmq_sys_wheel_timer" not in table


async def test_topics_survive_a_restart_and_the_version_goes_on() -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        rig.context.topics.update(TopicConfig("O", 2, 3, 6, order=True))
        version = rig.context.topics.data_version.copy()
    async with BrokerRig(rig.disk, clock=rig.clock) as again:
        assert again.context.topics.table["O"] == TopicConfig("O", 2, 3, 6, order=True)
        assert again.context.topics.data_version == version
        again.context.topics.delete("O")
        assert again.context.topics.data_version.counter == version.counter + 1
    assert "O" not in json_dialect.decode(rig.disk.read_file(FILE))["topicConfigTable"]


async def test_topic_of_an_acknowledged_send_survives_a_power_cut() -> None:
    async with BrokerRig(flush_disk_type="SYNC_FLUSH") as rig:
        assert (await rig.send("New", b"kept")).code == 0
        disk = rig.disk.crashed_copy(keep="none")
    async with BrokerRig(disk, clock=rig.clock, flush_disk_type="SYNC_FLUSH") as again:
        assert [m.body for m in await again.messages("New")] == [b"kept"]


async def test_topic_whose_file_cannot_be_written_is_not_made() -> None:
    async with BrokerRig() as rig:
        rig.disk.fail("sync", error=28, path_part="topics.json")
        answer = await rig.send("New")
        assert answer.code == ResponseCode.SERVICE_NOT_AVAILABLE
        assert rig.context.topics.select("New") is None
        assert (await rig.send("New")).code == 0


async def test_many_sends_to_a_new_topic_at_once_make_it_once() -> None:
    async with BrokerRig() as rig:
        counter = rig.context.topics.data_version.counter
        answers = await asyncio.gather(*(rig.send("New", b"%d" % n) for n in range(50)))
        assert {answer.code for answer in answers} == {0}
        assert rig.context.topics.data_version.counter == counter + 1
        assert len(await rig.messages("New")) == 50


async def test_changed_topics_reach_the_file_in_few_writes() -> None:
    async with BrokerRig() as rig:
        await settle()
        before = rig.disk.counts["rename"]
        for n in range(100):
            rig.context.topics.update(TopicConfig(f"T{n}"))
        await settle()
        assert rig.disk.counts["rename"] - before < 10
        assert len(json_dialect.decode(rig.disk.read_file(FILE))["topicConfigTable"]) >= 100


async def test_full_disk_leaves_a_changed_table_pending_and_it_is_written_later() -> None:
    async with BrokerRig() as rig:
        rig.disk.fail("pwrite", error=28, path_part="topics.json")
        rig.context.topics.update(TopicConfig("T"))
        await settle()
        assert rig.context.topics.file.pending
        rig.disk.fail("pwrite", error=28, path_part="topics.json")
        with pytest.raises(DiskFull):
            await rig.context.topics.file.flush()
        await rig.clock.run_ms(5100)
        assert not rig.context.topics.file.pending


# -- name servers


async def test_broker_registers_with_every_name_server_at_start_and_leaves_at_stop(world: World) -> None:
    first, second = await world.name_server(9876), await world.name_server(9877)
    rig = await world.broker(f"{first};{second}")
    assert rig.controller.boot_line() == (
        f"The broker[broker-a, {rig.address}] boot success. serializeType=JSON and name server is {first};{second}"
    )
    for server in (first, second):
        route = json_dialect.decode((await world.route(rig, server, "TBW102")).body)
        assert route["brokerDatas"][0]["brokerAddrs"] == {"0": rig.address}
        assert route["queueDatas"][0]["perm"] == 7
    world.brokers.remove(rig)
    await rig.controller.stop()
    await settle()
    await world.clock.run_ms(1000)
    asker = await world.broker("", broker_name="broker-b", store_path_root_dir="/other")
    for server in (first, second):
        assert (await world.route(asker, server, "TBW102")).code == ResponseCode.TOPIC_NOT_EXIST
    await rig.client.close()


async def test_new_topic_has_a_route_when_its_first_send_is_answered(world: World) -> None:
    server = await world.name_server(9876)
    rig = await world.broker(server)
    world.net.set_latency_ms(20)
    sending = asyncio.ensure_future(rig.send("New"))
    while not sending.done():
        await world.clock.run_ms(1)
    told = world.name_servers[0].routes.pickup_topic_route_data("New")
    world.net.set_latency_ms(0)
    assert told is not None
    rig.context.topics.update(TopicConfig("New", 4, 4, 4))
    assert await rig.context.registration.flush()
    route = json_dialect.decode((await world.route(rig, server, "New")).body)
    assert route["queueDatas"][0]["perm"] == 4


async def test_broker_permission_masks_what_is_told(world: World) -> None:
    server = await world.name_server(9876)
    rig = await world.broker(server, broker_permission=4)
    route = json_dialect.decode((await world.route(rig, server, "BenchmarkTest")).body)
    assert route["queueDatas"][0]["perm"] == 4
    assert rig.context.topics.table["BenchmarkTest"].perm == 6


async def test_name_server_that_comes_later_is_told_soon(world: World) -> None:
    rig = await world.broker("127.0.0.1:9876")
    await rig.send("New")
    server = await world.name_server(9876)
    await world.clock.run_ms(2000)
    assert (await world.route(rig, server, "New")).code == 0


async def test_name_server_that_forgot_everything_is_told_again(world: World) -> None:
    server = await world.name_server(9876)
    rig = await world.broker(server)
    await world.name_servers.pop().stop()
    await world.name_server(9876)
    assert (await world.route(rig, server, "TBW102")).code == ResponseCode.TOPIC_NOT_EXIST
    await world.clock.run_ms(31_000)
    assert (await world.route(rig, server, "TBW102")).code == 0


async def test_a_dead_name_server_holds_up_nobody(world: World) -> None:
    server = await world.name_server(9876)
    rig = await world.broker(f"127.0.0.1:9999;{server}")
    assert (await world.route(rig, server, "TBW102")).code == 0
    assert (await rig.send("New")).code == 0
    await settle()
    assert (await world.route(rig, server, "New")).code == 0


@pytest.mark.parametrize("compressed", [False, True])
async def test_both_forms_of_the_registration_are_understood(world: World, compressed: bool) -> None:
    server = await world.name_server(9876)
    rig = await world.broker(server, compressed_register=compressed)
    route = json_dialect.decode((await world.route(rig, server, "BenchmarkTest")).body)
    assert route["queueDatas"][0]["writeQueueNums"] == 1024


async def test_without_forced_registration_only_changes_are_sent_in_full(world: World) -> None:
    server = await world.name_server(9876)
    rig = await world.broker(server, force_register=False)
    await world.clock.run_ms(300_000)
    assert (await world.route(rig, server, "TBW102")).code == 0


async def test_order_configuration_of_the_name_server_marks_topics(world: World) -> None:
    server = await world.name_server(9876)
    rig = await world.broker(server)
    await rig.send("Ordered")
    assert not rig.context.topics.is_order_topic("Ordered")
    header = PutKVConfigRequestHeader(namespace="ORDER_TOPIC_CONFIG", key="Ordered", value="broker-a:4")
    assert (await rig.client.invoke(server, RemotingCommand.request(header), 3000)).code == 0
    await world.clock.run_ms(31_000)
    assert rig.context.topics.is_order_topic("Ordered")
