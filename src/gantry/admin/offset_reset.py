"""Moving a group to another place of a topic: what it would skip and what it would get again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gantry.model import MessageQueue

EARLIEST_MS = 0
LATEST_MS = -1
"""The official request names the end of a queue by a negative time."""


@dataclass(frozen=True, slots=True)
class QueueMove:
    """One queue of a group: from where to where. `from_offset` is None where the group has committed nothing yet."""

    queue: MessageQueue
    from_offset: int | None
    to_offset: int

    @property
    def skipped(self) -> int:
        """Messages that the group has not consumed and never will."""
        return 0 if self.from_offset is None else max(self.to_offset - self.from_offset, 0)

    @property
    def repeated(self) -> int:
        """Messages that the group has consumed and gets again."""
        return 0 if self.from_offset is None else max(self.from_offset - self.to_offset, 0)


@dataclass(frozen=True, slots=True)
class ResetReport:
    """`done` says whether the brokers were asked to do it, or only what it would mean."""

    group: str
    topic: str
    done: bool
    moves: tuple[QueueMove, ...]

    @property
    def skipped(self) -> int:
        return sum(move.skipped for move in self.moves)

    @property
    def repeated(self) -> int:
        return sum(move.repeated for move in self.moves)


def report(group: str, topic: str, moves: Iterable[QueueMove], *, done: bool) -> ResetReport:
    return ResetReport(group, topic, done, tuple(sorted(moves, key=lambda move: move.queue)))
