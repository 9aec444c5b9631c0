"""The one remoting client: brokers, clients, tools and proxies call with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gantry.errors import ConfigError, RemotingConnectError, RemotingSendError
from gantry.protocol.remoting.codes import ResponseCode
from gantry.protocol.remoting.command import RemotingCommand

from .address import split_address
from .channel import Channel
from .clock import Clock, TimerHandle
from .connection import FrameIngest, Handshake, Ingest, RemotingConnection, close_all, sweep
from .net import Net
from .remoting_limits import RemotingLimits
from .request_table import RequestDispatcher, RequestTable

__all__ = ["RemotingClient", "RemotingLimits"]

log = logging.getLogger(__name__)

ANSWER_HEADER_BYTES_MAX = 4 * 1024 * 1024
"""The answer to a batch lists an id of 33 characters per member in one header field: far more than a request may carry."""


class RemotingClient:
    """Keeps one connection per address, made when it is first needed and again after it was lost.

    Requests of the peer (a broker asks its clients) are served by `requests`. A connection that is idle for
    limits.idle_ms is closed. Everything runs on one loop.
    """

    listens = False

    def __init__(
        self,
        net: Net,
        clock: Clock,
        *,
        requests: RequestTable | None = None,
        limits: RemotingLimits | None = None,
        on_close: Callable[[Channel], None] | None = None,
    ) -> None:
        self.clock = clock
        self.limits = limits or RemotingLimits(header_bytes_max=ANSWER_HEADER_BYTES_MAX)
        self.dispatcher = RequestDispatcher(RequestTable() if requests is None else requests, clock, self.limits)
        self._net = net
        self._on_close = on_close
        self._current: dict[str, Channel] = {}
        self._connecting: dict[str, asyncio.Task[Channel]] = {}
        self._connections: dict[int, RemotingConnection] = {}
        self._sweep_timer: TimerHandle | None = None
        self._closed = False

    async def invoke(self, address: str, command: RemotingCommand, timeout_ms: float) -> RemotingCommand:
        """Send a request to `ip:port` and return the answer, whatever its code. The time covers connecting too.

        A peer that answers GO_AWAY is about to stop: its connection gets no more requests, and this one is sent again
        over a new connection, once.
        Raises: RemotingConnectError, RemotingSendError (neither has reached the peer), RemotingTimeout and
        ConnectionClosed (it may have), LocalProtocolError.
        """
        deadline_ms = self.clock.monotonic_ms() + timeout_ms
        channel = await self._channel(address, timeout_ms)
        response = await channel.invoke(command, self._left(deadline_ms, address))
        if response.code == ResponseCode.GO_AWAY:
            self._retire(address, channel)
            left_ms = deadline_ms - self.clock.monotonic_ms()
            if left_ms <= 0:
                return response
            try:
                channel = await self._channel(address, left_ms)
            except RemotingConnectError as e:
                log.info("%s goes away and takes no new connection: %s", address, e)
                return response
            response = await channel.invoke(command, self._left(deadline_ms, address))
        return response

    async def invoke_oneway(self, address: str, command: RemotingCommand, timeout_ms: float | None = None) -> None:
        """Send a request that is not answered; returns when it is handed to the connection.

        Raises: RemotingConnectError, RemotingSendError, LocalProtocolError.
        """
        timeout_ms = self.limits.connect_timeout_ms if timeout_ms is None else timeout_ms
        deadline_ms = self.clock.monotonic_ms() + timeout_ms
        channel = await self._channel(address, timeout_ms)
        await channel.drain(self._left(deadline_ms, address))
        channel.invoke_oneway(command)

    async def connect(self, address: str) -> Channel:
        """The connection to an address, made now if there is none. Raises: RemotingConnectError, RemotingSendError."""
        return await self._channel(address, self.limits.connect_timeout_ms)

    def channel(self, address: str) -> Channel | None:
        """The open connection to an address, if there is one."""
        channel = self._current.get(address)
        return channel if channel is not None and not channel.closed else None

    @property
    def channels(self) -> list[Channel]:
        """All open connections."""
        return [connection.channel for connection in self._connections.values()]

    def close_channel(self, address: str, reason: str = "it is not needed any more") -> None:
        """Close the connection to an address; the next request makes a new one."""
        channel = self._current.pop(address, None)
        if channel is not None:
            channel.close(reason)

    async def close(self, *, grace_ms: float = 1000) -> None:
        """Close every connection; requests that wait for answers fail with ConnectionClosed. Idempotent."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        connecting = list(self._connecting.values())
        for task in connecting:
            task.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)
        await self.dispatcher.stop(grace_ms)
        self._current.clear()
        await close_all(self.clock, self._connections, "the client stops", grace_ms)

    # -- ConnectionOwner ----------------------------------------------------------------------------------------------

    def opened(self, connection: RemotingConnection) -> str | None:
        if self._closed:
            return "the client stops"
        self._connections[connection.channel.id] = connection
        if self._sweep_timer is None:
            self._sweep_timer = self.clock.call_later(self.limits.sweep_ms, self._sweep)
        return None

    def closed(self, connection: RemotingConnection) -> None:
        channel = connection.channel
        del self._connections[channel.id]
        log.debug("connection to %s has ended: %s", channel.remote_address, channel.close_reason)
        if self._on_close is not None:
            self._on_close(channel)

    def output_waits(self, connection: RemotingConnection) -> None:
        pass  # callers wait for room by themselves (see Channel.invoke)

    def may_serve(self, connection: RemotingConnection) -> bool:
        return True

    def make_ingest(self, channel: Channel) -> Ingest:
        return FrameIngest(self.limits)

    def make_handshake(self, channel: Channel) -> Handshake | None:
        return None

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _channel(self, address: str, timeout_ms: float) -> Channel:
        channel = self._current.get(address)
        if channel is not None and not channel.closed:
            return channel
        if self._closed:
            raise RemotingSendError(f"nothing was sent to {address}: this client is closed")
        task = self._connecting.get(address)
        if task is None:
            # One attempt serves all who wait for this address; who gives up earlier does not end it for the others.
            task = asyncio.get_running_loop().create_task(self._connect(address))
            self._connecting[address] = task
            task.add_done_callback(lambda done: self._connect_done(address, done))
        timer_expired: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.clock.call_later(timeout_ms, _resolve, timer_expired)
        try:
            await asyncio.wait((task, timer_expired), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            timer_expired.cancel()
        if not task.done():
            raise RemotingConnectError(f"connect to {address} failed: not connected within {timeout_ms:g} ms")
        if task.cancelled():
            raise RemotingSendError(f"nothing was sent to {address}: this client is closed")
        return task.result()

    async def _connect(self, address: str) -> Channel:
        try:
            host, port = split_address(address)
        except ConfigError as e:
            raise RemotingConnectError(f"connect to {address} failed: {e}") from e
        connection = RemotingConnection(self)
        await self._net.connect(host, port, lambda: connection, self.limits.connect_timeout_ms)
        channel = connection.channel
        if channel.closed:
            raise RemotingConnectError(f"connect to {address} failed: {channel.close_reason}")
        self._current[address] = channel
        return channel

    def _connect_done(self, address: str, task: asyncio.Task[Channel]) -> None:
        if self._connecting.get(address) is task:
            del self._connecting[address]
        if not task.cancelled():
            task.exception()  # everyone who waited may have given up

    def _retire(self, address: str, channel: Channel) -> None:
        # Its pending requests may still be answered; it then goes idle and is closed, by either end.
        if self._current.get(address) is channel:
            del self._current[address]

    def _left(self, deadline_ms: float, address: str) -> float:
        left_ms = deadline_ms - self.clock.monotonic_ms()
        if left_ms <= 0:
            raise RemotingSendError(f"nothing was sent to {address}: connecting took all the time")
        return left_ms

    def _sweep(self) -> None:
        self._sweep_timer = None
        if self._connections:
            self._sweep_timer = self.clock.call_later(self.limits.sweep_ms, self._sweep)
            sweep(list(self._connections.values()), self.clock.monotonic_ms())


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
