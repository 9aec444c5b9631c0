"""Which half messages are still open, and how far both queues are done with. Pure.

Theory. Half messages lie in one queue, in the order they came. One is *over* when it was committed, rolled back, parked, or
appended again at the end of the queue, where it goes on under a new offset. `position` is the first that is not over:
what lies below needs no look any more. What is over above it is known from the op queue, whose messages list offsets of
halves; an op message is done with once `position` has passed everything it lists. Both positions are kept as consumer offsets
of the group CID_RMQ_SYS_TRANS, where a Java broker keeps its own, so that either continues where the other stopped.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from .offset_set import OffsetSet

MOVED_MAX = 100_000
"""Halves that were appended again whose old places are remembered; of others the index knows."""


class HalfLedger:
    """Units: offsets in queue entries."""

    def __init__(self, position: int = 0, op_position: int = 0) -> None:
        self.position = position
        self.op_position = op_position
        self.uncounted = range(0)
        """Halves that a start has not counted yet, so that their end takes nothing from a count."""
        self._over = OffsetSet()
        self._ops: deque[tuple[int, int]] = deque()
        """Offset of an op message not done with, and the highest half it lists."""
        self._moved: OrderedDict[int, int] = OrderedDict()

    def is_over(self, offset: int) -> bool:
        return offset < self.position or offset in self._over

    def end(self, offset: int) -> bool:
        """This half is over; False when it was already."""
        return offset >= self.position and self._over.add(offset)

    def end_all(self, offsets: Iterable[int]) -> None:
        """These halves are over."""
        position = self.position
        self._over.add_all(offset for offset in sorted(offsets) if offset >= position)

    def is_open_in_place(self, offset: int) -> bool:
        """This half is open where its sender knows it: it was not appended again, and it was counted."""
        return not (offset < self.position or offset in self._moved or offset in self._over or offset in self.uncounted)

    def move(self, offset: int, to: int) -> None:
        """This half was appended again and goes on at `to`."""
        self.end(offset)
        self._moved[offset] = to
        if len(self._moved) > MOVED_MAX:
            self._moved.popitem(last=False)

    def newest(self, offset: int) -> int:
        """Where a half is now, as far as this process knows."""
        moved = self._moved
        while (to := moved.get(offset)) is not None:
            offset = to
        return offset

    def take_op(self, op_offset: int, halves: Iterable[int]) -> None:
        """An op message is in its queue: what it lists is over."""
        highest = -1
        for offset in halves:
            self.end(offset)
            highest = max(highest, offset)
        self._ops.append((op_offset, highest))

    def next_open(self, offset: int) -> int:
        """The first half from this offset on that is not over."""
        return self._over.first_missing(max(offset, self.position))

    def skip_to(self, offset: int) -> None:
        """What lies below is over, or gone."""
        if offset > self.position:
            self.position = offset
        self.advance()

    def advance(self) -> None:
        """Moves both positions over what is done with."""
        self.position = self._over.first_missing(self.position)
        self._over.forget_below(self.position)
        while self._ops and self._ops[0][1] < self.position:
            self.op_position = self._ops.popleft()[0] + 1
