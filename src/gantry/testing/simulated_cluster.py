"""A cluster of simulated machines: one seed decides everything, and time passes only as the scenario needs it.

cluster = SimulatedCluster(seed=7, broker_count=2)

async def scenario() -> None:
    async with cluster.producer() as producer:
        await producer.send(Message.of("Orders", b"one coffee"))
        await cluster.crash(cluster.brokers[0], "subset")
        ...

await cluster.run(scenario)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from gantry.broker import BrokerConfig, BrokerController
from gantry.cli.embedded import SMALL_FILES
from gantry.client import (
    ConsumeFromWhere,
    ConsumerOptions,
    Doors,
    Producer,
    ProducerOptions,
    PullConsumer,
    PushConsumer,
    TransactionListener,
    TransactionProducer,
)
from gantry.client.listener import Listener
from gantry.namesrv import NamesrvConfig, NamesrvController
from gantry.runtime.address import format_address, format_address_list
from gantry.runtime.net import Net
from gantry.runtime.rng import Rng

from .memory_disk import MemoryDisk
from .memory_net import MemoryNet
from .memory_nodes import Keep
from .seeded_rng import SeededRng
from .virtual_clock import VirtualClock

T = TypeVar("T")

_STORE = "/store"


class SimulatedNameServer:
    """One name server of a cluster; start and stop it as often as you like, its address stays."""

    def __init__(self, cluster: SimulatedCluster, index: int) -> None:
        self.name = f"namesrv-{index}"
        self._cluster = cluster
        self._host = cluster.host_of(self.name)
        self._port = 0
        self._disk = MemoryDisk(clock=cluster.clock)
        self._controller: NamesrvController | None = None

    @property
    def address(self) -> str:
        return format_address(self._host, self._port)

    @property
    def controller(self) -> NamesrvController:
        """Raises: RuntimeError while it is stopped."""
        if self._controller is None:
            raise RuntimeError(f"{self.name} is stopped")
        return self._controller

    async def start(self) -> None:
        config = NamesrvConfig.from_properties(
            {
                "listenPort": str(self._port),
                "bindAddress": self._host,
                "kvConfigPath": f"{_STORE}/namesrv/kvConfig.json",
                "configStorePath": f"{_STORE}/namesrv/namesrv.properties",
            }
        )
        controller = NamesrvController(config, net=self._cluster.net_of(self.name), clock=self._cluster.clock, disk=self._disk)
        _, self._port = await controller.start()
        self._controller = controller

    async def stop(self) -> None:
        controller, self._controller = self._controller, None
        if controller is not None:
            await controller.stop()


class SimulatedBroker:
    """One broker of a cluster, with a store of its own."""

    def __init__(self, cluster: SimulatedCluster, index: int, settings: Mapping[str, str]) -> None:
        self.name = f"broker-{chr(ord('a') + index)}"
        self.settings = dict(settings)
        """Settings by official name, besides those the cluster gives; changes take effect at the next start."""
        self.disk = MemoryDisk(clock=cluster.clock)
        self._cluster = cluster
        self._host = cluster.host_of(self.name)
        self._port = 0
        self._controller: BrokerController | None = None

    @property
    def address(self) -> str:
        return format_address(self._host, self._port)

    @property
    def running(self) -> bool:
        return self._controller is not None

    @property
    def controller(self) -> BrokerController:
        """Raises: RuntimeError while it is stopped."""
        if self._controller is None:
            raise RuntimeError(f"{self.name} is stopped")
        return self._controller

    async def start(self) -> None:
        """Returns when it answers and every running name server knows it."""
        config = BrokerConfig.from_properties(
            {
                "brokerName": self.name,
                "brokerIP1": self._host,
                "brokerIP2": self._host,
                "bindAddress": self._host,
                "listenPort": str(self._port),
                "namesrvAddr": self._cluster.name_servers,
                "storePathRootDir": _STORE,
                **SMALL_FILES,
                **self.settings,
            }
        )
        controller = BrokerController(
            config,
            net=self._cluster.net_of(self.name),
            clock=self._cluster.clock,
            disk=self.disk,
            rng=self._cluster.rng_of(self.name),
        )
        await controller.start()
        self._controller = controller
        self._port = int(controller.address.rpartition(":")[2])

    async def stop(self) -> None:
        """Stop in order: nothing is lost, name servers are told."""
        controller, self._controller = self._controller, None
        if controller is not None:
            await controller.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()


class SimulatedCluster:
    """Name servers and brokers, every one a host of its own (10.0.0.1, 10.0.0.2, ...) with its own disk; clients are the
    host 10.0.0.200.

    run() starts the cluster, runs a scenario and stops the cluster, all in virtual time. `net`, `clock` and each broker's
    `disk` are there for the scenario to disturb. With `split_writes` every write on the network is cut at random places.
    """

    def __init__(
        self,
        *,
        seed: int,
        name_server_count: int = 1,
        broker_count: int = 1,
        broker: Mapping[str, str] | None = None,
        split_writes: bool = True,
    ) -> None:
        """broker: settings of all brokers by official name, e.g. {"flushDiskType": "SYNC_FLUSH"}."""
        self.seed = seed
        self.clock = VirtualClock()
        self._rng = SeededRng(seed)
        self._hosts = {"client": "10.0.0.200"}
        net_rng = self._rng.fork("net") if split_writes else None
        self.net = MemoryNet(self.clock, net_rng, host=self._hosts["client"])
        self._client_count = 0
        self.name_server_list = [SimulatedNameServer(self, index) for index in range(name_server_count)]
        self.brokers = [SimulatedBroker(self, index, broker or {}) for index in range(broker_count)]

    @property
    def name_servers(self) -> str:
        """For clients: `host:port` of every name server, joined by `;`."""
        return format_address_list(server.address for server in self.name_server_list)

    def new_doors(self) -> Doors:
        """What one more client of this cluster reaches the world through."""
        self._client_count += 1
        rng = self.rng_of(f"client {self._client_count}")
        return Doors(net=self.net, clock=self.clock, rng=rng, disk=MemoryDisk(clock=self.clock))

    def producer(self, group: str = "test-producer") -> Producer:
        """A producer of this cluster; the caller starts and stops it (`async with`)."""
        return Producer(group, name_servers=self.name_servers, doors=self.new_doors())

    def transaction_producer(
        self,
        listener: TransactionListener,
        group: str = "test-transactions",
        *,
        topics: Sequence[str] = (),
        options: ProducerOptions | None = None,
    ) -> TransactionProducer:
        """A transactional producer of this cluster; the caller starts and stops it."""
        return TransactionProducer(
            group, listener, topics=topics, options=options, name_servers=self.name_servers, doors=self.new_doors()
        )

    def push_consumer(
        self, listener: Listener, group: str = "test-consumer", *, options: ConsumerOptions | None = None
    ) -> PushConsumer:
        """A push consumer of this cluster; by default a new group begins with the oldest message."""
        options = options or ConsumerOptions(consume_from_where=ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET)
        return PushConsumer(group, listener, name_servers=self.name_servers, options=options, doors=self.new_doors())

    def pull_consumer(self, group: str = "test-consumer") -> PullConsumer:
        return PullConsumer(group, name_servers=self.name_servers, doors=self.new_doors())

    async def run(self, scenario: Callable[[], Awaitable[T]], *, limit_ms: float = 3_600_000) -> T:
        """Start, do the scenario, stop. Raises: what the scenario raises, with the seed noted; TimeoutError when it is not
        done within `limit_ms` of virtual time."""

        async def whole() -> T:
            await self.start()
            try:
                return await scenario()
            finally:
                await self.stop()

        try:
            return await self.clock.run_until(whole(), limit_ms=limit_ms)
        except BaseException as error:
            error.add_note(f"seed {self.seed}")
            raise

    async def start(self) -> None:
        try:
            for server in self.name_server_list:
                await server.start()
            for broker in self.brokers:
                await broker.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Brokers first: they take their leave of the name servers. Raises: the first error, after all were stopped."""
        first: Exception | None = None
        for stop in [part.stop for part in self.brokers] + [part.stop for part in self.name_server_list]:
            try:
                await stop()
            except Exception as error:
                first = first or error
        if first is not None:
            raise first

    async def crash(self, broker: SimulatedBroker, keep: Keep = "all") -> None:
        """A broker's process is killed (keep="all"), or its machine loses power ("none", "subset"), and it stays down.

        Nobody is told: its connections break, and what was not on its medium is gone as `keep` says. start() brings it up
        again on what is left.
        """
        left = broker.disk.crashed_copy(self._rng.fork(f"crash {self.clock.monotonic_ns()}"), keep)
        host = self.host_of(broker.name)
        self.net.cut_off(host)
        self.net.break_connections(host)
        try:
            # The old objects wind down against a disk and a network that nobody sees any more.
            await broker.stop()
        finally:
            broker.disk = left
            self.net.reconnect(host)

    def host_of(self, name: str) -> str:
        return self._hosts.setdefault(name, f"10.0.0.{len(self._hosts)}")

    def net_of(self, name: str) -> Net:
        return self.net.host(self.host_of(name))

    def rng_of(self, name: str) -> Rng:
        return self._rng.fork(name)
