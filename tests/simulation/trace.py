"""What happened, one line each, and a hash of all of it."""

from __future__ import annotations

import hashlib

from gantry.runtime.clock import Clock


class Trace:
    """Lines with their virtual time; what differs from process to process (ids, addresses of objects) is not in them."""

    def __init__(self, clock: Clock) -> None:
        self.lines: list[str] = []
        self._clock = clock
        self._begin_ms = clock.monotonic_ms()
        self._hash = hashlib.sha256()

    def add(self, text: str) -> None:
        line = f"{(self._clock.monotonic_ms() - self._begin_ms) / 1000:.3f} {text}"
        self.lines.append(line)
        self._hash.update(line.encode() + b"\n")

    @property
    def hash(self) -> str:
        return self._hash.hexdigest()[:16]
