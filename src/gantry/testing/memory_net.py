"""Connections in memory: the Net door without sockets."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Iterable
from typing import Any

from gantry.errors import ListenError, RemotingConnectError
from gantry.runtime.address import format_address
from gantry.runtime.clock import Clock
from gantry.runtime.net import ProtocolFactory
from gantry.runtime.rng import Rng

_EPHEMERAL_PORT_MIN = 32768
_WINDOW_BYTES = 64 * 1024
"""What may be on its way to one end unread, as in a socket's buffers."""
_ANY = ("", "0.0.0.0", "::")
_LOOPBACK = ("localhost", "127.0.0.1")


class MemoryNet:
    """A network of hosts; every host is a Net of its own that shares the wires with all others.

    `MemoryNet()` is the host 127.0.0.1; `net.host("10.0.0.2")` another one. Bytes arrive in order, in a later turn of the
    loop, or `latency_ms` of the clock later. With an `rng` every write is cut at random places, so that a receiver sees
    any split of the stream. A receiver that pauses reading makes the sender's buffer fill, as a socket does.
    """

    def __init__(self, clock: Clock | None = None, rng: Rng | None = None, *, host: str = "127.0.0.1") -> None:
        self._wires = _Wires(clock, rng)
        self._host = host

    def host(self, host: str) -> MemoryNet:
        """The same network, seen from another host."""
        other = MemoryNet.__new__(MemoryNet)
        other._wires = self._wires
        other._host = host
        return other

    async def listen(self, host: str, port: int, factory: ProtocolFactory) -> MemoryListener:
        bound = self._host if host in _ANY or host in _LOOPBACK else host
        wires = self._wires
        if port == 0:
            port = wires.free_port(bound)
        if (bound, port) in wires.listeners:
            raise ListenError(f"cannot listen on {format_address(host or '0.0.0.0', port)}: the address is in use")
        listener = MemoryListener(wires, (bound, port), host or "0.0.0.0", factory)
        wires.listeners[bound, port] = listener
        return listener

    async def connect(self, host: str, port: int, factory: ProtocolFactory, timeout_ms: float) -> MemoryTransport:
        wires = self._wires
        target = self._host if host in _LOOPBACK else host
        shown = format_address(host, port)
        await asyncio.sleep(0)
        if wires.is_cut(self._host, target):
            # Packets are lost: the caller learns nothing before its time is over.
            if wires.clock is None:
                raise RemotingConnectError(f"connect to {shown} failed: no answer within {timeout_ms:g} ms")
            await wires.clock.sleep_ms(timeout_ms)
            raise RemotingConnectError(f"connect to {shown} failed: no answer within {timeout_ms:g} ms")
        if wires.latency_ms and wires.clock is not None:
            await wires.clock.sleep_ms(wires.latency_ms)
        listener = wires.listeners.get((target, port))
        if listener is None:
            raise RemotingConnectError(f"connect to {shown} failed: {os.strerror(errno.ECONNREFUSED)}")
        here = (self._host, wires.free_port(self._host))
        near = MemoryTransport(wires, here, (target, port), factory())
        far = MemoryTransport(wires, (target, port), here, listener.factory())
        near.join(far)
        far.join(near)
        wires.transports.extend((near, far))
        far.protocol.connection_made(far)
        near.protocol.connection_made(near)
        return near

    # -- what can go wrong --------------------------------------------------------------------------------------------

    def set_latency_ms(self, latency_ms: float) -> None:
        """Every write arrives this much later; needs a clock."""
        if latency_ms and self._wires.clock is None:
            raise ValueError("latency needs a clock")
        self._wires.latency_ms = latency_ms

    def partition(self, a: str, b: str) -> None:
        """Packets between two hosts are lost from now on, both ways: connections stay, nothing arrives, nobody is told.

        What is lost so is kept by the senders (TCP sends it again) and arrives after heal(), in order.
        """
        self._wires.cuts.add(frozenset((a, b)))

    def cut_off(self, host: str) -> None:
        """Packets between this host and every other one are lost from now on; as partition() with all of them."""
        self._wires.lone.add(host)

    def reconnect(self, host: str) -> None:
        """cut_off() ends for this host."""
        self._wires.lone.discard(host)
        self._pump_all()

    def heal(self) -> None:
        """All partitions end."""
        self._wires.cuts.clear()
        self._wires.lone.clear()
        self._pump_all()

    def _pump_all(self) -> None:
        for transport in list(self._wires.transports):
            transport.pump()

    def break_connections(self, host: str | None = None, port: int | None = None) -> int:
        """Reset the open connections (of a host, to a port); returns how many."""
        count = 0
        for transport in list(self._wires.transports):
            if host is not None and host not in (transport.local[0], transport.remote[0]):
                continue
            if port is not None and port not in (transport.local[1], transport.remote[1]):
                continue
            if not transport.lost:
                count += 1
                transport.reset()
        return count

    @property
    def connection_count(self) -> int:
        return sum(not t.lost for t in self._wires.transports) // 2


class MemoryListener:
    """A listening address of a MemoryNet."""

    def __init__(self, wires: _Wires, key: tuple[str, int], shown_host: str, factory: ProtocolFactory) -> None:
        self.factory = factory
        self._wires = wires
        self._key = key
        self._shown_host = shown_host

    @property
    def address(self) -> tuple[str, int]:
        return (self._shown_host, self._key[1])

    def close(self) -> None:
        if self._wires.listeners.get(self._key) is self:
            del self._wires.listeners[self._key]


