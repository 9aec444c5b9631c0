"""A client that speaks the remoting protocol byte by byte, and may speak it wrong; and what a server's process costs.

The bytes are made and read here without the codecs under test.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

JSON, BINARY = 0, 1
ANSWER_TIMEOUT_S = 30.0
"""How long an answer may take on a machine that is busy with other tests."""

SEND, PULL, QUERY_OFFSET, UPDATE_OFFSET, HEART_BEAT = 10, 11, 14, 15, 34


@dataclass
class Answer:
    """One response, as it stood on the wire."""

    code: int
    remark: str
    fields: dict[str, str]
    body: bytes
    opaque: int
    serialize_type: int = JSON


class PeerClosed(Exception):
    """The server closed the connection."""


@dataclass
class Peer:
    """One connection. `server` is "host:port"."""

    server: str
    timeout_s: float = ANSWER_TIMEOUT_S
    socket: socket.socket = field(init=False)
    _data: bytearray = field(init=False, default_factory=bytearray)
    _opaques: Iterable[int] = field(init=False, default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        host, _, port = self.server.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=self.timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def write(self, data: bytes) -> None:
        """Bytes as they are. A server that has closed the connection meanwhile is no error here."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def read(self) -> Answer:
        """The next answer; what the server asks of its client is passed over. Raises: PeerClosed, TimeoutError."""
        while True:
            answer = read_frame(self._frame())
            if answer is not None:
                return answer

    def _frame(self) -> bytes:
        while len(self._data) < 4 or len(self._data) < 4 + int.from_bytes(self._data[:4], "big"):
            try:
                more = self.socket.recv(1 << 18)
            except ConnectionResetError:
                more = b""
            if not more:
                raise PeerClosed(f"{self.server} closed the connection")
            self._data += more
        end = 4 + int.from_bytes(self._data[:4], "big")
        whole = bytes(self._data[4:end])
        del self._data[:end]
        return whole

    def ask(self, code: int, fields: Mapping[str, object] | None = None, body: bytes = b"", *, kind: int = JSON) -> Answer:
        """One request and its answer."""
        opaque = next(iter(self._opaques))
        self.write(request(code, fields, body, opaque=opaque, kind=kind))
        answer = self.read()
        assert answer.opaque == opaque, f"answer {answer.opaque} to request {opaque}"
        return answer

    def ask_all(self, requests: Iterable[tuple[int, Mapping[str, object] | None, bytes]]) -> list[Answer]:
        """Many requests at once; the answers in the order of the requests, in whatever order they came."""
        opaques = []
        parts = []
        for code, fields, body in requests:
            opaques.append(next(iter(self._opaques)))
            parts.append(request(code, fields, body, opaque=opaques[-1]))
        self.write(b"".join(parts))
        answers = {}
        for _ in opaques:
            answer = self.read()
            answers[answer.opaque] = answer
        return [answers[opaque] for opaque in opaques]

    def closed_without_answer(self) -> bool:
        """Waits for the server to close; False when it answers instead, or does neither in time."""
        try:
            self.read()
        except PeerClosed:
            return True
        except TimeoutError:
            return False
        return False


def frame(
    header: bytes, body: bytes = b"", *, kind: int = JSON, total: int | None = None, header_length: int | None = None
) -> bytes:
    """A frame; the lengths may lie."""
    word = (kind << 24) | (len(header) if header_length is None else header_length)
    return struct.pack(">iI", 4 + len(header) + len(body) if total is None else total, word) + header + body


def json_header(code: int, fields: Mapping[str, object] | None = None, **members: Any) -> bytes:
    value: dict[str, Any] = {"code": code, "language": "JAVA", "version": 513, "opaque": 1, "flag": 0, **members}
    if fields is not None:
        value["extFields"] = {name: _text(item) for name, item in fields.items()}
    return json.dumps(value).encode()


def binary_header(
    code: int, fields: Mapping[str, object] | None = None, *, opaque: int = 1, remark: bytes = b"", flag: int = 0
) -> bytes:
    parts = []
    for name, item in (fields or {}).items():
        key, value = name.encode(), _text(item).encode()
        parts.append(struct.pack(">h", len(key)) + key + struct.pack(">i", len(value)) + value)
    block = b"".join(parts)
    return struct.pack(">hbhiii", code, 0, 513, opaque, flag, len(remark)) + remark + struct.pack(">i", len(block)) + block


