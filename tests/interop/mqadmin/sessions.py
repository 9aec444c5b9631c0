"""Running mqadmin: many commands in one JVM, or one command as the process an operator starts; and the clients beside it."""

from __future__ import annotations

import base64
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from .. import artifacts
from ..cluster import JVM_SMALL

HERE = Path(__file__).resolve().parent
MAIN_CLASS = "org.apache.rocketmq.tools.command.MQAdminStartup"
COMMAND_TIMEOUT_S = 30.0
CLIENTS_TIMEOUT_S = 45.0


class SessionFailed(RuntimeError):
    """A JVM of ours said something unexpected, or nothing in time."""


@dataclass(frozen=True)
class Outcome:
    """What one command left behind.

    `files` holds the files it wrote below its working directory: path -> text.
    """

    status: int
    out: str
    err: str
    elapsed_s: float
    files: Mapping[str, str] = field(default_factory=dict)


def class_path() -> str:
    """The driver programs of this folder and the official server and tool jars."""
    jars = artifacts.server_jars()
    classes = artifacts.java_classes("mqadmin-driver", sorted((HERE / "java").glob("*.java")), jars)
    return f"{classes}:{jars}/*"


def _java(home: Path, *properties: str) -> list[str]:
    return [
        artifacts.find_tool("java"),
        *JVM_SMALL,
        "-Xmx256m",
        f"-Duser.home={home}",
        "-Duser.timezone=UTC",
        f"-Drmq.logback.configurationFile={HERE / 'quiet.logback.xml'}",
        *properties,
        "-cp",
        class_path(),
    ]


def _environment(home: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in {"NAMESRV_ADDR", "JAVA_TOOL_OPTIONS"}}
    return {**kept, "HOME": str(home), "ROCKETMQ_HOME": str(home)}


class AdminSession:
    """mqadmin against one name server.

    `run` gives the command to a JVM that stays for the next one; `run_process` starts the tool as the `mqadmin` script
    does. Both give the same `Outcome`. Exit status and output of a command that calls `System.exit` are real: that JVM
    is gone then, and the next command starts another.
    """

    def __init__(self, folder: Path, namesrv_address: str) -> None:
        self.folder = folder
        self.namesrv_address = namesrv_address
        self._process: subprocess.Popen[bytes] | None = None
        self._known_files: set[Path] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, arguments: Sequence[str]) -> Outcome:
        began = time.monotonic()
        process = self._started()
        assert process.stdin is not None
        process.stdin.write(base64.b64encode("\0".join(arguments).encode()) + b"\n")
        process.stdin.flush()
        while True:
            words = self._read_line(process, began + COMMAND_TIMEOUT_S, arguments).split(" ")
            if words[0] == "done" and len(words) == 4:
                return self._outcome(int(words[1]), words[2], words[3], began)
            if words[0] == "exit" and len(words) == 3:
                status = process.wait(COMMAND_TIMEOUT_S)
                self._process = None
                return self._outcome(status, words[1], words[2], began)

    def run_process(self, arguments: Sequence[str]) -> Outcome:
        began = time.monotonic()
        done = subprocess.run(
            [*_java(self.folder, f"-Drocketmq.namesrv.addr={self.namesrv_address}"), MAIN_CLASS, *arguments],
            cwd=self.folder,
            env=_environment(self.folder),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        elapsed_s = time.monotonic() - began
        return Outcome(done.returncode, done.stdout, done.stderr, elapsed_s, self._new_files())

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [*_java(self.folder, f"-Dgantry.namesrv={self.namesrv_address}"), "AdminDriver"],
                cwd=self.folder,
                env=_environment(self.folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
        return self._process

    def _read_line(self, process: subprocess.Popen[bytes], deadline: float, arguments: Sequence[str]) -> str:
        assert process.stdout is not None
        line = _read_line(process.stdout, deadline)
        if line is None:
            process.kill()
            process.wait()
            self._process = None
            raise SessionFailed(f"mqadmin {' '.join(arguments)}: no answer within {COMMAND_TIMEOUT_S} s")
        if not line:
            status = process.wait()
            self._process = None
            raise SessionFailed(f"mqadmin {' '.join(arguments)}: the JVM ended with {status} and no answer")
        return line.decode("ascii", "replace")

    def _outcome(self, status: int, out: str, err: str, began: float) -> Outcome:
        out, err = (base64.b64decode(text).decode("utf-8", "replace") for text in (out, err))
        return Outcome(status, out, err, time.monotonic() - began, self._new_files())

    def _new_files(self) -> dict[str, str]:
        found = {path for path in self.folder.rglob("*") if path.is_file()}
        new = sorted(found - self._known_files)
        self._known_files = found
        return {str(path.relative_to(self.folder)): path.read_text("utf-8", "replace") for path in new}


class ConnectedClients:
    """An official producer and an official push consumer that stay connected until `close`."""

    def __init__(self, folder: Path, namesrv_address: str, arguments: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            # After a reset the client looks for its queues again at the next rebalance, by default every 20 s.
            [
                *_java(folder, "-Drocketmq.client.rebalance.waitInterval=500"),
                "ConnectedClients",
                namesrv_address,
                *arguments,
            ],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        line = _read_line(self._process.stdout, time.monotonic() + CLIENTS_TIMEOUT_S)
        if line != b"ready":
            raise SessionFailed(f"the connected clients said {line!r} instead of ready")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _read_line(stream: IO[bytes], deadline: float) -> bytes | None:
    """One line without its end; empty at the end of the stream, None when `deadline` passed first."""
    line = bytearray()
    while True:
        readable, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return None
        # Unbuffered, so that select tells the truth; a line is at most some 100 KiB and arrives in few reads.
        chunk = os.read(stream.fileno(), 1 << 16)
        line += chunk
        if not chunk or line.endswith(b"\n"):
            return bytes(line).rstrip(b"\n")
