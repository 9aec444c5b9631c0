"""How long puts took, in the ranges the original reports."""

from __future__ import annotations

from bisect import bisect_left

# Upper bound of each range in ms, with the official name of the range.
RANGES = (
    (0, "[<=0ms]"), (10, "[0~10ms]"), (50, "[10~50ms]"), (100, "[50~100ms]"), (200, "[100~200ms]"), (500, "[200~500ms]"),
    (1000, "[500ms~1s]"), (2000, "[1~2s]"), (3000, "[2~3s]"), (4000, "[3~4s]"), (5000, "[4~5s]"), (10_000, "[5~10s]"),
)  # fmt: skip
BEYOND = "[10s~]"

_BOUNDS = [bound for bound, _ in RANGES]


class LatencyHistogram:
    """Counts by range. Source: StoreStatsService.putMessageDistributeTime (5.5)."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = [0] * (len(RANGES) + 1)

    def add(self, elapsed_ms: int, count: int = 1) -> None:
        self.counts[bisect_left(_BOUNDS, elapsed_ms)] += count

    def distribution_text(self) -> str:
        """Every range with its count, as one text."""
        names = [name for _, name in RANGES] + [BEYOND]
        return " ".join(f"{name}:{count}" for name, count in zip(names, self.counts, strict=True))

    def percentile(self, part: float) -> float:
        """Upper bound, in ms, of the range that holds the given part of all puts; 0 without any."""
        wanted = sum(self.counts) * part
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return float(_BOUNDS[min(index, len(_BOUNDS) - 1)])
        return 0.0
