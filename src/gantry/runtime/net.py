"""The network door: listening and connecting, in the callback style of asyncio.

A factory makes one protocol object per connection; its callbacks are those of asyncio.Protocol. The real net is asyncio
(or uvloop) itself; `gantry.testing.MemoryNet` joins the two ends in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from gantry.errors import ListenError, RemotingConnectError

from .address import format_address


class Transport(Protocol):
    """One end of a connection. A subset of asyncio.Transport."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def writelines(self, parts: Iterable[bytes | bytearray | memoryview]) -> None: ...

    def close(self) -> None:
        """Close after what was written has been sent."""

    def abort(self) -> None:
        """Close now; what was not yet sent is dropped."""

    def is_closing(self) -> bool: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`peername` and `sockname`: tuples that begin with host and port."""


class ConnectionProtocol(Protocol):
    """What a factory makes: told about one connection. A subset of asyncio.Protocol."""

    def connection_made(self, transport: Any) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool | None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


ProtocolFactory = Callable[[], Any]


class Listener(Protocol):
    """A listening address."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; the port is the real one when 0 was asked for."""

    def close(self) -> None:
        """Take no further connections; those that exist stay."""


class Net(Protocol):
    """Connections."""

    async def listen(self, host: str, port: int, factory: ProtocolFactory) -> Listener:
        """Listen; port 0 lets the system choose. Raises: ListenError naming the address."""

    async def connect(self, host: str, port: int, factory: ProtocolFactory, timeout_ms: float) -> Transport:
        """Connect; connection_made was called when this returns. Raises: RemotingConnectError naming the address."""


class AsyncioListener:
    """A listening asyncio server."""

    def __init__(self, server: asyncio.AbstractServer, address: tuple[str, int]) -> None:
        self._server = server
        self._address = address

    @property
    def address(self) -> tuple[str, int]:
        return self._address

    def close(self) -> None:
        self._server.close()


class AsyncioNet:
    """Sockets on the running asyncio loop."""

    def __init__(self, *, backlog: int = 1024) -> None:
        self._backlog = backlog

    async def listen(self, host: str, port: int, factory: ProtocolFactory) -> AsyncioListener:
        loop = asyncio.get_running_loop()
        shown = format_address(host or "0.0.0.0", port)
        try:
            server = await loop.create_server(
                factory, host or None, port, backlog=self._backlog, reuse_address=True, start_serving=True
            )
        except OSError as e:
            reason = "the address is in use" if e.errno == errno.EADDRINUSE else _reason(e)
            raise ListenError(f"cannot listen on {shown}: {reason}") from e
        except OverflowError as e:
            raise ListenError(f"cannot listen on {shown}: {e}") from e
        name = server.sockets[0].getsockname()
        return AsyncioListener(server, (str(name[0]), int(name[1])))

    async def connect(self, host: str, port: int, factory: ProtocolFactory, timeout_ms: float) -> Transport:
        loop = asyncio.get_running_loop()
        shown = format_address(host, port)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                transport, _ = await loop.create_connection(factory, host, port)
        except TimeoutError as e:
            raise RemotingConnectError(f"connect to {shown} failed: no answer within {timeout_ms:g} ms") from e
        except (OSError, OverflowError, UnicodeError) as e:
            raise RemotingConnectError(f"connect to {shown} failed: {_reason(e)}") from e
        _set_no_delay(transport)
        return transport


def _reason(error: Exception) -> str:
    # asyncio and uvloop word the text differently; the number of a system call means the same in both. Name look-ups
    # have negative numbers of their own.
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error)


def _set_no_delay(transport: asyncio.Transport) -> None:
    # asyncio and uvloop do this themselves on most versions; a request must never wait for Nagle.
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
