"""Server and client over the memory network and the virtual clock: what every request may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gantry.errors import (
    BrokerError,
    ConnectionClosed,
    LocalProtocolError,
    RemotingConnectError,
    RemotingSendError,
    RemotingTimeout,
    StoreReadOnly,
)
from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.command import RemotingCommand, decode_frame, encode_command
from gantry.protocol.remoting.frame import FrameDecoder
from gantry.protocol.remoting.header.base import RequestHeader, wire
from gantry.runtime.remoting_client import RemotingClient
from gantry.runtime.remoting_limits import RemotingLimits
from gantry.runtime.remoting_server import Channel, RemotingServer, RequestContext, RequestTable
from gantry.testing import MemoryNet, SeededRng, VirtualClock, settle

ADDRESS = "127.0.0.1:9876"
ECHO, SLOW, LATER, FAIL, HEADER, NEVER = 1, 2, 3, 4, 5, 6


class QueueHeader(RequestHeader, code=RequestCode.GET_MAX_OFFSET):
    queue_id: int = wire("queueId", bits=32)


class World:
    """A server with a few requests, a client, the network between them."""

    def __init__(self, limits: RemotingLimits | None = None, *, rng: SeededRng | None = None) -> None:
        self.clock = VirtualClock()
        self.net = MemoryNet(self.clock, rng)
        self.limits = limits or RemotingLimits()
        self.table = RequestTable()
        self.client_table = RequestTable()
        self.opened: list[Channel] = []
        self.closed: list[Channel] = []
        self.served: list[RemotingCommand] = []
        self.held: list[RequestContext] = []
        self.failure: Exception = RuntimeError("no")
        self.table.add(ECHO, None, self.echo)
        self.table.add(SLOW, None, self.slow)
        self.table.add(LATER, None, lambda ctx, request, header: self.held.append(ctx))
        self.table.add(FAIL, None, self.fail)
        self.table.add(HEADER, QueueHeader, lambda ctx, request, header: request.reply(0, str(header.queue_id)))
        self.table.add(NEVER, None, lambda ctx, request, header: None)
        self.server = RemotingServer(
            self.net,
            self.clock,
            self.table,
            limits=self.limits,
            on_connect=self.opened.append,
            on_close=self.closed.append,
        )
        self.client = RemotingClient(self.net, self.clock, requests=self.client_table, limits=self.limits)

    def echo(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        self.served.append(request)
        return request.reply(0, ctx.channel.remote_address, body=request.body)

    async def slow(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        await ctx.clock.sleep_ms(int(request.field("ms") or 100))
        self.served.append(request)
        return request.reply(0, "slow")

    def fail(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        raise self.failure

    async def ask(self, command: RemotingCommand, timeout_ms: float = 3000, run_ms: float = 0) -> RemotingCommand:
        task = asyncio.ensure_future(self.client.invoke(ADDRESS, command, timeout_ms))
        await self.clock.run_ms(run_ms)
        assert task.done(), "no answer yet"
        return task.result()

    async def raw(self) -> RawPeer:
        peer = RawPeer()
        await self.net.connect("127.0.0.1", 9876, lambda: peer, 1000)
        return peer


class RawPeer:
    """A client that speaks in bytes."""

    def __init__(self) -> None:
        self.received = b""
        self.reads = 0
        self.lost = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.reads += 1

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def answers(self) -> list[RemotingCommand]:
        decoder = FrameDecoder()
        decoder.receive_data(self.received)
        found = []
        while (frame := decoder.next_frame()) is not None:
            found.append(decode_frame(frame))
        return found


@pytest.fixture
async def make_world() -> AsyncIterator[Callable[..., Awaitable[World]]]:
    worlds: list[World] = []

    async def make(*args: Any, **kwargs: Any) -> World:
        world = World(*args, **kwargs)
        await world.server.listen("127.0.0.1", 9876)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        await world.client.close(grace_ms=0)
        await world.server.close(grace_ms=0)
        await world.clock.run_ms(100)  # what is still on the wire arrives
        assert world.server.channels == []
        assert world.client.channels == []
        assert world.clock.timer_count == 0, "a timer outlived its owner"


@pytest.fixture
async def world(make_world: Callable[..., Awaitable[World]]) -> World:
    return await make_world()


# -- answers ----------------------------------------------------------------------------------------------------------


async def test_an_answer_comes_back_to_who_asked(world: World) -> None:
    tasks = [asyncio.ensure_future(world.client.invoke(ADDRESS, _request(ECHO, b"%d" % i), 1000)) for i in range(50)]
    await settle()
    assert [task.result().body for task in tasks] == [b"%d" % i for i in range(50)]
    assert len(world.opened) == 1, "one connection serves all requests to an address"


@pytest.mark.parametrize("seed", range(20))
async def test_any_split_of_the_stream_gives_the_same_answers(make_world: Callable[..., Awaitable[World]], seed: int) -> None:
    world = await make_world(rng=SeededRng(seed))
    tasks = [asyncio.ensure_future(world.client.invoke(ADDRESS, _request(ECHO, bytes([i]) * i * 37), 1000)) for i in range(30)]
    await settle()
    assert [task.result().body for task in tasks] == [bytes([i]) * i * 37 for i in range(30)]


@pytest.mark.parametrize("serialize_type", [0, 1])
async def test_the_answer_has_the_serialization_of_the_request(world: World, serialize_type: int) -> None:
    answer = await world.ask(RemotingCommand(ECHO, serialize_type=serialize_type))
    assert answer.serialize_type == serialize_type


async def test_a_waiting_handler_does_not_hold_up_others(world: World) -> None:
    slow = asyncio.ensure_future(world.client.invoke(ADDRESS, _request(SLOW), 1000))
    assert (await world.ask(_request(ECHO, b"quick"))).body == b"quick"
    assert not slow.done()
    await world.clock.run_ms(100)
    assert slow.result().remark == "slow"


async def test_answers_of_one_read_leave_in_one_write(world: World) -> None:
    peer = await world.raw()
    peer.transport.write(b"".join(encode_command(RemotingCommand(ECHO, opaque=i)) for i in range(10)))
    await settle()
    assert [answer.opaque for answer in peer.answers()] == list(range(10))
    assert peer.reads == 1


async def test_a_request_may_be_answered_later_and_only_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    task = asyncio.ensure_future(world.client.invoke(ADDRESS, _request(LATER), 60_000))
    await world.clock.run_ms(20_000)
    (ctx,) = world.held
    assert not task.done()
    assert ctx.clock.monotonic_ms() - ctx.received_ms == 20_000
    ctx.reply_later(ctx.request.reply(19, "nothing came"))
    ctx.reply_later(ctx.request.reply(0, "twice"))
    await settle()
    assert (task.result().code, task.result().remark) == (19, "nothing came")
    assert "answered twice" in caplog.text


async def test_a_held_request_of_a_gone_client_is_answered_into_the_void(world: World) -> None:
    task = asyncio.ensure_future(world.client.invoke(ADDRESS, _request(LATER), 60_000))
    await settle()
    world.net.break_connections()
    await settle()
    with pytest.raises(ConnectionClosed):
        task.result()
    (ctx,) = world.held
    ctx.reply_later(ctx.request.reply(0))


async def test_unknown_code(world: World) -> None:
    answer = await world.ask(_request(4711))
    assert (answer.code, answer.remark) == (3, " request type 4711 not supported")


async def test_default_handler_takes_unknown_codes(world: World) -> None:
    table = world.table
    table.add(99, None, world.echo)
    table.default = table.lookup(99)
    assert (await world.ask(_request(4711, b"x"))).body == b"x"


@pytest.mark.parametrize(
    ("failure", "code", "remark"),
    [
        (BrokerError(17, "no such topic"), 17, "no such topic"),
        (StoreReadOnly("reading only"), 1, "reading only"),
        (ValueError("odd"), 1, "ValueError: odd"),
    ],
)
async def test_what_a_handler_raises_becomes_an_answer(world: World, failure: Exception, code: int, remark: str) -> None:
    world.failure = failure
    answer = await world.ask(_request(FAIL))
    assert (answer.code, answer.remark) == (code, remark)
    assert (await world.ask(_request(ECHO))).code == 0, "the connection lives on"


async def test_what_a_waiting_handler_raises_becomes_an_answer(world: World) -> None:
    async def late(ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        await asyncio.sleep(0)
        raise BrokerError(22, "not found")

    world.table.add(50, None, late)
    answer = await world.ask(_request(50))
    assert (answer.code, answer.remark) == (22, "not found")


@pytest.mark.parametrize(("fields", "named"), [({}, "queueId"), ({"queueId": "x1"}, "x1"), ({"queueId": "9" * 12}, "32")])
async def test_bad_header_field_is_named_in_the_answer(world: World, fields: dict[str, str], named: str) -> None:
    answer = await world.ask(RemotingCommand(HEADER, ext_fields=fields))
    assert answer.code == 1
    assert "queueId" in (answer.remark or "")
    assert named in (answer.remark or "")
    assert (await world.ask(RemotingCommand(HEADER, ext_fields={"queueId": "7"}))).remark == "7"


async def test_an_answer_that_fits_no_frame_is_replaced_by_one_that_says_so(
    make_world: Callable[..., Awaitable[World]],
) -> None:
    world = await make_world(RemotingLimits(frame_bytes_max=2000))
    world.table.add(60, None, lambda ctx, request, header: request.reply(0, body=bytes(5000)))
    answer = await world.ask(_request(60))
    assert answer.code == 1
    assert "cannot be sent" in (answer.remark or "")


async def test_a_code_has_one_handler() -> None:
    table = RequestTable()
    table.add(1, None, lambda *_: None)
    with pytest.raises(ValueError, match="1 has two handlers"):
        table.add(1, None, lambda *_: None)


def test_rows_left_for_later_come_with_the_first_code_that_needs_them() -> None:
    added: list[int] = []

    def add_rest() -> None:
        added.append(2)
        table.add(2, None, lambda *_: None)

    table = RequestTable(add_rest)
    table.add(1, None, lambda *_: None)
    assert table.lookup(1) is not None
    assert added == []
    second = table.lookup(2)
    assert second is not None
    assert second.code == 2
    assert table.lookup(3) is None
    assert (list(table.complete()), len(table), added) == ([1, 2], 2, [2])


# -- oneway -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [ECHO, SLOW, LATER, FAIL, 4711])
async def test_oneway_is_never_answered(world: World, code: int) -> None:
    peer = await world.raw()
    command = RemotingCommand(code, ext_fields={"ms": "10"})
    command.mark_oneway()
    peer.transport.write(encode_command(command))
    await world.clock.run_ms(20)
    for ctx in world.held:
        ctx.reply_later(ctx.request.reply(0))
    await settle()
    assert peer.received == b""
    assert not peer.lost


async def test_oneway_right_before_the_close_is_still_done(world: World) -> None:
    peer = await world.raw()
    for code in (ECHO, SLOW):
        command = RemotingCommand(code)
        command.mark_oneway()
        peer.transport.write(encode_command(command))
    peer.transport.close()
    await world.clock.run_ms(1000)
    assert [request.code for request in world.served] == [ECHO, SLOW]


async def test_client_oneway(world: World) -> None:
    await world.client.invoke_oneway(ADDRESS, _request(ECHO))
    await settle()
    assert world.served[0].is_oneway


# -- malformed input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        bytes(8),
        b"\0\0\0\3" + bytes(8),
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\1\0\0\0",
        b"\0\0\0\x10\7\0\0\4" + bytes(12),
        b"\0\0\0\x10\0\0\xff\xff" + bytes(12),
        b"\0\0\0\x08\0\0\0\4nope",
        b"\0\0\0\x08\1\0\0\4nope",
    ],
)
async def test_a_malformed_frame_closes_its_connection_and_no_other(world: World, data: bytes) -> None:
    good, bad = await world.raw(), await world.raw()
    bad.transport.write(data)
    await settle()
    assert bad.lost
    assert bad.received == b""
    good.transport.write(encode_command(RemotingCommand(ECHO, opaque=5)))
    await settle()
    assert [answer.opaque for answer in good.answers()] == [5]
    assert len(world.server.channels) == 1


async def test_whole_requests_before_a_malformed_frame_are_served(world: World) -> None:
    peer = await world.raw()
    peer.transport.write(encode_command(RemotingCommand(ECHO, opaque=1)) + b"\xff\xff\xff\xff")
    await settle()
    assert [answer.opaque for answer in peer.answers()] == [1]
    assert peer.lost


async def test_the_frame_limit_counts_the_length_field(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(RemotingLimits(frame_bytes_max=1000))
    empty = len(encode_command(RemotingCommand(ECHO)))
    peer = await world.raw()
    peer.transport.write(encode_command(RemotingCommand(ECHO, body=bytes(1000 - empty))))
    await settle()
    assert len(world.served) == 1
    peer.transport.write(encode_command(RemotingCommand(ECHO, body=bytes(1001 - empty))))
    await settle()
    assert peer.lost
    with pytest.raises(LocalProtocolError):
        await world.ask(_request(ECHO, bytes(1001 - empty)))


async def test_an_answer_nobody_waits_for_is_dropped(world: World) -> None:
    peer = await world.raw()
    peer.transport.write(encode_command(RemotingCommand(0, opaque=77, flag=1)))
    peer.transport.write(encode_command(RemotingCommand(ECHO, opaque=1)))
    await settle()
    assert [answer.opaque for answer in peer.answers()] == [1]


async def test_a_defect_in_an_ingest_ends_one_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    net = MemoryNet(clock)

    class Broken:
        partial = False
        failure = None

        def ingest(self, data: bytes) -> list[Any]:
            raise KeyError("ours")

    server = RemotingServer(net, clock, RequestTable(), ingest_factory=lambda channel: Broken())
    await server.listen("127.0.0.1", 9876)
    peer = RawPeer()
    await net.connect("127.0.0.1", 9876, lambda: peer, 1000)
    peer.transport.write(b"x")
    await settle()
    assert peer.lost
    assert "internal error" in caplog.text
    await server.close()


# -- seams ------------------------------------------------------------------------------------------------------------


async def test_an_ingest_may_serve_frames_itself() -> None:
    clock = VirtualClock()
    net = MemoryNet(clock)
    table = RequestTable()
    table.add(ECHO, None, lambda ctx, request, header: request.reply(0, "table"))

    class Hot:
        """Serves the even opaques, leaves the others."""

        failure = None

        def __init__(self, channel: Channel) -> None:
            self.channel = channel
            self.decoder = FrameDecoder()
            self.partial = False

        def ingest(self, data: bytes) -> list[Any]:
            self.decoder.receive_data(data)
            rest = []
            while (frame := self.decoder.next_frame()) is not None:
                command = decode_frame(frame)
                if command.opaque % 2 == 0:
                    self.channel.write(encode_command(command.reply(0, "hot")))
                else:
                    rest.append(frame)
            return rest

    server = RemotingServer(net, clock, table, ingest_factory=Hot)
    await server.listen("127.0.0.1", 9876)
    peer = RawPeer()
    await net.connect("127.0.0.1", 9876, lambda: peer, 1000)
    peer.transport.write(b"".join(encode_command(RemotingCommand(ECHO, opaque=i)) for i in range(4)))
    await settle()
    assert {answer.opaque: answer.remark for answer in peer.answers()} == {
        0: "hot", 1: "table", 2: "hot", 3: "table"
    }  # fmt: skip
    assert peer.reads == 1
    await server.close()


async def test_a_handshake_takes_the_first_bytes() -> None:
    clock = VirtualClock()
    net = MemoryNet(clock)
    table = RequestTable()
    table.add(ECHO, None, lambda ctx, request, header: request.reply(0, ctx.channel.remote_address))

    class Prefix:
        def __init__(self, channel: Channel) -> None:
            self.channel = channel
            self.buffer = b""

        def receive(self, data: bytes) -> bytes | None:
            self.buffer += data
            if len(self.buffer) < 4:
                return None
            self.channel.set_remote("203.0.113.9", 4242)
            return self.buffer[4:]

    server = RemotingServer(net, clock, table, handshake_factory=Prefix)
    await server.listen("127.0.0.1", 9876)
    peer = RawPeer()
    await net.connect("127.0.0.1", 9876, lambda: peer, 1000)
    peer.transport.write(b"PR")
    await settle()
    peer.transport.write(b"OX" + encode_command(RemotingCommand(ECHO)))
    await settle()
    assert [answer.remark for answer in peer.answers()] == ["203.0.113.9:4242"]
    peer.transport.close()
    await settle()
    assert server.channels == []
    await server.close()


async def test_the_server_asks_its_client(world: World) -> None:
    world.client_table.add(220, None, lambda ctx, request, header: request.reply(0, "reset"))
    await world.ask(_request(ECHO))
    (channel,) = world.server.channels
    task = asyncio.ensure_future(channel.invoke(RemotingCommand(220), 1000))
    await settle()
    assert task.result().remark == "reset"
    seen: list[RemotingCommand] = []
    world.client_table.add(40, None, lambda ctx, request, header: seen.append(request))
    channel.invoke_oneway(RemotingCommand(40))
    await settle()
    assert seen[0].is_oneway


async def test_both_ends_may_use_the_same_opaque_at_once(world: World) -> None:
    world.client_table.add(220, None, lambda ctx, request, header: request.reply(0, "from the client"))

    async def ask_back(ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        answer = await ctx.channel.invoke(RemotingCommand(220), 1000)
        return request.reply(0, answer.remark)

    world.table.add(70, None, ask_back)
    assert (await world.ask(_request(70))).remark == "from the client"


# -- time -------------------------------------------------------------------------------------------------------------


async def test_no_answer_in_time(world: World) -> None:
    task = asyncio.ensure_future(world.client.invoke(ADDRESS, _request(LATER), 1000))
    await world.clock.run_ms(999)
    assert not task.done()
    await world.clock.run_ms(1)
    with pytest.raises(RemotingTimeout, match=r"request 3 from 127\.0\.0\.1:9876 within 1000 ms"):
        task.result()
    # The late answer is dropped and disturbs nobody.
    world.held[0].reply_later(world.held[0].request.reply(0))
    assert (await world.ask(_request(ECHO, b"a"))).body == b"a"


async def test_giving_up_leaves_nothing_behind(world: World) -> None:
    task = asyncio.ensure_future(world.client.invoke(ADDRESS, _request(NEVER), 60_000))
    await settle()
    timers = world.clock.timer_count
    task.cancel()
    await settle()
    assert world.clock.timer_count == timers - 1
    channel = world.client.channel(ADDRESS)
    assert channel is not None
    assert not channel._pending


async def test_idle_connections_are_closed_by_time(world: World) -> None:
    await world.ask(_request(ECHO))
    await world.clock.run_ms(119_000)
    assert len(world.server.channels) == 1
    await world.ask(_request(ECHO))
    await world.clock.run_ms(119_000)
    assert len(world.server.channels) == 1, "use starts the idle time anew"
    await world.clock.run_ms(2_000)
    assert world.server.channels == []
    assert world.client.channels == []
    assert (await world.ask(_request(ECHO, b"x"))).body == b"x", "the next request connects again"


async def test_output_keeps_a_connection_from_being_idle(world: World) -> None:
    peer = await world.raw()
    (channel,) = world.server.channels
    for _ in range(5):
        await world.clock.run_ms(60_000)
        channel.invoke_oneway(RemotingCommand(40))
    await settle()
    assert not peer.lost


async def test_an_unfinished_frame_has_a_time_limit_though_bytes_drip(world: World) -> None:
    peer = await world.raw()
    for byte in encode_command(RemotingCommand(ECHO, body=bytes(100)))[:70]:
        if peer.lost:
            break
        peer.transport.write(bytes([byte]))
        await world.clock.run_ms(1_000)
    assert peer.lost
    assert world.served == []


async def test_a_slow_but_whole_stream_of_frames_is_not_cut(world: World) -> None:
    peer = await world.raw()
    data = encode_command(RemotingCommand(ECHO)) * 5
    step = len(data) // 50
    for at in range(0, len(data), step):
        peer.transport.write(data[at : at + step])
        await world.clock.run_ms(5_000)
    assert not peer.lost
    assert len(world.served) == 5


# -- bounds -----------------------------------------------------------------------------------------------------------


async def test_hosts_are_counted_apart() -> None:
    clock = VirtualClock()
    net = MemoryNet(clock, host="10.0.0.9")
    limits = RemotingLimits(connections_max=3, connections_per_address_max=2)
    server = RemotingServer(net, clock, RequestTable(), limits=limits)
    await server.listen("0.0.0.0", 9876)

    async def connect(host: str) -> RawPeer:
        peer = RawPeer()
        await net.host(host).connect("10.0.0.9", 9876, lambda: peer, 1000)
        await settle()
        return peer

    first, second = await connect("10.0.0.1"), await connect("10.0.0.1")
    assert (await connect("10.0.0.1")).lost, "the third from one host"
    other = await connect("10.0.0.2")
    assert (first.lost, second.lost, other.lost) == (False, False, False)
    assert (await connect("10.0.0.3")).lost, "the fourth in total"
    assert server.refused_count == 2
    first.transport.close()
    await settle()
    assert not (await connect("10.0.0.1")).lost, "a closed one makes room"
    await server.close()


async def test_too_many_running_requests_are_answered_busy(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(RemotingLimits(in_flight_max=3))
    tasks = [asyncio.ensure_future(world.client.invoke(ADDRESS, _request(SLOW), 5000)) for _ in range(5)]
    await settle()
    busy = [task.result() for task in tasks if task.done()]
    assert [answer.code for answer in busy] == [2, 2]
    assert busy[0].remark == "[OVERLOAD]system busy, start flow control for a while"
    await world.clock.run_ms(100)
    assert [task.result().code for task in tasks] == [0, 0, 0, 2, 2]
    assert (await world.ask(_request(SLOW), run_ms=100)).code == 0


async def test_held_requests_do_not_count_as_running(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(RemotingLimits(in_flight_max=3))
    held = [asyncio.ensure_future(world.client.invoke(ADDRESS, _request(LATER), 5000)) for _ in range(50)]
    await settle()
    assert len(world.held) == 50
    assert (await world.ask(_request(ECHO))).code == 0
    for ctx in world.held:
        ctx.reply_later(ctx.request.reply(0))
    await settle()
    assert all(task.result().code == 0 for task in held)


async def test_much_work_in_progress_stops_the_reading(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(RemotingLimits(in_flight_bytes_max=10_000))
    tasks = [asyncio.ensure_future(world.client.invoke(ADDRESS, _request(SLOW, bytes(4000)), 60_000)) for _ in range(3)]
    await settle()
    later = asyncio.ensure_future(world.client.invoke(ADDRESS, _request(ECHO), 60_000))
    await settle()
    assert not later.done(), "12,000 bytes are being worked on: the connection is not read"
    await world.clock.run_ms(100)
    assert all(task.result().code == 0 for task in tasks)
    assert later.result().code == 0


async def test_a_peer_that_does_not_read_is_not_read_and_then_closed(
    make_world: Callable[..., Awaitable[World]],
) -> None:
    limits = RemotingLimits(write_buffer_bytes_max=10_000)
    world = await make_world(limits)
    peer = await world.raw()
    peer.transport.pause_reading()
    for i in range(20):
        peer.transport.write(encode_command(RemotingCommand(ECHO, opaque=i, body=bytes(2000))))
        await settle()
    assert len(world.served) < 10, "requests are not read while their answers are not taken"
    (channel,) = world.server.channels
    assert channel.write_paused
    await world.clock.run_ms(50_000)
    assert not channel.closed
    peer.transport.resume_reading()
    await settle()
    assert [answer.opaque for answer in peer.answers()] == list(range(20)), "nothing is lost by waiting"
    assert not channel.write_paused

    peer.transport.pause_reading()
    for i in range(20):
        peer.transport.write(encode_command(RemotingCommand(ECHO, opaque=i, body=bytes(2000))))
        await settle()
    await world.clock.run_ms(62_000)
    assert channel.closed
    assert "has taken none" in channel.close_reason


async def test_last_oneway_requests_of_a_peer_that_did_not_read_are_done(
    make_world: Callable[..., Awaitable[World]],
) -> None:
    world = await make_world(RemotingLimits(write_buffer_bytes_max=10_000))
    peer = await world.raw()
    peer.transport.pause_reading()
    farewell = RemotingCommand(ECHO, opaque=99, body=b"farewell")
    farewell.mark_oneway()
    requests = [RemotingCommand(ECHO, opaque=i, body=bytes(6000)) for i in range(5)]
    peer.transport.write(b"".join(encode_command(request) for request in [*requests, farewell]))
    await settle()
    assert world.server.channels[0].write_paused
    assert b"farewell" not in [request.body for request in world.served]
    await world.clock.run_ms(62_000)
    assert world.server.channels == [], "the peer took nothing and was given up"
    assert [request.body for request in world.served].count(b"farewell") == 1
    assert len(world.served) < 6, "what wants an answer is not worked on for nobody"


async def test_a_peer_that_reads_slowly_is_not_cut(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(RemotingLimits(write_buffer_bytes_max=10_000))
    peer = await world.raw()
    peer.transport.pause_reading()
    (channel,) = world.server.channels
    channel.invoke_oneway(RemotingCommand(40, body=bytes(2_000_000)))
    for _ in range(10):
        await world.clock.run_ms(30_000)
        peer.transport.resume_reading()
        for _ in range(3):
            await asyncio.sleep(0)
        peer.transport.pause_reading()
    assert channel.write_paused, "it has not taken everything yet"
    assert not channel.closed, "something was taken within each time limit, of the stall and of the idle connection"
    await world.clock.run_ms(62_000)
    assert channel.closed


async def test_output_has_a_last_bound(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(RemotingLimits(write_buffer_bytes_max=10_000, write_buffer_bytes_abort=50_000))
    peer = await world.raw()
    peer.transport.pause_reading()
    (channel,) = world.server.channels
    for _ in range(30):
        channel.invoke_oneway(RemotingCommand(40, body=bytes(2000)))
        await settle()
    assert channel.closed
    assert "does not read" in channel.close_reason


async def test_two_ends_full_of_output_do_not_block_each_other(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(RemotingLimits(write_buffer_bytes_max=5_000))
    channel = await world.client.connect(ADDRESS)
    # More than both ends and the wire can hold: the server stops reading until we take its answers.
    futures = [channel.start_invoke(_request(ECHO, bytes(3000)))[0] for _ in range(200)]
    await settle()
    assert all(future.done() for future in futures)
    assert all(len(future.result().body) == 3000 for future in futures)


async def test_requests_of_ours_are_bounded(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(RemotingLimits(pending_max=2))
    tasks = [asyncio.ensure_future(world.client.invoke(ADDRESS, _request(LATER), 5000)) for _ in range(3)]
    await settle()
    with pytest.raises(RemotingSendError, match="2 requests already wait"):
        tasks[2].result()
    for task in tasks[:2]:
        task.cancel()


async def test_a_sender_waits_for_room_and_gives_up_in_time(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(RemotingLimits(write_buffer_bytes_max=5_000))
    await world.ask(_request(ECHO))
    world.net.partition("127.0.0.1", "127.0.0.1")
    channel = world.client.channel(ADDRESS)
    assert channel is not None
    first = asyncio.ensure_future(channel.invoke(_request(ECHO, bytes(9000)), 60_000))
    await settle()
    second = asyncio.ensure_future(channel.invoke(_request(ECHO, b"2"), 1000))
    third = asyncio.ensure_future(channel.invoke(_request(ECHO, b"3"), 60_000))
    await world.clock.run_ms(1000)
    with pytest.raises(RemotingSendError, match="has not taken earlier output within 1000 ms"):
        second.result()
    world.net.heal()
    await settle()
    assert first.result().code == 0
    assert third.result().body == b"3"


# -- connections of the client ----------------------------------------------------------------------------------------


async def test_connect_refused(world: World) -> None:
    task = asyncio.ensure_future(world.client.invoke("127.0.0.1:1", _request(ECHO), 1000))
    await settle()
    with pytest.raises(RemotingConnectError, match=r"127\.0\.0\.1:1 failed: Connection refused"):
        task.result()


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "host:99999", ""])
async def test_connect_to_what_is_no_address(world: World, address: str) -> None:
    with pytest.raises(RemotingConnectError, match="is no address"):
        await world.client.invoke(address, _request(ECHO), 1000)


async def test_connect_into_the_void_ends_in_time() -> None:
    clock = VirtualClock()
    net = MemoryNet(clock, host="10.0.0.1")
    net.partition("10.0.0.1", "10.0.0.2")
    client = RemotingClient(net, clock)
    short = asyncio.ensure_future(client.invoke("10.0.0.2:1", _request(ECHO), 500))
    long = asyncio.ensure_future(client.invoke("10.0.0.2:1", _request(ECHO), 10_000))
    await clock.run_ms(500)
    with pytest.raises(RemotingConnectError):
        short.result()
    assert not long.done(), "who gives up early does not end the attempt for the others"
    await clock.run_ms(2500)
    with pytest.raises(RemotingConnectError):
        long.result()
    await client.close()


async def test_a_lost_connection_fails_what_waits_and_is_made_again(world: World) -> None:
    task = asyncio.ensure_future(world.client.invoke(ADDRESS, _request(LATER), 5000))
    await settle()
    assert world.net.break_connections(port=9876) == 1
    await settle()
    with pytest.raises(ConnectionClosed, match="ended before the answer"):
        task.result()
    assert (await world.ask(_request(ECHO, b"again"))).body == b"again"
    assert len(world.opened) == 2
    assert len(world.closed) == 1


async def test_one_connection_attempt_serves_all_who_wait(world: World) -> None:
    world.net.set_latency_ms(50)
    tasks = [asyncio.ensure_future(world.client.invoke(ADDRESS, _request(ECHO), 1000)) for _ in range(10)]
    await world.clock.run_ms(500)
    assert all(task.result().code == 0 for task in tasks)
    assert len(world.opened) == 1


async def test_close_channel_makes_the_next_request_connect_anew(world: World) -> None:
    await world.ask(_request(ECHO))
    world.client.close_channel(ADDRESS)
    await settle()
    assert world.server.channels == []
    assert world.client.channel(ADDRESS) is None
    await world.ask(_request(ECHO))
    assert len(world.opened) == 2


async def test_go_away_is_followed_by_a_new_connection(world: World) -> None:
    await world.ask(_request(ECHO))
    old = world.client.channel(ADDRESS)
    world.server.go_away()
    other = RemotingServer(world.net, world.clock, world.table)
    world.server.stop_listening()
    await other.listen("127.0.0.1", 9876)
    answer = await world.ask(_request(ECHO, b"x"))
    assert (answer.code, answer.body) == (0, b"x")
    assert world.client.channel(ADDRESS) is not old
    assert len(other.channels) == 1
    await other.close()


async def test_go_away_is_given_to_the_caller_when_there_is_no_other(world: World) -> None:
    await world.ask(_request(ECHO))
    world.server.go_away()
    assert (await world.ask(_request(ECHO))).code == 1500
    world.server.stop_listening()
    assert (await world.ask(_request(ECHO))).code == 1500


async def test_older_clients_are_served_to_the_end(world: World) -> None:
    world.server.go_away()
    assert (await world.ask(RemotingCommand(ECHO, version=475))).code == 0
    assert (await world.ask(RemotingCommand(ECHO, version=476))).code == 1500


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_close_lets_running_requests_end(world: World) -> None:
    task = asyncio.ensure_future(world.client.invoke(ADDRESS, _request(SLOW), 5000))
    await settle()
    closing = asyncio.ensure_future(world.server.close(grace_ms=1000))
    await world.clock.run_ms(99)
    assert not closing.done()
    await world.clock.run_ms(1)
    assert task.result().remark == "slow"
    assert closing.done()


async def test_close_does_not_wait_for_ever(world: World) -> None:
    task = asyncio.ensure_future(world.client.invoke(ADDRESS, RemotingCommand(SLOW, ext_fields={"ms": "60000"}), 600_000))
    await settle()
    closing = asyncio.ensure_future(world.server.close(grace_ms=1000))
    await world.clock.run_ms(1000)
    assert closing.done()
    with pytest.raises(ConnectionClosed):
        task.result()


async def test_close_cuts_a_peer_that_does_not_read(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world()
    peer = await world.raw()
    peer.transport.pause_reading()
    (channel,) = world.server.channels
    channel.invoke_oneway(RemotingCommand(40, body=bytes(1000)))
    closing = asyncio.ensure_future(world.server.close(grace_ms=1000))
    await world.clock.run_ms(500)
    assert not closing.done()
    await world.clock.run_ms(600)
    assert closing.done()
    assert world.server.channels == []


async def test_a_closed_client_says_so(world: World) -> None:
    await world.client.close()
    with pytest.raises(RemotingSendError, match="client is closed"):
        await world.client.invoke(ADDRESS, _request(ECHO), 1000)


async def test_callers_hear_about_each_connection_once(world: World) -> None:
    for _ in range(3):
        await world.ask(_request(ECHO))
        world.client.close_channel(ADDRESS)
        await settle()
    assert [channel.id for channel in world.opened] == [channel.id for channel in world.closed]
    assert len({channel.id for channel in world.opened}) == 3
    assert all(channel.closed for channel in world.closed)


def _request(code: int, body: bytes = b"") -> RemotingCommand:
    return RemotingCommand(code, body=body)
