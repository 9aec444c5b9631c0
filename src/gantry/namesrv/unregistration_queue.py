"""Brokers that wait to be unregistered together.

Taking a broker out walks all topics; when a rack goes dark, one walk for all its brokers is enough. The request is
answered when it is queued, as with the original.
Source: BatchUnregistrationService (5.3).
"""

from __future__ import annotations

from .broker_live import BrokerUnregistration


class UnregistrationQueue:
    """A bounded queue, emptied as a whole. Units: capacity in brokers."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: dict[BrokerUnregistration, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, unregistration: BrokerUnregistration) -> bool:
        """Returns: False when the queue is full; then nothing was queued. The same broker waits only once."""
        if unregistration in self._waiting:
            return True
        if len(self._waiting) >= self._capacity:
            return False
        self._waiting[unregistration] = None
        return True

    def drain(self) -> list[BrokerUnregistration]:
        """All that wait, in order; the queue is empty afterwards."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting
