"""Messages of one queue between the pull and the end of their listener: pure, no clock, no tasks.

Theory: offsets of a queue may only be committed up to the first message that is not finished, because the broker keeps
one number per queue. So finished messages leave the table, and the number to commit is the smallest offset still
in it, or one past the highest ever put when it is empty. A crash repeats at most what lies above that number: at least once.

    put -> waiting -> (take) running -> finished            leaves the table
                          \\-> (put_back) waiting again       orderly consumption after a failure
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gantry.model import MessageExt

NO_OFFSET = -1


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Bounds of one queue's table; at a bound pulling of that queue pauses until listeners have caught up.

    Units: count_max in messages, size_max in body bytes, span_max in queue entries from the first unfinished message on.
    Source: pullThresholdForQueue 1000, pullThresholdSizeForQueue 100 MiB, consumeConcurrentlyMaxSpan 2000 (5.3).
    """

    count_max: int = 1000
    size_max: int = 100 * 1024 * 1024
    span_max: int = 2000


class ProcessQueue:
    """The table of unfinished messages of one assigned queue.

    dropped is set once, when the queue is given away; whoever still holds messages of it finishes them without committing.
    put, take and finish cost O(log n): both heaps are emptied lazily of offsets that have left their table.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, MessageExt] = {}
        self._running: dict[int, MessageExt] = {}
        self._unfinished: list[int] = []  # heap over both tables
        self._ready: list[int] = []  # heap over _waiting
        self._highest = NO_OFFSET
        self._size = 0
        self.dropped = False

    @property
    def count(self) -> int:
        return len(self._waiting) + len(self._running)

    @property
    def size(self) -> int:
        """Body bytes held."""
        return self._size

    @property
    def running_count(self) -> int:
        return len(self._running)

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    @property
    def lowest_offset(self) -> int:
        """First unfinished offset, NO_OFFSET when nothing is held."""
        while self._unfinished and not self._holds(self._unfinished[0]):
            heapq.heappop(self._unfinished)
        return self._unfinished[0] if self._unfinished else NO_OFFSET

    @property
    def highest_offset(self) -> int:
        """Highest offset ever put, NO_OFFSET before the first."""
        return self._highest

    @property
    def span(self) -> int:
        """Entries from the first unfinished message to the highest ever put: what a crash now would repeat, at most."""
        lowest = self.lowest_offset
        return 0 if lowest == NO_OFFSET else self._highest - lowest

    def put(self, messages: Iterable[MessageExt]) -> list[MessageExt]:
        """Add pulled messages. Returns: those that are new; an offset already held is not handed out twice."""
        fresh = []
        for message in messages:
            offset = message.queue_offset
            if self._holds(offset):
                continue
            self._waiting[offset] = message
            heapq.heappush(self._unfinished, offset)
            heapq.heappush(self._ready, offset)
            self._size += len(message.body)
            self._highest = max(self._highest, offset)
            fresh.append(message)
        return fresh

    def take(self, count: int) -> list[MessageExt]:
        """Move up to count messages with the lowest offsets from waiting to running."""
        taken: list[MessageExt] = []
        while self._ready and len(taken) < count:
            offset = heapq.heappop(self._ready)
            message = self._waiting.pop(offset, None)
            if message is not None:
                self._running[offset] = message
                taken.append(message)
        return taken

    def finish(self, messages: Sequence[MessageExt]) -> int:
        """Remove messages whose listener is done. Returns: the offset to commit, NO_OFFSET when nothing was ever put."""
        for message in messages:
            offset = message.queue_offset
            held = self._running.pop(offset, None) or self._waiting.pop(offset, None)
            if held is not None:
                self._size -= len(held.body)
        return self.commit_offset()

    def put_back(self, messages: Sequence[MessageExt]) -> None:
        """Make running messages wait again (the listener asked for a pause); their order stays that of their offsets."""
        for message in messages:
            offset = message.queue_offset
            if self._running.pop(offset, None) is not None:
                self._waiting[offset] = message
                heapq.heappush(self._ready, offset)

    def commit_offset(self) -> int:
        """Offset below which everything is finished, NO_OFFSET when nothing was ever put."""
        lowest = self.lowest_offset
        if lowest != NO_OFFSET:
            return lowest
        return NO_OFFSET if self._highest == NO_OFFSET else self._highest + 1

    def has_room(self, limits: FlowLimits, *, orderly: bool = False) -> bool:
        """Whether one more pull is within the limits. Orderly queues finish from the front, so their span is no measure."""
        if self.count >= limits.count_max or self._size >= limits.size_max:
            return False
        return orderly or self.span <= limits.span_max

    def _holds(self, offset: int) -> bool:
        return offset in self._waiting or offset in self._running
