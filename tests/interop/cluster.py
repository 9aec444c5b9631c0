"""Name servers and brokers as child processes, the official ones and ours behind one interface.

Every server lives in a folder of its own (store, logs, `user.home`), listens on loopback only, is waited for by its
"boot success" line, and is ended by its process id.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from . import artifacts

HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
LOCK_LIVE_MS = 3_000
"""How long a broker keeps an orderly queue for its owner here (60 s by default): bounds the wait after a killed owner."""
CLUSTER_NAME = "DefaultCluster"
DELAY_LEVELS = "1s 1s 1s 1s 1s 2s 2s 3s 3s 4s 4s 5s 5s 6s 6s 7s 7s 8s"
BROKER_PORT_OFFSETS = (0, -2, 1)
"""A broker listens on its port, on the VIP port two below, and (the official one) on the HA port one above."""

# Below the range the kernel hands out for outgoing connections, so that a client socket cannot take a chosen port.
PORT_RANGE = (15_000, 32_000)

JVM_SMALL = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-XX:-UsePerfData")


class ServerFailed(RuntimeError):
    """A server ended or stayed silent before it was ready; the text carries the end of its output."""


def free_port(offsets: Iterable[int] = (0,)) -> int:
    """A loopback port that is free together with the ports at `offsets` from it."""
    rng = random.Random(os.urandom(8))
    for _ in range(200):
        port = rng.randrange(*PORT_RANGE)
        try:
            with ExitStack() as stack:
                for offset in offsets:
                    probe = stack.enter_context(socket.socket())
                    probe.bind((HOST, port + offset))
            return port
        except OSError:
            continue
    raise RuntimeError(f"no free port between {PORT_RANGE[0]} and {PORT_RANGE[1]}")


def ask(address: str, code: int, fields: Mapping[str, str], body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """One request to a server in the fewest bytes of the protocol; returns the answer's code, fields and body.

    The harness has its own few lines for this, so that what it waits for does not rest on the code under test.
    """
    with connected(address) as connection:
        return ask_on(connection, code, fields, body)


def connected(address: str) -> socket.socket:
    """A connection for `ask_on`."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def ask_on(
    connection: socket.socket, code: int, fields: Mapping[str, str], body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """As `ask`, for requests that belong together: a broker forgets a group with its last connection."""
    opaque = next(_opaques)
    header = {"code": code, "flag": 0, "language": "OTHER", "opaque": opaque, "version": 401}
    data = json.dumps({**header, "extFields": dict(fields)}).encode()
    connection.sendall(struct.pack(">II", 4 + len(data) + len(body), len(data)) + data + body)
    with connection.makefile("rb", buffering=0) as answers:
        while True:
            (length,) = struct.unpack(">I", _exactly(answers, 4))
            frame = _exactly(answers, length)
            end = 4 + (struct.unpack(">I", frame[:4])[0] & 0xFFFFFF)
            told = json.loads(frame[4:end])
            # The server has things to say of its own, of groups that changed.
            if told["opaque"] == opaque and told["flag"] & 1:
                return told["code"], told.get("extFields") or {}, frame[end:]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise ConnectionError(f"the server closed the connection {size - len(data)} bytes before the end of an answer")
        data += more
    return data


def has_route(namesrv_address: str, broker_address: str, topic: str = "TBW102") -> bool:
    """Whether a name server routes `topic` to a broker."""
    code, _, body = ask(namesrv_address, _GET_ROUTEINFO_BY_TOPIC, {"topic": topic})
    return code == 0 and broker_address.encode() in body


def uncommitted(broker_address: str, group: str, topic: str, queues: int) -> int:
    """How many messages of a topic lie behind the offsets that a group has committed to the broker."""
    behind = 0
    for queue in range(queues):
        place = {"topic": topic, "queueId": str(queue)}
        end = int(ask(broker_address, _GET_MAX_OFFSET, place)[1]["offset"])
        code, fields, _ = ask(broker_address, _QUERY_CONSUMER_OFFSET, {**place, "consumerGroup": group})
        behind += end - (int(fields["offset"]) if code == 0 else 0)
    return behind


_QUERY_CONSUMER_OFFSET = 14
_GET_MAX_OFFSET = 30
_GET_ROUTEINFO_BY_TOPIC = 105
_UPDATE_BROKER_CONFIG = 25
_opaques = itertools.count(1)


