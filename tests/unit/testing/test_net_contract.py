"""One contract for the real network and the simulated one, on every loop that is installed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.errors import ListenError, RemotingConnectError
from gantry.protocol.remoting.command import RemotingCommand
from gantry.runtime import loop
from gantry.runtime.clock import SystemClock
from gantry.runtime.net import AsyncioNet, Net
from gantry.runtime.remoting_client import RemotingClient
from gantry.runtime.remoting_server import RemotingServer, RequestTable
from gantry.testing import MemoryNet, VirtualClock


class Peer:
    """Notes what happens to its connection."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = b""
        self.transport: Any = None
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.events.append("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert self.events == ["made"] or "pause" in self.events
        self.data += data

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    async def expect(self, size: int) -> None:
        for _ in range(2000):
            if len(self.data) >= size:
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"{len(self.data)} of {size} bytes came")


@pytest.fixture(params=["asyncio", "memory"])
def net(request: pytest.FixtureRequest) -> Net:
    return AsyncioNet() if request.param == "asyncio" else MemoryNet()


async def _pair(net: Net) -> tuple[Peer, Peer, Any]:
    accepted: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()

    def accept() -> Peer:
        peer = Peer()
        accepted.set_result(peer)
        return peer

    listener = await net.listen("127.0.0.1", 0, accept)
    near = Peer()
    transport = await net.connect("127.0.0.1", listener.address[1], lambda: near, 5000)
    assert near.transport is transport
    far = await accepted
    while far.transport is None:
        await asyncio.sleep(0.001)
    return near, far, listener


async def test_bytes_arrive_in_order_both_ways(net: Net) -> None:
    near, far, listener = await _pair(net)
    near.transport.write(b"hello ")
    near.transport.write(bytearray(b"far"))
    near.transport.writelines([b" ", memoryview(b"end")])
    far.transport.write(b"hello near end")
    await far.expect(13)
    await near.expect(14)
    assert (far.data, near.data) == (b"hello far end", b"hello near end")
    assert near.transport.get_extra_info("peername")[:2] == far.transport.get_extra_info("sockname")[:2]
    assert near.transport.get_extra_info("sockname")[:2] == far.transport.get_extra_info("peername")[:2]
    assert near.transport.get_extra_info("nonsense") is None
    near.transport.close()
    await near.lost
    listener.close()


async def test_close_sends_what_was_written_first(net: Net) -> None:
    near, far, listener = await _pair(net)
    near.transport.write(b"x" * 100_000)
    near.transport.close()
    assert near.transport.is_closing()
    near.transport.write(b"too late")
    near.transport.close()
    assert await far.lost is None
    assert await near.lost is None
    assert far.data == b"x" * 100_000
    assert far.events[-2:] == ["eof", "lost"]
    assert far.transport.is_closing()
    listener.close()


async def test_abort_tells_both_ends(net: Net) -> None:
    near, far, listener = await _pair(net)
    near.transport.abort()
    near.transport.abort()
    await near.lost
    await far.lost
    near.transport.write(b"ignored")
    assert far.data == b""
    listener.close()


async def test_a_receiver_that_does_not_read_makes_the_sender_pause(net: Net) -> None:
    near, far, listener = await _pair(net)
    far.transport.pause_reading()
    near.transport.set_write_buffer_limits(high=100_000)
    sent = 0
    while "pause" not in near.events:
        near.transport.write(b"x" * 500_000)
        sent += 500_000
        assert sent < 100_000_000
        await asyncio.sleep(0)
    assert near.transport.get_write_buffer_size() > 100_000
    assert "resume" not in near.events
    far.transport.resume_reading()
    await far.expect(sent)
    for _ in range(1000):
        if "resume" in near.events:
            break
        await asyncio.sleep(0.001)
    assert near.events == ["made", "pause", "resume"]
    assert near.transport.get_write_buffer_size() <= 25_000
    near.transport.close()
    await far.lost
    listener.close()


