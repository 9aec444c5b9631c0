"""The callbacks of one remoting connection, the same for both ends: bytes in, frames cut, requests served."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gantry.errors import RemoteProtocolError
from gantry.protocol.remoting.command import decode_frame
from gantry.protocol.remoting.frame import Frame, FrameDecoder

from .channel import Channel
from .clock import Clock
from .net import Transport
from .remoting_limits import RemotingLimits
from .request_table import RequestDispatcher

log = logging.getLogger(__name__)


class Ingest(Protocol):
    """Cuts the bytes of one connection into frames.

    It may serve frames itself (writing to the channel, now or soon) and return only those it leaves to the request table.
    """

    def ingest(self, data: bytes) -> list[Frame]:
        """Raises: RemoteProtocolError when the bytes are no frames; the connection is closed then.

        When whole frames came before the bad bytes, they are returned, and the error is left in `failure`.
        """

    def finish(self) -> None:
        """No more bytes come: what was put off is done now."""

    @property
    def partial(self) -> bool:
        """An unfinished frame is held."""

    @property
    def failure(self) -> RemoteProtocolError | None:
        """What was wrong behind the frames last returned; the connection is closed once they are served."""


IngestFactory = Callable[[Channel], Ingest]


class Handshake(Protocol):
    """Takes the first bytes of a connection (a proxy header, TLS) before they count as frames."""

    def receive(self, data: bytes) -> bytes | None:
        """The bytes that follow the handshake (maybe none) once it is over, None until then.

        Raises: RemoteProtocolError to close the connection.
        """


HandshakeFactory = Callable[[Channel], Handshake | None]


class FrameIngest:
    """The plain one: every frame is left to the request table."""

    __slots__ = ("_decoder", "failure")

    def __init__(self, limits: RemotingLimits) -> None:
        self.failure: RemoteProtocolError | None = None
        self._decoder = FrameDecoder(limits.frame_bytes_max, limits.header_bytes_max)

    def ingest(self, data: bytes) -> list[Frame]:
        decoder = self._decoder
        decoder.receive_data(data)
        frames: list[Frame] = []
        try:
            while (frame := decoder.next_frame()) is not None:
                frames.append(frame)
        except RemoteProtocolError as e:
            if not frames:
                raise
            self.failure = e
        return frames

    def finish(self) -> None:
        return None

    @property
    def partial(self) -> bool:
        return self._decoder.buffered_bytes > 0


class ConnectionOwner(Protocol):
    """The server or client a connection belongs to."""

    clock: Clock
    limits: RemotingLimits
    dispatcher: RequestDispatcher
    listens: bool
    """It accepted its connections; only then may it stop reading one (see Channel.pause_reading)."""

    def opened(self, connection: RemotingConnection) -> str | None:
        """A connection was made; a reason to close it at once, or None."""

    def closed(self, connection: RemotingConnection) -> None:
        """It has ended; called once for each one that opened() accepted."""

    def output_waits(self, connection: RemotingConnection) -> None:
        """Its peer has not taken write_buffer_bytes_max of output."""

    def may_serve(self, connection: RemotingConnection) -> bool:
        """Whether it may be served now; if not, the owner calls its go_on() later."""

    def make_ingest(self, channel: Channel) -> Ingest: ...

    def make_handshake(self, channel: Channel) -> Handshake | None: ...


class RemotingConnection:
    """An asyncio protocol. A malformed frame ends this connection and touches no other."""

    __slots__ = (
        "_accepted",
        "_handshake",
        "_has_read",
        "_ingest",
        "_last_read_ms",
        "_owner",
        "_partial_since_ms",
        "_waiting",
        "channel",
    )

    channel: Channel

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._accepted = False
        self._handshake: Handshake | None = None
        self._last_read_ms = 0
        self._has_read = False
        """Since overdue() looked last: it is cheaper than asking for the time with each read."""
        self._partial_since_ms: int | None = None
        self._waiting: deque[Frame] = deque()
        """Whole frames of the last read that are not served yet."""

    # -- asyncio's callbacks ------------------------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:
        owner = self._owner
        self.channel = channel = Channel(transport, owner.clock, owner.limits, may_pause=owner.listens)
        self._last_read_ms = self._owner.clock.monotonic_ms()
        reason = owner.opened(self)
        if reason is not None:
            channel.abort(reason)
            return
        self._accepted = True
        self._handshake = owner.make_handshake(channel)
        self._ingest = owner.make_ingest(channel)

    def data_received(self, data: bytes) -> None:
        channel = self.channel
        if channel.closed:
            return
        self._has_read = True
        # As _guarded does, without its price: this is once for each read.
        channel.cork()
        try:
            self._receive(data)
        except Exception as error:
            self._fail(error)
        finally:
            channel.uncork()

    def _receive(self, data: bytes) -> None:
        if self._handshake is not None:
            rest = self._handshake.receive(data)
            if rest is None:
                self._partial_since_ms = self._partial_since_ms or self._owner.clock.monotonic_ms()
                return
            self._handshake = None
            data = rest
        ingest = self._ingest
        frames = ingest.ingest(data)
        if not ingest.partial:
            self._partial_since_ms = None
        elif frames or self._partial_since_ms is None:
            self._partial_since_ms = self._owner.clock.monotonic_ms()
        if frames:
            self._waiting.extend(frames)
        if self._waiting or ingest.failure is not None:
            self._serve(self._owner.clock.monotonic_ms())

    def _serve(self, now_ms: int) -> None:
        """Serves what came, until all is done or the peer must take answers first.

        Without that stop the requests of one read, a few ten kilobytes, could ask for gigabytes of answers at once.
        """
        channel, waiting, dispatcher = self.channel, self._waiting, self._owner.dispatcher
        if waiting and not self._owner.may_serve(self):
            return
        while waiting:
            if channel.write_paused and self._owner.listens:
                return
            command = decode_frame(waiting.popleft())
            if command.is_response:
                channel.complete(command)
            else:
                dispatcher.serve(channel, command, now_ms)
            if channel.closed:
                waiting.clear()
                return
        if self._ingest.failure is not None:
            raise self._ingest.failure

    def _serve_the_last(self) -> None:
        """A client that leaves sends its last commits and its farewell one-way: they need no answer, so they are still done."""
        waiting, self._waiting = self._waiting, deque()
        now_ms = self._owner.clock.monotonic_ms()
        for frame in waiting:
            command = decode_frame(frame)
            if command.is_oneway and not command.is_response:
                self._owner.dispatcher.serve(self.channel, command, now_ms)

    def _guarded(self, work: Callable[..., None], *args: Any) -> None:
        """Does some work on input; its output leaves in one write, and input that is wrong ends this connection."""
        channel = self.channel
        channel.cork()
        try:
            work(*args)
        except Exception as error:
            self._fail(error)
        finally:
            channel.uncork()

    def _fail(self, error: Exception) -> None:
        channel = self.channel
        if isinstance(error, RemoteProtocolError):
            log.warning("connection from %s is closed: %s", channel.remote_address, error)
            channel.close(str(error))
        else:
            # Whatever the bytes were, the answer is a frame or a RemoteProtocolError: this is a defect of ours.
            log.error("connection from %s is closed after an internal error", channel.remote_address, exc_info=error)
            channel.abort("internal error")

    def eof_received(self) -> bool:
        if self._accepted and not self.channel.closed:
            self._ingest.finish()
        return False  # the transport closes itself once the output has left

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._guarded(self._serve_the_last)
        self.channel.lost(exc)
        if self._accepted:
            self._accepted = False
            self._owner.closed(self)

    def pause_writing(self) -> None:
        self.channel.on_pause_writing()
        if self._accepted:
            self._owner.output_waits(self)

    def resume_writing(self) -> None:
        self.channel.on_resume_writing()
        self.go_on()

    def go_on(self) -> None:
        """Serve what waits: the peer has taken output, or the owner has room again."""
        if self._waiting and not self.channel.closed:
            self._guarded(self._serve, self._owner.clock.monotonic_ms())

    # -- time limits --------------------------------------------------------------------------------------------------

    def overdue(self, now_ms: int) -> str | None:
        """Why this connection should be closed now, if it should. Units: monotonic ms; asked about once a second."""
        if self._has_read:
            self._has_read, self._last_read_ms = False, now_ms
        begun = self._partial_since_ms
        if begun is not None and now_ms - begun >= self._owner.limits.frame_timeout_ms:
            return f"a frame is not whole {now_ms - begun} ms after its beginning"
        return self.channel.overdue(now_ms, self._last_read_ms)


def sweep(connections: list[RemotingConnection], now_ms: int) -> None:
    """Close those that are over a time limit. An idle one has nothing to send, a stalled one would never finish."""
    for connection in connections:
        channel = connection.channel
        reason = connection.overdue(now_ms)
        if reason is not None and not channel.closed:
            log.info("connection %s is closed: %s", channel.remote_address, reason)
            channel.end(reason)


async def close_all(clock: Clock, connections: Mapping[int, RemotingConnection], reason: str, grace_ms: float) -> None:
    """Close every connection of a live table; those whose peer does not take the rest of the output in time are cut."""
    for connection in list(connections.values()):
        connection.channel.close(reason)
    # connection_lost of a connection without waiting output comes within a few turns of the loop.
    for _ in range(10):
        if not connections:
            return
        await asyncio.sleep(0)
    deadline_ms = clock.monotonic_ms() + grace_ms
    while connections and clock.monotonic_ms() < deadline_ms:
        await clock.sleep_ms(min(10, grace_ms))
    for connection in list(connections.values()):
        connection.channel.abort(reason)