def request(
    code: int, fields: Mapping[str, object] | None = None, body: bytes = b"", *, opaque: int = 1, kind: int = JSON
) -> bytes:
    if kind == BINARY:
        return frame(binary_header(code, fields, opaque=opaque), body, kind=BINARY)
    return frame(json_header(code, fields, opaque=opaque), body)


def read_frame(data: bytes) -> Answer | None:
    """A frame without its length field; None for a request of the server's own."""
    (word,) = struct.unpack(">I", data[:4])
    kind, size = word >> 24, word & 0xFFFFFF
    header, body = data[4 : 4 + size], data[4 + size :]
    if kind == JSON:
        value = json.loads(header)
        if not value["flag"] & 1:
            return None
        return Answer(value["code"], value.get("remark") or "", value.get("extFields") or {}, body, value["opaque"])
    code, _, _, opaque, flag, length = struct.unpack(">hbhiii", header[:17])
    if not flag & 1:
        return None
    remark = header[17 : 17 + length].decode()
    at = 17 + length
    (block,) = struct.unpack(">i", header[at : at + 4])
    at, end, fields = at + 4, at + 4 + block, {}
    while at < end:
        (length,) = struct.unpack(">h", header[at : at + 2])
        key = header[at + 2 : at + 2 + length].decode()
        at += 2 + length
        (length,) = struct.unpack(">i", header[at : at + 4])
        fields[key] = header[at + 4 : at + 4 + length].decode()
        at += 4 + length
    return Answer(code, remark, fields, body, opaque, BINARY)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# -- the requests of clients ------------------------------------------------------------------------------------------


def send_fields(topic: str, queue_id: int = 0, **more: object) -> dict[str, object]:
    return {
        "producerGroup": "attack-producers",
        "topic": topic,
        "defaultTopic": "TBW102",
        "defaultTopicQueueNums": 4,
        "queueId": queue_id,
        "sysFlag": 0,
        "bornTimestamp": int(time.time() * 1000),
        "flag": 0,
        "properties": "",
        "reconsumeTimes": 0,
        "unitMode": False,
        "batch": False,
        **more,
    }


def pull_fields(topic: str, queue_id: int = 0, offset: int = 0, **more: object) -> dict[str, object]:
    """Of a pull consumer: the subscription comes along (sysFlag 4), and it does not wait."""
    return {
        "consumerGroup": "attack-consumers",
        "topic": topic,
        "queueId": queue_id,
        "queueOffset": offset,
        "maxMsgNums": 32,
        "sysFlag": 4,
        "commitOffset": 0,
        "suspendTimeoutMillis": 0,
        "subscription": "*",
        "subVersion": 0,
        **more,
    }


# -- what a process costs ---------------------------------------------------------------------------------------------


class ProcessCost:
    """Of one server process, as the kernel counts it."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._main = self._folder / "task" / str(pid) / "schedstat"

    def cpu_ms(self) -> float:
        """Processor time of the main thread, on which the event loop runs."""
        return int(self._main.read_text().split()[0]) / 1e6

    def cpu_ms_of(self, work: Callable[[], object], enough: float, attempts: int = 3) -> float:
        """Processor time of the main thread while `work` is done; the least of some attempts, until it is below `enough`.

        On a machine that others use, too, the same work may cost twice as much now and then.
        """
        least = float("inf")
        for _ in range(attempts):
            before = self.cpu_ms()
            work()
            least = min(least, self.cpu_ms() - before)
            if least < enough:
                break
        return least

    def rss_mib(self) -> float:
        return self._status("VmRSS")

    def peak_rss_mib(self) -> float:
        """The most since the start, or since forget_peak()."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        (self._folder / "clear_refs").write_text("5")

    def open_files(self) -> int:
        return len(os.listdir(self._folder / "fd"))

    def _status(self, name: str) -> float:
        for line in (self._folder / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        raise AssertionError(f"no {name} in {self._folder}/status")
