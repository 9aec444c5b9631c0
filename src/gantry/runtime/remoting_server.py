"""The one remoting server: name server, broker, controller and proxy listen with it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from gantry.errors import RemotingError

from .channel import Channel
from .clock import Clock, TimerHandle
from .connection import (
    FrameIngest,
    Handshake,
    HandshakeFactory,
    Ingest,
    IngestFactory,
    RemotingConnection,
    close_all,
    sweep,
)
from .net import Listener, Net
from .open_files import open_files_limit
from .remoting_limits import RemotingLimits
from .request_table import Answer, Handler, RequestContext, RequestDispatcher, RequestRow, RequestTable

__all__ = [
    "Answer",
    "Channel",
    "Handler",
    "Handshake",
    "Ingest",
    "RemotingLimits",
    "RemotingServer",
    "RequestContext",
    "RequestRow",
    "RequestTable",
]

log = logging.getLogger(__name__)

_CONGESTED = "congested"

ChannelCallback = Callable[[Channel], None]


class RemotingServer:
    """Listens on one or more addresses and serves the requests of one table.

    on_connect and on_close are told about each accepted channel once. `ingest_factory` may put an engine in front of
    the table (see connection.Ingest); `handshake_factory` may take the first bytes of a connection.
    """

    listens = True

    def __init__(
        self,
        net: Net,
        clock: Clock,
        requests: RequestTable,
        *,
        limits: RemotingLimits | None = None,
        on_connect: ChannelCallback | None = None,
        on_close: ChannelCallback | None = None,
        ingest_factory: IngestFactory | None = None,
        handshake_factory: HandshakeFactory | None = None,
    ) -> None:
        self.clock = clock
        self.limits = limits or RemotingLimits()
        self.dispatcher = RequestDispatcher(requests, clock, self.limits)
        self.refused_count = 0
        """Connections closed at once because of a connection limit."""
        self._net = net
        self._on_connect = on_connect
        self._on_close = on_close
        self._ingest_factory = ingest_factory
        self._handshake_factory = handshake_factory
        self._listeners: list[Listener] = []
        self._connections: dict[int, RemotingConnection] = {}
        self._per_host: Counter[str] = Counter()
        self._hosts: dict[int, str] = {}
        self._stalled: dict[int, Channel] = {}
        self._congested = False
        self._parked: list[RemotingConnection] = []
        self._descriptor_end = open_files_limit() * 3 // 4
        self._sweep_timer: TimerHandle | None = None
        self._refused_logged = 0
        self._closing = False

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns host and real port. Raises: ListenError naming the address."""
        if self._closing:
            raise RemotingError("this server is closed")
        listener = await self._net.listen(host, port, lambda: RemotingConnection(self))
        self._listeners.append(listener)
        if self._sweep_timer is None:
            self._sweep_timer = self.clock.call_later(self.limits.sweep_ms, self._sweep)
        return listener.address

    @property
    def channels(self) -> list[Channel]:
        """The open connections."""
        return [connection.channel for connection in self._connections.values()]

    def go_away(self) -> None:
        """Answer every further request of those who understand it with GO_AWAY, so that they reconnect elsewhere."""
        self.dispatcher.draining = True

    def stop_listening(self) -> None:
        """Take no further connections; those that exist go on."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def close(self, *, grace_ms: float = 3000) -> None:
        """Stop listening, let running requests end for `grace_ms`, then close every connection. Idempotent."""
        self._closing = True
        self.stop_listening()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        await self.dispatcher.stop(grace_ms)
        await close_all(self.clock, self._connections, "the server stops", grace_ms)

    # -- ConnectionOwner ----------------------------------------------------------------------------------------------

    def opened(self, connection: RemotingConnection) -> str | None:
        channel = connection.channel
        host = channel.remote_host
        reason = None
        if self._closing:
            reason = "the server stops"
        elif channel.descriptor >= self._descriptor_end:
            # Descriptors are handed out lowest first. The rest is for files: without them the store cannot write.
            reason = f"{self._descriptor_end} files and connections are open, a quarter of what is allowed is kept for files"
        elif len(self._connections) >= self.limits.connections_max:
            reason = f"{self.limits.connections_max} connections are open"
        elif self._per_host[host] >= self.limits.connections_per_address_max:
            reason = f"{self.limits.connections_per_address_max} connections from {host} are open"
        if reason is not None:
            if not self._closing:
                self.refused_count += 1
                if self.refused_count == 1:
                    log.warning("connection from %s is refused: %s", channel.remote_address, reason)
                    self._refused_logged = 1
            if not self._per_host[host]:
                del self._per_host[host]
            return reason
        self._connections[channel.id] = connection
        # A handshake may change what the channel calls its peer; the count must go back to the host it was taken from.
        self._hosts[channel.id] = host
        self._per_host[host] += 1
        log.debug("connection from %s", channel.remote_address)
        if self._on_connect is not None:
            self._on_connect(channel)
        return None

    def closed(self, connection: RemotingConnection) -> None:
        channel = connection.channel
        del self._connections[channel.id]
        host = self._hosts.pop(channel.id)
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]
        log.debug("connection from %s has ended: %s", channel.remote_address, channel.close_reason)
        if self._on_close is not None:
            self._on_close(channel)

    def output_waits(self, connection: RemotingConnection) -> None:
        channel = connection.channel
        self._stalled[channel.id] = channel
        self._bound_output()

    def may_serve(self, connection: RemotingConnection) -> bool:
        if not self._congested:
            return True
        connection.channel.pause_reading(_CONGESTED)
        self._parked.append(connection)
        return False

    def make_ingest(self, channel: Channel) -> Ingest:
        return FrameIngest(self.limits) if self._ingest_factory is None else self._ingest_factory(channel)

    def make_handshake(self, channel: Channel) -> Handshake | None:
        return None if self._handshake_factory is None else self._handshake_factory(channel)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _bound_output(self) -> None:
        """Closes connections, the one that has stood still for longest first, until what waits fits its bound.

        Only those above write_buffer_bytes_max count: they are the few that matter.
        """
        self._stalled = {key: channel for key, channel in self._stalled.items() if channel.write_paused and not channel.closed}
        limit = self.limits.output_bytes_max
        waiting = sum(channel.output_bytes for channel in self._stalled.values())
        if waiting <= limit:
            return
        if not self._congested:
            # What is given up below is free with the next turn of the loop; until then nobody may ask for more.
            self._congested = True
            asyncio.get_running_loop().call_soon(self._relieve)
        for channel in sorted(self._stalled.values(), key=lambda channel: channel.stalled_since_ms):
            log.warning(
                "connection %s is closed: %d bytes of output wait for slow peers, more than %d, and this one is the slowest",
                channel.remote_address, waiting, limit,
            )  # fmt: skip
            waiting -= channel.output_bytes
            channel.abort("too much output waits, and this peer is the slowest to take it")
            if waiting <= limit:
                return

    def _relieve(self) -> None:
        self._congested = False
        parked, self._parked = self._parked, []
        for connection in parked:
            connection.channel.resume_reading(_CONGESTED)
            connection.go_on()

    def _sweep(self) -> None:
        self._sweep_timer = self.clock.call_later(self.limits.sweep_ms, self._sweep)
        sweep(list(self._connections.values()), self.clock.monotonic_ms())
        if self._stalled:
            self._bound_output()
        if self.refused_count > self._refused_logged:
            log.warning(
                "%d connections were refused in the last %d ms: too many are open",
                self.refused_count - self._refused_logged,
                self.limits.sweep_ms,
            )
            self._refused_logged = self.refused_count
