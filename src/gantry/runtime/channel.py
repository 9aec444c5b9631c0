"""One remoting connection: commands out, answers matched to the requests of ours."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

from gantry.errors import (
    ConnectionClosed,
    LocalProtocolError,
    RemotingSendError,
    RemotingTimeout,
)
from gantry.protocol.remoting.command import RemotingCommand, encode_command

from .address import format_address
from .clock import Clock
from .net import Transport
from .remoting_limits import RemotingLimits

log = logging.getLogger(__name__)

_ids = itertools.count(1)
_OPAQUE_MASK = 0x7FFF_FFFF


class Channel:
    """Either end of a connection.

    `id` is unique in the process and never used again; `attributes` are the owner's to keep what belongs to the
    connection. All methods are called on the loop. Nothing raises because the peer has gone, except invoke: a closed
    channel swallows what is sent to it.
    """

    __slots__ = (
        "_clock",
        "_cork_depth",
        "_last_write_ms",
        "_limits",
        "_may_pause",
        "_next_opaque",
        "_out",
        "_out_bytes",
        "_pause_reasons",
        "_pending",
        "_stall_bytes",
        "_stall_ms",
        "_transport",
        "_writable",
        "_wrote",
        "attributes",
        "close_reason",
        "closed",
        "descriptor",
        "id",
        "in_flight_bytes",
        "in_flight_count",
        "local_host",
        "local_port",
        "remote_address",
        "remote_host",
        "remote_port",
        "write_paused",
    )

    def __init__(self, transport: Transport, clock: Clock, limits: RemotingLimits, *, may_pause: bool = True) -> None:
        self.id = next(_ids)
        self.attributes: dict[str, Any] = {}
        self.closed = False
        self.close_reason = ""
        self.write_paused = False
        """More output waits than write_buffer_bytes_max: a sender that can wait should."""
        self.in_flight_count = 0
        self.in_flight_bytes = 0
        peer = transport.get_extra_info("peername") or ("", 0)
        local = transport.get_extra_info("sockname") or ("", 0)
        self.local_host, self.local_port = str(local[0]), int(local[1])
        sock = transport.get_extra_info("socket")
        self.descriptor = -1 if sock is None else int(sock.fileno())
        """Number of its socket in this process; -1 in memory."""
        self._transport = transport
        self._clock = clock
        self._limits = limits
        self._may_pause = may_pause
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._cork_depth = 0
        self._pending: dict[int, asyncio.Future[RemotingCommand]] = {}
        self._next_opaque = 0
        self._writable: list[asyncio.Future[None]] = []
        self._pause_reasons: set[str] = set()
        self._last_write_ms = clock.monotonic_ms()
        self._wrote = False
        """Since overdue() looked last: it is cheaper than asking for the time with each write."""
        self._stall_ms = 0
        self._stall_bytes = 0
        self.set_remote(str(peer[0]), int(peer[1]))
        high = limits.write_buffer_bytes_max
        transport.set_write_buffer_limits(high=high, low=high // 4)

    def __repr__(self) -> str:
        return f"<Channel {self.id} {self.remote_address}{' closed' if self.closed else ''}>"

    def set_remote(self, host: str, port: int) -> None:
        """Who the peer is; a handshake that tells the client behind a load balancer corrects it."""
        self.remote_host = host
        self.remote_port = port
        self.remote_address = format_address(host, port)

    # -- out ----------------------------------------------------------------------------------------------------------

    def send(self, command: RemotingCommand) -> None:
        """Send a command as it is: an answer, or a oneway request whose opaque nobody waits for.

        Raises: LocalProtocolError when it does not fit a frame; then nothing was sent.
        """
        self.write(encode_command(command, self._limits.frame_bytes_max))

    def write(self, data: bytes) -> None:
        """Send encoded frames. Inside one data_received all output leaves in one write."""
        if self.closed:
            return
        if self._cork_depth:
            self._out.append(data)
            self._out_bytes += len(data)
            # What is corked waits in memory like what the transport holds: it counts for the same bound.
            if self._out_bytes > self._limits.write_buffer_bytes_max:
                self._flush_corked()
            return
        self._flush(data)

    def cork(self) -> None:
        """Collect output until uncork(); calls nest."""
        self._cork_depth += 1

    def uncork(self) -> None:
        self._cork_depth -= 1
        if not self._cork_depth and self._out:
            self._flush_corked()

    async def invoke(self, command: RemotingCommand, timeout_ms: float) -> RemotingCommand:
        """Send a request and return the peer's answer, whatever its code; the command gets an opaque of this channel.

        Raises: RemotingSendError when it was not sent (closed, too many waiting, or no room in time), RemotingTimeout,
        ConnectionClosed when the connection ended first, LocalProtocolError.
        """
        deadline_ms = self._clock.monotonic_ms() + timeout_ms
        if self.write_paused:
            await self._wait_writable(timeout_ms)
        future, opaque = self.start_invoke(command)
        timer = self._clock.call_later(
            max(deadline_ms - self._clock.monotonic_ms(), 0), self._expire, future, command.code, timeout_ms
        )
        try:
            return await future
        finally:
            timer.cancel()
            self._pending.pop(opaque, None)

    def start_invoke(self, command: RemotingCommand) -> tuple[asyncio.Future[RemotingCommand], int]:
        """The first half of invoke: send, and the future of the answer. forget() must follow when nobody waits for it.

        Raises: RemotingSendError, LocalProtocolError.
        """
        if self.closed:
            raise RemotingSendError(f"request {command.code} was not sent: the connection to {self.remote_address} "
                                    f"is closed ({self.close_reason})")  # fmt: skip
        if len(self._pending) >= self._limits.pending_max:
            raise RemotingSendError(
                f"request {command.code} was not sent: {len(self._pending)} requests already wait for answers from "
                f"{self.remote_address}"
            )
        opaque = self._take_opaque()
        command.opaque = opaque
        data = encode_command(command, self._limits.frame_bytes_max)
        future: asyncio.Future[RemotingCommand] = asyncio.get_running_loop().create_future()
        self._pending[opaque] = future
        self.write(data)
        return future, opaque

    def forget(self, opaque: int) -> None:
        """Nobody waits for this answer any more; should it come, it is dropped."""
        self._pending.pop(opaque, None)

    def invoke_oneway(self, command: RemotingCommand) -> None:
        """Send a request that the peer does not answer. Raises: LocalProtocolError."""
        command.opaque = self._take_opaque()
        command.mark_oneway()
        self.send(command)

    async def drain(self, timeout_ms: float) -> None:
        """Return when the peer has taken enough of the output. Raises: RemotingSendError when it does not in time."""
        if self.write_paused:
            await self._wait_writable(timeout_ms)

    # -- in -----------------------------------------------------------------------------------------------------------

    def complete(self, response: RemotingCommand) -> None:
        """An answer came: hand it to who waits for it."""
        future = self._pending.pop(response.opaque, None)
        if future is None or future.done():
            log.debug("answer %d from %s is late, nobody waits for it", response.opaque, self.remote_address)
            return
        future.set_result(response)

    def begin_request(self, body_bytes: int) -> None:
        """A handler has begun to work on a request."""
        self.in_flight_count += 1
        self.in_flight_bytes += body_bytes
        if self.in_flight_bytes > self._limits.in_flight_bytes_max:
            self.pause_reading("in-flight")

    @property
    def overloaded(self) -> bool:
        """A further request is to be answered SYSTEM_BUSY."""
        limits = self._limits
        if self.in_flight_count >= limits.in_flight_max:
            return True
        # An end that may pause does so instead.
        return self.in_flight_bytes > limits.in_flight_bytes_max and not self._may_pause

    def end_request(self, body_bytes: int) -> None:
        self.in_flight_count -= 1
        self.in_flight_bytes -= body_bytes
        if self.in_flight_bytes <= self._limits.in_flight_bytes_max // 2:
            self.resume_reading("in-flight")

    def pause_reading(self, reason: str) -> None:
        """Read nothing from the peer until resume_reading was called for every reason given.

        Only the end that accepted the connection does. If both ends stopped reading because the other one does not
        take their output, neither would ever go on; and answers to requests of our own come this way too.
        """
        if not self._may_pause:
            return
        if not self._pause_reasons and not self.closed:
            self._transport.pause_reading()
        self._pause_reasons.add(reason)

    def resume_reading(self, reason: str) -> None:
        if reason in self._pause_reasons:
            self._pause_reasons.remove(reason)
            if not self._pause_reasons and not self.closed:
                self._transport.resume_reading()

    # -- end ----------------------------------------------------------------------------------------------------------

    def close(self, reason: str) -> None:
        """Close once the output has left; nothing more is read. Idempotent."""
        if not self.closed:
            self._end(reason)
            self._transport.close()

    def end(self, reason: str) -> None:
        """Close, without waiting for a peer that does not take the output. Idempotent."""
        if self.output_bytes:
            self.abort(reason)
        else:
            self.close(reason)

    @property
    def output_bytes(self) -> int:
        """Output handed to the transport that the peer has not taken yet."""
        return self._transport.get_write_buffer_size()

    def abort(self, reason: str) -> None:
        """Close now and drop the output. Idempotent."""
        if not self.closed:
            self._end(reason)
        self._transport.abort()

    # -- for the connection that owns this channel --------------------------------------------------------------------

    def lost(self, exc: Exception | None) -> None:
        """The transport has ended."""
        if not self.closed:
            self._end(str(exc) if exc else "the peer closed it")

    def on_pause_writing(self) -> None:
        self.write_paused = True
        self._stall_ms = self._clock.monotonic_ms()
        self._stall_bytes = self._transport.get_write_buffer_size()
        self.pause_reading("output")

    def on_resume_writing(self) -> None:
        self.write_paused = False
        self.resume_reading("output")
        self._wake_writers(None)

    @property
    def stalled_since_ms(self) -> int:
        """Monotonic ms since when the peer has taken nothing, seen at the last look; of a channel that is write_paused."""
        return self._stall_ms

    def overdue(self, now_ms: int, last_read_ms: int) -> str | None:
        """Why this connection should be closed now, if it should. Times are monotonic; asked about once a second."""
        if self._wrote:
            self._wrote, self._last_write_ms = False, now_ms
        if self.write_paused:
            waiting = self._transport.get_write_buffer_size()
            if waiting < self._stall_bytes:
                # The peer takes what was written long ago: slow, but neither standing still nor idle.
                self._stall_ms = self._last_write_ms = now_ms
            self._stall_bytes = waiting
            if now_ms - self._stall_ms >= self._limits.write_stall_ms:
                return f"the peer has taken none of {waiting} bytes for {now_ms - self._stall_ms} ms"
        idle_ms = now_ms - max(last_read_ms, self._last_write_ms)
        if idle_ms >= self._limits.idle_ms:
            return f"idle for {idle_ms} ms"
        return None

    # -- inside -------------------------------------------------------------------------------------------------------

    def _flush_corked(self) -> None:
        parts, self._out, self._out_bytes = self._out, [], 0
        if not self.closed:
            self._flush(parts[0] if len(parts) == 1 else b"".join(parts))

    def _flush(self, data: bytes) -> None:
        transport = self._transport
        transport.write(data)
        self._wrote = True
        if self.write_paused:
            waiting = transport.get_write_buffer_size()
            if waiting > self._limits.write_buffer_bytes_abort:
                reason = f"the peer does not read: {waiting} bytes of output wait"
                log.warning("connection %s is closed: %s", self.remote_address, reason)
                self.abort(reason)

    def _take_opaque(self) -> int:
        opaque = self._next_opaque
        self._next_opaque = (opaque + 1) & _OPAQUE_MASK
        while opaque in self._pending:  # after 2**31 requests, an old one may still wait
            opaque = self._next_opaque
            self._next_opaque = (opaque + 1) & _OPAQUE_MASK
        return opaque

    def _expire(self, future: asyncio.Future[RemotingCommand], code: int, timeout_ms: float) -> None:
        if not future.done():
            future.set_exception(
                RemotingTimeout(f"no answer to request {code} from {self.remote_address} within {timeout_ms:g} ms")
            )

    async def _wait_writable(self, timeout_ms: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writable.append(future)
        error = RemotingSendError(
            f"nothing was sent to {self.remote_address}: it has not taken earlier output within {timeout_ms:g} ms"
        )
        timer = self._clock.call_later(timeout_ms, _fail, future, error)
        try:
            await future
        finally:
            timer.cancel()
            if future in self._writable:
                self._writable.remove(future)

    def _wake_writers(self, error: Exception | None) -> None:
        waiting, self._writable = self._writable, []
        for future in waiting:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

    def _end(self, reason: str) -> None:
        # What is corked was written before the close and leaves before it.
        if self._out:
            parts, self._out, self._out_bytes = self._out, [], 0
            self._transport.write(b"".join(parts))
        self.closed = True
        self.close_reason = reason
        self._pause_reasons.clear()
        pending, self._pending = self._pending, {}
        for future in pending.values():
            if not future.done():
                future.set_exception(
                    ConnectionClosed(f"the connection to {self.remote_address} ended before the answer: {reason}")
                )
                # Who started the request may have gone too; then nobody is to be told.
                future.exception()
        self._wake_writers(RemotingSendError(f"the connection to {self.remote_address} is closed: {reason}"))


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def encode_or_explain(response: RemotingCommand, limits: RemotingLimits) -> bytes:
    """The frame of an answer; when it does not fit, the frame of an answer that says so: a requester is never left
    waiting for one that cannot be sent."""
    try:
        return encode_command(response, limits.frame_bytes_max)
    except LocalProtocolError as e:
        log.error("answer to request %d cannot be sent: %s", response.opaque, e)
        return encode_command(
            RemotingCommand(
                1,
                opaque=response.opaque,
                flag=response.flag,
                remark=f"the answer cannot be sent: {e}"[:1024],
                serialize_type=response.serialize_type,
            )
        )