class MemoryTransport:
    """One end of a connection in memory."""

    def __init__(self, wires: _Wires, local: tuple[str, int], remote: tuple[str, int], protocol: Any) -> None:
        self.local = local
        self.remote = remote
        self.protocol = protocol
        self.lost = False
        self._wires = wires
        self._peer: MemoryTransport | None = None
        self._out: deque[memoryview] = deque()
        self._out_bytes = 0
        self._high = 64 * 1024
        self._low = 16 * 1024
        self._writing_paused = False
        self._reading_paused = False
        self._closing = False
        self._arriving: deque[bytes | None] = deque()
        self._pump_set = False
        self._deliver_set = False
        self._unread_bytes = 0

    def join(self, peer: MemoryTransport) -> None:
        self._peer = peer

    # -- asyncio.Transport --------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data or self.lost or self._closing:
            return
        self._out.append(memoryview(bytes(data)))
        self._out_bytes += len(data)
        self._schedule_pump()
        if self._out_bytes > self._high and not self._writing_paused:
            self._writing_paused = True
            self.protocol.pause_writing()

    def writelines(self, parts: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        if self._closing or self.lost:
            return
        self._closing = True
        self._schedule_pump()

    def abort(self) -> None:
        if self.lost:
            return
        self._closing = True
        self._out.clear()
        self._out_bytes = 0
        self._lose(None)
        self._send_end()

    def is_closing(self) -> bool:
        return self._closing or self.lost

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        self._reading_paused = False
        self._schedule_deliver()
        if self._peer is not None:
            self._peer._schedule_pump()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return self._out_bytes

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self.remote, "sockname": self.local}.get(name, default)

    # -- the wire -----------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """The connection breaks for both ends at once."""
        for end in (self, self._peer):
            if end is not None and not end.lost:
                end._out.clear()
                end._out_bytes = 0
                end._lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))

    def pump(self) -> None:
        """Hand what is written to the wire, as far as the peer takes it."""
        self._pump_set = False
        peer, wires = self._peer, self._wires
        if peer is None or self.lost or wires.is_cut(self.local[0], self.remote[0]):
            return
        while self._out and not peer._reading_paused and peer._unread_bytes < _WINDOW_BYTES:
            data = self._out.popleft()
            room = _WINDOW_BYTES - peer._unread_bytes
            if len(data) > room:
                self._out.appendleft(data[room:])
                data = data[:room]  # a view: cutting up a large frame copies each byte once
            self._out_bytes -= len(data)
            peer._unread_bytes += len(data)
            for piece in wires.pieces(bytes(data)):
                self._carry(piece)
        if self._writing_paused and self._out_bytes <= self._low:
            self._writing_paused = False
            self.protocol.resume_writing()
        if self._closing and not self._out:
            self._lose(None)
            self._send_end()

    def _send_end(self) -> None:
        if self._peer is not None and not self._wires.is_cut(self.local[0], self.remote[0]):
            self._carry(None)

    def _carry(self, piece: bytes | None) -> None:
        peer, wires = self._peer, self._wires
        assert peer is not None
        if wires.latency_ms and wires.clock is not None:
            wires.clock.call_later(wires.latency_ms, peer._arrive, piece)
        else:
            peer._arrive(piece)

    def _arrive(self, piece: bytes | None) -> None:
        self._arriving.append(piece)
        self._schedule_deliver()

    def _deliver(self) -> None:
        self._deliver_set = False
        while self._arriving and not self.lost and not self._reading_paused:
            piece = self._arriving.popleft()
            if piece is None:
                keep_open = self.protocol.eof_received()
                if not keep_open:
                    # The peer is gone: what is still to be sent has nobody to take it.
                    self._out.clear()
                    self._out_bytes = 0
                    self._lose(None)
                return
            self._unread_bytes -= len(piece)
            if not self._closing:
                self.protocol.data_received(piece)
        if self._peer is not None:
            self._peer._schedule_pump()

    def _schedule_pump(self) -> None:
        if not self._pump_set and not self.lost:
            self._pump_set = True
            asyncio.get_running_loop().call_soon(self.pump)

    def _schedule_deliver(self) -> None:
        if not self._deliver_set and self._arriving and not self.lost:
            self._deliver_set = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _lose(self, exc: Exception | None) -> None:
        self.lost = True
        self._closing = True
        self._arriving.clear()
        if self in self._wires.transports:
            self._wires.transports.remove(self)
        asyncio.get_running_loop().call_soon(self.protocol.connection_lost, exc)


class _Wires:
    def __init__(self, clock: Clock | None, rng: Rng | None) -> None:
        self.clock = clock
        self.rng = rng
        self.latency_ms: float = 0
        self.listeners: dict[tuple[str, int], MemoryListener] = {}
        self.transports: list[MemoryTransport] = []
        self.cuts: set[frozenset[str]] = set()
        self.lone: set[str] = set()
        self._next_port: dict[str, int] = {}

    def free_port(self, host: str) -> int:
        port = self._next_port.get(host, _EPHEMERAL_PORT_MIN)
        while (host, port) in self.listeners:
            port += 1
        self._next_port[host] = port + 1
        return port

    def is_cut(self, a: str, b: str) -> bool:
        return frozenset((a, b)) in self.cuts or (a != b and (a in self.lone or b in self.lone))

    def pieces(self, data: bytes) -> list[bytes]:
        if self.rng is None or len(data) < 2:
            return [data]
        cuts = sorted({self.rng.randrange(len(data)) for _ in range(1 + self.rng.randrange(3))} - {0})
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
