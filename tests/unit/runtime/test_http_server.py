"""The HTTP server of the metrics: what it answers, and what it does not let itself be told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.runtime.http_get import http_get
from gantry.runtime.http_server import CONNECTIONS_MAX, HEAD_BYTES_MAX, IDLE_MS, HttpAnswer, HttpServer
from gantry.testing import MemoryNet, VirtualClock, settle
from tests.unit.runtime.raw_peer import RawPeer


class Site:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.net = MemoryNet(self.clock)
        self.server = HttpServer(self.net, self.clock, self.handle)
        self.paths: list[str] = []
        self.gate: asyncio.Event | None = None

    async def handle(self, path: str) -> HttpAnswer:
        self.paths.append(path)
        if path == "/fails":
            raise RuntimeError("no")
        if self.gate is not None:
            await self.gate.wait()
        return HttpAnswer(200, f"this is {path}".encode())

    async def connect(self) -> RawPeer:
        client = RawPeer()
        await self.net.connect("127.0.0.1", 80, lambda: client, 1000)
        return client

    async def say(self, data: bytes) -> RawPeer:
        client = await self.connect()
        client.transport.write(data)
        await settle()
        await self.clock.run_ms(10)
        return client


@pytest.fixture
async def site() -> Any:
    site = Site()
    await site.server.listen("127.0.0.1", 80)
    yield site
    await site.server.close()


async def test_our_own_client_gets_what_the_handler_says(site: Site) -> None:
    task = asyncio.ensure_future(http_get(site.net, site.clock, "http://127.0.0.1/metrics?x=1", timeout_ms=3000))
    await site.clock.run_ms(3000)
    assert task.result() == (200, b"this is /metrics")
    assert site.paths == ["/metrics"]


async def test_a_connection_serves_one_request_after_the_other(site: Site) -> None:
    client = await site.say(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.received.count(b"HTTP/1.1 200 OK") == 2
    assert client.received.index(b"this is /a") < client.received.index(b"this is /b")
    assert not client.closed
    client.transport.write(b"GET /c HTTP/1.1\r\nConnection: close\r\n\r\n")
    await settle()
    await site.clock.run_ms(10)
    assert client.received.endswith(b"this is /c")
    assert client.closed


async def test_requests_may_come_in_any_pieces(site: Site) -> None:
    client = await site.connect()
    for byte in b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n":
        client.transport.write(bytes([byte]))
        await settle()
    await site.clock.run_ms(10)
    assert client.received.endswith(b"this is /slow")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 405),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"GET x HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"\xff\xfe\r\n\r\n", 400),
        (b"\x00\x00\x00\x10" + b"GET / HTTP/1.1\r\n" + b"x" * HEAD_BYTES_MAX, 431),
    ],
)
async def test_what_is_no_get_ends_the_connection(site: Site, request_bytes: bytes, status: int) -> None:
    client = await site.say(request_bytes)
    assert client.received.startswith(b"HTTP/1.1 %d " % status)
    assert client.closed
    assert site.paths == []


async def test_head_has_the_length_and_no_body(site: Site) -> None:
    client = await site.say(b"HEAD /m HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 10\r\n" in client.received
    assert client.received.endswith(b"\r\n\r\n")


async def test_a_handler_that_fails_is_answered_500(site: Site) -> None:
    assert (await site.say(b"GET /fails HTTP/1.1\r\n\r\n")).received.startswith(b"HTTP/1.1 500 ")


async def test_who_says_nothing_is_closed(site: Site) -> None:
    client = await site.say(b"GET /never")
    await site.clock.run_ms(IDLE_MS + 1000)
    assert client.closed


async def test_connections_are_bounded(site: Site) -> None:
    clients = [await site.connect() for _ in range(CONNECTIONS_MAX + 1)]
    await settle()
    await site.clock.run_ms(10)
    assert [client.closed for client in clients] == [False] * CONNECTIONS_MAX + [True]


async def test_closing_ends_requests_under_way() -> None:
    site = Site()
    site.gate = asyncio.Event()
    await site.server.listen("127.0.0.1", 80)
    client = await site.say(b"GET /waits HTTP/1.1\r\n\r\n")
    await site.server.close()
    await settle()
    await site.clock.run_ms(10)
    assert client.closed
    assert client.received == b""
