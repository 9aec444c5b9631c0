"""Peers that ask and do not read: served no further than they take, and bounded together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gantry.protocol.remoting.command import RemotingCommand, decode_frame, encode_command
from gantry.protocol.remoting.frame import FrameDecoder
from gantry.runtime.open_files import open_files_limit, raise_open_files_limit
from gantry.runtime.remoting_limits import RemotingLimits
from gantry.runtime.remoting_server import Channel, RemotingServer, RequestContext, RequestTable
from gantry.testing import MemoryNet, VirtualClock, settle
from tests.unit.runtime.raw_peer import RawPeer

BIG, ANSWER_BYTES = 1, 20_000


class Deaf(RawPeer):
    """A peer in bytes, whose reading can be stopped."""

    def opaques(self) -> list[int]:
        decoder = FrameDecoder()
        decoder.receive_data(self.received)
        found = []
        while (frame := decoder.next_frame()) is not None:
            found.append(decode_frame(frame).opaque)
        return found


class World:
    def __init__(self, **limits: Any) -> None:
        self.clock = VirtualClock()
        self.net = MemoryNet(self.clock)
        self.served: list[tuple[int, int]] = []
        table = RequestTable()
        table.add(BIG, None, self.big)
        self.opened: list[Channel] = []
        self.server = RemotingServer(
            self.net, self.clock, table, limits=RemotingLimits(**limits), on_connect=self.opened.append
        )

    def big(self, ctx: RequestContext, request: RemotingCommand, header: None) -> RemotingCommand:
        self.served.append((ctx.channel.id, request.opaque))
        return request.reply(body=bytes(ANSWER_BYTES))

    async def peer(self, *, reading: bool = False) -> Deaf:
        peer = Deaf()
        await self.net.connect("127.0.0.1", 9876, lambda: peer, 1000)
        if not reading:
            peer.transport.pause_reading()
        return peer


def requests(count: int, tail: bytes = b"") -> bytes:
    return b"".join(encode_command(RemotingCommand(BIG, opaque=number)) for number in range(count)) + tail


@pytest.fixture
async def make_world() -> AsyncIterator[Callable[..., Awaitable[World]]]:
    worlds: list[World] = []

    async def make(**limits: Any) -> World:
        world = World(**limits)
        await world.server.listen("127.0.0.1", 9876)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        await world.server.close(grace_ms=0)
        await world.clock.run_ms(100)
        assert world.server.channels == []
        assert world.clock.timer_count == 0


async def test_requests_of_one_read_are_served_only_as_far_as_their_answers_are_taken(
    make_world: Callable[..., Awaitable[World]],
) -> None:
    world = await make_world(write_buffer_bytes_max=50_000)
    peer = await world.peer()
    peer.transport.write(requests(500))
    await settle()
    assert len(world.served) < 20, "500 requests came in one read; their answers would be 10 MB"
    (channel,) = world.server.channels
    assert channel.output_bytes < 50_000 + 2 * ANSWER_BYTES
    peer.transport.resume_reading()
    await settle()
    assert peer.opaques() == list(range(500)), "all of them, in order, once the peer reads"


async def test_a_bad_frame_behind_requests_that_wait_ends_the_connection_after_them(
    make_world: Callable[..., Awaitable[World]],
) -> None:
    world = await make_world(write_buffer_bytes_max=50_000)
    peer = await world.peer()
    peer.transport.write(requests(100, tail=bytes(8)))
    await settle()
    assert not peer.closed
    peer.transport.resume_reading()
    await settle()
    assert peer.opaques() == list(range(100))
    assert peer.closed


async def test_requests_that_wait_go_with_their_connection(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world(write_buffer_bytes_max=50_000)
    peer = await world.peer()
    peer.transport.write(requests(500))
    await settle()
    served = len(world.served)
    peer.transport.abort()
    await world.clock.run_ms(70_000)  # at the latest by the time limit of a peer that takes nothing
    assert world.server.channels == []
    assert len(world.served) == served


async def test_all_slow_peers_together_hold_a_bounded_amount_and_the_slowest_goes_first(
    make_world: Callable[..., Awaitable[World]], caplog: pytest.LogCaptureFixture
) -> None:
    world = await make_world(write_buffer_bytes_max=50_000, output_bytes_max=400_000)
    for _ in range(12):
        peer = await world.peer()
        peer.transport.write(requests(50))
        await world.clock.run_ms(20)
    good = await world.peer(reading=True)
    good.transport.write(requests(10))
    await settle()
    assert good.opaques() == list(range(10)), "who reads is served"
    held = sum(channel.output_bytes for channel in world.server.channels)
    assert held <= 400_000
    gone = [channel.closed for channel in world.opened[:12]]
    assert 0 < sum(gone) < 12
    assert gone == sorted(gone, reverse=True), "those that stood still for longest went"
    assert "bytes of output wait for slow peers, more than 400000" in caplog.text


async def test_no_crowd_outruns_the_bound_within_one_turn_of_the_loop(make_world: Callable[..., Awaitable[World]]) -> None:
    """What a closed connection held is free with the next turn only: until then the others wait."""
    world = await make_world(write_buffer_bytes_max=50_000, output_bytes_max=400_000)
    crowd = [await world.peer() for _ in range(60)]
    worst = 0
    for peer in crowd:
        peer.transport.write(requests(50))
    for _ in range(200):
        await asyncio.sleep(0)
        worst = max(worst, sum(channel.output_bytes for channel in world.server.channels))
    assert worst < 400_000 + 5 * 70_000
    good = await world.peer(reading=True)
    good.transport.write(requests(3))
    await settle()
    assert good.opaques() == [0, 1, 2]


def test_the_limit_of_open_files_is_raised_to_what_the_system_allows() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowered = min(soft, 256) if soft != resource.RLIM_INFINITY else 256
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowered, hard))
    try:
        assert open_files_limit() == lowered
        assert raise_open_files_limit() >= lowered
        assert open_files_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if hard == resource.RLIM_INFINITY or hard > lowered:
            assert open_files_limit() > lowered
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
