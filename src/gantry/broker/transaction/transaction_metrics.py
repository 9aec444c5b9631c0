"""Figures of transactions: half messages open now, by topic, and what ended."""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import msgspec

from gantry.errors import ProtocolError, StoreDamaged
from gantry.model import DataVersion
from gantry.protocol import json_dialect

from ..config_file import ConfigFile

if TYPE_CHECKING:
    from gantry.runtime.clock import Clock
    from gantry.runtime.disk import Disk

FINISH_LATENCY_BUCKETS_S = (5, 60, 600, 3600, 43_200, 86_400)
"""Upper bounds of rocketmq_finish_message_latency. Source: BrokerMetricsManager (5.5)."""


class Metric(msgspec.Struct, rename="camel"):
    """Open half messages of a topic, and when that last changed, ms since 1970."""

    count: int = 0
    time_stamp: int = 0


class FinishLatency(msgspec.Struct):
    """How long committed messages were half, in seconds: counts by bucket (the last: above all bounds), and their sum."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(FINISH_LATENCY_BUCKETS_S) + 1))
    sum_s: int = 0

    def record(self, seconds: int, count: int = 1) -> None:
        self.counts[bisect_left(FINISH_LATENCY_BUCKETS_S, seconds)] += count
        self.sum_s += seconds * count


class TransactionMetrics:
    """Plain counts; `transactionMetrics` in the folder of settings behind those of open halves.

    The file's counts are what a Java broker goes on with. Here they are counted anew at each start (`recounted`), so that a
    crash does not leave them wrong for good. Official metric names: rocketmq_half_messages (half_messages),
    rocketmq_commit_messages_total (commits), rocketmq_rollback_messages_total (rollbacks),
    rocketmq_finish_message_latency (finish_latency), each by topic.
    Source: TransactionMetrics, BrokerMetricsManager (5.5).
    """

    def __init__(self, disk: Disk, clock: Clock, *, directory: str, checksum_dir: str | None = None) -> None:
        self._clock = clock
        self.table: dict[str, Metric] = {}
        self.commits: dict[str, int] = {}
        self.rollbacks: dict[str, int] = {}
        self.finish_latency: dict[str, FinishLatency] = {}
        self.check_count = 0
        """Questions sent to producers."""
        self.unanswerable_count = 0
        """Checks that found no producer of the group connected."""
        self.parked_count = 0
        self.data_version = DataVersion(timestamp=clock.now_ms())
        self.file = ConfigFile(
            disk, posixpath.join(directory, "transactionMetrics"), self.to_json_value, checksum_dir=checksum_dir
        )

    @property
    def half_messages(self) -> dict[str, int]:
        """Open halves by topic."""
        return {topic: metric.count for topic, metric in self.table.items()}

    @property
    def half_message_count(self) -> int:
        return sum(metric.count for metric in self.table.values())

    def add(self, topic: str, count: int) -> None:
        """So many halves of a topic more, or fewer, are open."""
        now_ms = self._clock.now_ms()
        metric = self.table.get(topic)
        if metric is None:
            metric = self.table[topic] = Metric()
        metric.count += count
        metric.time_stamp = now_ms
        self.data_version.next_version(now_ms)
        self.file.touched()

    def committed(self, topic: str, half_s: int, count: int = 1) -> None:
        """So many messages, each of them half for so many seconds, were committed."""
        self.commits[topic] = self.commits.get(topic, 0) + count
        latency = self.finish_latency.get(topic)
        if latency is None:
            latency = self.finish_latency[topic] = FinishLatency()
        latency.record(half_s, count)

    def rolled_back(self, topic: str, count: int = 1) -> None:
        self.rollbacks[topic] = self.rollbacks.get(topic, 0) + count

    def recounted(self) -> None:
        """Counting begins again at nothing; topics that had halves before stay in the table."""
        for metric in self.table.values():
            metric.count = 0
        self.file.touched()

    def forget(self, topic: str) -> None:
        """The topic is gone, and so are its figures. Source: TransactionMetrics.cleanMetrics (5.5)."""
        if self.table.pop(topic, None) is not None:
            self.file.touched()

    def to_json_value(self) -> dict[str, Any]:
        return {"dataVersion": self.data_version, "transactionCount": self.table}

    def load(self) -> None:
        """Reads the file. Raises: StoreDamaged."""
        value = self.file.load()
        if value is None:
            return
        try:
            self.table = json_dialect.convert(value.get("transactionCount") or {}, dict[str, Metric])
            self.data_version.assign(json_dialect.convert(value.get("dataVersion") or {}, DataVersion))
        except (ProtocolError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"{self.file.path} has no counts of half messages: {error}") from None
