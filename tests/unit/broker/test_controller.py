"""Starting and stopping a broker: what it takes, what it refuses, what it says."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from gantry.broker import BrokerConfig
from gantry.broker.start_settings import check_settings, name_server_plan, promises
from gantry.errors import ConfigError, ListenError, StoreLocked
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime.properties import parse_properties
from gantry.testing import MemoryNet, VirtualClock
from tests.unit.broker.broker_rig import BrokerRig

_COMMON = "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\ndeleteWhen=04\nfileReservedTime=48\n"
OFFICIAL = {
    "2m-noslave/broker-a": _COMMON + "brokerRole=ASYNC_MASTER\nflushDiskType=ASYNC_FLUSH\n",
    "2m-2s-sync/broker-a": _COMMON + "brokerRole=SYNC_MASTER\nflushDiskType=ASYNC_FLUSH\n",
    "broker.conf": (_COMMON + "brokerRole=ASYNC_MASTER\nflushDiskType=ASYNC_FLUSH\n").replace("=", " = "),
}


@pytest.mark.parametrize("name", sorted(OFFICIAL))
def test_official_files_load(name: str) -> None:
    config = BrokerConfig.from_properties(parse_properties(OFFICIAL[name]))
    assert (config.broker_name, config.broker_cluster_name, config.broker_id) == ("broker-a", "DefaultCluster", 0)
    assert config.store_config().file_reserved_time == 48
    assert not config.unknown


def test_defaults_are_the_official_ones() -> None:
    shown = BrokerConfig().to_properties()
    for name, text in {
        "brokerClusterName": "DefaultCluster",
        "listenPort": "10911",
        "brokerRole": "ASYNC_MASTER",
        "flushDiskType": "ASYNC_FLUSH",
        "autoCreateTopicEnable": "true",
        "autoCreateSubscriptionGroup": "true",
        "defaultTopicQueueNums": "8",
        "mappedFileSizeCommitLog": "1073741824",
        "maxMessageSize": "4194304",
        "fileReservedTime": "72",
        "deleteWhen": "04",
        "brokerPermission": "6",
        "messageDelayLevel": "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
    }.items():
        assert shown[name] == text


async def test_second_broker_on_the_same_store_is_refused_and_says_so() -> None:
    async with BrokerRig() as rig:
        second = BrokerRig(rig.disk, clock=rig.clock)
        with pytest.raises(StoreLocked, match="/store/lock"):
            await second.controller.start()
        # The first one is not touched.
        assert (await rig.send("T")).code == 0


async def test_port_in_use_says_which_and_gives_the_store_back() -> None:
    clock = VirtualClock()
    net = MemoryNet(clock)
    async with BrokerRig(clock=clock, net=net) as rig:
        second = BrokerRig(clock=clock, net=net, store_path_root_dir="/other", listen_port=rig.config.listen_port)
        with pytest.raises(ListenError, match=str(rig.config.listen_port)):
            await second.controller.start()
        third = BrokerRig(second.disk, clock=clock, net=net, store_path_root_dir="/other", listen_port=0)
        async with third:
            assert (await third.send("T")).code == 0


def test_slave_is_refused_with_a_reason() -> None:
    with pytest.raises(ConfigError, match="brokerRole=SLAVE is not offered"):
        BrokerRig(broker_role="SLAVE", broker_id=1)


@pytest.mark.parametrize("name", ["enableControllerMode", "enableDLegerCommitLog", "authenticationEnabled", "aclEnable"])
def test_parts_that_are_not_there_are_not_promised(name: str) -> None:
    config = BrokerConfig.from_properties({name: "true"})
    with pytest.raises(ConfigError, match=name):
        check_settings(config)
    check_settings(BrokerConfig.from_properties({name: "false"}))


def test_masters_have_the_id_of_a_master() -> None:
    assert BrokerRig(broker_id=3).config.broker_id == 0


def test_what_a_mode_can_lose_is_said() -> None:
    def said(**settings: Any) -> str:
        return "\n".join(promises(BrokerConfig(**settings)))

    assert "a power cut may take acknowledged messages" in said()
    assert said(flush_disk_type="SYNC_FLUSH") == ""
    assert "SLAVE_NOT_AVAILABLE (11)" in said(broker_role="SYNC_MASTER")
    assert "waits for no slave" in said(broker_role="SYNC_MASTER", in_sync_replicas=1)


async def test_promises_are_logged_at_start(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with BrokerRig(broker_role="SYNC_MASTER"):
            pass
    assert "SYNC_MASTER waits for 1 slave(s)" in caplog.text


async def test_boot_line_without_name_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAMESRV_ADDR", raising=False)
    async with BrokerRig() as rig:
        assert rig.controller.boot_line() == "The broker[broker-a, 127.0.0.1:10911] boot success. serializeType=JSON"


def test_name_servers_by_all_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMESRV_ADDR", "c:3")
    config = BrokerConfig(namesrv_addr="b:2", fetch_namesrv_addr_by_address_server=True)
    assert name_server_plan(config, "a:1;d:4").addresses == ["a:1", "d:4"]
    assert name_server_plan(config, None).addresses == ["b:2"]
    config.namesrv_addr = ""
    assert name_server_plan(config, None).addresses == ["c:3"]
    monkeypatch.delenv("NAMESRV_ADDR")
    plan = name_server_plan(config, None)
    assert (plan.addresses, plan.endpoint) == ([], "http://jmenv.tbsite.net:8080/rocketmq/nsaddr")


async def test_clean_stop_leaves_nothing_to_recover() -> None:
    async with BrokerRig() as rig:
        for n in range(20):
            await rig.send("T", b"%d" % n)
    assert not rig.disk.exists("/store/abort")
    async with BrokerRig(rig.disk, clock=rig.clock) as again:
        report = again.context.store.recovery_report
        assert report is not None
        assert [m.body for m in await again.messages("T")] == [b"%d" % n for n in range(20)]


@pytest.mark.parametrize("keep", ["all", "none"])
async def test_acknowledged_messages_of_sync_flush_survive_a_power_cut(keep: str) -> None:
    async with BrokerRig(flush_disk_type="SYNC_FLUSH") as rig:
        for n in range(30):
            assert (await rig.send("T", b"%d" % n)).code == 0
        disk = rig.disk.crashed_copy(keep=keep)  # type: ignore[arg-type]
    async with BrokerRig(disk, clock=rig.clock, flush_disk_type="SYNC_FLUSH") as again:
        assert [m.body for m in await again.messages("T")] == [b"%d" % n for n in range(30)]


async def test_messages_go_on_with_the_next_offset_after_a_restart() -> None:
    async with BrokerRig() as rig:
        await rig.send("T")
        await rig.send("T")
    async with BrokerRig(rig.disk, clock=rig.clock) as again:
        answer = await again.send("T")
        assert (answer.ext_fields or {})["queueOffset"] == "2"


async def test_unknown_request_code() -> None:
    async with BrokerRig() as rig:
        answer = await rig.ask(RemotingCommand(9999))
        assert answer.code == ResponseCode.REQUEST_CODE_NOT_SUPPORTED
        assert answer.remark == " request type 9999 not supported"


async def test_malformed_header_field_is_named() -> None:
    async with BrokerRig() as rig:
        answer = await rig.ask(RemotingCommand(310, ext_fields={"a": "g", "b": "T", "c": "TBW102", "d": "x"}))
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert "d" in (answer.remark or "")


async def test_name_of_the_host_is_resolved_for_stored_records() -> None:
    async with BrokerRig(broker_ip1="localhost") as rig:
        assert rig.address == f"localhost:{rig.config.listen_port}"
        assert rig.context.store_host[0] in {"127.0.0.1", "::1"}
        assert (await rig.send("T")).code == 0
