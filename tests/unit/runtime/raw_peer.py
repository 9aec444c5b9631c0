"""A peer in bytes."""

from __future__ import annotations

from typing import Any


class RawPeer:
    """A raw connection: what was received, and whether it ended."""

    def __init__(self) -> None:
        self.received = b""
        self.closed = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...
