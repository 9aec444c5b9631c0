"""Rates over the last 10, 60 and 600 seconds of counters that only grow."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

SAMPLE_INTERVAL_MS = 1_000
SPANS_S = (10, 60, 600)


class Totals(NamedTuple):
    """Counters since the start. Units: calls, messages; `put_size` in bytes."""

    put_times: int = 0
    put_failed: int = 0
    put_size: int = 0
    get_found: int = 0
    get_miss: int = 0
    get_transferred: int = 0


class _Sample(NamedTuple):
    monotonic_ms: int
    totals: Totals


class TpsSampler:
    """Remembers the totals once a second for ten minutes.

    Source: StoreStatsService (5.3); there a span longer than the uptime prints nothing, which tools then fail to
    parse; here it is measured over the uptime.
    """

    def __init__(self, *, monotonic_ms: int) -> None:
        self._samples: deque[_Sample] = deque([_Sample(monotonic_ms, Totals())], maxlen=SPANS_S[-1] + 1)

    def sample(self, monotonic_ms: int, totals: Totals) -> None:
        self._samples.append(_Sample(monotonic_ms, totals))

    def rate(self, name: str, span_s: int) -> float:
        """Growth per second of one counter of `Totals` over the last `span_s` seconds."""
        last = self._samples[-1]
        first = self._samples[max(0, len(self._samples) - 1 - span_s)]
        elapsed_ms = last.monotonic_ms - first.monotonic_ms
        if elapsed_ms <= 0:
            return 0.0
        grown: int = getattr(last.totals, name) - getattr(first.totals, name)
        return grown * 1000.0 / elapsed_ms

    def rates_text(self, *names: str) -> str:
        """The three rates as operators' tools read them: numbers separated by spaces; several counters are summed."""
        return " ".join(str(sum(self.rate(name, span) for name in names)) for span in SPANS_S)
