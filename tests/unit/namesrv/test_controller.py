"""The name server as a whole: connections, silence, notices, start and stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from gantry.errors import ConfigError, ListenError
from gantry.namesrv import NamesrvConfig, NamesrvController
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.get_route_info import GetRouteInfoRequestHeader
from gantry.protocol.remoting.header.notify_min_broker_id_change import NotifyMinBrokerIdChangeRequestHeader
from gantry.runtime.remoting_server import RemotingServer, RequestContext, RequestTable
from gantry.testing import settle
from tests.unit.namesrv.rig import Rig


async def test_a_broker_is_out_at_once_when_its_connection_closes(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        broker = rig.client()
        await rig.register(broker)
        await broker.close()
        await rig.clock.run_ms(1)
        assert rig.controller.routes.all_brokers() == {}
        assert (await rig.ask(GetRouteInfoRequestHeader(topic="orders"))).code == 17


async def test_a_broken_connection_counts_as_closed(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client())
        rig.net.break_connections()
        await rig.clock.run_ms(1)
        assert rig.controller.routes.all_brokers() == {}


async def test_more_brokers_on_one_connection_than_the_queue_holds_all_leave(tmp_path: Path) -> None:
    async with Rig(tmp_path, unregister_broker_queue_capacity=2) as rig:
        broker = rig.client()
        for name in "abcde":
            await rig.register(broker, name)
        await broker.close()
        await rig.clock.run_ms(1)
        assert rig.controller.routes.all_brokers() == {}


async def test_a_silent_broker_is_out_after_120_seconds_and_disconnected(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        silent, alive = rig.client(), rig.client()
        await rig.register(silent)
        await rig.register(alive, "broker-b")
        # What keeps the connection open is no sign of life of the broker.
        for _ in range(4):
            await rig.clock.run_ms(29_999)
            await rig.register(alive, "broker-b")
            await rig.ask(RequestCode.GET_BROKER_CLUSTER_INFO, client=silent)
        assert sorted(rig.controller.routes.all_brokers()) == ["broker-a", "broker-b"]
        await rig.clock.run_ms(6_000)
        assert list(rig.controller.routes.all_brokers()) == ["broker-b"]
        assert silent.channel("127.0.0.1:9876") is None, "its connection is closed"
        assert alive.channel("127.0.0.1:9876") is not None


async def test_a_broker_may_ask_for_another_time(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client(), heartbeat_timeout_millis=10_000)
        await rig.clock.run_ms(10_000)
        assert list(rig.controller.routes.all_brokers()) == ["broker-a"]
        await rig.clock.run_ms(5_001)
        assert rig.controller.routes.all_brokers() == {}


@pytest.mark.parametrize("jump_ms", [-3 * 3_600_000, 121_000, 3 * 3_600_000])
async def test_a_jump_of_the_wall_clock_drops_nobody(tmp_path: Path, jump_ms: int) -> None:
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client())
        rig.clock.jump_wall_ms(jump_ms)
        await rig.clock.run_ms(20_000)
        assert list(rig.controller.routes.all_brokers()) == ["broker-a"]


async def test_brokers_are_told_of_a_new_smallest_id(tmp_path: Path) -> None:
    heard: list[tuple[bool, NotifyMinBrokerIdChangeRequestHeader]] = []

    def hear(ctx: RequestContext, request: RemotingCommand, header: NotifyMinBrokerIdChangeRequestHeader) -> None:
        heard.append((request.is_oneway, header))

    async with Rig(tmp_path, notify_min_broker_id_changed=True) as rig:
        table = RequestTable()
        table.add(RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE, NotifyMinBrokerIdChangeRequestHeader, hear)
        member = RemotingServer(rig.net, rig.clock, table)
        await member.listen("127.0.0.1", 11911)
        master, slave = rig.client(), rig.client()
        await rig.register(master, addr="127.0.0.1:10911", enable_acting_master=True)
        await rig.register(slave, broker_id=1, addr="127.0.0.1:11911", enable_acting_master=True)
        await rig.register(rig.client(), broker_id=2, addr="127.0.0.1:9", enable_acting_master=True)
        await master.close()
        await rig.clock.run_ms(1)
        await settle()
        assert heard == [
            (
                True,
                NotifyMinBrokerIdChangeRequestHeader(
                    min_broker_id=1,
                    broker_name="broker-a",
                    min_broker_addr="127.0.0.1:11911",
                    offline_broker_addr="127.0.0.1:10911",
                ),
            )
        ]
        await member.close()


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        other = NamesrvController(rig.config, net=rig.net, clock=rig.clock, disk=rig.disk)
        with pytest.raises(ListenError, match="9876"):
            await other.start()
        await other.stop()


async def test_port_0_becomes_the_real_port(tmp_path: Path) -> None:
    async with Rig(tmp_path, listen_port=0) as rig:
        assert rig.config.listen_port == rig.controller.address[1] > 0


async def test_the_kv_table_outlives_the_process(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.controller.kv_config.put("n", "k", "v")
    async with Rig(tmp_path) as rig:
        assert rig.controller.kv_config.get("n", "k") == "v"


async def test_a_kv_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "namesrv" / "kvConfig.json"
    path.parent.mkdir()
    path.write_text("{")
    rig = Rig(tmp_path)
    with pytest.raises(ValueError, match=r"kvConfig\.json"):
        await rig.controller.start()
    await rig.controller.stop()
    assert path.read_text() == "{"


async def test_stop_ends_every_timer_and_connection(tmp_path: Path) -> None:
    async with Rig(tmp_path) as rig:
        await rig.register(rig.client())
        await rig.controller.stop()
        await rig.controller.stop()
        await settle()
        assert rig.net.connection_count == 0
    assert rig.clock.timer_count == 0


@pytest.mark.parametrize("name", ["enable_controller_in_namesrv", "cluster_test"])
def test_what_is_not_offered_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="not offered"):
        Rig(tmp_path, **{name: True})


def test_official_settings_are_known() -> None:
    names = set(NamesrvConfig.keys())
    assert names >= {
        "rocketmqHome", "kvConfigPath", "configStorePath", "productEnvName", "clusterTest", "orderMessageEnable",
        "returnOrderTopicConfigToBroker", "clientRequestThreadPoolNums", "defaultThreadPoolNums",
        "clientRequestThreadPoolQueueCapacity", "defaultThreadPoolQueueCapacity", "scanNotActiveBrokerInterval",
        "unRegisterBrokerQueueCapacity", "supportActingMaster", "enableAllTopicList", "enableTopicList",
        "notifyMinBrokerIdChanged", "enableControllerInNamesrv", "needWaitForService", "waitSecondsForService",
        "deleteTopicWithBrokerRegistration", "configBlackList", "listenPort", "bindAddress",
    }  # fmt: skip
