"""Helpers of the name server's tests: brokers that register with few words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gantry.errors import DiskError
from gantry.model import DataVersion, TopicConfig
from gantry.namesrv import NamesrvConfig, NamesrvController
from gantry.namesrv.broker_live import BrokerRegistration, BrokerUnregistration
from gantry.protocol.remoting.body.register_broker_body import RegisterBrokerBody, encode_register_broker_body
from gantry.protocol.remoting.body.topic_config import TopicConfigWrapper
from gantry.protocol.remoting.command import RemotingCommand
from gantry.protocol.remoting.header.base import RequestHeader
from gantry.protocol.remoting.header.register_broker import RegisterBrokerRequestHeader
from gantry.runtime.remoting_client import RemotingClient
from gantry.runtime.system_disk import SystemDisk
from gantry.testing import MemoryNet, VirtualClock, settle

T = TypeVar("T")

TWO_TOPICS = ("orders", "payments")


class Policy:
    """The settings the route table reads, all at their defaults."""

    support_acting_master = False
    notify_min_broker_id_changed = False
    delete_topic_with_broker_registration = False


def topics(*names: str, perm: int = 6, queues: int = 4, **values: Any) -> dict[str, TopicConfig]:
    return {name: TopicConfig(name, queues, queues, perm, **values) for name in names}


def registration(
    name: str = "broker-a",
    broker_id: int = 0,
    addr: str | None = None,
    *,
    cluster: str = "C",
    table: dict[str, TopicConfig] | None = None,
    version: DataVersion | None = None,
    acting: bool | None = False,
    **values: Any,
) -> BrokerRegistration:
    values.setdefault("ha_server_addr", f"ha-of-{name}-{broker_id}:1")
    return BrokerRegistration(
        cluster_name=cluster,
        broker_addr=addr or f"{name}-{broker_id}:10911",
        broker_name=name,
        broker_id=broker_id,
        data_version=version or DataVersion(0, 1_000, 1),
        topics=topics(*TWO_TOPICS) if table is None else table,
        enable_acting_master=acting,
        **values,
    )


def unregistration(name: str = "broker-a", broker_id: int = 0, addr: str | None = None) -> BrokerUnregistration:
    return BrokerUnregistration("C", addr or f"{name}-{broker_id}:10911", name, broker_id)


class InlineDisk(SystemDisk):
    """The real disk without its threads, and with a fault to inject: replacing a file may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: DiskError | None = None

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        return fn(*args)

    def replace_file(self, path: str, data: bytes, *, keep_backup: bool = True, checksum_path: str | None = None) -> None:
        if self.fault is not None:
            raise self.fault
        super().replace_file(path, data, keep_backup=keep_backup, checksum_path=checksum_path)


class Rig:
    """A whole name server in memory, on a clock that stands still, with clients to ask it."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.net = MemoryNet(self.clock)
        self.disk = InlineDisk()
        self.config = NamesrvConfig(
            kv_config_path=str(directory / "namesrv" / "kvConfig.json"),
            config_store_path=str(directory / "namesrv" / "namesrv.properties"),
            **settings,
        )
        self.controller = NamesrvController(self.config, net=self.net, clock=self.clock, disk=self.disk)
        self._clients: list[RemotingClient] = []

    async def __aenter__(self) -> Rig:
        await self.controller.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for client in self._clients:
            await client.close()
        await self.controller.stop()
        await settle()

    def client(self) -> RemotingClient:
        client = RemotingClient(self.net, self.clock)
        self._clients.append(client)
        return client

    async def ask(
        self,
        header: RequestHeader | int,
        body: bytes = b"",
        *,
        version: int = 513,
        extra: dict[str, str] | None = None,
        client: RemotingClient | None = None,
    ) -> RemotingCommand:
        """One request over a connection (of its own, unless a client is given) and its answer."""
        command = RemotingCommand.request(header, body)
        command.version = version
        if extra:
            command.ext_fields = {**(command.ext_fields or {}), **extra}
        host, port = self.controller.address
        asker = client or self.client()
        answer = await asker.invoke(f"127.0.0.1:{port}" if host == "0.0.0.0" else f"{host}:{port}", command, 3_000)
        if client is None:
            await asker.close()
            self._clients.remove(asker)
        return answer

    async def register(
        self,
        client: RemotingClient,
        name: str = "broker-a",
        broker_id: int = 0,
        *,
        table: dict[str, TopicConfig] | None = None,
        counter: int = 1,
        addr: str | None = None,
        body: bytes | None = None,
        extra: dict[str, str] | None = None,
        version: int = 513,
        **fields: Any,
    ) -> RemotingCommand:
        wrapper = TopicConfigWrapper(
            topic_config_table=topics(*TWO_TOPICS) if table is None else table,
            data_version=DataVersion(0, 1_000, counter),
        )
        header = RegisterBrokerRequestHeader(
            broker_name=name,
            broker_addr=addr or f"{name}-{broker_id}:10911",
            cluster_name="C",
            ha_server_addr=f"ha-of-{name}-{broker_id}:1",
            broker_id=broker_id,
            enable_acting_master=fields.pop("enable_acting_master", False),
            **fields,
        )
        if body is None:
            body = encode_register_broker_body(RegisterBrokerBody(wrapper, []))
        return await self.ask(header, body, client=client, extra=extra, version=version)
