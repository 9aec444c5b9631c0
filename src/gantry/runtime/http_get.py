"""A minimal HTTP GET over the network door.

Why not the standard library: urllib blocks, so it would need a thread per fetch outside every door, could not be run on
the virtual clock, and reads any amount from the peer. One plain GET with bounds is less than its wrapping.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from gantry.errors import RemoteProtocolError, RemotingConnectError, RemotingTimeout

from .address import split_address
from .clock import Clock, wait_for
from .net import Net

RESPONSE_BYTES_MAX = 64 * 1024
_URL = re.compile(r"http://([^/?#\s]+)(/[^#\s]*)?\Z")
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\Z")


async def http_get(net: Net, clock: Clock, url: str, *, timeout_ms: float) -> tuple[int, bytes]:
    """Status and body of one GET; redirects are not followed. The time covers everything.

    Units:  the whole answer is at most RESPONSE_BYTES_MAX.
    Raises: RemotingConnectError, RemotingTimeout, RemoteProtocolError when the answer is no HTTP, cut short or too long.
    """
    match = _URL.match(url)
    if match is None or not url.isascii():
        raise RemotingConnectError(f"{url!r} is no http:// address")
    authority, path = match.group(1), match.group(2) or "/"
    host, port = split_address(authority if re.search(r":[0-9]+\Z", authority) else f"{authority}:80")
    answer: _Answer | None = None
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        answer = _Answer(request.encode("ascii"))
        made = answer

        async def fetch() -> bytes:
            await net.connect(host, port, lambda: made, timeout_ms)
            return await made.done

        raw = await wait_for(clock, fetch(), timeout_ms)
    except TimeoutError as e:
        raise RemotingTimeout(f"GET {url}: no answer within {timeout_ms:g} ms") from e
    finally:
        if answer is not None and answer.transport is not None:
            answer.transport.abort()
    return _parse(url, raw)


class _Answer:
    """Collects the answer until it is whole, too long or the connection ends."""

    def __init__(self, request: bytes) -> None:
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport: Any = None
        self._request = request
        self._buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        self._buffer += data
        if len(self._buffer) > RESPONSE_BYTES_MAX or _whole(self._buffer):
            self.done.set_result(bytes(self._buffer))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(bytes(self._buffer))

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


def _head(raw: bytes | bytearray) -> tuple[bytes, dict[bytes, bytes], int] | None:
    end = raw.find(b"\r\n\r\n")
    if end < 0:
        return None
    status, *lines = bytes(raw[:end]).split(b"\r\n")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers.setdefault(name.strip().lower(), value.strip())
    return status, headers, end + 4


def _length(headers: dict[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length", b"")
    return int(text) if text.isdigit() and len(text) < 10 else None


def _chunked(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"transfer-encoding", b"").lower() == b"chunked"


def _whole(raw: bytearray) -> bool:
    head = _head(raw)
    if head is None:
        return False
    _, headers, begin = head
    if _chunked(headers):
        return _dechunk(bytes(raw[begin:])) is not None
    length = _length(headers)
    return length is not None and len(raw) >= begin + length


def _dechunk(body: bytes) -> bytes | None:
    """The joined chunks; None while the last one is missing. Raises: ValueError for what is no chunk."""
    parts: list[bytes] = []
    at = 0
    while True:
        end = body.find(b"\r\n", at)
        if end < 0:
            return None
        size_text = body[at:end].partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size_text):
            return b"".join(parts) if not size_text else None
        size = int(size_text, 16)
        if size == 0:
            return b"".join(parts)
        if len(body) < end + 2 + size + 2:
            return None
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


def _parse(url: str, raw: bytes) -> tuple[int, bytes]:
    if len(raw) > RESPONSE_BYTES_MAX:
        raise RemoteProtocolError(f"GET {url}: the answer is longer than {RESPONSE_BYTES_MAX} bytes")
    head = _head(raw)
    match = _STATUS.match(head[0]) if head is not None else None
    if head is None or match is None:
        raise RemoteProtocolError(f"GET {url}: the answer is no HTTP answer")
    _, headers, begin = head
    body: bytes | None = raw[begin:]
    assert body is not None
    if _chunked(headers):
        body = _dechunk(body)
    else:
        length = _length(headers)
        if length is not None:
            body = body[:length] if len(body) >= length else None
    if body is None:
        raise RemoteProtocolError(f"GET {url}: the connection ended before the answer was whole")
    return int(match.group(1)), body