async def test_a_port_in_use_is_named(net: Net) -> None:
    listener = await net.listen("127.0.0.1", 0, Peer)
    host, port = listener.address
    assert (host, port > 0) == ("127.0.0.1", True)
    with pytest.raises(ListenError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: the address is in use$"):
        await net.listen("127.0.0.1", port, Peer)
    listener.close()
    listener.close()


async def test_nobody_listens(net: Net) -> None:
    listener = await net.listen("127.0.0.1", 0, Peer)
    port = listener.address[1]
    listener.close()
    await asyncio.sleep(0)
    with pytest.raises(RemotingConnectError, match=rf"^connect to 127\.0\.0\.1:{port} failed: Connection refused$"):
        await net.connect("127.0.0.1", port, Peer, 5000)


async def test_connections_outlive_their_listener(net: Net) -> None:
    near, far, listener = await _pair(net)
    listener.close()
    near.transport.write(b"still here")
    await far.expect(10)
    near.transport.close()
    await far.lost


# -- the real one only ------------------------------------------------------------------------------------------------


async def test_an_address_that_cannot_be() -> None:
    net = AsyncioNet()
    with pytest.raises(ListenError, match=r"^cannot listen on 192\.0\.2\.1:0: "):
        await net.listen("192.0.2.1", 0, Peer)
    with pytest.raises(ListenError):
        await net.listen("127.0.0.1", 70000, Peer)
    with pytest.raises(RemotingConnectError):
        await net.connect("127.0.0.1", 70000, Peer, 1000)


async def _remoting_over_sockets() -> None:
    net, clock, table = AsyncioNet(), SystemClock(), RequestTable()
    table.add(1, None, lambda ctx, request, header: request.reply(0, body=request.body))

    async def ask_back(ctx: Any, request: RemotingCommand, header: None) -> RemotingCommand:
        answer = await ctx.channel.invoke(RemotingCommand(2), 5000)
        return request.reply(0, answer.remark)

    table.add(3, None, ask_back)
    client_table = RequestTable()
    server = RemotingServer(net, clock, table)
    client = RemotingClient(net, clock, requests=client_table)
    client_table.add(2, None, lambda ctx, request, header: request.reply(0, "asked"))
    _, port = await server.listen("127.0.0.1", 0)
    address = f"127.0.0.1:{port}"
    bodies = [bytes([i]) * (i * 9973) for i in range(60)]
    answers = await asyncio.gather(*(client.invoke(address, RemotingCommand(1, body=body), 20_000) for body in bodies))
    assert [answer.body for answer in answers] == bodies
    assert (await client.invoke(address, RemotingCommand(3), 5000)).remark == "asked"
    (channel,) = server.channels
    assert channel.remote_address == f"127.0.0.1:{client.channels[0].local_port}"
    assert (channel.remote_host, channel.local_port) == ("127.0.0.1", port)
    big = b"x" * (16 * 1024 * 1024 - 1000)
    assert (await client.invoke(address, RemotingCommand(1, body=big), 20_000)).body == big
    await client.close()
    await server.close()
    assert server.channels == []
    assert client.channels == []
    with pytest.raises(RemotingConnectError):
        await RemotingClient(net, clock).invoke(address, RemotingCommand(1), 5000)


def test_remoting_over_real_sockets_on_asyncio() -> None:
    asyncio.run(_remoting_over_sockets())


def test_remoting_over_real_sockets_on_the_fastest_loop() -> None:
    loop.run(_remoting_over_sockets())
    assert loop.name()


# -- the simulated one only -------------------------------------------------------------------------------------------


async def test_latency_and_partitions() -> None:
    clock = VirtualClock()
    net = MemoryNet(clock, host="10.0.0.1")
    accepted: list[Peer] = []

    def accept() -> Peer:
        accepted.append(Peer())
        return accepted[-1]

    listener = await net.host("10.0.0.2").listen("0.0.0.0", 9, accept)
    assert listener.address == ("0.0.0.0", 9)
    near = Peer()
    await net.connect("10.0.0.2", 9, lambda: near, 1000)
    net.set_latency_ms(30)
    near.transport.write(b"a")
    await clock.run_ms(29)
    assert accepted[0].data == b""
    await clock.run_ms(1)
    assert accepted[0].data == b"a"
    assert accepted[0].transport.get_extra_info("peername")[0] == "10.0.0.1"

    net.partition("10.0.0.1", "10.0.0.2")
    near.transport.write(b"b")
    task = asyncio.ensure_future(net.connect("10.0.0.2", 9, Peer, 1000))
    await clock.run_ms(999)
    assert not task.done()
    await clock.run_ms(1)
    with pytest.raises(RemotingConnectError):
        task.result()
    assert accepted[0].data == b"a"
    assert near.events == ["made"]
    net.heal()
    await clock.run_ms(30)
    assert accepted[0].data == b"ab"
    assert net.connection_count == 1
    assert net.break_connections("10.0.0.2") == 1
    await clock.run_ms(0)
    assert isinstance(near.lost.result(), ConnectionResetError)
    assert isinstance(accepted[0].lost.result(), ConnectionResetError)
    assert net.connection_count == 0


def test_latency_needs_a_clock() -> None:
    with pytest.raises(ValueError, match="clock"):
        MemoryNet().set_latency_ms(1)
