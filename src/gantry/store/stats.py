"""Counters of the store and its lines of the runtime table."""

from __future__ import annotations

from collections import deque

from gantry.runtime.clock import Clock

_SAMPLES_MAX = 601
_SPANS_S = (10, 60, 600)


class StoreStats:
    """Plain counters on the hot path; rates are derived from one sample a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._boot_ms = clock.now_ms()
        self._samples: deque[tuple[int, int, int, int, int]] = deque(maxlen=_SAMPLES_MAX)
        self.put_count = 0
        self.put_failed_count = 0
        self.put_size = 0
        self.get_found_count = 0
        self.get_missed_count = 0
        self.transferred_count = 0

    def count_get(self, transferred: int) -> None:
        if transferred:
            self.get_found_count += 1
            self.transferred_count += transferred
        else:
            self.get_missed_count += 1

    def sample(self) -> None:
        """Called about once a second."""
        self._samples.append(self._now())

    def _now(self) -> tuple[int, int, int, int, int]:
        return (
            self._clock.monotonic_ms(),
            self.put_count,
            self.get_found_count,
            self.get_missed_count,
            self.transferred_count,
        )

    def _rates(self, column: int, second: int | None = None) -> str:
        """Three rates a second, over 10 s, 60 s and 600 s."""
        now = self._now()
        texts: list[str] = []
        for span in _SPANS_S:
            earliest = now[0] - span * 1000
            base = next((sample for sample in self._samples if sample[0] >= earliest - 500), now)
            elapsed = now[0] - base[0]
            count = now[column] - base[column]
            if second is not None:
                count += now[second] - base[second]
            texts.append(f"{count * 1000 / elapsed if elapsed else 0.0}")
        return " ".join(texts)

    def runtime_info(self) -> dict[str, str]:
        """Source: StoreStatsService.getRuntimeInfo (5.3)."""
        seconds = (self._clock.now_ms() - self._boot_ms) // 1000
        days, rest = divmod(seconds, 86_400)
        hours, rest = divmod(rest, 3600)
        minutes, rest = divmod(rest, 60)
        return {
            "bootTimestamp": str(self._boot_ms),
            "runtime": f"[ {days} days, {hours} hours, {minutes} minutes, {rest} seconds ]",
            "putMessageEntireTimeMax": "0",
            "putMessageTimesTotal": str(self.put_count),
            "putMessageFailedTimes": str(self.put_failed_count),
            "putMessageSizeTotal": str(self.put_size),
            "putMessageDistributeTime": "",
            "putMessageAverageSize": str(self.put_size / self.put_count if self.put_count else 0.0),
            "dispatchMaxBuffer": "0",
            "getMessageEntireTimeMax": "0",
            "putTps": self._rates(1),
            "getFoundTps": self._rates(2),
            "getMissTps": self._rates(3),
            "getTotalTps": self._rates(2, 3),
            "getTransferredTps": self._rates(4),
        }
