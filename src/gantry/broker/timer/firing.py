"""A slot on its way out, and one batch of its messages."""

from __future__ import annotations

from array import array
from collections import Counter

from gantry.model import StoreMessage
from gantry.protocol.disk.timer_log_unit import NO_POSITION


class SlotFiring:
    """A slot being fired (`SlotUnderWay` for the account).

    `index` says how many of its `positions` are done; `scan_offset` is the log's end at its begin.
    """

    __slots__ = (
        "changes",
        "fired_position",
        "index",
        "last_position",
        "positions",
        "put_back",
        "recalled",
        "scan_offset",
        "time_ms",
    )

    def __init__(self, time_ms: int, scan_offset: int) -> None:
        self.time_ms = time_ms
        self.scan_offset = scan_offset
        self.positions: array[int] = array("q")
        self.index = 0
        self.fired_position = self.last_position = NO_POSITION
        self.recalled: set[tuple[str, str]] = set()
        self.put_back = False
        self.changes: Counter[str] = Counter()
        """Of the counts by topic, since its begin: a crash now lets it begin again."""


class Batch:
    """What one batch is about to do."""

    __slots__ = ("changes", "messages", "taken")

    def __init__(self) -> None:
        self.messages: list[StoreMessage] = []
        self.changes: list[tuple[str, int]] = []
        self.taken: Counter[int] = Counter()
