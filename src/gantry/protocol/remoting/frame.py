"""Cutting a byte stream into remoting frames.

Layout, big-endian:

    total(4) | serialize_type(1) header_length(3) | header(header_length) | body(total - 4 - header_length)

`total` counts what follows itself.
"""

from __future__ import annotations

from typing import NamedTuple

from gantry.errors import FrameTooLarge, RemoteProtocolError

FRAME_BYTES_MAX = 16_777_216
HEADER_BYTES_MAX = 256 * 1024
PREFIX_BYTES = 8


class Frame(NamedTuple):
    """One whole frame. `serialize_type` is 0 (JSON) or 1 (ROCKETMQ); header and body are copies the frame owns."""

    serialize_type: int
    header: bytes
    body: bytes


class FrameDecoder:
    """Cuts a byte stream into frames; holds at most one unfinished frame.

    Units:  frame_bytes_max counts the length field too.
    Raises: FrameTooLarge from the length alone, before the body is buffered; RemoteProtocolError for lengths that
            cannot be. After an error the stream has no meaning any more: close the connection.
    Source: NettyDecoder, RemotingCommand.decode (5.3).
    """

    __slots__ = ("_buffer", "_header_bytes_max", "_position", "_total_max")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX, header_bytes_max: int = HEADER_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._total_max = frame_bytes_max - 4
        self._header_bytes_max = header_bytes_max

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        if self._position:
            # Drop what was read before appending, so the buffer never holds more than one frame and one read.
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += data

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer) - self._position

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None when more bytes are needed."""
        buffer, start = self._buffer, self._position
        have = len(buffer) - start
        if have < 4:
            return None
        total = int.from_bytes(buffer[start : start + 4], "big", signed=True)
        if total > self._total_max:
            raise FrameTooLarge(size=total + 4, limit=self._total_max + 4)
        if total < 4:
            raise RemoteProtocolError(f"frame length {total} is below the smallest frame of 4 bytes")
        if have < PREFIX_BYTES:
            return None
        serialize_type = buffer[start + 4]
        header_length = int.from_bytes(buffer[start + 5 : start + 8], "big")
        if header_length > total - 4:
            raise RemoteProtocolError(f"header of {header_length} bytes does not fit into a frame of {total + 4} bytes")
        if header_length > self._header_bytes_max:
            raise RemoteProtocolError(f"header of {header_length} bytes exceeds the limit of {self._header_bytes_max} bytes")
        if serialize_type > 1:
            raise RemoteProtocolError(f"header serialization {serialize_type} is neither JSON (0) nor ROCKETMQ (1)")
        end = start + 4 + total
        if have < 4 + total:
            return None
        body_start = start + PREFIX_BYTES + header_length
        view = memoryview(buffer)
        try:
            frame = Frame(serialize_type, bytes(view[start + PREFIX_BYTES : body_start]), bytes(view[body_start:end]))
        finally:
            view.release()
        self._position = end
        return frame
