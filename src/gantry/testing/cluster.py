"""A name server and a broker inside a test: real sockets on free loopback ports, or all in memory."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from gantry.cli.embedded import EmbeddedServer, EmbeddedSettings
from gantry.cli.ephemeral import make_ephemeral_dir, remove_tree
from gantry.client import Doors
from gantry.runtime.clock import Clock, SystemClock
from gantry.runtime.disk import Disk
from gantry.runtime.net import AsyncioNet, Net
from gantry.runtime.rng import Rng, SystemRng
from gantry.runtime.system_disk import SystemDisk


class LocalCluster:
    """Runs in the loop of the test.

        async with LocalCluster() as cluster:
            async with Producer("p", name_servers=cluster.name_servers) as producer:
                await producer.send(Message.of("T", b"hello"))

    Topics are created by the first send. The store lies in memory-backed storage and is removed at the end, unless
    store_dir is given; then it stays, and the next cluster on it finds its messages.
    Simulated doors (MemoryNet, VirtualClock, MemoryDisk) may be given; clients must then use cluster.doors.
    """

    def __init__(
        self,
        *,
        store_dir: str | None = None,
        broker: dict[str, str] | None = None,
        net: Net | None = None,
        clock: Clock | None = None,
        disk: Disk | None = None,
        rng: Rng | None = None,
    ) -> None:
        """broker: settings of the broker by official name, e.g. {"flushDiskType": "SYNC_FLUSH"}."""
        self._own_disk = SystemDisk() if disk is None else None
        self.doors = Doors(
            net=net or AsyncioNet(),
            clock=clock or SystemClock(),
            rng=rng or SystemRng(),
            disk=disk or self._own_disk or SystemDisk(),
        )
        self._keep = store_dir is not None
        self._store_dir = store_dir
        self._broker = dict(broker or {})
        self._server: EmbeddedServer | None = None

    async def start(self) -> None:
        """Raises: as EmbeddedServer.start."""
        doors = self.doors
        if self._store_dir is None:
            self._store_dir = make_ephemeral_dir(doors.disk, doors.rng)
        settings = EmbeddedSettings(
            store_dir=self._store_dir,
            namesrv_port=0,
            broker_port=0,
            broker=self._broker,
        )
        server = EmbeddedServer(settings, net=doors.net, clock=doors.clock, disk=doors.disk, rng=doors.rng)
        try:
            await server.start()
        except BaseException:
            self._clean()
            raise
        self._server = server

    async def stop(self) -> None:
        server, self._server = self._server, None
        try:
            if server is not None:
                await server.stop()
        finally:
            self._clean()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def server(self) -> EmbeddedServer:
        """The running servers. Raises: RuntimeError outside of start() and stop()."""
        if self._server is None:
            raise RuntimeError("the cluster is not started; use 'async with LocalCluster() as cluster'")
        return self._server

    @property
    def name_servers(self) -> str:
        """For clients: `127.0.0.1:port`."""
        return self.server.name_server_address

    @property
    def broker_address(self) -> str:
        return self.server.broker_address

    @property
    def store_dir(self) -> str:
        if self._store_dir is None:
            raise RuntimeError("the cluster is not started")
        return self._store_dir

    async def restart_broker(self) -> None:
        """Stop and start the broker on the same store and port."""
        await self.server.restart_broker()

    def _clean(self) -> None:
        if not self._keep and self._store_dir is not None:
            remove_tree(self.doors.disk, self._store_dir)
            self._store_dir = None
        if self._own_disk is not None:
            self._own_disk.close()
