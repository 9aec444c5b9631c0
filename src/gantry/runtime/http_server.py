"""A minimal HTTP server over the network door: answers GET, one request of a connection after the other.

Why not the standard library's: it blocks, so it would need a thread beside every door, and could not be run on the virtual
clock. Bodies of requests, ranges and the like are for servers of another kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from .clock import Clock, TimerHandle
from .net import Listener, Net

log = logging.getLogger(__name__)

HEAD_BYTES_MAX = 16 * 1024
CONNECTIONS_MAX = 64
IDLE_MS = 60_000
"""A connection is closed that sends no whole request, or takes no answer, for so long."""

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 431: "Request Header Fields Too Large",
            500: "Internal Server Error"}  # fmt: skip
TEXT = "text/plain; charset=utf-8"


class HttpAnswer(NamedTuple):
    """`body` goes out with its length; of a HEAD request only the length."""

    status: int
    body: bytes
    content_type: str = TEXT


Handler = Callable[[str], Awaitable[HttpAnswer]]
"""Gets the path without its query."""


class HttpServer:
    """Listens on one address. Beyond CONNECTIONS_MAX connections, further ones are closed at once."""

    def __init__(self, net: Net, clock: Clock, handler: Handler) -> None:
        self._net = net
        self.clock = clock
        self.handler = handler
        self.connections: set[_Connection] = set()
        self._listener: Listener | None = None

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Returns host and real port. Raises: ListenError naming the address."""
        self._listener = await self._net.listen(host, port, lambda: _Connection(self))
        return self._listener.address

    async def close(self) -> None:
        """Ends listening and every connection. Idempotent."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        for connection in list(self.connections):
            connection.abort()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Connection:
    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._transport: Any = None
        self._timer: TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None

    # -- callbacks of the net

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if len(self._server.connections) >= CONNECTIONS_MAX:
            transport.abort()
            return
        self._server.connections.add(self)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self not in self._server.connections:
            return
        self._buffer += data
        if self.task is None:
            self._next()
        elif len(self._buffer) > HEAD_BYTES_MAX:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._no_wait()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    # -- requests

    def abort(self) -> None:
        self._transport.abort()
        self._no_wait()
        if self.task is not None:
            self.task.cancel()

    def _wait(self) -> None:
        self._no_wait()
        self._timer = self._server.clock.call_later(IDLE_MS, self.abort)

    def _no_wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                self._answer(HttpAnswer(431, b"the head of the request is too long\n"), keep=False)
            return
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        request = _parse(head)
        if request is None:
            self._answer(HttpAnswer(400, b"this is no HTTP request\n"), keep=False)
        elif request.method not in ("GET", "HEAD") or request.has_body:
            self._answer(HttpAnswer(405, b"only GET is answered\n"), keep=False)
        else:
            self._no_wait()
            self.task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: _Request) -> None:
        try:
            answer = await self._server.handler(request.path)
        except asyncio.CancelledError:
            return
        except Exception:
            log.exception("GET %s failed", request.path)
            answer = HttpAnswer(500, b"this failed; the log says why\n")
        self.task = None
        self._answer(answer, keep=request.keep, with_body=request.method == "GET")
        if request.keep and self in self._server.connections:
            self._transport.resume_reading()
            self._wait()
            self._next()

    def _answer(self, answer: HttpAnswer, *, keep: bool, with_body: bool = True) -> None:
        head = (
            f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        )
        self._transport.write(head.encode("ascii") + (answer.body if with_body else b""))
        if not keep:
            self._transport.close()
            self._wait()


class _Request(NamedTuple):
    method: str
    path: str
    keep: bool
    has_body: bool


def _parse(head: bytes) -> _Request | None:
    try:
        first, *lines = head.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1") or not words[1].startswith("/"):
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        headers[name.strip().lower()] = value.strip()
    connection = headers.get("connection", "").lower()
    keep = connection == "keep-alive" if words[2] == "HTTP/1.0" else connection != "close"
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    return _Request(words[0], words[1].partition("?")[0], keep, has_body)
