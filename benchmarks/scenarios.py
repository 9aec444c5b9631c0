"""What is measured: one row a scenario, with the ratio to the official broker that is asked of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """Ratios to the official broker in the same run; None where nothing is asked.

    `per_second` and `per_cpu_second` are at least, latencies at most.
    """

    per_second: float | None = None
    per_cpu_second: float | None = None
    p50: float | None = None
    p99: float | None = None

    def misses(self, ratio: dict[str, float | None]) -> list[str]:
        """Names of the figures that do not reach it; `ratio` has them under the same names."""
        missed = []
        for name, least in (("per_second", self.per_second), ("per_cpu_second", self.per_cpu_second)):
            value = ratio.get(name)
            if least is not None and value is not None and value < least:
                missed.append(name)
        for name, most in (("p50", self.p50), ("p99", self.p99)):
            value = ratio.get(name)
            if most is not None and value is not None and value > most:
                missed.append(name)
        return missed

    def __str__(self) -> str:
        parts = []
        if self.per_second is not None:
            parts.append(f"{self.per_second:g}x / {self.per_cpu_second:g}x")
        if self.p50 is not None:
            parts.append(f"p50 <= {self.p50:g}x")
        if self.p99 is not None:
            parts.append(f"p99 <= {self.p99:g}x")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run of the load generator.

    Units: body_bytes in bytes, count in messages; `batch` 0 means single messages; `window` is how many requests one
    connection keeps unanswered, in mode "paced" how many messages go out a second over all of them. A pull scenario reads
    what was sent before the clock starts, with one request a queue under way; the queues lie on the connections in
    turn. `server` is the one of ours that is measured: "gantry", or
    "gantry-python" for the pure core.
    """

    name: str
    mode: str
    connections: int = 1
    window: int = 1
    body_bytes: int = 128
    batch: int = 0
    count: int = 10_000
    short_count: int = 2_000
    headers: str = "binary"
    queues: int = 4
    flush: str = "ASYNC_FLUSH"
    must: Target | None = None
    aim: Target | None = None
    server: str = "gantry"


_DEEP = {"must": Target(5, 8), "aim": Target(10, 16)}
_SYNC = {"must": Target(3, 6), "aim": Target(5, 15), "flush": "SYNC_FLUSH", "window": 64}

SCENARIOS: tuple[Scenario, ...] = (
    Scenario("send, window 1, 128 B", "send", count=30_000, short_count=8_000,
             must=Target(2.2, 4, p50=0.5), aim=Target(3.5, 7, p50=0.3)),
    Scenario("send, window 1, 1 KiB", "send", body_bytes=1024, count=30_000, short_count=8_000),
    Scenario("send, window 64, 128 B", "send", window=64, count=400_000, short_count=120_000, **_DEEP),
    Scenario("send, window 64, 128 B, JSON headers", "send", window=64, count=400_000, short_count=120_000, headers="json",
             **_DEEP),
    Scenario("send, window 64, 8 connections, 128 B", "send", connections=8, window=64, count=400_000, short_count=120_000,
             **_DEEP),
    Scenario("send, window 64, 8 connections, 128 B, JSON headers", "send", connections=8, window=64, count=400_000,
             short_count=120_000, headers="json", **_DEEP),
    Scenario("send, window 64, 8 connections, 1 KiB", "send", connections=8, window=64, body_bytes=1024, count=200_000,
             short_count=60_000, must=Target(4, 6), aim=Target(8, 13)),
    Scenario("send, window 1, 64 connections, 128 B", "send", connections=64, count=200_000, short_count=60_000,
             must=Target(2, 3), aim=Target(2.8, 5)),
    Scenario("send, batch of 32, window 8, 128 B", "send", window=8, batch=32, count=1_600_000, short_count=480_000,
             must=Target(2.5, 5), aim=Target(5, 12)),
    Scenario("pull, 4 queues on one connection", "pull", count=1_000_000, short_count=200_000, must=Target(3, 6),
             aim=Target(5, 12)),
    Scenario("pull, 4 queues, a connection each", "pull", connections=4, count=1_000_000, short_count=200_000),
    Scenario("transaction: half and commit, window 64, 128 B", "transaction", window=64, count=60_000, short_count=20_000),
    Scenario("transaction: half and commit, window 16, 8 connections, 1 KiB", "transaction", connections=8, window=16,
             body_bytes=1024, count=60_000, short_count=20_000),
    Scenario("send to held pull, end to end", "e2e", count=3_000, short_count=800, queues=1,
             must=Target(p50=0.15, p99=0.25), aim=Target(p50=0.04, p99=0.08)),
    Scenario("pure Python core: send, window 64, 128 B", "send", window=64, count=200_000, short_count=40_000,
             must=Target(0.8, 1), aim=Target(1.5, 2), server="gantry-python"),
    Scenario("SYNC_FLUSH send, window 64, 128 B", "send", count=200_000, short_count=40_000, **_SYNC),
    Scenario("SYNC_FLUSH send, window 64, 8 connections, 128 B", "send", connections=8, count=400_000, short_count=80_000,
             **_SYNC),
)  # fmt: skip

P999_MUST, P999_AIM = 1.5, 0.5
MEMORY_MUST, MEMORY_AIM = 0.35, 0.15
