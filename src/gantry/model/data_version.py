"""DataVersion: how a name server tells whether a broker's tables changed."""

from __future__ import annotations

import msgspec


class DataVersion(msgspec.Struct, rename="camel"):
    """Counter, time stamp (ms) and the epoch of the controller that was in force (0 without one).

    Two versions are equal when all three are; which of two is newer is never derived from the time stamp.
    Source: DataVersion (5.3).
    """

    state_version: int = 0
    timestamp: int = 0
    counter: int = 0

    def next_version(self, now_ms: int, state_version: int = 0) -> None:
        """Marks one change of the table this version belongs to."""
        self.timestamp = now_ms
        self.state_version = state_version
        self.counter += 1

    def copy(self) -> DataVersion:
        return DataVersion(self.state_version, self.timestamp, self.counter)

    def assign(self, other: DataVersion) -> None:
        self.state_version, self.timestamp, self.counter = other.state_version, other.timestamp, other.counter
