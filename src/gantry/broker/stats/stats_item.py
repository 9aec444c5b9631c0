"""One counter and what it did in the last minute, hour and day."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class StatsSnapshot(NamedTuple):
    """Units: sum in whatever is counted; tps per second; avgpt = sum per call."""

    sum: int
    tps: float
    avgpt: float
    times: int


class _Sample(NamedTuple):
    timestamp: int
    times: int
    value: int


EMPTY = StatsSnapshot(0, 0.0, 0.0, 0)

MINUTE_INTERVAL_MS = 10_000
HOUR_INTERVAL_MS = 600_000
DAY_INTERVAL_MS = 3_600_000


class _Window:
    """Samples of a counter at even intervals; a snapshot is the newest less the eldest."""

    __slots__ = ("_interval_ms", "_samples")

    def __init__(self, interval_ms: int, count: int) -> None:
        self._interval_ms = interval_ms
        self._samples: deque[_Sample] = deque(maxlen=count)

    def sample(self, now_ms: int, times: int, value: int) -> None:
        if not self._samples:
            # A counter is born at its first event, one interval of silence before it: without this a topic's first
            # message would show no rate until the second sample.
            self._samples.append(_Sample(now_ms - self._interval_ms, 0, 0))
        self._samples.append(_Sample(now_ms, times, value))

    def snapshot(self) -> StatsSnapshot:
        if len(self._samples) < 2:
            return EMPTY
        first, last = self._samples[0], self._samples[-1]
        total, times, elapsed_ms = last.value - first.value, last.times - first.times, last.timestamp - first.timestamp
        return StatsSnapshot(
            sum=total,
            tps=total * 1000.0 / elapsed_ms if elapsed_ms > 0 else 0.0,
            avgpt=total / times if times > 0 else 0.0,
            times=times,
        )


class StatsItem:
    """A counter: `value` grows by what happened, `times` by one per call. Both are written in the open by hot code.

    Times are monotonic ms: a jump of the wall clock must not bend a rate.
    Windows: 7 samples 10 s apart, 7 samples 10 min apart, 25 samples 1 h apart, as the original's.
    Source: StatsItem (5.3).
    """

    __slots__ = ("_day", "_hour", "_minute", "_seen_times", "last_update_ms", "times", "value")

    def __init__(self, monotonic_ms: int) -> None:
        self.value = 0
        self.times = 0
        self.last_update_ms = monotonic_ms
        self._seen_times = 0
        self._minute = _Window(MINUTE_INTERVAL_MS, 7)
        self._hour = _Window(HOUR_INTERVAL_MS, 7)
        self._day = _Window(DAY_INTERVAL_MS, 25)

    def add(self, value: int, times: int = 1) -> None:
        self.value += value
        self.times += times

    def sample_minute(self, now_ms: int) -> None:
        # Seen here and not at every event: one comparison in ten seconds instead of a clock read per message.
        if self.times != self._seen_times:
            self._seen_times = self.times
            self.last_update_ms = now_ms
        self._minute.sample(now_ms, self.times, self.value)

    def sample_hour(self, now_ms: int) -> None:
        self._hour.sample(now_ms, self.times, self.value)

    def sample_day(self, now_ms: int) -> None:
        self._day.sample(now_ms, self.times, self.value)

    def minute(self) -> StatsSnapshot:
        return self._minute.snapshot()

    def hour(self) -> StatsSnapshot:
        return self._hour.snapshot()

    def day(self) -> StatsSnapshot:
        return self._day.snapshot()
