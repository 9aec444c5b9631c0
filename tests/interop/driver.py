"""The driver programs as Python objects: one process with an official client in it, asked line by line."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from . import artifacts
from .cluster import JVM_SMALL, LOCK_LIVE_MS

CALL_TIMEOUT_S = 60.0
READY_TIMEOUT_S = 30.0
LOCK_RENEW_MS = LOCK_LIVE_MS // 4
"""Clients renew the lock of an orderly queue well inside its life on the broker, in the proportion of their defaults."""


class DriverError(RuntimeError):
    """The official client refused or failed; the text is its own."""


@dataclass(frozen=True)
class Received:
    """One consumption, as the client's listener saw it; times are wall clock microseconds of this machine."""

    consumer: str
    topic: str
    queue: int
    offset: int
    body: str
    msg_id: str
    offset_msg_id: str | None
    reconsume: int
    tags: str | None
    keys: str | None
    property: str | None
    store_ms: int
    born_ms: int
    size: int
    began: int
    ended: int


@dataclass(frozen=True)
class Checked:
    """One question to a transactional producer, as its listener saw it, and what it answered."""

    producer: str
    topic: str
    queue: int
    offset: int
    body: str
    msg_id: str
    transaction_id: str | None
    times: str | None
    tags: str | None
    keys: str | None
    state: str


@dataclass
class Call:
    """One request under way; `result` waits for its answer."""

    driver: Driver
    op: str
    done: threading.Event = field(default_factory=threading.Event)
    answer: dict[str, Any] | None = None

    def result(self, timeout_s: float = CALL_TIMEOUT_S) -> dict[str, Any]:
        if not self.done.wait(timeout_s):
            self.driver.dump_stacks()
            raise TimeoutError(f"{self.driver.name} did not answer {self.op} in {timeout_s} s\n{self.driver.tail()}")
        assert self.answer is not None
        if self.answer.get("error"):
            raise DriverError(f"{self.driver.name} {self.op}: {self.answer['error']}\n{self.driver.tail()}")
        return self.answer


_ABSENT = {"keys": None, "tags": None, "property": None, "offset_msg_id": None}
"""Members the Java driver leaves out when they are null."""
_CHECK_ABSENT = {"keys": None, "tags": None, "times": None, "transaction_id": None}


