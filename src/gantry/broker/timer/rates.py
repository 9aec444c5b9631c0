"""Messages a second, entered and fired, over the last ten seconds. Pure."""

from __future__ import annotations

from collections import deque

SAMPLE_MS = 1000
SAMPLES = 10


class Rates:
    """Takes a sample a second at most. Units: monotonic ms; counts that only grow."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int, int]] = deque(maxlen=SAMPLES)

    def sample(self, now_ms: int, entered: int, fired: int) -> None:
        if not self._samples or now_ms - self._samples[-1][0] >= SAMPLE_MS:
            self._samples.append((now_ms, entered, fired))

    def read(self, now_ms: int, entered: int, fired: int) -> tuple[float, float]:
        """Entered and fired a second; 0.0 without a recent sample."""
        recent = [sample for sample in self._samples if now_ms - sample[0] <= SAMPLES * SAMPLE_MS]
        if not recent or now_ms <= recent[0][0]:
            return 0.0, 0.0
        since_ms, entered_then, fired_then = recent[0]
        elapsed_s = (now_ms - since_ms) / 1000
        return (entered - entered_then) / elapsed_s, (fired - fired_then) / elapsed_s
