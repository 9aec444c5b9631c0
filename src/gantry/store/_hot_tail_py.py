"""The newest bytes of the log, kept in memory so that a consumer at the end never touches a file."""

from __future__ import annotations

from bisect import bisect_right

_COMPACT_COUNT = 4096


class HotTail:
    """The last `bytes_max` bytes that were appended, as the chunks they were written in.

    A view handed out stays valid while somebody holds it: chunks are immutable and only dropped, never changed.
    """

    __slots__ = ("_bytes", "_bytes_max", "_chunks", "_first", "_starts")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self._first = 0
        self._bytes = 0

    @property
    def size(self) -> int:
        return self._bytes

    def append(self, start: int, data: bytes) -> None:
        """`data` begins at physical offset `start`, at or after the end of what is there."""
        self._starts.append(start)
        self._chunks.append(data)
        self._bytes += len(data)
        while self._bytes > self._bytes_max and self._first < len(self._chunks):
            self._bytes -= len(self._chunks[self._first])
            self._chunks[self._first] = b""
            self._first += 1
        if self._first >= _COMPACT_COUNT and self._first * 2 > len(self._starts):
            # Front slots are freed in bulk: deleting one by one would move the list each time.
            del self._starts[: self._first]
            del self._chunks[: self._first]
            self._first = 0

    def read(self, physical_offset: int, size: int) -> memoryview | None:
        """The bytes, when one chunk holds them all."""
        at = bisect_right(self._starts, physical_offset, self._first) - 1
        if at < self._first:
            return None
        begin = physical_offset - self._starts[at]
        chunk = self._chunks[at]
        if begin + size > len(chunk):
            return None
        return memoryview(chunk)[begin : begin + size]

    def clear(self) -> None:
        self._starts.clear()
        self._chunks.clear()
        self._first = self._bytes = 0