class Server:
    """One child process. Subclasses say the command and the environment.

    `start` returns when the ready line was printed. `stop` asks with SIGTERM and waits, `kill` is SIGKILL; after either,
    `start` begins again on the same folder and port.
    """

    ready_mark = "boot success"
    kind = "server"

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.address = f"{HOST}:{port}"
        self.ready_line = ""
        self.started_in_s = 0.0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._lines: deque[str] = deque(maxlen=400)
        self._ready = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder)}

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFailed(f"{self.kind} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        if self.running:
            raise ServerFailed(f"{self.kind} runs already as {self.pid}")
        began = time.monotonic()
        self._ready.clear()
        self._process = subprocess.Popen(
            self.command(),
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        while not self._ready.wait(0.05):
            if not self.running:
                self._reader.join(1)
                raise ServerFailed(f"{self.kind} ended with {self._process.returncode} before it was ready:\n{self.tail()}")
            if time.monotonic() - began > START_TIMEOUT_S:
                self.kill()
                raise ServerFailed(f"{self.kind} was not ready after {START_TIMEOUT_S} s:\n{self.tail()}")
        self.started_in_s = time.monotonic() - began
        return self

    def stop(self) -> int:
        """Ends the server the polite way and returns its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Ends the server at once, as a crash would."""
        return self._end(signal.SIGKILL)

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def tail(self, count: int = 60) -> str:
        """The last lines the server printed."""
        return "\n".join(list(self._lines)[-count:])

    def __enter__(self) -> Self:
        return self.start() if not self.running else self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server when nobody needs it any more."""
        if self.running:
            self.stop()

    def _end(self, how: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(how)
        try:
            status = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerFailed(f"{self.kind} did not end within {STOP_TIMEOUT_S} s of SIGTERM:\n{self.tail()}") from None
        finally:
            self._process = None
        if self._reader is not None:
            self._reader.join(2)
        return status

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.append(line.rstrip())
            if self.ready_mark in line:
                self.ready_line = line.strip()
                self._ready.set()


def _write_properties(path: Path, settings: Mapping[str, object]) -> Path:
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
    return path


class _OfficialServer(Server):
    """A Java server from the published jars with a small heap."""

    main_class = ""
    heap: tuple[str, ...] = ("-Xms64m", "-Xmx128m")
    jvm_options: tuple[str, ...] = ()
    settings: dict[str, object]

    def close(self) -> None:
        # Its polite stop takes 6 to 12 s of waiting for its own thread pools, and proves nothing about ours.
        if self.running:
            self.kill()

    def command(self) -> list[str]:
        config = _write_properties(self.folder / "server.properties", self.settings)
        return [
            artifacts.find_tool("java"),
            *JVM_SMALL,
            *self.heap,
            f"-Duser.home={self.folder}",
            *self.jvm_options,
            "-cp",
            f"{artifacts.server_jars()}/*",
            self.main_class,
            "-c",
            str(config),
        ]

    def environment(self) -> dict[str, str]:
        # ROCKETMQ_HOME must be set, and nothing inherited may point these servers elsewhere.
        kept = {key: value for key, value in os.environ.items() if key not in {"NAMESRV_ADDR", "JAVA_TOOL_OPTIONS"}}
        return {**kept, "HOME": str(self.folder), "ROCKETMQ_HOME": str(self.folder)}


class OfficialNamesrv(_OfficialServer):
    """`org.apache.rocketmq.namesrv.NamesrvStartup`."""

    kind = "official name server"
    main_class = "org.apache.rocketmq.namesrv.NamesrvStartup"

    def __init__(self, folder: Path, *, port: int | None = None, settings: Mapping[str, object] | None = None) -> None:
        super().__init__(folder, port or free_port())
        self.settings = {"listenPort": self.port, "bindAddress": HOST, **(settings or {})}


class Broker(Server):
    """What is common to the brokers: a name, a store, and being ready only when the name server knows them."""

    name: str
    store: Path
    namesrv_address: str

    def start(self) -> Self:
        super().start()
        if not self.namesrv_address:
            return self  # this one stands alone
        began = time.monotonic()
        while not has_route(self.namesrv_address, self.address):
            if not self.running or time.monotonic() - began > START_TIMEOUT_S:
                raise ServerFailed(f"{self.kind} never came to be known by the name server:\n{self.tail()}")
            self.hurry()
            time.sleep(0.1)
        self.started_in_s += time.monotonic() - began
        return self

    def hurry(self) -> None:
        """Called while the name server does not know the broker yet."""


class OfficialBroker(Broker, _OfficialServer):
    """`org.apache.rocketmq.broker.BrokerStartup`."""

    kind = "official broker"
    main_class = "org.apache.rocketmq.broker.BrokerStartup"
    # Each of its many threads that store messages keeps a buffer of more than 4 MiB outside the heap.
    heap = ("-Xms256m", "-Xmx512m", "-XX:MaxDirectMemorySize=1g")
    jvm_options = (f"-Drocketmq.broker.rebalance.lockMaxLiveTime={LOCK_LIVE_MS}",)

    def hurry(self) -> None:
        # Its first registration misses a connection that is still being made, and the next one comes 10 s later; setting
        # the permission to what it is makes it register now.
        ask(self.address, _UPDATE_BROKER_CONFIG, {}, b"brokerPermission=6")

    def __init__(
        self,
        folder: Path,
        namesrv_address: str,
        *,
        name: str = "broker-a",
        port: int | None = None,
        store: Path | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(folder, port or free_port(BROKER_PORT_OFFSETS))
        self.name = name
        self.namesrv_address = namesrv_address
        self.store = store or folder / "store"
        self.settings = broker_settings(self, namesrv_address, settings)


class _GantryServer(Server):
    """One of our commands, run as `python -m gantry.cli.<module> -c FILE`."""

    module = ""
    settings: dict[str, object]

    def command(self) -> list[str]:
        config = _write_properties(self.folder / "server.properties", self.settings)
        return [sys.executable, "-m", f"gantry.cli.{self.module}", "-c", str(config)]

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in {"NAMESRV_ADDR", "ROCKETMQ_HOME"}}
        return {**kept, "HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}


class GantryNamesrv(_GantryServer):
    """`mqnamesrv`."""

    kind = "gantry name server"
    module = "mqnamesrv"

    def __init__(self, folder: Path, *, port: int | None = None, settings: Mapping[str, object] | None = None) -> None:
        super().__init__(folder, port or free_port())
        self.settings = {"listenPort": self.port, "bindAddress": HOST, **(settings or {})}


class GantryBroker(Broker, _GantryServer):
    """`mqbroker`."""

    kind = "gantry broker"
    module = "mqbroker"
    own_settings = {"rebalanceLockMaxLiveTime": LOCK_LIVE_MS}

    def __init__(
        self,
        folder: Path,
        namesrv_address: str,
        *,
        name: str = "broker-a",
        port: int | None = None,
        store: Path | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(folder, port or free_port(BROKER_PORT_OFFSETS))
        self.name = name
        self.namesrv_address = namesrv_address
        self.store = store or folder / "store"
        self.settings = broker_settings(self, namesrv_address, {**self.own_settings, **(settings or {})})


AnyBroker = OfficialBroker | GantryBroker
AnyNamesrv = OfficialNamesrv | GantryNamesrv


def broker_settings(broker: Broker, namesrv_address: str, more: Mapping[str, object] | None = None) -> dict[str, object]:
    """The properties both brokers get: the same behaviour asked of both, and files small enough for a test machine."""
    return {
        "brokerClusterName": CLUSTER_NAME,
        "brokerName": broker.name,
        "brokerId": 0,
        "brokerRole": "ASYNC_MASTER",
        "flushDiskType": "ASYNC_FLUSH",
        "brokerIP1": HOST,
        "brokerIP2": HOST,
        "bindAddress": HOST,
        "listenPort": broker.port,
        "namesrvAddr": namesrv_address,
        "storePathRootDir": broker.store,
        "storePathCommitLog": broker.store / "commitlog",
        "mappedFileSizeCommitLog": 32 * 1024 * 1024,
        "mappedFileSizeConsumeQueue": 20 * 20_000,
        "maxHashSlotNum": 50_000,
        "maxIndexNum": 200_000,
        "diskMaxUsedSpaceRatio": 95,
        "messageDelayLevel": DELAY_LEVELS,
        "defaultTopicQueueNums": 8,
        "autoCreateTopicEnable": "true",
        "autoCreateSubscriptionGroup": "true",
        "timerWheelEnable": "true",
        "recallMessageEnable": "true",
        "mappedFileSizeTimerLog": 1024 * 1024,
        # A busy test machine must not look like a busy broker: both refuse sends that waited 200 ms or 1 s by default.
        "waitTimeMillsInSendQueue": 10_000,
        "osPageCacheBusyTimeOutMills": 10_000,
        **(more or {}),
    }


@dataclass(frozen=True)
class Topology:
    """Which of the two servers is ours."""

    id: str
    namesrv: type[AnyNamesrv]
    broker: type[AnyBroker]


TOPOLOGIES = {
    topology.id: topology
    for topology in (
        Topology("gantry", GantryNamesrv, GantryBroker),
        Topology("official-namesrv", OfficialNamesrv, GantryBroker),
        Topology("official-broker", GantryNamesrv, OfficialBroker),
        Topology("official", OfficialNamesrv, OfficialBroker),
    )
}


class Cluster:
    """One name server and one broker, started together."""

    def __init__(self, topology: Topology, folder: Path, *, settings: Mapping[str, object] | None = None) -> None:
        self.topology = topology
        self.namesrv: AnyNamesrv = topology.namesrv(folder / "namesrv")
        self.broker: AnyBroker = topology.broker(folder / "broker", self.namesrv.address, settings=settings)

    @property
    def namesrv_address(self) -> str:
        return self.namesrv.address

    def __enter__(self) -> Self:
        self.namesrv.start()
        try:
            self.broker.start()
        except BaseException:
            self.namesrv.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.broker.close()
        finally:
            self.namesrv.close()
