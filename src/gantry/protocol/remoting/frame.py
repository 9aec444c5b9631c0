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

    __slots__ = ("_buffer", "_position", "header_bytes_max", "total_max")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX, header_bytes_max: int = HEADER_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._position = 0
        self.total_max = frame_bytes_max - 4
        self.header_bytes_max = header_bytes_max

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        if self._position:
            # Drop what was read before appending, so the buffer never holds more than one frame and one read.
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += data

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer) - self._position

    def whole(self, data: bytes) -> bytes | None:
        """Everything there is, `data` included, when it begins with a whole frame; the decoder holds nothing then.

        None when more bytes are needed; `data` is held. Raises: as next_frame().
        """
        if not self.buffered_bytes:
            return data
        self.receive_data(data)
        if self._lengths_at(self._buffer, self._position) is None:
            return None
        everything = bytes(self._buffer[self._position :])
        self._buffer.clear()
        self._position = 0
        return everything

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None when more bytes are needed."""
        found = self.frame_at(self._buffer, self._position)
        if found is None:
            return None
        frame, self._position = found
        return frame

    def frame_at(self, data: bytes | bytearray, start: int) -> tuple[Frame, int] | None:
        """The whole frame that begins there, and where it ends; None when more bytes are needed."""
        lengths = self._lengths_at(data, start)
        if lengths is None:
            return None
        serialize_type, header_length, end = lengths
        header_start = start + PREFIX_BYTES
        body_start = header_start + header_length
        if isinstance(data, bytes):
            return Frame(serialize_type, data[header_start:body_start], data[body_start:end]), end
        with memoryview(data) as view:
            return Frame(serialize_type, bytes(view[header_start:body_start]), bytes(view[body_start:end])), end

    def _lengths_at(self, data: bytes | bytearray, start: int) -> tuple[int, int, int] | None:
        """Serialization, length of the header and where the frame ends, of a whole one."""
        have = len(data) - start
        if have < 4:
            return None
        total = int.from_bytes(data[start : start + 4], "big", signed=True)
        if total > self.total_max:
            raise FrameTooLarge(size=total + 4, limit=self.total_max + 4)
        if total < 4:
            raise RemoteProtocolError(f"frame length {total} is below the smallest frame of 4 bytes")
        if have < PREFIX_BYTES:
            return None
        serialize_type = data[start + 4]
        header_length = int.from_bytes(data[start + 5 : start + 8], "big")
        if header_length > total - 4:
            raise RemoteProtocolError(f"header of {header_length} bytes does not fit into a frame of {total + 4} bytes")
        if header_length > self.header_bytes_max:
            raise RemoteProtocolError(f"header of {header_length} bytes exceeds the limit of {self.header_bytes_max} bytes")
        if serialize_type > 1:
            raise RemoteProtocolError(f"header serialization {serialize_type} is neither JSON (0) nor ROCKETMQ (1)")
        if have < 4 + total:
            return None
        return serialize_type, header_length, start + 4 + total
