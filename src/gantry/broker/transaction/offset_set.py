"""A set of offsets that come mostly in order, kept as ranges. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class OffsetSet:
    """Offsets as ranges without gaps: a million neighbours cost as much as one.

    Units: queue entries. Adding costs a search, and a shift of the ranges behind when a new one begins in the middle.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        """Exclusive, of the range at the same place."""

    def __contains__(self, offset: int) -> bool:
        place = bisect_right(self._starts, offset) - 1
        return place >= 0 and offset < self._ends[place]

    @property
    def range_count(self) -> int:
        return len(self._starts)

    def add(self, offset: int) -> bool:
        """Returns whether it is new."""
        starts, ends = self._starts, self._ends
        place = bisect_right(starts, offset) - 1
        if place >= 0 and offset < ends[place]:
            return False
        joins_left = place >= 0 and ends[place] == offset
        joins_right = place + 1 < len(starts) and starts[place + 1] == offset + 1
        if joins_left and joins_right:
            ends[place] = ends.pop(place + 1)
            starts.pop(place + 1)
        elif joins_left:
            ends[place] = offset + 1
        elif joins_right:
            starts[place + 1] = offset
        else:
            starts.insert(place + 1, offset)
            ends.insert(place + 1, offset + 1)
        return True

    def add_all(self, offsets: Iterable[int]) -> None:
        """Adds offsets that are given in ascending order: neighbours that are new cost one search together."""
        first = stop = -1
        for offset in offsets:
            if offset == stop:
                stop += 1
                continue
            if first < stop:
                self._add_range(first, stop)
            first, stop = offset, offset + 1
        if first < stop:
            self._add_range(first, stop)

    def _add_range(self, first: int, stop: int) -> None:
        starts, ends = self._starts, self._ends
        place = bisect_right(starts, first)
        begin = place
        if place and ends[place - 1] >= first:
            begin -= 1
            first = starts[begin]
        end = begin
        while end < len(starts) and starts[end] <= stop:
            stop = max(stop, ends[end])
            end += 1
        starts[begin:end] = (first,)
        ends[begin:end] = (stop,)

    def first_missing(self, offset: int) -> int:
        """The first offset from this one on that is not in the set."""
        place = bisect_right(self._starts, offset) - 1
        return self._ends[place] if place >= 0 and offset < self._ends[place] else offset

    def forget_below(self, offset: int) -> None:
        """Takes out everything below."""
        keep = bisect_right(self._ends, offset)
        del self._starts[:keep], self._ends[:keep]
        if self._starts and self._starts[0] < offset:
            self._starts[0] = offset
