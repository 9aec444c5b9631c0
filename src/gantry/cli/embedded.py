"""A name server and a broker in one process: what `gantry dev`, `gantry demo` and the test cluster run."""

from __future__ import annotations

import msgspec

from gantry.broker import BrokerConfig, BrokerController
from gantry.namesrv import NamesrvConfig, NamesrvController
from gantry.runtime.address import format_address
from gantry.runtime.clock import Clock, SystemClock
from gantry.runtime.disk import Disk
from gantry.runtime.loop import may_stay_awake
from gantry.runtime.net import Net
from gantry.runtime.rng import Rng

MIB = 1024 * 1024

# Files of the official sizes would take 1 GiB and more before the first message; a store on a desk stays small. The official
# broker opens it as well, when it is told the same sizes.
SMALL_FILES = {
    "mappedFileSizeCommitLog": str(16 * MIB),
    "mappedFileSizeConsumeQueue": str(20 * 6000),
    "maxHashSlotNum": "50000",
    "maxIndexNum": "200000",
    "hotTailBytesMax": str(8 * MIB),
    "prefaultWindowBytes": str(1 * MIB),
}


class EmbeddedSettings(msgspec.Struct, frozen=True):
    """Ports may be 0: free ones are taken. `broker` holds further broker settings by official name."""

    store_dir: str
    host: str = "127.0.0.1"
    namesrv_port: int = 9876
    broker_port: int = 10911
    broker_name: str = "broker-a"
    broker: dict[str, str] = msgspec.field(default_factory=dict)


class EmbeddedServer:
    """One name server and one broker on one event loop, over real or simulated doors.

    start() returns when both answer and the broker is registered; stop() when everything is on disk and closed. Neither
    closes the doors: they belong to the caller.
    """

    def __init__(self, settings: EmbeddedSettings, *, net: Net, clock: Clock, disk: Disk, rng: Rng) -> None:
        self.settings = settings
        self._net = net
        self._clock = clock
        self._disk = disk
        self._rng = rng
        self._namesrv: NamesrvController | None = None
        self._broker: BrokerController | None = None
        self.name_server_address = ""
        self.broker_address = ""
        self.ready_lines: list[str] = []

    async def start(self) -> None:
        """Raises: ListenError for a port in use; StoreLocked, StoreDamaged, DiskError for the store directory."""
        settings = self.settings
        namesrv = NamesrvController(
            NamesrvConfig.from_properties(
                {
                    "listenPort": str(settings.namesrv_port),
                    "bindAddress": settings.host,
                    "kvConfigPath": f"{settings.store_dir}/namesrv/kvConfig.json",
                    "configStorePath": f"{settings.store_dir}/namesrv/namesrv.properties",
                }
            ),
            net=self._net,
            clock=self._clock,
            disk=self._disk,
        )
        self._namesrv = namesrv
        host, port = await namesrv.start()
        self.name_server_address = format_address(host, port)
        try:
            line = await self._start_broker()
        except BaseException:
            await namesrv.stop()
            raise
        self.ready_lines = [
            f"The Name Server boot success. serializeType=JSON, address {self.name_server_address}",
            line,
        ]

    async def stop(self) -> None:
        """The broker first: it takes its leave of the name server."""
        if self._broker is not None:
            await self._broker.stop()
        if self._namesrv is not None:
            await self._namesrv.stop()

    async def restart_broker(self) -> None:
        """Stop the broker and start it on the same store and port, as a deploy would."""
        if self._broker is not None:
            await self._broker.stop()
        await self._start_broker()

    @property
    def broker(self) -> BrokerController:
        """The running broker. Raises: RuntimeError before start()."""
        if self._broker is None:
            raise RuntimeError("the embedded server is not started")
        return self._broker

    @property
    def namesrv(self) -> NamesrvController:
        """The running name server. Raises: RuntimeError before start()."""
        if self._namesrv is None:
            raise RuntimeError("the embedded server is not started")
        return self._namesrv

    async def _start_broker(self) -> str:
        settings = self.settings
        port = int(self.broker_address.rpartition(":")[2] or settings.broker_port)
        config = BrokerConfig.from_properties(
            {
                "brokerName": settings.broker_name,
                "brokerIP1": settings.host,
                "brokerIP2": settings.host,
                "bindAddress": settings.host,
                "listenPort": str(port),
                "namesrvAddr": self.name_server_address,
                "storePathRootDir": settings.store_dir,
                "autoCreateTopicEnable": "true",
                **SMALL_FILES,
                **settings.broker,
            }
        )
        broker = BrokerController(
            config,
            net=self._net,
            clock=self._clock,
            disk=self._disk,
            rng=self._rng,
            busy_poll=isinstance(self._clock, SystemClock) and may_stay_awake(),
        )
        line = await broker.start()
        self._broker = broker
        self.broker_address = broker.address
        return line
