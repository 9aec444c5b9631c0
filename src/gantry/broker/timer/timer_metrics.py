"""How many timers of each topic wait: `config/timermetrics`, and the answer to GET_TIMER_METRICS."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from gantry.model import DataVersion
from gantry.store.timer import TopicCount

from ..config_file import ConfigFile

if TYPE_CHECKING:
    from gantry.runtime.disk import Disk


class TimerMetrics:
    """Source: TimerMetrics (5.5). The counts that a start trusts are in the timer's own account; this file is for others."""

    def __init__(self, disk: Disk, *, directory: str, checksum_dir: str | None, now_ms: int) -> None:
        self.counts: dict[str, TopicCount] = {}
        self.data_version = DataVersion(timestamp=now_ms)
        self.file = ConfigFile(disk, posixpath.join(directory, "timermetrics"), self.to_json_value, checksum_dir=checksum_dir)

    @property
    def pending_count(self) -> int:
        return sum(entry.count for entry in self.counts.values())

    def add(self, topic: str, change: int, now_ms: int) -> None:
        entry = self.counts.get(topic)
        if entry is None:
            entry = self.counts[topic] = TopicCount()
        entry.count += change
        entry.time_stamp = now_ms
        self.data_version.next_version(now_ms)
        self.file.touched()

    def keep_only(self, topics: set[str]) -> None:
        """Forgets topics that are gone and have no timer left."""
        for topic in [name for name, entry in self.counts.items() if entry.count <= 0 and name not in topics]:
            del self.counts[topic]

    def copy(self) -> dict[str, TopicCount]:
        return {topic: TopicCount(entry.count, entry.time_stamp) for topic, entry in self.counts.items()}

    def to_json_value(self) -> dict[str, Any]:
        counts = {topic: {"count": entry.count, "timeStamp": entry.time_stamp} for topic, entry in self.counts.items()}
        return {"dataVersion": self.data_version, "timingCount": counts}
