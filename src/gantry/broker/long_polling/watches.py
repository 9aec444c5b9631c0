"""Which queues somebody waits for: the store tells arrivals of those alone."""

from __future__ import annotations

from collections.abc import Callable


class Watches:
    """Several rooms may wait for a queue; `tell(topic, queue id, watched)` hears of the first and of the last."""

    def __init__(self, tell: Callable[[str, int, bool], None]) -> None:
        self._tell = tell
        self._counts: dict[tuple[str, int], int] = {}

    def watch(self, topic: str, queue_id: int, watched: bool) -> None:
        """One room begins or ends to wait for a queue."""
        key = topic, queue_id
        count = self._counts.get(key, 0) + (1 if watched else -1)
        if count > 0:
            self._counts[key] = count
        else:
            self._counts.pop(key, None)
        if (watched and count == 1) or (not watched and count == 0):
            self._tell(topic, queue_id, watched)
