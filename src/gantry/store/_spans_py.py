"""Pieces of the log that were read lately, in pure Python; `Spans` in `_append_c.pyx` is the compiled twin."""

from __future__ import annotations

from collections import deque


class Spans:
    """The last `count_max` pieces that were read from files, newest first.

    Bytes of the log below its end never change, so a piece is good for as long as somebody asks for it. A view handed out
    stays valid while somebody holds it.
    """

    __slots__ = ("_spans",)

    def __init__(self, count_max: int) -> None:
        self._spans: deque[tuple[int, bytes]] = deque(maxlen=count_max)

    def put(self, start: int, data: bytes) -> None:
        """`data` stands in the log at physical offset `start`."""
        self._spans.appendleft((start, data))

    def read(self, physical_offset: int, size: int) -> memoryview | None:
        """The bytes, when one piece holds them all."""
        for start, data in self._spans:
            begin = physical_offset - start
            if begin >= 0 and begin + size <= len(data):
                return memoryview(data)[begin : begin + size]
        return None

    def clear(self) -> None:
        self._spans.clear()
