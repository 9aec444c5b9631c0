"""Where name servers are, by all four ways; and the HTTP GET under the last one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.errors import ConfigError, MQError, RemoteProtocolError, RemotingConnectError, RemotingTimeout
from gantry.runtime.address_source import (
    BROKER_REFRESH_MS,
    NamesrvAddressSource,
    choose_namesrv_addresses,
    http_endpoint,
)
from gantry.runtime.http_get import RESPONSE_BYTES_MAX, http_get
from gantry.testing import MemoryNet, SeededRng, VirtualClock


class Web:
    """An address server that sends prepared bytes; notes the requests."""

    def __init__(self, *, rng: SeededRng | None = None) -> None:
        self.clock = VirtualClock()
        self.net = MemoryNet(self.clock, rng)
        self.answer: bytes | None = ok("a:9876")
        self.then_close = True
        self.requests: list[bytes] = []

    async def start(self, port: int = 8080) -> Web:
        await self.net.listen("127.0.0.1", port, lambda: WebConnection(self))
        return self

    async def get(self, url: str = "http://127.0.0.1:8080/rocketmq/nsaddr") -> tuple[int, bytes]:
        task = asyncio.ensure_future(http_get(self.net, self.clock, url, timeout_ms=3000))
        await self.clock.run_ms(3000)
        assert task.done()
        return task.result()


class WebConnection:
    def __init__(self, web: Web) -> None:
        self.web = web
        self.buffer = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.endswith(b"\r\n\r\n"):
            self.web.requests.append(self.buffer)
            if self.web.answer is not None:
                self.transport.write(self.web.answer)
                if self.web.then_close:
                    self.transport.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


def ok(text: str, status: str = "200 OK") -> bytes:
    body = text.encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


# -- http_get ---------------------------------------------------------------------------------------------------------


async def test_the_request() -> None:
    web = await Web().start()
    assert await web.get("http://127.0.0.1:8080/rocketmq/nsaddr-u?nofix=1") == (200, b"a:9876")
    head, *lines = web.requests[0].decode().split("\r\n")
    assert head == "GET /rocketmq/nsaddr-u?nofix=1 HTTP/1.1"
    assert "Host: 127.0.0.1:8080" in lines
    assert "Connection: close" in lines
    assert web.net.connection_count == 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ok("hello"), (200, b"hello")),
        (ok("hello") + b"trailing", (200, b"hello")),
        (ok("gone", "404 Not Found"), (404, b"gone")),
        (b"HTTP/1.0 200\r\n\r\nuntil the end", (200, b"until the end")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
            (200, b"hello world"),
        ),
    ],
)
async def test_answers(answer: bytes, expected: tuple[int, bytes], seed: int) -> None:
    web = await Web(rng=SeededRng(seed)).start()
    web.answer = answer
    assert await web.get() == expected


@pytest.mark.parametrize("answer", [ok("hello"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"])
async def test_a_server_that_keeps_the_connection_is_not_waited_for(answer: bytes) -> None:
    web = await Web().start()
    web.answer, web.then_close = answer, False
    task = asyncio.ensure_future(http_get(web.net, web.clock, "http://127.0.0.1:8080/", timeout_ms=3000))
    await web.clock.run_ms(0)
    assert task.result()[0] == 200
    await web.clock.run_ms(0)
    assert web.net.connection_count == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(RESPONSE_BYTES_MAX),
        b"X" * (RESPONSE_BYTES_MAX + 1),
    ],
)
async def test_what_is_no_answer(answer: bytes) -> None:
    web = await Web().start()
    web.answer = answer
    if not answer:
        web.answer = b"\0"
    with pytest.raises(RemoteProtocolError):
        await web.get()


async def test_an_endless_answer_is_bounded() -> None:
    web = await Web().start()
    web.answer, web.then_close = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000, False
    with pytest.raises(RemoteProtocolError, match="longer than"):
        await web.get()


async def test_no_answer_in_time() -> None:
    web = await Web().start()
    web.answer = None
    with pytest.raises(RemotingTimeout, match="within 3000 ms"):
        await web.get()
    await web.clock.run_ms(0)
    assert web.net.connection_count == 0


@pytest.mark.parametrize("url", ["https://a/", "ftp://a", "http://", "http://a b/", "http:// a/\r\nX: y", "http://ü/"])
async def test_what_is_no_url(url: str) -> None:
    with pytest.raises(MQError):
        await http_get(MemoryNet(), VirtualClock(), url, timeout_ms=10)


async def test_nobody_there() -> None:
    with pytest.raises(RemotingConnectError):
        await Web().get("http://127.0.0.1/")


# -- the choice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("explicit", "configured", "environment", "expected"),
    [
        ("a:1", "b:2", "c:3", ["a:1"]),
        (None, "b:2", "c:3", ["b:2"]),
        ("", "  ", "c:3;d:4", ["c:3", "d:4"]),
        (";", None, None, []),
    ],
)
def test_order(explicit: str | None, configured: str | None, environment: str | None, expected: list[str]) -> None:
    environ = {} if environment is None else {"NAMESRV_ADDR": environment}
    plan = choose_namesrv_addresses(
        explicit=explicit, configured=configured, environ=environ, endpoint="http://x/rocketmq/nsaddr"
    )
    assert plan.addresses == expected
    assert plan.endpoint == (None if expected else "http://x/rocketmq/nsaddr")


def test_a_bad_list_names_its_place() -> None:
    with pytest.raises(ConfigError, match="environment variable NAMESRV_ADDR"):
        choose_namesrv_addresses(environ={"NAMESRV_ADDR": "nonsense"})
    with pytest.raises(ConfigError, match="configuration key namesrvAddr"):
        choose_namesrv_addresses(configured="a:b", environ={})


@pytest.mark.parametrize(
    ("kwargs", "url"),
    [
        ({}, "http://jmenv.tbsite.net:8080/rocketmq/nsaddr"),
        ({"domain": "d", "subgroup": "s"}, "http://d:8080/rocketmq/s"),
        ({"domain": "d:80"}, "http://d:80/rocketmq/nsaddr"),
        ({"domain": "d", "unit": "u"}, "http://d:8080/rocketmq/nsaddr-u?nofix=1"),
        ({"domain": "d", "unit": "u", "parameters": {"a": "1", "b": "2"}}, "http://d:8080/rocketmq/nsaddr-u?nofix=1&a=1&b=2"),
        ({"domain": "d", "parameters": {"a": "1", "b": "2"}}, "http://d:8080/rocketmq/nsaddr?a=1&b=2"),
    ],
)
def test_endpoint(kwargs: dict[str, Any], url: str) -> None:
    assert http_endpoint(**kwargs) == url


# -- the refresh ------------------------------------------------------------------------------------------------------


class Following:
    """An address source over a web server, with the lists it told."""

    def __init__(self, web: Web, **kwargs: Any) -> None:
        self.web = web
        self.told: list[list[str]] = []
        plan = choose_namesrv_addresses(environ={}, endpoint=http_endpoint("127.0.0.1"))
        self.source = NamesrvAddressSource(web.net, web.clock, plan, on_change=self.told.append, **kwargs)

    async def start(self) -> None:
        task = asyncio.ensure_future(self.source.start())
        await self.web.clock.run_ms(3000)
        assert task.done()


async def test_a_fixed_list_asks_nobody() -> None:
    clock = VirtualClock()
    source = NamesrvAddressSource(MemoryNet(clock), clock, choose_namesrv_addresses(explicit="a:1;b:2"))
    assert await source.start() == ["a:1", "b:2"]
    assert clock.timer_count == 0
    await source.stop()


async def test_the_list_is_fetched_at_start_and_followed() -> None:
    web = await Web().start()
    web.answer = ok("a:9876;b:9876\r\nsecond line\n")
    following = Following(web)
    await following.start()
    assert following.source.addresses == ["a:9876", "b:9876"]
    assert following.told == [["a:9876", "b:9876"]]
    web.answer = ok("b:9876;a:9876")
    await web.clock.run_ms(10_000)
    assert len(web.requests) == 2
    assert len(following.told) == 1, "the same servers in another order are no change"
    web.answer = ok("c:9876\n")
    await web.clock.run_ms(116_000)  # 129 s after the first fetch: the second was at 10 s, the third is due at 130 s
    assert len(web.requests) == 2
    await web.clock.run_ms(2_000)
    assert following.told[1:] == [["c:9876"]]
    assert following.source.addresses == ["c:9876"]
    await following.source.stop()
    await web.clock.run_ms(500_000)
    assert len(web.requests) == 3
    assert web.clock.timer_count == 0


@pytest.mark.parametrize(
    "answer", [ok(""), ok("\n\n"), ok("nonsense"), ok("a:1", "500 Oops"), b"garbage\r\n\r\n", None, ok("\xff\xfe")]
)
async def test_a_failing_endpoint_leaves_the_last_list(answer: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    web = await Web().start()
    following = Following(web, refresh_ms=BROKER_REFRESH_MS)
    await following.start()
    web.answer = answer
    await web.clock.run_ms(30_000)
    assert following.source.addresses == ["a:9876"]
    assert len(following.told) == 1
    assert "list stays a:9876" in caplog.text
    web.answer = ok("b:1")
    await web.clock.run_ms(14_000)
    assert following.source.addresses == ["b:1"]
    await following.source.stop()


async def test_a_first_fetch_that_fails_is_soon_made_up_for() -> None:
    web = Web()
    following = Following(web)
    await following.start()
    assert following.source.addresses == []
    await web.start()
    await web.clock.run_ms(10_000)
    assert following.source.addresses == ["a:9876"]
    await following.source.stop()


async def test_a_listener_that_fails_does_not_end_the_refresh(caplog: pytest.LogCaptureFixture) -> None:
    web = await Web().start()
    following = Following(web, refresh_ms=1000)
    await following.start()

    def fail(addresses: list[str]) -> None:
        raise RuntimeError("listener")

    following.source._on_change = fail
    web.answer = ok("b:1")
    await web.clock.run_ms(1000)
    web.answer = ok("c:1")
    await web.clock.run_ms(1000)
    assert following.source.addresses == ["c:1"]
    assert "listener" in caplog.text
    await following.source.stop()