class Driver:
    """One process of one official client. `call` asks and waits; `begin` asks and leaves the waiting to the caller."""

    def __init__(self, kind: ClientKind, name: str, folder: Path) -> None:
        self.kind = kind
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self.received: list[Received] = []
        self.checked: list[Checked] = []
        self._changed = threading.Condition()
        self._calls: dict[int, Call] = {}
        self._ids = itertools.count(1)
        self._errors: deque[str] = deque(maxlen=400)
        self._ready = threading.Event()
        self._write_lock = threading.Lock()
        unwanted = {"NAMESRV_ADDR", "JAVA_TOOL_OPTIONS"}
        environment = {key: value for key, value in os.environ.items() if key not in unwanted}
        self._process = subprocess.Popen(
            kind.command(folder),
            cwd=folder,
            env={**environment, "HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            bufsize=1,
        )
        for work in (self._read_lines, self._read_errors):
            threading.Thread(target=work, daemon=True).start()

    def wait_ready(self) -> Self:
        if not self._ready.wait(READY_TIMEOUT_S):
            raise TimeoutError(f"{self.name} was not ready in {READY_TIMEOUT_S} s\n{self.tail()}")
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def begin(self, op: str, **members: object) -> Call:
        call = Call(self, op)
        number = next(self._ids)
        self._calls[number] = call
        line = json.dumps({"call": number, "op": op, **members})
        with self._write_lock:
            assert self._process.stdin is not None
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return call

    def call(self, op: str, *, timeout_s: float = CALL_TIMEOUT_S, **members: object) -> dict[str, Any]:
        return self.begin(op, **members).result(timeout_s)

    def consumed(self, consumer: str) -> list[Received]:
        """What the named consumer has consumed so far, in the order its lines came."""
        with self._changed:
            return [each for each in self.received if each.consumer == consumer]

    def kill(self) -> None:
        """SIGKILL; returns when everything the process had written has been read."""
        self._process.kill()
        self._process.wait()
        with self._changed:
            self._changed.wait_for(lambda: self._drained, timeout=10)

    def close(self) -> None:
        """Ends the process by ending its input."""
        if self.running:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def tail(self) -> str:
        return "\n".join(list(self._errors)[-200:])

    def dump_stacks(self) -> None:
        """Ends a Go process that does not answer in the way that makes it tell where it stands."""
        if self.kind.id == "go" and self.running:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(10)
            time.sleep(0.2)  # its last lines are being read by another thread

    _drained = False

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            if not text.endswith("\n"):
                break  # cut by a kill
            line = json.loads(text)
            event = line.pop("event", None)
            if event == "message":
                with self._changed:
                    self.received.append(Received(**{**_ABSENT, **line}))
                    self._changed.notify_all()
            elif event == "check":
                self.checked.append(Checked(**{**_CHECK_ABSENT, **line}))
            elif event == "ready":
                self._ready.set()
            else:
                call = self._calls.pop(line["call"])
                call.answer = line
                call.done.set()
        with self._changed:
            self._drained = True
            self._changed.notify_all()
        for call in list(self._calls.values()):
            call.answer = {"error": "the driver process ended"}
            call.done.set()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for text in self._process.stderr:
            self._errors.append(text.rstrip())


@dataclass(frozen=True)
class ClientKind:
    """Which official client."""

    id: str
    queries: bool
    """The client can look messages up by id and key, search offsets by time, and seek (the Go client cannot)."""
    heartbeat_s: float
    """How soon a broker hears of a new or returning producer by itself, at most."""

    def command(self, folder: Path) -> list[str]:
        raise NotImplementedError


class JavaClient(ClientKind):
    """rocketmq-client; what is shorter than its default is said in system properties it reads itself."""

    def command(self, folder: Path) -> list[str]:
        return [
            artifacts.find_tool("java"),
            *JVM_SMALL,
            "-Xms32m",
            "-Xmx192m",
            f"-Duser.home={folder}",
            f"-Drocketmq.client.logRoot={folder}",
            "-Drocketmq.client.logLevel=WARN",
            # By default the first look at the queues comes 1 s after the start, and so does a heartbeat; where they
            # meet, 5.5.0 drops its own heartbeat and is answered SUBSCRIPTION_NOT_LATEST until the next one, 30 s later.
            "-Drocketmq.client.rebalance.minInterval=200",
            f"-Drocketmq.client.rebalance.lockInterval={LOCK_RENEW_MS}",
            f"-Drocketmq.client.rebalance.lockMaxLiveTime={LOCK_LIVE_MS * 3 // 4}",
            *artifacts.java_driver(self.id.removeprefix("java-")),
        ]


class GoClient(ClientKind):
    """rocketmq-client-go/v2; its lock interval is an option of the consumer."""

    def command(self, folder: Path) -> list[str]:
        return [str(artifacts.go_driver())]


CLIENTS: dict[str, ClientKind] = {
    kind.id: kind
    for kind in (
        *(JavaClient(f"java-{version}", queries=True, heartbeat_s=2) for version in artifacts.CLIENT_VERSIONS),
        GoClient("go", queries=False, heartbeat_s=35),
    )
}


class Crew:
    """Three driver processes of one client kind, kept for many tests; a killed one is replaced by a new process."""

    def __init__(self, kind: ClientKind, folder: Path, size: int = 3) -> None:
        self.kind = kind
        self._folder = folder
        self._size = size
        self._drivers: list[Driver] = []

    def members(self) -> list[Driver]:
        """The processes, all alive and ready, at the same places as before."""
        for place in range(self._size):
            if place >= len(self._drivers):
                self._drivers.append(self._new(place))
            elif not self._drivers[place].running:
                self._drivers[place] = self._new(place)
        return [driver.wait_ready() for driver in self._drivers]

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()

    def _new(self, place: int) -> Driver:
        return Driver(self.kind, f"{self.kind.id}-{place}", self._folder / f"{self.kind.id}-{place}")


def eventually(met: Callable[[], Any], timeout_s: float, what: Callable[[], str] | str, poll_s: float = 0.02) -> Any:
    """Waits until `met` gives something true and returns it; otherwise fails, saying what the state is."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = met()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what if isinstance(what, str) else what()}")
        time.sleep(poll_s)
