"""One counter and what it did in the last minute, hour and day."""

from __future__ import annotations

from typing import NamedTuple


class StatsSnapshot(NamedTuple):
    """Units: sum in whatever is counted; tps per second; avgpt = sum per call."""

    sum: int
    tps: float
    avgpt: float
    times: int


EMPTY = StatsSnapshot(0, 0.0, 0.0, 0)

MINUTE_INTERVAL_MS = 10_000
HOUR_INTERVAL_MS = 600_000
DAY_INTERVAL_MS = 3_600_000


MINUTE_SAMPLES, HOUR_SAMPLES, DAY_SAMPLES = 7, 7, 25

Samples = list[int]
"""Of one window, eldest first: monotonic ms, times, value, and again. A counter that stands still needs one of them."""


def _sampled(samples: Samples | None, now_ms: int, interval_ms: int, count: int, times: int, value: int) -> Samples:
    """The window one sample later."""
    begin_ms = now_ms - interval_ms * (count - 1)
    if samples is None:
        # A counter is born at its first event, one interval of silence before it: without this a topic's first
        # message would show no rate until the second sample.
        samples = [now_ms - interval_ms, 0, 0]
    elif len(samples) == 3 and samples[1] == times:
        return samples
    samples += (now_ms, times, value)
    while len(samples) > 6 and samples[3] <= begin_ms:
        del samples[:3]
    if samples[1] == times:
        del samples[3:]  # it stood still for the whole window
    elif samples[0] < begin_ms:
        samples[0] = begin_ms  # it stood still from there on
    return samples


def _snapshot(samples: Samples | None) -> StatsSnapshot:
    """The newest less the eldest."""
    if samples is None or len(samples) < 6:
        return EMPTY
    elapsed_ms, times, total = (samples[at - 3] - samples[at] for at in range(3))
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
        self._minute: Samples | None = None
        self._hour: Samples | None = None
        self._day: Samples | None = None

    def add(self, value: int, times: int = 1) -> None:
        self.value += value
        self.times += times

    def sample_minute(self, now_ms: int) -> None:
        # Seen here and not at every event: one comparison in ten seconds instead of a clock read per message.
        if self.times != self._seen_times:
            self._seen_times = self.times
            self.last_update_ms = now_ms
        self._minute = _sampled(self._minute, now_ms, MINUTE_INTERVAL_MS, MINUTE_SAMPLES, self.times, self.value)

    def sample_hour(self, now_ms: int) -> None:
        self._hour = _sampled(self._hour, now_ms, HOUR_INTERVAL_MS, HOUR_SAMPLES, self.times, self.value)

    def sample_day(self, now_ms: int) -> None:
        self._day = _sampled(self._day, now_ms, DAY_INTERVAL_MS, DAY_SAMPLES, self.times, self.value)

    def minute(self) -> StatsSnapshot:
        return _snapshot(self._minute)

    def hour(self) -> StatsSnapshot:
        return _snapshot(self._hour)

    def day(self) -> StatsSnapshot:
        return _snapshot(self._day)
