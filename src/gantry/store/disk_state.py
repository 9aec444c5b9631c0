"""Whether the store takes messages, and why not."""

from __future__ import annotations

from gantry.errors import DiskError


class DiskState:
    """Reasons against writing. A failed sync or write is for good; a full disk ends when space is back."""

    __slots__ = ("failure", "full_reason", "over_ratio", "shut_down")

    def __init__(self) -> None:
        self.failure: DiskError | None = None
        self.full_reason: str | None = None
        self.over_ratio: str | None = None
        self.shut_down = False

    @property
    def reason(self) -> str | None:
        """Why writing is refused now; None when it is not."""
        if self.failure is not None:
            return f"the store is read-only since a write or sync failed: {self.failure}"
        if self.shut_down:
            return "the store is shut down"
        return self.full_reason or self.over_ratio
