"""How many sends wait for the disk or for other copies."""

from __future__ import annotations


class WaitingSends:
    """Counts the sends of all connections that are stored, or about to be, and not answered yet.

    At `count_max` further ones are refused as busy before anything is stored.
    """

    __slots__ = ("count", "count_max")

    def __init__(self, count_max: int) -> None:
        self.count = 0
        self.count_max = count_max

    @property
    def full(self) -> bool:
        return self.count >= self.count_max
